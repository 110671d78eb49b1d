//! By how much two versions can differ, from how often they do.

use serde::{Deserialize, Serialize};

use crate::stats::sequential::rate_interval;

/// By how much the accuracies of two versions differ at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DisagreementBound {
    /// How often they gave different answers: on these inputs their accuracies differ by at most this.
    pub rate: f64,
    /// The same for inputs like these, in the long run: with the error that was asked for.
    pub upper: f64,
}

/// Where two versions give the same answer both are right or both are wrong. So `|accuracy - accuracy'|` is at most the
/// rate at which they disagree, whatever the truth is and however it drifts: the one thing that a shadow says without
/// labels. It does not say which of the two is better.
///
/// `disagreements` of `pairs` that both answered. The bound in the long run holds with an error of at most `alpha`,
/// however often one looks (a beta-binomial confidence sequence: Howard, Ramdas, McAuliffe & Sekhon, Annals of
/// Statistics 49, 2021).
///
/// ```
/// use switchback::drift::estimate::disagreement_bound;
///
/// let bound = disagreement_bound(20, 1_000, 0.05);
/// assert_eq!(bound.rate, 0.02);
/// assert!(bound.upper < 0.04);
/// ```
pub fn disagreement_bound(disagreements: u64, pairs: u64, alpha: f64) -> DisagreementBound {
    if pairs == 0 {
        return DisagreementBound { rate: 1.0, upper: 1.0 };
    }
    let disagreements = disagreements.min(pairs);
    let alpha = if alpha.is_nan() { 0.0 } else { alpha.clamp(1e-12, 0.5) };
    let (_, upper) = rate_interval(disagreements, pairs, alpha.max(1e-12), pairs);
    let rate = disagreements as f64 / pairs as f64;
    DisagreementBound { rate, upper: upper.clamp(rate, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_lies_above_the_rate_and_comes_nearer_with_pairs() {
        let upper =
            [100, 1_000, 10_000, 1_000_000].map(|pairs| disagreement_bound(pairs / 50, pairs, 0.05).upper);
        assert!(upper.is_sorted_by(|a, b| a > b) && upper[3] > 0.02 && upper[3] < 0.021, "{upper:?}");
    }

    #[test]
    fn nothing_known_bounds_nothing() {
        assert_eq!(disagreement_bound(0, 0, 0.05).upper, 1.0);
        assert_eq!(disagreement_bound(9, 3, 0.05).rate, 1.0);
        let odd = disagreement_bound(1, 10, f64::NAN);
        assert!(odd.upper <= 1.0 && odd.upper >= 0.1);
        assert!(disagreement_bound(0, 1_000, 0.05).upper < 0.02);
    }
}

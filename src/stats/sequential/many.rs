//! Several hypotheses at once.

use super::allowed;
use super::e_value::EValue;
use crate::base::invalid::ArgumentError;

/// Which of several hypotheses to reject so that among the rejected at most a share of `alpha` is rejected wrongly, on
/// average: e-BH (Wang & Ramdas, "False discovery rate control with e-values", JRSS-B 84(3) 2022). Valid whatever the
/// e-values have to do with each other; take them all at one moment, not each at its best.
///
/// Returns the places of the rejected, in order.
///
/// ```
/// use switchback::stats::sequential::{EValue, e_bh};
///
/// // Airports: which of them does the candidate serve worse?
/// let evidence = [90.0, 1.2, 55.0, 0.3, 12.0].map(EValue::of);
/// assert_eq!(e_bh(&evidence, 0.05)?, [0, 2]);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
///
/// # Errors
///
/// An error that is not between 0 and 1.
pub fn e_bh(evidence: &[EValue], alpha: f64) -> Result<Vec<usize>, ArgumentError> {
    allowed::error(alpha).map(|()| rejected(evidence, alpha))
}

/// The same at an error that is known to be one.
pub(crate) fn rejected(evidence: &[EValue], alpha: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..evidence.len()).collect();
    let of = |place: &usize| evidence.get(*place).copied().unwrap_or(EValue::ZERO);
    order.sort_by_key(|place| std::cmp::Reverse(of(place)));
    let all = evidence.len() as f64;
    let reaches =
        |(rank, place): &(usize, &usize)| of(place) >= EValue::against(alpha * (*rank + 1) as f64 / all);
    let of_all = order.iter().enumerate().filter(reaches).map(|(rank, _)| rank + 1).max().unwrap_or(0);
    order.truncate(of_all);
    order.sort_unstable();
    order
}

/// The evidence that [`e_bh`] holds against `1 / alpha` before it rejects anything, of `hypotheses` of which those
/// without any evidence need not be given: the largest of `k / hypotheses` times the k-th largest.
///
/// It is never more than the mean of all, which is itself an e-value that may be looked at at any time: so it ever
/// reaches `1 / alpha` with a probability of at most `alpha` where every hypothesis holds.
pub(crate) fn e_bh_strength(evidence: &[EValue], hypotheses: usize) -> EValue {
    let mut order = evidence.to_vec();
    order.sort_unstable_by(|a, b| b.cmp(a));
    let all = hypotheses.max(order.len()).max(1) as f64;
    let weighed = order.iter().enumerate().map(|(rank, e)| e.times(EValue::of((rank + 1) as f64 / all)));
    weighed.max().unwrap_or(EValue::ONE)
}

/// Which of several candidates can be dropped because another is better: for every pair, the evidence that the first is
/// worse than the second. The best candidate is dropped with a probability of at most `alpha`, however often one looks:
/// it is in at most `n - 1` pairs, each tested with `alpha / (n - 1)`.
///
/// `worse(i, j)` is the evidence that candidate `i` is worse than candidate `j`. Returns the places of those to drop, in
/// order. At least one always stays.
///
/// ```
/// use switchback::stats::sequential::{EValue, eliminate};
///
/// let dropped = eliminate(3, 0.05, |i, j| if (i, j) == (2, 0) { EValue::of(50.0) } else { EValue::ONE })?;
/// assert_eq!(dropped, [2]);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
///
/// # Errors
///
/// An error that is not between 0 and 1.
pub fn eliminate(
    candidates: usize,
    alpha: f64,
    worse: impl Fn(usize, usize) -> EValue,
) -> Result<Vec<usize>, ArgumentError> {
    allowed::error(alpha).map(|()| beaten(candidates, alpha, worse))
}

/// The same at an error that is known to be one.
pub(crate) fn beaten(candidates: usize, alpha: f64, worse: impl Fn(usize, usize) -> EValue) -> Vec<usize> {
    let threshold = EValue::against(alpha / candidates.saturating_sub(1).max(1) as f64);
    let mut dropped: Vec<usize> = Vec::new();
    for candidate in 0..candidates {
        // Only those that stay count: of two that look worse than each other, one does.
        let is_beaten = (0..candidates)
            .filter(|other| *other != candidate && !dropped.contains(other))
            .any(|other| worse(candidate, other) >= threshold);
        if is_beaten {
            dropped.push(candidate);
        }
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_rejected_of_nothing() {
        assert!(rejected(&[], 0.05).is_empty());
        assert!(rejected(&[EValue::ZERO, EValue::ONE], 0.05).is_empty());
        assert!(beaten(0, 0.05, |_, _| EValue::of(1e9)).is_empty());
        assert!(beaten(1, 0.05, |_, _| EValue::of(1e9)).is_empty());
        assert!(e_bh(&[EValue::ONE], 1.0).is_err() && eliminate(2, f64::NAN, |_, _| EValue::ONE).is_err());
    }

    proptest! {
        #[test]
        fn more_evidence_never_rejects_less(logs in prop::collection::vec(-5.0..9.0_f64, 1..12), more in 0usize..12) {
            let evidence: Vec<EValue> = logs.iter().map(|log| EValue::from_ln(*log)).collect();
            let before = rejected(&evidence, 0.1);
            let mut stronger = evidence.clone();
            let place = more % stronger.len();
            stronger[place] = stronger[place].times(EValue::of(10.0));
            let after = rejected(&stronger, 0.1);
            prop_assert!(before.iter().all(|place| after.contains(place)));
        }

        #[test]
        fn one_candidate_always_stays(candidates in 1usize..6) {
            prop_assert!(beaten(candidates, 0.05, |_, _| EValue::of(1e9)).len() < candidates);
        }
    }
}

//! One version against a fixed objective.

use super::allowed::{self, LEAST_LIMIT};
use super::bets::{Bets, Wealth, Weights, log_spaced};
use super::counts::{Events, Scores};
use super::e_value::EValue;
use super::test::{Claim, SequentialTest};
use crate::base::invalid::ArgumentError;

/// Whether a rate keeps to a fixed limit: an error budget, the share of answers slower than a promised time.
///
/// A mixture of likelihood ratios against rates on either side of the limit. Bets of the form `1 + stake * (x - limit)`
/// (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86(1) 2024), on a fixed
/// grid. Valid for a rate that changes, as long as the hypothesis holds at every moment.
///
/// ```
/// use switchback::stats::sequential::{Claim, Events, Rate, SequentialTest};
///
/// // At most 1 % of requests may fail; 12 of 300 did.
/// let harm = Rate::new(Claim::Harm, 0.01)?;
/// assert!(harm.e_value(&Events { events: 12, units: 300 }).p_value() < 0.01);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rate {
    bets: Bets,
}

/// An event, and none.
const EVENT: usize = 0;

const NO_EVENT: usize = 1;

impl Rate {
    /// A test of `claim` at the limit `limit`.
    ///
    /// # Errors
    ///
    /// A limit that is not from 1e-9 to 1 - 1e-9.
    pub fn new(claim: Claim, limit: f64) -> Result<Self, ArgumentError> {
        allowed::limit(limit).map(|()| Self::nearest(claim, limit))
    }

    /// The same at the nearest limit that there is a test for.
    pub(crate) fn nearest(claim: Claim, limit: f64) -> Self {
        let limit = limit.clamp(LEAST_LIMIT, 1.0 - LEAST_LIMIT);
        let variance = limit * (1.0 - limit);
        // Each stake makes the best of one rate beyond the limit, from 1.2 times as far to 30 times.
        let stakes: Vec<f64> = log_spaced(1.2, 30.0, 12)
            .into_iter()
            .map(|times| match claim {
                // In odds, so that no rate is above 1.
                Claim::Harm => {
                    let odds = times * limit / (1.0 - limit);
                    (odds / (1.0 + odds) - limit) / variance
                }
                Claim::NonInferiority => {
                    let odds = limit / (1.0 - limit) / times;
                    (limit - odds / (1.0 + odds)) / variance
                }
            })
            .collect();
        let gains = [1.0 - limit, -limit].map(|gain| claim.sign() * gain);
        Self { bets: Bets::on_gains(Weights::even(stakes.len()), &stakes, &gains) }
    }

    /// How much is bet on each strategy.
    pub(crate) fn weights(&self) -> &Weights {
        self.bets.weights()
    }

    /// Returns what each strategy makes of these counts alone.
    pub(crate) fn wealth(&self, counts: &Events) -> Wealth {
        let mut wealth = self.bets.start();
        self.bets.earn(&mut wealth, cells(counts));
        wealth
    }
}

fn cells(counts: &Events) -> [(usize, u64); 2] {
    let Events { events, units } = *counts;
    [(EVENT, events), (NO_EVENT, units.saturating_sub(events))]
}

impl SequentialTest for Rate {
    type Counts = Events;

    fn e_value(&self, counts: &Events) -> EValue {
        self.bets.e_value(cells(counts))
    }
}

/// Whether the mean of a bounded score keeps to a fixed limit. Scores are losses in `0..=1`: 0 is good.
///
/// The same bets as in [`Rate`], with stakes for any variance.
#[derive(Debug, Clone)]
pub struct Mean {
    bets: Bets,
}

impl Mean {
    /// A test of `claim` at the limit `limit`.
    ///
    /// # Errors
    ///
    /// A limit that is not from 1e-9 to 1 - 1e-9.
    pub fn new(claim: Claim, limit: f64) -> Result<Self, ArgumentError> {
        allowed::limit(limit).map(|()| Self::nearest(claim, limit))
    }

    /// The same at the nearest limit that there is a test for.
    pub(crate) fn nearest(claim: Claim, limit: f64) -> Self {
        let limit = limit.clamp(LEAST_LIMIT, 1.0 - LEAST_LIMIT);
        let most = match claim {
            Claim::Harm => 1.0 / limit,
            Claim::NonInferiority => 1.0 / (1.0 - limit),
        };
        let stakes: Vec<f64> = log_spaced(0.003, 0.9, 14).into_iter().map(|part| part * most).collect();
        let gains: Vec<f64> =
            (0..=Scores::STEPS).map(|place| claim.sign() * (Scores::at(place) - limit)).collect();
        Self { bets: Bets::on_gains(Weights::even(stakes.len()), &stakes, &gains) }
    }

    /// How much is bet on each strategy.
    pub(crate) fn weights(&self) -> &Weights {
        self.bets.weights()
    }

    /// Returns what each strategy makes of these counts alone.
    pub(crate) fn wealth(&self, counts: &Scores) -> Wealth {
        let mut wealth = self.bets.start();
        // A score below 0 is none: it counts as 0.
        self.bets.earn(&mut wealth, counts.places().map(|(place, count)| (place.max(0) as usize, count)));
        wealth
    }
}

impl SequentialTest for Mean {
    type Counts = Scores;

    fn e_value(&self, counts: &Scores) -> EValue {
        self.weights().mix(&self.wealth(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sequential::counts::Additive;

    /// Golden: the capital of constant bets is what its definition says; with one stake of 1 on a rate of 1 % it is
    /// 1.99^events x 0.99^others.
    #[test]
    fn bets_are_products_of_their_factors() {
        let bets = Bets::on_gains(Weights::even(1), &[1.0], &[0.99, -0.01]);
        let expected = 12.0 * f64::ln(1.99) + 288.0 * f64::ln(0.99);
        assert!((bets.e_value([(EVENT, 12), (NO_EVENT, 288)]).ln() - expected).abs() < 1e-6);
    }

    #[test]
    fn a_limit_at_the_end_of_the_range_is_harmless() {
        for claim in [Claim::Harm, Claim::NonInferiority] {
            for limit in [0.0, 1.0, -3.0, f64::INFINITY] {
                let counts = Events { events: 1 << 50, units: 1 << 53 };
                assert!(!Rate::nearest(claim, limit).e_value(&counts).ln().is_nan());
                let mut scores = Scores::default();
                scores.count(0.5, 0);
                assert!(!Mean::nearest(claim, limit).e_value(&scores).ln().is_nan());
            }
        }
    }

    #[test]
    fn nothing_observed_says_nothing() {
        for claim in [Claim::Harm, Claim::NonInferiority] {
            for e in [
                Rate::nearest(claim, 0.2).e_value(&Events::default()),
                Mean::nearest(claim, 0.2).e_value(&Scores::default()),
            ] {
                assert!(e.ln().abs() < 1e-9);
                assert!(e <= EValue::ONE);
            }
        }
        assert!(Scores::default().is_empty());
    }
}

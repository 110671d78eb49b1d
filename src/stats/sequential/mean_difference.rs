//! Two arms of live traffic: how much larger the candidate's mean is.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::bets::{Bets, Weights, log_spaced};
use super::counts::{Additive, ByOdds, Events, Odds, Scores};
use super::e_value::EValue;
use super::{Claim, SequentialTest};

/// How much larger the mean loss of the candidate's units is than that of live's, in absolute terms: a business figure, a
/// wrong answer, a loss. Losses lie in `0..=1`: 0 is good.
///
/// A unit that goes to the candidate with a chance of `pi` and has the loss `y` scores `(y - f) / pi` there and
/// `-(y - f) / (1 - pi)` on live: unbiased for the difference of the means whatever the centre `f` is, and the less
/// variable the nearer `f` is to `y` (augmented inverse probability weighting; the anytime-valid form is in
/// Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro, "Anytime-valid off-policy inference for contextual bandits",
/// ACM/IMS J. Data Sci. 2024). Bets on that score, counted apart for every share that was ever in force.
///
/// A centre may be a constant known before the comparison began, such as live's mean until then
/// ([`centred_at`](Self::centred_at)); or it may come from what live says of the same input, for the units of both arms:
/// then count `y - f`, which lies in `-1..=1`.
///
/// Valid for means that move, as long as the hypothesis holds at every moment. For figures of which a rate is enough,
/// [`RateRatio`](super::RateRatio) needs fewer units.
#[derive(Debug)]
pub struct MeanDifference {
    claim: Claim,
    margin: f64,
    centre: f64,
    /// Made when they are first needed, for each share.
    tables: Mutex<BTreeMap<Odds, Arc<Bets>>>,
}

impl MeanDifference {
    /// A test of `claim` at the margin `margin`: how much larger the candidate's mean loss may be. Kept within `-1..=1`.
    pub fn new(claim: Claim, margin: f64) -> Self {
        Self { claim, margin: margin.clamp(-1.0, 1.0), centre: 0.0, tables: Mutex::default() }
    }

    /// The same for losses that were counted as they are, less this constant: the mean that live was known to have before
    /// the comparison began.
    #[must_use]
    pub fn centred_at(self, centre: f64) -> Self {
        Self { centre: centre.clamp(0.0, 1.0), tables: Mutex::default(), ..self }
    }

    /// The stakes, as parts of the largest that cannot lose more than there is. From 0.5 %: at small shares the score is
    /// seldom and large, and what pays off is a small part of what could be staked.
    fn parts() -> Vec<f64> {
        log_spaced(0.005, 0.9, 14)
    }

    /// Bets at one share. The lattice of the candidate's losses comes first, that of live's behind it.
    fn bets(&self, odds: Odds) -> Arc<Bets> {
        let make = || {
            let lattice: Vec<f64> =
                (-Scores::STEPS..=Scores::STEPS).map(|place| Scores::at(place) - self.centre).collect();
            Arc::new(weighted_bets(self.claim, self.margin, odds, &lattice))
        };
        Arc::clone(self.tables.lock().entry(odds).or_insert_with(make))
    }
}

/// Bets on a difference of two means at one share: on the candidate's residuals, weighted by its share, then on live's.
fn weighted_bets(claim: Claim, margin: f64, odds: Odds, residuals: &[f64]) -> Bets {
    let pi = odds.share();
    let candidate = residuals.iter().map(|residual| residual / pi);
    let scores = candidate.chain(residuals.iter().map(|residual| -residual / (1.0 - pi)));
    let gains: Vec<f64> = scores.map(|score| claim.sign() * (score - margin)).collect();
    let worst = gains.iter().copied().fold(-1e-9, f64::min);
    let stakes: Vec<f64> = MeanDifference::parts().into_iter().map(|part| part / -worst).collect();
    Bets::on_gains(Weights::even(stakes.len()), &stakes, &gains)
}

/// The same of events: how much more often a unit of the candidate's has one, in absolute terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateDifference {
    claim: Claim,
    margin: f64,
    centre: f64,
}

impl RateDifference {
    /// A test of `claim` at the margin `margin`: how much more often the candidate may have the event. `centre` is the
    /// rate that live was known to have before the comparison began, 0 where it was not.
    pub fn new(claim: Claim, margin: f64, centre: f64) -> Self {
        Self { claim, margin: margin.clamp(-1.0, 1.0), centre: centre.clamp(0.0, 1.0) }
    }
}

impl SequentialTest for RateDifference {
    type Counts = ByOdds<Events>;

    fn e_value(&self, counts: &ByOdds<Events>) -> EValue {
        let weights = Weights::even(MeanDifference::parts().len());
        let mut wealth = weights.start();
        for (odds, arms) in counts.iter() {
            let bets = weighted_bets(self.claim, self.margin, odds, &[1.0 - self.centre, -self.centre]);
            let cells = |arm: &Events| [arm.events, arm.units.saturating_sub(arm.events)];
            let seen = cells(&arms.candidate).into_iter().chain(cells(&arms.live)).enumerate();
            bets.earn(&mut wealth, seen);
        }
        weights.mix(&wealth)
    }
}

impl SequentialTest for MeanDifference {
    type Counts = ByOdds<Scores>;

    fn e_value(&self, counts: &ByOdds<Scores>) -> EValue {
        let weights = Weights::even(Self::parts().len());
        let mut wealth = weights.start();
        for (odds, arms) in
            counts.iter().filter(|(_, arms)| !(arms.candidate.is_empty() && arms.live.is_empty()))
        {
            let place = |place: i16| (place + Scores::STEPS) as usize;
            let lattice = 2 * Scores::STEPS as usize + 1;
            let candidate = arms.candidate.places().map(|(at, count)| (place(at), count));
            let live = arms.live.places().map(|(at, count)| (place(at) + lattice, count));
            self.bets(odds).earn(&mut wealth, candidate.chain(live));
        }
        weights.mix(&wealth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Share;

    fn counted(share: f64, candidate: &[(i16, u64)], live: &[(i16, u64)]) -> ByOdds<Scores> {
        let odds = Odds::new(Share::new(share).unwrap(), Share::new(1.0 - share).unwrap()).unwrap();
        let mut counts = ByOdds::<Scores>::default();
        candidate.iter().for_each(|(place, times)| counts.at(odds).candidate.count_place(*place, *times));
        live.iter().for_each(|(place, times)| counts.at(odds).live.count_place(*place, *times));
        counts
    }

    #[test]
    fn a_larger_loss_is_seen_and_an_equal_one_is_shown() {
        let (harm, equal) =
            (MeanDifference::new(Claim::Harm, 0.02), MeanDifference::new(Claim::NonInferiority, 0.02));
        // Residuals of a rate of 20 % around its mean: 51/64 and -13/64.
        let worse = counted(0.5, &[(51, 3_000), (-13, 7_000)], &[(51, 2_000), (-13, 8_000)]);
        assert!(harm.e_value(&worse) > EValue::of(100.0) && equal.e_value(&worse) < EValue::of(0.01));
        let alike = counted(0.5, &[(51, 10_000), (-13, 40_000)], &[(51, 10_000), (-13, 40_000)]);
        assert!(equal.e_value(&alike) > EValue::of(20.0) && harm.e_value(&alike) < EValue::of(0.1));
    }

    /// Events are losses of 0 and 1: the same bets, the same evidence.
    #[test]
    fn a_difference_of_rates_is_one_of_means() {
        let scores = counted(0.25, &[(64, 30), (0, 270)], &[(64, 70), (0, 830)]);
        let mut events = ByOdds::<Events>::default();
        for (odds, _) in scores.iter() {
            events.at(odds).candidate = Events { events: 30, units: 300 };
            events.at(odds).live = Events { events: 70, units: 900 };
        }
        for claim in [Claim::Harm, Claim::NonInferiority] {
            let of_means = MeanDifference::new(claim, 0.01);
            let of_rates = RateDifference::new(claim, 0.01, 0.0);
            // The lattice goes down to -1, which a rate does not: smaller stakes, and so a little less of either.
            assert!((of_means.e_value(&scores).ln() - of_rates.e_value(&events).ln()).abs() < 0.5);
        }
    }

    /// Simpson's paradox: each share alone says that both are alike, and a pooled comparison that the candidate is worse.
    #[test]
    fn a_ramp_on_a_day_that_gets_worse_is_no_harm() {
        let mut ramp = counted(0.01, &[(64, 1), (0, 99)], &[(64, 99), (0, 9_801)]);
        ramp.merge(&counted(0.5, &[(64, 2_000), (0, 3_000)], &[(64, 2_000), (0, 3_000)]));
        assert!(MeanDifference::new(Claim::Harm, 0.0).e_value(&ramp) < EValue::of(2.0));
    }
}

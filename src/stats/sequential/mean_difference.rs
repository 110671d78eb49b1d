//! Two arms of live traffic: how much larger the candidate's mean is.

use super::allowed;
use super::bets::{Wealth, Weights, log_spaced};
use super::counts::{ByOdds, Events, Odds, Scores};
use super::e_value::{EValue, ln_1p_down};
use super::test::{Claim, SequentialTest};
use crate::base::invalid::InvalidArgument;

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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanDifference {
    claim: Claim,
    margin: f64,
    centre: f64,
}

impl MeanDifference {
    /// A test of `claim` at the margin `margin`: how much larger the candidate's mean loss may be.
    ///
    /// # Errors
    ///
    /// A margin that is not from -1 to 1.
    pub fn new(claim: Claim, margin: f64) -> Result<Self, InvalidArgument> {
        allowed::difference(margin).map(|()| Self::nearest(claim, margin))
    }

    /// The same at the nearest margin that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: f64) -> Self {
        Self { claim, margin: margin.clamp(-1.0, 1.0), centre: 0.0 }
    }

    /// The same for losses that were counted as they are, less this constant: the mean that live was known to have before
    /// the comparison began.
    ///
    /// # Errors
    ///
    /// A centre that is not from 0 to 1.
    pub fn centred_at(self, centre: f64) -> Result<Self, InvalidArgument> {
        allowed::centre(centre).map(|()| self.centred_near(centre))
    }

    /// The same at the nearest centre that there can be.
    pub(crate) fn centred_near(self, centre: f64) -> Self {
        Self { centre: centre.clamp(0.0, 1.0), ..self }
    }

    /// The stakes, as parts of the largest that cannot lose more than there is. From 0.5 %: at small shares the score is
    /// seldom and large, and what pays off is a small part of what could be staked.
    fn parts() -> Vec<f64> {
        log_spaced(0.005, 0.9, 14)
    }
}

/// Bets on a difference of two means at one share: on the candidate's residuals and on live's, within a range. Only what
/// was seen is looked at: a lattice has more places than most figures use.
struct Weighted {
    stakes: Vec<f64>,
    claim: Claim,
    margin: f64,
    pi: f64,
}

impl Weighted {
    fn new(claim: Claim, margin: f64, odds: Odds, (lowest, highest): (f64, f64)) -> Self {
        let mut bets = Self { stakes: MeanDifference::parts(), claim, margin, pi: odds.share() };
        let ends = [bets.candidate(lowest), bets.candidate(highest), bets.live(lowest), bets.live(highest)];
        let worst = ends.into_iter().fold(-1e-9, f64::min);
        bets.stakes.iter_mut().for_each(|stake| *stake /= -worst);
        bets
    }

    /// Returns what a residual of the candidate's gains.
    fn candidate(&self, residual: f64) -> f64 {
        self.claim.sign() * (residual / self.pi - self.margin)
    }

    /// Returns what a residual of live's gains.
    fn live(&self, residual: f64) -> f64 {
        self.claim.sign() * (-residual / (1.0 - self.pi) - self.margin)
    }

    fn earn(&self, wealth: &mut Wealth, gain: f64, times: u64) {
        if times == 0 {
            return;
        }
        for (log, stake) in wealth.0.iter_mut().zip(&self.stakes) {
            *log = log.saturating_add(i128::from(times) * i128::from(ln_1p_down(stake * gain)));
        }
    }
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
    ///
    /// # Errors
    ///
    /// A margin that is not from -1 to 1, or a centre that is not from 0 to 1.
    pub fn new(claim: Claim, margin: f64, centre: f64) -> Result<Self, InvalidArgument> {
        allowed::difference(margin)?;
        allowed::centre(centre)?;
        Ok(Self::nearest(claim, margin, centre))
    }

    /// The same at the nearest margin and centre that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: f64, centre: f64) -> Self {
        Self { claim, margin: margin.clamp(-1.0, 1.0), centre: centre.clamp(0.0, 1.0) }
    }
}

impl SequentialTest for RateDifference {
    type Counts = ByOdds<Events>;

    fn e_value(&self, counts: &ByOdds<Events>) -> EValue {
        let weights = Weights::even(MeanDifference::parts().len());
        let mut wealth = weights.start();
        for (odds, arms) in counts.iter() {
            let (event, none) = (1.0 - self.centre, -self.centre);
            let bets = Weighted::new(self.claim, self.margin, odds, (none, event));
            let without = |arm: &Events| arm.units.saturating_sub(arm.events);
            bets.earn(&mut wealth, bets.candidate(event), arms.candidate.events);
            bets.earn(&mut wealth, bets.candidate(none), without(&arms.candidate));
            bets.earn(&mut wealth, bets.live(event), arms.live.events);
            bets.earn(&mut wealth, bets.live(none), without(&arms.live));
        }
        weights.mix(&wealth)
    }
}

impl SequentialTest for MeanDifference {
    type Counts = ByOdds<Scores>;

    fn e_value(&self, counts: &ByOdds<Scores>) -> EValue {
        let weights = Weights::even(Self::parts().len());
        let mut wealth = weights.start();
        for (odds, arms) in counts.iter() {
            let bets = Weighted::new(self.claim, self.margin, odds, (-1.0 - self.centre, 1.0 - self.centre));
            for (place, times) in arms.candidate.places() {
                bets.earn(&mut wealth, bets.candidate(Scores::at(place) - self.centre), times);
            }
            for (place, times) in arms.live.places() {
                bets.earn(&mut wealth, bets.live(Scores::at(place) - self.centre), times);
            }
        }
        weights.mix(&wealth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;
    use crate::stats::sequential::counts::Additive;

    fn counted(share: f64, candidate: &[(i16, u64)], live: &[(i16, u64)]) -> ByOdds<Scores> {
        let odds = Odds::new(Share::new(share).unwrap(), Share::new(1.0 - share).unwrap()).unwrap();
        let mut counts = ByOdds::<Scores>::default();
        candidate.iter().for_each(|(place, times)| counts.at(odds).candidate.count_place(*place, *times));
        live.iter().for_each(|(place, times)| counts.at(odds).live.count_place(*place, *times));
        counts
    }

    #[test]
    fn a_larger_loss_is_seen_and_an_equal_one_is_shown() {
        let (harm, equal) = (
            MeanDifference::nearest(Claim::Harm, 0.02),
            MeanDifference::nearest(Claim::NonInferiority, 0.02),
        );
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
            let of_means = MeanDifference::nearest(claim, 0.01);
            let of_rates = RateDifference::nearest(claim, 0.01, 0.0);
            // The lattice goes down to -1, which a rate does not: smaller stakes, and so a little less of either.
            assert!((of_means.e_value(&scores).ln() - of_rates.e_value(&events).ln()).abs() < 0.5);
        }
    }

    /// Simpson's paradox: each share alone says that both are alike, and a pooled comparison that the candidate is worse.
    #[test]
    fn a_ramp_on_a_day_that_gets_worse_is_no_harm() {
        let mut ramp = counted(0.01, &[(64, 1), (0, 99)], &[(64, 99), (0, 9_801)]);
        ramp.merge(&counted(0.5, &[(64, 2_000), (0, 3_000)], &[(64, 2_000), (0, 3_000)]));
        assert!(MeanDifference::nearest(Claim::Harm, 0.0).e_value(&ramp) < EValue::of(2.0));
    }
}

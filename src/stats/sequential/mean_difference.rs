//! Two arms of live traffic: how much larger the candidate's mean is.

use super::bets::{Bets, Weights, log_spaced};
use super::counts::{Additive, ByOdds, Odds, Scores};
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
/// The centre is applied before counting: count `y - f`, which lies in `-1..=1`. It may be a constant known before the
/// comparison began (live's mean until then), or come from what live says of the same input, for the units of both arms.
///
/// Valid for means that move, as long as the hypothesis holds at every moment. For figures of which a rate is enough,
/// [`RateRatio`](super::RateRatio) needs fewer units.
#[derive(Debug, Clone)]
pub struct MeanDifference {
    claim: Claim,
    margin: f64,
}

impl MeanDifference {
    /// A test of `claim` at the margin `margin`: how much larger the candidate's mean loss may be. Kept within `-1..=1`.
    pub fn new(claim: Claim, margin: f64) -> Self {
        Self { claim, margin: margin.clamp(-1.0, 1.0) }
    }

    /// The stakes, as parts of the largest that cannot lose more than there is. From 0.5 %: at small shares the score is
    /// seldom and large, and what pays off is a small part of what could be staked.
    fn parts() -> Vec<f64> {
        log_spaced(0.005, 0.9, 14)
    }

    /// Bets at one share. The lattice of the candidate's residuals comes first, that of live's behind it.
    fn bets(&self, odds: Odds) -> Bets {
        let pi = odds.share();
        let residuals = || (-Scores::STEPS..=Scores::STEPS).map(Scores::at);
        let scores = residuals().map(|r| r / pi).chain(residuals().map(|r| -r / (1.0 - pi)));
        let gains: Vec<f64> = scores.map(|score| self.claim.sign() * (score - self.margin)).collect();
        let most = gains
            .iter()
            .fold(f64::INFINITY, |most, gain| most.min(if *gain < 0.0 { -1.0 / gain } else { most }));
        let stakes: Vec<f64> = Self::parts().into_iter().map(|part| part * most).collect();
        Bets::on_gains(Weights::even(stakes.len()), &stakes, &gains)
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

    /// Simpson's paradox: each share alone says that both are alike, and a pooled comparison that the candidate is worse.
    #[test]
    fn a_ramp_on_a_day_that_gets_worse_is_no_harm() {
        let mut ramp = counted(0.01, &[(64, 1), (0, 99)], &[(64, 99), (0, 9_801)]);
        ramp.merge(&counted(0.5, &[(64, 2_000), (0, 3_000)], &[(64, 2_000), (0, 3_000)]));
        assert!(MeanDifference::new(Claim::Harm, 0.0).e_value(&ramp) < EValue::of(2.0));
    }
}

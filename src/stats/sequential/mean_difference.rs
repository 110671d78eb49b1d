//! Two arms of live traffic: how much larger the candidate's mean is.

use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use super::allowed;
use super::bets::{Wealth, Weights, log_spaced};
use super::counts::{Additive, Arms, ByOdds, Events, Odds, Scores};
use super::e_value::{EValue, ln_1p_down};
use super::in_arms::{Chances, Stratum};
use super::test::{Claim, SequentialTest};
use crate::base::invalid::ArgumentError;
use crate::base::ordered::OrderedMap;

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
    pub fn new(claim: Claim, margin: f64) -> Result<Self, ArgumentError> {
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
    pub fn centred_at(self, centre: f64) -> Result<Self, ArgumentError> {
        allowed::centre(centre).map(|()| self.centred_near(centre))
    }

    /// The same at the nearest centre that there can be.
    pub(crate) fn centred_near(self, centre: f64) -> Self {
        Self { centre: centre.clamp(0.0, 1.0), ..self }
    }

    /// The same test, ready to be asked often.
    pub(crate) fn ready(self) -> ReadyMeanDifference {
        let range = (-1.0 - self.centre, 1.0 - self.centre);
        ReadyMeanDifference { centre: self.centre, bets: Bets::new(self.claim, self.margin, range) }
    }
}

/// The stakes, as parts of the largest that cannot lose more than there is. From 0.5 %: at small shares the score is
/// seldom and large, and what pays off is a small part of what could be staked.
static PARTS: LazyLock<Vec<f64>> = LazyLock::new(|| log_spaced(0.005, 0.9, 14));

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| Weights::even(PARTS.len()));

/// Whose unit it is, and which of the residuals that there are.
type Seen = (Whose, i16);

/// What each strategy makes of a residual.
type Factors = Arc<[i64]>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Candidate,
    Live,
}

/// Bets on a difference of two means, with what each residual has earned at the odds that it was seen at.
struct Bets {
    claim: Claim,
    margin: f64,
    range: (f64, f64),
    /// They follow from the odds, from the residual and from what is fixed when the test is made, so none is ever out of date.
    factors: Mutex<OrderedMap<(Odds, Seen), Factors>>,
}

/// Residuals whose factors are kept, of some 150 bytes each. Those of others are computed each time.
const FACTORS_MAX: usize = 256;

impl Bets {
    fn new(claim: Claim, margin: f64, range: (f64, f64)) -> Self {
        Self { claim, margin, range, factors: Mutex::default() }
    }

    /// Adds what was seen at these odds: each residual with its value and how often it occurred. `pi` is the chance with which a unit
    /// was the candidate's.
    fn earn(
        &self,
        wealth: &mut Wealth,
        (odds, pi): (Odds, f64),
        seen: impl Iterator<Item = (Seen, f64, u64)>,
    ) {
        let mut bets = None;
        let known = &mut *self.factors.lock();
        // A chance that is counted is another at every look.
        let kept = pi == odds.share();
        for (seen, residual, times) in seen.filter(|(.., times)| *times > 0) {
            let mut make = || {
                let bets = bets.get_or_insert_with(|| Weighted::new(self.claim, self.margin, pi, self.range));
                bets.factors(match seen.0 {
                    Whose::Candidate => bets.candidate(residual),
                    Whose::Live => bets.live(residual),
                })
            };
            let factors = if !kept {
                make()
            } else if known.len() < FACTORS_MAX {
                Arc::clone(known.entry((odds, seen)).or_insert_with(make))
            } else {
                known.get(&(odds, seen)).map_or_else(make, Arc::clone)
            };
            for (log, factor) in wealth.0.iter_mut().zip(&*factors) {
                *log = log.saturating_add(i128::from(times) * i128::from(*factor));
            }
        }
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
    fn new(claim: Claim, margin: f64, pi: f64, (lowest, highest): (f64, f64)) -> Self {
        let mut bets = Self { stakes: PARTS.clone(), claim, margin, pi };
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

    /// Returns what each strategy makes of a gain.
    fn factors(&self, gain: f64) -> Factors {
        self.stakes.iter().map(|stake| ln_1p_down(stake * gain)).collect()
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
    pub fn new(claim: Claim, margin: f64, centre: f64) -> Result<Self, ArgumentError> {
        allowed::difference(margin)?;
        allowed::centre(centre)?;
        Ok(Self::nearest(claim, margin, centre))
    }

    /// The same at the nearest margin and centre that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: f64, centre: f64) -> Self {
        Self { claim, margin: margin.clamp(-1.0, 1.0), centre: centre.clamp(0.0, 1.0) }
    }

    /// The same test, ready to be asked often.
    pub(crate) fn ready(self) -> ReadyRateDifference {
        let residuals = [1.0 - self.centre, -self.centre];
        let [event, none] = residuals;
        ReadyRateDifference { residuals, bets: Bets::new(self.claim, self.margin, (none, event)) }
    }
}

/// The counts of each kind of unit at each of the odds.
fn strata<'a, C: Additive>(
    counts: &[Stratum<'a, C>],
) -> impl Iterator<Item = (Odds, Chances<'a>, &'a Arms<C>)> {
    counts.iter().flat_map(|(counts, chances)| counts.iter().map(move |(odds, arms)| (odds, *chances, arms)))
}

/// A [`RateDifference`] that is asked often.
pub(crate) struct ReadyRateDifference {
    /// Of an event, and of none.
    residuals: [f64; 2],
    bets: Bets,
}

impl ReadyRateDifference {
    /// The e-value of these counts.
    pub(crate) fn e_value(&self, counts: &[Stratum<'_, Events>]) -> EValue {
        let mut wealth = WEIGHTS.start();
        for (odds, chances, arms) in strata(counts) {
            let of = |whose: Whose, arm: &Events| {
                let [event, none] = self.residuals;
                let without = arm.units.saturating_sub(arm.events);
                [((whose, 1), event, arm.events), ((whose, 0), none, without)]
            };
            let seen = [of(Whose::Candidate, &arms.candidate), of(Whose::Live, &arms.live)];
            self.bets.earn(&mut wealth, (odds, chances.at(odds)), seen.into_iter().flatten());
        }
        WEIGHTS.mix(&wealth)
    }
}

/// A [`MeanDifference`] that is asked often.
pub(crate) struct ReadyMeanDifference {
    centre: f64,
    bets: Bets,
}

impl ReadyMeanDifference {
    /// The e-value of these counts.
    pub(crate) fn e_value(&self, counts: &[Stratum<'_, Scores>]) -> EValue {
        WEIGHTS.mix(&self.wealth(counts))
    }

    /// How much is bet on each strategy.
    pub(crate) fn weights(&self) -> &Weights {
        &WEIGHTS
    }

    /// Returns what each strategy makes of these counts alone.
    pub(crate) fn wealth(&self, counts: &[Stratum<'_, Scores>]) -> Wealth {
        let mut wealth = WEIGHTS.start();
        for (odds, chances, arms) in strata(counts) {
            let of = |whose| move |(place, times)| ((whose, place), Scores::at(place) - self.centre, times);
            let candidate = arms.candidate.places().map(of(Whose::Candidate));
            let live = arms.live.places().map(of(Whose::Live));
            self.bets.earn(&mut wealth, (odds, chances.at(odds)), candidate.chain(live));
        }
        wealth
    }
}

impl SequentialTest for RateDifference {
    type Counts = ByOdds<Events>;

    fn e_value(&self, counts: &ByOdds<Events>) -> EValue {
        self.ready().e_value(&[(counts, Chances::default())])
    }
}

impl SequentialTest for MeanDifference {
    type Counts = ByOdds<Scores>;

    fn e_value(&self, counts: &ByOdds<Scores>) -> EValue {
        self.ready().e_value(&[(counts, Chances::default())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;

    fn counted(share: f64, candidate: &[(i16, u64)], live: &[(i16, u64)]) -> ByOdds<Scores> {
        let odds = Odds::new(Share::new(share).unwrap(), Share::new(1.0 - share).unwrap()).unwrap();
        let mut counts = ByOdds::<Scores>::default();
        candidate.iter().for_each(|(place, times)| counts.at(odds).candidate.count_place(*place, *times));
        live.iter().for_each(|(place, times)| counts.at(odds).live.count_place(*place, *times));
        counts
    }

    /// What a residual has earned is kept for as many as there is room for; those beyond are none the worse.
    #[test]
    fn a_test_that_is_asked_often_says_what_a_new_one_says() {
        let means = MeanDifference::nearest(Claim::Harm, 0.02).centred_near(0.1);
        let rates = RateDifference::nearest(Claim::NonInferiority, 0.02, 0.1);
        let (ready, ready_of_rates) = (means.ready(), rates.ready());
        for _ in 0..2 {
            for share in 1..=9_u16 {
                let losses: Vec<(i16, u64)> =
                    (0..=Scores::STEPS).map(|place| (place, 1 + u64::from(share))).collect();
                let counts = counted(f64::from(share) / 10.0, &losses, &losses[9..]);
                assert_eq!(
                    ready.e_value(&[(&counts, Chances::default())]),
                    means.e_value(&counts),
                    "{share}"
                );
                let events = counts.map(|losses| Events { events: 9, units: losses.count_all() });
                assert_eq!(
                    ready_of_rates.e_value(&[(&events, Chances::default())]),
                    rates.e_value(&events),
                    "{share}"
                );
            }
        }
        assert_eq!(ready.bets.factors.lock().len(), FACTORS_MAX);
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

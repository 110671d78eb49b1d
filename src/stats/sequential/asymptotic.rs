//! Means of figures without bounds: revenue, absolute errors. Valid in the limit only, and named so.

use serde::{Deserialize, Serialize};

use super::counts::{Additive, Arms, ByOdds};
use super::e_value::{EValue, ln};
use super::test::{Claim, SequentialTest};
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::stats::figures::fixed::{Moments, Sign, seen};

/// Values without bounds: how many, their sum and the sum of their squares, in fixed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(pub(crate) Moments);

impl Values {
    /// Counts a value. One that is not a number does not count.
    pub fn count(&mut self, value: f64) {
        self.record(value, Sign::Plus);
    }

    /// Counts a value, or takes back one that was counted.
    pub(crate) fn record(&mut self, value: f64, sign: Sign) {
        if value.is_finite() {
            self.0.add(value, sign);
        }
    }

    /// Counts a value `times` times.
    #[cfg(feature = "forecast")]
    pub(crate) fn count_times(&mut self, value: f64, times: u64) {
        if value.is_finite() {
            self.0.add_times(value, times);
        }
    }

    /// Returns what these have beside others that are among them.
    #[cfg(feature = "fleet")]
    pub(crate) fn without(&self, other: &Self) -> Self {
        Self(self.0.without(&other.0))
    }

    /// How many values.
    pub fn len(&self) -> u64 {
        seen(self.0.count())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        self.0.mean()
    }

    /// How many of them the sum is made of: all where they are alike, the buyers where most are 0, fewer where some are far
    /// larger than others. The square of the sum over the sum of the squares.
    pub fn events(&self) -> f64 {
        match (self.mean(), self.variance()) {
            (Some(mean), Some(variance)) if mean != 0.0 => {
                self.len() as f64 * mean * mean / (variance + mean * mean)
            }
            _ => 0.0,
        }
    }

    /// Their variance, with n below.
    pub(crate) fn variance(&self) -> Option<f64> {
        Some(self.0.spread()? / self.len() as f64)
    }
}

impl Additive for Values {
    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// A mean of values without bounds, by an *asymptotic* confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy &
/// Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 2024, equation
/// (9) of its seventh version; the form and the tuning are GrowthBook's.
///
/// Its error is what it says only as the number of units grows, and of the units only those count that the sum is made of:
/// with fewer than [`EVENTS`](Self::EVENTS) of [`Values::events`] to be expected in either arm it says nothing at all. Measured with purchases of
/// which 1 % of the users make one, log-normal, on a canary of 1 %, at an error of .8 %: harm was declared of 49 % of the
/// equal versions with no such bound, of 2.2 % from 30 events on, of .7 % from 100 and of .2 % from 200. Where the values have bounds, declare them and use [`MeanDifference`](super::MeanDifference):
/// that test needs no limit, and fewer units at small shares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asymptotic {
    claim: Claim,
    margin: f64,
}

checked_when_read! {
    Asymptotic {
        claim: Claim,
        margin: f64,
    }
}

impl Asymptotic {
    /// Below so many pairs the central limit theorem is no more than a hope.
    pub const FEWEST: u64 = 100;
    /// Below so many events that are to be expected of an arm it is none either: see [`Values::events`].
    pub const EVENTS: f64 = 200.0;
    /// The number of units at which the sequence is tightest.
    const TUNED_TO: f64 = 5_000.0;
    /// The error for which it is tightest there.
    const TUNED_FOR: f64 = 0.05;

    /// A test of `claim` at the margin `margin`: how much larger the candidate's mean may be, in the figure's own units.
    ///
    /// # Errors
    ///
    /// A margin that is not finite.
    pub fn new(claim: Claim, margin: f64) -> Result<Self, ArgumentError> {
        let test = Self::at(claim, margin);
        test.check().map(|()| test)
    }

    fn check(&self) -> Result<(), ArgumentError> {
        ArgumentError::unless(self.margin.is_finite(), "the margin", self.margin, "finite")
    }

    /// The same at a margin that is known to be one.
    pub(crate) fn at(claim: Claim, margin: f64) -> Self {
        Self { claim, margin }
    }

    /// The e-value of paired differences, candidate less live.
    pub fn e_value_of_pairs(&self, differences: &Values) -> EValue {
        let (count, mean, variance) = (differences.len(), differences.mean(), differences.variance());
        match (mean, variance) {
            (Some(mean), Some(variance)) if count >= Self::FEWEST => {
                self.e_value_of(count as f64, mean, variance / count as f64)
            }
            _ => EValue::ONE,
        }
    }

    /// From an estimate, its variance and the number of units in it. Two-sided, on the side of the claim: in the limit its
    /// error is half of what it says, and of figures that are skewed, at a few hundred units, up to all of it.
    fn e_value_of(&self, units: f64, estimate: f64, variance: f64) -> EValue {
        let beyond = self.claim.sign() * (estimate - self.margin);
        if beyond.is_nan() || beyond <= 0.0 {
            return EValue::ONE.min(EValue::from_ln(-0.5 * ln(1.0 + units * Self::rho_squared())));
        }
        if variance <= 0.0 {
            // All values alike: the limit theorem has nothing to say.
            return EValue::ONE;
        }
        let spread = units * Self::rho_squared() + 1.0;
        let standardised = beyond * beyond / variance;
        EValue::rounded_down(Self::rho_squared() * units * standardised / (2.0 * spread) - 0.5 * ln(spread))
    }

    fn rho_squared() -> f64 {
        let ln_alpha = ln(Self::TUNED_FOR);
        (-2.0 * ln_alpha + ln(1.0 - 2.0 * ln_alpha)) / Self::TUNED_TO
    }

    /// How many events the arm that has fewer would have if both had as many by unit: one that sells nothing has none of its
    /// own, and is to be judged all the same.
    pub(crate) fn events(counts: &[&ByOdds<Values>]) -> f64 {
        let mut all = Arms::<Values>::default();
        for Arms { candidate, live } in counts.iter().map(|counts| counts.pooled()) {
            all.candidate.merge(&candidate);
            all.live.merge(&live);
        }
        let Arms { candidate, live } = all;
        let (own, lives) = (candidate.len() as f64, live.len() as f64);
        (candidate.events() + live.events()) * own.min(lives) / (own + lives).max(1.0)
    }

    /// The evidence of units of several kinds, requests and keys: each kind's differences are strata of one.
    pub(crate) fn e_value_of_kinds(&self, counts: &[&ByOdds<Values>]) -> EValue {
        if Self::events(counts) < Self::EVENTS {
            return EValue::ONE;
        }
        Self::difference(counts)
            .map_or(EValue::ONE, |(estimate, variance, units)| self.e_value_of(units, estimate, variance))
    }

    /// The difference of the means, its variance and the number of units: each share's own difference, weighted by how many
    /// units of two equal arms would tell as much, so that a ramp on a day that moves misleads nobody and a few units of a
    /// small share weigh little.
    ///
    /// These units are also what time is counted by. Counted by all units, as where arms are alike, an arm of a hundredth
    /// of the traffic is judged on the hundred units that it has as if there were ten thousand: on costs that are
    /// log-normal, 9 % of the candidates on the margin of a ramp were shown to be within it, where 5 % may be.
    fn difference(counts: &[&ByOdds<Values>]) -> Option<(f64, f64, f64)> {
        let strata: Vec<(f64, f64, f64)> = counts
            .iter()
            .flat_map(|counts| counts.iter())
            .filter_map(|(_, arms)| {
                let (candidate, live) = (arms.candidate, arms.live);
                // One value has no spread to weigh it by.
                (candidate.len() > 1 && live.len() > 1).then_some(())?;
                let (own, lives) = (candidate.len() as f64, live.len() as f64);
                let variance = candidate.variance()? / own + live.variance()? / lives;
                Some((2.0 * own * lives / (own + lives), candidate.mean()? - live.mean()?, variance))
            })
            .collect();
        let units: f64 = strata.iter().map(|(units, ..)| units).sum();
        let estimate = strata.iter().map(|(weight, difference, _)| weight / units * difference).sum();
        let variance =
            strata.iter().map(|(weight, _, variance)| (weight / units) * (weight / units) * variance).sum();
        (units > 0.0).then_some((estimate, variance, units))
    }
}

impl SequentialTest for Asymptotic {
    type Counts = ByOdds<Values>;

    fn e_value(&self, counts: &ByOdds<Values>) -> EValue {
        self.e_value_of_kinds(&[counts])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;
    use crate::stats::sequential::counts::Odds;
    use crate::stats::sequential::{Interval, interval};

    /// `events` ones among `units` zeros.
    fn values(events: u64, units: u64) -> Values {
        let mut values = Values::default();
        (0..units).for_each(|unit| values.count(f64::from(u8::from(unit < events))));
        values
    }

    #[test]
    fn a_margin_that_cannot_be_said_cannot_be_read() {
        let test = Asymptotic::new(Claim::Harm, 0.5).unwrap();
        let text = toml::to_string(&test).unwrap();
        assert_eq!(toml::from_str::<Asymptotic>(&text).unwrap(), test);
        // JSON has no number that is not finite.
        let read = toml::from_str::<Asymptotic>(&text.replace("0.5", "inf"));
        assert!(read.unwrap_err().to_string().contains("the margin is inf"), "{text}");
    }

    /// Golden: Waudby-Smith et al. 2024 as in gbstats 0.8.0 (`SequentialTwoSidedTTest` with proportions), to the last
    /// digits it prints; by its count of time, all units of both arms.
    #[test]
    fn the_asymptotic_sequence_is_growth_book_s() {
        let odds = Odds::new(Share::new(0.1).unwrap(), Share::new(0.9).unwrap()).unwrap();
        let mut counts = ByOdds::<Values>::default();
        counts.at(odds).live = values(180, 9_000);
        counts.at(odds).candidate = values(32, 1_000);
        let (difference, variance, _) = Asymptotic::difference(&[&counts]).unwrap();
        assert!((difference - 0.012).abs() < 1e-9);
        assert!((libm::sqrt(Asymptotic::rho_squared()) - 0.039_840_066_771_373_68).abs() < 1e-12);
        let at = |claim, margin| Asymptotic::at(claim, margin).e_value_of(10_000.0, difference, variance);
        // The test is two-sided already, so both sides together have what each has.
        let Interval { low, high } = interval(0.1, -1.0..=1.0, difference, at).unwrap();
        assert!((low - -0.005_627_776_811_329_563_5).abs() < 1e-8, "{low}");
        assert!((high - 0.029_627_776_811_329_564).abs() < 1e-8, "{high}");
        let p = at(Claim::Harm, 0.0).p_value();
        assert!((p - 0.532_513_206_897_891_4).abs() < 1e-6, "{p}");
    }

    /// Bug: 9 % of the candidates on the margin of a ramp passed, at an error of 5 %. Cause: shares weighed by all units,
    /// so that a hundred of a candidate's spoke for ten thousand of both. Fix: a share weighs as much as it tells.
    #[test]
    fn a_small_share_weighs_as_little_as_it_tells() {
        let odds =
            |share: f64| Odds::new(Share::new(share).unwrap(), Share::new(1.0 - share).unwrap()).unwrap();
        let mut counts = ByOdds::<Values>::default();
        counts.at(odds(0.5)).live = values(500, 1_000);
        counts.at(odds(0.5)).candidate = values(500, 1_000);
        let (_, _, alone) = Asymptotic::difference(&[&counts]).unwrap();
        assert!((alone - 1_000.0).abs() < 1e-9);
        counts.at(odds(0.01)).live = values(500, 1_000);
        counts.at(odds(0.01)).candidate = values(0, 10);
        let (difference, _, both) = Asymptotic::difference(&[&counts]).unwrap();
        assert!((both - 1_000.0 - 20.0 * 1_000.0 / 1_010.0).abs() < 1e-9, "{both}");
        assert!((difference + 0.5 * (both - alone) / both).abs() < 1e-9, "{difference}");
    }

    #[test]
    fn too_few_events_of_either_say_nothing() {
        let odds = Odds::new(Share::new(0.5).unwrap(), Share::new(0.5).unwrap()).unwrap();
        let mut counts = ByOdds::<Values>::default();
        counts.at(odds).live = values(50, 5_000);
        counts.at(odds).candidate = values(90, 100);
        assert_eq!(Asymptotic::at(Claim::Harm, 0.0).e_value(&counts), EValue::ONE);
        // One that sells nothing has no events of its own.
        counts.at(odds).live = values(500, 5_000);
        counts.at(odds).candidate = values(0, 5_000);
        assert!(Asymptotic::at(Claim::NonInferiority, 0.0).e_value(&counts) > EValue::of(1e6));
        counts.at(odds).candidate = values(4_000, 5_000);
        assert!(Asymptotic::at(Claim::Harm, 0.0).e_value(&counts) > EValue::of(1e6));
        assert!(Asymptotic::at(Claim::NonInferiority, 0.0).e_value(&counts) < EValue::ONE);
    }
}

//! Two arms of live traffic: how many times as often the candidate has an event.

use std::sync::Arc;

use parking_lot::Mutex;

use super::allowed::{self, TIMES};
use super::bets::{Wealth, Weights, log_spaced};
use super::counts::{ByOdds, Events, Odds};
use super::e_value::{EValue, exp, ln, ln_down};
use super::in_arms::{Chances, Stratum};
use super::test::{Claim, SequentialTest};
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::base::ordered::OrderedMap;

/// How many times as often a unit of the candidate's has an event as one of live's: errors on a canary at most 1.25
/// times live's.
///
/// Looks only at the units that had the event, and asks whose they were: at a chance `pi` of being routed to the
/// candidate, and a relative risk `r`, a unit with the event was the candidate's with `pi r / (pi r + 1 - pi)`. A mixture
/// of likelihood ratios over `r` on a fixed grid: the inhomogeneous Bernoulli and Poisson test of Lindon & Malek
/// ("Anytime-valid inference for multinomial count data", NeurIPS 2022, section 4) with a discrete prior, counted apart
/// for every share that was ever in force.
///
/// Valid for any rate that both arms share, however it moves (days and nights, incidents), and for any schedule of
/// shares that does not look ahead. It cannot see a change that hits both arms alike; that is its virtue.
///
/// ```
/// use switchback::Share;
/// use switchback::stats::sequential::{ByOdds, Claim, Events, Odds, RateRatio, SequentialTest};
///
/// let odds = Odds::new(Share::new(0.1)?, Share::new(0.9)?).unwrap();
/// let mut errors = ByOdds::<Events>::default();
/// errors.at(odds).candidate = Events { events: 18, units: 400 };
/// errors.at(odds).live = Events { events: 62, units: 3_600 };
/// assert!(RateRatio::new(Claim::Harm, 1.0)?.e_value(&errors).p_value() < 0.05);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RateRatio {
    claim: Claim,
    times: f64,
}

checked_when_read! {
    RateRatio {
        claim: Claim,
        times: f64,
    }
}

/// Alternatives far from the margin, how much of the bets is on them, and those near it.
const FAR: usize = 12;

const ON_FAR: f64 = 0.88;

const NEAR: [f64; 4] = [1.03, 1.06, 1.12, 1.2];

impl RateRatio {
    /// A test of `claim` at the margin `times`.
    ///
    /// # Errors
    ///
    /// A margin that is not from 0.001 to 1,000 times.
    pub fn new(claim: Claim, times: f64) -> Result<Self, ArgumentError> {
        allowed::times(times).map(|()| Self::nearest(claim, times))
    }

    fn check(&self) -> Result<(), ArgumentError> {
        allowed::times(self.times)
    }

    /// The same at the nearest margin that there is a test for.
    pub(crate) fn nearest(claim: Claim, times: f64) -> Self {
        Self { claim, times: times.clamp(TIMES.0, TIMES.1) }
    }

    /// The relative risks of the grid, and their weights. Most is bet on 2 to 8 times the margin, which is where a test
    /// gains from not having to spread its bets: it sees these after some tens of events. The rest is for what lies close
    /// to the margin, and takes thousands anyhow.
    fn grid(&self) -> (Vec<f64>, Weights) {
        let far = log_spaced(1.3, 30.0, FAR);
        let bell = |beyond: f64| {
            let from_middle = (ln(beyond) - ln(4.0)) / 1.1;
            exp(-0.5 * from_middle * from_middle)
        };
        let bells: f64 = far.iter().map(|beyond| bell(*beyond)).sum();
        let near = NEAR.into_iter().map(|beyond| (beyond, (1.0 - ON_FAR) / NEAR.len() as f64));
        let (beyond, shares): (Vec<f64>, Vec<f64>) =
            near.chain(far.into_iter().map(|beyond| (beyond, ON_FAR * bell(beyond) / bells))).unzip();
        let risks = beyond.into_iter().map(|beyond| match self.claim {
            Claim::Harm => self.times * beyond,
            Claim::NonInferiority => self.times / beyond,
        });
        (risks.collect(), Weights::of(&shares))
    }

    /// The same test, ready to be asked often.
    pub(crate) fn ready(&self) -> ReadyRateRatio {
        let (risks, weights) = self.grid();
        ReadyRateRatio { times: self.times, risks, weights, factors: Mutex::default() }
    }
}

/// A test of a relative risk with its grid, and with what an event has earned at the odds that it was asked about.
pub(crate) struct ReadyRateRatio {
    times: f64,
    risks: Vec<f64>,
    weights: Weights,
    /// They follow from the odds and from what is fixed when the test is made, so none is ever out of date.
    factors: Mutex<OrderedMap<Odds, Arc<Factors>>>,
}

/// What each strategy makes of one event of the candidate's, and of one of live's.
struct Factors {
    candidate: Vec<i64>,
    live: Vec<i64>,
}

/// Odds whose factors are kept, of some 300 bytes each. Those of others are computed each time.
const ODDS_MAX: usize = 64;

impl ReadyRateRatio {
    /// How much is bet on each strategy.
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Returns what each strategy makes of these counts alone, one after the other.
    pub(crate) fn wealth(&self, counts: &[Stratum<'_, Events>]) -> Wealth {
        let mut wealth = self.weights.start();
        counts.iter().for_each(|(counts, chances)| self.earn(&mut wealth, counts, *chances));
        wealth
    }

    /// The e-value of these counts.
    pub(crate) fn e_value(&self, counts: &[Stratum<'_, Events>]) -> EValue {
        // Without an event the weighted mean is of ones, and rounding would make it less.
        let mut arms = counts.iter().flat_map(|(counts, _)| counts.iter());
        if arms.all(|(_, arms)| arms.candidate.events == 0 && arms.live.events == 0) {
            return EValue::ONE;
        }
        self.weights.mix(&self.wealth(counts))
    }

    fn earn(&self, wealth: &mut Wealth, counts: &ByOdds<Events>, chances: Chances<'_>) {
        for (odds, arms) in counts.iter() {
            // What did not happen earns nothing.
            if arms.candidate.events == 0 && arms.live.events == 0 {
                continue;
            }
            let factors = self.factors_at(odds, chances.at(odds));
            for (events, factors) in
                [(arms.candidate.events, &factors.candidate), (arms.live.events, &factors.live)]
            {
                if events > 0 {
                    for (log, factor) in wealth.0.iter_mut().zip(factors) {
                        *log = log.saturating_add(i128::from(events) * i128::from(*factor));
                    }
                }
            }
        }
    }

    fn factors_at(&self, odds: Odds, pi: f64) -> Arc<Factors> {
        // A chance that is counted is another at every look.
        if pi != odds.share() {
            return Arc::new(self.factors_of(pi));
        }
        let known = &mut *self.factors.lock();
        if let Some(factors) = known.get(&odds) {
            return Arc::clone(factors);
        }
        let factors = Arc::new(self.factors_of(pi));
        if known.len() < ODDS_MAX {
            known.insert(odds, Arc::clone(&factors));
        }
        factors
    }

    fn factors_of(&self, pi: f64) -> Factors {
        // Of a unit with the event: the chance that it is the candidate's, and that it is live's.
        let chances = |risk: f64| {
            let candidate = pi * risk;
            (candidate / (candidate + 1.0 - pi), (1.0 - pi) / (candidate + 1.0 - pi))
        };
        let (candidate, live) = chances(self.times);
        Factors {
            candidate: self.risks.iter().map(|risk| ln_down(chances(*risk).0 / candidate)).collect(),
            live: self.risks.iter().map(|risk| ln_down(chances(*risk).1 / live)).collect(),
        }
    }
}

impl SequentialTest for RateRatio {
    type Counts = ByOdds<Events>;

    fn e_value(&self, counts: &ByOdds<Events>) -> EValue {
        self.ready().e_value(&[(counts, Chances::default())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;
    use crate::stats::sequential::counts::{Additive, Odds};

    fn at(share: f64, candidate: u64, live: u64) -> ByOdds<Events> {
        let odds = Odds::new(Share::new(share).unwrap(), Share::new(1.0 - share).unwrap()).unwrap();
        let mut counts = ByOdds::default();
        counts.at(odds).candidate = Events { events: candidate, units: 0 };
        counts.at(odds).live = Events { events: live, units: 0 };
        counts
    }

    fn over(risks: &[f64], counts: &ByOdds<Events>) -> f64 {
        let test = ReadyRateRatio {
            risks: risks.to_vec(),
            weights: Weights::even(risks.len()),
            ..RateRatio::nearest(Claim::Harm, 1.0).ready()
        };
        test.e_value(&[(counts, Chances::default())]).ln()
    }

    #[test]
    fn a_margin_that_cannot_be_said_cannot_be_read() {
        let test = RateRatio::new(Claim::Harm, 1.25).unwrap();
        let text = serde_json::to_string(&test).unwrap();
        assert_eq!(serde_json::from_str::<RateRatio>(&text).unwrap(), test);
        let wild = text.replace("1.25", "0.0");
        let (said, read) =
            (RateRatio::new(Claim::Harm, 0.0).unwrap_err(), serde_json::from_str::<RateRatio>(&wild));
        assert!(read.unwrap_err().to_string().starts_with(&said.to_string()), "{said}");
    }

    /// Golden: Lindon & Malek, NeurIPS 2022, section 4 with a discrete prior, computed with Python.
    #[test]
    fn relative_risks_have_the_reference_s_wealth() {
        let risks = [1.25, 1.5, 2.0, 4.0];
        let found = over(&risks, &at(0.1, 18, 62));
        assert!((found - 3.998_979_726_500_527_6).abs() < 1e-6, "{found}");

        let mut ramp = at(0.05, 4, 30);
        ramp.merge(&at(0.25, 14, 32));
        for (risk, expected) in risks.into_iter().zip([
            0.805_485_640_148_824,
            1.040_803_477_680_690_7,
            0.553_180_307_864_678_2,
            -5.540_933_785_626_802,
        ]) {
            let found = over(&[risk], &ramp);
            assert!((found - expected).abs() < 1e-6, "{found}");
        }
        assert!((over(&risks, &ramp) - 0.532_387_154_102_223_4).abs() < 1e-6);
    }

    /// What an event has earned is kept for as many odds as there is room for; those beyond are none the worse.
    #[test]
    fn a_test_that_is_asked_often_says_what_a_new_one_says() {
        let test = RateRatio::nearest(Claim::Harm, 1.25);
        let ready = test.ready();
        for _ in 0..2 {
            for share in 1..=2 * ODDS_MAX {
                let counts = at(share as f64 / 1_000.0, 7, 20);
                let counted = [(&counts, Chances::default())];
                assert_eq!(ready.e_value(&counted), test.e_value(&counts), "{share}");
            }
        }
        assert_eq!(ready.factors.lock().len(), ODDS_MAX);
    }

    #[test]
    fn units_without_the_event_say_nothing() {
        let test = RateRatio::nearest(Claim::Harm, 1.25);
        let (few, mut many) = (at(0.2, 5, 3), at(0.2, 5, 3));
        many.merge(&{
            let odds = Odds::new(Share::new(0.2).unwrap(), Share::new(0.8).unwrap()).unwrap();
            let mut counts = ByOdds::<Events>::default();
            counts.at(odds).live.units = 1 << 50;
            counts
        });
        assert_eq!(test.e_value(&few), test.e_value(&many));
    }
}

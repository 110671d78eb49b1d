//! Watching a rate for a change, without an end in sight.

use serde::{Deserialize, Serialize};

use super::bets::{Bets, Weights, log_spaced};
use super::counts::Events;
use super::e_value::{EValue, exp, ln};
use crate::base::invalid::ArgumentError;

/// Says when a rate has risen above a reference, with a guaranteed average run length: while the rate stays at or below
/// the reference, an alarm comes after `run_length` units on average, or later, however the rate moves below it.
///
/// The Shiryaev-Roberts e-detector of Shin, Ramdas & Rinaldo ("E-detectors: a nonparametric framework for sequential
/// change detection", New England J. Stat. Data Sci. 2024): `M <- (M + 1) (1 + stake (x - reference))` for stakes on a
/// grid, alarm when their mean reaches the run length. Unlike a test it forgets: it depends on the order of blocks, though
/// not on the order within one. A rate that doubles from 10 to 20 % is seen after some 110 units at a run length of 10,000,
/// where ADWIN takes 440 and Page-Hinkley's test 630 (`benches/drift`).
///
/// ```
/// use switchback::stats::sequential::{Events, RateDetector};
///
/// let mut detector = RateDetector::new(0.1, 10_000.0)?;
/// (0..50).for_each(|_| detector.observe(Events { events: 2, units: 20 }));
/// assert!(!detector.has_risen());
/// (0..20).for_each(|_| detector.observe(Events { events: 6, units: 20 }));
/// assert!(detector.has_risen());
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RateDetector {
    reference: f64,
    bets: Bets,
    run_length: f64,
    /// The logarithm of M of each stake.
    logs: Vec<f64>,
}

/// The state that a detector has come to: enough to go on elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorState {
    /// The rate that it takes for good.
    pub reference: f64,
    /// See [`RateDetector`].
    pub run_length: f64,
    /// The statistic of each stake, as e-values.
    pub statistics: Vec<EValue>,
}

impl RateDetector {
    /// A detector of rates above `reference`.
    ///
    /// # Errors
    ///
    /// A reference that is not from 1e-6 to 1 - 1e-6, or a run length below 1 or that is not finite.
    pub fn new(reference: f64, run_length: f64) -> Result<Self, ArgumentError> {
        let valid = (1e-6..=1.0 - 1e-6).contains(&reference);
        ArgumentError::unless(valid, "the reference", reference, "from 1e-6 to 1 - 1e-6")?;
        let valid = run_length >= 1.0 && run_length.is_finite();
        ArgumentError::unless(valid, "the run length", run_length, "1 or more, and finite")?;
        Ok(Self::nearest(reference, run_length))
    }

    /// The same at the nearest reference that there is a detector for.
    pub(crate) fn nearest(reference: f64, run_length: f64) -> Self {
        let reference = reference.clamp(1e-6, 1.0 - 1e-6);
        let stakes: Vec<f64> = log_spaced(1.1, 8.0, 10)
            .into_iter()
            .map(|times| {
                let odds = times * reference / (1.0 - reference);
                (odds / (1.0 + odds) - reference) / (reference * (1.0 - reference))
            })
            .collect();
        let bets = Bets::on_gains(Weights::even(stakes.len()), &stakes, &[1.0 - reference, -reference]);
        let logs = vec![f64::NEG_INFINITY; stakes.len()];
        Self { reference, bets, run_length: run_length.max(1.0), logs }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), or as many statistics as no detector has: the state is another release's.
    pub fn resume(state: &DetectorState) -> Result<Self, ArgumentError> {
        let mut detector = Self::new(state.reference, state.run_length)?;
        let (found, known) = (state.statistics.len(), detector.logs.len());
        let allowed = format!("{known}, as `state` gives");
        ArgumentError::unless(found == known, "the number of statistics of a detector", found, allowed)?;
        for (log, statistic) in detector.logs.iter_mut().zip(&state.statistics) {
            *log = statistic.ln();
        }
        Ok(detector)
    }

    /// Returns the state that it has come to. To 2^-32 of a logarithm, rounded down.
    pub fn state(&self) -> DetectorState {
        let statistics = self.logs.iter().map(|log| EValue::from_ln(*log)).collect();
        DetectorState { reference: self.reference, run_length: self.run_length, statistics }
    }

    /// Takes note of a block of units. A harm is taken to have begun with a block, not within it.
    pub fn observe(&mut self, block: Events) {
        if block.units == 0 {
            return;
        }
        let mut wealth = self.bets.start();
        let events = block.events.min(block.units);
        self.bets.earn(&mut wealth, [(0, events), (1, block.units - events)]);
        // A unit each could have been the first: the mean of M then grows by at most one per unit.
        let fresh = ln(block.units as f64);
        for (log, gain) in self.logs.iter_mut().zip(wealth.ln()) {
            let (larger, smaller) = (log.max(fresh), log.min(fresh));
            *log = larger + ln(1.0 + exp(smaller - larger)) + gain;
        }
    }

    /// The mean of the statistics: what is compared with the run length.
    pub fn statistic(&self) -> EValue {
        let statistics: Vec<EValue> = self.logs.iter().map(|log| EValue::from_ln(*log)).collect();
        EValue::mean(&statistics)
    }

    /// Whether the rate has risen.
    pub fn has_risen(&self) -> bool {
        self.statistic() >= EValue::of(self.run_length)
    }

    /// Begins anew, after an alarm was seen to.
    pub fn reset(&mut self) {
        self.logs.fill(f64::NEG_INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::SplitMix64;

    /// Shin, Ramdas & Rinaldo 2024, Theorem 2.4: while nothing has changed, alarms come after `run_length` units or later
    /// on average. (400 runs; the reference measured 11,417 units for a run length of 10,000.)
    #[test]
    fn the_average_run_length_is_what_was_asked_for() {
        let mut chance = SplitMix64(7);
        let (mut units, runs) = (0_u64, 200);
        for _ in 0..runs {
            let mut detector = RateDetector::nearest(0.1, 500.0);
            while !detector.has_risen() {
                let event = chance.uniform() < 0.1;
                detector.observe(Events { events: event.into(), units: 1 });
                units += 1;
            }
        }
        let average = units as f64 / f64::from(runs);
        assert!(average > 500.0, "{average}");
        assert!(average < 1_500.0, "a detector that never alarms detects nothing: {average}");
    }

    #[test]
    fn a_doubled_rate_is_seen_within_some_hundred_units() {
        let mut chance = SplitMix64(11);
        let mut delays: Vec<u64> = (0..60)
            .map(|_| {
                let mut detector = RateDetector::nearest(0.1, 10_000.0);
                (0..1_000).for_each(|_| {
                    detector.observe(Events { events: (chance.uniform() < 0.1).into(), units: 1 });
                });
                detector.reset();
                let mut delay = 0;
                while !detector.has_risen() {
                    detector.observe(Events { events: (chance.uniform() < 0.2).into(), units: 1 });
                    delay += 1;
                }
                delay
            })
            .collect();
        delays.sort_unstable();
        assert!(delays[30] <= 130, "{}", delays[30]);
    }
}

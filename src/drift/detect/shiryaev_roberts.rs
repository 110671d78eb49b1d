//! The detector with a guaranteed run length.

use serde::{Deserialize, Serialize};

use super::detector::{Detector, Signal, usable};

/// Says when the mean of values in `0..=1` has risen above a reference (or fallen below it). While it has not, an alarm
/// comes after `run_length` values on average, or later: whatever the distribution, and however the mean moves on the
/// good side.
///
/// The Shiryaev-Roberts e-detector of Shin, Ramdas & Rinaldo ("E-detectors: a nonparametric framework for sequential
/// change detection", New England J. Stat. Data Sci. 2024): `M <- (M + 1) (1 + stake (x - reference))` for ten stakes
/// on a grid, alarm when their mean reaches the run length. For a doubling from 10 to 20 % at a run length of 10,000 it
/// takes about 110 values, where ADWIN takes 440 and Page-Hinkley 630.
///
/// The same as [`RateDetector`](crate::stats::sequential::RateDetector), for values one at a time instead of events in
/// blocks.
///
/// ```
/// use switchback::drift::detect::{Detector, ShiryaevRoberts, Signal};
///
/// let mut detector = ShiryaevRoberts::above(0.1, 10_000.0);
/// assert!((0..50).all(|place| detector.push(f64::from(place % 10 == 0)) == Signal::Quiet));
/// assert!((0..50).any(|place| detector.push(f64::from(place % 2)) == Signal::Drift));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct ShiryaevRoberts {
    reference: f64,
    run_length: f64,
    falling: bool,
    /// M of each stake. Bounded: they never add up to ten times what an alarm needs, since an alarm begins anew.
    statistics: [f64; STAKES],
    drifted: bool,
    /// These follow from the reference.
    #[serde(skip_serializing)]
    stakes: [f64; STAKES],
}

/// How many stakes.
const STAKES: usize = 10;

/// The odds of the means betted on, as multiples of those of the reference: from a slight rise to a large one.
const SMALLEST_RISE: f64 = 1.1;

const LARGEST_RISE: f64 = 8.0;

impl ShiryaevRoberts {
    /// Alarms when the mean has risen above `reference`, which is kept within 1e-6 of 0 and 1. `run_length` is that of
    /// false alarms, kept within 1 and 1e15: a value a minute and 10,000 are one in a week.
    pub fn above(reference: f64, run_length: f64) -> Self {
        Self::new(reference, run_length, false)
    }

    /// Alarms when the mean has fallen below `reference`.
    pub fn below(reference: f64, run_length: f64) -> Self {
        Self::new(1.0 - reference, run_length, true)
    }

    fn new(reference: f64, run_length: f64, falling: bool) -> Self {
        let reference = if reference.is_nan() { 0.5 } else { reference.clamp(1e-6, 1.0 - 1e-6) };
        let run_length = if run_length.is_nan() { 1e4 } else { run_length.clamp(1.0, 1e15) };
        let stakes = stakes(reference);
        Self { reference, run_length, falling, statistics: [0.0; STAKES], drifted: false, stakes }
    }

    /// The mean of the statistics: an alarm is when it reaches the run length.
    pub fn statistic(&self) -> f64 {
        self.statistics.iter().sum::<f64>() / STAKES as f64
    }
}

impl Detector for ShiryaevRoberts {
    /// `x` lies in `0..=1`; what lies outside is taken as the nearer end.
    fn push(&mut self, x: f64) -> Signal {
        let Some(x) = usable(x) else { return Signal::Quiet };
        if self.drifted {
            self.reset();
        }
        let x = x.clamp(0.0, 1.0);
        let gain = if self.falling { 1.0 - x } else { x } - self.reference;
        for (statistic, stake) in self.statistics.iter_mut().zip(self.stakes) {
            *statistic = (*statistic + 1.0) * (1.0 + stake * gain);
        }
        self.drifted = self.statistic() >= self.run_length;
        if self.drifted { Signal::Drift } else { Signal::Quiet }
    }

    fn reset(&mut self) {
        self.statistics.fill(0.0);
        self.drifted = false;
    }
}

/// What each strategy stakes so that it does best where the mean has risen to its place on the grid (Kelly's bet). A
/// stake times the reference is below 1, so no factor is negative.
fn stakes(reference: f64) -> [f64; STAKES] {
    let step = libm::log(LARGEST_RISE / SMALLEST_RISE) / (STAKES - 1) as f64;
    std::array::from_fn(|place| {
        let odds = SMALLEST_RISE * libm::exp(step * place as f64) * reference / (1.0 - reference);
        (odds / (1.0 + odds) - reference) / (reference * (1.0 - reference))
    })
}

/// A detector as it is written down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    reference: f64,
    run_length: f64,
    falling: bool,
    statistics: [f64; STAKES],
    drifted: bool,
}

impl TryFrom<Written> for ShiryaevRoberts {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { reference, run_length, falling, statistics, drifted } = written;
        let bad = |statistic: &f64| !statistic.is_finite() || *statistic < 0.0;
        if statistics.iter().any(bad) {
            return Err(
                "this is no state of an e-SR detector: its statistics are finite and none is below 0",
            );
        }
        Ok(Self { statistics, drifted, ..Self::new(reference, run_length, falling) })
    }
}

//! What people use today, on the same traffic.

use switchback::stats::sequential::{Additive, Arms, PairedEvents};

use crate::simulation::Moment;
use crate::streams::{Event, Latencies, Of, Pair};
use crate::trial::Method;

/// One-sided 5 % of a standard normal: what a test is held to that was made for one look.
const Z: f64 = 1.644_853_626_951;

/// Looks begin here, and one follows every so many units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    pub(crate) from: u64,
    pub(crate) every: u64,
}

impl Looks {
    fn at(self, units: u64) -> bool {
        units >= self.from && units.is_multiple_of(self.every)
    }
}

/// Counts of peers see every unit in order, on one thread.
macro_rules! never_merged {
    ($($counts:ty),*) => {$(
        impl Additive for $counts {
            fn merge(&mut self, _: &Self) {
                unreachable!("peers are not run on shards")
            }

            fn is_empty(&self) -> bool {
                self.units == 0
            }
        }
    )*};
}

never_merged!(TwoRates, Recent, Histograms, Intervals);

// ---------------------------------------------------------------------------------------------------------------------
// Tests for one look

/// McNemar's z.
pub(crate) struct McNemarZ(pub(crate) Looks);

impl Method<Pair> for McNemarZ {
    type Counts = PairedEvents;

    fn count(&self, counts: &mut PairedEvents, _: &Moment, seen: Pair) {
        counts.count(Arms { candidate: seen.candidate, live: seen.live });
    }

    fn evidence(&self, counts: &PairedEvents) -> f64 {
        let (more, less) = (counts.only_candidate as f64, counts.only_live as f64);
        if self.0.at(counts.pairs()) && more + less > 0.0 {
            (more - less) / (more + less).sqrt()
        } else {
            f64::NEG_INFINITY
        }
    }

    fn bar(&self) -> f64 {
        Z
    }
}

/// The z of two proportions, with the pooled rate in its variance.
pub(crate) struct TwoProportions(pub(crate) Looks);

/// Units and events of live and of the candidate.
#[derive(Clone, Default)]
pub(crate) struct TwoRates {
    units: u64,
    of: [[f64; 2]; 2],
}

impl Method<Of<Event>> for TwoProportions {
    type Counts = TwoRates;

    fn count(&self, counts: &mut TwoRates, _: &Moment, seen: Of<Event>) {
        counts.units += 1;
        let [units, events] = &mut counts.of[usize::from(seen.candidate)];
        *units += 1.0;
        *events += f64::from(u8::from(seen.seen.bad));
    }

    fn evidence(&self, counts: &TwoRates) -> f64 {
        let [[live_units, live], [units, events]] = counts.of;
        let pooled = (live + events) / (live_units + units);
        let variance = pooled * (1.0 - pooled) * (1.0 / live_units + 1.0 / units);
        if self.0.at(counts.units) && variance > 0.0 && variance.is_finite() {
            (events / units - live / live_units) / variance.sqrt()
        } else {
            f64::NEG_INFINITY
        }
    }

    fn bar(&self) -> f64 {
        Z
    }
}

/// Kolmogorov and Smirnov's test of whether two samples of latencies have one distribution, two-sided at 5 %.
pub(crate) struct KolmogorovSmirnov(pub(crate) Looks);

/// Latencies on a grid that is as good as continuous: steps of a hundredth of the logarithm.
#[derive(Clone)]
pub(crate) struct Histograms {
    units: u64,
    of: [Vec<f64>; 2],
}

const STEPS: usize = 800;

impl Default for Histograms {
    fn default() -> Self {
        Self { units: 0, of: [vec![0.0; STEPS], vec![0.0; STEPS]] }
    }
}

impl Method<Of<f64>> for KolmogorovSmirnov {
    type Counts = Histograms;

    fn count(&self, counts: &mut Histograms, _: &Moment, seen: Of<f64>) {
        let step = (seen.seen.ln() / Latencies::SPREAD * 100.0 + STEPS as f64 / 2.0).max(0.0) as usize;
        counts.units += 1;
        counts.of[usize::from(seen.candidate)][step.min(STEPS - 1)] += 1.0;
    }

    /// The largest distance of the distribution functions, in the units of its limiting distribution.
    fn evidence(&self, counts: &Histograms) -> f64 {
        if !self.0.at(counts.units) {
            return f64::NEG_INFINITY;
        }
        let [live, candidate] = &counts.of;
        let (all_live, all): (f64, f64) = (live.iter().sum(), candidate.iter().sum());
        let (mut below_live, mut below, mut distance) = (0.0, 0.0, 0.0_f64);
        for (theirs, own) in live.iter().zip(candidate) {
            below_live += theirs / all_live;
            below += own / all;
            distance = distance.max((below_live - below).abs());
        }
        distance * (all_live * all / (all_live + all)).sqrt()
    }

    /// The 95th percentile of Kolmogorov's distribution.
    fn bar(&self) -> f64 {
        1.358_099
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// A fixed threshold

/// An alert as it is written everywhere: over its last 500 requests, the canary fails more than twice as often as is
/// normal.
pub(crate) struct FixedThreshold {
    pub(crate) normal: f64,
}

impl FixedThreshold {
    const WINDOW: usize = 500;
    /// Requests of the canary before which the alert is silent.
    const FIRST: usize = 100;
}

/// The last outcomes of the canary.
#[derive(Clone, Default)]
pub(crate) struct Recent {
    units: usize,
    outcomes: Vec<bool>,
    failed: usize,
}

impl Method<Of<Event>> for FixedThreshold {
    type Counts = Recent;

    fn count(&self, counts: &mut Recent, _: &Moment, seen: Of<Event>) {
        if !seen.candidate {
            return;
        }
        let place = counts.units % Self::WINDOW;
        counts.units += 1;
        counts.failed += usize::from(seen.seen.bad);
        match counts.outcomes.get_mut(place) {
            Some(oldest) => counts.failed -= usize::from(std::mem::replace(oldest, seen.seen.bad)),
            None => counts.outcomes.push(seen.seen.bad),
        }
    }

    fn evidence(&self, counts: &Recent) -> f64 {
        if counts.units < Self::FIRST {
            return f64::NEG_INFINITY;
        }
        counts.failed as f64 / counts.outcomes.len() as f64 / self.normal
    }

    /// More than twice.
    fn bar(&self) -> f64 {
        2.0 + 1e-9
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// A canary judge

/// Mann and Whitney's test as Kayenta's `NetflixACAJudge` uses it: mean latencies per interval of time, the canary's
/// against the baseline's; an alarm where the interval of the shift at a confidence of 98 %, of which the estimate is
/// Hodges and Lehmann's, lies above a quarter of that estimate. Judged after every interval.
pub(crate) struct CanaryJudge;

impl CanaryJudge {
    /// Units in an interval.
    const INTERVAL: u64 = 200;
    /// Intervals before the first judgement.
    const FIRST: usize = 10;
    /// Of a standard normal, for an interval of 98 % on two sides.
    const Z: f64 = 2.326_347_874_041;
    const TOLERANCE: f64 = 0.25;
}

/// The means of the closed intervals, all differences between them in order, and the open interval.
#[derive(Clone, Default)]
pub(crate) struct Intervals {
    units: u64,
    open: [[f64; 2]; 2],
    means: [Vec<f64>; 2],
    differences: Vec<f64>,
}

impl Intervals {
    /// Closes the open interval. One in which an arm had no request is passed over.
    fn close(&mut self) {
        let [live, candidate] = std::mem::take(&mut self.open).map(|[units, sum]| sum / units);
        if live.is_nan() || candidate.is_nan() {
            return;
        }
        let [all_live, all] = &mut self.means;
        let mut fresh: Vec<f64> = all_live.iter().map(|live| candidate - live).collect();
        all.push(candidate);
        fresh.extend(all.iter().map(|candidate| candidate - live));
        all_live.push(live);
        self.differences.extend(fresh);
        // Runs that are in order already are merged.
        self.differences.sort_by(f64::total_cmp);
    }
}

impl Method<Of<f64>> for CanaryJudge {
    type Counts = Intervals;

    fn count(&self, counts: &mut Intervals, _: &Moment, seen: Of<f64>) {
        if counts.units > 0 && counts.units.is_multiple_of(Self::INTERVAL) {
            counts.close();
        }
        counts.units += 1;
        let [units, sum] = &mut counts.open[usize::from(seen.candidate)];
        *units += 1.0;
        *sum += seen.seen;
    }

    /// How far the interval of the shift lies above the tolerated, judged at the first unit after an interval.
    fn evidence(&self, counts: &Intervals) -> f64 {
        let intervals = counts.means[0].len();
        if counts.units % Self::INTERVAL != 1 || intervals < Self::FIRST {
            return f64::NEG_INFINITY;
        }
        let (pairs, size) = (counts.differences.len() as f64, intervals as f64);
        let spread = (size * size * (2.0 * size + 1.0) / 12.0).sqrt();
        let lower = (pairs / 2.0 - 0.5 - Self::Z * spread).max(0.0) as usize;
        let estimate = counts.differences[counts.differences.len() / 2];
        counts.differences[lower] - Self::TOLERANCE * estimate.abs()
    }

    fn bar(&self) -> f64 {
        f64::MIN_POSITIVE
    }
}

/// Page and Hinkley's detector of a rise, with the settings that the Python package `river` ships.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageHinkley {
    units: f64,
    mean: f64,
    sum: f64,
    smallest: f64,
}

impl PageHinkley {
    /// Whether a rise is seen with this unit.
    pub(crate) fn observe(&mut self, bad: bool) -> bool {
        let value = f64::from(u8::from(bad));
        self.units += 1.0;
        self.mean += (value - self.mean) / self.units;
        self.sum = 0.9999 * self.sum + value - self.mean - 0.005;
        self.smallest = self.smallest.min(self.sum);
        self.units >= 30.0 && self.sum - self.smallest > 50.0
    }
}

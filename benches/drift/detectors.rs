//! What others watch an error rate with, to compare the library's detector with: as river 0.26.1 has them, with its
//! settings, checked against the places at which it alarms.

use switchback::stats::sequential::{Events, RateDetector};

use crate::Chance;

/// Looks at a series for a change of its mean.
pub(crate) trait Detector {
    /// Takes note of a value; whether the series has changed. The value after an alarm is the first of a new series.
    fn push(&mut self, x: f64) -> bool;
}

/// The library's, one error at a time.
pub(crate) struct ByRate {
    detector: RateDetector,
    drifted: bool,
}

impl ByRate {
    pub(crate) fn new(reference: f64, run_length: f64) -> Self {
        Self { detector: RateDetector::new(reference, run_length).unwrap(), drifted: false }
    }
}

impl Detector for ByRate {
    fn push(&mut self, x: f64) -> bool {
        if std::mem::take(&mut self.drifted) {
            self.detector.reset();
        }
        self.detector.observe(Events { events: x as u64, units: 1 });
        self.drifted = self.detector.has_risen();
        self.drifted
    }
}

/// A mean that moves with each value, as West (CACM 1979), in river's order of operations: so that rounding is the same.
#[derive(Clone, Copy, Default)]
struct Mean {
    count: f64,
    value: f64,
}

impl Mean {
    fn push(&mut self, x: f64) {
        self.count += 1.0;
        self.value += (1.0 / self.count) * (x - self.value);
    }
}

/// Adaptive windowing: keeps as many of the last values as have one mean (Bifet & Gavaldà, "Learning from time-changing
/// data with adaptive windowing", SDM 2007).
#[derive(Default)]
pub(crate) struct Adwin {
    pushed: u64,
    drifted: bool,
    /// The number of values in a bucket of row `i` is `2^i`; within a row from old to new.
    rows: Vec<Vec<Bucket>>,
    width: f64,
    total: f64,
    /// Sum of squared distances from the mean.
    variance: f64,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    total: f64,
    variance: f64,
}

/// One side of a cut.
#[derive(Clone, Copy, Default)]
struct Side {
    width: f64,
    total: f64,
}

impl Adwin {
    const DELTA: f64 = 0.002;
    const CLOCK: u64 = 32;
    const BUCKETS: usize = 5;
    const SHORTEST: f64 = 5.0;
    const GRACE: f64 = 10.0;

    fn add(&mut self, x: f64) {
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        self.rows[0].push(Bucket { total: x, variance: 0.0 });
        self.width += 1.0;
        if self.width > 1.0 {
            let before = self.width - 1.0;
            let distance = x - self.total / before;
            self.variance += before * distance * distance / self.width;
        }
        self.total += x;
        // Two oldest buckets of a row that is too long become one of the next.
        let mut row = 0;
        while self.rows.get(row).is_some_and(|full| full.len() > Self::BUCKETS) {
            let merged = {
                let (a, b) = (self.rows[row].remove(0), self.rows[row].remove(0));
                let size = size_of_row(row);
                let distance = a.total / size - b.total / size;
                let between = size * size * distance * distance / (size + size);
                Bucket { total: a.total + b.total, variance: a.variance + b.variance + between }
            };
            row += 1;
            if self.rows.len() == row {
                self.rows.push(Vec::new());
            }
            self.rows[row].push(merged);
        }
    }

    /// Cuts off old buckets while two sides of the window differ.
    fn cut(&mut self) -> bool {
        let mut found = false;
        while self.some_cut_differs() {
            found = true;
            self.forget_oldest();
        }
        found
    }

    fn some_cut_differs(&self) -> bool {
        let (mut old, mut new) = (Side::default(), Side { width: self.width, total: self.total });
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for bucket in buckets {
                let size = size_of_row(row);
                old.width += size;
                old.total += bucket.total;
                new.width -= size;
                new.total -= bucket.total;
                if old.width.min(new.width) >= Self::SHORTEST && self.differ(old, new) {
                    return true;
                }
            }
        }
        false
    }

    /// Bifet & Gavaldà 2007, section 4.1: the cut by Bernstein's bound.
    fn differ(&self, old: Side, new: Side) -> bool {
        let strictness = (2.0 * self.width.ln() / Self::DELTA).ln();
        let few = 1.0 / (old.width - Self::SHORTEST + 1.0) + 1.0 / (new.width - Self::SHORTEST + 1.0);
        let spread = (2.0 * few * (self.variance / self.width) * strictness).sqrt();
        let bound = spread + 2.0 / 3.0 * strictness * few;
        (old.total / old.width - new.total / new.width).abs() > bound
    }

    fn forget_oldest(&mut self) {
        let row = self.rows.len() - 1;
        let (size, bucket) = (size_of_row(row), self.rows[row].remove(0));
        if self.rows[row].is_empty() {
            self.rows.pop();
        }
        self.width -= size;
        self.total -= bucket.total;
        let distance = bucket.total / size - self.total / self.width;
        self.variance -= bucket.variance + size * self.width * distance * distance / (size + self.width);
    }
}

fn size_of_row(row: usize) -> f64 {
    (1_u64 << row) as f64
}

impl Detector for Adwin {
    fn push(&mut self, x: f64) -> bool {
        if self.drifted {
            *self = Self::default();
        }
        self.add(x);
        self.pushed += 1;
        let looks = self.pushed.is_multiple_of(Self::CLOCK) && self.width > Self::GRACE;
        self.drifted = looks && self.cut();
        self.drifted
    }
}

/// Sums up by how much values lie above or below the mean so far, and says so when the sum has left its extreme by more
/// than 50 (Page, "Continuous inspection schemes", Biometrika 41, 1954).
#[derive(Default)]
pub(crate) struct PageHinkley {
    mean: Mean,
    rise: f64,
    fall: f64,
    lowest_rise: Option<f64>,
    highest_fall: Option<f64>,
    drifted: bool,
}

impl Detector for PageHinkley {
    fn push(&mut self, x: f64) -> bool {
        const WARM: f64 = 30.0;
        const SLACK: f64 = 0.005;
        const THRESHOLD: f64 = 50.0;
        const KEEP: f64 = 1.0 - 0.0001;
        if self.drifted {
            *self = Self::default();
        }
        self.mean.push(x);
        let distance = x - self.mean.value;
        self.rise = KEEP * self.rise + distance - SLACK;
        self.fall = KEEP * self.fall + distance + SLACK;
        let lowest = self.lowest_rise.map_or(self.rise, |lowest| lowest.min(self.rise));
        // River's: the largest sum before there is any is -1.
        let highest = self.highest_fall.unwrap_or(-1.0).max(self.fall);
        (self.lowest_rise, self.highest_fall) = (Some(lowest), Some(highest));
        let moved = self.rise - lowest > THRESHOLD || highest - self.fall > THRESHOLD;
        self.drifted = self.mean.count >= WARM && moved;
        self.drifted
    }
}

/// Alarms when an error rate is three standard deviations above the lowest it has been (Gama, Medas, Castillo &
/// Rodrigues, "Learning with drift detection", SBIA 2004). It takes minima of a noisy rate for what is normal.
#[derive(Default)]
pub(crate) struct Ddm {
    rate: Mean,
    lowest: Option<(f64, f64)>,
    drifted: bool,
}

impl Detector for Ddm {
    fn push(&mut self, x: f64) -> bool {
        const WARM: f64 = 30.0;
        const DEVIATIONS: f64 = 3.0;
        if self.drifted {
            *self = Self::default();
        }
        self.rate.push(x);
        if self.rate.count <= WARM {
            return false;
        }
        let rate = self.rate.value;
        let deviation = (rate * (1.0 - rate) / self.rate.count).sqrt();
        let lowest = match self.lowest {
            Some(lowest) if rate + deviation > lowest.0 + lowest.1 => lowest,
            _ => (rate, deviation),
        };
        self.lowest = Some(lowest);
        self.drifted = rate + deviation > lowest.0 + DEVIATIONS * lowest.1;
        self.drifted
    }
}

/// Averages before and after a cut, by Hoeffding's bound (Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno,
/// Ortiz-Díaz & Caballero-Mota, "Online and non-parametric drift detection methods based on Hoeffding's bounds", IEEE TKDE
/// 27(3), 2015).
#[derive(Default)]
pub(crate) struct HddmA {
    all: Mean,
    /// All, as it was where its upper bound was lowest.
    low: Mean,
    drifted: bool,
}

impl Detector for HddmA {
    fn push(&mut self, x: f64) -> bool {
        const ERROR: f64 = 0.001;
        if self.drifted {
            *self = Self::default();
        }
        self.all.push(x);
        let (all, bound) = (self.all, |count: f64| (1.0 / (2.0 * count) * (1.0 / ERROR).ln()).sqrt());
        if self.low.count == 0.0 || self.low.value + bound(self.low.count) >= all.value + bound(all.count) {
            self.low = all;
        }
        if self.low.count == all.count {
            return false;
        }
        let few = (all.count - self.low.count) / self.low.count * (1.0 / all.count);
        self.drifted = all.value - self.low.value >= (few / 2.0 * (2.0 / ERROR).ln()).sqrt();
        self.drifted
    }
}

/// A peer that alarms elsewhere than river's does on the same values is no peer.
pub(crate) fn check(failures: &mut Vec<String>) {
    let mut chance = Chance(42);
    let rates = [0.1, 0.3, 0.05].into_iter().flat_map(|rate| std::iter::repeat_n(rate, 2_000));
    let errors: Vec<f64> = rates.map(|rate| f64::from(chance.uniform() < rate)).collect();
    let mut expect = |name: &str, detector: &mut dyn Detector, series: &[f64], river: &[usize]| {
        let alarms: Vec<usize> =
            (0..).zip(series).filter(|(_, x)| detector.push(**x)).map(|(n, _)| n).collect();
        if alarms != river {
            failures.push(format!("{name} alarms at {alarms:?}, river's at {river:?}"));
        }
    };
    expect("ADWIN", &mut Adwin::default(), &errors, &[2_143, 4_127]);
    expect("Page-Hinkley", &mut PageHinkley::default(), &errors, &[2_316, 4_187]);
    expect("DDM", &mut Ddm::default(), &errors, &[2_282]);
    expect("HDDM-A", &mut HddmA::default(), &errors, &[2_117]);
    for (seed, river) in [(1, [767, 2_143, 3_647]), (2, [735, 2_111, 3_583]), (3, [767, 2_111, 3_551])] {
        let mut chance = Chance(seed);
        let mut value = |step: f64| (0..4).map(|_| chance.uniform()).sum::<f64>() * 10.0 - 20.0 + step;
        let steps =
            [0.0, 5.0, 5.0, -3.0, -3.0, 0.0].into_iter().flat_map(|step| std::iter::repeat_n(step, 700));
        let series: Vec<f64> = steps.map(&mut value).collect();
        expect("ADWIN, without bounds", &mut Adwin::default(), &series, &river);
    }
}

//! A window that is as long as the series has not changed.

use serde::{Deserialize, Serialize};

use super::detector::{Detector, Signal, usable};

/// Adaptive windowing: keeps as many of the last values as have one mean, and says so when they no longer do (Bifet &
/// Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007; the same indices as river's `ADWIN`).
///
/// Needs to know nothing of the series. Memory grows with the logarithm of the window: some 100 bytes for each
/// doubling, 6 KB at the very most with the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Adwin {
    delta: f64,
    clock: u32,
    buckets: usize,
    shortest: f64,
    grace: f64,
    pushed: u64,
    drifted: bool,
    window: Histogram,
}

/// The window in buckets of 1, 2, 4, ... values, as it moves.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Histogram {
    /// The number of values in a bucket of row `i` is `2^i`; within a row from old to new.
    rows: Vec<Vec<Bucket>>,
    width: f64,
    total: f64,
    /// Sum of squared distances from the mean.
    variance: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
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

/// More rows than a window of 2^63 values has.
const ROWS_MAX: usize = 64;

const BUCKETS_MAX: usize = 64;

impl Adwin {
    /// With river's defaults: `delta` 0.002, looked at every 32 values, rows of 5 buckets, sides of at least 5 values.
    pub fn new() -> Self {
        Self {
            delta: 0.002,
            clock: 32,
            buckets: 5,
            shortest: 5.0,
            grace: 10.0,
            pushed: 0,
            drifted: false,
            window: Histogram::default(),
        }
    }

    /// How surely a change is to be one: the chance that a window is cut wrongly, at one look. 0.002 unless told.
    #[must_use]
    pub fn delta(mut self, delta: f64) -> Self {
        self.delta = delta.clamp(1e-300, 1.0);
        self
    }

    /// How many values there are between looks. 32 unless told: a look costs some hundred times what a value does.
    #[must_use]
    pub fn clock(mut self, clock: u32) -> Self {
        self.clock = clock.max(1);
        self
    }

    /// How many values the window holds: those since the last change.
    pub fn width(&self) -> u64 {
        self.window.width as u64
    }

    /// The mean of the window; nothing before the first value.
    pub fn mean(&self) -> Option<f64> {
        (self.window.width > 0.0).then(|| self.window.total / self.window.width)
    }

    /// Cuts off old buckets while two sides of the window differ.
    fn cut(&mut self) -> bool {
        let mut found = false;
        while self.some_cut_differs() {
            found = true;
            if !self.window.forget_oldest() {
                break;
            }
        }
        found
    }

    fn some_cut_differs(&self) -> bool {
        let window = &self.window;
        let (mut old, mut new) = (Side::default(), Side { width: window.width, total: window.total });
        for (row, buckets) in window.rows.iter().enumerate().rev() {
            for bucket in buckets {
                let size = size_of_row(row);
                old.width += size;
                old.total += bucket.total;
                new.width -= size;
                new.total -= bucket.total;
                if old.width >= self.shortest && new.width >= self.shortest && self.differ(old, new) {
                    return true;
                }
            }
        }
        false
    }

    /// Bifet & Gavaldà 2007, section 4.1: the cut by Bernstein's bound.
    fn differ(&self, old: Side, new: Side) -> bool {
        let window = &self.window;
        let strictness = libm::log(2.0 * libm::log(window.width) / self.delta);
        let few = 1.0 / (old.width - self.shortest + 1.0) + 1.0 / (new.width - self.shortest + 1.0);
        let spread = (2.0 * few * (window.variance / window.width) * strictness).sqrt();
        let bound = spread + 2.0 / 3.0 * strictness * few;
        (old.total / old.width - new.total / new.width).abs() > bound
    }
}

impl Default for Adwin {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector for Adwin {
    fn push(&mut self, x: f64) -> Signal {
        let Some(x) = usable(x) else { return Signal::Quiet };
        if self.drifted {
            self.reset();
        }
        self.window.push(x, self.buckets);
        self.pushed = self.pushed.wrapping_add(1);
        let looks = self.pushed.is_multiple_of(u64::from(self.clock)) && self.window.width > self.grace;
        self.drifted = looks && self.cut();
        if self.drifted { Signal::Drift } else { Signal::Quiet }
    }

    fn reset(&mut self) {
        (self.pushed, self.drifted, self.window) = (0, false, Histogram::default());
    }
}

impl Histogram {
    fn push(&mut self, x: f64, buckets: usize) {
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        if let Some(newest) = self.rows.first_mut() {
            newest.push(Bucket { total: x, variance: 0.0 });
        }
        self.width += 1.0;
        if self.width > 1.0 {
            let before = self.width - 1.0;
            let distance = x - self.total / before;
            self.variance += before * distance * distance / self.width;
        }
        self.total += x;
        self.compress(buckets);
    }

    /// Two oldest buckets of a row that is too long become one of the next.
    fn compress(&mut self, buckets: usize) {
        for row in 0..ROWS_MAX - 1 {
            let Some(full) = self.rows.get_mut(row).filter(|full| full.len() > buckets) else { return };
            let merged = {
                let mut two = full.drain(..2);
                let (a, b) = (two.next().unwrap_or_default(), two.next().unwrap_or_default());
                let size = size_of_row(row);
                let distance = a.total / size - b.total / size;
                let between = size * size * distance * distance / (size + size);
                Bucket { total: a.total + b.total, variance: a.variance + b.variance + between }
            };
            match self.rows.get_mut(row + 1) {
                Some(next) => next.push(merged),
                None => self.rows.push(vec![merged]),
            }
        }
    }

    /// Forgets the oldest bucket; whether there is anything left.
    fn forget_oldest(&mut self) -> bool {
        let Some(row) = self.rows.len().checked_sub(1) else { return false };
        let Some(oldest) = self.rows.last_mut().filter(|oldest| !oldest.is_empty()) else { return false };
        let (size, bucket) = (size_of_row(row), oldest.remove(0));
        if oldest.is_empty() {
            self.rows.pop();
        }
        self.width -= size;
        self.total -= bucket.total;
        if self.width <= 0.0 {
            *self = Self::default();
            return false;
        }
        let distance = bucket.total / size - self.total / self.width;
        self.variance -= bucket.variance + size * self.width * distance * distance / (size + self.width);
        true
    }
}

fn size_of_row(row: usize) -> f64 {
    (1_u64 << row.min(ROWS_MAX - 1)) as f64
}

/// A detector as it is written down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    delta: f64,
    clock: u32,
    buckets: usize,
    shortest: f64,
    grace: f64,
    pushed: u64,
    drifted: bool,
    window: Histogram,
}

impl TryFrom<Written> for Adwin {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { delta, clock, buckets, shortest, grace, pushed, drifted, window } = written;
        if !(2..=BUCKETS_MAX).contains(&buckets) || shortest < 1.0 || clock == 0 {
            return Err(
                "this is no state of an ADWIN: rows are of 2 to 64 buckets, sides of at least one value",
            );
        }
        let held: f64 =
            window.rows.iter().enumerate().map(|(row, held)| held.len() as f64 * size_of_row(row)).sum();
        if window.rows.len() > ROWS_MAX
            || window.rows.iter().any(|row| row.len() > buckets)
            || held != window.width
        {
            return Err("this is no state of an ADWIN: its buckets do not add up to its width");
        }
        let finite = |bucket: &Bucket| usable(bucket.total).is_some() && usable(bucket.variance).is_some();
        if !window.rows.iter().flatten().all(finite) || !window.total.is_finite() {
            return Err("this is no state of an ADWIN: a bucket is not finite");
        }
        Ok(Self { delta: delta.clamp(1e-300, 1.0), clock, buckets, shortest, grace, pushed, drifted, window })
    }
}

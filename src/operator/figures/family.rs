//! The parts of a figure: its name, what it means, and its samples.

use std::time::Duration;

use super::measured::{BOUNDS, Measured};
use crate::stats::LatencyHistogram;

/// The description of one figure, as it stands in the [table](super::DESCRIBED).
#[derive(Debug)]
#[non_exhaustive]
pub struct Described {
    /// Its name, whole: with its unit, and with `_total` where it only grows.
    pub name: &'static str,
    /// Its description, in a sentence.
    pub help: &'static str,
    /// Whether it grows, goes up and down, or is a distribution.
    pub kind: FigureKind,
    /// The unit of its values.
    pub unit: Unit,
    /// Its labels beside `model`.
    pub labels: &'static [&'static str],
    /// Its samples, with a value for each label.
    pub(crate) samples: fn(&Measured, &mut Samples),
}

/// How a figure behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FigureKind {
    /// It only grows, from 0 at the start of the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How durations are distributed.
    Histogram,
    /// Always 1: its labels say something.
    Info,
}

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Things, or none.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share, 1 for all.
    Ratio,
}

/// A figure with its samples.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Family {
    /// Its name, whole.
    pub name: &'static str,
    /// Its description, in a sentence.
    pub help: &'static str,
    /// How it behaves.
    pub kind: FigureKind,
    /// The unit of its values.
    pub unit: Unit,
    /// One for each model and combination of labels.
    pub samples: Vec<Sample>,
}

/// A value with its labels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Names and values, `model` first.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: FigureValue,
}

/// A value that was measured.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FigureValue {
    /// A number.
    Number(f64),
    /// How durations are distributed.
    Histogram {
        /// How many durations lay in each stretch, from the shortest on.
        buckets: Vec<HistogramBucket>,
        /// The sum of all, in seconds.
        sum: f64,
        /// How many there were.
        count: u64,
    },
}

/// A stretch of durations, from the bound of the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct HistogramBucket {
    /// The longest that it holds, in seconds; that of the last is infinite.
    pub at_most: f64,
    /// How many durations lie in it, and not in one before.
    pub count: u64,
}

/// Samples of one model as they are gathered: label values in the order of the table.
#[derive(Default)]
pub(crate) struct Samples(Vec<(Vec<String>, FigureValue)>);

impl Samples {
    pub(crate) fn put<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        if value.is_finite() {
            self.0.push((labels.map(str::to_owned).to_vec(), FigureValue::Number(value)));
        }
    }

    pub(crate) fn count<const N: usize>(&mut self, labels: [&str; N], count: u64) {
        self.put(labels, count as f64);
    }

    pub(crate) fn flag<const N: usize>(&mut self, labels: [&str; N], is_so: bool) {
        self.put(labels, f64::from(u8::from(is_so)));
    }

    pub(crate) fn durations<const N: usize>(&mut self, labels: [&str; N], histogram: &LatencyHistogram) {
        let bounds = BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets = bounds.zip(histogram.counts.iter().copied());
        let buckets = buckets.map(|(at_most, count)| HistogramBucket { at_most, count }).collect();
        let (sum, count) = (histogram.sum.as_secs_f64(), histogram.count);
        self.0.push((labels.map(str::to_owned).to_vec(), FigureValue::Histogram { buckets, sum, count }));
    }
}

/// A figure of all models.
pub(crate) fn family(described: &Described, measured: &[Measured]) -> Family {
    let Described { name, help, kind, unit, labels, samples } = *described;
    let mut all = Vec::new();
    for model in measured {
        let mut own = Samples::default();
        samples(model, &mut own);
        all.extend(own.0.into_iter().map(|(values, value)| {
            let named = labels.iter().copied().zip(values);
            let labels = std::iter::once(("model", model.status.name.clone())).chain(named).collect();
            Sample { labels, value }
        }));
    }
    Family { name, help, kind, unit, samples: all }
}

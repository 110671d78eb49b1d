//! Figures in the recorder that the host has installed for the facade `metrics`.
//!
//! No histogram of the facade's: a recorder keeps each sample of one until somebody looks, and ours are counted already. So
//! durations are their sum, their number, and gauges of what recent ones did not exceed.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder, with_recorder};
use parking_lot::Mutex;

use super::figures::family::{FigureKind, FigureValue, Unit};
use super::figures::measured::Measured;
use super::figures::{self, DESCRIBED};
use crate::base::guarded::guarded;

/// The figures of some handles on their way to the host's recorder.
#[derive(Default)]
pub(crate) struct Emitter(Mutex<Emitted>);

impl Emitter {
    /// Emits everything. Returns at once where another thread is at it, or a recorder that was called by this.
    pub(crate) fn emit(&self, measured: &[Measured]) {
        let Some(mut emitted) = self.0.try_lock() else { return };
        // What panics there is the host's affair. Nobody waits for this lock.
        let _ = guarded(|| emitted.all(measured));
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").finish_non_exhaustive()
    }
}

type Labels = Vec<(&'static str, String)>;

#[derive(Default)]
struct Emitted {
    is_described: bool,
    /// Counts calls, so that what is there no longer is told from what is.
    round: u64,
    /// By name in two parts, then by labels: each is registered once.
    series: HashMap<(&'static str, &'static str), HashMap<Labels, Series>>,
    /// Counters that are there no longer, oldest first: a recorder has them still, and goes on with them where they come back.
    gone: VecDeque<((&'static str, &'static str), Labels, Counted)>,
}

struct Series {
    handle: Handle,
    round: u64,
}

enum Handle {
    Counter(Counter, Counted),
    /// With what it is set to once it is there no longer.
    Gauge(Gauge, f64),
}

/// What a counter has come to over all that bore its labels. A recorder takes of the values that a counter is set to the largest, and
/// ours begins again where another version takes a name.
#[derive(Clone, Copy, Default)]
struct Counted {
    /// Of those before.
    before: u64,
    last: u64,
}

impl Counted {
    fn total(&mut self, count: u64) -> u64 {
        if count < self.last {
            self.before += self.last;
        }
        self.last = count;
        self.before + count
    }
}

/// Counters that are remembered once they are there no longer, of some 200 bytes each: those of a hundred versions. One that was forgotten
/// and comes back stands still in a recorder until it is larger than it was.
const GONE_MAX: usize = 4_096;

/// The quantiles of durations that are shown.
const QUANTILES: [&str; 3] = ["0.5", "0.9", "0.99"];

impl Emitted {
    fn all(&mut self, measured: &[Measured]) {
        if !std::mem::replace(&mut self.is_described, true) {
            with_recorder(describe);
        }
        self.round += 1;
        for family in figures::families(measured) {
            for sample in family.samples {
                match (sample.value, family.kind) {
                    (FigureValue::Number(number), FigureKind::Counter) => {
                        self.count((family.name, ""), sample.labels, number as u64);
                    }
                    // What only says something says it no longer; any other value is not known any more.
                    (FigureValue::Number(number), FigureKind::Info) => {
                        self.set((family.name, ""), sample.labels, number, 0.0);
                    }
                    (FigureValue::Number(number), _) => {
                        self.set((family.name, ""), sample.labels, number, f64::NAN);
                    }
                    (FigureValue::Histogram { sum, count, .. }, _) => {
                        self.set((family.name, "_sum"), sample.labels.clone(), sum, f64::NAN);
                        self.count((family.name, "_count"), sample.labels, count);
                    }
                }
            }
        }
        for model in measured {
            for version in model.versions() {
                let recent = [
                    ("switchback_predict_duration_seconds", &version.recent.latency),
                    ("switchback_shadow_queue_duration_seconds", &version.recent.queue_time),
                ];
                for (name, figures) in recent {
                    let Some(figures) = figures else { continue };
                    for (quantile, value) in
                        QUANTILES.into_iter().zip([figures.p50, figures.p90, figures.p99])
                    {
                        let labels = vec![
                            ("model", model.status.name.clone()),
                            ("version", version.version.to_string()),
                            ("quantile", quantile.to_owned()),
                        ];
                        self.set((name, ""), labels, value.as_secs_f64(), f64::NAN);
                    }
                }
            }
        }
        let round = self.round;
        for (name, by_labels) in &mut self.series {
            by_labels.retain(|labels, series| {
                let is_there = series.round == round;
                match &series.handle {
                    _ if is_there => {}
                    Handle::Gauge(gauge, gone) => gauge.set(*gone),
                    Handle::Counter(_, counted) => {
                        self.gone.push_back((*name, labels.clone(), *counted));
                    }
                }
                is_there
            });
        }
        let too_many = self.gone.len().saturating_sub(GONE_MAX);
        self.gone.drain(..too_many);
    }

    fn count(&mut self, name: (&'static str, &'static str), labels: Labels, count: u64) {
        let (round, gone) = (self.round, &mut self.gone);
        let series = self.series.entry(name).or_default().entry(labels).or_insert_with_key(|labels| {
            let key = key(name, labels);
            let counter = with_recorder(|recorder| recorder.register_counter(&key, &METADATA));
            let is_it = |(known, of, _): &(_, Labels, _)| *known == name && of == labels;
            let counted = gone.iter().position(is_it).and_then(|place| gone.remove(place));
            let counted = counted.map(|(.., counted)| counted).unwrap_or_default();
            Series { handle: Handle::Counter(counter, counted), round }
        });
        series.round = round;
        if let Handle::Counter(counter, counted) = &mut series.handle {
            counter.absolute(counted.total(count));
        }
    }

    fn set(&mut self, name: (&'static str, &'static str), labels: Labels, value: f64, gone: f64) {
        let round = self.round;
        let series = self.series.entry(name).or_default().entry(labels).or_insert_with_key(|labels| {
            let key = key(name, labels);
            let gauge = with_recorder(|recorder| recorder.register_gauge(&key, &METADATA));
            Series { handle: Handle::Gauge(gauge, gone), round }
        });
        series.round = round;
        if let Handle::Gauge(gauge, _) = &series.handle {
            gauge.set(value);
        }
    }
}

fn key(name: (&str, &str), labels: &Labels) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, value.clone())).collect();
    Key::from_parts(format!("{}{}", name.0, name.1), labels)
}

static METADATA: Metadata<'static> = Metadata::new("switchback", Level::INFO, Some(module_path!()));

/// Says once what each figure is.
fn describe(recorder: &dyn Recorder) {
    for figure in DESCRIBED {
        let unit = match figure.unit {
            Unit::Seconds => Some(metrics::Unit::Seconds),
            Unit::Bytes => Some(metrics::Unit::Bytes),
            Unit::None | Unit::Ratio => None,
        };
        match figure.kind {
            FigureKind::Counter => recorder.describe_counter(figure.name.into(), unit, figure.help.into()),
            FigureKind::Gauge | FigureKind::Info => {
                recorder.describe_gauge(figure.name.into(), unit, figure.help.into())
            }
            FigureKind::Histogram => {
                recorder.describe_gauge(figure.name.into(), unit, figure.help.into());
                recorder.describe_gauge(format!("{}_sum", figure.name).into(), unit, figure.help.into());
                recorder.describe_counter(format!("{}_count", figure.name).into(), None, figure.help.into());
            }
        }
    }
}

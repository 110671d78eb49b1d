//! Figures in a recorder of the facade `metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use parking_lot::Mutex;
use switchback::operator::Operators;
use switchback::operator::figures::{DESCRIBED, FigureKind};
use switchback::options::Shadowing;
use switchback::{RollbackOutcome, guard};

use crate::common::*;

/// A recorder that keeps what it was told, and calls back whenever it is told something.
#[derive(Default)]
struct Kept {
    described: Mutex<BTreeMap<String, (&'static str, Option<Unit>)>>,
    registered: AtomicU64,
    counters: Mutex<BTreeMap<String, Arc<Cell>>>,
    gauges: Mutex<BTreeMap<String, Arc<Cell>>>,
    again: Arc<Mutex<Option<Operators>>>,
}

#[derive(Default)]
struct Cell {
    bits: AtomicU64,
    again: Arc<Mutex<Option<Operators>>>,
}

impl Cell {
    fn call_back(&self) {
        let models = self.again.lock().clone();
        if let Some(models) = models {
            models.emit_metrics();
            models.iter().for_each(|model| drop(model.status()));
        }
    }
}

impl CounterFn for Cell {
    fn increment(&self, _: u64) {
        panic!("counters are set to what they have come to");
    }

    fn absolute(&self, value: u64) {
        self.call_back();
        // As recorders do: of what a counter is set to, the largest.
        self.bits.fetch_max(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        self.call_back();
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl Kept {
    fn describe(&self, kind: &'static str, key: KeyName, unit: Option<Unit>, help: SharedString) {
        assert!(help.ends_with('.'));
        let before = self.described.lock().insert(key.as_str().to_owned(), (kind, unit));
        assert!(before.is_none(), "{} was described before", key.as_str());
    }

    fn cell(&self, cells: &Mutex<BTreeMap<String, Arc<Cell>>>, key: &Key) -> Arc<Cell> {
        self.registered.fetch_add(1, Ordering::Relaxed);
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let cell = Arc::new(Cell { again: Arc::clone(&self.again), ..Cell::default() });
        cells.lock().entry(format!("{}{{{}}}", key.name(), labels.join(","))).or_insert(cell).clone()
    }

    fn counter(&self, series: &str) -> u64 {
        let counters = self.counters.lock();
        let found = counters.get(series).unwrap_or_else(|| panic!("{series} in {:?}", counters.keys()));
        found.bits.load(Ordering::Relaxed)
    }

    fn gauge(&self, series: &str) -> f64 {
        let gauges = self.gauges.lock();
        let found = gauges.get(series).unwrap_or_else(|| panic!("{series} in {:?}", gauges.keys()));
        f64::from_bits(found.bits.load(Ordering::Relaxed))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("counter", key, unit, help);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe("gauge", key, unit, help);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("{} is a histogram of the facade's", key.as_str());
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(&self.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(&self.gauges, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("{} is a histogram of the facade's", key.name());
    }
}

#[test]
fn a_recorder_of_the_hosts_is_told_what_is_measured() {
    let clock = clock();
    let late = builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
    let rollout = late.stage("v2", says("two", 0.9)).unwrap().guard(guard::error_rate().at_most(0.5));
    rollout.canary(0.5).unwrap();
    ask(&late, 100);
    tick(&late, &clock);
    let models = Operators::new([late.operator()]).unwrap();
    let recorder = Kept::default();
    *recorder.again.lock() = Some(models.clone());
    metrics::with_local_recorder(&recorder, || models.emit_metrics());

    let served = |version: &str| {
        recorder.counter(&format!("switchback_requests_total{{model=late,version={version},mode=served}}"))
    };
    assert_eq!((served("v1") + served("v2"), served("v1") > 0), (100, true));
    assert_eq!(recorder.gauge("switchback_traffic_ratio{model=late,version=v2}"), 0.5);
    let duration = "switchback_predict_duration_seconds";
    assert_eq!(recorder.counter(&format!("{duration}_count{{model=late,version=v1}}")), served("v1"));
    assert!(recorder.gauge(&format!("{duration}_sum{{model=late,version=v1}}")) > 0.0);
    let quantiles = ["0.5", "0.9", "0.99"]
        .map(|quantile| recorder.gauge(&format!("{duration}{{model=late,version=v1,quantile={quantile}}}")));
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{quantiles:?}");
    // Each is described under its own name and kind.
    {
        let described = recorder.described.lock();
        for figure in DESCRIBED {
            let kind = if figure.kind == FigureKind::Counter { "counter" } else { "gauge" };
            assert_eq!(described.get(figure.name).map(|(kind, _)| *kind), Some(kind), "{}", figure.name);
        }
        assert_eq!(described[duration], ("gauge", Some(Unit::Seconds)));
        assert_eq!(described["switchback_memory_bytes"].1, Some(Unit::Bytes));
    }

    // Again: nothing is registered twice, and counters have come further.
    let registered = recorder.registered.load(Ordering::Relaxed);
    ask(&late, 50);
    tick(&late, &clock);
    metrics::with_local_recorder(&recorder, || models.emit_metrics());
    assert_eq!(served("v1") + served("v2"), 150);
    assert_eq!(recorder.registered.load(Ordering::Relaxed), registered);

    // What is there no longer says nothing any more.
    let role = recorder
        .gauges
        .lock()
        .keys()
        .find(|key| key.starts_with("switchback_version_info{model=late,version=v2,role=candidate"))
        .cloned()
        .unwrap();
    assert_eq!(recorder.gauge(&role), 1.0);
    let _ = rollout.rollback("x");
    tick(&late, &clock);
    metrics::with_local_recorder(&recorder, || models.emit_metrics());
    assert_eq!(recorder.gauge(&role), 0.0);
    assert!(recorder.gauge("switchback_traffic_ratio{model=late,version=v2}").is_nan());
    assert_eq!(recorder.gauge("switchback_traffic_ratio{model=late,version=v1}"), 1.0);
    // Whoever keeps the operators keeps the handle; a timer keeps what does not.
    recorder.again.lock().take();
    let registered = recorder.registered.load(Ordering::Relaxed);
    let timer = models.downgrade();
    drop(models);
    metrics::with_local_recorder(&recorder, || timer.upgrade().emit_metrics());
    assert_eq!(recorder.gauge("switchback_traffic_ratio{model=late,version=v1}"), 1.0);
    assert_eq!(recorder.registered.load(Ordering::Relaxed), registered, "the series are those of before");
    drop((rollout, late));
    metrics::with_local_recorder(&recorder, || timer.upgrade().emit_metrics());
    assert!(recorder.gauge("switchback_traffic_ratio{model=late,version=v1}").is_nan());
}

/// Bug: the counters of a version stood still for whoever looked, after another one had taken its name, until that had come further. Cause: a
/// recorder takes the largest of what a counter is set to, and the other begins at nothing. Fix: what was counted before is added.
#[test]
fn a_counter_goes_on_where_another_version_takes_the_name() {
    let clock = clock();
    let late = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let models = Operators::new([late.operator()]).unwrap();
    let recorder = Kept::default();
    let served = || {
        tick(&late, &clock);
        metrics::with_local_recorder(&recorder, || models.emit_metrics());
        recorder.counter("switchback_requests_total{model=late,version=v2,mode=served}")
    };
    let rollout = late.stage("v2", says("two", 0.2)).unwrap();
    rollout.promote().unwrap();
    ask(&late, 50);
    assert_eq!(served(), 50);
    assert!(matches!(late.rollback("complaints"), RollbackOutcome::RolledBack { .. }));
    // It is retained no longer, so its name is free.
    for name in ["v3", "v4", "v5"] {
        late.stage(name, says(name, 0.2)).unwrap().promote().unwrap();
    }
    assert_eq!(served(), 50);
    late.stage("v2", says("another", 0.3)).unwrap().promote().unwrap();
    ask(&late, 10);
    assert_eq!(served(), 60);
    ask(&late, 5);
    assert_eq!(served(), 65);
    // Not shown for an hour, and back.
    for name in ["v6", "v7", "v8"] {
        late.stage(name, says(name, 0.2)).unwrap().promote().unwrap();
    }
    clock.advance(seconds(7_200));
    assert_eq!(served(), 65);
    late.stage("v2", says("a third", 0.3)).unwrap().promote().unwrap();
    ask(&late, 7);
    assert_eq!(served(), 72);
}

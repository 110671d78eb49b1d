//! Models are loaded and freed on the control side, never on a request's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use switchback::options::{Retention, Shadowing, Threads};
use switchback::versions::Lifecycle;
use switchback::{
    Model, ModelHandle,
    model::{Identity, LoadError, ModelError},
};

use crate::common::*;

/// Invariant 10: three threads of requests borrow versions that are retired at that moment, fifty times.
#[test]
fn no_retired_version_dies_on_a_requests_thread() {
    retire_under_requests(50);
}

#[test]
#[ignore = "long: 1,000 versions"]
fn no_retired_version_of_a_thousand_dies_on_a_requests_thread() {
    retire_under_requests(1_000);
}

fn retire_under_requests(versions: u32) {
    let clock = clock();
    let service = builder(&clock)
        .live("v0", says("v0", 0.5))
        .shadowing(Shadowing::new())
        .retention(Retention::new().versions(0))
        .build()
        .unwrap();
    let done = AtomicBool::new(false);
    let mut scripts = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (service, done) = (service.clone(), &done);
            let ask = move || {
                while !done.load(Ordering::Relaxed) {
                    service.predict(&1.0).unwrap();
                    service.request().pin().unwrap().predict(&1.0).unwrap();
                    service.run_shadow(1);
                }
            };
            std::thread::Builder::new().name(format!("request-{number}")).spawn_scoped(scope, ask).unwrap();
        }
        let control = || {
            let _done = RaisedAtTheEnd(&done);
            for number in 1..=versions {
                let version = format!("v{number}");
                let model = says(&version, 0.5);
                scripts.push(model.control());
                let rollout = service.stage(&version, model).unwrap();
                rollout.shadow(0.5).unwrap();
                rollout.canary(0.5).unwrap();
                if number % 2 == 0 {
                    rollout.promote().unwrap()
                } else {
                    drop(rollout.rollback("no"))
                }
                service.tick();
            }
        };
        std::thread::Builder::new().name("control".into()).spawn_scoped(scope, control).unwrap();
    });
    service.tick();
    service.tick();
    let live = scripts.pop().unwrap();
    assert!(!live.is_dropped());
    for script in scripts {
        assert_eq!(script.dropped_on().as_deref(), Some("switchback-free"));
        assert_eq!(script.loaded_on(), ["switchback-load"]);
    }
}

/// Invariant 10: a request that is under way keeps its version, and gives it back unfreed.
#[test]
fn a_slow_request_keeps_its_version_until_it_is_done() {
    let clock = clock();
    let live = says("one", 0.1);
    let script = live.control();
    let service = builder(&clock).live("v1", live).retention(Retention::new().versions(0)).build().unwrap();
    let gate = script.gate();
    let slow = service.clone();
    let request = std::thread::Builder::new().name("request".into());
    let request = request.spawn(move || slow.predict(&1.0).unwrap()).unwrap();
    gate.wait_for(1);
    service.stage("v2", says("two", 0.9)).unwrap().promote().unwrap();
    for _ in 0..3 {
        tick(&service, &clock);
    }
    assert!(!script.is_dropped());
    assert_eq!(service.status().waiting_to_drop, ["v1"]);
    gate.open();
    let answer = request.join().unwrap();
    assert_eq!((answer.version().as_str(), *answer.output()), ("v1", 0.1));
    assert!(!script.is_dropped(), "the request's thread did not free it");
    tick(&service, &clock);
    assert_eq!(script.dropped_on().as_deref(), Some("switchback-free"));
    assert_eq!(total(&service.status(), "v1").requests, 1, "the late request was counted all the same");
}

/// Invariants 10 and 12.
#[test]
fn a_stream_keeps_its_version_loaded_until_it_is_over() {
    let clock = clock();
    let live = says("one", 0.1);
    let script = live.control();
    let service = builder(&clock).live("v1", live).retention(Retention::new().versions(0)).build().unwrap();
    let pin = service.request().pin().unwrap();
    service.stage("v2", says("two", 0.9)).unwrap().promote().unwrap();
    tick(&service, &clock);
    assert_eq!(pin.predict(&1.0).unwrap().version(), "v1");
    assert!(!script.is_dropped());
    std::thread::Builder::new().name("request".into()).spawn(move || drop(pin)).unwrap().join().unwrap();
    assert!(!script.is_dropped());
    tick(&service, &clock);
    assert!(script.is_dropped());
}

/// A model whose destructor panics.
struct Brittle;

impl Drop for Brittle {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("a destructor that panics"));
    }
}

impl Model<f64, f64> for Brittle {
    fn predict(&self, _: &f64) -> Result<f64, ModelError> {
        Ok(0.5)
    }
    fn identity(&self) -> Identity {
        Identity::of([("brittle", b"".as_slice())])
    }
}

/// Bug: versions that were freed at one tick were dropped together, so two destructors that panicked met, and ended the
/// process. Fix: one after the other.
#[test]
fn destructors_that_panic_hurt_nobody() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    for version in ["v2", "v3"] {
        let _ = service.stage(version, Brittle).unwrap().rollback("away");
    }
    tick(&service, &clock);
    assert!(service.status().waiting_to_drop.is_empty());
    assert!(names(&service.events()).ends_with(&["dropped", "dropped"].map(String::from)));
    assert!(service.predict(&1.0).is_ok());
}

/// Bug: a process that ended while a thread of the handle's was inside ONNX Runtime crashed. Cause: dropping the last handle
/// told its threads to end and did not wait. Fix: it waits.
#[test]
fn when_the_last_handle_is_dropped_none_of_its_threads_is_inside_a_model() {
    struct Slow(Arc<AtomicBool>);
    impl Model<f64, f64> for Slow {
        fn predict(&self, x: &f64) -> Result<f64, ModelError> {
            Ok(*x)
        }
        fn identity(&self) -> Identity {
            Identity::of([("slow", &b""[..])])
        }
        fn lifecycle(&self) -> Option<&dyn Lifecycle> {
            Some(self)
        }
    }
    impl Lifecycle for Slow {
        fn maintain(&self) -> Result<(), LoadError> {
            self.0.store(true, Ordering::Relaxed);
            (0..100_000).for_each(|_| std::hint::spin_loop());
            self.0.store(false, Ordering::Relaxed);
            Ok(())
        }
    }
    for _ in 0..5 {
        let inside = Arc::new(AtomicBool::new(false));
        let service = ModelHandle::builder("slow")
            .live("v1", Slow(Arc::clone(&inside)))
            .threads(Threads::background().tick_every(seconds(1) / 1_000))
            .build()
            .unwrap();
        wait_until("a thread is inside the model", || inside.load(Ordering::Relaxed));
        drop(service);
        assert!(!inside.load(Ordering::Relaxed));
        assert_eq!(Arc::strong_count(&inside), 1, "the model is gone too");
    }
}

//! Candidates that do not come back.
//!
//! Bug: a candidate that never returned took all request threads within a second at a canary of 5 %, and nothing saw it: requests
//! counted when they ended. Cause: nothing bounded how many calls of a candidate were under way, and nothing knew of a call before
//! its end. Fix: a call takes one of a few places when it begins; where there is none live answers; and a tick that finds a call
//! older than any may be takes the version off without waiting for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use switchback::events::{Cause, EventKind};
use switchback::model::ModelError;
use switchback::options::{Limits, Shadowing};
use switchback::plan::OnInconclusive;
use switchback::{Model, ModelHandle, Phase, Plan, Step, closure};

use crate::common::*;

/// A model that keeps every call until it is let go.
#[derive(Default)]
struct Hanging {
    open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicUsize,
}

impl Hanging {
    fn model(self: &Arc<Self>, name: &str) -> impl Model<f64, f64> + use<> {
        let own = Arc::clone(self);
        closure(name, move |_: &f64| own.ask())
    }

    fn ask(&self) -> Result<f64, ModelError> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock();
        while !*open {
            self.opened.wait(&mut open);
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
        Ok(0.9)
    }

    fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    fn let_go(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

/// Lets go of whatever hangs when a test ends, also by a panic: its threads are joined.
struct LetGo<'a>(&'a Hanging, &'a AtomicBool);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
        self.0.let_go();
    }
}

fn taken_back_because_overdue(service: &ModelHandle<f64, f64>, name: &str) -> Option<(usize, Duration)> {
    service.events().iter().find_map(|event| match &event.kind {
        EventKind::Aborted { version, cause: Cause::Overdue { calls, oldest } } if *version == *name => {
            Some((*calls, *oldest))
        }
        _ => None,
    })
}

const THREADS: usize = 16;

fn sixteen_threads_go_on(share: f64, most: usize) {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    let (stop, answered) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; THREADS]);
    let together = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        for count in &answered {
            let (service, stop, together) = (&service, &stop, &together);
            scope.spawn(move || {
                // All of them are there before the first asks a candidate.
                service.predict(&0.5).unwrap();
                together.wait();
                while !stop.load(Ordering::SeqCst) {
                    service.predict(&0.5).unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        together.wait();
        rollout.canary(share).unwrap();
        let total = || answered.iter().map(|count| count.load(Ordering::SeqCst)).sum::<usize>();
        wait_until("it hangs", || hanging.inside() >= 4);
        let before = total();
        wait_until("callers go on being answered", || total() >= before + 20_000);
        let kept = hanging.inside();
        assert!((4..=most).contains(&kept), "{kept} of {THREADS} threads are gone");
        // Known while they hang.
        clock.advance(seconds(7));
        let seen = rollout.status().unwrap().in_flight;
        assert_eq!((seen.calls, seen.oldest), (kept, Some(seconds(7))));
        assert_eq!(rollout.phase(), Phase::Canary);
        assert!(taken_back_because_overdue(&service, "v2").is_none());
        service.tick();
        assert_eq!(rollout.phase(), Phase::Canary, "not yet overdue");
        // And taken off before they end.
        clock.advance(seconds(24));
        service.tick();
        assert_eq!(rollout.phase(), Phase::Aborted);
        assert_eq!(taken_back_because_overdue(&service, "v2"), Some((kept, seconds(31))));
        let told = service.events().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(
            told.contains(&format!("v2 does not come back: {kept} of its calls are under way")),
            "{told}"
        );
        assert!(service.status().quarantined.iter().any(|(_, why)| why.version == "v2"));
        assert_eq!(hanging.inside(), kept, "none of them had to end for it");
        let before = total();
        wait_until("callers go on being answered", || total() >= before + 10_000);
        assert_eq!(hanging.inside(), kept, "and no other thread went the same way");
    });
    assert!(rollout.status().unwrap().control.withheld > 0, "those that live answered are counted");
}

#[test]
fn a_candidate_that_never_returns_does_not_take_the_threads_of_a_small_canary() {
    sixteen_threads_go_on(0.05, 4);
}

#[test]
fn a_candidate_that_never_returns_does_not_take_the_threads_of_half_the_traffic() {
    sixteen_threads_go_on(0.5, 12);
}

/// Bug: a shadow that hung blocked its worker for ever, in silence.
#[test]
fn a_shadow_that_never_returns_is_taken_off() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    let stop = AtomicBool::new(false);
    rollout.shadow(1.0).unwrap();
    service.predict(&0.5).unwrap();
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        scope.spawn(|| service.run_shadow(1));
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(seconds(31));
        assert_eq!(rollout.status().unwrap().in_flight.calls, 1);
        service.tick();
        assert_eq!(rollout.phase(), Phase::Aborted);
        assert_eq!(taken_back_because_overdue(&service, "v2"), Some((1, seconds(31))));
    });
}

/// Bug: the time of a step never began where no request ever ended. Cause: it began with the first that was counted. Fix: with the
/// first that has begun.
#[test]
fn the_time_of_a_step_begins_with_the_first_call_and_not_with_its_end() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().overdue_after(seconds(100_000)))
        .build()
        .unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    let rollout = rollout.guard(switchback::guard::error_rate().at_most(0.5));
    let step = Step::canary(1.0).unwrap().max_duration(seconds(60));
    rollout.run(Plan::new([step]).unwrap().on_inconclusive(OnInconclusive::RollBack)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        scope.spawn(|| service.predict(&0.5).unwrap());
        wait_until("it hangs", || hanging.inside() == 1);
        for _ in 0..63 {
            tick(&service, &clock);
        }
        assert_eq!(rollout.phase(), Phase::Aborted);
    });
}

#[test]
fn how_many_calls_a_candidate_may_have_and_for_how_long_can_be_said() {
    let clock = clock();
    let limits = Limits::new().candidate_calls(1).overdue_after(seconds(2));
    let service = builder(&clock).live("v1", says("one", 0.1)).limits(limits).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    rollout.canary(1.0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        scope.spawn(|| service.predict(&0.5).unwrap());
        wait_until("it hangs", || hanging.inside() == 1);
        // A batch and a single request, each answered by live.
        assert_eq!(service.predict(&0.5).unwrap().version(), "v1");
        let batch = service.request().batch(&[0.5, 0.6, 0.7]);
        assert!(batch.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.version() == "v1")));
        clock.advance(seconds(3));
        service.tick();
        assert_eq!(rollout.phase(), Phase::Aborted);
    });
    assert_eq!(rollout.status().unwrap().control.withheld, 4);
    for (limits, named) in [
        (Limits::new().candidate_calls(0), "limits.candidate_calls is 0"),
        (Limits::new().candidate_calls(65), "limits.candidate_calls is 65"),
        (Limits::new().overdue_after(Duration::ZERO), "limits.overdue_after is 0 s"),
    ] {
        let refused = builder(&clock).live("v1", says("one", 0.1)).limits(limits).build().unwrap_err();
        assert!(refused.to_string().contains(named), "{refused}");
    }
}

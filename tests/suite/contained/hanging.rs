//! Candidates that do not come back. Invariant 25.
//!
//! Bug: a candidate that never returned took all request threads within a second at a canary of 5 %, and nothing saw it: requests
//! counted when they ended. Cause: nothing bounded how many calls of a candidate were under way, and nothing knew of a call before
//! its end. Fix: a call takes one of a few places when it begins; where there is none live answers; and a tick that finds a call
//! older than any may be takes the version off without waiting for it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use switchback::events::{Cause, EventKind};
use switchback::guard::{Comparison, Evidence, Guard, Verdict};
use switchback::model::{Activity, Description, Identity, Lifecycle, LoadError, ModelError};
use switchback::options::{Drill, Inputs, Limits, Retention, Shadowing, Threads, Tiers};
use switchback::plan::OnInconclusive;
use switchback::status::ThreadStatus;
use switchback::versions::{ErrorKind, LoadThrottle, TargetTier, Tier};
use switchback::{
    BuildError, Builder, Clock, CloseError, Model, ModelHandle, Phase, Plan, RollbackOutcome, Route,
    StageError, Step, Timestamp, closure,
};

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

/// Threads that ask until they are told to stop. All of them are there before the first asks a candidate.
fn ask<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    threads: usize,
    service: &'scope ModelHandle<f64, f64>,
    stop: &'scope AtomicBool,
    answered: &'scope AtomicUsize,
) {
    let together = Arc::new(Barrier::new(threads + 1));
    for _ in 0..threads {
        let together = Arc::clone(&together);
        scope.spawn(move || {
            service.predict(&0.5).unwrap();
            together.wait();
            while !stop.load(Ordering::SeqCst) {
                service.predict(&0.5).unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    together.wait();
}

fn threads_go_on(threads: usize, share: f64, most: usize) {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        ask(scope, threads, &service, &stop, &answered);
        rollout.canary(share).unwrap();
        let total = || answered.load(Ordering::SeqCst);
        wait_until("it hangs", || hanging.inside() >= most.min(4));
        let before = total();
        wait_until("callers go on being answered", || total() >= before + 20_000);
        let kept = hanging.inside();
        assert!((most.min(4)..=most).contains(&kept), "{kept} of {threads} threads are gone");
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
        assert!(service.status().quarantined.iter().any(|why| why.version == "v2"));
        assert_eq!(hanging.inside(), kept, "none of them had to end for it");
        let before = total();
        wait_until("callers go on being answered", || total() >= before + 10_000);
        assert_eq!(hanging.inside(), kept, "and no other thread went the same way");
    });
    assert!(rollout.status().unwrap().control.withheld > 0, "those that live answered are counted");
}

#[test]
fn a_candidate_that_never_returns_does_not_take_the_threads_of_a_small_canary() {
    threads_go_on(THREADS, 0.05, 4);
}

#[test]
fn a_candidate_that_never_returns_does_not_take_the_threads_of_half_the_traffic() {
    threads_go_on(THREADS, 0.5, 12);
}

/// Bug: of four threads or fewer a candidate that hangs took all. Cause: it might have four calls under way, however few threads ask.
/// Fix: a quarter of them, and at least one, is left to live.
#[test]
fn a_candidate_that_never_returns_does_not_take_the_threads_of_a_small_service() {
    for (threads, share, most) in [(2, 0.5, 1), (3, 0.9, 2), (4, 0.5, 3), (4, 0.05, 2)] {
        threads_go_on(threads, share, most);
    }
}

/// Bug: a shadow that hung blocked its worker for ever, in silence.
/// Bug: three candidates that hang took all threads together. Cause: what is left to live was left by each candidate for itself.
/// Fix: it is left by all of them together.
#[test]
fn several_candidates_that_never_return_leave_a_quarter_of_the_threads_to_live() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let stage =
        |name: &&str| service.stage(name, hanging.model(&format!("{name}@1"))).unwrap().canary(0.3).unwrap();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        ask(scope, THREADS, &service, &stop, &answered);
        ["v2", "v3", "v4"].iter().for_each(stage);
        wait_until("as many hang as may", || hanging.inside() == 12);
        let before = answered.load(Ordering::SeqCst);
        wait_until("callers go on being answered", || answered.load(Ordering::SeqCst) >= before + 20_000);
        assert_eq!(hanging.inside(), 12, "a quarter is left to live");
    });
}

/// Bug: candidates that hang, tried one after the other, took all threads in the end. Cause: what is left to live was left by those on trial:
/// calls of one that was taken off had not returned, and were forgotten. Fix: they count for as long as they last.
#[test]
fn candidates_that_never_return_one_after_the_other_leave_a_quarter_of_the_threads_to_live() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        ask(scope, THREADS, &service, &stop, &answered);
        let go_on = || {
            let before = answered.load(Ordering::SeqCst);
            wait_until("callers go on being answered", || answered.load(Ordering::SeqCst) >= before + 20_000);
        };
        // Of each ten hang at most: twice its share of sixteen.
        for (name, inside) in [("v2", 10), ("v3", 12), ("v4", 12)] {
            let rollout = service.stage(name, hanging.model(&format!("{name}@1"))).unwrap();
            rollout.canary(0.3).unwrap();
            wait_until("as many hang as may", || hanging.inside() == inside);
            go_on();
            assert_eq!(hanging.inside(), inside, "a quarter is left to live");
            // By hand, before any of its calls is overdue.
            let _ = service.abort_candidates("it hangs");
            go_on();
        }
        // One that is well has no room until they have returned, and then it has.
        service.stage("v5", says("five", 0.5)).unwrap().canary(0.3).unwrap();
        go_on();
        assert_eq!(answered_by(&service, "v5"), 0);
        hanging.let_go();
        wait_until("it is asked", || answered_by(&service, "v5") > 0);
    });
}

/// How many requests a version was asked, for callers.
fn answered_by(service: &ModelHandle<f64, f64>, name: &str) -> u64 {
    let versions = service.status().versions;
    versions.iter().find(|version| version.version == *name).map_or(0, |version| version.total.requests)
}

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

/// Bug: a process that stood still for an hour, with its machine or by a signal, had its candidate taken off and quarantined for a call
/// that was under way: first of all by the tick that came then. Cause: how old a call is was told by the stopwatch alone. Fix: of the time in
/// which nobody ticked as much counts as a lease lasts.
#[test]
fn a_call_that_is_under_way_while_the_process_stands_still_is_not_overdue() {
    for shadows in [false, true] {
        let service = builder(&Clock::system())
            .live("v1", says("one", 0.1))
            .shadowing(Shadowing::new())
            .threads(Threads::manual().tick_every(Duration::from_millis(200)))
            .limits(Limits::new().overdue_after(seconds(2)))
            .build()
            .unwrap();
        let hanging = Arc::new(Hanging::default());
        let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
        let stop = AtomicBool::new(false);
        if shadows {
            rollout.shadow(1.0).unwrap();
            service.predict(&0.5).unwrap();
        } else {
            rollout.canary(1.0).unwrap();
        }
        service.tick();
        std::thread::scope(|scope| {
            let _let_go = LetGo(&hanging, &stop);
            scope.spawn(|| {
                // Until it is asked: nobody ticks by himself.
                while hanging.inside() == 0 && !stop.load(Ordering::SeqCst) {
                    service.tick();
                    if shadows { _ = service.run_shadow(1) } else { drop(service.predict(&0.5)) }
                }
            });
            wait_until("it is under way", || hanging.inside() == 1);
            service.tick();
            let oldest = || rollout.status().unwrap().in_flight.oldest;
            wait_until("nobody ticks", || oldest() > Some(seconds(3)));
            service.tick();
            assert!(!rollout.phase().is_over(), "nobody ticked");
            wait_until("it never returns", || {
                service.tick();
                rollout.phase() == Phase::Aborted
            });
        });
    }
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

/// A model that hangs in one of the things that a version does, and nowhere else.
struct Stuck {
    at: Activity,
    hanging: Arc<Hanging>,
    name: &'static str,
    /// What its destructor says: the name of the thread that it runs on.
    freed_on: Option<Sender<Option<String>>>,
    upkept: Arc<AtomicUsize>,
}

impl Stuck {
    fn new(name: &'static str, at: Activity, hanging: &Arc<Hanging>) -> Self {
        Self { at, hanging: Arc::clone(hanging), name, freed_on: None, upkept: Arc::default() }
    }

    fn reach(&self, activity: Activity) {
        if self.at == activity {
            let _ = self.hanging.ask();
        }
    }
}

impl Model<f64, f64> for Stuck {
    fn predict(&self, _: &f64) -> Result<f64, ModelError> {
        self.reach(Activity::Sample);
        self.reach(Activity::RecentInputs);
        self.reach(Activity::Drill);
        Ok(0.4)
    }
    fn identity(&self) -> Identity {
        Identity::of([(self.name, &b""[..])])
    }
    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

impl Lifecycle for Stuck {
    fn load(&self, _: &LoadThrottle) -> Result<(), LoadError> {
        self.reach(Activity::Loading);
        Ok(())
    }
    fn warm_up(&self) -> Result<bool, ModelError> {
        self.reach(Activity::WarmingUp);
        Ok(true)
    }
    fn wake(&self) -> Result<(), LoadError> {
        self.reach(Activity::Waking);
        Ok(())
    }
    fn settle(&self, target: &TargetTier) -> Result<Tier, LoadError> {
        Ok(target.tier())
    }
    fn maintain(&self) -> Result<(), LoadError> {
        self.upkept.fetch_add(1, Ordering::SeqCst);
        self.reach(Activity::Upkeep);
        Ok(())
    }
    fn description(&self) -> Description {
        let mut description = Description::default();
        description.prepared = true;
        description
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.reach(Activity::Freeing);
        if let Some(freed_on) = &self.freed_on {
            let _ = freed_on.send(std::thread::current().name().map(str::to_owned));
        }
    }
}

/// The calls that were given up and have not returned, by thread, version and what it is doing.
fn abandoned(service: &ModelHandle<f64, f64>) -> Vec<(String, String, Activity)> {
    let threads = service.status().threads.into_iter();
    let call = |thread: ThreadStatus| {
        let call = thread.abandoned?;
        Some((thread.name, call.version.to_string(), call.activity))
    };
    threads.filter_map(call).collect()
}

/// What events tell of threads that were given up: of which, and whether another takes its place.
fn told_abandoned(service: &ModelHandle<f64, f64>) -> Vec<(String, bool)> {
    let events = service.events();
    let told = events.iter().filter_map(|event| match &event.kind {
        EventKind::ThreadAbandoned { thread, replaced, .. } => Some((thread.clone(), *replaced)),
        _ => None,
    });
    told.collect()
}

/// Threads of ours, and a clock that is turned by hand.
fn background() -> Threads {
    Threads::background().tick_every(Duration::from_millis(2)).stripes(1)
}

/// A handle that shadows, with those threads.
fn shadowed(clock: &Clock) -> ModelHandle<f64, f64> {
    let builder = builder(clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new());
    builder.threads(background()).build().unwrap()
}

/// Bug: a shadow that hung blocked its worker for ever, in silence, and no version was shadowed after it. Cause: a worker was
/// begun once, and nobody looked what it was at. Fix: the tick gives one up whose copy takes longer than it may, tells of it and
/// begins another; the one that returns at last ends, and what it came to counts nowhere.
#[test]
fn a_shadow_worker_that_hangs_is_given_up_and_another_takes_its_place() {
    let clock = clock();
    let service = shadowed(&clock);
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let _let_go = LetGo(&hanging, &stop);
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    rollout.shadow(1.0).unwrap();
    service.predict(&0.5).unwrap();
    wait_until("it hangs", || hanging.inside() == 1);
    clock.advance(seconds(31));
    wait_until("its worker is given up", || !told_abandoned(&service).is_empty());
    assert_eq!(abandoned(&service), [("switchback-shadow".into(), "v2".into(), Activity::Copy)]);
    assert_eq!(told_abandoned(&service), [("switchback-shadow".into(), true)]);
    let told = service.events().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        told.contains(
            "the thread switchback-shadow was given up and another one takes its place: v2 is answering a copy of a request and has not returned for 31 s"
        ),
        "{told}"
    );
    assert_eq!(rollout.phase(), Phase::Aborted, "its version was taken off before");
    // Another version is shadowed by the thread that took its place.
    let next = service.stage("v3", says("three", 0.1)).unwrap();
    next.shadow(1.0).unwrap();
    let copies = AtomicU64::new(0);
    wait_until("copies run", || {
        service.predict(&0.5).unwrap();
        copies.fetch_add(1, Ordering::Relaxed);
        service.status().shadow.ran > 0
    });
    assert_eq!(hanging.inside(), 1, "it hangs still");
    let _ = next.rollback("that was all");
    // A busy machine has copies that wait or run yet: counted below, they were taken for the one that hung.
    wait_until("each of its copies has run or was passed over", || {
        let shadow = service.status().shadow;
        shadow.ran + shadow.skipped + shadow.dropped == copies.load(Ordering::Relaxed)
    });
    let ran = service.status().shadow.ran;
    let of_it = rollout.status().unwrap().candidate.requests;
    hanging.let_go();
    wait_until("its call has returned", || abandoned(&service).is_empty());
    assert_eq!(hanging.inside(), 0);
    assert_eq!(service.status().shadow.ran, ran + 1, "it was asked, and what it came to counts nowhere");
    assert_eq!(rollout.status().unwrap().candidate.requests, of_it);
    assert_eq!(of_it, 0);
    let shadows =
        |threads: &[ThreadStatus]| threads.iter().filter(|thread| thread.name == "switchback-shadow").count();
    assert_eq!(shadows(&service.status().threads), 1);
}

/// Each thread that is given up costs a stack and a version: what hangs again and again is not given ever more of them.
#[test]
fn no_more_than_a_few_threads_are_given_up_at_one_time() {
    let clock = clock();
    let service = shadowed(&clock);
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let _let_go = LetGo(&hanging, &stop);
    for number in 1..=9 {
        let rollout =
            service.stage(format!("hangs-{number}"), hanging.model(&format!("hangs@{number}"))).unwrap();
        rollout.shadow(1.0).unwrap();
        service.predict(&0.5).unwrap();
        wait_until("it hangs", || hanging.inside() == number);
        clock.advance(seconds(31));
        // Its version was taken off before, so that no other thread takes up a copy for it.
        wait_until("its worker is given up", || told_abandoned(&service).len() == number);
        assert_eq!(rollout.phase(), Phase::Aborted);
    }
    let replaced: Vec<bool> = told_abandoned(&service).into_iter().map(|(_, replaced)| replaced).collect();
    assert_eq!(replaced, [true, true, true, true, true, true, true, true, false]);
    let working = || {
        let threads = service.status().threads;
        let works = |thread: &&ThreadStatus| thread.name == "switchback-shadow" && thread.abandoned.is_none();
        threads.iter().filter(works).count()
    };
    assert_eq!((working(), abandoned(&service).len()), (0, 9));
    hanging.let_go();
    wait_until("there is a worker again", || working() == 1 && abandoned(&service).is_empty());
}

/// The end of a handle waits for no thread that was given up.
#[test]
fn closing_waits_for_no_thread_that_was_given_up() {
    let clock = clock();
    let service = shadowed(&clock);
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let _let_go = LetGo(&hanging, &stop);
    service.stage("v2", hanging.model("hangs@1")).unwrap().shadow(1.0).unwrap();
    service.predict(&0.5).unwrap();
    wait_until("it hangs", || hanging.inside() == 1);
    clock.advance(seconds(31));
    wait_until("its worker is given up", || !told_abandoned(&service).is_empty());
    // In real time: were the thread waited for, this would never return.
    service.close(Duration::MAX).unwrap();
    assert_eq!(hanging.inside(), 1);
}

/// Bug: a second `close` said that all had ended while the first one waited, and after it had come too late. Cause: whoever was not the first
/// returned at once. Fix: all wait for the same end, each up to its own deadline.
#[test]
fn every_close_waits_for_the_same_end() {
    let service = shadowed(&clock());
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let let_go = LetGo(&hanging, &stop);
    service.stage("v2", hanging.model("hangs@1")).unwrap().shadow(1.0).unwrap();
    service.predict(&0.5).unwrap();
    wait_until("it hangs", || hanging.inside() == 1);
    let first = service.clone();
    let first = std::thread::spawn(move || first.close(seconds(2)));
    wait_until("it closes", || service.status().closed);
    let patient = service.clone();
    let patient = std::thread::spawn(move || patient.close(Duration::MAX));
    let second = service.close(Duration::from_millis(50)).unwrap_err();
    assert!(!second.busy.is_empty() && second.deadline == Duration::from_millis(50), "{second}");
    let busy = |error: &CloseError| error.busy == ["switchback-shadow"];
    assert!(first.join().unwrap().unwrap_err().busy.contains(&String::from("switchback-shadow")));
    let close = || service.close(Duration::from_millis(50)).unwrap_err();
    wait_until("the other threads have ended", || busy(&close()));
    let third = close();
    assert_eq!(third.to_string(), "still busy after 50ms: switchback-shadow; it ends when that is done");
    assert!(!patient.is_finished(), "it waits on, and keeps nobody else waiting");
    drop(let_go);
    patient.join().unwrap().unwrap();
    service.close(Duration::from_secs(60)).unwrap();
    service.close(Duration::ZERO).unwrap();
}

/// Bug: a model that closed the handle within a copy of a request waited for itself, for as long as it was ready to wait. Cause: whoever closes waits
/// for all threads of the handle, also where it is one of them. Fix: one of them waits for none, and is told that it is busy.
#[test]
fn a_close_on_a_thread_of_the_handles_waits_for_nobody() {
    let service = shadowed(&clock());
    let within: Arc<OnceLock<ModelHandle<f64, f64>>> = Arc::default();
    let handle = Arc::clone(&within);
    let (tell, told) = std::sync::mpsc::channel();
    let closes = closure("closes@1", move |_: &f64| {
        let _ = tell.send(handle.get().unwrap().close(Duration::MAX));
        Ok(0.5)
    });
    assert!(within.set(service.clone()).is_ok());
    service.stage("v2", closes).unwrap().shadow(1.0).unwrap();
    service.predict(&0.5).unwrap();
    let busy = told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap_err().busy;
    assert!(busy.contains(&String::from("switchback-shadow")), "{busy:?}");
    service.close(Duration::from_secs(60)).unwrap();
}

/// Bug: a guard that closed the handle where it was dropped waited for itself. Cause: what a close has taken off was dropped while others were held
/// off. Fix: afterwards.
#[test]
fn a_guard_may_close_the_handle_where_it_is_dropped() {
    struct Closes(ModelHandle<f64, f64>, Sender<bool>);

    impl Guard for Closes {
        fn name(&self) -> String {
            "closes".into()
        }

        fn judge(&self, _: &Comparison<'_>) -> Evidence {
            Evidence::new("closes", Verdict::Inconclusive)
        }
    }

    impl Drop for Closes {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.close(Duration::MAX).is_ok());
        }
    }

    let service = builder(&clock()).live("v1", says("one", 0.1)).build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let rollout = service.stage("v2", says("two", 0.9)).unwrap();
    rollout.guard(Closes(service.clone(), tell)).canary(0.5).unwrap();
    let closing = std::thread::spawn(move || service.close(Duration::MAX).is_ok());
    wait_until("it has ended", || closing.is_finished());
    assert!(told.try_recv().unwrap() && closing.join().unwrap());
}

fn stages_and_hangs(at: Activity, build: impl FnOnce(Builder<f64, f64>) -> ModelHandle<f64, f64>) {
    let clock = clock();
    let service = build(builder(&clock).live("v1", says("one", 0.1)));
    let hanging = Arc::new(Hanging::default());
    let (stop, (freed_on, freed)) = (AtomicBool::new(false), std::sync::mpsc::channel());
    let _let_go = LetGo(&hanging, &stop);
    let mut model = Stuck::new("hangs", at, &hanging);
    model.freed_on = Some(freed_on);
    let refused = std::thread::scope(|scope| {
        let staging = scope.spawn(|| {
            let (opens, hangs) = (at == Activity::Opening, Arc::clone(&hanging));
            let open = move || {
                if opens {
                    let _ = hangs.ask();
                }
                Ok::<_, ModelError>(model)
            };
            service.stage_with("v2", open).map(drop).unwrap_err()
        });
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(seconds(599));
        assert!(!staging.is_finished());
        clock.advance(seconds(1));
        staging.join().unwrap()
    });
    let StageError::Deadline { version, activity, after } = &refused else { panic!("{refused}") };
    assert_eq!((version.as_str(), *activity, *after), ("v2", at, seconds(600)));
    let said = refused.to_string();
    assert!(said.starts_with(&format!("version v2 was still {at} after 600 s and was given up")), "{said}");
    assert!(said.contains("raise `Limits::staging_deadline`"), "{said}");
    assert_eq!(abandoned(&service), [("switchback-load".into(), "v2".into(), at)]);
    assert_eq!(told_abandoned(&service), [("switchback-load".into(), false)]);
    // The name is free again, and what was given up is none of its business.
    drop(service.stage("v2", says("two", 0.2)).unwrap());
    assert_eq!(hanging.inside(), 1);
    hanging.let_go();
    assert_eq!(freed.recv().unwrap().as_deref(), Some("switchback-load"), "it is freed on its own thread");
    wait_until("its thread has ended", || abandoned(&service).is_empty());
    assert_eq!(service.status().rollouts.len(), 1);
}

/// Bug: a model whose first run never ended kept `stage` for ever: nothing came back, its name was taken for good, and a
/// follower hung with it. Cause: `stage` joined the thread that loaded it, which borrowed from it. Fix: that thread owns what it
/// needs, is waited for as long as it may take, and is left behind.
#[test]
fn a_version_that_never_gets_ready_is_given_up_whatever_it_is_doing() {
    for at in [Activity::Opening, Activity::Loading, Activity::WarmingUp] {
        stages_and_hangs(at, |builder| builder.build().unwrap());
    }
    stages_and_hangs(Activity::Sample, |builder| builder.inputs(Inputs::new().sample(0.5)).build().unwrap());
}

#[test]
fn a_version_that_hangs_on_what_live_was_asked_lately_is_given_up() {
    stages_and_hangs(Activity::RecentInputs, |builder| {
        let drill = Drill::new().inputs(1).unwrap();
        let builder = builder.inputs(Inputs::new().copied()).retention(Retention::new().drill(drill));
        let service = builder.build().unwrap();
        service.tick();
        service.predict(&0.5).unwrap();
        service
    });
}

/// Does what comes upon code that hangs, and turns the clock until that is given up: after ten minutes, and not before.
fn until_given_up<T: Send>(clock: &Clock, hanging: &Hanging, work: impl FnOnce() -> T + Send) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        // Where it is waited for all the same, the test fails and does not hang.
        let let_go = LetGo(hanging, &stop);
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(seconds(599));
        assert!(!working.is_finished());
        clock.advance(seconds(1));
        wait_until("it is given up", || working.is_finished());
        std::mem::forget(let_go);
        working.join().unwrap()
    })
}

/// Bug: a start waited for ever for a version whose code never returned, in silence: a service that came back up after a night had no
/// handle, and no error. Cause: versions of a start were opened and loaded on the thread that builds, and what they needed was
/// borrowed. Fix: each is loaded on a thread of its own that shares what it needs, and is waited for as long as one that is staged.
#[test]
fn a_start_does_not_wait_for_ever_for_the_version_that_it_begins_with() {
    for at in [Activity::Loading, Activity::WarmingUp] {
        let (clock, hanging, stop) = (clock(), Arc::new(Hanging::default()), AtomicBool::new(false));
        let _let_go = LetGo(&hanging, &stop);
        let builder = builder(&clock).live("v1", Stuck::new("hangs", at, &hanging));
        let refused = until_given_up(&clock, &hanging, || builder.build().map(drop).unwrap_err());
        let BuildError::Live(StageError::Deadline { version, activity, after }) = &refused else {
            panic!("{refused}")
        };
        assert_eq!((version.as_str(), *activity, *after), ("v1", at, seconds(600)));
    }
}

#[cfg(feature = "state")]
mod starts {
    use std::error::Error;
    use std::path::Path;

    use super::*;

    type Opened = Result<Box<dyn Model<f64, f64>>, Box<dyn Error + Send + Sync>>;

    fn remembering(
        clock: &Clock,
        folder: &Path,
        source: impl Fn(&str) -> Opened + Send + Sync + 'static,
    ) -> Builder<f64, f64> {
        builder(clock).live("v1", says("one", 0.1)).state(folder).source(source)
    }

    fn healthy(name: &str) -> Opened {
        Ok(match name {
            "v1" => Box::new(says("one", 0.1)),
            _ => Box::new(says("two", 0.9)),
        })
    }

    /// Where a version is opened, or one that hangs when it is loaded.
    fn hangs_for_v2(at: Activity, hanging: &Arc<Hanging>) -> impl Fn(&str) -> Opened + Send + Sync + use<> {
        let hanging = Arc::clone(hanging);
        move |name| match (name, at) {
            ("v2", Activity::Opening) => {
                let _ = hanging.ask();
                healthy(name)
            }
            ("v2", _) => Ok(Box::new(Stuck::new("two", at, &hanging))),
            _ => healthy(name),
        }
    }

    /// Live that hangs is not live: the version retained answers, and an event says why.
    #[test]
    fn a_start_goes_on_without_a_version_that_it_remembers_and_that_hangs() {
        for at in [Activity::Opening, Activity::Loading, Activity::WarmingUp] {
            let (clock, folder) = (clock(), Folder::new());
            let service = remembering(&clock, &folder.0, healthy).build().unwrap();
            service.stage("v2", says("two", 0.9)).unwrap().promote().unwrap();
            service.close(Duration::MAX).unwrap();

            let (hanging, stop) = (Arc::new(Hanging::default()), AtomicBool::new(false));
            let _let_go = LetGo(&hanging, &stop);
            let builder = remembering(&clock, &folder.0, hangs_for_v2(at, &hanging));
            let service = until_given_up(&clock, &hanging, || builder.build().unwrap());
            assert_eq!(service.live(), "v1");
            assert_eq!(*service.predict(&1.0).unwrap().output(), 0.1);
            let replaced =
                service.events().iter().map(|event| event.to_string()).collect::<Vec<_>>().join("\n");
            assert!(
                replaced.contains(&format!("version v2 was still {at} after 600 s and was given up")),
                "{replaced}"
            );
            assert_eq!(abandoned(&service), [("switchback-load".into(), "v2".into(), at)]);
            assert_eq!(told_abandoned(&service), [("switchback-load".into(), false)]);
            hanging.let_go();
            wait_until("its thread has ended", || abandoned(&service).is_empty());
            assert_eq!(service.live(), "v1");
        }
    }

    /// Bug: a process that took the state over and had a version hang never ticked again. Cause: versions were opened and loaded on
    /// the thread that ticks.
    #[test]
    fn a_take_over_goes_on_without_a_version_that_hangs() {
        for at in [Activity::Opening, Activity::WarmingUp] {
            let (clock, folder) = (clock(), Folder::new());
            let first = remembering(&clock, &folder.0, healthy).build().unwrap();
            let (hanging, stop) = (Arc::new(Hanging::default()), AtomicBool::new(false));
            let _let_go = LetGo(&hanging, &stop);
            let second = remembering(&clock, &folder.0, hangs_for_v2(at, &hanging)).build().unwrap();
            assert!(second.status().standby);
            first.stage("v2", says("two", 0.9)).unwrap().promote().unwrap();
            first.close(Duration::MAX).unwrap();

            until_given_up(&clock, &hanging, || second.tick());
            assert!(!second.status().standby);
            assert!(second.events().iter().any(|event| matches!(event.kind, EventKind::TookOver)));
            assert_eq!(second.live(), "v1");
            assert_eq!(told_abandoned(&second), [("switchback-load".into(), false)]);
            assert_eq!(second.status().unavailable.len(), 1);
            second.tick();
        }
    }
}

#[cfg(feature = "fleet")]
mod fleets {
    use switchback::fleet::InMemory;
    use switchback::options::Fleet;

    use super::*;

    /// Bug: a member of a fleet that its host ticks did not tick again after somebody else had staged a version whose code never returns
    /// there. Cause: what is agreed on was opened and loaded on the thread that ticks. Fix: as what is staged, on a thread of its own, which
    /// is given up after a while; here the others' candidate is not ready, and is tried again.
    #[test]
    fn a_member_that_its_host_ticks_goes_on_without_a_version_that_hangs() {
        for at in [Activity::Opening, Activity::Loading] {
            let (clock, hanging, stop) = (clock(), Arc::new(Hanging::default()), AtomicBool::new(false));
            let _let_go = LetGo(&hanging, &stop);
            let store = Arc::new(InMemory::new(clock.clone()));
            let inside = Arc::clone(&hanging);
            let member = |seed| {
                let (fleet, hanging) = (Fleet::on(Arc::clone(&store)).seed(seed), Arc::clone(&inside));
                let source = move |_: &str| {
                    if at == Activity::Opening {
                        let _ = hanging.ask();
                        return Ok(Box::new(says("two", 0.9)) as Box<dyn Model<f64, f64>>);
                    }
                    let stuck: Box<dyn Model<f64, f64>> = Box::new(Stuck::new("two", at, &hanging));
                    Ok(stuck)
                };
                builder(&clock).live("v1", says("one", 0.1)).source(source).fleet(fleet).build().unwrap()
            };
            let (first, second) = (member(1), member(2));
            let pass = |member: &ModelHandle<f64, f64>, halves: u32| {
                for _ in 0..halves {
                    clock.advance(Duration::from_millis(500));
                    member.tick();
                }
            };
            pass(&first, 4);
            pass(&second, 4);
            let rollout = first.stage("v2", says("two", 0.9)).unwrap();
            rollout.canary(0.5).unwrap();
            clock.advance(Duration::from_millis(1_000));
            until_given_up(&clock, &hanging, || second.tick());
            assert_eq!(told_abandoned(&second), [("switchback-load".into(), false)]);
            let not_ready = |event: &Arc<switchback::events::Event>| matches!(&event.kind, EventKind::NotReady { version, .. } if *version == *"v2");
            assert!(second.events().iter().any(not_ready), "{:?}", second.events());
            assert_eq!(second.predict(&0.5).unwrap().version(), "v1");
            // It goes on with the others, here with what is taken off.
            pass(&first, 1);
            let _ = rollout.rollback("enough");
            pass(&first, 2);
            pass(&second, 4);
            assert!(second.status().rollouts.iter().all(|rollout| rollout.phase.is_over()));
        }
    }
}

/// Bug: `cancel_staging` said true and changed nothing before the version's code came to its next step, which it may never do.
/// Cause: whoever staged waited for that step. Fix: it waits no longer.
#[test]
fn staging_is_cancelled_at_once_whatever_the_version_is_doing() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let _let_go = LetGo(&hanging, &stop);
    let hangs = || {
        std::thread::scope(|scope| {
            let inside = hanging.inside();
            let model = Stuck::new("hangs", Activity::Loading, &hanging);
            let staging = scope.spawn(|| service.stage("v2", model).map(drop));
            wait_until("it hangs", || hanging.inside() == inside + 1);
            // As whoever has it without its types.
            assert!(service.operator().cancel_staging("v2"));
            assert!(matches!(staging.join().unwrap(), Err(StageError::Load(LoadError::Cancelled))));
            assert_eq!(hanging.inside(), inside + 1, "it hangs still");
            assert!(!service.cancel_staging("v2"));
        });
    };
    // The name is free again, each time, until too many are in code that has not returned.
    (0..8).for_each(|_| hangs());
    assert_eq!(abandoned(&service).len(), 8);
    let refused = service.stage("v2", says("two", 0.2)).map(drop).unwrap_err();
    assert!(matches!(refused, StageError::LeftBehind { threads: 8 }), "{refused}");
    assert!(told_abandoned(&service).is_empty(), "whoever cancelled them knows");
    hanging.let_go();
    wait_until("their threads have ended", || abandoned(&service).is_empty());
    drop(service.stage("v2", says("two", 0.2)).unwrap());
}

/// A bound that cannot be reached waits for ever, and overflows nowhere.
#[test]
fn how_long_a_version_may_take_to_get_ready_can_be_said() {
    let clock = clock();
    let limits = Limits::new().staging_deadline(Duration::MAX);
    let service = builder(&clock).live("v1", says("one", 0.1)).limits(limits).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        let model = Stuck::new("hangs", Activity::Loading, &hanging);
        let staging = scope.spawn(|| service.stage("v2", model).map(drop));
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(Duration::MAX);
        hanging.let_go();
        staging.join().unwrap().unwrap();
    });
    let refused = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().staging_deadline(Duration::ZERO))
        .build()
        .unwrap_err();
    assert!(refused.to_string().contains("limits.staging_deadline is 0 s"), "{refused}");
}

/// Bug: a rollback to a version that had gone cold and whose wake never ended did not return. Cause: it was woken on the thread
/// that called. Fix: on one of its own, which is waited for as long as it may take; then the version before it is gone back to.
#[test]
fn a_rollback_does_not_wait_for_ever_for_a_version_that_is_woken() {
    let clock = clock();
    let tiers = Tiers::new().warm_for(Duration::ZERO).hot_for(Duration::ZERO);
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .retention(Retention::new().versions(3).tiers(tiers))
        .build()
        .unwrap();
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    service.stage("v2", Stuck::new("hangs", Activity::Waking, &hanging)).unwrap().promote().unwrap();
    service.stage("v3", says("three", 0.3)).unwrap().promote().unwrap();
    let is_cold = || {
        service.status().versions.iter().any(|known| known.version == "v2" && known.tier == Some(Tier::Cold))
    };
    for _ in 0..10 {
        tick(&service, &clock);
    }
    assert!(is_cold());
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        let lowering = scope.spawn(|| service.rollback("complaints"));
        wait_until("it hangs", || hanging.inside() == 1);
        assert_eq!(service.predict(&0.5).unwrap().version(), "v3", "live goes on answering");
        clock.advance(seconds(600));
        let lowered = lowering.join().unwrap();
        assert!(matches!(lowered, RollbackOutcome::RolledBack { to, .. } if to == *"v1"), "{lowered:?}");
        assert_eq!(abandoned(&service), [("switchback-wake".into(), "v2".into(), Activity::Waking)]);
        let unavailable = &service.status().unavailable;
        assert_eq!(unavailable.len(), 1);
        assert!(unavailable[0].reason.contains("it was still being woken after 600 s"), "{unavailable:?}");
    });
    wait_until("its thread has ended", || abandoned(&service).is_empty());
}

/// Bug: a version that hung in its upkeep ended the upkeep of all, in silence: nothing was mended, woken, drilled or weighed any
/// more. Cause: one thread did it all and held its turn. Fix: one that does not come back is given up and told, another goes on
/// with all versions but that.
#[test]
fn a_version_that_hangs_in_its_upkeep_does_not_end_that_of_the_others() {
    let clock = clock();
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let hangs = Stuck::new("hangs", Activity::Upkeep, &hanging);
    let (asked, well) = (Arc::clone(&hangs.upkept), Stuck::new("well", Activity::Opening, &hanging));
    let upkept = Arc::clone(&well.upkept);
    let service = builder(&clock).live("v1", hangs).threads(background()).build().unwrap();
    let _let_go = LetGo(&hanging, &stop);
    wait_until("it hangs", || hanging.inside() == 1);
    let rollout = service.stage("v2", well).unwrap();
    assert_eq!(upkept.load(Ordering::SeqCst), 0);
    clock.advance(seconds(601));
    wait_until("the other one is kept up", || upkept.load(Ordering::SeqCst) > 3);
    assert_eq!(abandoned(&service), [("switchback-upkeep".into(), "v1".into(), Activity::Upkeep)]);
    assert_eq!(told_abandoned(&service), [("switchback-upkeep".into(), true)]);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nobody calls what does not return");
    hanging.let_go();
    wait_until("its thread has ended", || abandoned(&service).is_empty());
    wait_until("it is kept up too", || asked.load(Ordering::SeqCst) > 3);
    drop(rollout);
}

/// The same for a version that hangs on what a drill asks it.
#[test]
fn a_version_that_hangs_in_its_drill_ends_no_upkeep() {
    hangs_in_its_drill(Limits::new());
}

/// Bug: with a deadline of candidates a drill was given up after as little as 100 ms, on a thread that gets only the time that nobody else
/// wants: its version would not answer, and the thread was lost. Cause: it was waited for until a call of a candidate is overdue, which is
/// twice the deadline. Fix: it is waited for as long as where there is no deadline.
#[test]
fn the_deadline_of_candidates_gives_up_no_drill() {
    hangs_in_its_drill(Limits::new().candidate_deadline(Duration::from_millis(50)));
}

fn hangs_in_its_drill(limits: Limits) {
    let clock = clock();
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let drill = Drill::new().inputs(1).unwrap().every(seconds(60));
    let service = builder(&clock)
        .live("v1", Stuck::new("hangs", Activity::Drill, &hanging))
        .inputs(Inputs::new().copied())
        .retention(Retention::new().drill(drill))
        .limits(limits)
        .threads(background())
        .build()
        .unwrap();
    let _let_go = LetGo(&hanging, &stop);
    service.stage("v2", says("two", 0.2)).unwrap().promote().unwrap();
    // The first drill may have been listed before the promotion, and have had nobody to ask: then it is the next one that hangs.
    wait_until("it hangs", || {
        service.predict(&0.5).unwrap();
        hanging.inside() == 1 || {
            clock.advance(seconds(15));
            false
        }
    });
    // Of two ticks the first has looked at it once the second has begun.
    for _ in 0..2 {
        clock.advance(seconds(5));
        let now = clock.now();
        wait_until("somebody ticks", || service.status().last_tick.is_some_and(|last| last >= now));
    }
    assert!(told_abandoned(&service).is_empty(), "it is waited for");
    clock.advance(seconds(21));
    wait_until("its thread is given up", || !told_abandoned(&service).is_empty());
    assert_eq!(abandoned(&service), [("switchback-upkeep".into(), "v1".into(), Activity::Drill)]);
    let would_answer = service.status().would_answer("v1").unwrap();
    let not_returned = "would not answer 1 of 1 live inputs: it has not returned for ";
    assert!(would_answer.contains(not_returned), "{would_answer}");
    let next = Stuck::new("well", Activity::Opening, &hanging);
    let upkept = Arc::clone(&next.upkept);
    drop(service.stage("v3", next).unwrap());
    wait_until("another thread keeps versions up", || upkept.load(Ordering::SeqCst) > 3);
    hanging.let_go();
    wait_until("its thread has ended", || abandoned(&service).is_empty());
}

/// Bug: a destructor that never returned ended all ticks: candidates answered nobody for want of a lease, and no guard judged again.
/// Cause: whoever ticked freed what nobody uses any more. Fix: a thread of its own frees it, which is left behind.
#[test]
fn a_destructor_that_never_returns_ends_no_ticks() {
    let clock = clock();
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let service = builder(&clock).live("v1", says("one", 0.1)).threads(Threads::manual()).build().unwrap();
    let _let_go = LetGo(&hanging, &stop);
    let rollout = service.stage("v2", Stuck::new("hangs", Activity::Freeing, &hanging)).unwrap();
    rollout.canary(0.5).unwrap();
    assert!(matches!(rollout.rollback("enough"), RollbackOutcome::Aborted(_)));
    drop(rollout);
    let ticked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                service.tick();
                ticked.fetch_add(1, Ordering::SeqCst);
            }
        });
        wait_until("its destructor hangs", || hanging.inside() == 1);
        let before = ticked.load(Ordering::SeqCst);
        clock.advance(seconds(3));
        wait_until("somebody ticks", || ticked.load(Ordering::SeqCst) > before + 3);
        assert_eq!(abandoned(&service), [("switchback-free".into(), "v2".into(), Activity::Freeing)]);
        assert_eq!(told_abandoned(&service), [("switchback-free".into(), true)]);
        hanging.let_go();
        wait_until("its thread has ended", || abandoned(&service).is_empty());
        stop.store(true, Ordering::SeqCst);
    });
}

/// Bug: a destructor that took two intervals or more lapsed the lease, so that a canary answered nobody, and several of them ended all ticks for
/// as long as they took together. Cause: each was waited for by itself, and for two intervals. Fix: all of them together are waited for no longer
/// than one and a half, and those that were not begun once half of one was over are freed by a later tick.
#[test]
fn destructors_that_hang_lapse_no_lease() {
    let clock = clock();
    let hanging = Arc::new(Hanging::default());
    let stop = AtomicBool::new(false);
    let service = builder(&clock).live("v1", says("one", 0.1)).threads(Threads::manual()).build().unwrap();
    for name in ["v2", "v3"] {
        let rollout = service.stage(name, Stuck::new(name, Activity::Freeing, &hanging)).unwrap();
        assert!(matches!(rollout.rollback("enough"), RollbackOutcome::Aborted(_)));
    }
    service.stage("v4", says("four", 0.4)).unwrap().canary(1.0).unwrap();
    let (interval, waiting) = (service.status().tick_interval, || service.status().waiting_to_drop.len());
    assert_eq!(waiting(), 2);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        for hangs in 1..=2 {
            let tick = scope.spawn(|| service.tick());
            wait_until("its destructor hangs", || hanging.inside() == hangs);
            clock.advance(interval);
            wait_until("the tick is over", || tick.is_finished());
            assert_eq!(waiting(), 2 - hangs, "the other one waits for the next tick");
            // As whoever ticks rests.
            clock.advance(interval);
            assert_eq!(service.predict(&0.5).unwrap().version(), "v4");
        }
        service.tick();
    });
    assert!(
        events(&service, |event| matches!(event, EventKind::LeaseExpired { .. }).then_some(())).is_empty()
    );
    assert_eq!(told_abandoned(&service).len(), 2);
}

/// A handle with a deadline of 50 ms on a clock that is turned by hand, whose inputs may be copied.
fn with_deadline(clock: &Clock) -> Builder<f64, f64> {
    let limits = Limits::new().candidate_deadline(Duration::from_millis(50)).candidates_beside(true);
    builder(clock).live("v1", says("one", 0.1)).inputs(Inputs::new().copied()).limits(limits)
}

/// Bug: a deadline bounded a run of ONNX Runtime and nothing else: a candidate that took 5 s, in a closure or in its `encode`, kept
/// its caller for 5 s. Cause: the caller asked it itself, and cannot leave code that does not return. Fix: a thread of ours asks
/// it, and the caller leaves.
#[test]
fn a_deadline_holds_for_a_candidate_that_cannot_be_interrupted() {
    let clock = clock();
    let service = with_deadline(&clock).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    rollout.canary(1.0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        let asked = scope.spawn(|| service.predict(&0.5).unwrap());
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(Duration::from_millis(49));
        assert!(!asked.is_finished(), "not before its time");
        clock.advance(Duration::from_millis(1));
        let answer = asked.join().unwrap();
        assert_eq!(
            (answer.version().as_str(), answer.route(), *answer.output()),
            ("v1", Route::Fallback, 0.1)
        );
        // It counts once, and is known to be under way until it ends.
        let status = rollout.status().unwrap();
        assert_eq!((status.candidate.requests, errors(&status.candidate, ErrorKind::Deadline)), (1, 1));
        assert_eq!((status.in_flight.calls, status.in_flight.oldest), (1, Some(Duration::from_millis(50))));
        // Taken off because of it, and its thread given up.
        assert!(abandoned(&service).is_empty());
        clock.advance(seconds(1));
        service.tick();
        assert_eq!(rollout.phase(), Phase::Aborted);
        assert_eq!(abandoned(&service), [("switchback-candidate".into(), "v2".into(), Activity::Request)]);
        assert_eq!(told_abandoned(&service), [("switchback-candidate".into(), true)]);
        assert_eq!(hanging.inside(), 1);
    });
    wait_until("its thread has ended", || abandoned(&service).is_empty());
    let status = rollout.status().unwrap();
    assert_eq!((status.candidate.requests, errors(&status.candidate, ErrorKind::Deadline)), (1, 1), "once");
    service.close(Duration::MAX).unwrap();
    assert!(service.status().threads.is_empty());
}

/// The same for an input that the caller shares, which is not copied, and for a batch, each row of which live answers.
#[test]
fn a_deadline_holds_for_shared_inputs_and_batches() {
    let clock = clock();
    let service = with_deadline(&clock).inputs(Inputs::new()).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    rollout.canary(1.0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        let asked = scope.spawn(|| service.request().predict_shared(&Arc::new(0.5)).unwrap());
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(Duration::from_millis(50));
        assert_eq!(asked.join().unwrap().version(), "v1");
    });
    assert_eq!(errors(&rollout.status().unwrap().candidate, ErrorKind::Deadline), 1);

    let service = with_deadline(&clock).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    rollout.canary(1.0).unwrap();
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        let asked = scope.spawn(|| service.request().batch(&[0.5, 0.6, 0.7]));
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(Duration::from_millis(50));
        let answers = asked.join().unwrap();
        assert_eq!(answers.len(), 3);
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.version() == "v1")));
    });
    assert_eq!(errors(&rollout.status().unwrap().candidate, ErrorKind::Deadline), 3);
}

/// A call whose caller has left keeps its place: with as many as there may be, live answers at once.
#[test]
fn a_call_whose_caller_has_left_counts_against_the_bound() {
    let clock = clock();
    let deadline = Duration::from_millis(50);
    let limits = Limits::new().candidate_deadline(deadline).candidates_beside(true).candidate_calls(1);
    let service = with_deadline(&clock).limits(limits).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
    rollout.canary(1.0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        let asked = scope.spawn(|| service.predict(&0.5).unwrap());
        wait_until("it hangs", || hanging.inside() == 1);
        clock.advance(deadline);
        asked.join().unwrap();
        let answer = service.predict(&0.5).unwrap();
        assert_eq!((answer.version().as_str(), answer.route()), ("v1", Route::Live));
        let batch = service.request().batch(&[0.5, 0.6]);
        assert!(batch.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.version() == "v1")));
    });
    assert_eq!(rollout.status().unwrap().control.withheld, 3);
    wait_until("its place is free again", || service.predict(&0.5).unwrap().version() == "v2");
}

/// A call waits for no thread that another call keeps: each has one of its own, whoever came first.
#[test]
fn a_call_that_hangs_keeps_no_other_call_waiting() {
    for _ in 0..20 {
        let clock = clock();
        let limits = Limits::new().candidate_deadline(Duration::from_millis(50)).candidates_beside(true);
        let service = with_deadline(&clock).limits(limits.candidate_calls(64)).build().unwrap();
        let hanging = Arc::new(Hanging::default());
        let (hangs, first) = (Arc::clone(&hanging), AtomicBool::new(true));
        let model =
            closure(
                "hangs@1",
                move |_: &f64| if first.swap(false, Ordering::SeqCst) { hangs.ask() } else { Ok(0.9) },
            );
        let rollout = service.stage("v2", model).unwrap();
        rollout.canary(1.0).unwrap();
        let (stop, together, answered) = (AtomicBool::new(false), Barrier::new(8), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let _let_go = LetGo(&hanging, &stop);
            for _ in 0..8 {
                scope.spawn(|| {
                    together.wait();
                    assert_eq!(service.predict(&0.5).unwrap().version(), "v2");
                    answered.fetch_add(1, Ordering::SeqCst);
                });
            }
            // The clock stands still, so none of them can miss its deadline.
            wait_until("all others are answered", || answered.load(Ordering::SeqCst) == 7);
        });
        assert_eq!(errors(&rollout.status().unwrap().candidate, ErrorKind::Deadline), 0);
    }
}

/// Who asks whom: a thread of ours a candidate whose input can be kept, and nobody but the caller live or anything else.
#[test]
fn only_candidates_are_asked_beside_and_only_where_their_inputs_can_be_kept() {
    #[derive(Debug)]
    struct Fragile(f64);
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            assert!(self.0 > 0.0, "cannot be copied");
            Self(self.0)
        }
    }
    let asked_by = || {
        let (by, asked) = std::sync::mpsc::channel();
        let model = move |_: &Fragile| {
            by.send(std::thread::current().name().map(str::to_owned)).unwrap();
            Ok(0.5)
        };
        (model, move || asked.recv().unwrap().filter(|name| name.starts_with("switchback-")))
    };
    let of = |inputs: Inputs<Fragile>, limits: Limits| {
        let (live, live_asked) = asked_by();
        let (candidate, candidate_asked) = asked_by();
        let service = ModelHandle::builder("whom")
            .live("v1", closure("one@1", live))
            .inputs(inputs)
            .limits(limits)
            .threads(Threads::manual())
            .build()
            .unwrap();
        service.predict(&Fragile(1.0)).unwrap();
        assert_eq!(live_asked(), None, "live");
        service.stage("v2", closure("two@1", candidate)).unwrap().canary(1.0).unwrap();
        (service, candidate_asked)
    };
    let limits = || Limits::new().candidate_deadline(seconds(60));
    let beside = Some("switchback-candidate".to_owned());

    let (service, asked) = of(Inputs::new().copied(), limits());
    assert_eq!(service.predict(&Fragile(1.0)).unwrap().version(), "v2");
    assert_eq!(asked(), beside);
    service.request().predict_shared(&Arc::new(Fragile(-1.0))).unwrap();
    assert_eq!(asked(), beside, "nothing is copied");
    service.request().batch(&[Fragile(1.0)]);
    assert_eq!(asked(), beside, "a batch");
    // There is no copy: the caller asks, and is answered.
    assert_eq!(service.predict(&Fragile(-1.0)).unwrap().version(), "v2");
    assert_eq!(asked(), None);
    // A stream's model may keep a state.
    service.request().pin().unwrap().predict(&Fragile(1.0)).unwrap();
    assert_eq!(asked(), None);

    for (inputs, limits) in [
        (Inputs::new(), limits()),
        (Inputs::new().copied(), Limits::new()),
        (Inputs::new().copied(), limits().candidates_beside(false)),
    ] {
        let (service, asked) = of(inputs, limits);
        assert_eq!(service.predict(&Fragile(1.0)).unwrap().version(), "v2");
        assert_eq!(asked(), None);
    }
}

/// A panic of a candidate that is asked beside is its failure, and of an answer that comes too late the destructor runs where it
/// harms nobody.
#[test]
fn a_candidate_that_panics_beside_its_caller_has_failed_and_ends_no_thread() {
    let clock = clock();
    let service = with_deadline(&clock).build().unwrap();
    let rollout = service
        .stage("v2", closure("panics@1", |_: &f64| -> Result<f64, _> { panic!("on purpose") }))
        .unwrap();
    rollout.canary(1.0).unwrap();
    for _ in 0..3 {
        assert_eq!(service.predict(&0.5).unwrap().route(), Route::Fallback);
    }
    assert_eq!(errors(&rollout.status().unwrap().candidate, ErrorKind::Panicked), 3);
    assert!(service.status().threads.iter().all(|thread| thread.died == 0));
}

/// 16 threads, half of the traffic, a candidate that hangs on one of ten calls: every caller is answered, and no answer is lost.
#[test]
fn no_answer_is_lost_to_a_candidate_that_hangs_on_some_calls() {
    const CALLS: usize = 300;
    let hanging = Arc::new(Hanging::default());
    // No breaker: on a busy machine calls that do end miss the deadline too, and it would spare the candidate the rest.
    let limits = Limits::new().candidate_deadline(Duration::from_millis(100)).overdue_after(seconds(3_600));
    let limits = limits.circuit_breaker(0);
    let service = builder(&Clock::system())
        .live("v1", says("one", 0.1))
        .inputs(Inputs::new().copied())
        .limits(limits)
        .threads(Threads::manual().tick_every(seconds(3_600)))
        .build()
        .unwrap();
    let (hangs, calls) = (Arc::clone(&hanging), AtomicUsize::new(0));
    let candidate = closure("hangs@1", move |_: &f64| {
        if calls.fetch_add(1, Ordering::SeqCst) % 10 == 9 { hangs.ask() } else { Ok(0.9) }
    });
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.canary(0.5).unwrap();
    let stop = AtomicBool::new(false);
    let together = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        let asking: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    let mut answered = 0;
                    // Some more on a busy machine, until several hang.
                    while answered < CALLS || hanging.inside() < 4 {
                        service.predict(&0.5).unwrap();
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        let answered: usize = asking.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(
            answered >= THREADS * CALLS && hanging.inside() >= 4,
            "{answered}, {} hang",
            hanging.inside()
        );
        wait_until("those that end have ended", || {
            rollout.status().unwrap().in_flight.calls == hanging.inside()
        });
        let status = service.status();
        let counted: u64 = status.versions.iter().map(|version| version.total.requests).sum();
        assert_eq!(counted, answered as u64, "each counts once");
        let missed = errors(&total(&status, "v2"), ErrorKind::Deadline);
        assert!(missed >= hanging.inside() as u64, "{missed} missed, {} hang", hanging.inside());
    });
}

/// A guard of the host's sees what is under way: of calls that do not end the figures say nothing.
#[test]
fn a_guard_sees_the_calls_that_are_under_way() {
    struct NoneUnderWay;
    impl Guard for NoneUnderWay {
        fn name(&self) -> String {
            "none under way".into()
        }
        fn judge(&self, seen: &Comparison<'_>) -> Evidence {
            let hangs = seen.in_flight.oldest.is_some_and(|oldest| oldest > seconds(5));
            assert_eq!(seen.in_flight.calls, 1);
            Evidence::new("none under way", if hangs { Verdict::Fail } else { Verdict::Inconclusive })
        }
    }
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let hanging = Arc::new(Hanging::default());
    let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap().guard(NoneUnderWay);
    rollout.canary(1.0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _let_go = LetGo(&hanging, &stop);
        scope.spawn(|| service.predict(&0.5).unwrap());
        wait_until("it hangs", || hanging.inside() == 1);
        tick(&service, &clock);
        assert_eq!(rollout.phase(), Phase::Canary);
        clock.advance(seconds(5));
        service.tick();
        assert_eq!(rollout.phase(), Phase::Aborted);
    });
}

/// Bug: where recorded traffic is replayed, a candidate that was well was taken off as one that does not come back, and quarantined; and
/// threads that asked it were given up. Cause: how long a call has been under way was told by the time line, which whoever replays turns by
/// hours while a call lasts. Fix: the stopwatch tells it, as it does how long a call took.
#[test]
fn a_time_line_that_is_turned_fast_makes_no_call_overdue() {
    for limits in [Limits::new(), Limits::new().candidate_deadline(seconds(600))] {
        let clock = Clock::replay(Timestamp::from_unix_seconds(1_700_000_000));
        let base = builder(&clock).live("v1", says("one", 0.1)).inputs(Inputs::new().copied());
        let service = base.limits(limits).build().unwrap();
        let hanging = Arc::new(Hanging::default());
        let rollout = service.stage("v2", hanging.model("hangs@1")).unwrap();
        rollout.canary(1.0).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _let_go = LetGo(&hanging, &stop);
            scope.spawn(|| service.predict(&0.5).unwrap());
            wait_until("it is asked", || hanging.inside() == 1);
            clock.advance(seconds(7_200));
            service.tick();
            let status = service.status();
            assert_eq!(rollout.phase(), Phase::Canary, "{:?}", names(&service.events()));
            assert!(status.quarantined.is_empty());
            assert!(status.threads.iter().all(|thread| thread.abandoned.is_none()), "{:?}", status.threads);
            let seen = rollout.status().unwrap().in_flight;
            assert!(seen.calls == 1 && seen.oldest.is_some_and(|oldest| oldest < seconds(600)), "{seen:?}");
        });
    }
}

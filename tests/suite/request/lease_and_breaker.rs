//! What protects requests when nobody judges a candidate, and before anybody has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use switchback::events::{Cause, EventKind};
use switchback::model::ModelError;
use switchback::options::{Limits, Shadowing, Threads};
use switchback::plan::Bake;
use switchback::testing::Scripted;
use switchback::versions::ErrorKind;
use switchback::{Clock, Outcome, Phase, Rollout, Route, Step, closure, guard};

use crate::common::*;

/// Invariant 8: a guard that nobody evaluates protects nobody.
#[test]
fn without_a_tick_for_three_intervals_a_candidate_answers_nobody() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .threads(Threads::manual().tick_every(seconds(10)))
        .build()
        .unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.canary(1.0).unwrap();
    clock.advance(seconds(30));
    assert_eq!(service.predict(&1.0).unwrap().version(), "v2");
    clock.advance(seconds(1));
    for answer in ask(&service, 10) {
        assert_eq!((answer.version().as_str(), answer.route()), ("v1", Route::Live));
    }
    assert_eq!(script.calls(), 1);
    let status = rollout.status().unwrap();
    assert_eq!((status.candidate.requests, status.control.withheld, status.control.requests), (1, 10, 10));
    assert_eq!(status.weight, share(1.0), "nothing was decided: the next tick brings it back");
    service.tick();
    assert_eq!(service.predict(&1.0).unwrap().version(), "v2");
    assert_eq!(service.request().pin().unwrap().version(), "v2");
    clock.advance(seconds(31));
    assert_eq!(service.request().pin().unwrap().version(), "v1", "a stream begins on live then");
}

/// Invariant 8, for a plan: exposure without judgement ends, and goes on when judgement does.
#[test]
fn a_plan_whose_host_stops_ticking_stops_exposing() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let rollout = service.stage("v2", says("two", 0.9)).unwrap();
    rollout.run(canaries([0.5])).unwrap();
    assert!(ask(&service, 50).iter().any(|answer| answer.version() == "v2"));
    clock.advance(seconds(4));
    assert!(ask(&service, 200).iter().all(|answer| answer.version() == "v1"));
    service.tick();
    assert!(ask(&service, 50).iter().any(|answer| answer.version() == "v2"));
}

/// Invariants 7 and 8: callers get live's answer from the first failure on, and after five in a row the candidate is not
/// even asked, before any tick.
#[test]
fn five_failures_in_a_row_and_a_candidate_is_passed_over_before_any_tick() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.canary(1.0).unwrap();
    script.fail_next(4);
    script.answer_next(1);
    script.panic_next(4);
    script.fail_next(90);
    let answers = ask(&service, 20);
    let routes: Vec<Route> = answers.iter().map(|answer| answer.route()).collect();
    assert_eq!(routes.iter().filter(|route| **route == Route::Canary).count(), 1);
    assert_eq!(script.calls(), 10, "four, one good one, and five in a row");
    assert!(answers[10..].iter().all(|answer| answer.route() == Route::Live && answer.version() == "v1"));
    assert_eq!(rollout.status().unwrap().control.withheld, 10);

    tick(&service, &clock);
    assert!(matches!(rollout.status().unwrap().cause, Some(Cause::Tripped { failures: 5, .. })));
    assert_eq!(names(&service.events())[2..5], ["tripped", "aborted", "quarantined"]);
    // Bug: why it had failed stood nowhere where a person looks. Fix: what it failed on most is told.
    let told: Vec<String> = service.events().iter().map(|event| event.to_string()).collect();
    let mostly = |event: &&String| event.contains("most often its engine failed");
    assert_eq!(told.iter().filter(mostly).count(), 2, "{told:?}");
}

/// Invariant 8. Bug: a change of the table for another candidate's sake gave one that had tripped, and was not taken off
/// yet, a new place to be counted and with it five more failures; the tick saw the new place alone. Fix: the flag goes
/// with the attempt.
#[test]
fn a_change_for_another_candidate_does_not_bring_one_back_that_has_tripped() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let failing = service.stage("v2", candidate).unwrap();
    let other = service.stage("v3", says("three", 0.8)).unwrap();
    failing.canary(0.4).unwrap();
    failing.canary(0.5).unwrap();
    script.fail();
    ask(&service, 40);
    assert_eq!(script.calls(), 5);
    // A place to be counted that was in use before and has not tripped is none to go back to.
    failing.canary(0.4).unwrap();
    ask(&service, 40);
    assert_eq!(script.calls(), 5);
    other.canary(0.1).unwrap();
    service.status();
    other.canary(0.2).unwrap();
    ask(&service, 40);
    assert_eq!(script.calls(), 5);
    tick(&service, &clock);
    assert!(failing.phase().is_over() && !other.phase().is_over());
}

/// A candidate beside a live that fails on what is large.
fn staged_beside_a_live_that_breaks() -> (Service, Rollout<f64, f64>, Script, Clock) {
    let clock = clock();
    let live = Scripted::new("one", |x: &f64| if *x > 100.0 { f64::NAN } else { 0.1 });
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock).live("v1", live).build().unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    (service, rollout, script, clock)
}

/// The same, as a canary of 50 %.
fn beside_a_live_that_breaks() -> (Service, Rollout<f64, f64>, Script, Clock) {
    let world = staged_beside_a_live_that_breaks();
    world.1.canary(0.5).unwrap();
    world
}

/// Bug: a candidate that failed together with live was condemned: what breaks both for a minute had it quarantined. Cause: the
/// breaker knew nothing of live. Fix: what tripped in the tick in which live turned bad waits with its circuit open, and is
/// tried again; a second time, beside a live that is well, it is taken off.
#[test]
fn a_candidate_that_trips_as_live_turns_bad_waits_and_is_tried_again() {
    let (service, rollout, script, clock) = beside_a_live_that_breaks();
    ask(&service, 100);
    tick(&service, &clock);

    script.fail();
    ask(&service, 40);
    (0..60).for_each(|_| drop(service.predict(&1_000.0)));
    // Bug: where somebody looked in between it was condemned all the same. Cause: whoever brought figures up to date began another tick of
    // what live fails on, so live seemed to have failed as much before. Fix: ticks do, and nobody else.
    (0..3).for_each(|_| drop(service.status()));
    tick(&service, &clock);
    let status = rollout.status().unwrap();
    assert_eq!((status.phase, status.withheld), (Phase::Canary, true), "{:?}", names(&service.events()));
    let calls = script.calls();
    ask(&service, 100);
    assert_eq!(script.calls(), calls, "nobody asks it while its circuit is open");
    let opened =
        |service: &Service| names(&service.events()).iter().filter(|name| **name == "circuit_opened").count();
    assert_eq!(opened(&service), 1);

    for _ in 0..31 {
        ask(&service, 10);
        tick(&service, &clock);
    }
    assert!(names(&service.events()).contains(&"circuit_closed".to_owned()));
    assert!(!rollout.status().unwrap().withheld);
    // It fails on, and live is well.
    ask(&service, 100);
    tick(&service, &clock);
    assert!(matches!(rollout.status().unwrap().cause, Some(Cause::Tripped { failures: 5, .. })));
    assert_eq!(opened(&service), 1);
}

/// Bug: a plan took its next step, or promoted, in the very tick in which the candidate's circuit opened. Cause: what is judged is what came
/// before, and nobody asked whether anything came now. Fix: nothing is raised while a circuit is open, whoever guards it.
#[test]
fn a_plan_raises_nothing_while_the_circuit_is_open() {
    for guarded in [true, false] {
        let (service, rollout, script, clock) = staged_beside_a_live_that_breaks();
        // One that five failures do not break, and that is none of how many there may be, which its breaker would know.
        let usual = guard::latency(0.5).within(seconds(10));
        let rollout = if guarded { rollout.guard(usual) } else { rollout };
        let first = Step::canary(0.5).unwrap().min_duration(seconds(3));
        rollout.run(plan([first, Step::canary(0.6).unwrap()])).unwrap();
        for _ in 0..2 {
            ask(&service, 100);
            tick(&service, &clock);
        }
        assert_eq!(rollout.status().unwrap().weight, share(0.5));
        script.fail();
        ask(&service, 40);
        (0..60).for_each(|_| drop(service.predict(&1_000.0)));
        tick(&service, &clock);
        script.behave();
        let status = rollout.status().unwrap();
        assert_eq!((status.weight, status.withheld), (share(0.5), true), "{:?}", names(&service.events()));
        for evidence in &status.evidence {
            assert!(evidence.note.as_ref().unwrap().contains("its circuit is open"), "{evidence}");
        }
        for _ in 0..40 {
            ask(&service, 100);
            tick(&service, &clock);
        }
        assert_eq!(rollout.phase(), Phase::Promoted, "{:?}", names(&service.events()));
    }
}

/// Bug: a candidate that had tripped as live turned bad was stopped, since "units do not come in the shares in which traffic was split". Cause:
/// from its last failure until the tick what was its own was evidence of nothing, and live's requests of the same moments counted. Fix: one
/// that has tripped is asked nothing, and live is no control of it.
#[test]
fn what_live_answers_after_a_candidate_has_tripped_is_no_control_of_it() {
    let (service, rollout, script, clock) = beside_a_live_that_breaks();
    ask(&service, 100);
    tick(&service, &clock);
    let before = script.calls();
    script.fail();
    (0..6).for_each(|_| drop(ask(&service, 100)));
    assert_eq!(script.calls() - before, 5, "and then it is asked no more");
    (0..100).for_each(|_| drop(service.predict(&1_000.0)));
    tick(&service, &clock);
    assert!(rollout.status().unwrap().withheld);
    script.behave();
    for _ in 0..40 {
        ask(&service, 10);
        tick(&service, &clock);
    }
    let told = names(&service.events());
    assert!(told.contains(&"circuit_closed".to_owned()) && !told.contains(&"held".to_owned()), "{told:?}");
    assert_eq!(rollout.phase(), Phase::Canary);
}

/// What live fails on all the time the breaker knows: it takes more failures in a row, and those condemn.
#[test]
fn beside_a_live_that_always_fails_now_and_then_a_candidate_that_fails_outright_is_taken_off() {
    let (service, rollout, script, clock) = beside_a_live_that_breaks();
    let some = |large: usize| {
        (0..100).for_each(|n| drop(service.predict(&if n < large { 1_000.0 } else { 1.0 })));
        tick(&service, &clock);
    };
    (0..3).for_each(|_| some(12));
    script.fail();
    (0..3).for_each(|_| some(12));
    assert!(matches!(rollout.status().unwrap().cause, Some(Cause::Tripped { .. })), "{:?}", rollout.status());
}

#[test]
fn a_breaker_can_be_switched_off() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    script.answer_next(0);
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().circuit_breaker(0))
        .build()
        .unwrap();
    service.stage("v2", candidate).unwrap().canary(1.0).unwrap();
    script.fail();
    ask(&service, 50);
    assert_eq!(script.calls(), 50);
}

/// Invariants 6 and 7: a candidate that errs, panics or gives what is no answer is judged by that, while every caller
/// has live's answer.
#[test]
fn callers_of_a_failing_candidate_have_lives_answer_and_it_is_judged_by_its_own() {
    let clock = clock();
    for (kind, misbehave) in [
        (ErrorKind::Engine, Box::new(|script: &Script| script.fail()) as Box<dyn Fn(&Script)>),
        (ErrorKind::Panicked, Box::new(|script: &Script| script.panic())),
        (ErrorKind::InvalidOutput, Box::new(|script: &Script| script.lie(|_| f64::NAN))),
        (ErrorKind::InvalidOutput, Box::new(|script: &Script| script.lie(|_| 0.7))),
        (ErrorKind::Rejected, Box::new(|script: &Script| script.refuse())),
    ] {
        let candidate = says("two", 0.9);
        let script = candidate.control();
        let service = builder(&clock)
            .live("v1", says("one", 0.1))
            .task(switchback::Task::binary(|probability: &f64| *probability).check(|p| *p != 0.7))
            .limits(Limits::new().circuit_breaker(0))
            .build()
            .unwrap();
        let rollout = service
            .stage("v2", candidate)
            .unwrap()
            .guard(guard::error_rate().at_most(0.3))
            .guard(guard::accuracy().at_most_below_live(0.1));
        rollout.canary(0.5).unwrap();
        misbehave(&script);
        for answer in ask(&service, 400) {
            assert_eq!((*answer.output(), answer.version().as_str()), (0.1, "v1"));
            assert_ne!(answer.route(), Route::Canary);
            service.feedback(answer.id(), Outcome::class(0));
        }
        let status = rollout.status().unwrap();
        assert_eq!(errors(&status.candidate, kind), status.candidate.requests, "{kind:?}");
        assert_eq!((accuracy(&status.candidate), accuracy(&status.control)), (Some(0.0), Some(1.0)));
        assert_eq!(status.candidate.fallbacks, status.control.substitutes);
        assert_eq!(status.control.error_rate, Some(0.0));
        tick(&service, &clock);
        let failed = events(&service, |event| match event {
            EventKind::Aborted { cause: Cause::Guard { evidence }, .. } => Some((**evidence).clone()),
            _ => None,
        });
        assert_eq!(failed[0].observed, Some(1.0), "{kind:?}");
    }
}

type Script = switchback::testing::Script<f64, f64>;

/// Invariant 8, with a thread of the handle's: nobody has to tick for a candidate to be taken off.
///
/// Bug: the test could wait for ever. Cause: its lease was three ticks of 1 ms of real time, so that a machine with other
/// work let it run out before the five failures that trip the breaker, after which nobody asks the candidate; and it
/// waited for the event without an end. Fix: the lease runs on a clock that stands still, and the wait has an end.
#[test]
fn a_thread_of_the_handles_takes_a_failing_candidate_off() {
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = switchback::ModelHandle::builder("late")
        .live("v1", says("one", 0.1))
        .clock(clock())
        .threads(Threads::background().tick_every(seconds(1) / 1_000))
        .build()
        .unwrap();
    let events = service.subscribe(100);
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.canary(1.0).unwrap();
    script.fail();
    ask(&service, 5);
    assert_eq!(script.calls(), 5);
    let dropped = |event: &switchback::events::Event| matches!(event.kind, EventKind::Dropped { .. });
    let told = std::iter::from_fn(|| events.recv_timeout(seconds(60)));
    assert!(told.into_iter().any(|event| dropped(&event)), "nothing was dropped within a minute");
    assert_eq!(script.dropped_on().as_deref(), Some("switchback-free"));
    service.close(seconds(60)).unwrap();
}

/// Bug: after a promotion a new live that failed on everything stayed live, where requests had keys. Cause: keys were not hashed where nothing
/// was split, all had the number 0, and failures of one user are one. Fix: beside a version that live may be taken back to they are.
#[test]
fn a_new_live_that_fails_for_every_user_is_taken_back_at_the_next_tick() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.run(canaries([0.5]).bake(Bake::new(seconds(3_600))).unguarded()).unwrap();
    for _ in 0..20 {
        ask(&service, 100);
        tick(&service, &clock);
    }
    assert_eq!((service.live().as_str(), rollout.phase()), ("v2", Phase::Baking));
    script.fail();
    // One user who comes again and again is one failure. Bug: after such a tick nothing was taken back any more. Cause: a watched live
    // was excused by what live fails on, which it was itself. Fix: by what the version before it fails on.
    (0..100).for_each(|_| drop(service.predict_keyed("u0", &1.0)));
    tick(&service, &clock);
    assert_eq!(service.live(), "v2");
    (0..100).for_each(|user| drop(service.predict_keyed(format!("u{user}"), &1.0)));
    tick(&service, &clock);
    assert_eq!(service.live(), "v1");
}

/// Bug: on copies one user whose every request a candidate fails on had it quarantined. Cause: a copy had no key, so each was somebody else's.
/// Fix: the breaker knows whose it is.
#[test]
fn one_user_is_one_failure_in_a_shadow_too() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.shadow(1.0).unwrap();
    script.fail();
    let copies = |users: std::ops::Range<u32>| {
        for user in users {
            let _ = service.predict_keyed(format!("u{user}"), &1.0);
            service.run_shadow(usize::MAX);
        }
        tick(&service, &clock);
    };
    (0..20).for_each(|_| copies(7..8));
    assert_eq!(rollout.phase(), Phase::Shadow);
    copies(0..20);
    assert_eq!(rollout.phase(), Phase::Aborted);
}

/// Bug: after its circuit had closed a candidate was taken off without one new failure. Cause: a stream that stays with it holds the place in
/// which it failed before, and whether that had tripped was asked again. Fix: what was seen before the circuit closed is over.
#[test]
fn what_a_pinned_stream_has_seen_before_the_circuit_closed_condemns_nobody() {
    let (service, rollout, script, clock) = beside_a_live_that_breaks();
    ask(&service, 100);
    tick(&service, &clock);
    let stream =
        (0..100).map(|_| service.request().pin().unwrap()).find(|pin| pin.version() == "v2").unwrap();
    script.fail();
    ask(&service, 40);
    (0..60).for_each(|_| drop(service.predict(&1_000.0)));
    tick(&service, &clock);
    assert!(rollout.status().unwrap().withheld);
    script.behave();
    for _ in 0..40 {
        ask(&service, 10);
        tick(&service, &clock);
    }
    assert!(names(&service.events()).contains(&"circuit_closed".to_owned()));
    assert_eq!(rollout.phase(), Phase::Canary, "{:?}", names(&service.events()));
    drop(stream);
}

/// Bug: beside many requests that nobody can answer, a candidate that failed on all others was not taken off. Cause: what live refused in its
/// place counted as a failure of live's. Fix: what is refused is nobody's failure.
#[test]
fn requests_that_both_refuse_hide_no_candidate_that_fails() {
    let clock = clock();
    let is_broken = Arc::new(AtomicBool::new(false));
    let refuses = |x: &f64| if *x > 100.0 { Err(ModelError::input("too large")) } else { Ok(0.1) };
    let breaks = Arc::clone(&is_broken);
    let candidate = move |x: &f64| match refuses(x) {
        Ok(_) if breaks.load(Ordering::SeqCst) => Err(ModelError::engine("broken")),
        answer => answer,
    };
    let service = builder(&clock).live("v1", closure("one@1", refuses)).build().unwrap();
    let rollout = service.stage("v2", closure("two@1", candidate)).unwrap();
    let ask = || {
        (0..200).for_each(|n| drop(service.predict(&if n % 5 < 2 { 1_000.0 } else { 1.0 })));
        tick(&service, &clock);
    };
    rollout.canary(0.5).unwrap();
    (0..5).for_each(|_| ask());
    assert_eq!(rollout.phase(), Phase::Canary);
    is_broken.store(true, Ordering::SeqCst);
    ask();
    assert_eq!(rollout.phase(), Phase::Aborted, "{:?}", names(&service.events()));
}

/// Bug: of a batch that was withheld from a candidate one request was counted as withheld, and of a stream one before anything was asked.
/// Cause: what is withheld was counted where who answers was found, once for each time. Fix: as many are counted as there are rows, and of a
/// stream each of its calls.
#[test]
fn as_many_requests_are_withheld_as_were_asked() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let rollout = service.stage("v2", says("two", 0.9)).unwrap();
    rollout.canary(1.0).unwrap();
    clock.advance(seconds(60));
    let withheld = || rollout.status().unwrap().control.withheld;
    service.predict(&1.0).unwrap();
    assert_eq!(withheld(), 1);
    service.request().batch(&[1.0, 2.0, 3.0]);
    assert_eq!(withheld(), 4);
    service.request().batch::<f64>(&[]);
    assert_eq!(withheld(), 4, "of nothing nothing");
    service.request().batch_by_key(&[1.0, 2.0], |x| x.to_string());
    assert_eq!(withheld(), 6);
    let stream = service.request().pin().unwrap();
    assert_eq!(withheld(), 6, "nothing is asked yet");
    (0..3).for_each(|_| _ = stream.predict(&1.0).unwrap());
    assert_eq!((stream.version().as_str(), withheld()), ("v1", 9));
}

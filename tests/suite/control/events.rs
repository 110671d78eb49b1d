//! What is told of what happened, to whom, and what never is.

use switchback::events::{Cause, EventKind};
use switchback::guard::{Comparison, Evidence, Guard, Verdict};
use switchback::options::{Limits, Retention, Shadowing, Threads};
use switchback::testing::Scripted;
use switchback::{ModelHandle, Outcome, RollbackOutcome, Task, closure, guard};

use crate::common::*;

/// Invariant 9: an event is announced after the store that it describes, with a sequence number.
#[test]
fn whoever_sees_an_event_finds_it_true() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let events = service.subscribe(10_000);
    let watched = service.clone();
    let (epochs, seen) = std::sync::mpsc::channel();
    let watcher = events.spawn(move |event| {
        // Whatever has happened since, the table is at least as new as the event says.
        let status = watched.status();
        epochs.send((event.sequence, event.epoch, status.epoch)).unwrap();
        if let EventKind::Staged { version, .. } = event.kind {
            assert!(status.versions.iter().any(|known| known.version == version));
        }
    });
    for number in 2..60 {
        let version = format!("v{number}");
        let rollout = service.stage(&version, says(&version, 0.5)).unwrap();
        rollout.canary(0.5).unwrap();
        if number % 3 == 0 {
            rollout.promote().unwrap()
        } else {
            drop(rollout.rollback("no"))
        }
        let _ = service.rollback("to and fro");
        service.tick();
    }
    let announced = service.events().len() as u64;
    let mut next = 1;
    while next <= announced {
        let (sequence, epoch, at_least) = seen.recv().unwrap();
        assert_eq!(sequence, next);
        assert!(epoch <= at_least, "event {sequence} of table {epoch} was told at table {at_least}");
        next += 1;
    }
    drop((service, watcher));
}

/// Bug: a thread that was told of events could not be joined after the handle was closed: it waited for as long as there was a handle, which
/// whoever joined it had. Cause: a subscription ended with the last handle alone. Fix: with the close.
#[test]
fn a_thread_that_is_told_of_events_ends_once_the_handle_was_closed() {
    let service = builder(&clock()).live("v1", says("one", 0.1)).build().unwrap();
    service.stage("v2", says("two", 0.9)).unwrap().canary(0.5).unwrap();
    let (seen, told) = std::sync::mpsc::channel();
    let thread = service.subscribe(64).spawn(move |event| seen.send(event.kind.name()).unwrap()).unwrap();
    service.close(seconds(60)).unwrap();
    wait_until("it has ended", || thread.is_finished());
    // Whoever waits up to a time is told that none is worth waiting for.
    assert!(service.subscribe(64).has_ended());
    thread.join().unwrap();
    assert_eq!(told.iter().take(2).collect::<Vec<_>>(), ["closed", "aborted"]);
    assert!(service.subscribe(1).next().is_none(), "nothing is told any more");
    assert_eq!(service.predict(&0.5).unwrap().version(), "v1");
}

#[test]
fn events_tell_a_rollout_in_its_order() {
    let clock = clock();
    let service =
        builder(&clock).live("v1", says("one", 0.1)).retention(Retention::new().versions(1)).build().unwrap();
    let events = service.subscribe(100);
    let rollout = service.stage("v2", says("two", 0.9)).unwrap();
    rollout.canary(0.5).unwrap();
    rollout.pause("lunch").unwrap();
    rollout.pause("lunch, again").unwrap();
    rollout.resume().unwrap();
    rollout.promote().unwrap();
    service.freeze("launch");
    service.unfreeze();
    service.unfreeze();
    assert!(matches!(service.rollback("complaints"), RollbackOutcome::RolledBack { .. }));
    let third = service.stage("v3", says("three", 0.8)).unwrap();
    third.promote().unwrap();
    service.tick();
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
    let expected = [
        "staged",
        "phase_changed",
        "paused",
        "resumed",
        "promoted",
        "frozen",
        "unfrozen",
        "rolled_back",
        "staged",
        "promoted",
        "retired",
        // What each load did to live, which went on to be another.
        "loaded",
        "loaded",
        "dropped",
    ];
    assert_eq!(names(&told), expected);
    assert_eq!(names(&service.events()), expected);
    let sequences: Vec<u64> = told.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=14).collect::<Vec<_>>());
    assert!(told.is_sorted_by_key(|event| (event.at, event.epoch)));
    let cause = told.iter().find_map(|event| match &event.kind {
        EventKind::RolledBack { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    assert_eq!(cause, Some(Cause::Operator { reason: "complaints".into() }));
}

/// Invariants 9 and 11: one subscriber panics, one blocks, one is full, one is gone; switching goes on.
#[test]
fn a_subscriber_that_panics_or_blocks_hurts_nobody() {
    let clock = clock();
    let service =
        builder(&clock).live("v1", says("one", 0.1)).limits(Limits::new().events(8)).build().unwrap();
    let (count, counted) = std::sync::mpsc::channel();
    service
        .subscribe(100)
        .spawn(move |event| {
            count.send(event.sequence).unwrap();
            std::panic::resume_unwind(Box::new("a subscriber that panics"));
        })
        .unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let (waits, waiting) = std::sync::mpsc::channel();
    service
        .subscribe(1)
        .spawn(move |_| {
            waits.send(()).unwrap();
            let _ = gate.recv();
        })
        .unwrap();
    let full = service.subscribe(2);
    drop(service.subscribe(2));
    for number in 0..20 {
        service.freeze(format!("{number}"));
        service.predict(&1.0).unwrap();
    }
    waiting.recv().unwrap();
    assert_eq!(counted.iter().take(20).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert_eq!((full.missed(), full.try_recv().unwrap().sequence), (18, 1));
    let log = service.events();
    assert_eq!(log.iter().map(|event| event.sequence).collect::<Vec<_>>(), (13..=20).collect::<Vec<_>>());
    drop(open);
}

#[test]
fn subscriptions_end_with_the_handle() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let mut events = service.subscribe(10);
    service.freeze("launch");
    drop(service);
    assert_eq!(events.by_ref().count(), 1);
}

const REQUEST: &str = "canary-string-of-a-request";
const KEY: &str = "canary-string-of-a-key";
const OUTPUT: &str = "canary-string-of-an-answer";

/// A guard that shows everything it sees.
struct Talkative;

impl Guard for Talkative {
    fn name(&self) -> String {
        "talkative".into()
    }
    fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
        let figures = comparison.candidate.figures(switchback::stats::Window::Total);
        Evidence::new("talkative", Verdict::Pass).note(format!("{figures:?} {:?}", comparison.divergence))
    }
}

/// Invariant 14: requests, keys and answers of users are in no event, no status and no `Debug`.
#[test]
fn nothing_of_a_user_is_in_anything_that_is_shown() {
    let clock = clock();
    let answer = || Scripted::new("one", |_: &str| OUTPUT.to_owned());
    let candidate = closure("two@1", |request: &str| match request.len() % 2 {
        0 => Ok(OUTPUT.to_owned()),
        _ => std::panic::resume_unwind(Box::new(format!("what is {request}?"))),
    });
    let builder = ModelHandle::builder("private")
        .live("v1", answer())
        .task(
            Task::binary(|_: &String| 0.5)
                .compare(|one: &String, two: &String| f64::from(u8::from(one != two))),
        )
        .inputs(switchback::options::Inputs::new().sample(REQUEST.to_owned()))
        .clock(clock.clone())
        .limits(Limits::new().circuit_breaker(0))
        .threads(Threads::manual())
        .shadowing(Shadowing::new());
    let mut shown = format!("{builder:?}");
    let service: ModelHandle<str, String> = builder.build().unwrap();
    let rollout =
        service.stage("v2", candidate).unwrap().guard(Talkative).guard(guard::error_rate().at_most(0.9));
    let events = service.subscribe(1_000);
    rollout.shadow(1.0).unwrap();
    rollout.canary(1.0).unwrap();
    let pin = service.request().key(&KEY).pin().unwrap();
    rollout.canary(0.5).unwrap();
    for number in 0..400 {
        let request = format!("{REQUEST}{}", "!".repeat(number % 2));
        let answer = service.predict_keyed(format!("{KEY}{number}"), &request).unwrap();
        service.feedback(answer.id(), Outcome::class(1));
        shown += &format!("{answer:?} {} {:?}", answer.id(), answer.id());
        if let Err(error) = pin.predict(&request) {
            // The caller is told, and nobody else.
            assert!(matches!(error, switchback::requests::PinnedError::Predict(_)));
        }
        service.run_shadow(1);
        if number % 50 == 0 {
            tick_str(&service, &clock);
        }
    }
    let status = service.status();
    shown += &format!("{service:?} {rollout:?} {pin:?} {events:?} {status:?} {:?}", service.events());
    shown += &serde_json::to_string(&status).unwrap();
    for event in service.events() {
        shown += &format!("{event} {}", serde_json::to_string(&*event).unwrap());
    }
    assert!(shown.len() > 10_000 && status.versions[1].total.requests > 100);
    for secret in [REQUEST, KEY, OUTPUT] {
        let found = shown.find(secret).map(|at| &shown[at.saturating_sub(200)..at + secret.len()]);
        assert_eq!(found, None);
    }
}

fn tick_str(service: &ModelHandle<str, String>, clock: &switchback::Clock) {
    clock.advance(seconds(1));
    service.tick();
}

//! Clocks that are set between two lives of a handle, or not set when one begins.
//!
//! Bugs: with a clock that stood ahead at the first start a candidate stayed at its step for as long as it had been ahead;
//! with one that was not set at boot labels were `Expired` and ids `Unknown`; an id beyond the horizon was good again once
//! the clock was set back.
//!
//! Cause: moments of two lives were compared as if one clock had told them, and a moment that an outcome names, told by
//! somebody else's clock, with one of the handle's. Fix: a start knows by what was saved last where the earlier life's time
//! line ended, and moves its moments so that it ended no later than now: ages are kept, and an event tells. When an outcome
//! became known is compared with a clock that is set alone.
#![cfg(feature = "state")]

use std::time::Duration;

use switchback::events::EventKind;
use switchback::feedback::FeedbackOutcome;
use switchback::{Clock, Model, Outcome, Phase, PredictionId, Step, Timestamp};

use crate::common::{Folder, Service, builder, events, plan, says, seconds};

const DAY: Duration = Duration::from_secs(86_400);

/// A day in 2026, and one on which no clock was set.
const TODAY: Timestamp = Timestamp::from_unix_seconds(1_780_000_000);
const UNSET: Timestamp = Timestamp::from_unix_seconds(100);

fn versions(name: &str) -> Result<Box<dyn Model<f64, f64>>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Box::new(says(name, 0.2)))
}

fn start(folder: &Folder, at: Timestamp) -> (Service, Clock) {
    let clock = Clock::manual(at);
    let service =
        builder(&clock).live("v1", says("v1", 0.1)).state(&folder.0).source(versions).build().unwrap();
    (service, clock)
}

fn id(service: &Service) -> PredictionId {
    service.predict(&0.5).unwrap().id().to_string().parse().unwrap()
}

fn end(service: &Service) {
    service.tick();
    service.checkpoint().unwrap();
    service.close(Duration::ZERO).unwrap();
}

fn moved(service: &Service) -> usize {
    events(service, |kind| matches!(kind, EventKind::ClockMoved { .. }).then_some(())).len()
}

fn yes() -> Outcome {
    Outcome::class(1)
}

#[test]
fn a_candidate_goes_on_with_its_step_where_the_clock_stood_ahead_when_it_began() {
    let folder = Folder::new();
    let (service, clock) = start(&folder, TODAY.plus(365 * DAY));
    let rollout = service.stage("v2", says("v2", 0.2)).unwrap();
    let step = |weight| Step::canary(weight).unwrap().min_duration(seconds(600)).min_predictions(1);
    rollout.run(plan([step(0.1), step(0.5)])).unwrap();
    for _ in 0..400 {
        clock.advance(seconds(1));
        service.predict(&0.5).unwrap();
        service.tick();
    }
    end(&service);

    // Set right meanwhile.
    let (service, clock) = start(&folder, TODAY);
    assert_eq!(moved(&service), 1);
    let rollout = service.rollout("v2").unwrap();
    assert_eq!(rollout.status().unwrap().step, Some(0));
    assert_eq!(
        rollout.status().unwrap().since,
        Timestamp::from_unix_nanos(TODAY.unix_nanos() - 400_000_000_000)
    );
    for _ in 0..260 {
        clock.advance(seconds(1));
        service.predict(&0.5).unwrap();
        service.tick();
    }
    let status = rollout.status().unwrap();
    assert_eq!((status.phase, status.step), (Phase::Canary, Some(1)));
    assert!(service.status().live_since <= clock.now());
}

#[test]
fn labels_find_their_predictions_where_the_clock_was_not_set_at_boot() {
    let folder = Folder::new();
    let (service, clock) = start(&folder, UNSET);
    let (told_here, told_there, too_old) = (id(&service), id(&service), id(&service));
    // Whoever tells what became of it has a clock that is set.
    assert_eq!(service.feedback(told_here, yes().known_at(TODAY)), FeedbackOutcome::Counted);
    clock.advance(6 * DAY);
    end(&service);

    let (service, clock) = start(&folder, TODAY);
    assert_eq!(moved(&service), 1);
    assert_eq!(service.feedback(told_here, yes()), FeedbackOutcome::Settled);
    assert_eq!(service.feedback(told_there, yes()), FeedbackOutcome::Counted);
    clock.advance(2 * DAY);
    assert_eq!(service.feedback(too_old, yes()), FeedbackOutcome::Expired, "eight days, of seven");
}

#[test]
fn an_id_beyond_the_horizon_is_expired_whatever_the_clock_did() {
    let folder = Folder::new();
    let (service, clock) = start(&folder, TODAY);
    let old = id(&service);
    clock.advance(6 * DAY);
    let (young, younger) = (id(&service), id(&service));
    clock.advance(DAY / 2);
    end(&service);

    // Not set at boot, and set at the next.
    let (service, clock) = start(&folder, UNSET);
    assert_eq!(moved(&service), 1);
    assert_eq!(service.feedback(young, yes()), FeedbackOutcome::Counted);
    clock.advance(DAY);
    assert_eq!(service.feedback(old, yes()), FeedbackOutcome::Expired, "seven days and a half");
    end(&service);
    let (service, clock) = start(&folder, TODAY.plus(7 * DAY));
    assert_eq!(service.feedback(young, yes()), FeedbackOutcome::Settled);
    assert_eq!(service.feedback(younger, yes()), FeedbackOutcome::Counted);
    assert_eq!(service.feedback(old, yes()), FeedbackOutcome::Expired);
    clock.advance(7 * DAY);
    assert_eq!(service.feedback(younger, yes()), FeedbackOutcome::Expired);
    end(&service);

    // Set back by a year.
    let (service, clock) = start(&folder, TODAY);
    assert!(!matches!(service.feedback(younger, yes()), FeedbackOutcome::Counted));
    let fresh = id(&service);
    clock.advance(DAY);
    assert_eq!(service.feedback(fresh, yes()), FeedbackOutcome::Counted);
}

#[test]
fn time_that_passes_between_two_lives_is_no_clock_that_was_set() {
    let folder = Folder::new();
    let (service, _) = start(&folder, TODAY);
    let (soon, late) = (id(&service), id(&service));
    end(&service);
    let (service, clock) = start(&folder, TODAY.plus(6 * DAY));
    assert_eq!((moved(&service), service.feedback(soon, yes())), (0, FeedbackOutcome::Counted));
    clock.advance(2 * DAY);
    assert_eq!(service.feedback(late, yes()), FeedbackOutcome::Expired);
}

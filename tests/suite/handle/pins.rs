//! Streams: several calls that stay with one version.

use switchback::options::PinPolicy;
use switchback::options::{Limits, Retention, Shadowing};
use switchback::{Outcome, PredictError, Route, requests::PinnedError};

use crate::common::*;

/// Invariant 12: a stream finishes on its version, whatever is promoted meanwhile, within a bound.
#[test]
fn a_stream_finishes_on_its_version_within_its_time() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().pin_policy(PinPolicy::Finish).pins(10).pin_lasts(seconds(60)))
        .retention(Retention::new().versions(0))
        .build()
        .unwrap();
    let pin = service.request().pin().unwrap();
    service.stage("v2", says("two", 0.9)).unwrap().promote().unwrap();
    for _ in 0..60 {
        assert_eq!(pin.predict(&1.0).unwrap().version(), "v1");
        assert_eq!(service.predict(&1.0).unwrap().version(), "v2");
        tick(&service, &clock);
    }
    tick(&service, &clock);
    assert!(matches!(pin.predict(&1.0), Err(PinnedError::Superseded { version }) if version == "v1"));
    assert_eq!(pin.version(), "v1");
    assert_eq!(
        service.request().pin().unwrap().predict(&1.0).unwrap().version(),
        "v2",
        "the stream begins anew"
    );
}

/// Invariant 12. Bug: only ticks ended pins, so where nobody ticks a stream stayed on its version for ever. Fix: a call
/// looks at the time itself.
#[test]
fn a_streams_time_is_over_also_when_nobody_ticks() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().pin_policy(PinPolicy::Finish).pins(10).pin_lasts(seconds(60)))
        .build()
        .unwrap();
    let pin = service.request().pin().unwrap();
    clock.advance(seconds(60));
    assert!(pin.predict(&1.0).is_ok());
    clock.advance(seconds(1));
    assert!(matches!(pin.predict(&1.0), Err(PinnedError::Superseded { .. })));
}

/// Invariant 12: or it is told that its version was superseded. Never another version in silence.
#[test]
fn a_stream_is_told_that_its_version_was_superseded_where_the_host_chose_so() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().pin_policy(PinPolicy::Supersede).pins(10).pin_lasts(seconds(60)))
        .build()
        .unwrap();
    let rollout = service.stage("v2", says("two", 0.9)).unwrap();
    rollout.canary(1.0).unwrap();
    let on_candidate = service.request().pin().unwrap();
    rollout.canary(0.0).unwrap();
    let on_live = service.request().pin().unwrap();
    assert_eq!((on_candidate.version().as_str(), on_live.version().as_str()), ("v2", "v1"));
    assert_eq!(on_candidate.predict(&1.0).unwrap().route(), Route::Canary, "its phase is still canary");
    rollout.promote().unwrap();
    assert!(matches!(on_live.predict(&1.0), Err(PinnedError::Superseded { version }) if version == "v1"));
    assert!(on_candidate.predict(&1.0).is_ok(), "it is live now");
    let _ = service.rollback("complaints");
    assert!(matches!(on_candidate.predict(&1.0), Err(PinnedError::Superseded { .. })));
}

/// Invariants 6 and 12: nobody answers in the place of a version that has the stream's state, and it is one unit.
#[test]
fn a_stream_is_one_unit_and_its_failures_are_its_callers_to_see() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.shadow(1.0).unwrap();
    rollout.canary(1.0).unwrap();
    let pin = service.request().key("conversation").pin().unwrap();
    script.fail_next(1);
    let failed = pin.predict(&1.0);
    assert!(
        matches!(failed, Err(PinnedError::Predict(PredictError::Failed { version, .. })) if version == "v2")
    );
    let answers: Vec<_> = (0..4).map(|_| pin.predict(&1.0).unwrap()).collect();
    for answer in &answers {
        service.feedback(answer.id(), Outcome::class(1));
    }
    let status = rollout.status().unwrap();
    let figures = status.candidate;
    assert_eq!((figures.requests, figures.units, figures.outcomes, figures.labelled_units), (5, 1, 4, 1));
    assert_eq!((service.run_shadow(10), status.divergence.pairs), (0, 0), "no copy of it is shadowed");
    let second = service.request().pin().unwrap();
    second.predict(&1.0).unwrap();
    assert_eq!(rollout.status().unwrap().candidate.units, 2);
}

/// Bug: two first calls of a stream at the same time each counted its unit. Fix: the first to begin does.
#[test]
fn calls_of_one_stream_at_the_same_time_are_one_unit() {
    let clock = clock();
    let live = says("one", 0.1);
    let script = live.control();
    let service = builder(&clock).live("v1", live).build().unwrap();
    let pin = service.request().pin().unwrap();
    let gate = script.gate();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pin.predict(&1.0).unwrap());
        }
        gate.wait_for(3);
        gate.open();
    });
    let figures = total(&service.status(), "v1");
    assert_eq!((figures.requests, figures.units), (3, 1));
}

/// Invariant 11.
#[test]
fn pins_have_a_limit_and_make_room_when_they_go() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .limits(Limits::new().pin_policy(PinPolicy::Finish).pins(2).pin_lasts(seconds(60)))
        .build()
        .unwrap();
    let (first, _second) = (service.request().pin().unwrap(), service.request().pin().unwrap());
    assert_eq!(service.request().pin().unwrap_err().max, 2);
    assert_eq!(service.status().pins, 2);
    drop(first);
    assert!(service.request().pin().is_ok());
}

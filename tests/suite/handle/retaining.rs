//! What is kept for a rollback, changed while a handle runs.

use switchback::events::{Event, EventKind};
use switchback::options::{Drill, Inputs, Retention};
use switchback::status::Role;

use crate::common::*;

fn retained(service: &Service) -> Vec<String> {
    let versions = service.status().versions;
    let kept = versions.iter().filter(|version| version.role == Role::Retained);
    kept.map(|version| version.version.to_string()).collect()
}

fn promoted(service: &Service, versions: &[&str]) {
    for version in versions {
        service.stage(version, says(version, 0.5)).unwrap().promote().unwrap();
    }
}

fn told(service: &Service) -> Vec<String> {
    let is_told = |event: &&std::sync::Arc<Event>| matches!(event.kind, EventKind::RetentionChanged { .. });
    service.events().iter().filter(is_told).map(|event| event.to_string()).collect()
}

#[test]
fn fewer_versions_are_let_go_of_at_once_and_more_are_kept_from_then_on() {
    let service = builder(&clock())
        .live("v1", says("v1", 0.5))
        .retention(Retention::new().versions(3))
        .build()
        .unwrap();
    promoted(&service, &["v2", "v3", "v4"]);
    assert_eq!(retained(&service), ["v3", "v2", "v1"]);

    service.acting_as("ada").set_retention(Retention::new().versions(1)).unwrap();
    assert_eq!(retained(&service), ["v3"]);
    assert!(service.rollback_to("v1", "too late").is_err());
    let event = service.events().into_iter().find(|event| event.kind.name() == "retention_changed").unwrap();
    assert_eq!(event.actor.as_deref(), Some("ada"));
    assert_eq!(event.kind.version(), None);

    let kept = Retention::new().versions(2).keep_for(seconds(7_200)).quarantine_for(seconds(86_400));
    service.set_retention(kept).unwrap();
    promoted(&service, &["v5"]);
    assert_eq!(retained(&service), ["v4", "v3"], "and what was let go of does not come back");
    assert_eq!(
        told(&service),
        [
            "the retention is changed: up to 1 version is kept for a rollback, and what does harm is quarantined until it is released",
            "the retention is changed: up to 2 versions are kept for a rollback, for 2h, and what does harm is quarantined for 1day",
        ]
    );
}

/// An age that is shortened holds for what is retained already; a quarantine has the length that was said when it began.
#[test]
fn ages_are_changed_for_what_is_retained_and_for_quarantines_to_come() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("v1", 0.5)).build().unwrap();
    let fail = |version: &str| {
        let model = says(version, 0.5);
        let script = model.control();
        let rollout = service.stage(version, model).unwrap();
        rollout.canary(1.0).unwrap();
        script.fail();
        (0..200).for_each(|_| drop(service.predict(&1.0)));
        service.tick();
        assert!(rollout.phase().is_over(), "{version}");
    };
    service.set_retention(Retention::new().quarantine_for(seconds(100))).unwrap();
    fail("bad");
    service.set_retention(Retention::new().keep_for(seconds(50)).quarantine_for(seconds(1_000))).unwrap();
    fail("worse");
    promoted(&service, &["v2"]);
    assert_eq!(retained(&service), ["v1"]);
    let quarantined =
        || service.status().quarantined.iter().map(|one| one.version.to_string()).collect::<Vec<_>>();
    assert_eq!(quarantined().len(), 2);
    clock.advance(seconds(101));
    service.tick();
    assert_eq!(quarantined(), ["worse"]);
    assert!(retained(&service).is_empty());
}

#[test]
fn what_needs_a_new_handle_is_refused_and_changes_nothing() {
    let service = builder(&clock()).live("v1", says("v1", 0.5)).build().unwrap();
    let before = service.events().len();
    for (retention, refused) in [
        (Retention::new().versions(65), "retention.versions is 65: it must be at most 64"),
        (
            Retention::new().versions(1).answers(7),
            "retention.answers is 7: it must be 0, as the handle was built",
        ),
        (
            Retention::new().versions(1).drill(Drill::new()),
            "retention.drill is there: it must be left out, as the handle was built",
        ),
    ] {
        assert_eq!(service.set_retention(retention).unwrap_err().to_string(), refused);
    }
    // Nor is anything told where nothing is another.
    service.set_retention(Retention::new()).unwrap();
    assert_eq!(service.events().len(), before);
}

/// How often retained versions are proven, and on how much, follows what is said while the handle runs.
#[test]
fn a_drill_is_changed_while_the_handle_runs() {
    let clock = clock();
    let drill = |inputs| Drill::new().every(seconds(60)).inputs(inputs).unwrap();
    let service = builder(&clock)
        .live("v1", says("v1", 0.5))
        .inputs(Inputs::new().copied())
        .retention(Retention::new().drill(drill(12)))
        .build()
        .unwrap();
    promoted(&service, &["v2"]);
    let drilled = |advanced: u64| {
        clock.advance(seconds(advanced));
        service.tick();
        (0..40).for_each(|_| drop(service.predict(&1.0)));
        service.tick();
        let versions = service.status().versions;
        let kept = versions.into_iter().find(|version| version.role == Role::Retained).unwrap();
        kept.drilled.map(|drilled| (drilled.inputs, drilled.at))
    };
    let (inputs, first) = drilled(0).unwrap();
    assert_eq!(inputs, 12);
    service.set_retention(Retention::new().drill(drill(3).every(seconds(600)))).unwrap();
    assert_eq!(drilled(61).unwrap(), (12, first), "it is not due any more");
    let (inputs, second) = drilled(600).unwrap();
    assert_eq!((inputs, second > first), (3, true));
    // And sooner than was said before.
    service.set_retention(Retention::new().drill(drill(3).every(seconds(10)))).unwrap();
    assert!(drilled(11).unwrap().1 > second);
}

//! The verbs of the night, and the defaults that nobody reads: each does what its name says.

use std::time::Duration;

use switchback::events::EventKind;
use switchback::options::{Labels, Limits, Retention, Shadowing, Threads};
use switchback::plan::Bake;
use switchback::{
    ArgumentError, BuildError, ModelHandle, Outcome, Plan, RollbackOutcome, RolloutError, Step, guard,
};

use crate::common::*;

fn promoted(service: &Service, versions: &[&str]) {
    for version in versions {
        service.stage(version, says(version, 0.5)).unwrap().promote().unwrap();
    }
}

/// Bug: a rollback pressed twice made live what the first one had taken back. Cause: the version that was taken back was
/// retained as the last one, and a rollback went to the last one retained. Fix: what was taken back is remembered as such,
/// and only a rollback by name goes forward to it.
#[test]
fn a_rollback_pressed_again_goes_further_back_and_never_forward() {
    let clock = clock();
    let service =
        builder(&clock).live("v1", says("v1", 0.5)).retention(Retention::new().versions(3)).build().unwrap();
    promoted(&service, &["v2", "v3", "v4"]);
    for expected in ["v3", "v2", "v1"] {
        assert!(matches!(service.rollback("night"), RollbackOutcome::RolledBack { .. }));
        assert_eq!(service.live(), expected);
    }
    assert_eq!(service.rollback("once more"), RollbackOutcome::Nothing);
    assert_eq!(service.live(), "v1");
    // Forward again, by name; and from there a rollback goes back to what was live meanwhile.
    let _ = service.rollback_to("v3", "it was good").unwrap();
    assert_eq!(service.live(), "v3");
    let _ = service.rollback("it was not");
    assert_eq!(service.live(), "v1");
}

#[test]
fn taking_back_to_an_older_version_leaves_those_between_behind() {
    let service = builder(&clock())
        .live("v1", says("v1", 0.5))
        .retention(Retention::new().versions(3))
        .build()
        .unwrap();
    promoted(&service, &["v2", "v3"]);
    let _ = service.rollback_to("v1", "both are bad").unwrap();
    assert_eq!(service.rollback("again"), RollbackOutcome::Nothing);
    assert_eq!(service.live(), "v1");
}

#[test]
fn each_half_of_a_rollback_has_a_verb_of_its_own() {
    let service = builder(&clock()).live("v1", says("v1", 0.5)).build().unwrap();
    promoted(&service, &["v2"]);
    let rollout = service.stage("v3", says("v3", 0.5)).unwrap();
    rollout.canary(0.5).unwrap();
    let id = |name: &str| name.parse().unwrap();
    assert_eq!(service.abort_candidates("v3 is bad"), RollbackOutcome::Aborted(vec![id("v3")]));
    assert_eq!(service.live(), "v2");
    assert_eq!(service.abort_candidates("nobody is left"), RollbackOutcome::Nothing);

    let rollout = service.stage("v4", says("v4", 0.5)).unwrap();
    rollout.canary(0.5).unwrap();
    let back = RollbackOutcome::RolledBack { from: id("v2"), to: id("v1") };
    assert_eq!(service.revert_live("v2 is bad"), back);
    assert!(rollout.phase().is_over(), "what it was compared with is gone");
}

/// Bug: the `outcome` that a service answers a rollback with over HTTP was the one part of its answers that no client could read back into its
/// type. Cause: it was only ever written. Fix: it is read too.
#[test]
fn what_a_rollback_did_is_read_as_it_was_written() {
    let service = builder(&clock()).live("v1", says("v1", 0.5)).build().unwrap();
    promoted(&service, &["v2"]);
    let rollout = service.stage("v3", says("v3", 0.5)).unwrap();
    rollout.canary(0.5).unwrap();
    for _ in 0..3 {
        let done = service.rollback("night");
        let written = serde_json::to_value(&done).unwrap();
        assert_eq!(serde_json::from_value::<RollbackOutcome>(written).unwrap(), done);
    }
}

/// Bug: a plan that begins with a shadow began at its canary where the handle does not shadow. Cause: shadow steps were left
/// out in silence. Fix: it is refused, and `without_shadow` is there for whoever means it.
#[test]
fn a_shadow_on_a_handle_that_does_not_shadow_is_refused() {
    let service = builder(&clock()).live("v1", says("v1", 0.5)).build().unwrap();
    let plan = crate::common::plan([Step::shadow(0.5).unwrap(), Step::canary(0.9).unwrap()]);
    let staged = |name| service.stage(name, says(name, 0.5)).unwrap().guard(guard::error_rate().at_most(0.1));
    assert_eq!(staged("v2").run(plan.clone()), Err(RolloutError::NoShadowing));
    assert!((0..100).all(|_| service.predict(&1.0).unwrap().version() == "v1"));
    staged("v3").run(plan.without_shadow().unwrap()).unwrap();
}

/// Bug: a plan whose watch was to keep the version before as a shadow kept none where the handle does not shadow, and nobody was told.
/// Cause: only steps were looked at. Fix: it is refused like a step that shadows.
#[test]
fn a_watch_that_shadows_on_a_handle_that_does_not_is_refused() {
    let service = builder(&clock()).live("v1", says("v1", 0.5)).build().unwrap();
    let bake = Bake::new(seconds(3_600)).keep_previous_as_shadow(0.05).unwrap();
    let plan = crate::common::plan([Step::canary(0.9).unwrap()]).bake(bake);
    let staged = |name| service.stage(name, says(name, 0.5)).unwrap().guard(guard::error_rate().at_most(0.1));
    assert_eq!(staged("v2").run(plan.clone()), Err(RolloutError::NoShadowing));
    staged("v3").run(plan.without_shadow().unwrap()).unwrap();
}

#[test]
fn what_nobody_watches_is_not_exposed() {
    let service = builder(&clock()).live("v1", says("v1", 0.5)).threads(Threads::none()).build().unwrap();
    let rollout = service.stage("v2", says("v2", 0.5)).unwrap().guard(guard::error_rate().at_most(0.1));
    assert_eq!(rollout.canary(0.5), Err(RolloutError::NobodyTicks));
    assert_eq!(rollout.run(Plan::ramp([0.5]).unwrap()), Err(RolloutError::NobodyTicks));
    rollout.promote().unwrap();
    assert_eq!(service.live(), "v2");
}

/// Bug: a candidate whose lease had run out answered nobody, and status still said 50 %. Cause: only requests looked at the
/// lease. Fix: status says that its share is withheld, and an event says why, once for each time.
#[test]
fn a_lease_that_runs_out_is_told_and_stands_in_the_status() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("v1", 0.5)).build().unwrap();
    let rollout = service.stage("v2", says("v2", 0.5)).unwrap();
    rollout.canary(0.5).unwrap();
    tick(&service, &clock);
    assert!(!rollout.status().unwrap().withheld);
    clock.advance(seconds(10));
    let withheld = |service: &Service| service.status().rollouts[0].withheld;
    assert!(withheld(&service) && withheld(&service));
    let told =
        || service.events().iter().filter(|e| matches!(e.kind, EventKind::LeaseExpired { .. })).count();
    assert_eq!(told(), 1);
    service.tick();
    assert!(!withheld(&service));
    clock.advance(seconds(10));
    service.tick();
    assert_eq!(told(), 2, "also where nobody asked meanwhile");
}

#[test]
fn an_option_that_makes_no_sense_is_refused_by_name() {
    let refused =
        |build: &dyn Fn(switchback::Builder<f64, f64>) -> switchback::Builder<f64, f64>| match build(
            builder(&clock()).live("v1", says("v1", 0.5)),
        )
        .build()
        {
            Err(BuildError::Option(ArgumentError { argument, value, .. })) => (argument.into_owned(), value),
            other => panic!("{other:?}"),
        };
    assert_eq!(
        refused(&|b| b.labels(Labels::at_random().exploration(1.7))),
        ("labels.exploration".into(), "1.7".into())
    );
    // Bug: a share of answers that are let through was taken where no answer hides its truth, and let nothing through. Cause: nothing held the two
    // together. Fix: it is refused.
    assert_eq!(
        refused(&|b| b.labels(Labels::at_random().exploration(0.1))),
        ("labels.exploration".into(), "0.1".into())
    );
    assert_eq!(refused(&|b| b.limits(Limits::new().segments(0))), ("limits.segments".into(), "0".into()));
    assert_eq!(refused(&|b| b.threads(Threads::manual().stripes(0))), ("threads.stripes".into(), "0".into()));
    let worst = Shadowing::new().tolerance(f64::NAN);
    assert_eq!(refused(&|b| b.shadowing(worst.clone())), ("shadowing.tolerance".into(), "NaN".into()));
    // Bug: labels that are complete at once were taken, and were evidence of nothing that comes after the next tick; and so was a pin that is over
    // where it begins. Cause: of times of zero some alone were refused. Fix: what means nothing is.
    assert_eq!(
        refused(&|b| b.labels(Labels::complete_after(Duration::ZERO))),
        ("labels.complete_after".into(), "0 s".into())
    );
    // Bug: a horizon that was said was another one, nothing told. Cause: it was made twice as long as until labels are complete where it was
    // shorter. Fix: that is refused, and where none is said it is as long.
    let hour = || Labels::complete_after(seconds(3_600));
    for labels in [hour(), Labels::new().assumed_after(seconds(3_600), Outcome::class(0))] {
        let short = labels.horizon(seconds(7_199));
        assert_eq!(refused(&|b| b.labels(short.clone())), ("labels.horizon".into(), "7199 s".into()));
    }
    builder(&clock()).live("v1", says("v1", 0.5)).labels(hour().horizon(seconds(7_200))).build().unwrap();
    assert_eq!(
        refused(&|b| b.limits(Limits::new().pin_lasts(Duration::ZERO))),
        ("limits.pin_lasts".into(), "0 s".into())
    );
    assert_eq!(
        refused(&|b| b.retention(Retention::new().versions(65))),
        ("retention.versions".into(), "65".into())
    );
}

#[test]
fn options_are_read_as_they_were_written_and_checked_on_the_way() {
    let limits = Limits::new().candidate_deadline(Duration::from_millis(50)).circuit_breaker(7);
    let text = serde_json::to_string(&limits).unwrap();
    assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
    assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), Limits::new());
    let unknown = serde_json::from_str::<Limits>(r#"{"segmnts": 3}"#).unwrap_err().to_string();
    assert!(unknown.contains("segmnts"), "{unknown}");
    let refused = serde_json::from_str::<Limits>(r#"{"segments": 1000}"#).unwrap_err().to_string();
    assert!(refused.contains("limits.segments is 1000: it must be 1 to 256"), "{refused}");
}

/// Bug: options took a share as a number alone where configurations take `"5 %"` too, and took a list for a group, by the order of
/// its fields: `["finish", 8]` were limits. Cause: serde's derived code. Fix: one reader of shares, and objects alone.
#[test]
fn options_take_a_share_as_people_write_it_and_no_list() {
    let said = Labels::at_random().exploration(0.05);
    for written in ["0.05", "\"5 %\""] {
        let text = serde_json::to_string(&said).unwrap().replace("0.05", written);
        assert_eq!(serde_json::from_str::<Labels>(&text).unwrap(), said, "{text}");
    }
    let refused = |text: &str| serde_json::from_str::<Limits>(text).unwrap_err().to_string();
    assert!(
        refused(r#"["finish", 8]"#).contains("a list stands where an object belongs: write {..} with names")
    );
}

#[test]
fn rows_of_a_batch_go_by_their_own_keys() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("v1", 0.1)).build().unwrap();
    let rollout = service.stage("v2", says("v2", 0.9)).unwrap();
    rollout.canary(0.5).unwrap();
    let rows: Vec<f64> = (0..200).map(f64::from).collect();
    let answers = service.request().batch_by_key(&rows, |row| row.to_string());
    let mut on_trial = 0;
    for (row, answer) in rows.iter().zip(answers) {
        let alone = service.predict_keyed(row.to_string(), row).unwrap();
        let version = answer.unwrap().version();
        assert_eq!(version, alone.version(), "{row}");
        on_trial += usize::from(version == "v2");
    }
    assert!((60..140).contains(&on_trial), "{on_trial} of 200 at a half");
    let together = service.request().key("one user").batch(&rows);
    let first = together[0].as_ref().unwrap().version();
    assert!(together.iter().all(|answer| answer.as_ref().unwrap().version() == first));
}

#[test]
fn threads_of_the_handles_tick_unless_the_host_says_otherwise() {
    let service: Service = ModelHandle::builder("late").live("v1", says("v1", 0.1)).build().unwrap();
    let rollout = service.stage("v2", says("v2", 0.2)).unwrap();
    rollout.canary(0.1).unwrap();
    service.close(seconds(60)).unwrap();
}

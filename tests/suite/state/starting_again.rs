//! What a start makes of what another process has left: guards, evidence and time. Invariant 19.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use switchback::events::EventKind;
use switchback::guard::{Comparison, Evidence, Guard, Verdict};
use switchback::model::Model;
use switchback::options::Shadowing;
use switchback::{Builder, Clock, Phase, Plan, RolloutError, Step, guard};

use crate::common::*;

fn versions(name: &str) -> Result<Box<dyn Model<f64, f64>>, Box<dyn Error + Send + Sync>> {
    match name {
        "v1" => Ok(Box::new(says("one", 0.1))),
        "v2" => Ok(Box::new(says("two", 0.9))),
        "v3" => Ok(Box::new(says("three", 0.8))),
        other => Err(format!("there is no {other}").into()),
    }
}

fn remembering(clock: &Clock, folder: &Path) -> Builder<f64, f64> {
    builder(clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).state(folder).source(versions)
}

fn end(service: Service) {
    service.close(seconds(1)).unwrap();
}

/// The reasons why rollouts were paused, so far.
fn pauses(service: &Service) -> Vec<String> {
    events(service, |kind| match kind {
        EventKind::Paused { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

struct OfTheHosts;

impl Guard for OfTheHosts {
    fn name(&self) -> String {
        "one of the host's".into()
    }

    fn judge(&self, _: &Comparison<'_>) -> Evidence {
        Evidence::new("one of the host's", Verdict::Fail)
    }
}

/// Bug: a canary that was paused kept its share over a start that had not its only guard, nothing told of it, and once it was resumed
/// its plan promoted it, since no guard at all had anything against it. Cause: only what went on by itself was held; that a guard was missing
/// was forgotten with the next write, and nothing that resumes asked. Fix: whatever lacks a guard is held and told by the guard's name, for as
/// many starts as it takes, and goes on under no plan before the guard is back or a plan says that none is meant.
#[test]
fn a_paused_candidate_goes_on_under_no_plan_without_the_guards_that_it_had() {
    let (clock, folder) = (clock(), Folder::new());
    let half = || Plan::new([Step::canary(0.25).unwrap().min_predictions(10)]).unwrap().cycle(Duration::ZERO);
    let service = remembering(&clock, &folder.0).build().unwrap();
    let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(OfTheHosts);
    rollout.run(half()).unwrap();
    rollout.pause("lunch");
    drop(rollout);
    end(service);

    for _ in 0..2 {
        let service = remembering(&clock, &folder.0).build().unwrap();
        let rollout = service.rollout("v2").unwrap();
        let status = rollout.status().unwrap();
        assert_eq!((status.phase, status.paused, status.weight), (Phase::Staged, true, share(0.0)));
        assert!(pauses(&service)[0].contains("one of the host's"), "{:?}", pauses(&service));
        let refused = rollout.resume().unwrap_err();
        assert!(
            matches!(&refused, RolloutError::GuardsMissing { guards, .. } if guards == "one of the host's")
        );
        let other = rollout.guard(guard::error_rate().at_most(0.5));
        assert!(matches!(other.run(half()), Err(RolloutError::GuardsMissing { .. })));
        ask(&service, 100);
        tick(&service, &clock);
        assert_eq!(service.live(), "v1");
        drop(other);
        end(service);
    }

    let service = remembering(&clock, &folder.0).build().unwrap();
    let rollout = service.rollout("v2").unwrap().guard(OfTheHosts);
    rollout.resume().unwrap();
    assert_eq!(rollout.status().unwrap().weight, share(0.25));
    ask(&service, 100);
    tick(&service, &clock);
    assert_eq!(rollout.phase(), Phase::Aborted, "the guard that is back has failed it");
}

/// Bug: a rollout with the guard "drift from live at most 0.15" stood still after every start, and was told to have a guard of the host's own.
/// Cause: only rules were written down. Fix: whatever a sentence states is, as that sentence.
#[cfg(feature = "drift")]
#[test]
fn a_guard_of_drift_goes_on_after_a_start() {
    use switchback::drift::Drift;
    let (clock, folder) = (clock(), Folder::new());
    let drift = guard::drift().at_most(0.15).unwrap();
    let begin = |watched: bool| {
        let builder = remembering(&clock, &folder.0);
        let builder = if watched { builder.drift(Drift::new().sample(1.0)) } else { builder };
        builder.build().unwrap()
    };
    let service = begin(true);
    let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(drift.clone());
    rollout.run(plan([Step::canary(0.25).unwrap().min_predictions(1_000_000)])).unwrap();
    drop(rollout);
    end(service);

    let service = begin(true);
    tick(&service, &clock);
    let rollout = service.rollout("v2").unwrap();
    let status = rollout.status().unwrap();
    assert_eq!((status.phase, status.paused, status.weight), (Phase::Canary, false, share(0.25)));
    let asked: Vec<String> = status.evidence.iter().map(|evidence| evidence.guard.clone()).collect();
    assert_eq!((asked, pauses(&service)), (vec![drift.name()], Vec::new()));
    // Said again it is the same one.
    let rollout = rollout.guard(drift.clone());
    tick(&service, &clock);
    assert_eq!(rollout.status().unwrap().evidence.len(), 1);
    drop(rollout);
    end(service);

    // Where it is not watched any more, the guard is missing.
    let service = begin(false);
    let rollout = service.rollout("v2").unwrap();
    assert!(pauses(&service)[0].contains("drift from live at most 0.15"), "{:?}", pauses(&service));
    assert!(matches!(rollout.resume(), Err(RolloutError::GuardsMissing { .. })));
}

//! What a start makes of what another process has left: guards, evidence and time. Invariant 19.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use switchback::events::EventKind;
use switchback::feedback::FeedbackOutcome;
use switchback::guard::{Guard, Verdict};
use switchback::model::ModelError;
use switchback::options::Labels;
use switchback::plan::Bake;
use switchback::state::history;
use switchback::status::{look, release};
use switchback::{
    Kpi, Outcome, Phase, Plan, RollbackOutcome, Rollout, RolloutError, Step, Task, Truth, guard,
};

use super::remembering::{OfTheHosts, Opened, end, remembering, versions};
use crate::common::*;

/// The reasons why rollouts were paused, so far.
fn pauses(service: &Service) -> Vec<String> {
    events(service, |kind| match kind {
        EventKind::Paused { reason, .. } => Some(reason.clone()),
        _ => None,
    })
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
    let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(OfTheHosts(Verdict::Fail));
    rollout.run(half()).unwrap();
    rollout.pause("lunch").unwrap();
    drop(rollout);
    end(service);
    let missing = || look(&folder.0).unwrap().unwrap().rollouts.remove(0).missing;
    assert!(missing().is_empty());

    for _ in 0..2 {
        let service = remembering(&clock, &folder.0).build().unwrap();
        service.checkpoint().unwrap();
        assert_eq!(missing(), ["one of the host's"]);
        let rollout = service.rollout("v2").unwrap();
        let status = rollout.status().unwrap();
        assert_eq!((status.phase, status.paused, status.weight), (Phase::Staged, true, share(0.0)));
        assert!(pauses(&service)[0].contains("one of the host's"), "{:?}", pauses(&service));
        let refused = rollout.resume().unwrap_err();
        assert!(
            matches!(&refused, RolloutError::GuardsMissing { guards, .. } if guards == "one of the host's")
        );
        // Bug: a plan without guards that was refused for another reason made them forgotten, and the one before went on. Cause: they were
        // let go of before it was looked whether there is room. Fix: after.
        let third = service.stage("v3", says("three", 0.5)).unwrap();
        third.canary(0.7).unwrap();
        let more = Plan::new([Step::canary(0.5).unwrap()]).unwrap().unguarded();
        let refused = rollout.run(more).unwrap_err();
        assert!(matches!(refused, RolloutError::NotEnoughLeft { .. }), "{refused}");
        let _ = third.rollback("room");
        assert!(matches!(rollout.resume(), Err(RolloutError::GuardsMissing { .. })));
        let other = rollout.guard(guard::error_rate().at_most(0.5));
        assert!(matches!(other.run(half()), Err(RolloutError::GuardsMissing { .. })));
        ask(&service, 100);
        tick(&service, &clock);
        assert_eq!(service.live(), "v1");
        drop(other);
        end(service);
    }

    let service = remembering(&clock, &folder.0).build().unwrap();
    let rollout = service.rollout("v2").unwrap().guard(OfTheHosts(Verdict::Fail));
    rollout.resume().unwrap();
    assert_eq!(rollout.status().unwrap().weight, share(0.25));
    service.checkpoint().unwrap();
    assert!(missing().is_empty());
    ask(&service, 100);
    tick(&service, &clock);
    assert_eq!(rollout.phase(), Phase::Aborted, "the guard that is back has failed it");
}

/// Bug: a guard that was refused was forgotten by a start, which exposed the candidate beside those that were left. Cause: it was written
/// down nowhere. Fix: it is written down as a guard that is missing.
#[test]
fn a_guard_that_was_refused_is_missing_after_a_start() {
    let (clock, folder) = (clock(), Folder::new());
    let service = remembering(&clock, &folder.0).build().unwrap();
    let staged = service.stage("v2", says("two", 0.9)).unwrap().guard(guard::error_rate().at_most(0.5));
    drop(staged.guard(guard::latency(99.0).at_most_times_live(1.5)));
    end(service);

    let service = remembering(&clock, &folder.0).build().unwrap();
    let rollout = service.rollout("v2").unwrap();
    let one = || Plan::new([Step::canary(0.25).unwrap()]).unwrap();
    for refused in [rollout.run(one()), rollout.canary(0.25), rollout.promote(), rollout.resume()] {
        assert!(
            matches!(&refused, Err(RolloutError::GuardsMissing { guards, .. }) if guards.contains("quantile = 99")),
            "{refused:?}"
        );
    }
    rollout.run(one().unguarded()).unwrap();
    assert_eq!(rollout.status().unwrap().weight, share(0.25));
}

/// Bug: a rollout went on without one of two guards of the host's that have one name, once the other had been added again. Cause: what was missing was
/// struck off twice. Fix: as often as one is added.
#[test]
fn each_guard_of_a_name_is_missing_until_it_is_added_again() {
    let (clock, folder) = (clock(), Folder::new());
    let service = remembering(&clock, &folder.0).build().unwrap();
    let guarded = |rollout: Rollout<f64, f64>| rollout.guard(OfTheHosts(Verdict::Inconclusive));
    let rollout = guarded(guarded(service.stage("v2", says("two", 0.9)).unwrap()));
    rollout.canary(0.25).unwrap();
    drop(rollout);
    end(service);

    let service = remembering(&clock, &folder.0).build().unwrap();
    let rollout = guarded(service.rollout("v2").unwrap());
    assert!(matches!(rollout.resume(), Err(RolloutError::GuardsMissing { .. })));
    guarded(rollout).resume().unwrap();
    assert_eq!(service.rollout("v2").unwrap().status().unwrap().weight, share(0.25));
}

/// Bug: a watch over a new live that lacked a guard after a start ended by its time, and was told to have passed. Cause: that a guard was missing
/// held plans alone. Fix: it does not end before the guard is back, and has then watched for as long as it is to, or a person has it go on
/// without.
#[test]
fn a_watch_that_lacks_a_guard_does_not_pass() {
    for is_back in [true, false] {
        let (clock, folder) = (clock(), Folder::new());
        let start = || remembering(&clock, &folder.0).build().unwrap();
        let run = |service: &Service, ticks: usize| {
            for _ in 0..ticks {
                ask(service, 10);
                tick(service, &clock);
            }
        };
        let service = start();
        let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(OfTheHosts(Verdict::Pass));
        let rollout = rollout.bake(Bake::new(seconds(20)));
        rollout.promote().unwrap();
        drop(rollout);
        end(service);

        let service = start();
        assert!(pauses(&service)[0].contains("one of the host's"), "{:?}", pauses(&service));
        let rollout = service.rollout("v2").unwrap();
        run(&service, 40);
        assert_eq!(rollout.phase(), Phase::Baking);
        if is_back {
            drop(rollout.clone().guard(OfTheHosts(Verdict::Pass)));
            run(&service, 10);
            assert_eq!(rollout.phase(), Phase::Baking, "nobody has watched it before");
            run(&service, 12);
        } else {
            // And where somebody says that it is to go on without.
            rollout.resume().unwrap();
            run(&service, 2);
        }
        assert_eq!(rollout.phase(), Phase::Promoted);
    }
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

/// Bug: a build that declared its business figures in another order judged one by what had been counted of another, and took what was said
/// of one for a repeat of what had been said of another. Cause: both are written down by place. Fix: bits that tell repeats follow the name, and
/// evidence that was counted in another way begins anew, which an event tells.
#[test]
fn business_figures_that_are_declared_in_another_order_are_judged_by_their_own() {
    let (clock, folder) = (clock(), Folder::new());
    let start = |order: [&str; 2]| {
        let task = Task::binary(|p: &f64| *p).truth(Truth::CausedByAnswer);
        let task = order.into_iter().fold(task, |task, name| task.kpi(Kpi::rate(name).unwrap()));
        remembering(&clock, &folder.0).task(task).build().unwrap()
    };
    let service = start(["click", "purchase"]);
    let rollout = service.stage("v2", says("two", 0.9)).unwrap();
    let rollout = rollout.guard(guard::kpi("click").at_most_below_live(0.1));
    rollout.run(plan([Step::canary(0.5).unwrap().min_predictions(1_000_000)])).unwrap();
    for _ in 0..40 {
        for answer in ask(&service, 100) {
            service.feedback(answer.id(), Outcome::kpi("click", 1.0));
            // What is sold is another matter, and nobody's limit.
            let sold = f64::from(u8::from(answer.version() == "v1"));
            service.feedback(answer.id(), Outcome::kpi("purchase", sold));
        }
        tick(&service, &clock);
    }
    let unsold = ask(&service, 1)[0].id();
    service.feedback(unsold, Outcome::kpi("click", 1.0));
    assert_eq!(rollout.phase(), Phase::Canary);
    drop(rollout);
    end(service);

    let service = start(["purchase", "click"]);
    let said = |name: &str| service.feedback(unsold, Outcome::kpi(name, 1.0));
    assert_eq!([said("click"), said("purchase")], [FeedbackOutcome::Settled, FeedbackOutcome::Counted]);
    (0..3).for_each(|_| tick(&service, &clock));
    let rollout = service.rollout("v2").unwrap();
    assert_eq!(rollout.phase(), Phase::Canary, "nobody clicks less");
    let begun = events(&service, |kind| match kind {
        EventKind::EvidenceReset { version, .. } => Some(version.to_string()),
        _ => None,
    });
    assert_eq!(begun, ["v2"]);
    assert_eq!(rollout.status().unwrap().error_budget.unwrap().try_number, 2, "it is another try");
    drop(rollout);
    end(service);

    // As it was.
    let service = start(["purchase", "click"]);
    assert!(!names(&service.events()).contains(&"evidence_reset".to_owned()));
}

/// Bug: a day in which no process ran passed for a watched day where somebody had released an identity meanwhile, from the command line. Cause:
/// the release moved the moment at which the process had ended. Fix: it stays.
#[test]
fn a_release_while_nothing_runs_makes_no_watch_shorter() {
    let (clock, folder) = (clock(), Folder::new());
    let service = remembering(&clock, &folder.0).build().unwrap();
    let three = says("three", 0.8);
    three.control().fail();
    service.stage("v3", three).unwrap().canary(0.5).unwrap();
    ask(&service, 200);
    tick(&service, &clock);
    let identity = service.status().quarantined[0].identity;
    let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(guard::error_rate().at_most(0.05));
    rollout.bake(Bake::new(seconds(600))).promote().unwrap();
    end(service);
    clock.advance(seconds(86_400));
    assert!(release(&folder.0, identity, Some("ada"), clock.now()).unwrap());
    clock.advance(seconds(10));
    let service = remembering(&clock, &folder.0).build().unwrap();
    (0..10).for_each(|_| tick(&service, &clock));
    assert_eq!(service.rollout("v2").map(|rollout| rollout.phase()), Some(Phase::Baking));
}

/// Bug: where `complete_after` was raised between two processes, labels of predictions made before the start were too late to be evidence, and
/// those that waited waited for ever; where it was lowered, what had come early was evidence at once, and alone. Cause: they were written down by
/// the number of their slot of time, and how wide a slot is follows from the option. Fix: by moments.
#[test]
fn labels_that_wait_over_a_start_become_evidence_when_those_of_their_time_are_complete() {
    for (before, after) in [(1_600, 3_200), (3_200, 800)] {
        let (clock, folder) = (clock(), Folder::new());
        let start = |age: u64| {
            let labels = Labels::complete_after(seconds(age));
            remembering(&clock, &folder.0).labels(labels).build().unwrap()
        };
        let service = start(before);
        service.stage("v2", says("two", 0.9)).unwrap().canary(0.5).unwrap();
        let ids: Vec<_> = ask(&service, 100).iter().map(|answer| answer.id()).collect();
        let label = |service: &Service, id| service.feedback(id, Outcome::class(1));
        ids[..50].iter().for_each(|id| assert_eq!(label(&service, *id), FeedbackOutcome::Counted));
        tick(&service, &clock);
        end(service);

        let service = start(after);
        ids[50..].iter().for_each(|id| assert_eq!(label(&service, *id), FeedbackOutcome::Counted));
        let labelled = |service: &Service| {
            tick(service, &clock);
            let status = service.rollout("v2").unwrap().status().unwrap();
            let known = status.cohorts.iter().map(|of| of.candidate.labelled + of.live.labelled).sum::<u64>();
            (known, status.labels_late)
        };
        assert_eq!(labelled(&service), (0, 0), "from {before} s to {after} s");
        clock.advance(seconds(after + before.max(after) / 8));
        assert_eq!(labelled(&service), (100, 0), "from {before} s to {after} s");
    }
}

/// Bug: where the horizon of outcomes was another one than in the process before, all that this had promised to remember counted for ever, and
/// outcomes were thinned as if it came again each week. Cause: slots of time by number, likewise. Fix: by moments, likewise.
#[test]
fn what_was_promised_under_another_horizon_is_over_with_it() {
    let (clock, folder) = (clock(), Folder::new());
    let start = |horizon: u64| {
        let labels =
            Labels::at_random().horizon(seconds(horizon)).corrections(seconds(1)).memory_bytes(1_024);
        remembering(&clock, &folder.0).labels(labels).build().unwrap()
    };
    let service = start(640);
    for _ in 0..7 {
        ask(&service, 1_000);
        tick(&service, &clock);
    }
    assert!(service.status().feedback.one_in > 1);
    end(service);
    let service = start(1_280);
    tick(&service, &clock);
    assert!(service.status().feedback.one_in > 1, "it is remembered yet");
    clock.advance(seconds(2_000));
    tick(&service, &clock);
    assert_eq!(service.status().feedback.one_in, 1);
}

/// Bug: a rollout in its shadow step stood still for ever, and nothing said why, after a start of a handle that does not shadow any more.
/// Cause: `run` refuses what a start went on with. Fix: it is held, with the reason, and not resumed.
#[test]
fn a_candidate_that_is_to_shadow_where_nothing_is_copied_any_more_is_held() {
    for is_canary in [false, true] {
        let (clock, folder) = (clock(), Folder::new());
        let service = remembering(&clock, &folder.0).build().unwrap();
        let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(guard::error_rate().at_most(0.5));
        let last = Step::canary(0.5).unwrap().min_predictions(1_000_000);
        let steps = [Step::shadow(1.0).unwrap().min_predictions(10), last];
        rollout.run(plan(steps)).unwrap();
        if is_canary {
            ask(&service, 100);
            service.run_shadow(usize::MAX);
            (0..3).for_each(|_| tick(&service, &clock));
            assert_eq!(rollout.phase(), Phase::Canary);
        }
        drop(rollout);
        end(service);
        let bare = builder(&clock).live("v1", says("one", 0.1)).state(&folder.0).source(versions);
        let service = bare.build().unwrap();
        let rollout = service.rollout("v2").unwrap();
        if is_canary {
            assert_eq!(
                (rollout.phase(), pauses(&service)),
                (Phase::Canary, Vec::new()),
                "no shadow is to come"
            );
            continue;
        }
        assert!(rollout.status().unwrap().paused);
        assert!(pauses(&service)[0].contains("this handle does not"), "{:?}", pauses(&service));
        assert!(matches!(rollout.resume(), Err(RolloutError::NoShadowing)));
        rollout.run(canaries([0.25])).unwrap();
        assert_eq!(rollout.phase(), Phase::Canary);
    }
}

/// Bug: after a take-over two entries of the journal had one number, and whoever followed it skipped what had been said to the process that
/// looked on, or was told that entries were missing. Cause: that process counted on from the number that it had found when it began. Fix: what was
/// said to it comes behind what the other one has written.
#[test]
fn no_two_entries_of_a_journal_have_one_number_after_a_take_over() {
    let (clock, folder) = (clock(), Folder::new());
    let first = remembering(&clock, &folder.0).build().unwrap();
    let second = remembering(&clock, &folder.0).build().unwrap();
    first.stage("v2", says("two", 0.9)).unwrap().canary(0.5).unwrap();
    second.freeze("somebody looks");
    first.freeze("so do we");
    let _ = first.abort_candidates("enough");
    end(first);
    tick(&second, &clock);
    assert!(names(&second.events()).contains(&"took_over".to_owned()));
    second.unfreeze();
    let kept: Vec<u64> = second.events().iter().map(|event| event.sequence).collect();
    end(second);
    let written: Vec<serde_json::Value> =
        history(&folder.0).unwrap().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let numbers: Vec<u64> = written.iter().map(|entry| entry["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{written:?}");
    assert!(kept.iter().all(|number| numbers.contains(number)), "{kept:?}");
    let said = |reason: &str| written.iter().filter(|entry| entry["reason"] == reason).count();
    assert_eq!([said("somebody looks"), said("so do we")], [1, 1], "{written:?}");
}

/// Bug: a process that looks on and could not read the journal any more said nothing, and went on answering with what had been live for as long
/// as it did. Cause: why it could not was dropped. Fix: it is told, once for each reason.
#[test]
fn a_process_that_looks_on_and_cannot_read_the_journal_says_so_once() {
    let (clock, folder) = (clock(), Folder::new());
    let first = remembering(&clock, &folder.0).build().unwrap();
    let second = remembering(&clock, &folder.0).build().unwrap();
    let journal = folder.0.join("journal");
    let whole = std::fs::read(&journal).unwrap();
    let looks = || (0..100).for_each(|_| tick(&second, &clock));
    let told = || {
        events(&second, |kind| match kind {
            EventKind::StandbyBehind { live, reason } => Some((live.to_string(), reason.clone())),
            _ => None,
        })
    };
    looks();
    assert_eq!(told(), []);
    for times in 1..=2 {
        std::fs::write(&journal, b"this is no journal").unwrap();
        looks();
        assert_eq!((told().len(), told()[0].0.as_str()), (times, "v1"), "{:?}", told());
        std::fs::write(&journal, &whole).unwrap();
        looks();
    }
    drop(first);
}

/// Bug: a process that looks on and had been taken back twice, or past one version to another by name, went forward by one where it took over.
/// Cause: of what was left here only that live there had been was looked at. Fix: it goes to where somebody went here, and what was passed over
/// stays taken back.
#[test]
fn a_take_over_goes_to_where_somebody_went_in_the_process_that_looked_on() {
    for by_name in [false, true] {
        let (clock, folder) = (clock(), Folder::new());
        let first = remembering(&clock, &folder.0).build().unwrap();
        for (name, says_so) in [("v2", "two"), ("v3", "three")] {
            let probability = if name == "v2" { 0.9 } else { 0.8 };
            first.stage(name, says(says_so, probability)).unwrap().promote().unwrap();
        }
        let second = remembering(&clock, &folder.0).build().unwrap();
        if by_name {
            let _ = second.rollback_to("v1", "known to be good");
        } else {
            let _ = second.rollback("complaints");
            let _ = second.rollback("more complaints");
        }
        assert_eq!(second.live(), "v1");
        end(first);
        tick(&second, &clock);
        assert!(!second.status().standby);
        assert_eq!(second.live(), "v1");
        assert_eq!(
            second.rollback("and again"),
            RollbackOutcome::Nothing,
            "all that is newer was taken back"
        );
        end(second);
    }

    // One that was gone forward from is gone back to.
    let (clock, folder) = (clock(), Folder::new());
    let first = remembering(&clock, &folder.0).build().unwrap();
    first.stage("v2", says("two", 0.9)).unwrap().promote().unwrap();
    let _ = first.rollback("complaints");
    let second = remembering(&clock, &folder.0).build().unwrap();
    let _ = second.rollback_to("v2", "it was something else");
    end(first);
    tick(&second, &clock);
    assert_eq!(second.live(), "v2");
    let _ = second.rollback("it was not");
    assert_eq!(second.live(), "v1");
}

/// What is told of a change in a process that looks on: a freeze that was ended there, and a quarantine that was lifted there, are as they are in
/// the process that has the state once it takes over.
#[test]
fn what_is_raised_in_a_process_that_looks_on_is_over_with_the_take_over() {
    let (clock, folder) = (clock(), Folder::new());
    let first = remembering(&clock, &folder.0).build().unwrap();
    let three = says("three", 0.8);
    three.control().fail();
    first.stage("v3", three).unwrap().canary(0.5).unwrap();
    ask(&first, 200);
    tick(&first, &clock);
    first.freeze("quarter end");
    let second = remembering(&clock, &folder.0).build().unwrap();
    second.unfreeze();
    let identity = second.status().quarantined[0].identity;
    assert!(second.release(identity));
    end(first);
    tick(&second, &clock);
    let status = second.status();
    assert_eq!((status.frozen.as_deref(), status.quarantined.len()), (Some("quarter end"), 1));
}

/// Bug: a candidate that had failed as often as live, on a quarter of its requests, could be passed over in the first second after a start.
/// Cause: figures begin anew with it, so until the next tick its breaker took live for one that never fails, and for long after the candidate
/// for one that was hardly asked. Fix: what the evidence says of both is known at once.
#[test]
fn a_breaker_knows_after_a_start_what_live_failed_on_before_it() {
    let (clock, folder, left) = (clock(), Folder::new(), Arc::new(AtomicUsize::new(0)));
    let one = || {
        switchback::closure(String::from("one@1"), |x: &f64| match x % 4.0 {
            0.0 => Err(ModelError::invalid_output("it fails on a quarter")),
            _ => Ok(0.1),
        })
    };
    let two = {
        let left = Arc::clone(&left);
        move || {
            let left = Arc::clone(&left);
            switchback::closure(String::from("two@1"), move |_: &f64| {
                match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                    Ok(_) => Err(ModelError::invalid_output("it is told to fail")),
                    Err(_) => Ok(0.9),
                }
            })
        }
    };
    let begin = || {
        let two = two.clone();
        let open = move |name: &str| -> Opened {
            match name {
                "v1" => Ok(Box::new(one())),
                _ => Ok(Box::new(two())),
            }
        };
        builder(&clock).live("v1", one()).state(&folder.0).source(open).build().unwrap()
    };
    let service = begin();
    let rollout = service.stage("v2", two()).unwrap().guard(guard::error_rate().at_most_above_live(0.01));
    rollout.canary(0.5).unwrap();
    for _ in 0..10 {
        (0..200).for_each(|number| drop(service.predict(&f64::from(number))));
        tick(&service, &clock);
    }
    drop(rollout);
    end(service);

    let service = begin();
    let rollout = service.rollout("v2").unwrap();
    assert_eq!(rollout.phase(), Phase::Canary);
    let withheld = |failures: usize| {
        left.store(failures, Relaxed);
        // Live answers all of these.
        (0..400).for_each(|number| drop(service.predict(&f64::from(4 * number + 1))));
        rollout.status().unwrap().control.withheld
    };
    assert_eq!(withheld(12), 0);
    assert!(withheld(100) > 0, "one that fails outright is passed over after a start too");
}

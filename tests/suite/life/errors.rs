//! One error is stated for a handle, whoever comes and goes and however often a plan is run.

use std::time::Duration;

use switchback::options::Limits;
use switchback::{Step, guard};

use super::each_seed;
use crate::common::{plan, share};
use crate::world::{Ask, Fate, Reply, World, anybody, clock, service, untold, version};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A candidate at its margin in twelve runs of a plan, each of which pauses where nothing was shown.
fn twelve_runs_at_the_margin(seed: u64) -> Fate {
    let clock = clock();
    let live = version("one", &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    let candidate = version("two", &clock, |ask: &Ask| {
        (if ask.chance(1) < 0.3 { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let builder = service(&clock, seed).live("v1", live).limits(Limits::new().circuit_breaker(0));
    let mut world = World::new(builder.build().unwrap(), &clock, seed);
    let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard::error_rate().at_most(0.3));
    let step = |share| Step::canary(share).unwrap().min_predictions(5).max_predictions(200);
    for _ in 0..12 {
        if world.is_over() {
            break;
        }
        rollout.run(plan([step(0.4), step(0.5)])).unwrap();
        rollout.resume().unwrap();
        for _ in 0..50 {
            world.live_through(1, 10, anybody, untold);
        }
    }
    world.fate(&rollout)
}

/// Bug: a candidate at its margin was promoted in 1.3, 10.7 and 20 % of the cases after 1, 6 and 12 runs of the same plan. Cause: each
/// run had the whole error for its promotion. Fix: a last step that is begun again is another try of its identity, and all of them
/// share one error.
#[test]
#[ignore = "long: twelve runs of a plan, forty times"]
fn a_dozen_runs_of_the_same_plan_have_one_error_together() {
    each_seed(40, twelve_runs_at_the_margin).are_rarely_promoted();
}

/// The same, by what each run asks of a promotion.
#[test]
fn what_a_dozen_runs_of_the_same_plan_ask_adds_up_to_one_error() {
    let clock = clock();
    let live = version("one", &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    // Never good enough, so that each run is left undecided.
    let candidate = version("two", &clock, |ask: &Ask| {
        (if ask.number.is_multiple_of(3) { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let builder = service(&clock, 1).live("v1", live).limits(Limits::new().circuit_breaker(0));
    let mut world = World::new(builder.build().unwrap(), &clock, 1);
    let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard::error_rate().at_most(0.3));
    let step = |share| Step::canary(share).unwrap().min_predictions(5).max_predictions(30);
    let mut errors = Vec::new();
    for _ in 0..12 {
        rollout.run(plan([step(0.4), step(0.5)])).unwrap();
        rollout.resume().unwrap();
        world.live_through(3, 40, anybody, untold);
        let evidence = rollout.status().unwrap().evidence.remove(0);
        let asked = evidence.strength.unwrap();
        assert_eq!(asked.before, share(1.0), "{evidence}");
        errors.push(1.0 / asked.non_inferiority_threshold.value());
    }
    assert!(errors.iter().sum::<f64>() <= 0.05 + 1e-9, "{errors:?}");
}

/// Bug: with candidates that were begun one after the other the errors for a promotion added up to .060, .091, .117 and .144 for 2, 5, 10
/// and 20 of them, where .05 was said to be divided. Cause: each was given its part of those that had begun by then. Fix: the first spends four fifths and the k-th after it a fifth of 1 / (k (k + 1)).
#[test]
fn candidates_that_begin_one_after_the_other_have_one_error_together() {
    let clock = clock();
    let live = version("one", &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    let mut world = World::new(service(&clock, 1).live("v1", live).build().unwrap(), &clock, 1);
    let mut rollouts = Vec::new();
    for number in 2..22 {
        let candidate = version(format!("v{number}"), &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
        let rollout = world.handle.stage(format!("v{number}"), candidate).unwrap();
        let rollout = rollout.guard(guard::error_rate().at_most(0.01));
        rollout.canary(0.02).unwrap();
        rollouts.push(rollout);
        world.live_through(1, 10, anybody, untold);
    }
    let errors = rollouts.iter().map(|rollout| rollout.status().unwrap().error_budget.unwrap());
    let (harm, promotion) =
        errors.fold((0.0, 0.0), |(harm, promotion), own| (harm + own.harm(), promotion + own.promotion));
    if std::env::var_os("LIFE_TELLS").is_some() {
        eprintln!("errors for harm add up to {harm:.3}, for a promotion to {promotion:.3}");
    }
    assert!(promotion <= 0.05 + 1e-9, "errors of a promotion add up to {promotion}");
    assert!(harm <= 0.01 + 1e-9, "errors of taking back add up to {harm}");
}

//! Nothing is counted before what is counted is defined.

use std::time::Duration;

use switchback::options::Shadowing;
use switchback::{Plan, Step, guard};

use super::{each_seed, few_of};
use crate::common::plan;
use crate::world::{Ask, Fate, Reply, Verdict, World, anybody, clock, service, untold, version};

/// A candidate that takes so many times as long as a live of which little is known when the rollout begins.
fn slower(seed: u64, times: u32, shares: &[f64]) -> Fate {
    let clock = clock();
    let on = |name: &str, purpose: u64, times: u32| {
        version(name, &clock, move |ask: &Ask| {
            let micros = 300.0 + 1_000.0 * ask.chance(purpose);
            (Reply::yes(0.9), Duration::from_micros(micros as u64) * times)
        })
    };
    let handle = service(&clock, seed).live("v1", on("one", 1, 1)).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let candidate = on("two", 2, times);
    let rollout =
        world.handle.stage("v2", candidate).unwrap().guard(guard::latency(0.99).at_most_times_live(1.5));
    let steps = shares.iter().map(|share| Step::canary(*share).unwrap());
    rollout.run(Plan::new(steps).unwrap().cycle(Duration::ZERO)).unwrap();
    world.live_through(100, 50, anybody, untold);
    world.fate(&rollout)
}

/// Bug: a candidate ten times as slow as live was promoted where live had not answered a thousand requests yet when the rollout
/// began. Cause: until live's quantile was known every request counted as not too slow, and went on counting. Fix: nothing is counted as slow or not before the time is fixed, and no step is made.
#[test]
fn a_candidate_ten_times_slower_than_a_live_that_is_new_is_not_promoted() {
    each_seed(8, |seed| slower(seed, 10, &[0.5])).are_never_promoted();
}

/// Bug: one that was four times slower went on to 50 % within a minute. Cause: the same. Fix: the same.
#[test]
fn a_candidate_four_times_slower_than_a_live_that_is_new_does_not_go_on() {
    let fates = each_seed(8, |seed| slower(seed, 4, &[0.3, 0.5]));
    let went_on = fates.0.iter().filter(|fate| fate.events.iter().any(|event| event.contains("50 %")));
    let went_on = went_on.count();
    assert!(went_on == 0, "{went_on} went on to 50 %: {fates}");
}

/// Bug: a candidate as slow as may be, 1.5 times as slow as live at every moment, was promoted 20 times of 20 where live was slower before the
/// rollout than during it. Cause: the quantile that was known then was held to be live's, and nobody exceeded it. Fix: quantiles are taken anew with each change of exposure, and where live has become faster than they say.
#[test]
fn the_latency_that_is_compared_with_is_live_s_of_now() {
    let fates = each_seed(12, |seed| {
        let clock = clock();
        let on = |name: &str, purpose: u64, times: f64| {
            version(name, &clock, move |ask: &Ask| {
                let busy = if ask.second < 10 { 2.0 } else { 1.0 };
                let millis = (0.5 - (1.0 - ask.chance(purpose)).ln()) * busy * times;
                (Reply::yes(0.9), Duration::from_nanos((millis * 1e6) as u64))
            })
        };
        let handle = service(&clock, seed).live("v1", on("one", 1, 1.0)).build().unwrap();
        let mut world = World::new(handle, &clock, seed);
        world.live_through(10, 100, anybody, untold);
        // A tenth more than is allowed.
        let rule = guard::latency(0.9).at_most_times_live(1.5);
        let rollout = world.handle.stage("v2", on("two", 2, 1.65)).unwrap().guard(rule);
        rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
        world.live_through(20, 100, anybody, untold);
        world.fate(&rollout)
    });
    fates.are_rarely_promoted();
}

/// Versions that take as long each time, but for so little: a model on a processor of its own.
fn even(seed: u64, times: f64, shadowed: bool, spread: f64) -> Fate {
    let clock = clock();
    let on = |name: &str, purpose: u64, times: f64| {
        version(name, &clock, move |ask: &Ask| {
            let millis = 20.0 * times * (1.0 + spread * (ask.chance(purpose) - 0.5));
            (Reply::yes(0.9), Duration::from_nanos((millis * 1e6) as u64))
        })
    };
    let base = service(&clock, seed).live("v1", on("one", 1, 1.0));
    let base = if shadowed { base.shadowing(Shadowing::new()) } else { base };
    let mut world = World::new(base.build().unwrap(), &clock, seed);
    world.live_through(30, 50, anybody, untold);
    let rollout = world.handle.stage("v2", on("two", 2, times)).unwrap();
    let rollout = rollout.guard(guard::latency(0.99).at_most_times_live(1.5));
    let step = if shadowed { Step::shadow(1.0).unwrap() } else { Step::canary(0.5).unwrap() };
    rollout.run(plan([step])).unwrap();
    world.live_through(200, 50, anybody, untold);
    world.fate(&rollout)
}

/// Bug: beside a live that takes 20 ms each time, a candidate that took 100 ms was not taken back. Cause: both were held against times that lie a
/// little below the quantile, so that equal times are seen at all, and where times hardly differ each exceeds those always. Fix: what is
/// held against them is blurred, so that live exceeds them about as often as its quantile says however even its times are.
#[test]
fn a_slower_candidate_beside_a_live_that_takes_as_long_each_time_is_taken_back() {
    for (shadowed, spread) in [(false, 0.0), (true, 0.0), (false, 0.01), (true, 0.01), (true, 0.03)] {
        for (times, expected) in
            [(5.0, Verdict::TakenBack), (1.8, Verdict::TakenBack), (1.0, Verdict::Promoted)]
        {
            let fates = each_seed(4, |seed| even(seed, times, shadowed, spread));
            assert_eq!(fates.count(expected), 4, "{shadowed} {spread} {times}: {fates}");
        }
    }
}

/// And one that takes as much longer as it may is promoted no more often than is claimed.
#[test]
fn a_candidate_at_the_margin_of_a_latency_that_hardly_varies_is_at_the_margin() {
    let runs = few_of(8, 20);
    for (shadowed, spread) in [(false, 0.0), (true, 0.0), (true, 0.02)] {
        let fates = each_seed(runs, |seed| even(seed, 1.5, shadowed, spread));
        // 3 of 20 and 1 of 8; 1 of 20 and none of 8.
        let twentieths = |verdict| 20 * fates.count(verdict) as u64;
        assert!(twentieths(Verdict::Promoted) <= 3 * runs, "{fates}");
        assert!(twentieths(Verdict::TakenBack) <= runs, "{fates}");
    }
}

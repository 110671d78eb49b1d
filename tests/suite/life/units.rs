//! What was randomised and what is correlated is what counts: a call, a key with all of its requests, a stream. Invariant 16.

use std::time::Duration;

use switchback::guard::{Rule, RuleError};
use switchback::model::ModelError;
use switchback::options::{Limits, Threads};
use switchback::stats::sequential::EValue;
use switchback::{ModelHandle, Outcome, Phase, Step, Task, closure, guard};

use super::{each_seed, few_of};
use crate::common::plan;
use crate::world::{Ask, Fate, Reply, Verdict, Version, World, clock, service, version};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Batches before the rollout.
const WARM_UP: u64 = 30;

/// Batches whose rows have a key each, so that both versions are asked in one call; the versions are alike, and the user of a
/// row is its batch. Live's latencies are known before.
fn batches(
    seed: u64,
    (calls, rows): (u64, u64),
    breaker: u32,
    rule: Result<Rule, RuleError>,
    call: fn(&Ask, u64) -> (Reply, Duration),
) -> Fate {
    let clock = clock();
    let on = |name: &str, place: u64| version(name, &clock, move |ask: &Ask| call(ask, place));
    let limits = Limits::new().circuit_breaker(breaker);
    let handle = service(&clock, seed).live("v1", on("one", 1)).limits(limits).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let ask = |world: &mut World, number: u64| {
        let rows: Vec<Ask> = (0..rows).map(|_| world.ask_of(number)).collect();
        let _ = world.handle.request().batch_by_key(&rows, |row| row.number.to_le_bytes());
        world.tick();
    };
    (0..WARM_UP).for_each(|number| ask(&mut world, number));
    let rollout = world.handle.stage("v2", on("two", 2)).unwrap().guard(rule);
    rollout.canary(0.5).unwrap();
    for number in WARM_UP..WARM_UP + calls {
        ask(&mut world, number);
        if world.is_over() {
            break;
        }
    }
    world.fate(&rollout)
}

fn fails_as_a_call(ask: &Ask, place: u64) -> (Reply, Duration) {
    (if ask.chance_of_user(place) < 0.02 { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
}

/// Bug: one call of 100 rows in 200 that was slow, in both versions, had the latency guard take back 75 of 100. Cause: each of
/// its rows was evidence of its own. Fix: a call is one unit, by one of its rows, drawn.
#[test]
fn a_slow_call_is_one_event_however_many_rows_it_has() {
    let slow = |ask: &Ask, place: u64| {
        let long = ask.user >= WARM_UP && ask.chance_of_user(place) < 0.04;
        (Reply::yes(0.9), Duration::from_millis(if long { 50 } else { 10 }))
    };
    // The time of the version that was asked first does not matter to this one.
    each_seed(10, |seed| batches(seed, (80, 50), 5, guard::latency(0.95).at_most_times_live(2.5), slow))
        .are_rarely_taken_back();
}

/// Bug: the same with calls that fail: the error guard took back 99 of 100. Cause: the same. Fix: the same.
#[test]
fn a_call_that_fails_is_one_event_however_many_rows_it_has() {
    let rule = || guard::error_rate().at_most_times_live(1.25);
    each_seed(15, |seed| batches(seed, (100, 20), 0, rule(), fails_as_a_call)).are_rarely_taken_back();
}

/// Bug: the breaker tripped at one call that failed, in 99 of 100. Cause: its rows were as many failures in a row. Fix: rows that are counted together are one failure.
#[test]
fn a_call_that_fails_does_not_trip_the_breaker() {
    let rule = || guard::error_rate().at_most(0.5);
    each_seed(15, |seed| batches(seed, (100, 20), 5, rule(), fails_as_a_call)).are_rarely_taken_back();
}

/// Bug: where every call took exactly 10 ms in both versions, the latency guard took the candidate back 100 times of 100, after
/// one batch. Cause: the version that was asked second had the first one's time on top. Fix: each version's own time counts.
#[test]
fn the_time_of_the_version_that_was_asked_first_is_not_the_second_one_s() {
    let steady = |_: &Ask, _: u64| (Reply::yes(0.9), Duration::from_millis(10));
    each_seed(10, |seed| batches(seed, (20, 40), 5, guard::latency(0.99).at_most_times_live(1.5), steady))
        .are_rarely_taken_back();
}

/// What belongs together: ten rows of a batch, or ten calls of a stream.
#[derive(Clone, Copy)]
enum Together {
    Batch,
    Stream,
}

/// A candidate that fails on 40 % of what it is asked, but never on the first of what belongs together.
fn fails_after_the_first(seed: u64, together: Together) -> Fate {
    let clock = clock();
    let live = version("one", &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    let handle = service(&clock, seed).live("v1", live).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let candidate = version("two", &clock, |ask: &Ask| {
        // Never five in a row, which would trip the breaker.
        let fails = matches!(ask.number % 10, 3 | 5 | 7 | 9);
        (if fails { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard::error_rate().at_most(0.01));
    rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
    for number in 0..200 {
        for _ in 0..10 {
            let rows: Vec<Ask> = (0..10).map(|_| world.ask_of(number)).collect();
            match together {
                Together::Batch => drop(world.handle.request().batch(&rows)),
                Together::Stream => {
                    let stream = world.handle.request().pin().unwrap();
                    rows.iter().for_each(|row| drop(stream.predict(row)));
                }
            }
        }
        world.tick();
        if world.is_over() {
            break;
        }
    }
    world.fate(&rollout)
}

/// Bug: a candidate that failed on 40 % of the rows but the first of each batch was promoted 20 times of 20 under "at most
/// 1 %". Cause: what belongs together counted by its first row. Fix: one row of a batch counts, drawn.
#[test]
fn all_rows_of_what_belongs_together_are_looked_at() {
    each_seed(8, |seed| fails_after_the_first(seed, Together::Batch)).are_never_promoted();
}

/// Bug: the same with pinned streams. Cause: the same. Fix: one call of a stream counts, drawn.
#[test]
fn all_calls_of_a_stream_are_looked_at() {
    each_seed(8, |seed| fails_after_the_first(seed, Together::Stream)).are_never_promoted();
}

/// Bug: of two versions that each fail on all calls of some users, the candidate was taken off 17 times of 20 for failing "in a row".
/// Cause: the calls of one pinned stream are failures of one user, and the breaker counted each; nobody asks live for them. Fix: a stream is one failure.
#[test]
fn a_stream_that_fails_is_one_failure_to_the_breaker() {
    let fates = each_seed(10, |seed| {
        let clock = clock();
        let on = |name: &str, place: u64| {
            version(name, &clock, move |ask: &Ask| {
                let fails = ask.chance_of_user(place) < 0.04;
                (if fails { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
            })
        };
        let handle = service(&clock, seed).live("v1", on("one", 1)).build().unwrap();
        let mut world = World::new(handle, &clock, seed);
        let rule = guard::error_rate().at_most(0.5);
        let rollout = world.handle.stage("v2", on("two", 2)).unwrap().guard(rule);
        rollout.canary(0.5).unwrap();
        for user in 0..200 {
            let stream = world.handle.request().pin().unwrap();
            for _ in 0..10 {
                let ask = world.ask_of(user);
                let _ = stream.predict(&ask);
            }
            if user % 10 == 9 {
                world.tick();
            }
        }
        world.fate(&rollout)
    });
    fates.are_rarely_taken_back();
}

/// Bug: of two equal versions the candidate was taken back, or told that telemetry is lost, where regular users came while a canary grew from
/// 25 to 75 %. Cause: there is no control of live's for all of what it gets then, so new keys were nearly all the candidate's, and the
/// test knew the shares of all buckets. Fix: what has no match is answered by the candidate, and its keys do not count.
#[test]
fn a_canary_that_grows_beyond_what_live_can_match_is_compared_in_pairs() {
    for seed in 0..4 {
        let clock = clock();
        let fails = |user: &u64| {
            if user.is_multiple_of(10) { Err(ModelError::engine("nobody can")) } else { Ok(0.5) }
        };
        let service = ModelHandle::builder("growing")
            .clock(clock.clone())
            .seed(seed)
            .threads(Threads::manual())
            .task(Task::binary(|p: &f64| *p))
            .live("v1", closure("one@1", fails))
            .build()
            .unwrap();
        let rule = guard::error_rate().at_most_times_live(1.25);
        let rollout = service.stage("v2", closure("two@1", fails)).unwrap().guard(rule);
        for share in [0.25, 0.75] {
            rollout.canary(share).unwrap();
            for _ in 0..6 {
                for user in 0..6_000_u64 {
                    let _ = service.predict_keyed(user.to_le_bytes(), &user);
                }
                clock.advance(Duration::from_secs(1));
                service.tick();
            }
            assert_eq!(rollout.phase(), Phase::Canary, "{share} of seed {seed}");
            let status = rollout.status().unwrap();
            let evidence = &status.evidence[0];
            assert!(
                !evidence.note.as_deref().unwrap_or_default().contains("units do not come"),
                "{evidence}"
            );
            assert!(evidence.strength.unwrap().harm_peak < EValue::of(20.0), "{evidence}");
        }
    }
}

/// A canary of half of those who are asked for without a key and of half of the users who have one, of each as many: the candidate is
/// wrong as often as live about the ones, and as often as this about the others.
fn two_kinds(seed: u64, rule: Result<Rule, RuleError>, wrong_of_users: f64) -> Fate {
    let clock = clock();
    let on = |name: &str, purpose: u64, wrong_of_users: f64| -> Version {
        version(name, &clock, move |ask: &Ask| {
            let wrong = if ask.number.is_multiple_of(2) { wrong_of_users } else { 0.1 };
            (Reply::yes(if ask.chance(purpose) < wrong { 0.1 } else { 0.9 }), MILLISECOND)
        })
    };
    let handle = service(&clock, seed).live("v1", on("one", 1, 0.1)).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rollout = world.handle.stage("v2", on("two", 2, wrong_of_users)).unwrap().guard(rule);
    rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
    let ask = |world: &mut World, ask: &Ask| match ask.number % 2 {
        0 => world.handle.predict_keyed(ask.key(), ask),
        _ => world.handle.predict(ask),
    };
    world.live_through(25, 100, ask, |_, _| Some(Outcome::class(1)));
    world.fate(&rollout)
}

/// Bug: a candidate that was worse than allowed, over requests and users together, was promoted in 30 runs of 60: as good as live without
/// a key, and much worse with one. Cause: the evidence of requests and that of keys were each mixed over the strategies and then multiplied,
/// so that the good kind grew with its best strategy and the bad one lost by its most timid. Fix: a strategy bets on both kinds, and
/// strategies are mixed once.
#[test]
fn a_candidate_that_is_worse_for_one_kind_of_unit_is_not_promoted_for_the_other() {
    let rules: [fn() -> Result<Rule, RuleError>; 4] = [
        || guard::accuracy().at_most_below_live(0.1),
        || guard::accuracy().at_most_times_live(2.0),
        || guard::brier_score().at_most_above_live(0.08),
        || guard::f1().at_most_below_live(0.06),
    ];
    for rule in rules {
        each_seed(few_of(2, 4), |seed| two_kinds(seed, rule(), 0.33)).are_never_promoted();
        // Of two kinds that are alike it is soon known.
        let fates = each_seed(few_of(1, 2), |seed| two_kinds(seed, rule(), 0.1));
        assert_eq!(fates.count(Verdict::Promoted), fates.0.len(), "{fates}");
    }
}

/// Bug: where batches stay together, equal versions were held back since "a few keys bring most of the requests", in 110 runs of 300, and
/// nobody had a key. Cause: each row was taken for a draw of its own. Fix: a batch is one, and so is a stream.
#[test]
fn a_candidate_that_was_drawn_for_a_batch_early_is_not_held_back() {
    let told = |seed: u64| {
        let clock = clock();
        let on = |name: &str| version(name, &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
        let mut world =
            World::new(service(&clock, seed).live("v1", on("one")).build().unwrap(), &clock, seed);
        let rule = guard::error_rate().at_most_times_live(1.5);
        let rollout = world.handle.stage("v2", on("two")).unwrap().guard(rule);
        rollout.canary(0.02).unwrap();
        for number in 0..60 {
            let rows: Vec<Ask> = (0..100).map(|_| world.ask_of(number)).collect();
            drop(world.handle.request().batch(&rows));
            world.tick();
        }
        let events = world.handle.events();
        events.iter().any(|event| event.to_string().contains("bring most of them"))
    };
    let told = (1..=12).filter(|seed| told(*seed)).count();
    assert_eq!(told, 0, "of 12");
}

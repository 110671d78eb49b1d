//! Whose doing a drift is, is decided again when either side moves again, and users are no rows.

use std::time::Duration;

use switchback::drift::{Drift, WindowSize};
use switchback::guard::DriftGuard;
use switchback::{Step, guard};

use super::{Fates, each_seed};
use crate::common::plan;
use crate::world::{Ask, Fate, Reply, Verdict, Version, World, anybody, clock, service, untold, version};

const MILLISECOND: Duration = Duration::from_millis(1);

const WINDOW: u64 = 15;

/// Both versions' answers are watched in windows of 15 seconds.
fn watched() -> Drift {
    Drift::new().sample(1.0).window(WindowSize::Span(Duration::from_secs(WINDOW)))
}

/// Bug: with users who ask 1, 5 and 30 times each, whose scores are alike, an equal candidate was taken back 0, 60 and 60 times of 60.
/// Cause: rows were taken to be independent. Fix: of a user one request counts, drawn, in windows of a trial too.
#[test]
fn users_who_ask_often_are_no_drift() {
    let fates = each_seed(8, |seed| {
        let clock = clock();
        let on = |name: &str| -> Version {
            version(name, &clock, |ask: &Ask| (Reply::yes(ask.chance_of_user(1)), MILLISECOND))
        };
        let builder = service(&clock, seed).drift(watched()).live("v1", on("one"));
        let mut world = World::new(builder.build().unwrap(), &clock, seed);
        let rollout = world.handle.stage("v2", on("two")).unwrap().guard(guard::drift());
        rollout.canary(0.5).unwrap();
        for _ in 0..3 * WINDOW + 1 {
            for _ in 0..80 {
                let user = world.asked() / 30;
                let ask = world.ask_of(user);
                world.handle.predict_keyed(ask.key(), &ask).unwrap();
            }
            world.tick();
            if world.is_over() {
                break;
            }
        }
        world.fate(&rollout)
    });
    fates.are_rarely_taken_back();
}

/// Bug: where live's scores shifted a little for good, and a candidate's became constant an hour later, "it was the world" and the
/// candidate was promoted 30 times of 30. Cause: once live had drifted, whatever the candidate did was the world's. Fix: what live has drifted to is the reference for both from then on.
#[test]
fn a_candidate_that_breaks_after_the_world_has_shifted_is_not_promoted() {
    const SHIFT: u64 = 4 * WINDOW;
    fn score(ask: &Ask) -> f64 {
        let shift = if ask.second >= SHIFT { 0.15 } else { 0.0 };
        (0.8 * ask.chance(1) + shift).min(1.0)
    }
    let fates: Fates = each_seed(5, |seed| -> Fate {
        let clock = clock();
        let live = version("one", &clock, |ask: &Ask| (Reply::yes(score(ask)), MILLISECOND));
        let candidate = version("two", &clock, |ask: &Ask| {
            let broken = ask.second >= SHIFT + WINDOW;
            (Reply::yes(if broken { 0.5 } else { score(ask) }), MILLISECOND)
        });
        let handle = service(&clock, seed).drift(watched()).live("v1", live).build().unwrap();
        let mut world = World::new(handle, &clock, seed);
        let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard::drift());
        let step = Step::canary(0.5).unwrap().min_duration(Duration::from_secs(9 * WINDOW));
        rollout.run(plan([step])).unwrap();
        world.live_through(11 * WINDOW, 60, anybody, untold);
        world.fate(&rollout)
    });
    fates.are_never_promoted();
}

/// Bug: as soon as a canary began live seemed to have drifted, where what users ask first is unlike what they ask later; and with a quarter
/// of the traffic hardly a row came. Cause: further requests of users were left out of all windows, since a comparison counts each user once.
/// Fix: they are left out of what compares versions.
#[test]
fn what_comes_is_all_that_comes_while_a_canary_is_compared_by_users() {
    let clock = clock();
    let on = |name: &str| -> Version {
        version(name, &clock, |ask: &Ask| {
            let place = ask.number % 30;
            let base = if (1..=5).contains(&place) { 0.05 } else { 0.7 };
            (Reply::yes(base + 0.2 * ask.chance(1)), MILLISECOND)
        })
    };
    let handle = service(&clock, 1).drift(watched()).live("v1", on("one")).build().unwrap();
    let mut world = World::new(handle, &clock, 1);
    let come = |world: &mut World, seconds: u64| {
        for _ in 0..seconds {
            for _ in 0..90 {
                let user = world.asked() / 30;
                let ask = world.ask_of(user);
                world.handle.predict_keyed(ask.key(), &ask).unwrap();
            }
            world.tick();
        }
    };
    come(&mut world, 3 * WINDOW);
    let rollout = world.handle.stage("v2", on("two")).unwrap().guard(guard::drift());
    rollout.canary(0.5).unwrap();
    let before = world.handle.drift().unwrap().counted;
    come(&mut world, 4 * WINDOW);
    assert_eq!(world.handle.drift().unwrap().counted - before, 4 * WINDOW * 90);
    let drifted: Vec<String> = world.handle.events().iter().map(|event| event.to_string()).collect();
    let drifted: Vec<_> = drifted.into_iter().filter(|event| event.contains("drifted")).collect();
    assert!(drifted.is_empty(), "{drifted:?}");
    let seen = rollout.status().unwrap().evidence.remove(0);
    assert!(seen.samples < WINDOW * 90 / 10, "a user counts once where versions are compared: {seen}");
}

/// Bug: 30 batches of 20 rows whose scores are alike had an equal candidate taken back 8 times of 8, and so had streams. Cause: all rows of a
/// batch, and all calls of a stream, were units of what compares versions on a canary. Fix: one of them is, the one that stands for its unit.
#[test]
fn rows_of_a_batch_and_calls_of_a_stream_are_one_unit_of_drift() {
    for streams in [false, true] {
        let fates = each_seed(8, |seed| {
            let clock = clock();
            let on = |name: &str| -> Version {
                version(name, &clock, |ask: &Ask| (Reply::yes(ask.chance_of_user(1)), MILLISECOND))
            };
            let builder = service(&clock, seed).drift(watched()).live("v1", on("one"));
            let mut world = World::new(builder.build().unwrap(), &clock, seed);
            let rollout = world.handle.stage("v2", on("two")).unwrap().guard(guard::drift());
            rollout.canary(0.5).unwrap();
            for number in 0..10 * WINDOW {
                for together in 4 * number..4 * number + 4 {
                    let rows: Vec<Ask> = (0..20).map(|_| world.ask_of(together)).collect();
                    if streams {
                        let stream = world.handle.request().pin().unwrap();
                        rows.iter().for_each(|row| drop(stream.predict(row)));
                    } else {
                        drop(world.handle.request().batch(&rows));
                    }
                }
                world.tick();
                if world.is_over() {
                    break;
                }
            }
            world.fate(&rollout)
        });
        fates.are_rarely_taken_back();
    }
}

/// A canary of this share, whose scores are `shift` further up in logits than live's; live's are moved by the hour. Guarded, and promoted
/// once its guard passes where it has a plan.
fn drifting(
    seed: u64,
    (share, a_second, windows): (f64, u64, u64),
    guard: DriftGuard,
    is_planned: bool,
    shift: f64,
    by_the_hour: fn(u64) -> f64,
) -> Fate {
    let clock = clock();
    let score = move |ask: &Ask, place: u64, shift: f64| {
        let even = ask.chance(place).clamp(1e-9, 1.0 - 1e-9);
        let logit = (even / (1.0 - even)).ln() + shift + by_the_hour(ask.second / WINDOW);
        (Reply::yes(1.0 / (1.0 + (-logit).exp())), MILLISECOND)
    };
    let live = version("one", &clock, move |ask: &Ask| score(ask, 1, 0.0));
    let candidate = version("two", &clock, move |ask: &Ask| score(ask, 1, shift));
    let handle = service(&clock, seed).drift(watched()).live("v1", live).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard);
    if is_planned {
        rollout.run(plan([Step::canary(share).unwrap()])).unwrap();
    } else {
        rollout.canary(share).unwrap();
    }
    world.live_through(windows * WINDOW + 1, a_second, anybody, untold);
    world.fate(&rollout)
}

fn the_same(_: u64) -> f64 {
    0.0
}

/// Bug: where scores go up and down with the hour, alike in both, `since_it_began` took back an equal candidate with 900 rows beside a live with
/// 100 in most runs. Cause: that live showed no drift was taken for its having none, where it had too few rows to show any. Fix: the candidate
/// alone has drifted where it has gone further than live can have.
#[test]
fn scores_that_both_change_with_the_hour_are_not_the_candidates_doing_however_few_rows_live_has() {
    let by_the_hour = |window: u64| if window % 4 < 2 { 0.0 } else { 1.0 };
    let guard = || guard::drift().since_it_began();
    each_seed(8, |seed| drifting(seed, (0.9, 66, 8), guard(), false, 0.0, by_the_hour))
        .are_rarely_taken_back();
}

/// And one that goes where live does not is taken back.
#[test]
fn a_candidate_that_leaves_what_it_said_at_first_is_taken_back() {
    let fates = each_seed(5, |seed| {
        let clock = clock();
        let live = version("one", &clock, |ask: &Ask| (Reply::yes(ask.chance(1)), MILLISECOND));
        let candidate = version("two", &clock, |ask: &Ask| {
            let goes = ask.second >= 3 * WINDOW;
            (Reply::yes(if goes { 0.9 + ask.chance(1) / 10.0 } else { ask.chance(1).sqrt() }), MILLISECOND)
        });
        let handle = service(&clock, seed).drift(watched()).live("v1", live).build().unwrap();
        let mut world = World::new(handle, &clock, seed);
        let guard = guard::drift().since_it_began();
        let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard);
        rollout.canary(0.5).unwrap();
        world.live_through(6 * WINDOW, 40, anybody, untold);
        world.fate(&rollout)
    });
    assert_eq!(fates.count(Verdict::TakenBack), 5, "{fates}");
}

/// Bug: a candidate that lies 0.08 from live, where 0.1 is allowed, was taken back in most runs with 1,000 rows of each in a window. Cause: the test
/// was whether the two are equal, and the margin was held against an estimate that chance makes larger. Fix: it is taken back where a bound of the distance lies beyond.
#[test]
fn a_candidate_that_is_no_further_from_live_than_is_allowed_is_rarely_taken_back() {
    each_seed(8, |seed| drifting(seed, (0.5, 134, 5), guard::drift(), false, 0.39, the_same))
        .are_rarely_taken_back();
}

/// Bug: a candidate that lies 0.15 from live, where 0.1 is allowed, was promoted in most runs with 100 rows of each in a window. Cause: that no drift
/// was shown was taken for its having none. Fix: it passes where a bound of the distance lies within.
#[test]
fn a_candidate_that_is_further_from_live_than_is_allowed_is_rarely_promoted() {
    each_seed(12, |seed| drifting(seed, (0.5, 14, 20), guard::drift(), true, 0.77, the_same))
        .are_rarely_promoted();
}

/// Windows are added up: what no window of 100 rows could show, twenty of them do.
#[test]
fn an_equal_candidate_of_a_small_service_is_promoted_by_windows_that_are_added_up() {
    let fates = each_seed(4, |seed| drifting(seed, (0.5, 14, 40), guard::drift(), true, 0.0, the_same));
    assert_eq!(fates.count(Verdict::Promoted), 4, "{fates}");
}

/// Bug: where more of what came was too hard, for live a little and for the candidate too, the candidate was taken back. Cause: live was to be looked at with half of
/// what the candidate is allowed, and of failures it was all of it. Fix: half of that as well.
#[test]
fn failures_that_live_begins_to_have_too_are_the_worlds() {
    let fates = each_seed(6, |seed| {
        let clock = clock();
        let on = |name: &str, share: f64| -> Version {
            version(name, &clock, move |ask: &Ask| {
                let is_hard = ask.second >= 2 * WINDOW && ask.chance(7) < share;
                (if is_hard { Reply::Fails } else { Reply::yes(ask.chance(1)) }, MILLISECOND)
            })
        };
        let limits = switchback::options::Limits::new().circuit_breaker(0);
        let builder = service(&clock, seed).limits(limits).drift(watched()).live("v1", on("one", 0.008));
        let mut world = World::new(builder.build().unwrap(), &clock, seed);
        let rollout = world.handle.stage("v2", on("two", 0.035)).unwrap().guard(guard::drift());
        rollout.canary(0.5).unwrap();
        world.live_through(3 * WINDOW, 400, anybody, untold);
        world.fate(&rollout)
    });
    fates.are_rarely_taken_back();
}

/// Bug: where both fail on 2 of 100 and answer alike, held to what it said at first a candidate was let through by no step after the first looks, however many rows
/// came. Cause: that beginning was whole with 2,000 rows, beside which no number shows that a share is the same. Fix: it is whole once it can be shown.
#[test]
fn a_candidate_that_fails_as_it_did_at_first_is_mostly_promoted_in_the_end() {
    let fates = each_seed(3, |seed| {
        let clock = clock();
        let on = |name: &str, place: u64| -> Version {
            version(name, &clock, move |ask: &Ask| {
                (if ask.chance(7) < 0.02 { Reply::Fails } else { Reply::yes(ask.chance(place)) }, MILLISECOND)
            })
        };
        let limits = switchback::options::Limits::new().circuit_breaker(0);
        let builder = service(&clock, seed).limits(limits).drift(watched()).live("v1", on("one", 1));
        let mut world = World::new(builder.build().unwrap(), &clock, seed);
        let rollout = world.handle.stage("v2", on("two", 2)).unwrap().guard(guard::drift().since_it_began());
        rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
        world.live_through(30 * WINDOW + 1, 134, anybody, untold);
        world.fate(&rollout)
    });
    // A beginning that is unlike the rest by chance is one that nothing is shown to be like.
    assert!(fates.count(Verdict::Promoted) >= 2 && fates.count(Verdict::TakenBack) == 0, "{fates}");
}

/// Bug: a candidate that lay 0.13 from live, where a guard allows 0.15, was taken back once the world had moved the two further apart. Cause: it was to blame
/// for what it differed in before by the distance that is told, 0.1, whatever the guard allows. Fix: by the guard's own.
#[test]
fn what_a_guard_allows_is_not_to_blame_for_what_the_world_does_later() {
    let fates = each_seed(4, |seed| {
        let clock = clock();
        let on = |name: &str, place: u64, shifts: [f64; 2]| -> Version {
            version(name, &clock, move |ask: &Ask| {
                let even = ask.chance(place).clamp(1e-9, 1.0 - 1e-9);
                let logit = (even / (1.0 - even)).ln() + shifts[usize::from(ask.second >= 6 * WINDOW)];
                (Reply::yes(1.0 / (1.0 + (-logit).exp())), MILLISECOND)
            })
        };
        let live = on("one", 1, [0.0, 1.5]);
        let builder = service(&clock, seed).drift(watched()).live("v1", live);
        let mut world = World::new(builder.build().unwrap(), &clock, seed);
        let candidate = on("two", 2, [0.66, 2.7]);
        let guard = guard::drift().at_most(0.15).unwrap();
        let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard);
        rollout.canary(0.5).unwrap();
        world.live_through(9 * WINDOW, 200, anybody, untold);
        world.fate(&rollout)
    });
    fates.are_rarely_taken_back();
}

/// Bug: a step in which both failed on everything passed. Cause: of answers that nobody gave nothing lay apart, and failures alone were held against each other.
/// Fix: without an answer of both nothing is shown.
#[test]
fn a_step_in_which_nobody_answered_promotes_nothing() {
    let fates = each_seed(2, |seed| {
        let clock = clock();
        let on = |name: &str| -> Version { version(name, &clock, |_: &Ask| (Reply::Fails, MILLISECOND)) };
        let limits = switchback::options::Limits::new().circuit_breaker(0);
        let builder = service(&clock, seed).limits(limits).drift(watched()).live("v1", on("one"));
        let mut world = World::new(builder.build().unwrap(), &clock, seed);
        let rollout = world.handle.stage("v2", on("two")).unwrap().guard(guard::drift());
        rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
        world.live_through(5 * WINDOW, 60, anybody, untold);
        world.fate(&rollout)
    });
    assert_eq!(fates.count(Verdict::Promoted), 0, "{fates}");
}

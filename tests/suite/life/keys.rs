//! A key counts with all of its requests, not by its first.

use std::time::Duration;

use switchback::events::EventKind;
use switchback::options::{Limits, Shadowing};
use switchback::{Kpi, Outcome, Rollout, Step, Task, Truth, guard};

use super::each_seed;
use crate::common::plan;
use crate::world::{Ask, Fate, Reply, Said, Verdict, Version, World, clock, service, version};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Seconds with 100 requests, of users who come so many times in a row; then of others.
fn sessions(
    world: &mut World,
    seconds: u64,
    length: u64,
    truth: impl Fn(&Ask, &switchback::Answer<Said>) -> Option<Outcome>,
) {
    for _ in 0..seconds {
        for _ in 0..100 {
            let user = world.asked() / length;
            let ask = world.ask_of(user);
            let answer = world.handle.predict_keyed(ask.key(), &ask).unwrap();
            if let Some(outcome) = truth(&ask, &answer) {
                world.tell(answer.id(), outcome);
            }
        }
        world.tick();
        if world.is_over() {
            return;
        }
    }
}

/// Bug: in a shadow an equal candidate that was wrong about other users than live was taken back 0, 1, 84 and 100 times of 100 with
/// sessions of 1, 3, 10 and 30 requests. Cause: each request was a pair of its own. Fix: of a key one pair counts, drawn.
#[test]
fn a_shadow_that_is_wrong_about_other_users_is_not_worse() {
    let fates = each_seed(10, |seed| {
        let clock = clock();
        // Wrong about a fifth of the users, always.
        let on = |name: &str, purpose: u64| -> Version {
            version(name, &clock, move |ask: &Ask| {
                let yes = if ask.chance_of_user(purpose) < 0.2 { 0.1 } else { 0.9 };
                (Reply::yes(yes), MILLISECOND)
            })
        };
        let builder = service(&clock, seed).live("v1", on("one", 1)).shadowing(Shadowing::new());
        let mut world = World::new(builder.build().unwrap(), &clock, seed);
        let rule = guard::accuracy().at_most_below_live(0.02);
        let rollout = world.handle.stage("v2", on("two", 2)).unwrap().guard(rule);
        rollout.shadow(1.0).unwrap();
        sessions(&mut world, 30, 30, |_, _| Some(Outcome::class(1)));
        world.fate(&rollout)
    });
    fates.are_rarely_taken_back();
}

/// Bug: on a keyed canary a candidate that failed on half of all requests, but on no user's first, was promoted 67 times of 100 and never
/// taken back, under "at most 1 %". Cause: a key counted by its first request. Fix: of a key one request counts, drawn.
#[test]
fn a_candidate_that_fails_users_who_come_again_is_not_promoted() {
    let fates = each_seed(8, |seed| {
        let clock = clock();
        let live = version("one", &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
        let candidate = version("two", &clock, |ask: &Ask| {
            let fails = ask.number % 10 != 1 && ask.chance(1) < 0.5;
            (if fails { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
        });
        let limits = Limits::new().circuit_breaker(0);
        let handle = service(&clock, seed).live("v1", live).limits(limits).build().unwrap();
        let mut world = World::new(handle, &clock, seed);
        let rule = guard::error_rate().at_most(0.05);
        let rollout = world.handle.stage("v2", candidate).unwrap().guard(rule);
        rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
        sessions(&mut world, 25, 10, |_, _| None);
        world.fate(&rollout)
    });
    fates.are_never_promoted();
}

/// Bug: the same with clicks, .20 beside .30 where 5 points were allowed. Cause: the same. Fix: the same.
#[test]
fn a_candidate_that_loses_users_who_come_again_is_not_promoted() {
    let fates = each_seed(6, |seed| {
        let clock = clock();
        let on = |name: &str| version(name, &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
        let task = Task::binary(|said: &Said| said.yes).truth(Truth::CausedByAnswer);
        let builder = service(&clock, seed).task(task.kpi(Kpi::rate("click").unwrap()));
        let mut world = World::new(builder.live("v1", on("one")).build().unwrap(), &clock, seed);
        let rule = guard::kpi("click").at_most_below_live(0.1);
        let rollout = world.handle.stage("v2", on("two")).unwrap().guard(rule);
        rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
        sessions(&mut world, 30, 5, |ask, answer| {
            let again = ask.number % 5 != 1;
            let rate = if again && answer.version() == "v2" { 0.7 } else { 0.95 };
            Some(Outcome::kpi("click", f64::from(u8::from(ask.chance(2) < rate))))
        });
        world.fate(&rollout)
    });
    fates.are_never_promoted();
}

/// Bug: on a keyed canary without a shadow, with users of whom a few come very often, 392 of 400 equal candidates were never decided,
/// and nothing said that no new users came. Cause: the planner counted requests where the test counted keys. Fix: that few new keys come is an event, and stands beside each guard that waits.
#[test]
fn a_rollout_whose_users_have_run_out_says_so() {
    let fates = each_seed(3, |seed| {
        let clock = clock();
        let on = |name: &str, purpose: u64| -> Version {
            version(name, &clock, move |ask: &Ask| {
                let yes = if ask.chance(purpose) < 0.15 { 0.1 } else { 0.9 };
                (Reply::yes(yes), MILLISECOND)
            })
        };
        let handle = service(&clock, seed).live("v1", on("one", 1)).build().unwrap();
        let mut world = World::new(handle, &clock, seed);
        let come = |world: &mut World, seconds: u64| {
            for _ in 0..seconds {
                for _ in 0..100 {
                    let user = 301_f64.powf(world.chance.next()) as u64;
                    let ask = world.ask_of(user);
                    let answer = world.handle.predict_keyed(ask.key(), &ask).unwrap();
                    world.tell(answer.id(), Outcome::class(1));
                }
                world.tick();
            }
        };
        come(&mut world, 10);
        let rule = guard::accuracy().at_most_below_live(0.02);
        let rollout = world.handle.stage("v2", on("two", 2)).unwrap().guard(rule);
        rollout.run(plan([Step::canary(0.5).unwrap()])).unwrap();
        come(&mut world, 80);
        world.fate(&rollout)
    });
    let silent = |fate: &&Fate| fate.verdict == Verdict::Undecided && !fate.tells_why();
    let silent = fates.0.iter().filter(silent).count();
    assert!(silent == 0, "{silent} undecided without a word: {fates}");
}

/// A service that is asked by users who come alike, with so many candidates that are equal to live on so much of it each; what was held
/// back, and the samples of each one's guard.
fn several(candidates: usize, share: f64, shadows: bool) -> (Vec<String>, Vec<(u64, String)>) {
    let clock = clock();
    let right = |name: &str| version(name, &clock, move |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    let builder = service(&clock, 1).live("v1", right("one"));
    let builder = if shadows { builder.shadowing(Shadowing::new()) } else { builder };
    let mut world = World::new(builder.build().unwrap(), &clock, 1);
    let names: Vec<String> = (0..candidates).map(|number| format!("c{number}")).collect();
    let rollouts: Vec<_> = names
        .iter()
        .map(|name| {
            let rollout = world.handle.stage(name, right(name)).unwrap();
            let rollout = rollout.guard(guard::error_rate().at_most_times_live(1.5));
            rollout.canary(share).unwrap();
            rollout
        })
        .collect();
    for _ in 0..20 {
        for _ in 0..1_000 {
            let ask = world.ask_of(world.asked().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
            let _ = world.handle.predict_keyed(ask.key(), &ask).unwrap();
        }
        world.tick();
    }
    let events = world.handle.events();
    let held = events.iter().filter_map(|event| match &event.kind {
        EventKind::Held { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let seen = rollouts.iter().map(|rollout| {
        let evidence = rollout.status().unwrap().evidence.remove(0);
        (evidence.samples, evidence.note.unwrap_or_default())
    });
    (held.collect(), seen.collect())
}

/// Bug: of five candidates with a tenth of the users each, all were held back since "a few keys bring most of the requests", where users
/// came alike. Cause: live's requests were counted but for those of users who are the control of another candidate, and the share of the
/// keys was one of all of live. Fix: those count too.
#[test]
fn several_candidates_whose_users_come_alike_are_not_held_back() {
    for (candidates, share) in [(5, 0.1), (8, 0.05), (2, 0.3)] {
        let (held, seen) = several(candidates, share, false);
        assert!(held.iter().all(|reason| !reason.contains("a few keys")), "{candidates}: {held:?}");
        assert!(seen.iter().all(|(samples, _)| *samples > 500), "{candidates}: {seen:?}");
    }
}

/// Bug: a candidate for which live had no users left that could be its control had no samples for ever, and nothing said why, or that new
/// users had run out. Fix: it is told, once, and stands beside its guards.
#[test]
fn a_candidate_that_live_has_no_users_left_for_says_so() {
    let (held, seen) = several(3, 0.25, false);
    let without: Vec<_> = seen.iter().filter(|(samples, _)| *samples == 0).collect();
    assert!(!without.is_empty(), "{seen:?}");
    let why = "none of live's users is left to compare its users with";
    assert!(without.iter().all(|(_, note)| note.contains(why)), "{without:?}");
    assert_eq!(held.iter().filter(|reason| reason.starts_with(why)).count(), without.len(), "{held:?}");
    // Where live shadows what they answer, each has pairs.
    let (held, seen) = several(3, 0.25, true);
    assert!(
        held.is_empty() && seen.iter().all(|(samples, note)| *samples > 0 && !note.contains(why)),
        "{held:?} {seen:?}"
    );
}

/// Bug: of two candidates with a third of the users each the second was said to have no new users left, and a candidate of which most users
/// are no more remembered as well. Cause: requests whose key cannot count were taken for those of users who have counted, and that nobody is
/// left to compare them with was said only where nobody at all was. Fix: these are apart.
#[test]
fn a_candidate_that_live_has_hardly_any_users_left_for_says_so() {
    let (held, seen) = several(2, 1.0 / 3.0, false);
    let why = "hardly any of live's users is left to compare its users with";
    assert!(seen.iter().all(|(_, note)| !note.contains("run out")), "{held:?} {seen:?}");
    assert_eq!(seen.iter().filter(|(_, note)| note.contains(why)).count(), 1, "{held:?} {seen:?}");
    assert_eq!(held.iter().filter(|reason| reason.starts_with(why)).count(), 1, "{held:?}");
}

/// Two equal versions, of which one shadows all that the other is asked.
fn equal_ones_in_a_shadow() -> (World, Rollout<Ask, Said>) {
    let clock = clock();
    let on = |name: &str| version(name, &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    let builder = service(&clock, 1).live("v1", on("one")).shadowing(Shadowing::new());
    let world = World::new(builder.build().unwrap(), &clock, 1);
    let rule = guard::error_rate().at_most_times_live(1.5);
    let rollout = world.handle.stage("v2", on("two")).unwrap().guard(rule);
    rollout.shadow(1.0).unwrap();
    (world, rollout)
}

/// Bug: of users who come once each half of the pairs counted, and after 32,768 users none did any more. Cause: the chance with which a key
/// counts, and the share of new keys that do, were fitted for keys that count in an arm, and for those that count in pairs never. Fix: for
/// both.
#[test]
fn users_who_come_once_each_count_in_pairs_once_that_is_known() {
    let (mut world, rollout) = equal_ones_in_a_shadow();
    sessions(&mut world, 40, 1, |_, _| None);
    let samples = rollout.status().unwrap().evidence[0].samples;
    assert!(samples > 3_000, "of 4,000 users {samples} counted");
}

/// Bug: a shadow whose users had run out waited in silence. Cause: what was looked at is the candidate's own requests, and a shadow has none;
/// and beside a canary it was said that a shadow compares each request with live's, where of a key one counts. Fix: copies are looked at.
#[test]
fn a_shadow_whose_users_have_run_out_says_so() {
    let (mut world, rollout) = equal_ones_in_a_shadow();
    for second in 0..60 {
        for request in 0..300 {
            let ask = world.ask_of(request % 100);
            let _ = world.handle.predict_keyed(ask.key(), &ask).unwrap();
        }
        world.tick();
        let note = rollout.status().unwrap().evidence[0].note.clone().unwrap_or_default();
        assert!(second > 15 || !note.contains("run out"), "{second}: {note}");
    }
    let evidence = rollout.status().unwrap().evidence.remove(0);
    let note = evidence.note.unwrap_or_default();
    assert!(evidence.samples <= 100 && note.contains("new users have run out"), "{note}");
    let events = world.handle.events();
    let told = events.iter().filter_map(|event| match &event.kind {
        EventKind::Held { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert!(matches!(&told[..], [reason] if reason.contains("that both versions were asked")), "{told:?}");
}

/// Bug: a candidate for which live had no users left got no control when another candidate left, and its guards waited for ever. Cause: only what
/// a share grows by gets a match. Fix: a candidate of whose users none has counted gets its match as soon as there is one.
#[test]
fn a_candidate_without_a_control_gets_one_once_another_leaves() {
    let clock = clock();
    let right = |name: &str| version(name, &clock, move |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    let mut world = World::new(service(&clock, 1).live("v1", right("one")).build().unwrap(), &clock, 1);
    let rollouts = ["c0", "c1", "c2"].map(|name| {
        let rollout = world.handle.stage(name, right(name)).unwrap();
        let rollout = rollout.guard(guard::error_rate().at_most_times_live(1.5));
        rollout.canary(0.25).unwrap();
        rollout
    });
    let come = |world: &mut World| {
        for _ in 0..12 {
            for _ in 0..500 {
                let ask = world.ask_of(world.asked().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
                let _ = world.handle.predict_keyed(ask.key(), &ask).unwrap();
            }
            world.tick();
        }
        let evidence = rollouts[2].status().unwrap().evidence.remove(0);
        (evidence.samples, evidence.live_samples, evidence.note.unwrap_or_default())
    };
    let (samples, _, note) = come(&mut world);
    assert!(samples == 0 && note.contains("none of live's users is left"), "{samples} {note}");
    let _ = rollouts[0].rollback("enough");
    let (samples, of_live, note) = come(&mut world);
    assert!(
        samples > 500 && of_live > 500 && !note.contains("left to compare"),
        "{samples} {of_live} {note}"
    );
    let share = samples as f64 / (samples + of_live) as f64;
    assert!(
        (0.45..0.55).contains(&share),
        "{samples} and {of_live} came in other shares than they were split in"
    );
}

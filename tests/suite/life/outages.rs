//! Outages of both versions that come again and again: they condemn no candidate, and hide none that does harm.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use switchback::guard::{Rule, RuleError};
use switchback::options::{Limits, Shadowing};
use switchback::{Phase, guard};

use super::{by_chance, each_seed, few_of};
use crate::world::{Ask, Fate, Reply, Verdict, World, clock, service, version};

const MILLISECOND: Duration = Duration::from_millis(1);

/// How requests come to a candidate.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// To a canary with this share.
    OneByOne(f64),
    /// Two in a call.
    InBatches,
    /// Of users who come twice.
    ByKey,
    /// Copies of what live answers.
    AsCopies,
}

/// How often live and a candidate fail, in the calm and in an outage.
#[derive(Debug, Clone, Copy)]
struct Fails {
    calm: [f64; 2],
    outage: [f64; 2],
}

/// The last quarter of each twenty seconds is an outage.
fn is_out(ask: &Ask) -> bool {
    ask.second % 20 >= 15
}

/// So many seconds of a hundred requests, in which each fails by chance of its own. No breaker.
fn outages(seed: u64, seconds: u64, comes: Comes, rule: Result<Rule, RuleError>, fails: Fails) -> Fate {
    let clock = clock();
    let on = |name: &str, place: usize| {
        version(name, &clock, move |ask: &Ask| {
            let rate = if is_out(ask) { fails.outage[place] } else { fails.calm[place] };
            let fails = match comes {
                // A call fails as a whole.
                Comes::InBatches => ask.chance_of_user(place as u64) < rate,
                _ => ask.chance(place as u64) < rate,
            };
            (if fails { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
        })
    };
    let builder = service(&clock, seed).live("v1", on("one", 0)).limits(Limits::new().circuit_breaker(0));
    let copies = matches!(comes, Comes::AsCopies);
    let builder = if copies { builder.shadowing(Shadowing::new()) } else { builder };
    let mut world = World::new(builder.build().unwrap(), &clock, seed);
    let rollout = world.handle.stage("v2", on("two", 1)).unwrap().guard(rule);
    match comes {
        Comes::AsCopies => rollout.shadow(1.0).unwrap(),
        Comes::OneByOne(share) => rollout.canary(share).unwrap(),
        Comes::InBatches | Comes::ByKey => rollout.canary(0.5).unwrap(),
    }
    for _ in 0..seconds {
        for number in 0..100 {
            let ask = match comes {
                Comes::InBatches | Comes::ByKey => {
                    let user = world.asked() / 2;
                    world.ask_of(user)
                }
                _ => world.ask(),
            };
            match comes {
                Comes::InBatches if number % 2 == 0 => {
                    let other = world.ask_of(ask.user);
                    let _ = world.handle.request().batch(&[ask, other]);
                }
                Comes::InBatches => {}
                Comes::ByKey => drop(world.handle.predict_keyed(ask.key(), &ask)),
                _ => drop(world.handle.predict(&ask)),
            }
        }
        world.tick();
        if world.is_over() {
            break;
        }
    }
    world.fate(&rollout)
}

const WAYS: [Comes; 5] =
    [Comes::OneByOne(0.5), Comes::OneByOne(0.1), Comes::InBatches, Comes::ByKey, Comes::AsCopies];

/// How many of these are taken back, by the way in which requests come.
fn taken_back(
    runs: u64,
    seconds: u64,
    rule: fn() -> Result<Rule, RuleError>,
    fails: Fails,
) -> [(Comes, usize); 5] {
    WAYS.map(|comes| {
        let fates = each_seed(runs, |seed| outages(seed, seconds, comes, rule(), fails));
        (comes, fates.count(Verdict::TakenBack))
    })
}

fn times() -> Result<Rule, RuleError> {
    guard::error_rate().at_most_times_live(1.25)
}

fn at_most() -> Result<Rule, RuleError> {
    guard::error_rate().at_most(0.015)
}

/// Bug: where outages in which both versions fail on half of all fill a quarter of the time, a candidate with three times live's failures in
/// the calm was taken back within 1,500 seconds in 0 runs of 20, on a canary of half or a tenth, in batches and by key. Cause: what the two
/// kinds of time say was multiplied, and an outage in which both fail alike took what the calm had earned. Fix: each is bet on alone too.
///
/// By key it may take more than there is: beyond so many keys fewer and fewer count, and once those of a calm are no more than tell that an outage
/// is over, none is left that is known to be of the calm.
#[test]
fn outages_of_both_hide_no_harm_in_the_calm() {
    let runs = few_of(1, 10);
    let fails = Fails { calm: [0.01, 0.03], outage: [0.5, 0.5] };
    for rule in [times, at_most] {
        for (comes, seen) in taken_back(runs, 1_500, rule, fails) {
            let asked = if matches!(comes, Comes::ByKey) { (2 * runs / 3).max(1) } else { runs };
            assert!(seen as u64 >= asked, "{comes:?}: {seen} of {runs}");
        }
    }
}

/// What harms in outages, or always, is seen as it was.
#[test]
fn a_calm_in_which_both_are_alike_hides_no_harm_in_outages() {
    let runs = few_of(1, 4);
    for calm in [[0.01, 0.01], [0.01, 0.03]] {
        for (comes, seen) in taken_back(runs, 300, times, Fails { calm, outage: [0.1, 0.3] }) {
            assert_eq!(seen as u64, runs, "{calm:?}, {comes:?}");
        }
    }
}

/// Alike; at the multiple in both kinds of time; and at the absolute limit in one and at the multiple in the other.
#[test]
fn outages_that_fill_a_quarter_of_the_time_condemn_nobody_who_keeps_the_larger_limit() {
    let runs = few_of(1, 5);
    for (rule, fails) in [
        (times as fn() -> _, Fails { calm: [0.01, 0.01], outage: [0.5, 0.5] }),
        (at_most, Fails { calm: [0.01, 0.01], outage: [0.5, 0.5] }),
        (times, Fails { calm: [0.01, 0.0125], outage: [0.4, 0.5] }),
        (times, Fails { calm: [0.0002, 0.001], outage: [0.4, 0.5] }),
    ] {
        let seen: usize = taken_back(runs, 300, rule, fails).into_iter().map(|(_, seen)| seen).sum();
        assert!(seen <= by_chance(5 * runs as usize, 0.01), "{fails:?}: {seen} of {}", 5 * runs);
    }
}

/// How many failures in a row it takes until a candidate on a canary of half is passed over, after so many seconds in which both fail on nine
/// of ten and so many in which neither does; nothing where two thousand are not enough.
fn failures_until_passed_over(out: u64, calm: u64) -> Option<u64> {
    let clock = clock();
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let one = version("one", &clock, move |ask: &Ask| {
        let fails = ask.second < out && ask.chance(0) < 0.9;
        (if fails { Reply::Fails } else { Reply::yes(0.9) }, Duration::from_micros(1))
    });
    let two = version("two", &clock, move |ask: &Ask| {
        let fails = if ask.second < out + calm {
            ask.second < out && ask.chance(1) < 0.9
        } else {
            counted.fetch_add(1, Relaxed);
            true
        };
        (if fails { Reply::Fails } else { Reply::yes(0.9) }, Duration::from_micros(1))
    });
    let mut world = World::new(service(&clock, 1).live("v1", one).build().unwrap(), &clock, 1);
    let rollout = world.handle.stage("v2", two).unwrap();
    let rollout = rollout.guard(guard::error_rate().at_most_above_live(0.01));
    rollout.canary(0.5).unwrap();
    for _ in 0..out + calm {
        for _ in 0..100 {
            let ask = world.ask();
            let _ = world.handle.predict(&ask);
        }
        world.tick();
    }
    assert_eq!(rollout.phase(), Phase::Canary, "{:?}", world.handle.events());
    // In one second: what a tick makes of it is the guards' business.
    for _ in 0..4_000 {
        let ask = world.ask();
        let _ = world.handle.predict(&ask);
    }
    let asked = asked.load(Relaxed);
    (asked < 1_500).then_some(asked)
}

/// Bug: after an outage of five minutes of both right after its start a candidate that failed outright was asked more than a thousand times in
/// a row, and two minutes later 191 times. Cause: it was held against live's failures of all time, as if it could fail by itself where live fails
/// too. Fix: against those of live's last thousand requests or two, and of those that live answers alone.
#[test]
fn an_outage_that_is_over_excuses_no_candidate_that_fails_outright() {
    let taken = [(0, 120), (300, 120), (300, 1)].map(|(out, calm)| failures_until_passed_over(out, calm));
    assert_eq!(taken, [6, 7, 74].map(Some));
}

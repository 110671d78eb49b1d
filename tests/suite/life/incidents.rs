//! What both versions suffer condemns neither.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use switchback::events::EventKind;
use switchback::guard;
use switchback::guard::{Rule, RuleError};
use switchback::options::{Inputs, Labels, Limits, Shadowing};
use switchback::plan::Bake;
use switchback::{Clock, Outcome, Phase, Share, Step};

use super::{by_chance, each_seed, few_of};
use crate::common::{builder, plan};
use crate::world::{
    Ask, Candidate, Circumstance, End, Fate, Figure, Life, Reply, Routing, Verdict, Version, World, anybody,
    clock, service, untold, version,
};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Two versions that fail on the same requests, and a canary of 50 % under the breaker that a handle has by default.
fn failing_together(seed: u64, seconds: u64, fails: fn(&Ask) -> bool) -> Fate {
    let clock = clock();
    let on = |name: &str| -> Version {
        version(name, &clock, move |ask: &Ask| {
            (if fails(ask) { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
        })
    };
    let handle = service(&clock, seed).live("v1", on("one")).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rule = guard::error_rate().at_most_times_live(1.25);
    let rollout = world.handle.stage("v2", on("two")).unwrap().guard(rule);
    rollout.canary(0.5).unwrap();
    world.live_through(seconds, 100, anybody, untold);
    world.fate(&rollout)
}

/// Bug: where both versions failed on the same tenth of the inputs, the breaker tripped and the candidate was quarantined in
/// 143 runs of 400. Cause: five failures in a row were taken for the candidate's, whoever else could answer. Fix: a failure counts where live could answer the same.
#[test]
fn inputs_that_live_fails_on_too_trip_no_breaker() {
    // Of three tenths it takes a hundredth of the requests until five have failed in a row.
    each_seed(12, |seed| failing_together(seed, 30, |ask| ask.chance(1) < 0.3)).are_rarely_taken_back();
}

/// Bug: an outage of 60 requests behind both versions had the candidate quarantined 400 times of 400. Cause: the breaker knew
/// nothing of live. Fix: what live fails on too is no failure in a row, and while live fails the circuit opens for a while instead.
#[test]
fn an_outage_behind_both_versions_quarantines_nobody() {
    each_seed(20, |seed| failing_together(seed, 30, |ask| (1_000..1_060).contains(&ask.number)))
        .are_rarely_taken_back();
}

/// How often a version fails, in one second and another.
type Rate = fn(&Ask) -> f64;

/// A canary of 50 % of a version that fails as often as `candidate` says, beside a live that fails as often as `live` says, each
/// by chance of its own. No breaker.
fn failing(seed: u64, seconds: u64, rule: Result<Rule, RuleError>, [live, candidate]: [Rate; 2]) -> Fate {
    let clock = clock();
    let on = |name: &str, purpose: u64, rate: Rate| -> Version {
        version(name, &clock, move |ask: &Ask| {
            let fails = ask.chance(purpose) < rate(ask);
            (if fails { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
        })
    };
    let builder = service(&clock, seed).live("v1", on("one", 1, live));
    let handle = builder.limits(Limits::new().circuit_breaker(0)).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rollout = world.handle.stage("v2", on("two", 2, candidate)).unwrap().guard(rule);
    rollout.canary(0.5).unwrap();
    world.live_through(seconds, 100, anybody, untold);
    world.fate(&rollout)
}

/// Bug: an incident behind both versions had the README's own "error rate at most 0.01" take back and quarantine a healthy candidate
/// in 208 runs of 400, and in all of them where it lasted. Cause: an absolute limit looked at the candidate alone. Fix: live is asked as well, and a limit that it breaks too takes nothing back.
#[test]
fn an_absolute_limit_that_live_breaks_too_takes_nobody_back() {
    let rate: Rate = |ask| if (10..20).contains(&ask.second) { 0.06 } else { 0.004 };
    each_seed(12, |seed| failing(seed, 30, guard::error_rate().at_most(0.01), [rate, rate]))
        .are_rarely_taken_back();
}

/// Bug: a candidate that was within "1.25 times live, or .1 %" at every moment was taken back in 64 runs of 200: .09 % beside .005 %
/// when all was quiet, and 1.09 % beside 1 % in an incident. Cause: each of the two limits was exceeded by the whole, the one by the
/// quiet and the other by the incident. Fix: in each block of time the smaller of the two factors counts.
#[test]
fn within_one_of_two_limits_at_every_moment_is_within() {
    // Twenty times as often, so that a twentieth of the requests shows it.
    let live: Rate = |ask| if ask.second >= 60 { 0.2 } else { 0.0 };
    let candidate: Rate = |ask| if ask.second >= 60 { 0.24 } else { 0.019 };
    let rule = || guard::error_rate().at_most_times_live_or(1.25, 0.02);
    each_seed(8, |seed| failing(seed, 65, rule(), [live, candidate])).are_rarely_taken_back();
}

/// Live and a candidate that misbehave in one request of a thousand and in eight, and in a tenth of them for two seconds of twenty. `how`
/// is what they do then. For so many days of twenty seconds.
fn nightly_outages(
    seed: u64,
    days: u64,
    rule: Result<Rule, RuleError>,
    how: fn() -> (Reply, Duration),
) -> Fate {
    let clock = clock();
    let on = |name: &str, purpose: u64, quiet: f64| -> Version {
        version(name, &clock, move |ask: &Ask| {
            let rate = if ask.second % 20 >= 18 { 0.1 } else { quiet };
            if ask.chance(purpose) < rate { how() } else { (Reply::yes(0.9), MILLISECOND) }
        })
    };
    let builder = service(&clock, seed)
        .live("v1", on("one", 1, 0.001))
        .inputs(Inputs::new().segment(|ask: &Ask| if ask.chance(3) < 0.8 { "usual" } else { "rare" }));
    let handle = builder.limits(Limits::new().circuit_breaker(0)).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rollout = world.handle.stage("v2", on("two", 2, 0.008)).unwrap().guard(rule);
    rollout.canary(0.5).unwrap();
    world.live_through(days * 20, 100, anybody, untold);
    world.fate(&rollout)
}

/// Bug: a candidate within its limit on every day, and like live in an outage that came every night, was taken back within four weeks.
/// Cause: old blocks of time are joined, and in one that holds quiet and outages the absolute limit is broken by these and live's by the
/// quiet. Fix: what comes in an outage is counted apart, in blocks that are joined too.
#[test]
fn an_outage_of_both_that_comes_every_night_takes_nobody_back() {
    let fails = || (Reply::Fails, MILLISECOND);
    let is_slow = || (Reply::yes(0.9), 40 * MILLISECOND);
    let taken_back = |rule: fn() -> Result<Rule, RuleError>, how| {
        let fates = each_seed(few_of(1, 2), |seed| nightly_outages(seed, 30, rule(), how));
        assert_eq!(fates.count(Verdict::TakenBack), 0, "{fates}");
    };
    taken_back(|| guard::error_rate().at_most(0.01), fails);
    taken_back(|| guard::error_rate().by_segment().at_most(0.01), fails);
    taken_back(|| guard::latency(0.99).within(20 * MILLISECOND), is_slow);
}

/// Bug: a shadow that fails 1.5 times as often as live, which is its margin, was promoted in 40 runs of 100 by an outage of
/// fourteen seconds behind both. Cause: in an outage one fails as often as the other, so that its ratio is 1. Fix: what comes
/// while live fails far more often than before lets no candidate on.
#[test]
fn an_outage_behind_both_versions_promotes_no_shadow_that_fails_too_often() {
    let life = Life::new(Figure::Error, Routing::Shadow, Circumstance::SharedOutage);
    let ends = life.candidate(Candidate::AtTheMargin).runs(1..9);
    let promoted = ends.iter().filter(|end| end.verdict == Verdict::Promoted).count();
    assert!(promoted <= by_chance(8, 0.05), "{promoted} of 8 promoted");
}

/// Bug: a new live that was watched was taken back and quarantined in half of the outages behind both versions. Cause: its breaker knew how
/// often the version before had failed while it was live, and not what it fails on now. Fix: what it is asked in the new one's place
/// counts as well, and where it fails too, failures in a row are no reason. And a figure that has risen was told of at every tick.
#[test]
fn an_outage_behind_both_versions_takes_no_watched_live_back() {
    let life = Life::new(Figure::Error, Routing::Canary, Circumstance::SharedOutage).watched();
    let ends = life.runs(1..7);
    let suspected = |end: &End| end.events.iter().filter(|event| event.contains("suspected")).count();
    for end in &ends {
        assert_eq!(end.verdict, Verdict::Promoted, "{}: {:?}", end.sentence, end.events);
        assert!(suspected(end) <= 1, "{:?}", end.events);
    }
    assert!(ends.iter().any(|end| suspected(end) == 1), "in none was the outage after the promotion");
}

/// Bug: a watched live with a limit that holds whatever live does was taken back by every outage behind both versions, on a handle that
/// shadows too. Cause: before its figure had risen nobody ran beside it, and what nobody ran beside was judged alone. Fix: where the
/// version before can be woken nothing is said until it has been; where it never can, what both failed on tells how often it fails.
#[test]
fn an_outage_takes_no_watched_live_back_that_has_an_absolute_limit() {
    let cells = [
        (Figure::Error, Routing::Ramp),
        (Figure::Latency, Routing::Ramp),
        (Figure::Error, Routing::Canary),
        (Figure::Latency, Routing::Canary),
    ];
    for (figure, routing) in cells {
        let life = Life::new(figure, routing, Circumstance::SharedOutage).absolute().unwrap().watched();
        for end in life.runs(1..1 + few_of(1, 3)) {
            assert_ne!(
                end.verdict,
                Verdict::TakenBack,
                "{figure:?} {routing:?}: {}: {:?}",
                end.sentence,
                end.events
            );
        }
    }
}

/// v2, promoted at once and watched for an hour on a handle that shadows, and how it goes on for so many seconds of fifty requests.
fn watched_alike(seconds: u64, rule: Result<Rule, RuleError>, both: fn(&Ask) -> (Reply, Duration)) -> Fate {
    let clock = clock();
    let on = |name: &str| -> Version { version(name, &clock, both) };
    let builder = service(&clock, 1).live("v1", on("one")).shadowing(Shadowing::new());
    let mut world = World::new(builder.build().unwrap(), &clock, 1);
    let rollout = world.handle.stage("v2", on("two")).unwrap().guard(rule);
    let rollout = rollout.bake(Bake::new(Duration::from_secs(3_600)));
    rollout.promote().unwrap();
    for _ in 0..seconds {
        for _ in 0..50 {
            let ask = world.ask();
            let _ = world.handle.predict(&ask);
        }
        world.tick();
    }
    world.fate(&rollout)
}

/// A slow hour of both, in which nobody fails: until the version before runs beside it nothing is said of the new live.
#[test]
fn what_becomes_slow_for_both_takes_no_watched_live_back() {
    let fate = watched_alike(120, guard::latency(0.99).within(20 * MILLISECOND), |ask| {
        let slow = ask.second >= 60 && ask.chance(1) < 0.6;
        (Reply::yes(0.9), if slow { 40 * MILLISECOND } else { MILLISECOND })
    });
    assert!(!fate.events.iter().any(|event| event.contains("went back")), "{:?}", fate.events);
    assert!(
        fate.events.iter().any(|event| event.contains("the version before shadows")),
        "{:?}",
        fate.events
    );
}

/// Where the world breaks a limit for both for good, the version before does not run beside the new live for good.
#[test]
fn a_version_that_was_woken_by_an_absolute_limit_sleeps_again_where_it_keeps_it_no_better() {
    let fate = watched_alike(720, guard::latency(0.99).within(20 * MILLISECOND), |ask| {
        let slow = ask.second >= 60 && ask.chance(1) < 0.6;
        (Reply::yes(0.9), if slow { 40 * MILLISECOND } else { MILLISECOND })
    });
    let told = |what: &str| fate.events.iter().filter(|event| event.contains(what)).count();
    assert_eq!((told("went back"), told("is cleared")), (0, 1), "{:?}", fate.events);
}

/// Bug: a limit was told to be cleared whose pairs had shown nothing yet. Cause: since when pairs tell was kept from one waking of the version
/// before to the next, for every guard but the one that woke it. Fix: it begins with each waking, for all of them.
#[test]
fn no_limit_is_cleared_by_pairs_of_an_earlier_waking() {
    let clock = clock();
    // Both are slow for some seconds, twice, and each fails nearly as often as it may: that it does not more often cannot be shown.
    let on = |name: &str, purpose: u64| {
        version(name, &clock, move |ask: &Ask| {
            let slow =
                [60..90, 900..930].iter().any(|when| when.contains(&ask.second)) && ask.chance(1) < 0.6;
            let fails = ask.chance(purpose) < 0.0095;
            (
                if fails { Reply::Fails } else { Reply::yes(0.9) },
                if slow { 40 * MILLISECOND } else { MILLISECOND },
            )
        })
    };
    let builder = service(&clock, 1).live("v1", on("one", 2)).shadowing(Shadowing::new());
    let mut world = World::new(builder.build().unwrap(), &clock, 1);
    let rollout = world.handle.stage("v2", on("two", 3)).unwrap();
    let rollout = rollout
        .guard(guard::latency(0.9).at_most_times_live(3.0))
        .guard(guard::error_rate().at_most(0.01))
        .bake(Bake::new(Duration::from_secs(3_600)));
    for second in 0..1_560 {
        match second {
            20 => rollout.canary(0.5).unwrap(),
            50 => rollout.promote().unwrap(),
            _ => {}
        }
        for _ in 0..20 {
            let ask = world.ask();
            let _ = world.handle.predict(&ask);
        }
        world.tick();
    }
    let (mut woken, mut waited) = (None, Vec::new());
    for event in &world.handle.events() {
        match &event.kind {
            EventKind::Suspected { shadow, .. } if *shadow != Share::NONE => woken = Some(event.at),
            EventKind::Cleared { .. } => waited.extend(woken.take().map(|at| event.at.since(at).as_secs())),
            _ => {}
        }
    }
    assert!(
        waited.len() == 2 && waited.iter().all(|seconds| *seconds >= 600),
        "{waited:?} {:?}",
        world.handle.events()
    );
}

/// An outage begins with requests that the version before happens to answer: the breaker has tripped before anything is known of it.
#[test]
fn a_breaker_that_tripped_as_an_outage_began_condemns_no_watched_live() {
    let clock = clock();
    let before = version("one", &clock, |ask: &Ask| {
        let fails = ask.second == 10 && ask.number > 1_005;
        (if fails { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let live = version("two", &clock, |ask: &Ask| {
        (if ask.second == 10 { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let mut world = World::new(service(&clock, 1).live("v1", before).build().unwrap(), &clock, 1);
    let rollout = world.handle.stage("v2", live).unwrap().guard(guard::error_rate().at_most(0.05));
    let rollout = rollout.bake(Bake::new(Duration::from_secs(3_600)));
    rollout.promote().unwrap();
    for _ in 0..20 {
        for _ in 0..100 {
            let ask = world.ask();
            let answer = world.handle.predict(&ask);
            assert!(
                ask.second == 10 || answer.unwrap().version() == "v2",
                "it answers, and has not been passed over"
            );
        }
        world.tick();
    }
    assert_eq!((world.handle.live().as_str(), rollout.phase()), ("v2", Phase::Baking));
}

/// Bug: nothing told that the breaker of a watched live had tripped and that it was spared. Cause: what was counted was let go of in silence. Fix:
/// an event, once in ten minutes of an outage.
///
/// Bug: after one outage of both the breaker of a watched live never tripped again. Cause: how often the version before fails was halved in both of its
/// counts at each tick, so that the share of the outage stayed for as long as it was asked nothing. Fix: it is forgotten once it is of less than
/// one request.
#[test]
fn a_watched_live_that_is_spared_is_told_of_once_in_ten_minutes() {
    let clock = clock();
    // Three outages, the last one more than ten minutes after the first, each of which begins with requests that the version before happens to answer.
    let is_out = |ask: &Ask| [110, 140, 750].contains(&ask.second);
    let before = version("one", &clock, move |ask: &Ask| {
        let fails = is_out(ask) && ask.number % 100 > 10;
        (if fails { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let live = version("two", &clock, move |ask: &Ask| {
        (if is_out(ask) { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let mut world = World::new(service(&clock, 1).live("v1", before).build().unwrap(), &clock, 1);
    let run = |world: &mut World, seconds: usize| {
        for _ in 0..seconds {
            for _ in 0..100 {
                let ask = world.ask();
                let _ = world.handle.predict(&ask);
            }
            world.tick();
        }
    };
    // So that it is known how seldom the version before fails when all is well.
    run(&mut world, 100);
    let rollout = world.handle.stage("v2", live).unwrap().guard(guard::error_rate().at_most(0.05));
    let rollout = rollout.bake(Bake::new(Duration::from_secs(3_600)));
    rollout.promote().unwrap();
    run(&mut world, 655);
    assert_eq!((world.handle.live().as_str(), rollout.phase()), ("v2", Phase::Baking));
    let spared: Vec<String> = world
        .handle
        .events()
        .iter()
        .filter(|event| event.kind.name() == "spared")
        .map(ToString::to_string)
        .collect();
    assert_eq!(spared.len(), 2, "of the second nothing is told: {spared:?}");
    let told = "requests in a row and stays live: the version before fails as well; most often";
    assert!(spared[0].contains("v2 failed on at least") && spared[0].contains(told), "{spared:?}");
}

/// Bug: a candidate that was far beyond its limit went on, and nothing that shows its guards said why. Cause: where live is beyond an absolute limit
/// the candidate is held against live, in silence. Fix: the evidence has a note of it.
#[test]
fn what_is_held_against_a_live_that_breaks_the_limit_as_well_says_so() {
    let notes = |of_live: f64| {
        let clock = clock();
        let on = |name: &str, rate: f64| {
            version(name, &clock, move |ask: &Ask| {
                (if ask.chance(1) < rate { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
            })
        };
        let mut world =
            World::new(service(&clock, 1).live("v1", on("one", of_live)).build().unwrap(), &clock, 1);
        let rollout =
            world.handle.stage("v2", on("two", 0.1)).unwrap().guard(guard::error_rate().at_most(0.05));
        rollout.canary(0.5).unwrap();
        for _ in 0..3 {
            for _ in 0..20 {
                let ask = world.ask();
                let _ = world.handle.predict(&ask);
            }
            world.tick();
        }
        let evidence = rollout.status().unwrap().evidence;
        (evidence[0].verdict, evidence[0].note.clone().unwrap_or_default())
    };
    let told = "live is beyond the limit as well, with 0.";
    let (verdict, note) = notes(0.2);
    assert!(verdict == guard::Verdict::Inconclusive && note.contains(told), "{verdict}: {note}");
    assert!(!notes(0.0).1.contains(told));
}

/// And one that breaks the limit by itself, though it does not fail outright, is taken back, whoever can be asked.
#[test]
fn a_watched_live_that_breaks_its_absolute_limit_alone_is_taken_back() {
    for (shadows, wake) in [(false, 0.2), (true, 0.2), (true, 0.0)] {
        let clock = clock();
        let on = |name: &str, fails: fn(&Ask) -> f64| -> Version {
            version(name, &clock, move |ask: &Ask| {
                (if ask.chance(1) < fails(ask) { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
            })
        };
        let builder = service(&clock, 1).live("v1", on("one", |_| 0.01));
        let builder = if shadows { builder.shadowing(Shadowing::new()) } else { builder };
        let mut world = World::new(builder.build().unwrap(), &clock, 1);
        let candidate = on("two", |ask| if ask.second >= 60 { 0.3 } else { 0.01 });
        let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard::error_rate().at_most(0.05));
        let bake = Bake::new(Duration::from_secs(600)).wake(wake).unwrap();
        rollout.run(plan([Step::canary(0.5).unwrap()]).bake(bake)).unwrap();
        let mut promoted = false;
        for _ in 0..150 {
            for _ in 0..100 {
                let ask = world.ask();
                let _ = world.handle.predict(&ask);
            }
            world.tick();
            promoted |= rollout.phase() == Phase::Baking;
        }
        let stands = (promoted, world.handle.live(), rollout.phase());
        assert_eq!(
            (stands.0, stands.1.as_str(), stands.2),
            (true, "v1", Phase::RolledBack),
            "{shadows} {wake}"
        );
    }
}

/// A new live that fails outright is taken back all the same, at once.
#[test]
fn a_watched_live_that_fails_outright_beside_a_version_that_is_well_is_taken_back() {
    let clock = clock();
    let live = version("one", &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND));
    let candidate = version("two", &clock, |ask: &Ask| {
        (if ask.second >= 20 { Reply::Fails } else { Reply::yes(0.9) }, MILLISECOND)
    });
    let mut world = World::new(service(&clock, 1).live("v1", live).build().unwrap(), &clock, 1);
    let rollout = world.handle.stage("v2", candidate).unwrap().guard(guard::error_rate().at_most(0.1));
    rollout.run(plan([Step::canary(0.5).unwrap()]).bake(Bake::new(Duration::from_secs(600)))).unwrap();
    for _ in 0..22 {
        for _ in 0..100 {
            let ask = world.ask();
            assert!(world.handle.predict(&ask).is_ok(), "the version before answers what it fails on");
        }
        world.tick();
    }
    assert_eq!((world.handle.live().as_str(), rollout.phase()), ("v1", Phase::RolledBack));
}

/// Bug: a candidate whose Brier score is .12 beside .10, where .2 is allowed, was taken back by one outage in which both have .40. Cause: over
/// the time of both the absolute limit is broken, by the outage, and so is live's, by the quiet: the smaller of two e-values over all of it
/// was large. Fix: what counts where live itself is beyond the limit is live, and elsewhere the limit.
#[test]
fn a_score_within_its_limit_whenever_lives_is_survives_an_outage_of_both() {
    let quiet = |probability: f64| {
        switchback::closure(format!("{probability}@1"), move |x: &f64| {
            Ok(if *x > 100.0 { 0.4_f64.sqrt() } else { probability })
        })
    };
    let clock = clock();
    let service = builder(&clock)
        .live("v1", quiet(0.1_f64.sqrt()))
        .shadowing(Shadowing::new())
        .labels(Labels::complete_after(Duration::from_secs(1)))
        .build()
        .unwrap();
    let rollout = service.stage("v2", quiet(0.12_f64.sqrt())).unwrap();
    let rollout = rollout.guard(guard::brier_score().at_most(0.2));
    rollout.shadow(1.0).unwrap();
    for second in 0..60 {
        for _ in 0..100 {
            let input = if (50..60).contains(&second) { 1_000.0 } else { 1.0 };
            let answer = service.predict(&input).unwrap();
            service.run_shadow(usize::MAX);
            service.feedback(answer.id(), Outcome::class(0));
        }
        clock.advance(Duration::from_secs(1));
        service.tick();
    }
    clock.advance(Duration::from_secs(5));
    service.tick();
    assert_eq!(rollout.phase(), Phase::Shadow, "{}", rollout.status().unwrap().evidence[0]);
    let status = rollout.status().unwrap();
    assert!(status.evidence[0].samples > 4_000, "{}", status.evidence[0]);
}

/// A version that answers, but fails on the next so many of its calls whenever it is told to.
fn out_of_luck(clock: &Clock) -> (Version, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&left);
    let version = version("two", clock, move |_: &Ask| {
        let fails = calls.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        (if fails { Reply::Fails } else { Reply::yes(0.9) }, Duration::from_micros(1))
    });
    (version, left)
}

/// Whether the breaker of a canary of 50 % trips that has answered for so many seconds of 200 requests, and then fails on so many in a row
/// within a second. Live fails on every so many-th request.
fn trips(live: u64, rule: Result<Rule, RuleError>, seconds: u64, failures: usize) -> bool {
    let clock = clock();
    let one = version("one", &clock, move |ask: &Ask| {
        let fails = ask.number.is_multiple_of(live);
        (if fails { Reply::Fails } else { Reply::yes(0.9) }, Duration::from_micros(1))
    });
    let mut world = World::new(service(&clock, 1).live("v1", one).build().unwrap(), &clock, 1);
    world.live_through(10, 200, anybody, untold);
    let (two, left) = out_of_luck(&clock);
    let rollout = world.handle.stage("v2", two).unwrap().guard(rule);
    rollout.canary(0.5).unwrap();
    world.live_through(seconds, 200, anybody, untold);
    left.store(failures, Relaxed);
    world.live_through(1, 200, anybody, untold);
    let fate = world.fate(&rollout);
    let trips = fate.events.iter().any(|event| event.contains("v2 failed on at least"));
    assert_eq!(rollout.phase() == Phase::Canary, !trips, "{:?}", fate.events);
    trips
}

/// Bug: an equal candidate beside a live that fails on 5 % was quarantined by its breaker once in some four million requests, and so whenever
/// it was tried for long enough. Cause: five failures in a row were enough however many requests they could have begun with. Fix: the more
/// the candidate was asked the more it takes. One that fails outright still trips in the second in which it does.
#[test]
fn a_streak_that_chance_brings_in_a_long_time_trips_no_breaker() {
    let seldom = || guard::error_rate().at_most(0.04);
    let of = [(0, 4), (0, 5), (100, 6), (100, 7)];
    assert_eq!(
        of.map(|(seconds, failures)| trips(u64::MAX, seldom(), seconds, failures)),
        [false, true, false, true]
    );
}

/// Bug: beside a live that fails on a quarter of its requests an equal candidate was quarantined within the first second of a step. Cause: a
/// breaker that was new took live for one that never fails until the next tick. Fix: it is told before its first request.
#[test]
fn a_breaker_knows_what_live_fails_on_before_its_first_request() {
    let no_more = || guard::error_rate().at_most_above_live(0.01);
    assert_eq!([12, 60].map(|failures| trips(4, no_more(), 0, failures)), [false, true]);
}

/// Bug: a candidate that may fail on 30 % of its requests, and does, was quarantined by its breaker within minutes. Cause: it was held against
/// what live fails on. Fix: against what the guards of its failures allow, where that is more.
#[test]
fn a_breaker_knows_what_the_guards_allow() {
    let allowed = || guard::error_rate().at_most(0.3);
    assert_eq!([12, 50].map(|failures| trips(u64::MAX, allowed(), 0, failures)), [false, true]);
    // Where none is of failures those of labels judge them too, and allow as many.
    let beside = || guard::accuracy().at_most_below_live(0.3);
    assert_eq!([12, 50].map(|failures| trips(u64::MAX, beside(), 0, failures)), [false, true]);
}

//! What is compared: values beyond their bounds, rare ones, lists, ratios and levels that move.

use std::f64::consts::TAU;
use std::time::Duration;

use switchback::guard::{EffectKind, Rule, RuleError};
use switchback::{Answer, Kpi, Outcome, Plan, Step, Task, Truth, guard};

use super::{Fates, each_seed, few_of};
use crate::common::plan;
use crate::world::{Ask, Fate, Reply, Said, Verdict, Version, World, anybody, clock, service, version};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A business figure on a canary, whose values are what `worth` says of a request, live's or the candidate's.
fn business(
    seed: u64,
    seconds: u64,
    kpi: Kpi,
    (rule, plan): (Result<Rule, RuleError>, Plan),
    worth: fn(&Ask, bool) -> f64,
) -> Fate {
    let clock = clock();
    let on = |name: &str| -> Version { version(name, &clock, |_: &Ask| (Reply::yes(0.9), MILLISECOND)) };
    let name = kpi.name().to_owned();
    let task = Task::binary(|said: &Said| said.yes).truth(Truth::CausedByAnswer);
    let handle = service(&clock, seed).task(task.kpi(kpi)).live("v1", on("one")).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rollout = world.handle.stage("v2", on("two")).unwrap().guard(rule);
    rollout.run(plan).unwrap();
    world.live_through(seconds, 100, anybody, |ask: &Ask, answer: &Answer<Said>| {
        Some(Outcome::kpi(name.as_str(), worth(ask, answer.version() == "v2")))
    });
    world.fate(&rollout)
}

fn canary(share: f64) -> Plan {
    plan([Step::canary(share).unwrap()])
}

/// Bug: of a figure between 0 and 10 a candidate with a mean of 4.96 beside 2.00 was promoted 100 times of 100, where 0.5 more was
/// allowed. Cause: what lay beyond 10 was counted as 10, or not at all. Fix: values out of bounds are counted by arm, and with one of them the figure promotes nothing.
#[test]
fn a_candidate_whose_worst_values_lie_beyond_the_bounds_is_not_promoted() {
    let worth = |ask: &Ask, candidate: bool| {
        if candidate && ask.chance(1) < 0.02 { 150.0 } else { 4.0 * ask.chance(2) }
    };
    let kpi = || Kpi::bounded("complaints", 0.0, 10.0).unwrap().lower_is_better();
    let rule = || guard::kpi("complaints").at_most_above_live(0.5);
    each_seed(8, |seed| business(seed, 40, kpi(), (rule(), canary(0.5)), worth)).are_never_promoted();
}

/// Bug: of an unbounded figure, with one request in a hundred that buys, an equal candidate of 1 % was taken back in 314 runs of 400.
/// Cause: the variance of a hundred values of which none was above 0 was 0. Fix: a figure without bounds decides nothing before each arm has 200 events.
#[test]
fn rare_purchases_that_have_not_come_yet_are_no_evidence() {
    let worth = |ask: &Ask, _: bool| if ask.chance(1) < 0.01 { 50.0 + 100.0 * ask.chance(2) } else { 0.0 };
    let kpi = || Kpi::unbounded("revenue").unwrap();
    let rule = || guard::kpi("revenue").at_most_below_live(0.1);
    each_seed(10, |seed| business(seed, 60, kpi(), (rule(), canary(0.02)), worth)).are_rarely_taken_back();
}

/// Bug: two equal versions were told to differ by .152 on average, where the level of a figure rose while the share grew. Cause: the
/// estimate pooled over shares, and its interval did not. Fix: both are estimated over the same mixture of shares.
#[test]
fn what_is_said_of_equal_versions_is_that_they_are_equal_while_levels_and_shares_move() {
    let worth = |ask: &Ask, _: bool| {
        let level = if ask.second < 15 { 0.2 } else { 0.7 };
        f64::from(u8::from(ask.chance(1) < level))
    };
    let kpi = || Kpi::bounded("rating", 0.0, 1.0).unwrap();
    let rule = || guard::kpi("rating").at_most_below_live(0.15);
    let fates = each_seed(6, |seed| {
        let first = Step::canary(0.1).unwrap().min_duration(Duration::from_secs(15));
        let second = Step::canary(0.5).unwrap().min_duration(Duration::from_secs(25));
        business(seed, 60, kpi(), (rule(), plan([first, second])), worth)
    });
    let effects = |fates: &Fates| -> Vec<f64> {
        let of = fates.0.iter().flat_map(|fate| &fate.evidence).filter_map(|evidence| evidence.effect);
        of.filter(|effect| effect.kind == EffectKind::Difference).map(|effect| effect.estimate).collect()
    };
    let told = effects(&fates);
    assert!(!told.is_empty(), "{fates}");
    assert!(told.iter().all(|estimate| estimate.abs() < 0.08), "{told:?}: {fates}");
}

/// Bug: a candidate with fewer hits, .40 against .61, was promoted under NDCG: it repeated the right item, which brought up to 2.95
/// for one list. Cause: every repetition gained, and the mean was cut to 1. Fix: an item counts where it stands first.
#[test]
fn a_list_that_repeats_the_right_item_is_no_better_for_it() {
    let fates = each_seed(8, |seed| {
        let clock = clock();
        let lists = |name: &str, hits: f64, times: u64| -> Version {
            version(name, &clock, move |ask: &Ask| {
                let hit = ask.chance(times) < hits;
                let item = |rank: u64| if hit && rank < times { ask.number % 100 } else { 1_000 + rank };
                (Reply::list((0..5).map(item)), MILLISECOND)
            })
        };
        let items = |said: &Said, ranked: &mut switchback::feedback::Ranked| {
            said.items.iter().for_each(|item| ranked.push(*item));
        };
        let task = Task::ranking(5, items).unwrap();
        let handle = service(&clock, seed).task(task).live("v1", lists("one", 0.61, 1)).build().unwrap();
        let mut world = World::new(handle, &clock, seed);
        let rule = guard::ndcg().at_most_below_live(0.05);
        let rollout = world.handle.stage("v2", lists("two", 0.4, 5)).unwrap().guard(rule);
        rollout.run(canary(0.5)).unwrap();
        world.live_through(40, 100, anybody, |ask, _| Some(Outcome::relevant([ask.number % 100])));
        world.fate(&rollout)
    });
    fates.are_never_promoted();
}

/// How precise a version is, and how much it flags, at a time of day from 0 (noon) to 1 (midnight).
type Flags = fn(f64) -> (f64, f64);

/// Two versions that flag what they flag, over two days and nights, on a canary of 50 %.
fn by_day_and_night(seed: u64, rule: Result<Rule, RuleError>, [live, candidate]: [Flags; 2]) -> Fate {
    const DAY: f64 = 8.0;
    let clock = clock();
    let on = |name: &str, purpose: u64, flags: Flags| -> Version {
        version(name, &clock, move |ask: &Ask| {
            let (_, flagged) = flags(night(ask.second, DAY));
            (Reply::yes(if ask.chance(purpose) < flagged { 0.9 } else { 0.1 }), MILLISECOND)
        })
    };
    let handle = service(&clock, seed).live("v1", on("one", 1, live)).build().unwrap();
    let mut world = World::new(handle, &clock, seed);
    let rollout = world.handle.stage("v2", on("two", 2, candidate)).unwrap().guard(rule);
    rollout.run(canary(0.5)).unwrap();
    world.live_through(2 * DAY as u64, 250, anybody, |ask, answer| {
        let flags = if answer.version() == "v2" { candidate } else { live };
        let (precision, _) = flags(night(ask.second, DAY));
        // Of what is not flagged nobody asks.
        Some(Outcome::class(u16::from(ask.chance(3) < precision)))
    });
    world.fate(&rollout)
}

fn night(second: u64, day: f64) -> f64 {
    0.5 - 0.5 * (TAU * second as f64 / day).cos()
}

/// Bug: of two versions with the same precision at every hour, which goes from .9 by day to .5 by night, the one that flags more by
/// night was taken back 150 times of 150. Cause: hits and flags were pooled over hours before they were divided. Fix: each yes of the candidate's is matched with one of live's of about the same time.
#[test]
fn who_flags_more_at_a_bad_hour_is_not_less_precise() {
    let live: Flags = |night| (0.9 - 0.4 * night, 0.7 - 0.6 * night);
    let candidate: Flags = |night| (0.9 - 0.4 * night, 0.1 + 0.6 * night);
    each_seed(6, |seed| {
        by_day_and_night(seed, guard::precision().at_most_below_live(0.05), [live, candidate])
    })
    .are_rarely_taken_back();
}

/// Bug: one that is less precise at every hour passed, since it flags more by day. Cause: the same. Fix: the same.
#[test]
fn who_flags_more_at_a_good_hour_is_not_more_precise() {
    let live: Flags = |night| (0.9 - 0.4 * night, 0.1 + 0.6 * night);
    let candidate: Flags = |night| (0.8 - 0.4 * night, 0.7 - 0.6 * night);
    each_seed(6, |seed| {
        by_day_and_night(seed, guard::precision().at_most_below_live(0.05), [live, candidate])
    })
    .are_rarely_promoted();
}

/// Bug: an equal candidate was taken back by an absolute limit on a score that live broke as well, in up to 10 runs of 40. Cause: blocks of
/// time were sorted by what live had in them, and where live was lucky the candidate looked worse than live and beyond the limit. Fix: of
/// each pair of strategies, one against each limit, the smaller factor of each block counts.
#[test]
fn an_absolute_limit_on_a_score_that_live_breaks_too_takes_nobody_back() {
    let kpi = || Kpi::rate("complaint").unwrap().lower_is_better();
    let rule = || guard::kpi("complaint").at_most(0.1);
    let both = |ask: &Ask, _: bool| f64::from(u8::from(ask.chance(1) < 0.13));
    // Of so few one may be by chance, in ten such lots.
    // Where a quarter are, as with the bug, ten have none once in eighteen times, and sixteen once in a hundred.
    let fates = each_seed(few_of(10, 16), |seed| business(seed, 200, kpi(), (rule(), canary(0.5)), both));
    assert_eq!(fates.count(Verdict::TakenBack), 0, "{fates}");
    // One that breaks it where live does not is taken back as before.
    let alone =
        |ask: &Ask, candidate: bool| f64::from(u8::from(ask.chance(1) < if candidate { 0.2 } else { 0.05 }));
    let fates = each_seed(2, |seed| business(seed, 60, kpi(), (rule(), canary(0.5)), alone));
    assert_eq!(fates.count(Verdict::TakenBack), 2, "{fates}");
}

/// Bug: one value outside of its bounds kept a candidate from being promoted for ever, and no event said so. Cause: it stood in the way of
/// what came since the exposure changed, which nothing began again. Fix: it is told, is left out after its time, and evidence begins again.
#[test]
fn one_value_out_of_bounds_is_told_and_stands_in_the_way_for_its_time() {
    let worth = |ask: &Ask, _: bool| if ask.number == 150 { 9.0 } else { 1.0 + 4.0 * ask.chance(1) };
    let kpi = || Kpi::bounded("rating", 1.0, 5.0).unwrap();
    let rule = || guard::kpi("rating").at_most_below_live(1.0);
    let fates = each_seed(2, |seed| business(seed, 150, kpi(), (rule(), canary(0.5)), worth));
    assert_eq!(fates.count(Verdict::Promoted), 2, "{fates}");
    for fate in &fates.0 {
        let told = fate.events.iter().filter(|event| event.contains("lay outside of the bounds"));
        assert_eq!(told.count(), 1, "{fates}");
        assert!(fate.requests > 6_000, "it waits for a minute: {fates}");
    }
}

/// Bug: what came out of bounds in the first step cost the second its evidence, and the promotion seven of eight parts of the error that it may have.
/// Cause: the doubt of one step went on in the next, whose evidence was another. Fix: it is over with the step.
#[test]
fn what_was_doubted_in_one_step_takes_nothing_from_the_next() {
    let worth = |ask: &Ask, _: bool| if ask.number == 1_550 { 9.0 } else { 1.0 + 4.0 * ask.chance(1) };
    let kpi = Kpi::bounded("rating", 1.0, 5.0).unwrap();
    let first = Step::canary(0.2).unwrap().min_duration(Duration::from_secs(30));
    let second = Step::canary(0.5).unwrap().min_duration(Duration::from_secs(120));
    let rule = guard::kpi("rating").at_most_below_live(1.0);
    let fate = business(1, 300, kpi, (rule, plan([first, second])), worth);
    let told = |what: &str| fate.events.iter().filter(|event| event.contains(what)).count();
    assert_eq!((told("lay outside of the bounds"), told("begins again:")), (1, 0), "{:?}", fate.events);
    assert_eq!(fate.verdict, Verdict::Promoted, "{:?}", fate.events);
    let took = fate.requests / 100;
    assert!((150..170).contains(&took), "two and a half minutes: {took}");
}

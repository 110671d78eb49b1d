//! What a plan takes to decide: said before anything runs, and held against what then happens.

use std::time::Duration;

use switchback::events::{Event, EventKind};
use switchback::forecast::{Between, Forecast, LatencyPoint, Traffic};
use switchback::guard;
use switchback::guard::Rule;
use switchback::options::{Labels, Limits, Shadowing, Threads};
use switchback::plan::{Bake, OnInconclusive};
use switchback::testing::Scripted;
use switchback::{Clock, ModelHandle, Outcome, Phase, Plan, RolloutError, Step, Task, Truth};

use crate::common::*;

/// Inputs below one half are yes. Wrong on those from `from` on, `share` of all.
fn wrong_from(name: &str, from: f64, share: f64) -> Scripted<f64, f64> {
    Scripted::new(name, move |x: &f64| {
        let right = *x < 0.5;
        let wrong = (from..from + share).contains(x);
        if right != wrong { 0.9 } else { 0.1 }
    })
}

const PER_SECOND: usize = 10;

/// How long a rollout of this kind takes until it is over: the median of so many.
fn measured(
    rollouts: u64,
    candidate: f64,
    rule: fn() -> Rule,
    plan: &Plan,
    shadowing: bool,
    expected: Phase,
) -> Duration {
    let mut took: Vec<Duration> = (0..rollouts)
        .map(|seed| {
            let clock = clock();
            let base = builder(&clock)
                .seed(seed)
                .limits(Limits::new().circuit_breaker(0))
                .live("v1", wrong_from("one", 0.0, 0.1));
            let service =
                if shadowing { base.shadowing(Shadowing::new()).build() } else { base.build() }.unwrap();
            // Half of what the candidate gets wrong, live does too.
            let model = wrong_from("two", 0.05, candidate);
            let rollout = service.stage("v2", model).unwrap().guard(rule());
            rollout.run(plan.clone()).unwrap();
            let (started, mut chance) = (clock.now(), Chance(seed + 1_000));
            while !rollout.phase().is_over() && clock.now().since(started) < seconds(20_000) {
                for _ in 0..PER_SECOND {
                    let input = chance.next();
                    let answer = service.predict(&input).unwrap();
                    service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
                }
                service.run_shadow(usize::MAX);
                tick(&service, &clock);
            }
            assert_eq!(rollout.phase(), expected);
            clock.now().since(started)
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

fn forecast(rule: Rule, plan: &Plan, shadowing: bool) -> Forecast {
    let clock = clock();
    let base = builder(&clock).live("v1", says("one", 0.5));
    let service = if shadowing { base.shadowing(Shadowing::new()).build() } else { base.build() }.unwrap();
    let mut traffic = Traffic::new(PER_SECOND as f64);
    traffic.wrong = 0.1;
    traffic.discordant = 0.1;
    service.forecast(&[rule], plan, &traffic).unwrap()
}

/// Rollouts of one kind differ by a factor of two and more among themselves, so the median of nine says no better.
#[test]
#[ignore = "long: nine rollouts for each forecast"]
fn a_forecast_is_within_a_factor_of_two_of_what_nine_rollouts_take() {
    forecast_and_measure(9, 0.5..2.0);
}

/// The bar: within a quarter of what rollouts through the public API then take, on pairs and on a canary, for harm and for
/// its absence. Of the last one the median of 21 rollouts is 553 s where that of 401 is 653 s: 61 are near enough.
#[test]
#[ignore = "long: 244 rollouts"]
fn a_forecast_is_within_a_quarter_of_what_it_takes() {
    forecast_and_measure(61, 0.75..1.25);
}

fn forecast_and_measure(rollouts: u64, near: std::ops::Range<f64>) {
    let is_near = |forecast: Duration, measured: Duration| {
        let ratio = forecast.as_secs_f64() / measured.as_secs_f64();
        assert!(near.contains(&ratio), "{forecast:?} was said, {measured:?} it took");
    };
    let measured = |candidate, rule, plan, shadowing, expected| {
        measured(rollouts, candidate, rule, plan, shadowing, expected)
    };
    let shadow = plan([Step::shadow(1.0).unwrap().min_predictions(1)]);
    let below: fn() -> Rule = || guard::accuracy().at_most_below_live(0.03).unwrap();
    let said = forecast(below(), &shadow, true);
    is_near(said.promoted_after.unwrap(), measured(0.1, below, &shadow, true, Phase::Promoted));
    // Twice as far off as the margin: another six points.
    is_near(
        said.steps[0].guards[0].harm_after.unwrap(),
        measured(0.16, below, &shadow, true, Phase::Aborted),
    );

    let canary = plan([Step::canary(0.2).unwrap().min_predictions(1)]);
    let times: fn() -> Rule = || guard::accuracy().at_most_times_live(1.5).unwrap();
    let said = forecast(times(), &canary, false);
    is_near(said.promoted_after.unwrap(), measured(0.1, times, &canary, false, Phase::Promoted));
    is_near(
        said.steps[0].guards[0].harm_after.unwrap(),
        measured(0.2, times, &canary, false, Phase::Aborted),
    );
}

const HOUR: u64 = 3_600;

/// What is said of a plan that begins after so many hours from a Saturday's midnight on, where each hour brings so many requests in ten
/// minutes. What then comes must lie within it.
fn said_of_a_plan_begun_after(hours: u64, requests: fn(u64) -> u64) -> Duration {
    let plan = plan([Step::shadow(1.0).unwrap()]);
    let clock = Clock::manual(switchback::Timestamp::from_unix_seconds(19_700 * 86_400));
    let service = builder(&clock)
        .live("v1", wrong_from("one", 0.0, 0.1))
        .shadowing(Shadowing::new())
        .threads(Threads::manual().stripes(1).tick_every(seconds(600)))
        .build()
        .unwrap();
    let mut chance = Chance(hours);
    let mut ten_minutes = || {
        let hour = clock.now().unix_nanos() / 1_000_000_000 / HOUR - 19_700 * 24;
        for _ in 0..requests(hour) {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
        }
        service.run_shadow(usize::MAX);
        clock.advance(seconds(600));
        service.tick();
    };
    (0..6 * hours).for_each(|_| ten_minutes());
    let rollout = service.stage("v2", wrong_from("two", 0.05, 0.1)).unwrap();
    let rollout = rollout.guard(guard::accuracy().at_most_below_live(0.05));
    let said = rollout.forecast(&plan).unwrap();
    rollout.run(plan.clone()).unwrap();
    let mut took = 0;
    while !rollout.phase().is_over() && took < 200 * 6 {
        ten_minutes();
        took += 1;
    }
    assert_eq!(rollout.phase(), Phase::Promoted);
    let Between { low, high, .. } = said.promoted_between.unwrap();
    let took = seconds(600 * took);
    // A tick is ten minutes.
    assert!(
        low <= took + seconds(1_200) && took <= high + seconds(1_200),
        "{took:?} is not within {low:?} to {high:?}"
    );
    said.promoted_after.unwrap()
}

/// Bug: a plan that begins in the evening was said to take as long as one that begins in the morning, four times too short.
/// Cause: the planner knew requests a second and no hours. Fix: traffic by the hour of the day, once a day was seen.
#[test]
fn a_plan_that_begins_at_night_is_said_to_wait_for_the_day() {
    // Requests come from 8 to 20 o'clock, and hardly any at night.
    let by_day = |hour: u64| if (8..20).contains(&(hour % 24)) { 30 } else { 1 };
    let (by_night, by_day) =
        (said_of_a_plan_begun_after(48 + 20, by_day), said_of_a_plan_begun_after(48 + 9, by_day));
    assert!(by_night >= by_day + seconds(8 * HOUR), "{by_day:?} by day, {by_night:?} by night");
}

/// Bug: a plan that begins on a Friday night was said to take as long as one that begins on a Thursday night. Cause: of traffic no
/// more than the hours of a day were known. Fix: once a week was seen, its hours are.
#[test]
fn a_plan_that_begins_on_a_friday_is_said_to_wait_for_the_week() {
    // Requests come from Monday to Friday, and hardly any at the weekend.
    let on_weekdays = |hour: u64| if hour / 24 % 7 < 2 { 1 } else { 12 };
    let (friday, thursday) = (
        said_of_a_plan_begun_after(7 * 24 + 6 * 24 + 23, on_weekdays),
        said_of_a_plan_begun_after(7 * 24 + 5 * 24 + 23, on_weekdays),
    );
    assert!(friday >= thursday + seconds(16 * HOUR), "{thursday:?} on a Thursday, {friday:?} on a Friday");
}

/// Bug: a latency that is to be within so many milliseconds was said never to be shown. Cause: live was taken to be beyond it as often
/// as it may be, whatever its latencies are. Fix: how often live is beyond the limit is read off them.
#[test]
fn a_latency_within_a_time_is_forecast_by_how_long_live_takes() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let plan = Plan::new([Step::canary(0.5).unwrap()]).unwrap().cycle(Duration::ZERO);
    let said = |milliseconds: u64| {
        let mut traffic = Traffic::new(50.0);
        traffic.latency = vec![
            LatencyPoint::new(0.5, Duration::from_millis(20)),
            LatencyPoint::new(0.99, Duration::from_millis(80)),
            LatencyPoint::new(0.999, Duration::from_millis(100)),
        ];
        let rule = guard::latency(0.95).within(Duration::from_millis(milliseconds)).unwrap();
        service.forecast(&[rule], &plan, &traffic).unwrap()
    };
    let (roomy, tight) = (said(100), said(79));
    assert!(roomy.promoted_after.unwrap() < tight.promoted_after.unwrap(), "{roomy} {tight}");
    // Live itself is slower than that: no candidate as good as it is shown to keep it.
    assert!(said(50).promoted_after.is_none());
}

/// Bug: what is kept for the watch after a promotion was not known to be spent. Cause: errors were divided as for a plan that is not
/// watched. Fix: they are divided as the rollout's are.
#[test]
fn a_plan_that_is_watched_is_said_to_see_harm_later() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
    let rules = [guard::accuracy().at_most_below_live(0.02).unwrap()];
    let harm = |plan: &Plan| {
        let said = service.forecast(&rules, plan, &Traffic::new(1.0)).unwrap();
        let guard = &said.steps[0].guards[0];
        let Between { low, high, .. } = guard.harm_between.unwrap();
        assert!(low <= guard.harm_after.unwrap() && guard.harm_after.unwrap() <= high);
        guard.harm_after.unwrap()
    };
    let plan = Plan::new([Step::shadow(1.0).unwrap()]).unwrap();
    let watched = plan.clone().bake(Bake::new(seconds(3_600)));
    assert!(harm(&watched) > harm(&plan));
}

/// Bug: a plan of three steps was said to take 17 to 19 days where it took 11. Cause: each step was asked as if nothing had been
/// counted before it. Fix: whole plans are rehearsed, and what was counted stays.
#[test]
#[ignore = "long: many rollouts"]
fn what_one_step_has_counted_shortens_the_next() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
    let traffic = Traffic::new(1.0);
    let rules = [guard::accuracy().at_most_below_live(0.02).unwrap()];
    let said = |steps: Vec<Step>| {
        let said = service.forecast(&rules, &Plan::new(steps).unwrap(), &traffic).unwrap();
        (said.steps.iter().map(|step| step.lasts.unwrap()).collect::<Vec<_>>(), said)
    };
    let shadow = || Step::shadow(1.0).unwrap();
    let canary = |share| Step::canary(share).unwrap();
    let (alone, _) = said(vec![canary(0.2), canary(0.5)]);
    let (after, whole) = said(vec![shadow(), canary(0.2), canary(0.5)]);
    assert!(after[1] * 2 < alone[0], "{after:?} {alone:?}");
    let Between { low, high, .. } = whole.promoted_between.unwrap();
    assert!(low <= whole.promoted_after.unwrap() && whole.promoted_after.unwrap() <= high);
    assert!(whole.guessed && whole.to_string().contains("known better once there are pairs"), "{whole}");
}

/// Statistics 3.9, 14: fifty labels a day, a tenth of them on the canary, errors of 2 %: twice as many are seen after some
/// hundred days. The planner says so before anything runs, and the handle when it is run.
#[test]
fn what_cannot_be_decided_is_said_before_it_is_tried() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let mut traffic = Traffic::new(50.0 / 86_400.0);
    traffic.wrong = 0.02;
    let rules = [guard::accuracy().at_most_times_live(1.25).unwrap()];
    let small =
        service.forecast(&rules, &Plan::new([Step::canary(0.1).unwrap()]).unwrap(), &traffic).unwrap();
    assert!(small.promoted_after.is_none());
    assert!(
        small
            .to_string()
            .starts_with("the plan cannot be decided: \"wrong answers at most 1.25 times live\""),
        "{small}"
    );

    // Ten requests a second, for minutes, and labels for none of them: nothing is known but the traffic.
    for _ in 0..60 {
        ask(&service, 10);
        tick(&service, &clock);
    }
    let rollout =
        service.stage("v2", says("two", 0.1)).unwrap().guard(guard::error_rate().at_most_times_live(1.05));
    let step = Step::canary(0.01).unwrap().max_duration(seconds(60));
    rollout.run(plan([step])).unwrap();
    let said = events(&service, |kind| match kind {
        EventKind::Undecidable { forecast, .. } => Some(forecast.clone()),
        _ => None,
    });
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("will not be decided at a canary of 1 % within 60 seconds"), "{said:?}");
}

/// Bug: a plan whose step asks for a hundred predictions, of which six come in its time, was run without a word, and ended without a
/// decision. Cause: the warning asked whether guards can decide, and one with a wide margin can with few. Fix: it asks whether the step
/// gets the predictions that it waits for, too.
#[test]
fn a_step_that_does_not_get_its_predictions_in_time_is_said_so() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    for _ in 0..60 {
        ask(&service, 10);
        tick(&service, &clock);
    }
    let rollout = service.stage("v2", says("two", 0.1)).unwrap().guard(guard::error_rate().at_most(0.6));
    let step = Step::canary(0.01).unwrap().max_duration(seconds(60));
    rollout.run(plan([step])).unwrap();
    let said = events(&service, |kind| match kind {
        EventKind::Undecidable { forecast, .. } => Some(forecast.clone()),
        _ => None,
    });
    let warned = "the 100 predictions that its step asks for take about 17 minutes at a canary of 1 %, as traffic is: \
                  more than 60 seconds";
    assert_eq!(said, [warned]);
    for _ in 0..70 {
        ask(&service, 10);
        tick(&service, &clock);
    }
    let paused = events(&service, |kind| match kind {
        EventKind::Paused { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(paused, ["guards were inconclusive for longer than the plan allows"]);
}

/// Bug: of a plan whose step asks for a thousand outcomes, of which some hundred come in a day, it was said that it takes a day, and one that
/// is given up after a thousand predictions was said to be promoted in the end. Cause: of what a step asks for and allows the forecast knew
/// predictions and times alone, and of the other things nothing. Fix: it knows all four.
///
/// Bug: a plan that decides within its hour was said not to, where its last step waits for its cycle of a day. Cause: what a step may take was
/// held against how long it lasts. Fix: against how long it takes to be decided.
#[test]
fn a_forecast_knows_all_that_a_step_asks_for_and_allows() {
    let service = builder(&clock()).live("v1", says("one", 0.1)).build().unwrap();
    let (wide, narrow) =
        (guard::error_rate().at_most(0.3).unwrap(), guard::error_rate().at_most(0.01).unwrap());
    let mut traffic = Traffic::new(1.0);
    (traffic.labelled, traffic.error_rate) = (0.01, 0.001);
    let day = Duration::from_secs(86_400);
    let forecast = |rule: &Rule, step: Step| {
        let plan = Plan::new([step]).unwrap();
        service.forecast(std::slice::from_ref(rule), &plan, &traffic).unwrap()
    };
    let of = |step: Step| forecast(&wide, step);
    let canary = || Step::canary(0.1).unwrap();
    let usual = of(canary()).promoted_after.unwrap();
    assert!((day..day + day / 10).contains(&usual), "{usual:?}");
    // At one request in ten of one a second, of which one in a hundred is labelled, these take 11.6 days.
    let labelled = of(canary().min_labels(1_000)).promoted_after.unwrap();
    assert!((day * 11..day * 13).contains(&labelled), "{labelled:?}");
    let spent = forecast(&narrow, canary().max_predictions(20).min_predictions(10));
    assert_eq!(spent.promoted_after, None);
    let told = "and the plan allows 20 predictions, which take about 3.3 minutes";
    assert!(spent.undecidable[0].ends_with(told), "{spent}");
    let waits = of(canary().max_duration(Duration::from_secs(3_600))).promoted_after;
    assert_eq!(waits, Some(usual), "it is shown within the hour, and waits");
}

/// Bug: a plan whose step asks for more outcomes than come in its time was run without a word. Cause: the warning counted predictions alone. Fix: it
/// counts both.
#[test]
fn a_step_that_does_not_get_its_outcomes_in_time_is_said_so() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    for _ in 0..60 {
        for (number, answer) in ask(&service, 10).into_iter().enumerate() {
            if number == 0 {
                service.feedback(answer.id(), Outcome::class(0));
            }
        }
        tick(&service, &clock);
    }
    let rollout = service.stage("v2", says("two", 0.1)).unwrap().guard(guard::error_rate().at_most(0.6));
    let step = Step::canary(0.5).unwrap().max_duration(seconds(60)).min_predictions(10).min_labels(1_000);
    rollout.run(plan([step])).unwrap();
    let said = events(&service, |kind| match kind {
        EventKind::Undecidable { forecast, .. } => Some(forecast.clone()),
        _ => None,
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with(
            "the 1000 outcomes that its step asks for take about 33 minutes at a canary of 50 %"
        ),
        "{said:?}"
    );
}

#[test]
fn a_forecast_rests_on_numbers_that_make_sense() {
    let service = builder(&clock()).live("v1", says("one", 0.1)).build().unwrap();
    let rule = guard::accuracy().at_most_below_live(0.02).unwrap();
    let plan = Plan::new([Step::canary(0.1).unwrap()]).unwrap();
    let said = |traffic: &Traffic| {
        service.forecast(std::slice::from_ref(&rule), &plan, traffic).unwrap_err().to_string()
    };
    assert_eq!(
        said(&Traffic::new(f64::NAN)),
        "forecast.requests_per_second is NaN: it must be at least 0 and finite"
    );
    let mut traffic = Traffic::new(10.0);
    traffic.wrong = 1.5;
    assert_eq!(said(&traffic), "forecast.wrong is 1.5: it must be between 0 and 1");
    let canary = plan.steps()[0].exposure();
    let size = service.forecast_harm(&rule, canary, -2.0, &Traffic::new(10.0)).unwrap_err().to_string();
    assert_eq!(size, "forecast.size is -2: it must be at least 0 and finite");
}

#[test]
fn traffic_is_measured_on_live() {
    let clock = clock();
    let service = builder(&clock).live("v1", wrong_from("one", 0.0, 0.1)).build().unwrap();
    assert_eq!(service.traffic(), None);
    let mut chance = Chance(1);
    for _ in 0..100 {
        for place in 0..PER_SECOND {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            if place % 2 == 0 {
                service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
            }
        }
        tick(&service, &clock);
    }
    let traffic = service.traffic().unwrap();
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 0.05, "{found} {expected}");
    assert!((traffic.requests_per_second - 10.0).abs() < 0.2);
    near(traffic.labelled, 0.5);
    near(traffic.wrong, 0.1);
    near(traffic.positives, 0.5);
    near(traffic.missed, 0.2);
}

fn automatic(
    service: &Service,
    clock: &Clock,
    model: Scripted<f64, f64>,
    budget: u64,
    until: u64,
) -> Vec<String> {
    let mut chance = Chance(9);
    let mut pass = |ticks: u64| {
        for _ in 0..ticks {
            for _ in 0..PER_SECOND {
                let input = chance.next();
                let answer = service.predict(&input).unwrap();
                service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
            }
            service.run_shadow(usize::MAX);
            tick(service, clock);
        }
    };
    pass(300);
    let rollout = service.stage("v2", model).unwrap();
    rollout.run(Plan::auto(seconds(budget))).unwrap();
    pass(until);
    let told = |event: &std::sync::Arc<Event>| event.to_string();
    service.events().iter().map(told).collect()
}

/// `Plan::auto`: margins, shares and guards are chosen; an equal version is promoted in time and a harmful one taken back.
#[test]
#[ignore = "long: many rollouts"]
fn an_automatic_plan_decides_in_its_time() {
    for (wrong, live) in [(0.1, "v2"), (0.2, "v1")] {
        let clock = clock();
        let service = builder(&clock)
            .limits(Limits::new().circuit_breaker(0))
            .live("v1", wrong_from("one", 0.0, 0.1))
            .shadowing(Shadowing::new())
            .build()
            .unwrap();
        let told = automatic(&service, &clock, wrong_from("two", 0.0, wrong), 3_000, 3_000);
        assert_eq!(service.live(), live, "{told:#?}");
        let planned = told.iter().find(|line| line.contains("will be tried as a shadow of ")).unwrap();
        assert!(
            planned.contains("guarded by error rate at most") && planned.contains("accuracy at most"),
            "{planned}"
        );
        assert!(!told.iter().any(|line| line.contains("a person will be asked")), "{told:#?}");
    }
}

/// Above the cap a person is asked: from the start, and when the time is up the plan waits.
#[test]
fn an_automatic_plan_that_has_too_little_time_hands_over_to_a_person() {
    let clock = clock();
    let service = builder(&clock)
        .limits(Limits::new().circuit_breaker(0))
        .live("v1", wrong_from("one", 0.0, 0.1))
        .shadowing(Shadowing::new())
        .build()
        .unwrap();
    let told = automatic(&service, &clock, wrong_from("two", 0.02, 0.1), 60, 120);
    assert_eq!(service.live(), "v1");
    assert!(told.iter().any(|line| line.contains("a person will be asked")), "{told:#?}");
    assert!(told.last().unwrap().starts_with("v2 is paused"), "{told:#?}");
}

#[test]
fn an_automatic_plan_needs_traffic_to_go_by_and_keeps_what_it_is_told() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let rollout = service.stage("v2", says("two", 0.1)).unwrap();
    let plan = Plan::auto(seconds(600)).on_inconclusive(OnInconclusive::RollBack);
    assert_eq!(rollout.run(plan.clone()), Err(RolloutError::NoTraffic));
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    let from_configuration: Plan =
        serde_json::from_str(r#"{"auto": "10m", "on_inconclusive": "roll_back"}"#).unwrap();
    assert_eq!(from_configuration, plan);
}

/// Bug: an automatic plan that was refused had added its guards, told of itself and begun the evidence anew. Cause: it was chosen before
/// it was asked whether it may be followed. Fix: what it brings is added where it is followed, and nowhere else.
#[test]
fn an_automatic_plan_that_is_refused_has_changed_nothing() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    ask(&service, 200);
    tick(&service, &clock);
    let rollout = service.stage("v2", says("two", 0.1)).unwrap().bake(Bake::new(seconds(3_600)));
    rollout.promote().unwrap();
    ask(&service, 200);
    tick(&service, &clock);
    let before = (rollout.status().unwrap().error_budget, service.events().len());
    assert!(matches!(rollout.run(Plan::auto(seconds(600))), Err(RolloutError::Refused(_))));
    let after = (rollout.status().unwrap().error_budget, service.events().len());
    assert_eq!(before, after);
    assert!(rollout.status().unwrap().evidence.is_empty(), "no guard was added");
}

/// Bug: an automatic plan could not be run where nothing tells of what was hidden, and was run without the accuracy the second time. Cause:
/// a guard that cannot judge here was chosen, and failed to be added after the others had been.
#[test]
fn an_automatic_plan_brings_no_guard_that_cannot_judge() {
    let clock = clock();
    let task = Task::binary(|p: &f64| *p).truth(Truth::censored(|answer| answer.probability > Some(0.5)));
    let labels = Labels::at_random().exploration(0.1);
    let service = builder(&clock).task(task).labels(labels).live("v1", says("one", 0.1)).build().unwrap();
    for _ in 0..20 {
        for answer in ask(&service, 50) {
            service.feedback(answer.id(), Outcome::class(0));
        }
        tick(&service, &clock);
    }
    let rollout = service.stage("v2", says("two", 0.1)).unwrap();
    rollout.run(Plan::auto(seconds(100_000))).unwrap();
    let guards = events(&service, |kind| match kind {
        EventKind::Planned { guards, .. } => Some(guards.clone()),
        _ => None,
    });
    assert_eq!((guards.len(), guards[0].len()), (1, 2), "{guards:?}");
}

/// Bug: an automatic plan was forecast to promote after 0 seconds. Cause: it has no steps until it is run, and a plan without a step is
/// over at once. Fix: its steps and guards are chosen for the forecast, as running it chooses them.
#[test]
fn an_automatic_plan_is_forecast_with_the_steps_that_it_would_have() {
    let clock = clock();
    let service = builder(&clock).live("v1", wrong_from("one", 0.0, 0.1)).build().unwrap();
    let mut chance = Chance(2);
    for _ in 0..50 {
        for _ in 0..PER_SECOND {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
        }
        tick(&service, &clock);
    }
    let plan = Plan::auto(seconds(1_000)).bake(Bake::new(seconds(60)));
    let rollout = service.stage("v2", wrong_from("two", 0.0, 0.1)).unwrap();
    let traffic = service.traffic().unwrap();
    let forecast = rollout.forecast_with(&plan, &traffic).unwrap();
    assert_eq!(service.forecast(&[], &plan, &traffic).unwrap(), forecast);
    assert_eq!(rollout.forecast(&plan).unwrap(), forecast);
    let known =
        |guard: &str| forecast.steps.iter().all(|step| step.guards.iter().any(|own| own.guard == guard));
    assert!(forecast.chosen && forecast.added.len() == 3 && forecast.added.iter().all(|added| known(added)));
    assert_ne!(forecast.promoted_after, Some(Duration::ZERO), "{forecast}");
    assert_eq!(forecast.promoted_after.is_some(), forecast.undecidable.is_empty(), "{forecast:?}");
    // Guards that there are keep their margins, and none is added.
    let own: Rule = "error rate at most 0.2".parse().unwrap();
    let guarded = service.forecast(std::slice::from_ref(&own), &plan, &traffic).unwrap();
    assert!(guarded.added.is_empty() && guarded.steps[0].guards[0].guard == own.to_string());
    let no_time = Plan::auto(Duration::ZERO);
    assert_eq!(
        service.forecast(&[], &no_time, &traffic),
        Err(RolloutError::Plan(switchback::plan::PlanError::NoBudget))
    );
    assert_eq!(rollout.forecast(&no_time).unwrap().undecidable.len(), 1);

    rollout.run(plan).unwrap();
    let planned = events(&service, |kind| match kind {
        EventKind::Planned { plan, .. } => {
            Some(plan.steps().iter().map(|step| step.exposure()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(planned, [forecast.steps.iter().map(|step| step.exposure).collect::<Vec<_>>()]);
}

/// A guard's own margin is kept by an automatic plan, and truth that exists only for what was shown needs no shadow.
#[test]
fn an_automatic_plan_keeps_guards_and_knows_the_truth() {
    let clock = clock();
    let service = ModelHandle::builder("clicks")
        .task(Task::binary(|p: &f64| *p).truth(Truth::CausedByAnswer))
        .labels(Labels::at_random())
        .clock(clock.clone())
        .seed(7)
        .threads(Threads::manual().stripes(1))
        .live("v1", wrong_from("one", 0.0, 0.1))
        .shadowing(Shadowing::new())
        .build()
        .unwrap();
    let mut chance = Chance(2);
    for _ in 0..50 {
        for _ in 0..PER_SECOND {
            let answer = service.predict(&chance.next()).unwrap();
            service.feedback(answer.id(), Outcome::class(1));
        }
        tick(&service, &clock);
    }
    let rollout =
        service.stage("v2", says("two", 0.9)).unwrap().guard(guard::accuracy().at_most_times_live(3.0));
    rollout.run(Plan::auto(seconds(100_000))).unwrap();
    let planned = events(&service, |kind| match kind {
        EventKind::Planned { plan, guards, .. } => Some((plan.clone(), guards.clone())),
        _ => None,
    });
    assert!(planned[0].1.is_empty());
    assert_eq!(rollout.phase(), Phase::Canary);
}

/// Bug: an automatic plan took no notice of the cycle that it was given. Cause: it chose one itself, whatever was said. Fix: only where nothing was.
#[test]
fn an_automatic_plan_has_the_cycle_that_was_said() {
    for (said, expected) in [(Some(50), "50s"), (None, "5m")] {
        let clock = clock();
        let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
        for _ in 0..20 {
            ask(&service, 50);
            tick(&service, &clock);
        }
        let plan = Plan::auto(seconds(600));
        let plan = said.map_or(plan.clone(), |said| plan.cycle(seconds(said)));
        service.stage("v2", says("two", 0.1)).unwrap().run(plan).unwrap();
        let planned = events(&service, |kind| match kind {
            EventKind::Planned { plan, .. } => Some(serde_json::to_value(plan).unwrap()["cycle"].clone()),
            _ => None,
        });
        assert_eq!(planned, [expected]);
    }
}

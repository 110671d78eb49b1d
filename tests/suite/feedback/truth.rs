//! The truth as it comes: late, for some before others, or not at all. Invariant 17.

use switchback::events::EventKind;
use switchback::feedback::FeedbackOutcome;
use switchback::guard;
use switchback::guard::Verdict;
use switchback::options::{Labels, Shadowing, Threads};
use switchback::testing::Scripted;
use switchback::{
    Answer, BuildError, Builder, Clock, Kpi, Outcome, Phase, PredictionId, Rollout, Step, Task, Truth,
};

use crate::common::*;

/// Inputs below one half are yes. This one misses some of them, and never says yes wrongly.
fn misses(name: &str, share: f64) -> Scripted<f64, f64> {
    let limit = 0.5 - share;
    Scripted::new(name, move |x: &f64| if *x < limit { 0.9 } else { 0.1 })
}

/// This one says yes too often, and misses none.
fn cries_wolf(name: &str, share: f64) -> Scripted<f64, f64> {
    let limit = 0.5 + share;
    Scripted::new(name, move |x: &f64| if *x < limit { 0.9 } else { 0.1 })
}

/// A day of predictions in each of which yes is known at once and no after twenty days.
fn yes_first(build: impl Fn(Builder<f64, f64>) -> Builder<f64, f64>) -> (Service, Rollout<f64, f64>, Clock) {
    let clock = clock();
    let base = builder(&clock)
        .threads(Threads::manual().tick_every(seconds(86_400)))
        .live("v1", cries_wolf("one", 0.1))
        .shadowing(Shadowing::new());
    let service = build(base).build().unwrap();
    // Better than live by one point, and what it gets wrong it is told first.
    let rollout =
        service.stage("v2", misses("two", 0.09)).unwrap().guard(guard::accuracy().at_most_below_live(0.01));
    rollout.shadow(1.0).unwrap();
    (service, rollout, clock)
}

fn days(
    service: &Service,
    clock: &Clock,
    waiting: &mut Vec<(u64, PredictionId, u16)>,
    chance: &mut Chance,
    days: u64,
) {
    for _ in 0..days {
        let today = clock.now().unix_seconds() / 86_400;
        for _ in 0..40 {
            let input = chance.next();
            let id = service.predict(&input).unwrap().id();
            let class = u16::from(input < 0.5);
            waiting.push((if class == 1 { today } else { today + 20 }, id, class));
        }
        service.run_shadow(usize::MAX);
        waiting.retain(|(due, id, class)| {
            let known = *due <= today;
            if known {
                service.feedback(*id, Outcome::class(*class));
            }
            !known
        });
        clock.advance(seconds(86_400));
        service.tick();
    }
}

/// Labels that come for one class first do not move a verdict. Without the wait, a better candidate is taken back within
/// days, on the labels that it does badly on.
#[test]
fn labels_that_come_for_one_class_first_do_not_move_a_verdict() {
    let (service, early, clock) = yes_first(|builder| builder.labels(Labels::at_random()));
    days(&service, &clock, &mut Vec::new(), &mut Chance(1), 20);
    assert_eq!(early.phase(), Phase::Aborted, "what comes first is not what comes");

    let month = seconds(21 * 86_400);
    let (service, patient, clock) =
        yes_first(|builder| builder.labels(Labels::complete_after(month).horizon(month * 2)));
    let (mut waiting, mut chance) = (Vec::new(), Chance(1));
    days(&service, &clock, &mut waiting, &mut chance, 21);
    assert_eq!(patient.status().unwrap().evidence[0].samples, 0, "nothing is complete yet");
    days(&service, &clock, &mut waiting, &mut chance, 150);
    let evidence = &patient.status().unwrap().evidence[0];
    assert!(patient.phase() == Phase::Shadow && evidence.samples > 4_000, "{evidence}");
    assert_eq!(evidence.verdict, Verdict::Pass);
}

/// How much of which time is known stands in `status()`; what comes when its time is over counts in the figures alone.
#[test]
fn coverage_is_told_by_cohort_and_late_labels_are_no_evidence() {
    let clock = clock();
    let service = builder(&clock)
        .labels(Labels::complete_after(seconds(160)))
        .live("v1", cries_wolf("one", 0.0))
        .shadowing(Shadowing::new())
        .build()
        .unwrap();
    let rollout =
        service.stage("v2", misses("two", 0.0)).unwrap().guard(guard::accuracy().at_most_below_live(0.1));
    rollout.shadow(1.0).unwrap();
    let answers: Vec<Answer<f64>> = ask(&service, 100);
    service.run_shadow(usize::MAX);
    tick(&service, &clock);
    for answer in &answers[..60] {
        service.feedback(answer.id(), Outcome::class(0));
    }
    let cohorts = |rollout: &Rollout<f64, f64>| rollout.status().unwrap().cohorts;
    assert!(cohorts(&rollout).iter().all(|cohort| !cohort.matured));
    clock.advance(seconds(180));
    service.tick();
    let [cohort] = cohorts(&rollout).try_into().unwrap_or_else(|_| panic!("one cohort"));
    assert!(cohort.matured);
    assert_eq!((cohort.candidate.predictions, cohort.candidate.labelled), (100, 60));
    assert_eq!(rollout.status().unwrap().evidence[0].samples, 60);
    for answer in &answers[60..] {
        assert_eq!(service.feedback(answer.id(), Outcome::class(0)), FeedbackOutcome::Counted);
    }
    clock.advance(seconds(400));
    service.tick();
    let status = rollout.status().unwrap();
    assert_eq!((status.evidence[0].samples, status.candidate.outcomes), (60, 100));
    assert!(status.labels_late > 0);
}

/// A version whose users tell less of it is not promoted on what those tell who do.
#[test]
fn labels_that_arrive_in_another_share_block_a_promotion() {
    let run = |lost: f64| {
        let clock = clock();
        let service = builder(&clock).live("v1", misses("one", 0.1)).build().unwrap();
        let rollout = service
            .stage("v2", misses("two", 0.0))
            .unwrap()
            .guard(guard::accuracy().at_most_below_live(0.05));
        rollout.run(plan([Step::canary(0.5).unwrap().min_predictions(1_000)])).unwrap();
        let mut chance = Chance(2);
        for _ in 0..60 {
            for _ in 0..100 {
                let input = chance.next();
                let answer = service.predict(&input).unwrap();
                if answer.version() == "v1" || chance.next() >= lost {
                    service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
                }
            }
            tick(&service, &clock);
        }
        (service.live(), rollout.status().unwrap())
    };
    assert_eq!(run(0.0).0, "v2");
    let (live, status) = run(0.3);
    assert_eq!(live, "v1");
    let evidence = &status.evidence[0];
    assert!(
        evidence.verdict == Verdict::Inconclusive && evidence.note.as_ref().unwrap().contains("labels"),
        "{evidence}"
    );
}

fn hides_what_is_blocked() -> Truth {
    Truth::censored(|answer| answer.probability.is_some_and(|p| p >= 0.5))
}

/// Payments: what is called yes is blocked, and nobody ever learns whether it was.
fn payments(
    explore: Option<f64>,
    candidate: Scripted<f64, f64>,
    payments: usize,
) -> (Service, Rollout<f64, f64>) {
    let clock = clock();
    let task = Task::binary(|p: &f64| *p).truth(hides_what_is_blocked());
    let base = builder(&clock).task(task).live("v1", misses("one", 0.05)).shadowing(Shadowing::new());
    // Labels of the common builder, with a share that is let through where one is asked for.
    let labels = Labels::at_random();
    let base = base.labels(explore.map_or(labels.clone(), |share| labels.exploration(share)));
    let service = base.build().unwrap();
    let rollout = service.stage("v2", candidate).unwrap().guard(guard::accuracy().at_most_below_live(0.02));
    rollout.run(plan([Step::shadow(1.0).unwrap()])).unwrap();
    let mut chance = Chance(3);
    for _ in 0..payments / 100 {
        for _ in 0..100 {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            let blocked = *answer.output() >= 0.5 && !answer.is_explored();
            if !blocked {
                service.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
            }
        }
        service.run_shadow(usize::MAX);
        tick(&service, &clock);
    }
    (service, rollout)
}

/// Truth that answers hide: without exploring there is harm to be seen, and no equality; with it there is both.
#[test]
fn what_answers_hide_is_bounded_unless_some_of_it_is_let_through() {
    // Blocks what live passes, wrongly: its truth is known.
    let (_, worse) = payments(None, cries_wolf("two", 0.2), 3_000);
    assert_eq!(worse.phase(), Phase::Aborted);

    let (service, fine) = payments(None, misses("two", 0.05), 6_000);
    assert_eq!(service.live(), "v1");
    let evidence = &fine.status().unwrap().evidence[0];
    assert!(evidence.note.as_ref().unwrap().contains("explore"), "{evidence}");

    let (service, _) = payments(Some(0.1), misses("two", 0.05), 6_000);
    assert_eq!(service.live(), "v2");

    // Passes what live blocks, wrongly: only what is let through tells.
    let (_, lax) = payments(None, misses("two", 0.25), 6_000);
    assert_eq!(lax.phase(), Phase::Shadow, "nobody can know");
    let (_, lax) = payments(Some(0.1), misses("two", 0.25), 12_000);
    assert_eq!(lax.phase(), Phase::Aborted);
}

/// Bug: a candidate that blocks fewer of the honest was taken back for harm. Cause: of what live had blocked and chance let through,
/// what was reported counted, and what was settled by silence did not: whoever waited was not remembered to have been let through.
/// Fix: what waits and would have hidden its truth is what was let through.
#[test]
fn what_is_let_through_and_stays_silent_counts_for_whoever_would_have_passed_it() {
    let clock = clock();
    let labels = Labels::complete_after(seconds(32)).assumed_after(seconds(30), Outcome::class(0));
    let service = builder(&clock)
        .task(Task::binary(|p: &f64| *p).truth(hides_what_is_blocked()))
        .labels(labels.exploration(0.2))
        .live("v1", cries_wolf("one", 0.2))
        .shadowing(Shadowing::new())
        .build()
        .unwrap();
    let rollout = service.stage("v2", misses("two", 0.1)).unwrap();
    let rollout = rollout.guard(guard::accuracy().at_most_below_live(0.02));
    rollout.run(plan([Step::shadow(1.0).unwrap()])).unwrap();
    let mut chance = Chance(11);
    for _ in 0..200 {
        for _ in 0..60 {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            let blocked = *answer.output() >= 0.5 && !answer.is_explored();
            if !blocked && input < 0.5 {
                service.feedback(answer.id(), Outcome::class(1));
            }
        }
        service.run_shadow(usize::MAX);
        tick(&service, &clock);
    }
    assert_eq!((service.live().as_str(), rollout.phase()), ("v2", Phase::Promoted));
}

/// A random, logged share, decided once for each prediction.
#[test]
fn exploring_lets_its_share_through_and_nothing_else() {
    let clock = clock();
    let task = Task::binary(|p: &f64| *p).truth(hides_what_is_blocked());
    let service = builder(&clock)
        .task(task)
        .labels(Labels::at_random().exploration(0.2))
        .live("v1", misses("one", 0.0))
        .build()
        .unwrap();
    let mut explored = [0; 2];
    for number in 0..4_000 {
        let answer = service.predict(&if number % 2 == 0 { 0.2 } else { 0.8 }).unwrap();
        explored[number % 2] += usize::from(answer.is_explored());
    }
    assert!(explored[1] == 0 && (330..470).contains(&explored[0]), "{explored:?}");
    let censored = total(&service.status(), "v1").censored;
    assert_eq!(censored as usize, 2_000 - explored[0]);
}

/// Clicks exist only for what was shown: a shadow has none, and a canary's are compared with live's.
#[test]
fn truth_that_the_answer_causes_is_judged_on_the_canary() {
    let clock = clock();
    let task = Task::binary(|p: &f64| *p).truth(Truth::CausedByAnswer);
    let service = builder(&clock)
        .task(task)
        .live("v1", misses("one", 0.0))
        .shadowing(Shadowing::new())
        .build()
        .unwrap();
    let rollout =
        service.stage("v2", misses("two", 0.2)).unwrap().guard(guard::accuracy().at_most_times_live(2.0));
    rollout.canary(0.3).unwrap();
    let mut chance = Chance(4);
    for _ in 0..20 {
        for _ in 0..100 {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            let noise = chance.next() < 0.05;
            service.feedback(answer.id(), Outcome::class(u16::from((input < 0.5) != noise)));
        }
        service.run_shadow(usize::MAX);
        tick(&service, &clock);
    }
    assert_eq!(rollout.phase(), Phase::Aborted);
    let sentence = events(&service, |kind| match kind {
        EventKind::GuardFailed { evidence, .. } => evidence.sentence.clone(),
        _ => None,
    });
    assert!(sentence[0].contains("labelled requests beside "), "{sentence:?}");
}

/// Where silence means something, labels are complete when it says so.
#[test]
fn silence_is_evidence_with_the_labels_of_its_time() {
    let clock = clock();
    let service = builder(&clock)
        .task(Task::binary(|p: &f64| *p).truth(Truth::CausedByAnswer).kpi(Kpi::rate("unused").unwrap()))
        .labels(Labels::complete_after(seconds(32)).assumed_after(seconds(30), Outcome::class(0)))
        .live("v1", misses("one", 0.0))
        .build()
        .unwrap();
    let rollout =
        service.stage("v2", misses("two", 0.0)).unwrap().guard(guard::accuracy().at_most_below_live(0.3));
    rollout.canary(0.5).unwrap();
    let mut chance = Chance(5);
    for _ in 0..120 {
        for _ in 0..10 {
            let input = chance.next();
            let answer = service.predict(&input).unwrap();
            if input < 0.5 {
                service.feedback(answer.id(), Outcome::class(1));
            }
        }
        tick(&service, &clock);
    }
    let status = rollout.status().unwrap();
    let evidence = &status.evidence[0];
    // Ninety seconds of predictions are complete, silent ones as well.
    assert!((400..500).contains(&evidence.samples), "{evidence}");
    assert_eq!(evidence.observed, Some(1.0));
    assert!(
        status
            .cohorts
            .iter()
            .filter(|cohort| cohort.matured)
            .all(|c| c.candidate.predictions == c.candidate.labelled)
    );
}

/// Bug: with ticks rarer than silence is long, clicks were evidence and silence came too late to be, so that rates seemed
/// higher than they were and labels to be missing. Cause: predictions already due when a tick first saw them were settled at
/// the next one. Fix: they are settled at once. And where silence itself says when labels are complete, those of its time had become evidence
/// just before: they wait for it.
#[test]
fn silence_is_evidence_where_ticks_are_rarer_than_it_is_long() {
    let clock = clock();
    let service = builder(&clock)
        .threads(Threads::manual().tick_every(seconds(3_600)))
        .live("v1", says("one", 0.5))
        .labels(Labels::new().assumed_after(seconds(1_800), Outcome::class(0)))
        .build()
        .unwrap();
    let rollout =
        service.stage("v2", says("two", 0.4)).unwrap().guard(guard::accuracy().at_most_below_live(0.01));
    rollout.canary(0.5).unwrap();
    for _ in 0..10 {
        for (number, answer) in ask(&service, 100).into_iter().enumerate() {
            clock.advance(seconds(36));
            if number % 4 == 0 {
                service.feedback(answer.id(), Outcome::class(1));
            }
        }
        service.tick();
    }
    clock.advance(seconds(7_200));
    service.tick();
    let status = crate::common::rollout(&service.status(), 1);
    assert_eq!(status.labels_late, 0);
    let matured = status.cohorts.iter().filter(|cohort| cohort.matured);
    let (made, labelled) = matured.fold((0, 0), |(made, labelled), cohort| {
        (made + cohort.candidate.predictions, labelled + cohort.candidate.labelled)
    });
    assert!(made > 300 && labelled == made, "{labelled} of {made}");
}

/// Bug: a candidate that sells more was taken back, since half of what it sold lay beyond the figure's bounds. Cause: a value that is refused
/// left no mark, and was counted as silence later. Fix: what was said is no silence.
#[test]
fn a_value_that_was_refused_is_no_silence() {
    let clock = clock();
    let task = Task::binary(|p: &f64| *p).truth(Truth::CausedByAnswer);
    let service = builder(&clock)
        .task(task.kpi(Kpi::bounded("basket", 0.0, 200.0).unwrap()))
        .labels(Labels::new().assumed_after(seconds(30), Outcome::kpi("basket", 0.0)))
        .live("v1", says("one", 0.5))
        .build()
        .unwrap();
    let answers = ask(&service, 100);
    for (number, answer) in answers.iter().enumerate().filter(|(number, _)| number % 2 == 0) {
        let worth = if number % 4 == 0 { 100.0 } else { 250.0 };
        service.feedback(answer.id(), Outcome::kpi("basket", worth));
    }
    for _ in 0..40 {
        tick(&service, &clock);
    }
    let status = service.status();
    let basket = &total(&status, "v1").kpis[0];
    // 25 of 100, 50 of nothing, and 25 that are not known.
    assert_eq!((basket.outcomes, basket.mean), (75, Some(2_500.0 / 75.0)));
}

/// Bug: a figure with bounds as far apart as numbers go was compared as if nearly all of its values were the same, and its largest as not a
/// number. Cause: a value is compared by where it lies between its bounds, and their distance was infinite. Fix: such bounds are refused, with
/// the figure that has none.
#[test]
fn bounds_further_apart_than_a_number_can_say_are_refused() {
    for (low, high) in [(f64::MIN, f64::MAX), (-1e308, 1e308)] {
        let refused = Kpi::bounded("revenue", low, high).unwrap_err().to_string();
        assert!(refused.starts_with("the upper bound of business figure `revenue` is "), "{refused}");
        assert!(refused.ends_with("or none with `Kpi::unbounded`"), "{refused}");
    }
    assert!(Kpi::bounded("revenue", 0.0, f64::MAX).is_ok());
}

/// Bug: a candidate that says yes to everything passed a guard of accuracy, where labels were complete after an hour and silence meant no
/// after a day. Cause: what silence means was settled when the labels of its time had been taken, so spoken ones alone were evidence, and of
/// these all are yes. Fix: it is refused.
#[test]
fn silence_that_is_settled_after_labels_are_complete_is_refused() {
    let build = |silence: u64| {
        let labels =
            Labels::complete_after(seconds(3_600)).assumed_after(seconds(silence), Outcome::class(0));
        builder(&clock()).labels(labels).live("v1", misses("one", 0.0)).build()
    };
    assert!(build(3_600).is_ok());
    let refused = build(86_400).unwrap_err().to_string();
    let told =
        "labels.assumed_after is 86400 s: it must be at most the 3600 s after which labels are complete";
    assert_eq!(refused, told);
}

/// Bug: a version whose clicks come fast seemed to be clicked more, where labels were said to come at random and silence to mean no. Cause: what was
/// said was evidence at once, and what silence means once it was settled. Fix: the two contradict each other, and are refused together.
#[test]
fn labels_that_come_at_random_and_whose_silence_means_something_are_refused() {
    let labels = Labels::at_random().assumed_after(seconds(60), Outcome::class(0));
    let refused = builder(&clock()).labels(labels).live("v1", misses("one", 0.0)).build();
    assert!(matches!(refused, Err(BuildError::Option(_))));
    let told = "labels.assumed_after is 60 s: it must be left out with labels.at_random, where a label that does not come says nothing";
    assert_eq!(refused.unwrap_err().to_string(), told);
}

//! Late truth: joined to the version that was assigned, once, whatever has happened meanwhile.

use switchback::events::EventKind;
use switchback::feedback::{FeedbackCounts, FeedbackOutcome, FeedbackRefusal};
use switchback::options::{Labels, Limits, Shadowing, Threads};
use switchback::stats::{Metric, QualityFigures};
use switchback::testing::Scripted;
use switchback::{Answer, BuildError, Kpi, ModelHandle, Outcome, PredictionId, Route, Task, Truth};

use crate::common::*;

const DAY: u64 = 86_400;

fn counts(service: &Service) -> FeedbackCounts {
    service.status().feedback
}

/// Bug: of two handles with one seed and one secret each counted what became known of the other's predictions. Cause: which process made a prediction
/// followed from the seed alone. Fix: from the name of the handle too.
#[test]
fn handles_with_one_seed_and_one_secret_tell_their_predictions_apart() {
    let named = |name: &str| -> Service {
        let builder = ModelHandle::builder(name).task(Task::binary(|p: &f64| *p)).clock(clock());
        let builder = builder.live("v1", says("one", 0.1)).threads(Threads::manual().stripes(1));
        builder.seed(7).secret([1; 16]).build().unwrap()
    };
    let (late, early) = (named("late"), named("early"));
    let answer = late.predict(&0.5).unwrap();
    let _ = early.predict(&0.5).unwrap();
    assert_eq!(early.feedback(answer.id(), Outcome::class(1)), FeedbackOutcome::Elsewhere);
    assert_eq!(late.feedback(answer.id(), Outcome::class(1)), FeedbackOutcome::Counted);
}

/// Invariant 6: evidence follows the version that was assigned, also after it is gone.
#[test]
fn a_label_finds_a_version_that_is_gone() {
    let clock = clock();
    let candidate = says("two", 0.9);
    let script = candidate.control();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.canary(1.0).unwrap();
    let answers = ask(&service, 10);
    let _ = rollout.rollback("complaints");
    tick(&service, &clock);
    tick(&service, &clock);
    assert!(script.is_dropped());
    clock.advance(seconds(3 * DAY));
    service.tick();
    for answer in &answers {
        assert_eq!(service.feedback(answer.id(), Outcome::class(1)), FeedbackOutcome::Counted);
    }
    let status = service.status();
    assert_eq!((total(&status, "v2").outcomes, total(&status, "v1").outcomes), (10, 0));
    let attempt = crate::common::rollout(&status, 1);
    assert_eq!((accuracy(&attempt.candidate), attempt.control.outcomes), (Some(1.0), 0));
}

#[test]
fn what_becomes_of_an_outcome_depends_on_what_came_before_and_when() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::at_random().corrections(seconds(3_600)))
        .build()
        .unwrap();
    let answers = ask(&service, 3);
    let tell = |place: usize, class| service.feedback(answers[place].id(), Outcome::class(class));
    assert_eq!(tell(0, 1), FeedbackOutcome::Counted);
    assert_eq!(tell(0, 1), FeedbackOutcome::Repeated);
    assert_eq!(accuracy(&total(&service.status(), "v1")), Some(1.0));
    assert_eq!(tell(0, 0), FeedbackOutcome::Corrected);
    assert_eq!(accuracy(&total(&service.status(), "v1")), Some(0.0));
    assert_eq!(tell(0, 0), FeedbackOutcome::Repeated);
    clock.advance(seconds(3_601));
    service.tick();
    assert_eq!(tell(0, 1), FeedbackOutcome::Settled);
    assert_eq!(tell(0, 0), FeedbackOutcome::Settled, "what the first one was is not known any more");
    clock.advance(seconds(7 * DAY - 3_601));
    assert_eq!(tell(1, 1), FeedbackOutcome::Counted);
    clock.advance(seconds(1));
    assert_eq!(tell(2, 1), FeedbackOutcome::Expired);

    let figures = total(&service.status(), "v1");
    assert_eq!((figures.outcomes, figures.labelled_units, accuracy(&figures)), (2, 2, Some(0.5)));
    let counts = counts(&service);
    let told = (counts.counted, counts.repeated, counts.corrected, counts.settled, counts.expired);
    assert_eq!(told, (2, 2, 1, 2, 1));
}

#[test]
fn an_outcome_that_was_known_too_late_is_expired_whenever_it_is_told() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::at_random().horizon(seconds(100)))
        .build()
        .unwrap();
    let answer = ask(&service, 1)[0];
    let late = clock.now().plus(seconds(101));
    assert_eq!(service.feedback(answer.id(), Outcome::class(1).known_at(late)), FeedbackOutcome::Expired);
    assert_eq!(
        service.feedback(answer.id(), Outcome::class(1).known_at(clock.now())),
        FeedbackOutcome::Counted
    );
}

/// Bug: some altered ids counted: one whose share was raised above all of the traffic was read as all of it, and the code
/// is that of what was read. Fix: an id has one printed form.
#[test]
fn ids_that_were_forged_altered_or_made_elsewhere_are_told_apart_and_harmless() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.9)).build().unwrap();
    let twin = builder(&clock).live("v1", says("one", 0.9)).build().unwrap();
    let other = builder(&clock).seed(8).secret([7; 16]).live("v1", says("one", 0.9)).build().unwrap();
    let id = ask(&service, 1)[0].id();
    let printed = id.to_string();

    let mut unknown = 0;
    for place in 0..printed.len() {
        for letter in ["A", "b", "7", "_"] {
            let altered = format!("{}{letter}{}", &printed[..place], &printed[place + 1..]);
            if altered == printed {
                continue;
            }
            if let Ok(altered) = altered.parse::<PredictionId>() {
                assert_eq!(service.feedback(altered, Outcome::class(1)), FeedbackOutcome::Unknown);
                unknown += 1;
            }
        }
    }
    assert!(unknown > 100, "{unknown} altered ids still parse");
    for elsewhere in [ask(&twin, 1)[0].id(), ask(&other, 1)[0].id()] {
        assert_eq!(service.feedback(elsewhere, Outcome::class(1)), FeedbackOutcome::Unknown);
        let printed: PredictionId = elsewhere.to_string().parse().unwrap();
        assert_eq!(service.feedback(printed, Outcome::class(1)), FeedbackOutcome::Unknown);
    }
    for nonsense in ["", "nonsense", "AAAA", &printed[1..], &format!("{printed}AA"), &"x".repeat(10_000)] {
        assert!(nonsense.parse::<PredictionId>().is_err(), "{nonsense:.40}");
    }
    assert_eq!((counts(&service).unknown, counts(&service).counted), (unknown + 4, 0));
    assert_eq!(service.feedback(printed.parse().unwrap(), Outcome::class(1)), FeedbackOutcome::Counted);
    assert_eq!(
        service.feedback(id, Outcome::class(1)),
        FeedbackOutcome::Repeated,
        "printed or not, it is the same"
    );
}

#[test]
fn what_does_not_fit_the_task_is_refused_and_counted() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .task(
            Task::binary(|probability: &f64| *probability)
                .kpi(Kpi::rate("click").unwrap())
                .kpi(Kpi::bounded("seconds", 0.0, 600.0).unwrap()),
        )
        .build()
        .unwrap();
    let id = ask(&service, 1)[0].id();
    let refused = [
        (Outcome::class(2), FeedbackRefusal::NotOfThisTask),
        (Outcome::value(1.0), FeedbackRefusal::NotOfThisTask),
        (Outcome::relevant([1]), FeedbackRefusal::NotOfThisTask),
        (Outcome::kpi("purchase", 1.0), FeedbackRefusal::UndeclaredKpi),
        (Outcome::kpi("seconds", 601.0), FeedbackRefusal::OutOfBounds),
        (Outcome::kpi("click", f64::NAN), FeedbackRefusal::OutOfBounds),
    ];
    for (outcome, refusal) in refused {
        assert_eq!(service.feedback(id, outcome), FeedbackOutcome::Refused(refusal));
    }
    assert_eq!(counts(&service).refused, 6);
    assert_eq!(service.feedback(id, Outcome::class(1)), FeedbackOutcome::Counted, "none of them used it up");

    let twice = builder(&clock)
        .live("v1", says("one", 0.9))
        .task(
            Task::binary(|probability: &f64| *probability)
                .kpi(Kpi::rate("a").unwrap())
                .kpi(Kpi::rate("a").unwrap()),
        )
        .build();
    assert!(matches!(twice, Err(BuildError::Kpi { .. })));
}

/// Invariant 6: at most once per figure. Bug: an outcome of each figure counted its prediction as labelled anew, so a
/// plan that waited for labels went on after a fraction of them. Fix: the first of them counts it.
#[test]
fn a_prediction_with_a_truth_and_business_figures_is_one_that_is_labelled() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .task(
            Task::binary(|probability: &f64| *probability)
                .kpi(Kpi::rate("click").unwrap())
                .kpi(Kpi::bounded("seconds", 0.0, 600.0).unwrap()),
        )
        .build()
        .unwrap();
    let answers = ask(&service, 10);
    for (place, answer) in answers.iter().enumerate() {
        let outcomes = [Outcome::class(1), Outcome::kpi("click", 1.0), Outcome::kpi("seconds", place as f64)];
        // Of a business figure it is not known any more what was told.
        let again = [FeedbackOutcome::Repeated, FeedbackOutcome::Settled, FeedbackOutcome::Settled];
        for (outcome, again) in outcomes.into_iter().zip(again) {
            assert_eq!(service.feedback(answer.id(), outcome.clone()), FeedbackOutcome::Counted);
            assert_eq!(service.feedback(answer.id(), outcome), again);
        }
    }
    let figures = total(&service.status(), "v1");
    assert_eq!((figures.outcomes, figures.labelled_units), (10, 10));
    let means: Vec<_> = figures.kpis.iter().map(|kpi| (&*kpi.name, kpi.outcomes, kpi.mean)).collect();
    assert_eq!(means, [("click", 10, Some(1.0)), ("seconds", 10, Some(4.5))]);
}

/// Invariant 6: a candidate that failed and was answered for by live is judged by its failure; what live answered in
/// its place is no evidence for live.
#[test]
fn the_outcome_of_a_request_that_fell_back_is_the_candidates() {
    let clock = clock();
    let candidate = says("two", 0.9);
    candidate.control().fail();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .limits(Limits::new().circuit_breaker(0))
        .build()
        .unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.canary(1.0).unwrap();
    for answer in ask(&service, 20) {
        assert_eq!(answer.route(), Route::Fallback);
        assert_eq!(service.feedback(answer.id(), Outcome::class(1)), FeedbackOutcome::Counted);
    }
    let status = rollout.status().unwrap();
    assert_eq!((accuracy(&status.candidate), status.candidate.outcomes), (Some(0.0), 20));
    assert_eq!((status.control.requests, status.control.outcomes, status.control.substitutes), (0, 0, 20));
}

#[test]
fn an_outcome_may_come_before_the_shadow_has_had_its_turn() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.9)).shadowing(Shadowing::new()).build().unwrap();
    let rollout = service.stage("v2", says("two", 0.1)).unwrap();
    rollout.shadow(1.0).unwrap();
    let answers = ask(&service, 10);
    let label = |answers: &[Answer<f64>]| {
        for answer in answers {
            service.feedback(answer.id(), Outcome::class(1));
        }
    };
    label(&answers[..5]);
    assert_eq!(counts(&service).pairs_waiting, 5);
    service.run_shadow(usize::MAX);
    label(&answers[5..]);
    let status = rollout.status().unwrap();
    assert_eq!((status.divergence.only_live_right, status.candidate.outcomes), (10, 10));
    assert_eq!(counts(&service).pairs_waiting, 0);
}

/// Bug: an outcome that was corrected before the shadow's turn met the shadow as it was at first, and a later correction
/// took away what had never been added. Fix: what waits for the shadow is corrected too.
#[test]
fn a_correction_reaches_the_shadow_before_and_after_its_turn() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.9)).shadowing(Shadowing::new()).build().unwrap();
    let rollout = service.stage("v2", says("two", 0.1)).unwrap();
    rollout.shadow(1.0).unwrap();
    let id = ask(&service, 1)[0].id();
    let figures = || {
        let status = rollout.status().unwrap();
        let pairs = status.divergence.clone();
        (
            pairs.only_live_right,
            pairs.only_candidate_right,
            status.candidate.outcomes,
            accuracy(&status.candidate),
        )
    };
    service.feedback(id, Outcome::class(1));
    assert_eq!(service.feedback(id, Outcome::class(0)), FeedbackOutcome::Corrected);
    service.run_shadow(1);
    assert_eq!(figures(), (0, 1, 1, Some(1.0)));
    assert_eq!(service.feedback(id, Outcome::class(1)), FeedbackOutcome::Corrected);
    assert_eq!(figures(), (1, 0, 1, Some(0.0)));
    assert_eq!(rollout.status().unwrap().candidate.labelled_units, 1);
}

#[test]
fn silence_is_an_outcome_after_the_time_that_was_said() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
        .build()
        .unwrap();
    let answers = ask(&service, 10);
    for answer in &answers[..3] {
        service.feedback(answer.id(), Outcome::class(1));
    }
    clock.advance(seconds(59));
    service.tick();
    assert_eq!((counts(&service).assumed, counts(&service).awaiting), (0, 10));
    clock.advance(seconds(1));
    service.tick();
    let now = counts(&service);
    assert_eq!((now.assumed, now.awaiting, now.counted), (7, 0, 3));
    assert_eq!(
        service.feedback(answers[9].id(), Outcome::class(1)),
        FeedbackOutcome::Corrected,
        "late, not too late"
    );
    let figures = total(&service.status(), "v1");
    assert_eq!((figures.outcomes, accuracy(&figures)), (10, Some(0.4)));

    let misfit = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::value(0.0)));
    assert!(matches!(misfit.build(), Err(BuildError::Assumption(FeedbackRefusal::NotOfThisTask))));
}

/// Bug: a truth that was known before silence was taken for an outcome, and came after it with the time at which it was known, was refused
/// as outdated; so was each that another process of a fleet had brought. Cause: an assumption counted as known when it was made. Fix: it is
/// known by nobody.
#[test]
fn what_was_known_in_time_and_comes_late_takes_the_place_of_what_was_assumed() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
        .build()
        .unwrap();
    let asked = clock.now();
    let answers = ask(&service, 2);
    clock.advance(seconds(100));
    service.tick();
    assert_eq!(counts(&service).assumed, 2);
    let known = |after: u64, class: u16| Outcome::class(class).known_at(asked.plus(seconds(after)));
    assert_eq!(service.feedback(answers[0].id(), known(50, 1)), FeedbackOutcome::Corrected);
    assert_eq!(service.feedback(answers[0].id(), known(40, 0)), FeedbackOutcome::Outdated);
    // Nor does it matter that somebody says what was assumed.
    assert_eq!(service.feedback(answers[1].id(), known(30, 0)), FeedbackOutcome::Repeated);
    assert_eq!(service.feedback(answers[1].id(), known(40, 1)), FeedbackOutcome::Corrected);
    assert_eq!(accuracy(&total(&service.status(), "v1")), Some(1.0));
}

/// Bug: what was sold after its silence had been taken for nothing counted nowhere, and was told to be a repeat. Cause: only truths were kept to be
/// corrected. Fix: so is what was assumed of a business figure, until it is told once.
#[test]
fn a_business_figure_that_is_told_takes_the_place_of_what_was_assumed_of_it() {
    let clock = clock();
    let task = Task::binary(|p: &f64| *p).truth(Truth::CausedByAnswer);
    let service = builder(&clock)
        .task(task.kpi(Kpi::bounded("basket", 0.0, 200.0).unwrap()))
        .live("v1", says("one", 0.9))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::kpi("basket", 0.0)))
        .build()
        .unwrap();
    let answers = ask(&service, 3);
    clock.advance(seconds(60));
    service.tick();
    assert_eq!(counts(&service).assumed, 3);
    let say = |number: usize, outcome: Outcome| service.feedback(answers[number].id(), outcome);
    let sold = |worth: f64| Outcome::kpi("basket", worth);
    assert_eq!(say(0, sold(90.0)), FeedbackOutcome::Corrected);
    assert_eq!(say(0, sold(50.0)), FeedbackOutcome::Settled, "what was told stands");
    assert_eq!(say(1, sold(0.0)), FeedbackOutcome::Repeated);
    assert_eq!(say(1, sold(50.0)), FeedbackOutcome::Settled);
    // Its truth is another outcome.
    assert_eq!(say(2, Outcome::class(1)), FeedbackOutcome::Counted);
    assert_eq!(say(2, sold(30.0)), FeedbackOutcome::Corrected);
    assert_eq!(say(2, Outcome::class(0)), FeedbackOutcome::Corrected);
    let figures = total(&service.status(), "v1");
    let basket = &figures.kpis[0];
    assert_eq!((basket.outcomes, basket.mean, accuracy(&figures)), (3, Some(40.0), Some(0.0)));
}

/// Invariant 6. Bug: of a candidate's requests that fell back, those with a click counted and those without never did,
/// because only answers of its own were waited for. Fix: whatever has an id is.
#[test]
fn silence_means_the_same_of_a_request_that_fell_back() {
    let clock = clock();
    let candidate = says("two", 0.1);
    candidate.control().fail();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
        .limits(Limits::new().circuit_breaker(0))
        .build()
        .unwrap();
    let rollout = service.stage("v2", candidate).unwrap();
    rollout.canary(1.0).unwrap();
    let answers = ask(&service, 10);
    service.feedback(answers[0].id(), Outcome::class(1));
    clock.advance(seconds(61));
    service.tick();
    service.tick();
    let figures = rollout.status().unwrap().candidate;
    assert_eq!((figures.outcomes, accuracy(&figures)), (10, Some(0.0)), "it failed on every one of them");
}

/// Bugs: an assumed outcome never met the shadow of its request, so a shadow was judged by clicks alone; and a shadow's
/// own answer was waited for like one that had been given. Fix: the assumption counts for the pair, the shadow's answer
/// has no row.
#[test]
fn silence_judges_a_shadow_as_it_judges_live() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
        .shadowing(Shadowing::new())
        .build()
        .unwrap();
    let rollout = service.stage("v2", says("two", 0.1)).unwrap();
    rollout.shadow(1.0).unwrap();
    for answer in &ask(&service, 10)[..4] {
        service.feedback(answer.id(), Outcome::class(1));
    }
    service.run_shadow(usize::MAX);
    clock.advance(seconds(61));
    service.tick();
    service.tick();
    let status = rollout.status().unwrap();
    assert_eq!((status.control.outcomes, accuracy(&status.control)), (10, Some(0.4)));
    assert_eq!((status.candidate.outcomes, accuracy(&status.candidate)), (10, Some(0.6)));
    assert_eq!((status.divergence.only_live_right, status.divergence.only_candidate_right), (4, 6));
    assert_eq!((counts(&service).assumed, counts(&service).pairs_waiting), (6, 0));
}

/// Invariant 6. Bug: silence about a joint batch counted its unit as labelled once per row. Fix: what waits knows its
/// unit.
#[test]
fn silence_about_a_unit_labels_it_once() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.1))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
        .build()
        .unwrap();
    service.request().batch(&[1.0, 2.0, 3.0]);
    clock.advance(seconds(61));
    service.tick();
    service.tick();
    let figures = total(&service.status(), "v1");
    assert_eq!((figures.outcomes, figures.units, figures.labelled_units), (3, 1, 1));
}

/// Bug: silence about an answer that keeps its truth from ever being known (a payment that was blocked) was taken for
/// the assumed outcome. Fix: nothing is waited for.
#[test]
fn silence_about_what_was_censored_means_nothing() {
    let clock = clock();
    let blocked = Truth::censored(|answer| answer.probability.is_some_and(|p| p >= 0.9));
    let live = says("one", 0.1);
    live.control().lie_next(4, |_| 0.95);
    let service = builder(&clock)
        .task(Task::binary(|p: &f64| *p).truth(blocked))
        .live("v1", live)
        .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
        .build()
        .unwrap();
    ask(&service, 10);
    clock.advance(seconds(61));
    service.tick();
    service.tick();
    let figures = total(&service.status(), "v1");
    assert_eq!((figures.censored, figures.outcomes, accuracy(&figures)), (4, 6, Some(1.0)));
}

/// Bug: an answer of exactly 0.9 was not hidden by `p >= 0.9`, though the host blocked it. Cause: the function was asked with the
/// `f32` that is kept, which is 0.8999999761581421. Fix: it is asked with the shortest decimal number that the `f32` stands for.
#[test]
fn an_answer_that_is_the_limit_itself_is_hidden_as_the_host_hides_it() {
    for limit in [0.9, 0.7, 0.1, 0.35, 0.001, 1e-9, 0.5, 1.0] {
        let hidden = Truth::censored(move |answer| answer.probability.is_some_and(|p| p >= limit));
        let not_hidden = Truth::censored(move |answer| answer.probability.is_some_and(|p| p > limit));
        for (truth, censored) in [(hidden, 10), (not_hidden, 0)] {
            let clock = clock();
            let task = Task::binary(|p: &f64| *p).truth(truth);
            let service = builder(&clock).task(task).live("v1", says("one", limit)).build().unwrap();
            ask(&service, 10);
            service.tick();
            assert_eq!(total(&service.status(), "v1").censored, censored, "{limit}");
        }
    }
}

/// Invariant 11: with little memory, outcomes are thinned by a hash of the id and never by age. Those that come at once
/// and those that come at the end are kept at the same rate.
#[test]
fn fast_labels_and_slow_ones_are_thinned_alike() {
    let clock = clock();
    let memory = 2_048;
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::at_random().memory_bytes(memory))
        .build()
        .unwrap();
    let mut slow = Vec::new();
    let (mut fast_kept, mut fast, mut slow_kept) = (0, 0, 0);
    let kept = |joined| match joined {
        FeedbackOutcome::Counted => 1,
        FeedbackOutcome::Thinned => 0,
        other => panic!("{other:?}"),
    };
    for _ in 0..400 {
        for (place, answer) in ask(&service, 100).into_iter().enumerate() {
            if place % 2 == 0 {
                fast += 1;
                fast_kept += kept(service.feedback(answer.id(), Outcome::class(1)));
            } else {
                slow.push(answer.id());
            }
        }
        tick(&service, &clock);
    }
    let all_slow = slow.len();
    for id in slow {
        slow_kept += kept(service.feedback(id, Outcome::class(1)));
    }
    let (fast, slow) = (f64::from(fast_kept) / f64::from(fast), f64::from(slow_kept) / all_slow as f64);
    assert!((fast - slow).abs() < 0.02, "{fast} of the fast and {slow} of the slow ones were kept");
    assert!(fast < 0.9);
    let counts = counts(&service);
    assert_eq!(
        (counts.counted, counts.thinned),
        (fast_kept as u64 + slow_kept as u64, 40_000 - counts.counted)
    );
    assert!(counts.one_in >= 4 && counts.bitmap_bytes <= memory as u64, "{counts:?}");
}

/// Invariant 11. Bug: rows were numbered by stripes in turn, so a service that asks from one thread left all but one in
/// sixteen bits of each page unused, and its bitmap grew to sixteen times what `outcome_memory` allows. Fix: a stripe
/// gives out a page of numbers before the next goes to another.
#[test]
fn the_bits_that_tell_repeats_stay_within_their_memory_however_few_threads_ask() {
    let clock = clock();
    let memory = 8 * 512;
    let service = builder(&clock)
        .threads(Threads::manual().stripes(16))
        .live("v1", says("one", 0.9))
        .labels(Labels::at_random().memory_bytes(memory))
        .build()
        .unwrap();
    for _ in 0..400 {
        for answer in ask(&service, 100) {
            service.feedback(answer.id(), Outcome::class(1));
        }
        tick(&service, &clock);
    }
    let counts = counts(&service);
    assert!(counts.counted > 10_000 && counts.bitmap_bytes <= memory as u64, "{counts:?}");
}

#[test]
fn one_of_several_classes_has_a_confusion() {
    let clock = clock();
    let service: ModelHandle<f64, u16> = ModelHandle::builder("classes")
        .live("v1", Scripted::new("one", |x: &f64| *x as u16 % 3))
        .task(Task::classes(3, |class: &u16| (*class, 0.8)).unwrap())
        .clock(clock)
        .threads(Threads::manual())
        .build()
        .unwrap();
    for number in 0..30 {
        let answer = service.predict(&f64::from(number)).unwrap();
        let actual = if number < 15 { *answer.output() } else { 0 };
        assert_eq!(service.feedback(answer.id(), Outcome::class(actual)), FeedbackOutcome::Counted);
        assert_eq!(
            service.feedback(answer.id(), Outcome::class(3)),
            FeedbackOutcome::Refused(FeedbackRefusal::NotOfThisTask)
        );
    }
    let quality = service.status().versions[0].total.quality.clone().unwrap();
    assert!(matches!(quality, QualityFigures::Classes(_)));
    let accuracy = quality.measure(Metric::Accuracy).unwrap();
    assert_eq!((accuracy.outcomes, accuracy.value), (30, 20.0 / 30.0));
}

/// Bug: `Task::classes(1000)` became 64 without a word, and live then failed every larger class.
#[test]
fn ten_thousand_classes_are_answered_judged_and_counted() {
    const CLASSES: u16 = 10_000;
    let clock = clock();
    let service: ModelHandle<u16, u16> = ModelHandle::builder("species")
        .live("v1", Scripted::new("one", |class: &u16| *class))
        .task(Task::classes(usize::from(CLASSES), |class: &u16| (*class, 0.8)).unwrap())
        .clock(clock.clone())
        .threads(Threads::manual())
        .build()
        .unwrap();
    for class in 0..CLASSES {
        let answer = service.predict(&class).unwrap();
        let printed = answer.id().to_string();
        // One in ten is the class before.
        let actual = if class % 10 == 9 { class - 1 } else { class };
        assert_eq!(
            service.feedback(printed.parse().unwrap(), Outcome::class(actual)),
            FeedbackOutcome::Counted
        );
        if class % 1_000 == 0 {
            service.tick();
        }
    }
    let answer = service.predict(&7).unwrap();
    let beyond = service.feedback(answer.id(), Outcome::class(CLASSES));
    assert_eq!(beyond, FeedbackOutcome::Refused(FeedbackRefusal::NotOfThisTask));
    assert!(service.predict(&CLASSES).is_err(), "it is none of the classes");

    clock.advance(seconds(1));
    service.tick();
    let total = service.status().versions[0].total.clone();
    let Some(QualityFigures::Classes(figures)) = total.quality else { panic!("classes") };
    assert_eq!((figures.outcomes, figures.unanswered, figures.accuracy), (10_000, 0, Some(0.9)));
    assert_eq!(figures.per_class.len(), 1_024);
    let apart: u64 = figures.per_class.iter().map(|of| of.support).sum();
    assert_eq!(apart + figures.outcomes_not_apart, 10_000);
    for of in &figures.per_class {
        let (support, predicted) = match of.class % 10 {
            8 => (2, 1),
            9 => (0, 1),
            _ => (1, 1),
        };
        assert_eq!((of.support, of.predicted), (support, predicted), "{}", of.class);
    }
    let recall = figures.macro_recall.unwrap();
    assert!((recall - 0.85).abs() < 0.02, "{recall}: 0.85 over all classes");
}

#[test]
fn a_number_has_errors_and_a_bias() {
    let clock = clock();
    let service: ModelHandle<f64, f64> = ModelHandle::builder("minutes")
        .live("v1", Scripted::new("one", |x: &f64| x + 2.0))
        .task(Task::regression(|minutes: &f64| *minutes))
        .clock(clock)
        .threads(Threads::manual())
        .build()
        .unwrap();
    for number in 0..10 {
        let answer = service.predict(&f64::from(number)).unwrap();
        service.feedback(answer.id(), Outcome::value(f64::from(number)));
        assert_eq!(
            service.feedback(answer.id(), Outcome::value(f64::INFINITY)),
            FeedbackOutcome::Refused(FeedbackRefusal::OutOfBounds)
        );
    }
    let quality = service.status().versions[0].total.quality.clone().unwrap();
    let measured = |metric| quality.measure(metric).unwrap().value;
    for metric in [Metric::Mae, Metric::Rmse, Metric::Bias] {
        assert!((measured(metric) - 2.0).abs() < 1e-6, "{metric:?}");
    }
}

#[test]
fn a_ranked_list_is_judged_by_where_the_relevant_item_stood() {
    let clock = clock();
    let service: ModelHandle<f64, Vec<u64>> = ModelHandle::builder("list")
        .live("v1", Scripted::new("one", |_: &f64| vec![10, 20, 30, 40, 50]))
        .task(
            Task::ranking(3, |items: &Vec<u64>, ranked| items.iter().for_each(|item| ranked.push(*item)))
                .unwrap()
                .truth(Truth::CausedByAnswer),
        )
        .clock(clock)
        .threads(Threads::manual())
        .build()
        .unwrap();
    for relevant in [10, 20, 40] {
        let answer = service.predict(&1.0).unwrap();
        assert_eq!(service.feedback(answer.id(), Outcome::relevant([relevant])), FeedbackOutcome::Counted);
    }
    let quality = service.status().versions[0].total.quality.clone().unwrap();
    let measured = |metric| quality.measure(metric).unwrap().value;
    assert!((measured(Metric::HitRate) - 2.0 / 3.0).abs() < 1e-9, "the third lies below the depth");
    assert!((measured(Metric::ReciprocalRank) - 0.5).abs() < 1e-9);
}

/// Guards see labels as they come, also those of a step long past.
#[test]
fn labels_that_come_out_of_order_lead_to_the_same_figures() {
    let clock = clock();
    let figures = |reverse: bool| {
        let live = Scripted::new("one", |x: &f64| (x % 10.0) / 10.0);
        let service = builder(&clock).live("v1", live).build().unwrap();
        let mut answers = ask(&service, 100);
        if reverse {
            answers.reverse();
        }
        for answer in answers {
            let class = u16::from(*answer.output() > 0.35);
            service.feedback(answer.id(), Outcome::class(class));
        }
        total(&service.status(), "v1").quality
    };
    assert_eq!(figures(false), figures(true));
}

#[test]
fn an_attempt_that_waits_for_labels_goes_on_when_they_come() {
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.9)).build().unwrap();
    let rollout = service.stage("v2", says("two", 0.9)).unwrap();
    let plan = canaries([0.5]).each(|step| step.min_labels(50)).unwrap();
    rollout.run(plan).unwrap();
    let answers = ask(&service, 400);
    tick(&service, &clock);
    assert!(!rollout.phase().is_over());
    for answer in answers {
        service.feedback(answer.id(), Outcome::class(1));
    }
    tick(&service, &clock);
    assert_eq!(service.live(), "v2");
    let promoted = events(&service, |kind| matches!(kind, EventKind::Promoted { .. }).then_some(()));
    assert_eq!(promoted.len(), 1);
}

/// Bug: an id that came back with a blank, a `\r`, a byte-order mark or `=` was no id, and its label was lost.
/// Cause: only the printed form itself was read, and CSV, mail and other base64 put something around it.
/// Fix: what is around is left out; what is between is held to its seal as ever.
#[test]
fn an_id_is_read_with_what_csv_and_mail_put_around_it() {
    let service = builder(&clock()).live("v1", says("one", 0.9)).build().unwrap();
    let id = ask(&service, 1)[0].id();
    let printed = id.to_string();
    let around = ["{} ", " {}", "{}\r", "{}\r\n", "\u{feff}{}", "{}=", "{}==", "\t{}== \r\n", "\u{a0}{}"];
    for around in around.map(|around| around.replace("{}", &printed)) {
        let read: PredictionId = around.parse().unwrap();
        assert_eq!(read.to_string(), printed, "{around:?}");
    }
    let read: PredictionId = serde_json::from_str(&format!("\"{printed}=\\r\\n\"")).unwrap();
    assert_eq!(service.feedback(read, Outcome::class(1)), FeedbackOutcome::Counted);
    let (head, tail) = printed.split_at(20);
    for bad in [format!("{head} {tail}"), format!("{head}={tail}"), format!("={printed}"), " =\r".to_owned()]
    {
        assert!(bad.parse::<PredictionId>().is_err(), "{bad:?}");
    }
}

/// Bug: a label that reached another replica was `Unknown`, as if it were forged. Cause: whoever had not made an id did not
/// say whether its seal is right. Fix: with the same secret it is `Elsewhere`, and is counted as that.
#[test]
fn a_label_that_reaches_another_replica_is_told_as_such_and_a_forged_one_is_not() {
    let clock = clock();
    let replica = |seed: u64, secret: u8| {
        builder(&clock).seed(seed).secret([secret; 16]).live("v1", says("one", 0.9)).build().unwrap()
    };
    let (one, two, stranger) = (replica(1, 7), replica(2, 7), replica(3, 8));
    let id = ask(&one, 1)[0].id();
    let read: PredictionId = id.to_string().parse().unwrap();
    for id in [id, read] {
        assert_eq!(two.feedback(id, Outcome::class(1)), FeedbackOutcome::Elsewhere);
        assert_eq!(stranger.feedback(id, Outcome::class(1)), FeedbackOutcome::Unknown);
    }
    // One letter of who made it or when is another: nobody's.
    let printed = id.to_string();
    let mut forged = 0;
    for place in 2..24 {
        let letter = if printed.as_bytes()[place] == b'A' { "B" } else { "A" };
        let altered = format!("{}{letter}{}", &printed[..place], &printed[place + 1..]);
        let Ok(altered) = altered.parse::<PredictionId>() else { continue };
        assert_eq!(two.feedback(altered, Outcome::class(1)), FeedbackOutcome::Unknown);
        forged += 1;
    }
    assert!(forged > 10, "{forged}");
    let counted = counts(&two);
    assert_eq!((counted.elsewhere, counted.unknown, counted.counted), (2, forged, 0));
    assert_eq!((counts(&stranger).elsewhere, counts(&stranger).unknown), (0, 2));
    assert_eq!(one.feedback(read, Outcome::class(1)), FeedbackOutcome::Counted);
}

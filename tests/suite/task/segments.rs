//! Figures by a label that the host attaches to predictions, and guards that look at each.

use std::time::Duration;

use switchback::events::EventKind;
use switchback::options::{Labels, Limits, Shadowing, Threads};
use switchback::stats::SegmentFigures;
use switchback::{
    Builder, Clock, ModelHandle, Outcome, Phase, PredictionId, Rollout, RolloutError, Task, Truth, closure,
    guard, model::ModelError,
};

use crate::common::{Chance, clock};

/// A flight that is late, from one of eight airports.
#[derive(Clone)]
struct Flight {
    airport: String,
    number: f64,
}

const AIRPORTS: [&str; 8] = ["ATL", "BOS", "DEN", "EWR", "JFK", "LAX", "ORD", "SFO"];

type Late = ModelHandle<Flight, f64>;

fn builder(clock: &Clock) -> Builder<Flight, f64> {
    ModelHandle::builder("late")
        .task(Task::binary(|probability: &f64| *probability))
        .labels(Labels::at_random())
        // Wrong for one flight in five, wherever it is from.
        .live("v1", closure("v1@1", |flight: &Flight| Ok(if flight.number < 0.2 { 0.1 } else { 0.9 })))
        .inputs(
            switchback::options::Inputs::new()
                .segment(|flight: &Flight| &flight.airport)
                .bytes(|flight: &Flight| size_of_val(flight) + flight.airport.len()),
        )
        .limits(Limits::new().segments(8))
        .clock(clock.clone())
        .seed(7)
        .threads(Threads::manual().stripes(1))
}

/// Hardly ever wrong, but in Chicago.
fn better_on_average(handle: &Late) -> Rollout<Flight, f64> {
    let wrong = |flight: &Flight| flight.number < if flight.airport == "ORD" { 0.6 } else { 0.05 };
    handle
        .stage("v2", closure("v2@1", move |flight: &Flight| Ok(if wrong(flight) { 0.1 } else { 0.9 })))
        .unwrap()
}

/// Flights, each of which turns out to be late.
fn fly(handle: &Late, clock: &Clock, flights: u32) -> Vec<PredictionId> {
    let mut chance = Chance(9);
    let fly = |number: u32| {
        let airport = AIRPORTS[(chance.next() * 8.0) as usize % 8].to_owned();
        let answer = handle.predict(&Flight { airport, number: chance.next() }).unwrap();
        handle.run_shadow(4);
        // As printed, since that is how ids travel.
        let id: PredictionId = answer.id().to_string().parse().unwrap();
        handle.feedback(id, Outcome::class(1));
        if number.is_multiple_of(100) {
            clock.advance(Duration::from_secs(1));
            handle.tick();
        }
        id
    };
    (0..flights).map(fly).collect()
}

fn of<'a>(segments: &'a [SegmentFigures], name: &str) -> &'a SegmentFigures {
    segments.iter().find(|segment| segment.segment == name).unwrap()
}

#[test]
fn a_candidate_that_is_better_on_average_and_much_worse_for_one_airport_is_seen() {
    let clock = clock();
    for (shadowing, by_segment) in [(false, true), (true, true), (false, false), (true, false)] {
        let builder = if shadowing { builder(&clock).shadowing(Shadowing::new()) } else { builder(&clock) };
        let handle = builder.build().unwrap();
        let accuracy = if by_segment { guard::accuracy().by_segment() } else { guard::accuracy() };
        let rollout = better_on_average(&handle).guard(accuracy.at_most_below_live(0.02));
        if shadowing { rollout.shadow(1.0) } else { rollout.canary(0.5) }.unwrap();
        fly(&handle, &clock, 8_000);
        let status = rollout.status().unwrap();
        let total: u64 = status.segments.iter().map(|segment| segment.candidate.labelled).sum();
        assert!(total > 0 && status.segments.len() == 8);
        let worse = of(&status.segments, "ORD");
        assert!(worse.candidate.accuracy() < worse.live.accuracy(), "{worse:?}");
        let better = of(&status.segments, "JFK");
        assert!(better.candidate.accuracy() > better.live.accuracy(), "{better:?}");
        if !by_segment {
            assert_ne!(rollout.phase(), Phase::Aborted, "on average it is better");
            assert_eq!(status.evidence[0].verdict, guard::Verdict::Pass);
            continue;
        }
        assert_eq!(rollout.phase(), Phase::Aborted, "{status:?}");
        let failed = handle.events();
        let failed = failed.iter().find_map(|event| match &event.kind {
            EventKind::GuardFailed { evidence, .. } => Some(evidence.clone()),
            _ => None,
        });
        let failed = failed.unwrap();
        assert_eq!(failed.note.as_deref(), Some("worse than allowed in ORD"));
        assert!(failed.sentence.unwrap().starts_with("in ORD v2 is wrong"), "the airport comes first");
        // The record has all that led to it.
        let decisions = handle.decisions();
        let replayed = switchback::decisions::replay(decisions.last().unwrap()).unwrap();
        assert_eq!(replayed.verdict, guard::Verdict::Fail);
    }
}

#[test]
fn a_candidate_that_fails_for_one_airport_alone_is_seen_without_any_truth() {
    let clock = clock();
    for shadowing in [false, true] {
        let builder = if shadowing { builder(&clock).shadowing(Shadowing::new()) } else { builder(&clock) };
        let handle = builder.limits(Limits::new().circuit_breaker(0)).build().unwrap();
        let model = closure("v2@1", |flight: &Flight| {
            if flight.airport == "SFO" && flight.number < 0.3 {
                Err(ModelError::engine("fog"))
            } else {
                Ok(0.9)
            }
        });
        let limit = guard::error_rate().by_segment().at_most_above_live(0.1);
        let rollout = handle.stage("v2", model).unwrap().guard(limit);
        if shadowing { rollout.shadow(1.0) } else { rollout.canary(0.5) }.unwrap();
        fly(&handle, &clock, 8_000);
        assert_eq!(rollout.phase(), Phase::Aborted);
        let segments = rollout.status().unwrap().segments;
        assert!(of(&segments, "SFO").candidate.error_rate().unwrap() > 0.2);
        assert_eq!(of(&segments, "ATL").candidate.error_rate(), Some(0.0));
    }
}

#[test]
fn segments_beyond_the_limit_are_others_and_a_label_corrects_its_own() {
    let clock = clock();
    let handle = builder(&clock).limits(Limits::new().segments(2)).build().unwrap();
    let rollout = better_on_average(&handle);
    rollout.canary(0.5).unwrap();
    let ids = fly(&handle, &clock, 500);
    handle.tick();
    let segments = rollout.status().unwrap().segments;
    assert_eq!(segments.len(), 3);
    assert!(of(&segments, "other").candidate.units > 100);
    let labelled: u64 =
        segments.iter().map(|segment| segment.candidate.labelled + segment.live.labelled).sum();
    assert_eq!(labelled, ids.len() as u64);
}

#[test]
fn guards_that_could_not_look_at_segments_are_refused_with_what_to_do() {
    let clock = clock();
    let refused = |handle: &Late, rule: guard::Rule| {
        let rollout = better_on_average(handle).guard(rule);
        let Err(RolloutError::Guard { reason, .. }) = rollout.canary(0.1) else {
            panic!("it was not refused")
        };
        let _ = rollout.rollback("the end");
        reason
    };
    // In code it does not compile.
    let brier = "brier score at most 0.1 above live, by segment".parse::<guard::Rule>();
    assert!(brier.unwrap_err().to_string().ends_with("only error rate and accuracy can"));
    // Where the answer hides the truth, wrong answers are not counted by segment.
    let censored = builder(&clock)
        .task(Task::binary(|probability: &f64| *probability).truth(Truth::censored(|_| true)))
        .shadowing(Shadowing::new())
        .build()
        .unwrap();
    let accuracy = || guard::accuracy().by_segment().at_most_below_live(0.02).unwrap();
    assert!(refused(&censored, accuracy()).contains("error rate and accuracy alone"));
    let plain = ModelHandle::builder("late")
        .live("v1", closure("v1@1", |_: &Flight| Ok(0.9)))
        .task(Task::binary(|probability: &f64| *probability))
        .labels(Labels::at_random())
        .threads(Threads::manual())
        .build()
        .unwrap();
    assert!(refused(&plain, accuracy()).contains("`Inputs::segment`"));
}

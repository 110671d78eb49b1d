//! Labels that change after a start: what was told before it, and waits to be evidence still, is corrected as in one life.
//!
//! Bug: a correction that came after a start was `Settled`, and the first label, which was wrong, became evidence: where labels were corrected in
//! bulk after one, a candidate at its margin was promoted 39 times of 40. What was told of a business figure whose silence had been taken for
//! something was a repeat, and the silence stayed. Cause: outcomes that may be corrected were known to the process alone, while those that they
//! had been counted among were written down. Fix: both are, at one moment.

use std::collections::BTreeMap;

use serde_json::Value;
use switchback::feedback::FeedbackOutcome::{self, Corrected, Counted, Outdated, Repeated, Settled};
use switchback::options::{AfterCrash, Inputs, Labels, StateFolder};
use switchback::{Builder, Clock, Kpi, Outcome, Task, Timestamp, Truth, guard};

use super::remembering::{end, remembering};
use crate::common::*;

/// How a process ends, if it does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Between {
    Nothing,
    Close,
    Kill,
    /// Killed, and then closed by the next one, to which nothing comes.
    Twice,
    /// The machine's clock is an hour behind where it was.
    ClockSetBack,
}

const STARTS: [Between; 3] = [Between::Close, Between::Kill, Between::Twice];

/// What a guard rests on: every count in the record of what there is, by where it stands.
fn evidence(service: &Service) -> BTreeMap<String, u64> {
    fn add(value: &Value, place: &str, sums: &mut BTreeMap<String, u64>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| add(value, &format!("{place}.{name}"), sums));
            }
            Value::Array(values) => values.iter().for_each(|value| add(value, place, sums)),
            Value::Number(number) => {
                *sums.entry(place.to_owned()).or_default() += number.as_u64().unwrap_or_default();
            }
            _ => {}
        }
    }
    let recording = serde_json::to_value(service.rollout("v2").unwrap().recording().unwrap()).unwrap();
    let mut sums = BTreeMap::new();
    for history in recording["histories"].as_array().unwrap() {
        add(&history[1], history[0].as_str().unwrap_or_default(), &mut sums);
    }
    sums
}

/// A process, and those that follow it, by one folder.
struct Lives<B> {
    clock: Clock,
    start: B,
}

impl<B: Fn(&Clock) -> Builder<f64, f64>> Lives<B> {
    fn start(&self) -> Service {
        (self.start)(&self.clock).build().unwrap()
    }

    fn go_on(&mut self, service: Service, between: Between) -> Service {
        if between == Between::Nothing {
            return service;
        }
        if between == Between::Close {
            end(service);
            return self.start();
        }
        service.checkpoint().unwrap();
        drop(service);
        match between {
            Between::Twice => end(self.start()),
            Between::ClockSetBack => {
                self.clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000 - 3_600));
            }
            _ => {}
        }
        self.start()
    }
}

/// What was told, and then what is told after what comes between: how it ended each time, and what is evidence in the end. Of some
/// it may be said when they became known, by a clock that is not the machine's.
fn corrected(
    shadow: bool,
    between: Between,
    says_when: bool,
) -> (Vec<FeedbackOutcome>, BTreeMap<String, u64>) {
    let folder = Folder::new();
    let mut lives = Lives {
        clock: clock(),
        start: |clock: &Clock| {
            remembering(clock, &folder.0)
                .state(StateFolder::new(&folder.0).after_crash(AfterCrash::Resume))
                .labels(Labels::complete_after(seconds(1_600)).corrections(seconds(800)))
                .inputs(Inputs::new().segment(|x: &f64| if *x < 50.0 { "low" } else { "high" }))
        },
    };
    let service = lives.start();
    let limit = guard::accuracy().by_segment().at_most_below_live(0.9);
    let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(limit);
    if shadow { rollout.shadow(1.0) } else { rollout.canary(0.5) }.unwrap();
    let ids: Vec<_> = ask(&service, 100).iter().map(|answer| answer.id()).collect();
    service.run_shadow(usize::MAX);
    let asked = lives.clock.now();
    lives.clock.advance(seconds(100));
    let known = |class: u16, after: u64| Outcome::class(class).known_at(asked.plus(seconds(after)));
    for id in &ids {
        assert_eq!(service.feedback(*id, known(1, 50)), Counted);
    }
    tick(&service, &lives.clock);
    service.checkpoint().unwrap();
    // One that is corrected already is corrected again; of what was written down it is a change.
    assert_eq!(service.feedback(ids[0], known(0, 51)), Corrected);
    drop(rollout);

    let service = lives.go_on(service, between);
    let mut told = Vec::new();
    if says_when {
        told.push(service.feedback(ids[0], known(1, 52)));
        told.extend(ids[70..80].iter().map(|id| service.feedback(*id, known(0, 40))));
    }
    told.extend(ids[..60].iter().map(|id| service.feedback(*id, Outcome::class(0))));
    told.extend(ids[60..70].iter().map(|id| service.feedback(*id, Outcome::class(1))));
    // They are corrected for as long as they would have been.
    lives.clock.advance(seconds(750));
    service.tick();
    told.push(service.feedback(ids[90], Outcome::class(0)));
    lives.clock.advance(seconds(100));
    service.tick();
    told.push(service.feedback(ids[91], Outcome::class(0)));
    lives.clock.advance(seconds(1_000));
    (0..2).for_each(|_| tick(&service, &lives.clock));
    (told, evidence(&service))
}

#[test]
fn what_was_told_before_a_start_and_waits_is_corrected_after_it() {
    for shadow in [false, true] {
        let (told, wrong) = corrected(shadow, Between::Nothing, true);
        let [mut corrections, outdated] = [vec![Corrected; 61], vec![Outdated; 10]];
        corrections.splice(1..1, outdated);
        assert_eq!(told, [corrections, vec![Repeated; 10], vec![Corrected, Settled]].concat());
        assert!(wrong.values().any(|count| *count > 0), "{wrong:?}");
        for between in STARTS {
            let case = format!("shadow: {shadow}, between: {between:?}");
            assert_eq!(corrected(shadow, between, true), (told.clone(), wrong.clone()), "{case}");
        }
    }
}

/// What was known by a clock that has been set back since is no later than what is told now.
#[test]
fn a_correction_after_a_start_is_not_outdated_by_a_clock_that_was_set_back() {
    for shadow in [false, true] {
        let one_life = corrected(shadow, Between::Nothing, false);
        assert_eq!(corrected(shadow, Between::ClockSetBack, false), one_life, "shadow: {shadow}");
    }
}

/// What has become evidence stays as it was, in the next life as in one.
#[test]
fn a_correction_after_a_start_leaves_alone_what_is_evidence() {
    let run = |between: Between| {
        let folder = Folder::new();
        let start = |clock: &Clock| {
            remembering(clock, &folder.0)
                .state(StateFolder::new(&folder.0).after_crash(AfterCrash::Resume))
                .labels(Labels::at_random())
        };
        let mut lives = Lives { clock: clock(), start };
        let service = lives.start();
        let limit = guard::accuracy().at_most_below_live(0.9);
        let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(limit);
        rollout.canary(0.5).unwrap();
        let ids: Vec<_> = ask(&service, 100).iter().map(|answer| answer.id()).collect();
        ids[..50].iter().for_each(|id| assert_eq!(service.feedback(*id, Outcome::class(1)), Counted));
        tick(&service, &lives.clock);
        // Those are evidence by now, and these will be at the next tick: a checkpoint takes them too.
        ids[50..].iter().for_each(|id| assert_eq!(service.feedback(*id, Outcome::class(1)), Counted));
        service.checkpoint().unwrap();
        drop(rollout);
        let service = lives.go_on(service, between);
        let told: Vec<_> = ids.iter().map(|id| service.feedback(*id, Outcome::class(0))).collect();
        tick(&service, &lives.clock);
        // In one life figures are corrected, and begin with it.
        let how = if between == Between::Nothing { Corrected } else { Settled };
        assert_eq!(told, vec![how; 100], "{between:?}");
        evidence(&service)
    };
    let one_life = run(Between::Nothing);
    for between in STARTS {
        assert_eq!(run(between), one_life, "{between:?}");
    }
}

/// A start's figures are of what came since: a correction takes nothing out of them that was never in.
#[test]
fn a_correction_after_a_start_takes_nothing_from_figures_that_begin_anew() {
    let figures = |corrects: bool| {
        let (clock, folder) = (clock(), Folder::new());
        let start = || {
            let labels = Labels::complete_after(seconds(1_600));
            remembering(&clock, &folder.0).labels(labels).build().unwrap()
        };
        let service = start();
        service.stage("v2", says("two", 0.9)).unwrap().canary(0.5).unwrap();
        let ids: Vec<_> = ask(&service, 40).iter().map(|answer| answer.id()).collect();
        ids[..5].iter().for_each(|id| assert_eq!(service.feedback(*id, Outcome::class(1)), Counted));
        end(service);
        let service = start();
        for (place, id) in ids[5..].iter().enumerate() {
            assert_eq!(service.feedback(*id, Outcome::class(u16::from(place % 2 == 0))), Counted);
        }
        if corrects {
            ids[..5].iter().for_each(|id| assert_eq!(service.feedback(*id, Outcome::class(0)), Corrected));
        }
        service.tick();
        ["v1", "v2"].map(|version| {
            let figures = total(&service.status(), version);
            (figures.outcomes, accuracy(&figures))
        })
    };
    let without = figures(false);
    assert_eq!(without.iter().map(|(outcomes, _)| outcomes).sum::<u64>(), 35);
    assert_eq!(figures(true), without);
}

/// What is sold after its silence was taken for nothing takes the place of that, also where the process has ended meanwhile; and what was told
/// stands.
#[test]
fn what_is_told_of_a_business_figure_after_a_start_takes_the_place_of_what_was_assumed_before_it() {
    let run = |between: Between| {
        let folder = Folder::new();
        let start = |clock: &Clock| {
            let task = Task::binary(|p: &f64| *p).truth(Truth::CausedByAnswer);
            let labels = Labels::complete_after(seconds(1_600));
            remembering(clock, &folder.0)
                .state(StateFolder::new(&folder.0).after_crash(AfterCrash::Resume))
                .task(task.kpi(Kpi::bounded("basket", 0.0, 200.0).unwrap()))
                .labels(labels.assumed_after(seconds(60), Outcome::kpi("basket", 0.0)))
        };
        let mut lives = Lives { clock: clock(), start };
        let service = lives.start();
        let limit = guard::kpi("basket").at_most_below_live(5.0);
        let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(limit);
        rollout.canary(0.5).unwrap();
        let ids: Vec<_> = ask(&service, 100).iter().map(|answer| answer.id()).collect();
        lives.clock.advance(seconds(61));
        service.tick();
        assert_eq!(service.status().feedback.assumed, 100);
        service.checkpoint().unwrap();
        let sold = |worth: f64| Outcome::kpi("basket", worth);
        assert_eq!(service.feedback(ids[0], sold(50.0)), Corrected);
        drop(rollout);
        let service = lives.go_on(service, between);
        let mut told: Vec<_> = ids[..60].iter().map(|id| service.feedback(*id, sold(90.0))).collect();
        told.extend(ids[1..60].iter().map(|id| service.feedback(*id, sold(20.0))));
        lives.clock.advance(seconds(2_000));
        (0..2).for_each(|_| tick(&service, &lives.clock));
        (told, evidence(&service))
    };
    let one_life = run(Between::Nothing);
    let expected = [vec![Settled], vec![Corrected; 59], vec![Settled; 59]];
    assert_eq!(one_life.0, expected.concat());
    for between in STARTS {
        assert_eq!(run(between), one_life, "{between:?}");
    }
}

/// Bug: what was assumed after a start counted in no segment, while what was told counted in its own: of each segment there was evidence
/// of those that somebody had said something of, alone. Cause: what waited was written down without its segment.
#[test]
fn what_is_assumed_after_a_start_counts_in_its_segment() {
    let run = |between: Between| {
        let folder = Folder::new();
        let start = |clock: &Clock| {
            remembering(clock, &folder.0)
                .state(StateFolder::new(&folder.0).after_crash(AfterCrash::Resume))
                .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
                .inputs(Inputs::new().segment(|x: &f64| if *x < 50.0 { "low" } else { "high" }))
        };
        let mut lives = Lives { clock: clock(), start };
        let service = lives.start();
        let limit = guard::accuracy().by_segment().at_most_below_live(0.9);
        let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(limit);
        rollout.canary(0.5).unwrap();
        let ids: Vec<_> = ask(&service, 100).iter().map(|answer| answer.id()).collect();
        tick(&service, &lives.clock);
        drop(rollout);
        let service = lives.go_on(service, between);
        ids[..10].iter().for_each(|id| assert_eq!(service.feedback(*id, Outcome::class(1)), Counted));
        lives.clock.advance(seconds(120));
        (0..3).for_each(|_| tick(&service, &lives.clock));
        let segments = service.rollout("v2").unwrap().status().unwrap().segments;
        let of = |name: &str| {
            let of = segments.iter().find(|of| of.segment == name).unwrap();
            (of.candidate.labelled + of.live.labelled, of.candidate.accuracy(), of.live.accuracy())
        };
        (of("low"), of("high"))
    };
    let one_life = run(Between::Nothing);
    assert_eq!((one_life.0.0, one_life.1.0), (50, 50));
    for between in STARTS {
        assert_eq!(run(between), one_life, "{between:?}");
    }
}

/// Bug: of what was predicted after the last checkpoint before a crash, what was told counted after the start, and what stayed silent did not:
/// evidence was of those who had clicked. Cause: which predictions wait for their silence is known as of the checkpoint, and outcomes were
/// joined to any. Fix: where silence means something, an outcome of what was predicted after that is no evidence.
#[test]
fn what_was_predicted_after_the_last_checkpoint_is_no_evidence_where_its_silence_is_not_known() {
    let run = |crashes: bool, more: usize| {
        let (mut clock, folder) = (clock(), Folder::new());
        let start = |clock: &Clock| {
            remembering(clock, &folder.0)
                .state(
                    StateFolder::new(&folder.0)
                        .checkpoint_every(seconds(3_600))
                        .after_crash(AfterCrash::Resume),
                )
                .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
                .build()
                .unwrap()
        };
        let service = start(&clock);
        let limit = guard::accuracy().at_most_below_live(0.9);
        let rollout = service.stage("v2", says("two", 0.9)).unwrap().guard(limit);
        rollout.canary(0.5).unwrap();
        let saved: Vec<_> = ask(&service, 50).iter().map(|answer| answer.id()).collect();
        tick(&service, &clock);
        service.checkpoint().unwrap();
        tick(&service, &clock);
        let unsaved: Vec<_> = ask(&service, more).iter().map(|answer| answer.id()).collect();
        tick(&service, &clock);
        drop(rollout);
        let service = if crashes {
            drop(service);
            // Ages are what counts, whatever the clock says.
            clock = Clock::manual(Timestamp::from_unix_seconds(1_600_000_000));
            start(&clock)
        } else {
            service
        };
        let tell = |id| service.feedback(id, Outcome::class(1));
        saved[..10].iter().for_each(|id| assert_eq!(tell(*id), Counted));
        let told: Vec<_> = unsaved.iter().take(20).map(|id| tell(*id)).collect();
        clock.advance(seconds(120));
        (0..3).for_each(|_| tick(&service, &clock));
        (told, evidence(&service))
    };
    assert_eq!(run(false, 100).0, [Counted; 20], "in one life");
    let (told, wrong) = run(true, 100);
    assert_eq!(wrong, run(true, 0).1);
    assert_eq!(told, [FeedbackOutcome::Expired; 20]);
}

//! The tools for tests are tested: the scripted model, and the suite for whoever implements `Model`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use switchback::guard::{ArmView, Comparison, Evidence, Guard, Verdict};
use switchback::stats::Window;
use switchback::testing::{ConformanceError, Scripted, Suite, conformance};
use switchback::versions::{ErrorKind, Lifecycle, LoadThrottle};
use switchback::{
    Censoring, Kpi, Model, Outcome, Phase, Task, Truth, closure,
    model::{Identity, LoadError, ModelError},
};

use crate::common::*;

#[test]
fn a_scripted_model_does_what_it_is_told_in_that_order() {
    let clock = clock();
    let model = Scripted::new("one", |x: &f64| x * 2.0).clock(&clock);
    let script = model.control();
    assert!(matches!(model.predict(&1.0), Err(ModelError::NotLoaded)));
    model.load(&LoadThrottle::new()).unwrap();
    script.fail_next(1);
    script.lie_next(1, |x| -x);
    script.refuse_next(1);
    let answers: Vec<_> = (0..4).map(|_| model.predict(&1.0).map_err(|error| error.kind())).collect();
    assert_eq!(answers, [Err(ErrorKind::Engine), Ok(-1.0), Err(ErrorKind::Input), Ok(2.0)]);
    script.fail();
    script.answer_next(1);
    assert!(model.predict(&1.0).is_ok() && model.predict(&1.0).is_err());

    script.stall(Duration::from_secs(3));
    let before = clock.now();
    assert!(model.predict_within(&1.0, Duration::from_secs(1)).is_err());
    assert_eq!(clock.now().since(before), Duration::from_secs(3), "it cannot be interrupted");
    // Nobody opens it, and what is asked from now on does not wait at it.
    let _closed = script.gate();
    script.behave();
    assert_eq!((model.predict(&1.0).ok(), script.calls(), script.is_dropped()), (Some(2.0), 9, false));
    assert_eq!(clock.now().since(before), Duration::from_secs(3));
    std::thread::Builder::new().name("reaper".into()).spawn(move || drop(model)).unwrap().join().unwrap();
    assert_eq!(script.dropped_on().as_deref(), Some("reaper"));
}

/// What guards are shown, and what is known of an answer that may hide its truth, are made without a handle.
#[test]
fn a_guard_and_what_is_hidden_are_tested_alone() {
    struct FailsMore;
    impl Guard for FailsMore {
        fn name(&self) -> String {
            "fails more".into()
        }
        fn judge(&self, seen: &Comparison<'_>) -> Evidence {
            let failed = |arm: &ArmView| arm.figures(Window::Total).error_rate.unwrap_or(0.0);
            let more = failed(seen.candidate) > failed(seen.live);
            Evidence::new(self.name(), if more { Verdict::Fail } else { Verdict::Pass })
        }
    }
    let task = Task::binary(|probability: &f64| *probability).kpi(Kpi::rate("purchase").unwrap());
    let (mut candidate, mut live) = (ArmView::untried(&task), ArmView::untried(&task));
    for arm in [&mut candidate, &mut live] {
        arm.answered(&task, &0.9, Duration::from_millis(3));
        arm.turned_out(&task, &0.9, &Outcome::class(1));
        arm.turned_out(&task, &0.9, &Outcome::kpi("purchase", 1.0));
        arm.turned_out(&task, &0.9, &Outcome::kpi("click", 1.0));
    }
    assert_eq!(FailsMore.judge(&Comparison::of(&candidate, &live)).verdict, Verdict::Pass);
    candidate.failed(ErrorKind::Engine, Duration::from_millis(1));
    let mut comparison = Comparison::of(&candidate, &live);
    comparison.phase = Phase::Shadow;
    assert_eq!(FailsMore.judge(&comparison).verdict, Verdict::Fail);
    let figures = candidate.figures(Window::Total);
    assert_eq!((figures.requests, figures.outcomes, figures.refused), (2, 1, 1));
    assert!(format!("{comparison:?}").contains("ArmView { requests: 2"), "{comparison:?}");

    let Truth::Censored(blocks) = Truth::censored(|answer| answer.probability.is_some_and(|p| p >= 0.9))
    else {
        panic!("it is censored")
    };
    assert!(blocks(Censoring::of_probability(0.9)) && !blocks(Censoring::of_class(1)));
}

#[test]
fn models_that_hold_to_the_trait_conform() {
    conformance(&closure("double@1", |x: &f64| Ok(x * 2.0)), &[1.0, 2.0, 3.0]).unwrap();
    conformance(&Scripted::new("one", |text: &str| text.len()), &["a", "bc", ""]).unwrap();
    let positive = closure("root@1", |x: &f64| match x {
        0.0.. => Ok(x.sqrt()),
        _ => Err(ModelError::input("negative")),
    });
    Suite::new(|a: &f64, b: &f64| (a - b).abs() < 1e-9)
        .bad_inputs(&[-1.0, -2.0])
        .check(&positive, &[1.0])
        .unwrap();
    conformance::<f64, f64, _>(&positive, &[] as &[f64]).unwrap();
}

/// A model with one flaw.
#[derive(Default)]
struct Flawed {
    flaw: Option<Flaw>,
    calls: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Flaw {
    Load,
    SecondLoad,
    Identity,
    Panic,
    Counting,
    ShortBatch,
    ShuffledBatch,
    WarmUp,
    ImpatientWithin,
    OneBadRowSpoilsAll,
    BlamesNobody,
}

impl Flawed {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl Model<f64, f64> for Flawed {
    fn predict(&self, input: &f64) -> Result<f64, ModelError> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.has(Flaw::Panic) && calls == 3 {
            std::panic::resume_unwind(Box::new("on the fourth call"));
        }
        if *input < 0.0 {
            let engine = self.has(Flaw::BlamesNobody);
            return Err(if engine { ModelError::engine("?") } else { ModelError::input("negative") });
        }
        Ok(if self.has(Flaw::Counting) { calls as f64 } else { input * 2.0 })
    }
    fn identity(&self) -> Identity {
        let calls = self.calls.load(Ordering::Relaxed) * u64::from(self.has(Flaw::Identity));
        Identity::of([("calls", calls.to_le_bytes().as_slice())])
    }
    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
    fn predict_batch(&self, inputs: &[&f64]) -> Vec<Result<f64, ModelError>> {
        let mut answers: Vec<_> = inputs.iter().map(|input| self.predict(input)).collect();
        if self.has(Flaw::ShortBatch) {
            answers.pop();
        }
        if self.has(Flaw::ShuffledBatch) {
            answers.reverse();
        }
        if self.has(Flaw::OneBadRowSpoilsAll) && answers.iter().any(Result::is_err) {
            return inputs.iter().map(|_| Err(ModelError::input("one of them"))).collect();
        }
        answers
    }
    fn predict_within(&self, input: &f64, limit: Duration) -> Result<f64, ModelError> {
        if self.has(Flaw::ImpatientWithin) {
            Err(ModelError::Deadline { limit })
        } else {
            self.predict(input)
        }
    }
}

impl Lifecycle for Flawed {
    fn load(&self, _: &LoadThrottle) -> Result<(), LoadError> {
        let second = self.calls.load(Ordering::Relaxed) > 0;
        let refused = self.has(Flaw::Load) || (second && self.has(Flaw::SecondLoad));
        if refused { Err(LoadError::other("no")) } else { Ok(()) }
    }
    fn warm_up(&self) -> Result<bool, ModelError> {
        if self.has(Flaw::WarmUp) { Err(ModelError::engine("cold")) } else { Ok(true) }
    }
}

#[test]
fn every_flaw_is_found_and_named() {
    let check = |flaw: Option<Flaw>| {
        let model = Flawed { flaw, ..Flawed::default() };
        Suite::new(f64::eq).bad_inputs(&[-1.0]).check(&model, &[1.0, 2.0, 3.0])
    };
    check(None).unwrap();
    let found = |flaw| check(Some(flaw)).unwrap_err();
    let all = |flaw, is: fn(&ConformanceError) -> bool| {
        let found = found(flaw);
        assert!(found.iter().any(is), "{flaw:?}: {found:?}");
        assert!(found.iter().all(|violation| !violation.to_string().is_empty()));
    };
    all(Flaw::Load, |v| matches!(v, ConformanceError::Load { time: "first time", .. }));
    all(Flaw::SecondLoad, |v| matches!(v, ConformanceError::Load { time: "second time", .. }));
    all(Flaw::Identity, |v| matches!(v, ConformanceError::Identity { .. }));
    all(Flaw::Panic, |v| matches!(v, ConformanceError::Panicked { .. }));
    all(Flaw::Counting, |v| matches!(v, ConformanceError::Answer { when: "while other threads asked", .. }));
    all(Flaw::ShortBatch, |v| matches!(v, ConformanceError::BatchLength { given: 3, found: 2 }));
    all(Flaw::ShuffledBatch, |v| matches!(v, ConformanceError::Answer { input: 0, when: "in a batch" }));
    all(Flaw::WarmUp, |v| matches!(v, ConformanceError::Upkeep { .. }));
    all(Flaw::ImpatientWithin, |v| {
        matches!(v, ConformanceError::NoAnswer { when: "with a generous limit", .. })
    });
    all(Flaw::OneBadRowSpoilsAll, |v| matches!(v, ConformanceError::NoAnswer { when: "in a batch", .. }));
    all(Flaw::BlamesNobody, |v| matches!(v, ConformanceError::NotRefused { input: 0, .. }));
    assert_eq!(found(Flaw::Load).len(), 1, "nothing more can be said of it");
}

//! No ONNX: a model is anything that implements `Model`. Here a rule of thumb is replaced by an algorithm that learns,
//! and the host writes a guard of its own.
//!
//! ```sh
//! cargo run --example closure_model --no-default-features
//! ```

use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use switchback::guard::{Comparison, Evidence, Guard, Verdict};
use switchback::options::Threads;
use switchback::stats::Window;
use switchback::{
    Model, ModelHandle, Outcome, Task, closure, guard,
    model::{Identity, ModelError},
};

/// Predicts the next value of a series from how the last ones went on: one coefficient, learnt as it goes.
struct Momentum {
    coefficient: Mutex<f64>,
}

impl Model<[f64], f64> for Momentum {
    fn predict(&self, history: &[f64]) -> Result<f64, ModelError> {
        let [.., before_last, last] = history else {
            return Err(ModelError::input("a history of two values or more is needed"));
        };
        let coefficient = *self.coefficient.lock().map_err(|_| ModelError::engine("a learner panicked"))?;
        Ok(last + coefficient * (last - before_last))
    }

    fn identity(&self) -> Identity {
        Identity::of([("algorithm", b"momentum".as_slice()), ("version", b"1".as_slice())])
    }
}

/// Wants the candidate's mean absolute error to be at most that of live.
struct NoWorse;

impl Guard for NoWorse {
    fn name(&self) -> String {
        "mean absolute error no worse than live".into()
    }

    fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
        let error = |arm: &guard::ArmView| {
            arm.figures(Window::Total).quality?.measure(switchback::stats::Metric::Mae)
        };
        match (error(comparison.candidate), error(comparison.live)) {
            (Some(candidate), Some(live)) if candidate.outcomes.min(live.outcomes) >= 50 => {
                let verdict = if candidate.value <= live.value { Verdict::Pass } else { Verdict::Fail };
                Evidence::new(self.name(), verdict)
                    .observed(candidate.value, candidate.outcomes)
                    .live(live.value, live.outcomes)
            }
            _ => Evidence::new(self.name(), Verdict::Inconclusive),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let tomorrow = ModelHandle::builder("tomorrow")
        .live(
            "same-again",
            closure("same-again@1.0", |history: &[f64]| {
                history.last().copied().ok_or_else(|| ModelError::input("an empty history"))
            }),
        )
        .task(Task::regression(|value: &f64| *value))
        .threads(Threads::manual())
        .build()?;
    let rollout = tomorrow.stage("momentum", Momentum { coefficient: Mutex::new(0.9) })?.guard(NoWorse);
    rollout.canary(0.5)?;

    // A slow wave, of which the next value is known as soon as it has been predicted.
    let series: Vec<f64> = (0..600).map(|step| (f64::from(step) / 20.0).sin()).collect();
    for window in series.windows(9) {
        let Some((actual, history)) = window.split_last() else { continue };
        let answer = tomorrow.predict(history)?;
        tomorrow.feedback(answer.id(), Outcome::value(*actual));
    }
    tomorrow.tick();

    let status = rollout.status().ok_or("the rollout is forgotten")?;
    for evidence in &status.evidence {
        println!("{evidence}");
    }
    rollout.promote()?;
    println!("live: {}", tomorrow.live());
    tomorrow.close(Duration::from_secs(1))?;
    Ok(())
}

//! Runs a preflight.

use std::collections::BTreeMap;

use super::failure::{Asked, PreflightError, PreflightFailure};
use super::preflight::{Preflight, Sample};
use super::report::PreflightReport;
use super::tensors::{Difference, difference, name_of, not_finite};
use crate::base::clock::Clock;
use crate::base::guarded as contained;
use crate::base::memory::resident;
use crate::model::activity::Activity;
use crate::model::error::{LoadError, ModelError};
use crate::model::lifecycle::Lifecycle;
use crate::model::model::Model;
use crate::model::onnx::{Pipeline, Tensors, Trace};
use crate::model::throttle::LoadThrottle;
use crate::repository::contract::PinnedTensor;
use crate::version::input::KeptInput;

impl<I: ?Sized> Preflight<I> {
    /// Checks a version: loads it unless it is loaded, asks it everything, and tells everything that is wrong. Not to be
    /// called on a thread of requests.
    ///
    /// # Errors
    ///
    /// [`LoadError::Preflight`] with every failure, or what kept the model from being loaded.
    pub fn run<O>(&self, pipeline: &Pipeline<I, O>) -> Result<PreflightReport, LoadError> {
        self.run_at(pipeline, &LoadThrottle::new())
    }

    pub(crate) fn run_at<O>(
        &self,
        pipeline: &Pipeline<I, O>,
        throttle: &LoadThrottle,
    ) -> Result<PreflightReport, LoadError> {
        run(self, pipeline, throttle)
    }
}

fn run<I: ?Sized, O>(
    preflight: &Preflight<I>,
    pipeline: &Pipeline<I, O>,
    throttle: &LoadThrottle,
) -> Result<PreflightReport, LoadError> {
    let description = pipeline.description();
    let report = PreflightReport {
        pipeline: description.pipeline,
        latency_budget: preflight.latency,
        file_bytes: description.file_bytes,
        memory_budget: preflight.memory,
        ..PreflightReport::default()
    };
    let mut run = Run { preflight, pipeline, report, failures: Vec::new() };
    // Loading it might take the memory that is not to be taken.
    run.failures.extend(too_much(run.report.file_bytes, None, preflight.memory));
    if !run.failures.is_empty() {
        return run.end();
    }
    let before = if pipeline.model().is_loaded() { None } else { resident() };
    Lifecycle::load(pipeline, throttle)?;
    throttle.step()?;
    throttle.enter(Activity::Preflight);
    let answered = run.ask();
    run.time(&answered);
    run.report.growth = before.and_then(|before| resident().map(|after| after.saturating_sub(before)));
    run.weigh();
    run.end()
}

struct Run<'r, I: ?Sized, O> {
    preflight: &'r Preflight<I>,
    pipeline: &'r Pipeline<I, O>,
    report: PreflightReport,
    failures: Vec<PreflightFailure>,
}

impl<'r, I: ?Sized, O> Run<'r, I, O> {
    /// Asks everything once; what was answered.
    fn ask(&mut self) -> Vec<(Asked, &'r I)> {
        let mut answered = Vec::new();
        for sample in &self.preflight.samples {
            match &sample.request {
                Err(cause) => {
                    let (sample, cause) = (sample.name.clone(), cause.clone());
                    self.failures.push(PreflightFailure::Request { sample, cause });
                }
                Ok(request) => {
                    self.report.samples += 1;
                    let asked = Asked::Sample(sample.name.clone());
                    answered.extend(self.ask_one(asked, &**request, Some(sample)));
                }
            }
        }
        for (number, input) in self.preflight.recent.iter().enumerate() {
            self.report.recent += 1;
            answered.extend(self.ask_one(Asked::Recent(number), &**input, None));
        }
        answered
    }

    fn ask_one(
        &mut self,
        asked: Asked,
        kept: &'r (dyn KeptInput<I> + Sync),
        sample: Option<&Sample<I>>,
    ) -> Option<(Asked, &'r I)> {
        let traced = guarded(|| {
            let input = kept.input();
            self.pipeline.trace(input).map(|trace| (input, trace))
        });
        let (input, Trace { inputs, outputs, answer }) = match traced {
            Ok(traced) => traced,
            Err(source) => {
                self.failures.push(PreflightFailure::unanswered(asked, source));
                return None;
            }
        };
        if let Some(sample) = sample {
            self.compare(sample, &inputs, &outputs);
        }
        if self.preflight.is_finite_only {
            let is_pinned = |output: &str| sample.is_some_and(|sample| sample.outputs.contains_key(output));
            for (output, value) in outputs.iter().filter(|(output, _)| !is_pinned(output)) {
                if let Some((index, found)) = not_finite(value) {
                    let (output, found) = (output.to_owned(), name_of(found).to_owned());
                    let sample = asked.clone();
                    self.failures.push(PreflightFailure::NotFinite { sample, output, index, found });
                }
            }
        }
        match answer {
            Ok(answer) => {
                contained::let_go(answer);
                Some((asked, input))
            }
            Err(source) => {
                self.failures.push(PreflightFailure::unanswered(asked, source));
                None
            }
        }
    }

    fn compare(&mut self, sample: &Sample<I>, inputs: &Tensors, outputs: &Tensors) {
        // A tolerance that is no number, or below 0, would let nothing pass or everything.
        if !(sample.tolerance >= 0.0 && sample.tolerance.is_finite()) {
            self.failures.push(PreflightFailure::Pin {
                sample: sample.name.clone(),
                tensor: "tolerance".to_owned(),
                cause: format!("{} is no distance", sample.tolerance),
            });
            return;
        }
        let name = || sample.name.clone();
        for (input, difference) in self.differences(&sample.inputs, inputs, sample.tolerance) {
            self.failures.push(match difference {
                Difference::Malformed(cause) => {
                    PreflightFailure::Pin { sample: name(), tensor: input, cause }
                }
                Difference::Kind { expected, found } => {
                    PreflightFailure::InputKind { sample: name(), input, expected, found }
                }
                Difference::Elements { index, differing, expected, found } => {
                    PreflightFailure::Input { sample: name(), input, index, differing, expected, found }
                }
            });
        }
        for (output, difference) in self.differences(&sample.outputs, outputs, sample.tolerance) {
            self.failures.push(match difference {
                Difference::Malformed(cause) => {
                    PreflightFailure::Pin { sample: name(), tensor: output, cause }
                }
                Difference::Kind { expected, found } => {
                    PreflightFailure::OutputKind { sample: name(), output, expected, found }
                }
                Difference::Elements { index, differing, expected, found } => {
                    PreflightFailure::Output { sample: name(), output, index, differing, expected, found }
                }
            });
        }
    }

    fn differences(
        &mut self,
        pinned: &BTreeMap<String, PinnedTensor>,
        found: &Tensors,
        tolerance: f64,
    ) -> Vec<(String, Difference)> {
        let compare = |(name, pinned): (&String, &PinnedTensor)| {
            self.report.pins += 1;
            let difference = match found.value(name) {
                Some(value) => difference(pinned, value, tolerance)?,
                None => Difference::Kind {
                    expected: format!("{}{:?}", pinned.element, pinned.shape),
                    found: "not there".to_owned(),
                },
            };
            Some((name.clone(), difference))
        };
        pinned.iter().filter_map(compare).collect()
    }

    /// Warms the model up on what was answered, and takes its time.
    fn time(&mut self, answered: &[(Asked, &I)]) {
        let Preflight { latency, warm_up, clock, .. } = self.preflight;
        if answered.is_empty() {
            if let Some(budget) = *latency
                && self.failures.is_empty()
            {
                self.failures.push(PreflightFailure::NothingToRun { budget });
            }
            return;
        }
        let clock = clock.clone().unwrap_or_else(Clock::system);
        let run = |index: usize| match answered.get(index) {
            Some((_, input)) => {
                let answer = guarded(|| self.pipeline.predict(input)).map_err(|error| (index, error))?;
                contained::let_go(answer);
                Ok(())
            }
            None => Ok(()),
        };
        match warm_up.run(answered.len(), &clock, run) {
            Ok((warmth, timing)) => {
                if let Some(budget) = latency.filter(|budget| timing.median > *budget) {
                    self.failures.push(PreflightFailure::TooSlow { median: timing.median, budget });
                }
                (self.report.warm_up, self.report.timing) = (Some(warmth), Some(timing));
            }
            Err((index, source)) => {
                let asked = answered.get(index).map(|(asked, _)| asked.clone());
                let sample = asked.unwrap_or(Asked::Recent(index));
                self.failures.push(PreflightFailure::unanswered(sample, source));
            }
        }
    }

    fn weigh(&mut self) {
        let PreflightReport { file_bytes, growth, memory_budget, .. } = self.report;
        self.failures.extend(too_much(file_bytes, growth, memory_budget));
        if memory_budget.is_some() && growth.is_none() {
            self.report.notes.push(
                "what the model takes in memory is not known, since it was loaded before or the system does not tell: \
                 only the size of its files was compared"
                    .to_owned(),
            );
        }
    }

    fn end(self) -> Result<PreflightReport, LoadError> {
        if self.failures.is_empty() {
            return Ok(self.report);
        }
        let file = self.pipeline.model().name().to_owned();
        let failed = PreflightError { file, failures: self.failures, report: self.report };
        Err(failed.into())
    }
}

fn too_much(file_bytes: u64, growth: Option<u64>, budget: Option<u64>) -> Option<PreflightFailure> {
    let budget = budget?;
    (growth.unwrap_or(0).max(file_bytes) > budget).then_some(PreflightFailure::TooMuchMemory {
        file_bytes,
        growth,
        budget,
    })
}

/// Runs the host's code; a panic is an error.
fn guarded<T>(run: impl FnOnce() -> Result<T, ModelError>) -> Result<T, ModelError> {
    contained::guarded(run).map_err(ModelError::from).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_growth_must_both_be_within_the_budget() {
        for (file_bytes, growth, budget, is_refused) in [
            (100, None, None, false),
            (100, Some(200), Some(200), false),
            (100, Some(201), Some(200), true),
            (201, Some(0), Some(200), true),
            (201, None, Some(200), true),
            (200, None, Some(200), false),
        ] {
            let failure = too_much(file_bytes, growth, budget);
            assert_eq!(failure.is_some(), is_refused, "{file_bytes} {growth:?} {budget:?}");
        }
        let told = too_much(1, Some(3), Some(2)).unwrap().to_string();
        assert!(
            told.starts_with(
                "the model's files have 1 bytes and the process grew by 3 bytes, and 2 are allowed"
            ),
            "{told}"
        );
    }
}

//! A model that gets no traffic before its preflight has passed.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::PreflightReport;
use super::preflight::Preflight;
use crate::model::error::{LoadError, ModelError};
use crate::model::identity::Identity;
use crate::model::model::{Description, Model};
use crate::model::onnx::Pipeline;
use crate::model::pace::Pace;
use crate::model::{Memory, Tier, Wanted};

/// A [`Pipeline`] whose [`load`](Model::load) is its preflight: see [`Pipeline::checked`].
pub struct Checked<I: ?Sized, O> {
    pipeline: Pipeline<I, O>,
    /// Until it has passed: the inputs are not kept for as long as the version is.
    preflight: Mutex<Option<Arc<Preflight<I>>>>,
    passed: OnceLock<PreflightReport>,
}

impl<I: ?Sized, O> Pipeline<I, O> {
    /// Makes [`load`](Model::load) a preflight, so that a handle that stages the version refuses it where a check fails,
    /// with [`LoadError::Preflight`]. Until it has passed, no request is answered either.
    pub fn checked(self, preflight: Preflight<I>) -> Checked<I, O> {
        let preflight = Mutex::new(Some(Arc::new(preflight)));
        Checked { pipeline: self, preflight, passed: OnceLock::new() }
    }
}

impl<I: ?Sized, O> Checked<I, O> {
    /// The pipeline inside.
    pub fn pipeline(&self) -> &Pipeline<I, O> {
        &self.pipeline
    }

    /// What the preflight measured, once it has passed.
    pub fn report(&self) -> Option<&PreflightReport> {
        self.passed.get()
    }

    fn passed(&self) -> Result<&Pipeline<I, O>, ModelError> {
        match self.passed.get() {
            Some(_) => Ok(&self.pipeline),
            None => Err(ModelError::NotLoaded),
        }
    }
}

impl<I: ?Sized, O> Model<I, O> for Checked<I, O> {
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        self.passed()?.predict(input)
    }

    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        self.passed()?.predict_within(input, limit)
    }

    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        match self.passed() {
            Ok(pipeline) => pipeline.predict_batch(inputs),
            Err(error) => inputs.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn identity(&self) -> Identity {
        self.pipeline.identity()
    }

    /// Loads the model and runs its preflight. After a failure it may be asked again; once it has passed, it is not run
    /// any more.
    fn load(&self) -> Result<(), LoadError> {
        self.load_at(&Pace::full())
    }

    fn load_at(&self, pace: &Pace) -> Result<(), LoadError> {
        // Not held while it runs: it runs the host's code.
        let preflight = self.preflight.lock().clone();
        if let Some(preflight) = preflight {
            let report = preflight.run_at(&self.pipeline, pace)?;
            // Where two threads were at it, both have passed.
            let _ = self.passed.set(report);
            let spent = self.preflight.lock().take();
            drop(spent);
        }
        Ok(())
    }

    fn tier(&self) -> Tier {
        self.pipeline.tier()
    }

    fn wake(&self) -> Result<(), LoadError> {
        self.pipeline.wake()
    }

    fn settle(&self, wanted: &Wanted) -> Result<Tier, LoadError> {
        self.pipeline.settle(wanted)
    }

    fn memory(&self) -> Option<Memory> {
        self.pipeline.memory()
    }

    fn warm_up(&self) -> Result<bool, ModelError> {
        self.pipeline.warm_up()
    }

    fn stop_overdue(&self) {
        self.pipeline.stop_overdue();
    }

    fn maintain(&self) -> Result<(), LoadError> {
        self.pipeline.maintain()
    }

    fn description(&self) -> Description {
        self.pipeline.description()
    }
}

impl<I: ?Sized, O> fmt::Debug for Checked<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked")
            .field("pipeline", &self.pipeline)
            .field("passed", &self.passed.get().is_some())
            .finish_non_exhaustive()
    }
}

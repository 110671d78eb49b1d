//! A model that gets no traffic before its preflight has passed.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::PreflightReport;
use super::preflight::Preflight;
use crate::model::error::{LoadError, ModelError};
use crate::model::identity::Identity;
use crate::model::lifecycle::Lifecycle;
use crate::model::model::Model;
use crate::model::onnx::Pipeline;
use crate::model::throttle::LoadThrottle;

/// A [`Pipeline`] whose [`load`](Self::load) is its preflight: see [`Pipeline::checked`].
pub struct Checked<I: ?Sized, O> {
    pipeline: Pipeline<I, O>,
    /// Until it has passed: the inputs are not kept for as long as the version is.
    preflight: Mutex<Option<Arc<Preflight<I>>>>,
    passed: OnceLock<PreflightReport>,
}

impl<I: ?Sized, O> Pipeline<I, O> {
    /// Makes [`load`](Checked::load) a preflight, so that a handle that stages the version refuses it where a check fails,
    /// with [`LoadError::Preflight`]. Until it has passed, no request is answered either.
    pub fn checked(self, preflight: Preflight<I>) -> Checked<I, O> {
        let preflight = Mutex::new(Some(Arc::new(preflight)));
        Checked { pipeline: self, preflight, passed: OnceLock::new() }
    }
}

impl<I: ?Sized, O> Checked<I, O> {
    /// Loads the model and runs its preflight, for use on its own; a handle loads what it is given. Called again once the
    /// preflight has passed, it does nothing.
    ///
    /// # Errors
    ///
    /// [`LoadError::Preflight`] with every failure, or what kept the model from being loaded. It may be asked again.
    pub fn load(&self) -> Result<(), LoadError> {
        Lifecycle::load(self, &LoadThrottle::new())
    }

    /// The pipeline inside.
    pub fn pipeline(&self) -> &Pipeline<I, O> {
        &self.pipeline
    }

    /// Returns what the preflight measured, once it has passed.
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

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

/// That of the pipeline inside, but for [`load`](Lifecycle::load), which runs the preflight too, and for what that proves. After a failure it may be
/// asked again; once the preflight has passed, it is not run any more.
impl<I: ?Sized, O> Lifecycle for Checked<I, O> {
    fn inner(&self) -> Option<&dyn Lifecycle> {
        Some(&self.pipeline)
    }

    fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
        // Not held while it runs: it runs the host's code.
        let preflight = self.preflight.lock().clone();
        if let Some(preflight) = preflight {
            let report = preflight.run_at(&self.pipeline, throttle)?;
            // Where two threads were at it, both have passed.
            let _ = self.passed.set(report);
            let spent = self.preflight.lock().take();
            drop(spent);
        }
        Ok(())
    }

    fn is_proven(&self) -> bool {
        self.passed.get().is_some_and(|report| report.samples + report.recent > 0)
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

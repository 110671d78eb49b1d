//! Asking a version, and telling an answer from what is none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::ModelError;
use crate::task::{Kept, Task, TaskKind};
use crate::version::Version;

/// What decides whether an output is an answer, and what is kept of it.
pub(crate) struct Judge<'a, O> {
    pub(crate) task: &'a Task<O>,
    pub(crate) check: Option<&'a Check<O>>,
    /// How long a candidate may take.
    pub(crate) limit: Option<Duration>,
}

/// The host's own test of an answer.
pub(crate) type Check<O> = Box<dyn Fn(&O) -> bool + Send + Sync>;

impl<O: 'static> Judge<'_, O> {
    /// What is kept of an output that is an answer.
    pub(crate) fn kept(&self, output: &O) -> Result<Kept, ModelError> {
        if self.check.is_some_and(|check| !check(output)) {
            return Err(ModelError::invalid_output("the host's check refused it"));
        }
        match self.task.read(output) {
            Kept::Unreadable => Err(ModelError::invalid_output("it is not what the task says an answer is")),
            kept => Ok(kept),
        }
    }

    /// Runs the host's code; a panic is an error.
    pub(crate) fn guarded<T>(&self, run: impl FnOnce() -> T) -> Result<T, ModelError> {
        // Unwind safety: what a panic may leave half done belongs to the model or to the host's closure, which are
        // shared behind `&self` and must bear that by themselves; nothing of ours is borrowed mutably.
        catch_unwind(AssertUnwindSafe(run)).map_err(|payload| ModelError::of_panic(payload.as_ref()))
    }

    pub(crate) fn kind(&self) -> TaskKind {
        self.task.kind()
    }
}

/// Asks a version, and makes sure that what comes back is an answer.
#[inline]
pub(crate) fn attempt<I: ?Sized, O: 'static>(
    version: &Version<I, O>,
    input: &I,
    judge: &Judge<'_, O>,
) -> Result<(O, Kept), ModelError> {
    judge.guarded(|| {
        let output = match judge.limit {
            None => version.model.predict(input),
            Some(limit) => version.model.predict_within(input, limit),
        }?;
        let kept = judge.kept(&output)?;
        Ok((output, kept))
    })?
}

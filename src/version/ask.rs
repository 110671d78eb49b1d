//! Calls a version, rejects invalid output, turns panics into errors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::loaded::Version;
use crate::model::error::ModelError;
use crate::task::kept::Kept;
use crate::task::task::{Check, Task, TaskKind};

/// What decides whether an output is an answer, and what is kept of it.
pub(crate) struct Judge<'a, O> {
    pub(crate) task: &'a Task<O>,
    pub(crate) check: Option<&'a Check<O>>,
    /// How long a candidate may take.
    pub(crate) limit: Option<Duration>,
}

impl<O: 'static> Judge<'_, O> {
    /// Writes to `kept` what is kept of an output that is an answer.
    #[inline]
    pub(crate) fn keep(&self, output: &O, kept: &mut Kept) -> Result<(), ModelError> {
        if self.check.is_some_and(|check| !check(output)) {
            return Err(refused());
        }
        self.task.read(output, kept);
        if matches!(kept, Kept::Unreadable) { Err(unreadable()) } else { Ok(()) }
    }

    /// Runs the host's code; a panic is an error.
    #[inline]
    pub(crate) fn guarded<T>(&self, run: impl FnOnce() -> T) -> Result<T, ModelError> {
        // Unwind safety: what a panic may leave half done belongs to the model or to the host's closure, which are
        // shared behind `&self` and must bear that by themselves; nothing of ours is borrowed mutably.
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(returned) => Ok(returned),
            Err(payload) => Err(ModelError::of_panic(payload.as_ref())),
        }
    }

    pub(crate) fn kind(&self) -> TaskKind {
        self.task.kind()
    }
}

#[cold]
fn refused() -> ModelError {
    ModelError::invalid_output("the host's check refused it")
}

#[cold]
fn unreadable() -> ModelError {
    ModelError::invalid_output("it is not what the task says an answer is")
}

/// Asks a version, and makes sure that what comes back is an answer.
pub(crate) fn attempt<I: ?Sized, O: 'static>(
    version: &Version<I, O>,
    input: &I,
    judge: &Judge<'_, O>,
) -> Result<(O, Kept), ModelError> {
    let mut kept = Kept::Unreadable;
    let output = attempt_into(version, input, judge, &mut kept)?;
    Ok((output, kept))
}

/// The same; what is kept of the answer is written to where it stays. It is large, and to read it whole from where some
/// bytes of it have just been written takes longer than all of the statistics.
#[inline]
pub(crate) fn attempt_into<I: ?Sized, O: 'static>(
    version: &Version<I, O>,
    input: &I,
    judge: &Judge<'_, O>,
    kept: &mut Kept,
) -> Result<O, ModelError> {
    // The answer leaves by itself, not within the `Result`, which is read in other pieces than it was written in.
    let mut answered = None;
    judge.guarded(|| -> Result<(), ModelError> {
        let output = match judge.limit {
            None => version.model.predict(input),
            Some(limit) => version.model.predict_within(input, limit),
        }?;
        judge.keep(&output, kept)?;
        answered = Some(output);
        Ok(())
    })??;
    answered.ok_or_else(unreadable)
}

//! Calls a version, rejects invalid output, turns panics into errors.

use std::time::Duration;

use super::input::KeptInput;
use super::loaded::Version;
use crate::base::guarded::{Contained, guarded, let_go};
use crate::model::error::ModelError;
use crate::task::kept::Kept;
use crate::task::task::{Check, Task, TaskKind};

/// The judge of whether an output is an answer, and what is kept of it.
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
        if matches!(kept, Kept::Unreadable) { Err(unreadable(self.kind())) } else { Ok(()) }
    }

    /// Runs the host's code; a panic is an error.
    #[inline]
    pub(crate) fn guarded<T>(&self, run: impl FnOnce() -> T) -> Result<T, ModelError> {
        guarded(run).map_err(ModelError::from)
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
fn unreadable(kind: TaskKind) -> ModelError {
    ModelError::invalid_output(match kind {
        TaskKind::Unlabelled => "it is not what the task says an answer is",
        TaskKind::Binary { .. } => "it is not what the task says an answer is: a probability from 0 to 1",
        TaskKind::Classes { .. } => {
            "it is not what the task says an answer is: a class that there is, with a probability from 0 to 1"
        }
        TaskKind::Regression => "it is not what the task says an answer is: a finite number",
        TaskKind::Ranking { .. } => "it is not what the task says an answer is: a list of items",
    })
}

/// Asks a version an input that was kept, and makes sure that what comes back is an answer, which nobody is given.
pub(crate) fn attempt<I: ?Sized, O: 'static>(
    version: &Version<I, O>,
    input: &dyn KeptInput<I>,
    judge: &Judge<'_, O>,
) -> Result<(Contained<O>, Kept), ModelError> {
    let mut kept = Kept::Unreadable;
    // Its `Borrow` is the host's code.
    let input = judge.guarded(|| input.input())?;
    let output = attempt_into(version, input, judge, &mut kept)?;
    Ok((Contained::new(output), kept))
}

/// Asks a version what a caller asks; what is kept of the answer is written to where it stays. It is large, and to read it whole from where some
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
    let asked = judge.guarded(|| -> Result<(), ModelError> {
        // Out of here before anything is made of it: where that panics, an answer whose destructor does too must not be on
        // the way of the panic.
        let output = answered.insert(match judge.limit {
            None => version.model.predict(input),
            Some(limit) => version.model.predict_within(input, limit),
        }?);
        judge.keep(output, kept)
    });
    match asked.flatten() {
        Ok(()) => answered.ok_or_else(|| unreadable(judge.kind())),
        Err(error) => {
            let_go(answered);
            Err(error)
        }
    }
}

//! Candidates that are asked beside their callers: what a request hands over, and what it has back.
//!
//! A caller that asks a candidate itself is gone for as long as the candidate keeps it. So with a deadline, and where the input
//! can be shared or copied, a thread of ours asks, and the caller waits for no longer than the deadline. Live is always asked by
//! the caller: it pays nothing for this.

use std::time::Duration;

use crate::base::clock::Reading;
use crate::base::guarded::Contained;
use crate::model::error::ModelError;
use crate::version::input::KeptInput;
use crate::version::loaded::Place;

/// The request that a candidate is to be asked.
pub(crate) struct Errand<I: ?Sized, O> {
    /// The version, with one of its places for calls under way: given back when the call has ended, not when the caller leaves.
    pub(crate) place: Place<I, O>,
    pub(crate) inputs: Vec<Box<dyn KeptInput<I>>>,
    /// They go to the model together.
    pub(crate) batch: bool,
    pub(crate) limit: Duration,
    /// When the caller began to wait.
    pub(crate) started: Reading,
}

/// The outcome of an errand.
pub(crate) enum Returned<O> {
    Answered(Answered<O>),
    /// Not in time. Whatever comes later is dropped on the thread that asked.
    Late,
    /// Every thread that there may be is in a call, or the system has no thread to give: nobody was asked.
    Full,
}

/// The output of a candidate, not yet held against what an answer is.
pub(crate) struct Answered<O> {
    pub(crate) outputs: Result<Vec<Result<Contained<O>, ModelError>>, ModelError>,
    /// When it was asked: that it had to be handed over is not its doing.
    pub(crate) started: Reading,
    pub(crate) ended: Reading,
}

/// Threads that ask candidates.
pub(crate) trait AskBeside<I: ?Sized, O>: Send + Sync {
    /// Whether a thread could ask a candidate at this moment. Asked by live's requests too, so it is one relaxed load.
    fn has_room(&self) -> bool;

    /// Has a candidate asked, and waits for no longer than it may take.
    fn ask(&self, errand: Errand<I, O>) -> Returned<O>;
}

//! What a model is.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{LoadError, ModelError};
use super::identity::Identity;
use super::pace::Pace;
use super::tier::{Memory, Tier, Wanted};

/// Something that answers a request of type `I` with an answer of type `O`: an ONNX model with its pipeline, a closure
/// ([`closure`]), a native algorithm, another engine.
///
/// A model is shared by every thread that asks it, so `predict` takes `&self`; what a call needs of its own it takes
/// from a pool or makes on the stack. Whoever implements this can run the suite in
/// [`testing::conformance`](crate::testing::conformance::conformance) on it.
pub trait Model<I: ?Sized, O>: Send + Sync {
    /// Answers one request.
    ///
    /// Runs on the threads of the host's requests, and on shadow workers. A panic is caught by the handle and counted
    /// like an error.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] where the request is at fault, anything else where the model is.
    fn predict(&self, input: &I) -> Result<O, ModelError>;

    /// What makes this version the same as another: its files, its pipeline and the options that change answers.
    fn identity(&self) -> Identity;

    /// Makes the model ready to answer. Called once by the handle before any traffic, on the thread that stages, never
    /// on a request's; calling it again does nothing.
    ///
    /// # Errors
    ///
    /// Whatever keeps the model from being loaded; the model may be asked to load again.
    fn load(&self) -> Result<(), LoadError> {
        Ok(())
    }

    /// Like [`load`](Self::load), at the pace it is given: asks it before each step that takes long. A handle calls this one.
    /// The default asks once, before all of it.
    ///
    /// # Errors
    ///
    /// Those of `load`, and [`LoadError::Cancelled`].
    fn load_at(&self, pace: &Pace) -> Result<(), LoadError> {
        pace.step()?;
        self.load()
    }

    /// How ready it is. The default, and whatever has no other way to be, is hot as long as it is loaded.
    fn tier(&self) -> Tier {
        Tier::Hot
    }

    /// Makes a model that is loaded, and has gone [cold](Tier::Cold) since, answer again as soon as can be. Called before it
    /// gets traffic, on the thread that rolls back, never on a request's. Returns at once where it can answer.
    ///
    /// # Errors
    ///
    /// What it needs is not to be had any more.
    fn wake(&self) -> Result<(), LoadError> {
        Ok(())
    }

    /// Goes to the tier that is wanted, as far as there is such a one for this model, and gives the one it is in. Requests go
    /// on meanwhile: what answers them is exchanged, never missing, unless cold is wanted. The handle's background work calls
    /// this on one thread at a time.
    ///
    /// # Errors
    ///
    /// Whatever stands in the way; the model stays as it was.
    fn settle(&self, wanted: &Wanted) -> Result<Tier, LoadError> {
        let _ = wanted;
        Ok(self.tier())
    }

    /// What it takes of the process's memory; nothing where that is not known. May take milliseconds.
    fn memory(&self) -> Option<Memory> {
        None
    }

    /// Runs once on an input made up from the model's own signature, so that the first request is not the first run.
    /// Returns whether it ran: `false` where the model cannot make up an input, as is the default.
    ///
    /// # Errors
    ///
    /// The failure of that run.
    fn warm_up(&self) -> Result<bool, ModelError> {
        Ok(false)
    }

    /// Answers several requests, in their order. The default asks one after the other; an engine that gains from
    /// batches brings its own.
    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        inputs.iter().map(|input| self.predict(input)).collect()
    }

    /// Like [`predict`](Self::predict), and gives up after `limit`. The default cannot interrupt itself and answers
    /// late; the handle then counts a missed deadline.
    ///
    /// # Errors
    ///
    /// [`ModelError::Deadline`] where it gave up, besides those of `predict`.
    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        let _ = limit;
        self.predict(input)
    }

    /// Stops the runs of [`predict_within`](Self::predict_within) whose time is up. The handle's background work calls
    /// this again and again while calls with a limit may be under way, so it must return at once where there are none.
    fn stop_overdue(&self) {}

    /// Makes good what failures have cost, on the calling thread: a model with a pool replaces the sessions that panics
    /// have taken out of it. The handle's background work calls this now and then; requests never do.
    ///
    /// # Errors
    ///
    /// Whatever keeps the model from being mended; it goes on with what it has, and may be asked again.
    fn maintain(&self) -> Result<(), LoadError> {
        Ok(())
    }

    /// What a person wants to know about the model, for `status()`.
    fn description(&self) -> Description {
        Description::default()
    }
}

/// A model that is shared stays in the tier it is in: whoever else has it may be asking it.
impl<I: ?Sized, O, M: Model<I, O> + ?Sized> Model<I, O> for Arc<M> {
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        (**self).predict(input)
    }
    fn identity(&self) -> Identity {
        (**self).identity()
    }
    fn load(&self) -> Result<(), LoadError> {
        (**self).load()
    }
    fn load_at(&self, pace: &Pace) -> Result<(), LoadError> {
        (**self).load_at(pace)
    }
    fn warm_up(&self) -> Result<bool, ModelError> {
        (**self).warm_up()
    }
    fn memory(&self) -> Option<Memory> {
        (**self).memory()
    }
    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        (**self).predict_batch(inputs)
    }
    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        (**self).predict_within(input, limit)
    }
    fn stop_overdue(&self) {
        (**self).stop_overdue();
    }
    fn maintain(&self) -> Result<(), LoadError> {
        (**self).maintain()
    }
    fn description(&self) -> Description {
        (**self).description()
    }
}

/// What a model says of itself, for people and for `status()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// Name and version of the feature pipeline.
    pub pipeline: Option<String>,
    /// Inputs, one line each: name, element type, shape with symbolic dimensions.
    pub inputs: Vec<String>,
    /// Outputs, likewise.
    pub outputs: Vec<String>,
    /// Producer, operator sets and the file's own metadata, as key and value.
    pub metadata: Vec<(String, String)>,
    /// Size of the model's files, in bytes; 0 where it has none.
    pub file_bytes: u64,
    /// Sessions in the pool; 0 for a model without one.
    pub sessions: usize,
    /// Whether it was loaded from its prepared form.
    pub prepared: bool,
    /// Why it has no prepared form, where it was to have one.
    pub unprepared: Option<String>,
}

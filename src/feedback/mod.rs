//! Truth that comes later: the id that travels with a prediction, and the join of an outcome to the arm that was
//! assigned.

pub(crate) mod id;
pub(crate) mod join;
pub(crate) mod outcome;
pub(crate) mod repeats;
#[cfg(feature = "state")]
pub(crate) mod saved;

pub use crate::task::kept::{RANKING_DEPTH, Ranked};
pub use crate::task::outcome::Censoring;
pub use crate::task::task::{CLASSES_MAX, TaskKind};
pub use id::{InvalidPredictionId, PredictionId};
pub use outcome::{FeedbackCounts, FeedbackOutcome, FeedbackRefusal};

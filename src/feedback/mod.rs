//! Truth that comes later: the id that travels with a prediction, and the join of an outcome to the arm that was
//! assigned.

pub(crate) mod id;
pub(crate) mod join;

pub use id::{InvalidPredictionId, PredictionId};
pub use join::{FeedbackCounts, Joined, Refusal};

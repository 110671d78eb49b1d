//! Truth that comes later: the id that travels with a prediction, and the join of an outcome to the arm that was
//! assigned.

// # Design decisions
//
// **An id is self-contained.** Process, exposure, sequence, time, share, and what was predicted, in 50 to 110 characters
// with a SipHash code. A thousand predictions a second for a week would be 6e8 rows; instead there is a bit per prediction
// and figure, on pages of 4,096 that exist only where an outcome came. The printed code is computed when an id is printed;
// most never are.
//
// **What is thinned is thinned before its outcome is known.** When the bits in prospect would fill more than half of the
// memory allowed, new predictions are given a place only if a hash of their sequence says so, one in two, then one in
// four. The decision is in the id. Forgetting the oldest instead would favour outcomes that come fast, and those are not
// like the others (cancelled flights are known first).
//
// **What was told is written down as long as it can be taken back.** A sum that is saved without what was added to it can be
// corrected by nobody after a start, and a first label that was wrong becomes evidence. So the rows of outcomes that may be
// corrected are saved with the sums, at one moment, with the value, when it became known, and the place among those that wait;
// of those alone that still wait in a rollout that runs: nothing else would be changed by a correction, and a service without a
// rollout writes none. They are bounded as they are in memory, by number and by bytes. Rejected: to count nothing before its wait
// has ended, since each label would then be a row for days and not a count, and past the bound the oldest would have to be left
// out, which are not like the others; and to take out after a start what cannot be corrected, which is all of it.

pub(crate) mod id;
pub(crate) mod join;
pub(crate) mod outcome;
pub(crate) mod repeats;
pub(crate) mod rows;
#[cfg(feature = "state")]
pub(crate) mod saved;

pub use crate::task::kept::{RANKING_DEPTH, Ranked};
pub use crate::task::outcome::Censoring;
pub use crate::task::task::{CLASSES_MAX, TaskKind};
pub use id::{PredictionId, PredictionIdError};
pub use outcome::{FeedbackCounts, FeedbackOutcome, FeedbackRefusal};

//! The task: what is kept of an answer until the truth is known, what the truth looks like, and how it depends on the
//! answer.

// # Design decisions
//
// **Segments are in the id**, as a hash, so that a label finds its own after a restart and in another replica. By segment a
// guard asks e-BH over as many as there *can* be: over as many as have come, the number would follow from the data. What e-BH
// rejects first never exceeds the mean of all e-values, so it may be looked at at any time.

pub(crate) mod kept;
pub(crate) mod kpi;
pub(crate) mod outcome;
pub(crate) mod segments;
pub(crate) mod task;

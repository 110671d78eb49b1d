//! The task: what is kept of an answer until the truth is known, what the truth looks like, and how it depends on the
//! answer.

pub(crate) mod kept;
pub(crate) mod kpi;
pub(crate) mod outcome;
pub(crate) mod segments;
pub(crate) mod task;

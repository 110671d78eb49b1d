//! Outcomes that do not fit their prediction.

/// Why an outcome was not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The task is told no truth.
    Unlabelled,
    /// The part that was kept of the answer is not what the task keeps.
    Answer,
    /// The truth is not of the task's kind.
    Truth,
    /// The class is not one of the task's.
    Class,
    /// The number is not finite.
    NotFinite,
}

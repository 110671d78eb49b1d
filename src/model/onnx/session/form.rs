//! The two forms in which a prepared model is loaded.

use std::fmt;

/// How a session of a prepared form has its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the mapped file of the prepared form, as the processor's kernels want them.
    Packed,
    /// There too, as they are: nothing is read before it is needed.
    Mapped,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packed => "packed",
            Self::Mapped => "mapped",
        })
    }
}

//! In what a store does not hold to what is asked of it.

use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::clock::Timestamp;

/// In what a store is not fit for a fleet.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnfitStoreError {
    /// An answer was another one than it had to be.
    #[error("{asked}: the store answered {found}, and had to answer {expected}")]
    Answer {
        /// What was asked.
        asked: String,
        /// What came.
        found: String,
        /// What had to come.
        expected: String,
    },
    /// One tag was given to two contents.
    #[error("the tag {tag} names two contents")]
    Tag {
        /// Which.
        tag: String,
    },
    /// The store's clock went back by more than ten seconds.
    #[error("a value was put at {later}, and one before it at {earlier}")]
    Clock {
        /// When the earlier one was.
        earlier: Timestamp,
        /// When the later one was.
        later: Timestamp,
    },
}

debug_as_told!(UnfitStoreError);

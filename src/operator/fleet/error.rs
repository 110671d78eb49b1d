//! Why a fleet cannot be looked at, or changed.

use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::invalid::ArgumentError;
use crate::fleet::StoreError;

/// Why an operator has not done what was asked of it.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The place or the secret makes no sense.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The store cannot be asked. Nothing was done.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing of such a fleet is in the store.
    #[error(
        "no fleet of {model} is under `{under}` in this store: look at the model's name, at the key that its members are \
         given, and at the address of the store"
    )]
    NotFounded {
        /// The handles' name.
        model: String,
        /// Where it was looked for.
        under: String,
    },
    /// What was agreed on is not there any more, and other things of the fleet are.
    #[error("what was agreed on for {model} is gone from the store: no process raises anything. Repair it")]
    HeadMissing {
        /// The handles' name.
        model: String,
    },
    /// A value cannot be read: it is damaged, a later release's, or sealed with another secret.
    #[error("{key}: {reason}")]
    Unreadable {
        /// Where it lies.
        key: String,
        /// Why.
        reason: String,
    },
    /// Builds of this release may not decide here.
    #[error("a later release of this library decides in this fleet: use its program")]
    Newer,
    /// Nothing has changed.
    #[error("nothing was agreed on: {reason}")]
    NotAgreed {
        /// Why.
        reason: String,
    },
    /// The store did not say what came of it. It may be true already, or in a moment.
    #[error(
        "it is not known whether it was agreed on ({reason}): look at the status before it is said again"
    )]
    Unknown {
        /// What the store said.
        reason: String,
    },
    /// Several things were agreed on, of which none comes from the others, or somebody has seen what is kept nowhere: a person has to
    /// say which of them holds.
    #[error(
        "the store has more than one history, or less than was seen{}: nothing is done before somebody has said from which \
         head it goes on. Kept are: {}",
        seen.as_ref().map(|seen| format!(" (a process has {seen})")).unwrap_or_default(),
        holds.join("; ")
    )]
    Histories {
        /// The newest head of each history that is kept, as `repair` takes it.
        heads: Vec<String>,
        /// The same, each with when and by whom it was agreed on, and what it holds.
        holds: Vec<String>,
        /// The newest that a process has and nobody has kept.
        seen: Option<String>,
    },
}

debug_as_told!(FleetError);

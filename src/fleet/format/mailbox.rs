//! A mailbox: outcomes for the process that made the predictions, from those that they came back to.

use serde::{Deserialize, Serialize};

use super::error::FormatError;
use super::hex::Hex;
use crate::base::clock::Timestamp;
use crate::task::outcome::Outcome;

/// Letters and outcomes in a mailbox, at most: more than its bytes hold.
const LETTERS_MAX: usize = 4_096;
const OUTCOMES_MAX: usize = 8_192;

/// The longest printed id: one of a ranked list has 110 characters.
const ID_MAX: usize = 256;

/// What others have left for a process. Only its owner takes something out, and it takes all of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Mailbox {
    /// Another one in each that is put, so that no two have the same bytes: a store may name a value by its digest.
    pub(crate) nonce: Hex,
    pub(crate) letters: Vec<Letter>,
    /// Its owner has ended, and could not remove it: nobody reads it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ended: bool,
}

/// Outcomes that one process has left at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// The process that wrote it, as ids have it.
    pub(crate) from: Hex,
    /// Its number among those that this one wrote to that mailbox, from 1 on: none is read twice.
    pub(crate) n: u64,
    /// When it was written, by the clock of the process that wrote it, which alone compares it.
    pub(crate) at: Timestamp,
    pub(crate) outcomes: Vec<Carried>,
}

/// One outcome on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Carried {
    /// The printed id of the prediction, with its own seal.
    pub(crate) id: String,
    /// With the time at which it became known, so that the way takes nothing from it.
    pub(crate) outcome: Outcome,
}

impl Mailbox {
    /// # Errors
    ///
    /// More letters, more outcomes or a longer id than there can be.
    pub(crate) fn check(&self) -> Result<(), FormatError> {
        let letters = self.letters.len();
        FormatError::unless(letters <= LETTERS_MAX, "number of letters", letters, "at most 4,096")?;
        let outcomes: usize = self.letters.iter().map(|letter| letter.outcomes.len()).sum();
        FormatError::unless(outcomes <= OUTCOMES_MAX, "number of outcomes", outcomes, "at most 8,192")?;
        let carried = self.letters.iter().flat_map(|letter| &letter.outcomes);
        let longest = carried.map(|carried| carried.id.len()).max().unwrap_or_default();
        FormatError::unless(longest <= ID_MAX, "longest id", longest, "at most 256 bytes")
    }
}

//! What all members have counted, cut along one chain.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::counts::{Book, Counts};
use super::ends::Ends;
use super::error::FormatError;
use super::head::Place;
use super::hex::Hex;
use crate::base::clock::Timestamp;

/// The merged evidence, and how far each row has gone into it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "C: Counts")]
pub(crate) struct Ledger<C: Counts> {
    pub(crate) n: u64,
    pub(crate) nonce: Hex,
    /// Who wrote it.
    pub(crate) judge: Hex,
    /// The head that it was cut under.
    pub(crate) head: Place,
    /// Time in which somebody judged.
    pub(crate) active_ms: u64,
    /// Time in which somebody looked at rows, by the clocks of those who did. It stands still while nobody does: ages
    /// of rows are counted in it.
    #[serde(default)]
    pub(crate) watched_ms: u64,
    /// For how long nothing is raised yet: others must have had time to tell what they have seen.
    pub(crate) quiet_ms: u64,
    /// Cuts whose counts were given up, of all members alike.
    pub(crate) voids: u64,
    /// What closed rows had. A row that is closed stays so.
    pub(crate) closed: Book<C>,
    /// What closed and open rows had together at this cut: what is more at the next one is evidence.
    pub(crate) base: Book<C>,
    /// What guards look at: all that was more, cut by cut. Never shrinks.
    pub(crate) evidence: Book<C>,
    pub(crate) marks: BTreeMap<Hex, Mark>,
    /// Processes that ended without a word.
    #[serde(default)]
    pub(crate) ends: Ends,
    /// The nonce of the ledger before.
    pub(crate) before: Hex,
    /// The attempts that its head has: what was counted of those that were over is left out.
    #[serde(default)]
    pub(crate) runs: Vec<u32>,
    /// What a later release has added.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

/// How far a row has gone into a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Its number.
    pub(crate) n: u64,
    /// When it was closed, by the store's clock.
    pub(crate) closed: Option<Timestamp>,
    /// When it was first found with that number, in the time in which somebody looked.
    #[serde(default)]
    pub(crate) seen: Option<u64>,
    /// How long its process had lived.
    #[serde(default)]
    pub(crate) alive_ms: u64,
    /// Its process was found to have ended without a word.
    #[serde(default)]
    pub(crate) ended: bool,
}

impl Mark {
    /// For how long at least it has not moved.
    pub(crate) fn silence(&self, watched_ms: u64) -> Duration {
        Duration::from_millis(watched_ms.saturating_sub(self.seen.unwrap_or(watched_ms)))
    }
}

impl<C: Counts> Ledger<C> {
    /// Before the first cut.
    pub(crate) fn empty() -> Self {
        Self {
            n: 0,
            nonce: Hex(0),
            judge: Hex(0),
            head: Place::default(),
            active_ms: 0,
            watched_ms: 0,
            quiet_ms: 0,
            voids: 0,
            closed: Book::default(),
            base: Book::default(),
            evidence: Book::default(),
            marks: BTreeMap::new(),
            ends: Ends::default(),
            before: Hex(0),
            runs: Vec::new(),
            more: Map::new(),
        }
    }

    /// Whether it has left out what was counted of an attempt, which was over: see [`Head::is_over`](super::head::Head::is_over).
    pub(crate) fn left_out(&self, attempt: u32) -> bool {
        !self.runs.contains(&attempt) && self.runs.iter().any(|later| attempt < *later)
    }

    pub(crate) fn open(&self) -> usize {
        self.marks.values().filter(|mark| mark.closed.is_none()).count()
    }

    pub(crate) fn check(&self) -> Result<(), FormatError> {
        self.ends.check()?;
        FormatError::unless(self.runs.len() <= 64, "number of attempts", self.runs.len(), "at most 64")?;
        FormatError::unless(self.n > 0, "number", self.n, "at least 1")
    }
}

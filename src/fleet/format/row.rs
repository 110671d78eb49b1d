//! What one life of a process says of itself. Only it writes this, over what it wrote before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::counts::{Book, Counts};
use super::error::FormatError;
use super::head::{Lowering, Place};
use super::hex::Hex;
use crate::base::text::TEXT_MAX;

/// What a member says of itself, and what it has counted since its name began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "C: Counts")]
pub(crate) struct Row<C: Counts> {
    pub(crate) name: Hex,
    /// The name that the life of its process began with: by it whoever judges is known.
    #[serde(default)]
    pub(crate) life: Hex,
    /// Counts attempts to write. None is used twice.
    pub(crate) n: u64,
    pub(crate) nonce: Hex,
    pub(crate) build: Build,
    pub(crate) class: String,
    /// The head that it has applied.
    pub(crate) has: Place,
    pub(crate) state: State,
    /// Digests of versions that it could run now, and of those that it could not, with the reason.
    pub(crate) ready: Vec<String>,
    pub(crate) failed: BTreeMap<String, String>,
    /// Attempts whose candidate is passed over here.
    pub(crate) tripped: Vec<u32>,
    /// What it wants lowered and may not lower itself.
    pub(crate) asks: Vec<Lowering>,
    pub(crate) counts: Book<C>,
    /// How long the process lives, under whatever names.
    pub(crate) alive_ms: u64,
    /// What a later release has added.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Build {
    /// Of this library, as a number that grows.
    pub(crate) library: u32,
    pub(crate) host: String,
}

/// What a member is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It has no head yet.
    Joining,
    /// It has the newest head that it knows of.
    Following,
    /// It could not read the head for so long that no candidate answers, or nobody has judged for long.
    CutOff,
    /// The store has another history than the one that it followed.
    Diverged,
    /// Its last row under this name.
    Sealed,
    /// It has ended, and said so.
    Left,
}

impl State {
    /// Whether nothing comes after it under this name.
    pub(crate) fn is_last(self) -> bool {
        matches!(self, Self::Sealed | Self::Left)
    }
}

impl<C: Counts> Row<C> {
    pub(crate) fn check(&self) -> Result<(), FormatError> {
        let most = self.ready.len().max(self.failed.len()).max(self.tripped.len()).max(self.asks.len());
        FormatError::unless(most <= 256, "longest list", most, "at most 256 entries")?;
        let texts = self.failed.values().chain([&self.class, &self.build.host]);
        let longest = texts.map(String::len).max().unwrap_or_default();
        FormatError::unless(longest <= TEXT_MAX, "longest text", longest, "at most 4096 bytes")?;
        FormatError::unless(self.n > 0, "number", self.n, "at least 1")
    }
}

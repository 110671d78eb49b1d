//! The files of a state folder and their limits.

use std::path::PathBuf;

use crate::base::disk::Files;

pub(crate) const JOURNAL: &str = "journal";

pub(crate) const ASIDE: &str = "journal.new";

pub(crate) const LOCK: &str = "lock";

/// Shows those who look that a process has the folder.
pub(crate) const HELD: &str = "held";

/// How far the journal was acknowledged.
pub(crate) const MARK: &str = "mark";

pub(crate) const KEY: &str = "key";

pub(crate) const KEY_ASIDE: &str = "key.new";

/// The longest journal that is read or written: some hundred times what any has, and little enough to be searched for
/// damage in a second.
pub(crate) const FILE_MAX: u64 = 1 << 30;

/// Decisions that are read: more than any handle remembers, and so writes again.
pub(crate) const DECISIONS_MAX: usize = 1024;

/// Where a handle's state is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) files: Files,
    pub(crate) folder: PathBuf,
}

/// The limits of a journal's growth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How much is added before it should be written again: with a rollout under three guards, 70 KB every ten seconds, that is
    /// forty minutes; and little enough to be read at a start.
    pub(crate) growth: u64,
    /// How many events are kept when it is written again: at one a minute, two months.
    pub(crate) events: usize,
    /// How many bytes of them.
    pub(crate) event_bytes: u64,
    /// How many bytes of decisions are kept likewise: a handle remembers 256, which have some 10 KB each.
    pub(crate) decision_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { growth: 16 << 20, events: 100_000, event_bytes: 16 << 20, decision_bytes: 8 << 20 }
    }
}

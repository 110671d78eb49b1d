//! The record of what happens to a handle, written down as it happens.
//!
//! Two rules, and they are not the same. What *raises* exposure is written first, as an intention, and does not happen
//! where that fails. What *lowers* it happens first and is written afterwards: by whoever lowered it where nobody else is
//! writing, otherwise by whoever is, or by the next tick. So no rollback acts late because of a disk, though the call may
//! return late: it has written what it did.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};

use crate::base::clock::Timestamp;
use crate::base::sync::Asked;
use crate::control::control::Control;
use crate::state::Journal;
use crate::state::names::Place;

/// Writes down what happens.
pub(crate) struct Recorder {
    pub(crate) writing: Mutex<Writing>,
    /// Somebody has found another writing, and leaves it to them.
    pub(crate) again: Asked,
    /// This life of the handle.
    pub(crate) process: u64,
    /// How often evidence is written where nothing else is.
    pub(crate) checkpoint_every: Duration,
    /// The extent of what is on disk: the epoch, the number of the event after the last one, and that of the last
    /// decision. Written by whoever has the turn, under its lock; for readers without it see `is_durable`.
    pub(crate) written: (AtomicU64, AtomicU64, AtomicU64),
    /// It was told that what happens is not on disk, and not yet that it is again. Relaxed: of those who change it at once
    /// one sees that it did, and tells.
    pub(crate) failing: AtomicBool,
}

pub(crate) struct Writing {
    /// Nothing while another process has it, and once the handle was closed.
    pub(crate) journal: Option<Journal>,
    /// Where it is, while another process has it.
    pub(crate) looking_at: Option<Place>,
    /// Its size and when it was written last, as it was looked at last.
    pub(crate) seen: Option<(u64, Option<SystemTime>)>,
    /// Until then it is not looked at again, since it could not be read or followed.
    pub(crate) rests_until: Timestamp,
    /// Lives of the handle so far, this one included.
    pub(crate) lives: u64,
    pub(crate) at: Timestamp,
    /// Whether something that was to be written as a difference was not, so all of it is needed.
    pub(crate) whole: bool,
}

/// The turn to write. Whoever has it raises exposure, and nobody else does.
pub(crate) struct Turn<'a>(pub(crate) MutexGuard<'a, Writing>);

impl Recorder {
    /// `journal` is nothing where another process has it.
    pub(crate) fn new(
        journal: Option<Journal>,
        place: Place,
        (process, lives): (u64, u64),
        checkpoint_every: Duration,
        now: Timestamp,
    ) -> Self {
        let looking_at = journal.is_none().then_some(place);
        Self {
            writing: Mutex::new(Writing {
                journal,
                looking_at,
                seen: None,
                rests_until: Timestamp::default(),
                lives,
                at: now,
                whole: true,
            }),
            again: Asked::new(),
            process,
            checkpoint_every,
            written: (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)),
            failing: AtomicBool::new(false),
        }
    }

    /// Where the journal is, while another process has it.
    pub(crate) fn looking_at(&self) -> Option<Place> {
        self.writing.try_lock()?.looking_at.clone()
    }

    /// The turn to write; waits for whoever has it.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn(self.writing.lock())
    }

    /// Whether all that happened is on disk.
    pub(crate) fn is_durable(&self, control: &Control) -> bool {
        // Relaxed, here and below: each value stands for itself, and whoever reads too early takes what is on disk to be
        // less than it is.
        !self.failing.load(Ordering::Relaxed)
            && self.written.0.load(Ordering::Relaxed) == control.epoch
            && self.written.1.load(Ordering::Relaxed) == control.announcer.next()
            && self.written.2.load(Ordering::Relaxed) == control.decided
    }
}

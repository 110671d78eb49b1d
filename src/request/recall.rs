//! Which predictions a version answered for real, so that they can be made again once it was taken back.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};

use crate::feedback::PredictionId;
use crate::version::id::VersionId;

/// The answers that a version had given before it was taken back.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recall {
    /// The version.
    pub version: VersionId,
    /// The predictions that it answered for callers, as a canary and while it was watched as live; oldest first.
    pub answered: Vec<PredictionId>,
    /// How many more there were: only so many are kept.
    pub missed: u64,
}

/// Answers between two ticks. Noting one never waits: what there is no room for is counted.
pub(crate) struct Answers {
    sender: Sender<PredictionId>,
    receiver: Receiver<PredictionId>,
    missed: AtomicU64,
}

/// Answers that wait for a tick, at most.
const WAITING_MAX: usize = 16_384;

impl Answers {
    /// Room for as many as are kept, up to what a tick's worth of canary answers may be.
    pub(crate) fn new(kept: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(kept.min(WAITING_MAX));
        Self { sender, receiver, missed: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn note(&self, id: PredictionId) {
        if self.sender.try_send(id).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed); // Relaxed: a count that a later `take` finds too
        }
    }

    /// Returns what was noted since the last time, and how much there was no room for.
    pub(crate) fn take(&self) -> (Vec<PredictionId>, u64) {
        (self.receiver.try_iter().collect(), self.missed.swap(0, Ordering::Relaxed))
    }
}

//! The threads of a handle are watched: what each last did is known, and one that a panic ends is begun again and told.
//!
//! All of the host's code is [guarded](crate::base::guarded), so what ends here is a fault of ours. It must not end the work
//! with it: a handle whose ticks have stopped takes nothing back, and nobody would know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

/// A thread of the handle's, as [`Status`](crate::status::Status::threads) shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadStatus {
    /// Its name, as the system shows it.
    pub name: String,
    /// When it last did its work, or found that there was none; nothing before the first time. One that is stuck shows an
    /// old moment here.
    pub worked: Option<Timestamp>,
    /// How often a panic ended its work. It was begun again each time, and an
    /// [event](crate::events::EventKind::ThreadDied) told of the first, second, fourth, eighth time, and so on.
    pub died: u64,
}

/// What is known of one thread. Relaxed, all of it: figures for showing.
pub(crate) struct Beat {
    pub(crate) name: &'static str,
    worked: AtomicU64,
    died: AtomicU64,
}

impl Beat {
    /// It has done its work, at this moment.
    #[inline]
    pub(crate) fn worked(&self, now: Timestamp) {
        self.worked.store(now.unix_nanos(), Ordering::Relaxed);
    }

    /// A panic has ended it: how often that was so far.
    pub(crate) fn died(&self) -> u64 {
        self.died.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The threads of a handle.
#[derive(Default)]
pub(crate) struct Beats(Mutex<Vec<Arc<Beat>>>);

impl Beats {
    /// One more thread.
    pub(crate) fn of(&self, name: &'static str) -> Arc<Beat> {
        let beat = Arc::new(Beat { name, worked: AtomicU64::new(0), died: AtomicU64::new(0) });
        self.0.lock().push(Arc::clone(&beat));
        beat
    }

    pub(crate) fn status(&self) -> Vec<ThreadStatus> {
        let status = |beat: &Arc<Beat>| {
            let worked = Some(beat.worked.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0);
            ThreadStatus {
                name: beat.name.to_owned(),
                worked: worked.map(Timestamp::from_unix_nanos),
                died: beat.died.load(Ordering::Relaxed),
            }
        };
        self.0.lock().iter().map(status).collect()
    }
}

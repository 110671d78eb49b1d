//! The threads of a handle are watched: what each last did is known, and one that a panic ends is begun again and told.
//!
//! All of the host's code is [guarded](crate::base::guarded), so what ends here is a fault of ours. It must not end the work
//! with it: a handle whose ticks have stopped takes nothing back, and nobody would know.
//!
//! A thread that does not come back from a version's code cannot be ended, by anybody. It is given up: another takes its place,
//! it is told and shown, and when the code returns at last it ends without a word.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::base::clock::{Reading, TimePoint, Timestamp};
use crate::base::standstill::Standstills;
use crate::model::activity::Activity;
use crate::version::id::VersionId;
use crate::version::post::{At, Post};

/// A thread of the handle's, as [`Status`](crate::status::Status::threads) shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadStatus {
    /// Its name, as the system shows it.
    pub name: String,
    /// When it last did its work, or found that there was none; nothing before the first time. One that is stuck shows an
    /// old moment here.
    pub worked: Option<Timestamp>,
    /// How often a panic ended its work, or that of a thread of its name in whose place it is. It was begun again each time, and an
    /// [event](crate::events::EventKind::ThreadDied) told of the first, second, fourth, eighth time, and so on.
    pub died: u64,
    /// The call that it was given up in, where it was: one that does not return. It is gone from here once that has
    /// returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<AbandonedCall>,
}

/// A call beside the requests that took longer than it may, and is waited for no longer. Its thread can be neither stopped nor
/// used: it ends when the call returns, and what the call came to is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AbandonedCall {
    /// The version whose code it is.
    pub version: VersionId,
    /// The version's activity.
    pub activity: Activity,
    /// Since when.
    pub began: Timestamp,
    /// When it was given up.
    pub since: Timestamp,
}

/// How many threads of one kind may be given up at one time. Each keeps a stack and the version that it is in; and with as many
/// in code that does not return, one more would not fare better.
pub(crate) const ABANDONED_MAX: usize = 8;

/// The heartbeat of one thread. Relaxed, all figures: for showing.
pub(crate) struct Beat {
    pub(crate) name: &'static str,
    worked: AtomicU64,
    died: AtomicU64,
    /// The post that it is at.
    pub(crate) post: Arc<Post>,
    /// Dropped when the thread ends, or is waited for no longer: see [`Beats::have_ended`].
    ending: Mutex<Option<Sender<()>>>,
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

    /// It has ended, or nobody is to wait for its end.
    pub(crate) fn ended(&self) {
        self.ending.lock().take();
    }

    fn status(&self) -> ThreadStatus {
        let worked = Some(self.worked.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0);
        let abandoned = self.post.abandoned().map(|(at, since)| AbandonedCall {
            version: at.version,
            activity: at.activity(),
            began: at.began.at,
            since,
        });
        ThreadStatus {
            name: self.name.to_owned(),
            worked: worked.map(Timestamp::from_unix_nanos),
            died: self.died.load(Ordering::Relaxed),
            abandoned,
        }
    }
}

/// The threads of a handle.
pub(crate) struct Beats {
    all: Mutex<Vec<Arc<Beat>>>,
    /// Every thread has a clone of this and never sends: the other end is disconnected when the last one has ended.
    ending: Mutex<Option<Sender<()>>>,
    ended: Receiver<()>,
    /// Threads that end when they are told to, and are begun by requests: see [`stopped`](Self::stopped).
    stopping: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
    /// Times in which nobody ticked.
    standstills: Mutex<Standstills>,
}

impl Default for Beats {
    fn default() -> Self {
        let (ending, ended) = crossbeam_channel::bounded(0);
        let (stopping, stopped) = crossbeam_channel::bounded(0);
        let (ending, stopping) = (Mutex::new(Some(ending)), Mutex::new(Some(stopping)));
        let standstills = Mutex::default();
        Self { all: Mutex::default(), ending, ended, stopping, stopped, standstills }
    }
}

impl Beats {
    /// One more thread.
    pub(crate) fn of(&self, name: &'static str) -> Arc<Beat> {
        let ending = Mutex::new(self.ending.lock().clone());
        let (worked, died) = (AtomicU64::new(0), AtomicU64::new(0));
        let beat = Arc::new(Beat { name, worked, died, post: Arc::default(), ending });
        self.all.lock().push(Arc::clone(&beat));
        beat
    }

    /// A thread that is no more. How often it died is told by another of its name, which took its place: a counter does not go back.
    pub(crate) fn forget(&self, beat: &Arc<Beat>) {
        let all = &mut *self.all.lock();
        all.retain(|other| !Arc::ptr_eq(other, beat));
        if let Some(heir) = all.iter().find(|other| other.name == beat.name) {
            heir.died.fetch_add(beat.died.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Somebody ticks. Of the time since the last tick, no more than `counts` counts for what is under way.
    pub(crate) fn look(&self, now: Reading, counts: Duration) {
        self.standstills.lock().look(now, counts);
    }

    /// How long what began then has lasted by now, as far as somebody ticked.
    pub(crate) fn lasted(&self, began: Reading, now: Reading) -> Duration {
        self.standstills.lock().lasted(began, now)
    }

    /// The threads that are at a call which takes longer than it may: given up by this.
    pub(crate) fn abandon_overdue(&self, now: TimePoint) -> Vec<(&'static str, At)> {
        let all = self.all.lock();
        let overdue = |beat: &Arc<Beat>| {
            let at = beat.post.abandon_overdue(now, |began| self.lasted(began.read, now.read))?;
            beat.ended();
            Some((beat.name, at))
        };
        all.iter().filter_map(overdue).collect()
    }

    /// How many threads of this name work, and how many were given up and have not returned.
    pub(crate) fn count(&self, name: &str) -> (usize, usize) {
        let all = self.all.lock();
        let named = all.iter().filter(|beat| beat.name == name);
        named.fold((0, 0), |(working, abandoned), beat| {
            if beat.post.is_abandoned() { (working, abandoned + 1) } else { (working + 1, abandoned) }
        })
    }

    /// Disconnected once the handle ends.
    pub(crate) fn stopped(&self) -> &Receiver<()> {
        &self.stopped
    }

    /// Waits for threads that end, up to so long; whether all of them have. From now on no thread is waited for that begins.
    pub(crate) fn have_ended(&self, patience: Duration) -> bool {
        self.stopping.lock().take();
        self.ending.lock().take();
        matches!(self.ended.recv_timeout(patience), Err(RecvTimeoutError::Disconnected))
    }

    /// The names of the threads that have not ended and are waited for, each once.
    pub(crate) fn busy(&self) -> Vec<String> {
        let all = self.all.lock();
        let busy = all.iter().filter(|beat| beat.ending.lock().is_some());
        let mut names: Vec<String> = busy.map(|beat| beat.name.to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The threads that work, and those that were given up in a call which has not returned. One whose call has returned since is
    /// on its way out.
    pub(crate) fn status(&self) -> Vec<ThreadStatus> {
        let all = self.all.lock();
        let (gone, there): (Vec<_>, Vec<_>) = all.iter().partition(|beat| beat.post.has_returned_late());
        let mut threads: Vec<_> = there.into_iter().map(|beat| beat.status()).collect();
        // As it will be once they have been forgotten.
        for beat in gone {
            if let Some(heir) = threads.iter_mut().find(|thread| thread.name == beat.name) {
                heir.died += beat.died.load(Ordering::Relaxed);
            }
        }
        threads
    }
}

thread_local! {
    /// The thread is one of a handle's.
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// This thread begins, as one of a handle's.
pub(crate) fn begin_as_ours() {
    IS_OURS.set(true);
}

/// Whether this thread is one of a handle's, which would wait for itself.
pub(crate) fn is_ours() -> bool {
    IS_OURS.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a thread that had been given up stood for a moment among those that work, once its call had returned: two workers
    /// where there is one. Cause: it was listed until it had ended, and said to be given up only as long as it was at something.
    /// Fix: it is gone from the list as soon as its call has returned, and how often it died stays with its heir.
    #[test]
    fn a_thread_that_was_given_up_is_not_listed_once_its_call_has_returned() {
        let beats = Beats::default();
        let (given_up, heir) = (beats.of("worker"), beats.of("worker"));
        let moment = |seconds: u64| TimePoint {
            at: Timestamp::from_unix_seconds(seconds),
            read: Reading::from_nanos(seconds * 1_000_000_000),
        };
        let version = VersionId::new("v2").unwrap();
        let (began, limit) = (moment(10), Duration::from_secs(5));
        given_up.died();
        given_up.post.begin(At { version, blocks: None, activity: Activity::Copy, load: None, began, limit });
        assert_eq!(beats.abandon_overdue(moment(16)).len(), 1);
        let listed = || -> Vec<(u64, bool)> {
            beats.status().iter().map(|thread| (thread.died, thread.abandoned.is_some())).collect()
        };
        assert_eq!(listed(), [(1, true), (0, false)]);
        given_up.post.end();
        assert_eq!(listed(), [(1, false)]);
        beats.forget(&given_up);
        assert_eq!((listed(), heir.died()), (vec![(1, false)], 2));
    }
}

//! Work that may never end, on a thread of its own: it is waited for as long as it may take, and then left behind.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use super::supervised::{ABANDONED_MAX, Beats, begin_as_ours};
use crate::base::clock::Clock;
use crate::base::guarded::{guarded, let_go};
use crate::version::post::At;
use crate::version::priority::LoadPriority;

/// How often it is looked whether to wait on.
const LOOK: Duration = Duration::from_millis(20);

/// The outcome of work beside.
pub(crate) enum Beside<T> {
    Done(T),
    /// It took longer than it may, or was given up by whoever waits for it. What it comes to is dropped on its thread.
    Abandoned,
    /// So many threads were given up before and have not returned: it was not begun.
    TooMany(usize),
    /// The thread was ended from outside.
    Ended,
}

/// The choice of whoever waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// To wait on.
    On,
    /// To wait no longer.
    NoLonger,
}

impl Beats {
    /// Begins work on a thread of its own that nobody waits for but the end of the handle. What it has been given, such as the state of the
    /// handle, is gone when it is said that the thread has ended.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread: it was not begun.
    #[cfg(feature = "fleet")]
    pub(crate) fn begin(
        self: &Arc<Self>,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let beat = self.of(name);
        let body = {
            let (beats, beat) = (Arc::clone(self), Arc::clone(&beat));
            move || {
                begin_as_ours();
                let _ = guarded(work);
                beats.forget(&beat);
                beat.ended();
            }
        };
        let started = std::thread::Builder::new().name(name.into()).spawn(body).map(drop);
        if started.is_err() {
            self.forget(&beat);
            beat.ended();
        }
        started
    }

    /// Runs work on a thread of its own, which gets that time of the processor's. Asks now and then whether it is to be waited for.
    /// Where no thread can be started the work is done on this one, for as long as it takes and as this one is: it is its
    /// owner's, and what it gave away it could not have back.
    ///
    /// What it borrowed of others must be gone when the work is done, so that whoever waited for it has all of it back.
    pub(crate) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        (name, priority): (&'static str, LoadPriority),
        clock: &Clock,
        at: At,
        work: impl FnOnce() -> T + Send + 'static,
        mut look: impl FnMut() -> Wait,
    ) -> Beside<T> {
        let (_, abandoned) = self.count(name);
        if abandoned >= ABANDONED_MAX {
            return Beside::TooMany(abandoned);
        }
        let (started, limit) = (clock.reading(), at.limit);
        let beat = self.of(name);
        // The time is looked at here, by whoever waits, and by nobody else.
        beat.post.begin(At { limit: Duration::MAX, ..at });
        let (answer, answered) = crossbeam_channel::bounded(1);
        // In a cell: where no thread can be started, it is done on this one.
        let given = Arc::new(Mutex::new(Some(work)));
        let body = {
            let (beats, beat, given) = (Arc::clone(self), Arc::clone(&beat), Arc::clone(&given));
            move || {
                begin_as_ours();
                priority.take();
                let work = given.lock().take();
                let done = guarded(|| work.map(|work| work()));
                let waited_for = beat.post.end();
                beats.forget(&beat);
                if waited_for {
                    // There is room for it, and whoever waits is there: it gives up by the post alone.
                    let _ = answer.send(done.ok().flatten());
                } else {
                    let_go(done);
                }
                beat.ended();
            }
        };
        if std::thread::Builder::new().name(name.into()).spawn(body).is_err() {
            self.forget(&beat);
            beat.ended();
            let work = given.lock().take();
            return work.map_or(Beside::Ended, |work| Beside::Done(work()));
        }
        loop {
            match answered.recv_timeout(LOOK) {
                Ok(Some(done)) => return Beside::Done(done),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return Beside::Ended,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let waits = look() == Wait::On;
            let is_late = Duration::from_nanos(clock.reading().nanos_since(started)) >= limit;
            if (is_late || !waits) && beat.post.abandon(clock.time_point()).is_some() {
                if is_late {
                    // Nobody knows when it ends: the end of the handle does not wait for it.
                    beat.ended();
                }
                return Beside::Abandoned;
            }
        }
    }
}

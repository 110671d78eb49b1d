//! Who waits for the blocking pool and who runs there, of requests from asynchronous code.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::clock::{Clock, Reading};
use crate::base::guarded::{let_all_go, let_go};

/// The places of one asynchronous handle and its clones. What is counted is relaxed: each says something by itself.
pub(crate) struct Aside {
    permits: Arc<Semaphore>,
    concurrency: usize,
    waiting_max: usize,
    waiting: AtomicUsize,
    refused: AtomicU64,
    /// Of all that the handle ever had.
    refused_in_all: Arc<AtomicU64>,
    /// What runs. A lock of some nanoseconds, on a way that takes 20 microseconds.
    running: Mutex<Running>,
}

/// Requests that run: at most twice as many as there are places, since of those that are overdue no more than that give theirs back.
#[derive(Default)]
struct Running {
    slots: Vec<Slot>,
    free: Vec<usize>,
    overdue: usize,
}

enum Slot {
    Free,
    Runs {
        since: Reading,
        _permit: OwnedSemaphorePermit,
    },
    /// It has given its place back, and runs still.
    Overdue,
}

/// A request that runs. Its place is given back when this goes, unless it was given back before.
pub(crate) struct Place {
    aside: Arc<Aside>,
    slot: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let gone = {
            let running = &mut *self.aside.running.lock();
            let gone = std::mem::replace(&mut running.slots[self.slot], Slot::Free);
            running.overdue -= usize::from(matches!(gone, Slot::Overdue));
            running.free.push(self.slot);
            gone
        };
        // Wakes whoever waits, which is the host's code: under no lock.
        let_go(gone);
    }
}

/// Why there is no place.
pub(crate) enum NoPlace {
    /// As many wait as may.
    Full { waiting: usize },
    /// Nobody hands out places any more.
    Ended,
}

/// A request that waits, until this goes.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Aside {
    /// A place among those that run, once there is one.
    pub(crate) async fn place(self: &Arc<Self>, clock: &Clock) -> Result<Place, NoPlace> {
        let permit = self.permit().await?;
        let running = &mut *self.running.lock();
        let slot = running.free.pop().unwrap_or_else(|| {
            running.slots.push(Slot::Free);
            running.slots.len() - 1
        });
        running.slots[slot] = Slot::Runs { since: clock.reading(), _permit: permit };
        Ok(Place { aside: Arc::clone(self), slot })
    }

    /// Gives back the places of what runs for longer than anything may, such as a candidate that hangs: a service whose places all
    /// hang would answer nobody, also after the candidate was taken off.
    fn give_back_overdue(&self, lasted: impl Fn(Reading) -> Duration, after: Duration) {
        let mut given_back = Vec::new();
        {
            let running = &mut *self.running.lock();
            let most = self.concurrency;
            for slot in &mut running.slots {
                if matches!(slot, Slot::Runs { since, .. } if lasted(*since) >= after)
                    && running.overdue < most
                {
                    given_back.push(std::mem::replace(slot, Slot::Overdue));
                    running.overdue += 1;
                }
            }
        }
        // As in the destructor of a place.
        let_all_go(given_back);
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, NoPlace> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let one_more = |waiting: usize| (waiting < self.waiting_max).then_some(waiting + 1);
        let waits = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        let Ok(_) = waits else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.refused_in_all.fetch_add(1, Ordering::Relaxed);
            return Err(NoPlace::Full { waiting: self.waiting_max });
        };
        let _waits = Waits(&self.waiting);
        // Nobody closes it.
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| NoPlace::Ended)
    }

    pub(crate) fn counts(&self) -> AsideCounts {
        AsideCounts {
            running: self.concurrency.saturating_sub(self.permits.available_permits()),
            running_max: self.concurrency,
            overdue: self.running.lock().overdue,
            waiting: self.waiting.load(Ordering::Relaxed),
            waiting_max: self.waiting_max,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// How many run, wait, and were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AsideCounts {
    pub(crate) running: usize,
    pub(crate) running_max: usize,
    pub(crate) overdue: usize,
    pub(crate) waiting: usize,
    pub(crate) waiting_max: usize,
    pub(crate) refused: u64,
}

/// Those of a handle: usually one.
#[derive(Default)]
pub(crate) struct Asides {
    there: Mutex<Vec<Weak<Aside>>>,
    refused: Arc<AtomicU64>,
}

impl Asides {
    pub(crate) fn open(&self, concurrency: usize, waiting_max: usize) -> Arc<Aside> {
        let aside = Arc::new(Aside {
            permits: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            waiting_max,
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            refused_in_all: Arc::clone(&self.refused),
            running: Mutex::default(),
        });
        let there = &mut *self.there.lock();
        there.retain(|aside| aside.strong_count() > 0);
        there.push(Arc::downgrade(&aside));
        aside
    }

    /// Gives back the places of what runs for longer than anything may.
    pub(crate) fn give_back_overdue(&self, lasted: impl Fn(Reading) -> Duration, after: Duration) {
        let there: Vec<Arc<Aside>> = self.there.lock().iter().filter_map(Weak::upgrade).collect();
        there.iter().for_each(|aside| aside.give_back_overdue(&lasted, after));
    }

    /// All of them together; nothing where the handle is asked from no asynchronous code. What was refused never shrinks.
    pub(crate) fn counts(&self) -> Option<AsideCounts> {
        let there: Vec<Arc<Aside>> = self.there.lock().iter().filter_map(Weak::upgrade).collect();
        let refused = self.refused.load(Ordering::Relaxed);
        if there.is_empty() && refused == 0 {
            return None;
        }
        let mut all = AsideCounts { refused, ..AsideCounts::default() };
        for aside in there {
            let one = aside.counts();
            all.running += one.running;
            all.running_max += one.running_max;
            all.overdue += one.overdue;
            all.waiting += one.waiting;
            all.waiting_max += one.waiting_max;
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;
    use crate::Timestamp;

    /// What is woken looks how many run, as a waker of the host's may.
    struct Looks {
        aside: Arc<Aside>,
        could_look: Mutex<Vec<bool>>,
    }

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {
            self.could_look.lock().push(self.aside.running.try_lock().is_some());
        }
    }

    /// Bug: a waker that looked at the queue hung its thread for ever. Cause: a permit was dropped under the lock of what runs, and that wakes
    /// whoever waits for it, which is the host's code. Fix: it is dropped once the lock is free.
    #[test]
    fn whoever_waits_is_woken_under_no_lock() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1));
        let aside = Asides::default().open(1, 8);
        let looks = Arc::new(Looks { aside: Arc::clone(&aside), could_look: Mutex::default() });
        let waker = Waker::from(Arc::clone(&looks));
        let mut context = Context::from_waker(&waker);
        let Poll::Ready(Ok(first)) = pin!(aside.place(&clock)).poll(&mut context) else {
            panic!("it is free")
        };
        let mut second = pin!(aside.place(&clock));
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert_eq!(*looks.could_look.lock(), [true]);
        let Poll::Ready(Ok(_second)) = second.as_mut().poll(&mut context) else { panic!("it is free") };
        let mut third = pin!(aside.place(&clock));
        assert!(third.as_mut().poll(&mut context).is_pending());
        aside.give_back_overdue(|_| Duration::from_secs(9), Duration::from_secs(1));
        assert_eq!(*looks.could_look.lock(), [true, true]);
        assert!(matches!(third.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
    }
}

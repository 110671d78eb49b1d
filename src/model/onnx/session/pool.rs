//! A fixed number of workers that many threads share, each worker used by one thread at a time.
//!
//! Every thread tries the slot first that it got last, so threads that are no more than slots settle on one each and
//! share no cache line: a lease is then one uncontended lock. Others take what is free, and wait where nothing is.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};

use crate::base::clock::Clock;
use crate::base::sync::Bell;

/// The clock that waits and deadlines of models are measured with: a stopwatch of real time.
pub(crate) static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::system);

/// A member of a pool.
pub(crate) trait Worker {
    /// Whether it can still be leased.
    fn is_usable(&self) -> bool;

    /// Whether it never can be again, and is to be replaced.
    fn is_broken(&self) -> bool;
}

pub(crate) struct Pool<W> {
    slots: Box<[CachePadded<Mutex<W>>]>,
    /// Rung whenever a worker is let go.
    bell: CachePadded<Bell>,
}

/// A worker, for one thread, until it is dropped.
pub(crate) struct Lease<'p, W> {
    pub(crate) slot: usize,
    // Dropped in this order: unlocked, then told.
    pub(crate) worker: MutexGuard<'p, W>,
    _told: Told<'p>,
}

impl<W: Worker> Pool<W> {
    /// A pool of these workers, one or more.
    pub(crate) fn new(workers: Vec<W>) -> Self {
        let slots = workers.into_iter().map(|worker| CachePadded::new(Mutex::new(worker))).collect();
        Self { slots, bell: CachePadded::new(Bell::new()) }
    }

    /// A worker as soon as one is free; nothing where none is within `patience`.
    #[inline]
    pub(crate) fn lease(&self, patience: Duration) -> Option<Lease<'_, W>> {
        self.try_lease().or_else(|| self.wait(patience))
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Every worker in turn, waiting for those that are at work.
    pub(crate) fn each(&self) -> impl Iterator<Item = Lease<'_, W>> {
        (0..self.slots.len()).map(|slot| self.leased(slot, self.slots[slot].lock()))
    }

    /// The workers that are free and to be replaced.
    pub(crate) fn broken(&self) -> impl Iterator<Item = Lease<'_, W>> {
        let free =
            (0..self.slots.len()).filter_map(|slot| Some(self.leased(slot, self.slots[slot].try_lock()?)));
        free.filter(|lease| lease.worker.is_broken())
    }

    #[inline]
    fn try_lease(&self) -> Option<Lease<'_, W>> {
        let count = self.slots.len();
        let preferred = preferred_slot();
        for step in 0..count {
            let slot = (preferred + step) % count;
            if let Some(worker) = self.slots[slot].try_lock()
                && worker.is_usable()
            {
                if step != 0 {
                    PREFERRED.set(slot);
                }
                return Some(self.leased(slot, worker));
            }
        }
        None
    }

    #[cold]
    fn wait(&self, patience: Duration) -> Option<Lease<'_, W>> {
        let started = CLOCK.reading();
        let left = || {
            let waited = Duration::from_nanos(CLOCK.reading().nanos_since(started));
            patience.checked_sub(waited).filter(|left| !left.is_zero())
        };
        self.bell.wait(|| self.try_lease(), left)
    }

    fn leased<'p>(&'p self, slot: usize, worker: MutexGuard<'p, W>) -> Lease<'p, W> {
        Lease { slot, worker, _told: Told(&self.bell) }
    }
}

/// Tells a waiting thread, when dropped, that a worker is free.
struct Told<'p>(&'p Bell);

impl Drop for Told<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.ring();
    }
}

thread_local! {
    static PREFERRED: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Where this thread looks first. Threads start one slot apart.
#[inline]
fn preferred_slot() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    let preferred = PREFERRED.get();
    if preferred != usize::MAX {
        return preferred;
    }
    // Relaxed: a number of its own is all that is needed.
    let first = THREADS.fetch_add(1, Ordering::Relaxed) % (1 << 16);
    PREFERRED.set(first);
    first
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[derive(Default)]
    struct Counter {
        leases: u64,
        is_broken: bool,
    }

    impl Worker for Counter {
        fn is_usable(&self) -> bool {
            !self.is_broken
        }

        fn is_broken(&self) -> bool {
            self.is_broken
        }
    }

    fn pool(size: usize) -> Pool<Counter> {
        Pool::new((0..size).map(|_| Counter::default()).collect())
    }

    #[test]
    fn a_worker_is_leased_once_at_a_time() {
        let pool = pool(2);
        let first = pool.lease(Duration::ZERO).unwrap();
        let second = pool.lease(Duration::ZERO).unwrap();
        assert_ne!(first.slot, second.slot);
        assert!(pool.lease(Duration::from_millis(5)).is_none());
        let slot = second.slot;
        drop(second);
        assert_eq!(pool.lease(Duration::ZERO).unwrap().slot, slot);
    }

    #[test]
    fn a_broken_worker_is_not_leased_and_is_found_by_whoever_mends() {
        let pool = pool(2);
        let mut lease = pool.lease(Duration::ZERO).unwrap();
        lease.worker.is_broken = true;
        let broken = lease.slot;
        drop(lease);
        let _other = pool.lease(Duration::ZERO).unwrap();
        assert!(pool.lease(Duration::ZERO).is_none());
        let mut found: Vec<_> = pool.broken().collect();
        assert_eq!(found.iter().map(|lease| lease.slot).collect::<Vec<_>>(), [broken]);
        *found[0].worker = Counter::default();
        drop(found);
        assert!(pool.lease(Duration::ZERO).is_some());
    }

    #[test]
    fn no_wake_up_is_lost_with_more_threads_than_workers() {
        let (pool, threads, rounds) = (pool(2), 6, 2_000);
        let start = Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..rounds {
                        pool.lease(Duration::from_secs(60)).unwrap().worker.leases += 1;
                    }
                });
            }
        });
        assert_eq!(pool.each().map(|lease| lease.worker.leases).sum::<u64>(), (threads * rounds) as u64);
    }

    #[test]
    fn threads_settle_on_a_slot_each() {
        let (pool, threads) = (pool(2), 2);
        let start = Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    start.wait();
                    let mut slots = Vec::new();
                    for _ in 0..20 {
                        let lease = pool.lease(Duration::from_secs(60)).unwrap();
                        start.wait(); // both hold one
                        slots.push(lease.slot);
                        drop(lease);
                        start.wait();
                    }
                    assert!(slots.windows(2).skip(1).all(|pair| pair[0] == pair[1]), "{slots:?}");
                });
            }
        });
    }
}

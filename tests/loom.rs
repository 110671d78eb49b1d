//! The lock-free protocols of `src/sync.rs`, in every interleaving that the memory model allows.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test --release --no-default-features --test loom --target-dir target/loom
//! ```
//!
//! A target directory of its own, since the flag rebuilds everything. The library itself is built as always: only the
//! file with the protocols is included here, over loom's primitives.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

/// What `src/sync.rs` takes its primitives from.
mod atomics {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}

#[path = "../src/base/sync.rs"]
mod sync;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use sync::{Budget, FirstSeen, Flag, Until, is_only_owner};

/// Invariant 11: two requests and a worker. The budget is never exceeded, what fits is not refused for ever, and
/// everything that was taken comes back.
#[test]
fn the_budget_of_the_shadow_queue_is_never_exceeded() {
    loom::model(|| {
        let budget = Arc::new(Budget::new(10));
        let taken = Arc::new(AtomicUsize::new(0));
        let requests: Vec<_> = [6, 5]
            .into_iter()
            .map(|bytes| {
                let (budget, taken) = (Arc::clone(&budget), Arc::clone(&taken));
                thread::spawn(move || {
                    if budget.reserve(bytes) {
                        let in_use = taken.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        assert!(in_use <= 10, "{in_use} bytes are in use");
                        taken.fetch_sub(bytes, Ordering::SeqCst);
                        budget.release(bytes);
                        true
                    } else {
                        false
                    }
                })
            })
            .collect();
        let reserved: Vec<bool> = requests.into_iter().map(|request| request.join().unwrap()).collect();
        assert!(reserved.contains(&true), "one of them is always first");
        assert_eq!(budget.used(), 0);
        assert!(!budget.reserve(11) && budget.reserve(10));
    });
}

/// Requests record failures, each into a stripe; whoever makes the fifth in a row raises the flag. Once a request has
/// seen it, no later one of the same thread is let through, and the tick sees it.
#[test]
fn a_breaker_that_has_tripped_stays_tripped() {
    const TRIP_AFTER: u32 = 2;
    loom::model(|| {
        let breaker = Arc::new((Flag::new(), Mutex::new(0)));
        let requests: Vec<_> = (0..2)
            .map(|_| {
                let breaker = Arc::clone(&breaker);
                thread::spawn(move || {
                    let (flag, failures) = &*breaker;
                    let passed_over = flag.is_up();
                    if !passed_over {
                        let failures = &mut *failures.lock().unwrap();
                        *failures += 1;
                        if *failures >= TRIP_AFTER {
                            flag.raise();
                        }
                    }
                    assert!(!passed_over || flag.is_up());
                })
            })
            .collect();
        for request in requests {
            request.join().unwrap();
        }
        let (flag, failures) = &*breaker;
        assert_eq!(*failures.lock().unwrap() >= TRIP_AFTER, flag.is_up());
    });
}

/// Two ticks renew the lease at once, one of them with a clock reading that is old. Exposure is never cut short by it,
/// and a request that reads an old lease reads a shorter one.
#[test]
fn a_lease_that_is_renewed_from_two_sides_never_shrinks() {
    loom::model(|| {
        let lease = Arc::new(Until::new(10));
        let ticks: Vec<_> = [20, 15]
            .into_iter()
            .map(|until| {
                let lease = Arc::clone(&lease);
                thread::spawn(move || lease.extend(until))
            })
            .collect();
        let held_15 = lease.reaches(15);
        assert!(lease.reaches(10) && !lease.reaches(21));
        assert!(!held_15 || lease.reaches(15), "what was held once is held");
        for tick in ticks {
            tick.join().unwrap();
        }
        assert!(lease.reaches(20));
    });
}

/// Invariant 6: requests count into a stripe and let go of their exposure; the control side takes the exposure for good
/// once it is the only owner, after a last look at the stripe. No count is lost, whenever it looks.
///
/// Loom's `strong_count` and locks are stronger than the standard library's, so this shows the order of the steps; that
/// they stay in this order on a machine with weak ordering is what the fence in `is_only_owner` is for.
#[test]
fn an_exposure_that_nobody_uses_has_given_up_all_its_counts() {
    loom::model(|| {
        let mut exposure = Some(Arc::new(Mutex::new(0)));
        let requests: Vec<_> = (0..2)
            .map(|_| {
                let exposure = exposure.clone().unwrap();
                thread::spawn(move || *exposure.lock().unwrap() += 1)
            })
            .collect();
        let mut collected = 0;
        // The tick, looking now and again once the requests are done.
        let mut collect = |exposure: &mut Option<Arc<Mutex<u32>>>| {
            let Some(own) = exposure else { return };
            let unused = is_only_owner(own);
            collected += std::mem::take(&mut *own.lock().unwrap());
            if unused {
                let last = exposure.take().unwrap();
                assert_eq!(*last.lock().unwrap(), 0, "a count that nobody will ever see");
            }
        };
        collect(&mut exposure);
        collect(&mut exposure);
        for request in requests {
            request.join().unwrap();
        }
        collect(&mut exposure);
        assert!(exposure.is_none());
        assert_eq!(collected, 2);
    });
}

/// A version that may die on one thread only.
struct Version {
    reaper: thread::ThreadId,
    freed: Arc<Flag>,
}

impl Drop for Version {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.reaper, "freed by a request");
        self.freed.raise();
    }
}

/// Invariant 10: requests take the version from the table while the control side replaces the table and hands the
/// version to the retired list. It is freed by the reaper alone, once no request has it, and it is freed.
#[test]
fn a_retired_version_is_freed_by_the_reaper_and_by_nobody_else() {
    loom::model(|| {
        let freed = Arc::new(Flag::new());
        let version = Arc::new(Version { reaper: thread::current().id(), freed: Arc::clone(&freed) });
        // The lock stands for `ArcSwap`: a request gets the version that the table held, whole, or none.
        let table = Arc::new(Mutex::new(Some(Arc::clone(&version))));
        let mut retired = vec![version];
        let requests: Vec<_> = (0..2)
            .map(|_| {
                let table = Arc::clone(&table);
                thread::spawn(move || {
                    let borrowed = table.lock().unwrap().clone();
                    drop(borrowed);
                })
            })
            .collect();
        table.lock().unwrap().take();
        let reap = |retired: &mut Vec<Arc<Version>>| {
            let unborrowed: Vec<_> = retired.extract_if(.., |version| is_only_owner(version)).collect();
            drop(unborrowed);
        };
        reap(&mut retired);
        for request in requests {
            request.join().unwrap();
        }
        reap(&mut retired);
        assert!(freed.is_up() && retired.is_empty());
    });
}

/// The unit of analysis: two requests of one key, and one of another whose slot is the same. Each key is new to one of
/// its requests and to no other, and none is lost to the other's slot.
#[test]
fn a_key_is_new_to_exactly_one_of_its_requests() {
    loom::model(|| {
        let seen = Arc::new(FirstSeen::new(2));
        let (key, neighbour) = (4, 8);
        let requests: Vec<_> = [key, key, neighbour]
            .into_iter()
            .map(|hash| {
                let seen = Arc::clone(&seen);
                thread::spawn(move || (hash, seen.is_new(hash)))
            })
            .collect();
        let answers: Vec<(u64, bool)> = requests.into_iter().map(|request| request.join().unwrap()).collect();
        let new = |key: u64| answers.iter().filter(|(hash, new)| *hash == key && *new).count();
        assert_eq!((new(key), new(neighbour)), (1, 1));
        assert!(!seen.is_new(key) && !seen.is_new(neighbour));
        assert_eq!(seen.used(), 2);
    });
}

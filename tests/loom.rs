//! The protocols of `src/base/sync.rs`, in every interleaving that the memory model allows.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test --release --no-default-features --test loom --target-dir target/loom
//! ```
//!
//! A target directory of its own, since the flag rebuilds everything. The library itself is built as always: only the
//! file with the protocols is included here, over loom's primitives.
//!
//! Every atomic of the library that is part of a protocol is one of that file's. What is not here, and why:
//!
//! - Counters of what was refused or missed, clocks turned by hand, and hints that the next tick or call corrects (the
//!   strength of thinning, the relief of the shadow queue, whether loads are held back, whether runs are watched). Each stands for itself, and each use says what reading it too early does.
//! - The stripes' dice: two threads that share one may draw the same number, which is meant.
//! - The routing table: `arc_swap` is tested by its own authors, and loom does not see into it. The lock that stands for
//!   it here gives what is relied on: a request has the table that was stored, whole.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

/// What `src/base/sync.rs` takes its primitives from.
mod atomics {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

    use std::ops::{Deref, DerefMut};
    use std::time::Duration;

    /// Loom's, with the form of `parking_lot`'s.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    /// Empty only while its condition is waited for.
    pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    pub(crate) struct Condvar(loom::sync::Condvar);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap()))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        /// For as long as it takes: under loom no time passes, so that a wake-up that is lost is a deadlock.
        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) {
            let held = guard.0.take().unwrap();
            guard.0 = Some(self.0.wait(held).unwrap());
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
    }
}

#[path = "../src/base/sync.rs"]
mod sync;

use std::time::Duration;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use sync::{Ahead, Asked, Bell, Budget, FirstSeen, Flag, Settled, Tickets, Until, is_only_owner};

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

/// Of calls that begin at once no more are under way than there are places, none is lost, and each place is given back: by whoever
/// began it, or by the thread that ends it.
#[test]
fn no_more_calls_are_under_way_than_there_are_places() {
    loom::model(|| {
        let calls = Arc::new(sync::InFlight::new(2));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let (calls, inside) = (Arc::clone(&calls), Arc::clone(&inside));
                loom::thread::spawn(move || {
                    let look = || {
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two in one place");
                        assert_eq!(calls.seen(), (1, Some(7)));
                        inside.fetch_sub(1, Ordering::Relaxed);
                    };
                    if number == 0 {
                        let begun = calls.begin(0..1, number, 7);
                        begun.iter().for_each(|_| look());
                    } else if let Some(place) = calls.take(0..1, number, 7) {
                        look();
                        calls.end(place);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(calls.seen(), (0, None));
        assert!(calls.begin(0..1, 5, 8).is_some(), "it was given back");
    });
}

/// Two candidates that are on trial together have room for one call. Each is asked by a thread of its own.
#[test]
fn calls_of_several_candidates_are_never_more_than_there_is_room_for() {
    loom::model(|| {
        let calls = Arc::new([sync::InFlight::new(1), sync::InFlight::new(1)]);
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let (calls, inside) = (Arc::clone(&calls), Arc::clone(&inside));
                loom::thread::spawn(move || {
                    let begun = calls[number].begin(0..1, 0, 7);
                    let begun = begun.filter(|_| sync::InFlight::within(calls.iter(), 0..1, 1));
                    if begun.is_some() {
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two have begun");
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(calls.iter().all(|one| one.seen() == (0, None)), "what was given up was given back");
    });
}

/// A candidate is alone, and then there is another; they have room for one call. One thread may have read the table from before.
#[test]
fn a_call_by_a_table_that_is_out_of_date_takes_no_room_of_those_that_came_since() {
    loom::model(|| {
        let calls = Arc::new([sync::InFlight::new(1), sync::InFlight::new(1)]);
        let (inside, several) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let ask = |number: usize| {
            let (calls, inside, several) = (Arc::clone(&calls), Arc::clone(&inside), Arc::clone(&several));
            move || {
                // The second one is in the newer table alone.
                if number == 1 && several.load(Ordering::Acquire) == 0 {
                    return;
                }
                let begun = calls[number].begin(0..1, 0, 7);
                let begun = begun.filter(|_| {
                    sync::InFlight::settle();
                    several.load(Ordering::Acquire) == 0 || sync::InFlight::within(calls.iter(), 0..1, 1)
                });
                if begun.is_some() {
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two have begun");
                    // It hangs, as far as the other can tell.
                    std::mem::forget(begun);
                }
            }
        };
        let threads = [loom::thread::spawn(ask(0)), loom::thread::spawn(ask(1))];
        several.store(1, Ordering::Release);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A candidate is taken off and another one is on trial in the next table; they have room for one call. A call of the first may begin by the
/// table from before while the next one is made.
///
/// Bug: both could be under way. Cause: what was taken off counted in the next table only where a call of it was seen while that was made. Fix: it
/// counts there whether or not one was.
#[test]
fn a_call_that_begins_while_its_candidate_is_taken_off_counts_in_the_next_table() {
    loom::model(|| {
        let calls = Arc::new([sync::InFlight::new(1), sync::InFlight::new(1)]);
        // The table: 0 has the first on trial, and 1 the second, with the first among those that are left.
        let (inside, table) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let ask = |number: usize| {
            let (calls, inside, table) = (Arc::clone(&calls), Arc::clone(&inside), Arc::clone(&table));
            move || {
                if table.load(Ordering::Acquire) != number {
                    return;
                }
                let begun = calls[number].begin(0..1, 0, 7);
                let begun = begun.filter(|_| {
                    sync::InFlight::settle();
                    let tries = table.load(Ordering::Acquire) == number;
                    tries && (number == 0 || sync::InFlight::within(calls.iter(), 0..1, 1))
                });
                if begun.is_some() {
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two have begun");
                    // It hangs, as far as the other can tell.
                    std::mem::forget(begun);
                }
            }
        };
        let threads = [loom::thread::spawn(ask(0)), loom::thread::spawn(ask(1))];
        table.store(1, Ordering::Release);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Two change something and have it written down, by whoever has the turn.
///
/// Bug: what was changed could stay unwritten with nobody at it. Cause: whoever found the turn taken said so afterwards, and whoever had it looked
/// before it let go. Fix: it is said first, and looked at after.
#[test]
fn what_was_asked_of_whoever_has_the_turn_is_done_before_nobody_has_it() {
    loom::model(|| {
        let (asked, turn) = (Arc::new(Asked::new()), Arc::new(Mutex::new(0)));
        let changed = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (asked, turn, changed) = (Arc::clone(&asked), Arc::clone(&turn), Arc::clone(&changed));
                thread::spawn(move || {
                    changed.fetch_add(1, Ordering::AcqRel);
                    asked.ask(
                        || turn.try_lock().ok(),
                        |mut written| *written = changed.load(Ordering::Acquire),
                    );
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*turn.lock().unwrap(), 2, "something was left unwritten");
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
        assert_eq!((seen.used(), seen.max()), (2, 2));
    });
}

/// A pool of one session and three requests: each gets it, whoever is rung for whom. A slot is what a mutex is at heart: a
/// flag, taken with acquire and given back with release, which is all that `parking_lot` promises of `try_lock`.
#[test]
fn no_request_sleeps_beside_a_free_session() {
    loom::model(|| {
        let pool = Arc::new((AtomicBool::new(false), Bell::new()));
        let use_it = |pool: &(AtomicBool, Bell)| {
            let (taken, bell) = pool;
            let lease =
                || taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok().map(drop);
            lease().or_else(|| bell.wait(lease, || Some(Duration::MAX))).unwrap();
            taken.store(false, Ordering::Release);
            bell.ring();
        };
        let requests: Vec<_> = (0..2)
            .map(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || use_it(&pool))
            })
            .collect();
        use_it(&pool);
        for request in requests {
            request.join().unwrap();
        }
        assert!(!pool.0.load(Ordering::Acquire));
    });
}

/// Sessions of a retained version: the tick puts them away since it is wanted cold, while a rollback wants it back and
/// wakes it. Whoever comes first, in the end there is a session, and the state says so.
#[test]
fn a_version_that_is_woken_is_not_put_away_any_more() {
    const COLD: usize = 0;
    const HOT: usize = 2;
    loom::model(|| {
        // Of the target tier nothing is asked but that it is atomic.
        let version = Arc::new((AtomicUsize::new(COLD), Settled::new(HOT), AtomicBool::new(true)));
        let upkeep = {
            let version = Arc::clone(&version);
            thread::spawn(move || {
                let (wanted, tier, seated) = &*version;
                let wanted = || wanted.load(Ordering::Relaxed);
                if wanted() == COLD {
                    let _ = tier.reach(COLD, wanted, || seated.store(false, Ordering::Relaxed));
                }
            })
        };
        let (wanted, tier, seated) = &*version;
        wanted.store(HOT, Ordering::Relaxed);
        let wake = || {
            seated.store(true, Ordering::Relaxed);
            Ok::<_, ()>(HOT)
        };
        tier.leave(COLD, wake).unwrap();
        assert!(seated.load(Ordering::Relaxed), "the rollback goes on with a version that cannot answer");
        upkeep.join().unwrap();
        assert!(seated.load(Ordering::Relaxed));
        tier.while_held(|| ());
        assert_eq!(tier.state(), HOT);
    });
}

/// A drill asks for two inputs and three requests come by: two of them are copied.
#[test]
fn as_many_tickets_are_taken_as_there_are() {
    loom::model(|| {
        let tickets = Arc::new(Tickets::none());
        assert!(!tickets.take());
        tickets.issue(2);
        let requests: Vec<_> = (0..2)
            .map(|_| {
                let tickets = Arc::clone(&tickets);
                thread::spawn(move || tickets.any() && tickets.take())
            })
            .collect();
        // It is given back, and one of them takes it.
        if tickets.take() {
            tickets.give_back();
        }
        let own = tickets.take();
        let taken =
            requests.into_iter().map(|request| request.join().unwrap()).filter(|taken| *taken).count();
        assert_eq!(taken + usize::from(own), 2);
        assert!(!tickets.any());
    });
}

/// Exposure is lowered before the lock is had, while whoever has the lock stores a table with what was exposed. Once the lock is
/// had, nothing is exposed, whoever of the two came first; and what is stored by then is left alone.
#[test]
fn what_is_stored_while_somebody_waits_to_lower_it_is_lowered_too() {
    const EXPOSED: usize = 1;
    const LOWERED: usize = 2;
    const FOR_GOOD: usize = 3;
    loom::model(|| {
        let shared = Arc::new((Mutex::new(()), AtomicUsize::new(EXPOSED), Ahead::new()));
        // Relaxed: the order is what `Ahead` makes of it.
        let lower = |table: &AtomicUsize| {
            let _ = table.compare_exchange(EXPOSED, LOWERED, Ordering::Relaxed, Ordering::Relaxed);
        };
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (lock, table, ahead) = &*shared;
                let _held = lock.lock().unwrap();
                table.store(EXPOSED, Ordering::Relaxed);
                ahead.follow(|| lower(table));
            })
        };
        let (lock, table, ahead) = &*shared;
        ahead.go(|| lower(table));
        {
            let _held = lock.lock().unwrap();
            let seen = table.load(Ordering::Relaxed);
            assert!(seen == LOWERED, "exposed while somebody waits to lower it");
            ahead.arrive();
            table.store(FOR_GOOD, Ordering::Relaxed);
            ahead.follow(|| panic!("it is done for good"));
        }
        writer.join().unwrap();
    });
}

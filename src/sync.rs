//! The lock-free protocols. Each is small enough to be run in every interleaving: `tests/loom.rs` includes this file,
//! with loom's primitives in the place of the standard library's.

use crate::atomics::{Arc, AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// Bytes that may be in use at one time.
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Takes `bytes` out of the budget; whether there was that much left. What is larger than the whole budget is never
    /// taken.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        // Relaxed, here and below: the counter guards no other data, the channel hands the request over.
        let mut used = self.used.load(Ordering::Relaxed);
        while let Some(total) = used.checked_add(bytes).filter(|total| *total <= self.max) {
            match self.used.compare_exchange_weak(used, total, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => used = now,
            }
        }
        false
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// A flag that is raised once and stays up.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn raise(&self) {
        // Relaxed, both: the flag carries no other data, and whoever misses it does once more what is harmless: a
        // candidate that fails is answered for by live, a copy is run in vain.
        self.0.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A moment that only ever moves forward.
pub(crate) struct Until(AtomicU64);

impl Until {
    pub(crate) fn new(nanos: u64) -> Self {
        Self(AtomicU64::new(nanos))
    }

    /// Moves to `nanos` where that is later: of two that extend at once, the later wins.
    pub(crate) fn extend(&self, nanos: u64) {
        // Relaxed: the value stands for itself. Whoever still reads the old one takes it to be over too soon, which is
        // the safe side.
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn reaches(&self, nanos: u64) -> bool {
        nanos <= self.0.load(Ordering::Relaxed)
    }
}

/// Whether nobody else owns what `own` does, so that it can be taken for good.
///
/// Sound where nobody can make a second owner from the caller's: no `Weak` exists, and the caller's is reached by the
/// caller alone. Then one that is the only one stays it.
pub(crate) fn is_only_owner<T: ?Sized>(own: &Arc<T>) -> bool {
    let only = Arc::strong_count(own) == 1;
    if only {
        // `strong_count` is a relaxed load. This makes what the other owners did before they let go (each with release)
        // happen before whatever the caller does now: without it, counts that a last request has just written could be
        // read too early and lost.
        fence(Ordering::Acquire);
    }
    only
}

//! The lock-free protocols. Each is small enough to be run in every interleaving: `tests/loom.rs` includes this file,
//! with loom's primitives in the place of the standard library's.

use super::atomics::{Arc, AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

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

/// Which of many hashes were seen: each is new once, to whoever asks first. Nothing is ever taken out, so what was seen
/// stays seen.
pub(crate) struct FirstSeen {
    /// 0 is a free slot. Twice as many as hashes, so that a free one is never far.
    slots: Box<[AtomicU64]>,
    used: AtomicUsize,
    max: usize,
}

/// How far from its own slot a hash is looked for. In a table that is half full, one in 10^12 lies further off.
const REACH: usize = 64;

impl FirstSeen {
    /// Room for `max` hashes.
    pub(crate) fn new(max: usize) -> Self {
        let slots = (0..(2 * max).next_power_of_two()).map(|_| AtomicU64::new(0)).collect();
        Self { slots, used: AtomicUsize::new(0), max }
    }

    /// Takes note of a hash; whether it is new. One for which there is no room is not new.
    pub(crate) fn is_new(&self, hash: u64) -> bool {
        let hash = hash.max(1);
        let len = self.slots.len();
        for step in 0..REACH.min(len) {
            let Some(slot) = self.slots.get((hash as usize).wrapping_add(step) & (len - 1)) else {
                return false;
            };
            // Relaxed, all of them: a slot stands for itself, and whoever loses the exchange is told what is there.
            match slot.load(Ordering::Relaxed) {
                0 if self.used.load(Ordering::Relaxed) >= self.max => return false,
                0 => match slot.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        self.used.fetch_add(1, Ordering::Relaxed);
                        return true;
                    }
                    Err(taken) if taken == hash => return false,
                    Err(_) => {}
                },
                seen if seen == hash => return false,
                _ => {}
            }
        }
        false
    }

    /// The hashes that were seen.
    #[cfg(feature = "state")]
    pub(crate) fn seen(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|hash| *hash != 0)
    }

    /// How many hashes were seen.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn max(&self) -> usize {
        self.max
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

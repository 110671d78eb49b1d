//! Where chance comes from: one seed for a whole handle, and hashes that stand in for it where a decision must be made
//! the same way again.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// A random number generator per stripe (SplitMix64: Steele, Lea & Flood, OOPSLA 2014), all from one seed.
///
/// It decides who is in a sample, nothing that an adversary gains from predicting.
pub(crate) struct Dice(Box<[CachePadded<AtomicU64>]>);

impl Dice {
    pub(crate) fn new(seed: u64, stripes: usize) -> Self {
        Self(
            (0..stripes.max(1) as u64)
                .map(|stripe| CachePadded::new(AtomicU64::new(mix(seed ^ mix(stripe)))))
                .collect(),
        )
    }

    /// 64 random bits.
    #[inline]
    pub(crate) fn roll(&self, lane: usize) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        // A load and a store rather than one atomic addition, at a fifth of its price. Threads that share a stripe may
        // both see the same number now and then, which changes no probability: each is still in a sample as often as
        // it should be.
        self.0.get(within(lane, self.0.len())).map_or(0, |state| {
            let seen = state.load(Ordering::Relaxed);
            state.store(seen.wrapping_add(STEP), Ordering::Relaxed);
            mix(seen)
        })
    }
}

/// The place of a thread's number among so many: a division only where there are more threads than places.
#[inline]
pub(crate) fn within(lane: usize, places: usize) -> usize {
    if lane < places { lane } else { lane.checked_rem(places).unwrap_or(0) }
}

/// Whether something with this hash is kept at this strength of thinning: one in `2^thinning` is.
#[inline]
pub(crate) fn survives(hash: u64, thinning: u32) -> bool {
    hash.leading_zeros() >= thinning
}

/// How strongly to thin what comes, so that a table never fills: the first half of the room is given to everybody, the
/// next quarter to every second, the next eighth to every fourth. What something gets is decided when it comes.
pub(crate) fn thinning_for(used: u64, capacity: u64) -> u32 {
    let free = capacity.saturating_sub(used).max(1);
    (capacity.max(1) / free).ilog2()
}

/// SplitMix64's finaliser.
#[inline]
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

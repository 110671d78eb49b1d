//! Where chance comes from: one seed for a whole handle.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::feedback::join::mix;

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
        self.0.get(lane % self.0.len()).map_or(0, |state| {
            let seen = state.load(Ordering::Relaxed);
            state.store(seen.wrapping_add(STEP), Ordering::Relaxed);
            mix(seen)
        })
    }
}

//! Where chance comes from: one seed for a whole handle, and hashes that stand in for it where a decision must be made
//! the same way again.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// Numbers without a pattern from a seed, the same on every machine (SplitMix64: Steele, Lea & Flood, OOPSLA 2014).
///
/// They decide who is in a sample and what a simulation draws, nothing that an adversary gains from predicting.
#[derive(Debug)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    /// The next 64 random bits.
    #[inline]
    pub(crate) fn bits(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(STEP);
        bits
    }

    /// The next number between 0 and 1, never either of them.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// The next number with a standard normal distribution (Box & Muller 1958), the same on every machine.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(2.0 * std::f64::consts::PI * self.uniform())
    }
}

/// A generator per stripe, all from one seed.
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
        // A load and a store rather than one atomic addition, at a fifth of its price. Threads that share a stripe may
        // both see the same number now and then, which changes no probability: each is still in a sample as often as
        // it should be.
        self.0.get(within(lane, self.0.len())).map_or(0, |state| {
            let mut generator = SplitMix64(state.load(Ordering::Relaxed));
            let bits = generator.bits();
            state.store(generator.0, Ordering::Relaxed);
            bits
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

/// By how much the state of a generator moves: the golden ratio, of which no low bits repeat soon.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns what [`SplitMix64`] gives for a state: values that differ in a few bits are sent far apart.
#[inline]
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steele, Lea & Flood 2014: the first outputs of the reference code for the seed 1234567.
    #[test]
    fn the_generator_is_split_mix_64() {
        let mut generator = SplitMix64(1_234_567);
        let bits = [0; 3].map(|_: u64| generator.bits());
        assert_eq!(bits, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }
}

//! Which requests with a key count as units: one of each key.
//!
//! What was randomised is the user, and what a user asks is alike: one who comes a hundred times is one unit, not a hundred.
//! But the first request is not like the others (a candidate may fail on all but those), so the one that counts is drawn:
//! each request of a key that has not counted yet counts with the same chance, whatever comes of it. The chance follows how
//! often keys come, so that one that comes once is seldom passed over and one that comes ten times counts by any of them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::base::chance::{mix, survives, thinning_for};
use crate::base::sync::FirstSeen;

/// The keys that one attempt has counted, of either of its arms.
pub(crate) struct Keys {
    counted: FirstSeen,
    /// How strongly new keys are thinned; see [`survives`].
    thinning: AtomicU32,
    /// The chance with which a request counts whose key has not, in 2^-32.
    chance: AtomicU32,
    /// Some keys, and how many requests came under these: how often a key comes.
    some: FirstSeen,
    of_some: AtomicU64,
    /// Mixed into every hash: what is kept of a key is of no use outside of the handle.
    seed: u64,
}

/// Keys whose requests are counted, at most, and from how many on they say how often a key comes.
const SOME_MAX: usize = 1_024;

const SOME_FEWEST: usize = 20;

/// Of so many keys one is among them.
const SOME_OF: u64 = 16;

/// The chance while it is not known how often keys come, and the smallest: a key that comes ten times then still counts 94
/// times in a hundred.
const AT_FIRST: f64 = 0.5;

const LEAST: f64 = 0.25;

impl Keys {
    /// Keys that one attempt analyses; beyond half of it, a share of the new ones chosen by hash. 512 KB.
    pub(crate) const MAX: usize = 32_768;

    pub(crate) fn new(seed: u64) -> Self {
        Self {
            counted: FirstSeen::new(Self::MAX),
            thinning: AtomicU32::new(0),
            chance: AtomicU32::new(in_parts(AT_FIRST)),
            some: FirstSeen::new(SOME_MAX),
            of_some: AtomicU64::new(0),
            seed,
        }
    }

    /// Returns what was kept of the keys that have counted.
    #[cfg(feature = "state")]
    pub(crate) fn seen(&self) -> impl Iterator<Item = u64> + '_ {
        self.counted.seen()
    }

    /// Goes on with keys that have counted.
    #[cfg(feature = "state")]
    pub(crate) fn restored(seed: u64, counted: impl IntoIterator<Item = u64>) -> Self {
        let keys = Self::new(seed);
        for hash in counted {
            keys.counted.is_new(hash);
        }
        keys.relieve();
        keys
    }

    /// Whether a request under this key counts as the key's. `random` has nothing to do with what comes of it.
    #[inline]
    pub(crate) fn counts(&self, key: u64, random: u64) -> bool {
        let hash = mix(key ^ self.seed);
        // Relaxed, all of them: a request that still reads an old strength or chance is drawn by it.
        if hash.is_multiple_of(SOME_OF) && self.some.used() < SOME_MAX {
            self.some.is_new(hash);
            self.of_some.fetch_add(1, Ordering::Relaxed);
        }
        let drawn = (mix(random) >> 32) as u32 <= self.chance.load(Ordering::Relaxed);
        drawn && survives(hash, self.thinning.load(Ordering::Relaxed)) && self.counted.is_new(hash)
    }

    /// Whether no request under this key counts, for want of room.
    #[inline]
    pub(crate) fn thins_out(&self, key: u64) -> bool {
        let thinning = self.thinning.load(Ordering::Relaxed); // Relaxed, as above
        thinning > 0 && !survives(mix(key ^ self.seed), thinning)
    }

    /// Fits the share of new keys that count to the room that is left, and the chance to how often keys come.
    pub(crate) fn relieve(&self) {
        let thinning = thinning_for(self.counted.used() as u64, self.counted.max() as u64);
        self.thinning.store(thinning, Ordering::Relaxed);
        let some = self.some.used();
        if some >= SOME_FEWEST {
            let requests = self.of_some.load(Ordering::Relaxed) as f64 / some as f64;
            self.chance.store(in_parts((2.0 / (requests + 1.0)).clamp(LEAST, 1.0)), Ordering::Relaxed);
        }
    }

    /// Keys that have counted.
    pub(crate) fn count(&self) -> u64 {
        self.counted.used() as u64
    }

    /// Of how many new keys one counts.
    pub(crate) fn one_in(&self) -> u64 {
        1 << self.thinning.load(Ordering::Relaxed).min(63) // Relaxed: written and read by the tick
    }
}

fn in_parts(chance: f64) -> u32 {
    (chance * f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keys: &Keys, users: u64, each: u64) -> Vec<u64> {
        let mut by_place = vec![0; each as usize];
        for user in 0..users {
            for place in 0..each {
                if keys.counts(mix(user), mix(user * each + place)) {
                    by_place[place as usize] += 1;
                }
            }
            keys.relieve();
        }
        by_place
    }

    #[test]
    fn a_key_counts_once_and_not_by_its_first_request_alone() {
        let by_place = run(&Keys::new(7), 4_000, 10);
        let counted: u64 = by_place.iter().sum();
        assert!((3_600..=4_000).contains(&counted), "{counted}");
        assert!(by_place[0] < 1_400, "{by_place:?}");
        let again = Keys::new(7);
        run(&again, 200, 40);
        assert!(again.count() <= 200);
    }

    #[test]
    fn keys_that_come_once_all_count_once_that_is_known() {
        let by_place = run(&Keys::new(7), 4_000, 1);
        assert!(by_place[0] > 3_700, "{by_place:?}");
    }
}

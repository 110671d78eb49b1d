//! The routing table: the one immutable value that decides who answers, replaced whole by one atomic store.

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::clock::Timestamp;
use crate::share::{BUCKETS, Share, scale};
use crate::stats::exposure::Exposure;
use crate::sync::Until;
use crate::version::Version;

/// Who answers what, at one moment.
pub(crate) struct Routing<I: ?Sized, O> {
    /// Live first, then those on trial.
    pub(crate) arms: Vec<Arm<I, O>>,
    /// Which arm each bucket belongs to; nothing where all belong to live, so that the common case looks nothing up.
    pub(crate) owner: Option<Box<[u8]>>,
    /// Goes before a key when it is hashed, so that rollouts do not all begin with the same users.
    pub(crate) salt: Box<[u8]>,
    /// Copied traffic.
    pub(crate) shadowing: Vec<Shadowing>,
    /// The version before live, while live is watched after its promotion: it answers what live fails on.
    pub(crate) previous: Option<Arm<I, O>>,
    /// Until when candidates may be exposed.
    pub(crate) lease: Arc<Lease>,
}

/// A version in the table with the place where its requests are counted.
pub(crate) struct Arm<I: ?Sized, O> {
    pub(crate) version: Arc<Version<I, O>>,
    pub(crate) exposure: Arc<Exposure>,
}

impl<I: ?Sized, O> Clone for Arm<I, O> {
    fn clone(&self) -> Self {
        Self { version: Arc::clone(&self.version), exposure: Arc::clone(&self.exposure) }
    }
}

/// Copied traffic: a share of the requests that one arm answers is also given to another, whose answer is thrown away.
#[derive(Clone)]
pub(crate) struct Shadowing {
    /// The arm that answers.
    pub(crate) of: u8,
    /// The arm that runs on the copy.
    pub(crate) by: u8,
    /// Whether the pair is judged with the roles changed: `of` is the candidate and `by` is live.
    pub(crate) reversed: bool,
    pub(crate) sample: Share,
    /// Where the shadow's runs are counted.
    pub(crate) exposure: Arc<Exposure>,
}

/// The arm that answers a request, and why not another where that was meant to.
pub(crate) struct Routed<'a, I: ?Sized, O> {
    pub(crate) index: u8,
    pub(crate) arm: &'a Arm<I, O>,
    /// The request belongs to a candidate that has lost its exposure until the table changes.
    pub(crate) withheld: bool,
}

impl<I: ?Sized, O> Routing<I, O> {
    /// The version that answers by default. A table always has one.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "every table is built with live as its first arm")]
    pub(crate) fn live(&self) -> &Arm<I, O> {
        &self.arms[0]
    }

    /// Who answers the request that falls into `bucket` at the moment `at`.
    ///
    /// Lowered exposure needs no new table: a candidate whose lease has run out or whose breaker has tripped is passed
    /// over here, before any tick has seen it.
    #[inline]
    pub(crate) fn route(&self, bucket: u16, at: Timestamp) -> Routed<'_, I, O> {
        let live = Routed { index: 0, arm: self.live(), withheld: false };
        let Some(index) = self.owner.as_ref().and_then(|owner| owner.get(usize::from(bucket)).copied())
        else {
            return live;
        };
        match self.arms.get(usize::from(index)) {
            Some(arm) if index != 0 => {
                if self.lease.holds(at) && !arm.exposure.is_tripped() {
                    Routed { index, arm, withheld: false }
                } else {
                    Routed { withheld: true, ..live }
                }
            }
            _ => live,
        }
    }

    /// The bucket of a key: stable over processes, builds and machines. Other software finds the same bucket as
    /// `xxh3_64(salt ++ ':' ++ key) * 10000 >> 64`.
    #[inline]
    pub(crate) fn bucket_of(&self, key: &[u8]) -> u16 {
        bucket_of(&self.salt, key)
    }
}

/// See [`Routing::bucket_of`].
pub(crate) fn bucket_of(salt: &[u8], key: &[u8]) -> u16 {
    const ON_STACK: usize = 192;
    let mut joined = [0u8; ON_STACK];
    let len = salt.len() + 1 + key.len();
    let hash = match joined.get_mut(..len) {
        Some(place) => {
            for (to, from) in place.iter_mut().zip(salt.iter().chain(b":").chain(key)) {
                *to = *from;
            }
            xxh3_64(place)
        }
        None => {
            let mut hash = Xxh3::new();
            hash.update(salt);
            hash.update(b":");
            hash.update(key);
            hash.digest()
        }
    };
    scale(hash)
}

/// A lease on exposure: nobody who judges the candidates, no candidates.
///
/// The tick renews it; requests look at it only when they belong to a candidate, so live pays nothing.
pub(crate) struct Lease(Until);

impl Lease {
    pub(crate) fn new(until: Timestamp) -> Self {
        Self(Until::new(until.unix_nanos()))
    }

    /// Extends the lease to `span` after `now`.
    pub(crate) fn renew(&self, now: Timestamp, span: Duration) {
        self.0.extend(now.plus(span).unix_nanos());
    }

    #[inline]
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        self.0.reaches(at.unix_nanos())
    }
}

/// Which rollout owns each bucket. Live owns what nobody else does.
///
/// Growth takes from live only and shrinking gives back to live only, so a bucket on a candidate stays on it while that
/// candidate grows, whatever other candidates do.
#[derive(Clone)]
pub(crate) struct Buckets {
    /// 0 is live; anything else is the number that a rollout goes by here.
    owner: Box<[u8]>,
    /// How many are live's: asked at every swap, which counting would make twice as long.
    free: u16,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { owner: vec![0; usize::from(BUCKETS)].into(), free: BUCKETS }
    }
}

impl Buckets {
    /// Gives `rollout` exactly `share`, or as much as live has left to give. Returns what it has now.
    pub(crate) fn set(&mut self, rollout: u8, share: Share) -> Share {
        let mut has = self.count(rollout);
        for owner in self.owner.iter_mut() {
            if has >= share.buckets() {
                break;
            }
            if *owner == 0 {
                *owner = rollout;
                has += 1;
                self.free -= 1;
            }
        }
        for owner in self.owner.iter_mut().rev() {
            if has <= share.buckets() {
                break;
            }
            if *owner == rollout {
                *owner = 0;
                has -= 1;
                self.free += 1;
            }
        }
        Share::from_buckets(has)
    }

    /// What live has left.
    pub(crate) fn free(&self) -> Share {
        Share::from_buckets(self.free)
    }

    /// The table's form: the arm that owns each bucket, by `arm_of(rollout)`; nothing where live owns all.
    pub(crate) fn table(&self, arm_of: impl Fn(u8) -> u8) -> Option<Box<[u8]>> {
        if self.free == BUCKETS {
            return None;
        }
        let table: Box<[u8]> =
            self.owner.iter().map(|owner| if *owner == 0 { 0 } else { arm_of(*owner) }).collect();
        table.iter().any(|arm| *arm != 0).then_some(table)
    }

    fn count(&self, rollout: u8) -> u16 {
        self.owner.iter().filter(|owner| **owner == rollout).count() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_of_keys_are_those_of_the_reference() {
        // xxHash's own XXH3_64bits over salt ':' key.
        for (key, bucket) in [("user-1", 6179), ("user-2", 6449), ("alice", 8747)] {
            assert_eq!(bucket_of(b"rollout-1", key.as_bytes()), bucket);
        }
    }

    #[test]
    fn a_long_key_is_hashed_like_a_short_one() {
        let key = [7u8; 500];
        let mut joined = b"salt:".to_vec();
        joined.extend(key);
        assert_eq!(bucket_of(b"salt", &key), scale(xxh3_64(&joined)));
    }

    #[test]
    fn a_lease_that_ran_out_holds_no_more() {
        let lease = Lease::new(Timestamp::from_unix_seconds(10));
        assert!(lease.holds(Timestamp::from_unix_seconds(10)));
        assert!(!lease.holds(Timestamp::from_unix_seconds(11)));
        lease.renew(Timestamp::from_unix_seconds(11), Duration::from_secs(3));
        assert!(lease.holds(Timestamp::from_unix_seconds(14)));
    }

    proptest! {
        /// Invariant 4: a bucket on a candidate stays there while that candidate grows, with several candidates.
        #[test]
        fn growth_takes_from_live_only(steps in prop::collection::vec((1u8..4, 0u16..4_000), 1..40)) {
            let mut buckets = Buckets::default();
            for (rollout, share) in steps {
                let before = buckets.clone();
                let had = before.count(rollout);
                let share = Share::from_buckets(share);
                let has = buckets.set(rollout, share).buckets();
                prop_assert_eq!(has, share.buckets().min(had + before.count(0)));
                prop_assert_eq!(buckets.free().buckets(), buckets.count(0));
                for (old, new) in before.owner.iter().zip(buckets.owner.iter()) {
                    if old != new {
                        let grown = has > had;
                        let expected = if grown { (0, rollout) } else { (rollout, 0) };
                        prop_assert_eq!((*old, *new), expected);
                    }
                }
            }
        }
    }
}

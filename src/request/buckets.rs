//! Who of the keys belongs to whom.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::base::share::{BUCKETS, Share};

/// Which rollout owns each bucket. Live owns what nobody else does.
///
/// Growth takes from live only and shrinking gives back to live only, so a bucket on a candidate stays on it while that
/// candidate grows, whatever other candidates do.
///
/// Buckets are enrolled in pairs: as many of live's as the candidate has are set aside as its control, so that the keys
/// in either began to count at the same time. (Keys that live has answered for long are no match for those that are new
/// to the candidate.) They stay live's: a candidate that wants more than the rest takes them.
#[derive(Clone)]
pub(crate) struct Buckets {
    /// 0 is live; up to [`ROLLOUTS_MAX`], the number that a rollout goes by here; above it, live as the control of the
    /// rollout with so much less.
    owner: Box<[u8]>,
    /// How many live answers: asked at every swap, which counting would make twice as long.
    live: u16,
}

/// Rollouts at one time.
pub(crate) const ROLLOUTS_MAX: u8 = 32;

impl Default for Buckets {
    fn default() -> Self {
        Self { owner: vec![0; usize::from(BUCKETS)].into(), live: BUCKETS }
    }
}

impl Buckets {
    /// Gives `rollout` exactly `share`, or as much as live has left to give, and sets as much of live aside as its
    /// control, where there is that much. Returns what it has now.
    pub(crate) fn set(&mut self, rollout: u8, share: Share) -> Share {
        let (wanted, control) = (share.buckets(), control_of(rollout));
        // Its own control last: those keys are known by live's answers already.
        for donors in [
            |owner: u8, _: u8| owner == 0,
            |owner, own| owner > ROLLOUTS_MAX && owner != own,
            |owner, own| owner == own,
        ] {
            let missing = wanted.saturating_sub(self.count(rollout));
            self.give(missing, rollout, |owner| donors(owner, control));
        }
        let surplus = self.count(rollout).saturating_sub(wanted);
        self.take_back(surplus, rollout);
        let has = self.count(rollout);
        let missing = has.saturating_sub(self.count(control));
        self.give(missing, control, |owner| owner == 0);
        let surplus = self.count(control).saturating_sub(has);
        self.take_back(surplus, control);
        self.live = self.owner.iter().filter(|owner| **owner == 0 || **owner > ROLLOUTS_MAX).count() as u16;
        Share::from_buckets(has)
    }

    fn give(&mut self, count: u16, to: u8, from: impl Fn(u8) -> bool) {
        let donors = self.owner.iter_mut().filter(|owner| from(**owner));
        donors.take(usize::from(count)).for_each(|owner| *owner = to);
    }

    fn take_back(&mut self, count: u16, from: u8) {
        let donors = self.owner.iter_mut().rev().filter(|owner| **owner == from);
        donors.take(usize::from(count)).for_each(|owner| *owner = 0);
    }

    /// Who owns each bucket; nothing where live owns all and none is set aside.
    #[cfg(feature = "state")]
    pub(crate) fn owners(&self) -> Option<&[u8]> {
        self.owner.iter().any(|owner| *owner != 0).then_some(&self.owner)
    }

    /// Goes on with owners that were written down; nothing where they are none.
    #[cfg(feature = "state")]
    pub(crate) fn of(owners: &[u8]) -> Option<Self> {
        let known = owners.iter().all(|owner| *owner <= 2 * ROLLOUTS_MAX);
        if owners.len() != usize::from(BUCKETS) || !known {
            return None;
        }
        let live = owners.iter().filter(|owner| **owner == 0 || **owner > ROLLOUTS_MAX).count() as u16;
        Some(Self { owner: owners.into(), live })
    }

    /// What live answers.
    pub(crate) fn live(&self) -> Share {
        Share::from_buckets(self.live)
    }

    /// What is set aside of live as the control of a rollout.
    pub(crate) fn control(&self, rollout: u8) -> Share {
        Share::from_buckets(self.count(control_of(rollout)))
    }

    /// The table's form: the arm that owns each bucket, by `arm_of(rollout, as its control)`; nothing where live owns all.
    pub(crate) fn table(&self, arm_of: impl Fn(u8, bool) -> u8) -> Option<Box<[u8]>> {
        if self.live == BUCKETS {
            return None;
        }
        let arm = |owner: &u8| match *owner {
            0 => 0,
            rollout @ 1..=ROLLOUTS_MAX => arm_of(rollout, false),
            control => arm_of(control - ROLLOUTS_MAX, true),
        };
        let table: Box<[u8]> = self.owner.iter().map(arm).collect();
        table.iter().any(|arm| *arm != 0).then_some(table)
    }

    fn count(&self, owner: u8) -> u16 {
        self.owner.iter().filter(|of| **of == owner).count() as u16
    }
}

/// What decides the bucket of a key beside the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Salt {
    /// Goes before the key when it is hashed. Whoever knows the names of the handle and the identity of the candidate can compute it.
    Open(Box<[u8]>),
    /// A key of SipHash-2-4: without it nobody can tell who is on a canary.
    Keyed(u64, u64),
}

impl Salt {
    /// The salt of a label; keyed where there is a secret.
    pub(crate) fn of(label: &[u8], secret: Option<[u8; 16]>) -> Self {
        let Some(secret) = secret else { return Self::Open(label.into()) };
        let (low, high) = (u128::from_le_bytes(secret) as u64, (u128::from_le_bytes(secret) >> 64) as u64);
        let half = |number: u8| {
            let mut hash = SipHasher24::new_with_keys(low, high);
            // With what no id begins with, since the secret seals those too.
            hash.write(b"buckets\0");
            hash.write(label);
            hash.write(&[number]);
            hash.finish()
        };
        Self::Keyed(half(0), half(1))
    }

    /// See [`Routing::hash_of`](super::table::Routing::hash_of).
    #[inline]
    pub(crate) fn hash_of(&self, key: &[u8]) -> u64 {
        match self {
            Self::Open(salt) => hash_of(salt, key),
            Self::Keyed(low, high) => SipHasher24::new_with_keys(*low, *high).hash(key),
        }
    }
}

fn hash_of(salt: &[u8], key: &[u8]) -> u64 {
    const ON_STACK: usize = 192;
    let mut joined = [0u8; ON_STACK];
    let len = salt.len() + 1 + key.len();
    match joined.get_mut(..len) {
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
    }
}

/// What live is called as the control of a rollout.
pub(crate) const fn control_of(rollout: u8) -> u8 {
    rollout + ROLLOUTS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::base::share::scale;
    use crate::request::lease::Lease;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn buckets_of_keys_are_those_of_the_reference() {
        // xxHash's own XXH3_64bits over salt ':' key.
        for (key, bucket) in [("user-1", 6179), ("user-2", 6449), ("alice", 8747)] {
            assert_eq!(scale(hash_of(b"rollout-1", key.as_bytes())), bucket);
        }
    }

    #[test]
    fn a_long_key_is_hashed_like_a_short_one() {
        let key = [7u8; 500];
        let mut joined = b"salt:".to_vec();
        joined.extend(key);
        assert_eq!(hash_of(b"salt", &key), xxh3_64(&joined));
    }

    #[test]
    fn a_lease_that_ran_out_holds_no_more() {
        let lease = Lease::new(Timestamp::from_unix_seconds(10));
        assert!(lease.holds(Timestamp::from_unix_seconds(10)));
        assert!(!lease.holds(Timestamp::from_unix_seconds(11)));
        lease.renew(Timestamp::from_unix_seconds(11), Duration::from_secs(3));
        assert!(lease.holds(Timestamp::from_unix_seconds(14)));
    }

    #[test]
    fn a_growing_canary_is_enrolled_in_pairs_until_live_has_no_more() {
        let mut buckets = Buckets::default();
        let shares =
            |buckets: &Buckets| [buckets.count(1), buckets.control(1).buckets(), buckets.live().buckets()];
        for (wanted, expected) in [
            (0.05, [500, 500, 9_500]),
            (0.25, [2_500, 2_500, 7_500]),
            (0.6, [6_000, 4_000, 4_000]),
            (0.0, [0, 0, 10_000]),
        ] {
            buckets.set(1, Share::new(wanted).unwrap());
            assert_eq!(shares(&buckets), expected);
        }
    }

    proptest! {
        /// Invariant 4: a bucket on a candidate stays there while that candidate grows, with several candidates.
        #[test]
        fn growth_takes_from_live_only(steps in prop::collection::vec((1u8..4, 0u16..4_000), 1..40)) {
            let mut buckets = Buckets::default();
            let is_live = |owner: u8| owner == 0 || owner > ROLLOUTS_MAX;
            for (rollout, share) in steps {
                let before = buckets.clone();
                let had = before.count(rollout);
                let share = Share::from_buckets(share);
                let has = buckets.set(rollout, share).buckets();
                prop_assert_eq!(has, share.buckets().min(had + before.live().buckets()));
                let live = buckets.owner.iter().filter(|owner| is_live(**owner)).count();
                prop_assert_eq!(usize::from(buckets.live().buckets()), live);
                prop_assert!(buckets.control(rollout).buckets() <= has);
                for (old, new) in before.owner.iter().zip(buckets.owner.iter()) {
                    if is_live(*old) != is_live(*new) {
                        let (gained, lost) = (*new == rollout, *old == rollout);
                        prop_assert!(if has > had { gained } else { lost }, "{} {}", old, new);
                    } else if !is_live(*old) {
                        prop_assert_eq!(old, new);
                    }
                }
            }
        }
    }
}

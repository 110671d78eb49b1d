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
/// Buckets are enrolled in pairs: as many of live's as the candidate gets are set aside as its control, so that the keys
/// in either began to count at the same time. (Keys that live has answered for long are no match for those that are new
/// to the candidate.) They stay live's: a candidate that wants more than the rest takes them. What it gets without a match it answers, and
/// the keys there do not count: those that come for the first time in this comparison would all be its own, whatever the shares of both.
#[derive(Clone)]
pub(crate) struct Buckets {
    /// 0 is live; up to [`ROLLOUTS_MAX`], the number that a rollout goes by here; above it, live as the control of the
    /// rollout with so much less; and above twice that, what a rollout has without a match.
    owner: Box<[u8]>,
    /// How many each owner has: asked at every swap and every tick, which counting would make several times as long.
    counts: [u16; OWNERS],
}

/// Rollouts at one time.
pub(crate) const ROLLOUTS_MAX: u8 = 32;

/// Live, and each rollout as what it may be.
const OWNERS: usize = 3 * ROLLOUTS_MAX as usize + 1;

impl Default for Buckets {
    fn default() -> Self {
        let mut counts = [0; _];
        counts[0] = BUCKETS;
        Self { owner: vec![0; usize::from(BUCKETS)].into(), counts }
    }
}

impl Buckets {
    /// Gives `rollout` exactly `share`, or as much as live has left to give, and sets as much of live aside as its
    /// control, where there is that much. Returns what it has now.
    pub(crate) fn set(&mut self, rollout: u8, share: Share) -> Share {
        let (wanted, control, unmatched) = (share.buckets(), control_of(rollout), unmatched_of(rollout));
        if share == Share::NONE {
            // What is taken back is: nobody else's matches change, and a rollback waits for no more than this.
            let own = [rollout, control, unmatched];
            self.give(own.iter().map(|own| self.count(*own)).sum(), 0, |owner| own.contains(&owner));
            return share;
        }
        let had = self.share(rollout).buckets();
        // In pairs, as far as live has two for each and one for the rest.
        let (more, free) = (wanted.saturating_sub(had), self.count(0));
        let pairs = more.min(free.saturating_sub(more));
        self.give(pairs, rollout, |owner| owner == 0);
        self.give(pairs, control, |owner| owner == 0);
        // Then without a match. Its own control last: those keys are known by live's answers already.
        let missing = |this: &Self| wanted.saturating_sub(this.share(rollout).buckets());
        self.give(missing(self), unmatched, |owner| owner == 0);
        self.give_from_the_end(missing(self), unmatched, |owner| is_control(owner) && owner != control);
        self.give_from_the_end(missing(self), unmatched, |owner| owner == control);
        let surplus = |this: &Self| this.share(rollout).buckets().saturating_sub(wanted);
        self.take_back(surplus(self), unmatched);
        self.take_back(surplus(self), rollout);
        for rollout in 1..=ROLLOUTS_MAX {
            self.match_again(rollout);
        }
        self.share(rollout)
    }

    /// What live answers, as it is counted.
    fn lives(&self) -> u16 {
        (0..).zip(self.counts).filter(|(owner, _)| is_lives(*owner)).map(|(_, count)| count).sum()
    }

    /// Of a pair of which one is gone the other is none: a candidate's without its control has no match any more, and control without
    /// its candidate's is live's like the rest.
    fn match_again(&mut self, rollout: u8) {
        let (candidate, control) = (self.count(rollout), self.count(control_of(rollout)));
        self.take_back(control.saturating_sub(candidate), control_of(rollout));
        self.give_from_the_end(candidate.saturating_sub(control), unmatched_of(rollout), |owner| {
            owner == rollout
        });
    }

    /// Gives what a rollout has without a match one, as far as live has buckets that are nobody's: keys begin to count in both at one time.
    /// Only for a rollout of which no key has counted: buckets whose keys have are no match for those whose keys have not. Whether any
    /// was given.
    pub(crate) fn match_up(&mut self, rollout: u8) -> bool {
        let pairs = self.count(unmatched_of(rollout)).min(self.count(0));
        self.give(pairs, rollout, |owner| owner == unmatched_of(rollout));
        self.give(pairs, control_of(rollout), |owner| owner == 0);
        pairs > 0
    }

    fn give(&mut self, count: u16, to: u8, from: impl Fn(u8) -> bool) {
        Self::hand(self.owner.iter_mut(), &mut self.counts, count, to, from);
    }

    /// The same, the last first, as candidates lose their matches.
    fn give_from_the_end(&mut self, count: u16, to: u8, from: impl Fn(u8) -> bool) {
        Self::hand(self.owner.iter_mut().rev(), &mut self.counts, count, to, from);
    }

    fn take_back(&mut self, count: u16, from: u8) {
        self.give_from_the_end(count, 0, |owner| owner == from);
    }

    fn hand<'a>(
        owners: impl Iterator<Item = &'a mut u8>,
        counts: &mut [u16; OWNERS],
        count: u16,
        to: u8,
        from: impl Fn(u8) -> bool,
    ) {
        let mut left = count;
        for owner in owners {
            if left == 0 {
                break;
            }
            if from(*owner) {
                let had = std::mem::replace(owner, to);
                if let Ok([had, has]) = counts.get_disjoint_mut([usize::from(had), usize::from(to)]) {
                    (*had, *has) = (*had - 1, *has + 1);
                }
                left -= 1;
            }
        }
    }

    /// Who owns each bucket; nothing where live owns all and none is set aside.
    #[cfg(feature = "state")]
    pub(crate) fn owners(&self) -> Option<&[u8]> {
        (self.count(0) != BUCKETS).then_some(&self.owner)
    }

    /// Goes on with owners that were written down; nothing where they are none.
    #[cfg(feature = "state")]
    pub(crate) fn of(owners: &[u8]) -> Option<Self> {
        if owners.len() != usize::from(BUCKETS) {
            return None;
        }
        let mut counts = [0; OWNERS];
        for owner in owners {
            *counts.get_mut(usize::from(*owner))? += 1;
        }
        Some(Self { owner: owners.into(), counts })
    }

    /// What live answers.
    pub(crate) fn live(&self) -> Share {
        Share::from_buckets(self.lives())
    }

    /// What a candidate answers.
    pub(crate) fn share(&self, rollout: u8) -> Share {
        Share::from_buckets(self.count(rollout) + self.count(unmatched_of(rollout)))
    }

    /// What is set aside of live as the control of a rollout; the candidate has as much of which the keys count.
    pub(crate) fn control(&self, rollout: u8) -> Share {
        Share::from_buckets(self.count(control_of(rollout)))
    }

    /// Whether a candidate has something without a match.
    pub(crate) fn has_unmatched(&self, rollout: u8) -> bool {
        self.count(unmatched_of(rollout)) > 0
    }

    /// The table's form: the arm that owns each bucket, by `arm_of(rollout, as what)`; nothing where live owns all.
    pub(crate) fn table(&self, arm_of: impl Fn(u8, As) -> u8) -> Option<Box<[u8]>> {
        if self.lives() == BUCKETS {
            return None;
        }
        let arm = |owner: u8| match owner {
            0 => 0,
            rollout @ 1..=ROLLOUTS_MAX => arm_of(rollout, As::Candidate),
            control if is_control(control) => arm_of(control - ROLLOUTS_MAX, As::Control),
            unmatched => arm_of(unmatched - 2 * ROLLOUTS_MAX, As::Unmatched),
        };
        // Each owner is asked for once, not each bucket.
        let mut arms = [0; OWNERS];
        for ((owner, arm_of_it), count) in (0..).zip(&mut arms).zip(self.counts) {
            *arm_of_it = if count > 0 { arm(owner) } else { 0 };
        }
        if arms == [0; OWNERS] {
            return None;
        }
        let mut table = self.owner.clone();
        for place in table.iter_mut().filter(|owner| **owner != 0) {
            *place = arms.get(usize::from(*place)).copied().unwrap_or_default();
        }
        Some(table)
    }

    fn count(&self, owner: u8) -> u16 {
        self.counts.get(usize::from(owner)).copied().unwrap_or_default()
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

/// What a bucket is to the rollout that it belongs to.
#[derive(Clone, Copy)]
pub(crate) enum As {
    /// The candidate answers it, and its keys are compared with those of the control.
    Candidate,
    /// Live answers it, as the control.
    Control,
    /// The candidate answers it, and its keys do not count.
    Unmatched,
}

/// What a rollout is called where it has a bucket without a match.
const fn unmatched_of(rollout: u8) -> u8 {
    rollout + 2 * ROLLOUTS_MAX
}

fn is_control(owner: u8) -> bool {
    owner > ROLLOUTS_MAX && owner <= 2 * ROLLOUTS_MAX
}

/// Whether live answers what has this owner.
fn is_lives(owner: u8) -> bool {
    owner == 0 || is_control(owner)
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
        let shares = |buckets: &Buckets| {
            let [share, control] = [buckets.share(1), buckets.control(1)].map(Share::buckets);
            [share, buckets.count(1), control, buckets.live().buckets()]
        };
        for (wanted, expected) in [
            (0.05, [500, 500, 500, 9_500]),
            (0.25, [2_500, 2_500, 2_500, 7_500]),
            (0.6, [6_000, 4_000, 4_000, 4_000]),
            (0.9, [9_000, 1_000, 1_000, 1_000]),
            (0.0, [0, 0, 0, 10_000]),
        ] {
            buckets.set(1, Share::new(wanted).unwrap());
            assert_eq!(shares(&buckets), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Invariant 4: a bucket on a candidate stays there while that candidate grows, with several candidates.
        #[test]
        fn growth_takes_from_live_only(steps in prop::collection::vec((1u8..4, prop_oneof![Just(0u16), 0u16..4_000]), 1..40)) {
            let mut buckets = Buckets::default();
            let is_live = is_lives;
            let whose = |owner: u8| if is_lives(owner) { 0 } else { owner % ROLLOUTS_MAX };
            for (rollout, share) in steps {
                let before = buckets.clone();
                let had = before.share(rollout).buckets();
                let share = Share::from_buckets(share);
                let has = buckets.set(rollout, share).buckets();
                prop_assert_eq!(has, share.buckets().min(had + before.live().buckets()));
                let live = buckets.owner.iter().filter(|owner| is_live(**owner)).count();
                prop_assert_eq!(usize::from(buckets.live().buckets()), live);
                let mut counts = [0; OWNERS];
                buckets.owner.iter().for_each(|owner| counts[usize::from(*owner)] += 1);
                prop_assert_eq!(counts, buckets.counts);
                for each in 1..4 {
                    prop_assert_eq!(buckets.control(each).buckets(), buckets.count(each));
                }
                for (old, new) in before.owner.iter().zip(buckets.owner.iter()) {
                    if is_live(*old) != is_live(*new) {
                        let (gained, lost) = (whose(*new) == rollout, whose(*old) == rollout);
                        prop_assert!(if has > had { gained } else { lost }, "{} {}", old, new);
                    } else if !is_live(*old) {
                        prop_assert_eq!(whose(*old), whose(*new));
                    }
                }
            }
        }
    }
}

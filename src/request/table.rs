//! The routing table: the one immutable value that decides who answers, replaced whole by one atomic store.

use std::ops::Deref;
use std::sync::Arc;

use super::buckets::Salt;
use super::lease::Lease;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::base::sync::InFlight;
use crate::stats::counting::exposure::Exposure;
use crate::stats::counting::keys::Keys;
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::version::loaded::{AnyVersion, Known, Version};

/// Who answers what, at one moment.
pub(crate) struct Routing<V: ?Sized> {
    /// Live first, then those on trial, each with the part of live that was set aside as its control.
    pub(crate) arms: Vec<Arm<V>>,
    /// Which arm each bucket belongs to; nothing where all belong to live, so that the common case looks nothing up.
    pub(crate) owner: Option<Box<[u8]>>,
    /// Decides the bucket of a key beside the key itself, so that rollouts do not all begin with the same users.
    pub(crate) salt: Salt,
    /// Copied traffic.
    pub(crate) shadowing: Vec<Shadowing>,
    /// The version before live, while live is watched after its promotion: it answers what live fails on.
    pub(crate) previous: Option<Arm<V>>,
    /// The attempt that live is watched in, by its number: versions of one name may be live one after the other.
    pub(crate) watched: Option<u32>,
    /// Live, where it answers what belongs to a candidate that has lost its exposure, and all requests while nobody ticks:
    /// in no comparison, since when that happens is not left to chance.
    pub(crate) withheld: Option<Arm<V>>,
    /// The candidates that answer callers.
    pub(crate) exposed: Vec<Exposed<V>>,
    /// The version that live would be taken back to.
    pub(crate) before: Option<Before<V>>,
    /// Until when candidates may be exposed.
    pub(crate) lease: Arc<Lease>,
    /// Several candidates are exposed, or calls of others have not returned.
    pub(crate) several: bool,
    /// The calls of versions that are on trial no more and had some under way when the table was made, or may have begun some since by the table
    /// before: they keep threads of callers for as long as they last. Not the versions, which are freed as soon as nobody is in them.
    pub(crate) left: Vec<Arc<InFlight>>,
}

/// A candidate that answers callers, and what live's requests count for while it has as many calls under way as it may.
///
/// What would be crowded out, had it been the candidate's, is to be evidence for neither, or live has more units than its share, and those
/// of busier moments. So live is then no control of this candidate, and stays the control of the others.
pub(crate) struct Exposed<V: ?Sized> {
    /// The place of its arm.
    pub(crate) arm: u8,
    /// The place of the part of live that is set aside as its control, where keys count.
    pub(crate) control: Option<u8>,
    /// Live, in every comparison but this one; nothing where it is the only one.
    pub(crate) without: Option<Arm<V>>,
    /// Its own arm in no comparison, for requests while two others are busy: live is the control of none then. Nothing where there are
    /// no two others.
    pub(crate) alone: Option<Arm<V>>,
}

/// The version that live would be taken back to, ready to be put in its place before the control lock is had.
pub(crate) struct Before<V: ?Sized> {
    pub(crate) arm: Arm<V>,
    /// Nothing is on trial, so that a rollback which says nothing else goes there.
    pub(crate) is_next: bool,
}

/// A version in the table with the place where its requests are counted.
pub(crate) struct Arm<V: ?Sized> {
    pub(crate) version: Arc<V>,
    pub(crate) exposure: Arc<Exposure>,
    /// The place of the arm whose requests these are: a candidate's own, or 0 for live, also where a part of it is
    /// counted apart.
    pub(crate) stands_for: u8,
}

impl<V: ?Sized> Arm<V> {
    /// Whether it is a candidate.
    #[inline]
    pub(crate) fn on_trial(&self) -> bool {
        self.stands_for != 0
    }
}

impl<V: ?Sized> Clone for Arm<V> {
    fn clone(&self) -> Self {
        let (version, exposure) = (Arc::clone(&self.version), Arc::clone(&self.exposure));
        Self { version, exposure, stands_for: self.stands_for }
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
    /// Live's and the candidate's: pairs in which one took longer are counted.
    pub(crate) slower_than: Arc<[(LatencyLimit, LatencyLimit)]>,
    /// The keys whose pairs count; none where no key was ever seen.
    pub(crate) keys: Option<Arc<Keys>>,
}

/// The arm that answers a request, and why not another where that was meant to.
pub(crate) struct Routed<'a, V: ?Sized> {
    pub(crate) arm: &'a Arm<V>,
    /// The request belongs to a candidate that has lost its exposure until the table changes.
    pub(crate) withheld: bool,
}

impl<V: ?Sized> Clone for Routed<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: ?Sized> Copy for Routed<'_, V> {}

/// What owns the buckets of a candidate that is asked nothing at the moment: live answers them, and is in no comparison there.
pub(crate) const WITHHELD: u8 = u8::MAX;

impl<V: ?Sized> Routing<V> {
    /// The version that answers by default. A table always has one.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "every table is built with live as its first arm")]
    pub(crate) fn live(&self) -> &Arm<V> {
        &self.arms[0]
    }

    /// Who answers the request that falls into `bucket` at the moment `at`.
    ///
    /// Lowered exposure needs no new table: a candidate whose lease has run out or whose breaker has tripped is passed
    /// over here, before any tick has seen it. Only a request with a key is counted apart as a candidate's control:
    /// without one all of live is.
    #[inline]
    pub(crate) fn route(&self, bucket: u16, keyed: bool, at: Timestamp) -> Routed<'_, V> {
        let live = Routed { arm: self.live(), withheld: false };
        let Some(index) = self.owner.as_ref().and_then(|owner| owner.get(usize::from(bucket)).copied())
        else {
            return live;
        };
        let on_trial = self.arms.get(usize::from(index)).filter(|arm| arm.on_trial());
        if index == WITHHELD {
            return Routed { arm: self.withheld.as_ref().unwrap_or(live.arm), withheld: true };
        }
        if !self.lease.holds(at) {
            // Evidence of nothing, for either arm: what live does while its candidates are withheld is not their control.
            let arm = self.withheld.as_ref().unwrap_or(live.arm);
            return Routed { arm, withheld: on_trial.is_some() };
        }
        match (on_trial, self.arms.get(usize::from(index))) {
            (Some(arm), _) if arm.exposure.is_tripped() => {
                Routed { arm: self.withheld.as_ref().unwrap_or(live.arm), withheld: true }
            }
            (Some(arm), _) => Routed { arm, withheld: false },
            (None, Some(arm)) if keyed => Routed { arm, withheld: false },
            _ => live,
        }
    }

    /// The table in which live has been taken back and nothing is on trial, for the moment until the control side has made
    /// its own: no request waits for that. `None` where there is no version to go back to that would answer at once.
    pub(crate) fn taken_back(&self) -> Option<Self>
    where
        V: Deref<Target = Known>,
    {
        // One that is cold is woken first.
        let before = self.before.as_ref().filter(|before| !before.arm.version.is_cold())?;
        Some(Self {
            arms: vec![before.arm.clone()],
            owner: None,
            salt: self.salt.clone(),
            shadowing: Vec::new(),
            several: false,
            left: Vec::new(),
            // Should it go cold in just that moment, nobody's request is lost.
            previous: Some(Arm { stands_for: 0, ..self.live().clone() }),
            watched: None,
            withheld: None,
            exposed: Vec::new(),
            before: None,
            lease: Arc::clone(&self.lease),
        })
    }

    /// The hash of a key, which decides its bucket: stable over processes, builds and machines. Other software finds the
    /// same bucket as `xxh3_64(salt ++ ':' ++ key) * 10000 >> 64`; where the host gave a secret, whoever has that.
    #[inline]
    pub(crate) fn hash_of(&self, key: &[u8]) -> u64 {
        self.salt.hash_of(key)
    }
}

impl<I: ?Sized + 'static, O: 'static> Routing<Version<I, O>> {
    /// Whether a version is on trial.
    #[inline]
    pub(crate) fn tries(&self, version: &Arc<Version<I, O>>) -> bool {
        self.arms.iter().any(|arm| arm.on_trial() && Arc::ptr_eq(&arm.version, version))
    }

    /// Whether candidates have no more than so many calls under way together with those that are `left` of others. Asked by whoever has
    /// just begun one, who gives it up where they have more.
    pub(crate) fn on_trial_within(&self, most: usize, left: &[Arc<InFlight>]) -> bool {
        // Each once, although one may have two places to count.
        let own = |(place, arm): &(usize, &Arm<Version<I, O>>)| {
            arm.on_trial() && usize::from(arm.stands_for) == *place
        };
        let on_trial = self.arms.iter().enumerate().filter(own).map(|(_, arm)| arm);
        Known::calls_within(on_trial.map(|arm| &**arm.version), left, most)
    }
}

/// Where the control side puts the table of the present state. It knows versions without their types; whoever answers
/// requests knows them.
pub(crate) trait Router {
    /// Replaces the table: from the next request on it holds.
    fn store(&self, table: Routing<dyn AnyVersion>);
}

impl Routing<dyn AnyVersion> {
    /// The same table with versions that can be asked. `None` where one is of other types: no version of another handle
    /// ever comes into a table.
    pub(crate) fn typed<I: ?Sized + 'static, O: 'static>(self) -> Option<Routing<Version<I, O>>> {
        let Self {
            arms,
            owner,
            salt,
            shadowing,
            previous,
            watched,
            withheld,
            exposed,
            before,
            lease,
            several,
            left,
        } = self;
        let previous = match previous {
            Some(arm) => Some(arm.typed()?),
            None => None,
        };
        let withheld = match withheld {
            Some(arm) => Some(arm.typed()?),
            None => None,
        };
        let before = match before {
            Some(Before { arm, is_next }) => Some(Before { arm: arm.typed()?, is_next }),
            None => None,
        };
        let arms = arms.into_iter().map(Arm::typed).collect::<Option<Vec<_>>>()?;
        let exposed = exposed.into_iter().map(Exposed::typed).collect::<Option<Vec<_>>>()?;
        Some(Routing {
            arms,
            owner,
            salt,
            shadowing,
            previous,
            watched,
            withheld,
            exposed,
            before,
            lease,
            several,
            left,
        })
    }
}

impl Exposed<dyn AnyVersion> {
    fn typed<I: ?Sized + 'static, O: 'static>(self) -> Option<Exposed<Version<I, O>>> {
        let Self { arm, control, without, alone } = self;
        let without = match without {
            Some(arm) => Some(arm.typed()?),
            None => None,
        };
        let alone = match alone {
            Some(arm) => Some(arm.typed()?),
            None => None,
        };
        Some(Exposed { arm, control, without, alone })
    }
}

impl Arm<dyn AnyVersion> {
    fn typed<I: ?Sized + 'static, O: 'static>(self) -> Option<Arm<Version<I, O>>> {
        let Self { version, exposure, stands_for } = self;
        Some(Arm { version: version.typed()?, exposure, stands_for })
    }
}

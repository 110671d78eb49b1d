//! How long whoever may answer takes: what a caller that must not block asks before it asks on the spot.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::Duration;

use super::table::{Arm, Routing};
use crate::version::id::VersionId;
use crate::version::loaded::Known;
use std::ops::Deref;

/// The slowest recent p99 of the versions that answer callers, as the last tick found it. Relaxed, both: each says something by
/// itself, and a caller that reads an old one asks a fast version aside, or a slow one on the spot, once more.
pub(crate) struct Pace {
    /// [`UNKNOWN`] where there is a version that was not measured.
    nanos: AtomicU64,
    /// Somebody asks: else nothing is measured.
    wanted: AtomicBool,
}

/// Longer than any.
const UNKNOWN: u64 = u64::MAX;

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { nanos: AtomicU64::new(UNKNOWN), wanted: AtomicBool::new(false) }
    }

    /// Somebody asks from now on.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// In nanoseconds; more than any duration where it is not known.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }

    /// It was measured of a table.
    pub(crate) fn measured(&self, slowest: Option<Duration>, is_in_force: impl FnOnce() -> bool) {
        self.set(slowest);
        // With the fence in `has_changed`: whoever brings another table into force without a lock either is seen here, or writes last.
        fence(Ordering::SeqCst);
        if !is_in_force() {
            self.set(None);
        }
    }

    /// Another table has come into force, which nobody who measures is kept from.
    pub(crate) fn has_changed<V: Deref<Target = Known>>(&self, before: &Routing<V>, after: &Routing<V>) {
        fence(Ordering::SeqCst);
        self.changes(before, after);
    }

    fn set(&self, slowest: Option<Duration>) {
        let nanos = slowest.map_or(UNKNOWN, |slowest| u64::try_from(slowest.as_nanos()).unwrap_or(UNKNOWN));
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    /// Another table comes into force: whoever answers now and did not before has not been measured.
    pub(crate) fn changes<V: Deref<Target = Known>>(&self, before: &Routing<V>, after: &Routing<V>) {
        if self.is_wanted()
            && answering(after).any(|version| !answering(before).any(|known| known == version))
        {
            self.set(None);
        }
    }
}

/// The versions that callers may be answered by: live, and whoever has a bucket.
pub(crate) fn answering<V: Deref<Target = Known>>(table: &Routing<V>) -> impl Iterator<Item = VersionId> {
    let has_bucket = |place: usize| {
        let mut owners = table.owner.iter().flat_map(|owners| owners.iter());
        owners.any(|owner| usize::from(*owner) == place)
    };
    let of = |arm: &Arm<V>| arm.version.id;
    let arms = table.arms.iter().enumerate();
    arms.filter(move |(place, _)| *place == 0 || has_bucket(*place)).map(move |(_, arm)| of(arm))
}

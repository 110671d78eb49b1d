//! The place of a handle in its fleet, as far as the control side knows of it.

use crate::base::clock::Timestamp;
use crate::base::ordered::OrderedMap;
use crate::stats::evidence::ledger::Counts;
use crate::stats::evidence::subtract::Subtract;
use crate::stats::sequential::Additive;

/// A place in a fleet.
#[derive(Default)]
pub(crate) struct Seat {
    /// Until when candidates may be exposed.
    pub(crate) lease_until: Timestamp,
    /// The counts that were made and not told yet, by attempt and by the head under which requests were made.
    pub(crate) outbox: OrderedMap<(u32, u64), Counts>,
    /// Something is on trial in the fleet, whatever of it is exposed here.
    pub(crate) is_trying: bool,
    /// Another version answers here than the one that is live in the fleet, which is not to be had here yet.
    pub(super) stands_in: bool,
    /// Under which head each attempt came to where it is, and under which it was before.
    pub(super) entered: OrderedMap<u32, (u64, u64)>,
    /// The number of the first attempt that was begun since this process is there.
    #[cfg(feature = "report")]
    pub(super) first: Option<u32>,
    /// Requests that were asked and not told yet, and those of them that had a key.
    pub(crate) asked: Asked,
    /// What comes to all processes, once that is known here.
    pub(crate) rate: Option<Rate>,
}

/// How many requests usually come to so many processes in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rate {
    pub(crate) processes: u64,
    pub(crate) per_second: f64,
}

/// How many requests were asked, and how many of them with a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) all: u64,
    pub(crate) keyed: u64,
}

impl Asked {
    pub(crate) fn add(&mut self, other: Self) {
        self.all = self.all.saturating_add(other.all);
        self.keyed = self.keyed.saturating_add(other.keyed);
    }

    /// Whether most of them had a key.
    pub(crate) fn mostly_keyed(self) -> bool {
        self.keyed > self.all.saturating_sub(self.keyed)
    }
}

impl Seat {
    /// Takes note of what an attempt has counted: all of it, and of requests that were made since it came to where it is.
    pub(crate) fn count(&mut self, attempt: u32, all: &Counts, fresh: &Counts) {
        let (now, before) = self.entered.get(&attempt).copied().unwrap_or_default();
        for (era, counts) in [(now, fresh.clone()), (before, all.less(fresh))] {
            if !counts.is_empty() {
                self.outbox.entry((attempt, era)).or_default().merge(&counts);
            }
        }
    }
}

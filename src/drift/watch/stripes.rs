//! Where requests are counted until the next tick, so that none waits for another.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::counted::Counted;
use crate::version::id::VersionId;

/// Stripes, as those of figures: a thread has its own as long as there are no more threads.
pub(crate) struct Stripes {
    stripes: Box<[CachePadded<Stripe>]>,
    /// The requests and answers that could not be counted at once, or for want of room. Relaxed: for showing, it guards
    /// nothing.
    skipped: AtomicU64,
}

struct Stripe {
    entries: Mutex<Vec<Drained>>,
    /// The last round's entries, emptied: what is drained is swapped with them. Locked by who drains.
    spare: Mutex<Vec<Drained>>,
}

/// The counts of one place of the routing table.
pub(crate) struct Drained {
    pub(crate) exposure: u32,
    pub(crate) version: VersionId,
    /// Those that are units of a comparison.
    pub(crate) own: Option<Counted>,
    /// The others: further requests of users, where users are what is compared.
    pub(crate) others: Option<Counted>,
    /// The answers of live to the same inputs, of a shadow.
    pub(crate) theirs: Option<Counted>,
    /// Ticks in a row in which nothing came.
    idle: u32,
}

/// Places of the table that one stripe counts apart between two ticks.
const ENTRIES_MAX: usize = 64;

/// An entry in which nothing came for so many ticks is let go of.
const IDLE_MAX: u32 = 60;

impl Stripes {
    pub(crate) fn new(stripes: usize) -> Self {
        let stripe = || CachePadded::new(Stripe { entries: Mutex::default(), spare: Mutex::default() });
        Self { stripes: (0..stripes.max(1)).map(|_| stripe()).collect(), skipped: AtomicU64::new(0) }
    }

    /// Counts in the entry of a key, if nobody else does at this moment. Allocates where a key is new.
    #[inline]
    pub(crate) fn count(
        &self,
        lane: usize,
        (exposure, version): (u32, VersionId),
        count: impl FnOnce(&mut Drained),
    ) {
        let stripe = self.stripes.get(lane % self.stripes.len().max(1));
        let Some(mut entries) = stripe.and_then(|stripe| stripe.entries.try_lock()) else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if let Some(entry) = entries.iter_mut().find(|entry| entry.exposure == exposure) {
            count(entry);
        } else if entries.len() < ENTRIES_MAX {
            let mut entry = Drained { exposure, version, own: None, others: None, theirs: None, idle: 0 };
            count(&mut entry);
            entries.push(entry);
        } else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns what was counted since the last time. Each stripe is locked for a swap.
    pub(crate) fn drain(&self) -> Vec<Drained> {
        let mut all: Vec<Drained> = Vec::new();
        for stripe in &self.stripes {
            let mut drained = stripe.spare.lock();
            std::mem::swap(&mut *stripe.entries.lock(), &mut *drained);
            for entry in drained.iter_mut() {
                entry.idle = if entry.rows() > 0 { 0 } else { entry.idle + 1 };
                if entry.idle == 0 {
                    match all.iter_mut().find(|known| known.exposure == entry.exposure) {
                        Some(known) => known.merge(entry),
                        None => all.push(entry.taken()),
                    }
                    entry.counted().into_iter().flatten().for_each(Counted::clear);
                }
            }
            drained.retain(|entry| entry.idle < IDLE_MAX);
        }
        all
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

impl Drained {
    pub(crate) fn rows(&self) -> u64 {
        self.all().map(Counted::rows).sum()
    }

    /// All that was counted of the version.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Counted> {
        self.own.iter().chain(&self.others)
    }

    fn counted(&mut self) -> [&mut Option<Counted>; 3] {
        [&mut self.own, &mut self.others, &mut self.theirs]
    }

    fn taken(&mut self) -> Self {
        let (exposure, version) = (self.exposure, self.version);
        let [own, others, theirs] = self.counted().map(|counted| counted.as_mut().map(Counted::take));
        Self { exposure, version, own, others, theirs, idle: 0 }
    }

    fn merge(&mut self, other: &Self) {
        let others = [&other.own, &other.others, &other.theirs];
        for (own, other) in self.counted().into_iter().zip(others) {
            match (own, other) {
                (Some(own), Some(other)) => own.merge(other),
                (own @ None, Some(other)) => *own = Some(other.clone()),
                (_, None) => {}
            }
        }
    }
}

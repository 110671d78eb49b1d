//! Joins as they are written to disk, and as they go on from there.
//!
//! What tells a repeat from a first outcome must be written together with what the outcome was counted in, or after a
//! crash it would count twice or not at all. So all of it is read at one moment, under the lock under which outcomes are
//! counted: the bits, the rows that wait, and the labels that wait for others of their time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::join::{Joins, Key, Pair, Registered, ShadowHalf, TRUTH, Unsaved, figure_of_kpi, kpi_of};
use super::repeats::{Page, PageKey};
use super::rows::Shared;
use crate::base::clock::{Shift, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::base::packed::Packed;
use crate::stats::counting::exposure::Awaited;
use crate::stats::counting::intake::Intake;
use crate::stats::evidence::waiting::SavedWaiting;
use crate::task::kept::Kept;

/// The joins as they are saved: all of them, or the changes since the last time.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct SavedJoins {
    /// Labels that wait, by exposure: always all of them.
    waiting: Vec<(u32, SavedWaiting)>,
    /// Pages of bits, of which a later one replaces an earlier one.
    pages: Vec<SavedPage>,
    /// Rows of pairs that wait for their outcome. What met it since has its bit set.
    pairs: Vec<SavedPair>,
    /// Rows of predictions whose silence will mean something.
    awaiting: Vec<SavedAwaited>,
    /// The same before they are written: see [`unpack`](Self::unpack).
    #[serde(skip)]
    shared: Shared,
    /// Bits that were promised, by when each slot of time began: always all of them.
    #[serde(default, rename = "promised")]
    issued: Vec<(Timestamp, u64)>,
    /// How moments of earlier lives of the handle are told in the one that wrote this, where they are told otherwise: always
    /// all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shifts: Vec<(u64, Shift)>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SavedPage {
    exposure: u32,
    figure: u8,
    page: u64,
    bits: Packed,
    newest: Timestamp,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SavedPair {
    exposure: u32,
    sequence: u64,
    row: Option<u64>,
    at: Timestamp,
    halves: Vec<SavedHalf>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SavedHalf {
    own: u32,
    pairs: u32,
    kept: Kept,
    reversed: bool,
    unit: bool,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SavedAwaited {
    exposure: u32,
    sequence: u64,
    row: u64,
    unit: Option<u64>,
    at: Timestamp,
    kept: Kept,
    keyed: bool,
    counts: bool,
    #[serde(default)]
    hidden: bool,
}

impl SavedJoins {
    /// Writes out what was shared, where no lock is held.
    pub(crate) fn unpack(&mut self) {
        self.awaiting.extend(std::mem::take(&mut self.shared).iter().map(SavedAwaited::of));
    }

    /// Takes out pages, so many at a time, until no more than that are left.
    pub(crate) fn split_pages(&mut self, together: usize) -> Vec<SavedJoins> {
        let mut parts = Vec::new();
        while self.pages.len() > together {
            let pages = self.pages.split_off(self.pages.len() - together);
            parts.push(SavedJoins { pages, ..SavedJoins::default() });
        }
        parts
    }

    /// The same of rows that wait.
    pub(crate) fn split_rows(&mut self, together: usize) -> Vec<SavedJoins> {
        let mut parts = Vec::new();
        // From the front: they are merged in the order of time in which they are.
        while self.pairs.len() > together {
            let pairs = self.pairs.drain(..together).collect();
            parts.push(SavedJoins { pairs, ..SavedJoins::default() });
        }
        while self.awaiting.len() > together {
            let awaiting = self.awaiting.drain(..together).collect();
            parts.push(SavedJoins { awaiting, ..SavedJoins::default() });
        }
        parts
    }

    /// Leaves out all that belongs to these exposures.
    #[cfg(feature = "fleet")]
    pub(crate) fn leave_out(&mut self, gone: &HashSet<u32>) {
        self.unpack();
        self.waiting.retain(|(exposure, _)| !gone.contains(exposure));
        self.pages.retain(|page| !gone.contains(&page.exposure));
        self.pairs.retain(|pair| !gone.contains(&pair.exposure));
        self.awaiting.retain(|awaited| !gone.contains(&awaited.exposure));
    }

    /// The same where business figures are declared at other places than they were; the bits of those that are not any more are gone.
    pub(crate) fn figures_at(mut self, place_now: impl Fn(usize) -> Option<usize>) -> Self {
        self.pages.retain_mut(|page| {
            let Some(before) = kpi_of(page.figure) else { return true };
            let figure = place_now(before).and_then(figure_of_kpi);
            page.figure = figure.unwrap_or(page.figure);
            figure.is_some()
        });
        self
    }

    /// Goes on with what was saved later.
    pub(crate) fn merge(&mut self, later: SavedJoins) {
        let key = |page: &SavedPage| (page.exposure, page.figure, page.page);
        let mut pages: BTreeMap<_, _> = self.pages.drain(..).map(|page| (key(&page), page)).collect();
        pages.extend(later.pages.into_iter().map(|page| (key(&page), page)));
        self.pages = pages.into_values().collect();
        self.pairs.extend(later.pairs);
        self.awaiting.extend(later.awaiting);
        (self.waiting, self.issued, self.shifts) = (later.waiting, later.issued, later.shifts);
    }
}

impl Joins {
    /// From here on nothing is joined: what is saved next is all that ever will have been.
    #[cfg(feature = "fleet")]
    pub(crate) fn hand_over(&self) {
        self.state.lock().handed_over = true;
    }

    /// Returns what is to be written: all of it, or what has changed since the last time. Whatever is not written in
    /// the end must be asked for again as a whole.
    pub(crate) fn save(&self, all: bool) -> SavedJoins {
        let state = &mut *self.state.lock();
        let Unsaved { pairs, awaiting } = state.unsaved.replace(Unsaved::default()).unwrap_or_default();
        let waiting = state.intakes.iter().filter_map(|(exposure, registered)| {
            let waiting = registered.intake.waiting();
            (!waiting.is_none()).then(|| (*exposure, waiting.saved()))
        });
        let pages = state.pages.iter_mut().filter(|(_, page)| all || page.unsaved).map(|(key, page)| {
            page.unsaved = false;
            page.saved(*key)
        });
        // The last ones are those that are not written yet; of all, those that have met their outcome are gone.
        let wanted: HashSet<Key> = pairs.into_iter().collect();
        let left = if all { usize::MAX } else { wanted.len() };
        let pairs = state.pair_order.iter().rev().filter(|(_, key)| all || wanted.contains(key)).take(left);
        let mut pairs: Vec<SavedPair> = pairs
            .filter_map(|(at, key)| {
                let Some(Pair::Answered(row, halves)) = state.pairs.get(key) else { return None };
                let halves = halves.iter().map(|half| SavedHalf {
                    own: half.exposures.0,
                    pairs: half.exposures.1,
                    kept: half.kept,
                    reversed: half.reversed,
                    unit: half.unit,
                });
                let (exposure, sequence) = *key;
                Some(SavedPair { exposure, sequence, row: *row, at: *at, halves: halves.collect() })
            })
            .collect();
        pairs.reverse();
        let count = if all { state.awaiting.len() } else { awaiting.min(state.awaiting.len()) };
        SavedJoins {
            waiting: waiting.collect(),
            pages: pages.collect(),
            pairs,
            awaiting: Vec::new(),
            shared: state.awaiting.last(count),
            issued: state.issued.saved(self.limits.horizon),
            shifts: state.shifts.iter().map(|(life, shift)| (*life, *shift)).collect(),
        }
    }

    /// Takes over what an earlier life of the handle had saved. `exposures` says of each of its exposures, by the number
    /// that it went by when it was saved, who made its predictions (a life, and the number there) and where its outcomes
    /// collect now. Rows of exposures that are not among them are dropped.
    pub(crate) fn restore(
        &self,
        saved: SavedJoins,
        exposures: &OrderedMap<u32, Earlier>,
        shift: Shift,
        now: Timestamp,
    ) {
        let state = &mut *self.state.lock();
        let mut waiting: OrderedMap<_, _> = saved.waiting.into_iter().collect();
        for (number, earlier) in exposures {
            let intake = Arc::clone(&earlier.intake);
            if let Some(waiting) = waiting.remove(number) {
                intake.restore(waiting, shift);
            }
            state.earlier.insert(earlier.origin, earlier.number);
            let (life, _) = earlier.origin;
            let before =
                saved.shifts.iter().find(|(of, _)| *of == life).map_or(Shift::default(), |(_, shift)| *shift);
            let shift = before.then(shift);
            if !shift.is_none() {
                state.shifts.insert(life, shift);
            }
            let (retired, origin) = (Some(earlier.retired), Some(earlier.origin));
            let registered = Registered {
                intake,
                retired,
                origin,
                #[cfg(feature = "fleet")]
                counts_until_retired: earlier.counts_until_retired,
            };
            state.intakes.insert(earlier.number, registered);
        }
        for page in saved.pages {
            if let (Some(earlier), Some(bits)) = (exposures.get(&page.exposure), page.words()) {
                let key = PageKey { exposure: earlier.number, figure: page.figure, page: page.page };
                state.pages.insert(key, Page { bits, newest: shift.of(page.newest), unsaved: false });
            }
        }
        for pair in saved.pairs {
            let Some(earlier) = exposures.get(&pair.exposure) else { continue };
            let met =
                pair.row.is_some_and(|row| state.is_marked(PageKey::of(earlier.number, TRUTH, row), row));
            let halves = pair.halves.iter().filter_map(|half| half.restored(exposures));
            let halves: Vec<ShadowHalf> = halves.collect();
            if !met && !halves.is_empty() {
                let key = (earlier.number, pair.sequence);
                let at = shift.of(pair.at);
                state.keep_pair(key, Pair::Answered(pair.row, halves), at, self.limits.pairs_max);
            }
        }
        // Those that come from another process may be older than some that are here: what waits is looked at in the order of time.
        state.pair_order.make_contiguous().sort_by_key(|(at, _)| *at);
        let of = |awaited: &SavedAwaited| {
            exposures.get(&awaited.exposure).map(|earlier| awaited.restored(earlier.number, shift))
        };
        let mut awaiting: Vec<Awaited> = std::iter::from_fn(|| state.awaiting.pop_front()).collect();
        awaiting.extend(saved.awaiting.iter().filter_map(of));
        awaiting.sort_by_key(|awaited| awaited.at);
        state.awaiting.extend(awaiting);
        let issued = saved.issued.into_iter().map(|(began, rows)| (shift.of(began), rows));
        state.issued.merge(issued, now, self.limits.horizon);
        state.forget(now, &self.limits);
    }
}

/// An exposure of an earlier life of the handle.
pub(crate) struct Earlier {
    /// The life that made its predictions, and its number there.
    pub(crate) origin: (u64, u32),
    /// Its number in this one.
    pub(crate) number: u32,
    pub(crate) intake: Arc<Intake>,
    pub(crate) retired: Timestamp,
    /// What was predicted after that was counted nowhere.
    #[cfg_attr(not(feature = "fleet"), expect(dead_code, reason = "only a process that hands over knows"))]
    pub(crate) counts_until_retired: bool,
}

impl Joins {
    /// The life that made an exposure's predictions, and its number there.
    pub(crate) fn origin(&self, exposure: u32) -> (u64, u32) {
        let state = &*self.state.lock();
        let registered = state.intakes.get(&exposure);
        registered.and_then(|registered| registered.origin).unwrap_or((self.process, exposure))
    }
}

impl Page {
    fn saved(&self, key: PageKey) -> SavedPage {
        let PageKey { exposure, figure, page } = key;
        SavedPage {
            exposure,
            figure,
            page,
            bits: Packed(Arc::clone(&self.bits) as Arc<[u64]>),
            newest: self.newest,
        }
    }
}

impl SavedPage {
    /// The bits; nothing where what was written is no page.
    fn words(&self) -> Option<Arc<[u64; super::repeats::PAGE_ROWS / 64]>> {
        Arc::clone(&self.bits.0).try_into().ok()
    }
}

impl SavedHalf {
    fn restored(&self, exposures: &OrderedMap<u32, Earlier>) -> Option<ShadowHalf> {
        let (own, pairs) = (exposures.get(&self.own)?, exposures.get(&self.pairs)?);
        Some(ShadowHalf {
            labelled: (None, None),
            own: Arc::clone(&own.intake),
            pairs: Arc::clone(&pairs.intake),
            exposures: (own.number, pairs.number),
            kept: self.kept,
            reversed: self.reversed,
            unit: self.unit,
        })
    }
}

impl SavedAwaited {
    fn of(awaited: &Awaited) -> Self {
        let Awaited { exposure, sequence, row, unit, at, kept, keyed, counts, hidden, .. } = *awaited;
        Self { exposure, sequence, row, unit, at, kept, keyed, counts, hidden }
    }

    fn restored(&self, exposure: u32, shift: Shift) -> Awaited {
        let Self { sequence, row, unit, at, kept, keyed, counts, hidden, .. } = *self;
        let at = shift.of(at);
        // In no segment: what it was called is known to the life that saw it alone.
        Awaited { exposure, sequence, row, unit, at, kept, keyed, counts, hidden, segment: None }
    }
}

//! Joins as they are written to disk, and as they go on from there.
//!
//! What tells a repeat from a first outcome must be written together with what the outcome was counted in, or after a
//! crash it would count twice or not at all. So all of it is read at one moment, under the lock under which outcomes are
//! counted: the bits, the rows that wait, the labels that wait for others of their time, and of each that may still be corrected what was told:
//! it cannot be taken out of counts without that, and what nobody takes out becomes evidence.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Body;
use super::join::{
    Correctable, Joins, Key, Known, Pair, Registered, ShadowHalf, TRUTH, Unsaved, figure_of_kpi, kpi_of,
};
use super::repeats::{Page, PageKey};
use super::rows::Shared;
use crate::base::clock::{Shift, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::base::packed::Packed;
use crate::stats::counting::exposure::Awaited;
use crate::stats::counting::intake::Intake;
use crate::stats::evidence::waiting::{Moved, Place, SavedWaiting, Waiting};
use crate::task::kept::Kept;
use crate::task::outcome::Actual;

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
    /// Outcomes that may be corrected and would change evidence by that, of which a later one replaces an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    correctable: Vec<SavedCorrectable>,
    /// Those that cannot be corrected any more, by exposure, prediction and figure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settled: Vec<(u32, u64, u8)>,
    /// Both before they are written: see [`unpack`](Self::unpack).
    #[serde(skip)]
    shared: Shared,
    #[serde(skip)]
    shared_correctable: Vec<(Known, Arc<Correctable>)>,
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
    /// Where it counts as evidence, once it does.
    #[serde(default, skip_serializing_if = "is_nowhere")]
    labelled: (Option<Place>, Option<Place>),
}

fn is_nowhere(labelled: &(Option<Place>, Option<Place>)) -> bool {
    *labelled == (None, None)
}

/// An outcome that may be corrected.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SavedCorrectable {
    exposure: u32,
    sequence: u64,
    figure: u8,
    /// The prediction as it was when this was counted, as text.
    prediction: String,
    actual: Actual,
    known_at: Timestamp,
    counted_at: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    assumed: bool,
    /// Where it counts as evidence, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labelled: Option<Place>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shadows: Vec<SavedHalf>,
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
    /// The hash of its segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    segment: Option<u32>,
}

impl SavedJoins {
    /// Writes out what was shared, where no lock is held.
    pub(crate) fn unpack(&mut self) {
        self.awaiting.extend(std::mem::take(&mut self.shared).iter().map(SavedAwaited::of));
        let correctable = std::mem::take(&mut self.shared_correctable);
        self.correctable
            .extend(correctable.iter().map(|(known, outcome)| SavedCorrectable::of(*known, outcome)));
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
        // What they take follows from what was told: of a list of relevant items each is a part of a row.
        let (mut rows, mut taken) = (Vec::new(), 0);
        for row in std::mem::take(&mut self.correctable) {
            taken += 1 + row.actual.bytes() / BYTES_OF_A_ROW;
            rows.push(row);
            if taken >= together {
                let correctable = std::mem::take(&mut rows);
                parts.push(SavedJoins { correctable, ..SavedJoins::default() });
                taken = 0;
            }
        }
        self.correctable = rows;
        parts
    }

    /// Leaves out the outcomes that may be corrected; whether there were any.
    #[cfg(feature = "fleet")]
    pub(crate) fn leave_out_correctable(&mut self) -> bool {
        self.unpack();
        !std::mem::take(&mut self.correctable).is_empty()
    }

    /// Leaves out all that belongs to these exposures.
    #[cfg(feature = "fleet")]
    pub(crate) fn leave_out(&mut self, gone: &HashSet<u32>) {
        self.unpack();
        self.waiting.retain(|(exposure, _)| !gone.contains(exposure));
        self.pages.retain(|page| !gone.contains(&page.exposure));
        self.pairs.retain(|pair| !gone.contains(&pair.exposure));
        self.awaiting.retain(|awaited| !gone.contains(&awaited.exposure));
        self.correctable.retain(|outcome| !gone.contains(&outcome.exposure));
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
        // Brought together once all is read: a journal has a record for each checkpoint, and all rows before it.
        self.correctable.extend(later.correctable);
        self.settled.extend(later.settled);
        (self.waiting, self.issued, self.shifts) = (later.waiting, later.issued, later.shifts);
    }

    /// The outcomes that may be corrected, each as it was in the end. One that was settled never comes back.
    fn correctable(&mut self) -> impl Iterator<Item = SavedCorrectable> + use<> {
        let rows = std::mem::take(&mut self.correctable);
        let mut last: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key(), row)).collect();
        self.settled.iter().for_each(|key| drop(last.remove(key)));
        last.into_values()
    }
}

impl Joins {
    /// From here on nothing is joined: what is saved next is all that ever will have been.
    #[cfg(feature = "fleet")]
    pub(crate) fn hand_over(&self) {
        self.state.lock().handed_over = true;
    }

    /// Returns what is to be written: all of it, or what has changed since the last time. Whatever is not written in
    /// the end must be asked for again as a whole. `evidence` says of which exposures the labels are, or will be: only of those is it
    /// written what a correction would take back, and only while they wait.
    pub(crate) fn save(&self, all: bool, evidence: &HashSet<u32>) -> SavedJoins {
        let state = &mut *self.state.lock();
        let Unsaved { pairs, awaiting, settled } =
            state.unsaved.replace(Unsaved::default()).unwrap_or_default();
        let waiting = state.intakes.iter().filter_map(|(exposure, registered)| {
            let waiting = registered.intake.waiting();
            (!waiting.is_none()).then_some((*exposure, waiting))
        });
        let waiting: OrderedMap<u32, Waiting> = waiting.collect();
        let waits = |(exposure, place): (u32, Place)| {
            evidence.contains(&exposure) && waiting.get(&exposure).is_some_and(|waiting| waiting.holds(place))
        };
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
                let halves = halves.iter().map(SavedHalf::of).collect();
                let (exposure, sequence) = *key;
                Some(SavedPair { exposure, sequence, row: *row, at: *at, halves })
            })
            .collect();
        pairs.reverse();
        let correctable = state.correctable.iter_mut().filter(|(((exposure, _), _), outcome)| {
            // Without a rollout none is looked at further: whoever brings outcomes waits meanwhile.
            !evidence.is_empty() && (all || outcome.unsaved) && outcome.places(*exposure).any(waits)
        });
        let shared_correctable = correctable.map(|(known, outcome)| {
            let changed = Arc::make_mut(outcome);
            (changed.unsaved, changed.is_written) = (false, true);
            (*known, Arc::clone(outcome))
        });
        let shared_correctable = shared_correctable.collect();
        let settled = if all { Vec::new() } else { settled };
        let count = if all { state.awaiting.len() } else { awaiting.min(state.awaiting.len()) };
        SavedJoins {
            waiting: waiting.into_iter().map(|(exposure, waiting)| (exposure, waiting.saved())).collect(),
            pages: pages.collect(),
            pairs,
            awaiting: Vec::new(),
            correctable: Vec::new(),
            settled: settled.into_iter().map(key_of).collect(),
            shared: state.awaiting.last(count),
            shared_correctable,
            issued: state.issued.saved(self.limits.horizon),
            shifts: state.shifts.iter().map(|(life, shift)| (*life, *shift)).collect(),
        }
    }

    /// Takes over what an earlier life of the handle had saved. `exposures` says of each of its exposures, by the number
    /// that it went by when it was saved, who made its predictions (a life, and the number there) and where its outcomes
    /// collect now. Rows of exposures that are not among them are dropped.
    pub(crate) fn restore(
        &self,
        mut saved: SavedJoins,
        exposures: &OrderedMap<u32, Earlier>,
        shift: Shift,
        now: Timestamp,
    ) {
        let correctable = saved.correctable();
        let state = &mut *self.state.lock();
        let mut waiting: OrderedMap<_, _> = saved.waiting.into_iter().collect();
        let mut moved = OrderedMap::new();
        for (number, earlier) in exposures {
            let intake = Arc::clone(&earlier.intake);
            if let Some(waiting) = waiting.remove(number) {
                moved.insert(*number, intake.restore(waiting, shift));
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
            let halves = pair.halves.iter().filter_map(|half| half.restored(exposures, &moved));
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
        let correctable = correctable.filter_map(|row| {
            // Of another task, or of a business figure that is not any more, nothing is evidence still.
            let figure = self.figure_of(&row.actual).ok()?;
            let exposure = exposures.get(&row.exposure)?.number;
            let (sequence, outcome) = (row.sequence, row.restored(exposures, &moved, shift, now)?);
            // Of what has become evidence there is nothing to take back.
            let waits = outcome.places(exposure).next().is_some();
            waits.then_some((((exposure, sequence), figure), outcome))
        });
        state.go_on_correcting(correctable, &self.limits);
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
    fn of(half: &ShadowHalf) -> Self {
        let ShadowHalf { exposures: (own, pairs), kept, reversed, unit, labelled, .. } = *half;
        Self { own, pairs, kept, reversed, unit, labelled }
    }

    fn restored(
        &self,
        exposures: &OrderedMap<u32, Earlier>,
        moved: &OrderedMap<u32, Moved>,
    ) -> Option<ShadowHalf> {
        let (own, pairs) = (exposures.get(&self.own)?, exposures.get(&self.pairs)?);
        let place = |exposure: u32, before: Option<Place>| moved.get(&exposure)?.place(before?);
        Some(ShadowHalf {
            labelled: (place(self.own, self.labelled.0), place(self.pairs, self.labelled.1)),
            own: Arc::clone(&own.intake),
            pairs: Arc::clone(&pairs.intake),
            exposures: (own.number, pairs.number),
            kept: self.kept,
            reversed: self.reversed,
            unit: self.unit,
        })
    }
}

/// How many bytes beside it make one row of two, as it is written.
const BYTES_OF_A_ROW: usize = 128;

fn key_of(((exposure, sequence), figure): Known) -> (u32, u64, u8) {
    (exposure, sequence, figure)
}

impl SavedCorrectable {
    fn key(&self) -> (u32, u64, u8) {
        (self.exposure, self.sequence, self.figure)
    }

    fn of(known: Known, outcome: &Correctable) -> Self {
        let (exposure, sequence, figure) = key_of(known);
        let Correctable { known_at, counted_at, assumed, labelled, .. } = *outcome;
        let (prediction, actual) = (outcome.body.to_text(), outcome.actual.clone());
        let shadows = outcome.shadows.iter().map(SavedHalf::of).collect();
        Self {
            exposure,
            sequence,
            figure,
            prediction,
            actual,
            known_at,
            counted_at,
            assumed,
            labelled,
            shadows,
        }
    }

    fn restored(
        self,
        exposures: &OrderedMap<u32, Earlier>,
        moved: &OrderedMap<u32, Moved>,
        shift: Shift,
        now: Timestamp,
    ) -> Option<Correctable> {
        let place = |before: Place| moved.get(&self.exposure)?.place(before);
        Some(Correctable {
            body: Body::from_text(&self.prediction)?,
            actual: self.actual,
            // Told by somebody else's clock, which nobody has set; or by this machine's, on which what was known lies behind.
            known_at: self.known_at.min(now),
            counted_at: shift.of(self.counted_at).min(now),
            assumed: self.assumed,
            labelled: self.labelled.and_then(place),
            shadows: self.shadows.iter().filter_map(|half| half.restored(exposures, moved)).collect(),
            is_earlier: true,
            unsaved: true,
            is_written: false,
        })
    }
}

impl SavedAwaited {
    fn of(awaited: &Awaited) -> Self {
        let Awaited { exposure, sequence, row, unit, at, kept, keyed, counts, hidden, segment } = *awaited;
        Self { exposure, sequence, row, unit, at, kept, keyed, counts, hidden, segment }
    }

    fn restored(&self, exposure: u32, shift: Shift) -> Awaited {
        let Self { sequence, row, unit, at, kept, keyed, counts, hidden, segment, .. } = *self;
        let at = shift.of(at);
        Awaited { exposure, sequence, row, unit, at, kept, keyed, counts, hidden, segment }
    }
}

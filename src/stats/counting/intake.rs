//! Where outcomes and pairs collect until the next tick.

use parking_lot::Mutex;

#[cfg(feature = "state")]
use crate::base::clock::Shift;
use crate::base::clock::Timestamp;
use crate::stats::evidence::pair::PairCounts;
#[cfg(feature = "state")]
use crate::stats::evidence::waiting::SavedWaiting;
use crate::stats::evidence::waiting::{Labels, Maturity, Place, Taken, Waiting};
use crate::stats::figures::divergence::Divergence;
use crate::stats::figures::tally::Tally;
use crate::stats::sequential::Additive;
use crate::task::task::TaskKind;

/// Where the outcomes of one exposure collect until the next tick. Outlives the exposure's place in the table.
pub(crate) struct Intake {
    collected: Mutex<Collected>,
}

/// Outcomes and pairs since the last tick; of labels, also those that wait for others of their time.
struct Collected {
    tally: Tally,
    divergence: Divergence,
    pairs: PairCounts,
    waiting: Waiting,
}

/// What has collected, beside the figures.
#[derive(Default)]
pub(crate) struct Collection {
    pub(crate) divergence: Divergence,
    pub(crate) pairs: PairCounts,
    pub(crate) labels: Taken,
}

impl Intake {
    pub(crate) fn new(kind: TaskKind, kpis: usize, maturity: Maturity) -> Self {
        Self::of(Tally::new(kind, kpis), Waiting::new(maturity))
    }

    fn of(tally: Tally, waiting: Waiting) -> Self {
        let (divergence, pairs) = (Divergence::default(), PairCounts::default());
        Self { collected: Mutex::new(Collected { tally, divergence, pairs, waiting }) }
    }

    /// An empty intake of the same kind.
    pub(crate) fn like(&self) -> Self {
        let collected = self.collected.lock();
        let mut tally = collected.tally.clone();
        tally.reset();
        Self::of(tally, collected.waiting.like())
    }

    /// Goes on with labels that waited when they were saved.
    #[cfg(feature = "state")]
    pub(crate) fn restore(&self, saved: SavedWaiting, shift: Shift) {
        let waiting = &mut self.collected.lock().waiting;
        *waiting = waiting.restored(saved, shift);
    }

    /// The labels that wait.
    #[cfg(feature = "state")]
    pub(crate) fn waiting(&self) -> Waiting {
        self.collected.lock().waiting.clone()
    }

    /// Adds what has collected to `tally`, hands out the rest, and begins anew. Labels that wait stay.
    pub(crate) fn drain(&self, tally: &mut Tally, now: Timestamp) -> Collection {
        let mut collected = self.collected.lock();
        tally.merge(&collected.tally);
        collected.tally.reset();
        Collection {
            divergence: std::mem::take(&mut collected.divergence),
            pairs: std::mem::take(&mut collected.pairs),
            labels: collected.waiting.take(now),
        }
    }

    /// Counts outcomes, or takes them back.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.collected.lock().tally);
    }

    /// Counts a label, of a prediction made at a moment, as evidence; `None` where it comes too late to be any.
    pub(crate) fn count_label(&self, at: Timestamp, count: impl FnOnce(&mut Labels)) -> Option<Place> {
        self.collected.lock().waiting.count(at, count)
    }

    /// Corrects a label, if it has not become evidence yet.
    pub(crate) fn correct_label(&self, place: Place, correct: impl FnOnce(&mut Labels)) {
        self.collected.lock().waiting.correct(place, correct);
    }

    /// Counts a pair of answers to the same input: as a figure, and as evidence.
    pub(crate) fn diverged(&self, count: impl FnOnce(&mut Divergence, &mut PairCounts)) {
        let collected = &mut *self.collected.lock();
        count(&mut collected.divergence, &mut collected.pairs);
    }

    /// Counts who was right in a pair, as a figure.
    pub(crate) fn judged(&self, count: impl FnOnce(&mut Divergence)) {
        count(&mut self.collected.lock().divergence);
    }
}

impl Collection {
    /// Whether nothing is in it that any attempt would count.
    pub(crate) fn has_evidence(&self) -> bool {
        !self.pairs.is_empty() || !self.labels.slots.is_empty() || self.labels.late > 0
    }
}

//! Where outcomes and pairs collect until the next tick.

use parking_lot::Mutex;

#[cfg(feature = "state")]
use crate::base::clock::Shift;
use crate::base::clock::Timestamp;
use crate::stats::evidence::pair::PairCounts;
use crate::stats::evidence::waiting::{Labels, Maturity, Place, Taken, Waiting};
#[cfg(feature = "state")]
use crate::stats::evidence::waiting::{Moved, SavedWaiting};
use crate::stats::figures::divergence::Divergence;
use crate::stats::figures::tally::Tally;
use crate::stats::sequential::Additive;
use crate::task::task::TaskKind;

/// Where the outcomes of one exposure collect until the next tick. Outlives the exposure's place in the table.
pub(crate) struct Intake {
    kind: TaskKind,
    kpis: usize,
    collected: Mutex<Collected>,
}

/// Outcomes and pairs since the last tick; and labels that wait for others of their time.
struct Collected {
    /// Made by the first that comes. Of an exposure that makes no predictions any more, outcomes are waited for until the
    /// horizon, and there may be thousands of those: each holds these kilobytes only while there is something in them.
    figures: Option<Box<Figures>>,
    waiting: Waiting,
}

struct Figures {
    tally: Tally,
    divergence: Divergence,
    pairs: PairCounts,
}

/// The counts that have collected, beside the figures.
#[derive(Default)]
pub(crate) struct Collection {
    pub(crate) divergence: Divergence,
    pub(crate) pairs: PairCounts,
    pub(crate) labels: Taken,
}

impl Intake {
    pub(crate) fn new(kind: TaskKind, kpis: usize, maturity: Maturity) -> Self {
        let intake = Self::of(kind, kpis, Waiting::new(maturity));
        // Whoever counts first has nothing to make.
        intake.with(|_| ());
        intake
    }

    fn of(kind: TaskKind, kpis: usize, waiting: Waiting) -> Self {
        Self { kind, kpis, collected: Mutex::new(Collected { figures: None, waiting }) }
    }

    /// An empty intake of the same kind.
    pub(crate) fn like(&self) -> Self {
        Self::of(self.kind, self.kpis, self.collected.lock().waiting.like())
    }

    fn with<R>(&self, count: impl FnOnce(&mut Figures) -> R) -> R {
        let new = || {
            let (divergence, pairs) = (Divergence::default(), PairCounts::default());
            Box::new(Figures { tally: Tally::new(self.kind, self.kpis), divergence, pairs })
        };
        count(self.collected.lock().figures.get_or_insert_with(new))
    }

    /// Goes on with labels that waited when they were saved, and says where they are now.
    #[cfg(feature = "state")]
    pub(crate) fn restore(&self, saved: SavedWaiting, shift: Shift) -> Moved {
        let waiting = &mut self.collected.lock().waiting;
        let (restored, moved) = waiting.restored(saved, shift);
        *waiting = restored;
        moved
    }

    /// The labels that wait.
    #[cfg(feature = "state")]
    pub(crate) fn waiting(&self) -> Waiting {
        self.collected.lock().waiting.clone()
    }

    /// Adds what has collected to `tally`, hands out the rest, and begins anew. Labels that wait stay. Where hardly any more
    /// will come, it holds no place for them.
    pub(crate) fn drain(&self, tally: &mut Tally, now: Timestamp, more_will_come: bool) -> Collection {
        let collected = &mut *self.collected.lock();
        let labels = collected.waiting.take(now);
        let Some(figures) = &mut collected.figures else {
            return Collection { labels, ..Collection::default() };
        };
        tally.merge(&figures.tally);
        figures.tally.reset();
        let (divergence, pairs) =
            (std::mem::take(&mut figures.divergence), std::mem::take(&mut figures.pairs));
        if !more_will_come {
            collected.figures = None;
        }
        Collection { divergence, pairs, labels }
    }

    /// Counts outcomes, or takes them back.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Tally)) {
        self.with(|figures| count(&mut figures.tally));
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
        self.with(|figures| count(&mut figures.divergence, &mut figures.pairs));
    }

    /// Counts who was right in a pair, as a figure.
    pub(crate) fn judged(&self, count: impl FnOnce(&mut Divergence)) {
        self.with(|figures| count(&mut figures.divergence));
    }
}

impl Collection {
    /// Whether nothing is in it that any attempt would count.
    pub(crate) fn has_evidence(&self) -> bool {
        !self.pairs.is_empty() || !self.labels.slots.is_empty() || self.labels.late > 0
    }
}

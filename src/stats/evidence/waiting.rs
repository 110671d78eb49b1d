//! Labels that wait until those of their time are complete.
//!
//! Labels that come early are not like those that come late: a cancelled flight is known before one that lands, a fraud
//! is reported and an honest payment never is. A comparison that counted labels as they come would compare the early
//! ones. So labels wait in the slot of the moment at which their *prediction* was made, and become evidence together,
//! when the slot is as old as the host says it takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arm::ArmLabels;
use super::pair::PairLabels;
use super::segment::{BySegment, SegmentLabels};
#[cfg(feature = "state")]
use crate::base::clock::Shift;
use crate::base::clock::Timestamp;
use crate::base::ordered::OrderedMap;
use crate::stats::sequential::Additive;

/// When labels become evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maturity {
    /// As they come: when one is known has nothing to do with what it says.
    AsTheyCome,
    /// When their prediction is so old.
    After(Duration),
}

/// Slots that predictions are sorted into while their labels wait: the wait is longer by up to a sixteenth.
const SLOTS: u32 = 16;

impl Maturity {
    /// The age that the host has said.
    pub(crate) fn told(self) -> Option<Duration> {
        match self {
            Self::AsTheyCome => None,
            Self::After(age) => Some(age),
        }
    }

    /// How old a prediction is when its label is evidence.
    #[cfg(feature = "forecast")]
    pub(crate) fn age(self) -> Duration {
        match self {
            Self::AsTheyCome => Duration::ZERO,
            Self::After(age) => age.saturating_add(age / SLOTS / 2),
        }
    }

    /// The slot of predictions made at a moment.
    pub(crate) fn slot(self, at: Timestamp) -> u64 {
        match self {
            Self::AsTheyCome => 0,
            Self::After(age) => at.unix_nanos() / width(age),
        }
    }

    /// When a slot began.
    pub(crate) fn slot_began(self, slot: u64) -> Timestamp {
        match self {
            Self::AsTheyCome => Timestamp::default(),
            Self::After(age) => Timestamp::from_unix_nanos(slot.saturating_mul(width(age))),
        }
    }

    /// The last moment of a slot.
    fn slot_ended(self, slot: u64) -> Timestamp {
        match self {
            Self::AsTheyCome => Timestamp::default(),
            Self::After(age) => {
                let next = slot.saturating_add(1).saturating_mul(width(age));
                Timestamp::from_unix_nanos(next.saturating_sub(1))
            }
        }
    }

    /// Slots before this one are complete.
    pub(crate) fn complete_before(self, now: Timestamp) -> u64 {
        match self {
            Self::AsTheyCome => 0,
            Self::After(age) => {
                let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
                now.unix_nanos().saturating_sub(nanos) / width(age)
            }
        }
    }
}

fn width(age: Duration) -> u64 {
    u64::try_from((age / SLOTS).as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// Labels of one exposure.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Labels {
    /// Of units that are requests, and of a shadow's own runs.
    pub(crate) requests: ArmLabels,
    /// Of units that are keys.
    pub(crate) keys: ArmLabels,
    pub(crate) pairs: PairLabels,
    /// By segment, where requests have any.
    #[serde(default, skip_serializing_if = "BySegment::is_none")]
    pub(crate) segments: BySegment<SegmentLabels>,
}

impl Additive for Labels {
    fn merge(&mut self, other: &Self) {
        self.requests.merge(&other.requests);
        self.keys.merge(&other.keys);
        self.pairs.merge(&other.pairs);
        self.segments.merge(&other.segments);
    }
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.keys.is_empty() && self.pairs.is_empty()
    }
}

/// Labels that wait, by slot.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    maturity: Maturity,
    slots: OrderedMap<u64, Labels>,
    /// Slots before this one have become evidence.
    taken_before: u64,
    /// And so have those of predictions made before this moment, in an earlier life of the handle, whose slots may have been others.
    taken_until: Timestamp,
    /// How often labels were taken that count as they come: what tells a label that is still here from one that is not.
    takes: u64,
    /// Labels that came when their slot had become evidence without them.
    late: u64,
}

/// Where a label was counted, so that it can be corrected as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The last moment of its slot: how wide a slot is follows from an option, and may be another in the next life of the handle.
    ended: Timestamp,
    takes: u64,
}

/// Where labels are now that were counted before they were written down.
#[cfg(feature = "state")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    /// What had become evidence when they were.
    taken_until: Timestamp,
    takes: u64,
    shift: Shift,
    maturity: Maturity,
    taken_before: u64,
}

#[cfg(feature = "state")]
impl Moved {
    /// The place now; nothing where the label has become evidence.
    pub(crate) fn place(&self, place: Place) -> Option<Place> {
        // Where labels count as they come no slot ends, and how often they were taken tells it alone.
        let waited = place.ended == Timestamp::default() || place.ended >= self.taken_until;
        (waited && place.takes == self.takes).then(|| {
            let slot = self.slot(place.ended);
            Place { ended: self.maturity.slot_ended(slot), takes: self.takes }
        })
    }

    /// The slot of those that waited until a moment.
    fn slot(&self, ended: Timestamp) -> u64 {
        self.maturity.slot(self.shift.of(ended)).max(self.taken_before)
    }
}

/// Labels that wait, as they are written: by moments, since how wide a slot is follows from an option.
#[cfg(feature = "state")]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct SavedWaiting {
    /// By the last moment of each slot: where slots are narrower now, the first of its predictions wait for the last.
    #[serde(default, rename = "by_end")]
    slots: Vec<(Timestamp, Labels)>,
    /// Labels of predictions made before this have become evidence.
    #[serde(default)]
    taken_until: Timestamp,
    /// How often labels were taken that count as they come.
    #[serde(default, skip_serializing_if = "is_zero")]
    takes: u64,
}

#[cfg(feature = "state")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Labels that have become evidence.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Taken {
    /// By slot, oldest first.
    pub(crate) slots: Vec<(u64, Labels)>,
    pub(crate) late: u64,
}

impl Waiting {
    pub(crate) fn new(maturity: Maturity) -> Self {
        let taken_until = Timestamp::default();
        Self { maturity, slots: OrderedMap::new(), taken_before: 0, taken_until, takes: 0, late: 0 }
    }

    /// Whether there is nothing to go on from.
    #[cfg(feature = "state")]
    pub(crate) fn is_none(&self) -> bool {
        self.slots.is_empty() && self.taken() == Timestamp::default()
    }

    /// Labels of predictions made before this have become evidence.
    #[cfg(feature = "state")]
    fn taken(&self) -> Timestamp {
        self.maturity.slot_began(self.taken_before).max(self.taken_until)
    }

    /// Returns what is to be written to go on from there.
    #[cfg(feature = "state")]
    pub(crate) fn saved(self) -> SavedWaiting {
        let (taken_until, takes, maturity) = (self.taken(), self.takes, self.maturity);
        let ended = |slot| maturity.slot_ended(slot);
        let slots = self.slots.into_iter().map(|(slot, labels)| (ended(slot), labels)).collect();
        SavedWaiting { slots, taken_until, takes }
    }

    /// Goes on from what was written, whatever the maturity was; and says where what was counted is now.
    #[cfg(feature = "state")]
    pub(crate) fn restored(&self, saved: SavedWaiting, shift: Shift) -> (Self, Moved) {
        let SavedWaiting { slots, taken_until: before, takes } = saved;
        let (maturity, taken_until) = (self.maturity, shift.of(before));
        let taken_before = maturity.slot(taken_until);
        let mut restored = Self { taken_before, taken_until, takes, ..self.like() };
        let moved = Moved { taken_until: before, takes, shift, maturity, taken_before };
        for (ended, labels) in slots {
            restored.slots.entry(moved.slot(ended)).or_default().merge(&labels);
        }
        (restored, moved)
    }

    /// None waiting, at the same maturity.
    pub(crate) fn like(&self) -> Self {
        Self::new(self.maturity)
    }

    /// Counts a label of a prediction made at a moment; `None`, and not counted, where it comes too late.
    pub(crate) fn count(&mut self, at: Timestamp, count: impl FnOnce(&mut Labels)) -> Option<Place> {
        let slot = self.maturity.slot(at);
        if at < self.taken_until || slot < self.taken_before {
            self.late += 1;
            return None;
        }
        count(self.slots.entry(slot).or_default());
        Some(Place { ended: self.maturity.slot_ended(slot), takes: self.takes })
    }

    /// Changes what was counted there, if it is still there. What has become evidence stays as it was.
    pub(crate) fn correct(&mut self, place: Place, correct: impl FnOnce(&mut Labels)) {
        if self.holds(place) {
            correct(self.slots.entry(self.maturity.slot(place.ended)).or_default());
        }
    }

    /// Whether what was counted there still waits.
    pub(crate) fn holds(&self, place: Place) -> bool {
        match self.maturity {
            Maturity::AsTheyCome => place.takes == self.takes,
            Maturity::After(_) => self.maturity.slot(place.ended) >= self.taken_before,
        }
    }

    /// Takes out the slots that are complete.
    pub(crate) fn take(&mut self, now: Timestamp) -> Taken {
        let late = std::mem::take(&mut self.late);
        let slots = match self.maturity {
            Maturity::AsTheyCome => {
                self.takes += 1;
                std::mem::take(&mut self.slots)
            }
            Maturity::After(_) => {
                self.taken_before = self.taken_before.max(self.maturity.complete_before(now));
                let waiting = self.slots.split_off(&self.taken_before);
                std::mem::replace(&mut self.slots, waiting)
            }
        };
        Taken { slots: slots.into_iter().collect(), late }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::figures::fixed::Sign;
    use crate::task::kept::Kept;
    use crate::task::outcome::Actual;
    use crate::task::task::TaskKind;

    const BINARY: TaskKind = TaskKind::Binary { threshold: 0.5 };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn label(labels: &mut Labels, class: u16, sign: Sign) {
        labels.requests.count(BINARY, &Kept::Probability(0.9), &Actual::Class(class), sign, 0);
    }

    fn known(taken: &Taken) -> u64 {
        taken.slots.iter().map(|(_, labels)| labels.requests.known).sum()
    }

    #[test]
    fn labels_become_evidence_with_those_of_their_time() {
        let mut waiting = Waiting::new(Maturity::After(Duration::from_secs(1_600)));
        for second in [10_000, 10_050, 10_120] {
            waiting.count(at(second), |labels| label(labels, 1, Sign::Plus));
        }
        assert_eq!(known(&waiting.take(at(11_600))), 0, "the slot is not complete");
        assert_eq!(known(&waiting.take(at(11_700))), 2);
        assert_eq!(waiting.count(at(10_060), |labels| label(labels, 1, Sign::Plus)), None, "too late");
        let taken = waiting.take(at(11_850));
        assert_eq!((known(&taken), taken.late), (1, 1));
    }

    #[test]
    fn a_label_is_corrected_as_long_as_it_waits_and_never_afterwards() {
        for maturity in [Maturity::AsTheyCome, Maturity::After(Duration::from_secs(160))] {
            let mut waiting = Waiting::new(maturity);
            let place = waiting.count(at(1_000), |labels| label(labels, 1, Sign::Plus)).unwrap();
            let correct = |waiting: &mut Waiting| {
                waiting.correct(place, |labels| {
                    label(labels, 1, Sign::Minus);
                    label(labels, 0, Sign::Plus);
                });
            };
            correct(&mut waiting);
            let taken = waiting.take(at(2_000));
            assert_eq!(taken.slots[0].1.requests.decided[2], [1, 0]);
            correct(&mut waiting);
            assert!(waiting.take(at(3_000)).slots.is_empty());
        }
    }

    /// The same where it was written down in between, whether or not slots are as wide as they were.
    #[cfg(feature = "state")]
    #[test]
    fn a_label_that_was_written_down_is_corrected_as_long_as_it_waits_and_never_afterwards() {
        let maturities = [Maturity::AsTheyCome, Maturity::After(Duration::from_secs(160))];
        let next = [maturities[0], maturities[1], Maturity::After(Duration::from_secs(1_600))];
        for (before, after) in maturities.iter().flat_map(|before| next.map(|after| (*before, after))) {
            let mut waiting = Waiting::new(before);
            let place = waiting.count(at(1_000), |labels| label(labels, 1, Sign::Plus)).unwrap();
            let restored = |waiting: &Waiting| {
                let shift = Shift::between(at(2_000), at(1_500));
                Waiting::new(after).restored(waiting.clone().saved(), shift)
            };
            let (mut there, moved) = restored(&waiting);
            let case = format!("{before:?}, then {after:?}");
            let correct = |waiting: &mut Waiting, place: Option<Place>| {
                waiting.correct(place.expect(&case), |labels| {
                    label(labels, 1, Sign::Minus);
                    label(labels, 0, Sign::Plus);
                });
            };
            correct(&mut there, moved.place(place));
            let taken = there.take(at(9_000));
            assert_eq!(taken.slots[0].1.requests.decided[2], [1, 0], "{case}");
            // Once it is evidence, while others wait.
            waiting.take(at(1_400));
            waiting.count(at(1_400), |labels| label(labels, 1, Sign::Plus)).unwrap();
            let (_, moved) = restored(&waiting);
            assert_eq!(moved.place(place), None, "{case}");
        }
    }
}

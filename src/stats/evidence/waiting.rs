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
    #[cfg(feature = "state")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    slot: u64,
    takes: u64,
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
    pub(crate) fn saved(&self) -> SavedWaiting {
        let ended = |slot| self.maturity.slot_ended(slot);
        let slots = self.slots.iter().map(|(slot, labels)| (ended(*slot), labels.clone())).collect();
        SavedWaiting { slots, taken_until: self.taken() }
    }

    /// Goes on from what was written, whatever the maturity was.
    #[cfg(feature = "state")]
    pub(crate) fn restored(&self, saved: SavedWaiting, shift: Shift) -> Self {
        let taken_until = shift.of(saved.taken_until);
        let taken_before = self.maturity.slot(taken_until);
        let mut restored = Self { taken_before, taken_until, ..self.like() };
        for (ended, labels) in saved.slots {
            let slot = self.maturity.slot(shift.of(ended)).max(taken_before);
            restored.slots.entry(slot).or_default().merge(&labels);
        }
        restored
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
        Some(Place { slot, takes: self.takes })
    }

    /// Changes what was counted there, if it is still there. What has become evidence stays as it was.
    pub(crate) fn correct(&mut self, place: Place, correct: impl FnOnce(&mut Labels)) {
        let there = match self.maturity {
            Maturity::AsTheyCome => place.takes == self.takes,
            Maturity::After(_) => place.slot >= self.taken_before,
        };
        if there {
            correct(self.slots.entry(place.slot).or_default());
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
}

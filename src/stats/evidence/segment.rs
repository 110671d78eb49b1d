//! Evidence by segment: who failed and who was wrong, of each label that the host attaches to predictions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event_counts::EventCounts;
use super::loss::{Decision, wrong_class};
use super::outage::InOutages;
use crate::base::ordered::OrderedMap;
use crate::stats::figures::fixed::Sign;
use crate::stats::sequential::in_arms::InArms;
use crate::stats::sequential::{Additive, ByOdds, Events, PairedEvents};
use crate::task::kept::Kept;
use crate::task::outcome::Actual;
use crate::task::segments::{OTHER, SEGMENTS_MAX};
use crate::task::task::TaskKind;

/// Something by segment. At most as many as a handle can tell apart, and the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct BySegment<T>(OrderedMap<Arc<str>, T>);

impl<T> Default for BySegment<T> {
    fn default() -> Self {
        Self(OrderedMap::new())
    }
}

impl<T: Default> BySegment<T> {
    /// That of a segment. Where too many were brought together, from earlier lives of the handle, it is the others'.
    pub(crate) fn at(&mut self, segment: &Arc<str>) -> &mut T {
        let full = self.0.len() > SEGMENTS_MAX
            && !self.0.contains_key(segment)
            && self.0.len() - usize::from(self.0.contains_key(OTHER)) > SEGMENTS_MAX;
        self.0.entry(if full { OTHER.into() } else { Arc::clone(segment) }).or_default()
    }

    /// The same labels, of which nothing was counted.
    #[cfg(feature = "fleet")]
    pub(crate) fn names(&self) -> Self {
        Self(self.0.keys().map(|segment| (Arc::clone(segment), T::default())).collect())
    }

    /// Adds, by those labels that are told apart there.
    #[cfg(feature = "fleet")]
    pub(crate) fn merge_within(&mut self, other: &Self, there: &Self)
    where
        T: Additive,
    {
        for (segment, more) in &other.0 {
            let segment = if there.0.contains_key(segment) { Arc::clone(segment) } else { OTHER.into() };
            self.0.entry(segment).or_default().merge(more);
        }
    }

    pub(crate) fn each(&mut self, change: impl FnMut(&mut T)) {
        self.0.values_mut().for_each(change);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, segment: &str) -> Option<&T> {
        self.0.get(segment)
    }

    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Additive + Default> Additive for BySegment<T> {
    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(segment, more)| self.at(segment).merge(more));
    }
    fn is_empty(&self) -> bool {
        self.0.values().all(Additive::is_empty)
    }
}

/// The counts of one segment's units as soon as they are answered, by one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SegmentUnits {
    pub(crate) requests: Events,
    pub(crate) keys: Events,
    /// Those among them that were refused because of their input, and have not failed.
    pub(crate) refused_requests: u64,
    pub(crate) refused_keys: u64,
}

/// The counts of one segment's units once their truth is known: wrong ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SegmentLabels {
    pub(crate) requests: Events,
    pub(crate) keys: Events,
    pub(crate) pairs: PairedEvents,
}

impl SegmentLabels {
    /// Counts whether a unit was wrong, or takes it back.
    pub(crate) fn count(&mut self, keyed: bool, wrong: bool, sign: Sign) {
        let events = if keyed { &mut self.keys } else { &mut self.requests };
        events.units = events.units.saturating_add_signed(sign.unit());
        if wrong {
            events.events = events.events.saturating_add_signed(sign.unit());
        }
    }
}

impl Additive for SegmentLabels {
    fn merge(&mut self, other: &Self) {
        self.requests.merge(&other.requests);
        self.keys.merge(&other.keys);
        self.pairs.merge(&other.pairs);
    }
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.keys.is_empty() && self.pairs.is_empty()
    }
}

/// The evidence of one segment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct SegmentCounts {
    pub(crate) failed: EventCounts,
    pub(crate) wrong: EventCounts,
    /// Who failed in an outage: see [`Outage`](super::outage::Outage).
    #[serde(default, skip_serializing_if = "InOutages::is_empty")]
    pub(crate) outage: InOutages,
    /// Units whose input was refused: of those no truth can be known either. Each is an event.
    #[serde(default, skip_serializing_if = "EventCounts::is_empty")]
    pub(crate) refused: EventCounts,
}

impl SegmentCounts {
    /// Units of both arms, and as events those that were answered: the ones that a truth can be known of.
    pub(crate) fn answered(&self) -> InArms {
        let of = |units: &ByOdds<Events>, refused: &ByOdds<Events>| {
            let failed = units.map(|of| Events { events: of.units.saturating_sub(of.events), ..*of });
            failed.without(&refused.map(|of| Events { events: of.events, units: 0 }))
        };
        InArms {
            requests: of(&self.failed.requests, &self.refused.requests),
            keys: of(&self.failed.keys, &self.refused.keys),
        }
    }
}

impl Additive for SegmentCounts {
    fn merge(&mut self, other: &Self) {
        self.failed.merge(&other.failed);
        self.wrong.merge(&other.wrong);
        self.outage.merge(&other.outage);
        self.refused.merge(&other.refused);
    }
    fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.wrong.is_empty()
    }
}

/// Whether an answer was wrong, of a task that has right and wrong ones.
///
/// A failure is none: see [`PairLabels::count`](super::pair::PairLabels::count).
pub(crate) fn is_wrong(kind: TaskKind, kept: &Kept, actual: &Actual) -> Option<bool> {
    if *kept == Kept::Unreadable {
        return None;
    }
    match (kind, actual) {
        (TaskKind::Binary { .. }, Actual::Class(class @ (0 | 1))) => {
            Decision::of(kind, kept).map(|decision| !decision.is_right(*class == 1))
        }
        (TaskKind::Classes { .. }, _) => wrong_class(kept, actual),
        _ => None,
    }
}

/// The outcomes of one segment's predictions in a rollout, as evidence counts them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SegmentFigures {
    /// The label that the host gave them; `other` beyond those that are told apart.
    pub segment: String,
    /// The candidate's, as a shadow and on a canary.
    pub candidate: SegmentArm,
    /// Live's: beside a canary or, as long as there is none, on the inputs that were copied to a shadow.
    pub live: SegmentArm,
}

/// The outcomes of one version's predictions in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SegmentArm {
    /// Units that were asked.
    pub units: u64,
    /// Units on which it failed.
    pub failed: u64,
    /// Units whose truth is known.
    pub labelled: u64,
    /// Units among them on which it was wrong.
    pub wrong: u64,
}

impl SegmentArm {
    fn of(failed: Events, wrong: Events) -> Self {
        Self { units: failed.units, failed: failed.events, labelled: wrong.units, wrong: wrong.events }
    }

    /// The share of units on which it failed; nothing where it was asked nothing.
    pub fn error_rate(&self) -> Option<f64> {
        Events { events: self.failed, units: self.units }.rate()
    }

    /// The share of right answers; nothing without a truth.
    pub fn accuracy(&self) -> Option<f64> {
        Events { events: self.wrong, units: self.labelled }.rate().map(|wrong| 1.0 - wrong)
    }
}

impl BySegment<SegmentCounts> {
    /// For people, by label.
    pub(crate) fn figures(&self) -> Vec<SegmentFigures> {
        let of =
            |(segment, SegmentCounts { failed, wrong, .. }): (&Arc<str>, &SegmentCounts)| SegmentFigures {
                segment: segment.to_string(),
                candidate: SegmentArm::of(failed.candidate(), wrong.candidate()),
                live: SegmentArm::of(failed.live(), wrong.live()),
            };
        self.iter().map(of).collect()
    }
}

//! The sums of one arm's units.

use serde::{Deserialize, Serialize};

use super::loss::{Decision, loss, losses, merge_each, step, wrong_class};
use crate::stats::figures::fixed::Sign;
use crate::stats::figures::latency::SHORTEST;
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::stats::sequential::{Additive, Events, Scores, Values};
use crate::task::kept::Kept;
use crate::task::kpi::Kpi;
use crate::task::outcome::Actual;
use crate::task::task::TaskKind;

/// Units of one arm, and what became of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct ArmCounts {
    pub(crate) units: UnitCounts,
    pub(crate) labels: ArmLabels,
}

impl Additive for ArmCounts {
    fn merge(&mut self, other: &Self) {
        self.units.merge(&other.units);
        self.labels.merge(&other.labels);
    }
    fn is_empty(&self) -> bool {
        self.units.is_empty() && self.labels.is_empty()
    }
}

/// The counts of units as soon as they are answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UnitCounts {
    /// Units that were routed to the version, whatever became of them: both arms are counted by the same rule.
    pub(crate) units: u64,
    /// Units on which the version failed.
    pub(crate) failed: u64,
    /// Units that were refused because of their input, and have not failed. One that a candidate refuses and live answers
    /// has failed instead.
    #[serde(default)]
    pub(crate) refused: u64,
    /// Of a live that is watched: units on which it failed, and the version before in its place too. They are none of these.
    #[serde(default, skip_serializing_if = "Additive::is_empty")]
    pub(crate) shared: u64,
    /// For each of the times that are looked for: units that took longer or failed, of those that came once the time was
    /// fixed and were not refused. Before it is fixed nothing can be slow, and what is counted then would stay.
    pub(crate) slow: Vec<Events>,
}

/// The outcome of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitOutcome {
    Answered,
    Failed,
    /// Its input was refused.
    Refused,
}

impl UnitCounts {
    /// Counts a unit. Allocates nothing once `slow` has its length.
    #[inline]
    pub(crate) fn count(
        &mut self,
        outcome: UnitOutcome,
        latency_nanos: u64,
        limits: &[LatencyLimit],
        chance: u64,
    ) {
        self.units += 1;
        if outcome == UnitOutcome::Refused {
            self.refused += 1;
            return;
        }
        let failed = outcome == UnitOutcome::Failed;
        // As figures have it, so that what live is taken to need can be exceeded.
        let latency_nanos = latency_nanos.max(SHORTEST);
        self.failed += u64::from(failed);
        for (slow, limit) in self.slow.iter_mut().zip(limits) {
            if limit.is_fixed() {
                slow.units += 1;
                slow.events += u64::from(failed || limit.is_exceeded_by(latency_nanos, chance));
            }
        }
    }

    pub(crate) fn failures(&self) -> Events {
        Events { events: self.failed, units: self.units }
    }

    /// Units that were answered: those that a truth can be known of.
    pub(crate) fn answered(&self) -> u64 {
        self.units.saturating_sub(self.failed).saturating_sub(self.refused)
    }

    pub(crate) fn slower(&self, place: usize) -> Events {
        self.slow.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn reset(&mut self) {
        (self.units, self.failed, self.refused, self.shared) = (0, 0, 0, 0);
        self.slow.fill(Events::default());
    }
}

impl Additive for UnitCounts {
    fn merge(&mut self, other: &Self) {
        self.units = self.units.saturating_add(other.units);
        self.failed = self.failed.saturating_add(other.failed);
        self.refused = self.refused.saturating_add(other.refused);
        self.shared = self.shared.saturating_add(other.shared);
        merge_each(&mut self.slow, &other.slow, Events::merge);
    }
    fn is_empty(&self) -> bool {
        self.units == 0 && self.shared == 0
    }
}

/// The counts of units once their truth is known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct ArmLabels {
    /// Units whose truth is known.
    pub(crate) known: u64,
    /// Of a yes or no: by [`Decision`] and truth.
    pub(crate) decided: [[u64; 2]; 3],
    /// Of classes: wrong ones.
    pub(crate) wrong: Events,
    /// By figure, in the order of [`losses`].
    pub(crate) losses: Vec<Scores>,
    /// Of numbers: the absolute error.
    pub(crate) errors: Values,
    pub(crate) kpis: Vec<KpiCounts>,
}

/// The values of one business figure.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct KpiCounts {
    /// Between its bounds: 0 for the lower, 1 for the upper one. None of a figure without bounds.
    pub(crate) scores: Scores,
    pub(crate) values: Values,
    /// Values outside of the bounds, which are none of these.
    #[serde(default)]
    pub(crate) outside: u64,
}

impl KpiCounts {
    /// Outcomes that said something of the figure.
    pub(crate) fn known(&self) -> u64 {
        self.values.len() + self.outside
    }
}

impl Additive for KpiCounts {
    fn merge(&mut self, other: &Self) {
        self.scores.merge(&other.scores);
        self.values.merge(&other.values);
        self.outside = self.outside.saturating_add(other.outside);
    }
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.outside == 0
    }
}

impl ArmLabels {
    /// Counts the truth of a unit, or takes it back. What does not fit the task does not count.
    /// Nor does that of a request on which the version failed: see [`PairLabels::count`](super::pair::PairLabels::count).
    pub(crate) fn count(&mut self, kind: TaskKind, kept: &Kept, actual: &Actual, sign: Sign, chance: u64) {
        if *kept == Kept::Unreadable {
            return;
        }
        let fits = match (kind, kept, actual) {
            (TaskKind::Binary { .. }, _, Actual::Class(class @ (0 | 1))) => {
                Decision::of(kind, kept).map(|decision| {
                    if let Some(cell) = self.cell(decision, *class == 1) {
                        step(cell, sign);
                    }
                })
            }
            (TaskKind::Classes { .. }, ..) => wrong_class(kept, actual).map(|wrong| {
                step(&mut self.wrong.units, sign);
                if wrong {
                    step(&mut self.wrong.events, sign);
                }
            }),
            (TaskKind::Regression, Kept::Value(value), Actual::Value(actual)) => {
                self.errors.record((value - actual).abs(), sign);
                Some(())
            }
            (TaskKind::Ranking { .. }, Kept::List(_), Actual::Relevant(_)) => Some(()),
            _ => None,
        };
        if fits.is_none() {
            return;
        }
        step(&mut self.known, sign);
        self.losses.resize_with(losses(kind).len(), Scores::default);
        for (scores, metric) in self.losses.iter_mut().zip(losses(kind)) {
            if let Some(loss) = loss(kind, *metric, kept, actual) {
                scores.record(loss, sign, chance);
            }
        }
    }

    /// Counts a value outside of the bounds of a business figure.
    pub(crate) fn count_outside(&mut self, place: usize) {
        if let Some(counts) = self.kpi(place) {
            counts.outside = counts.outside.saturating_add(1);
        }
    }

    fn kpi(&mut self, place: usize) -> Option<&mut KpiCounts> {
        if self.kpis.len() <= place {
            self.kpis.resize_with(place + 1, KpiCounts::default);
        }
        self.kpis.get_mut(place)
    }

    /// Counts the value of a business figure, or takes it back.
    pub(crate) fn count_kpi(&mut self, place: usize, kpi: &Kpi, value: f64, sign: Sign, chance: u64) {
        let Some(counts) = self.kpi(place) else { return };
        counts.values.record(value, sign);
        if let Some((low, high)) = kpi.low_and_high() {
            counts.scores.record((value - low) / (high - low), sign, chance);
        }
    }

    fn cell(&mut self, decision: Decision, yes: bool) -> Option<&mut u64> {
        self.decided.get_mut(decision as usize)?.get_mut(usize::from(yes))
    }

    /// Every decision with its truth and how often it occurred.
    pub(crate) fn decisions(&self) -> impl Iterator<Item = (Decision, bool, u64)> + '_ {
        Decision::ALL.into_iter().zip(&self.decided).flat_map(|(decision, by_truth)| {
            [false, true].into_iter().zip(by_truth).map(move |(yes, count)| (decision, yes, *count))
        })
    }
}

impl Additive for ArmLabels {
    fn merge(&mut self, other: &Self) {
        self.known = self.known.saturating_add(other.known);
        for (own, other) in self.decided.iter_mut().flatten().zip(other.decided.iter().flatten()) {
            *own = own.saturating_add(*other);
        }
        self.wrong.merge(&other.wrong);
        merge_each(&mut self.losses, &other.losses, Scores::merge);
        self.errors.merge(&other.errors);
        merge_each(&mut self.kpis, &other.kpis, KpiCounts::merge);
    }
    fn is_empty(&self) -> bool {
        self.known == 0 && self.kpis.iter().all(Additive::is_empty)
    }
}

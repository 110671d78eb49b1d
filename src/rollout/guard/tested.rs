//! The quantities that a rule tests.

use serde::{Deserialize, Serialize};

use crate::stats::evidence::loss::losses;
use crate::task::task::TaskKind;

/// The quantity that is read off the evidence. Everything is a loss, or an event that is bad, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tested {
    /// Units that failed.
    Failures,
    /// Units slower than the latency of this place among those that were frozen.
    Slow(usize),
    /// Wrong answers.
    Wrong,
    /// Wrong answers, where some truths are hidden by the answer.
    WrongWithHidden,
    /// Of what was yes: what was not called so.
    Missed,
    /// Of what was called yes: what was not, by either version, matched over time.
    FalseAlarms,
    /// The same where the two arms of a canary are matched.
    FalseAlarmsInArms,
    /// The part that is missing to an F1 of 1. A ratio.
    F1,
    /// The loss of this place among those of the task.
    Loss(usize),
    /// Absolute errors.
    Errors,
    /// The business figure of this place, between its bounds.
    Kpi(usize),
    /// The business figure of this place, without bounds.
    KpiValues(usize),
    /// Units with a business figure of 1. Good ones.
    KpiSuccesses(usize),
    /// Pairs that differ.
    Differences,
    /// The host's comparisons of pairs.
    Comparisons,
}

impl Tested {
    /// Everything that is read off the evidence of a task, latencies aside.
    pub(crate) fn of(kind: TaskKind, kpis: usize) -> Vec<Self> {
        let mut all = vec![Self::Failures, Self::Differences, Self::Comparisons];
        match kind {
            TaskKind::Binary { .. } => {
                all.extend([
                    Self::Wrong,
                    Self::WrongWithHidden,
                    Self::Missed,
                    Self::FalseAlarms,
                    Self::FalseAlarmsInArms,
                    Self::F1,
                ]);
            }
            TaskKind::Classes { .. } => all.extend([Self::Wrong, Self::WrongWithHidden]),
            TaskKind::Regression => all.push(Self::Errors),
            _ => {}
        }
        all.extend((0..losses(kind).len()).map(Self::Loss));
        all.extend(
            (0..kpis).flat_map(|place| [Self::Kpi(place), Self::KpiValues(place), Self::KpiSuccesses(place)]),
        );
        all
    }
}

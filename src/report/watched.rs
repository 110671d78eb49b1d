//! The findings of a handle on its data's drift, for the page of a rollout.

use super::drift::{DriftSummary, DriftSummaryRow};
use crate::drift;
use crate::drift::watch::DriftStatus;
use crate::handle::handle::ModelHandle;

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Returns what its watch of drift knows of a rollout.
    pub(super) fn watched(&self, number: u32) -> Option<DriftSummary> {
        DriftSummary::of_rollout(&self.drift()?, number)
    }
}

impl From<&drift::DriftTable> for DriftSummary {
    fn from(table: &drift::DriftTable) -> Self {
        let (reference, window) = (table.reference_rows(), table.window_rows());
        let rows = table.rows().iter().map(|row| DriftSummaryRow {
            feature: row.feature.clone(),
            what: row.what.to_string(),
            effect: row.effect,
            p: row.p,
            verdict: row.verdict.to_string(),
        });
        Self { about: format!("{window} rows against {reference}"), rows: rows.collect() }
    }
}

impl DriftSummary {
    /// Tells what a handle's drift watch knows of a rollout: what came in against training, then what the candidate
    /// said against live. Nothing before a window was full.
    fn of_rollout(status: &DriftStatus, number: u32) -> Option<Self> {
        let of = status.rollouts.iter().find(|rollout| rollout.number == number);
        let against_live = of.and_then(|rollout| rollout.against_live.as_ref());
        let inputs = status.against_training.as_ref().map(|table| (table, "what came in, against training"));
        let answers =
            against_live.map(|table| (table, "what the candidate says, against live over the same traffic"));
        let mut all: Option<Self> = None;
        for (table, what) in answers.into_iter().chain(inputs) {
            let Self { about, rows } = Self::from(table);
            let all = all.get_or_insert_default();
            let before = if all.about.is_empty() { "" } else { "; " };
            all.about.push_str(&format!("{before}{what} ({about})"));
            all.rows.extend(rows);
        }
        all
    }
}

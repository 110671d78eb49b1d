//! The drift that a host has found, as a page shows it.

use serde::{Deserialize, Serialize};

/// The drift that a host has found in its data, to be shown with a rollout: whether the candidate or the world has
/// changed.
///
/// ```
/// use switchback::report::{DriftSummary, DriftSummaryRow};
///
/// let table = DriftSummary::new("against the training data, by the last day's requests")
///     .row(DriftSummaryRow::new("temperature", "PSI", 0.31).p(0.0004).verdict("drifted, for both versions"))
///     .row(DriftSummaryRow::new("airline", "Jensen-Shannon", 0.02).verdict("no drift"));
/// assert_eq!(table.rows.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftSummary {
    /// The two things that were compared.
    pub about: String,
    /// A row per feature and measure, in the order in which they are to be shown. The page shows the first
    /// [`ROWS_SHOWN`](Self::ROWS_SHOWN), and says how many more there are.
    pub rows: Vec<DriftSummaryRow>,
}

/// How far one feature has drifted by one measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftSummaryRow {
    /// The feature, the score or the prediction.
    pub feature: String,
    /// The measure: `PSI`, `missing values`.
    pub what: String,
    /// How large it is.
    pub effect: f64,
    /// Its p-value, where there is one.
    pub p: Option<f64>,
    /// The conclusion, in words.
    pub verdict: String,
}

impl DriftSummary {
    /// Rows that a page shows: more than that nobody reads on one page.
    pub const ROWS_SHOWN: usize = 100;

    /// A table without rows, that says what was compared with what.
    pub fn new(about: impl Into<String>) -> Self {
        Self { about: about.into(), rows: Vec::new() }
    }

    /// With one more row.
    #[must_use]
    pub fn row(mut self, row: DriftSummaryRow) -> Self {
        self.rows.push(row);
        self
    }
}

impl DriftSummaryRow {
    /// A row that holds a feature, a measure and its size.
    pub fn new(feature: impl Into<String>, what: impl Into<String>, effect: f64) -> Self {
        Self { feature: feature.into(), what: what.into(), effect, p: None, verdict: String::new() }
    }

    /// With a p-value.
    #[must_use]
    pub fn p(mut self, p: f64) -> Self {
        self.p = Some(p);
        self
    }

    /// With what follows.
    #[must_use]
    pub fn verdict(mut self, verdict: impl Into<String>) -> Self {
        self.verdict = verdict.into();
        self
    }
}

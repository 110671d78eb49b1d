//! The result of a comparison, for people and programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::distance::Distances;
use crate::drift::told::What;

/// How each feature of a window compares with its reference: what has drifted first, then by how sure that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftTable {
    reference_rows: u64,
    window_rows: u64,
    rows: Vec<DriftRow>,
}

/// One thing that can drift of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftRow {
    /// The feature.
    pub feature: String,
    /// The aspect of it that was compared.
    pub what: What,
    /// The statistic of the test; of shares, by how much the window's is larger.
    pub statistic: f64,
    /// How likely one as large is by chance, before any control over features; nothing where rows are too few to say.
    pub p: Option<f64>,
    /// How large the drift is: of a distribution the Jensen-Shannon distance (0 to 0.83), of shares their difference.
    /// With few rows it is large by chance.
    pub effect: f64,
    /// The verdict on it.
    pub verdict: DriftVerdict,
    /// Rows that were compared: those of the reference.
    pub reference_rows: u64,
    /// Those of the window.
    pub window_rows: u64,
    /// All distances, of a distribution with rows on both sides: of categories with the rare ones as one bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distances: Option<Distances>,
}

/// The verdict on one row of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriftVerdict {
    /// It is more than chance, and large enough to matter.
    Drifted,
    /// It is more than chance, and too small to matter.
    Slight,
    /// There are too few rows to say.
    TooFew,
    /// Chance explains it.
    Steady,
}

impl DriftTable {
    pub(crate) fn new(mut rows: Vec<DriftRow>, reference_rows: u64, window_rows: u64) -> Self {
        rows.sort_by(|a, b| {
            (a.verdict.cmp(&b.verdict))
                .then_with(|| a.p.unwrap_or(1.0).total_cmp(&b.p.unwrap_or(1.0)))
                .then_with(|| b.effect.total_cmp(&a.effect))
                .then_with(|| (&a.feature, a.what).cmp(&(&b.feature, b.what)))
        });
        Self { reference_rows, window_rows, rows }
    }

    /// All rows, what has drifted first.
    pub fn rows(&self) -> &[DriftRow] {
        &self.rows
    }

    /// Those that have drifted.
    pub fn drifted(&self) -> impl Iterator<Item = &DriftRow> {
        self.rows.iter().filter(|row| row.verdict == DriftVerdict::Drifted)
    }

    /// Whether anything has drifted.
    pub fn has_drifted(&self) -> bool {
        self.drifted().next().is_some()
    }

    /// How many rows the reference has.
    pub fn reference_rows(&self) -> u64 {
        self.reference_rows
    }

    /// How many rows the window has that was held against it.
    pub fn window_rows(&self) -> u64 {
        self.window_rows
    }
}

impl fmt::Display for DriftVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Drifted => "drifted",
            Self::Slight => "slight",
            Self::TooFew => "too few rows",
            Self::Steady => "steady",
        })
    }
}

/// A plain table. Names are shortened to 40 characters.
impl fmt::Display for DriftTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &str| -> String {
            // What could move a terminal's cursor is shown as a mark.
            name.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        };
        let names = self.rows.iter().map(|row| shown(&row.feature).chars().count());
        let width = names.max().unwrap_or(0).max("feature".len());
        writeln!(f, "{} rows against {}", self.window_rows, self.reference_rows)?;
        writeln!(f, "{:<width$}  {:<12}  {:>6}  {:>8}  verdict", "feature", "what", "effect", "p")?;
        for row in &self.rows {
            let p = match row.p {
                None => String::new(),
                Some(p) if p < 1e-99 => "<1e-99".to_owned(),
                Some(p) if p < 0.001 => format!("{p:.0e}"),
                Some(p) => format!("{p:.3}"),
            };
            let name = shown(&row.feature);
            writeln!(f, "{name:<width$}  {:<12}  {:>6.3}  {p:>8}  {}", row.what, row.effect, row.verdict)?;
        }
        Ok(())
    }
}

//! What a guard cannot do without.

use std::sync::Arc;

use crate::stats::Metric;

/// The requirements of a guard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// A figure of quality, which not every task has.
    pub metric: Option<Metric>,
    /// A business figure, by name.
    pub kpi: Option<Arc<str>>,
    /// Labels, and that it is said when they are complete: [`Builder::labels`](crate::Builder::labels).
    pub labels: bool,
    /// Pairs of answers to the same input: shadowing.
    pub pairs: bool,
    /// Windows of what both versions say: `Builder::drift`.
    pub drift: bool,
    /// A calibration of both versions' scores.
    pub estimated: bool,
}

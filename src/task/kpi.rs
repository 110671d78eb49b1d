//! Business figures that outcomes carry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A business figure per prediction, declared at build: its name, and the bounds within which a value makes sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kpi {
    name: Arc<str>,
    #[serde(default)]
    bounds: Option<(f64, f64)>,
    /// Whether less is better.
    #[serde(default)]
    lower_is_better: bool,
}

impl Kpi {
    /// A figure that is either 0 or 1: a click, a purchase.
    pub fn rate(name: impl Into<Arc<str>>) -> Self {
        Self::bounded(name, 0.0, 1.0)
    }

    /// A figure between `low` and `high`, units the host's own. Values outside are refused and counted: bounds are what
    /// makes a comparison of means provable.
    pub fn bounded(name: impl Into<Arc<str>>, low: f64, high: f64) -> Self {
        Self { name: name.into(), bounds: Some((low, high)), lower_is_better: false }
    }

    /// A figure without bounds, such as revenue. What is said of it is right in the limit only
    /// ([`Asymptotic`](crate::stats::sequential::Asymptotic)), and nothing before a hundred values of each version.
    pub fn unbounded(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), bounds: None, lower_is_better: false }
    }

    /// Less is better: complaints, seconds lost. More is better unless told.
    #[must_use]
    pub fn lower_is_better(mut self) -> Self {
        self.lower_is_better = true;
        self
    }

    /// The figure's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bounds within which a value is accepted; nothing for a figure without bounds.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        self.bounds
    }

    pub(crate) fn is_lower_better(&self) -> bool {
        self.lower_is_better
    }
}

//! What the handles of a fleet count.

use serde::{Deserialize, Serialize};

use crate::fleet::format::counts::Counts;
use crate::stats::evidence::ledger::Counts as Evidence;
use crate::stats::evidence::subtract::Subtract;
use crate::stats::sequential::Additive;

/// What one attempt has counted in one stretch, in one process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct FleetCounts {
    pub(crate) evidence: Evidence,
    /// Copies that ran, and that were dropped.
    pub(crate) copies: (u64, u64),
}

impl Counts for FleetCounts {
    fn add(&mut self, other: &Self) {
        self.evidence.merge(&other.evidence);
        self.copies.0 = self.copies.0.saturating_add(other.copies.0);
        self.copies.1 = self.copies.1.saturating_add(other.copies.1);
    }

    fn less(&self, other: &Self) -> Self {
        Self {
            evidence: self.evidence.less(&other.evidence),
            copies: (
                self.copies.0.saturating_sub(other.copies.0),
                self.copies.1.saturating_sub(other.copies.1),
            ),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.evidence.covers(&other.evidence)
            && self.copies.0 >= other.copies.0
            && self.copies.1 >= other.copies.1
    }
}

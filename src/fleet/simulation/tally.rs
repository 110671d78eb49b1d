//! What the members of a simulation count.

use serde::{Deserialize, Serialize};

use crate::fleet::format::counts::Counts;

/// Requests of a candidate and of its control, and how many of each failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) canary: u64,
    pub(crate) failed: u64,
    pub(crate) control: u64,
    pub(crate) failed_there: u64,
}

impl Tally {
    fn each(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            canary: of(self.canary, other.canary),
            failed: of(self.failed, other.failed),
            control: of(self.control, other.control),
            failed_there: of(self.failed_there, other.failed_there),
        }
    }
}

impl Counts for Tally {
    fn add(&mut self, other: &Self) {
        *self = self.each(other, u64::saturating_add);
    }
    fn less(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_sub)
    }
    fn covers(&self, other: &Self) -> bool {
        other.less(self) == Self::default()
    }
}

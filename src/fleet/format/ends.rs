//! How often processes end without a word, while something is on trial and while nothing is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::FormatError;
use crate::base::clock::Timestamp;

/// Ends over the time that processes have lived, all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Lived {
    pub(crate) ends: u64,
    pub(crate) ms: u64,
}

impl Lived {
    pub(crate) fn add(&mut self, other: Self) {
        self.ends = self.ends.saturating_add(other.ends);
        self.ms = self.ms.saturating_add(other.ms);
    }
}

/// Those of the whole fleet, in its ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ends {
    /// How late it was at this cut, by the store's clock: what began to be exposed since has done so later.
    pub(crate) at: Timestamp,
    /// While nothing was exposed, by the day.
    pub(crate) days: BTreeMap<u64, Lived>,
    /// Attempts that are exposed, or were a moment ago.
    pub(crate) trials: BTreeMap<u32, TrialEnds>,
    /// The last end that counted while something was exposed.
    pub(crate) last_exposed: Timestamp,
    /// The last one that counted while nothing was.
    pub(crate) last_spared: Timestamp,
}

/// Those of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrialEnds {
    /// From when on it was exposed, and until when.
    pub(crate) since: Timestamp,
    pub(crate) until: Option<Timestamp>,
    /// While it was exposed.
    pub(crate) exposed: Lived,
    /// While nothing was: of the days before it began, and since.
    pub(crate) spared: Lived,
    /// The ends of the last minute, each of them.
    pub(crate) recent: VecDeque<Timestamp>,
    /// Many ended within one minute: it is to be held.
    pub(crate) at_once: Option<AtOnce>,
}

/// Processes that ended within one minute, of those that exposed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AtOnce {
    pub(crate) ended: u64,
    pub(crate) of: u64,
}

/// Days that are looked back.
pub(crate) const DAYS: u64 = 7;

/// Trials that are remembered: four times as many as can run.
pub(crate) const TRIALS_MAX: usize = 256;

/// Ends that are remembered one by one.
pub(crate) const RECENT_MAX: usize = 1_024;

/// A node takes all of its processes along: what ends within so long of the last end that counted counts no more.
pub(crate) const TOGETHER: Duration = Duration::from_secs(10);

impl Ends {
    pub(crate) fn check(&self) -> Result<(), FormatError> {
        let days = self.days.len();
        FormatError::unless(days <= 1 + DAYS as usize, "number of days", days, "at most 8")?;
        let trials = self.trials.len();
        FormatError::unless(trials <= TRIALS_MAX, "number of trials", trials, "at most 256")?;
        let recent = self.trials.values().map(|trial| trial.recent.len()).max().unwrap_or_default();
        FormatError::unless(recent <= RECENT_MAX, "number of ends", recent, "at most 1024")
    }
}

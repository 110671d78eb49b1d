//! How long what was counted in a step is not trusted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

/// Units or labels came in other shares than they should, or values outside of their bounds: until when what was counted since the exposure changed stands in
/// the way, and how long it did. Then it is left out, and evidence begins again; each time that it is wrong again it takes
/// twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    pub(crate) until: Timestamp,
    pub(crate) lasts: Duration,
    /// It is over: kept for how long it lasted.
    pub(crate) over: bool,
}

impl Doubt {
    const FIRST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(3_600);

    /// Begins after an earlier one, if there was any.
    pub(crate) fn after(earlier: Option<Self>, now: Timestamp) -> Self {
        let lasts = earlier.map_or(Self::FIRST, |earlier| (earlier.lasts * 2).min(Self::LONGEST));
        Self { until: now.plus(lasts), lasts, over: false }
    }
}

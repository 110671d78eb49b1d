//! The calls that have begun and not ended, as far as they are known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Calls that have begun and not ended: they count in figures when they end, and here as soon as they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InFlight {
    /// How many, on requests and on copies, up to 64 of each.
    pub calls: usize,
    /// How long the oldest of them has been under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Duration>,
}

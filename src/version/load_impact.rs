//! The latency of live's requests around a load.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Live's p99 around a load. Each is of a hundred requests or more, or it is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoadImpact {
    /// Lately, before it began.
    pub before: Option<Duration>,
    /// While it was under way.
    pub during: Option<Duration>,
    /// Of the first requests afterwards.
    pub after: Option<Duration>,
}

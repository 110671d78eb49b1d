//! The loads that run or have just ended, as far as they are known.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::stats::figures::latency::Latency;
use crate::version::id::VersionId;
use crate::version::load_impact::LoadImpact;
use crate::version::priority::LoadPriority;

/// A load under way, or whose aftermath is not known yet.
pub(crate) struct Loading {
    pub(crate) version: VersionId,
    pub(crate) priority: LoadPriority,
    pub(crate) live: VersionId,
    pub(crate) impact: LoadImpact,
    /// All that live had answered when it began, and when the gauge was looked at last; or when it had ended.
    pub(crate) at_start: Latency,
    pub(crate) at_last: Latency,
    pub(crate) ended: Option<Ended>,
}

pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    pub(crate) took: Duration,
    pub(crate) held: Duration,
    pub(crate) failed: bool,
}

/// As many requests as a p99 needs.
const REQUESTS_MIN: u64 = 100;

/// Live is in trouble where its p99 is this much above its recent one: more than what a p99 of a hundred requests varies by
/// itself.
pub(crate) const TROUBLE: f64 = 1.25;

/// How many intervals of the tick the aftermath is waited for.
pub(crate) const AFTERMATH_INTERVALS: u32 = 30;

/// Loads whose aftermath is waited for.
pub(crate) const LOADING_MAX: usize = 16;

pub(crate) fn p99(latency: &Latency) -> Option<Duration> {
    if latency.count() < REQUESTS_MIN { None } else { latency.quantile(0.99) }
}

//! How long a table may expose candidates while nobody ticks.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::sync::{Holds, Until};

/// A lease on exposure: nobody who judges the candidates, no candidates.
///
/// The tick renews it; requests look at it only when they belong to a candidate, so live pays nothing. Whoever is about to
/// take candidates off suspends it meanwhile: from then on they answer nothing, however long the control lock is waited for.
pub(crate) struct Lease {
    until: Until,
    suspended: Holds,
}

impl Lease {
    pub(crate) fn new(until: Timestamp) -> Self {
        Self { until: Until::new(until.unix_nanos()), suspended: Holds::new() }
    }

    /// Extends the lease to `span` after `now`.
    pub(crate) fn renew(&self, now: Timestamp, span: Duration) {
        self.until.extend(now.plus(span).unix_nanos());
    }

    /// Whether candidates may be exposed.
    #[inline]
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        !self.has_lapsed(at) && !self.suspended.any()
    }

    /// Whether nobody has renewed it for too long.
    #[inline]
    pub(crate) fn has_lapsed(&self, at: Timestamp) -> bool {
        !self.until.reaches(at.unix_nanos())
    }

    /// For how long nobody has renewed it who should have.
    pub(crate) fn lapsed_for(&self, at: Timestamp) -> Duration {
        Duration::from_nanos(self.until.ago(at.unix_nanos()))
    }

    pub(crate) fn suspend(&self) {
        self.suspended.begin();
    }

    pub(crate) fn resume(&self) {
        self.suspended.end();
    }
}

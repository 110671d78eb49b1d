//! How long a table may expose candidates while nobody ticks.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::sync::Until;

/// A lease on exposure: nobody who judges the candidates, no candidates.
///
/// The tick renews it; requests look at it only when they belong to a candidate, so live pays nothing.
pub(crate) struct Lease(Until);

impl Lease {
    pub(crate) fn new(until: Timestamp) -> Self {
        Self(Until::new(until.unix_nanos()))
    }

    /// Extends the lease to `span` after `now`.
    pub(crate) fn renew(&self, now: Timestamp, span: Duration) {
        self.0.extend(now.plus(span).unix_nanos());
    }

    #[inline]
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        self.0.reaches(at.unix_nanos())
    }
}

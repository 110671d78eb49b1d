//! Copies of requests, and those who run candidates on them.

use crate::base::invalid::{ArgumentError, checked_when_read};

/// How candidates are tried as shadows: how many copies of requests wait, who runs them, and when two answers agree.
///
/// What must be code is told elsewhere: [`Task::compare`](crate::Task::compare) and
/// [`Inputs::bytes`](super::Inputs::bytes).
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Shadowing {
    pub(crate) queue_entries: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) tolerance: f64,
    pub(crate) workers: usize,
    pub(crate) canary_pairs: bool,
}

/// The largest queue: 13 MB before anything waits in it.
const ENTRIES_MAX: usize = 1 << 16;

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Shadowing {
        queue_entries: usize,
        queue_bytes: usize,
        tolerance: f64,
        workers: usize,
        canary_pairs: bool,
    }
}

impl Shadowing {
    /// A queue of 1,024 copies and 64 MiB, one worker, a tolerance of 0.01, and pairs in a canary too.
    pub const fn new() -> Self {
        Self { queue_entries: 1_024, queue_bytes: 64 << 20, tolerance: 0.01, workers: 1, canary_pairs: true }
    }

    /// How many copies may wait, 1 to 65,536: room for each is taken when the handle is built, some 200 bytes. The default is
    /// 1,024; what comes beyond it is dropped and counted.
    pub const fn queue_entries(mut self, copies: usize) -> Self {
        self.queue_entries = copies;
        self
    }

    /// How many bytes of copies may wait, 1 or more. The default is 64 MiB. Of inputs that own memory the host says how many
    /// they are: [`Inputs::bytes`](super::Inputs::bytes).
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// How far two scores or numbers may lie apart and still agree, 0 or more. The default is 0.01.
    pub const fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// How many threads run copies under [`Threads::background`](super::Threads::background), 1 to 256. The default is 1,
    /// because every one takes a core from live while it works.
    pub const fn workers(mut self, threads: usize) -> Self {
        self.workers = threads;
        self
    }

    /// Whether live shadows the requests that a canary answers, on the same share as the candidate shadowed before or on
    /// a tenth. The default is true, so that pairs of answers exist in both directions.
    pub const fn canary_pairs(mut self, pairs: bool) -> Self {
        self.canary_pairs = pairs;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        let entries = self.queue_entries;
        ArgumentError::unless(
            (1..=ENTRIES_MAX).contains(&entries),
            "shadowing.queue_entries",
            entries,
            "1 to 65536",
        )?;
        ArgumentError::unless(self.queue_bytes > 0, "shadowing.queue_bytes", self.queue_bytes, "1 or more")?;
        let tolerance = self.tolerance;
        let sensible = tolerance >= 0.0 && tolerance.is_finite();
        ArgumentError::unless(sensible, "shadowing.tolerance", tolerance, "0 or more, and finite")?;
        ArgumentError::unless(
            (1..=256).contains(&self.workers),
            "shadowing.workers",
            self.workers,
            "1 to 256",
        )
    }
}

impl Default for Shadowing {
    fn default() -> Self {
        Self::new()
    }
}

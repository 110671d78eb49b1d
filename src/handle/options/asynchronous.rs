//! How a handle is asked from asynchronous code.

use std::time::Duration;

use crate::base::invalid::{ArgumentError, checked_when_read};

/// How a handle is asked from asynchronous code: where requests are answered, and how many wait.
///
/// ```
/// use std::time::Duration;
/// use switchback::options::Async;
///
/// let options = Async::new().concurrency(2).waiting(64).inline_below(Duration::from_micros(100));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Async {
    pub(crate) concurrency: Option<usize>,
    pub(crate) waiting: usize,
    pub(crate) inline_below: Duration,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Async {
        concurrency: Option<usize>,
        waiting: usize,
        inline_below: Duration,
    }
}

impl Async {
    /// As many at a time as live has sessions, 256 that wait, and on the spot below 50 microseconds.
    pub const fn new() -> Self {
        Self { concurrency: None, waiting: 256, inline_below: Duration::from_micros(50) }
    }

    /// How many requests run at a time on the blocking pool, 1 to 4,096. The default is the number of sessions that live has
    /// when the handle is made asynchronous, or of processors where it has none: more would wait for a session on a thread.
    pub const fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = Some(requests);
        self
    }

    /// How many requests wait for their turn, up to 1,048,576. The default is 256. What comes beyond it is
    /// [refused](crate::asynchronous::AsyncError::Busy) at once and counted: a queue without an end answers nobody in time.
    pub const fn waiting(mut self, requests: usize) -> Self {
        self.waiting = requests;
        self
    }

    /// Requests are answered on the spot, on the thread that polls, where what may answer has a recent p99 below this; from twice
    /// this on they go to the blocking pool again. The default is 50 microseconds: to hand a request over costs some 20, and
    /// whatever else the thread has to do waits for as long as the model takes. With zero all go to the pool.
    pub const fn inline_below(mut self, limit: Duration) -> Self {
        self.inline_below = limit;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        let concurrency = self.concurrency.unwrap_or(1);
        ArgumentError::unless(
            (1..=4_096).contains(&concurrency),
            "async.concurrency",
            concurrency,
            "1 to 4,096",
        )?;
        let waiting = self.waiting;
        ArgumentError::unless(waiting <= 1 << 20, "async.waiting", waiting, "up to 1,048,576")?;
        let (longest, limit) = (Duration::from_secs(1), self.inline_below);
        let said = format!("{} s", limit.as_secs_f64());
        ArgumentError::unless(limit <= longest, "async.inline_below", said, "up to a second")
    }
}

impl Default for Async {
    fn default() -> Self {
        Self::new()
    }
}

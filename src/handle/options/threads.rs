//! Who does the work that is not a request's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::stats::counting::exposure::default_stripes;
use crate::version::priority::LoadPriority;

/// Who ticks, how often, and which time of the processor's loads get.
///
/// A tick brings figures up to date, asks the guards, moves the rollouts and frees what nobody uses. Where nobody has
/// ticked for three intervals a candidate answers nobody, and where nobody ever does no candidate can be exposed.
///
/// ```
/// use std::time::Duration;
/// use switchback::options::Threads;
///
/// assert_eq!(Threads::default(), Threads::background());
/// let by_the_host = Threads::manual().tick_every(Duration::from_millis(200));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Threads {
    pub(crate) ticks: Ticks,
    pub(crate) tick_every: Duration,
    pub(crate) load_priority: LoadPriority,
    pub(crate) stripes: usize,
}

/// Who ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ticks {
    Background,
    Manual,
    Nobody,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Threads {
        ticks: Ticks,
        tick_every: Duration,
        load_priority: LoadPriority,
        stripes: usize,
    }
}

impl Threads {
    fn of(ticks: Ticks) -> Self {
        let (tick_every, load_priority) = (Duration::from_secs(1), LoadPriority::default());
        Self { ticks, tick_every, load_priority, stripes: default_stripes() }
    }

    /// Threads of the handle's: one that ticks, one of low priority that keeps versions up (what they lost, how ready they
    /// are, whether they would answer) and, where it shadows, the workers that
    /// [`Shadowing::workers`](super::Shadowing::workers) says. They end with the last clone of the handle, and whoever
    /// drops that waits for them, up to ten seconds: [`close`](crate::ModelHandle::close) says whether they have. One that does not
    /// come back from a version's code is [given up](crate::status::ThreadStatus::abandoned), replaced, and not waited for.
    ///
    /// Threads that load a version, or ask a candidate that has a [deadline](super::Limits::candidate_deadline), are begun when
    /// they are needed, whoever ticks.
    ///
    /// This is the default: a candidate that nobody watches is the one harm a service never asks for.
    pub fn background() -> Self {
        Self::of(Ticks::Background)
    }

    /// The host: it calls [`tick`](crate::ModelHandle::tick) at every interval, which also keeps versions up and may then
    /// take as long as loading one, and [`run_shadow`](crate::ModelHandle::run_shadow).
    pub fn manual() -> Self {
        Self::of(Ticks::Manual)
    }

    /// Nobody. The handle answers with live and switches by hand; no candidate can be exposed.
    pub fn none() -> Self {
        Self::of(Ticks::Nobody)
    }

    /// How often guards are asked, a millisecond or more. The default is every second: a candidate that does harm does it
    /// for no longer, and a tick costs some 100 microseconds.
    pub fn tick_every(mut self, interval: Duration) -> Self {
        self.tick_every = interval;
        self
    }

    /// Which time of the processor's loads get. By default what nobody else wants, since a request that has to wait for a
    /// load is the harm that postpones every deploy.
    pub fn load_priority(mut self, priority: LoadPriority) -> Self {
        self.load_priority = priority;
        self
    }

    /// Into how many stripes figures are divided, so that threads do not write to one cache line, 1 to 256. The default is
    /// two per core, up to 16.
    pub fn stripes(mut self, stripes: usize) -> Self {
        self.stripes = stripes;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(86_400));
        let interval = format!("{} s", self.tick_every.as_secs_f64());
        let sensible = (shortest..=longest).contains(&self.tick_every);
        ArgumentError::unless(sensible, "threads.tick_every", interval, "a millisecond to a day")?;
        ArgumentError::unless((1..=256).contains(&self.stripes), "threads.stripes", self.stripes, "1 to 256")
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self::background()
    }
}

//! The share of the processor's time that a load may take.

use serde::{Deserialize, Serialize};

use crate::base::os;

/// Which time of the processor's loads get: staging a version, and keeping versions up under
/// [`Threads::background`](crate::options::Threads::background). On Linux; elsewhere they get what other threads get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadPriority {
    /// What nobody else wants: a request that comes takes the core at once. On a machine whose cores are all busy all of the
    /// time, a load that takes half a second takes minutes.
    #[default]
    Idle,
    /// A sixtieth of what others get, however busy the machine is. A request may wait for some milliseconds.
    Low,
    /// What every thread gets.
    Full,
}

impl LoadPriority {
    /// Gives it to the calling thread, which ends with its work. Where the system refuses, it goes on as it is.
    pub(crate) fn take(self) {
        match self {
            Self::Idle => drop(os::idle_thread_priority()),
            Self::Low => drop(os::lower_thread_priority()),
            Self::Full => {}
        }
    }
}

//! The share of the processor's time that a load may take.

use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::base::chance::mix;
use crate::base::clock::{Clock, Reading};
use crate::base::os;

/// Which time of the processor's loads get: staging a version, and keeping versions up under
/// [`Threads::background`](crate::options::Threads::background). On Linux; elsewhere they get what other threads get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadPriority {
    /// The time that nobody else wants: a request that comes takes the core at once. On a machine that has no such time
    /// a load would stand still, so it is looked at first: where some milliseconds of work do not come to their end
    /// within a tenth of a second, the load gets what [`Low`](Self::Low) gives, and its
    /// [event](crate::events::EventKind::Loaded) says so. One that meets such a machine later goes on as it began,
    /// until its [deadline](crate::options::Limits::staging_deadline).
    #[default]
    Idle,
    /// A sixtieth of what others get, however busy the machine is. A request may wait for some milliseconds.
    Low,
    /// The time that every thread gets.
    Full,
}

impl LoadPriority {
    /// Returns what a load gets now: not idle time alone where there is none.
    pub(crate) fn found(self) -> Self {
        if self == Self::Idle && !has_idle_time() { Self::Low } else { self }
    }

    /// Gives it to the calling thread, which ends with its work. Where the system refuses, it goes on as it is.
    pub(crate) fn take(self) {
        match self {
            Self::Idle => drop(os::idle_thread_priority()),
            Self::Low => drop(os::lower_thread_priority()),
            Self::Full => {}
        }
    }
}

/// How long it is waited for what a core does in a few milliseconds. A machine that gives it less than a twentieth of its time
/// makes half a minute of a load of a second.
const PATIENCE: Duration = Duration::from_millis(100);

/// Steps of work: some milliseconds.
const STEPS: u64 = 1 << 21;

/// How long what was found holds: versions that are loaded one after the other need not be asked each.
const HOLDS: Duration = Duration::from_secs(10);

/// Whether a thread that gets only what nobody else wants gets anything, as it was found within the last seconds.
fn has_idle_time() -> bool {
    static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::system);
    static FOUND: Mutex<Option<(Reading, bool)>> = Mutex::new(None);
    let now = CLOCK.reading();
    let found = *FOUND.lock();
    match found {
        Some((at, found)) if Duration::from_nanos(now.nanos_since(at)) < HOLDS => found,
        _ => {
            let found = is_idle_time_found();
            *FOUND.lock() = Some((CLOCK.reading(), found));
            found
        }
    }
}

fn is_idle_time_found() -> bool {
    let (tell, told) = crossbeam_channel::bounded(1);
    let work = move || {
        LoadPriority::Idle.take();
        let sum = (0..STEPS).fold(0, |sum, step| mix(sum ^ step));
        // Nobody listens any more where it came too late.
        let _ = tell.send(sum);
    };
    // Where no thread can be had it is not known, and the host's word stands.
    let started = std::thread::Builder::new().name("switchback-probe".into()).spawn(work);
    started.is_err() || told.recv_timeout(PATIENCE).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn whoever_says_otherwise_is_not_asked() {
        assert_eq!(LoadPriority::Low.found(), LoadPriority::Low);
        assert_eq!(LoadPriority::Full.found(), LoadPriority::Full);
    }

    /// Bug: on a machine that had no idle time a thread stood in `stage` for 50 s. Cause: a load got nothing else. Fix: it is looked
    /// at first.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_load_on_a_machine_without_idle_time_gets_its_share() {
        let busy = AtomicBool::new(true);
        let cores = std::thread::available_parallelism().unwrap().get();
        let found = std::thread::scope(|scope| {
            for _ in 0..4 * cores {
                scope.spawn(|| {
                    while busy.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            // The system may give it a core all the same, for once.
            let found = (0..100).any(|_| !is_idle_time_found());
            busy.store(false, Ordering::Relaxed);
            found
        });
        assert!(found);
    }
}

//! Watches runs that have a deadline, and stops those whose time is up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use ort::logging::LogLevel;
use ort::session::RunOptions;
use parking_lot::Mutex;

use super::pool::CLOCK;
use crate::base::clock::Reading;

/// The moment by which a call is to end.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    started: Reading,
    pub(crate) limit: Duration,
}

impl Deadline {
    /// `limit` from now on.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { started: CLOCK.reading(), limit }
    }

    /// Returns the time that is left of it.
    pub(crate) fn left(self) -> Duration {
        self.limit.saturating_sub(Duration::from_nanos(CLOCK.reading().nanos_since(self.started)))
    }
}

/// The watches of a pool's sessions, one per slot.
pub(crate) struct Watches {
    each: Box<[CachePadded<Watch>]>,
    under_way: AtomicUsize,
}

/// The same, under which ONNX Runtime hands back after the run what it has grown by and does not use.
pub(crate) fn options_that_shrink() -> ort::Result<RunOptions> {
    let mut options = quiet_options()?;
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(options)
}

/// Options under which errors come back typed and are not printed as well.
pub(crate) fn quiet_options() -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    options.set_log_level(LogLevel::Fatal)?;
    Ok(options)
}

/// The conditions that one session runs under. Its lock is held while it is decided whether to stop a run, and to end
/// one: so no run is stopped after it has ended, when the stop would hit the next.
struct Watch {
    options: RunOptions,
    shrinking: RunOptions,
    run: Mutex<Option<Run>>,
}

struct Run {
    deadline: Deadline,
    is_stopped: bool,
}

impl Watches {
    pub(crate) fn new(sessions: usize) -> ort::Result<Self> {
        let watch = || -> ort::Result<_> {
            Ok(CachePadded::new(Watch {
                options: quiet_options()?,
                shrinking: options_that_shrink()?,
                run: Mutex::new(None),
            }))
        };
        let each = (0..sessions).map(|_| watch()).collect::<ort::Result<_>>()?;
        Ok(Self { each, under_way: AtomicUsize::new(0) })
    }

    /// Returns the options that the session of a slot runs under; where it is to shrink, it hands back memory after the
    /// run.
    pub(crate) fn options(&self, slot: usize, shrink: bool) -> &RunOptions {
        let watch = &self.each[slot];
        if shrink { &watch.shrinking } else { &watch.options }
    }

    /// Watches the run that is about to begin in a slot, until what is returned is dropped.
    pub(crate) fn begin(&self, slot: usize, deadline: Deadline) -> Watched<'_> {
        let watch = &*self.each[slot];
        self.under_way.fetch_add(1, Ordering::Relaxed); // Relaxed: a hint, see `stop_overdue`
        *watch.run.lock() = Some(Run { deadline, is_stopped: false });
        Watched { watch, under_way: &self.under_way }
    }

    /// Stops every run whose time is up. Returns at once where no run is watched.
    pub(crate) fn stop_overdue(&self) {
        // Relaxed: a run missed now is seen by the next call, which comes soon.
        if self.under_way.load(Ordering::Relaxed) == 0 {
            return;
        }
        for watch in &self.each {
            if let Some(run) = &mut *watch.run.lock()
                && !run.is_stopped
                && run.deadline.left().is_zero()
            {
                // Setting the flag cannot fail; were it to, the next call tries again. Of the two, one is in use.
                let stopped = [&watch.options, &watch.shrinking].map(|options| options.terminate().is_ok());
                run.is_stopped = stopped == [true; 2];
            }
        }
    }
}

/// A run that is watched.
pub(crate) struct Watched<'w> {
    watch: &'w Watch,
    under_way: &'w AtomicUsize,
}

impl Watched<'_> {
    /// Whether it was told to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.watch.run.lock().as_ref().is_some_and(|run| run.is_stopped)
    }
}

/// Also when the run panicked.
impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let run = self.watch.run.lock().take();
        if run.is_some_and(|run| run.is_stopped) {
            // The flag stays until it is taken back. This cannot fail: it sets a boolean.
            let Watch { options, shrinking, .. } = self.watch;
            let _ = [options, shrinking].map(RunOptions::unterminate);
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed); // Relaxed: who reads it late looks at the locks in vain
    }
}

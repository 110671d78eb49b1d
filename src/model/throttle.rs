//! Holds the loading of a model back while requests have trouble, and cancels it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::activity::Activity;
use super::error::LoadError;

/// Holds the loading of a model back: whoever loads one calls [`step`](Self::step) before each step that takes long. It
/// waits there while requests have trouble, and fails once the load was cancelled. Clones hold back the same load.
///
/// ```
/// use switchback::versions::LoadThrottle;
/// use switchback::model::LoadError;
///
/// let throttle = LoadThrottle::new();
/// assert!(throttle.step().is_ok());
/// throttle.cancel();
/// assert!(matches!(throttle.step(), Err(LoadError::Cancelled)));
/// ```
#[derive(Clone, Default)]
pub struct LoadThrottle {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Relaxed, all three, and no model of them in every interleaving: whether it was cancelled is written and looked at
    /// under the bell's lock before a load waits, and the other two are looked at again after each rest.
    cancelled: AtomicBool,
    /// Requests have trouble: whoever asks next waits.
    trouble: AtomicBool,
    held_nanos: AtomicU64,
    bell: Mutex<()>,
    activity: Mutex<Activity>,
    /// Told of every activity that the load comes to, on the load's thread.
    observer: Mutex<Option<Observer>>,
    rung: Condvar,
}

/// Told of what a load comes to.
type Observer = Arc<dyn Fn(Activity) + Send + Sync>;

/// How long is waited before it is looked again whether to wait.
const REST: Duration = Duration::from_millis(20);

/// The longest that one load is held back for, all in all: a service that never has a quiet moment must still be able to
/// load a better model.
const HELD_MAX: Duration = Duration::from_secs(10);

impl LoadThrottle {
    /// One that holds nothing back until it is cancelled. A handle that loads a version holds back its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits while requests have trouble, up to ten seconds over all steps of the load. Called before a step that takes
    /// long, such as reading a file or making a session.
    ///
    /// # Errors
    ///
    /// [`LoadError::Cancelled`] once the load was cancelled. What was made so far is to be dropped.
    pub fn step(&self) -> Result<(), LoadError> {
        let mut bell = self.shared.bell.lock();
        loop {
            if self.is_cancelled() {
                return Err(LoadError::Cancelled);
            }
            // Relaxed, like all of these: each says something by itself, and nothing else is read because of it. One who
            // sees `trouble` late begins a step, or rests once more.
            if !self.shared.trouble.load(Ordering::Relaxed) || self.held_for() >= HELD_MAX {
                return Ok(());
            }
            self.shared.rung.wait_for(&mut bell, REST);
            self.shared.held_nanos.fetch_add(REST.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// The load has come to this.
    pub(crate) fn enter(&self, activity: Activity) {
        *self.shared.activity.lock() = activity;
        // It may call the host's code, so with nothing locked.
        let observer = self.shared.observer.lock().clone();
        if let Some(observer) = observer {
            observer(activity);
        }
    }

    /// Tells this of what the load comes to from now on, or nobody.
    #[cfg(feature = "tracing")]
    pub(crate) fn observe(&self, observer: Option<Arc<dyn Fn(Activity) + Send + Sync>>) {
        *self.shared.observer.lock() = observer;
    }

    /// Returns what the load has come to.
    pub(crate) fn activity(&self) -> Activity {
        *self.shared.activity.lock()
    }

    /// Requests have trouble, or have none any more.
    pub(crate) fn hold(&self, trouble: bool) {
        self.shared.trouble.store(trouble, Ordering::Relaxed);
    }

    /// Cancels the load: its next step fails.
    pub fn cancel(&self) {
        // With the bell, which orders it: whoever is about to wait for it sees this, or is rung.
        let _bell = self.shared.bell.lock();
        self.shared.cancelled.store(true, Ordering::Relaxed);
        self.shared.rung.notify_all();
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// For how long it was held back so far.
    pub fn held_for(&self) -> Duration {
        Duration::from_nanos(self.shared.held_nanos.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for LoadThrottle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadThrottle")
            .field("cancelled", &self.is_cancelled())
            .field("held_for", &self.held_for())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_back_while_there_is_trouble_and_no_longer_than_its_bound() {
        let throttle = LoadThrottle::new();
        throttle.hold(true);
        let held = throttle.clone();
        let waiting = std::thread::spawn(move || held.step());
        while throttle.held_for() < REST * 2 {
            std::thread::yield_now();
        }
        throttle.hold(false);
        assert!(waiting.join().unwrap().is_ok());

        throttle.hold(true);
        throttle.shared.held_nanos.store(HELD_MAX.as_nanos() as u64, Ordering::Relaxed);
        assert!(throttle.step().is_ok());
    }

    #[test]
    fn what_is_cancelled_does_not_wait() {
        let throttle = LoadThrottle::new();
        throttle.hold(true);
        throttle.cancel();
        assert!(matches!(throttle.step(), Err(LoadError::Cancelled)));
    }
}

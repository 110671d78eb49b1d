//! The handle's knowledge of its data, and the part of a tick that looks at it.

use super::core::Core;
use super::handle::ModelHandle;
use super::rollout::Rollout;
use super::status::Status;
use crate::base::clock::Timestamp;
use crate::control::control::Control;
use crate::control::tick::Snapshot;
use crate::drift::estimate::Calibration;
use crate::drift::watch::{DriftStatus, Told};

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Takes in what was counted of drift since the last time. Comparisons are made under no lock that others wait for.
    pub(crate) fn settle_drift(&self, now: Timestamp) -> Vec<Told> {
        let Some(drift) = &self.serving.drift else { return Vec::new() };
        let drained = drift.drain();
        let context = {
            let control = &*self.control.lock();
            let context = control.drift_context();
            // Under the lock: one that is staged from now on is not among those that are here.
            drift.keep_calibrations(&context);
            context
        };
        drift.settle(&drained, &context, now)
    }

    /// Says what has drifted.
    pub(crate) fn tell_of_drift(&self, control: &mut Control, told: Vec<Told>, now: Timestamp) {
        if let Some(drift) = &self.serving.drift {
            control.tell_of_drift(told, |told| drift.pauses(told), now);
        }
    }

    /// Gives guards what was seen of drift.
    pub(crate) fn show_drift(&self, snapshots: &mut [Snapshot]) {
        if let Some(drift) = &self.serving.drift {
            let seen = |snapshot: &Snapshot| drift.seen(snapshot.attempt, snapshot.era());
            snapshots.iter_mut().for_each(|snapshot| snapshot.drift = seen(snapshot));
        }
    }
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Returns what is known of the drift of the handle's data, as of the last tick; nothing where it is not
    /// [watched](crate::Builder::drift). Compares on the calling thread: some milliseconds for a hundred features.
    pub fn drift(&self) -> Option<DriftStatus> {
        self.inner.serving.drift.as_ref().map(|drift| drift.status())
    }

    pub(super) fn with_drift(&self, status: Status) -> Status {
        Status { drift: self.drift(), ..status }
    }
}

impl<I: ?Sized + 'static, O: 'static> Rollout<I, O> {
    /// Says what the version's scores mean, for a binary task whose drift is [watched](crate::Builder::drift): its
    /// quality is estimated without labels then, **under covariate shift only**. Before it is exposed, and before a guard
    /// over [estimated](crate::guard::estimated) quality is added. No effect where drift is not watched.
    pub fn calibrated(self, calibration: Calibration) -> Self {
        if let Some(drift) = &self.handle.inner.serving.drift {
            drift.calibrate(self.version, calibration);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Drift;
    use crate::handle::options::Threads;
    use crate::model::closure::closure;
    use crate::task::task::Task;

    /// Bug: what the scores of a version mean was lost where it was said during a tick, and its quality was not estimated. Cause: what is let go of
    /// was told by what had been here before it was staged. Fix: it is let go of under the lock under which it is looked at what is here.
    #[test]
    fn a_calibration_that_is_said_during_a_tick_stays() {
        let handle = ModelHandle::builder("x")
            .live("v1", closure("one@1", |_: &f64| Ok(0.1)))
            .task(Task::binary(|probability: &f64| *probability))
            .drift(Drift::new())
            .threads(Threads::manual())
            .build()
            .unwrap();
        let (core, now) = (&handle.inner, handle.inner.serving.clock.now());
        let drift = core.serving.drift.as_ref().unwrap();
        // As a tick that has looked at what is here, and goes on once more is.
        let context = core.control.lock().drift_context();
        let rollout = handle.stage("v2", closure("two@1", |_: &f64| Ok(0.2))).unwrap();
        let rollout = rollout.calibrated(Calibration::fit([(0.1, false), (0.9, true)]).unwrap());
        drift.settle(&[], &context, now);
        assert!(drift.calibration(rollout.version()).is_some());
        // One that is gone is let go of.
        let _ = rollout.rollback("enough");
        handle.tick();
        assert!(drift.calibration(rollout.version()).is_none());
    }
}

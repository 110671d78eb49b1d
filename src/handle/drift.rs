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
        let context = self.control.lock().drift_context();
        drift.settle(&drained, &context, now)
    }

    /// Says what has drifted.
    pub(crate) fn tell_of_drift(&self, control: &mut Control, told: Vec<Told>, now: Timestamp) {
        if let Some(drift) = &self.serving.drift {
            control.tell_of_drift(told, drift.shared, now);
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

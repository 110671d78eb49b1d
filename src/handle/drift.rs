//! What a handle knows of its data, and the part of a tick that looks at it.

use super::core::Core;
use super::handle::ModelHandle;
use crate::base::clock::Timestamp;
use crate::drift::watch::{DriftStatus, Told};

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Takes in what was counted of drift since the last time. Comparisons are made under no lock that others wait for.
    pub(crate) fn settle_drift(&self, now: Timestamp) -> Vec<Told> {
        let Some(drift) = &self.serving.drift else { return Vec::new() };
        let drained = drift.drain();
        let context = self.control.lock().drift_context();
        drift.settle(&drained, &context, now)
    }
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// What is known of the drift of the handle's data, as of the last tick; nothing where it is not
    /// [watched](crate::Builder::drift). Compares on the calling thread: some milliseconds for a hundred features.
    pub fn drift(&self) -> Option<DriftStatus> {
        self.inner.serving.drift.as_ref().map(|drift| drift.status())
    }
}

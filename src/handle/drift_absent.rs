//! Stand-ins for `drift` without the feature: nothing is watched.

use std::convert::Infallible;

use super::core::Core;
use super::handle::ModelHandle;
use super::status::Status;
use crate::base::clock::Timestamp;
use crate::control::control::Control;
use crate::control::tick::Snapshot;

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    pub(crate) fn settle_drift(&self, _: Timestamp) -> Option<Infallible> {
        None
    }

    pub(crate) fn tell_of_drift(&self, _: &mut Control, _: Option<Infallible>, _: Timestamp) {}

    pub(crate) fn show_drift(&self, _: &mut [Snapshot]) {}
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    pub(super) fn with_drift(&self, status: Status) -> Status {
        status
    }
}

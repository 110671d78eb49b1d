//! Stand-ins for `watched` without the feature `drift`.

use super::drift::DriftSummary;
use crate::handle::handle::ModelHandle;

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    pub(super) fn watched(&self, _: u32) -> Option<DriftSummary> {
        None
    }
}

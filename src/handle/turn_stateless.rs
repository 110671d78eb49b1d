//! Stand-ins for `turn` and `start` without the feature `state`: nothing is written down.

use super::core::Core;
use super::keeper::Remembered;
use crate::base::clock::Timestamp;
use crate::control::control::Control;
use crate::control::desk::Desk;

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    pub(crate) fn record(&self) {}

    pub(crate) fn take_over_if_free(&self) {}

    pub(crate) fn record_end(&self) {}

    pub(crate) fn checkpoint_if_due(&self, _: Timestamp) {}

    pub(crate) fn is_durable(&self, _: &Control) -> Option<bool> {
        None
    }

    #[cfg(all(feature = "onnx", feature = "repository"))]
    pub(crate) fn writes(&self) -> bool {
        true
    }

    /// Raises the exposure of attempts.
    pub(crate) fn raise<T>(
        &self,
        _: Vec<u32>,
        raise: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> Result<T, String> {
        Ok(self.change(|control| raise(control, self.desk(self.serving.clock.now()))))
    }

    pub(crate) fn go_on(&self, _: Option<Remembered>) {}
}

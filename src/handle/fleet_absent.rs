//! A handle that is alone: what stands in for `fleet` without that feature.

use std::sync::Arc;

use super::core::Core;
use crate::control::control::Control;
use crate::control::desk::Desk;
use crate::control::moves::RollbackOutcome;
use crate::feedback::id::PredictionId;
use crate::feedback::outcome::FeedbackOutcome;
use crate::task::outcome::Outcome;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    pub(crate) fn is_in_fleet(&self) -> bool {
        false
    }

    #[cfg(all(feature = "onnx", feature = "repository"))]
    pub(crate) fn reaches_fleet(&self) -> bool {
        true
    }

    pub(crate) fn feedback(&self, id: &PredictionId, outcome: &Outcome) -> FeedbackOutcome {
        self.serving.joins.feedback(id, outcome, self.serving.clock.now(), |_| false)
    }

    pub(crate) fn bring_to_fleet(&self, _: &Arc<dyn AnyVersion>) {}

    pub(crate) fn step_in_fleet(self: &Arc<Self>) {}

    pub(crate) fn lower_in_all(
        &self,
        control: &mut Control,
        desk: Desk<'_>,
        lower: impl FnOnce(&mut Control, Desk<'_>) -> RollbackOutcome,
    ) -> RollbackOutcome {
        lower(control, desk)
    }

    pub(crate) fn to_go_back_to(&self, control: &Control) -> Vec<VersionId> {
        control.retained.iter().map(|kept| kept.version.id).collect()
    }

    pub(crate) fn freeze_in_all(&self, _: &Control, _: String) {}

    pub(crate) fn pause_in_all(&self, _: &Control, _: u32, _: String) -> bool {
        false
    }

    pub(crate) fn on_trial_in_all(&self, _: &str) -> Option<(u32, VersionId)> {
        None
    }

    pub(crate) fn note_demands(&self, _: &Control, _: u64) {}

    pub(crate) fn press_demands(&self) {}
}

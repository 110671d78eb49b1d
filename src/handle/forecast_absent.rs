//! Stand-ins for `forecast` without the feature: no plan is chosen, and none is warned of.

use super::rollout::{Followed, Rollout, RolloutError};
#[cfg(feature = "fleet")]
use crate::base::clock::Timestamp;
#[cfg(feature = "fleet")]
use crate::control::control::Control;
use crate::rollout::plan::Plan;

impl<I: ?Sized + 'static, O: 'static> Rollout<I, O> {
    pub(super) fn chosen(&self, plan: Plan) -> Result<Followed, RolloutError> {
        Ok(Followed::as_said(plan))
    }

    pub(super) fn undecidable(&self, _: &Plan) -> Option<String> {
        None
    }
}

#[cfg(feature = "fleet")]
impl Control {
    pub(super) fn rate(&self, _: Timestamp) -> Option<f64> {
        None
    }
}

//! What is agreed on, for whoever lowers exposure.

use std::sync::Arc;

use crate::control::control::Control;
use crate::control::decider::{Decider, Demand, Demanded};
use crate::control::outside::settings;
use crate::control::saved::SavedControl;
use crate::version::id::VersionId;

/// What is agreed on, for whoever lowers exposure here. Changed under the control lock.
#[derive(Default)]
pub(super) struct Standing {
    /// With what is demanded here.
    pub(super) here: Option<Arc<SavedControl>>,
    /// What was decided on it under this lock of the control side, and is demanded of all.
    pub(super) decided: Option<Vec<Demand>>,
}

/// Whoever decides on what stands; nothing where it was founded by a handle that knew no setting.
fn decider(control: &Control, here: &SavedControl) -> Option<Decider> {
    let setting = here.setting.clone()?;
    Decider::new(settings(here, control.settings.quarantine_for), setting, here, &[]).ok()
}

impl Standing {
    /// Whoever decides on what stands, without what cannot be had here as long as there is something else to go back to; and that.
    pub(super) fn decider(&self, control: &Control) -> Option<(SavedControl, Decider)> {
        let here = self.here.as_ref()?;
        let mut had = SavedControl::clone(here);
        let is_had = |version: VersionId| !control.unavailable.iter().any(|lost| lost.version == version);
        if here.retained.iter().any(|kept| !kept.taken_back && is_had(kept.version.version)) {
            had.retained.retain(|kept| is_had(kept.version.version));
        }
        let decider = decider(control, &had)?;
        Some((had, decider))
    }

    /// Demands something of all of which nothing can be seen here.
    pub(super) fn demand(&mut self, control: &Control, what: Demanded) {
        let by = control.announcer.actor.clone();
        self.decided.get_or_insert_default().push(Demand { by, what });
    }

    /// Takes note of what was demanded here.
    pub(super) fn obey(&mut self, control: &Control, demands: &[Demand]) {
        let lowers =
            |demand: &&Demand| matches!(demand.what, Demanded::Lower { .. } | Demanded::GoBack { .. });
        let mut lowering = demands.iter().filter(lowers).peekable();
        if lowering.peek().is_none() {
            return;
        }
        let Some(here) = &self.here else { return };
        if let Some(mut decider) = decider(control, here) {
            lowering.for_each(|demand| decider.obey(demand, here.at));
            self.here = Some(Arc::new(decider.saved(here.at)));
        }
    }
}

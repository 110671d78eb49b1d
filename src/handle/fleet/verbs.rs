//! What lowers exposure is decided on what the fleet has agreed on, and not on what is exposed here: a process that has just begun, or cannot
//! open a version, exposes less than there is to take off.

use std::sync::Arc;

use crate::control::control::Control;
use crate::control::decider::{Demand, Demanded};
use crate::control::desk::Desk;
use crate::control::event::EventKind;
use crate::control::moves::RollbackOutcome;
use crate::handle::core::Core;
use crate::version::id::VersionId;

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Lowers exposure: in a fleet as it follows from what is agreed on, here as far as there is something to lower, and in all others once they
    /// know.
    pub(crate) fn lower_in_all(
        &self,
        control: &mut Control,
        desk: Desk<'_>,
        lower: impl FnOnce(&mut Control, Desk<'_>) -> RollbackOutcome,
    ) -> RollbackOutcome {
        let Some(fleet) = &self.fleet else { return lower(control, desk) };
        let standing = &mut *fleet.standing.lock();
        let Some((here, mut decider)) = standing.decider(control) else { return lower(control, desk) };
        let (outcome, demands) = decider.demanded(here.at, lower);
        let after = decider.saved(here.at);
        if let Some(seat) = &mut control.seat {
            seat.is_trying = after.is_trying();
        }
        standing.here = Some(Arc::new(after));
        let from = control.announcer.next();
        demands.iter().for_each(|demand| control.lower_as_all(demand, desk));
        // What was not there to be lowered here is lowered all the same.
        let told = control.announcer.since(from);
        for event in decider.events() {
            let is_told = told.iter().any(|told| told.kind == event.kind);
            if !is_told && !matches!(event.kind, EventKind::Retired { .. }) {
                control.announcer.announce(desk.since, control.epoch, event.kind.clone());
            }
        }
        let by = control.announcer.actor.clone();
        let demands = demands.into_iter().map(|demand| Demand { by: by.clone(), ..demand });
        standing.decided.get_or_insert_default().extend(demands);
        outcome
    }

    /// Demands a freeze of all where one holds here already: where it does in all, nothing comes of it.
    pub(crate) fn freeze_in_all(&self, control: &Control, reason: String) {
        let Some(fleet) = &self.fleet else { return };
        // One that holds here and waits is the one that all are to agree on.
        let begins = |demand: &Demand| matches!(demand.what, Demanded::Freeze { reason: Some(_), .. });
        if fleet.demands.lock().iter().any(begins) {
            return;
        }
        fleet.standing.lock().demand(control, Demanded::Freeze { reason: Some(reason), ends: Vec::new() });
    }

    /// Has a plan stand still in all that is not followed here, since its version cannot be had; whether there is such a rollout. It is told
    /// once they have agreed.
    pub(crate) fn pause_in_all(&self, control: &Control, number: u32, reason: String) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        let standing = &mut *fleet.standing.lock();
        let mut attempts = standing.here.iter().flat_map(|here| &here.attempts);
        let on_trial = attempts.find(|attempt| attempt.number == number);
        let on_trial = on_trial.map(|attempt| (attempt.version.identity, attempt.state.paused));
        if let Some((identity, false)) = on_trial {
            standing.demand(control, Demanded::Pause { attempt: number, identity, reason });
        }
        on_trial.is_some()
    }

    /// The rollout of a version of this name by what is agreed on, whether or not the version can be had here.
    pub(crate) fn on_trial_in_all(&self, version: &str) -> Option<(u32, VersionId)> {
        let here = self.fleet.as_ref().and_then(|fleet| fleet.standing.lock().here.clone())?;
        let on_trial = here.attempts.iter().find(|attempt| attempt.version.version == *version)?;
        Some((on_trial.number, on_trial.version.version))
    }

    /// The versions that can be gone back to by name: in a fleet those that all retain and this process has.
    pub(crate) fn to_go_back_to(&self, control: &Control) -> Vec<VersionId> {
        let here = self.fleet.as_ref().and_then(|fleet| fleet.standing.lock().here.clone());
        let Some(here) = here else {
            return control.retained.iter().map(|kept| kept.version.id).collect();
        };
        let loaded = control.loaded();
        let is_had = |version: &VersionId| loaded.iter().any(|loaded| loaded.id == *version);
        here.retained.iter().map(|kept| kept.version.version).filter(is_had).collect()
    }

    /// Takes note of what has lowered exposure here since this event: the others are to do the same. Called under the control lock
    /// under which it was lowered, so that no head is made true in between that knows nothing of it.
    pub(crate) fn note_demands(&self, control: &Control, event: u64) {
        let Some(fleet) = &self.fleet else { return };
        let standing = &mut *fleet.standing.lock();
        let demands = standing.decided.take().unwrap_or_else(|| {
            let demands = control.demands_since(event);
            standing.obey(control, &demands);
            demands
        });
        fleet.add(demands);
    }
}

//! A process that looks on while another one has the state: it answers with what is live there, and tries nothing.
//!
//! What was said here stands until it has the state itself: a freeze, and what was taken back. Nothing else is taken over from there
//! meanwhile, since all of it is once it has the state.

use std::sync::Arc;

use super::adopt::Start;
use super::control::Control;
use super::desk::Desk;
use super::event::EventKind;
use super::saved::{SavedControl, SavedVersion};
use super::settings::{Retained, Standby};
use crate::base::clock::{Shift, Timestamp};
use crate::model::identity::Identity;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;

fn named(SavedVersion { version, identity }: SavedVersion) -> (VersionId, Identity) {
    (version, identity)
}

impl Control {
    /// Begins beside another process that has the state: with its live and what it retains, and none of its rollouts.
    pub(crate) fn look_on(&mut self, saved: &SavedControl, start: &Start<'_>, desk: Desk<'_>) {
        let saved = &saved.clone().moved(Shift::between(saved.at, desk.now));
        self.take_over(saved, start, desk.now);
        self.retain_again(saved, start);
        self.trim_retained(desk.now);
        self.publish(desk, vec![EventKind::Standby { live: self.live.id, from: None }]);
        // What answers here, not what does there: where that could not be had it is asked for again.
        let (live, frozen) = (Some((self.live.id, self.live.identity)), self.frozen.clone());
        self.standby = Some(Standby { live, frozen, ..Standby::default() });
    }

    /// Freezes as it is frozen there by now. A freeze that was said here stands.
    pub(crate) fn freeze_as_there(&mut self, saved: &SavedControl, now: Timestamp) {
        let Some(standby) = self.standby.as_mut().filter(|standby| standby.frozen != saved.frozen) else {
            return;
        };
        let is_own = self.frozen != standby.frozen;
        standby.frozen.clone_from(&saved.frozen);
        if !is_own {
            self.frozen.clone_from(&saved.frozen);
            let kind = match &saved.frozen {
                Some(reason) => EventKind::Frozen { reason: reason.clone() },
                None => EventKind::Unfrozen,
            };
            self.announcer.announce(now, self.epoch, kind);
        }
    }

    /// The version that is to answer here, where another one is live there than when it was looked at last: that one or, where it was taken
    /// back here, the last one that would be gone back to there and was not.
    pub(crate) fn to_follow(&self, saved: &SavedControl) -> Option<SavedVersion> {
        let standby = self.standby.as_ref().filter(|standby| standby.live != Some(named(saved.live)))?;
        let was_left = |known: &SavedVersion| standby.left.iter().any(|left| left.version == known.version);
        let retained = saved.retained.iter().filter(|kept| !kept.taken_back).map(|kept| kept.version);
        std::iter::once(saved.live).chain(retained).find(|known| !was_left(known))
    }

    /// Takes note whether the journal there can be read, and says why not, once for each reason.
    pub(crate) fn cannot_read(&mut self, reason: Option<String>, now: Timestamp) {
        let live = self.live.id;
        let Some(standby) = self.standby.as_mut().filter(|standby| standby.unread != reason) else { return };
        standby.unread.clone_from(&reason);
        if let Some(reason) = reason {
            self.announcer.announce(now, self.epoch, EventKind::StandbyBehind { live, reason });
        }
    }

    /// Says that a version which is to answer here cannot be had, once for each.
    pub(crate) fn cannot_follow(&mut self, wanted: SavedVersion, reason: String, now: Timestamp) {
        let Some(standby) = self.standby.as_mut().filter(|standby| standby.missing != Some(named(wanted)))
        else {
            return;
        };
        standby.missing = Some(named(wanted));
        let kind = EventKind::Unavailable { version: wanted.version, reason };
        self.announcer.announce(now, self.epoch, kind);
    }

    /// Answers with the version that is to answer here, and keeps what is retained there as far as it is here.
    pub(crate) fn follow_there(
        &mut self,
        version: Arc<dyn AnyVersion>,
        saved: &SavedControl,
        desk: Desk<'_>,
    ) {
        let Some(standby) = &mut self.standby else { return };
        (standby.live, standby.missing, standby.went_to) = (Some(named(saved.live)), None, None);
        let retained_there = saved.retained.iter().map(|kept| kept.version.version);
        let taken_back: Vec<VersionId> =
            retained_there.filter(|version| standby.has_taken_back(*version)).collect();
        let saved = saved.clone().moved(Shift::between(saved.at, desk.now));
        self.remember(&version, desk.now);
        let from = std::mem::replace(&mut self.live, version);
        self.live_by = None;
        // Other bytes under the same name are another version.
        let is_another = !Arc::ptr_eq(&from, &self.live);
        let (before, live) = (from.id, self.live.id);
        let mut known = vec![from];
        known.extend(self.retained.drain(..).map(|kept| kept.version));
        known.retain(|version| !Arc::ptr_eq(version, &self.live));
        for kept in &saved.retained {
            let is_it = |version: &Arc<dyn AnyVersion>| {
                (version.id, version.identity) == (kept.version.version, kept.version.identity)
            };
            if let Some(place) = known.iter().position(is_it) {
                let taken_back = kept.taken_back || taken_back.contains(&kept.version.version);
                let version = known.swap_remove(place);
                self.retained.push_back(Retained { version, since: kept.since, taken_back });
            }
        }
        known.into_iter().for_each(|version| self.retired.push(version));
        self.trim_retained(desk.now);
        let mut events = Vec::new();
        if is_another {
            self.live_since = desk.now;
            events.push(EventKind::Standby { live, from: Some(before) });
        }
        // What would be gone back to may be another one in any case.
        self.publish(desk, events);
    }
}

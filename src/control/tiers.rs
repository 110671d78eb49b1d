//! How ready each version is to be, and waking one that is to be gone back to.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Attempt;
use super::control::Control;
use super::event::EventKind;
use super::settings::{Lack, Retained, Unavailable};
use crate::base::clock::Timestamp;
use crate::model::Tier;
use crate::request::ahead::Back;
use crate::rollout::phase::Phase;
use crate::version::drill::DrillOutcome;
use crate::version::id::VersionId;
use crate::version::loaded::{AnyVersion, Known};
use crate::version::tiers::Kept;

/// A retained version that cannot be made to answer any more.
pub(crate) struct Lost {
    pub(crate) version: VersionId,
    pub(crate) reason: String,
}

impl Control {
    /// Says how ready each version is to be. Gives those that are not.
    pub(crate) fn want_tiers(&mut self, now: Timestamp) -> Vec<Arc<dyn AnyVersion>> {
        // The one before a live that is watched or, where that is lost, the older one that it would be taken back to; the one before a
        // live that seems not to fit its own model; and those that streams stay with.
        let needed = self.attempts.iter().filter_map(|attempt| attempt.previous);
        let before = self.before_the_watched().into_iter().chain(self.before_a_misfit());
        let pinned =
            self.pins.iter().filter(|pin| Arc::strong_count(pin) > 1).filter_map(|pin| pin.version());
        let needed: Vec<VersionId> = needed.chain(before.map(|version| version.id)).chain(pinned).collect();
        let kept: Vec<Kept> = self
            .retained
            .iter()
            .map(|kept| {
                let readiness = kept.version.readiness();
                let wanted = kept.version.wanted.tier();
                // One that cannot get there is waited for by nobody.
                let is_moving = readiness.is_on_its_way_to(wanted) || readiness.is_weighed_no_more();
                let is_stuck = kept.version.is_blocked() || self.is_degraded(kept.version.id);
                Kept {
                    retained_for: now.since(kept.since),
                    needed: needed.contains(&kept.version.id) || readiness.waking > 0,
                    is_prepared: readiness.is_prepared,
                    tier: wanted.min(readiness.tier),
                    is_moving: is_moving && !is_stuck,
                    private_bytes: readiness.memory.map_or(0, |memory| memory.private_bytes),
                }
            })
            .collect();
        for (kept, tier) in self.retained.iter().zip(self.settings.tiers.of(&kept)) {
            kept.version.wanted.set(tier);
        }
        let trials = self.attempts.iter().filter_map(|attempt| attempt.loaded.as_ref());
        for version in std::iter::once(&self.live).chain(trials) {
            version.wanted.set(Tier::Hot);
        }
        let (there, unsettled): (Vec<_>, Vec<_>) =
            self.loaded().into_iter().partition(|version| version.wanted.tier() == version.readiness().tier);
        // What is wanted of them by now they have: the next time that they lack it is told again.
        there.iter().for_each(|version| self.set_degraded((version.id, Lack::Tier), None, now));
        unsettled
    }

    /// The retained versions.
    pub(crate) fn retained_versions(&self) -> Vec<Arc<dyn AnyVersion>> {
        self.retained.iter().map(|kept| Arc::clone(&kept.version)).collect()
    }

    /// The version that a rollback goes to, where that has to be woken first.
    pub(crate) fn to_wake(&self, back: Back<'_>) -> Option<&Arc<dyn AnyVersion>> {
        let target = match back {
            Back::To(wanted) => self.retained.iter().find(|kept| kept.version.id == *wanted),
            // Candidates are taken off, and live stays.
            Back::Whatever if self.attempts.iter().any(Attempt::is_on_trial) => None,
            Back::Whatever | Back::BeforeLive => self.retained.iter().find(|kept| !kept.taken_back),
            Back::Watched(wanted) => {
                self.attempt(wanted).filter(|attempt| attempt.state.phase == Phase::Baking)?;
                let before = self.before_the_watched()?.id;
                self.retained.iter().find(|kept| kept.version.id == before)
            }
        };
        target.map(|kept| &kept.version).filter(|version| version.is_cold())
    }

    /// Begins to wake it: nobody lets it go cold until it is [`woken`](Known::woken).
    pub(crate) fn begin_waking(&mut self, back: Back<'_>) -> Option<Arc<dyn AnyVersion>> {
        let version = Arc::clone(self.to_wake(back)?);
        version.begin_waking();
        Some(version)
    }

    /// A retained version cannot be made to answer any more.
    pub(crate) fn lose(&mut self, version: &Known, reason: String, now: Timestamp) {
        let Some(place) = self.retained.iter().position(|kept| kept.version.id == version.id) else { return };
        let Some(Retained { version, since, taken_back }) = self.retained.remove(place) else { return };
        let (id, identity) = (version.id, version.identity);
        let lost = Unavailable { version: id, identity, since, taken_back, reason: reason.clone() };
        self.unavailable.insert(0, lost);
        self.unavailable.truncate(self.settings.retain.max(1));
        self.retired.push(version);
        self.announcer.announce(now, self.epoch, EventKind::Unavailable { version: id, reason });
    }

    /// Notes what a version answered in a drill; an event tells where it begins to fail, or to answer again.
    pub(crate) fn drilled(&mut self, version: &Known, drilled: DrillOutcome, now: Timestamp) {
        let failed = drilled.failure.is_some();
        let before = version.set_drilled(drilled.clone());
        if before.is_some_and(|before| before.failure.is_some()) != failed {
            let event = EventKind::Drilled { version: version.id, drilled };
            self.announcer.announce(now, self.epoch, event);
        }
    }

    /// Notes the tier that a version has reached; an event tells where it is another.
    pub(crate) fn settled(&mut self, version: &Known, tier: Tier, took: Duration, now: Timestamp) {
        if version.set_tier(tier) != tier {
            let event = EventKind::TierChanged { version: version.id, tier, took };
            self.announcer.announce(now, self.epoch, event);
        }
    }
}

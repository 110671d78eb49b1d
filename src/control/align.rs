//! The control side of a member becomes what its fleet has agreed on.

use std::sync::Arc;

use super::adopt::Start;
use super::attempt::Attempt;
use super::control::Control;
use super::decider::Course;
use super::desk::Desk;
use super::event::{Cause, EventKind};
use super::saved::{SavedAttempt, SavedControl, SavedVersion, owners};
use crate::base::clock::{Shift, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::request::buckets::Buckets;
use crate::rollout::phase::Phase;
use crate::version::loaded::AnyVersion;

/// The state that was agreed on, with what it takes to make it so here.
pub(crate) struct Agreed<'a> {
    /// On the time line of this process.
    pub(crate) saved: SavedControl,
    /// With all versions that are loaded here.
    pub(crate) start: Start<'a>,
    /// Under which head each attempt came to where it is.
    pub(crate) entered: OrderedMap<u32, u64>,
    /// The events that happened, and who did each.
    pub(crate) events: Vec<(Option<Arc<str>>, EventKind)>,
    /// Nothing was made true here yet.
    pub(crate) is_first: bool,
    /// Something is on trial, whether or not it is exposed here.
    pub(crate) is_trying: bool,
    /// The agreed live answers here once this is done, and what happened can be told.
    pub(crate) live_is_ready: bool,
}

impl Control {
    /// Becomes what was agreed on. Figures go on; live stays where the agreed one is not loaded here, or sleeps.
    pub(crate) fn align(&mut self, agreed: Agreed<'_>, desk: Desk<'_>) {
        let Agreed { saved, start, entered, events, is_first, is_trying, live_is_ready } = agreed;
        let now = desk.now;
        let before = Arc::clone(&self.live);
        if (before.id, before.identity) != (saved.live.version, saved.live.identity)
            && live_is_ready
            && let Some(live) = start.loaded.get(&saved.live.version)
        {
            self.remember(live, now);
            self.live = Arc::clone(live);
            self.live_since = saved.live_since;
        } else if is_first && live_is_ready {
            self.live_since = saved.live_since;
        }
        self.live_by = saved.live_by;
        let over = self.end_what_is_over(&saved, &events, now);
        let stands = |until: Option<Timestamp>| until.is_none_or(|until| until > now);
        self.quarantine = saved.quarantine.iter().filter(|(_, entry)| stands(entry.until)).cloned().collect();
        self.frozen.clone_from(&saved.frozen);
        self.ended_freezes.clear();
        self.tries = saved.tries.clone();
        self.next_attempt = self.next_attempt.max(saved.next_attempt);
        self.salt = saved.salt.as_bytes().into();
        let of = |text: &str| owners(text).and_then(|owners| Buckets::of(&owners));
        self.buckets = saved.owners.as_deref().and_then(of).unwrap_or_default();
        #[cfg(feature = "report")]
        let first = self.seat.as_mut().map_or(0, |seat| *seat.first.get_or_insert(saved.next_attempt));
        for attempt in &saved.attempts {
            self.align_attempt(attempt, &start, entered.get(&attempt.number).copied().unwrap_or(0), desk);
            // Whatever others have begun since this process is there it has seen from its beginning.
            #[cfg(feature = "report")]
            if attempt.number >= first
                && let Some(attempt) = self.attempt_mut(attempt.number)
            {
                attempt.course.went_on = false;
            }
        }
        let kept: Vec<Arc<dyn AnyVersion>> =
            self.retained.iter().map(|kept| Arc::clone(&kept.version)).collect();
        // As many as are agreed on, whatever is said here: any of them may be gone back to by all.
        self.retain_again(&saved, &start);
        for version in kept.iter().chain([&before]) {
            if !self.is_in_use(version.id) {
                self.announcer.announce(now, self.epoch, EventKind::Retired { version: version.id });
            }
        }
        self.retire_unused(kept.into_iter().chain([before]).chain(over));
        if let Some(seat) = &mut self.seat {
            let known = |attempt: &u32| saved.attempts.iter().any(|saved| saved.number == *attempt);
            seat.entered.retain(|attempt, _| known(attempt));
            (seat.is_trying, seat.stands_in) = (is_trying, !live_is_ready);
        }
        self.publish(desk, Vec::new());
        for (actor, event) in events.into_iter().filter(|_| live_is_ready) {
            self.announcer.actor = actor;
            self.announcer.announce(now, self.epoch, event);
        }
        self.announcer.actor = None;
    }

    /// Shows what guards have come to, wherever they were asked.
    pub(crate) fn show(&mut self, course: Course, shift: Shift) {
        for attempt in &mut self.attempts {
            let waits = course.waits.iter().find(|(number, _)| *number == attempt.number);
            attempt.waits_until = waits.map(|(_, until)| shift.of(*until));
        }
        for evidence in course.evidence {
            if let Some(attempt) = self.attempt_mut(evidence.number) {
                attempt.evidence = evidence.guards;
            }
        }
    }

    /// Their versions, which may be in use still.
    fn end_what_is_over(
        &mut self,
        saved: &SavedControl,
        events: &[(Option<Arc<str>>, EventKind)],
        now: Timestamp,
    ) -> Vec<Arc<dyn AnyVersion>> {
        let mut ended = Vec::new();
        let runs = |attempt: &Attempt| {
            let mut others = saved.attempts.iter();
            others.any(|other| (other.number, other.version.identity) == (attempt.number, attempt.identity))
        };
        let over: Vec<u32> =
            self.attempts.iter().filter(|attempt| !runs(attempt)).map(|attempt| attempt.number).collect();
        for number in over {
            let Some(attempt) = self.attempt(number) else { continue };
            let version = attempt.version;
            let known = SavedVersion { version, identity: attempt.identity };
            let cause: Option<Cause> = events.iter().find_map(|(_, event)| match event {
                EventKind::Aborted { version: of, cause }
                | EventKind::NoWayBack { version: of, cause }
                | EventKind::RolledBack { from: of, cause, .. }
                    if *of == version =>
                {
                    Some(cause.clone())
                }
                _ => None,
            });
            // Nobody has taken it back: another one was promoted while it was watched.
            let is_superseded = cause.is_none()
                && attempt.state.phase == Phase::Baking
                && saved.live != known
                && saved.retained.iter().any(|kept| kept.version == known && !kept.taken_back);
            let cause =
                cause.or_else(|| is_superseded.then_some(Cause::Superseded { by: saved.live.version }));
            let phase = match attempt.state.phase {
                _ if self.live.id == version || is_superseded => Phase::Promoted,
                Phase::Baking => Phase::RolledBack,
                _ => Phase::Aborted,
            };
            ended.extend(self.end(number, phase, cause, now));
        }
        ended
    }

    fn align_attempt(&mut self, saved: &SavedAttempt, start: &Start<'_>, entered: u64, desk: Desk<'_>) {
        let (number, now) = (saved.number, desk.now);
        if self.attempt(number).is_none() {
            let Some(version) = start.loaded.get(&saved.version.version) else { return };
            let shift = Shift::between(now, now);
            let restored = self.restored(saved.clone(), None, version, start, (shift, now));
            self.remember(version, now);
            self.attempts.push(restored);
        }
        if saved.state.phase == Phase::Baking
            && self.attempt(number).is_some_and(|attempt| attempt.state.phase != Phase::Baking)
        {
            self.watch_afresh(number);
        }
        let moved = match &mut self.seat {
            Some(seat) => {
                let (last, before) = seat.entered.get(&number).copied().unwrap_or((0, 0));
                let moved = last != entered;
                seat.entered.insert(number, if moved { (entered, last) } else { (last, before) });
                moved
            }
            None => false,
        };
        let Some(attempt) = self.attempt_mut(number) else { return };
        if moved {
            Arc::make_mut(&mut attempt.ledger).begin_era();
            attempt.waits_until = None;
        }
        let mut discarded = Vec::new();
        let rules: Vec<_> = saved.guards.iter().map(|guard| guard.rule.clone()).collect();
        if attempt.rules() != rules {
            discarded = std::mem::take(&mut attempt.guards);
            attempt.probes.clear();
            attempt.guard_again(&saved.guards, &start.setting);
        } else {
            let tests = attempt.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut());
            tests.zip(&saved.guards).for_each(|(test, saved)| test.restore(saved));
        }
        (attempt.bake, attempt.promised) = (saved.bake, saved.promised.clone());
        if attempt.probes.len() == saved.probes.len() {
            attempt.probes.clone_from(&saved.probes);
        }
        let turns = attempt.state != saved.state;
        attempt.plan.clone_from(&saved.plan);
        attempt.state = saved.state.clone();
        (attempt.held, attempt.previous, attempt.looked) = (saved.held, saved.previous, saved.looked);
        attempt.error_budget = saved.error_budget;
        attempt.wait_told = saved.wait_told;
        if turns {
            attempt.course.turn(now, &attempt.state);
        }
        self.discarded.extend(discarded.into_iter().map(|guarded| guarded.guard));
    }
}

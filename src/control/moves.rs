//! The moves of versions: exposure, promotion, taking off, going back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::attempt::Held;
use super::circuit::Circuit;
use super::control::{Control, LEASE_INTERVALS};
use super::desk::Desk;
use super::event::{Cause, EventKind};
use super::pins::PinPolicy;
#[cfg(feature = "state")]
use super::settings::Left;
use super::settings::{Quarantine, Retained};
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::base::text::list;
use crate::model::Tier;
use crate::rollout::course::{Point, Trial};
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::rollout::transition::{Move, State};
use crate::stats::evidence::ledger::Ledger;
use crate::stats::figures::divergence::Divergence;
use crate::stats::figures::rolling::Windows;
use crate::version::id::VersionId;
use crate::version::loaded::{AnyVersion, Known};

/// Ended rollouts whose outcome and figures are remembered.
const PAST_MAX: usize = 32;

/// Identities that are quarantined at one time; the one that has been for longest is let go of first.
const QUARANTINE_MAX: usize = 4_096;

/// The outcome of a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[must_use = "a rollback that found nothing to go back to changed nothing"]
pub enum RollbackOutcome {
    /// These candidates were taken off. Live is what it was.
    Aborted(Vec<VersionId>),
    /// Live is another version now.
    RolledBack {
        /// Live until then.
        from: VersionId,
        /// Live now.
        to: VersionId,
    },
    /// Nothing has changed: no candidate was exposed, and no version that was live before is retained.
    Nothing,
}

impl fmt::Display for RollbackOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(candidates) => {
                let verb = if candidates.len() == 1 { "was" } else { "were" };
                write!(f, "{} {verb} taken off, live is what it was", list(candidates, 0))
            }
            Self::RolledBack { from, to } => write!(f, "live was taken back from {from} to {to}"),
            Self::Nothing => {
                f.write_str("nothing has changed: there was nothing to take off or to go back to")
            }
        }
    }
}

impl Control {
    /// Does what the transition function says.
    pub(crate) fn carry_out(
        &mut self,
        number: u32,
        moved: Move,
        evidence: Vec<Evidence>,
        cause: Option<Cause>,
        desk: Desk<'_>,
    ) {
        match moved {
            Move::Stay => {}
            Move::Expose { phase, weight, sample, step } => {
                let event = self.change_exposure(number, phase, weight, sample, step, evidence, desk.now);
                self.publish(desk, event.into_iter().collect());
            }
            Move::Promote => self.promote(number, evidence, desk),
            Move::Lower => {
                let reason = String::from("no reason given");
                let _ = self.lower(number, cause.unwrap_or(Cause::Operator { reason }), desk);
            }
            Move::GiveUp => {
                if let Some(version) = self.attempt(number).map(|attempt| attempt.version) {
                    self.announcer.announce(
                        desk.now,
                        self.epoch,
                        EventKind::Inconclusive { version, evidence },
                    );
                }
                let _ = self.lower(number, Cause::Futility, desk);
            }
            Move::Pause => {
                if let Some(attempt) = self.attempt_mut(number) {
                    attempt.state.paused = true;
                    let version = attempt.version;
                    let reason = String::from("guards were inconclusive for longer than the plan allows");
                    self.announcer.announce(
                        desk.now,
                        self.epoch,
                        EventKind::Inconclusive { version, evidence },
                    );
                    self.announcer.announce(desk.now, self.epoch, EventKind::Paused { version, reason });
                }
            }
            Move::Finish => {
                if let Some(version) = self.end(number, Phase::Promoted, None, desk.now) {
                    let event = EventKind::WatchPassed { version: version.id };
                    self.publish(desk, vec![event]);
                }
            }
        }
    }

    /// Exposes a candidate as it was before the process ended without a word.
    pub(crate) fn expose_again(&mut self, number: u32, desk: Desk<'_>) {
        // It is held until it is exposed: its buckets are its own, and its users those that it had.
        let held = self.attempt(number).and_then(|attempt| Some((attempt.held?, attempt.state.step)));
        let Some((Held { phase, weight, sample }, step)) = held else { return };
        let again = Move::Expose { phase, weight, sample, step };
        self.carry_out(number, again, Vec::new(), None, desk);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a move")]
    pub(crate) fn change_exposure(
        &mut self,
        number: u32,
        phase: Phase,
        weight: Share,
        sample: Share,
        step: Option<usize>,
        evidence: Vec<Evidence>,
        now: Timestamp,
    ) -> Option<EventKind> {
        let attempt = self.attempt(number)?;
        let (slot, identity) = (attempt.slot, attempt.identity);
        let none_has_users = |attempt: &Attempt| {
            let counts_keys = attempt.keys.is_some() || attempt.pair_keys.is_some();
            attempt.state.weight == Share::NONE && attempt.held.is_none() && !counts_keys
        };
        if self.attempts.iter().all(none_has_users) {
            // By what all replicas have alike, which a count of rollouts is not. Nobody is on a canary, and nobody has counted whom it has
            // seen, which is by this too: this one may begin with other users than the last one did.
            self.salt = format!("{}/{identity}", self.settings.name).into_bytes().into();
        }
        self.begin_evidence(number);
        let weight = self.buckets.set(slot, weight);
        let span = self.settings.tick_interval * LEASE_INTERVALS;
        self.lease.renew(now, span);
        let before_step = self.progress(number);
        // Shares that follow the figures change all the time: what they show is one stretch, counted apart by share.
        let allocated =
            self.allocating.as_ref().is_some_and(|allocating| allocating.allotted(Some(number)).is_some());
        let attempt = self.attempt_mut(number)?;
        let from = attempt.state.phase;
        attempt.state = State {
            phase,
            weight,
            sample,
            step,
            entered: now,
            idle: Duration::ZERO,
            forgotten: Duration::ZERO,
            first_request: None,
            ..attempt.state
        };
        attempt.before_step = before_step;
        (attempt.carried, attempt.held, attempt.waits_until) = ((0, 0), None, None);
        if !allocated {
            Arc::make_mut(&mut attempt.ledger).begin_era();
            attempt.end_doubt();
        }
        let last =
            attempt.plan.as_ref().is_some_and(|plan| step.is_some_and(|step| step + 1 >= plan.steps().len()));
        let again = last && std::mem::replace(&mut attempt.looked, true);
        attempt.course.turn(now, &attempt.state);
        let version = attempt.version;
        self.refreeze(number, now);
        if again {
            self.look_again(number);
        }
        self.welcome_keys();
        Some(EventKind::PhaseChanged { version, from, to: phase, weight, sample, evidence })
    }

    fn promote(&mut self, number: u32, evidence: Vec<Evidence>, desk: Desk<'_>) {
        self.note(number, desk.now);
        let trial = self.trial(number, desk.now);
        let Some(attempt) = self.attempt(number) else { return };
        let Some(version) = attempt.loaded.clone() else { return };
        let (slot, mut bake) = (attempt.slot, attempt.bake);
        if !self.settings.shadowing {
            // Nothing can be copied for it, and where it is thought to be awake nobody listens to the detectors.
            bake.previous_as_shadow = Share::NONE;
        }
        if !bake.duration.is_zero() {
            // By what the version is that is live until now: the new one may have answered nobody yet.
            self.begin_evidence(number);
            self.budget_watch(number);
        }
        let previous = std::mem::replace(&mut self.live, version);
        self.live_since = desk.now;
        #[cfg(feature = "state")]
        {
            self.live_by = Some(number);
        }
        let (live, before) = (self.live.id, previous.id);
        self.retained.push_front(Retained { version: previous, since: desk.now, taken_back: false });
        self.buckets.set(slot, Share::NONE);
        let mut events = vec![EventKind::Promoted { version: live, previous: before, evidence }];
        events.extend(self.supersede_attempts(Some(number), live, desk.now));
        if bake.duration.is_zero() {
            if let Some(attempt) = self.attempt_mut(number) {
                attempt.previous = Some(before);
            }
            self.end(number, Phase::Promoted, None, desk.now);
        } else {
            if let Some(attempt) = self.attempt_mut(number) {
                attempt.begin_watch();
            }
            self.watch_afresh(number);
            if let Some(attempt) = self.attempt_mut(number) {
                attempt.state.sample = bake.previous_as_shadow;
                attempt.state.phase = Phase::Baking;
                attempt.state.entered = desk.now;
                attempt.state.idle = Duration::ZERO;
                attempt.state.watch = bake.duration;
                attempt.state.weight = Share::ALL;
                attempt.previous = Some(before);
                attempt.course.turn(desk.now, &attempt.state);
                attempt.course.promoted(trial);
                (attempt.carried, attempt.held, attempt.waits_until) = ((0, 0), None, None);
            }
        }
        self.publish(desk, events);
        self.trim_retained(desk.now);
    }

    /// The watch over a new live begins with fresh figures: what was exposed before is evidence in it no more, be it the
    /// candidate's or its control's, of which labels come yet.
    pub(super) fn watch_afresh(&mut self, number: u32) {
        for counter in &mut self.counters {
            counter.feeds.evidence.retain(|feed| feed.attempt != number);
        }
        for counter in self.counters.iter_mut().filter(|counter| counter.feeds.attempt == Some(number)) {
            counter.feeds.attempt = None;
            if let Some(exposure) = &counter.exposure {
                exposure.close();
            }
        }
        let candidate = self.new_arm();
        let control = self.settings.shadowing.then(|| self.new_arm());
        let maturity = self.settings.exposure.maturity;
        let Some(attempt) = self.attempt_mut(number) else { return };
        attempt.ledger = Arc::new(Ledger::new(maturity).after(attempt.ledger.era()));
        attempt.forget_what_was_judged();
        // What was wrong with the canary's traffic, or with live beside it, is over with it.
        (attempt.traffic_fault, attempt.keys_run_out, attempt.doubt) = (None, None, None);
        attempt.circuit = Circuit::default();
        attempt.pair_keys = None;
        attempt.before_step = (0, 0);
        attempt.divergence = Divergence::default();
        let trial = std::mem::replace(&mut attempt.candidate, candidate);
        let trial_control = control.map(|control| std::mem::replace(&mut attempt.control, control));
        self.arms.remove(&trial);
        if let Some(control) = trial_control {
            self.arms.remove(&control);
        }
    }

    /// Takes an attempt off, or live back where the attempt's version is live. Never refused.
    pub(crate) fn lower(&mut self, number: u32, cause: Cause, desk: Desk<'_>) -> RollbackOutcome {
        let Some(attempt) = self.attempt(number) else { return RollbackOutcome::Nothing };
        let version = attempt.version;
        if attempt.state.phase == Phase::Baking {
            return match self.before_the_watched().map(|version| version.id) {
                Some(to) => self.go_back(to, cause, desk),
                None => self.stay(number, cause, desk),
            };
        }
        let mut events = vec![EventKind::Aborted { version, cause: cause.clone() }];
        if let Some(version) = self.end(number, Phase::Aborted, Some(cause.clone()), desk.now) {
            events.extend(self.quarantine(&version, &cause, desk.now));
            self.retired.push(version);
        }
        self.publish(desk, events);
        RollbackOutcome::Aborted(vec![version])
    }

    /// A live that is watched is to be taken back, and there is nothing to go back to. Where it did harm that ends its watch: who
    /// judged it again would find the same harm again, and tell it with every tick.
    fn stay(&mut self, number: u32, cause: Cause, desk: Desk<'_>) -> RollbackOutcome {
        if is_harm(&cause) {
            let live = Arc::clone(&self.live);
            self.end(number, Phase::Promoted, Some(cause.clone()), desk.now);
            let quarantined = self.quarantine(&live, &cause, desk.now);
            let event = EventKind::NoWayBack { version: live.id, cause };
            self.publish(desk, std::iter::once(event).chain(quarantined).collect());
        }
        RollbackOutcome::Nothing
    }

    /// The version that a live which is watched is taken back to: the one before it or, where that is retained no more, an older one.
    pub(crate) fn before_the_watched(&self) -> Option<&Arc<dyn AnyVersion>> {
        let watched = self.attempts.iter().find(|attempt| attempt.state.phase == Phase::Baking)?;
        let previous = self.retained.iter().find(|kept| Some(kept.version.id) == watched.previous);
        previous.map(|kept| &kept.version).or_else(|| self.before_live())
    }

    /// Takes off every exposed candidate or, where there is none, takes live back to the version before it.
    pub(crate) fn lower_all(&mut self, cause: Cause, desk: Desk<'_>) -> RollbackOutcome {
        match self.abort_candidates(&cause, desk) {
            RollbackOutcome::Nothing => self.revert_live(cause, desk),
            aborted => aborted,
        }
    }

    /// Takes off every exposed candidate, and those that wait since a crash. Live stays what it is.
    pub(crate) fn abort_candidates(&mut self, cause: &Cause, desk: Desk<'_>) -> RollbackOutcome {
        let candidates = self.attempts.iter().filter(|attempt| attempt.is_on_trial());
        let exposed: Vec<u32> = candidates.map(|attempt| attempt.number).collect();
        let mut aborted = Vec::new();
        for number in exposed {
            if let RollbackOutcome::Aborted(versions) = self.lower(number, cause.clone(), desk) {
                aborted.extend(versions);
            }
        }
        if aborted.is_empty() { RollbackOutcome::Nothing } else { RollbackOutcome::Aborted(aborted) }
    }

    /// Takes live back to the version before it, whatever is on trial.
    pub(crate) fn revert_live(&mut self, cause: Cause, desk: Desk<'_>) -> RollbackOutcome {
        match self.before_live().map(|version| version.id) {
            Some(previous) => self.go_back(previous, cause, desk),
            None => RollbackOutcome::Nothing,
        }
    }

    /// The version that was live before and was not itself taken back.
    pub(crate) fn before_live(&self) -> Option<&Arc<dyn AnyVersion>> {
        self.retained.iter().find(|kept| !kept.taken_back).map(|kept| &kept.version)
    }

    /// Makes a retained version live. Candidates are taken off: what they were compared with is gone.
    pub(crate) fn go_back(&mut self, to: VersionId, cause: Cause, desk: Desk<'_>) -> RollbackOutcome {
        let Some(place) = self.retained.iter().position(|kept| kept.version.id == to) else {
            return RollbackOutcome::Nothing;
        };
        let Some(Retained { version, taken_back, .. }) = self.retained.remove(place) else {
            return RollbackOutcome::Nothing;
        };
        // Whoever is emptying it looks again before it does.
        version.wanted.set(Tier::Hot);
        // Whoever goes back leaves for good what came after: pressed again, a rollback goes further back and never
        // forward. Whoever returns to what was taken back goes forward, and leaves nothing.
        let goes_back = !taken_back;
        #[cfg(feature = "state")]
        let mut passed_over = Vec::new();
        if goes_back {
            for newer in self.retained.iter_mut().take(place) {
                newer.taken_back = true;
                #[cfg(feature = "state")]
                passed_over.push(newer.version.id);
            }
        }
        let former = std::mem::replace(&mut self.live, version);
        self.live_since = desk.now;
        let from = former.id;
        #[cfg(feature = "state")]
        {
            self.live_by = None;
        }
        #[cfg(feature = "state")]
        if let Some(standby) = &mut self.standby {
            // Between two versions it goes to and fro: the last word counts.
            passed_over.retain(|newer| !standby.has_taken_back(*newer));
            standby.left.retain(|left| left.version != to && left.version != from);
            let left = |version, taken_back| Left { version, cause: cause.clone(), taken_back };
            standby.left.extend(passed_over.into_iter().map(|newer| left(newer, true)));
            standby.left.push(left(from, goes_back));
            standby.went_to = Some(to);
        }
        let mut events = vec![EventKind::RolledBack { from, to, cause: cause.clone() }];
        let watched = self.attempts.iter().find(|attempt| attempt.state.phase == Phase::Baking);
        if let Some(number) = watched.map(|attempt| attempt.number) {
            self.end(number, Phase::RolledBack, Some(cause.clone()), desk.now);
        }
        events.extend(self.supersede_attempts(None, to, desk.now));
        let quarantined = self.quarantine(&former, &cause, desk.now);
        if quarantined.is_some() {
            self.retired.push(former);
        } else {
            self.retained.push_front(Retained { version: former, since: desk.now, taken_back: goes_back });
        }
        events.extend(quarantined);
        self.publish(desk, events);
        self.trim_retained(desk.now);
        RollbackOutcome::RolledBack { from, to }
    }

    /// Ends all attempts but one, because another version is live now.
    fn supersede_attempts(&mut self, except: Option<u32>, by: VersionId, now: Timestamp) -> Vec<EventKind> {
        let others: Vec<u32> = self
            .attempts
            .iter()
            .map(|attempt| attempt.number)
            .filter(|number| Some(*number) != except)
            .collect();
        let mut events = Vec::new();
        for number in others {
            let watched = self.attempt(number).is_some_and(|attempt| attempt.state.phase == Phase::Baking);
            let cause = Cause::Superseded { by };
            if watched {
                self.end(number, Phase::Promoted, Some(cause), now);
            } else if let Some(version) = self.end(number, Phase::Aborted, Some(cause.clone()), now) {
                events.push(EventKind::Aborted { version: version.id, cause });
                self.retired.push(version);
            }
        }
        events
    }

    /// Takes a point of an attempt's course, whether or not one is due: what is decided next rests on it.
    fn note(&mut self, number: u32, now: Timestamp) {
        if let Some(point) = self.point(number, now)
            && let Some(attempt) = self.attempt_mut(number)
        {
            attempt.course.add(point);
        }
    }

    /// Returns what an attempt looks like now.
    pub(crate) fn point(&self, number: u32, now: Timestamp) -> Option<Point> {
        let attempt = self.attempt(number)?;
        let total = |arm| self.arms.get(arm).map(Windows::total);
        let (candidate, control) = (total(&attempt.candidate)?, total(&attempt.control)?);
        Some(Point::of(now, &attempt.state, candidate, control, &attempt.evidence))
    }

    /// Returns what is known of a candidate that is about to be promoted.
    fn trial(&self, number: u32, now: Timestamp) -> Option<Trial> {
        let attempt = self.attempt(number)?;
        let (candidate, control) = (self.view(attempt.candidate, now)?, self.view(attempt.control, now)?);
        let (divergence, cohorts) = (attempt.divergence.figures(), attempt.ledger.cohorts(now));
        Some(Trial::of(now, &candidate, &control, divergence, attempt.evidence.clone(), cohorts))
    }

    /// Moves an attempt from those that run to those that are over. Its version, which it holds no longer.
    pub(super) fn end(
        &mut self,
        number: u32,
        phase: Phase,
        cause: Option<Cause>,
        now: Timestamp,
    ) -> Option<Arc<dyn AnyVersion>> {
        self.note(number, now);
        let place = self.attempts.iter().position(|attempt| attempt.number == number)?;
        let mut attempt = self.attempts.remove(place);
        self.buckets.set(attempt.slot, Share::NONE);
        let (version, guards) = attempt.end(phase, cause, self.live.id, now);
        self.discarded.extend(guards.into_iter().map(|guarded| guarded.guard));
        for counter in self.counters.iter().filter(|counter| counter.feeds.attempt == Some(number)) {
            if let Some(exposure) = &counter.exposure {
                exposure.close();
            }
        }
        self.past.push_back(attempt);
        while self.past.len() > PAST_MAX {
            if let Some(past) = self.past.pop_front() {
                self.arms.remove(&past.candidate);
                self.arms.remove(&past.control);
            }
        }
        version
    }

    /// An identity that did harm is not tried again by any plan.
    fn quarantine(&mut self, version: &Known, cause: &Cause, now: Timestamp) -> Option<EventKind> {
        if !is_harm(cause) {
            return None;
        }
        let (id, reason) = (version.id, cause.to_string());
        let until = self.settings.quarantine_for.map(|age| now.plus(age));
        let entry = Quarantine { version: id, reason: reason.clone(), since: now, until };
        self.quarantine.insert(version.identity, entry);
        // Under another name a plan or an allocation may be trying the same.
        let allocated = self.allocating.as_ref().map_or_else(Vec::new, |it| it.candidates().to_vec());
        let same = |attempt: &&mut Attempt| {
            let is_moved = attempt.plan.is_some() || allocated.contains(&attempt.number);
            let goes_on = is_moved && !attempt.state.paused && attempt.state.phase != Phase::Baking;
            goes_on && attempt.identity == version.identity
        };
        let mut paused = Vec::new();
        for attempt in self.attempts.iter_mut().filter(same) {
            attempt.state.paused = true;
            attempt.state.wait_anew();
            let reason = format!("it is the same model as {id}, which is quarantined");
            paused.push(EventKind::Paused { version: attempt.version, reason });
        }
        let epoch = self.epoch;
        paused.into_iter().for_each(|event| self.announcer.announce(now, epoch, event));
        while self.quarantine.len() > QUARANTINE_MAX {
            let oldest =
                self.quarantine.iter().min_by_key(|(_, entry)| entry.since).map(|(identity, _)| *identity);
            let Some(entry) = oldest.and_then(|identity| self.quarantine.remove(&identity)) else { break };
            let epoch = self.epoch;
            self.announcer.announce(now, epoch, EventKind::Released { version: entry.version });
        }
        Some(EventKind::Quarantined { version: id, reason })
    }

    /// Lets go of versions beyond the number or the age to which they are retained. The one before a live that is
    /// watched stays whatever its age.
    pub(crate) fn trim_retained(&mut self, now: Timestamp) {
        let needed: Vec<VersionId> = self.attempts.iter().filter_map(|attempt| attempt.previous).collect();
        let (retain, retain_for) = (self.settings.retain, self.settings.retain_for);
        let mut kept = 0;
        let mut let_go = Vec::new();
        self.retained.retain(|entry| {
            let old = retain_for.is_some_and(|age| now.since(entry.since) > age);
            let stays = needed.contains(&entry.version.id) || (kept < retain && !old);
            if stays {
                kept += 1;
            } else {
                let_go.push(Arc::clone(&entry.version));
            }
            stays
        });
        for version in let_go {
            self.announcer.announce(now, self.epoch, EventKind::Retired { version: version.id });
            self.retired.push(version);
        }
    }

    pub(crate) fn supersede_pins(&mut self) {
        if self.settings.pins == PinPolicy::Supersede {
            let exposed = |id: VersionId| {
                self.live.id == id
                    || self.attempts.iter().any(|a| a.version == id && a.state.phase == Phase::Canary)
            };
            for pin in &self.pins {
                pin.supersede_unless(&exposed);
            }
        }
    }
}

/// Whether a cause says that a version did harm.
fn is_harm(cause: &Cause) -> bool {
    match cause {
        Cause::Guard { .. }
        | Cause::Tripped { .. }
        | Cause::Overdue { .. }
        | Cause::ProcessesEnded { .. } => true,
        // One crash may have another reason.
        Cause::Crashed { ends } => *ends > 1,
        _ => false,
    }
}

//! The state that a fleet has agreed on, in the hands of whoever decides what comes next.
//!
//! It is a control side of its own, which no request knows: its table goes nowhere, and its versions are names. So a decision is
//! made by the same code, and by the same rules, as in a handle that is alone; what comes of it is put to the others before
//! it is true anywhere. Where they have agreed on something else meanwhile, it is dropped.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::adopt::{AfterCrash, Start};
use super::attempt::Attempt;
use super::control::{Control, end_freeze};
use super::desk::Desk;
use super::doubt::Doubt;
use super::event::{Cause, Event, EventKind};
use super::moves::RollbackOutcome;
use super::probe::Probe;
use super::saved::{SavedAttempt, SavedAttemptEvidence, SavedControl, SavedSetting};
use super::settings::Settings;
use super::tick::{Snapshot, Verdicts};
use crate::base::clock::{Shift, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::base::share::Share;
use crate::feedback::FeedbackRefusal;
use crate::feedback::id::SealKey;
use crate::feedback::join::{JoinLimits, Joins};
use crate::model::identity::Identity;
use crate::request::shadow::ShadowCounts;
use crate::request::table::{Router, Routing};
use crate::rollout::budget::ErrorBudgetStatus;
use crate::rollout::decision::Decision;
use crate::rollout::guard::design::TruthKind;
use crate::rollout::phase::Phase;
use crate::stats::evidence::ledger::{Counts, Ledger};
use crate::stats::figures::rolling::Windows;
use crate::stats::sequential::EValue;
use crate::task::outcome::Truth;
use crate::version::id::VersionId;
use crate::version::loaded::{AnyVersion, Named};

/// Something that is true everywhere as soon as it can be, whatever else is agreed on meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Demand {
    /// Who demands it, where that is told.
    pub(crate) by: Option<Arc<str>>,
    pub(crate) what: Demanded,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Demanded {
    /// An attempt is taken off, or live back where it is live and watched.
    Lower { attempt: u32, identity: Identity, cause: Cause },
    /// Live goes back, where it is this one still.
    GoBack { from: VersionId, to: VersionId, cause: Cause },
    /// Nothing is raised by itself from here on, where there is a reason, or is again. A freeze that stands goes where it is one of those
    /// that are ended: others may have frozen for another reason since.
    Freeze { reason: Option<String>, ends: Vec<String> },
    /// A plan stands still.
    Pause { attempt: u32, identity: Identity, reason: String },
    /// An identity may be tried again that is quarantined for this reason.
    Release { identity: Identity, reason: String },
}

impl Demand {
    /// Takes over of an earlier demand what is still to be done once this one is met.
    pub(crate) fn go_on_from(&mut self, earlier: &Self) {
        if let (Demanded::Freeze { reason, ends }, Demanded::Freeze { reason: began, ends: before }) =
            (&mut self.what, &earlier.what)
        {
            let own = std::mem::replace(ends, before.clone());
            // What was put and not answered may have begun, for a reason that never held here.
            let began = began.iter().filter(|_| reason.is_none()).cloned();
            own.into_iter().chain(began).for_each(|reason| end_freeze(ends, reason));
        }
    }

    /// Whether nothing else is left to do of an earlier demand once this one is met.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        match (&self.what, &earlier.what) {
            (Demanded::Freeze { .. }, Demanded::Freeze { .. }) => true,
            (
                Demanded::Lower { attempt, identity, .. },
                Demanded::Lower { attempt: of, identity: own, .. },
            )
            | (
                Demanded::Pause { attempt, identity, .. },
                Demanded::Pause { attempt: of, identity: own, .. },
            ) => (attempt, identity) == (of, own),
            (Demanded::GoBack { from, to, .. }, Demanded::GoBack { from: of, to: back, .. }) => {
                (from, to) == (of, back)
            }
            (Demanded::Release { identity, .. }, Demanded::Release { identity: of, .. }) => identity == of,
            _ => false,
        }
    }
}

impl Control {
    /// Returns what others have to do where what has happened here since this event is to be true everywhere.
    pub(crate) fn demands_since(&self, event: u64) -> Vec<Demand> {
        let attempt = |version: VersionId| {
            let number = self.last_attempt_of(version.as_str())?;
            Some((number, self.known_attempt(number)?.identity))
        };
        let demanded = |event: &EventKind| match event {
            EventKind::Aborted { version, cause } => {
                let (attempt, identity) = attempt(*version)?;
                Some(Demanded::Lower { attempt, identity, cause: cause.clone() })
            }
            EventKind::RolledBack { from, to, cause } => {
                Some(Demanded::GoBack { from: *from, to: *to, cause: cause.clone() })
            }
            EventKind::Paused { version, reason } => {
                let (attempt, identity) = attempt(*version)?;
                Some(Demanded::Pause { attempt, identity, reason: reason.clone() })
            }
            EventKind::Frozen { reason } => {
                Some(Demanded::Freeze { reason: Some(reason.clone()), ends: Vec::new() })
            }
            EventKind::Unfrozen => Some(Demanded::Freeze { reason: None, ends: self.ended_freezes.clone() }),
            _ => None,
        };
        let events = self.announcer.since(event);
        let demands = events
            .iter()
            .filter_map(|event| Some(Demand { by: event.actor.clone(), what: demanded(&event.kind)? }));
        demands.collect()
    }

    /// Does what all are to do that lowers exposure, as far as there is something to do here.
    pub(crate) fn lower_as_all(&mut self, demand: &Demand, desk: Desk<'_>) {
        match &demand.what {
            Demanded::Lower { attempt, identity, cause }
                if self.attempt(*attempt).is_some_and(|attempt| attempt.identity == *identity) =>
            {
                let _ = self.lower(*attempt, cause.clone(), desk);
            }
            Demanded::GoBack { from, to, cause } if self.live.id != *to => {
                let back = self.go_back(*to, cause.clone(), desk);
                if back == RollbackOutcome::Nothing && self.live.id == *from {
                    // It is not to be had here: one that is answers until it can be had.
                    let _ = self.revert_live(cause.clone(), desk);
                }
            }
            _ => {}
        }
    }
}

pub(crate) struct Decider {
    control: Control,
    joins: Joins,
    setting: SavedSetting,
    truth: TruthKind,
    /// The next event that was not taken yet.
    told: u64,
    /// Attempts of which it is counted anew what a step may take, from what is taken in next.
    anew: Vec<u32>,
    /// Outcomes that came of attempts since each came to where it is: as they come, as in a handle that is alone.
    outcomes: OrderedMap<u32, u64>,
}

/// What a candidate has been asked since it came to where it is.
fn asked(ledger: &Ledger) -> u64 {
    let fresh = ledger.fresh();
    let (requests, keys) = (fresh.requests.pooled().candidate, fresh.keys.pooled().candidate);
    [&fresh.alone, &requests, &keys].iter().map(|arm| arm.units.units).sum()
}

/// The state that guards have come to, beside what is agreed: in the hands of whoever judges next.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Course {
    pub(crate) attempts: Vec<SavedAttempt>,
    pub(crate) evidence: Vec<SavedAttemptEvidence>,
    /// Under which head each attempt came to where it was.
    pub(crate) entered: Vec<(u32, u64)>,
    /// Until when plans wait for their cycle and for nothing else.
    #[serde(default)]
    pub(crate) waits: Vec<(u32, Timestamp)>,
    /// What is or was doubted of attempts.
    #[serde(default)]
    pub(crate) doubts: Vec<(u32, Doubt)>,
    /// Outcomes that came of attempts since each came to where it is.
    #[serde(default)]
    pub(crate) outcomes: Vec<(u32, u64)>,
}

/// The consequences of a judgement.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) lower: Vec<(u32, Cause)>,
    /// More than what lowers has changed.
    pub(crate) raised: bool,
}

struct Nowhere;

impl Router for Nowhere {
    fn store(&self, _: Routing<dyn AnyVersion>) {}
}

impl Decider {
    /// Goes on from what is agreed. Versions are those that are brought or, where there are none, names.
    pub(crate) fn new(
        settings: Settings,
        setting: SavedSetting,
        saved: &SavedControl,
        brought: &[Arc<dyn AnyVersion>],
    ) -> Result<Self, FeedbackRefusal> {
        let now = saved.at;
        let retained = saved.retained.iter().map(|kept| kept.version);
        let on_trial = saved.attempts.iter().map(|attempt| attempt.version);
        let mut loaded: OrderedMap<VersionId, Arc<dyn AnyVersion>> = OrderedMap::new();
        for wanted in std::iter::once(saved.live).chain(retained).chain(on_trial) {
            let own = brought.iter().find(|own| (own.id, own.identity) == (wanted.version, wanted.identity));
            let version =
                own.cloned().unwrap_or_else(|| Arc::new(Named::new(wanted.version, wanted.identity)));
            loaded.insert(wanted.version, version);
        }
        let key = SealKey::new([0; 16]);
        let joins = Joins::new(
            0,
            key,
            setting.kind,
            Truth::Independent,
            settings.kpis.clone(),
            JoinLimits::default(),
            None,
        )?;
        let live = loaded
            .get(&saved.live.version)
            .cloned()
            .unwrap_or_else(|| Arc::new(Named::new(saved.live.version, saved.live.identity)));
        let mut control = Control::new(settings, live, now);
        let start = Start {
            setting: setting.setting(),
            after_crash: AfterCrash::default(),
            loaded,
            missing: OrderedMap::new(),
            torn_bytes: 0,
            // A fleet agrees on rules alone.
            can_judge: &|_, _| false,
        };
        control.take_over(saved, &start, now);
        // All that is agreed on can be gone back to, whatever this process would retain.
        control.retain_again(saved, &start);
        control.live_since = saved.live_since;
        for attempt in &saved.attempts {
            if let Some(version) = start.loaded.get(&attempt.version.version) {
                let shift = Shift::between(now, now);
                let restored = control.restored(attempt.clone(), None, version, &start, (shift, now));
                control.attempts.push(restored);
            }
        }
        let told = control.announcer.next();
        let truth = setting.truth;
        Ok(Self { control, joins, setting, truth, told, anew: Vec::new(), outcomes: OrderedMap::new() })
    }

    /// Decides something.
    pub(crate) fn change<T>(
        &mut self,
        now: Timestamp,
        change: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> T {
        change(&mut self.control, Desk { router: &Nowhere, joins: &self.joins, now, since: now })
    }

    /// Decides something, and says what others have to do so that it is true whatever else they agree on.
    pub(crate) fn demanded<T>(
        &mut self,
        now: Timestamp,
        change: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> (T, Vec<Demand>) {
        let event = self.control.announcer.next();
        let result = self.change(now, change);
        (result, self.control.demands_since(event))
    }

    /// Returns what is to be agreed on.
    pub(crate) fn saved(&self, now: Timestamp) -> SavedControl {
        let mut saved = self.control.saved((0, 0), false, Vec::new(), now);
        saved.setting = Some(self.setting.clone());
        saved
    }

    /// Returns what has happened since the last time.
    pub(crate) fn events(&mut self) -> Vec<Arc<Event>> {
        let events = self.control.announcer.since(self.told);
        self.told = self.control.announcer.next();
        events
    }

    /// Numbers decisions on from this one: whoever has judged before has those until then.
    pub(crate) fn number_on(&mut self, decided: u64) {
        self.control.decided = self.control.decided.max(decided);
    }

    /// Returns the records of the decisions that were made since the last time.
    pub(crate) fn take_decisions(&mut self) -> Vec<Arc<Decision>> {
        self.control.decisions.drain(..).collect()
    }

    /// Adopts what live takes here, where its latencies are fixed for those that what comes is held against.
    pub(crate) fn know_live(&mut self, (of, figures): (Identity, Windows)) {
        if let Some(arm) = self.control.lifetime(self.control.live.id)
            && self.control.live.identity == of
        {
            self.control.arms.insert(arm, figures);
        }
    }

    /// Whether latencies of live's are to be fixed of which too little was known.
    pub(crate) fn awaits_live(&self) -> bool {
        self.control
            .attempts
            .iter()
            .any(|attempt| attempt.state.phase != Phase::Baking && attempt.awaits_probes())
    }

    /// Does what is demanded, where there still is something to do.
    pub(crate) fn obey(&mut self, demand: &Demand, now: Timestamp) {
        self.control.announcer.actor.clone_from(&demand.by);
        self.change(now, |control, desk| match &demand.what {
            Demanded::Lower { attempt, identity, cause } => {
                if control.attempt(*attempt).is_some_and(|attempt| attempt.identity == *identity) {
                    let _ = control.lower(*attempt, cause.clone(), desk);
                } else if control.live_by == Some(*attempt) && control.live.identity == *identity {
                    // Others have promoted it before they knew.
                    let _ = match cause {
                        Cause::Superseded { by } => control.go_back(*by, cause.clone(), desk),
                        _ => control.revert_live(cause.clone(), desk),
                    };
                }
            }
            Demanded::GoBack { from, to, cause } => {
                if control.live.id == *from {
                    let _ = control.go_back(*to, cause.clone(), desk);
                }
            }
            Demanded::Freeze { reason, ends } => {
                let is_ended = control.frozen.as_ref().is_some_and(|standing| ends.contains(standing));
                if is_ended {
                    control.frozen = None;
                }
                let kind = match reason {
                    Some(reason) if control.frozen.is_none() => {
                        control.frozen = Some(reason.clone());
                        EventKind::Frozen { reason: reason.clone() }
                    }
                    None if is_ended => EventKind::Unfrozen,
                    _ => return,
                };
                control.begin_waiting_anew();
                control.announcer.announce(now, control.epoch, kind);
            }
            Demanded::Pause { attempt, identity, reason } => {
                let found = control.attempt_mut(*attempt).filter(|attempt| attempt.identity == *identity);
                if let Some(attempt) = found.filter(|attempt| !attempt.state.paused) {
                    attempt.state.paused = true;
                    attempt.state.wait_anew();
                    let event = EventKind::Paused { version: attempt.version, reason: reason.clone() };
                    control.announcer.announce(now, control.epoch, event);
                }
            }
            Demanded::Release { identity, reason } => {
                // A long one may have been cut short where it is agreed on.
                let is_it = |known: &str| known.starts_with(reason.as_str()) || reason.starts_with(known);
                let is_it = control.quarantine.get(identity).is_some_and(|entry| is_it(&entry.reason));
                if let Some(released) = is_it.then(|| control.quarantine.remove(identity)).flatten() {
                    let event = EventKind::Released { version: released.version };
                    control.announcer.announce(now, control.epoch, event);
                }
            }
        });
        self.control.announcer.actor = None;
    }

    /// What is to be told of a demand once it was obeyed, where nothing can come of it any more: what was to go answers, or another version than the
    /// one that was to be gone back to.
    pub(crate) fn lapsed(&self, demand: &Demand) -> Option<EventKind> {
        let live = &self.control.live;
        match &demand.what {
            Demanded::Lower { identity, cause, .. } if live.identity == *identity => {
                Some(EventKind::Lapsed { version: live.id, live: live.id, cause: cause.clone() })
            }
            Demanded::GoBack { from, to, cause } if live.id != *to => {
                Some(EventKind::Lapsed { version: *from, live: live.id, cause: cause.clone() })
            }
            _ => None,
        }
    }

    /// Goes on from what whoever judged before has come to. `entered` says under which head an attempt came to where it is.
    pub(crate) fn resume(&mut self, course: Course, entered: impl Fn(u32) -> u64) {
        let maturity = self.control.settings.exposure.maturity;
        let now = self.control.collected_at;
        let mut evidence: OrderedMap<u32, SavedAttemptEvidence> =
            course.evidence.into_iter().map(|evidence| (evidence.number, evidence)).collect();
        let doubts: OrderedMap<u32, Doubt> = course.doubts.into_iter().collect();
        let outcomes: OrderedMap<u32, u64> = course.outcomes.into_iter().collect();
        for before in course.attempts {
            let Some(attempt) = self.control.attempt_mut(before.number) else { continue };
            let watched = |phase: Phase| phase == Phase::Baking;
            if attempt.identity != before.version.identity
                || watched(attempt.state.phase) != watched(before.state.phase)
            {
                continue;
            }
            let Some(SavedAttemptEvidence { ledger, guards, progress, .. }) = evidence.remove(&before.number)
            else {
                continue;
            };
            let mut ledger = Ledger::restored(ledger, maturity, Shift::between(now, now));
            let stays = course.entered.contains(&(before.number, entered(before.number)));
            // Whoever judged has begun the evidence anew, as another try or with what live takes by now: what was counted before is none of it.
            let tries = |budget: &Option<ErrorBudgetStatus>| budget.as_ref().map(|budget| budget.try_number);
            let refrozen =
                |(own, before): (&Probe, &Probe)| before.frozen.is_some() && own.frozen != before.frozen;
            let begins_anew = attempt.state.forgotten != before.state.forgotten
                || tries(&attempt.error_budget) != tries(&before.error_budget)
                || attempt.probes.iter().zip(&before.probes).any(refrozen);
            if begins_anew && stays {
                ledger.begin_era();
            }
            // Evidence that has begun anew is not doubted, and the next doubt takes twice as long as this one.
            attempt.doubt = doubts.get(&before.number).copied();
            if begins_anew || !stays {
                attempt.end_doubt();
            }
            if stays {
                attempt.wait_told = before.wait_told;
                let waits = course.waits.iter().find(|(number, _)| *number == before.number);
                attempt.waits_until = waits.map(|(_, until)| *until);
            } else {
                ledger.begin_era();
            }
            let labels = outcomes.get(&before.number).copied().filter(|_| stays && !begins_anew).unwrap_or(0);
            self.outcomes.insert(before.number, labels);
            match stays {
                true if attempt.state.anew == before.state.anew => {
                    attempt.state.first_request = before.state.first_request;
                    attempt.before_step =
                        (asked(&ledger).saturating_sub(progress.0), labels.saturating_sub(progress.1));
                }
                true => self.anew.push(before.number),
                false => {}
            }
            attempt.ledger = Arc::new(ledger);
            attempt.evidence = guards;
            let tests = attempt.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut());
            for (test, before) in tests.zip(&before.guards).filter(|(test, before)| test.rule == before.rule)
            {
                let peak = test.peak.max(before.peak);
                if stays {
                    test.restore(before);
                }
                test.peak = peak;
            }
        }
    }

    /// Takes what all members have counted since the last time, and how many outcomes have come.
    pub(crate) fn absorb<'a>(
        &mut self,
        found: impl Iterator<Item = (u32, u64, &'a Counts, u64)>,
        entered: impl Fn(u32) -> u64,
        now: Timestamp,
    ) {
        for (number, era, counts, outcomes) in found {
            let since = entered(number);
            let Some(attempt) = self.control.attempt_mut(number) else { continue };
            let fresh = era >= since;
            // What came before it was live is no evidence for the watch over it.
            if fresh || attempt.state.phase != Phase::Baking {
                Arc::make_mut(&mut attempt.ledger).take_in(counts, fresh);
            }
            if fresh {
                let known = self.outcomes.entry(number).or_default();
                *known = known.saturating_add(outcomes);
            }
        }
        for attempt in &mut self.control.attempts {
            Arc::make_mut(&mut attempt.ledger).settle();
            let labels = self.outcomes.get(&attempt.number).copied().unwrap_or_default();
            let units = asked(&attempt.ledger);
            if self.anew.contains(&attempt.number) {
                // What this cut has brought was asked before, but for some seconds of it.
                attempt.before_step = (units, labels);
            }
            // Where the evidence has begun anew there are fewer.
            let before = (attempt.before_step.0.min(units), attempt.before_step.1.min(labels));
            attempt.before_step = before;
            attempt.carried = (units.saturating_sub(before.0), labels.saturating_sub(before.1));
            if attempt.carried.0 > 0 {
                attempt.state.first_request.get_or_insert(now);
            }
        }
        self.anew.clear();
    }

    /// Takes off an exposure until somebody lets it go on; whether there was one. A new live that is watched goes on being watched.
    pub(crate) fn hold(&mut self, number: u32, reason: String, now: Timestamp) -> bool {
        let control = &mut self.control;
        let on_trial = |attempt: &&mut Attempt| matches!(attempt.state.phase, Phase::Shadow | Phase::Canary);
        let Some(attempt) = control.attempt_mut(number).filter(on_trial) else { return false };
        attempt.hold(now);
        let version = attempt.version;
        control.announcer.announce(now, control.epoch, EventKind::Paused { version, reason });
        true
    }

    /// The new live that is watched, where one is: nobody answers in its place, so it cannot be held.
    pub(crate) fn watched(&self) -> Option<(u32, VersionId)> {
        let watched = self.control.attempts.iter().find(|attempt| attempt.state.phase == Phase::Baking)?;
        Some((watched.number, watched.version))
    }

    /// The evidence that the harm of an attempt must reach, of one of its tests.
    pub(crate) fn harm_threshold(&self, number: u32) -> EValue {
        let attempt = self.control.attempt(number);
        let watched = attempt.is_some_and(|attempt| attempt.state.phase == Phase::Baking);
        let divided = attempt
            .map(|attempt| attempt.error_budget.unwrap_or_else(|| self.control.error_budget_of(attempt, 0)));
        divided.map_or(EValue::against(0.0), |divided| divided.thresholds(watched).harm)
    }

    /// For whoever judges next.
    pub(crate) fn course(&self, entered: impl Fn(u32) -> u64) -> Course {
        let attempts = &self.control.attempts;
        Course {
            attempts: self.saved(Timestamp::default()).attempts,
            evidence: attempts.iter().map(|attempt| self.control.attempt_evidence(attempt)).collect(),
            entered: attempts.iter().map(|attempt| (attempt.number, entered(attempt.number))).collect(),
            waits: attempts
                .iter()
                .filter_map(|attempt| Some((attempt.number, attempt.waits_until?)))
                .collect(),
            doubts: attempts.iter().filter_map(|attempt| Some((attempt.number, attempt.doubt?))).collect(),
            outcomes: self.outcomes.iter().map(|(number, outcomes)| (*number, *outcomes)).collect(),
        }
    }

    /// Judges. Where something is to be lowered this one has gone ahead of what is agreed, and is of no use any more.
    pub(crate) fn judge(
        &mut self,
        shadow: ShadowCounts,
        obstacle: impl Fn(Identity) -> Option<String>,
        ask: impl Fn(&Snapshot) -> Verdicts,
        now: Timestamp,
    ) -> Judged {
        let truth = self.truth;
        let before = self.saved(Timestamp::default());
        let snapshots = self.change(now, |control, desk| {
            control.collected_at = now;
            control.see_copies(shadow);
            control.refit(desk);
            for attempt in &mut control.attempts {
                // What was found a moment ago stands only while the candidate is on trial.
                let on_trial = matches!(attempt.state.phase, Phase::Shadow | Phase::Canary);
                let found = attempt.traffic_fault.take().filter(|_| on_trial);
                attempt.traffic_fault = obstacle(attempt.identity).or(found);
            }
            control.snapshots(shadow, truth, now)
        });
        let mut judged = Judged::default();
        for snapshot in &snapshots {
            let verdicts = ask(snapshot);
            let number = snapshot.attempt;
            let version = self.control.attempt(number).map(|attempt| attempt.version);
            if verdicts.raises()
                && self.control.attempt(number).is_some_and(|a| obstacle(a.identity).is_some())
            {
                continue;
            }
            let from = self.control.announcer.next();
            self.change(now, |control, desk| control.apply(snapshot, verdicts, desk));
            for event in self.control.announcer.since(from) {
                match &event.kind {
                    EventKind::Aborted { version: of, cause }
                    | EventKind::RolledBack { from: of, cause, .. }
                        if Some(*of) == version =>
                    {
                        judged.lower.push((number, cause.clone()));
                    }
                    _ => {}
                }
            }
        }
        judged.raised = !is_agreed(&before, &self.saved(Timestamp::default()));
        judged
    }
}

/// Whether two states say the same but for what each judgement moves.
pub(crate) fn is_agreed(one: &SavedControl, other: &SavedControl) -> bool {
    let still = |saved: &SavedControl| {
        let mut saved = saved.clone();
        (saved.at, saved.epoch, saved.next_event, saved.decided) = Default::default();
        for attempt in &mut saved.attempts {
            (attempt.state.first_request, attempt.wait_told) = (None, None);
            for guard in &mut attempt.guards {
                (guard.peak, guard.watch) = (EValue::ZERO, None);
            }
        }
        saved
    };
    still(one) == still(other)
}

/// Who has a candidate's share in a state from which that is taken: live.
pub(crate) fn withheld(saved: &mut SavedControl, number: u32) {
    let Some(attempt) = saved.attempts.iter_mut().find(|attempt| attempt.number == number) else { return };
    if attempt.state.phase == Phase::Baking {
        return;
    }
    let state = &mut attempt.state;
    (state.phase, state.weight, state.sample) = (Phase::Staged, Share::NONE, Share::NONE);
}

/// Returns what live takes of late and at all, as far as is known here, and which identity it is.
pub(crate) fn figures_of_live(control: &Control) -> Option<(Identity, Windows)> {
    let arm = control.arms.get(&control.lifetime(control.live.id)?)?;
    Some((control.live.identity, arm.clone()))
}

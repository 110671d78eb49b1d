//! Going on from what an earlier life of the handle has written down.
//!
//! In doubt the lower exposure wins: what was about to be raised is not, what was exposed when the process ended without a
//! word waits for a person, and what was so more than once is taken off for good. What goes on does so once it is on disk that
//! this life has begun, and waits for a person where that cannot be written.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{Answered, Attempt, Held, Said, SeenBefore};
use super::circuit::Circuit;
use super::control::{Control, LEASE_INTERVALS};
use super::counter::{Counter, Feeds};
use super::desk::Desk;
use super::event::{Cause, EventKind};
use super::saved::{
    Arm, SavedAttempt, SavedAttemptEvidence, SavedControl, SavedEvidence, SavedExposure, SavedGuard,
    SavedRetained, SavedVersion, owners,
};
use super::settings::{Left, Retained, Unavailable};
use super::table::PAIRS;
use super::traffic::TrafficSeen;
use crate::base::clock::{Shift, Timestamp};
use crate::base::ordered::{OrderedMap, OrderedSet};
use crate::base::packed::Packed;
use crate::base::share::Share;
use crate::base::text::{bounded_text, list};
use crate::feedback::join::Joins;
use crate::feedback::saved::Earlier;
use crate::model::identity::Identity;
use crate::request::buckets::Buckets;
use crate::request::shadow::ShadowCounts;
use crate::rollout::course::Course;
use crate::rollout::guard::design::Setting;
use crate::rollout::guard::stated::Stated;
use crate::rollout::phase::Phase;
use crate::stats::counting::intake::Intake;
use crate::stats::counting::keys::Keys;
use crate::stats::evidence::ledger::{FAILURES, Ledger};
use crate::stats::figures::divergence::Divergence;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;

/// Says what becomes of a rollout whose candidate was on trial when the process crashed or was killed.
/// The second such end of one identity quarantines it, whatever this says: a model may take its process with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AfterCrash {
    /// Live answers alone and the rollout is paused; [`resume`](crate::Rollout::resume) gives it back its exposure, with
    /// the evidence that it had.
    #[default]
    Pause,
    /// It goes on at once.
    Resume,
    /// It is taken off.
    RollBack,
}

/// So often may the process end without a word while one identity is exposed.
const CRASHES_MAX: u32 = 2;

/// The circuit of what goes on is open until then: until it is on disk that this life has begun.
const UNTIL_WRITTEN: Timestamp = Timestamp::from_unix_nanos(u64::MAX);

/// Clocks that differ by less need not be told of: they are set by so much all the time.
const CLOCK_MOVED: Duration = Duration::from_secs(1);

/// The material that a start goes on with, beside what was written down.
pub(crate) struct Start<'a> {
    pub(crate) setting: Setting<'a>,
    pub(crate) after_crash: AfterCrash,
    /// Versions that could be loaded, by name.
    pub(crate) loaded: OrderedMap<VersionId, Arc<dyn AnyVersion>>,
    /// Why others could not.
    pub(crate) missing: OrderedMap<VersionId, String>,
    /// Bytes that were cut off the end of the journal.
    pub(crate) torn_bytes: u64,
    /// Whether a guard that is no rule can judge two versions here, live and another.
    pub(crate) can_judge: &'a dyn Fn([VersionId; 2], &Stated) -> bool,
}

impl Control {
    /// Goes on from what was written down, with the live that the control side has been given: the one that was live or,
    /// where that is not to be had, another. What was exposed waits for [`begin_exposing`](Self::begin_exposing).
    pub(crate) fn adopt(
        &mut self,
        saved: SavedControl,
        evidence: SavedEvidence,
        start: &Start<'_>,
        desk: Desk<'_>,
    ) {
        // What was saved last there is the latest that is known there: no moment of it lies ahead of this life.
        let (stood, shift) = (saved.at, Shift::between(saved.at, desk.now));
        // What was published after somebody had looked there nobody has seen, though that process ran on.
        self.followed = saved.followed;
        self.stood = Some(saved.followed.map_or(stood, |followed| followed.min(stood)));
        let saved = saved.moved(shift);
        let exposed = if saved.ended { Vec::new() } else { saved.exposed() };
        let said = self.standby.take().unwrap_or_default();
        let frozen = self.frozen.take().filter(|reason| said.frozen.as_ref() != Some(reason));
        self.take_over(&saved, start, desk.now);
        self.decisions.clear();
        evidence.decisions.into_iter().for_each(|decision| self.keep_decision(Arc::new(decision)));
        // A freeze that was said here stands, and goes before one that was said there.
        self.frozen = frozen.or(self.frozen.take());
        let SavedVersion { version, identity } = saved.live;
        let live_stands = (self.live.id, self.live.identity) == (version, identity);
        if live_stands {
            self.live_since = saved.live_since;
        }
        self.retain_again(&saved, start);
        for kept in self.retained.iter_mut().filter(|kept| said.has_taken_back(kept.version.id)) {
            kept.taken_back = true;
        }
        let mut events = vec![EventKind::Started {
            live: self.live.id,
            rollouts: saved.attempts.iter().map(|attempt| attempt.version.version).collect(),
            crashed: !saved.ended,
            torn_bytes: start.torn_bytes,
        }];
        if shift.size() >= CLOCK_MOVED {
            events.push(EventKind::ClockMoved { stood, stands: desk.now });
        }
        let reason = |version| start.missing.get(&version).cloned().unwrap_or_default();
        if !live_stands {
            let reason = reason(version);
            events.push(EventKind::LiveReplaced { from: version, to: self.live.id, reason: reason.clone() });
            // Under its name there may be other bytes by now, which are live; a state of an earlier release may have it twice.
            self.unavailable.retain(|lost| lost.version != version);
            if !self.is_in_use(version) {
                let since = desk.now;
                self.unavailable.push(Unavailable { version, identity, since, taken_back: true, reason });
            }
        }
        // As many as are retained, the last ones: what is gone for good must not be asked for for ever.
        self.unavailable.sort_by_key(|entry| Reverse(entry.since));
        self.unavailable.truncate(self.settings.retain.max(1));
        for entry in &self.unavailable {
            let (version, reason) = (entry.version, entry.reason.clone());
            events.push(EventKind::Unavailable { version, reason });
        }
        let mut seen: OrderedMap<_, _> =
            evidence.attempts.into_iter().map(|attempt| (attempt.number, attempt)).collect();
        for attempt in saved.attempts {
            let (number, slot, version) = (attempt.number, attempt.slot, attempt.version.version);
            match start.loaded.get(&version) {
                Some(loaded) if live_stands => {
                    let restored =
                        self.restored(attempt, seen.remove(&number), loaded, start, (shift, desk.now));
                    self.remember(loaded, desk.now);
                    self.attempts.push(restored);
                }
                // Its candidate is gone, or what it was compared with.
                lost => {
                    self.buckets.set(slot, Share::NONE);
                    let cause = match lost {
                        None => Cause::Missing { reason: reason(version) },
                        Some(_) => Cause::Superseded { by: self.live.id },
                    };
                    if version != self.live.id {
                        events.push(EventKind::Aborted { version, cause });
                    }
                }
            }
        }
        // While no process ran, nobody was watched.
        let away = desk.now.since(saved.at);
        if !away.is_zero() {
            self.attempts.iter_mut().for_each(|attempt| attempt.state.leave_out(away));
        }
        let candidates: Vec<VersionId> =
            saved.allocated.iter().filter_map(|number| Some(self.attempt(*number)?.version)).collect();
        if !candidates.is_empty() {
            events.push(EventKind::AllocationEnded { candidates });
        }
        let place_now = |place: usize| match &saved.setting {
            Some(before) => before.place_now(place, &start.setting),
            None => Some(place),
        };
        self.welcome_outcomes(
            &evidence.exposures,
            (saved.at, shift, false),
            evidence.joins.figures_at(place_now),
            desk.joins,
            desk.now,
        );
        let epoch = self.epoch;
        events.into_iter().for_each(|event| self.announcer.announce(desk.now, epoch, event));
        // Of one identity that was exposed under two names it was one end.
        let identities = exposed.iter().filter_map(|number| Some(self.attempt(*number)?.identity));
        let ended: OrderedMap<Identity, ()> = identities.map(|identity| (identity, ())).collect();
        for (identity, ()) in &ended {
            *self.crashes.entry(*identity).or_insert(0) += 1;
        }
        // Once it is known which of them a watched live may go back to.
        self.trim_retained(desk.now);
        let after_crash =
            exposed.into_iter().filter_map(|number| self.crashed(number, start.after_crash, desk.now));
        let lowered: Vec<(u32, Cause)> = after_crash.collect();
        let span = self.settings.tick_interval * LEASE_INTERVALS;
        self.lease.renew(desk.now, span);
        // Before the first table, or the first one to be taken off would expose the next once more.
        for (number, _) in &lowered {
            if let Some(attempt) = self.attempt_mut(*number) {
                attempt.hold(desk.now);
            }
        }
        for attempt in &mut self.attempts {
            if matches!(attempt.state.phase, Phase::Shadow | Phase::Canary) {
                attempt.circuit.open_until = Some(UNTIL_WRITTEN);
            }
        }
        for (number, cause) in lowered {
            let _ = self.lower(number, cause, desk);
        }
        if saved.setting.as_ref().is_some_and(|before| before.counts_otherwise(&start.setting)) {
            self.begin_all_anew(desk);
        }
        // What an operator has taken back here while another process had the state is not brought back by it.
        let left = said.left.into_iter().find(|left| left.version == self.live.id);
        let is_there = |to: &VersionId| self.retained.iter().any(|kept| kept.version.id == *to);
        let to = said.went_to.filter(is_there).or_else(|| Some(self.before_live()?.id));
        if let (Some(Left { cause, .. }), Some(to)) = (left, to) {
            let _ = self.go_back(to, cause, desk);
        }
        self.publish(desk, Vec::new());
    }

    /// Gives back what waits since [`adopt`](Self::adopt) its exposure, or holds it where it could not be written down that this
    /// life has begun: would it end with that, no start would know. Whether anything waited.
    pub(crate) fn begin_exposing(&mut self, is_written: bool, desk: Desk<'_>) -> bool {
        let mut events = Vec::new();
        let waits = |attempt: &&mut Attempt| attempt.circuit.open_until == Some(UNTIL_WRITTEN);
        let waiting: Vec<&mut Attempt> = self.attempts.iter_mut().filter(waits).collect();
        let any = !waiting.is_empty();
        for attempt in waiting {
            attempt.circuit.open_until = None;
            if !is_written {
                attempt.hold(desk.now);
                let reason = String::from("it could not be written down that this process goes on with it");
                events.push(EventKind::Paused { version: attempt.version, reason });
            }
        }
        if any {
            self.publish(desk, events);
        }
        any
    }

    pub(super) fn take_over(&mut self, saved: &SavedControl, start: &Start<'_>, now: Timestamp) {
        self.epoch = self.epoch.max(saved.epoch);
        self.announcer.go_on(saved.next_event);
        self.frozen.clone_from(&saved.frozen);
        let stands = |until: Option<Timestamp>| until.is_none_or(|until| until > now);
        self.quarantine = saved.quarantine.iter().filter(|(_, entry)| stands(entry.until)).cloned().collect();
        self.live_by = saved.live_by;
        self.tries = saved.tries.clone();
        let overlapping = saved
            .attempts
            .iter()
            .filter_map(|attempt| attempt.error_budget)
            .map(|error_budget| error_budget.candidates);
        self.overlapping = overlapping.max().unwrap_or(0).max(saved.overlapping);
        // An end with a word shows that it does not happen each time.
        self.crashes = if saved.ended { OrderedMap::new() } else { saved.crashes.clone() };
        let on_trial = |identity| saved.attempts.iter().any(|attempt| attempt.version.identity == identity);
        self.crashes.retain(|identity, _| on_trial(*identity));
        (self.decided, self.keyed) = (saved.decided, saved.keyed);
        self.next_attempt = self.next_attempt.max(saved.next_attempt);
        self.salt = saved.salt.as_bytes().into();
        self.settings.seed = saved.seed;
        self.buckets = saved
            .owners
            .as_deref()
            .and_then(owners)
            .and_then(|owners| Buckets::of(&owners))
            .unwrap_or_default();
        start.loaded.values().for_each(|version| self.remember(version, now));
        for SavedVersion { version, identity } in &saved.answered {
            if let Some(record) = self.records.get_mut(version).filter(|record| record.identity == *identity)
            {
                record.has_answered = true;
            }
        }
    }

    pub(super) fn retain_again(&mut self, saved: &SavedControl, start: &Start<'_>) {
        (self.retained, self.unavailable) = Default::default();
        // An earlier release has written names twice, and those of candidates.
        let on_trial = saved.attempts.iter().map(|attempt| attempt.version.version);
        let mut names: OrderedSet<VersionId> = on_trial.chain([self.live.id]).collect();
        for kept in saved.retained.iter().filter(|kept| names.insert(kept.version.version)) {
            let (version, identity) = (kept.version.version, kept.version.identity);
            match start.loaded.get(&version) {
                Some(loaded) => {
                    self.retained.push_back(Retained {
                        version: Arc::clone(loaded),
                        since: kept.since,
                        taken_back: kept.taken_back,
                    });
                }
                None => {
                    let reason = start.missing.get(&version).cloned().unwrap_or_default();
                    let SavedRetained { since, taken_back, .. } = *kept;
                    self.unavailable.push(Unavailable { version, identity, since, taken_back, reason });
                }
            }
        }
    }

    pub(super) fn restored(
        &mut self,
        saved: SavedAttempt,
        seen: Option<SavedAttemptEvidence>,
        version: &Arc<dyn AnyVersion>,
        start: &Start<'_>,
        (shift, now): (Shift, Timestamp),
    ) -> Attempt {
        let (candidate, control) = (self.new_arm(), self.new_arm());
        let maturity = self.settings.exposure.maturity;
        let (ledger, seen_keys, carried) = match seen {
            Some(SavedAttemptEvidence { ledger, keys, pair_keys, progress, .. }) => {
                (Ledger::restored(ledger, maturity, shift), (keys, pair_keys), progress)
            }
            None => (Ledger::new(maturity), (None, None), (0, 0)),
        };
        if let Some(table) = &self.settings.segments {
            // Before an outcome of theirs comes: ids know segments by a hash alone.
            ledger.blocks().total().segments.iter().for_each(|(segment, _)| {
                table.segment(segment);
            });
        }
        let failed = ledger.blocks().total().of_kind(FAILURES);
        let seen_before = SeenBefore { live: failed.all_of_live(), asked: failed.candidate().units };
        let seed = self.settings.seed ^ u64::from(saved.number);
        // As they were mixed when they counted, or none would be known again.
        let restored_keys =
            |keys: Packed, salt: u64| Arc::new(Keys::restored(seed ^ salt, keys.0.iter().copied()));
        // What was seen before is evidence still; how it came about over time is not written down.
        let course = Course::new(now, self.announcer.next(), true, &saved.state);
        let mut attempt = Attempt {
            number: saved.number,
            slot: saved.slot,
            version: version.id,
            identity: version.identity,
            loaded: Some(Arc::clone(version)),
            guards: Vec::new(),
            missing: saved.hosts,
            refused: Vec::new(),
            looks: saved.looks,
            plan: saved.plan,
            for_plan: saved.for_plan,
            bake: saved.bake,
            state: saved.state,
            candidate,
            control,
            divergence: Divergence::default(),
            evidence: Vec::new(),
            previous: saved.previous,
            looked: saved.looked,
            circuit: Circuit { tripped: saved.tripped, ..Circuit::default() },
            before_step: (0, 0),
            carried,
            waits_until: None,
            wait_told: saved.wait_told,
            held: saved.held,
            shadow_before: ShadowCounts::default(),
            copies_before: (ledger.era(), ShadowCounts::default()),
            ledger: Arc::new(ledger),
            probes: Vec::new(),
            keys: seen_keys.0.map(|keys| restored_keys(keys, 0)),
            pair_keys: seen_keys.1.map(|keys| restored_keys(keys, PAIRS)),
            traffic: TrafficSeen::default(),
            traffic_fault: None,
            keys_run_out: None,
            live_before: saved.live_before,
            seen_before,
            room_told: None,
            doubt: None,
            error_budget: saved.error_budget,
            promised: saved.promised,
            answered: Answered::default(),
            course,
            ended: None,
        };
        let lost = attempt.guard_again(&saved.guards, &start.setting);
        attempt.missing.extend(lost);
        attempt.state_again(saved.stated, self.live.id, start);
        if attempt.state.phase == Phase::Baking {
            attempt.judge_alone();
        }
        if attempt.probes.len() == saved.probes.len() {
            attempt.probes = saved.probes;
        }
        if !attempt.missing.is_empty() {
            // A guard that nobody asks protects nobody, and one that was paused may be resumed.
            attempt.hold(now);
            let names = list(&attempt.missing, 0);
            let reason = bounded_text(format!(
                "these of its guards are not here: {names}; add them again, then resume"
            ));
            let event = EventKind::Paused { version: version.id, reason };
            self.announcer.announce(now, self.epoch, event);
        }
        if !self.settings.shadowing && attempt.needs_shadowing() {
            attempt.hold(now);
            let reason = String::from(
                "it is to shadow, and this handle does not: add `.shadowing(Shadowing::new())` at build, or run a plan `.without_shadow()`",
            );
            let event = EventKind::Paused { version: version.id, reason };
            self.announcer.announce(now, self.epoch, event);
        }
        attempt
    }

    /// Begins the evidence of every attempt anew: what was counted is counted in another way now.
    fn begin_all_anew(&mut self, desk: Desk<'_>) {
        let numbers: Vec<u32> = self.attempts.iter().map(|attempt| attempt.number).collect();
        for number in numbers {
            let Some(attempt) = self.attempt_mut(number) else { continue };
            for test in attempt.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut()) {
                test.watch = None;
            }
            self.begin_anew(
                number,
                "its task, its labels or its business figures are declared otherwise",
                desk,
            );
        }
    }

    /// Goes on to join outcomes to predictions that were made before, by a life that was saved then; whether what it predicted after
    /// that was counted nowhere.
    pub(super) fn welcome_outcomes(
        &mut self,
        exposures: &[SavedExposure],
        (saved_at, shift, counts_until_retired): (Timestamp, Shift, bool),
        saved: crate::feedback::saved::SavedJoins,
        joins: &Joins,
        now: Timestamp,
    ) {
        let mut earlier = OrderedMap::new();
        let mut counters = Vec::new();
        for exposure in exposures {
            let number = self.next_exposure;
            self.next_exposure += 1;
            let options = self.settings.exposure;
            let intake = Arc::new(Intake::new(options.kind, options.kpis, options.maturity));
            let arms = exposure.arms.iter().filter_map(|arm| match *arm {
                Arm::Lifetime(version) => self.lifetime(version),
                Arm::Candidate(attempt) => self.attempt(attempt).map(|attempt| attempt.candidate),
                Arm::Control(attempt) => self.attempt(attempt).map(|attempt| attempt.control),
            });
            let feeds = Feeds {
                arms: arms.collect(),
                attempt: exposure.attempt,
                evidence: exposure.evidence.clone(),
                ..Feeds::default()
            };
            let retired = exposure.retired.map_or(saved_at, |retired| shift.of(retired));
            counters.push(Counter {
                number,
                exposure: None,
                intake: Arc::clone(&intake),
                feeds,
                current: false,
                retired: Some(retired),
                bits_seen: 0,
            });
            let origin = exposure.origin;
            earlier
                .insert(exposure.number, Earlier { origin, number, intake, retired, counts_until_retired });
        }
        // Oldest first, over any number of lives: so they are written down, and so they are numbered again.
        counters.append(&mut self.counters);
        self.counters = counters;
        joins.restore(saved, &earlier, shift, now);
    }

    /// Decides what follows for a rollout that was exposed when the process ended without a word, by how often it has. The cause, where it
    /// is taken off.
    fn crashed(&mut self, number: u32, policy: AfterCrash, now: Timestamp) -> Option<(u32, Cause)> {
        let ends = self.crashes.get(&self.attempt(number)?.identity).copied().unwrap_or_default();
        let attempt = self.attempt_mut(number)?;
        if ends >= CRASHES_MAX || policy == AfterCrash::RollBack {
            return Some((number, Cause::Crashed { ends }));
        }
        // A new live that is watched goes on being watched: taking it back is raising the exposure of another.
        if policy == AfterCrash::Pause && attempt.state.phase != Phase::Baking {
            attempt.hold(now);
            let version = attempt.version;
            let reason = String::from("the process crashed while this version was on trial");
            self.announcer.announce(now, self.epoch, EventKind::Paused { version, reason });
        }
        None
    }
}

impl Attempt {
    /// Adds the guards that were written down, each where it stood. The names of those that cannot be had here.
    pub(super) fn guard_again(&mut self, guards: &[SavedGuard], setting: &Setting<'_>) -> Vec<String> {
        let mut lost = Vec::new();
        for guard in guards {
            let said = Said::Stated(Stated::Rule(guard.rule.clone()));
            match self.add_guard(Arc::new(guard.rule.clone()), said, setting) {
                Ok(_) => {
                    let tests = self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut());
                    tests.filter(|test| test.rule == guard.rule).for_each(|test| test.restore(guard));
                }
                Err(_) => lost.push(guard.rule.to_string()),
            }
        }
        lost
    }

    /// Adds the guards that were written down as sentences. Those that cannot judge here are missing.
    fn state_again(&mut self, sentences: Vec<String>, live: VersionId, start: &Start<'_>) {
        let versions = [live, self.version];
        for sentence in sentences {
            let stated = sentence.parse::<Stated>().ok();
            match stated.filter(|stated| (start.can_judge)(versions, stated)) {
                Some(stated) => {
                    let guard = Arc::new(stated.clone());
                    let _ = self.add_guard(guard, Said::Stated(stated), &start.setting);
                }
                None => self.missing.push(sentence),
            }
        }
    }

    /// Takes off its exposure until somebody resumes it; its buckets, and so its users, stay its own. Live that is watched
    /// stays live, and is only paused.
    pub(super) fn hold(&mut self, now: Timestamp) {
        let state = &mut self.state;
        state.paused = true;
        if matches!(state.phase, Phase::Shadow | Phase::Canary) {
            self.held = Some(Held { phase: state.phase, weight: state.weight, sample: state.sample });
            (state.phase, state.weight, state.sample) = (Phase::Staged, Share::NONE, Share::NONE);
            state.wait_anew();
        }
        self.course.turn(now, &self.state);
    }
}

//! The state of the control side and what changes it. Everything here runs under the control lock, and nothing of the
//! host's does: no model, no guard, no subscriber.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Answered, Attempt};
use super::circuit::{Circuit, LiveLately};
use super::counter::Counter;
use super::desk::Desk;
use super::event::{Announcer, EventKind};
use super::loads::Loading;
use super::pins::Pin;
#[cfg(feature = "state")]
use super::settings::Standby;
use super::settings::{Lack, Quarantine, Record, Retained, Settings, Unavailable};
use super::traffic::TrafficSeen;
use crate::base::clock::Timestamp;
use crate::base::ordered::{OrderedMap, OrderedSet};
use crate::base::share::Share;
use crate::base::sync::InFlight;
use crate::model::error::ErrorKind;
use crate::model::identity::Identity;
use crate::request::buckets::{Buckets, ROLLOUTS_MAX};
use crate::request::lease::Lease;
use crate::request::recall::{Answers, Recall};
use crate::request::shadow::ShadowCounts;
use crate::rollout::allocation::Allocating;
use crate::rollout::budget::{ErrorBudgetStatus, Tries};
use crate::rollout::course::Course;
use crate::rollout::decision::{Decision, Recording};
#[cfg(feature = "forecast")]
use crate::rollout::forecast::hours::Hours;
use crate::rollout::guard::comparison::ArmView;
use crate::rollout::guard::design::Setting;
use crate::rollout::guard::guard::Guard;
use crate::rollout::phase::Phase;
use crate::rollout::plan::{Bake, Plan};
use crate::rollout::transition::{Input, State, TransitionError, expose, transition};
use crate::stats::counting::exposure::{Exposure, ExposureOptions, Units};
use crate::stats::evidence::ledger::Ledger;
use crate::stats::figures::divergence::Divergence;
use crate::stats::figures::rolling::{Window, Windows};
use crate::stats::figures::tally::Tally;
use crate::version::id::VersionId;
use crate::version::loaded::{AnyVersion, Known};
use crate::version::retired::Retired;

/// Versions of which figures are remembered, beside those that are in use.
const RECORDS_MAX: usize = 64;

/// Exposures whose figures wait for a tick; beyond it, the next change of the table collects them itself.
const EXPOSURES_MAX: usize = 256;

/// A candidate counts for nothing when nobody has judged it for so many intervals.
pub(crate) const LEASE_INTERVALS: u32 = 3;

pub(crate) struct Control {
    pub(crate) settings: Settings,
    pub(crate) announcer: Announcer,
    pub(crate) epoch: u64,
    pub(crate) live: Arc<dyn AnyVersion>,
    pub(crate) live_since: Timestamp,
    /// The attempt that made live what it is, where one did.
    #[cfg(feature = "state")]
    pub(crate) live_by: Option<u32>,
    pub(crate) retained: VecDeque<Retained>,
    /// Retained, and not to be had; no name of a version that is loaded.
    pub(crate) unavailable: Vec<Unavailable>,
    pub(crate) attempts: Vec<Attempt>,
    /// Attempts that are over, oldest first.
    pub(crate) past: VecDeque<Attempt>,
    pub(crate) retired: Retired,
    pub(crate) records: OrderedMap<VersionId, Record>,
    pub(crate) frozen: Option<String>,
    /// The freezes that were ended here since something was made true that others had agreed on.
    pub(crate) ended_freezes: Vec<String>,
    pub(crate) quarantine: OrderedMap<Identity, Quarantine>,
    /// How often the process ended without a word while an identity was exposed.
    pub(crate) crashes: OrderedMap<Identity, u32>,
    pub(crate) pins: Vec<Arc<dyn Pin>>,
    pub(crate) closed: bool,
    /// Why the process is about to end, where somebody has said so.
    pub(crate) draining: Option<String>,
    /// When somebody last ticked.
    pub(crate) last_tick: Option<Timestamp>,
    /// The decisions that were made here while another process has the state.
    #[cfg(feature = "state")]
    pub(crate) standby: Option<Standby>,
    /// Guards of rollouts that are over: dropping one is the host's code, so it is done outside of the lock.
    pub(crate) discarded: Vec<Arc<dyn Guard>>,
    /// Loads whose aftermath is not known yet.
    pub(crate) loadings: VecDeque<Loading>,
    /// Versions that lack something, which has been told.
    degraded: OrderedSet<(VersionId, Lack)>,
    /// Versions whose pipeline does not fit their own model, which has been told.
    misfits: Vec<VersionId>,
    pub(crate) lease: Arc<Lease>,
    /// The version before live that the table in force has ready.
    pub(crate) ready_before: Option<VersionId>,
    /// Until when the life before this one, which this one goes on with, has written down what it did, as long as nobody has looked at what was
    /// published since.
    #[cfg(feature = "state")]
    pub(crate) stood: Option<Timestamp>,
    /// When it was last looked at what was published, in this life or an earlier one, and nothing of that was left to be tried.
    #[cfg(feature = "state")]
    pub(crate) followed: Option<Timestamp>,
    /// It has been told that the lease has run out.
    lapse_told: bool,
    pub(crate) live_lately: LiveLately,
    /// The same of the version before a live that is watched, which is asked what that has failed on.
    pub(crate) before_lately: LiveLately,
    /// Records of decisions, oldest first.
    pub(crate) decisions: VecDeque<Arc<Decision>>,
    /// Decisions so far.
    pub(crate) decided: u64,
    /// A request with a key was seen.
    pub(crate) keyed: bool,
    /// Requests that were answered, or failed, since the handle was built; copies not counted.
    pub(crate) requests: u64,
    #[cfg(feature = "forecast")]
    pub(crate) built: Timestamp,
    #[cfg(feature = "forecast")]
    pub(crate) hours: Hours,
    /// When figures and evidence were last brought together.
    pub(crate) collected_at: Timestamp,
    /// The copies as they were when they were last looked at.
    pub(crate) copies: ShadowCounts,
    pub(crate) tries: Tries,
    /// Candidates whose trials overlap, in one chain, with those that run now or ran last.
    pub(crate) overlapping: u32,
    /// How traffic is divided among several candidates, while it is.
    pub(crate) allocating: Option<Allocating>,
    /// The number of the next round of an allocation: labels that come late are told from those of this one by it.
    pub(crate) next_round: u64,
    pub(crate) arms: OrderedMap<u32, Windows>,
    pub(crate) counters: Vec<Counter>,
    /// Which predictions candidates answer, where that is kept.
    pub(crate) answers: Option<Arc<Answers>>,
    /// The calls of the versions that are on trial in the table that was made last.
    pub(crate) calls_on_trial: Vec<Arc<InFlight>>,
    pub(crate) spares: Vec<Exposure>,
    pub(crate) buckets: Buckets,
    pub(crate) salt: Box<[u8]>,
    /// The place in a fleet, where the handle is a member of one.
    #[cfg(feature = "fleet")]
    pub(crate) seat: Option<super::seat::Seat>,
    next_arm: u32,
    pub(crate) next_exposure: u32,
    pub(crate) next_attempt: u32,
    /// Two tallies that are empty between ticks: what stripes are drained into, and what they are swapped with. The first is of
    /// the form for keeping: it is merged into the windows of every arm that a counter feeds, and one for recording would be
    /// searched through its thousands of places for each of them.
    pub(crate) scratch: (Tally, Tally),
    pub(crate) scratch_units: Units,
}

/// Freezes that are remembered as ended: the first, which others may know of, and the last ones.
const ENDED_MAX: usize = 8;

/// Adds a freeze to those that are ended.
pub(crate) fn end_freeze(ends: &mut Vec<String>, reason: String) {
    if !ends.contains(&reason) {
        ends.push(reason);
    }
    if ends.len() > ENDED_MAX {
        ends.remove(1);
    }
}

impl Control {
    pub(crate) fn new(settings: Settings, live: Arc<dyn AnyVersion>, now: Timestamp) -> Self {
        let ExposureOptions { kind, kpis, .. } = settings.exposure;
        let announcer = Announcer::new(settings.log_max);
        let mut control = Self {
            announcer,
            epoch: 0,
            live: Arc::clone(&live),
            live_since: now,
            #[cfg(feature = "state")]
            live_by: None,
            retained: VecDeque::new(),
            unavailable: Vec::new(),
            attempts: Vec::new(),
            past: VecDeque::new(),
            retired: Retired::default(),
            records: OrderedMap::new(),
            frozen: None,
            ended_freezes: Vec::new(),
            quarantine: OrderedMap::new(),
            crashes: OrderedMap::new(),
            pins: Vec::new(),
            closed: false,
            draining: None,
            last_tick: None,
            #[cfg(feature = "state")]
            standby: None,
            discarded: Vec::new(),
            loadings: VecDeque::new(),
            degraded: OrderedSet::new(),
            misfits: Vec::new(),
            lease: Arc::new(Lease::new(now)),
            ready_before: None,
            #[cfg(feature = "state")]
            stood: None,
            #[cfg(feature = "state")]
            followed: None,
            lapse_told: false,
            live_lately: LiveLately::default(),
            before_lately: LiveLately::default(),
            decisions: VecDeque::new(),
            decided: 0,
            keyed: false,
            requests: 0,
            #[cfg(feature = "forecast")]
            built: now,
            #[cfg(feature = "forecast")]
            hours: Hours::default(),
            collected_at: now,
            copies: ShadowCounts::default(),
            tries: Tries::default(),
            overlapping: 0,
            allocating: None,
            next_round: 1,
            arms: OrderedMap::new(),
            counters: Vec::new(),
            answers: None,
            calls_on_trial: Vec::new(),
            spares: Vec::new(),
            buckets: Buckets::default(),
            salt: Box::default(),
            #[cfg(feature = "fleet")]
            seat: None,
            next_arm: 0,
            next_exposure: 0,
            next_attempt: 1,
            scratch: (Tally::new(kind, kpis), Tally::recording(kind, kpis)),
            scratch_units: Units::default(),
            settings,
        };
        control.remember(&live, now);
        control.restock();
        control
    }

    /// Stores the table of the present state and says what happened. The store comes first: an event is announced after
    /// what it describes.
    pub(crate) fn publish(&mut self, desk: Desk<'_>, events: Vec<EventKind>) {
        let table = self.table(desk.joins);
        desk.router.store(table);
        // Where nobody ticks, changes of the table must not pile up.
        if self.counters.iter().filter(|counter| counter.exposure.is_some()).count() > EXPOSURES_MAX {
            self.collect(desk.joins, desk.now);
        }
        self.supersede_pins();
        for event in events {
            self.announcer.announce(desk.since, self.epoch, event);
        }
    }

    pub(crate) fn new_arm(&mut self) -> u32 {
        let arm = self.next_arm;
        self.next_arm += 1;
        self.arms.insert(
            arm,
            Windows::new(self.settings.windows, self.settings.exposure.kind, self.settings.exposure.kpis),
        );
        arm
    }

    pub(crate) fn lifetime(&self, version: VersionId) -> Option<u32> {
        self.records.get(&version).map(|record| record.lifetime)
    }

    /// Begins to remember a version that is loaded; one that was remembered under the same name and identity keeps its figures.
    pub(crate) fn remember(&mut self, version: &Known, now: Timestamp) {
        self.unavailable.retain(|lost| lost.version != version.id);
        let known = self.records.get(&version.id).is_some_and(|record| record.identity == version.identity);
        if !known {
            let lifetime = self.new_arm();
            let identity = version.identity;
            let record = Record { identity, staged_at: now, lifetime, has_answered: false };
            if let Some(before) = self.records.insert(version.id, record) {
                self.arms.remove(&before.lifetime);
            }
        }
        while self.records.len() > RECORDS_MAX {
            let idle = self.records.iter().filter(|(id, _)| !self.is_in_use(**id));
            let Some(oldest) = idle.min_by_key(|(_, record)| record.staged_at).map(|(id, _)| *id) else {
                break;
            };
            if let Some(record) = self.records.remove(&oldest) {
                self.arms.remove(&record.lifetime);
            }
        }
    }

    /// Whether a version is live, on trial or retained.
    pub(crate) fn is_in_use(&self, id: VersionId) -> bool {
        self.live.id == id
            || self.attempts.iter().any(|attempt| attempt.version == id)
            || self.retained.iter().any(|kept| kept.version.id == id)
    }

    /// Whether an identity was exposed before, or is quarantined.
    #[cfg(all(feature = "onnx", feature = "repository"))]
    pub(crate) fn was_tried(&self, identity: Identity) -> bool {
        self.tries.before(identity) > 0 || self.quarantine.contains_key(&identity)
    }

    /// The versions that are live, on trial or retained.
    pub(crate) fn loaded(&self) -> Vec<Arc<dyn AnyVersion>> {
        self.in_use().cloned().collect()
    }

    fn in_use(&self) -> impl Iterator<Item = &Arc<dyn AnyVersion>> + '_ {
        let retained = self.retained.iter().map(|kept| &kept.version);
        std::iter::once(&self.live).chain(self.on_trial()).chain(retained)
    }

    /// Whether it is live, on trial or retained: by what it is and not by its name, which another one may have.
    pub(crate) fn uses(&self, version: &Arc<dyn AnyVersion>) -> bool {
        self.in_use().any(|used| Arc::ptr_eq(used, version))
    }

    /// Hands versions over to be freed that are not [used](Self::uses) any more.
    #[cfg(feature = "state")]
    pub(crate) fn retire_unused(&mut self, versions: impl IntoIterator<Item = Arc<dyn AnyVersion>>) {
        for version in versions {
            if !self.uses(&version) {
                self.retired.push(version);
            }
        }
    }

    /// The versions on trial that are not live.
    pub(crate) fn on_trial(&self) -> impl Iterator<Item = &Arc<dyn AnyVersion>> + '_ {
        let loaded = self.attempts.iter().filter_map(|attempt| attempt.loaded.as_ref());
        loaded.filter(|version| version.id != self.live.id)
    }

    /// Notes whether a version lacks something; an event tells when it begins to.
    pub(crate) fn set_degraded(
        &mut self,
        (version, lack): (VersionId, Lack),
        failure: Option<String>,
        now: Timestamp,
    ) {
        match failure {
            None => drop(self.degraded.remove(&(version, lack))),
            Some(reason) => {
                if self.degraded.insert((version, lack)) {
                    self.announcer.announce(now, self.epoch, EventKind::Degraded { version, reason });
                }
            }
        }
    }

    /// Whether a version lacks anything.
    pub(crate) fn is_degraded(&self, version: VersionId) -> bool {
        Lack::ALL.into_iter().any(|lack| self.degraded.contains(&(version, lack)))
    }

    /// Lets go of what is known of a version that is gone.
    pub(crate) fn forget_degraded(&mut self, version: VersionId) {
        for lack in Lack::ALL {
            self.degraded.remove(&(version, lack));
        }
    }

    /// Whether a version has answered in an earlier life of the handle: then a request that its pipeline cannot write may be the caller's
    /// fault, though none has fitted in this life yet.
    pub(crate) fn has_answered_before(&self, version: VersionId) -> bool {
        self.records.get(&version).is_some_and(|record| record.has_answered)
    }

    /// Whether most of what a version fails on is its pipeline, which does not fit its own model.
    pub(crate) fn is_misfit(&self, version: VersionId) -> bool {
        if self.has_answered_before(version) {
            return false;
        }
        let arm = self.lifetime(version).and_then(|arm| self.arms.get(&arm));
        arm.is_some_and(|arm| 2 * arm.total().errors(ErrorKind::Pipeline) > arm.total().error_rate().part)
    }

    /// Tells of versions whose pipeline does not fit their own model, once each while they are in use.
    pub(crate) fn tell_misfits(&mut self, now: Timestamp) {
        let mut told = std::mem::take(&mut self.misfits);
        told.retain(|version| self.is_in_use(*version));
        let used: Vec<VersionId> = self.loaded().iter().map(|version| version.id).collect();
        for version in used {
            let arm = self.lifetime(version).and_then(|arm| self.arms.get(&arm));
            let failures = arm.map_or(0, |arm| arm.total().errors(ErrorKind::Pipeline));
            if failures > 0 && !told.contains(&version) {
                told.push(version);
                let kind = EventKind::PipelineMisfit { version, failures };
                self.announcer.announce(now, self.epoch, kind);
            }
        }
        self.misfits = told;
    }

    /// Begins an attempt with a version that is loaded.
    pub(crate) fn begin(
        &mut self,
        version: &Arc<dyn AnyVersion>,
        shadow: ShadowCounts,
        now: Timestamp,
    ) -> Option<u32> {
        let taken = |slot: &u8| self.attempts.iter().any(|attempt| attempt.slot == *slot);
        let slot = (1..=ROLLOUTS_MAX).find(|slot| !taken(slot))?;
        let number = self.next_attempt;
        self.next_attempt += 1;
        self.remember(version, now);
        let (candidate, control) = (self.new_arm(), self.new_arm());
        let id = version.id;
        let state = State {
            phase: Phase::Staged,
            weight: Share::NONE,
            sample: Share::NONE,
            paused: false,
            step: None,
            entered: now,
            first_request: None,
            idle: Duration::ZERO,
            anew: 0,
            forgotten: Duration::ZERO,
            watch: Duration::ZERO,
        };
        let course = Course::new(now, self.announcer.next(), false, &state);
        self.attempts.push(Attempt {
            number,
            slot,
            version: id,
            identity: version.identity,
            loaded: Some(Arc::clone(version)),
            guards: Vec::new(),
            missing: Vec::new(),
            refused: Vec::new(),
            #[cfg(any(feature = "drift", feature = "state"))]
            looks: 0,
            plan: None,
            for_plan: false,
            bake: Bake::default(),
            state,
            candidate,
            control,
            divergence: Divergence::default(),
            evidence: Vec::new(),
            previous: None,
            looked: false,
            circuit: Circuit::default(),
            before_step: (0, 0),
            carried: (0, 0),
            waits_until: None,
            wait_told: None,
            held: None,
            shadow_before: shadow,
            copies_before: (0, shadow),
            ledger: Arc::new(Ledger::new(self.settings.exposure.maturity)),
            probes: Vec::new(),
            keys: None,
            pair_keys: None,
            traffic: TrafficSeen::default(),
            traffic_fault: None,
            keys_run_out: None,
            room_told: None,
            live_before: crate::stats::sequential::Events::default(),
            seen_before: crate::control::attempt::SeenBefore::default(),
            doubt: None,
            error_budget: None,
            promised: Vec::new(),
            answered: Answered::default(),
            course,
            ended: None,
        });
        let proof = version.proof.clone();
        let failure = proof.failure();
        self.announcer.announce(now, self.epoch, EventKind::Staged { version: id, proof });
        if let Some(reason) = failure {
            self.announcer.announce(now, self.epoch, EventKind::NotProven { version: id, reason });
        }
        Some(number)
    }

    pub(crate) fn attempt(&self, number: u32) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.number == number)
    }

    pub(crate) fn attempt_mut(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.number == number)
    }

    /// All attempts that are known: those that run, and those that are over, the latest first.
    pub(crate) fn known_attempts(&self) -> impl Iterator<Item = &Attempt> + '_ {
        self.attempts.iter().chain(self.past.iter().rev())
    }

    /// An attempt, running or over.
    pub(crate) fn known_attempt(&self, number: u32) -> Option<&Attempt> {
        self.known_attempts().find(|attempt| attempt.number == number)
    }

    pub(crate) fn known_attempt_mut(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempts.iter_mut().chain(&mut self.past).find(|attempt| attempt.number == number)
    }

    /// The last attempt with a version of this name, running or over.
    pub(crate) fn last_attempt_of(&self, version: &str) -> Option<u32> {
        self.known_attempts().filter(|attempt| attempt.version == *version).map(|a| a.number).max()
    }

    /// How an attempt stands that cannot be moved: one that nobody remembers any more is over as well.
    pub(crate) fn over(&self, number: u32) -> TransitionError {
        TransitionError::Over { phase: self.phase_of(number) }
    }

    /// Where an attempt stands; one that nobody remembers any more has been taken off, as far as anybody knows.
    pub(crate) fn phase_of(&self, number: u32) -> Phase {
        self.known_attempt(number).map_or(Phase::Aborted, |attempt| attempt.state.phase)
    }

    /// The largest share that an attempt's candidate could have.
    pub(crate) fn room_for(&self, number: u32) -> Share {
        let own = self.attempt(number).map_or(Share::NONE, |attempt| match attempt.state.phase {
            // One that is held keeps its buckets, though it answers nobody.
            _ if attempt.held.is_some() => self.buckets.share(attempt.slot),
            Phase::Baking => Share::NONE,
            _ => attempt.state.weight,
        });
        Share::from_buckets(self.buckets.live().buckets() + own.buckets())
    }

    /// The share that a plan's step may give an attempt: what others leave, and where others are compared with live too it keeps some.
    pub(crate) fn room_left(&self, number: u32) -> Share {
        let room = self.room_for(number);
        let is_alone = room == Share::ALL;
        if is_alone { room } else { Share::from_buckets(room.buckets().saturating_sub(1)) }
    }

    /// The attempts that an input by hand would expose more than before.
    pub(crate) fn raised_by(&self, number: u32, input: &Input) -> Vec<u32> {
        let raised = self.attempt(number).is_some_and(|attempt| match input {
            Input::Shadow(sample) => *sample > attempt.state.sample,
            Input::Canary(weight) => *weight > attempt.state.weight,
            Input::Promote => true,
            Input::Judged(_) => false,
        });
        if raised { vec![number] } else { Vec::new() }
    }

    /// Moves an attempt by hand.
    pub(crate) fn by_hand(
        &mut self,
        number: u32,
        input: Input,
        desk: Desk<'_>,
    ) -> Result<(), TransitionError> {
        let attempt = self.attempt(number).ok_or_else(|| self.over(number))?;
        let moved =
            transition(&attempt.state, attempt.plan.as_ref(), self.frozen.is_some(), desk.now, input)?;
        self.carry_out(number, moved, Vec::new(), None, desk);
        Ok(())
    }

    /// Starts to follow a plan.
    pub(crate) fn follow(&mut self, number: u32, plan: Plan, desk: Desk<'_>) {
        let first = plan.steps().first().map(|step| step.exposure());
        let frozen = self.frozen.is_some();
        self.leave_allocation(number, desk);
        let Some(attempt) = self.attempt_mut(number) else { return };
        let sample = attempt.state.sample;
        attempt.bake = plan.baking();
        attempt.plan = Some(plan);
        // Its first step is taken desk.now or, where automation may not raise exposure, once it may.
        attempt.state.step = None;
        if let (Some(first), false) = (first, frozen) {
            self.carry_out(number, expose(first, 0, sample), Vec::new(), None, desk);
        }
    }

    /// Before a candidate is first exposed: divides the errors that its decisions may have, and fixes what live is known
    /// to be like. Both stay as they are, whatever is seen.
    pub(crate) fn begin_evidence(&mut self, number: u32) {
        let Some(attempt) = self.attempt(number).filter(|attempt| attempt.error_budget.is_none()) else {
            return;
        };
        let tries = self.tries.begin(attempt.identity);
        let on_trial = |other: &Attempt| other.number != number && other.is_on_trial();
        // Trials that overlap share one budget, whenever each of them began.
        let overlaps = self.attempts.iter().any(on_trial);
        self.overlapping = if overlaps { self.overlapping + 1 } else { 1 };
        let error_budget = self.attempt(number).map(|attempt| self.error_budget_of(attempt, tries));
        let live = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm));
        let live = live.map(|arm| (arm.total().clone(), arm.read(Window::Recent, self.collected_at)));
        let kpis = self.settings.kpis.len();
        let Some(attempt) = self.attempt_mut(number) else { return };
        attempt.error_budget = error_budget;
        if let Some((live, lately)) = live {
            attempt.freeze_probes(&[&lately, &live]);
            attempt.fix_centres(&live, kpis);
        }
    }

    /// Gives the watch over a new live its part of the errors where they were divided before anybody said that it would be watched: as
    /// another try, of what is left to all others.
    ///
    /// Bug that this is for: the part was nothing then, which no evidence reaches, so the guards of the watch could not fail.
    pub(crate) fn budget_watch(&mut self, number: u32) {
        let unwatched =
            |budget: &ErrorBudgetStatus| budget.harm_per_guard > 0.0 && budget.harm_per_guard_watched == 0.0;
        let Some(attempt) = self.attempt(number).filter(|a| a.error_budget.as_ref().is_some_and(unwatched))
        else {
            return;
        };
        let tries = self.tries.begin(attempt.identity);
        let Some(again) = self.attempt(number).map(|attempt| self.error_budget_of(attempt, tries)) else {
            return;
        };
        if let Some(budget) = self.attempt_mut(number).and_then(|attempt| attempt.error_budget.as_mut()) {
            budget.watched_as(&again);
        }
    }

    /// How many tests the error for harm of an attempt is divided over.
    fn tests_of(&self, attempt: &Attempt) -> usize {
        let looks = attempt.guards.iter().filter(|guarded| guarded.said.looks()).count();
        attempt.tests().count() + looks + usize::from(self.settings.counts_ends)
    }

    /// How an attempt's errors are divided if its evidence begins now.
    pub(crate) fn error_budget_of(&self, attempt: &Attempt, tries: u32) -> ErrorBudgetStatus {
        let guards = self.tests_of(attempt);
        let watched = !attempt.bake.duration.is_zero();
        let candidate = attempt
            .error_budget
            .map_or_else(|| self.overlapping.max(1), |error_budget| error_budget.candidates);
        ErrorBudgetStatus::divide(self.settings.error_budget, tries, candidate, guards as u32, watched)
    }

    /// How an attempt's errors would be divided if its evidence began now, and it were watched so once it is live.
    #[cfg(feature = "forecast")]
    pub(crate) fn error_budget_if_begun(
        &self,
        attempt: &Attempt,
        bake: Bake,
        added: usize,
    ) -> ErrorBudgetStatus {
        let guards = self.tests_of(attempt) + added;
        let on_trial = |other: &Attempt| other.number != attempt.number && other.is_on_trial();
        let overlaps = self.attempts.iter().any(on_trial);
        let candidates = if overlaps { self.overlapping + 1 } else { 1 };
        let tries = self.tries.before(attempt.identity);
        let watched = !bake.duration.is_zero();
        ErrorBudgetStatus::divide(self.settings.error_budget, tries, candidates, guards as u32, watched)
    }

    /// The evidence for a promotion is begun again, at the last step of a plan: a look of its own, that is another try.
    pub(crate) fn look_again(&mut self, number: u32) {
        let Some(attempt) = self.attempt(number).filter(|attempt| attempt.error_budget.is_some()) else {
            return;
        };
        let tries = self.tries.begin(attempt.identity);
        let Some(again) = self.attempt(number).map(|attempt| self.error_budget_of(attempt, tries)) else {
            return;
        };
        if let Some(error_budget) = self.attempt_mut(number).and_then(|attempt| attempt.error_budget.as_mut())
        {
            // What the harm may spend it spends over the whole attempt.
            (error_budget.try_number, error_budget.promotion) = (again.try_number, again.promotion);
        }
    }

    /// Begins an attempt's evidence anew: what was seen before a guard was changed is no evidence for the new one.
    pub(crate) fn begin_anew(&mut self, number: u32, why: &str, desk: Desk<'_>) {
        let Some(attempt) = self.attempt(number).filter(|attempt| attempt.error_budget.is_some()) else {
            return;
        };
        let (version, exposed) = (attempt.version, attempt.state.phase != Phase::Staged);
        let maturity = self.settings.exposure.maturity;
        let (candidate, control) = (self.new_arm(), self.new_arm());
        let Some(attempt) = self.attempt_mut(number) else { return };
        if attempt.state.phase == Phase::Baking {
            attempt.watch_what_is_not();
        }
        attempt.error_budget = None;
        // Later than any stretch that requests which are under way began in.
        let era = attempt.ledger.era();
        attempt.ledger = Arc::new(Ledger::new(maturity).after(era));
        (attempt.keys, attempt.pair_keys) = (None, None);
        attempt.divergence = Divergence::default();
        attempt.before_step = (0, 0);
        attempt.carried = (0, 0);
        attempt.end_doubt();
        attempt.forget_what_was_judged();
        attempt.state.forget(desk.now);
        let before = [
            std::mem::replace(&mut attempt.candidate, candidate),
            std::mem::replace(&mut attempt.control, control),
        ];
        for arm in before {
            self.arms.remove(&arm);
        }
        for counter in &mut self.counters {
            counter.feeds.evidence.retain(|feed| feed.attempt != number);
        }
        let event = EventKind::EvidenceReset { version, reason: why.into() };
        if exposed {
            self.begin_evidence(number);
            self.publish(desk, vec![event]);
        } else {
            let epoch = self.epoch;
            self.announcer.announce(desk.now, epoch, event);
        }
    }

    /// Restarts what a step's limits count.
    pub(crate) fn begin_step_anew(&mut self, number: u32) {
        let progress = self.progress(number);
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.before_step = progress;
            attempt.carried = (0, 0);
        }
    }

    /// The counts of an attempt, running or over.
    pub(crate) fn recording(&self, number: u32, setting: &Setting<'_>) -> Option<Recording> {
        let attempt = self.known_attempt(number)?;
        let live = attempt.previous.unwrap_or(self.live.id);
        Some(Recording::of(attempt.version, live, setting, attempt.rules(), &attempt.ledger))
    }

    /// Takes over what candidates have answered since the last time.
    pub(crate) fn take_answers(&mut self) {
        if let Some(answers) = &self.answers {
            let (ids, missed) = answers.take();
            self.remember_answers(ids, missed);
        }
    }

    /// Returns what an attempt has answered, running or over.
    pub(crate) fn recall(&self, number: u32) -> Option<Recall> {
        let Attempt { version, answered, .. } = self.known_attempt(number)?;
        (!answered.ids.is_empty() || answered.missed > 0).then(|| Recall {
            version: *version,
            answered: answered.ids.iter().copied().collect(),
            missed: answered.missed,
        })
    }

    /// Says of what was taken back that it is known what it had answered.
    pub(crate) fn announce_recalls(&mut self, now: Timestamp) {
        let mut events = Vec::new();
        for past in &mut self.past {
            let told = past.ended.as_mut().is_none_or(|ended| std::mem::replace(&mut ended.recalled, true));
            let (answered, missed) = (past.answered.ids.len() as u64, past.answered.missed);
            if !told && past.state.phase != Phase::Promoted && answered + missed > 0 {
                events.push(EventKind::Recalled { version: past.version, answered, missed });
            }
        }
        events.into_iter().for_each(|event| self.announcer.announce(now, self.epoch, event));
    }

    /// Units of the candidate's requests, and those with an outcome, since the attempt or the watch began.
    pub(crate) fn progress(&self, number: u32) -> (u64, u64) {
        let arm = self.attempt(number).and_then(|attempt| self.arms.get(&attempt.candidate));
        arm.map_or((0, 0), |arm| (arm.total().units(), arm.total().labelled_units()))
    }

    /// Renews the lease on exposure, and ends what lasts too long.
    pub(crate) fn renew(&mut self, now: Timestamp) {
        self.renew_lease(now);
        // A tick that renews nothing, as in a process that is cut off from its fleet, ends no lapse.
        self.lapse_told &= self.lease.has_lapsed(now);
        self.last_tick = Some(now);
        for pin in &self.pins {
            pin.expire(now);
        }
        self.pins.retain(|pin| Arc::strong_count(pin) > 1);
        self.trim(now);
        self.quarantine.retain(|_, entry| entry.until.is_none_or(|until| until > now));
    }

    /// Lets go of versions that are retained no longer, where this process decides that.
    pub(crate) fn trim(&mut self, now: Timestamp) {
        if !self.is_seated() {
            self.trim_retained(now);
        }
    }

    /// Whether a fleet decides what is retained here.
    pub(crate) fn is_seated(&self) -> bool {
        #[cfg(feature = "fleet")]
        return self.seat.is_some();
        #[cfg(not(feature = "fleet"))]
        false
    }

    /// Extends the lease, in a fleet no further than is agreed on.
    pub(crate) fn renew_lease(&self, now: Timestamp) {
        let lasts = self.lease_lasts();
        #[cfg(feature = "fleet")]
        let lasts = self.seat.as_ref().map_or(lasts, |seat| lasts.min(seat.lease_until.since(now)));
        if !lasts.is_zero() {
            self.lease.renew(now, lasts);
        }
    }

    /// How long exposure lasts while nobody ticks.
    pub(crate) fn lease_lasts(&self) -> Duration {
        self.settings.tick_interval.saturating_mul(LEASE_INTERVALS)
    }

    /// Whether a candidate's share is answered by live at the moment: nobody has ticked, or it has failed outright.
    pub(crate) fn is_withheld(&self, attempt: &Attempt, now: Timestamp) -> bool {
        attempt.state.phase == Phase::Canary && (!self.lease.holds(now) || self.has_tripped(attempt.number))
    }

    /// Leaves the time in which nobody ticked out of what steps and watches have lasted: a canary answered nobody, and nobody looked at a shadow or
    /// at a new live.
    pub(crate) fn leave_out_lapse(&mut self, now: Timestamp) {
        let lapsed = self.lease.lapsed_for(now);
        if !self.is_seated() && !lapsed.is_zero() {
            let is_looked_at = |attempt: &&mut Attempt| {
                matches!(attempt.state.phase, Phase::Shadow | Phase::Canary | Phase::Baking)
            };
            for attempt in self.attempts.iter_mut().filter(is_looked_at) {
                // A promotion by hand renews no lease: what was before the watch is no part of it.
                let lasted = now.since(attempt.state.entered);
                attempt.state.leave_out(lapsed.min(lasted));
            }
        }
    }

    /// Says, once for each time, that candidates have lost their exposure because nobody ticked. Whoever looks first says
    /// it: the tick that comes after all, or a reader of the status. Where the fleet gives no lease any more somebody ticks all the same, and
    /// it is told why it does not.
    pub(crate) fn tell_of_lapse(&mut self, now: Timestamp) {
        let exposed = self.attempts.iter().any(|attempt| attempt.state.phase == Phase::Canary);
        let ticked = self.last_tick.is_some_and(|last| now.since(last) < self.lease_lasts());
        if exposed
            && !(self.is_seated() && ticked)
            && self.lease.has_lapsed(now)
            && !std::mem::replace(&mut self.lapse_told, true)
        {
            let event = EventKind::LeaseExpired { after: self.lease_lasts() };
            self.announcer.announce(now, self.epoch, event);
        }
    }

    /// Leaves out of a step's limit the time in which no plan could leave one.
    pub(crate) fn begin_waiting_anew(&mut self) {
        let numbers: Vec<u32> = self.attempts.iter().map(|attempt| attempt.number).collect();
        for number in numbers {
            if let Some(attempt) = self.attempt_mut(number) {
                attempt.state.wait_anew();
            }
            self.begin_step_anew(number);
        }
    }

    /// Returns the latency that 99 of 100 recent requests of a version did not exceed, or, where there are none, of all.
    pub(crate) fn p99_of(&self, version: VersionId, now: Timestamp) -> Option<Duration> {
        let arm = self.arms.get(&self.lifetime(version)?)?;
        let p99 = |window| arm.read(window, now).latency().figures().map(|figures| figures.p99);
        p99(Window::Recent).or_else(|| p99(Window::Total))
    }

    /// Returns the figures of an arm.
    pub(crate) fn view(&self, arm: u32, now: Timestamp) -> Option<ArmView> {
        let arm = self.arms.get(&arm)?;
        Some(ArmView {
            total: arm.total().clone(),
            windows: Some((arm.read(Window::Predictions, now), arm.read(Window::Recent, now))),
            kpis: Arc::clone(&self.settings.kpis),
        })
    }
}

//! The state of the control side and what changes it. Everything here runs under the control lock, and nothing of the
//! host's does: no model, no guard, no subscriber.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::allocation::Allocating;
use super::alpha::{AlphaStatus, Tries};
use super::attempt::{Answered, Attempt, Past};
use super::decision::{Decision, Recording};
use super::event::{Announcer, Cause, EventKind};
use super::forecast::Traffic;
use super::guard::design::Setting;
use super::guard::{Alpha, ArmView, Evidence, Guard};
use super::phase::Phase;
use super::pins::{PinPolicy, PinSlot};
use super::plan::{Bake, Plan};
use super::rollout::{Input, Move, State, TransitionRefused, expose, transition};
use super::table::Counter;
use crate::clock::Timestamp;
use crate::feedback::join::Joins;
use crate::model::Identity;
use crate::recall::{Answers, Recall};
use crate::routing::{Buckets, Lease, ROLLOUTS_MAX, Routing};
use crate::shadow::ShadowCounts;
use crate::share::Share;
use crate::stats::divergence::Divergence;
use crate::stats::evidence::ledger::Ledger;
use crate::stats::exposure::{Exposure, ExposureOptions, Units};
use crate::stats::tally::Tally;
use crate::stats::window::{Window, WindowConfig, Windows};
use crate::task::Kpi;
use crate::version::{Retired, Version, VersionId};

/// What the control side is told when the handle is built.
pub(crate) struct Settings {
    pub(crate) name: String,
    /// Versions that are kept for a rollback, and for how long.
    pub(crate) retain: usize,
    pub(crate) retain_for: Option<Duration>,
    pub(crate) tick_interval: Duration,
    pub(crate) log_max: usize,
    pub(crate) windows: WindowConfig,
    pub(crate) exposure: ExposureOptions,
    pub(crate) kpis: Arc<[Kpi]>,
    pub(crate) seed: u64,
    pub(crate) shadowing: bool,
    /// Live shadows the requests of a canary.
    pub(crate) canary_pairs: bool,
    /// The errors that all tries of an identity may have together.
    pub(crate) alpha: Alpha,
    /// Predictions answered by candidates of which the ids are kept, per rollout.
    pub(crate) answered_max: usize,
    pub(crate) pins_max: usize,
    pub(crate) pins: PinPolicy,
    pub(crate) pins_last: Duration,
}

/// Ended rollouts whose outcome and figures are remembered.
const PAST_MAX: usize = 32;
/// Versions of which figures are remembered, beside those that are in use.
const RECORDS_MAX: usize = 64;
/// Exposures whose figures wait for a tick; beyond it, the next change of the table collects them itself.
const EXPOSURES_MAX: usize = 256;
/// A candidate counts for nothing when nobody has judged it for so many intervals.
const LEASE_INTERVALS: u32 = 3;

pub(crate) struct Control<I: ?Sized, O> {
    pub(crate) settings: Settings,
    pub(crate) announcer: Announcer,
    pub(crate) epoch: u64,
    pub(crate) live: Arc<Version<I, O>>,
    pub(crate) live_since: Timestamp,
    pub(crate) retained: VecDeque<Retained<I, O>>,
    pub(crate) attempts: Vec<Attempt<I, O>>,
    pub(crate) past: VecDeque<Past>,
    pub(crate) retired: Retired<I, O>,
    pub(crate) records: BTreeMap<VersionId, Record>,
    pub(crate) frozen: Option<String>,
    pub(crate) quarantine: BTreeMap<Identity, Quarantined>,
    pub(crate) pins: Vec<Arc<PinSlot<I, O>>>,
    pub(crate) closed: bool,
    /// Guards of rollouts that are over: dropping one is the host's code, so it is done outside of the lock.
    pub(crate) discarded: Vec<Arc<dyn Guard>>,
    /// Versions that could not replace what they lost.
    degraded: BTreeSet<VersionId>,
    pub(crate) lease: Arc<Lease>,
    /// Records of decisions, oldest first.
    pub(crate) decisions: VecDeque<Arc<Decision>>,
    /// Decisions so far.
    pub(super) decided: u64,
    /// A request with a key was seen.
    pub(super) keyed: bool,
    /// Requests that were answered, or failed, since the handle was built; copies not counted.
    pub(super) requests: u64,
    built: Timestamp,
    /// When figures and evidence were last brought together.
    pub(super) collected_at: Timestamp,
    tries: Tries,
    /// How traffic is divided among several candidates, while it is.
    pub(super) allocating: Option<Allocating>,
    pub(super) arms: BTreeMap<u32, Windows>,
    pub(super) counters: Vec<Counter>,
    pub(super) spares: Vec<Exposure>,
    pub(super) buckets: Buckets,
    pub(super) salt: Box<[u8]>,
    next_arm: u32,
    pub(super) next_exposure: u32,
    next_attempt: u32,
    /// Two tallies that are empty between ticks; what stripes are swapped with and drained into.
    pub(super) scratch: (Tally, Tally),
    pub(super) scratch_units: Units,
}

/// A version that is kept for a rollback.
pub(crate) struct Retained<I: ?Sized, O> {
    pub(crate) version: Arc<Version<I, O>>,
    pub(crate) since: Timestamp,
}

/// What is remembered of a version, in use or not.
pub(crate) struct Record {
    pub(crate) identity: Identity,
    pub(crate) staged_at: Timestamp,
    /// Everything it ever did.
    pub(crate) lifetime: u32,
}

/// An identity that no plan tries again.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Quarantined {
    /// The version that had the identity.
    pub version: VersionId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lowered {
    /// These candidates were taken off. Live is what it was.
    Aborted(Vec<VersionId>),
    /// Live is another version now.
    RolledBack {
        /// Live until then.
        from: VersionId,
        /// Live now.
        to: VersionId,
    },
    /// No candidate is exposed and no version is retained: there is nothing to go back to.
    Nothing,
}

impl<I: ?Sized, O> Control<I, O> {
    pub(crate) fn new(settings: Settings, live: Arc<Version<I, O>>, now: Timestamp) -> Self {
        let ExposureOptions { kind, kpis, .. } = settings.exposure;
        let announcer = Announcer::new(settings.log_max);
        let mut control = Self {
            announcer,
            epoch: 0,
            live: Arc::clone(&live),
            live_since: now,
            retained: VecDeque::new(),
            attempts: Vec::new(),
            past: VecDeque::new(),
            retired: Retired::default(),
            records: BTreeMap::new(),
            frozen: None,
            quarantine: BTreeMap::new(),
            pins: Vec::new(),
            closed: false,
            discarded: Vec::new(),
            degraded: BTreeSet::new(),
            lease: Arc::new(Lease::new(now)),
            decisions: VecDeque::new(),
            decided: 0,
            keyed: false,
            requests: 0,
            built: now,
            collected_at: now,
            tries: Tries::default(),
            allocating: None,
            arms: BTreeMap::new(),
            counters: Vec::new(),
            spares: Vec::new(),
            buckets: Buckets::default(),
            salt: Box::default(),
            next_arm: 0,
            next_exposure: 0,
            next_attempt: 1,
            scratch: (Tally::recording(kind, kpis), Tally::recording(kind, kpis)),
            scratch_units: Units::default(),
            settings,
        };
        control.remember(&live, now);
        control.restock();
        control
    }

    /// Stores the table of the present state and says what happened. The store comes first: an event is announced after
    /// what it describes.
    pub(crate) fn publish(
        &mut self,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
        events: Vec<EventKind>,
    ) {
        let table = self.table(joins);
        routing.store(Arc::new(table));
        // Where nobody ticks, changes of the table must not pile up.
        if self.counters.iter().filter(|counter| counter.exposure.is_some()).count() > EXPOSURES_MAX {
            self.collect(joins, now);
        }
        self.supersede_pins();
        for event in events {
            self.announcer.announce(now, self.epoch, event);
        }
    }

    fn new_arm(&mut self) -> u32 {
        let arm = self.next_arm;
        self.next_arm += 1;
        self.arms.insert(
            arm,
            Windows::new(self.settings.windows, self.settings.exposure.kind, self.settings.exposure.kpis),
        );
        arm
    }

    pub(super) fn lifetime(&self, version: VersionId) -> Option<u32> {
        self.records.get(&version).map(|record| record.lifetime)
    }

    /// Begins to remember a version; one that was remembered under the same name and identity keeps its figures.
    pub(crate) fn remember(&mut self, version: &Version<I, O>, now: Timestamp) {
        let known = self.records.get(&version.id).is_some_and(|record| record.identity == version.identity);
        if !known {
            let lifetime = self.new_arm();
            let record = Record { identity: version.identity, staged_at: now, lifetime };
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
            || self.attempts.iter().any(|attempt| attempt.version.id == id)
            || self.retained.iter().any(|kept| kept.version.id == id)
    }

    /// The versions that are live, on trial or retained.
    pub(crate) fn loaded(&self) -> Vec<Arc<Version<I, O>>> {
        let trials =
            self.attempts.iter().map(|attempt| &attempt.version).filter(|version| version.id != self.live.id);
        let retained = self.retained.iter().map(|kept| &kept.version);
        std::iter::once(&self.live).chain(trials).chain(retained).cloned().collect()
    }

    /// Notes whether a version could replace what it lost; an event tells when that begins to fail.
    pub(crate) fn set_degraded(&mut self, version: VersionId, failure: Option<String>, now: Timestamp) {
        match failure {
            None => drop(self.degraded.remove(&version)),
            Some(reason) => {
                if self.degraded.insert(version) {
                    self.announcer.announce(now, self.epoch, EventKind::Degraded { version, reason });
                }
            }
        }
    }

    /// Begins an attempt with a version that is loaded, checked and warm.
    pub(crate) fn begin(
        &mut self,
        version: &Arc<Version<I, O>>,
        shadow: ShadowCounts,
        now: Timestamp,
    ) -> Option<u32> {
        let taken = |slot: &u8| self.attempts.iter().any(|attempt| attempt.slot == *slot);
        let slot = (1..=ROLLOUTS_MAX).find(|slot| !taken(slot))?;
        let number = self.next_attempt;
        self.next_attempt += 1;
        if self.attempts.iter().all(|attempt| attempt.state.weight == Share::NONE) {
            // Nobody is on a canary: the next one may begin with other users than the last one did.
            self.salt = format!("{}-{number}", self.settings.name).into_bytes().into();
        }
        self.remember(version, now);
        let (candidate, control) = (self.new_arm(), self.new_arm());
        let id = version.id;
        self.attempts.push(Attempt {
            number,
            slot,
            version: Arc::clone(version),
            guards: Vec::new(),
            plan: None,
            bake: Bake::default(),
            state: State {
                phase: Phase::Staged,
                weight: Share::NONE,
                sample: Share::NONE,
                paused: false,
                step: None,
                entered: now,
                first_request: None,
                watch: Duration::ZERO,
            },
            candidate,
            control,
            divergence: Divergence::default(),
            evidence: Vec::new(),
            previous: None,
            tripped: false,
            before_step: (0, 0),
            shadow_before: shadow,
            ledger: Arc::new(Ledger::new(self.settings.exposure.maturity)),
            probes: Vec::new(),
            keys: None,
            alpha: None,
            promised: Vec::new(),
            answered: Answered::default(),
        });
        self.announcer.announce(now, self.epoch, EventKind::Staged { version: id });
        Some(number)
    }

    pub(crate) fn attempt(&self, number: u32) -> Option<&Attempt<I, O>> {
        self.attempts.iter().find(|attempt| attempt.number == number)
    }

    pub(crate) fn attempt_mut(&mut self, number: u32) -> Option<&mut Attempt<I, O>> {
        self.attempts.iter_mut().find(|attempt| attempt.number == number)
    }

    /// The last attempt with a version of this name, running or over.
    pub(crate) fn last_attempt_of(&self, version: &str) -> Option<u32> {
        let running = self.attempts.iter().filter(|attempt| attempt.version.id == *version).map(|a| a.number);
        let past = self.past.iter().filter(|past| past.version == *version).map(|past| past.number);
        running.chain(past).max()
    }

    /// Where an attempt stands, also when it is over and still remembered.
    pub(crate) fn phase_of(&self, number: u32) -> Option<Phase> {
        let running = self.attempt(number).map(|attempt| attempt.state.phase);
        running.or_else(|| self.past.iter().find(|past| past.number == number).map(|past| past.phase))
    }

    /// The largest share that an attempt's candidate could have.
    pub(crate) fn room_for(&self, number: u32) -> Share {
        let own = self.attempt(number).map_or(Share::NONE, |attempt| attempt.state.weight);
        Share::from_buckets(self.buckets.live().buckets() + own.buckets())
    }

    /// Moves an attempt by hand.
    pub(crate) fn by_hand(
        &mut self,
        number: u32,
        input: Input,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) -> Result<(), TransitionRefused> {
        let over = TransitionRefused::Over { phase: self.phase_of(number).unwrap_or(Phase::Aborted) };
        let attempt = self.attempt(number).ok_or(over)?;
        let moved = transition(&attempt.state, attempt.plan.as_ref(), self.frozen.is_some(), now, input)?;
        self.carry_out(number, moved, Vec::new(), None, routing, joins, now);
        Ok(())
    }

    /// Starts to follow a plan.
    pub(crate) fn follow(
        &mut self,
        number: u32,
        plan: Plan,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) {
        let first = plan.steps().first().map(|step| step.exposed());
        let frozen = self.frozen.is_some();
        let Some(attempt) = self.attempt_mut(number) else { return };
        let sample = attempt.state.sample;
        attempt.bake = plan.baking();
        attempt.plan = Some(plan);
        // Its first step is taken now or, where automation may not raise exposure, once it may.
        attempt.state.step = None;
        if let (Some(first), false) = (first, frozen) {
            self.carry_out(number, expose(first, 0, sample), Vec::new(), None, routing, joins, now);
        }
    }

    /// Does what the transition function says.
    #[expect(clippy::too_many_arguments, reason = "a move, its grounds, and the three things it changes")]
    pub(super) fn carry_out(
        &mut self,
        number: u32,
        moved: Move,
        evidence: Vec<Evidence>,
        cause: Option<Cause>,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) {
        match moved {
            Move::Stay => {}
            Move::Expose { phase, weight, sample, step } => {
                let event = self.change_exposure(number, phase, weight, sample, step, evidence, now);
                self.publish(routing, joins, now, event.into_iter().collect());
            }
            Move::Promote => self.promote(number, evidence, routing, joins, now),
            Move::Lower => {
                let reason = String::from("no reason given");
                self.lower(number, cause.unwrap_or(Cause::Operator { reason }), routing, joins, now);
            }
            Move::GiveUp => {
                if let Some(version) = self.attempt(number).map(|attempt| attempt.version.id) {
                    self.announcer.announce(now, self.epoch, EventKind::Inconclusive { version, evidence });
                }
                self.lower(number, Cause::Futility, routing, joins, now);
            }
            Move::Pause => {
                if let Some(attempt) = self.attempt_mut(number) {
                    attempt.state.paused = true;
                    let version = attempt.version.id;
                    let reason = String::from("guards were inconclusive for longer than the plan allows");
                    self.announcer.announce(now, self.epoch, EventKind::Inconclusive { version, evidence });
                    self.announcer.announce(now, self.epoch, EventKind::Paused { version, reason });
                }
            }
            Move::Finish => {
                if let Some(attempt) = self.end(number, Phase::Promoted, None, now) {
                    let event = EventKind::Baked { version: attempt.version.id };
                    self.publish(routing, joins, now, vec![event]);
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a move")]
    pub(super) fn change_exposure(
        &mut self,
        number: u32,
        phase: Phase,
        weight: Share,
        sample: Share,
        step: Option<usize>,
        evidence: Vec<Evidence>,
        now: Timestamp,
    ) -> Option<EventKind> {
        let slot = self.attempt(number)?.slot;
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
        attempt.state =
            State { phase, weight, sample, step, entered: now, first_request: None, ..attempt.state };
        attempt.before_step = before_step;
        if !allocated {
            Arc::make_mut(&mut attempt.ledger).begin_era();
        }
        let version = attempt.version.id;
        self.welcome_keys();
        Some(EventKind::PhaseChanged { version, from, to: phase, weight, sample, evidence })
    }

    /// Before a candidate is first exposed: divides the errors that its decisions may have, and fixes what live is known
    /// to be like. Both stay as they are, whatever is seen.
    fn begin_evidence(&mut self, number: u32) {
        let Some(attempt) = self.attempt(number).filter(|attempt| attempt.alpha.is_none()) else { return };
        let tries = self.tries.begin(attempt.version.identity);
        let alpha = self.attempt(number).map(|attempt| self.alpha_of(attempt, tries));
        let live =
            self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm)).map(|arm| arm.total().clone());
        let kpis = self.settings.kpis.len();
        let Some(attempt) = self.attempt_mut(number) else { return };
        attempt.alpha = alpha;
        if let Some(live) = live {
            attempt.freeze_probes(&live);
            attempt.fix_centres(&live, kpis);
        }
    }

    /// How an attempt's errors are divided if its evidence begins now.
    pub(super) fn alpha_of(&self, attempt: &Attempt<I, O>, tries: u32) -> AlphaStatus {
        let guards = attempt.tests().count();
        let on_trial = |other: &&Attempt<I, O>| {
            other.number == attempt.number || matches!(other.state.phase, Phase::Shadow | Phase::Canary)
        };
        let candidates = self.attempts.iter().filter(on_trial).count();
        let watched = !attempt.bake.duration.is_zero();
        AlphaStatus::divide(self.settings.alpha, tries, candidates as u32, guards as u32, watched)
    }

    /// Begins an attempt's evidence anew: what was seen before a guard was changed is no evidence for the new one.
    pub(crate) fn begin_anew(
        &mut self,
        number: u32,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) {
        let Some(attempt) = self.attempt(number).filter(|attempt| attempt.alpha.is_some()) else { return };
        let (version, exposed) = (attempt.version.id, attempt.state.phase != Phase::Staged);
        let maturity = self.settings.exposure.maturity;
        let (candidate, control) = (self.new_arm(), self.new_arm());
        let Some(attempt) = self.attempt_mut(number) else { return };
        attempt.alpha = None;
        // Later than any stretch that requests which are under way began in.
        let era = attempt.ledger.era();
        attempt.ledger = Arc::new(Ledger::new(maturity).after(era));
        attempt.keys = None;
        attempt.divergence = Divergence::default();
        attempt.before_step = (0, 0);
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
        let event = EventKind::BegunAnew { version };
        if exposed {
            self.begin_evidence(number);
            self.publish(routing, joins, now, vec![event]);
        } else {
            let epoch = self.epoch;
            self.announcer.announce(now, epoch, event);
        }
    }

    /// What a step's limits count begins anew.
    pub(crate) fn begin_step_anew(&mut self, number: u32) {
        let progress = self.progress(number);
        if let Some(attempt) = self.attempt_mut(number) {
            attempt.before_step = progress;
        }
    }

    /// The counts of an attempt, running or over.
    pub(crate) fn recording(&self, number: u32, setting: &Setting<'_>) -> Option<Recording> {
        let running = self.attempt(number).map(|attempt| {
            let rules = attempt.tests().map(|test| test.rule.clone()).collect();
            (attempt.version.id, attempt.previous.unwrap_or(self.live.id), &attempt.ledger, rules)
        });
        let (candidate, live, ledger, rules) = running.or_else(|| {
            let past = self.past.iter().find(|past| past.number == number)?;
            Some((past.version, past.live, &past.ledger, past.rules.clone()))
        })?;
        Some(Recording::of(candidate, live, setting, rules, ledger))
    }

    /// Traffic as live has seen it so far; nothing before the first request.
    pub(crate) fn traffic(&self, labels_after: Duration, now: Timestamp) -> Option<Traffic> {
        let elapsed = now.since(self.built).as_secs_f64();
        let live = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm))?.total();
        if self.requests == 0 || elapsed <= 0.0 {
            return None;
        }
        // Labels of the youngest predictions are yet to come.
        let matured = ((elapsed - labels_after.as_secs_f64()) / elapsed).max(0.01);
        Some(live.traffic(self.requests as f64 / elapsed, matured, labels_after, &self.settings.kpis))
    }

    /// Takes over what candidates have answered since the last time.
    pub(crate) fn take_answers(&mut self, answers: Option<&Answers>) {
        if let Some(answers) = answers {
            let (ids, missed) = answers.take();
            self.remember_answers(ids, missed);
        }
    }

    /// What the latest attempt that is wanted has answered.
    pub(crate) fn recall(&self, wanted: impl Fn(u32) -> bool) -> Option<Recall> {
        let of = |version: VersionId, answered: &Answered| Recall {
            version,
            answered: answered.ids.iter().copied().collect(),
            missed: answered.missed,
        };
        let running = self.attempts.iter().rev().find(|attempt| wanted(attempt.number));
        let recall = running.map(|attempt| of(attempt.version.id, &attempt.answered)).or_else(|| {
            let past = self.past.iter().rev().find(|past| wanted(past.number))?;
            Some(of(past.version, &past.answered))
        })?;
        (!recall.answered.is_empty() || recall.missed > 0).then_some(recall)
    }

    /// Says of what was taken back that it is known what it had answered.
    pub(crate) fn announce_recalls(&mut self, now: Timestamp) {
        let mut events = Vec::new();
        for past in self.past.iter_mut().filter(|past| !past.recalled) {
            past.recalled = true;
            let (answered, missed) = (past.answered.ids.len() as u64, past.answered.missed);
            if past.phase != Phase::Promoted && answered + missed > 0 {
                events.push(EventKind::Recalled { version: past.version, answered, missed });
            }
        }
        events.into_iter().for_each(|event| self.announcer.announce(now, self.epoch, event));
    }

    /// Units of the candidate's requests, and those with an outcome, since the attempt or the watch began.
    pub(super) fn progress(&self, number: u32) -> (u64, u64) {
        let arm = self.attempt(number).and_then(|attempt| self.arms.get(&attempt.candidate));
        arm.map_or((0, 0), |arm| (arm.total().units(), arm.total().labelled_units()))
    }

    fn promote(
        &mut self,
        number: u32,
        evidence: Vec<Evidence>,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) {
        let Some(attempt) = self.attempt(number) else { return };
        let (version, slot) = (Arc::clone(&attempt.version), attempt.slot);
        let bake = attempt.bake;
        let previous = std::mem::replace(&mut self.live, version);
        self.live_since = now;
        let (live, before) = (self.live.id, previous.id);
        self.retained.push_front(Retained { version: previous, since: now });
        self.buckets.set(slot, Share::NONE);
        let mut events = vec![EventKind::Promoted { version: live, previous: before, evidence }];
        events.extend(self.supersede_attempts(Some(number), live, now));
        if bake.duration.is_zero() {
            self.end(number, Phase::Promoted, None, now);
        } else {
            // The watch begins with fresh figures: what was exposed before is evidence in it no more.
            for counter in self.counters.iter_mut().filter(|counter| counter.feeds.attempt == Some(number)) {
                counter.feeds.attempt = None;
                counter.feeds.evidence.clear();
                if let Some(exposure) = &counter.exposure {
                    exposure.close();
                }
            }
            let candidate = self.new_arm();
            let control = self.settings.shadowing.then(|| self.new_arm());
            let maturity = self.settings.exposure.maturity;
            self.begin_evidence(number);
            if let Some(attempt) = self.attempt_mut(number) {
                attempt.begin_watch();
                attempt.ledger = Arc::new(Ledger::new(maturity).after(attempt.ledger.era()));
                attempt.state.sample = bake.previous_as_shadow;
                attempt.state.phase = Phase::Baking;
                attempt.state.entered = now;
                attempt.state.watch = bake.duration;
                attempt.state.weight = Share::ALL;
                attempt.previous = Some(before);
                attempt.tripped = false;
                attempt.before_step = (0, 0);
                let trial = std::mem::replace(&mut attempt.candidate, candidate);
                let trial_control = control.map(|control| std::mem::replace(&mut attempt.control, control));
                attempt.divergence = Divergence::default();
                self.arms.remove(&trial);
                if let Some(control) = trial_control {
                    self.arms.remove(&control);
                }
            }
        }
        self.publish(routing, joins, now, events);
        self.trim_retained(now);
    }

    /// Takes an attempt off, or live back where the attempt's version is live. Never refused.
    pub(crate) fn lower(
        &mut self,
        number: u32,
        cause: Cause,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) -> Lowered {
        let Some(attempt) = self.attempt(number) else { return Lowered::Nothing };
        let (version, phase, previous) = (attempt.version.id, attempt.state.phase, attempt.previous);
        match previous {
            Some(previous) if phase == Phase::Baking => self.go_back(previous, cause, routing, joins, now),
            _ => {
                let mut events = vec![EventKind::Aborted { version, cause: cause.clone() }];
                if let Some(attempt) = self.end(number, Phase::Aborted, Some(cause.clone()), now) {
                    events.extend(self.quarantine(&attempt.version, &cause, now));
                    self.retired.push(attempt.version);
                }
                self.publish(routing, joins, now, events);
                Lowered::Aborted(vec![version])
            }
        }
    }

    /// Takes off every exposed candidate or, where there is none, takes live back to the version before it.
    pub(crate) fn lower_all(
        &mut self,
        cause: Cause,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) -> Lowered {
        let exposed: Vec<u32> = self
            .attempts
            .iter()
            .filter(|attempt| matches!(attempt.state.phase, Phase::Shadow | Phase::Canary))
            .map(|attempt| attempt.number)
            .collect();
        if exposed.is_empty() {
            return match self.retained.front().map(|kept| kept.version.id) {
                Some(previous) => self.go_back(previous, cause, routing, joins, now),
                None => Lowered::Nothing,
            };
        }
        let mut aborted = Vec::new();
        for number in exposed {
            if let Lowered::Aborted(versions) = self.lower(number, cause.clone(), routing, joins, now) {
                aborted.extend(versions);
            }
        }
        Lowered::Aborted(aborted)
    }

    /// Makes a retained version live. Candidates are taken off: what they were compared with is gone.
    pub(crate) fn go_back(
        &mut self,
        to: VersionId,
        cause: Cause,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) -> Lowered {
        let Some(place) = self.retained.iter().position(|kept| kept.version.id == to) else {
            return Lowered::Nothing;
        };
        let Some(Retained { version, .. }) = self.retained.remove(place) else { return Lowered::Nothing };
        let former = std::mem::replace(&mut self.live, version);
        self.live_since = now;
        let from = former.id;
        let mut events = vec![EventKind::RolledBack { from, to, cause: cause.clone() }];
        let watched = self.attempts.iter().find(|attempt| attempt.state.phase == Phase::Baking);
        if let Some(number) = watched.map(|attempt| attempt.number) {
            self.end(number, Phase::RolledBack, Some(cause.clone()), now);
        }
        events.extend(self.supersede_attempts(None, to, now));
        let quarantined = self.quarantine(&former, &cause, now);
        if quarantined.is_some() {
            self.retired.push(former);
        } else {
            self.retained.push_front(Retained { version: former, since: now });
        }
        events.extend(quarantined);
        self.publish(routing, joins, now, events);
        self.trim_retained(now);
        Lowered::RolledBack { from, to }
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
            } else if let Some(attempt) = self.end(number, Phase::Aborted, Some(cause.clone()), now) {
                events.push(EventKind::Aborted { version: attempt.version.id, cause });
                self.retired.push(attempt.version);
            }
        }
        events
    }

    /// Removes an attempt from those that run and remembers how it ended.
    fn end(
        &mut self,
        number: u32,
        phase: Phase,
        cause: Option<Cause>,
        now: Timestamp,
    ) -> Option<Attempt<I, O>> {
        let place = self.attempts.iter().position(|attempt| attempt.number == number)?;
        let mut attempt = self.attempts.remove(place);
        self.buckets.set(attempt.slot, Share::NONE);
        let rules = attempt.tests().map(|test| test.rule.clone()).collect();
        self.discarded.extend(attempt.guards.drain(..).map(|guarded| guarded.guard));
        for counter in self.counters.iter().filter(|counter| counter.feeds.attempt == Some(number)) {
            if let Some(exposure) = &counter.exposure {
                exposure.close();
            }
        }
        self.past.push_back(Past {
            number,
            version: attempt.version.id,
            phase,
            cause,
            ended: now,
            candidate: attempt.candidate,
            control: attempt.control,
            divergence: attempt.divergence,
            evidence: attempt.evidence.clone(),
            alpha: attempt.alpha,
            ledger: Arc::clone(&attempt.ledger),
            live: attempt.previous.unwrap_or(self.live.id),
            rules,
            answered: std::mem::take(&mut attempt.answered),
            recalled: false,
        });
        while self.past.len() > PAST_MAX {
            if let Some(past) = self.past.pop_front() {
                self.arms.remove(&past.candidate);
                self.arms.remove(&past.control);
            }
        }
        Some(attempt)
    }

    /// An identity that did harm is not tried again by any plan.
    fn quarantine(&mut self, version: &Version<I, O>, cause: &Cause, now: Timestamp) -> Option<EventKind> {
        if !matches!(cause, Cause::Guard { .. } | Cause::Tripped { .. }) {
            return None;
        }
        let (id, reason) = (version.id, cause.to_string());
        self.quarantine
            .insert(version.identity, Quarantined { version: id, reason: reason.clone(), since: now });
        Some(EventKind::Quarantined { version: id, reason })
    }

    /// Lets go of versions beyond the number or the age to which they are retained. The one before a live that is
    /// watched stays whatever its age.
    fn trim_retained(&mut self, now: Timestamp) {
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

    fn supersede_pins(&mut self) {
        if self.settings.pins == PinPolicy::Supersede {
            let exposed = |id: VersionId| {
                self.live.id == id
                    || self.attempts.iter().any(|a| a.version.id == id && a.state.phase == Phase::Canary)
            };
            for pin in &self.pins {
                pin.supersede_unless(exposed);
            }
        }
    }

    /// Renews the lease on exposure, and ends what lasts too long.
    pub(crate) fn renew(&mut self, now: Timestamp) {
        let span = self.settings.tick_interval * LEASE_INTERVALS;
        self.lease.renew(now, span);
        for pin in &self.pins {
            pin.expire(now);
        }
        self.pins.retain(|pin| Arc::strong_count(pin) > 1);
        self.trim_retained(now);
    }

    /// What a step may take does not include the time in which no plan could leave one.
    pub(crate) fn begin_waiting_anew(&mut self) {
        for attempt in &mut self.attempts {
            attempt.state.first_request = None;
        }
    }

    /// Takes off whatever has failed outright.
    pub(crate) fn lower_tripped(&mut self, routing: &ArcSwap<Routing<I, O>>, joins: &Joins, now: Timestamp) {
        let failures = self.settings.exposure.trip_after;
        let numbers = self.attempts.iter().map(|attempt| attempt.number);
        let numbers: Vec<u32> = numbers.filter(|number| self.has_tripped(*number)).collect();
        for number in numbers {
            let Some(attempt) = self.attempt(number) else { continue };
            let version = attempt.version.id;
            self.announcer.announce(now, self.epoch, EventKind::Tripped { version });
            self.lower(number, Cause::Tripped { failures }, routing, joins, now);
        }
    }

    /// The figures of an arm.
    pub(crate) fn view(&self, arm: u32, now: Timestamp) -> Option<ArmView> {
        let arm = self.arms.get(&arm)?;
        Some(ArmView {
            total: arm.read(Window::Total, now),
            predictions: arm.read(Window::Predictions, now),
            recent: arm.read(Window::Recent, now),
            kpis: Arc::clone(&self.settings.kpis),
        })
    }
}

//! The state of the control side and what changes it. Everything here runs under the control lock, and nothing of the
//! host's does: no model, no guard, no subscriber.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::event::{Announcer, Cause, EventKind};
use super::guard::{ArmView, Comparison, Evidence, Guard, Verdict};
use super::phase::Phase;
use super::pins::{PinPolicy, PinSlot};
use super::plan::{Bake, Plan};
use super::rollout::{Input, Judgement, Move, State, TransitionRefused, expose, transition};
use crate::clock::Timestamp;
use crate::feedback::join::Joins;
use crate::model::Identity;
use crate::routing::{Arm, Buckets, Lease, Routing, Shadowing};
use crate::shadow::ShadowCounts;
use crate::share::Share;
use crate::stats::divergence::{Divergence, DivergenceFigures};
use crate::stats::exposure::{Awaited, Exposure, ExposureOptions};
use crate::stats::intake::Intake;
use crate::stats::tally::Tally;
use crate::stats::window::{Window, WindowConfig, Windows};
use crate::sync::is_only_owner;
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
    pub(crate) pins_max: usize,
    pub(crate) pins: PinPolicy,
    pub(crate) pins_last: Duration,
}

/// Ended rollouts whose outcome and figures are remembered.
const PAST_MAX: usize = 32;
/// Versions of which figures are remembered, beside those that are in use.
const RECORDS_MAX: usize = 64;
/// Exposures that are kept for reuse, so that a switch allocates none.
const SPARES_MAX: usize = 6;
/// Exposures whose figures wait for a tick; beyond it, the next change of the table collects them itself.
const EXPOSURES_MAX: usize = 256;
/// Rollouts at one time. Their arms must have numbers that fit a byte.
const ATTEMPTS_MAX: usize = 32;
/// A candidate counts for nothing when nobody has judged it for so many intervals.
const LEASE_INTERVALS: u32 = 3;
/// The share of a canary's requests that live shadows where no shadow of it came first: as in [`Plan::ramp`].
const PAIRS_BY_DEFAULT: u16 = 1_000;

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
    arms: BTreeMap<u32, Windows>,
    counters: Vec<Counter>,
    spares: Vec<Exposure>,
    buckets: Buckets,
    salt: Box<[u8]>,
    next_arm: u32,
    next_exposure: u32,
    next_attempt: u32,
    /// Two tallies that are empty between ticks; what stripes are swapped with and drained into.
    scratch: (Tally, Tally),
}

/// A version that is kept for a rollback.
pub(crate) struct Retained<I: ?Sized, O> {
    pub(crate) version: Arc<Version<I, O>>,
    pub(crate) since: Timestamp,
}

/// One attempt to replace live, as long as it runs.
pub(crate) struct Attempt<I: ?Sized, O> {
    pub(crate) number: u32,
    /// What it is called in the table of buckets.
    slot: u8,
    pub(crate) version: Arc<Version<I, O>>,
    pub(crate) guards: Vec<Arc<dyn Guard>>,
    pub(crate) plan: Option<Plan>,
    /// How it is watched once it is live.
    pub(crate) bake: Bake,
    pub(crate) state: State,
    pub(crate) candidate: u32,
    pub(crate) control: u32,
    pub(crate) divergence: Divergence,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) previous: Option<VersionId>,
    /// It has failed outright, wherever it was exposed.
    tripped: bool,
    /// Requests and outcomes of the candidate when the step began.
    before_step: (u64, u64),
    shadow_before: ShadowCounts,
}

/// An attempt that is over.
pub(crate) struct Past {
    pub(crate) number: u32,
    pub(crate) version: VersionId,
    pub(crate) phase: Phase,
    pub(crate) cause: Option<Cause>,
    pub(crate) ended: Timestamp,
    pub(crate) candidate: u32,
    pub(crate) control: u32,
    pub(crate) divergence: Divergence,
    pub(crate) evidence: Vec<Evidence>,
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

/// What an exposure's requests and outcomes count for.
#[derive(PartialEq)]
struct Feeds {
    arms: Vec<u32>,
    /// The attempt that its pairs are evidence in.
    attempt: Option<u32>,
    /// Whether failing outright here ends that attempt: live as the shadow of a canary does not.
    trips: bool,
}

/// An exposure, and what counts for what.
struct Counter {
    number: u32,
    /// Gone once no table, pin or queued copy uses it; outcomes still come to the intake.
    exposure: Option<Arc<Exposure>>,
    intake: Arc<Intake>,
    feeds: Feeds,
    current: bool,
    retired: Option<Timestamp>,
    bits_seen: u64,
}

impl Counter {
    /// The exposure, where it is free and would count for just this.
    fn take_up(&mut self, share: Share, feeds: &Feeds) -> Option<Arc<Exposure>> {
        let fits = |exposure: &&Arc<Exposure>| {
            exposure.share == share && !exposure.is_closed() && !exposure.is_tripped()
        };
        let exposure =
            self.exposure.as_ref().filter(|_| !self.current && self.feeds == *feeds).filter(fits)?;
        self.current = true;
        Some(Arc::clone(exposure))
    }
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

/// A rollout's figures at one moment, for its guards to judge outside of the lock.
pub(crate) struct Snapshot {
    pub(crate) attempt: u32,
    state: State,
    pub(crate) phase: Phase,
    pub(crate) guards: Vec<Arc<dyn Guard>>,
    pub(crate) candidate: ArmView,
    pub(crate) live: ArmView,
    pub(crate) divergence: DivergenceFigures,
    pub(crate) shadow: ShadowCounts,
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
            arms: BTreeMap::new(),
            counters: Vec::new(),
            spares: Vec::new(),
            buckets: Buckets::default(),
            salt: Box::default(),
            next_arm: 0,
            next_exposure: 0,
            next_attempt: 1,
            scratch: (Tally::recording(kind, kpis), Tally::recording(kind, kpis)),
            settings,
        };
        control.remember(&live, now);
        control.restock();
        control
    }

    /// Builds the table that the present state asks for.
    pub(crate) fn table(&mut self, joins: &Joins) -> Routing<I, O> {
        self.epoch += 1;
        for counter in &mut self.counters {
            counter.current = false;
        }
        let baking = self.attempts.iter().position(|attempt| attempt.state.phase == Phase::Baking);
        let trials: Vec<usize> = (0..self.attempts.len())
            .filter(|place| {
                let phase = self.attempts.get(*place).map(|attempt| attempt.state.phase);
                matches!(phase, Some(Phase::Shadow | Phase::Canary))
            })
            .collect();

        let mut live_feeds: Vec<u32> = self.lifetime(self.live.id).into_iter().collect();
        let mut live_attempt = None;
        if let Some(attempt) = baking.and_then(|place| self.attempts.get(place)) {
            live_feeds.push(attempt.candidate);
            live_attempt = Some(attempt.number);
        }
        live_feeds
            .extend(trials.iter().filter_map(|place| self.attempts.get(*place)).map(|trial| trial.control));
        let live_feeds = Feeds { arms: live_feeds, attempt: live_attempt, trips: true };
        let live_exposure = self.expose(self.buckets.free(), live_feeds, joins);
        let mut arms = vec![Arm { version: Arc::clone(&self.live), exposure: live_exposure }];
        let mut shadowing = Vec::new();
        let mut arm_of_slot = [0u8; 256];

        for place in trials {
            let Some(attempt) = self.attempts.get(place) else { continue };
            let (number, candidate, state) = (attempt.number, attempt.candidate, attempt.state.clone());
            let (version, slot) = (Arc::clone(&attempt.version), attempt.slot);
            let by = arms.len() as u8;
            let feeds = |arms: Vec<u32>, trips| Feeds { arms, attempt: Some(number), trips };
            let own: Vec<u32> = self.lifetime(version.id).into_iter().chain([candidate]).collect();
            let exposure = self.expose(state.weight, feeds(own.clone(), true), joins);
            arms.push(Arm { version, exposure });
            if let Some(place) = arm_of_slot.get_mut(usize::from(slot)) {
                *place = by;
            }
            if !self.settings.shadowing {
                continue;
            }
            if state.sample != Share::NONE {
                let exposure = self.expose(state.sample, feeds(own, true), joins);
                shadowing.push(Shadowing { of: 0, by, reversed: false, sample: state.sample, exposure });
            }
            if state.phase == Phase::Canary && self.settings.canary_pairs {
                let sample = state.sample.max(Share::from_buckets(PAIRS_BY_DEFAULT));
                let exposure = self.expose(sample, feeds(Vec::new(), false), joins);
                shadowing.push(Shadowing { of: by, by: 0, reversed: true, sample, exposure });
            }
        }

        let previous = baking.and_then(|place| self.previous_arm(place, &mut arms, &mut shadowing, joins));
        Routing {
            arms,
            owner: self.buckets.table(|slot| arm_of_slot.get(usize::from(slot)).copied().unwrap_or(0)),
            salt: self.salt.clone(),
            shadowing,
            previous,
            lease: Arc::clone(&self.lease),
        }
    }

    /// The version before a live that is watched: it answers what live fails on, and may run as its shadow.
    fn previous_arm(
        &mut self,
        baking: usize,
        arms: &mut Vec<Arm<I, O>>,
        shadowing: &mut Vec<Shadowing>,
        joins: &Joins,
    ) -> Option<Arm<I, O>> {
        let attempt = self.attempts.get(baking)?;
        let (number, control, previous) = (attempt.number, attempt.control, attempt.previous?);
        let sample = attempt.bake.previous_as_shadow;
        let version = Arc::clone(&self.retained.iter().find(|kept| kept.version.id == previous)?.version);
        let lifetime: Vec<u32> = self.lifetime(previous).into_iter().collect();
        let own = Feeds { arms: lifetime.clone(), attempt: None, trips: false };
        let exposure = self.expose(Share::NONE, own, joins);
        let arm = Arm { version, exposure };
        if self.settings.shadowing && sample != Share::NONE {
            let by = arms.len() as u8;
            let watched = lifetime.into_iter().chain([control]).collect();
            let feeds = Feeds { arms: watched, attempt: Some(number), trips: false };
            let exposure = self.expose(sample, feeds, joins);
            arms.push(arm.clone());
            shadowing.push(Shadowing { of: 0, by, reversed: true, sample, exposure });
        }
        Some(arm)
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

    /// A place to count requests: one that has counted for the same until now, or since the last tick; or else a new
    /// one, recycled where there is one in stock.
    ///
    /// Going to and fro between two versions so makes two places, not one for each time. That is what a swap in less
    /// than 2 us rests on (one that makes a place takes 30), and it keeps outcomes welcome: only so many places are
    /// remembered.
    fn expose(&mut self, share: Share, feeds: Feeds, joins: &Joins) -> Arc<Exposure> {
        // A table that changes for another's sake does not give a version that fails outright a new chance.
        let tripped = feeds.trips && feeds.attempt.is_some_and(|attempt| self.has_tripped(attempt));
        let mut free = self.counters.iter_mut().filter(|_| !tripped);
        if let Some(exposure) = free.find_map(|counter| counter.take_up(share, &feeds)) {
            return exposure;
        }
        let number = self.next_exposure;
        self.next_exposure += 1;
        let exposure = match self.spares.pop() {
            Some(spare) => spare.renumbered(number, share, self.settings.seed),
            None => Exposure::new(number, share, self.settings.seed, self.settings.exposure),
        };
        if tripped {
            exposure.trip();
        }
        let exposure = Arc::new(exposure);
        let intake = Arc::clone(&exposure.intake);
        joins.register(number, Arc::clone(&intake));
        self.counters.push(Counter {
            number,
            exposure: Some(Arc::clone(&exposure)),
            intake,
            feeds,
            current: true,
            retired: None,
            bits_seen: 0,
        });
        exposure
    }

    /// Whether an attempt has failed outright, wherever it was exposed.
    fn has_tripped(&self, number: u32) -> bool {
        let tripped = |counter: &Counter| {
            let exposure = counter.exposure.as_ref();
            counter.feeds.trips && exposure.is_some_and(|exposure| exposure.is_tripped())
        };
        self.attempt(number).is_some_and(|attempt| attempt.tripped)
            || self.counters.iter().any(|counter| counter.feeds.attempt == Some(number) && tripped(counter))
    }

    fn restock(&mut self) {
        while self.spares.len() < SPARES_MAX / 2 {
            self.spares.push(Exposure::new(0, Share::NONE, self.settings.seed, self.settings.exposure));
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

    fn lifetime(&self, version: VersionId) -> Option<u32> {
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
        let slot = (1..=ATTEMPTS_MAX as u8).find(|slot| !taken(slot))?;
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

    /// Where an attempt stands, also when it is over and still remembered.
    pub(crate) fn phase_of(&self, number: u32) -> Option<Phase> {
        let running = self.attempt(number).map(|attempt| attempt.state.phase);
        running.or_else(|| self.past.iter().find(|past| past.number == number).map(|past| past.phase))
    }

    /// The largest share that an attempt's candidate could have.
    pub(crate) fn room_for(&self, number: u32) -> Share {
        let own = self.attempt(number).map_or(Share::NONE, |attempt| attempt.state.weight);
        Share::from_buckets(self.buckets.free().buckets() + own.buckets())
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
    fn carry_out(
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
    fn change_exposure(
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
        let weight = self.buckets.set(slot, weight);
        let span = self.settings.tick_interval * LEASE_INTERVALS;
        self.lease.renew(now, span);
        let before_step = self.progress(number);
        let attempt = self.attempt_mut(number)?;
        let from = attempt.state.phase;
        attempt.state =
            State { phase, weight, sample, step, entered: now, first_request: None, ..attempt.state };
        attempt.before_step = before_step;
        Some(EventKind::PhaseChanged {
            version: attempt.version.id,
            from,
            to: phase,
            weight,
            sample,
            evidence,
        })
    }

    /// Units of the candidate's requests, and those with an outcome, since the attempt or the watch began.
    fn progress(&self, number: u32) -> (u64, u64) {
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
                if let Some(exposure) = &counter.exposure {
                    exposure.close();
                }
            }
            let candidate = self.new_arm();
            let control =
                (bake.previous_as_shadow != Share::NONE && self.settings.shadowing).then(|| self.new_arm());
            if let Some(attempt) = self.attempt_mut(number) {
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
        self.discarded.append(&mut attempt.guards);
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

    /// The part of a tick that moves figures: drains every exposure into the arms it feeds, and lets go of what is no
    /// longer used.
    pub(crate) fn collect(&mut self, joins: &Joins, now: Timestamp) {
        let mut awaited: Vec<Awaited> = Vec::new();
        let mut issued = 0;
        let (delta, spare) = &mut self.scratch;
        for counter in &mut self.counters {
            let mut divergence = Divergence::default();
            let mut unused = false;
            if let Some(exposure) = &counter.exposure {
                // Looked at before draining: once nobody else holds it, nothing can be recorded after this drain.
                unused = !counter.current && is_only_owner(exposure);
                if counter.feeds.trips && exposure.is_tripped() {
                    let mut attempts = self.attempts.iter_mut();
                    if let Some(attempt) = attempts.find(|a| Some(a.number) == counter.feeds.attempt) {
                        attempt.tripped = true;
                    }
                }
                exposure.drain(delta, spare, &mut awaited);
                let bits = exposure.bits();
                issued += bits - std::mem::replace(&mut counter.bits_seen, bits);
            }
            counter.intake.drain(delta, &mut divergence);
            if !delta.is_empty() {
                for feed in &counter.feeds.arms {
                    if let Some(arm) = self.arms.get_mut(feed) {
                        arm.absorb(delta, now);
                    }
                }
                delta.reset();
            }
            if divergence != Divergence::default() {
                if let Some(attempt) =
                    self.attempts.iter_mut().find(|a| Some(a.number) == counter.feeds.attempt)
                {
                    attempt.divergence.merge(&divergence);
                } else if let Some(past) =
                    self.past.iter_mut().find(|p| Some(p.number) == counter.feeds.attempt)
                {
                    past.divergence.merge(&divergence);
                }
            }
            if unused {
                counter.retired = Some(now);
                if counter.bits_seen == 0 {
                    joins.forget(counter.number);
                } else {
                    joins.retire(counter.number, now);
                }
                let spent = counter.exposure.take().and_then(Arc::into_inner);
                self.spares.extend(spent.filter(|_| self.spares.len() < SPARES_MAX));
            }
        }
        // What an intake that nobody can reach any more would collect, nobody would ever see.
        self.counters.retain(|counter| counter.retired.is_none() || Arc::strong_count(&counter.intake) > 1);
        joins.await_outcomes(awaited);
        joins.maintain(issued, now);
        self.restock();

        let started: Vec<(u32, bool)> = self
            .attempts
            .iter()
            .map(|attempt| (attempt.number, self.progress(attempt.number).0 > attempt.before_step.0))
            .collect();
        for (number, started) in started {
            if let (true, Some(attempt)) = (started, self.attempt_mut(number)) {
                attempt.state.first_request.get_or_insert(now);
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

    /// The figures of every rollout that is exposed or follows a plan, for its guards.
    pub(crate) fn snapshots(&self, shadow: ShadowCounts, now: Timestamp) -> Vec<Snapshot> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.state.phase != Phase::Staged || attempt.plan.is_some())
            .filter_map(|attempt| {
                Some(Snapshot {
                    attempt: attempt.number,
                    state: attempt.state.clone(),
                    phase: attempt.state.phase,
                    guards: attempt.guards.clone(),
                    candidate: self.view(attempt.candidate, now)?,
                    live: self.view(attempt.control, now)?,
                    divergence: attempt.divergence.figures(),
                    shadow: since(shadow, attempt.shadow_before),
                })
            })
            .collect()
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

    /// Applies what the guards said of a snapshot, unless the rollout has moved meanwhile.
    pub(crate) fn apply(
        &mut self,
        snapshot: &Snapshot,
        evidence: Vec<Evidence>,
        routing: &ArcSwap<Routing<I, O>>,
        joins: &Joins,
        now: Timestamp,
    ) {
        let (requests, labels) = self.progress(snapshot.attempt);
        let frozen = self.frozen.is_some();
        let Some(attempt) = self.attempt_mut(snapshot.attempt) else { return };
        if attempt.state != snapshot.state {
            return;
        }
        attempt.evidence = evidence.clone();
        let verdict = Verdict::all(evidence.iter().map(|evidence| evidence.verdict));
        let (before, labels_before) = attempt.before_step;
        let predictions = requests.saturating_sub(before);
        let labels = labels.saturating_sub(labels_before);
        let judged = Input::Judged(Judgement { verdict, predictions, labels });
        let version = attempt.version.id;
        let moved = transition(&attempt.state, attempt.plan.as_ref(), frozen, now, judged);
        let moved = moved.unwrap_or(Move::Stay);
        let failed = evidence.iter().find(|evidence| evidence.verdict == Verdict::Fail).cloned();
        if let (Move::Lower, Some(failed)) = (&moved, &failed) {
            self.announcer.announce(
                now,
                self.epoch,
                EventKind::GuardFailed { version, evidence: failed.clone() },
            );
        }
        let cause = failed.map(|evidence| Cause::Guard { evidence });
        self.carry_out(snapshot.attempt, moved, evidence, cause, routing, joins, now);
    }
}

impl Snapshot {
    pub(crate) fn comparison(&self) -> Comparison<'_> {
        let Self { phase, candidate, live, divergence, shadow, .. } = self;
        Comparison { phase: *phase, candidate, live, divergence, shadow: *shadow }
    }
}

fn since(now: ShadowCounts, before: ShadowCounts) -> ShadowCounts {
    ShadowCounts {
        ran: now.ran - before.ran,
        dropped: now.dropped - before.dropped,
        skipped: now.skipped - before.skipped,
        ..now
    }
}

//! What a member does, step by step: it tells, asks, judges where it is its turn, and makes true what was agreed on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::agreement::{
    Told, beside, control_json, control_of, core_of, course_of, events_of, fleet_time, obey, told_identity,
};
use super::counts::FleetCounts;
use super::judging::{FleetJudge, KEYED};
use super::membership::{Agent, Aligned, DEMANDS_MAX, LIBRARY, Membership, NotAgreed, REST, TRIES};
use super::status::{FleetState, FleetStatus};
use crate::base::clock::{Shift, Timestamp};
use crate::base::guarded::guarded;
use crate::control::adopt::{AfterCrash, Start};
use crate::control::align::Agreed;
use crate::control::control::Control;
use crate::control::decider::{Decider, Demand, Demanded, figures_of_live, is_agreed, withheld};
use crate::control::desk::Desk;
use crate::control::event::EventKind;
use crate::control::saved::{SavedAttempt, SavedControl, SavedSetting, SavedVersion};
use crate::control::seat::Seat;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::{Ancestors, Core as HeadCore, Evidence, Head, Place};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::protocol::following::Applied;
use crate::handle::build_error::BuildError;
use crate::handle::core::Core;
use crate::model::causes::{told, told_of_box};
use crate::model::identity::Identity;
use crate::model::throttle::LoadThrottle;
use crate::rollout::phase::Phase;
use crate::stats::figures::rolling::Windows;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;
use crate::version::prepare::prepare;

/// When a version that could not be opened is tried again: it may not have been copied yet.
const TRIED_AGAIN: Duration = Duration::from_secs(30);

/// How long a version that was brought is kept until it is agreed that it is staged: longer than the store takes to say so.
const BROUGHT: Duration = Duration::from_secs(60);

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    pub(crate) fn is_in_fleet(&self) -> bool {
        self.fleet.is_some()
    }

    /// A version that is about to be staged: the others will open their own.
    pub(crate) fn bring_to_fleet(&self, version: &Arc<dyn AnyVersion>) {
        if let Some(fleet) = &self.fleet {
            let agent = &mut *fleet.agent.lock();
            agent.versions.insert(version.id, Arc::clone(version));
            agent.brought.push((version.id, self.serving.clock.now()));
        }
    }

    /// What is known of the fleet.
    pub(crate) fn fleet_status(&self) -> Option<FleetStatus> {
        self.fleet.as_ref().map(|fleet| fleet.status.lock().clone())
    }

    /// What whoever decides goes by.
    fn decider(&self, saved: &SavedControl, brought: &[Arc<dyn AnyVersion>]) -> Option<Decider> {
        let (settings, figures) = {
            let control = &*self.control.lock();
            (control.settings.clone(), figures_of_live(control))
        };
        let setting = SavedSetting::of(&self.setting());
        let mut decider = Decider::new(settings, setting, saved, brought).ok()?;
        figures.iter().for_each(|figures: &Windows| decider.know_live(figures));
        Some(decider)
    }

    /// Agrees with the others on something that raises exposure, and makes it true here.
    ///
    /// # Errors
    ///
    /// They have agreed on something else, or cannot be asked: with the reason. Then it is true nowhere, unless it says so.
    pub(crate) fn agree<T>(
        &self,
        fleet: &Membership,
        decide: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> Result<T, String> {
        let agent = &mut *fleet.agent.lock();
        let clock = &self.serving.clock;
        let over = agent.read(clock)?;
        let head = over.head();
        if head.min_writer > LIBRARY {
            return Err(String::from(
                "a later release of this library decides in this fleet: upgrade this process",
            ));
        }
        let saved = control_of(head).ok_or("what was agreed on cannot be read by this release")?;
        let active_ms = agent.active_ms();
        let now = fleet_time(head, &saved, active_ms);
        let brought: Vec<Arc<dyn AnyVersion>> = agent.versions.values().cloned().collect();
        let mut decider = self.decider(&saved, &brought).ok_or("the decision cannot be made here")?;
        obey(&mut decider, head, &saved, &fleet.demands.lock(), now);
        drop(decider.events());
        let before = decider.saved(now);
        let result = decider.change(now, decide);
        let saved = decider.saved(now);
        if is_agreed(&before, &saved) {
            return Ok(result);
        }
        let next = agent.next(head, &over, &saved, &mut decider, active_ms, clock.now());
        match agent.put(&over, next, true, clock) {
            Ok(_) => {
                self.make_true(fleet, agent);
                Ok(result)
            }
            Err(NotAgreed::No(reason)) => Err(reason),
            Err(NotAgreed::Unknown(reason)) => {
                Err(format!("{reason}; it may be true in a moment: look before it is said again"))
            }
        }
    }

    /// Takes note of what has just lowered exposure here, from this event on: the others are to do the same.
    pub(crate) fn demand_of_fleet(&self, from: u64) {
        let Some(fleet) = &self.fleet else { return };
        let demands: Vec<Demand> = {
            let control = &*self.control.lock();
            let of = |version: VersionId| control.last_attempt_of(version.as_str());
            let events = control.announcer.since(from);
            let demanded = |event: &EventKind| match event {
                EventKind::Aborted { version, cause } => {
                    let attempt = of(*version)?;
                    let identity = control.known_attempt(attempt)?.identity;
                    Some(Demanded::Lower { attempt, identity, cause: cause.clone() })
                }
                EventKind::RolledBack { from, to, cause } => {
                    Some(Demanded::GoBack { from: *from, to: *to, cause: cause.clone() })
                }
                EventKind::Paused { version, reason } => {
                    let attempt = of(*version)?;
                    let identity = control.known_attempt(attempt)?.identity;
                    Some(Demanded::Pause { attempt, identity, reason: reason.clone() })
                }
                EventKind::Frozen { reason } => Some(Demanded::Freeze(Some(reason.clone()))),
                EventKind::Unfrozen => Some(Demanded::Freeze(None)),
                _ => None,
            };
            let each = events
                .iter()
                .filter_map(|event| Some(Demand { by: event.actor.clone(), what: demanded(&event.kind)? }));
            each.collect()
        };
        self.demand(fleet, demands);
    }

    /// An identity may be tried again, by all.
    pub(crate) fn release_in_fleet(&self, identity: Identity) {
        if let Some(fleet) = &self.fleet {
            let by = self.control.lock().announcer.last_actor();
            self.demand(fleet, vec![Demand { by, what: Demanded::Release(identity) }]);
        }
    }

    /// Has others do what is true here already.
    fn demand(&self, fleet: &Membership, demands: Vec<Demand>) {
        if demands.is_empty() {
            return;
        }
        {
            let waiting = &mut *fleet.demands.lock();
            waiting.extend(demands);
            let beyond = waiting.len().saturating_sub(DEMANDS_MAX);
            waiting.drain(..beyond);
        }
        // Where the store is being asked, whoever does will ask this next.
        if let Some(mut agent) = fleet.agent.try_lock() {
            self.press(fleet, &mut agent);
        }
    }

    /// Puts what is demanded to the others, over whatever they have agreed on.
    fn press(&self, fleet: &Membership, agent: &mut Agent) {
        let clock = &self.serving.clock;
        for _ in 0..TRIES {
            let demands = fleet.demands.lock().clone();
            if demands.is_empty() {
                return;
            }
            let Ok(over) = agent.read(clock) else { return };
            let head = over.head();
            let Some(saved) = control_of(head) else { return };
            let active_ms = agent.active_ms();
            let now = fleet_time(head, &saved, active_ms);
            let Some(mut decider) = self.decider(&saved, &[]) else { return };
            obey(&mut decider, head, &saved, &[], now);
            drop(decider.events());
            let before = decider.saved(now);
            demands.iter().for_each(|demand| decider.obey(demand, now));
            let after = decider.saved(now);
            let agreed = if is_agreed(&before, &after) {
                // Somebody else has done it.
                Ok(Hex(0))
            } else {
                let next = agent.next(head, &over, &after, &mut decider, active_ms, clock.now());
                agent.put(&over, next, false, clock)
            };
            if let Ok(nonce) = agreed {
                agent.own.push(nonce);
                fleet.demands.lock().drain(..demands.len());
                self.make_true(fleet, agent);
                return;
            }
        }
    }

    /// What is due now, by whoever ticks.
    pub(crate) fn step_in_fleet(&self) {
        if let Some(fleet) = self.fleet.as_ref().filter(|fleet| fleet.by_hand.load(Ordering::Relaxed)) {
            self.step(fleet, |wanted| {
                let _ = fleet.opened.0.send((wanted, self.open(wanted)));
            });
        }
    }

    /// What is due now.
    fn step(&self, fleet: &Membership, open: impl FnMut(SavedVersion)) {
        let agent = &mut *fleet.agent.lock();
        self.tell_counts(agent);
        self.press(fleet, agent);
        self.ask(agent);
        self.take_opened(fleet, agent);
        self.make_true(fleet, agent);
        self.open_what_is_missing(agent, open);
        // What was opened at once.
        if self.take_opened(fleet, agent) {
            self.make_true(fleet, agent);
        }
        self.tell_state(agent);
        let pending = fleet.demands.lock().len();
        *fleet.status.lock() = agent.status(self.serving.clock.now(), pending);
    }

    /// Hands what was counted to the row.
    fn tell_counts(&self, agent: &mut Agent) {
        let now = self.serving.clock.now();
        let copies = self.serving.shadow_counts();
        let (outbox, keyed, exposed, tripped) = {
            let control = &mut *self.control.lock();
            let exposed: Vec<u32> = control
                .attempts
                .iter()
                .filter(|attempt| attempt.state.sample.buckets() > 0)
                .map(|attempt| attempt.number)
                .collect();
            let tripped = control.attempts.iter().filter(|attempt| attempt.circuit.tripped);
            let tripped: Vec<u32> = tripped.map(|attempt| attempt.number).collect();
            let outbox = control.seat.as_mut().map(|seat| std::mem::take(&mut seat.outbox));
            (outbox.unwrap_or_default(), control.keyed, exposed, tripped)
        };
        let fresh = (copies.ran - agent.copies.0, copies.dropped - agent.copies.1);
        agent.copies = (copies.ran, copies.dropped);
        for ((attempt, era), evidence) in outbox {
            agent.member.count_in(attempt, era, &FleetCounts { evidence, copies: (0, 0) }, now);
        }
        if fresh != (0, 0) {
            let counts = FleetCounts { copies: fresh, ..FleetCounts::default() };
            let era = agent.member.place().seq;
            exposed.into_iter().for_each(|attempt| agent.member.count_in(attempt, era, &counts, now));
        }
        let publish = &mut agent.member.publish;
        publish.tripped = tripped;
        if keyed {
            publish.more.insert(KEYED.to_owned(), true.into());
        }
        let known = agent.versions.values();
        publish.ready = known.map(|version| told_identity(version.identity)).take(256).collect();
        publish.failed = agent
            .failed
            .iter()
            .take(64)
            .map(|(version, why, _)| {
                (told_identity(version.identity), why.chars().take(256).collect::<String>())
            })
            .collect();
    }

    /// Asks the store for all that is due.
    fn ask(&self, agent: &mut Agent) {
        let clock = &self.serving.clock;
        // Each lane asks a few times; a store that always has more to say does not keep the others waiting for ever.
        for _ in 0..1_024 {
            let Some((lane, act)) = agent.member.due(clock.now()) else { break };
            let reads_head = matches!(&act, Act::Get { kind: Kind::Head, .. });
            let reply = agent.perform(&act);
            if reads_head && matches!(reply, Reply::Same | Reply::Value { .. }) {
                agent.confirmed = Some(clock.now());
            }
            let decide = |saved: &SavedControl| self.decider(saved, &[]);
            let ask = |snapshot: &crate::control::tick::Snapshot| snapshot.ask(&self.serving.shadow_judge());
            let judge = FleetJudge { bench: &agent.bench, decide: &decide, ask: &ask, told: &agent.told };
            agent.member.reply(lane, &judge, &reply, clock.now());
        }
    }

    /// Takes over versions that were opened aside; whether there were any.
    fn take_opened(&self, fleet: &Membership, agent: &mut Agent) -> bool {
        let mut any = false;
        for (wanted, opened) in fleet.opened.1.try_iter() {
            any = true;
            agent.opening.retain(|opening| *opening != wanted);
            match opened {
                Ok(version) => {
                    agent.failed.retain(|(failed, ..)| *failed != wanted);
                    agent.versions.insert(version.id, version);
                }
                Err(reason) => {
                    let again = self.serving.clock.now().plus(TRIED_AGAIN);
                    let told =
                        agent.failed.iter().any(|(failed, why, _)| (*failed, why) == (wanted, &reason));
                    agent.failed.retain(|(failed, ..)| *failed != wanted);
                    if !told {
                        let reason = reason.clone();
                        self.tell(EventKind::NotReady { version: wanted.version, reason });
                    }
                    agent.failed.push((wanted, reason, again));
                }
            }
        }
        any
    }

    /// Opens what is agreed on and not loaded here.
    fn open_what_is_missing(&self, agent: &mut Agent, mut open: impl FnMut(SavedVersion)) {
        let Some(saved) = agent.head().and_then(|applied| control_of(applied.head())) else { return };
        let retained = saved.retained.iter().map(|kept| kept.version);
        let on_trial = saved.attempts.iter().map(|attempt| attempt.version);
        let wanted: Vec<SavedVersion> = std::iter::once(saved.live).chain(on_trial).chain(retained).collect();
        agent.failed.retain(|(version, ..)| wanted.contains(version));
        // What nobody has agreed on any more, and nothing here uses, is let go of.
        let in_use = self.control.lock().loaded();
        let now = self.serving.clock.now();
        agent.brought.retain(|(_, since)| now.since(*since) < BROUGHT);
        let gone: Vec<VersionId> = agent
            .versions
            .values()
            .filter(|version| {
                !wanted.iter().any(|one| (one.version, one.identity) == (version.id, version.identity))
                    && !in_use.iter().any(|used| Arc::ptr_eq(used, version))
                    && !agent.brought.iter().any(|(brought, _)| *brought == version.id)
            })
            .map(|version| version.id)
            .collect();
        // One that is being staged is brought before it is agreed on: it is let go of only once something was.
        if agent
            .aligned
            .as_ref()
            .zip(agent.head())
            .is_some_and(|(aligned, head)| aligned.print == head.written.print)
        {
            gone.iter().for_each(|version| drop(agent.versions.remove(version)));
        }
        for version in wanted {
            let known =
                agent.versions.get(&version.version).is_some_and(|known| known.identity == version.identity);
            let failed = agent.failed.iter().any(|(failed, _, again)| *failed == version && now < *again);
            if !known && !failed && !agent.opening.contains(&version) {
                agent.opening.push(version);
                open(version);
            }
        }
    }

    /// Opens a version that others have agreed on.
    fn open(&self, wanted: SavedVersion) -> Result<Arc<dyn AnyVersion>, String> {
        let id = wanted.version;
        let source =
            self.keeper.source.as_ref().ok_or("nobody knows where it is: say `.source(..)` at build")?;
        let model = match guarded(|| source.open(id.as_str())) {
            Ok(opened) => opened.map_err(told_of_box)?,
            Err(panicked) => return Err(format!("the source of versions panicked: {}", panicked.message)),
        };
        let (check, sample) = (self.serving.check.as_ref(), self.sample.as_deref());
        let prepared = prepare(id, model, &self.serving.task, check, sample, &LoadThrottle::new());
        let version = prepared.map_err(told)?;
        if version.identity != wanted.identity {
            return Err(format!(
                "its identity here is {:?}, and {:?} was agreed on: all processes must open the same bytes under one name",
                version.identity, wanted.identity
            ));
        }
        Ok(Arc::new(version))
    }

    /// Makes what is agreed on true here, and takes the lease that it gives.
    fn make_true(&self, fleet: &Membership, agent: &mut Agent) {
        let now = self.serving.clock.now();
        let Some(applied) = agent.head().cloned() else { return };
        let head = applied.head();
        let Some(saved) = control_of(head) else { return };
        let demands = fleet.demands.lock().clone();
        let settles = agent.member.born().plus(Duration::from_millis(head.timing.settle));
        let is_known = |version: SavedVersion| {
            let known = agent.versions.get(&version.version);
            known.is_some_and(|known| known.identity == version.identity)
        };
        let unready = |attempt: &SavedAttempt| now < settles || !is_known(attempt.version);
        let live_is_known = is_known(saved.live);
        let unexposed: Vec<u32> = saved
            .attempts
            .iter()
            .filter(|attempt| !live_is_known || unready(attempt))
            .map(|attempt| attempt.number)
            .collect();
        let before = agent.aligned.as_ref().filter(|aligned| aligned.print == applied.written.print);
        let shift = before.map_or_else(|| shift_to(saved.at, now), |aligned| aligned.shift);
        let aligned = Aligned {
            print: applied.written.print,
            shift,
            withheld: unexposed.clone(),
            demands: demands.len(),
            live_is_known,
        };
        if before != Some(&aligned) {
            let is_new = before.is_none();
            let mut untold = std::mem::take(&mut agent.untold);
            let mut told: Vec<Told> =
                if is_new && !agent.own.contains(&head.nonce) { events_of(head) } else { Vec::new() };
            let mut effective = saved.clone();
            if !head.lowered.is_empty() || !demands.is_empty() {
                let Some(mut decider) = self.decider(&saved, &[]) else { return };
                obey(&mut decider, head, &saved, &[], saved.at);
                if is_new {
                    let of = decider.events();
                    told.extend(
                        of.iter().map(|event| Told { by: event.actor.clone(), kind: event.kind.clone() }),
                    );
                }
                obey(&mut decider, head, &saved, &demands, saved.at);
                effective = decider.saved(saved.at);
            }
            untold.extend(std::mem::take(&mut told));
            let told = untold;
            unexposed.iter().for_each(|number| withheld(&mut effective, *number));
            if !live_is_known {
                // It watches a live that is not here.
                effective.attempts.retain(|attempt| attempt.state.phase != Phase::Baking);
            }
            let loaded = agent.versions.clone();
            let start = Start {
                setting: self.setting(),
                after_crash: AfterCrash::default(),
                loaded,
                missing: agent
                    .failed
                    .iter()
                    .map(|(version, why, _)| (version.version, why.clone()))
                    .collect(),
                torn_bytes: 0,
            };
            let entered = head.entered.iter().map(|(attempt, entered)| (*attempt, entered.seq)).collect();
            let agreed = Agreed {
                saved: effective.on_time_line(shift),
                start,
                entered,
                events: told.iter().map(|told| (told.by.clone(), told.kind.clone())).collect(),
                tell: live_is_known,
            };
            // What happened is told once it is true here.
            agent.untold = if live_is_known { Vec::new() } else { told };
            self.change(|control| control.align(agreed, self.desk(now)));
            agent.aligned = Some(aligned);
            agent.own.retain(|nonce| *nonce != Hex(0));
            let beyond = agent.own.len().saturating_sub(8);
            agent.own.drain(..beyond);
        }
        let lease_until = agent.member.following.lease_until();
        let control = &mut *self.control.lock();
        if let Some(ledger) = agent.member.judge.ledger().filter(|ledger| ledger.nonce != agent.shown) {
            agent.shown = ledger.nonce;
            if let Some(course) = course_of(&ledger.more) {
                control.show(course, shift);
            }
        }
        for event in std::mem::take(&mut *agent.told.borrow_mut()) {
            control.announcer.announce(now, control.epoch, event);
        }
        if let Some(seat) = &mut control.seat {
            seat.lease_until = lease_until;
        }
        control.renew_lease(now);
    }

    /// Says where this process stands, where that has changed.
    fn tell_state(&self, agent: &mut Agent) {
        let state = FleetState::from(agent.member.following.state(self.serving.clock.now()));
        let before = std::mem::replace(&mut agent.state, state);
        if before == state {
            return;
        }
        match state {
            FleetState::CutOff => self.tell(EventKind::FleetCutOff { reason: agent.unreachable() }),
            FleetState::Diverged => self.tell(EventKind::FleetDiverged),
            FleetState::Following if before != FleetState::Joining => self.tell(EventKind::FleetRejoined),
            _ => {}
        }
    }

    /// Takes the place in the fleet: founds it where nothing is agreed on yet.
    pub(crate) fn begin_in_fleet(&self) -> Result<(), BuildError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        let agent = &mut *fleet.agent.lock();
        let clock = &self.serving.clock;
        {
            let control = &mut *self.control.lock();
            control.seat = Some(Seat::default());
            for version in control.loaded() {
                agent.versions.insert(version.id, version);
            }
        }
        if agent.head().is_none() {
            let now = clock.now();
            let mut saved = self.control.lock().saved((0, 0), false, Vec::new(), now);
            saved.setting = Some(SavedSetting::of(&self.setting()));
            let head = Head {
                place: Place { term: 1, seq: 1 },
                nonce: Hex(agent.chance.bits()),
                ancestors: Ancestors::default(),
                by: agent.member.name().to_string(),
                why: String::from("the fleet is founded"),
                asked_at: now,
                min_reader: LIBRARY,
                min_writer: LIBRARY,
                core: HeadCore { candidates: Vec::new(), ..core_of(&saved) },
                lowered: Vec::new(),
                control: control_json(&saved),
                entered: BTreeMap::new(),
                timing: agent.timing,
                evidence: Evidence::default(),
                contract: agent.contract,
                key_print: Hex(0),
                more: beside(0, &[]),
            };
            let refused = |reason: String| BuildError::Fleet { reason };
            let written = Arc::new(Written::new(head).map_err(|error| refused(error.to_string()))?);
            let (key, value) = (agent.layout.head().clone(), Value::Head(Arc::clone(&written)));
            let sent = clock.now();
            match agent.perform(&Act::Put { key, value, over: None }) {
                Reply::Done(tag) => {
                    agent.member.following.hear_own(sent, &Applied { written, tag }, clock.now());
                }
                // Somebody else has founded it just now, or this was it: what is there is what counts.
                _ => {
                    let saved = agent.found(clock)?.ok_or_else(|| refused(agent.unreachable()))?;
                    let live = self.control.lock().live.identity;
                    if saved.live.identity != live {
                        return Err(refused(format!(
                            "another process has just founded it with {} live: start this one again",
                            saved.live.version
                        )));
                    }
                }
            }
        }
        self.make_true(fleet, agent);
        self.tell_counts(agent);
        self.ask(agent);
        self.tell_state(agent);
        *fleet.status.lock() = agent.status(clock.now(), 0);
        Ok(())
    }

    /// Says goodbye, as far as the store can be asked.
    pub(crate) fn leave_fleet(&self) {
        let Some(fleet) = &self.fleet else { return };
        let agent = &mut *fleet.agent.lock();
        self.tell_counts(agent);
        self.press(fleet, agent);
        agent.member.leave();
        self.ask(agent);
    }
}

/// Between the time of plans and that of this process.
fn shift_to(fleet: Timestamp, now: Timestamp) -> Shift {
    Shift::onto(fleet, now)
}

/// A thread of a handle that steps its place in the fleet.
pub(crate) fn run_fleet<I, O>(inner: &Arc<Core<I, O>>, stopped: &Receiver<()>, worked: impl Fn(Timestamp))
where
    I: ?Sized + 'static,
    O: 'static,
    Core<I, O>: Send + Sync,
{
    let Some(fleet) = &inner.fleet else { return };
    fleet.is_driven();
    loop {
        inner.step(fleet, |wanted| {
            let (core, opened) = (Arc::clone(inner), fleet.opened.0.clone());
            let open = move || {
                let result = core.open(wanted);
                let _ = opened.send((wanted, result));
            };
            let spawned = std::thread::Builder::new().name("switchback-open".into()).spawn(open);
            if let Err(error) = spawned {
                let _ = fleet.opened.0.send((wanted, Err(error.to_string())));
            }
        });
        inner.traces.emit();
        worked(inner.serving.clock.now());
        if !matches!(stopped.recv_timeout(REST), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

//! The parts of a tick: figures and evidence are brought together, guards look at them, and what follows is done.

use std::sync::Arc;

use super::attempt::{Attempt, GuardTest, Guarded, Judged};
use super::control::Control;
use super::counter::Counter;
use super::desk::Desk;
use super::event::{Cause, EventKind};
#[cfg(feature = "fleet")]
use super::seat::Asked;
use super::table::SPARES_MAX;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::base::sync::is_only_owner;
use crate::drift::watch::Seen;
use crate::feedback::PredictionId;
use crate::feedback::join::Joins;
use crate::model::error::ModelError;
use crate::model::identity::Identity;
use crate::request::shadow::ShadowCounts;
use crate::rollout::budget::{ErrorBudgetStatus, Thresholds};
use crate::rollout::course::Point;
use crate::rollout::decision::{Decision, FORMAT};
use crate::rollout::guard::answering::Answering;
use crate::rollout::guard::comparison::{ArmView, Comparison, Looked};
use crate::rollout::guard::design::TruthKind;
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::guard::history::History;
use crate::rollout::guard::sentence::Names;
use crate::rollout::guard::test::Test;
use crate::rollout::guard::tested::Tested;
use crate::rollout::guard::verdict::Verdict;
use crate::rollout::phase::Phase;
use crate::rollout::plan::Plan;
use crate::rollout::transition::{Input, Judgement, Move, State, transition, waits_for_cycle};
use crate::stats::counting::exposure::{Awaited, Units};
use crate::stats::counting::intake::Collection;
use crate::stats::evidence::arm::UnitCounts;
use crate::stats::evidence::ledger::{Drained, Ledger, Side};
use crate::stats::evidence::segment::SegmentUnits;
use crate::stats::figures::divergence::Divergence;
use crate::stats::sequential::Odds;
use crate::stats::{DivergenceFigures, Window};
use crate::task::segments::Table;
use crate::version::ask::Judge;
use crate::version::id::VersionId;
use crate::version::in_flight::InFlight;
use crate::version::loaded::Known;

/// A rollout's figures and evidence at one moment, for its guards to judge outside of the lock.
pub(crate) struct Snapshot {
    pub(crate) attempt: u32,
    /// The candidate's figures, which are others where its evidence has begun anew: what a guard says of these is then void.
    figures: u32,
    state: State,
    plan: Option<Plan>,
    frozen: bool,
    /// The share that a step may give it: what other candidates leave.
    room: Share,
    /// A guard that it was watched by before a start is not here, and nobody has said that it may go on without: a watch that lacks one shows
    /// nothing, however long it lasts.
    lacks_guards: bool,
    /// It is asked nothing, since it failed together with live: nothing is raised before it is asked again, whoever guards it.
    circuit_is_open: bool,
    progress: (u64, u64),
    now: Timestamp,
    before: Share,
    guards: Vec<Guarded>,
    /// The obstacles that keep each guard from letting the candidate go on.
    obstacles: Vec<Vec<String>>,
    /// Few new keys come, where that is so.
    keys_run_out: Option<String>,
    ledger: Arc<Ledger>,
    thresholds: Thresholds,
    candidate: ArmView,
    live: ArmView,
    divergence: DivergenceFigures,
    shadow: ShadowCounts,
    in_flight: InFlight,
    context: Context,
    /// A point of the attempt's course is to be taken.
    due: bool,
    /// The answers of both versions to the same traffic, where that is watched.
    pub(crate) drift: Option<Arc<Seen>>,
}

/// The context that a record of a decision gives beside the evidence.
struct Context {
    handle: String,
    seed: u64,
    epoch: u64,
    // Not the versions: one that is taken off is freed by the same tick.
    candidate: (VersionId, Identity),
    live: (VersionId, Identity),
    error_budget: ErrorBudgetStatus,
}

/// The verdicts of a snapshot's guards, and what is to follow.
pub(crate) struct Verdicts {
    judged: Vec<Judged>,
    moved: Move,
    /// The share that its next step gives it, where others have that.
    lacks_room: Option<Share>,
    /// Until when its plan waits for its cycle and for nothing else.
    waits_until: Option<Timestamp>,
    point: Option<Point>,
}

impl Verdicts {
    /// Whether what follows raises exposure.
    pub(crate) fn raises(&self) -> bool {
        self.moved.raises()
    }
}

impl Snapshot {
    /// The stretch between two changes of exposure that it is of.
    #[cfg(feature = "drift")]
    pub(crate) fn era(&self) -> u32 {
        self.ledger.era()
    }

    /// Asks the guards. They are the host's code: no lock is held, and time may pass.
    pub(crate) fn ask<A: 'static>(&self, judge: &Judge<'_, A>) -> Verdicts {
        // Where a guard judges failures, no other need.
        let judged = self.guards.iter().filter_map(|guarded| guarded.test.as_ref());
        let judged = judged.into_iter().any(|test| test.design.tested == Tested::Failures);
        let read = |guarded: &Guarded| {
            let design = &guarded.test.as_ref()?.design;
            let history = History::of_design(design, &self.ledger);
            Some((history, Answering::of(design, &self.ledger, judged)))
        };
        let histories: Vec<Option<(History, Answering)>> = self.guards.iter().map(read).collect();
        let mut evidence: Vec<Evidence> = self
            .guards
            .iter()
            .zip(histories.iter().zip(&self.obstacles))
            .map(|(guarded, (history, obstacles))| {
                let comparison = self.comparison(guarded, history.as_ref(), obstacles);
                let judged = judge.guarded(|| guarded.guard.judge(&comparison));
                let panicked = |error: ModelError| {
                    Evidence::new("a guard of the host's", Verdict::Inconclusive).note(error.to_string())
                };
                judged.unwrap_or_else(panicked).bounded()
            })
            .collect();
        if let Some(run_out) = &self.keys_run_out {
            for evidence in evidence.iter_mut().filter(|evidence| evidence.verdict == Verdict::Inconclusive) {
                let before = evidence.note.take().map(|note| format!("{note}; ")).unwrap_or_default();
                evidence.note = Some(format!("{before}{run_out}"));
            }
        }
        let verdict = Verdict::all(evidence.iter().map(|evidence| evidence.verdict));
        let (predictions, labels) = self.progress;
        let judgement = Judgement { verdict, predictions, labels };
        let (plan, frozen, now) = (self.plan.as_ref(), self.frozen, self.now);
        let moved = transition(&self.state, plan, frozen, now, Input::Judged(judgement));
        let moved = moved.ok().filter(|moved| !(self.circuit_is_open && moved.raises()));
        let moved = moved.filter(|moved| !(self.lacks_guards && *moved == Move::Finish));
        let moved = moved.unwrap_or(Move::Stay);
        // Its guards pass, and others have what it would be given: nothing is raised, written down or decided until they leave it.
        let lacks_room = match moved {
            Move::Expose { weight, .. } if weight > self.room.max(self.state.weight) => Some(weight),
            _ => None,
        };
        let moved = if lacks_room.is_some() { Move::Stay } else { moved };
        let waits_until = plan.and_then(|plan| waits_for_cycle(&self.state, plan, frozen, now, judgement));
        let decided = !matches!(moved, Move::Stay | Move::Finish);
        let point = (self.due || decided).then(|| {
            let (candidate, live) = (&self.candidate.total, &self.live.total);
            Point::of(self.now, &self.state, candidate, live, &evidence)
        });
        let tests = self.guards.iter().zip(histories.iter().zip(&self.obstacles));
        let judged = evidence.drain(..).zip(tests).map(|(mut evidence, (guarded, (history, obstacles)))| {
            let test = self.test(guarded, history.as_ref(), obstacles).filter(|_| decided);
            let decision = test.zip(guarded.test.as_ref()).map(|(test, of)| {
                test.explain(&mut evidence);
                self.decision(&test, of, evidence.clone())
            });
            Judged { evidence, decision }
        });
        Verdicts { judged: judged.collect(), moved, lacks_room, waits_until, point }
    }

    fn test<'a>(
        &'a self,
        guarded: &'a Guarded,
        history: Option<&'a (History, Answering)>,
        obstacles: &'a [String],
    ) -> Option<Test<'a>> {
        let GuardTest { design, tests, peak, .. } = guarded.test.as_ref()?;
        let names = Names { candidate: self.context.candidate.0, live: self.context.live.0 };
        let (thresholds, peak) = (self.thresholds, *peak);
        let (history, answering) = history?;
        Some(Test {
            design,
            history,
            answering,
            tests,
            thresholds,
            peak,
            obstacles,
            phase: self.state.phase,
            names,
        })
    }

    fn comparison<'a>(
        &'a self,
        guarded: &'a Guarded,
        history: Option<&'a (History, Answering)>,
        obstacles: &'a [String],
    ) -> Comparison<'a> {
        let Self { candidate, live, divergence, shadow, in_flight, before, .. } = self;
        let test = self.test(guarded, history, obstacles);
        let phase = self.state.phase;
        let error_budget = &self.context.error_budget;
        let harm = if phase == Phase::Baking {
            error_budget.harm_per_guard_watched
        } else {
            error_budget.harm_per_guard
        };
        let looked = |seen: &'a Arc<Seen>| Looked { seen, harm, promotion: error_budget.promotion };
        let drift = self.drift.as_ref().map(looked);
        let (shadow, in_flight, before) = (*shadow, *in_flight, *before);
        Comparison { phase, candidate, live, divergence, shadow, in_flight, before, test, drift }
    }

    fn decision(&self, test: &Test<'_>, of: &GuardTest, evidence: Evidence) -> Decision {
        let Context { handle, seed, epoch, candidate, live, error_budget } = &self.context;
        Decision {
            format: FORMAT,
            number: 0,
            handle: handle.clone(),
            seed: *seed,
            at: self.now,
            epoch: *epoch,
            rollout: self.attempt,
            candidate: candidate.0,
            candidate_identity: candidate.1,
            live: live.0,
            live_identity: live.1,
            phase: self.state.phase,
            weight: self.state.weight,
            sample: self.state.sample,
            before: self.before,
            rule: of.rule.clone(),
            design: test.design.clone(),
            error_budget: *error_budget,
            thresholds: self.thresholds,
            peak: of.peak,
            obstacles: test.obstacles.to_vec(),
            history: test.history.clone(),
            answering: test.answering.clone(),
            evidence,
        }
    }
}

impl Control {
    /// Moves figures and evidence: drains every exposure into the arms it feeds and the ledgers it is evidence in, and
    /// lets go of what is no longer used.
    pub(crate) fn collect(&mut self, joins: &Joins, now: Timestamp) {
        // What is drained now was predicted since then.
        let since = std::mem::replace(&mut self.collected_at, now);
        #[cfg(feature = "forecast")]
        let before = self.requests;
        // Before the labels of their time become evidence.
        joins.settle_silence(now);
        // Where ticks are rarer than silence is long, some of what is drained now is due already: labels are evidence once that is settled too. A
        // tick later their silence would be too late for evidence, and what was said by then not: rates would seem higher than they are.
        let is_rare = joins.settles_within(now.since(since));
        let complete = if is_rare { since } else { now };
        let mut awaited: Vec<Awaited> = Vec::new();
        let mut units = std::mem::take(&mut self.scratch_units);
        let mut counters = std::mem::take(&mut self.counters);
        let mut issued = 0;
        for counter in &mut counters {
            let mut unused = false;
            units.reset();
            if let Some(exposure) = &counter.exposure {
                // Looked at before draining: once nobody else holds it, nothing can be recorded after this drain.
                unused = !counter.current && is_only_owner(exposure);
                if counter.feeds.trips && exposure.is_tripped() {
                    let mut attempts = self.attempts.iter_mut();
                    // What was seen before its circuit closed is over, though somebody may hold that exposure yet, as a pinned stream does.
                    let attempt = attempts.find(|a| Some(a.number) == counter.feeds.attempt);
                    if let Some(attempt) = attempt.filter(|a| counter.number >= a.circuit.closed_since) {
                        attempt.circuit.tripped = true;
                    }
                }
                let (delta, spare) = &mut self.scratch;
                exposure.drain(delta, spare, &mut units, &mut awaited);
                let bits = exposure.bits();
                issued += bits - std::mem::replace(&mut counter.bits_seen, bits);
            }
            self.keyed |= units.keyed > 0;
            #[cfg(feature = "fleet")]
            if let Some(seat) = &mut self.seat {
                seat.asked.add(Asked { all: units.asked, keyed: units.keyed });
            }
            self.absorb_intake(counter, &units, since, (complete, now));
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
        self.counters = counters;
        // Before those go by which it is known whose they are.
        self.take_answers();
        // What an intake that nobody can reach any more would collect, nobody would ever see.
        self.counters.retain(|counter| counter.retired.is_none() || Arc::strong_count(&counter.intake) > 1);
        self.scratch_units = units;
        joins.await_outcomes(awaited);
        if joins.settle_silence(now) || is_rare {
            self.absorb_intakes(since, now);
        }
        #[cfg(feature = "forecast")]
        self.hours.see(since, now, self.requests - before);
        joins.maintain(issued, now);
        self.restock();
        self.tell_breakers();
        self.tell_misfits(now);
        self.settle(now);
    }

    /// Takes over what outcomes have become since the counters were drained.
    fn absorb_intakes(&mut self, since: Timestamp, now: Timestamp) {
        let mut counters = std::mem::take(&mut self.counters);
        let none = Units::default();
        counters.iter_mut().for_each(|counter| self.absorb_intake(counter, &none, since, (now, now)));
        self.counters = counters;
    }

    /// Takes over what one counter's outcomes have become, with the units that were drained with them, and requests that are
    /// in the scratch tally. Labels become evidence that were complete at the first of the two moments.
    fn absorb_intake(
        &mut self,
        counter: &mut Counter,
        units: &Units,
        since: Timestamp,
        (complete, now): (Timestamp, Timestamp),
    ) {
        let fed = |arm: &u32| counter.feeds.arms.contains(arm);
        let of_live = self.lifetime(self.live.id).filter(fed);
        let of_before = self.before_watched().filter(fed);
        let (delta, _) = &mut self.scratch;
        let collection = counter.intake.drain(delta, complete, counter.retired.is_none());
        if !delta.is_empty() {
            self.requests += delta.answered_for_callers();
            for (arm, lately) in [(of_live, &mut self.live_lately), (of_before, &mut self.before_lately)] {
                if let Some((arm, so_far)) = arm.and_then(|arm| Some((arm, self.arms.get(&arm)?))) {
                    lately.see(delta, arm, so_far.total());
                }
            }
            for feed in &counter.feeds.arms {
                if let Some(arm) = self.arms.get_mut(feed) {
                    arm.absorb(delta, now);
                }
            }
            delta.reset();
        }
        if let (Some(allotted), Some(allocating)) = (counter.feeds.allotted, &mut self.allocating) {
            collection.labels.slots.iter().for_each(|(_, labels)| allocating.count(allotted, labels));
        }
        if let (Some(own), true, true) = (counter.feeds.keys, of_live.is_some(), counter.current) {
            let live = self.buckets.live();
            for attempt in self.attempts.iter_mut().filter(|attempt| attempt.number != own) {
                if let Some(split) = Odds::new(attempt.state.weight, live) {
                    attempt.traffic.see_elsewhere(units.asked, split);
                }
            }
        }
        if let Some(attempt) = counter.feeds.attempt.filter(|_| units.keyed_pairs > 0)
            && let Some(attempt) = self.attempt_mut(attempt)
        {
            attempt.traffic.see_pairs(attempt.ledger.era(), units);
        }
        self.absorb_divergence(counter.feeds.attempt, &collection.divergence);
        self.absorb_evidence(&counter.feeds.evidence, units, &collection, since);
    }

    fn absorb_divergence(&mut self, attempt: Option<u32>, divergence: &Divergence) {
        if *divergence == Divergence::default() {
            return;
        }
        if let Some(attempt) = attempt.and_then(|number| self.known_attempt_mut(number)) {
            attempt.divergence.merge(divergence);
        }
    }

    fn absorb_evidence(
        &mut self,
        feeds: &[super::counter::EvidenceFeed],
        units: &Units,
        collection: &Collection,
        since: Timestamp,
    ) {
        if units.asked == 0 && !collection.has_evidence() {
            return;
        }
        let table = self.settings.segments.clone();
        let named = |table: Arc<Table>| {
            let seen =
                units.segments.iter().enumerate().filter(|(_, units)| **units != SegmentUnits::default());
            seen.map(move |(place, units)| (table.name_at(place), *units)).collect()
        };
        let segments: Vec<(Arc<str>, SegmentUnits)> = table.map(named).unwrap_or_default();
        for feed in feeds {
            let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.number == feed.attempt)
            else {
                continue;
            };
            // Of the latencies that are looked for, those that are this attempt's.
            let own = |units: &UnitCounts| {
                let (from, to) = feed.slower_than;
                let slow = units.slow.get(from..to).unwrap_or_default().to_vec();
                UnitCounts { slow, ..*units }
            };
            let drained = Drained {
                requests: &own(&units.requests),
                keys: &own(&units.keys),
                pairs: &collection.pairs,
                labels: &collection.labels,
                segments: &segments,
            };
            if let Side::Candidate(split) | Side::Live(split) = feed.side {
                let candidate = matches!(feed.side, Side::Candidate(_));
                attempt.traffic.see(feed.era, candidate, split.requests, units);
            }
            Arc::make_mut(&mut attempt.ledger).absorb(feed.side, feed.era, &drained, since);
        }
    }

    /// Closes the evidence of a tick.
    fn settle(&mut self, now: Timestamp) {
        let started: Vec<(u32, bool)> = self
            .attempts
            .iter()
            .map(|attempt| (attempt.number, self.progress(attempt.number).0 > attempt.before_step.0))
            .collect();
        for (number, started) in started {
            #[cfg(feature = "fleet")]
            if let (Some(seat), Some(attempt)) =
                (&mut self.seat, self.attempts.iter().find(|attempt| attempt.number == number))
            {
                let (all, fresh) = attempt.ledger.coming();
                seat.count(number, all, fresh);
            }
            let Some(attempt) = self.attempt_mut(number) else { continue };
            if attempt.ledger.has_coming() {
                Arc::make_mut(&mut attempt.ledger).settle();
            }
            [&attempt.keys, &attempt.pair_keys].into_iter().flatten().for_each(|keys| keys.relieve());
            if started {
                attempt.state.first_request.get_or_insert(now);
            }
        }
    }

    /// Takes over which predictions candidates have answered.
    pub(crate) fn remember_answers(&mut self, ids: Vec<PredictionId>, missed: u64) {
        let max = self.settings.answered_max;
        let mut missed = missed;
        for id in ids {
            let of = self.counters.iter().find(|counter| counter.number == id.body.exposure);
            let attempt = of.and_then(|counter| counter.feeds.answered);
            if let Some(attempt) = attempt.and_then(|number| self.known_attempt_mut(number)) {
                attempt.answered.extend([id], std::mem::take(&mut missed), max);
            }
        }
    }

    /// Freezes the latencies that have become known, welcomes keys, and watches the new live: whatever of it changes the
    /// table, and tells.
    pub(crate) fn refit(&mut self, desk: Desk<'_>) {
        let (now, mut changed) = (desk.now, self.welcome_keys());
        let mut events = Vec::new();
        if let Some(live) = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm)) {
            // A watched live is compared with what its predecessor took, which was frozen before.
            let of_now =
                |attempt: &&mut Attempt| attempt.state.phase != Phase::Baking && attempt.awaits_probes();
            let mut waiting = self.attempts.iter_mut().filter(of_now).peekable();
            // What is usual now, where enough came lately: brought together only where somebody waits for it.
            let lately = waiting.peek().is_some().then(|| live.read(Window::Recent, now));
            if let Some(lately) = lately {
                for attempt in waiting {
                    changed |= attempt.freeze_probes(&[&lately, live.total()]);
                }
            }
        }
        changed |= self.doubt(desk, &mut events);
        let baking = self.attempts.iter_mut().find(|attempt| attempt.state.phase == Phase::Baking);
        if let Some(attempt) = baking {
            let version = attempt.version;
            let is_awake = attempt.state.sample != Share::NONE;
            for place in attempt.watch() {
                let Some(test) = attempt.guards.get(place).and_then(|guarded| guarded.test.as_ref()) else {
                    continue;
                };
                let is_paired = self.settings.shadowing && test.design.can_be_paired();
                if is_paired && is_awake {
                    // The version before runs beside it already, and pairs decide.
                    continue;
                }
                let wakes = is_paired && attempt.bake.wake != Share::NONE;
                if wakes && attempt.state.sample == Share::NONE {
                    attempt.state.sample = attempt.bake.wake;
                    attempt.course.turn(desk.now, &attempt.state);
                    // What is usual now is what comes from here on, and what any of them is cleared of is told from here on.
                    Arc::make_mut(&mut attempt.ledger).begin_era();
                    attempt.wait_for_pairs(now);
                    changed = true;
                }
                let Some(test) = attempt.guards.get_mut(place).and_then(|guarded| guarded.test.as_mut())
                else {
                    continue;
                };
                if let Some(watch) = &mut test.watch {
                    if !wakes && !watch.is_long_ago(desk.now) {
                        continue;
                    }
                    watch.told = Some(desk.now);
                }
                events.push(EventKind::Suspected {
                    version,
                    guard: test.rule.to_string(),
                    shadow: if wakes { attempt.state.sample } else { Share::NONE },
                });
            }
        }
        if changed {
            self.publish(desk, events);
        } else {
            events.into_iter().for_each(|event| self.announcer.announce(desk.now, self.epoch, event));
        }
    }

    /// The figures and the evidence of every rollout that is exposed or follows a plan, for its guards.
    pub(crate) fn snapshots(&self, shadow: ShadowCounts, truth: TruthKind, now: Timestamp) -> Vec<Snapshot> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.state.phase != Phase::Staged || attempt.plan.is_some())
            .filter_map(|attempt| self.snapshot(attempt, shadow, truth, now))
            .collect()
    }

    /// Takes note of the copies so far. Of a candidate whose exposure has changed those until then are the ones of the last look, so that none
    /// that was dropped since is left out.
    pub(crate) fn see_copies(&mut self, copies: ShadowCounts) {
        let before = std::mem::replace(&mut self.copies, copies);
        for attempt in &mut self.attempts {
            let era = attempt.ledger.era();
            if attempt.copies_before.0 != era {
                attempt.copies_before = (era, before);
            }
        }
    }

    fn snapshot(
        &self,
        attempt: &Attempt,
        copies: ShadowCounts,
        truth: TruthKind,
        now: Timestamp,
    ) -> Option<Snapshot> {
        let fresh = since(copies, attempt.copies_before.1);
        let watched = attempt.state.phase == Phase::Baking;
        let error_budget = attempt.error_budget.unwrap_or_else(|| self.error_budget_of(attempt, 0));
        let before = match (&attempt.plan, attempt.state.step) {
            (Some(plan), Some(step)) if !watched => plan.weight_after(step),
            (Some(plan), None) => plan.steps().first().map_or(Share::ALL, |first| first.weight()),
            _ => Share::ALL,
        };
        let obstacles = |guarded: &Guarded| match &guarded.test {
            Some(test) => attempt.obstacles(test, &fresh, truth, before),
            None => Vec::new(),
        };
        let (requests, labels) = self.progress(attempt.number);
        let name = |version: &Known| (version.id, version.identity);
        let previous =
            attempt.previous.and_then(|id| self.retained.iter().find(|kept| kept.version.id == id));
        Some(Snapshot {
            attempt: attempt.number,
            figures: attempt.candidate,
            state: attempt.state.clone(),
            plan: attempt.plan.clone(),
            frozen: self.frozen.is_some(),
            room: self.room_left(attempt.number),
            lacks_guards: attempt.state.paused && !attempt.missing.is_empty(),
            circuit_is_open: attempt.circuit.open_until.is_some(),
            progress: (
                requests.saturating_sub(attempt.before_step.0) + attempt.carried.0,
                labels.saturating_sub(attempt.before_step.1) + attempt.carried.1,
            ),
            now,
            before,
            guards: attempt.guards.clone(),
            obstacles: attempt.guards.iter().map(obstacles).collect(),
            keys_run_out: attempt.keys_run_out.clone(),
            ledger: Arc::clone(&attempt.ledger),
            thresholds: error_budget.thresholds(watched),
            candidate: self.view_for(attempt, attempt.candidate, now)?,
            live: self.view_for(attempt, attempt.control, now)?,
            divergence: attempt.divergence.figures(),
            shadow: since(copies, attempt.shadow_before),
            in_flight: attempt.in_flight_at(self.settings.stopwatch.reading()),
            due: attempt.course.is_due(),
            drift: None,
            context: Context {
                handle: self.settings.name.clone(),
                seed: self.settings.seed,
                epoch: self.epoch,
                candidate: (attempt.version, attempt.identity),
                live: previous.map_or_else(|| name(&self.live), |kept| name(&kept.version)),
                error_budget,
            },
        })
    }

    /// Returns what the guards of an attempt may look at of an arm: its windows are brought together for guards of the
    /// host's alone, since a test counts what its ledger has.
    fn view_for(&self, attempt: &Attempt, arm: u32, now: Timestamp) -> Option<ArmView> {
        if attempt.guards.iter().any(|guarded| guarded.test.is_none()) {
            self.view(arm, now)
        } else {
            let arm = self.arms.get(&arm)?;
            Some(ArmView { total: arm.total().clone(), windows: None, kpis: Arc::clone(&self.settings.kpis) })
        }
    }

    /// Does what follows from what the guards said of a snapshot, unless the rollout has moved meanwhile.
    pub(crate) fn apply(&mut self, snapshot: &Snapshot, verdicts: Verdicts, desk: Desk<'_>) {
        let frozen = self.frozen.is_some();
        let unmoved = self
            .attempt(snapshot.attempt)
            .is_some_and(|attempt| attempt.state == snapshot.state && attempt.candidate == snapshot.figures);
        // A plan that may raise nothing any more may not raise what it could a moment ago.
        if !unmoved || frozen != snapshot.frozen {
            return;
        }
        let Verdicts { judged, moved, lacks_room, waits_until, point } = verdicts;
        // Another has raised its share since it was judged: it is judged again.
        if matches!(moved, Move::Expose { weight, .. } if weight > self.room_left(snapshot.attempt).max(snapshot.state.weight))
        {
            return;
        }
        let evidence: Vec<Evidence> = judged.into_iter().map(|judged| self.record(judged)).collect();
        let Some(attempt) = self.attempt_mut(snapshot.attempt) else { return };
        for (guarded, evidence) in attempt.guards.iter_mut().zip(&evidence) {
            if let (Some(test), Some(strength)) = (&mut guarded.test, evidence.strength) {
                test.peak = test.peak.max(strength.harm);
            }
        }
        attempt.evidence = evidence.clone();
        #[cfg(feature = "drift")]
        if let Some(seen) = &snapshot.drift {
            attempt.looks = attempt.looks.max(seen.looks);
        }
        match point {
            Some(point) => attempt.course.add(point),
            None => attempt.course.pass_over(),
        }
        let version = attempt.version;
        attempt.waits_until = waits_until;
        // Once for each step: they grow.
        let lacks_room = lacks_room.filter(|weight| attempt.room_told.replace(*weight) != Some(*weight));
        if let Some(until) = waits_until.filter(|_| attempt.wait_told != waits_until) {
            attempt.wait_told = waits_until;
            let event = EventKind::WaitsForCycle { version, until };
            self.announcer.announce(desk.now, self.epoch, event);
        }
        if let Some(weight) = lacks_room {
            let event = EventKind::WaitsForRoom { version, weight, left: snapshot.room };
            self.announcer.announce(desk.now, self.epoch, event);
        }
        let failed = evidence.iter().find(|evidence| evidence.verdict == Verdict::Fail).cloned();
        if let (Move::Lower, Some(failed)) = (&moved, &failed) {
            let event = EventKind::GuardFailed { version, evidence: failed.clone() };
            self.announcer.announce(desk.now, self.epoch, event);
        }
        if moved == Move::Stay {
            self.rest(snapshot.attempt, &evidence, desk);
            return;
        }
        let cause = failed.map(|evidence| Cause::Guard { evidence: Box::new(evidence) });
        self.carry_out(snapshot.attempt, moved, evidence, cause, desk);
    }

    /// Lets the version before a watched live sleep again, once the pairs have shown that the new one is no worse: it is
    /// the world that has changed.
    fn rest(&mut self, number: u32, evidence: &[Evidence], desk: Desk<'_>) {
        let Some(attempt) = self.attempt_mut(number) else { return };
        let woken = attempt.state.phase == Phase::Baking
            && attempt.state.sample != Share::NONE
            && attempt.bake.previous_as_shadow == Share::NONE;
        if woken {
            // Nothing says since when, after a start and in a fleet: since now.
            let watches =
                attempt.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut()?.watch.as_mut());
            watches.for_each(|watch| watch.told = watch.told.or(Some(desk.now)));
        }
        let tests = attempt.guards.iter().map(|guarded| guarded.test.as_ref());
        let paired = tests.zip(evidence).filter_map(|(test, evidence)| Some((test?, evidence)));
        let paired = paired.filter(|(test, _)| test.design.can_be_paired());
        // A limit that the world breaks for both is kept by neither; that it is not the version is as good as shown after a while.
        let waited_for =
            |test: &GuardTest| test.watch.as_ref().is_some_and(|watch| watch.is_long_ago(desk.now));
        let is_cleared = |(test, evidence): (&GuardTest, &Evidence)| {
            evidence.verdict == Verdict::Pass || (test.design.is_absolute() && waited_for(test))
        };
        let cleared = paired.clone().count() > 0 && paired.clone().all(is_cleared);
        if !(woken && cleared) {
            return;
        }
        let shown: Vec<Evidence> = paired.map(|(_, evidence)| evidence.clone()).collect();
        attempt.state.sample = Share::NONE;
        attempt.course.turn(desk.now, &attempt.state);
        attempt.watch_anew();
        let event = EventKind::Cleared { version: attempt.version, evidence: shown };
        self.publish(desk, vec![event]);
    }

    /// Keeps the record of a decision, and names it in its evidence.
    fn record(&mut self, judged: Judged) -> Evidence {
        let Judged { mut evidence, decision } = judged;
        if let Some(mut decision) = decision {
            self.decided += 1;
            decision.number = self.decided;
            evidence.decision = Some(self.decided);
            decision.evidence.decision = Some(self.decided);
            self.keep_decision(Arc::new(decision));
        }
        evidence
    }

    /// The records of decisions beyond this number, oldest first, as far as they are kept.
    #[cfg(feature = "state")]
    pub(crate) fn decisions_since(&self, number: u64) -> Vec<Arc<Decision>> {
        self.decisions.iter().filter(|decision| decision.number > number).cloned().collect()
    }

    pub(crate) fn keep_decision(&mut self, decision: Arc<Decision>) {
        self.decisions.push_back(decision);
        while self.decisions.len() > DECISIONS_MAX {
            self.decisions.pop_front();
        }
    }
}

/// Records of decisions that are kept; some ten KB each.
const DECISIONS_MAX: usize = 256;

fn since(now: ShadowCounts, before: ShadowCounts) -> ShadowCounts {
    ShadowCounts {
        // In a fleet they are those of the candidates that are left.
        ran: now.ran.saturating_sub(before.ran),
        dropped: now.dropped.saturating_sub(before.dropped),
        skipped: now.skipped.saturating_sub(before.skipped),
        ..now
    }
}

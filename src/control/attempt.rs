//! One attempt to replace live: its guards, its evidence, and what its tests may conclude.
//!
//! An attempt that is over is the same value with [`Attempt::ended`]. By then it has let go of all that is the host's or large:
//! its model, its guards and the keys that it saw.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::circuit::Circuit;
use super::doubt::Doubt;
use super::event::Cause;
use super::probe::Probe;
use super::traffic::TrafficSeen;
use crate::base::clock::{Reading, Timestamp};
use crate::base::invalid::ArgumentError;
use crate::base::share::Share;
use crate::feedback::PredictionId;
use crate::model::identity::Identity;
use crate::request::shadow::ShadowCounts;
use crate::rollout::budget::ErrorBudgetStatus;
use crate::rollout::course::Course;
use crate::rollout::decision::Decision;
use crate::rollout::guard::design::{Design, Setting};
use crate::rollout::guard::evaluate::Tests;
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::guard::guard::Guard;
use crate::rollout::guard::history::History;
use crate::rollout::guard::needs::Needs;
use crate::rollout::guard::numbers::written;
use crate::rollout::guard::rule::{Figure, Rule, RuleError};
use crate::rollout::guard::stated::Stated;
use crate::rollout::guard::tested::Tested;
use crate::rollout::phase::Phase;
use crate::rollout::plan::{Bake, Exposure, Plan, Step};
use crate::rollout::transition::State;
use crate::stats::Metric;
use crate::stats::counting::keys::Keys;
use crate::stats::evidence::ledger::Ledger;
use crate::stats::figures::divergence::Divergence;
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::stats::figures::tally::Tally;
use crate::stats::sequential::{EValue, Events, RateDetector};
use crate::version::id::VersionId;
use crate::version::in_flight::InFlight;
use crate::version::loaded::AnyVersion;

/// One attempt to replace live, running or over.
pub(crate) struct Attempt {
    pub(crate) number: u32,
    /// Its number in the table of buckets.
    pub(crate) slot: u8,
    pub(crate) version: VersionId,
    pub(crate) identity: Identity,
    /// The version itself, as long as the attempt runs.
    pub(crate) loaded: Option<Arc<dyn AnyVersion>>,
    /// Asked as long as the attempt runs; none after that.
    pub(crate) guards: Vec<Guarded>,
    /// The guards that an earlier life of the handle had and this one has not, and those that were refused, by name, until they are added
    /// again.
    pub(crate) missing: Vec<String>,
    /// What was said of it in this life of the handle and was refused: nobody exposes it more until that is said as it may be.
    pub(crate) refused: Vec<Refused>,
    /// Windows of drift that its guards have looked at, in this life of the handle or an earlier one: each look has spent some error.
    #[cfg(any(feature = "drift", feature = "state"))]
    pub(crate) looks: u32,
    pub(crate) plan: Option<Plan>,
    /// Staged by whoever follows a repository, so that a plan runs it: where none does nobody has meant it to wait.
    #[cfg_attr(
        not(any(feature = "repository", feature = "state")),
        allow(dead_code, reason = "nobody follows, and nothing is written down")
    )]
    pub(crate) for_plan: bool,
    /// How it is watched once it is live.
    pub(crate) bake: Bake,
    pub(crate) state: State,
    pub(crate) candidate: u32,
    pub(crate) control: u32,
    pub(crate) divergence: Divergence,
    pub(crate) evidence: Vec<Evidence>,
    /// The version that it replaced or, once it is over, that it was compared with.
    pub(crate) previous: Option<VersionId>,
    pub(crate) circuit: Circuit,
    /// Requests and outcomes of the candidate when the step began.
    pub(crate) before_step: (u64, u64),
    /// Requests and outcomes since the step began, of an earlier life of the handle.
    pub(crate) carried: (u64, u64),
    /// Until when its plan waits for its cycle and for nothing else, as of the last tick.
    pub(crate) waits_until: Option<Timestamp>,
    /// The end of the wait for a cycle that was told of last.
    pub(crate) wait_told: Option<Timestamp>,
    /// The state that it goes back to when it is resumed.
    pub(crate) held: Option<Held>,
    pub(crate) shadow_before: ShadowCounts,
    /// The copies until the exposure last changed, with the stretch that began then.
    pub(crate) copies_before: (u32, ShadowCounts),
    pub(crate) ledger: Arc<Ledger>,
    /// Latencies that its guards look for.
    pub(crate) probes: Vec<Probe>,
    /// The keys that count, once the first one was seen.
    pub(crate) keys: Option<Arc<Keys>>,
    /// The keys whose pairs count, likewise.
    pub(crate) pair_keys: Option<Arc<Keys>>,
    pub(crate) traffic: TrafficSeen,
    /// The fault in how traffic is spread, as of the last tick.
    pub(crate) traffic_fault: Option<String>,
    /// Few new keys come, where that is so; of a live that is watched, that requests with a key are not.
    pub(crate) keys_run_out: Option<String>,
    /// The failures of live before the evidence began: what is usual.
    pub(crate) live_before: Events,
    /// What breakers know of earlier lives of the handle.
    pub(crate) seen_before: SeenBefore,
    /// The share of which it was told that it waits for it: what a plan's step gives it, and others have.
    pub(crate) room_told: Option<Share>,
    /// The doubt about what is counted since the exposure changed.
    pub(crate) doubt: Option<Doubt>,
    /// The last step of its plan was begun: evidence for a promotion may have been looked at.
    pub(crate) looked: bool,
    /// Divided when the evidence began.
    pub(crate) error_budget: Option<ErrorBudgetStatus>,
    /// The figures that the version is said to achieve.
    pub(crate) promised: Vec<(Metric, f64)>,
    /// Predictions that the version answered for real, if they are kept.
    pub(crate) answered: Answered,
    /// The observations over time.
    pub(crate) course: Course,
    /// How it ended, once it is over.
    pub(crate) ended: Option<Ended>,
}

/// What earlier lives of the handle have seen of an attempt: figures begin anew with each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SeenBefore {
    /// Units of whoever it is compared with, and those that failed.
    pub(crate) live: Events,
    /// Units of its own.
    pub(crate) asked: u64,
}

/// How an attempt ended, and what is left of what it let go of.
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    pub(crate) cause: Option<Cause>,
    /// The rules that this crate's guards tested.
    pub(crate) rules: Vec<Rule>,
    /// Keys that counted as units.
    pub(crate) keys: u64,
    /// It has been told what it had answered.
    pub(crate) recalled: bool,
}

/// An exposure that was taken off because the process ended without a word, to be given back when a person says so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) phase: Phase,
    pub(crate) weight: Share,
    pub(crate) sample: Share,
}

/// What was said of an attempt and was refused.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// Its name: of a guard as it is told, or what was wrong with it where none came of it.
    pub(crate) what: String,
    pub(crate) why: Refusal,
}

/// Why something that was said of an attempt does not hold.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// There is no such guard.
    Rule(RuleError),
    /// The guard could never judge here.
    Guard(String),
    /// A promise that is no number.
    Promise(ArgumentError),
    /// It is to be watched beside the version before, and nothing is copied.
    NoShadowing,
    /// The fleet has not agreed.
    NotAgreed(String),
}

/// A guard, with the test that stands behind it.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) guard: Arc<dyn Guard>,
    /// What it said that it is: it is not asked where the control lock is held.
    pub(crate) said: Said,
    pub(crate) test: Option<GuardTest>,
}

/// What a guard is.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// One of this crate's, as a sentence states it.
    Stated(Stated),
    /// One of the host's own.
    Hosts {
        name: String,
        /// It looks at windows of drift, and spends error on each.
        looks: bool,
        /// It judges by what turned out to be true.
        truthful: bool,
    },
}

impl Said {
    /// Its name, as it is told.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stated(stated) => stated.to_string(),
            Self::Hosts { name, .. } => name.clone(),
        }
    }

    /// Whether it looks at windows of drift, and spends error on each.
    pub(crate) fn looks(&self) -> bool {
        match self {
            Self::Stated(stated) => stated.needs().drift,
            Self::Hosts { looks, .. } => *looks,
        }
    }

    /// Whether it judges by what turned out to be true.
    pub(crate) fn is_truthful(&self) -> bool {
        match self {
            Self::Stated(stated) => is_truthful(&stated.needs()),
            Self::Hosts { truthful, .. } => *truthful,
        }
    }

    fn is_the_same_as(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Stated(own), Self::Stated(other)) if own == other)
    }
}

/// Whether what needs this judges by what turned out to be true.
pub(crate) fn is_truthful(needs: &Needs) -> bool {
    needs.labels || needs.metric.is_some() || needs.kpi.is_some()
}

/// The test behind a guard of this crate's.
#[derive(Clone)]
pub(crate) struct GuardTest {
    pub(crate) rule: Rule,
    pub(crate) design: Arc<Design>,
    pub(crate) tests: Arc<Tests>,
    /// The most that the evidence for harm ever was.
    pub(crate) peak: EValue,
    /// Watches the new live, where its figure is a rate.
    pub(crate) watch: Option<Watch>,
}

/// The watch over a new live by one figure.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) detector: RateDetector,
    pub(crate) seen: Events,
    /// When it was last told that the figure has risen.
    pub(crate) told: Option<Timestamp>,
}

impl Watch {
    /// How long what was told is not told again where nobody can look whose doing it is: in an outage a figure has risen at every tick.
    /// And how long the version before is asked whether it keeps an absolute limit: it may break that for as long as the world does.
    const TOLD_FOR: Duration = Duration::from_secs(600);

    /// Whether it is long ago that it was told that the figure has risen, or was never.
    pub(crate) fn is_long_ago(&self, now: Timestamp) -> bool {
        self.told.is_none_or(|told| now.since(told) >= Self::TOLD_FOR)
    }
}

/// Predictions that a version answered, newest last, so that they can be made again where it was taken back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    pub(crate) ids: VecDeque<PredictionId>,
    /// Those that are not among them because only so many are kept.
    pub(crate) missed: u64,
}

impl Answered {
    pub(crate) fn extend(&mut self, ids: impl IntoIterator<Item = PredictionId>, missed: u64, max: usize) {
        self.missed += missed;
        self.ids.extend(ids);
        while self.ids.len() > max {
            self.ids.pop_front();
            self.missed += 1;
        }
    }
}

impl Attempt {
    /// Ends it and lets go of what is the host's: its model and its guards, which the caller drops where that may be done.
    pub(crate) fn end(
        &mut self,
        phase: Phase,
        cause: Option<Cause>,
        live: VersionId,
        now: Timestamp,
    ) -> (Option<Arc<dyn AnyVersion>>, Vec<Guarded>) {
        let weight = if phase == Phase::Promoted { Share::ALL } else { Share::NONE };
        self.state = State { phase, weight, sample: Share::NONE, ..self.state.clone() };
        self.course.turn(now, &self.state);
        self.state =
            State { weight: Share::NONE, paused: false, step: None, entered: now, ..self.state.clone() };
        self.previous.get_or_insert(live);
        let (rules, keys) = (self.rules(), self.keys_seen());
        (self.keys, self.pair_keys) = (None, None);
        self.waits_until = None;
        self.ended = Some(Ended { at: now, cause, rules, keys, recalled: false });
        (self.loaded.take(), std::mem::take(&mut self.guards))
    }

    /// Returns the rules that this crate's guards test, or tested.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        match &self.ended {
            Some(ended) => ended.rules.clone(),
            None => self.tests().map(|test| test.rule.clone()).collect(),
        }
    }

    /// Keys that count as units, of either arm.
    pub(crate) fn keys_seen(&self) -> u64 {
        match &self.ended {
            Some(ended) => ended.keys,
            None => self.keys.as_ref().map_or(0, |keys| keys.count()),
        }
    }

    /// How many calls of the candidate are under way, and since when the oldest is; nothing once it is freed.
    pub(crate) fn in_flight(&self) -> Option<(usize, Option<Reading>)> {
        self.loaded.as_ref().map(|version| version.in_flight())
    }

    /// The same, as it is shown.
    pub(crate) fn in_flight_at(&self, now: Reading) -> InFlight {
        let (calls, oldest) = self.in_flight().unwrap_or_default();
        InFlight { calls, oldest: oldest.map(|began| now.since(began)) }
    }

    /// Whether its candidate is tried: it is exposed, or waits since a crash for somebody to say whether it is to be. A rollback that names no
    /// version takes it off.
    pub(crate) fn is_on_trial(&self) -> bool {
        matches!(self.state.phase, Phase::Shadow | Phase::Canary) || self.held.is_some()
    }

    /// Whether its candidate answers callers, and is compared with live by them.
    pub(crate) fn answers_callers(&self) -> bool {
        let is_asked = self.circuit.open_until.is_none();
        self.state.phase == Phase::Canary && self.state.weight != Share::NONE && is_asked
    }

    /// Whether it shadows, or is to shadow yet by a step of its plan: where nothing may be copied it would stand still for ever.
    pub(crate) fn needs_shadowing(&self) -> bool {
        let is_there = self.state.phase == Phase::Shadow;
        let is_held_there = self.held.is_some_and(|held| held.phase == Phase::Shadow);
        let is_to_come = self.plan.as_ref().is_some_and(|plan| {
            let rest = plan.steps().iter().skip(self.state.step.unwrap_or_default());
            self.state.phase != Phase::Baking
                && rest.map(Step::exposure).any(|step| matches!(step, Exposure::Shadow { .. }))
        });
        is_there || is_held_there || is_to_come
    }

    /// The guards of this crate's.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &GuardTest> + '_ {
        self.guards.iter().filter_map(|guarded| guarded.test.as_ref())
    }

    /// Adds a guard, with its test where it is a rule. Whether it was added: one that is there already would be the same test, with a
    /// share of its own in the error budget.
    pub(crate) fn add_guard(
        &mut self,
        guard: Arc<dyn Guard>,
        said: Said,
        setting: &Setting<'_>,
    ) -> Result<bool, String> {
        if self.guards.iter().any(|guarded| guarded.said.is_the_same_as(&said)) {
            return Ok(false);
        }
        let test = match &said {
            Said::Stated(Stated::Rule(rule)) => {
                let rule = rule.clone();
                let probe = Probe::of(&rule);
                let place = probe.as_ref().map(|_| self.probes.len());
                let design = Design::of(&rule, place, setting)?;
                self.probes.extend(probe);
                Some(GuardTest {
                    rule,
                    design: Arc::new(design),
                    tests: Arc::default(),
                    peak: EValue::ZERO,
                    watch: None,
                })
            }
            _ => None,
        };
        self.is_well_said(&said.name());
        self.guards.push(Guarded { guard, said, test });
        Ok(true)
    }

    /// Keeps that something was refused. A guard is missing from then on, for a start and for a fleet as well.
    pub(crate) fn refuse(&mut self, refused: Refused) {
        let Refused { what, why } = &refused;
        if matches!(why, Refusal::Rule(_) | Refusal::Guard(_)) && !self.missing.contains(what) {
            self.missing.push(what.clone());
        }
        if self.refused.iter().all(|before| before.what != *what) {
            self.refused.push(refused);
        }
    }

    /// What was refused or missing by this name is there.
    pub(crate) fn is_well_said(&mut self, what: &str) {
        if let Some(place) = self.missing.iter().position(|missing| missing == what) {
            self.missing.remove(place);
        }
        self.refused.retain(|refused| refused.what != what);
    }

    /// Whether there are latencies that are not known well enough yet.
    pub(crate) fn awaits_probes(&self) -> bool {
        self.probes.iter().any(|probe| probe.frozen.is_none())
    }

    /// Freezes the latencies that are known well enough by now; whether any was.
    /// `live` is what live took lately, and at all: the first of these that has enough says what is usual.
    pub(crate) fn freeze_probes(&mut self, live: &[&Tally]) -> bool {
        let freeze = |probe: &mut Probe| live.iter().any(|live| probe.freeze(live));
        self.probes.iter_mut().fold(false, |frozen, probe| freeze(probe) | frozen)
    }

    /// Takes live's quantiles as they are now, before what comes is held against them: the first of these that knows enough
    /// says it.
    pub(crate) fn refreeze_probes(&mut self, live: &[&Tally]) {
        for probe in &mut self.probes {
            live.iter().any(|live| probe.refreeze(live));
        }
    }

    /// The latencies that are looked for: live's and the candidate's. One that is not frozen yet is never exceeded.
    pub(crate) fn slower_than(&self) -> Vec<(LatencyLimit, LatencyLimit)> {
        self.probes.iter().map(Probe::limits).collect()
    }

    /// Fixes what live was known to be like, before anything is compared with it.
    pub(crate) fn fix_centres(&mut self, live: &Tally, kpis: usize) {
        let known = live.error_rate();
        self.live_before = Events { events: known.part, units: known.whole };
        for test in self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut()) {
            let known = match (test.rule.figure(), test.design.tested) {
                (Figure::ErrorRate, _) => live.error_rate().value(),
                (Figure::Quality { metric }, _) => {
                    live.measure(*metric).map(|known| test.design.loss(known.value))
                }
                (Figure::Kpi { .. }, Tested::Kpi(place)) if place < kpis => {
                    live.kpi(place).and_then(|kpi| kpi.mean()).map(|mean| test.design.loss(mean))
                }
                _ => None,
            };
            let centre = known.filter(|loss| (0.0..=1.0).contains(loss)).map_or(0.0, written);
            test.design = Arc::new(Design { centre, ..Design::clone(&test.design) });
            test.tests = Arc::default();
        }
    }

    /// The counts begin at nothing: what tests and watches remember is of other ones.
    pub(crate) fn forget_what_was_judged(&mut self) {
        for test in self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut()) {
            test.peak = EValue::ZERO;
            if let Some(watch) = &mut test.watch {
                watch.seen = Events::default();
            }
        }
    }

    /// Begins to watch the new live, by what it was like as a candidate.
    pub(crate) fn begin_watch(&mut self) {
        let tests = self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut());
        tests.for_each(|test| test.watch = None);
        self.watch_what_is_not();
    }

    /// Begins to watch the new live by the guards that do not watch it yet, by what is known of it so far.
    pub(crate) fn watch_what_is_not(&mut self) {
        self.judge_alone();
        let (ledger, run_length) = (Arc::clone(&self.ledger), self.bake.run_length);
        let tests = self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut());
        for test in tests.filter(|test| test.watch.is_none()) {
            let known = test.design.watched(&History::of(test.design.tested, &ledger), true);
            // A limit that holds whatever live does is one whatever is known of it, as where it was promoted without having answered anybody.
            let rate = known.map(|known| known.rate().or(test.design.is_absolute().then_some(0.0)));
            let reference = rate.flatten().map(|rate| test.design.tolerated(rate));
            test.watch = reference.map(|reference| Watch {
                detector: RateDetector::nearest(reference, run_length),
                seen: Events::default(),
                told: None,
            });
        }
    }

    /// Where the version before is never asked, a limit that holds whatever it does decides alone.
    pub(crate) fn judge_alone(&mut self) {
        if self.bake.wake != Share::NONE || self.bake.previous_as_shadow != Share::NONE {
            return;
        }
        for test in self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut()) {
            if test.design.beside.is_some() {
                Arc::make_mut(&mut test.design).beside = None;
            }
        }
    }

    /// The version before begins to run beside the watched live: from here on pairs tell.
    pub(crate) fn wait_for_pairs(&mut self, now: Timestamp) {
        let tests = self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut());
        for watch in tests.filter(|test| test.design.can_be_paired()).filter_map(|test| test.watch.as_mut()) {
            watch.told = Some(now);
        }
    }

    /// Shows the watches what has come since the last time. The guards whose figure has risen, by place.
    pub(crate) fn watch(&mut self) -> Vec<usize> {
        let ledger = Arc::clone(&self.ledger);
        let mut alarmed = Vec::new();
        for (place, guarded) in self.guards.iter_mut().enumerate() {
            let Some(test) = &mut guarded.test else { continue };
            let Some(watch) = &mut test.watch else { continue };
            let Some(seen) = test.design.watched(&History::of(test.design.tested, &ledger), false) else {
                continue;
            };
            let fresh = Events {
                events: seen.events.saturating_sub(watch.seen.events),
                units: seen.units.saturating_sub(watch.seen.units),
            };
            watch.seen = seen;
            watch.detector.observe(fresh);
            if watch.detector.has_risen() {
                watch.detector.reset();
                alarmed.push(place);
            }
        }
        alarmed
    }

    /// The world has changed for both versions: what is usual now is the reference from here on. Of what pairs have not told
    /// nobody knows that.
    pub(crate) fn watch_anew(&mut self) {
        let (ledger, run_length) = (Arc::clone(&self.ledger), self.bake.run_length);
        let tests = self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut());
        for test in tests.filter(|test| test.design.can_be_paired()) {
            let Some(watch) = &mut test.watch else { continue };
            let history = History::of(test.design.tested, &ledger);
            let known = test.design.watched(&history, true);
            if let Some(reference) = known.and_then(|known| Some(test.design.tolerated(known.rate()?))) {
                watch.detector = RateDetector::nearest(reference, run_length);
            }
            watch.seen = test.design.watched(&history, false).unwrap_or_default();
        }
    }
}

/// A guard's verdict with what it rests on, once something follows from it.
pub(crate) struct Judged {
    pub(crate) evidence: Evidence,
    pub(crate) decision: Option<Decision>,
}

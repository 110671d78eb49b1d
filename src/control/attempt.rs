//! One attempt to replace live: its guards, its evidence, and what its tests may conclude.
//!
//! An attempt that is over is the same value with [`Attempt::ended`]. By then it has let go of all that is the host's or large:
//! its model, its guards and the keys that it saw.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::circuit::Circuit;
use super::event::Cause;
use super::traffic::TrafficSeen;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::feedback::PredictionId;
use crate::model::identity::Identity;
use crate::request::shadow::ShadowCounts;
use crate::rollout::budget::ErrorBudgetStatus;
use crate::rollout::course::Course;
use crate::rollout::decision::Decision;
use crate::rollout::guard::answering::Answering;
use crate::rollout::guard::design::{Design, Setting, TruthKind, Uses};
use crate::rollout::guard::evaluate::Tests;
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::guard::guard::Guard;
use crate::rollout::guard::history::History;
use crate::rollout::guard::numbers::written;
use crate::rollout::guard::rule::{Figure, Limit, Rule};
use crate::rollout::guard::tested::Tested;
use crate::rollout::phase::Phase;
use crate::rollout::plan::{Bake, Plan};
use crate::rollout::transition::State;
use crate::stats::Metric;
use crate::stats::counting::keys::Keys;
use crate::stats::evidence::arm::{ArmCounts, UnitCounts};
use crate::stats::evidence::ledger::Ledger;
use crate::stats::evidence::pair::PairCounts;
use crate::stats::figures::divergence::Divergence;
use crate::stats::figures::tally::Tally;
use crate::stats::sequential::test::{Claim, SequentialTest};
use crate::stats::sequential::{
    Additive, Asymptotic, ByOdds, EValue, Events, PairedEvents, Rate, RateDetector, SampleRatio, Values,
};
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;

/// One attempt to replace live, running or over.
pub(crate) struct Attempt {
    pub(crate) number: u32,
    /// What it is called in the table of buckets.
    pub(crate) slot: u8,
    pub(crate) version: VersionId,
    pub(crate) identity: Identity,
    /// The version itself, as long as the attempt runs.
    pub(crate) loaded: Option<Arc<dyn AnyVersion>>,
    /// Asked as long as the attempt runs; none after that.
    pub(crate) guards: Vec<Guarded>,
    pub(crate) plan: Option<Plan>,
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
    /// What it goes back to when it is resumed.
    pub(crate) held: Option<Held>,
    pub(crate) shadow_before: ShadowCounts,
    pub(crate) ledger: Arc<Ledger>,
    /// Latencies that its guards look for.
    pub(crate) probes: Vec<Probe>,
    /// The keys that count, once the first one was seen.
    pub(crate) keys: Option<Arc<Keys>>,
    /// The keys whose pairs count, likewise.
    pub(crate) pair_keys: Option<Arc<Keys>>,
    pub(crate) traffic: TrafficSeen,
    /// What is wrong with how traffic is spread, as of the last tick.
    pub(crate) traffic_fault: Option<String>,
    /// Few new keys come, where that is so.
    pub(crate) keys_run_out: Option<String>,
    /// What live failed on before the evidence began: what is usual.
    pub(crate) live_before: Events,
    /// What is counted since the exposure changed is not to be trusted.
    pub(crate) doubt: Option<Doubt>,
    /// The last step of its plan was begun: evidence for a promotion may have been looked at.
    pub(crate) looked: bool,
    /// Divided when the evidence began.
    pub(crate) error_budget: Option<ErrorBudgetStatus>,
    /// What the version is said to achieve.
    pub(crate) promised: Vec<(Metric, f64)>,
    /// Predictions that the version answered for real, if they are kept.
    pub(crate) answered: Answered,
    /// What was seen over time.
    pub(crate) course: Course,
    /// How it ended, once it is over.
    pub(crate) ended: Option<Ended>,
}

/// How an attempt ended, and what is left of what it let go of.
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    pub(crate) cause: Option<Cause>,
    /// What this crate's guards tested.
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

/// Units or labels came in other shares than they should: until when what was counted since the exposure changed stands in
/// the way, and how long it did. Then it is left out, and evidence begins again; each time that it is wrong again it takes
/// twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    pub(crate) until: Timestamp,
    pub(crate) lasts: Duration,
    /// It is over: kept for how long it lasted.
    pub(crate) over: bool,
}

impl Doubt {
    const FIRST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(3_600);

    /// Begins after an earlier one, if there was any.
    pub(crate) fn after(earlier: Option<Self>, now: Timestamp) -> Self {
        let lasts = earlier.map_or(Self::FIRST, |earlier| (earlier.lasts * 2).min(Self::LONGEST));
        Self { until: now.plus(lasts), lasts, over: false }
    }
}

const UNITS_MISMATCH: &str =
    "units do not come in the shares in which traffic was split: telemetry was lost or counted twice";

const LABELS_MISMATCH: &str = "labels arrive in another share for the candidate than for live";

/// A guard, with the test that stands behind it.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) guard: Arc<dyn Guard>,
    pub(crate) test: Option<GuardTest>,
    /// It looks at windows of drift, and spends error on each.
    pub(crate) looks: bool,
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

/// What watches a new live by one figure.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) detector: RateDetector,
    pub(crate) seen: Events,
}

/// A latency that a guard looks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    kind: ProbeKind,
    /// Nanoseconds, live's and the candidate's; nothing until live's quantile is known.
    pub(crate) frozen: Option<(u64, u64)>,
    /// How often live exceeded its own when that was fixed.
    #[serde(default)]
    usual: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum ProbeKind {
    /// A quantile of live's, and how many times as long the candidate may take.
    TimesLive { quantile: f64, factor: f64 },
    /// A fixed time.
    Within,
}

impl Probe {
    /// What a rule looks for, if it is one over a latency.
    pub(crate) fn of(rule: &Rule) -> Option<Self> {
        let Figure::Latency { quantile } = *rule.figure() else { return None };
        Some(match rule.limit() {
            Limit::TimesLive(factor) => {
                Self { kind: ProbeKind::TimesLive { quantile, factor }, frozen: None, usual: 0.0 }
            }
            Limit::Within(limit) => {
                let nanos = nanos(limit);
                Self { kind: ProbeKind::Within, frozen: Some((nanos, nanos)), usual: 0.0 }
            }
            _ => return None,
        })
    }

    /// Requests of live's from which its quantile is known well enough: ten beyond it, and a hundred.
    fn wanted(&self) -> u64 {
        match self.kind {
            ProbeKind::TimesLive { quantile, .. } => {
                ((10.0 / (1.0 - quantile).max(1e-4)).ceil() as u64).max(100)
            }
            ProbeKind::Within => 0,
        }
    }

    /// Freezes live's quantile if enough is known of it; whether that has just happened.
    fn freeze(&mut self, live: &Tally) -> bool {
        self.frozen.is_none() && self.refreeze(live)
    }

    /// Takes live's quantile as it is now; whether enough is known of it.
    fn refreeze(&mut self, live: &Tally) -> bool {
        let Some((lives, own)) = self.known(live) else { return false };
        (self.frozen, self.usual) = (Some((lives, own)), live.latency().share_above(lives).unwrap_or(1.0));
        true
    }

    /// A latency that live exceeds about as often as the quantile says, and the candidate's, where enough is known of live.
    ///
    /// Which it is makes no difference to whether a comparison is right: a candidate that takes `factor` times as long exceeds
    /// `factor` times any latency as often as live exceeds that. So that it is an estimate, or of a time when live was slower,
    /// costs power and nothing else. It lies a little below the quantile: where latencies are all alike, or were counted in
    /// one bin, live would never exceed the quantile itself, and nothing could be shown.
    fn known(&self, live: &Tally) -> Option<(u64, u64)> {
        const BELOW: f64 = 0.98;
        let ProbeKind::TimesLive { quantile, factor } = &self.kind else { return None };
        let latency = live.latency();
        let quantile = latency.quantile(*quantile).filter(|_| latency.count() >= self.wanted())?;
        let held = quantile.mul_f64(BELOW);
        Some((nanos(held).saturating_sub(1), nanos(held.mul_f64(factor.clamp(1e-3, 1e6)))))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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

    /// What this crate's guards test, or tested.
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

    /// The guards of this crate's.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &GuardTest> + '_ {
        self.guards.iter().filter_map(|guarded| guarded.test.as_ref())
    }

    /// Adds a guard, with its test where it is one of this crate's.
    pub(crate) fn add_guard(
        &mut self,
        guard: Arc<dyn Guard>,
        looks: bool,
        setting: &Setting<'_>,
    ) -> Result<(), String> {
        let test = match guard.as_rule() {
            None => None,
            Some(rule) => {
                let probe = Probe::of(rule);
                let place = probe.as_ref().map(|_| self.probes.len());
                let design = Design::of(rule, place, setting)?;
                self.probes.extend(probe);
                Some(GuardTest {
                    rule: rule.clone(),
                    design: Arc::new(design),
                    tests: Arc::default(),
                    peak: EValue::ZERO,
                    watch: None,
                })
            }
        };
        self.guards.push(Guarded { guard, test, looks });
        Ok(())
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
    pub(crate) fn slower_than(&self) -> Vec<(u64, u64)> {
        self.probes.iter().map(|probe| probe.frozen.unwrap_or((u64::MAX, u64::MAX))).collect()
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

    /// What speaks against what was counted since the exposure changed, if anything does.
    pub(crate) fn doubted(&self) -> Option<String> {
        let uncovered = |test: &GuardTest| !Answering::of(&test.design, &self.ledger, true).covered_alike();
        if self.units_mismatch() {
            Some(UNITS_MISMATCH.into())
        } else if self.tests().any(uncovered) {
            Some(LABELS_MISMATCH.into())
        } else {
            // What both suffer together makes them alike: a candidate that is too bad in the quiet would be shown not to be.
            self.tests().find_map(|test| self.live_got_worse(test))
        }
    }

    /// What came of live's units since the exposure changed, beside a canary and in pairs.
    fn lives(&self, of: impl Fn(&UnitCounts) -> Events, of_pairs: impl Fn(&PairCounts) -> Events) -> Events {
        let fresh = self.ledger.fresh();
        let mut sum = of(&fresh.requests.pooled().live.units);
        sum.merge(&of(&fresh.keys.pooled().live.units));
        sum.merge(&of_pairs(&fresh.pairs));
        sum
    }

    /// Whether units come in other shares than traffic was split in, since the exposure last changed: what is shown for a
    /// promotion rests on these.
    pub(crate) fn units_mismatch(&self) -> bool {
        let fresh = self.ledger.fresh();
        let mismatch = |arms: &ByOdds<ArmCounts>| {
            SampleRatio::default().e_value(&arms.map(|arm| Events { events: 0, units: arm.units.units }))
        };
        mismatch(&fresh.requests).max(mismatch(&fresh.keys)) >= EValue::threshold(SampleRatio::ALPHA)
    }

    /// Whether live has become worse since the exposure changed than it was before the rollout, by more than chance: then the
    /// candidate may be what slows or breaks it, and a comparison with a live that it harms flatters it.
    fn live_got_worse(&self, test: &GuardTest) -> Option<String> {
        const TIMES: f64 = 2.0;
        const FEWEST: u64 = 50;
        const BY_CHANCE: u64 = 4;
        const MANY: u64 = 500;
        let (seen, usual, what) = match test.design.tested {
            Tested::Slow(place) => {
                // Of a limit in milliseconds it is not known how often live broke it before.
                let probe = self.probes.get(place).filter(|probe| probe.usual > 0.0)?;
                let of_pairs = |pairs: &PairCounts| {
                    pairs.slow.get(place).map_or_else(Events::default, PairedEvents::of_live)
                };
                (self.lives(|arm| arm.slower(place), of_pairs), probe.usual, "slower")
            }
            // What is usual is known once live has answered some; of few it may be some more than was seen.
            Tested::Failures if self.live_before.units >= FEWEST => {
                let seen = self.lives(UnitCounts::failures, |pairs| pairs.failed.of_live());
                let Events { events, units } = self.live_before;
                let by_chance = if units < MANY { BY_CHANCE } else { 0 };
                let usual = (events + by_chance) as f64 / units as f64;
                (seen, usual.max(0.005), "failing more often")
            }
            _ => return None,
        };
        let limit = Some(TIMES * usual).filter(|limit| *limit < 1.0)?;
        let worse = Rate::nearest(Claim::Harm, limit).e_value(&seen);
        (worse >= EValue::threshold(SampleRatio::ALPHA)).then(|| {
            format!(
                "live itself is {what} than before the rollout, in {:.1} % of its requests where {:.1} % were usual: the \
                 candidate may be the cause",
                seen.rate().unwrap_or(0.0) * 100.0,
                usual * 100.0
            )
        })
    }

    /// Values of a business figure outside of its bounds since the exposure last changed, of either arm.
    fn outside_of_bounds(&self, place: usize) -> u64 {
        let fresh = self.ledger.fresh();
        let of = |arm: &ArmCounts| arm.labels.kpis.get(place).map_or(0, |kpi| kpi.outside);
        let arms = [fresh.requests.pooled(), fresh.keys.pooled()];
        arms.iter().map(|arms| of(&arms.candidate) + of(&arms.live)).sum()
    }

    /// What keeps the candidate from being promoted by a rule, whatever its evidence.
    pub(crate) fn obstacles(
        &self,
        test: &GuardTest,
        shadow: &ShadowCounts,
        truth: TruthKind,
        before: Share,
    ) -> Vec<String> {
        let mut obstacles = Vec::new();
        let design = &test.design;
        // These keep it from any step: what was decided about exposure does not hold, or nothing can be seen yet.
        obstacles.extend(self.traffic_fault.clone());
        if let Tested::Slow(place) = design.tested
            && let Some(probe) = self.probes.get(place).filter(|probe| probe.frozen.is_none())
        {
            obstacles
                .push(format!("live's quantile is frozen once it has answered {} requests", probe.wanted()));
        }
        obstacles.extend(self.live_got_worse(test));
        if before != Share::ALL {
            return obstacles;
        }
        let until = self
            .doubt
            .map(|doubt| format!("; its evidence begins again at {}", doubt.until))
            .unwrap_or_default();
        if self.units_mismatch() {
            obstacles.push(format!("{UNITS_MISMATCH}{until}"));
        }
        if !Answering::of(design, &self.ledger, true).covered_alike() {
            obstacles.push(format!("{LABELS_MISMATCH}{until}"));
        }
        if let (Tested::KpiValues(place), Uses::Arms) = (design.tested, design.uses) {
            let fresh = self.ledger.fresh();
            let values =
                |arm: &ArmCounts| arm.labels.kpis.get(place).map_or_else(Values::default, |kpi| kpi.values);
            let of = |arms: &ByOdds<ArmCounts>| Asymptotic::events(&arms.map(values));
            let fewest = of(&fresh.requests).max(of(&fresh.keys));
            if fewest < Asymptotic::EVENTS {
                obstacles.push(format!(
                    "a figure without bounds is judged from {} events of each version on, and there are {fewest:.0}: declare \
                     bounds to have it judged sooner",
                    Asymptotic::EVENTS
                ));
            }
        }
        let outside = match design.tested {
            Tested::Kpi(place) | Tested::KpiSuccesses(place) => self.outside_of_bounds(place),
            _ => 0,
        };
        if outside > 0 {
            obstacles.push(format!(
                "{outside} outcomes lay outside of the bounds that the business figure was declared with: what is left \
                 without them shows nothing, so declare bounds that hold"
            ));
        }
        if design.needs_labels() && truth == TruthKind::Censored(None) {
            obstacles.push(String::from(
                "what is answered hides the truth: without `explore` no equality can be shown, only bounds",
            ));
        }
        if let (true, Some(dropped), Some(margin)) =
            (design.rests_on_pairs(), shadow.drop_rate(), design.absolute_margin())
            && dropped > margin / 10.0
        {
            obstacles.push(format!(
                "{:.2} % of the copies were dropped, more than a tenth of the margin: give the shadow more room",
                dropped * 100.0
            ));
        }
        obstacles
    }

    /// Begins to watch the new live, by what it was like as a candidate.
    pub(crate) fn begin_watch(&mut self) {
        let (ledger, run_length) = (Arc::clone(&self.ledger), self.bake.run_length);
        for test in self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut()) {
            let known = test.design.watched(&History::of(test.design.tested, &ledger), true);
            let reference = known.and_then(|known| Some(test.design.tolerated(known.rate()?)));
            test.watch = reference.map(|reference| Watch {
                detector: RateDetector::nearest(reference, run_length),
                seen: Events::default(),
            });
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
            if watch.detector.alarm() {
                watch.detector.reset();
                alarmed.push(place);
            }
        }
        alarmed
    }

    /// The world has changed for both versions: what is usual now is the reference from here on.
    pub(crate) fn watch_anew(&mut self) {
        let (ledger, run_length) = (Arc::clone(&self.ledger), self.bake.run_length);
        for test in self.guards.iter_mut().filter_map(|guarded| guarded.test.as_mut()) {
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

//! Decisions that can be judged again, and rollouts that can be judged otherwise.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::budget::{ErrorBudget, ErrorBudgetStatus, Thresholds};
use super::guard::design::{Design, Setting, TruthKind};
use super::guard::evaluate::Tests;
use super::guard::evidence::Evidence;
use super::guard::guard::Guard;
use super::guard::sentence::Names;
use super::guard::test::Test;
use super::guard::verdict::Verdict;
use super::guard::{Figure, History, Rule, Tested};
use super::phase::Phase;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::model::identity::Identity;
use crate::stats::evidence::ledger::Ledger;
use crate::stats::sequential::EValue;
use crate::task::kpi::Kpi;
use crate::task::task::TaskKind;
use crate::version::id::VersionId;

/// The record of a decision: everything its guard looked at, and what it made of it.
///
/// Serialisable, self-contained, and free of anything a user sent. [`replay`] judges it again, on any machine, to the same
/// bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// The version of this format: 1.
    pub format: u32,
    /// Counts a handle's decisions from 1; an [`Evidence`] names its own.
    pub number: u64,
    /// The handle's name.
    pub handle: String,
    /// The seed of its chance.
    pub seed: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The routing table that was in force.
    pub epoch: u64,
    /// The candidate; the new live while it is watched.
    pub candidate: VersionId,
    /// What makes the candidate what it is.
    pub candidate_identity: Identity,
    /// What it was compared with.
    pub live: VersionId,
    /// What makes that what it is.
    pub live_identity: Identity,
    /// Where the rollout stood.
    pub phase: Phase,
    /// The share of requests that the candidate answered.
    pub weight: Share,
    /// The share of requests that were copied.
    pub sample: Share,
    /// The share of traffic that passing was to lead to.
    pub before: Share,
    /// The guard.
    pub rule: Rule,
    /// The test that stood behind it.
    pub design: Design,
    /// How the rollout's errors were divided.
    pub alpha: ErrorBudgetStatus,
    pub(crate) thresholds: Thresholds,
    /// The most that the evidence for harm had been before.
    pub peak: EValue,
    /// What kept the candidate from being promoted, whatever the evidence.
    pub obstacles: Vec<String>,
    /// The counts, by share of traffic and block of time.
    pub history: History,
    /// What the guard made of them.
    pub evidence: Evidence,
}

/// Judges a decision again from its record. What comes back equals [`Decision::evidence`]; where it does not, the record
/// was altered, or another version of this crate judges otherwise.
///
/// # Errors
///
/// See [`ReplayError`].
pub fn replay(record: &Decision) -> Result<Evidence, ReplayError> {
    if record.format != FORMAT {
        return Err(ReplayError::Format { found: record.format });
    }
    let tests = Tests::default();
    let test = Test {
        design: &record.design,
        history: &record.history,
        tests: &tests,
        thresholds: record.thresholds,
        peak: record.peak,
        obstacles: &record.obstacles,
        phase: record.phase,
        names: Names { candidate: record.candidate, live: record.live },
    };
    let mut evidence = test.judge(&record.rule, record.before);
    test.explain(&mut evidence);
    evidence.decision = Some(record.number);
    if evidence == record.evidence {
        Ok(evidence)
    } else {
        Err(ReplayError::Differs { found: Box::new(evidence) })
    }
}

/// The format of records.
pub(crate) const FORMAT: u32 = 1;

/// Why a record does not lead to the decision that it says.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It is of another format.
    #[error("the record is of format {found}: this version reads 1")]
    Format {
        /// The format that it says it has.
        found: u32,
    },
    /// Its counts lead to something else.
    #[error("the counts of the record lead to another result: {found}")]
    Differs {
        /// What they lead to.
        found: Box<Evidence>,
    },
}

/// The counts of a whole rollout, so that other guards can be tried on what happened.
///
/// ```
/// # use switchback::{ErrorBudget, Clock, ModelHandle, Outcome, Task, Timestamp, closure, guard};
/// # use switchback::options::{Labels, Threads};
/// # let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
/// # let handle = ModelHandle::builder("even")
/// #     .live("v1", closure("a@1", |_: &f64| Ok(0.9)))
/// #     .task(Task::binary(|p: &f64| *p)).labels(Labels::at_random()).clock(clock.clone()).seed(7).threads(Threads::manual()).build()?;
/// let rollout = handle.stage("v2", closure("b@1", |_: &f64| Ok(0.2)))?;
/// rollout.canary(0.5)?;
/// for number in 0..2_000 {
///     let answer = handle.predict(&f64::from(number))?;
///     handle.feedback(answer.id(), Outcome::class(1));
/// #   if number % 100 == 0 { handle.tick(); }
/// }
/// handle.tick();
/// // What would this guard have done?
/// let recording = rollout.recording().unwrap();
/// let tried = recording.backtest(&[guard::accuracy().at_most_below_live(0.02)], ErrorBudget::default())?;
/// assert!(tried.harm_at().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recording {
    /// The candidate.
    pub candidate: VersionId,
    /// What it was compared with.
    pub live: VersionId,
    pub(crate) kind: TaskKind,
    pub(crate) kpis: Vec<Kpi>,
    pub(crate) truth: TruthKind,
    pub(crate) pairs: bool,
    pub(crate) canary_pairs: bool,
    pub(crate) compares: bool,
    /// The latencies that were looked for, by the rules that asked for them.
    pub(crate) latencies: Vec<Rule>,
    pub(crate) histories: Vec<(Tested, History)>,
}

/// What guards would have said of a rollout, block by block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Backtest {
    /// Oldest first. As the rollout went on, blocks were joined with their neighbours: those far back are coarse.
    pub steps: Vec<BacktestStep>,
}

/// What guards would have said after some block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BacktestStep {
    /// Units of the candidate until then, as each guard counts them.
    pub units: Vec<u64>,
    /// What each guard would have said, of a promotion.
    pub evidence: Vec<Evidence>,
}

impl Backtest {
    /// The first step at which a guard would have failed.
    pub fn harm_at(&self) -> Option<&BacktestStep> {
        self.steps.iter().find(|step| step.evidence.iter().any(|evidence| evidence.verdict == Verdict::Fail))
    }

    /// The first step at which all would have passed, if none had failed before.
    pub fn passed_at(&self) -> Option<&BacktestStep> {
        let failed =
            |step: &&BacktestStep| step.evidence.iter().any(|evidence| evidence.verdict == Verdict::Fail);
        let passed =
            |step: &&BacktestStep| step.evidence.iter().all(|evidence| evidence.verdict == Verdict::Pass);
        self.steps.iter().take_while(|step| !failed(step)).find(passed)
    }
}

impl Recording {
    pub(crate) fn of(
        candidate: VersionId,
        live: VersionId,
        setting: &Setting<'_>,
        rules: Vec<Rule>,
        ledger: &Ledger,
    ) -> Self {
        let latencies: Vec<Rule> =
            rules.into_iter().filter(|rule| matches!(rule.figure, Figure::Latency { .. })).collect();
        let slow = (0..latencies.len()).map(Tested::Slow);
        let counted = Tested::of(setting.kind, setting.kpis.len()).into_iter().chain(slow);
        let history = |tested| (tested, History::of(tested, ledger));
        Self {
            candidate,
            live,
            kind: setting.kind,
            kpis: setting.kpis.to_vec(),
            truth: setting.truth,
            pairs: setting.pairs,
            canary_pairs: setting.canary_pairs,
            compares: setting.compares,
            latencies,
            histories: counted.map(history).collect(),
        }
    }

    /// Judges what happened by other guards.
    ///
    /// # Errors
    ///
    /// A guard that could not have judged here, with the reason; or one over a latency that was not looked for.
    pub fn backtest(&self, rules: &[Rule], alpha: ErrorBudget) -> Result<Backtest, BacktestError> {
        let setting = Setting {
            kind: self.kind,
            kpis: &self.kpis,
            truth: self.truth,
            pairs: self.pairs,
            canary_pairs: self.canary_pairs,
            compares: self.compares,
            // Labels are in the recording as they became evidence.
            matures: true,
            // Nor is it kept of which segment they were.
            segments: None,
        };
        let divided =
            ErrorBudgetStatus::divide(alpha, 0, 1, u32::try_from(rules.len()).unwrap_or(u32::MAX), false);
        let thresholds = divided.thresholds(false);
        let names = Names { candidate: self.candidate, live: self.live };
        let mut by_rule: Vec<Vec<(u64, Evidence)>> = Vec::new();
        for rule in rules {
            let refused = |reason: String| BacktestError { guard: rule.name(), reason };
            let place = self
                .latencies
                .iter()
                .position(|known| known.figure == rule.figure && known.limit == rule.limit);
            let design = Design::of(rule, place, &setting).map_err(refused)?;
            if matches!(design.tested, Tested::Slow(_)) && place.is_none() {
                return Err(refused("this latency was not looked for in the rollout".into()));
            }
            let history = self
                .histories
                .iter()
                .find(|(tested, _)| *tested == design.tested)
                .map(|(_, history)| history);
            let history =
                history.ok_or_else(|| refused("nothing of the kind was counted in the rollout".into()))?;
            let tests = Tests::default();
            let mut peak = EValue::ZERO;
            let prefixes = history.prefixes();
            let judged = prefixes.iter().map(|history| {
                let (obstacles, phase) = (&[], Phase::Canary);
                let test = Test {
                    design: &design,
                    history,
                    tests: &tests,
                    thresholds,
                    peak,
                    obstacles,
                    phase,
                    names,
                };
                let evidence = test.judge(rule, Share::ALL);
                peak = evidence.strength.map_or(peak, |strength| strength.harm_peak);
                (evidence.samples, evidence)
            });
            by_rule.push(judged.collect());
        }
        let steps = by_rule.iter().map(Vec::len).max().unwrap_or(0);
        let step = |place: usize| {
            let at: Vec<&(u64, Evidence)> = by_rule
                .iter()
                .filter_map(|judged| judged.get(place.min(judged.len().saturating_sub(1))))
                .collect();
            BacktestStep {
                units: at.iter().map(|(units, _)| *units).collect(),
                evidence: at.iter().map(|(_, evidence)| evidence.clone()).collect(),
            }
        };
        Ok(Backtest { steps: (0..steps).map(step).collect() })
    }
}

/// Why a guard cannot be tried on a recording.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("guard `{guard}`: {reason}")]
pub struct BacktestError {
    /// The guard.
    pub guard: String,
    /// Why.
    pub reason: String,
}

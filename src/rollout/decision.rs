//! Decisions that can be judged again, and rollouts that can be judged otherwise.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::budget::{ErrorBudget, ErrorBudgetError, ErrorBudgetStatus, Thresholds};
use super::guard::answering::{Answering, known_of_answered, kpi_of};
use super::guard::design::{Design, Setting, TruthKind};
use super::guard::evaluate::Tests;
use super::guard::evidence::Evidence;
use super::guard::history::{History, Stretch};
use super::guard::rule::{Figure, Rule};
use super::guard::sentence::Names;
use super::guard::test::Test;
use super::guard::tested::Tested;
use super::guard::verdict::Verdict;
use super::phase::Phase;
use crate::base::causes::debug_as_told;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::model::identity::Identity;
use crate::stats::evidence::ledger::Ledger;
use crate::stats::sequential::EValue;
use crate::stats::sequential::in_arms::InArms;
use crate::task::kpi::Kpi;
use crate::task::task::TaskKind;
use crate::version::id::VersionId;

/// The record of a decision: everything its guard looked at, and what it made of it.
///
/// Self-contained, and free of anything a user sent. It is read by the methods here, and as a whole by serde: the counts
/// and the test that stood behind the guard are in what it serialises to, and are no part of this crate's API. [`replay`]
/// judges it again, on any machine, to the same bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The version of this format: [`FORMAT`].
    pub(crate) format: u32,
    pub(crate) number: u64,
    /// The handle's name.
    pub(crate) handle: String,
    /// The seed of its chance.
    pub(crate) seed: u64,
    pub(crate) at: Timestamp,
    /// The routing table that was in force.
    pub(crate) epoch: u64,
    /// The number of the rollout.
    pub(crate) rollout: u32,
    pub(crate) candidate: VersionId,
    pub(crate) candidate_identity: Identity,
    pub(crate) live: VersionId,
    pub(crate) live_identity: Identity,
    pub(crate) phase: Phase,
    pub(crate) weight: Share,
    pub(crate) sample: Share,
    pub(crate) before: Share,
    pub(crate) rule: Rule,
    pub(crate) design: Design,
    pub(crate) error_budget: ErrorBudgetStatus,
    pub(crate) thresholds: Thresholds,
    /// The most that the evidence for harm had been before.
    pub(crate) peak: EValue,
    pub(crate) obstacles: Vec<String>,
    /// The counts, by share of traffic and block of time.
    pub(crate) history: History,
    /// Of a figure of quality: whether both versions answered, and truths came, alike.
    pub(crate) answering: Answering,
    pub(crate) evidence: Evidence,
}

impl Decision {
    /// Its number: a handle's decisions are counted from 1, and an [`Evidence`] names its own.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The name of the handle that decided.
    pub fn handle(&self) -> &str {
        &self.handle
    }

    /// When it was decided.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The number of the rollout that it was decided in.
    pub fn rollout(&self) -> u32 {
        self.rollout
    }

    /// The candidate; the new live while it is watched.
    pub fn candidate(&self) -> VersionId {
        self.candidate
    }

    /// Returns the candidate's identity.
    pub fn candidate_identity(&self) -> Identity {
        self.candidate_identity
    }

    /// Returns the version that the candidate was compared with.
    pub fn live(&self) -> VersionId {
        self.live
    }

    /// Returns that version's identity.
    pub fn live_identity(&self) -> Identity {
        self.live_identity
    }

    /// Where the rollout stood.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The share of requests that the candidate answered.
    pub fn weight(&self) -> Share {
        self.weight
    }

    /// The share of requests that were copied.
    pub fn sample(&self) -> Share {
        self.sample
    }

    /// The share of traffic that passing was to lead to; all of it for a promotion.
    pub fn before(&self) -> Share {
        self.before
    }

    /// The guard.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// How the rollout's errors were divided.
    pub fn error_budget(&self) -> ErrorBudgetStatus {
        self.error_budget
    }

    /// Returns what kept the candidate from being promoted, whatever the evidence.
    pub fn obstacles(&self) -> &[String] {
        &self.obstacles
    }

    /// Returns what the guard made of the counts.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

/// Judges a decision again from its record. What comes back equals [`Decision::evidence`]; where it would not, the record
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
        answering: &record.answering,
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
#[derive(Clone, PartialEq, Error)]
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
        /// The evidence that they lead to.
        found: Box<Evidence>,
    },
}

debug_as_told!(ReplayError);

/// The counts of a whole rollout, so that other guards can be tried on what happened.
///
/// ```
/// # use switchback::{closure, guard, options::ErrorBudget, Clock, ModelHandle, Outcome, Task, Timestamp};
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
/// let tried = recording.backtest(&[guard::accuracy().at_most_below_live(0.02)?], ErrorBudget::default())?;
/// assert!(tried.harm_at().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    candidate: VersionId,
    live: VersionId,
    kind: TaskKind,
    kpis: Vec<Kpi>,
    truth: TruthKind,
    pairs: bool,
    canary_pairs: bool,
    compares: bool,
    /// The latencies that were looked for, by the rules that asked for them.
    latencies: Vec<Rule>,
    histories: Vec<(Tested, History)>,
    /// Which answers have their truth, where arms are compared; of each business figure, which have a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    coverage: Vec<(Option<usize>, Stretch<InArms>)>,
}

/// The verdicts that guards would have given on a rollout, block by block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    steps: Vec<BacktestStep>,
}

/// The verdicts that guards would have given after some block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestStep {
    units: Vec<u64>,
    evidence: Vec<Evidence>,
}

impl BacktestStep {
    /// Units of the candidate until then, as each guard counts them, in the order of the guards.
    pub fn units(&self) -> &[u64] {
        &self.units
    }

    /// Returns what each guard would have said of a promotion, in the same order.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    fn has(&self, verdict: Verdict) -> bool {
        self.evidence.iter().any(|evidence| evidence.verdict == verdict)
    }
}

impl Backtest {
    /// Oldest first. As the rollout went on, blocks were joined with their neighbours: those far back are coarse.
    pub fn steps(&self) -> &[BacktestStep] {
        &self.steps
    }

    /// The first step at which a guard would have failed.
    pub fn harm_at(&self) -> Option<&BacktestStep> {
        self.steps.iter().find(|step| step.has(Verdict::Fail))
    }

    /// The first step at which all would have passed, if none had failed before.
    pub fn passed_at(&self) -> Option<&BacktestStep> {
        let passed = |step: &&BacktestStep| !step.has(Verdict::Inconclusive);
        self.steps.iter().take_while(|step| !step.has(Verdict::Fail)).find(passed)
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
            rules.into_iter().filter(|rule| matches!(rule.figure(), Figure::Latency { .. })).collect();
        let slow = (0..latencies.len()).map(Tested::Slow);
        let counted = Tested::of(setting.kind, setting.kpis.len()).into_iter().chain(slow);
        let histories = counted.map(|tested| (tested, History::of(tested, ledger))).collect();
        let figures = std::iter::once(None).chain((0..setting.kpis.len()).map(Some));
        let covered = |kpi| Stretch::of(ledger, |counts| known_of_answered(kpi, counts));
        let coverage = figures.map(|kpi| (kpi, covered(kpi))).collect();
        Self::counted((candidate, live), setting, latencies, histories, coverage)
    }

    fn counted(
        (candidate, live): (VersionId, VersionId),
        setting: &Setting<'_>,
        latencies: Vec<Rule>,
        histories: Vec<(Tested, History)>,
        coverage: Vec<(Option<usize>, Stretch<InArms>)>,
    ) -> Self {
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
            histories,
            coverage,
        }
    }

    /// Of a rollout that is over: the counts that its guards decided on together, by one of these decisions.
    #[cfg(feature = "state")]
    pub(crate) fn of_decisions(one: &Decision, together: &[&Decision], setting: &Setting<'_>) -> Self {
        let latency = |decision: &&&Decision| matches!(decision.rule.figure(), Figure::Latency { .. });
        let mut latencies = Vec::new();
        let mut histories: Vec<(Tested, History)> = Vec::new();
        // One that is by segment has no history of the whole.
        let whole = |decision: &&&Decision| decision.design.segments.is_none();
        for decision in together.iter().filter(|decision| whole(decision) && !latency(decision)) {
            if histories.iter().all(|(tested, _)| *tested != decision.design.tested) {
                histories.push((decision.design.tested, decision.history.clone()));
            }
        }
        // What stood beside a figure of quality.
        let mut coverage: Vec<(Option<usize>, Stretch<InArms>)> = Vec::new();
        for decision in together {
            let Answering { coverage: covered, failures } = &decision.answering;
            if let Some((_, failures)) = failures
                && histories.iter().all(|(tested, _)| *tested != Tested::Failures)
            {
                histories.push((Tested::Failures, History::Events(failures.clone())));
            }
            let kpi = kpi_of(&decision.design);
            if let Some(covered) = covered
                && coverage.iter().all(|(of, _)| *of != kpi)
            {
                coverage.push((kpi, covered.clone()));
            }
        }
        // Which of the latencies a history is of depends on how many there are.
        for decision in together.iter().filter(whole).filter(latency) {
            histories.push((Tested::Slow(latencies.len()), decision.history.clone()));
            latencies.push(decision.rule.clone());
        }
        Self::counted((one.candidate, one.live), setting, latencies, histories, coverage)
    }

    /// The candidate.
    pub fn candidate(&self) -> VersionId {
        self.candidate
    }

    /// Returns the version that it was compared with.
    pub fn live(&self) -> VersionId {
        self.live
    }

    /// Judges what happened by other guards, within this error budget, as they would have been judged together: where none of them judges
    /// failures, each guard of quality holds the candidate to those too, and labels that came in other shares for one arm than for
    /// the other are not listened to. What else kept a candidate waiting, such as traffic that came in other shares than it was split in, is
    /// no part of it. Of a rollout that is over these are known as far as its own guards looked at them.
    ///
    /// # Errors
    ///
    /// A guard that could not have judged here, with the reason, or one over a latency that was not looked for; an error
    /// budget that is not one.
    pub fn backtest(&self, rules: &[Rule], budget: ErrorBudget) -> Result<Backtest, BacktestError> {
        budget.check()?;
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
            ErrorBudgetStatus::divide(budget, 0, 1, u32::try_from(rules.len()).unwrap_or(u32::MAX), false);
        let thresholds = divided.thresholds(false);
        let names = Names { candidate: self.candidate, live: self.live };
        let mut designs = Vec::new();
        for rule in rules {
            let refused = |reason: String| BacktestError::Guard { guard: rule.to_string(), reason };
            let place = self
                .latencies
                .iter()
                .position(|known| known.figure() == rule.figure() && known.limit() == rule.limit());
            let design = Design::of(rule, place, &setting).map_err(refused)?;
            if matches!(design.tested, Tested::Slow(_)) && place.is_none() {
                return Err(refused("this latency was not looked for in the rollout".into()));
            }
            let history = self
                .history(design.tested)
                .ok_or_else(|| refused("nothing of the kind was counted in the rollout".into()))?;
            designs.push((rule, design, history));
        }
        // Where a guard judges failures, no other need.
        let failures_judged = designs.iter().any(|(_, design, _)| design.tested == Tested::Failures);
        let mut by_rule: Vec<Vec<(u64, Evidence)>> = Vec::new();
        for (rule, design, history) in designs {
            let answering = self.answering(&design, failures_judged).prefixes();
            let nothing = Answering::default();
            let tests = Tests::default();
            let mut peak = EValue::ZERO;
            let prefixes = history.prefixes();
            let judged = prefixes.iter().enumerate().map(|(place, history)| {
                let (obstacles, phase) = (&[], Phase::Canary);
                let answering = answering.get(place).unwrap_or(&nothing);
                let test = Test {
                    design: &design,
                    history,
                    answering,
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

impl Recording {
    fn history(&self, tested: Tested) -> Option<&History> {
        self.histories.iter().find(|(of, _)| *of == tested).map(|(_, history)| history)
    }

    /// What stands beside the history of a figure of quality, as far as it was recorded.
    fn answering(&self, design: &Design, failures_judged: bool) -> Answering {
        let failures = || match self.history(Tested::Failures) {
            Some(History::Events(failures)) => Some(failures.clone()),
            _ => None,
        };
        let kpi = kpi_of(design);
        let coverage = || self.coverage.iter().find(|(of, _)| *of == kpi).map(|(_, known)| known.clone());
        Answering::recorded(design, failures_judged, failures, coverage)
    }
}

/// Why guards cannot be tried on a recording.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BacktestError {
    /// One of them could not have judged what was recorded.
    #[error("guard `{guard}`: {reason}")]
    Guard {
        /// The guard.
        guard: String,
        /// Why.
        reason: String,
    },
    /// The errors that they may have are no errors.
    #[error(transparent)]
    ErrorBudget(#[from] ErrorBudgetError),
}

debug_as_told!(BacktestError);

//! Guards: rules that decide whether a candidate goes on, waits, or is taken back.
//!
//! # What a guard promises
//!
//! The guards of this module are sequential tests with a stated error ([`Alpha`]). A rollout whose candidate is no worse
//! than its guards allow is taken back with a probability of at most `Alpha::harm`, over all its guards, however long it
//! runs and however often anybody looks; one whose candidate is worse than a guard allows is promoted with a probability
//! of at most `Alpha::promotion`. [`stats::sequential`](crate::stats::sequential) has the tests and where they come from.
//!
//! # Which test stands behind a guard
//!
//! | guard | in a shadow | on a canary |
//! |---|---|---|
//! | [`error_rate`], [`latency`] relative to live | who failed, or was slow, on the same input | whose the requests are that failed or were slow, averaged with the pairs |
//! | [`accuracy`], [`recall`], [`precision`], F1, [`quality`] where the truth is independent of the answer and requests may be copied | who was right about the same input | the same: live shadows what the candidate answers |
//! | the same, without shadowing or with [`Truth::CausedByAnswer`](crate::Truth::CausedByAnswer) | nothing: there is no truth | the labels of the two arms |
//! | accuracy with [`Truth::Censored`](crate::Truth::Censored) | who was right about the same input; what is hidden is bounded, or explored | the same |
//! | [`kpi`] | nothing: it exists only for what was shown | the values of the two arms |
//! | [`divergence`] | pairs that differ | pairs that differ |
//! | [`drift()`](drift), [`estimated`] | what both say of the same inputs, by windows | what both arms say, by windows |
//! | objectives: `at_most`, `at_least`, `within` | the candidate alone | the candidate alone |
//!
//! A guard keeps one margin on one scale through all phases. A combination that could not be judged rightly is refused
//! when the candidate is to be exposed, with the reason.
//!
//! Units are what was randomised: a request, a batch that stays together, a pinned stream; with
//! [`predict_keyed`](crate::ModelHandle::predict_keyed) a key, by its first request since its bucket was given to the
//! candidate or set aside as its control.

pub(crate) mod design;
mod drifted;
pub(crate) mod evaluate;
pub(crate) mod history;
pub(crate) mod observe;
pub(crate) mod rule;
mod sentence;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::phase::Phase;
use crate::drift_watch::Seen;
use crate::shadow::ShadowCounts;
use crate::share::Share;
use crate::stats::sequential::EValue;
use crate::stats::tally::Tally;
use crate::stats::{ArmFigures, DivergenceFigures, Metric, Window};
use crate::version::VersionId;

pub use design::Design;
pub use drifted::{DriftGuard, EstimatedGuard, EstimatedSubject, drift, estimated};
pub use history::{History, Series, Stretch, Tested};
pub use observe::{Effect, EffectKind};
pub use rule::{
    Figure, Limit, Rule, Subject, accuracy, as_promised, divergence, error_rate, kpi, latency, precision,
    quality, recall,
};

use evaluate::Tests;

/// A rule over the figures of a rollout.
///
/// Guards are asked by every tick, outside of any lock, and one that panics is inconclusive. A host may write its own:
///
/// ```
/// use switchback::guard::{Comparison, Evidence, Guard, Verdict};
/// use switchback::stats::{ArmFigures, Window};
///
/// /// Fails a candidate that says yes far more often than live.
/// struct SaysYesTooOften;
///
/// impl Guard for SaysYesTooOften {
///     fn name(&self) -> String {
///         "says yes too often".into()
///     }
///     fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
///         let share = |arm: &ArmFigures| arm.scores.as_ref().and_then(|scores| scores.mean).unwrap_or(0.0);
///         let candidate = comparison.candidate.figures(Window::Total);
///         let live = comparison.live.figures(Window::Total);
///         let verdict = match candidate.requests {
///             0..500 => Verdict::Inconclusive,
///             _ if share(&candidate) > 2.0 * share(&live) => Verdict::Fail,
///             _ => Verdict::Pass,
///         };
///         Evidence::new(self.name(), verdict).observed(share(&candidate), candidate.requests)
///     }
/// }
/// ```
pub trait Guard: Send + Sync {
    /// What the guard is called, in events and in `status()`.
    fn name(&self) -> String;

    /// What the guard makes of the figures. Pure: the same figures, the same verdict.
    fn judge(&self, comparison: &Comparison<'_>) -> Evidence;

    /// What the guard cannot do without. A rollout that cannot give it refuses the guard before any traffic.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The rule, of a guard that is one of this crate's: what it decides can be judged again elsewhere. Nothing for any
    /// other.
    fn as_rule(&self) -> Option<&Rule> {
        None
    }
}

/// What a guard cannot do without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// A figure of quality, which not every task has.
    pub metric: Option<Metric>,
    /// A business figure, by name.
    pub kpi: Option<Arc<str>>,
    /// Pairs of answers to the same input: shadowing.
    pub pairs: bool,
    /// Windows of what both versions say: [`Builder::watch_drift`](crate::Builder::watch_drift).
    pub drift: bool,
    /// A calibration of both versions' scores.
    pub estimated: bool,
    /// Why the guard could never judge rightly, where it contradicts itself.
    pub contradiction: Option<String>,
}

/// What a guard says of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The rule holds, on enough samples.
    Pass,
    /// The rule is broken, on enough samples.
    Fail,
    /// There is not enough to tell. Neither advances a rollout nor ends it.
    Inconclusive,
}

impl Verdict {
    /// The verdict of several guards together: one failure fails, and all must pass to pass.
    pub(crate) fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
        verdicts.into_iter().fold(Verdict::Pass, |all, one| match (all, one) {
            (Verdict::Fail, _) | (_, Verdict::Fail) => Verdict::Fail,
            (Verdict::Pass, Verdict::Pass) => Verdict::Pass,
            _ => Verdict::Inconclusive,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// What a guard saw and what it made of it: enough to see later why something was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// The guard.
    pub guard: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The candidate's figure, where it is known.
    pub observed: Option<f64>,
    /// How many requests, outcomes or pairs it rests on.
    pub samples: u64,
    /// Live's figure, for a rule relative to live.
    pub live: Option<f64>,
    /// How many samples that rests on.
    pub live_samples: u64,
    /// The worst value that would have passed.
    pub limit: Option<f64>,
    /// How strong the evidence is, of a guard that is a sequential test.
    pub strength: Option<Strength>,
    /// How much worse the candidate is; known once something is decided.
    pub effect: Option<Effect>,
    /// All of it in a sentence; once something is decided.
    pub sentence: Option<String>,
    /// Whatever else there is to say.
    pub note: Option<String>,
    /// The number of the [`Decision`](crate::Decision) that was recorded of it, once something was decided.
    pub decision: Option<u64>,
}

/// How strong the evidence of a sequential test is, on both sides of its margin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Strength {
    /// The evidence that the candidate is worse than the margin allows.
    pub harm: EValue,
    /// The most it ever was; its [`p_value`](EValue::p_value) is valid at all times at once.
    pub harm_peak: EValue,
    /// What it must reach for the candidate to be taken back.
    pub harm_threshold: EValue,
    /// The evidence that it is not; nothing where no candidate could be worse than what is asked for.
    pub non_inferiority: Option<EValue>,
    /// What that must reach for the candidate to go on.
    pub non_inferiority_threshold: EValue,
    /// The share of traffic that going on leads to, which decides how much is asked: the margin itself for all of it.
    pub before: Share,
}

/// The errors that a rollout's decisions may have, over all its guards and however long it runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alpha {
    /// The probability that a candidate within all margins is ever taken back for harm: 1 % unless told. A fifth of it
    /// is kept for the time after a promotion, where the plan watches it; the rest is divided over the guards.
    pub harm: f64,
    /// The probability that a candidate beyond one of the margins is ever promoted: 5 % unless told. Every guard must be
    /// passed, so it need not be divided over them.
    pub promotion: f64,
}

impl Default for Alpha {
    fn default() -> Self {
        Self { harm: 0.01, promotion: 0.05 }
    }
}

impl Evidence {
    /// Evidence that holds nothing but a verdict yet.
    pub fn new(guard: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            guard: guard.into(),
            verdict,
            observed: None,
            samples: 0,
            live: None,
            live_samples: 0,
            limit: None,
            strength: None,
            effect: None,
            sentence: None,
            note: None,
            decision: None,
        }
    }

    /// With the candidate's figure and how many samples it rests on.
    #[must_use]
    pub fn observed(mut self, value: f64, samples: u64) -> Self {
        (self.observed, self.samples) = (Some(value), samples);
        self
    }

    /// With live's figure and how many samples it rests on.
    #[must_use]
    pub fn live(mut self, value: f64, samples: u64) -> Self {
        (self.live, self.live_samples) = (Some(value), samples);
        self
    }

    /// With the worst value that would have passed.
    #[must_use]
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// With whatever else there is to say.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// One line, for people.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guard, self.verdict)?;
        match self.observed {
            Some(observed) => write!(f, " with {} on {} samples", number(observed), self.samples)?,
            None => write!(f, " with {} samples", self.samples)?,
        }
        if let Some(live) = self.live {
            write!(f, ", live {} on {}", number(live), self.live_samples)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit {}", number(limit))?;
        }
        if let Some(Strength { harm, harm_threshold, non_inferiority, non_inferiority_threshold, .. }) =
            &self.strength
        {
            write!(f, "; for harm {harm} of {harm_threshold}")?;
            match non_inferiority {
                Some(e) => write!(f, ", against it {e} of {non_inferiority_threshold}")?,
                None => f.write_str(", none could be so large")?,
            }
        }
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

/// Four significant digits, without zeros at the end.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = value.abs().log10().floor();
    let text = format!("{value:.*}", (3.0 - digits).clamp(0.0, 9.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The figures of a rollout, as guards see them.
#[non_exhaustive]
pub struct Comparison<'a> {
    /// Where the rollout stands.
    pub phase: Phase,
    /// The candidate since the attempt began; the new live since its promotion, while it is watched.
    pub candidate: &'a ArmView,
    /// Live since the attempt began; while a promoted version is watched, the version before: as its shadow where the
    /// plan keeps it as one, else as it was during the attempt.
    pub live: &'a ArmView,
    /// Pairs of answers to the same input.
    pub divergence: &'a DivergenceFigures,
    /// What happened to copied requests since the attempt began.
    pub shadow: ShadowCounts,
    /// The share of traffic that passing leads to: the plan's next step, all for a promotion.
    pub before: Share,
    /// What a rule of this crate's looks at.
    pub(crate) test: Option<Test<'a>>,
    /// What both versions said of the same traffic.
    pub(crate) drift: Option<Looked<'a>>,
}

/// A full window of both versions, and the errors that all looks at such windows may have together.
pub(crate) struct Looked<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) harm: f64,
    pub(crate) promotion: f64,
}

/// A rule's test, with all it looks at.
pub(crate) struct Test<'a> {
    pub(crate) design: &'a Design,
    pub(crate) history: &'a History,
    pub(crate) tests: &'a Tests,
    pub(crate) thresholds: Thresholds,
    /// The most that the evidence for harm ever was.
    pub(crate) peak: EValue,
    /// What keeps a candidate from being promoted, whatever the evidence.
    pub(crate) obstacles: &'a [String],
    pub(crate) phase: Phase,
    pub(crate) names: Names,
}

/// A number to twelve significant digits: what every reader of a text format reads as the same bits again. (Some read the
/// last of seventeen digits wrongly.)
pub(crate) fn written(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.11e}").parse().unwrap_or(value) } else { value }
}

/// What evidence must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thresholds {
    pub(crate) harm: EValue,
    pub(crate) promotion: EValue,
}

/// What the two versions are called.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Names {
    pub(crate) candidate: VersionId,
    pub(crate) live: VersionId,
}

impl Test<'_> {
    /// What follows from the evidence.
    pub(crate) fn judge(&self, rule: &Rule, before: Share) -> Evidence {
        let weighed = self.design.weigh(self.history, before, self.tests);
        let Thresholds { harm, promotion } = self.thresholds;
        let shown = weighed.fine.is_none_or(|fine| fine >= promotion);
        let mut notes: Vec<&str> = Vec::new();
        let mute = !self.design.is_judged_in(self.phase);
        let verdict = if weighed.harm >= harm {
            Verdict::Fail
        } else if mute && before != Share::ALL {
            notes.push("it is judged on the canary alone");
            Verdict::Pass
        } else if shown && before == Share::ALL && !self.obstacles.is_empty() {
            notes.extend(self.obstacles.iter().map(String::as_str));
            Verdict::Inconclusive
        } else if shown {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        };
        let harmed = match verdict {
            Verdict::Fail => self.harmed(),
            _ => Vec::new(),
        };
        let worse = format!("worse than allowed in {}", harmed.join(", "));
        if !harmed.is_empty() {
            notes.push(&worse);
        }
        let seen = self.design.observe(self.history);
        let mut evidence = Evidence::new(rule.name(), verdict);
        let reads = |loss: Option<f64>| loss.map(|loss| written(self.design.reads(loss)));
        evidence.samples = seen.samples;
        (evidence.live_samples, evidence.live) = (seen.live_samples, reads(seen.live));
        // A difference of losses is one of the figure only where its scale begins at 0.
        evidence.observed = if seen.is_difference { None } else { reads(seen.candidate) };
        evidence.limit = self.design.limit(seen.live).map(written);
        evidence.strength = Some(Strength {
            harm: weighed.harm,
            harm_peak: weighed.harm.max(self.peak),
            harm_threshold: harm,
            non_inferiority: weighed.fine,
            non_inferiority_threshold: promotion,
            before,
        });
        evidence.note = (!notes.is_empty()).then(|| notes.join("; "));
        evidence
    }

    /// The segments in which the candidate is worse than allowed.
    fn harmed(&self) -> Vec<String> {
        self.design.harmed(self.history, self.tests, self.thresholds.harm)
    }

    /// Adds what people want to know once something is decided.
    pub(crate) fn explain(&self, evidence: &mut Evidence) {
        evidence.effect = self.design.interval(self.history).map(|effect| Effect {
            estimate: written(effect.estimate),
            low: written(effect.low),
            high: written(effect.high),
            ..effect
        });
        let sentence = sentence::sentence(self.design, self.history, evidence.effect, self.names);
        evidence.sentence =
            Some(sentence::of_segments(self.design, self.history, &self.harmed(), self.names, sentence));
    }
}

/// The figures of one arm, over each of its windows.
#[derive(Clone)]
pub struct ArmView {
    pub(crate) total: Tally,
    pub(crate) predictions: Tally,
    pub(crate) recent: Tally,
    pub(crate) kpis: Arc<[crate::task::Kpi]>,
}

impl ArmView {
    /// The figures over one window. Some tens of microseconds.
    pub fn figures(&self, window: Window) -> ArmFigures {
        self.tally(window).figures(&self.kpis)
    }

    fn tally(&self, window: Window) -> &Tally {
        match window {
            Window::Total => &self.total,
            Window::Predictions => &self.predictions,
            Window::Recent => &self.recent,
        }
    }
}

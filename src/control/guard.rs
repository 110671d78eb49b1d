//! Guards: rules over an arm's figures that decide whether a candidate goes on, waits, or is taken back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::phase::Phase;
use crate::shadow::ShadowCounts;
use crate::stats::tally::Tally;
use crate::stats::{ArmFigures, Better, DivergenceFigures, Metric, Window};

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
    /// Whatever else there is to say.
    pub note: Option<String>,
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
            note: None,
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

/// The share of requests that the version failed on: errors, panics, invalid answers, missed deadlines. Requests that
/// were themselves bad do not count. Samples are requests.
pub fn error_rate() -> Rule {
    Rule::of(Figure::ErrorRate)
}

/// A quantile of the time to answer, in seconds: `latency(0.99)`. Samples are requests. In a shadow the time in the
/// queue does not count.
pub fn latency(quantile: f64) -> Rule {
    Rule::of(Figure::Latency { quantile: quantile.clamp(0.0, 1.0) })
}

/// Any figure of quality. Samples are the outcomes that the figure divides by.
pub fn quality(metric: Metric) -> Rule {
    Rule::of(Figure::Quality { metric })
}

/// The share of right answers.
pub fn accuracy() -> Rule {
    quality(Metric::Accuracy)
}

/// Of what was called yes, the share that was.
pub fn precision() -> Rule {
    quality(Metric::Precision)
}

/// Of what was yes, the share that was called so.
pub fn recall() -> Rule {
    quality(Metric::Recall)
}

/// The mean of a business figure declared at build. Samples are its outcomes.
pub fn kpi(name: impl Into<Arc<str>>) -> Rule {
    Rule::of(Figure::Kpi { name: name.into() })
}

/// How often live and candidate disagreed on the same input: the share of shadowed pairs with another class, a number
/// apart by more than the tolerance or another list; where the host compares answers itself, the mean of what its
/// comparison says. Samples are pairs.
pub fn divergence() -> Rule {
    Rule::of(Figure::Divergence)
}

/// The share of sampled copies that were dropped before the candidate saw them: a shadow that sheds load looks better
/// than it is. Samples are copies.
pub fn shadow_drops() -> Rule {
    Rule::of(Figure::ShadowDrops)
}

/// What a threshold is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Figure {
    /// See [`error_rate`].
    ErrorRate,
    /// See [`latency`].
    Latency {
        /// Between 0 and 1.
        quantile: f64,
    },
    /// See [`quality`].
    Quality {
        /// The figure.
        metric: Metric,
    },
    /// See [`kpi`].
    Kpi {
        /// The business figure's name.
        name: Arc<str>,
    },
    /// See [`divergence`].
    Divergence,
    /// See [`shadow_drops`].
    ShadowDrops,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorRate => f.write_str("error rate"),
            Self::Latency { quantile } => write!(f, "latency p{}", quantile * 100.0),
            Self::Quality { metric } => write!(f, "{}", format!("{metric:?}").to_lowercase()),
            Self::Kpi { name } => f.write_str(name),
            Self::Divergence => f.write_str("divergence"),
            Self::ShadowDrops => f.write_str("shadow drops"),
        }
    }
}

/// A figure that waits for its limit: see [`error_rate`] and the others.
#[derive(Debug, Clone)]
#[must_use = "a figure without a limit guards nothing"]
pub struct Rule {
    figure: Figure,
}

impl Rule {
    fn of(figure: Figure) -> Self {
        Self { figure }
    }

    /// At most `limit`, whatever live does. Seconds for a latency.
    pub fn at_most(self, limit: f64) -> Threshold {
        self.limited(Limit::AtMost(limit))
    }

    /// At most this long, for a latency.
    pub fn within(self, limit: Duration) -> Threshold {
        self.limited(Limit::AtMost(limit.as_secs_f64()))
    }

    /// At least `limit`, whatever live does.
    pub fn at_least(self, limit: f64) -> Threshold {
        self.limited(Limit::AtLeast(limit))
    }

    /// At most `margin` below live, for a figure of which more is better.
    pub fn at_most_below_live(self, margin: f64) -> Threshold {
        self.limited(Limit::BelowLive(margin))
    }

    /// At most `margin` above live, for a figure of which less is better.
    pub fn at_most_above_live(self, margin: f64) -> Threshold {
        self.limited(Limit::AboveLive(margin))
    }

    /// At most `factor` times live, for a figure of which less is better. Where live's is 0, so must the candidate's
    /// be.
    pub fn at_most_times_live(self, factor: f64) -> Threshold {
        self.limited(Limit::TimesLive(factor))
    }

    fn limited(self, limit: Limit) -> Threshold {
        Threshold {
            figure: self.figure,
            limit,
            min_samples: Threshold::default_samples(),
            window: Window::Total,
        }
    }
}

/// The limit of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// See [`Rule::at_most`].
    AtMost(f64),
    /// See [`Rule::at_least`].
    AtLeast(f64),
    /// See [`Rule::at_most_below_live`].
    BelowLive(f64),
    /// See [`Rule::at_most_above_live`].
    AboveLive(f64),
    /// See [`Rule::at_most_times_live`].
    TimesLive(f64),
}

/// A guard that compares a figure with a fixed limit, once there are enough samples.
///
/// Simple, and blunt: a threshold looked at again and again fires falsely sooner or later, the more so the fewer samples
/// it asks for. Give it a margin that noise does not cross. Readable by serde.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    figure: Figure,
    limit: Limit,
    #[serde(default = "Threshold::default_samples")]
    min_samples: u64,
    #[serde(default)]
    window: Window,
}

impl Threshold {
    /// From how many samples on it judges: of the candidate's figure and, where it is relative, of live's; 100 unless
    /// told. At 100 the error of a rate near one half is still about 5 percentage points.
    #[must_use]
    pub fn min_samples(mut self, samples: u64) -> Self {
        self.min_samples = samples;
        self
    }

    /// Over which window; over everything since the attempt began unless told.
    #[must_use]
    pub fn over(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    fn default_samples() -> u64 {
        100
    }

    /// The figure of one arm and how many samples it rests on. What only pairs have is the candidate's alone.
    fn measure(&self, arm: &ArmView, comparison: &Comparison<'_>) -> (Option<f64>, u64) {
        match &self.figure {
            Figure::Divergence => match comparison.divergence.comparison_mean {
                Some(difference) => (Some(difference), comparison.divergence.comparisons),
                None => {
                    (comparison.divergence.agreement.map(|agreed| 1.0 - agreed), comparison.divergence.pairs)
                }
            },
            Figure::ShadowDrops => {
                (comparison.shadow.drop_rate(), comparison.shadow.ran + comparison.shadow.dropped)
            }
            Figure::ErrorRate => {
                let errors = arm.tally(self.window).error_rate();
                (errors.value(), errors.whole)
            }
            Figure::Latency { quantile } => {
                let latency = arm.tally(self.window).latency();
                (latency.quantile(*quantile).map(|latency| latency.as_secs_f64()), latency.count())
            }
            Figure::Quality { metric } => match arm.tally(self.window).measure(*metric) {
                Some(measured) => (Some(measured.value), measured.outcomes),
                None => (None, 0),
            },
            Figure::Kpi { name } => {
                let place = arm.kpis.iter().position(|kpi| kpi.name() == &**name);
                place
                    .and_then(|place| arm.tally(self.window).kpi(place))
                    .map_or((None, 0), |kpi| (kpi.mean(), kpi.count()))
            }
        }
    }
}

impl Guard for Threshold {
    fn name(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("{} at most {limit}", self.figure),
            Limit::AtLeast(limit) => format!("{} at least {limit}", self.figure),
            Limit::BelowLive(margin) => format!("{} at most {margin} below live", self.figure),
            Limit::AboveLive(margin) => format!("{} at most {margin} above live", self.figure),
            Limit::TimesLive(factor) => format!("{} at most {factor} times live", self.figure),
        }
    }

    fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
        let (observed, samples) = self.measure(comparison.candidate, comparison);
        let relative = matches!(self.limit, Limit::BelowLive(_) | Limit::AboveLive(_) | Limit::TimesLive(_));
        let live = relative.then(|| self.measure(comparison.live, comparison));
        let limit = match (self.limit, live) {
            (Limit::AtMost(limit) | Limit::AtLeast(limit), _) => Some(limit),
            (Limit::BelowLive(margin), Some((Some(live), _))) => Some(live - margin),
            (Limit::AboveLive(margin), Some((Some(live), _))) => Some(live + margin),
            (Limit::TimesLive(factor), Some((Some(live), _))) => Some(live * factor),
            _ => None,
        };
        let enough = samples >= self.min_samples.max(1)
            && live.is_none_or(|(_, live_samples)| live_samples >= self.min_samples.max(1));
        let verdict = match (observed, limit) {
            (Some(observed), Some(limit)) if enough => {
                let higher_is_better = matches!(self.limit, Limit::AtLeast(_) | Limit::BelowLive(_));
                let holds = if higher_is_better { observed >= limit } else { observed <= limit };
                if holds { Verdict::Pass } else { Verdict::Fail }
            }
            _ => Verdict::Inconclusive,
        };
        let (live, live_samples) = live.map_or((None, 0), |(live, samples)| (live, samples));
        Evidence { guard: self.name(), verdict, observed, samples, live, live_samples, limit, note: None }
    }

    fn needs(&self) -> Needs {
        Needs {
            metric: match self.figure {
                Figure::Quality { metric } => Some(metric),
                _ => None,
            },
            kpi: match &self.figure {
                Figure::Kpi { name } => Some(Arc::clone(name)),
                _ => None,
            },
            pairs: matches!(self.figure, Figure::Divergence | Figure::ShadowDrops),
            contradiction: (!self.is_the_right_way_round()).then(|| {
                format!("`{}` would pass what it should fail: its limit points the other way", self.name())
            }),
        }
    }
}

impl Threshold {
    /// Whether the limit points the way in which the figure gets better; a guard the other way round would pass what it
    /// should fail.
    fn is_the_right_way_round(&self) -> bool {
        let better = match &self.figure {
            Figure::Quality { metric } => metric.better(),
            Figure::Kpi { .. } => return true,
            Figure::ErrorRate | Figure::Latency { .. } | Figure::Divergence | Figure::ShadowDrops => {
                Better::Lower
            }
        };
        match self.limit {
            Limit::AtLeast(_) | Limit::BelowLive(_) => better != Better::Lower,
            Limit::AtMost(_) | Limit::AboveLive(_) | Limit::TimesLive(_) => better != Better::Higher,
        }
    }
}

//! Which test stands behind a rule here, and what it makes of the evidence.

use serde::{Deserialize, Serialize};

use super::needs::Needs;
use super::numbers::written;
use super::rule::{Figure, Limit, Rule, words};
use super::tested::Tested;
use crate::base::share::Share;
use crate::rollout::phase::Phase;
use crate::stats::Metric;
use crate::stats::evidence::loss::{LOG_LOSS_MAX, losses};
use crate::task::kpi::Kpi;
use crate::task::outcome::Truth;
use crate::task::task::TaskKind;

/// The facts about a handle that must be known before it can be said which test a rule needs.
pub(crate) struct Setting<'a> {
    pub(crate) kind: TaskKind,
    pub(crate) kpis: &'a [Kpi],
    pub(crate) truth: TruthKind,
    /// Requests may be copied, so answers can be paired.
    pub(crate) pairs: bool,
    /// On a canary, live shadows what the candidate answers.
    pub(crate) canary_pairs: bool,
    /// The host compares answers itself.
    pub(crate) compares: bool,
    /// It is known when labels are complete.
    pub(crate) matures: bool,
    /// Segments that are told apart, with the others, where requests have any.
    pub(crate) segments: Option<usize>,
}

impl Setting<'_> {
    /// Why a figure of quality, a business figure or the labels that a guard needs are not there, where they are not.
    pub(crate) fn lacks(&self, needs: &Needs) -> Option<String> {
        if needs.metric.is_some_and(|metric| !metric.is_of(self.kind)) {
            return Some(String::from("the handle's task has no such figure: declare another task"));
        }
        let is_declared = |kpi: &str| self.kpis.iter().any(|declared| declared.name() == kpi);
        if let Some(kpi) = needs.kpi.as_deref().filter(|kpi| !is_declared(kpi)) {
            return Some(format!("the business figure `{kpi}` was not declared: add it at build"));
        }
        (needs.labels && !self.matures).then(|| NOT_COMPLETE.into())
    }
}

/// How the truth depends on the answer, as far as tests ask.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TruthKind {
    Independent,
    CausedByAnswer,
    /// With the share of what would be hidden that is let through, if any is.
    Censored(Option<f64>),
}

impl TruthKind {
    /// Of what the host says of the truth, and how much of what would be hidden is let through.
    pub(crate) fn of(truth: &Truth, explored: Option<Share>) -> Self {
        match truth {
            Truth::Independent => Self::Independent,
            Truth::CausedByAnswer => Self::CausedByAnswer,
            Truth::Censored(_) => Self::Censored(explored.map(Share::fraction)),
        }
    }
}

/// Which test stands behind a rule: all that is needed, beside the counts, to judge again elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Design {
    pub(crate) tested: Tested,
    pub(crate) margin: Margin,
    pub(crate) uses: Uses,
    /// How live is asked about an absolute limit, where it can be: a limit that live breaks as well takes nothing back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Uses>,
    /// The value that live's loss was known to have before the comparison began.
    pub(crate) centre: f64,
    /// The rate up to which a multiple of live's does not matter.
    pub(crate) floor: Option<f64>,
    /// How often live exceeds its own quantile, of a latency relative to it.
    pub(crate) tail: f64,
    /// How many times as long as that the candidate may take.
    pub(crate) factor: f64,
    /// The share of what would be hidden that is let through.
    pub(crate) explored: Option<f64>,
    /// How a loss between 0 and 1 reads in the figure's own units.
    pub(crate) reads: Reads,
    /// How many segments there can be, of a rule that is judged by segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) segments: Option<u32>,
}

/// A margin, of losses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Margin {
    /// The candidate's may be so much larger.
    Above(f64),
    /// The candidate's may be so many times as large.
    Times(f64),
    /// The candidate may have so many times the events, which are good ones, at least.
    AtLeastTimes(f64),
    /// The candidate's may be so large.
    AtMost(f64),
}

impl Margin {
    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Above(x) => Self::Above(change(x)),
            Self::Times(x) => Self::Times(change(x)),
            Self::AtLeastTimes(x) => Self::AtLeastTimes(change(x)),
            Self::AtMost(x) => Self::AtMost(change(x)),
        }
    }
}

/// The units that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Uses {
    /// Answers to the same inputs.
    Pairs,
    /// The two arms of a canary.
    Arms,
    /// Both, averaged: a request may be in either.
    Both,
    /// The candidate alone.
    Alone,
}

/// How a loss reads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reads {
    /// The value of a loss of 0.
    best: f64,
    /// The value of a loss of 1.
    worst: f64,
}

impl Reads {
    const LOSS: Reads = Reads { best: 0.0, worst: 1.0 };
    const GAIN: Reads = Reads { best: 1.0, worst: 0.0 };

    fn value(self, loss: f64) -> f64 {
        self.best + (self.worst - self.best) * loss
    }

    /// The loss that a difference in the figure's own units is.
    fn size(self, difference: f64) -> f64 {
        difference / (self.worst - self.best).abs()
    }

    fn loss(self, value: f64) -> f64 {
        (value - self.best) / (self.worst - self.best)
    }

    /// Whether a limit in the figure's own units lies where the figure can be; a rule knows no bounds of business figures.
    fn can_break(self, tested: Tested, margin: Margin) -> Result<(), String> {
        let bounded = !matches!(tested, Tested::Errors | Tested::KpiValues(_));
        match margin {
            Margin::Above(loss) | Margin::AtMost(loss) if bounded && !(0.0..1.0).contains(&loss) => {
                let (low, high) = (self.best.min(self.worst), self.best.max(self.worst));
                Err(format!(
                    "the figure lies between {low} and {high}: its limit could never be broken, or never be kept"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What a latency is held against, relative to live, lies so far below live's own quantile, which is known to a bin's width of it: where
/// latencies are all alike, live would never exceed what lies above them, and nothing could be shown. What is held against it is
/// [blurred](crate::stats::figures::latency_limit::LatencyLimit), so that they do not exceed it always either.
pub(crate) const HELD_BELOW: f64 = 0.99;

const NOT_PROMISED: &str = "nothing was promised: say `.promised(metric, value)` of the rollout first";

impl Design {
    /// How often something may happen to the candidate that happens so often to live. Of events that are bad.
    pub(crate) fn allows(&self, of_live: f64) -> f64 {
        match self.margin {
            Margin::Above(more) => of_live + more,
            Margin::Times(times) => (times * of_live).max(self.floor.unwrap_or(0.0)),
            Margin::AtMost(limit) => limit.max(of_live),
            Margin::AtLeastTimes(_) => of_live,
        }
    }

    /// The test for a rule. Says why there is none where there is none.
    pub(crate) fn of(rule: &Rule, probe: Option<usize>, setting: &Setting<'_>) -> Result<Self, String> {
        let (tested, reads) = tested(rule, probe, setting)?;
        let tail = match rule.figure() {
            Figure::Latency { quantile } => 1.0 - quantile,
            _ => 0.0,
        };
        let margin = match rule.limit() {
            // How long a latency may be is in the probe: what is left is how often it may be longer.
            Limit::Within(_) => Margin::AtMost(tail),
            Limit::AtMost(limit) | Limit::AtLeast(limit) => Margin::AtMost(reads.loss(limit)),
            Limit::BelowLive(margin) | Limit::AboveLive(margin) => Margin::Above(reads.size(margin)),
            // The multiple of a latency is in the probe too.
            Limit::TimesLive(_) if matches!(tested, Tested::Slow(_)) => Margin::Times(1.0),
            Limit::TimesLive(factor) => Margin::Times(factor),
            Limit::AtLeastTimesLive(factor) => Margin::AtLeastTimes(factor),
            Limit::BelowPromise(_) => return Err(NOT_PROMISED.into()),
        };
        reads.can_break(tested, margin)?;
        let beside = beside(tested, margin, setting)?;
        let uses = uses(tested, margin, setting)?;
        // What each version called yes is matched, so the arms of a canary are pairs too.
        let in_arms = |uses: Uses| tested == Tested::FalseAlarms && matches!(uses, Uses::Arms | Uses::Both);
        let (tested, uses, beside) = if in_arms(uses) || beside.is_some_and(in_arms) {
            let uses = if uses == Uses::Alone { Uses::Alone } else { Uses::Pairs };
            (Tested::FalseAlarmsInArms, uses, beside.map(|_| Uses::Pairs))
        } else {
            (tested, uses, beside)
        };
        let explored = match setting.truth {
            TruthKind::Censored(explored) => explored,
            _ => None,
        };
        let (margin, tail) = (margin.map(written), written(tail));
        let factor = match rule.limit() {
            Limit::TimesLive(factor) if tail > 0.0 => factor,
            _ => 1.0,
        };
        let (centre, floor) = (0.0, rule.floor());
        let segments = segments(rule, tested, setting)?;
        let design =
            Self { tested, margin, uses, beside, centre, floor, tail, factor, explored, reads, segments };
        design.has_a_test()?;
        Ok(design)
    }

    /// Why a rule could never judge in a setting, where it could not. Of one that rests on a promise that is said only when it is made.
    #[cfg(feature = "config")]
    pub(crate) fn refused(rule: &Rule, setting: &Setting<'_>) -> Option<String> {
        let looks = matches!(rule.figure(), Figure::Latency { .. });
        let promised = matches!(rule.limit(), Limit::BelowPromise(_));
        Self::of(rule, looks.then_some(0), setting).err().filter(|_| !promised)
    }

    /// Why there is no test for these counts at this margin.
    fn has_a_test(&self) -> Result<(), String> {
        match (self.tested, self.margin) {
            (Tested::KpiValues(_), Margin::AtMost(_)) => Err(String::from(
                "a figure without bounds has no test against a fixed limit: declare bounds, or compare it with live",
            )),
            (Tested::WrongWithHidden, margin) if !matches!(margin, Margin::Above(_)) => Err(String::from(
                "where the answer hides the truth, accuracy is compared by a difference: use `at_most_below_live`",
            )),
            _ => Ok(()),
        }
    }

    /// Whether it is judged by the truth.
    pub(crate) fn needs_labels(&self) -> bool {
        !matches!(self.tested, Tested::Failures | Tested::Slow(_) | Tested::Differences | Tested::Comparisons)
    }

    /// The test of failures that stands beside a figure of quality where no other guard judges them: the candidate may fail
    /// oftener than live by the same share as its answers may be worse; by a hundredth where that is no share.
    pub(crate) fn of_failures(&self) -> Self {
        const MORE: f64 = 0.01;
        let bounded = !matches!(self.tested, Tested::Errors | Tested::KpiValues(_));
        let margin = self.absolute_margin().filter(|_| bounded).unwrap_or(MORE);
        Self {
            tested: Tested::Failures,
            margin: Margin::Above(margin),
            uses: Uses::Both,
            beside: None,
            centre: 0.0,
            floor: None,
            tail: 0.0,
            factor: 1.0,
            explored: None,
            reads: Reads::LOSS,
            segments: None,
        }
    }

    /// Whether it compares what the two arms of a canary did, and nothing else.
    pub(crate) fn compares_arms(&self) -> bool {
        self.uses == Uses::Arms || (self.tested == Tested::FalseAlarmsInArms && self.uses == Uses::Pairs)
    }

    /// Whether its limit is one that live is not asked about. Then live is asked all the same: what befalls both versions
    /// is no reason to take one of them back.
    pub(crate) fn is_absolute(&self) -> bool {
        matches!(self.margin, Margin::AtMost(_))
    }

    /// Whether there can be anything to judge in a phase: a business figure exists only for what was shown, and two arms are
    /// compared where there are two.
    pub(crate) fn is_judged_in(&self, phase: Phase) -> bool {
        let shown = matches!(self.tested, Tested::Kpi(_) | Tested::KpiValues(_) | Tested::KpiSuccesses(_));
        !(phase == Phase::Shadow && (shown || self.compares_arms()))
    }

    /// Whether pairs are what it is judged by: their being dropped could flatter a version.
    pub(crate) fn rests_on_pairs(&self) -> bool {
        let pairs = matches!(self.uses, Uses::Pairs) && !self.compares_arms();
        pairs || matches!(self.tested, Tested::Differences | Tested::Comparisons)
    }

    /// The margin in absolute terms, as a share of requests.
    pub(crate) fn absolute_margin(&self) -> Option<f64> {
        match self.margin {
            Margin::Above(margin) => Some(margin),
            Margin::AtMost(limit) => Some(limit),
            Margin::Times(_) | Margin::AtLeastTimes(_) => None,
        }
    }

    /// The margin that must hold before a candidate is given this share of the traffic: that at which the harm expected of
    /// all traffic is within the rule's own. Nothing where no candidate could be so bad.
    pub(crate) fn before(&self, share: Share) -> Option<Margin> {
        if share == Share::ALL {
            return Some(self.margin);
        }
        // One that is to be better than live is to be so from the start: more of it is no allowance.
        if self.is_better_by() {
            return Some(self.margin);
        }
        let share = share.fraction();
        match self.margin {
            Margin::Above(margin) => Some(margin / share).filter(|margin| *margin < 1.0).map(Margin::Above),
            Margin::AtMost(limit) => Some(limit / share).filter(|limit| *limit < 1.0).map(Margin::AtMost),
            Margin::Times(times) if matches!(self.tested, Tested::Slow(_)) => {
                Some(Margin::Times(times / share))
            }
            Margin::Times(times) => Some(Margin::Times(1.0 + (times - 1.0) / share)),
            Margin::AtLeastTimes(times) => {
                Some(1.0 - (1.0 - times) / share).filter(|times| *times > 0.0).map(Margin::AtLeastTimes)
            }
        }
    }

    /// Whether the candidate must be better than live.
    fn is_better_by(&self) -> bool {
        match self.margin {
            Margin::Times(_) if matches!(self.tested, Tested::Slow(_)) => self.factor < 1.0,
            Margin::Times(times) => times <= 1.0,
            Margin::AtLeastTimes(times) => times >= 1.0,
            Margin::Above(margin) => margin < 0.0,
            Margin::AtMost(_) => false,
        }
    }

    /// The worst value that the candidate may have, in the figure's own units, where live's loss is this.
    pub(crate) fn limit(&self, live: Option<f64>) -> Option<f64> {
        let loss = match self.margin {
            Margin::AtMost(limit) => limit,
            Margin::Above(margin) => live? + margin,
            Margin::Times(times) => (live? * times).max(self.floor.unwrap_or(0.0)),
            Margin::AtLeastTimes(times) => live? * times,
        };
        Some(self.reads.value(loss))
    }

    /// Returns what a value in the figure's own units is as a loss.
    pub(crate) fn loss(&self, value: f64) -> f64 {
        self.reads.loss(value)
    }

    /// The value in the figure's own units.
    pub(crate) fn reads(&self, loss: f64) -> f64 {
        self.reads.value(loss)
    }

    /// Whether scores are counted as the host gives them, more being better, and must be turned into losses.
    pub(crate) fn turns_scores(&self) -> bool {
        matches!(self.tested, Tested::Kpi(_)) && self.reads_gain()
    }

    /// The rate up to which a new live is not suspected, given what it was as a candidate.
    pub(crate) fn tolerated(&self, rate: f64) -> f64 {
        match self.margin {
            Margin::Above(margin) => rate + margin,
            Margin::Times(times) => (rate * times).max(self.floor.unwrap_or(0.0)),
            Margin::AtMost(limit) => limit,
            Margin::AtLeastTimes(_) => rate,
        }
    }

    /// Whether pairs can tell whether the version or the world is worse. Of an absolute limit it is whether live can be asked so.
    pub(crate) fn can_be_paired(&self) -> bool {
        let in_pairs = matches!(self.beside.unwrap_or(self.uses), Uses::Pairs | Uses::Both);
        in_pairs && self.tested != Tested::FalseAlarmsInArms
    }

    /// Whether more of the figure is better.
    pub(crate) fn reads_gain(&self) -> bool {
        self.reads.worst < self.reads.best
    }
}

/// How many segments a rule looks at.
fn segments(rule: &Rule, tested: Tested, setting: &Setting<'_>) -> Result<Option<u32>, String> {
    if !rule.is_by_segment() {
        return Ok(None);
    }
    // Where the answer hides the truth, accuracy is not counted by segment.
    if !matches!(tested, Tested::Failures | Tested::Wrong) {
        return Err(
            "by segment, error rate and accuracy alone are counted: guard the others over all traffic".into(),
        );
    }
    let segments =
        setting.segments.ok_or("requests have no segments here: add `Inputs::segment` at build")?;
    Ok(Some(u32::try_from(segments).unwrap_or(u32::MAX)))
}

/// Returns what is counted for a rule, and how it reads.
fn tested(rule: &Rule, probe: Option<usize>, setting: &Setting<'_>) -> Result<(Tested, Reads), String> {
    let of_task = |metric: Metric| metric.is_of(setting.kind);
    match rule.figure() {
        Figure::ErrorRate => Ok((Tested::Failures, Reads::LOSS)),
        Figure::Latency { .. } => Ok((Tested::Slow(probe.unwrap_or_default()), Reads::LOSS)),
        Figure::Divergence => {
            Ok((if setting.compares { Tested::Comparisons } else { Tested::Differences }, Reads::LOSS))
        }
        Figure::Promised => Err(NOT_PROMISED.into()),
        Figure::Kpi { name } => business(name, rule.limit(), setting),
        Figure::Quality { metric } if !of_task(*metric) => {
            Err("the handle's task has no such figure: declare another task".into())
        }
        Figure::Quality { metric } => {
            let hidden = matches!(setting.truth, TruthKind::Censored(_));
            if hidden && *metric != Metric::Accuracy {
                return Err("where the answer hides the truth, only accuracy can be compared".into());
            }
            let binary = matches!(setting.kind, TaskKind::Binary { .. });
            let place = losses(setting.kind).iter().position(|of| of == metric);
            match (metric, place) {
                (Metric::Accuracy, _) if hidden => Ok((Tested::WrongWithHidden, Reads::GAIN)),
                (Metric::Accuracy, _) => Ok((Tested::Wrong, Reads::GAIN)),
                (Metric::Recall, _) if binary => Ok((Tested::Missed, Reads::GAIN)),
                (Metric::Precision, _) if binary => Ok((Tested::FalseAlarms, Reads::GAIN)),
                (Metric::F1, _) if binary => Ok((Tested::F1, Reads::GAIN)),
                (Metric::Mae, _) => Ok((Tested::Errors, Reads::LOSS)),
                (Metric::Brier, Some(place)) => Ok((Tested::Loss(place), Reads::LOSS)),
                (Metric::LogLoss, Some(place)) => {
                    Ok((Tested::Loss(place), Reads { best: 0.0, worst: LOG_LOSS_MAX }))
                }
                (_, Some(place)) => Ok((Tested::Loss(place), Reads::GAIN)),
                _ => Err(format!(
                    "there is no sequential test for the {} of this task: guard another figure, or write a `Guard`",
                    words(*metric)
                )),
            }
        }
    }
}

/// Returns what is counted for a rule over a business figure, as it was declared.
fn business(name: &str, limit: Limit, setting: &Setting<'_>) -> Result<(Tested, Reads), String> {
    let place = setting.kpis.iter().position(|kpi| kpi.name() == name);
    let (place, kpi) = place
        .and_then(|place| Some((place, setting.kpis.get(place)?)))
        .ok_or_else(|| format!("the business figure `{name}` was not declared: add it at build"))?;
    let less = kpi.is_lower_better();
    match limit {
        Limit::AtMost(_) | Limit::AboveLive(_) if !less => {
            return Err(format!(
                "more of `{name}` is better, so its limit points the other way: use `at_least` or `at_most_below_live`, \
                 or declare it `.lower_is_better()`"
            ));
        }
        Limit::AtLeast(_) | Limit::BelowLive(_) | Limit::AtLeastTimesLive(_) if less => {
            return Err(format!(
                "less of `{name}` is better, so its limit points the other way: use `at_most` or `at_most_above_live`"
            ));
        }
        _ => {}
    }
    match (kpi.low_and_high(), limit) {
        (Some((0.0, 1.0)), Limit::AtLeastTimesLive(_)) => {
            Ok((Tested::KpiSuccesses(place), Reads { best: 0.0, worst: 1.0 }))
        }
        (_, Limit::AtLeastTimesLive(_)) => {
            Err("`at_least_times_live` is for business figures that are 0 or 1 (`Kpi::rate`)".into())
        }
        (Some((low, high)), _) if less => Ok((Tested::Kpi(place), Reads { best: low, worst: high })),
        (Some((low, high)), _) => Ok((Tested::Kpi(place), Reads { best: high, worst: low })),
        (None, _) if less => Ok((Tested::KpiValues(place), Reads::LOSS)),
        (None, _) => Ok((Tested::KpiValues(place), Reads { best: 0.0, worst: -1.0 })),
    }
}

/// How live is asked about an absolute limit.
fn beside(tested: Tested, margin: Margin, setting: &Setting<'_>) -> Result<Option<Uses>, String> {
    let Margin::AtMost(_) = margin else { return Ok(None) };
    if matches!(tested, Tested::Differences | Tested::Comparisons) {
        return Ok(None);
    }
    uses(tested, Margin::Above(0.0), setting).map(Some)
}

const NOT_COMPLETE: &str = "it is not known when labels are complete: say `.labels(Labels::complete_after(age))` at build, or \
    `.labels(Labels::at_random())` where when one comes has nothing to do with what it says";

/// Returns what is compared, where that is legal.
fn uses(tested: Tested, margin: Margin, setting: &Setting<'_>) -> Result<Uses, String> {
    let alone = matches!(margin, Margin::AtMost(_));
    let labelled =
        !matches!(tested, Tested::Failures | Tested::Slow(_) | Tested::Differences | Tested::Comparisons);
    if labelled && !setting.matures {
        return Err(NOT_COMPLETE.into());
    }
    match tested {
        Tested::Differences | Tested::Comparisons if !setting.pairs => Err(
            "it judges pairs, and the handle does not shadow: add `.shadowing(Shadowing::new())` at build"
                .into(),
        ),
        Tested::WrongWithHidden if !setting.pairs => Err(String::from(
            "where the answer hides the truth, versions are compared on the same inputs: add `.shadowing(Shadowing::new())` at build",
        )),
        _ if alone => Ok(Uses::Alone),
        Tested::WrongWithHidden => Ok(Uses::Pairs),
        Tested::Kpi(_) | Tested::KpiValues(_) | Tested::KpiSuccesses(_) => Ok(Uses::Arms),
        Tested::Failures | Tested::Slow(_) => Ok(if setting.pairs { Uses::Both } else { Uses::Arms }),
        _ => match setting.truth {
            TruthKind::Independent if setting.pairs && setting.canary_pairs => Ok(Uses::Pairs),
            _ => Ok(Uses::Arms),
        },
    }
}

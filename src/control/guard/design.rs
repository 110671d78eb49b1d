//! Which test stands behind a rule here, and what it makes of the evidence.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::super::phase::Phase;
use super::history::{History, Series, Stretch, Tested};
use super::rule::{Figure, Limit, Rule};
use super::written;
use crate::share::Share;
use crate::stats::Metric;
use crate::stats::evidence::{LOG_LOSS_MAX, losses};
use crate::stats::sequential::{
    Additive, Arms, Asymptotic, ByOdds, Claim, EValue, Events, HiddenEvents, Mean, MeanDifference,
    PairedDifference, PairedEvents, PairedHidden, PairedParts, PairedRatio, PairedRatioTest, PairedScores,
    Parts, Rate, RateDifference, RateRatio, RatioLimit, RatioMargin, Scores, SequentialTest, SplitRatioTest,
    Values, interval,
};
use crate::task::{Kpi, TaskKind};

/// What there is to know of a handle before it can be said which test a rule needs.
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

/// Which test stands behind a rule: all that is needed, beside the counts, to judge again elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Design {
    pub(crate) tested: Tested,
    pub(crate) margin: Margin,
    pub(crate) uses: Uses,
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

/// What is compared.
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
    /// What a loss of 0 is.
    best: f64,
    /// What a loss of 1 is.
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
}

impl Design {
    /// The test for a rule. Says why there is none where there is none.
    pub(crate) fn of(rule: &Rule, probe: Option<usize>, setting: &Setting<'_>) -> Result<Self, String> {
        let (tested, reads) = tested(rule, probe, setting)?;
        let margin = match rule.limit {
            Limit::AtMost(limit) | Limit::AtLeast(limit) => match tested {
                // How long a latency may be is in the probe: what is left is how often it may be longer.
                Tested::Slow(_) => match rule.figure {
                    Figure::Latency { quantile } => Margin::AtMost(1.0 - quantile),
                    _ => Margin::AtMost(limit),
                },
                _ => Margin::AtMost(reads.loss(limit)),
            },
            Limit::BelowLive(margin) | Limit::AboveLive(margin) => Margin::Above(reads.size(margin)),
            // The multiple of a latency is in the probe too.
            Limit::TimesLive(_) if matches!(tested, Tested::Slow(_)) => Margin::Times(1.0),
            Limit::TimesLive(factor) => Margin::Times(factor),
            Limit::AtLeastTimesLive(factor) => Margin::AtLeastTimes(factor),
            Limit::BelowPromise(_) => {
                return Err(
                    "nothing was promised: say `.promised(metric, value)` of the rollout first".into()
                );
            }
        };
        let uses = uses(tested, margin, setting)?;
        let explored = match setting.truth {
            TruthKind::Censored(explored) => explored,
            _ => None,
        };
        let tail = match rule.figure {
            Figure::Latency { quantile } => 1.0 - quantile,
            _ => 0.0,
        };
        let (margin, tail) = (margin.map(written), written(tail));
        let factor = match rule.limit {
            Limit::TimesLive(factor) if tail > 0.0 => factor,
            _ => 1.0,
        };
        let design =
            Self { tested, margin, uses, centre: 0.0, floor: rule.floor(), tail, factor, explored, reads };
        design.has_a_test()?;
        Ok(design)
    }

    /// Why there is no test for these counts at this margin.
    fn has_a_test(&self) -> Result<(), String> {
        let missing = match (self.tested, self.margin) {
            (Tested::Loss(_) | Tested::Kpi(_) | Tested::Comparisons, Margin::Times(_)) => {
                "a mean is compared by a difference: use `at_most_below_live` or `at_most_above_live`"
            }
            (Tested::Errors | Tested::KpiValues(_), Margin::Times(_)) => {
                "a figure without bounds is compared by a difference: use `at_most_below_live` or `at_most_above_live`"
            }
            (Tested::Errors | Tested::KpiValues(_), Margin::AtMost(_)) => {
                "a figure without bounds has no test against a fixed limit: declare bounds, or compare it with live"
            }
            (Tested::WrongWithHidden, margin) if !matches!(margin, Margin::Above(_)) => {
                "where the answer hides the truth, accuracy is compared by a difference: use `at_most_below_live`"
            }
            (Tested::KpiSuccesses(_), _) | (_, Margin::AtLeastTimes(_)) => match (self.tested, self.margin) {
                (Tested::KpiSuccesses(_), Margin::AtLeastTimes(_)) => return Ok(()),
                _ => "`at_least_times_live` is for business figures that are 0 or 1 (`Kpi::rate`)",
            },
            _ => return Ok(()),
        };
        Err(missing.into())
    }

    /// Whether it is judged by the truth.
    pub(crate) fn needs_labels(&self) -> bool {
        !matches!(self.tested, Tested::Failures | Tested::Slow(_) | Tested::Differences | Tested::Comparisons)
    }

    /// Whether there can be anything to judge in a phase: a business figure exists only for what was shown, and two arms are
    /// compared where there are two.
    pub(crate) fn is_judged_in(&self, phase: Phase) -> bool {
        let shown = matches!(self.tested, Tested::Kpi(_) | Tested::KpiValues(_) | Tested::KpiSuccesses(_));
        !(phase == Phase::Shadow && (shown || self.uses == Uses::Arms))
    }

    /// Whether pairs are what it is judged by: their being dropped could flatter a version.
    pub(crate) fn rests_on_pairs(&self) -> bool {
        matches!(self.uses, Uses::Pairs) || matches!(self.tested, Tested::Differences | Tested::Comparisons)
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
        let share = share.fraction();
        match self.margin {
            Margin::Above(margin) => Some(margin / share).filter(|margin| *margin < 1.0).map(Margin::Above),
            Margin::AtMost(limit) => Some(limit / share).filter(|limit| *limit < 1.0).map(Margin::AtMost),
            Margin::Times(times) if matches!(self.tested, Tested::Slow(_)) => {
                Some(Margin::Times(times / share))
            }
            // One that is to be better than live is to be so from the start.
            Margin::Times(times) if times <= 1.0 => Some(self.margin),
            Margin::Times(times) => Some(Margin::Times(1.0 + (times - 1.0) / share)),
            Margin::AtLeastTimes(times) if times >= 1.0 => Some(self.margin),
            Margin::AtLeastTimes(times) => {
                Some(1.0 - (1.0 - times) / share).filter(|times| *times > 0.0).map(Margin::AtLeastTimes)
            }
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

    /// What a value in the figure's own units is as a loss.
    pub(crate) fn loss(&self, value: f64) -> f64 {
        self.reads.loss(value)
    }

    /// The value in the figure's own units.
    pub(crate) fn reads(&self, loss: f64) -> f64 {
        self.reads.value(loss)
    }

    /// What the tests make of a history.
    pub(crate) fn weigh(&self, history: &History, asked: Share, tests: &Tests) -> Weighed {
        let claim = |margin| (Claim::NonInferiority, margin);
        let asked_margin = self.before(asked);
        let promotion = asked == Share::ALL;
        match history {
            History::Events(stretch) => {
                let harm = tests.events(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.events(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::Scores(stretch) => {
                let harm = tests.scores(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.scores(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::Values(stretch) => {
                let harm = tests.values(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.values(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::Ratios(stretch) => {
                let harm = tests.ratios(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.ratios(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::Hidden(stretch) => {
                let harm = tests.hidden(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.hidden(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
        }
    }

    /// What was observed, of both versions.
    pub(crate) fn observe(&self, history: &History) -> Observed {
        match history {
            History::Events(stretch) => {
                let all = stretch.blocks.total();
                let (candidate, live) =
                    match self.compared(all.pairs.pairs(), all.requests.pooled(), all.keys.pooled()) {
                        Compared::Pairs => (all.pairs.of_candidate(), all.pairs.of_live()),
                        Compared::Arms => (all.candidate_in_arms(), all.live()),
                        Compared::Alone => (all.candidate(), Events::default()),
                    };
                self.observed(candidate.rate(), candidate.units, live.rate(), live.units)
            }
            History::Scores(stretch) => {
                let all = stretch.blocks.total();
                let loss =
                    |mean: Option<f64>| if self.turns_scores() { mean.map(|mean| 1.0 - mean) } else { mean };
                match self.uses {
                    // Only the difference is kept of a pair.
                    Uses::Pairs => {
                        self.observed(all.pairs.mean(), all.pairs.count_all(), None, 0).difference()
                    }
                    Uses::Alone => {
                        let own = all.candidate();
                        self.observed(loss(own.mean()), own.count_all(), None, 0)
                    }
                    Uses::Arms | Uses::Both => {
                        let (own, live) = (all.candidate_in_arms(), all.live());
                        self.observed(loss(own.mean()), own.count_all(), loss(live.mean()), live.count_all())
                    }
                }
            }
            History::Values(stretch) => {
                let all = stretch.blocks.total();
                let loss = |mean: Option<f64>| if self.reads_gain() { mean.map(|mean| -mean) } else { mean };
                match self.uses {
                    Uses::Pairs => {
                        self.observed(loss(all.pairs.mean()), all.pairs.len(), None, 0).difference()
                    }
                    _ => {
                        let (own, live) = (all.candidate_in_arms(), all.live());
                        self.observed(loss(own.mean()), own.len(), loss(live.mean()), live.len())
                    }
                }
            }
            History::Ratios(stretch) => {
                let all = stretch.blocks.total();
                match self.uses {
                    Uses::Pairs => {
                        let ratios = all.pairs.ratios();
                        self.observed(ratios.candidate, all.pairs.pairs(), ratios.live, all.pairs.pairs())
                    }
                    Uses::Alone => {
                        let own = all.candidate();
                        self.observed(own.ratio(), own.whole(), None, 0)
                    }
                    Uses::Arms | Uses::Both => {
                        let (own, live) = (all.candidate_in_arms(), all.live());
                        self.observed(own.ratio(), own.whole(), live.ratio(), live.whole())
                    }
                }
            }
            History::Hidden(stretch) => {
                let seen = stretch.blocks.total().pairs.seen;
                let (own, live) = (seen.of_candidate(), seen.of_live());
                self.observed(own.rate(), own.units, live.rate(), live.units)
            }
        }
    }

    fn compared(&self, pairs: u64, requests: Arms<Events>, keys: Arms<Events>) -> Compared {
        match self.uses {
            Uses::Pairs => Compared::Pairs,
            Uses::Arms => Compared::Arms,
            Uses::Alone => Compared::Alone,
            Uses::Both if pairs > requests.candidate.units + keys.candidate.units => Compared::Pairs,
            Uses::Both => Compared::Arms,
        }
    }

    fn observed(
        &self,
        candidate: Option<f64>,
        samples: u64,
        live: Option<f64>,
        live_samples: u64,
    ) -> Observed {
        Observed { candidate, samples, live, live_samples, is_difference: false }
    }

    /// The interval of the effect, at all times, with an error of 5 %: of the factor where the margin is one, else of the
    /// difference, or of the loss itself. `None` where there is nothing to enclose.
    pub(crate) fn interval(&self, history: &History) -> Option<Effect> {
        // What the test finds at another margin.
        let at = |margin| Design { margin, floor: None, ..self.clone() };
        let tests = Tests::default();
        let evidence = |claim: Claim, margin: Margin| {
            let design = at(margin);
            match history {
                History::Events(stretch) => tests.events(&design, (claim, margin))(&stretch.blocks.total()),
                History::Scores(stretch) => tests.scores(&design, (claim, margin))(&stretch.blocks.total()),
                History::Values(stretch) => tests.values(&design, (claim, margin))(&stretch.blocks.total()),
                History::Ratios(stretch) => tests.ratios(&design, (claim, margin))(&stretch.blocks.total()),
                History::Hidden(stretch) => tests.hidden(&design, (claim, margin))(&stretch.blocks.total()),
            }
        };
        let seen = self.observe(history);
        const ERROR: f64 = 0.05;
        match self.margin {
            Margin::Above(_) => {
                let estimate =
                    if seen.is_difference { seen.candidate? } else { seen.candidate? - seen.live? };
                // Values without bounds may differ by anything.
                let far = if matches!(history, History::Values(_)) { 1e9 } else { 1.0 };
                let (low, high) = interval(ERROR, (-far, far), estimate, |claim, margin| {
                    evidence(claim, Margin::Above(margin))
                });
                Some(Effect { kind: EffectKind::Difference, estimate, low, high })
            }
            Margin::Times(_) => {
                let estimate = (seen.candidate? / seen.live.filter(|live| *live > 0.0)?).clamp(1e-3, 1e3);
                let (low, high) = interval(ERROR, (1e-3, 1e3), estimate, |claim, times| {
                    evidence(claim, Margin::Times(times))
                });
                Some(Effect { kind: EffectKind::Factor, estimate, low, high })
            }
            Margin::AtLeastTimes(_) => {
                let estimate = (seen.candidate? / seen.live.filter(|live| *live > 0.0)?).clamp(1e-3, 1e3);
                // Events are good ones: what shows harm bounds the factor from above.
                let turned = |claim| match claim {
                    Claim::Harm => Claim::NonInferiority,
                    Claim::NonInferiority => Claim::Harm,
                };
                let (low, high) = interval(ERROR, (1e-3, 1e3), estimate, |claim, times| {
                    evidence(turned(claim), Margin::AtLeastTimes(times))
                });
                Some(Effect { kind: EffectKind::Factor, estimate, low, high })
            }
            Margin::AtMost(_) => {
                let estimate = seen.candidate?;
                let (low, high) = interval(ERROR, (0.0, 1.0), estimate, |claim, limit| {
                    evidence(claim, Margin::AtMost(limit))
                });
                Some(Effect { kind: EffectKind::Value, estimate, low, high })
            }
        }
    }
}

enum Compared {
    Pairs,
    Arms,
    Alone,
}

/// What was observed of a rule's figure, as losses.
pub(crate) struct Observed {
    pub(crate) candidate: Option<f64>,
    pub(crate) samples: u64,
    pub(crate) live: Option<f64>,
    pub(crate) live_samples: u64,
    /// The candidate's is the difference from live's already.
    pub(crate) is_difference: bool,
}

impl Observed {
    fn difference(self) -> Self {
        Self { is_difference: true, ..self }
    }
}

/// How much worse the candidate is, and what else it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Effect {
    /// What the numbers are.
    pub kind: EffectKind,
    /// What was seen.
    pub estimate: f64,
    /// It is at least this, at all times at once, but for an error of 2.5 %.
    pub low: f64,
    /// It is at most this, likewise.
    pub high: f64,
}

/// What an effect is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EffectKind {
    /// How much larger the candidate's loss is than live's.
    Difference,
    /// How many times as often the candidate has the event.
    Factor,
    /// The candidate's loss itself.
    Value,
}

/// What the two tests of a rule say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weighed {
    pub(crate) harm: EValue,
    /// Nothing where no candidate could be worse than what is asked.
    pub(crate) fine: Option<EValue>,
}

fn weigh<C: Additive>(
    stretch: &Stretch<C>,
    promotion: bool,
    harm: &dyn Fn(&C) -> EValue,
    fine: Option<&(dyn Fn(&C) -> EValue + Send + Sync)>,
) -> Weighed {
    let harm = stretch.blocks.since_any(harm);
    // What is shown for a promotion is shown by what happened since the last change of exposure.
    let fine = fine.map(|fine| if promotion { fine(&stretch.fresh) } else { fine(&stretch.blocks.total()) });
    Weighed { harm, fine }
}

impl<P: Additive, S: Additive> Series<P, S> {
    fn candidate_in_arms(&self) -> S {
        let mut all = self.requests.pooled().candidate;
        all.merge(&self.keys.pooled().candidate);
        all
    }
}

/// What is counted for a rule, and how it reads.
fn tested(rule: &Rule, probe: Option<usize>, setting: &Setting<'_>) -> Result<(Tested, Reads), String> {
    let of_task = |metric: Metric| metric.is_of(setting.kind);
    match &rule.figure {
        Figure::ErrorRate => Ok((Tested::Failures, Reads::LOSS)),
        Figure::Latency { .. } => match rule.limit {
            Limit::AtMost(_) | Limit::TimesLive(_) => {
                Ok((Tested::Slow(probe.unwrap_or_default()), Reads::LOSS))
            }
            _ => Err("a latency is limited by `within`, `at_most` or `at_most_times_live`".into()),
        },
        Figure::Divergence => {
            if rule.limit.is_relative() {
                return Err("how far two versions differ is no figure of either: use `at_most`".into());
            }
            Ok((if setting.compares { Tested::Comparisons } else { Tested::Differences }, Reads::LOSS))
        }
        Figure::Promised => {
            Err("nothing was promised: say `.promised(metric, value)` of the rollout first".into())
        }
        Figure::Kpi { name } => {
            let place = setting.kpis.iter().position(|kpi| kpi.name() == &**name);
            let (place, kpi) = place
                .and_then(|place| Some((place, setting.kpis.get(place)?)))
                .ok_or_else(|| format!("the business figure `{name}` was not declared: add it at build"))?;
            let reads = |(low, high): (f64, f64)| {
                if kpi.is_lower_better() {
                    Reads { best: low, worst: high }
                } else {
                    Reads { best: high, worst: low }
                }
            };
            match (kpi.bounds(), rule.limit) {
                (Some(bounds @ (0.0, 1.0)), Limit::AtLeastTimesLive(_)) => {
                    Ok((Tested::KpiSuccesses(place), Reads { best: bounds.0, worst: bounds.1 }))
                }
                (_, Limit::AtLeastTimesLive(_)) => {
                    Err("`at_least_times_live` is for business figures that are 0 or 1 (`Kpi::rate`)".into())
                }
                (Some(bounds), _) => Ok((Tested::Kpi(place), reads(bounds))),
                (None, _) if kpi.is_lower_better() => Ok((Tested::KpiValues(place), Reads::LOSS)),
                (None, _) => Ok((Tested::KpiValues(place), Reads { best: 0.0, worst: -1.0 })),
            }
        }
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
                    "there is no sequential test for {metric:?} of this task: guard another figure, or write a `Guard`"
                )),
            }
        }
    }
}

/// What is compared, where that is legal.
fn uses(tested: Tested, margin: Margin, setting: &Setting<'_>) -> Result<Uses, String> {
    let alone = matches!(margin, Margin::AtMost(_));
    let labelled =
        !matches!(tested, Tested::Failures | Tested::Slow(_) | Tested::Differences | Tested::Comparisons);
    if labelled && !setting.matures {
        return Err(String::from(
            "it is not known when labels are complete: say `.labels_complete_after(age)` at build, or \
             `.labels_come_at_random()` where when one comes has nothing to do with what it says",
        ));
    }
    match tested {
        Tested::Differences | Tested::Comparisons if !setting.pairs => {
            Err("it judges pairs, and the handle does not shadow: add `.shadowing()` at build".into())
        }
        Tested::WrongWithHidden if !setting.pairs => Err(String::from(
            "where the answer hides the truth, versions are compared on the same inputs: add `.shadowing()` at build",
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

type Evaluator<C> = Arc<dyn Fn(&C) -> EValue + Send + Sync>;
type Kept<C> = Mutex<BTreeMap<(bool, u64), Evaluator<C>>>;

/// The tests of one rule, at the margins that were asked for lately: making one takes longer than asking it.
#[derive(Default)]
pub(crate) struct Tests {
    events: Kept<Series<PairedEvents, Events>>,
    scores: Kept<Series<Scores, Scores>>,
    values: Kept<Series<Values, Values>>,
    ratios: Kept<Series<PairedParts, Parts>>,
    hidden: Kept<Series<HiddenEvents, Events>>,
}

/// A margin for each of a plan's steps, and the harm test.
const TESTS_MAX: usize = 8;

fn kept<C>(
    tests: &Kept<C>,
    (claim, margin): (Claim, Margin),
    make: impl FnOnce() -> Evaluator<C>,
) -> Evaluator<C> {
    let number = match margin {
        Margin::Above(x) | Margin::Times(x) | Margin::AtLeastTimes(x) | Margin::AtMost(x) => x,
    };
    let tests = &mut *tests.lock();
    if tests.len() >= TESTS_MAX {
        tests.clear();
    }
    Arc::clone(tests.entry((claim == Claim::Harm, number.to_bits())).or_insert_with(make))
}

impl Tests {
    pub(crate) fn events(
        &self,
        design: &Design,
        test: (Claim, Margin),
    ) -> Evaluator<Series<PairedEvents, Events>> {
        kept(&self.events, test, || events_test(design, test))
    }

    pub(crate) fn scores(&self, design: &Design, test: (Claim, Margin)) -> Evaluator<Series<Scores, Scores>> {
        kept(&self.scores, test, || scores_test(design, test))
    }

    pub(crate) fn values(&self, design: &Design, test: (Claim, Margin)) -> Evaluator<Series<Values, Values>> {
        kept(&self.values, test, || values_test(design, test))
    }

    pub(crate) fn ratios(
        &self,
        design: &Design,
        test: (Claim, Margin),
    ) -> Evaluator<Series<PairedParts, Parts>> {
        kept(&self.ratios, test, || ratios_test(design, test))
    }

    pub(crate) fn hidden(
        &self,
        design: &Design,
        (claim, margin): (Claim, Margin),
    ) -> Evaluator<Series<HiddenEvents, Events>> {
        kept(&self.hidden, (claim, margin), || {
            let Margin::Above(margin) = margin else { return Arc::new(|_| EValue::ONE) };
            let test = PairedHidden::new(claim, margin, design.explored);
            Arc::new(move |series| test.e_value(&series.pairs))
        })
    }
}

/// Pairs and arms together. A request may be in both, so their evidence has something to do with each other.
fn combined<P: Additive, S: Additive>(
    uses: Uses,
    pairs: impl Fn(&P) -> EValue + Send + Sync + 'static,
    arms: impl Fn(&ByOdds<S>) -> EValue + Send + Sync + 'static,
) -> Evaluator<Series<P, S>> {
    // Requests and keys are different units: their evidence follows each other.
    let split = move |series: &Series<P, S>| arms(&series.requests).times(arms(&series.keys));
    match uses {
        Uses::Pairs => Arc::new(move |series: &Series<P, S>| pairs(&series.pairs)),
        Uses::Both => {
            Arc::new(move |series: &Series<P, S>| EValue::mean(&[pairs(&series.pairs), split(series)]))
        }
        Uses::Arms | Uses::Alone => Arc::new(split),
    }
}

fn events_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<PairedEvents, Events>> {
    let relative = match margin {
        Margin::AtMost(limit) => {
            let test = Rate::new(claim, limit);
            return Arc::new(move |series| test.e_value(&series.candidate()));
        }
        Margin::Above(margin) => {
            let pairs = PairedDifference::new(claim, margin);
            let arms = RateDifference::new(claim, margin, design.centre);
            combined(design.uses, move |counts| pairs.e_value(counts), move |counts| arms.e_value(counts))
        }
        Margin::Times(times) => {
            let (pairs, arms) = (PairedRatio::new(claim, times), RateRatio::new(claim, times));
            combined(design.uses, move |counts| pairs.e_value(counts), move |counts| arms.e_value(counts))
        }
        Margin::AtLeastTimes(times) => {
            // The events are good ones: few of them are harm.
            let turned = match claim {
                Claim::Harm => Claim::NonInferiority,
                Claim::NonInferiority => Claim::Harm,
            };
            let arms = RateRatio::new(turned, times);
            combined(Uses::Arms, |_: &PairedEvents| EValue::ONE, move |counts| arms.e_value(counts))
        }
    };
    let (Some(floor), Margin::Times(times), Margin::Times(own)) = (design.floor, margin, design.margin)
    else {
        return relative;
    };
    // Where more is allowed because little is at stake, it is allowed of the floor as well.
    let floor = Rate::new(claim, (floor * (times / own).max(1.0)).min(0.999));
    Arc::new(move |series| {
        let (multiple, absolute) = (relative(series), floor.e_value(&series.candidate()));
        match claim {
            // Both must be exceeded,
            Claim::Harm => multiple.min(absolute),
            // and either may be kept to.
            Claim::NonInferiority => EValue::mean(&[multiple, absolute]),
        }
    })
}

fn scores_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<Scores, Scores>> {
    match margin {
        Margin::Above(margin) => {
            let pairs = PairedScores::new(claim, margin);
            let arms = MeanDifference::new(claim, margin).centred_at(design.centre);
            let turn = design.turns_scores();
            let losses = move |counts: &ByOdds<Scores>| {
                arms.e_value(&if turn { counts.map(turned) } else { counts.clone() })
            };
            combined(design.uses, move |counts| pairs.e_value(counts), losses)
        }
        Margin::AtMost(limit) => {
            let test = Mean::new(claim, limit);
            let turn = design.turns_scores();
            Arc::new(move |series| {
                let own = series.candidate();
                test.e_value(&if turn { turned(&own) } else { own })
            })
        }
        Margin::Times(_) | Margin::AtLeastTimes(_) => Arc::new(|_| EValue::ONE),
    }
}

/// A score of which more is better, as a loss.
fn turned(scores: &Scores) -> Scores {
    let mut losses = Scores::default();
    scores.places().for_each(|(place, count)| losses.count_place(Scores::STEPS - place, count));
    losses
}

fn values_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<Values, Values>> {
    let Margin::Above(margin) = margin else { return Arc::new(|_| EValue::ONE) };
    // Of values of which more is better, less is harm: the other side of the mirrored margin.
    let (claim, margin) = match (design.reads_gain(), claim) {
        (false, claim) => (claim, margin),
        (true, Claim::Harm) => (Claim::NonInferiority, -margin),
        (true, Claim::NonInferiority) => (Claim::Harm, -margin),
    };
    let test = Asymptotic::new(claim, margin);
    combined(design.uses, move |counts| test.e_value_of_pairs(counts), move |counts| test.e_value(counts))
}

fn ratios_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<PairedParts, Parts>> {
    let largest = if design.tested == Tested::F1 { 2 } else { 1 };
    let margin = match margin {
        Margin::Above(margin) => RatioMargin::Above(margin),
        Margin::Times(times) => RatioMargin::Times(times),
        Margin::AtMost(limit) => {
            let test = RatioLimit::new(claim, limit, largest);
            return Arc::new(move |series| test.e_value(&series.candidate()));
        }
        Margin::AtLeastTimes(_) => return Arc::new(|_| EValue::ONE),
    };
    let pairs = PairedRatioTest::new(claim, margin, largest);
    let arms = SplitRatioTest::new(claim, margin, largest);
    // Each share is a step of its own, and live's ratio may be another in each.
    let split = move |counts: &ByOdds<Parts>| counts.iter().map(|(_, arms_of)| arms.e_value(arms_of)).sum();
    combined(design.uses, move |counts| pairs.e_value(counts), split)
}

impl Design {
    /// Whether scores are counted as the host gives them, more being better, and must be turned into losses.
    pub(crate) fn turns_scores(&self) -> bool {
        matches!(self.tested, Tested::Kpi(_)) && self.reads_gain()
    }

    /// The candidate's units with the event that is bad, where the figure is a rate: of the last stretch, or of all.
    pub(crate) fn watched(&self, history: &History, lately: bool) -> Option<Events> {
        fn own<P: Additive, S: Additive>(stretch: &Stretch<Series<P, S>>, lately: bool) -> S {
            if lately && !stretch.fresh.is_empty() {
                stretch.fresh.candidate()
            } else {
                stretch.blocks.total().candidate()
            }
        }
        match (self.tested, history) {
            (Tested::KpiSuccesses(_) | Tested::Differences, _) => None,
            // A candidate that was only ever judged by pairs has labels of its own too.
            (_, History::Events(stretch)) => Some(own(stretch, lately)),
            (Tested::FalseAlarms, History::Ratios(stretch)) => {
                let parts = own(stretch, lately);
                Some(Events { events: parts.part(), units: parts.whole() })
            }
            (Tested::Kpi(_), History::Scores(stretch)) => {
                let scores = own(stretch, lately);
                let bad = if self.reads_gain() { 0 } else { Scores::STEPS };
                let yes_or_no = scores.places().all(|(place, _)| place == 0 || place == Scores::STEPS);
                let events = scores.places().filter(|(place, _)| *place == bad).map(|(_, count)| count).sum();
                yes_or_no.then(|| Events { events, units: scores.count_all() })
            }
            _ => None,
        }
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

    /// Whether pairs can tell whether the version or the world is worse.
    pub(crate) fn can_be_paired(&self) -> bool {
        matches!(self.uses, Uses::Pairs | Uses::Both)
    }

    /// Whether more of the figure is better.
    pub(crate) fn reads_gain(&self) -> bool {
        self.reads.worst < self.reads.best
    }
}

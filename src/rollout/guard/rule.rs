//! Rules in the user's words: a figure, and how far it may be off.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::numbers::written;
use crate::stats::{Better, Metric};

/// The share of requests that the version failed on: errors, panics, invalid answers, missed deadlines. Requests that were
/// themselves bad do not count.
///
/// Needs no truth, so it judges in every phase: as a shadow by pairs (who failed on the same input), on a canary by whose
/// the failing requests were, both averaged. It cannot see what fails for both alike.
pub fn error_rate() -> Subject {
    Subject(Figure::ErrorRate)
}

/// A quantile of the time to answer: `latency(0.99)`.
///
/// "At most k times live" is tested at one point: how often the candidate takes longer than k times live's quantile,
/// against how often live takes longer than its quantile. Live's quantile is frozen when there are enough requests to
/// know it (a thousand for a p99), before anything is compared; where live gets slower for a while, so may the candidate.
/// A request that failed took too long. In a shadow pairs are compared, and the time in the queue does not count; a
/// worker thread is not a request's, so give it a margin. It cannot see what happens beyond or below that point.
pub fn latency(quantile: f64) -> Subject {
    Subject(Figure::Latency { quantile: quantile.clamp(0.0, 1.0) })
}

/// Any figure of quality that there is a sequential test for: accuracy, precision, recall, F1, Brier score, log-loss,
/// absolute error, hit rate, reciprocal rank, NDCG, precision at k.
///
/// Where the truth is independent of the answer and requests may be copied, versions are compared on the same inputs, in
/// all phases: as a shadow, and on a canary because live shadows it. Else the canary's labels are compared with live's.
pub fn quality(metric: Metric) -> Subject {
    Subject(Figure::Quality { metric })
}

/// The share of right answers. See [`quality`]. An answer that failed was wrong.
pub fn accuracy() -> Subject {
    quality(Metric::Accuracy)
}

/// Of what was called yes, the share that was. See [`quality`]. What each version calls yes is its own affair, so this is a
/// ratio with a denominator of its own: it takes more labels than accuracy does, and assumes that live's precision holds
/// still within a step.
pub fn precision() -> Subject {
    quality(Metric::Precision)
}

/// Of what was yes, the share that was called so. See [`quality`]. Looks only at what turned out to be yes: where that is
/// seldom, it takes long.
pub fn recall() -> Subject {
    quality(Metric::Recall)
}

/// The mean of a business figure declared at build. Exists only for what was shown, so it is judged on a canary alone:
/// with bounds, by a test that holds for any number of values; without, by one that is right in the limit.
pub fn kpi(name: impl Into<Arc<str>>) -> Subject {
    Subject(Figure::Kpi { name: name.into() })
}

/// How often live and candidate disagreed on the same input: the share of shadowed pairs with another class, a number
/// apart by more than the tolerance or another list; where the host compares answers itself, the mean of what its
/// comparison says, cut to 0 to 1.
///
/// Needs no truth. It cannot see who of the two is right.
pub fn divergence() -> Subject {
    Subject(Figure::Divergence)
}

/// That the version keeps the quality it was published with, to within `margin`: staging against production. A guard for
/// each figure that the rollout was [promised](crate::Rollout::promised). One version against a fixed limit, so it cannot
/// tell the version from the world.
pub fn as_promised(margin: f64) -> Rule {
    Subject(Figure::Promised).limited(Limit::BelowPromise(margin))
}

/// What a rule is over.
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
    /// See [`as_promised`].
    Promised,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorRate => f.write_str("error rate"),
            Self::Latency { quantile } => write!(f, "latency p{}", quantile * 100.0),
            Self::Quality { metric } => write!(f, "{}", format!("{metric:?}").to_lowercase()),
            Self::Kpi { name } => f.write_str(name),
            Self::Divergence => f.write_str("divergence"),
            Self::Promised => f.write_str("promised quality"),
        }
    }
}

/// A figure that waits for its limit: see [`error_rate`] and the others.
#[derive(Debug, Clone)]
#[must_use = "a figure without a limit guards nothing"]
pub struct Subject(pub(crate) Figure);

impl Subject {
    /// An objective: at most `limit`, whatever live does. Seconds for a latency.
    pub fn at_most(self, limit: f64) -> Rule {
        self.limited(Limit::AtMost(limit))
    }

    /// An objective for a latency: at most this long.
    pub fn within(self, limit: Duration) -> Rule {
        self.limited(Limit::AtMost(limit.as_secs_f64()))
    }

    /// An objective: at least `limit`, whatever live does.
    pub fn at_least(self, limit: f64) -> Rule {
        self.limited(Limit::AtLeast(limit))
    }

    /// At most `margin` below live, for a figure of which more is better: 0.02 for two percentage points.
    pub fn at_most_below_live(self, margin: f64) -> Rule {
        self.limited(Limit::BelowLive(margin))
    }

    /// At most `margin` above live, for a figure of which less is better.
    pub fn at_most_above_live(self, margin: f64) -> Rule {
        self.limited(Limit::AboveLive(margin))
    }

    /// At most `factor` times live, for a figure of which less is better. Of accuracy, precision, recall and F1 it is what
    /// is missing to 1 that is compared: wrong answers at most 1.25 times as often.
    pub fn at_most_times_live(self, factor: f64) -> Rule {
        self.limited(Limit::TimesLive(factor))
    }

    /// At least `factor` times live, for a business figure that is 0 or 1: purchases at least 0.97 times as often.
    pub fn at_least_times_live(self, factor: f64) -> Rule {
        self.limited(Limit::AtLeastTimesLive(factor))
    }

    fn limited(self, limit: Limit) -> Rule {
        let limit = limit.map(written);
        Rule { figure: self.0, limit, floor: None, by_segment: false }
    }
}

/// The limit of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// See [`Subject::at_most`].
    AtMost(f64),
    /// See [`Subject::at_least`].
    AtLeast(f64),
    /// See [`Subject::at_most_below_live`].
    BelowLive(f64),
    /// See [`Subject::at_most_above_live`].
    AboveLive(f64),
    /// See [`Subject::at_most_times_live`].
    TimesLive(f64),
    /// See [`Subject::at_least_times_live`].
    AtLeastTimesLive(f64),
    /// See [`as_promised`].
    BelowPromise(f64),
}

impl Limit {
    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::AtMost(x) => Self::AtMost(change(x)),
            Self::AtLeast(x) => Self::AtLeast(change(x)),
            Self::BelowLive(x) => Self::BelowLive(change(x)),
            Self::AboveLive(x) => Self::AboveLive(change(x)),
            Self::TimesLive(x) => Self::TimesLive(change(x)),
            Self::AtLeastTimesLive(x) => Self::AtLeastTimesLive(change(x)),
            Self::BelowPromise(x) => Self::BelowPromise(change(x)),
        }
    }

    /// Whether it compares with live.
    pub(crate) fn is_relative(self) -> bool {
        !matches!(self, Self::AtMost(_) | Self::AtLeast(_) | Self::BelowPromise(_))
    }
}

/// A guard of this crate's: a figure and how far it may be off, judged by sequential tests.
///
/// Two tests stand on its one margin: that the candidate is worse than that (it is taken back), and that it is not (it may
/// be promoted). Which test it is follows from the figure, the phase, how traffic is split, and what is known of the
/// truth; each figure's function says which. Both may be looked at as often as one likes.
///
/// Before a promotion the margin itself must be shown to hold. Before a smaller step it is enough that the *expected*
/// harm would be within it: what is given a twentieth of the traffic may be up to twenty times as much worse. So early
/// steps are quick, and none is taken blindly.
///
/// Readable by serde, so that it can stand in a service's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub(crate) figure: Figure,
    pub(crate) limit: Limit,
    /// A rate up to which a multiple of live's does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<f64>,
    /// Each segment is looked at by itself too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_segment: bool,
}

/// An error rate up to which nobody asks how many times live's it is, unless told: a service whose live version never
/// fails could not promote anything else.
const ERROR_FLOOR: f64 = 0.001;

impl Rule {
    /// Of an error rate relative to live's: a rate up to this is accepted whatever live's is; one in a thousand unless
    /// told, 0 for none. Without it a candidate that never fails could not be shown to fail seldom enough beside a live
    /// that never does.
    #[must_use]
    pub fn or_at_most(mut self, rate: f64) -> Self {
        self.floor = Some(written(rate));
        self
    }

    /// Looks at each [segment](crate::Builder::segment) of the requests by itself too: a candidate that is better on average
    /// and much worse for one airport fails. Of error rate and accuracy.
    ///
    /// Segments are told apart by e-BH ([`e_bh`](crate::stats::sequential::e_bh)) over as many as there can be, so that the
    /// error is that of one guard however many there are. A segment alone can only fail a candidate: what is shown for a
    /// promotion is shown on all traffic, since little traffic shows nothing for long. The margin is the same for all.
    #[must_use]
    pub fn by_segment(mut self) -> Self {
        self.by_segment = true;
        self
    }

    /// The rate up to which it does not matter how many times live's it is.
    pub(crate) fn floor(&self) -> Option<f64> {
        let floor = match (&self.figure, self.limit) {
            (Figure::ErrorRate, Limit::TimesLive(_)) => self.floor.unwrap_or(ERROR_FLOOR),
            // How often live exceeds its quantile as it was when that was frozen.
            (Figure::Latency { quantile }, Limit::TimesLive(_)) => 1.0 - quantile,
            _ => 0.0,
        };
        (floor > 0.0).then_some(written(floor))
    }

    /// A rule for each figure that was promised, of a rule over all of them.
    pub(crate) fn expanded(&self, promised: &[(Metric, f64)]) -> Option<Vec<Rule>> {
        let (Figure::Promised, Limit::BelowPromise(margin)) = (&self.figure, self.limit) else { return None };
        let rule = |(metric, value): &(Metric, f64)| {
            let limit = match metric.better() {
                Better::Lower => Limit::AtMost(value + margin),
                Better::Higher | Better::NearZero => Limit::AtLeast(value - margin),
            };
            quality(*metric).limited(limit)
        };
        Some(promised.iter().map(rule).collect())
    }

    /// Why the rule could never judge rightly, where it contradicts itself.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let better = match &self.figure {
            Figure::Quality { metric } => metric.better(),
            Figure::Kpi { .. } | Figure::Promised => return None,
            Figure::ErrorRate | Figure::Latency { .. } | Figure::Divergence => Better::Lower,
        };
        let right_way = match self.limit {
            Limit::AtLeast(_) | Limit::BelowLive(_) | Limit::AtLeastTimesLive(_) | Limit::BelowPromise(_) => {
                better == Better::Higher
            }
            // Of a share of right answers it is the wrong ones that are multiplied.
            Limit::TimesLive(_) => better != Better::NearZero,
            Limit::AtMost(_) | Limit::AboveLive(_) => better == Better::Lower,
        };
        let finite = match self.limit {
            Limit::AtMost(x) | Limit::AtLeast(x) | Limit::BelowLive(x) | Limit::AboveLive(x) => x.is_finite(),
            Limit::TimesLive(x) | Limit::AtLeastTimesLive(x) => x.is_finite() && x > 0.0,
            Limit::BelowPromise(x) => x.is_finite(),
        };
        if !finite {
            return Some(format!("`{}` has no limit that is a number of the right kind", self.sentence()));
        }
        (!right_way).then(|| {
            format!("`{}` would pass what it should fail: its limit points the other way", self.sentence())
        })
    }

    /// The rule in words.
    pub(crate) fn sentence(&self) -> String {
        let figure = &self.figure;
        let name = match self.limit {
            Limit::AtMost(limit) => format!("{figure} at most {limit}"),
            Limit::AtLeast(limit) => format!("{figure} at least {limit}"),
            Limit::BelowLive(margin) => format!("{figure} at most {margin} below live"),
            Limit::AboveLive(margin) => format!("{figure} at most {margin} above live"),
            Limit::TimesLive(factor) => format!("{figure} at most {factor} times live"),
            Limit::AtLeastTimesLive(factor) => format!("{figure} at least {factor} times live"),
            Limit::BelowPromise(margin) => format!("{figure} to within {margin}"),
        };
        if self.by_segment { format!("{name}, by segment") } else { name }
    }
}

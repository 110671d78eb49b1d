//! A rule as plain data: a figure, a limit, and which of them make sense together.
//!
//! There is one way to a rule, `Rule::new`, for what code says ([`subject`](super::subject)) and for what is read
//! ([`grammar`](super::grammar)): it rounds numbers as the journal can write them, and refuses a number or a combination
//! that could never be judged. Replay rests on both.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::numbers::written;
use crate::base::causes::debug_as_told;
use crate::stats::evidence::loss::LOG_LOSS_MAX;
use crate::stats::{Better, Metric};

/// A guard of this crate's: a figure and how far it may be off, judged by sequential tests.
///
/// Two tests stand on its one margin: that the candidate is worse than that (it is taken back), and that it is not (it may
/// be promoted). Which test it is follows from the figure, the phase, how traffic is split, and what is known of the
/// truth; each figure's function says which. Both may be looked at as often as one likes.
///
/// Before a promotion the margin itself must be shown to hold. Before a smaller step it is enough that the *expected*
/// harm would be within it: what is given a twentieth of the traffic may be up to twenty times as much worse. So early
/// steps are quick, and where no candidate could be that much worse, as at 2 points and a hundredth of the traffic, a step asks
/// for nothing.
///
/// # In words
///
/// A rule is written as the sentence that events and reports show, and read from it: by [`FromStr`](std::str::FromStr) on
/// a command line, by serde, as a string, in a configuration. What is read goes through the same checks as what code says.
///
/// ```
/// use switchback::guard::Rule;
/// use switchback::guard;
///
/// let rule: Rule = "accuracy at most 0.02 below live, by segment".parse()?;
/// assert_eq!(rule, guard::accuracy().by_segment().at_most_below_live(0.02)?);
/// assert_eq!(rule.to_string(), "accuracy at most 0.02 below live, by segment");
///
/// let error = "acuracy at least 0.9".parse::<Rule>().unwrap_err();
/// assert!(error.to_string().contains("did you mean \"accuracy\"?"));
/// # Ok::<(), guard::RuleError>(())
/// ```
///
/// | sentence | in code |
/// |---|---|
/// | `error rate at most 0.01` | `error_rate().at_most(0.01)` |
/// | `error rate at most 0.01 above live, by segment` | `error_rate().by_segment().at_most_above_live(0.01)` |
/// | `error rate at most 1.25 times live` | `error_rate().at_most_times_live(1.25)` |
/// | `error rate at most 1.25 times live or at most 0.005` | `error_rate().at_most_times_live_or(1.25, 0.005)` |
/// | `latency p99 within 50 ms` (also `s`, `µs` or `us`, `ns`) | `latency(0.99).within(Duration::from_millis(50))` |
/// | `latency p99.9 at most 1.5 times live` | `latency(0.999).at_most_times_live(1.5)` |
/// | `accuracy at least 0.9` | `accuracy().at_least(0.9)` |
/// | `accuracy at most 0.02 below live` | `accuracy().at_most_below_live(0.02)` |
/// | `wrong answers at most 1.25 times live` | `accuracy().at_most_times_live(1.25)` |
/// | `false alarms at most 1.25 times live` | `precision().at_most_times_live(1.25)` |
/// | `missed positives at most 1.25 times live` | `recall().at_most_times_live(1.25)` |
/// | `brier score at most 0.01 above live` | `brier_score().at_most_above_live(0.01)` |
/// | `kpi "purchase" at least 0.95 times live` | `kpi("purchase").at_least_times_live(0.95)` |
/// | `divergence at most 0.1` | `divergence().at_most(0.1)` |
/// | `promised quality within 0.03` | `as_promised(0.03)` |
///
/// The other figures are called as their functions are, with spaces: `precision`, `recall`, `f1`, `hit rate`,
/// `reciprocal rank`, `ndcg`, `precision at k`, `log loss`, `mean absolute error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[must_use = "it guards nothing before a rollout is given it"]
pub struct Rule {
    figure: Figure,
    limit: Limit,
    /// A rate up to which a multiple of live's does not matter; nothing where it is the usual one.
    floor: Option<f64>,
    /// Each segment is looked at by itself too.
    by_segment: bool,
}

/// The figure that a rule is over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figure {
    ErrorRate,
    Latency {
        /// Between 0 and 1.
        quantile: f64,
    },
    Quality {
        metric: Metric,
    },
    Kpi {
        name: Arc<str>,
    },
    Divergence,
    Promised,
}

/// How far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// At most this, whatever live does.
    AtMost(f64),
    /// At least this, whatever live does.
    AtLeast(f64),
    /// Within this, whatever live does, of a latency.
    Within(Duration),
    BelowLive(f64),
    AboveLive(f64),
    /// Of a figure of which more is better, what is missing to 1 is multiplied.
    TimesLive(f64),
    AtLeastTimesLive(f64),
    BelowPromise(f64),
}

/// An error rate up to which nobody asks how many times live's it is, unless a rule says otherwise: a service whose live
/// version never fails could not promote anything else.
const ERROR_FLOOR: f64 = 0.001;

impl Rule {
    /// The name of the business figure that it is over, if it is over one.
    pub fn kpi(&self) -> Option<&str> {
        match &self.figure {
            Figure::Kpi { name } => Some(name),
            _ => None,
        }
    }

    pub(crate) fn new(figure: Figure, limit: Limit) -> Result<Self, RuleError> {
        let figure = match figure {
            Figure::Latency { quantile } => Figure::Latency {
                quantile: checked("latency", "quantile", quantile, Allowed::Within(0.0001, 0.9999))?,
            },
            figure => figure,
        };
        figure.allows(limit)?;
        let limit = figure.checked(limit)?;
        Ok(Self { figure, limit, floor: None, by_segment: false })
    }

    /// Accepts an error rate up to this, however many times live's it is.
    pub(crate) fn or_at_most(self, rate: f64) -> Result<Self, RuleError> {
        if !matches!((&self.figure, self.limit), (Figure::ErrorRate, Limit::TimesLive(_))) {
            return Err(RuleError::Clause {
                rule: self.to_string(),
                clause: "or at most",
                of: "error rates that are at most so many times live's",
            });
        }
        let rate = checked(&self.figure, "rate", rate, Allowed::Share)?;
        Ok(Self { floor: (rate != ERROR_FLOOR).then_some(rate), ..self })
    }

    /// Looks at each segment by itself too.
    pub(crate) fn by_segment(self) -> Result<Self, RuleError> {
        match self.figure {
            Figure::ErrorRate | Figure::Quality { metric: Metric::Accuracy } => {
                Ok(Self { by_segment: true, ..self })
            }
            _ => Err(RuleError::Clause {
                rule: self.to_string(),
                clause: "by segment",
                of: "error rate and accuracy",
            }),
        }
    }

    pub(crate) fn figure(&self) -> &Figure {
        &self.figure
    }

    pub(crate) fn limit(&self) -> Limit {
        self.limit
    }

    /// The rate up to which it was said not to matter how many times live's it is, where that is not the usual one.
    pub(crate) fn own_floor(&self) -> Option<f64> {
        self.floor
    }

    pub(crate) fn is_by_segment(&self) -> bool {
        self.by_segment
    }

    /// The rate up to which it does not matter how many times live's it is.
    pub(crate) fn floor(&self) -> Option<f64> {
        let floor = match (&self.figure, self.limit) {
            (Figure::ErrorRate, Limit::TimesLive(_)) => self.floor.unwrap_or(ERROR_FLOOR),
            _ => 0.0,
        };
        (floor > 0.0).then_some(written(floor))
    }

    /// A rule for each figure that was promised, of a rule over all of them.
    pub(crate) fn expanded(&self, promised: &[(Metric, f64)]) -> Option<Result<Vec<Rule>, RuleError>> {
        let Limit::BelowPromise(margin) = self.limit else { return None };
        let rule = |(metric, value): &(Metric, f64)| {
            let limit = match metric.better() {
                Better::Lower => Limit::AtMost(value + margin),
                Better::Higher | Better::NearZero => Limit::AtLeast(value - margin),
            };
            Rule::new(Figure::Quality { metric: *metric }, limit)
        };
        Some(promised.iter().map(rule).collect())
    }
}

impl Figure {
    /// Whether a limit of this kind makes sense for the figure: which way it points, and whether there is a test.
    fn allows(&self, limit: Limit) -> Result<(), RuleError> {
        use Limit::{
            AboveLive, AtLeast, AtLeastTimesLive, AtMost, BelowLive, BelowPromise, TimesLive, Within,
        };
        let (allowed, instead) = match self {
            Self::ErrorRate => (
                matches!(limit, AtMost(_) | AboveLive(_) | TimesLive(_)),
                "`at most 0.01`, `at most 0.01 above live` or `at most 1.25 times live`",
            ),
            Self::Latency { .. } => {
                (matches!(limit, Within(_) | TimesLive(_)), "`within 50 ms` or `at most 1.5 times live`")
            }
            Self::Quality { metric: Metric::Accuracy | Metric::Precision | Metric::Recall } => (
                matches!(limit, AtLeast(_) | BelowLive(_) | TimesLive(_)),
                "`at least 0.9` or `at most 0.02 below live`",
            ),
            Self::Quality {
                metric:
                    Metric::F1 | Metric::HitRate | Metric::ReciprocalRank | Metric::Ndcg | Metric::PrecisionAtK,
            } => (matches!(limit, AtLeast(_) | BelowLive(_)), "`at least 0.9` or `at most 0.02 below live`"),
            Self::Quality { metric: Metric::Brier | Metric::LogLoss } => {
                (matches!(limit, AtMost(_) | AboveLive(_)), "`at most 0.2` or `at most 0.01 above live`")
            }
            // It has no upper bound, and so no test against a fixed limit.
            Self::Quality { metric: Metric::Mae } => {
                (matches!(limit, AboveLive(_)), "`at most 0.5 above live`")
            }
            Self::Quality { metric } => return Err(RuleError::NoTest { figure: words(*metric) }),
            Self::Kpi { .. } => (
                matches!(limit, AtMost(_) | AtLeast(_) | BelowLive(_) | AboveLive(_) | AtLeastTimesLive(_)),
                "`at least 2`, `at most 2`, `at most 0.1 below live`, `at most 0.1 above live` or `at least 0.95 times live`",
            ),
            Self::Divergence => (matches!(limit, AtMost(_)), "`at most 0.1`"),
            Self::Promised => (matches!(limit, BelowPromise(_)), "`within 0.03`"),
        };
        if allowed {
            return Ok(());
        }
        Err(RuleError::Limit { figure: self.to_string(), limit: limit.to_string(), instead })
    }

    /// The limit as the journal can write it, where its number makes sense.
    fn checked(&self, limit: Limit) -> Result<Limit, RuleError> {
        let bounded = match self {
            Self::Quality { metric: Metric::LogLoss } => Allowed::LogLoss,
            Self::Quality { metric: Metric::Mae } | Self::Kpi { .. } => Allowed::NotNegative,
            _ => Allowed::Share,
        };
        Ok(match limit {
            Limit::AtMost(x) if matches!(self, Self::Kpi { .. }) => {
                Limit::AtMost(checked(self, "limit", x, Allowed::Finite)?)
            }
            Limit::AtLeast(x) if matches!(self, Self::Kpi { .. }) => {
                Limit::AtLeast(checked(self, "limit", x, Allowed::Finite)?)
            }
            Limit::AtMost(x) => Limit::AtMost(checked(self, "limit", x, bounded)?),
            Limit::AtLeast(x) => Limit::AtLeast(checked(self, "limit", x, Allowed::ShareAboveNone)?),
            Limit::BelowLive(x) => Limit::BelowLive(checked(self, "margin", x, bounded)?),
            Limit::AboveLive(x) => Limit::AboveLive(checked(self, "margin", x, bounded)?),
            Limit::TimesLive(x) => Limit::TimesLive(checked(self, "factor", x, FACTOR)?),
            Limit::AtLeastTimesLive(x) => Limit::AtLeastTimesLive(checked(self, "factor", x, FACTOR)?),
            Limit::BelowPromise(x) => Limit::BelowPromise(checked(self, "margin", x, Allowed::NotNegative)?),
            Limit::Within(x) if x.is_zero() || x > DAY => {
                return Err(RuleError::Argument {
                    figure: self.to_string(),
                    argument: "limit",
                    value: format!("{x:?}"),
                    allowed: "longer than 0 and at most a day".into(),
                });
            }
            Limit::Within(x) => Limit::Within(x),
        })
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Beyond these no number of requests that a service has would tell one factor from another.
const FACTOR: Allowed = Allowed::Within(0.001, 1_000.0);

/// Which numbers an argument may be.
#[derive(Clone, Copy)]
enum Allowed {
    /// From 0 on, below 1: a limit of 1 could never be broken.
    Share,
    /// Above 0, up to 1: a limit of 0 could never be broken.
    ShareAboveNone,
    /// From 0 on, below the largest that counts.
    LogLoss,
    NotNegative,
    Finite,
    Within(f64, f64),
}

impl Allowed {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Share => (0.0..1.0).contains(&value),
            Self::ShareAboveNone => value > 0.0 && value <= 1.0,
            Self::LogLoss => (0.0..LOG_LOSS_MAX).contains(&value),
            Self::NotNegative => value >= 0.0 && value.is_finite(),
            Self::Finite => value.is_finite(),
            Self::Within(low, high) => (low..=high).contains(&value),
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::Share => "at least 0 and below 1".into(),
            Self::ShareAboveNone => "above 0 and at most 1".into(),
            Self::LogLoss => format!("at least 0 and below {LOG_LOSS_MAX:.3}, the largest that counts"),
            Self::NotNegative => "at least 0 and finite".into(),
            Self::Finite => "finite".into(),
            Self::Within(low, high) => format!("between {low} and {high}"),
        }
    }
}

/// A number as the journal can write it, where it is allowed.
fn checked(
    figure: impl ToString,
    argument: &'static str,
    value: f64,
    allowed: Allowed,
) -> Result<f64, RuleError> {
    // Without the sign of a zero, which says nothing and is another sentence.
    let rounded = written(value) + 0.0;
    if allowed.holds(rounded) {
        return Ok(rounded);
    }
    Err(RuleError::Argument {
        figure: figure.to_string(),
        argument,
        value: value.to_string(),
        allowed: allowed.in_words(),
    })
}

/// Returns the name of a figure of quality.
pub(crate) fn words(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "accuracy",
        Metric::Precision => "precision",
        Metric::Recall => "recall",
        Metric::F1 => "f1",
        Metric::LogLoss => "log loss",
        Metric::Brier => "brier score",
        Metric::Auc => "auc",
        Metric::CalibrationError => "calibration error",
        Metric::Mae => "mean absolute error",
        Metric::Rmse => "root mean squared error",
        Metric::Bias => "bias",
        Metric::R2 => "r2",
        Metric::HitRate => "hit rate",
        Metric::ReciprocalRank => "reciprocal rank",
        Metric::Ndcg => "ndcg",
        Metric::PrecisionAtK => "precision at k",
    }
}

/// Returns the name of what is missing to 1 of a figure of quality, where it can be limited as a multiple of live's.
pub(crate) fn words_of_loss(metric: Metric) -> Option<&'static str> {
    match metric {
        Metric::Accuracy => Some("wrong answers"),
        Metric::Precision => Some("false alarms"),
        Metric::Recall => Some("missed positives"),
        _ => None,
    }
}

/// Why there is no such rule.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A number that a rule cannot have.
    #[error("{figure}: {argument} = {value} is not {allowed}")]
    Argument {
        /// The figure that was to be limited.
        figure: String,
        /// Which number.
        argument: &'static str,
        /// The value that it had.
        value: String,
        /// The values that it may have.
        allowed: String,
    },
    /// A limit that the figure cannot have: it points the other way, or nothing tests it.
    #[error("{figure} cannot be limited by `{limit}`: use {instead}")]
    Limit {
        /// The figure.
        figure: String,
        /// The limit.
        limit: String,
        /// Limits that it can have.
        instead: &'static str,
    },
    /// A multiple of a figure of which more is better, where what is multiplied is what is missing to 1.
    #[error("{figure} cannot be limited by `{limit}`: say `{instead} {limit}`, which is what is tested")]
    Multiple {
        /// The figure.
        figure: &'static str,
        /// The limit.
        limit: String,
        /// The figure that the limit is of.
        instead: &'static str,
    },
    /// A clause that only other rules can have.
    #[error("`{rule}` cannot have `{clause}`: only {of} can")]
    Clause {
        /// The rule.
        rule: String,
        /// The clause that it was to have.
        clause: &'static str,
        /// The rules that can have it.
        of: &'static str,
    },
    /// A figure that is measured, and of which nothing can be concluded with a stated error.
    #[error("there is no sequential test for {figure}: guard another figure, or write a `Guard` of your own")]
    NoTest {
        /// The figure.
        figure: &'static str,
    },
    /// A sentence that is no rule.
    #[error("\"{sentence}\" is not a rule: {reason}")]
    Sentence {
        /// The sentence; its first 80 characters.
        sentence: String,
        /// The part that was not understood, and the nearest that would have been.
        reason: String,
    },
}

debug_as_told!(RuleError);

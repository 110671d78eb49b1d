//! Rules in the user's words: a figure, then how far it may be off.
//!
//! Each figure is a type that has the limits which make sense for it, so that a limit which points the wrong way, a time
//! for a rate or a segment of a latency does not compile. What a type cannot exclude is a number: a limit returns
//! `Result<Rule, RuleError>`, which names the argument, its value and what is allowed.
//! [`Rollout::guard`](crate::Rollout::guard) takes that `Result` as it is ([`IntoGuard`](super::IntoGuard)), keeps the
//! first error of its chain, and every call that would expose the candidate returns it. So a chain needs no `?`, nothing
//! is exposed beside a rule that does not exist, and a rule that goes anywhere else needs the `?` that shows the error
//! where it was made.
//!
//! Rejected: a builder that carries its error on. Everything that takes a rule would have to open it, and whoever forgets
//! takes a rule that is none. Rejected too: types for numbers, such as a rate. `at_most(rate(0.01)?)` says in more words
//! what `at_most(0.01)` says, and [`Share`](crate::Share) knows no rate below one in ten thousand.

use std::sync::Arc;
use std::time::Duration;

use super::rule::{Figure, Limit, Rule, RuleError};
use crate::stats::Metric;

/// The share of requests that the version failed on: errors, panics, invalid answers, missed deadlines. One that was itself
/// bad is a request on which nobody failed; one that a candidate calls bad and live answers is a failure of the candidate's.
///
/// Needs no truth, so it judges in every phase: as a shadow by pairs (who failed on the same input), on a canary by whose
/// the failing requests were, both averaged. It cannot see what fails for both alike.
///
/// A multiple of live's rate is shown to be kept to by the time in which live fails about as often as before: of some fifty
/// requests in which it fails more than twice as often, and not by chance, nothing counts for the candidate, since in an outage
/// behind both one fails as often as the other. So a live that hardly fails but in outages shows nothing: give a rate that is
/// accepted whatever live does ([`ErrorRate::at_most_times_live_or`]). Against the candidate everything counts.
///
/// ```compile_fail
/// # use std::time::Duration;
/// // A rate is not a time.
/// switchback::guard::error_rate().within(Duration::from_millis(10));
/// ```
pub fn error_rate() -> ErrorRate {
    ErrorRate { by_segment: false }
}

/// A quantile of the time to answer: `latency(0.99)` for the p99. Between 0.0001 and 0.9999.
///
/// "At most k times live" is tested at one point: how often the candidate takes longer than k times live's quantile,
/// against how often live takes longer than its quantile. Live's quantile is frozen when there are enough requests to
/// know it (a thousand for a p99), and taken anew with each change of exposure; nothing is counted and no step is made
/// before it is known. Where live gets slower for a while, so may the candidate. What is held against them is a request's time less up to
/// a twentieth of it, drawn: where all take as long, a slower candidate is seen all the same.
/// A request that failed took too long. In a shadow pairs are compared, and the time in the queue does not count; a
/// worker thread is not a request's, so give it a margin. It cannot see what happens beyond or below that point.
pub fn latency(quantile: f64) -> Latency {
    Latency { quantile }
}

/// The share of right answers. An answer that failed was wrong.
///
/// Like every figure that is judged by the truth: where the truth is independent of the answer and requests may be copied,
/// versions are compared on the same inputs, in all phases: as a shadow, and on a canary because live shadows it. Else the
/// canary's labels are compared with live's.
pub fn accuracy() -> Accuracy {
    Accuracy { by_segment: false }
}

/// Of what was called yes, the share that was. Judged like [`accuracy`]. What each version calls yes is its own affair, so
/// this is a ratio with a denominator of its own: it takes more labels than accuracy does, and assumes that live's
/// precision holds still within a step.
pub fn precision() -> YesOrNoFigure {
    YesOrNoFigure(Metric::Precision)
}

/// Of what was yes, the share that was called so. Judged like [`accuracy`]. Looks only at what turned out to be yes: where
/// that is seldom, it takes long.
pub fn recall() -> YesOrNoFigure {
    YesOrNoFigure(Metric::Recall)
}

/// The harmonic mean of precision and recall. Judged like [`precision`].
pub fn f1() -> QualityScore {
    QualityScore(Metric::F1)
}

/// The share of lists with a relevant item. Judged like [`accuracy`].
pub fn hit_rate() -> QualityScore {
    QualityScore(Metric::HitRate)
}

/// The mean of one over the rank of the first relevant item. Judged like [`accuracy`].
pub fn reciprocal_rank() -> QualityScore {
    QualityScore(Metric::ReciprocalRank)
}

/// The normalised discounted cumulative gain. Judged like [`accuracy`].
pub fn ndcg() -> QualityScore {
    QualityScore(Metric::Ndcg)
}

/// The share of relevant items among those shown. Judged like [`accuracy`].
pub fn precision_at_k() -> QualityScore {
    QualityScore(Metric::PrecisionAtK)
}

/// The mean squared distance of the probability from what happened. Judged like [`accuracy`].
pub fn brier_score() -> QualityLoss {
    QualityLoss(Metric::Brier)
}

/// The mean of the negative logarithm of the probability given to what happened; one below 1 % counts as 1 %, since a
/// bound is what makes a mean provable. Judged like [`accuracy`].
pub fn log_loss() -> QualityLoss {
    QualityLoss(Metric::LogLoss)
}

/// The mean absolute error of numbers, in their own unit. Judged like [`accuracy`], by a test that is right in the limit,
/// since an error has no upper bound.
pub fn mean_absolute_error() -> AbsoluteError {
    AbsoluteError(())
}

/// The mean of a business figure declared at build. Exists only for what was shown, so it is judged on a canary alone:
/// with bounds, by a test that holds for any number of values; without, by one that is right in the limit.
pub fn kpi(name: impl Into<Arc<str>>) -> BusinessFigure {
    BusinessFigure { name: name.into() }
}

/// How often live and candidate disagreed on the same input: the share of shadowed pairs with another class, a number
/// apart by more than the tolerance or another list; where the host compares answers itself, the mean of what its
/// comparison says, cut to 0 to 1.
///
/// Of pairs that both answered: what one of them failed on is the business of [`error_rate`]. Needs no truth. It cannot see
/// who of the two is right.
pub fn divergence() -> Divergence {
    Divergence(())
}

/// That the version keeps the quality it was published with, to within `margin`: staging against production. A guard for
/// each figure that the rollout was [promised](crate::Rollout::promised). One version against a fixed limit cannot tell the
/// version from the world, so one that breaks its promise goes no further, and is taken back where it is worse than live too.
///
/// # Errors
///
/// A margin that is not a number from 0 on.
pub fn as_promised(margin: f64) -> Result<Rule, RuleError> {
    Rule::new(Figure::Promised, Limit::BelowPromise(margin))
}

/// See [`error_rate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct ErrorRate {
    by_segment: bool,
}

impl ErrorRate {
    /// Looks at each [segment](crate::options::Inputs::segment) of the requests by itself too: a candidate that is better on average
    /// and much worse for one airport fails.
    ///
    /// Segments are told apart by e-BH ([`e_bh`](crate::stats::sequential::e_bh)) over as many as there can be, so that the
    /// error is that of one guard however many there are. A segment alone can only fail a candidate: what is shown for a
    /// promotion is shown on all traffic, since little traffic shows nothing for long. The margin is the same for all.
    pub fn by_segment(self) -> Self {
        Self { by_segment: true }
    }

    /// An objective: the candidate fails on at most this share of requests. One that live breaks as well takes nothing back.
    ///
    /// # Errors
    ///
    /// A rate that is not at least 0 and below 1.
    pub fn at_most(self, rate: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AtMost(rate))
    }

    /// At most `margin` above live: 0.01 for one percentage point.
    ///
    /// # Errors
    ///
    /// A margin that is not at least 0 and below 1.
    pub fn at_most_above_live(self, margin: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AboveLive(margin))
    }

    /// At most `factor` times live, or at most one in a thousand: 1.25 for a quarter more. See
    /// [`at_most_times_live_or`](Self::at_most_times_live_or), which says what the second limit is for.
    ///
    /// # Errors
    ///
    /// A factor that is not between 0.001 and 1,000.
    pub fn at_most_times_live(self, factor: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::TimesLive(factor))
    }

    /// At most `factor` times live, or at most `rate` whatever live does: a rate up to that is accepted. Without it, at a
    /// `rate` of 0, a candidate that never fails could not be shown to fail seldom enough beside a live that never does.
    ///
    /// # Errors
    ///
    /// A factor that is not between 0.001 and 1,000, or a rate that is not at least 0 and below 1.
    pub fn at_most_times_live_or(self, factor: f64, rate: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::TimesLive(factor))?.or_at_most(rate)
    }

    fn limited(self, limit: Limit) -> Result<Rule, RuleError> {
        by_segment(Rule::new(Figure::ErrorRate, limit)?, self.by_segment)
    }
}

fn by_segment(rule: Rule, by_segment: bool) -> Result<Rule, RuleError> {
    if by_segment { rule.by_segment() } else { Ok(rule) }
}

/// See [`latency`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct Latency {
    quantile: f64,
}

impl Latency {
    /// An objective: the quantile is at most this long. One that live breaks as well takes nothing back.
    ///
    /// # Errors
    ///
    /// A quantile that is not between 0.0001 and 0.9999; a time of 0, or of more than a day.
    pub fn within(self, limit: Duration) -> Result<Rule, RuleError> {
        self.limited(Limit::Within(limit))
    }

    /// The quantile is at most `factor` times live's.
    ///
    /// # Errors
    ///
    /// A quantile that is not between 0.0001 and 0.9999, or a factor that is not between 0.001 and 1,000.
    pub fn at_most_times_live(self, factor: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::TimesLive(factor))
    }

    fn limited(self, limit: Limit) -> Result<Rule, RuleError> {
        Rule::new(Figure::Latency { quantile: self.quantile }, limit)
    }
}

/// See [`accuracy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct Accuracy {
    by_segment: bool,
}

impl Accuracy {
    /// Looks at each [segment](crate::options::Inputs::segment) of the requests by itself too, like
    /// [`ErrorRate::by_segment`].
    pub fn by_segment(self) -> Self {
        Self { by_segment: true }
    }

    /// An objective: at least this share of answers is right. One that live breaks as well takes nothing back.
    ///
    /// # Errors
    ///
    /// A limit that is not above 0 and at most 1.
    pub fn at_least(self, limit: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AtLeast(limit))
    }

    /// At most `margin` below live: 0.02 for two percentage points.
    ///
    /// # Errors
    ///
    /// A margin that is not at least 0 and below 1.
    pub fn at_most_below_live(self, margin: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::BelowLive(margin))
    }

    /// Limits **wrong answers**, as a multiple of live's: wrong at most 1.25 times as often. The rule is called so:
    /// `wrong answers at most 1.25 times live`.
    ///
    /// # Errors
    ///
    /// A factor that is not between 0.001 and 1,000.
    pub fn at_most_times_live(self, factor: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::TimesLive(factor))
    }

    pub(crate) fn limited(self, limit: Limit) -> Result<Rule, RuleError> {
        by_segment(Rule::new(Figure::Quality { metric: Metric::Accuracy }, limit)?, self.by_segment)
    }
}

/// See [`precision`] and [`recall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct YesOrNoFigure(Metric);

impl YesOrNoFigure {
    /// An objective: at least this. One that live breaks as well takes nothing back.
    ///
    /// # Errors
    ///
    /// A limit that is not above 0 and at most 1.
    pub fn at_least(self, limit: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AtLeast(limit))
    }

    /// At most `margin` below live: 0.05 for five percentage points.
    ///
    /// # Errors
    ///
    /// A margin that is not at least 0 and below 1.
    pub fn at_most_below_live(self, margin: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::BelowLive(margin))
    }

    /// Limits what is missing to 1, as a multiple of live's: **false alarms** of a precision (called yes and not), **missed
    /// positives** of a recall (yes and not called so). The rule is called so: `false alarms at most 1.25 times live`.
    ///
    /// # Errors
    ///
    /// A factor that is not between 0.001 and 1,000.
    pub fn at_most_times_live(self, factor: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::TimesLive(factor))
    }

    fn limited(self, limit: Limit) -> Result<Rule, RuleError> {
        Rule::new(Figure::Quality { metric: self.0 }, limit)
    }
}

/// A figure between 0 and 1 of which more is better: see [`f1`], [`hit_rate`], [`reciprocal_rank`], [`ndcg`] and
/// [`precision_at_k`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct QualityScore(Metric);

impl QualityScore {
    /// An objective: at least this. One that live breaks as well takes nothing back.
    ///
    /// # Errors
    ///
    /// A limit that is not above 0 and at most 1.
    pub fn at_least(self, limit: f64) -> Result<Rule, RuleError> {
        Rule::new(Figure::Quality { metric: self.0 }, Limit::AtLeast(limit))
    }

    /// At most `margin` below live.
    ///
    /// # Errors
    ///
    /// A margin that is not at least 0 and below 1.
    pub fn at_most_below_live(self, margin: f64) -> Result<Rule, RuleError> {
        Rule::new(Figure::Quality { metric: self.0 }, Limit::BelowLive(margin))
    }
}

/// A figure with an upper bound of which less is better: see [`brier_score`] and [`log_loss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct QualityLoss(Metric);

impl QualityLoss {
    /// An objective: at most this. One that live breaks as well takes nothing back.
    ///
    /// # Errors
    ///
    /// A limit below 0, or one that could never be exceeded: from 1 on of a Brier score, from 4.605 on of a log-loss.
    pub fn at_most(self, limit: f64) -> Result<Rule, RuleError> {
        Rule::new(Figure::Quality { metric: self.0 }, Limit::AtMost(limit))
    }

    /// At most `margin` above live.
    ///
    /// # Errors
    ///
    /// A margin below 0, or one that could never be exceeded, as of [`at_most`](Self::at_most).
    pub fn at_most_above_live(self, margin: f64) -> Result<Rule, RuleError> {
        Rule::new(Figure::Quality { metric: self.0 }, Limit::AboveLive(margin))
    }
}

/// See [`mean_absolute_error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct AbsoluteError(());

impl AbsoluteError {
    /// At most `margin` above live, in the unit of what is predicted. There is no test against a fixed limit: an error has
    /// no upper bound.
    ///
    /// # Errors
    ///
    /// A margin that is not a number from 0 on.
    pub fn at_most_above_live(self, margin: f64) -> Result<Rule, RuleError> {
        Rule::new(Figure::Quality { metric: Metric::Mae }, Limit::AboveLive(margin))
    }
}

/// See [`kpi`]. In the figure's own unit. Which limits make sense follows from how it was declared: whether more of it is
/// better, and whether it has bounds. A handle on which a limit makes none refuses the guard, and says which would.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct BusinessFigure {
    pub(crate) name: Arc<str>,
}

impl BusinessFigure {
    /// An objective for a figure of which less is better: at most this. One that live breaks as well takes nothing back. It needs bounds.
    ///
    /// # Errors
    ///
    /// A limit that is not finite.
    pub fn at_most(self, limit: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AtMost(limit))
    }

    /// An objective for a figure of which more is better: at least this. One that live breaks as well takes nothing back. It needs bounds.
    ///
    /// # Errors
    ///
    /// A limit that is not finite.
    pub fn at_least(self, limit: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AtLeast(limit))
    }

    /// At most `margin` below live, for a figure of which more is better.
    ///
    /// # Errors
    ///
    /// A margin that is not a number from 0 on.
    pub fn at_most_below_live(self, margin: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::BelowLive(margin))
    }

    /// At most `margin` above live, for a figure of which less is better.
    ///
    /// # Errors
    ///
    /// A margin that is not a number from 0 on.
    pub fn at_most_above_live(self, margin: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AboveLive(margin))
    }

    /// At least `factor` times live, for a figure that is 0 or 1 ([`Kpi::rate`](crate::Kpi::rate)): purchases at least
    /// 0.97 times as often.
    ///
    /// # Errors
    ///
    /// A factor that is not between 0.001 and 1,000.
    pub fn at_least_times_live(self, factor: f64) -> Result<Rule, RuleError> {
        self.limited(Limit::AtLeastTimesLive(factor))
    }

    pub(crate) fn limited(self, limit: Limit) -> Result<Rule, RuleError> {
        Rule::new(Figure::Kpi { name: self.name }, limit)
    }
}

/// See [`divergence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a figure without a limit guards nothing"]
pub struct Divergence(());

impl Divergence {
    /// At most this share of the pairs differs. How far two versions differ is a figure of neither, so there is no other
    /// limit.
    ///
    /// # Errors
    ///
    /// A limit that is not at least 0 and below 1.
    pub fn at_most(self, limit: f64) -> Result<Rule, RuleError> {
        Rule::new(Figure::Divergence, Limit::AtMost(limit))
    }
}

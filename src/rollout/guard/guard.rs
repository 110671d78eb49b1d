//! The trait of a guard, and what it answers.

use std::sync::Arc;

use super::comparison::Comparison;
use super::evidence::Evidence;
use super::needs::Needs;
use super::rule::{Figure, Rule, RuleError};
use super::verdict::Verdict;
use crate::base::guarded::Contained;

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
    /// Returns the guard's name, in events and in `status()`.
    fn name(&self) -> String;

    /// Judges the figures. Pure: the same figures, the same verdict.
    fn judge(&self, comparison: &Comparison<'_>) -> Evidence;

    /// Returns what the guard cannot do without. A rollout that cannot give it refuses the guard before any traffic.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The rule, of a guard that is one of this crate's: what it decides can be judged again elsewhere. `None` of any
    /// other.
    fn as_rule(&self) -> Option<&Rule> {
        None
    }

    /// The sentence that states it, of a guard that is one of this crate's: a start that remembers adds it again by that. `None` of
    /// any other, which only the host can add again.
    fn as_sentence(&self) -> Option<String> {
        self.as_rule().map(ToString::to_string)
    }
}

/// A value that [`Rollout::guard`](crate::Rollout::guard) takes: a guard, or what comes of making one of this crate's,
/// which may have been refused.
///
/// ```
/// use switchback::guard::{IntoGuard, Rule};
/// use switchback::guard;
///
/// let checked = guard::error_rate().at_most(0.01).into_guard();
/// let refused = guard::latency(99.0).at_most_times_live(1.5).into_guard();
/// assert!(checked.is_ok());
/// assert_eq!(refused.unwrap_err().to_string(), "latency: quantile = 99 is not between 0.0001 and 0.9999");
/// let told = "kpi \"purchase\" at least 0.95 times live, by segment".parse::<Rule>().into_guard();
/// assert!(told.unwrap_err().to_string().contains("only error rate and accuracy can"));
/// ```
pub trait IntoGuard {
    /// The type of the guard.
    type Guard: Guard + 'static;

    /// The guard.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn into_guard(self) -> Result<Self::Guard, RuleError>;
}

impl<G: Guard + 'static> IntoGuard for G {
    type Guard = G;

    fn into_guard(self) -> Result<G, RuleError> {
        Ok(self)
    }
}

impl<G: Guard + 'static> IntoGuard for Result<G, RuleError> {
    type Guard = G;

    fn into_guard(self) -> Result<G, RuleError> {
        self
    }
}

macro_rules! forwarded {
    ($($(#[$told:meta])* $guard:ty $(, $kind:ident)?;)*) => {$(
        $(#[$told])*
        impl$(<$kind: Guard>)? Guard for $guard {
            fn name(&self) -> String {
                (**self).name()
            }

            fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
                (**self).judge(comparison)
            }

            fn needs(&self) -> Needs {
                (**self).needs()
            }

            fn as_rule(&self) -> Option<&Rule> {
                (**self).as_rule()
            }

            fn as_sentence(&self) -> Option<String> {
                (**self).as_sentence()
            }
        }
    )*};
}

forwarded! {
    /// A guard that can be dropped anywhere.
    Contained<G>, G;
    /// Guards of several types stand in one list.
    Box<dyn Guard>;
    /// A guard that several rollouts share.
    Arc<dyn Guard>;
}

impl Guard for Rule {
    fn name(&self) -> String {
        self.to_string()
    }

    fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
        match &comparison.test {
            Some(test) => test.judge(self, comparison.before),
            None => Evidence::new(self.name(), Verdict::Inconclusive).note("nothing was counted for it yet"),
        }
    }

    fn needs(&self) -> Needs {
        Needs {
            metric: match self.figure() {
                Figure::Quality { metric } => Some(*metric),
                _ => None,
            },
            kpi: match self.figure() {
                Figure::Kpi { name } => Some(Arc::clone(name)),
                _ => None,
            },
            labels: matches!(self.figure(), Figure::Quality { .. } | Figure::Kpi { .. } | Figure::Promised),
            pairs: *self.figure() == Figure::Divergence,
            ..Needs::default()
        }
    }

    fn as_rule(&self) -> Option<&Rule> {
        Some(self)
    }
}

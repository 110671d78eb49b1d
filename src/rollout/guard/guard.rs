//! What a guard is, and what it answers.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::rule::Rule;
use super::test::Comparison;
use crate::stats::Metric;

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

//! The conclusion of a guard.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The verdict of a guard on a rollout.
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

//! The trait of a sequential test, and its claims.

use serde::{Deserialize, Serialize};

use super::counts::Additive;
use super::e_value::EValue;

/// The claim that a test is to show, at its margin. Each side's hypothesis is that the other holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The candidate is worse than the margin allows.
    Harm,
    /// The candidate is within the margin.
    NonInferiority,
}

impl Claim {
    /// 1 where more of what is counted speaks for the claim, -1 where less does.
    pub(crate) fn sign(self) -> f64 {
        match self {
            Self::Harm => 1.0,
            Self::NonInferiority => -1.0,
        }
    }
}

/// A test of one claim at one margin: a function from counts to evidence.
pub trait SequentialTest {
    /// The counts that it looks at.
    type Counts: Additive;

    /// The evidence for the claim. The same counts, the same bits, on any machine.
    fn e_value(&self, counts: &Self::Counts) -> EValue;
}

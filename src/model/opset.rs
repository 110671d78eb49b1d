//! A set of operators.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A set of operators that a model's file is written in, or that an engine runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Opset {
    /// Whose operators they are: `ai.onnx` (spelled out), `ai.onnx.ml`, or a name of somebody's own.
    pub domain: String,
    /// Which version of them it is.
    pub version: i64,
}

impl Opset {
    /// A version of a domain's operators.
    pub fn new(domain: impl Into<String>, version: i64) -> Self {
        Self { domain: domain.into(), version }
    }
}

/// `ai.onnx 17`
impl fmt::Display for Opset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.domain, self.version)
    }
}

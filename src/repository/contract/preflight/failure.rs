//! The failures that a preflight finds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

use super::report::PreflightReport;
use crate::base::causes::debug_as_told;
use crate::base::causes::in_full;
use crate::model::error::{LoadError, ModelError};

/// One thing for which a version gets no traffic.
///
/// Values are shown of golden samples only, which are the manifest's; of recent inputs, which are users', only their
/// number.
#[derive(Clone, Error, Serialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PreflightFailure {
    /// A golden sample's request is none of this host's.
    #[error("sample `{sample}`: this host cannot read its request ({cause}): record the sample again")]
    Request {
        /// The sample.
        sample: String,
        /// The fault in it.
        cause: String,
    },
    /// A golden sample pins what cannot be.
    #[error(
        "sample `{sample}`: what it pins of `{tensor}` makes no sense ({cause}): record the sample again"
    )]
    Pin {
        /// The sample.
        sample: String,
        /// The input or output, or the tolerance.
        tensor: String,
        /// The fault in it.
        cause: String,
    },
    /// `encode` wrote an input of another type or shape than it wrote when the version was made.
    #[error(
        "sample `{sample}`: `encode` wrote the input `{input}` as {found} and must write {expected}: {}",
        MENDED
    )]
    InputKind {
        /// The sample.
        sample: String,
        /// The input.
        input: String,
        /// Type and shape that are pinned.
        expected: String,
        /// The type and shape that were written.
        found: String,
    },
    /// `encode` wrote other values than it wrote when the version was made: its code has changed under its version.
    #[error(
        "sample `{sample}`: `encode` wrote {found} as value {index} of the input `{input}` and must write {expected} \
         ({differing} differ): {}",
        MENDED
    )]
    Input {
        /// The sample.
        sample: String,
        /// The input.
        input: String,
        /// The first value that differs, in row-major order.
        index: usize,
        /// How many differ.
        differing: usize,
        /// The value that is pinned there.
        expected: Value,
        /// The value that was written.
        found: Value,
    },
    /// The model gave an output of another type or shape than when the version was made.
    #[error(
        "sample `{sample}`: the output `{output}` is {found} and must be {expected}: publish the file that the samples are of"
    )]
    OutputKind {
        /// The sample.
        sample: String,
        /// The output.
        output: String,
        /// Type and shape that are pinned.
        expected: String,
        /// The type and shape that came.
        found: String,
    },
    /// The model gave other values than when the version was made, beyond the sample's tolerance.
    #[error(
        "sample `{sample}`: value {index} of the output `{output}` is {found} and must be {expected} ({differing} differ): \
         publish the file that the samples are of, or raise the tolerance where only the processor differs"
    )]
    Output {
        /// The sample.
        sample: String,
        /// The output.
        output: String,
        /// The first value that differs, in row-major order.
        index: usize,
        /// How many differ.
        differing: usize,
        /// The value that is pinned there.
        expected: Value,
        /// The value that came.
        found: Value,
    },
    /// An output is not finite, and was not pinned so.
    #[error(
        "{sample}: value {index} of the output `{output}` is {found}: mend the model, pin it where that is right, or allow \
         it with `allow_not_finite`"
    )]
    NotFinite {
        /// The sample that was asked.
        sample: Asked,
        /// The output.
        output: String,
        /// The first value that is not finite, in row-major order; of a sequence, the row.
        index: usize,
        /// `nan`, `inf` or `-inf`.
        found: String,
    },
    /// It gave no answer to a golden sample at all.
    #[error("sample `{sample}`: the version gave no answer: {cause}")]
    Failed {
        /// The sample.
        sample: String,
        /// Why.
        #[serde(serialize_with = "as_text")]
        cause: ModelError,
    },
    /// It gave no answer to a recent input at all. What it said is not kept: it may quote what a user sent.
    #[error("recent input {input}: the version gave no answer: {reason}")]
    FailedOnRecent {
        /// Which, from 0.
        input: usize,
        /// The kind of the failure.
        reason: &'static str,
    },
    /// It takes longer than it may.
    #[error(
        "a request takes {median:?}, and the budget is {budget:?}: take a smaller model, or raise the budget"
    )]
    TooSlow {
        /// The median, when it was warm.
        median: Duration,
        /// The time that was allowed.
        budget: Duration,
    },
    /// There is a budget for its time, and nothing to run.
    #[error(
        "the budget of {budget:?} for a request cannot be checked without one: give golden samples or recent inputs"
    )]
    NothingToRun {
        /// The time that was allowed.
        budget: Duration,
    },
    /// It takes more memory than it may.
    #[error(
        "the model's files have {file_bytes} bytes{}, and {budget} are allowed: take a smaller model or fewer sessions, or raise the \
         budget",
        .growth.map_or_else(String::new, |growth| format!(" and the process grew by {growth} bytes"))
    )]
    TooMuchMemory {
        /// The size of its files.
        file_bytes: u64,
        /// By how much the process grew; nothing where the model was not loaded for its files alone, or where the system
        /// does not tell.
        growth: Option<u64>,
        /// The memory that was allowed.
        budget: u64,
    },
}

debug_as_told!(PreflightFailure);

const MENDED: &str =
    "its code changed under this version: register it as a new version, or go back to what it was";

/// A request of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Asked {
    /// A golden sample, by its name.
    Sample(String),
    /// A recent input, by its number from 0.
    Recent(usize),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sample(name) => write!(f, "sample `{name}`"),
            Self::Recent(number) => write!(f, "recent input {number}"),
        }
    }
}

impl PreflightFailure {
    /// It gave no answer.
    pub(crate) fn unanswered(asked: Asked, cause: ModelError) -> Self {
        match asked {
            Asked::Sample(sample) => Self::Failed { sample, cause },
            Asked::Recent(input) => Self::FailedOnRecent { input, reason: cause.kind().told() },
        }
    }
}

fn as_text<S: Serializer>(error: &ModelError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

/// A version that gets no traffic, with every reason, one a line, and what was measured.
#[derive(Clone, Error, Serialize)]
#[error("{file} is not fit for traffic:{}", .failures.iter().map(|failure| format!("\n- {}", in_full(failure))).collect::<String>())]
#[non_exhaustive]
pub struct PreflightError {
    /// The model's file.
    pub file: String,
    /// The failures: one or more.
    pub failures: Vec<PreflightFailure>,
    /// The measurements that were made all the same.
    pub report: PreflightReport,
}

debug_as_told!(PreflightError);

impl From<PreflightError> for LoadError {
    fn from(error: PreflightError) -> Self {
        Self::Preflight(Arc::new(error))
    }
}

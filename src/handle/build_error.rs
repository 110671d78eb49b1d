//! Why a handle could not be built.

#[cfg(feature = "state")]
use std::fmt;
#[cfg(feature = "state")]
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::base::causes::{debug_as_told, in_full};
use crate::base::invalid::ArgumentError;
use crate::rollout::budget::ErrorBudgetError;
#[cfg(feature = "state")]
use crate::state::StateError;
#[cfg(feature = "state")]
use crate::version::id::VersionId;
use crate::version::prepare::StageError;

/// Why a handle could not be built.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A handle always has a live version.
    #[error("no live version was given: call `.live(name, model)`")]
    NoLive,
    /// The state cannot be read.
    #[cfg(feature = "state")]
    #[error(transparent)]
    State(#[from] StateError),
    /// The folder is another handle's.
    #[cfg(feature = "state")]
    #[error("{} has the state of the handle `{handle}`: give this one a folder of its own", .folder.display())]
    OthersState {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        handle: String,
    },
    /// None of the versions that could be live can be used.
    #[cfg(feature = "state")]
    #[error("no version can be live: {}", .versions.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoneLeft {
        /// Each with what stands in the way.
        versions: Vec<CannotBeLive>,
    },
    /// The handle cannot be a member of its fleet.
    #[cfg(feature = "fleet")]
    #[error("the fleet: {reason}")]
    Fleet {
        /// The obstacle, and the remedy.
        reason: String,
    },
    /// The live version cannot be used.
    #[error("the live version: {}", in_full(.0))]
    Live(StageError),
    /// A guard of the configuration could never judge here.
    #[cfg(feature = "config")]
    #[error("guard `{name}`, which the configuration has, can judge nothing here: {reason}")]
    Guard {
        /// The guard.
        name: String,
        /// The obstacle.
        reason: String,
    },
    /// A business figure makes no sense.
    #[error("business figure `{name}`: {cause}")]
    Kpi {
        /// The figure.
        name: String,
        /// The fault in it.
        cause: &'static str,
    },
    /// The outcome that silence means does not fit the task.
    #[error("the assumed outcome does not fit the task: {0}")]
    Assumption(crate::feedback::FeedbackRefusal),
    /// A calibration was given, and answers have no probability that it could be of.
    #[error("a calibration is of the score of yes or no: declare `Task::binary`, or leave it out")]
    Calibration,
    /// The error budget is none.
    #[error(transparent)]
    ErrorBudget(#[from] ErrorBudgetError),
    /// An option has a value that it cannot have.
    #[error(transparent)]
    Option(#[from] ArgumentError),
    /// Retained versions are to be drilled, and inputs may not be copied for it.
    #[error(
        "retention.drill asks retained versions what live was asked, and inputs may not be copied: add `.shadowing(..)` or `Inputs::copied`"
    )]
    DrillWithoutCopies,
    /// Inputs may be shadowed and own memory, and it is not known how much a copy of one takes.
    #[error(
        "shadowing.queue_bytes bounds the copies that wait, and inputs own memory that is not counted: add `Inputs::bytes`, which says how many bytes a copy takes"
    )]
    InputBytesUnknown,
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The system cannot start a thread.
    #[error("a background thread cannot be started: {0}")]
    Thread(Arc<std::io::Error>),
}

debug_as_told!(BuildError);

impl From<StageError> for BuildError {
    fn from(error: StageError) -> Self {
        Self::Live(error)
    }
}

/// A version that could be live by what a handle remembers, and cannot be used.
#[cfg(feature = "state")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CannotBeLive {
    /// The version.
    pub version: VersionId,
    /// What stands in the way.
    pub reason: String,
}

#[cfg(feature = "state")]
impl fmt::Display for CannotBeLive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.version, self.reason)
    }
}

//! Errors of models: refused inputs, failures to answer, failures to load.
//!
//! Each operation of the handle has an error of its own beside it ([`PredictError`](crate::PredictError),
//! [`StageError`](crate::StageError), ...); the ones here are what models and engines report.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::causes::debug_as_told;
use crate::base::guarded::Panicked;
use crate::base::text::told_by_name;

/// Why a model gave no answer.
///
/// The [`kind`](Self::kind) decides who is held responsible: [`Input`](Self::Input) is the caller's and trips no guard;
/// everything else counts against the version.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The caller's input does not fit; the model did not see it. A pipeline says so of a request with
    /// [`ModelError::input`].
    #[error(transparent)]
    Input(#[from] InputError),
    /// The pipeline wrote what its own model does not take: an input that the model does not have, one of another type or of
    /// another fixed dimension, or it left one out. The fault is the version's, whatever the request was.
    #[error(
        "the pipeline does not fit its own model: {cause}; correct its `encode`, or the file that it is used with"
    )]
    Signature {
        /// The error of the input that does not fit.
        cause: Box<InputError>,
    },
    /// Every session was busy for as long as a request may wait. Raise the pool size or shed load.
    #[error("no session of the model came free within {waited:?}: raise its pool size, or shed load")]
    Overloaded {
        /// How long the request waited.
        waited: Duration,
    },
    /// The answer did not come within the deadline of a candidate.
    #[error("the model did not answer within its deadline of {limit:?}")]
    Deadline {
        /// The deadline.
        limit: Duration,
    },
    /// The model answered, but its answer is not one: not finite, out of range, or not what `decode` expects.
    #[error("the model's answer is invalid: {reason}")]
    InvalidOutput {
        /// The fault in it.
        reason: Arc<str>,
    },
    /// The model, or the pipeline around it, panicked.
    #[error("the model or its pipeline panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: Arc<str>,
    },
    /// The model was asked before it was loaded. A handle loads what it is given; a model used on its own is
    /// [loaded](crate::versions::Lifecycle::load) first.
    #[error("the model was asked before it was loaded: call `load` first")]
    NotLoaded,
    /// The engine below the model failed.
    #[error("the engine failed: {message}")]
    Engine {
        /// The engine's message.
        message: Arc<str>,
    },
}

debug_as_told!(ModelError);

impl ModelError {
    /// An input that the pipeline itself refuses, with the reason.
    pub fn input(reason: impl Into<Arc<str>>) -> Self {
        Self::Input(InputError::Refused { reason: reason.into() })
    }

    /// An answer that is not one, with the reason.
    pub fn invalid_output(reason: impl Into<Arc<str>>) -> Self {
        Self::InvalidOutput { reason: reason.into() }
    }

    /// A failure of whatever engine runs the model.
    pub fn engine(message: impl Into<Arc<str>>) -> Self {
        Self::Engine { message: message.into() }
    }

    /// Returns the kind of this failure, for counting.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Input(_) => ErrorKind::Input,
            Self::Overloaded { .. } => ErrorKind::Overloaded,
            Self::Deadline { .. } => ErrorKind::Deadline,
            Self::InvalidOutput { .. } => ErrorKind::InvalidOutput,
            Self::Panicked { .. } => ErrorKind::Panicked,
            Self::Signature { .. } => ErrorKind::Pipeline,
            Self::NotLoaded | Self::Engine { .. } => ErrorKind::Engine,
        }
    }
}

/// A panic of the host's code is an error of the model that it belongs to.
impl From<Panicked> for ModelError {
    #[cold]
    fn from(Panicked { message }: Panicked) -> Self {
        Self::Panicked { message }
    }
}

/// The kinds of failure that are counted apart in an arm's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input did not fit. Not the version's fault: excluded from its error rate.
    Input,
    /// No session came free in time.
    Overloaded,
    /// A candidate did not answer within its deadline.
    Deadline,
    /// The answer was not valid.
    InvalidOutput,
    /// A panic.
    Panicked,
    /// The engine failed.
    Engine,
    /// It called an input bad that another version answered: its own fault after all.
    Rejected,
    /// Its pipeline wrote what its own model does not take.
    Pipeline,
}

impl ErrorKind {
    /// Its name, as it is written in JSON and in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::InvalidOutput => "invalid_output",
            Self::Panicked => "panicked",
            Self::Engine => "engine",
            Self::Rejected => "rejected",
            Self::Pipeline => "pipeline",
        }
    }

    /// Every kind, in the order in which figures list them.
    pub const ALL: [ErrorKind; 8] = [
        ErrorKind::Input,
        ErrorKind::Overloaded,
        ErrorKind::Deadline,
        ErrorKind::InvalidOutput,
        ErrorKind::Panicked,
        ErrorKind::Engine,
        ErrorKind::Rejected,
        ErrorKind::Pipeline,
    ];

    /// The kind that counts where somebody else answered the same input: it cannot have been bad.
    pub(crate) fn not_the_callers(self) -> Self {
        if self == Self::Input { Self::Rejected } else { self }
    }

    /// Returns what happened, in words that are nobody's but ours.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Input => "it refused the input",
            Self::Overloaded => "no session came free in time",
            Self::Deadline => "it did not answer within its deadline",
            Self::InvalidOutput => "its answer was invalid",
            Self::Panicked => "it panicked",
            Self::Engine => "its engine failed",
            Self::Rejected => "it refused an input that another version answered",
            Self::Pipeline => "its pipeline does not fit its own model",
        }
    }

    /// The kind's place in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

told_by_name!(ErrorKind);

/// A fault in an input, found before the engine sees it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The model has no input of this name.
    #[error("the model has no input `{name}`: its inputs are {}", .expected.join(", "))]
    Unknown {
        /// The name that came.
        name: Arc<str>,
        /// The names the model knows.
        expected: Vec<String>,
    },
    /// An input of the model was not given.
    #[error("input `{name}` is missing: the model expects {expected}")]
    Missing {
        /// The input.
        name: Arc<str>,
        /// Its element type and shape.
        expected: String,
    },
    /// An input was given twice.
    #[error("input `{name}` was given twice")]
    Repeated {
        /// The input.
        name: Arc<str>,
    },
    /// An input has another element type than the model's.
    #[error("input `{name}` has elements of type {found}: the model expects {expected}")]
    ElementType {
        /// The input.
        name: Arc<str>,
        /// The model's element type.
        expected: String,
        /// The element type that came.
        found: String,
    },
    /// An input has a shape that the model's does not allow.
    #[error("input `{name}` has shape {found}: the model expects {expected}")]
    Shape {
        /// The input.
        name: Arc<str>,
        /// The model's shape, with symbolic dimensions by name.
        expected: String,
        /// The shape that came.
        found: String,
    },
    /// The pipeline refused the request for a reason of its own.
    #[error("the input was refused: {reason}")]
    Refused {
        /// The reason.
        reason: Arc<str>,
    },
}

debug_as_told!(InputError);

/// Why a model could not be loaded. Nothing has changed where one of these comes back.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{} cannot be read: {cause}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        cause: Arc<std::io::Error>,
    },
    /// There is a pipe, a device or a folder where a model or its data should be. It was not waited for.
    #[error("{} is {what}, not a plain file: put a plain file in its place", .file.display())]
    NotAFile {
        /// Where.
        file: PathBuf,
        /// The kind of file that it is.
        what: &'static str,
    },
    /// The file is not an ONNX model, or only a part of one.
    #[error("{file} is not a whole ONNX model: {cause}")]
    NotOnnx {
        /// The file, or what stands for it where the model came as bytes.
        file: String,
        /// The content that was found instead.
        cause: String,
    },
    /// The model needs an operator set, an operator or a format version that this ONNX Runtime lacks.
    #[error("this ONNX Runtime cannot run {file}: {cause}")]
    Unsupported {
        /// The file, or what stands for it where the model came as bytes.
        file: String,
        /// The operator, operator set or version.
        cause: String,
    },
    /// The model is valid, and refused all the same because running it would not be safe.
    #[error("{file} was refused: {cause}")]
    Refused {
        /// The file, or what stands for it where the model came as bytes.
        file: String,
        /// Why.
        cause: String,
    },
    /// The engine failed while loading.
    #[error("{file} could not be loaded: {cause}")]
    Engine {
        /// The file, or what stands for it where the model came as bytes.
        file: String,
        /// The engine's message.
        cause: String,
    },
    /// An option makes no sense.
    #[error("option `{option}` makes no sense: {cause}")]
    Option {
        /// The option.
        option: &'static str,
        /// The fault in it.
        cause: String,
    },
    /// ONNX Runtime itself is missing or cannot be used.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Runtime(#[from] super::onnx::RuntimeError),
    /// The model was loaded and failed a check before traffic. After a preflight the cause is a
    /// `repository::contract::PreflightError`, which `downcast_ref` gives back.
    #[error(transparent)]
    Preflight(Arc<dyn Error + Send + Sync>),
    /// It was not wanted any more before it was loaded: see [`LoadThrottle`](crate::versions::LoadThrottle).
    #[error("the load was cancelled")]
    Cancelled,
    /// Another error kept the model from being loaded: an engine's or a host's own. See [`other`](Self::other).
    #[error(transparent)]
    Other(Arc<dyn Error + Send + Sync>),
}

debug_as_told!(LoadError);

impl LoadError {
    /// An error of an engine or a host: any error type, or a text.
    ///
    /// ```
    /// use switchback::model::LoadError;
    ///
    /// assert_eq!(LoadError::other("the licence server is down").to_string(), "the licence server is down");
    /// let missing = LoadError::other(std::io::Error::from(std::io::ErrorKind::NotFound));
    /// assert!(matches!(missing, LoadError::Other(cause) if cause.is::<std::io::Error>()));
    /// ```
    pub fn other(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other(Arc::from(cause.into()))
    }
}

impl From<Box<dyn Error + Send + Sync>> for LoadError {
    fn from(cause: Box<dyn Error + Send + Sync>) -> Self {
        Self::other(cause)
    }
}

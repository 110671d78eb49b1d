//! Makes a version ready: loads it, warms it up, and checks its first answer.

use std::error::Error;
use std::sync::Arc;

use super::ask::{Judge, attempt};
use super::id::{InvalidVersionId, VersionId};
use super::input::KeptInput;
use super::loaded::Version;
use crate::base::guarded::Contained;
use crate::model::error::{LoadError, ModelError};
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::task::task::{Check, Task};

/// Makes a version of a model: loads it, warms it, and has it answer the host's sample. The host's code all the way, so
/// a panic is an error.
pub(crate) fn prepare<I: ?Sized + 'static, O: 'static>(
    id: VersionId,
    model: Box<dyn Model<I, O>>,
    task: &Task<O>,
    check: Option<&Check<O>>,
    sample: Option<&(dyn KeptInput<I> + Sync)>,
    throttle: &LoadThrottle,
) -> Result<Version<I, O>, StageError> {
    // Wherever it is dropped from here on, it is the host's code.
    let model = Contained::new(model);
    let judge = Judge { task, check, limit: None };
    let failed = |source: ModelError| StageError::Answer { version: id, source };
    throttle.step()?;
    judge.guarded(|| model.lifecycle().map_or(Ok(()), |own| own.load(throttle))).map_err(failed)??;
    throttle.step()?;
    let warmed = judge.guarded(|| model.lifecycle().map_or(Ok(false), |own| own.warm_up()));
    warmed.and_then(|warmed| warmed).map_err(failed)?;
    let described = || model.lifecycle().map(|own| own.description()).unwrap_or_default().bounded();
    let (identity, description) = judge.guarded(|| (model.identity(), described())).map_err(failed)?;
    let version = Version::new(id, identity, description, model);
    if let Some(sample) = sample {
        attempt(&version, sample, &judge).map_err(failed)?;
    }
    throttle.step()?;
    Ok(version)
}

/// Why a version could not be staged. Nothing has changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The name cannot name a version.
    #[error(transparent)]
    Name(#[from] InvalidVersionId),
    /// A version of that name is live, on trial or retained.
    #[error("a version called {version} is in use: give this one another name")]
    InUse {
        /// The name.
        version: VersionId,
    },
    /// The model could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model was loaded, and failed on a made-up input or on the host's sample.
    #[error("version {version} did not answer its first request")]
    Answer {
        /// The version.
        version: VersionId,
        /// What went wrong.
        source: ModelError,
    },
    /// The version could not be opened. The cause is that of whoever opens versions: `repository::ServeError`, or an
    /// error of the host's own; `downcast_ref` gives it back.
    #[error(transparent)]
    Open(Arc<dyn Error + Send + Sync>),
    /// As many rollouts run as a handle can tell apart.
    #[error("as many rollouts run as a handle can tell apart: end one first")]
    TooMany,
    /// Another process has the state.
    #[error(
        "another process has the state of this handle: stage the version there, or here once that process has let go of it"
    )]
    LookingOn,
    /// The handle was closed.
    #[error("the handle was closed and stages no version any more")]
    Closed,
}

/// Any error says why a version could not be opened; one of ours keeps its own variant.
impl From<Box<dyn Error + Send + Sync>> for StageError {
    fn from(cause: Box<dyn Error + Send + Sync>) -> Self {
        let cause = match cause.downcast::<StageError>() {
            Ok(error) => return *error,
            Err(cause) => cause,
        };
        match cause.downcast::<LoadError>() {
            Ok(error) => Self::Load(*error),
            Err(cause) => Self::Open(Arc::from(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(cause: impl Into<Box<dyn Error + Send + Sync>>) -> StageError {
        cause.into().into()
    }

    #[test]
    fn a_hosts_error_is_kept_whole_and_ours_keeps_its_variant() {
        assert!(matches!(staged(StageError::Closed), StageError::Closed));
        assert!(matches!(staged(LoadError::Cancelled), StageError::Load(LoadError::Cancelled)));
        let refused = staged(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        let StageError::Open(cause) = &refused else { panic!("{refused}") };
        let cause = cause.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(cause.kind(), std::io::ErrorKind::PermissionDenied);
    }
}

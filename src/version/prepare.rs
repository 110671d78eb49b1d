//! Makes a version ready: loads it, checks its first answer, and warms it up.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Judge, attempt};
use super::id::{VersionId, VersionIdError};
use super::input::KeptInput;
use super::loaded::Version;
use super::proof::Proof;
use crate::base::causes::{debug_as_told, in_full};
use crate::base::guarded::Contained;
use crate::model::activity::Activity;
use crate::model::error::{ErrorKind, LoadError, ModelError};
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::task::task::{Check, Task};

/// Makes a version of a model: loads it, and has it answer the host's sample, which is a verdict. Without one its sessions run
/// on an input that is made up, which is none: what a version makes of zeros says little of what it makes of requests. The
/// host's code all the way, so a panic is an error.
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
    let failed = |cause: ModelError| StageError::Answer { version: id, cause };
    throttle.enter(Activity::Loading);
    throttle.step()?;
    judge.guarded(|| model.lifecycle().map_or(Ok(()), |own| own.load(throttle))).map_err(failed)??;
    throttle.step()?;
    let described = || model.lifecycle().map(|own| own.description()).unwrap_or_default().bounded();
    let (identity, description) = judge.guarded(|| (model.identity(), described())).map_err(failed)?;
    let sessions = description.sessions;
    let mut version = Version::new(id, identity, description, model);
    #[cfg(feature = "onnx")]
    {
        let told = || version.model.lifecycle().and_then(|own| own.signature()?.bounded());
        let signature = judge.guarded(told).map_err(failed)?;
        version.set_signature(signature);
    }
    let proof = match sample {
        Some(sample) => {
            throttle.enter(Activity::Sample);
            ask_sample(&version, sample, &judge, sessions).map_err(failed)?;
            Proof::Answered
        }
        None => {
            throttle.enter(Activity::WarmingUp);
            let model = &version.model;
            let warm_up = || model.lifecycle().map_or(Ok(false), |own| own.warm_up());
            let is_proven = || model.lifecycle().is_some_and(|own| own.is_proven());
            let warmed = judge.guarded(warm_up).map_err(failed)?;
            match (judge.guarded(is_proven).map_err(failed)?, warmed) {
                (true, _) => Proof::Answered,
                (false, Ok(true)) => Proof::MadeUp,
                (false, Ok(false)) => Proof::NotAsked,
                (false, Err(error)) => Proof::Failed { reason: in_full(&error).into() },
            }
        }
    };
    version.set_proof(proof);
    throttle.step()?;
    Ok(version)
}

/// Asks the host's sample, once for each session: a thread that asks for the first time begins one session further on than
/// the one before it, so that as good as every session has run once before anybody waits for it.
fn ask_sample<I: ?Sized + 'static, O: 'static>(
    version: &Version<I, O>,
    sample: &(dyn KeptInput<I> + Sync),
    judge: &Judge<'_, O>,
    sessions: usize,
) -> Result<(), ModelError> {
    attempt(version, sample, judge)?;
    for _ in 1..sessions.min(SESSIONS_WARMED) {
        std::thread::scope(|scope| {
            let ask = || attempt(version, sample, judge).map(drop);
            let asked = std::thread::Builder::new().name("switchback-warm".into()).spawn_scoped(scope, ask);
            // Where no thread can be started, the session is warmed by the first request.
            asked.map_or(Ok(()), |asked| asked.join().unwrap_or(Ok(())))
        })?;
    }
    Ok(())
}

/// How many sessions are warmed with the host's sample at most.
const SESSIONS_WARMED: usize = 64;

/// Has a version that is not proven answer inputs that live was asked lately, which is a verdict: what live answers and it
/// does not is its own failure. Copies of what users sent, so what it said of them is not told.
pub(crate) fn prove<I: ?Sized + 'static, O: 'static>(
    version: &mut Version<I, O>,
    live: &Version<I, O>,
    inputs: &[Box<dyn KeptInput<I>>],
    judge: &Judge<'_, O>,
) -> Result<(), StageError> {
    for input in inputs {
        let Err(error) = attempt(version, &**input, judge) else {
            version.set_proof(Proof::Answered);
            continue;
        };
        if attempt(live, &**input, judge).is_ok() {
            let failure = error.kind().not_the_callers();
            return Err(StageError::Recent { version: version.id, failure });
        }
    }
    Ok(())
}

/// Why a version could not be staged. Nothing has changed.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The name cannot name a version.
    #[error(transparent)]
    Name(#[from] VersionIdError),
    /// A version of that name is live, on trial or retained.
    #[error("a version called {version} is in use: give this one another name")]
    InUse {
        /// The name.
        version: VersionId,
    },
    /// The model could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model was loaded, and failed on the host's sample, or the host's code panicked.
    #[error("version {version} did not answer its first request: {cause}")]
    Answer {
        /// The version.
        version: VersionId,
        /// The error.
        cause: ModelError,
    },
    /// The model was loaded, and failed on an input that live has just answered.
    #[error(
        "version {version} does not answer what live answers: on an input that live was asked lately {}",
        .failure.told()
    )]
    Recent {
        /// The version.
        version: VersionId,
        /// The kind of the failure. What it said is not kept: it may quote what a user sent.
        failure: ErrorKind,
    },
    /// The version was not ready in the [time](crate::options::Limits::staging_deadline) that it had. The thread that its code
    /// keeps is left behind: it ends when that code returns, and what it comes to is dropped.
    #[error(
        "version {version} was still {activity} after {} s and was given up: look at what its code waits for, or raise `Limits::staging_deadline`",
        .after.as_secs_f64()
    )]
    Deadline {
        /// The version.
        version: VersionId,
        /// Its activity.
        activity: Activity,
        /// How long it was waited for.
        after: Duration,
    },
    /// As many threads as may be left behind are in code of versions that were given up and has not returned.
    #[error(
        "{threads} threads are in the code of versions that were given up, and have not returned: none is staged before one of them does, or in a new process"
    )]
    LeftBehind {
        /// How many.
        threads: usize,
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
    Standby,
    /// The other processes of the fleet did not agree that it is staged.
    #[error("{version} is not staged: {reason}")]
    NotAgreed {
        /// The version.
        version: VersionId,
        /// The obstacle.
        reason: String,
    },
    /// The handle was closed.
    #[error("the handle was closed and stages no version any more")]
    Closed,
}

debug_as_told!(StageError);

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

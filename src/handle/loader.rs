//! Loading the versions of a start, before there is a handle or in a take-over: each on a thread of its own, and for no longer than
//! it may take. Code that does not return keeps that thread, and the start goes on without its version.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::beside::{Beside, Wait};
use super::supervised::Beats;
use super::traces::Aside;
use crate::base::clock::Clock;
#[cfg(feature = "state")]
use crate::base::guarded::Contained;
use crate::base::guarded::guarded;
use crate::control::event::EventKind;
use crate::model::activity::Activity;
use crate::model::error::{LoadError, ModelError};
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::task::task::{Check, Task};
use crate::version::id::VersionId;
use crate::version::input::KeptInput;
use crate::version::loaded::AnyVersion;
use crate::version::post::At;
use crate::version::prepare::{StageError, prepare};
use crate::version::priority::LoadPriority;
#[cfg(feature = "state")]
use crate::version::source::ModelSource;

/// The name of a thread that loads a version.
pub(crate) const LOADER: &str = "switchback-load";

/// Where versions come from by name.
#[cfg(feature = "state")]
pub(crate) type Source<I, O> = Arc<Contained<Box<dyn ModelSource<I, O>>>>;

/// An input that every version must answer.
pub(crate) type Sample<I> = Arc<dyn KeptInput<I> + Sync>;

/// The version that the host brings for a first start.
pub(crate) enum First<I: ?Sized, O> {
    Model(String, BoxedModel<I, O>),
    /// It is opened only where it is needed.
    Opened(Open<I, O>),
}

/// What opens one.
pub(crate) type Open<I, O> = Box<dyn FnOnce() -> Result<(String, BoxedModel<I, O>), StageError> + Send>;

/// A model of the host's.
pub(crate) type BoxedModel<I, O> = Box<dyn Model<I, O>>;

impl<I: ?Sized, O> First<I, O> {
    /// The version, opened by now.
    pub(crate) fn open(self) -> Result<(VersionId, BoxedModel<I, O>), StageError> {
        let (name, model) = match self {
            Self::Model(name, model) => (name, model),
            // The host's code: a panic is its error.
            Self::Opened(open) => guarded(open)
                .unwrap_or_else(|panicked| Err(StageError::Open(Arc::new(ModelError::from(panicked)))))?,
        };
        Ok((VersionId::new(&name)?, model))
    }
}

/// Loads versions, with all that it takes: shared with threads that may never end, so nothing of it is borrowed.
pub(crate) struct Loader<I: ?Sized, O> {
    pub(crate) name: String,
    pub(crate) needs: Arc<Needs<I, O>>,
    pub(crate) clock: Clock,
    pub(crate) threads: Arc<Beats>,
    /// How long each version may take.
    pub(crate) limit: Duration,
    /// The events that there are to tell.
    pub(crate) told: Mutex<Vec<EventKind>>,
}

/// What a version is held against, and where it is found.
pub(crate) struct Needs<I: ?Sized, O> {
    pub(crate) task: Task<O>,
    pub(crate) check: Option<Check<O>>,
    pub(crate) sample: Option<Sample<I>>,
    #[cfg(feature = "state")]
    pub(crate) source: Option<Source<I, O>>,
}

impl<I: ?Sized + 'static, O: 'static> Loader<I, O> {
    /// Makes a version ready: of a model that was brought along, or of what the source has under that name.
    pub(crate) fn load(
        &self,
        id: VersionId,
        brought: Option<Box<dyn Model<I, O>>>,
    ) -> Result<Arc<dyn AnyVersion>, StageError> {
        let (throttle, needs) = (LoadThrottle::new(), Arc::clone(&self.needs));
        let (span, of_load) = (Aside::stage_of(&self.name, id), throttle.clone());
        let load = move || {
            let _span = span.stage(&of_load);
            let loaded = guarded(|| {
                let model = match brought {
                    Some(model) => model,
                    None => {
                        of_load.enter(Activity::Opening);
                        needs.open(id)?
                    }
                };
                needs.prepare(id, model, &of_load)
            });
            loaded.unwrap_or_else(|panicked| {
                Err(StageError::Answer { version: id, cause: ModelError::from(panicked) })
            })
        };
        let (started, began, limit) = (self.clock.reading(), self.clock.time_point(), self.limit);
        let of_load = Some(throttle.clone());
        let at = At { version: id, blocks: None, activity: Activity::Opening, load: of_load, began, limit };
        match self.threads.run((LOADER, LoadPriority::Full), &self.clock, at, load, || Wait::On) {
            Beside::Done(Ok((version, not_proven))) => {
                let not_proven = not_proven.map(|reason| EventKind::NotProven { version: id, reason });
                self.told.lock().extend(not_proven);
                Ok(version)
            }
            Beside::Done(Err(error)) => Err(error),
            Beside::Abandoned => {
                let lasted = Duration::from_nanos(self.clock.reading().nanos_since(started));
                let (told, error) = given_up(id, &throttle, lasted, limit);
                self.told.lock().push(told);
                Err(error)
            }
            Beside::TooMany(threads) => Err(StageError::LeftBehind { threads }),
            // Only a thread that was ended from outside leaves neither a version nor an error.
            Beside::Ended => Err(LoadError::other("the thread that loaded it ended").into()),
        }
    }
}

/// Gives up a load that has taken longer than it may: the event that tells of it, and the error of whoever waited.
pub(crate) fn given_up(
    version: VersionId,
    throttle: &LoadThrottle,
    lasted: Duration,
    after: Duration,
) -> (EventKind, StageError) {
    // Where it comes to its next step all the same, it goes no further.
    throttle.cancel();
    let (thread, activity) = (LOADER.to_owned(), throttle.activity());
    let told = EventKind::ThreadAbandoned { thread, version, activity, lasted, replaced: false };
    (told, StageError::Deadline { version, activity, after })
}

/// A version, with the reason for which it is not proven, where it failed on what was made up.
type Ready = (Arc<dyn AnyVersion>, Option<Arc<str>>);

impl<I: ?Sized + 'static, O: 'static> Needs<I, O> {
    /// The host's code, as is the error that it gives.
    #[cfg_attr(not(feature = "state"), expect(unused_variables, reason = "there is no source to ask for it"))]
    fn open(&self, id: VersionId) -> Result<Box<dyn Model<I, O>>, StageError> {
        let refused = |error: Box<dyn Error + Send + Sync>| StageError::from(error);
        #[cfg(feature = "state")]
        if let Some(source) = &self.source {
            return match guarded(|| source.open(id.as_str())) {
                Ok(opened) => opened.map_err(refused),
                Err(panicked) => Err(refused(format!("the source of versions panicked: {panicked}").into())),
            };
        }
        Err(refused("nobody knows where it is: say `.source(..)` at build".into()))
    }

    fn prepare(
        &self,
        id: VersionId,
        model: Box<dyn Model<I, O>>,
        throttle: &LoadThrottle,
    ) -> Result<Ready, StageError> {
        let (check, sample) = (self.check.as_ref(), self.sample.as_deref());
        let version = prepare(id, model, &self.task, check, sample, throttle)?;
        let not_proven = version.proof.failure();
        Ok((Arc::new(version) as Arc<dyn AnyVersion>, not_proven))
    }
}

//! Loading a version beside the requests: on a thread of low priority, held back while live has trouble, until it is
//! cancelled or has taken longer than it may. Code that does not return keeps that thread, and nobody else.

use std::sync::Arc;

use super::beside::{Beside, Wait};
use super::core::Core;
use super::loader::{LOADER, given_up};
use crate::base::guarded::guarded;
use crate::model::activity::Activity;
use crate::model::error::{LoadError, ModelError};
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::version::id::VersionId;
use crate::version::loaded::Version;
use crate::version::post::At;
use crate::version::prepare::{StageError, prepare, prove};

impl<I: ?Sized + 'static, O: Send + 'static> Core<I, O> {
    /// Opens a version and makes it ready without doing live harm. Waits until it is, or is not to be waited for.
    pub(crate) fn prepare_aside(
        self: &Arc<Self>,
        id: VersionId,
        open: impl FnOnce() -> Result<Box<dyn Model<I, O>>, StageError> + Send + 'static,
    ) -> Result<Version<I, O>, StageError> {
        let throttle = LoadThrottle::new();
        {
            let mut loads = self.loads.lock();
            if loads.iter().any(|(other, _)| *other == id) {
                return Err(StageError::InUse { version: id });
            }
            loads.push((id, throttle.clone()));
        }
        let began = self.serving.clock.time_point();
        let priority = self.load_priority.found();
        let mut loading = {
            let control = &mut *self.control.lock();
            if control.closed {
                // Whoever closes says so first, and then cancels what loads: it was not among those yet.
                self.loads.lock().retain(|(other, _)| *other != id);
                return Err(StageError::Closed);
            }
            control.begin_loading((id, priority), &self.serving.joins, began.at)
        };
        let (core, of_load, span) = (Arc::clone(self), throttle.clone(), self.traces.stage(id));
        let load = move || {
            let _span = span.stage(&of_load);
            of_load.enter(Activity::Opening);
            contained(id, || core.load(id, open, &of_load))
        };
        let look = || {
            if throttle.is_cancelled() {
                return Wait::NoLonger;
            }
            let control = &mut *self.control.lock();
            let trouble = control.has_trouble(&mut loading, &self.serving.joins, self.serving.clock.now());
            if let Some(trouble) = trouble {
                throttle.hold(trouble);
            }
            Wait::On
        };
        let (limit, load_of) = (self.staging_deadline, Some(throttle.clone()));
        let activity = Activity::Opening;
        let at = At { version: id, blocks: None, activity, load: load_of, began, limit };
        let prepared = self.threads.run((LOADER, priority), &self.serving.clock, at, load, look);
        let cancelled = {
            let mut loads = self.loads.lock();
            loads.retain(|(other, _)| *other != id);
            // Whoever was told that it is cancelled was told the truth.
            throttle.is_cancelled()
        };
        let ended = self.serving.clock.time_point();
        let (took, held) = (ended.since(began), throttle.held_for());
        let failed = cancelled || !matches!(prepared, Beside::Done(Ok(_)));
        let how = (took, held, failed);
        self.control.lock().end_loading(loading, how, &self.serving.joins, ended.at);
        match prepared {
            Beside::TooMany(threads) => Err(StageError::LeftBehind { threads }),
            Beside::Done(Err(error)) => Err(error),
            Beside::Done(Ok(_)) | Beside::Abandoned if cancelled => Err(LoadError::Cancelled.into()),
            Beside::Done(Ok(version)) => Ok(version),
            Beside::Abandoned => {
                let (told, error) = given_up(id, &throttle, took, limit);
                self.tell(told);
                Err(error)
            }
            // Only a thread that was ended from outside leaves neither a version nor an error.
            Beside::Ended => Err(LoadError::other("the thread that loaded it ended").into()),
        }
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Opens a version and makes it ready, on this thread.
    pub(crate) fn load(
        &self,
        id: VersionId,
        open: impl FnOnce() -> Result<Box<dyn Model<I, O>>, StageError>,
        throttle: &LoadThrottle,
    ) -> Result<Version<I, O>, StageError> {
        let serving = &self.serving;
        // Without the deadline of candidates: nobody waits for an answer here, and this thread may get only the time that nobody else wants.
        let judge = serving.judge(false);
        // The host's code, like all of a model.
        let failed = |cause| StageError::Answer { version: id, cause };
        let model = judge.guarded(open).map_err(failed)??;
        let (check, sample) = (serving.check.as_ref(), self.sample.as_deref());
        let mut version = prepare(id, model, &serving.task, check, sample, throttle)?;
        if let Some(recent) = serving.recent.as_ref().filter(|_| !version.proof.is_answered()) {
            throttle.enter(Activity::RecentInputs);
            let live = Arc::clone(&serving.routing.load().live().version);
            recent.lend(|inputs| prove(&mut version, &live, inputs, &judge))?;
        }
        Ok(version)
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Whether a version of this name is being loaded.
    #[cfg(feature = "fleet")]
    pub(crate) fn is_loading(&self, wanted: VersionId) -> bool {
        self.loads.lock().iter().any(|(id, _)| *id == wanted)
    }

    /// Gives up a load. Whether there was one.
    pub(crate) fn cancel_load(&self, wanted: impl Fn(VersionId) -> bool) -> bool {
        let loads = self.loads.lock();
        let cancelled =
            loads.iter().filter(|(id, _)| wanted(*id)).map(|(_, throttle)| throttle.cancel()).count();
        cancelled > 0
    }
}

/// Loads a version. What is the host's in it is guarded call by call; whatever else panics is told to whoever stages.
fn contained<T>(id: VersionId, load: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    let failed = |panicked| StageError::Answer { version: id, cause: ModelError::from(panicked) };
    guarded(load).map_err(failed).flatten()
}

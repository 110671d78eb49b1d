//! Loading a version beside the requests: on a thread of low priority, held back while live has trouble, until it is
//! cancelled.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use super::core::Core;
use crate::base::guarded::guarded;
use crate::model::error::{LoadError, ModelError};
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::version::id::VersionId;
use crate::version::loaded::Version;
use crate::version::prepare::{StageError, prepare, prove};

/// How often it is looked whether live has trouble.
const LOOK: Duration = Duration::from_millis(20);

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Opens a version and makes it ready without doing live harm. Waits until it is.
    pub(crate) fn prepare_aside(
        &self,
        id: VersionId,
        open: impl FnOnce() -> Result<Box<dyn Model<I, O>>, StageError> + Send,
    ) -> Result<Version<I, O>, StageError> {
        let throttle = LoadThrottle::new();
        {
            let mut loads = self.loads.lock();
            if loads.iter().any(|(other, _)| *other == id) {
                return Err(StageError::InUse { version: id });
            }
            loads.push((id, throttle.clone()));
        }
        let (started, now) = (self.serving.clock.reading(), self.serving.clock.now());
        let mut loading = self.control.lock().begin_loading(id, &self.serving.joins, now);
        let judge = self.serving.shadow_judge();
        let (task, check, sample) = (&self.serving.task, self.serving.check.as_ref(), self.sample.as_deref());
        let (routing, recent) = (&self.serving.routing, self.serving.recent.as_ref());
        let of_throttle = throttle.clone();
        let load = || {
            let failed = |source| StageError::Answer { version: id, source };
            // The host's code, like all of a model.
            let model = judge.guarded(open).map_err(failed)??;
            let mut version = prepare(id, model, task, check, sample, &of_throttle)?;
            if let Some(recent) = recent.filter(|_| !version.proof.is_answered()) {
                let live = Arc::clone(&routing.load().live().version);
                recent.lend(|inputs| prove(&mut version, &live, inputs, &judge))?;
            }
            Ok(version)
        };
        let (ending, ended) = crossbeam_channel::bounded::<()>(0);
        // In a cell: where no thread can be started, it is done on this one.
        let given = Mutex::new(Some(load));
        let (take, priority) = (|| given.lock().take(), self.load_priority);
        let prepared = std::thread::scope(|scope| {
            let body = || {
                let _ending = ending;
                priority.take();
                take().map(|load| contained(id, load))
            };
            match std::thread::Builder::new().name("switchback-load".into()).spawn_scoped(scope, body) {
                Ok(loader) => {
                    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
                        let control = &mut *self.control.lock();
                        let trouble =
                            control.has_trouble(&mut loading, &self.serving.joins, self.serving.clock.now());
                        if let Some(trouble) = trouble {
                            throttle.hold(trouble);
                        }
                    }
                    loader.join().ok().flatten()
                }
                Err(_) => None,
            }
        });
        let prepared = prepared.or_else(|| take().map(|load| contained(id, load)));
        self.loads.lock().retain(|(other, _)| *other != id);
        let (took, now) = (self.serving.clock.reading().nanos_since(started), self.serving.clock.now());
        let (took, held) = (Duration::from_nanos(took), throttle.held_for());
        self.control.lock().end_loading(loading, took, held, &self.serving.joins, now);
        // Only a thread that was ended from outside leaves neither a version nor an error.
        prepared.unwrap_or_else(|| Err(LoadError::other("the thread that loaded it ended").into()))
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
    let failed = |panicked| StageError::Answer { version: id, source: ModelError::from(panicked) };
    guarded(load).map_err(failed).flatten()
}

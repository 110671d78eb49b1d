//! The operations on a handle whatever its types.

use std::sync::{Arc, Weak};
use std::time::Duration;

use thiserror::Error;

use super::figures::measured::Measured;
use crate::base::causes::debug_as_told;
use crate::base::share::{Share, ShareError};
use crate::control::event::{Event, Subscription};
use crate::control::moves::RollbackOutcome;
use crate::handle::core::Core;
use crate::handle::handle::{CloseError, ModelHandle, RollbackError};
use crate::handle::rollout::{Rollout, RolloutError};
use crate::handle::status::{Readiness, Status};
use crate::handle::workers::Workers;
use crate::model::identity::Identity;
#[cfg(feature = "report")]
use crate::report::{Report, Which};
use crate::request::recall::Recall;
use crate::rollout::decision::Decision;

/// Who does it; nobody in particular where there is none.
pub(crate) type Actor<'a> = &'a Option<Arc<str>>;

/// A handle of any types. Object-safe, and implemented once.
pub(crate) trait Operated: Send + Sync {
    fn status(&self) -> Status;
    fn measured(&self) -> Measured;
    fn readiness(&self) -> Readiness;
    fn events(&self) -> Vec<Arc<Event>>;
    fn events_since(&self, sequence: u64) -> Vec<Arc<Event>>;
    fn subscribe(&self, room: usize) -> Subscription;
    fn decisions(&self) -> Vec<Arc<Decision>>;
    fn recall(&self, version: &str) -> Option<Recall>;
    #[cfg(feature = "report")]
    fn report(&self, rollout: Which) -> Option<Report>;
    #[cfg(feature = "state")]
    fn checkpoint(&self) -> Result<(), crate::state::StateError>;
    fn tick(&self);
    fn cancel_staging(&self, version: &str) -> bool;
    fn drain(&self, actor: Actor<'_>, reason: String);
    fn close(&self, actor: Actor<'_>, deadline: Duration) -> Result<(), CloseError>;
    fn freeze(&self, actor: Actor<'_>, reason: String);
    fn unfreeze(&self, actor: Actor<'_>);
    fn release(&self, actor: Actor<'_>, identity: Identity) -> bool;
    fn rollback(&self, actor: Actor<'_>, reason: String) -> RollbackOutcome;
    fn abort_candidates(&self, actor: Actor<'_>, reason: String) -> RollbackOutcome;
    fn revert_live(&self, actor: Actor<'_>, reason: String) -> RollbackOutcome;
    fn rollback_to(
        &self,
        actor: Actor<'_>,
        version: &str,
        reason: String,
    ) -> Result<RollbackOutcome, RollbackError>;
    fn move_rollout(
        &self,
        actor: Actor<'_>,
        version: &str,
        by: RolloutMove,
        epoch: Option<u64>,
    ) -> Result<RollbackOutcome, OperatorError>;
    fn downgrade(&self) -> Arc<dyn WeakOperated>;
}

/// A move of a rollout that runs.
pub(crate) enum RolloutMove {
    /// What is no share is told only where there is such a rollout.
    Shadow(Result<Share, ShareError>),
    Canary(Result<Share, ShareError>),
    Promote,
    Pause(String),
    Resume,
    Abort(String),
}

impl RolloutMove {
    /// Whether it is done whatever can be had here.
    fn lowers(&self) -> bool {
        matches!(self, Self::Pause(_) | Self::Abort(_))
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> Operated for ModelHandle<I, O> {
    fn status(&self) -> Status {
        ModelHandle::status(self)
    }

    fn measured(&self) -> Measured {
        Measured::of(self)
    }

    fn readiness(&self) -> Readiness {
        ModelHandle::readiness(self)
    }

    fn events(&self) -> Vec<Arc<Event>> {
        ModelHandle::events(self)
    }

    fn events_since(&self, sequence: u64) -> Vec<Arc<Event>> {
        ModelHandle::events_since(self, sequence)
    }

    fn subscribe(&self, room: usize) -> Subscription {
        ModelHandle::subscribe(self, room)
    }

    fn decisions(&self) -> Vec<Arc<Decision>> {
        ModelHandle::decisions(self)
    }

    fn recall(&self, version: &str) -> Option<Recall> {
        ModelHandle::recall(self, version)
    }

    #[cfg(feature = "report")]
    fn report(&self, rollout: Which) -> Option<Report> {
        ModelHandle::report(self, rollout)
    }

    #[cfg(feature = "state")]
    fn checkpoint(&self) -> Result<(), crate::state::StateError> {
        ModelHandle::checkpoint(self)
    }

    fn tick(&self) {
        ModelHandle::tick(self);
    }

    fn cancel_staging(&self, version: &str) -> bool {
        ModelHandle::cancel_staging(self, version)
    }

    fn drain(&self, actor: Actor<'_>, reason: String) {
        self.by(actor).drain(reason);
    }

    fn close(&self, actor: Actor<'_>, deadline: Duration) -> Result<(), CloseError> {
        self.by(actor).close(deadline)
    }

    fn freeze(&self, actor: Actor<'_>, reason: String) {
        self.by(actor).freeze(reason);
    }

    fn unfreeze(&self, actor: Actor<'_>) {
        self.by(actor).unfreeze();
    }

    fn release(&self, actor: Actor<'_>, identity: Identity) -> bool {
        self.by(actor).release(identity)
    }

    fn rollback(&self, actor: Actor<'_>, reason: String) -> RollbackOutcome {
        self.by(actor).rollback(reason)
    }

    fn abort_candidates(&self, actor: Actor<'_>, reason: String) -> RollbackOutcome {
        self.by(actor).abort_candidates(reason)
    }

    fn revert_live(&self, actor: Actor<'_>, reason: String) -> RollbackOutcome {
        self.by(actor).revert_live(reason)
    }

    fn rollback_to(
        &self,
        actor: Actor<'_>,
        version: &str,
        reason: String,
    ) -> Result<RollbackOutcome, RollbackError> {
        self.by(actor).rollback_to(version, reason)
    }

    fn move_rollout(
        &self,
        actor: Actor<'_>,
        version: &str,
        by: RolloutMove,
        epoch: Option<u64>,
    ) -> Result<RollbackOutcome, OperatorError> {
        let no_rollout = || OperatorError::NoRollout { version: version.into() };
        let handle = self.by(actor);
        let lowered = || handle.rollout_in_fleet(version).filter(|_| by.lowers());
        let rollout = handle.rollout(version).or_else(lowered).ok_or_else(no_rollout)?;
        moved(&rollout.at_epoch(epoch), by)
    }

    fn downgrade(&self) -> Arc<dyn WeakOperated> {
        Arc::new(WeakHandle::of(self))
    }
}

/// Makes a move: one that lowers exposure says what it did; one that raises it did nothing of that.
fn moved<I: ?Sized + 'static, O: 'static>(
    rollout: &Rollout<I, O>,
    by: RolloutMove,
) -> Result<RollbackOutcome, OperatorError> {
    match by {
        RolloutMove::Shadow(sample) => rollout.shadow(sample.map_err(RolloutError::from)?)?,
        RolloutMove::Canary(weight) => rollout.canary(weight.map_err(RolloutError::from)?)?,
        RolloutMove::Promote => rollout.promote()?,
        RolloutMove::Pause(reason) => rollout.pause(reason)?,
        RolloutMove::Resume => rollout.resume()?,
        RolloutMove::Abort(reason) => return Ok(rollout.rollback(reason)),
    }
    Ok(RollbackOutcome::Nothing)
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    fn by(&self, actor: Actor<'_>) -> Self {
        match actor {
            Some(actor) => self.acting_as(Arc::clone(actor)),
            None => self.clone(),
        }
    }
}

/// The same, held weakly.
pub(crate) trait WeakOperated: Send + Sync {
    fn upgrade(&self) -> Option<Arc<dyn Operated>>;
}

struct WeakHandle<I: ?Sized, O> {
    core: Weak<Core<I, O>>,
    /// The workers that end the threads when the last handle goes: as long as one is there, so are they.
    threads: Weak<Workers>,
}

impl<I: ?Sized + 'static, O: 'static> WeakHandle<I, O> {
    fn of(handle: &ModelHandle<I, O>) -> Self {
        Self { core: Arc::downgrade(&handle.inner), threads: Arc::downgrade(&handle.threads) }
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> WeakOperated for WeakHandle<I, O> {
    fn upgrade(&self) -> Option<Arc<dyn Operated>> {
        // The threads hold the core too, so it is the handles that tell.
        let threads = self.threads.upgrade()?;
        let inner = self.core.upgrade()?;
        Some(Arc::new(ModelHandle { inner, threads, actor: None }))
    }
}

/// Why a rollout was not moved by name.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// No rollout that runs tries a version of this name.
    #[error("no rollout that runs tries a version called {version}: `status().rollouts` has those that do")]
    NoRollout {
        /// The name.
        version: String,
    },
    /// It does not go from where it stands.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
}

debug_as_told!(OperatorError);

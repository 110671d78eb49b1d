//! A handle without its types.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::figures::measured::Measured;
use super::operated::{Operated, OperatorError, RolloutMove, WeakOperated};
use crate::base::share::{Share, ShareError, share_of};
use crate::base::text::bounded;
use crate::control::event::{Event, Subscription};
use crate::control::moves::RollbackOutcome;
use crate::handle::handle::{CloseError, ModelHandle, RollbackError};
use crate::handle::status::{Readiness, Status};
use crate::model::identity::Identity;
#[cfg(feature = "report")]
use crate::report::{Report, Which};
use crate::request::recall::Recall;
use crate::rollout::decision::Decision;

/// A handle without its types: a service looks at its models with it, moves their rollouts by name, and ends them. What has to do with
/// inputs, answers and outcomes, what is staged, and by which guards, plan or allocation it is tried, is the [`ModelHandle`]'s. Clones are the same handle, and keep it alive as one does; [`downgrade`](Self::downgrade) does not.
#[derive(Clone)]
pub struct Operator {
    name: Arc<str>,
    handle: Arc<dyn Operated>,
    actor: Option<Arc<str>>,
    by_segment: bool,
    epoch: Option<u64>,
}

impl<I: ?Sized + 'static, O: Send + 'static> ModelHandle<I, O> {
    /// This handle without its types: for whoever shows, scrapes or operates it. It acts for whom this clone
    /// [acts](Self::acting_as).
    pub fn operator(&self) -> Operator {
        let (handle, actor) = (Arc::new(self.clone()), self.actor.clone());
        Operator { name: self.name().into(), handle, actor, by_segment: false, epoch: None }
    }
}

impl Operator {
    /// The handle's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, acting for somebody: see [`ModelHandle::acting_as`].
    #[must_use = "it is the operator that is returned which acts for them"]
    pub fn acting_as(&self, actor: impl Into<Arc<str>>) -> Self {
        Self { actor: Some(bounded(&*actor.into()).into()), ..self.clone() }
    }

    /// The same, which raises exposure only while the routing table has this [`epoch`](crate::status::Status::epoch): nobody has changed who answers
    /// since whoever asks has looked. It is compared in the moment of the change, also where a canary gets a smaller share. What takes
    /// a candidate off, or live back, asks for no epoch. In a fleet it is
    /// this process's table, once all that is agreed on is true here: whatever is agreed on there makes another table, also where it changes nobody's answer.
    ///
    /// ```compile_fail
    /// # #![deny(unused_must_use)]
    /// # fn look(operator: &switchback::operator::Operator) -> Result<(), switchback::operator::OperatorError> {
    /// operator.at_epoch(7); // which says nothing to anybody
    /// operator.canary("v2", 0.5)
    /// # }
    /// ```
    #[must_use = "it is the operator that is returned which compares the epoch"]
    pub fn at_epoch(&self, epoch: u64) -> Self {
        Self { epoch: Some(epoch), ..self.clone() }
    }

    fn move_rollout(&self, version: &str, by: RolloutMove) -> Result<RollbackOutcome, OperatorError> {
        self.handle.move_rollout(&self.actor, version, by, self.epoch)
    }

    /// The same for whoever only looks: it keeps nothing alive.
    pub fn downgrade(&self) -> WeakOperator {
        let Self { name, handle, by_segment, .. } = self;
        WeakOperator { name: Arc::clone(name), handle: handle.downgrade(), by_segment: *by_segment }
    }

    /// The same, whose figures say of each rollout that runs what its units came to by
    /// [segment](crate::options::Inputs::segment) too, for the first 64 by name. Not unless asked: each is six series, and the
    /// names of segments are then known to whoever may scrape.
    #[must_use = "it is the operator that is returned which has figures by segment"]
    pub fn by_segment(&self) -> Self {
        Self { by_segment: true, ..self.clone() }
    }

    /// See [`ModelHandle::status`].
    pub fn status(&self) -> Status {
        self.handle.status()
    }

    /// See [`ModelHandle::readiness`].
    pub fn readiness(&self) -> Readiness {
        self.handle.readiness()
    }

    /// See [`ModelHandle::events`].
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.handle.events()
    }

    /// See [`ModelHandle::events_since`].
    pub fn events_since(&self, sequence: u64) -> Vec<Arc<Event>> {
        self.handle.events_since(sequence)
    }

    /// See [`ModelHandle::subscribe`].
    pub fn subscribe(&self, room: usize) -> Subscription {
        self.handle.subscribe(room)
    }

    /// See [`ModelHandle::decisions`].
    pub fn decisions(&self) -> Vec<Arc<Decision>> {
        self.handle.decisions()
    }

    /// See [`ModelHandle::recall`].
    pub fn recall(&self, version: impl AsRef<str>) -> Option<Recall> {
        self.handle.recall(version.as_ref())
    }

    /// See [`ModelHandle::report`].
    #[cfg(feature = "report")]
    pub fn report(&self, rollout: impl Into<Which>) -> Option<Report> {
        self.handle.report(rollout.into())
    }

    /// See [`ModelHandle::checkpoint`].
    ///
    /// # Errors
    ///
    /// It is not on disk.
    #[cfg(feature = "state")]
    pub fn checkpoint(&self) -> Result<(), crate::state::StateError> {
        self.handle.checkpoint()
    }

    /// See [`ModelHandle::tick`].
    pub fn tick(&self) {
        self.handle.tick();
    }

    /// See [`ModelHandle::cancel_staging`].
    pub fn cancel_staging(&self, version: impl AsRef<str>) -> bool {
        self.handle.cancel_staging(version.as_ref())
    }

    /// See [`ModelHandle::drain`].
    pub fn drain(&self, reason: impl Into<String>) {
        self.handle.drain(&self.actor, reason.into());
    }

    /// See [`ModelHandle::close`].
    ///
    /// # Errors
    ///
    /// Something was still busy when `deadline` had passed.
    pub fn close(&self, deadline: Duration) -> Result<(), CloseError> {
        self.handle.close(&self.actor, deadline)
    }

    /// See [`ModelHandle::freeze`].
    pub fn freeze(&self, reason: impl Into<String>) {
        self.handle.freeze(&self.actor, reason.into());
    }

    /// See [`ModelHandle::unfreeze`].
    pub fn unfreeze(&self) {
        self.handle.unfreeze(&self.actor);
    }

    /// See [`ModelHandle::release`].
    pub fn release(&self, identity: Identity) -> bool {
        self.handle.release(&self.actor, identity)
    }

    /// See [`ModelHandle::rollback`].
    pub fn rollback(&self, reason: impl Into<String>) -> RollbackOutcome {
        self.handle.rollback(&self.actor, reason.into())
    }

    /// See [`ModelHandle::abort_candidates`].
    pub fn abort_candidates(&self, reason: impl Into<String>) -> RollbackOutcome {
        self.handle.abort_candidates(&self.actor, reason.into())
    }

    /// See [`ModelHandle::revert_live`].
    pub fn revert_live(&self, reason: impl Into<String>) -> RollbackOutcome {
        self.handle.revert_live(&self.actor, reason.into())
    }

    /// See [`ModelHandle::rollback_to`].
    ///
    /// # Errors
    ///
    /// The version is not retained, or cannot be woken. Live has not changed then.
    pub fn rollback_to(
        &self,
        version: impl AsRef<str>,
        reason: impl Into<String>,
    ) -> Result<RollbackOutcome, RollbackError> {
        self.handle.rollback_to(&self.actor, version.as_ref(), reason.into())
    }

    /// Exposes the candidate of this name as a shadow: see [`Rollout::shadow`](crate::Rollout::shadow).
    ///
    /// # Errors
    ///
    /// No rollout tries such a version, or it cannot be exposed so. Nothing has changed then.
    pub fn shadow(
        &self,
        version: impl AsRef<str>,
        sample: impl TryInto<Share, Error: Into<ShareError>>,
    ) -> Result<(), OperatorError> {
        self.move_rollout(version.as_ref(), RolloutMove::Shadow(share_of(sample))).map(drop)
    }

    /// Has the candidate of this name answer a share of the requests: see [`Rollout::canary`](crate::Rollout::canary).
    ///
    /// # Errors
    ///
    /// No rollout tries such a version, or it cannot be exposed so. Nothing has changed then.
    pub fn canary(
        &self,
        version: impl AsRef<str>,
        weight: impl TryInto<Share, Error: Into<ShareError>>,
    ) -> Result<(), OperatorError> {
        self.move_rollout(version.as_ref(), RolloutMove::Canary(share_of(weight))).map(drop)
    }

    /// Makes the candidate of this name live: see [`Rollout::promote`](crate::Rollout::promote).
    ///
    /// # Errors
    ///
    /// No rollout tries such a version, or it cannot be promoted. Nothing has changed then.
    pub fn promote(&self, version: impl AsRef<str>) -> Result<(), OperatorError> {
        self.move_rollout(version.as_ref(), RolloutMove::Promote).map(drop)
    }

    /// The plan of the rollout that tries this version stands still: see [`Rollout::pause`](crate::Rollout::pause).
    ///
    /// # Errors
    ///
    /// No rollout tries such a version.
    pub fn pause(&self, version: impl AsRef<str>, reason: impl Into<String>) -> Result<(), OperatorError> {
        self.move_rollout(version.as_ref(), RolloutMove::Pause(reason.into())).map(drop)
    }

    /// The plan of the rollout that tries this version goes on: see [`Rollout::resume`](crate::Rollout::resume).
    ///
    /// # Errors
    ///
    /// No rollout tries such a version, or its exposure cannot be written down: it stays paused.
    pub fn resume(&self, version: impl AsRef<str>) -> Result<(), OperatorError> {
        self.move_rollout(version.as_ref(), RolloutMove::Resume).map(drop)
    }

    /// Takes off the candidate of this name or, where it is live and watched, takes live back: see
    /// [`Rollout::rollback`](crate::Rollout::rollback).
    ///
    /// # Errors
    ///
    /// No rollout tries such a version.
    pub fn abort(
        &self,
        version: impl AsRef<str>,
        reason: impl Into<String>,
    ) -> Result<RollbackOutcome, OperatorError> {
        self.move_rollout(version.as_ref(), RolloutMove::Abort(reason.into()))
    }

    pub(crate) fn measured(&self) -> Measured {
        let mut measured = self.handle.measured();
        measured.by_segment = self.by_segment;
        measured
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, actor, .. } = self;
        f.debug_struct("Operator").field("name", name).field("actor", actor).finish_non_exhaustive()
    }
}

/// An [`Operator`] for whoever only looks, such as an exporter: the handle's threads and weights go with the handle and not
/// with this.
#[derive(Clone)]
pub struct WeakOperator {
    name: Arc<str>,
    handle: Arc<dyn WeakOperated>,
    by_segment: bool,
}

impl WeakOperator {
    /// The handle's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operator, as long as a handle of its name is held by somebody.
    pub fn upgrade(&self) -> Option<Operator> {
        let handle = self.handle.upgrade()?;
        let Self { name, by_segment, .. } = self;
        Some(Operator { name: Arc::clone(name), handle, actor: None, by_segment: *by_segment, epoch: None })
    }
}

impl fmt::Debug for WeakOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakOperator").field("name", &self.name).finish_non_exhaustive()
    }
}

//! A handle that follows a repository: what happens when a version is published.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::handle::ModelHandle;
use super::rollout::{Rollout, RolloutError};
use crate::repository::{Change, RepositoryError, ServeError, Served, Watch};
use crate::rollout::plan::Plan;
use crate::version::id::VersionId;
use crate::version::prepare::StageError;

/// What follows from a version that was published.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum OnPublish {
    /// Nothing: it is told, and the host decides.
    #[default]
    Tell,
    /// It is opened, checked and staged, and waits for somebody to drive it.
    Stage,
    /// It is staged, and tried by this plan.
    Run(Plan),
}

/// A handle that follows the versions of a model: see [`ModelHandle::follow`].
pub struct Follow<I: ?Sized + 'static, O: 'static> {
    handle: ModelHandle<I, O>,
    served: Arc<Served<I, O>>,
    watch: Watch,
    policy: OnPublish,
    guards: Box<Guards<I, O>>,
}

type Guards<I, O> = dyn Fn(Rollout<I, O>) -> Rollout<I, O> + Send;

/// A change, and what came of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Followed {
    /// What changed.
    pub change: Change,
    /// What the policy did about it: nothing where it asks for nothing. What fails is tried again when the version is
    /// published under another name, not before: it would fail again.
    pub done: Result<(), FollowError>,
}

/// Why a published version is not tried.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum FollowError {
    /// It cannot be opened, or does not fit.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// It cannot be staged.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// It is staged, and the plan cannot be run.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Follows the versions of a model in a repository: what is published from now on is told, staged, or tried by a plan.
    /// `guards` adds to each rollout what it is to be judged by.
    ///
    /// Nothing runs by itself: the host calls [`Follow::poll`], on a thread that may load models, as often as it likes.
    ///
    /// ```no_run
    /// # use std::{sync::Arc, time::Duration};
    /// # use switchback::repository::Served;
    /// # use switchback::versions::OnPublish;
    /// # use switchback::{ModelHandle, Plan, guard};
    /// # fn follow(late: Arc<Served<f32, f32>>, handle: ModelHandle<f32, f32>) -> Result<(), Box<dyn std::error::Error>> {
    /// let try_it = OnPublish::Run(Plan::ramp([0.01, 0.1, 0.5])?);
    /// let mut follow = handle.follow(late, try_it, |rollout| rollout.guard(guard::error_rate().at_most(0.01)))?;
    /// loop {
    ///     for followed in follow.poll()? {
    ///         println!("{:?}: {:?}", followed.change, followed.done);
    ///     }
    ///     follow.wait(Duration::from_secs(30));
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The model's folder cannot be listed.
    pub fn follow(
        &self,
        served: Arc<Served<I, O>>,
        policy: OnPublish,
        guards: impl Fn(Rollout<I, O>) -> Rollout<I, O> + Send + 'static,
    ) -> Result<Follow<I, O>, RepositoryError> {
        let watch = served.repository().watch_by(served.model(), self.inner.serving.clock.clone())?;
        Ok(Follow { handle: self.clone(), served, watch, policy, guards: Box::new(guards) })
    }
}

impl<I: ?Sized + 'static, O: 'static> Follow<I, O> {
    /// What has changed since the last time, and what was done about it. Loads what it stages, and waits for that.
    ///
    /// # Errors
    ///
    /// The repository cannot be looked at. The next time tells all that has changed until then.
    pub fn poll(&mut self) -> Result<Vec<Followed>, RepositoryError> {
        let changes = self.watch.poll()?;
        Ok(changes.into_iter().map(|change| Followed { done: self.act(&change), change }).collect())
    }

    /// Waits until it is worth looking again, at the longest so long.
    pub fn wait(&self, longest: Duration) {
        self.watch.wait(longest);
    }

    fn act(&self, change: &Change) -> Result<(), FollowError> {
        match (change, &self.policy) {
            (Change::Added { version }, OnPublish::Stage) => self.stage(*version).map(drop),
            (Change::Added { version }, OnPublish::Run(plan)) => {
                let rollout = (self.guards)(self.stage(*version)?);
                Ok(rollout.run(plan.clone())?)
            }
            _ => Ok(()),
        }
    }

    fn stage(&self, version: VersionId) -> Result<Rollout<I, O>, FollowError> {
        let served = &self.served;
        let open = || served.open(version.as_str()).map(|(_, model)| model);
        self.handle.stage_with(version.as_str(), open).map_err(|error| match error {
            StageError::Open(cause) => match cause.downcast_ref::<ServeError>() {
                Some(error) => error.clone().into(),
                None => StageError::Open(cause).into(),
            },
            error => error.into(),
        })
    }
}

impl<I: ?Sized + 'static, O: 'static> std::fmt::Debug for Follow<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow")
            .field("served", &self.served)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

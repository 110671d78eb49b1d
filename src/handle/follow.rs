//! A handle that follows a repository: what happens when a version is published.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::handle::ModelHandle;
use super::rollout::{Rollout, RolloutError};
use crate::base::causes::debug_as_told;
use crate::base::causes::in_full;
use crate::base::clock::Timestamp;
use crate::base::ordered::OrderedSet;
use crate::base::text::bounded_text;
use crate::control::attempt::Attempt;
use crate::control::event::{Cause, EventKind};
use crate::model::model::Model;
#[cfg(feature = "state")]
use crate::repository::Entry;
use crate::repository::{Change, RepositoryError, ServeError, Served, Watch};
use crate::rollout::phase::Phase;
use crate::rollout::plan::Plan;
use crate::version::id::VersionId;
use crate::version::prepare::StageError;

/// The reaction to a version that was published.
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
#[must_use = "nothing is followed before it is polled"]
pub struct Follow<I: ?Sized + 'static, O: 'static> {
    handle: ModelHandle<I, O>,
    served: Arc<Served<I, O>>,
    watch: Watch,
    policy: OnPublish,
    guards: Box<Guards<I, O>>,
    /// Versions that failed or were taken off, which are opened anew once their files have changed and are whole.
    again: OrderedSet<VersionId>,
    /// Versions that came while another process had the state, to be tried once this one has it.
    waiting: OrderedSet<VersionId>,
    /// Versions that came while nothing could be agreed on or written down, or too many were on trial.
    later: Vec<Later>,
    /// Attempts that were staged for a plan which nobody has given them, and since when that is seen.
    left: Vec<(u32, Timestamp)>,
    /// Versions that were told as removed, oldest first: what comes back by such a name may be what was tried before.
    removed: VecDeque<VersionId>,
    /// Versions that were published while no process ran, the newest last, to be looked at first.
    missed: Vec<VersionId>,
    /// The refusals that were told, oldest first.
    told: VecDeque<(VersionId, Option<String>, String)>,
}

/// How many refusals are remembered, so that none of them is told twice.
const TOLD_MAX: usize = 256;

/// How often a plan is run that others overtake.
const RUNS: usize = 3;

/// How soon a version is tried again that nobody could agree on, at first and at the latest: each try loads it.
const LATER: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// How long a version that was staged for a plan may be without one: longer than whoever has staged it takes to say it.
const LEFT: Duration = Duration::from_secs(60);

/// A version that is tried again, though nothing of it has changed.
struct Later {
    version: VersionId,
    /// Not before then.
    next: Timestamp,
    gap: Duration,
}

/// How many versions that were removed are remembered.
const REMOVED_MAX: usize = 4_096;

type Guards<I, O> = dyn Fn(Rollout<I, O>) -> Rollout<I, O> + Send;

/// A change, and what came of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Followed {
    /// The change.
    pub change: Change,
    /// The outcome of what the policy did about it: nothing where it asks for nothing. What fails is tried again once
    /// the version's files have changed and are whole ([`Change::Settled`]), not before: it would fail again. The
    /// handle tells it too, as [`VersionRefused`](crate::events::EventKind::VersionRefused). Where another process has the state
    /// ([`StageError::Standby`]) nothing is opened, and the version is tried, and told as [`Change::Added`] again, once this
    /// process has it. So it is, once that has passed, where the fault is none of the version's: nothing could be agreed on in a fleet or written down
    /// ([`StageError::NotAgreed`], [`RolloutError::NotAgreed`], [`RolloutError::NotRecorded`]), or too many are on trial
    /// ([`StageError::TooMany`]).
    pub done: Result<(), FollowError>,
}

/// Why a published version is not tried.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum FollowError {
    /// It cannot be opened, or does not fit.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// It cannot be staged.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Its plan cannot be run. What was staged for it is taken off again, unless somebody else runs it.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// It came while another process had the state, which has tried it; or it was removed and has come back, and was tried before; or the fleet
    /// has tried it.
    #[error(
        "{version} was tried before, by the fleet, by the process that had the state or before it was removed and came back: stage it and run a plan by hand if it is to be tried again"
    )]
    Tried {
        /// The version.
        version: VersionId,
    },
}

debug_as_told!(FollowError);

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Follows the versions of a model in a repository: what is published from now on is told, staged, or tried by a plan. Where the handle
    /// goes on with the [state](crate::Builder::state) of an earlier process, so is the newest of what was published since that has
    /// last looked, as far as it was written down, by the [`created`](crate::repository::Manifest::created) of their manifests; of older ones it is
    /// told that they are not tried.
    /// `guards` adds to each rollout what it is to be judged by.
    ///
    /// A copy that stalls, or weights that come after the graph, look whole too early. So a version that failed is tried again
    /// when its files have changed, and a candidate whose files change is taken off at once ([`Change::Changed`]) and opened
    /// anew when they are whole ([`Change::Settled`]). A version that was promoted stays live, and one whose trial is over
    /// is not tried again: that is a person's to decide; one that was removed and comes back with the same bytes is neither. [`Follow::settled_after`] and [`Follow::listed_only`] say when a version is whole.
    ///
    /// In a fleet the first process that sees a version stages it, with its own policy and guards, and the others leave it at that. One that sees it
    /// late, because it was stopped or its copy came late, does not begin again with what was on trial in the fleet meanwhile
    /// ([`FollowError::Tried`]): bytes that the fleet has exposed, under whatever name and whatever became of them, are staged by a person or not at all.
    ///
    /// Where whoever has staged a version ends before its plan is run, or cannot take off what it has staged, whoever follows goes on with it a minute
    /// later, by its own plan and guards: another process of the fleet, or the next one of this state.
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
        let missed = if policy == OnPublish::Tell { Vec::new() } else { self.missed(&served)? };
        self.tries_from_now_on(&policy);
        Ok(Follow {
            handle: self.clone(),
            served,
            watch,
            policy,
            guards: Box::new(guards),
            again: OrderedSet::default(),
            waiting: OrderedSet::default(),
            later: Vec::new(),
            left: Vec::new(),
            removed: VecDeque::new(),
            missed,
            told: VecDeque::new(),
        })
    }

    /// Notes for the next process since when what is published is tried.
    #[cfg_attr(not(feature = "state"), allow(unused_variables, reason = "nothing is written down"))]
    fn tries_from_now_on(&self, policy: &OnPublish) {
        #[cfg(feature = "state")]
        if *policy != OnPublish::Tell {
            let now = self.inner.serving.clock.now();
            self.inner.control.lock().followed.get_or_insert(now);
        }
    }

    /// Versions that are not in use and were made since it was last looked at what is published, as far as the process before this one has written that
    /// down, the newest last; none once somebody has looked at them.
    #[cfg(feature = "state")]
    fn missed(&self, served: &Served<I, O>) -> Result<Vec<VersionId>, RepositoryError> {
        let (inner, now) = (&self.inner, self.inner.serving.clock.now());
        let Some(stood) = inner.control.lock().stood else { return Ok(Vec::new()) };
        let made = |entry: Entry| Some((entry.manifest?.created.0, entry.version));
        let all = served.repository().versions(served.model())?.into_iter().filter_map(made);
        // What is made later than now is of another clock, as where recorded traffic is replayed.
        let mut missed: Vec<_> = all.filter(|(made, _)| (stood..=now).contains(made)).collect();
        missed.sort_by_key(|(made, _)| *made);
        let control = &*inner.control.lock();
        Ok(missed
            .into_iter()
            .map(|(_, version)| version)
            .filter(|version| !control.is_in_use(*version))
            .collect())
    }

    #[cfg(not(feature = "state"))]
    fn missed(&self, _: &Served<I, O>) -> Result<Vec<VersionId>, RepositoryError> {
        Ok(Vec::new())
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> Follow<I, O> {
    /// Has what is looked at from now on tried by another policy and other guards, such as those of a file that was changed. Nothing that
    /// was seen, waits or is tried again later is forgotten; to [`follow`](ModelHandle::follow) anew would be to begin with what lies in
    /// the repository by then, and what came since the last [`poll`](Self::poll) would be tried by nobody. A rollout that runs keeps its
    /// plan and its guards.
    ///
    /// ```no_run
    /// # use switchback::versions::{Follow, OnPublish};
    /// # use switchback::{Plan, guard};
    /// # fn changed(follow: &mut Follow<f32, f32>) -> Result<(), Box<dyn std::error::Error>> {
    /// let slower = OnPublish::Run(Plan::ramp([0.001, 0.01, 0.1])?);
    /// follow.set_policy(slower, |rollout| rollout.guard(guard::error_rate().at_most(0.005)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_policy(
        &mut self,
        policy: OnPublish,
        guards: impl Fn(Rollout<I, O>) -> Rollout<I, O> + Send + 'static,
    ) {
        self.guards = Box::new(guards);
        self.policy = policy;
        self.handle.tries_from_now_on(&self.policy);
    }

    /// How long nothing about a version may change before it is taken to be whole: see [`Watch::settled_after`].
    pub fn settled_after(self, settled_after: Duration) -> Self {
        Self { watch: self.watch.settled_after(settled_after), ..self }
    }

    /// Follows only what has a manifest: see [`Watch::listed_only`].
    pub fn listed_only(self) -> Self {
        Self { watch: self.watch.listed_only(), ..self }
    }

    /// Returns what has changed since the last time, and what was done about it. Loads what it stages, and waits for
    /// that.
    ///
    /// # Errors
    ///
    /// The repository cannot be looked at. The next time tells all that has changed until then.
    pub fn poll(&mut self) -> Result<Vec<Followed>, RepositoryError> {
        let looked = self.handle.inner.serving.clock.now();
        let changes = self.watch.poll()?;
        let mut all = Vec::with_capacity(changes.len());
        let mut missed = std::mem::take(&mut self.missed);
        // Whoever looks has looked at it for all of this life, whether there was anything or not.
        if self.policy != OnPublish::Tell && !self.takes_missed() {
            missed.clear();
        }
        while let Some(version) = missed.pop() {
            let done = self.try_version(version, true);
            // What the process before had dealt with, while an older one waited, takes nothing from that.
            let is_new = !matches!(
                done,
                Err(FollowError::Tried { .. } | FollowError::Stage(StageError::InUse { .. }))
            );
            all.push(self.told(Followed { done, change: Change::Added { version } }));
            if is_new {
                let why =
                    format!("it was not tried by the process before, and nor was {version}, which is newer");
                std::mem::take(&mut missed)
                    .into_iter()
                    .for_each(|older| self.tell_refusal(older, why.clone()));
            }
        }
        for change in changes {
            let followed = Followed { done: self.act(&change), change };
            all.push(self.told(followed));
        }
        if !self.handle.inner.control.lock().is_standby() {
            for version in std::mem::take(&mut self.waiting) {
                let done = self.try_version(version, true);
                all.push(self.told(Followed { done, change: Change::Added { version } }));
            }
        }
        for version in self.due_again() {
            let done = self.try_version(version, false);
            // The same again was told, and is waited for.
            if !done.as_ref().is_err_and(may_pass) {
                all.push(self.told(Followed { done, change: Change::Added { version } }));
            }
        }
        for (number, version) in self.left_staged() {
            let done = self.go_on_with(number, version);
            all.push(self.told(Followed { done, change: Change::Added { version } }));
        }
        self.has_looked(looked);
        Ok(all)
    }

    /// Notes for the next process when it was looked, where nothing is left that it would have to know of.
    #[cfg_attr(not(feature = "state"), allow(unused_variables, reason = "nothing is written down"))]
    fn has_looked(&self, at: Timestamp) {
        #[cfg(feature = "state")]
        if self.waiting.is_empty() && self.later.is_empty() && !self.watch.awaits() {
            let followed = &mut self.handle.inner.control.lock().followed;
            // Where it is told alone that is what becomes of it. A life that tells after one that has tried is no life that did not look.
            if self.policy != OnPublish::Tell || followed.is_some() {
                *followed = Some(at);
            }
        }
    }

    /// Whether anything can be agreed on and written down, as far as is known here: nothing is loaded for a try that comes to nothing.
    fn may_agree(&self) -> bool {
        self.handle.inner.reaches_fleet() && self.handle.inner.writes()
    }

    /// What could not be agreed on or written down when it came, and may be now.
    fn due_again(&self) -> Vec<VersionId> {
        let now = self.handle.inner.serving.clock.now();
        if !self.may_agree() {
            return Vec::new();
        }
        self.later.iter().filter(|later| now >= later.next).map(|later| later.version).collect()
    }

    /// What was staged for a plan and is left without one for so long that whoever staged it does not give it any more.
    fn left_staged(&mut self) -> Vec<(u32, VersionId)> {
        let (inner, now) = (&self.handle.inner, self.handle.inner.serving.clock.now());
        if !matches!(self.policy, OnPublish::Run(_)) || !self.may_agree() {
            return Vec::new();
        }
        let control = &*inner.control.lock();
        let waits = |attempt: &&Attempt| attempt.for_plan && is_left(attempt) && !attempt.state.paused;
        let all: Vec<(u32, VersionId)> =
            control.attempts.iter().filter(waits).map(|attempt| (attempt.number, attempt.version)).collect();
        self.left.retain(|(number, _)| all.iter().any(|(left, _)| left == number));
        let mut due = Vec::new();
        for (number, version) in all.into_iter().filter(|_| !control.is_standby()) {
            match self.left.iter_mut().find(|(left, _)| *left == number) {
                Some((_, since)) if now.since(*since) >= LEFT => {
                    *since = now;
                    due.push((number, version));
                }
                Some(_) => {}
                None => self.left.push((number, now)),
            }
        }
        due
    }

    /// Runs what somebody has staged for a plan, as if this one had.
    fn go_on_with(&mut self, number: u32, version: VersionId) -> Result<(), FollowError> {
        let OnPublish::Run(plan) = &self.policy else { return Ok(()) };
        let rollout = Rollout::new(self.handle.clone(), number, version);
        if self.was_tried(&rollout) {
            self.unstage(&rollout, "it was tried before");
            return Err(FollowError::Tried { version });
        }
        let done = self.run(rollout, plan).map_err(|error| {
            let control = &*self.handle.inner.control.lock();
            let goes_on = control.attempt(number).is_some_and(|attempt| !is_left(attempt));
            if goes_on { StageError::InUse { version }.into() } else { error }
        });
        self.remember(version, &done, None);
        done
    }

    /// What is tried again, and when, of what has come of a try that was made `after` another one, where it was.
    fn remember(&mut self, version: VersionId, tried: &Result<(), FollowError>, after: Option<Later>) {
        match tried {
            Ok(()) => self.removed.retain(|removed| *removed != version),
            Err(FollowError::Stage(StageError::Standby)) => drop(self.waiting.insert(version)),
            // A person has had it taken off, or a guard has.
            Err(FollowError::Tried { .. }) => {}
            Err(error) if may_pass(error) => {
                let gap = after.map_or(LATER.0, |later| (later.gap * 2).min(LATER.1));
                let next = self.handle.inner.serving.clock.now().plus(gap);
                self.later.retain(|later| later.version != version);
                self.later.push(Later { version, next, gap });
            }
            Err(_) => drop(self.again.insert(version)),
        }
    }

    /// Whether nobody has looked at what was published while no process ran. From here on somebody has: what is tried once in a process is a
    /// person's to try again.
    fn takes_missed(&self) -> bool {
        #[cfg(feature = "state")]
        return self.handle.inner.control.lock().stood.take().is_some();
        #[cfg(not(feature = "state"))]
        false
    }

    /// Tells a refusal, where it is one that is to be told.
    fn told(&mut self, followed: Followed) -> Followed {
        if let Some((version, reason)) = refusal(&followed) {
            self.tell_refusal(version, reason);
        }
        followed
    }

    fn tell_refusal(&mut self, version: VersionId, reason: String) {
        let digest = self.served.repository().manifest_digest(self.served.model(), version);
        let refusal = (version, digest, reason);
        if self.told.contains(&refusal) {
            return;
        }
        if self.told.len() == TOLD_MAX {
            self.told.pop_front();
        }
        self.told.push_back(refusal.clone());
        let (version, digest, reason) = refusal;
        self.handle.inner.tell(EventKind::VersionRefused { version, digest, reason });
    }

    /// Waits until it is worth looking again, at the longest so long.
    pub fn wait(&self, longest: Duration) {
        self.watch.wait(longest);
    }

    fn act(&mut self, change: &Change) -> Result<(), FollowError> {
        if self.policy == OnPublish::Tell {
            return Ok(());
        }
        match change {
            Change::Added { version } => self.try_version(*version, false),
            Change::Settled { version } if self.again.contains(version) => self.try_version(*version, false),
            Change::Changed { version } => {
                self.take_off(*version);
                Ok(())
            }
            Change::Removed { version } => {
                self.again.remove(version);
                self.waiting.remove(version);
                self.later.retain(|later| later.version != *version);
                self.removed.retain(|removed| removed != version);
                if self.removed.len() == REMOVED_MAX {
                    self.removed.pop_front();
                }
                self.removed.push_back(*version);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether it has `waited` for the state: then whoever had that may have tried it. So may this process have, where it comes back, and any of a fleet.
    fn try_version(&mut self, version: VersionId, waited: bool) -> Result<(), FollowError> {
        self.again.remove(&version);
        let waits = self.later.extract_if(.., |later| later.version == version).last();
        let (came_back, in_fleet) = (self.removed.contains(&version), self.handle.inner.is_in_fleet());
        let staged = |rollout: Rollout<I, O>| {
            let why = match (came_back, waited) {
                (true, _) => "it was tried before it was removed and came back",
                (false, true) => "it was tried by the process that had the state before",
                (false, false) if in_fleet => "the fleet has tried it before",
                (false, false) => return Ok(rollout),
            };
            if !self.was_tried(&rollout) {
                return Ok(rollout);
            }
            self.unstage(&rollout, why);
            Err(FollowError::Tried { version })
        };
        let tried = match &self.policy {
            OnPublish::Tell => Ok(()),
            // Nothing is exposed: what waited for the state is staged as it would have been.
            OnPublish::Stage if !came_back && !in_fleet => self.stage(version).map(drop),
            OnPublish::Stage => self.stage(version).and_then(staged).map(drop),
            OnPublish::Run(plan) => {
                self.stage(version).and_then(staged).and_then(|rollout| self.run(rollout, plan))
            }
        };
        let tried = tried.map_err(|error| self.unless_in_use(version, error));
        self.remember(version, &tried, waits);
        tried
    }

    /// Whoever came too late because another process of the fleet has staged it is refused as one who comes later still.
    fn unless_in_use(&self, version: VersionId, error: FollowError) -> FollowError {
        let lost = matches!(error, FollowError::Stage(StageError::NotAgreed { .. }));
        if lost && self.handle.inner.control.lock().is_in_use(version) {
            return StageError::InUse { version }.into();
        }
        error
    }

    /// Guards what was staged and runs it. Where that is refused nothing of it stays in memory, under a name that can be staged no more.
    fn run(&self, rollout: Rollout<I, O>, plan: &Plan) -> Result<(), FollowError> {
        let (number, version) = (rollout.number, rollout.version);
        let waits = |rollout: &Rollout<I, O>| rollout.number == number && rollout.phase() == Phase::Staged;
        let mut ran = (self.guards)(rollout).run(plan.clone());
        for _ in 1..RUNS {
            // Others may decide something else in the moment in which a guard is agreed on: it is said again.
            let is_overtaken = matches!(ran, Err(RolloutError::NotAgreed { .. }));
            let Some(again) = self.handle.rollout(version.as_str()).filter(|it| is_overtaken && waits(it))
            else {
                break;
            };
            ran = (self.guards)(again).run(plan.clone());
        }
        // What could not be agreed on may be what others are about to go on with, and waits for its plan where nobody is.
        let is_refused = ran.as_ref().is_err_and(|error| !matches!(error, RolloutError::NotAgreed { .. }));
        if is_refused && let Some(rollout) = self.handle.rollout(version.as_str()).filter(waits) {
            self.unstage(&rollout, "its plan was refused");
        }
        ran.map_err(FollowError::from)
    }

    /// Takes off what this process has staged, unless somebody else has begun with it, such as another process of the fleet: so it is decided on
    /// what the fleet has agreed on, and not put over it.
    fn unstage(&self, rollout: &Rollout<I, O>, why: &str) {
        let inner = &self.handle.inner;
        let _ = inner.raise(Vec::new(), |control, desk| {
            if control.attempt(rollout.number).is_some_and(is_left) {
                let _ = control.lower(rollout.number, Cause::Operator { reason: why.into() }, desk);
            }
        });
    }

    /// Whether what is staged was exposed before, under any name.
    fn was_tried(&self, rollout: &Rollout<I, O>) -> bool {
        let control = &*self.handle.inner.control.lock();
        control.attempt(rollout.number).is_some_and(|attempt| control.was_tried(attempt.identity))
    }

    /// Takes a candidate off whose files have changed: what was loaded may have been half of it. What is live stays.
    fn take_off(&mut self, version: VersionId) {
        let waits = self.later.iter().any(|later| later.version == version);
        self.later.retain(|later| later.version != version);
        if self.waiting.remove(&version) || waits {
            self.again.insert(version);
        }
        let running = self.handle.rollout(version.as_str());
        if let Some(rollout) = running.filter(|rollout| rollout.phase() != Phase::Baking) {
            let _ = rollout
                .rollback("its files changed after it was opened, and it is opened anew once they are whole");
            self.again.insert(version);
        }
    }

    fn stage(&self, version: VersionId) -> Result<Rollout<I, O>, FollowError> {
        let (served, inner) = (Arc::clone(&self.served), Arc::clone(&self.handle.inner));
        let open = move || {
            let (_, model) = served.open(version.as_str())?;
            // The host's code, or a file that is read: before anybody waits for the lock.
            let identity = model.identity();
            // As far as it is known here already; what was agreed on meanwhile is looked at once it is staged.
            if inner.is_in_fleet() && inner.control.lock().was_tried(identity) {
                return Err(FollowError::Tried { version });
            }
            Ok(model)
        };
        let open = move || match open() {
            Ok(model) => Ok(Box::new(model) as Box<dyn Model<I, O>>),
            Err::<_, FollowError>(error) => Err(StageError::from(Box::from(error))),
        };
        let for_plan = matches!(self.policy, OnPublish::Run(_));
        self.handle.stage_opened_by(version.as_str(), for_plan, open).map_err(|error| match error {
            StageError::Open(cause) => match cause.downcast_ref::<FollowError>() {
                Some(error) => error.clone(),
                None => StageError::Open(cause).into(),
            },
            error => error.into(),
        })
    }
}

/// Whether nobody has begun with what was staged.
fn is_left(attempt: &Attempt) -> bool {
    attempt.state.phase == Phase::Staged && attempt.plan.is_none()
}

/// Whether it is no fault of the version's that it was not tried, and may pass by itself.
fn may_pass(error: &FollowError) -> bool {
    matches!(
        error,
        FollowError::Stage(StageError::NotAgreed { .. } | StageError::TooMany)
            | FollowError::Rollout(RolloutError::NotAgreed { .. } | RolloutError::NotRecorded { .. })
    )
}

/// Which version is not tried, and why, where that is to be told: not where the fault is none of the version's, and is told
/// elsewhere.
fn refusal(followed: &Followed) -> Option<(VersionId, String)> {
    match (&followed.change, &followed.done) {
        (Change::Broken { version, reason }, _) => Some((*version, bounded_text(reason.as_str()))),
        (_, Err(FollowError::Stage(StageError::InUse { .. } | StageError::Standby | StageError::Closed))) => {
            None
        }
        (Change::Added { version } | Change::Settled { version }, Err(error)) => {
            Some((*version, in_full(error)))
        }
        _ => None,
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

//! One attempt to replace live, as its owner sees it.

use std::sync::Arc;

use thiserror::Error;

use super::core::Core;
use super::handle::ModelHandle;
use super::status::RolloutStatus;
use crate::base::causes::debug_as_told;
use crate::base::guarded::Contained;
use crate::base::invalid::ArgumentError;
use crate::base::share::{Share, ShareError, share_of};
use crate::base::text::{bounded_text, list};
use crate::control::attempt::{Attempt, Refusal, Refused, Said, is_truthful};
use crate::control::control::Control;
use crate::control::desk::Desk;
use crate::control::event::{Cause, EventKind};
use crate::control::moves::RollbackOutcome;
use crate::model::identity::Identity;
use crate::model::model::Model;
use crate::request::ahead::Back;
use crate::request::recall::Recall;
use crate::rollout::allocation::{Allocating, Allocation};
use crate::rollout::decision::Recording;
use crate::rollout::guard::guard::Guard;
use crate::rollout::guard::needs::Needs;
use crate::rollout::guard::{IntoGuard, Rule, RuleError, Stated};
use crate::rollout::phase::Phase;
use crate::rollout::plan::{Bake, Exposure, Plan, PlanError, Step};
use crate::rollout::transition::{Input, TransitionError};
use crate::stats::Metric;
use crate::task::outcome::Truth;
use crate::task::task::TaskKind;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;
use crate::version::prepare::StageError;

/// An attempt to replace live with a staged version, driven by hand or by a [`Plan`].
///
/// Dropping this changes nothing: the attempt goes on, and `status()` tells of it. Clones drive the same attempt, and so does whatever
/// [`rollout`](ModelHandle::rollout) returns by name.
///
/// It holds the handle, as a clone of that does: where it is stored beside one, whichever goes last ends the threads, and waits for them for up
/// to ten seconds. [Close](ModelHandle::close) the handle before, or keep the name in place of this.
#[must_use = "a staged version takes no traffic until its rollout is driven"]
pub struct Rollout<I: ?Sized + 'static, O: 'static> {
    pub(crate) handle: ModelHandle<I, O>,
    pub(crate) number: u32,
    pub(super) version: VersionId,
    /// The routing table at which exposure may be raised, where it is not any.
    epoch: Option<u64>,
}

/// A plan with its steps.
pub(super) struct Followed {
    pub(super) plan: Plan,
    /// Guards that it brings, where its steps were chosen.
    pub(super) rules: Vec<Rule>,
    /// What is told of that.
    pub(super) told: Vec<EventKind>,
}

impl Followed {
    pub(super) fn as_said(plan: Plan) -> Self {
        Self { plan, rules: Vec::new(), told: Vec::new() }
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> ModelHandle<I, O> {
    /// Loads a version, checks it and warms it up, and waits until that is done. It takes no traffic yet: what comes back
    /// tries it.
    ///
    /// It does live no harm: it is done on a thread of [low priority](crate::options::Threads::load_priority), and held back between its
    /// steps while live's p99 stands a quarter above what it was before, up to ten seconds. An [event](EventKind::Loaded) tells what live's p99 was
    /// before, during and after. [`cancel_staging`](Self::cancel_staging) gives it up.
    ///
    /// It waits for ten minutes at the longest ([`Limits::staging_deadline`](crate::options::Limits::staging_deadline)). Code of the
    /// version's that does not return keeps its thread then, which is [left behind](crate::status::ThreadStatus::abandoned); no
    /// more than eight are at one time. Where it returns after all, what it made is dropped on that thread.
    ///
    /// # Errors
    ///
    /// Returns whatever is wrong with the version or its name. Nothing has changed then.
    pub fn stage(
        &self,
        name: impl AsRef<str>,
        model: impl Model<I, O> + 'static,
    ) -> Result<Rollout<I, O>, StageError> {
        self.stage_opened_by(name.as_ref(), false, move || Ok(Box::new(model)))
    }

    /// Like [`stage`](Self::stage), and opens the version on that thread as well: reading and hashing a model of 100 MB takes a
    /// core for 0.1 s.
    ///
    /// ```no_run
    /// use switchback::model::onnx::{OnnxModel, Tensors};
    /// # fn stage(handle: switchback::ModelHandle<Tensors, Tensors>) -> Result<(), Box<dyn std::error::Error>> {
    /// let rollout = handle.stage_with("v2", || OnnxModel::from_file("fraud/2/model.onnx"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `stage`, and [`StageError::Open`] with whatever error `open` gives; a [`LoadError`](crate::model::LoadError) stays
    /// what it is.
    pub fn stage_with<M, E>(
        &self,
        name: impl AsRef<str>,
        open: impl FnOnce() -> Result<M, E> + Send + 'static,
    ) -> Result<Rollout<I, O>, StageError>
    where
        M: Model<I, O> + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.stage_opened_by(name.as_ref(), false, move || {
            Ok(Box::new(open().map_err(|error| StageError::from(error.into()))?))
        })
    }

    /// Stages a version; `for_plan` where whoever does so is about to run a plan, so that somebody goes on with it should that never happen.
    pub(super) fn stage_opened_by(
        &self,
        name: &str,
        for_plan: bool,
        open: impl FnOnce() -> Result<Box<dyn Model<I, O>>, StageError> + Send + 'static,
    ) -> Result<Rollout<I, O>, StageError> {
        let id = VersionId::new(name)?;
        let inner = &self.inner;
        // Looked at before it is loaded, which takes a while, and after, when all of it may be otherwise.
        let may_begin = |control: &Control| {
            if control.closed {
                return Err(StageError::Closed);
            }
            if control.is_standby() {
                return Err(StageError::Standby);
            }
            if control.is_in_use(id) {
                return Err(StageError::InUse { version: id });
            }
            Ok(())
        };
        may_begin(&inner.control.lock())?;
        let version: Arc<dyn AnyVersion> = Arc::new(inner.prepare_aside(id, open)?);
        let shadow = inner.serving.shadow_counts();
        inner.bring_to_fleet(&version);
        let begin = |control: &mut Control, desk: Desk<'_>| {
            may_begin(control)?;
            let number = control.begin(&version, shadow, desk.now).ok_or(StageError::TooMany)?;
            if let Some(attempt) = control.attempt_mut(number) {
                attempt.for_plan = for_plan;
            }
            Ok::<u32, StageError>(number)
        };
        let acting =
            |control: &mut Control, desk: Desk<'_>| self.acting(|control| begin(control, desk))(control);
        let staged = inner.raise(Vec::new(), acting);
        inner.traces.emit();
        let number = staged.map_err(|reason| StageError::NotAgreed { version: id, reason })??;
        Ok(Rollout::new(self.clone(), number, id))
    }
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Gives up [staging](Self::stage) a version, from another thread: `stage` returns [`LoadError::Cancelled`] at once, whatever
    /// the version is doing, and its name is free again. A step that has begun, such as making a session, is finished on its
    /// thread, and what it made is dropped there. Whether such a version was being staged; where one was, it is not staged.
    ///
    /// [`LoadError::Cancelled`]: crate::model::LoadError::Cancelled
    pub fn cancel_staging(&self, version: impl AsRef<str>) -> bool {
        let version = version.as_ref();
        self.inner.cancel_load(|id| id == *version)
    }
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// The rollout that tries a version of this name, if one runs: after a start, to go on driving it.
    pub fn rollout(&self, version: impl AsRef<str>) -> Option<Rollout<I, O>> {
        let version = version.as_ref();
        let running = {
            let control = &*self.inner.control.lock();
            let mut attempts = control.attempts.iter();
            attempts
                .find(|attempt| attempt.version == *version)
                .map(|attempt| (attempt.number, attempt.version))
        };
        running.map(|(number, version)| Rollout::new(self.clone(), number, version))
    }

    /// The rollout of a version of this name by what a fleet has agreed on, for whoever lowers it: this process may not be able to open it.
    pub(crate) fn rollout_in_fleet(&self, version: &str) -> Option<Rollout<I, O>> {
        let (number, version) = self.inner.on_trial_in_all(version)?;
        Some(Rollout::new(self.clone(), number, version))
    }

    /// Divides traffic among several rollouts' candidates and live, by how they do: see [`Allocation`]. Their guards go on
    /// judging, and whoever is taken off leaves its share to the others. A rollout whose plan is paused goes on, and that plan is over: it is
    /// moved by the allocation, until it is taken off or [`run`](Rollout::run) gives it a plan again. During a [`freeze`](Self::freeze) all keep the shares that they have,
    /// and one that is [paused](Rollout::pause) is given no more than it has; whoever is worse is taken off all the same. Candidates that are not among them keep what they have: what is
    /// divided is what they leave.
    ///
    /// It ends with the process. A start goes on with the rollouts and not with the allocation: candidates keep the shares that they had, an
    /// [event](EventKind::AllocationEnded) says which, and this, asked again, divides anew.
    ///
    /// # Errors
    ///
    /// Nobody ticks this handle; a rollout is over, follows a plan, has a guard that was refused, is quarantined, is given twice or is another handle's; the
    /// figure cannot be gone by, or the floor not be kept among so many versions, or beside the candidates that are not among them. Nothing has
    /// changed then.
    pub fn allocate(&self, allocation: Allocation, rollouts: &[&Rollout<I, O>]) -> Result<(), RolloutError> {
        let mut attempts = Vec::new();
        for rollout in rollouts {
            let version = rollout.version;
            if !Arc::ptr_eq(&rollout.handle.inner, &self.inner) {
                return Err(RolloutError::AnotherHandle { version });
            }
            if attempts.contains(&rollout.number) {
                return Err(RolloutError::GivenTwice { version });
            }
            rollout.check()?;
            attempts.push(rollout.number);
        }
        self.inner.allocate(allocation, attempts)
    }
}

impl<I: ?Sized + 'static, O: 'static> Rollout<I, O> {
    pub(crate) fn new(handle: ModelHandle<I, O>, number: u32, version: VersionId) -> Self {
        Self { handle, number, version, epoch: None }
    }

    /// Raises exposure at this routing table alone.
    pub(crate) fn at_epoch(self, epoch: Option<u64>) -> Self {
        Self { epoch, ..self }
    }

    /// Says what the version is meant to achieve, as it was found when it was published: what
    /// [`as_promised`](crate::guard::as_promised) holds it to. Before that guard is added. Said again of a metric, it is the
    /// last that holds.
    ///
    /// A value that is no number is kept nowhere, and whatever would expose the candidate returns it as an error, as it does with a
    /// [guard](Self::guard) that is refused.
    pub fn promised(self, metric: Metric, value: f64) -> Self {
        let what = format!("the promised {}", metric.name());
        if !value.is_finite() {
            let refused = ArgumentError::new(what.clone(), value, "a number");
            return self.refuse(what, Refusal::Promise(refused));
        }
        let promised = self.configure(|control, _| {
            if let Some(attempt) = control.attempt_mut(self.number) {
                attempt.promised.retain(|(before, _)| *before != metric);
                attempt.promised.push((metric, value));
            }
        });
        self.unless_refused(what, promised)
    }

    /// Adds a guard. One that could never judge here is refused when the candidate is to be exposed. One that is added
    /// after the candidate was exposed begins the evidence anew, as another try of its identity.
    ///
    /// A rule that is there already, the same in all that it says, is there once, takes one share of the error budget, and begins
    /// nothing anew where it is said again. Guards of the host's own are each asked, whatever they are called; figures have one
    /// series for those of one name, with the worst of their verdicts.
    ///
    /// What makes a guard of this crate's may be refused, and is given here as it comes: `.guard(guard::latency(0.99)
    /// .at_most_times_live(1.5))`. Each guard that is refused is kept with the attempt, whoever drives it, and whatever would expose the
    /// candidate more returns the first of them instead: [`run`](Self::run), [`shadow`](Self::shadow), [`canary`](Self::canary),
    /// [`promote`](Self::promote), [`resume`](Self::resume). One that could not judge is forgotten once a guard of its name is added that
    /// can. A limit that makes no sense is no guard and has no name: it is kept as long as the attempt, so stage the version again. After a start, and to the other processes of a fleet, it is a guard that is
    /// [missing](RolloutError::GuardsMissing).
    pub fn guard(self, guard: impl IntoGuard) -> Self {
        let guard = match guard.into_guard() {
            Ok(guard) => guard,
            Err(error) => return self.refuse(bounded_text(error.to_string()), Refusal::Rule(error)),
        };
        let inner = &self.handle.inner;
        let asked = inner
            .serving
            .shadow_judge()
            .guarded(|| (bounded_text(guard.name()), guard.needs(), stated(&guard)));
        let (name, needs, stated) = match asked {
            Ok(asked) => asked,
            Err(error) => return self.refuse("a guard of the host's", Refusal::Guard(error.to_string())),
        };
        let (looks, truthful) = (needs.drift, is_truthful(&needs));
        let is_rule = matches!(stated, Some(Stated::Rule(_)));
        let hosts = || Said::Hosts { name: name.clone(), looks, truthful };
        let said = stated.map_or_else(hosts, Said::Stated);
        let (name, is_hosts) = (said.name(), matches!(said, Said::Hosts { .. }));
        let cannot = self
            .cannot_be_agreed(is_rule, looks)
            .or_else(|| inner.cannot_give([self.handle.live(), self.version], &needs));
        let add = || self.add(Arc::new(Contained::new(guard)), said);
        match cannot.map_or_else(add, |reason| Ok(Err(reason))) {
            Ok(Err(reason)) => self.refuse(name, Refusal::Guard(reason)),
            // Nothing is wrong with the guard.
            Err(reason) => self.unless_refused(name, Err(reason)),
            // As often as it was added, and no more: another one of its name may be missing still.
            Ok(Ok(())) if is_hosts => self,
            Ok(Ok(())) => self.unless_refused(name, Ok(())),
        }
    }

    /// Adds guards, such as those of a configuration, each as [`guard`](Self::guard) does.
    pub fn guards(self, guards: impl IntoIterator<Item = impl IntoGuard>) -> Self {
        guards.into_iter().fold(self, Self::guard)
    }

    /// Why it could not be agreed on; and why it is refused, where it is.
    fn add(&self, guard: Arc<dyn Guard>, said: Said) -> Result<Result<(), String>, String> {
        let inner = &self.handle.inner;
        let setting = inner.setting();
        self.configure(|control, desk| {
            let Some(attempt) = control.attempt_mut(self.number) else { return Ok(()) };
            // Of what is agreed on: here it may not be exposed yet.
            if inner.is_in_fleet() && attempt.state.phase != Phase::Staged {
                return Err(String::from(
                    "the guards of a rollout that runs in a fleet are agreed on: abort it, and stage it again with this one",
                ));
            }
            let mut is_new = false;
            let missing = attempt.missing.len();
            let expanded = match &said {
                Said::Stated(Stated::Rule(rule)) => rule.expanded(&attempt.promised),
                _ => None,
            };
            match expanded {
                // One for each figure that was promised.
                Some(rules) if !attempt.promised.is_empty() => {
                    for rule in rules.map_err(|error| error.to_string())? {
                        let said = Said::Stated(Stated::Rule(rule.clone()));
                        is_new |= attempt.add_guard(Arc::new(rule), said, &setting)?;
                    }
                }
                // Ours outlives the lock: dropping a guard is the host's code.
                _ => is_new = attempt.add_guard(Arc::clone(&guard), said, &setting)?,
            }
            if attempt.state.phase == Phase::Baking && attempt.state.paused && attempt.missing.len() < missing {
                attempt.state.last_anew(desk.now);
            }
            if is_new {
                control.begin_anew(self.number, GUARDS_CHANGED, desk);
            }
            Ok(())
        })
    }

    /// Says something of the attempt: here or, in a fleet, to all.
    fn configure<T>(&self, change: impl FnOnce(&mut Control, Desk<'_>) -> T) -> Result<T, String> {
        let inner = &self.handle.inner;
        if inner.is_in_fleet() {
            inner.raise(Vec::new(), change)
        } else {
            Ok(self.handle.change(|control| change(control, inner.desk(inner.serving.clock.now()))))
        }
    }

    /// Keeps with the attempt what does not hold: it is told where the candidate is to be exposed.
    fn refuse(self, what: impl Into<String>, why: Refusal) -> Self {
        let refused = Refused { what: what.into(), why };
        let is_guard = matches!(refused.why, Refusal::Rule(_) | Refusal::Guard(_));
        let refuse = |control: &mut Control| {
            if let Some(attempt) = control.attempt_mut(self.number) {
                attempt.refuse(refused.clone());
            }
        };
        self.handle.lower(refuse);
        // Whoever it is that exposes it. One that runs in a fleet goes on with what was agreed on.
        if is_guard && self.handle.inner.is_in_fleet() && self.phase() == Phase::Staged {
            // Where the store is not to be asked, it is refused here all the same.
            let _ = self.handle.inner.raise(Vec::new(), |control, _| {
                // By what is agreed on: others may have begun with it since this one has heard of them.
                if control.attempt(self.number).is_some_and(|attempt| attempt.state.phase == Phase::Staged) {
                    refuse(control);
                }
            });
        }
        self
    }

    /// Keeps what could not be agreed on as refused, and forgets that something of that name was.
    fn unless_refused(self, what: String, said: Result<(), String>) -> Self {
        match said {
            Err(reason) => self.refuse(what, Refusal::NotAgreed(reason)),
            Ok(()) => {
                self.handle.change(|control| {
                    if let Some(attempt) = control.attempt_mut(self.number) {
                        attempt.is_well_said(&what);
                    }
                });
                self
            }
        }
    }

    /// How the candidate is watched once it is live, for a promotion by hand; a plan brings its own.
    ///
    /// One that is to keep the version before as a shadow, on a handle that does not shadow, is refused where the candidate is to be exposed.
    pub fn bake(self, bake: Bake) -> Self {
        let what = String::from("how it is watched once it is live");
        if bake.shadows() && self.handle.inner.serving.shadow.is_none() {
            return self.refuse(what, Refusal::NoShadowing);
        }
        let baked = self.configure(|control, _| {
            if let Some(attempt) = control.attempt_mut(self.number) {
                attempt.bake = bake;
            }
        });
        self.unless_refused(what, baked)
    }

    /// Exposes the candidate as a shadow of this share of live's requests, by hand: a [`Share`], or a number between 0 and 1.
    ///
    /// # Errors
    ///
    /// See [`RolloutError`]. Nothing has changed then.
    pub fn shadow(&self, sample: impl TryInto<Share, Error: Into<ShareError>>) -> Result<(), RolloutError> {
        if self.handle.inner.serving.shadow.is_none() {
            return Err(RolloutError::NoShadowing);
        }
        self.by_hand(Input::Shadow(share_of(sample)?))
    }

    /// Has the candidate answer this share of the requests, by hand: a [`Share`], or a number between 0 and 1. Where live has less than that left to give,
    /// because of other candidates, it is an error.
    ///
    /// # Errors
    ///
    /// See [`RolloutError`]. Nothing has changed then.
    pub fn canary(&self, weight: impl TryInto<Share, Error: Into<ShareError>>) -> Result<(), RolloutError> {
        self.by_hand(Input::Canary(share_of(weight)?))
    }

    /// Makes the candidate live, by hand. The version that was live is retained.
    ///
    /// # Errors
    ///
    /// See [`RolloutError`]. Nothing has changed then.
    pub fn promote(&self) -> Result<(), RolloutError> {
        self.by_hand(Input::Promote)
    }

    /// Follows a plan from here on or, during a [`freeze`](ModelHandle::freeze), once that is over. A rollout that is paused goes on.
    /// A candidate of an [allocation](ModelHandle::allocate) leaves it to the others: what moves a rollout is one or the other.
    ///
    /// # Errors
    ///
    /// Besides what can be wrong with the plan: nothing guards the rollout ([`Plan::unguarded`] says that this is meant),
    /// a guard that it had before a start is not here ([`GuardsMissing`](RolloutError::GuardsMissing)), nobody ticks this handle, the
    /// version's identity did harm before, or its first step asks for more than other candidates leave. What a later step asks for is waited for ([`WaitsForRoom`](EventKind::WaitsForRoom)).
    /// Nothing has changed then. A plan that cannot be decided is no error: an
    /// [event](crate::events::EventKind::Undecidable) says so, and it is run.
    pub fn run(&self, plan: Plan) -> Result<(), RolloutError> {
        self.check()?;
        let inner = &self.handle.inner;
        if !inner.driven {
            return Err(RolloutError::NobodyTicks);
        }
        let automatic = plan.budget().is_some();
        if !automatic && !plan.is_unguarded() && !self.is_guarded() {
            return Err(RolloutError::Unguarded);
        }
        self.may_follow(&inner.control.lock())?;
        let Followed { plan, rules, told } = self.chosen(plan)?;
        let shadows = plan.steps().iter().any(|step| matches!(step.exposure(), Exposure::Shadow { .. }));
        if plan.needs_shadowing() && inner.serving.shadow.is_none() {
            return Err(RolloutError::NoShadowing);
        }
        let warning = if automatic { None } else { self.undecidable(&plan) };
        let untold = shadows && matches!(inner.serving.joins.truth(), Truth::CausedByAnswer);
        if let (true, Some(name)) = (untold, self.truthful()) {
            let reason = String::from(
                "the truth exists only for what was shown, so a shadow never has any: start the plan with a canary",
            );
            return Err(RolloutError::Guard { name, reason });
        }
        let setting = inner.setting();
        let unguarded = plan.is_unguarded();
        let first = plan.steps().first().map(Step::exposure);
        let warning = warning.map(|forecast| EventKind::Undecidable { version: self.version, forecast });
        self.raise(vec![self.number], |control, desk| {
            self.may_follow(control)?;
            if let Some(attempt) = control.attempt(self.number).filter(|_| !unguarded) {
                has_its_guards(attempt)?;
            }
            if let (Some(Exposure::Canary { weight }), None) = (first, &control.frozen) {
                let left = control.room_left(self.number);
                if weight > left {
                    return Err(RolloutError::NotEnoughLeft { weight, left });
                }
            }
            let mut is_new = false;
            for rule in rules {
                let (name, guard) = (rule.name(), Arc::new(rule.clone()));
                let Some(attempt) = control.attempt_mut(self.number) else { break };
                let added = attempt.add_guard(guard, Said::Stated(Stated::Rule(rule)), &setting);
                is_new |= added.map_err(|reason| RolloutError::Guard { name, reason })?;
            }
            if is_new {
                control.begin_anew(self.number, GUARDS_CHANGED, desk);
            }
            for event in told.into_iter().chain(warning) {
                control.announcer.announce(desk.now, control.epoch, event);
            }
            // Not before: where it is refused they are missing as before.
            if let Some(attempt) = control.attempt_mut(self.number).filter(|_| unguarded) {
                attempt.missing.clear();
            }
            self.set_paused(control, false, |version| EventKind::Resumed { version });
            control.follow(self.number, plan, desk);
            Ok(())
        })
    }

    /// Whether anything guards the attempt; of one that is over it is not known, and something else refuses it.
    fn is_guarded(&self) -> bool {
        let control = &*self.handle.inner.control.lock();
        control.attempt(self.number).is_none_or(|attempt| !attempt.guards.is_empty())
    }

    /// One of its guards that judges by what turned out to be true.
    fn truthful(&self) -> Option<String> {
        let control = &*self.handle.inner.control.lock();
        let mut guards = control.attempt(self.number)?.guards.iter();
        guards.find(|guarded| guarded.said.is_truthful()).map(|guarded| guarded.said.name())
    }

    /// Whether the attempt may follow a plan.
    fn may_follow(&self, control: &Control) -> Result<(), RolloutError> {
        let Some(attempt) = control.attempt(self.number) else {
            return Err(control.over(self.number).into());
        };
        if attempt.state.phase == Phase::Baking {
            return Err(TransitionError::Over { phase: Phase::Baking }.into());
        }
        not_quarantined(control, attempt.identity)
    }

    /// Raises the exposure of attempts: where state is kept, once it is on disk that it will be.
    fn raise(
        &self,
        attempts: Vec<u32>,
        raise: impl FnOnce(&mut Control, Desk<'_>) -> Result<(), RolloutError>,
    ) -> Result<(), RolloutError> {
        let unchanged = |control: &Control| match self.epoch {
            Some(seen) if seen != control.epoch => {
                Err(RolloutError::EpochChanged { seen, epoch: control.epoch })
            }
            _ => Ok(()),
        };
        let is_in_fleet = self.handle.inner.is_in_fleet();
        let acting = |control: &mut Control, desk: Desk<'_>| {
            if is_in_fleet {
                // A fleet agrees on a head, which has no epoch: it is this process's table that is compared, and by now what was agreed on is
                // true in it.
                unchanged(&self.handle.inner.control.lock())?;
            } else {
                unchanged(control)?;
            }
            self.handle.acting(|control| raise(control, desk))(control)
        };
        let raised = self.handle.inner.raise(attempts, acting);
        self.handle.inner.traces.emit();
        raised.map_err(|reason| self.not_raised(reason))?
    }

    /// Why something was not written down, or not agreed on.
    fn not_raised(&self, reason: String) -> RolloutError {
        if self.handle.inner.is_in_fleet() {
            RolloutError::NotAgreed { reason }
        } else {
            RolloutError::NotRecorded { reason }
        }
    }

    /// Takes the candidate off or, where it is live and watched, live back to the version before, which is woken first where it
    /// has gone cold. Never refused, and what callers meet is lowered at once, whoever has the control side.
    pub fn rollback(&self, reason: impl Into<String>) -> RollbackOutcome {
        let cause = Cause::Operator { reason: bounded_text(reason) };
        let inner = &*self.handle.inner;
        let back = Back::Watched(self.number);
        let ahead = inner.serving.take_back(back);
        let lowered = self.handle.confirm_awake(back, ahead, |control, desk| {
            inner.lower_in_all(control, desk, |control, desk| control.lower(self.number, cause, desk))
        });
        inner.ring_for_upkeep();
        // Only one that is wanted by name is lost for good.
        lowered.unwrap_or(RollbackOutcome::Nothing)
    }

    /// The plan stands still: it may lower exposure and does not raise it, and the rollout can be moved by hand.
    ///
    /// # Errors
    ///
    /// The rollout is over.
    pub fn pause(&self, reason: impl Into<String>) -> Result<(), RolloutError> {
        let reason = bounded_text(reason);
        self.handle.lower(|control| {
            if control.attempt(self.number).is_none() {
                let is_on_trial = self.handle.inner.pause_in_all(control, self.number, reason);
                return if is_on_trial { Ok(()) } else { Err(control.over(self.number).into()) };
            }
            self.set_paused(control, true, |version| EventKind::Paused { version, reason });
            Ok(())
        })
    }

    /// The plan goes on. A candidate that was taken off because the process had crashed is exposed again as
    /// it was.
    ///
    /// # Errors
    ///
    /// Something that was said of it was refused (see [`guard`](Self::guard)); the rollout is over; its exposure cannot be written down (`Builder::state`), or it follows a plan or is part of an allocation and its identity did harm
    /// meanwhile, under whatever name; a guard that it had before a start is not here ([`GuardsMissing`](RolloutError::GuardsMissing)); or it is to
    /// shadow, and the handle does not since that start: it stays paused.
    pub fn resume(&self) -> Result<(), RolloutError> {
        self.check()?;
        let held = self.handle.inner.control.lock().attempt(self.number).and_then(|attempt| attempt.held);
        let raised = held.map(|_| self.number).into_iter().collect();
        self.raise(raised, |control, desk| {
            let allocated =
                || control.allocating.as_ref().is_some_and(|it| it.candidates().contains(&self.number));
            let attempt = control.attempt(self.number).ok_or_else(|| control.over(self.number))?;
            has_its_guards(attempt)?;
            if !control.settings.shadowing && attempt.needs_shadowing() {
                return Err(RolloutError::NoShadowing);
            }
            if attempt.plan.is_some() || allocated() {
                not_quarantined(control, attempt.identity)?;
            }
            let held = attempt.held;
            let resumed = self.set_paused(control, false, |version| EventKind::Resumed { version });
            if resumed && held.is_some() {
                control.expose_again(self.number, desk);
            }
            Ok(())
        })
    }

    /// Where the attempt stands.
    pub fn phase(&self) -> Phase {
        self.handle.inner.control.lock().phase_of(self.number)
    }

    /// The candidate.
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// The attempt's figures and evidence, brought up to date; `None` once it is so long over that it is forgotten.
    pub fn status(&self) -> Option<RolloutStatus> {
        let inner = &self.handle.inner;
        let now = inner.serving.clock.now();
        let control = &mut *inner.control.lock();
        control.collect(&inner.serving.joins, now);
        control.attempt_status(control.known_attempt(self.number)?, now)
    }

    /// The counts of the rollout as they are, so that other guards can be tried on what happened; `None` once it is so
    /// long over that it is forgotten.
    pub fn recording(&self) -> Option<Recording> {
        let inner = &self.handle.inner;
        let now = inner.serving.clock.now();
        let setting = inner.setting();
        let control = &mut *inner.control.lock();
        control.collect(&inner.serving.joins, now);
        control.recording(self.number, &setting)
    }

    /// Which predictions the version has answered for callers, as far as they are
    /// [remembered](crate::options::Retention::answers); `None` where none are.
    pub fn recall(&self) -> Option<Recall> {
        let inner = &self.handle.inner;
        let control = &mut *inner.control.lock();
        control.take_answers();
        control.recall(self.number)
    }

    fn by_hand(&self, input: Input) -> Result<(), RolloutError> {
        let inner = &self.handle.inner;
        if !inner.driven && !matches!(input, Input::Promote) {
            // Its lease would run out at once, in silence.
            return Err(RolloutError::NobodyTicks);
        }
        let raised = inner.control.lock().raised_by(self.number, &input);
        self.by_hand_raising(raised, input)
    }

    /// `raised`: the attempts that this raises, as far as was known before the turn to write was had.
    pub(super) fn by_hand_raising(&self, raised: Vec<u32>, input: Input) -> Result<(), RolloutError> {
        if !raised.is_empty() {
            self.check()?;
        }
        // A fleet agrees on all of it.
        let is_written = !raised.is_empty() || self.handle.inner.is_in_fleet();
        let mut unwritten = Vec::new();
        self.raise(raised, |control, desk| {
            let raises = control.raised_by(self.number, &input);
            if !raises.is_empty() {
                if !is_written {
                    unwritten = raises;
                    return Ok(());
                }
                if let Some(attempt) = control.attempt(self.number) {
                    has_its_guards(attempt)?;
                }
            }
            if let Input::Canary(weight) = input {
                let left = control.room_for(self.number);
                if weight > left {
                    return Err(RolloutError::NotEnoughLeft { weight, left });
                }
            }
            control.by_hand(self.number, input, desk)?;
            Ok(())
        })?;
        // Somebody has lowered it meanwhile: what raises is written down first.
        if unwritten.is_empty() { Ok(()) } else { self.by_hand_raising(unwritten, input) }
    }

    /// Whether all that was said of the attempt here holds.
    fn check(&self) -> Result<(), RolloutError> {
        let control = &*self.handle.inner.control.lock();
        let attempt = control.attempt(self.number).filter(|attempt| attempt.state.phase != Phase::Baking);
        attempt.and_then(|attempt| attempt.refused.first()).map_or(Ok(()), |refused| Err(told(refused)))
    }

    /// Whether that changed anything.
    fn set_paused(
        &self,
        control: &mut Control,
        paused: bool,
        event: impl FnOnce(VersionId) -> EventKind,
    ) -> bool {
        let Some(attempt) = control.attempt_mut(self.number) else { return false };
        if std::mem::replace(&mut attempt.state.paused, paused) == paused {
            return false;
        }
        attempt.state.wait_anew();
        control.begin_step_anew(self.number);
        let epoch = control.epoch;
        control.announcer.announce(self.handle.inner.serving.clock.now(), epoch, event(self.version));
        true
    }

    /// Why a fleet cannot agree on a guard.
    fn cannot_be_agreed(&self, is_rule: bool, looks: bool) -> Option<String> {
        let inner = &self.handle.inner;
        if !inner.is_in_fleet() {
            return None;
        }
        let reason = if looks {
            "windows of drift are each process's own, and their guards would spend the error in each: use an alert"
        } else if !is_rule {
            "a guard of the host's own cannot be sent to the other processes of the fleet: use those of this crate"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Why a guard that needs this can never judge these two versions here, live and another.
    pub(crate) fn cannot_give(&self, [live, other]: [VersionId; 2], needs: &Needs) -> Option<String> {
        if let Some(lacks) = self.setting().lacks(needs) {
            return Some(lacks);
        }
        if needs.pairs && self.serving.shadow.is_none() {
            return Some(String::from(
                "it judges pairs, and the handle does not shadow: add `.shadowing(Shadowing::new())` at build",
            ));
        }
        if !needs.drift {
            return None;
        }
        let Some(drift) = &self.serving.drift else { return Some(NOT_WATCHED.into()) };
        if !needs.estimated {
            return None;
        }
        if !matches!(self.serving.task.kind(), TaskKind::Binary { .. }) {
            return Some(String::from("quality is estimated of a yes or no alone: declare `Task::binary`"));
        }
        if drift.calibration(live).is_none() {
            return Some(format!(
                "it is not known what the scores of {live} mean: bring it along at build, with its `.calibration(..)` in the `Drift`"
            ));
        }
        drift.calibration(other).is_none().then(|| {
            format!(
                "it is not known what the scores of {other} mean: say `.calibrated(..)` of the rollout before"
            )
        })
    }

    /// See [`ModelHandle::allocate`].
    pub(crate) fn allocate(&self, allocation: Allocation, attempts: Vec<u32>) -> Result<(), RolloutError> {
        if !self.driven {
            return Err(RolloutError::NobodyTicks);
        }
        let name = allocation.figure();
        let refused = |reason: &str| RolloutError::Guard { name: name.clone(), reason: reason.into() };
        let design = allocation.design(&self.setting()).map_err(|reason| refused(&reason))?;
        if attempts.is_empty() {
            return Err(refused("there is no candidate to divide traffic among"));
        }
        allocation.check_among(attempts.len() + 1).map_err(RolloutError::Allocation)?;
        if self.is_in_fleet() {
            return Err(refused(
                "the processes of a fleet do not divide traffic by what each has seen: run a plan for each candidate",
            ));
        }
        let divide = |control: &mut Control, desk: Desk<'_>| {
            for number in &attempts {
                let attempt = control.attempt(*number).ok_or_else(|| control.over(*number))?;
                if attempt.plan.is_some() && !attempt.state.paused {
                    return Err(TransitionError::FollowsPlan.into());
                }
                if attempt.state.phase == Phase::Baking {
                    return Err(control.over(*number).into());
                }
                not_quarantined(control, attempt.identity)?;
                has_its_guards(attempt)?;
            }
            let now = desk.now;
            let (candidates, round) = (attempts.clone(), control.next_round);
            let gains = design.reads_gain();
            let allocating = Allocating::new(allocation, design.tested, gains, candidates, round, now);
            let left = control.room_of(&attempts).whole;
            if let Some(weight) = allocating.lacks_room(left) {
                return Err(RolloutError::NotEnoughLeft { weight, left });
            }
            control.begin_allocating(allocating, desk);
            Ok(())
        };
        let divided = self.raise(attempts.clone(), divide);
        divided.map_err(|reason| RolloutError::NotRecorded { reason })?
    }
}

impl<I: ?Sized + 'static, O: 'static> Clone for Rollout<I, O> {
    fn clone(&self) -> Self {
        let Self { handle, number, version, epoch } = self;
        Self { handle: handle.clone(), number: *number, version: *version, epoch: *epoch }
    }
}

impl<I: ?Sized + 'static, O: 'static> std::fmt::Debug for Rollout<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rollout")
            .field("version", &self.version)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

/// What a guard says that it is, where it is one of this crate's. Whoever has no rule and states one is the host's.
fn stated(guard: &impl Guard) -> Option<Stated> {
    let rule = guard.as_rule().cloned().map(Stated::Rule);
    rule.or_else(|| {
        let stated = guard.as_sentence()?.parse::<Stated>().ok()?;
        (!matches!(stated, Stated::Rule(_))).then_some(stated)
    })
}

/// What was refused, as it is told to whoever would expose the candidate.
fn told(refused: &Refused) -> RolloutError {
    match refused.why.clone() {
        Refusal::Rule(error) => RolloutError::Rule(error),
        Refusal::Guard(reason) => RolloutError::Guard { name: refused.what.clone(), reason },
        Refusal::Promise(error) => RolloutError::Argument(error),
        Refusal::NoShadowing => RolloutError::NoShadowing,
        Refusal::NotAgreed(reason) => RolloutError::NotAgreed { reason },
    }
}

/// Refuses what would have automation try an identity that did harm.
fn not_quarantined(control: &Control, identity: Identity) -> Result<(), RolloutError> {
    control.quarantine.get(&identity).map_or(Ok(()), |quarantined| {
        let (version, reason) = (quarantined.version, quarantined.reason.clone());
        Err(RolloutError::Quarantined { version, reason })
    })
}

/// Refuses what would expose a candidate without guards that it was to be tried with.
fn has_its_guards(attempt: &Attempt) -> Result<(), RolloutError> {
    if attempt.missing.is_empty() || attempt.state.phase == Phase::Baking {
        return Ok(());
    }
    let (version, guards) = (attempt.version, bounded_text(list(&attempt.missing, 0)));
    Err(RolloutError::GuardsMissing { version, guards })
}

const GUARDS_CHANGED: &str = "its guards were changed";

const NOT_WATCHED: &str = "it judges drift, and the handle does not watch it: add `.drift(..)` at build";

/// Why a rollout was not moved. Nothing has changed.
#[derive(Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// A number that is no share of traffic.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// Where the attempt stands, it cannot be done.
    #[error(transparent)]
    Refused(#[from] TransitionError),
    /// The plan cannot be followed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A number that makes no sense: what a forecast was to rest on, or what a version was promised to achieve.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// There is no such guard.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A guard could never judge here.
    #[error("guard `{name}`: {reason}")]
    Guard {
        /// The guard.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// An allocation has a number that cannot be kept among so many versions.
    #[error(transparent)]
    Allocation(ArgumentError),
    /// A rollout was given to a handle that has not staged it.
    #[error("the rollout of {version} is another handle's: give the handle those that it has staged itself")]
    AnotherHandle {
        /// The candidate.
        version: VersionId,
    },
    /// A rollout was given more than once.
    #[error("the rollout of {version} is given twice: give each once")]
    GivenTwice {
        /// The candidate.
        version: VersionId,
    },
    /// Other candidates have what live would have to give. Where a plan begins beside others, live keeps some, or nobody would be compared
    /// with anything.
    #[error("live has {left} left to give, not {weight}: lower another candidate first")]
    NotEnoughLeft {
        /// The share that was asked for: of an allocation, the floors of its candidates and live's.
        weight: Share,
        /// The share that the candidate could have: of an allocation, that of all of them and live.
        left: Share,
    },
    /// Requests may not be copied.
    #[error(
        "this handle does not shadow: add `.shadowing(Shadowing::new())` at build or `shadow = {{}}` to its configuration, or run the plan `.without_shadow()`"
    )]
    NoShadowing,
    /// Nobody would judge the plan's guards.
    #[error(
        "nobody ticks this handle, so no candidate would be watched: leave `.threads(..)` as it is, or say `Threads::manual()` and tick"
    )]
    NobodyTicks,
    /// A candidate that is wrong about everything would be promoted.
    #[error(
        "nothing guards this rollout, so its plan would promote whatever answers: add a guard, such as \
         `.guard(guard::error_rate().at_most(0.01))`, or say `.unguarded()` of the plan if that is meant"
    )]
    Unguarded,
    /// Guards that it was tried with before a start are not here: they are the host's own, what they need is gone, or they were refused
    /// then, or in another process of the fleet.
    #[error(
        "{version} was tried with guards that are not here: {guards}; add them again, or run a plan that says `.unguarded()` if it is meant \
         to go on without them"
    )]
    GuardsMissing {
        /// The candidate.
        version: VersionId,
        /// The guards, by name.
        guards: String,
    },
    /// An automatic plan has nothing to go by.
    #[error("nothing is known of live's traffic yet: let it answer requests before an automatic plan is run")]
    NoTraffic,
    /// A move that is about to happen cannot be written down, so it does not happen: a start would not know that the
    /// candidate was exposed.
    #[error("exposure was not raised: the journal could not be written ({reason})")]
    NotRecorded {
        /// The obstacle.
        reason: String,
    },
    /// The other processes of the fleet have not agreed: they have decided on something else in the same moment, or cannot be asked.
    #[error("the fleet has not agreed: {reason}")]
    NotAgreed {
        /// The obstacle.
        reason: String,
    },
    /// Somebody has changed who answers since it was looked at: see [`Operator::at_epoch`](crate::operator::Operator::at_epoch).
    #[error("who answers has changed since {seen}: the epoch is {epoch} now, so look again")]
    EpochChanged {
        /// The epoch that was looked at.
        seen: u64,
        /// The epoch that is.
        epoch: u64,
    },
    /// The version's identity did harm before.
    #[error("{version} is quarantined ({reason}): release its identity, or drive it by hand")]
    Quarantined {
        /// The version that did the harm.
        version: VersionId,
        /// The harm that it did.
        reason: String,
    },
}

debug_as_told!(RolloutError);

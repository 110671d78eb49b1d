//! The handle: what a service holds.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::core::Core;
use super::status::{Readiness, Status};
use super::supervised::is_ours;
use super::workers::Workers;
use crate::base::causes::debug_as_told;
use crate::base::text::{bounded, bounded_text};
use crate::control::control::{Control, end_freeze};
use crate::control::desk::Desk;
use crate::control::event::{Cause, Event, EventKind, Subscription};
use crate::control::moves::RollbackOutcome;
use crate::control::tiers::Lost;
use crate::feedback::{FeedbackOutcome, PredictionId};
use crate::model::identity::Identity;
use crate::request::ahead::{Back, Lowered};
use crate::request::answer::{Answer, PredictError};
use crate::request::call::Draw;
use crate::request::recall::Recall;
use crate::rollout::decision::Decision;
use crate::rollout::guard::guard::Guard;
use crate::task::outcome::Outcome;
use crate::version::id::VersionId;

/// How often a rollback begins to wake a version anew, because others have gone back to the one that it has woken.
const WAKES_MAX: usize = 8;

/// The model of a service: answers requests with the live version, tries others on the same traffic, and goes back.
///
/// `I` is the host's own request type and `O` its answer; versions may differ in anything behind them. A handle is
/// cheap to clone, and every clone is the same handle: give one to each thread, or share one by reference.
///
/// ```
/// use switchback::{ModelHandle, Plan, Task, closure, guard};
///
/// let handle = ModelHandle::builder("late")
///     .live("v1", closure("constant@1.0", |_: &[f32]| Ok(0.1)))
///     .task(Task::binary(|probability: &f64| *probability))
///     .build()?;
/// let answer = handle.predict(&[1.0, 2.0])?;
/// assert_eq!((*answer.output(), answer.version().as_str()), (0.1, "v1"));
///
/// let rollout = handle
///     .stage("v2", closure("mean@1.0", |x: &[f32]| Ok(f64::from(x.iter().sum::<f32>()) / 10.0)))?
///     .guard(guard::error_rate().at_most(0.01));
/// rollout.canary(0.5)?;
/// rollout.promote()?;
/// assert_eq!(handle.live(), "v2");
/// let back = handle.rollback("operator: complaints");
/// assert_eq!(back.to_string(), "live was taken back from v2 to v1");
/// assert_eq!(handle.live(), "v1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `I` owns what it has, or is unsized like `[f32]` and `str`, which are passed by reference: a request that borrows (`struct
/// Row<'a>`) is no `I`, since copies of requests outlive their calls, for shadows and drills. Give such a handle `I = [f32]`, or an
/// owned row.
pub struct ModelHandle<I: ?Sized + 'static, O: 'static> {
    pub(crate) inner: Arc<Core<I, O>>,
    pub(crate) threads: Arc<Workers>,
    /// Whom this clone acts for.
    pub(crate) actor: Option<Arc<str>>,
}

impl<I: ?Sized + 'static, O: 'static> Clone for ModelHandle<I, O> {
    fn clone(&self) -> Self {
        let (inner, threads) = (Arc::clone(&self.inner), Arc::clone(&self.threads));
        Self { inner, threads, actor: self.actor.clone() }
    }
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Changes the control side, in the name of whom this clone acts for.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        let result = self.inner.change(self.acting(change));
        self.inner.traces.emit();
        result
    }

    /// A change in the name of whom this clone acts for.
    pub(crate) fn acting<T>(&self, change: impl FnOnce(&mut Control) -> T) -> impl FnOnce(&mut Control) -> T {
        |control| {
            control.announcer.actor.clone_from(&self.actor);
            let result = change(control);
            control.announcer.actor = None;
            result
        }
    }

    /// Changes what does not raise exposure, and writes it down afterwards.
    pub(crate) fn lower<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        let result = self.lower_at_once(change);
        self.write_lowered();
        result
    }

    fn lower_at_once<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        let change = self.acting(change);
        self.inner.lower(|control| {
            let from = control.announcer.next();
            let result = change(control);
            self.inner.note_demands(control, from);
            result
        })
    }

    fn write_lowered(&self) {
        self.inner.record();
        self.inner.press_demands();
        self.inner.traces.emit();
    }

    /// Does for good, and writes down, what callers have met since it was lowered.
    pub(crate) fn confirm<T>(
        &self,
        mut lowered: Lowered<'_>,
        change: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> T {
        self.lower(|control| self.for_good(control, &mut lowered, change))
    }

    /// The same, of what goes back to a version: one that is cold is woken first. Whether it is cold is looked at under the lock under which
    /// it is gone back to, since whoever went back meanwhile may have left another one to go to than was woken.
    ///
    /// # Errors
    ///
    /// The one that must be gone back to cannot be woken. Nothing has changed then.
    pub(crate) fn confirm_awake<T>(
        &self,
        back: Back<'_>,
        mut lowered: Lowered<'_>,
        change: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> Result<T, Lost> {
        let (inner, mut change, mut wakes_left) = (&*self.inner, change, WAKES_MAX);
        loop {
            let woken = match inner.wake(back) {
                Ok(woken) => woken,
                Err(lost) => {
                    self.confirm(lowered, |_, _| ());
                    return Err(lost);
                }
            };
            let done = self.lower_at_once(|control| {
                if let Some(version) = &woken {
                    version.woken();
                }
                let is_awake = control
                    .to_wake(back)
                    .is_none_or(|next| woken.as_ref().is_some_and(|own| Arc::ptr_eq(own, next)));
                // Lowering is never refused: where others go on going back it is done at last, and upkeep wakes what is live then.
                if is_awake || wakes_left == 0 {
                    Ok(self.for_good(control, &mut lowered, change))
                } else {
                    Err(change)
                }
            });
            match done {
                Ok(done) => {
                    self.write_lowered();
                    return Ok(done);
                }
                Err(again) => (change, wakes_left) = (again, wakes_left - 1),
            }
        }
    }

    fn for_good<T>(
        &self,
        control: &mut Control,
        lowered: &mut Lowered<'_>,
        change: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> T {
        let inner = &*self.inner;
        lowered.arrive();
        let (epoch, now) = (control.epoch, inner.serving.clock.now());
        let desk = Desk { since: lowered.since().unwrap_or(now), ..inner.desk(now) };
        let result = change(control, desk);
        if lowered.may_have_replaced_live() && control.epoch == epoch {
            // Nothing came of it: what it was to go back to has been let go of meanwhile, or is live already.
            control.publish(desk, Vec::new());
        }
        result
    }
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// This handle, acting for somebody: events of what is done through it, and through the rollouts that it stages, name
    /// them. A name or a number that the host knows them by; nothing is made of it. Of one of more than 4,096 bytes the
    /// start is kept.
    ///
    /// ```
    /// # use switchback::{ModelHandle, closure};
    /// # let handle = ModelHandle::builder("m").live("v1", closure("a@1", |x: &f64| Ok(*x))).build()?;
    /// handle.acting_as("ada").freeze("quarter end");
    /// assert_eq!(handle.events().last().unwrap().actor.as_deref(), Some("ada"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "it is the handle that is returned which acts for them"]
    pub fn acting_as(&self, actor: impl Into<Arc<str>>) -> Self {
        Self { actor: Some(bounded(&*actor.into()).into()), ..self.clone() }
    }

    /// Answers one request: by live or, on their share of the traffic, by a candidate. A candidate that fails is
    /// answered for by live in the same call.
    ///
    /// # Errors
    ///
    /// [`PredictError::Input`] where the request is at fault, [`PredictError::Failed`] where live failed.
    #[inline]
    pub fn predict(&self, input: &I) -> Result<Answer<O>, PredictError> {
        self.inner.serving.predict(input, Draw::Random, None)
    }

    /// Like [`predict`](Self::predict), and the same key (a user, a card) is answered by the same version for as long
    /// as a rollout only grows: a key that is on the canary stays on it at every larger weight. An empty key is no key: such a
    /// request is drawn like one without. In comparisons a key is one unit, by one of its requests that is drawn.
    ///
    /// # Errors
    ///
    /// Those of [`predict`](Self::predict).
    #[inline]
    pub fn predict_keyed(&self, key: impl AsRef<[u8]>, input: &I) -> Result<Answer<O>, PredictError> {
        self.inner.serving.predict(input, Draw::Key(key.as_ref()), None)
    }

    /// Tells what turned out to be true of a prediction, or what it was worth. It counts for the version that was
    /// assigned, also after that was replaced.
    ///
    /// Whatever comes back, nothing is harmed: an outcome that repeats an earlier one, that comes too late, or whose id
    /// is unknown or forged, is only counted as such. In a fleet it may come to any process: the one that made the prediction gets it
    /// ([`FeedbackOutcome::Forwarded`]).
    pub fn feedback(&self, id: PredictionId, outcome: Outcome) -> FeedbackOutcome {
        self.inner.feedback(&id, &outcome)
    }

    /// Back to what was good, the verb for the night: takes off every exposed candidate, and those that wait since a crash
    /// for somebody to say whether they are to be; where there is none, live goes back to the version before it. Called again it goes further back, and never forward to what was taken back: that is
    /// [`rollback_to`](Self::rollback_to), by name. Legal at any time, never refused, done when it returns: the next request
    /// is answered accordingly.
    ///
    /// Who knows which of the two is bad has a verb for each: [`abort_candidates`](Self::abort_candidates) and
    /// [`revert_live`](Self::revert_live).
    ///
    /// Of a reason of more than 4,096 bytes the start is kept, here and wherever one is given.
    ///
    /// Where state (`Builder::state`) is kept the call writes down what it did, after it has done it, so it may return late on a
    /// slow disk. A member of a fleet asks the store after it has done it: the call may return as late as one call of that takes. It
    /// never acts late.
    ///
    /// A version that has gone [cold](crate::versions::Tier::Cold) is woken first, on this thread: milliseconds where it has a prepared
    /// form, and a load where it has none; live goes on answering until then. Where it cannot be woken, the version before
    /// it is gone back to.
    ///
    /// ```
    /// # use switchback::{ModelHandle, RollbackOutcome, closure};
    /// let handle = ModelHandle::builder("m").live("v1", closure("a@1", |x: &f64| Ok(*x))).build()?;
    /// for version in ["v2", "v3"] {
    ///     handle.stage(version, closure("b@1", |x: &f64| Ok(x + 1.0)))?.promote()?;
    /// }
    /// for expected in ["v2", "v1"] {
    ///     assert_ne!(handle.rollback("the night shift"), RollbackOutcome::Nothing);
    ///     assert_eq!(handle.live(), expected);
    /// }
    /// assert_eq!(handle.rollback("once more"), RollbackOutcome::Nothing);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rollback(&self, reason: impl Into<String>) -> RollbackOutcome {
        self.go_back(Back::Whatever, bounded_text(reason))
    }

    /// Takes off every exposed candidate, and those that wait since a crash. Live stays what it is.
    pub fn abort_candidates(&self, reason: impl Into<String>) -> RollbackOutcome {
        let cause = Cause::Operator { reason: bounded_text(reason) };
        let inner = &*self.inner;
        self.confirm(inner.serving.withhold(), |control, desk| {
            inner.lower_in_all(control, desk, |control, desk| control.abort_candidates(&cause, desk))
        })
    }

    /// Takes live back to the version that was live before it, also while candidates are exposed: they are taken off, since
    /// what they were compared with is gone. The version is woken first where it has gone cold, as in
    /// [`rollback`](Self::rollback).
    pub fn revert_live(&self, reason: impl Into<String>) -> RollbackOutcome {
        self.go_back(Back::BeforeLive, bounded_text(reason))
    }

    fn go_back(&self, back: Back<'_>, reason: String) -> RollbackOutcome {
        let cause = Cause::Operator { reason };
        let inner = &*self.inner;
        let ahead = inner.serving.take_back(back);
        let lowered = self.confirm_awake(back, ahead, |control, desk| {
            inner.lower_in_all(control, desk, |control, desk| match back {
                Back::BeforeLive => control.revert_live(cause, desk),
                _ => control.lower_all(cause, desk),
            })
        });
        inner.ring_for_upkeep();
        // Only one that is wanted by name is lost for good.
        lowered.unwrap_or(RollbackOutcome::Nothing)
    }

    /// Makes a retained version live, which is woken first where it has gone cold. Exposed candidates are taken off.
    ///
    /// # Errors
    ///
    /// The version is not retained, or cannot be woken. Live has not changed then.
    pub fn rollback_to(
        &self,
        version: impl AsRef<str>,
        reason: impl Into<String>,
    ) -> Result<RollbackOutcome, RollbackError> {
        let version = version.as_ref();
        let cause = Cause::Operator { reason: bounded_text(reason) };
        let inner = &*self.inner;
        let back = Back::To(version);
        let ahead = inner.serving.take_back(back);
        let lowered = self.confirm_awake(back, ahead, |control, desk| {
            let retained = inner.to_go_back_to(control);
            match retained.iter().find(|id| **id == *version) {
                Some(id) => {
                    Ok(inner.lower_in_all(control, desk, |control, desk| control.go_back(*id, cause, desk)))
                }
                None => Err(RollbackError::NotRetained { version: version.into(), retained }),
            }
        });
        inner.ring_for_upkeep();
        lowered.unwrap_or_else(|Lost { version, reason }| Err(RollbackError::Lost { version, reason }))
    }

    /// Writes down all that happened and was seen, and waits until it is on disk. Evidence is written every ten seconds
    /// anyway (see [`checkpoint_every`](crate::options::StateFolder::checkpoint_every)): this is for a host that has just joined
    /// outcomes which nobody will send again. Nothing where no state is kept.
    ///
    /// # Errors
    ///
    /// It is not on disk. The handle goes on, and tries again at the next tick.
    #[cfg(feature = "state")]
    pub fn checkpoint(&self) -> Result<(), crate::state::StateError> {
        self.inner.checkpoint()
    }

    /// From now on automation may lower exposure and not raise it. What is done by hand is done. Where a freeze holds already, this one takes its
    /// place; in a fleet the one that holds stays, with its reason, and nothing is told: this one begins only where the others have ended that one
    /// and it is not known here yet.
    pub fn freeze(&self, reason: impl Into<String>) {
        let reason = bounded_text(reason);
        self.lower(|control| {
            if control.frozen.is_some() && self.inner.is_in_fleet() {
                return self.inner.freeze_in_all(control, reason);
            }
            if let Some(before) = control.frozen.replace(reason.clone()) {
                end_freeze(&mut control.ended_freezes, before);
            }
            let epoch = control.epoch;
            control.announcer.announce(self.inner.serving.clock.now(), epoch, EventKind::Frozen { reason });
        });
    }

    /// Ends a [`freeze`](Self::freeze). In a fleet it is the one that holds here: one for another reason that others have begun meanwhile, while this
    /// process could not ask the store, stays.
    pub fn unfreeze(&self) {
        // Nothing is raised yet: the tick that does so writes it down first.
        self.lower(|control| {
            if let Some(ended) = control.frozen.take() {
                end_freeze(&mut control.ended_freezes, ended);
                control.begin_waiting_anew();
                let epoch = control.epoch;
                control.announcer.announce(self.inner.serving.clock.now(), epoch, EventKind::Unfrozen);
            }
        });
    }

    /// Says that the process is about to end: [`readiness`](Self::readiness) tells whoever asks, so that no new callers are sent
    /// here. Those who come are answered as before. It is said before the listener is closed and the handle is.
    ///
    /// In this order nothing is lost: at the signal `drain`; go on serving until whoever sends callers has seen it, some five
    /// seconds; close the listener; let requests end; [`close`](Self::close), on a thread that may block; exit.
    pub fn drain(&self, reason: impl Into<String>) {
        let reason = bounded_text(reason);
        self.lower(|control| {
            if control.draining.is_none() {
                control.draining = Some(reason.clone());
                let epoch = control.epoch;
                control.announcer.announce(
                    self.inner.serving.clock.now(),
                    epoch,
                    EventKind::Draining { reason },
                );
            }
        });
    }

    /// Whether callers are to be sent to this process: until it is [drained](Self::drain) or closed.
    pub fn readiness(&self) -> Readiness {
        let control = &*self.inner.control.lock();
        Readiness::of(&control.settings.name, control.closed, control.draining.as_deref())
    }

    /// The name that the handle was built with.
    pub fn name(&self) -> String {
        self.inner.control.lock().settings.name.clone()
    }

    /// Lets plans try an identity again that did harm before. Whether it was quarantined.
    pub fn release(&self, identity: Identity) -> bool {
        let released = self.lower(|control| {
            let released = control.quarantine.remove(&identity)?;
            control.crashes.remove(&identity);
            let (epoch, version) = (control.epoch, released.version);
            control.announcer.announce(
                self.inner.serving.clock.now(),
                epoch,
                EventKind::Released { version },
            );
            Some(released.reason)
        });
        let is_released = released.is_some();
        #[cfg(feature = "fleet")]
        if let Some(reason) = released {
            self.inner.release_in_fleet(identity, reason, self.actor.clone());
        }
        is_released
    }

    /// The version that answers by default.
    pub fn live(&self) -> VersionId {
        self.inner.serving.routing.load().live().version.id
    }

    /// A snapshot of everything: versions, roles, phases, figures, counters. Brings the figures up to date first; some
    /// 100 microseconds per version and rollout.
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let now = inner.serving.clock.now();
        let status = {
            let control = &mut *inner.control.lock();
            control.tell_of_lapse(now);
            control.collect(&inner.serving.joins, now);
            Status {
                durable: inner.is_durable(control),
                threads: inner.threads.status(),
                rounded: inner.serving.task.rounded(),
                #[cfg(feature = "fleet")]
                fleet: inner.fleet_status(),
                ..control.status(inner.serving.shadow_counts(), inner.serving.joins.counts(), now)
            }
        };
        self.with_drift(status)
    }

    /// Returns what is known of the fleet that this process is a member of: where it stands, who judges, what waits.
    /// Nothing where it is in none. It asks nobody: it is what was known at the last look.
    #[cfg(feature = "fleet")]
    pub fn fleet(&self) -> Option<crate::status::FleetStatus> {
        self.inner.fleet_status()
    }

    /// The last events, oldest first: as many as [`Limits::events`](crate::options::Limits::events) says.
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.inner.control.lock().announcer.log()
    }

    /// The events from this number on that are remembered, oldest first: what is new for whoever has seen those before it. When a process
    /// that looked on takes the state over, what happened in it until then is numbered anew, behind what the other one has written, and
    /// comes once more.
    pub fn events_since(&self, sequence: u64) -> Vec<Arc<Event>> {
        self.inner.control.lock().announcer.since(sequence)
    }

    /// The records of the last decisions, oldest first: up to 256, some ten kilobytes each. With a folder of state those of
    /// earlier lives of the handle are among them. In a fleet a process has those that it has made while it judged, and whoever judges next has
    /// the next ones. An
    /// [`Evidence`](crate::guard::Evidence) that something followed from names its own by number.
    pub fn decisions(&self) -> Vec<Arc<Decision>> {
        self.inner.control.lock().decisions.iter().cloned().collect()
    }

    /// Which predictions a version has answered for callers in its last rollout, as far as they are
    /// [remembered](crate::options::Retention::answers), so that they can be made again after it was taken back; `None`
    /// where none are.
    pub fn recall(&self, version: impl AsRef<str>) -> Option<Recall> {
        let control = &mut *self.inner.control.lock();
        control.take_answers();
        let number = control.last_attempt_of(version.as_ref())?;
        control.recall(number)
    }

    /// The events from now on, in a queue of up to `room`. It takes no memory before there are events, however large `room`
    /// is; with 0 every event is missed and counted. It ends where the handle is [closed](Self::close); what happens to live afterwards is among
    /// the [`events`](Self::events) alone.
    pub fn subscribe(&self, room: usize) -> Subscription {
        self.inner.control.lock().announcer.subscribe(room)
    }

    /// One round of what [`Threads::background`](crate::options::Threads::background) does at every interval: brings the figures
    /// up to date, asks the guards, moves the rollouts, frees what nobody uses any more. Returns at once where another
    /// thread is at it.
    pub fn tick(&self) {
        self.inner.tick();
    }

    /// Runs up to `max` copied requests that wait for their candidates; returns how many it ran. For a host that
    /// shadows without threads of ours.
    pub fn run_shadow(&self, max: usize) -> usize {
        self.inner.serving.run_shadow(max)
    }

    /// Stops candidates whose deadline has passed. Called every millisecond or so by a host that sets
    /// [`candidate_deadline`](crate::options::Limits::candidate_deadline) without threads of ours.
    pub fn stop_overdue(&self) {
        self.inner.serving.stop_overdue();
    }

    /// Takes off all candidates, runs or drops the copies that wait, brings the figures up to date, and ends the
    /// threads of this handle. Live goes on answering. Called again, also while another call is at it or after one that came too late, it waits
    /// for the same end, up to a deadline of its own.
    ///
    /// Where state (`Builder::state`) is kept, that is written down before the candidates are taken off: the next start, or the
    /// process that looks on, goes on with the rollouts as they were. What happens here afterwards is not written any more.
    ///
    /// A member of a fleet (`Builder::fleet`) tells the others what it has counted, brings them what waits for them, and leaves in the store what
    /// outcomes need that come later for its predictions: some puts, on the caller's thread, for as long as the store takes for them. What the
    /// store refuses is tried again within half of `deadline`; outcomes that wait go out within a quarter of it, and once to sixteen of the
    /// others in any case. Here `feedback` says
    /// [`Elsewhere`](crate::feedback::FeedbackOutcome::Elsewhere) of all outcomes from then on.
    ///
    /// # Errors
    ///
    /// When `deadline` had passed, a thread was still busy, which ends when it is done, or another call of this was.
    pub fn close(&self, deadline: Duration) -> Result<(), CloseError> {
        let inner = &self.inner;
        self.change(|control| {
            if !std::mem::replace(&mut control.closed, true) {
                let epoch = control.epoch;
                control.announcer.announce(inner.serving.clock.now(), epoch, EventKind::Closed);
            }
        });
        let started = inner.serving.clock.reading();
        let spent = || Duration::from_nanos(inner.serving.clock.reading().nanos_since(started));
        let Some(mut is_wound_up) = self.threads.is_wound_up(deadline) else {
            return Err(CloseError { deadline, busy: vec![String::from("another call of `close`")] });
        };
        let (mut end, mut discarded) = (deadline, Vec::new());
        if !*is_wound_up {
            (end, discarded) = self.wind_up(deadline, spent);
            *is_wound_up = true;
        }
        // Guards, copies and who is told of events are the host's code, which may call this again. A store must not: it is asked before.
        drop(is_wound_up);
        drop(discarded);
        while spent() < end && inner.serving.run_shadow(1) > 0 {}
        // One of ours would wait for itself.
        let patience = if is_ours() { Duration::ZERO } else { end.saturating_sub(spent()) };
        let ended = self.threads.stop(patience);
        // Before the tick, which may take a while: what ends in it was busy all the same.
        let busy = if ended { Vec::new() } else { inner.threads.busy() };
        inner.tick();
        inner.control.lock().announcer.end_subscriptions();
        if ended { Ok(()) } else { Err(CloseError { deadline, busy }) }
    }

    /// What a close does before the threads end. How long after its beginning these are waited for, and the guards of what it has taken off.
    fn wind_up(&self, deadline: Duration, spent: impl Fn() -> Duration) -> (Duration, Vec<Arc<dyn Guard>>) {
        let inner = &self.inner;
        inner.cancel_load(|_| true);
        // With all that runs, so that the next start goes on with it.
        inner.record_end();
        #[cfg(feature = "fleet")]
        inner.leave_fleet(deadline / 2);
        // The threads have half of it, whatever the store has taken.
        let end = deadline.max(spent() + deadline / 2);
        let ((), discarded) = inner.changed(self.acting(|control| {
            let now = inner.serving.clock.now();
            let numbers: Vec<u32> = control.attempts.iter().map(|attempt| attempt.number).collect();
            for number in numbers {
                // A live that is watched stays live: nobody has said that it is bad.
                if control.attempt(number).is_some_and(|attempt| attempt.previous.is_none()) {
                    let _ = control.lower(number, Cause::Closed, inner.desk(now));
                }
            }
        }));
        (end, discarded)
    }
}

impl<I: ?Sized + 'static, O: 'static> std::fmt::Debug for ModelHandle<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelHandle").field("live", &self.live()).finish_non_exhaustive()
    }
}

/// Why a version cannot be gone back to.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// It is not retained.
    #[error("version {version} is not retained: {}", those(.retained))]
    NotRetained {
        /// The version asked for.
        version: String,
        /// Those that can be gone back to.
        retained: Vec<VersionId>,
    },
    /// It was retained, had gone cold, and cannot be loaded any more. It is retained no longer.
    #[error("version {version} cannot be loaded any more: {reason}; go back to another one")]
    Lost {
        /// The version.
        version: VersionId,
        /// The obstacle.
        reason: String,
    },
}

debug_as_told!(RollbackError);

fn those(retained: &[VersionId]) -> String {
    let names: Vec<&str> = retained.iter().map(|version| version.as_str()).collect();
    if names.is_empty() { "none is".to_owned() } else { format!("there is {}", names.join(", ")) }
}

/// A handle did not end in time.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("still busy after {deadline:?}: {}; it ends when that is done", .busy.join(", "))]
#[non_exhaustive]
pub struct CloseError {
    /// How long was waited.
    pub deadline: Duration,
    /// What was busy then: threads of the handle's by name, or another call of [`close`](ModelHandle::close).
    pub busy: Vec<String>,
}

debug_as_told!(CloseError);

/// A handle whose live version says 1, and which is ticked by hand.
#[cfg(test)]
pub(super) fn one_live() -> ModelHandle<f64, f64> {
    let live = crate::model::closure::closure("one@1", |_: &f64| Ok(1.0));
    ModelHandle::builder("x").live("v1", live).threads(super::options::Threads::manual()).build().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::options::Threads;
    use crate::model::closure::closure;

    type Constant = ModelHandle<f64, f64>;

    /// v1, v2 and v3, live one after the other, each of which answers its number.
    fn three_lives() -> Constant {
        let answers = |number: f64| closure(format!("v{number}@1"), move |_: &f64| Ok(number));
        let handle =
            ModelHandle::builder("x").live("v1", answers(1.0)).threads(Threads::manual()).build().unwrap();
        handle.stage("v2", answers(2.0)).unwrap().promote().unwrap();
        handle.stage("v3", answers(3.0)).unwrap().promote().unwrap();
        handle
    }

    /// Waits for what happens at once where it is right, and longer than any of it takes where it is wrong.
    fn soon(what: impl Fn() -> bool) -> bool {
        let (clock, began) = (crate::Clock::system(), crate::Clock::system().now());
        while !what() {
            if clock.now().since(began) > Duration::from_secs(30) {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    fn answers(handle: &Constant) -> f64 {
        handle.predict(&0.0).unwrap().into_output()
    }

    /// Bug: with readers, a checkpoint and busy cores one rollback in a hundred took 11 ms to take effect. Cause: it waited for the
    /// control lock, and a reader had been put aside with that. Fix: what callers meet is lowered before the lock is had.
    #[test]
    fn a_rollback_takes_effect_while_somebody_has_the_control_side() {
        let handle = three_lives();
        let held = handle.inner.control.lock();
        let calls = handle.clone();
        let rollback = std::thread::spawn(move || calls.rollback("slow"));
        assert!(soon(|| answers(&handle) == 2.0));
        assert_eq!(handle.live(), "v2");
        assert!(!rollback.is_finished());
        drop(held);
        let back = |outcome: &RollbackOutcome| match outcome {
            RollbackOutcome::RolledBack { from, to } => format!("{from} to {to}"),
            other => format!("{other:?}"),
        };
        assert_eq!(back(&rollback.join().unwrap()), "v3 to v2");
        assert_eq!(answers(&handle), 2.0);
        // And no further than it was meant to.
        assert_eq!(handle.status().live, "v2");
        assert_eq!(back(&handle.rollback("again")), "v2 to v1");
    }

    #[test]
    fn candidates_answer_nothing_from_the_moment_at_which_somebody_takes_them_off() {
        let handle = three_lives();
        for take_off in [
            |handle: &Constant, _: &crate::Rollout<f64, f64>| handle.rollback("bad"),
            |handle: &Constant, _: &crate::Rollout<f64, f64>| handle.abort_candidates("bad"),
            |_: &Constant, rollout: &crate::Rollout<f64, f64>| rollout.rollback("bad"),
        ] {
            let rollout = handle.stage("v4", closure("v4@1", |_: &f64| Ok(4.0))).unwrap();
            rollout.canary(1.0).unwrap();
            assert_eq!(answers(&handle), 4.0);
            let held = handle.inner.control.lock();
            let calls = handle.clone();
            let taking_off = std::thread::spawn(move || take_off(&calls, &rollout));
            assert!(soon(|| answers(&handle) == 3.0), "live answers, and stays what it is");
            drop(held);
            assert!(matches!(taking_off.join().unwrap(), RollbackOutcome::Aborted(of) if of == ["v4"]));
            assert_eq!(answers(&handle), 3.0);
            assert_eq!(handle.status().live, "v3");
            // The lease is not suspended any more: another one can be tried.
            let next = handle.stage("v5", closure("v5@1", |_: &f64| Ok(5.0))).unwrap();
            next.canary(1.0).unwrap();
            assert_eq!(answers(&handle), 5.0);
            let _ = next.rollback("enough");
        }
    }

    /// Bug: the rollback of a rollout whose version was live and watched waited for the control lock. Cause: only candidates were
    /// lowered ahead. Fix: live goes back ahead too, where the table has the version before it and watches it.
    #[test]
    fn a_watched_live_goes_back_while_somebody_has_the_control_side() {
        let handle = three_lives();
        let rollout = handle.stage("v4", closure("v4@1", |_: &f64| Ok(4.0))).unwrap();
        let rollout = rollout.bake(crate::rollout::plan::Bake::new(Duration::from_secs(3_600)));
        rollout.promote().unwrap();
        assert_eq!(answers(&handle), 4.0);
        let held = handle.inner.control.lock();
        let rollout = Arc::new(rollout);
        let calls = Arc::clone(&rollout);
        let rollback = std::thread::spawn(move || calls.rollback("complaints"));
        assert!(soon(|| answers(&handle) == 3.0));
        assert!(!rollback.is_finished());
        drop(held);
        assert!(
            matches!(rollback.join().unwrap(), RollbackOutcome::RolledBack { from, to } if from == "v4" && to == "v3")
        );
        assert_eq!((answers(&handle), handle.status().live.as_str()), (3.0, "v3"));

        // Live that nobody watches is not the rollout's to take back, not even for a moment.
        assert_eq!(rollout.rollback("again"), RollbackOutcome::Nothing);
        assert!(!handle.inner.serving.take_back(Back::Watched(rollout.number)).may_have_replaced_live());
        assert_eq!(answers(&handle), 3.0);
    }

    /// Bug: whoever had kept the rollout of a version that was taken back long ago, and rolled it back once more, took live back for a moment where
    /// a version of that name was live and watched again. Cause: what is lowered ahead knew the version by its name. Fix: it knows the attempt.
    #[test]
    fn a_rollout_that_is_over_takes_no_later_one_of_its_name_back() {
        let handle = three_lives();
        let watched = |answer: f64| {
            let rollout = handle.stage("v4", closure("v4@1", move |_: &f64| Ok(answer))).unwrap();
            let rollout = rollout.bake(crate::rollout::plan::Bake::new(Duration::from_secs(3_600)));
            rollout.promote().unwrap();
            rollout
        };
        let first = watched(4.0);
        assert!(matches!(first.rollback("complaints"), RollbackOutcome::RolledBack { .. }));
        handle.inner.control.lock().retained.retain(|kept| kept.version.id != *"v4");
        let again = watched(5.0);
        let held = handle.inner.control.lock();
        assert!(!handle.inner.serving.take_back(Back::Watched(first.number)).may_have_replaced_live());
        assert_eq!(answers(&handle), 5.0);
        let back = handle.inner.serving.take_back(Back::Watched(again.number));
        assert!(back.may_have_replaced_live());
        assert_eq!(answers(&handle), 3.0);
        drop((held, back));
        assert_eq!(first.rollback("again"), RollbackOutcome::Nothing);
    }

    #[test]
    fn a_table_that_is_stored_while_a_rollback_waits_does_not_undo_it() {
        let handle = three_lives();
        let mut held = handle.inner.control.lock();
        let calls = handle.clone();
        let rollback = std::thread::spawn(move || calls.revert_live("slow"));
        assert!(soon(|| handle.live() == "v2"));
        held.publish(handle.inner.desk(handle.inner.serving.clock.now()), Vec::new());
        assert_eq!(handle.live(), "v2");
        drop(held);
        assert!(matches!(rollback.join().unwrap(), RollbackOutcome::RolledBack { .. }));
        assert_eq!(answers(&handle), 2.0);
        assert_eq!(handle.status().live, "v2");
    }

    #[test]
    fn a_rollback_that_comes_to_nothing_leaves_live_as_it_was() {
        let handle = three_lives();
        let mut held = handle.inner.control.lock();
        let calls = handle.clone();
        let rollback = std::thread::spawn(move || calls.rollback("slow"));
        assert!(soon(|| handle.live() == "v2"));
        // What somebody before it in the line may do.
        held.retained.clear();
        drop(held);
        assert_eq!(rollback.join().unwrap(), RollbackOutcome::Nothing);
        assert_eq!(answers(&handle), 3.0);
        assert_eq!(handle.live(), "v3");
    }

    /// Bug: exposure was raised without an intention on disk, so that a crash in it was none of the candidate's. Cause: whether it is raised was asked
    /// before somebody else lowered it, and not again. Fix: it is asked again where it happens.
    #[cfg(all(feature = "state", feature = "testing"))]
    #[test]
    fn what_raises_by_the_time_that_it_is_done_is_written_down_first() {
        let folder = std::env::temp_dir().join(format!("switchback-raised-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let faults = crate::testing::Faults::new();
        let handle = ModelHandle::builder("x")
            .live("v1", closure("v1@1", |_: &f64| Ok(1.0)))
            .threads(Threads::manual())
            .state(&folder)
            .disk_faults(faults.clone())
            .build()
            .unwrap();
        let rollout = handle.stage("v2", closure("v2@1", |_: &f64| Ok(2.0))).unwrap();
        rollout.canary(0.3).unwrap();
        faults.fail_after(0);
        // Whoever says .2 has looked while it was .3, and then somebody says .1.
        rollout.canary(0.1).unwrap();
        let share = crate::Share::new(0.2).unwrap();
        let refused = rollout.by_hand_raising(Vec::new(), crate::rollout::transition::Input::Canary(share));
        assert!(matches!(refused, Err(crate::RolloutError::NotRecorded { .. })), "{refused:?}");
        assert_eq!(rollout.status().unwrap().weight, crate::Share::new(0.1).unwrap());
        faults.mend();
        rollout.by_hand_raising(Vec::new(), crate::rollout::transition::Input::Canary(share)).unwrap();
        assert_eq!(rollout.status().unwrap().weight, share);
        drop((rollout, handle));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// Bug: callers could have more calls of candidates under way than there is room for. Cause: calls of one that was taken off counted in the next
    /// table only where they were seen while that was made, and others may begin before it is stored. Fix: they count there in any case.
    #[test]
    fn the_calls_of_what_was_taken_off_count_in_the_next_table() {
        let handle = three_lives();
        let [first, second] = ["v4", "v5"].map(|version| {
            let rollout = handle.stage(version, closure(version, |_: &f64| Ok(4.0))).unwrap();
            rollout.canary(0.3).unwrap();
            rollout
        });
        let left = || handle.inner.serving.routing.load().left.len();
        assert_eq!(left(), 0);
        let _ = first.rollback("enough");
        assert_eq!(left(), 1);
        second.canary(0.4).unwrap();
        assert_eq!(left(), 0, "none has begun");
    }

    /// Bug: `close` waited for a load that nobody had cancelled, and came back with an error. Cause: it cancels what loads once, and one that was about to
    /// begin was not among that yet. Fix: what begins to load looks whether the handle is closed, under the lock under which that is said.
    #[test]
    fn nothing_begins_to_load_in_a_handle_that_is_closed() {
        let handle = three_lives();
        handle.close(Duration::MAX).unwrap();
        // As of whoever had looked before.
        let opened = handle.inner.prepare_aside("v4".parse().unwrap(), || panic!("it is not opened"));
        assert!(matches!(opened, Err(crate::StageError::Closed)));
        assert!(handle.inner.loads.lock().is_empty());
    }

    #[test]
    fn a_version_that_was_let_go_of_is_not_kept_by_the_table_that_had_it_ready() {
        let handle = three_lives();
        let weak = {
            let held = handle.inner.control.lock();
            Arc::downgrade(&held.retained[0].version)
        };
        {
            let held = &mut *handle.inner.control.lock();
            let gone = held.retained.drain(..).map(|kept| kept.version);
            gone.for_each(|version| held.retired.push(version));
        }
        handle.tick();
        handle.tick();
        assert!(weak.upgrade().is_none());
    }
}

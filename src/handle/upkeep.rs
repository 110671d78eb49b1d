//! The upkeep that versions need beside the requests: what they lost is replaced, those that are retained step down and
//! are kept proven, and one that has become live steps up.
//!
//! The work may be done by a thread that gets only the time that nobody else wants, and such a thread must not hold a lock
//! that anybody waits for: one that was put aside with the control lock made a rollback wait for 2.5 s on a busy core. So what is
//! to be done is listed and what came of it is taken note of by whoever ticks, and between the two no lock is taken.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::beside::{Beside, Wait};
use super::chores::{Chores, Done};
use super::core::Core;
use crate::base::causes::told;
use crate::base::clock::{Clock, Timestamp};
use crate::base::guarded::{guarded, let_go};
use crate::control::event::EventKind;
use crate::control::settings::Lack;
use crate::control::tiers::Lost;
use crate::model::activity::Activity;
use crate::model::error::ModelError;
use crate::model::{Doubt, Tier};
use crate::request::ahead::Back;
use crate::version::ask::{Judge, attempt};
use crate::version::drill::{Copies, DrillOutcome};
use crate::version::loaded::AnyVersion;
use crate::version::post::{At, Post};
use crate::version::priority::LoadPriority;

/// How often it is measured what versions take of memory, where nothing has changed: the system looks at every page for it.
const WEIGHED_EVERY: Duration = Duration::from_secs(10);

/// How long each input of a drill is waited for at least. When a candidate is overdue may follow from a deadline, which is shorter than this
/// thread may have to wait for the processor.
const DRILLED_FOR: Duration = Duration::from_secs(30);

/// A round of upkeep is somebody's. It is over when this goes, also by a panic, unless another thread has begun one since.
struct Turn<'a> {
    place: &'a Mutex<Option<Arc<Post>>>,
    post: &'a Arc<Post>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let turn = &mut *self.place.lock();
        if turn.as_ref().is_some_and(|own| Arc::ptr_eq(own, self.post)) {
            *turn = None;
        }
    }
}

/// The caller of versions in a round of upkeep.
struct Round<'a, O> {
    post: &'a Post,
    clock: &'a Clock,
    judge: Judge<'a, O>,
}

impl<O: 'static> Round<'_, O> {
    /// Calls a version's code. `None` where it has not returned in time: another thread has gone on then.
    fn call<T>(
        &self,
        version: &Arc<dyn AnyVersion>,
        (activity, limit): (Activity, Duration),
        call: impl FnOnce() -> T,
    ) -> Option<Result<T, ModelError>> {
        let (began, blocks) = (self.clock.time_point(), Some(Arc::clone(version)));
        self.post.begin(At { version: version.id, blocks, activity, load: None, began, limit });
        let result = self.judge.guarded(call);
        if self.post.end() {
            return Some(result);
        }
        let_go(result);
        None
    }
}

/// Those whose code can be called: none of them has a call that does not return.
fn callable(versions: &[Arc<dyn AnyVersion>]) -> impl Iterator<Item = &Arc<dyn AnyVersion>> {
    versions.iter().filter(|version| !version.is_blocked())
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Lists what there is to do. In front of those who look: whoever has just gone back asks for it before their call returns.
    pub(crate) fn chores(&self) -> Chores {
        let control = &mut *self.control.lock_urgently();
        let (loaded, unsettled) = (control.loaded(), control.want_tiers(self.serving.clock.now()));
        Chores { loaded, unsettled, retained: control.retained_versions() }
    }

    /// One round of upkeep on this thread, from the list to the notes.
    pub(crate) fn keep_up(&self, post: &Arc<Post>) {
        self.work(post, self.chores(), &|done| self.note(done));
    }

    /// Does what is listed, by the thread that has this post. Takes no lock that anybody waits for. Returns at once where another
    /// thread is at it, and as soon as it can where nobody waits for it any more: another one has begun a round then.
    pub(crate) fn work(&self, post: &Arc<Post>, chores: Chores, done: &dyn Fn(Done)) {
        {
            let turn = &mut *self.keeping_up.lock();
            if turn.as_ref().is_some_and(|other| !other.is_abandoned()) {
                return;
            }
            *turn = Some(Arc::clone(post));
        }
        let turn = Turn { place: &self.keeping_up, post };
        // Without the deadline of candidates: one that is retained is asked whether it would answer as live, which has none.
        let round = Round { post, clock: &self.serving.clock, judge: self.serving.judge(false) };
        let _ = self
            .maintain(&chores.loaded, &round, done)
            .and_then(|()| self.settle_versions(&chores.unsettled, &round, done))
            .and_then(|()| self.drill(&chores.retained, &round, done))
            .and_then(|()| self.weigh(&chores.loaded, &round));
        drop(turn);
    }

    /// Takes note of what came of a chore.
    pub(crate) fn note(&self, done: Done) {
        let now = self.serving.clock.now();
        let control = &mut *self.control.lock();
        let (Done::Maintained { version, .. }
        | Done::Settled { version, .. }
        | Done::Drilled { version, .. }) = &done;
        // Of one that is gone there is nothing to note: another one may go by its name by now.
        if !control.uses(version) {
            return;
        }
        match done {
            Done::Maintained { version, failure, doubt } => {
                let version = version.id;
                control.set_degraded((version, Lack::Lost), failure, now);
                if let Some(Doubt { lasted, reason }) = doubt {
                    let lasted_nanos = u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX);
                    let since = Timestamp::from_unix_nanos(now.unix_nanos().saturating_sub(lasted_nanos));
                    let event = EventKind::AnswersInDoubt { version, since, reason };
                    let epoch = control.epoch;
                    control.announcer.announce(now, epoch, event);
                }
            }
            Done::Settled { version, asked, noted, reached, took } => {
                let failure = match reached {
                    // Somebody has woken it since, and has noted where it is: it is settled once more where it is to be elsewhere.
                    Ok(_) if version.tiers_noted() != noted => None,
                    Ok(tier) => {
                        version.arrived_for(asked);
                        control.settled(&version, tier, took, now);
                        version.forget_weight();
                        None
                    }
                    Err(reason) => Some(reason),
                };
                control.set_degraded((version.id, Lack::Tier), failure, now);
            }
            Done::Drilled { version, drilled } => control.drilled(&version, drilled, now),
        }
    }

    /// Has somebody keep up soon, where a thread of ours does.
    pub(crate) fn ring_for_upkeep(&self) {
        if self.keeps_up_aside {
            // Where two lists wait already, the next tick makes another.
            let _ = self.chores_waiting.0.try_send(self.chores());
        }
    }

    /// Wakes the version that is to be gone back to, before it gets any traffic. Where it cannot be woken, the next one is
    /// tried, unless it must be this one.
    ///
    /// # Errors
    ///
    /// Why this one cannot be woken.
    pub(crate) fn wake(&self, back: Back<'_>) -> Result<Option<Arc<dyn AnyVersion>>, Lost> {
        loop {
            let Some(version) = self.control.lock_urgently().begin_waking(back) else { return Ok(None) };
            let started = self.serving.clock.reading();
            let failure = self.wake_aside(&version);
            let took = Duration::from_nanos(self.serving.clock.reading().nanos_since(started));
            let now = self.serving.clock.now();
            let Some(reason) = failure else {
                let tier = self.tier_of(&*version);
                self.control.lock_urgently().settled(&version, tier, took, now);
                return Ok(Some(version));
            };
            let control = &mut *self.control.lock_urgently();
            version.woken();
            control.lose(&version, reason.clone(), now);
            if matches!(back, Back::To(_)) {
                return Err(Lost { version: version.id, reason });
            }
        }
    }

    /// Wakes a version on a thread of its own, and waits no longer than that may take; why it is not awake, where it is not.
    pub(super) fn wake_aside(&self, version: &Arc<dyn AnyVersion>) -> Option<String> {
        const WAKER: &str = "switchback-wake";
        if version.is_blocked() {
            return Some("a call of its code has not returned".to_owned());
        }
        let (began, limit, activity) =
            (self.serving.clock.time_point(), self.staging_deadline, Activity::Waking);
        let at =
            At { version: version.id, blocks: Some(Arc::clone(version)), activity, load: None, began, limit };
        let (own, span) = (Arc::clone(version), self.traces.wake(version.id));
        let wake = move || {
            let _span = span.wake();
            match guarded(|| own.wake()) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(told(error)),
                Err(panicked) => Some(ModelError::from(panicked).to_string()),
            }
        };
        match self.threads.run((WAKER, LoadPriority::Full), &self.serving.clock, at, wake, || Wait::On) {
            Beside::Done(failure) => failure,
            Beside::Abandoned => {
                let (thread, lasted) = (WAKER.to_owned(), self.serving.clock.time_point().since(began));
                let version = version.id;
                self.tell(EventKind::ThreadAbandoned { thread, version, activity, lasted, replaced: false });
                Some(format!("it was still being woken after {} s", limit.as_secs_f64()))
            }
            Beside::TooMany(threads) => {
                Some(format!("{threads} threads that woke versions have not returned"))
            }
            Beside::Ended => Some("the thread that woke it ended".to_owned()),
        }
    }

    /// Has every loaded model replace what it lost: it may load sessions.
    fn maintain(
        &self,
        versions: &[Arc<dyn AnyVersion>],
        round: &Round<'_, O>,
        done: &dyn Fn(Done),
    ) -> Option<()> {
        let upkeep = (Activity::Upkeep, self.staging_deadline);
        for version in callable(versions) {
            let maintained = round.call(version, upkeep, || version.maintain())?;
            let doubt = round.call(version, upkeep, || version.take_doubt())?.ok().flatten();
            let failure = match maintained {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(told(error)),
                Err(error) => Some(error.to_string()),
            };
            done(Done::Maintained { version: Arc::clone(version), failure, doubt });
        }
        Some(())
    }

    fn settle_versions(
        &self,
        versions: &[Arc<dyn AnyVersion>],
        round: &Round<'_, O>,
        done: &dyn Fn(Done),
    ) -> Option<()> {
        for version in callable(versions) {
            let started = self.serving.clock.reading();
            let upkeep = (Activity::Upkeep, self.staging_deadline);
            let (noted, asked) = (version.tiers_noted(), version.wanted.tier());
            let settled = round.call(version, upkeep, || version.settle())?;
            let took = Duration::from_nanos(self.serving.clock.reading().nanos_since(started));
            // An error's text and destructor may be the host's: before anybody takes note of it under a lock.
            let reached = match settled {
                Ok(Ok(tier)) => Ok(tier),
                Ok(Err(error)) => Err(told(error)),
                Err(error) => Err(error.to_string()),
            };
            done(Done::Settled { version: Arc::clone(version), asked, noted, reached, took });
        }
        Some(())
    }

    /// Asks every retained version what live was asked lately, where that is due.
    fn drill(
        &self,
        versions: &[Arc<dyn AnyVersion>],
        round: &Round<'_, O>,
        done: &dyn Fn(Done),
    ) -> Option<()> {
        let now = self.serving.clock.now();
        let Some(copies) = self.serving.recent.as_ref().and_then(|recent| recent.due(now)) else {
            return Some(());
        };
        let Copies { inputs, not_copied, panic } = copies;
        let limit = self.overdue_after.max(DRILLED_FOR);
        let mut took_all = Duration::ZERO;
        for version in callable(versions) {
            let started = self.serving.clock.reading();
            let typed = version.typed::<I, O>();
            // Of a version that cannot be woken it is known why: no user's input is in it. Of one that is asked the kind of
            // failure is kept and not what it said, which may quote what a user sent.
            let woken =
                match round.call(version, (Activity::Waking, self.staging_deadline), || version.wake())? {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(told(error)),
                    Err(error) => Err(error.to_string()),
                };
            let mut failures = Vec::new();
            for copy in &inputs {
                let failure = match (&woken, &typed) {
                    (Ok(()), Some(typed)) => {
                        let ask = || attempt(typed, &**copy, &round.judge).map(drop);
                        let asked = round.call(version, (Activity::Drill, limit), ask)?.flatten();
                        asked.err().map(|error| error.kind().told().to_owned())
                    }
                    (Ok(()), None) => Some(String::from("it is another handle's")),
                    (Err(reason), _) => Some(reason.clone()),
                };
                failures.extend(failure);
            }
            // One that was cold goes back, unless it is wanted by now.
            let upkeep = (Activity::Upkeep, self.staging_deadline);
            if let Ok(Err(error)) = round.call(version, upkeep, || version.settle())? {
                let_go(error);
            }
            let took = Duration::from_nanos(self.serving.clock.reading().nanos_since(started));
            took_all += took;
            let drilled = DrillOutcome {
                at: now,
                inputs: inputs.len() as u32,
                failed: failures.len() as u32,
                not_copied,
                failure: match (failures.first(), woken) {
                    (Some(reason), _) => Some(reason.clone()),
                    // It has no input that could tell.
                    (None, Err(reason)) => Some(reason),
                    (None, Ok(())) => panic.as_ref().filter(|_| inputs.is_empty()).map(ToString::to_string),
                },
                took,
                took_in_all: took,
            };
            done(Done::Drilled { version: Arc::clone(version), drilled });
        }
        if let Some(recent) = &self.serving.recent {
            recent.rest(now, took_all);
            // Copies of what users sent are gone here, but for a few that prove what is staged next.
            recent.keep(inputs);
        }
        Some(())
    }

    /// Measures what versions take of memory, where it is not known or was measured long ago.
    fn weigh(&self, versions: &[Arc<dyn AnyVersion>], round: &Round<'_, O>) -> Option<()> {
        let now = self.serving.clock.now();
        let is_stale = |at: Timestamp| now.since(at) >= WEIGHED_EVERY;
        let upkeep = (Activity::Upkeep, self.staging_deadline);
        for version in callable(versions).filter(|version| version.weighed_at().is_none_or(is_stale)) {
            let memory = round.call(version, upkeep, || version.memory())?.ok().flatten();
            version.set_memory(memory, now);
        }
        Some(())
    }

    pub(crate) fn tier_of(&self, version: &dyn AnyVersion) -> Tier {
        self.serving.shadow_judge().guarded(|| version.tier()).unwrap_or(Tier::Hot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::handle::one_live;
    use crate::model::closure::closure;

    /// Bug: a version that a rollback had woken was told to be cold, and the next rollback woke it once more. Cause: upkeep had taken it there before,
    /// and what came of that was noted later. Fix: it is noted only where nobody has noted a tier since it was asked.
    #[test]
    fn what_upkeep_did_before_a_version_was_woken_is_not_noted_afterwards() {
        let handle = one_live();
        handle.stage("v2", closure("two@1", |_: &f64| Ok(2.0))).unwrap().promote().unwrap();
        let (core, now) = (&handle.inner, handle.inner.serving.clock.now());
        let version = Arc::clone(&core.control.lock().retained[0].version);
        let settled = |noted| {
            let (version, asked, reached) = (Arc::clone(&version), Tier::Cold, Ok(Tier::Cold));
            core.note(Done::Settled { version, asked, noted, reached, took: Duration::ZERO });
        };
        let noted = version.tiers_noted();
        version.begin_waking();
        assert!(version.is_cold(), "for another rollback it is, until it is awake");
        core.control.lock().settled(&version, Tier::Warm, Duration::ZERO, now);
        version.woken();
        settled(noted);
        assert!(!version.is_cold());
        settled(version.tiers_noted());
        assert!(version.is_cold());
    }

    /// Bug: a version that was well was told to lack something. Cause: what upkeep had found of one that was taken off was noted after another
    /// one had come by its name. Fix: it is known by what it is.
    #[test]
    fn what_upkeep_found_of_a_version_that_is_gone_is_noted_of_no_other_of_its_name() {
        let handle = one_live();
        let stage = || handle.stage("v2", closure("two@1", |_: &f64| Ok(2.0))).unwrap();
        let (core, gone) = (&handle.inner, stage());
        let version = Arc::clone(&core.control.lock().loaded()[1]);
        let _ = gone.rollback("enough");
        let _next = stage();
        let failure = Some(String::from("it has lost a session"));
        core.note(Done::Maintained { version, failure, doubt: None });
        assert!(!core.control.lock().is_degraded(gone.version()));
    }

    /// Bug: on a busy core a rollback waited 2.5 s. Cause: the thread of upkeep, which gets only the time that nobody else wants,
    /// was put aside with the control lock. Fix: its work takes no such lock; whoever ticks takes note of what came of it.
    #[test]
    fn the_work_of_upkeep_is_done_while_somebody_has_the_control_side() {
        let handle = one_live();
        handle.stage("v2", closure("two@1", |_: &f64| Ok(2.0))).unwrap().promote().unwrap();
        let (core, chores) = (Arc::clone(&handle.inner), handle.inner.chores());
        assert_eq!((chores.loaded.len(), chores.retained.len()), (2, 1));
        let held = handle.inner.control.lock();
        let (tell, told) = crossbeam_channel::unbounded();
        std::thread::spawn(move || core.work(&Arc::default(), chores, &|done| tell.send(done).unwrap()));
        // Longer than any of it takes: it is waited for only where it is wrong.
        let done = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(30)).ok());
        let maintained = done.filter(|done| matches!(done, Done::Maintained { failure: None, .. }));
        assert_eq!(maintained.count(), 2);
        drop(held);
    }
}

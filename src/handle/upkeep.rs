//! What versions need beside the requests: what they lost is replaced, those that are retained step down and are kept proven,
//! and one that has become live steps up.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use crate::base::clock::Timestamp;
use crate::base::guarded::let_go;
use crate::control::event::EventKind;
use crate::control::tiers::{Back, Lost};
use crate::model::causes::told;
use crate::model::{Doubt, Tier};
use crate::version::ask::attempt;
use crate::version::drill::{Copies, DrillOutcome};
use crate::version::input::KeptInput;
use crate::version::loaded::AnyVersion;

/// How often it is measured what versions take of memory, where nothing has changed: the system looks at every page for it.
const WEIGHED_EVERY: Duration = Duration::from_secs(10);

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// One round. Returns at once where another thread is at it.
    pub(crate) fn keep_up(&self) {
        let Some(_turn) = self.keeping_up.try_lock() else { return };
        let (loaded, unsettled) = {
            let control = &mut *self.control.lock();
            (control.loaded(), control.want_tiers(self.serving.clock.now()))
        };
        self.maintain(&loaded);
        self.settle_versions(unsettled);
        self.drill();
        self.weigh(&loaded);
        self.traces.emit();
    }

    /// Has somebody keep up soon, where a thread of ours does.
    pub(crate) fn ring_for_upkeep(&self) {
        // Where the bell has been rung already, that will do.
        let _ = self.upkeep_bell.0.try_send(());
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
            let woken = self.serving.shadow_judge().guarded(|| version.wake());
            let took = Duration::from_nanos(self.serving.clock.reading().nanos_since(started));
            let failure = match woken {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(told(error)),
                Err(error) => Some(error.to_string()),
            };
            let now = self.serving.clock.now();
            let Some(reason) = failure else {
                let tier = self.tier_of(&*version);
                self.control.lock_urgently().settled(&version, tier, took, now);
                return Ok(Some(version));
            };
            let control = &mut *self.control.lock_urgently();
            control.woken(&version);
            control.lose(&version, reason.clone(), now);
            if matches!(back, Back::To(_)) {
                return Err(Lost { version: version.id, reason });
            }
        }
    }

    /// Has every loaded model replace what it lost. Not under the lock: it may load sessions.
    fn maintain(&self, versions: &[Arc<dyn AnyVersion>]) {
        let judge = self.serving.shadow_judge();
        for version in versions {
            let maintained = judge.guarded(|| version.maintain());
            let doubt = judge.guarded(|| version.take_doubt()).ok().flatten();
            let failure = match maintained {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(told(error)),
                Err(error) => Some(error.to_string()),
            };
            let now = self.serving.clock.now();
            let control = &mut *self.control.lock();
            control.set_degraded(version.id, failure, now);
            if let Some(Doubt { lasted, reason }) = doubt {
                let lasted_nanos = u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX);
                let since = Timestamp::from_unix_nanos(now.unix_nanos().saturating_sub(lasted_nanos));
                let event = EventKind::AnswersInDoubt { version: version.id, since, reason };
                let epoch = control.epoch;
                control.announcer.announce(now, epoch, event);
            }
        }
    }

    fn settle_versions(&self, versions: Vec<Arc<dyn AnyVersion>>) {
        let judge = self.serving.shadow_judge();
        for version in versions {
            let started = self.serving.clock.reading();
            let settled = judge.guarded(|| version.settle());
            let took = Duration::from_nanos(self.serving.clock.reading().nanos_since(started));
            let now = self.serving.clock.now();
            // An error's text and destructor may be the host's: before the lock is taken.
            let settled = match settled {
                Ok(Ok(tier)) => Ok(tier),
                Ok(Err(error)) => Err(told(error)),
                Err(error) => Err(error.to_string()),
            };
            let control = &mut *self.control.lock();
            let failure = match settled {
                Ok(tier) => {
                    control.settled(&version, tier, took, now);
                    version.forget_weight();
                    None
                }
                Err(reason) => Some(reason),
            };
            control.set_degraded(version.id, failure, now);
        }
    }

    /// Asks every retained version what live was asked lately, where that is due.
    fn drill(&self) {
        let now = self.serving.clock.now();
        let Some(copies) = self.serving.recent.as_ref().and_then(|recent| recent.due(now)) else { return };
        let Copies { inputs, not_copied, panic } = copies;
        let versions = self.control.lock().retained_versions();
        let (judge, mut took_all) = (self.serving.shadow_judge(), Duration::ZERO);
        for version in versions {
            let started = self.serving.clock.reading();
            let typed = version.typed::<I, O>();
            // Of a version that cannot be woken it is known why: no user's input is in it. Of one that is asked the kind of
            // failure is kept and not what it said, which may quote what a user sent.
            let woken = match judge.guarded(|| version.wake()) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(told(error)),
                Err(error) => Err(error.to_string()),
            };
            let ask = |input: &dyn KeptInput<I>| match (&woken, &typed) {
                (Ok(()), Some(version)) => {
                    attempt(version, input, &judge).map(drop).map_err(|error| error.kind().told().to_owned())
                }
                (Ok(()), None) => Err(String::from("it is another handle's")),
                (Err(reason), _) => Err(reason.clone()),
            };
            let failures: Vec<String> = inputs.iter().filter_map(|copy| ask(&**copy).err()).collect();
            // One that was cold goes back, unless it is wanted by now.
            if let Ok(Err(error)) = judge.guarded(|| version.settle()) {
                let_go(error);
            }
            let took = Duration::from_nanos(self.serving.clock.reading().nanos_since(started));
            took_all += took;
            let drilled = DrillOutcome {
                at: now,
                inputs: inputs.len() as u32,
                failed: failures.len() as u32,
                not_copied,
                failure: match failures.first() {
                    Some(reason) => Some(reason.clone()),
                    None => panic.as_ref().filter(|_| inputs.is_empty()).map(ToString::to_string),
                },
                took,
                took_in_all: took,
            };
            self.control.lock().drilled(&version, drilled, now);
        }
        if let Some(recent) = &self.serving.recent {
            recent.rest(now, took_all);
            // Copies of what users sent are gone here, but for a few that prove what is staged next.
            recent.keep(inputs);
        }
    }

    /// Measures what versions take of memory, where it is not known or was measured long ago.
    fn weigh(&self, versions: &[Arc<dyn AnyVersion>]) {
        let now = self.serving.clock.now();
        let is_stale = |at: Timestamp| now.since(at) >= WEIGHED_EVERY;
        for version in versions.iter().filter(|version| version.weighed_at().is_none_or(is_stale)) {
            let memory = self.serving.shadow_judge().guarded(|| version.memory()).ok().flatten();
            version.set_memory(memory, now);
        }
    }

    pub(crate) fn tier_of(&self, version: &dyn AnyVersion) -> Tier {
        self.serving.shadow_judge().guarded(|| version.tier()).unwrap_or(Tier::Hot)
    }
}

//! A start that remembers: which versions it needs, where they come from, and what is live where one cannot be had.

use super::core::Core;
use super::keeper::{Loaded, Opened, Remembered, load};
use super::loader::{Loader, Needs};
use super::record::{Recorder, Turn};
use crate::base::causes::{in_full, told};
use crate::base::guarded::let_go;
use crate::base::ordered::OrderedMap;
use crate::control::adopt::Start;
use crate::control::control::Control;
use crate::control::event::EventKind;
use crate::control::saved::SavedControl;
use crate::rollout::guard::Stated;
use crate::rollout::guard::guard::Guard;
use crate::state::names::{JOURNAL, Place};
use crate::state::{Found, Journal, StateError};
use crate::version::loaded::AnyVersion;
use parking_lot::Mutex;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// A journal of another process's that could not be read, or followed, is looked at again after so long.
const LOOKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Goes on from what is remembered, or looks on where another process has it; and writes down that this life has begun.
    pub(crate) fn go_on(&self, remembered: Option<Remembered>) {
        if let Some(Remembered { saved, evidence, loaded, missing, torn_bytes }) = remembered {
            let (setting, after_crash) = (self.setting(), self.keeper.after_crash);
            let can_judge = |versions, stated: &Stated| self.cannot_give(versions, &stated.needs()).is_none();
            let start = Start { setting, after_crash, loaded, missing, torn_bytes, can_judge: &can_judge };
            let (now, recorder) = (self.serving.clock.now(), self.keeper.recorder.as_ref());
            let standby = recorder.is_some_and(|recorder| recorder.looking_at().is_some());
            self.change(|control| {
                if standby {
                    control.look_on(&saved, &start, self.desk(now));
                } else {
                    control.adopt(saved, evidence, &start, self.desk(now));
                }
            });
        }
        for event in &self.keeper.told {
            self.tell(event.clone());
        }
        // So that an end without a word is known for one. Nothing is exposed before.
        let is_written = self.checkpoint().is_ok();
        if self.change(|control| control.begin_exposing(is_written, self.desk(self.serving.clock.now()))) {
            self.record();
        }
    }

    /// Takes the state over from the process that had it, if it has let go of it: that process's rollouts go on here.
    /// Whether it was taken over.
    pub(crate) fn take_over(&self) -> Result<bool, StateError> {
        let Some(place) = self.keeper.recorder.as_ref().and_then(|recorder| recorder.looking_at()) else {
            return Ok(false);
        };
        let opened = match Journal::open(place.files.clone(), &place.folder) {
            Ok((journal, found)) => Opened::of(Some(journal), &found)?,
            Err(StateError::Locked { .. }) => {
                self.look_again(&place);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let lives = opened.lives();
        let Opened { journal: Some(journal), saved, torn_bytes, mended } = opened else { return Ok(false) };
        if mended {
            self.tell(EventKind::StateFolderMended { folder: place.folder.display().to_string() });
        }
        // The host's code, so before the turn to write is taken: nothing can be raised until then, since nothing that is
        // raised here can be written.
        let can_judge = |versions, stated: &Stated| self.cannot_give(versions, &stated.needs()).is_none();
        let found = saved.map(|(saved, evidence)| {
            let already = self.control.lock().loaded();
            let current = already.first().cloned();
            let loader = self.loader();
            let loaded = load(&saved, None, &already, |id, own| loader.load(id, own));
            loader.told.into_inner().into_iter().for_each(|event| self.tell(event));
            let (live, loaded, missing) = match loaded {
                Ok(Loaded { live, loaded, missing }) => {
                    // Where it cannot be woken its upkeep tells, and tries again.
                    let _ = self.awake(&live);
                    (Some(live), loaded, missing)
                }
                Err(none) => {
                    let missing = none.into_iter().map(|one| (one.version, one.reason)).collect();
                    (current, OrderedMap::new(), missing)
                }
            };
            let (setting, after_crash) = (self.setting(), self.keeper.after_crash);
            let start = Start { setting, after_crash, loaded, missing, torn_bytes, can_judge: &can_judge };
            (saved, evidence, live, start)
        });
        // From before anything is adopted: what is raised meanwhile waits, and is written down first as ever.
        let Some(turn) = self.keeper.recorder.as_ref().map(Recorder::turn) else { return Ok(false) };
        if turn.0.looking_at.is_none() {
            // Somebody else has taken it over, or the handle was closed meanwhile.
            return Ok(false);
        }
        if let Some((saved, evidence, live, start)) = found {
            let now = self.serving.clock.now();
            self.change(|control| {
                control.announcer.go_on_behind(saved.next_event);
                control.announcer.announce(now, control.epoch, EventKind::TookOver);
                control.succeed(live, |control| control.adopt(saved, evidence, &start, self.desk(now)));
            });
        }
        self.begin_writing(turn, journal, lives);
        Ok(true)
    }

    /// Answers with what is live in the process that has the state, where that is another version by now: a version that was taken back
    /// there did harm here too.
    fn look_again(&self, place: &Place) {
        let Some(recorder) = &self.keeper.recorder else { return };
        // Where it is not there, reading it says so.
        let written = fs::metadata(place.folder.join(JOURNAL)).ok();
        let stamp = written.map(|written| (written.len(), written.modified().ok()));
        let now = self.serving.clock.now();
        {
            let Turn(writing) = recorder.turn();
            if (stamp.is_some() && writing.seen == stamp) || now < writing.rests_until {
                return;
            }
        }
        let is_followed = self.follow_there(place);
        let Turn(mut writing) = recorder.turn();
        if is_followed {
            writing.seen = stamp;
        } else {
            writing.rests_until = self.serving.clock.now().plus(LOOKED_AGAIN_AFTER);
        }
    }

    /// Whether this process does as the one that has the state: where its journal cannot be read, or a version cannot be had, it does not.
    fn follow_there(&self, place: &Place) -> bool {
        let read = || {
            let found = Found::read(&place.files, &place.folder)?;
            let Some(state) = found.state else { return Ok(None) };
            serde_json::from_slice::<SavedControl>(&state).map(Some).map_err(StateError::json)
        };
        let now = self.serving.clock.now();
        let saved = match read() {
            Ok(Some(saved)) => saved,
            // It begins just now.
            Ok(None) => return false,
            Err(error) => {
                self.change(|control| control.cannot_read(Some(in_full(&error)), now));
                return false;
            }
        };
        self.change(|control| {
            control.cannot_read(None, now);
            control.freeze_as_there(&saved, now);
        });
        let (wanted, known) = {
            let control = &*self.control.lock();
            let Some(wanted) = control.to_follow(&saved) else { return true };
            let is_it = |version: &Arc<dyn AnyVersion>| {
                (version.id, version.identity) == (wanted.version, wanted.identity)
            };
            (wanted, control.loaded().into_iter().find(is_it))
        };
        // That one alone: who is to go back waits for no other.
        let had = match known {
            Some(version) => self.awake(&version).map_or(Ok(version), Err),
            None => {
                let loader = self.loader();
                let loaded = loader.load(wanted.version, None).map_err(told);
                loader.told.into_inner().into_iter().for_each(|event| self.tell(event));
                match loaded {
                    Ok(version) if version.identity != wanted.identity => {
                        let_go(version);
                        Err("its source has other bytes under its name".to_owned())
                    }
                    loaded => loaded,
                }
            }
        };
        // It may have taken long, and the other process goes on meanwhile.
        let (now, saved) = (self.serving.clock.now(), read().ok().flatten());
        self.change(|control| match (had, saved) {
            (Err(reason), _) => {
                control.cannot_follow(wanted, reason, now);
                false
            }
            (Ok(version), Some(saved)) if control.to_follow(&saved) == Some(wanted) => {
                control.follow_there(version, &saved, self.desk(now));
                true
            }
            (Ok(version), saved) => {
                // What was loaded in vain is freed as all versions are: to drop it here would be the host's code under the lock.
                control.retire_unused([version]);
                // The other process has gone on: its journal is another one than it was, so it is looked at by the next tick.
                saved.is_some()
            }
        })
    }

    /// Wakes a version that has gone cold, before it gets any traffic; why it is not awake, where it is not.
    pub(crate) fn awake(&self, version: &Arc<dyn AnyVersion>) -> Option<String> {
        if !version.is_cold() {
            return None;
        }
        {
            // Under the lock under which it is said how ready versions are to be.
            let _control = self.control.lock();
            version.begin_waking();
        }
        let started = self.serving.clock.reading();
        let failure = self.wake_aside(version);
        let took = Duration::from_nanos(self.serving.clock.reading().nanos_since(started));
        let (tier, now) = (self.tier_of(&**version), self.serving.clock.now());
        let control = &mut *self.control.lock();
        version.woken();
        if failure.is_none() {
            control.settled(version, tier, took, now);
        }
        failure
    }

    /// Takes over what may be taken over; an event tells where that fails.
    pub(crate) fn take_over_if_free(&self) {
        if let Err(error) = self.take_over() {
            self.not_durable(&error);
        }
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Loads versions on threads of their own, which may never end: with a share in all that it takes.
    fn loader(&self) -> Loader<I, O> {
        let serving = &self.serving;
        Loader {
            name: self.control.lock().settings.name.clone(),
            needs: Arc::new(Needs {
                task: serving.task.reading(),
                check: serving.check.clone(),
                sample: self.sample.clone(),
                source: self.keeper.source.clone(),
            }),
            clock: serving.clock.clone(),
            threads: Arc::clone(&self.threads),
            limit: self.staging_deadline,
            told: Mutex::default(),
        }
    }
}

impl Control {
    /// Begins with another live, before all else is adopted. What was loaded here until then and is of no use any more is freed as all
    /// versions are: to drop it here would be the host's code under the lock.
    fn succeed(&mut self, live: Option<Arc<dyn AnyVersion>>, adopt: impl FnOnce(&mut Self)) {
        let before = self.loaded();
        if let Some(live) = live {
            self.live = live;
        }
        adopt(self);
        let loaded = self.loaded();
        for version in before {
            if !loaded.iter().any(|kept| Arc::ptr_eq(kept, &version)) {
                self.retired.push(version);
            }
        }
    }
}

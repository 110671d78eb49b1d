//! A start that remembers: which versions it needs, where they come from, and what is live where one cannot be had.

use super::core::Core;
use super::keeper::{Loaded, Opened, Remembered, load};
use super::loader::{Loader, Needs};
use super::record::Recorder;
use crate::base::ordered::OrderedMap;
use crate::control::adopt::Start;
use crate::control::control::Control;
use crate::control::event::EventKind;
use crate::control::saved::SavedControl;
use crate::state::names::{JOURNAL, Place};
use crate::state::{Found, Journal, StateError};
use crate::version::loaded::AnyVersion;
use parking_lot::Mutex;
use std::fs;
use std::sync::Arc;

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Goes on from what is remembered, or looks on where another process has it; and writes down that this life has begun.
    pub(crate) fn go_on(&self, remembered: Option<Remembered>) {
        if let Some(Remembered { saved, evidence, loaded, missing, torn_bytes }) = remembered {
            let (setting, after_crash) = (self.setting(), self.keeper.after_crash);
            let start = Start { setting, after_crash, loaded, missing, torn_bytes };
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
        let found = saved.map(|(saved, evidence)| {
            let already = self.control.lock().loaded();
            let current = already.first().cloned();
            let loader = self.loader();
            let loaded = load(&saved, None, &already, |id, own| loader.load(id, own));
            loader.told.into_inner().into_iter().for_each(|event| self.tell(event));
            let (live, loaded, missing) = match loaded {
                Ok(Loaded { live, loaded, missing }) => (Some(live), loaded, missing),
                Err(none) => {
                    let missing = none.into_iter().map(|one| (one.version, one.reason)).collect();
                    (current, OrderedMap::new(), missing)
                }
            };
            let (setting, after_crash) = (self.setting(), self.keeper.after_crash);
            (saved, evidence, live, Start { setting, after_crash, loaded, missing, torn_bytes })
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
                control.announcer.announce(now, control.epoch, EventKind::TookOver);
                control.succeed(live, |control| control.adopt(saved, evidence, &start, self.desk(now)));
            });
        }
        self.begin_writing(turn, journal, lives);
        Ok(true)
    }

    /// Answers with what is live in the process that has the state, where that is another version by now: a version that was taken back
    /// there did harm here too. What cannot be read is looked at again at the next tick: that process may be writing it.
    fn look_again(&self, place: &Place) {
        let written = fs::metadata(place.folder.join(JOURNAL));
        let (Ok(written), Some(recorder)) = (written, &self.keeper.recorder) else { return };
        let stamp = Some((written.len(), written.modified().ok()));
        if recorder.turn().0.seen == stamp {
            return;
        }
        let Ok(found) = Found::read(&place.files, &place.folder) else { return };
        let saved = found.state.as_deref().map(serde_json::from_slice::<SavedControl>);
        let Some(Ok(mut saved)) = saved else { return };
        if self.control.lock().is_behind(&saved) {
            // Its rollouts are the other process's.
            saved.attempts.clear();
            let already = self.control.lock().loaded();
            let loader = self.loader();
            let loaded = load(&saved, None, &already, |id, own| loader.load(id, own));
            loader.told.into_inner().into_iter().for_each(|event| self.tell(event));
            // Where none of them can be had, what answers here goes on.
            let Ok(Loaded { live, loaded, missing }) = loaded else { return };
            let (setting, after_crash) = (self.setting(), self.keeper.after_crash);
            let start = Start { setting, after_crash, loaded, missing, torn_bytes: 0 };
            let now = self.serving.clock.now();
            self.change(|control| {
                let look = |control: &mut Control| control.look_on_again(&saved, &start, self.desk(now));
                control.succeed(Some(live), look);
            });
        }
        recorder.turn().0.seen = stamp;
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

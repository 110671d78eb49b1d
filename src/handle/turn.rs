//! Writing down what happens to a handle: see [`Recorder`] for the rules.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::core::Core;
use super::record::{Recorder, Turn, Writing};
use crate::base::causes::in_full;
use crate::base::clock::Timestamp;
use crate::control::control::Control;
use crate::control::desk::Desk;
use crate::control::event::{Event, EventKind};
use crate::control::saved::SavedSetting;
use crate::rollout::decision::Decision;
use crate::state::{Entry, Journal, Kind, StateError};

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Raises the exposure of attempts, once it is on disk that it will be; writes down what came of it. Waits for whoever
    /// is writing.
    ///
    /// # Errors
    ///
    /// It could not be written down: then it was not raised. With the reason.
    pub(crate) fn raise<T>(
        &self,
        attempts: Vec<u32>,
        raise: impl FnOnce(&mut Control, Desk<'_>) -> T,
    ) -> Result<T, String> {
        #[cfg(feature = "fleet")]
        if let Some(fleet) = &self.fleet {
            return self.agree(fleet, raise);
        }
        let raise = |control: &mut Control| raise(control, self.desk(self.serving.clock.now()));
        if attempts.is_empty() {
            let result = self.change(raise);
            self.record();
            return Ok(result);
        }
        let turn = self.intend(attempts).map_err(|error| in_full(&error))?;
        let (result, discarded) = self.changed(raise);
        self.raised(turn);
        // The host's code, so not while others wait for the turn to write.
        drop(discarded);
        Ok(result)
    }

    /// Whether all that happened is on disk; nothing where no state is kept.
    pub(crate) fn is_durable(&self, control: &Control) -> Option<bool> {
        self.keeper.recorder.as_ref().map(|recorder| recorder.is_durable(control))
    }

    /// Whether what happens is written down, as far as is known; so it is where no state is kept.
    #[cfg(all(feature = "onnx", feature = "repository"))]
    pub(crate) fn writes(&self) -> bool {
        // Relaxed: as in `is_durable`.
        self.keeper.recorder.as_ref().is_none_or(|recorder| !recorder.failing.load(Ordering::Relaxed))
    }

    fn intend(&self, attempts: Vec<u32>) -> Result<Option<Turn<'_>>, StateError> {
        let Some(recorder) = &self.keeper.recorder else { return Ok(None) };
        let mut turn = recorder.turn();
        match self.write(recorder, &mut turn.0, false, attempts) {
            Ok(()) => Ok(Some(turn)),
            Err(error) => {
                drop(turn);
                self.write_again(recorder);
                Err(error)
            }
        }
    }

    /// Begins to write, in a turn that was taken before anything was adopted from the process that wrote until then.
    pub(crate) fn begin_writing(&self, mut turn: Turn<'_>, journal: Journal, lives: u64) {
        let Some(recorder) = &self.keeper.recorder else { return };
        let writing = &mut *turn.0;
        (writing.journal, writing.lives, writing.looking_at) = (Some(journal), lives, None);
        // Where it fails an event tells, what was exposed is held, and the next tick tries again.
        let is_written = self.write(recorder, writing, false, Vec::new()).is_ok();
        let begin =
            |control: &mut Control| control.begin_exposing(is_written, self.desk(self.serving.clock.now()));
        // The host's code among it is dropped once the turn is over.
        let (any, _discarded) = self.changed(begin);
        if any {
            let _ = self.write(recorder, writing, false, Vec::new());
        }
        drop(turn);
        self.write_again(recorder);
    }

    fn raised(&self, turn: Option<Turn<'_>>) {
        if let (Some(recorder), Some(mut turn)) = (&self.keeper.recorder, turn) {
            // Where it fails the intention is on disk, an event tells, and the next tick tries again.
            let _ = self.write(recorder, &mut turn.0, false, Vec::new());
            drop(turn);
            self.write_again(recorder);
        }
    }

    /// Writes down what happened, unless somebody is writing: they, or the next tick, will.
    pub(crate) fn record(&self) {
        if let Some(recorder) = &self.keeper.recorder {
            recorder
                .again
                .ask(|| recorder.writing.try_lock(), |writing| self.write_for_all(recorder, writing));
        }
    }

    /// By whoever has let go of the turn: others may have found it taken.
    fn write_again(&self, recorder: &Recorder) {
        recorder.again.go_on(|| recorder.writing.try_lock(), |writing| self.write_for_all(recorder, writing));
    }

    fn write_for_all(&self, recorder: &Recorder, mut writing: MutexGuard<'_, Writing>) {
        let _ = self.write(recorder, &mut writing, false, Vec::new());
    }

    /// Writes down what happened since the last time, if anything did, or if it is time for the evidence.
    pub(crate) fn checkpoint_if_due(&self, now: Timestamp) {
        let Some(recorder) = &self.keeper.recorder else { return };
        let durable = recorder.is_durable(&self.control.lock());
        let due = recorder
            .writing
            .try_lock()
            .is_some_and(|writing| now.since(writing.at) >= recorder.checkpoint_every);
        self.write_again(recorder);
        if !durable || due {
            let _span = self.traces.checkpoint();
            self.record();
        }
    }

    /// Writes down all that happened and was seen. Waits for whoever is writing.
    pub(crate) fn checkpoint(&self) -> Result<(), StateError> {
        let Some(recorder) = &self.keeper.recorder else { return Ok(()) };
        let _span = self.traces.checkpoint();
        let written = self.write(recorder, &mut recorder.writing.lock(), false, Vec::new());
        self.write_again(recorder);
        written
    }

    /// Writes down that the handle ends, with all that runs, and lets go of the journal.
    pub(crate) fn record_end(&self) {
        let Some(recorder) = &self.keeper.recorder else { return };
        let mut writing = recorder.writing.lock();
        let _ = self.write(recorder, &mut writing, true, Vec::new());
        // Nor is it taken over any more, where another process has it.
        (writing.journal, writing.looking_at) = (None, None);
    }

    fn write(
        &self,
        recorder: &Recorder,
        writing: &mut Writing,
        ended: bool,
        raising: Vec<u32>,
    ) -> Result<(), StateError> {
        let Writing { journal: Some(journal), at, whole, lives, .. } = writing else {
            return Err(StateError::NotWriting);
        };
        let now = self.serving.clock.now();
        let whole_is_due = std::mem::replace(whole, true) || journal.wants_rewrite().is_some();
        let from = recorder.written.1.load(Ordering::Relaxed);
        let decided_before = recorder.written.2.load(Ordering::Relaxed);
        let (state, evidence, events, decisions, epoch, all, forgotten) = {
            let control = &mut *self.control.lock();
            control.collect(&self.serving.joins, now);
            // While the disk failed more happened than is remembered: the journal says how much at its head.
            let forgotten = control.announcer.forgotten_since(from);
            let all = whole_is_due || forgotten > 0;
            let mut state = control.saved((recorder.process, *lives), ended, raising, now);
            state.key = Some(self.serving.joins.key().print());
            state.setting = Some(SavedSetting::of(&self.setting()));
            #[cfg(feature = "forecast")]
            {
                state.traffic = control.traffic(control.labels_after(&self.serving.joins), now);
            }
            let evidence = control.saved_evidence(&self.serving.joins, all);
            let events = control.announcer.since(from);
            // All that are remembered, where all is written again.
            let decisions: Vec<Arc<Decision>> = control.decisions_since(if all { 0 } else { decided_before });
            (state, evidence, events, decisions, control.epoch, all, forgotten)
        };
        let (next_event, decided) = (state.next_event, state.decided);
        let state = json(&state)?;
        let evidence: Vec<Vec<u8>> = evidence.in_parts().iter().map(json).collect::<Result<_, _>>()?;
        let events: Vec<Vec<u8>> =
            events.iter().map(|event: &Arc<Event>| json(event)).collect::<Result<_, _>>()?;
        let decisions: Vec<Vec<u8>> =
            decisions.iter().map(|decision| json(&**decision)).collect::<Result<_, _>>()?;
        journal.miss(forgotten);
        let result = if all {
            journal.rewrite(&state, &evidence, &events, &decisions).map(drop)
        } else {
            let entry = |kind, body| Entry { kind, whole: false, body };
            let mut entries: Vec<Entry> = events.into_iter().map(|body| entry(Kind::Event, body)).collect();
            entries.extend(decisions.into_iter().map(|body| entry(Kind::Decision, body)));
            entries.push(entry(Kind::State, state));
            entries.extend(evidence.into_iter().map(|part| entry(Kind::Evidence, part)));
            journal.append(&entries)
        };
        *whole = result.is_err();
        *at = now;
        match &result {
            Ok(()) => {
                recorder.written.0.store(epoch, Ordering::Relaxed);
                recorder.written.1.store(next_event, Ordering::Relaxed);
                recorder.written.2.store(decided, Ordering::Relaxed);
                if recorder.failing.swap(false, Ordering::Relaxed) {
                    self.tell(EventKind::StateSaved);
                }
            }
            Err(error) => self.not_durable(error),
        }
        result
    }

    /// Says that what happens is not on disk, once until it is again.
    pub(crate) fn not_durable(&self, error: &StateError) {
        let Some(recorder) = &self.keeper.recorder else { return };
        if !recorder.failing.swap(true, Ordering::Relaxed) {
            self.tell(EventKind::StateNotSaved { reason: in_full(error) });
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(value).map_err(StateError::json)
}

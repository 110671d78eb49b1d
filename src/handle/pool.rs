//! Threads that ask candidates in the place of callers, who wait for no longer than the deadline.
//!
//! There are as many as calls are under way at one time, begun when there is a call and none is free, and ended after a rest. One
//! that is in a call which does not return is given up like all threads of ours; another takes the next call.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use parking_lot::Mutex;

use super::supervised::{Beat, Beats, begin_as_ours};
use crate::base::clock::Clock;
use crate::base::guarded::{Contained, guarded};
use crate::model::activity::Activity;
use crate::model::error::ModelError;
use crate::request::beside::{Answered, AskBeside, Errand, Returned};
use crate::version::loaded::CALLS_MAX;
use crate::version::post::At;

/// The name of the threads.
pub(crate) const CANDIDATE: &str = "switchback-candidate";

/// How many there are at most, in calls that do not return or not: as many as calls of one candidate may be under way.
pub(crate) const THREADS_MAX: usize = CALLS_MAX;

/// How long one rests that has nothing to do before it ends.
const REST: Duration = Duration::from_secs(10);

/// How often a clock that is turned by hand is looked at: nobody tells that it was.
const LOOK: Duration = Duration::from_millis(1);

/// The job that a thread is handed.
struct Handed<I: ?Sized, O> {
    errand: Errand<I, O>,
    answer: Sender<Answered<O>>,
}

/// The threads, and the way to hand them calls. Nothing is handed over before a thread is there to take it.
pub(crate) struct Pool<I: ?Sized, O> {
    handing: Sender<Handed<I, O>>,
    taking: Receiver<Handed<I, O>>,
    beats: Arc<Beats>,
    clock: Clock,
    /// How long a call may take until its thread is given up.
    overdue_after: Duration,
    /// Held by whoever begins a thread.
    growing: Mutex<()>,
}

impl<I: ?Sized + 'static, O: Send + 'static> Pool<I, O> {
    pub(crate) fn new(beats: &Arc<Beats>, clock: &Clock, overdue_after: Duration) -> Self {
        let (handing, taking) = crossbeam_channel::bounded(0);
        let (beats, clock, growing) = (Arc::clone(beats), clock.clone(), Mutex::new(()));
        Self { handing, taking, beats, clock, overdue_after, growing }
    }

    /// Begins one more thread, for a call that nobody else can take before it: else that would wait for a thread that another call
    /// may keep. Nothing where there may be no more, or the system has none to give.
    fn grow(&self) -> Option<Sender<Handed<I, O>>> {
        let _growing = self.growing.lock();
        let (working, abandoned) = self.beats.count(CANDIDATE);
        if working + abandoned >= THREADS_MAX {
            return None;
        }
        let (first, takes_first) = crossbeam_channel::bounded(1);
        let beat = self.beats.of(CANDIDATE);
        let (own, beats, taking) = (Arc::clone(&beat), Arc::clone(&self.beats), self.taking.clone());
        let (clock, overdue_after) = (self.clock.clone(), self.overdue_after);
        let body = move || {
            begin_as_ours();
            let stopped = beats.stopped();
            // All of the host's code in it is guarded by itself. Were it to panic all the same, the thread is gone, and the next
            // call begins another.
            let _ = guarded(|| work(&takes_first, &taking, stopped, &own, &clock, overdue_after));
            beats.forget(&own);
            own.ended();
        };
        let started = std::thread::Builder::new().name(CANDIDATE.into()).spawn(body).is_ok();
        if !started {
            self.beats.forget(&beat);
            beat.ended();
        }
        started.then_some(first)
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> AskBeside<I, O> for Pool<I, O> {
    fn ask(&self, errand: Errand<I, O>) -> Returned<O> {
        let (limit, started) = (errand.limit, errand.started);
        let left = || limit.saturating_sub(Duration::from_nanos(self.clock.reading().nanos_since(started)));
        let (answer, answered) = crossbeam_channel::bounded(1);
        match self.handing.try_send(Handed { errand, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(handed)) => match self.grow() {
                // There is room for it, and the thread takes it before anything else.
                Some(first) if first.try_send(handed).is_ok() => {}
                _ => return Returned::Full,
            },
            Err(TrySendError::Disconnected(_)) => return Returned::Full,
        }
        loop {
            let left = left();
            let wait = if self.clock.is_turned_by_hand() { left.min(LOOK) } else { left };
            match answered.recv_timeout(wait) {
                Ok(answered) => return Returned::Answered(answered),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Returned::Late,
                Err(RecvTimeoutError::Timeout) => {}
                // Only a thread that was ended from outside says nothing.
                Err(RecvTimeoutError::Disconnected) => return Returned::Late,
            }
        }
    }
}

/// Takes its first call, and others until there is nothing to do for a while, the handle ends, or the thread was given up.
fn work<I: ?Sized, O: 'static>(
    first: &Receiver<Handed<I, O>>,
    taking: &Receiver<Handed<I, O>>,
    stopped: &Receiver<()>,
    beat: &Beat,
    clock: &Clock,
    overdue_after: Duration,
) {
    let next = || {
        crossbeam_channel::select! {
            recv(taking) -> handed => handed.ok(),
            recv(stopped) -> _ => None,
            default(REST) => None,
        }
    };
    let mut handed = first.recv().ok();
    while let Some(Handed { errand, answer }) = handed {
        let Errand { place, inputs, batch, limit, .. } = errand;
        let started = clock.reading();
        let (version, activity, began) = (place.version.id, Activity::Request, clock.at(started));
        beat.post.begin(At { version, blocks: None, activity, load: None, began, limit: overdue_after });
        let model = &place.version.model;
        let asked = guarded(|| {
            let rows: Vec<&I> = inputs.iter().map(|input| input.input()).collect();
            let outputs = match rows.first() {
                Some(row) if !batch => vec![model.predict_within(row, limit)],
                _ => model.predict_batch(&rows),
            };
            outputs.into_iter().map(|output| output.map(Contained::new)).collect()
        });
        let ended = clock.reading();
        drop(place);
        let is_waited_for = beat.post.end();
        let answered = Answered { outputs: asked.map_err(ModelError::from), started, ended };
        // Whoever asked has been answered by live where it waits no more, and this goes here.
        let _ = answer.try_send(answered);
        drop(inputs);
        if !is_waited_for {
            return;
        }
        beat.worked(clock.at(ended));
        handed = next();
    }
}

//! Threads that ask candidates in the place of callers, who wait for no longer than the deadline.
//!
//! There are as many as calls are under way at one time, begun when there is a call and none is free, and ended after a rest. One
//! that is in a call which does not return is given up like all threads of ours; another takes the next call. How many calls there
//! may be is counted by itself: so whoever is no candidate can ask, by one load, whether a candidate would have been asked.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender};
use parking_lot::Mutex;

use super::supervised::{Beat, Beats, begin_as_ours};
use crate::base::clock::{Clock, TimePoint};
use crate::base::guarded::{Contained, guarded};
use crate::base::sync::Budget;
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

/// How often a clock that is turned by hand is looked at: nobody tells that it was. And whether a thread is free, where one will be.
const LOOK: Duration = Duration::from_millis(1);

/// The job that a thread is handed.
struct Handed<I: ?Sized, O> {
    errand: Errand<I, O>,
    answer: Sender<Answered<O>>,
    part: Part,
}

/// The part that one call has of all that there may be. Given back when this goes: once its thread is back from the host's code, which
/// may be long after the caller has left.
struct Part(Arc<Budget>);

impl Part {
    fn take(calls: &Arc<Budget>) -> Option<Self> {
        calls.reserve(1).then(|| Self(Arc::clone(calls)))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

/// What came of beginning one more thread.
enum Grown<I: ?Sized, O> {
    /// It has begun, and takes this before anything else.
    By(Sender<Handed<I, O>>),
    /// There are as many as there may be.
    Enough,
    /// The system has none to give.
    NoThread,
}

/// The threads, and the way to hand them calls. Nothing is handed over before a thread is there to take it.
pub(crate) struct Pool<I: ?Sized, O> {
    handing: Sender<Handed<I, O>>,
    taking: Receiver<Handed<I, O>>,
    /// The calls that threads are in, or are about to take.
    calls: Arc<Budget>,
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
        let calls = Arc::new(Budget::new(THREADS_MAX));
        Self { handing, taking, calls, beats, clock, overdue_after, growing }
    }

    /// Begins one more thread, for a call that nobody else can take before it: else that would wait for a thread that another call
    /// may keep.
    fn grow(&self) -> Grown<I, O> {
        let _growing = self.growing.lock();
        let (working, abandoned) = self.beats.count(CANDIDATE);
        if working + abandoned >= THREADS_MAX {
            return Grown::Enough;
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
        if started {
            return Grown::By(first);
        }
        self.beats.forget(&beat);
        beat.ended();
        Grown::NoThread
    }

    /// Hands a call to a thread that is free, or to one that begins with it; whether one has it. A call has its part first, and there may
    /// be as many threads as calls: where there are, one of them has no call any more, and is free or ends in a moment.
    fn hand(&self, mut handed: Handed<I, O>, left: impl Fn() -> Duration) -> bool {
        let mut wait = Duration::ZERO;
        loop {
            handed = match self.handing.send_timeout(handed, wait) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(handed)) => handed,
                Err(SendTimeoutError::Disconnected(_)) => return false,
            };
            match self.grow() {
                // There is room for it.
                Grown::By(first) => return first.try_send(handed).is_ok(),
                Grown::Enough => wait = LOOK.min(left()),
                Grown::NoThread => return false,
            }
            if wait.is_zero() {
                return false;
            }
        }
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> AskBeside<I, O> for Pool<I, O> {
    #[inline]
    fn has_room(&self) -> bool {
        self.calls.any_left()
    }

    fn ask(&self, errand: Errand<I, O>) -> Returned<O> {
        let (limit, started) = (errand.limit, errand.started);
        let left = || limit.saturating_sub(Duration::from_nanos(self.clock.reading().nanos_since(started)));
        let Some(part) = Part::take(&self.calls) else { return Returned::Full };
        let (answer, answered) = crossbeam_channel::bounded(1);
        if !self.hand(Handed { errand, answer, part }, left) {
            return Returned::Full;
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
    while let Some(Handed { errand, answer, part }) = handed {
        let Errand { place, inputs, batch, limit, .. } = errand;
        let started = clock.reading();
        let began = TimePoint { at: clock.at(started), read: started };
        let (version, activity) = (place.version.id, Activity::Request);
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
        drop(part);
        if !is_waited_for {
            return;
        }
        beat.worked(clock.at(ended));
        handed = next();
    }
}

//! The parts that a request needs, and what is done for it aside: all that answers without the control side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};

use super::ahead::{Back, Lowered, TakenBack};
use super::beside::AskBeside;
use super::pace::Pace;
use super::recall::Answers;
use super::shadow::{Aside, ShadowCounts, ShadowQueue, Watched};
use super::table::{Router, Routing};
use crate::base::chance::Dice;
use crate::base::clock::Clock;
use crate::base::guarded::guarded;
use crate::base::share::Share;
use crate::base::sync::Came;
use crate::drift::watch::watch::DriftWatch;
use crate::feedback::join::Joins;
use crate::task::segments::Segments;
use crate::task::task::{Check, Task};
use crate::version::ask::Judge;
use crate::version::drill::Recent;
use crate::version::input::CopyInput;
use crate::version::loaded::{AnyVersion, Version};

/// How many requests all asynchronous handles there are run at one time at most. Relaxed: it says something by itself, and who reads it
/// too early knows of no asynchronous handle yet, which nobody has asked then.
#[derive(Default)]
pub(crate) struct Places(AtomicUsize);

impl Places {
    /// As many as there are where nobody asks from asynchronous code.
    #[inline]
    pub(crate) fn most(&self) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => usize::MAX,
            places => places,
        }
    }

    /// Adds those of an asynchronous handle, until what is returned goes.
    #[cfg(feature = "tokio")]
    pub(crate) fn add(self: &Arc<Self>, places: usize) -> Added {
        self.0.fetch_add(places, Ordering::Relaxed);
        Added { all: Arc::clone(self), places }
    }
}

/// The places of one asynchronous handle and its clones among [those of all](Places).
#[cfg(feature = "tokio")]
pub(crate) struct Added {
    all: Arc<Places>,
    places: usize,
}

#[cfg(feature = "tokio")]
impl Drop for Added {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.places, Ordering::Relaxed);
    }
}

/// The parts that a request needs. Everything here is read by every request and written by none of them, but for the
/// counters behind its own locks.
pub(crate) struct Serving<I: ?Sized, O> {
    pub(crate) routing: ArcSwap<Routing<Version<I, O>>>,
    pub(crate) task: Task<O>,
    pub(crate) check: Option<Check<O>>,
    /// How long a candidate may take.
    pub(crate) limit: Option<Duration>,
    /// Asks candidates in the place of callers, where that is wanted and there is a limit.
    pub(crate) beside: Option<Box<dyn AskBeside<I, O>>>,
    /// Copies inputs for it, where that is allowed.
    pub(crate) copy: Option<CopyInput<I>>,
    /// How many calls of a candidate for callers may be under way, where the host says so.
    pub(crate) calls_max: Option<usize>,
    /// The threads that have asked candidates.
    pub(crate) threads: Came,
    /// How many requests from asynchronous code run at one time at most.
    pub(crate) places: Arc<Places>,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) joins: Joins,
    pub(crate) shadow: Option<ShadowQueue<I, O>>,
    /// The share of what the answer would hide that is let through.
    pub(crate) explore: Option<Share>,
    /// Which predictions candidates answer, where that is kept.
    pub(crate) answers: Option<Arc<Answers>>,
    /// Copies of a few recent inputs, where retained versions are kept proven.
    pub(crate) recent: Option<Recent<I>>,
    /// The watch over what comes in and what is said of it, where that is watched.
    pub(crate) drift: Option<DriftWatch<I>>,
    /// How requests are labelled, where they are.
    pub(crate) segments: Option<Segments<I>>,
    /// Wakes threads that rest while there is nothing on trial.
    pub(crate) bells: Bells,
    /// How long whoever answers takes, for callers that must not block.
    pub(crate) pace: Pace,
    /// Rollbacks that have taken effect and wait for the control lock.
    pub(crate) taken_back: TakenBack,
}

/// Rung where a table comes into force that gives threads something to do which had nothing. No request rings them.
pub(crate) struct Bells {
    /// There are candidates whose deadlines are to be looked after.
    pub(crate) trial: (Sender<()>, Receiver<()>),
    /// Requests are copied: once for each thread that runs copies.
    pub(crate) shadows: (Sender<()>, Receiver<()>),
}

impl Bells {
    pub(crate) fn new(workers: usize) -> Self {
        let (one, each) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded(workers.max(1)));
        Self { trial: one, shadows: each }
    }
}

impl<I: ?Sized + 'static, O: 'static> Serving<I, O> {
    #[inline]
    pub(crate) fn judge(&self, on_trial: bool) -> Judge<'_, O> {
        Judge {
            task: &self.task,
            check: self.check.as_ref(),
            limit: if on_trial { self.limit } else { None },
        }
    }

    /// The judge of a shadow's answers.
    pub(crate) fn shadow_judge(&self) -> Judge<'_, O> {
        self.judge(true)
    }

    /// Returns what is needed to run copies.
    pub(crate) fn aside<'a>(&'a self, watched: Option<Watched<'a>>) -> Aside<'a, I, O> {
        let (judge, drift) = (self.shadow_judge(), self.drift.as_ref());
        Aside { judge, joins: &self.joins, clock: &self.clock, drift, watched }
    }

    pub(crate) fn shadow_counts(&self) -> ShadowCounts {
        self.shadow.as_ref().map(ShadowQueue::counts).unwrap_or_default()
    }

    /// Whether a candidate may be asked, so that deadlines are to be looked after.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.routing.load().arms.len() > 1
    }

    /// Takes candidates off for as long as what is returned lives.
    pub(crate) fn withhold(&self) -> Lowered<'_> {
        Lowered::candidates(Arc::clone(&self.routing.load().lease), self.clock.now())
    }

    /// Takes candidates off, and live back where a rollback does that and the version before it would answer at once.
    pub(crate) fn take_back(&self, back: Back<'_>) -> Lowered<'_> {
        let table = self.routing.load();
        let is_done = match back {
            Back::Whatever => table.owner.is_some(),
            Back::Watched(attempt) => table.watched != Some(attempt),
            Back::BeforeLive | Back::To(_) => false,
        };
        drop(table);
        self.withhold().live(&self.taken_back, back, is_done, || self.put_back(back))
    }

    /// Puts the version before live in its place in the table that is in force, whichever that is; whether it did.
    fn put_back(&self, back: Back<'_>) -> bool {
        loop {
            let table = self.routing.load();
            let goes = table.before.as_ref().is_some_and(|before| match back {
                Back::Whatever => before.is_next,
                Back::BeforeLive => true,
                Back::Watched(attempt) => {
                    let watch = table.previous.as_ref().map(|previous| previous.version.id);
                    table.watched == Some(attempt) && watch == Some(before.arm.version.id)
                }
                Back::To(version) => before.arm.version.id == *version,
            });
            let Some(lowered) = goes.then(|| table.taken_back()).flatten() else { return false };
            let lowered = Arc::new(lowered);
            self.pace.changes(&table, &lowered);
            let found = self.routing.compare_and_swap(&*table, Arc::clone(&lowered));
            if Arc::ptr_eq(&found, &table) {
                // Once more: nobody who measures is kept out, as by the lock under which tables are stored.
                self.pace.has_changed(&table, &lowered);
                return true;
            }
        }
    }

    pub(crate) fn run_shadow(&self, max: usize) -> usize {
        let Some(queue) = &self.shadow else { return 0 };
        (0..max).take_while(|_| queue.run_one(&self.aside(None))).count()
    }

    pub(crate) fn stop_overdue(&self) {
        let routing = self.routing.load();
        let candidates = routing.arms.get(1..).unwrap_or_default();
        for arm in candidates {
            // The host's code, on the thread that ticks: one that panics stops nothing, and no other candidate pays for it.
            let _ = guarded(|| {
                if let Some(own) = arm.version.model.lifecycle() {
                    own.stop_overdue();
                }
            });
        }
    }
}

impl<I: ?Sized + 'static, O: 'static> Router for Serving<I, O> {
    fn store(&self, table: Routing<dyn AnyVersion>) {
        let typed = table.typed();
        // Every version of this handle was made by it, with its types: see `AnyVersion`.
        debug_assert!(typed.is_some(), "a version of another handle is in the table");
        if let Some(table) = typed {
            let (on_trial, shadows) = (table.arms.len() > 1, !table.shadowing.is_empty());
            self.pace.changes(&self.routing.load(), &table);
            self.routing.store(Arc::new(table));
            self.taken_back.follow(|back| _ = self.put_back(back));
            // One that is full has been rung already.
            if on_trial {
                let _ = self.bells.trial.0.try_send(());
            }
            while shadows && self.bells.shadows.0.try_send(()).is_ok() {}
        }
    }
}

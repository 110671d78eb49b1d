//! What all clones of a handle share, and the work that is nobody's request.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

#[cfg(feature = "state")]
use super::record::Recorder;
use crate::base::chance::Dice;
use crate::base::clock::Clock;
use crate::base::os;
use crate::base::share::Share;
#[cfg(feature = "state")]
use crate::control::adopt::AfterCrash;
use crate::control::control::Control;
use crate::control::event::EventKind;
use crate::control::tick::Verdicts;
use crate::drift::watch::watch::DriftWatch;
use crate::feedback::join::Joins;
use crate::model::throttle::LoadThrottle;
use crate::request::recall::Answers;
use crate::request::shadow::{Aside, ShadowCounts, ShadowQueue};
use crate::request::table::Routing;
use crate::rollout::forecast::traffic::Traffic;
use crate::rollout::guard::design::{Setting, TruthKind};
use crate::task::outcome::Truth;
use crate::task::segments::Segments;
use crate::task::task::Task;
use crate::version::ask::{Check, Judge};
use crate::version::drill::Recent;
use crate::version::id::VersionId;
use crate::version::input::KeptInput;
use crate::version::loaded::Version;
use crate::version::priority::LoadPriority;
#[cfg(feature = "state")]
use crate::version::source::ModelSource;

/// What all clones of a handle share.
pub(crate) struct Inner<I: ?Sized, O> {
    pub(crate) routing: ArcSwap<Routing<I, O>>,
    pub(crate) task: Task<O>,
    pub(crate) check: Option<Check<O>>,
    /// How long a candidate may take.
    pub(crate) limit: Option<Duration>,
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) joins: Joins,
    pub(crate) shadow: Option<ShadowQueue<I, O>>,
    /// An input that every version must answer before it takes traffic.
    pub(crate) sample: Option<Box<dyn KeptInput<I> + Sync>>,
    /// The share of what the answer would hide that is let through.
    pub(crate) explore: Option<Share>,
    /// On a canary, live shadows what the candidate answers.
    pub(crate) canary_pairs: bool,
    /// It is known when labels are complete.
    pub(crate) matures: bool,
    /// Which predictions candidates answer, where that is kept.
    pub(crate) answers: Option<Answers>,
    /// Somebody ticks: a thread of ours, or the host as it said.
    pub(crate) driven: bool,
    pub(crate) control: Mutex<Control<I, O>>,
    /// Copies of a few recent inputs, where retained versions are kept proven.
    pub(crate) recent: Option<Recent<I>>,
    /// What comes in and what is said of it, where that is watched.
    pub(crate) drift: Option<DriftWatch<I>>,
    /// How requests are labelled, where they are.
    pub(crate) segments: Option<Segments<I>>,
    /// Versions that are being loaded.
    pub(crate) loads: Mutex<Vec<(VersionId, LoadThrottle)>>,
    /// Held by whoever keeps versions up.
    pub(crate) keeping_up: Mutex<()>,
    pub(crate) load_priority: LoadPriority,
    /// A thread of ours keeps versions up; ticks do not.
    pub(crate) keeps_up_aside: bool,
    pub(crate) upkeep_bell: (Sender<()>, Receiver<()>),
    /// Held by whoever ticks.
    pub(crate) ticking: Mutex<()>,
    /// Writes down what happens, where state is kept.
    #[cfg(feature = "state")]
    pub(crate) recorder: Option<Recorder>,
    /// Where versions come from by name, where state is kept.
    #[cfg(feature = "state")]
    pub(crate) versions: Option<Box<dyn ModelSource<I, O>>>,
    #[cfg(feature = "state")]
    pub(crate) after_crash: AfterCrash,
}

/// What is done where no state can be kept.
#[cfg(not(feature = "state"))]
impl<I: ?Sized + 'static, O: 'static> Inner<I, O> {
    pub(crate) fn record(&self) {}

    pub(crate) fn take_over_if_free(&self) {}

    pub(crate) fn record_end(&self) {}

    pub(crate) fn checkpoint_if_due(&self, _: crate::base::clock::Timestamp) {}

    pub(crate) fn is_durable(&self, _: &Control<I, O>) -> Option<bool> {
        None
    }

    /// Raises the exposure of attempts.
    pub(crate) fn raise<T>(&self, _: Vec<u32>, raise: impl FnOnce() -> T) -> Result<T, String> {
        Ok(raise())
    }
}

impl<I: ?Sized + 'static, O: 'static> Inner<I, O> {
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

    /// Changes the control side. Guards of rollouts that ended with it are dropped outside of the lock.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Control<I, O>) -> T) -> T {
        let (result, discarded) = {
            let control = &mut *self.control.lock();
            (change(control), std::mem::take(&mut control.discarded))
        };
        for guard in discarded {
            // A destructor of the host's that panics undoes nothing.
            let _ = self.shadow_judge().guarded(|| drop(guard));
        }
        result
    }

    /// What is needed to run copies.
    pub(crate) fn aside(&self) -> Aside<'_, I, O> {
        let (judge, drift) = (self.shadow_judge(), self.drift.as_ref());
        Aside { judge, joins: &self.joins, clock: &self.clock, drift }
    }

    pub(crate) fn shadow_counts(&self) -> ShadowCounts {
        self.shadow.as_ref().map(ShadowQueue::counts).unwrap_or_default()
    }

    pub(crate) fn run_shadow(&self, max: usize) -> usize {
        let Some(queue) = &self.shadow else { return 0 };
        (0..max).take_while(|_| queue.run_one(&self.aside())).count()
    }

    pub(crate) fn stop_overdue(&self) {
        let routing = self.routing.load();
        let candidates = routing.arms.get(1..).unwrap_or_default();
        for arm in candidates {
            arm.version.stop_overdue();
        }
    }

    pub(crate) fn tick(&self) {
        let Some(_ticking) = self.ticking.try_lock() else { return };
        self.take_over_if_free();
        let now = self.clock.now();
        if let Some(queue) = &self.shadow {
            queue.relieve();
        }
        let told = self.settle_drift(now);
        let mut snapshots = self.change(|control| {
            if let Some(drift) = &self.drift {
                control.tell_of_drift(told, drift.shared, now);
            }
            control.collect(&self.joins, now);
            control.take_answers(self.answers.as_ref());
            control.announce_recalls(now);
            control.lower_tripped(&self.routing, &self.joins, now);
            control.refit(&self.routing, &self.joins, now);
            control.allocate(&self.routing, &self.joins, now);
            control.snapshots(self.shadow_counts(), self.truth(), now)
        });
        if let Some(drift) = &self.drift {
            snapshots.iter_mut().for_each(|snapshot| snapshot.drift = drift.seen(snapshot.attempt));
        }
        // Guards are the host's code: no lock is held, and time may pass.
        let verdicts: Vec<Verdicts> =
            snapshots.iter().map(|snapshot| snapshot.ask(&self.shadow_judge())).collect();
        // What lowers exposure first: it waits for no disk.
        let judged = snapshots.iter().zip(verdicts);
        let (raising, others): (Vec<_>, Vec<_>) = judged.partition(|(_, verdicts)| verdicts.raises());
        let unborrowed = self.change(|control| {
            for (snapshot, verdicts) in others {
                control.apply(snapshot, verdicts, &self.routing, &self.joins, now);
            }
            control.renew(now);
            control.tell_of_loads(now);
            control.retired.take_unborrowed()
        });
        if !raising.is_empty() {
            let attempts = raising.iter().map(|(snapshot, _)| snapshot.attempt).collect();
            // Where it cannot be written down an event tells, and the next tick comes to the same verdicts.
            let _ = self.raise(attempts, || {
                self.change(|control| {
                    for (snapshot, verdicts) in raising {
                        control.apply(snapshot, verdicts, &self.routing, &self.joins, now);
                    }
                });
            });
        }
        self.checkpoint_if_due(now);
        if let Some(queue) = &self.shadow {
            queue.skip_unwanted(&self.joins);
        }
        self.free(unborrowed);
        if !self.keeps_up_aside {
            self.keep_up();
        }
    }

    /// How the truth depends on the answer, as far as tests ask.
    pub(crate) fn truth(&self) -> TruthKind {
        match self.joins.truth() {
            Truth::Independent => TruthKind::Independent,
            Truth::CausedByAnswer => TruthKind::CausedByAnswer,
            Truth::Censored(_) => TruthKind::Censored(self.explore.map(Share::fraction)),
        }
    }

    /// Traffic as live has seen it so far, its figures brought up to date; nothing before the first request.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        let now = self.clock.now();
        let control = &mut *self.control.lock();
        control.collect(&self.joins, now);
        control.traffic(control.settings.exposure.maturity.age(), now)
    }

    /// What there is to know before it can be said which test a guard needs.
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting {
            kind: self.task.kind(),
            kpis: self.joins.kpis(),
            truth: self.truth(),
            pairs: self.shadow.is_some(),
            canary_pairs: self.canary_pairs,
            compares: self.shadow.as_ref().is_some_and(ShadowQueue::compares),
            matures: self.matures,
            segments: self.segments.as_ref().map(|segments| segments.table().places()),
        }
    }

    /// Frees versions that nobody uses any more. Not under the lock: dropping a model is an engine's code.
    fn free(&self, versions: Vec<Arc<Version<I, O>>>) {
        if versions.is_empty() {
            return;
        }
        let names: Vec<VersionId> = versions.iter().map(|version| version.id).collect();
        for version in versions {
            // A model whose destructor panics must not end the thread that ticks, nor meet another's on its way.
            let _ = self.shadow_judge().guarded(|| drop(version));
        }
        os::return_free_memory();
        let control = &mut *self.control.lock();
        let (now, epoch) = (self.clock.now(), control.epoch);
        for version in names {
            control.set_degraded(version, None, now);
            control.announcer.announce(now, epoch, EventKind::Dropped { version });
        }
    }
}

//! The state that all clones of a handle share, and the work that is nobody's request.

use crate::Timestamp;
use crate::control::desk::Desk;
use crate::request::pace::answering;
use crate::request::serving::Serving;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::beside::{Beside, Wait};
use super::changeable::Changeable;
use super::chores::{Chores, Done};
use super::keeper::Keeper;
use super::loader::Sample;
use super::supervised::Beats;
use super::traces::Traces;
use crate::base::gate::Gate;
use crate::base::guarded::let_go;
use crate::base::os;
use crate::control::control::Control;
use crate::control::event::EventKind;
#[cfg(feature = "fleet")]
use crate::control::saved::SavedVersion;
use crate::control::tick::Verdicts;
use crate::model::activity::Activity;
use crate::model::throttle::LoadThrottle;
use crate::request::shadow::ShadowQueue;
use crate::request::table::Routing;
use crate::rollout::guard::Guard;
use crate::rollout::guard::design::{Setting, TruthKind};
use crate::version::id::VersionId;
use crate::version::loaded::{AnyVersion, Version};
use crate::version::post::{At, Post};
use crate::version::priority::LoadPriority;

/// The thread on which versions are freed.
const FREER: &str = "switchback-free";

/// What opens a version that a fleet has agreed on.
#[cfg(feature = "fleet")]
pub(crate) type OpenAgreed<I, O> = fn(&Arc<Core<I, O>>, SavedVersion) -> Result<Arc<dyn AnyVersion>, String>;

/// The state that all clones of a handle share.
pub(crate) struct Core<I: ?Sized, O> {
    pub(crate) serving: Serving<I, O>,
    /// An input that every version must answer before it takes traffic.
    pub(crate) sample: Option<Sample<I>>,
    /// On a canary, live shadows what the candidate answers.
    pub(crate) canary_pairs: bool,
    /// It is known when labels are complete.
    pub(crate) matures: bool,
    /// Somebody ticks: a thread of ours, or the host as it said.
    pub(crate) driven: bool,
    pub(crate) control: Gate<Control>,
    /// What of the options can be changed.
    pub(crate) changeable: Changeable,
    /// Versions that are being loaded.
    pub(crate) loads: Mutex<Vec<(VersionId, LoadThrottle)>>,
    /// Whoever keeps versions up.
    pub(crate) keeping_up: Mutex<Option<Arc<Post>>>,
    /// How long it may take until a version is ready.
    pub(crate) staging_deadline: Duration,
    /// How long a call of a candidate may take.
    pub(crate) overdue_after: Duration,
    pub(crate) load_priority: LoadPriority,
    /// A thread of ours keeps versions up; ticks do not.
    pub(crate) keeps_up_aside: bool,
    /// The next chores of the thread that keeps versions up, and what came of what it did.
    pub(crate) chores_waiting: (Sender<Chores>, Receiver<Chores>),
    pub(crate) chores_done: (Sender<Done>, Receiver<Done>),
    /// The threads of the handle's, and what they last did.
    pub(crate) threads: Arc<Beats>,
    /// Events on their way to the host's log.
    pub(crate) traces: Traces,
    /// The place in a fleet, where the handle is a member of one.
    #[cfg(feature = "fleet")]
    pub(crate) fleet: Option<super::fleet::Membership>,
    /// Opens a version that a fleet has agreed on: what may be sent to another thread is known where a handle is built.
    #[cfg(feature = "fleet")]
    pub(crate) open_agreed: OpenAgreed<I, O>,
    /// Who waits and runs, of requests from asynchronous code.
    #[cfg(feature = "tokio")]
    pub(crate) asides: super::aside::Asides,
    /// Held by whoever ticks.
    pub(crate) ticking: Mutex<()>,
    /// Writes down what happens, where state is kept.
    #[cfg_attr(not(feature = "state"), expect(dead_code, reason = "it has no size, and nothing to keep"))]
    pub(crate) keeper: Keeper<I, O>,
    /// The last field: what the others freed is handed back to the system with the handle.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(crate) freed: os::ReturnFreeMemory,
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Changes the control side. Guards of rollouts that ended with it are dropped outside of the lock.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        self.changed(change).0
    }

    /// The same, with the guards, for a caller that holds another lock: to drop them is the host's code.
    pub(crate) fn changed<T>(&self, change: impl FnOnce(&mut Control) -> T) -> (T, Vec<Arc<dyn Guard>>) {
        let control = &mut *self.control.lock();
        (change(control), std::mem::take(&mut control.discarded))
    }

    /// Changes what lowers exposure: before all who only look.
    pub(crate) fn lower<T>(&self, change: impl FnOnce(&mut Control) -> T) -> T {
        // The guards are dropped where the lock has been let go of.
        self.lowered(change).0
    }

    fn lowered<T>(&self, change: impl FnOnce(&mut Control) -> T) -> (T, Vec<Arc<dyn Guard>>) {
        let control = &mut *self.control.lock_urgently();
        (change(control), std::mem::take(&mut control.discarded))
    }

    /// Tells something that changes nothing.
    pub(crate) fn tell(&self, kind: EventKind) {
        let control = &mut *self.control.lock();
        let epoch = control.epoch;
        control.announcer.announce(self.serving.clock.now(), epoch, kind);
    }

    /// Returns what a move needs at hand.
    pub(crate) fn desk(&self, now: Timestamp) -> Desk<'_> {
        Desk { router: &self.serving, joins: &self.serving.joins, now, since: now }
    }

    pub(crate) fn tick(self: &Arc<Self>) {
        let Some(_ticking) = self.ticking.try_lock() else { return };
        let _span = self.traces.tick();
        self.take_over_if_free();
        let began = self.serving.clock.time_point();
        let now = began.at;
        if self.serving.clock.runs_by_itself() {
            let counts = self.control.lock().lease_lasts();
            self.threads.look(began.read, counts);
        }
        let lasted = |since| self.threads.lasted(since, began.read);
        if let Some(queue) = &self.serving.shadow {
            queue.relieve();
        }
        let told = self.settle_drift(now);
        let (mut snapshots, divided) = self.change(|control| {
            // What all are to do is told from here on, a pause for drift too.
            let from = control.announcer.next();
            self.tell_of_drift(control, told, now);
            control.tell_of_lapse(now);
            control.leave_out_lapse(now);
            control.live_lately.begin_tick();
            control.before_lately.begin_tick();
            control.collect(&self.serving.joins, now);
            control.see_copies(self.serving.shadow_counts());
            control.announce_recalls(now);
            if self.is_in_fleet() {
                // What all have seen is judged, by whoever judges. What does not come back is seen where it was asked.
                control.pass_over_tripped(self.desk(now));
                control.lower_overdue(self.desk(now), lasted);
                self.note_demands(control, from);
                return (Vec::new(), Vec::new());
            }
            control.lower_tripped(self.desk(now));
            control.lower_overdue(self.desk(now), lasted);
            control.refit(self.desk(now));
            let divided = control.allocate(self.desk(now));
            (control.snapshots(self.serving.shadow_counts(), self.truth(), now), divided)
        });
        self.show_drift(&mut snapshots);
        // Guards are the host's code: no lock is held, and time may pass.
        let verdicts: Vec<Verdicts> =
            snapshots.iter().map(|snapshot| snapshot.ask(&self.serving.shadow_judge())).collect();
        // What lowers exposure first: it waits for no disk.
        let judged = snapshots.iter().zip(verdicts);
        let (raising, others): (Vec<_>, Vec<_>) = judged.partition(|(_, verdicts)| verdicts.raises());
        let unborrowed = self.lower(|control| {
            for (snapshot, verdicts) in others {
                control.apply(snapshot, verdicts, self.desk(now));
            }
            control.renew(now);
            control.ready_before(self.desk(now));
            control.tell_of_loads(now);
            control.see_copies(self.serving.shadow_counts());
            control.retired.take_unborrowed()
        });
        if !raising.is_empty() || !divided.is_empty() {
            let attempts = raising.iter().map(|(snapshot, _)| snapshot.attempt);
            let attempts = attempts.chain(divided.iter().copied()).collect();
            // Where it cannot be written down an event tells, and the next tick comes to the same verdicts.
            let _ = self.raise(attempts, |control, desk| {
                for (snapshot, verdicts) in raising {
                    control.apply(snapshot, verdicts, Desk { now, since: now, ..desk });
                }
                if !divided.is_empty() {
                    control.divide_anew(Desk { now, since: now, ..desk });
                }
            });
        }
        self.measure_pace(now);
        #[cfg(feature = "tokio")]
        self.asides.give_back_overdue(lasted, self.overdue_after);
        self.checkpoint_if_due(now);
        if let Some(queue) = &self.serving.shadow {
            queue.skip_unwanted(&self.serving.joins);
        }
        if self.keeps_up_aside {
            self.chores_done.1.try_iter().for_each(|done| self.note(done));
        }
        self.free(unborrowed);
        if self.keeps_up_aside {
            self.ring_for_upkeep();
        } else {
            // Those that ask candidates: what they hang in has been taken off.
            self.give_up_threads(began);
            // Nobody can give up a thread of the host's.
            self.keep_up(&Arc::default());
        }
        self.step_in_fleet();
        self.traces.emit();
    }

    /// How long the slowest of those takes who may answer a caller, where somebody asks.
    fn measure_pace(&self, now: Timestamp) {
        if self.serving.pace.is_wanted() {
            // Under the lock, so that no table is stored between what is measured and what is told.
            let control = &*self.control.lock();
            self.tell_pace(self.slowest(control, now));
        }
    }

    /// By the table that is in force.
    fn slowest(&self, control: &Control, now: Timestamp) -> (Arc<Routing<Version<I, O>>>, Option<Duration>) {
        let table = self.serving.routing.load_full();
        let mut slowest = Some(Duration::ZERO);
        for version in answering(&table) {
            slowest = slowest.zip(control.p99_of(version, now)).map(|(slowest, p99)| slowest.max(p99));
        }
        (table, slowest)
    }

    /// Live may have been taken back since, which waits for no lock: the table is looked at once more.
    fn tell_pace(&self, (table, slowest): (Arc<Routing<Version<I, O>>>, Option<Duration>)) {
        let is_in_force = || Arc::ptr_eq(&self.serving.routing.load(), &table);
        self.serving.pace.measured(slowest, is_in_force);
    }

    /// How the truth depends on the answer, as far as tests ask.
    pub(crate) fn truth(&self) -> TruthKind {
        TruthKind::of(self.serving.joins.truth(), self.serving.explore)
    }

    /// Returns what there is to know before it can be said which test a guard needs.
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting {
            kind: self.serving.task.kind(),
            kpis: self.serving.joins.kpis(),
            truth: self.truth(),
            pairs: self.serving.shadow.is_some(),
            canary_pairs: self.canary_pairs,
            compares: self.serving.shadow.as_ref().is_some_and(ShadowQueue::compares),
            matures: self.matures,
            segments: self.serving.segments.as_ref().map(|segments| segments.table().places()),
        }
    }

    /// Frees versions that nobody uses any more. Not under the lock: dropping a model is an engine's code. And on a thread of its own,
    /// since a destructor may wait for a thread that never ends, and whoever ticks is waited for by leases: all of them together are waited
    /// for no longer than one and a half ticks. Once half of one is over the others wait for the next tick, so that none is given up because of
    /// those before it. Where the handle is closed there may be no next tick and nobody has a lease: all are waited
    /// for.
    fn free(&self, versions: Vec<Arc<dyn AnyVersion>>) {
        if versions.is_empty() {
            return;
        }
        let (limit, is_closed) = {
            let control = self.control.lock();
            (control.settings.tick_interval, control.closed)
        };
        let (first, mut spent) = (self.serving.clock.time_point(), Duration::ZERO);
        let mut names: Vec<VersionId> = Vec::new();
        for version in versions {
            if spent > limit / 2 && !is_closed {
                self.control.lock().retired.push(version);
                continue;
            }
            let (version, given) = (version.id, Arc::new(Mutex::new(Some(version))));
            let (began, own) = (self.serving.clock.time_point(), Arc::clone(&given));
            let at = At { version, blocks: None, activity: Activity::Freeing, load: None, began, limit };
            let free = move || {
                let freed = own.lock().take();
                let_go(freed);
            };
            match self.threads.run((FREER, LoadPriority::Full), &self.serving.clock, at, free, || Wait::On) {
                Beside::Done(()) | Beside::Ended => names.push(version),
                Beside::Abandoned => {
                    let (thread, lasted) = (FREER.to_owned(), self.serving.clock.time_point().since(began));
                    let activity = Activity::Freeing;
                    self.tell(EventKind::ThreadAbandoned {
                        thread,
                        version,
                        activity,
                        lasted,
                        replaced: true,
                    });
                }
                // It waits until one of those that hang has returned.
                Beside::TooMany(_) => given.lock().take().into_iter().for_each(|version| {
                    self.control.lock().retired.push(version);
                }),
            }
            spent = self.serving.clock.time_point().since(first);
        }
        os::return_free_memory();
        let control = &mut *self.control.lock();
        let (now, epoch) = (self.serving.clock.now(), control.epoch);
        for version in names {
            // Another one may go by its name by now.
            if !control.is_in_use(version) {
                control.forget_degraded(version);
            }
            control.announcer.announce(now, epoch, EventKind::Dropped { version });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::control::settings::Lack;
    use crate::handle::handle::one_live;
    use crate::model::closure::closure;

    /// Bug: of a version that lacked something it was told again and again. Cause: that it had been told was forgotten when an earlier one of its name
    /// was freed. Fix: it is forgotten of a name that nobody has.
    #[test]
    fn what_a_version_lacks_is_not_forgotten_with_an_earlier_one_of_its_name() {
        let handle = one_live();
        let stage = || handle.stage("v2", closure("two@1", |_: &f64| Ok(2.0))).unwrap();
        let (core, first) = (&handle.inner, stage());
        let version = Arc::clone(&core.control.lock().loaded()[1]);
        let _ = first.rollback("enough");
        let second = stage();
        let lacks = Some(String::from("it has lost a session"));
        core.control.lock().set_degraded((second.version(), Lack::Lost), lacks, core.serving.clock.now());
        core.free(vec![version]);
        assert!(core.control.lock().is_degraded(second.version()));
    }

    /// Bug: after a rollback a version that was slow could be asked on the runtime's threads until the next tick. Cause: whoever ticks had
    /// measured the one before, and told it after the rollback had said that nothing is known: that changes the table without the lock. Fix:
    /// it says so again once it has changed it, and whoever measures looks at the table once more.
    #[cfg(feature = "tokio")]
    #[test]
    fn what_was_measured_of_a_table_is_not_known_of_the_one_that_a_rollback_has_put_there() {
        let handle = one_live();
        handle.stage("v2", closure("two@1", |_: &f64| Ok(2.0))).unwrap().promote().unwrap();
        handle.predict(&0.0).unwrap();
        let (core, now) = (&handle.inner, handle.inner.serving.clock.now());
        core.serving.pace.want();
        handle.tick();
        assert!(core.serving.pace.nanos() < u64::MAX, "it is known how long live takes");
        let measured = core.slowest(&core.control.lock(), now);
        assert!(measured.1.is_some());
        let lowered = core.serving.take_back(crate::request::ahead::Back::Whatever);
        assert_eq!(handle.live(), "v1");
        core.tell_pace(measured);
        assert_eq!(core.serving.pace.nanos(), u64::MAX);
        drop(lowered);
    }
}

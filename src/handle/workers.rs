//! The threads of a handle: one ticks, one keeps versions up, some run shadows.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use parking_lot::{Mutex, MutexGuard};

use super::core::Core;
use super::pool::{CANDIDATE, THREADS_MAX};
use super::supervised::{ABANDONED_MAX, Beat, Beats, begin_as_ours, is_ours};
use crate::base::clock::TimePoint;
use crate::base::guarded::{guarded, let_go};
use crate::control::event::EventKind;
use crate::model::activity::Activity;
use crate::request::shadow::Watched;
use crate::version::drill::DrillOutcome;

/// The threads, and the way to end them: they end when the sender is gone.
pub(crate) struct Workers {
    stop: Mutex<Option<Sender<()>>>,
    /// Whether a close has done what it does before the threads end; held by whoever closes.
    wound_up: Mutex<bool>,
    /// Every thread that there is.
    beats: Arc<Beats>,
    /// The process that has the threads: a child that is forked off has none of them, and would wait for ever.
    process: u32,
}

/// How long a shadow worker rests when no copy waits, while requests are copied.
///
/// It is not woken by a request: that would cost the request a system call, of 5 to 14 us as measured, many times what
/// copying its input does. While none are copied it rests until that changes, which rings a bell.
const REST: Duration = Duration::from_millis(1);

/// How long a thread rests that waits for a bell: it says now and then that it is there.
const REST_FOR_A_BELL: Duration = Duration::from_secs(1);

/// How long a thread that a panic has ended rests before it begins again: whatever ended it may still be there.
const REST_AFTER_DEATH: Duration = Duration::from_millis(100);

/// While there are candidates, a deadline is looked after at a quarter of its length, but not more often than this.
const WATCH_SHORTEST: Duration = Duration::from_millis(1);

/// The names of the threads, as the system shows them.
#[cfg(feature = "fleet")]
const FLEET: &str = "switchback-fleet";
const TICK: &str = "switchback-tick";
const UPKEEP: &str = "switchback-upkeep";
const SHADOW: &str = "switchback-shadow";

impl Workers {
    /// No threads, but for those that load versions while somebody waits for them.
    pub(crate) fn none(beats: &Arc<Beats>) -> Self {
        let (stop, wound_up) = (Mutex::new(None), Mutex::new(false));
        Self { stop, wound_up, beats: Arc::clone(beats), process: std::process::id() }
    }

    /// Starts a thread that ticks and `workers` that run shadows.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread; those that were started end.
    pub(crate) fn start<I, O>(inner: &Arc<Core<I, O>>, interval: Duration, workers: usize) -> io::Result<Self>
    where
        I: ?Sized + 'static,
        O: Send + 'static,
        Core<I, O>: Send + Sync,
    {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let threads = Self::none(&inner.threads);
        *threads.stop.lock() = Some(stop);
        let workers = if inner.serving.shadow.is_some() { workers.max(1) } else { 0 };
        spawn(TICK, inner, &stopped, move |inner, stopped, beat| {
            tick(inner, stopped, beat, interval, |now| replace_abandoned(inner, stopped, workers, now));
        })?;
        #[cfg(feature = "fleet")]
        if inner.is_in_fleet() {
            spawn(FLEET, inner, &stopped, |inner, stopped, beat| {
                super::fleet::run_fleet(inner, stopped, |now| beat.worked(now));
            })?;
        }
        keep_up_aside(inner, &stopped)?;
        for _ in 0..workers {
            spawn(SHADOW, inner, &stopped, run_shadows)?;
        }
        Ok(threads)
    }

    /// Whether a close has done what it does before the threads end; nothing where another one is still at it after `patience`.
    pub(crate) fn is_wound_up(&self, patience: Duration) -> Option<MutexGuard<'_, bool>> {
        self.wound_up.try_lock_for(patience)
    }

    /// Asks the threads to end and waits up to `patience`; whether they have. Those that were given up are not waited for.
    pub(crate) fn stop(&self, patience: Duration) -> bool {
        self.stop.lock().take();
        !self.are_here() || self.beats.have_ended(patience)
    }
}

impl Workers {
    /// Whether the threads are this process's.
    fn are_here(&self) -> bool {
        self.process == std::process::id()
    }
}

/// The last clone of the handle is gone: whoever drops it waits until the threads have ended, so that none is inside an engine
/// when the process ends and the engine's library with it, which it may not survive.
impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.lock().take();
        // One of them would wait for itself.
        if !is_ours() && self.are_here() {
            self.beats.have_ended(DROP_PATIENCE);
        }
    }
}

/// Longer than it takes to load one session of most models.
const DROP_PATIENCE: Duration = Duration::from_secs(10);

/// Starts a thread that ends when it is told to, or once it was given up, and by nothing else: a panic in `run` is told and
/// counted, and `run` begins again.
fn spawn<I, O>(
    name: &'static str,
    inner: &Arc<Core<I, O>>,
    stopped: &Receiver<()>,
    run: impl Fn(&Arc<Core<I, O>>, &Receiver<()>, &Beat) + Send + 'static,
) -> io::Result<()>
where
    I: ?Sized + 'static,
    O: 'static,
    Core<I, O>: Send + Sync,
{
    let (core, stopped) = (Arc::clone(inner), stopped.clone());
    let (beats, beat) = (Arc::clone(&inner.threads), inner.threads.of(name));
    let own = Arc::clone(&beat);
    let body = move || {
        begin_as_ours();
        while guarded(|| run(&core, &stopped, &own)).is_err() {
            own.post.end();
            let _ = guarded(|| core.tell_of_death(&own));
            if own.post.is_abandoned() || has_ended(stopped.recv_timeout(REST_AFTER_DEATH)) {
                break;
            }
        }
        // The models may die here, with the last reference to them: before it is said that the thread has ended.
        let_go(core);
        if own.post.is_abandoned() {
            beats.forget(&own);
        }
        own.ended();
    };
    let started = std::thread::Builder::new().name(name.into()).spawn(body).map(drop);
    if started.is_err() {
        inner.threads.forget(&beat);
        beat.ended();
    }
    started
}

fn keep_up_aside<I, O>(inner: &Arc<Core<I, O>>, stopped: &Receiver<()>) -> io::Result<()>
where
    I: ?Sized + 'static,
    O: 'static,
    Core<I, O>: Send + Sync,
{
    spawn(UPKEEP, inner, stopped, keep_up)
}

/// Gives up threads that do not come back from a version's code, and starts others in their place: as long as no more than a
/// few are given up at one time, since what took those takes the next. One that returns makes room again.
fn replace_abandoned<I, O>(inner: &Arc<Core<I, O>>, stopped: &Receiver<()>, workers: usize, now: TimePoint)
where
    I: ?Sized + 'static,
    O: 'static,
    Core<I, O>: Send + Sync,
{
    inner.give_up_threads(now);
    let threads = &inner.threads;
    for (name, wanted) in [(SHADOW, workers), (UPKEEP, 1)] {
        let (working, abandoned) = threads.count(name);
        if abandoned > ABANDONED_MAX {
            continue;
        }
        for _ in working..wanted {
            // Where the system has no thread to give, the next tick asks again.
            let _ = match name {
                SHADOW => spawn(SHADOW, inner, stopped, run_shadows),
                _ => keep_up_aside(inner, stopped),
            };
        }
    }
}

/// Whether the threads are to end.
fn has_ended(waited: Result<(), RecvTimeoutError>) -> bool {
    matches!(waited, Err(RecvTimeoutError::Disconnected))
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Gives up threads that do not come back from a version's code, and tells of them.
    pub(crate) fn give_up_threads(&self, now: TimePoint) {
        for (name, at) in self.threads.abandon_overdue(now) {
            let (thread, version, activity, lasted) =
                (name.to_owned(), at.version, at.activity(), self.threads.lasted(at.began.read, now.read));
            let (working, abandoned) = self.threads.count(name);
            let replaced = if name == CANDIDATE {
                working + abandoned < THREADS_MAX
            } else {
                abandoned <= ABANDONED_MAX
            };
            if let (Activity::Drill, Some(version)) = (activity, &at.blocks) {
                let failed = DrillOutcome::not_returned(now.at, lasted);
                self.control.lock().drilled(version, failed, now.at);
            }
            self.tell(EventKind::ThreadAbandoned { thread, version, activity, lasted, replaced });
        }
    }

    /// Says that a panic has ended the work of a thread. Without the panic's message, which may quote what a user sent: the
    /// process's panic hook has printed it. Of a thread that dies again and again it is told ever more seldom.
    fn tell_of_death(&self, beat: &Beat) {
        let times = beat.died();
        if times.is_power_of_two() {
            let (thread, control) = (beat.name.to_owned(), &mut *self.control.lock());
            let (now, epoch) = (self.serving.clock.now(), control.epoch);
            control.announcer.announce(now, epoch, EventKind::ThreadDied { thread, times });
        }
    }
}

fn tick<I: ?Sized + 'static, O: 'static>(
    inner: &Arc<Core<I, O>>,
    stopped: &Receiver<()>,
    beat: &Beat,
    interval: Duration,
    look_after: impl Fn(TimePoint),
) {
    let look = inner.serving.limit.map(|limit| interval.min((limit / 4).max(WATCH_SHORTEST)));
    let mut due = crossbeam_channel::after(interval);
    loop {
        // The bell is rung where the first candidate comes on trial.
        let wait = look.filter(|_| inner.serving.is_on_trial()).unwrap_or(interval);
        let is_due = crossbeam_channel::select! {
            recv(stopped) -> _ => return,
            recv(inner.serving.bells.trial.1) -> _ => false,
            recv(due) -> _ => true,
            default(wait) => false,
        };
        if look.is_some() {
            inner.serving.stop_overdue();
        }
        if is_due {
            // By a moment before the tick: it has taken off what hangs before another thread can take up a copy for it.
            let now = inner.serving.clock.time_point();
            inner.tick();
            look_after(now);
            beat.worked(inner.serving.clock.now());
            due = crossbeam_channel::after(interval);
        }
    }
}

fn keep_up<I: ?Sized + 'static, O: 'static>(inner: &Arc<Core<I, O>>, stopped: &Receiver<()>, beat: &Beat) {
    inner.load_priority.take();
    loop {
        // Listed by whoever ticks, and where a version is to be as ready as it can be, now that it is live.
        let chores = crossbeam_channel::select! {
            recv(stopped) -> _ => return,
            recv(inner.chores_waiting.1) -> chores => match chores {
                Ok(chores) => chores,
                Err(_) => return,
            },
        };
        // Whoever takes note of it has both ends.
        inner.work(&beat.post, chores, &|done| drop(inner.chores_done.0.send(done)));
        if beat.post.is_abandoned() {
            return;
        }
        beat.worked(inner.serving.clock.now());
    }
}

fn run_shadows<I: ?Sized + 'static, O: 'static>(
    inner: &Arc<Core<I, O>>,
    stopped: &Receiver<()>,
    beat: &Beat,
) {
    let Some(queue) = &inner.serving.shadow else { return };
    let rest = || {
        if !inner.serving.routing.load().shadowing.is_empty() {
            return has_ended(stopped.recv_timeout(REST));
        }
        crossbeam_channel::select! {
            recv(stopped) -> _ => true,
            recv(inner.serving.bells.shadows.1) -> _ => false,
            default(REST_FOR_A_BELL) => false,
        }
    };
    let running = || !matches!(stopped.try_recv(), Err(TryRecvError::Disconnected));
    while running() {
        let watched = Watched { post: &beat.post, limit: inner.overdue_after };
        let had_one = queue.run_one(&inner.serving.aside(Some(watched)));
        if beat.post.is_abandoned() {
            return;
        }
        beat.worked(inner.serving.clock.now());
        if !had_one && rest() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::handle::handle::one_live;
    use crate::model::closure::closure;

    /// How often the system has let this thread rest so far.
    #[cfg(target_os = "linux")]
    fn rests_of(thread: &str) -> Option<u64> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let named = |task: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
            (of("Name:")? == thread).then(|| of("voluntary_ctxt_switches:")?.parse().ok()).flatten()
        };
        tasks.into_iter().find_map(named)
    }

    /// Bug: at rest the thread of shadows woke 94 times a second, and with a `candidate_deadline` of 50 ms the one that ticks 77
    /// times, for each handle. Cause: they looked whether there was anything on trial. Fix: they wait for a bell, which is rung
    /// where there is.
    #[cfg(target_os = "linux")]
    #[test]
    fn threads_rest_while_nothing_is_on_trial_and_are_woken_by_what_is() {
        use crate::handle::handle::ModelHandle;
        use crate::handle::options::{Limits, Shadowing, Threads};

        let handle = ModelHandle::builder("x")
            .live("v1", closure("one@1", |_: &f64| Ok(1.0)))
            .shadowing(Shadowing::new())
            .limits(Limits::new().candidate_deadline(Duration::from_millis(50)))
            .threads(Threads::manual())
            .build()
            .unwrap();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        spawn("rest-shadow", &handle.inner, &stopped, run_shadows).unwrap();
        let ticks = |inner: &Arc<Core<f64, f64>>, stopped: &Receiver<()>, beat: &Beat| {
            tick(inner, stopped, beat, Duration::from_secs(1), |_| {});
        };
        spawn("rest-tick", &handle.inner, &stopped, ticks).unwrap();
        let wait = |seconds| std::thread::park_timeout(Duration::from_secs(seconds));
        wait(1);
        let before = ["rest-shadow", "rest-tick"].map(|thread| rests_of(thread).unwrap());
        wait(3);
        let after = ["rest-shadow", "rest-tick"].map(|thread| rests_of(thread).unwrap());
        for (before, after) in before.into_iter().zip(after) {
            // Twice a second, and what a machine that is busy adds.
            assert!(after - before <= 9, "{} times in 3 s", after - before);
        }
        let rollout = handle.stage("v2", closure("two@1", |_: &f64| Ok(2.0))).unwrap();
        rollout.shadow(1.0).unwrap();
        let copies = || handle.status().shadow.ran;
        for _ in 0..1_000 {
            handle.predict(&1.0).unwrap();
            if copies() > 0 {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        assert!(copies() > 0, "it was woken");
        drop(stop);
        assert!(handle.inner.threads.have_ended(Duration::MAX));
    }

    /// Bug: a panic that nothing caught ended a thread of ours for good, and nobody was told. Cause: a thread's body was
    /// called once. Fix: it is begun again, counted and told.
    #[test]
    fn a_thread_that_dies_is_told_counted_and_begun_again() {
        let handle = one_live();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (begun, begins) = crossbeam_channel::unbounded();
        let times = AtomicU64::new(0);
        let run = move |inner: &Arc<Core<f64, f64>>, stopped: &Receiver<()>, beat: &Beat| {
            let time = times.fetch_add(1, Ordering::Relaxed);
            begun.send(time).unwrap();
            assert!(time >= 3, "on purpose");
            beat.worked(inner.serving.clock.now());
            begun.send(time + 1).unwrap();
            let _ = stopped.recv();
        };
        spawn("switchback-test", &handle.inner, &stopped, run).unwrap();
        assert_eq!((0..5).map(|_| begins.recv().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        let [thread] = &handle.status().threads[..] else { panic!("one thread") };
        assert_eq!(
            (thread.name.as_str(), thread.died, thread.worked.is_some()),
            ("switchback-test", 3, true)
        );
        let events = handle.events();
        let told = events.iter().filter_map(|event| match &event.kind {
            EventKind::ThreadDied { thread, times } => Some((thread.clone(), *times)),
            _ => None,
        });
        // Of the third nothing is told.
        assert_eq!(told.collect::<Vec<_>>(), [("switchback-test".into(), 1), ("switchback-test".into(), 2)]);
        drop(stop);
        assert!(handle.inner.threads.have_ended(Duration::MAX), "it ends when it is told to");
    }
}

//! The threads of a handle: one ticks, one keeps versions up, some run shadows.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use parking_lot::Mutex;

use super::core::Core;
use super::supervised::Beat;
use crate::base::guarded::{guarded, let_go};
use crate::control::event::EventKind;

/// The threads, and the way to end them: they end when the sender is gone.
pub(crate) struct Workers {
    stop: Mutex<Option<Sender<()>>>,
    /// Every thread has a sender of this and never sends: it is disconnected when the last one has ended.
    ended: Receiver<()>,
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

impl Workers {
    /// No threads.
    pub(crate) fn none() -> Self {
        Self { stop: Mutex::new(None), ended: crossbeam_channel::bounded(0).1, process: std::process::id() }
    }

    /// Starts a thread that ticks and `workers` that run shadows.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread; those that were started end.
    pub(crate) fn start<I, O>(inner: &Arc<Core<I, O>>, interval: Duration, workers: usize) -> io::Result<Self>
    where
        I: ?Sized + 'static,
        O: 'static,
        Core<I, O>: Send + Sync,
    {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (ending, ended) = crossbeam_channel::bounded::<()>(0);
        let threads = Self { stop: Mutex::new(Some(stop)), ended, process: std::process::id() };
        spawn("switchback-tick", inner, &ending, &stopped, move |inner, stopped, beat| {
            tick(inner, stopped, beat, interval)
        })?;
        spawn("switchback-upkeep", inner, &ending, &stopped, move |inner, stopped, beat| {
            keep_up(inner, stopped, beat, interval);
        })?;
        let workers = if inner.serving.shadow.is_some() { workers.max(1) } else { 0 };
        for _ in 0..workers {
            spawn("switchback-shadow", inner, &ending, &stopped, run_shadows)?;
        }
        Ok(threads)
    }

    /// Asks the threads to end and waits up to `patience`; whether they have.
    pub(crate) fn stop(&self, patience: Duration) -> bool {
        self.stop.lock().take();
        !self.are_here() || matches!(self.ended.recv_timeout(patience), Err(RecvTimeoutError::Disconnected))
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
        if !IS_OURS.get() && self.are_here() {
            let _ = self.ended.recv_timeout(DROP_PATIENCE);
        }
    }
}

/// Longer than it takes to load one session of most models.
const DROP_PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    /// The thread is one of a handle's.
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread that ends when it is told to, and by nothing else: a panic in `run` is told and counted, and `run` begins
/// again.
fn spawn<I, O>(
    name: &'static str,
    inner: &Arc<Core<I, O>>,
    ending: &Sender<()>,
    stopped: &Receiver<()>,
    run: impl Fn(&Core<I, O>, &Receiver<()>, &Beat) + Send + 'static,
) -> io::Result<()>
where
    I: ?Sized + 'static,
    O: 'static,
    Core<I, O>: Send + Sync,
{
    let (inner, ending, stopped) = (Arc::clone(inner), ending.clone(), stopped.clone());
    let beat = inner.threads.of(name);
    let body = move || {
        IS_OURS.set(true);
        while guarded(|| run(&inner, &stopped, &beat)).is_err() {
            let _ = guarded(|| inner.tell_of_death(&beat));
            if has_ended(stopped.recv_timeout(REST_AFTER_DEATH)) {
                break;
            }
        }
        // The models may die here, with the last reference to them: before it is said that the thread has ended.
        let_go(inner);
        drop(ending);
    };
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

/// Whether the threads are to end.
fn has_ended(waited: Result<(), RecvTimeoutError>) -> bool {
    matches!(waited, Err(RecvTimeoutError::Disconnected))
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
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
    inner: &Core<I, O>,
    stopped: &Receiver<()>,
    beat: &Beat,
    interval: Duration,
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
            inner.tick();
            beat.worked(inner.serving.clock.now());
            due = crossbeam_channel::after(interval);
        }
    }
}

fn keep_up<I: ?Sized + 'static, O: 'static>(
    inner: &Core<I, O>,
    stopped: &Receiver<()>,
    beat: &Beat,
    interval: Duration,
) {
    inner.load_priority.take();
    loop {
        // Rung where a version is to be as ready as it can be, now that it is live.
        crossbeam_channel::select! {
            recv(stopped) -> _ => return,
            recv(inner.upkeep_bell.1) -> _ => {}
            default(interval) => {}
        }
        inner.keep_up();
        beat.worked(inner.serving.clock.now());
    }
}

fn run_shadows<I: ?Sized + 'static, O: 'static>(inner: &Core<I, O>, stopped: &Receiver<()>, beat: &Beat) {
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
        let had_one = queue.run_one(&inner.serving.aside());
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
    use crate::handle::handle::ModelHandle;
    use crate::handle::options::Threads;
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
        use crate::handle::options::{Limits, Shadowing};

        let handle = ModelHandle::builder("x")
            .live("v1", closure("one@1", |_: &f64| Ok(1.0)))
            .shadowing(Shadowing::new())
            .limits(Limits::new().candidate_deadline(Duration::from_millis(50)))
            .threads(Threads::manual())
            .build()
            .unwrap();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (ending, ended) = crossbeam_channel::bounded::<()>(0);
        spawn("rest-shadow", &handle.inner, &ending, &stopped, run_shadows).unwrap();
        let ticks = |inner: &Core<f64, f64>, stopped: &Receiver<()>, beat: &Beat| {
            tick(inner, stopped, beat, Duration::from_secs(1));
        };
        spawn("rest-tick", &handle.inner, &ending, &stopped, ticks).unwrap();
        let wait = |seconds| {
            let _ = ended.recv_timeout(Duration::from_secs(seconds));
        };
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
            let _ = ended.recv_timeout(Duration::from_millis(10));
        }
        assert!(copies() > 0, "it was woken");
        drop((stop, ending));
        assert!(ended.recv().is_err());
    }

    /// Bug: a panic that nothing caught ended a thread of ours for good, and nobody was told. Cause: a thread's body was
    /// called once. Fix: it is begun again, counted and told.
    #[test]
    fn a_thread_that_dies_is_told_counted_and_begun_again() {
        let handle = ModelHandle::builder("x")
            .live("v1", closure("one@1", |_: &f64| Ok(1.0)))
            .threads(Threads::manual())
            .build()
            .unwrap();
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (ending, ended) = crossbeam_channel::bounded::<()>(0);
        let (begun, begins) = crossbeam_channel::unbounded();
        let times = AtomicU64::new(0);
        let run = move |inner: &Core<f64, f64>, stopped: &Receiver<()>, beat: &Beat| {
            let time = times.fetch_add(1, Ordering::Relaxed);
            begun.send(time).unwrap();
            assert!(time >= 3, "on purpose");
            beat.worked(inner.serving.clock.now());
            begun.send(time + 1).unwrap();
            let _ = stopped.recv();
        };
        spawn("switchback-test", &handle.inner, &ending, &stopped, run).unwrap();
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
        drop((stop, ending));
        assert!(ended.recv().is_err(), "it ends when it is told to");
    }
}

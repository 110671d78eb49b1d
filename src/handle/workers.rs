//! The threads of a handle: one ticks, one keeps versions up, some run shadows.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use parking_lot::Mutex;

use super::core::Core;

/// The threads, and the way to end them: they end when the sender is gone.
pub(crate) struct Workers {
    stop: Mutex<Option<Sender<()>>>,
    /// Every thread has a sender of this and never sends: it is disconnected when the last one has ended.
    ended: Receiver<()>,
}

/// How long a shadow worker rests when no copy waits, while requests are copied; and while none are.
///
/// It is not woken by a request: that would cost the request a system call, of 5 to 14 us as measured, many times what
/// copying its input does.
const REST: Duration = Duration::from_millis(1);

const REST_WITHOUT_SHADOWS: Duration = Duration::from_millis(10);

/// A deadline is looked after at a quarter of its length, but not more often than this.
const WATCH_SHORTEST: Duration = Duration::from_millis(1);

impl Workers {
    /// No threads.
    pub(crate) fn none() -> Self {
        Self { stop: Mutex::new(None), ended: crossbeam_channel::bounded(0).1 }
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
        let threads = Self { stop: Mutex::new(Some(stop)), ended };
        spawn("switchback-tick", inner, &ending, &stopped, move |inner, stopped| {
            tick(inner, stopped, interval)
        })?;
        spawn("switchback-upkeep", inner, &ending, &stopped, move |inner, stopped| {
            keep_up(inner, stopped, interval);
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
        matches!(self.ended.recv_timeout(patience), Err(RecvTimeoutError::Disconnected))
    }
}

/// The last clone of the handle is gone: whoever drops it waits until the threads have ended, so that none is inside an engine
/// when the process ends and the engine's library with it, which it may not survive.
impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.lock().take();
        // One of them would wait for itself.
        if !IS_OURS.get() {
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

fn spawn<I, O>(
    name: &str,
    inner: &Arc<Core<I, O>>,
    ending: &Sender<()>,
    stopped: &Receiver<()>,
    run: impl FnOnce(&Core<I, O>, &Receiver<()>) + Send + 'static,
) -> io::Result<()>
where
    I: ?Sized + 'static,
    O: 'static,
    Core<I, O>: Send + Sync,
{
    let (inner, ending, stopped) = (Arc::clone(inner), ending.clone(), stopped.clone());
    let body = move || {
        IS_OURS.set(true);
        run(&inner, &stopped);
        // The models may die here, with the last reference to them: before it is said that the thread has ended.
        drop(inner);
        drop(ending);
    };
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

fn tick<I: ?Sized + 'static, O: 'static>(inner: &Core<I, O>, stopped: &Receiver<()>, interval: Duration) {
    let wait = inner.serving.limit.map_or(interval, |limit| interval.min((limit / 4).max(WATCH_SHORTEST)));
    let mut waited = Duration::ZERO;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
        waited += wait;
        if inner.serving.limit.is_some() {
            inner.serving.stop_overdue();
        }
        if waited >= interval {
            waited = Duration::ZERO;
            inner.tick();
        }
    }
}

fn keep_up<I: ?Sized + 'static, O: 'static>(inner: &Core<I, O>, stopped: &Receiver<()>, interval: Duration) {
    inner.load_priority.take();
    loop {
        // Rung where a version is to be as ready as it can be, now that it is live.
        crossbeam_channel::select! {
            recv(stopped) -> _ => return,
            recv(inner.upkeep_bell.1) -> _ => {}
            default(interval) => {}
        }
        inner.keep_up();
    }
}

fn run_shadows<I: ?Sized + 'static, O: 'static>(inner: &Core<I, O>, stopped: &Receiver<()>) {
    let Some(queue) = &inner.serving.shadow else { return };
    let rest = || {
        let shadows = !inner.serving.routing.load().shadowing.is_empty();
        let ended = stopped.recv_timeout(if shadows { REST } else { REST_WITHOUT_SHADOWS });
        matches!(ended, Err(RecvTimeoutError::Disconnected))
    };
    let running = || !matches!(stopped.try_recv(), Err(TryRecvError::Disconnected));
    while running() {
        if !queue.run_one(&inner.serving.aside()) && rest() {
            return;
        }
    }
}

//! A handle that is asked from asynchronous code.

use std::borrow::Borrow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::aside::{Aside, AsideCounts, NoPlace};
use super::handle::ModelHandle;
use super::options::asynchronous::Async;
use crate::base::causes::debug_as_told;
use crate::base::guarded::{AllContained, Contained, Panicked, guarded};
use crate::base::invalid::ArgumentError;
use crate::request::answer::{Answer, PredictError};
use crate::request::serving::Added;

/// A handle that is asked from asynchronous code on tokio and blocks nobody for long. Clones are the same handle, with one queue.
///
/// A prediction is work and not waiting. Where whatever may answer is fast (its recent p99, which every tick looks at) a
/// request is answered on the spot, since handing it over would cost more than the answer: a small ONNX model takes
/// 2 microseconds, the way to the blocking pool and back 20. Where it is slow, or nobody knows yet, the request goes to
/// the runtime's blocking pool, as many at a time as [`Async::concurrency`] says; others wait, up to
/// [`Async::waiting`], and whoever comes then is refused at once. What runs for longer than
/// [`Limits::overdue_after`](crate::options::Limits::overdue_after) gives its place back at the next tick, so that a candidate that
/// hangs does not keep the service from answering. A candidate that was fast before it hangs is asked on the spot, and can keep all
/// threads of a runtime that has as few as the handle has places: only a [deadline](crate::options::Limits::candidate_deadline)
/// keeps it from that.
///
/// A future that is dropped while its request waits takes it back: nothing has run and nothing is counted. One that is dropped
/// while its request runs gives up the answer alone: the request ends and is counted, since a version must not look better
/// because callers lose patience.
///
/// Whoever drops the last clone of a handle waits for its threads: [`close`](ModelHandle::close) it first, on a thread that
/// may block.
///
/// ```
/// use switchback::options::Async;
/// use switchback::{ModelHandle, closure};
///
/// let late = ModelHandle::builder("late").live("v1", closure("half@1", |x: &f64| Ok(x / 2.0))).build()?;
/// let late = late.into_async(Async::new().waiting(64))?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let answer = late.predict(3.0).await?;
/// assert_eq!((*answer.output(), answer.version().as_str()), (1.5, "v1"));
/// let handle = late.handle().clone(); // it may wait for a disk, or for a version that has gone cold
/// tokio::task::spawn_blocking(move || handle.rollback("what a handle does, it does")).await.unwrap();
/// # Ok::<(), switchback::asynchronous::AsyncError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncHandle<I: ?Sized + 'static, O: 'static> {
    handle: ModelHandle<I, O>,
    queue: Arc<Queue>,
}

impl<I: ?Sized + 'static, O: 'static> Clone for AsyncHandle<I, O> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), queue: Arc::clone(&self.queue) }
    }
}

/// Where requests are answered.
struct Queue {
    /// Given up with the last clone: a candidate must not have more calls under way than there are places for.
    _places: Added,
    aside: Arc<Aside>,
    /// On the spot below this many nanoseconds, and aside from twice as many on.
    inline_below: u64,
    /// Which of the two it was last, for what lies between. Relaxed: it says something by itself.
    inline: AtomicBool,
}

impl Queue {
    /// Whether a request is answered on the spot, where the slowest that may answer takes so long.
    #[inline]
    fn is_inline(&self, nanos: u64) -> bool {
        let was = self.inline.load(Ordering::Relaxed);
        let is = if was { nanos < self.inline_below.saturating_mul(2) } else { nanos < self.inline_below };
        if is != was {
            self.inline.store(is, Ordering::Relaxed);
        }
        is
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> ModelHandle<I, O> {
    /// This handle for asynchronous code on tokio. Others go on as they are: all are one handle.
    ///
    /// # Errors
    ///
    /// An option makes no sense.
    pub fn into_async(self, options: Async) -> Result<AsyncHandle<I, O>, ArgumentError> {
        options.check()?;
        let sessions = self.inner.serving.routing.load().live().version.description.sessions;
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let concurrency = options.concurrency.unwrap_or_else(|| match sessions {
            0 => processors(),
            sessions => sessions.min(4_096),
        });
        self.inner.serving.pace.want();
        // Threads of the pool are many, and places few: a candidate that hangs must not have all of these.
        let places = self.inner.serving.places.add(concurrency);
        let queue = Queue {
            _places: places,
            aside: self.inner.asides.open(concurrency, options.waiting),
            inline_below: u64::try_from(options.inline_below.as_nanos()).unwrap_or(u64::MAX),
            inline: AtomicBool::new(false),
        };
        Ok(AsyncHandle { handle: self, queue: Arc::new(queue) })
    }
}

impl<I: ?Sized + 'static, O: Send + 'static> AsyncHandle<I, O> {
    /// Answers one request, as [`ModelHandle::predict`] does. The input is owned, boxed or shared (`Vec<f32>` or `Arc<[f32]>`
    /// where `I` is `[f32]`), since it may go to another thread.
    ///
    /// # Errors
    ///
    /// Those of [`ModelHandle::predict`], and why it was not asked.
    pub async fn predict(&self, input: impl Borrow<I> + Send + 'static) -> Result<Answer<O>, AsyncError> {
        let ask = |handle: &ModelHandle<I, O>, input: &_| Ok(handle.predict(borrowed(input)?)?);
        if self.is_inline(1) {
            return ask(&self.handle, &input);
        }
        let input = Contained::new(input);
        let asked = self.aside(move |handle| Contained::new(ask(handle, &*input))).await?;
        asked.into_inner().ok_or(AsyncError::Ended)?
    }

    /// Like [`predict`](Self::predict), and the same key is answered by the same version: see
    /// [`ModelHandle::predict_keyed`].
    ///
    /// # Errors
    ///
    /// Those of [`predict`](Self::predict).
    pub async fn predict_keyed(
        &self,
        key: impl AsRef<[u8]> + Send + 'static,
        input: impl Borrow<I> + Send + 'static,
    ) -> Result<Answer<O>, AsyncError> {
        fn ask<I: ?Sized + 'static, O: 'static>(
            handle: &ModelHandle<I, O>,
            key: &impl AsRef<[u8]>,
            input: &impl Borrow<I>,
        ) -> Result<Answer<O>, AsyncError> {
            Ok(handle.predict_keyed(guarded(|| key.as_ref())?, borrowed(input)?)?)
        }
        if self.is_inline(1) {
            return ask(&self.handle, &key, &input);
        }
        let (key, input) = (Contained::new(key), Contained::new(input));
        let asked = self.aside(move |handle| Contained::new(ask(handle, &*key, &*input))).await?;
        asked.into_inner().ok_or(AsyncError::Ended)?
    }

    /// Answers several inputs in their order, all by one version: see [`Request::batch`](crate::requests::Request::batch). It
    /// takes one place, and is answered on the spot only where all of its rows together would take no longer than the limit.
    ///
    /// # Errors
    ///
    /// Why it was not asked. What went wrong with a row stands in its place.
    pub async fn predict_batch<B: Borrow<I> + Send + 'static>(
        &self,
        inputs: Vec<B>,
    ) -> Result<Vec<Result<Answer<O>, PredictError>>, AsyncError> {
        fn ask<I: ?Sized + 'static, O: 'static>(
            handle: &ModelHandle<I, O>,
            inputs: &[impl Borrow<I>],
        ) -> Result<Vec<Result<Answer<O>, PredictError>>, AsyncError> {
            let rows: Vec<&I> = inputs.iter().map(borrowed).collect::<Result<_, _>>()?;
            Ok(handle.request().batch(&rows))
        }
        if self.is_inline(inputs.len()) {
            return ask(&self.handle, &inputs);
        }
        let inputs = AllContained::new(inputs);
        let asked = self.aside(move |handle| ask(handle, &inputs).map(AllContained::new)).await?;
        Ok(asked?.into_inner())
    }

    fn is_inline(&self, rows: usize) -> bool {
        let nanos = self.handle.inner.serving.pace.nanos();
        let is_inline = self.queue.is_inline(nanos);
        is_inline && (rows <= 1 || nanos.saturating_mul(rows as u64) < self.queue.inline_below)
    }

    /// Asks on the blocking pool, once there is a place. Whatever of the host's is in what asks, or in what comes of it, is dropped there
    /// where nobody waits for it any more, so it has to contain what its destructors do.
    async fn aside<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&ModelHandle<I, O>) -> T + Send + 'static,
    ) -> Result<T, AsyncError> {
        let runtime = Handle::try_current().map_err(|_| AsyncError::NoRuntime)?;
        let place = self.queue.aside.place(&self.handle.inner.serving.clock).await?;
        let handle = self.handle.clone();
        let (answer, answered) = oneshot::channel();
        // What runs on the pool does not end with whoever waits for it.
        runtime.spawn_blocking(move || {
            // Whoever asked has gone before it was their turn.
            if answer.is_closed() {
                return;
            }
            let asked = ask(&handle);
            drop(place);
            let _ = answer.send(asked);
        });
        answered.await.map_err(|_| AsyncError::Ended)
    }
}

/// The input within what a host gave, whose `Borrow` is the host's code.
fn borrowed<I: ?Sized>(input: &impl Borrow<I>) -> Result<&I, Panicked> {
    guarded(|| input.borrow())
}

impl<I: ?Sized + 'static, O: 'static> AsyncHandle<I, O> {
    /// The handle itself. Feedback and status block nobody. What changes something may block: the next request is answered accordingly
    /// at once, and then the call waits for a disk, a fleet's store, or a version that has to be woken first. So it goes to
    /// `spawn_blocking`.
    pub fn handle(&self) -> &ModelHandle<I, O> {
        &self.handle
    }

    /// Where requests are answered now, and how many wait. The [figures](crate::operator::figures) of the handle have the same,
    /// as `switchback_async_..`.
    pub fn queue(&self) -> AsyncStatus {
        let AsideCounts { running, overdue, waiting, refused, .. } = self.queue.aside.counts();
        let inline = self.queue.is_inline(self.handle.inner.serving.pace.nanos());
        AsyncStatus { inline, under_way: running, overdue, waiting, refused }
    }
}

impl<I: ?Sized + 'static, O: 'static> std::fmt::Debug for AsyncHandle<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncHandle").field("queue", &self.queue()).finish_non_exhaustive()
    }
}

/// Where requests from asynchronous code are answered, and how many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AsyncStatus {
    /// The next one is answered on the spot.
    pub inline: bool,
    /// Requests that have a place on the blocking pool.
    pub under_way: usize,
    /// Requests that run for longer than [`Limits::overdue_after`](crate::options::Limits::overdue_after): they have given their
    /// places back, and each keeps a thread of the pool. At most as many as there are places.
    pub overdue: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Requests that were refused, since as many waited as may.
    pub refused: u64,
}

impl From<Panicked> for AsyncError {
    #[cold]
    fn from(Panicked { message }: Panicked) -> Self {
        Self::Panicked { message }
    }
}

impl From<NoPlace> for AsyncError {
    fn from(why: NoPlace) -> Self {
        match why {
            NoPlace::Full { waiting } => Self::Busy { waiting },
            NoPlace::Ended => Self::Ended,
        }
    }
}

/// Why a request from asynchronous code got no answer.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum AsyncError {
    /// It was asked, and no version answered.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// As many requests wait as may. It was not asked; over HTTP that is a 503.
    #[error("{waiting} requests wait for the model already: ask again later, or elsewhere")]
    Busy {
        /// How many wait at most.
        waiting: usize,
    },
    /// It would not be answered on the spot, and no runtime of tokio is there to answer it elsewhere.
    #[error("there is no runtime of tokio on this thread: await it on one, or ask the handle itself")]
    NoRuntime,
    /// The `Borrow` of an input or the `AsRef` of a key panicked. No version was asked.
    #[error("the input or its key panicked when it was borrowed: {message}")]
    Panicked {
        /// The panic's message.
        message: Arc<str>,
    },
    /// The runtime ended before the request had its turn.
    #[error("the runtime was shut down before the request had its turn")]
    Ended,
}

debug_as_told!(AsyncError);

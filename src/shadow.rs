//! Copied traffic: a bounded queue between requests and the workers that run candidates on copies of them.

use std::borrow::Borrow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Reading};
use crate::feedback::id::Body;
use crate::feedback::join::{Joins, ShadowHalf};
use crate::judge::{Judge, attempt};
use crate::routing::{Routing, Shadowing};
use crate::share::BUCKETS;
use crate::stats::divergence::Pair;
use crate::stats::exposure::{Request, lane};
use crate::task::Kept;

/// A copy of a request's input, or a share in it.
pub(crate) trait Copied<I: ?Sized>: Send {
    fn input(&self) -> &I;
}

/// A copy: whatever the input's [`ToOwned`] makes.
pub(crate) struct Copy<T>(pub(crate) T);

impl<I: ?Sized, T: Borrow<I> + Send> Copied<I> for Copy<T> {
    fn input(&self) -> &I {
        self.0.borrow()
    }
}

/// A share in an input that the caller gave away: see [`predict_shared`](crate::ModelHandle::predict_shared).
pub(crate) struct Shared<I: ?Sized>(pub(crate) Arc<I>);

impl<I: ?Sized + Send + Sync> Copied<I> for Shared<I> {
    fn input(&self) -> &I {
        &self.0
    }
}

/// Compares what live and a candidate answered to the same input: 0 for no difference.
pub(crate) type Compare<O> = Box<dyn Fn(&O, &O) -> f64 + Send + Sync>;

/// A comparison of tensors for [`Builder::compare`](crate::Builder::compare): the share of elements that lie further
/// apart than `absolute + relative * |live's|`, as numpy's `isclose` has it. Two that are not numbers are close; answers
/// of different lengths differ altogether.
///
/// ```
/// use switchback::elementwise;
///
/// let difference = elementwise(1e-3, 1e-6, |output: &Vec<f32>| output.as_slice());
/// assert_eq!(difference(&vec![1.0, 2.0], &vec![1.0001, 2.5]), 0.5);
/// ```
pub fn elementwise<O>(
    relative: f64,
    absolute: f64,
    elements: impl Fn(&O) -> &[f32] + Send + Sync + 'static,
) -> impl Fn(&O, &O) -> f64 + Send + Sync + 'static {
    move |live, candidate| {
        let (live, candidate) = (elements(live), elements(candidate));
        if live.len() != candidate.len() {
            return 1.0;
        }
        let apart = live.iter().zip(candidate).filter(|(live, candidate)| {
            let (live, candidate) = (f64::from(**live), f64::from(**candidate));
            let close = live == candidate
                || (live.is_nan() && candidate.is_nan())
                || (live - candidate).abs() <= absolute + relative * live.abs();
            !close
        });
        apart.count() as f64 / live.len().max(1) as f64
    }
}

/// How shadowing works for this handle.
pub(crate) struct ShadowOptions<I: ?Sized, O> {
    pub(crate) copy: fn(&I) -> Box<dyn Copied<I>>,
    pub(crate) bytes_of: Box<dyn Fn(&I) -> usize + Send + Sync>,
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
    /// The host's own comparison, and how an answer is copied for it.
    pub(crate) compare: Option<(fn(&O) -> O, Compare<O>)>,
    /// How far two scores or numbers may lie apart.
    pub(crate) tolerance: f64,
}

/// A copied request that waits for its turn.
struct Waiting<I: ?Sized, O> {
    input: Box<dyn Copied<I>>,
    bytes: usize,
    routing: Arc<Routing<I, O>>,
    /// A bit for each entry of the table's shadowing that applies.
    targets: u64,
    answered: Answered<O>,
    queued: Reading,
}

/// What the caller was answered.
pub(crate) struct Answered<O> {
    pub(crate) body: Body,
    pub(crate) latency_nanos: u64,
    /// A copy of the answer, where the host compares answers itself.
    pub(crate) output: Option<O>,
}

/// The queue. Offering never waits and never blocks: what there is no room for is refused and counted.
pub(crate) struct ShadowQueue<I: ?Sized, O> {
    options: ShadowOptions<I, O>,
    sender: Sender<Waiting<I, O>>,
    receiver: Receiver<Waiting<I, O>>,
    bytes: AtomicUsize,
    /// What is left of every sample under pressure, in 2^-16; see [`relieve`](Self::relieve).
    relief: AtomicU32,
    refused: AtomicU64,
    refused_before: AtomicU64,
    ran: AtomicU64,
    skipped: AtomicU64,
}

/// What happened to copied requests since the handle was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShadowCounts {
    /// Copies that a candidate has answered, or failed on.
    pub ran: u64,
    /// Copies that were dropped because the queue was full, in entries or bytes.
    pub dropped: u64,
    /// Copies whose candidate was taken off before their turn.
    pub skipped: u64,
    /// Copies that wait.
    pub waiting: u64,
    /// Their size in bytes, as the host measures inputs.
    pub waiting_bytes: u64,
    /// What is left of every sample under pressure: 1 when there is none.
    pub relief: f64,
}

impl ShadowCounts {
    /// The share of sampled requests that was dropped; nothing where none was sampled.
    pub fn drop_rate(&self) -> Option<f64> {
        let sampled = self.ran + self.dropped;
        (sampled > 0).then(|| self.dropped as f64 / sampled as f64)
    }
}

const NO_RELIEF: u32 = 1 << 16;

impl<I: ?Sized + 'static, O: 'static> ShadowQueue<I, O> {
    pub(crate) fn new(options: ShadowOptions<I, O>) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(options.entries_max.max(1));
        Self {
            options,
            sender,
            receiver,
            bytes: AtomicUsize::new(0),
            relief: AtomicU32::new(NO_RELIEF),
            refused: AtomicU64::new(0),
            refused_before: AtomicU64::new(0),
            ran: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Which entries of the table's shadowing apply to a request that arm `of` answers, given 32 random bits. Samples
    /// are nested: a request that a smaller sample takes, a larger one takes too.
    #[inline]
    pub(crate) fn targets(&self, shadowing: &[Shadowing], of: u8, random: u32) -> u64 {
        let relief = u64::from(self.relief.load(Ordering::Relaxed));
        shadowing.iter().take(64).enumerate().fold(0, |targets, (place, entry)| {
            let sample = (u64::from(entry.sample.buckets()) << 32) / u64::from(BUCKETS);
            let taken = entry.of == of && u64::from(random) < sample * relief >> 16;
            targets | u64::from(taken) << place
        })
    }

    /// Copies `input` and queues it; whether there was room. The room is reserved before anything is copied, so a full
    /// queue costs a request next to nothing.
    pub(crate) fn offer(
        &self,
        input: &I,
        shared: Option<Box<dyn Copied<I>>>,
        routing: &Arc<Routing<I, O>>,
        targets: u64,
        answered: Answered<O>,
        queued: Reading,
    ) -> bool {
        let bytes = (self.options.bytes_of)(input);
        if self.sender.is_full() || !reserve(&self.bytes, bytes, self.options.bytes_max) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let input = shared.unwrap_or_else(|| (self.options.copy)(input));
        let routing = Arc::clone(routing);
        match self.sender.try_send(Waiting { input, bytes, routing, targets, answered, queued }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                release(&self.bytes, bytes);
                self.refused.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// A copy of the answer, where the host compares answers itself.
    pub(crate) fn keep(&self, output: &O) -> Option<O> {
        self.options.compare.as_ref().map(|(copy, _)| copy(output))
    }

    /// Runs the copy that has waited longest; `false` where none waits.
    pub(crate) fn run_one(&self, judge: &Judge<'_, O>, joins: &Joins, clock: &Clock) -> bool {
        match self.receiver.try_recv() {
            Ok(waiting) => {
                self.run(&waiting, judge, joins, clock);
                true
            }
            Err(_) => false,
        }
    }

    /// Waits up to `patience` for a copy and runs it; `false` where none came.
    pub(crate) fn run_within(
        &self,
        patience: std::time::Duration,
        judge: &Judge<'_, O>,
        joins: &Joins,
        clock: &Clock,
    ) -> bool {
        match self.receiver.recv_timeout(patience) {
            Ok(waiting) => {
                self.run(&waiting, judge, joins, clock);
                true
            }
            Err(_) => false,
        }
    }

    /// Drops the copies whose candidates have all been taken off: they hold tables, and through them versions that wait
    /// to be freed. The others go back to the end of the queue.
    pub(crate) fn skip_unwanted(&self, joins: &Joins) {
        for _ in 0..self.receiver.len() {
            let Ok(waiting) = self.receiver.try_recv() else { return };
            if waiting.targets().all(|entry| entry.exposure.is_closed()) {
                self.skip(&waiting, joins);
            } else if let Err(refused) = self.sender.try_send(waiting) {
                // Somebody took the place meanwhile.
                self.skip(&refused.into_inner(), joins);
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn skip(&self, waiting: &Waiting<I, O>, joins: &Joins) {
        release(&self.bytes, waiting.bytes);
        self.skipped.fetch_add(1, Ordering::Relaxed);
        joins.shadows_answered(&waiting.answered.body, Vec::new());
    }

    fn run(&self, waiting: &Waiting<I, O>, judge: &Judge<'_, O>, joins: &Joins, clock: &Clock) {
        let mut halves = Vec::new();
        for entry in waiting.targets().filter(|entry| !entry.exposure.is_closed()) {
            if let Some(half) = self.run_target(waiting, entry, judge, clock) {
                halves.push(half);
            }
        }
        if halves.is_empty() {
            self.skip(waiting, joins);
        } else {
            release(&self.bytes, waiting.bytes);
            self.ran.fetch_add(1, Ordering::Relaxed);
            joins.shadows_answered(&waiting.answered.body, halves);
        }
    }

    /// Runs one candidate on a copy, counts the run, and compares the two answers.
    fn run_target(
        &self,
        waiting: &Waiting<I, O>,
        entry: &Shadowing,
        judge: &Judge<'_, O>,
        clock: &Clock,
    ) -> Option<ShadowHalf> {
        let Waiting { routing, answered, .. } = waiting;
        let (by, of) = (routing.arms.get(usize::from(entry.by))?, routing.arms.get(usize::from(entry.of))?);
        let started = clock.reading();
        let result = attempt(&by.version, waiting.input.input(), judge);
        let ended = clock.reading();
        let latency_nanos = ended.nanos_since(started);

        // The caller was answered, so the input was good: a shadow that calls it bad has failed on it.
        let counted = match &result {
            Ok((_, kept)) => Ok(kept),
            Err(error) => Err(error.kind().not_the_callers()),
        };
        let request = Request {
            result: counted,
            latency_nanos,
            at: clock.at(ended),
            shadow: true,
            joins_unit: false,
            thinning: 0,
        };
        entry.exposure.record(lane(), &request);
        let queue_nanos = started.nanos_since(waiting.queued);
        entry.exposure.note(lane(), |tally| tally.record_queue_time(queue_nanos));

        let kept = counted.map_or(Kept::Unreadable, |kept| *kept);
        let intake = if entry.reversed { &of.exposure.intake } else { &entry.exposure.intake };
        let own = match (&self.options.compare, &answered.output, &result) {
            (Some((_, compare)), Some(theirs), Ok((ours, _))) => {
                let (live, candidate) = if entry.reversed { (ours, theirs) } else { (theirs, ours) };
                judge.guarded(|| compare(live, candidate)).ok()
            }
            _ => None,
        };
        let theirs = (&answered.body.kept, answered.latency_nanos);
        let ours = (&kept, latency_nanos);
        let ((live, live_nanos), (candidate, candidate_nanos)) =
            if entry.reversed { (ours, theirs) } else { (theirs, ours) };
        let pair = Pair { live, candidate, live_nanos, candidate_nanos, comparison: own };
        intake.diverged(|divergence| divergence.record(judge.kind(), self.options.tolerance, &pair));
        Some(ShadowHalf { intake: Arc::clone(intake), kept, reversed: entry.reversed })
    }

    /// Fits the samples to what the workers manage: halves them when the queue is half full or has refused anything
    /// since the last time, and lets them grow back by a quarter when it is nearly empty. Called by the tick, so that
    /// requests are spared before they are seen rather than dropped afterwards.
    pub(crate) fn relieve(&self) {
        let refused = self.refused.load(Ordering::Relaxed);
        let fresh = refused - self.refused_before.swap(refused, Ordering::Relaxed);
        let fullness = |used: usize, max: usize| used as f64 / max.max(1) as f64;
        let full = fullness(self.receiver.len(), self.options.entries_max)
            .max(fullness(self.bytes.load(Ordering::Relaxed), self.options.bytes_max));
        let relief = self.relief.load(Ordering::Relaxed);
        let next = if fresh > 0 || full > 0.5 {
            (relief / 2).max(1)
        } else if full < 0.1 {
            (relief + relief / 4 + 1).min(NO_RELIEF)
        } else {
            relief
        };
        self.relief.store(next, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> ShadowCounts {
        ShadowCounts {
            ran: self.ran.load(Ordering::Relaxed),
            dropped: self.refused.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            waiting: self.receiver.len() as u64,
            waiting_bytes: self.bytes.load(Ordering::Relaxed) as u64,
            relief: f64::from(self.relief.load(Ordering::Relaxed)) / f64::from(NO_RELIEF),
        }
    }
}

impl<I: ?Sized, O> Waiting<I, O> {
    fn targets(&self) -> impl Iterator<Item = &Shadowing> {
        let applies = |place: &usize| self.targets >> place & 1 == 1;
        self.routing
            .shadowing
            .iter()
            .take(64)
            .enumerate()
            .filter(move |(place, _)| applies(place))
            .map(|(_, entry)| entry)
    }
}

/// Takes `bytes` out of a budget of `max`; whether there was that much left. An input larger than the whole budget is
/// never taken.
///
/// Relaxed, all of it: the counter guards no other data, the channel hands the request over.
fn reserve(used: &AtomicUsize, bytes: usize, max: usize) -> bool {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(bytes).filter(|total| *total <= max)
    })
    .is_ok()
}

fn release(used: &AtomicUsize, bytes: usize) {
    used.fetch_sub(bytes, Ordering::Relaxed);
}

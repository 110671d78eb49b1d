//! Copied traffic: a bounded queue between requests and the workers that run candidates on copies of them.

use crate::version::loaded::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};

use super::table::{Routing, Shadowing};
use crate::base::chance::mix;
use crate::base::clock::{Clock, Reading, TimePoint};
use crate::base::guarded::Contained;
use crate::base::share::BUCKETS;
use crate::base::sync::Budget;
use crate::drift::watch::watch::{Answered as Said, DriftWatch};
use crate::feedback::id::Body;
use crate::feedback::join::{Joins, ShadowHalf};
use crate::model::activity::Activity;
use crate::model::error::ErrorKind;
use crate::stats::counting::exposure::{Instead, Request, Unit, lane};
use crate::stats::figures::divergence::Pair;
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::task::kept::Kept;
use crate::task::task::{Compare, CopyAnswer};
use crate::version::ask::{Judge, attempt};
use crate::version::input::KeptInput;
use crate::version::post::{At, Post};

/// Says how large an input is, in bytes.
pub(crate) type BytesOf<I> = Box<dyn Fn(&I) -> usize + Send + Sync>;

/// How shadowing works for this handle.
pub(crate) struct ShadowOptions<I: ?Sized, O> {
    pub(crate) copy: fn(&I) -> Box<dyn KeptInput<I>>,
    pub(crate) bytes_of: BytesOf<I>,
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
    /// The host's own comparison, and how an answer is copied for it.
    pub(crate) compare: Option<(CopyAnswer<O>, Compare<O>)>,
    /// How far two scores or numbers may lie apart.
    pub(crate) tolerance: f64,
}

/// The parts that are needed to run copies.
pub(crate) struct Aside<'a, I: ?Sized, O> {
    pub(crate) judge: Judge<'a, O>,
    pub(crate) joins: &'a Joins,
    pub(crate) clock: &'a Clock,
    pub(crate) drift: Option<&'a DriftWatch<I>>,
    /// Nothing where a thread of the host's does it: nobody can give that one up.
    pub(crate) watched: Option<Watched<'a>>,
}

/// A worker that is given up where a copy takes longer than it may.
#[derive(Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) post: &'a Post,
    pub(crate) limit: Duration,
}

/// A copied request that waits for its turn.
struct Waiting<I: ?Sized, O> {
    input: Box<dyn KeptInput<I>>,
    bytes: usize,
    routing: Arc<Routing<Version<I, O>>>,
    /// A bit for each entry of the table's shadowing that applies.
    targets: u64,
    answered: Answered,
    /// A copy of the answer, where the host compares answers itself.
    output: Option<Contained<O>>,
    queued: Reading,
}

/// The outcome of the request at the arm that was assigned.
pub(crate) struct Answered {
    pub(crate) body: Body,
    pub(crate) latency_nanos: u64,
    /// It got no answer because its input was refused.
    pub(crate) refused: bool,
    /// Another prediction of a unit that has been counted.
    pub(crate) joins_unit: bool,
    /// It is the prediction that stands for its unit in comparisons.
    pub(crate) stands: bool,
    /// It took the time of several inputs.
    pub(crate) batched: bool,
    /// The hash of its key, where it has one.
    pub(crate) key: Option<u64>,
}

/// A request that is sampled, as its caller lent it.
pub(crate) struct Lent<'a, I: ?Sized, O> {
    pub(crate) input: &'a I,
    /// Makes a share in the input, where the caller gave it away.
    pub(crate) share: Option<&'a dyn Fn() -> Box<dyn KeptInput<I>>>,
    /// Nothing where the arm that was assigned failed, and another answered.
    pub(crate) output: Option<&'a O>,
}

/// The queue. Offering never waits and never blocks: what there is no room for is refused and counted.
pub(crate) struct ShadowQueue<I: ?Sized, O> {
    options: ShadowOptions<I, O>,
    sender: Sender<Waiting<I, O>>,
    receiver: Receiver<Waiting<I, O>>,
    bytes: Budget,
    /// The part that is left of every sample under pressure, in 2^-16; see [`relieve`](Self::relieve).
    relief: AtomicU32,
    refused: AtomicU64,
    refused_before: AtomicU64,
    ran: AtomicU64,
    skipped: AtomicU64,
}

/// The counts of copied requests since the handle was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShadowCounts {
    /// Copies that a candidate was asked: it has answered, or failed on, or refused.
    pub ran: u64,
    /// Copies that were dropped because the queue was full, in entries or bytes.
    pub dropped: u64,
    /// Copies whose candidate was taken off before their turn.
    pub skipped: u64,
    /// Copies that wait.
    pub waiting: u64,
    /// Their size in bytes, as the host measures inputs.
    pub waiting_bytes: u64,
    /// The part that is left of every sample under pressure: 1 when there is none.
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

/// The value that the host's comparison is taken to give a candidate that failed: the one it gives of answers that
/// differ altogether, where it compares tensors.
const FAILED_DIFFERENCE: f64 = 1.0;

impl<I: ?Sized + 'static, O: 'static> ShadowQueue<I, O> {
    pub(crate) fn new(options: ShadowOptions<I, O>) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(options.entries_max.max(1));
        let bytes = Budget::new(options.bytes_max);
        Self {
            options,
            sender,
            receiver,
            bytes,
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
        // Relaxed: a request that still reads the old relief is sampled by it.
        let relief = u64::from(self.relief.load(Ordering::Relaxed));
        shadowing.iter().take(64).enumerate().fold(0, |targets, (place, entry)| {
            let sample = (u64::from(entry.sample.buckets()) << 32) / u64::from(BUCKETS);
            let taken = entry.of == of && u64::from(random) < (sample * relief) >> 16;
            targets | u64::from(taken) << place
        })
    }

    /// Copies a request and queues it; whether it did. The room is reserved before anything is copied, so a full queue
    /// costs a request next to nothing. Measuring and copying are the host's code: where they panic, the copy is
    /// refused, and the caller has its answer all the same.
    pub(crate) fn offer(
        &self,
        lent: &Lent<'_, I, O>,
        judge: &Judge<'_, O>,
        routing: &Arc<Routing<Version<I, O>>>,
        targets: u64,
        answered: Answered,
        queued: Reading,
    ) -> bool {
        let queued = judge.guarded(|| (self.options.bytes_of)(lent.input)).is_ok_and(|bytes| {
            if self.sender.is_full() || !self.bytes.reserve(bytes) {
                return false;
            }
            let copied = judge.guarded(|| {
                let input = lent.share.map_or_else(|| (self.options.copy)(lent.input), |share| share());
                let compared = self.options.compare.as_ref().zip(lent.output);
                (input, compared.map(|((copy, _), output)| Contained::new(copy(output))))
            });
            let sent = copied.is_ok_and(|(input, output)| {
                let routing = Arc::clone(routing);
                let waiting = Waiting { input, bytes, routing, targets, answered, output, queued };
                self.sender.try_send(waiting).is_ok()
            });
            if !sent {
                self.bytes.release(bytes);
            }
            sent
        });
        if !queued {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Runs the copy that has waited longest; `false` where none waits.
    pub(crate) fn run_one(&self, aside: &Aside<'_, I, O>) -> bool {
        match self.receiver.try_recv() {
            Ok(waiting) => {
                self.run(&waiting, aside);
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
                self.let_go(&waiting, &self.skipped, Vec::new(), joins);
            } else if let Err(refused) = self.sender.try_send(waiting) {
                // Somebody took the place meanwhile.
                self.let_go(&refused.into_inner(), &self.refused, Vec::new(), joins);
            }
        }
    }

    /// Lets go of a copy that nobody will run any more, and counts what became of it.
    fn let_go(&self, waiting: &Waiting<I, O>, what: &AtomicU64, halves: Vec<ShadowHalf>, joins: &Joins) {
        self.bytes.release(waiting.bytes);
        what.fetch_add(1, Ordering::Relaxed);
        joins.shadows_answered(&waiting.answered.body, halves);
    }

    fn run(&self, waiting: &Waiting<I, O>, aside: &Aside<'_, I, O>) {
        let joins = aside.joins;
        let (mut halves, mut was_asked) = (Vec::new(), false);
        for entry in waiting.targets().filter(|entry| !entry.exposure.is_closed()) {
            was_asked = true;
            halves.extend(self.run_target(waiting, entry, aside));
            if aside.watched.is_some_and(|watched| !watched.post.end()) {
                break;
            }
        }
        // Whatever came of it: an input that both versions refuse is no pair, and has run all the same.
        let what = if was_asked { &self.ran } else { &self.skipped };
        self.let_go(waiting, what, halves, joins);
    }

    /// Runs one candidate on a copy, counts the run, and compares the two answers.
    fn run_target(
        &self,
        waiting: &Waiting<I, O>,
        entry: &Shadowing,
        aside: &Aside<'_, I, O>,
    ) -> Option<ShadowHalf> {
        let Aside { judge, clock, drift, joins, watched } = aside;
        let Waiting { routing, answered, .. } = waiting;
        let (by, of) = (routing.arms.get(usize::from(entry.by))?, routing.arms.get(usize::from(entry.of))?);
        let started = clock.reading();
        let begun = by.on_trial().then(|| by.version.begin_aside(lane(), started));
        if let Some(Watched { post, limit }) = *watched {
            let (began, activity) = (TimePoint { at: clock.at(started), read: started }, Activity::Copy);
            post.begin(At { version: by.version.id, blocks: None, activity, load: None, began, limit });
        }
        let result = attempt(&by.version, &*waiting.input, judge);
        drop(begun);
        // Its version was taken off because of it, and what it says now is too late to count.
        let is_given_up = || watched.is_some_and(|watched| watched.post.is_abandoned());
        if is_given_up() {
            return None;
        }
        let ended = clock.reading();
        let latency_nanos = ended.nanos_since(started);

        // Where the caller was answered the input was good: a shadow that calls it bad has failed on it.
        let unanswered = answered.refused || answered.body.kept == Kept::Unreadable;
        let counted = match &result {
            Ok((_, kept)) => Ok(kept),
            Err(error) if unanswered => Err(error.kind()),
            Err(error) => Err(error.kind().not_the_callers()),
        };
        let instead = match (unanswered && !entry.reversed, answered.refused) {
            (false, _) => Instead::Fine,
            (true, true) => Instead::Refused,
            (true, false) => Instead::Failed,
        };
        let chance = mix(answered.body.sequence ^ u64::from(answered.body.exposure) << 32);
        // What one user asks is alike, for both versions too: of a key one pair counts.
        let unit = answered.stands
            && answered
                .key
                .is_none_or(|key| entry.keys.as_ref().is_some_and(|keys| keys.counts(key, chance)));
        let request = Request {
            result: counted,
            latency_nanos,
            at: clock.at(ended),
            shadow: true,
            unit: Unit { joined: answered.joins_unit, stands: unit, ..Unit::default() },
            instead,
            key: None,
            asked_by: answered.key,
            kept: None,
            censored: false,
            hidden: false,
            thinning: 0,
            segment: answered.body.segment.and_then(|hash| joins.segment_at(hash)),
        };
        entry.exposure.record(lane(), &request);
        let queue_nanos = started.nanos_since(waiting.queued);
        entry.exposure.note(lane(), |tally| tally.record_queue_time(queue_nanos));

        let kept = counted.map_or(Kept::Unreadable, |kept| *kept);
        if let (Some(drift), false) = (drift, entry.reversed) {
            let (exposure, version) = (entry.exposure.number, by.version.id);
            let own = Said { exposure, version, kept: Some(&kept), unit };
            drift.see_pair(&own, (of.version.id, Some(&answered.body.kept)));
        }
        let own = &*entry.exposure;
        // An input that both refuse is nobody's, and no pair.
        if answered.refused && matches!(counted, Err(ErrorKind::Input)) {
            return None;
        }
        let pairs = if entry.reversed { &*of.exposure } else { own };
        let comparison = match (&self.options.compare, &waiting.output, &result) {
            (Some((_, compare)), Some(theirs), Ok((ours, _))) => {
                let (live, candidate) = if entry.reversed { (ours, theirs) } else { (theirs, ours) };
                // Not a number is refused, and counted as that.
                Some(judge.guarded(|| compare(live, candidate)).unwrap_or(f64::NAN))
            }
            // Of the two, it is the candidate that failed.
            (Some(_), Some(_), Err(_)) if !entry.reversed => Some(FAILED_DIFFERENCE),
            (Some(_), None, Ok(_)) if entry.reversed => Some(FAILED_DIFFERENCE),
            _ => None,
        };
        // The host's comparison may hang too.
        if is_given_up() {
            return None;
        }
        let theirs = (&answered.body.kept, answered.latency_nanos);
        let ours = (&kept, latency_nanos);
        let ((live, live_nanos), (candidate, candidate_nanos)) =
            if entry.reversed { (ours, theirs) } else { (theirs, ours) };
        let pair = Pair { live, candidate, live_nanos, candidate_nanos, comparison };
        let segment = joins.segment(&answered.body);
        pairs.intake.diverged(|divergence, evidence| {
            let agreed = divergence.record(judge.kind(), self.options.tolerance, &pair);
            // Another of a unit that was counted already shows nothing new.
            if unit {
                // A copy runs by itself, so its time is not to be held against that of a batch.
                let slower_than: &[(LatencyLimit, LatencyLimit)] =
                    if answered.batched { &[] } else { &entry.slower_than };
                evidence.count(&pair, agreed, slower_than, chance);
                if let Some(segment) = &segment {
                    evidence.count_in(segment, &pair);
                }
            }
        });
        Some(ShadowHalf::new(own, pairs, kept, entry.reversed, unit))
    }

    /// Fits the samples to what the workers manage: halves them when the queue is half full or has refused anything
    /// since the last time, and lets them grow back by a quarter when it is nearly empty. Called by the tick, so that
    /// requests are spared before they are seen rather than dropped afterwards.
    pub(crate) fn relieve(&self) {
        // Relaxed, all of them: one tick at a time comes here, and what is refused meanwhile the next one sees.
        let refused = self.refused.load(Ordering::Relaxed);
        let fresh = refused - self.refused_before.swap(refused, Ordering::Relaxed);
        let fullness = |used: usize, max: usize| used as f64 / max.max(1) as f64;
        let full = fullness(self.receiver.len(), self.options.entries_max)
            .max(fullness(self.bytes.used(), self.options.bytes_max));
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

    /// Whether the host compares answers itself.
    pub(crate) fn compares(&self) -> bool {
        self.options.compare.is_some()
    }

    pub(crate) fn counts(&self) -> ShadowCounts {
        ShadowCounts {
            ran: self.ran.load(Ordering::Relaxed),
            dropped: self.refused.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            waiting: self.receiver.len() as u64,
            waiting_bytes: self.bytes.used() as u64,
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

//! Where requests are counted: one arm at one phase and one share of traffic.
//!
//! Every request writes to one stripe, a cache-padded mutex chosen by its thread, so threads do not share a line: two
//! threads on one stripe cost 309 ns a request, on two 43. The tick drains the stripes into the windows of the arm.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::breaker::{Breaker, Streak};
use super::intake::Intake;
use super::keys::Keys;
use crate::base::chance::{mix, survives, within};
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::base::sync::Flag;
use crate::model::error::ErrorKind;
use crate::stats::evidence::arm::{UnitCounts, UnitOutcome};
use crate::stats::evidence::segment::SegmentUnits;
use crate::stats::evidence::waiting::Maturity;
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::stats::figures::tally::Tally;
use crate::stats::sequential::{Additive, Events};
use crate::task::kept::Kept;
use crate::task::segments::Segment;
use crate::task::task::TaskKind;

/// Threads that a handle expects to write figures at once; more share stripes.
const STRIPES_MAX: usize = 16;

/// Predictions of one stripe that wait for a tick to take over the wait for their outcome.
const AWAITED_MAX: usize = 4_096;

/// An arm as it was exposed from one change of the table to the next.
pub(crate) struct Exposure {
    pub(crate) number: u32,
    /// The arm's share of traffic meanwhile; what a prediction's id says of it.
    pub(crate) share: Share,
    /// Mixed into the hash of each prediction, so that exposures are not thinned in step.
    seed: u64,
    awaits: bool,
    breaker: Breaker,
    tripped: Flag,
    /// Nothing is started any more for its sake: its shadow requests are skipped.
    closed: Flag,
    watched: Watched,
    stripes: Box<[CachePadded<Mutex<Stripe>>]>,
    pub(crate) intake: Arc<Intake>,
}

/// The things that are looked for in the units of an exposure, beside what its figures hold.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    /// Units that took longer are counted.
    pub(crate) slower_than: Arc<[LatencyLimit]>,
    /// Keys that count as units here, each once.
    pub(crate) keys: Option<Arc<Keys>>,
    /// A request counts as a unit whether it has a key or not: nothing is compared here that was split by key.
    pub(crate) any: bool,
    /// Who was answered is remembered.
    pub(crate) answered: bool,
    /// What fails where another was asked in its place counts for nothing: no limit of its own is broken by what breaks for all.
    pub(crate) spares_shared: bool,
}

/// The options that an exposure is made of, beside its numbers.
#[derive(Clone, Copy)]
pub(crate) struct ExposureOptions {
    pub(crate) kind: TaskKind,
    pub(crate) kpis: usize,
    pub(crate) stripes: usize,
    pub(crate) awaits: bool,
    pub(crate) trip_after: u32,
    pub(crate) maturity: Maturity,
    /// Segments that are told apart, with the others; none where requests have none.
    pub(crate) segments: usize,
}

struct Stripe {
    tally: Tally,
    units: Units,
    /// Predictions so far.
    sequence: u64,
    /// Rows given out so far.
    rows: u64,
    /// Bits that their outcomes may take, of each figure.
    bits: u64,
    streak: Streak,
    awaited: Vec<Awaited>,
}

/// Of so many requests with a key one leaves its key for a look at how traffic is spread.
const ONE_IN: u64 = 8;

/// So many of them from one stripe between two ticks.
const SOME_KEYS: usize = 32;

/// The units of one exposure, as evidence counts them.
#[derive(Default)]
pub(crate) struct Units {
    /// Requests without a key; a batch that stays together and a pinned stream are one.
    pub(crate) requests: UnitCounts,
    /// Keys.
    pub(crate) keys: UnitCounts,
    /// Requests, whether they count as units or not.
    pub(crate) asked: u64,
    /// The draws by which these went where they did: each request with a key, and each unit without one.
    pub(crate) draws: u64,
    /// Requests with a key, whether their key counts or not.
    pub(crate) keyed: u64,
    /// Requests among these whose key may count: it is not thinned out, and somebody is its match.
    pub(crate) keyed_here: u64,
    /// Copies of requests with a key, and how many of them counted for one that had not counted.
    pub(crate) keyed_pairs: u64,
    pub(crate) keys_of_pairs: u64,
    /// The keys of some requests, drawn evenly: how much of the traffic comes under one key.
    pub(crate) some_keys: Vec<u64>,
    /// Units by the place of their segment, where requests have any.
    pub(crate) segments: Vec<SegmentUnits>,
}

impl Units {
    /// Nothing counted, with room for so many latencies.
    fn begin(&mut self, slower_than: usize, segments: usize) {
        self.reset();
        self.some_keys.reserve_exact(SOME_KEYS);
        self.requests.slow.resize(slower_than, Events::default());
        self.keys.slow.resize(slower_than, Events::default());
        self.segments.resize(segments, SegmentUnits::default());
    }

    /// Counts the unit of a segment.
    #[inline]
    fn count_segment(&mut self, segment: Option<Segment>, keyed: bool, outcome: UnitOutcome) {
        let units = segment.and_then(|segment| self.segments.get_mut(usize::from(segment.place)));
        let Some(units) = units else { return };
        let (events, refused) = if keyed {
            (&mut units.keys, &mut units.refused_keys)
        } else {
            (&mut units.requests, &mut units.refused_requests)
        };
        events.units += 1;
        events.events += u64::from(outcome == UnitOutcome::Failed);
        *refused += u64::from(outcome == UnitOutcome::Refused);
    }

    fn merge_segments(&mut self, other: &[SegmentUnits]) {
        self.segments.resize(self.segments.len().max(other.len()), SegmentUnits::default());
        for (own, other) in self.segments.iter_mut().zip(other) {
            own.requests.merge(&other.requests);
            own.keys.merge(&other.keys);
            own.refused_requests.merge(&other.refused_requests);
            own.refused_keys.merge(&other.refused_keys);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.requests.reset();
        self.keys.reset();
        (self.asked, self.draws, self.keyed, self.keyed_here) = (0, 0, 0, 0);
        (self.keyed_pairs, self.keys_of_pairs) = (0, 0);
        self.some_keys.clear();
        self.segments.fill(SegmentUnits::default());
    }
}

/// The numbers of a request after it was counted.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) sequence: u64,
    pub(crate) row: Option<u64>,
    pub(crate) hash: u64,
    /// It counts as the unit that its key is.
    pub(crate) counts: bool,
}

/// A prediction that waits for the time at which its outcome is assumed.
#[derive(Clone, Copy)]
pub(crate) struct Awaited {
    pub(crate) exposure: u32,
    pub(crate) sequence: u64,
    pub(crate) row: u64,
    /// The unit's number, where it has several predictions.
    pub(crate) unit: Option<u64>,
    pub(crate) at: Timestamp,
    pub(crate) kept: Kept,
    /// It was routed by a key.
    pub(crate) keyed: bool,
    /// Its key had not been seen before.
    pub(crate) counts: bool,
    /// The answer would have hidden its truth, and was let through by chance.
    pub(crate) hidden: bool,
    /// The hash of its segment, where requests have any: another life of the handle, which may wait on, has other places.
    pub(crate) segment: Option<u32>,
}

/// One request, to be counted.
pub(crate) struct Request<'a> {
    /// The part that is kept of the answer, or the kind of what went wrong.
    pub(crate) result: Result<&'a Kept, ErrorKind>,
    pub(crate) latency_nanos: u64,
    pub(crate) at: Timestamp,
    /// The answer was thrown away.
    pub(crate) shadow: bool,
    pub(crate) unit: Unit,
    pub(crate) instead: Instead,
    /// The hash of its key, of a request that was routed by one and may be a unit by it.
    pub(crate) key: Option<u64>,
    /// The hash of the key of whoever asked, also where no key counts here: one whose every request fails is one failure.
    pub(crate) asked_by: Option<u64>,
    /// The part that the caller's id says of the answer; nothing where the caller gets no id, since no outcome can come
    /// then.
    pub(crate) kept: Option<&'a Kept>,
    /// The truth will never be known because of what was answered.
    pub(crate) censored: bool,
    /// The answer hides its truth, whether or not it was let through so that it does not.
    pub(crate) hidden: bool,
    /// See [`survives`].
    pub(crate) thinning: u32,
    /// Its segment, where requests have any.
    pub(crate) segment: Option<Segment>,
}

/// What became of a request at whoever is held against the version: live, or the version before a live that is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    /// It answered, or was not asked, or says nothing in the version's favour.
    Fine,
    /// It refused the input: it had no answer either, and is as well as it was.
    Refused,
    /// It failed too: a failure that says nothing of the version.
    Failed,
}

/// The unit that several predictions that stay together are to the statistics: one unit.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    /// The unit has several predictions.
    pub(crate) joint: bool,
    /// The unit has been counted, in figures.
    pub(crate) joined: bool,
    /// It is the prediction that stands for the unit in comparisons.
    pub(crate) stands: bool,
    /// The model was asked several inputs at once, so its time is not that of one.
    pub(crate) batched: bool,
    /// The row of its first prediction that has one: what the unit goes by.
    pub(crate) number: Option<u64>,
}

impl Default for Unit {
    fn default() -> Self {
        Self { joint: false, joined: false, stands: true, batched: false, number: None }
    }
}

/// Rows that one stripe gives out before the next number goes to another: as many as a page of the bits that tell
/// repeats, so that a service whose requests all come from one thread fills its pages as one with many does.
pub(crate) const ROWS_TOGETHER: u64 = 4_096;

impl Exposure {
    pub(crate) fn new(
        number: u32,
        share: Share,
        seed: u64,
        options: ExposureOptions,
        watched: Watched,
    ) -> Self {
        let ExposureOptions { kind, kpis, stripes, awaits, trip_after, maturity, segments } = options;
        let breaker = Breaker::new(trip_after);
        let awaited = if awaits { AWAITED_MAX } else { 0 };
        let units = || {
            let mut units = Units::default();
            units.begin(watched.slower_than.len(), segments);
            units
        };
        let stripe = || Stripe {
            tally: Tally::recording(kind, kpis),
            units: units(),
            sequence: 0,
            rows: 0,
            bits: 0,
            streak: Streak::default(),
            awaited: Vec::with_capacity(awaited),
        };
        Self {
            number,
            share,
            seed: mix(seed ^ u64::from(number)),
            awaits,
            breaker,
            tripped: Flag::new(),
            closed: Flag::new(),
            stripes: (0..stripes).map(|_| CachePadded::new(Mutex::new(stripe()))).collect(),
            intake: Arc::new(Intake::new(kind, kpis, maturity)),
            watched,
        }
    }

    /// The same stripes for another exposure, all counts at zero.
    pub(crate) fn renumbered(mut self, number: u32, share: Share, seed: u64, watched: Watched) -> Self {
        for stripe in &mut self.stripes {
            let Stripe { tally, units, sequence, rows, bits, streak, awaited } = stripe.get_mut();
            tally.reset();
            let segments = units.segments.len();
            units.begin(watched.slower_than.len(), segments);
            awaited.clear();
            (*sequence, *rows, *bits) = (0, 0, 0);
            *streak = Streak::default();
        }
        self.number = number;
        self.share = share;
        self.seed = mix(seed ^ u64::from(number));
        self.tripped = Flag::new();
        self.closed = Flag::new();
        self.intake = Arc::new(self.intake.like());
        self.watched = watched;
        self
    }

    /// Counts a request and gives it its place in the sequence. Allocates nothing.
    #[inline(always)]
    pub(crate) fn record(&self, lane: usize, request: &Request<'_>) -> Counted {
        let lane = within(lane, self.stripes.len());
        let Some(stripe) = self.stripes.get(lane) else {
            return Counted { sequence: 0, row: None, hash: 0, counts: false };
        };
        let stripe = &mut *stripe.lock();
        if request.shadow {
            stripe.tally.record_shadow(request.result, request.latency_nanos, request.unit.joined);
        } else {
            stripe.tally.record_request(request.result, request.latency_nanos, request.unit.joined);
        }
        if request.censored {
            stripe.tally.count_censored();
        }
        let (lanes, lane) = (self.stripes.len() as u64, lane as u64);
        let sequence = stripe.sequence * lanes + lane;
        stripe.sequence += 1;
        let hash = mix(sequence ^ self.seed);
        let counts = self.count_unit(&mut stripe.units, request, hash);
        match request.result {
            Ok(_) => stripe.streak.answered(),
            Err(ErrorKind::Input) => {}
            // The rows of one call fail together, and the calls of one stream are one user's: that is one failure.
            Err(_) if request.unit.joined => {}
            Err(_) => {
                // A request that nobody has an answer to condemns nobody at once.
                let unanswered = request.instead != Instead::Fine;
                if self.breaker.trips(&mut stripe.streak, unanswered, request.asked_by) {
                    self.tripped.raise();
                }
            }
        }
        let room = !self.awaits || stripe.awaited.len() < AWAITED_MAX;
        let mut row = None;
        if let (Some(kept), true) = (request.kept, room && survives(hash, request.thinning)) {
            let (page, within) = (stripe.rows / ROWS_TOGETHER, stripe.rows % ROWS_TOGETHER);
            let given = (page * lanes + lane) * ROWS_TOGETHER + within;
            row = Some(given);
            stripe.rows += 1;
            // One of a unit of several needs a bit for the unit too.
            stripe.bits += 1 + u64::from(request.unit.joint);
            // Whether the version has answered or failed: silence means the same of both.
            if self.awaits && !request.censored {
                let (exposure, at, kept) = (self.number, request.at, *kept);
                let unit = request.unit.joint.then(|| request.unit.number.unwrap_or(given));
                let (row, keyed) = (given, request.key.is_some());
                let hidden = request.hidden;
                let segment = request.segment.map(|segment| segment.hash);
                let awaited =
                    Awaited { exposure, sequence, row, unit, at, kept, keyed, counts, hidden, segment };
                stripe.awaited.push(awaited);
            }
        }
        Counted { sequence, row, hash, counts }
    }

    /// Counts the unit that a request is, if it is one; whether it is. A request that was refused
    /// because of its input is a unit like any other: one arm may refuse what the other would have answered, and units
    /// that only one arm counts would come in other shares than traffic was split in.
    #[inline]
    fn count_unit(&self, units: &mut Units, request: &Request<'_>, chance: u64) -> bool {
        units.asked += 1;
        units.draws += u64::from(request.key.is_some() || !request.unit.joined);
        if let Some(key) = request.key {
            units.keyed += 1;
            let may_count = self.watched.keys.as_ref().is_some_and(|keys| !keys.thins_out(key));
            units.keyed_here += u64::from(may_count);
            if units.keyed.is_multiple_of(ONE_IN) && units.some_keys.len() < SOME_KEYS {
                units.some_keys.push(key);
            }
        }
        if request.shadow && request.asked_by.is_some() {
            units.keyed_pairs += 1;
            units.keys_of_pairs += u64::from(request.unit.stands);
        }
        if !request.unit.stands {
            return false;
        }
        // A failure beside a refusal is no outage, and a refusal no failure.
        let is_shared =
            request.instead == Instead::Failed && !matches!(request.result, Err(ErrorKind::Input));
        if self.watched.spares_shared && is_shared {
            units.requests.shared += u64::from(request.key.is_none() || self.watched.any);
            return false;
        }
        let outcome = match request.result {
            Ok(_) => UnitOutcome::Answered,
            Err(ErrorKind::Input) => UnitOutcome::Refused,
            Err(_) => UnitOutcome::Failed,
        };
        let limits = &self.watched.slower_than;
        match (request.key, &self.watched.keys) {
            (None, _) => {
                units.requests.count(outcome, request.latency_nanos, limits, chance);
                units.count_segment(request.segment, false, outcome);
                true
            }
            (Some(key), Some(keys)) if keys.counts(key, chance) => {
                units.keys.count(outcome, request.latency_nanos, limits, chance);
                units.count_segment(request.segment, true, outcome);
                true
            }
            (Some(_), _) => {
                if self.watched.any {
                    units.requests.count(outcome, request.latency_nanos, limits, chance);
                    units.count_segment(request.segment, false, outcome);
                }
                // Its truth is as much the watch's as its failure. What a candidate is promoted by counts users once.
                self.watched.any && self.watched.spares_shared
            }
        }
    }

    /// Counts what is not a prediction of this arm's own: see [`Tally`].
    pub(crate) fn note(&self, lane: usize, note: impl FnOnce(&mut Tally)) {
        if let Some(stripe) = self.stripes.get(within(lane, self.stripes.len())) {
            note(&mut stripe.lock().tally);
        }
    }

    /// Adds what was counted since the last time to `tally`, its units to `units`, hands out the predictions that
    /// wait for an outcome, and begins anew. `spare` is an empty tally, and is one again afterwards: a stripe is locked only for a swap.
    pub(crate) fn drain(
        &self,
        tally: &mut Tally,
        spare: &mut Tally,
        units: &mut Units,
        awaited: &mut Vec<Awaited>,
    ) {
        for stripe in &self.stripes {
            {
                let stripe = &mut *stripe.lock();
                std::mem::swap(&mut stripe.tally, spare);
                units.requests.merge(&stripe.units.requests);
                units.keys.merge(&stripe.units.keys);
                units.asked += stripe.units.asked;
                units.draws += stripe.units.draws;
                units.keyed += stripe.units.keyed;
                units.keyed_here += stripe.units.keyed_here;
                units.keyed_pairs += stripe.units.keyed_pairs;
                units.keys_of_pairs += stripe.units.keys_of_pairs;
                units.some_keys.extend_from_slice(&stripe.units.some_keys);
                units.merge_segments(&stripe.units.segments);
                stripe.units.reset();
                awaited.append(&mut stripe.awaited);
            }
            tally.merge(spare);
            spare.reset();
        }
    }

    /// Bits that the outcomes of the predictions so far may take, of each figure.
    pub(crate) fn bits(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.lock().bits).sum()
    }

    /// From here on the arm is passed over.
    pub(crate) fn trip(&self) {
        self.tripped.raise();
    }

    #[inline]
    pub(crate) fn remembers_answers(&self) -> bool {
        self.watched.answered
    }

    #[inline]
    pub(crate) fn is_tripped(&self) -> bool {
        self.tripped.is_up()
    }

    /// Says how often live has failed lately, or the version may where that is more, so that the breaker does not take what befalls both
    /// for the version's own; and how many requests the version has been asked.
    pub(crate) fn breaker_knows(&self, rate: f64, asked: u64) {
        self.breaker.knows(rate, asked);
    }

    /// Ends the exposure: requests that are under way are still counted, shadow requests that wait are skipped.
    pub(crate) fn close(&self) {
        self.closed.raise();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_up()
    }
}

/// How many stripes a handle gives each exposure: two per core, so that requests of a few threads more than cores seldom
/// meet, up to [`STRIPES_MAX`].
pub(crate) fn default_stripes() -> usize {
    (2 * std::thread::available_parallelism().map_or(1, usize::from)).min(STRIPES_MAX)
}

/// The calling thread's number, from which it finds its stripe. The lowest number that no living thread has: as long as
/// there are no more threads than stripes, no two share one, however many threads have come and gone.
#[inline]
pub(crate) fn lane() -> usize {
    thread_local!(static LANE: Lane = Lane::take());
    // A thread that is being torn down has given its number back and borrows the first stripe.
    LANE.try_with(|lane| lane.0).unwrap_or(0)
}

struct Lane(usize);

/// Numbers in use, a flag each. As long as the largest number of threads that ever asked at once.
static LANES: Mutex<Vec<bool>> = Mutex::new(Vec::new());

impl Lane {
    fn take() -> Self {
        let mut lanes = LANES.lock();
        let free = lanes.iter().position(|taken| !taken).unwrap_or(lanes.len());
        match lanes.get_mut(free) {
            Some(taken) => *taken = true,
            None => lanes.push(true),
        }
        Self(free)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(taken) = LANES.lock().get_mut(self.0) {
            *taken = false;
        }
    }
}

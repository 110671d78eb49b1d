//! The tick's knowledge of circuit breakers: the circuit of one attempt, and how live does.

use crate::base::clock::Timestamp;
use crate::stats::figures::tally::Tally;

/// The circuit of one attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circuit {
    /// It has failed on many requests in a row, wherever it was exposed.
    pub(crate) tripped: bool,
    /// It is passed over until then: it tripped while live failed too.
    pub(crate) open_until: Option<Timestamp>,
    /// The number of the first exposure that counts: what earlier ones have seen is over.
    pub(crate) closed_since: u32,
    /// When it was last told that a live that is watched was spared.
    pub(crate) spared: Option<Timestamp>,
}

/// How often an arm fails by now. Not of all time: an outage of an hour would excuse a candidate for weeks.
#[derive(Debug, Clone, Copy, Default)]
struct Usual {
    arm: Option<u32>,
    failed: f64,
    requests: f64,
}

impl Usual {
    /// So many requests are always remembered, and at most twice as many. By these a rate of 10 % is known to ±2 %, and what a breaker makes
    /// of it is a quarter more.
    const LONG: f64 = 1_000.0;

    /// Goes on with another arm, from what it has done so far.
    fn turn_to(&mut self, arm: u32, so_far: &Tally) {
        if self.arm != Some(arm) {
            let (rate, requests) = (so_far.error_rate().value(), so_far.error_rate().whole as f64);
            let requests = requests.min(Self::LONG);
            *self = Self { arm: Some(arm), failed: rate.unwrap_or(0.0) * requests, requests };
        }
    }

    fn see(&mut self, failed: f64, requests: f64) {
        (self.failed, self.requests) = (self.failed + failed, self.requests + requests);
        if self.requests > 2.0 * Self::LONG {
            // A tick may have had far more than that: all of it is of now.
            let kept = Self::LONG / self.requests;
            (self.failed, self.requests) = (self.failed * kept, Self::LONG);
        }
    }
}

/// How often live failed in the last few ticks, in which what happens now is halved at each, and over its last thousand requests or two.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LiveLately {
    failed: f64,
    requests: f64,
    usual: Usual,
    /// The failure rate that breakers were told of live in this tick, and in the one before.
    told: f64,
    told_before: f64,
    /// Nothing has been told yet in this tick.
    is_new: bool,
}

impl LiveLately {
    /// Another tick begins. Figures are brought up to date in between too, whenever somebody asks for them, and that is none.
    pub(crate) fn begin_tick(&mut self) {
        (self.failed, self.requests) = (self.failed / 2.0, self.requests / 2.0);
        // Halved for ever, the share would stay: what is asked in another's place alone says nothing of itself between two outages.
        if self.requests < 1.0 {
            (self.failed, self.requests) = (0.0, 0.0);
        }
        self.is_new = true;
    }

    /// Takes note of what live did, requests that it was asked in another's place included. `so_far` is what the arm had done before.
    pub(crate) fn see(&mut self, tally: &Tally, arm: u32, so_far: &Tally) {
        let own = tally.error_rate();
        let substitutes = tally.substitutes();
        let failed = own.part as f64 + substitutes.part as f64;
        let requests = own.whole as f64 + substitutes.whole as f64;
        (self.failed, self.requests) = (self.failed + failed, self.requests + requests);
        self.usual.turn_to(arm, so_far);
        // What it is asked in another's place comes in outages mostly: of one that answers nothing else it would be all that is usual.
        self.usual.see(own.part as f64, own.whole as f64);
    }

    /// The share of its last thousand requests or two that an arm failed on. Nothing where it is not the one that was seen last.
    pub(crate) fn usual(self, arm: u32) -> Option<f64> {
        let Usual { failed, requests, .. } = self.usual;
        (self.usual.arm == Some(arm) && requests > 0.0).then(|| failed / requests)
    }

    /// Whether too little was seen of an arm to tell how often it fails.
    pub(crate) fn is_new_to(self, arm: u32) -> bool {
        self.usual.arm != Some(arm) || self.usual.requests < Usual::LONG
    }

    /// Takes note of what breakers are told from here on.
    pub(crate) fn tell(&mut self, rate: f64) {
        if std::mem::take(&mut self.is_new) {
            (self.told_before, self.told) = (self.told, rate);
        }
    }

    /// Whether live fails far more than breakers knew when they tripped: then what they counted may be the world's doing. What
    /// live fails on all the time they knew, and had more failures for it.
    pub(crate) fn turned_bad(self) -> bool {
        const NOT_WELL: f64 = 0.05;
        const TIMES: f64 = 1.5;
        self.rate() > (TIMES * self.told_before).max(NOT_WELL)
    }

    /// The share of requests that it failed on. Nothing where it was asked nothing.
    pub(crate) fn rate(self) -> f64 {
        if self.requests > 0.0 { self.failed / self.requests } else { 0.0 }
    }
}

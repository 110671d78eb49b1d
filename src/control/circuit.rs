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

/// How often live failed in the last few ticks: what happens now is halved at each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LiveLately {
    failed: f64,
    requests: f64,
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

    /// Takes note of what live did, requests that it was asked in another's place included.
    pub(crate) fn see(&mut self, tally: &Tally) {
        let own = tally.error_rate();
        let substitutes = tally.substitutes();
        self.failed += own.part as f64 + substitutes.part as f64;
        self.requests += own.whole as f64 + substitutes.whole as f64;
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

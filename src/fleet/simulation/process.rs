//! One process of a simulation: a life at a time, a clock of its own.

use std::collections::BTreeMap;

use super::tally::Tally;
use crate::base::clock::Timestamp;
use crate::fleet::protocol::call::Lane;
use crate::fleet::protocol::member::Member;

/// What a clock shows of the true time.
#[derive(Debug, Clone)]
pub(crate) struct SkewedClock {
    /// Ahead by so much, in nanoseconds.
    pub(crate) offset: u64,
    /// Faster than it should be, in millionths.
    pub(crate) fast: i64,
    /// When it stood still, in order.
    pub(crate) stands: Vec<(u64, u64)>,
}

impl SkewedClock {
    pub(crate) fn stand(&mut self, from: u64, until: u64) {
        let from = self.stands.last().map_or(from, |(_, until)| from.max(*until));
        if from < until {
            self.stands.push((from, until));
        }
    }

    pub(crate) fn shows(&self, at: u64) -> Timestamp {
        let stood = self.stands.iter().map(|(from, until)| at.min(*until).saturating_sub(*from));
        let ran = at.saturating_sub(stood.sum());
        let ran = ran.saturating_add_signed((ran / 1_000_000) as i64 * self.fast);
        Timestamp::from_unix_nanos(ran.saturating_add(self.offset))
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    /// Counts the lives of all processes.
    pub(crate) life: usize,
    pub(crate) member: Option<Member<Tally>>,
    pub(crate) clock: SkewedClock,
    /// Until when it does nothing.
    pub(crate) stopped_until: u64,
    /// Until when nothing of it gets through.
    pub(crate) cut_until: u64,
    /// When it could not act, or not be heard, last.
    pub(crate) hindered: u64,
    /// When it was told to leave, or to lower something as it did.
    pub(crate) leaves_at: Option<u64>,
    /// The request that each lane waits for.
    pub(crate) waits: BTreeMap<Lane, u64>,
}

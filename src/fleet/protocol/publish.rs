//! Writes the row of this life, and gives its name up where it may have been closed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::call::{Act, Reply};
use super::following::Following;
use super::rules::ProtocolRule;
use crate::base::chance::SplitMix64;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::{Book, Counts, written};
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::Lowering;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::row::{Build, Row, State};
use crate::fleet::format::value::Value;
use crate::fleet::store::{StoreOutcome, Tag};

/// The row of a member. Its counts are cumulative under a name; what a name has told is known before the name is left, so
/// that no request is counted under two.
#[derive(Debug)]
pub(crate) struct Publish<C: Counts> {
    pub(crate) name: Hex,
    /// The first of its names.
    life: Hex,
    n: u64,
    /// What is in the store under this name, as far as that is known.
    own: Option<Tag>,
    /// Counted since the name began.
    have: Book<C>,
    /// What the row in the store has, and what the one that was sent last has.
    told: Book<C>,
    sent: Book<C>,
    /// What was counted, where it fits into no row: each part is told under a name of its own, and the first is this one's.
    parts: VecDeque<Book<C>>,
    waiting: Option<Waiting<C>>,
    /// What is in the store is to be looked at before anything else is written.
    doubt: Option<Sent>,
    retry: Timestamp,
    seal: bool,
    /// When a name was last left because it was found closed.
    left_closed: Option<Timestamp>,
    /// When the row was sent that was acknowledged last; when the name began before there is one.
    acked: Timestamp,
    /// The number of that row.
    acked_n: u64,
    next: Timestamp,
    leaving: bool,
    pub(crate) left: bool,
    /// What this member wants lowered and may not lower itself.
    pub(crate) asks: Vec<Lowering>,
    /// What is to be said of versions here: see [`Row`].
    pub(crate) ready: Vec<String>,
    pub(crate) failed: BTreeMap<String, String>,
    pub(crate) tripped: Vec<u32>,
    /// What else is to be said.
    pub(crate) more: Map<String, serde_json::Value>,
    build: Build,
    class: String,
}

#[derive(Debug)]
enum Waiting<C: Counts> {
    Put(Sent, Book<C>),
    Look(Option<Sent>),
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Timestamp,
    n: u64,
    nonce: Hex,
    state: State,
}

impl<C: Counts> Publish<C> {
    pub(crate) fn new(build: Build, class: String, chance: &mut SplitMix64, now: Timestamp) -> Self {
        let name = Hex(chance.bits());
        Self {
            name,
            life: name,
            n: 0,
            own: None,
            have: Book::default(),
            told: Book::default(),
            sent: Book::default(),
            parts: VecDeque::new(),
            waiting: None,
            doubt: None,
            retry: now,
            seal: false,
            left_closed: None,
            acked: now,
            acked_n: 0,
            next: now,
            leaving: false,
            left: false,
            asks: Vec::new(),
            ready: Vec::new(),
            failed: BTreeMap::new(),
            tripped: Vec::new(),
            more: Map::new(),
            build,
            class,
        }
    }

    pub(crate) fn count(&mut self, attempt: u32, era: u64, counts: &C) {
        self.have.count(attempt, era, counts);
    }

    /// The next row is the last one.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Whoever judges has closed the name: what it would tell from here on counts nowhere. One whose rows cannot be read there would have as many
    /// names as it took, and hold up all others under each, so it leaves one in `close_after`.
    pub(crate) fn found_closed(&mut self, following: &Following, now: Timestamp) {
        let close_after = Duration::from_millis(following.timing().close_after);
        if self.left_closed.is_none_or(|left| now.since(left) >= close_after) {
            (self.seal, self.left_closed) = (true, Some(now));
        }
    }

    /// What was refused is due again now.
    pub(crate) fn try_again(&mut self, now: Timestamp) {
        self.retry = now;
    }

    #[cfg(test)]
    pub(crate) fn counted(&self, attempt: u32) -> C {
        self.have.since(attempt, 0)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        self.next = now;
    }

    /// When it may have something to ask; nothing where it waits for a head, or is over.
    pub(crate) fn next(&self, following: &Following) -> Option<Timestamp> {
        if following.applied.is_none() || self.left {
            return None;
        }
        let sealed = self.acked.plus(Duration::from_millis(following.timing().close_after / 2));
        let is_urgent = self.doubt.is_some() || self.seal || self.leaving;
        Some(if is_urgent { self.retry } else { self.next.min(sealed).max(self.retry) })
    }

    pub(crate) fn due(
        &mut self,
        following: &Following,
        layout: &Layout,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Option<Act<C>> {
        // Without a head nobody knows how often rows are written here, and after which silence one is closed.
        following.applied.as_ref()?;
        let timing = following.timing();
        let rules = following.rules;
        if self.n == 0 {
            self.acked = now;
        }
        // Whoever closes a row waits twice as long. A row that is under way when this one begins to count was sent less than half
        // ago, and the one before it was acknowledged less than half before that: it lands before anybody closes the name, or the
        // name is sealed.
        if now.since(self.acked) >= Duration::from_millis(timing.close_after / 2) {
            self.seal = true;
            if !rules.keep(ProtocolRule::Doubt) {
                self.waiting = None;
                self.doubt = None;
                self.rename(chance, now);
            }
        }
        if self.waiting.is_some() || self.left || now < self.retry {
            return None;
        }
        if self.doubt.is_some() {
            self.waiting = Some(Waiting::Look(self.doubt));
            return Some(Act::Get { key: layout.row(self.name), kind: Kind::Row, known: None });
        }
        if now >= self.next {
            self.forget(following);
        }
        if now >= self.next || self.leaving {
            self.fit(following, now);
        }
        if self.seal && !rules.keep(ProtocolRule::Seal) {
            self.rename(chance, now);
        }
        let state = if self.seal {
            State::Sealed
        } else if self.leaving && self.parts.is_empty() {
            State::Left
        } else if now >= self.next || self.leaving {
            following.state(now)
        } else {
            return None;
        };
        if !state.is_last() {
            self.keep_time(Duration::from_millis(timing.row), chance, now);
        }
        // What a name has told for good is what it had told: a row in doubt was looked at before.
        let counts = if state == State::Sealed { &self.told } else { self.tells() }.clone();
        Some(self.put(counts, state, following, layout, chance, now))
    }

    /// The next one on the grid that began with the first: what was seen, and when answers came, moves nothing.
    fn keep_time(&mut self, row: Duration, chance: &mut SplitMix64, now: Timestamp) {
        if self.n == 0 && self.next == now {
            // Members that began together spread over the interval.
            let row = u64::try_from(row.as_millis()).unwrap_or(u64::MAX).max(1);
            self.next = now.plus(Duration::from_millis(1 + chance.bits() % row));
        }
        while self.next <= now && !row.is_zero() {
            let behind = now.since(self.next).as_nanos() / row.as_nanos() + 1;
            self.next = self.next.plus(row.saturating_mul(u32::try_from(behind).unwrap_or(u32::MAX)));
        }
    }

    /// What was counted of attempts that are still in the head: the others are over, and nobody asks. Under one name counts never
    /// shrink, so what was told of an attempt that is over goes with the name.
    fn forget(&mut self, following: &Following) {
        if let Some(applied) = following.applied.as_ref().filter(|_| !following.diverged) {
            let runs = |attempt: u32| !applied.head().is_over(attempt);
            if self.n == 0 {
                self.have.retain(runs);
            } else if self.told.attempts().any(|attempt| !runs(attempt)) {
                self.seal = true;
            }
        }
    }

    /// What the next row tells.
    fn tells(&self) -> &Book<C> {
        self.parts.front().unwrap_or(&self.have)
    }

    /// Sees to it that what is told fits into a row. A row that is too long would never be written, and whoever writes none is taken
    /// to have ended. Under one name counts never shrink, so the name goes first.
    fn fit(&mut self, following: &Following, now: Timestamp) {
        let rest = self.row(Book::default(), following.state(now), Hex(u64::MAX), following, now);
        // The number of the row may be longer than it is now.
        let room = Kind::Row.room().saturating_sub(written(&rest) + 32);
        if self.seal || written(self.tells()) <= room {
            return;
        }
        if !self.told.is_empty() {
            self.seal = true;
            return;
        }
        self.parts = self.have.parts(room);
        self.have = Book::default();
        self.parts.iter().for_each(|part| self.have.add(part));
    }

    fn put(
        &mut self,
        counts: Book<C>,
        state: State,
        following: &Following,
        layout: &Layout,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Act<C> {
        self.n += 1;
        let nonce = Hex(chance.bits());
        self.sent = counts.clone();
        self.waiting = Some(Waiting::Put(Sent { at: now, n: self.n, nonce, state }, counts.clone()));
        let row = self.row(counts, state, nonce, following, now);
        Act::Put { key: layout.row(self.name), value: Value::Row(Arc::new(row)), over: self.own.clone() }
    }

    fn row(
        &self,
        counts: Book<C>,
        state: State,
        nonce: Hex,
        following: &Following,
        now: Timestamp,
    ) -> Row<C> {
        // The next name says of versions what there is to say; and what fitted beside less of it must not be too long now.
        let (ready, failed) = if state == State::Sealed {
            Default::default()
        } else {
            (self.ready.clone(), self.failed.clone())
        };
        Row {
            name: self.name,
            life: self.life,
            n: self.n,
            nonce,
            build: self.build.clone(),
            class: self.class.clone(),
            has: following.place(),
            state,
            ready,
            failed,
            tripped: self.tripped.clone(),
            asks: self.asks.clone(),
            counts,
            alive_ms: now.since(following.born).as_millis() as u64,
            more: self.more.clone(),
        }
    }

    pub(crate) fn reply(
        &mut self,
        following: &Following,
        reply: &Reply<C>,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) {
        let timing = following.timing();
        match (self.waiting.take(), reply) {
            (Some(Waiting::Put(sent, counts)), Reply::Done(tag)) => {
                self.own = Some(tag.clone());
                self.told = counts;
                self.landed(sent, chance, now);
            }
            // Nothing was done: the next one is as good.
            (Some(Waiting::Put(sent, _)), Reply::Failed(StoreOutcome::NotDone)) => {
                if sent.state.is_last() || self.leaving {
                    self.retry = now.plus(Duration::from_millis(timing.poll));
                }
            }
            (Some(Waiting::Put(sent, _)), _) => {
                if following.rules.keep(ProtocolRule::Look) {
                    self.doubt = Some(sent);
                } else {
                    self.rename(chance, now);
                }
            }
            (Some(Waiting::Look(last)), Reply::Value { value: Value::Row(row), tag, .. }) => {
                self.doubt = None;
                self.own = Some(tag.clone());
                self.told = row.counts.clone();
                if row.n < self.acked_n {
                    // Somebody took it back, or removed it before an earlier one arrived. What was told is what was there before.
                    (self.told, self.seal) = (self.sent.clone(), true);
                }
                match last {
                    Some(sent) if row.nonce == sent.nonce => self.landed(sent, chance, now),
                    // It did not land, and cannot any more once something is over what is there. It is due as it was.
                    Some(_) => self.next = now.min(self.next),
                    None => {}
                }
                if row.state == State::Sealed && row.name == self.name {
                    self.rename(chance, now);
                }
            }
            // Somebody removed it, or damaged it. What it told last is at most what was sent last.
            (Some(Waiting::Look(_)), Reply::Damaged { tag: Some(tag) }) => {
                (self.own, self.doubt, self.seal) = (Some(tag.clone()), None, true);
                self.told = self.sent.clone();
            }
            (Some(Waiting::Look(_)), Reply::Absent) => {
                self.doubt = None;
                if self.own.take().is_some() {
                    (self.told, self.seal) = (self.sent.clone(), true);
                } else {
                    // The first one is not there, or not yet.
                    self.next = now.min(self.next);
                }
            }
            (Some(Waiting::Look(_)), _) => self.retry = now.plus(Duration::from_millis(timing.poll)),
            (None, _) => {}
        }
    }

    /// The row that was sent is there.
    fn landed(&mut self, sent: Sent, chance: &mut SplitMix64, now: Timestamp) {
        self.acked = self.acked.max(sent.at);
        self.acked_n = self.acked_n.max(sent.n);
        match sent.state {
            State::Sealed => self.rename(chance, now),
            State::Left => self.left = true,
            // The others go under other names.
            _ if self.parts.len() > 1 => self.seal = true,
            _ => self.parts.clear(),
        }
    }

    /// A new name, with what was never told.
    fn rename(&mut self, chance: &mut SplitMix64, now: Timestamp) {
        self.have = self.have.less(&self.told);
        if !self.told.is_empty() {
            self.parts.pop_front();
        }
        (self.told, self.sent) = (Book::default(), Book::default());
        (self.name, self.n, self.own) = (Hex(chance.bits()), 0, None);
        self.acked_n = 0;
        (self.seal, self.doubt, self.acked) = (false, None, now);
    }
}

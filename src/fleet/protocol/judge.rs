//! Merges rows into the ledger, and judges on exactly what it has cut.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::call::{Act, Reply};
use super::cut::{Cut, Found, cut};
use super::ends::count_ends;
use super::following::{Applied, Asked, Following, Heard};
use super::rules::ProtocolRule;
use crate::base::chance::SplitMix64;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::{Book, Counts};
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::{Core, Evidence, Head, Lowering};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::ledger::Ledger;
use crate::fleet::format::row::Row;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::key::Key;
use crate::fleet::store::{StoreOutcome, Tag};

/// What decides, given what is agreed and what was counted. A pure function: whoever judges, it says the same.
pub(crate) trait Judgement<C: Counts> {
    /// Takes note of what a cut has found, and puts into the next ledger what others need beside the sums.
    fn absorb(
        &self,
        _head: &Head,
        _before: &Ledger<C>,
        _found: &Book<C>,
        _rows: &[&Row<C>],
        _next: &mut Ledger<C>,
    ) {
    }

    fn verdict(&self, head: &Head, seen: &Seen<'_, C>) -> Verdict;
}

/// What is judged: a ledger that is agreed, and the rows that it was cut from.
#[derive(Debug)]
pub(crate) struct Seen<'a, C: Counts> {
    pub(crate) ledger: &'a Ledger<C>,
    /// Those that can be read.
    pub(crate) rows: Vec<&'a Row<C>>,
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) lower: Vec<(u32, String)>,
    pub(crate) raise: Option<Raise>,
}

/// More exposure for somebody, a promotion, an end.
#[derive(Debug, Clone)]
pub(crate) struct Raise {
    pub(crate) core: Core,
    pub(crate) control: Json,
    /// What is told of it.
    pub(crate) more: Map<String, Json>,
    pub(crate) why: String,
}

#[derive(Debug)]
pub(crate) struct Judge<C: Counts> {
    life: Hex,
    /// The name of this member's row now.
    pub(crate) own: Hex,
    build: u32,
    at: At<C>,
    /// What is to be asked next in a tick.
    asks: Option<Act<C>>,
    next: Timestamp,
    pub(crate) judging: bool,
    ledger: Option<(Arc<Ledger<C>>, Tag)>,
    /// When the ledger was seen to move, by the own clock, and when it was last looked at by one who does not judge.
    pub(crate) moved: Timestamp,
    looked: Timestamp,
    /// It was looked at after it had not moved for long, and had not: nobody judges.
    takes_over: bool,
    /// When it is looked at once more, whatever chance says: after a long pause a look finds that it has moved, and not when.
    looks_again: Option<Timestamp>,
    /// When the own ledger was sent that is there.
    acked: Timestamp,
    /// When the tick was begun that it came of.
    asked: Timestamp,
    /// When something was last asked or answered in a tick, and the longest rest between two of those in it.
    went_on: Timestamp,
    rested: Duration,
    own_put: OwnPut,
    quiet_until: Timestamp,
    jitter: u64,
    rows: BTreeMap<Hex, Kept<C>>,
    held: BTreeMap<Hex, u32>,
    /// When the own row was put, by the store's clock, and when it was first found so, by the own clock. No other value says how late it is
    /// there: one may be dated by whoever has put it.
    dated: Option<(Timestamp, Timestamp)>,
    pub(crate) held_up: u64,
    /// Why what was judged could not be put, the last time.
    pub(crate) refused: Option<String>,
}

/// The own ledger that was put last, whether it is there or not.
#[derive(Debug)]
struct OwnPut {
    nonce: Hex,
    sent: Timestamp,
    /// When its tick was begun.
    asked: Timestamp,
}

#[derive(Debug)]
struct Kept<C: Counts> {
    tag: Option<Tag>,
    row: Option<Arc<Row<C>>>,
    at: Timestamp,
}

/// What a tick has come to know.
#[derive(Debug)]
struct Tick {
    asked: Timestamp,
    over: Option<Applied>,
    takes_over: bool,
    listed: BTreeMap<Hex, (Tag, Timestamp)>,
    to_read: Vec<Hex>,
}

#[derive(Debug)]
enum At<C: Counts> {
    Idle,
    /// Whether somebody else judges, whether it has been silent for long, and when it is looked at once more where it has moved.
    Watching(bool, Option<Timestamp>),
    Head(Tick, Asked),
    Ledger(Tick),
    List(Tick),
    Row(Tick, Hex),
    Put(Tick, Timestamp, Arc<Ledger<C>>),
    Look(Tick, Timestamp, Arc<Ledger<C>>),
    File(Applied, Arc<Written>),
    Raise(Timestamp, Arc<Written>),
    LookRaise(Asked),
}

impl<C: Counts> Judge<C> {
    /// Of a life that began with this name.
    pub(crate) fn new(life: Hex, build: u32, chance: &mut SplitMix64, now: Timestamp) -> Self {
        Self {
            life,
            own: life,
            build,
            at: At::Idle,
            asks: None,
            next: now,
            judging: false,
            ledger: None,
            moved: now,
            looked: now,
            takes_over: false,
            looks_again: None,
            acked: now,
            asked: now,
            went_on: now,
            rested: Duration::ZERO,
            own_put: OwnPut { nonce: Hex(chance.bits()), sent: now, asked: now },
            quiet_until: now,
            jitter: chance.bits() % 2_000,
            rows: BTreeMap::new(),
            held: BTreeMap::new(),
            dated: None,
            held_up: 0,
            refused: None,
        }
    }

    /// When it may have something to ask; nothing where it waits for a head.
    pub(crate) fn next(&self, following: &Following) -> Option<Timestamp> {
        match &self.at {
            At::Idle => (following.applied.is_some() && !following.diverged).then_some(self.next),
            _ => Some(Timestamp::default()),
        }
    }

    pub(crate) fn due(
        &mut self,
        following: &Following,
        layout: &Layout,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Option<Act<C>> {
        if !matches!(self.at, At::Idle) {
            let asks = self.asks.take();
            if asks.is_some() {
                self.goes_on(now);
            }
            return asks;
        }
        // Who has no head, or another history, judges nothing.
        if now < self.next || following.applied.is_none() || following.diverged {
            return None;
        }
        let tick = following.timing().tick;
        self.next = now.plus(Duration::from_millis(tick));
        let silence = Duration::from_millis(3 * tick + self.jitter * tick / 1_000);
        let takes_over = std::mem::take(&mut self.takes_over);
        if self.judging || takes_over {
            let (asked, act) = following.read_head(layout, now);
            (self.went_on, self.rested) = (now, Duration::ZERO);
            let tick =
                Tick { asked: now, over: None, takes_over, listed: BTreeMap::new(), to_read: Vec::new() };
            self.at = At::Head(tick, asked);
            return Some(act);
        }
        // Of many members some look each time, and none takes over without a look: it has not moved since the last one, which may be long ago.
        let is_silent = now.since(self.moved) >= silence;
        let members = self.ledger.as_ref().map_or(1, |(ledger, _)| ledger.open().max(1)) as u64;
        let is_due = self.looks_again.is_some_and(|again| now >= again);
        // However many there are each looks now and then: whether its own name is closed, and whether anybody judges.
        let looked = now.since(self.moved.max(self.looked));
        let is_overdue = looked >= Duration::from_millis(following.timing().close_after / 8);
        if chance.bits() % members >= 3 && !is_due && !is_overdue {
            return None;
        }
        (self.looks_again, self.looked) = (None, now);
        self.at = At::Watching(is_silent, (is_silent && !is_due).then(|| now.plus(silence)));
        Some(self.read_ledger(layout))
    }

    /// Takes note of how long a tick rested: whoever has many rows to read, from a store that is slow, takes long for it and does not stand still.
    fn goes_on(&mut self, now: Timestamp) {
        self.rested = self.rested.max(now.since(self.went_on));
        self.went_on = now;
    }

    fn read_ledger(&self, layout: &Layout) -> Act<C> {
        let known = self.ledger.as_ref().map(|(_, tag)| tag.clone());
        Act::Get { key: layout.ledger().clone(), kind: Kind::Ledger, known }
    }

    /// What else is to be lowered comes back: the caller hands it to whoever lowers.
    pub(crate) fn reply(
        &mut self,
        following: &mut Following,
        layout: &Layout,
        judgement: &dyn Judgement<C>,
        reply: &Reply<C>,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Vec<Lowering> {
        self.goes_on(now);
        match (std::mem::replace(&mut self.at, At::Idle), reply) {
            (At::Watching(_, again), Reply::Value { value: Value::Ledger(ledger), tag, .. }) => {
                self.looks_again = again;
                self.saw(ledger, tag, now);
            }
            (At::Watching(..), Reply::Absent) if self.ledger.take().is_some() => self.moved = now,
            (At::Watching(true, _), Reply::Same | Reply::Absent) => {
                (self.takes_over, self.next) = (true, now)
            }
            (At::Head(mut tick, asked), reply) => {
                let heard = following.hear(&asked, reply, now);
                tick.over = following.applied.clone();
                if matches!(heard, Heard::Follows) {
                    self.at = At::Ledger(tick);
                    self.asks = Some(self.read_ledger(layout));
                }
            }
            (At::Ledger(tick), Reply::Same) => self.list(tick, layout, None),
            (At::Ledger(tick), Reply::Absent) => {
                if self.ledger.take().is_some() {
                    // Somebody removed it. Whoever finds it still gone in a while begins another.
                    self.stand_down(now);
                } else {
                    self.list(tick, layout, None);
                }
            }
            (At::Ledger(tick), Reply::Value { value: Value::Ledger(ledger), tag, .. }) => {
                let own = ledger.nonce == self.own_put.nonce;
                self.saw(ledger, tag, now);
                // Another's: it judges, or a restore has put an older one back. Either way this one has lost.
                if own || !following.rules.keep(ProtocolRule::StandDown) {
                    self.list(tick, layout, None);
                } else {
                    self.stand_down(now);
                }
            }
            (At::List(mut tick), Reply::Page(page)) => {
                for entry in &page.entries {
                    if let Some(name) = layout.name(&entry.key) {
                        if name == self.own && self.dated.is_none_or(|(at, _)| at != entry.at) {
                            self.dated = Some((entry.at, now));
                        }
                        tick.listed.insert(name, (entry.tag.clone(), entry.at));
                    }
                }
                match page.entries.last().filter(|_| page.more) {
                    Some(last) => self.list(tick, layout, Some(last.key.clone())),
                    None => {
                        self.rows.retain(|name, _| tick.listed.contains_key(name));
                        let moved = |name: &&Hex| {
                            let tag = tick.listed.get(*name).map(|(tag, _)| tag);
                            self.rows
                                .get(*name)
                                .is_none_or(|kept| kept.row.is_none() || kept.tag.as_ref() != tag)
                        };
                        tick.to_read = tick.listed.keys().filter(moved).copied().collect();
                        self.read_or_cut(tick, following, layout, judgement, chance, now);
                    }
                }
            }
            (At::Row(tick, name), reply) => {
                match reply {
                    Reply::Value { value: Value::Row(row), tag, at } if row.name == name => {
                        let kept = Kept { tag: Some(tag.clone()), row: Some(Arc::clone(row)), at: *at };
                        self.rows.insert(name, kept);
                    }
                    Reply::Absent => drop(self.rows.remove(&name)),
                    // The store is away: nothing is cut without a row that may be as good as any.
                    Reply::Failed(_) => return Vec::new(),
                    _ => {
                        let at = tick.listed.get(&name).map_or(now, |(_, at)| *at);
                        self.rows.insert(name, Kept { tag: None, row: None, at });
                    }
                }
                self.read_or_cut(tick, following, layout, judgement, chance, now);
            }
            (At::Put(tick, sent, ledger), Reply::Done(tag)) => {
                return self.judge(&tick, sent, &ledger, tag, following, layout, judgement, chance, now);
            }
            (At::Put(tick, sent, ledger), Reply::Failed(StoreOutcome::Unknown)) => {
                self.at = At::Look(tick, sent, ledger);
                self.asks = Some(self.read_ledger(layout));
            }
            (At::Put(tick, sent, ledger), Reply::Failed(StoreOutcome::Conflict)) => {
                if !following.rules.keep(ProtocolRule::StandDown) {
                    let tag = self.ledger.as_ref().map_or_else(|| Tag::new(""), |(_, tag)| tag.clone());
                    return self.judge(&tick, sent, &ledger, &tag, following, layout, judgement, chance, now);
                }
                self.stand_down(now);
            }
            (At::Look(tick, sent, ledger), Reply::Value { value: Value::Ledger(there), tag, .. }) => {
                if there.nonce == ledger.nonce {
                    return self.judge(&tick, sent, &ledger, tag, following, layout, judgement, chance, now);
                }
                self.saw(there, tag, now);
                self.stand_down(now);
            }
            (At::File(over, written), Reply::Done(_) | Reply::Failed(StoreOutcome::Conflict)) => {
                self.raise(over, written, layout, now);
            }
            (At::Raise(sent, written), Reply::Done(tag)) => {
                following.hear_own(sent, &Applied { written, tag: tag.clone() }, now);
            }
            (At::Raise(..), Reply::Failed(StoreOutcome::Unknown)) => {
                // If it was done it is there, and is followed like any other.
                let (asked, act) = following.read_head(layout, now);
                self.at = At::LookRaise(asked);
                self.asks = Some(act);
            }
            (At::LookRaise(asked), reply) => drop(following.hear(&asked, reply, now)),
            // The rest is left to the next tick.
            _ => {}
        }
        Vec::new()
    }

    /// Whether it reads rows, and there is another one to read.
    pub(crate) fn reads_rows(&self) -> bool {
        matches!(self.at, At::Row(..))
    }

    /// Whether it is done, until its time comes again.
    pub(crate) fn rests(&self) -> bool {
        matches!(self.at, At::Idle)
    }

    /// The ledger that is known.
    pub(crate) fn ledger(&self) -> Option<&Ledger<C>> {
        self.ledger.as_ref().map(|(ledger, _)| &**ledger)
    }

    /// How many times rows were brought together, and how often their counts were given up, as far as is known.
    pub(crate) fn cuts(&self) -> (u64, u64) {
        self.ledger.as_ref().map_or((0, 0), |(ledger, _)| (ledger.n, ledger.voids))
    }

    /// The rows that were read last, with when each was put, while this is the one that judges: of processes that are there, and of those
    /// that are gone for less than `close_after`.
    pub(crate) fn rows(
        &self,
        following: &Following,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Row<C>, Timestamp)> {
        let close_after = Duration::from_millis(following.timing().close_after);
        let (ledger, store_now) = (self.ledger(), self.store_now(now));
        let is_past = move |row: &Row<C>| {
            // One that goes on under a name that is closed is there.
            let mark = ledger.and_then(|ledger| ledger.marks.get(&row.name)).filter(|mark| row.n <= mark.n);
            mark.and_then(|mark| mark.closed).is_some_and(|closed| {
                // Who said no goodbye was silent for as long before its name was closed.
                !row.state.is_last() || store_now.is_some_and(|now| now.since(closed) >= close_after)
            })
        };
        let rows = self.rows.values().filter(|_| self.judging);
        let rows = rows.filter_map(|kept| Some((kept.row.as_deref()?, kept.at)));
        rows.filter(move |(row, _)| !is_past(row))
    }

    /// Whether it judges, and has lately: what the store did not take nobody has judged.
    pub(crate) fn judges(&self, following: &Following, now: Timestamp) -> bool {
        let timing = following.timing();
        let lately = timing.gone_after().max(Duration::from_millis(timing.tick.saturating_mul(5)));
        self.judging && now.since(self.acked) < lately
    }

    /// How late it is by the store's clock, a moment more or less; nothing before the own row was found.
    fn store_now(&self, now: Timestamp) -> Option<Timestamp> {
        self.dated.map(|(at, found)| at.plus(now.since(found)))
    }

    fn saw(&mut self, ledger: &Arc<Ledger<C>>, tag: &Tag, now: Timestamp) {
        if self.ledger.as_ref().is_none_or(|(_, known)| known != tag) {
            self.moved = now;
            self.ledger = Some((Arc::clone(ledger), tag.clone()));
        }
        // It was put, and nobody said so: what has passed until it was sent is in it, and is not counted once more.
        if self.own_put.nonce == ledger.nonce {
            (self.acked, self.asked) = (self.own_put.sent, self.own_put.asked);
        }
    }

    fn stand_down(&mut self, now: Timestamp) {
        self.judging = false;
        self.moved = now;
        self.held.clear();
    }

    fn list(&mut self, tick: Tick, layout: &Layout, after: Option<Key>) {
        self.at = At::List(tick);
        self.asks = Some(Act::List { under: layout.rows().clone(), after });
    }

    fn read_or_cut(
        &mut self,
        mut tick: Tick,
        following: &Following,
        layout: &Layout,
        judgement: &dyn Judgement<C>,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) {
        if let Some(name) = tick.to_read.pop() {
            self.at = At::Row(tick, name);
            self.asks = Some(Act::Get { key: layout.row(name), kind: Kind::Row, known: None });
            return;
        }
        let (Some(over), Some(store_now)) = (&tick.over, self.store_now(now)) else { return };
        let (before, tag) = match &self.ledger {
            Some((ledger, tag)) => (Arc::clone(ledger), Some(tag.clone())),
            None => (Arc::new(Ledger::empty()), None),
        };
        let rows: BTreeMap<Hex, Found<'_, C>> = self
            .rows
            .iter()
            .map(|(name, kept)| (*name, Found { row: kept.row.as_deref(), at: kept.at }))
            .collect();
        let timing = following.timing();
        let since = tick.asked.since(self.acked);
        // The ledger stood still: nobody has heard of anybody, and who knows better must have had time to say so.
        let stood_still = tick.takes_over || since.max(self.rested) > Duration::from_millis(3 * timing.tick);
        // Whoever takes over has not looked before. However long a tick takes, time goes on in it: what is new was read by its end.
        let watched = if tick.takes_over { Duration::ZERO } else { tick.asked.since(self.asked) };
        let took = now.since(tick.asked);
        match cut(&before, &rows, &self.held, over.head(), store_now, (watched, took), following.rules) {
            Cut::Held(names) => {
                self.held_up += 1;
                let held = |name: Hex| (name, self.held.get(&name).copied().unwrap_or_default() + 1);
                self.held = names.into_iter().map(held).collect();
            }
            Cut::Next(mut next, found) => {
                let spent = now.since(self.acked);
                if stood_still {
                    self.quiet_until = now.plus(Duration::from_millis(3 * timing.row));
                } else {
                    next.active_ms = next.active_ms.saturating_add(spent.as_millis() as u64);
                }
                next.nonce = Hex(chance.bits());
                self.own_put = OwnPut { nonce: next.nonce, sent: now, asked: tick.asked };
                next.judge = self.life;
                let read: Vec<&Row<C>> = rows.values().filter_map(|found| found.row).collect();
                judgement.absorb(over.head(), &before, &found, &read, &mut next);
                next.quiet_ms = self.quiet_until.since(now).as_millis() as u64;
                count_ends(&before, &rows, over.head(), store_now, next.quiet_ms > 0, &mut next);
                let next = Arc::from(next);
                self.at = At::Put(tick, now, Arc::clone(&next));
                let key = layout.ledger().clone();
                self.asks = Some(Act::Put { key, value: Value::Ledger(next), over: tag });
            }
        }
    }

    /// The ledger is there: what it says is what is judged, and nothing else.
    #[expect(clippy::too_many_arguments, reason = "all of it is the state of one tick")]
    fn judge(
        &mut self,
        tick: &Tick,
        sent: Timestamp,
        ledger: &Arc<Ledger<C>>,
        tag: &Tag,
        following: &Following,
        layout: &Layout,
        judgement: &dyn Judgement<C>,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Vec<Lowering> {
        self.ledger = Some((Arc::clone(ledger), tag.clone()));
        (self.judging, self.acked, self.moved) = (true, sent, now);
        self.asked = tick.asked;
        self.held.clear();
        let Some(over) = &tick.over else { return Vec::new() };
        let head = over.head();
        let rows = self.rows.values().filter_map(|kept| kept.row.as_deref());
        let seen = Seen { ledger, rows: rows.collect() };
        let verdict = judgement.verdict(head, &seen);
        let mut lower: Vec<Lowering> = Vec::new();
        for (attempt, cause) in &verdict.lower {
            if let Some(candidate) = head.candidate(*attempt).filter(|_| !head.is_lowered(*attempt)) {
                let identity = candidate.version.identity.clone();
                lower.push(Lowering {
                    attempt: *attempt,
                    identity,
                    cause: cause.clone(),
                    by: "guard".into(),
                });
            }
        }
        let asked = self.rows.values().filter_map(|kept| kept.row.as_ref()).flat_map(|row| &row.asks);
        lower.extend(asked.filter(|ask| head.runs(ask.attempt, &ask.identity)).cloned());
        if let Some(raise) = verdict.raise.filter(|_| lower.is_empty())
            && self.may_raise(following, head, tick)
            && self.is_fresh(following, tick, now)
        {
            let over = if following.rules.keep(ProtocolRule::JudgedHead) {
                Some(over)
            } else {
                following.applied.as_ref()
            };
            if let Some(over) = over {
                self.begin_raise(over.clone(), raise, ledger, following, layout, chance, now);
            }
        }
        lower
    }

    fn may_raise(&self, following: &Following, head: &Head, tick: &Tick) -> bool {
        let rules = following.rules;
        let seen = self.rows.values().filter_map(|kept| kept.row.as_ref()).any(|row| row.has > head.place);
        // What was read before it was over is not what those said who knew better, however long it took to write.
        let quiet = tick.asked < self.quiet_until;
        // A process that was stopped in the middle of a tick has judged something that is long over.
        let stopped = self.rested > Duration::from_millis(following.timing().valid_for);
        // An older build does not know what it would drop; it lowers all the same.
        let knows = self.build >= head.min_writer;
        knows
            && !following.diverged
            && !stopped
            && (!seen || !rules.keep(ProtocolRule::RaiseAgainstSeen))
            && (!quiet || !rules.keep(ProtocolRule::Quiet))
    }

    /// Whether what was judged was read a short while ago: a store that was put back since says other things, and nobody has seen it.
    fn is_fresh(&mut self, following: &Following, tick: &Tick, now: Timestamp) -> bool {
        let (took, most) = (now.since(tick.asked), following.timing().gone_after());
        if took > most {
            let [took, most] = [took, most].map(|span| span.as_secs());
            self.refused = Some(format!(
                "the rows of all took {took} s to read, and what is older than {most} s raises nothing"
            ));
        }
        took <= most
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is the state of one tick")]
    fn begin_raise(
        &mut self,
        over: Applied,
        raise: Raise,
        ledger: &Ledger<C>,
        following: &Following,
        layout: &Layout,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) {
        let head = over.head();
        let mut next = head.next(over.written.print, Hex(chance.bits()), "judge", &raise.why, now);
        next.enter(&raise.core, self.store_now(now).unwrap_or_default(), ledger.active_ms);
        (next.core, next.control) = (raise.core, raise.control);
        next.more.extend(raise.more);
        next.forget_lowered();
        next.evidence = Evidence { ledger: ledger.n, nonce: ledger.nonce };
        let written = match Written::after(next, &head.core) {
            Ok(written) => Arc::new(written),
            Err(error) => {
                self.refused = Some(error.to_string());
                return;
            }
        };
        if following.rules.keep(ProtocolRule::File) {
            let (key, value) =
                (layout.filed(head.place, over.written.print), Value::Head(Arc::clone(&over.written)));
            self.asks = Some(Act::Put { key, value, over: None });
            self.at = At::File(over, written);
        } else {
            self.raise(over, written, layout, now);
        }
    }

    fn raise(&mut self, over: Applied, written: Arc<Written>, layout: &Layout, now: Timestamp) {
        self.at = At::Raise(now, Arc::clone(&written));
        let key = layout.head().clone();
        self.asks = Some(Act::Put { key, value: Value::Head(written), over: Some(over.tag) });
    }
}

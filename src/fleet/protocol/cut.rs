//! One cut of the ledger: rows in, the next ledger out. A pure function.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rules::{ProtocolRule, Rules};
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::{Book, Counts};
use crate::fleet::format::head::Head;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::ledger::{Ledger, Mark};
use crate::fleet::format::row::Row;

/// A row as whoever cuts has found it.
#[derive(Debug, Clone)]
pub(crate) struct Found<'a, C: Counts> {
    /// Nothing where it cannot be read.
    pub(crate) row: Option<&'a Row<C>>,
    /// When it was put, by the store's clock.
    pub(crate) at: Timestamp,
}

/// What came of a cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cut<C: Counts> {
    /// These rows cannot be counted. Somebody may be about to mend them.
    Held(Vec<Hex>),
    /// The next ledger, and what it has more of evidence.
    Next(Box<Ledger<C>>, Book<C>),
}

/// For how many ticks a row that cannot be counted holds all others up.
pub(crate) const HELD: u32 = 3;

/// Whose name stands for the sum of all rows, where it cannot be held against the last one and no row says why.
pub(crate) const SUM: Hex = Hex(0);

/// The next ledger: what closed and open rows have together, and as evidence what is more than at the last cut.
///
/// A row that cannot be read, is older than it was, or is gone holds the cut up; after three ticks it is set aside. What it had
/// is evidence already and stays so. But what the others have counted since then cannot be told from it, so the tick is void: all of
/// it is given up, of both arms of all members alike. That is always right, and no member can choose when.
///
/// `watched` is how long after the last cut's tick this one's was begun, `took` what it has taken until now: what is new was read by then.
/// A row that did not move in so much of that is closed: the store's clock may be set, and a row may be dated by whoever has put it.
pub(crate) fn cut<C: Counts>(
    before: &Ledger<C>,
    rows: &BTreeMap<Hex, Found<'_, C>>,
    held: &BTreeMap<Hex, u32>,
    head: &Head,
    store_now: Timestamp,
    (watched, took): (Duration, Duration),
    rules: Rules,
) -> Cut<C> {
    let close_after = Duration::from_millis(head.timing.close_after);
    let is_closed = |name: &Hex| {
        rules.keep(ProtocolRule::ClosedIsFinal)
            && before.marks.get(name).is_some_and(|mark| mark.closed.is_some())
    };
    let watched_ms = before.watched_ms.saturating_add(watched.as_millis() as u64);
    let read_by = watched_ms.saturating_add(took.as_millis() as u64);
    let mut next = Ledger { marks: BTreeMap::new(), watched_ms, ..before.clone() };
    // Of what was never read it is counted from here.
    let aged = |mark: Mark| Mark { seen: mark.seen.or(Some(watched_ms)), ..mark };
    // A closed name is kept for as long as its row might come back.
    let fresh = |mark: &Mark| mark.closed.is_some() && mark.silence(watched_ms) < close_after * 5;
    let gone = before.marks.iter().filter(|(name, _)| !rows.contains_key(*name));
    next.marks.extend(gone.clone().filter(|(_, mark)| fresh(mark)).map(|(name, mark)| (*name, aged(*mark))));
    let mut bad: Vec<Hex> = gone.filter(|(_, mark)| mark.closed.is_none()).map(|(name, _)| *name).collect();
    let runs = |attempt: u32| !head.is_over(attempt);
    let mut base = before.base.clone();
    base.retain(runs);
    // What was told apart at the last cut has its room first: a label that is new would take that of one whose row comes later, and the sum shrink.
    let mut sum = base.names();
    sum.add(&before.closed);
    let mut closing: Vec<&Book<C>> = Vec::new();
    for (name, found) in rows {
        let mark = before.marks.get(name).copied();
        if let Some(mark) = mark.filter(|_| is_closed(name)) {
            next.marks.insert(*name, aged(mark));
            continue;
        }
        let number = mark.map_or(0, |mark| mark.n);
        let Some(row) = found.row.filter(|row| row.n >= number) else {
            bad.push(*name);
            continue;
        };
        let seen = mark.filter(|mark| mark.n == row.n).and_then(|mark| mark.seen).or(Some(read_by));
        let mut mark = Mark { n: row.n, seen, ..mark.unwrap_or_default() };
        let silence = if rules.keep(ProtocolRule::WatchedTime) {
            mark.silence(watched_ms)
        } else {
            store_now.since(found.at)
        };
        mark.closed = (row.state.is_last() || silence >= close_after).then_some(store_now);
        sum.add(&row.counts);
        closing.extend(mark.closed.map(|_| &row.counts));
        next.marks.insert(*name, mark);
    }
    closing.into_iter().for_each(|counts| next.closed.add_within(counts, &sum));
    // What is over is asked about by nobody.
    sum.retain(runs);
    next.closed.retain(runs);
    next.evidence.retain(runs);
    // Whoever had judged before a head was put back may have cut afterwards: what was evidence of an attempt that runs once more nobody can tell.
    // A row may still have one that is gone, which is over only once a later one is there.
    let is_there = |attempt: u32| head.candidate(attempt).is_some();
    let runs_once_more = sum.attempts().any(|attempt| is_there(attempt) && before.left_out(attempt));
    if bad.is_empty() && (!sum.covers(&base) || runs_once_more) {
        bad.push(SUM);
    }
    let waits = |name: &Hex| {
        !rules.keep(ProtocolRule::SetAside) || held.get(name).copied().unwrap_or_default() < HELD
    };
    if bad.iter().any(waits) {
        return Cut::Held(bad);
    }
    for name in bad.iter().filter(|name| **name != SUM) {
        let mark = before.marks.get(name).copied().unwrap_or_default();
        next.marks.insert(*name, aged(Mark { closed: Some(store_now), ..mark }));
    }
    let mut found = Book::default();
    if bad.is_empty() || !rules.keep(ProtocolRule::Void) {
        found = sum.less(&base);
        next.evidence.add(&found);
    }
    if !bad.is_empty() {
        next.voids += 1;
    }
    next.base = sum;
    next.n = before.n.saturating_add(1);
    next.before = before.nonce;
    next.head = head.place;
    next.runs = head.core.candidates.iter().map(|candidate| candidate.attempt).collect();
    Cut::Next(Box::new(next), found)
}

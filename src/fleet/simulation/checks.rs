//! What truly happened, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use super::tally::Tally;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::{Book, Counts};
use crate::fleet::format::head::{Head, Place};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::ledger::Ledger;
use crate::fleet::format::row::Row;
use crate::fleet::format::value::{Value, Written};

/// The ground truth. Nothing here comes from what a member believes of others.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) violations: Vec<String>,
    /// Requests that were exposed, and their control at the same time, by attempt; and by life.
    pub(crate) truth: BTreeMap<u32, Tally>,
    pub(crate) by_life: BTreeMap<(usize, u32), Tally>,
    /// Every row that was ever there, by name and number, and who wrote it.
    pub(crate) rows: BTreeMap<Hex, BTreeMap<u64, Book<Tally>>>,
    pub(crate) owner: BTreeMap<Hex, usize>,
    /// When each of them was put by the true time, and whether it was the last one of its name.
    put: BTreeMap<(Hex, u64), (u64, bool)>,
    /// Heads by their print, each with the one that it names as its predecessor.
    heads: BTreeMap<Hex, (Place, Option<Hex>)>,
    filed: BTreeSet<Hex>,
    /// The head under which each ledger was cut that was accepted.
    ledgers: BTreeMap<Hex, Place>,
    pub(crate) raises: u64,
    pub(crate) lowerings: u64,
    pub(crate) cuts: u64,
    pub(crate) voids: u64,
}

impl Checks {
    pub(crate) fn broken(&mut self, why: impl FnOnce() -> String) {
        // The first ones say it; a run that is broken breaks on.
        if self.violations.len() < 5 {
            self.violations.push(why());
        }
    }

    pub(crate) fn counted(&mut self, life: usize, attempt: u32, tally: &Tally) {
        self.truth.entry(attempt).or_default().add(tally);
        self.by_life.entry((life, attempt)).or_default().add(tally);
    }

    pub(crate) fn founded(&mut self, head: &Written) {
        self.heads.insert(head.print, (head.head.place, None));
    }

    /// A repair: a new term, that needs no ancestor.
    pub(crate) fn repaired(&mut self, head: &Written, before: Hex) {
        self.heads.insert(head.print, (head.head.place, Some(before)));
    }

    pub(crate) fn filed(&mut self, head: &Written) {
        self.filed.insert(head.print);
    }

    pub(crate) fn head(&mut self, new: &Written, before: Option<&Value<Tally>>) {
        let Some(Value::Head(over)) = before else {
            return self.broken(|| format!("head {} replaced none", new.head.place));
        };
        let named = new.head.ancestors.newest();
        self.heads.insert(new.print, (new.head.place, named.map(|(_, print)| print)));
        let next = Place { seq: over.head.place.seq + 1, ..over.head.place };
        if named != Some((over.head.place.seq, over.print)) || new.head.place != next {
            self.broken(|| {
                format!("fork: head {} replaced {}, and names {named:?}", new.head.place, over.head.place)
            });
        }
        let kept = |attempt| new.head.candidate(attempt).is_none() || new.head.is_lowered(attempt);
        if let Some(lost) = over.head.lowered.iter().find(|lowering| !kept(lowering.attempt)) {
            self.broken(|| format!("head {} raised attempt {} again", new.head.place, lost.attempt));
        }
        if new.head.by == "judge" {
            self.raises += 1;
            if !self.filed.contains(&over.print) {
                self.broken(|| format!("head {} was replaced and not filed", over.head.place));
            }
            match self.ledgers.get(&new.head.evidence.nonce).copied() {
                Some(cut) if cut == over.head.place => {}
                other => self.broken(|| {
                    format!("raise {} rests on {other:?}, and replaced {}", new.head.place, over.head.place)
                }),
            }
        } else {
            self.lowerings += 1;
        }
    }

    pub(crate) fn row(&mut self, life: usize, row: &Row<Tally>, before: Option<&Value<Tally>>, now: u64) {
        self.owner.insert(row.name, life);
        self.put.insert((row.name, row.n), (now, row.state.is_last()));
        self.rows.entry(row.name).or_default().insert(row.n, row.counts.clone());
        if let Some(Value::Row(over)) = before
            && over.n >= row.n
        {
            self.broken(|| format!("row {} went back from {} to {}", row.name, over.n, row.n));
        }
    }

    pub(crate) fn ledger(&mut self, new: &Ledger<Tally>, before: Option<&Value<Tally>>, head: &Head) {
        self.cuts += 1;
        self.ledgers.insert(new.nonce, new.head);
        let empty = Ledger::empty();
        let before = match before {
            Some(Value::Ledger(ledger)) => ledger,
            _ => &empty,
        };
        if new.before != before.nonce {
            self.broken(|| format!("ledger {} replaced {}, and comes from another", new.n, before.n));
        }
        let runs = |attempt: u32| !head.is_over(attempt);
        let (mut now, mut then) = (new.evidence.clone(), before.evidence.clone());
        [&mut now, &mut then].into_iter().for_each(|book| book.retain(runs));
        if new.head == head.place && !now.covers(&then) {
            self.broken(|| format!("ledger {} has less than the one before", new.n));
        }
        let each: Vec<(u32, Tally)> =
            head.core.candidates.iter().map(|c| (c.attempt, now.since(c.attempt, 0))).collect();
        for (attempt, merged) in each {
            let truth = self.truth.get(&attempt).copied().unwrap_or_default();
            if !truth.covers(&merged) {
                self.broken(|| {
                    format!("ledger {}: attempt {attempt} has {merged:?}, and {truth:?} happened", new.n)
                });
            }
        }
        if new.voids > before.voids {
            self.voids += 1;
            if new.head == head.place && now != then {
                self.broken(|| {
                    format!("ledger {} is void, and has other evidence than the one before", new.n)
                });
            }
            return;
        }
        // What is more is what the rows have more at their marks.
        if new.head == head.place {
            let mut more = Book::default();
            for (name, mark) in &new.marks {
                let (known, nothing) = (self.rows.get(name), Book::default());
                let at = |n: u64| known.and_then(|known| known.get(&n)).unwrap_or(&nothing);
                let was = before.marks.get(name).map_or(0, |mark| mark.n);
                more.add(&at(mark.n).less(at(was)));
            }
            more.retain(runs);
            if now.less(&then) != more {
                self.broken(|| {
                    format!("ledger {} grew by {:?}, and its rows by {more:?}", new.n, now.less(&then))
                });
            }
        }
    }

    /// No name is closed before it was silent for so long, but those that are set aside.
    pub(crate) fn closed_late(
        &mut self,
        new: &Ledger<Tally>,
        before: Option<&Value<Tally>>,
        now: u64,
        close_after: u64,
    ) {
        let Some(Value::Ledger(before)) = before else { return };
        for (name, mark) in new.marks.iter().filter(|(_, mark)| mark.closed.is_some()) {
            let was_open = before.marks.get(name).is_none_or(|mark| mark.closed.is_none());
            if let Some((at, is_last)) = self.put.get(&(*name, mark.n)).copied()
                && was_open
                && !is_last
                && now.saturating_sub(at) < close_after
                && new.voids == before.voids
            {
                let ms = now.saturating_sub(at) / 1_000_000;
                self.broken(|| format!("ledger {} closed {name}, whose row was put {ms} ms before", new.n));
            }
        }
    }

    /// Whether one head comes from another, as the heads that were there have it.
    pub(crate) fn descends(&self, print: Hex, from: Hex) -> bool {
        let mut at = Some(print);
        while let Some(print) = at {
            if print == from {
                return true;
            }
            at = self.heads.get(&print).and_then(|(_, before)| *before);
        }
        false
    }

    /// What a life has told under all of its names, of one attempt.
    pub(crate) fn told(&self, life: usize, attempt: u32) -> Tally {
        let mut sum = Tally::default();
        for (name, rows) in &self.rows {
            if self.owner.get(name) == Some(&life)
                && let Some((_, last)) = rows.last_key_value()
            {
                sum.add(&last.since(attempt, 0));
            }
        }
        sum
    }
}

/// What a member followed before an answer, to be compared with what it follows after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) place: Place,
    pub(crate) print: Option<Hex>,
    pub(crate) diverged: bool,
}

/// When an attempt was lowered in the store, by the clock of each process.
pub(crate) type LoweredAt = BTreeMap<u32, Vec<Timestamp>>;

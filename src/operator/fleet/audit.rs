//! What lies in a fleet's store, held against the rest of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::error::FleetError;
use super::reach::{FoundLedger, FoundRow, Lies, Reach};
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Book;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::{Ancestors, Descent, Head, Place};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::ledger::Ledger;
use crate::fleet::format::row::{Row, State};
use crate::fleet::format::value::{Value, Written};
use crate::fleet::{Key, Listed};
use crate::handle::fleet::counts::FleetCounts;

/// Heads before the newest that should be filed, whoever sweeps.
const RECENT: u64 = 64;

/// What [`FleetOperator::audit`](super::FleetOperator::audit) has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FleetAudit {
    /// The name of the handles.
    pub model: String,
    /// What is not as it should be: faults first.
    pub findings: Vec<FleetFinding>,
    /// Filed heads that were read.
    pub filed: usize,
    /// Rows that were read.
    pub rows: usize,
}

impl FleetAudit {
    /// Whether nothing is wrong. Things that only leave a hole in the history may have been found.
    pub fn is_whole(&self) -> bool {
        !self.findings.iter().any(FleetFinding::is_fault)
    }
}

/// Something in a fleet's store that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
#[non_exhaustive]
pub enum FleetFinding {
    /// What was agreed on is not there.
    HeadMissing,
    /// A value is damaged, a later release's, or sealed with another secret.
    Unreadable {
        /// Where it lies.
        key: String,
        /// Why.
        reason: String,
    },
    /// A process has seen what is not in the store any more: it was put back.
    Ahead {
        /// The process.
        member: String,
        /// What it has.
        has: String,
    },
    /// A process follows another history than the one in the store.
    Diverged {
        /// The process.
        member: String,
    },
    /// A process has kept a head from which the newest does not come.
    OtherHistory {
        /// The head, as `repair` takes it.
        head: String,
    },
    /// The ledger is of a head that is not in the store any more.
    LedgerAhead {
        /// That head.
        has: String,
    },
    /// Nobody brings evidence together.
    NobodyJudges {
        /// When it was done last, by the store's clock; nothing where it never was.
        since: Option<Timestamp>,
    },
    /// Processes are there that have not ended, and none has written anything for long.
    Silent {
        /// When something was written last, by the store's clock.
        since: Timestamp,
        /// How long ago that is, by the clock of whoever looks.
        silent: Duration,
    },
    /// Values are dated later than it is: a clock is wrong, this machine's or the store's, or one was dated by hand. What is told by the
    /// store's clock is not to be relied on.
    DatedAhead {
        /// The one that is furthest ahead.
        key: String,
        /// What it is dated.
        at: Timestamp,
        /// By how much that is later than it is by the clock of whoever looks.
        ahead: Duration,
        /// How many there are.
        values: usize,
    },
    /// A process goes on under a name that is closed: what it counts is no evidence.
    GoesOnClosed {
        /// The process.
        member: String,
    },
    /// A row is older than it was when its counts were taken.
    RowBehind {
        /// The process.
        member: String,
        /// The number that it has.
        number: u64,
        /// The number that it had when its counts were taken.
        had: u64,
    },
    /// A row is gone that was not closed.
    RowGone {
        /// The process.
        member: String,
    },
    /// Rows have less together than was counted already.
    CountsShrank,
    /// A head is not filed that was replaced: the history has a hole there.
    Hole {
        /// Its number.
        sequence: u64,
    },
    /// The head that is filed under a number is of another history.
    FiledOfOther {
        /// The number.
        sequence: u64,
    },
    /// Something lies there that is none of the fleet's.
    Stray {
        /// Where.
        key: String,
    },
}

impl FleetFinding {
    /// Whether somebody has to do something. The others are holes in the history, and strangers.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Hole { .. } | Self::FiledOfOther { .. } | Self::Stray { .. })
    }
}

impl fmt::Display for FleetFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadMissing => f.write_str("what was agreed on is gone: repair it"),
            Self::Unreadable { key, reason } => write!(f, "{key} cannot be read: {reason}"),
            Self::Ahead { member, has } => write!(
                f,
                "process {member} has {has}, which is not in the store any more: it was put back; repair it"
            ),
            Self::Diverged { member } => {
                write!(
                    f,
                    "process {member} follows another history than the store's: repair it, or start it again"
                )
            }
            Self::OtherHistory { head } => {
                write!(f, "a process has kept {head}, from which what is agreed on does not come: repair it")
            }
            Self::LedgerAhead { has } => {
                write!(f, "the ledger is of {has}, which is not in the store any more: repair it")
            }
            Self::NobodyJudges { since: Some(since) } => {
                write!(f, "no process judges since {since}: look whether any reaches the store")
            }
            Self::NobodyJudges { since: None } => f.write_str("no process has ever judged"),
            Self::Silent { since, silent } => write!(
                f,
                "nothing was written since {since}, which is {} s by this machine's clock: look whether any process runs and reaches the store",
                silent.as_secs()
            ),
            Self::DatedAhead { key, at, ahead, values } => write!(
                f,
                "{values} values are dated later than it is, such as {key}, which says {at} and is {} s ahead of this machine's clock: look whether it \
                 is right, and the store's",
                ahead.as_secs()
            ),
            Self::GoesOnClosed { member } => write!(
                f,
                "process {member} goes on under a name that is closed, and what it counts is no evidence: it takes another one, once in \
                 `close_after`, or start it again"
            ),
            Self::RowBehind { member, number, had } => {
                write!(f, "the row of process {member} has number {number} and had {had}: it was put back")
            }
            Self::RowGone { member } => {
                write!(f, "the row of process {member} is gone before it was closed: somebody removed it")
            }
            Self::CountsShrank => f.write_str("rows have less together than was counted: some were put back"),
            Self::Hole { sequence } => write!(f, "{sequence} is not filed: the history has a hole there"),
            Self::FiledOfOther { sequence } => {
                write!(f, "what is filed as {sequence} is of another history")
            }
            Self::Stray { key } => write!(f, "{key} is none of the fleet's"),
        }
    }
}

/// What is needed of a head to know how it stands to others: of a long history the bodies are not held, and one is read again where it
/// is gone on from.
#[derive(Debug, Clone)]
pub(super) struct Aside {
    pub(super) place: Place,
    pub(super) print: Hex,
    ancestors: Ancestors,
    /// The highest number of an attempt that it has.
    pub(super) attempt: Option<u32>,
}

impl Aside {
    pub(super) fn of(written: &Written) -> Self {
        let head = &written.head;
        Self {
            place: head.place,
            print: written.print,
            ancestors: head.ancestors.clone(),
            attempt: head.core.candidates.iter().map(|candidate| candidate.attempt).max(),
        }
    }
}

/// Heads that are filed, or why one cannot be read.
pub(super) type Filed = BTreeMap<(Place, Hex), Result<Aside, String>>;

/// What lies under a handle's key, by what it is.
pub(super) struct Lying {
    pub(super) all: Vec<Listed>,
    pub(super) rows: BTreeMap<Hex, FoundRow>,
    pub(super) filed: Filed,
    pub(super) kept: Filed,
    pub(super) ledger: Option<Result<FoundLedger, String>>,
    pub(super) store_now: Timestamp,
}

impl Lying {
    /// The newest that a process says it has; those that have ended too.
    pub(super) fn seen(&self) -> Option<Place> {
        self.rows.values().filter_map(|found| Some(found.row.as_ref().ok()?.has)).max()
    }

    /// Heads that processes have kept and the newest does not come from.
    pub(super) fn others(&self, newest: &Aside) -> impl Iterator<Item = (Place, Hex)> {
        self.kept.keys().copied().filter(|of| comes_from(&self.filed, newest, *of) == Some(false))
    }

    /// Those that the newest comes from, that are of an earlier term, or of which nobody can show any more where they stand.
    pub(super) fn settled(&self, newest: &Aside) -> impl Iterator<Item = (Place, Hex)> {
        self.kept.keys().copied().filter(|of| comes_from(&self.filed, newest, *of) != Some(false))
    }

    /// Rows of processes that have not ended, as far as the store tells.
    fn there(&self, head: &Head) -> impl Iterator<Item = &Row<FleetCounts>> {
        let close_after = Duration::from_millis(head.timing.close_after);
        let spoke = self.rows.values().filter(move |found| self.store_now.since(found.at) < close_after);
        spoke.filter_map(|found| found.row.as_deref().ok()).filter(|row| !row.state.is_last())
    }

    /// Those that follow another history than this head's.
    pub(super) fn diverged(&self, head: &Head) -> impl Iterator<Item = &Row<FleetCounts>> {
        let term = head.place.term;
        self.there(head).filter(move |row| row.state == State::Diverged && row.has.term >= term)
    }
}

impl Reach {
    /// A fleet goes on while it is looked at, and whatever is read later is newer. So the ledger is read before the rows that it was made of, and
    /// whoever holds rows against the head reads that once more afterwards: nothing is older then than what rests on it.
    pub(super) fn lying(&self) -> Result<Lying, FleetError> {
        let ledger = self.ledger()?;
        let all = self.list(self.layout.handle())?;
        let (mut filed, mut kept) = (BTreeMap::new(), BTreeMap::new());
        let read = |key: &Key| -> Result<Option<Result<Aside, String>>, FleetError> {
            Ok(self.put_aside(key)?.map(|found| found.map(|written| Aside::of(&written))))
        };
        for entry in &all {
            let key = &entry.key;
            if let Some(name) = self.layout.read_filed(key) {
                filed.extend(read(key)?.map(|found| (name, found)));
            } else if let Some(name) = self.layout.read_kept(key) {
                kept.extend(read(key)?.map(|found| (name, found)));
            }
        }
        let rows = self.rows(&all)?;
        let store_now = self.latest(all.iter().map(|entry| entry.at));
        Ok(Lying { store_now, rows, filed, kept, ledger, all })
    }

    pub(super) fn audit(&self) -> Result<FleetAudit, FleetError> {
        // Before what is filed: all that it names was filed before it.
        let head = match self.get(Kind::Head, self.layout.head())? {
            Lies::Value(Value::Head(written), ..) => Ok(written),
            Lies::Nothing => match self.head() {
                Err(error @ FleetError::NotFounded { .. }) => return Err(error),
                Ok((found, _)) => Ok(found.written),
                Err(_) => Err(None),
            },
            Lies::Value(..) => Err(Some(String::from("it is no head"))),
            Lies::Unreadable(_, reason) => Err(Some(reason)),
        };
        let lying = self.lying()?;
        let mut findings = Vec::new();
        match &head {
            Ok(written) => {
                against_filed(&written.head, &lying, &mut findings);
                let newest = self.newest(written)?;
                self.against_head(&newest, &lying, &mut findings);
            }
            Err(None) => findings.push(FleetFinding::HeadMissing),
            Err(Some(reason)) => {
                let key = self.layout.head().to_string();
                findings.push(FleetFinding::Unreadable { key, reason: reason.clone() });
            }
        }
        let mut damaged = |key: String, reason: &String| {
            findings.push(FleetFinding::Unreadable { key, reason: reason.clone() });
        };
        for (name, found) in &lying.rows {
            found
                .row
                .as_ref()
                .err()
                .into_iter()
                .for_each(|why| damaged(self.layout.row(*name).to_string(), why));
        }
        for ((place, print), found) in &lying.filed {
            let key = || self.layout.filed(*place, *print).to_string();
            found.as_ref().err().into_iter().for_each(|why| damaged(key(), why));
        }
        for ((place, print), found) in &lying.kept {
            let key = || self.layout.kept(*place, *print).to_string();
            found.as_ref().err().into_iter().for_each(|why| damaged(key(), why));
        }
        if let Some(Err(why)) = &lying.ledger {
            damaged(self.layout.ledger().to_string(), why);
        }
        let ahead = lying.all.iter().filter(|entry| self.is_ahead(entry.at));
        if let Some(first) = ahead.clone().max_by_key(|entry| entry.at) {
            let (key, at, values) = (first.key.to_string(), first.at, ahead.count());
            let ahead = at.since(self.clock.now());
            findings.push(FleetFinding::DatedAhead { key, at, ahead, values });
        }
        let is_ours = |entry: &Listed| {
            let (key, layout) = (&entry.key, &self.layout);
            [layout.head(), layout.ledger()].contains(&key)
                || layout.name(key).is_some()
                || layout.read_filed(key).is_some()
                || layout.read_kept(key).is_some()
                || layout.read_mailbox(key).is_some()
                || layout.read_handover(key).is_some()
                || layout.read_handover_part(key).is_some()
                || key.below(&layout.probes()).is_some()
        };
        let strays = lying.all.iter().filter(|entry| !is_ours(entry));
        findings.extend(strays.map(|entry| FleetFinding::Stray { key: entry.key.to_string() }));
        findings.sort_by_key(|finding| !finding.is_fault());
        Ok(FleetAudit {
            model: self.model.clone(),
            findings,
            filed: lying.filed.len(),
            rows: lying.rows.len(),
        })
    }

    fn against_head(&self, written: &Written, lying: &Lying, findings: &mut Vec<FleetFinding>) {
        let (head, own) = (&written.head, Aside::of(written));
        for (name, found) in &lying.rows {
            let Ok(row) = &found.row else { continue };
            if row.has > head.place {
                findings.push(FleetFinding::Ahead { member: name.to_string(), has: row.has.to_string() });
            }
        }
        let diverged = lying.diverged(head);
        findings.extend(diverged.map(|row| FleetFinding::Diverged { member: row.name.to_string() }));
        let others = lying.others(&own);
        findings
            .extend(others.map(|(place, print)| FleetFinding::OtherHistory { head: named(place, print) }));
        let there = lying.there(head).count();
        // Others take over after three ticks and some, and the first one of a fleet begins after a while.
        let patience = Duration::from_millis(head.timing.tick.saturating_mul(10).max(30_000));
        if let Some(silent) = self.silent(head, lying.store_now).filter(|_| there > 0) {
            findings.push(FleetFinding::Silent { since: lying.store_now, silent });
        }
        let is_overdue = |since: Timestamp| there > 0 && lying.store_now.since(since) > patience;
        match &lying.ledger {
            Some(Ok((ledger, at))) => {
                against_ledger(head, ledger, &lying.rows, findings);
                let goes_on = |row: &&Row<FleetCounts>| {
                    ledger.marks.get(&row.name).is_some_and(|mark| mark.closed.is_some() && row.n > mark.n)
                };
                let closed = lying.there(head).filter(goes_on);
                findings
                    .extend(closed.map(|row| FleetFinding::GoesOnClosed { member: row.name.to_string() }));
                if is_overdue(*at) {
                    findings.push(FleetFinding::NobodyJudges { since: Some(*at) });
                }
            }
            None if lying.all.iter().any(|entry| is_overdue(entry.at)) => {
                findings.push(FleetFinding::NobodyJudges { since: None });
            }
            _ => {}
        }
    }
}

fn against_filed(head: &Head, lying: &Lying, findings: &mut Vec<FleetFinding>) {
    for (sequence, print) in named_ancestors(&head.ancestors, head.place.seq) {
        // Of an earlier term it is filed there.
        if !lying.filed.keys().any(|(place, of)| (place.seq, *of) == (sequence, print)) {
            findings.push(FleetFinding::Hole { sequence });
        }
    }
    let others = lying.filed.keys().filter(|(place, print)| {
        let is_before = place.term == head.place.term && place.seq < head.place.seq;
        is_before && head.ancestors.have(place.seq, *print) == Descent::No
    });
    findings.extend(others.map(|(place, _)| FleetFinding::FiledOfOther { sequence: place.seq }));
}

fn against_ledger(
    head: &Head,
    ledger: &Ledger<FleetCounts>,
    rows: &BTreeMap<Hex, FoundRow>,
    findings: &mut Vec<FleetFinding>,
) {
    if ledger.head > head.place {
        findings.push(FleetFinding::LedgerAhead { has: ledger.head.to_string() });
    }
    let mut sum = ledger.base.names();
    sum.add(&ledger.closed);
    let mut is_whole = true;
    for (name, mark) in ledger.marks.iter().filter(|(_, mark)| mark.closed.is_none()) {
        match rows.get(name).map(|found| &found.row) {
            None => findings.push(FleetFinding::RowGone { member: name.to_string() }),
            Some(Ok(row)) if row.n < mark.n => {
                let (number, had) = (row.n, mark.n);
                findings.push(FleetFinding::RowBehind { member: name.to_string(), number, had });
            }
            Some(Ok(row)) => {
                sum.add(&row.counts);
                continue;
            }
            Some(Err(_)) => {}
        }
        is_whole = false;
    }
    let mut base: Book<FleetCounts> = ledger.base.clone();
    base.retain(|attempt| !head.is_over(attempt));
    if is_whole && !sum.covers(&base) {
        findings.push(FleetFinding::CountsShrank);
    }
}

/// A head, as `repair` takes it.
pub(super) fn named(place: Place, print: Hex) -> String {
    format!("{place}.{print}")
}

/// Whether a head comes from another one, is the same, or is of a later term. What is too far back to be named is looked for in what is
/// filed; nothing where that was swept, is filed no more or cannot be read: then it is no end of a history that anybody could go back to.
pub(super) fn comes_from(filed: &Filed, head: &Aside, (from, print): (Place, Hex)) -> Option<bool> {
    let (mut at, place) = (head, head.place);
    if head.print == print || place.term > from.term {
        return Some(true);
    }
    if place.term < from.term {
        return Some(false);
    }
    loop {
        match at.ancestors.have(from.seq, print) {
            Descent::Yes => return Some(true),
            Descent::No => return Some(false),
            // Each is nearer to what is looked for than the one before.
            Descent::Ask(seq, expected) => {
                let next = filed.get(&(Place { term: place.term, seq }, expected))?.as_ref().ok()?;
                // One that lies under another one's name proves nothing, and could lead back to where it was come from.
                at = Some(next).filter(|next| next.print == expected)?;
            }
        }
    }
}

/// The last ones that a head names, without the first of all when there is none.
fn named_ancestors(ancestors: &Ancestors, seq: u64) -> Vec<(u64, Hex)> {
    ancestors.named().iter().copied().filter(|(of, _)| seq.saturating_sub(*of) <= RECENT).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Clock;
    use crate::fleet::memory::InMemory;
    use crate::fleet::protocol::call::{Act, Reply};
    use crate::handle::handle::ModelHandle;
    use crate::handle::options::{Fleet, Threads};
    use crate::model::closure::closure;

    /// Bug: an operator's program rolled back, or repaired, by a head that said that it cannot read it. Cause: what a head asks of whoever reads it was looked
    /// at by members alone, at their start. Fix: such a head is one that cannot be read, and is repaired by nobody of an earlier release.
    #[test]
    fn a_head_of_a_later_release_is_changed_by_nobody_of_an_earlier_one() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let fleet = Fleet::on(InMemory::new(clock.clone()));
        let live = || closure("v1@1", |_: &f64| Ok(1.0));
        let member = || {
            let builder = ModelHandle::builder("x").live("v1", live()).threads(Threads::manual());
            builder.clock(clock.clone()).fleet(fleet.clone()).build()
        };
        let running = member().unwrap();
        let reach = Reach::new(&fleet, "x", clock.clone()).unwrap();
        let (over, _) = reach.head().unwrap();
        let next = over.head().next(over.written.print, Hex(7), "ada", "so", clock.now());
        let value = Value::Head(Arc::new(Written::new(Head { min_reader: 2, ..next }).unwrap()));
        let put = Act::Put { key: reach.layout.head().clone(), value, over: Some(over.tag) };
        assert!(matches!(reach.ask(&put, &mut None), Reply::Done(_)));
        let operator = crate::operator::FleetOperator::with_clock(&fleet, "x", clock.clone()).unwrap();
        let later =
            |told: String| assert!(told.contains("later release of this library: it asks for 2"), "{told}");
        later(operator.rollback("complaints").unwrap_err().to_string());
        later(operator.overview().unwrap_err().to_string());
        later(operator.repair("complaints", None).unwrap_err().to_string());
        later(operator.audit().unwrap().findings[0].to_string());
        later(member().unwrap_err().to_string());
        running.tick();
        clock.advance(Duration::from_secs(2));
        running.tick();
        later(running.fleet().unwrap().store_error.unwrap());
    }

    /// Bug: to verify, repair or sweep a fleet took as much memory as all of its history. Cause: every head that is filed was held with its
    /// body. Fix: of each no more is held than how it stands to others.
    #[test]
    fn of_a_long_history_no_bodies_are_held() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let fleet = Fleet::on(InMemory::new(clock.clone()));
        let live = closure("v1@1", |_: &f64| Ok(1.0));
        let builder = ModelHandle::builder("x").live("v1", live).threads(Threads::manual());
        let _member = builder.clock(clock.clone()).fleet(fleet.clone()).build().unwrap();
        let reach = Reach::new(&fleet, "x", clock).unwrap();
        let (over, _) = reach.head().unwrap();
        for seq in 1..=40 {
            let place = Place { seq, ..over.head().place };
            let head = Head { place, control: "x".repeat(200 << 10).into(), ..over.head().clone() };
            let value = Value::Head(Arc::new(Written::new(head).unwrap()));
            let put = Act::Put { key: reach.layout.filed(place, Hex(seq)), value, over: None };
            assert!(matches!(reach.ask(&put, &mut None), Reply::Done(_)));
        }
        let filed = reach.lying().unwrap().filed;
        assert!(filed.len() == 40 && filed.values().all(Result::is_ok));
        assert!(format!("{filed:?}").len() < 40 << 10);
    }
}

//! What may be removed from a store, because nobody can miss it. Pure functions: whoever sweeps asks the store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cut::Found;
use super::rules::{ProtocolRule, Rules};
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::handover::Handover;
use crate::fleet::format::head::{Head, Place};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::ledger::Ledger;

/// Heads before the newest that stay filed, whatever their age: for whoever asks what happened.
const KEPT: u64 = 64;

/// What is agreed on, and what time it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep<'a> {
    pub(crate) head: &'a Head,
    /// At least so late is it by the store's clock.
    pub(crate) store_now: Timestamp,
    /// What is younger stays.
    pub(crate) age: Duration,
    pub(crate) rules: Rules,
}

impl Sweep<'_> {
    fn is_old(&self, at: Timestamp) -> bool {
        // A member that is silent for less is there, and writes under its name.
        let close_after = Duration::from_millis(self.head.timing.close_after);
        self.store_now.since(at) >= self.age.max(close_after)
    }

    /// Rows whose names are closed, and of which nothing is counted that is on trial.
    ///
    /// What a closed name had is in the ledger, and its mark goes with its row, some time later. Its owner may come back all the
    /// same: one that was stopped seals the name anew, with what it had told. Whoever judges then takes that for a row that it does
    /// not know. So what it counts must be over, or it would count twice.
    pub(crate) fn rows<C: Counts>(
        &self,
        ledger: &Ledger<C>,
        rows: &BTreeMap<Hex, Found<'_, C>>,
        is_over: impl Fn(u32) -> bool,
    ) -> Vec<Hex> {
        let may_go = |name: &Hex, found: &Found<'_, C>| {
            if !self.rules.keep(ProtocolRule::SweepClosed) {
                return true;
            }
            let closed = ledger.marks.get(name).and_then(|mark| mark.closed);
            let counts_nothing = match found.row {
                Some(row) => row.counts.attempts().all(&is_over),
                // Nobody knows what it counts.
                None => self.head.core.candidates.is_empty(),
            };
            closed.is_some_and(|closed| self.is_old(closed.max(found.at))) && counts_nothing
        };
        rows.iter().filter(|(name, found)| may_go(name, found)).map(|(name, _)| *name).collect()
    }

    /// Whether the mailbox that was put then is that of a process that is gone: one that is there puts its own anew in every half of
    /// `close_after`, and is taken for gone once it was silent for all of it.
    pub(crate) fn mailbox(&self, at: Timestamp) -> bool {
        let close_after = Duration::from_millis(self.head.timing.close_after);
        self.is_old(at) && self.store_now.since(at) >= close_after.saturating_mul(2)
    }

    /// Whether what says who has taken over what a process left may go: no outcome of its predictions counts any more.
    pub(crate) fn handover(&self, handover: &Handover, at: Timestamp) -> bool {
        self.is_old(at) && self.store_now > handover.until
    }

    /// The same of a part of what it left: its heir has had time to read it, or it was never said to be all there.
    pub(crate) fn handover_part(&self, handover: Option<(&Handover, Timestamp)>, at: Timestamp) -> bool {
        let close_after = Duration::from_millis(self.head.timing.close_after);
        let is_past =
            |at: Timestamp| self.is_old(at) && self.store_now.since(at) >= close_after.saturating_mul(2);
        match handover {
            None => is_past(at),
            Some((handover, said)) => {
                self.handover(handover, said) || handover.heir.is_some() && is_past(said)
            }
        }
    }

    /// Filed heads that nobody needs to see where the newest comes from. `oldest` is the one that a member has who may still ask, or that is
    /// kept until it is older.
    pub(crate) fn filed(
        &self,
        oldest: Option<Place>,
        filed: &[(Place, Hex, Timestamp)],
    ) -> Vec<(Place, Hex)> {
        let newest = self.head.place;
        let may_go = |place: Place| {
            // Of an earlier term nobody asks: a repair needs no ancestor.
            place.term < newest.term
                || place.term == newest.term
                    && place.seq.saturating_add(KEPT) < newest.seq
                    && oldest.is_none_or(|oldest| place < oldest)
        };
        let gone = filed.iter().filter(|(place, _, at)| may_go(*place) && self.is_old(*at));
        gone.map(|(place, print, _)| (*place, *print)).collect()
    }

    /// Of the heads that members have kept when they found another history, or none, and from which the newest comes, that are of a term before a
    /// repair, or of which nothing that can be read shows whether it does: those that may go.
    pub(crate) fn kept(&self, settled: &[(Place, Hex, Timestamp)]) -> Vec<(Place, Hex)> {
        let gone = settled.iter().filter(|(.., at)| self.is_old(*at));
        gone.map(|(place, print, _)| (*place, *print)).collect()
    }
}

//! What is left behind in a fleet's store, removed.

use std::time::Duration;

use serde::Serialize;

use super::audit::{Aside, Lying, named};
use super::error::FleetError;
use super::reach::{Reach, as_found};
use super::repair::held;
use crate::base::clock::Timestamp;
use crate::fleet::format::head::Place;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::value::Written;
use crate::fleet::protocol::rules::Rules;
use crate::fleet::protocol::sweep::Sweep;
use crate::fleet::{Key, Listed, StoreError};
use crate::handle::fleet::agreement::control_of;

/// A probe lasts some seconds: what is older was left by one that was ended in the middle.
const PROBED: Duration = Duration::from_secs(86_400);

/// Something in a store that nobody can miss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FleetLeftover {
    /// Where it lies.
    pub key: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was put, by the store's clock.
    pub at: Timestamp,
}

/// Something in a fleet's store that could not be read or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FleetFault {
    /// Where it lies.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What a sweep has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FleetSweep {
    /// What is gone.
    pub removed: Vec<FleetLeftover>,
    /// What could not be removed. The next sweep tries again.
    pub failed: Vec<FleetFault>,
}

impl Reach {
    pub(super) fn leftovers(&self, older_than: Duration) -> Result<Vec<FleetLeftover>, FleetError> {
        Ok(self.swept(older_than)?.iter().map(leftover).collect())
    }

    pub(super) fn sweep(&self, older_than: Duration) -> Result<FleetSweep, FleetError> {
        let mut sweep = FleetSweep { removed: Vec::new(), failed: Vec::new() };
        for entry in self.swept(older_than)? {
            // Only what was looked at: a row that was written meanwhile stays.
            match self.store.remove(&entry.key, &entry.tag) {
                Ok(()) => sweep.removed.push(leftover(&entry)),
                // Somebody else sweeps, or it is somebody's after all.
                Err(StoreError::Conflict) => {}
                Err(error) => {
                    let (key, reason) = (entry.key.to_string(), error.to_string());
                    sweep.failed.push(FleetFault { key, reason });
                }
            }
        }
        Ok(sweep)
    }

    fn swept(&self, older_than: Duration) -> Result<Vec<Listed>, FleetError> {
        // The head first: what is agreed on later lets go of more, never of less.
        let (over, _) = self.head()?;
        let lying = self.lying()?;
        let head = over.head();
        let ledger = match &lying.ledger {
            Some(Ok((ledger, _))) => ledger,
            Some(Err(reason)) => {
                return Err(FleetError::Unreadable {
                    key: self.layout.ledger().to_string(),
                    reason: reason.clone(),
                });
            }
            // Nothing is closed.
            None => return Ok(Vec::new()),
        };
        let newest = self.newest(&over.written)?;
        self.has_one_history(&newest, &lying)?;
        // An attempt that has a number of its own and is not in the head is over.
        let next = control_of(head).map_or(0, |saved| saved.next_attempt);
        let is_over = |attempt: u32| head.candidate(attempt).is_none() && attempt < next;
        let sweep = Sweep { head, store_now: lying.store_now, age: older_than, rules: Rules::default() };
        let rows = sweep.rows(ledger, &as_found(&lying.rows), is_over);
        let asks = lying.rows.iter().filter(|(name, _)| !rows.contains(name));
        let asks = asks.filter_map(|(_, found)| found.row.as_ref().ok()).filter(|row| !row.state.is_last());
        let at = |key: &Key| lying.all.iter().find(|entry| entry.key == *key).map(|entry| entry.at);
        let filed = lying
            .filed
            .keys()
            .filter_map(|(place, print)| Some((*place, *print, at(&self.layout.filed(*place, *print))?)));
        let filed: Vec<(Place, Hex, Timestamp)> = filed.collect();
        let settled: Vec<(Place, Hex, Timestamp)> = lying
            .settled(&Aside::of(&over.written))
            .filter_map(|(place, print)| Some((place, print, at(&self.layout.kept(place, print))?)))
            .collect();
        let kept_gone = sweep.kept(&settled);
        // One that stays is to go later, and what is filed after it is what will show then that it may.
        let stays = settled.iter().map(|(place, print, _)| (*place, *print));
        let stays = stays.filter(|of| !kept_gone.contains(of)).map(|(place, _)| place);
        let oldest = asks.map(|row| row.has).chain(stays).filter(|has| has.term == head.place.term).min();
        let mut gone: Vec<Key> = rows.iter().map(|name| self.layout.row(*name)).collect();
        let filed_gone = sweep.filed(oldest, &filed).into_iter();
        gone.extend(filed_gone.map(|(place, print)| self.layout.filed(place, print)));
        gone.extend(kept_gone.into_iter().map(|(place, print)| self.layout.kept(place, print)));
        let probes = self.layout.probes();
        let handovers = self.handovers(&lying.all)?;
        let is_left = |entry: &&Listed| {
            let of_probe = entry.key.below(&probes).is_some()
                && lying.store_now.since(entry.at) >= older_than.max(PROBED);
            let of_mail = self.layout.read_mailbox(&entry.key).is_some() && sweep.mailbox(entry.at);
            let of_handover = self.layout.read_handover(&entry.key).and_then(|of| handovers.get(&of));
            let of_handover = of_handover.is_some_and(|(handover, at)| sweep.handover(handover, *at));
            let of_part = self.layout.read_handover_part(&entry.key).is_some_and(|(of, _)| {
                let handover = handovers.get(&of).map(|(handover, at)| (&**handover, *at));
                // One that cannot be read says nothing of what was left.
                let is_unreadable = handover.is_none() && at(&self.layout.handover(of)).is_some();
                !is_unreadable && sweep.handover_part(handover, entry.at)
            });
            of_probe || of_mail || of_handover || of_part || gone.contains(&entry.key)
        };
        let mut left: Vec<Listed> = lying.all.iter().filter(is_left).cloned().collect();
        // Before what is filed: a sweep that is ended in the middle leaves nothing of which nobody can show any more that it may go.
        left.sort_by_key(|entry| self.layout.read_kept(&entry.key).is_none());
        Ok(left)
    }

    /// Nothing is swept that a repair may need.
    fn has_one_history(&self, written: &Written, lying: &Lying) -> Result<(), FleetError> {
        let (head, own) = (&written.head, Aside::of(written));
        let others: Vec<(Place, Hex)> = lying.others(&own).collect();
        let mut heads: Vec<String> = others.iter().map(|(place, print)| named(*place, *print)).collect();
        let ahead = lying.seen().filter(|seen| *seen > head.place);
        let seen = ahead.or(lying.diverged(head).map(|row| row.has).max());
        if heads.is_empty() && seen.is_none() {
            return Ok(());
        }
        heads.push(named(head.place, written.print));
        let mut holds = Vec::new();
        for ((place, print), name) in others.into_iter().zip(&heads) {
            let kept = self.put_aside(&self.layout.kept(place, print))?;
            holds.push(kept.and_then(Result::ok).map_or_else(|| name.clone(), |kept| held(&kept)));
        }
        holds.push(held(written));
        Err(FleetError::Histories { heads, holds, seen: seen.map(|seen| seen.to_string()) })
    }
}

fn leftover(entry: &Listed) -> FleetLeftover {
    FleetLeftover { key: entry.key.to_string(), bytes: entry.length, at: entry.at }
}

//! What a fleet has agreed on, one after the other.

use serde::Serialize;

use super::error::FleetError;
use super::reach::Reach;
use crate::base::clock::Timestamp;
use crate::control::event::EventKind;
use crate::fleet::format::head::{Descent, Head, Place};
use crate::fleet::format::hex::Hex;
use crate::handle::fleet::agreement::{events_of, why_of};

/// Something that a fleet has agreed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FleetDecision {
    /// The term.
    pub term: u32,
    /// Its number in the fleet's history.
    pub sequence: u64,
    /// When it was asked for, by the clock of whoever did.
    pub asked_at: Timestamp,
    /// Who did it: a name, `guard`, `judge`, or a process.
    pub by: String,
    /// What it was.
    pub why: String,
    /// What happened with it, of what this release knows.
    pub events: Vec<EventKind>,
}

fn decision(head: &Head) -> FleetDecision {
    FleetDecision {
        term: head.place.term,
        sequence: head.place.seq,
        asked_at: head.asked_at,
        by: head.by.clone(),
        why: why_of(head),
        events: events_of(head).into_iter().map(|told| told.kind).collect(),
    }
}

impl Reach {
    /// The last ones, oldest first. What is not there or cannot be read is left out, and what the one after it does not come from.
    pub(super) fn decisions(&self, last: usize) -> Result<Vec<FleetDecision>, FleetError> {
        let (over, _) = self.head()?;
        let listed = self.list(self.layout.handle())?;
        let filed = listed.iter().filter_map(|entry| self.layout.read_filed(&entry.key));
        let mut filed: Vec<(Place, Hex)> = filed.filter(|(place, _)| *place < over.head().place).collect();
        filed.sort_unstable();
        let (mut later, mut decisions) = (over.written, Vec::new());
        for (place, print) in filed.into_iter().rev() {
            if decisions.len() + 1 >= last {
                break;
            }
            if later.head.ancestors.have(place.seq, print) == Descent::No {
                continue;
            }
            if let Some(Ok(written)) = self.put_aside(&self.layout.filed(place, print))? {
                decisions.push(decision(&later.head));
                later = written;
            }
        }
        decisions.extend((last > 0).then(|| decision(&later.head)));
        decisions.reverse();
        Ok(decisions)
    }
}

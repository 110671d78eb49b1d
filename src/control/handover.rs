//! What a process that ends leaves to another one of its fleet: all that late labels of its predictions need.
//!
//! - **Once it is made, nothing is joined here any more**: so what was joined is in its bits and in what was counted, or in neither.
//!   Whoever takes it over counts each later outcome once, as this process would have.
//! - **What was counted stays where it was counted**: in the row of the process that ends. What comes later is in the row of the heir,
//!   under the head under which the prediction was made, as far as it is still the one that the attempt stands at.
//! - **An attempt is known by its number and its identity.** Of one that is over nothing is evidence, and figures of its version go on.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::saved::SavedExposure;
use crate::base::clock::{Shift, Timestamp};
use crate::feedback::join::Joins;
use crate::feedback::saved::SavedJoins;
use crate::model::identity::Identity;

/// Everything that later outcomes need.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct HandedOver {
    /// When; what was predicted after that was counted nowhere.
    at: Timestamp,
    exposures: Vec<SavedExposure>,
    attempts: Vec<HandedAttempt>,
    /// The labels of requests, which ids know by a hash alone.
    segments: Vec<Arc<str>>,
    joins: SavedJoins,
}

/// An attempt that requests were evidence in.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct HandedAttempt {
    number: u32,
    identity: Identity,
    /// The head under which it came to where it is, and what that stretch is called in the process that ended.
    entered: u64,
    era: u32,
}

/// A stretch that is never the present one: each member begins one when it makes the first head true.
const BEFORE: u32 = 0;

impl HandedOver {
    /// How many processes made the predictions.
    pub(crate) fn lives(&self) -> usize {
        self.exposures.iter().map(|exposure| exposure.origin.0).collect::<HashSet<_>>().len()
    }

    /// Whether no outcome can come.
    pub(crate) fn is_empty(&self) -> bool {
        self.exposures.is_empty()
    }

    /// The same in parts, to be merged in this order.
    pub(crate) fn in_parts(mut self, pages_together: usize, rows_together: usize) -> Vec<HandedOver> {
        self.joins.unpack();
        let pages = self.joins.split_pages(pages_together);
        let parts = pages.into_iter().chain(self.joins.split_rows(rows_together));
        let mut parts: Vec<HandedOver> = parts.map(|joins| Self { joins, ..Self::default() }).collect();
        // Last: of what is neither pages nor rows the later part replaces the earlier.
        parts.push(self);
        parts
    }

    pub(crate) fn merge(&mut self, later: HandedOver) {
        self.joins.merge(later.joins);
        (self.at, self.exposures, self.attempts, self.segments) =
            (later.at, later.exposures, later.attempts, later.segments);
    }

    /// Leaves out what a correction would take back; whether there was any.
    pub(crate) fn leave_out_what_may_be_corrected(&mut self) -> bool {
        self.joins.leave_out_correctable()
    }

    /// Leaves out the older half of the exposures, whose outcomes have mostly come: whole ones, since what is left of one without its
    /// bits would count repeats.
    pub(crate) fn leave_out_the_older_half(&mut self) {
        let mut order: Vec<(Timestamp, u32)> = self
            .exposures
            .iter()
            .map(|exposure| (exposure.retired.unwrap_or(self.at), exposure.number))
            .collect();
        order.sort_unstable();
        let gone: HashSet<u32> =
            order.iter().take(self.exposures.len().div_ceil(2)).map(|(_, number)| *number).collect();
        self.exposures.retain(|exposure| !gone.contains(&exposure.number));
        self.joins.leave_out(&gone);
    }
}

impl Control {
    /// Brings together what was counted so far, and hands over the rest. Nothing is joined here afterwards.
    pub(crate) fn hand_over(&mut self, joins: &Joins, now: Timestamp) -> HandedOver {
        joins.hand_over();
        // All that was joined before is drained by this, and counts here.
        self.collect(joins, now);
        let entered = |number| self.seat.as_ref()?.entered.get(&number).map(|(entered, _)| *entered);
        let attempts = self.attempts.iter().map(|attempt| HandedAttempt {
            number: attempt.number,
            identity: attempt.identity,
            entered: entered(attempt.number).unwrap_or_default(),
            era: attempt.ledger.era(),
        });
        let table = self.settings.segments.as_deref();
        HandedOver {
            at: now,
            attempts: attempts.collect(),
            segments: table.map_or_else(Vec::new, |table| {
                (1..table.places()).map(|place| table.name_at(place)).collect()
            }),
            exposures: self.counters.iter().map(|counter| self.saved_exposure(counter, joins)).collect(),
            joins: joins.save(true, &self.evidence_exposures()),
        }
    }

    /// Goes on to join outcomes to the predictions of a process that has ended.
    pub(crate) fn take_over_from(&mut self, handed: HandedOver, joins: &Joins, now: Timestamp) {
        let HandedOver { at, mut exposures, attempts, segments, joins: saved } = handed;
        if let Some(table) = &self.settings.segments {
            segments.iter().for_each(|segment| {
                table.segment(segment);
            });
        }
        let era_here = |number: u32, era: u32| {
            let there = attempts.iter().find(|attempt| attempt.number == number)?;
            let here = self.attempt(number).filter(|attempt| attempt.identity == there.identity)?;
            let (entered, _) = self.seat.as_ref()?.entered.get(&number)?;
            let is_same = era == there.era && there.entered == *entered;
            Some(if is_same { here.ledger.era() } else { BEFORE })
        };
        for exposure in &mut exposures {
            exposure
                .evidence
                .retain_mut(|feed| era_here(feed.attempt, feed.era).map(|era| feed.era = era).is_some());
            let is_known = |number: &u32| era_here(*number, BEFORE).is_some();
            exposure.attempt = exposure.attempt.filter(is_known);
        }
        self.welcome_outcomes(&exposures, (at, Shift::default(), true), saved, joins, now);
    }
}

//! Units of both versions that had an event, in every phase.

use serde::{Deserialize, Serialize};

use crate::stats::sequential::{Additive, ByOdds, Events, PairedEvents};

/// Who had an event: who failed, was slow, or was wrong.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct EventCounts {
    /// Of the same inputs.
    pub(crate) pairs: PairedEvents,
    /// The candidate's as a shadow, or the new live's while it is watched.
    pub(crate) alone: Events,
    /// Units that are requests, of the canary and its control.
    pub(crate) requests: ByOdds<Events>,
    /// Units that are keys, likewise.
    pub(crate) keys: ByOdds<Events>,
}

impl Additive for EventCounts {
    fn merge(&mut self, other: &Self) {
        self.pairs.merge(&other.pairs);
        self.alone.merge(&other.alone);
        self.requests.merge(&other.requests);
        self.keys.merge(&other.keys);
    }
    fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.alone.is_empty() && self.requests.is_empty() && self.keys.is_empty()
    }
}

impl EventCounts {
    /// Everything the candidate did, in whatever phase.
    pub(crate) fn candidate(&self) -> Events {
        let mut all = self.alone;
        all.merge(&self.requests.pooled().candidate);
        all.merge(&self.keys.pooled().candidate);
        all
    }

    /// What live did: beside a canary or, where there was none, on the inputs of the shadow.
    pub(crate) fn live(&self) -> Events {
        let mut all = self.requests.pooled().live;
        all.merge(&self.keys.pooled().live);
        if all.units == 0 { self.pairs.of_live() } else { all }
    }

    /// What live did, on all inputs of either kind.
    pub(crate) fn all_of_live(&self) -> Events {
        let mut all = self.pairs.of_live();
        all.merge(&self.requests.pooled().live);
        all.merge(&self.keys.pooled().live);
        all
    }

    /// Units of which either version had the event: those that both were asked about, where there are any.
    pub(crate) fn of_either(&self) -> Events {
        let PairedEvents { neither, .. } = self.pairs;
        let units = self.pairs.pairs();
        if units > 0 {
            return Events { events: units.saturating_sub(neither), units };
        }
        let mut all = Events::default();
        for arms in [self.requests.pooled(), self.keys.pooled()] {
            all.merge(&arms.candidate);
            all.merge(&arms.live);
        }
        all
    }

    /// Returns what these have beside others that are among them.
    #[cfg(feature = "state")]
    pub(crate) fn without(&self, other: &Self) -> Self {
        Self {
            pairs: self.pairs.without(&other.pairs),
            alone: self.alone.without(other.alone),
            requests: self.requests.without(&other.requests),
            keys: self.keys.without(&other.keys),
        }
    }
}

//! What is agreed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::counts::written;
use super::error::FormatError;
use super::hex::Hex;
use crate::base::clock::Timestamp;
use crate::base::text::TEXT_MAX;

/// What this release can read and write: heads of a later one name the least that may.
pub(crate) const LIBRARY: u32 = 1;

/// Which head of its fleet it is. Terms come first: a repair begins a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) term: u32,
    pub(crate) seq: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.seq)
    }
}

/// What happened with a head, for members to tell.
pub(crate) const EVENTS: &str = "events";

/// What happened with those before it, for members that have not seen each.
const EARLIER: &str = "earlier";

/// Bytes of that.
const EARLIER_MAX: usize = 16 << 10;

/// The agreed state of one handle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    #[serde(flatten)]
    pub(crate) place: Place,
    /// What no other value has: so a tag that is a digest names one head, and whoever was not answered finds its own.
    pub(crate) nonce: Hex,
    pub(crate) ancestors: Ancestors,
    pub(crate) by: String,
    pub(crate) why: String,
    /// By the clock of whoever wrote it. To be shown: nothing is judged by it.
    pub(crate) asked_at: Timestamp,
    /// Builds below it cannot read this.
    pub(crate) min_reader: u32,
    /// Builds below it follow and lower, and raise nothing.
    pub(crate) min_writer: u32,
    pub(crate) core: Core,
    pub(crate) lowered: Vec<Lowering>,
    /// What the handle keeps beside: copied as it is by builds that do not know it.
    pub(crate) control: Value,
    /// When each attempt came to where it is.
    pub(crate) entered: BTreeMap<u32, Entered>,
    pub(crate) timing: Timing,
    pub(crate) evidence: Evidence,
    /// What members must have in common, as a digest.
    pub(crate) contract: Hex,
    /// The hash of a constant under the key of ids: who has another key does not join.
    pub(crate) key_print: Hex,
    /// What a later release has added.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

/// What any build can follow and lower. Frozen for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Core {
    pub(crate) live: Version,
    pub(crate) previous: Option<Version>,
    pub(crate) candidates: Vec<Candidate>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
    pub(crate) identity: String,
    /// The digest of its manifest.
    pub(crate) digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) attempt: u32,
    pub(crate) slot: u32,
    #[serde(flatten)]
    pub(crate) version: Version,
    pub(crate) phase: Phase,
    /// Buckets that it owns, of 10,000.
    pub(crate) weight: u32,
    /// Requests that it is shown copies of, of 10,000.
    pub(crate) sample: u32,
    /// Members that expose it, of 10,000.
    pub(crate) members: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Staged,
    Shadow,
    Canary,
    Watched,
}

/// An attempt that was taken off, whatever the rest of the head says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lowering {
    pub(crate) attempt: u32,
    /// Of the version: after a restore the same number may be another attempt's.
    pub(crate) identity: String,
    pub(crate) cause: String,
    pub(crate) by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entered {
    pub(crate) seq: u64,
    /// By the store's clock.
    pub(crate) at: Timestamp,
    /// Time in which somebody judged until then.
    pub(crate) active_ms: u64,
}

/// Who asks how often, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// How often a member reads the head.
    pub(crate) poll: u64,
    /// How often it writes its row.
    pub(crate) row: u64,
    /// How often whoever judges does.
    pub(crate) tick: u64,
    /// How long a confirmed read lets a candidate answer.
    pub(crate) valid_for: u64,
    /// How long a member lives before it exposes anything.
    pub(crate) settle: u64,
    /// Silence after which a row is closed. A member that was silent for half of it closes its row itself.
    pub(crate) close_after: u64,
}

impl Timing {
    /// After which silence a member is not waited for, and is taken to have ended.
    pub(crate) fn gone_after(&self) -> Duration {
        let three = Duration::from_millis(self.row.saturating_mul(3)).max(Duration::from_secs(30));
        three.min(Duration::from_millis(self.close_after))
    }

    /// For how long candidates go on where nobody judges: longer than another one takes to begin.
    pub(crate) fn unjudged_for(&self) -> Duration {
        Duration::from_millis((self.close_after / 2).max(self.tick.saturating_mul(10)))
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { poll: 1_000, row: 5_000, tick: 2_000, valid_for: 10_000, settle: 30_000, close_after: 600_000 }
    }
}

/// What a raise was judged on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) ledger: u64,
    /// The nonce of that ledger.
    pub(crate) nonce: Hex,
}

/// The prints of the heads before, the newest first: of the last 64, and of some of those before, one or two for each doubling.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ancestors(Vec<(u64, Hex)>);

/// Ancestors of which every one is named.
const RECENT: u64 = 64;

/// More than a chain of any length has.
const ANCESTORS_MAX: usize = 192;

/// Whether a head is among those before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descent {
    Yes,
    No,
    /// Too far back to be named. The nearest head after it that is named is filed, and names more.
    Ask(u64, Hex),
}

impl Ancestors {
    /// Those of the head that comes after the one of this number and print.
    pub(crate) fn after(&self, seq: u64, print: Hex) -> Self {
        let next = seq.saturating_add(1);
        let kept = |of: &u64| {
            let back = next.saturating_sub(*of);
            back <= RECENT || back.checked_ilog2().is_some_and(|power| of.is_multiple_of(1 << power))
        };
        let older = self.0.iter().copied().filter(|(of, _)| kept(of));
        Self(std::iter::once((seq, print)).chain(older).collect())
    }

    /// Whether the head of this number and print is among them.
    pub(crate) fn have(&self, seq: u64, print: Hex) -> Descent {
        match self.0.iter().find(|(of, _)| *of <= seq) {
            Some((of, other)) if *of == seq => {
                if *other == print {
                    Descent::Yes
                } else {
                    Descent::No
                }
            }
            // Named ones are kept whole as far as they go back: what is newer than all of them is none.
            _ => match self.0.iter().rev().find(|(of, _)| *of > seq) {
                Some((of, other)) => Descent::Ask(*of, *other),
                None => Descent::No,
            },
        }
    }

    /// All that are named, the newest first.
    pub(crate) fn named(&self) -> &[(u64, Hex)] {
        &self.0
    }

    #[cfg(feature = "testing")]
    pub(crate) fn newest(&self) -> Option<(u64, Hex)> {
        self.0.first().copied()
    }
}

impl Core {
    /// Whether something answers here that does not there, or is shown more.
    pub(crate) fn exposes_more_than(&self, before: &Self) -> bool {
        let more = |candidate: &Candidate| {
            let was = before.candidates.iter().find(|was| was.attempt == candidate.attempt);
            was.is_none_or(|was| candidate.weight > was.weight || candidate.sample > was.sample)
        };
        self.live != before.live || self.candidates.iter().any(more)
    }
}

impl Head {
    pub(crate) fn candidate(&self, attempt: u32) -> Option<&Candidate> {
        self.core.candidates.iter().find(|candidate| candidate.attempt == attempt)
    }

    pub(crate) fn is_lowered(&self, attempt: u32) -> bool {
        self.lowered.iter().any(|lowering| lowering.attempt == attempt)
    }

    /// Whether an attempt is over: the head has it no more, and it is no later one that this head does not know yet. Attempts are
    /// numbered in the order in which they begin.
    pub(crate) fn is_over(&self, attempt: u32) -> bool {
        let newest = self.core.candidates.iter().map(|candidate| candidate.attempt).max();
        self.candidate(attempt).is_none() && newest.is_some_and(|newest| attempt < newest)
    }

    /// Whether an attempt is on trial, and is the one that was meant.
    pub(crate) fn runs(&self, attempt: u32, identity: &str) -> bool {
        let meant = self.candidate(attempt).is_some_and(|candidate| candidate.version.identity == identity);
        meant && !self.is_lowered(attempt)
    }

    /// What is to be agreed next, as a copy that names this one. What happened with this one did not happen with that.
    pub(crate) fn next(&self, print: Hex, nonce: Hex, by: &str, why: &str, at: Timestamp) -> Self {
        let mut more = self.more.clone();
        if let Some(Value::Array(events)) = more.remove(EVENTS)
            && !events.is_empty()
        {
            let mut earlier = self.earlier();
            earlier.push((self.place.seq, events));
            while written(&earlier) > EARLIER_MAX {
                earlier.remove(0);
            }
            more.insert(EARLIER.to_owned(), serde_json::json!(earlier));
        }
        Self {
            more,
            place: Place { seq: self.place.seq.saturating_add(1), ..self.place },
            nonce,
            ancestors: self.ancestors.after(self.place.seq, print),
            by: by.to_owned(),
            why: why.to_owned(),
            asked_at: at,
            ..self.clone()
        }
    }

    fn earlier(&self) -> Vec<(u64, Vec<Value>)> {
        self.more
            .get(EARLIER)
            .and_then(|earlier| serde_json::from_value(earlier.clone()).ok())
            .unwrap_or_default()
    }

    /// What happened with the heads that a member has not seen which has made true the one of this place, as far as that is told, and with
    /// this one.
    pub(crate) fn events_since(&self, seen: Place) -> Vec<Value> {
        let unseen = |seq: u64| seen.term == self.place.term && seq > seen.seq;
        let earlier =
            self.earlier().into_iter().filter(|(seq, _)| unseen(*seq)).flat_map(|(_, events)| events);
        let own = self.more.get(EVENTS).and_then(Value::as_array);
        earlier.chain(own.into_iter().flatten().cloned()).collect()
    }

    /// Notes when candidates came to where they are, of those that are elsewhere than in the head before, of which this is a copy
    /// still.
    pub(crate) fn enter(&mut self, core: &Core, at: Timestamp, active_ms: u64) {
        for candidate in &core.candidates {
            if self.candidate(candidate.attempt) != Some(candidate) {
                let entered = Entered { seq: self.place.seq, at, active_ms };
                self.entered.insert(candidate.attempt, entered);
            }
        }
        self.entered.retain(|attempt, _| core.candidates.iter().any(|one| one.attempt == *attempt));
    }

    /// Lets go of lowerings of what is not on trial any more.
    pub(crate) fn forget_lowered(&mut self) {
        let candidates = &self.core.candidates;
        self.lowered.retain(|lowering| {
            candidates
                .iter()
                .any(|one| (one.attempt, &one.version.identity) == (lowering.attempt, &lowering.identity))
        });
    }

    pub(crate) fn check(&self) -> Result<(), FormatError> {
        let texts = [&self.by, &self.why].into_iter().map(String::len).max().unwrap_or_default();
        FormatError::unless(texts <= TEXT_MAX, "longest text", texts, "at most 4096 bytes")?;
        let named = &self.ancestors.0;
        FormatError::unless(named.len() <= ANCESTORS_MAX, "number of ancestors", named.len(), "at most 192")?;
        let newest = std::iter::once(self.place.seq).chain(named.iter().map(|(of, _)| *of));
        let falls = newest.clone().zip(newest.skip(1)).all(|(one, other)| one > other);
        FormatError::unless(
            falls,
            "list of ancestors",
            "in no order",
            "numbers that fall from the head's own",
        )?;
        let candidates = &self.core.candidates;
        FormatError::unless(candidates.len() <= 64, "number of candidates", candidates.len(), "at most 64")?;
        for candidate in candidates {
            let largest = candidate.weight.max(candidate.sample).max(candidate.members);
            FormatError::unless(largest <= 10_000, "share of a candidate", largest, "at most 10000")?;
        }
        FormatError::unless(
            self.lowered.len() <= 1_024,
            "number of lowerings",
            self.lowered.len(),
            "at most 1024",
        )?;
        let Timing { poll, row, tick, valid_for, settle, close_after } = self.timing;
        let day = 86_400_000;
        for (what, span) in [("poll", poll), ("row", row), ("tick", tick), ("valid_for", valid_for)] {
            FormatError::unless((1..=day).contains(&span), what, span, "1 ms to a day")?;
        }
        FormatError::unless(settle <= day, "settle", settle, "at most a day")?;
        // A row that is written as it should be never looks silent.
        let enough = close_after >= 4 * row && close_after <= 7 * day;
        FormatError::unless(enough, "close_after", close_after, "four rows to a week")
    }
}

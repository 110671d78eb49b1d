//! A rollout in small: steps of a tenth, and a candidate that fails too often is taken off. Then the next one.

use serde_json::json;

use super::tally::Tally;
use crate::fleet::format::head::{
    Ancestors, Candidate, Core, Entered, Evidence, Head, Phase, Place, Timing, Version,
};
use crate::fleet::format::hex::Hex;
use crate::fleet::protocol::judge::{Judgement, Raise, Seen, Verdict};

/// Of 10,000.
const STEP: u32 = 1_000;
const LAST: u32 = 6 * STEP;

/// Requests of a candidate that a step needs.
const ENOUGH: u64 = 40;

pub(crate) struct Ramp {
    /// Whether another candidate is tried when one is over.
    pub(crate) goes_on: bool,
}

impl Judgement<Tally> for Ramp {
    fn verdict(&self, head: &Head, seen: &Seen<'_, Tally>) -> Verdict {
        let evidence = &seen.ledger.evidence;
        let Some(now) = head.core.candidates.last() else { return Verdict::default() };
        let begin = |candidate: Candidate, why: &str| Verdict {
            lower: Vec::new(),
            raise: Some(Raise {
                core: Core { candidates: vec![candidate], ..head.core.clone() },
                control: head.control.clone(),
                more: serde_json::Map::new(),
                why: why.to_owned(),
            }),
        };
        if head.is_lowered(now.attempt) || now.weight >= LAST {
            return if self.goes_on {
                begin(candidate(now.attempt + 1), "the next one")
            } else {
                Verdict::default()
            };
        }
        let all = evidence.since(now.attempt, 0);
        // A twentieth more than live, which nobody calls chance after six failures.
        if all.failed >= 6
            && all.failed * 20 * all.control.max(1) > (all.control + 20 * all.failed_there) * all.canary
        {
            return Verdict { lower: vec![(now.attempt, "it fails".to_owned())], raise: None };
        }
        let since = head.entered.get(&now.attempt).map_or(0, |entered| entered.seq);
        if evidence.since(now.attempt, since).canary >= ENOUGH {
            return begin(Candidate { weight: now.weight + STEP, ..now.clone() }, "the next step");
        }
        Verdict::default()
    }
}

/// A candidate at its first step.
pub(crate) fn candidate(attempt: u32) -> Candidate {
    Candidate {
        attempt,
        slot: attempt,
        version: version(attempt),
        phase: Phase::Canary,
        weight: STEP,
        sample: 0,
        members: 10_000,
    }
}

fn version(number: u32) -> Version {
    let version = format!("v{number}");
    Version { identity: format!("{version}@1"), digest: String::new(), version }
}

/// What a fleet begins with: its first candidate is on trial.
pub(crate) fn founding(timing: Timing) -> Head {
    Head {
        place: Place { term: 1, seq: 1 },
        nonce: Hex(1),
        ancestors: Ancestors::default(),
        by: "founder".into(),
        why: "it begins".into(),
        asked_at: crate::base::clock::Timestamp::default(),
        min_reader: 1,
        min_writer: 1,
        core: Core { live: version(0), previous: None, candidates: vec![candidate(1)] },
        lowered: Vec::new(),
        control: json!({}),
        entered: [(1, Entered { seq: 1, at: crate::base::clock::Timestamp::default(), active_ms: 0 })].into(),
        timing,
        evidence: Evidence::default(),
        contract: Hex(0),
        key_print: Hex(0),
        more: serde_json::Map::new(),
    }
}

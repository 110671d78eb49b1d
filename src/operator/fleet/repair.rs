//! A new term, where what was agreed on is gone, or was put back to what it was before.

use std::sync::Arc;

use serde::Serialize;

use super::audit::{Aside, Lying, comes_from, named};
use super::error::FleetError;
use super::reach::{Lies, Reach};
use crate::base::text::bounded_text;
use crate::control::event::Cause;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::Place;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::protocol::following::Applied;
use crate::fleet::{StoreOutcome, Tag};
use crate::handle::fleet::agreement::{active_of, why_of};
use crate::handle::fleet::register::{has_landed, next_head};
use crate::rollout::phase::Phase;
use crate::version::id::VersionId;

/// What a repair has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FleetRepair {
    /// The head that it went on from, as it is named.
    pub from: String,
    /// The new term.
    pub term: u32,
    /// The number of the head that begins it.
    pub sequence: u64,
    /// The version that is live.
    pub live: VersionId,
    /// Candidates that were taken off.
    pub taken_off: Vec<VersionId>,
}

/// What is in the place of the head.
struct There {
    head: Option<Arc<Written>>,
    tag: Option<Tag>,
}

impl Reach {
    pub(super) fn repair(
        &self,
        by: &str,
        reason: &str,
        from: Option<&str>,
    ) -> Result<Option<FleetRepair>, FleetError> {
        // Last, so that no process of a fleet that runs has seen more.
        let lying = self.lying()?;
        let there = self.there()?;
        let known = known(&there, &lying);
        let tips = tips(&known, &lying);
        let seen = lying.seen().filter(|seen| tips.iter().all(|tip| *seen > tip.place));
        let chosen = match from {
            Some(name) => {
                let is_it = |aside: &&Aside| named(aside.place, aside.print) == name;
                known.iter().find(is_it).ok_or_else(|| FleetError::NotAgreed {
                    reason: format!(
                        "no head {name} is filed or kept; those to go on from are {}",
                        told(&tips).join(", ")
                    ),
                })?
            }
            None => match tips[..] {
                [tip] if seen.is_none() => tip,
                _ => {
                    return Err(FleetError::Histories {
                        holds: self.holds(&tips, &there),
                        heads: told(&tips),
                        seen: seen.map(|seen| seen.to_string()),
                    });
                }
            },
        };
        let is_there = there.head.as_ref().is_some_and(|head| head.print == chosen.print);
        if is_there && tips.len() == 1 && seen.is_none() {
            return Ok(None);
        }
        // With the head alone gone, nothing was put back, and nothing that was decided is lost.
        let is_whole = there.head.is_none() && tips.len() == 1 && seen.is_none();
        let highest = highest(&known, &lying);
        let chosen = self.whole(chosen, &there)?;
        let (written, taken_off, live) = self.anew(&chosen, by, reason, is_whole, (&lying, highest))?;
        let from = named(chosen.head.place, chosen.print);
        self.put_repaired(&there, &chosen, &written)?;
        let Place { term, seq } = written.head.place;
        Ok(Some(FleetRepair { from, term, sequence: seq, live, taken_off }))
    }

    /// A head that is there, is filed, or is kept, with its body.
    fn whole(&self, aside: &Aside, there: &There) -> Result<Arc<Written>, FleetError> {
        let (place, print) = (aside.place, aside.print);
        if let Some(head) = there.head.as_ref().filter(|head| head.print == print) {
            return Ok(Arc::clone(head));
        }
        for key in [self.layout.kept(place, print), self.layout.filed(place, print)] {
            if let Some(Ok(written)) = self.put_aside(&key)?
                && written.print == print
            {
                return Ok(written);
            }
        }
        let reason = format!("{} was removed in this moment: look again", named(place, print));
        Err(FleetError::NotAgreed { reason })
    }

    /// What each of these heads holds, for whoever has to choose.
    fn holds(&self, tips: &[&Aside], there: &There) -> Vec<String> {
        let told = |tip: &&Aside| match self.whole(tip, there) {
            Ok(written) => held(&written),
            Err(error) => format!("{} ({error})", named(tip.place, tip.print)),
        };
        tips.iter().map(told).collect()
    }

    fn there(&self) -> Result<There, FleetError> {
        let key = self.layout.head();
        match self.get(Kind::Head, key)? {
            Lies::Value(Value::Head(written), tag, _) => Ok(There { head: Some(written), tag: Some(tag) }),
            Lies::Value(_, tag, _) | Lies::Unreadable(Some(tag), _) => {
                Ok(There { head: None, tag: Some(tag) })
            }
            Lies::Nothing => match self.head() {
                Err(error @ FleetError::NotFounded { .. }) => Err(error),
                _ => Ok(There { head: None, tag: None }),
            },
            Lies::Unreadable(None, reason) => Err(FleetError::Unreadable { key: key.to_string(), reason }),
        }
    }

    /// The head that begins the new term.
    fn anew(
        &self,
        chosen: &Arc<Written>,
        by: &str,
        reason: &str,
        is_whole: bool,
        (lying, highest): (&Lying, Highest),
    ) -> Result<(Arc<Written>, Vec<VersionId>, VersionId), FleetError> {
        let over = Applied { written: Arc::clone(chosen), tag: Tag::new("") };
        let ledger = Act::Get { key: self.layout.ledger().clone(), kind: Kind::Ledger, known: None };
        let active_ms = active_of(&chosen.head, &self.ask(&ledger, &mut None));
        let mut agreed = self.decided(over, lying.store_now, active_ms)?;
        let now = agreed.now;
        let on_trial: Vec<(u32, VersionId)> = agreed
            .saved
            .attempts
            .iter()
            .filter(|attempt| !is_whole && attempt.state.phase != Phase::Baking)
            .map(|attempt| (attempt.number, attempt.version.version))
            .collect();
        agreed.decider.change(now, |control, desk| {
            for (number, _) in &on_trial {
                let cause =
                    Cause::Operator { reason: bounded_text(format!("the fleet was repaired: {reason}")) };
                let _ = control.lower(*number, cause, desk);
            }
        });
        let mut saved = agreed.decider.saved(now);
        // What the others have counted under a number is never taken for another attempt's.
        saved.next_attempt = saved.next_attempt.max(highest.attempt.saturating_add(1));
        let (events, at) = (agreed.decider.events(), self.clock.now());
        let mut next = next_head(&agreed.over, self.nonce(), by, &saved, &events, active_ms, at);
        next.place.term = highest.term.saturating_add(1);
        (next.by, next.why) = (by.to_owned(), bounded_text(format!("the fleet is repaired: {reason}")));
        let written =
            Written::new(next).map_err(|error| FleetError::NotAgreed { reason: error.to_string() })?;
        Ok((
            Arc::new(written),
            on_trial.into_iter().map(|(_, version)| version).collect(),
            saved.live.version,
        ))
    }

    fn put_repaired(
        &self,
        there: &There,
        chosen: &Written,
        written: &Arc<Written>,
    ) -> Result<(), FleetError> {
        // What is replaced is filed, and what it goes on from.
        let mut said = None;
        let mut file = |head: &Arc<Written>| {
            let key = self.layout.filed(head.head.place, head.print);
            let value = Value::Head(Arc::clone(head));
            drop(self.ask(&Act::Put { key, value, over: None }, &mut None));
        };
        there.head.iter().for_each(&mut file);
        file(&Arc::new(chosen.clone()));
        let value = Value::Head(Arc::clone(written));
        let act = Act::Put { key: self.layout.head().clone(), value, over: there.tag.clone() };
        let reason = |said: Option<String>| {
            said.unwrap_or_else(|| String::from("somebody else was faster: look again"))
        };
        match self.ask(&act, &mut said) {
            Reply::Done(_) => Ok(()),
            Reply::Failed(StoreOutcome::Unknown) => match self.head() {
                Ok((there, _)) if has_landed(written, &there.written) => Ok(()),
                _ => Err(FleetError::Unknown { reason: reason(said) }),
            },
            _ => Err(FleetError::NotAgreed { reason: reason(said) }),
        }
    }
}

/// Every head that can be read, the newest first, each once.
fn known(there: &There, lying: &Lying) -> Vec<Aside> {
    let aside = lying.kept.values().chain(lying.filed.values()).filter_map(|found| found.as_ref().ok());
    let mut known: Vec<Aside> = aside.cloned().collect();
    known.extend(there.head.as_ref().map(|head| Aside::of(head)));
    known.sort_by_key(|aside| (std::cmp::Reverse(aside.place), aside.print));
    known.dedup_by_key(|aside| aside.print);
    known
}

/// Those from which no other one comes.
fn tips<'a>(known: &'a [Aside], lying: &Lying) -> Vec<&'a Aside> {
    let is_tip = |aside: &&Aside| {
        let of = (aside.place, aside.print);
        let later = |other: &Aside| other.print != of.1 && comes_from(&lying.filed, other, of) != Some(false);
        // What comes after it in number may come from it where nobody can show that it does not.
        !known.iter().take_while(|other| other.print != of.1).any(later)
    };
    known.iter().filter(is_tip).collect()
}

/// When a head was agreed on, by whom, and what is live and on trial by it.
pub(super) fn held(written: &Written) -> String {
    let head = &written.head;
    let candidates = head.core.candidates.iter().filter(|one| head.runs(one.attempt, &one.version.identity));
    let on_trial: Vec<&str> = candidates.map(|one| one.version.version.as_str()).collect();
    let on_trial = if on_trial.is_empty() {
        "nothing on trial".into()
    } else {
        format!("{} on trial", on_trial.join(", "))
    };
    format!(
        "{} ({} by {}, by their clock: {}; live {}, {on_trial})",
        named(head.place, written.print),
        head.asked_at,
        head.by,
        why_of(head),
        head.core.live.version
    )
}

fn told(tips: &[&Aside]) -> Vec<String> {
    tips.iter().map(|tip| named(tip.place, tip.print)).collect()
}

#[derive(Clone, Copy)]
struct Highest {
    term: u32,
    attempt: u32,
}

/// The highest numbers that anybody has used.
fn highest(known: &[Aside], lying: &Lying) -> Highest {
    let rows = || lying.rows.values().filter_map(|found| found.row.as_ref().ok());
    let ledger = lying.ledger.iter().filter_map(|found| found.as_ref().ok()).map(|(ledger, _)| ledger);
    let terms = known.iter().map(|aside| aside.place.term);
    let terms =
        terms.chain(rows().map(|row| row.has.term)).chain(ledger.clone().map(|ledger| ledger.head.term));
    let on_trial = known.iter().filter_map(|aside| aside.attempt);
    let counted = rows().flat_map(|row| row.counts.attempts());
    let merged = ledger.flat_map(|ledger| ledger.base.attempts().chain(ledger.closed.attempts()));
    let attempts = on_trial.chain(counted).chain(merged);
    Highest { term: terms.max().unwrap_or_default(), attempt: attempts.max().unwrap_or_default() }
}

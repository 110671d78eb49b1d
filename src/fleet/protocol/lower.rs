//! Takes attempts off: over whatever head there is, again and again until it is agreed or nothing is left to take off.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Act, Reply};
use super::following::{Applied, Asked, Following};
use super::rules::ProtocolRule;
use crate::base::chance::SplitMix64;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::head::Lowering;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::store::StoreOutcome;

#[derive(Debug)]
pub(crate) struct Lower {
    pub(crate) wanted: Vec<Lowering>,
    /// What was wanted and is live by now, watched by nobody: somebody has promoted it in the same moment.
    lapsed: Vec<Lowering>,
    at: At,
    retry: Timestamp,
}

#[derive(Debug)]
enum At {
    Idle,
    Reading(Asked),
    ToFile(Applied),
    Filing(Applied),
    ToPut(Applied),
    Putting(Timestamp, Arc<Written>),
}

impl Lower {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { wanted: Vec::new(), lapsed: Vec::new(), at: At::Idle, retry: now }
    }

    pub(crate) fn want(&mut self, lowering: Lowering, now: Timestamp) {
        let same =
            |other: &Lowering| (other.attempt, &other.identity) == (lowering.attempt, &lowering.identity);
        if !self.wanted.iter().any(same) {
            self.wanted.push(lowering);
            self.retry = now;
        }
    }

    /// Returns what was wanted and cannot be lowered any more, since it is live.
    pub(crate) fn take_lapsed(&mut self) -> Vec<Lowering> {
        std::mem::take(&mut self.lapsed)
    }

    pub(crate) fn try_again(&mut self, now: Timestamp) {
        self.retry = now;
    }

    /// When it may have something to ask; nothing where it has not.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        match &self.at {
            At::Idle if self.wanted.is_empty() => None,
            At::Idle => Some(self.retry),
            _ => Some(Timestamp::default()),
        }
    }

    pub(crate) fn due<C: Counts>(
        &mut self,
        following: &Following,
        layout: &Layout,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Option<Act<C>> {
        match std::mem::replace(&mut self.at, At::Idle) {
            At::Idle if !self.wanted.is_empty() && now >= self.retry => {
                let (asked, act) = following.read_head(layout, now);
                self.at = At::Reading(asked);
                Some(act)
            }
            At::ToFile(over) if following.rules.keep(ProtocolRule::File) => {
                let key = layout.filed(over.head().place, over.written.print);
                let value = Value::Head(Arc::clone(&over.written));
                self.at = At::Filing(over);
                Some(Act::Put { key, value, over: None })
            }
            At::ToFile(over) | At::ToPut(over) => self.put(over, layout, chance, now),
            at => {
                self.at = at;
                None
            }
        }
    }

    fn put<C: Counts>(
        &mut self,
        over: Applied,
        layout: &Layout,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Option<Act<C>> {
        let head = over.head();
        let first = self.wanted.first()?;
        let next = head.next(over.written.print, Hex(chance.bits()), &first.by, &first.cause, now);
        let runs = |lowering: &&Lowering| head.runs(lowering.attempt, &lowering.identity);
        let lowered: Vec<Lowering> = self.wanted.iter().filter(runs).cloned().collect();
        let mut most = lowered.len();
        let written = loop {
            let mut next = next.clone();
            next.lowered.extend(lowered.iter().take(most).cloned());
            let written = Written::new(next).ok()?;
            // As many as there is room for: the others follow.
            if written.fits() || most <= 1 {
                break Arc::new(written);
            }
            most /= 2;
        };
        self.at = At::Putting(now, Arc::clone(&written));
        Some(Act::Put { key: layout.head().clone(), value: Value::Head(written), over: Some(over.tag) })
    }

    pub(crate) fn reply<C: Counts>(&mut self, following: &mut Following, reply: &Reply<C>, now: Timestamp) {
        match (std::mem::replace(&mut self.at, At::Idle), reply) {
            (At::Reading(asked), reply) => {
                following.hear(&asked, reply, now);
                let read = match reply {
                    Reply::Same => asked.knew,
                    Reply::Value { value: Value::Head(written), tag, .. } => {
                        Some(Applied { written: Arc::clone(written), tag: tag.clone() })
                    }
                    _ => None,
                };
                // Of another history too: what is on trial there is as bad, and to take it off is always right.
                match read {
                    Some(read) => {
                        let head = read.head();
                        let is_over = |one: &mut Lowering| !head.runs(one.attempt, &one.identity);
                        let over = self.wanted.extract_if(.., is_over);
                        let is_live = |one: &Lowering| {
                            one.identity == head.core.live.identity && head.candidate(one.attempt).is_none()
                        };
                        self.lapsed.extend(over.filter(is_live));
                        if !self.wanted.is_empty() {
                            self.at = At::ToFile(read);
                        }
                    }
                    None => self.later(following, now),
                }
            }
            // Lowering does not wait for a file: that there is a hole in the history is told by whoever verifies it.
            (At::Filing(over), _) => self.at = At::ToPut(over),
            (At::Putting(sent, written), Reply::Done(tag)) => {
                following.hear_own(sent, &Applied { written, tag: tag.clone() }, now);
            }
            (At::Putting(..), Reply::Failed(StoreOutcome::Conflict))
                if !following.rules.keep(ProtocolRule::Rebase) =>
            {
                self.wanted.clear();
            }
            // Somebody else was first: what is there is what counts, and comes first.
            (At::Putting(..), Reply::Failed(StoreOutcome::Conflict)) => {}
            // Nor is it tried at once where nobody knows: a store that does not answer would keep all others of this member waiting.
            (At::Putting(..), _) => self.later(following, now),
            (at, _) => self.at = at,
        }
    }

    fn later(&mut self, following: &Following, now: Timestamp) {
        self.retry = now.plus(Duration::from_millis(following.timing().poll));
    }
}

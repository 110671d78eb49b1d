//! Reads the head again and again.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Act, Reply};
use super::following::{Applied, Asked, Following, Heard};
use crate::base::chance::SplitMix64;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::{Descent, Place};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::value::Value;
use crate::fleet::store::StoreOutcome;

#[derive(Debug)]
pub(crate) struct Follow {
    next: Timestamp,
    at: At,
    /// The head that was kept last, and when another try is due.
    kept: Option<Hex>,
    keep_next: Timestamp,
}

#[derive(Debug)]
enum At {
    Idle,
    Reading(Asked),
    /// What is followed is put aside: it is in the store no more.
    Keeping(Hex),
    /// The nearest head that is named after the one that is followed is to be read from where it is filed.
    ToProve(Proof),
    Proving(Proof),
}

#[derive(Debug, Clone)]
struct Proof {
    asked: Asked,
    read: Applied,
    filed: Place,
    print: Hex,
}

impl Follow {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { next: now, at: At::Idle, kept: None, keep_next: now }
    }

    /// When it may have something to ask.
    pub(crate) fn next(&self, following: &Following) -> Timestamp {
        match &self.at {
            At::Idle if self.keeps(following).is_some() => self.next.min(self.keep_next),
            At::Idle => self.next,
            _ => Timestamp::default(),
        }
    }

    pub(crate) fn due<C: Counts>(
        &mut self,
        following: &Following,
        layout: &Layout,
        chance: &mut SplitMix64,
        now: Timestamp,
    ) -> Option<Act<C>> {
        match &self.at {
            At::ToProve(proof) => {
                let key = layout.filed(proof.filed, proof.print);
                self.at = At::Proving(proof.clone());
                Some(Act::Get { key, kind: Kind::Head, known: None })
            }
            At::Idle if now >= self.keep_next && self.keeps(following).is_some() => {
                self.keep_next = now.plus(Duration::from_millis(following.timing().poll));
                let own = self.keeps(following)?;
                let key = layout.kept(own.head().place, own.written.print);
                self.at = At::Keeping(own.written.print);
                Some(Act::Put { key, value: Value::Head(Arc::clone(&own.written)), over: None })
            }
            At::Idle if now >= self.next => {
                // A fifth more or less: members that began together do not stay together.
                let poll = following.timing().poll;
                let poll = poll - poll / 5 + chance.bits() % (2 * (poll / 5) + 1);
                self.next = now.plus(Duration::from_millis(poll));
                let (asked, act) = following.read_head(layout, now);
                self.at = At::Reading(asked);
                Some(act)
            }
            _ => None,
        }
    }

    pub(crate) fn reply<C: Counts>(&mut self, following: &mut Following, reply: &Reply<C>, now: Timestamp) {
        match std::mem::replace(&mut self.at, At::Idle) {
            At::Reading(asked) => {
                if let Heard::Prove(read) = following.hear(&asked, reply, now) {
                    self.prove(following, asked, read.clone(), &read);
                }
            }
            // Another member may have kept it before.
            At::Keeping(print) => {
                if matches!(reply, Reply::Done(_) | Reply::Failed(StoreOutcome::Conflict)) {
                    self.kept = Some(print);
                }
            }
            At::Proving(proof) => match reply {
                Reply::Value { value: Value::Head(written), tag, .. } if written.print == proof.print => {
                    let filed = Applied { written: written.clone(), tag: tag.clone() };
                    let Some(mine) = following.applied.clone() else { return };
                    match filed.head().ancestors.have(mine.head().place.seq, mine.written.print) {
                        Descent::Yes => following.proved(&proof.asked, &proof.read, now),
                        Descent::No => following.disproved(),
                        Descent::Ask(..) => self.prove(following, proof.asked, proof.read, &filed),
                    }
                }
                Reply::Failed(_) => {}
                // It was swept, or is another one: nobody can show any more where the head comes from.
                _ => following.disproved(),
            },
            idle => self.at = idle,
        }
    }

    /// What is followed, where the store has another history, nothing, or what nobody can read, and nobody else may know it: whoever
    /// repairs needs it.
    fn keeps<'a>(&self, following: &'a Following) -> Option<&'a Applied> {
        let is_lost = following.diverged || following.missing || following.unreadable;
        let own = following.applied.as_ref().filter(|_| is_lost)?;
        (self.kept != Some(own.written.print)).then_some(own)
    }

    fn prove(&mut self, following: &Following, asked: Asked, read: Applied, by: &Applied) {
        if let Some(mine) = &following.applied
            && let Descent::Ask(seq, print) =
                by.head().ancestors.have(mine.head().place.seq, mine.written.print)
        {
            let filed = Place { term: read.head().place.term, seq };
            self.at = At::ToProve(Proof { asked, read, filed, print });
        }
    }
}

//! Which head a member has, and for how long it may act on it.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Act, Reply};
use super::rules::{ProtocolRule, Rules};
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::head::{Descent, Head, Lowering, Place, Timing};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::row::State;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::store::Tag;

/// A head that is followed.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) written: Arc<Written>,
    pub(crate) tag: Tag,
}

impl Applied {
    pub(crate) fn head(&self) -> &Head {
        &self.written.head
    }
}

/// When the head was asked for, and what was known then.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Timestamp,
    pub(crate) knew: Option<Applied>,
}

/// What an answer came to.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    /// It is followed, or was already.
    Follows,
    /// It was asked before what is followed now was known, and says nothing.
    Late,
    /// What is followed is not among the ancestors that it names, which do not go back so far.
    Prove(Applied),
    /// Another history.
    Diverged,
    /// There is none.
    Missing,
    /// It could not be read.
    Nothing,
}

/// How a head stands to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Same,
    After,
    /// After it in number; nobody has shown yet that it comes from it.
    Unproved,
    Other,
}

/// The head that a member follows.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) rules: Rules,
    pub(crate) born: Timestamp,
    pub(crate) applied: Option<Applied>,
    lease_until: Timestamp,
    /// When the ledger was last seen to move; when it began, before that.
    pub(crate) judged: Timestamp,
    pub(crate) diverged: bool,
    /// Another member has kept a head that what is followed does not come from: the store was put back before this one began.
    pub(crate) contested: bool,
    pub(crate) missing: bool,
    /// What is in the head's place was none of this fleet's, the last time.
    pub(crate) unreadable: bool,
    /// What was taken off here, whatever the head says yet.
    here: Vec<Lowering>,
}

impl Following {
    pub(crate) fn new(born: Timestamp, rules: Rules) -> Self {
        let (applied, here) = (None, Vec::new());
        Self {
            rules,
            born,
            applied,
            lease_until: Timestamp::default(),
            judged: born,
            diverged: false,
            contested: false,
            missing: false,
            unreadable: false,
            here,
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        self.applied.as_ref().map_or_else(Timing::default, |applied| applied.head().timing)
    }

    pub(crate) fn place(&self) -> Place {
        self.applied.as_ref().map_or_else(Place::default, |applied| applied.head().place)
    }

    /// Reads the head, unless it is the one that is known.
    pub(crate) fn read_head<C: Counts>(&self, layout: &Layout, now: Timestamp) -> (Asked, Act<C>) {
        let asked = Asked { at: now, knew: self.applied.clone() };
        let known = asked.knew.as_ref().map(|knew| knew.tag.clone());
        (asked, Act::Get { key: layout.head().clone(), kind: Kind::Head, known })
    }

    /// Until when candidates may be exposed, as far as is known.
    pub(crate) fn lease_until(&self) -> Timestamp {
        if self.diverged || self.contested {
            return Timestamp::default();
        }
        self.lease_until.min(self.judged.plus(self.timing().unjudged_for()))
    }

    /// For how long nobody has judged, as far as is known, where that is too long for a candidate to go on. A store that can be read and not
    /// written shows what was agreed on, and takes no evidence against it.
    pub(crate) fn is_unjudged(&self, now: Timestamp) -> Option<Duration> {
        let silence = now.since(self.judged);
        (silence >= self.timing().unjudged_for()).then_some(silence)
    }

    pub(crate) fn lease_holds(&self, now: Timestamp) -> bool {
        now < self.lease_until()
    }

    pub(crate) fn state(&self, now: Timestamp) -> State {
        match self.applied {
            None => State::Joining,
            Some(_) if self.diverged || self.contested => State::Diverged,
            Some(_) if !self.lease_holds(now) => State::CutOff,
            Some(_) => State::Following,
        }
    }

    /// Whether a candidate answers requests here now. Asked for each request.
    #[cfg(feature = "testing")]
    pub(crate) fn exposes(&self, attempt: u32, now: Timestamp) -> bool {
        self.lease_holds(now)
            && self.has_settled(now)
            && self.applied.as_ref().is_some_and(|applied| {
                let head = applied.head();
                head.candidate(attempt).is_some_and(|candidate| {
                    let identity = &candidate.version.identity;
                    (candidate.weight > 0 || candidate.sample > 0)
                        && head.runs(attempt, identity)
                        && !self.is_lowered_here(attempt, identity)
                })
            })
    }

    /// Whether what is followed may come from a head that another member has kept. What is too far back to be named may be.
    pub(crate) fn may_come_from(&self, place: Place, print: Hex) -> bool {
        self.applied.as_ref().is_none_or(|applied| {
            let own = applied.head().place;
            applied.written.print == print
                || own.term > place.term
                || (own.term == place.term && applied.head().ancestors.have(place.seq, print) != Descent::No)
        })
    }

    /// Whether it lives for long enough to expose anything.
    pub(crate) fn has_settled(&self, now: Timestamp) -> bool {
        now >= self.born.plus(Duration::from_millis(self.timing().settle))
            || !self.rules.keep(ProtocolRule::Settle)
    }

    /// What was taken off here, and is on trial in the head.
    pub(crate) fn lowered_here(&self) -> &[Lowering] {
        &self.here
    }

    #[cfg(feature = "testing")]
    fn is_lowered_here(&self, attempt: u32, identity: &str) -> bool {
        self.here.iter().any(|lowering| lowering.attempt == attempt && lowering.identity == identity)
    }

    /// Takes an attempt off here, at once.
    pub(crate) fn lower_here(&mut self, lowering: &Lowering) {
        let same =
            |other: &Lowering| (other.attempt, &other.identity) == (lowering.attempt, &lowering.identity);
        if self.rules.keep(ProtocolRule::LowerHereFirst) && !self.here.iter().any(same) {
            self.here.push(lowering.clone());
        }
    }

    /// What the store has answered to a read of the head.
    pub(crate) fn hear<C: Counts>(&mut self, asked: &Asked, reply: &Reply<C>, now: Timestamp) -> Heard {
        match reply {
            Reply::Same => match asked.knew.clone() {
                Some(knew) => self.hear_head(asked, &knew, now),
                None => Heard::Nothing,
            },
            Reply::Value { value: Value::Head(written), tag, .. } => {
                let read = Applied { written: Arc::clone(written), tag: tag.clone() };
                self.hear_head(asked, &read, now)
            }
            Reply::Absent => {
                self.missing = true;
                Heard::Missing
            }
            Reply::Damaged { .. } => {
                self.unreadable = true;
                Heard::Nothing
            }
            _ => Heard::Nothing,
        }
    }

    fn hear_head(&mut self, asked: &Asked, read: &Applied, now: Timestamp) -> Heard {
        (self.missing, self.unreadable) = (false, false);
        let Some(mine) = self.applied.clone() else {
            self.apply(asked, read, now);
            return Heard::Follows;
        };
        match self.relation(read, &mine) {
            Relation::Same | Relation::After => {
                self.apply(asked, read, now);
                Heard::Follows
            }
            Relation::Unproved => Heard::Prove(read.clone()),
            Relation::Other => {
                // What is older than mine may have been the newest when it was asked for: somebody of this process has put, or read,
                // a newer one since. It is another history only if it is older than what was known then.
                let knew = asked.knew.as_ref().map(|knew| self.relation(read, knew));
                let was_right =
                    matches!(knew, None | Some(Relation::Same | Relation::After | Relation::Unproved));
                if was_right && self.rules.keep(ProtocolRule::LateAnswers) {
                    return Heard::Late;
                }
                self.diverged = true;
                Heard::Diverged
            }
        }
    }

    /// It was shown that what was read comes from what is followed.
    pub(crate) fn proved(&mut self, asked: &Asked, read: &Applied, now: Timestamp) {
        self.apply(asked, read, now);
    }

    /// It was shown not to, or nobody can show it any more.
    pub(crate) fn disproved(&mut self) {
        self.diverged = true;
    }

    /// A head that this member has put itself.
    pub(crate) fn hear_own(&mut self, sent: Timestamp, own: &Applied, now: Timestamp) {
        let asked = Asked { at: sent, knew: None };
        match self.applied.clone() {
            Some(mine) if !matches!(self.relation(own, &mine), Relation::Same | Relation::After) => {}
            _ => self.apply(&asked, own, now),
        }
    }

    fn relation(&self, read: &Applied, mine: &Applied) -> Relation {
        let (place, own) = (read.head().place, mine.head().place);
        if read.written.print == mine.written.print {
            Relation::Same
        } else if place.term > own.term || (!self.rules.keep(ProtocolRule::Ancestors) && place > own) {
            Relation::After
        } else if place <= own {
            Relation::Other
        } else {
            match read.head().ancestors.have(own.seq, mine.written.print) {
                Descent::Yes => Relation::After,
                Descent::No => Relation::Other,
                Descent::Ask(..) => Relation::Unproved,
            }
        }
    }

    fn apply(&mut self, asked: &Asked, read: &Applied, now: Timestamp) {
        self.diverged = false;
        let head = read.head();
        let over = |lowering: &Lowering| !head.runs(lowering.attempt, &lowering.identity);
        self.here.retain(|lowering| !over(lowering));
        let from = if self.rules.keep(ProtocolRule::LeaseFromSending) { asked.at } else { now };
        let until = from.plus(Duration::from_millis(head.timing.valid_for));
        self.lease_until = self.lease_until.max(until);
        self.applied = Some(read.clone());
    }
}

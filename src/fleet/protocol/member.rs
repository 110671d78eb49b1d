//! One process of a fleet, for one handle.

use super::call::{Act, Lane, Reply};
use super::follow::Follow;
use super::following::Following;
use super::judge::{Judge, Judgement};
use super::lower::Lower;
use super::publish::Publish;
use super::rules::{ProtocolRule, Rules};
use crate::base::chance::SplitMix64;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::head::Lowering;
#[cfg(feature = "testing")]
use crate::fleet::format::head::Place;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::row::Build;
#[cfg(feature = "testing")]
use crate::fleet::format::row::State;

/// One process of a fleet: what it asks next, and what it makes of answers. It does nothing by itself. Whoever drives it asks
/// [`due`](Self::due) until there is nothing, asks the store, and hands each answer to [`reply`](Self::reply).
#[derive(Debug)]
pub(crate) struct Member<C: Counts> {
    pub(crate) following: Following,
    pub(crate) publish: Publish<C>,
    pub(crate) judge: Judge<C>,
    lower: Lower,
    follow: Follow,
    layout: Layout,
    chance: SplitMix64,
}

impl<C: Counts> Member<C> {
    /// A life that begins now. What it draws comes from the seed: names that two lives draw must not be the same.
    pub(crate) fn new(
        layout: Layout,
        build: Build,
        class: &str,
        seed: u64,
        now: Timestamp,
        rules: Rules,
    ) -> Self {
        let mut chance = SplitMix64(seed);
        let library = build.library;
        let publish = Publish::new(build, class.to_owned(), &mut chance, now);
        Self {
            following: Following::new(now, rules),
            judge: Judge::new(publish.name, library, &mut chance, now),
            publish,
            lower: Lower::new(now),
            follow: Follow::new(now),
            layout,
            chance,
        }
    }

    /// When there may be something to ask: no earlier, unless something is told to it or counted meanwhile.
    pub(crate) fn next(&self) -> Timestamp {
        let following = &self.following;
        let others = [self.lower.next(), self.publish.next(following), self.judge.next(following)];
        others.into_iter().flatten().fold(self.follow.next(following), Timestamp::min)
    }

    /// What is to be asked now. Each lane has at most one request under way.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<(Lane, Act<C>)> {
        self.due_of(true, now)
    }

    /// The same of whoever does not only look at the head.
    pub(crate) fn due_beside_the_head(&mut self, now: Timestamp) -> Option<(Lane, Act<C>)> {
        self.due_of(false, now)
    }

    fn due_of(&mut self, follows: bool, now: Timestamp) -> Option<(Lane, Act<C>)> {
        let Self { following, publish, judge, lower, follow, layout, chance } = self;
        if let Some(act) = lower.due(following, layout, chance, now) {
            return Some((Lane::Lower, act));
        }
        if publish.left {
            return None;
        }
        if follows && let Some(act) = follow.due(following, layout, chance, now) {
            return Some((Lane::Follow, act));
        }
        if let Some(act) = publish.due(following, layout, chance, now) {
            return Some((Lane::Publish, act));
        }
        Some((Lane::Judge, judge.due(following, layout, chance, now)?))
    }

    pub(crate) fn reply(
        &mut self,
        lane: Lane,
        judgement: &dyn Judgement<C>,
        reply: &Reply<C>,
        now: Timestamp,
    ) {
        let Self { following, publish, judge, lower, follow, layout, chance } = self;
        match lane {
            Lane::Lower => lower.reply(following, reply, now),
            Lane::Follow => follow.reply(following, reply, now),
            Lane::Publish => publish.reply(following, reply, chance, now),
            Lane::Judge => {
                judge.own = publish.name;
                for lowering in judge.reply(following, layout, judgement, reply, chance, now) {
                    following.lower_here(&lowering);
                    lower.want(lowering, now);
                }
                following.judged = judge.moved;
                let mark = judge.ledger().and_then(|ledger| ledger.marks.get(&publish.name));
                let is_closed = mark.is_some_and(|mark| mark.closed.is_some());
                if is_closed {
                    publish.found_closed(following, now);
                }
            }
        }
        if let Some(applied) = &following.applied {
            publish.asks.retain(|ask| applied.head().runs(ask.attempt, &ask.identity));
        }
    }

    /// Whether the candidate of an attempt answers here now.
    #[cfg(feature = "testing")]
    pub(crate) fn exposes(&self, attempt: u32, now: Timestamp) -> bool {
        self.following.exposes(attempt, now)
    }

    /// Counts requests of a candidate and of its control, under the head that they were made under. What falls into a time without a lease is
    /// evidence for neither.
    pub(crate) fn count_in(&mut self, attempt: u32, era: u64, counts: &C, now: Timestamp) {
        if self.following.lease_holds(now) || !self.following.rules.keep(ProtocolRule::Lapse) {
            self.publish.count(attempt, era, counts);
        }
    }

    /// Takes an attempt off: here at once, everywhere as soon as it is agreed.
    #[cfg(feature = "testing")]
    pub(crate) fn lower(&mut self, attempt: u32, cause: &str, by: &str, now: Timestamp) {
        let Some(applied) = &self.following.applied else { return };
        let Some(candidate) = applied.head().candidate(attempt) else { return };
        let identity = candidate.version.identity.clone();
        let lowering = Lowering { attempt, identity, cause: cause.to_owned(), by: by.to_owned() };
        self.following.lower_here(&lowering);
        self.lower.want(lowering, now);
    }

    /// Asks for an attempt to be taken off, by a member that may not write the head.
    #[cfg(feature = "testing")]
    pub(crate) fn ask_to_lower(&mut self, attempt: u32, cause: &str, by: &str) {
        let Some(applied) = &self.following.applied else { return };
        let Some(candidate) = applied.head().candidate(attempt) else { return };
        let identity = candidate.version.identity.clone();
        let lowering = Lowering { attempt, identity, cause: cause.to_owned(), by: by.to_owned() };
        self.following.lower_here(&lowering);
        self.publish.asks.push(lowering);
    }

    /// Says goodbye with the next row.
    pub(crate) fn leave(&mut self) {
        self.publish.leave();
    }

    /// What was refused of the row, and of what is to be lowered, is due again now.
    pub(crate) fn try_again(&mut self, now: Timestamp) {
        self.publish.try_again(now);
        self.lower.try_again(now);
    }

    /// Whether the goodbye is in the store.
    pub(crate) fn has_left(&self) -> bool {
        self.publish.left
    }

    /// Returns what whoever judges here wanted lowered and cannot be any more: somebody has promoted it in the same moment, without a watch.
    pub(crate) fn take_lapsed(&mut self) -> Vec<Lowering> {
        self.lower.take_lapsed()
    }

    /// Whether something is to be lowered that may not be agreed on yet: nobody else knows of it.
    pub(crate) fn is_lowering(&self) -> bool {
        self.lower.next().is_some()
    }

    pub(crate) fn name(&self) -> Hex {
        self.publish.name
    }

    #[cfg(feature = "testing")]
    pub(crate) fn place(&self) -> Place {
        self.following.place()
    }

    pub(crate) fn born(&self) -> Timestamp {
        self.following.born
    }

    #[cfg(feature = "testing")]
    pub(crate) fn state(&self, now: Timestamp) -> State {
        self.following.state(now)
    }
}

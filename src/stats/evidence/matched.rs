//! The answers that either version called yes, matched over time: a precision compared within strata that are as short
//! as it takes for each to say yes once.
//!
//! A precision divides by what a version itself called yes. Pooled over a day on which the share of what is yes moves, two
//! versions that are as precise as each other at every hour differ, if one says yes more by night. So each yes of the
//! candidate's is matched with one of live's of about the same time, drawn at random among those, and only who of the two
//! was wrong is counted. How many each says yes to does not matter then.

use std::collections::{BTreeMap, VecDeque};

use super::arm::ArmCounts;
use super::loss::Decision;
use super::pair::PairLabels;
use crate::base::chance::SplitMix64;
use crate::stats::sequential::{Additive, Arms, ByOdds, Odds, PairedEvents};

/// Those of one version that wait for one of the other's; whether each was wrong.
type Waiting = VecDeque<bool>;

/// So many of the version that says yes more often wait, the last ones: what is older is of another time.
const WAITING_MAX: usize = 8;

/// Of what comes in one tick so many are matched at most: it takes a byte of each, and milliseconds of all. What a tick brings together of a
/// fleet is what others say that they have counted.
const TOGETHER_MAX: u64 = 1 << 20;

/// Called yes: how many, and how many of them wrongly.
#[derive(Debug, Clone, Copy, Default)]
struct Flagged {
    all: u64,
    wrong: u64,
}

/// Matches what comes from tick to tick.
#[derive(Debug, Clone)]
pub(crate) struct Matching {
    chance: u64,
    pairs: (Waiting, Waiting),
    /// By whether units are keys, and the share of traffic: of another share it is another time.
    arms: BTreeMap<(bool, Odds), (Waiting, Waiting)>,
}

impl Matching {
    pub(crate) fn new() -> Self {
        Self { chance: 0x5eed, pairs: Default::default(), arms: BTreeMap::new() }
    }

    /// Matches what was called yes of inputs that both versions were asked.
    pub(crate) fn of_pairs(&mut self, labels: &PairLabels) -> PairedEvents {
        let (mut candidate, mut live) = (Flagged::default(), Flagged::default());
        for (theirs, own, yes, count) in labels.decisions() {
            if own == Decision::Yes {
                candidate.count(yes, count);
            }
            if theirs == Decision::Yes {
                live.count(yes, count);
            }
        }
        join(&mut self.pairs, (candidate, live), &mut self.chance)
    }

    /// Matches what was called yes in the two arms of a canary.
    pub(crate) fn of_arms(&mut self, requests: &ByOdds<ArmCounts>, keys: &ByOdds<ArmCounts>) -> PairedEvents {
        let mut matched = PairedEvents::default();
        let mut came = Vec::new();
        for (keyed, arms) in [(false, requests), (true, keys)] {
            for (odds, arms) in arms.iter() {
                let flagged = (Flagged::of(&arms.candidate), Flagged::of(&arms.live));
                if flagged.0.all == 0 && flagged.1.all == 0 {
                    continue;
                }
                came.push((keyed, odds));
                let waiting = self.arms.entry((keyed, odds)).or_default();
                matched.merge(&join(waiting, flagged, &mut self.chance));
            }
        }
        if !came.is_empty() {
            self.arms.retain(|place, _| came.contains(place));
        }
        matched
    }
}

impl Flagged {
    fn of(arm: &ArmCounts) -> Self {
        let mut flagged = Self::default();
        for (decision, yes, count) in arm.labels.decisions() {
            if decision == Decision::Yes {
                flagged.count(yes, count);
            }
        }
        flagged
    }

    fn count(&mut self, yes: bool, count: u64) {
        self.all = self.all.saturating_add(count);
        self.wrong = self.wrong.saturating_add(if yes { 0 } else { count });
    }

    /// In an order drawn at random: which of a tick came first is not known. The first so many of it, where there are more, are as good a
    /// sample as any.
    fn in_some_order(mut self, waiting: &mut Waiting, chance: &mut SplitMix64) {
        for _ in 0..self.all.min(TOGETHER_MAX) {
            let wrong = chance.bits() % self.all < self.wrong;
            waiting.push_back(wrong);
            self.all -= 1;
            self.wrong -= u64::from(wrong);
        }
    }
}

fn join(
    (own, theirs): &mut (Waiting, Waiting),
    (candidate, live): (Flagged, Flagged),
    chance: &mut u64,
) -> PairedEvents {
    let mut drawn = SplitMix64(*chance);
    candidate.in_some_order(own, &mut drawn);
    live.in_some_order(theirs, &mut drawn);
    *chance = drawn.0;
    // Of the version that has more, the oldest would otherwise be matched with what comes now.
    let keep = own.len().min(theirs.len()) + WAITING_MAX;
    for waiting in [&mut *own, &mut *theirs] {
        let beyond = waiting.len().saturating_sub(keep);
        waiting.drain(..beyond);
    }
    let mut matched = PairedEvents::default();
    let both = own.len().min(theirs.len());
    own.drain(..both)
        .zip(theirs.drain(..both))
        .for_each(|(candidate, live)| matched.count(Arms { candidate, live }));
    matched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;

    /// Bug: whoever judges a fleet hung on a count that was not true, and took memory for each of it. Cause: all were drawn one by one. Fix:
    /// a million of a tick are.
    #[test]
    fn a_count_that_cannot_be_true_takes_neither_time_nor_memory_without_a_bound() {
        let mut matching = Matching::new();
        let none = ByOdds::default();
        let matched = matching.of_arms(&arms([1 << 62, 1 << 62], [u64::MAX, u64::MAX]), &none);
        assert_eq!(matched.pairs(), TOGETHER_MAX);
        assert!(matching.arms.values().all(|(own, theirs)| own.len() + theirs.len() <= WAITING_MAX));
        // A sample of what came: the candidate's are as often wrong as right.
        let wrong = matched.only_candidate + matched.both;
        assert!(wrong.abs_diff(TOGETHER_MAX / 2) < TOGETHER_MAX / 100, "{matched:?}");
    }

    fn arms(candidate: [u64; 2], live: [u64; 2]) -> ByOdds<ArmCounts> {
        let half = Share::new(0.5).unwrap();
        let mut by_odds = ByOdds::<ArmCounts>::default();
        let arms = by_odds.at(Odds::new(half, half).unwrap());
        arms.candidate.labels.decided[Decision::Yes as usize] = candidate;
        arms.live.labels.decided[Decision::Yes as usize] = live;
        by_odds
    }

    /// As precise as each other at both hours, and one says yes more at the bad one: pooled they are .58 and .82.
    #[test]
    fn who_says_yes_more_at_a_bad_hour_is_as_precise_as_at_each_hour() {
        let (mut matching, mut matched) = (Matching::new(), PairedEvents::default());
        for _ in 0..10 {
            for arms in [arms([1, 9], [8, 72]), arms([40, 40], [5, 5])] {
                (0..50).for_each(|_| matched.merge(&matching.of_arms(&arms, &ByOdds::default())));
            }
        }
        let difference = matched.difference().unwrap();
        assert!(matched.pairs() > 9_000 && difference.abs() < 0.02, "{matched:?} {difference}");
    }

    #[test]
    fn what_waits_is_bounded_and_a_yes_is_matched_once() {
        let (mut matching, mut matched) = (Matching::new(), PairedEvents::default());
        for _ in 0..50 {
            matched.merge(&matching.of_arms(&arms([1_000, 0], [0, 3]), &ByOdds::default()));
            assert!(matching.arms.values().all(|(own, theirs)| own.len().max(theirs.len()) <= WAITING_MAX));
        }
        assert_eq!((matched.pairs(), matched.only_candidate), (150, 150));
    }
}

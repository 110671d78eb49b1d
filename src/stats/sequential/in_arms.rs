//! Units of both arms, and whose a unit that is looked at is likely to be.

use serde::{Deserialize, Serialize};

use super::counts::{Additive, ByOdds, Events, Odds};

/// Units of both arms that are requests and units that are keys, and as events those of them with something: an answer, a truth.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct InArms {
    pub(crate) requests: ByOdds<Events>,
    pub(crate) keys: ByOdds<Events>,
}

impl Additive for InArms {
    fn merge(&mut self, other: &Self) {
        self.requests.merge(&other.requests);
        self.keys.merge(&other.keys);
    }
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.keys.is_empty()
    }
}

/// The chances with which a unit that is looked at went to the candidate: those of the odds, where nothing else is known.
///
/// A truth is of an answer. Where one version answers more of its units than the other, more truths are its own than the odds by which
/// traffic was split: counted by these, one that answers a tenth more has a tenth more wrong answers, and seems the worse for it.
/// So of a figure of labels a unit is the candidate's with the odds of what was answered. Both rates are estimated from the units that
/// the truths are of, and that errs to no side: what chance adds to the answers of an arm it adds to its truths as well. Where both
/// answer alike, as where nobody fails, they are the odds of traffic, exactly.
#[derive(Clone, Copy, Default)]
pub(crate) struct Chances<'a>(Option<&'a ByOdds<Events>>);

/// Counts of one kind of unit, requests or keys, with the chances that each was the candidate's.
///
/// What is claimed is claimed of all kinds together, so a strategy bets on all of them, and strategies are mixed once. Evidence of each kind
/// by itself, multiplied, would be of a claim about each: where a candidate is good for one kind and bad for the other, the good one grows with
/// the best of its strategies, and the bad one loses by the most timid of its own.
pub(crate) type Stratum<'a, C> = (&'a ByOdds<C>, Chances<'a>);

impl<'a> Chances<'a> {
    /// Those of units whose truth can be known, which are the ones that were answered.
    pub(crate) fn of_answers(answered: &'a ByOdds<Events>) -> Self {
        Self(Some(answered))
    }

    pub(crate) fn at(self, odds: Odds) -> f64 {
        let pi = odds.share();
        let Some(arms) = self.0.and_then(|answered| answered.get(odds)) else { return pi };
        let (candidate, live) = (arms.candidate, arms.live);
        let crossed = |one: Events, other: Events| u128::from(one.events) * u128::from(other.units);
        if crossed(candidate, live) == crossed(live, candidate) {
            return pi;
        }
        match (candidate.rate(), live.rate()) {
            (Some(own), Some(lives)) if own > 0.0 && lives > 0.0 => {
                (pi * own) / (pi * own + (1.0 - pi) * lives)
            }
            // One of the two has no answer, so none whose truth could be known.
            _ => pi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::SplitMix64;
    use crate::base::share::Share;
    use crate::stats::sequential::{Claim, EValue, RateDifference, RateRatio};

    #[test]
    fn the_odds_are_those_of_traffic_unless_one_arm_answers_more() {
        let share = |fraction| Share::new(fraction).unwrap();
        let odds = Odds::new(share(0.2), share(0.8)).unwrap();
        let at = |candidate: (u64, u64), live: (u64, u64)| {
            let mut answered = ByOdds::<Events>::default();
            let events = |(events, units)| Events { events, units };
            let arms = answered.at(odds);
            (arms.candidate, arms.live) = (events(candidate), events(live));
            Chances::of_answers(&answered).at(odds)
        };
        assert_eq!(Chances::default().at(odds), 0.2);
        for alike in
            [at((200, 200), (800, 800)), at((90, 100), (360, 400)), at((0, 0), (9, 10)), at((0, 5), (9, 10))]
        {
            assert_eq!(alike, 0.2);
        }
        assert!((at((200, 200), (600, 800)) - 200.0 / 800.0).abs() < 1e-12);
        assert!((at((100, 200), (800, 800)) - 100.0 / 900.0).abs() < 1e-12);
    }

    /// Two versions that are wrong alike and answer what they are asked in other shares, looked at after every twenty units: how many of
    /// so many runs say at an error of 5 % that the candidate is worse, by a ratio or by a difference.
    fn said_worse(runs: u32, share: f64, (answers, lives): (f64, f64), wrong: f64) -> u32 {
        let odds = Odds::new(Share::new(share).unwrap(), Share::new(1.0 - share).unwrap()).unwrap();
        let ratio = RateRatio::nearest(Claim::Harm, 1.0).ready();
        let difference = RateDifference::nearest(Claim::Harm, 0.0, 0.0).ready();
        let mut chance = SplitMix64(11);
        let mut unit = move || chance.uniform();
        let one_run = |_: u32| {
            let (mut answered, mut wrongs) = (ByOdds::<Events>::default(), ByOdds::<Events>::default());
            (0..150).any(|_| {
                for _ in 0..20 {
                    let is_candidates = unit() < share;
                    let is_answered = unit() < if is_candidates { answers } else { lives };
                    let is_wrong = u64::from(unit() < wrong);
                    let (of, truths) = (answered.at(odds), wrongs.at(odds));
                    let (of, truths) = if is_candidates {
                        (&mut of.candidate, &mut truths.candidate)
                    } else {
                        (&mut of.live, &mut truths.live)
                    };
                    of.merge(&Events { events: u64::from(is_answered), units: 1 });
                    if is_answered {
                        truths.merge(&Events { events: is_wrong, units: 1 });
                    }
                }
                let chances = Chances::of_answers(&answered);
                let counts = [(&wrongs, chances)];
                let most = ratio.e_value(&counts).max(difference.e_value(&counts));
                most >= EValue::against(0.05)
            })
        };
        (0..runs).map(one_run).filter(|crossed| *crossed).count() as u32
    }

    /// What is estimated makes no more errors than what is known: two tests that each may err 5 times in 100.
    #[test]
    fn versions_that_are_wrong_alike_are_seldom_said_to_differ_whoever_answers_more() {
        for (answers, lives) in [(1.0, 0.7), (0.7, 1.0), (0.95, 0.96), (0.5, 0.4)] {
            for (share, wrong) in [(0.5, 0.4), (0.1, 0.05), (0.2, 0.9)] {
                let crossed = said_worse(100, share, (answers, lives), wrong);
                assert!(
                    crossed <= 10,
                    "{crossed} of 100 where {answers} and {lives} answer, at {share}, {wrong}"
                );
            }
        }
    }
}

//! Who failed while live failed about as often as it usually does: what a ratio of failures may be shown to be kept by.
//!
//! In an outage behind both versions one fails as often as the other, so a candidate that fails twice as often on its own looks
//! like a good one: the longer the outage, the more. So requests are taken in stretches, and one in which live has failed far
//! more often than before is left out of what lets a candidate on; of what takes it back it is not.
//!
//! That errs no more often. Whether a stretch is left out follows from what came before it and from live's failures in it, and the
//! more of these there are, the more it says for the candidate: each factor of the bets grows with a failure of live's, whatever the
//! candidate made of the same input, as long as live may not be the one that has to be worse (a limit of at least 1 times). What is
//! kept says less on average than all of it, and what is left out says nothing.

use serde::{Deserialize, Serialize};

use crate::stats::sequential::e_value::ln;
use crate::stats::sequential::{Additive, ByOdds, Events, PairedEvents};

/// Who failed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) pairs: PairedEvents,
    pub(crate) requests: ByOdds<Events>,
    pub(crate) keys: ByOdds<Events>,
}

impl Additive for Failed {
    fn merge(&mut self, other: &Self) {
        self.pairs.merge(&other.pairs);
        self.requests.merge(&other.requests);
        self.keys.merge(&other.keys);
    }
    fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.requests.is_empty() && self.keys.is_empty()
    }
}

impl Failed {
    /// Live's units and failures.
    pub(crate) fn of_live(&self) -> Events {
        let mut all = self.pairs.of_live();
        all.merge(&self.requests.pooled().live);
        all.merge(&self.keys.pooled().live);
        all
    }
}

/// The stretch that comes now, and what is usual.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calm {
    stretch: Failed,
    /// Of requests since the exposure changed.
    fresh: Failed,
    /// Live's failures in stretches that were not left out.
    usual: Events,
}

impl Calm {
    /// Units of live's that a stretch has at least: fewer say little of how often it fails.
    pub(crate) const UNITS: u64 = 50;

    /// Goes on where so many failures of live's are usual. What came of the last stretch is lost.
    pub(crate) fn with(usual: Events) -> Self {
        Self { usual, ..Self::default() }
    }

    /// The exposure changes: a stretch is of one exposure.
    pub(crate) fn begin(&mut self) {
        *self = Self::with(self.usual);
    }

    /// Counts what came of all requests and of those since the exposure changed. Once a stretch is long enough, what is to be counted
    /// of it: nothing in an outage.
    pub(crate) fn settle(&mut self, coming: &Failed, fresh: &Failed) -> (Failed, Failed) {
        self.stretch.merge(coming);
        self.fresh.merge(fresh);
        let live = self.stretch.of_live();
        if live.units < Self::UNITS {
            return Default::default();
        }
        let (stretch, fresh) = (std::mem::take(&mut self.stretch), std::mem::take(&mut self.fresh));
        if is_outage(live, self.usual) {
            return Default::default();
        }
        self.usual.merge(&live);
        (stretch, fresh)
    }
}

/// Whether live has failed more than twice as often as is usual, and not by chance.
fn is_outage(seen: Events, usual: Events) -> bool {
    const TIMES: f64 = 2.0;
    const ERROR: f64 = 0.001;
    // One failure more than were seen: it is none that has never failed so far.
    let limit = TIMES * (usual.events as f64 + 1.0) / usual.units as f64;
    let (units, rate) = (seen.units as f64, seen.events as f64 / seen.units as f64);
    // Of the first stretch nothing is known; and of a live that fails on half of all there is no more.
    if usual.units == 0 || limit >= 1.0 || rate <= limit {
        return false;
    }
    // Chernoff's bound of the probability that so many fail where the limit is what is true.
    let part = |share: f64, of: f64| if share > 0.0 { share * ln(share / of) } else { 0.0 };
    units * (part(rate, limit) + part(1.0 - rate, 1.0 - limit)) >= -ln(ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::SplitMix64;
    use crate::stats::sequential::{Claim, PairedRatio, SequentialTest};

    #[test]
    fn an_outage_is_more_than_twice_what_is_usual_and_more_than_chance() {
        let events = |events, units| Events { events, units };
        let usual = events(400, 10_000);
        for (seen, is) in [
            (events(2, 50), false),
            (events(10, 50), false),
            (events(14, 50), true),
            (events(900, 10_000), false),
        ] {
            assert_eq!(is_outage(seen, usual), is, "{seen:?}");
        }
        assert!(!is_outage(events(50, 50), Events::default()), "nothing is known of the first");
        assert!(!is_outage(events(50, 50), events(30, 50)), "half of all is usual");
        assert!(is_outage(events(5, 50), events(0, 10_000)), "it has never failed");
    }

    fn pairs(chance: &mut SplitMix64, count: u64, live: f64, candidate: f64) -> Failed {
        let mut counts = Failed::default();
        (0..count).for_each(|_| counts.pairs.count(chance.uniform() < live, chance.uniform() < candidate));
        counts
    }

    /// Bug: a candidate that fails 1.5 times as often as live was shown to fail less than that by one second in which both failed on
    /// nearly everything. Cause: a ratio of all failures is that of the outage. Fix: a stretch in which live fails far more often
    /// than before is left out.
    #[test]
    fn an_outage_that_both_share_shows_nothing() {
        let test = PairedRatio::nearest(Claim::NonInferiority, 1.5);
        let (mut all_cross, mut calm_cross) = (0, 0);
        for seed in 0..200 {
            let (mut chance, mut calm) = (SplitMix64(seed), Calm::default());
            let (mut all, mut kept) = (PairedEvents::default(), PairedEvents::default());
            let (mut all_crossed, mut crossed) = (false, false);
            for second in 0..120 {
                let (live, candidate) = match second {
                    40..44 => (0.98, 0.98),
                    44..54 => (0.52, 0.53),
                    _ => (0.04, 0.06),
                };
                let counts = pairs(&mut chance, 80, live, candidate);
                all.merge(&counts.pairs);
                kept.merge(&calm.settle(&counts, &counts).0.pairs);
                all_crossed |= test.e_value(&all).value() >= 20.0;
                crossed |= test.e_value(&kept).value() >= 20.0;
            }
            (all_cross, calm_cross) = (all_cross + u64::from(all_crossed), calm_cross + u64::from(crossed));
        }
        assert!(all_cross > 100, "{all_cross} of 200");
        assert!(calm_cross <= 18, "{calm_cross} of 200, where 10 may be");
    }

    /// What is left out by live's failures alone makes a version at its margin look worse, never better.
    #[test]
    fn what_is_left_out_by_chance_is_no_evidence() {
        let test = PairedRatio::nearest(Claim::NonInferiority, 1.5);
        let mut mean = 0.0;
        const RUNS: u64 = 4_000;
        for seed in 0..RUNS {
            let (mut chance, mut kept) = (SplitMix64(seed), PairedEvents::default());
            for _ in 0..4 {
                let counts = pairs(&mut chance, 50, 0.1, 0.15);
                // A threshold at which every fifth is left out.
                if counts.pairs.of_live().events <= 6 {
                    kept.merge(&counts.pairs);
                }
            }
            mean += test.e_value(&kept).value() / RUNS as f64;
        }
        assert!(mean <= 1.0, "{mean}");
    }

    #[test]
    fn a_stretch_is_of_one_exposure_and_has_enough_units() {
        let mut calm = Calm::default();
        let mut chance = SplitMix64(7);
        let few = pairs(&mut chance, 30, 0.0, 0.0);
        assert!(calm.settle(&few, &few).0.is_empty());
        calm.begin();
        assert!(calm.settle(&few, &few).0.is_empty());
        let (all, fresh) = calm.settle(&few, &Failed::default());
        assert_eq!((all.pairs.pairs(), fresh.pairs.pairs()), (60, 30));
    }
}

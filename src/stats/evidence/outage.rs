//! The time in which live does far worse than it usually does: an outage behind all versions, mostly.
//!
//! In an outage behind both versions one fails as often as the other. So a candidate that fails twice as often on its own looks like a
//! good one: the longer the outage, the more. And one that keeps to one of two limits in quiet and to the other in every outage has broken
//! both by the sums, once outages come again and again. So what was counted in outages is known apart: it is left out of what shows that a
//! multiple of live's failures is kept to, and where the larger of two limits is allowed, each of the two times is held against both.
//!
//! That errs no more often. Whether a tick is of an outage follows from what came before it and from live's own events in it. For a
//! ratio, the more of these there are, the more it says for the candidate: each factor of the bets grows with an event of live's, whatever
//! the candidate made of the same input, as long as live may not be the one that has to be worse (a limit of at least 1 times). So what is
//! kept says less on average than all of it, and what is left out says nothing. Of harm nothing is left out: it is told apart, and
//! multiplied.

use crate::stats::sequential::Events;
use crate::stats::sequential::e_value::ln;

/// What is usual of live, and whether an outage lasts, for one kind of event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outage {
    /// Live's units since a stretch was last full.
    stretch: Events,
    /// Live's in stretches without an outage.
    usual: Events,
    lasts: bool,
}

impl Outage {
    /// Units of live's that a stretch has at least: fewer do not tell that an outage is over, or what is usual.
    const UNITS: u64 = 50;

    /// Goes on where so many events of live's are usual.
    #[cfg(feature = "state")]
    pub(crate) fn with(usual: Events) -> Self {
        Self { usual, ..Self::default() }
    }

    /// The exposure changes: a stretch is of one exposure.
    pub(crate) fn begin(&mut self) {
        self.stretch = Events::default();
    }

    /// Takes note of live's units of one tick, and says whether they are of an outage. The stretch in which it ends is its last.
    pub(crate) fn is(&mut self, live: Events) -> bool {
        self.stretch = Events {
            events: self.stretch.events.saturating_add(live.events),
            units: self.stretch.units.saturating_add(live.units),
        };
        let far = is_outage(self.stretch, self.usual);
        let is = self.lasts || far;
        self.lasts = is;
        if self.stretch.units >= Self::UNITS {
            let stretch = std::mem::take(&mut self.stretch);
            self.lasts = far;
            if !far {
                self.usual.events = self.usual.events.saturating_add(stretch.events);
                self.usual.units = self.usual.units.saturating_add(stretch.units);
            }
        }
        is
    }
}

/// Whether live has failed more than twice as often as is usual, and not by chance.
fn is_outage(seen: Events, usual: Events) -> bool {
    const TIMES: f64 = 2.0;
    const ERROR: f64 = 0.001;
    // As many as there may be of what is usual where so many were seen of it: of the first fifty units none may have failed of a live that
    // fails on one in twenty, and then everything would be an outage for ever.
    let seen_before = usual.events as f64 + 1.0;
    let limit = TIMES * (seen_before + 2.0 * libm::sqrt(seen_before)) / usual.units as f64;
    let (units, rate) = (seen.units as f64, seen.events as f64 / seen.units as f64);
    // Of the first stretch nothing is known; and of a live that fails on half of all there is no more.
    if seen.units == 0 || usual.units == 0 || limit >= 1.0 || rate <= limit {
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
    use crate::stats::sequential::{Additive, Arms, Claim, PairedEvents, PairedRatio, SequentialTest};

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
        assert!(!is_outage(events(500, 10_000), events(0, 50)), "of the first fifty too little is known");
        assert!(!is_outage(events(50, 50), events(30, 50)), "half of all is usual");
        assert!(is_outage(events(5, 50), events(0, 10_000)), "it has never failed");
    }

    fn pairs(chance: &mut SplitMix64, count: u64, live: f64, candidate: f64) -> PairedEvents {
        let mut pairs = PairedEvents::default();
        (0..count).for_each(|_| {
            let live = chance.uniform() < live;
            pairs.count(Arms { candidate: chance.uniform() < candidate, live });
        });
        pairs
    }

    /// Bug: a candidate that fails 1.5 times as often as live was shown to fail less than that by one second in which both failed on
    /// nearly everything. Cause: a ratio of all failures is that of the outage. Fix: a stretch in which live fails far more often
    /// than before is left out.
    #[test]
    fn an_outage_that_both_share_shows_nothing() {
        let test = PairedRatio::nearest(Claim::NonInferiority, 1.5);
        let (mut all_cross, mut calm_cross) = (0, 0);
        for seed in 0..200 {
            let (mut chance, mut outage) = (SplitMix64(seed), Outage::default());
            let (mut all, mut kept) = (PairedEvents::default(), PairedEvents::default());
            let (mut all_crossed, mut crossed) = (false, false);
            for second in 0..120 {
                let (live, candidate) = match second {
                    40..44 => (0.98, 0.98),
                    44..54 => (0.52, 0.53),
                    _ => (0.04, 0.06),
                };
                let counts = pairs(&mut chance, 80, live, candidate);
                all.merge(&counts);
                if !outage.is(counts.of_live()) {
                    kept.merge(&counts);
                }
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
                if counts.of_live().events <= 6 {
                    kept.merge(&counts);
                }
            }
            mean += test.e_value(&kept).value() / RUNS as f64;
        }
        assert!(mean <= 1.0, "{mean}");
    }

    #[test]
    fn an_outage_is_seen_at_once_and_lasts_until_a_whole_stretch_is_as_usual() {
        let mut outage = Outage::default();
        let live = |events| Events { events, units: 20 };
        assert!((0..20).all(|_| !outage.is(live(1))));
        assert!(outage.is(live(20)));
        let after: Vec<bool> = (0..8).map(|_| outage.is(live(0))).collect();
        assert_eq!(after, [true, true, true, false, false, false, false, false]);
    }
}

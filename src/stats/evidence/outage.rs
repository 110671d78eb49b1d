//! The time in which live does far worse than it usually does: an outage behind all versions, mostly.
//!
//! In an outage behind both versions one fails as often as the other. So a candidate that fails twice as often on its own looks like a
//! good one: the longer the outage, the more. And one that keeps to one of two limits in quiet and to the other in every outage has broken
//! both by the sums, once outages come again and again. So what was counted in outages is known apart: it is left out of what shows that a
//! multiple of live's failures is kept to, and where the larger of two limits is allowed, each of the two times is held against both, and
//! harm is looked for in each of them alone too.
//!
//! **Of what is left out for the candidate** it follows from what came before a tick and from live's own events in it. For a ratio, the more
//! of these there are, the more it says for the candidate: each factor of the bets grows with an event of live's, whatever
//! the candidate made of the same input, as long as live may not be the one that has to be worse (a limit of at least 1 times). So what is
//! kept says less on average than all of it, and what is left out says nothing.
//!
//! **Of harm that would err**: a tick in which live had luck counts as calm, and in it the candidate looks bad. So of harm a tick is of an
//! outage that is known before anything of it is seen, which no bet can be unfair about; and the ticks in which one begins, in which both
//! fail on much and nobody knew, are told by the units of which *either* version had the event. Given which units these are, whose events they
//! were is as open as before, so a bet on a ratio stays fair whether or not they count; and against an absolute limit the ticks that
//! are left are those in which the candidate had few events, which speak for it (Harris' inequality: one falls and the other grows with
//! each event). They count in no bet on outages alone: there that would speak against it.

use serde::{Deserialize, Serialize};

use super::event_counts::EventCounts;
use crate::stats::sequential::e_value::ln;
use crate::stats::sequential::{Additive, Events};

/// What of some counts came in outages.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct InOutages {
    /// While live had far more events than usual, from the first tick on: nothing of it speaks for a candidate.
    #[serde(default, skip_serializing_if = "EventCounts::is_empty")]
    pub(crate) left_out: EventCounts,
    /// In ticks of which that was known before.
    #[serde(default, skip_serializing_if = "EventCounts::is_empty")]
    pub(crate) known: EventCounts,
    /// In ticks of which it was not, and in which either version had the event far more often than usual.
    #[serde(default, skip_serializing_if = "EventCounts::is_empty")]
    pub(crate) begins: EventCounts,
}

impl Additive for InOutages {
    fn merge(&mut self, other: &Self) {
        self.left_out.merge(&other.left_out);
        self.known.merge(&other.known);
        self.begins.merge(&other.begins);
    }
    fn is_empty(&self) -> bool {
        self.left_out.is_empty() && self.known.is_empty() && self.begins.is_empty()
    }
}

impl InOutages {
    /// The same counts, wherever they belong.
    pub(crate) fn of(counts: &EventCounts, is: IsOutage) -> Self {
        let where_so = |so: bool| if so { counts.clone() } else { EventCounts::default() };
        Self { left_out: where_so(is.left_out), known: where_so(is.known), begins: where_so(is.begins) }
    }

    /// What bets on harm take for outages.
    pub(crate) fn of_harm(&self) -> EventCounts {
        let mut all = self.known.clone();
        all.merge(&self.begins);
        all
    }
}

/// Whether a tick is of an outage: see the fields of [`InOutages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct IsOutage {
    pub(crate) left_out: bool,
    pub(crate) known: bool,
    pub(crate) begins: bool,
}

impl IsOutage {
    pub(crate) fn any(self) -> bool {
        self.left_out || self.known || self.begins
    }
}

/// Units since a stretch was last full, and those of stretches without an outage.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    stretch: Events,
    usual: Events,
}

impl Seen {
    /// Whether there are far more events in the stretch than usual.
    fn see(&mut self, units: Events) -> bool {
        self.stretch.merge(&units);
        is_outage(self.stretch, self.usual)
    }

    fn end_stretch(&mut self, is_usual: bool) {
        let stretch = std::mem::take(&mut self.stretch);
        if is_usual {
            self.usual.merge(&stretch);
        }
    }
}

/// What is usual of live and of both, and whether an outage lasts, for one kind of event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outage {
    live: Seen,
    /// Of which either version had the event.
    either: Seen,
    lasts: bool,
}

impl Outage {
    /// Units of live's that a stretch has at least: fewer do not tell that an outage is over, or what is usual.
    const UNITS: u64 = 50;

    /// Goes on where these are usual.
    #[cfg(feature = "state")]
    pub(crate) fn with(usual: &EventCounts) -> Self {
        let seen = |usual| Seen { usual, ..Seen::default() };
        Self { live: seen(usual.all_of_live()), either: seen(usual.of_either()), lasts: false }
    }

    /// The exposure changes: a stretch is of one exposure.
    pub(crate) fn begin(&mut self) {
        self.live.stretch = Events::default();
        self.either.stretch = Events::default();
    }

    /// Takes note of one tick, and says whether it is of an outage. The stretch in which it ends is its last.
    pub(crate) fn is(&mut self, came: &EventCounts) -> IsOutage {
        let known = self.lasts;
        let (far, begins) = (self.live.see(came.all_of_live()), self.either.see(came.of_either()));
        self.lasts = known || far;
        let is = IsOutage { left_out: self.lasts, known, begins: begins && !known };
        if self.live.stretch.units >= Self::UNITS {
            self.lasts = far;
            // By live's alone: what a candidate fails on all the time is usual of both.
            self.live.end_stretch(!far);
            self.either.end_stretch(!far);
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
    use crate::stats::sequential::{Arms, Claim, PairedEvents, PairedRatio, Rate, SequentialTest};

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
                if !outage.is(&EventCounts { pairs: counts, ..EventCounts::default() }).left_out {
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

    /// The mean e-value of harm of a candidate at its margin, where of four ticks those count that `counts` says; 1 is fair.
    fn mean_of_harm(e_value: impl Fn(&PairedEvents) -> f64, counts: impl Fn(&PairedEvents) -> bool) -> f64 {
        const RUNS: u64 = 4_000;
        let of_run = |seed| {
            let (mut chance, mut kept) = (SplitMix64(seed), PairedEvents::default());
            for _ in 0..4 {
                let tick = pairs(&mut chance, 50, 0.1, 0.125);
                if counts(&tick) {
                    kept.merge(&tick);
                }
            }
            e_value(&kept)
        };
        (0..RUNS).map(of_run).sum::<f64>() / RUNS as f64
    }

    /// Why a tick in which an outage begins is told by the units that either version had the event of, and counts in no bet on outages.
    #[test]
    fn a_bet_on_harm_is_fair_where_what_either_had_says_whether_it_counts() {
        let ratio = PairedRatio::nearest(Claim::Harm, 1.25);
        let limit = Rate::nearest(Claim::Harm, 0.125);
        let of_ratio = |pairs: &PairedEvents| ratio.e_value(pairs).value();
        let of_limit = |pairs: &PairedEvents| limit.e_value(&pairs.of_candidate()).value();
        let either = |pairs: &PairedEvents| pairs.pairs() - pairs.neither;
        // In a tick one has 5 of its own on average, and either has 10.6.
        let calm = |pairs: &PairedEvents| either(pairs) <= 12;
        let fair = [
            mean_of_harm(of_ratio, calm),
            mean_of_harm(of_ratio, |pairs| !calm(pairs)),
            mean_of_harm(of_limit, calm),
        ];
        assert!(fair.iter().all(|mean| *mean <= 1.02), "{fair:?}");
        let unfair = [
            mean_of_harm(of_ratio, |pairs| pairs.of_live().events <= 6),
            mean_of_harm(of_limit, |pairs| !calm(pairs)),
        ];
        assert!(unfair.iter().all(|mean| *mean > 1.1), "{unfair:?}");
    }

    #[test]
    fn an_outage_is_seen_at_once_and_lasts_until_a_whole_stretch_is_as_usual() {
        let mut outage = Outage::default();
        let both = |both| EventCounts {
            pairs: PairedEvents { both, neither: 20 - both, ..PairedEvents::default() },
            ..EventCounts::default()
        };
        assert!((0..20).all(|_| !outage.is(&both(1)).any()));
        assert_eq!(outage.is(&both(20)), IsOutage { left_out: true, known: false, begins: true });
        let after: Vec<bool> = (0..8)
            .map(|_| {
                let is = outage.is(&both(0));
                assert!(is.left_out == is.known && !is.begins, "of both kinds from the second tick on");
                is.known
            })
            .collect();
        assert_eq!(after, [true, true, true, false, false, false, false, false]);
    }
}

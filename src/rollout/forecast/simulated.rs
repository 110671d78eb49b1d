//! The counts that each kind of test makes of simulated traffic.

use super::reach::{ComesBy, Reach};
use super::subject::Losses;
use super::traffic::Traffic;
use super::unknown::both;
use crate::rollout::guard::design::Design;
use crate::rollout::guard::history::Series;
use crate::rollout::guard::tested::Tested;
use crate::stats::sequential::{
    Additive, Arms, Events, HiddenEvents, Odds, PairedEvents, PairedParts, Part, Parts, Scores, Values,
};

/// What may come, and how so many of it are counted.
pub(crate) type Cells<C> = Vec<Cell<C>>;

/// Something that may come.
pub(crate) struct Cell<C> {
    pub(crate) comes_by: ComesBy,
    /// How often a second, where each request is a unit.
    pub(crate) per_second: f64,
    pub(crate) count: Box<Count<C>>,
}

/// Counts so many of it.
type Count<C> = dyn Fn(&mut C, u64);

fn cell<C>(cells: &mut Cells<C>, comes_by: ComesBy, per_second: f64, count: impl Fn(&mut C, u64) + 'static) {
    if per_second > 0.0 {
        cells.push(Cell { comes_by, per_second, count: Box::new(count) });
    }
}

pub(crate) fn events(
    design: &Design,
    losses: &Losses,
    reach: Reach,
    traffic: &Traffic,
) -> Cells<Series<PairedEvents, Events>> {
    let mut cells: Cells<Series<PairedEvents, Events>> = Vec::new();
    let Losses { live, candidate, counted, together, .. } = *losses;
    let (live, candidate) = (live.clamp(0.0, 1.0), candidate.clamp(0.0, 1.0));
    if design.tested == Tested::Differences {
        let pairs = reach.pairs_per_second(traffic);
        units(&mut cells, ComesBy::Copies, pairs, candidate, |series| &mut series.alone);
        return cells;
    }
    let (comes_by, pairs) = match (design.tested, reach.arms_per_second(traffic)) {
        (Tested::FalseAlarmsInArms, Some((_, of_candidate, of_live))) => {
            (ComesBy::Arms, of_candidate.min(of_live))
        }
        (Tested::FalseAlarmsInArms, None) => (ComesBy::Arms, 0.0),
        _ => (ComesBy::Copies, reach.pairs_per_second(traffic)),
    };
    let pairs = pairs * counted;
    let off = off((live, candidate), together);
    cell(&mut cells, comes_by, pairs * off.only_live, |series, n| series.pairs.only_live += n);
    cell(&mut cells, comes_by, pairs * off.only_candidate, |series, n| series.pairs.only_candidate += n);
    cell(&mut cells, comes_by, pairs * off.both, |series, n| series.pairs.both += n);
    cell(&mut cells, comes_by, pairs * off.neither(), |series, n| series.pairs.neither += n);
    let weight = reach.weight.fraction();
    let shadowed = traffic.requests_per_second * (1.0 - weight) * reach.sample * counted;
    units(&mut cells, ComesBy::Copies, shadowed, candidate, |series| &mut series.alone);
    if let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) {
        units(&mut cells, ComesBy::Arms, of_candidate * counted, candidate, move |series| {
            &mut series.requests.at(odds).candidate
        });
        units(&mut cells, ComesBy::Arms, of_live * counted, live, move |series| {
            &mut series.requests.at(odds).live
        });
    }
    cells
}

/// The shares of inputs that two versions are off on.
struct Off {
    only_live: f64,
    only_candidate: f64,
    both: f64,
}

impl Off {
    fn neither(&self) -> f64 {
        (1.0 - self.only_live - self.only_candidate - self.both).max(0.0)
    }
}

fn off((live, candidate): (f64, f64), together: f64) -> Off {
    let both = both((live, candidate), together);
    Off { only_live: (live - both).max(0.0), only_candidate: (candidate - both).max(0.0), both }
}

/// Units that come at a rate, with the event at another.
fn units<P: 'static>(
    cells: &mut Cells<Series<P, Events>>,
    comes_by: ComesBy,
    per_second: f64,
    rate: f64,
    arm: impl Fn(&mut Series<P, Events>) -> &mut Events + Copy + 'static,
) {
    cell(cells, comes_by, per_second * rate.clamp(0.0, 1.0), move |series, n| {
        arm(series).merge(&Events { events: n, units: n });
    });
    cell(cells, comes_by, per_second * (1.0 - rate).clamp(0.0, 1.0), move |series, n| {
        arm(series).merge(&Events { events: 0, units: n });
    });
}

pub(crate) fn hidden(
    losses: &Losses,
    reach: Reach,
    traffic: &Traffic,
) -> Cells<Series<HiddenEvents, Events>> {
    let mut cells: Cells<Series<HiddenEvents, Events>> = Vec::new();
    let pairs = reach.pairs_per_second(traffic) * losses.counted;
    let off = off((losses.live.clamp(0.0, 1.0), losses.candidate.clamp(0.0, 1.0)), losses.together);
    cell(&mut cells, ComesBy::Copies, pairs * off.only_live, |series, n| series.pairs.seen.only_live += n);
    cell(&mut cells, ComesBy::Copies, pairs * off.only_candidate, |series, n| {
        series.pairs.seen.only_candidate += n
    });
    cell(&mut cells, ComesBy::Copies, pairs * (off.both + off.neither()), |series, n| {
        series.pairs.seen.neither += n
    });
    cells
}

/// Two values between 0 and 1 with a mean and a standard deviation, as places on the lattice, and the chance of the higher one. What lies further
/// from its mean than that is from a bound has one of them there, and the other one is the seldom.
fn two_places(mean: f64, spread: f64) -> (i16, i16, f64) {
    let place = |x: f64| (x.clamp(0.0, 1.0) * f64::from(Scores::STEPS)).round() as i16;
    let variance = spread * spread;
    // As far apart as 0 and 1 where the spread is that of events.
    let (low, high) = if variance >= 0.95 * mean * (1.0 - mean) {
        (0, Scores::STEPS)
    } else if spread > mean {
        (0, place(mean + variance / mean))
    } else if spread > 1.0 - mean {
        (place(mean - variance / (1.0 - mean)), Scores::STEPS)
    } else {
        (place(mean - spread), place(mean + spread))
    };
    let at = |place: i16| f64::from(place) / f64::from(Scores::STEPS);
    let chance = if high > low { ((mean - at(low)) / (at(high) - at(low))).clamp(0.0, 1.0) } else { 0.0 };
    (low, high, chance)
}

pub(crate) fn scores(
    design: &Design,
    losses: &Losses,
    reach: Reach,
    traffic: &Traffic,
) -> Cells<Series<Scores, Scores>> {
    let mut cells: Cells<Series<Scores, Scores>> = Vec::new();
    let pairs = reach.pairs_per_second(traffic) * losses.counted;
    // A difference has twice the range.
    let difference = losses.candidate - losses.live;
    let (low, high, chance) = two_places(0.5 + difference / 2.0, losses.difference_spread / 2.0);
    for (place, rate) in [(low, 1.0 - chance), (high, chance)] {
        let place = 2 * place - Scores::STEPS;
        cell(&mut cells, ComesBy::Copies, pairs * rate, move |series, n| series.pairs.count_place(place, n));
    }
    // Counted as the host gives them.
    let given = |loss: f64| if design.turns_scores() { 1.0 - loss } else { loss };
    let own = (losses.candidate, losses.candidate_spread);
    let mut arm = |comes_by: ComesBy,
                   per_second: f64,
                   (loss, spread): (f64, f64),
                   arm: fn(&mut Series<Scores, Scores>, Option<Odds>) -> Option<&mut Scores>,
                   odds| {
        let (low, high, chance) = two_places(given(loss), spread);
        for (place, rate) in [(low, 1.0 - chance), (high, chance)] {
            cell(&mut cells, comes_by, per_second * rate, move |series, n| {
                if let Some(scores) = arm(series, odds) {
                    scores.count_place(place, n);
                }
            });
        }
    };
    if design.tested == Tested::Comparisons {
        arm(ComesBy::Copies, reach.pairs_per_second(traffic), own, |series, _| Some(&mut series.alone), None);
        return cells;
    }
    let shadowed =
        traffic.requests_per_second * (1.0 - reach.weight.fraction()) * reach.sample * losses.counted;
    if !matches!(design.tested, Tested::Kpi(_)) {
        arm(ComesBy::Copies, shadowed, own, |series, _| Some(&mut series.alone), None);
    }
    if let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) {
        let (odds, theirs) = (Some(odds), (losses.live, losses.spread));
        arm(
            ComesBy::Arms,
            of_candidate * losses.counted,
            own,
            |s, odds| Some(&mut s.requests.at(odds?).candidate),
            odds,
        );
        arm(
            ComesBy::Arms,
            of_live * losses.counted,
            theirs,
            |s, odds| Some(&mut s.requests.at(odds?).live),
            odds,
        );
    }
    cells
}

pub(crate) fn values(
    design: &Design,
    losses: &Losses,
    reach: Reach,
    traffic: &Traffic,
) -> Cells<Series<Values, Values>> {
    let mut cells: Cells<Series<Values, Values>> = Vec::new();
    let sign = if design.reads_gain() { -1.0 } else { 1.0 };
    let shift = sign * (losses.candidate - losses.live);
    let Losses { live: mean, spread, candidate_spread, difference_spread, .. } = *losses;
    for side in [-1.0, 1.0] {
        let pairs = reach.pairs_per_second(traffic) * losses.counted / 2.0;
        let difference = shift + side * difference_spread;
        cell(&mut cells, ComesBy::Copies, pairs, move |series, n| series.pairs.count_times(difference, n));
    }
    let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) else { return cells };
    for (value, share) in two_values(mean + shift, candidate_spread) {
        cell(&mut cells, ComesBy::Arms, of_candidate * losses.counted * share, move |series, n| {
            series.requests.at(odds).candidate.count_times(value, n);
        });
    }
    for (value, share) in two_values(mean, spread) {
        cell(&mut cells, ComesBy::Arms, of_live * losses.counted * share, move |series, n| {
            series.requests.at(odds).live.count_times(value, n);
        });
    }
    cells
}

/// Two values with a mean and a standard deviation, and their shares. What lies further from its mean than that is from 0 is seldom and
/// large, as what is spent is; the rest lies to either side.
fn two_values(mean: f64, spread: f64) -> [(f64, f64); 2] {
    if spread > mean.abs() && mean != 0.0 {
        let value = (spread * spread + mean * mean) / mean;
        let share = mean / value;
        return [(value, share), (0.0, 1.0 - share)];
    }
    [(mean - spread, 0.5), (mean + spread, 0.5)]
}

pub(crate) fn ratios(
    design: &Design,
    losses: &Losses,
    reach: Reach,
    traffic: &Traffic,
) -> Cells<Series<PairedParts, Parts>> {
    let mut cells: Cells<Series<PairedParts, Parts>> = Vec::new();
    // A unit that counts is right, a false alarm or missed; of an F1 a right one counts twice.
    let right = if design.tested == Tested::F1 { Part::cut(0, 2) } else { Part::cut(0, 1) };
    let (wrong, none) = (Part::cut(1, 1), Part::cut(0, 0));
    let Losses { live, candidate, counted, .. } = *losses;
    let share = |loss: f64| {
        // The share of units that are wrong where the ratio is `loss`.
        if design.tested == Tested::F1 { 2.0 * loss / (1.0 + loss) } else { loss }
    };
    let (live, candidate) = (share(live.clamp(0.0, 1.0)), share(candidate.clamp(0.0, 1.0)));
    let pairs = reach.pairs_per_second(traffic) * counted;
    let both = both((live, candidate), losses.together);
    let mut pair = |rate: f64, live: Part, candidate: Part| {
        cell(&mut cells, ComesBy::Copies, pairs * rate, move |series: &mut Series<PairedParts, Parts>, n| {
            series.pairs.count(Arms { candidate, live }, n);
        });
    };
    pair(1.0 - live.max(candidate), right, right);
    pair(both, wrong, wrong);
    pair(live - both, wrong, none);
    pair(candidate - both, none, wrong);
    let mut arm = |comes_by: ComesBy,
                   per_second: f64,
                   loss: f64,
                   arm: fn(&mut Series<PairedParts, Parts>, Option<Odds>) -> Option<&mut Parts>,
                   odds| {
        for (part, rate) in [(wrong, loss), (right, 1.0 - loss)] {
            cell(&mut cells, comes_by, per_second * rate, move |series, n| {
                if let Some(parts) = arm(series, odds) {
                    parts.count(part, n);
                }
            });
        }
    };
    let shadowed = traffic.requests_per_second * (1.0 - reach.weight.fraction()) * reach.sample * counted;
    arm(ComesBy::Copies, shadowed, candidate, |series, _| Some(&mut series.alone), None);
    if let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) {
        let odds = Some(odds);
        arm(
            ComesBy::Arms,
            of_candidate * counted,
            candidate,
            |series, odds| Some(&mut series.requests.at(odds?).candidate),
            odds,
        );
        arm(
            ComesBy::Arms,
            of_live * counted,
            live,
            |series, odds| Some(&mut series.requests.at(odds?).live),
            odds,
        );
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: losses whose spread exceeds their mean varied too little in a forecast, so that a plan seemed to decide sooner than it does. Cause: the
    /// lower of two equally likely values was cut off at 0. Fix: it is 0, and the higher one is as far off and as seldom as the spread asks for.
    #[test]
    fn two_places_have_the_mean_and_the_spread_that_they_are_to_have() {
        for (mean, spread) in [(0.04, 0.12), (0.1, 0.15), (0.3, 0.35), (0.9, 0.15), (0.97, 0.14), (0.5, 0.2)]
        {
            let (low, high, chance) = two_places(mean, spread);
            assert!(0 <= low && low < high && high <= Scores::STEPS, "{mean} {spread}: {low} {high}");
            let [low, high] = [low, high].map(Scores::at);
            let seen = low + chance * (high - low);
            let varies = (chance * (1.0 - chance)).sqrt() * (high - low);
            assert!((seen - mean).abs() < 1e-12, "{mean} {spread}: {seen}");
            assert!((varies / spread - 1.0).abs() < 0.05, "{mean} {spread}: {varies}");
        }
        // As events.
        assert_eq!(two_places(0.25, 0.44), (0, Scores::STEPS, 0.25));
    }
}

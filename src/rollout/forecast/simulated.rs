//! The counts that each kind of test makes of simulated traffic.

use super::reach::Reach;
use super::traffic::{Moments, Traffic};
use crate::rollout::guard::design::{Design, Margin};
use crate::rollout::guard::history::Series;
use crate::rollout::guard::numbers::written;
use crate::rollout::guard::tested::Tested;
use crate::stats::sequential::{
    Additive, Events, HiddenEvents, Odds, PairedEvents, PairedParts, Part, Parts, Scores, Values,
};

/// The losses of both versions, on average, if the candidate is so many times as far off as the margin; 0 for as good
/// as live.
pub(crate) struct Losses {
    live: f64,
    candidate: f64,
    /// The standard deviation of what is not an event.
    spread: f64,
    /// The share of units that count.
    counted: f64,
    /// The share of these on which one of two equally good versions alone is off.
    discordant: f64,
}

impl Design {
    /// With what live is known to be like, as a rollout fixes it when it begins.
    pub(crate) fn centred_on(&self, traffic: &Traffic) -> Self {
        let fixed = !matches!(
            self.tested,
            Tested::Slow(_)
                | Tested::KpiSuccesses(_)
                | Tested::KpiValues(_)
                | Tested::Errors
                | Tested::Differences
                | Tested::Comparisons
        );
        let centre =
            if fixed { written(self.losses(traffic, 0.0).live.clamp(0.0, 1.0)) } else { self.centre };
        Self { centre, ..self.clone() }
    }

    pub(crate) fn losses(&self, traffic: &Traffic, size: f64) -> Losses {
        let (live, spread, counted, discordant) = match self.tested {
            Tested::Failures => (traffic.error_rate, 0.0, 1.0, traffic.discordant_failures),
            Tested::Slow(_) => (self.quantile_missed(), 0.0, 1.0, self.quantile_missed()),
            Tested::Wrong | Tested::WrongWithHidden => {
                (traffic.wrong, 0.0, traffic.labelled, traffic.discordant)
            }
            Tested::Missed => (traffic.missed, 0.0, traffic.labelled * traffic.positives, traffic.missed),
            // Matched with one of another input, so whether one is wrong says nothing of the other.
            Tested::FalseAlarms | Tested::FalseAlarmsInArms => {
                let alarms = traffic.false_alarms;
                let discordant = 2.0 * alarms * (1.0 - alarms);
                (alarms, 0.0, traffic.labelled * traffic.called_yes, discordant)
            }
            Tested::F1 => {
                let missed = traffic.positives * traffic.missed;
                let alarms = traffic.called_yes * traffic.false_alarms;
                let right = traffic.positives - missed;
                let all = (2.0 * right + missed + alarms).max(1e-9);
                (
                    (missed + alarms) / all,
                    0.0,
                    traffic.labelled * (right + missed + alarms),
                    (missed + alarms) / all,
                )
            }
            Tested::Loss(place) => {
                let usual = Moments { mean: 0.1, standard_deviation: 0.2 };
                let Moments { mean, standard_deviation: spread } =
                    traffic.losses.get(place).copied().unwrap_or(usual);
                (mean, spread, traffic.labelled, 0.0)
            }
            Tested::Errors => (traffic.errors.mean, traffic.errors.standard_deviation, traffic.labelled, 0.0),
            Tested::Kpi(place) | Tested::KpiValues(place) | Tested::KpiSuccesses(place) => {
                let usual = Moments { mean: 0.5, standard_deviation: 0.5 };
                let Moments { mean, standard_deviation: spread } =
                    traffic.kpis.get(place).copied().unwrap_or(usual);
                let loss = if self.reads_gain() && matches!(self.tested, Tested::Kpi(_)) {
                    1.0 - mean
                } else {
                    mean
                };
                (loss, spread, traffic.labelled, 0.0)
            }
            Tested::Differences | Tested::Comparisons => (traffic.differing, 0.1, 1.0, 0.0),
        };
        let candidate = match self.margin {
            _ if size == 0.0 && matches!(self.tested, Tested::Slow(_)) => {
                traffic.slower(1.0 - self.tail, self.factor)
            }
            _ if size == 0.0 => live,
            // Slower by a factor, all of it: what live's times say of that, and not so many times as many slow ones.
            Margin::Times(_) if matches!(self.tested, Tested::Slow(_)) => {
                traffic.slower(1.0 - self.tail, self.factor / (1.0 + size * (self.factor - 1.0)))
            }
            Margin::Above(margin) => live + size * margin,
            Margin::Times(times) => {
                let off = if times == 1.0 { size } else { 1.0 + size * (times - 1.0) };
                (live * off).max(self.floor.unwrap_or(0.0) * size)
            }
            Margin::AtLeastTimes(times) => live * (1.0 - size * (1.0 - times)).max(0.0),
            // As far beyond live as the limit is, so many times; of a live beyond it, as far as the limit itself.
            Margin::AtMost(limit) if live < limit => live + size * (limit - live),
            Margin::AtMost(limit) => limit * size,
        };
        Losses {
            live,
            candidate,
            spread,
            counted,
            discordant: discordant.min(2.0 * live.min(1.0 - live)).max(0.0),
        }
    }

    fn quantile_missed(&self) -> f64 {
        match self.margin {
            Margin::AtMost(limit) => limit,
            _ => self.tail,
        }
    }
}

/// The events that may come, how often a second each, and how so many of it are counted.
pub(crate) type Cells<C> = Vec<(f64, Box<dyn Fn(&mut C, u64)>)>;

fn cell<C>(cells: &mut Cells<C>, per_second: f64, count: impl Fn(&mut C, u64) + 'static) {
    if per_second > 0.0 {
        cells.push((per_second, Box::new(count)));
    }
}

pub(crate) fn events(
    design: &Design,
    losses: &Losses,
    reach: Reach,
    traffic: &Traffic,
) -> Cells<Series<PairedEvents, Events>> {
    let mut cells: Cells<Series<PairedEvents, Events>> = Vec::new();
    let Losses { live, candidate, counted, discordant, .. } = *losses;
    if design.tested == Tested::Differences {
        let pairs = reach.pairs_per_second(traffic);
        units(&mut cells, pairs, candidate, |series| &mut series.alone);
        return cells;
    }
    let pairs = match (design.tested, reach.arms_per_second(traffic)) {
        (Tested::FalseAlarmsInArms, Some((_, of_candidate, of_live))) => of_candidate.min(of_live),
        (Tested::FalseAlarmsInArms, None) => 0.0,
        _ => reach.pairs_per_second(traffic),
    };
    let pairs = pairs * counted;
    let only_live = (discordant / 2.0).max(live - candidate).min(live);
    let only_candidate = (candidate - live + only_live).max(0.0);
    cell(&mut cells, pairs * only_live, |series, n| series.pairs.only_live += n);
    cell(&mut cells, pairs * only_candidate, |series, n| series.pairs.only_candidate += n);
    cell(&mut cells, pairs * (live - only_live), |series, n| series.pairs.both += n);
    cell(&mut cells, pairs * (1.0 - live - only_candidate), |series, n| series.pairs.neither += n);
    let weight = reach.weight.fraction();
    let shadowed = traffic.requests_per_second * (1.0 - weight) * reach.sample * counted;
    units(&mut cells, shadowed, candidate, |series| &mut series.alone);
    if let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) {
        units(&mut cells, of_candidate * counted, candidate, move |series| {
            &mut series.requests.at(odds).candidate
        });
        units(&mut cells, of_live * counted, live, move |series| &mut series.requests.at(odds).live);
    }
    cells
}

/// Units that come at a rate, with the event at another.
fn units<P: 'static>(
    cells: &mut Cells<Series<P, Events>>,
    per_second: f64,
    rate: f64,
    arm: impl Fn(&mut Series<P, Events>) -> &mut Events + Copy + 'static,
) {
    cell(cells, per_second * rate.clamp(0.0, 1.0), move |series, n| {
        arm(series).merge(&Events { events: n, units: n });
    });
    cell(cells, per_second * (1.0 - rate).clamp(0.0, 1.0), move |series, n| {
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
    let only_live = (losses.discordant / 2.0).min(losses.live);
    let only_candidate = (losses.candidate - losses.live + only_live).max(0.0);
    cell(&mut cells, pairs * only_live, |series, n| series.pairs.seen.only_live += n);
    cell(&mut cells, pairs * only_candidate, |series, n| series.pairs.seen.only_candidate += n);
    cell(&mut cells, pairs * (1.0 - only_live - only_candidate), |series, n| series.pairs.seen.neither += n);
    cells
}

/// Two values with a mean and a standard deviation, as places on the lattice, and the chance of the higher one.
fn two_places(mean: f64, spread: f64) -> (i16, i16, f64) {
    let place = |x: f64| (x.clamp(0.0, 1.0) * f64::from(Scores::STEPS)).round() as i16;
    // As far apart as 0 and 1 where the spread is that of events.
    let is_event = spread * spread >= 0.95 * mean * (1.0 - mean);
    let (low, high) =
        if is_event { (0, Scores::STEPS) } else { (place(mean - spread), place(mean + spread)) };
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
    // Two versions' losses on the same input may go together, or not: what is left varies about as much as one of them. A
    // difference has twice the range.
    let difference = losses.candidate - losses.live;
    let (low, high, chance) = two_places(0.5 + difference / 2.0, 0.6 * losses.spread);
    for (place, rate) in [(low, 1.0 - chance), (high, chance)] {
        let place = 2 * place - Scores::STEPS;
        cell(&mut cells, pairs * rate, move |series, n| series.pairs.count_place(place, n));
    }
    // Counted as the host gives them.
    let given = |loss: f64| if design.turns_scores() { 1.0 - loss } else { loss };
    let mut arm = |per_second: f64,
                   loss: f64,
                   arm: fn(&mut Series<Scores, Scores>, Option<Odds>) -> Option<&mut Scores>,
                   odds| {
        let (low, high, chance) = two_places(given(loss), losses.spread);
        for (place, rate) in [(low, 1.0 - chance), (high, chance)] {
            cell(&mut cells, per_second * rate, move |series, n| {
                if let Some(scores) = arm(series, odds) {
                    scores.count_place(place, n);
                }
            });
        }
    };
    if design.tested == Tested::Comparisons {
        arm(reach.pairs_per_second(traffic), losses.candidate, |series, _| Some(&mut series.alone), None);
        return cells;
    }
    let shadowed =
        traffic.requests_per_second * (1.0 - reach.weight.fraction()) * reach.sample * losses.counted;
    if !matches!(design.tested, Tested::Kpi(_)) {
        arm(shadowed, losses.candidate, |series, _| Some(&mut series.alone), None);
    }
    if let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) {
        let odds = Some(odds);
        arm(
            of_candidate * losses.counted,
            losses.candidate,
            |s, odds| Some(&mut s.requests.at(odds?).candidate),
            odds,
        );
        arm(of_live * losses.counted, losses.live, |s, odds| Some(&mut s.requests.at(odds?).live), odds);
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
    let spread = losses.spread;
    let mean = losses.live;
    for (off, of_pairs) in [(-spread, -spread / 2.0), (spread, spread / 2.0)] {
        let pairs = reach.pairs_per_second(traffic) * losses.counted / 2.0;
        cell(&mut cells, pairs, move |series, n| series.pairs.count_times(shift + of_pairs, n));
        if let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) {
            let own = move |series: &mut Series<Values, Values>, n| {
                series.requests.at(odds).candidate.count_times(mean + shift + off, n);
            };
            cell(&mut cells, of_candidate * losses.counted / 2.0, own);
            let live = move |series: &mut Series<Values, Values>, n| {
                series.requests.at(odds).live.count_times(mean + off, n);
            };
            cell(&mut cells, of_live * losses.counted / 2.0, live);
        }
    }
    cells
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
    // Half of what is wrong is wrong in both; the rest is one version's alone.
    let both = live.min(candidate) / 2.0;
    let mut pair = |rate: f64, live: Part, candidate: Part| {
        cell(&mut cells, pairs * rate, move |series: &mut Series<PairedParts, Parts>, n| {
            series.pairs.count(live, candidate, n);
        });
    };
    pair(1.0 - live.max(candidate), right, right);
    pair(both, wrong, wrong);
    pair(live - both, wrong, none);
    pair(candidate - both, none, wrong);
    let mut arm = |per_second: f64,
                   loss: f64,
                   arm: fn(&mut Series<PairedParts, Parts>, Option<Odds>) -> Option<&mut Parts>,
                   odds| {
        for (part, rate) in [(wrong, loss), (right, 1.0 - loss)] {
            cell(&mut cells, per_second * rate, move |series, n| {
                if let Some(parts) = arm(series, odds) {
                    parts.count(part, n);
                }
            });
        }
    };
    let shadowed = traffic.requests_per_second * (1.0 - reach.weight.fraction()) * reach.sample * counted;
    arm(shadowed, candidate, |series, _| Some(&mut series.alone), None);
    if let Some((odds, of_candidate, of_live)) = reach.arms_per_second(traffic) {
        let odds = Some(odds);
        arm(
            of_candidate * counted,
            candidate,
            |series, odds| Some(&mut series.requests.at(odds?).candidate),
            odds,
        );
        arm(of_live * counted, live, |series, odds| Some(&mut series.requests.at(odds?).live), odds);
    }
    cells
}

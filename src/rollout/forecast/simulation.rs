//! Rollouts in small: what comes, as often as it usually does, until a test says something.

use std::time::Duration;

use super::reach::Reach;
use super::simulated::{Cells, events, hidden, ratios, scores, values};
use super::traffic::Traffic;
use crate::base::chance::{SplitMix64, mix};
use crate::base::share::Share;
use crate::rollout::budget::Thresholds;
use crate::rollout::guard::design::Design;
use crate::rollout::guard::evaluate::Tests;
use crate::rollout::guard::tested::Tested;
use crate::stats::sequential::test::Claim;
use crate::stats::sequential::{Additive, EValue};

/// Nothing is forecast beyond: four hundred days.
pub(crate) const HORIZON: Duration = Duration::from_secs(400 * 86_400);

/// The question that a forecast is asked.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    /// Until a candidate that is so many times as far off as the margin is taken back.
    Harm(f64),
    /// Until one that is as good as live has shown what must be shown before it is given this share.
    Equality(Share),
}

/// How a test is tried.
pub(crate) enum Simulation {
    /// Many times, for the time after which half have crossed.
    Often,
    /// Once, on what comes on average within so many seconds.
    Once(f64),
}

pub(crate) fn simulate(
    design: &Design,
    asked: Asked,
    reach: Reach,
    thresholds: Thresholds,
    traffic: &Traffic,
    how: &Simulation,
) -> Option<f64> {
    let (claim, margin, threshold, size) = match asked {
        // What the mixture over onsets gives to a harm from the start.
        Asked::Harm(size) => {
            (Claim::Harm, Some(design.margin), thresholds.harm.times(EValue::of(4.0 / 3.0)), size)
        }
        Asked::Equality(before) => (Claim::NonInferiority, design.before(before), thresholds.promotion, 0.0),
    };
    let Some(margin) = margin else { return Some(0.0) };
    let (test, tests) = ((claim, margin), Tests::default());
    let design = &design.centred_on(traffic);
    let losses = design.losses(traffic, size);
    match design.tested {
        Tested::Failures
        | Tested::Slow(_)
        | Tested::Wrong
        | Tested::Missed
        | Tested::FalseAlarms
        | Tested::FalseAlarmsInArms
        | Tested::KpiSuccesses(_)
        | Tested::Differences => {
            how.crossing(&events(design, &losses, reach, traffic), &*design.at_once(test, &tests), threshold)
        }
        Tested::Loss(_) | Tested::Kpi(_) | Tested::Comparisons => {
            how.crossing(&scores(design, &losses, reach, traffic), &*tests.scores(design, test), threshold)
        }
        Tested::Errors | Tested::KpiValues(_) => {
            how.crossing(&values(design, &losses, reach, traffic), &*tests.values(design, test), threshold)
        }
        Tested::F1 => {
            how.crossing(&ratios(design, &losses, reach, traffic), &*tests.ratios(design, test), threshold)
        }
        Tested::WrongWithHidden => {
            how.crossing(&hidden(&losses, reach, traffic), &*tests.hidden(design, test), threshold)
        }
    }
}

impl Simulation {
    fn crossing<C: Additive>(
        &self,
        cells: &Cells<C>,
        e_value: &dyn Fn(&C) -> EValue,
        threshold: EValue,
    ) -> Option<f64> {
        match self {
            Self::Often => crossing(cells, e_value, threshold),
            Self::Once(seconds) => {
                let mut counts = C::default();
                for (per_second, count) in cells {
                    count(&mut counts, (per_second * seconds).round() as u64);
                }
                (e_value(&counts) >= threshold).then_some(*seconds)
            }
        }
    }
}

/// Simulated rollouts: an odd number, so that there is one in the middle.
pub(super) const RUNS: u64 = 31;

/// How much later a test is looked at each time. The answer is as exact as that.
pub(super) const LATER: f64 = 1.08;

/// The number of seconds after which half of the simulated rollouts have crossed the threshold.
fn crossing<C: Additive>(cells: &Cells<C>, e_value: &dyn Fn(&C) -> EValue, threshold: EValue) -> Option<f64> {
    let fastest = cells.iter().map(|(per_second, _)| *per_second).fold(0.0, f64::max);
    if fastest <= 0.0 {
        return None;
    }
    let mut crossed: Vec<f64> = (0..RUNS)
        .map(|run| {
            let mut chance = SplitMix64(mix(run));
            let (mut counts, mut now) = (C::default(), 0.0);
            let mut next = 1.0 / fastest;
            while next <= HORIZON.as_secs_f64() {
                for (per_second, count) in cells {
                    let came = poisson(&mut chance, per_second * (next - now));
                    if came > 0 {
                        count(&mut counts, came);
                    }
                }
                if e_value(&counts) >= threshold {
                    // Somewhere since it was looked at last.
                    return f64::midpoint(now, next);
                }
                now = next;
                next *= LATER;
            }
            f64::INFINITY
        })
        .collect();
    crossed.sort_unstable_by(f64::total_cmp);
    crossed.get(crossed.len() / 2).copied().filter(|seconds| seconds.is_finite())
}

/// How many come where `mean` come on average: by waiting times while that is few, by the normal distribution where it is
/// many.
pub(super) fn poisson(chance: &mut SplitMix64, mean: f64) -> u64 {
    if mean < 30.0 {
        let limit = libm::exp(-mean);
        let (mut product, mut count) = (chance.uniform(), 0);
        while product > limit {
            product *= chance.uniform();
            count += 1;
        }
        return count;
    }
    (mean + libm::sqrt(mean) * chance.normal()).round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_has_the_mean_and_spread_that_it_should() {
        let mut chance = SplitMix64(5);
        for mean in [0.3, 12.0, 400.0] {
            let drawn: Vec<f64> = (0..20_000).map(|_| poisson(&mut chance, mean) as f64).collect();
            let average = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|x| (x - average).powi(2)).sum::<f64>() / drawn.len() as f64;
            assert!(
                (average / mean - 1.0).abs() < 0.03 && (variance / mean - 1.0).abs() < 0.05,
                "{average} {variance}"
            );
        }
    }
}

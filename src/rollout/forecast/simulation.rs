//! Rollouts in small: what comes, as often as it usually does, until a test says something.

use std::time::Duration;

use super::reach::{Coming, Reach};
use super::simulated::{Cell, Cells, events, hidden, ratios, scores, values};
use super::subject::Subject;
use super::traffic::Traffic;
use super::unknown::Assumed;
use crate::base::chance::{SplitMix64, mix};
use crate::base::share::Share;
use crate::rollout::budget::Thresholds;
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

/// A test, and what is asked of it.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) asked: Asked,
    pub(crate) reach: Reach,
    pub(crate) thresholds: Thresholds,
    /// Whether a guard of the rollout judges failures.
    pub(crate) failures_are_judged: bool,
    pub(crate) traffic: &'a Traffic,
}

/// How a test is tried.
enum Simulation {
    /// Many times, looked at once a tick, for when each has crossed.
    Often { tick: f64, assumed: Assumed },
    /// Once, on what comes on average within so many seconds.
    Once(f64),
}

impl Question<'_> {
    /// After how many seconds of traffic as it is on average each of many rollouts has its answer, the soonest first; infinity for never.
    pub(crate) fn answers(&self, tick: f64, assumed: Assumed) -> Vec<f64> {
        self.simulate(&Simulation::Often { tick, assumed })
    }

    /// Whether it has within so many, if everything comes as often as it does on average.
    pub(crate) fn is_answered_within(&self, seconds: f64) -> bool {
        self.simulate(&Simulation::Once(seconds)).first().is_some_and(|after| after.is_finite())
    }

    fn simulate(&self, how: &Simulation) -> Vec<f64> {
        let Self { subject, asked, reach, thresholds, traffic, .. } = *self;
        let coming = &|from, until| Coming::at_the_last(&[(0.0, reach)], (from, until), traffic);
        let design = &subject.centred_on(traffic);
        let (claim, margin, threshold, size) = match asked {
            Asked::Harm(size) => {
                let spent = subject.spent_elsewhere(self.failures_are_judged);
                (Claim::Harm, Some(design.margin), thresholds.harm.times(spent), size)
            }
            Asked::Equality(before) => {
                (Claim::NonInferiority, design.before(before), thresholds.promotion, 0.0)
            }
        };
        let Some(margin) = margin else { return vec![0.0] };
        let (test, tests) = ((claim, margin), Tests::default());
        let unknown = subject.unknown(traffic);
        let losses = |assumed: Assumed| subject.losses(traffic, size, unknown.value(assumed));
        match design.tested {
            Tested::Failures
            | Tested::Slow(_)
            | Tested::Wrong
            | Tested::Missed
            | Tested::FalseAlarms
            | Tested::FalseAlarmsInArms
            | Tested::KpiSuccesses(_)
            | Tested::Differences => how.crossings(
                |assumed| events(design, &losses(assumed), reach, traffic),
                &*design.at_once(test, &tests),
                threshold,
                coming,
            ),
            Tested::Loss(_) | Tested::Kpi(_) | Tested::Comparisons => how.crossings(
                |assumed| scores(design, &losses(assumed), reach, traffic),
                &*tests.scores(design, test),
                threshold,
                coming,
            ),
            Tested::Errors | Tested::KpiValues(_) => how.crossings(
                |assumed| values(design, &losses(assumed), reach, traffic),
                &*tests.values(design, test),
                threshold,
                coming,
            ),
            Tested::F1 => how.crossings(
                |assumed| ratios(design, &losses(assumed), reach, traffic),
                &*tests.ratios(design, test),
                threshold,
                coming,
            ),
            Tested::WrongWithHidden => how.crossings(
                |assumed| hidden(&losses(assumed), reach, traffic),
                &*tests.hidden(design, test),
                threshold,
                coming,
            ),
        }
    }
}

impl Simulation {
    fn crossings<C: Additive>(
        &self,
        cells: impl Fn(Assumed) -> Cells<C>,
        e_value: &dyn Fn(&C) -> EValue,
        threshold: EValue,
        coming: &dyn Fn(f64, f64) -> Coming,
    ) -> Vec<f64> {
        match *self {
            Self::Often { tick, assumed } => {
                let after = |run| {
                    let cells = cells(assumed.at(share_of(run, 0)));
                    crossing(&cells, e_value, threshold, tick, coming, &mut SplitMix64(mix(run)))
                };
                let mut crossed: Vec<f64> = (0..RUNS).map(after).collect();
                crossed.sort_unstable_by(f64::total_cmp);
                crossed
            }
            Self::Once(seconds) => {
                let mut counts = C::default();
                let coming = coming(0.0, seconds);
                for Cell { comes_by, per_second, count } in cells(Assumed::Usual) {
                    count(&mut counts, (per_second * coming.seconds(comes_by)).round() as u64);
                }
                vec![if e_value(&counts) >= threshold { seconds } else { f64::INFINITY }]
            }
        }
    }
}

/// Simulated rollouts: an odd number, so that there is one in the middle.
pub(super) const RUNS: u64 = 127;

/// How much later a test is looked at each time, once that is more than a tick. In between it is not known to when it crosses, and a
/// crossing that is over by then is missed: at 1.06 everything was 5 % later than at 1.005.
const LATER: f64 = 1.03;

/// At what share of the possible values of what is unknown a run is, so that all runs are spread over them; of each guard at
/// another.
pub(super) fn share_of(run: u64, guard: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    (0.5 + GOLDEN * (run as f64 + 17.0 * guard as f64)).fract()
}

/// When it is looked at next.
pub(super) fn next_look(now: f64, tick: f64) -> f64 {
    ((now * LATER / tick).floor() * tick).max(now + tick)
}

/// A tick after one moment and until another.
pub(super) fn some_tick(after: f64, until: f64, tick: f64, chance: &mut SplitMix64) -> f64 {
    let ticks = ((until - after) / tick).round();
    if ticks <= 1.0 { until } else { until - tick * (chance.uniform() * ticks).floor() }
}

/// The number of seconds after which a simulated rollout has crossed the threshold.
fn crossing<C: Additive>(
    cells: &Cells<C>,
    e_value: &dyn Fn(&C) -> EValue,
    threshold: EValue,
    tick: f64,
    coming: &dyn Fn(f64, f64) -> Coming,
    chance: &mut SplitMix64,
) -> f64 {
    let fastest = cells.iter().map(|cell| cell.per_second).fold(0.0, f64::max);
    if fastest <= 0.0 {
        return f64::INFINITY;
    }
    let (mut counts, mut now) = (C::default(), 0.0);
    let mut next = (1.0 / fastest / tick).ceil() * tick;
    while next <= HORIZON.as_secs_f64() {
        let coming = coming(now, next);
        for cell in cells {
            let came = poisson(chance, cell.per_second * coming.seconds(cell.comes_by));
            if came > 0 {
                (cell.count)(&mut counts, came);
            }
        }
        if e_value(&counts) >= threshold {
            return some_tick(now, next, tick, chance);
        }
        (now, next) = (next, next_look(next, tick));
    }
    f64::INFINITY
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

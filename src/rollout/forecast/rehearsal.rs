//! A whole plan in small: what its guards count goes from step to step, as it does in a rollout.

use std::time::Duration;

use super::reach::Reach;
use super::simulated::{Cells, events, hidden, ratios, scores, values};
use super::simulation::{HORIZON, LATER, RUNS, poisson};
use super::traffic::Traffic;
use crate::base::chance::{SplitMix64, mix};
use crate::base::share::Share;
use crate::rollout::budget::Thresholds;
use crate::rollout::guard::design::Design;
use crate::rollout::guard::evaluate::{Evaluator, Tests};
use crate::rollout::guard::tested::Tested;
use crate::stats::sequential::test::Claim;
use crate::stats::sequential::{Additive, EValue};

/// A step, as a rehearsal needs it.
pub(crate) struct Stage {
    pub(crate) reach: Reach,
    /// The share that comes after it.
    pub(crate) next: Share,
    /// It does not end before, in seconds.
    pub(crate) least: f64,
}

/// One guard over all stages, whatever it counts.
trait Counting {
    /// Forgets everything, or what came before a stage.
    fn begin(&mut self, all: bool);
    /// Counts what comes at a stage in so many seconds of the usual traffic.
    fn come(&mut self, stage: usize, fresh: bool, seconds: f64, chance: &mut SplitMix64);
    /// Whether the guard passes at a stage.
    fn passes(&self, stage: usize) -> bool;
}

struct Counted<C> {
    counts: C,
    /// The counts since the exposure last changed: all that a promotion rests on.
    fresh: C,
    stages: Vec<CountedStage<C>>,
    threshold: EValue,
}

struct CountedStage<C> {
    cells: Cells<C>,
    /// Nothing where no candidate could be worse than what is asked.
    test: Option<Evaluator<C>>,
    promotes: bool,
}

impl<C: Additive> Counting for Counted<C> {
    fn begin(&mut self, all: bool) {
        self.fresh = C::default();
        if all {
            self.counts = C::default();
        }
    }

    fn come(&mut self, stage: usize, fresh: bool, seconds: f64, chance: &mut SplitMix64) {
        let Some(CountedStage { cells, .. }) = self.stages.get(stage) else { return };
        for (per_second, count) in cells {
            let came = poisson(chance, per_second * seconds);
            if came > 0 {
                count(&mut self.counts, came);
                if fresh {
                    count(&mut self.fresh, came);
                }
            }
        }
    }

    fn passes(&self, stage: usize) -> bool {
        let Some(CountedStage { test: Some(test), promotes, .. }) = self.stages.get(stage) else {
            return true;
        };
        test(if *promotes { &self.fresh } else { &self.counts }) >= self.threshold
    }
}

/// A guard whose candidate is as good as live.
pub(crate) struct Guarded {
    counting: Box<dyn Counting>,
    /// How old a prediction is when it counts, in seconds.
    delay: f64,
    /// Whether it has anything to show, stage by stage.
    shows: Vec<bool>,
}

impl Guarded {
    pub(crate) fn new(design: &Design, stages: &[Stage], thresholds: Thresholds, traffic: &Traffic) -> Self {
        let design = &design.centred_on(traffic);
        let losses = design.losses(traffic, 0.0);
        let tests = Tests::default();
        let shows: Vec<bool> = stages.iter().map(|stage| stage.reach.shows(design)).collect();
        macro_rules! counted {
            ($cells:expr, $test:expr) => {{
                let each = |stage: &Stage| {
                    let margin = design.before(stage.next).filter(|_| stage.reach.shows(design));
                    let test = margin.map(|margin| $test((Claim::NonInferiority, margin)));
                    CountedStage { cells: $cells(stage.reach), test, promotes: stage.next == Share::ALL }
                };
                let stages = stages.iter().map(each).collect();
                let threshold = thresholds.promotion;
                Box::new(Counted { counts: Default::default(), fresh: Default::default(), stages, threshold })
            }};
        }
        let counting: Box<dyn Counting> = match design.tested {
            Tested::Failures
            | Tested::Slow(_)
            | Tested::Wrong
            | Tested::Missed
            | Tested::FalseAlarms
            | Tested::FalseAlarmsInArms
            | Tested::KpiSuccesses(_)
            | Tested::Differences => {
                counted!(|reach| events(design, &losses, reach, traffic), |test| design.at_once(test, &tests))
            }
            Tested::Loss(_) | Tested::Kpi(_) | Tested::Comparisons => {
                counted!(|reach| scores(design, &losses, reach, traffic), |test| tests.scores(design, test))
            }
            Tested::Errors | Tested::KpiValues(_) => {
                counted!(|reach| values(design, &losses, reach, traffic), |test| tests.values(design, test))
            }
            Tested::F1 => {
                counted!(|reach| ratios(design, &losses, reach, traffic), |test| tests.ratios(design, test))
            }
            Tested::WrongWithHidden => {
                counted!(|reach| hidden(&losses, reach, traffic), |test| tests.hidden(design, test))
            }
        };
        let delay = if design.needs_labels() { traffic.labels_after.as_secs_f64() } else { 0.0 };
        Self { counting, delay, shows }
    }
}

/// The outcome of all rehearsals.
pub(crate) struct Rehearsed {
    /// How long each stage lasted, run by run; infinity where a guard did not pass in time.
    pub(crate) lasted: Vec<Vec<f64>>,
    /// How long each guard took in each stage: by stage, guard, and run.
    pub(crate) passed: Vec<Vec<Vec<f64>>>,
    /// How long all of it took.
    pub(crate) whole: Vec<f64>,
}

/// Goes through all stages some dozen times.
///
/// A stage ends at the first tick at which it has lasted as long as it must and every guard passes. What was counted stays:
/// labels of one stage are evidence in the next, but for the promotion, which rests on what came since the exposure last
/// changed. A guard that does not pass in time ends nothing: the next stage begins all the same, so that it is
/// known what the others take there.
pub(crate) fn rehearse(guards: &mut [Guarded], stages: &[Stage], traffic: &Traffic, tick: f64) -> Rehearsed {
    let mut told = Rehearsed {
        lasted: vec![Vec::new(); stages.len()],
        passed: vec![vec![Vec::new(); guards.len()]; stages.len()],
        whole: Vec::new(),
    };
    for run in 0..RUNS {
        let mut chance = SplitMix64(mix(run));
        let (mut now, mut stuck) = (0.0, false);
        let mut begun: Vec<f64> = Vec::new();
        let mut counted = vec![0.0; guards.len()];
        guards.iter_mut().for_each(|guard| guard.counting.begin(true));
        for (place, stage) in stages.iter().enumerate() {
            begun.push(now);
            guards.iter_mut().for_each(|guard| guard.counting.begin(false));
            let mut after = vec![f64::INFINITY; guards.len()];
            // As soon as anything can be told, and then ever more seldom.
            let mut since = (1.0 / traffic.requests_per_second.max(1e-9)).max(stage.least / 64.0);
            loop {
                for (which, guard) in guards.iter_mut().enumerate() {
                    let until = (now + since - guard.delay).max(0.0);
                    come(guard, &begun, (counted[which], until), traffic, &mut chance);
                    counted[which] = until.max(counted[which]);
                    if after[which].is_infinite() && (!guard.shows[place] || guard.counting.passes(place)) {
                        after[which] = if guard.shows[place] { since } else { 0.0 };
                    }
                }
                if since >= stage.least && after.iter().all(|after| after.is_finite()) {
                    break;
                }
                if now + since > HORIZON.as_secs_f64() {
                    stuck = true;
                    since = stage.least;
                    break;
                }
                // It is looked at as soon as it may be over.
                since = if since < stage.least { (since * LATER).min(stage.least) } else { since * LATER };
            }
            // A tick sees what came until then, and what it decides holds for what comes afterwards.
            since = (since / tick).ceil() * tick + tick;
            let over = after.iter().all(|after| after.is_finite());
            told.lasted[place].push(if over { since } else { f64::INFINITY });
            after.into_iter().enumerate().for_each(|(which, after)| told.passed[place][which].push(after));
            now += since;
        }
        told.whole.push(if stuck { f64::INFINITY } else { now });
    }
    told
}

/// Simulates what comes between two moments, at the stages that were then.
fn come(
    guard: &mut Guarded,
    begun: &[f64],
    (from, until): (f64, f64),
    traffic: &Traffic,
    chance: &mut SplitMix64,
) {
    for (place, begins) in begun.iter().enumerate() {
        let ends = begun.get(place + 1).copied().unwrap_or(f64::INFINITY);
        let (from, until) = (from.max(*begins), until.min(ends));
        if from < until {
            guard.counting.come(place, place + 1 == begun.len(), traffic.usual_seconds(from, until), chance);
        }
    }
}

/// The value below which so great a share of them is; nothing where that is none.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (share * (sorted.len().max(1) - 1) as f64).round() as usize;
    sorted.get(place).and_then(|seconds| Duration::try_from_secs_f64(*seconds).ok())
}

//! A whole plan in small: what its guards count goes from step to step, as it does in a rollout.

use std::sync::Arc;
use std::time::Duration;

use super::reach::{Coming, Reach};
use super::simulated::{Cells, events, hidden, ratios, scores, values};
use super::simulation::{HORIZON, RUNS, next_look, poisson, share_of, some_tick};
use super::subject::{Losses, Subject};
use super::traffic::Traffic;
use super::unknown::Assumed;
use crate::base::chance::{SplitMix64, mix};
use crate::base::share::Share;
use crate::rollout::budget::Thresholds;
use crate::rollout::guard::design::{Design, Uses};
use crate::rollout::guard::evaluate::{Evaluator, Tests};
use crate::rollout::guard::history::Series;
use crate::rollout::guard::tested::Tested;
use crate::stats::sequential::test::Claim;
use crate::stats::sequential::{Additive, Asymptotic, EValue, Values};

/// A step, as a rehearsal needs it.
pub(crate) struct Stage {
    pub(crate) reach: Reach,
    /// The share that comes after it.
    pub(crate) next: Share,
    /// What it asks for has come after so many seconds of the usual traffic.
    pub(crate) asked: f64,
    /// It does not end before, in seconds.
    pub(crate) least: f64,
    /// It is given up where it is not decided before, in seconds.
    pub(crate) allowed: f64,
}

/// One guard over all stages, whatever it counts.
trait Counting {
    /// Forgets everything, and takes another value for what is unknown.
    fn begin(&mut self, assumed: Assumed);
    /// Forgets what came before a stage, where that does not count.
    fn begin_stage(&mut self);
    /// Counts what comes at a stage.
    fn come(&mut self, stage: usize, fresh: bool, coming: Coming, chance: &mut SplitMix64);
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
    /// What comes, given what is taken for the unknown.
    expected: Box<dyn Fn(Assumed) -> Cells<C>>,
    cells: Cells<C>,
    /// Nothing where no candidate could be worse than what is asked.
    test: Option<Evaluator<C>>,
    promotes: bool,
}

impl<C: Additive> Counting for Counted<C> {
    fn begin(&mut self, assumed: Assumed) {
        (self.counts, self.fresh) = (C::default(), C::default());
        self.stages.iter_mut().for_each(|stage| stage.cells = (stage.expected)(assumed));
    }

    fn begin_stage(&mut self) {
        self.fresh = C::default();
    }

    fn come(&mut self, stage: usize, fresh: bool, coming: Coming, chance: &mut SplitMix64) {
        let Some(CountedStage { cells, .. }) = self.stages.get(stage) else { return };
        for cell in cells {
            let came = poisson(chance, cell.per_second * coming.seconds(cell.comes_by));
            if came > 0 {
                (cell.count)(&mut self.counts, came);
                if fresh {
                    (cell.count)(&mut self.fresh, came);
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
    pub(crate) fn new(
        subject: &Subject,
        stages: &[Stage],
        thresholds: Thresholds,
        traffic: &Traffic,
    ) -> Self {
        let design = &subject.centred_on(traffic);
        let unknown = subject.unknown(traffic);
        let tests = Tests::default();
        let shows: Vec<bool> = stages.iter().map(|stage| stage.reach.shows(design)).collect();
        macro_rules! counted {
            ($cells:expr, $test:expr) => {{
                let each = |stage: &Stage| {
                    let margin = design.before(stage.next).filter(|_| stage.reach.shows(design));
                    let promotes = stage.next == Share::ALL;
                    let test = margin.map(|margin| $test((Claim::NonInferiority, margin), promotes));
                    let (subject, unknown, traffic) = (subject.clone(), unknown.clone(), traffic.clone());
                    let (design, reach) = (design.clone(), stage.reach);
                    let expected = move |assumed| {
                        let losses = subject.losses(&traffic, 0.0, unknown.value(assumed));
                        $cells(&design, &losses, reach, &traffic)
                    };
                    CountedStage { expected: Box::new(expected), cells: Cells::new(), test, promotes }
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
            | Tested::Differences => counted!(events, |test, _| design.at_once(test, &tests)),
            Tested::Loss(_) | Tested::Kpi(_) | Tested::Comparisons => {
                counted!(scores, |test, _| tests.scores(design, test))
            }
            Tested::Errors | Tested::KpiValues(_) => {
                counted!(values, |test, promotes| enough(design, promotes, tests.values(design, test)))
            }
            Tested::F1 => counted!(ratios, |test, _| tests.ratios(design, test)),
            Tested::WrongWithHidden => {
                let cells =
                    |_: &Design, losses: &Losses, reach, traffic: &Traffic| hidden(losses, reach, traffic);
                counted!(cells, |test, _| tests.hidden(design, test))
            }
        };
        let delay = if design.needs_labels() { traffic.labels_after.as_secs_f64() } else { 0.0 };
        Self { counting, delay, shows }
    }
}

/// The test of a figure without bounds promotes once there are enough events of both versions, and not before.
fn enough(
    design: &Design,
    promotes: bool,
    test: Evaluator<Series<Values, Values>>,
) -> Evaluator<Series<Values, Values>> {
    let asked = promotes && matches!(design.tested, Tested::KpiValues(_)) && design.uses == Uses::Arms;
    if !asked {
        return test;
    }
    Arc::new(move |series| {
        if Asymptotic::events(&[&series.requests]) < Asymptotic::EVENTS { EValue::ONE } else { test(series) }
    })
}

/// The outcome of all rehearsals.
pub(crate) struct Rehearsed {
    /// How long each stage lasted, run by run; infinity where a guard did not pass in time.
    pub(crate) lasted: Vec<Vec<f64>>,
    /// After how long each had all that it asks for and every guard had passed, so that it waited for time alone: in seconds, and in those of the
    /// usual traffic.
    pub(crate) decided: Vec<Vec<f64>>,
    pub(crate) decided_usual: Vec<Vec<f64>>,
    /// How long each guard took in each stage: by stage, guard, and run.
    pub(crate) passed: Vec<Vec<Vec<f64>>>,
    /// How long all of it took.
    pub(crate) whole: Vec<f64>,
}

/// Goes through all stages some dozen times.
///
/// A stage ends at the first tick at which it has lasted as long as it must and all guards pass at once. What was counted stays:
/// labels of one stage are evidence in the next, but for the promotion, which rests on what came since the exposure last
/// changed. A guard that does not pass in time ends nothing: the next stage begins all the same, so that it is
/// known what the others take there.
pub(crate) fn rehearse(
    guards: &mut [Guarded],
    stages: &[Stage],
    traffic: &Traffic,
    tick: f64,
    assumed: Assumed,
) -> Rehearsed {
    let mut told = Rehearsed {
        lasted: vec![Vec::new(); stages.len()],
        decided: vec![Vec::new(); stages.len()],
        decided_usual: vec![Vec::new(); stages.len()],
        passed: vec![vec![Vec::new(); guards.len()]; stages.len()],
        whole: Vec::new(),
    };
    for run in 0..RUNS {
        let mut chance = SplitMix64(mix(run));
        let (mut now, mut stuck) = (0.0, false);
        let mut begun: Vec<f64> = Vec::new();
        let mut counted = vec![0.0; guards.len()];
        for (which, guard) in guards.iter_mut().enumerate() {
            guard.counting.begin(assumed.at(share_of(run, which)));
        }
        for (place, stage) in stages.iter().enumerate() {
            begun.push(now);
            guards.iter_mut().for_each(|guard| guard.counting.begin_stage());
            let mut after = vec![f64::INFINITY; guards.len()];
            // As soon as anything can be told.
            let first = (1.0 / traffic.requests_per_second.max(1e-9))
                .max(stage.least.min(stage.allowed).min(HORIZON.as_secs_f64()) / 64.0);
            let (mut before, mut since) = (0.0, (first / tick).ceil() * tick);
            let mut decided = f64::INFINITY;
            let lasted = loop {
                let mut all = true;
                for (which, guard) in guards.iter_mut().enumerate() {
                    let until = (now + since - guard.delay).max(0.0);
                    come(guard, stages, &begun, (counted[which], until), traffic, &mut chance);
                    counted[which] = until.max(counted[which]);
                    let passes = !guard.shows[place] || guard.counting.passes(place);
                    all &= passes;
                    if passes && after[which].is_infinite() {
                        let shown = some_tick(before, since, tick, &mut chance);
                        after[which] = if guard.shows[place] { shown } else { 0.0 };
                    }
                }
                if all && since >= stage.asked && decided.is_infinite() {
                    // As soon as it may have been.
                    decided = before.max(stage.asked);
                }
                if all && since >= stage.least {
                    break some_tick(before.max(stage.least - tick), since, tick, &mut chance);
                }
                if now + since > HORIZON.as_secs_f64() {
                    stuck = true;
                    break f64::INFINITY;
                }
                // It is looked at as soon as it may be over.
                let next = next_look(since, tick);
                before = since;
                since = if since < stage.least { next.min((stage.least / tick).ceil() * tick) } else { next };
            };
            told.lasted[place].push(lasted);
            let usual = if decided.is_finite() { traffic.usual_seconds(now, now + decided) } else { decided };
            told.decided[place].push(decided);
            told.decided_usual[place].push(usual);
            after.into_iter().enumerate().for_each(|(which, after)| told.passed[place][which].push(after));
            // One that ends beyond all that is looked at takes no time from the next.
            now += if lasted.is_finite() {
                lasted
            } else if stage.least < HORIZON.as_secs_f64() {
                stage.least
            } else {
                0.0
            };
            // It was looked at a little later than it was over: what came since then belongs to the next.
            for (counted, guard) in counted.iter_mut().zip(guards.iter()) {
                *counted = f64::min(*counted, (now - guard.delay).max(0.0));
            }
        }
        told.whole.push(if stuck { f64::INFINITY } else { now });
    }
    told
}

/// Simulates what comes between two moments, at the stages that were then.
fn come(
    guard: &mut Guarded,
    stages: &[Stage],
    begun: &[f64],
    (from, until): (f64, f64),
    traffic: &Traffic,
    chance: &mut SplitMix64,
) {
    let usual = |at| traffic.usual_seconds(0.0, at);
    let known: Vec<_> = begun.iter().zip(stages).map(|(begun, stage)| (usual(*begun), stage.reach)).collect();
    for (place, begins) in begun.iter().enumerate() {
        let ends = begun.get(place + 1).copied().unwrap_or(f64::INFINITY);
        let (from, until) = (from.max(*begins), until.min(ends));
        if let Some(so_far) = known.get(..=place)
            && from < until
        {
            let coming = Coming::at_the_last(so_far, (usual(from), usual(until)), traffic);
            guard.counting.come(place, place + 1 == begun.len(), coming, chance);
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

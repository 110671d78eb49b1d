//! How long a plan takes to decide, before anything runs.
//!
//! The tests themselves are asked: requests and labels as they usually come are simulated some dozen times, from a fixed
//! seed, until a test says something. So whatever a test's mixture costs, and however its evidence fluctuates, is in the
//! answer.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::design::{Design, Margin, Tests};
use super::guard::history::Series;
use super::guard::{Guard, Rule, Tested, Thresholds};
use super::plan::{Exposed, Plan};
use crate::dice::mix;
use crate::share::Share;
use crate::stats::evidence::{LOG_LOSS_MAX, losses};
use crate::stats::sequential::{
    Additive, Claim, EValue, Events, HiddenEvents, Odds, PairedEvents, PairedParts, Part, Parts, Scores,
    Values,
};
use crate::stats::tally::Tally;
use crate::stats::{Metric, QualityFigures};
use crate::task::Kpi;

/// Traffic as it usually is: what a forecast rests on.
///
/// [`ModelHandle::traffic`](crate::ModelHandle::traffic) measures it on live; a host that knows better says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests a second.
    pub requests_per_second: f64,
    /// The share of predictions whose truth becomes known.
    pub labelled: f64,
    /// How old a prediction is when its label is evidence.
    pub labels_after: Duration,
    /// The share of requests on which live fails.
    pub error_rate: f64,
    /// The share of answers that are wrong.
    pub wrong: f64,
    /// The share of predictions that turn out to be yes.
    pub positives: f64,
    /// Of these, the share that is not called so.
    pub missed: f64,
    /// The share of predictions that are called yes.
    pub called_yes: f64,
    /// Of these, the share that is not.
    pub false_alarms: f64,
    /// The share of inputs that one of two equally good versions gets wrong and the other right: what makes pairs tell.
    /// Half of what live gets wrong unless known.
    pub discordant: f64,
    /// Mean and standard deviation of losses between 0 and 1, by the task's figures.
    pub losses: Vec<(f64, f64)>,
    /// Mean and standard deviation of each business figure, between its bounds where it has any.
    pub kpis: Vec<(f64, f64)>,
    /// Mean and standard deviation of absolute errors.
    pub errors: (f64, f64),
    /// How long live takes: shares of requests, and the time in seconds that they do not exceed; in order.
    pub latency: Vec<(f64, f64)>,
}

impl Traffic {
    /// The share of requests that take longer than `factor` times the quantile `quantile`.
    fn slower(&self, quantile: f64, factor: f64) -> f64 {
        let tail = 1.0 - quantile;
        // Where nothing is known, a tail that is usual for services: twice as long an eighth as often.
        let usual = tail * libm::pow(factor.max(1e-3), -3.0).min(1.0 / tail.max(1e-9));
        let at = |share: f64| self.latency.iter().find(|(of, _)| *of >= share).map(|(_, seconds)| *seconds);
        let Some(limit) = at(quantile).map(|seconds| seconds * factor) else { return usual };
        let beyond = self.latency.iter().find(|(_, seconds)| *seconds > limit);
        beyond.map_or(0.0, |(share, _)| 1.0 - share)
    }

    /// So many requests a second, of which each gets its truth at once, from a live that never fails and is right nine
    /// times in ten. Say what is different.
    pub fn new(requests_per_second: f64) -> Self {
        Self {
            requests_per_second,
            labelled: 1.0,
            labels_after: Duration::ZERO,
            error_rate: 0.0,
            wrong: 0.1,
            positives: 0.5,
            missed: 0.1,
            called_yes: 0.5,
            false_alarms: 0.1,
            discordant: 0.05,
            losses: Vec::new(),
            kpis: Vec::new(),
            errors: (0.0, 1.0),
            latency: Vec::new(),
        }
    }
}

/// The shares of requests whose latency a forecast knows.
const LATENCY_SHARES: [f64; 18] = [
    0.1, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 0.999,
    0.9999,
];

impl Tally {
    /// Traffic as a live version has seen it. `matured` is the share of predictions that are old enough for their truth to
    /// be known.
    pub(crate) fn traffic(
        &self,
        requests_per_second: f64,
        matured: f64,
        labels_after: Duration,
        kpis: &[Kpi],
    ) -> Traffic {
        let figures = self.figures(kpis);
        let known = figures.outcomes as f64 / (figures.requests.max(1) as f64 * matured);
        let mut traffic = Traffic { labels_after, ..Traffic::new(requests_per_second) };
        traffic.error_rate = figures.error_rate.unwrap_or(0.0);
        if figures.outcomes > 0 {
            traffic.labelled = known.min(1.0);
        }
        let measure = |metric| self.measure(metric).map(|measured| measured.value);
        if let Some(accuracy) = measure(Metric::Accuracy) {
            traffic.wrong = 1.0 - accuracy;
            traffic.discordant = traffic.wrong / 2.0;
        }
        if let Some(QualityFigures::Binary(binary)) = &figures.quality {
            let all = binary.outcomes.max(1) as f64;
            let yes = binary.true_positives + binary.false_negatives + binary.unanswered_positives;
            traffic.positives = yes as f64 / all;
            traffic.called_yes = (binary.true_positives + binary.false_positives) as f64 / all;
            traffic.missed = binary.recall.map_or(traffic.missed, |recall| 1.0 - recall);
            traffic.false_alarms = binary.precision.map_or(traffic.false_alarms, |precision| 1.0 - precision);
        }
        // No spread is kept of these: half of the largest that their mean allows is usual.
        let usual = |mean: f64| (mean, 0.5 * (mean * (1.0 - mean)).max(0.0).sqrt());
        traffic.losses = losses(self.kind())
            .iter()
            .map(|metric| {
                let value = measure(*metric).unwrap_or(0.1);
                let loss = match metric {
                    Metric::Brier => value,
                    Metric::LogLoss => value / LOG_LOSS_MAX,
                    _ => 1.0 - value,
                };
                usual(loss.clamp(0.0, 1.0))
            })
            .collect();
        let errors = measure(Metric::Mae).unwrap_or(0.0);
        traffic.errors = (
            errors,
            measure(Metric::Rmse).map_or(errors, |rmse| (rmse * rmse - errors * errors).max(0.0).sqrt()),
        );
        traffic.kpis = kpis
            .iter()
            .zip(&figures.kpis)
            .map(|(kpi, seen)| {
                let (low, high) = kpi.bounds().unwrap_or((0.0, 1.0));
                let scaled = |value: f64| (value - low) / (high - low);
                let mean = seen.mean.map_or(0.5, scaled);
                (mean, seen.standard_deviation.map_or(0.5, |spread| spread / (high - low)))
            })
            .collect();
        let known = LATENCY_SHARES
            .iter()
            .filter_map(|share| Some((*share, self.latency().quantile(*share)?.as_secs_f64())));
        traffic.latency = known.collect();
        // A business figure has its own share of outcomes.
        let valued = figures.kpis.iter().map(|kpi| kpi.outcomes).max().unwrap_or(0) as f64;
        if figures.outcomes == 0 && valued > 0.0 {
            traffic.labelled = (valued / (figures.requests.max(1) as f64 * matured)).min(1.0);
        }
        traffic
    }
}

/// How long a plan takes to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forecast {
    /// The plan's steps, in their order.
    pub steps: Vec<StepForecast>,
    /// From the first step to the promotion of a candidate that is as good as live; nothing where it would take longer
    /// than [`HORIZON`](Self::HORIZON), or than the plan allows.
    pub promoted_after: Option<Duration>,
    /// Why the plan cannot be decided, guard by guard; empty where it can.
    pub undecidable: Vec<String>,
}

/// How long one step takes to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepForecast {
    /// How the candidate is exposed.
    pub exposed: Exposed,
    /// Guard by guard.
    pub guards: Vec<GuardForecast>,
    /// How long the step lasts, if the candidate is as good as live; nothing where a guard would not have passed within
    /// [`Forecast::HORIZON`].
    pub lasts: Option<Duration>,
}

/// How long one guard takes to decide in one step: half of the time sooner, half of the time later. The age at which
/// labels become evidence is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuardForecast {
    /// The guard.
    pub guard: String,
    /// Until a candidate that is twice as far off as the guard allows is taken back.
    pub harm_after: Option<Duration>,
    /// Until a candidate that is as good as live has shown what the next step asks for.
    pub shown_after: Option<Duration>,
}

impl Forecast {
    /// Nothing is forecast beyond: four hundred days.
    pub const HORIZON: Duration = Duration::from_secs(400 * 86_400);
}

/// In a sentence or two.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = self.undecidable.first() {
            return write!(f, "the plan cannot be decided: {reason}");
        }
        match self.promoted_after {
            Some(after) => write!(f, "a candidate as good as live is promoted after about {}", Span(after))?,
            None => {
                f.write_str("a candidate as good as live is not promoted in the time that the plan allows")?
            }
        }
        let harm = self.steps.iter().filter_map(|step| {
            let seen = step.guards.iter().filter_map(|guard| Some((guard.harm_after?, guard.guard.as_str())));
            seen.max_by_key(|(after, _)| *after)
        });
        // The step in which it is seen soonest is where it is seen.
        match harm.min_by_key(|(after, _)| *after) {
            Some((after, guard)) => {
                write!(
                    f,
                    "; one that is off by twice what is allowed is seen within about {} (\"{guard}\")",
                    Span(after)
                )
            }
            None => Ok(()),
        }
    }
}

/// A length of time, for people: `3.2 days`.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let (number, unit) = match seconds {
            0.0..120.0 => (seconds, "seconds"),
            120.0..7_200.0 => (seconds / 60.0, "minutes"),
            7_200.0..172_800.0 => (seconds / 3_600.0, "hours"),
            _ => (seconds / 86_400.0, "days"),
        };
        if number < 10.0 { write!(f, "{number:.1} {unit}") } else { write!(f, "{number:.0} {unit}") }
    }
}

/// How a candidate is exposed, for a forecast.
#[derive(Clone, Copy)]
pub(crate) struct Exposure {
    /// The share of live's requests that are copied to it.
    sample: f64,
    /// The share of requests that it answers.
    weight: Share,
    /// The share of these that live shadows.
    reversed: f64,
}

impl Exposure {
    pub(crate) fn of(exposed: Exposed, sample_before: Share, pairs: bool) -> Self {
        // As the controller exposes it: a canary keeps the shadow's sample, and live shadows at least a tenth of it.
        match exposed {
            Exposed::Shadow { sample } => {
                Self { sample: sample.fraction(), weight: Share::NONE, reversed: 0.0 }
            }
            Exposed::Canary { weight } => {
                let sample = if pairs { sample_before.fraction() } else { 0.0 };
                Self { sample, weight, reversed: if pairs { sample.max(0.1) } else { 0.0 } }
            }
        }
    }
}

/// Forecasts a plan for rules whose tests are known.
pub(crate) fn forecast(
    rules: &[(Rule, Design)],
    plan: &Plan,
    pairs: bool,
    thresholds: Thresholds,
    traffic: &Traffic,
) -> Forecast {
    let mut sample = Share::NONE;
    let mut steps = Vec::new();
    let mut undecidable = Vec::new();
    for (place, step) in plan.steps().iter().enumerate() {
        let exposure = Exposure::of(step.exposed(), sample, pairs);
        if let Exposed::Shadow { sample: shadowed } = step.exposed() {
            sample = shadowed;
        }
        let before = plan.weight_after(place);
        let guards: Vec<GuardForecast> = rules
            .iter()
            .map(|(rule, design)| GuardForecast {
                guard: rule.name(),
                harm_after: time_to(design, Asked::Harm(2.0), exposure, thresholds, traffic),
                shown_after: if exposure.shows(design) {
                    time_to(design, Asked::Equality(before), exposure, thresholds, traffic)
                } else {
                    Some(Duration::ZERO)
                },
            })
            .collect();
        for guard in guards.iter().filter(|guard| guard.shown_after.is_none()) {
            undecidable.push(format!(
                "\"{}\" would not show a candidate to be as good as live within {}, at {}",
                guard.guard,
                Span(Forecast::HORIZON),
                step.exposed(),
            ));
        }
        let shown = guards.iter().map(|guard| guard.shown_after).collect::<Option<Vec<Duration>>>();
        let predictions = exposure.candidate_per_second(traffic);
        let answered = Duration::try_from_secs_f64(step.min_predictions as f64 / predictions.max(1e-12)).ok();
        let lasts = shown.zip(answered).map(|(shown, answered)| {
            shown.into_iter().max().unwrap_or_default().max(plan.lasts(place)).max(answered)
        });
        if let (Some(lasts), Some(allowed)) = (lasts, step.max_duration)
            && lasts > allowed
        {
            undecidable.push(format!(
                "at {} it takes about {} to decide, and the plan allows {}",
                step.exposed(),
                Span(lasts),
                Span(allowed),
            ));
        }
        steps.push(StepForecast { exposed: step.exposed(), guards, lasts });
    }
    let all = steps.iter().map(|step| step.lasts).sum::<Option<Duration>>();
    Forecast { promoted_after: all.filter(|_| undecidable.is_empty()), steps, undecidable }
}

/// Why a plan cannot be decided, in the time that it allows or within [`Forecast::HORIZON`], as far as can be told without
/// a simulation; nothing where it can.
pub(crate) fn undecidable(
    rules: &[(Rule, Design)],
    plan: &Plan,
    pairs: bool,
    thresholds: Thresholds,
    traffic: &Traffic,
) -> Option<String> {
    let mut sample = Share::NONE;
    for (place, step) in plan.steps().iter().enumerate() {
        let exposure = Exposure::of(step.exposed(), sample, pairs);
        if let Exposed::Shadow { sample: shadowed } = step.exposed() {
            sample = shadowed;
        }
        let within = step.max_duration.unwrap_or(Forecast::HORIZON);
        let asked = Asked::Equality(plan.weight_after(place));
        let stuck = rules.iter().find(|(_, design)| {
            exposure.shows(design) && !decides(design, asked, exposure, thresholds, traffic, within)
        });
        if let Some((rule, _)) = stuck {
            let (guard, exposed, within) = (rule.name(), step.exposed(), Span(within));
            return Some(format!(
                "\"{guard}\" will not be decided at {exposed} within {within}, as traffic is"
            ));
        }
    }
    None
}

/// What a forecast is asked.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    /// Until a candidate that is so many times as far off as the margin is taken back.
    Harm(f64),
    /// Until one that is as good as live has shown what must be shown before it is given this share.
    Equality(Share),
}

/// Half of the time an answer comes sooner than this; nothing where it does not within [`Forecast::HORIZON`].
pub(crate) fn time_to(
    design: &Design,
    asked: Asked,
    exposure: Exposure,
    thresholds: Thresholds,
    traffic: &Traffic,
) -> Option<Duration> {
    let seconds = simulate(design, asked, exposure, thresholds, traffic, &Simulation::Often)?;
    let delay = if design.needs_labels() && seconds > 0.0 { traffic.labels_after } else { Duration::ZERO };
    Duration::try_from_secs_f64(seconds).ok().map(|seconds| seconds + delay)
}

/// Whether the answer comes within this time, if everything comes as often as it does on average. A good deal cheaper
/// than [`time_to`], and on the safe side.
pub(crate) fn decides(
    design: &Design,
    asked: Asked,
    exposure: Exposure,
    thresholds: Thresholds,
    traffic: &Traffic,
    within: Duration,
) -> bool {
    let delay = if design.needs_labels() { traffic.labels_after } else { Duration::ZERO };
    let seconds = within.saturating_sub(delay).as_secs_f64();
    simulate(design, asked, exposure, thresholds, traffic, &Simulation::Once(seconds)).is_some()
}

/// How a test is tried.
enum Simulation {
    /// Many times, for the time after which half have crossed.
    Often,
    /// Once, on what comes on average within so many seconds.
    Once(f64),
}

fn simulate(
    design: &Design,
    asked: Asked,
    exposure: Exposure,
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
    let losses = design.losses(traffic, size);
    match design.tested {
        Tested::Failures
        | Tested::Slow(_)
        | Tested::Wrong
        | Tested::Missed
        | Tested::KpiSuccesses(_)
        | Tested::Differences => {
            how.crossing(&events(design, &losses, exposure, traffic), &*tests.events(design, test), threshold)
        }
        Tested::Loss(_) | Tested::Kpi(_) | Tested::Comparisons => {
            how.crossing(&scores(design, &losses, exposure, traffic), &*tests.scores(design, test), threshold)
        }
        Tested::Errors | Tested::KpiValues(_) => {
            how.crossing(&values(design, &losses, exposure, traffic), &*tests.values(design, test), threshold)
        }
        Tested::FalseAlarms | Tested::F1 => {
            how.crossing(&ratios(design, &losses, exposure, traffic), &*tests.ratios(design, test), threshold)
        }
        Tested::WrongWithHidden => {
            how.crossing(&hidden(&losses, exposure, traffic), &*tests.hidden(design, test), threshold)
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

/// What both versions lose, on average, if the candidate is so many times as far off as the margin; 0 for as good as live.
struct Losses {
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
    fn losses(&self, traffic: &Traffic, size: f64) -> Losses {
        let half = |rate: f64| rate / 2.0;
        let (live, spread, counted, discordant) = match self.tested {
            Tested::Failures => (traffic.error_rate, 0.0, 1.0, half(traffic.error_rate) * 2.0),
            Tested::Slow(_) => (self.quantile_missed(), 0.0, 1.0, self.quantile_missed()),
            Tested::Wrong | Tested::WrongWithHidden => {
                (traffic.wrong, 0.0, traffic.labelled, traffic.discordant)
            }
            Tested::Missed => (traffic.missed, 0.0, traffic.labelled * traffic.positives, traffic.missed),
            Tested::FalseAlarms => {
                (traffic.false_alarms, 0.0, traffic.labelled * traffic.called_yes, traffic.false_alarms)
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
                let (mean, spread) = traffic.losses.get(place).copied().unwrap_or((0.1, 0.2));
                (mean, spread, traffic.labelled, 0.0)
            }
            Tested::Errors => (traffic.errors.0, traffic.errors.1, traffic.labelled, 0.0),
            Tested::Kpi(place) | Tested::KpiValues(place) | Tested::KpiSuccesses(place) => {
                let (mean, spread) = traffic.kpis.get(place).copied().unwrap_or((0.5, 0.5));
                let loss = if self.reads_gain() && matches!(self.tested, Tested::Kpi(_)) {
                    1.0 - mean
                } else {
                    mean
                };
                (loss, spread, traffic.labelled, 0.0)
            }
            Tested::Differences | Tested::Comparisons => (traffic.discordant, 0.1, 1.0, 0.0),
        };
        let candidate = match self.margin {
            _ if size == 0.0 && matches!(self.tested, Tested::Slow(_)) => {
                traffic.slower(1.0 - self.tail, self.factor)
            }
            _ if size == 0.0 => live,
            Margin::Above(margin) => live + size * margin,
            Margin::Times(times) => {
                let off = if times == 1.0 { size } else { 1.0 + size * (times - 1.0) };
                (live * off).max(self.floor.unwrap_or(0.0) * size)
            }
            Margin::AtLeastTimes(times) => live * (1.0 - size * (1.0 - times)).max(0.0),
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

impl Exposure {
    /// Whether anything that the test looks at comes at all.
    pub(crate) fn shows(self, design: &Design) -> bool {
        let phase = if self.weight == Share::NONE {
            super::phase::Phase::Shadow
        } else {
            super::phase::Phase::Canary
        };
        design.is_judged_in(phase)
    }

    fn pairs_per_second(self, traffic: &Traffic) -> f64 {
        let weight = self.weight.fraction();
        traffic.requests_per_second * ((1.0 - weight) * self.sample + weight * self.reversed)
    }

    /// The candidate's runs, as a shadow and for real.
    fn candidate_per_second(self, traffic: &Traffic) -> f64 {
        let weight = self.weight.fraction();
        traffic.requests_per_second * ((1.0 - weight) * self.sample + weight)
    }

    fn arms_per_second(self, traffic: &Traffic) -> Option<(Odds, f64, f64)> {
        let live = Share::from_buckets(Share::ALL.buckets() - self.weight.buckets());
        let rate = traffic.requests_per_second;
        Some((Odds::new(self.weight, live)?, rate * self.weight.fraction(), rate * live.fraction()))
    }
}

/// What may come, how often a second, and how so many of it are counted.
type Cells<C> = Vec<(f64, Box<dyn Fn(&mut C, u64)>)>;

fn cell<C>(cells: &mut Cells<C>, per_second: f64, count: impl Fn(&mut C, u64) + 'static) {
    if per_second > 0.0 {
        cells.push((per_second, Box::new(count)));
    }
}

fn events(
    design: &Design,
    losses: &Losses,
    exposure: Exposure,
    traffic: &Traffic,
) -> Cells<Series<PairedEvents, Events>> {
    let mut cells: Cells<Series<PairedEvents, Events>> = Vec::new();
    let Losses { live, candidate, counted, discordant, .. } = *losses;
    if design.tested == Tested::Differences {
        let pairs = exposure.pairs_per_second(traffic);
        units(&mut cells, pairs, candidate, |series| &mut series.alone);
        return cells;
    }
    let pairs = exposure.pairs_per_second(traffic) * counted;
    let only_live = (discordant / 2.0).max(live - candidate).min(live);
    let only_candidate = (candidate - live + only_live).max(0.0);
    cell(&mut cells, pairs * only_live, |series, n| series.pairs.only_live += n);
    cell(&mut cells, pairs * only_candidate, |series, n| series.pairs.only_candidate += n);
    cell(&mut cells, pairs * (live - only_live), |series, n| series.pairs.both += n);
    cell(&mut cells, pairs * (1.0 - live - only_candidate), |series, n| series.pairs.neither += n);
    let weight = exposure.weight.fraction();
    let shadowed = traffic.requests_per_second * (1.0 - weight) * exposure.sample * counted;
    units(&mut cells, shadowed, candidate, |series| &mut series.alone);
    if let Some((odds, of_candidate, of_live)) = exposure.arms_per_second(traffic) {
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

fn hidden(losses: &Losses, exposure: Exposure, traffic: &Traffic) -> Cells<Series<HiddenEvents, Events>> {
    let mut cells: Cells<Series<HiddenEvents, Events>> = Vec::new();
    let pairs = exposure.pairs_per_second(traffic) * losses.counted;
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

fn scores(
    design: &Design,
    losses: &Losses,
    exposure: Exposure,
    traffic: &Traffic,
) -> Cells<Series<Scores, Scores>> {
    let mut cells: Cells<Series<Scores, Scores>> = Vec::new();
    let pairs = exposure.pairs_per_second(traffic) * losses.counted;
    // Two versions' losses on the same input go together: what is left varies about half as much.
    let difference = losses.candidate - losses.live;
    let (low, high, chance) = two_places(0.5 + difference / 2.0, losses.spread / 4.0);
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
        arm(exposure.pairs_per_second(traffic), losses.candidate, |series, _| Some(&mut series.alone), None);
        return cells;
    }
    let shadowed =
        traffic.requests_per_second * (1.0 - exposure.weight.fraction()) * exposure.sample * losses.counted;
    if !matches!(design.tested, Tested::Kpi(_)) {
        arm(shadowed, losses.candidate, |series, _| Some(&mut series.alone), None);
    }
    if let Some((odds, of_candidate, of_live)) = exposure.arms_per_second(traffic) {
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

fn values(
    design: &Design,
    losses: &Losses,
    exposure: Exposure,
    traffic: &Traffic,
) -> Cells<Series<Values, Values>> {
    let mut cells: Cells<Series<Values, Values>> = Vec::new();
    let sign = if design.reads_gain() { -1.0 } else { 1.0 };
    let shift = sign * (losses.candidate - losses.live);
    let spread = losses.spread;
    let mean = losses.live;
    for (off, of_pairs) in [(-spread, -spread / 2.0), (spread, spread / 2.0)] {
        let pairs = exposure.pairs_per_second(traffic) * losses.counted / 2.0;
        cell(&mut cells, pairs, move |series, n| series.pairs.count_times(shift + of_pairs, n));
        if let Some((odds, of_candidate, of_live)) = exposure.arms_per_second(traffic) {
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

fn ratios(
    design: &Design,
    losses: &Losses,
    exposure: Exposure,
    traffic: &Traffic,
) -> Cells<Series<PairedParts, Parts>> {
    let mut cells: Cells<Series<PairedParts, Parts>> = Vec::new();
    // A unit that counts is right, a false alarm or missed; of an F1 a right one counts twice.
    let right = if design.tested == Tested::F1 { Part::of(0, 2) } else { Part::of(0, 1) };
    let (wrong, none) = (Part::of(1, 1), Part::of(0, 0));
    let Losses { live, candidate, counted, .. } = *losses;
    let share = |loss: f64| {
        // The share of units that are wrong where the ratio is `loss`.
        if design.tested == Tested::F1 { 2.0 * loss / (1.0 + loss) } else { loss }
    };
    let (live, candidate) = (share(live.clamp(0.0, 1.0)), share(candidate.clamp(0.0, 1.0)));
    let pairs = exposure.pairs_per_second(traffic) * counted;
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
    let shadowed =
        traffic.requests_per_second * (1.0 - exposure.weight.fraction()) * exposure.sample * counted;
    arm(shadowed, candidate, |series, _| Some(&mut series.alone), None);
    if let Some((odds, of_candidate, of_live)) = exposure.arms_per_second(traffic) {
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

/// Simulated rollouts: an odd number, so that there is one in the middle.
const RUNS: u64 = 31;
/// How much later a test is looked at each time. The answer is as exact as that.
const LATER: f64 = 1.08;

/// The number of seconds after which half of the simulated rollouts have crossed the threshold.
fn crossing<C: Additive>(cells: &Cells<C>, e_value: &dyn Fn(&C) -> EValue, threshold: EValue) -> Option<f64> {
    let fastest = cells.iter().map(|(per_second, _)| *per_second).fold(0.0, f64::max);
    if fastest <= 0.0 {
        return None;
    }
    let mut crossed: Vec<f64> = (0..RUNS)
        .map(|run| {
            let mut dice = Dice(mix(run));
            let (mut counts, mut now) = (C::default(), 0.0);
            let mut next = 1.0 / fastest;
            while next <= Forecast::HORIZON.as_secs_f64() {
                for (per_second, count) in cells {
                    let came = dice.poisson(per_second * (next - now));
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

/// Chance for simulations: SplitMix64.
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((mix(self.0) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// How many come where `mean` come on average: by waiting times while that is few, by the normal distribution where
    /// it is many.
    fn poisson(&mut self, mean: f64) -> u64 {
        if mean < 30.0 {
            let limit = libm::exp(-mean);
            let (mut product, mut count) = (self.uniform(), 0);
            while product > limit {
                product *= self.uniform();
                count += 1;
            }
            return count;
        }
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        let normal = radius * libm::cos(2.0 * std::f64::consts::PI * self.uniform());
        (mean + libm::sqrt(mean) * normal).round().max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_has_the_mean_and_spread_that_it_should() {
        let mut dice = Dice(5);
        for mean in [0.3, 12.0, 400.0] {
            let drawn: Vec<f64> = (0..20_000).map(|_| dice.poisson(mean) as f64).collect();
            let average = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|x| (x - average).powi(2)).sum::<f64>() / drawn.len() as f64;
            assert!(
                (average / mean - 1.0).abs() < 0.03 && (variance / mean - 1.0).abs() < 0.05,
                "{average} {variance}"
            );
        }
    }

    #[test]
    fn spans_are_for_people() {
        for (seconds, text) in [
            (3, "3.0 seconds"),
            (90, "90 seconds"),
            (600, "10 minutes"),
            (90_000, "25 hours"),
            (864_000, "10 days"),
        ] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}

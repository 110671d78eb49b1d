//! How long a plan would take to decide.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reach::Reach;
use super::rehearsal::{Guarded, Rehearsed, Stage, quantile, rehearse};
use super::simulation::{Asked, HORIZON, Simulation, simulate};
use super::traffic::Traffic;
use crate::base::share::Share;
use crate::rollout::budget::Thresholds;
use crate::rollout::guard::Rule;
use crate::rollout::guard::design::Design;
use crate::rollout::guard::tested::Tested;
use crate::rollout::plan::{Exposure, Plan, Step};

/// How long a plan takes to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forecast {
    /// The plan's steps, in their order.
    pub steps: Vec<StepForecast>,
    /// From the first step to the promotion of a candidate that is as good as live. `None` if it would take longer than
    /// [`HORIZON`](Self::HORIZON), or than the plan allows.
    pub promoted_after: Option<Duration>,
    /// Eight times of ten the promotion comes between these; where a guess is in it, over what the guess allows.
    pub promoted_between: Option<(Duration, Duration)>,
    /// Whether it rests on a guess: how often two versions disagree is known once a rollout has seen pairs.
    pub guessed: bool,
    /// Why the plan cannot be decided, guard by guard; empty where it can.
    pub undecidable: Vec<String>,
}

/// How long one step takes to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepForecast {
    /// How the candidate is exposed.
    pub exposure: Exposure,
    /// Guard by guard.
    pub guards: Vec<GuardForecast>,
    /// How long the step lasts, if the candidate is as good as live. `None` if a guard would not have passed within
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
    pub const HORIZON: Duration = HORIZON;
}

/// In a sentence or two.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = self.undecidable.first() {
            return write!(f, "the plan cannot be decided: {reason}");
        }
        match self.promoted_after {
            Some(after) => {
                write!(f, "a candidate as good as live is promoted after about {}", Span(after))?;
                if let Some((low, high)) = self.promoted_between {
                    write!(f, " ({} to {}", Span(low), Span(high))?;
                    f.write_str(if self.guessed { ", known better once there are pairs)" } else { ")" })?;
                }
            }
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

/// Forecasts a plan for rules whose tests are known.
pub(crate) fn forecast(
    rules: &[(Rule, Design)],
    plan: &Plan,
    pairs: bool,
    thresholds: Thresholds,
    traffic: &Traffic,
    tick: Duration,
) -> Forecast {
    let stages = stages(plan, pairs, traffic);
    let tick = tick.as_secs_f64().max(1e-3);
    let rehearsed = rehearsed(rules, &stages, thresholds, traffic, tick);
    let mut steps = Vec::new();
    let mut undecidable = Vec::new();
    for (place, (step, stage)) in plan.steps().iter().zip(&stages).enumerate() {
        let of_guard = |(which, (rule, design)): (usize, &(Rule, Design))| GuardForecast {
            guard: rule.to_string(),
            harm_after: time_to(design, Asked::Harm(2.0), stage.reach, thresholds, traffic),
            shown_after: quantile(&rehearsed.passed[place][which], 0.5),
        };
        let guards: Vec<GuardForecast> = rules.iter().enumerate().map(of_guard).collect();
        for guard in guards.iter().filter(|guard| guard.shown_after.is_none()) {
            undecidable.push(format!(
                "\"{}\" would not show a candidate to be as good as live within {}, at {}",
                guard.guard,
                Span(Forecast::HORIZON),
                step.exposure(),
            ));
        }
        let lasts = quantile(&rehearsed.lasted[place], 0.5);
        if let (Some(lasts), Some(allowed)) = (lasts, step.max_duration)
            && lasts > allowed
        {
            undecidable.push(format!(
                "at {} it takes about {} to decide, and the plan allows {}",
                step.exposure(),
                Span(lasts),
                Span(allowed),
            ));
        }
        steps.push(StepForecast { exposure: step.exposure(), guards, lasts });
    }
    let decided = undecidable.is_empty();
    let promoted_after = quantile(&rehearsed.whole, 0.5).filter(|_| decided);
    let low = quantile(&rehearsed.whole, 0.1).filter(|_| decided);
    let high = quantile(&rehearsed.whole, 0.9).filter(|_| decided);
    // Pairs decide as soon as versions agree, and nobody knows how much these do before the first pair.
    let guessed =
        !traffic.discordant_is_known && rules.iter().any(|(_, design)| design.rests_on_discordance());
    let guess = |share: fn(f64) -> f64| {
        let (discordant, discordant_failures) = (share(traffic.wrong), share(traffic.error_rate));
        let traffic = Traffic { discordant, discordant_failures, ..traffic.clone() };
        let rehearsed = self::rehearsed(rules, &stages, thresholds, &traffic, tick);
        quantile(&rehearsed.whole, 0.5)
    };
    let promoted_between = match (low, high) {
        (Some(low), Some(high)) if guessed => Some((
            guess(alike).map_or(low, |alike| alike.min(low)),
            guess(apart).map_or(high, |unlike| unlike.max(high)),
        )),
        (Some(low), Some(high)) => Some((low, high)),
        _ => None,
    };
    Forecast { promoted_after, promoted_between, guessed, steps, undecidable }
}

/// How often one of two equally good versions alone is off, where each is at this rate: seldom, as with two trainings of one model
/// on the same data.
fn alike(rate: f64) -> f64 {
    0.2 * rate
}

/// As often as when the two have nothing to do with each other.
fn apart(rate: f64) -> f64 {
    2.0 * rate * (1.0 - rate)
}

/// The steps of a plan, as a rehearsal needs them.
fn stages(plan: &Plan, pairs: bool, traffic: &Traffic) -> Vec<Stage> {
    let mut sample = Share::NONE;
    let of_step = |(place, step): (usize, &Step)| {
        let reach = Reach::of(step.exposure(), sample, pairs);
        if let Exposure::Shadow { sample: shadowed } = step.exposure() {
            sample = shadowed;
        }
        let answered = step.min_predictions as f64 / reach.candidate_per_second(traffic).max(1e-12);
        let least = plan.lasts(place).as_secs_f64().max(answered);
        Stage { reach, next: plan.weight_after(place), least }
    };
    plan.steps().iter().enumerate().map(of_step).collect()
}

fn rehearsed(
    rules: &[(Rule, Design)],
    stages: &[Stage],
    thresholds: Thresholds,
    traffic: &Traffic,
    tick: f64,
) -> Rehearsed {
    // Where no guard judges failures those of quality do, and that takes its own time.
    let judged = rules.iter().any(|(_, design)| design.tested == Tested::Failures);
    let mut guards: Vec<Guarded> =
        rules.iter().map(|(_, design)| Guarded::new(design, stages, thresholds, traffic)).collect();
    let beside = rules.iter().filter(|(_, design)| design.needs_labels() && !judged);
    guards.extend(beside.map(|(_, design)| Guarded::new(&design.of_failures(), stages, thresholds, traffic)));
    rehearse(&mut guards, stages, traffic, tick)
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
        let reach = Reach::of(step.exposure(), sample, pairs);
        if let Exposure::Shadow { sample: shadowed } = step.exposure() {
            sample = shadowed;
        }
        let within = step.max_duration.unwrap_or(Forecast::HORIZON);
        let asked = Asked::Equality(plan.weight_after(place));
        let stuck = rules.iter().find(|(_, design)| {
            reach.shows(design) && !decides(design, asked, reach, thresholds, traffic, within)
        });
        if let Some((rule, _)) = stuck {
            let (guard, exposed, within) = (rule.to_string(), step.exposure(), Span(within));
            return Some(format!(
                "\"{guard}\" will not be decided at {exposed} within {within}, as traffic is"
            ));
        }
    }
    None
}

/// Half of the time an answer comes sooner than this; nothing where it does not within [`Forecast::HORIZON`].
pub(crate) fn time_to(
    design: &Design,
    asked: Asked,
    reach: Reach,
    thresholds: Thresholds,
    traffic: &Traffic,
) -> Option<Duration> {
    let seconds = simulate(design, asked, reach, thresholds, traffic, &Simulation::Often)?;
    let delay = if design.needs_labels() && seconds > 0.0 { traffic.labels_after } else { Duration::ZERO };
    Duration::try_from_secs_f64(traffic.wall_seconds(seconds)).ok().map(|seconds| seconds + delay)
}

/// Whether the answer comes within this time, if everything comes as often as it does on average. A good deal cheaper
/// than [`time_to`], and on the safe side.
pub(crate) fn decides(
    design: &Design,
    asked: Asked,
    reach: Reach,
    thresholds: Thresholds,
    traffic: &Traffic,
    within: Duration,
) -> bool {
    let delay = if design.needs_labels() { traffic.labels_after } else { Duration::ZERO };
    let seconds = within.saturating_sub(delay).as_secs_f64();
    simulate(design, asked, reach, thresholds, traffic, &Simulation::Once(seconds)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

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

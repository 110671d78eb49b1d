//! How long a plan would take to decide.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reach::Reach;
use super::simulation::{Asked, HORIZON, Simulation, simulate};
use super::traffic::Traffic;
use crate::base::share::Share;
use crate::rollout::budget::Thresholds;
use crate::rollout::guard::Rule;
use crate::rollout::guard::design::Design;
use crate::rollout::guard::tested::Tested;
use crate::rollout::plan::{Exposure, Plan};

/// How long a plan takes to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forecast {
    /// The plan's steps, in their order.
    pub steps: Vec<StepForecast>,
    /// From the first step to the promotion of a candidate that is as good as live. `None` if it would take longer than
    /// [`HORIZON`](Self::HORIZON), or than the plan allows.
    pub promoted_after: Option<Duration>,
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
    // Where no guard judges failures those of quality do, and that takes its own time.
    let judged = rules.iter().any(|(_, design)| design.tested == Tested::Failures);
    for (place, step) in plan.steps().iter().enumerate() {
        let reach = Reach::of(step.exposure(), sample, pairs);
        if let Exposure::Shadow { sample: shadowed } = step.exposure() {
            sample = shadowed;
        }
        let before = plan.weight_after(place);
        let guards: Vec<GuardForecast> = rules
            .iter()
            .map(|(rule, design)| GuardForecast {
                guard: rule.to_string(),
                harm_after: time_to(design, Asked::Harm(2.0), reach, thresholds, traffic),
                shown_after: if reach.shows(design) {
                    let shown = |design: &Design| {
                        time_to(design, Asked::Equality(before), reach, thresholds, traffic)
                    };
                    let failures = (design.needs_labels() && !judged).then(|| shown(&design.of_failures()));
                    match (shown(design), failures) {
                        (Some(quality), Some(failures)) => failures.map(|failures| failures.max(quality)),
                        (quality, _) => quality,
                    }
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
                step.exposure(),
            ));
        }
        let shown = guards.iter().map(|guard| guard.shown_after).collect::<Option<Vec<Duration>>>();
        let predictions = reach.candidate_per_second(traffic);
        let answered = Duration::try_from_secs_f64(step.min_predictions as f64 / predictions.max(1e-12)).ok();
        let lasts = shown.zip(answered).map(|(shown, answered)| {
            shown.into_iter().max().unwrap_or_default().max(plan.lasts(place)).max(answered)
        });
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
    Duration::try_from_secs_f64(seconds).ok().map(|seconds| seconds + delay)
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

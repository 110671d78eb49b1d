//! How long a plan would take to decide.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reach::Reach;
use super::rehearsal::{Guarded, Rehearsed, Stage, quantile, rehearse};
use super::simulation::{Asked, HORIZON, Question};
use super::subject::Subject;
use super::traffic::Traffic;
use super::unknown::Assumed;
use crate::base::share::Share;
use crate::rollout::budget::Thresholds;
use crate::rollout::guard::tested::Tested;
use crate::rollout::plan::{Exposure, Plan, Step};

/// How long a plan takes to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forecast {
    /// The plan's steps, in their order. Those of an automatic plan are chosen for this forecast, as they would be if it ran now.
    pub steps: Vec<StepForecast>,
    /// The guards that an automatic plan adds where there are none, by name. Each step has them among its own.
    #[serde(default)]
    pub added: Vec<String>,
    /// Whether the steps were chosen, since the plan is an automatic one: with other traffic they are others.
    #[serde(default)]
    pub chosen: bool,
    /// From the first step to the promotion of a candidate that is as good as live. `None` if it would take longer than
    /// [`HORIZON`](Self::HORIZON), or than the plan allows.
    pub promoted_after: Option<Duration>,
    /// Eight times of ten the promotion comes between these; where a guess is in it, over all that the guess allows. What ends with
    /// [`HORIZON`](Self::HORIZON) may take longer. Where pairs have been seen, how little they say yet is in it.
    pub promoted_between: Option<Between>,
    /// Whether it rests on a guess: how much two versions are off on the same inputs, or differ, is known once a rollout has seen
    /// some pairs on which one of them is.
    pub guessed: bool,
    /// Why the plan cannot be decided, guard by guard; empty where it can.
    pub undecidable: Vec<String>,
}

/// Two times, between which something comes eight times of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Between {
    /// One time in ten it comes sooner.
    pub low: Duration,
    /// One time in ten it comes later.
    pub high: Duration,
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
    /// Eight times of ten it is taken back between these; where a guess is in it, over all that the guess allows.
    #[serde(default)]
    pub harm_between: Option<Between>,
    /// Until a candidate that is as good as live has shown what the next step asks for.
    pub shown_after: Option<Duration>,
}

impl Forecast {
    /// Nothing is forecast beyond: four hundred days.
    pub const HORIZON: Duration = HORIZON;

    /// That of a plan which cannot be run.
    pub(crate) fn refused(reason: &dyn fmt::Display) -> Self {
        Self {
            steps: Vec::new(),
            added: Vec::new(),
            chosen: false,
            promoted_after: None,
            promoted_between: None,
            guessed: false,
            undecidable: vec![reason.to_string()],
        }
    }
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
                if let Some(Between { low, high }) = self.promoted_between {
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

/// Forecasts a plan that has steps, for rules whose tests are known.
pub(crate) fn forecast(
    subjects: &[Subject],
    plan: &Plan,
    pairs: bool,
    thresholds: Thresholds,
    traffic: &Traffic,
    tick: Duration,
) -> Forecast {
    let stages = stages(plan, pairs, traffic);
    let tick = tick.as_secs_f64().max(1e-3);
    let rehearse = |assumed| rehearsed(subjects, &stages, thresholds, traffic, tick, assumed);
    let rehearsed = rehearse(Assumed::Usual);
    let failures_are_judged = judge_failures(subjects);
    let mut steps = Vec::new();
    let mut undecidable = Vec::new();
    for (place, (step, stage)) in plan.steps().iter().zip(&stages).enumerate() {
        let of_guard = |(which, subject): (usize, &Subject)| {
            let question = Question {
                subject,
                asked: Asked::Harm(2.0),
                reach: stage.reach,
                thresholds,
                failures_are_judged,
                traffic,
            };
            let (harm_after, harm_between) = time_to(question, tick);
            let shown_after = quantile(&rehearsed.passed[place][which], 0.5);
            GuardForecast { guard: subject.rule.to_string(), harm_after, harm_between, shown_after }
        };
        let guards: Vec<GuardForecast> = subjects.iter().enumerate().map(of_guard).collect();
        for guard in guards.iter().filter(|guard| guard.shown_after.is_none()) {
            undecidable.push(format!(
                "\"{}\" would not show a candidate to be as good as live within {}, at {}",
                guard.guard,
                Span(Forecast::HORIZON),
                step.exposure(),
            ));
        }
        let lasts = quantile(&rehearsed.lasted[place], 0.5);
        undecidable.extend(comes_too_late(step, stage.reach, traffic));
        let allowed = Allowed::by(step, stage.reach, traffic);
        // What is shown in time may wait for the cycle however long.
        let decided = quantile(&rehearsed.decided[place], 0.5);
        let decided_usual = quantile(&rehearsed.decided_usual[place], 0.5);
        if let (Some(decided), Some(usual), Some(allowed)) = (decided, decided_usual, allowed)
            && (if allowed.predictions.is_some() { usual } else { decided }) > allowed.time
        {
            undecidable.push(format!(
                "at {} it takes about {} to decide, and the plan allows {allowed}",
                step.exposure(),
                Span(decided),
            ));
        }
        steps.push(StepForecast { exposure: step.exposure(), guards, lasts });
    }
    let decided = undecidable.is_empty();
    let promoted_after = quantile(&rehearsed.whole, 0.5).filter(|_| decided);
    let guessed = subjects.iter().any(|subject| subject.unknown(traffic).is_guessed());
    let promoted_between = promoted_after.map(|_| {
        // Nobody knows how much two versions agree before the first pairs.
        if guessed {
            Between { low: low(&rehearse(ALIKE).whole), high: high(&rehearse(APART).whole) }
        } else {
            let drawn = rehearse(DRAWN);
            Between { low: low(&drawn.whole), high: high(&drawn.whole) }
        }
    });
    let (added, chosen) = (Vec::new(), false);
    Forecast { steps, added, chosen, promoted_after, promoted_between, guessed, undecidable }
}

const DRAWN: Assumed = Assumed::Drawn(0.5);
const ALIKE: Assumed = Assumed::Alike(0.5);
const APART: Assumed = Assumed::Apart(0.5);

/// A tenth of them come before this.
fn low(seconds: &[f64]) -> Duration {
    quantile(seconds, 0.1).unwrap_or(HORIZON)
}

/// And a tenth after this.
fn high(seconds: &[f64]) -> Duration {
    quantile(seconds, 0.9).unwrap_or(HORIZON)
}

/// Whether a guard judges failures: where none does, those of quality do.
fn judge_failures(subjects: &[Subject]) -> bool {
    subjects.iter().any(|subject| subject.design.tested == Tested::Failures)
}

/// The steps of a plan, as a rehearsal needs them.
fn stages(plan: &Plan, pairs: bool, traffic: &Traffic) -> Vec<Stage> {
    let mut sample = Share::NONE;
    let of_step = |(place, step): (usize, &Step)| {
        let reach = Reach::of(step.exposure(), sample, pairs);
        if let Exposure::Shadow { sample: shadowed } = step.exposure() {
            sample = shadowed;
        }
        let asked = reach.seconds_until(step, traffic);
        let least = plan.lasts(place, Duration::ZERO).as_secs_f64().max(asked);
        let allowed = Allowed::by(step, reach, traffic).map_or(f64::INFINITY, |most| most.time.as_secs_f64());
        Stage { reach, next: plan.weight_after(place), asked, least, allowed }
    };
    plan.steps().iter().enumerate().map(of_step).collect()
}

fn rehearsed(
    subjects: &[Subject],
    stages: &[Stage],
    thresholds: Thresholds,
    traffic: &Traffic,
    tick: f64,
    assumed: Assumed,
) -> Rehearsed {
    let guarded = |subject: &Subject| Guarded::new(subject, stages, thresholds, traffic);
    let mut guards: Vec<Guarded> = subjects.iter().map(guarded).collect();
    // Where no guard judges failures those of quality do, and that takes its own time.
    if !judge_failures(subjects) {
        guards.extend(subjects.iter().filter_map(Subject::of_failures).map(|beside| guarded(&beside)));
    }
    rehearse(&mut guards, stages, traffic, tick, assumed)
}

/// Why a plan cannot be decided, in the time that it allows or within [`Forecast::HORIZON`], as far as can be told without
/// a simulation; nothing where it can.
pub(crate) fn undecidable(
    subjects: &[Subject],
    plan: &Plan,
    pairs: bool,
    thresholds: Thresholds,
    traffic: &Traffic,
) -> Option<String> {
    let mut sample = Share::NONE;
    let failures_are_judged = judge_failures(subjects);
    for (place, step) in plan.steps().iter().enumerate() {
        let reach = Reach::of(step.exposure(), sample, pairs);
        if let Exposure::Shadow { sample: shadowed } = step.exposure() {
            sample = shadowed;
        }
        let allowed = Allowed::by(step, reach, traffic);
        let within = allowed.as_ref().map_or(Forecast::HORIZON, |allowed| allowed.time);
        let asked = Asked::Equality(plan.weight_after(place));
        let stuck = subjects.iter().find(|subject| {
            let question = Question { subject, asked, reach, thresholds, failures_are_judged, traffic };
            reach.shows(&subject.design) && !decides(question, within)
        });
        if let Some(subject) = stuck {
            let (guard, exposed) = (subject.rule.to_string(), step.exposure());
            return Some(format!(
                "\"{guard}\" will not be decided at {exposed} within {}, as traffic is",
                told(allowed.as_ref())
            ));
        }
        let late = comes_too_late(step, reach, traffic);
        if late.is_some() {
            return late;
        }
    }
    None
}

/// Why a step does not get what it asks for in its time, where it does not.
fn comes_too_late(step: &Step, reach: Reach, traffic: &Traffic) -> Option<String> {
    let allowed = Allowed::by(step, reach, traffic);
    let within = allowed.as_ref().map_or(Forecast::HORIZON, |allowed| allowed.time);
    [(step.min_predictions, 1.0, "predictions"), (step.min_labels, traffic.labelled, "outcomes")]
        .into_iter()
        .find_map(|(number, share, what)| {
            let usual = reach.seconds_until_runs(number, share, traffic);
            let by_predictions = allowed.as_ref().is_some_and(|allowed| allowed.predictions.is_some());
            let seconds = if by_predictions { usual } else { traffic.wall_seconds(usual) };
            let answered = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            let after = if answered > Forecast::HORIZON {
                format!("take more than {}", Span(Forecast::HORIZON))
            } else {
                format!("take about {}", Span(answered))
            };
            (answered > within).then(|| {
                format!(
                    "the {number} {what} that its step asks for {after} at {}, as traffic is: more than {}",
                    step.exposure(),
                    told(allowed.as_ref()),
                )
            })
        })
}

/// The time that a step may take to decide: as it was said or, in seconds of the usual traffic, until as many predictions have come as may.
struct Allowed {
    time: Duration,
    /// Where these are what ends it.
    predictions: Option<u64>,
}

impl Allowed {
    fn by(step: &Step, reach: Reach, traffic: &Traffic) -> Option<Self> {
        let by_time = step.max_duration.map(|time| Self { time, predictions: None });
        let by_predictions = step.max_predictions.map(|most| {
            let seconds = reach.seconds_until_runs(most, 1.0, traffic);
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            Self { time, predictions: Some(most) }
        });
        by_time.into_iter().chain(by_predictions).min_by_key(|allowed| allowed.time)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.predictions {
            None => Span(self.time).fmt(f),
            Some(most) => write!(f, "{most} predictions, which take about {}", Span(self.time)),
        }
    }
}

fn told(allowed: Option<&Allowed>) -> String {
    allowed.map_or_else(|| Span(Forecast::HORIZON).to_string(), Allowed::to_string)
}

/// Half of the time an answer comes sooner than this, and eight times of ten between these; nothing where it does not within
/// [`Forecast::HORIZON`].
pub(crate) fn time_to(question: Question<'_>, tick: f64) -> (Option<Duration>, Option<Between>) {
    let Question { subject, traffic, .. } = question;
    let told = |answers: Vec<f64>| -> Vec<f64> {
        let delay = if subject.design.needs_labels() { traffic.labels_after.as_secs_f64() } else { 0.0 };
        let wall = |seconds: f64| if seconds > 0.0 { traffic.wall_seconds(seconds) + delay } else { seconds };
        answers.into_iter().map(wall).collect()
    };
    let usual = told(question.answers(tick, Assumed::Usual));
    let after = quantile(&usual, 0.5);
    let between = after.map(|_| {
        if subject.unknown(traffic).is_guessed() {
            let (alike, apart) = (question.answers(tick, ALIKE), question.answers(tick, APART));
            Between { low: low(&told(alike)), high: high(&told(apart)) }
        } else {
            let drawn = told(question.answers(tick, DRAWN));
            Between { low: low(&drawn), high: high(&drawn) }
        }
    });
    (after, between)
}

/// Whether the answer comes within this time, if everything comes as often as it does on average. A good deal cheaper
/// than [`time_to`], and on the safe side.
pub(crate) fn decides(question: Question<'_>, within: Duration) -> bool {
    let labelled = question.subject.design.needs_labels();
    let delay = if labelled { question.traffic.labels_after } else { Duration::ZERO };
    question.is_answered_within(within.saturating_sub(delay).as_secs_f64())
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

//! A plan: the steps by which a candidate becomes live without anybody watching.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::share::{InvalidShare, Share};

/// How a candidate becomes live: a list of steps, each taken back when a guard fails and left when every guard passes,
/// then promotion, then a time of watching.
///
/// Readable by serde, so that it can stand in a service's configuration.
///
/// ```
/// use std::time::Duration;
/// use switchback::{Plan, Step};
///
/// let plan = Plan::ramp([0.01, 0.05, 0.25, 0.5])?.each(|step| step.min_duration(Duration::from_secs(3_600)));
/// assert_eq!(plan.steps().len(), 5); // a shadow first
///
/// let custom = Plan::new([Step::shadow(0.2)?.min_labels(500), Step::canary(0.1)?.min_labels(1_000)])?;
/// # Ok::<(), switchback::InvalidPlan>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PlanFields")]
pub struct Plan {
    steps: Vec<Step>,
    on_inconclusive: OnInconclusive,
    bake: Bake,
    cycle: Duration,
    /// The time within which margins and shares are to be chosen that can be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    auto: Option<Duration>,
}

/// Traffic repeats itself from day to day.
const DAY: Duration = Duration::from_secs(86_400);

impl Plan {
    /// A plan of the given steps, in their order, then promotion. What is inconclusive for too long
    /// [pauses](OnInconclusive::Pause), and the new live is not watched, unless told.
    ///
    /// # Errors
    ///
    /// A plan has at least one step, and a canary never shrinks.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Result<Self, InvalidPlan> {
        let steps: Vec<Step> = steps.into_iter().collect();
        if steps.is_empty() {
            return Err(InvalidPlan::Empty);
        }
        let weights = steps.iter().map(Step::weight);
        if let Some((from, to)) = weights.clone().zip(weights.skip(1)).find(|(from, to)| from > to) {
            return Err(InvalidPlan::Shrinks { from, to });
        }
        let (on_inconclusive, bake) = (OnInconclusive::default(), Bake::default());
        Ok(Self { steps, on_inconclusive, bake, cycle: DAY, auto: None })
    }

    /// A plan for people who know no statistics: a shadow, a canary in steps, promotion, within about `budget`. Shares
    /// are chosen when the plan is run, as small as can be decided in that time with the traffic, the label delay and the
    /// rates that live is known to have; and where the rollout has no guards, so are they: errors, the p99 and, where
    /// there is truth, accuracy, at margins as tight as can be decided. What cannot be decided at two percentage points or
    /// 1.25 times is handed over to a person: the plan runs as well as it can and pauses when its time is up, and an
    /// event says so from the start.
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchback::Plan;
    ///
    /// let plan = Plan::auto(Duration::from_secs(7 * 86_400));
    /// # assert!(plan.steps().is_empty());
    /// ```
    pub fn auto(budget: Duration) -> Self {
        let (on_inconclusive, bake) = (OnInconclusive::default(), Bake::default());
        Self { steps: Vec::new(), on_inconclusive, bake, cycle: DAY, auto: Some(budget) }
    }

    /// A shadow of a tenth of the traffic, then a canary of each weight, then promotion. A handle that does not shadow
    /// skips the first step.
    ///
    /// # Errors
    ///
    /// Weights must be shares of traffic, at least one, and must not shrink.
    pub fn ramp(weights: impl IntoIterator<Item = f64>) -> Result<Self, InvalidPlan> {
        let mut steps = vec![Step::shadow(0.1)?];
        for weight in weights {
            steps.push(Step::canary(weight)?);
        }
        if steps.len() == 1 {
            return Err(InvalidPlan::Empty);
        }
        Self::new(steps)
    }

    /// Changes every step alike.
    #[must_use]
    pub fn each(mut self, change: impl Fn(Step) -> Step) -> Self {
        self.steps = self.steps.into_iter().map(change).collect();
        self
    }

    /// What happens when a guard is inconclusive for longer than a step allows.
    #[must_use]
    pub fn on_inconclusive(mut self, policy: OnInconclusive) -> Self {
        self.on_inconclusive = policy;
        self
    }

    /// The time after which traffic repeats itself: the last step before the promotion lasts at least so long, and what
    /// the promotion rests on comes from that step alone. A day unless told, since what holds at noon need not hold at
    /// night.
    #[must_use]
    pub fn cycle(mut self, cycle: Duration) -> Self {
        self.cycle = cycle;
        self
    }

    /// How the new live is watched after its promotion.
    #[must_use]
    pub fn bake(mut self, bake: Bake) -> Self {
        self.bake = bake;
        self
    }

    /// The time that an [automatic](Self::auto) plan has, until its steps are chosen.
    pub(crate) fn budget(&self) -> Option<Duration> {
        self.auto
    }

    /// The steps, in their order; none of an [automatic](Self::auto) plan that was not run yet.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn policy(&self) -> OnInconclusive {
        self.on_inconclusive
    }

    pub(crate) fn baking(&self) -> Bake {
        self.bake
    }

    /// How long a step lasts at least.
    pub(crate) fn lasts(&self, step: usize) -> Duration {
        let own = self.steps.get(step).map_or(Duration::ZERO, |step| step.min_duration);
        if step + 1 == self.steps.len() { own.max(self.cycle) } else { own }
    }

    /// The share of traffic that the candidate has after a step.
    pub(crate) fn weight_after(&self, step: usize) -> Share {
        self.steps.get(step + 1).map_or(Share::ALL, Step::weight)
    }

    /// The plan without its shadow steps, for a handle that does not shadow.
    ///
    /// # Errors
    ///
    /// No step is left.
    pub fn without_shadow(mut self) -> Result<Self, InvalidPlan> {
        self.steps.retain(|step| !matches!(step.exposed, Exposed::Shadow { .. }));
        if self.steps.is_empty() { Err(InvalidPlan::Empty) } else { Ok(self) }
    }
}

/// The serialised form, checked like [`Plan::new`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFields {
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    auto: Option<Duration>,
    #[serde(default)]
    on_inconclusive: OnInconclusive,
    #[serde(default)]
    bake: Bake,
    #[serde(default = "day")]
    cycle: Duration,
}

fn day() -> Duration {
    DAY
}

impl TryFrom<PlanFields> for Plan {
    type Error = InvalidPlan;
    fn try_from(fields: PlanFields) -> Result<Self, InvalidPlan> {
        let plan = match fields.auto {
            Some(budget) => Self::auto(budget),
            None => Self::new(fields.steps)?,
        };
        let plan = plan.on_inconclusive(fields.on_inconclusive);
        Ok(plan.bake(fields.bake).cycle(fields.cycle))
    }
}

/// One step of a plan: how the candidate is exposed, and what must have happened before the next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    #[serde(flatten)]
    pub(crate) exposed: Exposed,
    /// At least this long.
    #[serde(default)]
    pub(crate) min_duration: Duration,
    /// At least this many requests of the candidate's.
    #[serde(default = "Step::default_predictions")]
    pub(crate) min_predictions: u64,
    /// At least this many of them with their truth known.
    #[serde(default)]
    pub(crate) min_labels: u64,
    /// How long guards may be inconclusive, from the step's first request on.
    #[serde(default)]
    pub(crate) max_duration: Option<Duration>,
    /// For how many requests of the candidate's guards may be inconclusive.
    #[serde(default)]
    pub(crate) max_predictions: Option<u64>,
}

/// How a candidate is exposed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exposed {
    /// It answers copies of this share of live's requests; its answers are thrown away.
    Shadow {
        /// The share that is copied.
        sample: Share,
    },
    /// It answers this share of the requests.
    Canary {
        /// The share that it answers.
        weight: Share,
    },
}

/// `a canary of 5 %`
impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadow { sample } => write!(f, "a shadow of {sample}"),
            Self::Canary { weight } => write!(f, "a canary of {weight}"),
        }
    }
}

impl Step {
    /// A shadow of this share of live's requests.
    ///
    /// # Errors
    ///
    /// A share that is not a number in `0..=1`.
    pub fn shadow(sample: f64) -> Result<Self, InvalidPlan> {
        Ok(Self::of(Exposed::Shadow { sample: Share::new(sample)? }))
    }

    /// A canary that answers this share of the requests.
    ///
    /// # Errors
    ///
    /// A share that is not a number in `0..=1`.
    pub fn canary(weight: f64) -> Result<Self, InvalidPlan> {
        Ok(Self::of(Exposed::Canary { weight: Share::new(weight)? }))
    }

    /// At least this long; zero unless told.
    #[must_use]
    pub fn min_duration(mut self, duration: Duration) -> Self {
        self.min_duration = duration;
        self
    }

    /// At least this many requests answered by the candidate in this step; 100 unless told: fewer say little of
    /// anything.
    #[must_use]
    pub fn min_predictions(mut self, predictions: u64) -> Self {
        self.min_predictions = predictions;
        self
    }

    /// At least this many outcomes of the candidate's requests since the step began; none unless told.
    #[must_use]
    pub fn min_labels(mut self, labels: u64) -> Self {
        self.min_labels = labels;
        self
    }

    /// From the step's first request on, how long it may go without every guard passing; for ever unless told. What
    /// happens then is the plan's [`OnInconclusive`].
    #[must_use]
    pub fn max_duration(mut self, duration: Duration) -> Self {
        self.max_duration = Some(duration);
        self
    }

    /// How many requests the candidate may answer in this step without every guard passing; any number unless told. What
    /// happens then is the plan's [`OnInconclusive`].
    #[must_use]
    pub fn max_predictions(mut self, predictions: u64) -> Self {
        self.max_predictions = Some(predictions);
        self
    }

    /// How the candidate is exposed.
    pub fn exposed(&self) -> Exposed {
        self.exposed
    }

    fn of(exposed: Exposed) -> Self {
        Self {
            exposed,
            min_duration: Duration::ZERO,
            min_predictions: Self::default_predictions(),
            min_labels: 0,
            max_duration: None,
            max_predictions: None,
        }
    }

    fn default_predictions() -> u64 {
        100
    }

    pub(crate) fn weight(&self) -> Share {
        match self.exposed {
            Exposed::Shadow { .. } => Share::NONE,
            Exposed::Canary { weight } => weight,
        }
    }
}

/// What a plan does when its guards have been inconclusive for longer than a step allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnInconclusive {
    /// The rollout pauses where it is, and an event asks for a person. The default: neither harm nor equality was
    /// shown, and only the host knows what is at stake.
    #[default]
    Pause,
    /// The candidate is taken back, for futility rather than for harm.
    RollBack,
    /// The rollout goes on waiting at the same exposure.
    Continue,
}

/// How a version is watched after its promotion.
///
/// By itself, by a detector for each guard whose figure is a rate: it alarms once the rate has risen beyond what the
/// version showed as a candidate and the guard's margin on top. An alarm takes nothing back: a rate may rise because the
/// version is worse or because the world is. It wakes the version before as a shadow of the new one, and the guard's
/// paired test decides. Where that cannot be (no shadowing, a figure that exists only for what was shown), an event asks
/// for a person.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bake {
    /// How long; zero for not at all.
    pub(crate) duration: Duration,
    /// The share of requests that the version before is given as a shadow meanwhile, alarm or not.
    pub(crate) previous_as_shadow: Share,
    /// The share of requests that it is given once it is woken.
    pub(crate) wake: Share,
    /// See [`Bake::run_length`].
    pub(crate) run_length: f64,
}

impl Default for Bake {
    /// Not at all.
    fn default() -> Self {
        Self {
            duration: Duration::ZERO,
            previous_as_shadow: Share::NONE,
            wake: Share::from_buckets(2_000),
            run_length: 10_000.0,
        }
    }
}

impl Bake {
    /// The guards go on watching the new live for `duration`, and take it back when one fails. During that time a
    /// request on which the new live fails is answered by the version before.
    pub fn new(duration: Duration) -> Self {
        Self { duration, ..Self::default() }
    }

    /// Meanwhile the version before runs as the shadow of the new one on this share of requests from the start, rather
    /// than once it is woken: a regression is seen sooner, for the price of running two models.
    ///
    /// # Errors
    ///
    /// A share that is not a number in `0..=1`.
    pub fn keep_previous_as_shadow(mut self, sample: f64) -> Result<Self, InvalidShare> {
        self.previous_as_shadow = Share::new(sample)?;
        Ok(self)
    }

    /// The share of requests that the version before is given as a shadow once a detector has alarmed; a fifth unless
    /// told, so that the paired test has its answer soon. 0 for never.
    ///
    /// # Errors
    ///
    /// A share that is not a number in `0..=1`.
    pub fn wake(mut self, sample: f64) -> Result<Self, InvalidShare> {
        self.wake = Share::new(sample)?;
        Ok(self)
    }

    /// How many units a detector lets pass on average before it alarms although nothing is worse than it may be; 10,000
    /// unless told. An alarm costs some shadow runs, no more.
    #[must_use]
    pub fn run_length(mut self, units: f64) -> Self {
        self.run_length = units.max(100.0);
        self
    }
}

/// A plan that cannot be followed.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum InvalidPlan {
    /// There is nothing to do before promotion.
    #[error("the plan has no step: give it at least one shadow or canary")]
    Empty,
    /// A later canary is smaller than an earlier one.
    #[error("the canary shrinks from {from} to {to}: order the steps by weight")]
    Shrinks {
        /// The earlier weight.
        from: Share,
        /// The later one.
        to: Share,
    },
    /// A share that is none.
    #[error(transparent)]
    Share(#[from] InvalidShare),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_readable_and_checked_as_it_is_read() {
        let json = r#"{"steps": [{"shadow": {"sample": 0.1}, "min_labels": 50},
                                 {"canary": {"weight": 0.25}, "min_predictions": 10}],
                       "bake": {"previous_as_shadow": 0.05}}"#;
        let plan: Plan = serde_json::from_str(json).unwrap();
        assert_eq!(plan.steps()[0].min_labels, 50);
        assert_eq!(plan.steps()[1].exposed(), Exposed::Canary { weight: Share::new(0.25).unwrap() });
        assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
        for bad in [
            r#"{"steps": []}"#,
            r#"{"steps": [{"canary": {"weight": 2}}]}"#,
            r#"{"steps": [{"canary": {"weight": 0.5}}, {"canary": {"weight": 0.1}}]}"#,
        ] {
            assert!(serde_json::from_str::<Plan>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ramp_has_a_shadow_first_and_never_shrinks() {
        assert!(matches!(Plan::ramp([0.5, 0.1]), Err(InvalidPlan::Shrinks { .. })));
        assert!(matches!(Plan::ramp([]), Err(InvalidPlan::Empty)));
        assert!(matches!(Plan::ramp([f64::NAN]), Err(InvalidPlan::Share(_))));
        assert_eq!(Plan::ramp([0.5]).unwrap().without_shadow().unwrap().steps().len(), 1);
    }
}

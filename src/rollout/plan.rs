//! A plan: the steps by which a candidate becomes live without anybody watching.
//!
//! What a plan, a step or a watch is told is checked where it is told, and again where it is read by serde: both go
//! through the same constructors, and no unknown field is passed over at any depth. So a plan that exists can be followed,
//! and one that was written into the journal can be read at the next start.
//!
//! It is written as people write it, in a journal too: `{"canary": "5 %", "min": "1h"}`.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::node::{Misread, Node, Table, Value, write_share, write_time, write_time_if};
use crate::base::share::{Share, ShareError, share_of};

/// How a candidate becomes live: a list of steps, each taken back when a guard fails and left when every guard passes,
/// then promotion, then a time of watching.
///
/// Readable by serde, so that it can stand in a service's configuration: a step is a share and what must have happened.
///
/// ```
/// use switchback::{Plan, Step};
///
/// let read: Plan = serde_json::from_str(r#"{"steps": [{"shadow": "10 %", "min_labels": 500}, {"canary": "25 %", "min": "1h"}]}"#)?;
/// let hour = std::time::Duration::from_secs(3_600);
/// assert_eq!(read, Plan::new([Step::shadow(0.1)?.min_labels(500), Step::canary(0.25)?.min_duration(hour)])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// use std::time::Duration;
/// use switchback::{Plan, Step};
///
/// let plan = Plan::ramp([0.01, 0.05, 0.25, 0.5])?.each(|step| step.min_duration(Duration::from_secs(3_600)))?;
/// assert_eq!(plan.steps().len(), 5); // a shadow first
///
/// let custom = Plan::new([Step::shadow(0.2)?.min_labels(500), Step::canary(0.1)?.min_labels(1_000)])?;
/// # Ok::<(), switchback::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    steps: Vec<Step>,
    on_inconclusive: OnInconclusive,
    bake: Bake,
    /// A day where nothing is said; an automatic plan chooses its own then.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_time_if")]
    cycle: Option<Duration>,
    /// The time within which margins and shares are to be chosen that can be decided.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_time_if")]
    auto: Option<Duration>,
    /// It is meant to be run without a guard.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unguarded: bool,
}

/// Traffic repeats itself from day to day.
const DAY: Duration = Duration::from_secs(86_400);

impl Plan {
    /// A plan of the given steps, in their order, then promotion. By default it [pauses](OnInconclusive::Pause) when guards
    /// are inconclusive for longer than a step allows, its last step lasts at least a day ([`cycle`](Self::cycle)), and the
    /// new live is not watched.
    ///
    /// # Errors
    ///
    /// A plan has at least one step, a canary never shrinks, and no step asks for more time or
    /// more requests than it allows.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Result<Self, PlanError> {
        let steps: Vec<Step> = steps.into_iter().collect();
        if steps.is_empty() {
            return Err(PlanError::Empty);
        }
        let weights = steps.iter().map(Step::weight);
        if let Some((from, to)) = weights.clone().zip(weights.skip(1)).find(|(from, to)| from > to) {
            return Err(PlanError::Shrinks { from, to });
        }
        for (place, step) in steps.iter().enumerate() {
            let (min, max) = (step.min_duration, step.max_duration.unwrap_or(Duration::MAX));
            if min > max {
                return Err(PlanError::LastsTooLong { step: place + 1, min, max });
            }
            let (min, max) = (step.min_predictions, step.max_predictions.unwrap_or(u64::MAX));
            if min > max {
                return Err(PlanError::AsksTooMuch { step: place + 1, min, max });
            }
        }
        Ok(Self::of(steps, None))
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
    #[cfg(feature = "forecast")]
    pub fn auto(budget: Duration) -> Self {
        Self::of(Vec::new(), Some(budget))
    }

    fn of(steps: Vec<Step>, auto: Option<Duration>) -> Self {
        let (on_inconclusive, bake) = (OnInconclusive::default(), Bake::default());
        Self { steps, on_inconclusive, bake, cycle: None, auto, unguarded: false }
    }

    /// A shadow of a tenth of the traffic, then a canary of each weight, then promotion. A handle that does not shadow
    /// refuses it ([`RolloutError::NoShadowing`](crate::RolloutError::NoShadowing)): give it steps of canaries alone.
    ///
    /// It promotes no sooner than a day after its last step began, however clear the evidence is: that step lasts a whole
    /// [`cycle`](Self::cycle) of the traffic, a day by default. `.cycle(Duration::from_secs(3_600))` makes it an hour.
    /// While it waits for nothing else, the event [`WaitsForCycle`](crate::events::EventKind::WaitsForCycle) says until when.
    ///
    /// # Errors
    ///
    /// Weights must be shares of traffic, at least one, and must not shrink.
    pub fn ramp(
        weights: impl IntoIterator<Item: TryInto<Share, Error: Into<ShareError>>>,
    ) -> Result<Self, PlanError> {
        let mut steps = vec![Step::shadow(0.1)?];
        for weight in weights {
            steps.push(Step::canary(weight)?);
        }
        if steps.len() == 1 {
            return Err(PlanError::Empty);
        }
        Self::new(steps)
    }

    /// Changes every step alike.
    ///
    /// # Errors
    ///
    /// The changed steps are no plan: see [`new`](Self::new). The steps of an automatic plan are chosen when it is run.
    pub fn each(self, change: impl Fn(Step) -> Step) -> Result<Self, PlanError> {
        self.has_its_steps()?;
        let Self { steps, .. } = Self::new(self.steps.iter().copied().map(change))?;
        Ok(Self { steps, ..self })
    }

    /// Refuses to change steps that are not chosen yet.
    fn has_its_steps(&self) -> Result<(), PlanError> {
        if self.auto.is_some() { Err(PlanError::NotChosen) } else { Ok(()) }
    }

    /// What happens when a guard is inconclusive for longer than a step allows.
    #[must_use]
    pub fn on_inconclusive(mut self, policy: OnInconclusive) -> Self {
        self.on_inconclusive = policy;
        self
    }

    /// The time after which traffic repeats itself: the last step before the promotion lasts at least so long, and what
    /// the promotion rests on comes from that step alone. By default a day, since what holds at noon need not hold at
    /// night; of an automatic plan half of the time that a step has, where that is a day or less. Where the step's evidence begins
    /// anew within it ([`EvidenceReset`](crate::events::EventKind::EvidenceReset)), so does the cycle.
    #[must_use]
    pub fn cycle(mut self, cycle: Duration) -> Self {
        self.cycle = Some(cycle);
        self
    }

    /// How the new live is watched after its promotion.
    #[must_use]
    pub fn bake(mut self, bake: Bake) -> Self {
        self.bake = bake;
        self
    }

    /// Says that this plan is meant to be followed without any guard. [`Rollout::run`](crate::Rollout::run) refuses a plan
    /// that nothing guards unless it says so, because such a plan promotes whatever answers often enough. It takes nothing
    /// away from guards that there are.
    ///
    /// ```
    /// use switchback::Plan;
    ///
    /// let warm_up = Plan::ramp([0.05, 0.5])?.unguarded();
    /// # Ok::<(), switchback::plan::PlanError>(())
    /// ```
    #[must_use]
    pub fn unguarded(mut self) -> Self {
        self.unguarded = true;
        self
    }

    /// Whether it may be followed without any guard.
    pub(crate) fn is_unguarded(&self) -> bool {
        self.unguarded
    }

    /// The time that an automatic plan has, until its steps are chosen.
    pub(crate) fn budget(&self) -> Option<Duration> {
        self.auto
    }

    /// The steps, in their order; none of an automatic plan (`Plan::auto`) that was not run yet.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn policy(&self) -> OnInconclusive {
        self.on_inconclusive
    }

    /// The cycle that was said.
    #[cfg(any(feature = "config", feature = "forecast"))]
    pub(crate) fn cycle_said(&self) -> Option<Duration> {
        self.cycle
    }

    pub(crate) fn baking(&self) -> Bake {
        self.bake
    }

    /// How long a step lasts at least, whose evidence was last begun anew when it had lasted for `forgotten`: what the promotion rests on
    /// has seen a whole cycle.
    pub(crate) fn lasts(&self, step: usize, forgotten: Duration) -> Duration {
        let own = self.steps.get(step).map_or(Duration::ZERO, |step| step.min_duration);
        if step + 1 != self.steps.len() {
            return own;
        }
        own.max(forgotten.saturating_add(self.cycle.unwrap_or(DAY)))
    }

    /// The share of traffic that the candidate has after a step.
    pub(crate) fn weight_after(&self, step: usize) -> Share {
        self.steps.get(step + 1).map_or(Share::ALL, Step::weight)
    }

    /// Whether it needs a handle that shadows: for one of its steps, or for the version before as a shadow of the new live.
    pub fn needs_shadowing(&self) -> bool {
        self.bake.shadows() || self.steps.iter().any(|step| matches!(step.exposure, Exposure::Shadow { .. }))
    }

    /// The plan without its shadow steps, and without the version before as a shadow of the new live, for a handle that does not shadow.
    ///
    /// # Errors
    ///
    /// No step is left. The steps of an automatic plan are chosen when it is run: for a handle that does not shadow, without a shadow.
    pub fn without_shadow(mut self) -> Result<Self, PlanError> {
        self.has_its_steps()?;
        self.steps.retain(|step| !matches!(step.exposure, Exposure::Shadow { .. }));
        self.bake.previous_as_shadow = Share::NONE;
        if self.steps.is_empty() { Err(PlanError::Empty) } else { Ok(self) }
    }
}

/// The fields of a plan that is read.
pub(crate) const PLAN: [&str; 6] = ["steps", "auto", "on_inconclusive", "bake", "cycle", "unguarded"];

impl Plan {
    /// What is read, checked like [`Plan::new`].
    pub(crate) fn read(fields: &Table<'_>) -> Result<Self, Misread> {
        let mut read = Vec::new();
        for step in fields.read("steps", Value::list)?.unwrap_or_default() {
            read.push(Step::read(&step)?);
        }
        let auto = fields.read("auto", Value::time)?;
        let plan = match auto {
            Some(_) if !read.is_empty() => Err(PlanError::StepsAndAuto),
            Some(_) if !cfg!(feature = "forecast") => Err(PlanError::NoForecast),
            Some(budget) => Ok(Self::of(Vec::new(), Some(budget))),
            None => Self::new(read),
        };
        let mut plan = plan.map_err(|error| fields.refused(error))?;
        plan.on_inconclusive =
            fields.read("on_inconclusive", |value| value.word(&POLICIES))?.unwrap_or_default();
        plan.bake = fields.read("bake", Bake::read)?.unwrap_or_default();
        plan.cycle = fields.read("cycle", Value::time)?;
        plan.unguarded = fields.read("unguarded", Value::bool)?.unwrap_or_default();
        Ok(plan)
    }
}

/// Reads with serde what a function reads of a document.
macro_rules! read_as_a_document {
    ($type:ty, $read:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let node = Node::deserialize(deserializer)?;
                let read: fn(&Value<'_>) -> Result<Self, Misread> = $read;
                read(&Value::root(&node)).map_err(D::Error::custom)
            }
        }
    };
}

read_as_a_document!(Plan, |value| Plan::read(&value.table(&PLAN)?));
read_as_a_document!(Step, Step::read);
read_as_a_document!(Bake, Bake::read);

/// One step of a plan: how the candidate is exposed, and what must have happened before the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub(crate) exposure: Exposure,
    pub(crate) min_duration: Duration,
    pub(crate) min_predictions: u64,
    pub(crate) min_labels: u64,
    pub(crate) max_duration: Option<Duration>,
    pub(crate) max_predictions: Option<u64>,
}

/// The serialised form of a step.
#[derive(Serialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<InPercent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<InPercent>,
    #[serde(serialize_with = "write_time", skip_serializing_if = "Duration::is_zero")]
    min: Duration,
    #[serde(serialize_with = "write_time_if", skip_serializing_if = "Option::is_none")]
    max: Option<Duration>,
    min_predictions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_predictions: Option<u64>,
    #[serde(skip_serializing_if = "is_none")]
    min_labels: u64,
}

#[derive(Serialize)]
struct InPercent(#[serde(serialize_with = "write_share")] Share);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Step { exposure, min_duration, min_predictions, min_labels, max_duration, max_predictions } =
            *self;
        let (shadow, canary) = match exposure {
            Exposure::Shadow { sample } => (Some(InPercent(sample)), None),
            Exposure::Canary { weight } => (None, Some(InPercent(weight))),
        };
        let (min, max) = (min_duration, max_duration);
        Written { shadow, canary, min, max, min_predictions, max_predictions, min_labels }
            .serialize(serializer)
    }
}

/// The fields of a step.
const STEP: [&str; 7] =
    ["shadow", "canary", "min", "max", "min_predictions", "max_predictions", "min_labels"];

impl Step {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        let fields = value.table(&STEP)?;
        let shadow = fields.read("shadow", Value::share)?;
        let canary = fields.read("canary", Value::share)?;
        let exposure = match (shadow, canary) {
            (Some(sample), None) => Exposure::Shadow { sample },
            (None, Some(weight)) => Exposure::Canary { weight },
            (shadow, _) => {
                return Err(fields.refused(PlanError::OneExposure { both: shadow.is_some() }));
            }
        };
        let step = Self::of(exposure);
        Ok(Self {
            min_duration: fields.read("min", Value::time)?.unwrap_or_default(),
            max_duration: fields.read("max", Value::time)?,
            min_predictions: fields.read("min_predictions", Value::whole)?.unwrap_or(step.min_predictions),
            max_predictions: fields.read("max_predictions", Value::whole)?,
            min_labels: fields.read("min_labels", Value::whole)?.unwrap_or_default(),
            ..step
        })
    }
}

/// How a candidate is exposed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Exposure {
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
impl fmt::Display for Exposure {
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
    pub fn shadow(sample: impl TryInto<Share, Error: Into<ShareError>>) -> Result<Self, PlanError> {
        Ok(Self::of(Exposure::Shadow { sample: share_of(sample)? }))
    }

    /// A canary that answers this share of the requests.
    ///
    /// # Errors
    ///
    /// A share that is not a number in `0..=1`.
    pub fn canary(weight: impl TryInto<Share, Error: Into<ShareError>>) -> Result<Self, PlanError> {
        Ok(Self::of(Exposure::Canary { weight: share_of(weight)? }))
    }

    /// The step lasts at least this long. By default it may be left as soon as guards pass.
    #[must_use]
    pub fn min_duration(mut self, duration: Duration) -> Self {
        self.min_duration = duration;
        self
    }

    /// The candidate answers at least this many requests in this step. By default 100: fewer say little of anything.
    #[must_use]
    pub fn min_predictions(mut self, predictions: u64) -> Self {
        self.min_predictions = predictions;
        self
    }

    /// At least this many outcomes of the candidate's requests come in after the step began. By default 0.
    #[must_use]
    pub fn min_labels(mut self, labels: u64) -> Self {
        self.min_labels = labels;
        self
    }

    /// From the step's first request on, how long it may go without every guard passing. By default for ever. What happens
    /// then is the plan's [`OnInconclusive`].
    #[must_use]
    pub fn max_duration(mut self, duration: Duration) -> Self {
        self.max_duration = Some(duration);
        self
    }

    /// How many requests the candidate may answer in this step without every guard passing. By default any number. What
    /// happens then is the plan's [`OnInconclusive`].
    #[must_use]
    pub fn max_predictions(mut self, predictions: u64) -> Self {
        self.max_predictions = Some(predictions);
        self
    }

    /// How the candidate is exposed.
    pub fn exposure(&self) -> Exposure {
        self.exposure
    }

    fn of(exposure: Exposure) -> Self {
        Self {
            exposure,
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
        match self.exposure {
            Exposure::Shadow { .. } => Share::NONE,
            Exposure::Canary { weight } => weight,
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

/// The policies, in words.
pub(crate) const POLICIES: [(&str, OnInconclusive); 3] = [
    ("pause", OnInconclusive::Pause),
    ("roll_back", OnInconclusive::RollBack),
    ("continue", OnInconclusive::Continue),
];

/// How a version is watched after its promotion.
///
/// By itself, by a detector for each guard whose figure is a rate: it alarms once the rate has risen beyond what the
/// version showed as a candidate and the guard's margin on top. An alarm takes nothing back: a rate may rise because the
/// version is worse or because the world is. It wakes the version before as a shadow of the new one, and the guard's
/// paired test decides. Where that cannot be (no shadowing, a figure that exists only for what was shown), an event asks
/// for a person.
///
/// A limit that holds whatever live does (`at most 0.01`, `within 20 ms`) is asked of both in the same way once the version before is
/// awake. Where it never can be, such a limit takes the new live back by itself: what both versions failed on is left out, and so is a
/// time in which that alone broke the limit; but nobody can tell there whether it is the version or the world that has become slow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bake {
    /// How long; zero for not at all.
    #[serde(rename = "for", serialize_with = "write_time")]
    pub(crate) duration: Duration,
    /// The share of requests that the version before is given as a shadow meanwhile, alarm or not.
    #[serde(serialize_with = "write_share")]
    pub(crate) previous_as_shadow: Share,
    /// The share of requests that it is given once it is woken.
    #[serde(serialize_with = "write_share")]
    pub(crate) wake: Share,
    /// See [`Bake::run_length`].
    pub(crate) run_length: f64,
}

/// The fields of a watch.
const BAKE: [&str; 4] = ["for", "previous_as_shadow", "wake", "run_length"];

impl Bake {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        let fields = value.table(&BAKE)?;
        let usual = Self::default();
        let time = fields.read("for", Value::time)?;
        let watch = Self {
            duration: time.unwrap_or_default(),
            previous_as_shadow: fields.read("previous_as_shadow", Value::share)?.unwrap_or_default(),
            wake: fields.read("wake", Value::share)?.unwrap_or(usual.wake),
            ..usual
        };
        let watch = match fields.get("run_length") {
            Some(field) => {
                let units = run_length(field.number()?).map_err(|error| field.refused(error))?;
                Self { run_length: units, ..watch }
            }
            None => watch,
        };
        let told =
            ["previous_as_shadow", "wake", "run_length"].into_iter().find(|name| fields.get(name).is_some());
        match told {
            // What is written by serde has all of its fields.
            Some(name) if time.is_none() => {
                let why = format!(
                    "`{name}` is of a watch, and there is none: say how long it takes, as `for = \"3d\"`"
                );
                Err(fields.refused(why))
            }
            _ => Ok(watch),
        }
    }
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
    /// request on which the new live fails is answered by the version before. Guards of drift and of estimated quality
    /// do not: they compare a candidate with live.
    pub fn new(duration: Duration) -> Self {
        Self { duration, ..Self::default() }
    }

    /// Meanwhile the version before runs as the shadow of the new one on this share of requests from the start, rather
    /// than once it is woken: a regression is seen sooner, for the price of running two models.
    ///
    /// # Errors
    ///
    /// A share that is not a number in `0..=1`; a watch that takes no time ([`PlanError::NoWatch`]).
    pub fn keep_previous_as_shadow(
        self,
        sample: impl TryInto<Share, Error: Into<ShareError>>,
    ) -> Result<Self, PlanError> {
        let previous_as_shadow = share_of(sample)?;
        self.of_a_watch("keep_previous_as_shadow")?;
        Ok(Self { previous_as_shadow, ..self })
    }

    /// Whether the version before shadows from the start.
    pub(crate) fn shadows(&self) -> bool {
        !self.duration.is_zero() && self.previous_as_shadow > Share::NONE
    }

    /// The share of requests that the version before is given as a shadow once a detector has alarmed. By default a fifth,
    /// so that the paired test has its answer soon; 0 for never.
    ///
    /// # Errors
    ///
    /// A share that is not a number in `0..=1`; a watch that takes no time ([`PlanError::NoWatch`]).
    pub fn wake(self, sample: impl TryInto<Share, Error: Into<ShareError>>) -> Result<Self, PlanError> {
        let wake = share_of(sample)?;
        self.of_a_watch("wake")?;
        Ok(Self { wake, ..self })
    }

    /// How many units a detector lets pass on average before it alarms although nothing is worse than it may be. By default
    /// 10,000. An alarm costs some shadow runs, no more.
    ///
    /// # Errors
    ///
    /// A number that does not lie between 100 and 10^12: a detector that alarms more often than that watches nothing. A watch that takes
    /// no time ([`PlanError::NoWatch`]).
    pub fn run_length(self, units: f64) -> Result<Self, PlanError> {
        let run_length = run_length(units)?;
        self.of_a_watch("run_length")?;
        Ok(Self { run_length, ..self })
    }

    /// Refuses to say something of a watch that takes no time.
    fn of_a_watch(&self, option: &'static str) -> Result<(), PlanError> {
        if self.duration.is_zero() { Err(PlanError::NoWatch { option }) } else { Ok(()) }
    }
}

/// The units that a detector lets pass on average, where it is one.
fn run_length(units: f64) -> Result<f64, PlanError> {
    if (100.0..=1e12).contains(&units) {
        Ok(units)
    } else {
        Err(PlanError::RunLength { units: units.to_string() })
    }
}

/// A plan that cannot be followed.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
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
    /// A step must last longer than it may.
    #[error(
        "step {step}: it lasts for at least {min:?}, which is longer than the {max:?} that guards may take, so they could never be in time"
    )]
    LastsTooLong {
        /// The step, counted from 1.
        step: usize,
        /// How long it lasts at least.
        min: Duration,
        /// How long guards may be inconclusive.
        max: Duration,
    },
    /// A step must have more requests than it may.
    #[error(
        "step {step}: it has at least {min} predictions, which are more than the {max} that guards may take, so they could never be in time"
    )]
    AsksTooMuch {
        /// The step, counted from 1.
        step: usize,
        /// How many requests the candidate answers at least; 100 by default.
        min: u64,
        /// For how many guards may be inconclusive.
        max: u64,
    },
    /// A step that was read says not how the candidate is exposed, or says it twice.
    #[error("a step has {}: give it one of both", if *both { "`shadow` and `canary`" } else { "neither `shadow` nor `canary`" })]
    OneExposure {
        /// Whether it says both.
        both: bool,
    },
    /// A plan that was read has steps, and says that they are to be chosen.
    #[error(
        "the plan has `auto` and `steps`: leave out `steps` where they are to be chosen, or `auto` where they are given"
    )]
    StepsAndAuto,
    /// A plan that was read is to be chosen, and this build cannot forecast.
    #[error(
        "the plan has `auto`, and this build lacks the feature `forecast`, which chooses its steps: add it, or give `steps`"
    )]
    NoForecast,
    /// Steps of an automatic plan were to be changed.
    #[error(
        "the steps of an automatic plan are chosen when it is run: change what it says of all, or give steps"
    )]
    NotChosen,
    /// An automatic plan that has no time.
    #[error("an automatic plan has a budget of 0 s: give it the time that a rollout may take")]
    NoBudget,
    /// A detector that would alarm all the time, or never.
    #[error("bake: run_length = {units} is not between 100 and 10^12 units")]
    RunLength {
        /// What was asked for.
        units: String,
    },
    /// Something was said of a watch that takes no time, so that there is none.
    #[error(
        "bake: `{option}` is of a watch, and there is none: say how long it takes, as `Bake::new(duration)`"
    )]
    NoWatch {
        /// What was said.
        option: &'static str,
    },
    /// A number that is not a share of traffic.
    #[error(transparent)]
    Share(#[from] ShareError),
}

debug_as_told!(PlanError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_readable_and_checked_as_it_is_read() {
        let json = r#"{"steps": [{"shadow": 0.1, "min_labels": 50},
                                 {"canary": 0.25, "min_predictions": 10}],
                       "bake": {"for": "1d", "previous_as_shadow": 0.05}}"#;
        let plan: Plan = serde_json::from_str(json).unwrap();
        assert_eq!(plan.steps()[0].min_labels, 50);
        assert_eq!(plan.steps()[1].exposure(), Exposure::Canary { weight: Share::new(0.25).unwrap() });
        assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
        for (bad, why) in [
            (r#"{"steps": []}"#, "no step"),
            (r#"{"steps": [{"canary": 2}]}"#, "steps[0].canary: 2 is no share: write \"2 %\" or 0.02"),
            (r#"{"steps": [{"canary": 0.5}, {"canary": 0.1}]}"#, "from 50 % to 10 %"),
            (
                r#"{"steps": [{"canary": {"weight": 0.5, "more": 1}}]}"#,
                "steps[0].canary: a table is no share",
            ),
            (r#"{"steps": [{"canary": 0.5, "min_lables": 5}]}"#, "`min_lables`"),
            (r#"{"steps": [{"canary": 0.5}], "bkae": {}}"#, "`bkae`"),
            (r#"{"steps": [{"canary": 0.5}], "bake": {"wkae": 1}}"#, "`wkae`"),
            (
                r#"{"steps": [{"canary": 0.5}], "bake": {"run_length": 1}}"#,
                "bake.run_length: bake: run_length = 1 is not",
            ),
            (
                r#"{"steps": [{"canary": 0.5}], "bake": {"previous_as_shadow": 0.05}}"#,
                "bake: `previous_as_shadow` is of a watch, and there is none: say how long it takes, as `for = \"3d\"`",
            ),
            (r#"{"steps": [{"canary": 0.5, "shadow": 0.5}]}"#, "`shadow` and `canary`"),
            (r#"{"steps": [{"min_labels": 5}]}"#, "neither `shadow` nor `canary`"),
            (r#"{"steps": [{"canary": 0.5}], "auto": "60s"}"#, "`auto` and `steps`"),
            (
                r#"{"steps": [{"canary": 0.5, "min": "9s", "max": "8s"}]}"#,
                "step 1: it lasts for at least 9s, which is longer than the 8s that guards may take",
            ),
            (
                r#"{"steps": [{"canary": 0.5, "max_predictions": 8}]}"#,
                "step 1: it has at least 100 predictions, which are more than the 8 that guards may take",
            ),
        ] {
            let error = serde_json::from_str::<Plan>(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    /// Bug: a step in a configuration was `{"canary": {"weight": 0.05}, "min_duration": {"secs": 3600, "nanos": 0}}`, which
    /// nobody writes. Cause: it was what serde derives. Fix: it is written as people do, and read in no other way.
    #[test]
    fn a_plan_is_written_as_people_do() {
        let written = r#"{"steps":[{"shadow":"10 %","min_predictions":100,"min_labels":500},{"canary":"25 %","min":"1h","max":"7d 500ms","min_predictions":10,"max_predictions":9000}],"on_inconclusive":"roll_back","bake":{"for":"3d","previous_as_shadow":"5 %","wake":"20 %","run_length":10000.0},"cycle":"12h"}"#;
        let read: Plan = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
        let bake: Bake = serde_json::from_str(r#"{"for":"1min"}"#).unwrap();
        assert_eq!(bake, Bake::new(Duration::from_secs(60)));
        let step: Step = serde_json::from_str(r#"{"canary": 0.05}"#).unwrap();
        assert_eq!(step, Step::canary(0.05).unwrap());
        #[cfg(feature = "forecast")]
        {
            let auto: Plan = serde_json::from_str(r#"{"auto":"7d"}"#).unwrap();
            assert_eq!(auto, Plan::auto(DAY * 7));
            assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&auto).unwrap()).unwrap(), auto);
        }
        for (bad, why) in [
            (
                r#"{"steps": [{"canary": "1 %"}, {"canary": 5}]}"#,
                "steps[1].canary: 5 is no share: write \"5 %\" or 0.05",
            ),
            (r#"{"stpes": []}"#, "stpes: `stpes` is no field here, did you mean `steps`?"),
            (r#"{"steps": {}}"#, "steps: a table is no list"),
            (r#"{"steps": [{"canary": "1 %", "min_duration": "1h"}]}"#, "`min_duration` is no field here"),
            (r#"{"steps": [{"canary": "1 %", "min": {"secs": 60, "nanos": 0}}]}"#, "a table is no time"),
            (r#"{"steps": [{"canary": "1 %"}], "bake": {"duration": "3d"}}"#, "`duration` is no field here"),
            (
                r#"{"steps": [{"canary": "1 %"}], "on_inconclusive": "rollback"}"#,
                "did you mean \"roll_back\"?",
            ),
            (r#"{"steps": [{"canary": "1 %"}], "bake": {"for": 3}}"#, "bake.for: 3 is no time"),
            (r#"{"steps": [{"canary": "1 %", "canary": "2 %"}]}"#, "`canary` is given twice"),
        ] {
            let error = serde_json::from_str::<Plan>(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_plan_says_whether_it_is_meant_to_be_unguarded() {
        let plan = Plan::ramp([0.5]).unwrap();
        assert!(!plan.is_unguarded() && !serde_json::to_string(&plan).unwrap().contains("unguarded"));
        let meant = plan.unguarded();
        let read: Plan = serde_json::from_str(&serde_json::to_string(&meant).unwrap()).unwrap();
        assert!(read.is_unguarded() && read == meant);
    }

    #[test]
    fn steps_that_were_changed_are_checked_again() {
        let plan = || Plan::ramp([0.1, 0.5]).unwrap();
        assert_eq!(plan().each(|step| step.min_labels(5)).unwrap().steps()[2].min_labels, 5);
        let minute = Duration::from_secs(60);
        let contradictory = plan().each(|step| step.min_duration(minute * 2).max_duration(minute));
        assert!(matches!(contradictory, Err(PlanError::LastsTooLong { step: 1, .. })));
    }

    /// Bug: a change of all steps of an automatic plan was dropped, nothing told. Cause: it was applied to the steps that there were, which is
    /// none. Fix: it is refused.
    #[cfg(feature = "forecast")]
    #[test]
    fn steps_that_are_not_chosen_yet_are_not_changed() {
        let auto = || Plan::auto(DAY * 7);
        assert_eq!(auto().each(|step| step.min_labels(5)), Err(PlanError::NotChosen));
        assert_eq!(auto().without_shadow(), Err(PlanError::NotChosen));
    }

    /// Bug: what was said of a watch that takes no time was kept and never meant anything, where a file that says it is refused. Cause: it was
    /// looked at there alone. Fix: in code too.
    #[test]
    fn what_is_said_of_no_watch_is_refused() {
        let none = |option| Err(PlanError::NoWatch { option });
        assert_eq!(Bake::default().keep_previous_as_shadow(0.1), none("keep_previous_as_shadow"));
        assert_eq!(Bake::new(Duration::ZERO).wake(0.1), none("wake"));
        assert_eq!(Bake::default().run_length(200.0), none("run_length"));
        let watch = Bake::new(DAY).keep_previous_as_shadow(0.1).and_then(|watch| watch.run_length(200.0));
        assert!(watch.unwrap().shadows());
        assert!(matches!(Bake::default().wake(2.0), Err(PlanError::Share(_))));
    }

    #[test]
    fn a_ramp_has_a_shadow_first_and_never_shrinks() {
        assert!(matches!(Plan::ramp([0.5, 0.1]), Err(PlanError::Shrinks { .. })));
        assert!(matches!(Plan::ramp([0.0; 0]), Err(PlanError::Empty)));
        assert!(matches!(Plan::ramp([f64::NAN]), Err(PlanError::Share(_))));
        // Numbers, or shares.
        let halves = [Share::new(0.25).unwrap(), Share::new(0.5).unwrap()];
        assert_eq!(Plan::ramp(halves).unwrap(), Plan::ramp([0.25, 0.5]).unwrap());
        assert_eq!(Plan::ramp([0.5]).unwrap().without_shadow().unwrap().steps().len(), 1);
    }
}

//! The tables of a configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::section::{Part, Read, Size, Span, section, words};
use crate::base::node::{Misread, Node, Value, time};
use crate::rollout::guard::Stated;
use crate::rollout::guard::design::{Design, Setting};
use crate::rollout::guard::guard::Guard;
use crate::rollout::plan::{PLAN, Plan};
use crate::task::outcome::{Actual, Outcome};

section! {
    /// A whole file.
    Told {
        /// The name of the handle: in its status, its events and its figures.
        name: String,
        /// When labels are evidence. Or "at random", where when they come has nothing to do with what they say.
        labels: Labels,
        /// The errors that a rollout's decisions may have.
        error_budget: ErrorBudget,
        /// The folder in which decisions and evidence outlive the process.
        state: State,
        /// Where versions are published. It is read by the host, which opens it.
        repository: Repository,
        /// Copies of requests on which candidates are tried.
        shadow: Shadow,
        /// The versions that are kept for a rollback.
        retain: Retain,
        /// How the data is watched.
        drift: Drift,
        /// Parts of the traffic that are looked at by themselves.
        segments: Segments,
        /// The limits on what is held and awaited.
        limits: Limits,
        /// Who does the work that is not a request's.
        threads: Threads,
        /// Where the key is that seals printed ids and decides who is on a canary: never the key itself.
        secret: Secret,
        /// How a candidate becomes live, and what takes it back.
        rollout: Rollout,
    }
    needs "name"
}

section! {
    /// When truth comes.
    LabelFields {
        /// The age at which a prediction's truth is known if it ever will be, such as "1d".
        complete_after: Span,
        /// Whether when a label comes has nothing to do with what it says; false takes back what the code says of it.
        at_random: bool,
        /// The age at which a prediction without an outcome is taken to have the one that `means` says.
        silence: Span,
        /// The outcome that silence means: a class, 0 or 1 for yes or no, or a number as { value = 0.5 }.
        means: Means,
        /// How long outcomes are waited for: at least twice as long as until labels are complete or silence is settled, and less is refused; "7d" by default, or that much where it is longer.
        horizon: Span,
        /// Memory for telling repeated outcomes; "64 MiB" by default.
        memory: Size,
        /// How long an outcome may be corrected; "1h" by default.
        corrections: Span,
        /// The share of answers that are let through although they would hide their truth.
        exploration: Part,
    }
}

/// [`LabelFields`] that make sense together, or `"at random"` for one of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Labels(pub(super) LabelFields);

impl Read for Labels {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        if matches!(value.node(), Node::Text(_)) {
            value.word(&[("at random", ())])?;
            return Ok(Self(LabelFields { at_random: Some(true), ..LabelFields::default() }));
        }
        let fields = LabelFields::read(value)?;
        if fields.at_random == Some(true) && fields.complete_after.is_some() {
            return Err(value.refused("labels are complete after a time or come at random: give one of both"));
        }
        if fields.silence.is_some() != fields.means.is_some() {
            return Err(value.refused("`silence` says from when on and `means` what: give both or none"));
        }
        Ok(Self(fields))
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [{ "const": "at random" }, LabelFields::schema()] })
    }
}

/// The meaning of silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Means {
    Class(u16),
    Value(f64),
}

section! {
    /// The meaning of silence, in full.
    MeansFields {
        /// A class: 0 or 1 for yes or no.
        class: u32,
        /// A number.
        value: f64,
    }
}

impl Means {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Class(class) => Outcome { actual: Actual::Class(class), known_at: None },
            Self::Value(value) => Outcome { actual: Actual::Value(value), known_at: None },
        }
    }
}

impl Read for Means {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        match value.node() {
            Node::Whole(_) => value.whole().map(Self::Class),
            Node::Number(_) => value.number().map(Self::Value),
            _ => match MeansFields::read(value)? {
                MeansFields { class: Some(class), value: None } => u16::try_from(class)
                    .map(Self::Class)
                    .map_err(|_| value.refused(format_args!("{class} is no class: there are at most 65536"))),
                MeansFields { class: None, value: Some(number) } => Ok(Self::Value(number)),
                _ => Err(value.refused("an outcome is `class` or `value`: give one of both")),
            },
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [{ "type": "number" }, MeansFields::schema()] })
    }
}

/// In full where a format may write 1.0 as 1, which would be a class.
impl Serialize for Means {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = match self {
            Self::Class(class) => return serializer.serialize_u16(*class),
            Self::Value(value) => MeansFields { class: None, value: Some(*value) },
        };
        fields.serialize(serializer)
    }
}

section! {
    /// The errors of decisions.
    ErrorBudget {
        /// The probability that a candidate within all margins is ever taken back for harm; "1 %" by default.
        harm: Part,
        /// The probability that a candidate beyond one of the margins is ever promoted; "5 %" by default.
        promotion: Part,
    }
}

words! {
    /// The policy for a rollout whose candidate was on trial when the process crashed.
    AfterCrash {
        Pause = "pause",
        Resume = "resume",
        RollBack = "roll_back",
    }
}

section! {
    /// A folder of state.
    StateFields {
        /// The folder, of this handle's own.
        folder: PathBuf,
        /// The policy for a rollout whose candidate was on trial when the process crashed: "pause" (the default),
        /// "resume" or "roll_back".
        after_crash: AfterCrash,
        /// How often evidence is written where nothing is decided; "10s" by default.
        checkpoint_every: Span,
    }
    needs "folder"
}

/// [`StateFields`], or the folder alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct State(pub(super) StateFields);

impl Read for State {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        if matches!(value.node(), Node::Text(_)) {
            return Ok(Self(StateFields { folder: Some(PathBuf::read(value)?), ..StateFields::default() }));
        }
        StateFields::read(value).map(Self)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [PathBuf::schema(), StateFields::schema()] })
    }
}

words! {
    /// The reaction to a version that was published.
    OnPublish {
        Tell = "tell",
        Stage = "stage",
        Run = "run",
    }
}

section! {
    /// Where versions are published.
    Repository {
        /// The repository's folder.
        path: PathBuf,
        /// The version or the tag that is opened first.
        version: String,
        /// The reaction to a version that is published: "tell" (the default), "stage", or "run" with the plan of `rollout`,
        /// which must be there, and its guards. In a fleet whoever looks first does it for all, by its own file.
        on_publish: OnPublish,
    }
    needs "path"
}

section! {
    /// Copies of requests.
    Shadow {
        /// How many threads run copies; 1 by default, up to 256.
        workers: usize,
        /// How many copies may wait; 1024 by default, up to 65536.
        entries: usize,
        /// How many bytes of copies may wait; "64 MiB" by default.
        bytes: Size,
        /// How far two scores or numbers may lie apart and still agree; 0.01 by default.
        tolerance: f64,
        /// Whether live shadows the requests that a canary answers; true by default.
        canary_pairs: bool,
    }
}

section! {
    /// The versions that are kept for a rollback.
    Retain {
        /// How many versions are kept; 2 by default, up to 64.
        versions: usize,
        /// How long a version is kept; without it there is no limit.
        keep_for: Span,
        /// How long a version with a prepared form stays ready to answer at once; "10m" by default. One without stays ready, unless `retain.memory` is exceeded.
        hot_for: Span,
        /// How long a version with a prepared form stays warm then, counted from when it was retained; for ever by default.
        warm_for: Span,
        /// The most that retained versions may take of the process's own memory together; without it there is no limit.
        memory: Size,
        /// How retained versions are kept proven, which is not done by default: how often they are asked, or { every = "1m", inputs = 12, at_most = "1 %" }.
        drill: Drill,
        /// How long an identity that did harm is not tried again; without it until somebody releases it.
        quarantine_for: Span,
        /// How many answers of a candidate can be listed again once it was taken back; none by default.
        answers: usize,
    }
}

section! {
    /// How retained versions are kept proven.
    DrillFields {
        /// How often.
        every: Span,
        /// How many inputs each version is asked.
        inputs: usize,
        /// The share of one core's time that drills may take.
        at_most: Part,
    }
}

/// [`DrillFields`], or how often alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Drill(pub(super) DrillFields);

impl Read for Drill {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        if matches!(value.node(), Node::Table(_)) {
            return DrillFields::read(value).map(Self);
        }
        Ok(Self(DrillFields { every: Some(Span::read(value)?), ..DrillFields::default() }))
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [Span::schema(), DrillFields::schema()] })
    }
}

words! {
    /// Hours that an hour is compared with.
    Season {
        HourOfDay = "hour_of_day",
        HourOfWeek = "hour_of_week",
    }
}

words! {
    /// The reaction where the world has drifted.
    OnDrift {
        Tell = "tell",
        Pause = "pause",
    }
}

section! {
    /// How the data is watched.
    Drift {
        /// The share of requests that are counted; "10 %" by default.
        sample: Part,
        /// When a window is full: after a time, "1h" by default, or with { rows = 10000 }.
        window: Window,
        /// The hours that an hour is compared with, too: "hour_of_day" or "hour_of_week".
        season: Season,
        /// The reaction where live drifts as well as a candidate: "tell" (the default) or "pause".
        on_shared_drift: OnDrift,
        /// After how many windows in a row that have drifted it is told; 2 by default.
        begins_after: u32,
        /// After how many windows in a row that have not it is told to be over; 3 by default.
        ends_after: u32,
    }
}

/// When a window is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    Span(Duration),
    Rows(u64),
}

section! {
    /// A window of rows.
    WindowFields {
        /// How many rows.
        rows: u64,
    }
    needs "rows"
}

impl Read for Window {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        if matches!(value.node(), Node::Table(_)) {
            return Ok(Self::Rows(WindowFields::read(value)?.rows.unwrap_or_default()));
        }
        value.time().map(Self::Span)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [Span::schema(), WindowFields::schema()] })
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Span(span) => serializer.serialize_str(&time(*span)),
            Self::Rows(rows) => WindowFields { rows: Some(*rows) }.serialize(serializer),
        }
    }
}

section! {
    /// Parts of the traffic.
    Segments {
        /// How many are told apart; 64 by default, up to 256.
        max: usize,
    }
}

words! {
    /// The policy for pinned streams when their version is taken off.
    PinPolicy {
        Finish = "finish",
        Supersede = "supersede",
    }
}

section! {
    /// The limits on what is held and awaited.
    Limits {
        /// The policy for pinned streams when their version is taken off: "finish" (the default) or "supersede".
        pin_policy: PinPolicy,
        /// How many streams may be pinned at a time; 1024 by default.
        pins: usize,
        /// How long a pinned stream may last; "10m" by default.
        pin_lasts: Span,
        /// How long a candidate may take before live answers in its place; without it there is no limit.
        candidate_deadline: Span,
        /// Whether threads of the handle's ask candidates that have a deadline; by default they do.
        candidates_beside: bool,
        /// How many calls of one candidate may be under way at a time, up to 64; by default it follows from its share.
        candidate_calls: usize,
        /// From when on a call that has not ended counts as one that never will; twice the deadline by default and 100 ms at least, "30s" where there is none.
        overdue_after: Span,
        /// How long a version may take to get ready; "10m" by default.
        staging_deadline: Span,
        /// After how many failures in a row a version is passed over; 5 by default, 0 for never.
        circuit_breaker: u32,
        /// How many events are remembered; 1024 by default.
        events: usize,
    }
}

words! {
    /// Who ticks.
    Ticks {
        Background = "background",
        Manual = "manual",
        Nobody = "nobody",
    }
}

words! {
    /// Which time of the processor's loads get.
    LoadPriority {
        Idle = "idle",
        Low = "low",
        Full = "full",
    }
}

section! {
    /// Who does the work that is not a request's.
    Threads {
        /// Who ticks: "background" threads of the handle's (the default), the host as "manual" says, or "nobody".
        ticks: Ticks,
        /// How often guards are asked; "1s" by default.
        tick_every: Span,
        /// Which time of the processor's loads get: "idle" (the default), "low" or "full".
        load_priority: LoadPriority,
        /// Into how many stripes figures are divided; two per core by default, up to 16.
        stripes: usize,
    }
}

section! {
    /// Where a secret stands.
    SecretFields {
        /// The variable of the process that has it, as 32 hexadecimal digits.
        env: String,
        /// The file that has it, as 32 hexadecimal digits.
        file: PathBuf,
    }
}

/// Where a secret stands: one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Secret {
    Env(String),
    File(PathBuf),
}

impl Read for Secret {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        // Not shown, as every other wrong value would be.
        if !matches!(value.node(), Node::Table(_)) {
            return Err(value.refused(
                "a secret does not stand in a file: say where it is, { env = \"LATE_KEY\" } or { file = \"/run/secrets/late\" }",
            ));
        }
        match SecretFields::read(value)? {
            SecretFields { env: Some(variable), file: None } => Ok(Self::Env(variable)),
            SecretFields { env: None, file: Some(file) } => Ok(Self::File(file)),
            _ => Err(value.refused("a secret stands in one place: give `env` or `file`")),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        SecretFields::schema()
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = match self.clone() {
            Self::Env(variable) => SecretFields { env: Some(variable), file: None },
            Self::File(file) => SecretFields { env: None, file: Some(file) },
        };
        fields.serialize(serializer)
    }
}

/// How a candidate becomes live, and what takes it back.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Rollout {
    pub(super) guards: Vec<Stated>,
    /// Where anything of one is said.
    pub(super) plan: Option<Plan>,
}

impl Told {
    /// The guards of each rollout.
    pub(crate) fn guards(&self) -> &[Stated] {
        self.rollout.as_ref().map_or(&[], |rollout| &rollout.guards)
    }

    /// A rule among the guards that could never judge in a setting, and why. Guards of drift ask what is known once versions run.
    pub(crate) fn judges_nothing(&self, setting: &Setting<'_>) -> Option<(String, String)> {
        self.guards().iter().filter_map(Guard::as_rule).find_map(|rule| {
            let reason = setting.lacks(&rule.needs()).or_else(|| Design::refused(rule, setting))?;
            Some((rule.to_string(), reason))
        })
    }
}

impl Read for Rollout {
    fn read(value: &Value<'_>) -> Result<Self, Misread> {
        let known: Vec<&str> = std::iter::once("guards").chain(PLAN).collect();
        let fields = value.table(&known)?;
        let guards = fields.read("guards", Vec::<Stated>::read)?.unwrap_or_default();
        let planned = PLAN.iter().any(|field| fields.get(field).is_some());
        let plan = if planned { Some(Plan::read(&fields)?) } else { None };
        Ok(Self { guards, plan })
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        super::tests::rollout_schema()
    }
}

/// The guards, and the fields of the plan beside them.
impl Serialize for Rollout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(plan) = &self.plan else {
            let mut fields = serializer.serialize_struct("Rollout", 1)?;
            fields.serialize_field("guards", &self.guards)?;
            return fields.end();
        };
        let mut fields = serializer.serialize_struct("Rollout", 6)?;
        fields.serialize_field("guards", &self.guards)?;
        match plan.budget() {
            Some(budget) => fields.serialize_field("auto", &Span(budget))?,
            None => fields.serialize_field("steps", plan.steps())?,
        }
        fields.serialize_field("on_inconclusive", &plan.policy())?;
        if let Some(cycle) = plan.cycle_said() {
            fields.serialize_field("cycle", &Span(cycle))?;
        }
        fields.serialize_field("bake", &plan.baking())?;
        fields.serialize_field("unguarded", &plan.is_unguarded())?;
        fields.end()
    }
}

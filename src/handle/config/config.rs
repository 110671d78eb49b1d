//! A configuration, and what a builder is told by it.

use std::fmt;
use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ConfigError;
use super::section::Read;
use super::sections::{self, Secret, Told};
use crate::base::invalid::ArgumentError;
use crate::base::node::{Misread, Node, Table, Value};
use crate::base::share::Share;
use crate::base::text;
use crate::control::pins::PinPolicy;
#[cfg(feature = "state")]
use crate::handle::options::StateFolder;
use crate::handle::options::labels::Arrival;
use crate::handle::options::threads::Ticks;
use crate::handle::options::{Labels, Limits, Retention, Shadowing, Threads};
use crate::rollout::budget::ErrorBudget;
use crate::rollout::guard::Stated;
use crate::rollout::plan::Plan;
use crate::version::priority::LoadPriority;

/// A file that describes a handle and its rollouts, in any format that serde reads: see [`config`](crate::config).
///
/// Every field but `name` can be left out, and what is left out stays as the code says or as it is by default. It is written
/// with serde too, in the same words.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    told: Told,
}

/// Where versions are published, as a configuration says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepositorySource<'a> {
    path: &'a Path,
    version: Option<&'a str>,
}

impl<'a> RepositorySource<'a> {
    /// The repository's folder.
    pub fn path(self) -> &'a Path {
        self.path
    }

    /// The version or the tag that is opened first.
    pub fn version(self) -> Option<&'a str> {
        self.version
    }
}

/// What is another in a file that was read again: see [`ModelHandle::reconfigure`](crate::ModelHandle::reconfigure).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "guards, plan and repository are the host's to follow"]
pub struct Reconfigured {
    /// The section `retain`: the handle follows it from now on.
    pub retain: bool,
    /// Guards or the plan. A rollout that runs keeps its own; the next one has these if it is begun with them, and what is published if
    /// `Follow::set_policy` has said so to whoever follows.
    pub rollout: bool,
    /// The repository, the version to begin with, or what follows from one that is published: the host opens another repository and
    /// follows that; to the same one `Follow::set_policy` will do.
    pub repository: bool,
}

impl fmt::Display for Reconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = [
            (self.retain, "the retention is as the file says now"),
            (
                self.rollout,
                "whoever begins rollouts is to have the file's guards and plan, and one that runs keeps its own",
            ),
            (self.repository, "the repository, or what follows from a version that is published, is another"),
        ];
        let mut told = told.iter().filter_map(|(is, told)| is.then_some(*told));
        f.write_str(told.next().unwrap_or("nothing is changed"))?;
        told.try_for_each(|told| write!(f, "; {told}"))
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Node::deserialize(deserializer)?;
        Self::read(&node).map_err(D::Error::custom)
    }
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.told.serialize(serializer)
    }
}

impl Config {
    fn read(node: &Node) -> Result<Self, Misread> {
        let value = Value::root(node);
        let config = Self { told: Told::read(&value)? };
        let table = value.table(Told::FIELDS)?;
        config.check(&table)?;
        Ok(config)
    }

    /// Refuses a number that its option would refuse, where it stands.
    fn check(&self, table: &Table<'_>) -> Result<(), Misread> {
        let at = |error: ArgumentError| {
            let path = path_of(&error.argument);
            table.refused_at(path, format_args!("{} is refused, it must be {}", error.value, error.allowed))
        };
        if self.name().is_empty() {
            return Err(table.refused_at("name", "it is empty: say what the handle is called"));
        }
        self.labels(Labels::new()).check().map_err(at)?;
        self.shadowing(Shadowing::new()).check().map_err(at)?;
        self.limits(Limits::new()).check().map_err(at)?;
        self.threads(Threads::default()).check().map_err(at)?;
        self.retention(Retention::new()).and_then(|retention| retention.check()).map_err(at)?;
        self.error_budget(ErrorBudget::default()).check().map_err(|error| {
            let part = if error.part == "harm" { "harm" } else { "promotion" };
            table.refused_at(&format!("error_budget.{part}"), error)
        })?;
        #[cfg(feature = "drift")]
        self.drift().apply(crate::drift::watch::Drift::new()).check().map_err(at)?;
        let on_publish = self.told.repository.as_ref().and_then(|repository| repository.on_publish);
        if matches!(on_publish, Some(sections::OnPublish::Run)) && self.plan().is_err() {
            let why = "a version that is published is to be run, and the file has no plan: add `steps` or `auto` to `rollout`, or say \"stage\"";
            return Err(table.refused_at("repository.on_publish", why));
        }
        Ok(())
    }

    /// Returns the handle's name.
    pub fn name(&self) -> &str {
        self.told.name.as_deref().unwrap_or_default()
    }

    /// The guards of each rollout: give them to [`Rollout::guards`](crate::Rollout::guards).
    pub fn guards(&self) -> Vec<Stated> {
        self.told.guards().to_vec()
    }

    /// How a candidate becomes live: give it to [`Rollout::run`](crate::Rollout::run).
    ///
    /// # Errors
    ///
    /// The file says nothing of it.
    pub fn plan(&self) -> Result<Plan, ConfigError> {
        self.told.rollout.as_ref().and_then(|rollout| rollout.plan.clone()).ok_or(ConfigError::NoPlan)
    }

    /// Where versions are published, if the file says so. The host opens it, since only code knows how versions are read.
    pub fn repository(&self) -> Option<RepositorySource<'_>> {
        let told = self.told.repository.as_ref()?;
        Some(RepositorySource { path: told.path.as_deref()?, version: told.version.as_deref() })
    }

    /// Returns what follows from a version that is published, for [`ModelHandle::follow`](crate::ModelHandle::follow):
    /// nothing, unless the file says more.
    ///
    /// # Errors
    ///
    /// A published version is to be tried, and the file says no plan: such a file is not read to begin with.
    #[cfg(all(feature = "onnx", feature = "repository"))]
    pub fn on_publish(&self) -> Result<crate::handle::follow::OnPublish, ConfigError> {
        use crate::handle::follow::OnPublish;
        Ok(match self.told.repository.as_ref().and_then(|repository| repository.on_publish) {
            None | Some(sections::OnPublish::Tell) => OnPublish::Tell,
            Some(sections::OnPublish::Stage) => OnPublish::Stage,
            Some(sections::OnPublish::Run) => OnPublish::Run(self.plan()?),
        })
    }

    /// What the file says, to be compared with later.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// What this file says differently from the one before that a running handle or its host can follow, and the sections that are
    /// another and hold from a start on.
    pub(crate) fn compared(&self, before: &Told) -> (Reconfigured, Vec<&'static str>) {
        // Each section is one or the other: a new one does not compile before it was thought of.
        let Told {
            name: _,
            labels,
            error_budget,
            state,
            repository,
            shadow,
            retain,
            drift,
            segments,
            limits,
            threads,
            secret,
            rollout,
        } = &self.told;
        let differ = [
            ("labels", *labels != before.labels),
            ("error_budget", *error_budget != before.error_budget),
            ("state", *state != before.state),
            ("shadow", *shadow != before.shadow),
            ("drift", *drift != before.drift),
            ("segments", *segments != before.segments),
            ("limits", *limits != before.limits),
            ("threads", *threads != before.threads),
            ("secret", *secret != before.secret),
        ];
        let fields = differ.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect();
        let reconfigured = Reconfigured {
            retain: *retain != before.retain,
            rollout: *rollout != before.rollout,
            repository: *repository != before.repository,
        };
        (reconfigured, fields)
    }

    /// Refuses what this build can do nothing with.
    pub(crate) fn lacking(&self) -> Result<(), ConfigError> {
        let lacks = |told: bool, there: bool, path, feature| {
            if told && !there { Err(ConfigError::Feature { path, feature }) } else { Ok(()) }
        };
        lacks(self.told.state.is_some(), cfg!(feature = "state"), "state", "state")?;
        lacks(self.told.repository.is_some(), cfg!(feature = "repository"), "repository", "repository")?;
        lacks(self.told.drift.is_some(), cfg!(feature = "drift"), "drift", "drift")
    }

    pub(crate) fn labels(&self, mut labels: Labels) -> Labels {
        let Some(sections::Labels(told)) = &self.told.labels else { return labels };
        match (told.complete_after, told.at_random) {
            (Some(age), _) => labels.arrival = Some(Arrival::CompleteAfter(age.0)),
            (None, Some(true)) => labels.arrival = Some(Arrival::AtRandom),
            // What the code says stands where the file says nothing, and only there.
            (None, Some(false)) => {
                labels.arrival.take_if(|arrival| matches!(arrival, Arrival::AtRandom));
            }
            (None, None) => {}
        }
        if let (Some(after), Some(means)) = (told.silence, told.means) {
            labels.assumed = Some((after.0, means.outcome()));
        }
        set(&mut labels.horizon, told.horizon.map(|time| Some(time.0)));
        set(&mut labels.memory_bytes, told.memory.map(|size| size.bytes()));
        set(&mut labels.corrections, told.corrections.map(|time| time.0));
        set(&mut labels.exploration, told.exploration.map(|share| Some(share.0)));
        labels
    }

    pub(crate) fn error_budget(&self, mut budget: ErrorBudget) -> ErrorBudget {
        if let Some(told) = &self.told.error_budget {
            set(&mut budget.harm, told.harm.map(|error| error.0));
            set(&mut budget.promotion, told.promotion.map(|error| error.0));
        }
        budget
    }

    /// The copies of requests, if anything is said of them.
    pub(crate) fn shadows(&self) -> bool {
        self.told.shadow.is_some()
    }

    pub(crate) fn shadowing(&self, mut shadowing: Shadowing) -> Shadowing {
        if let Some(told) = &self.told.shadow {
            set(&mut shadowing.workers, told.workers);
            set(&mut shadowing.queue_entries, told.entries);
            set(&mut shadowing.queue_bytes, told.bytes.map(|size| size.bytes()));
            set(&mut shadowing.tolerance, told.tolerance);
            set(&mut shadowing.canary_pairs, told.canary_pairs);
        }
        shadowing
    }

    pub(crate) fn retention(&self, mut retention: Retention) -> Result<Retention, ArgumentError> {
        let Some(told) = &self.told.retain else { return Ok(retention) };
        set(&mut retention.versions, told.versions);
        set(&mut retention.keep_for, told.keep_for.map(|time| Some(time.0)));
        set(&mut retention.quarantine_for, told.quarantine_for.map(|time| Some(time.0)));
        set(&mut retention.answers, told.answers);
        let mut tiers = retention.tiers;
        tiers = told.hot_for.map_or(tiers.clone(), |time| tiers.hot_for(time.0));
        tiers = told.warm_for.map_or(tiers.clone(), |time| tiers.warm_for(time.0));
        tiers = told.memory.map_or(tiers.clone(), |size| tiers.private_bytes(size.0));
        retention.tiers = tiers;
        if let Some(sections::Drill(told)) = &told.drill {
            let mut drill = retention.drill.unwrap_or_default();
            if let Some(every) = told.every {
                drill = drill.every(every.0);
            }
            if let Some(inputs) = told.inputs {
                drill = drill.inputs(inputs)?;
            }
            if let Some(share) = told.at_most {
                drill = drill.at_most(Share::new(share.0).unwrap_or_default())?;
            }
            retention.drill = Some(drill);
        }
        Ok(retention)
    }

    pub(crate) fn limits(&self, mut limits: Limits) -> Limits {
        set(&mut limits.segments, self.told.segments.as_ref().and_then(|segments| segments.max));
        let Some(told) = &self.told.limits else { return limits };
        set(
            &mut limits.pin_policy,
            told.pin_policy.map(|policy| match policy {
                sections::PinPolicy::Finish => PinPolicy::Finish,
                sections::PinPolicy::Supersede => PinPolicy::Supersede,
            }),
        );
        set(&mut limits.pins, told.pins);
        set(&mut limits.pin_lasts, told.pin_lasts.map(|time| time.0));
        set(&mut limits.candidate_deadline, told.candidate_deadline.map(|time| Some(time.0)));
        set(&mut limits.candidates_beside, told.candidates_beside.map(Some));
        set(&mut limits.candidate_calls, told.candidate_calls.map(Some));
        set(&mut limits.overdue_after, told.overdue_after.map(|time| Some(time.0)));
        set(&mut limits.staging_deadline, told.staging_deadline.map(|time| time.0));
        set(&mut limits.circuit_breaker, told.circuit_breaker);
        set(&mut limits.events, told.events);
        limits
    }

    pub(crate) fn threads(&self, mut threads: Threads) -> Threads {
        let Some(told) = &self.told.threads else { return threads };
        set(
            &mut threads.ticks,
            told.ticks.map(|ticks| match ticks {
                sections::Ticks::Background => Ticks::Background,
                sections::Ticks::Manual => Ticks::Manual,
                sections::Ticks::Nobody => Ticks::Nobody,
            }),
        );
        set(&mut threads.tick_every, told.tick_every.map(|time| time.0));
        set(
            &mut threads.load_priority,
            told.load_priority.map(|priority| match priority {
                sections::LoadPriority::Idle => LoadPriority::Idle,
                sections::LoadPriority::Low => LoadPriority::Low,
                sections::LoadPriority::Full => LoadPriority::Full,
            }),
        );
        set(&mut threads.stripes, told.stripes);
        threads
    }

    #[cfg(feature = "state")]
    pub(crate) fn state(&self, folder: Option<StateFolder>) -> Option<StateFolder> {
        use crate::control::adopt::AfterCrash;
        let Some(sections::State(told)) = self.told.state.as_ref() else { return folder };
        let mut folder = folder.or_else(|| told.folder.as_ref().map(StateFolder::new))?;
        set(&mut folder.folder, told.folder.clone());
        set(
            &mut folder.after_crash,
            told.after_crash.map(|policy| match policy {
                sections::AfterCrash::Pause => AfterCrash::Pause,
                sections::AfterCrash::Resume => AfterCrash::Resume,
                sections::AfterCrash::RollBack => AfterCrash::RollBack,
            }),
        );
        set(&mut folder.checkpoint_every, told.checkpoint_every.map(|time| time.0));
        Some(folder)
    }

    /// Whether anything is said of how the data is watched.
    #[cfg(feature = "drift")]
    pub(crate) fn drifts(&self) -> bool {
        self.told.drift.is_some()
    }

    #[cfg(feature = "drift")]
    pub(crate) fn drift(&self) -> sections::Drift {
        self.told.drift.clone().unwrap_or_default()
    }

    /// The secret, from where the file says that it is.
    pub(crate) fn secret(&self) -> Result<Option<[u8; 16]>, ConfigError> {
        let (path, place, told) = match &self.told.secret {
            None => return Ok(None),
            Some(Secret::Env(variable)) => {
                let missing = |_| ConfigError::Variable { variable: variable.clone() };
                ("secret.env", format!("the variable {variable}"), std::env::var(variable).map_err(missing)?)
            }
            Some(Secret::File(file)) => {
                let refused =
                    |cause| ConfigError::File { file: file.clone(), cause: std::sync::Arc::new(cause) };
                ("secret.file", file.display().to_string(), std::fs::read_to_string(file).map_err(refused)?)
            }
        };
        match text::key(told.trim()) {
            Some(key) => Ok(Some(key)),
            None => Err(ConfigError::Secret { path, place }),
        }
    }
}

#[cfg(feature = "drift")]
impl sections::Drift {
    /// Applies what the file says to what the code says of drift.
    pub(crate) fn apply(&self, mut drift: crate::drift::watch::Drift) -> crate::drift::watch::Drift {
        use crate::drift::watch::OnDrift;
        use crate::drift::{Season, WindowSize};
        set(&mut drift.sample, self.sample.map(|share| share.0));
        set(
            &mut drift.window,
            self.window.map(|window| match window {
                sections::Window::Span(span) => WindowSize::Span(span),
                sections::Window::Rows(rows) => WindowSize::Rows(rows),
            }),
        );
        set(
            &mut drift.season,
            self.season.map(|season| match season {
                sections::Season::HourOfDay => Some(Season::HourOfDay),
                sections::Season::HourOfWeek => Some(Season::HourOfWeek),
            }),
        );
        set(
            &mut drift.on_shared_drift,
            self.on_shared_drift.map(|policy| match policy {
                sections::OnDrift::Tell => OnDrift::Tell,
                sections::OnDrift::Pause => OnDrift::Pause,
            }),
        );
        set(&mut drift.begins_after, self.begins_after);
        set(&mut drift.ends_after, self.ends_after);
        drift
    }
}

fn set<T>(field: &mut T, told: Option<T>) {
    if let Some(told) = told {
        *field = told;
    }
}

/// Where an option stands in a file.
fn path_of(argument: &str) -> &str {
    match argument {
        "labels.assumed_after" => "labels.silence",
        "labels.memory_bytes" => "labels.memory",
        "shadowing.queue_entries" => "shadow.entries",
        "shadowing.queue_bytes" => "shadow.bytes",
        "shadowing.tolerance" => "shadow.tolerance",
        "shadowing.workers" => "shadow.workers",
        "retention.versions" => "retain.versions",
        "retention.answers" => "retain.answers",
        "the number of inputs of a drill" => "retain.drill.inputs",
        "the share of time of a drill" => "retain.drill.at_most",
        "limits.segments" => "segments.max",
        // The others are called as they are in code.
        other => other,
    }
}

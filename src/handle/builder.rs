//! How a handle is built.

use std::cell::Cell;
use std::error::Error;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::build_error::BuildError;
use super::changeable::Changeable;
use super::chores::CHORES_WAITING;
#[cfg(feature = "config")]
use super::config::{Config, ConfigError, Told};
use super::core::Core;
#[cfg(feature = "fleet")]
use super::fleet::{Joined, Membership, open_agreed};
use super::handle::ModelHandle;
use super::keeper::Keeping;
#[cfg(feature = "fleet")]
use super::keeper::load;
use super::loader::{First, Loader, Needs};
#[cfg(feature = "state")]
use super::options::StateFolder;
use super::options::threads::Ticks;
use super::options::{Inputs, Labels, Limits, Retention, Shadowing, Threads};
use super::pool::Pool;
use super::supervised::Beats;
use super::traces::Traces;
use super::workers::Workers;
use crate::base::chance::{Dice, mix};
use crate::base::clock::Clock;
#[cfg(all(feature = "state", feature = "testing"))]
use crate::base::faults::Faults;
use crate::base::gate::Gate;
#[cfg(feature = "state")]
use crate::base::guarded::Contained;
use crate::base::invalid::ArgumentError;
use crate::base::os;
use crate::base::sync::Came;
use crate::control::control::Control;
use crate::control::settings::Settings;
use crate::drift::watch::Drift;
use crate::drift::watch::watch::DriftWatch;
use crate::feedback::id::SealKey;
use crate::feedback::join::{Assumption, JoinLimits, Joins};
use crate::model::model::Model;
use crate::request::ahead::TakenBack;
use crate::request::beside::AskBeside;
use crate::request::pace::Pace;
use crate::request::recall::Answers;
use crate::request::serving::{Bells, Serving};
use crate::request::shadow::{ShadowOptions, ShadowQueue};
use crate::rollout::budget::ErrorBudget;
#[cfg(feature = "config")]
use crate::rollout::guard::design::{Setting, TruthKind};
use crate::stats::counting::exposure::ExposureOptions;
use crate::stats::evidence::waiting::Maturity;
use crate::task::kpi::Kpi;
use crate::task::outcome::Truth;
use crate::task::segments::Segments;
use crate::task::task::{Task, TaskKind};
use crate::version::drill::Recent;
use crate::version::input::{CopyInput, Keep};
use crate::version::prepare::StageError;
#[cfg(feature = "state")]
use crate::version::source::ModelSource;

/// Builds a [`ModelHandle`]. Only [`live`](Self::live) must be told; every other setter says what its default is, and
/// why. They can be called in any order, and come in groups: see [`options`](crate::options).
#[must_use = "nothing is built before `build`"]
pub struct Builder<I: ?Sized + 'static, O: 'static> {
    name: String,
    live: Option<First<I, O>>,
    task: Task<O>,
    inputs: Inputs<I>,
    labels: Labels,
    shadowing: Option<Shadowing>,
    /// Set by whoever asks for a shadow, whatever is said of inputs before or after.
    copy_to_shadow: Option<CopyInput<I>>,
    retention: Retention,
    /// The last file that was followed, and what it was said on top of.
    #[cfg(feature = "config")]
    configured: Option<(Told, Retention)>,
    keeping: Keeping<I, O>,
    drift: Option<Drift>,
    /// The drift section of a file, for what the code says before; applied when all of that is known.
    #[cfg(all(feature = "config", feature = "drift"))]
    drift_told: Option<super::config::Drift>,
    threads: Threads,
    limits: Limits,
    error_budget: ErrorBudget,
    #[cfg(feature = "fleet")]
    fleet: Option<super::options::Fleet>,
    clock: Option<Clock>,
    seed: Option<u64>,
    secret: Option<[u8; 16]>,
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Begins to build a handle; `name` appears in `status()` and decides, with the number of a rollout, which keys go
    /// first.
    pub fn builder(name: impl Into<String>) -> Builder<I, O> {
        Builder::new(name.into())
    }
}

impl<I: ?Sized + 'static, O: 'static> Builder<I, O> {
    fn new(name: String) -> Self {
        Self {
            name,
            live: None,
            task: Task::unlabelled(),
            inputs: Inputs::new(),
            labels: Labels::default(),
            shadowing: None,
            copy_to_shadow: None,
            retention: Retention::default(),
            #[cfg(feature = "config")]
            configured: None,
            keeping: Keeping::default(),
            drift: None,
            #[cfg(all(feature = "config", feature = "drift"))]
            drift_told: None,
            threads: Threads::default(),
            limits: Limits::default(),
            error_budget: ErrorBudget::default(),
            #[cfg(feature = "fleet")]
            fleet: None,
            clock: None,
            seed: None,
            secret: None,
        }
    }

    /// The version that answers from the start, under a name of 1 to 47 bytes.
    pub fn live(mut self, name: impl AsRef<str>, model: impl Model<I, O> + 'static) -> Self {
        self.live = Some(First::Model(name.as_ref().into(), Box::new(model)));
        self
    }

    /// The same, of a version that is opened only where it is needed: at a first start, and where none of the versions that the
    /// state names can be had. At every other start what is live stands there, and is found by
    /// the source: so what `open` would open may be gone by then.
    ///
    /// ```
    /// # use switchback::{ModelHandle, closure, model::LoadError};
    /// let handle = ModelHandle::builder("late")
    ///     .live_with(|| Ok::<_, LoadError>(("v1", closure("rule@1", |x: &f64| Ok(*x > 15.0)))))
    ///     .build()?;
    /// assert_eq!(handle.live(), "v1");
    /// # Ok::<(), switchback::BuildError>(())
    /// ```
    ///
    /// At a first start [`build`](Self::build) fails with whatever error `open` gives; at a later one that needs it, it is among the reasons
    /// of `BuildError::NoneLeft`, with those of the versions that the state names.
    pub fn live_with<N: AsRef<str>, M: Model<I, O> + 'static, E: Into<Box<dyn Error + Send + Sync>>>(
        mut self,
        open: impl FnOnce() -> Result<(N, M), E> + Send + 'static,
    ) -> Self {
        self.live = Some(First::Opened(Box::new(move || {
            let (name, model) = open().map_err(|error| StageError::from(error.into()))?;
            Ok((name.as_ref().into(), Box::new(model) as Box<dyn Model<I, O>>))
        })));
        self
    }

    /// Sets what the predictions are. Without it they are only counted and timed.
    pub fn task(mut self, task: Task<O>) -> Self {
        self.task = task;
        self
    }

    /// Sets what may be done with inputs, and what is known of them: a sample, copies, sizes, segments,
    /// features. By default nothing.
    pub fn inputs(mut self, inputs: Inputs<I>) -> Self {
        self.inputs = inputs;
        self
    }

    /// When labels come, and what their absence means.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Requests may be copied, so candidates can be tried as shadows.
    pub fn shadowing(mut self, shadowing: Shadowing) -> Self
    where
        I: ToOwned,
        I::Owned: Send + 'static,
    {
        self.shadowing = Some(shadowing);
        self.copy_to_shadow = Some(|input| Box::new(Keep::new(input.to_owned())));
        self
    }

    /// Sets what is kept for a rollback, and what is never tried again.
    pub fn retention(mut self, retention: Retention) -> Self {
        #[cfg(feature = "config")]
        if let Some((_, below)) = &mut self.configured {
            below.clone_from(&retention);
        }
        self.retention = retention;
        self
    }

    /// Keeps what is decided and seen in a folder of this handle's own, so that a start goes on with it: what is live,
    /// retained and quarantined, rollouts with their phase and evidence, outcomes of predictions made before. Without it a
    /// start knows nothing, and [`live`](Self::live) is what it begins with. Takes a path, or a
    /// [`StateFolder`](crate::options::StateFolder).
    ///
    /// With it, `live` is what the *first* start begins with, and what a later one falls back to where none of the versions
    /// it remembers can be had. Those come from [`source`](Self::source).
    ///
    /// Exposure is raised once it is on disk that it will be, and lowered before it is: see [`state`](crate::state) for what
    /// is written, when, and what a start does with it.
    ///
    /// One process at a time has the folder. A second one, as in a rolling deploy, answers with what is live there, also where
    /// that is changed meanwhile (it looks at each tick), tries nothing, and takes over at the first tick after the other one has [closed](ModelHandle::close) its
    /// handle or ended: rollouts go on there. What was taken back or frozen here until then stays so.
    #[cfg(feature = "state")]
    pub fn state(mut self, folder: impl Into<StateFolder>) -> Self {
        self.keeping.folder = Some(folder.into());
        self
    }

    /// Where a start finds the versions that it remembers: a repository, or a closure from a name to a model. A handle that remembers nothing,
    /// without [`state`](Self::state) and in no fleet, asks for none: so a host may say it whether or not it keeps state.
    #[cfg(feature = "state")]
    pub fn source(mut self, source: impl ModelSource<I, O> + 'static) -> Self {
        self.keeping.source = Some(Arc::new(Contained::new(Box::new(source))));
        self
    }

    /// Has steps on the disk fail as told, in a test of the host's: does it keep serving?
    #[cfg(all(feature = "state", feature = "testing"))]
    pub fn disk_faults(mut self, faults: Faults) -> Self {
        self.keeping.faults = Some(faults);
        self
    }

    /// Watches what the versions say, and what comes in where [`Inputs::features`] says what the features are: see [`Drift`].
    /// By default nothing is watched, unless the features are told. Windows of drift are not kept where state (`Builder::state`) is: after a start they
    /// begin again.
    #[cfg(feature = "drift")]
    pub fn drift(mut self, drift: Drift) -> Self {
        self.drift = Some(drift);
        // What a file has said of it before.
        #[cfg(feature = "config")]
        {
            self.drift_told = None;
        }
        self
    }

    /// Who does the work that is not a request's. By default threads of the handle's do: see [`Threads`].
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Bounds of what is pinned, awaited and remembered.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The errors that decisions may have; see [`ErrorBudget`] for the defaults.
    pub fn error_budget(mut self, budget: ErrorBudget) -> Self {
        self.error_budget = budget;
        self
    }

    /// Makes the handle a member of a fleet: one rollout over all processes that are. See [`Fleet`](crate::options::Fleet). It takes the
    /// place of [`state`](Self::state), which is for a handle that is alone.
    ///
    /// [`live`](Self::live) is what the *first* process founds the fleet with; what later ones begin with is what is agreed on. They
    /// find that, and whatever any of them stages, by its name at the [`source`](Self::source). All must open the same bytes
    /// under one name: a process in which a version has another identity does not use it, and no plan goes on without it.
    ///
    /// What is retained for a rollback, and for how long an identity is quarantined, goes by the options of the process that decides: give
    /// all the same.
    ///
    /// What is done through a handle holds for all then. What raises exposure returns once it is agreed on; what lowers it is
    /// true here at once, and everywhere within two seconds as a rule, within ten where a process cannot ask the store.
    #[cfg(feature = "fleet")]
    pub fn fleet(mut self, fleet: super::options::Fleet) -> Self {
        self.fleet = Some(fleet);
        self
    }

    /// Where time comes from. By default the system.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes chance repeatable: who is sampled, who is on a canary without a key. Each start from one folder of state draws its
    /// own from it. With it, and with one
    /// [stripe](crate::options::Threads::stripes) and one thread, two runs are alike. A member of a fleet draws its name by itself all
    /// the same, since two with one seed are two processes; and so are two handles with one seed and names of their own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The key that seals printed ids, and decides which keys are on a canary. Without it the one that lies in the folder of
    /// `state` is used for the ids, and where no state is kept a new one is drawn at each build. One that is given to a service
    /// with state for the first time makes outcomes of earlier predictions unknown. Give one to tell an id of another process of this service from a forged one. The members of a
    /// fleet have one of the fleet's secret, where none is given here.
    ///
    /// Who is on a canary follows from the key of a request and from what all replicas have alike: the name of the handle and the
    /// [`Identity`](crate::model::Identity) of the version that begins its canary while no other is on one. So a user has the
    /// same version on each replica, however many rollouts each of them had. Without a secret anybody who knows both can compute
    /// it (`xxh3_64(name '/' identity ':' key)`, the identity as 64 hexadecimal digits), choose keys that a candidate of 1 %
    /// answers, and have it taken off by a few inputs. With one, only who has the secret can. (SipHash-2-4 of the key, under two
    /// halves that are each the SipHash-2-4, under the secret, of `buckets`, a zero, `name/identity` and the number of the half,
    /// 0 or 1 as a byte; times 10,000, shifted by 64 bits.) One that is given or changed while a rollout runs changes who is on it.
    pub fn secret(mut self, secret: [u8; 16]) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Applies what a file says of this handle: of each group of options it changes the fields that it names, and
    /// leaves the others as they are. A group that is given in code after it, as by [`labels`](Self::labels), replaces
    /// what the file said of that group. See [`config`](crate::config).
    ///
    /// # Errors
    ///
    /// The file is another handle's, asks for what this build lacks, or names a secret that is not where it says. Numbers that
    /// an option cannot have were refused when the file was read.
    #[cfg(feature = "config")]
    pub fn configure(self, config: &Config) -> Result<Self, ConfigError>
    where
        I: ToOwned,
        I::Owned: Send + 'static,
    {
        let mut builder = self.configured_by(config)?;
        if config.shadows() {
            let shadowing = config.shadowing(builder.shadowing.take().unwrap_or_default());
            builder = builder.shadowing(shadowing);
        }
        Ok(builder)
    }

    /// The same for inputs that cannot be copied: like [`configure`](Self::configure), and refuses a file that says something of copies.
    ///
    /// # Errors
    ///
    /// Those of `configure`, and [`ConfigError::NoCopies`] where the file has `shadow`.
    #[cfg(feature = "config")]
    pub fn configure_without_copies(self, config: &Config) -> Result<Self, ConfigError> {
        if config.shadows() {
            return Err(ConfigError::NoCopies);
        }
        self.configured_by(config)
    }

    /// Applies all but what a file says of copies.
    #[cfg(feature = "config")]
    fn configured_by(mut self, config: &Config) -> Result<Self, ConfigError> {
        if config.name() != self.name {
            return Err(ConfigError::Name { handle: self.name, config: config.name().to_owned() });
        }
        config.lacking()?;
        self.secret = config.secret()?.or(self.secret);
        self.labels = config.labels(self.labels);
        self.error_budget = config.error_budget(self.error_budget);
        self.limits = config.limits(self.limits);
        self.threads = config.threads(self.threads);
        self.configured = Some((config.told().clone(), self.retention.clone()));
        // What it could refuse was refused when it was read.
        self.retention = config.retention(self.retention.clone()).unwrap_or(self.retention);
        #[cfg(feature = "state")]
        {
            self.keeping.folder = config.state(self.keeping.folder.take());
        }
        #[cfg(feature = "drift")]
        if config.drifts() {
            self.drift_told = Some(config.drift());
        }
        Ok(self)
    }

    /// Refuses guards of the configuration that could never judge here: else the first version that comes would not be tried.
    #[cfg(feature = "config")]
    fn check_guards(&self) -> Result<(), BuildError> {
        let Some((told, _)) = &self.configured else { return Ok(()) };
        // As the handle will say it of itself.
        let setting = Setting {
            kind: self.task.kind(),
            kpis: &self.task.kpis,
            truth: TruthKind::of(self.task.truth_kind(), self.labels.explored()),
            pairs: self.shadowing.is_some(),
            canary_pairs: self.shadowing.as_ref().is_none_or(|shadowing| shadowing.canary_pairs),
            compares: self.shadowing.is_some() && self.task.compare.is_some(),
            matures: self.labels.maturity().is_some(),
            segments: self.inputs.segment.as_ref().map(|_| self.limits.segments + 1),
        };
        let refused = told.judges_nothing(&setting);
        refused.map_or(Ok(()), |(name, reason)| Err(BuildError::Guard { name, reason }))
    }

    /// Refuses options that make no sense, before anything is opened or started.
    fn check_options(&self) -> Result<(), BuildError> {
        self.labels.check()?;
        if let Some(share) = self.labels.exploration {
            let hides = matches!(self.task.truth_kind(), Truth::Censored(_));
            let allowed =
                "left out: no answer hides its truth here; where answers do, declare `Truth::Censored`";
            ArgumentError::unless(hides, "labels.exploration", share, allowed)?;
        }
        self.limits.check()?;
        self.retention.check()?;
        self.threads.check()?;
        self.keeping.check()?;
        self.shadowing.as_ref().map_or(Ok(()), Shadowing::check)?;
        self.error_budget.check()?;
        #[cfg(feature = "fleet")]
        if let Some(fleet) = &self.fleet {
            fleet.check()?;
            if self.keeping.folder.is_some() {
                return Err(BuildError::Fleet {
                    reason: String::from("what it agrees on is in its store: leave `.state(..)` out"),
                });
            }
        }
        // A type without a destructor owns nothing: what it has is within its own size.
        if self.shadowing.is_some() && self.inputs.bytes_of.is_none() && std::mem::needs_drop::<I>() {
            return Err(BuildError::InputBytesUnknown);
        }
        let name = self.name.len();
        ArgumentError::unless(
            name <= NAME_MAX,
            "the length of the handle's name",
            name,
            "at most 256 bytes",
        )?;
        if self.retention.drill.is_some() && self.inputs.copy.or(self.copy_to_shadow).is_none() {
            return Err(BuildError::DrillWithoutCopies);
        }
        let binary = matches!(self.task.kind(), TaskKind::Binary { .. });
        if let Some(drift) = &self.drift {
            drift.check()?;
            if drift.is_calibrated() && !binary {
                return Err(BuildError::Calibration);
            }
        }
        Ok(())
    }

    /// Loads, checks and warms the live version, and starts the [`threads`](Self::threads).
    ///
    /// What is bounded of versions: how long each may take to get ready ([`Limits::staging_deadline`]), those of the start, of a
    /// take-over and those that are tried later alike. Of a start that remembers, one that is given up is missing, and if it was live the last
    /// one retained is instead, as where it cannot be had; without anything to go back to `build` returns an error. Of those that are
    /// tried, how many calls are under way
    /// ([`Limits::candidate_calls`]), when one that does not end has it taken off ([`Limits::overdue_after`]), and, where inputs are
    /// shared or may be copied, how long a caller waits for it ([`Limits::candidate_deadline`]). Where they can be neither, a
    /// candidate that never returns keeps the threads of as many callers as it may have calls under way.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(mut self) -> Result<ModelHandle<I, O>, BuildError>
    where
        O: Send,
    {
        #[cfg(all(feature = "config", feature = "drift"))]
        if let Some(told) = self.drift_told.take() {
            self.drift = Some(told.apply(self.drift.take().unwrap_or_default()));
        }
        self.check_options()?;
        #[cfg(feature = "config")]
        self.check_guards()?;
        let embedded = self.live.take();
        let clock = self.clock.take().unwrap_or_default();
        // A secret that is drawn, here or in a folder of state, is another one on each replica.
        let split = self.secret;
        let began = self.keeping.begin(&self.name, &mut self.secret)?;
        let lives = began.lives();
        let seed = match self.seed {
            Some(seed) => seed,
            None => random_bytes().map(u64::from_le_bytes)?,
        };
        // Two members with one seed are two processes all the same: an id says whose it is.
        #[cfg(feature = "fleet")]
        let seed_of_process = self.fleet.as_ref().map_or(self.seed, |fleet| fleet.seed);
        #[cfg(not(feature = "fleet"))]
        let seed_of_process = self.seed;
        let drawn = match seed_of_process {
            Some(seed) => mix(seed.wrapping_add(lives - 1)),
            None => random_bytes().map(u64::from_le_bytes)?,
        };
        // And so are two handles with one seed: neither counts what the other has predicted.
        let process = mix(drawn ^ xxh3_64(self.name.as_bytes()));
        // Members know each other's ids.
        #[cfg(feature = "fleet")]
        let shared = self.fleet.as_ref().and_then(|fleet| fleet.seal_of_ids());
        #[cfg(not(feature = "fleet"))]
        let shared = None;
        let secret = match self.secret.or(shared) {
            Some(secret) => secret,
            None => random_bytes()?,
        };
        let kpis: Arc<[Kpi]> = checked_kpis(std::mem::take(&mut self.task.kpis))?.into();
        let (check, compare) = (self.task.check.take(), self.task.compare.take());
        let inputs = self.inputs;
        let copy = inputs.copy.or(self.copy_to_shadow);
        let (maturity, explore) = (self.labels.maturity(), self.labels.explored());
        let segments = inputs.segment.map(|read| Segments::new(read, self.limits.segments));
        let table = segments.as_ref().map(|segments| Arc::clone(segments.table()));
        let kind = self.task.kind();
        let exposure = ExposureOptions {
            kind,
            kpis: kpis.len(),
            stripes: self.threads.stripes,
            awaits: self.labels.assumed.is_some(),
            trip_after: self.limits.circuit_breaker,
            maturity: maturity.unwrap_or(Maturity::AsTheyCome),
            segments: table.as_ref().map_or(0, |table| table.places()),
        };
        let joins = Joins::new(
            process,
            SealKey::new(secret),
            kind,
            self.task.truth_kind().clone(),
            Arc::clone(&kpis),
            join_limits(&self.labels),
            self.labels.assumed.map(|(after, outcome)| Assumption { after, actual: outcome.actual }),
        )
        .map_err(BuildError::Assumption)?
        .by_segment(table.clone());

        let threads = Arc::new(Beats::default());
        let loader = Loader {
            name: self.name.clone(),
            needs: Arc::new(Needs {
                task: self.task.reading(),
                check: check.clone(),
                sample: inputs.sample.clone(),
                #[cfg(feature = "state")]
                source: self.keeping.source.clone(),
            }),
            clock: clock.clone(),
            threads: Arc::clone(&threads),
            limit: self.limits.staging_deadline,
            told: Mutex::default(),
        };
        // The version that is brought along, once it is loaded: after a start that remembers it need not be the live one.
        let brought = Cell::new(None);
        let prepare = |id, own: Option<Box<dyn Model<I, O>>>| {
            let is_own = own.is_some();
            let version = loader.load(id, own)?;
            if is_own {
                brought.set(Some(id));
            }
            Ok(version)
        };
        #[cfg(feature = "fleet")]
        let mut joined = match &self.fleet {
            Some(fleet) => {
                let contract = [
                    ("the kind of the task", format!("{kind:?}")),
                    ("business figures", format!("{kpis:?}")),
                    ("the kind of truth", format!("{:?}", self.task.truth_kind())),
                    ("when labels are complete", format!("{maturity:?}")),
                    ("whether it shadows", self.shadowing.is_some().to_string()),
                    ("the number of segments", format!("{:?}", exposure.segments)),
                ];
                let seed = fleet.seed.map_or_else(|| random_bytes().map(u64::from_le_bytes), Ok)?;
                Some(Joined::join(fleet, &self.name, &contract, (seed, &clock))?)
            }
            None => None,
        };
        #[cfg(feature = "fleet")]
        let agreed = joined.as_mut().and_then(|joined| Some((joined.saved.take()?, joined)));
        #[cfg(feature = "fleet")]
        let (live, started) = match agreed {
            Some((saved, joined)) => {
                let loaded = load(&saved, embedded, &[], prepare)
                    .map_err(|versions| BuildError::NoneLeft { versions })?;
                if loaded.live.identity != saved.live.identity {
                    let (id, reason) = (saved.live.version, loaded.missing.get(&saved.live.version));
                    let reason = reason.cloned().unwrap_or_default();
                    let reason = format!("{id} is live there and cannot be used in this process: {reason}");
                    return Err(BuildError::Fleet { reason });
                }
                joined.loaded(loaded.loaded);
                (loaded.live, None)
            }
            None => self.keeping.live(began, embedded, prepare)?,
        };
        #[cfg(not(feature = "fleet"))]
        let (live, started) = self.keeping.live(began, embedded, prepare)?;
        let drift =
            DriftWatch::new(self.drift, inputs.features, kind, brought.get(), exposure.stripes, clock.now());
        let shadow = self.shadowing.zip(copy);
        let canary_pairs = shadow.as_ref().is_none_or(|(shadowing, _)| shadowing.canary_pairs);
        let workers = shadow.as_ref().map_or(0, |(shadowing, _)| shadowing.workers);
        #[cfg(feature = "fleet")]
        let counts_ends = joined.is_some();
        #[cfg(not(feature = "fleet"))]
        let counts_ends = false;
        let retention = self.retention;
        let settings = Settings {
            name: self.name,
            retain: retention.versions,
            retain_for: retention.keep_for,
            tick_interval: self.threads.tick_every,
            log_max: self.limits.events,
            windows: self.limits.windows,
            exposure,
            kpis,
            seed,
            split,
            shadowing: shadow.is_some(),
            canary_pairs,
            error_budget: self.error_budget,
            counts_ends,
            answered_max: retention.answers,
            pins_max: self.limits.pins,
            overdue_after: self.limits.overdue(),
            stopwatch: clock.clone(),
            pins: self.limits.pin_policy,
            pins_last: self.limits.pin_lasts,
            quarantine_for: retention.quarantine_for,
            tiers: retention.tiers.clone(),
            segments: table,
        };
        let beside = match self.limits.candidate_deadline {
            Some(_) if self.limits.asks_beside(&clock) => {
                let pool = Pool::new(&threads, &clock, self.limits.overdue());
                Some(Box::new(pool) as Box<dyn AskBeside<I, O>>)
            }
            _ => None,
        };
        let mut control = Control::new(settings, live, clock.now());
        control.answers = (retention.answers > 0).then(|| Arc::new(Answers::new(retention.answers)));
        // Every version is of this handle's types: it has just made them.
        let routing = control.table(&joins).typed().ok_or(BuildError::NoLive)?;
        let (keeper, remembered) = self.keeping.keeper(started, (process, lives), clock.now());
        let serving = Serving {
            routing: ArcSwap::from_pointee(routing),
            task: self.task,
            check,
            limit: self.limits.candidate_deadline,
            beside,
            copy,
            calls_max: self.limits.candidate_calls,
            threads: Came::new(THREADS_TOLD_APART),
            places: Arc::default(),
            clock,
            // Each life draws its own chance: the same again, over the short stretch from one restart to the next, would
            // put the same requests on the canary each time.
            dice: Dice::new(mix(seed ^ drawn), exposure.stripes),
            joins,
            shadow: shadow.map(|(shadowing, copy)| {
                ShadowQueue::new(ShadowOptions {
                    copy,
                    bytes_of: inputs.bytes_of.unwrap_or_else(|| Box::new(|input| size_of_val(input))),
                    entries_max: shadowing.queue_entries,
                    bytes_max: shadowing.queue_bytes,
                    compare,
                    tolerance: shadowing.tolerance,
                })
            }),
            explore,
            answers: control.answers.clone(),
            recent: copy.zip(retention.drill.clone()).map(|(copy, drill)| Recent::new(copy, drill)),
            drift,
            segments,
            bells: Bells::new(workers),
            pace: Pace::new(),
            taken_back: TakenBack::new(),
        };
        let ticks = self.threads.ticks;
        let traces = Traces::new(&mut control);
        let inner = Arc::new(Core {
            serving,
            #[cfg(feature = "tokio")]
            asides: super::aside::Asides::default(),
            traces,
            sample: inputs.sample,
            canary_pairs,
            matures: maturity.is_some(),
            driven: ticks != Ticks::Nobody,
            control: Gate::new(control),
            changeable: Changeable::new(
                retention,
                #[cfg(feature = "config")]
                self.configured,
            ),
            load_priority: self.threads.load_priority,
            loads: Mutex::default(),
            keeping_up: Mutex::new(None),
            staging_deadline: self.limits.staging_deadline,
            overdue_after: self.limits.overdue(),
            keeps_up_aside: ticks == Ticks::Background,
            chores_waiting: crossbeam_channel::bounded(CHORES_WAITING),
            chores_done: crossbeam_channel::unbounded(),
            threads,
            #[cfg(feature = "fleet")]
            fleet: joined.map(|joined| Membership::new(joined, process)),
            #[cfg(feature = "fleet")]
            open_agreed,
            ticking: Mutex::new(()),
            keeper,
            freed: os::ReturnFreeMemory,
        });
        inner.go_on(remembered);
        #[cfg(feature = "fleet")]
        inner.begin_in_fleet()?;
        loader.told.into_inner().into_iter().for_each(|event| inner.tell(event));
        inner.traces.emit();
        let threads = match ticks {
            Ticks::Background => {
                Workers::start(&inner, self.threads.tick_every, workers).map_err(|error| {
                    // With a word: that there is no thread is no crash of what is on trial.
                    inner.record_end();
                    #[cfg(feature = "fleet")]
                    inner.leave_fleet(std::time::Duration::ZERO);
                    BuildError::Thread(Arc::new(error))
                })?
            }
            Ticks::Manual | Ticks::Nobody => Workers::none(&inner.threads),
        };
        Ok(ModelHandle { inner, threads: Arc::new(threads), actor: None })
    }
}

/// How long outcomes are waited for, and in how much memory.
fn join_limits(labels: &Labels) -> JoinLimits {
    let (bitmap_bytes_max, correction) = (labels.memory_bytes, labels.corrections);
    JoinLimits { horizon: labels.waited_for(), bitmap_bytes_max, correction, ..JoinLimits::default() }
}

impl<I: ?Sized + 'static, O: 'static> std::fmt::Debug for Builder<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("task", &self.task).finish_non_exhaustive()
    }
}

/// The longest name of a handle, in bytes: it stands in every record.
const NAME_MAX: usize = 256;

/// Threads that are told apart where it is asked how many ask candidates: more than ask one handle at a time.
const THREADS_TOLD_APART: usize = 256;

/// The most business figures a handle can have: each has bits of its own for every prediction.
const KPIS_MAX: usize = 16;

fn checked_kpis(kpis: Vec<Kpi>) -> Result<Vec<Kpi>, BuildError> {
    for (place, kpi) in kpis.iter().enumerate() {
        let refused = |cause| Err(BuildError::Kpi { name: kpi.name().into(), cause });
        let sensible = |(low, high): (f64, f64)| low < high && (high - low).is_finite();
        if !kpi.low_and_high().is_none_or(sensible) {
            return refused(
                "its bounds and their distance must be finite, the lower one below the upper one",
            );
        }
        if kpis.iter().take(place).any(|earlier| earlier.name() == kpi.name()) {
            return refused("it is declared twice");
        }
        if place >= KPIS_MAX {
            return refused("a handle has at most 16");
        }
    }
    Ok(kpis)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], BuildError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| BuildError::Random(error.to_string()))?;
    Ok(bytes)
}

//! How a handle is built.

use std::borrow::Borrow;
#[cfg(feature = "state")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use thiserror::Error;

use super::core::Inner;
use super::handle::ModelHandle;
#[cfg(feature = "state")]
use super::record::Recorder;
#[cfg(feature = "state")]
use super::start::{Loaded, Opened, Remembered, StateOptions, load};
use super::threads::{Background, Threads};
use crate::base::chance::{Dice, mix};
use crate::base::clock::Clock;
#[cfg(feature = "state")]
use crate::base::disk::Files;
#[cfg(feature = "state")]
use crate::base::faults::Faults;
use crate::base::share::{InvalidShare, Share};
#[cfg(feature = "state")]
use crate::control::adopt::AfterCrash;
use crate::control::control::Control;
use crate::control::pins::PinPolicy;
use crate::control::settings::Settings;
use crate::drift::watch::Drift;
use crate::drift::watch::watch::DriftWatch;
use crate::feedback::id::SealKey;
use crate::feedback::join::{Assumption, JoinLimits, Joins};
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::request::recall::Answers;
use crate::request::shadow::{Compare, ShadowOptions, ShadowQueue};
use crate::rollout::guard::guard::Alpha;
#[cfg(feature = "state")]
use crate::state;
#[cfg(feature = "state")]
use crate::state::StateError;
#[cfg(feature = "state")]
use crate::state::names::Place;
use crate::stats::WindowConfig;
use crate::stats::counting::exposure::{ExposureOptions, default_stripes};
use crate::stats::evidence::waiting::Maturity;
use crate::task::kpi::Kpi;
use crate::task::outcome::Outcome;
use crate::task::segments;
use crate::task::segments::{SEGMENTS_DEFAULT, Segments};
use crate::task::task::{Task, TaskKind};
use crate::version::ask::Check;
use crate::version::drill::{Drill, Recent};
use crate::version::id::VersionId;
use crate::version::input::{Keep, KeptInput};
use crate::version::prepare::{StageError, prepare};
use crate::version::priority::LoadPriority;
#[cfg(feature = "state")]
use crate::version::source::ModelSource;
use crate::version::tiers::Tiers;

/// Builds a [`ModelHandle`]. Only [`live`](Self::live) must be told; every other setter says what holds without it, and
/// why.
#[must_use = "nothing is built before `build`"]
pub struct Builder<I: ?Sized + 'static, O: 'static> {
    name: String,
    live: Option<(String, Box<dyn Model<I, O>>)>,
    task: Task<O>,
    check: Option<Check<O>>,
    sample: Option<Box<dyn KeptInput<I> + Sync>>,
    kpis: Vec<Kpi>,
    assumption: Option<(Duration, Outcome)>,
    maturity: Option<Maturity>,
    explore: Option<f64>,
    alpha: Alpha,
    answered_max: usize,
    limits: JoinLimits,
    shadow: Option<ShadowOptions<I, O>>,
    shadow_workers: usize,
    background: Background,
    clock: Option<Clock>,
    seed: Option<u64>,
    secret: Option<[u8; 16]>,
    stripes: usize,
    candidate_deadline: Option<Duration>,
    trip_after: u32,
    canary_pairs: bool,
    retain: usize,
    retain_for: Option<Duration>,
    quarantine_for: Option<Duration>,
    tick_interval: Duration,
    log_limit: usize,
    windows: WindowConfig,
    load_priority: LoadPriority,
    tiers: Tiers,
    recent: Option<Recent<I>>,
    drift: Option<Drift<I>>,
    segment: Option<segments::Reader<I>>,
    segments_max: usize,
    pins: (PinPolicy, usize, Duration),
    #[cfg(feature = "state")]
    state: StateOptions<I, O>,
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
            check: None,
            sample: None,
            kpis: Vec::new(),
            assumption: None,
            maturity: None,
            explore: None,
            alpha: Alpha::default(),
            answered_max: 0,
            limits: JoinLimits::default(),
            shadow: None,
            shadow_workers: 1,
            background: Background::None,
            clock: None,
            seed: None,
            secret: None,
            stripes: default_stripes(),
            candidate_deadline: None,
            trip_after: 5,
            canary_pairs: true,
            retain: 2,
            retain_for: None,
            quarantine_for: None,
            tick_interval: Duration::from_secs(1),
            log_limit: 1_024,
            windows: WindowConfig::default(),
            load_priority: LoadPriority::default(),
            tiers: Tiers::default(),
            recent: None,
            drift: None,
            segment: None,
            segments_max: SEGMENTS_DEFAULT,
            pins: (PinPolicy::default(), 1_024, Duration::from_secs(600)),
            #[cfg(feature = "state")]
            state: StateOptions::default(),
        }
    }

    /// The version that answers from the start, under a name of 1 to 47 bytes.
    pub fn live(mut self, name: impl Into<String>, model: impl Model<I, O> + 'static) -> Self {
        self.live = Some((name.into(), Box::new(model)));
        self
    }

    /// What the predictions are. Without it they are only counted and timed.
    pub fn task(mut self, task: Task<O>) -> Self {
        self.task = task;
        self
    }

    /// What a valid answer is. An answer that fails is a failure of its version: a candidate's caller gets live's
    /// instead. What the task cannot read (a probability that is not a number, a class out of range) is invalid anyhow.
    pub fn check(mut self, valid: impl Fn(&O) -> bool + Send + Sync + 'static) -> Self {
        self.check = Some(Box::new(valid));
        self
    }

    /// A request that every version must answer, validly, before it takes any traffic. Without it a version is warmed
    /// up with an input made from its own signature, where it can make one.
    pub fn sample<T: Borrow<I> + Send + Sync + 'static>(mut self, sample: T) -> Self {
        self.sample = Some(Box::new(Keep(sample)));
        self
    }

    /// A business figure that outcomes may carry: see [`Outcome::kpi`]. At most 16.
    pub fn kpi(mut self, kpi: Kpi) -> Self {
        self.kpis.push(kpi);
        self
    }

    /// What silence means: a prediction without an outcome after `horizon` is taken to have this one. For clicks, where
    /// nobody ever says "no". A prediction then keeps a row until it is settled, up to 262,144 at a time; beyond half
    /// of that, a share of the predictions that is chosen by a hash of their ids takes part and the rest does not.
    /// Outcomes are waited for at least twice as long.
    pub fn assume_after(mut self, horizon: Duration, outcome: Outcome) -> Self {
        self.assumption = Some((horizon, outcome));
        self
    }

    /// How old a prediction must be for its truth to be known if it ever will be. Only then do labels become evidence for
    /// guards, those of one stretch of time together, within a sixteenth of this: labels that come early are not like the
    /// others (a cancelled flight is known before one that lands), and a comparison of early ones takes back good
    /// versions. What comes later still counts in the figures.
    ///
    /// Guards that judge by the truth need this or [`labels_come_at_random`](Self::labels_come_at_random); where
    /// [silence means something](Self::assume_after), its horizon will do.
    pub fn labels_complete_after(mut self, age: Duration) -> Self {
        self.maturity = Some(Maturity::After(age));
        self
    }

    /// When a label comes has nothing to do with what it says: a random sample that people label. Then labels are
    /// evidence as they come. See [`labels_complete_after`](Self::labels_complete_after) for when they are not.
    pub fn labels_come_at_random(mut self) -> Self {
        self.maturity = Some(Maturity::AsTheyCome);
        self
    }

    /// With [`Truth::Censored`](crate::Truth::Censored): the share of what an answer would hide that is let through at
    /// random, so that its truth is known. The host asks [`Answer::is_explored`](crate::Answer::is_explored) and, where
    /// it is, does not act on the answer. Each such truth counts for `1 / share` of its kind. Without it no version is
    /// promoted on truth that answers hide: only bounds are known.
    pub fn explore(mut self, share: f64) -> Self {
        self.explore = Some(share);
        self
    }

    /// The errors that decisions may have; see [`Alpha`] for what holds unless told.
    pub fn alpha(mut self, alpha: Alpha) -> Self {
        self.alpha = alpha;
        self
    }

    /// Keeps the ids of the last `predictions` that a candidate answered for callers, as a canary and while it is watched
    /// as live, so that they can be made again once it was taken back: see
    /// [`ModelHandle::recall`](crate::ModelHandle::recall). None unless told. About 150 bytes each, per rollout.
    pub fn remember_answers(mut self, predictions: usize) -> Self {
        self.answered_max = predictions;
        self
    }

    /// How long outcomes are waited for: seven days unless told. It decides how much memory tells repeats: a bit per
    /// prediction and figure within it, up to [`outcome_memory`](Self::outcome_memory).
    pub fn outcome_horizon(mut self, horizon: Duration) -> Self {
        self.limits.horizon = horizon;
        self
    }

    /// Bytes for the bits that tell repeated outcomes: 64 MiB unless told, enough for 880 predictions a second over
    /// seven days. With more than half of it in prospect, a share of the predictions chosen by a hash of their ids
    /// counts and the rest is [`Thinned`](crate::Joined::Thinned).
    pub fn outcome_memory(mut self, bytes: usize) -> Self {
        self.limits.bitmap_bytes_max = bytes;
        self
    }

    /// How long an outcome may be corrected by a different one: an hour unless told, for the last 65,536 outcomes;
    /// zero for never.
    pub fn corrections(mut self, window: Duration) -> Self {
        self.limits.correction = window;
        self
    }

    /// Requests may be copied, so candidates can be tried as shadows. A copy waits in a queue of up to 1,024 entries
    /// and 64 MiB; see [`shadow_queue`](Self::shadow_queue).
    pub fn shadowing(mut self) -> Self
    where
        I: ToOwned,
        I::Owned: Send + 'static,
    {
        self.shadow = Some(ShadowOptions {
            copy: |input| Box::new(Keep(input.to_owned())),
            bytes_of: Box::new(|input| size_of_val(input)),
            entries_max: 1_024,
            bytes_max: 64 << 20,
            compare: None,
            tolerance: 0.01,
        });
        self
    }

    /// The limits of the queue of copies. After [`shadowing`](Self::shadowing).
    pub fn shadow_queue(mut self, entries: usize, bytes: usize) -> Self {
        if let Some(shadow) = &mut self.shadow {
            (shadow.entries_max, shadow.bytes_max) = (entries, bytes);
        }
        self
    }

    /// How large an input is, in bytes, for the limit of the queue: its own size unless told, which misses what it
    /// points to. After [`shadowing`](Self::shadowing).
    pub fn input_bytes(mut self, bytes: impl Fn(&I) -> usize + Send + Sync + 'static) -> Self {
        if let Some(shadow) = &mut self.shadow {
            shadow.bytes_of = Box::new(bytes);
        }
        self
    }

    /// How far two scores or numbers may lie apart and still agree: 0.01 unless told. After
    /// [`shadowing`](Self::shadowing).
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        if let Some(shadow) = &mut self.shadow {
            shadow.tolerance = tolerance;
        }
        self
    }

    /// The host's own comparison of live's answer (first) with a candidate's, 0 for no difference; see
    /// [`elementwise`](crate::elementwise) for tensors. Answers of sampled requests are cloned for it. A candidate that
    /// fails on a copy differs by 1. Without it, answers are compared by what the task reads off them. After
    /// [`shadowing`](Self::shadowing).
    pub fn compare(mut self, difference: impl Fn(&O, &O) -> f64 + Send + Sync + 'static) -> Self
    where
        O: Clone,
    {
        if let Some(shadow) = &mut self.shadow {
            let difference: Compare<O> = Box::new(difference);
            shadow.compare = Some((O::clone, difference));
        }
        self
    }

    /// Whether live shadows the requests that a canary answers, on the same share as the candidate shadowed before or on
    /// a tenth; it does unless told, so that pairs of answers exist in both directions. After
    /// [`shadowing`](Self::shadowing).
    pub fn canary_pairs(mut self, pairs: bool) -> Self {
        self.canary_pairs = pairs;
        self
    }

    /// How many threads run copies, under [`Background::Thread`]: one unless told, because every one takes a core from
    /// live while it works.
    pub fn shadow_workers(mut self, workers: usize) -> Self {
        self.shadow_workers = workers;
        self
    }

    /// Who does the work that is not a request's; nobody unless told, since a library starts no threads that were not
    /// asked for.
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// The host does it: `background(Background::Manual)`.
    pub fn manual(self) -> Self {
        self.background(Background::Manual)
    }

    /// Where time comes from; the system unless told.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes chance repeatable: who is sampled, who is on a canary without a key. With it, and with one
    /// [stripe](Self::stripes) and one thread, two runs are alike.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The key that seals printed ids. Without it a new one is drawn at each build; give one to tell an id of another
    /// process of this service from a forged one.
    pub fn secret(mut self, secret: [u8; 16]) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Into how many stripes figures are divided, so that threads do not write to one cache line: two per core, up to
    /// 16, unless told.
    pub fn stripes(mut self, stripes: usize) -> Self {
        self.stripes = stripes.clamp(1, 256);
        self
    }

    /// How long a candidate may take before live answers in its place; for ever unless told. Models that can be
    /// interrupted (ONNX models) are; any other answers late, which counts as a failure all the same.
    pub fn candidate_deadline(mut self, deadline: Duration) -> Self {
        self.candidate_deadline = Some(deadline);
        self
    }

    /// After how many failures in a row, as seen by one stripe, a version is passed over before any guard has judged
    /// it; 5 unless told, 0 for never. Five in a row happen to a version that fails on one request in ten once in
    /// 100,000 requests.
    pub fn trip_after(mut self, failures: u32) -> Self {
        self.trip_after = failures;
        self
    }

    /// How many versions are kept for a rollback; two unless told: the last one, and one to go back to when the last
    /// one was no better.
    pub fn retain(mut self, versions: usize) -> Self {
        self.retain = versions;
        self
    }

    /// How long a version is kept for a rollback; for ever unless told.
    pub fn retain_for(mut self, age: Duration) -> Self {
        self.retain_for = Some(age);
        self
    }

    /// Which time of the processor's loads get; what nobody else wants, unless told, since a request that has to wait for a load
    /// is the harm that postpones every deploy.
    pub fn load_priority(mut self, priority: LoadPriority) -> Self {
        self.load_priority = priority;
        self
    }

    /// When retained versions step down, so that they cost less: see [`Tiers`] for what holds unless told.
    pub fn tiers(mut self, tiers: Tiers) -> Self {
        self.tiers = tiers;
        self
    }

    /// Keeps retained versions proven, with copies of a few recent inputs: see [`Drill`]. Not unless told, since inputs are
    /// copied for it.
    pub fn drill(mut self, drill: Drill) -> Self
    where
        I: ToOwned,
        I::Owned: Send + 'static,
    {
        self.recent = Some(Recent::new(|input| Box::new(Keep(input.to_owned())), drill));
        self
    }

    /// Watches what comes in and what the versions say: see [`Drift`]. Not unless told, since only the host knows what its
    /// features are. Windows of drift are not kept where state (`Builder::state`) is: after a start they begin anew.
    pub fn watch_drift(mut self, drift: Drift<I>) -> Self {
        self.drift = Some(drift);
        self
    }

    /// Labels each prediction, so that what becomes of it is seen by segment: an airport, a country. Called for every
    /// request on its thread, under no lock; it costs a hash of the label. Labels are shown in `status()`, so they must
    /// be no user's.
    ///
    /// The first 64 labels are told apart unless [told otherwise](Self::segments_max); the rest, empty ones, and those of
    /// more than 128 bytes are `other`. A guard looks at them [`by_segment`](crate::guard::Rule::by_segment).
    pub fn segment(mut self, label: impl Fn(&I) -> &str + Send + Sync + 'static) -> Self {
        self.segment = Some(Box::new(label));
        self
    }

    /// How many labels are told apart, 1 to 256; 64 unless told. What a guard asks of each grows with it, whether they
    /// come or not, so say few where there are few.
    pub fn segments_max(mut self, segments: usize) -> Self {
        self.segments_max = segments;
        self
    }

    /// How long an identity that did harm is not tried again by any plan; until it is
    /// [released](ModelHandle::release) unless told, since nothing about it changes by waiting.
    pub fn quarantine_for(mut self, age: Duration) -> Self {
        self.quarantine_for = Some(age);
        self
    }

    /// How often guards are asked; every second unless told. A candidate counts for nothing when nobody has ticked for
    /// three intervals.
    pub fn tick_interval(mut self, interval: Duration) -> Self {
        self.tick_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How many events are remembered; 1,024 unless told.
    pub fn log_limit(mut self, events: usize) -> Self {
        self.log_limit = events;
        self
    }

    /// How far back rolling figures look.
    pub fn windows(mut self, windows: WindowConfig) -> Self {
        self.windows = windows;
        self
    }

    /// What becomes of pinned streams when their version is taken off, how many there may be, and how long one may
    /// last: they finish, 1,024, and ten minutes unless told.
    pub fn pins(mut self, policy: PinPolicy, max: usize, lasts: Duration) -> Self {
        self.pins = (policy, max, lasts);
        self
    }

    /// Keeps what is decided and seen in a folder of this handle's own, so that a start goes on with it: what is live,
    /// retained and quarantined, rollouts with their phase and evidence, outcomes of predictions made before. Without it a
    /// start knows nothing, and [`live`](Self::live) is what it begins with.
    ///
    /// With it, `live` is what the *first* start begins with, and what a later one falls back to where none of the versions
    /// it remembers can be had. Those come from [`versions`](Self::versions).
    ///
    /// Exposure is raised once it is on disk that it will be, and lowered before it is: see [`state`](crate::state) for what
    /// is written, when, and what a start does with it.
    ///
    /// One process at a time has the folder. A second one, as in a rolling deploy, answers with what was live when it
    /// started, tries nothing, and takes over at the first tick after the other one has [closed](ModelHandle::close) its
    /// handle or ended: rollouts go on there. What was taken back or frozen here until then stays so.
    #[cfg(feature = "state")]
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state.folder = Some(folder.into());
        self
    }

    /// Where a start finds the versions that it remembers: a repository, or a closure from a name to a model.
    #[cfg(feature = "state")]
    pub fn versions(mut self, versions: impl ModelSource<I, O> + 'static) -> Self {
        self.state.versions = Some(Box::new(versions));
        self
    }

    /// What becomes of a rollout whose candidate was exposed when the process ended without a word: paused unless told.
    #[cfg(feature = "state")]
    pub fn after_crash(mut self, policy: AfterCrash) -> Self {
        self.state.after_crash = policy;
        self
    }

    /// How often evidence is written where nothing is decided; every ten seconds unless told. What was seen since is not
    /// known to a start after a crash: a shorter interval loses less and writes more, each time 724 bytes with no rollout, 30
    /// to 70 kilobytes with one under three guards, and up to 400 where users are counted by key (`tests/remembering.rs`).
    #[cfg(feature = "state")]
    pub fn checkpoint_every(mut self, interval: Duration) -> Self {
        self.state.checkpoint_every = interval;
        self
    }

    /// Has steps on the disk fail as told, in a test of the host's: does it keep serving?
    #[cfg(feature = "state")]
    pub fn disk_faults(mut self, faults: Faults) -> Self {
        self.state.faults = Some(faults);
        self
    }

    /// Loads, checks and warms the live version, and starts what [`background`](Self::background) says.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub fn build(mut self) -> Result<ModelHandle<I, O>, BuildError>
    where
        O: Send,
    {
        let embedded = self.live.take();
        let clock = self.clock.take().unwrap_or_default();
        #[cfg(feature = "state")]
        let (place, opened) = self.open_state()?.unzip();
        #[cfg(feature = "state")]
        let lives = opened.as_ref().map_or(1, Opened::lives);
        #[cfg(not(feature = "state"))]
        let lives = 1_u64;
        let seed = match self.seed {
            Some(seed) => seed,
            None => random_bytes().map(u64::from_le_bytes)?,
        };
        let process = match self.seed {
            Some(seed) => mix(seed.wrapping_add(lives - 1)),
            None => random_bytes().map(u64::from_le_bytes)?,
        };
        let secret = match self.secret {
            Some(secret) => secret,
            None => random_bytes()?,
        };
        let kpis: Arc<[Kpi]> = checked_kpis(self.kpis)?.into();
        let assumption = self.assumption.map(|(after, outcome)| Assumption { after, actual: outcome.actual });
        // Silence is settled when it says so.
        let silence = assumption.as_ref().map(|assumption| Maturity::After(assumption.after));
        let maturity = self.maturity.or(silence);
        let Alpha { harm, promotion } = self.alpha;
        if !(harm > 0.0 && harm < 1.0 && promotion > 0.0 && promotion < 1.0) {
            return Err(BuildError::Alpha(self.alpha));
        }
        let segments = self.segment.take().map(|read| Segments::new(read, self.segments_max));
        let table = segments.as_ref().map(|segments| Arc::clone(segments.table()));
        let explore = self.explore.map(Share::new).transpose()?.filter(|share| *share != Share::NONE);
        let exposure = ExposureOptions {
            kind: self.task.kind(),
            kpis: kpis.len(),
            stripes: self.stripes,
            awaits: assumption.is_some(),
            trip_after: self.trip_after,
            maturity: maturity.unwrap_or(Maturity::AsTheyCome),
            segments: table.as_ref().map_or(0, |table| table.places()),
        };
        if let Maturity::After(age) = exposure.maturity {
            // Evidence is complete before outcomes cease to be waited for.
            self.limits.horizon = self.limits.horizon.max(age.saturating_mul(2));
        }
        let truth = self.task.truth_kind().clone();
        let joins = Joins::new(
            process,
            SealKey::new(secret),
            self.task.kind(),
            truth,
            Arc::clone(&kpis),
            self.limits,
            assumption,
        )
        .map_err(BuildError::Assumption)?
        .by_segment(table.clone());

        let (task, check, sample) = (&self.task, self.check.as_ref(), self.sample.as_deref());
        let prepare = |id, model| prepare(id, model, task, check, sample, &LoadThrottle::new());
        let first = |embedded: Option<(String, Box<dyn Model<I, O>>)>| {
            let (name, model) = embedded.ok_or(BuildError::NoLive)?;
            let id = VersionId::new(&name).map_err(StageError::Name)?;
            Ok::<_, BuildError>(Arc::new(prepare(id, model)?))
        };
        #[cfg(feature = "state")]
        let (live, started) = match opened {
            Some(Opened { journal, saved: Some((mut saved, evidence)), torn_bytes }) => {
                let versions = self.state.versions.as_deref();
                if journal.is_none() {
                    // Its rollouts are the other process's.
                    saved.attempts.clear();
                }
                let Loaded { live, loaded, missing } = load(&saved, embedded, versions, &[], prepare)
                    .map_err(|reasons| BuildError::NoneLeft { reasons })?;
                (live, Some((journal, Some(Remembered { saved, evidence, loaded, missing, torn_bytes }))))
            }
            Some(Opened { journal, .. }) => (first(embedded)?, Some((journal, None))),
            None => (first(embedded)?, None),
        };
        #[cfg(not(feature = "state"))]
        let live = first(embedded)?;
        if self.drift.as_ref().is_some_and(|drift| drift.calibration.is_some())
            && !matches!(self.task.kind(), TaskKind::Binary { .. })
        {
            return Err(BuildError::Calibration);
        }
        let kind = self.task.kind();
        let drift = self.drift.map(|drift| DriftWatch::new(drift, kind, live.id, self.stripes, clock.now()));
        let (pins, pins_max, pins_last) = self.pins;
        let settings = Settings {
            name: self.name,
            retain: self.retain,
            retain_for: self.retain_for,
            tick_interval: self.tick_interval,
            log_max: self.log_limit,
            windows: self.windows,
            exposure,
            kpis,
            seed,
            shadowing: self.shadow.is_some(),
            canary_pairs: self.canary_pairs,
            alpha: self.alpha,
            answered_max: self.answered_max,
            pins_max,
            pins,
            pins_last,
            quarantine_for: self.quarantine_for,
            tiers: self.tiers,
            segments: table,
        };
        let mut control = Control::new(settings, live, clock.now());
        let table = control.table(&joins);
        #[cfg(feature = "state")]
        let StateOptions { versions, after_crash, checkpoint_every, .. } = self.state;
        #[cfg(feature = "state")]
        let (recorder, remembered) = match started.zip(place) {
            Some(((journal, remembered), place)) => {
                let life = (process, lives);
                (Some(Recorder::new(journal, place, life, checkpoint_every, clock.now())), remembered)
            }
            None => (None, None),
        };
        let inner = Arc::new(Inner {
            routing: ArcSwap::from_pointee(table),
            task: self.task,
            check: self.check,
            limit: self.candidate_deadline,
            clock,
            dice: Dice::new(seed, self.stripes),
            joins,
            shadow: self.shadow.map(ShadowQueue::new),
            sample: self.sample,
            explore,
            canary_pairs: self.canary_pairs,
            matures: maturity.is_some(),
            answers: (self.answered_max > 0).then(|| Answers::new(self.answered_max)),
            driven: self.background != Background::None,
            control: Mutex::new(control),
            recent: self.recent,
            load_priority: self.load_priority,
            drift,
            segments,
            loads: Mutex::default(),
            keeping_up: Mutex::new(()),
            keeps_up_aside: self.background == Background::Thread,
            upkeep_bell: crossbeam_channel::bounded(1),
            ticking: Mutex::new(()),
            #[cfg(feature = "state")]
            recorder,
            #[cfg(feature = "state")]
            versions,
            #[cfg(feature = "state")]
            after_crash,
        });
        #[cfg(feature = "state")]
        inner.go_on(remembered);
        let threads = match self.background {
            Background::Thread => Threads::start(&inner, self.tick_interval, self.shadow_workers)
                .map_err(|error| BuildError::Thread(Arc::new(error)))?,
            Background::Manual | Background::None => Threads::none(),
        };
        Ok(ModelHandle { inner, threads: Arc::new(threads), actor: None })
    }
}

#[cfg(feature = "state")]
impl<I: ?Sized + 'static, O: 'static> Builder<I, O> {
    /// Opens the journal, where state is kept, and takes the seed and the key that it goes on with.
    fn open_state(&mut self) -> Result<Option<(Place, Opened)>, BuildError> {
        let Some(folder) = self.state.folder.take() else { return Ok(None) };
        let files = self.state.faults.take().map_or_else(Files::default, Files::with);
        let place = Place { files, folder };
        let opened = Opened::open(&place)?;
        if let Some((saved, _)) = opened.saved.as_ref().filter(|(saved, _)| saved.name != self.name) {
            let (folder, handle) = (place.folder, saved.name.clone());
            return Err(BuildError::OthersState { folder, handle });
        }
        if self.secret.is_none() {
            self.secret = Some(state::secret(&place.files, &place.folder)?);
        }
        Ok(Some((place, opened)))
    }
}

impl<I: ?Sized + 'static, O: 'static> std::fmt::Debug for Builder<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("task", &self.task).finish_non_exhaustive()
    }
}

/// Why a handle could not be built.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A handle always has a live version.
    #[error("no live version was given: call `.live(name, model)`")]
    NoLive,
    /// The state cannot be read.
    #[cfg(feature = "state")]
    #[error(transparent)]
    State(#[from] StateError),
    /// The folder is another handle's.
    #[cfg(feature = "state")]
    #[error("{} has the state of the handle `{handle}`: give this one a folder of its own", .folder.display())]
    OthersState {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        handle: String,
    },
    /// None of the versions that could be live can be used.
    #[cfg(feature = "state")]
    #[error("no version can be live: {}", .reasons.iter().map(|(id, reason)| format!("{id}: {reason}")).collect::<Vec<_>>().join("; "))]
    NoneLeft {
        /// Each with what stands in the way.
        reasons: Vec<(VersionId, String)>,
    },
    /// The live version cannot be used.
    #[error("the live version: {0}")]
    Live(#[from] StageError),
    /// A business figure makes no sense.
    #[error("business figure `{name}`: {cause}")]
    Kpi {
        /// The figure.
        name: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The outcome that silence means does not fit the task.
    #[error("the assumed outcome does not fit the task: {0:?}")]
    Assumption(crate::feedback::Refusal),
    /// A calibration was given, and answers have no probability that it could be of.
    #[error("a calibration is of the score of yes or no: declare `Task::binary`, or leave it out")]
    Calibration,
    /// An error that is none: both must lie between 0 and 1.
    #[error("an error of {} for harm and {} for promotion: both must lie between 0 and 1", .0.harm, .0.promotion)]
    Alpha(Alpha),
    /// A share that is none.
    #[error(transparent)]
    Share(#[from] InvalidShare),
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The system cannot start a thread.
    #[error("a background thread cannot be started")]
    Thread(#[source] Arc<std::io::Error>),
}

/// The most business figures a handle can have: each has bits of its own for every prediction.
const KPIS_MAX: usize = 16;

fn checked_kpis(kpis: Vec<Kpi>) -> Result<Vec<Kpi>, BuildError> {
    for (place, kpi) in kpis.iter().enumerate() {
        let refused = |cause| Err(BuildError::Kpi { name: kpi.name().into(), cause });
        let sensible = |(low, high): (f64, f64)| low.is_finite() && high.is_finite() && low < high;
        if !kpi.bounds().is_none_or(sensible) {
            return refused("its bounds must be finite, the lower one below the upper one");
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

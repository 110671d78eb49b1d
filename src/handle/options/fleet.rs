//! In which fleet a handle is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::fleet::format::envelope::{Sealer, code, print};
use crate::fleet::format::head::Timing;
use crate::fleet::format::layout::Layout;
use crate::fleet::{Key, Store};

/// The fleet that a handle is a member of: all processes whose handles have this name, in this place of this store.
///
/// One rollout runs over all of them: what one of them stages is tried in each, what all of them count is judged as one, and
/// whatever is decided holds for all. See the page "Operating a fleet" (`docs/fleet.md`) for what happens when something fails.
///
/// ```
/// use std::sync::Arc;
/// use switchback::fleet::InMemory;
/// use switchback::options::Fleet;
/// use switchback::{Clock, Model, ModelHandle, closure};
///
/// let store = Arc::new(InMemory::new(Clock::system()));   // in life a directory that all mount, or a bucket
/// let versions = |name: &str| match name {
///     "v1" => Ok(Box::new(closure("double@1", |x: &f64| Ok(x * 2.0))) as Box<dyn Model<f64, f64>>),
///     other => Err(format!("there is no version {other}").into()),
/// };
/// let handle = ModelHandle::builder("late")
///     .live("v1", closure("double@1", |x: &f64| Ok(x * 2.0)))
///     .source(versions)
///     .fleet(Fleet::on(store).secret(b"of 32 bytes, from where secrets are"))
///     .build()?;
/// assert_eq!(handle.fleet().ok_or("alone")?.sequence, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Fleet {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) root: Option<String>,
    pub(crate) secrets: Vec<Vec<u8>>,
    pub(crate) class: String,
    pub(crate) build: String,
    pub(crate) timing: FleetTiming,
    /// What its name is drawn from, and that in ids.
    pub(crate) seed: Option<u64>,
}

impl Fleet {
    /// In this store.
    pub fn on(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            root: None,
            secrets: Vec::new(),
            class: String::new(),
            build: String::new(),
            timing: FleetTiming::default(),
            seed: None,
        }
    }

    /// Below this key of the store: `prod`. Handles of one name below different keys are different fleets. The default is
    /// `switchback`.
    pub fn under(mut self, root: impl Into<String>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Seals whatever members write with this secret (HMAC-SHA256), so that who may write to the store and has not the
    /// secret cannot decide which model answers. Take 32 random bytes, and give all members the same. Called again it
    /// adds one that is accepted and not written with, for as long as it takes to replace it everywhere. By default
    /// there is none: then the code tells what is damaged, and not what is forged.
    ///
    /// Ids of predictions are sealed with what is derived from the first one, where [`Builder::secret`](crate::Builder::secret) gives
    /// none, so that members know each other's and forward outcomes. Where it is replaced, ids from before are unknown.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secrets.push(secret.as_ref().to_vec());
        self
    }

    /// On what the process runs, to be shown: `g5.xlarge`. Up to 256 bytes.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = class.into();
        self
    }

    /// Which build of the service it is, to be shown: `2026-11-27.1`. Up to 256 bytes.
    pub fn built_as(mut self, build: impl Into<String>) -> Self {
        self.build = build.into();
        self
    }

    /// Who asks how often, where this process is the one that founds the fleet; all others go by what was agreed on then.
    pub fn timing(mut self, timing: FleetTiming) -> Self {
        self.timing = timing;
        self
    }

    /// Makes what this process draws in its fleet repeatable, in a test of the host's: the name it has there, and so who judges, and
    /// the ids of its predictions. By default the system's randomness says, whatever the [seed](crate::Builder::seed) of the handle is:
    /// two processes with one seed of a fleet would be taken for one, so each one needs its own.
    #[cfg(feature = "testing")]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn root(&self) -> Result<Key, ArgumentError> {
        Key::new(self.root.as_deref().unwrap_or("switchback"))
    }

    /// Where everything of a handle lies, and what opens it.
    pub(crate) fn place(&self, name: &str) -> Result<(Layout, Sealer), ArgumentError> {
        let root = self.root()?;
        let secrets: Vec<&[u8]> = self.secrets.iter().map(Vec::as_slice).collect();
        let sealer = Sealer::new(print(&format!("fleet 1 {root} {name}")), &secrets);
        Ok((Layout::new(&root, name)?, sealer))
    }

    /// The secret of ids, where the handle is given none: members know each other's. Nothing where the fleet has no secret.
    pub(crate) fn seal_of_ids(&self) -> Option<[u8; 16]> {
        let code = code(self.secrets.first()?, &[b"ids 1"]);
        code.first_chunk().copied()
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        self.root()?;
        for (what, text) in [("the fleet's class", &self.class), ("the fleet's build", &self.build)] {
            ArgumentError::unless(text.len() <= 256, what, text.len(), "at most 256 bytes")?;
        }
        let shortest = self.secrets.iter().map(Vec::len).min().unwrap_or(16);
        ArgumentError::unless(
            shortest >= 16,
            "the length of the fleet's secret",
            shortest,
            "at least 16 bytes",
        )?;
        self.timing.check()
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, class, build, timing, .. } = self;
        let secrets = self.secrets.len();
        f.debug_struct("Fleet")
            .field("root", root)
            .field("secrets", &secrets)
            .field("class", class)
            .field("build", build)
            .field("timing", timing)
            .finish_non_exhaustive()
    }
}

/// How often the members of a fleet ask their store, and how long they act on what it said. Agreed on when the fleet is founded.
///
/// Each is between a millisecond and a day, `close_after` at least four times `row` and at most a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct FleetTiming {
    /// How often a member looks whether something was decided. The default is a second, which is what a decision then
    /// takes to be true everywhere; each is one small read.
    pub poll: Duration,
    /// How often it says what it has counted. The default is five seconds: harm is seen so much later, and at most so much
    /// is lost where a process is killed.
    pub row: Duration,
    /// How often whoever judges does. The default is two seconds.
    pub tick: Duration,
    /// How long a member that cannot ask the store goes on exposing a candidate. The default is ten seconds: no candidate
    /// answers longer than that after it was taken off, wherever that was.
    pub valid_for: Duration,
    /// How long a process lives before it exposes a candidate. The default is 30 seconds, so that one that a candidate
    /// takes down with it does not come back to it at once.
    pub settle: Duration,
    /// After which silence a process is taken for gone, and what it has counted is final; and candidates answer nobody once nobody has
    /// judged for half of it, or for ten `tick` where that is longer. The default is ten minutes.
    pub close_after: Duration,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    FleetTiming {
        poll: Duration,
        row: Duration,
        tick: Duration,
        valid_for: Duration,
        settle: Duration,
        close_after: Duration,
    }
}

impl Default for FleetTiming {
    fn default() -> Self {
        let Timing { poll, row, tick, valid_for, settle, close_after } = Timing::default();
        let [poll, row, tick, valid_for, settle, close_after] =
            [poll, row, tick, valid_for, settle, close_after].map(Duration::from_millis);
        Self { poll, row, tick, valid_for, settle, close_after }
    }
}

impl FleetTiming {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a member looks whether something was decided.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every;
        self
    }

    /// How often it says what it has counted.
    pub fn row(mut self, every: Duration) -> Self {
        self.row = every;
        self
    }

    /// How often whoever judges does.
    pub fn tick(mut self, every: Duration) -> Self {
        self.tick = every;
        self
    }

    /// How long a member that cannot ask the store goes on exposing a candidate.
    pub fn valid_for(mut self, span: Duration) -> Self {
        self.valid_for = span;
        self
    }

    /// How long a process lives before it exposes a candidate.
    pub fn settle(mut self, span: Duration) -> Self {
        self.settle = span;
        self
    }

    /// After which silence a process is taken for gone; and candidates answer nobody once nobody has judged for half of it, or for ten
    /// `tick` where that is longer.
    pub fn close_after(mut self, span: Duration) -> Self {
        self.close_after = span;
        self
    }

    pub(crate) fn agreed(self) -> Timing {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let Self { poll, row, tick, valid_for, settle, close_after } = self;
        let [poll, row, tick, valid_for, settle, close_after] =
            [poll, row, tick, valid_for, settle, close_after].map(millis);
        Timing { poll, row, tick, valid_for, settle, close_after }
    }

    fn check(&self) -> Result<(), ArgumentError> {
        let Self { poll, row, tick, valid_for, settle, close_after } = *self;
        let (least, day) = (Duration::from_millis(1), Duration::from_secs(86_400));
        for (what, span) in [("poll", poll), ("row", row), ("tick", tick), ("valid_for", valid_for)] {
            let told = format!("{span:?}");
            ArgumentError::unless((least..=day).contains(&span), what, told, "a millisecond to a day")?;
        }
        ArgumentError::unless(settle <= day, "settle", format!("{settle:?}"), "at most a day")?;
        let enough = close_after >= row * 4 && close_after <= day * 7;
        ArgumentError::unless(
            enough,
            "close_after",
            format!("{close_after:?}"),
            "at least four times `row`, and at most a week",
        )
    }
}

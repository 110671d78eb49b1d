//! Where and how state is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::control::adopt::AfterCrash;

/// A folder of this handle's own in which it keeps what is decided and seen. A path converts into one.
///
/// ```
/// use std::time::Duration;
/// use switchback::options::{AfterCrash, StateFolder};
///
/// let state = StateFolder::new("/var/lib/fraud")
///     .after_crash(AfterCrash::Resume)
///     .checkpoint_every(Duration::from_secs(2));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct StateFolder {
    pub(crate) folder: PathBuf,
    pub(crate) after_crash: AfterCrash,
    pub(crate) checkpoint_every: Duration,
}

checked_when_read! {
    #[serde(deny_unknown_fields)]
    StateFolder {
        folder: PathBuf,
        #[serde(default)]
        after_crash: AfterCrash,
        #[serde(default = "checkpoint_every")]
        checkpoint_every: Duration,
    }
}

const fn checkpoint_every() -> Duration {
    Duration::from_secs(10)
}

impl StateFolder {
    /// State in this folder, which is made where it is not there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let (folder, after_crash) = (folder.into(), AfterCrash::default());
        Self { folder, after_crash, checkpoint_every: checkpoint_every() }
    }

    /// Sets what becomes of a rollout whose candidate was on trial when the process crashed. By default it is paused.
    pub fn after_crash(mut self, policy: AfterCrash) -> Self {
        self.after_crash = policy;
        self
    }

    /// How often evidence is written where nothing is decided. The default is every ten seconds. What was seen since is
    /// not known to a start after a crash, nor what of it [stays silent](super::Labels::assumed_after): a shorter interval loses less and writes more, each time 724 bytes with no
    /// rollout, 30 to 70 kilobytes with one under three guards, and up to 400 where users are counted by key
    /// (`tests/suite/state/remembering.rs`); and of each label that came since, waits to be evidence and may be
    /// [corrected](super::Labels::corrections), some 220 bytes more. Zero means at every tick.
    pub fn checkpoint_every(mut self, interval: Duration) -> Self {
        self.checkpoint_every = interval;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        let named = !self.folder.as_os_str().is_empty();
        ArgumentError::unless(named, "state.folder", "empty", "the path of a folder")
    }
}

impl From<&str> for StateFolder {
    fn from(folder: &str) -> Self {
        Self::new(folder)
    }
}

impl From<String> for StateFolder {
    fn from(folder: String) -> Self {
        Self::new(folder)
    }
}

impl From<&Path> for StateFolder {
    fn from(folder: &Path) -> Self {
        Self::new(folder)
    }
}

impl From<PathBuf> for StateFolder {
    fn from(folder: PathBuf) -> Self {
        Self::new(folder)
    }
}

impl From<&PathBuf> for StateFolder {
    fn from(folder: &PathBuf) -> Self {
        Self::new(folder)
    }
}

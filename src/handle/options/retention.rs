//! The options of what is kept for a rollback, and what is never tried again.

use std::time::Duration;

use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::version::drill::Drill;
use crate::version::tiers::Tiers;

/// Which versions are kept for a rollback, how ready they are, and how long what did harm stays out.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Retention {
    pub(crate) versions: usize,
    pub(crate) keep_for: Option<Duration>,
    pub(crate) tiers: Tiers,
    pub(crate) drill: Option<Drill>,
    pub(crate) quarantine_for: Option<Duration>,
    pub(crate) answers: usize,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Retention {
        versions: usize,
        keep_for: Option<Duration>,
        tiers: Tiers,
        drill: Option<Drill>,
        quarantine_for: Option<Duration>,
        answers: usize,
    }
}

impl Retention {
    /// Two versions are kept without a limit of time, and an identity that did harm stays out until it is released.
    pub const fn new() -> Self {
        Self {
            versions: 2,
            keep_for: None,
            tiers: Tiers::new(),
            drill: None,
            quarantine_for: None,
            answers: 0,
        }
    }

    /// How many versions are kept for a rollback, up to 64. The default is 2: the last one, and one to go back to when
    /// the last one was no better.
    pub const fn versions(mut self, versions: usize) -> Self {
        self.versions = versions;
        self
    }

    /// How long a version is kept for a rollback. By default there is no limit.
    pub const fn keep_for(mut self, age: Duration) -> Self {
        self.keep_for = Some(age);
        self
    }

    /// When retained versions step down, so that they cost less: [`Tiers`] has the defaults.
    pub const fn tiers(mut self, tiers: Tiers) -> Self {
        self.tiers = tiers;
        self
    }

    /// Keeps retained versions proven, with copies of a few recent inputs: see [`Drill`]. By default there is no drill,
    /// since inputs are copied for it: the handle must [shadow](crate::Builder::shadowing) or
    /// [copy inputs](super::Inputs::copied).
    pub const fn drill(mut self, drill: Drill) -> Self {
        self.drill = Some(drill);
        self
    }

    /// How long an identity that did harm is not tried again by any plan. By default it is out until it is
    /// [released](crate::ModelHandle::release), since nothing about it changes by waiting.
    pub const fn quarantine_for(mut self, age: Duration) -> Self {
        self.quarantine_for = Some(age);
        self
    }

    /// Keeps the ids of the last `predictions` that a candidate answered for callers, as a canary and while it is watched
    /// as live, so that they can be made again once it was taken back: see
    /// [`ModelHandle::recall`](crate::ModelHandle::recall). The default is 0. Each takes about 150 bytes, per rollout.
    pub const fn answers(mut self, predictions: usize) -> Self {
        self.answers = predictions;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        ArgumentError::unless(self.versions <= 64, "retention.versions", self.versions, "at most 64")?;
        let answers = self.answers;
        ArgumentError::unless(answers <= 1 << 24, "retention.answers", answers, "at most 16777216")
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::new()
    }
}

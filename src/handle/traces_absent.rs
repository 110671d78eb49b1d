//! Stand-ins for `traces` without the feature `tracing`: nothing is emitted.

use crate::control::control::Control;
use crate::model::throttle::LoadThrottle;
use crate::version::id::VersionId;

pub(crate) struct Traces;

impl Traces {
    pub(crate) fn new(_: &mut Control) -> Self {
        Self
    }

    pub(crate) fn emit(&self) {}

    pub(crate) fn tick(&self) -> Entered {
        Entered
    }

    #[cfg(feature = "state")]
    pub(crate) fn checkpoint(&self) -> Entered {
        Entered
    }

    pub(crate) fn stage(&self, _: VersionId) -> Aside {
        Aside
    }

    pub(crate) fn wake(&self, _: VersionId) -> Aside {
        Aside
    }
}

/// A span that is none.
pub(crate) struct Entered;

pub(crate) struct Aside;

impl Aside {
    pub(crate) fn stage_of(_: &str, _: VersionId) -> Self {
        Self
    }

    pub(crate) fn wake(self) -> Entered {
        Entered
    }

    pub(crate) fn stage(self, _: &LoadThrottle) -> Entered {
        Entered
    }
}

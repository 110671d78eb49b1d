//! The chores of a round of upkeep, and what came of them.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Doubt, Tier};
use crate::version::drill::DrillOutcome;
use crate::version::loaded::AnyVersion;

/// The chores of a round of upkeep, as they were when they were listed.
pub(crate) struct Chores {
    pub(crate) loaded: Vec<Arc<dyn AnyVersion>>,
    /// Those that are not in the tier that they are wanted in.
    pub(crate) unsettled: Vec<Arc<dyn AnyVersion>>,
    pub(crate) retained: Vec<Arc<dyn AnyVersion>>,
}

/// The outcome of one chore.
pub(crate) enum Done {
    Maintained {
        version: Arc<dyn AnyVersion>,
        failure: Option<String>,
        doubt: Option<Doubt>,
    },
    Settled {
        version: Arc<dyn AnyVersion>,
        /// The tier that it was to be in when it was asked.
        asked: Tier,
        /// How often its tier had been noted by then.
        noted: u64,
        reached: Result<Tier, String>,
        took: Duration,
    },
    Drilled {
        version: Arc<dyn AnyVersion>,
        drilled: DrillOutcome,
    },
}

/// Lists of chores that wait for the thread that does them. A second one is there for what a rollback wants done at once, while
/// the round of a tick waits.
pub(crate) const CHORES_WAITING: usize = 2;

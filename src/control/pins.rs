//! The control side's view of pinned streams.

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::version::id::VersionId;

/// The policy for a pinned stream when its version takes no traffic any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PinPolicy {
    /// It finishes on its version, within the time a pin may last. The default: a stream that is cut costs its user,
    /// one that goes on costs some memory for a while.
    #[default]
    Finish,
    /// Its next call is told [`Superseded`](crate::requests::PinnedError::Superseded).
    Supersede,
}

/// A pinned stream, as far as the control side reaches it: it can take the version away.
pub(crate) trait Pin: Send + Sync {
    /// The version that it stays with, as long as it may.
    fn version(&self) -> Option<VersionId>;

    /// Takes the version away where it has been held for as long as it may be.
    fn expire(&self, now: Timestamp);

    /// Takes the version away unless it is still exposed.
    fn supersede_unless(&self, exposed: &dyn Fn(VersionId) -> bool);
}

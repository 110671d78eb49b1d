//! The settings of the host, and what the writer remembers of versions.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "state")]
use super::event::Cause;
use super::pins::PinPolicy;
use crate::base::clock::{Clock, Timestamp};
use crate::model::identity::Identity;
use crate::rollout::budget::ErrorBudget;
use crate::stats::counting::exposure::ExposureOptions;
use crate::stats::figures::rolling::WindowConfig;
use crate::task::kpi::Kpi;
use crate::task::segments::Table;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;
use crate::version::tiers::Tiers;

/// The settings that the control side is told when the handle is built.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// Versions that are kept for a rollback, and for how long.
    pub(crate) retain: usize,
    pub(crate) retain_for: Option<Duration>,
    pub(crate) tick_interval: Duration,
    pub(crate) log_max: usize,
    pub(crate) windows: WindowConfig,
    pub(crate) exposure: ExposureOptions,
    pub(crate) kpis: Arc<[Kpi]>,
    pub(crate) seed: u64,
    /// The secret that the host gave: it keys who is on a canary.
    pub(crate) split: Option<[u8; 16]>,
    pub(crate) shadowing: bool,
    /// Live shadows the requests of a canary.
    pub(crate) canary_pairs: bool,
    /// The errors that all tries of an identity may have together.
    pub(crate) error_budget: ErrorBudget,
    /// Whoever judges for a fleet looks whether processes end: a test of its own, beside those of guards.
    pub(crate) counts_ends: bool,
    /// Predictions answered by candidates of which the ids are kept, per rollout.
    pub(crate) answered_max: usize,
    pub(crate) pins_max: usize,
    /// From when on a call of a candidate counts as one that never ends.
    pub(crate) overdue_after: Duration,
    /// Read for how long calls have been under way, and for nothing else: what time it is comes with what is asked.
    pub(crate) stopwatch: Clock,
    pub(crate) pins: PinPolicy,
    pub(crate) pins_last: Duration,
    /// How long an identity that did harm is not tried again.
    pub(crate) quarantine_for: Option<Duration>,
    /// When retained versions step down.
    pub(crate) tiers: Tiers,
    /// Labels of requests, where they have any.
    pub(crate) segments: Option<Arc<Table>>,
}

/// The decisions that were made here while another process has the state, to be held to once it is taken over.
#[cfg(feature = "state")]
#[derive(Default)]
pub(crate) struct Standby {
    /// What was live there when it was looked at last.
    pub(crate) live: Option<(VersionId, Identity)>,
    /// The version that was to answer here and could not be had, which was told.
    pub(crate) missing: Option<(VersionId, Identity)>,
    /// Why the journal there cannot be read, which was told.
    pub(crate) unread: Option<String>,
    /// The freeze that was there: another one is this process's own.
    pub(crate) frozen: Option<String>,
    /// Versions that were left here, and why.
    pub(crate) left: Vec<Left>,
    /// The version that somebody went to here, since another one became live there.
    pub(crate) went_to: Option<VersionId>,
}

/// A version that is to answer no more, as was said in a process that looks on.
#[cfg(feature = "state")]
pub(crate) struct Left {
    pub(crate) version: VersionId,
    pub(crate) cause: Cause,
    /// It was taken back. Else somebody has gone forward from it, and a rollback may go back to it.
    pub(crate) taken_back: bool,
}

#[cfg(feature = "state")]
impl Standby {
    /// Whether a version was taken back here.
    pub(crate) fn has_taken_back(&self, version: VersionId) -> bool {
        self.left.iter().any(|left| left.taken_back && left.version == version)
    }
}

/// What a version may lack. Each is told and mended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// It could not replace what it lost.
    Lost,
    /// It could not reach the tier that it is to be in.
    Tier,
}

impl Lack {
    pub(crate) const ALL: [Self; 2] = [Self::Lost, Self::Tier];
}

/// A version that is kept for a rollback.
pub(crate) struct Retained {
    pub(crate) version: Arc<dyn AnyVersion>,
    pub(crate) since: Timestamp,
    /// It was live and was taken back: a rollback returns to it by name alone.
    pub(crate) taken_back: bool,
}

/// The record that is kept of a version, in use or not.
pub(crate) struct Record {
    pub(crate) identity: Identity,
    pub(crate) staged_at: Timestamp,
    /// Everything it ever did.
    pub(crate) lifetime: u32,
    /// It has answered in an earlier life of the handle.
    pub(crate) has_answered: bool,
}

/// A retained version that cannot be gone back to as it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Unavailable {
    /// The version.
    pub version: VersionId,
    /// The identity that it must have.
    pub identity: Identity,
    /// Since when it is retained.
    pub since: Timestamp,
    /// Whether a rollback passes it over once it is to be had again: it was taken back, or it was live and a start had to fall
    /// back to an older one.
    #[serde(default)]
    pub taken_back: bool,
    /// Why not.
    pub reason: String,
}

/// Why an identity is in quarantine, as it is written down beside it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Quarantine {
    pub(crate) version: VersionId,
    pub(crate) reason: String,
    pub(crate) since: Timestamp,
    /// For good, or until it is released, where it is not told.
    pub(crate) until: Option<Timestamp>,
}

/// An identity that no plan tries again.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Quarantined {
    /// The identity, by which it is released.
    pub identity: Identity,
    /// The version that had the identity.
    pub version: VersionId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; for good, or until it is released, where it is not told.
    pub until: Option<Timestamp>,
}

impl Quarantined {
    /// What is shown of one.
    pub(crate) fn of((identity, quarantine): (&Identity, &Quarantine)) -> Self {
        let Quarantine { version, reason, since, until } = quarantine;
        Self { identity: *identity, version: *version, reason: reason.clone(), since: *since, until: *until }
    }
}

//! Whom an event concerns.

use crate::control::event::EventKind;
use crate::drift::told::DriftScope;
use crate::version::id::VersionId;

/// Whom an event is about, in the eyes of an attempt.
pub(crate) enum Concern {
    Version,
    Handle,
    Nothing,
}

pub(crate) fn concerns(kind: &EventKind, candidate: VersionId) -> Concern {
    use EventKind as Kind;
    let about = |version: &VersionId| if *version == candidate { Concern::Version } else { Concern::Nothing };
    match kind {
        Kind::Staged { version, .. }
        | Kind::NotProven { version, .. }
        | Kind::VersionRefused { version, .. }
        | Kind::PhaseChanged { version, .. }
        | Kind::GuardFailed { version, .. }
        | Kind::Inconclusive { version, .. }
        | Kind::Promoted { version, .. }
        | Kind::Suspected { version, .. }
        | Kind::Cleared { version, .. }
        | Kind::EvidenceReset { version, .. }
        | Kind::Undecidable { version, .. }
        | Kind::Planned { version, .. }
        | Kind::WaitsForCycle { version, .. }
        | Kind::WaitsForRoom { version, .. }
        | Kind::Recalled { version, .. }
        | Kind::WatchPassed { version }
        | Kind::Aborted { version, .. }
        | Kind::NoWayBack { version, .. }
        | Kind::Paused { version, .. }
        | Kind::Resumed { version }
        | Kind::Tripped { version, .. }
        | Kind::Spared { version, .. }
        | Kind::Overdue { version, .. }
        | Kind::ThreadAbandoned { version, .. }
        | Kind::CircuitOpened { version, .. }
        | Kind::Held { version, .. }
        | Kind::CircuitClosed { version }
        | Kind::Quarantined { version, .. }
        | Kind::Released { version }
        | Kind::Degraded { version, .. }
        | Kind::PipelineMisfit { version, .. }
        | Kind::Loaded { version, .. }
        | Kind::Drilled { version, .. }
        | Kind::NotReady { version, .. }
        | Kind::EndedAtOnce { version, .. }
        | Kind::Lapsed { version, .. }
        | Kind::Unavailable { version, .. } => about(version),
        Kind::AllocationEnded { candidates } if candidates.contains(&candidate) => Concern::Version,
        Kind::AllocationEnded { .. } => Concern::Nothing,
        Kind::RolledBack { from, to, .. } | Kind::LiveReplaced { from, to, .. } => {
            if *from == candidate {
                Concern::Version
            } else {
                about(to)
            }
        }
        Kind::Drifted { version: Some(version), whose: DriftScope::Candidate, .. }
        | Kind::DriftEnded { version: Some(version), whose: DriftScope::Candidate, .. } => about(version),
        Kind::Drifted { .. }
        | Kind::DriftEnded { .. }
        | Kind::Frozen { .. }
        | Kind::Unfrozen
        | Kind::Draining { .. }
        | Kind::LeaseExpired { .. }
        | Kind::Started { .. }
        | Kind::StartedWithLess { .. }
        | Kind::AnswersInDoubt { .. }
        | Kind::StateFolderMended { .. }
        | Kind::StandbyBehind { .. }
        | Kind::TookOver
        | Kind::StateNotSaved { .. }
        | Kind::StateSaved
        | Kind::ThreadDied { .. }
        | Kind::ClockMoved { .. }
        | Kind::RetentionChanged { .. }
        | Kind::FleetCutOff { .. }
        | Kind::FleetJoined { .. }
        | Kind::FleetRejoined
        | Kind::FleetDiverged
        | Kind::Unknown
        | Kind::Closed => Concern::Handle,
        // What becomes of memory is nobody's decision.
        Kind::Retired { .. } | Kind::Dropped { .. } | Kind::TierChanged { .. } | Kind::Standby { .. } => {
            Concern::Nothing
        }
    }
}

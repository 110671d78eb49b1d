//! The names of the kinds of events, in logs, in metrics and in JSON.

use super::event::EventKind;
use crate::version::id::VersionId;

impl EventKind {
    /// The kind's name, as it is written in JSON: `rolled_back`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Staged { .. } => "staged",
            Self::NotProven { .. } => "not_proven",
            Self::VersionRefused { .. } => "version_refused",
            Self::PhaseChanged { .. } => "phase_changed",
            Self::GuardFailed { .. } => "guard_failed",
            Self::Inconclusive { .. } => "inconclusive",
            Self::Promoted { .. } => "promoted",
            Self::Suspected { .. } => "suspected",
            Self::Cleared { .. } => "cleared",
            Self::EvidenceReset { .. } => "evidence_reset",
            Self::Undecidable { .. } => "undecidable",
            Self::WaitsForCycle { .. } => "waits_for_cycle",
            Self::WaitsForRoom { .. } => "waits_for_room",
            Self::Planned { .. } => "planned",
            Self::Recalled { .. } => "recalled",
            Self::WatchPassed { .. } => "watch_passed",
            Self::Aborted { .. } => "aborted",
            Self::RolledBack { .. } => "rolled_back",
            Self::NoWayBack { .. } => "no_way_back",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Frozen { .. } => "frozen",
            Self::Unfrozen => "unfrozen",
            Self::Draining { .. } => "draining",
            Self::LeaseExpired { .. } => "lease_expired",
            Self::Tripped { .. } => "tripped",
            Self::Spared { .. } => "spared",
            Self::Overdue { .. } => "overdue",
            Self::Held { .. } => "held",
            Self::CircuitOpened { .. } => "circuit_opened",
            Self::CircuitClosed { .. } => "circuit_closed",
            Self::Quarantined { .. } => "quarantined",
            Self::Released { .. } => "released",
            Self::Retired { .. } => "retired",
            Self::Dropped { .. } => "dropped",
            Self::Loaded { .. } => "loaded",
            Self::RetentionChanged { .. } => "retention_changed",
            Self::TierChanged { .. } => "tier_changed",
            Self::Drilled { .. } => "drilled",
            Self::Degraded { .. } => "degraded",
            Self::PipelineMisfit { .. } => "pipeline_misfit",
            Self::AnswersInDoubt { .. } => "answers_in_doubt",
            Self::Started { .. } => "started",
            Self::AllocationEnded { .. } => "allocation_ended",
            Self::ClockMoved { .. } => "clock_moved",
            Self::StartedWithLess { .. } => "started_with_less",
            Self::StateFolderMended { .. } => "state_folder_mended",
            Self::Standby { .. } => "standby",
            Self::StandbyBehind { .. } => "standby_behind",
            Self::TookOver => "took_over",
            Self::LiveReplaced { .. } => "live_replaced",
            Self::Unavailable { .. } => "unavailable",
            Self::Drifted { .. } => "drifted",
            Self::DriftEnded { .. } => "drift_ended",
            Self::StateNotSaved { .. } => "state_not_saved",
            Self::StateSaved => "state_saved",
            Self::ThreadDied { .. } => "thread_died",
            Self::ThreadAbandoned { .. } => "thread_abandoned",
            Self::FleetCutOff { .. } => "fleet_cut_off",
            Self::FleetJoined { .. } => "fleet_joined",
            Self::FleetRejoined => "fleet_rejoined",
            Self::FleetDiverged => "fleet_diverged",
            Self::NotReady { .. } => "not_ready",
            Self::EndedAtOnce { .. } => "ended_at_once",
            Self::Lapsed { .. } => "lapsed",
            Self::Closed => "closed",
        }
    }

    /// The version that it is about, where it is about one: of a rollback, the one that live was taken back from.
    pub fn version(&self) -> Option<VersionId> {
        match self {
            Self::Staged { version, .. }
            | Self::NotProven { version, .. }
            | Self::VersionRefused { version, .. }
            | Self::PhaseChanged { version, .. }
            | Self::GuardFailed { version, .. }
            | Self::Inconclusive { version, .. }
            | Self::Promoted { version, .. }
            | Self::Suspected { version, .. }
            | Self::Cleared { version, .. }
            | Self::EvidenceReset { version, .. }
            | Self::Undecidable { version, .. }
            | Self::WaitsForCycle { version, .. }
            | Self::WaitsForRoom { version, .. }
            | Self::Planned { version, .. }
            | Self::Recalled { version, .. }
            | Self::WatchPassed { version, .. }
            | Self::Aborted { version, .. }
            | Self::NoWayBack { version, .. }
            | Self::Paused { version, .. }
            | Self::Resumed { version, .. }
            | Self::Tripped { version, .. }
            | Self::Spared { version, .. }
            | Self::Overdue { version, .. }
            | Self::Held { version, .. }
            | Self::CircuitOpened { version, .. }
            | Self::CircuitClosed { version, .. }
            | Self::Quarantined { version, .. }
            | Self::Released { version, .. }
            | Self::Retired { version, .. }
            | Self::Dropped { version, .. }
            | Self::Loaded { version, .. }
            | Self::TierChanged { version, .. }
            | Self::Drilled { version, .. }
            | Self::Degraded { version, .. }
            | Self::PipelineMisfit { version, .. }
            | Self::AnswersInDoubt { version, .. }
            | Self::Unavailable { version, .. }
            | Self::NotReady { version, .. }
            | Self::EndedAtOnce { version, .. }
            | Self::Lapsed { version, .. }
            | Self::ThreadAbandoned { version, .. } => Some(*version),
            Self::Drifted { version, .. } | Self::DriftEnded { version, .. } => *version,
            Self::RolledBack { from, .. } | Self::LiveReplaced { from, .. } => Some(*from),
            Self::Started { live, .. } => Some(*live),
            Self::Frozen { .. }
            | Self::Unfrozen
            | Self::Draining { .. }
            | Self::LeaseExpired { .. }
            | Self::AllocationEnded { .. }
            | Self::ClockMoved { .. }
            | Self::StartedWithLess { .. }
            | Self::StateFolderMended { .. }
            | Self::Standby { .. }
            | Self::StandbyBehind { .. }
            | Self::TookOver
            | Self::StateNotSaved { .. }
            | Self::StateSaved
            | Self::ThreadDied { .. }
            | Self::RetentionChanged { .. }
            | Self::FleetCutOff { .. }
            | Self::FleetJoined { .. }
            | Self::FleetRejoined
            | Self::FleetDiverged
            | Self::Closed => None,
        }
    }

    /// The names of all kinds, in the order of their declaration.
    pub const NAMES: &'static [&'static str] = &[
        "staged",
        "not_proven",
        "version_refused",
        "phase_changed",
        "guard_failed",
        "inconclusive",
        "promoted",
        "suspected",
        "cleared",
        "evidence_reset",
        "undecidable",
        "waits_for_cycle",
        "waits_for_room",
        "planned",
        "recalled",
        "watch_passed",
        "aborted",
        "rolled_back",
        "no_way_back",
        "paused",
        "resumed",
        "frozen",
        "unfrozen",
        "draining",
        "lease_expired",
        "tripped",
        "spared",
        "overdue",
        "held",
        "circuit_opened",
        "circuit_closed",
        "quarantined",
        "released",
        "retired",
        "dropped",
        "loaded",
        "retention_changed",
        "tier_changed",
        "drilled",
        "degraded",
        "pipeline_misfit",
        "answers_in_doubt",
        "started",
        "allocation_ended",
        "clock_moved",
        "started_with_less",
        "state_folder_mended",
        "standby",
        "standby_behind",
        "took_over",
        "live_replaced",
        "unavailable",
        "drifted",
        "drift_ended",
        "state_not_saved",
        "state_saved",
        "thread_died",
        "thread_abandoned",
        "fleet_cut_off",
        "fleet_joined",
        "fleet_rejoined",
        "fleet_diverged",
        "not_ready",
        "ended_at_once",
        "lapsed",
        "closed",
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_called_as_it_is_written() {
        for name in EventKind::NAMES {
            let refused = serde_json::from_value::<EventKind>(serde_json::json!({ "event": name }));
            // Most have more than a name; none is unknown.
            let unknown = refused.err().is_some_and(|error| error.to_string().contains("unknown variant"));
            assert!(!unknown, "{name}");
        }
        let all =
            serde_json::from_value::<EventKind>(serde_json::json!({ "event": "" })).unwrap_err().to_string();
        let written: Vec<&str> = all.split('`').skip(3).step_by(2).collect();
        assert_eq!(written, EventKind::NAMES, "{all}");
        let event = EventKind::Frozen { reason: String::from("x") };
        assert_eq!(serde_json::to_value(&event).unwrap()["event"], event.name());
    }
}

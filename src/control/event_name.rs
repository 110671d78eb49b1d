//! The names of the kinds of events, in logs, in metrics and in JSON.

use super::event::EventKind;
use crate::version::id::VersionId;

/// The kinds with their names, in the order of their declaration.
macro_rules! names {
    ($($kind:ident: $name:literal,)*) => {
        impl EventKind {
            /// The kind's name, as it is written in JSON: `rolled_back`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $name,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The names of all kinds that a handle announces, in the order of their declaration.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

names! {
    Staged: "staged",
    NotProven: "not_proven",
    VersionRefused: "version_refused",
    PhaseChanged: "phase_changed",
    GuardFailed: "guard_failed",
    Inconclusive: "inconclusive",
    Promoted: "promoted",
    Suspected: "suspected",
    Cleared: "cleared",
    EvidenceReset: "evidence_reset",
    Undecidable: "undecidable",
    WaitsForCycle: "waits_for_cycle",
    WaitsForRoom: "waits_for_room",
    Planned: "planned",
    Recalled: "recalled",
    WatchPassed: "watch_passed",
    Aborted: "aborted",
    RolledBack: "rolled_back",
    NoWayBack: "no_way_back",
    Paused: "paused",
    Resumed: "resumed",
    Frozen: "frozen",
    Unfrozen: "unfrozen",
    Draining: "draining",
    LeaseExpired: "lease_expired",
    Tripped: "tripped",
    Spared: "spared",
    Overdue: "overdue",
    Held: "held",
    CircuitOpened: "circuit_opened",
    CircuitClosed: "circuit_closed",
    Quarantined: "quarantined",
    Released: "released",
    Retired: "retired",
    Dropped: "dropped",
    Loaded: "loaded",
    RetentionChanged: "retention_changed",
    TierChanged: "tier_changed",
    Drilled: "drilled",
    Degraded: "degraded",
    PipelineMisfit: "pipeline_misfit",
    AnswersInDoubt: "answers_in_doubt",
    Started: "started",
    AllocationEnded: "allocation_ended",
    ClockMoved: "clock_moved",
    StartedWithLess: "started_with_less",
    StateFolderMended: "state_folder_mended",
    Standby: "standby",
    StandbyBehind: "standby_behind",
    TookOver: "took_over",
    LiveReplaced: "live_replaced",
    Unavailable: "unavailable",
    Drifted: "drifted",
    DriftEnded: "drift_ended",
    StateNotSaved: "state_not_saved",
    StateSaved: "state_saved",
    ThreadDied: "thread_died",
    ThreadAbandoned: "thread_abandoned",
    FleetCutOff: "fleet_cut_off",
    FleetJoined: "fleet_joined",
    FleetRejoined: "fleet_rejoined",
    FleetDiverged: "fleet_diverged",
    NotReady: "not_ready",
    EndedAtOnce: "ended_at_once",
    Lapsed: "lapsed",
    Closed: "closed",
}

impl EventKind {
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
            | Self::Closed
            | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_called_as_it_is_written() {
        for name in EventKind::NAMES {
            let read = serde_json::from_value::<EventKind>(serde_json::json!({ "event": name }));
            // Most have more than a name; none is unknown.
            let named = |kind: EventKind| kind.name() == *name;
            assert!(read.map_or_else(|error| error.to_string().contains("missing field"), named), "{name}");
        }
        // Each has the name that serde makes of it, in the order of their declaration.
        let after = include_str!("event.rs").split_once("pub enum EventKind {").unwrap().1;
        let lines = after.split_once("\n}").unwrap().0.lines().filter_map(|line| line.strip_prefix("    "));
        let kinds = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
        let snake = |line: &str| {
            let mut name = String::new();
            for letter in line.chars().take_while(char::is_ascii_alphanumeric) {
                if letter.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_lowercase());
            }
            name
        };
        let written: Vec<String> = kinds.map(snake).filter(|name| name != "unknown").collect();
        assert_eq!(written, EventKind::NAMES);
        let event = EventKind::Frozen { reason: String::from("x") };
        assert_eq!(serde_json::to_value(&event).unwrap()["event"], event.name());
    }
}

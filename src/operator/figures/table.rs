//! The table of all figures.

use super::family::{Described, FigureKind, Samples, Unit};
use super::measured::Measured;
use crate::base::text::hex;
use crate::handle::status::Role;
use crate::model::error::ErrorKind;
use crate::rollout::guard::affected::{Affected, AffectedUnits};
use crate::rollout::guard::verdict::Verdict;
use crate::rollout::phase::Phase;
use crate::stats::{ArmFigures, Metric, SegmentArm};

/// Every figure that there is.
pub const DESCRIBED: &[Described] = &[
    Described {
        name: "switchback_version_info",
        help: "A version that is loaded or was on trial within the hour: its role (live, candidate, retained, past), its tier, \
               its pipeline and the start of its identity.",
        kind: FigureKind::Info,
        unit: Unit::None,
        labels: &["version", "role", "tier", "pipeline", "identity"],
        samples: version_info,
    },
    Described {
        name: "switchback_traffic_ratio",
        help: "The share of requests that a version answers.",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["version"],
        samples: traffic,
    },
    Described {
        name: "switchback_shadow_sample_ratio",
        help: "The share of live's requests that a candidate is given copies of.",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["version"],
        samples: |measured, samples| {
            for rollout in measured.rollouts() {
                samples.put([rollout.version.as_str()], rollout.sample.fraction());
            }
        },
    },
    Described {
        name: "switchback_requests_total",
        help: "Requests of a version: served to callers, or shadow, on copies whose answers are thrown away.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["version", "mode"],
        samples: |measured, samples| {
            each(measured, |version, total| {
                samples.count([version, "served"], total.requests.saturating_sub(total.shadowed));
                samples.count([version, "shadow"], total.shadowed);
            });
        },
    },
    Described {
        name: "switchback_errors_total",
        help: "Requests that a version failed on, by kind; input is the caller's fault.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["version", "kind"],
        samples: |measured, samples| {
            each(measured, |version, total| {
                // Those that did not happen too: the first failure is to be seen as an increase.
                for kind in ErrorKind::ALL {
                    let count = total.errors.get(&kind).copied().unwrap_or_default();
                    samples.count([version, kind.name()], count);
                }
            });
        },
    },
    Described {
        name: "switchback_fallbacks_total",
        help: "Requests that a version failed on and another answered in its place.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            each(measured, |version, total| samples.count([version], total.fallbacks));
        },
    },
    Described {
        name: "switchback_withheld_total",
        help: "Requests that belong to a candidate and that this version answered, because the candidate was passed over.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            each(measured, |version, total| samples.count([version], total.withheld));
        },
    },
    Described {
        name: "switchback_calls_in_flight",
        help: "Calls of a candidate that have begun and not ended.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            for rollout in measured.rollouts() {
                samples.count([rollout.version.as_str()], rollout.in_flight.calls as u64);
            }
        },
    },
    Described {
        name: "switchback_oldest_call_seconds",
        help: "How long the oldest call of a candidate that has begun and not ended has been under way; 0 where there is none.",
        kind: FigureKind::Gauge,
        unit: Unit::Seconds,
        labels: &["version"],
        samples: |measured, samples| {
            for rollout in measured.rollouts() {
                let oldest = rollout.in_flight.oldest.unwrap_or_default();
                samples.put([rollout.version.as_str()], oldest.as_secs_f64());
            }
        },
    },
    Described {
        name: "switchback_predict_duration_seconds",
        help: "How long requests of a version took, failures included, without those refused for their input.",
        kind: FigureKind::Histogram,
        unit: Unit::Seconds,
        labels: &["version"],
        samples: |measured, samples| {
            for (version, latency, _) in measured.latencies() {
                samples.durations([version], latency);
            }
        },
    },
    Described {
        name: "switchback_shadow_queue_duration_seconds",
        help: "How long copies waited for their turn.",
        kind: FigureKind::Histogram,
        unit: Unit::Seconds,
        labels: &["version"],
        samples: |measured, samples| {
            for (version, _, queue) in measured.latencies().filter(|(.., queue)| queue.count > 0) {
                samples.durations([version], queue);
            }
        },
    },
    Described {
        name: "switchback_outcomes_total",
        help: "Predictions of a version whose truth is known.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            each(measured, |version, total| samples.count([version], total.outcomes));
        },
    },
    Described {
        name: "switchback_censored_total",
        help: "Predictions of a version whose truth will never be known because of what was answered.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            each(measured, |version, total| samples.count([version], total.censored));
        },
    },
    Described {
        name: "switchback_feedback_total",
        help: "Outcomes that were delivered, by what became of them.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["result"],
        samples: feedback,
    },
    Described {
        name: "switchback_shadow_copies_total",
        help: "Copies of requests: that a candidate ran on, that were dropped because the queue was full, that were skipped \
               because their candidate was taken off.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["result"],
        samples: |Measured { status, .. }, samples| {
            samples.count(["ran"], status.shadow.ran);
            samples.count(["dropped"], status.shadow.dropped);
            samples.count(["skipped"], status.shadow.skipped);
        },
    },
    Described {
        name: "switchback_shadow_queue_entries",
        help: "Copies that wait.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.count([], status.shadow.waiting),
    },
    Described {
        name: "switchback_shadow_queue_bytes",
        help: "Bytes of the copies that wait.",
        kind: FigureKind::Gauge,
        unit: Unit::Bytes,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.count([], status.shadow.waiting_bytes),
    },
    Described {
        name: "switchback_quality_ratio",
        help: "How good a version's answers are, by figures of quality that are shares: accuracy, precision, recall, ...",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["version", "metric", "window"],
        samples: |measured, samples| quality(measured, true, samples),
    },
    Described {
        name: "switchback_quality_error",
        help: "How good a version's answers are, by figures of quality that are no shares: log_loss, mae, rmse, bias, ...",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version", "metric", "window"],
        samples: |measured, samples| quality(measured, false, samples),
    },
    Described {
        name: "switchback_kpi_mean",
        help: "The mean of a business figure over a version's predictions.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version", "kpi"],
        samples: |measured, samples| {
            each(measured, |version, total| {
                for kpi in &total.kpis {
                    samples.put([version, &kpi.name], kpi.mean.unwrap_or(f64::NAN));
                }
            });
        },
    },
    Described {
        name: "switchback_guard_progress_ratio",
        help: "How far the evidence of a guard has come: of harm, at 1 of which the candidate is taken back, and of non_inferiority, \
               at 1 of which it goes on.",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["version", "guard", "side"],
        samples: guard_progress,
    },
    Described {
        name: "switchback_guard_affected_ratio",
        help: "The share of units that a candidate served worse than live, and better, of those that both were asked about: what a \
               mean hides. Absent where no unit is asked of both.",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["version", "guard", "side"],
        samples: guard_affected,
    },
    Described {
        name: "switchback_segment_units",
        help: "Units that a candidate, and live beside it, were asked in a segment, as evidence counts them. As all figures of segments \
               where `Operator::by_segment` asks for them, and of the first 64 segments of a rollout.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version", "segment", "side"],
        samples: |measured, samples| segments(measured, samples, |arm| Some(arm.units as f64)),
    },
    Described {
        name: "switchback_segment_error_ratio",
        help: "The share of those units that failed.",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["version", "segment", "side"],
        samples: |measured, samples| segments(measured, samples, SegmentArm::error_rate),
    },
    Described {
        name: "switchback_segment_accuracy_ratio",
        help: "The share of right answers among those of the units whose truth is known.",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["version", "segment", "side"],
        samples: |measured, samples| segments(measured, samples, SegmentArm::accuracy),
    },
    Described {
        name: "switchback_guard_verdict",
        help: "What a guard said last: 1 passed, 0 cannot tell yet, -1 failed. Of the first 16 guards of a rollout, as all figures of \
               guards are, and of several of one name the worst; the status has all.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version", "guard"],
        samples: |measured, samples| {
            for (version, evidence) in measured.guards() {
                let verdict = match evidence.verdict {
                    Verdict::Pass => 1.0,
                    Verdict::Inconclusive => 0.0,
                    Verdict::Fail => -1.0,
                };
                samples.put([version, &evidence.guard], verdict);
            }
        },
    },
    Described {
        name: "switchback_rollout_step",
        help: "The step of its plan that a rollout stands at, from 0.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            for rollout in measured.rollouts() {
                samples.put([rollout.version.as_str()], rollout.step.map_or(f64::NAN, |step| step as f64));
            }
        },
    },
    Described {
        name: "switchback_rollout_paused",
        help: "1 where the plan of a rollout stands still until a person says otherwise.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            for rollout in measured.rollouts() {
                samples.flag([rollout.version.as_str()], rollout.paused);
            }
        },
    },
    Described {
        name: "switchback_rollout_phase_info",
        help: "Where a rollout stands: staged, shadow, canary or baking.",
        kind: FigureKind::Info,
        unit: Unit::None,
        labels: &["version", "phase"],
        samples: |measured, samples| {
            for rollout in measured.rollouts() {
                samples.put([rollout.version.as_str(), rollout.phase.name()], 1.0);
            }
        },
    },
    Described {
        name: "switchback_drift_ratio",
        help: "How large the drift is of a feature, or of an answer, that was told to have drifted.",
        kind: FigureKind::Gauge,
        unit: Unit::Ratio,
        labels: &["feature", "what", "against"],
        samples: drift_ratio,
    },
    Described {
        name: "switchback_drift_alerts",
        help: "Drifts that go on, by whose doing they are: the world's or a candidate's.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["whose"],
        samples: drift_alerts,
    },
    Described {
        name: "switchback_memory_bytes",
        help: "What a version takes of the process's memory: private to it, and resident with files that it has mapped.",
        kind: FigureKind::Gauge,
        unit: Unit::Bytes,
        labels: &["version", "kind"],
        samples: |measured, samples| {
            for version in measured.versions() {
                if let Some(memory) = version.memory {
                    samples.count([version.version.as_str(), "private"], memory.private_bytes);
                    samples.count([version.version.as_str(), "resident"], memory.resident_bytes);
                }
            }
        },
    },
    Described {
        name: "switchback_rollback_ready",
        help: "1 for a retained version that would answer if it were gone back to, as far as its last drill tells.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["version"],
        samples: |measured, samples| {
            for version in measured.versions().filter(|version| version.role == Role::Retained) {
                let name = version.version;
                // One that could not be drilled has a reason and no failed input.
                let failed = version.drilled.as_ref().is_some_and(|drilled| drilled.failure.is_some());
                samples.flag([name.as_str()], !failed);
            }
            for lost in &measured.status.unavailable {
                samples.flag([lost.version.as_str()], false);
            }
        },
    },
    Described {
        name: "switchback_frozen",
        help: "1 where automation may lower exposure and not raise it.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.flag([], status.frozen.is_some()),
    },
    Described {
        name: "switchback_draining",
        help: "1 where the process is about to end and takes no new callers.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.flag([], status.draining.is_some()),
    },
    Described {
        name: "switchback_standby",
        help: "1 where another process has the state and decides.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.flag([], status.standby),
    },
    Described {
        name: "switchback_durable",
        help: "1 where all that happened is on disk, 0 where it is not; absent where no state is kept.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| {
            if let Some(durable) = status.durable {
                samples.flag([], durable);
            }
        },
    },
    Described {
        name: "switchback_quarantined_versions",
        help: "Identities that no plan tries again.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.count([], status.quarantined.len() as u64),
    },
    Described {
        name: "switchback_async_requests",
        help: "Requests from asynchronous code that are not answered on the spot: running on the blocking pool, waiting for a \
               place there, or overdue: these run still and have given their places back.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["state"],
        samples: async_requests,
    },
    Described {
        name: "switchback_async_requests_max",
        help: "How many of them run and wait at most.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["state"],
        samples: async_requests_max,
    },
    Described {
        name: "switchback_async_refused_total",
        help: "Requests from asynchronous code that were refused because as many waited as may.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &[],
        samples: async_refused,
    },
    Described {
        name: "switchback_fleet_state",
        help: "1 for where the process stands in its fleet: joining, following, cut_off or diverged.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["state"],
        samples: fleet_state,
    },
    Described {
        name: "switchback_fleet_sequence",
        help: "How many times something was agreed on in the fleet, as far as this process follows; processes that differ for long do not agree.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: fleet_sequence,
    },
    Described {
        name: "switchback_fleet_confirmed_timestamp_seconds",
        help: "When it was last confirmed that what this process follows is the newest, as a Unix time.",
        kind: FigureKind::Gauge,
        unit: Unit::Seconds,
        labels: &[],
        samples: fleet_confirmed,
    },
    Described {
        name: "switchback_fleet_judges",
        help: "1 in the process that judges for the fleet.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: fleet_judges,
    },
    Described {
        name: "switchback_fleet_pending",
        help: "Changes that hold in this process and wait for the fleet to agree.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: fleet_pending,
    },
    Described {
        name: "switchback_fleet_members",
        help: "Processes that whoever judges has seen, by where they stand.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &["state"],
        samples: fleet_members,
    },
    Described {
        name: "switchback_fleet_voids_total",
        help: "How often counts were given up, of all processes alike, because those of one could not be read or were not what they had been, as far as this process knows.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &[],
        samples: fleet_voids,
    },
    Described {
        name: "switchback_fleet_outcomes_waiting",
        help: "Outcomes of other processes' predictions that wait here to be brought there.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: fleet_outcomes_waiting,
    },
    Described {
        name: "switchback_fleet_outcomes_received_total",
        help: "Outcomes of this process's predictions that came to others and were brought here.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &[],
        samples: fleet_outcomes_received,
    },
    Described {
        name: "switchback_fleet_outcomes_unclaimed_total",
        help: "Outcomes that were forwarded and given up, because the process that made the prediction was killed or does not reach the store.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &[],
        samples: fleet_outcomes_unclaimed,
    },
    Described {
        name: "switchback_fleet_store_requests_total",
        help: "Requests of the fleet's store.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &[],
        samples: fleet_store_requests,
    },
    Described {
        name: "switchback_fleet_store_failures_total",
        help: "Requests of the fleet's store that came to nothing, or of which it is not known what they came to.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &[],
        samples: fleet_store_failures,
    },
    Described {
        name: "switchback_pinned_streams",
        help: "Streams that stay with one version.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.count([], status.pins as u64),
    },
    Described {
        name: "switchback_epoch",
        help: "The routing table in force; grows with every change of who answers.",
        kind: FigureKind::Gauge,
        unit: Unit::None,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.count([], status.epoch),
    },
    Described {
        name: "switchback_last_tick_timestamp_seconds",
        help: "When the guards were last asked, as a Unix time.",
        kind: FigureKind::Gauge,
        unit: Unit::Seconds,
        labels: &[],
        samples: |Measured { status, .. }, samples| {
            if let Some(at) = status.last_tick {
                samples.put([], at.unix_nanos() as f64 / 1e9);
            }
        },
    },
    Described {
        name: "switchback_tick_interval_seconds",
        help: "How often the guards are to be asked.",
        kind: FigureKind::Gauge,
        unit: Unit::Seconds,
        labels: &[],
        samples: |Measured { status, .. }, samples| samples.put([], status.tick_interval.as_secs_f64()),
    },
    Described {
        name: "switchback_labels_complete_after_seconds",
        help: "The age at which labels are complete; absent where they come at random.",
        kind: FigureKind::Gauge,
        unit: Unit::Seconds,
        labels: &[],
        samples: |Measured { status, .. }, samples| {
            if let Some(age) = status.labels_complete_after {
                samples.put([], age.as_secs_f64());
            }
        },
    },
    Described {
        name: "switchback_thread_deaths_total",
        help: "How often a fault of switchback's ended the work of one of its threads, which was begun again.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["thread"],
        samples: |Measured { status, .. }, samples| {
            let mut names: Vec<&str> = status.threads.iter().map(|thread| thread.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let of_name = status.threads.iter().filter(|thread| thread.name == name);
                samples.count([name], of_name.map(|thread| thread.died).sum());
            }
        },
    },
    Described {
        name: "switchback_events_total",
        help: "What happened, by kind.",
        kind: FigureKind::Counter,
        unit: Unit::None,
        labels: &["event"],
        samples: |Measured { events, .. }, samples| {
            for (event, count) in events {
                samples.count([event], *count);
            }
        },
    },
];

/// The figures of each version that is shown, over all of its life.
fn each(measured: &Measured, mut of: impl FnMut(&str, &ArmFigures)) {
    for version in measured.versions() {
        of(version.version.as_str(), &version.total);
    }
}

/// A figure of each segment's arms, where it is known.
fn segments(measured: &Measured, samples: &mut Samples, of: fn(&SegmentArm) -> Option<f64>) {
    for (version, segment, side, arm) in measured.segments() {
        if let Some(value) = of(&arm) {
            samples.put([version, segment, side], value);
        }
    }
}

fn version_info(measured: &Measured, samples: &mut Samples) {
    for version in measured.versions() {
        let tier = version.tier.map_or_else(String::new, |tier| tier.to_string());
        let description = version.description.as_ref();
        let pipeline = description.and_then(|of| of.pipeline.as_deref()).unwrap_or_default();
        let identity = hex(version.identity.as_bytes());
        let identity = identity.get(..12).unwrap_or_default();
        samples.put([version.version.as_str(), version.role.name(), &tier, pipeline, identity], 1.0);
    }
}

fn traffic(measured: &Measured, samples: &mut Samples) {
    let mut left = 1.0;
    for rollout in measured.rollouts().filter(|rollout| rollout.phase == Phase::Canary) {
        let weight = if rollout.withheld { 0.0 } else { rollout.weight.fraction() };
        left -= weight;
        samples.put([rollout.version.as_str()], weight);
    }
    samples.put([measured.status.live.as_str()], f64::max(left, 0.0));
}

fn feedback(Measured { status, .. }: &Measured, samples: &mut Samples) {
    let counts = &status.feedback;
    for (result, count) in [
        ("counted", counts.counted),
        ("corrected", counts.corrected),
        ("repeated", counts.repeated),
        ("settled", counts.settled),
        ("outdated", counts.outdated),
        ("expired", counts.expired),
        ("thinned", counts.thinned),
        ("unknown", counts.unknown),
        ("elsewhere", counts.elsewhere),
        ("forwarded", counts.forwarded),
        ("refused", counts.refused),
        ("assumed", counts.assumed),
    ] {
        samples.count([result], count);
    }
}

fn quality(measured: &Measured, shares: bool, samples: &mut Samples) {
    for version in measured.versions() {
        for (window, figures) in [("total", &version.total), ("recent", &version.recent)] {
            let Some(quality) = &figures.quality else { continue };
            for metric in Metric::ALL.into_iter().filter(|metric| metric.is_share() == shares) {
                if let Some(found) = quality.measure(metric) {
                    samples.put([version.version.as_str(), metric.name(), window], found.value);
                }
            }
        }
    }
}

fn guard_progress(measured: &Measured, samples: &mut Samples) {
    for (version, evidence) in measured.guards() {
        let Some(strength) = &evidence.strength else { continue };
        let sides = [
            ("harm", Some(strength.harm_peak), strength.harm_threshold),
            ("non_inferiority", strength.non_inferiority, strength.non_inferiority_threshold),
        ];
        for (side, reached, threshold) in sides {
            if let Some(reached) = reached {
                let progress = (reached.ln() / threshold.ln()).clamp(0.0, 1.0);
                samples.put([version, &evidence.guard, side], progress);
            }
        }
    }
}

fn guard_affected(measured: &Measured, samples: &mut Samples) {
    for (version, evidence) in measured.guards() {
        let Some(Affected::Counted(AffectedUnits { units, worse, better })) = evidence.affected else {
            continue;
        };
        for (side, count) in [("worse", worse), ("better", better)] {
            let share = count as f64 / units.max(1) as f64;
            samples.put([version, &evidence.guard, side], share);
        }
    }
}

#[cfg(feature = "drift")]
fn drift_ratio(Measured { status, .. }: &Measured, samples: &mut Samples) {
    const FEATURES_MAX: usize = 16;
    let alerts = status.drift.iter().flat_map(|drift| &drift.alerts);
    let drifted = alerts.flat_map(|alert| alert.features.iter().map(|feature| (alert.against, feature)));
    let mut shown: Vec<(String, String, &'static str, f64)> = Vec::new();
    for (against, drifted) in drifted {
        let (what, against) = (drifted.what.to_string(), against.name());
        let same = |(feature, of, from, _): &(String, String, &str, f64)| {
            (feature, of, *from) == (&drifted.feature, &what, against)
        };
        // A candidate's answers may drift as live's do: the larger of the two stands for both.
        if let Some((.., effect)) = shown.iter_mut().find(|known| same(known)) {
            *effect = effect.max(drifted.effect);
        } else if shown.len() < FEATURES_MAX {
            shown.push((drifted.feature.clone(), what, against, drifted.effect));
        }
    }
    for (feature, what, against, effect) in &shown {
        samples.put([feature, what, against], *effect);
    }
}

#[cfg(feature = "drift")]
fn drift_alerts(Measured { status, .. }: &Measured, samples: &mut Samples) {
    let Some(drift) = &status.drift else { return };
    use crate::drift::told::DriftScope::{Candidate, World};
    for (whose, name) in [(World, "world"), (Candidate, "candidate")] {
        let count = drift.alerts.iter().filter(|alert| alert.whose == whose).count();
        samples.count([name], count as u64);
    }
}

#[cfg(not(feature = "drift"))]
fn drift_ratio(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "drift"))]
fn drift_alerts(_: &Measured, _: &mut Samples) {}

#[cfg(feature = "tokio")]
fn async_requests(Measured { aside, .. }: &Measured, samples: &mut Samples) {
    if let Some(aside) = aside {
        samples.count(["running"], aside.running as u64);
        samples.count(["waiting"], aside.waiting as u64);
        samples.count(["overdue"], aside.overdue as u64);
    }
}

#[cfg(feature = "tokio")]
fn async_requests_max(Measured { aside, .. }: &Measured, samples: &mut Samples) {
    if let Some(aside) = aside {
        samples.count(["running"], aside.running_max as u64);
        samples.count(["waiting"], aside.waiting_max as u64);
    }
}

#[cfg(feature = "tokio")]
fn async_refused(Measured { aside, .. }: &Measured, samples: &mut Samples) {
    if let Some(aside) = aside {
        samples.count([], aside.refused);
    }
}

#[cfg(not(feature = "tokio"))]
fn async_requests(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "tokio"))]
fn async_requests_max(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "tokio"))]
fn async_refused(_: &Measured, _: &mut Samples) {}

#[cfg(feature = "fleet")]
fn fleet_state(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    use crate::handle::fleet::FleetState;
    let Some(fleet) = fleet else { return };
    for (state, name) in [
        (FleetState::Joining, "joining"),
        (FleetState::Following, "following"),
        (FleetState::CutOff, "cut_off"),
        (FleetState::Diverged, "diverged"),
    ] {
        samples.flag([name], fleet.state == state);
    }
}

#[cfg(feature = "fleet")]
fn fleet_sequence(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.sequence));
}

#[cfg(feature = "fleet")]
fn fleet_confirmed(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    if let Some(at) = fleet.as_ref().and_then(|fleet| fleet.confirmed) {
        samples.put([], at.unix_nanos() as f64 / 1e9);
    }
}

#[cfg(feature = "fleet")]
fn fleet_judges(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.flag([], fleet.judges));
}

#[cfg(feature = "fleet")]
fn fleet_pending(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.pending as u64));
}

#[cfg(feature = "fleet")]
fn fleet_members(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    use crate::handle::fleet::FleetState;
    let Some(fleet) = fleet.as_ref().filter(|fleet| fleet.judges) else { return };
    for (state, name) in [
        (FleetState::Joining, "joining"),
        (FleetState::Following, "following"),
        (FleetState::CutOff, "cut_off"),
        (FleetState::Diverged, "diverged"),
        (FleetState::Left, "left"),
    ] {
        let count = fleet.members.iter().filter(|member| member.state == state).count();
        samples.count([name], count as u64);
    }
}

#[cfg(feature = "fleet")]
fn fleet_voids(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.voids));
}

#[cfg(feature = "fleet")]
fn fleet_outcomes_waiting(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.outcomes_waiting));
}

#[cfg(feature = "fleet")]
fn fleet_outcomes_received(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.outcomes_received));
}

#[cfg(feature = "fleet")]
fn fleet_outcomes_unclaimed(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.outcomes_unclaimed));
}

#[cfg(feature = "fleet")]
fn fleet_store_requests(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.store_requests));
}

#[cfg(feature = "fleet")]
fn fleet_store_failures(Measured { fleet, .. }: &Measured, samples: &mut Samples) {
    fleet.iter().for_each(|fleet| samples.count([], fleet.store_failures));
}

#[cfg(not(feature = "fleet"))]
fn fleet_state(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_sequence(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_confirmed(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_judges(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_pending(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_members(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_voids(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_outcomes_waiting(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_outcomes_received(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_outcomes_unclaimed(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_store_requests(_: &Measured, _: &mut Samples) {}

#[cfg(not(feature = "fleet"))]
fn fleet_store_failures(_: &Measured, _: &mut Samples) {}

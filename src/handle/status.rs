//! A snapshot of everything a handle knows about itself.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "fleet")]
use super::fleet::FleetStatus;
use super::supervised::ThreadStatus;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::base::text::told_by_name;
use crate::control::attempt::Attempt;
use crate::control::control::Control;
use crate::control::event::Cause;
use crate::control::settings::{Quarantined, Unavailable};
#[cfg(feature = "drift")]
use crate::drift::watch::DriftStatus;
use crate::feedback::FeedbackCounts;
use crate::model::description::Description;
use crate::model::identity::Identity;
#[cfg(feature = "onnx")]
use crate::model::onnx::Signature;
use crate::model::{Memory, Tier};
use crate::request::shadow::ShadowCounts;
use crate::rollout::budget::ErrorBudgetStatus;
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::stats::{ArmFigures, Cohort, DivergenceFigures, SegmentFigures, Window};
use crate::version::drill::DrillOutcome;
use crate::version::id::VersionId;
use crate::version::in_flight::InFlight;
use crate::version::loaded::AnyVersion;
use crate::version::proof::Proof;

/// Everything a handle knows about itself at one moment: versions, roles, phases, figures, counters. Holds no request,
/// no key and no tensor of a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The handle's name.
    pub name: String,
    /// When the snapshot was taken.
    pub at: Timestamp,
    /// The routing table in force; grows with every change.
    pub epoch: u64,
    /// The version that answers by default.
    pub live: VersionId,
    /// Since when.
    pub live_since: Timestamp,
    /// Why automation may not raise exposure, where that is so.
    pub frozen: Option<String>,
    /// Whether the handle was closed.
    pub closed: bool,
    /// Why the process takes no new callers, where somebody has said so: see [`drain`](crate::ModelHandle::drain).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<String>,
    /// When somebody last ticked; nothing before the first time.
    #[serde(default)]
    pub last_tick: Option<Timestamp>,
    /// How often somebody is to tick.
    #[serde(default)]
    pub tick_interval: Duration,
    /// The age at which labels are complete, where the host has said one: see
    /// [`Labels::complete_after`](crate::options::Labels::complete_after).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_complete_after: Option<Duration>,
    /// Whether another process has the state and decides, and this one follows what that says.
    #[serde(default)]
    pub standby: bool,
    /// Whether all that happened is on disk; nothing where no state is kept (`Builder::state`). Where it is not, the
    /// next tick tries again, and an [event](crate::events::EventKind::StateNotSaved) says what stands in the way.
    pub durable: Option<bool>,
    /// Retained versions that cannot be gone back to, and why not.
    pub unavailable: Vec<Unavailable>,
    /// Every version that is remembered: live first, then candidates, retained ones from the newest on, others.
    pub versions: Vec<VersionStatus>,
    /// Rollouts: those that run, then those that ended, from the newest on.
    pub rollouts: Vec<RolloutStatus>,
    /// Identities that no plan tries again.
    pub quarantined: Vec<Quarantined>,
    /// Copied requests.
    pub shadow: ShadowCounts,
    /// Outcomes.
    pub feedback: FeedbackCounts,
    /// Streams that are pinned to a version.
    pub pins: usize,
    /// How many answers had a probability or a confidence that was beyond 0 or 1 by at most 1e-6, as engines round that count
    /// in `f32`, and was taken for 0 or 1. Of all versions, whatever they were asked for.
    #[serde(default)]
    pub rounded: u64,
    /// The threads of the handle's: what each last did, and which were given up. Where the host ticks there are those alone
    /// that load versions or ask candidates.
    #[serde(default)]
    pub threads: Vec<ThreadStatus>,
    /// Versions that take no traffic and wait for their last borrower before they are freed.
    pub waiting_to_drop: Vec<VersionId>,
    /// The drift of its data, as far as it is known, where that is [watched](crate::Builder::drift).
    #[cfg(feature = "drift")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// The fleet that the handle is a member of, where it is: as [`ModelHandle::fleet`](crate::ModelHandle::fleet).
    #[cfg(feature = "fleet")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
}

/// Whether a process wants callers, for a probe of whoever sends them: Kubernetes, a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Readiness {
    /// Whether callers are to be sent to this process.
    pub ready: bool,
    /// Why not; empty where they are.
    pub because: Vec<String>,
}

impl Readiness {
    /// A handle that was built answers until it is closed. Nothing else makes it unready: not a candidate that fails, a state
    /// that is not saved, a freeze, a process that looks on or nobody who ticks. Each of these would take every replica out of
    /// service at once, while live answers.
    pub(crate) fn of(name: &str, closed: bool, draining: Option<&str>) -> Self {
        let closed = closed.then(|| format!("{name} was closed"));
        let draining = draining.map(|reason| format!("{name} takes no new callers: {reason}"));
        let because: Vec<String> = closed.into_iter().chain(draining).collect();
        Self { ready: because.is_empty(), because }
    }
}

impl Status {
    /// Whether a retained version would answer, in a sentence: `v1: would answer, proven 40 s ago on 12 live inputs`. Nothing
    /// where there is no such version.
    pub fn would_answer(&self, version: impl AsRef<str>) -> Option<String> {
        let version = version.as_ref();
        if let Some(lost) = self.unavailable.iter().find(|lost| lost.version == *version) {
            return Some(format!("{version}: would not answer: {}", lost.reason));
        }
        let status = self.versions.iter().find(|status| status.version == *version)?;
        status.tier?;
        let proven = status.drilled.as_ref().map(|drilled| {
            let (ago, said) = (self.at.since(drilled.at).as_secs(), drilled.to_string());
            match said.split_once("proven on") {
                Some((before, after)) => format!("{version}: {before}proven {ago} s ago on{after}"),
                None => format!("{version}: {said}, {ago} s ago"),
            }
        });
        Some(proven.unwrap_or_else(|| match &status.proof {
            Some(Proof::Answered) => format!("{version}: answered when it was staged, not asked since"),
            _ => format!("{version}: was asked nothing when it was staged, not drilled since"),
        }))
    }
}

/// The role of a version in its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Answers by default.
    Live,
    /// On trial.
    Candidate,
    /// Kept for a rollback.
    Retained,
    /// Not loaded any more; only its figures are remembered.
    Past,
}

impl Role {
    /// Its name, as it is written in JSON and in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Candidate => "candidate",
            Self::Retained => "retained",
            Self::Past => "past",
        }
    }
}

told_by_name!(Role);

/// A version and its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionStatus {
    /// Its name.
    pub version: VersionId,
    /// Its role in the handle.
    pub role: Role,
    /// The identity that makes it the same as another.
    pub identity: Identity,
    /// When it was staged.
    pub staged_at: Timestamp,
    /// The model's description of itself; nothing once it is past.
    pub description: Option<Description>,
    /// What the model takes and gives, as data; nothing once it is past, where it is no ONNX model, or where its inputs or outputs are
    /// more than 1,024 or one takes more than 4,096 bytes to say. Of labels and metadata as many are kept as of a
    /// [`Description`].
    #[cfg(feature = "onnx")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Arc<Signature>>,
    /// Its proof: what it was asked before it was staged; nothing once it is past.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// Everything it ever did, in whatever role.
    pub total: ArmFigures,
    /// Its recent figures; see [`Window::Recent`].
    pub recent: ArmFigures,
    /// How ready it is; nothing once it is past.
    pub tier: Option<Tier>,
    /// The part of the process's memory that it takes, as measured within the last seconds; nothing where that is not
    /// known.
    pub memory: Option<Memory>,
    /// The outcome of its last [drill](crate::options::Drill), where it was retained then.
    pub drilled: Option<DrillOutcome>,
}

impl RolloutStatus {
    /// `step 2 of 3`, of a rollout that is at one.
    #[cfg(any(feature = "admin", feature = "report"))]
    pub(crate) fn step_told(&self) -> Option<String> {
        let at = self.step.filter(|at| *at < self.steps)?;
        Some(format!("step {} of {}", at + 1, self.steps))
    }
}

/// An attempt to replace live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RolloutStatus {
    /// Counts a handle's attempts from 1.
    pub number: u32,
    /// The candidate.
    pub version: VersionId,
    /// Where it stands.
    pub phase: Phase,
    /// The share of requests it answers.
    pub weight: Share,
    /// Whether live answers that share at the moment, because nobody has ticked for three intervals or because the
    /// candidate has failed outright.
    #[serde(default)]
    pub withheld: bool,
    /// Calls of the candidate that have begun and not ended.
    #[serde(default)]
    pub in_flight: InFlight,
    /// The share of live's requests it is given copies of.
    pub sample: Share,
    /// Whether its plan stands still.
    pub paused: bool,
    /// Why, as far as the handle's log still has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_reason: Option<String>,
    /// The plan's step, from 0, for a rollout that follows one.
    pub step: Option<usize>,
    /// How many steps its plan has; 0 without one.
    #[serde(default)]
    pub steps: usize,
    /// Until when its plan waits for its [cycle](crate::Plan::cycle) and for nothing else, where it does: every guard passes,
    /// and the last step has all that it asks for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<Timestamp>,
    /// When the step began, or the attempt ended.
    pub since: Timestamp,
    /// Why it was taken off, where it was.
    pub cause: Option<Cause>,
    /// The guards' last evidence.
    pub evidence: Vec<Evidence>,
    /// The candidate's figures since the attempt began; since its promotion, once it was promoted.
    pub candidate: ArmFigures,
    /// Live's figures over the same time. Of a new live that is watched those of the version before, on the requests that are copied to
    /// it: none where nothing is.
    pub control: ArmFigures,
    /// Pairs of answers to the same input.
    pub divergence: DivergenceFigures,
    /// How the errors that the guards may have are divided; nothing before the evidence began.
    pub error_budget: Option<ErrorBudgetStatus>,
    /// How many predictions of which time got their truth, oldest first; the last 48 stretches.
    pub cohorts: Vec<Cohort>,
    /// Labels that came when those of their time had become evidence without them. They count in the figures.
    pub labels_late: u64,
    /// Keys that count as units, of either arm.
    pub keys: u64,
    /// Of how many new keys one counts: 1 unless memory ran short.
    pub keys_one_in: u64,
    /// By [segment](crate::options::Inputs::segment), where requests have any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentFigures>,
}

impl Control {
    /// Whether another process has the state.
    pub(crate) fn is_standby(&self) -> bool {
        #[cfg(feature = "state")]
        let standby = self.standby.is_some();
        #[cfg(not(feature = "state"))]
        let standby = false;
        standby
    }

    /// The snapshot. The caller has just collected the figures.
    pub(crate) fn status(&self, shadow: ShadowCounts, feedback: FeedbackCounts, now: Timestamp) -> Status {
        let retained = self.retained.iter().map(|kept| &kept.version);
        let mut loaded: Vec<(&Arc<dyn AnyVersion>, Role)> = vec![(&self.live, Role::Live)];
        loaded.extend(self.on_trial().map(|version| (version, Role::Candidate)));
        loaded.extend(retained.map(|version| (version, Role::Retained)));
        let mut versions: Vec<VersionStatus> = loaded
            .iter()
            .filter_map(|(version, role)| self.version_status(version.id, *role, Some(version), now))
            .collect();
        let past = self.records.keys().filter(|id| !loaded.iter().any(|(version, _)| version.id == **id));
        versions.extend(past.filter_map(|id| self.version_status(*id, Role::Past, None, now)));

        Status {
            name: self.settings.name.clone(),
            at: now,
            epoch: self.epoch,
            live: self.live.id,
            live_since: self.live_since,
            frozen: self.frozen.clone(),
            closed: self.closed,
            draining: self.draining.clone(),
            last_tick: self.last_tick,
            tick_interval: self.settings.tick_interval,
            labels_complete_after: self.settings.exposure.maturity.told(),
            standby: self.is_standby(),
            durable: None,
            unavailable: self.unavailable.clone(),
            versions,
            rollouts: self.known_attempts().filter_map(|attempt| self.attempt_status(attempt, now)).collect(),
            quarantined: self.quarantine.iter().map(Quarantined::of).collect(),
            shadow,
            feedback,
            pins: self.pins.iter().filter(|pin| Arc::strong_count(pin) > 1).count(),
            rounded: 0,
            threads: Vec::new(),
            waiting_to_drop: self.retired.iter().map(|version| version.id).collect(),
            #[cfg(feature = "drift")]
            drift: None,
            #[cfg(feature = "fleet")]
            fleet: None,
        }
    }

    fn version_status(
        &self,
        version: VersionId,
        role: Role,
        loaded: Option<&Arc<dyn AnyVersion>>,
        now: Timestamp,
    ) -> Option<VersionStatus> {
        let record = self.records.get(&version)?;
        let view = self.view(record.lifetime, now)?;
        let readiness = loaded.map(|version| version.readiness());
        Some(VersionStatus {
            tier: readiness.as_ref().map(|readiness| readiness.tier),
            memory: readiness.as_ref().and_then(|readiness| readiness.memory),
            drilled: readiness.and_then(|readiness| readiness.drilled),
            version,
            role,
            identity: record.identity,
            staged_at: record.staged_at,
            description: loaded.map(|version| version.description.clone()),
            #[cfg(feature = "onnx")]
            signature: loaded.and_then(|version| version.signature.clone()),
            proof: loaded.map(|version| version.proof.clone()),
            total: view.figures(Window::Total),
            recent: view.figures(Window::Recent),
        })
    }

    /// One attempt, running or over.
    pub(crate) fn attempt_status(&self, attempt: &Attempt, now: Timestamp) -> Option<RolloutStatus> {
        let Attempt { state, ledger, ended, keys, .. } = attempt;
        // Labels that had not come when it ended came too late to be evidence.
        let until = ended.as_ref().map_or(now, |ended| ended.at);
        // Guards of the host's have what live did on trial, and nobody was asked beside a new live where nothing is copied.
        let is_alone = !state.watch.is_zero() && !self.settings.shadowing;
        let control = if is_alone {
            ArmFigures::of_nothing()
        } else {
            self.view(attempt.control, now)?.figures(Window::Total)
        };
        Some(RolloutStatus {
            number: attempt.number,
            version: attempt.version,
            phase: state.phase,
            weight: state.weight,
            withheld: self.is_withheld(attempt, now),
            in_flight: attempt.in_flight_at(self.settings.stopwatch.reading()),
            sample: state.sample,
            paused: state.paused,
            pause_reason: state.paused.then(|| self.announcer.pause_reason(attempt.version)).flatten(),
            step: state.step,
            steps: attempt.plan.as_ref().map_or(0, |plan| plan.steps().len()),
            waits_until: attempt.waits_until.filter(|_| !state.paused && self.frozen.is_none()),
            since: state.entered,
            cause: ended.as_ref().and_then(|ended| ended.cause.clone()),
            evidence: attempt.evidence.clone(),
            candidate: self.view(attempt.candidate, now)?.figures(Window::Total),
            control,
            divergence: attempt.divergence.figures(),
            error_budget: attempt.error_budget,
            cohorts: ledger.cohorts(until),
            labels_late: ledger.late(),
            keys: attempt.keys_seen(),
            keys_one_in: keys.as_ref().map_or(1, |keys| keys.one_in()),
            segments: ledger.blocks().total().segments.figures(),
        })
    }
}

//! A snapshot of drift.

use serde::{Deserialize, Serialize};

use super::trial::Trial;
use crate::drift::DriftTable;
use crate::drift::estimate::{EstimatedQuality, QualityEstimator};
use crate::drift::told::{Baseline, DriftScope, DriftedFeature};
use crate::version::id::VersionId;

/// A snapshot of the drift of a handle's data. Tables are those of the last full windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftStatus {
    /// Windows that were full so far.
    pub windows: u64,
    /// Rows in the one that is being filled.
    pub rows: u64,
    /// Rows that were counted, of all versions, copies included.
    pub counted: u64,
    /// Rows that were sampled and not counted: somebody else was counting at that moment, or there was no room.
    pub skipped: u64,
    /// Rows whose features were not counted, because there was not one value of each or the host's function panicked.
    pub misfits: u64,
    /// The inputs that came, against training.
    pub against_training: Option<DriftTable>,
    /// The inputs that came, against the window before.
    pub against_previous: Option<DriftTable>,
    /// The last full hour against the same hour of other days.
    pub against_season: Option<DriftTable>,
    /// The drifts that were told and are not over.
    pub alerts: Vec<DriftAlert>,
    /// By version, of those that were asked something.
    pub versions: Vec<VersionDrift>,
    /// By rollout, of those whose candidate and live have a full window.
    pub rollouts: Vec<RolloutDrift>,
}

/// A drift that goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftAlert {
    /// Whose doing it is.
    pub whose: DriftScope,
    /// The baseline that it drifted from.
    pub against: Baseline,
    /// The version whose answers have drifted; nothing of what came in.
    pub version: Option<VersionId>,
    /// The features that have drifted.
    pub features: Vec<DriftedFeature>,
}

/// The inputs and answers of one version, in its last full window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionDrift {
    /// The version.
    pub version: VersionId,
    /// How many requests.
    pub rows: u64,
    /// The inputs that it was asked, against training: with what was missing and what training never had. Nothing of a
    /// shadow.
    pub inputs: Option<DriftTable>,
    /// The answers that it gave, against the window before: scores, predictions, and answers that failed as missing
    /// ones.
    pub answers: Option<DriftTable>,
    /// On how many it failed.
    pub failed: u64,
    /// How good it probably was, where it is known what its scores mean.
    pub estimated: Option<Estimated>,
}

/// How a candidate's answers compare with live's, in the last window that was full of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RolloutDrift {
    /// The rollout.
    pub number: u32,
    /// Its candidate.
    pub version: VersionId,
    /// Windows of both so far.
    pub windows: u32,
    /// The candidate's answers against live's, over the same time and split.
    pub against_live: Option<DriftTable>,
    /// The candidate's answers against those of its first windows; nothing in the first one.
    pub since_it_began: Option<DriftTable>,
    /// Live's answers against those of the same windows.
    pub live_since_it_began: Option<DriftTable>,
    /// The inputs that the two were asked, the candidate against live: where it differs, so may the answers.
    pub inputs: Option<DriftTable>,
    /// How good the candidate probably is, since its exposure last changed.
    pub estimated: Option<Estimated>,
    /// How good live probably is, over the same time.
    pub live_estimated: Option<Estimated>,
}

/// Quality that was estimated without labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimated {
    /// The figures, with intervals of 95 %.
    pub quality: EstimatedQuality,
    /// The condition that it rests on: `valid under covariate shift only`.
    pub valid: String,
}

/// The assumption that estimated quality rests on.
pub(crate) const VALID: &str = "valid under covariate shift only";

pub(crate) fn estimated(estimator: &QualityEstimator) -> Estimated {
    Estimated { quality: estimator.estimate_at(0.05), valid: VALID.into() }
}

pub(crate) fn of_trial(trial: &Trial) -> Option<RolloutDrift> {
    let seen = trial.seen.as_ref()?;
    let options = seen.options();
    Some(RolloutDrift {
        number: trial.number,
        version: trial.version,
        windows: seen.looks,
        against_live: seen.against_live(&options),
        since_it_began: seen.since_it_began(&options),
        live_since_it_began: seen.live_since(&options),
        inputs: seen.inputs(&options),
        estimated: seen.scores.candidate.as_ref().map(estimated),
        live_estimated: seen.scores.live.as_ref().map(estimated),
    })
}

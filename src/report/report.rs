//! A report on one rollout, as data.

use serde::{Deserialize, Serialize};

use super::drift::DriftSummary;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::control::event::Event;
use crate::handle::status::RolloutStatus;
use crate::model::identity::Identity;
use crate::rollout::course::{Point, Trial, Turn};
use crate::rollout::decision::{Decision, replay};
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::rollout::plan::Plan;
use crate::stats::{ArmFigures, Cohort, DivergenceFigures, Metric};
use crate::version::id::VersionId;

/// Everything a page about one rollout says, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The title at the top.
    pub title: String,
    /// The handle's name.
    pub handle: String,
    /// When it was made.
    pub at: Timestamp,
    /// The rollout as it stands, or as it ended. Once the candidate was promoted and watched these are the figures of
    /// the watch; those before are in [`trial`](Self::trial).
    pub rollout: RolloutStatus,
    /// The version that the candidate was compared with.
    pub live: VersionId,
    /// The candidate's identity; nothing once its version is forgotten.
    pub candidate_identity: Option<Identity>,
    /// The identity of the version that it was compared with.
    pub live_identity: Option<Identity>,
    /// When the candidate was staged; when the handle went on with it, where [`went_on`](Self::went_on) says so.
    pub began: Timestamp,
    /// The rollout had begun in an earlier life of the handle. Its evidence counts; how it came about is not known here.
    pub went_on: bool,
    /// It ended before the process began, or has been over for so long that the handle has forgotten it: this is what the
    /// journal has kept of it. Figures, the plan and what was seen over time are not in there: their fields are empty, and mean
    /// nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_journal: bool,
    /// When it ended; nothing while it runs.
    pub ended: Option<Timestamp>,
    /// The plan that it followed.
    pub plan: Option<Plan>,
    /// The figure of quality that [`points`](Self::points) hold.
    pub metric: Option<Metric>,
    /// The candidate's record when it was promoted, where it was watched after that.
    pub trial: Option<Trial>,
    /// The observations over time, oldest first; at most 256.
    pub points: Vec<Point>,
    /// Of so many ticks at which something was seen one is among the points.
    pub one_in: u64,
    /// The changes of its exposure, oldest first.
    pub turns: Vec<Turn>,
    /// Changes that are not among them, behind the first sixteen: no more than 64 are kept.
    pub turns_left_out: u64,
    /// The events of the rollout, and of its version until that was staged again; oldest first.
    pub events: Vec<Event>,
    /// The handle's log has let go of the first of them.
    pub events_missing: bool,
    /// The decisions of its guards, oldest first; as far as their records are still [kept](crate::ModelHandle::decisions).
    pub decisions: Vec<Decided>,
    /// The drift that was found in the data: by the handle's own [watch](crate::Builder::drift) while the rollout runs,
    /// or by the host.
    pub drift: Option<DriftSummary>,
    /// The host's notes.
    pub notes: Vec<String>,
}

/// A decision of a guard, and whether it follows from its record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decided {
    /// The number of its [record](crate::decisions::Decision).
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Where the rollout stood.
    pub phase: Phase,
    /// The share of requests that the candidate answered.
    pub weight: Share,
    /// The evidence that the guard saw, and its verdict.
    pub evidence: Evidence,
    /// It was [judged again](crate::decisions::replay) from its record when the report was made, and came to the same.
    pub replayed: bool,
}

impl Decided {
    /// Of a record, which is judged again: some milliseconds.
    pub(crate) fn of(decision: &Decision) -> Self {
        Self {
            number: decision.number,
            at: decision.at,
            phase: decision.phase,
            weight: decision.weight,
            evidence: decision.evidence.clone(),
            replayed: replay(decision).is_ok_and(|evidence| evidence == decision.evidence),
        }
    }
}

impl Report {
    /// With another title; by default the rollout's number, the handle's name and the candidate's.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// With what the host has found of the drift of its data.
    #[must_use]
    pub fn drift(mut self, table: DriftSummary) -> Self {
        self.drift = Some(table);
        self
    }

    /// With something that the host has to say: who was asked, where the ticket is. May be called again; each is a
    /// paragraph.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Returns what was seen of the candidate before it was live, or so far.
    pub(crate) fn on_trial(&self) -> Seen<'_> {
        match &self.trial {
            Some(Trial { candidate, live, divergence, evidence, cohorts, .. }) => {
                Seen { candidate, live, divergence, evidence, cohorts }
            }
            None => self.at_last(),
        }
    }

    /// Returns what was seen of the new live while it was watched.
    pub(crate) fn watched(&self) -> Option<Seen<'_>> {
        self.trial.as_ref().map(|_| self.at_last())
    }

    fn at_last(&self) -> Seen<'_> {
        let RolloutStatus { candidate, control, divergence, evidence, cohorts, .. } = &self.rollout;
        Seen { candidate, live: control, divergence, evidence, cohorts }
    }
}

/// The figures of one stretch.
pub(crate) struct Seen<'a> {
    pub(crate) candidate: &'a ArmFigures,
    pub(crate) live: &'a ArmFigures,
    pub(crate) divergence: &'a DivergenceFigures,
    pub(crate) evidence: &'a [Evidence],
    pub(crate) cohorts: &'a [Cohort],
}

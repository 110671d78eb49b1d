//! The fate of an outcome, and how many there were of each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The fate of an outcome. None of these does harm; all are counted in `status()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FeedbackOutcome {
    /// It counts, in the figures of the version that was assigned.
    Counted,
    /// It replaced an outcome that was different and still within the window for corrections. What has become evidence for guards stays
    /// so. Of an outcome that came before the process was started the evidence is corrected as long as it waits, and no figure: those begin with
    /// the process.
    Corrected,
    /// The same outcome had come before. Whoever delivers labels at least once, and is not sure of the last ones before a crash,
    /// delivers them again and sees this, or [`Settled`](Self::Settled), for those that had been kept.
    Repeated,
    /// An outcome had come before and stands, and whether this one differs from it is not known any more: it came too long ago to be
    /// [corrected](crate::options::Labels::corrections), it came before the process was started and was evidence by then, or in no rollout, or
    /// it is a value of a business figure that somebody had told.
    Settled,
    /// An outcome that became known later has come before, and stands: see [`Outcome::known_at`](crate::Outcome::known_at).
    Outdated,
    /// The prediction lies further back than outcomes are waited for, or its arm is forgotten; or it was made after its process had saved its
    /// state the last time, and [silence](crate::options::Labels::assumed_after) means something: it is not known of which it would.
    Expired,
    /// The prediction is one of those whose outcomes do not count, because memory is bounded. Chosen by a hash of the
    /// id when the prediction was made, not by when its outcome came.
    Thinned,
    /// No prediction of this handle has this id, and it has not the seal of this handle's key: it was forged or altered, or made
    /// by a process with another key. Replicas that have the same [`Builder::secret`](crate::Builder::secret) say
    /// [`Elsewhere`](Self::Elsewhere) of each other's.
    Unknown,
    /// The id is genuine, sealed with the same key, and another handle or process made it: a replica, or this one before a start
    /// that kept no state. Deliver the outcome there; here it is only counted as such. A member of a fleet that was closed says so of all
    /// outcomes: any other member takes them.
    Elsewhere,
    /// Another process of the fleet made the prediction, and the outcome is on its way there through the fleet's store, where it comes
    /// to one of the others.
    Forwarded,
    /// The outcome does not fit the task.
    Refused(FeedbackRefusal),
}

/// Why an outcome does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FeedbackRefusal {
    /// Another kind of truth than the task's, or a class that it does not have.
    NotOfThisTask,
    /// A business figure that was not declared at build.
    UndeclaredKpi,
    /// A number that is not finite, or a business figure outside its bounds.
    OutOfBounds,
    /// More items were relevant than are kept of one outcome: 1,024.
    TooManyItems,
}

/// The name, as it is written in JSON.
impl fmt::Display for FeedbackOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Counted => "counted",
            Self::Corrected => "corrected",
            Self::Repeated => "repeated",
            Self::Settled => "settled",
            Self::Outdated => "outdated",
            Self::Expired => "expired",
            Self::Thinned => "thinned",
            Self::Unknown => "unknown",
            Self::Elsewhere => "elsewhere",
            Self::Forwarded => "forwarded",
            Self::Refused(why) => return write!(f, "refused: {why}"),
        })
    }
}

impl fmt::Display for FeedbackRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOfThisTask => {
                "it is another kind of truth than the task's, or a class that the task does not have"
            }
            Self::UndeclaredKpi => "the business figure was not declared at build",
            Self::OutOfBounds => "it is not finite, or outside the bounds of the business figure",
            Self::TooManyItems => "more than 1,024 items were relevant",
        })
    }
}

/// How many outcomes ended in which way since the handle was built, and what is kept for those to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FeedbackCounts {
    /// See [`FeedbackOutcome::Counted`].
    pub counted: u64,
    /// See [`FeedbackOutcome::Corrected`].
    pub corrected: u64,
    /// See [`FeedbackOutcome::Repeated`].
    pub repeated: u64,
    /// See [`FeedbackOutcome::Settled`].
    pub settled: u64,
    /// See [`FeedbackOutcome::Outdated`].
    pub outdated: u64,
    /// See [`FeedbackOutcome::Expired`].
    pub expired: u64,
    /// See [`FeedbackOutcome::Thinned`].
    pub thinned: u64,
    /// See [`FeedbackOutcome::Unknown`].
    pub unknown: u64,
    /// See [`FeedbackOutcome::Elsewhere`].
    #[serde(default)]
    pub elsewhere: u64,
    /// See [`FeedbackOutcome::Forwarded`].
    #[serde(default)]
    pub forwarded: u64,
    /// See [`FeedbackOutcome::Refused`].
    pub refused: u64,
    /// Outcomes that were assumed because none came in time.
    pub assumed: u64,
    /// Predictions that wait for the time at which their outcome is assumed.
    pub awaiting: u64,
    /// Shadowed pairs that wait for an outcome or for their other half.
    pub pairs_waiting: u64,
    /// Shadowed pairs given up: no outcome came within the horizon.
    pub pairs_expired: u64,
    /// Outcomes that may still be corrected.
    pub correctable: u64,
    /// Outcomes that can no longer be corrected although their window is open, because memory is bounded: to 65,536 outcomes,
    /// and to 16 MiB of relevant items.
    pub uncorrectable: u64,
    /// Stretches of predictions between two changes of exposure whose outcomes are refused as expired although they are
    /// younger than the horizon, because only 4,096 are remembered: those that ended first.
    #[serde(default)]
    pub exposures_forgotten: u64,
    /// Bytes used by the bits that tell repeats.
    pub bitmap_bytes: u64,
    /// Of how many predictions one has outcomes that count: 1 unless memory ran short.
    pub one_in: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_an_outcome_is_told_by_its_name_and_a_refusal_in_a_sentence() {
        for outcome in [FeedbackOutcome::Counted, FeedbackOutcome::Elsewhere, FeedbackOutcome::Forwarded] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.to_string());
        }
        let refused = FeedbackOutcome::Refused(FeedbackRefusal::UndeclaredKpi);
        assert_eq!(refused.to_string(), "refused: the business figure was not declared at build");
    }
}

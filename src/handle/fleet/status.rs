//! What is known of a fleet in one of its processes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::text::number;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::row::{Row, State};
use crate::model::identity::Identity;
use crate::stats::sequential::EValue;
use crate::version::id::VersionId;

/// The fleet, as this process sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FleetStatus {
    /// The name of this life of the process in the fleet, which is its row's: another one after a start, after it was cut off for long, and in
    /// about every rollout, since a row is closed with what it has counted once a rollout is over. Whoever judged under an earlier name is the same
    /// process.
    pub name: String,
    /// Where it stands.
    pub state: FleetState,
    /// The term of what is followed: another one after a repair.
    pub term: u32,
    /// How many times something was agreed on in this term, what is followed included.
    pub sequence: u64,
    /// When it was last confirmed that this is the newest; nothing before the first time.
    pub confirmed: Option<Timestamp>,
    /// Whether this process is the one that judges. One that is cut off judges nothing, nor does one whose store takes nothing.
    pub judges: bool,
    /// How many times evidence was brought together, as far as is known here.
    pub merged: u64,
    /// How often counts were given up because those of one process could not be read.
    pub voids: u64,
    /// What was taken back or frozen here and is not agreed on yet, because the store could not be asked.
    pub pending: usize,
    /// Versions that are agreed on and cannot be used here.
    pub not_ready: Vec<FleetNotReady>,
    /// The processes that whoever judges has seen, those too that ended within [`close_after`](crate::options::FleetTiming::close_after);
    /// empty in others.
    pub members: Vec<FleetMember>,
    /// How often processes ended without a word while something is on trial, as far as is known here.
    #[serde(default)]
    pub ends: Vec<FleetEnds>,
    /// Outcomes of other processes' predictions that wait to be brought there.
    pub outcomes_waiting: u64,
    /// Outcomes of this process's predictions that came back to others and were brought here.
    pub outcomes_received: u64,
    /// Outcomes that were forwarded and given up, because the process that made the prediction was killed or does not reach the store, or because
    /// this one has ended before it could bring them.
    pub outcomes_unclaimed: u64,
    /// Processes that have ended, whose outcomes are joined here: this one has taken over what they left.
    #[serde(default)]
    pub taken_over: u64,
    /// Requests of the store so far.
    pub store_requests: u64,
    /// Those of them that came to nothing, or of which it is not known what they came to.
    pub store_failures: u64,
    /// What is wrong with the store, as far as it is known: what it said when it could last not be asked, and of what. It is gone once the same has
    /// been asked for and was answered, or a minute later while the head is read.
    pub store_error: Option<String>,
    /// When the store said so, by the clock of this process; nothing where it has said nothing: what was agreed on is gone, or is of another
    /// history.
    #[serde(default)]
    pub store_error_at: Option<Timestamp>,
    /// How often the head is read, at the present timing.
    pub poll: Duration,
}

/// One process of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FleetMember {
    /// The name of its life.
    pub name: String,
    /// On what it runs, as it says.
    pub class: String,
    /// The build of its service, as it says.
    pub build: String,
    /// Where it stands.
    pub state: FleetState,
    /// The last thing agreed on that it has made true.
    pub sequence: u64,
    /// When it last said so, by the store's clock.
    pub seen: Timestamp,
    /// Versions that are agreed on and that it cannot use.
    pub not_ready: Vec<MemberNotReady>,
}

/// A version that is agreed on and cannot be used in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FleetNotReady {
    /// The version.
    pub version: VersionId,
    /// The identity that it must have.
    pub identity: Identity,
    /// Why not.
    pub reason: String,
}

/// A version that is agreed on and that a process of the fleet cannot use, as that process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberNotReady {
    /// The version's identity, as it is written.
    pub identity: String,
    /// It is on trial, so that no plan takes a step. Any other is live, or can be gone back to: such a process answers with another one then.
    #[serde(default)]
    pub on_trial: bool,
    /// Why not.
    pub reason: String,
}

impl FleetMember {
    /// What a row says, and when it was put.
    pub(crate) fn of<C: Counts>(row: &Row<C>, at: Timestamp, on_trial: impl Fn(&str) -> bool) -> Self {
        Self {
            name: row.name.to_string(),
            class: row.class.clone(),
            build: row.build.host.clone(),
            state: row.state.into(),
            sequence: row.has.seq,
            seen: at,
            not_ready: row
                .failed
                .iter()
                .map(|(identity, why)| MemberNotReady {
                    identity: identity.clone(),
                    on_trial: on_trial(identity),
                    reason: why.clone(),
                })
                .collect(),
        }
    }
}

/// How often processes ended without a word: the evidence of the fleet's own guard, which no plan has to name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FleetEnds {
    /// What is on trial.
    pub version: String,
    /// Ends while it was on trial in those that ended. Ends within ten seconds of one that counts are not counted.
    pub exposed_ends: u64,
    /// How long processes lived meanwhile, all of them together.
    pub exposed: Duration,
    /// Ends in the seven days before it began, and since then of processes that did not expose it.
    pub spared_ends: u64,
    /// How long processes lived in that time.
    pub spared: Duration,
    /// The evidence that it is more than twice as often.
    pub evidence: EValue,
}

/// Where a process stands in its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FleetState {
    /// It knows nothing of the fleet yet.
    Joining,
    /// It has the newest that it knows of.
    Following,
    /// It could not ask the store for so long that no candidate answers, or nobody has judged for half of `close_after`, or ten
    /// `tick` where that is longer.
    CutOff,
    /// The store has another history than the one that it followed.
    Diverged,
    /// It has ended, or goes on under another name.
    Left,
}

impl From<State> for FleetState {
    fn from(state: State) -> Self {
        match state {
            State::Joining => Self::Joining,
            State::Following => Self::Following,
            State::CutOff => Self::CutOff,
            State::Diverged => Self::Diverged,
            State::Sealed | State::Left => Self::Left,
        }
    }
}

impl fmt::Display for FleetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Joining => "joining",
            Self::Following => "following",
            Self::CutOff => "cut off",
            Self::Diverged => "diverged",
            Self::Left => "gone",
        })
    }
}

/// For people: a line for the fleet, and one for each process that is known.
impl fmt::Display for FleetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state, term, sequence, judges, .. } = self;
        write!(f, "{name} is {state}, at {term}.{sequence}")?;
        if *judges {
            f.write_str(", and judges")?;
        }
        if self.pending > 0 {
            write!(f, "; {} changes wait for the store", self.pending)?;
        }
        for FleetNotReady { version, reason, .. } in &self.not_ready {
            write!(f, "\n  {version} cannot be used here: {reason}")?;
        }
        for ends in &self.ends {
            let FleetEnds { version, exposed_ends, exposed, spared_ends, spared, evidence } = ends;
            let hours = |time: &Duration| number(time.as_secs_f64() / 3_600.0);
            write!(
                f,
                "\n  processes ended {exposed_ends} times in {} hours with {version} on trial, {spared_ends} times in {} hours without: \
                 evidence of harm {evidence}",
                hours(exposed),
                hours(spared)
            )?;
        }
        for member in &self.members {
            let FleetMember { name, class, build, state, sequence, seen, not_ready } = member;
            write!(f, "\n  {name} {class} {build} is {state}, at {sequence}, seen {seen}")?;
            for MemberNotReady { identity, on_trial, reason } in not_ready {
                let so = if *on_trial {
                    "so no plan takes a step"
                } else {
                    "and answers with another where that is live"
                };
                write!(f, "\n    it cannot use {identity}, {so}: {reason}")?;
            }
        }
        Ok(())
    }
}

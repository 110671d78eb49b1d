//! The state that a handle keeps of itself, looked at from outside.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::saved::{SavedAttempt, SavedAttemptEvidence, SavedControl, SavedRetained};
use super::settings::Quarantined;
use crate::base::clock::{Shift, Timestamp};
use crate::base::share::Share;
use crate::rollout::decision::{Decision, Recording};
#[cfg(feature = "forecast")]
use crate::rollout::forecast::traffic::Traffic;
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::state::{Found, StateError};
use crate::stats::evidence::ledger::Ledger;
use crate::stats::evidence::waiting::Maturity;
use crate::task::kpi::Kpi;
use crate::version::id::VersionId;

/// The decisions of a handle, as a folder of state holds them: see [`look`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Look {
    /// The handle.
    pub name: String,
    /// When this was written down. A handle that runs may have lowered something since.
    pub at: Timestamp,
    /// The routing table that was in force.
    pub epoch: u64,
    /// The version that answers by default.
    pub live: VersionId,
    /// Since when.
    pub live_since: Timestamp,
    /// Versions that are kept to be gone back to, the first one first; those that cannot be had at the moment too.
    pub retained: Vec<LookRetained>,
    /// Rollouts that are not over.
    pub rollouts: Vec<LookRollout>,
    /// The identities that no plan tries again.
    pub quarantined: Vec<Quarantined>,
    /// Why nothing moves by itself, where it was frozen.
    pub frozen: Option<String>,
    /// Traffic as live has seen it in this life of the handle, for a forecast; `None` before the first request.
    #[cfg(feature = "forecast")]
    pub traffic: Option<Traffic>,
    /// The business figures of its task, in the order in which `traffic` has theirs. Empty where it has none, or a release wrote this that
    /// did not write them down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kpis: Vec<Kpi>,
    /// Whether the handle that wrote this was closed. One that was not runs still, or ended without a word.
    pub closed: bool,
    /// Whether a process has the folder now; `None` where that cannot be told, as where its lock may not be opened.
    pub held: Option<bool>,
    /// How many files have been the journal of this folder.
    pub generation: u64,
    /// Events in the journal, which [`history`](crate::state::history) reads.
    pub events: u64,
}

/// A version that is kept to be gone back to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LookRetained {
    /// The version.
    pub version: VersionId,
    /// Since when it is retained.
    pub since: Timestamp,
    /// Whether it was taken back when it was live, or a start had to fall back from it to an older one: a rollback passes it over.
    pub taken_back: bool,
    /// Why the process cannot go back to it, where it could not be had there; each start asks for it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

impl LookRetained {
    pub(crate) fn of(kept: &SavedRetained) -> Self {
        let SavedRetained { version, since, taken_back, unavailable } = kept;
        Self {
            version: version.version,
            since: *since,
            taken_back: *taken_back,
            unavailable: unavailable.clone(),
        }
    }
}

/// A rollout that is not over.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LookRollout {
    /// Its number.
    pub number: u32,
    /// The candidate.
    pub version: VersionId,
    /// Where it stands.
    pub phase: Phase,
    /// The share of requests that the candidate answers.
    pub weight: Share,
    /// The share of live's requests that are copied to it.
    pub sample: Share,
    /// Whether it was paused.
    pub paused: bool,
    /// The step of its plan, from 0, where it follows one and has begun to.
    pub step: Option<usize>,
    /// How many steps its plan has; 0 without one.
    pub steps: usize,
    /// When it came there.
    pub since: Timestamp,
    /// Its guards, as they are written; guards of the host's own have no such form.
    pub guards: Vec<String>,
    /// Guards that it had before a start and that are not there since, by name: it is held until they are added again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The evidence of its guards, the host's own among them, at the last tick that is written down; empty before the
    /// first.
    pub evidence: Vec<Evidence>,
}

/// Reads what was decided by the handle that keeps its state in `folder`: what is live, on trial, retained and quarantined.
/// Any process that may read the folder can do so, also while the handle runs; it changes nothing. `None`
/// where a handle has begun there and has written nothing yet.
///
/// Whether a process has the folder is found out by a lock that decides nothing, without waiting. A handle that is built in that
/// very moment is not kept from it, nor where whoever looks was stopped meanwhile and never goes on.
///
/// # Errors
///
/// There is no journal in the folder, it cannot be read or is damaged, or a later release wrote it.
///
/// ```no_run
/// if let Some(late) = switchback::status::look("/var/lib/late/state")? {
///     println!("{} answers since {}", late.live, late.live_since);
/// }
/// # Ok::<(), switchback::state::StateError>(())
/// ```
pub fn look(folder: impl AsRef<Path>) -> Result<Option<Look>, StateError> {
    let found = crate::state::found(folder.as_ref())?;
    let Some(state) = &found.state else { return Ok(None) };
    let saved: SavedControl = serde_json::from_slice(state).map_err(StateError::json)?;
    let retained = saved.retained.iter().map(LookRetained::of);
    let mut evidence = evidence(&found)?;
    let rollouts = saved.attempts.iter().map(|attempt| {
        let seen = evidence.iter_mut().find(|seen| seen.number == attempt.number);
        look_at(attempt, seen.map(|seen| std::mem::take(&mut seen.guards)).unwrap_or_default())
    });
    let quarantined = saved.quarantined();
    Ok(Some(Look {
        at: saved.at,
        epoch: saved.epoch,
        live: saved.live.version,
        live_since: saved.live_since,
        retained: retained.collect(),
        rollouts: rollouts.collect(),
        #[cfg(feature = "forecast")]
        traffic: saved.traffic,
        kpis: saved.setting.map(|setting| setting.kpis).unwrap_or_default(),
        closed: saved.ended,
        held: crate::state::is_held(folder.as_ref()),
        generation: found.generation,
        events: found.events,
        quarantined,
        name: saved.name,
        frozen: saved.frozen,
    }))
}

/// The records of what the guards of the handle that keeps its state in `folder` have decided, oldest first: up to 256, as far
/// as they have 8 MiB together. Each can be judged again by [`replay`](crate::decisions::replay). Any process that may read the
/// folder can do so, also while the handle runs; it takes no lock and changes nothing. Guards of the host's own have no
/// records, and neither has a journal of a release that wrote none.
///
/// # Errors
///
/// There is no journal in the folder, it cannot be read or is damaged, or a later release wrote it.
///
/// ```no_run
/// use switchback::decisions::{recorded, replay};
///
/// for decision in recorded("/var/lib/late/state")? {
///     println!("{}: {}", decision.number(), decision.evidence());
///     replay(&decision)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn recorded(folder: impl AsRef<Path>) -> Result<Vec<Decision>, StateError> {
    decisions(&crate::state::found(folder.as_ref())?)
}

/// The counts of the rollout of a version that the handle that keeps its state in `folder` has tried, so that other guards can be
/// tried on what happened: of one that is not over all of them, of one that is over, those that its guards decided on last.
/// `None` where no such rollout is known there. Any process that may read the folder can do so, also while the handle runs; it
/// changes nothing.
///
/// # Errors
///
/// There is no journal in the folder, it cannot be read or is damaged, or a later release wrote it.
pub fn recording(
    folder: impl AsRef<Path>,
    version: impl AsRef<str>,
) -> Result<Option<Recording>, StateError> {
    let version = version.as_ref();
    let found = crate::state::found(folder.as_ref())?;
    let Some(state) = &found.state else { return Ok(None) };
    let saved: SavedControl = serde_json::from_slice(state).map_err(StateError::json)?;
    // A release that wrote none of it has no rollout that could be judged otherwise.
    let Some(setting) = &saved.setting else { return Ok(None) };
    let setting = &setting.setting();
    let decided = decisions(&found)?;
    let running = saved.attempts.iter().rfind(|attempt| attempt.version.version == version);
    let last = decided.iter().rfind(|decision| decision.candidate == version);
    let Some(attempt) = running else {
        let Some(last) = last else { return Ok(None) };
        let together = |decision: &&Decision| (decision.rollout, decision.at) == (last.rollout, last.at);
        let together: Vec<&Decision> = decided.iter().filter(together).collect();
        return Ok(Some(Recording::of_decisions(last, &together, setting)));
    };
    #[derive(Deserialize)]
    struct Seen {
        attempts: Vec<SavedAttemptEvidence>,
    }
    let evidence = found.evidence.last().filter(|part| !part.is_empty());
    let evidence: Option<Seen> =
        evidence.map(|part| serde_json::from_slice(part)).transpose().map_err(StateError::json)?;
    let seen = evidence.into_iter().flat_map(|seen| seen.attempts);
    let Some(seen) = seen.into_iter().find(|seen| seen.number == attempt.number) else { return Ok(None) };
    // As it stands: nothing is added to it, so it does not matter when labels become evidence.
    let stands = Shift::between(saved.at, saved.at);
    let ledger = Ledger::restored(seen.ledger, Maturity::AsTheyCome, stands);
    let rules = attempt.guards.iter().map(|guard| guard.rule.clone()).collect();
    let live = attempt.previous.unwrap_or(saved.live.version);
    Ok(Some(Recording::of(attempt.version.version, live, setting, rules, &ledger)))
}

pub(crate) fn decisions(found: &Found) -> Result<Vec<Decision>, StateError> {
    found.decisions.iter().map(|record| serde_json::from_slice(record).map_err(StateError::json)).collect()
}

/// Of an attempt's evidence, what is looked at.
#[derive(Deserialize)]
struct SeenOfAttempt {
    number: u32,
    #[serde(default)]
    guards: Vec<Evidence>,
}

/// The evidence of attempts, as of the last time that it was written.
fn evidence(found: &Found) -> Result<Vec<SeenOfAttempt>, StateError> {
    #[derive(Deserialize)]
    struct Seen {
        attempts: Vec<SeenOfAttempt>,
    }
    // Of what is written in parts, the last has the attempts; a repair may have found none.
    let Some(last) = found.evidence.last().filter(|part| !part.is_empty()) else { return Ok(Vec::new()) };
    serde_json::from_slice(last).map(|Seen { attempts }| attempts).map_err(StateError::json)
}

pub(crate) fn look_at(saved: &SavedAttempt, evidence: Vec<Evidence>) -> LookRollout {
    let SavedAttempt { number, version, state, guards, stated, missing, plan, .. } = saved;
    LookRollout {
        number: *number,
        version: version.version,
        phase: state.phase,
        weight: state.weight,
        sample: state.sample,
        paused: state.paused,
        step: state.step,
        steps: plan.as_ref().map_or(0, |plan| plan.steps().len()),
        since: state.entered,
        guards: guards.iter().map(|guard| guard.rule.to_string()).chain(stated.iter().cloned()).collect(),
        missing: missing.clone(),
        evidence,
    }
}

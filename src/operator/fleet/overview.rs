//! How a fleet stands, as its store says.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::error::FleetError;
use super::reach::{FoundRow, Reach};
use super::sweep::FleetFault;
use crate::base::clock::{Shift, Timestamp};
use crate::control::look::{LookRetained, LookRollout, look_at};
use crate::control::settings::Quarantined;
use crate::fleet::Key;
use crate::fleet::format::hex::Hex;
use crate::handle::fleet::agreement::{course_of, is_on_trial, why_of};
use crate::handle::fleet::{FleetMember, FleetState};
use crate::rollout::guard::evidence::Evidence;
use crate::version::id::VersionId;

/// A fleet as its store says, for whoever is no member. Moments are the store's, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FleetOverview {
    /// The name of its handles.
    pub model: String,
    /// The term: another one after each repair.
    pub term: u32,
    /// How many times something was agreed on.
    pub sequence: u64,
    /// When that was, the last time.
    pub agreed_at: Timestamp,
    /// Who did it: a name, `guard`, `judge`, or a process.
    pub by: String,
    /// What it was.
    pub why: String,
    /// At least so late is it by the store's clock: the newest moment that it has shown.
    pub store_now: Timestamp,
    /// How long nothing was written, by the clock of whoever looks; nothing where that is no longer than processes are silent, and clocks differ. All
    /// ages are as of [`store_now`](Self::store_now), which stands still then.
    pub silent: Option<Duration>,
    /// The version that answers by default.
    pub live: VersionId,
    /// Versions that can be gone back to, the first one first. Since when, in the time of plans.
    pub retained: Vec<LookRetained>,
    /// Rollouts that are not over, with what guards say of them.
    pub rollouts: Vec<LookRollout>,
    /// What no plan tries again. Until when is by the store's clock, if somebody judges until then.
    pub quarantined: Vec<Quarantined>,
    /// Why nothing moves by itself, where it was frozen.
    pub frozen: Option<String>,
    /// The process that has judged last, by the name of its row; where it has none any more, by the one that its life began with.
    pub judge: Option<String>,
    /// When it has brought evidence together last.
    pub judged_at: Option<Timestamp>,
    /// How many times that was done.
    pub merged: u64,
    /// How often counts were given up because those of one process could not be read.
    pub voids: u64,
    /// For how long somebody has judged, in all: the time that plans count.
    pub judged_for: Duration,
    /// For how long nothing is raised yet, since whoever judges has begun a moment ago.
    pub quiet: Duration,
    /// The processes that are there, or were a short while ago.
    pub members: Vec<FleetMember>,
    /// Names of processes that are over, and lie in the store still.
    pub gone: usize,
    /// What cannot be read.
    pub unreadable: Vec<FleetFault>,
}

impl Reach {
    pub(super) fn overview(&self) -> Result<FleetOverview, FleetError> {
        let agreed = self.agreed()?;
        let head = agreed.head();
        let (listed, ledger) = (self.list(self.layout.rows())?, self.ledger()?);
        let rows = self.rows(&listed)?;
        let mut unreadable = Vec::new();
        let mut cannot_be_read = |key: &Key, reason: String| {
            unreadable.push(FleetFault { key: key.to_string(), reason });
        };
        let ledger = match ledger {
            Some(Ok(ledger)) => Some(ledger),
            Some(Err(why)) => {
                cannot_be_read(self.layout.ledger(), why);
                None
            }
            None => None,
        };
        let mut evidence: Vec<(u32, Vec<Evidence>)> = Vec::new();
        if let Some(course) = ledger.as_ref().and_then(|(ledger, _)| course_of(&ledger.more)) {
            evidence = course.evidence.into_iter().map(|seen| (seen.number, seen.guards)).collect();
        }
        let rollouts = agreed.saved.attempts.iter().map(|attempt| {
            let seen = evidence.iter_mut().find(|(number, _)| *number == attempt.number);
            let mut rollout =
                look_at(attempt, seen.map(|(_, seen)| std::mem::take(seen)).unwrap_or_default());
            if let Some(entered) = head.entered.get(&attempt.number) {
                rollout.since = entered.at;
            }
            rollout
        });
        let rollouts = rollouts.collect();
        let retained = agreed.saved.retained.iter().map(LookRetained::of);
        let on_trial = |identity: &str| is_on_trial(head, identity);
        let (mut members, mut gone) = (Vec::new(), 0);
        for (name, found) in &rows {
            let mark = ledger.as_ref().and_then(|(ledger, _)| ledger.marks.get(name));
            match &found.row {
                Err(why) => cannot_be_read(&self.layout.row(*name), why.clone()),
                Ok(row) if row.state.is_last() || mark.is_some_and(|mark| mark.closed.is_some()) => gone += 1,
                Ok(row) => members.push(FleetMember::of(&**row, found.at, on_trial)),
            }
        }
        let judged_at = ledger.as_ref().map(|(_, at)| *at);
        let others = [Some(agreed.at), judged_at].into_iter().flatten();
        let store_now = self.latest(listed.iter().map(|entry| entry.at).chain(others));
        let shift = Shift::onto(agreed.now, store_now);
        let of = ledger.as_ref().map(|(ledger, _)| &**ledger);
        let name_of = |judge: Hex| {
            let is_its =
                |row: &FoundRow| row.row.as_ref().is_ok_and(|row| row.life == judge && !row.state.is_last());
            rows.iter().find(|(_, found)| is_its(found)).map_or(judge, |(name, _)| *name)
        };
        Ok(FleetOverview {
            model: self.model.clone(),
            term: head.place.term,
            sequence: head.place.seq,
            agreed_at: agreed.at,
            by: head.by.clone(),
            why: why_of(head),
            store_now,
            silent: self.silent(head, store_now),
            live: agreed.saved.live.version,
            retained: retained.collect(),
            rollouts,
            quarantined: agreed.saved.clone().on_time_line(shift).quarantined(),
            frozen: agreed.saved.frozen.clone(),
            judge: of.map(|ledger| name_of(ledger.judge).to_string()),
            judged_at,
            merged: of.map_or(0, |ledger| ledger.n),
            voids: of.map_or(0, |ledger| ledger.voids),
            judged_for: Duration::from_millis(agreed.active_ms),
            quiet: Duration::from_millis(of.map_or(0, |ledger| ledger.quiet_ms)),
            members,
            gone,
            unreadable,
        })
    }
}

impl FleetOverview {
    /// What is wrong with its history, where a process that is there knows another one.
    pub fn contested(&self) -> Option<String> {
        let diverged = self.members.iter().filter(|member| member.state == FleetState::Diverged).count();
        (diverged > 0).then(|| {
            format!(
                "{diverged} of {} processes know another history than the store, as after it was put back from a backup: see `switchback fleet verify`, and mend it by `switchback \
                 fleet repair`",
                self.members.len()
            )
        })
    }
}

/// For people: a line for the fleet, and one for each rollout and process.
impl fmt::Display for FleetOverview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, term, sequence, live, .. } = self;
        let here = self.members.iter().filter(|member| member.state == FleetState::Following).count();
        write!(
            f,
            "{model} at {term}.{sequence}: live {live}, {here} of {} processes follow",
            self.members.len()
        )?;
        if let Some(silent) = self.silent {
            write!(f, "; nothing was written for {} s by this machine's clock", silent.as_secs())?;
        }
        if let Some(why) = self.contested() {
            write!(f, "; {why}")?;
        }
        if let Some(reason) = &self.frozen {
            write!(f, "; frozen: {reason}")?;
        }
        for rollout in &self.rollouts {
            write!(f, "\n  {} is {} with {}", rollout.version, rollout.phase, rollout.weight)?;
        }
        for member in &self.members {
            let FleetMember { name, class, build, state, sequence, seen, .. } = member;
            write!(f, "\n  {name} {class} {build} is {state}, at {sequence}, seen {seen}")?;
        }
        Ok(())
    }
}

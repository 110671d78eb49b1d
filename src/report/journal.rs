//! A report on a rollout that is over, from what the journal of its handle has kept: events, and the records of decisions.

use std::path::Path;

use super::Turn;
use super::concern::{Concern, concerns};
use super::report::{Decided, Report};
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::control::event::{Cause, Event, EventKind};
use crate::control::look::{look, recorded};
use crate::handle::status::RolloutStatus;
use crate::rollout::decision::Decision;
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::state::{StateError, history};
use crate::stats::ArmFigures;
use crate::stats::figures::divergence::Divergence;
use crate::version::id::VersionId;
use crate::version::in_flight::InFlight;

/// Events and changes of exposure that are kept from the beginning and from the end, where there are more.
const FIRST_KEPT: usize = 64;

const LAST_KEPT: usize = 448;

/// Reports on the last rollout of a version, once it is over, from the journal in the folder where its handle keeps its state:
/// what was decided and why, with every decision judged again from its record. Figures are in no journal, nor is the plan, and
/// the page says so. `None` where the journal knows of no such rollout, or it runs: its handle [reports](crate::ModelHandle::report)
/// on that, and on this too where it has forgotten it or a process before it ran it.
///
/// Reads the journal through, some hundred milliseconds for the largest. Any process that may read the folder can do so, also
/// while the handle runs.
///
/// # Errors
///
/// There is no journal in the folder, it cannot be read or is damaged, or a later release wrote it.
///
/// ```no_run
/// if let Some(report) = switchback::report::from_journal("/var/lib/late/state", "v2")? {
///     println!("{}", report.headline());
/// }
/// # Ok::<(), switchback::state::StateError>(())
/// ```
pub fn from_journal(
    folder: impl AsRef<Path>,
    version: impl AsRef<str>,
) -> Result<Option<Report>, StateError> {
    let folder = folder.as_ref();
    let Ok(candidate) = VersionId::new(version.as_ref()) else { return Ok(None) };
    let Some(now) = look(folder)? else { return Ok(None) };
    if now.rollouts.iter().any(|rollout| rollout.version == candidate) {
        return Ok(None);
    }
    let mut tale = Tale { candidate, live: None, told: None };
    for line in history(folder)? {
        // Another release may tell of what this one knows nothing of.
        if let Ok(event) = serde_json::from_str::<Event>(&line?) {
            tale.hear(event);
        }
    }
    let Some(told) = tale.told else { return Ok(None) };
    let decisions = recorded(folder)?;
    let own = |decision: &&Decision| decision.candidate == candidate && decision.at >= told.began;
    let decisions: Vec<&Decision> = decisions.iter().filter(own).collect();
    Ok(told.report(candidate, (now.name, now.at, now.live), &decisions))
}

/// The tale that a journal tells of a version.
struct Tale {
    candidate: VersionId,
    /// Live, as of the last event that was heard.
    live: Option<VersionId>,
    told: Option<Told>,
}

/// The tale that it tells of the last rollout.
struct Told {
    live: Option<VersionId>,
    began: Timestamp,
    events: Vec<Event>,
    /// The first of them are not in the journal any more, or some in between were left out here.
    events_missing: bool,
    turns: Vec<Turn>,
    turns_left_out: u64,
    promoted: Option<Timestamp>,
    ended: Option<(Timestamp, Phase, Option<Cause>)>,
}

impl Tale {
    fn hear(&mut self, event: Event) {
        let candidate = self.candidate;
        let staged = matches!(&event.kind, EventKind::Staged { version, .. } if *version == candidate);
        let concern = concerns(&event.kind, candidate);
        if staged {
            self.told = Some(Told::new(self.live, event.at, false));
        } else if self.told.is_none() && is_of_a_trial(&event.kind, candidate) {
            self.told = Some(Told::new(self.live, event.at, true));
        }
        if let EventKind::Promoted { version: to, .. }
        | EventKind::RolledBack { to, .. }
        | EventKind::LiveReplaced { to, .. }
        | EventKind::Started { live: to, .. } = &event.kind
        {
            self.live = Some(*to);
        }
        let Some(told) = &mut self.told else { return };
        told.follow(&event, candidate);
        let is_told = match concern {
            Concern::Version => true,
            Concern::Handle => told.ended.is_none(),
            Concern::Nothing => false,
        };
        if is_told {
            told.events_missing |= keep(&mut told.events, event) > 0;
        }
    }
}

/// Whether only a candidate has such an event, so that a rollout had begun whose beginning is not there any more. A version that is live
/// or retained is replaced, gone back to, drilled and loaded too, and one that was refused never began.
fn is_of_a_trial(kind: &EventKind, candidate: VersionId) -> bool {
    use EventKind as Kind;
    match kind {
        Kind::PhaseChanged { version, .. }
        | Kind::GuardFailed { version, .. }
        | Kind::Inconclusive { version, .. }
        | Kind::Promoted { version, .. }
        | Kind::Suspected { version, .. }
        | Kind::Cleared { version, .. }
        | Kind::EvidenceReset { version, .. }
        | Kind::Undecidable { version, .. }
        | Kind::Planned { version, .. }
        | Kind::WaitsForCycle { version, .. }
        | Kind::WaitsForRoom { version, .. }
        | Kind::WatchPassed { version }
        | Kind::Aborted { version, .. }
        | Kind::NoWayBack { version, .. }
        | Kind::Paused { version, .. }
        | Kind::Resumed { version }
        | Kind::Spared { version, .. }
        | Kind::Overdue { version, .. }
        | Kind::Held { version, .. }
        | Kind::CircuitOpened { version, .. }
        | Kind::CircuitClosed { version } => *version == candidate,
        // By its guards it is taken back while it is watched.
        Kind::RolledBack { from, cause: Cause::Guard { .. }, .. } => *from == candidate,
        _ => false,
    }
}

/// Adds one, and lets go of one in the middle where there are too many. How many were let go of.
fn keep<T>(kept: &mut Vec<T>, one: T) -> u64 {
    kept.push(one);
    if kept.len() <= FIRST_KEPT + LAST_KEPT {
        return 0;
    }
    kept.remove(FIRST_KEPT);
    1
}

impl Told {
    fn new(live: Option<VersionId>, began: Timestamp, events_missing: bool) -> Self {
        let turn = Turn { at: began, phase: Phase::Staged, weight: Share::NONE, sample: Share::NONE };
        let turns = if events_missing { Vec::new() } else { vec![turn] };
        let (events, turns_left_out, promoted, ended) = (Vec::new(), 0, None, None);
        Self { live, began, events, events_missing, turns, turns_left_out, promoted, ended }
    }

    /// Where the rollout stands after an event.
    fn follow(&mut self, event: &Event, candidate: VersionId) {
        let at = event.at;
        if self.ended.is_some() {
            return;
        }
        match &event.kind {
            EventKind::PhaseChanged { version, to, weight, sample, .. } if *version == candidate => {
                self.turn(at, *to, *weight, *sample);
            }
            EventKind::Promoted { version, previous, .. } if *version == candidate => {
                (self.live, self.promoted) = (Some(*previous), Some(at));
                self.turn(at, Phase::Promoted, Share::ALL, Share::NONE);
            }
            EventKind::WatchPassed { version } if *version == candidate => {
                self.end(at, Phase::Promoted, None);
            }
            EventKind::NoWayBack { version, cause } if *version == candidate => {
                self.end(at, Phase::Promoted, Some(cause.clone()));
            }
            EventKind::Aborted { version, cause } if *version == candidate => {
                self.end(at, Phase::Aborted, Some(cause.clone()));
            }
            // By hand it may have been over for long: it was promoted, and later replaced.
            EventKind::RolledBack { from, cause, .. } if *from == candidate => match (self.promoted, cause) {
                (Some(promoted), Cause::Operator { .. }) => self.end(promoted, Phase::Promoted, None),
                _ => self.end(at, Phase::RolledBack, Some(cause.clone())),
            },
            EventKind::Promoted { previous, .. } if *previous == candidate => {
                self.end(self.promoted.unwrap_or(at), Phase::Promoted, None);
            }
            _ => {}
        }
    }

    fn turn(&mut self, at: Timestamp, phase: Phase, weight: Share, sample: Share) {
        self.turns_left_out += keep(&mut self.turns, Turn { at, phase, weight, sample });
    }

    fn end(&mut self, at: Timestamp, phase: Phase, cause: Option<Cause>) {
        if phase != Phase::Promoted {
            self.turn(at, phase, Share::NONE, Share::NONE);
        }
        self.ended = Some((at, phase, cause));
    }

    fn report(
        self,
        candidate: VersionId,
        (handle, at, live): (String, Timestamp, VersionId),
        decisions: &[&Decision],
    ) -> Option<Report> {
        let promoted = self.promoted.map(|promoted| (promoted, Phase::Promoted, None));
        // It does not run, and the journal does not say how it ended: a repair, or its end is not there any more.
        let (ended, phase, cause) = self.ended.or(promoted)?;
        let last = decisions.last();
        let number = last.map_or(0, |decision| decision.rollout);
        let title = match number {
            0 => format!("A rollout of {handle}: {candidate}"),
            number => format!("Rollout {number} of {handle}: {candidate}"),
        };
        // Of each guard what it said last.
        let mut evidence: Vec<Evidence> = Vec::new();
        for decision in decisions {
            let said = &decision.evidence;
            match evidence.iter_mut().find(|known| known.guard == said.guard) {
                Some(known) => *known = said.clone(),
                None => evidence.push(said.clone()),
            }
        }
        let rollout = RolloutStatus {
            number,
            version: candidate,
            phase,
            weight: Share::NONE,
            withheld: false,
            in_flight: InFlight::default(),
            sample: Share::NONE,
            paused: false,
            pause_reason: None,
            step: None,
            steps: 0,
            waits_until: None,
            since: ended,
            cause,
            evidence,
            candidate: ArmFigures::of_nothing(),
            control: ArmFigures::of_nothing(),
            divergence: Divergence::default().figures(),
            error_budget: last.map(|decision| decision.error_budget),
            cohorts: Vec::new(),
            labels_late: 0,
            keys: 0,
            keys_one_in: 1,
            segments: Vec::new(),
        };
        Some(Report {
            title,
            handle,
            at,
            live: self.live.or(last.map(|decision| decision.live)).unwrap_or(live),
            candidate_identity: last.map(|decision| decision.candidate_identity),
            live_identity: last.map(|decision| decision.live_identity),
            began: self.began,
            went_on: false,
            from_journal: true,
            ended: Some(ended),
            plan: None,
            metric: None,
            trial: None,
            points: Vec::new(),
            one_in: 1,
            turns: self.turns,
            turns_left_out: self.turns_left_out,
            events: self.events,
            events_missing: self.events_missing,
            decisions: decisions.iter().map(|decision| Decided::of(decision)).collect(),
            drift: None,
            notes: Vec::new(),
            rollout,
        })
    }
}

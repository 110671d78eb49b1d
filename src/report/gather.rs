//! Gathers from the control side what a page needs.

use std::sync::Arc;

use super::concern::{Concern, concerns};
use super::report::{Decided, Report};
use crate::base::clock::Timestamp;
use crate::control::control::Control;
use crate::control::event::{Event, EventKind};
use crate::handle::handle::ModelHandle;
use crate::handle::rollout::Rollout;
use crate::rollout::decision::Decision;
use crate::stats::Metric;
use crate::version::id::VersionId;

/// Which rollout: by its number, or the last one that tried a version of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The rollout of this number, as [`status()`](crate::ModelHandle::status) tells it.
    Number(u32),
    /// The last rollout that tried a version of this name.
    Version(String),
}

impl From<u32> for Which {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Which {
    fn from(version: &str) -> Self {
        Self::Version(version.into())
    }
}

impl From<String> for Which {
    fn from(version: String) -> Self {
        Self::Version(version)
    }
}

impl From<&String> for Which {
    fn from(version: &String) -> Self {
        Self::Version(version.clone())
    }
}

impl From<VersionId> for Which {
    fn from(version: VersionId) -> Self {
        Self::Version(version.into())
    }
}

impl From<&VersionId> for Which {
    fn from(version: &VersionId) -> Self {
        Self::Version((*version).into())
    }
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Reports on a rollout, running or over, for people who were not there: see [`report`](crate::report).
    /// By its number, or by the name of the version that it tried, the last time. `None` where there was none, or it has
    /// been over for so long that it is forgotten: that is after 32 more, or at the end of the process. Where
    /// state is kept (`Builder::state`), what the journal has kept of it is [reported](Report::from_journal) then.
    ///
    /// Brings the figures up to date, and judges each of the rollout's decisions again from its record, on the calling
    /// thread and outside of any lock: some milliseconds each.
    pub fn report(&self, rollout: impl Into<Which>) -> Option<Report> {
        let which = rollout.into();
        let Some(gathered) = self.gathered(&which) else { return self.report_from_journal(&which) };
        let report = gathered.report(Metric::key(self.inner.serving.task.kind()));
        // What is seen now says nothing of a rollout that is over.
        let drift = if report.ended.is_none() { self.watched(report.rollout.number) } else { None };
        Some(Report { drift, ..report })
    }

    fn gathered(&self, which: &Which) -> Option<Gathered> {
        let inner = &self.inner;
        let now = inner.serving.clock.now();
        let control = &mut *inner.control.lock();
        control.collect(&inner.serving.joins, now);
        let number = match which {
            Which::Number(number) => *number,
            Which::Version(version) => control.last_attempt_of(version)?,
        };
        control.gathered(number, now)
    }

    #[cfg(feature = "state")]
    fn report_from_journal(&self, which: &Which) -> Option<Report> {
        let folder = self.inner.keeper.folder.as_ref()?;
        let (version, number) = match which {
            Which::Version(version) => (version.clone(), None),
            Which::Number(number) => {
                let of_it = self.decisions().into_iter().rfind(|decision| decision.rollout == *number)?;
                (of_it.candidate.to_string(), Some(*number))
            }
        };
        // That a journal cannot be read is told by whoever writes to it.
        let report = super::journal::from_journal(folder, &version).ok()??;
        number.is_none_or(|number| number == report.rollout.number).then_some(report)
    }

    #[cfg(not(feature = "state"))]
    fn report_from_journal(&self, _: &Which) -> Option<Report> {
        None
    }
}

impl<I: ?Sized + 'static, O: 'static> Rollout<I, O> {
    /// Reports on this rollout for people who were not there; see
    /// [`ModelHandle::report`](crate::ModelHandle::report). `None` once it is so long over that it is forgotten.
    pub fn report(&self) -> Option<Report> {
        self.handle.report(self.number)
    }
}

/// The knowledge of the control side about one attempt.
struct Gathered {
    /// All but what takes time to find out.
    report: Report,
    /// The number of the first event that may be of this attempt.
    first_event: u64,
    log: Vec<Arc<Event>>,
    decisions: Vec<Arc<Decision>>,
}

impl Gathered {
    fn report(self, metric: Option<Metric>) -> Report {
        let Self { report, first_event, log, decisions } = self;
        Report {
            metric,
            events_missing: log.first().is_none_or(|first| first.sequence > first_event),
            events: of_attempt(&log, report.rollout.version, first_event, report.ended),
            decisions: decisions.iter().map(|decision| Decided::of(decision)).collect(),
            ..report
        }
    }
}

impl Control {
    fn gathered(&self, number: u32, now: Timestamp) -> Option<Gathered> {
        let attempt = self.known_attempt(number)?;
        let rollout = self.attempt_status(attempt, now)?;
        let (course, ended) = (&attempt.course, attempt.ended.as_ref().map(|ended| ended.at));
        let mut points = course.points().to_vec();
        // As it stands now, not as of the last point.
        points.extend(
            self.point(number, now).filter(|point| points.last().is_none_or(|last| !last.is_like(point))),
        );
        let candidate = rollout.version;
        // Those of an earlier life of the handle too.
        let decisions = self.decisions.iter().filter(|decision| decision.rollout == number);
        let first_event = course.first_event;
        let live = attempt.previous.unwrap_or(self.live.id);
        let identity = |version| self.records.get(&version).map(|record| record.identity);
        let report = Report {
            title: format!("Rollout {number} of {}: {candidate}", self.settings.name),
            handle: self.settings.name.clone(),
            at: now,
            live,
            candidate_identity: identity(candidate),
            live_identity: identity(live),
            began: course.began,
            went_on: course.went_on,
            from_journal: false,
            ended,
            plan: attempt.plan.clone(),
            metric: None,
            trial: course.trial.as_deref().cloned(),
            points,
            one_in: course.one_in(),
            turns: course.turns().copied().collect(),
            turns_left_out: course.turns_left_out(),
            events: Vec::new(),
            events_missing: false,
            decisions: Vec::new(),
            drift: None,
            notes: Vec::new(),
            rollout,
        };
        let log = self.announcer.log();
        Some(Gathered { report, first_event, log, decisions: decisions.cloned().collect() })
    }
}

/// The events of an attempt: of its version until that was staged again, and of the whole handle while it ran.
fn of_attempt(log: &[Arc<Event>], candidate: VersionId, first: u64, ended: Option<Timestamp>) -> Vec<Event> {
    let mut staged = false;
    log.iter()
        .filter(|event| event.sequence >= first)
        .take_while(|event| match &event.kind {
            EventKind::Staged { version, .. } if *version == candidate => {
                !std::mem::replace(&mut staged, true)
            }
            _ => true,
        })
        .filter(|event| match concerns(&event.kind, candidate) {
            Concern::Version => true,
            Concern::Handle => ended.is_none_or(|ended| event.at <= ended),
            Concern::Nothing => false,
        })
        .map(|event| Event::clone(event))
        .collect()
}

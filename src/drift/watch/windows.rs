//! The windows of all traffic, of each version and of each trial, which all close together.

use std::sync::Arc;

use super::alerts::{Subject, Told};
use super::answers::Answers;
use super::counted::{Counted, look_alpha};
use super::options::Drift;
use super::status;
use super::status::{DriftAlert, DriftStatus, VersionDrift};
use super::stripes::Drained;
use super::trial::{Fault, Measure, Seen, Trial};
use crate::base::clock::Timestamp;
use crate::base::ordered::{OrderedMap, OrderedSet};
use crate::drift::told::{Baseline, DriftScope};
use crate::drift::{
    DriftRow, DriftTable, DriftVerdict, Options, Profile, ReferenceProfile, WindowedProfile, compare_windows,
};
use crate::version::id::VersionId;

/// The places in which requests were counted, as the control side knows them.
pub(crate) struct Context {
    pub(crate) live: VersionId,
    /// Versions that are in use.
    pub(crate) versions: OrderedSet<VersionId>,
    /// Attempts that are on trial.
    pub(crate) running: Vec<Running>,
    /// The counters that each exposure counts for, by number.
    pub(crate) feeds: OrderedMap<u32, Vec<Feed>>,
}

/// An attempt that is on trial.
pub(crate) struct Running {
    pub(crate) number: u32,
    pub(crate) version: VersionId,
    pub(crate) era: u32,
    /// Looks at windows of it, so far.
    pub(crate) looks: u32,
}

/// Says for which side of an attempt an exposure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) attempt: u32,
    pub(crate) era: u32,
    pub(crate) part: Part,
}

/// Whose an exposure's requests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The candidate's.
    Candidate,
    /// Live's beside it.
    Live,
    /// The candidate's as a shadow: what live said of the same inputs was counted with them.
    Pairs,
}

/// All windows of a handle.
pub(crate) struct Windows {
    /// The one whose closing closes all: of inputs or, where none are watched, of answers.
    all: WindowedProfile,
    reads_inputs: bool,
    reference: ReferenceProfile,
    options: Options,
    begins_after: u32,
    ends_after: u32,
    versions: OrderedMap<VersionId, OfVersion>,
    trials: OrderedMap<u32, Trial>,
    subjects: Vec<Subject>,
    tables: Tables,
    /// Whose answers stand for what comes, where inputs are not watched.
    live: Option<VersionId>,
    /// The hour that was last held against those of other days.
    hour: Option<u64>,
    /// Rows that were counted.
    counted: u64,
}

/// What has ended with a tick.
#[derive(Clone, Copy)]
struct Ended {
    /// A window.
    window: bool,
    /// An hour in which anything came, where hours are held against those of other days.
    hour: bool,
}

#[derive(Default)]
struct Tables {
    training: Option<DriftTable>,
    previous: Option<DriftTable>,
    season: Option<DriftTable>,
}

/// The windows of one version.
#[derive(Default)]
struct OfVersion {
    open: Option<Counted>,
    last: Option<Counted>,
    before: Option<Counted>,
    /// It has been live since the open window began.
    is_live_throughout: bool,
    /// Its answers in the first full window that it was live for throughout: what is left of one says how people are at that hour.
    beginning: Option<Profile>,
}

impl Windows {
    pub(crate) fn new(
        drift: &Drift,
        reference: Option<&ReferenceProfile>,
        answers: &Answers,
        now: Timestamp,
    ) -> Self {
        let mut all = WindowedProfile::of(reference.unwrap_or(&answers.reference).clone(), drift.window);
        if let Some(season) = drift.season {
            all = all.season(season);
        }
        all.advance(now);
        let reads_inputs = reference.is_some();
        let mut subjects = Vec::new();
        if reads_inputs {
            subjects.push(Subject::new(DriftScope::World, Baseline::Training, None));
        }
        if drift.season.is_some() {
            subjects.push(Subject::new(DriftScope::World, Baseline::Season, None));
        }
        Self {
            reference: all.reference().clone(),
            all,
            reads_inputs,
            options: drift.options,
            begins_after: drift.begins_after,
            ends_after: drift.ends_after,
            versions: OrderedMap::new(),
            trials: OrderedMap::new(),
            subjects,
            tables: Tables::default(),
            live: None,
            hour: None,
            counted: 0,
        }
    }

    /// Takes in what was counted until now, and closes the windows that are full, and the hour that is over. Each is a look of its
    /// own: a window may be much shorter than an hour, or much longer.
    pub(crate) fn settle(&mut self, drained: &[Drained], context: &Context, now: Timestamp) -> Vec<Told> {
        self.follow(context);
        let before = self.all.closed();
        // What is drained came before now: a window that has ended is closed with it.
        for entry in drained {
            self.add(entry, context);
        }
        self.all.advance(now);
        let hour = self.all.last_hour();
        let ended = Ended { window: self.all.closed() > before, hour: hour != self.hour };
        self.hour = hour;
        if ended.window {
            self.close(context);
        }
        if ended.hour {
            self.tables.season = self.all.against_season(&self.options);
        }
        self.look(ended)
    }

    /// Versions and trials come and go.
    fn follow(&mut self, context: &Context) {
        self.versions.retain(|version, _| context.versions.contains(version));
        self.trials.retain(|number, _| context.running.iter().any(|running| running.number == *number));
        for Running { number, version, era, looks } in &context.running {
            let begun = || Trial::new(*number, *version, *era, *looks);
            self.trials.entry(*number).or_insert_with(begun).enter(*era);
        }
        let before = self.live.replace(context.live);
        if !self.reads_inputs && before.is_some_and(|before| before != context.live) {
            // Another version says something else of the same: that is nobody's drift.
            self.all.begin_anew();
            (self.tables, self.hour) = (Tables::default(), None);
            let of_season = self.subjects.iter_mut().filter(|subject| subject.against == Baseline::Season);
            of_season
                .for_each(|subject| *subject = Subject::new(subject.whose, subject.against, subject.version));
        }
        let current = |subject: &Subject| match (subject.against, subject.version) {
            (Baseline::Live, Some(version)) => self.trials.values().any(|trial| trial.version == version),
            (Baseline::LivesBeginning, version) => version == Some(context.live),
            _ => true,
        };
        self.subjects.retain(current);
        let live = self.versions.entry(context.live).or_default();
        if !self.subjects.iter().any(|subject| subject.against == Baseline::LivesBeginning) {
            live.beginning = None;
            live.is_live_throughout = before.is_none() && self.all.has_begun_with_its_first_row();
            self.subjects.push(Subject::new(DriftScope::World, Baseline::LivesBeginning, Some(context.live)));
        }
        for trial in self.trials.values() {
            let known = |subject: &Subject| {
                subject.version == Some(trial.version) && subject.against == Baseline::Live
            };
            if !self.subjects.iter().any(known) {
                self.subjects.push(Subject::new(DriftScope::Candidate, Baseline::Live, Some(trial.version)));
            }
        }
    }

    fn add(&mut self, entry: &Drained, context: &Context) {
        // Copies came before; and what a candidate says is nothing that came.
        let is_lives = entry.theirs.is_none() && (self.reads_inputs || entry.version == context.live);
        for counted in entry.all() {
            self.counted = self.counted.saturating_add(counted.rows());
            if context.versions.contains(&entry.version) {
                let version = self.versions.entry(entry.version).or_default();
                match &mut version.open {
                    Some(open) => open.merge(counted),
                    open => *open = Some(counted.clone()),
                }
            }
            let came = if self.reads_inputs { counted.inputs.as_ref() } else { Some(&counted.answers) };
            if let Some(came) = came.filter(|_| is_lives) {
                // Counted in the bins of this very reference.
                let _ = self.all.merge_open(came);
            }
        }
        // Versions are compared by units alone.
        let Some(own) = &entry.own else { return };
        for feed in context.feeds.get(&entry.exposure).into_iter().flatten() {
            let Some(trial) = self.trials.get_mut(&feed.attempt) else { continue };
            match feed.part {
                Part::Candidate => trial.add(feed.era, Some(own), None),
                Part::Live => trial.add(feed.era, None, Some(own)),
                Part::Pairs => trial.add(feed.era, Some(own), entry.theirs.as_ref()),
            }
        }
    }

    /// A window is full: compares all of it.
    fn close(&mut self, context: &Context) {
        let options = self.options;
        self.tables.training = self.reads_inputs.then(|| self.all.against_training(&options)).flatten();
        self.tables.previous = self.all.against_previous(&options);
        for (version, of) in &mut self.versions {
            of.before = std::mem::replace(&mut of.last, of.open.as_mut().map(Counted::take));
            let full = of.last.as_ref().filter(|last| last.rows() >= options.rows_wanted());
            if let (true, true, Some(full)) = (*version == context.live, of.is_live_throughout, full) {
                of.beginning.get_or_insert_with(|| full.answers.clone());
            }
            of.is_live_throughout = *version == context.live;
        }
        (&mut self.trials).into_iter().for_each(|(_, trial)| trial.close(options));
    }

    /// Looks at the subjects of what has ended, at each of them once.
    fn look(&mut self, ended: Ended) -> Vec<Told> {
        let mut told = Vec::new();
        let mut subjects = std::mem::take(&mut self.subjects);
        for subject in &mut subjects {
            let said = self.said(subject, ended);
            told.extend(
                said.into_iter().flat_map(|rows| subject.look(&rows, self.begins_after, self.ends_after)),
            );
        }
        self.subjects = subjects;
        told
    }

    /// Returns what is said of a subject, by what has just ended; nothing where nothing of it has, or there is nothing to hold it
    /// against.
    fn said(&self, subject: &Subject, ended: Ended) -> Option<Vec<DriftRow>> {
        let rows = |table: &DriftTable| table.rows().to_vec();
        let is_new = if subject.against == Baseline::Season { ended.hour } else { ended.window };
        if !is_new {
            return None;
        }
        match subject.against {
            Baseline::Training => self.tables.training.as_ref().map(rows),
            Baseline::Season => self.tables.season.as_ref().map(rows),
            Baseline::LivesBeginning => {
                let of = subject.version.and_then(|version| self.versions.get(&version))?;
                let (beginning, last) = (of.beginning.as_ref()?, &of.last.as_ref()?.answers);
                compare_windows(beginning, last, &self.options).ok().as_ref().map(rows)
            }
            Baseline::Live => {
                let mut trials = self.trials.values();
                let trial = trials.find(|trial| Some(trial.version) == subject.version && trial.is_new)?;
                let seen = trial.seen.as_ref()?;
                let margin = self.options.margin(self.options.effect_floor());
                let alpha = look_alpha(self.options.error(), seen.looks);
                let mut rows = rows(&seen.against_live(&self.options.look(alpha, margin))?);
                let far = match seen.fault(Measure::Live, margin, alpha) {
                    Fault::TheCandidates(far) => far,
                    _ => Vec::new(),
                };
                let is_the_candidates = |row: &DriftRow| {
                    far.iter().any(|far| (&far.feature, far.what) == (&row.feature, row.what))
                };
                // What differs and is not shown to be the candidate's doing begins no alert, and ends none.
                let differ = rows.iter_mut().filter(|row| row.verdict == DriftVerdict::Drifted);
                differ
                    .filter(|row| !is_the_candidates(row))
                    .for_each(|row| row.verdict = DriftVerdict::TooFew);
                Some(rows)
            }
        }
    }

    pub(crate) fn seen(&self, attempt: u32, era: u32) -> Option<Arc<Seen>> {
        self.trials.get(&attempt).filter(|trial| trial.era == era)?.seen.clone()
    }

    pub(crate) fn status(&self, skipped: u64, misfits: u64) -> DriftStatus {
        let Tables { training, previous, season } = &self.tables;
        let alerts = self.subjects.iter().filter_map(|subject| {
            let features: Vec<_> = subject.active().cloned().collect();
            let (whose, against, version) = (subject.whose, subject.against, subject.version);
            (!features.is_empty()).then_some(DriftAlert { whose, against, version, features })
        });
        let versions = self.versions.iter().filter_map(|(version, of)| {
            let last = of.last.as_ref()?;
            let before = of.before.as_ref().map(|before| &before.answers);
            let inputs = last.inputs.as_ref().filter(|inputs| inputs.rows() > 0);
            Some(VersionDrift {
                version: *version,
                rows: last.rows(),
                inputs: inputs
                    .and_then(|inputs| crate::drift::compare(&self.reference, inputs, &self.options).ok()),
                answers: before.and_then(|before| compare_windows(before, &last.answers, &self.options).ok()),
                failed: last.answers.missing("prediction").unwrap_or(0),
                estimated: last.estimator.as_ref().map(status::estimated),
            })
        });
        DriftStatus {
            windows: self.all.closed(),
            rows: self.all.filling().rows(),
            counted: self.counted,
            skipped,
            misfits,
            against_training: training.clone(),
            against_previous: previous.clone(),
            against_season: season.clone(),
            alerts: alerts.collect(),
            versions: versions.collect(),
            rollouts: self.trials.values().filter_map(status::of_trial).collect(),
        }
    }
}

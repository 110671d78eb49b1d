//! A version on trial beside live: what both said of the same traffic in one window, and whose doing a difference is.

use std::sync::Arc;

use super::counted::{Counted, merge_estimators};
use crate::drift::estimate::QualityEstimator;
use crate::drift::{DriftRow, DriftTable, Options, Profile, compare_windows};
use crate::version::id::VersionId;

/// The counts of one attempt.
pub(crate) struct Trial {
    pub(crate) number: u32,
    pub(crate) version: VersionId,
    /// The stretch between two changes of exposure that is being counted.
    pub(crate) era: u32,
    open: Sides<Option<Counted>>,
    /// The first full window of both.
    first: Option<Sides<Profile>>,
    moved: bool,
    /// Scores since the exposure last changed.
    scores: Sides<Option<QualityEstimator>>,
    looks: u32,
    pub(crate) seen: Option<Arc<Seen>>,
    /// What was seen last is of the window that has just been closed.
    pub(crate) is_new: bool,
}

/// Of a candidate, and of live over the same time and split.
#[derive(Clone, Default)]
pub(crate) struct Sides<T> {
    pub(crate) candidate: T,
    pub(crate) live: T,
}

/// The last full window of a trial, to judge it by. Frozen.
pub(crate) struct Seen {
    /// Full windows so far: each is a look.
    pub(crate) looks: u32,
    /// The answers of both in the last one.
    pub(crate) answers: Sides<Profile>,
    /// The answers of both in the first one; since live has drifted, in the one in which it did.
    first: Sides<Profile>,
    /// Live has drifted in an earlier window.
    moved: bool,
    /// The inputs of both in the last one, on a canary.
    inputs: Option<Sides<Profile>>,
    /// Scores since the exposure last changed, of versions whose scores are known to mean something.
    pub(crate) scores: Sides<Option<QualityEstimator>>,
    options: Options,
}

/// The answers that a candidate's are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Live's, over the same time.
    Live,
    /// Its own, in the first window.
    ItsBeginning,
}

/// Whose doing it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// Nothing has drifted.
    Nobodys,
    /// Live has drifted too.
    TheWorlds,
    /// The two were asked different things, which may be all there is to it.
    TheSplits,
    /// The candidate alone has drifted: in this.
    TheCandidates(Vec<DriftRow>),
}

impl Trial {
    /// `looks` are those of an earlier trial of the same attempt: they have spent their error.
    pub(crate) fn new(number: u32, version: VersionId, era: u32, looks: u32) -> Self {
        let (open, scores) = (Sides::default(), Sides::default());
        let (first, seen) = (None, None);
        Self { number, version, era, open, first, moved: false, scores, looks, seen, is_new: false }
    }

    /// Drops what was counted before the exposure changed, so that it is not mixed with what comes: in another mixture
    /// of times the same requests would look different; and what was seen of it: a step rests on what came in that step. What is usual
    /// stays what it was.
    pub(crate) fn enter(&mut self, era: u32) {
        if era != self.era {
            self.era = era;
            (self.open, self.scores) = (Sides::default(), Sides::default());
            (self.seen, self.is_new) = (None, false);
        }
    }

    pub(crate) fn add(&mut self, era: u32, candidate: Option<&Counted>, live: Option<&Counted>) {
        if era != self.era {
            return;
        }
        for (own, more) in [(&mut self.open.candidate, candidate), (&mut self.open.live, live)] {
            match (own, more) {
                (Some(own), Some(more)) => own.merge(more),
                (own @ None, Some(more)) => *own = Some(more.clone()),
                (_, None) => {}
            }
        }
    }

    /// A window is full. One in which too little came goes on.
    pub(crate) fn close(&mut self, options: Options) {
        self.is_new = false;
        let wanted = options.rows_wanted();
        let rows = |counted: &Option<Counted>| counted.as_ref().map_or(0, Counted::rows);
        if rows(&self.open.candidate).min(rows(&self.open.live)) < wanted {
            return;
        }
        let Sides { candidate: Some(candidate), live: Some(live) } = std::mem::take(&mut self.open) else {
            return;
        };
        self.looks = self.looks.saturating_add(1);
        merge_estimators(&mut self.scores.candidate, candidate.estimator.as_ref());
        merge_estimators(&mut self.scores.live, live.estimator.as_ref());
        let answers = Sides { candidate: candidate.answers, live: live.answers };
        let inputs = candidate.inputs.zip(live.inputs);
        let inputs = inputs.map(|(candidate, live)| Sides { candidate, live });
        let seen = Seen {
            looks: self.looks,
            first: self.first.get_or_insert_with(|| answers.clone()).clone(),
            answers,
            moved: self.moved,
            inputs,
            scores: self.scores.clone(),
            options,
        };
        // What live has drifted to is what is usual from here on, for both: a shift that both shared once must not excuse what
        // one of them does later.
        let closely = options.look(options.error(), options.effect_floor() / 2.0);
        if seen.live_since(&closely).is_some_and(|table| table.has_drifted()) {
            (self.first, self.moved) = (Some(seen.answers.clone()), true);
        }
        (self.seen, self.is_new) = (Some(Arc::new(seen)), true);
    }
}

impl Seen {
    /// The candidate's answers against live's.
    pub(crate) fn against_live(&self, options: &Options) -> Option<DriftTable> {
        compare_windows(&self.answers.live, &self.answers.candidate, options).ok()
    }

    /// The candidate's answers against those of its first window.
    pub(crate) fn since_it_began(&self, options: &Options) -> Option<DriftTable> {
        compare_windows(&self.first.candidate, &self.answers.candidate, options).ok()
    }

    /// Live's answers against those of the same window.
    pub(crate) fn live_since(&self, options: &Options) -> Option<DriftTable> {
        compare_windows(&self.first.live, &self.answers.live, options).ok()
    }

    /// Compares what the two were asked, the candidate against live.
    pub(crate) fn inputs(&self, options: &Options) -> Option<DriftTable> {
        let inputs = self.inputs.as_ref()?;
        compare_windows(&inputs.live, &inputs.candidate, options).ok()
    }

    /// Whether the candidate has drifted and live has not, with an error of `alpha` for saying so wrongly. `distance` is
    /// how far apart the two may be.
    ///
    /// Live, and what both were asked, are looked at more closely than the candidate, with half of the distance: in doubt
    /// it is the world.
    pub(crate) fn fault(&self, measure: Measure, distance: f64, alpha: f64) -> Fault {
        let options = self.options.look(alpha, distance);
        let table = match measure {
            Measure::Live => self.against_live(&options),
            Measure::ItsBeginning => self.since_it_began(&options),
        };
        let drifted: Vec<DriftRow> = table.iter().flat_map(DriftTable::drifted).cloned().collect();
        let closely = self.options.look(self.options.error(), distance / 2.0);
        let any = |table: Option<DriftTable>| table.is_some_and(|table| table.has_drifted());
        if drifted.is_empty() {
            Fault::Nobodys
        } else if any(self.live_since(&closely)) || (self.moved && !any(self.since_it_began(&closely))) {
            // Where the world has moved both, that they lie apart is part of it as long as the candidate has not moved again.
            Fault::TheWorlds
        } else if any(self.inputs(&closely)) {
            Fault::TheSplits
        } else {
            Fault::TheCandidates(drifted)
        }
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }
}

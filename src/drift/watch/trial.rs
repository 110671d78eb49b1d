//! A version on trial beside live: what both said of the same traffic, and whose doing a difference is.

use std::sync::Arc;

use super::counted::{Counted, look_alpha, merge_estimators};
use crate::drift::compare::apart::{Apart, Far, Grow, Margin};
use crate::drift::estimate::QualityEstimator;
use crate::drift::{DriftTable, Options, Profile, compare_windows};
use crate::version::id::VersionId;

/// The counts of one attempt.
pub(crate) struct Trial {
    pub(crate) number: u32,
    pub(crate) version: VersionId,
    /// The stretch between two changes of exposure that is being counted.
    pub(crate) era: u32,
    open: Sides<Option<Counted>>,
    /// The answers of both in all full windows since the exposure last changed.
    all: Option<Sides<Profile>>,
    /// The answers of both in their first full windows, so many that they have [`BEGINNING`] rows; since live has drifted, from the one on in which it
    /// did.
    beginning: Option<Sides<Profile>>,
    /// Of those in `all`, the windows that came after the beginning was whole.
    since: Option<Sides<Profile>>,
    /// What the candidate was to blame for when that was last asked.
    blamed: Vec<Far>,
    /// The same when live last drifted; nothing where it has not.
    moved: Option<Vec<Far>>,
    /// Scores since the exposure last changed.
    scores: Sides<Option<QualityEstimator>>,
    looks: u32,
    pub(crate) seen: Option<Arc<Seen>>,
    /// What was seen last is of the window that has just been closed.
    pub(crate) is_new: bool,
}

/// A beginning has so many rows of each side at least. Of a window alone a small service could never pass.
const BEGINNING: u64 = 2_000;

/// It is whole once that much later is early enough: in so many times as many looks, of a rollout that has had twenty at least, enough rows of the
/// candidate beside it can still show that it is alike. A beginning that is smaller is one that no later step could pass.
const LOOKS_AHEAD: u32 = 10;

/// Of a candidate, and of live over the same time and split.
#[derive(Clone, Default)]
pub(crate) struct Sides<T> {
    pub(crate) candidate: T,
    pub(crate) live: T,
}

impl Sides<Profile> {
    /// Adds what both said in a window: counted in the bins of one handle, so nothing is refused. All there is by then.
    fn add<'o>(own: &'o mut Option<Self>, window: &Self) -> &'o Self {
        if let Some(own) = own {
            let _ = own.candidate.merge(&window.candidate);
            let _ = own.live.merge(&window.live);
        }
        own.get_or_insert_with(|| window.clone())
    }

    /// Whether a beginning is whole, by the number of looks so far.
    fn is_whole(&self, options: &Options, looks: u32) -> bool {
        let can_show = |own: &Profile| {
            let alpha = look_alpha(options.error(), looks.max(20).saturating_mul(LOOKS_AHEAD));
            let margin = options.margin(options.effect_floor());
            let wanted = |apart: Apart| apart.rows_wanted(margin, alpha, Grow::Window).is_some();
            Apart::between(own, own).is_some_and(wanted)
        };
        self.candidate.rows().min(self.live.rows()) >= BEGINNING && can_show(&self.candidate)
    }
}

/// What a trial is judged by, as of its last full window. Frozen.
pub(crate) struct Seen {
    /// Full windows so far: each is a look.
    pub(crate) looks: u32,
    /// The answers of both in the last window.
    pub(crate) answers: Sides<Profile>,
    /// In all windows since the exposure last changed.
    pub(crate) all: Sides<Profile>,
    /// In the first windows before this one; nothing in the first one.
    beginning: Option<Sides<Profile>>,
    since: Option<Sides<Profile>>,
    /// Before this window this was the candidate's doing.
    blamed: Vec<Far>,
    /// Live has drifted in an earlier window: for what the candidate was to blame before that.
    moved: Option<Vec<Far>>,
    /// The inputs of both in the last window, on a canary.
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
    /// Its own, in the first windows.
    ItsBeginning,
}

/// Whose doing it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// It is not shown that the candidate has drifted.
    Nobodys,
    /// Live has drifted too, or may have.
    TheWorlds,
    /// The two were asked different things, which may be all there is to it.
    TheSplits,
    /// The candidate alone has drifted: in this.
    TheCandidates(Vec<Far>),
}

/// Two sides that are held against each other.
type Pair<'a> = (&'a Profile, &'a Profile);

impl Trial {
    /// `looks` are those of an earlier trial of the same attempt: they have spent their error.
    pub(crate) fn new(number: u32, version: VersionId, era: u32, looks: u32) -> Self {
        Self {
            number,
            version,
            era,
            open: Sides::default(),
            all: None,
            beginning: None,
            since: None,
            blamed: Vec::new(),
            moved: None,
            scores: Sides::default(),
            looks,
            seen: None,
            is_new: false,
        }
    }

    /// Drops what was counted before the exposure changed, so that it is not mixed with what comes: in another mixture
    /// of times the same requests would look different; and what was seen of it: a step rests on what came in that step. What is usual
    /// stays what it was.
    pub(crate) fn enter(&mut self, era: u32) {
        if era != self.era {
            self.era = era;
            (self.open, self.scores) = (Sides::default(), Sides::default());
            (self.all, self.since) = (None, None);
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
        let all = Sides::add(&mut self.all, &answers).clone();
        // Once anything has been held against it, it stays as it is.
        let is_whole = |of: &Sides<Profile>| self.since.is_some() || of.is_whole(&options, self.looks);
        let is_begun = self.beginning.as_ref().is_some_and(is_whole);
        if is_begun {
            Sides::add(&mut self.since, &answers);
        }
        let seen = Seen {
            looks: self.looks,
            all,
            answers,
            beginning: self.beginning.clone(),
            since: self.since.clone(),
            blamed: self.blamed.clone(),
            moved: self.moved.clone(),
            inputs,
            scores: self.scores.clone(),
            options,
        };
        let margin = options.margin(options.effect_floor());
        if seen.has_moved(Sides::live, margin) {
            // What live has drifted to is what is usual from here on, for both: a shift that both shared once must not excuse what
            // one of them does later. Nor does it excuse what the two differed in before.
            (self.beginning, self.since) = (Some(seen.answers.clone()), None);
            self.moved = Some(self.blamed.clone());
        } else if !is_begun && !seen.has_moved(Sides::candidate, margin) {
            Sides::add(&mut self.beginning, &seen.answers);
        }
        match seen.fault(Measure::Live, margin, look_alpha(options.error(), seen.looks)) {
            Fault::TheCandidates(far) => self.blamed = far,
            Fault::Nobodys if !any(seen.against_live(&options)) => self.blamed.clear(),
            _ => {}
        }
        (self.seen, self.is_new) = (Some(Arc::new(seen)), true);
    }
}

impl<T> Sides<T> {
    fn candidate(&self) -> &T {
        &self.candidate
    }

    fn live(&self) -> &T {
        &self.live
    }
}

fn any(table: Option<DriftTable>) -> bool {
    table.is_some_and(|table| table.has_drifted())
}

impl Seen {
    /// The candidate's answers against live's.
    pub(crate) fn against_live(&self, options: &Options) -> Option<DriftTable> {
        compare_windows(&self.answers.live, &self.answers.candidate, options).ok()
    }

    /// The candidate's answers against those of its beginning; nothing in its first window.
    pub(crate) fn since_it_began(&self, options: &Options) -> Option<DriftTable> {
        self.since_the_beginning(Sides::candidate, options)
    }

    /// Live's answers against those of the same time.
    pub(crate) fn live_since(&self, options: &Options) -> Option<DriftTable> {
        self.since_the_beginning(Sides::live, options)
    }

    fn since_the_beginning(
        &self,
        side: fn(&Sides<Profile>) -> &Profile,
        options: &Options,
    ) -> Option<DriftTable> {
        compare_windows(side(self.beginning.as_ref()?), side(&self.answers), options).ok()
    }

    /// Compares what the two were asked, the candidate against live.
    pub(crate) fn inputs(&self, options: &Options) -> Option<DriftTable> {
        let inputs = self.inputs.as_ref()?;
        compare_windows(&inputs.live, &inputs.candidate, options).ok()
    }

    /// Looks more closely than at a candidate, for half of what that is allowed.
    fn closely(&self, margin: Margin) -> Options {
        self.options.look(self.options.error(), margin.times(0.5))
    }

    /// Whether a side says something else than at the beginning: in doubt it does.
    fn has_moved(&self, side: fn(&Sides<Profile>) -> &Profile, margin: Margin) -> bool {
        any(self.since_the_beginning(side, &self.closely(margin)))
    }

    /// What a side has said since it was whole that it is held against, and in the last window, each beside that.
    fn since_then(&self, side: fn(&Sides<Profile>) -> &Profile) -> Vec<Pair<'_>> {
        let Some(beginning) = &self.beginning else { return Vec::new() };
        let later = [Some(&self.answers), self.since.as_ref()].into_iter().flatten();
        later.map(|later| (side(beginning), side(later))).collect()
    }

    /// Whether the candidate has drifted by more than the margin and live has not, with an error of `alpha` for saying so wrongly: by its last window, or by
    /// all that are added up, each with half of it, of which live's bound has a half where it is held against its beginning.
    pub(crate) fn fault(&self, measure: Measure, margin: Margin, alpha: f64) -> Fault {
        let far = match measure {
            Measure::Live => self.far_from_live(margin, alpha),
            Measure::ItsBeginning => self.far_from_its_beginning(margin, alpha),
        };
        match far {
            Ok(far) if far.is_empty() => Fault::Nobodys,
            Ok(_) if any(self.inputs(&self.closely(margin))) => Fault::TheSplits,
            Ok(far) => Fault::TheCandidates(far),
            Err(TheWorlds) => Fault::TheWorlds,
        }
    }

    /// Both are asked the same, so that they differ is the candidate's doing, but for what the world has moved apart that was alike before. As long as the candidate
    /// has not moved again, that they lie apart is part of it.
    fn far_from_live(&self, margin: Margin, alpha: f64) -> Result<Vec<Far>, TheWorlds> {
        let pairs = [&self.answers, &self.all].map(|both| (&both.live, &both.candidate));
        let far = furthest(&pairs, margin, alpha / 2.0);
        // By a wider margin two may be alike that are not by the one that is told.
        let is_beyond = |blamed: &Vec<Far>| blamed.iter().any(|far| far.is_beyond(margin));
        let moves = !is_beyond(&self.blamed) && self.has_moved(Sides::live, margin);
        let moved = self.moved.as_ref().is_some_and(|blamed| !is_beyond(blamed))
            && !self.has_moved(Sides::candidate, margin);
        if !far.is_empty() && (moves || moved) { Err(TheWorlds) } else { Ok(far) }
    }

    /// The candidate alone has gone where live has not only where it has gone further than live can have: that live shows no drift is little, where it has few rows.
    /// The error is divided over both bounds.
    fn far_from_its_beginning(&self, margin: Margin, alpha: f64) -> Result<Vec<Far>, TheWorlds> {
        let mut worlds = false;
        let sides = self.since_then(Sides::candidate).into_iter().zip(self.since_then(Sides::live));
        for (own, lives) in sides {
            let mut far = furthest(&[own], margin, alpha / 4.0);
            if far.is_empty() {
                continue;
            }
            // What lies within fewer margins lies within more: the furthest decides, and the error is that of one bound.
            let live = Apart::between(lives.0, lives.1);
            let is_within = |margins| {
                live.as_ref().is_some_and(|live| live.is_within(margin.times(margins), alpha / 4.0))
            };
            far.retain(|far| is_within(far.margins));
            if !far.is_empty() {
                return Ok(far);
            }
            worlds = true;
        }
        if worlds { Err(TheWorlds) } else { Ok(Vec::new()) }
    }

    /// Whether the candidate is shown to lie within the margin, with an error of `alpha`: by all windows that are added up. One that has begun to drift in the last
    /// one is not yet seen in those.
    pub(crate) fn nearness(&self, measure: Measure, margin: Margin, alpha: f64) -> Nearness {
        let closely = self.options.look(self.options.error(), margin);
        let (pair, last) = match measure {
            Measure::Live => (Some((&self.all.live, &self.all.candidate)), self.against_live(&closely)),
            Measure::ItsBeginning => (self.since_then(Sides::candidate).pop(), self.since_it_began(&closely)),
        };
        let Some((pair, apart)) = pair.and_then(|pair| Some((pair, Apart::between(pair.0, pair.1)?))) else {
            return Nearness::Unknown;
        };
        if !apart.has_answers() && margin != Margin::WHATEVER {
            return Nearness::Unanswered;
        }
        if apart.is_within(margin, alpha) {
            return if any(last) { Nearness::Leaves } else { Nearness::Within };
        }
        let grow = match measure {
            Measure::Live => Grow::Both,
            Measure::ItsBeginning => Grow::Window,
        };
        let rows = pair.1.rows();
        match apart.rows_wanted(margin, alpha, grow) {
            Some(times) => Nearness::Undecided { rows, wanted: (times * rows as f64).ceil() as u64 },
            None => Nearness::Unreachable { rows: pair.0.rows() },
        }
    }

    /// How far the candidate lies apart, without what chance adds; nothing where there is nothing yet to hold it against.
    pub(crate) fn distance(&self, measure: Measure) -> Option<f64> {
        let (reference, window) = match measure {
            Measure::Live => (&self.all.live, &self.all.candidate),
            Measure::ItsBeginning => self.since_then(Sides::candidate).pop()?,
        };
        Some(Apart::between(reference, window)?.distance())
    }

    pub(crate) fn options(&self) -> Options {
        self.options
    }
}

/// Live has moved too, or may have.
struct TheWorlds;

/// What is known of a candidate that is not shown to lie too far away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nearness {
    /// It lies within the margin.
    Within,
    /// All windows together do, and the last one does not.
    Leaves,
    /// So many rows of it do not show it; so many would, if it did not differ at all.
    Undecided { rows: u64, wanted: u64 },
    /// So few rows it is held against: no number of its own shows it.
    Unreachable { rows: u64 },
    /// All that was asked has failed.
    Unanswered,
    /// There is nothing yet to hold it against.
    Unknown,
}

/// In what any of these pairs lies further apart than the margin, the furthest of them, with an error of `alpha` for each pair.
fn furthest(pairs: &[Pair<'_>], margin: Margin, alpha: f64) -> Vec<Far> {
    let far = pairs.iter().map(|(reference, window)| {
        Apart::between(reference, window).map_or_else(Vec::new, |apart| apart.beyond(margin, alpha))
    });
    let of = |far: &Vec<Far>| far.first().map_or(0.0, |far| far.margins);
    far.max_by(|a, b| of(a).total_cmp(&of(b))).unwrap_or_default()
}

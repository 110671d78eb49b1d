//! The join of outcomes to predictions.
//!
//! A prediction keeps no row: what its outcome needs travels in its id. What is kept here is a bit per prediction and
//! figure, so that an outcome counts once, and rows only where an id cannot do: pairs of a shadowed request, outcomes
//! that may still be corrected, and predictions whose silence means something. Each of these is bounded, and thinned by
//! a hash of the id *before* anything is known of its outcome: thinning by age would favour outcomes that come fast.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::id::{Body, Flags, PredictionId, SealKey};
use super::outcome::{FeedbackCounts, FeedbackOutcome, FeedbackRefusal};
use super::repeats::{PAGE_ROWS, Page, PageKey, place_of};
use super::rows::Rows;
use crate::base::chance::{mix, survives, thinning_for};
#[cfg(feature = "state")]
use crate::base::clock::Shift;
use crate::base::clock::Timestamp;
use crate::base::ordered::OrderedMap;
use crate::stats::counting::exposure::{Awaited, Exposure};
use crate::stats::counting::intake::Intake;
use crate::stats::evidence::loss::decided_alike;
use crate::stats::evidence::segment::is_wrong;
use crate::stats::evidence::waiting::{Labels, Place};
use crate::stats::figures::divergence::PairedLabel;
use crate::stats::figures::tally::Sign;
use crate::task::kept::Kept;
use crate::task::kpi::Kpi;
use crate::task::outcome::{Actual, Outcome, RELEVANT_MAX, Truth};
use crate::task::segments::{Segment, Table};
use crate::task::task::TaskKind;

/// The limits of the join. Each has a default that suits a service with up to a thousand predictions a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JoinLimits {
    /// How long outcomes are waited for.
    pub(crate) horizon: Duration,
    /// How long an outcome may be corrected.
    pub(crate) correction: Duration,
    /// Outcomes that may be corrected at one time.
    pub(crate) correctable_max: usize,
    /// Bytes for the bits that tell repeats.
    pub(crate) bitmap_bytes_max: usize,
    /// Shadowed pairs that wait at one time.
    pub(crate) pairs_max: usize,
    /// Predictions that wait for an assumed outcome at one time.
    pub(crate) awaiting_max: usize,
}

impl Default for JoinLimits {
    fn default() -> Self {
        Self {
            horizon: Duration::from_secs(7 * 86_400),
            correction: Duration::from_secs(3_600),
            correctable_max: 65_536,
            bitmap_bytes_max: 64 << 20,
            pairs_max: 65_536,
            awaiting_max: 262_144,
        }
    }
}

/// The outcome that is assumed when none came within a horizon.
#[derive(Debug, Clone)]
pub(crate) struct Assumption {
    pub(crate) after: Duration,
    pub(crate) actual: Actual,
}

/// One half of a shadowed pair: what the shadow said, and where the pair counts.
#[derive(Clone)]
pub(crate) struct ShadowHalf {
    /// Where its label counts as evidence, once it does: of the shadow's own answer, and of the pair.
    pub(crate) labelled: (Option<Place>, Option<Place>),
    /// The shadow's own intake: how good its answers are.
    pub(crate) own: Arc<Intake>,
    /// The candidate's intake: pairs are its evidence.
    pub(crate) pairs: Arc<Intake>,
    /// The numbers of the exposures that these two belong to.
    #[cfg_attr(
        not(feature = "state"),
        expect(dead_code, reason = "only rows that are saved are known by number")
    )]
    pub(crate) exposures: (u32, u32),
    pub(crate) kept: Kept,
    /// Live ran as the shadow of the candidate, rather than the other way round.
    pub(crate) reversed: bool,
    /// The pair is a unit of the comparison.
    pub(crate) unit: bool,
}

impl ShadowHalf {
    pub(crate) fn new(own: &Exposure, pairs: &Exposure, kept: Kept, reversed: bool, unit: bool) -> Self {
        let exposures = (own.number, pairs.number);
        let (own, pairs) = (Arc::clone(&own.intake), Arc::clone(&pairs.intake));
        Self { labelled: (None, None), own, pairs, exposures, kept, reversed, unit }
    }

    /// The pair's answers: live's, then the candidate's.
    fn pair<'a>(&'a self, answered: &'a Kept) -> (&'a Kept, &'a Kept) {
        if self.reversed { (&self.kept, answered) } else { (answered, &self.kept) }
    }
}

pub(crate) type Key = (u32, u64);

/// An outcome that may be corrected: of which prediction, and of which figure.
pub(super) type Known = (Key, u8);

/// All joins of a handle.
pub(crate) struct Joins {
    pub(crate) process: u64,
    key: SealKey,
    kind: TaskKind,
    truth: Truth,
    kpis: Arc<[Kpi]>,
    pub(crate) limits: JoinLimits,
    assumption: Option<Assumption>,
    /// A prediction's outcomes count when its hash has this many leading zeros.
    row_thinning: AtomicU32,
    /// The same for the pairs of shadowed predictions.
    pair_thinning: AtomicU32,
    pub(crate) state: Mutex<State>,
    /// Labels of requests, where they have any.
    segments: Option<Arc<Table>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) intakes: OrderedMap<u32, Registered>,
    pub(crate) pages: HashMap<PageKey, Page>,
    /// Shared with whoever writes them down, until they change.
    pub(super) correctable: HashMap<Known, Arc<Correctable>>,
    pub(super) correctable_order: VecDeque<(Timestamp, Known)>,
    /// The same of those that nobody has told: they go first.
    pub(super) assumed_order: VecDeque<(Timestamp, Known)>,
    /// The bytes that the outcomes that may be corrected take beside their rows.
    correctable_bytes: usize,
    pub(crate) pairs: HashMap<Key, Pair>,
    pub(crate) pair_order: VecDeque<(Timestamp, Key)>,
    pub(crate) awaiting: Rows,
    pub(crate) issued: Issued,
    counts: FeedbackCounts,
    ages: Ages,
    /// Exposures of earlier lives of the handle, by life and number, and what they are called in this one.
    pub(crate) earlier: HashMap<(u64, u32), u32>,
    /// Everything was handed over: whatever comes now belongs to the heir.
    #[cfg(feature = "fleet")]
    pub(crate) handed_over: bool,
    /// How moments of earlier lives are told in this one, where they are told otherwise.
    #[cfg(feature = "state")]
    pub(crate) shifts: OrderedMap<u64, Shift>,
    /// Rows that have come since they were saved the last time; nothing where they never are.
    pub(crate) unsaved: Option<Unsaved>,
}

/// How old predictions were when the first that is known of them became known, of the last so many.
#[derive(Default, Clone, Copy)]
struct Ages {
    outcomes: f64,
    seconds: f64,
}

impl Ages {
    /// Beyond so many the older ones count for half: labels may come sooner or later than they used to.
    const MANY: f64 = 65_536.0;

    fn see(&mut self, age: Duration) {
        if self.outcomes >= Self::MANY {
            *self = Self { outcomes: self.outcomes / 2.0, seconds: self.seconds / 2.0 };
        }
        self.outcomes += 1.0;
        self.seconds += age.as_secs_f64();
    }
}

/// Rows that have come since they were saved the last time.
#[derive(Default)]
pub(crate) struct Unsaved {
    pub(crate) pairs: Vec<Key>,
    /// At the end of those that wait.
    pub(crate) awaiting: usize,
    /// Those that could be corrected when they were saved, and cannot any more: as many as there were of them at most.
    pub(super) settled: Vec<Known>,
}

pub(crate) struct Registered {
    pub(crate) intake: Arc<Intake>,
    pub(crate) retired: Option<Timestamp>,
    /// The earlier life of the handle that made its predictions, and its number there.
    #[cfg(feature = "state")]
    pub(crate) origin: Option<(u64, u32)>,
    /// What was predicted after it had ended was counted nowhere.
    #[cfg(feature = "fleet")]
    pub(crate) counts_until_retired: bool,
}

impl Registered {
    /// Whether this life of the handle made its predictions: of two that stopped at one moment the later one.
    fn is_new(&self) -> bool {
        #[cfg(feature = "state")]
        let is_new = self.origin.is_none();
        #[cfg(not(feature = "state"))]
        let is_new = true;
        is_new
    }
}

/// An outcome that may be corrected.
#[derive(Clone)]
pub(crate) struct Correctable {
    /// The prediction as it was when the outcome was counted, also in a later life of the handle, which knows its exposure by another
    /// number: chance, by which a sum was rounded, follows from it, and what is taken back must be what was added.
    pub(super) body: Body,
    pub(super) actual: Actual,
    pub(super) known_at: Timestamp,
    /// When it was counted.
    pub(super) counted_at: Timestamp,
    /// Nobody has told it.
    pub(super) assumed: bool,
    pub(super) labelled: Option<Place>,
    pub(super) shadows: Vec<ShadowHalf>,
    /// An earlier life of the handle has counted it: figures begin anew with each, and it is in none of this one's.
    pub(super) is_earlier: bool,
    /// It has come, or changed, since it was saved.
    pub(super) unsaved: bool,
    /// It was saved, as it was then.
    pub(super) is_written: bool,
}

#[cfg(feature = "state")]
impl Correctable {
    /// Where it counts as evidence, of which exposures.
    pub(super) fn places(&self, exposure: u32) -> impl Iterator<Item = (u32, Place)> {
        let of_shadow = |half: &ShadowHalf| {
            let ((own, pairs), labelled) = (half.exposures, half.labelled);
            [labelled.0.map(|place| (own, place)), labelled.1.map(|place| (pairs, place))]
        };
        let own = self.labelled.map(|place| (exposure, place));
        own.into_iter().chain(self.shadows.iter().flat_map(of_shadow).flatten())
    }
}

pub(crate) enum Pair {
    /// The shadows have answered; the outcome is to come. With the row of the prediction.
    Answered(
        #[cfg_attr(not(feature = "state"), expect(dead_code, reason = "read where rows are saved"))]
        Option<u64>,
        Vec<ShadowHalf>,
    ),
    /// The outcome came before the shadows' turn; whether it is the first of its unit.
    Known(Actual, bool),
}

/// Bits that were promised, in slots of a 64th of the horizon: how full the bitmap can get.
#[derive(Default)]
pub(crate) struct Issued {
    pub(crate) slots: VecDeque<(u64, u64)>,
}

/// The figure of the truth itself; business figures follow.
pub(crate) const TRUTH: u8 = 0;

/// The figure "an outcome of this unit counts", by the row of the unit's first.
const UNIT: u8 = u8::MAX;

/// The figure "a value was refused, since it lies beyond the bounds of the figure whose silence means something".
const OUTSIDE: u8 = u8::MAX - 1;

/// The figure of the business figure at a place.
pub(crate) fn figure_of_kpi(place: usize) -> Option<u8> {
    u8::try_from(place + 1).ok().filter(|figure| *figure < OUTSIDE)
}

/// The place of the business figure that a figure is; nothing of the others.
#[cfg(feature = "state")]
pub(crate) fn kpi_of(figure: u8) -> Option<usize> {
    (TRUTH < figure && figure < OUTSIDE).then(|| usize::from(figure) - 1)
}

/// The most bytes that outcomes that may be corrected take beside their rows: lists of relevant items.
const CORRECTABLE_BYTES_MAX: usize = 16 << 20;

/// Exposures that outcomes can still be joined to.
const INTAKES_MAX: usize = 4_096;

impl Joins {
    pub(crate) fn new(
        process: u64,
        key: SealKey,
        kind: TaskKind,
        truth: Truth,
        kpis: Arc<[Kpi]>,
        limits: JoinLimits,
        assumption: Option<Assumption>,
    ) -> Result<Self, FeedbackRefusal> {
        // A silence is settled while the bits that tell it are still there.
        let settled =
            assumption.as_ref().map_or(Duration::ZERO, |assumption| assumption.after.saturating_mul(2));
        let limits = JoinLimits { horizon: limits.horizon.max(settled), ..limits };
        let (row_thinning, pair_thinning) = (AtomicU32::new(0), AtomicU32::new(0));
        let state = Mutex::new(State::default());
        let segments = None;
        let joins = Self {
            process,
            key,
            kind,
            truth,
            kpis,
            limits,
            assumption,
            row_thinning,
            pair_thinning,
            state,
            segments,
        };
        if let Some(Assumption { actual, .. }) = &joins.assumption {
            joins.figure_of(actual)?;
        }
        Ok(joins)
    }

    /// The same, for requests that have labels.
    pub(crate) fn by_segment(self, segments: Option<Arc<Table>>) -> Self {
        Self { segments, ..self }
    }

    /// The label of a prediction's segment, where requests have any.
    pub(crate) fn segment(&self, body: &Body) -> Option<Arc<str>> {
        self.segments.as_ref().zip(body.segment).map(|(table, hash)| table.name(hash))
    }

    /// The segment that an id names, where requests have any.
    pub(crate) fn segment_at(&self, hash: u32) -> Option<Segment> {
        self.segments.as_ref().map(|table| table.at(hash))
    }

    /// Counts whether an answer was wrong in its segment, or takes it back.
    fn label_segment(
        &self,
        labels: &mut Labels,
        body: &Body,
        kept: &Kept,
        known: (&Actual, Sign),
        keyed: bool,
    ) {
        if let (Some(segment), Some(wrong)) = (self.segment(body), is_wrong(self.kind, kept, known.0)) {
            labels.segments.at(&segment).count(keyed, wrong, known.1);
        }
    }

    pub(crate) fn process(&self) -> u64 {
        self.process
    }

    pub(crate) fn key(&self) -> SealKey {
        self.key
    }

    pub(crate) fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(crate) fn kpis(&self) -> &[Kpi] {
        &self.kpis
    }

    /// How strongly rows are thinned at this moment; see [`survives`].
    #[inline]
    pub(crate) fn row_thinning(&self) -> u32 {
        self.row_thinning.load(Ordering::Relaxed) // see `maintain`
    }

    /// Whether a pair is to be kept for the prediction with this hash.
    #[inline]
    pub(crate) fn keeps_pair(&self, hash: u64) -> bool {
        // Another hash than that of the rows, or the pairs kept would be those of the lowest row hashes.
        survives(mix(hash), self.pair_thinning.load(Ordering::Relaxed)) // see `maintain`
    }

    /// Makes the outcomes of an exposure welcome.
    pub(crate) fn register(&self, exposure: u32, intake: Arc<Intake>) {
        let registered = Registered {
            intake,
            retired: None,
            #[cfg(feature = "state")]
            origin: None,
            #[cfg(feature = "fleet")]
            counts_until_retired: false,
        };
        self.state.lock().intakes.insert(exposure, registered);
    }

    /// Says that an exposure makes no predictions any more: its outcomes are waited for until the horizon.
    pub(crate) fn retire(&self, exposure: u32, now: Timestamp) {
        if let Some(registered) = self.state.lock().intakes.get_mut(&exposure) {
            registered.retired.get_or_insert(now);
        }
    }

    /// Says that an exposure made no prediction that an outcome can come for.
    pub(crate) fn forget(&self, exposure: u32) {
        self.state.lock().intakes.remove(&exposure);
    }

    /// Joins an outcome to its prediction. One of another process is handed to `forward`, which says whether it will get there.
    pub(crate) fn feedback(
        &self,
        id: &PredictionId,
        outcome: &Outcome,
        now: Timestamp,
        forward: impl FnOnce(u64) -> bool,
    ) -> FeedbackOutcome {
        let mut joined = self.join(id, outcome, now);
        // What could not count there stays where it is.
        let may_count = || id.body.row.is_some() && self.figure_of(&outcome.actual).is_ok();
        if joined == FeedbackOutcome::Elsewhere && may_count() && forward(id.body.process) {
            joined = FeedbackOutcome::Forwarded;
        }
        let counts = &mut self.state.lock().counts;
        *match joined {
            FeedbackOutcome::Counted => &mut counts.counted,
            FeedbackOutcome::Corrected => &mut counts.corrected,
            FeedbackOutcome::Repeated => &mut counts.repeated,
            FeedbackOutcome::Settled => &mut counts.settled,
            FeedbackOutcome::Outdated => &mut counts.outdated,
            FeedbackOutcome::Expired => &mut counts.expired,
            FeedbackOutcome::Thinned => &mut counts.thinned,
            FeedbackOutcome::Unknown => &mut counts.unknown,
            FeedbackOutcome::Elsewhere => &mut counts.elsewhere,
            FeedbackOutcome::Forwarded => &mut counts.forwarded,
            FeedbackOutcome::Refused(_) => &mut counts.refused,
        } += 1;
        joined
    }

    fn join(&self, id: &PredictionId, outcome: &Outcome, now: Timestamp) -> FeedbackOutcome {
        if !self.key.made(id) {
            return FeedbackOutcome::Unknown;
        }
        let state = &mut *self.state.lock();
        let body = match state.here(&id.body, self.process) {
            Ok(body) => body,
            Err(joined) => return joined,
        };
        let known_at = outcome.known_at.unwrap_or(now);
        // When an outcome became known is told by somebody else's clock: with one that is not set it is not compared.
        let comparable = body.at.is_set() || !known_at.is_set();
        let too_late = comparable && known_at.since(body.at) > self.limits.horizon;
        if too_late || state.age(&id.body, now) > self.limits.horizon {
            return FeedbackOutcome::Expired;
        }
        let figure = match self.figure_of(&outcome.actual) {
            Ok(figure) => figure,
            Err(refusal) => {
                if let (FeedbackRefusal::OutOfBounds, Actual::Kpi { name, .. }) = (refusal, &outcome.actual) {
                    self.count_outside(state, &body, name);
                    // It was said, so it is no silence. Marked as outcomes are, so that a later life of the handle knows it too.
                    if let Some(row) = body.row.filter(|_| self.is_assumed_of(name)) {
                        state.mark(PageKey::of(body.exposure, OUTSIDE, row), row, body.at);
                    }
                }
                return FeedbackOutcome::Refused(refusal);
            }
        };
        #[cfg(feature = "state")]
        if self.is_assumed(figure) && state.is_unsaved(&body) {
            // It may be among those that wait all the same, where it was answered in the moment of the save: it was not silent then.
            if let Some(row) = body.row {
                state.mark(PageKey::of(body.exposure, OUTSIDE, row), row, body.at);
            }
            return FeedbackOutcome::Expired;
        }
        let Some(row) = body.row else { return FeedbackOutcome::Thinned };
        self.count(state, &body, row, figure, &outcome.actual, (Some(known_at), now))
    }

    /// Whether an outcome of this figure is assumed where none comes.
    #[cfg(feature = "state")]
    fn is_assumed(&self, figure: u8) -> bool {
        self.assumption.as_ref().is_some_and(|assumed| self.figure_of(&assumed.actual) == Ok(figure))
    }

    /// How old predictions are on average when the first that is known of them becomes known; nothing before anything was.
    #[cfg(feature = "forecast")]
    pub(crate) fn usual_age(&self) -> Option<Duration> {
        let Ages { outcomes, seconds } = self.state.lock().ages;
        (outcomes > 0.0).then(|| Duration::try_from_secs_f64(seconds / outcomes).ok())?
    }

    /// Where an outcome counts: 0 for the truth, above it the business figures.
    pub(super) fn figure_of(&self, actual: &Actual) -> Result<u8, FeedbackRefusal> {
        match (self.kind, actual) {
            (_, Actual::Kpi { name, value }) => {
                let place = self
                    .kpis
                    .iter()
                    .position(|kpi| kpi.name() == &**name)
                    .ok_or(FeedbackRefusal::UndeclaredKpi)?;
                let bounds = self.kpis.get(place).and_then(Kpi::bounds);
                let accepted = bounds.map_or(value.is_finite(), |bounds| bounds.contains(value));
                if !accepted {
                    return Err(FeedbackRefusal::OutOfBounds);
                }
                figure_of_kpi(place).ok_or(FeedbackRefusal::UndeclaredKpi)
            }
            (TaskKind::Binary { .. }, Actual::Class(0 | 1))
            | (TaskKind::Ranking { .. }, Actual::Relevant(_)) => match actual {
                Actual::Relevant(items) if items.len() > RELEVANT_MAX => Err(FeedbackRefusal::TooManyItems),
                _ => Ok(TRUTH),
            },
            (TaskKind::Classes { classes }, Actual::Class(class)) if u32::from(*class) < classes => Ok(TRUTH),
            (TaskKind::Regression, Actual::Value(value)) if value.is_finite() => Ok(TRUTH),
            (TaskKind::Regression, Actual::Value(_)) => Err(FeedbackRefusal::OutOfBounds),
            _ => Err(FeedbackRefusal::NotOfThisTask),
        }
    }

    /// Whether an outcome of this business figure is assumed where none comes.
    fn is_assumed_of(&self, kpi: &str) -> bool {
        let assumed = self.assumption.as_ref().map(|assumption| &assumption.actual);
        matches!(assumed, Some(Actual::Kpi { name, .. }) if **name == *kpi)
    }

    /// Counts a business figure outside of its bounds. It is no value of the comparison, and what is left without it is no
    /// fair sample of what the version did, so nothing is shown by the figure.
    fn count_outside(&self, state: &State, body: &Body, name: &str) {
        let intake = state.intakes.get(&body.exposure).map(|registered| &registered.intake);
        let place = self.kpis.iter().position(|kpi| kpi.name() == name);
        let (Some(intake), Some(place)) = (intake, place) else { return };
        let keyed = body.flags.has(Flags::KEYED);
        intake.count_label(body.at, |labels| {
            let arm = if keyed { &mut labels.keys } else { &mut labels.requests };
            arm.count_outside(place);
        });
    }

    fn count(
        &self,
        state: &mut State,
        body: &Body,
        row: u64,
        figure: u8,
        actual: &Actual,
        (known, now): (Option<Timestamp>, Timestamp),
    ) -> FeedbackOutcome {
        // Whatever is told became known later than what nobody has told.
        let (known_at, assumed) = (known.unwrap_or_default(), known.is_none());
        let Some(intake) = state.intakes.get(&body.exposure).map(|registered| Arc::clone(&registered.intake))
        else {
            return FeedbackOutcome::Expired;
        };
        let key = (body.exposure, body.sequence);
        if state.mark(PageKey::of(body.exposure, figure, row), row, body.at) {
            return if figure == TRUTH {
                self.correct(state, (key, figure), actual, known_at, &intake)
            } else {
                self.replace_assumed(state, (key, figure), actual, &intake)
            };
        }
        let age = state.age(body, now);
        state.ages.see(age);
        let joint = body.flags.has(Flags::JOINT);
        let first_of_unit = if joint {
            !state.mark(PageKey::of(body.exposure, UNIT, body.unit), body.unit, body.at)
        } else {
            let mut others = (0..=self.kpis.len() as u8).filter(|other| *other != figure);
            !others.any(|other| state.is_marked(PageKey::of(body.exposure, other, row), row))
        };
        self.record(&intake, &body.kept, figure, actual, Sign::Plus, first_of_unit);
        let labelled = self.count_label(&intake, body, figure, actual);
        let shadows = if figure == TRUTH {
            self.pair_with_outcome(state, body, actual, !joint || first_of_unit)
        } else {
            Vec::new()
        };
        if figure == TRUTH || assumed {
            let (body, actual, counted_at) = (*body, actual.clone(), now);
            let (is_earlier, unsaved, is_written) = (false, true, false);
            let correctable = Correctable {
                body,
                actual,
                known_at,
                counted_at,
                assumed,
                labelled,
                shadows,
                is_earlier,
                unsaved,
                is_written,
            };
            state.remember((key, figure), correctable, &self.limits);
        }
        FeedbackOutcome::Counted
    }

    fn record(
        &self,
        intake: &Intake,
        kept: &Kept,
        figure: u8,
        actual: &Actual,
        sign: Sign,
        first_of_unit: bool,
    ) {
        intake.count(|tally| {
            match actual {
                Actual::Kpi { value, .. } => {
                    tally.record_kpi(usize::from(figure.saturating_sub(1)), *value, sign)
                }
                _ => tally.record_outcome(kept, actual, sign),
            }
            if first_of_unit {
                tally.count_labelled_unit();
            }
        });
    }

    /// Counts the outcome of a unit as evidence: of a request without a key or the first of one that stays together, or of
    /// the first of a key.
    fn count_label(&self, intake: &Intake, body: &Body, figure: u8, actual: &Actual) -> Option<Place> {
        // What a version failed on and another answered has no counterpart among live's: a caller that got no answer has no
        // id. So what came of it is no evidence, for either arm.
        if !body.is_unit() || body.kept == Kept::Unreadable || body.flags.has(Flags::HIDDEN) {
            return None;
        }
        intake.count_label(body.at, |labels| self.label(labels, body, figure, (actual, Sign::Plus)))
    }

    /// Counts the outcome of a unit for the arm that answered it, or takes it back.
    fn label(&self, labels: &mut Labels, body: &Body, figure: u8, (actual, sign): (&Actual, Sign)) {
        let keyed = body.flags.has(Flags::KEYED);
        let arm = if keyed { &mut labels.keys } else { &mut labels.requests };
        match actual {
            Actual::Kpi { value, .. } => {
                let place = usize::from(figure.saturating_sub(1));
                if let Some(kpi) = self.kpis.get(place) {
                    arm.count_kpi(place, kpi, *value, sign, body.chance());
                }
            }
            _ => {
                arm.count(self.kind, &body.kept, actual, sign, body.chance());
                self.label_segment(labels, body, &body.kept, (actual, sign), keyed);
            }
        }
    }

    /// A second value of a business figure for the same prediction. What is told takes the place of what was assumed, once; what was told stands.
    fn replace_assumed(
        &self,
        state: &mut State,
        known: Known,
        actual: &Actual,
        intake: &Intake,
    ) -> FeedbackOutcome {
        let Some(assumed) = state.forget_correctable(&known) else { return FeedbackOutcome::Settled };
        if assumed.actual == *actual {
            return FeedbackOutcome::Repeated;
        }
        let (body, figure) = (&assumed.body, known.1);
        let outcomes = [(&assumed.actual, Sign::Minus), (actual, Sign::Plus)];
        for (outcome, sign) in outcomes.into_iter().filter(|_| !assumed.is_earlier) {
            self.record(intake, &body.kept, figure, outcome, sign, false);
        }
        if let Some(place) = assumed.labelled {
            intake.correct_label(place, |labels| {
                outcomes.into_iter().for_each(|known| self.label(labels, body, figure, known));
            });
        }
        FeedbackOutcome::Corrected
    }

    /// A second outcome for the same prediction. Of two, that which became known later is the truth, whichever came last;
    /// of two that became known at one moment, the last to come.
    fn correct(
        &self,
        state: &mut State,
        known: Known,
        actual: &Actual,
        known_at: Timestamp,
        intake: &Intake,
    ) -> FeedbackOutcome {
        let Some(earlier) = state.correctable.get_mut(&known) else { return FeedbackOutcome::Settled };
        let is_same = earlier.actual == *actual;
        if !is_same && known_at < earlier.known_at {
            return FeedbackOutcome::Outdated;
        }
        let earlier = Arc::make_mut(earlier);
        (earlier.known_at, earlier.assumed) = (earlier.known_at.max(known_at), false);
        earlier.unsaved = true;
        if is_same {
            return FeedbackOutcome::Repeated;
        }
        let body = &earlier.body;
        let outcomes = [(&earlier.actual, Sign::Minus), (actual, Sign::Plus)];
        for (outcome, sign) in outcomes.into_iter().filter(|_| !earlier.is_earlier) {
            self.record(intake, &body.kept, TRUTH, outcome, sign, false);
            for shadow in &earlier.shadows {
                self.record_pair(shadow, &body.kept, outcome, sign, false);
            }
        }
        let (kind, chance) = (self.kind, body.chance());
        if let Some(place) = earlier.labelled {
            intake.correct_label(place, |labels| {
                outcomes.into_iter().for_each(|known| self.label(labels, body, TRUTH, known));
            });
        }
        for shadow in &earlier.shadows {
            let (own, pair) = shadow.labelled;
            if let Some(place) = own {
                shadow.own.correct_label(place, |labels| {
                    let arm = &mut labels.requests;
                    outcomes
                        .iter()
                        .for_each(|(outcome, sign)| arm.count(kind, &shadow.kept, outcome, *sign, chance));
                    outcomes
                        .iter()
                        .for_each(|known| self.label_segment(labels, body, &shadow.kept, *known, false));
                });
            }
            if let Some(place) = pair {
                shadow.pairs.correct_label(place, |labels| {
                    for (outcome, sign) in outcomes {
                        self.label_pair(labels, body, shadow, outcome, sign);
                    }
                });
            }
        }
        let bytes = state.correctable_bytes + actual.bytes() - earlier.actual.bytes();
        if bytes > CORRECTABLE_BYTES_MAX {
            // There is no room for it beside the others: it counts, and is the last word.
            state.settle_for_room(&known);
        } else {
            state.correctable_bytes = bytes;
            earlier.actual = actual.clone();
        }
        // Shadows whose turn is to come meet the corrected outcome.
        if let Some(Pair::Known(waiting, ..)) = state.pairs.get_mut(&known.0) {
            *waiting = actual.clone();
        }
        FeedbackOutcome::Corrected
    }

    /// The outcome of a shadowed prediction counts for the shadows too, if the truth does not depend on the answer.
    /// Returns the shadows it counted for.
    fn pair_with_outcome(
        &self,
        state: &mut State,
        body: &Body,
        actual: &Actual,
        first_of_unit: bool,
    ) -> Vec<ShadowHalf> {
        if !body.flags.has(Flags::SHADOWED) || matches!(self.truth, Truth::CausedByAnswer) {
            return Vec::new();
        }
        let key = (body.exposure, body.sequence);
        match state.pairs.remove(&key) {
            Some(Pair::Answered(_, mut halves)) => {
                self.judge_pairs(&mut halves, body, actual, first_of_unit);
                halves
            }
            // The shadows have not had their turn. (An outcome that is known already cannot come here again.)
            Some(Pair::Known(..)) | None => {
                let known = Pair::Known(actual.clone(), first_of_unit);
                state.keep_pair(key, known, body.at, self.limits.pairs_max);
                Vec::new()
            }
        }
    }

    /// Counts an outcome for pairs, as figures and as evidence.
    fn judge_pairs(&self, halves: &mut [ShadowHalf], body: &Body, actual: &Actual, first_of_unit: bool) {
        for half in halves {
            self.record_pair(half, &body.kept, actual, Sign::Plus, first_of_unit);
            if !half.unit {
                continue;
            }
            let (kind, chance) = (self.kind, body.chance());
            let own = half.own.count_label(body.at, |labels| {
                labels.requests.count(kind, &half.kept, actual, Sign::Plus, chance);
                self.label_segment(labels, body, &half.kept, (actual, Sign::Plus), false);
            });
            let pair = half.pairs.count_label(body.at, |labels| {
                self.label_pair(labels, body, half, actual, Sign::Plus);
            });
            half.labelled = (own, pair);
        }
    }

    /// Counts who of a pair was right as evidence, or takes that back. Of a prediction whose truth is hidden, only what
    /// was let through by chance counts.
    fn label_pair(&self, labels: &mut Labels, body: &Body, half: &ShadowHalf, actual: &Actual, sign: Sign) {
        let pair = half.pair(&body.kept);
        if !body.flags.has(Flags::HIDDEN) {
            labels.pairs.count(self.kind, pair, actual, sign, body.chance());
            let wrong = |kept| is_wrong(self.kind, kept, actual);
            if let (Some(segment), Some(live), Some(candidate)) =
                (self.segment(body), wrong(pair.0), wrong(pair.1))
            {
                labels.segments.at(&segment).pairs.record(live, candidate, sign);
            }
        } else if body.flags.has(Flags::EXPLORED) && !decided_alike(self.kind, pair) {
            labels.pairs.count_explored(self.kind, pair, actual, sign);
        }
    }

    /// Counts an outcome for both halves of a pair: the shadow's own quality, and who of the two was right.
    fn record_pair(
        &self,
        half: &ShadowHalf,
        answered: &Kept,
        actual: &Actual,
        sign: Sign,
        first_of_unit: bool,
    ) {
        let (live, candidate) = half.pair(answered);
        half.own.count(|tally| {
            tally.record_outcome(&half.kept, actual, sign);
            if first_of_unit {
                tally.count_labelled_unit();
            }
        });
        if let Some(label) = PairedLabel::of(self.kind, live, candidate, actual) {
            half.pairs.judged(|divergence| divergence.record_label(label, sign));
        }
    }

    /// The shadows of a request have had their turn: their halves wait for the outcome, or meet it. A failure is an
    /// answer, and a wrong one; no halves at all mean that nobody will answer any more.
    pub(crate) fn shadows_answered(&self, body: &Body, mut halves: Vec<ShadowHalf>) {
        self.count_hidden(body, &halves);
        // One whose pair was thinned out has no flag, and its outcome will not look for the halves.
        let awaited = body.flags.has(Flags::SHADOWED);
        if !awaited
            || matches!(self.truth, Truth::CausedByAnswer)
            || matches!(self.kind, TaskKind::Unlabelled)
        {
            return;
        }
        let key = (body.exposure, body.sequence);
        let state = &mut *self.state.lock();
        if let Some(Pair::Known(actual, first_of_unit)) = state.pairs.remove(&key) {
            self.judge_pairs(&mut halves, body, &actual, first_of_unit);
            if let Some(correctable) = state.correctable.get_mut(&(key, TRUTH)) {
                let correctable = Arc::make_mut(correctable);
                (correctable.shadows, correctable.unsaved) = (halves, true);
            }
        } else if !halves.is_empty() {
            let pair = Pair::Answered(body.row, halves);
            state.keep_pair(key, pair, body.at, self.limits.pairs_max);
        }
    }

    /// Counts the pairs of a prediction whose truth nobody will ever know.
    fn count_hidden(&self, body: &Body, halves: &[ShadowHalf]) {
        if !body.flags.has(Flags::HIDDEN) {
            return;
        }
        for half in halves.iter().filter(|half| half.unit) {
            let alike = decided_alike(self.kind, half.pair(&body.kept));
            if alike || !body.flags.has(Flags::EXPLORED) {
                half.pairs.count_label(body.at, |labels| labels.pairs.count_hidden(alike));
            }
        }
    }

    /// Takes over the predictions whose silence will mean something.
    pub(crate) fn await_outcomes(&self, awaited: impl IntoIterator<Item = Awaited>) {
        let state = &mut *self.state.lock();
        let before = state.awaiting.len();
        state.awaiting.extend(awaited);
        if let Some(unsaved) = &mut state.unsaved {
            unsaved.awaiting += state.awaiting.len() - before;
        }
    }

    /// Whether silence is settled of some that were predicted within this time.
    pub(crate) fn settles_within(&self, time: Duration) -> bool {
        self.assumption.as_ref().is_some_and(|assumption| assumption.after <= time)
    }

    /// Assumes the outcomes that are due. Whether any were.
    pub(crate) fn settle_silence(&self, now: Timestamp) -> bool {
        let state = &mut *self.state.lock();
        let before = state.awaiting.len();
        self.assume(state, now);
        state.awaiting.len() < before
    }

    /// Forgets what lies beyond the horizon, and sets how strongly what comes is thinned. `issued` is how many bits the outcomes of what came since the last time may take, of each figure.
    pub(crate) fn maintain(&self, issued: u64, now: Timestamp) {
        let state = &mut *self.state.lock();
        state.forget(now, &self.limits);
        state.issued.add(issued, now, self.limits.horizon);

        let assumed = self.assumption.as_ref().map(|assumption| &assumption.actual);
        let figures = 1 + self.kpis.len() + usize::from(matches!(assumed, Some(Actual::Kpi { .. })));
        let capacity = ((self.limits.bitmap_bytes_max as u64).saturating_mul(8) / figures as u64).max(1);
        let mut thinning = thinning_for(state.issued.total(), capacity);
        if self.assumption.is_some() {
            thinning =
                thinning.max(thinning_for(state.awaiting.len() as u64, self.limits.awaiting_max as u64));
        }
        // Relaxed, both: a request that still reads the old strength is thinned by it; its id says what it got.
        self.row_thinning.store(thinning, Ordering::Relaxed);
        let pairs = thinning_for(state.pairs.len() as u64, self.limits.pairs_max as u64);
        self.pair_thinning.store(pairs, Ordering::Relaxed);
    }

    fn assume(&self, state: &mut State, now: Timestamp) {
        let Some(Assumption { after, actual }) = &self.assumption else { return };
        let Ok(figure) = self.figure_of(actual) else { return };
        let is_due = |awaited: &Awaited| now.since(awaited.at) >= *after;
        while state.awaiting.front().is_some_and(is_due) {
            let Some(awaited) = state.awaiting.pop_front() else { return };
            let Awaited { exposure, sequence, row, unit, at, kept, keyed, counts, hidden, segment } = awaited;
            // What was shadowed was not yet decided when the wait began; by now the halves are there.
            let shadowed = state.pairs.contains_key(&(exposure, sequence));
            let flags = Flags::default()
                .with(Flags::JOINT, unit.is_some())
                .with(Flags::SHADOWED, shadowed)
                .with(Flags::KEYED, keyed)
                .with(Flags::COUNTS, counts)
                .with(Flags::HIDDEN, hidden)
                // What hides its truth waits for one only where it was let through by chance.
                .with(Flags::EXPLORED, hidden);
            let body = Body {
                process: self.process,
                exposure,
                sequence,
                unit: unit.unwrap_or(row),
                row: Some(row),
                at,
                share: crate::base::share::Share::NONE,
                flags,
                kept,
                segment,
            };
            let said = |figure| state.is_marked(PageKey::of(exposure, figure, row), row);
            let silent = !said(figure) && !said(OUTSIDE);
            if silent
                && self.count(state, &body, row, figure, actual, (None, now)) == FeedbackOutcome::Counted
            {
                state.counts.assumed += 1;
            }
        }
    }

    /// Returns the counts that `status()` shows.
    pub(crate) fn counts(&self) -> FeedbackCounts {
        let state = self.state.lock();
        FeedbackCounts {
            awaiting: state.awaiting.len() as u64,
            pairs_waiting: state.pairs.len() as u64,
            correctable: state.correctable.len() as u64,
            bitmap_bytes: (state.pages.len() * PAGE_ROWS / 8) as u64,
            one_in: 1 << self.row_thinning().min(63),
            ..state.counts
        }
    }
}

impl State {
    /// Reads what an id says, in the numbers of this life of the handle.
    fn here(&self, body: &Body, process: u64) -> Result<Body, FeedbackOutcome> {
        #[cfg(feature = "fleet")]
        if self.handed_over {
            return Err(FeedbackOutcome::Elsewhere);
        }
        if body.process == process {
            return Ok(*body);
        }
        match self.earlier.get(&(body.process, body.exposure)) {
            #[cfg(feature = "fleet")]
            Some(exposure) if self.is_beyond(*exposure, body) => Err(FeedbackOutcome::Elsewhere),
            Some(exposure) => Ok(Body { process, exposure: *exposure, at: self.moment(body), ..*body }),
            None if self.earlier.keys().any(|(life, _)| *life == body.process) => {
                Err(FeedbackOutcome::Expired)
            }
            // Its seal is that of this key.
            None => Err(FeedbackOutcome::Elsewhere),
        }
    }

    /// Whether a prediction was made after its process had handed over all that it had counted.
    #[cfg(feature = "fleet")]
    fn is_beyond(&self, exposure: u32, body: &Body) -> bool {
        self.intakes.get(&exposure).is_some_and(|registered| {
            registered.counts_until_retired && registered.retired.is_some_and(|until| body.at > until)
        })
    }

    /// Whether a prediction was made after its life of the handle was saved the last time. That it waits for its silence is not known then, so
    /// of all such predictions those alone would count that somebody says something of.
    #[cfg(feature = "state")]
    fn is_unsaved(&self, body: &Body) -> bool {
        self.intakes.get(&body.exposure).is_some_and(|registered| {
            registered.origin.is_some() && registered.retired.is_some_and(|until| body.at > until)
        })
    }

    /// How long ago a prediction was made, in whichever life of the handle.
    fn age(&self, body: &Body, now: Timestamp) -> Duration {
        #[cfg(feature = "state")]
        if let Some(shift) = self.shifts.get(&body.process) {
            return shift.age(body.at, now);
        }
        now.since(body.at)
    }

    /// When a prediction was made, on the time line of this life.
    fn moment(&self, body: &Body) -> Timestamp {
        #[cfg(feature = "state")]
        if let Some(shift) = self.shifts.get(&body.process) {
            return shift.of(body.at);
        }
        body.at
    }

    /// Sets a bit; whether it was set before.
    fn mark(&mut self, key: PageKey, row: u64, at: Timestamp) -> bool {
        let page = self.pages.entry(key).or_insert_with(Page::new);
        page.newest = page.newest.max(at);
        page.unsaved = true;
        let (word, bit) = place_of(row);
        Arc::make_mut(&mut page.bits).get_mut(word).is_some_and(|word| {
            let was = *word & bit != 0;
            *word |= bit;
            was
        })
    }

    pub(crate) fn is_marked(&self, key: PageKey, row: u64) -> bool {
        let (word, bit) = place_of(row);
        self.pages.get(&key).and_then(|page| page.bits.get(word)).is_some_and(|word| word & bit != 0)
    }

    fn remember(&mut self, known: Known, outcome: Correctable, limits: &JoinLimits) {
        if limits.correction.is_zero() {
            return;
        }
        let (bytes, assumed, counted_at) = (outcome.actual.bytes(), outcome.assumed, outcome.counted_at);
        while self.correctable.len() >= limits.correctable_max
            || self.correctable_bytes + bytes > CORRECTABLE_BYTES_MAX
        {
            if !self.let_go_of_one(assumed) {
                self.counts.uncorrectable += 1;
                return;
            }
        }
        self.insert_correctable(known, outcome);
        let order = if assumed { &mut self.assumed_order } else { &mut self.correctable_order };
        order.push_back((counted_at, known));
        // Those that had no room any more once they were corrected leave their place in the order behind.
        if order.len() > 2 * limits.correctable_max {
            order.retain(|(_, known)| self.correctable.contains_key(known));
        }
    }

    /// Makes room for an outcome that may be corrected: the oldest goes that nobody has told, and only for one that was told the oldest of
    /// those that were. Whether any has gone.
    fn let_go_of_one(&mut self, for_assumed: bool) -> bool {
        while let Some((at, known)) = self.assumed_order.pop_front() {
            match self.correctable.get(&known) {
                Some(outcome) if outcome.assumed => return self.settle_for_room(&known),
                // It was told meanwhile, and belongs among those that were told: they go, and are over, by their moments.
                Some(_) => {
                    let place = self.correctable_order.partition_point(|(other, _)| *other <= at);
                    self.correctable_order.insert(place, (at, known));
                }
                None => {}
            }
        }
        while let Some((_, known)) = pop_front_if(&mut self.correctable_order, |_| !for_assumed) {
            if self.settle_for_room(&known) {
                return true;
            }
        }
        false
    }

    fn settle_for_room(&mut self, known: &Known) -> bool {
        let was_there = self.forget_correctable(known).is_some();
        self.counts.uncorrectable += u64::from(was_there);
        was_there
    }

    fn insert_correctable(&mut self, known: Known, outcome: Correctable) {
        self.correctable_bytes += outcome.actual.bytes();
        self.correctable.insert(known, Arc::new(outcome));
    }

    fn forget_correctable(&mut self, known: &Known) -> Option<Arc<Correctable>> {
        let outcome = self.correctable.remove(known)?;
        self.correctable_bytes -= outcome.actual.bytes();
        if let (Some(unsaved), true) = (&mut self.unsaved, outcome.is_written) {
            unsaved.settled.push(*known);
        }
        Some(outcome)
    }

    /// Goes on with outcomes that another life of the handle, or another process, has counted. Of all that are then there those stay that may
    /// be corrected, as far as there is room.
    #[cfg(feature = "state")]
    pub(super) fn go_on_correcting(
        &mut self,
        outcomes: impl Iterator<Item = (Known, Correctable)>,
        limits: &JoinLimits,
    ) {
        for (known, outcome) in outcomes.filter(|_| !limits.correction.is_zero()) {
            let order = if outcome.assumed { &mut self.assumed_order } else { &mut self.correctable_order };
            order.push_back((outcome.counted_at, known));
            self.insert_correctable(known, outcome);
        }
        for order in [&mut self.correctable_order, &mut self.assumed_order] {
            order.make_contiguous().sort_by_key(|(at, _)| *at);
        }
        while (self.correctable.len() > limits.correctable_max
            || self.correctable_bytes > CORRECTABLE_BYTES_MAX)
            && self.let_go_of_one(false)
        {}
    }

    pub(crate) fn keep_pair(&mut self, key: Key, pair: Pair, at: Timestamp, max: usize) {
        if self.pairs.len() >= max {
            self.counts.pairs_expired += 1;
            return;
        }
        if let (Some(unsaved), Pair::Answered(..)) = (&mut self.unsaved, &pair) {
            unsaved.pairs.push(key);
            // Where nothing is saved for long, those that met their outcome meanwhile are swept away.
            if unsaved.pairs.len() > 2 * max {
                unsaved.pairs.retain(|key| self.pairs.contains_key(key));
            }
        }
        self.pairs.insert(key, pair);
        self.pair_order.push_back((at, key));
        // Pairs that met their outcome leave their place in the order behind.
        if self.pair_order.len() > 2 * max {
            self.pair_order.retain(|(_, key)| self.pairs.contains_key(key));
        }
    }

    pub(crate) fn forget(&mut self, now: Timestamp, limits: &JoinLimits) {
        let is_over = |(at, _): &(Timestamp, Known)| now.since(*at) > limits.correction;
        while let Some((_, known)) = pop_front_if(&mut self.correctable_order, is_over)
            .or_else(|| pop_front_if(&mut self.assumed_order, is_over))
        {
            self.forget_correctable(&known);
        }
        while let Some((_, key)) =
            pop_front_if(&mut self.pair_order, |(at, _)| now.since(*at) > limits.horizon)
        {
            if self.pairs.remove(&key).is_some() {
                self.counts.pairs_expired += 1;
            }
        }
        let over = |at: Timestamp| now.since(at) > limits.horizon;
        self.intakes.retain(|_, registered| !registered.retired.is_some_and(over));
        let surplus = self.intakes.len().saturating_sub(INTAKES_MAX);
        if surplus > 0 {
            // Those that made no prediction for the longest time, whatever their numbers: each life of the handle begins with
            // the lowest. One that still makes some is never among them.
            let mut retired: Vec<_> = self
                .intakes
                .iter()
                .filter_map(|(number, registered)| Some((registered.retired?, registered.is_new(), *number)))
                .collect();
            retired.sort_unstable();
            for (_, _, number) in retired.into_iter().take(surplus) {
                self.intakes.remove(&number);
                self.counts.exposures_forgotten += 1;
            }
        }
        self.pages.retain(|key, page| !over(page.newest) && self.intakes.contains_key(&key.exposure));
        self.earlier.retain(|_, exposure| self.intakes.contains_key(exposure));
        #[cfg(feature = "state")]
        self.shifts.retain(|life, _| self.earlier.keys().any(|(of, _)| of == life));
    }
}

impl Issued {
    /// How many nanoseconds a slot is wide.
    fn width(horizon: Duration) -> u64 {
        u64::try_from(horizon.as_nanos() / 64).unwrap_or(u64::MAX).max(1)
    }

    fn add(&mut self, rows: u64, now: Timestamp, horizon: Duration) {
        let slot = now.unix_nanos() / Self::width(horizon);
        self.slots.retain(|(at, _)| at.saturating_add(64) >= slot);
        match self.slots.back_mut() {
            Some((at, count)) if *at == slot => *count += rows,
            _ => self.slots.push_back((slot, rows)),
        }
    }

    /// The bits of each slot, by when it began: how wide a slot is follows from an option.
    #[cfg(feature = "state")]
    pub(crate) fn saved(&self, horizon: Duration) -> Vec<(Timestamp, u64)> {
        let began = |slot: u64| Timestamp::from_unix_nanos(slot.saturating_mul(Self::width(horizon)));
        self.slots.iter().map(|(slot, rows)| (began(*slot), *rows)).collect()
    }

    /// Adds bits that another life has promised, or another process. None of them lies ahead of now.
    #[cfg(feature = "state")]
    pub(crate) fn merge(
        &mut self,
        others: impl Iterator<Item = (Timestamp, u64)>,
        now: Timestamp,
        horizon: Duration,
    ) {
        let slot_of = |at: Timestamp| at.unix_nanos() / Self::width(horizon);
        let mut slots: OrderedMap<u64, u64> = self.slots.drain(..).collect();
        for (slot, rows) in others.map(|(began, rows)| (slot_of(began.min(now)), rows)) {
            let all = slots.entry(slot).or_default();
            *all = all.saturating_add(rows);
        }
        self.slots = slots.into_iter().collect();
    }

    fn total(&self) -> u64 {
        self.slots.iter().fold(0, |sum, (_, rows)| sum.saturating_add(*rows))
    }
}

/// `VecDeque::pop_front_if`, which needs Rust 1.93.
fn pop_front_if<T>(queue: &mut VecDeque<T>, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
    queue.front().is_some_and(wanted).then(|| queue.pop_front()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 11. Bug: a pair that met its outcome left its place in the order of expiry behind for the whole horizon,
    /// so the order grew with the traffic of a week. Fix: places left behind are swept away.
    #[test]
    fn the_order_in_which_pairs_expire_is_as_bounded_as_the_pairs() {
        let mut state = State::default();
        for sequence in 0..1_000 {
            let key = (0, sequence);
            state.keep_pair(key, Pair::Answered(None, Vec::new()), Timestamp::default(), 8);
            assert!(state.pair_order.len() <= 16, "{}", state.pair_order.len());
            if sequence % 3 != 0 || state.pairs.len() > 6 {
                state.pairs.remove(&key);
            }
        }
        assert!(state.pairs.len() > 4);
    }

    /// A silence is settled while the bits that would tell it from an outcome are kept, whatever the horizon says.
    #[test]
    fn outcomes_are_waited_for_longer_than_silence() {
        let after = Duration::from_secs(100);
        let limits = JoinLimits { horizon: Duration::from_secs(10), ..JoinLimits::default() };
        let assumption = Some(Assumption { after, actual: Actual::Class(0) });
        let kind = TaskKind::Binary { threshold: 0.5 };
        let key = SealKey::new([1; 16]);
        let joins = Joins::new(1, key, kind, Truth::Independent, Arc::from([]), limits, assumption).unwrap();
        assert_eq!(joins.limits.horizon, 2 * after);
    }

    /// Of more exposures than are remembered those go that ended first: not those with the lowest numbers, which after a start
    /// are the newest, nor any that is in use. Each is counted.
    #[test]
    fn the_exposures_that_are_forgotten_are_those_that_ended_first() {
        use crate::stats::evidence::waiting::Maturity;
        let at = |second: u64| Timestamp::from_unix_seconds(1_700_000_000 + second);
        let mut state = State::default();
        let intake = || Arc::new(Intake::new(TaskKind::Regression, 0, Maturity::AsTheyCome));
        let register = |state: &mut State, number: u32, retired: Option<u64>| {
            let registered = Registered {
                intake: intake(),
                retired: retired.map(at),
                #[cfg(feature = "state")]
                origin: None,
                #[cfg(feature = "fleet")]
                counts_until_retired: false,
            };
            state.intakes.insert(number, registered);
        };
        // This life's own, which was given the lowest numbers.
        register(&mut state, 0, None);
        register(&mut state, 1, Some(90_000));
        // Those of earlier lives, the oldest first.
        (2..INTAKES_MAX as u32 + 10).for_each(|number| register(&mut state, number, Some(u64::from(number))));
        state.forget(at(90_001), &JoinLimits::default());
        let kept: Vec<u32> = state.intakes.keys().copied().collect();
        assert_eq!(kept.len(), INTAKES_MAX);
        assert_eq!(kept.iter().take(3).copied().collect::<Vec<_>>(), [0, 1, 12]);
        assert_eq!(state.counts.exposures_forgotten, 10);
    }
}

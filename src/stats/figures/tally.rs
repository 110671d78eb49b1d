//! Tallies: the counts of one stripe, of one slot of a window, or of everything since an arm's start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fixed::{Moments, ratio, seen};
use super::kpi::{KpiFigures, KpiTally};
use super::latency::{Latency, LatencyFigures};
use super::quality::calibration::bin;
use super::quality::metric::{Measured, Metric};
use super::quality::{Misfit, Quality, QualityFigures};
use crate::model::error::ErrorKind;
use crate::task::kept::Kept;
use crate::task::kpi::Kpi;
use crate::task::outcome::Actual;
use crate::task::task::TaskKind;

pub(crate) use super::fixed::Sign;

/// The counts of an arm. Every number in it is an integer that is only added to, so tallies merge in any order, and
/// over any number of stripes, bit for bit into what one thread would have counted.
///
/// Evidence follows the version that was *assigned*: a request that failed and was answered by another arm is a failure
/// here and a [substitute](Self::record_substitute) there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    kind: TaskKind,
    counted: Counted,
    latency: Latency,
    queue: Latency,
    scores: Scores,
    /// Made by the first outcome: stripes have none.
    quality: Option<Box<Quality>>,
    kpis: Vec<KpiTally>,
}

impl Tally {
    /// A tally for keeping, some 700 bytes for a start, more as there is more to tell apart.
    pub(crate) fn new(kind: TaskKind, kpis: usize) -> Self {
        Self {
            kind,
            counted: Counted::default(),
            latency: Latency::compact(),
            queue: Latency::compact(),
            scores: Scores::of(kind),
            quality: None,
            kpis: vec![KpiTally::default(); kpis],
        }
    }

    /// A tally for recording requests, of 17 KiB: [`record_request`](Self::record_request) allocates nothing in it.
    pub(crate) fn recording(kind: TaskKind, kpis: usize) -> Self {
        Self { latency: Latency::recording(), ..Self::new(kind, kpis) }
    }

    /// Counts a request that was assigned to the arm: what is kept of its answer, or how it failed, and how long it took.
    ///
    /// A request refused because of its input ([`ErrorKind::Input`]) has no latency, since the model did not see it. Any
    /// other failure has one: leaving out those that ran into a deadline would flatter the arm.
    #[inline]
    pub(crate) fn record_request(
        &mut self,
        result: Result<&Kept, ErrorKind>,
        latency_nanos: u64,
        joins_unit: bool,
    ) {
        self.counted.requests += 1;
        self.counted.units += u64::from(!joins_unit);
        match result {
            Ok(kept) => self.scores.count(kept),
            Err(kind) => {
                self.counted.errors[kind.index()] += 1;
                if matches!(kind, ErrorKind::Input) {
                    return;
                }
            }
        }
        self.latency.record(latency_nanos);
    }

    /// Counts a request of which the arm got a copy, and whose answer was thrown away.
    pub(crate) fn record_shadow(
        &mut self,
        result: Result<&Kept, ErrorKind>,
        latency_nanos: u64,
        joins_unit: bool,
    ) {
        self.counted.shadowed += 1;
        self.record_request(result, latency_nanos, joins_unit);
    }

    /// Counts how long a copied request waited for its turn. Not for the request path: it may allocate.
    pub(crate) fn record_queue_time(&mut self, nanos: u64) {
        self.counted.noted += 1;
        self.queue.record(nanos);
    }

    /// Counts a request of this arm that failed and that live answered in its place; the failure itself is
    /// [a request](Self::record_request).
    pub(crate) fn record_fallback(&mut self) {
        self.counted.noted += 1;
        self.counted.fallbacks += 1;
    }

    /// Counts a request of another arm that this one answered in its place, or failed to. It is in no comparison: its
    /// requests were chosen by the other's failing.
    pub(crate) fn record_substitute(&mut self, answered: bool) {
        self.counted.noted += 1;
        self.counted.substitutes += 1;
        self.counted.substitutes_failed += u64::from(!answered);
    }

    /// Counts requests that belong to a candidate and that this arm was assigned, because the candidate has lost its
    /// exposure: nobody judges it any more, or it fails on everything.
    pub(crate) fn record_withheld(&mut self, requests: u64) {
        self.counted.noted += requests;
        self.counted.withheld += requests;
    }

    /// Counts a prediction whose truth will never be known because of what was answered.
    pub(crate) fn count_censored(&mut self) {
        self.counted.noted += 1;
        self.counted.censored += 1;
    }

    /// Counts the truth of a prediction, or takes it back. One that does not fit the task counts as refused only.
    pub(crate) fn record_outcome(&mut self, kept: &Kept, actual: &Actual, sign: Sign) {
        self.counted.noted += 1;
        match self.try_record_outcome(kept, actual, sign) {
            Ok(()) => self.counted.outcomes += sign.unit(),
            Err(_) => self.counted.refused += 1,
        }
    }

    fn try_record_outcome(&mut self, kept: &Kept, actual: &Actual, sign: Sign) -> Result<(), Misfit> {
        let kind = self.kind;
        self.quality.get_or_insert_with(|| Box::new(Quality::new(kind))).record(kept, actual, sign)
    }

    /// Counts a value of the `kpi`-th business figure, or takes it back. One that is no number, or of a figure that was
    /// not declared, counts as refused only.
    pub(crate) fn record_kpi(&mut self, kpi: usize, value: f64, sign: Sign) {
        self.counted.noted += 1;
        if !self.kpis.get_mut(kpi).is_some_and(|kpi| kpi.record(value, sign)) {
            self.counted.refused += 1;
        }
    }

    /// Counts a unit of which the first truth is known.
    pub(crate) fn count_labelled_unit(&mut self) {
        self.counted.noted += 1;
        self.counted.labelled_units += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.counted.merge(&other.counted);
        self.latency.merge(&other.latency);
        self.queue.merge(&other.queue);
        self.scores.merge(&other.scores);
        match (&mut self.quality, &other.quality) {
            (Some(own), Some(other)) => own.merge(other),
            (own @ None, Some(other)) => *own = Some(other.clone()),
            (_, None) => {}
        }
        for (own, other) in self.kpis.iter_mut().zip(&other.kpis) {
            own.merge(other);
        }
    }

    /// Forgets all counts. What is allocated for requests is kept.
    pub(crate) fn reset(&mut self) {
        if self.is_empty() {
            return;
        }
        self.counted = Counted::default();
        self.latency.reset();
        self.queue.reset();
        self.scores.reset();
        self.quality = None;
        self.kpis.fill(KpiTally::default());
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.counted.requests == 0 && self.counted.noted == 0
    }

    #[cfg(feature = "forecast")]
    pub(crate) fn kind(&self) -> TaskKind {
        self.kind
    }

    /// Requests that were assigned to the arm, copies that it got as a shadow included.
    pub(crate) fn requests(&self) -> u64 {
        self.counted.requests
    }

    /// Requests among them that were not copies.
    pub(crate) fn answered_for_callers(&self) -> u64 {
        self.counted.requests - self.counted.shadowed.min(self.counted.requests)
    }

    /// Units of analysis among them: a pinned stream or a joint batch counts once.
    pub(crate) fn units(&self) -> u64 {
        self.counted.units
    }

    pub(crate) fn errors(&self, kind: ErrorKind) -> u64 {
        self.counted.errors[kind.index()]
    }

    /// Failures that are the version's own, of the requests that it is answerable for: all but those refused because of
    /// their input.
    pub(crate) fn error_rate(&self) -> Proportion {
        let input = self.errors(ErrorKind::Input);
        Proportion {
            part: self.counted.errors.iter().sum::<u64>() - input,
            whole: self.counted.requests - input.min(self.counted.requests),
        }
    }

    /// Requests of another arm that this one was asked in its place: those it failed on.
    pub(crate) fn substitutes(&self) -> Proportion {
        Proportion { part: self.counted.substitutes_failed, whole: self.counted.substitutes }
    }

    /// Requests that were answered, by this arm.
    pub(crate) fn answered(&self) -> u64 {
        self.counted.requests - self.counted.errors.iter().sum::<u64>().min(self.counted.requests)
    }

    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }

    pub(crate) fn queue_time(&self) -> &Latency {
        &self.queue
    }

    /// Predictions whose truth is known.
    pub(crate) fn outcomes(&self) -> u64 {
        seen(self.counted.outcomes)
    }

    /// Units of which a truth is known. A correction does not change it.
    pub(crate) fn labelled_units(&self) -> u64 {
        self.counted.labelled_units
    }

    /// A figure of quality, with the number of outcomes it rests on.
    pub(crate) fn measure(&self, metric: Metric) -> Option<Measured> {
        self.quality.as_ref()?.figures()?.measure(metric)
    }

    /// The [key figure](Metric::key) of quality.
    #[cfg(feature = "report")]
    pub(crate) fn key_quality(&self) -> Option<f64> {
        self.quality.as_ref()?.key()
    }

    /// The `kpi`-th business figure.
    pub(crate) fn kpi(&self, kpi: usize) -> Option<&KpiTally> {
        self.kpis.get(kpi)
    }

    /// Returns what is allocated beside the value itself, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let quality =
            self.quality.as_ref().map_or(0, |quality| size_of_val(quality.as_ref()) + quality.bytes());
        let kpis = self.kpis.capacity() * size_of::<KpiTally>();
        self.latency.bytes() + self.queue.bytes() + self.scores.bytes() + quality + kpis
    }

    /// Returns the figures that it comes to. `kpis` are the business figures as they were declared.
    pub(crate) fn figures(&self, kpis: &[Kpi]) -> ArmFigures {
        let error_rate = self.error_rate();
        let counted =
            ErrorKind::ALL.into_iter().map(|kind| (kind, self.errors(kind))).filter(|(_, count)| *count > 0);
        ArmFigures {
            requests: self.counted.requests,
            shadowed: self.counted.shadowed,
            answered: self.answered(),
            units: self.counted.units,
            errors: counted.collect(),
            error_rate: error_rate.value(),
            fallbacks: self.counted.fallbacks,
            substitutes: self.counted.substitutes,
            substitutes_failed: self.counted.substitutes_failed,
            withheld: self.counted.withheld,
            latency: self.latency.figures(),
            queue_time: self.queue.figures(),
            scores: self.scores.figures(),
            censored: self.counted.censored,
            outcomes: self.outcomes(),
            labelled_units: self.counted.labelled_units,
            refused: self.counted.refused,
            quality: self.quality.as_ref().and_then(|quality| quality.figures()),
            kpis: self.kpis.iter().zip(kpis).map(|(tally, kpi)| tally.figures(kpi)).collect(),
        }
    }
}

/// The plain counters of a tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counted {
    requests: u64,
    units: u64,
    shadowed: u64,
    errors: [u64; ErrorKind::ALL.len()],
    fallbacks: u64,
    substitutes: u64,
    substitutes_failed: u64,
    withheld: u64,
    censored: u64,
    outcomes: i64,
    labelled_units: u64,
    refused: u64,
    /// How often anything but a request was counted: whether there is something to merge.
    noted: u64,
}

impl Counted {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.units += other.units;
        self.shadowed += other.shadowed;
        for (own, other) in self.errors.iter_mut().zip(other.errors) {
            *own += other;
        }
        self.fallbacks += other.fallbacks;
        self.substitutes += other.substitutes;
        self.substitutes_failed += other.substitutes_failed;
        self.withheld += other.withheld;
        self.censored += other.censored;
        self.outcomes += other.outcomes;
        self.labelled_units += other.labelled_units;
        self.refused += other.refused;
        self.noted += other.noted;
    }
}

/// A share, by its counts: evidence is counts, and a rate is only their reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proportion {
    pub(crate) part: u64,
    pub(crate) whole: u64,
}

impl Proportion {
    /// `None` where there is nothing to be a part of.
    pub(crate) fn value(self) -> Option<f64> {
        ratio(self.part, self.whole)
    }
}

impl ArmFigures {
    /// Those of whoever was asked nothing.
    pub(crate) fn of_nothing() -> Self {
        Tally::new(TaskKind::Unlabelled, 0).figures(&[])
    }
}

/// The figures of an arm over a window or since its start. `None` stands for what is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArmFigures {
    /// Requests that were assigned to the arm, copies that it got as a shadow included.
    pub requests: u64,
    /// Those of them that were copies, whose answers were thrown away.
    pub shadowed: u64,
    /// Those that it answered itself.
    pub answered: u64,
    /// Units of analysis: a pinned stream or a batch that was routed as one counts once.
    pub units: u64,
    /// Failures by kind; kinds that did not occur are left out.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Failures over requests, without those refused because of their input on either side.
    pub error_rate: Option<f64>,
    /// Requests that failed and that live answered in this arm's place.
    pub fallbacks: u64,
    /// Requests that failed on another arm and that this one answered, or failed to answer, in its place. They are in
    /// none of the other figures: they are requests that something is the matter with.
    pub substitutes: u64,
    /// Those of them that failed here too.
    pub substitutes_failed: u64,
    /// Requests that belong to a candidate and were assigned to this arm, because nobody judges the candidate any more
    /// it fails on everything, or as many of its calls are under way as may be:
    /// see [`Limits::candidate_calls`](crate::options::Limits::candidate_calls).
    pub withheld: u64,
    /// How long requests took, failures included, without those refused because of their input.
    pub latency: Option<LatencyFigures>,
    /// How long copied requests waited for their turn.
    pub queue_time: Option<LatencyFigures>,
    /// The distribution of what was answered; `None` for tasks whose answers have no score.
    pub scores: Option<ScoreFigures>,
    /// Predictions whose truth will never be known because of what was answered.
    pub censored: u64,
    /// Predictions whose truth is known.
    pub outcomes: u64,
    /// Units of analysis of which at least one truth is known.
    pub labelled_units: u64,
    /// Outcomes that did not fit, and were not counted.
    pub refused: u64,
    /// How good the answers were; `None` while no truth is known.
    pub quality: Option<QualityFigures>,
    /// The business figures, in the order of their declaration.
    pub kpis: Vec<KpiFigures>,
}

/// The distribution of what was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreFigures {
    /// How many scores.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their sample standard deviation, with n - 1 below.
    pub standard_deviation: Option<f64>,
    /// How many fell into each of 64 equal bins of 0..=1, from low to high. Empty for numbers, which have no bounds.
    pub bins: Vec<u64>,
}

/// The scores of what was answered.
#[derive(Debug, Clone, PartialEq)]
enum Scores {
    /// The task keeps none.
    None,
    /// Probabilities, or confidence in the class.
    Bounded { bins: Box<[u64; SCORE_BINS as usize]>, moments: Moments },
    /// Numbers.
    Unbounded(Moments),
}

impl Scores {
    fn of(kind: TaskKind) -> Self {
        match kind {
            TaskKind::Unlabelled | TaskKind::Ranking { .. } => Self::None,
            TaskKind::Binary { .. } | TaskKind::Classes { .. } => {
                Self::Bounded { bins: Box::new([0; SCORE_BINS as usize]), moments: Moments::default() }
            }
            TaskKind::Regression => Self::Unbounded(Moments::default()),
        }
    }

    #[inline]
    fn count(&mut self, kept: &Kept) {
        match (self, kept) {
            (
                Self::Bounded { bins, moments },
                Kept::Probability(score) | Kept::Class { confidence: score, .. },
            ) => {
                if let Some(count) = bins.get_mut(usize::from(bin(*score, SCORE_BINS))) {
                    *count += 1;
                }
                moments.add(f64::from(*score), Sign::Plus);
            }
            (Self::Unbounded(moments), Kept::Value(value)) => moments.add(*value, Sign::Plus),
            _ => {}
        }
    }

    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Bounded { bins, moments }, Self::Bounded { bins: other, moments: others }) => {
                for (own, other) in bins.iter_mut().zip(other.iter()) {
                    *own += other;
                }
                moments.merge(others);
            }
            (Self::Unbounded(moments), Self::Unbounded(others)) => moments.merge(others),
            _ => {}
        }
    }

    fn reset(&mut self) {
        match self {
            Self::None => {}
            Self::Bounded { bins, moments } => {
                bins.fill(0);
                *moments = Moments::default();
            }
            Self::Unbounded(moments) => *moments = Moments::default(),
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        match self {
            Self::Bounded { bins, .. } => size_of_val(bins.as_ref()),
            Self::None | Self::Unbounded(_) => 0,
        }
    }

    fn figures(&self) -> Option<ScoreFigures> {
        let (moments, bins) = match self {
            Self::None => return None,
            Self::Bounded { bins, moments } => (moments, bins.to_vec()),
            Self::Unbounded(moments) => (moments, Vec::new()),
        };
        let (mean, standard_deviation) = (moments.mean(), moments.standard_deviation());
        Some(ScoreFigures { count: seen(moments.count()), mean, standard_deviation, bins })
    }
}

/// Enough to see a distribution shift, few enough that a tally of a window's slot stays small.
const SCORE_BINS: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BINARY: TaskKind = TaskKind::Binary { threshold: 0.5 };

    #[test]
    fn a_bad_input_is_not_the_versions_fault() {
        let mut tally = Tally::new(BINARY, 0);
        for result in [Ok(&Kept::Probability(0.5)), Err(ErrorKind::Input), Err(ErrorKind::Deadline)] {
            tally.record_request(result, 1_000, false);
        }
        assert_eq!(tally.error_rate(), Proportion { part: 1, whole: 2 });
        let figures = tally.figures(&[]);
        assert_eq!((figures.requests, figures.answered, figures.error_rate), (3, 1, Some(0.5)));
        assert_eq!(figures.errors, BTreeMap::from([(ErrorKind::Input, 1), (ErrorKind::Deadline, 1)]));
        assert_eq!(figures.latency.unwrap().count, 2, "the model did not see the bad input");
    }

    #[test]
    fn without_requests_nothing_is_known() {
        let figures = Tally::new(BINARY, 1).figures(&[Kpi::rate("click").unwrap()]);
        assert_eq!((figures.error_rate, figures.latency, figures.quality), (None, None, None));
        assert_eq!((figures.kpis[0].outcomes, figures.kpis[0].mean), (0, None));
        let mut only_input = Tally::new(BINARY, 0);
        only_input.record_request(Err(ErrorKind::Input), 0, false);
        assert_eq!(only_input.error_rate().value(), None);
    }

    #[test]
    fn a_substitute_counts_in_no_comparison() {
        let mut live = Tally::new(BINARY, 0);
        live.record_substitute(true);
        live.record_substitute(false);
        let figures = live.figures(&[]);
        assert_eq!((figures.substitutes, figures.substitutes_failed), (2, 1));
        assert_eq!((figures.requests, figures.error_rate, figures.latency), (0, None, None));
    }

    #[test]
    fn predictions_of_one_unit_count_it_once() {
        let mut tally = Tally::new(TaskKind::Regression, 0);
        for joins in [false, true, true, false] {
            tally.record_shadow(Ok(&Kept::Value(2.0)), 500, joins);
        }
        assert_eq!((tally.requests(), tally.units(), tally.figures(&[]).shadowed), (4, 2, 4));
    }

    #[test]
    fn scores_are_shown_as_they_are_distributed() {
        let mut tally = Tally::new(BINARY, 0);
        for score in [0.0, 0.25, 1.0] {
            tally.record_request(Ok(&Kept::Probability(score)), 500, false);
        }
        let scores = tally.figures(&[]).scores.unwrap();
        assert_eq!((scores.bins[0], scores.bins[16], scores.bins[63], scores.bins.len()), (1, 1, 1, 64));
        assert!((scores.mean.unwrap() - 1.25 / 3.0).abs() < 1e-9);
        let mut numbers = Tally::new(TaskKind::Regression, 0);
        numbers.record_request(Ok(&Kept::Value(-7.5)), 500, false);
        let scores = numbers.figures(&[]).scores.unwrap();
        assert_eq!((scores.count, scores.mean, scores.bins.len()), (1, Some(-7.5), 0));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let mut tally = Tally::new(BINARY, 1);
        tally.record_outcome(&Kept::Probability(0.5), &Actual::Value(1.0), Sign::Plus);
        tally.record_kpi(0, f64::NAN, Sign::Plus);
        tally.record_kpi(1, 1.0, Sign::Plus);
        let figures = tally.figures(&[Kpi::rate("click").unwrap()]);
        assert_eq!((figures.refused, figures.outcomes, figures.kpis[0].outcomes), (3, 0, 0));
        assert_eq!(tally.measure(Metric::Accuracy), None);
    }

    #[test]
    fn what_is_reset_is_as_new_and_keeps_its_memory() {
        let mut tally = Tally::recording(BINARY, 1);
        let (new, bytes) = (tally.clone(), tally.bytes());
        tally.record_request(Ok(&Kept::Probability(0.5)), 1_000_000, false);
        tally.record_kpi(0, 1.0, Sign::Plus);
        tally.record_outcome(&Kept::Probability(0.5), &Actual::Class(1), Sign::Plus);
        tally.record_fallback();
        assert!(tally != new);
        tally.reset();
        assert!(tally == new && tally.is_empty());
        assert_eq!(tally.bytes(), bytes);
    }

    #[test]
    fn a_tally_stays_small() {
        let mut slot = Tally::new(BINARY, 1);
        let mut recording = Tally::recording(BINARY, 1);
        for number in 0..50 {
            let kept = Kept::Probability(f32::from(number as u8) / 50.0);
            recording.record_request(Ok(&kept), 200_000 + number * 9_000, false);
            slot.record_outcome(&kept, &Actual::Class(1), Sign::Plus);
        }
        slot.merge(&recording);
        let own = size_of::<Tally>();
        println!("recording {} slot {} itself {own}", recording.bytes() + own, slot.bytes() + own);
        assert!(recording.bytes() + own <= 17 << 10);
        assert!(slot.bytes() + own <= 4 << 10);
    }

    #[test]
    fn figures_are_the_same_after_writing_and_reading() {
        let mut tally = Tally::recording(BINARY, 1);
        tally.record_request(Ok(&Kept::Probability(0.5)), 1_234_567, false);
        tally.record_request(Err(ErrorKind::Panicked), 1_000, false);
        tally.record_outcome(&Kept::Probability(0.5), &Actual::Class(1), Sign::Plus);
        tally.record_kpi(0, 1.0, Sign::Plus);
        let figures = tally.figures(&[Kpi::rate("click").unwrap()]);
        let written = serde_json::to_string(&figures).unwrap();
        assert_eq!(serde_json::from_str::<ArmFigures>(&written).unwrap(), figures, "{written}");
        assert!(written.contains("\"errors\":{\"panicked\":1}"), "{written}");
    }

    /// The events that can happen to a tally.
    #[derive(Debug, Clone)]
    enum Event {
        Request(f32, u64, bool),
        Failure(usize, u64),
        Outcome(f32, u16, bool),
        Kpi(f64, bool),
        Queue(u64),
        Fallback,
        Substitute(bool),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0.0..=1.0_f32, any::<u64>(), any::<bool>())
                .prop_map(|(score, nanos, joins)| Event::Request(score, nanos, joins)),
            (0..6_usize, any::<u64>()).prop_map(|(kind, nanos)| Event::Failure(kind, nanos)),
            (0.0..=1.0_f32, 0..3_u16, any::<bool>())
                .prop_map(|(score, class, add)| Event::Outcome(score, class, add)),
            (-1e9..1e9_f64, any::<bool>()).prop_map(|(value, add)| Event::Kpi(value, add)),
            (0..1_000_000_u64).prop_map(Event::Queue),
            Just(Event::Fallback),
            any::<bool>().prop_map(Event::Substitute),
        ]
    }

    fn happen(tally: &mut Tally, event: &Event) {
        let sign = |add: bool| if add { Sign::Plus } else { Sign::Minus };
        match *event {
            Event::Request(score, nanos, joins) => {
                tally.record_request(Ok(&Kept::Probability(score)), nanos, joins)
            }
            Event::Failure(kind, nanos) => tally.record_request(Err(ErrorKind::ALL[kind]), nanos, false),
            Event::Outcome(score, class, add) => {
                tally.record_outcome(&Kept::Probability(score), &Actual::Class(class), sign(add));
            }
            Event::Kpi(value, add) => tally.record_kpi(0, value, sign(add)),
            Event::Queue(nanos) => tally.record_queue_time(nanos),
            Event::Fallback => tally.record_fallback(),
            Event::Substitute(answered) => tally.record_substitute(answered),
        }
    }

    proptest! {
        #[test]
        fn shards_merge_in_any_order_into_one_thread(
            events in prop::collection::vec(any_event(), 0..60), shards in 1..5_usize, rotate in 0..5_usize,
        ) {
            let mut whole = Tally::recording(BINARY, 1);
            let mut parts: Vec<_> =
                (0..shards).map(|part| if part % 2 == 0 { Tally::recording(BINARY, 1) } else { Tally::new(BINARY, 1) }).collect();
            for (number, event) in events.iter().enumerate() {
                happen(&mut whole, event);
                happen(&mut parts[number % shards], event);
            }
            parts.rotate_left(rotate % shards);
            let mut merged = Tally::new(BINARY, 1);
            parts.iter().for_each(|part| merged.merge(part));
            prop_assert!(merged == whole);
        }
    }
}

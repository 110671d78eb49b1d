//! A candidate's answers beside live's, on the same inputs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fixed::{Moments, Sign, Sum, ratio, seen};
use super::latency::micros;
use crate::task::kept::Kept;
use crate::task::outcome::Actual;
use crate::task::task::TaskKind;

/// Pairs of answers to the same input: how far they lie apart, how long each took and, once the truth is known, who was
/// right. Sums of integers, so tallies merge in any order into the same.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Divergence {
    pairs: u64,
    live_failed: u64,
    candidate_failed: u64,
    agreed: u64,
    score: Distance,
    beyond_tolerance: u64,
    comparison: Distance,
    comparisons_refused: u64,
    timed: u64,
    slower: u64,
    live_nanos: u128,
    candidate_nanos: u128,
    both_right: i64,
    only_live_right: i64,
    only_candidate_right: i64,
    both_wrong: i64,
    /// The candidate's absolute error less live's.
    error_difference: Moments,
    errors_unknown: i64,
}

/// Two answers to the same input.
pub(crate) struct Pair<'a> {
    /// The part that is kept of live's answer; [`Kept::Unreadable`] where it failed.
    pub(crate) live: &'a Kept,
    /// The part that is kept of the candidate's. A failure is an answer that differs, never a pair less.
    pub(crate) candidate: &'a Kept,
    pub(crate) live_nanos: u64,
    pub(crate) candidate_nanos: u64,
    /// The result of the host's own comparison, 0 for no difference.
    pub(crate) comparison: Option<f64>,
}

impl Divergence {
    /// Counts a pair. Scores that differ by more than `tolerance` are counted apart, and those of a regression that
    /// do not agree with each other. Whether the two agree.
    pub(crate) fn record(&mut self, kind: TaskKind, tolerance: f64, pair: &Pair<'_>) -> bool {
        self.pairs += 1;
        let failed = [pair.live, pair.candidate].map(|kept| *kept == Kept::Unreadable);
        self.live_failed += u64::from(failed[0]);
        self.candidate_failed += u64::from(failed[1]);
        let mut agreed = false;
        if failed == [false, false] {
            let difference = difference(pair.live, pair.candidate);
            let beyond = difference.is_some_and(|difference| difference > tolerance);
            if let Some(difference) = difference {
                self.score.add(difference);
                self.beyond_tolerance += u64::from(beyond);
            }
            agreed = agree(kind, pair.live, pair.candidate, beyond);
            self.agreed += u64::from(agreed);
            self.timed += 1;
            self.slower += u64::from(pair.candidate_nanos > pair.live_nanos);
            self.live_nanos += u128::from(pair.live_nanos);
            self.candidate_nanos += u128::from(pair.candidate_nanos);
        }
        match pair.comparison {
            Some(difference) if difference.is_finite() => self.comparison.add(difference),
            Some(_) => self.comparisons_refused += 1,
            None => {}
        }
        agreed
    }

    /// Counts which of the two was right, or takes that back.
    pub(crate) fn record_label(&mut self, label: PairedLabel, sign: Sign) {
        match label {
            PairedLabel::Right { live, candidate } => {
                let cell = match (live, candidate) {
                    (true, true) => &mut self.both_right,
                    (true, false) => &mut self.only_live_right,
                    (false, true) => &mut self.only_candidate_right,
                    (false, false) => &mut self.both_wrong,
                };
                *cell += sign.unit();
            }
            PairedLabel::Errors { live: Some(live), candidate: Some(candidate) } => {
                self.error_difference.add(candidate - live, sign);
            }
            PairedLabel::Errors { .. } => self.errors_unknown += sign.unit(),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.live_failed += other.live_failed;
        self.candidate_failed += other.candidate_failed;
        self.agreed += other.agreed;
        self.score.merge(&other.score);
        self.beyond_tolerance += other.beyond_tolerance;
        self.comparison.merge(&other.comparison);
        self.comparisons_refused += other.comparisons_refused;
        self.timed += other.timed;
        self.slower += other.slower;
        self.live_nanos += other.live_nanos;
        self.candidate_nanos += other.candidate_nanos;
        self.both_right += other.both_right;
        self.only_live_right += other.only_live_right;
        self.only_candidate_right += other.only_candidate_right;
        self.both_wrong += other.both_wrong;
        self.error_difference.merge(&other.error_difference);
        self.errors_unknown += other.errors_unknown;
    }

    pub(crate) fn figures(&self) -> DivergenceFigures {
        let mean_time = |nanos: u128| {
            let mean = nanos.checked_div(u128::from(self.timed))?;
            u64::try_from(mean).ok().map(Duration::from_nanos)
        };
        DivergenceFigures {
            pairs: self.pairs,
            live_failed: self.live_failed,
            candidate_failed: self.candidate_failed,
            agreed: self.agreed,
            agreement: ratio(self.agreed, self.pairs),
            score_difference_mean: self.score.mean(),
            score_difference_max: self.score.max(),
            beyond_tolerance: self.beyond_tolerance,
            comparisons: self.comparison.count,
            comparison_mean: self.comparison.mean(),
            comparison_max: self.comparison.max(),
            comparisons_refused: self.comparisons_refused,
            timed: self.timed,
            slower: self.slower,
            live_latency_mean: mean_time(self.live_nanos),
            candidate_latency_mean: mean_time(self.candidate_nanos),
            both_right: seen(self.both_right),
            only_live_right: seen(self.only_live_right),
            only_candidate_right: seen(self.only_candidate_right),
            both_wrong: seen(self.both_wrong),
            error_pairs: seen(self.error_difference.count()),
            error_difference_mean: self.error_difference.mean(),
            error_pairs_failed: seen(self.errors_unknown),
        }
    }
}

/// The truth about a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum PairedLabel {
    /// Who was right.
    Right { live: bool, candidate: bool },
    /// How far off each was; `None` for one that failed.
    Errors { live: Option<f64>, candidate: Option<f64> },
}

impl PairedLabel {
    /// `None` where the three do not fit the task. An answer that failed was wrong. A list is right when it has a
    /// relevant item.
    pub(crate) fn of(kind: TaskKind, live: &Kept, candidate: &Kept, actual: &Actual) -> Option<Self> {
        if matches!(kind, TaskKind::Regression) {
            let Actual::Value(actual) = *actual else { return None };
            let error = |kept: &Kept| match *kept {
                Kept::Value(value) => Some(Some((value - actual).abs())),
                Kept::Unreadable => Some(None),
                _ => None,
            };
            return Some(Self::Errors { live: error(live)?, candidate: error(candidate)? });
        }
        let right = |kept: &Kept| match (kept, actual) {
            (Kept::Unreadable, Actual::Class(_) | Actual::Relevant(_)) => Some(false),
            (Kept::Probability(_), Actual::Class(class)) => Some(yes(kind, kept)? == (*class == 1)),
            (Kept::Class { class, .. }, Actual::Class(actual)) => Some(class == actual),
            (Kept::List(list), Actual::Relevant(items)) => {
                Some(list.hashes().iter().any(|item| items.contains(item)))
            }
            _ => None,
        };
        Some(Self::Right { live: right(live)?, candidate: right(candidate)? })
    }
}

/// A candidate's answers beside live's, on the same inputs, summed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DivergenceFigures {
    /// Inputs that both were asked.
    pub pairs: u64,
    /// Pairs in which live failed.
    pub live_failed: u64,
    /// Pairs in which the candidate failed. They count as pairs that do not agree.
    pub candidate_failed: u64,
    /// Pairs in which the decision was the same: yes or no, the class, the same items in the same order; of a
    /// regression, a difference within the tolerance.
    pub agreed: u64,
    /// `agreed` over `pairs`.
    pub agreement: Option<f64>,
    /// The mean difference of scores: of probabilities, of the confidence each has in its own class, of numbers; of
    /// lists, the share of items that they do not have in common. Over pairs in which neither failed.
    pub score_difference_mean: Option<f64>,
    /// The largest one.
    pub score_difference_max: Option<f64>,
    /// Pairs whose scores differ by more than the tolerance.
    pub beyond_tolerance: u64,
    /// Pairs that the host's own comparison has judged, and those whose candidate failed, which count as a 1.
    pub comparisons: u64,
    /// The mean of what it said.
    pub comparison_mean: Option<f64>,
    /// The most it said.
    pub comparison_max: Option<f64>,
    /// How often it panicked, or said what is not a finite number.
    pub comparisons_refused: u64,
    /// Pairs in which neither failed, whose latencies are compared.
    pub timed: u64,
    /// Those of them in which the candidate took longer.
    pub slower: u64,
    /// Live's mean latency over them.
    #[serde(rename = "live_latency_mean_us", with = "optional_micros")]
    pub live_latency_mean: Option<Duration>,
    /// The candidate's mean latency over them.
    #[serde(rename = "candidate_latency_mean_us", with = "optional_micros")]
    pub candidate_latency_mean: Option<Duration>,
    /// Pairs whose truth is known, and both were right. (None of these four for a regression.)
    pub both_right: u64,
    /// Only live was right.
    pub only_live_right: u64,
    /// Only the candidate was right.
    pub only_candidate_right: u64,
    /// Both were wrong.
    pub both_wrong: u64,
    /// Pairs of a regression whose truth is known and in which neither failed.
    pub error_pairs: u64,
    /// The candidate's absolute error less live's, on average over them: above 0 where the candidate is worse.
    pub error_difference_mean: Option<f64>,
    /// Pairs of a regression whose truth is known, and one of the two failed.
    pub error_pairs_failed: u64,
}

impl DivergenceFigures {
    /// Pairs whose truth is known.
    pub fn labelled(&self) -> u64 {
        let decided = self.both_right + self.only_live_right + self.only_candidate_right + self.both_wrong;
        decided + self.error_pairs + self.error_pairs_failed
    }
}

/// Distances, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Distance {
    count: u64,
    sum: Sum,
    max: f64,
}

impl Distance {
    fn add(&mut self, distance: f64) {
        self.max = if self.count == 0 { distance } else { self.max.max(distance) };
        self.count += 1;
        self.sum.add(distance, Sign::Plus);
    }

    fn merge(&mut self, other: &Self) {
        self.max = match (self.count, other.count) {
            (0, _) => other.max,
            (_, 0) => self.max,
            _ => self.max.max(other.max),
        };
        self.count += other.count;
        self.sum.merge(&other.sum);
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.value() / self.count as f64)
    }

    fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }
}

fn difference(live: &Kept, candidate: &Kept) -> Option<f64> {
    match (live, candidate) {
        (Kept::Probability(one), Kept::Probability(two)) => Some((f64::from(*one) - f64::from(*two)).abs()),
        (Kept::Class { confidence: one, .. }, Kept::Class { confidence: two, .. }) => {
            Some((f64::from(*one) - f64::from(*two)).abs())
        }
        (Kept::Value(one), Kept::Value(two)) => Some((one - two).abs()),
        (Kept::List(one), Kept::List(two)) => {
            let (one, two) = (one.hashes(), two.hashes());
            let common = one.iter().filter(|item| two.contains(item)).count();
            let longest = one.len().max(two.len()).max(1);
            Some(if one.is_empty() && two.is_empty() { 0.0 } else { 1.0 - common as f64 / longest as f64 })
        }
        _ => None,
    }
}

fn agree(kind: TaskKind, live: &Kept, candidate: &Kept, beyond_tolerance: bool) -> bool {
    match (live, candidate) {
        (Kept::Probability(_), Kept::Probability(_)) => yes(kind, live) == yes(kind, candidate),
        (Kept::Class { class: one, .. }, Kept::Class { class: two, .. }) => one == two,
        (Kept::Value(_), Kept::Value(_)) => !beyond_tolerance,
        (Kept::List(one), Kept::List(two)) => one.hashes() == two.hashes(),
        // Of a task that keeps nothing, only the host's own comparison can tell.
        (Kept::Nothing, Kept::Nothing) => true,
        _ => false,
    }
}

/// Whether a probability counts as yes; compared as `f32`, as in the figures of quality.
fn yes(kind: TaskKind, kept: &Kept) -> Option<bool> {
    match (kind, kept) {
        (TaskKind::Binary { threshold }, Kept::Probability(probability)) => {
            Some(*probability >= threshold as f32)
        }
        _ => None,
    }
}

mod optional_micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::micros;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Micros(#[serde(with = "micros")] Duration);

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Micros).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Micros>::deserialize(deserializer)?.map(|micros| micros.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::kept::Ranked;
    use proptest::prelude::*;

    const BINARY: TaskKind = TaskKind::Binary { threshold: 0.5 };

    fn pair<'a>(live: &'a Kept, candidate: &'a Kept) -> Pair<'a> {
        Pair { live, candidate, live_nanos: 1_000, candidate_nanos: 3_000, comparison: None }
    }

    #[test]
    fn a_candidate_that_failed_has_disagreed() {
        let mut divergence = Divergence::default();
        let live = Kept::Probability(0.75);
        divergence.record(BINARY, 0.1, &pair(&live, &Kept::Probability(0.5)));
        divergence.record(BINARY, 0.1, &pair(&live, &Kept::Unreadable));
        let figures = divergence.figures();
        assert_eq!(
            (figures.pairs, figures.agreed, figures.candidate_failed, figures.beyond_tolerance),
            (2, 1, 1, 1)
        );
        assert_eq!((figures.agreement, figures.score_difference_mean), (Some(0.5), Some(0.25)));
        assert_eq!((figures.timed, figures.slower), (1, 1));
        assert_eq!(figures.candidate_latency_mean, Some(Duration::from_micros(3)));
    }

    #[test]
    fn a_comparison_that_says_nan_is_counted_apart() {
        let mut divergence = Divergence::default();
        for comparison in [0.5, f64::NAN, 1.5, f64::INFINITY] {
            let pair = Pair { comparison: Some(comparison), ..pair(&Kept::Nothing, &Kept::Nothing) };
            divergence.record(TaskKind::Unlabelled, 0.0, &pair);
        }
        let figures = divergence.figures();
        assert_eq!((figures.comparisons, figures.comparisons_refused), (2, 2));
        assert_eq!((figures.comparison_mean, figures.comparison_max), (Some(1.0), Some(1.5)));
    }

    #[test]
    fn lists_differ_by_what_they_do_not_share() {
        let [one, two] = [[1, 2, 3, 4], [4, 3, 9, 8]].map(|hashes| Kept::List(Ranked::from_hashes(hashes)));
        let mut divergence = Divergence::default();
        divergence.record(TaskKind::Ranking { depth: 4 }, 0.0, &pair(&one, &two));
        assert_eq!(divergence.figures().score_difference_mean, Some(0.5));
    }

    #[test]
    fn the_truth_says_who_was_right() {
        let mut divergence = Divergence::default();
        let answers = [Kept::Probability(0.9), Kept::Probability(0.1), Kept::Unreadable];
        for live in &answers {
            for candidate in &answers {
                let label = PairedLabel::of(BINARY, live, candidate, &Actual::Class(1)).unwrap();
                divergence.record_label(label, Sign::Plus);
            }
        }
        let figures = divergence.figures();
        let table =
            [figures.both_right, figures.only_live_right, figures.only_candidate_right, figures.both_wrong];
        assert_eq!(table, [1, 2, 2, 4]);
        assert_eq!(figures.labelled(), 9);
        assert_eq!(PairedLabel::of(BINARY, &answers[0], &answers[1], &Actual::Value(1.0)), None);
        assert_eq!(PairedLabel::of(BINARY, &answers[0], &Kept::Nothing, &Actual::Class(1)), None);
    }

    #[test]
    fn the_truth_says_whose_error_is_smaller() {
        let mut divergence = Divergence::default();
        for candidate in [Kept::Value(13.0), Kept::Unreadable] {
            let label =
                PairedLabel::of(TaskKind::Regression, &Kept::Value(9.0), &candidate, &Actual::Value(10.0));
            divergence.record_label(label.unwrap(), Sign::Plus);
        }
        let figures = divergence.figures();
        assert_eq!((figures.error_pairs, figures.error_difference_mean), (1, Some(2.0)));
        assert_eq!(figures.error_pairs_failed, 1);
    }

    #[test]
    fn figures_are_the_same_after_writing_and_reading() {
        let mut divergence = Divergence::default();
        divergence.record(BINARY, 0.1, &pair(&Kept::Probability(0.75), &Kept::Probability(0.5)));
        for figures in [divergence.figures(), Divergence::default().figures()] {
            let written = serde_json::to_string(&figures).unwrap();
            assert_eq!(serde_json::from_str::<DivergenceFigures>(&written).unwrap(), figures);
        }
    }

    proptest! {
        #[test]
        fn shards_merge_in_any_order_into_one_thread(
            pairs in prop::collection::vec((0.0..=1.0_f32, 0.0..=1.0_f32, 0..2_u16, any::<u32>(), -9.0..9.0_f64), 0..40),
            cut in 0..40_usize,
        ) {
            let tally = |pairs: &[(f32, f32, u16, u32, f64)]| {
                let mut divergence = Divergence::default();
                for (live, candidate, class, nanos, comparison) in pairs {
                    let (live, candidate) = (Kept::Probability(*live), Kept::Probability(*candidate));
                    let nanos = u64::from(*nanos);
                    let pair = Pair { candidate_nanos: nanos, comparison: Some(*comparison), ..pair(&live, &candidate) };
                    divergence.record(BINARY, 0.2, &pair);
                    let label = PairedLabel::of(BINARY, &live, &candidate, &Actual::Class(*class)).unwrap();
                    divergence.record_label(label, Sign::Plus);
                }
                divergence
            };
            let (one, two) = pairs.split_at(cut.min(pairs.len()));
            let (mut forth, mut back) = (tally(one), tally(two));
            forth.merge(&tally(two));
            back.merge(&tally(one));
            prop_assert_eq!(forth, tally(&pairs));
            prop_assert_eq!(back, tally(&pairs));
        }
    }
}

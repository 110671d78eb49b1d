//! Answers and their truth, tallied by kind of task.

use serde::{Deserialize, Serialize};

use super::binary::{Binary, BinaryFigures};
use super::classes::{Classes, ClassesFigures};
use super::metric::{Measured, Metric};
use super::misfit::Misfit;
use super::ranking::{Ranking, RankingFigures};
use super::regression::{Regression, RegressionFigures};
use crate::stats::figures::fixed::Sign;
use crate::task::kept::Kept;
use crate::task::outcome::Actual;
use crate::task::task::TaskKind;

/// Answers and their truth, tallied by kind of task. Everything is a sum of integers, so tallies merge in any order into
/// the same, and an outcome that was corrected can be taken back.
///
/// A prediction that was not answered, or not with a valid answer ([`Kept::Unreadable`]), is a wrong one: it counts
/// against accuracy and recall. It has no score, and counts in no figure of scores.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Quality {
    Unlabelled,
    Binary(Binary),
    Classes(Classes),
    Regression(Regression),
    Ranking(Ranking),
}

impl Quality {
    pub(crate) fn new(kind: TaskKind) -> Self {
        match kind {
            TaskKind::Unlabelled => Self::Unlabelled,
            TaskKind::Binary { threshold } => Self::Binary(Binary::new(threshold)),
            TaskKind::Classes { classes } => Self::Classes(Classes::new(classes)),
            TaskKind::Regression => Self::Regression(Regression::default()),
            TaskKind::Ranking { depth } => Self::Ranking(Ranking::new(depth)),
        }
    }

    /// Counts what became of an answer, or takes that back. Where the two do not fit the task nothing is counted.
    pub(crate) fn record(&mut self, kept: &Kept, actual: &Actual, sign: Sign) -> Result<(), Misfit> {
        match (self, actual) {
            (Self::Unlabelled, _) => Err(Misfit::Unlabelled),
            (Self::Binary(binary), Actual::Class(class)) => binary.record(kept, *class, sign),
            (Self::Classes(classes), Actual::Class(class)) => classes.record(kept, *class, sign),
            (Self::Regression(regression), Actual::Value(value)) => regression.record(kept, *value, sign),
            (Self::Ranking(ranking), Actual::Relevant(items)) => ranking.record(kept, items, sign),
            _ => Err(Misfit::Truth),
        }
    }

    /// Adds another tally. One of another kind of task adds nothing: there is none within a handle.
    pub(crate) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Binary(own), Self::Binary(other)) => own.merge(other),
            (Self::Classes(own), Self::Classes(other)) => own.merge(other),
            (Self::Regression(own), Self::Regression(other)) => own.merge(other),
            (Self::Ranking(own), Self::Ranking(other)) => own.merge(other),
            _ => {}
        }
    }

    /// Returns the figures that it comes to; `None` for a task that is told no truth.
    pub(crate) fn figures(&self) -> Option<QualityFigures> {
        match self {
            Self::Unlabelled => None,
            Self::Binary(binary) => Some(QualityFigures::Binary(binary.figures())),
            Self::Classes(classes) => Some(QualityFigures::Classes(classes.figures())),
            Self::Regression(regression) => Some(QualityFigures::Regression(regression.figures())),
            Self::Ranking(ranking) => Some(QualityFigures::Ranking(ranking.figures())),
        }
    }

    /// The [key figure](Metric::key), without working out the others: ticks ask for it.
    #[cfg(feature = "report")]
    pub(crate) fn key(&self) -> Option<f64> {
        match self {
            Self::Unlabelled => None,
            Self::Binary(binary) => binary.accuracy(),
            Self::Classes(classes) => classes.accuracy(),
            Self::Regression(regression) => regression.figures().mae,
            Self::Ranking(ranking) => ranking.figures().ndcg,
        }
    }

    /// Returns what is allocated beside the value itself, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Unlabelled | Self::Regression(_) | Self::Ranking(_) => 0,
            Self::Binary(binary) => binary.yes.bytes() + binary.no.bytes(),
            Self::Classes(classes) => classes.bytes(),
        }
    }
}

/// The figures of quality, by kind of task. `None` stands for what is not known: no outcome, or none of the kind that
/// the figure divides by.
///
/// Where corrected outcomes have left a window before their correction has, its figures are off by as many outcomes; the
/// figures since the arm's start are exact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QualityFigures {
    /// Of a yes or no.
    Binary(BinaryFigures),
    /// Of one of several classes.
    Classes(ClassesFigures),
    /// Of a number.
    Regression(RegressionFigures),
    /// Of a ranked list.
    Ranking(RankingFigures),
}

impl QualityFigures {
    /// One figure, with the number of outcomes it rests on. `None` where the task has no such figure, or it is not known.
    pub fn measure(&self, metric: Metric) -> Option<Measured> {
        match self {
            Self::Binary(figures) => figures.measure(metric),
            Self::Classes(figures) => figures.measure(metric),
            Self::Regression(figures) => figures.measure(metric),
            Self::Ranking(figures) => figures.measure(metric),
        }
    }

    /// Predictions whose truth is known.
    pub fn outcomes(&self) -> u64 {
        match self {
            Self::Binary(figures) => figures.outcomes,
            Self::Classes(figures) => figures.outcomes,
            Self::Regression(figures) => figures.outcomes,
            Self::Ranking(figures) => figures.outcomes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::kept::Ranked;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const BINARY: TaskKind = TaskKind::Binary { threshold: 0.5 };

    fn tallied(kind: TaskKind, pairs: &[(Kept, Actual)]) -> Quality {
        let mut quality = Quality::new(kind);
        for (kept, actual) in pairs {
            quality.record(kept, actual, Sign::Plus).unwrap();
        }
        quality
    }

    fn binary(pairs: &[(Kept, Actual)]) -> BinaryFigures {
        let Some(QualityFigures::Binary(figures)) = tallied(BINARY, pairs).figures() else {
            panic!("binary")
        };
        figures
    }

    fn near(found: Option<f64>, expected: f64, within: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() <= within, "{found} is not {expected}");
    }

    fn ten_predictions() -> Vec<(Kept, Actual)> {
        let truth = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0];
        let given = [0.9, 0.2, 0.65, 0.4, 0.35, 0.55, 0.8, 0.1, 0.7, 0.45];
        given.map(Kept::Probability).into_iter().zip(truth.map(Actual::Class)).collect()
    }

    #[test]
    fn figures_of_a_yes_or_no_are_those_of_scikit_learn() {
        let figures = binary(&ten_predictions());
        let cells = [
            figures.true_positives,
            figures.false_positives,
            figures.false_negatives,
            figures.true_negatives,
        ];
        assert_eq!(cells, [4, 1, 1, 4]);
        assert_eq!([figures.accuracy, figures.precision, figures.recall, figures.f1], [Some(0.8); 4]);
        // scikit-learn 1.9.1: matthews_corrcoef, log_loss, brier_score_loss, roc_auc_score.
        near(figures.mcc, 0.6, 1e-15);
        // Probabilities are kept as f32: hence eight digits.
        near(figures.log_loss, 0.418_788_433_891_526, 2e-8);
        near(figures.brier, 0.13, 2e-8);
        assert_eq!((figures.auc, figures.auc_error_bound), (Some(0.92), Some(0.0)));
        // numpy, ten equal bins that include their lower end (statistics.md section 1).
        near(figures.calibration_error, 0.23, 2e-8);
        let bins: Vec<f64> = figures.calibration.iter().map(|bin| bin.from).collect();
        assert_eq!(bins, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        assert_eq!(figures.calibration[3].observed, 0.5);
    }

    #[test]
    fn figures_of_classes_are_those_of_scikit_learn() {
        // scikit-learn 1.9.1: accuracy_score, precision_recall_fscore_support, zero_division=0.
        let truth = [0, 0, 0, 1, 1, 2, 2, 2, 2, 1];
        let given = [0, 1, 0, 1, 2, 2, 2, 0, 2, 1];
        let figures = classes(3, &given, &truth);
        assert_eq!(figures.accuracy, Some(0.7));
        assert_eq!(figures.per_class.iter().map(|class| class.support).collect::<Vec<_>>(), [3, 3, 4]);
        for (class, expected) in figures.per_class.iter().zip([2.0 / 3.0, 2.0 / 3.0, 0.75]) {
            assert_eq!((class.precision, class.recall), (Some(expected), Some(expected)));
        }
        for found in [figures.macro_precision, figures.macro_recall, figures.macro_f1] {
            near(found, 0.694_444_444_444_444_3, 1e-15);
        }
        // All answers came with confidence 1, so the error of calibration is the share of wrong ones.
        near(figures.calibration_error, 0.3, 1e-12);
    }

    #[test]
    fn a_class_never_predicted_or_never_seen_counts_in_the_means_as_in_scikit_learn() {
        // scikit-learn 1.9.1: precision_score, recall_score, f1_score, average="macro", zero_division=0.
        let figures = classes(9, &[0, 3, 0, 0], &[0, 0, 1, 2]);
        near(figures.macro_precision, 0.083_333_333_333_333_33, 1e-15);
        near(figures.macro_recall, 0.125, 1e-15);
        near(figures.macro_f1, 0.1, 1e-15);
        assert_eq!(figures.per_class.len(), 4);
        assert_eq!(figures.per_class[1].precision, None);
    }

    fn classes(classes: u16, given: &[u16], truth: &[u16]) -> ClassesFigures {
        let kept = given.iter().map(|class| Kept::Class { class: *class, confidence: 1.0 });
        let pairs: Vec<_> = kept.zip(truth.iter().copied().map(Actual::Class)).collect();
        let quality = tallied(TaskKind::Classes { classes: classes.into() }, &pairs);
        let Some(QualityFigures::Classes(figures)) = quality.figures() else { panic!("classes") };
        figures
    }

    #[test]
    fn figures_of_a_number_are_those_of_scikit_learn() {
        let pairs = [(2.5, 3.0), (0.0, -0.5), (2.0, 2.0), (8.0, 7.0), (4.0, 4.2)];
        let figures = regression(&pairs);
        // scikit-learn 1.9.1: mean_absolute_error, root_mean_squared_error, r2_score; numpy 2.4: mean.
        near(figures.mae, 0.44, 1e-9);
        near(figures.rmse, 0.554_977_477_020_464_3, 1e-9);
        near(figures.r2, 0.949_660_041_841_004_2, 1e-9);
        near(figures.bias, 0.16, 1e-9);
        assert_eq!((figures.outcomes, figures.clamped), (5, 0));
    }

    #[test]
    fn the_share_explained_does_not_suffer_from_a_far_mean() {
        let figures = regression(&[
            (4e9 + 2.5, 4e9 + 3.0),
            (4e9, 4e9 - 0.5),
            (4e9 + 2.0, 4e9 + 2.0),
            (4e9 + 8.0, 4e9 + 7.0),
        ]);
        let near_zero = regression(&[(2.5, 3.0), (0.0, -0.5), (2.0, 2.0), (8.0, 7.0)]);
        assert_eq!(figures.r2, near_zero.r2);
    }

    #[test]
    fn truths_that_are_all_the_same_explain_nothing() {
        assert_eq!(regression(&[(1.0, 2.0), (3.0, 2.0)]).r2, None);
        assert_eq!(regression(&[(1.0, 2.0)]).r2, None);
        assert_eq!(regression(&[(1e300, 2.0)]).clamped, 1);
    }

    fn regression(pairs: &[(f64, f64)]) -> RegressionFigures {
        let pairs: Vec<_> =
            pairs.iter().map(|(given, truth)| (Kept::Value(*given), Actual::Value(*truth))).collect();
        let Some(QualityFigures::Regression(figures)) = tallied(TaskKind::Regression, &pairs).figures()
        else {
            panic!("regression")
        };
        figures
    }

    #[test]
    fn figures_of_lists_are_those_of_scikit_learn() {
        // Items 1 to 5 in this order; 2, 4 and 6, which is missing, are relevant.
        let figures = ranking(5, &[(&[1, 2, 3, 4, 5], &[2, 4, 6])]);
        // scikit-learn 1.9.1: ndcg_score(k=5) of relevances 0 1 0 1 0 1 ranked in this order.
        near(figures.ndcg, 0.498_189_257_466_412_74, 1e-9);
        assert_eq!(
            (figures.hit_rate, figures.reciprocal_rank, figures.precision),
            (Some(1.0), Some(0.5), Some(0.4))
        );
        // scikit-learn 1.9.1: ndcg_score(k=3) and (k=2) of relevances 0 0 1 0 0.
        near(ranking(3, &[(&[1, 2, 3, 4, 5], &[3])]).ndcg, 0.5, 1e-9);
        near(ranking(2, &[(&[1, 2, 3, 4, 5], &[3])]).ndcg, 0.0, 0.0);
    }

    #[test]
    fn a_list_of_which_nothing_was_relevant_counts_as_a_miss() {
        let figures = ranking(2, &[(&[1, 2], &[1]), (&[1, 2], &[])]);
        assert_eq!((figures.hit_rate, figures.ndcg, figures.without_relevant), (Some(0.5), Some(0.5), 1));
        assert_eq!(ranking(2, &[(&[], &[1])]).hit_rate, Some(0.0));
    }

    fn ranking(depth: u8, lists: &[(&[u32], &[u32])]) -> RankingFigures {
        let pairs: Vec<_> = lists
            .iter()
            .map(|(list, relevant)| {
                (Kept::List(Ranked::from_hashes(list.iter().copied())), Actual::Relevant((*relevant).into()))
            })
            .collect();
        let Some(QualityFigures::Ranking(figures)) = tallied(TaskKind::Ranking { depth }, &pairs).figures()
        else {
            panic!("ranking")
        };
        figures
    }

    #[test]
    fn the_area_under_the_curve_is_within_its_bound() {
        // Five distinct scores on each side within two bins of 1/256: bins cannot tell most of them apart.
        let score = |step: u16| Kept::Probability(0.5 + f32::from(step) / 2_560.0);
        let pairs: Vec<_> = (0..20).map(|step| (score(step), Actual::Class(step / 2 % 2))).collect();
        let figures = binary(&pairs);
        let (mut won, mut of) = (0.0, 0.0);
        for yes in (0..20).filter(|step| step / 2 % 2 == 1) {
            for no in (0..20).filter(|step| step / 2 % 2 == 0) {
                won += f64::from(u8::from(yes > no));
                of += 1.0;
            }
        }
        let bound = figures.auc_error_bound.unwrap();
        assert!(bound > 0.2);
        near(figures.auc, won / of, bound);
    }

    #[test]
    fn nothing_is_known_of_what_there_is_none_of() {
        let figures = binary(&[]);
        assert_eq!(
            (figures.accuracy, figures.log_loss, figures.auc, figures.calibration_error),
            (None, None, None, None)
        );
        let only_no = binary(&[(Kept::Probability(0.25), Actual::Class(0))]);
        assert_eq!((only_no.accuracy, only_no.brier), (Some(1.0), Some(0.0625)));
        assert_eq!(
            (only_no.precision, only_no.recall, only_no.f1, only_no.mcc, only_no.auc),
            (None, None, None, None, None)
        );
    }

    #[test]
    fn a_certain_probability_that_was_wrong_has_a_finite_loss() {
        let figures = binary(&[(Kept::Probability(1.0), Actual::Class(0))]);
        near(figures.log_loss, 34.538_776, 1e-2);
    }

    #[test]
    fn a_threshold_includes_the_probability_it_names_though_both_are_rounded() {
        for threshold in [0.1, 0.3, 0.7, 0.9] {
            let mut quality = Quality::new(TaskKind::Binary { threshold });
            quality.record(&Kept::Probability(threshold as f32), &Actual::Class(1), Sign::Plus).unwrap();
            let Some(QualityFigures::Binary(figures)) = quality.figures() else { panic!("binary") };
            assert_eq!(figures.true_positives, 1, "{threshold}");
        }
    }

    #[test]
    fn an_answer_that_failed_was_wrong() {
        let mut pairs = ten_predictions();
        pairs.extend([(Kept::Unreadable, Actual::Class(1)), (Kept::Unreadable, Actual::Class(0))]);
        let figures = binary(&pairs);
        assert_eq!((figures.outcomes, figures.unanswered), (12, 2));
        near(figures.accuracy, 8.0 / 12.0, 1e-15);
        near(figures.recall, 4.0 / 6.0, 1e-15);
        near(figures.precision, 0.8, 1e-15);
        assert_eq!(figures.log_loss, binary(&ten_predictions()).log_loss);
        let recall = QualityFigures::Binary(figures).measure(Metric::Recall).unwrap();
        assert_eq!(recall.outcomes, 6);

        let kind = TaskKind::Classes { classes: 2 };
        let right = (Kept::Class { class: 1, confidence: 1.0 }, Actual::Class(1));
        let quality = tallied(kind, &[right, (Kept::Unreadable, Actual::Class(1))]);
        let accuracy = quality.figures().unwrap().measure(Metric::Accuracy).unwrap();
        assert_eq!((accuracy.value, accuracy.outcomes), (0.5, 2));

        let kind = TaskKind::Ranking { depth: 1 };
        let hit = (Kept::List(Ranked::from_hashes([7])), Actual::Relevant([7].into()));
        let quality = tallied(kind, &[hit, (Kept::Unreadable, Actual::Relevant([7].into()))]);
        let hits = quality.figures().unwrap().measure(Metric::HitRate).unwrap();
        assert_eq!((hits.value, hits.outcomes), (0.5, 2));
    }

    #[test]
    fn what_does_not_fit_the_task_changes_nothing() {
        let list = Kept::List(Ranked::from_hashes([1]));
        let class = Kept::Class { class: 2, confidence: 0.5 };
        let (p, value) = (Kept::Probability(0.5), Kept::Value(1.0));
        for (kind, kept, actual, expected) in [
            (TaskKind::Unlabelled, p, Actual::Class(1), Misfit::Unlabelled),
            (BINARY, p, Actual::Class(2), Misfit::Class),
            (BINARY, p, Actual::Value(1.0), Misfit::Truth),
            (BINARY, class, Actual::Class(1), Misfit::Answer),
            (BINARY, Kept::Nothing, Actual::Class(1), Misfit::Answer),
            (TaskKind::Classes { classes: 2 }, class, Actual::Class(1), Misfit::Class),
            (TaskKind::Classes { classes: 2 }, class, Actual::Class(2), Misfit::Class),
            (TaskKind::Regression, value, Actual::Value(f64::NAN), Misfit::NotFinite),
            (TaskKind::Regression, Kept::Value(f64::INFINITY), Actual::Value(1.0), Misfit::NotFinite),
            (TaskKind::Regression, list, Actual::Value(1.0), Misfit::Answer),
            (TaskKind::Ranking { depth: 1 }, list, Actual::Class(1), Misfit::Truth),
        ] {
            let mut quality = Quality::new(kind);
            assert_eq!(quality.record(&kept, &actual, Sign::Plus), Err(expected));
            assert_eq!(quality, Quality::new(kind));
        }
    }

    #[test]
    fn a_truth_taken_back_that_was_never_given_shows_nothing_below_zero() {
        let mut quality = Quality::new(BINARY);
        quality.record(&Kept::Probability(0.75), &Actual::Class(1), Sign::Minus).unwrap();
        quality.record(&Kept::Probability(0.75), &Actual::Class(0), Sign::Plus).unwrap();
        let Some(QualityFigures::Binary(figures)) = quality.figures() else { panic!("binary") };
        assert_eq!((figures.true_positives, figures.false_positives, figures.accuracy), (0, 1, Some(0.0)));
        assert!(figures.log_loss.unwrap() >= 0.0 && figures.brier.unwrap() >= 0.0);
        assert_eq!(figures.auc, None);
    }

    #[test]
    fn no_share_exceeds_one_when_more_was_taken_back_than_is_there() {
        let list = |item| Kept::List(Ranked::from_hashes([item]));
        let mut quality = Quality::new(TaskKind::Ranking { depth: 1 });
        quality.record(&list(1), &Actual::Relevant([2].into()), Sign::Minus).unwrap();
        for _ in 0..2 {
            quality.record(&list(1), &Actual::Relevant([1].into()), Sign::Plus).unwrap();
        }
        let Some(QualityFigures::Ranking(figures)) = quality.figures() else { panic!("ranking") };
        assert_eq!([figures.hit_rate, figures.ndcg, figures.precision], [Some(1.0); 3]);
    }

    #[test]
    fn figures_are_the_same_after_writing_and_reading() {
        for (kind, pairs) in [
            (BINARY, ten_predictions()),
            (
                TaskKind::Classes { classes: 3 },
                vec![(Kept::Class { class: 2, confidence: 0.5 }, Actual::Class(1))],
            ),
            (TaskKind::Regression, vec![(Kept::Value(0.5), Actual::Value(1.0))]),
            (TaskKind::Ranking { depth: 2 }, vec![(Kept::Unreadable, Actual::Relevant([1].into()))]),
        ] {
            let figures = tallied(kind, &pairs).figures().unwrap();
            let written = serde_json::to_string(&figures).unwrap();
            assert_eq!(serde_json::from_str::<QualityFigures>(&written).unwrap(), figures, "{written}");
        }
    }

    /// The values that an answer and its truth can be made of, for every kind of task. (What is kept of an answer has
    /// no `Debug`.)
    type Raw = ((f32, u16, f64, Vec<u32>), (u16, f64, BTreeSet<u32>), bool);

    fn any_raw() -> impl Strategy<Value = Raw> {
        let answer = (0.0..=1.0_f32, 0..5_u16, finite(), prop::collection::vec(0..9_u32, 0..6));
        (answer, (0..5_u16, finite(), prop::collection::btree_set(0..9_u32, 0..6)), prop::bool::weighted(0.1))
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), -1e3..1e3_f64]
    }

    fn any_task() -> impl Strategy<Value = TaskKind> {
        let kinds =
            [BINARY, TaskKind::Classes { classes: 5 }, TaskKind::Regression, TaskKind::Ranking { depth: 4 }];
        prop::sample::select(kinds.to_vec())
    }

    fn pairs_of(kind: TaskKind, raw: &[Raw]) -> Vec<(Kept, Actual)> {
        let pair = |((score, class, value, items), (truth, number, relevant), failed): &Raw| {
            let (kept, actual) = match kind {
                TaskKind::Binary { .. } => (Kept::Probability(*score), Actual::Class(truth % 2)),
                TaskKind::Classes { .. } => {
                    (Kept::Class { class: *class, confidence: *score }, Actual::Class(*truth))
                }
                TaskKind::Ranking { .. } => (
                    Kept::List(Ranked::from_hashes(items.iter().copied())),
                    Actual::Relevant(relevant.iter().copied().collect()),
                ),
                _ => (Kept::Value(*value), Actual::Value(*number)),
            };
            (if *failed { Kept::Unreadable } else { kept }, actual)
        };
        raw.iter().map(pair).collect()
    }

    proptest! {
        #[test]
        fn shards_merge_in_any_order_into_one_thread(
            kind in any_task(), raw in prop::collection::vec(any_raw(), 0..50), shards in 1..5_usize, rotate in 0..5_usize,
        ) {
            let pairs = pairs_of(kind, &raw);
            let mut parts = vec![Quality::new(kind); shards];
            for (number, (kept, actual)) in pairs.iter().enumerate() {
                parts[number % shards].record(kept, actual, Sign::Plus).unwrap();
            }
            parts.rotate_left(rotate % shards);
            let mut merged = Quality::new(kind);
            parts.iter().for_each(|part| merged.merge(part));
            prop_assert_eq!(merged, tallied(kind, &pairs));
        }

        #[test]
        fn taking_back_undoes_recording(
            kind in any_task(), raw in prop::collection::vec(any_raw(), 0..50), kept in 0..50_usize,
        ) {
            let pairs = pairs_of(kind, &raw);
            let (stay, go) = pairs.split_at(kept.min(pairs.len()));
            let mut quality = tallied(kind, &pairs);
            for (kept, actual) in go {
                quality.record(kept, actual, Sign::Minus).unwrap();
            }
            prop_assert_eq!(quality, tallied(kind, stay));
        }
    }
}

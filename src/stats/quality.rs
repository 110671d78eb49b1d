//! How good answers were, once the truth about them is known.

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::fixed::{Moments, Sign, Sum, ratio, seen};
use crate::task::{Actual, Kept, Ranked, TaskKind};

/// Answers and their truth, tallied by kind of task. Everything is a sum of integers, so tallies merge in any order into
/// the same, and an outcome that was corrected can be taken back.
///
/// A prediction that was not answered, or not with a valid answer ([`Kept::Unreadable`]), is a wrong one: it counts
/// against accuracy and recall. It has no score, and counts in no figure of scores.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Quality {
    Untold,
    Binary(Binary),
    Classes(Classes),
    Regression(Regression),
    Ranking(Ranking),
}

/// Why an outcome was not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The task is told no truth.
    Untold,
    /// What was kept of the answer is not what the task keeps.
    Answer,
    /// The truth is not of the task's kind.
    Truth,
    /// The class is not one of the task's.
    Class,
    /// The number is not finite.
    NotFinite,
}

impl Quality {
    pub(crate) fn new(kind: TaskKind) -> Self {
        match kind {
            TaskKind::Untold => Self::Untold,
            TaskKind::Binary { threshold } => Self::Binary(Binary::new(threshold)),
            TaskKind::Classes { classes } => Self::Classes(Classes::new(classes)),
            TaskKind::Regression => Self::Regression(Regression::default()),
            TaskKind::Ranking { depth } => Self::Ranking(Ranking::new(depth)),
        }
    }

    /// Counts what became of an answer, or takes that back. Where the two do not fit the task nothing is counted.
    pub(crate) fn record(&mut self, kept: &Kept, actual: &Actual, sign: Sign) -> Result<(), Misfit> {
        match (self, actual) {
            (Self::Untold, _) => Err(Misfit::Untold),
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

    /// What it comes to; `None` for a task that is told no truth.
    pub(crate) fn figures(&self) -> Option<QualityFigures> {
        match self {
            Self::Untold => None,
            Self::Binary(binary) => Some(QualityFigures::Binary(binary.figures())),
            Self::Classes(classes) => Some(QualityFigures::Classes(classes.figures())),
            Self::Regression(regression) => Some(QualityFigures::Regression(regression.figures())),
            Self::Ranking(ranking) => Some(QualityFigures::Ranking(ranking.figures())),
        }
    }

    /// The [key figure](Metric::key), without working out the others: ticks ask for it.
    pub(crate) fn key(&self) -> Option<f64> {
        match self {
            Self::Untold => None,
            Self::Binary(binary) => binary.accuracy(),
            Self::Classes(classes) => classes.accuracy(),
            Self::Regression(regression) => regression.figures().mae,
            Self::Ranking(ranking) => ranking.figures().ndcg,
        }
    }

    /// What is allocated beside the value itself, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Untold | Self::Regression(_) | Self::Ranking(_) => 0,
            Self::Binary(binary) => binary.yes.bytes() + binary.no.bytes(),
            Self::Classes(classes) => classes.confusion.bytes() + classes.unanswered.bytes(),
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

/// A figure of quality, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The share of right answers. Binary, classes.
    Accuracy,
    /// Of what was called yes, the share that was. Binary; for classes the mean over classes.
    Precision,
    /// Of what was yes, the share that was called so. Binary; for classes the mean over classes.
    Recall,
    /// The harmonic mean of precision and recall. Binary; for classes the mean over classes.
    F1,
    /// The mean of the negative logarithm of the probability given to what happened. Binary.
    LogLoss,
    /// The mean squared distance of the probability from what happened. Binary.
    Brier,
    /// The area under the ROC curve. Binary.
    Auc,
    /// The expected calibration error. Binary, classes.
    CalibrationError,
    /// The mean absolute error. Regression.
    Mae,
    /// The root of the mean squared error. Regression.
    Rmse,
    /// The mean error, predicted less actual. Regression.
    Bias,
    /// The share of the variance that is explained. Regression.
    R2,
    /// The share of lists with a relevant item. Ranking.
    HitRate,
    /// The mean of one over the rank of the first relevant item. Ranking.
    ReciprocalRank,
    /// The normalised discounted cumulative gain. Ranking.
    Ndcg,
    /// The share of relevant items among those shown. Ranking.
    PrecisionAtK,
}

/// Which way a figure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// The nearer to 0 the better.
    NearZero,
}

impl Metric {
    /// Which way the figure gets better.
    pub const fn better(self) -> Better {
        match self {
            Self::LogLoss | Self::Brier | Self::CalibrationError | Self::Mae | Self::Rmse => Better::Lower,
            Self::Bias => Better::NearZero,
            _ => Better::Higher,
        }
    }

    /// The figure that stands for all of a task's where there is room for one: accuracy; the mean absolute error of
    /// numbers; NDCG of ranked lists. Nothing of a task that is told no truth.
    pub const fn key(kind: TaskKind) -> Option<Metric> {
        match kind {
            TaskKind::Untold => None,
            TaskKind::Binary { .. } | TaskKind::Classes { .. } => Some(Self::Accuracy),
            TaskKind::Regression => Some(Self::Mae),
            TaskKind::Ranking { .. } => Some(Self::Ndcg),
        }
    }

    /// Whether a task of this kind has the figure.
    pub const fn is_of(self, kind: TaskKind) -> bool {
        match self {
            Self::Accuracy | Self::Precision | Self::Recall | Self::F1 | Self::CalibrationError => {
                matches!(kind, TaskKind::Binary { .. } | TaskKind::Classes { .. })
            }
            Self::LogLoss | Self::Brier | Self::Auc => matches!(kind, TaskKind::Binary { .. }),
            Self::Mae | Self::Rmse | Self::Bias | Self::R2 => matches!(kind, TaskKind::Regression),
            Self::HitRate | Self::ReciprocalRank | Self::Ndcg | Self::PrecisionAtK => {
                matches!(kind, TaskKind::Ranking { .. })
            }
        }
    }
}

/// A figure, and how much it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// The figure.
    pub value: f64,
    /// How many outcomes it divides by: of a precision those that were called yes, of a recall those that were yes, else
    /// all that count in it.
    pub outcomes: u64,
}

impl Measured {
    fn over(value: Option<f64>, outcomes: u64) -> Option<Self> {
        value.map(|value| Self { value, outcomes })
    }
}

/// Yes or no, tallied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binary {
    threshold: f32,
    true_positives: i64,
    false_positives: i64,
    false_negatives: i64,
    true_negatives: i64,
    unanswered_positives: i64,
    unanswered_negatives: i64,
    log_loss: Sum,
    brier: Sum,
    /// Scores of what was yes, in [`AUC_BINS`].
    yes: Counts,
    /// Scores of what was no.
    no: Counts,
    calibration: Calibration,
}

impl Binary {
    fn new(threshold: f64) -> Self {
        Self {
            // Compared as what is kept: 0.9 as f32 is a little less than 0.9, and yet from 0.9 on the answer is yes.
            threshold: threshold as f32,
            true_positives: 0,
            false_positives: 0,
            false_negatives: 0,
            true_negatives: 0,
            unanswered_positives: 0,
            unanswered_negatives: 0,
            log_loss: Sum::default(),
            brier: Sum::default(),
            yes: Counts::default(),
            no: Counts::default(),
            calibration: Calibration::default(),
        }
    }

    fn record(&mut self, kept: &Kept, actual: u16, sign: Sign) -> Result<(), Misfit> {
        let happened = match actual {
            0 => false,
            1 => true,
            _ => return Err(Misfit::Class),
        };
        match *kept {
            Kept::Probability(probability) => self.count(probability, happened, sign),
            Kept::Unreadable if happened => self.unanswered_positives += sign.unit(),
            Kept::Unreadable => self.unanswered_negatives += sign.unit(),
            _ => return Err(Misfit::Answer),
        }
        Ok(())
    }

    fn count(&mut self, probability: f32, happened: bool, sign: Sign) {
        let cell = match (probability >= self.threshold, happened) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, true) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        };
        *cell += sign.unit();
        let p = f64::from(probability);
        let given = if happened { p } else { 1.0 - p };
        self.log_loss.add(-given.clamp(CLIP, 1.0 - CLIP).ln(), sign);
        self.brier.add((1.0 - given) * (1.0 - given), sign);
        let scores = if happened { &mut self.yes } else { &mut self.no };
        scores.count(bin(probability, AUC_BINS), sign);
        self.calibration.count(probability, happened, sign);
    }

    fn merge(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
        self.unanswered_positives += other.unanswered_positives;
        self.unanswered_negatives += other.unanswered_negatives;
        self.log_loss.merge(&other.log_loss);
        self.brier.merge(&other.brier);
        self.yes.merge(&other.yes);
        self.no.merge(&other.no);
        self.calibration.merge(&other.calibration);
    }

    fn accuracy(&self) -> Option<f64> {
        let right = seen(self.true_positives) + seen(self.true_negatives);
        let wrong = seen(self.false_positives) + seen(self.false_negatives);
        let unanswered = seen(self.unanswered_positives) + seen(self.unanswered_negatives);
        ratio(right, right + wrong + unanswered)
    }

    fn figures(&self) -> BinaryFigures {
        let [tp, fp, missed, tn] =
            [self.true_positives, self.false_positives, self.false_negatives, self.true_negatives].map(seen);
        let [lost_positives, lost_negatives] =
            [self.unanswered_positives, self.unanswered_negatives].map(seen);
        let answered = tp + fp + missed + tn;
        let unanswered = lost_positives + lost_negatives;
        let positives = tp + missed + lost_positives;
        let mean = |sum: Sum| (answered > 0).then(|| (sum.value() / answered as f64).max(0.0));
        let auc = area_under_curve(&self.yes, &self.no);
        BinaryFigures {
            outcomes: answered + unanswered,
            unanswered,
            unanswered_positives: lost_positives,
            true_positives: tp,
            false_positives: fp,
            false_negatives: missed,
            true_negatives: tn,
            accuracy: self.accuracy(),
            precision: ratio(tp, tp + fp),
            recall: ratio(tp, positives),
            f1: ratio(2 * tp, tp + fp + positives),
            mcc: correlation(tp as f64, fp as f64, missed as f64, tn as f64),
            log_loss: mean(self.log_loss),
            brier: mean(self.brier),
            auc: auc.map(|(area, _)| area),
            auc_error_bound: auc.map(|(_, bound)| bound),
            calibration_error: self.calibration.error(),
            calibration: self.calibration.figures(),
        }
    }
}

/// How good the answers of a binary task were.
///
/// The probability is kept as `f32`, so log-loss and Brier score differ from those of the full one by some 1e-8.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BinaryFigures {
    /// Predictions whose truth is known.
    pub outcomes: u64,
    /// Those of them that have no valid answer: they failed. They count as wrong in accuracy, recall and F1, and are in
    /// none of the other figures.
    pub unanswered: u64,
    /// Those of the failed ones whose truth is yes.
    pub unanswered_positives: u64,
    /// Called yes, and was.
    pub true_positives: u64,
    /// Called yes, and was not.
    pub false_positives: u64,
    /// Called no, and was yes.
    pub false_negatives: u64,
    /// Called no, and was.
    pub true_negatives: u64,
    /// The share of right answers.
    pub accuracy: Option<f64>,
    /// Of what was called yes, the share that was: tp / (tp + fp).
    pub precision: Option<f64>,
    /// Of what was yes, the share that was called so: tp / (tp + fn + unanswered positives).
    pub recall: Option<f64>,
    /// The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn + unanswered positives).
    pub f1: Option<f64>,
    /// Matthews' correlation coefficient, (tp tn - fp fn) / √((tp+fp)(tp+fn)(tn+fp)(tn+fn)).
    pub mcc: Option<f64>,
    /// The mean of -ln of the probability given to what happened, with probabilities kept within 1e-15 of 0 and 1.
    pub log_loss: Option<f64>,
    /// The mean squared distance between the probability and what happened, 0 or 1 (Brier 1950).
    pub brier: Option<f64>,
    /// The area under the ROC curve: the chance that a yes has a higher score than a no, ties counting half. From
    /// histograms of 256 equal bins, within which all scores count as ties.
    pub auc: Option<f64>,
    /// How far `auc` can be off because of the bins, at most: half the share of pairs that share a bin.
    pub auc_error_bound: Option<f64>,
    /// The expected calibration error over ten equal bins: Σ |Σp - Σy| / n (Naeini et al. 2015).
    pub calibration_error: Option<f64>,
    /// The bins of the reliability diagram that are in use, from low to high.
    pub calibration: Vec<CalibrationBin>,
}

impl BinaryFigures {
    fn measure(&self, metric: Metric) -> Option<Measured> {
        let answered = self.outcomes - self.unanswered.min(self.outcomes);
        let called_yes = self.true_positives + self.false_positives;
        let were_yes = self.true_positives + self.false_negatives + self.unanswered_positives;
        match metric {
            Metric::Accuracy => Measured::over(self.accuracy, self.outcomes),
            Metric::Precision => Measured::over(self.precision, called_yes),
            Metric::Recall => Measured::over(self.recall, were_yes),
            Metric::F1 => Measured::over(self.f1, were_yes),
            Metric::LogLoss => Measured::over(self.log_loss, answered),
            Metric::Brier => Measured::over(self.brier, answered),
            Metric::Auc => Measured::over(self.auc, answered),
            Metric::CalibrationError => Measured::over(self.calibration_error, answered),
            _ => None,
        }
    }
}

/// A bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationBin {
    /// The lower end of the bin. It is included, the upper end, 0.1 above, is not (except by the last).
    pub from: f64,
    /// How many outcomes.
    pub outcomes: u64,
    /// The mean probability (of a task of classes: confidence) that was given.
    pub predicted: f64,
    /// The share that happened (of a task of classes: that was right).
    pub observed: f64,
}

/// Classes, tallied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classes {
    classes: u16,
    /// By actual x classes + predicted.
    confusion: Counts,
    /// By actual.
    unanswered: Counts,
    calibration: Calibration,
}

impl Classes {
    fn new(classes: u16) -> Self {
        let (confusion, unanswered) = (Counts::default(), Counts::default());
        Self { classes: classes.max(1), confusion, unanswered, calibration: Calibration::default() }
    }

    fn record(&mut self, kept: &Kept, actual: u16, sign: Sign) -> Result<(), Misfit> {
        if actual >= self.classes {
            return Err(Misfit::Class);
        }
        match *kept {
            Kept::Class { class, .. } if class >= self.classes => return Err(Misfit::Class),
            Kept::Class { class, confidence } => {
                self.confusion.count(self.cell(actual, class), sign);
                self.calibration.count(confidence, class == actual, sign);
            }
            Kept::Unreadable => self.unanswered.count(actual, sign),
            _ => return Err(Misfit::Answer),
        }
        Ok(())
    }

    /// At most 64 x 64 (`CLASSES_MAX`); were there more, the last cells would be one.
    fn cell(&self, actual: u16, predicted: u16) -> u16 {
        actual.saturating_mul(self.classes).saturating_add(predicted)
    }

    fn merge(&mut self, other: &Self) {
        self.confusion.merge(&other.confusion);
        self.unanswered.merge(&other.unanswered);
        self.calibration.merge(&other.calibration);
    }

    fn accuracy(&self) -> Option<f64> {
        let own = |place: u16| place / self.classes == place % self.classes;
        let (mut right, mut outcomes) = (0, self.unanswered.seen().map(|(_, count)| count).sum::<u64>());
        for (place, count) in self.confusion.seen() {
            outcomes += count;
            right += if own(place) { count } else { 0 };
        }
        ratio(right, outcomes)
    }

    fn figures(&self) -> ClassesFigures {
        let confusion: Vec<ConfusionCell> = self
            .confusion
            .seen()
            .map(|(cell, count)| ConfusionCell {
                actual: cell / self.classes,
                predicted: cell % self.classes,
                count,
            })
            .collect();
        let per_class: Vec<ClassFigures> =
            (0..self.classes).filter_map(|class| self.figures_of(class, &confusion)).collect();
        let unanswered = self.unanswered.seen().map(|(_, count)| count).sum::<u64>();
        let outcomes = confusion.iter().map(|cell| cell.count).sum::<u64>() + unanswered;
        let mean = |figure: fn(&ClassFigures) -> Option<f64>| {
            let sum: f64 = per_class.iter().filter_map(figure).sum();
            (!per_class.is_empty()).then(|| sum / per_class.len() as f64)
        };
        ClassesFigures {
            outcomes,
            unanswered,
            accuracy: self.accuracy(),
            macro_precision: mean(|class| class.precision),
            macro_recall: mean(|class| class.recall),
            macro_f1: mean(|class| class.f1),
            calibration_error: self.calibration.error(),
            calibration: self.calibration.figures(),
            per_class,
            confusion,
        }
    }

    /// Of one class, where it was seen or predicted at all.
    fn figures_of(&self, class: u16, confusion: &[ConfusionCell]) -> Option<ClassFigures> {
        let sum = |of: fn(&ConfusionCell) -> u16| -> u64 {
            confusion.iter().filter(|cell| of(cell) == class).map(|cell| cell.count).sum()
        };
        let lost = self.unanswered.seen().find(|(actual, _)| *actual == class).map_or(0, |(_, count)| count);
        let right = confusion.iter().find(|cell| cell.actual == class && cell.predicted == class);
        let right = right.map_or(0, |cell| cell.count);
        let (predicted, support) = (sum(|cell| cell.predicted), sum(|cell| cell.actual) + lost);
        (predicted + support > 0).then(|| ClassFigures {
            class,
            support,
            predicted,
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, predicted + support),
        })
    }
}

/// How good the answers of a task of classes were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassesFigures {
    /// Predictions whose truth is known.
    pub outcomes: u64,
    /// Those of them that have no valid answer: they failed. They count as wrong in accuracy, recall and F1, and are in
    /// none of the other figures.
    pub unanswered: u64,
    /// The share of right answers.
    pub accuracy: Option<f64>,
    /// The mean of the classes' precisions: over the classes that were seen or predicted, where one that was never
    /// predicted counts 0 (as in scikit-learn).
    pub macro_precision: Option<f64>,
    /// The mean of the classes' recalls, over the same classes; one that was never seen counts 0.
    pub macro_recall: Option<f64>,
    /// The mean of the classes' F1, over the same classes.
    pub macro_f1: Option<f64>,
    /// The expected calibration error of the confidence in the class that was answered, over ten equal bins.
    pub calibration_error: Option<f64>,
    /// The bins of the reliability diagram that are in use, from low to high.
    pub calibration: Vec<CalibrationBin>,
    /// The classes that were seen or predicted, in order.
    pub per_class: Vec<ClassFigures>,
    /// The cells of the confusion matrix that are in use, by actual and then by predicted class.
    pub confusion: Vec<ConfusionCell>,
}

impl ClassesFigures {
    fn measure(&self, metric: Metric) -> Option<Measured> {
        let answered = self.outcomes - self.unanswered.min(self.outcomes);
        match metric {
            Metric::Accuracy => Measured::over(self.accuracy, self.outcomes),
            Metric::Precision => Measured::over(self.macro_precision, self.outcomes),
            Metric::Recall => Measured::over(self.macro_recall, self.outcomes),
            Metric::F1 => Measured::over(self.macro_f1, self.outcomes),
            Metric::CalibrationError => Measured::over(self.calibration_error, answered),
            _ => None,
        }
    }
}

/// How good the answers were as to one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassFigures {
    /// The class.
    pub class: u16,
    /// How often it was the true one.
    pub support: u64,
    /// How often it was answered.
    pub predicted: u64,
    /// Of the times it was answered, the share in which it was the true one.
    pub precision: Option<f64>,
    /// Of the times it was the true one, the share in which it was answered.
    pub recall: Option<f64>,
    /// The harmonic mean of the two.
    pub f1: Option<f64>,
}

/// A cell of a confusion matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfusionCell {
    /// The true class.
    pub actual: u16,
    /// The class that was answered.
    pub predicted: u16,
    /// How often.
    pub count: u64,
}

/// Numbers, tallied. Values and errors are kept to 2^-32, within ±2^32: see [`Moments`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Regression {
    errors: Moments,
    absolute_error: Sum,
    actual: Moments,
    unanswered: i64,
}

impl Regression {
    fn record(&mut self, kept: &Kept, actual: f64, sign: Sign) -> Result<(), Misfit> {
        if !actual.is_finite() {
            return Err(Misfit::NotFinite);
        }
        match *kept {
            Kept::Value(predicted) if predicted.is_finite() => {
                let error = predicted - actual;
                self.errors.add(error, sign);
                self.absolute_error.add(error.abs(), sign);
                self.actual.add(actual, sign);
            }
            Kept::Value(_) => return Err(Misfit::NotFinite),
            Kept::Unreadable => self.unanswered += sign.unit(),
            _ => return Err(Misfit::Answer),
        }
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.errors.merge(&other.errors);
        self.absolute_error.merge(&other.absolute_error);
        self.actual.merge(&other.actual);
        self.unanswered += other.unanswered;
    }

    fn figures(&self) -> RegressionFigures {
        let answered = seen(self.errors.count());
        let mean = |sum: f64| (answered > 0).then(|| (sum / answered as f64).max(0.0));
        let r2 = || {
            let spread = self.actual.spread().filter(|spread| *spread > 0.0)?;
            Some(1.0 - self.errors.sum_of_squares().max(0.0) / spread)
        };
        RegressionFigures {
            outcomes: answered + seen(self.unanswered),
            unanswered: seen(self.unanswered),
            mae: mean(self.absolute_error.value()),
            rmse: mean(self.errors.sum_of_squares()).map(f64::sqrt),
            bias: self.errors.mean(),
            r2: r2(),
            clamped: self.errors.clamped() + self.actual.clamped(),
        }
    }
}

/// How good the answers of a regression were. Units are the host's own.
///
/// Values and errors are kept to 2^-32 (2.3e-10), within ±2^32 (4.29e9): targets of another size are best scaled in the
/// function that reads them off the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RegressionFigures {
    /// Predictions whose truth is known.
    pub outcomes: u64,
    /// Those of them that have no valid answer: they failed. They are in none of the other figures.
    pub unanswered: u64,
    /// The mean absolute error.
    pub mae: Option<f64>,
    /// The root of the mean squared error.
    pub rmse: Option<f64>,
    /// The mean error, predicted less actual: above 0 where answers are too high.
    pub bias: Option<f64>,
    /// The share of the variance that is explained: 1 - Σe² / Σ(y - ȳ)². `None` where all truths are the same.
    pub r2: Option<f64>,
    /// How many errors and true values lay beyond ±2^32 and were taken as that.
    pub clamped: u64,
}

impl RegressionFigures {
    fn measure(&self, metric: Metric) -> Option<Measured> {
        let answered = self.outcomes - self.unanswered.min(self.outcomes);
        match metric {
            Metric::Mae => Measured::over(self.mae, answered),
            Metric::Rmse => Measured::over(self.rmse, answered),
            Metric::Bias => Measured::over(self.bias, answered),
            Metric::R2 => Measured::over(self.r2, answered),
            _ => None,
        }
    }
}

/// Ranked lists, tallied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranking {
    depth: u8,
    lists: i64,
    unanswered: i64,
    without_relevant: i64,
    hits: i64,
    /// Relevant items in lists.
    found: i64,
    reciprocal_rank: Sum,
    ndcg: Sum,
}

impl Ranking {
    fn new(depth: u8) -> Self {
        Self {
            depth: depth.max(1),
            lists: 0,
            unanswered: 0,
            without_relevant: 0,
            hits: 0,
            found: 0,
            reciprocal_rank: Sum::default(),
            ndcg: Sum::default(),
        }
    }

    fn record(&mut self, kept: &Kept, relevant: &[u32], sign: Sign) -> Result<(), Misfit> {
        let empty = Ranked::default();
        let list = match kept {
            Kept::List(list) => list,
            // A list that did not come has no item in it.
            Kept::Unreadable => &empty,
            _ => return Err(Misfit::Answer),
        };
        self.lists += sign.unit();
        self.unanswered += if *kept == Kept::Unreadable { sign.unit() } else { 0 };
        self.without_relevant += if relevant.is_empty() { sign.unit() } else { 0 };
        let gains = list_gains(list, relevant, self.depth);
        self.found += i64::from(gains.found) * sign.unit();
        if gains.found > 0 {
            self.hits += sign.unit();
            self.reciprocal_rank.add(gains.reciprocal_rank, sign);
            self.ndcg.add(gains.ndcg, sign);
        }
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.lists += other.lists;
        self.unanswered += other.unanswered;
        self.without_relevant += other.without_relevant;
        self.hits += other.hits;
        self.found += other.found;
        self.reciprocal_rank.merge(&other.reciprocal_rank);
        self.ndcg.merge(&other.ndcg);
    }

    fn figures(&self) -> RankingFigures {
        let lists = seen(self.lists);
        let mean = |sum: Sum| (lists > 0).then(|| (sum.value() / lists as f64).clamp(0.0, 1.0));
        RankingFigures {
            outcomes: lists,
            unanswered: seen(self.unanswered),
            without_relevant: seen(self.without_relevant),
            depth: self.depth,
            hit_rate: ratio(seen(self.hits), lists),
            reciprocal_rank: mean(self.reciprocal_rank),
            ndcg: mean(self.ndcg),
            precision: ratio(seen(self.found), lists * u64::from(self.depth)),
        }
    }
}

/// What one ranked list was worth.
pub(crate) struct ListGains {
    /// Relevant items in it.
    pub(crate) found: u32,
    /// One over the rank of the first; 0 where there is none.
    pub(crate) reciprocal_rank: f64,
    pub(crate) ndcg: f64,
}

/// What a ranked list was worth down to `depth`, given the items that turned out to be relevant.
pub(crate) fn list_gains(list: &Ranked, relevant: &[u32], depth: u8) -> ListGains {
    let shown = list.hashes().iter().take(usize::from(depth));
    let (mut found, mut gain, mut first) = (0, 0.0, None);
    for (rank, _) in (1_u32..).zip(shown).filter(|(_, item)| relevant.contains(item)) {
        found += 1;
        gain += discount(rank);
        first = first.or(Some(rank));
    }
    let attainable = relevant.len().min(usize::from(depth)) as u32;
    let best: f64 = (1..=attainable).map(discount).sum();
    ListGains {
        found,
        reciprocal_rank: first.map_or(0.0, |first| 1.0 / f64::from(first)),
        ndcg: if found > 0 { gain / best } else { 0.0 },
    }
}

/// How good ranked lists were, down to the task's depth.
///
/// A list of which nothing turned out to be relevant, or that did not come at all, counts 0 in every figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankingFigures {
    /// Lists whose truth is known.
    pub outcomes: u64,
    /// Those of them that did not come, or were not valid: they failed.
    pub unanswered: u64,
    /// Those of them for which nothing turned out to be relevant, in the list or elsewhere.
    pub without_relevant: u64,
    /// How many items from the top are looked at: k.
    pub depth: u8,
    /// The share of lists with a relevant item.
    pub hit_rate: Option<f64>,
    /// The mean of one over the rank of the first relevant item; 0 where there is none.
    pub reciprocal_rank: Option<f64>,
    /// The normalised discounted cumulative gain: Σ 1/log2(1 + rank) over the relevant items of the list, over what the
    /// best list could have had (Järvelin and Kekäläinen 2002; relevance is yes or no).
    pub ndcg: Option<f64>,
    /// Relevant items over k, on average; a list that is shorter than k has nothing in the missing places.
    pub precision: Option<f64>,
}

impl RankingFigures {
    fn measure(&self, metric: Metric) -> Option<Measured> {
        match metric {
            Metric::HitRate => Measured::over(self.hit_rate, self.outcomes),
            Metric::ReciprocalRank => Measured::over(self.reciprocal_rank, self.outcomes),
            Metric::Ndcg => Measured::over(self.ndcg, self.outcomes),
            Metric::PrecisionAtK => Measured::over(self.precision, self.outcomes),
            _ => None,
        }
    }
}

/// A reliability diagram of ten equal bins.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Calibration([Reliability; CALIBRATION_BINS as usize]);

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Reliability {
    outcomes: i64,
    happened: i64,
    predicted: Sum,
}

impl Calibration {
    fn count(&mut self, probability: f32, happened: bool, sign: Sign) {
        if let Some(bin) = self.0.get_mut(usize::from(bin(probability, CALIBRATION_BINS))) {
            bin.outcomes += sign.unit();
            bin.happened += if happened { sign.unit() } else { 0 };
            bin.predicted.add(f64::from(probability), sign);
        }
    }

    fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.outcomes += other.outcomes;
            own.happened += other.happened;
            own.predicted.merge(&other.predicted);
        }
    }

    fn error(&self) -> Option<f64> {
        let used = || self.0.iter().filter(|bin| bin.outcomes > 0);
        let outcomes: i64 = used().map(|bin| bin.outcomes).sum();
        let gaps: f64 = used().map(|bin| (bin.predicted.value() - bin.happened as f64).abs()).sum();
        (outcomes > 0).then(|| (gaps / outcomes as f64).min(1.0))
    }

    fn figures(&self) -> Vec<CalibrationBin> {
        let bins = self.0.iter().zip(0_u8..).filter(|(bin, _)| bin.outcomes > 0);
        bins.map(|(bin, number)| CalibrationBin {
            from: f64::from(number) / f64::from(CALIBRATION_BINS),
            outcomes: seen(bin.outcomes),
            predicted: (bin.predicted.value() / bin.outcomes as f64).clamp(0.0, 1.0),
            observed: (bin.happened as f64 / bin.outcomes as f64).clamp(0.0, 1.0),
        })
        .collect()
    }
}

/// The number of the equal bin of 0..=1 in which a probability lies. In `f32`: there 0.7 x 10 is 7, as is meant.
#[inline]
pub(super) fn bin(probability: f32, bins: u16) -> u16 {
    ((probability * f32::from(bins)) as u16).min(bins - 1)
}

/// The area under the ROC curve by the rank sum (Mann and Whitney 1947), and how far off the bins can make it.
fn area_under_curve(yes: &Counts, no: &Counts) -> Option<(f64, f64)> {
    let total = |counts: &Counts| counts.seen().map(|(_, count)| count).sum::<u64>();
    let pairs = total(yes) as f64 * total(no) as f64;
    let mut no = no.seen().peekable();
    let (mut below, mut won, mut tied) = (0_u64, 0.0, 0.0);
    for (place, count) in yes.seen() {
        while let Some((_, passed)) = no.next_if(|(other, _)| *other < place) {
            below += passed;
        }
        won += count as f64 * below as f64;
        if let Some((_, same)) = no.peek().filter(|(other, _)| *other == place) {
            tied += count as f64 * *same as f64;
        }
    }
    (pairs > 0.0).then(|| ((won + tied / 2.0) / pairs, tied / 2.0 / pairs))
}

fn correlation(tp: f64, fp: f64, missed: f64, tn: f64) -> Option<f64> {
    let product = (tp + fp) * (tp + missed) * (tn + fp) * (tn + missed);
    (product > 0.0).then(|| (tp * tn - fp * missed) / product.sqrt())
}

fn discount(rank: u32) -> f64 {
    1.0 / f64::from(rank + 1).log2()
}

/// Bins of the score histograms for the AUC. On 5,000 scored car loans 1,024 bins bound the error by 0.0026; these are
/// coarser by four, and the bound is shown.
const AUC_BINS: u16 = 256;
const CALIBRATION_BINS: u16 = 10;
/// Probabilities are kept this far from 0 and 1 for the log-loss.
const CLIP: f64 = 1e-15;

#[cfg(test)]
mod tests {
    use super::*;
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
        let quality = tallied(TaskKind::Classes { classes }, &pairs);
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
            (TaskKind::Untold, p, Actual::Class(1), Misfit::Untold),
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

    /// What an answer and its truth can be made of, for every kind of task. (What is kept of an answer has no `Debug`.)
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

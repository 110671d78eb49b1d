//! Quality of one class of several.

use serde::{Deserialize, Serialize};

use super::calibration::{Calibration, CalibrationBin};
use super::metric::{Measured, Metric};
use super::misfit::Misfit;
use crate::stats::figures::fixed::{Sign, ratio};
use crate::stats::figures::sparse::Counts;
use crate::task::kept::Kept;

/// Classes, tallied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classes {
    classes: u16,
    /// By actual x classes + predicted.
    pub(crate) confusion: Counts,
    /// By actual.
    pub(crate) unanswered: Counts,
    calibration: Calibration,
}

impl Classes {
    pub(crate) fn new(classes: u16) -> Self {
        let (confusion, unanswered) = (Counts::default(), Counts::default());
        Self { classes: classes.max(1), confusion, unanswered, calibration: Calibration::default() }
    }

    pub(crate) fn record(&mut self, kept: &Kept, actual: u16, sign: Sign) -> Result<(), Misfit> {
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

    pub(crate) fn merge(&mut self, other: &Self) {
        self.confusion.merge(&other.confusion);
        self.unanswered.merge(&other.unanswered);
        self.calibration.merge(&other.calibration);
    }

    pub(crate) fn accuracy(&self) -> Option<f64> {
        let own = |place: u16| place / self.classes == place % self.classes;
        let (mut right, mut outcomes) = (0, self.unanswered.seen().map(|(_, count)| count).sum::<u64>());
        for (place, count) in self.confusion.seen() {
            outcomes += count;
            right += if own(place) { count } else { 0 };
        }
        ratio(right, outcomes)
    }

    pub(crate) fn figures(&self) -> ClassesFigures {
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
    pub(crate) fn measure(&self, metric: Metric) -> Option<Measured> {
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

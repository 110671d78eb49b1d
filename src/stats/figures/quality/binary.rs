//! Quality of a yes or no with a probability.

use serde::{Deserialize, Serialize};

use super::calibration::{Calibration, CalibrationBin, bin};
use super::metric::{Measured, Metric};
use super::misfit::Misfit;
use crate::stats::figures::fixed::{Sign, Sum, ratio, seen};
use crate::stats::figures::sparse::Counts;
use crate::task::kept::Kept;

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
    pub(crate) yes: Counts,
    /// Scores of what was no.
    pub(crate) no: Counts,
    calibration: Calibration,
}

impl Binary {
    pub(crate) fn new(threshold: f64) -> Self {
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

    pub(crate) fn record(&mut self, kept: &Kept, actual: u16, sign: Sign) -> Result<(), Misfit> {
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

    pub(crate) fn merge(&mut self, other: &Self) {
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

    pub(crate) fn accuracy(&self) -> Option<f64> {
        let right = seen(self.true_positives) + seen(self.true_negatives);
        let wrong = seen(self.false_positives) + seen(self.false_negatives);
        let unanswered = seen(self.unanswered_positives) + seen(self.unanswered_negatives);
        ratio(right, right + wrong + unanswered)
    }

    pub(crate) fn figures(&self) -> BinaryFigures {
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
    pub(crate) fn measure(&self, metric: Metric) -> Option<Measured> {
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

/// Bins of the score histograms for the AUC. On 5,000 scored car loans 1,024 bins bound the error by 0.0026; these are
/// coarser by four, and the bound is shown.
const AUC_BINS: u16 = 256;

/// Probabilities are kept this far from 0 and 1 for the log-loss.
const CLIP: f64 = 1e-15;

//! Estimating quality from calibrated scores.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::calibration::{Calibration, Step};
use crate::base::causes::debug_as_told;
use crate::base::invalid::ArgumentError;

/// Estimates the quality of a binary model from its scores alone: confidence-based performance estimation, CBPE
/// (NannyML 0.13; "Estimating model performance under covariate shift without labels", arXiv 2401.08348). A score that
/// means p is p of a true positive and 1 - p of a false one where the answer was yes, and p of a false negative and 1 -
/// p of a true one where it was no.
///
/// **Valid under covariate shift only**; see the [module](super).
///
/// What is kept are two counts for each step of the calibration, so that estimators that counted apart
/// [merge](Self::merge) in any order into the same as one; 4 KB at most. Recording costs a binary search and an
/// addition.
///
/// ```
/// use std::sync::Arc;
/// use switchback::drift::estimate::{Calibration, QualityEstimator};
///
/// let reference = (0..1_000).map(|n| (f64::from(n % 10) / 10.0, n % 10 > n / 10 % 10));
/// let mut traffic = QualityEstimator::new(Arc::new(Calibration::fit(reference)?), 0.5)?;
/// (0..500).for_each(|n| traffic.record(f64::from(n % 5 * 2) / 10.0));
/// let accuracy = traffic.estimate(0.05)?.accuracy.expect("there are scores");
/// assert!(accuracy.low < 0.8 && 0.8 < accuracy.high);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QualityEstimator {
    calibration: Arc<Calibration>,
    threshold: f64,
    /// By step: answers of no, and of yes.
    counts: Box<[[u64; 2]]>,
}

/// The quality that a model probably has. **Valid under covariate shift only**; see the [module](super).
///
/// What does not exist is not there: precision without an answer of yes, AUC where one class is not to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EstimatedQuality {
    /// How many scores it rests on.
    pub rows: u64,
    /// The share of right answers.
    pub accuracy: Option<Estimate>,
    /// The share of positives among answers of yes.
    pub precision: Option<Estimate>,
    /// The share of answers of yes among positives.
    pub recall: Option<Estimate>,
    /// The harmonic mean of precision and recall.
    pub f1: Option<Estimate>,
    /// The probability that a positive has a higher score than a negative, as far as the steps tell scores apart.
    pub auc: Option<Estimate>,
}

/// An estimate, and where the realised figure of these rows lies with an error of the `alpha` asked for: chance in
/// their labels, and in the labels of the calibration. Nothing else: not that scores may mean something else by now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl QualityEstimator {
    /// Answers are yes from a score of `threshold` on.
    ///
    /// # Errors
    ///
    /// A threshold that is not a number.
    pub fn new(calibration: Arc<Calibration>, threshold: f64) -> Result<Self, ArgumentError> {
        ArgumentError::unless(!threshold.is_nan(), "the threshold", threshold, "a number")?;
        Ok(Self::of(calibration, threshold))
    }

    /// The same, of a threshold that was looked at before.
    pub(crate) fn of(calibration: Arc<Calibration>, threshold: f64) -> Self {
        let counts = vec![[0; 2]; calibration.steps().len()].into();
        Self { calibration, threshold, counts }
    }

    /// Counts the score of an answer. What is not a number is passed over.
    #[inline]
    pub fn record(&mut self, score: f64) {
        if score.is_nan() {
            return;
        }
        let side = usize::from(score >= self.threshold);
        let step = self.counts.get_mut(self.calibration.place(score));
        if let Some(count) = step.and_then(|step| step.get_mut(side)) {
            *count = count.saturating_add(1);
        }
    }

    /// How many scores were counted.
    pub fn rows(&self) -> u64 {
        self.counts.iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds what another one counted.
    ///
    /// # Errors
    ///
    /// [`CalibrationMismatchError`] where it has another calibration or threshold; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), CalibrationMismatchError> {
        let same =
            Arc::ptr_eq(&self.calibration, &other.calibration) || self.calibration == other.calibration;
        if !same || self.threshold.total_cmp(&other.threshold).is_ne() {
            return Err(CalibrationMismatchError);
        }
        for (count, more) in self.counts.iter_mut().flatten().zip(other.counts.iter().flatten()) {
            *count = count.saturating_add(*more);
        }
        Ok(())
    }

    /// Gives what was counted, and counts from 0 again.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self::of(Arc::clone(&self.calibration), self.threshold);
        std::mem::replace(self, empty)
    }

    /// The quality that these scores are to be expected to have had, with intervals whose error is `alpha`.
    ///
    /// # Errors
    ///
    /// An error that is not above 0 and at most 1.
    pub fn estimate(&self, alpha: f64) -> Result<EstimatedQuality, ArgumentError> {
        let allowed = "more than 0 and at most 1";
        ArgumentError::unless(alpha > 0.0 && alpha <= 1.0, "alpha of an estimate", alpha, allowed)?;
        Ok(self.estimate_at(alpha))
    }

    /// The same, at an error that is known to be one.
    pub(crate) fn estimate_at(&self, alpha: f64) -> EstimatedQuality {
        let sums = Sums::of(self.groups());
        let z = quantile_of_normal(alpha);
        let of = |value: Option<f64>, slope: &dyn Fn(&Group) -> f64| {
            value.filter(|value| value.is_finite()).map(|value| {
                let away = z * self.variance(slope).sqrt();
                Estimate { value, low: (value - away).max(0.0), high: (value + away).min(1.0) }
            })
        };
        let Sums { rows, yes, positive, caught, right } = sums;
        let ratio = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        let sign = |group: &Group| if group.yes { 1.0 } else { -1.0 };
        let (recall, f1) = (ratio(caught, positive), ratio(2.0 * caught, yes + positive));
        let (at_recall, at_f1) = (recall.unwrap_or_default(), f1.unwrap_or_default());
        let caught_by = |group: &Group| f64::from(u8::from(group.yes));
        EstimatedQuality {
            rows: self.rows(),
            accuracy: of(ratio(right, rows), &|group| sign(group) / rows),
            precision: of(ratio(caught, yes), &|group| caught_by(group) / yes),
            recall: of(recall, &|group| (caught_by(group) - at_recall) / positive),
            f1: of(f1, &|group| (2.0 * caught_by(group) - at_f1) / (yes + positive)),
            auc: self.auc(z),
        }
    }

    fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        let steps = self.calibration.steps().iter().copied().zip(&self.counts);
        steps.flat_map(|(step, [no, yes])| {
            [(false, *no), (true, *yes)].map(|(yes, rows)| Group { step, yes, rows })
        })
    }

    /// The variance of a figure, `slope` being its derivative by how many positives there are in a group: to first
    /// order, labels of a group being independent with the step's probability, and that being known to its own error.
    fn variance(&self, slope: &dyn Fn(&Group) -> f64) -> f64 {
        let steps = self.calibration.steps().iter().copied().zip(&self.counts);
        steps
            .map(|(step, [no, yes])| {
                let p = step.cautious();
                let groups = [(false, *no), (true, *yes)].map(|(yes, rows)| {
                    let group = Group { step, yes, rows };
                    (slope(&group), rows as f64)
                });
                let labels: f64 = groups.iter().map(|(slope, rows)| slope * slope * rows).sum();
                let shift: f64 = groups.iter().map(|(slope, rows)| slope * rows).sum();
                p * (1.0 - p) * (labels + shift * shift / step.rows as f64)
            })
            .sum()
    }

    /// Pairs of a positive and a negative, those of one step being even.
    fn auc(&self, z: f64) -> Option<Estimate> {
        let steps: Vec<(Step, f64)> = (self.calibration.steps().iter().copied())
            .zip(self.counts.iter().map(|[no, yes]| *no as f64 + *yes as f64))
            .collect();
        let parts =
            steps.iter().map(|(step, rows)| (step.probability() * rows, (1.0 - step.probability()) * rows));
        let (positive, negative) =
            parts.clone().fold((0.0, 0.0), |(p, n), (more, less)| (p + more, n + less));
        if !(positive > 0.0 && negative > 0.0) {
            return None;
        }
        let (mut pairs, mut positive_below, mut negative_below) = (0.0, 0.0, 0.0);
        // By step: positives above it and negatives below, each with half of its own.
        let mut around = Vec::with_capacity(steps.len());
        for (p, n) in parts {
            pairs += p * (negative_below + n / 2.0);
            around.push((negative_below + n / 2.0, positive - positive_below - p / 2.0));
            positive_below += p;
            negative_below += n;
        }
        let value = pairs / (positive * negative);
        // One more positive in a step is one negative less.
        let variance: f64 = steps
            .iter()
            .zip(around)
            .map(|((step, rows), (below, above))| {
                let slope = (below - above - value * (negative - positive)) / (positive * negative);
                let p = step.cautious();
                p * (1.0 - p) * slope * slope * (rows + rows * rows / step.rows as f64)
            })
            .sum();
        let away = z * variance.sqrt();
        Some(Estimate { value, low: (value - away).max(0.0), high: (value + away).min(1.0) })
    }
}

/// Scores of one step with one answer.
#[derive(Clone, Copy)]
struct Group {
    step: Step,
    yes: bool,
    rows: u64,
}

/// The sums of what is to be expected.
#[derive(Default)]
struct Sums {
    rows: f64,
    /// Answers of yes.
    yes: f64,
    positive: f64,
    /// Positives that were answered yes.
    caught: f64,
    right: f64,
}

impl Sums {
    fn of(groups: impl Iterator<Item = Group>) -> Self {
        groups.fold(Self::default(), |mut sums, group| {
            let rows = group.rows as f64;
            let positive = group.step.probability() * rows;
            sums.rows += rows;
            sums.positive += positive;
            if group.yes {
                sums.yes += rows;
                sums.caught += positive;
                sums.right += positive;
            } else {
                sums.right += rows - positive;
            }
            sums
        })
    }
}

/// Returns what a normal variable exceeds on either side with a probability of `alpha` in all: 1.96 for 0.05. By
/// halving, of the tail that the tests use.
fn quantile_of_normal(alpha: f64) -> f64 {
    // The search ends at eight standard deviations, beyond which a tail has less than this.
    let alpha = alpha.max(1e-12);
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if libm::erfc(middle / std::f64::consts::SQRT_2) > alpha { low = middle } else { high = middle }
    }
    high
}

/// Two estimators do not mean the same by their counts.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the estimators have different calibrations or thresholds: only those of one calibration and threshold can be merged"
)]
pub struct CalibrationMismatchError;

debug_as_told!(CalibrationMismatchError);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::SplitMix64;
    use proptest::prelude::*;

    /// A score of x is right in x^2 of all cases: calibration has something to do.
    fn labelled(chance: &mut SplitMix64, bent: f64) -> (f64, bool) {
        let x = libm::pow(chance.uniform(), bent);
        (x, chance.uniform() < x * x)
    }

    fn estimator(calibration: &Arc<Calibration>) -> QualityEstimator {
        QualityEstimator::of(Arc::clone(calibration), 0.7)
    }

    /// By hand, from the formulas: four steps with 0, 1/4, 1/2 and 1.
    #[test]
    fn figures_are_those_of_the_expected_confusion_matrix() {
        let rows = [(0.1, 0, 4), (0.3, 1, 4), (0.6, 2, 4), (0.9, 4, 4)];
        let scored = rows.into_iter().flat_map(|(score, yes, all)| (0..all).map(move |n| (score, n < yes)));
        let calibration = Arc::new(Calibration::fit(scored).unwrap());
        let mut estimator = QualityEstimator::of(calibration, 0.5);
        for (score, times) in [(0.1, 10), (0.3, 20), (0.6, 40), (0.9, 30)] {
            (0..times).for_each(|_| estimator.record(score));
        }
        estimator.record(f64::NAN);
        let found = estimator.estimate_at(0.05);
        // tp 20 + 30, fp 20, fn 5, tn 15 + 10.
        let value = |estimate: Option<Estimate>| estimate.unwrap().value;
        assert_eq!(found.rows, 100);
        assert!((value(found.accuracy) - 0.75).abs() < 1e-12);
        assert!((value(found.precision) - 50.0 / 70.0).abs() < 1e-12);
        assert!((value(found.recall) - 50.0 / 55.0).abs() < 1e-12);
        assert!((value(found.f1) - 100.0 / 125.0).abs() < 1e-12);
        // Pairs: 5 x (10 + 7.5), 20 x (25 + 10), 30 x 45, of 55 x 45.
        assert!((value(found.auc) - (87.5 + 700.0 + 1_350.0) / 2_475.0).abs() < 1e-12);
    }

    #[test]
    fn under_covariate_shift_the_realised_accuracy_is_inside_as_often_as_was_said() {
        let mut chance = SplitMix64(5);
        let (mut inside, mut off, runs) = ([0_u32; 2], 0.0, 200);
        let calibration =
            Arc::new(Calibration::fit((0..20_000).map(|_| labelled(&mut chance, 1.0))).unwrap());
        for run in 0..runs {
            // Scores lower or higher than the reference's.
            let bent = if run % 2 == 0 { 0.6 } else { 1.8 };
            let rows: Vec<(f64, bool)> = (0..2_000).map(|_| labelled(&mut chance, bent)).collect();
            let mut traffic = estimator(&calibration);
            rows.iter().for_each(|(score, _)| traffic.record(*score));
            let right =
                rows.iter().filter(|(score, label)| (*score >= 0.7) == *label).count() as f64 / 2_000.0;
            let caught = rows.iter().filter(|(score, label)| *score >= 0.7 && *label).count() as f64;
            let recall = caught / rows.iter().filter(|(_, label)| *label).count() as f64;
            let found = traffic.estimate_at(0.05);
            for (place, (estimate, realised)) in
                [(found.accuracy.unwrap(), right), (found.recall.unwrap(), recall)].into_iter().enumerate()
            {
                inside[place] += u32::from((estimate.low..=estimate.high).contains(&realised));
            }
            off += (found.accuracy.unwrap().value - right).abs() / f64::from(runs);
        }
        assert!(inside.iter().all(|inside| (180..=200).contains(inside)), "{inside:?}");
        assert!(off < 0.012, "{off}");
    }

    #[test]
    fn without_scores_there_is_no_quality() {
        let calibration = Arc::new(Calibration::fit([(0.1, false), (0.9, true)]).unwrap());
        let empty = estimator(&calibration).estimate_at(0.05);
        assert_eq!((empty.rows, empty.accuracy, empty.auc), (0, None, None));
        let mut one = estimator(&calibration);
        one.record(0.0);
        for (alpha, said) in [(f64::NAN, "NaN"), (0.0, "0"), (1.5, "1.5")] {
            let refused = one.estimate(alpha).unwrap_err().to_string();
            assert_eq!(
                refused,
                format!("alpha of an estimate is {said}: it must be more than 0 and at most 1")
            );
        }
        let found = one.estimate(0.05).unwrap();
        assert_eq!((found.precision, found.recall, found.auc), (None, None, None));
        assert_eq!(found.accuracy.unwrap().value, 1.0);
        assert!(found.accuracy.unwrap().low < 1.0);
    }

    #[test]
    fn normal_quantiles_are_those_of_tables() {
        for (alpha, expected) in [(0.05, 1.959_963_984_540_054), (0.01, 2.575_829_303_548_901), (1.0, 0.0)] {
            assert!((quantile_of_normal(alpha) - expected).abs() < 1e-9);
        }
    }

    proptest! {
        #[test]
        fn merged_in_any_order_it_is_one_pass(scores in prop::collection::vec((0.0..1.0_f64, any::<bool>()), 0..60)) {
            let calibration = Arc::new(Calibration::fit([(0.1, false), (0.5, true), (0.6, false), (0.9, true)]).unwrap());
            let (mut one, mut a, mut b) =
                (estimator(&calibration), estimator(&calibration), estimator(&calibration));
            for (score, first) in scores {
                one.record(score);
                if first { a.record(score) } else { b.record(score) }
            }
            let mut turned = b.clone();
            turned.merge(&a).unwrap();
            a.merge(&b).unwrap();
            prop_assert_eq!(&a, &one);
            prop_assert_eq!(turned, one);
            let other = QualityEstimator::of(calibration, 0.2);
            prop_assert_eq!(a.merge(&other), Err(CalibrationMismatchError));
        }
    }
}

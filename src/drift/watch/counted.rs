//! Counts of sampled requests: profiles of inputs and of answers, and scores by what they mean.

use std::sync::Arc;

use super::answers::Answers;
use crate::drift::estimate::{Calibration, QualityEstimator};
use crate::drift::{Profile, ReferenceProfile};
use crate::task::kept::Kept;
use crate::task::task::TaskKind;

/// Counts of some requests.
#[derive(Clone)]
pub(crate) struct Counted {
    /// The inputs that came; nothing for copies, which were counted when they came.
    pub(crate) inputs: Option<Profile>,
    /// The answers that were given.
    pub(crate) answers: Profile,
    /// The meaning of the scores, where that is known: of scores as they are kept.
    pub(crate) estimator: Option<QualityEstimator>,
}

impl Counted {
    pub(crate) fn new(
        inputs: Option<&ReferenceProfile>,
        answers: &Answers,
        calibration: Option<Arc<Calibration>>,
    ) -> Self {
        let estimator = calibration.and_then(|calibration| match answers.kind {
            // What is kept of a probability is an `f32`, and so is what the task holds it against.
            TaskKind::Binary { threshold } => {
                Some(QualityEstimator::of(calibration, f64::from(threshold as f32)))
            }
            _ => None,
        });
        Self {
            inputs: inputs.map(ReferenceProfile::profile),
            answers: answers.reference.profile(),
            estimator,
        }
    }

    /// Counts a row by its bins. No inputs where they could not be read.
    #[inline]
    pub(crate) fn count(&mut self, inputs: &[u32], answers: &[u32], kept: Option<&Kept>) {
        if let Some(profile) = self.inputs.as_mut().filter(|_| !inputs.is_empty()) {
            profile.count(inputs);
        }
        self.answers.count(answers);
        if let (Some(estimator), Some(Kept::Probability(probability))) = (&mut self.estimator, kept) {
            estimator.record(f64::from(*probability));
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.answers.rows()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // All are counted in the bins of one handle, so nothing can be refused but another calibration.
        match (&mut self.inputs, &other.inputs) {
            (Some(own), Some(other)) => {
                let _ = own.merge(other);
            }
            (own @ None, Some(other)) => *own = Some(other.clone()),
            (_, None) => {}
        }
        let _ = self.answers.merge(&other.answers);
        merge_estimators(&mut self.estimator, other.estimator.as_ref());
    }

    /// Returns what was counted, and counts from 0 again.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            inputs: self.inputs.as_mut().map(Profile::take),
            answers: self.answers.take(),
            estimator: self.estimator.as_mut().map(QualityEstimator::take),
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(inputs) = &mut self.inputs {
            inputs.clear();
        }
        self.answers.clear();
        if let Some(estimator) = &mut self.estimator {
            let _ = estimator.take();
        }
    }
}

/// Adds scores that mean the same. Those of another calibration take the place of what was there.
pub(crate) fn merge_estimators(own: &mut Option<QualityEstimator>, other: Option<&QualityEstimator>) {
    let Some(other) = other else { return };
    match own {
        Some(own) => {
            if own.merge(other).is_err() {
                *own = other.clone();
            }
        }
        None => *own = Some(other.clone()),
    }
}

/// The error of one look of many, so that all of them together have `alpha`: the squares of one over the number of a
/// look add up to pi squared over six.
pub(crate) fn look_alpha(alpha: f64, look: u32) -> f64 {
    let look = f64::from(look.max(1));
    alpha * 6.0 / (std::f64::consts::PI * std::f64::consts::PI * look * look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_looks_together_err_no_more_than_was_allowed() {
        let sum: f64 = (1..100_000).map(|look| look_alpha(0.01, look)).sum();
        assert!((0.009_99..=0.01).contains(&sum), "{sum}");
    }
}

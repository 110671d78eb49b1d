//! A calibration says what a score means: the share of positives among those that had it.

use crate::base::causes::debug_as_told;
use serde::{Deserialize, Serialize};

/// The most steps of a calibration.
pub const STEPS_MAX: usize = 256;

/// Scores are taken together in so many groups before they are fitted.
const GROUPS_MAX: usize = 4_096;

/// From scores to probabilities, by isotonic regression: the steps that rise with the score and are nearest to the
/// labels (Ayer, Brunk, Ewing, Reid & Silverman, Ann. Math. Stat. 26, 1955, pool adjacent violators; as scikit-learn's
/// `IsotonicRegression` at the scores it was fitted on). A table of at most 256 steps.
///
/// ```
/// use switchback::drift::estimate::Calibration;
///
/// let calibration = Calibration::fit([(0.1, false), (0.2, false), (0.6, true), (0.7, false), (0.9, true)])?;
/// assert_eq!(calibration.probability(0.65), Some(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Calibration {
    steps: Vec<Step>,
}

/// Scores from one on that mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// The lowest score it was fitted on. A score below the first step's belongs to the first.
    pub(crate) from: f64,
    /// How many rows it was fitted on.
    pub(crate) rows: u64,
    /// How many of them were positive.
    pub(crate) positive: u64,
}

impl Step {
    /// The probability of a positive.
    pub(crate) fn probability(self) -> f64 {
        self.positive as f64 / self.rows.max(1) as f64
    }

    /// The same as a statistician would bet: no step is sure of itself (Jeffreys' prior).
    pub(crate) fn cautious(self) -> f64 {
        (self.positive as f64 + 0.5) / (self.rows as f64 + 1.0)
    }

    fn joined(self, later: Self) -> Self {
        let rows = self.rows.saturating_add(later.rows);
        Self { from: self.from, rows, positive: self.positive.saturating_add(later.positive) }
    }

    /// Whether this one lies above the next, in whole numbers: so that it is exact.
    fn above(self, next: Self) -> bool {
        u128::from(self.positive) * u128::from(next.rows) >= u128::from(next.positive) * u128::from(self.rows)
    }
}

impl Calibration {
    /// Fits scores to labels of reference data, ones that the model was *not* trained on. Holds them all while it fits.
    ///
    /// Scores that are not finite are passed over. More than 4,096 different ones are first taken together by rank;
    /// more steps than 256 are joined where that changes least.
    ///
    /// # Errors
    ///
    /// [`CalibrationError`] where there are no scores, or all labels are the same: then a score means nothing.
    pub fn fit(scored: impl IntoIterator<Item = (f64, bool)>) -> Result<Self, CalibrationError> {
        let mut rows: Vec<(f64, bool)> = scored.into_iter().filter(|(score, _)| score.is_finite()).collect();
        rows.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let positive = rows.iter().filter(|(_, label)| *label).count();
        if rows.is_empty() || positive == 0 || positive == rows.len() {
            return Err(CalibrationError::OneClass { rows: rows.len() });
        }
        let size = rows.len().div_ceil(GROUPS_MAX) as u64;
        let mut groups: Vec<Step> = Vec::new();
        for same in rows.chunk_by(|(a, _), (b, _)| a == b) {
            let positive = same.iter().filter(|(_, label)| *label).count() as u64;
            let Some((from, _)) = same.first().copied() else { continue };
            let step = Step { from, rows: same.len() as u64, positive };
            match groups.last_mut() {
                Some(group) if group.rows < size => *group = group.joined(step),
                _ => groups.push(step),
            }
        }
        Ok(Self { steps: thinned(pooled(groups)) })
    }

    /// The probability of a positive, of those with this score; nothing for what is not a number.
    pub fn probability(&self, score: f64) -> Option<f64> {
        if score.is_nan() {
            return None;
        }
        self.steps.get(self.place(score)).map(|step| step.probability())
    }

    /// The same, for scores that were rounded to `f32` as a handle keeps them: each is on the step that it was on before. Steps
    /// that no such score tells apart become one.
    pub(crate) fn of_rounded(self) -> Self {
        let mut steps: Vec<Step> = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            let from = f64::from(step.from as f32);
            match steps.last_mut() {
                Some(before) if before.from >= from => *before = before.joined(step),
                _ => steps.push(Step { from, ..step }),
            }
        }
        Self { steps }
    }

    /// Which step a score is on.
    #[inline]
    pub(crate) fn place(&self, score: f64) -> usize {
        self.steps.partition_point(|step| step.from <= score).saturating_sub(1)
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// Steps that rise: whatever falls is joined with what it falls from.
fn pooled(groups: Vec<Step>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for group in groups {
        let mut step = group;
        while let Some(before) = steps.pop_if(|before| before.above(step)) {
            step = before.joined(step);
        }
        steps.push(step);
    }
    steps
}

/// No more than there may be: neighbours are joined where squared errors grow least.
fn thinned(mut steps: Vec<Step>) -> Vec<Step> {
    let cost = |a: Step, b: Step| {
        let apart = a.probability() - b.probability();
        a.rows as f64 * b.rows as f64 / (a.rows as f64 + b.rows as f64) * apart * apart
    };
    while steps.len() > STEPS_MAX {
        let costs = steps.windows(2).map(|two| match two {
            [a, b] => cost(*a, *b),
            _ => f64::INFINITY,
        });
        let Some((place, _)) = costs.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b)) else { break };
        let later = steps.remove(place + 1);
        if let Some(step) = steps.get_mut(place) {
            *step = step.joined(later);
        }
    }
    steps
}

/// A calibration as it is written down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    steps: Vec<Step>,
}

impl TryFrom<Written> for Calibration {
    type Error = CalibrationError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let steps = written.steps;
        let rises = |two: &[Step]| matches!(two, [a, b] if a.from < b.from && !a.above(*b));
        let whole = |step: &Step| step.from.is_finite() && step.rows > 0 && step.positive <= step.rows;
        let rows = steps.iter().try_fold(0_u64, |sum, step| sum.checked_add(step.rows));
        if steps.is_empty() || steps.len() > STEPS_MAX || rows.is_none() {
            return Err(CalibrationError::Steps { found: steps.len() });
        }
        if !steps.iter().all(whole) || !steps.windows(2).all(rises) {
            return Err(CalibrationError::Falls);
        }
        Ok(Self { steps })
    }
}

/// This is no calibration.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A calibration needs scores of positives and of negatives.
    #[error(
        "all {rows} scores have labels of one class: a calibration needs rows of both, which the model was not trained on"
    )]
    OneClass {
        /// How many scores there are.
        rows: usize,
    },
    /// One that was read has no steps, or too many.
    #[error("the calibration has {found} steps: it must have 1 to {STEPS_MAX}")]
    Steps {
        /// How many it has.
        found: usize,
    },
    /// One that was read does not rise with the score.
    #[error("the steps of the calibration are empty or do not rise with the score: fit it again")]
    Falls,
}

debug_as_told!(CalibrationError);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// scikit-learn 1.9.1, `IsotonicRegression`.
    #[test]
    fn calibration_is_scikit_learns() {
        let scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];
        let labels = [0, 0, 1, 0, 0, 1, 1, 0, 1, 1].map(|label| label == 1);
        let calibration = Calibration::fit(scores.into_iter().zip(labels)).unwrap();
        let (third, two_thirds) = (1.0 / 3.0, 2.0 / 3.0);
        let expected = [0.0, 0.0, third, third, third, two_thirds, two_thirds, two_thirds, 1.0, 1.0];
        for (score, expected) in scores.into_iter().zip(expected) {
            assert_eq!(calibration.probability(score), Some(expected));
        }
        assert_eq!(calibration.probability(-7.0), Some(0.0));
        assert_eq!(calibration.probability(f64::INFINITY), Some(1.0));
        assert_eq!(calibration.probability(f64::NAN), None);
    }

    #[test]
    fn a_smooth_curve_has_no_more_steps_than_there_may_be_and_stays_near() {
        // One in a hundred at each hundredth, growing evenly.
        let rows = (0..1_000_000_u64).map(|n| (n as f64 / 1e6, n.wrapping_mul(7_919) % 1_000_000 < n));
        let calibration = Calibration::fit(rows).unwrap();
        assert!(calibration.steps.len() <= STEPS_MAX && calibration.steps.len() > 20);
        for score in [0.1, 0.5, 0.9] {
            assert!((calibration.probability(score).unwrap() - score).abs() < 0.02);
        }
        assert_eq!(calibration.steps.iter().map(|step| step.rows).sum::<u64>(), 1_000_000);
    }

    /// `f32` has a number every 6e-8 below 1, none at 0.9 itself, and ends at 3.4e38.
    #[test]
    fn scores_that_are_rounded_stay_on_their_steps_and_steps_without_one_are_joined() {
        let froms = [-1e300, 0.3, 0.9, 0.9 + 1e-12, 0.95, 1e300, 2e300];
        let steps = froms.into_iter().zip(1..).map(|(from, positive)| Step { from, rows: 10, positive });
        let rounded = Calibration { steps: steps.collect() }.of_rounded();
        let of = |score: f64| rounded.probability(f64::from(score as f32)).unwrap();
        for (score, expected) in
            [(-7.0, 0.1), (0.3, 0.2), (0.899, 0.2), (0.9, 0.35), (0.95, 0.5), (0.951, 0.5)]
        {
            assert_eq!(of(score), expected, "{score}");
        }
        assert_eq!(rounded.steps.iter().map(|step| step.rows).sum::<u64>(), 70);
        assert_eq!(rounded.clone().of_rounded(), rounded);
    }

    #[test]
    fn labels_of_one_class_and_no_labels_are_refused() {
        for rows in [vec![], vec![(0.5, true); 3], vec![(f64::NAN, true), (0.5, false)]] {
            assert!(matches!(Calibration::fit(rows), Err(CalibrationError::OneClass { .. })));
        }
    }

    proptest! {
        #[test]
        fn probabilities_rise_with_the_score_and_keep_the_mean(
            rows in prop::collection::vec((-3..3_i32, any::<bool>()), 2..80)
        ) {
            let scored: Vec<(f64, bool)> = rows.into_iter().map(|(score, label)| (score.into(), label)).collect();
            let Ok(calibration) = Calibration::fit(scored.iter().copied()) else { return Ok(()) };
            let of = |score: f64| calibration.probability(score).unwrap();
            prop_assert!((-3..3).all(|score| of(score.into()) <= of((score + 1).into())));
            let expected = scored.iter().filter(|(_, label)| *label).count() as f64;
            prop_assert!((scored.iter().map(|(score, _)| of(*score)).sum::<f64>() - expected).abs() < 1e-9);
            let text = serde_json::to_string(&calibration).unwrap();
            prop_assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
        }

        #[test]
        fn no_mutation_of_json_breaks_anything(at in any::<prop::sample::Index>(), with in "[-0-9e,\\]\\[\\{\\}\":a-z.]{0,3}") {
            let text = serde_json::to_string(&Calibration::fit([(0.1, false), (0.5, true)]).unwrap()).unwrap();
            let at = at.index(text.len());
            let mutated = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            if let Ok(read) = serde_json::from_str::<Calibration>(&mutated) {
                prop_assert!((0.0..=1.0).contains(&read.probability(0.3).unwrap()));
            }
        }
    }
}

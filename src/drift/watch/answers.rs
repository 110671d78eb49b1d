//! Answers of versions, counted in bins that are the same for all of them.

use crate::drift::ReferenceProfile;
use crate::task::kept::Kept;
use crate::task::task::TaskKind;

/// The bins of answers. One that failed lacks all of it.
pub(crate) struct Answers {
    pub(crate) kind: TaskKind,
    pub(crate) reference: ReferenceProfile,
}

/// Names the bins of answers in tables.
const SCORE: &str = "score";

const PREDICTION: &str = "prediction";

/// Bins of numbers are this many to a doubling.
const PER_DOUBLING: i32 = 4;

/// Numbers are told apart from 2 to this power, 15 millionths, up to 2 to that, 10^15, on both sides of 0: what lies beyond is in one bin. All of what an
/// `f64` can hold would be 16,000 bins.
const DOUBLINGS: std::ops::RangeInclusive<i32> = -16..=50;

/// Classes have a bin each up to so many; beyond, they share them in turn: a bin per class of 10,000 would have too few
/// answers to compare, and each window of each version would take 80 KB.
const CLASSES: u32 = 256;

/// Items of a ranking are told apart by so many bins of their hash.
const ITEMS: u32 = 64;

impl Answers {
    pub(crate) fn new(kind: TaskKind) -> Self {
        let features = match kind {
            TaskKind::Binary { .. } => vec![(SCORE, of_probabilities()), (PREDICTION, whole(2))],
            TaskKind::Classes { classes } => {
                vec![(SCORE, of_probabilities()), (PREDICTION, whole(classes.min(CLASSES)))]
            }
            TaskKind::Regression => vec![(PREDICTION, of_numbers())],
            TaskKind::Ranking { .. } => vec![(PREDICTION, whole(ITEMS))],
            TaskKind::Unlabelled => vec![(PREDICTION, whole(1))],
        };
        Self { kind, reference: ReferenceProfile::without_rows(features) }
    }

    /// Adds the bins of an answer to a row.
    #[inline]
    pub(crate) fn push(&self, kept: Option<&Kept>, slots: &mut Vec<u32>) {
        let mut cells = self.reference.cells(slots);
        match (self.kind, kept) {
            (TaskKind::Binary { threshold }, Some(Kept::Probability(probability))) => {
                cells.push(f64::from(*probability));
                cells.push(f64::from(u8::from(*probability >= threshold as f32)));
            }
            (_, Some(Kept::Class { class, confidence })) => {
                cells.push(f64::from(*confidence));
                cells.push(f64::from(u32::from(*class) % CLASSES));
            }
            (_, Some(Kept::Value(value))) => cells.push(*value),
            (_, Some(Kept::List(list))) => {
                cells.push(list.hashes().first().map(|hash| f64::from(hash % ITEMS)));
            }
            (TaskKind::Unlabelled, Some(Kept::Nothing)) => cells.push(0.0),
            _ => (0..2).for_each(|_| cells.push(None::<f64>)),
        }
    }
}

/// A bin for each number from 0 on.
fn whole(numbers: u32) -> Vec<f64> {
    (0..=numbers).map(|number| f64::from(number) - 0.5).collect()
}

/// As wide as half a step of the logit, so that one in a thousand is told from two in a thousand.
fn of_probabilities() -> Vec<f64> {
    let inner = (-14..=14).map(|step| 1.0 / (1.0 + libm::exp(-f64::from(step) / 2.0)));
    [0.0].into_iter().chain(inner).chain([1.0]).collect()
}

/// A fifth as wide as the numbers themselves, on both sides of 0.
fn of_numbers() -> Vec<f64> {
    let steps = DOUBLINGS.start() * PER_DOUBLING..=DOUBLINGS.end() * PER_DOUBLING;
    let above: Vec<f64> = steps.map(|step| libm::exp2(f64::from(step) / f64::from(PER_DOUBLING))).collect();
    above.iter().rev().map(|edge| -edge).chain(above.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_bin_and_a_failure_lacks_all() {
        let kinds = [
            (TaskKind::Binary { threshold: 0.5 }, Kept::Probability(0.7)),
            (TaskKind::Classes { classes: 3 }, Kept::Class { class: 2, confidence: 0.9 }),
            (TaskKind::Regression, Kept::Value(-3.5)),
            (TaskKind::Unlabelled, Kept::Nothing),
        ];
        for (kind, kept) in kinds {
            let answers = Answers::new(kind);
            let mut profile = answers.reference.profile();
            for kept in [Some(&kept), None, Some(&Kept::Unreadable)] {
                let mut slots = Vec::new();
                answers.push(kept, &mut slots);
                profile.count(&slots);
            }
            assert_eq!(profile.missing("prediction"), Some(2), "{kind:?}");
            assert_eq!(profile.bins("prediction").unwrap().iter().sum::<u64>(), 1, "{kind:?}");
        }
    }

    #[test]
    fn edges_rise() {
        for edges in [of_probabilities(), of_numbers(), whole(64)] {
            assert!(edges.windows(2).all(|two| two[0] < two[1]), "{edges:?}");
        }
    }
}

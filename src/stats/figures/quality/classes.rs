//! Quality of one class of several, of any number of classes in bounded memory.

use serde::{Deserialize, Serialize};

use super::calibration::{Calibration, CalibrationBin};
use super::metric::{Measured, Metric};
use super::misfit::Misfit;
use crate::stats::figures::fixed::{Sign, ratio, seen};
use crate::stats::figures::sparse::{Counts, reserve_within};
use crate::task::kept::Kept;

/// The most classes that one tally tells apart, of 40 bytes each: more figures than anybody reads.
pub(crate) const CLASSES_APART: usize = 1_024;

/// The most pairs of a true and another class that one tally tells apart, of 12 bytes each.
pub(crate) const PAIRS_APART: usize = 4_096;

/// Classes, tallied.
///
/// What is of all classes is counted apart from what is of single ones, and is exact whatever their number. Of single
/// classes, those with the lowest [`rank`] are kept, and rows of the confusion matrix likewise, each whole. Which these are
/// depends on the classes that were seen and on nothing else: not on their order, and not on how often each came. So
/// tallies merge in any order into the same, both versions of a comparison keep the same ones, and the means over them are
/// not those of the frequent ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classes {
    classes: u32,
    right: i64,
    wrong: i64,
    unanswered: i64,
    each: Each,
    confused: Confused,
    calibration: Calibration,
}

impl Classes {
    pub(crate) fn new(classes: u32) -> Self {
        Self {
            classes,
            right: 0,
            wrong: 0,
            unanswered: 0,
            each: Each::default(),
            confused: Confused::default(),
            calibration: Calibration::default(),
        }
    }

    pub(crate) fn record(&mut self, kept: &Kept, actual: u16, sign: Sign) -> Result<(), Misfit> {
        let is_one = |class: u16| u32::from(class) < self.classes;
        if !is_one(actual) {
            return Err(Misfit::Class);
        }
        match *kept {
            Kept::Class { class, .. } if !is_one(class) => return Err(Misfit::Class),
            Kept::Class { class, confidence } => {
                self.calibration.count(confidence, class == actual, sign);
                if class == actual {
                    self.right += sign.unit();
                    self.each.change(actual, |of| of.right += sign.unit());
                } else {
                    self.wrong += sign.unit();
                    self.each.change(actual, |of| of.missed += sign.unit());
                    self.each.change(class, |of| of.mistaken += sign.unit());
                    self.confused.count(actual, class, sign);
                }
            }
            Kept::Unreadable => {
                self.unanswered += sign.unit();
                self.each.change(actual, |of| of.unanswered += sign.unit());
            }
            _ => return Err(Misfit::Answer),
        }
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.unanswered += other.unanswered;
        self.each.merge(&other.each);
        self.confused.merge(&other.confused);
        self.calibration.merge(&other.calibration);
    }

    pub(crate) fn accuracy(&self) -> Option<f64> {
        let right = seen(self.right);
        ratio(right, right + seen(self.wrong) + seen(self.unanswered))
    }

    pub(crate) fn figures(&self) -> ClassesFigures {
        let mut per_class: Vec<ClassFigures> = self.each.kept.iter().filter_map(OfClass::figures).collect();
        per_class.sort_unstable_by_key(|figures| figures.class);
        let confusion = self.confusion();
        let [right, wrong, unanswered] = [self.right, self.wrong, self.unanswered].map(seen);
        let (answered, outcomes) = (right + wrong, right + wrong + unanswered);
        let apart: u64 = per_class.iter().map(|class| class.support).sum();
        let in_rows: u64 = confusion.iter().map(|cell| cell.count).sum();
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
            outcomes_not_apart: outcomes.saturating_sub(apart),
            per_class,
            answers_not_apart: answered.saturating_sub(in_rows),
            confusion,
        }
    }

    /// The rows of the matrix that are whole: right answers are known of each class, the others of some.
    fn confusion(&self) -> Vec<ConfusionCell> {
        let is_whole = |class: u16| self.each.has_room_for(class) && self.confused.has_room_for(class);
        let right = self.each.kept.iter().map(|of| (of.class(), of.class(), seen(of.right)));
        let mut cells: Vec<ConfusionCell> = right
            .chain(self.confused.seen())
            .filter(|(actual, _, count)| *count > 0 && is_whole(*actual))
            .map(|(actual, predicted, count)| ConfusionCell { actual, predicted, count })
            .collect();
        cells.sort_unstable_by_key(|cell| (cell.actual, cell.predicted));
        cells
    }

    /// Returns what is allocated beside the value itself, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.each.kept.capacity() * size_of::<OfClass>() + self.confused.pairs.bytes()
    }
}

/// Multiplied by it, neighbours come to lie far apart: 2^16 over the golden ratio. It is odd, so no two classes share a rank.
const SPREAD: u16 = 40_503;

/// Times [`SPREAD`] it is 1, modulo 2^16.
const GATHER: u16 = 30_599;

/// The place of a class in the order in which classes are kept: the first thousand are spread evenly over all of them, as
/// numbers of classes often follow a taxonomy.
fn rank(class: u16) -> u16 {
    class.wrapping_mul(SPREAD)
}

/// The counts of single classes, in order of rank.
#[derive(Debug, Clone, PartialEq, Default)]
struct Each {
    kept: Vec<OfClass>,
    /// The lowest rank for which there was no room. It only ever falls, so whatever is kept was kept from the start.
    full_from: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct OfClass {
    rank: u16,
    /// It was answered, and is the true one.
    right: i64,
    /// It is the true one, and another was answered.
    missed: i64,
    /// It is the true one, and no valid answer came.
    unanswered: i64,
    /// It was answered, and another is the true one.
    mistaken: i64,
}

impl OfClass {
    fn new(rank: u16) -> Self {
        Self { rank, right: 0, missed: 0, unanswered: 0, mistaken: 0 }
    }

    fn class(&self) -> u16 {
        self.rank.wrapping_mul(GATHER)
    }

    fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.missed += other.missed;
        self.unanswered += other.unanswered;
        self.mistaken += other.mistaken;
    }

    fn is_zero(&self) -> bool {
        *self == Self::new(self.rank)
    }

    /// Nothing where it was neither seen nor answered.
    fn figures(&self) -> Option<ClassFigures> {
        let right = seen(self.right);
        let support = right + seen(self.missed) + seen(self.unanswered);
        let predicted = right + seen(self.mistaken);
        (predicted + support > 0).then(|| ClassFigures {
            class: self.class(),
            support,
            predicted,
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, predicted + support),
        })
    }
}

impl Each {
    fn has_room_for(&self, class: u16) -> bool {
        self.full_from.is_none_or(|full_from| rank(class) < full_from)
    }

    fn change(&mut self, class: u16, change: impl FnOnce(&mut OfClass)) {
        if !self.has_room_for(class) {
            return;
        }
        let rank = rank(class);
        let found = self.kept.binary_search_by_key(&rank, |of| of.rank);
        let place = found.unwrap_or_else(|place| place);
        if found.is_err() {
            if self.kept.len() >= CLASSES_APART {
                // It takes the place of the last one, or it is the last one.
                let last = self.kept.pop_if(|last| last.rank > rank);
                self.full_from = Some(last.map_or(rank, |last| last.rank));
                if last.is_none() {
                    return;
                }
            }
            reserve_within(&mut self.kept, CLASSES_APART);
            self.kept.insert(place, OfClass::new(rank));
        }
        if let Some(of) = self.kept.get_mut(place) {
            change(of);
            if of.is_zero() {
                self.kept.remove(place);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        let full_from = self.full_from.into_iter().chain(other.full_from).min();
        let (mut own, mut theirs) = (self.kept.iter().peekable(), other.kept.iter().peekable());
        let mut merged: Vec<OfClass> = Vec::new();
        self.full_from = full_from;
        while let Some(rank) = own.peek().into_iter().chain(theirs.peek()).map(|of| of.rank).min() {
            let mut of = OfClass::new(rank);
            own.next_if(|own| own.rank == rank).into_iter().for_each(|own| of.add(own));
            theirs.next_if(|theirs| theirs.rank == rank).into_iter().for_each(|theirs| of.add(theirs));
            if full_from.is_some_and(|full_from| rank >= full_from) {
                break;
            }
            if of.is_zero() {
                continue;
            }
            if merged.len() >= CLASSES_APART {
                self.full_from = Some(rank);
                break;
            }
            reserve_within(&mut merged, CLASSES_APART);
            merged.push(of);
        }
        // A slot of a window lives long, and is not to hold twice its size.
        merged.shrink_to_fit();
        self.kept = merged;
    }
}

/// The confusion matrix beside its diagonal: how often a class was answered where another is the true one.
#[derive(Debug, Clone, PartialEq, Default)]
struct Confused {
    /// By the rank of the true class, and then by the class that was answered: a row's pairs lie together.
    pairs: Counts<u32>,
    /// The lowest rank of a row for which there was no room.
    full_from: Option<u16>,
}

impl Confused {
    fn has_room_for(&self, actual: u16) -> bool {
        self.full_from.is_none_or(|full_from| rank(actual) < full_from)
    }

    fn count(&mut self, actual: u16, predicted: u16, sign: Sign) {
        let row = rank(actual);
        let pair = u32::from(row) << 16 | u32::from(predicted);
        if self.pairs.len() >= PAIRS_APART && !self.pairs.has(pair) {
            // The last row goes, whole; and where that is its own, the pair with it.
            self.forget_last_row(row);
        }
        if self.has_room_for(actual) {
            self.pairs.reserve_within(PAIRS_APART);
            self.pairs.count(pair, sign);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.pairs.merge(&other.pairs);
        self.full_from = self.full_from.into_iter().chain(other.full_from).min();
        if let Some(full_from) = self.full_from {
            self.pairs.forget_from(u32::from(full_from) << 16, PAIRS_APART);
        }
        while self.pairs.len() > PAIRS_APART {
            self.forget_last_row(0);
        }
    }

    /// Forgets the last row, as long as it does not come before `row`.
    fn forget_last_row(&mut self, row: u16) {
        let last = self.pairs.last().map_or(0, |pair| (pair >> 16) as u16);
        let row = last.max(row);
        self.full_from = Some(self.full_from.map_or(row, |full_from| full_from.min(row)));
        self.pairs.forget_from(u32::from(row) << 16, PAIRS_APART);
    }

    fn seen(&self) -> impl Iterator<Item = (u16, u16, u64)> + '_ {
        self.pairs.seen().map(|(pair, count)| {
            let (row, predicted) = ((pair >> 16) as u16, pair as u16);
            (row.wrapping_mul(GATHER), predicted, count)
        })
    }
}

/// How good the answers of a task of classes were.
///
/// Accuracy and calibration are of all classes. Single classes are told apart as long as no more than 1,024 of them were
/// seen or answered, and cells of the confusion matrix as long as no more than 4,096 pairs of classes were confused. Beyond,
/// those that are told apart are spread evenly over all numbers of classes, whole rows each, the same ones for every
/// version; the rest is counted in [`outcomes_not_apart`](Self::outcomes_not_apart) and
/// [`answers_not_apart`](Self::answers_not_apart).
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
    /// The mean of the classes' precisions: over the classes that are told apart, where one that was never answered counts 0
    /// (as in scikit-learn).
    pub macro_precision: Option<f64>,
    /// The mean of the classes' recalls, over the same classes; one that was never seen counts 0.
    pub macro_recall: Option<f64>,
    /// The mean of the classes' F1, over the same classes.
    pub macro_f1: Option<f64>,
    /// The expected calibration error of the confidence in the class that was answered, over ten equal bins.
    pub calibration_error: Option<f64>,
    /// The bins of the reliability diagram that are in use, from low to high.
    pub calibration: Vec<CalibrationBin>,
    /// The classes that were seen or answered and are told apart, in order.
    pub per_class: Vec<ClassFigures>,
    /// Outcomes whose true class is none of those; 0 where all are told apart.
    pub outcomes_not_apart: u64,
    /// The cells of the confusion matrix that are in use, by actual and then by predicted class; rows are whole.
    pub confusion: Vec<ConfusionCell>,
    /// Valid answers in none of those rows; 0 where all are told apart.
    pub answers_not_apart: u64,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(class: u16) -> Kept {
        Kept::Class { class, confidence: 0.5 }
    }

    fn tallied(classes: u32, pairs: impl IntoIterator<Item = (u16, u16)>) -> Classes {
        let mut tally = Classes::new(classes);
        for (predicted, actual) in pairs {
            tally.record(&of(predicted), actual, Sign::Plus).unwrap();
        }
        tally
    }

    /// Any two of so many classes, each of them more than once.
    fn scattered(classes: u32, pairs: usize) -> impl Iterator<Item = (u16, u16)> {
        (0..pairs as u64).map(move |number| {
            let mixed = crate::base::chance::mix(number);
            ((mixed % u64::from(classes)) as u16, ((mixed >> 32) % u64::from(classes)) as u16)
        })
    }

    #[test]
    fn every_class_has_a_rank_of_its_own() {
        assert!((0..=u16::MAX).all(|class| rank(class).wrapping_mul(GATHER) == class));
    }

    #[test]
    fn a_thousand_classes_are_all_told_apart() {
        // A right answer for each, and 113 classes that are all taken for one another.
        let right = (0..1_024).map(|class| (class, class));
        let figures = tallied(1_024, right).figures();
        assert_eq!((figures.per_class.len(), figures.confusion.len()), (1_024, 1_024));
        assert_eq!((figures.outcomes_not_apart, figures.answers_not_apart), (0, 0));

        let some = (0..64).flat_map(|predicted| (0..64).map(move |actual| (predicted, actual)));
        let figures = tallied(113, some).figures();
        assert_eq!((figures.confusion.len(), figures.answers_not_apart), (64 * 64, 0));
        assert!(figures.confusion.is_sorted_by_key(|cell| (cell.actual, cell.predicted)));
    }

    #[test]
    fn ten_thousand_classes_take_90_kb_and_count_what_is_not_told_apart() {
        for (classes, pairs) in [(10_000, 300_000), (65_536, 300_000), (1_100, 300_000)] {
            let tally = tallied(classes, scattered(classes, pairs));
            let most = CLASSES_APART * 40 + PAIRS_APART * 12;
            assert!(tally.bytes() <= most && most <= 90 << 10, "{} bytes", tally.bytes());

            let figures = tally.figures();
            let right = scattered(classes, pairs).filter(|(predicted, actual)| predicted == actual).count();
            assert_eq!(figures.outcomes, pairs as u64);
            assert_eq!(figures.accuracy, Some(right as f64 / pairs as f64));
            assert_eq!(figures.per_class.len(), CLASSES_APART);
            // What is told apart is exact.
            for of in figures.per_class.iter().step_by(100) {
                let support = scattered(classes, pairs).filter(|(_, actual)| *actual == of.class).count();
                let predicted = scattered(classes, pairs).filter(|(given, _)| *given == of.class).count();
                assert_eq!((of.support, of.predicted), (support as u64, predicted as u64), "{}", of.class);
            }
            let apart: u64 = figures.per_class.iter().map(|of| of.support).sum();
            assert_eq!(apart + figures.outcomes_not_apart, pairs as u64);
            let cells: u64 = figures.confusion.iter().map(|cell| cell.count).sum();
            assert_eq!(cells + figures.answers_not_apart, pairs as u64);
            // Rows are whole.
            assert!(!figures.confusion.is_empty());
            for cell in figures.confusion.iter().step_by(500) {
                let row: u64 = figures
                    .confusion
                    .iter()
                    .filter(|other| other.actual == cell.actual)
                    .map(|other| other.count)
                    .sum();
                let support = figures.per_class.iter().find(|of| of.class == cell.actual).unwrap().support;
                assert_eq!(row, support, "{}", cell.actual);
            }
            // And spread over all classes.
            let upper = figures.per_class.iter().filter(|of| u32::from(of.class) >= classes / 2).count();
            assert!((CLASSES_APART * 45 / 100..CLASSES_APART * 55 / 100).contains(&upper), "{upper}");
        }
    }

    #[test]
    fn one_class_that_is_taken_for_every_other_has_no_row() {
        let figures = tallied(10_000, (1..9_000).map(|predicted| (predicted, 0))).figures();
        assert_eq!((figures.outcomes, figures.accuracy), (8_999, Some(0.0)));
        assert_eq!((figures.confusion.len(), figures.answers_not_apart), (0, 8_999));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn beyond_the_bounds_too_tallies_merge_in_any_order_into_one(
            classes in 1_000..12_000_u32, pairs in 0..20_000_usize, shards in 1..5_usize, rotate in 0..5_usize,
        ) {
            let mut parts = vec![Classes::new(classes); shards];
            for (number, (predicted, actual)) in scattered(classes, pairs).enumerate() {
                parts[number % shards].record(&of(predicted), actual, Sign::Plus).unwrap();
            }
            parts.rotate_left(rotate % shards);
            let mut merged = Classes::new(classes);
            for part in &parts {
                merged.merge(part);
                prop_assert!(merged.bytes() <= CLASSES_APART * 40 + PAIRS_APART * 12);
            }
            prop_assert_eq!(merged, tallied(classes, scattered(classes, pairs)));
        }
    }
}

//! What the predictions are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kept::{Kept, RANKING_DEPTH, Ranked};
use super::outcome::Truth;

/// The largest number of classes of [`Task::classes`]: the confusion matrix has its square in counters.
pub const CLASSES_MAX: u16 = 64;

/// What a handle's predictions are, and how one is read off an answer.
///
/// The handle keeps a few bytes of every answer inside its [`PredictionId`](crate::PredictionId), so that the truth can
/// be joined days later without a row per prediction. A task says which bytes: a probability, a class, a value, a list.
///
/// ```
/// use switchback::{Task, Truth};
///
/// struct Score { probability: f64 }
/// let task = Task::binary(|answer: &Score| answer.probability).threshold(0.4).truth(Truth::Independent);
/// ```
pub struct Task<O: ?Sized> {
    kind: TaskKind,
    read: Reader<O>,
    truth: Truth,
}

/// Writes what is kept to where it stays: returned, it would be copied whole each time.
type Reader<O> = Box<dyn Fn(&O, &mut Kept) + Send + Sync>;

/// The kinds of task, which decide the figures of quality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskKind {
    /// Answers are only counted: no figure needs the truth, business figures aside.
    Untold,
    /// Yes or no, with a probability of yes. The truth is class 1 or 0.
    Binary {
        /// The probability from which on the answer counts as yes.
        threshold: f64,
    },
    /// One of several classes.
    Classes {
        /// How many.
        classes: u16,
    },
    /// A number.
    Regression,
    /// A ranked list of items.
    Ranking {
        /// How many items from the top are looked at.
        depth: u8,
    },
}

impl<O: ?Sized + 'static> Task<O> {
    /// Answers are only counted and timed.
    pub fn untold() -> Self {
        Self {
            kind: TaskKind::Untold,
            read: Box::new(|_, kept| *kept = Kept::Nothing),
            truth: Truth::Independent,
        }
    }

    /// Yes or no: `probability` reads the probability of yes (class 1), in `0..=1`. From 0.5 on the answer counts as
    /// yes; [`threshold`](Self::threshold) changes that.
    ///
    /// The probability is kept as `f32`. One that is not a number in `0..=1` makes the answer invalid.
    pub fn binary(probability: impl Fn(&O) -> f64 + Send + Sync + 'static) -> Self {
        Self::binary_at(0.5, probability)
    }

    fn binary_at(threshold: f64, probability: impl Fn(&O) -> f64 + Send + Sync + 'static) -> Self {
        let read = move |answer: &O, kept: &mut Kept| kept.set_probability(probability(answer));
        Self { kind: TaskKind::Binary { threshold }, read: Box::new(read), truth: Truth::Independent }
    }

    /// The probability from which on a binary answer counts as yes; 0.5 unless told. No effect on other tasks.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        if let TaskKind::Binary { threshold: current } = &mut self.kind {
            *current = threshold;
        }
        self
    }

    /// One of `classes` classes (2 to [`CLASSES_MAX`]), numbered from 0: `read` gives the class and the confidence in
    /// it, in `0..=1` (1 where the model gives none). A class out of range makes the answer invalid.
    pub fn classes(classes: u16, read: impl Fn(&O) -> (u16, f64) + Send + Sync + 'static) -> Self {
        let classes = classes.clamp(2, CLASSES_MAX);
        let read = move |answer: &O, kept: &mut Kept| {
            let (class, confidence) = read(answer);
            kept.set_class(class, classes, confidence);
        };
        Self { kind: TaskKind::Classes { classes }, read: Box::new(read), truth: Truth::Independent }
    }

    /// A number. One that is not finite makes the answer invalid.
    pub fn regression(value: impl Fn(&O) -> f64 + Send + Sync + 'static) -> Self {
        let read = move |answer: &O, kept: &mut Kept| kept.set_value(value(answer));
        Self { kind: TaskKind::Regression, read: Box::new(read), truth: Truth::Independent }
    }

    /// A ranked list: `items` pushes the items' ids, best first, into the [`Ranked`] it is given. The first `depth`
    /// (1 to [`RANKING_DEPTH`]) are kept, as 32-bit hashes: two of 2^32 items are taken for one another.
    pub fn ranking(depth: u8, items: impl Fn(&O, &mut Ranked) + Send + Sync + 'static) -> Self {
        let depth = depth.clamp(1, RANKING_DEPTH as u8);
        let read = move |answer: &O, kept: &mut Kept| {
            let mut ranked = Ranked { depth, ..Ranked::default() };
            items(answer, &mut ranked);
            *kept = Kept::List(ranked);
        };
        Self { kind: TaskKind::Ranking { depth }, read: Box::new(read), truth: Truth::Independent }
    }

    /// How the truth depends on the answer; [`Truth::Independent`] unless told.
    #[must_use]
    pub fn truth(mut self, truth: Truth) -> Self {
        self.truth = truth;
        self
    }

    /// What kind of task it is.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    pub(crate) fn truth_kind(&self) -> &Truth {
        &self.truth
    }

    /// Writes what is kept of `answer` to `kept`.
    #[inline]
    pub(crate) fn read(&self, answer: &O, kept: &mut Kept) {
        (self.read)(answer, kept);
    }
}

impl<O: ?Sized> fmt::Debug for Task<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("kind", &self.kind).field("truth", &self.truth).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::kept::hash_item;

    fn kept<O: ?Sized + 'static>(task: &Task<O>, answer: &O) -> Kept {
        let mut kept = Kept::Nothing;
        task.read(answer, &mut kept);
        kept
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let binary = Task::binary(|p: &f64| *p);
        assert!(kept(&binary, &0.25) == Kept::Probability(0.25));
        for bad in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            assert!(kept(&binary, &bad) == Kept::Unreadable);
        }
        let classes = Task::classes(3, |class: &u16| (*class, 1.0));
        assert!(kept(&classes, &2) == Kept::Class { class: 2, confidence: 1.0 });
        assert!(kept(&classes, &3) == Kept::Unreadable);
        assert!(kept(&Task::regression(|v: &f64| *v), &f64::NAN) == Kept::Unreadable);
    }

    #[test]
    fn a_list_is_cut_to_its_depth() {
        let task = Task::ranking(2, |items: &[u64], ranked| items.iter().for_each(|item| ranked.push(*item)));
        let Kept::List(kept) = kept(&task, &[7, 8, 9]) else { panic!("a list") };
        assert_eq!(kept.hashes(), [hash_item(7), hash_item(8)]);
    }
}

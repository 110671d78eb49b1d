//! The task of a handle: the kind of its predictions, and how one is read off an answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::kept::{Kept, RANKING_DEPTH, Ranked};
use super::kpi::Kpi;
use super::outcome::Truth;
use crate::base::guarded::Contained;
use crate::base::invalid::ArgumentError;

/// The largest number of classes of [`Task::classes`]: an id has two bytes for the class.
pub const CLASSES_MAX: usize = 1 << 16;

/// The kind of a handle's predictions, and how one is read off an answer.
///
/// The handle keeps a few bytes of every answer inside its [`PredictionId`](crate::PredictionId), so that the truth can
/// be joined days later without a row per prediction. A task says which bytes: a probability, a class, a value, a list.
///
/// ```
/// use switchback::{Task, Truth};
///
/// struct Score { probability: f64 }
/// let task = Task::binary(|answer: &Score| answer.probability).threshold(0.4)?.truth(Truth::Independent);
///
/// let refused = Task::binary(|answer: &Score| answer.probability).threshold(2.0).unwrap_err();
/// assert_eq!(refused.to_string(), "the threshold is 2: it must be a probability, from 0 to 1");
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
pub struct Task<O: ?Sized> {
    kind: TaskKind,
    read: Reader<O>,
    /// How many probabilities were rounded to 0 or 1.
    rounded: Arc<AtomicU64>,
    truth: Truth,
    pub(crate) kpis: Vec<Kpi>,
    pub(crate) check: Option<Check<O>>,
    pub(crate) compare: Option<(CopyAnswer<O>, Compare<O>)>,
}

/// The host's own test of an answer.
pub(crate) type Check<O> = Arc<dyn Fn(&O) -> bool + Send + Sync>;

/// Compares what live and a candidate answered to the same input: 0 for no difference.
pub(crate) type Compare<O> = Box<dyn Fn(&O, &O) -> f64 + Send + Sync>;

/// Copies an answer for it.
pub(crate) type CopyAnswer<O> = fn(&O) -> O;

/// Writes what is kept to where it stays: returned, it would be copied whole each time.
type Reader<O> = Arc<dyn Fn(&O, &mut Kept) + Send + Sync>;

/// The kinds of task, which decide the figures of quality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskKind {
    /// Answers are only counted: no figure needs the truth, business figures aside.
    Unlabelled,
    /// Yes or no, with a probability of yes. The truth is class 1 or 0.
    Binary {
        /// The probability from which on the answer counts as yes.
        threshold: f64,
    },
    /// One of several classes.
    Classes {
        /// How many.
        classes: u32,
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
    /// Answers are only counted and timed: there is no truth about them.
    pub fn unlabelled() -> Self {
        Self::new(TaskKind::Unlabelled, |_, kept| *kept = Kept::Nothing)
    }

    /// Yes or no: `probability` reads the probability of yes (class 1), in `0..=1`. From 0.5 on the answer counts as
    /// yes; [`threshold`](Self::threshold) changes that.
    ///
    /// The probability is kept as `f32`. One that is beyond 0 or 1 by at most 1e-6, as engines round that count in `f32`, is
    /// taken for 0 or 1 and [counted](crate::status::Status::rounded). Any other that is not a number in `0..=1` makes the
    /// answer invalid.
    pub fn binary(probability: impl Fn(&O) -> f64 + Send + Sync + 'static) -> Self {
        let read = move |answer: &O, kept: &mut Kept| kept.set_probability(probability(answer));
        Self::rounding(TaskKind::Binary { threshold: 0.5 }, read)
    }

    /// The probability from which on a binary answer counts as yes; 0.5 by default.
    ///
    /// # Errors
    ///
    /// A threshold that is not in `0..=1`, or one for a task that is not binary.
    pub fn threshold(mut self, threshold: f64) -> Result<Self, ArgumentError> {
        let refused = |allowed| Err(ArgumentError::new("the threshold", threshold, allowed));
        match &mut self.kind {
            TaskKind::Binary { threshold: current } if (0.0..=1.0).contains(&threshold) => {
                *current = threshold;
                Ok(self)
            }
            TaskKind::Binary { .. } => refused("a probability, from 0 to 1"),
            _ => refused("one to a binary task, and none to any other"),
        }
    }

    /// One of `classes` classes (2 to [`CLASSES_MAX`]), numbered from 0: `read` gives the class and the confidence in
    /// it, in `0..=1` (1 where the model gives none), rounded as that of a [binary](Self::binary) one. A class out of range
    /// makes the answer invalid.
    ///
    /// ```
    /// use switchback::Task;
    ///
    /// struct Label { number: u16, confidence: f64 }
    /// let task = Task::classes(10_000, |label: &Label| (label.number, label.confidence))?;
    /// # Ok::<(), switchback::ArgumentError>(())
    /// ```
    ///
    /// # Memory
    ///
    /// Accuracy and calibration are of all classes, however many there are. Figures of single classes take 40 bytes for
    /// a class and 12 for a pair of classes that was confused, in each slot of a window in which they occur. At most
    /// 1,024 classes and 4,096 pairs are told apart there, 90 KB, and what is beyond is counted: see
    /// [`ClassesFigures`](crate::stats::ClassesFigures). With the default windows that is at most 4 MB for a version on
    /// trial, where every slot sees a thousand classes and more. Measured: 10,000 classes, each answered and labelled twice within
    /// the same minutes, take 265 KB a version more than two classes do.
    ///
    /// # Errors
    ///
    /// A number of classes below 2 or above [`CLASSES_MAX`].
    pub fn classes(
        classes: usize,
        read: impl Fn(&O) -> (u16, f64) + Send + Sync + 'static,
    ) -> Result<Self, ArgumentError> {
        let number = u32::try_from(classes).ok().filter(|_| (2..=CLASSES_MAX).contains(&classes));
        let Some(number) = number else {
            return Err(ArgumentError::new("the number of classes", classes, format!("2 to {CLASSES_MAX}")));
        };
        let read = move |answer: &O, kept: &mut Kept| {
            let (class, confidence) = read(answer);
            kept.set_class(class, number, confidence)
        };
        Ok(Self::rounding(TaskKind::Classes { classes: number }, read))
    }

    /// A number. One that is not finite makes the answer invalid.
    pub fn regression(value: impl Fn(&O) -> f64 + Send + Sync + 'static) -> Self {
        let read = move |answer: &O, kept: &mut Kept| kept.set_value(value(answer));
        Self::new(TaskKind::Regression, read)
    }

    /// A ranked list: `items` pushes the items' ids, best first, into the [`Ranked`] it is given. The first `depth`
    /// (1 to [`RANKING_DEPTH`]) are kept, as 32-bit hashes: two of 2^32 items are taken for one another.
    ///
    /// # Errors
    ///
    /// A depth of 0, or above [`RANKING_DEPTH`].
    pub fn ranking(
        depth: usize,
        items: impl Fn(&O, &mut Ranked) + Send + Sync + 'static,
    ) -> Result<Self, ArgumentError> {
        let looked_at = u8::try_from(depth).ok().filter(|_| (1..=RANKING_DEPTH).contains(&depth));
        let Some(looked_at) = looked_at else {
            return Err(ArgumentError::new(
                "the depth of the ranking",
                depth,
                format!("1 to {RANKING_DEPTH}"),
            ));
        };
        let read = move |answer: &O, kept: &mut Kept| {
            let mut ranked = Ranked { depth: looked_at, ..Ranked::default() };
            items(answer, &mut ranked);
            *kept = Kept::List(ranked);
        };
        Ok(Self::new(TaskKind::Ranking { depth: looked_at }, read))
    }

    /// One whose reader says whether it has rounded a probability to 0 or 1, which is counted.
    fn rounding(kind: TaskKind, read: impl Fn(&O, &mut Kept) -> bool + Send + Sync + 'static) -> Self {
        let rounded = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&rounded);
        let read = move |answer: &O, kept: &mut Kept| {
            if read(answer, kept) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        Self { rounded, ..Self::new(kind, read) }
    }

    fn new(kind: TaskKind, read: impl Fn(&O, &mut Kept) + Send + Sync + 'static) -> Self {
        let read = Contained::new(read);
        let read = move |answer: &O, kept: &mut Kept| read(answer, kept);
        Self {
            kind,
            read: Arc::new(read),
            rounded: Arc::default(),
            truth: Truth::Independent,
            kpis: Vec::new(),
            check: None,
            compare: None,
        }
    }

    /// How the truth depends on the answer; [`Truth::Independent`] by default.
    #[must_use]
    pub fn truth(mut self, truth: Truth) -> Self {
        self.truth = truth.contained();
        self
    }

    /// A business figure that outcomes may carry: see [`Outcome::kpi`](crate::Outcome::kpi). At most 16.
    #[must_use]
    pub fn kpi(mut self, kpi: Kpi) -> Self {
        self.kpis.push(kpi);
        self
    }

    /// The host's own test of a valid answer. An answer that fails it is a failure of its version: a candidate's caller gets
    /// live's instead. What the task cannot read (a probability that is not a number, a class out of range) is invalid anyhow.
    #[must_use]
    pub fn check(mut self, valid: impl Fn(&O) -> bool + Send + Sync + 'static) -> Self {
        let valid = Contained::new(valid);
        self.check = Some(Arc::new(move |answer| valid(answer)));
        self
    }

    /// The host's own comparison of live's answer (first) with a shadow's, 0 for no difference; see
    /// [`elementwise`](crate::stats::elementwise) for tensors. Answers of sampled requests are cloned for it. A candidate
    /// that fails on a copy differs by 1. Without it, answers are compared by what the task reads off them.
    #[must_use]
    pub fn compare(mut self, difference: impl Fn(&O, &O) -> f64 + Send + Sync + 'static) -> Self
    where
        O: Clone,
    {
        let difference = Contained::new(difference);
        self.compare = Some((O::clone, Box::new(move |live, shadow| difference(live, shadow))));
        self
    }

    /// The part that says what an answer is, shared with whoever asks versions before there is a handle.
    pub(crate) fn reading(&self) -> Self {
        Self {
            kind: self.kind,
            read: Arc::clone(&self.read),
            rounded: Arc::clone(&self.rounded),
            truth: self.truth.clone(),
            kpis: Vec::new(),
            check: None,
            compare: None,
        }
    }

    /// Returns the kind of task that it is.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// How many probabilities were rounded to 0 or 1.
    pub(crate) fn rounded(&self) -> u64 {
        self.rounded.load(Ordering::Relaxed)
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
        for bad in [f64::NAN, -0.1, 1.1, f64::INFINITY, -2e-6, 1.000_002] {
            assert!(kept(&binary, &bad) == Kept::Unreadable);
        }
        let classes = Task::classes(3, |class: &u16| (*class, 1.0)).unwrap();
        assert!(kept(&classes, &2) == Kept::Class { class: 2, confidence: 1.0 });
        assert!(kept(&classes, &3) == Kept::Unreadable);
        assert!(kept(&Task::regression(|v: &f64| *v), &f64::NAN) == Kept::Unreadable);
    }

    #[test]
    fn a_list_is_cut_to_its_depth() {
        let task = Task::ranking(2, |items: &[u64], ranked| items.iter().for_each(|item| ranked.push(*item)));
        let task = task.unwrap();
        let Kept::List(kept) = kept(&task, &[7, 8, 9]) else { panic!("a list") };
        assert_eq!(kept.hashes(), [hash_item(7), hash_item(8)]);
    }

    #[test]
    fn arguments_are_taken_as_they_are_or_refused_by_name_and_value() {
        let classes = |number| Task::classes(number, |class: &u16| (*class, 1.0)).map(|task| task.kind());
        for number in [2, 113, 10_000, CLASSES_MAX] {
            assert_eq!(classes(number), Ok(TaskKind::Classes { classes: number as u32 }));
        }
        for number in [0, 1, CLASSES_MAX + 1, usize::MAX] {
            let told = classes(number).unwrap_err().to_string();
            assert_eq!(told, format!("the number of classes is {number}: it must be 2 to 65536"));
        }
        let threshold = |at| Task::binary(|p: &f64| *p).threshold(at).map(|task| task.kind());
        for at in [0.0, 0.4, 1.0] {
            assert_eq!(threshold(at), Ok(TaskKind::Binary { threshold: at }));
        }
        for at in [-0.1, 2.0, f64::NAN, f64::INFINITY] {
            assert!(threshold(at).unwrap_err().to_string().starts_with(&format!("the threshold is {at}: ")));
        }
        assert!(Task::regression(|v: &f64| *v).threshold(0.5).is_err(), "it would have no effect");
        for (depth, fits) in [(0, false), (1, true), (RANKING_DEPTH, true), (RANKING_DEPTH + 1, false)] {
            assert_eq!(Task::ranking(depth, |_: &u64, _: &mut Ranked| ()).is_ok(), fits, "{depth}");
        }
    }

    #[test]
    fn the_last_of_the_most_classes_is_kept() {
        let task = Task::classes(CLASSES_MAX, |class: &u16| (*class, 1.0)).unwrap();
        assert!(kept(&task, &u16::MAX) == Kept::Class { class: u16::MAX, confidence: 1.0 });
    }
}

//! What the model is for: what is kept of an answer until the truth is known, what the truth looks like, and how it
//! depends on the answer.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How many items of a ranked list are kept with a prediction, and the largest `k` of [`Task::ranking`].
pub const RANKING_DEPTH: usize = 10;

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

/// A ranked list being read off an answer: see [`Task::ranking`].
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(test, derive(Debug))]
pub struct Ranked {
    depth: u8,
    len: u8,
    items: [u32; RANKING_DEPTH],
}

impl Ranked {
    /// Adds the next item; those beyond the depth are left out.
    pub fn push(&mut self, item: u64) {
        if self.len < self.depth
            && let Some(place) = self.items.get_mut(usize::from(self.len))
        {
            *place = hash_item(item);
            self.len += 1;
        }
    }

    /// The kept items' hashes, best first.
    pub(crate) fn hashes(&self) -> &[u32] {
        self.items.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// A list of the given hashes, cut to [`RANKING_DEPTH`].
    pub(crate) fn from_hashes(hashes: impl IntoIterator<Item = u32>) -> Self {
        let mut ranked = Self { depth: RANKING_DEPTH as u8, ..Self::default() };
        for (place, hash) in ranked.items.iter_mut().zip(hashes) {
            *place = hash;
            ranked.len += 1;
        }
        ranked
    }
}

/// What is kept of an answer until its truth is known. Its `Debug` is for tests: nothing prints it.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Debug))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kept {
    /// Nothing: the task needs no truth.
    Nothing,
    /// The answer cannot be read as the task says: it counts as invalid.
    Unreadable,
    /// The probability of yes.
    Probability(f32),
    /// The class and the confidence in it.
    Class { class: u16, confidence: f32 },
    /// The number.
    Value(f64),
    /// The list.
    List(#[serde(with = "hashes")] Ranked),
}

/// A list as its hashes.
mod hashes {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Ranked;

    pub(super) fn serialize<S: Serializer>(list: &Ranked, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.hashes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ranked, D::Error> {
        Ok(Ranked::from_hashes(Vec::<u32>::deserialize(deserializer)?))
    }
}

impl Kept {
    // Each branch assigns, so that no more is written than the variant has.

    #[inline]
    fn set_probability(&mut self, probability: f64) {
        if (0.0..=1.0).contains(&probability) {
            *self = Self::Probability(probability as f32);
        } else {
            *self = Self::Unreadable;
        }
    }

    #[inline]
    fn set_class(&mut self, class: u16, classes: u16, confidence: f64) {
        if class < classes && (0.0..=1.0).contains(&confidence) {
            *self = Self::Class { class, confidence: confidence as f32 };
        } else {
            *self = Self::Unreadable;
        }
    }

    #[inline]
    fn set_value(&mut self, value: f64) {
        if value.is_finite() {
            *self = Self::Value(value);
        } else {
            *self = Self::Unreadable;
        }
    }
}

/// How the truth depends on the answer. It decides which evidence is legal: a guard that would compare what cannot be
/// compared is refused before any traffic.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Truth {
    /// The truth is the same whatever was answered: a flight is late whatever the model said. A shadow's answer can be
    /// judged by it as well as live's.
    #[default]
    Independent,
    /// The truth exists only for what was shown: a click. A shadow's answer is never judged by it.
    CausedByAnswer,
    /// Some answers keep their truth from ever being known: a payment that was blocked. The function tells them apart
    /// by what is kept of the answer; such predictions expect no truth and count in no coverage.
    Censored(Arc<dyn Fn(Censoring) -> bool + Send + Sync>),
}

impl Truth {
    /// Answers for which `hidden` returns `true` never get a truth.
    ///
    /// ```
    /// # use switchback::Truth;
    /// let blocked = Truth::censored(|answer| answer.probability.is_some_and(|p| p >= 0.9));
    /// ```
    pub fn censored(hidden: impl Fn(Censoring) -> bool + Send + Sync + 'static) -> Self {
        Self::Censored(Arc::new(hidden))
    }
}

impl fmt::Debug for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Independent => "Independent",
            Self::CausedByAnswer => "CausedByAnswer",
            Self::Censored(_) => "Censored",
        })
    }
}

/// What is known of an answer when it is asked whether its truth will ever be: see [`Truth::censored`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Censoring {
    /// The probability of yes, of a binary task.
    pub probability: Option<f64>,
    /// The class, of a task of classes.
    pub class: Option<u16>,
    /// The number, of a regression.
    pub value: Option<f64>,
}

impl Censoring {
    pub(crate) fn of(kept: &Kept) -> Self {
        let mut view = Self { probability: None, class: None, value: None };
        match *kept {
            Kept::Probability(probability) => view.probability = Some(f64::from(probability)),
            Kept::Class { class, .. } => view.class = Some(class),
            Kept::Value(value) => view.value = Some(value),
            Kept::Nothing | Kept::Unreadable | Kept::List(_) => {}
        }
        view
    }
}

/// What turned out to be true of one prediction, or what it was worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub(crate) actual: Actual,
    pub(crate) known_at: Option<Timestamp>,
}

/// The truth itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Actual {
    Class(u16),
    Value(f64),
    /// Hashes of the items that were relevant.
    Relevant(Arc<[u32]>),
    /// A business figure, by its declared name.
    Kpi {
        name: Arc<str>,
        value: f64,
    },
}

impl Outcome {
    /// The true class: 1 or 0 for a binary task.
    pub fn class(class: u16) -> Self {
        Self::new(Actual::Class(class))
    }

    /// The true number, for a regression.
    pub fn value(value: f64) -> Self {
        Self::new(Actual::Value(value))
    }

    /// The items that turned out to be relevant, for a ranking: those of the list and those that were missing from it.
    pub fn relevant(items: impl IntoIterator<Item = u64>) -> Self {
        let mut hashes: Vec<u32> = items.into_iter().map(hash_item).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self::new(Actual::Relevant(hashes.into()))
    }

    /// A business figure declared at build (see [`Kpi`]): a purchase, a click, seconds of dwell time.
    pub fn kpi(name: impl Into<Arc<str>>, value: f64) -> Self {
        Self::new(Actual::Kpi { name: name.into(), value })
    }

    /// When the outcome became known, where that is not now.
    #[must_use]
    pub fn known_at(mut self, moment: Timestamp) -> Self {
        self.known_at = Some(moment);
        self
    }

    fn new(actual: Actual) -> Self {
        Self { actual, known_at: None }
    }
}

/// A business figure per prediction, declared at build: its name, and the bounds within which a value makes sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kpi {
    name: Arc<str>,
    #[serde(default)]
    bounds: Option<(f64, f64)>,
    /// Whether less is better.
    #[serde(default)]
    lower_is_better: bool,
}

impl Kpi {
    /// A figure that is either 0 or 1: a click, a purchase.
    pub fn rate(name: impl Into<Arc<str>>) -> Self {
        Self::bounded(name, 0.0, 1.0)
    }

    /// A figure between `low` and `high`, units the host's own. Values outside are refused and counted: bounds are what
    /// makes a comparison of means provable.
    pub fn bounded(name: impl Into<Arc<str>>, low: f64, high: f64) -> Self {
        Self { name: name.into(), bounds: Some((low, high)), lower_is_better: false }
    }

    /// A figure without bounds, such as revenue. What is said of it is right in the limit only
    /// ([`Asymptotic`](crate::stats::sequential::Asymptotic)), and nothing before a hundred values of each version.
    pub fn unbounded(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), bounds: None, lower_is_better: false }
    }

    /// Less is better: complaints, seconds lost. More is better unless told.
    #[must_use]
    pub fn lower_is_better(mut self) -> Self {
        self.lower_is_better = true;
        self
    }

    /// The figure's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bounds within which a value is accepted; nothing for a figure without bounds.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        self.bounds
    }

    pub(crate) fn is_lower_better(&self) -> bool {
        self.lower_is_better
    }
}

/// SplitMix64's finaliser, cut to 32 bits: ids that differ in a few low bits land far apart.
fn hash_item(item: u64) -> u32 {
    let mut z = item.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

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

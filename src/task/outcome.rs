//! Outcomes: the truth about a prediction, and when it is known.

use std::fmt;
use std::sync::Arc;

use super::kept::{Kept, hash_item};
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::guarded::Contained;

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
    ///
    /// The function is asked once of each answer, on the thread of its request and under no lock; an id says what it said.
    pub fn censored(hidden: impl Fn(Censoring) -> bool + Send + Sync + 'static) -> Self {
        Self::Censored(Arc::new(hidden))
    }

    /// The same, dropped with care: the function may own what the host has a destructor for.
    pub(crate) fn contained(self) -> Self {
        match self {
            Self::Censored(hidden) => {
                let hidden = Contained::new(hidden);
                let contained = move |answer| {
                    let hidden = &**hidden;
                    hidden(answer)
                };
                Self::Censored(Arc::new(contained))
            }
            other => other,
        }
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

/// The facts known of an answer when it is asked whether its truth will ever be: see [`Truth::censored`].
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

/// The truth of one prediction, or what it was worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub(crate) actual: Actual,
    pub(crate) known_at: Option<Timestamp>,
}

/// The truth itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Items of one outcome, at most.
pub(crate) const RELEVANT_MAX: usize = 1_024;

impl Actual {
    /// Returns what it takes of memory beside itself.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Relevant(items) => size_of_val::<[u32]>(items),
            Self::Kpi { name, .. } => name.len(),
            Self::Class(_) | Self::Value(_) => 0,
        }
    }
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

    /// The items that turned out to be relevant, for a ranking: those of the list and those that were missing from it. At most
    /// 1,024 different ones: an outcome of more is refused.
    pub fn relevant(items: impl IntoIterator<Item = u64>) -> Self {
        let mut hashes: Vec<u32> = items.into_iter().map(hash_item).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self::new(Actual::Relevant(hashes.into()))
    }

    /// A business figure declared at build (see [`Kpi`](crate::Kpi)): a purchase, a click, seconds of dwell time.
    pub fn kpi(name: impl Into<Arc<str>>, value: f64) -> Self {
        Self::new(Actual::Kpi { name: name.into(), value })
    }

    /// When the outcome became known, where that is not now. Of two outcomes of one prediction the one that became known later
    /// stands, so a first label that is delivered again after its correction changes nothing.
    #[must_use]
    pub fn known_at(mut self, moment: Timestamp) -> Self {
        self.known_at = Some(moment);
        self
    }

    fn new(actual: Actual) -> Self {
        Self { actual, known_at: None }
    }
}

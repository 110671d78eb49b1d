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
    /// A probability is kept as an `f32`, and shown as the shortest decimal number that gives it: one of 0.9 is 0.9 here, and not
    /// 0.8999999761581421. The function is asked once of each answer, on the thread of its request and under no lock; an id says what it said.
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
    /// The probability of yes, of a binary task: the shortest decimal number that the `f32` stands for which is kept of it, so
    /// that one that was written as a few digits is the same here.
    pub probability: Option<f64>,
    /// The class, of a task of classes.
    pub class: Option<u16>,
    /// The number, of a regression.
    pub value: Option<f64>,
}

#[cfg(feature = "testing")]
impl Censoring {
    /// What is known of an answer of a binary task, for a test of what is hidden.
    pub fn of_probability(probability: f64) -> Self {
        Self { probability: Some(probability), class: None, value: None }
    }

    /// Of a task of classes.
    pub fn of_class(class: u16) -> Self {
        Self { probability: None, class: Some(class), value: None }
    }

    /// Of a regression.
    pub fn of_value(value: f64) -> Self {
        Self { probability: None, class: None, value: Some(value) }
    }
}

impl Censoring {
    pub(crate) fn of(kept: &Kept) -> Self {
        let mut view = Self { probability: None, class: None, value: None };
        match *kept {
            Kept::Probability(probability) => view.probability = Some(shortest(probability)),
            Kept::Class { class, .. } => view.class = Some(class),
            Kept::Value(value) => view.value = Some(value),
            Kept::Nothing | Kept::Unreadable | Kept::List(_) => {}
        }
        view
    }
}

/// The number of the fewest decimals that gives this probability, as whoever compares it has written it.
fn shortest(probability: f32) -> f64 {
    // A power of ten and a whole number below 2^53 are exact, so their quotient is what reading the digits gives.
    let of = |power: i32| {
        let scale = 10_f64.powi(power);
        (f64::from(probability) * scale).round() / scale
    };
    let found = (0..=15).map(of).find(|decimal| (*decimal as f32).to_bits() == probability.to_bits());
    found.unwrap_or(f64::from(probability))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed of an `f32` is the shortest number that gives it.
    #[test]
    fn a_probability_is_shown_as_it_would_be_printed() {
        let tenths = (0..=100_000_u32).map(|n| n as f32 / 100_000.0);
        let odd = [f32::EPSILON, 1.0 - f32::EPSILON, 0.123_456_79, 1e-9, 2.5e-7, 0.0, 1.0];
        for probability in tenths.chain(odd) {
            assert_eq!(
                shortest(probability),
                probability.to_string().parse::<f64>().unwrap(),
                "{probability}"
            );
        }
        for tiny in [f32::MIN_POSITIVE, 1.234_567e-20] {
            assert_eq!(shortest(tiny), f64::from(tiny));
        }
    }
}

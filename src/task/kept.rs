//! The few bytes of an answer that are kept until the truth is known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::chance::mix;

/// How many items of a ranked list are kept with a prediction at most, four bytes each in its id; so the largest depth of
/// [`Task::ranking`](crate::Task::ranking).
pub const RANKING_DEPTH: usize = 10;

/// A ranked list being read off an answer: see [`Task::ranking`](crate::Task::ranking).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ranked {
    pub(crate) depth: u8,
    pub(crate) len: u8,
    pub(crate) items: [u32; RANKING_DEPTH],
}

/// Without its items, which are of an answer.
impl fmt::Debug for Ranked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranked").field("len", &self.len).finish_non_exhaustive()
    }
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

/// The part of an answer that is kept until its truth is known. Its `Debug` is for tests: nothing prints it.
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

    pub(crate) fn serialize<S: Serializer>(list: &Ranked, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.hashes())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ranked, D::Error> {
        Ok(Ranked::from_hashes(Vec::<u32>::deserialize(deserializer)?))
    }
}

/// How far a probability may lie beyond 0 or 1: what engines that count in `f32` round by. A forest of a few trees gives
/// 1.0000001 for what it is sure of. It is taken for 0 or 1, and counted.
pub(crate) const ROUNDING: f64 = 1e-6;

/// A probability, and whether it was beyond 0 or 1 by no more than [`ROUNDING`]; nothing for what is none.
#[inline]
fn probability_of(number: f64) -> Option<(f32, bool)> {
    if (0.0..=1.0).contains(&number) {
        Some((number as f32, false))
    } else if (-ROUNDING..=1.0 + ROUNDING).contains(&number) {
        Some((number.clamp(0.0, 1.0) as f32, true))
    } else {
        None
    }
}

impl Kept {
    // Each branch assigns, so that no more is written than the variant has.

    /// Whether the probability was rounded to 0 or 1.
    #[inline]
    pub(crate) fn set_probability(&mut self, probability: f64) -> bool {
        match probability_of(probability) {
            Some((probability, rounded)) => {
                *self = Self::Probability(probability);
                rounded
            }
            None => {
                *self = Self::Unreadable;
                false
            }
        }
    }

    /// Whether the confidence was rounded to 0 or 1.
    #[inline]
    pub(crate) fn set_class(&mut self, class: u16, classes: u32, confidence: f64) -> bool {
        match probability_of(confidence).filter(|_| u32::from(class) < classes) {
            Some((confidence, rounded)) => {
                *self = Self::Class { class, confidence };
                rounded
            }
            None => {
                *self = Self::Unreadable;
                false
            }
        }
    }

    #[inline]
    pub(crate) fn set_value(&mut self, value: f64) {
        if value.is_finite() {
            *self = Self::Value(value);
        } else {
            *self = Self::Unreadable;
        }
    }
}

/// Of 32 bits: ids that differ in a few low bits land far apart.
pub(crate) fn hash_item(item: u64) -> u32 {
    (mix(item) >> 32) as u32
}

//! What members count, as integers that add up.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Counts of one attempt in one era. What a guard makes of them is no business of a fleet's: it adds them, and sees that they never shrink.
pub(crate) trait Counts: Clone + Default + PartialEq + Debug + Serialize + DeserializeOwned {
    /// Adds, and stays at the largest number where it would go beyond.
    fn add(&mut self, other: &Self);
    /// What these have more, component by component; nothing where the others have more.
    fn less(&self, other: &Self) -> Self;
    /// Whether no component is smaller.
    fn covers(&self, other: &Self) -> bool;
    /// What tells these apart in themselves, of which there is room for so much and no more. Nothing is counted in it.
    fn names(&self) -> Self {
        Self::default()
    }
    /// Adds, by what is told apart there.
    fn add_within(&mut self, other: &Self, _there: &Self) {
        self.add(other);
    }
    /// Two that add up to these; nothing where they cannot be divided.
    fn halves(&self) -> Option<(Self, Self)> {
        None
    }
}

/// How long it is where it is written.
pub(crate) fn written(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// Counts under an attempt and an era: the sequence number of the head under which they were counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "C: Counts")]
pub(crate) struct Counted<C> {
    pub(crate) attempt: u32,
    pub(crate) era: u64,
    pub(crate) counts: C,
}

/// Counts by attempt and era.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Counted<C>>", into = "Vec<Counted<C>>", bound = "C: Counts")]
pub(crate) struct Book<C: Counts>(BTreeMap<(u32, u64), C>);

impl<C: Counts> Default for Book<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C: Counts> From<Vec<Counted<C>>> for Book<C> {
    fn from(list: Vec<Counted<C>>) -> Self {
        let mut book = Self::default();
        list.iter().for_each(|one| book.count(one.attempt, one.era, &one.counts));
        book
    }
}

impl<C: Counts> From<Book<C>> for Vec<Counted<C>> {
    fn from(book: Book<C>) -> Self {
        book.0.into_iter().map(|((attempt, era), counts)| Counted { attempt, era, counts }).collect()
    }
}

impl<C: Counts> Book<C> {
    pub(crate) fn count(&mut self, attempt: u32, era: u64, counts: &C) {
        self.0.entry((attempt, era)).or_default().add(counts);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|((attempt, era), counts)| self.count(*attempt, *era, counts));
    }

    /// What is told apart here, for others to be added to: what comes first takes the room that there is, and a sum that tells apart what another one did
    /// not is no more than that.
    pub(crate) fn names(&self) -> Self {
        let nothing = C::default();
        let each = self.0.iter().map(|(key, counts)| (*key, counts.names()));
        Self(each.filter(|(_, names)| *names != nothing).collect())
    }

    /// Adds, by what is told apart there.
    pub(crate) fn add_within(&mut self, other: &Self, there: &Self) {
        let nothing = C::default();
        for (key, counts) in &other.0 {
            self.0.entry(*key).or_default().add_within(counts, there.0.get(key).unwrap_or(&nothing));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Books that add up to this one, none of them longer than that where it is written. What cannot be divided so far is left
    /// out.
    pub(crate) fn parts(&self, most: usize) -> VecDeque<Self> {
        let (mut parts, mut part, mut bytes) = (VecDeque::new(), Self::default(), 2);
        let each = self.0.iter().rev();
        let mut waiting: Vec<Counted<C>> = each
            .map(|((attempt, era), counts)| Counted { attempt: *attempt, era: *era, counts: counts.clone() })
            .collect();
        while let Some(next) = waiting.pop() {
            let more = written(&next).saturating_add(1);
            if more.saturating_add(2) > most {
                let halves = next.counts.halves().map(|(one, other)| [other, one]);
                waiting.extend(halves.into_iter().flatten().map(|counts| Counted { counts, ..next }));
                continue;
            }
            if bytes + more > most {
                parts.push_back(std::mem::take(&mut part));
                bytes = 2;
            }
            part.count(next.attempt, next.era, &next.counts);
            bytes += more;
        }
        parts.extend((!part.is_empty()).then_some(part));
        parts
    }

    /// What this one has more.
    pub(crate) fn less(&self, other: &Self) -> Self {
        let nothing = C::default();
        let each =
            self.0.iter().map(|(key, counts)| (*key, counts.less(other.0.get(key).unwrap_or(&nothing))));
        Self(each.filter(|(_, counts)| *counts != nothing).collect())
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        let nothing = C::default();
        other.0.iter().all(|(key, counts)| self.0.get(key).unwrap_or(&nothing).covers(counts))
    }

    pub(crate) fn attempts(&self) -> impl Iterator<Item = u32> {
        self.0.keys().map(|(attempt, _)| *attempt)
    }

    /// Forgets attempts that are not among these.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.0.retain(|(attempt, _), _| keep(*attempt));
    }

    /// Of one attempt, over all of its eras that are not older than this one.
    pub(crate) fn since(&self, attempt: u32, era: u64) -> C {
        let mut sum = C::default();
        self.0.range((attempt, era)..=(attempt, u64::MAX)).for_each(|(_, counts)| sum.add(counts));
        sum
    }
}

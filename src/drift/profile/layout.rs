//! The layout of a profile: its features in their order, and the bins of each.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::cell::{Cell, Written};

/// The most bins of a feature that is a number.
pub const BINS_MAX: usize = 64;

/// The most categories of a feature that are told apart.
pub const CATEGORIES_MAX: usize = 256;

/// The most further categories that are known to have been seen.
pub(crate) const OTHERS_MAX: usize = 4_096;

/// The most features of a profile.
pub const FEATURES_MAX: usize = 4_096;

/// Edges are kept within this, so that distances between them are finite.
pub(crate) const EDGE_MAX: f64 = 1e300;

/// The longest name of a feature or category, in bytes. A longer category counts among the others.
pub const NAME_MAX: usize = 256;

/// Slots of a feature, before those of its bins.
pub(crate) const MISSING: usize = 0;

pub(crate) const UNSEEN: usize = 1;

pub(crate) const FIRST_BIN: usize = 2;

/// Features, and where each is counted. Frozen when a reference is made; shared by every profile that is counted
/// against it.
#[derive(Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) features: Box<[Feature]>,
    pub(crate) slots: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Feature {
    pub(crate) name: Box<str>,
    pub(crate) bins: Bins,
    /// Its first slot.
    pub(crate) first: usize,
}

/// The bins of a feature.
#[derive(Debug, PartialEq)]
pub(crate) enum Bins {
    Numeric(Edges),
    Categorical(Categories),
}

impl Layout {
    pub(crate) fn new(features: impl IntoIterator<Item = (Box<str>, Bins)>) -> Arc<Self> {
        let mut slots = 0;
        let features = features
            .into_iter()
            .map(|(name, bins)| {
                let first = slots;
                slots += FIRST_BIN + bins.count();
                Feature { name, bins, first }
            })
            .collect();
        Arc::new(Self { features, slots })
    }
}

/// The first name that is empty, too long, or there twice.
pub(crate) fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut known = std::collections::HashSet::new();
    for name in names {
        if name.is_empty() || name.len() > NAME_MAX || !known.insert(name) {
            return Err(name.chars().take(NAME_MAX).collect());
        }
    }
    Ok(())
}

impl Feature {
    /// The slot that a value is counted in, among all of the layout.
    #[inline]
    pub(crate) fn slot(&self, cell: Cell<'_>) -> usize {
        let slot = match (&self.bins, cell) {
            (Bins::Numeric(edges), Cell::Number(number)) if !number.is_nan() => FIRST_BIN + edges.bin(number),
            (Bins::Numeric(_), Cell::Text(_)) => UNSEEN,
            (Bins::Categorical(categories), Cell::Text(text)) => categories.slot(text),
            (Bins::Categorical(categories), Cell::Number(number)) if !number.is_nan() => {
                cell.category(&mut Written::new()).map_or(UNSEEN, |text| categories.slot(text))
            }
            _ => MISSING,
        };
        self.first + slot
    }

    /// The slots of its bins.
    pub(crate) fn bins_of<'a>(&self, counts: &'a [u64]) -> &'a [u64] {
        let first = self.first + FIRST_BIN;
        counts.get(first..first + self.bins.count()).unwrap_or_default()
    }

    pub(crate) fn count_at(&self, counts: &[u64], slot: usize) -> u64 {
        counts.get(self.first + slot).copied().unwrap_or(0)
    }
}

impl Bins {
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Numeric(edges) => edges.0.len().saturating_sub(1),
            // The last one is that of the others.
            Self::Categorical(categories) => categories.names.len() + 1,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Numeric(_) => "number",
            Self::Categorical(_) => "category",
        }
    }

    /// Whether a category that training has not seen can be told from a rare one that it has.
    pub(crate) fn tells_unseen(&self) -> bool {
        match self {
            Self::Numeric(_) => true,
            Self::Categorical(categories) => categories.others.is_some(),
        }
    }

    /// The middles of the bins, where they have any.
    pub(crate) fn centres(&self) -> Option<Vec<f64>> {
        let Self::Numeric(edges) = self else { return None };
        Some(edges.0.windows(2).map(|two| two.iter().sum::<f64>() / 2.0).collect())
    }
}

/// Edges from low to high, one more than there are bins. A bin holds its lower edge and not its upper one; the
/// outermost bins also hold what lies beyond them.
#[derive(Debug, PartialEq)]
pub(crate) struct Edges(pub(crate) Box<[f64]>);

impl Edges {
    #[inline]
    fn bin(&self, number: f64) -> usize {
        let inner = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default();
        if inner.len() > BINS_MAX {
            return inner.partition_point(|edge| number >= *edge);
        }
        // Without a branch: for 64 edges as fast as a binary search that guesses right.
        inner.iter().map(|edge| usize::from(number >= *edge)).sum()
    }
}

/// Categories, the most frequent of training first, and a table to find them by.
#[derive(Debug)]
pub(crate) struct Categories {
    pub(crate) names: Box<[Box<str>]>,
    /// The fingerprints of those seen in training and not named, in order; none where there were too many to tell.
    pub(crate) others: Option<Box<[u32]>>,
    /// The place of a name and one more, at its hash or the next free place after; at most half full.
    table: Box<[u16]>,
}

impl PartialEq for Categories {
    fn eq(&self, other: &Self) -> bool {
        (&self.names, &self.others) == (&other.names, &other.others)
    }
}

impl Categories {
    /// At most [`CATEGORIES_MAX`] names, all different; fingerprints in order.
    pub(crate) fn new(names: Box<[Box<str>]>, others: Option<Box<[u32]>>) -> Self {
        let mut table = vec![0_u16; (2 * names.len()).next_power_of_two().max(2)].into_boxed_slice();
        for (place, name) in names.iter().enumerate().take(CATEGORIES_MAX) {
            let free = probe(name, table.len()).find(|at| table.get(*at) == Some(&0));
            if let Some(entry) = free.and_then(|free| table.get_mut(free)) {
                *entry = place as u16 + 1;
            }
        }
        Self { names, others, table }
    }

    #[inline]
    fn slot(&self, text: &str) -> usize {
        for at in probe(text, self.table.len()) {
            let Some(place) = self.table.get(at).and_then(|entry| usize::from(*entry).checked_sub(1)) else {
                break;
            };
            if self.names.get(place).is_some_and(|name| **name == *text) {
                return FIRST_BIN + place;
            }
        }
        let seen = self.others.as_ref().is_none_or(|others| others.binary_search(&fingerprint(text)).is_ok());
        if seen { FIRST_BIN + self.names.len() } else { UNSEEN }
    }
}

/// Where a name may lie in a table of a power of two.
fn probe(text: &str, length: usize) -> impl Iterator<Item = usize> {
    let (start, mask) = (xxh3_64(text.as_bytes()) as usize, length.wrapping_sub(1));
    (0..length).map(move |step| start.wrapping_add(step) & mask)
}

/// FNV-1a with 32 bits (Fowler, Noll & Vo), since profiles are written in other languages too. Two categories of 4,096
/// share a fingerprint with one in a million others.
pub(crate) fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fowler, Noll & Vo: the published test vectors of FNV-1a.
    #[test]
    fn fingerprints_are_fnv_1a() {
        assert_eq!(fingerprint(""), 0x811c_9dc5);
        assert_eq!(fingerprint("a"), 0xe40c_292c);
        assert_eq!(fingerprint("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn a_bin_holds_its_lower_edge_and_the_outermost_hold_all_beyond() {
        let edges = Edges([0.0, 1.0, 2.0, 3.0].into());
        let bins = [f64::NEG_INFINITY, -1.0, 0.0, 0.999, 1.0, 2.0, 3.0, f64::INFINITY].map(|x| edges.bin(x));
        assert_eq!(bins, [0, 0, 0, 0, 1, 2, 2, 2]);
    }

    #[test]
    fn every_category_is_found_and_no_other() {
        let names: Box<[Box<str>]> = (0..CATEGORIES_MAX).map(|n| format!("c{n}").into()).collect();
        let mut seen: Vec<u32> = ["rare", "rarer"].map(fingerprint).into();
        seen.sort_unstable();
        let categories = Categories::new(names, Some(seen.into()));
        for place in 0..CATEGORIES_MAX {
            assert_eq!(categories.slot(&format!("c{place}")), FIRST_BIN + place);
        }
        assert_eq!(categories.slot("rare"), FIRST_BIN + CATEGORIES_MAX);
        assert_eq!(categories.slot("never"), UNSEEN);
        let none = Categories::new([].into(), Some([].into()));
        assert_eq!((none.slot(""), none.slot("x")), (UNSEEN, UNSEEN));
    }
}

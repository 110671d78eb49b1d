//! A profile of traffic: counts of each feature, in the bins of a reference.

use crate::base::causes::debug_as_told;
use std::fmt;
use std::sync::Arc;

use super::cell::Cell;
use super::layout::{Feature, Layout, MISSING, UNSEEN};

/// How the features of some rows were distributed, counted in the bins of a
/// [`ReferenceProfile`](crate::drift::ReferenceProfile), which [makes it](crate::drift::ReferenceProfile::profile).
///
/// Recording a row costs one addition per feature and allocates nothing. Everything is a whole number, so profiles that
/// were counted apart [merge](Self::merge) in any order into the same as one. It is plain data, 8 bytes a bin: where
/// several threads record, each has one of its own, and whoever wants to know merges them.
///
/// ```
/// use switchback::drift::{Cell, ReferenceProfile};
///
/// let training: Vec<[Cell; 1]> = (0..1_000).map(|n| [Cell::from(f64::from(n))]).collect();
/// let reference = ReferenceProfile::builder().numeric("amount").build_from(&training)?;
///
/// let mut window = reference.profile();
/// window.record(&[Cell::from(12.5)])?;
/// window.record(&[Cell::Missing])?;
/// let drained = window.take();
/// assert_eq!((drained.rows(), window.rows()), (2, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Profile {
    pub(crate) layout: Arc<Layout>,
    pub(crate) counts: Box<[u64]>,
    pub(crate) rows: u64,
}

impl Profile {
    pub(crate) fn empty(layout: Arc<Layout>) -> Self {
        let counts = vec![0; layout.slots].into();
        Self { layout, counts, rows: 0 }
    }

    /// Counts a row: a value of each feature, in their order.
    ///
    /// # Errors
    ///
    /// [`WrongCells`] where there are more or fewer values than features; nothing is counted then.
    #[inline]
    pub fn record(&mut self, row: &[Cell<'_>]) -> Result<(), WrongCells> {
        if row.len() != self.layout.features.len() {
            return Err(WrongCells { expected: self.layout.features.len(), found: row.len() });
        }
        for (feature, cell) in self.layout.features.iter().zip(row) {
            if let Some(count) = self.counts.get_mut(feature.slot(*cell)) {
                *count = count.saturating_add(1);
            }
        }
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    /// How many rows were counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The names of the features, in the order of a row.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.layout.features.iter().map(|feature| &*feature.name)
    }

    /// How many rows lacked a feature; nothing where there is no such feature.
    pub fn missing(&self, feature: &str) -> Option<u64> {
        self.named(feature).map(|feature| feature.count_at(&self.counts, MISSING))
    }

    /// How many rows had a category that training never had, or a text where it had numbers; nothing where there is no
    /// such feature.
    pub fn unseen(&self, feature: &str) -> Option<u64> {
        self.named(feature).map(|feature| feature.count_at(&self.counts, UNSEEN))
    }

    /// How many rows fell into each bin of a feature; of categories the last one is that of all others. Nothing where
    /// there is no such feature.
    pub fn bins(&self, feature: &str) -> Option<&[u64]> {
        self.named(feature).map(|feature| feature.bins_of(&self.counts))
    }

    fn named(&self, name: &str) -> Option<&Feature> {
        self.layout.features.iter().find(|feature| *feature.name == *name)
    }

    /// Adds what another profile counted.
    ///
    /// # Errors
    ///
    /// [`ProfileMismatchError`] where it was not counted in the same bins of the same features; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), ProfileMismatchError> {
        self.fits(other)?;
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.rows = self.rows.saturating_add(other.rows);
        Ok(())
    }

    /// Gives what was counted, and counts from 0 again.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self::empty(Arc::clone(&self.layout));
        std::mem::replace(self, empty)
    }

    /// Counts from 0 again.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.rows = 0;
    }

    /// Whether another profile counts the same.
    pub(crate) fn fits(&self, other: &Self) -> Result<(), ProfileMismatchError> {
        if Arc::ptr_eq(&self.layout, &other.layout) {
            return Ok(());
        }
        mismatch(&self.layout, &other.layout).map_or(Ok(()), Err)
    }
}

/// Shows how much was counted, and nothing of it.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = self.layout.features.len();
        f.debug_struct("Profile").field("rows", &self.rows).field("features", &features).finish()
    }
}

/// The first thing that two layouts differ in.
fn mismatch(ours: &Layout, theirs: &Layout) -> Option<ProfileMismatchError> {
    let length = ours.features.len().max(theirs.features.len());
    (0..length).find_map(|place| {
        let (ours, theirs) = (ours.features.get(place), theirs.features.get(place));
        let (feature, difference) = match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours.name != theirs.name => {
                (&ours.name, format!("has `{}` in its place in the other profile", theirs.name))
            }
            (Some(ours), Some(theirs)) if ours.bins.kind() != theirs.bins.kind() => (
                &ours.name,
                format!("is a {}, and a {} in the other profile", ours.bins.kind(), theirs.bins.kind()),
            ),
            (Some(ours), Some(theirs)) if ours.bins != theirs.bins => {
                (&ours.name, "is counted in other bins in the other profile".to_owned())
            }
            (Some(ours), None) => (&ours.name, "is not in the other profile".to_owned()),
            (None, Some(theirs)) => (&theirs.name, "is in the other profile only".to_owned()),
            _ => return None,
        };
        Some(ProfileMismatchError { feature: feature.to_string(), difference })
    })
}

/// Two profiles do not count the same: made from different references.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("feature `{feature}` {difference}: only profiles of one reference can be merged or compared")]
#[non_exhaustive]
pub struct ProfileMismatchError {
    /// The first feature at fault.
    pub feature: String,
    difference: String,
}

debug_as_told!(ProfileMismatchError);

/// A row does not have one value of each feature.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the row has {found} values and the profile {expected} features: give one value of each, in their order"
)]
#[non_exhaustive]
pub struct WrongCells {
    /// How many features the profile has.
    pub expected: usize,
    /// How many values the row has.
    pub found: usize,
}

debug_as_told!(WrongCells);

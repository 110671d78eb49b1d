//! A row on its way into a profile.

use super::cell::Cell;
use super::layout::Layout;
use super::profile::Profile;
use super::reference::ReferenceProfile;

/// A row that is being counted: a host pushes one value of each feature, in the order of its
/// [`ReferenceProfile`]. What is kept of a value is the bin it lies in.
pub struct Cells<'p> {
    layout: &'p Layout,
    slots: &'p mut Vec<u32>,
    pushed: usize,
}

impl Cells<'_> {
    /// The value of the next feature.
    #[inline]
    pub fn push<'c>(&mut self, cell: impl Into<Cell<'c>>) {
        if let Some(feature) = self.layout.features.get(self.pushed) {
            self.slots.push(feature.slot(cell.into()) as u32);
        }
        self.pushed = self.pushed.saturating_add(1);
    }

    /// Whether there was one value of each feature.
    pub(crate) fn is_whole(&self) -> bool {
        self.pushed == self.layout.features.len()
    }
}

/// Shows how many values there are, and none of them.
impl std::fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cells").field("pushed", &self.pushed).finish_non_exhaustive()
    }
}

impl ReferenceProfile {
    /// A row that begins at the end of `slots`, whose memory is used again and again.
    #[inline]
    pub(crate) fn cells<'p>(&'p self, slots: &'p mut Vec<u32>) -> Cells<'p> {
        Cells { layout: &self.profile.layout, slots, pushed: 0 }
    }
}

impl Profile {
    /// Counts a row by the bins that [`Cells`] found: an addition each.
    #[inline]
    pub(crate) fn count(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(count) = self.counts.get_mut(*slot as usize) {
                *count = count.saturating_add(1);
            }
        }
        self.rows = self.rows.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_by_its_cells_is_the_same_as_a_row_at_once() {
        let rows = (0..100).map(|n| [Cell::from(f64::from(n)), Cell::from("a")]);
        let reference =
            ReferenceProfile::builder().numeric("x").categorical("y").build_from(rows.clone()).unwrap();
        let (mut one, mut two, mut slots) = (reference.profile(), reference.profile(), Vec::new());
        for row in rows.chain([[Cell::Missing, Cell::from("b")]]) {
            one.record(&row).unwrap();
            slots.clear();
            let mut cells = reference.cells(&mut slots);
            row.iter().for_each(|cell| cells.push(*cell));
            assert!(cells.is_whole());
            two.count(&slots);
        }
        assert!(one == two);
        let mut cells = reference.cells(&mut slots);
        cells.push(1.0);
        assert!(!cells.is_whole());
        (0..5).for_each(|_| cells.push("more"));
        assert!(!cells.is_whole());
    }
}

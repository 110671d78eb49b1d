//! What the handles of a fleet count.

use serde::{Deserialize, Serialize};

use crate::fleet::format::counts::Counts;
use crate::stats::evidence::ledger::Counts as Evidence;
use crate::stats::evidence::segment::BySegment;
use crate::stats::evidence::subtract::Subtract;
use crate::stats::sequential::Additive;

/// What one attempt has counted in one stretch, in one process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct FleetCounts {
    pub(crate) evidence: Evidence,
    /// Copies that ran, and that were dropped.
    pub(crate) copies: (u64, u64),
    /// Outcomes of the candidate's predictions, as they came: they are evidence once labels of their age are complete.
    #[serde(default)]
    pub(crate) outcomes: u64,
}

impl Counts for FleetCounts {
    fn add(&mut self, other: &Self) {
        self.evidence.merge(&other.evidence);
        self.copies.0 = self.copies.0.saturating_add(other.copies.0);
        self.copies.1 = self.copies.1.saturating_add(other.copies.1);
        self.outcomes = self.outcomes.saturating_add(other.outcomes);
    }

    fn less(&self, other: &Self) -> Self {
        Self {
            evidence: self.evidence.less(&other.evidence),
            copies: (
                self.copies.0.saturating_sub(other.copies.0),
                self.copies.1.saturating_sub(other.copies.1),
            ),
            outcomes: self.outcomes.saturating_sub(other.outcomes),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.evidence.covers(&other.evidence)
            && self.copies.0 >= other.copies.0
            && self.copies.1 >= other.copies.1
            && self.outcomes >= other.outcomes
    }

    fn names(&self) -> Self {
        let mut names = Self::default();
        names.evidence.segments = self.evidence.segments.names();
        names.evidence.pairs.segments = self.evidence.pairs.segments.names();
        names
    }

    fn add_within(&mut self, other: &Self, there: &Self) {
        let mut rest = other.clone();
        let segments = std::mem::take(&mut rest.evidence.segments);
        let pairs = std::mem::take(&mut rest.evidence.pairs.segments);
        self.add(&rest);
        self.evidence.segments.merge_within(&segments, &there.evidence.segments);
        self.evidence.pairs.segments.merge_within(&pairs, &there.evidence.pairs.segments);
    }

    /// By segments, of which there may be hundreds: the rest is short.
    fn halves(&self) -> Option<(Self, Self)> {
        let segments = &self.evidence.segments;
        let half = segments.iter().count() / 2;
        (half > 0).then(|| {
            let (mut one, mut other) = (self.clone(), Self::default());
            one.evidence.segments = BySegment::default();
            for (place, (segment, counts)) in segments.iter().enumerate() {
                let of = if place < half { &mut one } else { &mut other };
                of.evidence.segments.at(segment).merge(counts);
            }
            (one, other)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fleet::format::counts::{Book, written};
    use crate::stats::evidence::segment::SegmentCounts;
    use crate::stats::sequential::Events;

    fn counts() -> FleetCounts {
        let mut counts = FleetCounts { copies: (3, 4), outcomes: 5, ..FleetCounts::default() };
        counts.evidence.alone.units.units = 5;
        for segment in 0..200_u64 {
            let segment_counts: &mut SegmentCounts =
                counts.evidence.segments.at(&Arc::from(format!("segment {segment}")));
            segment_counts.failed.alone = Events { events: segment, units: 1_000_000 + segment };
        }
        counts
    }

    /// Bug: a member that counts in hundreds of segments was silent: what it counts of one attempt is longer than a row. Cause: a row
    /// held all of it. Fix: counts are divided by their segments, and add up.
    #[test]
    fn counts_in_many_segments_are_divided_and_add_up() {
        let counts = counts();
        let mut book = Book::default();
        book.count(1, 7, &counts);
        assert_eq!(book.parts(usize::MAX).len(), 1);
        let parts = book.parts(16 << 10);
        assert!(parts.len() > 2 && parts.iter().all(|part| written(part) <= 16 << 10), "{}", parts.len());
        let mut sum = Book::default();
        parts.iter().for_each(|part| sum.add(part));
        assert_eq!(sum, book);
        assert!(parts.iter().all(|part| book.covers(part)));
        // What is longer than a part by itself is left out.
        assert!(book.parts(64).is_empty());
    }
}

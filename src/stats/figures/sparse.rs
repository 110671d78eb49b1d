//! Counts by place, of which few places are in use.

use super::fixed::{Sign, seen};

/// Counts by place, of which only those in use take room: eight bytes each, and those of the place.
///
/// Places are in order and none counts 0, so two that counted the same things are equal. A count is negative where more
/// was taken back than added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counts<P = u16> {
    // Two vectors, not pairs: a pair would take sixteen bytes.
    places: Vec<P>,
    counts: Vec<i64>,
}

impl<P: Copy + Ord + Default> Counts<P> {
    /// Adds `by` to the count of `place`.
    pub(crate) fn add(&mut self, place: P, by: i64) {
        // Places mostly come in order.
        if by != 0 && self.places.last().is_none_or(|last| *last < place) {
            self.places.push(place);
            self.counts.push(by);
            return;
        }
        match self.places.binary_search(&place) {
            Ok(at) => {
                self.counts[at] += by;
                if self.counts[at] == 0 {
                    self.places.remove(at);
                    self.counts.remove(at);
                }
            }
            Err(_) if by == 0 => {}
            Err(at) => {
                self.places.insert(at, place);
                self.counts.insert(at, by);
            }
        }
    }

    /// One more at `place`, or one less.
    pub(crate) fn count(&mut self, place: P, sign: Sign) {
        self.add(place, sign.unit());
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.places.is_empty() {
            self.places.reserve_exact(other.places.len());
            self.counts.reserve_exact(other.counts.len());
            self.places.extend_from_slice(&other.places);
            self.counts.extend_from_slice(&other.counts);
            return;
        }
        // From the back, so that nothing is overwritten before it has moved.
        let (mut own, mut theirs) = (self.places.len(), other.places.len());
        let fresh = theirs - self.shared_places(other);
        if fresh == 0 {
            self.add_to_places(other);
            return;
        }
        // Exactly what is needed: a slot of a window lives long, and is not to hold twice its size.
        self.places.reserve_exact(fresh);
        self.counts.reserve_exact(fresh);
        self.places.resize(own + fresh, P::default());
        self.counts.resize(own + fresh, 0);
        let mut to = own + fresh;
        let mut cancelled = false;
        while theirs > 0 {
            to -= 1;
            let (place, count) = (other.places[theirs - 1], other.counts[theirs - 1]);
            if own > 0 && self.places[own - 1] >= place {
                own -= 1;
                let shared = self.places[own] == place;
                self.places[to] = self.places[own];
                self.counts[to] = self.counts[own] + if shared { count } else { 0 };
                cancelled |= self.counts[to] == 0;
                theirs -= usize::from(shared);
            } else {
                (self.places[to], self.counts[to]) = (place, count);
                theirs -= 1;
            }
        }
        if cancelled {
            self.drop_zeros();
        }
    }

    /// Places and counts in order of place; those taken back more often than added as they are, below 0.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (P, i64)> + '_ {
        self.places.iter().copied().zip(self.counts.iter().copied())
    }

    /// Places and counts in order of place, as figures show them: only those above 0.
    pub(crate) fn seen(&self) -> impl DoubleEndedIterator<Item = (P, u64)> + '_ {
        self.iter().map(|(place, count)| (place, seen(count))).filter(|(_, count)| *count > 0)
    }

    /// How many places are in use.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The last place in use.
    pub(crate) fn last(&self) -> Option<P> {
        self.places.last().copied()
    }

    /// Whether anything is counted at `place`.
    pub(crate) fn has(&self, place: P) -> bool {
        self.places.binary_search(&place).is_ok()
    }

    /// Forgets all places from `first` on. Room beyond that of `most` places is given back.
    pub(crate) fn forget_from(&mut self, first: P, most: usize) {
        let kept = self.places.partition_point(|place| *place < first);
        self.places.truncate(kept);
        self.counts.truncate(kept);
        self.places.shrink_to(most);
        self.counts.shrink_to(most);
    }

    /// Makes room for one more place, and never for more than `most`, where vectors would double.
    pub(crate) fn reserve_within(&mut self, most: usize) {
        reserve_within(&mut self.places, most);
        reserve_within(&mut self.counts, most);
    }

    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.counts.clear();
    }

    /// Returns what is allocated, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<P>() + self.counts.capacity() * size_of::<i64>()
    }

    fn shared_places(&self, other: &Self) -> usize {
        let (mut shared, mut at) = (0, 0);
        for place in &other.places {
            at = self.first_from(at, *place);
            shared += usize::from(self.places.get(at) == Some(place));
        }
        shared
    }

    /// Adds counts whose places are all in use: nothing moves.
    fn add_to_places(&mut self, other: &Self) {
        let (mut at, mut cancelled) = (0, false);
        for (place, count) in other.iter() {
            at = self.first_from(at, place);
            self.counts[at] += count;
            cancelled |= self.counts[at] == 0;
        }
        if cancelled {
            self.drop_zeros();
        }
    }

    /// Where the first place that is not before `place` is, at `from` or later. In steps that double: what a tick brings has few
    /// places, and what it is added to has hundreds.
    fn first_from(&self, from: usize, place: P) -> usize {
        let rest = &self.places[from..];
        let mut step = 1;
        while step < rest.len() && rest[step - 1] < place {
            step *= 2;
        }
        let low = step / 2;
        from + low + rest[low..step.min(rest.len())].partition_point(|known| *known < place)
    }

    fn drop_zeros(&mut self) {
        let mut kept = self.counts.iter();
        self.places.retain(|_| kept.next() != Some(&0));
        self.counts.retain(|count| *count != 0);
    }
}

/// Makes room for one more, and never for more than `most`.
pub(crate) fn reserve_within<T>(entries: &mut Vec<T>, most: usize) {
    let len = entries.len();
    if len == entries.capacity() {
        entries.reserve_exact(len.max(4).min(most.saturating_sub(len)));
    }
}

impl<P: Copy + Ord + Default> FromIterator<(P, i64)> for Counts<P> {
    fn from_iter<I: IntoIterator<Item = (P, i64)>>(counted: I) -> Self {
        let mut counts = Self::default();
        for (place, count) in counted {
            counts.add(place, count);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_merge_is_the_sum_place_by_place(
            one in prop::collection::vec((0..20_u16, -2..3_i64), 0..40),
            two in prop::collection::vec((0..20_u16, -2..3_i64), 0..40),
        ) {
            let mut plain = BTreeMap::<u16, i64>::new();
            for (place, count) in one.iter().chain(&two) {
                *plain.entry(*place).or_default() += count;
            }
            plain.retain(|_, count| *count != 0);
            let mut merged: Counts = one.iter().copied().collect();
            merged.merge(&two.iter().copied().collect());
            prop_assert_eq!(merged.iter().collect::<Vec<_>>(), plain.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_merged_takes_no_more_room_than_it_needs() {
        let mut counts: Counts = (0..100).map(|place| (place, 1)).collect();
        let mut merged = Counts::default();
        merged.merge(&counts);
        assert_eq!(merged.bytes(), 1_000);
        counts.add(200, 1);
        merged.merge(&counts);
        assert_eq!(merged.bytes(), 1_010);
    }
}

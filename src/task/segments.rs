//! Labels that the host attaches to predictions, so that their figures are seen apart: an airport, a country, a device.

use std::sync::Arc;

use arc_swap::ArcSwap;
use xxhash_rust::xxh3::xxh3_64;

use crate::base::guarded::guarded;
use crate::base::text::is_plain;

/// The segments that are told apart by default: what fits on a page.
pub(crate) const SEGMENTS_DEFAULT: usize = 64;

/// The most that can be told apart: each stripe has counts of its own for every one.
pub(crate) const SEGMENTS_MAX: usize = 256;

/// The name of those beyond the limit, and of those without a name.
pub(crate) const OTHER: &str = "other";

/// A longer label is one of the others, in bytes.
const NAME_MAX: usize = 128;

/// The closure that reads a request's label.
pub(crate) type Reader<I> = Box<dyn Fn(&I) -> &str + Send + Sync>;

/// How requests are labelled.
pub(crate) struct Segments<I: ?Sized> {
    read: Reader<I>,
    table: Arc<Table>,
}

/// The labels that are told apart: the first ones that came.
pub(crate) struct Table {
    known: ArcSwap<Vec<(u32, Arc<str>)>>,
    max: usize,
    other: Arc<str>,
}

/// The segment of one prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its hash, as an id says it: the same in every process.
    pub(crate) hash: u32,
    /// Its place in this process; 0 for the others.
    pub(crate) place: u16,
}

const OTHERS: Segment = Segment { hash: 0, place: 0 };

impl<I: ?Sized> Segments<I> {
    pub(crate) fn new(read: Reader<I>, max: usize) -> Self {
        Self { read, table: Arc::new(Table::new(max)) }
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The segment of a request. One on which the host's function panics is one of the others.
    #[inline]
    pub(crate) fn of(&self, input: &I) -> Segment {
        let name = guarded(|| (self.read)(input));
        name.map_or(OTHERS, |name| self.table.segment(name))
    }
}

impl Table {
    pub(crate) fn new(max: usize) -> Self {
        Self { known: ArcSwap::default(), max, other: OTHER.into() }
    }

    /// How many there can be, the others included.
    pub(crate) fn places(&self) -> usize {
        self.max + 1
    }

    /// The segment of a label. A new one is remembered as long as there is room.
    #[inline]
    pub(crate) fn segment(&self, name: &str) -> Segment {
        if name.is_empty() || name.len() > NAME_MAX || name == OTHER {
            return OTHERS;
        }
        // 0 is that of the others.
        let hash = ((xxh3_64(name.as_bytes()) >> 32) as u32).max(1);
        let known = self.known.load();
        match place(&known, hash) {
            Some(place) => Segment { hash, place },
            None if known.len() < self.max => self.remember(hash, name),
            None => OTHERS,
        }
    }

    #[cold]
    fn remember(&self, hash: u32, name: &str) -> Segment {
        // Labels stand in events and in logs, where such a character could begin a line that looks like one of ours.
        if !name.chars().all(is_plain) {
            return OTHERS;
        }
        let name: Arc<str> = name.into();
        self.known.rcu(|known| {
            let mut more = Vec::clone(known);
            if place(known, hash).is_none() && known.len() < self.max {
                more.push((hash, Arc::clone(&name)));
            }
            more
        });
        place(&self.known.load(), hash).map_or(OTHERS, |place| Segment { hash, place })
    }

    /// The label of a segment that an id names.
    pub(crate) fn name(&self, hash: u32) -> Arc<str> {
        let known = self.known.load();
        known.iter().find(|(of, _)| *of == hash).map_or(&self.other, |(_, name)| name).clone()
    }

    /// The segment that an id names.
    pub(crate) fn at(&self, hash: u32) -> Segment {
        Segment { hash, place: place(&self.known.load(), hash).unwrap_or_default() }
    }

    /// The label of a place.
    pub(crate) fn name_at(&self, place: usize) -> Arc<str> {
        let known = self.known.load();
        place.checked_sub(1).and_then(|place| known.get(place)).map_or(&self.other, |(_, name)| name).clone()
    }
}

fn place(known: &[(u32, Arc<str>)], hash: u32) -> Option<u16> {
    let place = known.iter().position(|(of, _)| *of == hash)?;
    u16::try_from(place + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_labels_are_told_apart_and_the_rest_are_others() {
        let table = Table::new(2);
        let (ord, jfk) = (table.segment("ORD"), table.segment("JFK"));
        assert_eq!((ord.place, jfk.place, table.segment("ORD")), (1, 2, ord));
        for other in ["LAX", "", OTHER, &"x".repeat(NAME_MAX + 1)] {
            assert_eq!(table.segment(other), OTHERS);
        }
        // Bug: a request could write a line of its own into a log, by a label with an end of line in it. Cause: a label was kept
        // as it came. Fix: one with a character that does not show as itself is one of the others.
        for hostile in ["x\n2026-11-30 ERROR taken back", "\u{1b}[2J", "\u{202e}KO"] {
            assert_eq!(Table::new(9).segment(hostile), OTHERS, "{hostile:?}");
        }
        assert_eq!((&*table.name(jfk.hash), &*table.name_at(1), &*table.name(7)), ("JFK", "ORD", OTHER));
        assert_eq!(Table::new(9).segment("JFK").hash, jfk.hash, "in every process");
    }
}

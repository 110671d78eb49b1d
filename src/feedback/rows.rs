//! Rows that wait, in order of time, and that can be copied without being copied.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::stats::counting::exposure::Awaited;

/// Rows together: what is copied where those that came last are asked for, and what is kept of those that have gone.
const TOGETHER: usize = 4_096;

/// A queue of rows, in stretches of which whoever writes them down gets a share: a copy of 262,144 rows took milliseconds under
/// the lock of all outcomes, and under that of all decisions.
#[derive(Default)]
pub(crate) struct Rows {
    /// Full, oldest first.
    stretches: VecDeque<Arc<[Awaited]>>,
    /// How many of the oldest stretch have gone.
    gone: usize,
    last: VecDeque<Awaited>,
    len: usize,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, row: Awaited) {
        self.last.push_back(row);
        self.len += 1;
        if self.last.len() == TOGETHER {
            self.stretches.push_back(self.last.drain(..).collect());
        }
    }

    pub(crate) fn front(&self) -> Option<&Awaited> {
        match self.stretches.front() {
            Some(oldest) => oldest.get(self.gone),
            None => self.last.front(),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<Awaited> {
        let row = match self.stretches.front() {
            Some(oldest) => {
                let row = oldest.get(self.gone).copied()?;
                self.gone += 1;
                if self.gone == oldest.len() {
                    self.stretches.pop_front();
                    self.gone = 0;
                }
                row
            }
            None => self.last.pop_front()?,
        };
        self.len -= 1;
        Some(row)
    }

    /// The last so many.
    #[cfg(feature = "state")]
    pub(crate) fn last(&self, count: usize) -> Shared {
        let mut skip = self.len.saturating_sub(count) + self.gone;
        let mut stretches = Vec::new();
        for stretch in &self.stretches {
            if skip < stretch.len() {
                stretches.push((Arc::clone(stretch), skip));
            }
            skip = skip.saturating_sub(stretch.len());
        }
        let last: Arc<[Awaited]> = self.last.iter().skip(skip).copied().collect();
        stretches.push((last, 0));
        Shared(stretches)
    }
}

impl Extend<Awaited> for Rows {
    fn extend<T: IntoIterator<Item = Awaited>>(&mut self, rows: T) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}

/// Rows as they were, shared with the queue that they were in: stretches, each from a place on.
#[cfg(feature = "state")]
#[derive(Clone, Default)]
pub(crate) struct Shared(Vec<(Arc<[Awaited]>, usize)>);

#[cfg(feature = "state")]
impl Shared {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Awaited> {
        self.0.iter().flat_map(|(stretch, from)| stretch.iter().skip(*from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::task::kept::Kept;
    use proptest::prelude::*;

    fn row(sequence: u64) -> Awaited {
        Awaited {
            exposure: 1,
            sequence,
            row: sequence,
            unit: None,
            at: Timestamp::default(),
            kept: Kept::Unreadable,
            keyed: false,
            counts: true,
            hidden: false,
            segment: None,
        }
    }

    proptest! {
        #[test]
        fn rows_leave_in_the_order_in_which_they_came(steps in prop::collection::vec((0..9_000_usize, 0..9_000_usize), 1..12)) {
            let (mut rows, mut plain, mut next) = (Rows::default(), VecDeque::new(), 0);
            for (come, go) in steps {
                rows.extend((0..come as u64).map(|step| row(next + step)));
                plain.extend(next..next + come as u64);
                next += come as u64;
                for _ in 0..go {
                    prop_assert_eq!(rows.front().map(|row| row.sequence), plain.front().copied());
                    prop_assert_eq!(rows.pop_front().map(|row| row.sequence), plain.pop_front());
                }
                prop_assert_eq!(rows.len(), plain.len());
                #[cfg(feature = "state")]
                for count in [0, 1, go, plain.len(), plain.len() + 1] {
                    let last: Vec<u64> = rows.last(count).iter().map(|row| row.sequence).collect();
                    let from = plain.len().saturating_sub(count);
                    prop_assert_eq!(last, plain.iter().skip(from).copied().collect::<Vec<_>>());
                }
            }
        }
    }
}

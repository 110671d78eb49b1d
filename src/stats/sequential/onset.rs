//! Harm that starts late: counts in blocks of time, and a mixture over the block in which the harm began.

use serde::{Deserialize, Serialize};

use super::counts::Additive;
use super::e_value::{EValue, ln};
use super::test::SequentialTest;

/// Counts in blocks, from the oldest to the newest, which is still open.
///
/// A long clean history hides a harm that begins today: the wealth that the history has lost must be won back first. So
/// [`since_any`](Self::since_any) bets on every block as the one in which the harm began. Blocks are closed by how many
/// units they hold, and joined with their neighbours as they age, by a schedule that never looks at what was observed;
/// there are at most [`MOST`](Self::MOST).
///
/// **What a late harm costs.** Of errors that become five times as many on a tenth of the traffic, 71 are seen before it is taken
/// back after 5,000 clean ones, and 22 where it is there from the start (`benches/life`). None can do it in as few as from the start:
/// a test that errs with `alpha` over all time errs in one of `n / m` stretches of `m` events with at most `alpha m / n`, and within
/// that stretch needs the evidence for so small an error (Lai, IEEE Trans. Inf. Theory 44(7) 1998): `ln(n / m)` more. For
/// `n` of 5,000, `m` of 50 and an error of 5 % that is 7.6 nats where 3.0 do from the start, 2.5 times as many events.
///
/// ```
/// use switchback::stats::sequential::{Blocks, Claim, PairedDifference, PairedEvents, SequentialTest};
///
/// let test = PairedDifference::new(Claim::Harm, 0.01)?;
/// let mut blocks = Blocks::default();
/// let clean = PairedEvents { neither: 98, only_live: 1, only_candidate: 1, both: 0 };
/// (0..200).for_each(|_| blocks.add(&clean, 100));
/// let harmful = PairedEvents { neither: 85, only_live: 1, only_candidate: 14, both: 0 };
/// (0..5).for_each(|_| blocks.add(&harmful, 100));
/// assert!(test.e_value(&blocks.total()).p_value() > 0.5); // buried
/// assert!(blocks.since_any(|counts| test.e_value(counts)).p_value() < 0.001);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blocks<C>(Vec<Block<C>>);

/// Counts of one block.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Block<C> {
    /// How many blocks were ever begun before this one.
    pub number: u32,
    /// How many units it holds.
    pub units: u64,
    /// The counts.
    pub counts: C,
}

impl<C: Additive> Default for Blocks<C> {
    fn default() -> Self {
        Self(vec![Block { number: 0, units: 0, counts: C::default() }])
    }
}

impl<C: Additive> Blocks<C> {
    /// Blocks that are kept. Enough for starts at 1 % of the past for the near past, and at 20 % of their age for the far one.
    pub const MOST: usize = 32;
    /// Units that the first blocks hold.
    const FIRST: u64 = 50;
    /// Later blocks hold one unit in so many of all that came before. The fewer the starts the less each costs; but what is clean in
    /// the block in which a harm begins counts against it, and at one in 32 that was dearer than all starts together.
    const GROWTH: u64 = 128;

    /// Adds counts that come from so many units to the open block, and opens the next when it is full.
    pub fn add(&mut self, counts: &C, units: u64) {
        let before = self.0.iter().fold(0, |sum: u64, block| sum.saturating_add(block.units));
        if let Some(open) = self.0.last_mut() {
            open.counts.merge(counts);
            open.units = open.units.saturating_add(units);
            if open.units >= Self::FIRST.max(before / Self::GROWTH) {
                self.begin();
            }
        }
    }

    /// Opens a new block, so that what comes can be told from what was. One that holds nothing yet serves as it is.
    pub fn begin(&mut self) {
        let Some(open) = self.0.last() else { return };
        if open.units == 0 && open.counts.is_empty() {
            return;
        }
        let number = open.number.saturating_add(1);
        self.0.push(Block { number, units: 0, counts: C::default() });
        if self.0.len() > Self::MOST {
            self.join_two(number);
        }
    }

    /// Joins the two neighbours that lie closest together for their age, by number: never the newest two.
    fn join_two(&mut self, newest: u32) {
        let spread = |pair: &[Block<C>]| match pair {
            [older, younger] => {
                let age = f64::from(newest.saturating_sub(older.number));
                f64::from(younger.number.saturating_sub(older.number)) / age
            }
            _ => f64::INFINITY,
        };
        // A block's end is the next one's beginning; the first beginning stays.
        let candidates = self.0.windows(2).enumerate().take(self.0.len().saturating_sub(2));
        let joined = candidates.map(|(at, pair)| (at, spread(pair))).min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((at, _)) = joined {
            let younger = self.0.remove(at + 1);
            if let Some(older) = self.0.get_mut(at) {
                older.units = older.units.saturating_add(younger.units);
                older.counts.merge(&younger.counts);
            }
        }
    }

    /// The blocks, oldest first.
    pub fn blocks(&self) -> &[Block<C>] {
        &self.0
    }

    /// The blocks as they were when the `count`-th of those that are left was the newest.
    pub(crate) fn first(&self, count: usize) -> Self {
        Self(self.0.iter().take(count.max(1)).cloned().collect())
    }

    /// The number of the open block.
    pub fn newest(&self) -> u32 {
        self.0.last().map_or(0, |open| open.number)
    }

    /// Returns the counts of all blocks.
    pub fn total(&self) -> C {
        self.since(0)
    }

    /// Returns the counts of the blocks from this number on. A block that was joined with an older one is left out.
    pub fn since(&self, number: u32) -> C {
        let mut total = C::default();
        self.0.iter().filter(|block| block.number >= number).for_each(|block| total.merge(&block.counts));
        total
    }

    /// Something that is read off the counts of each block.
    pub fn map<D: Additive>(&self, read: impl Fn(&C) -> D) -> Blocks<D> {
        let mapped = |block: &Block<C>| Block {
            number: block.number,
            units: block.units,
            counts: read(&block.counts),
        };
        Blocks(self.0.iter().map(mapped).collect())
    }

    /// The evidence of a harm that began in any of the blocks, `e_value` being a test's: a mean over the blocks, weighted
    /// before anything was seen. Most weight is on the first, since most harm is there from the start.
    ///
    /// A block that was joined with an older one takes its weight along and loses it: that costs evidence, never
    /// validity.
    pub fn since_any(&self, e_value: impl Fn(&C) -> EValue) -> EValue {
        self.since_each(|_, counts| e_value(counts))
    }

    /// The same, where the e-value may depend on the place of the block that the counts begin with.
    pub(crate) fn since_each(&self, e_value: impl Fn(usize, &C) -> EValue) -> EValue {
        let mut suffix = C::default();
        let mut parts = Vec::with_capacity(self.0.len());
        for (place, block) in self.0.iter().enumerate().rev() {
            suffix.merge(&block.counts);
            parts.push((block.number, e_value(place, &suffix)));
        }
        self.mixture(parts)
    }

    /// The mixture over the block in which the harm began, of what each block's number says, newest first.
    pub(crate) fn mixture(&self, mut parts: Vec<(u32, EValue)>) -> EValue {
        parts.reverse();
        EValue::weighted_mean(parts.into_iter().map(|(number, e)| (weight(number), e)))
    }

    /// Adds blocks that were counted elsewhere over the same time, whose blocks begin with the same numbers; where the
    /// numbers differ, the beginnings that both have are kept.
    pub fn merge(&mut self, other: &Self) {
        let common = |blocks: &[Block<C>], number: u32| blocks.iter().any(|block| block.number == number);
        let numbers: Vec<u32> = self
            .0
            .iter()
            .map(|block| block.number)
            .filter(|number| *number == 0 || common(&other.0, *number))
            .collect();
        let gather = |blocks: &[Block<C>]| {
            let mut gathered: Vec<Block<C>> = numbers
                .iter()
                .map(|number| Block { number: *number, units: 0, counts: C::default() })
                .collect();
            for block in blocks {
                let place = gathered.iter_mut().rev().find(|kept| kept.number <= block.number);
                if let Some(kept) = place {
                    kept.units = kept.units.saturating_add(block.units);
                    kept.counts.merge(&block.counts);
                }
            }
            gathered
        };
        let mut merged = gather(&self.0);
        for (own, theirs) in merged.iter_mut().zip(gather(&other.0)) {
            own.units = own.units.saturating_add(theirs.units);
            own.counts.merge(&theirs.counts);
        }
        self.0 = merged;
    }

    /// A test that looks at every start.
    pub fn e_value<T: SequentialTest<Counts = C>>(&self, test: &T) -> EValue {
        self.since_any(|counts| test.e_value(counts))
    }
}

/// The weight of a harm that began in the block of this number: 3/4 for the first, and the rest as 1 / k ln² k of the later
/// ones, counted from 2, which falls hardly faster than it must for all to add up to 1.
fn weight(number: u32) -> f64 {
    const FROM_THE_START: f64 = 0.75;
    /// The sum of 1 / k ln² k from 2 on is 2.10974.
    const SUM: f64 = 2.109_75;
    if number == 0 {
        return FROM_THE_START;
    }
    let k = f64::from(number) + 1.0;
    (1.0 - FROM_THE_START) / (SUM * k * ln(k) * ln(k))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sequential::PairedDifference;
    use crate::stats::sequential::counts::PairedEvents;
    use crate::stats::sequential::test::Claim;
    use proptest::prelude::*;

    #[test]
    fn weights_add_up_to_one() {
        let (sum, last) = ((0..1_000_000).map(weight).sum::<f64>(), 1e6_f64);
        // The integral of 1 / k ln² k is what is left.
        let left = 0.25 / 2.109_75 / last.ln();
        assert!(sum + left <= 1.0 && sum + left > 0.999_99, "{sum} {left}");
    }

    fn blocks_of(counts: &[(u64, u64)]) -> Blocks<PairedEvents> {
        let mut blocks = Blocks::default();
        for (only_live, only_candidate) in counts {
            let events =
                PairedEvents { only_live: *only_live, only_candidate: *only_candidate, ..Default::default() };
            blocks.add(&events, only_live + only_candidate);
        }
        blocks
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_grows_without_bound(counts in prop::collection::vec((0u64..90, 0u64..90), 0..400)) {
            let blocks = blocks_of(&counts);
            prop_assert!(blocks.blocks().len() <= Blocks::<PairedEvents>::MOST);
            let sum = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            prop_assert_eq!((blocks.total().only_live, blocks.total().only_candidate), sum);
            prop_assert_eq!(blocks.blocks()[0].number, 0);
            prop_assert!(blocks.blocks().windows(2).all(|pair| pair[0].number < pair[1].number));
        }

        /// Shards that saw the same time in the same blocks merge into what one would have seen.
        #[test]
        fn shards_merge_in_any_order(counts in prop::collection::vec((0u64..40, 0u64..40), 0..60), cut in 0u64..40) {
            let one = blocks_of(&counts);
            let shard = |of: &dyn Fn((u64, u64)) -> (u64, u64)| one.map(|counts| {
                let (only_live, only_candidate) = of((counts.only_live, counts.only_candidate));
                PairedEvents { only_live, only_candidate, ..Default::default() }
            });
            let first = shard(&|(a, b)| (a.min(cut), b.min(cut)));
            let second = shard(&|(a, b)| (a - a.min(cut), b - b.min(cut)));
            let (mut forward, mut backward) = (first.clone(), second.clone());
            forward.merge(&second);
            backward.merge(&first);
            prop_assert_eq!(&forward, &backward);
            let test = PairedDifference::nearest(Claim::Harm, 0.01);
            prop_assert_eq!(forward.e_value(&test), one.e_value(&test));
            let json = serde_json::to_string(&forward).unwrap();
            prop_assert_eq!(serde_json::from_str::<Blocks<PairedEvents>>(&json).unwrap(), forward);
        }
    }

    #[test]
    fn starts_that_only_one_side_knows_are_given_up() {
        let (mut fine, coarse) = (blocks_of(&[(0, 60), (0, 60), (0, 60)]), blocks_of(&[(9, 9)]));
        fine.merge(&coarse);
        assert_eq!(fine.blocks().len(), 1);
        assert_eq!((fine.total().only_candidate, fine.total().only_live), (189, 9));
    }
}

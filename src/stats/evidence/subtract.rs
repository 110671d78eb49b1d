//! The difference of some counts from others: a fleet adds up what its processes say, and takes what is new of it.

use super::arm::{ArmCounts, ArmLabels, KpiCounts, UnitCounts};
use super::event_counts::EventCounts;
use super::ledger::Counts;
use super::outage::InOutages;
use super::pair::{Hidden, PairCounts, PairLabels};
use super::segment::{BySegment, SegmentCounts};
use crate::stats::sequential::{Additive, Arms, ByOdds, Events, PairedEvents, Scores, Values};

/// Counts that are taken from others of which they are a part.
pub(crate) trait Subtract: Additive + PartialEq {
    /// Returns what these have more, component by component; nothing where the others have more.
    fn less(&self, other: &Self) -> Self;
    /// Whether no component is smaller.
    fn covers(&self, other: &Self) -> bool;
}

/// For counts that are nothing but a list of components.
macro_rules! by_component {
    ($($counts:ty { $($field:ident),+ })+) => {$(
        impl Subtract for $counts {
            fn less(&self, other: &Self) -> Self {
                Self { $($field: self.$field.less(&other.$field)),+ }
            }
            fn covers(&self, other: &Self) -> bool {
                $(self.$field.covers(&other.$field))&&+
            }
        }
    )+};
}

by_component! {
    Events { events, units }
    PairedEvents { neither, only_live, only_candidate, both }
    UnitCounts { units, failed, refused, shared, slow }
    ArmLabels { known, decided, wrong, losses, errors, kpis }
    ArmCounts { units, labels }
    KpiCounts { scores, values, outside }
    PairCounts { failed, slow, differ, compared, segments }
    Hidden { alike, apart, explored }
    PairLabels { known, decided, wrong, losses, errors, hidden }
    EventCounts { pairs, alone, requests, keys }
    InOutages { left_out, known, begins }
    SegmentCounts { failed, wrong, outage, refused }
    Counts { pairs, pair_labels, alone, requests, keys, flagged, flagged_in_arms, outages, segments }
}

impl Additive for Hidden {
    fn merge(&mut self, other: &Self) {
        self.alike = self.alike.saturating_add(other.alike);
        self.apart = self.apart.saturating_add(other.apart);
        self.explored.merge(&other.explored);
    }
    fn is_empty(&self) -> bool {
        self.alike == 0 && self.apart == 0 && self.explored.is_empty()
    }
}

impl Subtract for u64 {
    fn less(&self, other: &Self) -> Self {
        self.saturating_sub(*other)
    }
    fn covers(&self, other: &Self) -> bool {
        self >= other
    }
}

/// Of sums that may go down it is the number of values that counts.
impl Subtract for Values {
    fn less(&self, other: &Self) -> Self {
        self.without(other)
    }
    fn covers(&self, other: &Self) -> bool {
        self.len() >= other.len()
    }
}

impl Subtract for Scores {
    fn less(&self, other: &Self) -> Self {
        let of = |place: i16| other.places().find(|(own, _)| *own == place).map_or(0, |(_, count)| count);
        let mut left = Self::default();
        self.places().for_each(|(place, count)| left.count_place(place, count.saturating_sub(of(place))));
        left
    }
    fn covers(&self, other: &Self) -> bool {
        let of = |place: i16| self.places().find(|(own, _)| *own == place).map_or(0, |(_, count)| count);
        other.places().all(|(place, count)| of(place) >= count)
    }
}

impl<T: Subtract> Additive for Vec<T> {
    fn merge(&mut self, other: &Self) {
        self.resize_with(self.len().max(other.len()), T::default);
        self.iter_mut().zip(other).for_each(|(own, other)| own.merge(other));
    }
    fn is_empty(&self) -> bool {
        self.iter().all(Additive::is_empty)
    }
}

/// One that is not there has counted nothing.
impl<T: Subtract> Subtract for Vec<T> {
    fn less(&self, other: &Self) -> Self {
        let nothing = T::default();
        let others = other.iter().chain(std::iter::repeat(&nothing));
        let mut left: Self = self.iter().zip(others).map(|(own, other)| own.less(other)).collect();
        while left.last().is_some_and(|last| *last == nothing) {
            left.pop();
        }
        left
    }
    fn covers(&self, other: &Self) -> bool {
        let nothing = T::default();
        let own = self.iter().chain(std::iter::repeat(&nothing));
        own.zip(other).all(|(own, other)| own.covers(other))
    }
}

impl<T: Subtract + Copy, const N: usize> Additive for [T; N]
where
    Self: Default,
{
    fn merge(&mut self, other: &Self) {
        self.iter_mut().zip(other).for_each(|(own, other)| own.merge(other));
    }
    fn is_empty(&self) -> bool {
        self.iter().all(Additive::is_empty)
    }
}

impl<T: Subtract + Copy, const N: usize> Subtract for [T; N]
where
    Self: Default,
{
    fn less(&self, other: &Self) -> Self {
        let mut left = *self;
        left.iter_mut().zip(other).for_each(|(own, other)| *own = own.less(other));
        left
    }
    fn covers(&self, other: &Self) -> bool {
        self.iter().zip(other).all(|(own, other)| own.covers(other))
    }
}

impl<C: Subtract> Subtract for ByOdds<C> {
    fn less(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (odds, arms) in self.iter() {
            let nothing = Arms { candidate: C::default(), live: C::default() };
            let others = other.iter().find(|(own, _)| *own == odds).map_or(&nothing, |(_, arms)| arms);
            let own = Arms {
                candidate: arms.candidate.less(&others.candidate),
                live: arms.live.less(&others.live),
            };
            if own.candidate != nothing.candidate || own.live != nothing.live {
                *left.at(odds) = own;
            }
        }
        left
    }
    fn covers(&self, other: &Self) -> bool {
        let nothing = Arms { candidate: C::default(), live: C::default() };
        other.iter().all(|(odds, arms)| {
            let own = self.iter().find(|(own, _)| *own == odds).map_or(&nothing, |(_, arms)| arms);
            own.candidate.covers(&arms.candidate) && own.live.covers(&arms.live)
        })
    }
}

impl<T: Subtract> Subtract for BySegment<T> {
    fn less(&self, other: &Self) -> Self {
        let mut left = Self::default();
        let nothing = T::default();
        for (segment, own) in self.iter() {
            let own = own.less(other.get(segment).unwrap_or(&nothing));
            if own != nothing {
                *left.at(segment) = own;
            }
        }
        left
    }
    fn covers(&self, other: &Self) -> bool {
        let nothing = T::default();
        other.iter().all(|(segment, other)| self.get(segment).unwrap_or(&nothing).covers(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;
    use crate::stats::sequential::Odds;
    use proptest::prelude::*;

    fn counted(draws: &[(u8, u64)]) -> Counts {
        let odds = |weight: u8| {
            let of = |share: f64| Share::new(share).unwrap();
            Odds::new(of(0.1 * f64::from(weight % 3 + 1)), of(0.5)).unwrap()
        };
        let mut counts = Counts::default();
        for (draw, times) in draws {
            let arms = counts.requests.at(odds(*draw));
            let arm = if draw % 2 == 0 { &mut arms.candidate } else { &mut arms.live };
            arm.units.units += times;
            arm.units.failed += times / 2;
            arm.units.slow.resize(usize::from(draw % 4), Events::default());
            arm.units.slow.iter_mut().for_each(|slow| slow.units += times);
            arm.labels.known += times;
            arm.labels.decided[usize::from(draw % 3)][usize::from(draw % 2)] += times;
            arm.labels.errors.count(f64::from(*draw) / 7.0);
            arm.labels.losses.resize(usize::from(draw % 2), Scores::default());
            arm.labels.losses.iter_mut().for_each(|scores| scores.count_place(i16::from(draw % 64), *times));
            counts.pairs.failed.neither += times;
            counts.pair_labels.hidden.alike += times;
            let segment = counts.segments.at(&format!("s{}", draw % 2).as_str().into());
            segment.failed.alone.merge(&Events { events: 0, units: *times });
        }
        counts
    }

    proptest! {
        #[test]
        fn what_was_added_is_what_is_left_without_the_rest(
            first in prop::collection::vec((0_u8..64, 1_u64..9), 0..20),
            second in prop::collection::vec((0_u8..64, 1_u64..9), 0..20),
        ) {
            let (first, second) = (counted(&first), counted(&second));
            let mut both = first.clone();
            both.merge(&second);
            prop_assert!(both.covers(&first) && both.covers(&second));
            // Empty places are not told from none.
            let again = |counts: &Counts| { let mut sum = first.clone(); sum.merge(counts); sum };
            prop_assert_eq!(again(&both.less(&first)), again(&second));
            prop_assert_eq!(both.less(&both), Counts::default());
            if !second.is_empty() {
                prop_assert!(!first.covers(&both));
            }
        }
    }
}

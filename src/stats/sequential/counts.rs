//! The counts of the tests. Every type here is made of integers that are only added to: two of them merge by addition,
//! in any order, over threads and processes, into what one would have counted.

use serde::{Deserialize, Serialize};

use crate::base::ordered::OrderedMap;
use crate::base::share::Share;
use crate::stats::figures::fixed::Sign;

/// Counts that merge by addition. One that is full stays full: no sum of counts, however many came from outside, is a
/// panic.
pub trait Additive: Clone + Default {
    /// Adds what another has counted.
    fn merge(&mut self, other: &Self);

    /// Whether nothing was counted.
    fn is_empty(&self) -> bool;
}

/// The share of traffic that a candidate and its control had while something was counted: a unit that went to either
/// went to the candidate with a chance of `candidate` to `live`.
///
/// In ten-thousandths of all traffic, exact: two shares that differ are counted apart, which is what makes a ramp legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Share, Share)", into = "(Share, Share)")]
pub struct Odds {
    candidate: u16,
    live: u16,
}

impl TryFrom<(Share, Share)> for Odds {
    type Error = &'static str;
    fn try_from((candidate, live): (Share, Share)) -> Result<Self, &'static str> {
        Self::new(candidate, live).ok_or("one of the two gets nothing, so there are no odds")
    }
}

impl From<Odds> for (Share, Share) {
    fn from(odds: Odds) -> Self {
        (Share::from_buckets(odds.candidate), Share::from_buckets(odds.live))
    }
}

impl Odds {
    /// The odds of a candidate that answers `candidate` of all traffic while its control answers `live` of it. `None`
    /// where one of them gets nothing: there is nothing to compare then.
    pub fn new(candidate: Share, live: Share) -> Option<Self> {
        let odds = Self { candidate: candidate.buckets(), live: live.buckets() };
        (odds.candidate > 0 && odds.live > 0).then_some(odds)
    }

    /// The chance with which a unit of either went to the candidate.
    pub fn share(self) -> f64 {
        f64::from(self.candidate) / (f64::from(self.candidate) + f64::from(self.live))
    }
}

/// Events of two versions on the same inputs: errors, wrong answers, answers that took too long. Each input is one of
/// four cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PairedEvents {
    /// Neither version had the event.
    pub neither: u64,
    /// Only live had it.
    pub only_live: u64,
    /// Only the candidate had it.
    pub only_candidate: u64,
    /// Both had it.
    pub both: u64,
}

impl PairedEvents {
    /// Counts one input: whether either version had the event.
    pub fn count(&mut self, had: Arms<bool>) {
        self.record(had.live, had.candidate, Sign::Plus);
    }

    /// Counts one input, or takes back one that was counted.
    pub(crate) fn record(&mut self, live: bool, candidate: bool, sign: Sign) {
        let cell = match (live, candidate) {
            (false, false) => &mut self.neither,
            (true, false) => &mut self.only_live,
            (false, true) => &mut self.only_candidate,
            (true, true) => &mut self.both,
        };
        *cell = cell.saturating_add_signed(sign.unit());
    }

    /// How many inputs.
    pub fn pairs(&self) -> u64 {
        [self.only_live, self.only_candidate, self.both].into_iter().fold(self.neither, u64::saturating_add)
    }

    /// How often the candidate had the event.
    pub fn of_candidate(&self) -> Events {
        Events { events: self.only_candidate.saturating_add(self.both), units: self.pairs() }
    }

    /// How often live had the event.
    pub fn of_live(&self) -> Events {
        Events { events: self.only_live.saturating_add(self.both), units: self.pairs() }
    }

    /// How much more often the candidate had the event, as a share of all inputs.
    pub fn difference(&self) -> Option<f64> {
        Some(self.of_candidate().rate()? - self.of_live().rate()?)
    }

    /// How many times as often the candidate had the event. `None` where live never had it.
    pub fn ratio(&self) -> Option<f64> {
        let (candidate, live) = (self.of_candidate().events, self.of_live().events);
        (live > 0).then(|| candidate as f64 / live as f64)
    }
}

impl PairedEvents {
    /// Returns what these have beside others that are among them.
    pub(crate) fn without(&self, other: &Self) -> Self {
        Self {
            neither: self.neither.saturating_sub(other.neither),
            only_live: self.only_live.saturating_sub(other.only_live),
            only_candidate: self.only_candidate.saturating_sub(other.only_candidate),
            both: self.both.saturating_sub(other.both),
        }
    }
}

impl Additive for PairedEvents {
    fn merge(&mut self, other: &Self) {
        self.neither = self.neither.saturating_add(other.neither);
        self.only_live = self.only_live.saturating_add(other.only_live);
        self.only_candidate = self.only_candidate.saturating_add(other.only_candidate);
        self.both = self.both.saturating_add(other.both);
    }

    fn is_empty(&self) -> bool {
        self.pairs() == 0
    }
}

/// Scores between two bounds, on a lattice of [`STEPS`](Self::STEPS) equal steps.
///
/// A score between two points of the lattice is put on one of them by chance, so that it is right on average: a test of
/// a mean loses nothing of its validity, and next to nothing of its power.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "OrderedMap<i16, u64>", into = "OrderedMap<i16, u64>")]
pub struct Scores(OrderedMap<i16, u64>);

/// Places beyond the lattice, which no count has, are taken as its ends.
impl From<OrderedMap<i16, u64>> for Scores {
    fn from(counted: OrderedMap<i16, u64>) -> Self {
        let mut scores = Self::default();
        counted.into_iter().for_each(|(place, count)| scores.count_place(place, count));
        scores
    }
}

impl From<Scores> for OrderedMap<i16, u64> {
    fn from(scores: Scores) -> Self {
        scores.0
    }
}

impl Scores {
    /// The steps from 0 to 1. The lattice of differences has as many below 0.
    pub const STEPS: i16 = 64;

    /// Counts a score in `-1..=1`; one beyond counts as the bound, one that is not a number not at all. `chance` is 64
    /// random bits that have nothing to do with the score: the hash of an id.
    pub fn count(&mut self, score: f64, chance: u64) {
        self.record(score, Sign::Plus, chance);
    }

    /// Counts a score, or takes back one that was counted with the same chance.
    pub(crate) fn record(&mut self, score: f64, sign: Sign, chance: u64) {
        let Some(place) = Self::place(score, chance) else { return };
        let count = self.0.entry(place).or_default();
        *count = count.saturating_add_signed(sign.unit());
        if *count == 0 {
            self.0.remove(&place);
        }
    }

    /// Counts a score `times` times that lies on the lattice already: `place / STEPS`.
    pub fn count_place(&mut self, place: i16, times: u64) {
        if times > 0 {
            let count = self.0.entry(place.clamp(-Self::STEPS, Self::STEPS)).or_default();
            *count = count.saturating_add(times);
        }
    }

    /// Where on the lattice a score counts.
    pub fn place(score: f64, chance: u64) -> Option<i16> {
        if score.is_nan() {
            return None;
        }
        let at = score.clamp(-1.0, 1.0) * f64::from(Self::STEPS);
        let below = at.floor();
        let up = at - below > (chance >> 11) as f64 / (1_u64 << 53) as f64;
        Some(below as i16 + i16::from(up))
    }

    /// How many scores.
    pub fn count_all(&self) -> u64 {
        self.0.values().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count_all();
        let sum: i128 = self.places().map(|(place, count)| i128::from(place) * i128::from(count)).sum();
        (count > 0).then(|| sum as f64 / f64::from(Self::STEPS) / count as f64)
    }

    /// Places in use, in order, with their counts.
    pub fn places(&self) -> impl Iterator<Item = (i16, u64)> + '_ {
        self.0.iter().map(|(place, count)| (*place, *count))
    }

    /// The score that a place stands for.
    pub(crate) fn at(place: i16) -> f64 {
        f64::from(place) / f64::from(Self::STEPS)
    }
}

impl Additive for Scores {
    fn merge(&mut self, other: &Self) {
        other.places().for_each(|(place, count)| self.count_place(place, count));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Something counted of a candidate and of its control, apart by the odds that were in force when each unit was routed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    from = "Vec<(Odds, Arms<C>)>",
    into = "Vec<(Odds, Arms<C>)>",
    bound(serialize = "C: Serialize + Clone", deserialize = "C: Deserialize<'de>")
)]
pub struct ByOdds<C>(OrderedMap<Odds, Arms<C>>);

impl<C> Default for ByOdds<C> {
    fn default() -> Self {
        Self(OrderedMap::new())
    }
}

/// The counts of a candidate and of its control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Arms<C> {
    /// Of the units that were assigned to the candidate.
    pub candidate: C,
    /// Of the units that were assigned to live, over the same time.
    pub live: C,
}

impl<C: Additive> ByOdds<C> {
    /// The counts at these odds, to be added to.
    pub fn at(&mut self, odds: Odds) -> &mut Arms<C>
    where
        C: Default,
    {
        self.0.entry(odds).or_insert_with(|| Arms { candidate: C::default(), live: C::default() })
    }

    /// The counts at these odds, where there are any.
    pub(crate) fn get(&self, odds: Odds) -> Option<&Arms<C>> {
        self.0.get(&odds)
    }

    /// All counts, by odds.
    pub fn iter(&self) -> impl Iterator<Item = (Odds, &Arms<C>)> + '_ {
        self.0.iter().map(|(odds, arms)| (*odds, arms))
    }

    /// The counts of all odds together. Good for showing; a test that took it would fall for Simpson's paradox.
    pub fn pooled(&self) -> Arms<C> {
        let mut pooled = Arms { candidate: C::default(), live: C::default() };
        for arms in self.0.values() {
            pooled.candidate.merge(&arms.candidate);
            pooled.live.merge(&arms.live);
        }
        pooled
    }

    /// The same of something that is read off the counts.
    pub fn map<D: Additive>(&self, read: impl Fn(&C) -> D) -> ByOdds<D> {
        let arms = |arms: &Arms<C>| Arms { candidate: read(&arms.candidate), live: read(&arms.live) };
        ByOdds(self.0.iter().map(|(odds, counted)| (*odds, arms(counted))).collect())
    }
}

impl ByOdds<Events> {
    /// Returns what these have beside others that are among them.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = self.clone();
        for (odds, arms) in &other.0 {
            if let Some(own) = left.0.get_mut(odds) {
                own.candidate = own.candidate.without(arms.candidate);
                own.live = own.live.without(arms.live);
            }
        }
        left
    }

    /// How many times as often a unit of the candidate's had the event, over all odds (Mantel & Haenszel 1959, with the
    /// odds in the place of the units, which are only as good as the telemetry). `None` where live never had it.
    pub fn ratio(&self) -> Option<f64> {
        let (candidate, live) = self.iter().fold((0.0, 0.0), |(candidate, live), (odds, arms)| {
            let pi = odds.share();
            (candidate + arms.candidate.events as f64 * (1.0 - pi), live + arms.live.events as f64 * pi)
        });
        (live > 0.0).then(|| candidate / live)
    }
}

impl<C: Additive> Additive for ByOdds<C> {
    fn merge(&mut self, other: &Self) {
        for (odds, arms) in &other.0 {
            let own = self.at(*odds);
            own.candidate.merge(&arms.candidate);
            own.live.merge(&arms.live);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.values().all(|arms| arms.candidate.is_empty() && arms.live.is_empty())
    }
}

impl<C> From<Vec<(Odds, Arms<C>)>> for ByOdds<C> {
    fn from(counted: Vec<(Odds, Arms<C>)>) -> Self {
        Self(counted.into_iter().collect())
    }
}

impl<C> From<ByOdds<C>> for Vec<(Odds, Arms<C>)> {
    fn from(counted: ByOdds<C>) -> Self {
        counted.0.into_iter().collect()
    }
}

/// Units, and how many of them had an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Events {
    /// Units with the event.
    pub events: u64,
    /// All units.
    pub units: u64,
}

impl Events {
    /// Returns what these have beside others that are among them.
    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            units: self.units.saturating_sub(other.units),
        }
    }

    /// The share of units with the event.
    pub fn rate(&self) -> Option<f64> {
        (self.units > 0).then(|| self.events as f64 / self.units as f64)
    }
}

impl Additive for Events {
    fn merge(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.units = self.units.saturating_add(other.units);
    }

    fn is_empty(&self) -> bool {
        self.units == 0 && self.events == 0
    }
}

impl Additive for u64 {
    fn merge(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }

    fn is_empty(&self) -> bool {
        *self == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is rounded by chance is right on average, and never further off than a step.
        #[test]
        fn a_score_is_right_on_average(score in -1.0..=1.0_f64) {
            let chances = (0..4_096_u64).map(|chance| chance << 52);
            let places: Vec<i16> = chances.map(|chance| Scores::place(score, chance).unwrap()).collect();
            let mean = places.iter().map(|place| Scores::at(*place)).sum::<f64>() / places.len() as f64;
            prop_assert!((mean - score).abs() < 1e-5, "{mean} {score}");
            prop_assert!(places.iter().all(|place| (Scores::at(*place) - score).abs() < 1.0 / 64.0));
        }

        #[test]
        fn scores_merge_in_any_order(scores in prop::collection::vec((-1.2..1.2_f64, any::<u64>()), 0..60), at in 0usize..60) {
            let (first, second) = scores.split_at(at.min(scores.len()));
            let count = |scores: &[(f64, u64)]| {
                let mut counts = Scores::default();
                scores.iter().for_each(|(score, chance)| counts.count(*score, *chance));
                counts
            };
            let mut merged = count(second);
            merged.merge(&count(first));
            prop_assert_eq!(&merged, &count(&scores));
            let json = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scores>(&json).unwrap(), merged);
        }
    }

    #[test]
    fn what_is_on_the_lattice_stays_where_it_is() {
        for place in -64..=64_i16 {
            for chance in [0, u64::MAX] {
                assert_eq!(Scores::place(f64::from(place) / 64.0, chance), Some(place));
            }
        }
        assert_eq!(Scores::place(f64::NAN, 0), None);
        assert_eq!(Scores::place(f64::INFINITY, 0), Some(64));
    }

    #[test]
    fn odds_need_both_sides_and_counts_by_odds_survive_serde() {
        let share = |fraction| Share::new(fraction).unwrap();
        assert_eq!(Odds::new(share(0.0), share(1.0)), None);
        let odds = Odds::new(share(0.1), share(0.9)).unwrap();
        assert!((odds.share() - 0.1).abs() < 1e-12);
        let mut counts = ByOdds::<Events>::default();
        counts.at(odds).candidate.merge(&Events { events: 1, units: 5 });
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<ByOdds<Events>>(&json).unwrap(), counts);
        assert_eq!(counts.pooled().candidate.rate(), Some(0.2));
    }
}

//! Ratios whose denominator the version itself decides: precision, F1, clicks per impression.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::allowed::{self, LEAST_LIMIT, TIMES};
use super::bets::{Bets, Wealth, Weights, log_spaced};
use super::counts::{Additive, Arms, ByOdds};
use super::e_value::{EValue, ln, ln_sum_exp};
use super::test::{Claim, SequentialTest};
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::base::ordered::OrderedMap;

/// The contribution of one unit to a ratio's numerator and denominator: of a precision, 1 in 1 for a false alarm, 0 in
/// 1 for a right one, 0 in 0 for what was not called yes. Both at most [`LARGEST`](Self::LARGEST); the part is at most
/// the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Part {
    part: u8,
    whole: u8,
}

checked_when_read! {
    Part {
        part: u8,
        whole: u8,
    }
}

impl Part {
    /// The largest whole: 2, which is what an F1 takes. Whoever has more clicks or impressions of one unit says how they are
    /// to count as 2.
    pub const LARGEST: u8 = 2;

    /// `part` of `whole`.
    ///
    /// # Errors
    ///
    /// A whole above [`LARGEST`](Self::LARGEST), or a part above the whole.
    pub fn of(part: u8, whole: u8) -> Result<Self, ArgumentError> {
        let adds = Self { part, whole };
        adds.check().map(|()| adds)
    }

    fn check(&self) -> Result<(), ArgumentError> {
        let Self { part, whole } = *self;
        ArgumentError::unless(whole <= Self::LARGEST, "the whole that a unit adds", whole, "at most 2")?;
        let allowed = "at most the whole";
        ArgumentError::unless(part <= whole, "the part that a unit adds", part, allowed)
    }

    /// `part` of `whole`, both cut to what a unit may add.
    pub(crate) fn cut(part: u8, whole: u8) -> Self {
        let whole = whole.min(Self::LARGEST);
        Self { part: part.min(whole), whole }
    }

    /// How far the part exceeds a ratio of `ratio`.
    fn beyond(self, ratio: f64) -> f64 {
        f64::from(self.part) - ratio * f64::from(self.whole)
    }
}

/// Parts of units of one version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Part, u64)>", into = "Vec<(Part, u64)>")]
pub struct Parts(OrderedMap<Part, u64>);

/// Parts of pairs of answers to the same input: live's and the candidate's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Part, Part, u64)>", into = "Vec<(Part, Part, u64)>")]
pub struct PairedParts(OrderedMap<(Part, Part), u64>);

impl Parts {
    /// Counts `times` units that add this. What adds nothing is not kept.
    pub fn count(&mut self, part: Part, times: u64) {
        if part.whole > 0 && times > 0 {
            let count = self.0.entry(part).or_default();
            *count = count.saturating_add(times);
        }
    }

    /// The ratio.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.0.iter().map(|(part, times)| (*part, *times)))
    }

    /// The numerator.
    pub fn part(&self) -> u64 {
        weighed(self.0.iter().map(|(part, times)| (part.part, *times)))
    }

    /// The denominator.
    pub fn whole(&self) -> u64 {
        weighed(self.0.iter().map(|(part, times)| (part.whole, *times)))
    }
}

impl PairedParts {
    /// Counts `times` pairs that add this. What adds nothing to either is not kept.
    pub fn count(&mut self, adds: Arms<Part>, times: u64) {
        let Arms { candidate, live } = adds;
        if live.whole + candidate.whole > 0 && times > 0 {
            let count = self.0.entry((live, candidate)).or_default();
            *count = count.saturating_add(times);
        }
    }

    /// The ratios of both versions.
    pub fn ratios(&self) -> Arms<Option<f64>> {
        Arms {
            candidate: ratio(self.0.iter().map(|((_, candidate), times)| (*candidate, *times))),
            live: ratio(self.0.iter().map(|((live, _), times)| (*live, *times))),
        }
    }

    /// How many pairs add to either.
    pub fn pairs(&self) -> u64 {
        weighed(self.0.values().map(|times| (1, *times)))
    }

    /// In how many pairs the candidate adds more to the numerator than live, and in how many less.
    pub(crate) fn affected(&self) -> (u64, u64) {
        let count = |wanted: fn(u8, u8) -> bool| {
            let pairs = self.0.iter().filter(|((live, candidate), _)| wanted(live.part, candidate.part));
            weighed(pairs.map(|(_, times)| (1, *times)))
        };
        (count(|live, candidate| candidate > live), count(|live, candidate| candidate < live))
    }
}

/// How much some parts come to, each as often as it was counted.
fn weighed(parts: impl Iterator<Item = (u8, u64)>) -> u64 {
    parts.fold(0, |sum: u64, (part, times)| sum.saturating_add(u64::from(part).saturating_mul(times)))
}

fn ratio(parts: impl Iterator<Item = (Part, u64)> + Clone) -> Option<f64> {
    let part = weighed(parts.clone().map(|(part, times)| (part.part, times)));
    let whole = weighed(parts.map(|(part, times)| (part.whole, times)));
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Additive for Parts {
    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(part, times)| self.count(*part, *times));
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Additive for PairedParts {
    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|((live, candidate), times)| {
            self.count(Arms { candidate: *candidate, live: *live }, *times);
        });
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<(Part, u64)>> for Parts {
    fn from(counted: Vec<(Part, u64)>) -> Self {
        let mut parts = Self::default();
        counted.into_iter().for_each(|(part, times)| parts.count(Part::cut(part.part, part.whole), times));
        parts
    }
}

impl From<Parts> for Vec<(Part, u64)> {
    fn from(parts: Parts) -> Self {
        parts.0.into_iter().collect()
    }
}

impl From<Vec<(Part, Part, u64)>> for PairedParts {
    fn from(counted: Vec<(Part, Part, u64)>) -> Self {
        let mut parts = Self::default();
        let cut = |part: Part| Part::cut(part.part, part.whole);
        counted.into_iter().for_each(|(live, candidate, times)| {
            parts.count(Arms { candidate: cut(candidate), live: cut(live) }, times)
        });
        parts
    }
}

impl From<PairedParts> for Vec<(Part, Part, u64)> {
    fn from(parts: PairedParts) -> Self {
        parts.0.into_iter().map(|((live, candidate), times)| (live, candidate, times)).collect()
    }
}

/// How far the candidate's ratio may lie above live's. Ratios are losses: of a precision, the share of false alarms among
/// those called yes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioMargin {
    /// By so much: 0.02 for two percentage points.
    Above(f64),
    /// By this factor.
    Times(f64),
}

impl RatioMargin {
    fn check(self) -> Result<(), ArgumentError> {
        match self {
            Self::Above(margin) => allowed::difference(margin),
            Self::Times(times) => allowed::times(times),
        }
    }

    /// The largest ratio that the candidate may have where live's is `live`.
    fn limit(self, live: f64) -> f64 {
        match self {
            Self::Above(margin) => live + margin.clamp(-1.0, 1.0),
            Self::Times(times) => live * times.clamp(TIMES.0, TIMES.1),
        }
    }
}

/// A ratio on the same inputs.
///
/// What live's ratio truly is nobody knows. For each value `p` that it could have, bets are placed on how far the
/// candidate's units exceed the limit that follows from `p`, and, with either sign, on how far live's differ from `p`;
/// the evidence is that for the `p` against which it is weakest. The bets on live are what gives this its power: without
/// them a `p` that is far off would excuse everything. The infimum over `p` is bounded from below, rigorously: each
/// wealth is log-concave in `p`, so within a cell it is at least what it is at the worse end.
///
/// Assumes that live's ratio holds still while counts are merged; count apart (in blocks) what may differ.
///
/// ```
/// use switchback::stats::sequential::{Arms, Claim, PairedParts, PairedRatioTest, Part, RatioMargin, SequentialTest};
///
/// let (right, false_alarm, quiet) = (Part::of(0, 1)?, Part::of(1, 1)?, Part::of(0, 0)?);
/// let mut alarms = PairedParts::default();
/// alarms.count(Arms { candidate: right, live: right }, 700);
/// alarms.count(Arms { candidate: false_alarm, live: false_alarm }, 150);
/// alarms.count(Arms { candidate: false_alarm, live: quiet }, 120);
/// let harm = PairedRatioTest::new(Claim::Harm, RatioMargin::Above(0.02), 1)?;
/// assert!(harm.e_value(&alarms).p_value() < 0.001);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PairedRatioTest(Nuisance);

/// A ratio in two arms of live traffic. Counts of different shares must not be merged: take one test's e-value for each
/// and multiply.
#[derive(Debug, Clone)]
pub struct SplitRatioTest(Nuisance);

impl PairedRatioTest {
    /// A test of `claim` at a margin. `largest` is the largest whole that a unit adds, 1 or 2: bets are as large as that
    /// allows, and a unit with a larger one would end the test without a decision.
    ///
    /// # Errors
    ///
    /// A margin that is not from -1 to 1, or from 0.001 to 1,000 times; a largest whole that is neither 1 nor 2.
    pub fn new(claim: Claim, margin: RatioMargin, largest: u8) -> Result<Self, ArgumentError> {
        margin.check()?;
        allowed::largest(largest, Part::LARGEST)?;
        Ok(Self::nearest(claim, margin, largest))
    }

    /// The same at the nearest margin that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: RatioMargin, largest: u8) -> Self {
        Self(Nuisance::new(claim, margin, largest))
    }
}

impl SequentialTest for PairedRatioTest {
    type Counts = PairedParts;

    fn e_value(&self, counts: &PairedParts) -> EValue {
        let cells: Vec<(usize, u64)> =
            counts.0.iter().map(|((live, candidate), times)| (cell(*live, *candidate), *times)).collect();
        self.0.infimum(&cells)
    }
}

impl SplitRatioTest {
    /// A test of `claim` at a margin; see [`PairedRatioTest::new`].
    ///
    /// # Errors
    ///
    /// As [`PairedRatioTest::new`].
    pub fn new(claim: Claim, margin: RatioMargin, largest: u8) -> Result<Self, ArgumentError> {
        margin.check()?;
        allowed::largest(largest, Part::LARGEST)?;
        Ok(Self::nearest(claim, margin, largest))
    }

    /// The same at the nearest margin that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: RatioMargin, largest: u8) -> Self {
        Self(Nuisance::new(claim, margin, largest))
    }
}

impl SequentialTest for SplitRatioTest {
    type Counts = Arms<Parts>;

    fn e_value(&self, counts: &Arms<Parts>) -> EValue {
        self.0.infimum(&in_cells(counts))
    }
}

impl SplitRatioTest {
    /// The evidence of units of several kinds, requests and keys, each at the odds that it was counted at. Each of these has a ratio of live's
    /// own, and what is claimed is claimed of all kinds together.
    pub(crate) fn e_value_of_kinds(&self, counts: &[&ByOdds<Parts>]) -> EValue {
        let strata = || counts.iter().flat_map(|counts| counts.iter());
        // Of one kind each share is a step of its own: what one shows follows what another did.
        if counts.iter().filter(|counts| !counts.is_empty()).count() < 2 {
            return strata().map(|(_, arms)| self.e_value(arms)).sum();
        }
        // What is staked on the candidate is staked on all kinds, and mixed once; what live's ratios are is looked for by each.
        let stakes: Vec<Range<usize>> = Nuisance::by_stake_on_candidate().collect();
        let mut together = vec![EValue::ONE; stakes.len()];
        for observed in strata().map(|(_, arms)| in_cells(arms)).filter(|observed| !observed.is_empty()) {
            let mut wealth = self.0.wealths(&observed);
            for (all, strategies) in together.iter_mut().zip(&stakes) {
                *all = all.times(self.0.infimum_of(&mut wealth, strategies.clone()));
            }
        }
        let all = Nuisance::stakes().count() as f64;
        EValue::weighted_mean(stakes.iter().map(|strategies| strategies.len() as f64 / all).zip(together))
    }
}

/// A unit of one arm is a pair of which the other half adds nothing.
fn in_cells(counts: &Arms<Parts>) -> Vec<(usize, u64)> {
    let candidate = counts.candidate.0.iter().map(|(part, times)| (cell(Part::default(), *part), *times));
    let live = counts.live.0.iter().map(|(part, times)| (cell(*part, Part::default()), *times));
    candidate.chain(live).collect()
}

/// A ratio of one version against a fixed limit: a precision of 0.9 at least, whatever live's is.
///
/// Bets on how far each unit exceeds the limit; see [`Mean`](super::Mean).
#[derive(Debug, Clone)]
pub struct RatioLimit {
    bets: Bets,
}

impl RatioLimit {
    /// A test of `claim` at the limit `limit`. For `largest` see [`PairedRatioTest::new`].
    ///
    /// # Errors
    ///
    /// A limit that is not from 1e-9 to 1 - 1e-9; a largest whole that is neither 1 nor 2.
    pub fn new(claim: Claim, limit: f64, largest: u8) -> Result<Self, ArgumentError> {
        allowed::limit(limit)?;
        allowed::largest(largest, Part::LARGEST)?;
        Ok(Self::nearest(claim, limit, largest))
    }

    /// The same at the nearest limit that there is a test for.
    pub(crate) fn nearest(claim: Claim, limit: f64, largest: u8) -> Self {
        let (limit, largest) = (limit.clamp(LEAST_LIMIT, 1.0 - LEAST_LIMIT), largest.clamp(1, Part::LARGEST));
        let worst = f64::from(largest)
            * match claim {
                Claim::Harm => limit,
                Claim::NonInferiority => 1.0 - limit,
            };
        let stakes: Vec<f64> = log_spaced(0.003, 0.9, 14).into_iter().map(|part| part / worst).collect();
        let possible = |part: &Part| part.whole <= largest;
        // A unit that was not announced loses everything.
        let gain = |part: Part| if possible(&part) { claim.sign() * part.beyond(limit) } else { -1e12 };
        Self { bets: Bets::on_gains(Weights::even(stakes.len()), &stakes, &PARTS.map(gain)) }
    }
}

impl SequentialTest for RatioLimit {
    type Counts = Parts;

    fn e_value(&self, counts: &Parts) -> EValue {
        self.bets.e_value(counts.0.iter().map(|(part, times)| (place(*part), *times)))
    }
}

impl Additive for Arms<Parts> {
    fn merge(&mut self, other: &Self) {
        self.candidate.merge(&other.candidate);
        self.live.merge(&other.live);
    }
    fn is_empty(&self) -> bool {
        self.candidate.is_empty() && self.live.is_empty()
    }
}

/// Every part that a unit may add.
const PARTS: [Part; 6] = [
    Part { part: 0, whole: 0 },
    Part { part: 0, whole: 1 },
    Part { part: 1, whole: 1 },
    Part { part: 0, whole: 2 },
    Part { part: 1, whole: 2 },
    Part { part: 2, whole: 2 },
];

/// Where a pair of parts stands in a table of bets.
fn cell(live: Part, candidate: Part) -> usize {
    place(live) * PARTS.len() + place(candidate)
}

/// Where a part stands among all.
fn place(part: Part) -> usize {
    usize::from(part.whole) * usize::from(part.whole + 1) / 2 + usize::from(part.part)
}

/// The bets for every value that live's ratio could have.
#[derive(Debug, Clone)]
struct Nuisance {
    claim: Claim,
    margin: RatioMargin,
    largest: f64,
    /// Made when they are first needed; see [`p_at`].
    tables: Arc<[OnceLock<Bets>]>,
}

/// Into how many cells the values that live's ratio could have are divided, at most.
const CELLS: usize = 256;

/// Stakes on the candidate and on live, as parts of what a unit of the largest whole could lose.
const ON_CANDIDATE: [f64; 5] = [0.0, 0.03, 0.08, 0.2, 0.5];

const ON_LIVE: [f64; 11] = [-0.4, -0.2, -0.1, -0.04, -0.015, 0.0, 0.015, 0.04, 0.1, 0.2, 0.4];

impl Nuisance {
    fn new(claim: Claim, margin: RatioMargin, largest: u8) -> Self {
        let largest = f64::from(largest.clamp(1, Part::LARGEST));
        Self { claim, margin, largest, tables: (0..=CELLS).map(|_| OnceLock::new()).collect() }
    }

    fn stakes() -> impl Iterator<Item = (f64, f64)> {
        let all = ON_CANDIDATE.into_iter().flat_map(|candidate| ON_LIVE.map(|live| (candidate, live)));
        all.filter(|stakes| *stakes != (0.0, 0.0))
    }

    /// The places of the strategies that stake the same on the candidate.
    fn by_stake_on_candidate() -> impl Iterator<Item = Range<usize>> {
        ON_CANDIDATE.into_iter().map(|stake| {
            let first = Self::stakes().take_while(|(candidate, _)| *candidate != stake).count();
            first..first + Self::stakes().filter(|(candidate, _)| *candidate == stake).count()
        })
    }

    fn weights() -> Weights {
        Weights::even(Self::stakes().count())
    }

    /// The bets if live's ratio is `p`.
    fn bets(&self, p: f64) -> Bets {
        let limit = self.margin.limit(p);
        let possible = |part: Part| f64::from(part.whole) <= self.largest;
        // The largest loss on the candidate's side, so that no pair of stakes ever loses all.
        let scale = 1.0 / (self.largest * limit.abs().max((1.0 - limit).abs()).max(1.0));
        let mut factors = Vec::new();
        for (candidate, live) in Self::stakes() {
            for theirs in PARTS {
                for own in PARTS {
                    if !possible(own) || !possible(theirs) {
                        // Not one of the units that were announced: there is no bet that could bear it.
                        factors.push(-1.0);
                        continue;
                    }
                    let on_candidate = candidate * scale * self.claim.sign() * own.beyond(limit);
                    let on_live = live / self.largest * theirs.beyond(p);
                    factors.push(on_candidate + on_live);
                }
            }
        }
        Bets::of_returns(Self::weights(), &factors, PARTS.len() * PARTS.len())
    }

    /// The wealths if live's ratio is the `place`-th value.
    fn wealth_at(&self, place: usize, observed: &[(usize, u64)]) -> Wealth {
        let mut wealth = Self::weights().start();
        if let Some(table) = self.tables.get(place) {
            let bets = table.get_or_init(|| self.bets(p_at(place)));
            bets.earn(&mut wealth, observed.iter().copied());
        }
        wealth
    }

    /// A lower bound of the evidence against the value of live's ratio that excuses the candidate best, refined where it
    /// is lowest.
    fn infimum(&self, observed: &[(usize, u64)]) -> EValue {
        if observed.is_empty() {
            return EValue::ONE;
        }
        self.infimum_of(&mut self.wealths(observed), 0..Self::stakes().count())
    }

    /// The wealths at each value of live's ratio that is asked for, computed once.
    fn wealths<'a>(&'a self, observed: &'a [(usize, u64)]) -> impl FnMut(usize) -> Arc<[f64]> + 'a {
        let mut known: OrderedMap<usize, Arc<[f64]>> = OrderedMap::new();
        move |place| {
            let made = || self.wealth_at(place, observed).ln().collect();
            Arc::clone(known.entry(place).or_insert_with(made))
        }
    }

    /// The same of these strategies alone, each weighing as much.
    fn infimum_of(&self, wealth: &mut impl FnMut(usize) -> Arc<[f64]>, strategies: Range<usize>) -> EValue {
        let weight = -ln(strategies.len() as f64);
        // Of each cell: its ends, the wealths there, and the bound.
        let cell = |from: (usize, Arc<[f64]>), to: (usize, Arc<[f64]>)| {
            let ends = from.1.iter().zip(to.1.iter()).skip(strategies.start).take(strategies.len());
            let worse: Vec<f64> = ends.map(|(a, b)| weight + a.min(*b)).collect();
            let bound = ln_sum_exp(&worse).unwrap_or(f64::NEG_INFINITY);
            (bound, from, to)
        };
        let mut end = |place: usize| (place, wealth(place));
        const FIRST: usize = CELLS / 16;
        let ends: Vec<_> = (0..=CELLS).step_by(FIRST).map(&mut end).collect();
        let mut cells: Vec<_> =
            ends.iter().zip(ends.iter().skip(1)).map(|(from, to)| cell(from.clone(), to.clone())).collect();
        loop {
            let lowest = cells.iter().enumerate().min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0));
            let Some((at, (bound, from, to))) = lowest.map(|(at, cell)| (at, cell.clone())) else {
                return EValue::ONE;
            };
            if to.0 - from.0 <= 1 {
                return EValue::rounded_down(bound);
            }
            let middle = end(from.0.midpoint(to.0));
            cells.swap_remove(at);
            cells.push(cell(from, middle.clone()));
            cells.push(cell(middle, to));
        }
    }
}

/// The `place`-th value of live's ratio: closer to each other near 0 and 1, as a rate is known the better the nearer to an
/// end it lies.
fn p_at(place: usize) -> f64 {
    let sine = libm::sin(place as f64 / CELLS as f64 * std::f64::consts::FRAC_PI_2);
    sine * sine
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_unit_can_add_cannot_be_read_either() {
        let read = |text: &str| serde_json::from_str::<Part>(text).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"part": 1, "whole": 2}"#), Ok(Part::of(1, 2).unwrap()));
        assert!(read(r#"{"part": 1, "whole": 3}"#).unwrap_err().contains("the whole that a unit adds is 3"));
        assert!(read(r#"{"part": 2, "whole": 1}"#).unwrap_err().contains("the part that a unit adds is 2"));
    }

    #[test]
    fn every_pair_of_parts_has_a_cell_of_its_own() {
        let mut seen: Vec<usize> =
            PARTS.into_iter().flat_map(|live| PARTS.map(|candidate| cell(live, candidate))).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..36).collect::<Vec<_>>());
    }

    #[test]
    fn no_bet_can_lose_more_than_there_is() {
        for claim in [Claim::Harm, Claim::NonInferiority] {
            for margin in [
                RatioMargin::Above(0.02),
                RatioMargin::Above(1.0),
                RatioMargin::Times(1.25),
                RatioMargin::Times(1e9),
            ] {
                let nuisance = Nuisance::new(claim, margin, 2);
                for place in [0, 1, 100, 255, 256] {
                    for pair in 0..36 {
                        let wealth = nuisance.wealth_at(place, &[(pair, 1)]);
                        assert!(wealth.ln().all(|log| log > -5.0), "{claim:?} {margin:?} {place} {pair}");
                    }
                }
            }
        }
    }

    proptest! {
        /// The bound over cells is below the evidence at every single value of live's ratio.
        #[test]
        fn the_bound_is_below_every_value(
            counts in prop::collection::vec(0u64..400, 36), place in 0usize..=CELLS, worse in any::<bool>()
        ) {
            let claim = if worse { Claim::Harm } else { Claim::NonInferiority };
            let nuisance = Nuisance::new(claim, RatioMargin::Above(0.03), 2);
            let observed: Vec<(usize, u64)> = counts.into_iter().enumerate().skip(1).collect();
            let there = Nuisance::weights().mix(&nuisance.wealth_at(place, &observed));
            // Each of some ten thousand factors is rounded down by up to 2^-31.
            prop_assert!(nuisance.infimum(&observed).ln() <= there.ln() + 1e-4);
        }
    }
}

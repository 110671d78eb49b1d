//! The evidence of one attempt: everything its tests may look at, in blocks of time.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::arm::{ArmCounts, UnitCounts};
use super::event_counts::EventCounts;
use super::loss::merge_each;
use super::matched::Matching;
use super::outage::{InOutages, IsOutage, Outage};
use super::pair::{PairCounts, PairLabels};
use super::segment::{BySegment, SegmentCounts, SegmentUnits};
use super::waiting::{Maturity, Taken};
#[cfg(feature = "state")]
use crate::base::clock::Shift;
use crate::base::clock::Timestamp;
use crate::base::ordered::OrderedMap;
use crate::stats::sequential::test::SequentialTest;
use crate::stats::sequential::{Additive, Blocks, ByOdds, EValue, Events, Odds, PairedEvents, SampleRatio};

/// The counts of one block of time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) pairs: PairCounts,
    pub(crate) pair_labels: PairLabels,
    /// The candidate's own runs as a shadow; the new live's requests while it is watched.
    pub(crate) alone: ArmCounts,
    /// Units that are requests, of the canary and its control.
    pub(crate) requests: ByOdds<ArmCounts>,
    /// Units that are keys, likewise.
    pub(crate) keys: ByOdds<ArmCounts>,
    /// Who was wrong, of what either called yes, matched over time: of the inputs that both were asked, and of the two arms.
    #[serde(default)]
    pub(crate) flagged: PairedEvents,
    #[serde(default)]
    pub(crate) flagged_in_arms: PairedEvents,
    /// Who failed, and who was slower than each of the times that are looked for, while live was it far more often than it usually is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outages: Vec<InOutages>,
    /// By segment, where requests have any.
    #[serde(default, skip_serializing_if = "BySegment::is_none")]
    pub(crate) segments: BySegment<SegmentCounts>,
}

/// Kinds of events of which outages are known apart.
pub(crate) const FAILURES: usize = 0;

/// That of the latency at this place among those that are looked for.
pub(crate) const fn slower_than(place: usize) -> usize {
    1 + place
}

impl Counts {
    /// How many kinds there are: failures, and each of the latencies that are looked for.
    fn kinds(&self) -> usize {
        let of_arms = |by_odds: &ByOdds<ArmCounts>| by_odds.pooled().live.units.slow.len();
        slower_than(self.pairs.slow.len().max(of_arms(&self.requests)).max(of_arms(&self.keys)))
    }

    /// Who had an event of one of these kinds.
    pub(crate) fn of_kind(&self, kind: usize) -> EventCounts {
        let place = kind.checked_sub(slower_than(0));
        let of_arm = |arm: &ArmCounts| match place {
            None => arm.units.failures(),
            Some(place) => arm.units.slower(place),
        };
        let pairs = match place {
            None => self.pairs.failed,
            Some(place) => self.pairs.slow.get(place).copied().unwrap_or_default(),
        };
        let alone = of_arm(&self.alone);
        EventCounts { pairs, alone, requests: self.requests.map(of_arm), keys: self.keys.map(of_arm) }
    }

    /// What a live that is watched failed on together with the version before, of all that it was asked: at least so often the version
    /// before fails.
    pub(crate) fn shared_failures(&self) -> Events {
        let UnitCounts { units, shared, .. } = self.alone.units;
        Events { events: shared, units: units.saturating_add(shared) }
    }

    /// Those of them that came in an outage.
    pub(crate) fn outage_of_kind(&self, kind: usize) -> InOutages {
        self.outages.get(kind).cloned().unwrap_or_default()
    }

    /// What is usual of live, by kind.
    #[cfg(feature = "state")]
    fn usual(&self) -> Vec<Outage> {
        let usual = |kind| self.of_kind(kind).without(&self.outage_of_kind(kind).left_out);
        (0..self.kinds()).map(|kind| Outage::with(&usual(kind))).collect()
    }

    /// Notes that what these have of one kind came in an outage.
    fn came_in_outage(&mut self, kind: usize, is: IsOutage) {
        let came = self.of_kind(kind);
        if self.outages.len() <= kind {
            self.outages.resize_with(kind + 1, InOutages::default);
        }
        if let Some(outage) = self.outages.get_mut(kind) {
            *outage = InOutages::of(&came, is);
        }
        if kind == FAILURES {
            self.segments.each(|segment| segment.outage = InOutages::of(&segment.failed, is));
        }
    }
}

impl Additive for Counts {
    fn merge(&mut self, other: &Self) {
        self.pairs.merge(&other.pairs);
        self.pair_labels.merge(&other.pair_labels);
        self.alone.merge(&other.alone);
        self.requests.merge(&other.requests);
        self.keys.merge(&other.keys);
        self.flagged.merge(&other.flagged);
        self.flagged_in_arms.merge(&other.flagged_in_arms);
        merge_each(&mut self.outages, &other.outages, InOutages::merge);
        self.segments.merge(&other.segments);
    }
    fn is_empty(&self) -> bool {
        self.pairs.is_empty()
            && self.pair_labels.is_empty()
            && self.alone.is_empty()
            && self.requests.is_empty()
            && self.keys.is_empty()
            && self.segments.is_empty()
    }
}

/// Whose requests an exposure counts, in the eyes of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    /// The candidate's, on the canary.
    Candidate(Split),
    /// Live's, beside a canary.
    Live(Split),
    /// The candidate's as a shadow, or the new live's while it is watched.
    Alone,
}

/// How traffic is split between a canary and its control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Split {
    /// Of requests without a key.
    pub(crate) requests: Odds,
    /// Of keys: those that belong to the candidate, and those that were set aside as its control. Nothing where no key
    /// was ever seen.
    pub(crate) keys: Option<Odds>,
}

/// The counts of one exposure since the last time.
pub(crate) struct Drained<'a> {
    pub(crate) requests: &'a UnitCounts,
    pub(crate) keys: &'a UnitCounts,
    pub(crate) pairs: &'a PairCounts,
    pub(crate) labels: &'a Taken,
    /// Units by segment.
    pub(crate) segments: &'a [(Arc<str>, SegmentUnits)],
}

/// The evidence of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    blocks: Blocks<Counts>,
    /// Since the exposure last changed, by when a request was made.
    fresh: Fresh,
    /// Counts the changes of exposure.
    era: u32,
    /// The counts since the last tick: a block is closed between ticks, never between two arms.
    coming: Counts,
    coming_fresh: Counts,
    cohorts: OrderedMap<u64, Cohort>,
    maturity: Maturity,
    late: u64,
    /// The answers that were called yes and wait for their match: of all, and since the exposure last changed.
    matching: [Matching; 2],
    /// Of failures, and of each of the times that are looked for.
    outages: Vec<Outage>,
}

/// Counts with what was found of them, which each of an attempt's guards asks.
#[derive(Debug, Clone, Default)]
struct Fresh {
    counts: Counts,
    /// That units do not come in the shares in which traffic was split. It is of these counts: whatever changes them, which
    /// [`merge`](Self::merge) alone does, takes it away.
    mismatch: OnceLock<EValue>,
}

impl Fresh {
    fn merge(&mut self, counts: &Counts) {
        self.mismatch.take();
        self.counts.merge(counts);
    }

    fn mismatch(&self) -> EValue {
        *self.mismatch.get_or_init(|| {
            let mismatch = |arms: &ByOdds<ArmCounts>| {
                SampleRatio::default().e_value(&arms.map(|arm| Events { events: 0, units: arm.units.units }))
            };
            mismatch(&self.counts.requests).max(mismatch(&self.counts.keys))
        })
    }
}

/// Cohorts that are shown.
const COHORTS_MAX: usize = 48;

/// The predictions of one stretch of time, and how many of them got their truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cohort {
    /// When the stretch began.
    pub from: Timestamp,
    /// Whether its labels have become evidence. Until then none is counted here.
    pub matured: bool,
    /// Of the candidate, as a shadow and as a canary.
    pub candidate: Coverage,
    /// Of live over the same time, where it is compared with a canary.
    pub live: Coverage,
}

/// How many predictions got their truth in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Coverage {
    /// Units that predictions were made for, as far as they count as evidence.
    pub predictions: u64,
    /// Those of them whose truth was known when the cohort matured.
    pub labelled: u64,
}

impl Coverage {
    fn merge(&mut self, other: Self) {
        self.predictions = self.predictions.saturating_add(other.predictions);
        self.labelled = self.labelled.saturating_add(other.labelled);
    }
}

/// The evidence of one attempt, as it is written down between two ticks.
#[cfg(feature = "state")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedLedger {
    blocks: Blocks<Counts>,
    fresh: Counts,
    era: u32,
    cohorts: OrderedMap<u64, Cohort>,
    late: u64,
}

#[cfg(feature = "state")]
impl Ledger {
    /// Returns what is to be written down. The caller has just settled it.
    pub(crate) fn saved(&self) -> SavedLedger {
        let Self { blocks, fresh, era, cohorts, late, .. } = self;
        let (blocks, fresh, cohorts) = (blocks.clone(), fresh.counts.clone(), cohorts.clone());
        SavedLedger { blocks, fresh, era: *era, cohorts, late: *late }
    }

    /// Goes on from what was written down.
    pub(crate) fn restored(saved: SavedLedger, maturity: Maturity, shift: Shift) -> Self {
        let SavedLedger { blocks, fresh, era, cohorts: before, late } = saved;
        let mut cohorts: OrderedMap<u64, Cohort> = OrderedMap::new();
        for (_, earlier) in before {
            // Slots may be wider or narrower than they were.
            let slot = maturity.slot(shift.of(earlier.from));
            let from = maturity.slot_began(slot);
            let cohort = cohorts.entry(slot).or_insert(Cohort { from, ..Cohort::default() });
            cohort.candidate.merge(earlier.candidate);
            cohort.live.merge(earlier.live);
        }
        let outages = blocks.total().usual();
        Self {
            blocks,
            fresh: Fresh { counts: fresh, ..Fresh::default() },
            era,
            cohorts,
            late,
            outages,
            ..Self::new(maturity)
        }
    }
}

/// Adds units of one side of a comparison.
fn add_to_segment(segment: &mut EventCounts, side: Side, requests: Events, keys: Events) {
    let (split, candidate) = match side {
        Side::Alone => {
            segment.alone.merge(&requests);
            segment.alone.merge(&keys);
            return;
        }
        Side::Candidate(split) => (split, true),
        Side::Live(split) => (split, false),
    };
    let by_odds =
        [(&mut segment.requests, Some(split.requests), requests), (&mut segment.keys, split.keys, keys)];
    for (by_odds, odds, units) in by_odds {
        let Some(odds) = odds.filter(|_| units.units > 0) else { continue };
        let arms = by_odds.at(odds);
        if candidate { arms.candidate.merge(&units) } else { arms.live.merge(&units) }
    }
}

impl Ledger {
    pub(crate) fn new(maturity: Maturity) -> Self {
        Self {
            blocks: Blocks::default(),
            fresh: Fresh::default(),
            era: 0,
            coming: Counts::default(),
            coming_fresh: Counts::default(),
            cohorts: OrderedMap::new(),
            maturity,
            late: 0,
            matching: [Matching::new(), Matching::new()],
            outages: Vec::new(),
        }
    }

    /// The same, counting stretches from the one after `era`.
    pub(crate) fn after(self, era: u32) -> Self {
        Self { era: era + 1, ..self }
    }

    /// Which stretch between two changes of exposure it is.
    pub(crate) fn era(&self) -> u32 {
        self.era
    }

    /// The exposure changes: what requests from here on come to is counted apart too.
    pub(crate) fn begin_era(&mut self) {
        self.era += 1;
        self.fresh = Fresh::default();
        self.coming_fresh = Counts::default();
        self.matching[1] = Matching::new();
        self.outages.iter_mut().for_each(Outage::begin);
        self.blocks.begin();
    }

    /// Takes note of what came of an exposure that began in the stretch `era`. Its predictions were made after `since`.
    pub(crate) fn absorb(&mut self, side: Side, era: u32, drained: &Drained<'_>, since: Timestamp) {
        let Drained { requests, keys, pairs, labels, segments } = *drained;
        let mut counts = Counts::default();
        let cohort = self.maturity.slot(since);
        let mut labelled = Vec::new();
        // Pairs beside what live answers are those of the version before it, in the watch over live: of no candidate that live is compared
        // with at the same time.
        let has_pairs = !matches!(side, Side::Live(_));
        for (slot, labels) in &labels.slots {
            if has_pairs {
                counts.pair_labels.merge(&labels.pairs);
            }
            let known = labels.requests.known.saturating_add(labels.keys.known);
            labelled.push((*slot, known));
        }
        let own = |own: &mut ArmCounts, of: fn(&super::waiting::Labels) -> &super::arm::ArmLabels| {
            labels.slots.iter().for_each(|(_, labels)| own.labels.merge(of(labels)));
        };
        match side {
            Side::Alone => {
                counts.alone.units.merge(requests);
                counts.alone.units.merge(keys);
                own(&mut counts.alone, |labels| &labels.requests);
                own(&mut counts.alone, |labels| &labels.keys);
            }
            Side::Candidate(split) | Side::Live(split) => {
                let candidate = matches!(side, Side::Candidate(_));
                let arm = |by_odds: &mut ByOdds<ArmCounts>, odds, units: &UnitCounts, of| {
                    let arms = by_odds.at(odds);
                    let arm = if candidate { &mut arms.candidate } else { &mut arms.live };
                    arm.units.merge(units);
                    own(arm, of);
                };
                arm(&mut counts.requests, split.requests, requests, |labels| &labels.requests);
                if let Some(odds) = split.keys {
                    arm(&mut counts.keys, odds, keys, |labels| &labels.keys);
                }
            }
        }
        for (segment, units) in segments {
            let of = counts.segments.at(segment);
            add_to_segment(&mut of.failed, side, units.requests, units.keys);
            let refused = |units: u64| Events { events: units, units };
            let (requests, keys) = (refused(units.refused_requests), refused(units.refused_keys));
            add_to_segment(&mut of.refused, side, requests, keys);
        }
        if has_pairs {
            counts.pairs.merge(pairs);
            for (segment, failed) in pairs.segments.iter() {
                counts.segments.at(segment).failed.pairs.merge(failed);
            }
        }
        for (segment, known) in labels.slots.iter().flat_map(|(_, labels)| labels.segments.iter()) {
            let wrong = &mut counts.segments.at(segment).wrong;
            add_to_segment(wrong, side, known.requests, known.keys);
            if has_pairs {
                wrong.pairs.merge(&known.pairs);
            }
        }
        self.late = self.late.saturating_add(labels.late);
        self.cover(
            matches!(side, Side::Live(_)),
            cohort,
            requests.units.saturating_add(keys.units),
            &labelled,
        );
        if era == self.era {
            self.coming_fresh.merge(&counts);
        }
        self.coming.merge(&counts);
    }

    fn cover(&mut self, live: bool, now: u64, predictions: u64, labelled: &[(u64, u64)]) {
        let from = |slot| self.maturity.slot_began(slot);
        let counted = [(now, predictions, 0)].into_iter().filter(|(_, predictions, _)| *predictions > 0);
        for (slot, predictions, known) in
            counted.chain(labelled.iter().map(|(slot, known)| (*slot, 0, *known)))
        {
            let began = from(slot);
            let cohort = self.cohorts.entry(slot).or_insert(Cohort { from: began, ..Cohort::default() });
            let coverage = if live { &mut cohort.live } else { &mut cohort.candidate };
            coverage.merge(Coverage { predictions, labelled: known });
        }
        while self.cohorts.len() > COHORTS_MAX {
            self.cohorts.pop_first();
        }
    }

    /// Returns what came since the last tick: of all requests, and of those since the exposure changed.
    #[cfg(feature = "fleet")]
    pub(crate) fn coming(&self) -> (&Counts, &Counts) {
        (&self.coming, &self.coming_fresh)
    }

    /// Takes what others have counted, of requests since the exposure changed or of earlier ones.
    #[cfg(feature = "fleet")]
    pub(crate) fn take_in(&mut self, counts: &Counts, fresh: bool) {
        if fresh {
            self.coming_fresh.merge(counts);
        }
        self.coming.merge(counts);
    }

    /// Whether something came since the last tick.
    pub(crate) fn has_coming(&self) -> bool {
        !self.coming.is_empty()
    }

    /// Closes a tick: what came becomes evidence together.
    pub(crate) fn settle(&mut self) {
        if self.coming.is_empty() {
            return;
        }
        let mut coming = std::mem::take(&mut self.coming);
        let mut fresh = std::mem::take(&mut self.coming_fresh);
        for (counts, matching) in [&mut coming, &mut fresh].into_iter().zip(&mut self.matching) {
            counts.flagged = matching.of_pairs(&counts.pair_labels);
            counts.flagged_in_arms = matching.of_arms(&counts.requests, &counts.keys);
        }
        self.outages.resize_with(self.outages.len().max(coming.kinds()), Outage::default);
        for (kind, outage) in self.outages.iter_mut().enumerate() {
            let is = outage.is(&coming.of_kind(kind));
            if is.any() {
                coming.came_in_outage(kind, is);
                fresh.came_in_outage(kind, is);
            }
        }
        let of_canary = |by_odds: &ByOdds<ArmCounts>| by_odds.pooled().candidate.units.units;
        let units = [&coming.requests, &coming.keys].into_iter().map(of_canary);
        let units = units.fold(coming.alone.units.units, u64::saturating_add);
        self.blocks.add(&coming, units.max(coming.pair_labels.known));
        self.fresh.merge(&fresh);
    }

    /// All of it, in blocks.
    pub(crate) fn blocks(&self) -> &Blocks<Counts> {
        &self.blocks
    }

    /// Since the exposure last changed.
    pub(crate) fn fresh(&self) -> &Counts {
        &self.fresh.counts
    }

    /// That units do not come in the shares in which traffic was split, since the exposure last changed.
    pub(crate) fn units_mismatch(&self) -> EValue {
        self.fresh.mismatch()
    }

    /// The last cohorts, oldest first.
    pub(crate) fn cohorts(&self, now: Timestamp) -> Vec<Cohort> {
        let complete = self.maturity.complete_before(now);
        let matured = |slot: u64| self.maturity == Maturity::AsTheyCome || slot < complete;
        self.cohorts.iter().map(|(slot, cohort)| Cohort { matured: matured(*slot), ..*cohort }).collect()
    }

    /// Labels that came when those of their time had become evidence without them.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;
    use crate::stats::evidence::loss::Decision;
    use crate::stats::evidence::waiting::Labels;

    /// Bug: what was called yes was matched with what of all time waited, and not with what came since the exposure changed.
    #[test]
    fn what_was_called_yes_is_matched_since_the_exposure_changed_too() {
        let half = Share::new(0.5).unwrap();
        let split = Split { requests: Odds::new(half, half).unwrap(), keys: None };
        let mut ledger = Ledger::new(Maturity::AsTheyCome);
        ledger.begin_era();
        let era = ledger.era();
        for _ in 0..10 {
            for side in [Side::Candidate(split), Side::Live(split)] {
                let mut labels = Labels::default();
                labels.requests.known = 10;
                labels.requests.decided[Decision::Yes as usize] = [3, 7];
                let taken = Taken { slots: vec![(0, labels)], late: 0 };
                let (units, pairs) =
                    (UnitCounts { units: 10, ..UnitCounts::default() }, PairCounts::default());
                let drained = Drained {
                    requests: &units,
                    keys: &UnitCounts::default(),
                    pairs: &pairs,
                    labels: &taken,
                    segments: &[],
                };
                ledger.absorb(side, era, &drained, Timestamp::default());
            }
            ledger.settle();
        }
        assert_eq!(ledger.blocks().total().flagged_in_arms.pairs(), 100);
        assert_eq!(ledger.fresh().flagged_in_arms.pairs(), 100);
    }

    /// What came in an outage is known of each kind and of each segment, and is among what came.
    #[test]
    fn an_outage_is_counted_apart_of_all_and_of_each_segment() {
        let half = Share::new(0.5).unwrap();
        let split = Split { requests: Odds::new(half, half).unwrap(), keys: None };
        let mut ledger = Ledger::new(Maturity::AsTheyCome);
        for failed in [0, 0, 90, 80] {
            let slow = vec![Events { events: failed, units: 100 }];
            let units = UnitCounts { units: 100, failed, slow, ..UnitCounts::default() };
            let of_segment =
                SegmentUnits { requests: Events { events: failed, units: 100 }, ..SegmentUnits::default() };
            for side in [Side::Candidate(split), Side::Live(split)] {
                let drained = Drained {
                    requests: &units,
                    keys: &UnitCounts::default(),
                    pairs: &PairCounts::default(),
                    labels: &Taken::default(),
                    segments: &[("here".into(), of_segment)],
                };
                ledger.absorb(side, 0, &drained, Timestamp::default());
            }
            ledger.settle();
        }
        for counts in [ledger.blocks().total(), ledger.fresh().clone()] {
            let outage = Events { events: 170, units: 200 };
            for kind in [FAILURES, slower_than(0)] {
                assert_eq!(counts.outage_of_kind(kind).left_out.candidate(), outage, "{kind}");
                assert_eq!(counts.of_kind(kind).candidate(), Events { events: 170, units: 400 });
            }
            assert_eq!(counts.segments.get("here").unwrap().outage.left_out.live(), outage);
        }
    }

    /// What was found of a mismatch is found again whenever what it was found of has changed: at each tick and each change of
    /// exposure.
    #[test]
    fn a_mismatch_is_that_of_the_counts_as_they_are() {
        let half = Share::new(0.5).unwrap();
        let split = Split { requests: Odds::new(half, half).unwrap(), keys: None };
        let mut ledger = Ledger::new(Maturity::AsTheyCome);
        let tick = |ledger: &mut Ledger, candidate: u64, live: u64| {
            for (side, units) in [(Side::Candidate(split), candidate), (Side::Live(split), live)] {
                let drained = Drained {
                    requests: &UnitCounts { units, ..UnitCounts::default() },
                    keys: &UnitCounts::default(),
                    pairs: &PairCounts::default(),
                    labels: &Taken::default(),
                    segments: &[],
                };
                ledger.absorb(side, ledger.era(), &drained, Timestamp::default());
            }
            ledger.settle();
            let anew = Fresh { counts: ledger.fresh().clone(), ..Fresh::default() };
            assert_eq!(ledger.units_mismatch(), anew.mismatch());
            ledger.units_mismatch()
        };
        let alike = tick(&mut ledger, 500, 500);
        let before = ledger.clone();
        let apart = tick(&mut ledger, 0, 500);
        assert!(alike <= EValue::ONE && apart > EValue::of(1e3), "{alike} {apart}");
        assert_eq!(before.units_mismatch(), alike, "of what others still look at");
        ledger.begin_era();
        assert_eq!(ledger.units_mismatch(), EValue::ONE);
        assert!(tick(&mut ledger, 0, 500) > apart);
    }
}

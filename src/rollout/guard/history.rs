//! The history that one rule's tests look at: the evidence of an attempt, cut down to a few counts, in blocks of time.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::design::Design;
use super::tested::Tested;
use crate::stats::evidence::arm::{ArmCounts, ArmLabels};
use crate::stats::evidence::event_counts::EventCounts;
use crate::stats::evidence::ledger::{Counts, FAILURES, Ledger, slower_than};
use crate::stats::evidence::loss::Decision;
use crate::stats::evidence::outage::InOutages;
use crate::stats::sequential::in_arms::{Chances, InArms, Stratum};
use crate::stats::sequential::{
    Additive, Arms, Blocks, ByOdds, Events, HiddenEvents, PairedEvents, PairedParts, Part, Parts, Scores,
    Values,
};

/// Counts of one stretch of time: pairs, the candidate alone, and units of both arms.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(bound(
    serialize = "P: Serialize, S: Serialize + Clone",
    deserialize = "P: Deserialize<'de> + Default, S: Deserialize<'de> + Default"
))]
pub(crate) struct Series<P, S> {
    /// Pairs of answers to the same input.
    pub(crate) pairs: P,
    /// The candidate's runs as a shadow, or the new live's requests while it is watched.
    pub(crate) alone: S,
    /// Units that are requests, of the canary and its control.
    #[serde(default)]
    pub(crate) requests: ByOdds<S>,
    /// Units that are keys, likewise.
    #[serde(default)]
    pub(crate) keys: ByOdds<S>,
    /// Of a figure of labels: which units were answered, as far as that decides whose a known truth is likely to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answered: Option<Box<InArms>>,
    /// Of failures and of latencies of a live that is watched alone: what the version before has failed on too.
    #[serde(default, skip_serializing_if = "Additive::is_empty")]
    pub(crate) shared: Events,
    /// Of failures and of latencies: those among them that came in outages.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub(crate) outage: Option<Box<InOutages>>,
}

impl<P: Additive, S: Additive> Additive for Series<P, S> {
    fn merge(&mut self, other: &Self) {
        self.pairs.merge(&other.pairs);
        self.alone.merge(&other.alone);
        self.requests.merge(&other.requests);
        self.keys.merge(&other.keys);
        self.shared.merge(&other.shared);
        if let Some(other) = &other.answered {
            self.answered.get_or_insert_default().merge(other);
        }
        if let Some(other) = &other.outage {
            self.outage.get_or_insert_default().merge(other);
        }
    }
    fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.alone.is_empty() && self.requests.is_empty() && self.keys.is_empty()
    }
}

impl<P: Additive, S: Additive> Series<P, S> {
    /// Units that are requests and units that are keys, with the chance that each was the candidate's.
    pub(crate) fn in_arms(&self) -> [Stratum<'_, S>; 2] {
        let [requests, keys] = match &self.answered {
            Some(answered) => [&answered.requests, &answered.keys].map(Chances::of_answers),
            None => [Chances::default(); 2],
        };
        [(&self.requests, requests), (&self.keys, keys)]
    }

    /// Everything the candidate did, in whatever phase.
    pub(crate) fn candidate(&self) -> S {
        let mut all = self.alone.clone();
        all.merge(&self.requests.pooled().candidate);
        all.merge(&self.keys.pooled().candidate);
        all
    }

    /// Returns what live did beside a canary.
    pub(crate) fn live(&self) -> S {
        let mut all = self.requests.pooled().live;
        all.merge(&self.keys.pooled().live);
        all
    }
}

/// Counts in blocks, and those since the exposure last changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "C: Serialize", deserialize = "C: Deserialize<'de>"))]
pub(crate) struct Stretch<C> {
    /// Since the attempt began, in blocks of time.
    pub(crate) blocks: Blocks<C>,
    /// Of requests that were made since the exposure last changed.
    pub(crate) fresh: C,
}

/// The history that one rule's tests look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum History {
    /// Things that happen or do not.
    Events(Stretch<Series<PairedEvents, Events>>),
    /// Losses between 0 and 1.
    Scores(Stretch<Series<Scores, Scores>>),
    /// Values without bounds.
    Values(Stretch<Series<Values, Values>>),
    /// Numerators and denominators.
    Ratios(Stretch<Series<PairedParts, Parts>>),
    /// Wrong answers, where some truths are hidden.
    Hidden(Stretch<Series<HiddenEvents, Events>>),
    /// Things that happen or do not, of all units and by segment.
    BySegment {
        /// All of them.
        all: Stretch<Series<PairedEvents, Events>>,
        /// Those of each segment, by its label.
        segments: Vec<(String, Stretch<Series<PairedEvents, Events>>)>,
    },
}

impl History {
    /// Returns what a test looks at.
    pub(crate) fn of_design(design: &Design, ledger: &Ledger) -> Self {
        match Self::of(design.tested, ledger) {
            Self::Events(all) if design.segments.is_some() => {
                let known = ledger.blocks().total().segments;
                let of = |(label, _): (&Arc<str>, _)| {
                    let read = |counts: &Counts| segment(design.tested, counts, label);
                    (label.to_string(), Stretch::of(ledger, read))
                };
                Self::BySegment { all, segments: known.iter().map(of).collect() }
            }
            history => history,
        }
    }

    /// Returns what `tested` reads off a ledger.
    pub(crate) fn of(tested: Tested, ledger: &Ledger) -> Self {
        match tested {
            Tested::Failures
            | Tested::Slow(_)
            | Tested::Wrong
            | Tested::Missed
            | Tested::FalseAlarms
            | Tested::FalseAlarmsInArms
            | Tested::KpiSuccesses(_)
            | Tested::Differences => Self::Events(Stretch::of(ledger, |counts| events(tested, counts))),
            Tested::Loss(_) | Tested::Kpi(_) | Tested::Comparisons => {
                Self::Scores(Stretch::of(ledger, |counts| scores(tested, counts)))
            }
            Tested::Errors | Tested::KpiValues(_) => {
                Self::Values(Stretch::of(ledger, |counts| values(tested, counts)))
            }
            Tested::F1 => Self::Ratios(Stretch::of(ledger, ratios)),
            Tested::WrongWithHidden => Self::Hidden(Stretch::of(ledger, hidden)),
        }
    }

    /// The last block that was begun before each block was full: the history as it stood then, from the first block on.
    pub(crate) fn prefixes(&self) -> Vec<History> {
        match self {
            Self::Events(stretch) => stretch.prefixes().map(Self::Events).collect(),
            Self::Scores(stretch) => stretch.prefixes().map(Self::Scores).collect(),
            Self::Values(stretch) => stretch.prefixes().map(Self::Values).collect(),
            Self::Ratios(stretch) => stretch.prefixes().map(Self::Ratios).collect(),
            Self::Hidden(stretch) => stretch.prefixes().map(Self::Hidden).collect(),
            Self::BySegment { all, .. } => all.prefixes().map(Self::Events).collect(),
        }
    }
}

/// Reads the series of one segment off the evidence.
fn segment(tested: Tested, counts: &Counts, label: &str) -> Series<PairedEvents, Events> {
    let Some(of) = counts.segments.get(label) else { return Series::default() };
    if tested == Tested::Failures {
        let shared = counts.shared_failures();
        return Series { shared, ..Series::with_outage(of.failed.clone(), of.outage.clone()) };
    }
    Series { answered: Some(Box::new(of.answered())), ..Series::of(of.wrong.clone()) }
}

impl<C: Additive> Stretch<C> {
    pub(crate) fn of(ledger: &Ledger, read: impl Fn(&Counts) -> C) -> Self {
        Self { blocks: ledger.blocks().map(&read), fresh: read(ledger.fresh()) }
    }

    /// The same as it stood when each block was the newest.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Self> + '_ {
        (1..=self.blocks.blocks().len()).map(|to| {
            let blocks = self.blocks.first(to);
            Self { fresh: blocks.total(), blocks }
        })
    }
}

fn by_odds<D: Additive>(counts: &Counts, read: impl Fn(&ArmCounts) -> D) -> (ByOdds<D>, ByOdds<D>) {
    (counts.requests.map(&read), counts.keys.map(&read))
}

/// The units of both arms that were answered, of which truths can be known.
fn answered(counts: &Counts) -> Option<Box<InArms>> {
    let read = |arm: &ArmCounts| Events { events: arm.units.answered(), units: arm.units.units };
    let (requests, keys) = by_odds(counts, read);
    Some(Box::new(InArms { requests, keys })).filter(|answered| !answered.is_empty())
}

impl History {
    /// Reads off counts for things that happen or do not.
    pub(crate) fn events(tested: Tested, counts: &Counts) -> Series<PairedEvents, Events> {
        events(tested, counts)
    }
}

fn events(tested: Tested, counts: &Counts) -> Series<PairedEvents, Events> {
    let kind = match tested {
        Tested::Failures => Some(FAILURES),
        Tested::Slow(place) => Some(slower_than(place)),
        _ => None,
    };
    if let Some(kind) = kind {
        let shared = counts.shared_failures();
        return Series { shared, ..Series::with_outage(counts.of_kind(kind), counts.outage_of_kind(kind)) };
    }
    let of_arm = |arm: &ArmCounts| match tested {
        Tested::Wrong => wrong(arm),
        Tested::Missed => {
            let positives = arm.labels.decisions().filter(|(_, yes, _)| *yes);
            let counted = positives.map(|(decision, _, count)| Events {
                events: if decision == Decision::Yes { 0 } else { count },
                units: count,
            });
            sum(counted)
        }
        Tested::FalseAlarms | Tested::FalseAlarmsInArms => {
            let called = arm.labels.decisions().filter(|(decision, ..)| *decision == Decision::Yes);
            sum(called.map(|(_, yes, count)| Events { events: if yes { 0 } else { count }, units: count }))
        }
        Tested::KpiSuccesses(place) => {
            let scores = arm.labels.kpis.get(place).map(|kpi| &kpi.scores);
            let of_place = |(place, count)| Events {
                events: if place == Scores::STEPS { count } else { 0 },
                units: count,
            };
            scores.map(|scores| sum(scores.places().map(of_place))).unwrap_or_default()
        }
        _ => Events::default(),
    };
    let pairs = match tested {
        Tested::Wrong => wrong_pairs(counts),
        Tested::Missed => paired(counts, |yes| yes),
        Tested::FalseAlarms => counts.flagged,
        Tested::FalseAlarmsInArms => counts.flagged_in_arms,
        _ => PairedEvents::default(),
    };
    let alone = match tested {
        Tested::Differences => counts.pairs.differ,
        _ => of_arm(&counts.alone),
    };
    let (requests, keys) = by_odds(counts, of_arm);
    let of_labels =
        matches!(tested, Tested::Wrong | Tested::Missed | Tested::FalseAlarms | Tested::KpiSuccesses(_));
    let answered = of_labels.then(|| answered(counts)).flatten();
    Series { pairs, alone, requests, keys, answered, ..Series::default() }
}

impl Series<PairedEvents, Events> {
    pub(crate) fn of(EventCounts { pairs, alone, requests, keys }: EventCounts) -> Self {
        Self { pairs, alone, requests, keys, ..Self::default() }
    }

    pub(super) fn with_outage(all: EventCounts, outage: InOutages) -> Self {
        let outage = (!outage.is_empty()).then(|| Box::new(outage));
        Self { outage, ..Self::of(all) }
    }

    /// What came in no outage of live's: what may speak for a candidate.
    pub(crate) fn calm(&self) -> Cow<'_, Self> {
        self.outage.as_ref().map_or(Cow::Borrowed(self), |outage| Cow::Owned(self.without(&outage.left_out)))
    }

    /// What these have beside others that are among them.
    pub(crate) fn without(&self, outage: &EventCounts) -> Self {
        Self {
            pairs: self.pairs.without(&outage.pairs),
            alone: self.alone.without(outage.alone),
            requests: self.requests.without(&outage.requests),
            keys: self.keys.without(&outage.keys),
            ..Self::default()
        }
    }
}

fn sum(events: impl Iterator<Item = Events>) -> Events {
    events.fold(Events::default(), |mut sum, one| {
        sum.merge(&one);
        sum
    })
}

fn wrong(arm: &ArmCounts) -> Events {
    wrong_labels(&arm.labels)
}

/// Wrong answers among those whose truth is known.
pub(crate) fn wrong_labels(labels: &ArmLabels) -> Events {
    let mut all = labels.wrong;
    for (decision, yes, count) in labels.decisions() {
        all.merge(&Events { events: if decision.is_right(yes) { 0 } else { count }, units: count });
    }
    all
}

fn wrong_pairs(counts: &Counts) -> PairedEvents {
    let mut all = paired(counts, |_| true);
    all.merge(&counts.pair_labels.wrong);
    all
}

/// Who was wrong, of pairs whose truth is one of those wanted.
fn paired(counts: &Counts, wanted: impl Fn(bool) -> bool) -> PairedEvents {
    let mut pairs = PairedEvents::default();
    for (live, candidate, yes, count) in counts.pair_labels.decisions().filter(|(_, _, yes, _)| wanted(*yes))
    {
        let mut one = PairedEvents::default();
        one.count(Arms { candidate: !candidate.is_right(yes), live: !live.is_right(yes) });
        pairs.neither += one.neither * count;
        pairs.only_live += one.only_live * count;
        pairs.only_candidate += one.only_candidate * count;
        pairs.both += one.both * count;
    }
    pairs
}

fn hidden(counts: &Counts) -> Series<HiddenEvents, Events> {
    let of = counts.pair_labels.hidden;
    let pairs =
        HiddenEvents { seen: wrong_pairs(counts), alike: of.alike, apart: of.apart, explored: of.explored };
    Series { pairs, ..Series::default() }
}

fn scores(tested: Tested, counts: &Counts) -> Series<Scores, Scores> {
    let of_arm = |arm: &ArmCounts| match tested {
        Tested::Loss(place) => arm.labels.losses.get(place).cloned().unwrap_or_default(),
        Tested::Kpi(place) => arm.labels.kpis.get(place).map(|kpi| kpi.scores.clone()).unwrap_or_default(),
        _ => Scores::default(),
    };
    let pairs = match tested {
        Tested::Loss(place) => counts.pair_labels.losses.get(place).cloned().unwrap_or_default(),
        _ => Scores::default(),
    };
    let alone = match tested {
        Tested::Comparisons => counts.pairs.compared.clone(),
        _ => of_arm(&counts.alone),
    };
    let (requests, keys) = by_odds(counts, of_arm);
    let answered = (tested != Tested::Comparisons).then(|| answered(counts)).flatten();
    Series { pairs, alone, requests, keys, answered, ..Series::default() }
}

fn values(tested: Tested, counts: &Counts) -> Series<Values, Values> {
    let of_arm = |arm: &ArmCounts| match tested {
        Tested::Errors => arm.labels.errors,
        Tested::KpiValues(place) => arm.labels.kpis.get(place).map(|kpi| kpi.values).unwrap_or_default(),
        _ => Values::default(),
    };
    let pairs = if tested == Tested::Errors { counts.pair_labels.errors } else { Values::default() };
    let (requests, keys) = by_odds(counts, of_arm);
    Series { pairs, alone: of_arm(&counts.alone), requests, keys, ..Series::default() }
}

fn ratios(counts: &Counts) -> Series<PairedParts, Parts> {
    let part = |decision: Decision, yes: bool| match (decision, yes) {
        (Decision::No | Decision::Failed, false) => Part::cut(0, 0),
        (Decision::Yes, true) => Part::cut(0, 2),
        // A false alarm, or one that was missed.
        _ => Part::cut(1, 1),
    };
    let of_arm = |arm: &ArmCounts| {
        let mut parts = Parts::default();
        arm.labels.decisions().for_each(|(decision, yes, count)| parts.count(part(decision, yes), count));
        parts
    };
    let mut pairs = PairedParts::default();
    for (live, candidate, yes, count) in counts.pair_labels.decisions() {
        pairs.count(Arms { candidate: part(candidate, yes), live: part(live, yes) }, count);
    }
    let (requests, keys) = by_odds(counts, of_arm);
    Series { pairs, alone: of_arm(&counts.alone), requests, keys, ..Series::default() }
}

//! The tests of a rule, asked.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::answering::{Answering, labels_differ};
use super::design::{Design, Margin, Uses};
use super::history::{History, Series, Stretch};
use super::tested::Tested;
use super::two_limits::{TwoLimits, TwoLimitsOfScores, of_losses, turned};
use crate::base::ordered::OrderedMap;
use crate::base::share::Share;
use crate::rollout::phase::Phase;
use crate::stats::sequential::in_arms::{InArms, Stratum};
use crate::stats::sequential::test::{Claim, SequentialTest};
use crate::stats::sequential::{
    Additive, Asymptotic, ByOdds, EValue, Events, HiddenEvents, Mean, MeanDifference, PairedDifference,
    PairedEvents, PairedHidden, PairedParts, PairedRatio, PairedRatioTest, PairedScores, Parts, Rate,
    RateDifference, RateRatio, RatioLimit, RatioMargin, Scores, SplitRatioTest, Values, e_bh_strength,
    rejected,
};

/// The question that a test is asked, beside its counts.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The share of traffic that passing leads to.
    pub(crate) before: Share,
    pub(crate) phase: Phase,
    /// The evidence that stands beside a figure of quality.
    pub(crate) answering: &'a Answering,
}

impl Design {
    /// Returns what the tests make of a history.
    pub(crate) fn weigh(&self, history: &History, asked: Asked<'_>, tests: &Tests) -> Weighed {
        let quality = self.weigh_figure(history, asked, tests);
        let Some((design, failures)) = &asked.answering.failures else { return quality };
        // Two hypotheses that must both hold for there to be no harm, and both be shown before it goes on.
        let own = &Answering::default();
        let failing = design.weigh_events(failures, Asked { answering: own, ..asked }, tests.failures());
        Weighed {
            harm: EValue::mean(&[quality.harm, failing.harm]),
            fine: match (quality.fine, failing.fine) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
        }
    }

    fn weigh_figure(&self, history: &History, asked: Asked<'_>, tests: &Tests) -> Weighed {
        let claim = |margin| (Claim::NonInferiority, margin);
        let asked_margin = self.before(asked.before);
        // Where live has the same, an absolute limit that is broken takes nothing back.
        let beside =
            || Design { margin: Margin::Above(0.0), uses: self.beside.unwrap_or(self.uses), ..self.clone() };
        let no_worse = (Claim::Harm, Margin::Above(0.0));
        match history {
            History::Events(stretch) => self.weigh_events(stretch, asked, tests),
            History::Scores(stretch) => {
                let fine = asked_margin.map(|margin| tests.scores(self, claim(margin)));
                if !self.asks_live(stretch, asked.phase) {
                    let harm = tests.scores(self, (Claim::Harm, self.margin));
                    return weigh(stretch, asked, &*harm, fine.as_deref());
                }
                let both = tests.two_limits_of_scores(self);
                Weighed {
                    harm: both.harm(stretch, covered(asked.answering)),
                    ..weigh(stretch, asked, &|_| EValue::ONE, fine.as_deref())
                }
            }
            History::Values(stretch) => {
                let harm = tests.values(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.values(self, claim(margin)));
                weigh(stretch, asked, &*harm, fine.as_deref())
            }
            History::Ratios(stretch) => {
                let harm = tests.ratios(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.ratios(self, claim(margin)));
                if !self.asks_live(stretch, asked.phase) {
                    return weigh(stretch, asked, &*harm, fine.as_deref());
                }
                let limits = BesideLive {
                    absolute: &*harm,
                    relative: &*tests.beside().ratios(&beside(), no_worse),
                    live_breaks: &|counts| {
                        let of_pairs = || counts.pairs.ratios().live;
                        self.breaks(counts.live().ratio().or_else(of_pairs))
                    },
                };
                Weighed {
                    harm: limits.harm(stretch, asked),
                    ..weigh(stretch, asked, &|_| EValue::ONE, fine.as_deref())
                }
            }
            History::BySegment { all, .. } => {
                let harm = self.harm_by_segment(history, asked, tests).into_iter().map(|(_, harm)| harm);
                let harm: Vec<EValue> = harm.collect();
                let hypotheses = self.segments.map_or(1, |segments| segments as usize);
                Weighed { harm: e_bh_strength(&harm, hypotheses), ..self.weigh_events(all, asked, tests) }
            }
            History::Hidden(stretch) => {
                let harm = tests.hidden(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.hidden(self, claim(margin)));
                weigh(stretch, asked, &*harm, fine.as_deref())
            }
        }
    }

    /// Live's loss where it is beyond an absolute limit itself, and is asked about that: then only what is worse than live takes a candidate back.
    pub(crate) fn lifted_by(&self, history: &History, phase: Phase) -> Option<f64> {
        let asks_live = match history {
            History::Events(stretch) => self.asks_live(stretch, phase),
            History::Scores(stretch) => self.asks_live(stretch, phase),
            History::Ratios(stretch) => self.asks_live(stretch, phase),
            History::Values(_) | History::BySegment { .. } | History::Hidden(_) => false,
        };
        let beside = || Self { uses: self.beside.unwrap_or(self.uses), ..self.clone() };
        let live = asks_live.then(|| beside().observe(history).live).flatten();
        live.filter(|live| self.breaks(Some(*live)))
    }

    /// Whether what is read of live breaks the rule's absolute limit.
    fn breaks(&self, live: Option<f64>) -> bool {
        matches!((self.margin, live), (Margin::AtMost(limit), Some(live)) if live > limit)
    }

    fn weigh_events(&self, stretch: &EventStretch, asked: Asked<'_>, tests: &Tests) -> Weighed {
        let fine = self.before(asked.before);
        let fine = fine.map(|margin| tests.events(self, (Claim::NonInferiority, margin)));
        let harm = self.harm_of_events(stretch, asked, tests);
        Weighed { harm, ..weigh(stretch, asked, &|_: &EventSeries| EValue::ONE, fine.as_deref()) }
    }

    fn harm_of_events(&self, stretch: &EventStretch, asked: Asked<'_>, tests: &Tests) -> EValue {
        let covered = covered(asked.answering);
        // A detector has the version before woken as soon as events of a watched live are more than allowed: until then nothing is said.
        let is_woken_for = self.beside.is_some() && self.can_be_paired();
        let asks_live = is_woken_for || self.asks_live(stretch, asked.phase);
        if let Some(two) = self.two_limits(asks_live, tests) {
            return two.harm(stretch, covered);
        }
        let harm = tests.events(self, (Claim::Harm, self.margin));
        stretch.blocks.since_each(|place, counts| if covered(place) { harm(counts) } else { EValue::ONE })
    }

    /// The test of harm against the larger of two limits, where there are two.
    fn two_limits(&self, asks_live: bool, tests: &Tests) -> Option<Arc<TwoLimits>> {
        match (self.margin, self.floor) {
            (Margin::Times(times), Some(floor)) => Some(tests.two_limits(times, floor, self.looks_beside())),
            (Margin::AtMost(limit), _) => {
                let asked = asks_live && self.beside.is_some();
                let uses = if asked { self.looks_beside() } else { (false, false) };
                Some(tests.two_limits(1.0, limit, uses))
            }
            _ => None,
        }
    }

    /// The test of events that a rollout would ask, for counts that are taken for one block of time.
    #[cfg(feature = "forecast")]
    pub(crate) fn at_once(&self, (claim, margin): (Claim, Margin), tests: &Tests) -> Evaluator<EventSeries> {
        match self.two_limits(true, tests).filter(|_| claim == Claim::Harm) {
            Some(two) => Arc::new(move |counts| two.harm_at_once(counts)),
            None => tests.events(self, (claim, margin)),
        }
    }

    /// The ways in which live is looked at beside an absolute limit: in pairs, and in arms.
    fn looks_beside(&self) -> (bool, bool) {
        let uses = self.beside.unwrap_or(self.uses);
        (uses != Uses::Arms, uses != Uses::Pairs)
    }

    /// Whether live is asked about an absolute limit: wherever there is one to ask. A new live that is watched has none
    /// beside it unless the version before runs as its shadow.
    fn asks_live<P: Additive, S: Additive>(&self, stretch: &Stretch<Series<P, S>>, phase: Phase) -> bool {
        self.is_absolute()
            && self.beside.is_some()
            && (phase != Phase::Baking || !stretch.blocks.total().pairs.is_empty())
    }
}

pub(crate) type EventSeries = Series<PairedEvents, Events>;

type EventStretch = Stretch<EventSeries>;

/// From which blocks on labels are listened to: those since which truths come alike for both arms.
fn covered(answering: &Answering) -> impl Fn(usize) -> bool + '_ {
    let mut since = Vec::new();
    if let Some(coverage) = &answering.coverage {
        let mut suffix = InArms::default();
        for block in coverage.blocks.blocks().iter().rev() {
            suffix.merge(&block.counts);
            since.push(!labels_differ(&suffix));
        }
        since.reverse();
    }
    move |place| since.get(place).copied().unwrap_or(true)
}

impl Design {
    /// The evidence for harm in each segment, of a rule that is judged by segment.
    pub(crate) fn harm_by_segment<'h>(
        &self,
        history: &'h History,
        asked: Asked<'_>,
        tests: &Tests,
    ) -> Vec<(&'h str, EValue)> {
        let History::BySegment { segments, .. } = history else { return Vec::new() };
        segments.iter().map(|(label, of)| (&**label, self.harm_of_events(of, asked, tests))).collect()
    }

    /// The segments in which a candidate is worse than allowed, where the errors for that are to be `alpha` of them.
    pub(crate) fn harmed(
        &self,
        history: &History,
        asked: Asked<'_>,
        tests: &Tests,
        threshold: EValue,
    ) -> Vec<String> {
        let known = self.harm_by_segment(history, asked, tests);
        let mut evidence: Vec<EValue> = known.iter().map(|(_, harm)| *harm).collect();
        // Those that have not come are hypotheses too.
        evidence.resize(evidence.len().max(self.segments.unwrap_or_default() as usize), EValue::ONE);
        let alpha = 1.0 / threshold.value();
        rejected(&evidence, alpha)
            .into_iter()
            .filter_map(|place| known.get(place))
            .map(|(label, _)| (*label).to_owned())
            .collect()
    }
}

/// The results of a rule's two tests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weighed {
    pub(crate) harm: EValue,
    /// Nothing where no candidate could be worse than what is asked.
    pub(crate) fine: Option<EValue>,
}

fn weigh<C: Additive>(
    stretch: &Stretch<C>,
    asked: Asked<'_>,
    harm: &dyn Fn(&C) -> EValue,
    fine: Option<&(dyn Fn(&C) -> EValue + Send + Sync)>,
) -> Weighed {
    let covered = covered(asked.answering);
    let harm =
        stretch.blocks.since_each(|place, counts| if covered(place) { harm(counts) } else { EValue::ONE });
    let alike = asked.answering.covered_alike();
    let fine = fine.map(|fine| match asked.before {
        // What is shown for a promotion is shown by what happened since the last change of exposure; for a step too, where
        // truths came in other shares before.
        Share::ALL => {
            if alike {
                fine(&stretch.fresh)
            } else {
                EValue::ONE
            }
        }
        _ if covered(0) => fine(&stretch.blocks.total()),
        _ if alike => fine(&stretch.fresh),
        _ => EValue::ONE,
    });
    Weighed { harm, fine }
}

/// An absolute limit on a ratio, or whatever live has at the same time: the larger of the two is allowed.
///
/// The smaller of two e-values over the whole time is right where one of the two limits is the larger all the time. It would condemn a
/// candidate that keeps its limit whenever live does: in an outage both are beyond it, and in quiet the candidate is a little worse than live
/// and far within it, so that both limits are broken by the sums. So blocks of time in which live is beyond the limit are also taken apart:
/// what holds there is live. That alone would not do either: of a live that is at the limit, it takes the blocks in which live was lucky for
/// those in which live was within. The least of the three counts, which is no more than whichever is right.
///
/// Events and scores have better: see [`two_limits`](super::two_limits). What live's ratio truly is nobody knows, so strategies of it
/// cannot be compared block by block.
struct BesideLive<'a> {
    absolute: &'a dyn Fn(&RatioSeries) -> EValue,
    relative: &'a dyn Fn(&RatioSeries) -> EValue,
    live_breaks: &'a dyn Fn(&RatioSeries) -> bool,
}

type RatioSeries = Series<PairedParts, Parts>;

/// Counts of times in which live was within the limit, and of those in which it was beyond.
#[derive(Clone, Default)]
struct ByLive {
    within: RatioSeries,
    beyond: RatioSeries,
}

impl Additive for ByLive {
    fn merge(&mut self, other: &Self) {
        self.within.merge(&other.within);
        self.beyond.merge(&other.beyond);
    }
    fn is_empty(&self) -> bool {
        self.within.is_empty() && self.beyond.is_empty()
    }
}

impl BesideLive<'_> {
    fn harm(&self, stretch: &Stretch<RatioSeries>, asked: Asked<'_>) -> EValue {
        let covered = covered(asked.answering);
        let apart = |counts: &RatioSeries| {
            let (one, none) = (counts.clone(), RatioSeries::default());
            let (within, beyond) = if (self.live_breaks)(counts) { (none, one) } else { (one, none) };
            ByLive { within, beyond }
        };
        stretch.blocks.map(apart).since_each(|place, ByLive { within, beyond }| {
            if !covered(place) {
                return EValue::ONE;
            }
            let of = |counts: &RatioSeries, test: &dyn Fn(&RatioSeries) -> EValue| {
                if counts.is_empty() { EValue::ONE } else { test(counts) }
            };
            let smaller = |counts: &RatioSeries| of(counts, self.absolute).min(of(counts, self.relative));
            let mut all = within.clone();
            all.merge(beyond);
            smaller(&all).min(smaller(within).times(of(beyond, self.relative)))
        })
    }
}

pub(crate) type Evaluator<C> = Arc<dyn Fn(&C) -> EValue + Send + Sync>;

/// The bits of a multiple and of an absolute limit, and whether pairs and arms are looked at.
type Limits = (u64, u64, (bool, bool));

type Kept<C> = Mutex<OrderedMap<(bool, u64), Evaluator<C>>>;

/// The tests of one rule, at the margins that were asked for lately: making one takes longer than asking it.
#[derive(Default)]
pub(crate) struct Tests {
    events: Kept<Series<PairedEvents, Events>>,
    scores: Kept<Series<Scores, Scores>>,
    values: Kept<Series<Values, Values>>,
    ratios: Kept<Series<PairedParts, Parts>>,
    hidden: Kept<Series<HiddenEvents, Events>>,
    two_limits: Mutex<OrderedMap<Limits, Arc<TwoLimits>>>,
    two_limits_of_scores: OnceLock<Arc<TwoLimitsOfScores>>,
    /// Of live's own rate: whether it has become worse.
    rates: Kept<Events>,
    /// Those of the failures that are judged beside a figure of quality: at the same margins, and of other counts.
    failures: OnceLock<Box<Tests>>,
    /// Those of whether the candidate is worse than live, where its limit is absolute.
    beside: OnceLock<Box<Tests>>,
}

/// A margin for each of a plan's steps, and the harm test.
const TESTS_MAX: usize = 8;

fn kept<C>(
    tests: &Kept<C>,
    (claim, margin): (Claim, Margin),
    make: impl FnOnce() -> Evaluator<C>,
) -> Evaluator<C> {
    let number = match margin {
        Margin::Above(x) | Margin::Times(x) | Margin::AtLeastTimes(x) | Margin::AtMost(x) => x,
    };
    remembered(tests, (claim == Claim::Harm, number.to_bits()), make)
}

fn remembered<K: Ord, T: Clone>(known: &Mutex<OrderedMap<K, T>>, key: K, make: impl FnOnce() -> T) -> T {
    let known = &mut *known.lock();
    if known.len() >= TESTS_MAX && !known.contains_key(&key) {
        known.clear();
    }
    known.entry(key).or_insert_with(make).clone()
}

impl Tests {
    fn failures(&self) -> &Self {
        self.failures.get_or_init(Box::default)
    }

    fn beside(&self) -> &Self {
        self.beside.get_or_init(Box::default)
    }

    pub(crate) fn two_limits(&self, times: f64, absolute: f64, uses: (bool, bool)) -> Arc<TwoLimits> {
        let make = || Arc::new(TwoLimits::new(times, absolute, uses));
        remembered(&self.two_limits, (times.to_bits(), absolute.to_bits(), uses), make)
    }

    /// The test of harm of a rule whose limit on a score is absolute.
    fn two_limits_of_scores(&self, design: &Design) -> Arc<TwoLimitsOfScores> {
        Arc::clone(self.two_limits_of_scores.get_or_init(|| {
            let limit = match design.margin {
                Margin::AtMost(limit) => limit,
                Margin::Above(_) | Margin::Times(_) | Margin::AtLeastTimes(_) => 1.0,
            };
            let (centre, turns) = (design.centre, design.turns_scores());
            Arc::new(TwoLimitsOfScores::new(limit, centre, turns, design.looks_beside()))
        }))
    }

    /// The test of whether a rate is above this one.
    pub(crate) fn above(&self, limit: f64) -> Evaluator<Events> {
        kept(&self.rates, (Claim::Harm, Margin::AtMost(limit)), || {
            let test = Rate::nearest(Claim::Harm, limit);
            Arc::new(move |seen| test.e_value(seen))
        })
    }

    pub(crate) fn events(
        &self,
        design: &Design,
        test: (Claim, Margin),
    ) -> Evaluator<Series<PairedEvents, Events>> {
        kept(&self.events, test, || events_test(design, test))
    }

    pub(crate) fn scores(&self, design: &Design, test: (Claim, Margin)) -> Evaluator<Series<Scores, Scores>> {
        kept(&self.scores, test, || scores_test(design, test))
    }

    pub(crate) fn values(&self, design: &Design, test: (Claim, Margin)) -> Evaluator<Series<Values, Values>> {
        kept(&self.values, test, || values_test(design, test))
    }

    pub(crate) fn ratios(
        &self,
        design: &Design,
        test: (Claim, Margin),
    ) -> Evaluator<Series<PairedParts, Parts>> {
        kept(&self.ratios, test, || ratios_test(design, test))
    }

    pub(crate) fn hidden(
        &self,
        design: &Design,
        (claim, margin): (Claim, Margin),
    ) -> Evaluator<Series<HiddenEvents, Events>> {
        kept(&self.hidden, (claim, margin), || {
            let Margin::Above(margin) = margin else { return Arc::new(|_| EValue::ONE) };
            let test = PairedHidden::nearest(claim, margin, design.explored);
            Arc::new(move |series| test.e_value(&series.pairs))
        })
    }
}

/// Pairs and arms together. A request may be in both, so their evidence has something to do with each other.
fn combined<P: Additive, S: Additive>(
    uses: Uses,
    pairs: impl Fn(&P) -> EValue + Send + Sync + 'static,
    arms: impl Fn(&[Stratum<'_, S>]) -> EValue + Send + Sync + 'static,
) -> Evaluator<Series<P, S>> {
    let split = move |series: &Series<P, S>| arms(&series.in_arms());
    match uses {
        Uses::Pairs => Arc::new(move |series: &Series<P, S>| pairs(&series.pairs)),
        Uses::Both => {
            Arc::new(move |series: &Series<P, S>| EValue::mean(&[pairs(&series.pairs), split(series)]))
        }
        Uses::Arms | Uses::Alone => Arc::new(split),
    }
}

fn events_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<PairedEvents, Events>> {
    let relative = match margin {
        Margin::AtMost(limit) => {
            let test = Rate::nearest(claim, limit);
            return Arc::new(move |series| test.e_value(&series.candidate()));
        }
        Margin::Above(margin) => {
            let pairs = PairedDifference::nearest(claim, margin);
            let arms = RateDifference::nearest(claim, margin, design.centre).ready();
            combined(design.uses, move |counts| pairs.e_value(counts), move |counts| arms.e_value(counts))
        }
        Margin::Times(times) => {
            let (pairs, arms) =
                (PairedRatio::nearest(claim, times), RateRatio::nearest(claim, times).ready());
            let all = combined(
                design.uses,
                move |counts| pairs.e_value(counts),
                move |counts| arms.e_value(counts),
            );
            if design.tested == Tested::Failures && claim == Claim::NonInferiority && times > 1.0 {
                Arc::new(move |series: &EventSeries| all(&series.calm()))
            } else {
                all
            }
        }
        Margin::AtLeastTimes(times) => {
            // The events are good ones: few of them are harm.
            let turned = match claim {
                Claim::Harm => Claim::NonInferiority,
                Claim::NonInferiority => Claim::Harm,
            };
            let arms = RateRatio::nearest(turned, times).ready();
            combined(Uses::Arms, |_: &PairedEvents| EValue::ONE, move |counts| arms.e_value(counts))
        }
    };
    let (Some(floor), Margin::Times(times), Margin::Times(own)) = (design.floor, margin, design.margin)
    else {
        return relative;
    };
    // Where more is allowed because little is at stake, it is allowed of the floor as well.
    let floor = Rate::nearest(claim, (floor * (times / own).max(1.0)).min(0.999));
    Arc::new(move |series| {
        let (multiple, absolute) = (relative(series), floor.e_value(&series.candidate()));
        match claim {
            // Both must be exceeded,
            Claim::Harm => multiple.min(absolute),
            // and either may be kept to.
            Claim::NonInferiority => EValue::mean(&[multiple, absolute]),
        }
    })
}

fn scores_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<Scores, Scores>> {
    match margin {
        Margin::Above(margin) => {
            let pairs = PairedScores::nearest(claim, margin);
            let arms = MeanDifference::nearest(claim, margin).centred_near(design.centre).ready();
            let turn = design.turns_scores();
            let losses =
                move |counts: &[Stratum<'_, Scores>]| of_losses(counts, turn, |losses| arms.e_value(losses));
            combined(design.uses, move |counts| pairs.e_value(counts), losses)
        }
        Margin::AtMost(limit) => {
            let test = Mean::nearest(claim, limit);
            let turn = design.turns_scores();
            Arc::new(move |series| {
                let own = series.candidate();
                test.e_value(&if turn { turned(&own) } else { own })
            })
        }
        Margin::Times(_) | Margin::AtLeastTimes(_) => Arc::new(|_| EValue::ONE),
    }
}

fn values_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<Values, Values>> {
    let Margin::Above(margin) = margin else { return Arc::new(|_| EValue::ONE) };
    // Of values of which more is better, less is harm: the other side of the mirrored margin.
    let (claim, margin) = match (design.reads_gain(), claim) {
        (false, claim) => (claim, margin),
        (true, Claim::Harm) => (Claim::NonInferiority, -margin),
        (true, Claim::NonInferiority) => (Claim::Harm, -margin),
    };
    let test = Asymptotic::at(claim, margin);
    let arms = move |counts: &[Stratum<'_, Values>]| test.e_value_of_kinds(&kinds(counts));
    combined(design.uses, move |counts| test.e_value_of_pairs(counts), arms)
}

fn ratios_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<PairedParts, Parts>> {
    let largest = if design.tested == Tested::F1 { 2 } else { 1 };
    let margin = match margin {
        Margin::Above(margin) => RatioMargin::Above(margin),
        Margin::Times(times) => RatioMargin::Times(times),
        Margin::AtMost(limit) => {
            let test = RatioLimit::nearest(claim, limit, largest);
            return Arc::new(move |series| test.e_value(&series.candidate()));
        }
        Margin::AtLeastTimes(_) => return Arc::new(|_| EValue::ONE),
    };
    let pairs = PairedRatioTest::nearest(claim, margin, largest);
    let arms = SplitRatioTest::nearest(claim, margin, largest);
    let arms = move |counts: &[Stratum<'_, Parts>]| arms.e_value_of_kinds(&kinds(counts));
    combined(design.uses, move |counts| pairs.e_value(counts), arms)
}

/// The counts of each kind of unit alone.
fn kinds<'a, C>(counts: &[Stratum<'a, C>]) -> Vec<&'a ByOdds<C>> {
    counts.iter().map(|(counts, _)| *counts).collect()
}

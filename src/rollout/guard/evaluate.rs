//! The tests of a rule, asked.

use std::sync::Arc;

use parking_lot::Mutex;

use super::design::{Design, Margin, Uses};
use super::history::{History, Series, Stretch};
use super::tested::Tested;
use crate::base::ordered::OrderedMap;
use crate::base::share::Share;
use crate::stats::sequential::test::{Claim, SequentialTest};
use crate::stats::sequential::{
    Additive, Asymptotic, ByOdds, EValue, Events, HiddenEvents, Mean, MeanDifference, PairedDifference,
    PairedEvents, PairedHidden, PairedParts, PairedRatio, PairedRatioTest, PairedScores, Parts, Rate,
    RateDifference, RateRatio, RatioLimit, RatioMargin, Scores, SplitRatioTest, Values, e_bh, e_bh_strength,
};

impl Design {
    /// What the tests make of a history.
    pub(crate) fn weigh(&self, history: &History, asked: Share, tests: &Tests) -> Weighed {
        let claim = |margin| (Claim::NonInferiority, margin);
        let asked_margin = self.before(asked);
        let promotion = asked == Share::ALL;
        match history {
            History::Events(stretch) => {
                let harm = tests.events(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.events(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::Scores(stretch) => {
                let harm = tests.scores(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.scores(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::Values(stretch) => {
                let harm = tests.values(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.values(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::Ratios(stretch) => {
                let harm = tests.ratios(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.ratios(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
            History::BySegment { all, .. } => {
                let harm = self.harm_by_segment(history, tests).into_iter().map(|(_, harm)| harm);
                let harm: Vec<EValue> = harm.collect();
                let hypotheses = self.segments.map_or(1, |segments| segments as usize);
                let fine = asked_margin.map(|margin| tests.events(self, claim(margin)));
                let overall = tests.events(self, (Claim::Harm, self.margin));
                Weighed {
                    harm: e_bh_strength(&harm, hypotheses),
                    ..weigh(all, promotion, &*overall, fine.as_deref())
                }
            }
            History::Hidden(stretch) => {
                let harm = tests.hidden(self, (Claim::Harm, self.margin));
                let fine = asked_margin.map(|margin| tests.hidden(self, claim(margin)));
                weigh(stretch, promotion, &*harm, fine.as_deref())
            }
        }
    }
}

impl Design {
    /// The evidence for harm in each segment, of a rule that is judged by segment.
    pub(crate) fn harm_by_segment<'h>(&self, history: &'h History, tests: &Tests) -> Vec<(&'h str, EValue)> {
        let History::BySegment { segments, .. } = history else { return Vec::new() };
        let harm = tests.events(self, (Claim::Harm, self.margin));
        segments.iter().map(|(label, of)| (&**label, of.blocks.since_any(&*harm))).collect()
    }

    /// The segments in which a candidate is worse than allowed, where the errors for that are to be `alpha` of them.
    pub(crate) fn harmed(&self, history: &History, tests: &Tests, threshold: EValue) -> Vec<String> {
        let known = self.harm_by_segment(history, tests);
        let mut evidence: Vec<EValue> = known.iter().map(|(_, harm)| *harm).collect();
        // Those that have not come are hypotheses too.
        evidence.resize(evidence.len().max(self.segments.unwrap_or_default() as usize), EValue::ONE);
        let alpha = 1.0 / threshold.value();
        e_bh(&evidence, alpha)
            .into_iter()
            .filter_map(|place| known.get(place))
            .map(|(label, _)| (*label).to_owned())
            .collect()
    }
}

/// What the two tests of a rule say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weighed {
    pub(crate) harm: EValue,
    /// Nothing where no candidate could be worse than what is asked.
    pub(crate) fine: Option<EValue>,
}

fn weigh<C: Additive>(
    stretch: &Stretch<C>,
    promotion: bool,
    harm: &dyn Fn(&C) -> EValue,
    fine: Option<&(dyn Fn(&C) -> EValue + Send + Sync)>,
) -> Weighed {
    let harm = stretch.blocks.since_any(harm);
    // What is shown for a promotion is shown by what happened since the last change of exposure.
    let fine = fine.map(|fine| if promotion { fine(&stretch.fresh) } else { fine(&stretch.blocks.total()) });
    Weighed { harm, fine }
}

type Evaluator<C> = Arc<dyn Fn(&C) -> EValue + Send + Sync>;

type Kept<C> = Mutex<OrderedMap<(bool, u64), Evaluator<C>>>;

/// The tests of one rule, at the margins that were asked for lately: making one takes longer than asking it.
#[derive(Default)]
pub(crate) struct Tests {
    events: Kept<Series<PairedEvents, Events>>,
    scores: Kept<Series<Scores, Scores>>,
    values: Kept<Series<Values, Values>>,
    ratios: Kept<Series<PairedParts, Parts>>,
    hidden: Kept<Series<HiddenEvents, Events>>,
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
    let tests = &mut *tests.lock();
    if tests.len() >= TESTS_MAX {
        tests.clear();
    }
    Arc::clone(tests.entry((claim == Claim::Harm, number.to_bits())).or_insert_with(make))
}

impl Tests {
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
            let test = PairedHidden::new(claim, margin, design.explored);
            Arc::new(move |series| test.e_value(&series.pairs))
        })
    }
}

/// Pairs and arms together. A request may be in both, so their evidence has something to do with each other.
fn combined<P: Additive, S: Additive>(
    uses: Uses,
    pairs: impl Fn(&P) -> EValue + Send + Sync + 'static,
    arms: impl Fn(&ByOdds<S>) -> EValue + Send + Sync + 'static,
) -> Evaluator<Series<P, S>> {
    // Requests and keys are different units: their evidence follows each other.
    let split = move |series: &Series<P, S>| arms(&series.requests).times(arms(&series.keys));
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
            let test = Rate::new(claim, limit);
            return Arc::new(move |series| test.e_value(&series.candidate()));
        }
        Margin::Above(margin) => {
            let pairs = PairedDifference::new(claim, margin);
            let arms = RateDifference::new(claim, margin, design.centre);
            combined(design.uses, move |counts| pairs.e_value(counts), move |counts| arms.e_value(counts))
        }
        Margin::Times(times) => {
            let (pairs, arms) = (PairedRatio::new(claim, times), RateRatio::new(claim, times));
            combined(design.uses, move |counts| pairs.e_value(counts), move |counts| arms.e_value(counts))
        }
        Margin::AtLeastTimes(times) => {
            // The events are good ones: few of them are harm.
            let turned = match claim {
                Claim::Harm => Claim::NonInferiority,
                Claim::NonInferiority => Claim::Harm,
            };
            let arms = RateRatio::new(turned, times);
            combined(Uses::Arms, |_: &PairedEvents| EValue::ONE, move |counts| arms.e_value(counts))
        }
    };
    let (Some(floor), Margin::Times(times), Margin::Times(own)) = (design.floor, margin, design.margin)
    else {
        return relative;
    };
    // Where more is allowed because little is at stake, it is allowed of the floor as well.
    let floor = Rate::new(claim, (floor * (times / own).max(1.0)).min(0.999));
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
            let pairs = PairedScores::new(claim, margin);
            let arms = MeanDifference::new(claim, margin).centred_at(design.centre);
            let turn = design.turns_scores();
            let losses = move |counts: &ByOdds<Scores>| {
                arms.e_value(&if turn { counts.map(turned) } else { counts.clone() })
            };
            combined(design.uses, move |counts| pairs.e_value(counts), losses)
        }
        Margin::AtMost(limit) => {
            let test = Mean::new(claim, limit);
            let turn = design.turns_scores();
            Arc::new(move |series| {
                let own = series.candidate();
                test.e_value(&if turn { turned(&own) } else { own })
            })
        }
        Margin::Times(_) | Margin::AtLeastTimes(_) => Arc::new(|_| EValue::ONE),
    }
}

/// A score of which more is better, as a loss.
fn turned(scores: &Scores) -> Scores {
    let mut losses = Scores::default();
    scores.places().for_each(|(place, count)| losses.count_place(Scores::STEPS - place, count));
    losses
}

fn values_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<Values, Values>> {
    let Margin::Above(margin) = margin else { return Arc::new(|_| EValue::ONE) };
    // Of values of which more is better, less is harm: the other side of the mirrored margin.
    let (claim, margin) = match (design.reads_gain(), claim) {
        (false, claim) => (claim, margin),
        (true, Claim::Harm) => (Claim::NonInferiority, -margin),
        (true, Claim::NonInferiority) => (Claim::Harm, -margin),
    };
    let test = Asymptotic::new(claim, margin);
    combined(design.uses, move |counts| test.e_value_of_pairs(counts), move |counts| test.e_value(counts))
}

fn ratios_test(design: &Design, (claim, margin): (Claim, Margin)) -> Evaluator<Series<PairedParts, Parts>> {
    let largest = if design.tested == Tested::F1 { 2 } else { 1 };
    let margin = match margin {
        Margin::Above(margin) => RatioMargin::Above(margin),
        Margin::Times(times) => RatioMargin::Times(times),
        Margin::AtMost(limit) => {
            let test = RatioLimit::new(claim, limit, largest);
            return Arc::new(move |series| test.e_value(&series.candidate()));
        }
        Margin::AtLeastTimes(_) => return Arc::new(|_| EValue::ONE),
    };
    let pairs = PairedRatioTest::new(claim, margin, largest);
    let arms = SplitRatioTest::new(claim, margin, largest);
    // Each share is a step of its own, and live's ratio may be another in each.
    let split = move |counts: &ByOdds<Parts>| counts.iter().map(|(_, arms_of)| arms.e_value(arms_of)).sum();
    combined(design.uses, move |counts| pairs.e_value(counts), split)
}

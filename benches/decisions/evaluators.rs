//! Every evaluator of `switchback::stats::sequential`: how each stream is counted for it, and how fast it can change its
//! mind.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::f64::consts::LN_2;

use switchback::stats::sequential::{
    Additive, Arms, Asymptotic, Blocks, ByOdds, Claim, EValue, Events, Mean, MeanDifference,
    PairedDifference, PairedEvents, PairedParts, PairedRatio, PairedRatioTest, PairedScores, Part, Parts,
    Rate, RateRatio, RatioMargin, SampleRatio, Scores, SequentialTest, SplitRatioTest, Values,
};

use crate::mcnemar::mcnemar;
use crate::simulation::{Moment, Shares};
use crate::streams::{Event, Latencies, Of, Pair};
use crate::trial::{Evaluator, Method};

/// How much the evidence of a mixture over a fixed grid can grow with one unit, as a logarithm: by the factor of its best
/// strategy. That is what a unit comes to that was seen often enough.
fn growth<T: SequentialTest>(test: &T, often: &T::Counts) -> f64 {
    // The weight of the best strategy, spread over so many units, and rounding.
    const SLACK: f64 = 1e-7;
    test.e_value(often).ln() / OFTEN as f64 + SLACK
}

/// Often enough, and seldom enough for the logarithm to fit.
const OFTEN: u64 = 1 << 28;

fn event(bad: bool, times: u64) -> Events {
    Events { events: if bad { times } else { 0 }, units: times }
}

// ---------------------------------------------------------------------------------------------------------------------
// One version

/// A rate, against a limit.
pub(crate) struct OfRate {
    test: Rate,
    most: [f64; 2],
}

impl OfRate {
    pub(crate) fn new(claim: Claim, limit: f64) -> Self {
        let test = Rate::new(claim, limit).unwrap();
        let most = [false, true].map(|bad| growth(&test, &event(bad, OFTEN)));
        Self { test, most }
    }
}

impl Evaluator<bool> for OfRate {
    type Counts = Events;

    fn count(&self, counts: &mut Events, _: &Moment, bad: bool) {
        counts.merge(&event(bad, 1));
    }

    fn e_value(&self, counts: &Events) -> EValue {
        self.test.e_value(counts)
    }

    fn most(&self, _: &Moment, bad: bool) -> f64 {
        self.most[usize::from(bad)]
    }
}

/// Scores on the lattice: the mean of one version's, or of differences.
pub(crate) struct OfScores<T> {
    test: T,
    most: Vec<f64>,
}

fn place(score: i16) -> usize {
    (score + Scores::STEPS) as usize
}

fn by_place(of: impl Fn(i16) -> f64) -> Vec<f64> {
    (-Scores::STEPS..=Scores::STEPS).map(of).collect()
}

fn scores(place: i16, times: u64) -> Scores {
    let mut scores = Scores::default();
    scores.count_place(place, times);
    scores
}

impl<T: SequentialTest<Counts = Scores>> OfScores<T> {
    fn of(test: T) -> Self {
        let most = by_place(|place| growth(&test, &scores(place, OFTEN)));
        Self { test, most }
    }
}

impl OfScores<Mean> {
    pub(crate) fn mean(claim: Claim, limit: f64) -> Self {
        Self::of(Mean::new(claim, limit).unwrap())
    }
}

impl OfScores<PairedScores> {
    pub(crate) fn paired(claim: Claim, margin: f64) -> Self {
        Self::of(PairedScores::new(claim, margin).unwrap())
    }
}

impl<T: SequentialTest<Counts = Scores> + Sync> Evaluator<i16> for OfScores<T> {
    type Counts = Scores;

    fn count(&self, counts: &mut Scores, _: &Moment, score: i16) {
        counts.count_place(score, 1);
    }

    fn e_value(&self, counts: &Scores) -> EValue {
        self.test.e_value(counts)
    }

    fn most(&self, _: &Moment, score: i16) -> f64 {
        self.most[place(score)]
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The same inputs

/// Events of pairs.
pub(crate) struct OfPairs<T> {
    test: T,
    most: [f64; 4],
}

fn pair(seen: Pair, times: u64) -> PairedEvents {
    let mut events = PairedEvents::default();
    events.count(Arms { candidate: seen.candidate, live: seen.live });
    let PairedEvents { neither, only_live, only_candidate, both } = events;
    PairedEvents {
        neither: neither * times,
        only_live: only_live * times,
        only_candidate: only_candidate * times,
        both: both * times,
    }
}

impl<T: SequentialTest<Counts = PairedEvents>> OfPairs<T> {
    fn of(test: T) -> Self {
        let most = [(false, false), (false, true), (true, false), (true, true)]
            .map(|(live, candidate)| growth(&test, &pair(Pair { live, candidate }, OFTEN)));
        Self { test, most }
    }
}

impl OfPairs<PairedDifference> {
    pub(crate) fn difference(claim: Claim, margin: f64) -> Self {
        Self::of(PairedDifference::new(claim, margin).unwrap())
    }
}

impl OfPairs<PairedRatio> {
    pub(crate) fn ratio(claim: Claim, times: f64) -> Self {
        Self::of(PairedRatio::new(claim, times).unwrap())
    }
}

impl<T: SequentialTest<Counts = PairedEvents> + Sync> Evaluator<Pair> for OfPairs<T> {
    type Counts = PairedEvents;

    fn count(&self, counts: &mut PairedEvents, _: &Moment, seen: Pair) {
        counts.count(Arms { candidate: seen.candidate, live: seen.live });
    }

    fn e_value(&self, counts: &PairedEvents) -> EValue {
        self.test.e_value(counts)
    }

    fn most(&self, _: &Moment, seen: Pair) -> f64 {
        self.most[2 * usize::from(seen.live) + usize::from(seen.candidate)]
    }
}

/// The mixture with a beta prior, for pairs of which the candidate is to lose no more than half.
pub(crate) struct OfMcNemar;

impl OfMcNemar {
    /// For differences of one to three points.
    const PRIOR: f64 = 10.0;
}

impl Evaluator<Pair> for OfMcNemar {
    type Counts = PairedEvents;

    fn count(&self, counts: &mut PairedEvents, _: &Moment, seen: Pair) {
        counts.count(Arms { candidate: seen.candidate, live: seen.live });
    }

    fn e_value(&self, counts: &PairedEvents) -> EValue {
        mcnemar(counts, Self::PRIOR)
    }

    /// A mixture of likelihoods against a half: no chance of losing is above 1.
    fn most(&self, _: &Moment, seen: Pair) -> f64 {
        if seen.candidate && !seen.live { LN_2 } else { 0.0 }
    }
}

/// A ratio with a denominator of the version's own, on the same inputs.
pub(crate) struct OfPartPairs(pub(crate) PairedRatioTest);

impl OfPartPairs {
    pub(crate) fn new(claim: Claim, margin: RatioMargin, largest: u8) -> Self {
        Self(PairedRatioTest::new(claim, margin, largest).unwrap())
    }
}

/// What bets of which none can lose all can win with one unit.
fn won_by(part: Part) -> f64 {
    if part == Part::default() { 0.0 } else { 0.5 }
}

impl Evaluator<(Part, Part)> for OfPartPairs {
    type Counts = PairedParts;

    fn count(&self, counts: &mut PairedParts, _: &Moment, (live, candidate): (Part, Part)) {
        counts.count(Arms { candidate, live }, 1);
    }

    fn e_value(&self, counts: &PairedParts) -> EValue {
        self.0.e_value(counts)
    }

    fn most(&self, _: &Moment, (live, candidate): (Part, Part)) -> f64 {
        (won_by(live) + won_by(candidate)).ln_1p()
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Two arms

fn arm<C: Additive>(
    counts: &mut ByOdds<C>,
    odds: switchback::stats::sequential::Odds,
    candidate: bool,
) -> &mut C {
    let arms = counts.at(odds);
    if candidate { &mut arms.candidate } else { &mut arms.live }
}

/// How many times as often the candidate has an event.
pub(crate) struct OfRateRatio {
    test: RateRatio,
    shares: Shares,
    /// By the share that is in force, for an event of live's and of the candidate's.
    most: Vec<[f64; 2]>,
}

impl OfRateRatio {
    pub(crate) fn new(claim: Claim, times: f64) -> Self {
        let (test, shares) = (RateRatio::new(claim, times).unwrap(), Shares::new());
        let most = |place| {
            [false, true].map(|candidate| {
                let mut counts = ByOdds::<Events>::default();
                *arm(&mut counts, shares.odds(place), candidate) = event(true, OFTEN);
                growth(&test, &counts)
            })
        };
        let most = shares.places().map(most).collect();
        Self { test, shares, most }
    }

    fn count_event(&self, counts: &mut ByOdds<Events>, moment: &Moment, candidate: bool, bad: bool) {
        arm(counts, self.shares.odds(moment.place), candidate).merge(&event(bad, 1));
    }

    fn most_of(&self, moment: &Moment, candidate: bool, bad: bool) -> f64 {
        if bad { self.most[moment.place][usize::from(candidate)] } else { 0.0 }
    }
}

impl Evaluator<Of<Event>> for OfRateRatio {
    type Counts = ByOdds<Events>;

    fn count(&self, counts: &mut ByOdds<Events>, moment: &Moment, seen: Of<Event>) {
        self.count_event(counts, moment, seen.candidate, seen.seen.bad);
    }

    fn e_value(&self, counts: &ByOdds<Events>) -> EValue {
        self.test.e_value(counts)
    }

    fn most(&self, moment: &Moment, seen: Of<Event>) -> f64 {
        self.most_of(moment, seen.candidate, seen.seen.bad)
    }
}

/// Latency: answers slower than what live's p50, p90 and p99 were before; the mean of three e-values.
pub(crate) struct OfLatency {
    slower: OfRateRatio,
    limits: [f64; 3],
}

/// What each of the three limits has counted.
#[derive(Clone, Default)]
pub(crate) struct ByLimit([ByOdds<Events>; 3]);

impl Additive for ByLimit {
    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, others)| own.merge(others));
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Additive::is_empty)
    }
}

impl OfLatency {
    pub(crate) fn new() -> Self {
        // The 50th, 90th and 99th percentile of a standard normal.
        let limits = [0.0, 1.281_551_565_545, 2.326_347_874_041].map(|z| (z * Latencies::SPREAD).exp());
        Self { slower: OfRateRatio::new(Claim::Harm, 1.0), limits }
    }
}

impl Evaluator<Of<f64>> for OfLatency {
    type Counts = ByLimit;

    fn count(&self, counts: &mut ByLimit, moment: &Moment, seen: Of<f64>) {
        for (counts, limit) in counts.0.iter_mut().zip(self.limits) {
            self.slower.count_event(counts, moment, seen.candidate, seen.seen > limit);
        }
    }

    fn e_value(&self, counts: &ByLimit) -> EValue {
        EValue::mean(&counts.0.each_ref().map(|counts| self.slower.test.e_value(counts)))
    }

    fn most(&self, moment: &Moment, seen: Of<f64>) -> f64 {
        let most = self.limits.map(|limit| self.slower.most_of(moment, seen.candidate, seen.seen > limit));
        most.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// How much larger the candidate's mean is. What was expected of a loss before is taken off it.
pub(crate) struct OfMeans {
    test: MeanDifference,
    shares: Shares,
    centre: f64,
    /// By the share that is in force and the arm, then by the place of the residual.
    most: Vec<[BTreeMap<i16, f64>; 2]>,
}

impl OfMeans {
    pub(crate) fn new(claim: Claim, margin: f64, centre: f64) -> Self {
        let (test, shares) = (MeanDifference::new(claim, margin).unwrap(), Shares::new());
        // Losses are 0 or 1 here, so residuals take few places.
        let places: Vec<i16> = [0.0, 1.0]
            .into_iter()
            .flat_map(|loss| [0, u64::MAX].map(|chance| Scores::place(loss - centre, chance)))
            .flatten()
            .collect();
        let most = |at| {
            [false, true].map(|candidate| {
                let growth_at = |place: &i16| {
                    let mut counts = ByOdds::<Scores>::default();
                    *arm(&mut counts, shares.odds(at), candidate) = scores(*place, OFTEN);
                    (*place, growth(&test, &counts))
                };
                places.iter().map(growth_at).collect()
            })
        };
        let most = shares.places().map(most).collect();
        Self { test, shares, centre, most }
    }

    fn residual(&self, seen: Event) -> i16 {
        Scores::place(f64::from(u8::from(seen.bad)) - self.centre, seen.chance).unwrap_or_default()
    }
}

impl Evaluator<Of<Event>> for OfMeans {
    type Counts = ByOdds<Scores>;

    fn count(&self, counts: &mut ByOdds<Scores>, moment: &Moment, seen: Of<Event>) {
        let residual = self.residual(seen.seen);
        arm(counts, self.shares.odds(moment.place), seen.candidate).count_place(residual, 1);
    }

    fn e_value(&self, counts: &ByOdds<Scores>) -> EValue {
        self.test.e_value(counts)
    }

    fn most(&self, moment: &Moment, seen: Of<Event>) -> f64 {
        let most = &self.most[moment.place][usize::from(seen.candidate)];
        most.get(&self.residual(seen.seen)).copied().unwrap_or(f64::INFINITY)
    }
}

/// Means without bounds: of costs, and of events as zeros and ones.
pub(crate) struct OfValues {
    test: Asymptotic,
    shares: Shares,
}

impl OfValues {
    pub(crate) fn new(claim: Claim, margin: f64) -> Self {
        Self { test: Asymptotic::new(claim, margin).unwrap(), shares: Shares::new() }
    }
}

impl Evaluator<Of<f64>> for OfValues {
    type Counts = ByOdds<Values>;

    fn count(&self, counts: &mut ByOdds<Values>, moment: &Moment, seen: Of<f64>) {
        arm(counts, self.shares.odds(moment.place), seen.candidate).count(seen.seen);
    }

    fn e_value(&self, counts: &ByOdds<Values>) -> EValue {
        self.test.e_value(counts)
    }

    fn most(&self, _: &Moment, _: Of<f64>) -> f64 {
        f64::INFINITY
    }
}

impl Evaluator<Of<Event>> for OfValues {
    type Counts = ByOdds<Values>;

    fn count(&self, counts: &mut ByOdds<Values>, moment: &Moment, seen: Of<Event>) {
        let value = Of { candidate: seen.candidate, seen: f64::from(u8::from(seen.seen.bad)) };
        Evaluator::<Of<f64>>::count(self, counts, moment, value);
    }

    fn e_value(&self, counts: &ByOdds<Values>) -> EValue {
        self.test.e_value(counts)
    }

    fn most(&self, _: &Moment, _: Of<Event>) -> f64 {
        f64::INFINITY
    }
}

/// A ratio with a denominator of the version's own, in two arms: one test for each share, multiplied.
pub(crate) struct OfArmParts(SplitRatioTest);

impl OfArmParts {
    pub(crate) fn new(claim: Claim, margin: RatioMargin, largest: u8) -> Self {
        Self(SplitRatioTest::new(claim, margin, largest).unwrap())
    }
}

/// Parts by the place of the share that was in force.
#[derive(Clone, Default)]
pub(crate) struct ByShare(BTreeMap<usize, OfShare>);

/// Parts of one share, and their e-value where nothing was counted since: most shares are not in force.
#[derive(Clone, Default)]
struct OfShare {
    arms: Arms<Parts>,
    known: Cell<Option<EValue>>,
}

impl Additive for ByShare {
    fn merge(&mut self, other: &Self) {
        for (place, others) in &other.0 {
            let own = self.0.entry(*place).or_default();
            own.arms.merge(&others.arms);
            own.known.set(None);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.values().all(|share| share.arms.is_empty())
    }
}

impl Evaluator<Of<Part>> for OfArmParts {
    type Counts = ByShare;

    fn count(&self, counts: &mut ByShare, moment: &Moment, seen: Of<Part>) {
        let OfShare { arms, known } = counts.0.entry(moment.place).or_default();
        let parts = if seen.candidate { &mut arms.candidate } else { &mut arms.live };
        parts.count(seen.seen, 1);
        known.set(None);
    }

    fn e_value(&self, counts: &ByShare) -> EValue {
        let of_share = |share: &OfShare| {
            let e_value = share.known.get().unwrap_or_else(|| self.0.e_value(&share.arms));
            share.known.set(Some(e_value));
            e_value
        };
        counts.0.values().map(of_share).sum()
    }

    fn most(&self, _: &Moment, seen: Of<Part>) -> f64 {
        won_by(seen.seen).ln_1p()
    }
}

/// Whether units arrive in their shares.
pub(crate) struct OfSampleRatio(Shares);

impl OfSampleRatio {
    pub(crate) fn new() -> Self {
        Self(Shares::new())
    }
}

impl<T> Evaluator<Of<T>> for OfSampleRatio {
    type Counts = ByOdds<Events>;

    fn count(&self, counts: &mut ByOdds<Events>, moment: &Moment, seen: Of<T>) {
        arm(counts, self.0.odds(moment.place), seen.candidate).units += 1;
    }

    fn e_value(&self, counts: &ByOdds<Events>) -> EValue {
        SampleRatio::default().e_value(counts)
    }

    /// A mixture of likelihoods against the share: no chance of an arm is above 1.
    fn most(&self, moment: &Moment, seen: Of<T>) -> f64 {
        let expected = if seen.candidate { moment.share } else { 1.0 - moment.share };
        // What the gamma functions of large counts leave behind.
        -expected.ln() + 1e-9
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Harm that starts late

/// A test that looks at every moment at which a harm may have begun.
pub(crate) struct SinceAny<E> {
    pub(crate) evaluator: E,
    pub(crate) alpha: f64,
}

/// Counts in blocks.
#[derive(Clone, Default)]
pub(crate) struct InBlocks<C: Additive>(pub(crate) Blocks<C>);

impl<C: Additive> Additive for InBlocks<C> {
    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    fn is_empty(&self) -> bool {
        self.0.total().is_empty()
    }
}

impl<Seen, E: Evaluator<Seen>> Method<Seen> for SinceAny<E> {
    type Counts = InBlocks<E::Counts>;

    fn count(&self, counts: &mut InBlocks<E::Counts>, moment: &Moment, seen: Seen) {
        let mut unit = E::Counts::default();
        self.evaluator.count(&mut unit, moment, seen);
        counts.0.add(&unit, 1);
    }

    fn evidence(&self, counts: &InBlocks<E::Counts>) -> f64 {
        counts.0.since_any(|counts| self.evaluator.e_value(counts)).ln()
    }

    fn bar(&self) -> f64 {
        EValue::threshold(self.alpha).unwrap().ln()
    }

    /// A unit may help all starts, and hurts those that are yet to come not at all.
    fn most(&self, moment: &Moment, seen: Seen) -> f64 {
        self.evaluator.most(moment, seen).max(0.0)
    }

    /// The weight of starts that are yet to come is not in the evidence; all weights together are 1.
    fn reckoned_from(&self, evidence: f64) -> f64 {
        evidence.exp().ln_1p()
    }
}

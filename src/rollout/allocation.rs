//! Several candidates at once: who gets how much, and who is dropped.

use std::sync::Arc;
use std::time::Duration;

use super::guard::design::{Design, Setting};
use super::guard::rule::{Figure, Limit, Rule};
use super::guard::subject::{Accuracy, BusinessFigure};
use super::guard::tested::Tested;
use crate::base::chance::{SplitMix64, mix};
use crate::base::clock::Timestamp;
use crate::base::invalid::ArgumentError;
use crate::base::share::Share;
use crate::stats::Metric;
use crate::stats::evidence::waiting::Labels;
use crate::stats::sequential::test::{Claim, SequentialTest};
use crate::stats::sequential::{Additive, ByOdds, EValue, MeanDifference, Odds, Scores, beaten};
use crate::task::kpi::Kpi;

/// How traffic is divided among several candidates and live while they are compared.
///
/// **Top-two sampling** (Russo, "Simple Bayesian algorithms for best-arm identification", COLT 2016): at intervals, shares
/// are set to how often each version is the best or the second best in draws from what is known of their means. So
/// traffic goes where it tells most about which is best, unlike Thompson sampling, which stops asking once it is fairly
/// sure. Shares are multiples of 1/64, none below a floor, and each request counts as evidence at the shares that were in
/// force when it was routed, so guards judge as if shares had been fixed.
///
/// **Elimination**: a candidate that is shown to be worse than another version is taken off; the best of them is, with a
/// probability of at most the error, however long it runs.
///
/// ```
/// use std::time::Duration;
/// use switchback::plan::Allocation;
/// use switchback::{Kpi, ModelHandle, Task, closure, guard};
/// use switchback::options::Labels;
///
/// let handle = ModelHandle::builder("ranking")
///     .live("v1", closure("a@1", |_: &u32| Ok(1_u32)))
///     .task(Task::unlabelled().kpi(Kpi::rate("click")?))
///     .labels(Labels::complete_after(Duration::from_secs(600)))
///     .build()?;
/// let (v2, v3) = (handle.stage("v2", closure("b@1", |_: &u32| Ok(2)))?, handle.stage("v3", closure("c@1", |_: &u32| Ok(3)))?);
/// handle.allocate(Allocation::top_two(guard::kpi("click")).floor(0.05)?, &[&v2, &v3])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an allocation divides nothing before it is given to a handle"]
pub struct Allocation {
    figure: AllocationFigure,
    floor: f64,
    every: Duration,
    error: f64,
}

/// The figure that traffic is divided by: [`accuracy`](crate::guard::accuracy), or a [`kpi`](crate::guard::kpi) with
/// bounds.
///
/// ```compile_fail
/// // Nothing is known of an error rate that would say which version is best.
/// switchback::plan::Allocation::top_two(switchback::guard::error_rate());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationFigure(By);

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Accuracy,
    Kpi(BusinessFigure),
}

impl From<Accuracy> for AllocationFigure {
    fn from(_: Accuracy) -> Self {
        Self(By::Accuracy)
    }
}

impl From<BusinessFigure> for AllocationFigure {
    fn from(figure: BusinessFigure) -> Self {
        Self(By::Kpi(figure))
    }
}

impl Allocation {
    /// By this figure: accuracy, or a business figure with bounds. Of answers: what a candidate fails on is the business of its
    /// guards.
    pub fn top_two(figure: impl Into<AllocationFigure>) -> Self {
        Self { figure: figure.into(), floor: 0.05, every: Duration::from_secs(600), error: 0.05 }
    }

    /// The least share of any version, live included. By default 5 %. What is asked less often than that is known of too
    /// late, and weighs too much when it is.
    ///
    /// # Errors
    ///
    /// A share that is not between one sixty-fourth, which is what traffic is divided in, and one half.
    pub fn floor(mut self, share: f64) -> Result<Self, ArgumentError> {
        let least = 1.0 / f64::from(UNITS);
        if !(least..=0.5).contains(&share) {
            return Err(ArgumentError::new(
                "the floor of an allocation",
                share,
                "between 0.015625 (1/64) and 0.5",
            ));
        }
        self.floor = share;
        Ok(self)
    }

    /// How often shares are set again. By default every ten minutes, so that figures of one share have time to come in. Zero
    /// means at every tick.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// The probability with which the best candidate may be eliminated. By default 5 %; 0 for no elimination.
    ///
    /// # Errors
    ///
    /// A number that is not at least 0 and below 1.
    pub fn eliminate(mut self, error: f64) -> Result<Self, ArgumentError> {
        if !(0.0..1.0).contains(&error) {
            return Err(ArgumentError::new("the error of an elimination", error, "at least 0 and below 1"));
        }
        self.error = error;
        Ok(self)
    }

    /// Refuses a floor that so many versions, live among them, cannot all have.
    pub(crate) fn check_among(&self, versions: usize) -> Result<(), ArgumentError> {
        let most = usize::from(UNITS) / versions.max(1);
        if self.floor_units() <= most {
            return Ok(());
        }
        let most = most as f64 / f64::from(UNITS);
        let allowed = format!("at most {most} among {versions} versions, live included");
        Err(ArgumentError::new("the floor of an allocation", self.floor, allowed))
    }

    /// The floor in what traffic is divided in.
    fn floor_units(&self) -> usize {
        ((self.floor * f64::from(UNITS)).ceil() as usize).max(1)
    }

    /// Returns what it divides by, in words.
    pub(crate) fn figure(&self) -> String {
        match &self.figure.0 {
            By::Accuracy => Figure::Quality { metric: Metric::Accuracy }.to_string(),
            By::Kpi(figure) => Figure::Kpi { name: Arc::clone(&figure.name) }.to_string(),
        }
    }

    /// Returns what is compared: what a guard on a canary would compare.
    pub(crate) fn design(&self, setting: &Setting<'_>) -> Result<Design, String> {
        let (figure, less) = match &self.figure.0 {
            By::Accuracy => (Figure::Quality { metric: Metric::Accuracy }, false),
            By::Kpi(BusinessFigure { name }) => {
                let of = setting.kpis.iter().find(|kpi| kpi.name() == &**name);
                (Figure::Kpi { name: Arc::clone(name) }, of.is_some_and(Kpi::is_lower_better))
            }
        };
        let limit = if less { Limit::AboveLive(0.0) } else { Limit::BelowLive(0.0) };
        let rule = Rule::new(figure, limit).map_err(|error| error.to_string())?;
        let design = Design::of(&rule, None, &Setting { pairs: false, ..*setting })?;
        if matches!(design.tested, Tested::Wrong | Tested::Kpi(_)) {
            Ok(design)
        } else {
            Err("traffic is divided by accuracy, or by a business figure with bounds".into())
        }
    }
}

/// The units that traffic is divided into: shares are multiples of this part of the traffic.
const UNITS: u16 = 64;

/// Draws of what each version's mean may be.
const DRAWS: u64 = 512;

/// Divisions that differ, of which counts are kept; shares stay as they are once there were so many.
const STAGES_MAX: usize = 512;

/// What there is to divide: the share that live and the candidates have together.
pub(crate) struct Room {
    pub(crate) whole: Share,
    /// In the order of the allocation.
    pub(crate) candidates: Vec<Candidate>,
}

/// A candidate as it stands.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) has: Share,
    /// It is given no more than it has.
    pub(crate) is_paused: bool,
}

impl Room {
    /// The candidates' shares after live's, which is all that they leave.
    fn with_lives(&self, mut shares: Vec<Share>) -> Vec<Share> {
        let given: u16 = shares.iter().map(|share| share.buckets()).sum();
        shares.insert(0, Share::from_buckets(self.whole.buckets().saturating_sub(given)));
        shares
    }
}

/// The whole units that a share of the traffic has.
fn units_in(share: Share) -> usize {
    usize::from(share.buckets()) * usize::from(UNITS) / usize::from(Share::ALL.buckets())
}

fn of_units(units: usize) -> Share {
    Share::new(units as f64 / f64::from(UNITS)).unwrap_or(Share::ALL)
}

/// An allocation under way.
pub(crate) struct Allocating {
    allocation: Allocation,
    tested: Tested,
    /// More of the counted score is better.
    gains: bool,
    /// The candidates, by attempt, in the order of the arms; live comes first among these.
    attempts: Vec<u32>,
    stages: Vec<Stage>,
    current: usize,
    changed: Timestamp,
    /// A candidate is gone, and traffic is not divided among the others yet.
    undivided: bool,
    /// How often it began anew among fewer.
    rounds: i32,
    /// The number of this round, which no other one has, of whatever allocation.
    round: u64,
}

/// The counts under one division.
struct Stage {
    /// Live's share, then the candidates'.
    shares: Vec<Share>,
    losses: Vec<ByKind>,
}

/// The losses of an arm, by what a unit is. Of keys some arms have fewer than their share, since they count where live has others to match
/// them alone; so arms are alike in each kind, and not in what they have of both.
#[derive(Clone, Default)]
struct ByKind {
    requests: Scores,
    keys: Scores,
}

impl ByKind {
    fn each(&self) -> [&Scores; 2] {
        [&self.requests, &self.keys]
    }
}

/// Which counts of an allocation a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allotted {
    /// The round in which these were the arms and the stages: labels of an earlier one come for as long as labels take.
    round: u64,
    arm: usize,
    stage: usize,
}

impl Allocating {
    pub(crate) fn new(
        allocation: Allocation,
        tested: Tested,
        gains: bool,
        attempts: Vec<u32>,
        round: u64,
        now: Timestamp,
    ) -> Self {
        Self {
            allocation,
            tested,
            gains,
            attempts,
            stages: Vec::new(),
            current: 0,
            changed: now,
            undivided: false,
            rounds: 0,
            round,
        }
    }

    /// Divides alike, while nothing is known of any.
    pub(crate) fn begin(&mut self, room: &Room) {
        self.enter(self.shares(&vec![1.0; self.attempts.len() + 1], room));
    }

    /// Goes on at the shares that candidates have, until traffic can be divided anew.
    pub(crate) fn keep(&mut self, room: &Room) {
        let had: Vec<Share> = room.candidates.iter().map(|candidate| candidate.has).collect();
        self.enter(room.with_lives(had));
        self.undivided = true;
    }

    /// Where there is too little room for the floors of all, live's among them: what they ask for together.
    pub(crate) fn lacks_room(&self, room: Share) -> Option<Share> {
        let asked = self.allocation.floor_units() * (self.attempts.len() + 1);
        (asked > units_in(room)).then(|| of_units(asked))
    }

    /// The part that an attempt's candidate has in the present division, or live.
    pub(crate) fn allotted(&self, attempt: Option<u32>) -> Option<Allotted> {
        let arm = match attempt {
            None => 0,
            Some(attempt) => 1 + self.attempts.iter().position(|of| *of == attempt)?,
        };
        Some(Allotted { round: self.round, arm, stage: self.current })
    }

    /// The candidates' shares, by attempt.
    pub(crate) fn parts(&self) -> Vec<(u32, Share)> {
        let shares = self.stages.get(self.current).into_iter().flat_map(|stage| stage.shares.iter().skip(1));
        self.attempts.iter().copied().zip(shares.copied()).collect()
    }

    /// The candidates, by attempt.
    pub(crate) fn candidates(&self) -> &[u32] {
        &self.attempts
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.undivided || now.since(self.changed) >= self.allocation.every
    }

    /// The candidates that are shown to be worse than another version. Live is never taken off by this: that is what a
    /// promotion is for.
    pub(crate) fn beaten(&self) -> Vec<u32> {
        // Half of it for the first round, half of the rest for the next: together they are what was said.
        let error = self.allocation.error * libm::pow(0.5, f64::from(self.rounds + 1));
        if error == 0.0 {
            return Vec::new();
        }
        let arms = beaten(self.attempts.len() + 1, error, |one, other| self.worse(one, other));
        arms.into_iter().filter_map(|arm| self.attempts.get(arm.checked_sub(1)?).copied()).collect()
    }

    /// The same among fewer, begun anew: counts of other arms than these are of no use to those that stay. Nothing where
    /// none does.
    pub(crate) fn among(&self, left: Vec<u32>, round: u64, now: Timestamp) -> Option<Self> {
        let anew = |left| Self {
            rounds: self.rounds.saturating_add(1),
            ..Self::new(self.allocation.clone(), self.tested, self.gains, left, round, now)
        };
        (!left.is_empty()).then(|| anew(left))
    }

    /// Sets shares anew; whether they are other ones.
    pub(crate) fn renew(&mut self, room: &Room, seed: u64, now: Timestamp) -> bool {
        (self.changed, self.undivided) = (now, false);
        if self.stages.len() >= STAGES_MAX {
            return false;
        }
        let before = self.current;
        self.enter(self.shares(&self.wanted(seed), room));
        self.current != before
    }

    /// Counts labels of requests that were made in this part. In another round arms and stages were others': those labels are of no use to
    /// anybody.
    pub(crate) fn count(&mut self, allotted: Allotted, labels: &Labels) {
        if allotted.round != self.round {
            return;
        }
        let place = self.stages.get_mut(allotted.stage).and_then(|stage| stage.losses.get_mut(allotted.arm));
        let Some(ByKind { requests, keys }) = place else { return };
        for (labels, losses) in [(&labels.requests, requests), (&labels.keys, keys)] {
            let mut add = |place: i16, count: u64, gains: bool| {
                losses.count_place(if gains { Scores::STEPS - place } else { place }, count);
            };
            match self.tested {
                Tested::Kpi(place) => {
                    let scores = labels.kpis.get(place).map(|kpi| &kpi.scores);
                    scores.into_iter().flat_map(Scores::places).for_each(|(at, n)| add(at, n, self.gains));
                }
                _ => {
                    let wrong = super::guard::history::wrong_labels(labels);
                    add(Scores::STEPS, wrong.events, false);
                    add(0, wrong.units - wrong.events.min(wrong.units), false);
                }
            }
        }
    }

    /// Shares of this room in proportion to `wanted`, live's first: the candidates' are multiples of 1/64, none below the floor; where others
    /// leave too little for the floors of all, live's comes first. What a candidate may not be given is live's.
    fn shares(&self, wanted: &[f64], room: &Room) -> Vec<Share> {
        let (units, candidates) = (units_in(room.whole), wanted.len().saturating_sub(1));
        let lives = self.allocation.floor_units().min(units);
        let floor = self.allocation.floor_units().min((units - lives) / candidates.max(1));
        let left = units - lives - floor * candidates;
        let total: f64 = wanted.iter().sum::<f64>().max(1e-12);
        let own = |(of, candidate): (&f64, &Candidate)| {
            let share = of_units(floor + (left as f64 * of / total).floor() as usize);
            if candidate.is_paused { share.min(candidate.has) } else { share }
        };
        room.with_lives(wanted.iter().skip(1).zip(&room.candidates).map(own).collect())
    }

    fn enter(&mut self, shares: Vec<Share>) {
        let known = self.stages.iter().position(|stage| stage.shares == shares);
        self.current = known.unwrap_or_else(|| {
            let losses = vec![ByKind::default(); shares.len()];
            self.stages.push(Stage { shares, losses });
            self.stages.len() - 1
        });
    }

    /// How often each arm is the best or the second best, in draws from what is known: of each arm how much it differs from
    /// live, within each division, so that a day that moves misleads nobody. All alike, while nothing is known of any.
    fn wanted(&self, seed: u64) -> Vec<f64> {
        let arms = self.attempts.len() + 1;
        let mut all = self.stages.iter().flat_map(|stage| stage.losses.iter().flat_map(ByKind::each));
        if all.all(Additive::is_empty) {
            return vec![1.0; arms];
        }
        let known: Vec<(f64, f64)> = (0..arms).map(|arm| self.difference(arm)).collect();
        let mut wanted = vec![0.0; arms];
        let mut chance = SplitMix64(mix(seed ^ self.stages.len() as u64));
        for _ in 0..DRAWS {
            let drawn: Vec<f64> =
                known.iter().map(|(mean, deviation)| mean + deviation * chance.normal()).collect();
            let mut order: Vec<usize> = (0..arms).collect();
            order.sort_by(|a, b| drawn[*a].total_cmp(&drawn[*b]));
            for place in order.iter().take(2) {
                wanted[*place] += 1.0;
            }
        }
        wanted
    }

    /// How much larger an arm's mean loss is than live's, and how sure that is: mean and standard deviation.
    fn difference(&self, arm: usize) -> (f64, f64) {
        let (mut weight, mut sum, mut own, mut losses) = (0.0, 0.0, 1.0, 0.5);
        for [of, live] in self.strata(arm, 0) {
            let (n, m) = (of.count_all() as f64, live.count_all() as f64);
            if let (Some(mean), Some(lives)) = (of.mean(), live.mean()) {
                let both = n * m / (n + m);
                weight += both;
                sum += both * (mean - lives);
                own += n;
                losses += n * mean;
            }
        }
        let rate: f64 = losses / own;
        let spread = libm::sqrt((rate * (1.0 - rate)).max(0.01) / own);
        (if weight > 0.0 { sum / weight } else { 0.0 }, spread)
    }

    /// The losses of two arms, in each division and of each kind of unit.
    fn strata(&self, one: usize, other: usize) -> impl Iterator<Item = [&Scores; 2]> {
        self.stages.iter().flat_map(move |stage| {
            let both = stage.losses.get(one).zip(stage.losses.get(other));
            both.into_iter()
                .flat_map(|(one, other)| [[&one.requests, &other.requests], [&one.keys, &other.keys]])
        })
    }

    /// The evidence that one arm is worse than another, by their counts in each division.
    ///
    /// The odds are those of what is known, not those by which traffic was divided: a version that fails more often, whose truth is lost, or
    /// that somebody else's canary took a part from has fewer of them, and would seem the better for it.
    fn worse(&self, one: usize, other: usize) -> EValue {
        let mut counts = ByOdds::<Scores>::default();
        for [own, others] in self.strata(one, other) {
            if let Some(odds) = known_odds(own.count_all(), others.count_all()) {
                let arms = counts.at(odds);
                arms.candidate.merge(own);
                arms.live.merge(others);
            }
        }
        MeanDifference::nearest(Claim::Harm, 0.0).e_value(&counts)
    }
}

/// The odds of so many units to so many others; nothing where there are none of either.
fn known_odds(one: u64, other: u64) -> Option<Odds> {
    let share = |of: u64| Share::new(of as f64 / (one + other).max(1) as f64).ok();
    Odds::new(share(one)?, share(other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(whole: u16, candidates: usize) -> Room {
        let candidate = Candidate { has: Share::NONE, is_paused: false };
        Room { whole: Share::from_buckets(whole), candidates: vec![candidate; candidates] }
    }

    fn allocating(candidates: usize) -> Allocating {
        let allocation = Allocation::top_two(crate::rollout::guard::accuracy()).floor(0.1).unwrap();
        Allocating::new(
            allocation,
            Tested::Wrong,
            true,
            (0..candidates as u32).collect(),
            1,
            Timestamp::default(),
        )
    }

    #[test]
    fn shares_are_whole_sixty_fourths_above_the_floor_and_add_up_to_all() {
        for candidates in 1..8 {
            let allocating = allocating(candidates);
            for wanted in [
                vec![1.0; candidates + 1],
                (0..=candidates).map(|arm| f64::from(u8::from(arm == 1))).collect(),
            ] {
                let shares = allocating.shares(&wanted, &room(10_000, candidates));
                let buckets: Vec<u16> = shares.iter().map(|share| share.buckets()).collect();
                assert!((9_990..=10_010).contains(&buckets.iter().sum::<u16>()), "{buckets:?}");
                assert!(buckets.iter().all(|share| *share >= 1_000), "{buckets:?}");
            }
        }
    }

    #[test]
    fn where_others_leave_too_little_live_keeps_its_floor_and_nobody_has_more_than_there_is() {
        for candidates in 1..8 {
            let allocating = allocating(candidates);
            for whole in [0, 1, 155, 157, 1_000, 1_100, 2_500, 5_000, 7_777] {
                let shares = allocating.shares(&vec![1.0; candidates + 1], &room(whole, candidates));
                let buckets: Vec<u16> = shares.iter().map(|share| share.buckets()).collect();
                assert_eq!(buckets.iter().sum::<u16>(), whole, "{buckets:?}");
                assert!(buckets[0] >= whole.min(1_000), "{whole}: {buckets:?}");
            }
        }
    }

    #[test]
    fn a_number_that_it_cannot_have_is_an_error() {
        let allocation = || Allocation::top_two(crate::rollout::guard::accuracy());
        for floor in [0.0, 0.01, 0.6, f64::NAN] {
            let error = allocation().floor(floor).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("the floor of an allocation is {floor}: it must be between 0.015625 (1/64) and 0.5")
            );
        }
        for error in [-0.1, 1.0, f64::INFINITY] {
            assert_eq!(allocation().eliminate(error).unwrap_err().argument, "the error of an elimination");
        }
    }

    #[test]
    fn the_best_two_get_most_and_a_worse_one_is_shown_to_be_so() {
        let mut allocating = allocating(3);
        allocating.begin(&room(10_000, 3));
        for (arm, wrong) in [(0, 200), (1, 190), (2, 400), (3, 500)] {
            let losses = &mut allocating.stages[0].losses[arm].requests;
            losses.count_place(Scores::STEPS, wrong);
            losses.count_place(0, 1_000 - wrong);
        }
        let wanted = allocating.wanted(7);
        assert!(wanted[0] + wanted[1] > 0.99 * 2.0 * DRAWS as f64, "{wanted:?}");
        assert!(allocating.worse(3, 1) > EValue::against(0.01));
        assert!(allocating.worse(1, 0) < EValue::against(0.5));
        assert_eq!(beaten(4, 0.05, |one, other| allocating.worse(one, other)), [2, 3]);
    }
}

//! How an attempt went: what was seen of it over time, so that whoever was not there can look at it afterwards.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::comparison::ArmView;
use super::guard::evidence::{Evidence, Strength};
use super::guard::verdict::Verdict;
use super::phase::Phase;
use super::transition::State;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::stats::evidence::ledger::Cohort;
use crate::stats::figures::tally::Tally;
use crate::stats::{ArmFigures, DivergenceFigures};

/// Points that are kept of one attempt: more than a plot has pixels to tell apart.
const POINTS_MAX: usize = 256;

/// Changes of exposure that are kept of one attempt, the first and the last; only shares that follow the figures change
/// more often.
const TURNS_MAX: usize = 64;

const FIRST_TURNS: usize = 16;

/// Guards that are kept in a point.
const GUARDS_MAX: usize = 16;

/// The figures of an attempt at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Where the attempt stood.
    pub phase: Phase,
    /// The share of requests that the candidate answered.
    pub weight: Share,
    /// The candidate since the attempt began; from its promotion on, since then.
    pub candidate: ArmPoint,
    /// The figures of the version that it was compared with, over the same time.
    pub live: ArmPoint,
    /// The verdict of each guard, in the order in which they were added; the first 16.
    pub guards: Vec<GuardPoint>,
}

/// The key figures of a version at one moment, since its arm began. `None` stands for what was not known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArmPoint {
    /// Requests that were assigned to it, copies included.
    pub requests: u64,
    /// Those of them that it failed on, other than for their input.
    pub failures: u64,
    /// The median of the time to answer.
    pub p50: Option<Duration>,
    /// The latency that 99 % of the answers did not exceed.
    pub p99: Option<Duration>,
    /// Predictions whose truth was known.
    pub outcomes: u64,
    /// The [key figure](crate::stats::Metric::key) of quality.
    pub quality: Option<f64>,
}

/// The verdict of a guard at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuardPoint {
    /// Its verdict.
    pub verdict: Verdict,
    /// The samples that it rested on.
    pub samples: u64,
    /// How strong the evidence was; nothing of a guard of the host's own.
    pub strength: Option<Strength>,
}

/// A change of exposure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Turn {
    /// When.
    pub at: Timestamp,
    /// Where the attempt stood from then on.
    pub phase: Phase,
    /// The share of requests that the candidate answered from then on.
    pub weight: Share,
    /// The share of live's requests that were copied from then on.
    pub sample: Share,
}

/// The record of a candidate when it was promoted: the watch over the new live begins with fresh figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// When it was promoted.
    pub promoted: Timestamp,
    /// The candidate's figures.
    pub candidate: ArmFigures,
    /// Live's figures over the same time.
    pub live: ArmFigures,
    /// Pairs of answers to the same input.
    pub divergence: DivergenceFigures,
    /// The guards' last evidence.
    pub evidence: Vec<Evidence>,
    /// How many predictions of which time got their truth.
    pub cohorts: Vec<Cohort>,
}

/// The course of one attempt. Bounded: when it is full, every second point is let go of, and from then on every second
/// one is taken. So it spans the attempt evenly however long that runs, and a long one costs its ticks next to nothing.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    /// When the version was staged; when the handle went on with it, where it had been staged before that.
    pub(crate) began: Timestamp,
    /// The number of the first event that may be of this attempt.
    pub(crate) first_event: u64,
    /// The attempt had begun in an earlier life of the handle, of which the course is not known.
    pub(crate) went_on: bool,
    points: Vec<Point>,
    turns: VecDeque<Turn>,
    /// Changes of exposure between the first and the last ones.
    turns_left_out: u64,
    pub(crate) trial: Option<Box<Trial>>,
    /// Of so many ticks one is taken.
    one_in: u64,
    /// Ticks that were passed over since the last point.
    passed_over: u64,
}

impl Course {
    pub(crate) fn new(began: Timestamp, first_event: u64, went_on: bool, state: &State) -> Self {
        let mut course = Self {
            began,
            first_event,
            went_on,
            points: Vec::new(),
            turns: VecDeque::new(),
            turns_left_out: 0,
            trial: None,
            one_in: 1,
            passed_over: 0,
        };
        course.turn(began, state);
        course
    }

    /// Oldest first.
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Oldest first.
    pub(crate) fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter()
    }

    /// Changes that are not among them: they lie behind the sixteenth.
    pub(crate) fn turns_left_out(&self) -> u64 {
        self.turns_left_out
    }

    /// Of so many ticks at which something was seen one is kept.
    pub(crate) fn one_in(&self) -> u64 {
        self.one_in
    }

    /// Whether the next tick's point will be taken.
    pub(crate) fn is_due(&self) -> bool {
        self.passed_over.saturating_add(1) >= self.one_in
    }

    /// A tick of which no point was made.
    pub(crate) fn pass_over(&mut self) {
        self.passed_over = self.passed_over.saturating_add(1);
    }

    /// Takes a point, unless nothing has been seen since the last one.
    pub(crate) fn add(&mut self, point: Point) {
        if self.points.last().is_some_and(|last| last.is_like(&point)) {
            return;
        }
        self.passed_over = 0;
        self.points.push(point);
        if self.points.len() >= POINTS_MAX {
            let (last, mut place) = (self.points.len() - 1, 0_usize);
            // The first and the last stay.
            self.points.retain(|_| {
                let stays = place == 0 || (last - place).is_multiple_of(2);
                place += 1;
                stays
            });
            self.one_in = self.one_in.saturating_mul(2);
        }
    }

    /// Keeps what was known when the version was promoted.
    pub(crate) fn promoted(&mut self, trial: Option<Trial>) {
        self.trial = trial.map(Box::new);
    }

    /// Notes a change of exposure, if it is one.
    pub(crate) fn turn(&mut self, at: Timestamp, state: &State) {
        let turn = Turn { at, phase: state.phase, weight: state.weight, sample: state.sample };
        if self.turns.back().is_some_and(|last| Turn { at, ..*last } == turn) {
            return;
        }
        self.turns.push_back(turn);
        if self.turns.len() > TURNS_MAX {
            self.turns.remove(FIRST_TURNS);
            self.turns_left_out = self.turns_left_out.saturating_add(1);
        }
    }
}

impl Point {
    pub(crate) fn of(
        at: Timestamp,
        state: &State,
        candidate: &Tally,
        live: &Tally,
        evidence: &[Evidence],
    ) -> Self {
        let guard = |evidence: &Evidence| GuardPoint {
            verdict: evidence.verdict,
            samples: evidence.samples,
            strength: evidence.strength,
        };
        Self {
            at,
            phase: state.phase,
            weight: state.weight,
            candidate: ArmPoint::of(candidate),
            live: ArmPoint::of(live),
            guards: evidence.iter().take(GUARDS_MAX).map(guard).collect(),
        }
    }

    /// Whether the other says the same of another moment.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.phase, self.weight, self.candidate, self.live)
            == (other.phase, other.weight, other.candidate, other.live)
            && self.guards == other.guards
    }
}

impl ArmPoint {
    fn of(tally: &Tally) -> Self {
        let quantile = |q| tally.latency().quantile(q);
        Self {
            requests: tally.requests(),
            failures: tally.error_rate().part,
            p50: quantile(0.5),
            p99: quantile(0.99),
            outcomes: tally.outcomes(),
            quality: tally.key_quality(),
        }
    }
}

impl Trial {
    pub(crate) fn of(
        promoted: Timestamp,
        candidate: &ArmView,
        live: &ArmView,
        divergence: DivergenceFigures,
        evidence: Vec<Evidence>,
        cohorts: Vec<Cohort>,
    ) -> Self {
        let figures = |arm: &ArmView| arm.figures(crate::stats::Window::Total);
        let (candidate, live) = (figures(candidate), figures(live));
        Self { promoted, candidate, live, divergence, evidence, cohorts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(weight: f64) -> State {
        State {
            phase: Phase::Canary,
            weight: Share::new(weight).unwrap(),
            sample: Share::NONE,
            paused: false,
            step: None,
            entered: Timestamp::default(),
            first_request: None,
            anew: 0,
            forgotten: Duration::ZERO,
            idle: Duration::ZERO,
            watch: Duration::ZERO,
        }
    }

    fn point(seconds: u64, requests: u64) -> Point {
        let arm = ArmPoint { requests, ..ArmPoint::default() };
        Point {
            at: Timestamp::from_unix_seconds(seconds),
            phase: Phase::Canary,
            weight: Share::NONE,
            candidate: arm,
            live: arm,
            guards: Vec::new(),
        }
    }

    fn course() -> Course {
        Course::new(Timestamp::default(), 1, false, &state(0.0))
    }

    /// Does a tick.
    fn tick(course: &mut Course, seconds: u64, requests: u64) {
        if course.is_due() { course.add(point(seconds, requests)) } else { course.pass_over() }
    }

    #[test]
    fn a_tick_at_which_nothing_was_seen_leaves_no_point() {
        let mut course = course();
        for seconds in 0..10 {
            tick(&mut course, seconds, seconds / 5);
        }
        let times: Vec<u64> = course.points().iter().map(|point| point.at.unix_seconds()).collect();
        assert_eq!(times, [0, 5]);
    }

    #[test]
    fn turns_are_bounded_and_only_those_that_change_something() {
        let mut course = course();
        for number in 0..1_000_u64 {
            let at = Timestamp::from_unix_seconds(number);
            course.turn(at, &state(f64::from(u32::try_from(number % 7).unwrap()) / 10.0));
            course.turn(at, &state(f64::from(u32::try_from(number % 7).unwrap()) / 10.0));
            assert!(course.turns().count() <= TURNS_MAX);
        }
        let times: Vec<u64> = course.turns().map(|turn| turn.at.unix_seconds()).collect();
        // At 0 nothing changed.
        assert_eq!((times[0], times[1], times[15], times[16], times[63]), (0, 1, 15, 952, 999));
        assert_eq!(course.turns_left_out(), 1_000 - 64);
    }

    proptest! {
        #[test]
        fn a_course_spans_the_attempt_evenly_however_long_it_runs(ticks in 1_u64..40_000) {
            let mut course = course();
            for seconds in 0..ticks {
                tick(&mut course, seconds, seconds);
                prop_assert!(course.points().len() < POINTS_MAX);
            }
            let times: Vec<u64> = course.points().iter().map(|point| point.at.unix_seconds()).collect();
            prop_assert_eq!(times.first(), Some(&0));
            prop_assert!(ticks - times.last().unwrap() <= course.one_in());
            let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            prop_assert!(widest <= 2 * course.one_in(), "{} of {}", widest, course.one_in());
            prop_assert!(course.points().len() as u64 >= (ticks / course.one_in()).min(100), "{times:?}");
        }
    }
}

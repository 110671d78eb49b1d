//! Controls: what must fail, since it is documented not to hold. A simulation in which it did hold would show nothing.

use std::collections::HashSet;

use switchback::stats::sequential::{
    Additive, ByOdds, Claim, EValue, Events, Odds, RateRatio, SequentialTest,
};

use crate::evaluators::{OfPairs, OfRateRatio, OfSampleRatio};
use crate::simulation::{Condition, Moment, Random, Shares, World, each, number_of};
use crate::streams::{Arms, Cases, Event, Latencies, Of, Pair, Slowness, Stream, Truth, Users, Visit};
use crate::trial::{Evaluator, Setting, Test, alarms, first_alarm, runs};
use crate::{ALPHA, Bench, Checks};

const QUIET: Truth = Truth::AtTheMargin(Claim::Harm);

/// Users of whom each stays with one version.
pub(crate) fn sticky_users() -> Users {
    Users::new(2_000, 0.02)
}

/// Counts every request as a unit, whoever made it.
pub(crate) struct EveryRequest<E>(pub(crate) E);

impl<E: Evaluator<Of<Event>>> Evaluator<Visit> for EveryRequest<E> {
    type Counts = E::Counts;

    fn count(&self, counts: &mut E::Counts, moment: &Moment, visit: Visit) {
        self.0.count(counts, moment, visit.of);
    }

    fn e_value(&self, counts: &E::Counts) -> EValue {
        self.0.e_value(counts)
    }

    fn most(&self, moment: &Moment, visit: Visit) -> f64 {
        self.0.most(moment, visit.of)
    }
}

/// Counts one outcome of each user: the first.
pub(crate) struct FirstOfUser<E>(pub(crate) E);

/// Counts, and the users that are in them.
#[derive(Clone, Default)]
pub(crate) struct OfUsers<C> {
    counts: C,
    users: HashSet<usize>,
}

impl<C: Additive> Additive for OfUsers<C> {
    fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.users.extend(&other.users);
    }

    fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl<E: Evaluator<Of<Event>>> Evaluator<Visit> for FirstOfUser<E> {
    type Counts = OfUsers<E::Counts>;

    fn count(&self, counts: &mut OfUsers<E::Counts>, moment: &Moment, visit: Visit) {
        if counts.users.insert(visit.user) {
            self.0.count(&mut counts.counts, moment, visit.of);
        }
    }

    fn e_value(&self, counts: &OfUsers<E::Counts>) -> EValue {
        self.0.e_value(&counts.counts)
    }

    /// A later request of a user's adds nothing.
    fn most(&self, moment: &Moment, visit: Visit) -> f64 {
        self.0.most(moment, visit.of).max(0.0)
    }
}

/// Everything that must fail.
pub(crate) fn controls(bench: &Bench, checks: &mut Checks) {
    println!("\nControls: what must raise more false alarms than it says");
    let count = bench.runs / 5;
    per_request_on_users(bench, checks, count);
    known_early(bench, checks, count);
    positives_first(bench, checks, count);
    chosen_afterwards(bench, checks, count);
    a_ramp_as_one_share(bench, checks, count);
}

fn per_request_on_users(bench: &Bench, checks: &mut Checks, count: usize) {
    let stream = sticky_users();
    let setting = Setting {
        stream: "sticky",
        condition: Condition::Steady,
        truth: QUIET,
        units: 40_000,
        share: Shares::place_of(10),
        short: None,
    };
    let test = Test { evaluator: EveryRequest(OfRateRatio::new(Claim::Harm, 1.0)), alpha: ALPHA };
    let share = alarms(&runs(bench.seed, count, setting, &stream, &test));
    checks.control("users who stay, counted per request", "sticky_per_request", share, ALPHA, count);
    let test = Test { evaluator: EveryRequest(OfSampleRatio::new()), alpha: 0.001 };
    let share = alarms(&runs(bench.seed, count, setting, &stream, &test));
    checks.control("users who stay, split of requests", "sticky_split_per_request", share, 0.001, count);
}

/// Runs of units that become known at a time of their own.
fn known_at<Seen: Copy, E: Evaluator<Seen>>(test: &Test<E>, mut units: Vec<(usize, Moment, Seen)>) -> bool {
    units.sort_by_key(|(known, ..)| *known);
    first_alarm(test, units.into_iter().map(|(_, moment, seen)| (moment, seen))).is_some()
}

fn share_of(alarms: &[bool]) -> f64 {
    alarms.iter().filter(|alarm| **alarm).count() as f64 / alarms.len() as f64
}

/// An error of the candidate's is known at once, everything else 2,000 requests later.
fn known_early(bench: &Bench, checks: &mut Checks, count: usize) {
    const UNITS: usize = 10_000;
    let stream = Arms {
        rate: 0.02,
        candidate: Cases { at_the_margin: 1.0, worse: 1.0, better: 1.0 },
        by_points: false,
    };
    let test = Test { evaluator: OfRateRatio::new(Claim::Harm, 1.0), alpha: ALPHA };
    let raised = each(count, |run| {
        let mut random = Random::of(&[bench.seed, number_of("known early"), run as u64]);
        let world = World::new(Condition::Steady, UNITS, Shares::place_of(10), &Shares::new(), &mut random);
        let units = (0..UNITS).map(|unit| {
            let moment = world.moment(unit);
            let seen = stream.draw(&mut random, &moment, QUIET);
            let early = seen.candidate && seen.seen.bad;
            (if early { unit } else { unit + 2_000 }, moment, seen)
        });
        known_at(&test, units.collect())
    });
    let what = "labels of the candidate's errors come first";
    checks.control(what, "known_early", share_of(&raised), ALPHA, count);
}

/// A candidate that is right more often and finds fewer of the positives, whose labels come first, for both versions.
fn positives_first(bench: &Bench, checks: &mut Checks, count: usize) {
    const UNITS: usize = 10_000;
    let test = Test { evaluator: OfPairs::difference(Claim::Harm, 0.0), alpha: ALPHA };
    let raised = each(count, |run| {
        let mut random = Random::of(&[bench.seed, number_of("positives first"), run as u64]);
        let world = World::new(Condition::Steady, UNITS, 0, &Shares::new(), &mut random);
        let units = (0..UNITS).map(|unit| {
            let positive = random.chance(0.1);
            let (live, candidate) = if positive { (0.2, 0.3) } else { (0.05, 0.03) };
            let pair = Pair { live: random.chance(live), candidate: random.chance(candidate) };
            (if positive { unit } else { unit + 5_000 }, world.moment(unit), pair)
        });
        known_at(&test, units.collect())
    });
    let what = "labels of positives come first, and a better candidate finds fewer";
    checks.control(what, "positives_first", share_of(&raised), ALPHA, count);
}

/// Of 20 limits of latency, the one that says most, looked for after every 100 requests.
fn chosen_afterwards(bench: &Bench, checks: &mut Checks, count: usize) {
    const LIMITS: usize = 20;
    const UNITS: usize = 20_000;
    let stream =
        Latencies(Cases { at_the_margin: Slowness::Alike, worse: Slowness::Alike, better: Slowness::Alike });
    // From the median to two and a half spreads above it.
    let limits: Vec<f64> = (0..LIMITS)
        .map(|place| (Latencies::SPREAD * 2.5 * place as f64 / (LIMITS - 1) as f64).exp())
        .collect();
    let (test, shares) = (RateRatio::new(Claim::Harm, 1.0).unwrap(), Shares::new());
    let odds = shares.odds(Shares::place_of(20));
    let run = |run: usize| -> [bool; 2] {
        let mut random = Random::of(&[bench.seed, number_of("chosen afterwards"), run as u64]);
        let world = World::new(Condition::Steady, UNITS, Shares::place_of(20), &shares, &mut random);
        let mut counts = vec![ByOdds::<Events>::default(); LIMITS];
        let mut raised = [false; 2];
        for unit in 0..UNITS {
            let seen = stream.draw(&mut random, &world.moment(unit), QUIET);
            for (counts, limit) in counts.iter_mut().zip(&limits) {
                count_slower(counts, odds, seen, *limit);
            }
            if (unit + 1).is_multiple_of(100) {
                let evidence: Vec<EValue> = counts.iter().map(|counts| test.e_value(counts)).collect();
                let largest = evidence.iter().copied().max().unwrap_or_default();
                raised[0] |= largest >= EValue::threshold(ALPHA).unwrap();
                raised[1] |= EValue::mean(&evidence) >= EValue::threshold(ALPHA).unwrap();
            }
        }
        raised
    };
    let raised = each(count, run);
    let share = |which: usize| share_of(&raised.iter().map(|raised| raised[which]).collect::<Vec<_>>());
    let what = format!("the best of {LIMITS} limits of latency, chosen afterwards");
    checks.control(&what, "chosen_afterwards", share(0), ALPHA, count);
    checks.remedy("the mean of their e-values", "chosen_before", share(1), ALPHA, count);
}

fn count_slower(counts: &mut ByOdds<Events>, odds: Odds, seen: Of<f64>, limit: f64) {
    let arms = counts.at(odds);
    let arm = if seen.candidate { &mut arms.candidate } else { &mut arms.live };
    arm.merge(&Events { events: u64::from(seen.seen > limit), units: 1 });
}

/// A ramp on a day on which errors double, counted as if the share had been what it was on average.
fn a_ramp_as_one_share(bench: &Bench, checks: &mut Checks, count: usize) {
    const UNITS: usize = 40_000;
    let stream = Arms {
        rate: 0.02,
        candidate: Cases { at_the_margin: 1.0, worse: 1.0, better: 1.0 },
        by_points: false,
    };
    let test = Test { evaluator: OfRateRatio::new(Claim::Harm, 1.0), alpha: ALPHA };
    let share = |apart: bool| {
        share_of(&each(count, |run| {
            let mut random = Random::of(&[bench.seed, number_of("one share"), run as u64]);
            let world = World::new(Condition::Ramp, UNITS, 0, &Shares::new(), &mut random);
            let units = (0..UNITS).map(|unit| {
                let moment = Moment { times: 1.0 + unit as f64 / UNITS as f64, ..world.moment(unit) };
                let seen = stream.draw(&mut random, &moment, QUIET);
                // A quarter each at 1, 5, 25 and 50 %: 20.25 %.
                let told = if apart { moment.place } else { Shares::place_of(20) };
                (Moment { place: told, ..moment }, seen)
            });
            first_alarm(&test, units).is_some()
        }))
    };
    let what = "a ramp on a day that gets worse, counted as one share";
    checks.control(what, "one_share", share(false), ALPHA, count);
    checks.remedy("the same, each share apart", "shares_apart", share(true), ALPHA, count);
}

//! What is no test of one claim: several hypotheses at once, an interval for showing, and a watch without an end.

use switchback::stats::sequential::{
    Arms, Claim, EValue, Events, Interval, PairedDifference, PairedEvents, RateDetector, SequentialTest,
    e_bh, eliminate, rate_interval,
};

use crate::simulation::{Condition, Random, Shares, World, each, number_of};
use crate::streams::{Cases, Pair, Pairs, Stream, Truth};
use crate::support::median;
use crate::trial::largest_by_chance;
use crate::{ALPHA, Bench, Checks};

const SEGMENTS: usize = 20;
/// Of these segments, where there is harm, so many are harmed.
const HARMED: usize = 5;

/// Segments of traffic, each with a test of its own.
struct Segments {
    counts: [PairedEvents; SEGMENTS],
    evidence: [EValue; SEGMENTS],
}

/// What came of one run over segments.
struct Searched {
    /// The share of false discoveries when something is first discovered, and in the end.
    false_first: f64,
    false_last: f64,
    /// The share of the harmed that was found in the end.
    found: f64,
    /// Whether the most conspicuous segment, tested as if it had been the only one, ever raises an alarm.
    best_of_all: bool,
}

impl Segments {
    fn new() -> Self {
        Self { counts: [PairedEvents::default(); SEGMENTS], evidence: [EValue::ONE; SEGMENTS] }
    }

    fn count(&mut self, test: &PairedDifference, segment: usize, pair: Pair) {
        self.counts[segment].count(Arms { candidate: pair.candidate, live: pair.live });
        self.evidence[segment] = test.e_value(&self.counts[segment]);
    }
}

/// Where a segment is harmed, the candidate is wrong 6 points more often there.
fn harmed_pairs() -> Pairs {
    let wrong =
        Cases { at_the_margin: [0.05, 0.05, 0.05], worse: [0.02, 0.08, 0.05], better: [0.05, 0.05, 0.05] };
    Pairs { wrong, by_points: true }
}

fn share_of_false(discoveries: &[usize], harmed: usize) -> f64 {
    let wrong = discoveries.iter().filter(|segment| **segment >= harmed).count();
    wrong as f64 / discoveries.len().max(1) as f64
}

fn search(mut random: Random, harmed: usize, condition: Condition, units: usize) -> Searched {
    let (stream, test) = (harmed_pairs(), PairedDifference::new(Claim::Harm, 0.0).unwrap());
    let world = World::new(condition, units, 0, &Shares::new(), &mut random);
    let mut segments = Segments::new();
    let (mut first, mut best_of_all) = (None, false);
    for unit in 0..units {
        let segment = random.below(SEGMENTS);
        let truth = if segment < harmed { Truth::Holding } else { Truth::AtTheMargin };
        let pair = stream.draw(&mut random, &world.moment(unit), truth(Claim::Harm));
        // Without a margin, a pair of which both are alike changes nothing.
        if pair.live == pair.candidate {
            continue;
        }
        segments.count(&test, segment, pair);
        best_of_all |= segments.evidence[segment] >= EValue::threshold(ALPHA).unwrap();
        if first.is_none() && pair.candidate {
            first =
                Some(e_bh(&segments.evidence, ALPHA).unwrap()).filter(|discoveries| !discoveries.is_empty());
        }
    }
    let last = e_bh(&segments.evidence, ALPHA).unwrap();
    Searched {
        false_first: first.map_or(0.0, |discoveries| share_of_false(&discoveries, harmed)),
        false_last: share_of_false(&last, harmed),
        found: last.iter().filter(|segment| **segment < harmed).count() as f64 / harmed.max(1) as f64,
        best_of_all,
    }
}

fn mean<T>(all: &[T], of: impl Fn(&T) -> f64) -> f64 {
    all.iter().map(of).sum::<f64>() / all.len() as f64
}

/// The share of false discoveries of `e_bh`. Returns the worst.
pub(crate) fn discoveries(bench: &Bench, checks: &mut Checks) -> f64 {
    println!("\ne_bh over {SEGMENTS} segments by PairedDifference, {} runs", bench.runs);
    let units = bench.units(40_000).max(20_000);
    let most = largest_by_chance(ALPHA, bench.runs);
    let mut worst = 0.0_f64;
    for (name, key, harmed, condition) in [
        ("no segment harmed", "null", 0, Condition::Steady),
        ("no segment harmed, an incident hits all", "null_incident", 0, Condition::Incident),
        ("5 of 20 harmed by 6 points", "harmed", HARMED, Condition::Steady),
    ] {
        let runs = each(bench.runs, |run| {
            let random = Random::of(&[bench.seed, number_of(key), run as u64]);
            search(random, harmed, condition, units)
        });
        let (first, last) = (mean(&runs, |run| run.false_first), mean(&runs, |run| run.false_last));
        let found = mean(&runs, |run| run.found);
        println!(
            "    {name:<44} false discoveries {first:.4} at the first, {last:.4} in the end; found {found:.2}"
        );
        worst = worst.max(first).max(last);
        checks.figure(format!("e_bh_{key}_false_discoveries"), first.max(last));
        checks.hold(first.max(last) <= most, || format!("e_bh, {name}: {first:.4}, {last:.4} false"));
        if harmed > 0 {
            checks.figure(format!("e_bh_{key}_found"), found);
            checks.hold(found > 0.0, || format!("e_bh, {name}: nothing found"));
        } else {
            // Whoever looks first and then says which segment it was to be.
            let share = mean(&runs, |run| f64::from(u8::from(run.best_of_all)));
            let what = format!("the most conspicuous of {SEGMENTS} segments, {name}");
            checks.control(&what, &format!("best_segment_{key}"), share, ALPHA, bench.runs);
        }
    }
    worst
}

const CANDIDATES: usize = 4;
/// How often a candidate is wrong.
const WRONG: f64 = 0.1;

/// Four candidates on the same inputs, all of them as good as each other but the last. After how many inputs the one at
/// `place` is dropped.
fn dropped(mut random: Random, place: usize, last: f64, units: usize) -> Option<usize> {
    let test = PairedDifference::new(Claim::Harm, 0.0).unwrap();
    let mut evidence = [[EValue::ONE; CANDIDATES]; CANDIDATES];
    let mut counts = [[PairedEvents::default(); CANDIDATES]; CANDIDATES];
    for unit in 1..=units {
        let mut wrong = [false; CANDIDATES];
        for (place, wrong) in wrong.iter_mut().enumerate() {
            *wrong = random.chance(if place + 1 == CANDIDATES { last } else { WRONG });
        }
        let mut changed = false;
        for (own, row) in counts.iter_mut().enumerate() {
            for (other, counts) in row.iter_mut().enumerate().filter(|(other, _)| wrong[own] != wrong[*other])
            {
                counts.count(Arms { candidate: wrong[own], live: wrong[other] });
                evidence[own][other] = test.e_value(counts);
                changed = true;
            }
        }
        if changed
            && eliminate(CANDIDATES, ALPHA, |own, other| evidence[own][other]).unwrap().contains(&place)
        {
            return Some(unit);
        }
    }
    None
}

/// How often `eliminate` drops the best candidate. Returns that.
pub(crate) fn elimination(bench: &Bench, checks: &mut Checks) -> f64 {
    println!("\neliminate among {CANDIDATES} candidates by PairedDifference, {} runs", bench.runs);
    let contest = |runs, place, last, units| {
        each(runs, |run| {
            let random = Random::of(&[bench.seed, number_of("contest"), place as u64, run as u64]);
            dropped(random, place, last, units)
        })
    };
    let kept = contest(bench.runs, 0, WRONG, bench.units(5_000));
    let false_drops = mean(&kept, |unit| f64::from(u8::from(unit.is_some())));
    let worse = contest(bench.power_runs, CANDIDATES - 1, WRONG + 0.04, 20_000);
    let found = mean(&worse, |unit| f64::from(u8::from(unit.is_some())));
    let after = median(worse.iter().map(|unit| unit.map_or(f64::INFINITY, |unit| unit as f64)));
    println!("    all alike: the best is dropped in {false_drops:.4} of runs");
    println!(
        "    one wrong in 14 % instead of 10 %: dropped in {found:.2} of runs, after {after:.0} inputs (median)"
    );
    checks.figure("eliminate_false_alarms".to_owned(), false_drops);
    checks.figure("eliminate_median_units".to_owned(), after);
    checks.hold(false_drops <= largest_by_chance(ALPHA, bench.runs), || {
        format!("eliminate drops the best in {false_drops:.4} of runs")
    });
    checks.hold(found > 0.0, || "eliminate never drops the worse".to_owned());
    false_drops
}

/// How often `rate_interval` ever excludes the rate that holds, which has to hold still. Returns that.
pub(crate) fn coverage(bench: &Bench, checks: &mut Checks) -> f64 {
    const UNITS: u64 = 1_000;
    const RATE: f64 = 0.1;
    // An interval is found by some hundred looks at the mixture.
    let count = bench.runs / 4;
    let runs = each(count, |run| {
        let mut random = Random::of(&[bench.seed, number_of("coverage"), run as u64]);
        let (mut seen, mut excluded, mut width) = (0, false, 0.0);
        for units in 1..=UNITS {
            seen += u64::from(random.chance(RATE));
            let Interval { low, high, .. } =
                rate_interval(Events { events: seen, units }, ALPHA, UNITS).unwrap();
            excluded |= RATE < low || high < RATE;
            width = high - low;
        }
        (excluded, width)
    });
    let excluded = mean(&runs, |(excluded, _)| f64::from(u8::from(*excluded)));
    let width = mean(&runs, |(_, width)| *width);
    println!("\nrate_interval at 95 %, {count} runs of {UNITS} units, a rate of {RATE} that holds still");
    println!(
        "    the rate is ever excluded in {excluded:.4} of runs; the interval is {width:.3} wide in the end"
    );
    checks.figure("rate_interval_excluded".to_owned(), excluded);
    checks.figure("rate_interval_width".to_owned(), width);
    checks.hold(excluded <= largest_by_chance(ALPHA, count), || {
        format!("rate_interval excludes the rate in {excluded:.4} of runs")
    });
    checks.hold(width < 0.5, || format!("rate_interval is {width:.3} wide, which says nothing"));
    excluded
}

/// The run length that detectors are asked for.
pub(crate) const RUN_LENGTH: f64 = 10_000.0;
/// The rate that they take for good.
pub(crate) const REFERENCE: f64 = 0.1;

/// After how many units a detector raises a false alarm. Units come in blocks of `block`; a rate that moves touches the
/// reference and never exceeds it. A detector that keeps quiet is believed after so many times as long as asked.
fn false_alarm_after(mut random: Random, moves: bool, block: u64) -> f64 {
    const BELIEVED: f64 = 20.0;
    let mut detector = RateDetector::new(REFERENCE, RUN_LENGTH).unwrap();
    let mut units = 0;
    while !detector.has_risen() && (units as f64) < BELIEVED * RUN_LENGTH {
        let mut observed = Events::default();
        for _ in 0..block {
            let wave =
                if moves { 0.5 * (units as f64 / 4_000.0 * std::f64::consts::TAU).sin() - 0.5 } else { 0.0 };
            observed.events += u64::from(random.chance(REFERENCE * (1.0 + wave)));
            observed.units += 1;
            units += 1;
        }
        detector.observe(observed);
    }
    units as f64
}

/// How long detectors run without an alarm while nothing has changed. Returns the shortest average.
pub(crate) fn run_lengths(bench: &Bench, checks: &mut Checks) -> f64 {
    let runs = if bench.quick { 200 } else { 2_000 };
    println!("\nRateDetector asked for a run length of {RUN_LENGTH}, {runs} runs");
    let mut shortest = f64::INFINITY;
    for (name, key, moves, block) in [
        ("steady, unit by unit", "steady", false, 1),
        ("steady, in blocks of 20", "blocks", false, 20),
        ("a rate that moves up to the reference, blocks of 20", "daily", true, 20),
    ] {
        let lengths = each(runs, |run| {
            let random = Random::of(&[bench.seed, number_of("run length"), number_of(key), run as u64]);
            false_alarm_after(random, moves, block)
        });
        let average = mean(&lengths, |length| *length);
        let variance = mean(&lengths, |length| (length - average) * (length - average));
        let error = (variance / runs as f64).sqrt();
        println!("    {name:<56} {average:.0} units on average, standard error {error:.0}");
        checks.figure(format!("rate_detector_{key}_run_length_units"), average);
        checks.hold(average + 3.0 * error >= RUN_LENGTH, || {
            format!("RateDetector, {name}: alarms every {average:.0} units")
        });
        shortest = shortest.min(average);
    }
    shortest
}

//! The protocol of a fleet, simulated: how many runs of how many seeds are broken, and whether each rule that is left out is
//! missed.
//!
//! ```text
//! cargo bench --bench fleet --features fleet                     125,000 runs
//! cargo bench --bench fleet --features fleet -- --quick          2,500 runs
//! cargo bench --bench fleet --features fleet -- --seed 17        one seed in every world, with what is broken
//! cargo bench --bench fleet --features fleet -- --rule Quiet     without one rule
//! cargo bench --bench fleet --features fleet -- --alarms 400     equal versions in eight whole handles
//! cargo bench --bench fleet --features fleet -- --whole          what whole handles do, without the simulation
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench measures real time, and stops where something is wrong"
)]

#[path = "fleet/handles.rs"]
mod handles;
#[path = "fleet/line.rs"]
mod line;
mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Outcome, quick};
use switchback::fleet::simulation::{Findings, ProtocolRule, Setup, World, run};

/// Seeds of a rule at most: it is left out in every world, with good candidates and bad ones, until it was missed so often.
const ENOUGH: usize = 3;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1);
    if let Some(seed) = after("--seed") {
        let seed = seed.parse()?;
        for (setup, report) in all(seed..seed + 1, None) {
            println!("{:?} bad {}: {report:#?}", setup.world, setup.bad);
        }
        return Ok(());
    }
    if arguments.iter().any(|argument| argument == "--whole") {
        let mut report = support::Report::with_tables_of_its_own("fleet-whole");
        whole(&mut report);
        return report.finish();
    }
    if let Some(runs) = after("--alarms") {
        let (alarms, of) = handles::false_alarms(8, runs.parse()?, Duration::from_secs(600));
        println!("8 processes: {alarms} of {of} equal versions were taken back within ten minutes");
        return Ok(());
    }
    // The rarest is missed once in 200 runs, and in none of the first thousand.
    let mutant_seeds = 400;
    if let Some(name) = after("--rule") {
        let rules = ProtocolRule::ALL.into_iter().filter(|rule| format!("{rule:?}") == *name);
        rules.for_each(|rule| {
            without(rule, mutant_seeds, true);
        });
        return Ok(());
    }

    let mut report = support::Report::with_tables_of_its_own("fleet");
    // Twenty runs a seed.
    let seeds = if quick() { 125 } else { 6_250 };
    let started = Instant::now();
    let runs = all(0..seeds, None);
    let spent = started.elapsed().as_secs_f64();
    let broken: Vec<&(Setup, Findings)> =
        runs.iter().filter(|(_, report)| !report.violations.is_empty()).collect();
    println!(
        "{:<12} {:>8} {:>8} {:>10} {:>10} {:>10} {:>8} {:>8} {:>10}",
        "world", "runs", "broken", "exposed", "raises", "lowerings", "cuts", "voids", "latest ms"
    );
    for world in World::ALL {
        let of: Vec<&Findings> =
            runs.iter().filter(|(setup, _)| setup.world == world).map(|(_, report)| report).collect();
        let sum = |what: fn(&Findings) -> u64| of.iter().map(|report| what(report)).sum::<u64>();
        println!(
            "{:<12} {:>8} {:>8} {:>10} {:>10} {:>10} {:>8} {:>8} {:>10}",
            format!("{world:?}"),
            of.len(),
            of.iter().filter(|report| !report.violations.is_empty()).count(),
            sum(|report| report.exposed),
            sum(|report| report.raises),
            sum(|report| report.lowerings),
            sum(|report| report.cuts),
            sum(|report| report.voids),
            of.iter().map(|report| report.latest_ms).max().unwrap_or_default(),
        );
    }
    for (setup, report) in broken.iter().take(12) {
        println!("{setup:?}\n    {:?}", report.violations);
    }
    println!("{} runs in {spent:.1} s\n", runs.len());

    let mut caught = 0;
    let mut mutants = serde_json::Map::new();
    for rule in ProtocolRule::ALL {
        let (missed, of) = without(rule, mutant_seeds, false);
        caught += usize::from(missed > 0);
        mutants.insert(format!("{rule:?}"), json!({ "runs": of, "broken": missed }));
    }
    report.figure("simulated_runs", runs.len() as f64);
    report.figure("broken_runs", broken.len() as f64);
    report.figure("seconds", spent);
    report.figure("mutants", ProtocolRule::ALL.len() as f64);
    report.figure("mutants_caught", caught as f64);
    let latest = runs.iter().map(|(_, report)| report.latest_ms).max().unwrap_or_default();
    report.figure("latest_answer_after_lowering_ms", latest as f64);
    report.details("without", mutants.into());
    whole(&mut report);
    report.finish()?;
    if !broken.is_empty() || caught < ProtocolRule::ALL.len() {
        return Err("a run is broken, or a rule is not missed".into());
    }
    Ok(())
}

/// What whole handles do, through the public API.
fn whole(report: &mut support::Report) {
    let few = quick();
    let started = Instant::now();
    let applied = handles::applied(if few { 4 } else { 64 });
    let at = |share: f64| applied[((applied.len() - 1) as f64 * share) as usize];
    println!("\napplied by others after {:.2} s, {:.2} s in 99 of 100", at(0.5), at(0.99));
    report.figure("applied_p50_s", at(0.5));
    report.figure("applied_p99_s", at(0.99));
    let latest = handles::after_lowering(if few { 4 } else { 64 });
    println!("a candidate that was taken off answers for {latest:.2} s at most where a process is cut off");
    report.figure("candidate_after_lowering_s", latest);
    let span = Duration::from_secs(if few { 200 } else { 600 });
    for (members, runs) in [(8, if few { 8 } else { 400 }), (64, if few { 1 } else { 50 })] {
        let (alarms, of) = handles::false_alarms(members, runs, span);
        println!(
            "{members} processes: {alarms} of {of} equal versions were taken back within {} s",
            span.as_secs()
        );
        report.figure(&format!("false_alarms_{members}"), alarms as f64 / of as f64);
        report.figure(&format!("false_alarms_{members}_runs"), of as f64);
    }
    for (members, runs) in
        [(1, if few { 4 } else { 40 }), (10, if few { 4 } else { 40 }), (100, if few { 2 } else { 20 })]
    {
        let (half, most) = handles::seen(members, runs);
        println!(
            "{members} processes: twice the failures are seen and taken off everywhere after {half:.0} s, {most:.0} s in nine of ten"
        );
        report.figure(&format!("seen_p50_s_{members}"), half);
        report.figure(&format!("seen_p90_s_{members}"), most);
    }
    for members in [1, 10, 100] {
        let [idle, busy] = handles::requests(members);
        // What a request costs where most buckets are: dollars for 1,000 reads, and for 1,000 of what is billed like a write.
        let dollars = |(reads, writes): (f64, f64)| 86.4 * (reads * 0.000_4 + writes * 0.005);
        for (when, asked) in [("idle", idle), ("rollout", busy)] {
            println!(
                "{members} processes, {when}: {:.1} reads and {:.1} writes a second, ${:.2} a day",
                asked.0,
                asked.1,
                dollars(asked)
            );
            report.figure(&format!("{when}_reads_per_s_{members}"), asked.0);
            report.figure(&format!("{when}_writes_per_s_{members}"), asked.1);
            report.figure(&format!("{when}_dollars_per_day_{members}"), dollars(asked));
        }
    }
    let [alone, member] = handles::idle(Duration::from_secs(if few { 10 } else { 60 }));
    println!(
        "a handle that nobody asks takes {:.3} % of a core, a member {:.3} %",
        100.0 * alone,
        100.0 * member
    );
    report.figure("idle_alone_core_share", alone);
    report.figure("idle_member_core_share", member);
    println!("{:.1} s\n", started.elapsed().as_secs_f64());
}

/// Leaves a rule out, until it was missed some times. In how many runs, of how many.
fn without(rule: ProtocolRule, seeds: u64, tell: bool) -> (usize, usize) {
    let (mut missed, mut of) = (0, 0);
    let mut why: BTreeMap<String, usize> = BTreeMap::new();
    for from in (0..seeds).step_by(10) {
        for (setup, report) in all(from..from + 10, Some(rule)) {
            of += 1;
            missed += usize::from(!report.violations.is_empty());
            if let Some(first) = report.violations.first() {
                let first: String =
                    first.chars().filter(|letter| !letter.is_ascii_digit()).take(48).collect();
                *why.entry(format!("{:?}: {first}", setup.world)).or_default() += 1;
            }
        }
        if missed >= ENOUGH && !tell {
            break;
        }
    }
    println!("without {:<18} broken {missed} of {of}", format!("{rule:?}"));
    if tell {
        why.iter().for_each(|(why, often)| println!("    {often:>5} {why}"));
    }
    (missed, of)
}

/// Every world, with good candidates and bad ones, on all cores.
fn all(seeds: std::ops::Range<u64>, without: Option<ProtocolRule>) -> Vec<(Setup, Findings)> {
    let setups: Vec<Setup> = seeds
        .flat_map(|seed| {
            World::ALL.map(|world| [false, true].map(|bad| Setup { seed, world, bad, without, lands: false }))
        })
        .flatten()
        .collect();
    let (next, done) = (AtomicU64::new(0), Mutex::new(Vec::with_capacity(setups.len())));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(setup) = setups.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let report = run(setup);
                    done.lock().unwrap().push((*setup, report));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(setup, _)| (setup.world, setup.seed, setup.bad));
    done
}

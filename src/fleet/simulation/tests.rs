#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Findings, ProtocolRule, Setup, World, run};

fn runs(seeds: Range<u64>, worlds: &[World], without: Option<ProtocolRule>) -> Vec<(Setup, Findings)> {
    let setups: Vec<Setup> = seeds
        .flat_map(|seed| worlds.iter().map(move |world| (seed, *world)))
        .flat_map(|(seed, world)| [false, true].map(|bad| Setup { seed, world, bad, without, lands: false }))
        .collect();
    // Seeds know nothing of each other, and one runs the same on whatever thread.
    std::thread::scope(|scope| {
        let half = |first: usize| {
            let setups = &setups;
            scope.spawn(move || {
                setups.iter().skip(first).step_by(2).map(|setup| (*setup, run(setup))).collect::<Vec<_>>()
            })
        };
        let (even, odd) = (half(0), half(1));
        [even, odd].into_iter().flat_map(|half| half.join().unwrap()).collect()
    })
}

fn broken(runs: &[(Setup, Findings)]) -> Vec<&(Setup, Findings)> {
    runs.iter().filter(|(_, report)| !report.violations.is_empty()).collect()
}

#[test]
fn no_seed_of_any_world_is_broken() {
    let runs = runs(0..10, &World::ALL, None);
    let broken = broken(&runs);
    assert!(broken.is_empty(), "{broken:#?}");
    // A simulation in which nothing happens shows nothing.
    let mut seen: BTreeMap<World, [u64; 5]> = BTreeMap::new();
    for (setup, report) in &runs {
        let all = [report.exposed, report.raises, report.lowerings, report.cuts, report.faults];
        let sum = seen.entry(setup.world).or_default();
        sum.iter_mut().zip(all).for_each(|(sum, one)| *sum += one);
        assert!(report.latest_ms <= 10_000, "{setup:?}");
    }
    for (world, [exposed, raises, lowerings, cuts, faults]) in seen {
        let happened = exposed > 1_000 && raises > 5 && lowerings > 10 && cuts > 400;
        assert!(
            happened && (faults > 200 || world == World::Calm),
            "{world:?}: {exposed} {raises} {lowerings} {cuts} {faults}"
        );
    }
}

#[test]
fn one_seed_runs_the_same_again() {
    let setup = Setup { seed: 3, world: World::Storm, bad: false, without: None, lands: false };
    assert_eq!(run(&setup), run(&setup));
}

/// Bug: names were closed seconds too soon, and the fleet's time went faster than any clock. Cause: where neither that a ledger was put was heard nor
/// what is there, the time that it had counted was counted by the next one too. Fix: whoever finds its own ledger there counts from when it was sent.
#[test]
fn time_that_a_ledger_has_counted_is_not_counted_again_where_nobody_said_that_it_was_put() {
    let seeds = [
        (12, World::Sweeps, true),
        (62, World::Restores, false),
        (97, World::Restores, false),
        (115, World::Damage, false),
        (23, World::Silences, false),
        (33, World::Storm, true),
        (29, World::Contention, false),
        (72, World::Swept, false),
    ];
    for (seed, world, bad) in seeds {
        let report = run(&Setup { seed, world, bad, without: None, lands: false });
        assert_eq!(report.violations, Vec::<String>::new(), "{world:?} {seed}");
    }
}

/// Bug: of 125,000 runs seven were broken. Causes: a ledger that was cut by a head that had just been put back left out an attempt that went on; a head was
/// not filed where one of the same number of another history lay; a process that left took a lowering with it; and two runs ended before the last head
/// was followed by all. Fix: a ledger says which attempts its head has, heads are filed by their prints too, what is to be lowered outlasts the
/// goodbye, and a run ends once its last head has stood for a while.
#[test]
fn seeds_that_were_broken_hold() {
    let seeds = [
        (268, World::Restores, true),
        (2_328, World::Restores, true),
        (6_204, World::Restores, false),
        (4_065, World::Storm, false),
        (6_062, World::Storm, false),
        (5_200, World::Silences, true),
        (6_112, World::Contention, false),
    ];
    for (seed, world, bad) in seeds {
        let report = run(&Setup { seed, world, bad, without: None, lands: false });
        assert_eq!(report.violations, Vec::<String>::new(), "{world:?} {seed}");
    }
}

/// The rules that are missed within a few runs. The bench `fleet` leaves out every one, and those that are missed rarely in more runs.
#[test]
fn a_rule_that_is_left_out_is_missed() {
    let at_once = [
        (ProtocolRule::RowOverItself, World::Faults),
        (ProtocolRule::Look, World::Faults),
        (ProtocolRule::Doubt, World::Silences),
        (ProtocolRule::LedgerOverRead, World::Faults),
        (ProtocolRule::HeadOverRead, World::Faults),
        (ProtocolRule::LateAnswers, World::Contention),
        (ProtocolRule::SetAside, World::Damage),
        (ProtocolRule::Void, World::Damage),
        (ProtocolRule::ClosedIsFinal, World::Faults),
        (ProtocolRule::WatchedTime, World::Steps),
        (ProtocolRule::StandDown, World::Faults),
        (ProtocolRule::File, World::Contention),
        (ProtocolRule::LowerHereFirst, World::Faults),
        (ProtocolRule::Lapse, World::Faults),
        (ProtocolRule::Settle, World::Calm),
        (ProtocolRule::Cadence, World::Calm),
        (ProtocolRule::SweepClosed, World::Swept),
    ];
    for (rule, world) in at_once {
        // Not broken with it: what is found is what it is for.
        let found =
            (0..30).step_by(5).any(|seed| !broken(&runs(seed..seed + 5, &[world], Some(rule))).is_empty());
        assert!(found, "nobody missed {rule:?} in {world:?}");
    }
}

/// What operators see to before they put a store back, as `docs/fleet.md` says: a row that was under way then lands on what was put back, since the
/// tag that it names is there again, and some seconds of it count twice.
#[test]
fn a_write_that_lands_on_a_store_that_was_put_back_counts_twice() {
    let found = |seed, lands| {
        let setup = |bad| Setup { seed, world: World::Restores, bad, without: None, lands };
        [false, true].map(|bad| run(&setup(bad)).violations).concat()
    };
    let counts_twice = |seed: &u64| found(*seed, true).iter().any(|why| why.contains("happened"));
    let seed = (0..100).find(counts_twice).unwrap();
    assert_eq!(found(seed, false), Vec::<String>::new(), "{seed}");
}

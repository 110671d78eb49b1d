//! Whole rollouts through the public API: how soon a canary is taken back, with all that a host has switched on.

use switchback::options::ErrorBudget;
use switchback::options::{Labels, Limits, Threads};
use switchback::{
    Clock, Kpi, ModelHandle, Outcome as Truth, Plan, Step, Task, Timestamp, closure, guard, model::ModelError,
};

use crate::goals::oracle_requests;
use crate::simulation::{Random, each, number_of};
use crate::support::{Outcome, median};
use crate::{Bench, Checks};

/// Of live's requests.
const ERRORS: f64 = 0.02;

/// Requests until a canary that fails so many times as often as live is taken back by one of five guards, over those that
/// anybody needs who knows how often it fails and spends the rollout's whole error on it.
pub(crate) fn five_guards(bench: &Bench, checks: &mut Checks) {
    let runs = if bench.quick { 11 } else { 101 };
    let alpha = ErrorBudget::default().harm;
    println!("\nWhole rollouts with five guards, an error of {alpha} for all of it; {runs} runs each");
    let mut worst = 0.0_f64;
    for times in [2.0, 5.0, 20.0] {
        for share in [0.01, 0.1, 0.5] {
            let oracle = oracle_requests(times, share, ERRORS, alpha);
            let taken = each(runs, |run| {
                let seed =
                    [bench.seed, number_of("five guards"), (100.0 * share) as u64, times as u64, run as u64];
                requests_until_taken_back(Random::of(&seed), times, share, oracle).unwrap()
            });
            let ratio = median(taken) / oracle;
            println!(
                "    errors times {times}, share {:.0} %: {ratio:.2} times the {oracle:.0} requests of the oracle",
                100.0 * share
            );
            checks.figure(format!("five_guards_{times}_share_{:.0}_ratio", 100.0 * share), ratio);
            worst = worst.max(ratio);
        }
    }
    checks.hold(worst.is_finite(), || "a canary that fails is not taken back".to_owned());
    checks.figure("delay_over_oracle_five_guards".to_owned(), worst);
}

fn requests_until_taken_back(mut random: Random, times: f64, share: f64, oracle: f64) -> Outcome<f64> {
    // An input is a number between 0 and 1; those below a rate are what a version fails on.
    let failing = |rate: f64| {
        move |input: &f64| if *input < rate { Err(ModelError::engine("out of luck")) } else { Ok(*input) }
    };
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
    let handle = ModelHandle::builder("guarded")
        .live("v1", closure("live@1", failing(ERRORS)))
        .task(Task::binary(|probability: &f64| *probability).kpi(Kpi::rate("click")?))
        .labels(Labels::at_random())
        .clock(clock.clone())
        .seed(random.next())
        .limits(Limits::new().circuit_breaker(0))
        .threads(Threads::manual())
        .build()?;
    let rollout = handle
        .stage("v2", closure("candidate@1", failing(ERRORS * times)))?
        .guard(guard::error_rate().at_most_times_live(1.0))
        .guard(guard::latency(0.99).at_most_times_live(1.5))
        .guard(guard::accuracy().at_most_below_live(0.5))
        .guard(guard::precision().at_most_below_live(0.5))
        .guard(guard::kpi("click").at_most_below_live(0.5));
    rollout.run(Plan::new([Step::canary(share)?])?)?;
    // As often as a hundredth of the time that it takes at best.
    let every = (oracle / 100.0).max(10.0) as usize;
    for ticks in 1..3_000 {
        for _ in 0..every {
            let input = random.uniform();
            if let Ok(answer) = handle.predict(&input) {
                handle.feedback(answer.id(), Truth::class(u16::from(random.chance(input))));
                handle.feedback(answer.id(), Truth::kpi("click", f64::from(u8::from(random.chance(0.3)))));
            }
        }
        clock.advance(std::time::Duration::from_secs(1));
        handle.tick();
        if rollout.phase().is_over() {
            return Ok((ticks * every) as f64);
        }
    }
    Ok(f64::INFINITY)
}

//! Whether a comparison of two arms is decided sooner where what is known before the answer is taken off what follows.
//!
//! Units differ by something that is known of them before anybody answers, and that explains a part of the variance of what then
//! happens: their segment, or live's own score. The same units are judged by the test that guards of two arms ask, which looks at
//! what happens, and by the one of what happens less what was to be expected, with an expectation that is exactly right: nobody does
//! better.

use switchback::Share;
use switchback::stats::sequential::{
    ByOdds, Claim, EValue, Events, MeanDifference, Odds, RateDifference, Scores, SequentialTest,
};

use crate::simulation::{Random, each, number_of};
use crate::support::median;
use crate::trial::largest_by_chance;
use crate::{Bench, Checks};

/// A loss, on average, and how much more of it the candidate may have.
const RATE: f64 = 0.5;
const MARGIN: f64 = 0.05;
/// The errors of harm and of its absence, as a rollout has them by default.
const ERRORS: [(Claim, f64); 2] = [(Claim::Harm, 0.01), (Claim::NonInferiority, 0.05)];

/// How many times as soon it is decided, by the part of the variance that is explained.
pub(crate) fn strata(bench: &Bench, checks: &mut Checks) {
    println!(
        "\nTwo arms of 50 %, losses at {RATE}, a margin of {MARGIN}: requests until it is decided by what happens, and by what \
         happens less what was to be expected"
    );
    for explained in [0.0, 0.1, 0.3, 0.6] {
        for (claim, alpha) in ERRORS {
            // Twice as far off as allowed is harm, and as good as live is none; at the margin neither may be said.
            let (word, off) = if claim == Claim::Harm { ("harm", 2.0 * MARGIN) } else { ("equality", 0.0) };
            let run = |off: f64, runs: usize, units: usize| {
                each(runs, |run| {
                    let seed =
                        [bench.seed, number_of("strata"), (100.0 * explained) as u64, (100.0 * off) as u64];
                    let seed = [seed[0], seed[1], seed[2], seed[3], number_of(word), run as u64];
                    units_until_decided(Random::of(&seed), (claim, alpha), explained, off, units)
                })
            };
            let decided = run(off, bench.power_runs, 60_000);
            let plain = median(decided.iter().map(|(plain, _)| *plain));
            let adjusted = median(decided.iter().map(|(_, adjusted)| *adjusted));
            let at_the_margin = run(MARGIN, bench.runs / 5, 10_000);
            let wrong = |which: fn(&(f64, f64)) -> f64| {
                at_the_margin.iter().filter(|run| which(run).is_finite()).count() as f64
                    / at_the_margin.len() as f64
            };
            let (wrong_plain, wrong_adjusted) = (wrong(|run| run.0), wrong(|run| run.1));
            println!(
                "    {:>2.0} % explained, {word:<8} {plain:>7.0} and {adjusted:>7.0}: {:.2} times as soon; false {wrong_plain:.4} \
                 and {wrong_adjusted:.4}",
                100.0 * explained,
                plain / adjusted
            );
            let key = format!("strata_{word}_{:.0}", 100.0 * explained);
            checks.figure(format!("{key}_times_as_soon"), plain / adjusted);
            let allowed = largest_by_chance(alpha, at_the_margin.len());
            checks.hold(wrong_plain.max(wrong_adjusted) <= allowed, || {
                format!("{key}: more false alarms than {alpha}")
            });
        }
    }
}

/// Units until each of the two tests has decided; infinity for never.
fn units_until_decided(
    mut random: Random,
    (claim, alpha): (Claim, f64),
    explained: f64,
    off: f64,
    units: usize,
) -> (f64, f64) {
    let half = Share::new(0.5).unwrap();
    let odds = Odds::new(half, half).unwrap();
    let rates = RateDifference::new(claim, MARGIN, RATE).unwrap();
    let means = MeanDifference::new(claim, MARGIN).unwrap();
    let (mut events, mut scores) = (ByOdds::<Events>::default(), ByOdds::<Scores>::default());
    let (mut plain, mut adjusted) = (f64::INFINITY, f64::INFINITY);
    let threshold = EValue::threshold(alpha).unwrap();
    // Of what is known so much of the variance follows: a half of all units lies above the average, and a half below.
    let apart = (explained * RATE * (1.0 - RATE)).sqrt();
    let mut look = 20;
    for unit in 1..=units {
        let expected = if random.chance(0.5) { RATE + apart } else { RATE - apart };
        let own = random.chance(0.5);
        let lost = random.chance(if own { expected + off } else { expected });
        let loss = f64::from(u8::from(lost));
        let (of_events, of_scores) = (events.at(odds), scores.at(odds));
        let (of_events, of_scores) = if own {
            (&mut of_events.candidate, &mut of_scores.candidate)
        } else {
            (&mut of_events.live, &mut of_scores.live)
        };
        of_events.units += 1;
        of_events.events += u64::from(lost);
        of_scores.count(loss - expected, random.next());
        if unit < look {
            continue;
        }
        look = unit + (unit / 50).max(10);
        if plain.is_infinite() && rates.e_value(&events) >= threshold {
            plain = unit as f64;
        }
        if adjusted.is_infinite() && means.e_value(&scores) >= threshold {
            adjusted = unit as f64;
        }
        if plain.is_finite() && adjusted.is_finite() {
            break;
        }
    }
    (plain, adjusted)
}

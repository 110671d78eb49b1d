//! What the planner says of a rollout that runs, held against what then comes of it.

use crate::world::{Candidate, Circumstance, Figure, Life, Routing, Verdict};

/// What was said of so many runs, and what came, in seconds at the median; and how many of those that ended so did within what was
/// said of them eight times of ten.
struct Foretold {
    said: f64,
    took: f64,
    within: usize,
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_unstable_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn foretold(life: Life, runs: u64) -> Foretold {
    let wished = if life.candidate == Candidate::Equal { Verdict::Promoted } else { Verdict::TakenBack };
    let (mut said, mut took, mut within) = (Vec::new(), Vec::new(), 0);
    for seed in 1..=runs {
        let (end, seconds, foretold) = life.planned(seed);
        assert_eq!(end.verdict, wished, "{}", end.sentence);
        let seconds = seconds as f64;
        let (low, high) = foretold.between.unwrap();
        // A tick is a second.
        within += usize::from(low <= seconds + 1.0 && seconds <= high + 1.0);
        said.push(foretold.after.unwrap());
        took.push(seconds);
    }
    Foretold { said: median(said), took: median(took), within }
}

fn long(figure: Figure, routing: Routing, circumstance: Circumstance) -> Life {
    Life { seconds: 1_200, ..Life::new(figure, routing, circumstance) }
}

impl Foretold {
    /// Medians of so few runs differ by a third among themselves; the bench `life` has more.
    fn is_near(&self, runs: usize) {
        let Self { said, took, within } = *self;
        let ratio = (said + 1.0) / (took + 1.0);
        assert!((0.6..1.6).contains(&ratio), "{said} s were said, and {took} s came");
        assert!(2 * within >= runs, "{within} of {runs} came within what was said");
    }
}

/// Bug: a candidate that differs on half as many inputs again as it may was said to be taken back after 1.9 s, and 7 s came. Cause: how
/// often it differs was learned from its own pairs, and taken for how often a good one does: harm was twice as far off as that. And
/// the failures that are judged beside were not known to have half of the error. Fix: harm is measured from a good candidate, and
/// what is kept for failures is in what the evidence must reach.
#[test]
#[ignore = "long: many rollouts for each forecast"]
fn a_divergence_that_is_too_large_is_said_to_be_seen_when_it_is() {
    let life = long(Figure::Divergence, Routing::Shadow, Circumstance::Quiet);
    foretold(life.candidate(Candidate::Worse(2.0)), 15).is_near(15);
}

/// Bug: a latency was said to be shown after 6 s where both versions fail on 3 % of all calls, and 14 s came. Cause: who fails is taken
/// to be too slow, which the planner did not know. Fix: it counts what the test counts.
#[test]
fn a_latency_is_said_to_take_longer_where_calls_fail() {
    foretold(long(Figure::Latency, Routing::Canary, Circumstance::ChanceFailures), 15).is_near(15);
}

/// Bug: lists were said to be shown as good after 8 s, where 14 s came. Cause: how much two lists differ on one input was a
/// constant. Fix: until there are pairs it is a guess, with the range that it allows, and then it is what the pairs say.
#[test]
fn lists_are_compared_for_as_long_as_their_pairs_ask_for() {
    foretold(long(Figure::Ranking, Routing::Shadow, Circumstance::Quiet), 15).is_near(15);
}

/// Bug: of a hundred runs hardly more than a half came within what was said to hold eight times of ten. Cause: how often the
/// versions differ was taken for known after the first eight pairs on which they did. Fix: what pairs allow is drawn from what they say.
#[test]
#[ignore = "long: many rollouts for each forecast"]
fn what_a_few_pairs_do_not_say_yet_is_in_the_range() {
    let life = long(Figure::Accuracy, Routing::Shadow, Circumstance::Quiet);
    let Foretold { within, .. } = foretold(life, 20);
    assert!(within >= 13, "{within} of 20 came within what was said");
}

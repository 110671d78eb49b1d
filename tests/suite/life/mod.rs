//! Evidence in ordinary life: equal versions stay and harmful ones go, whatever else happens to a service. Invariant 15.
//!
//! Each test has a few runs of its own seeds, some fewer without the variable `LIFE_ALL`; `cargo bench --bench life` has hundreds of each kind.

#[cfg(feature = "drift")]
mod drift;
mod errors;
mod failures;
mod incidents;
mod keys;
mod lapses;
mod latency;
mod outages;
#[cfg(feature = "forecast")]
mod planner;
mod shared;
mod traffic;
mod truth;
mod units;
mod values;

use crate::world::{Fate, Verdict};

/// What became of so many runs.
struct Fates(Vec<Fate>);

/// Runs it with so many seeds. With the variable `LIFE_TELLS` it says what became of them, whatever is asserted.
fn each_seed(runs: u64, run: impl Fn(u64) -> Fate) -> Fates {
    let fates = Fates((1..=runs).map(run).collect());
    if std::env::var_os("LIFE_TELLS").is_some() {
        eprintln!("{fates}");
    }
    fates
}

/// How many runs a test has that takes seconds: `all` where the variable `LIFE_ALL` is set, as in `.ci/run`, and otherwise so few that its bug,
/// as often as it was seen, is still seen by most.
fn few_of(few: u64, all: u64) -> u64 {
    if std::env::var_os("LIFE_ALL").is_some() { all } else { few }
}

impl Fates {
    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|fate| fate.verdict == verdict).count()
    }

    /// At most as many as chance allows where one in a hundred may be.
    fn are_rarely_taken_back(&self) {
        let (taken_back, allowed) = (self.count(Verdict::TakenBack), by_chance(self.0.len(), 0.01));
        assert!(taken_back <= allowed, "{taken_back} equal ones taken back where {allowed} may be: {self}");
    }

    /// At most as many as chance allows where one in twenty may be.
    fn are_rarely_promoted(&self) {
        let (promoted, allowed) = (self.count(Verdict::Promoted), by_chance(self.0.len(), 0.05));
        assert!(promoted <= allowed, "{promoted} harmful ones promoted where {allowed} may be: {self}");
    }

    fn are_never_promoted(&self) {
        let promoted = self.count(Verdict::Promoted);
        assert!(promoted == 0, "{promoted} harmful ones promoted: {self}");
    }
}

/// How many there are of each, and what was said of the first.
impl std::fmt::Display for Fates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut requests: Vec<u64> = self.0.iter().map(|fate| fate.requests).collect();
        requests.sort_unstable();
        write!(
            f,
            "of {} runs {} were taken back, {} promoted, {} undecided, after {} requests at the median",
            self.0.len(),
            self.count(Verdict::TakenBack),
            self.count(Verdict::Promoted),
            self.count(Verdict::Undecided),
            requests[requests.len() / 2],
        )?;
        let letters = self.0.iter().map(|fate| match fate.verdict {
            Verdict::TakenBack => 'B',
            Verdict::Promoted => 'P',
            Verdict::Undecided => 'u',
            Verdict::Refused => 'r',
        });
        write!(f, " ({})", letters.collect::<String>())?;
        let first = &self.0[0];
        first.evidence.iter().try_for_each(|evidence| write!(f, "\n  {evidence}"))?;
        first.events.iter().rev().take(4).try_for_each(|event| write!(f, "\n  {event}"))
    }
}

/// The most of so many that have this probability each that there are but once in a thousand times.
fn by_chance(runs: usize, probability: f64) -> usize {
    let odds = probability / (1.0 - probability);
    let mut exactly = (1.0 - probability).powi(i32::try_from(runs).unwrap());
    let (mut at_most, mut count) = (exactly, 0);
    while at_most < 0.999 {
        exactly *= odds * (runs - count) as f64 / (count + 1) as f64;
        count += 1;
        at_most += exactly;
    }
    count
}

#[test]
fn chance_allows_what_the_binomial_distribution_says() {
    assert_eq!((by_chance(20, 0.01), by_chance(100, 0.01), by_chance(40, 0.05)), (3, 5, 7));
}

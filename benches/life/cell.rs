//! One cell, measured.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::intervals::interval;
use crate::support::median;
use crate::world::{Candidate, End, Life, Verdict};

/// An interval that says that a cell is above its claim errs once in a hundred times.
const ERROR: f64 = 0.01;

/// What came of a cell's runs.
pub(crate) struct Cell {
    pub(crate) life: Life,
    ends: Vec<End>,
}

impl Cell {
    /// Runs a cell so often; one that is refused is refused every time.
    fn measure(life: Life, runs: u64) -> Self {
        let mut ends = life.runs(1..2);
        if ends.iter().any(|end| end.verdict != Verdict::Refused) {
            ends.extend(life.runs(2..runs + 1));
        }
        Self { life, ends }
    }

    pub(crate) fn runs(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.ends.iter().filter(|end| end.verdict == verdict).count()
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.ends.iter().all(|end| end.verdict == Verdict::Refused)
    }

    /// How often it was taken back, where it should not have been.
    pub(crate) fn false_rollback(&self) -> Option<f64> {
        self.life.may_be_taken_back().map(|_| self.share(Verdict::TakenBack))
    }

    /// How often it was promoted, where it should not have been.
    pub(crate) fn wrong_promotion(&self) -> Option<f64> {
        self.life.may_be_promoted().map(|_| self.share(Verdict::Promoted))
    }

    fn share(&self, verdict: Verdict) -> f64 {
        self.count(verdict) as f64 / self.runs() as f64
    }

    /// Whether one of its errors is above what is claimed, but for chance.
    pub(crate) fn is_above_its_claim(&self) -> bool {
        let above = |claim: Option<f64>, verdict| {
            claim.is_some_and(|claim| interval(self.count(verdict), self.runs(), ERROR).0 > claim)
        };
        above(self.life.may_be_taken_back(), Verdict::TakenBack)
            || above(self.life.may_be_promoted(), Verdict::Promoted)
    }

    /// Whether it ends, by design, without a verdict and with a reason: it is refused, or hardly any run is decided and the guards
    /// say why.
    pub(crate) fn has_no_verdict_and_says_why(&self) -> bool {
        let told = self.ends.iter().filter(|end| end.verdict == Verdict::Undecided && end.tells_why());
        self.is_refused() || told.count() * 10 >= self.runs() * 9
    }

    /// Whether hardly any equal version is promoted, and the guards do not say why: the test has no power there, or not soon enough.
    pub(crate) fn is_undecided_without_a_word(&self) -> bool {
        self.life.candidate == Candidate::Equal
            && self.count(Verdict::Undecided) * 10 >= self.runs() * 9
            && !self.has_no_verdict_and_says_why()
    }

    /// What the user gets to read: why it was refused, or what stands in the way.
    pub(crate) fn sentence(&self) -> &str {
        let told = self.ends.iter().find_map(|end| end.notes.first());
        let first = self.ends.first().map_or("", |end| end.sentence.as_str());
        if self.is_refused() { first } else { told.map_or(first, String::as_str) }
    }

    /// Requests until it was taken back, at the median over all runs.
    pub(crate) fn requests_until_taken_back(&self) -> f64 {
        let requests = |end: &End| match end.verdict {
            Verdict::TakenBack => end.requests as f64,
            _ => f64::INFINITY,
        };
        median(self.ends.iter().map(requests)) - self.life.before()
    }

    pub(crate) fn line(&self) -> String {
        let mark = match (self.is_above_its_claim(), self.is_refused()) {
            (true, _) => "ABOVE ITS CLAIM",
            (_, true) => "refused",
            _ => "",
        };
        format!(
            "{:<62} back {:>3} promoted {:>3} undecided {:>3} of {:>3} {mark}",
            self.life.name(),
            self.count(Verdict::TakenBack),
            self.count(Verdict::Promoted),
            self.count(Verdict::Undecided),
            self.runs(),
        )
    }

    pub(crate) fn figures(&self) -> serde_json::Value {
        let of = |verdict: Verdict, claim: Option<f64>| {
            let (low, high) = interval(self.count(verdict), self.runs(), ERROR);
            let rounded = |value: f64| (value * 1e4).round() / 1e4;
            json!({
                "count": self.count(verdict),
                "low": rounded(low),
                "high": rounded(high),
                "claim": claim,
            })
        };
        let first = self.ends.iter().find(|end| end.verdict != Verdict::Undecided).or(self.ends.first());
        json!({
            "cell": self.life.name(),
            "equal": self.life.candidate == Candidate::Equal,
            "runs": self.runs(),
            "taken_back": of(Verdict::TakenBack, self.life.may_be_taken_back()),
            "promoted": of(Verdict::Promoted, self.life.may_be_promoted()),
            "undecided": self.count(Verdict::Undecided),
            "refused": self.count(Verdict::Refused),
            "undecided_and_told_why":
                self.ends.iter().filter(|e| e.verdict == Verdict::Undecided && e.tells_why()).count(),
            "above_its_claim": self.is_above_its_claim(),
            "says": first.map(|end| &end.sentence),
            "note": self.ends.iter().find_map(|end| end.notes.first()),
        })
    }
}

/// Runs all of them, each so often, on as many threads; tells of each as it is done.
pub(crate) fn measure(lives: &[Life], runs: u64, threads: usize) -> Vec<Cell> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((place, life)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            lives.get(place).map(|life| (place, *life))
        } {
            let cell = Cell::measure(life, runs);
            let done = &mut *done.lock().unwrap();
            println!("{}", cell.line());
            done.push((place, cell));
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, cell)| cell).collect()
}

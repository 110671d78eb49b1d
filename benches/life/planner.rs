//! What the planner says, held against how long it then takes: the median of so many rollouts each.
//!
//! The planner knows what a service knows: what live has answered in a minute before the rollout, and how often the two versions
//! differed on the first pairs, where there are any. It says when one that is as good as live is promoted, and when one twice as far off as allowed is taken back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::median;
use crate::world::{Candidate, Circumstance, End, Figure, Foretold, Life, Routing, Sessions, Verdict};

/// A plan under one circumstance, and a candidate.
struct Planned {
    life: Life,
    /// What was said, and what came of it, in seconds, at the median of all runs; infinity for never.
    said: f64,
    took: f64,
    /// What came of a tenth of them sooner, and of nine tenths.
    tenths: (f64, f64),
    /// The share of runs that ended within what was said of them, eight times of ten, where it was.
    within: Option<f64>,
}

pub(crate) struct Planner {
    planned: Vec<Planned>,
}

fn lives(all: bool) -> Vec<Life> {
    let mut lives = Vec::new();
    for figure in Figure::ALL {
        for routing in [Routing::Shadow, Routing::Canary, Routing::Ramp] {
            for circumstance in
                [Circumstance::Quiet, Circumstance::ChanceFailures, Circumstance::DelayedLabels]
            {
                let few =
                    matches!(figure, Figure::Error | Figure::Accuracy) && circumstance == Circumstance::Quiet;
                if !circumstance.concerns(figure, routing) || !(all || few) {
                    continue;
                }
                let long = Life { seconds: 1_200, ..Life::new(figure, routing, circumstance) };
                lives.push(long.candidate(Candidate::Equal));
                // Over several steps it is seen in the one in which it is seen soonest.
                if routing != Routing::Ramp && circumstance == Circumstance::Quiet {
                    lives.push(long.candidate(Candidate::Worse(2.0)));
                }
            }
        }
    }
    let keyed = [Sessions::Ten, Sessions::HeavyTail]
        .into_iter()
        .flat_map(|sessions| [Routing::Keyed(sessions), Routing::KeyedShadow(sessions)]);
    for routing in keyed.filter(|_| all) {
        for figure in [Figure::Error, Figure::Accuracy, Figure::Rate] {
            if Circumstance::Quiet.concerns(figure, routing) {
                let long = Life { seconds: 1_200, ..Life::new(figure, routing, Circumstance::Quiet) };
                lives.extend([Candidate::Equal, Candidate::Worse(2.0)].map(|how| long.candidate(how)));
            }
        }
    }
    lives
}

impl Planner {
    pub(crate) fn measure(runs: u64, threads: usize, all: bool, wanted: impl Fn(&Life) -> bool) -> Self {
        let lives: Vec<Life> = lives(all).into_iter().filter(wanted).collect();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(life) = lives.get(next.fetch_add(1, Ordering::Relaxed)) {
                let ends: Vec<_> = (1..=runs).map(|seed| life.planned(seed)).collect();
                // A plan that is refused is not forecast either.
                if ends.iter().any(|(end, ..)| end.verdict != Verdict::Refused) {
                    done.lock().unwrap().push(Planned::of(*life, &ends));
                }
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let mut planned = done.into_inner().unwrap();
        planned.sort_by_key(|planned| planned.life.name());
        Self { planned }
    }

    pub(crate) fn tell(&self) {
        println!(
            "\n{:<48} {:>8} {:>8} {:>17} {:>6} {:>7}",
            "seconds of a plan", "said", "took", "8 of 10 took", "ratio", "within"
        );
        for planned @ Planned { life, said, took, tenths: (low, high), within } in &self.planned {
            let within = within.map_or_else(String::new, |within| format!("{within:.2}"));
            let off = if planned.off().is_some_and(|off| off > 1.25) { "OFF" } else { "" };
            println!(
                "{:<48} {said:>8.1} {took:>8.1} {low:>8.1}{high:>9.1} {:>6.2} {within:>7} {off}",
                life.name(),
                said / took
            );
        }
    }

    /// How far off the worst of those is that were decided in most of their runs, in either direction.
    pub(crate) fn worst_ratio(&self) -> Option<f64> {
        self.planned.iter().filter_map(Planned::off).max_by(f64::total_cmp)
    }

    /// The share of them that is within a quarter.
    pub(crate) fn within_a_quarter(&self) -> Option<f64> {
        let off: Vec<f64> = self.planned.iter().filter_map(Planned::off).collect();
        (!off.is_empty()).then(|| off.iter().filter(|off| **off <= 1.25).count() as f64 / off.len() as f64)
    }

    pub(crate) fn figures(&self) -> serde_json::Value {
        let figures = |planned: &Planned| {
            json!({
                "plan": planned.life.name(),
                "said_s": planned.said.is_finite().then_some(planned.said),
                "took_s": planned.took.is_finite().then_some(planned.took),
                "within_what_was_said": planned.within,
            })
        };
        self.planned.iter().map(figures).collect()
    }
}

impl Planned {
    fn of(life: Life, ends: &[(End, u64, Foretold)]) -> Self {
        let wished = if life.candidate == Candidate::Equal { Verdict::Promoted } else { Verdict::TakenBack };
        let took = |(end, seconds, _): &(End, u64, Foretold)| {
            if end.verdict == wished { *seconds as f64 } else { f64::INFINITY }
        };
        let mut sorted: Vec<f64> = ends.iter().map(took).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
        let ranges = ends.iter().filter_map(|end| Some((took(end), end.2.between?)));
        // A tick is a second.
        let inside: Vec<bool> =
            ranges.map(|(took, (low, high))| low <= took + 1.0 && took <= high + 1.0).collect();
        let share = inside.iter().filter(|inside| **inside).count() as f64 / inside.len() as f64;
        Self {
            life,
            said: median(ends.iter().map(|(.., said)| said.after.unwrap_or(f64::INFINITY))),
            took: median(ends.iter().map(took)),
            tenths: (quantile(0.1), quantile(0.9)),
            within: (!inside.is_empty()).then_some(share),
        }
    }

    fn off(&self) -> Option<f64> {
        // A tick is a second, so what takes a few is not known better.
        let (said, took) = (self.said + 1.0, self.took + 1.0);
        took.is_finite().then(|| (said / took).max(took / said))
    }
}

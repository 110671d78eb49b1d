//! How soon harm is seen, beside an oracle that knows all but whether it is there.
//!
//! The oracle is a sequential probability ratio test of the true difference against the margin, of the mean difference of two arms
//! or of pairs, which knows the variances, and how alike the requests of one user are. It errs as often as the guard may. Of its
//! requests the expected number is told, by Wald's approximation.

use serde_json::json;

use crate::cell::{Cell, measure};
use crate::world::{Candidate, Circumstance, Figure, Life, Routing, Sessions, Verdict};

/// What the guard of a rollout that is not watched afterwards may err for harm, in its first try.
const ALPHA: f64 = 0.008;

/// Requests of a session.
const SESSION: f64 = 10.0;

/// Harm of two and four margins, as a shadow, on a canary, and on users.
fn lives() -> Vec<Life> {
    let routings = [Routing::Shadow, Routing::Canary, Routing::Keyed(Sessions::Ten)];
    let mut lives = Vec::new();
    for figure in Figure::ALL {
        for routing in routings {
            // Long enough for what is hardly worse than allowed; it ends when it is seen.
            let life = Life { seconds: 480, ..Life::new(figure, routing, Circumstance::Quiet) };
            lives.extend([2.0, 4.0].map(|times| life.candidate(Candidate::Worse(times))));
        }
    }
    lives
}

/// A figure of one request: its mean beyond what is allowed, and the variances of live's and the candidate's, as they enter.
struct Excess {
    by: f64,
    variances: f64,
}

fn excess(figure: Figure, margins: f64) -> Option<Excess> {
    let rate = |p: f64| p * (1.0 - p);
    let excess = |by: f64, variances: f64| Some(Excess { by, variances });
    match figure {
        Figure::Error => {
            let own = 0.04 * (1.0 + 0.5 * margins);
            excess(own - 0.06, rate(own) + 1.5 * 1.5 * rate(0.04))
        }
        Figure::Latency => {
            // Live's p95 is known; times are 0.5 and an exponential one.
            let limit = 1.5 * (0.5 + 20.0_f64.ln());
            let own = (0.5 - limit / (1.0 + 0.5 * margins)).exp();
            excess(own - 0.05, rate(own) + rate(0.05))
        }
        Figure::Accuracy => {
            let own = 0.15 + 0.05 * margins;
            excess(own - 0.2, rate(own) + rate(0.15))
        }
        Figure::Precision => {
            // Of each version's own flags: a request is one in `0.3 / precision`.
            let flags = |precision: f64| 0.3 / precision;
            let own = 0.75 - 0.1 * margins;
            excess(0.65 - own, rate(own) / flags(own) + rate(0.75) / flags(0.75))
        }
        Figure::Bounded => {
            let (own, spread) = (4.0 - 0.5 * margins, |mean: f64| mean * mean / 3.0);
            excess(3.5 - own, spread(own) + spread(4.0))
        }
        Figure::Rate => {
            let own = 0.3 * (1.0 - 0.2 * margins);
            excess(0.24 - own, rate(own) + 0.8 * 0.8 * rate(0.3))
        }
        Figure::Unbounded => {
            let spread = |rate: f64| 200.0 * rate - 100.0 * rate * rate;
            let own = 0.2 * (1.0 - 0.2 * margins);
            excess(10.0 * (0.16 - own), spread(own) + spread(0.2))
        }
        Figure::Divergence => {
            let own = 0.05 + 0.05 * margins;
            excess(own - 0.1, rate(own))
        }
        Figure::Ranking => {
            // A hit gains .59 on average, and .40 squared.
            let spread = |hits: f64| hits * 0.4034 - (hits * 0.5897).powi(2);
            let own = 0.6 - 0.05 * margins / 0.5897;
            excess(0.05 * (margins - 1.0), spread(own) + spread(0.6))
        }
    }
}

/// Requests of the oracle, of all traffic.
fn oracle(life: &Life) -> Option<f64> {
    let Excess { by, variances } = excess(life.figure, life.candidate.worse())?;
    let pairs = (1.0 / ALPHA).ln() * 2.0 * variances / (by * by);
    match life.routing {
        Routing::Shadow => Some(pairs),
        Routing::Canary => Some(2.0 * pairs),
        // Users that are unlucky are so half of the time: two requests of one of them correlate by so much.
        Routing::Keyed(Sessions::Ten) if life.figure == Figure::Accuracy => {
            let between = |p: f64| p / 2.0 - p * p;
            let within = |p: f64| p / 2.0;
            let own = 0.15 + 0.05 * life.candidate.worse();
            let of_users = between(own) + between(0.15) + (within(own) + within(0.15)) / SESSION;
            let pairs = (1.0 / ALPHA).ln() * 2.0 * of_users / (by * by);
            Some(2.0 * SESSION * pairs)
        }
        _ => None,
    }
}

/// How soon each harm is seen.
pub(crate) struct Power {
    cells: Vec<Cell>,
}

impl Power {
    pub(crate) fn measure(runs: u64, threads: usize, wanted: impl Fn(&Life) -> bool) -> Self {
        let lives: Vec<Life> = lives().into_iter().filter(wanted).collect();
        Self { cells: measure(&lives, runs, threads) }
    }

    fn of_cell(cell: &Cell) -> Option<(f64, f64)> {
        let oracle = oracle(&cell.life)?;
        // The median of all runs, which is known where most are decided.
        let known = cell.count(Verdict::TakenBack) * 2 > cell.runs();
        known.then(|| (cell.requests_until_taken_back(), oracle))
    }

    /// With sessions of ten: times the requests of the best test that knows how alike those of a user are.
    pub(crate) fn keyed_cost_ratio(&self) -> Option<f64> {
        let of = |cell: &&Cell| {
            cell.life.routing == Routing::Keyed(Sessions::Ten) && cell.life.figure == Figure::Accuracy
        };
        let ratios = self.cells.iter().filter(of).filter_map(Self::of_cell);
        ratios.map(|(own, oracle)| own / oracle).max_by(f64::total_cmp)
    }

    pub(crate) fn tell(&self) {
        println!("\n{:<62} {:>10} {:>10} {:>7}", "requests until harm is seen", "median", "oracle", "ratio");
        for cell in &self.cells {
            if let Some((own, oracle)) = Self::of_cell(cell) {
                println!("{:<62} {own:>10.0} {oracle:>10.0} {:>7.2}", cell.life.name(), own / oracle);
            }
        }
    }

    pub(crate) fn figures(&self) -> serde_json::Value {
        let figures = |cell: &Cell| {
            json!({
                "cell": cell.life.name(),
                "runs": cell.runs(),
                "taken_back": cell.count(Verdict::TakenBack),
                "promoted": cell.count(Verdict::Promoted),
                "requests": Self::of_cell(cell).map(|(own, _)| own),
                "oracle": oracle(&cell.life).map(f64::round),
            })
        };
        self.cells.iter().map(figures).collect()
    }
}

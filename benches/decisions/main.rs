//! Whether decisions are as good as they say: false alarms and power of every sequential test, beside what people use
//! today, on the same simulated traffic.
//!
//! `cargo bench --bench decisions`, and `-- --quick` for a short figure; `-- --seed N` for other traffic,
//! `-- --strata` for whether what is known before the answer makes decisions sooner, alone. Everything
//! follows from the seed. A test is looked at after every unit: what cannot have changed its mind is not computed, which
//! changes nothing but the time it takes.
//!
//! Ends with an error where a test raises more false alarms than it may by chance, where its e-values are more than 1 on
//! average, where it never sees anything, and where what must fail does not. A goal that is missed is printed.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod controls;
mod evaluators;
mod goals;
mod mcnemar;
mod peers;
mod picture;
mod rollouts;
mod several;
mod simulation;
mod strata;
mod streams;
#[expect(clippy::disallowed_methods, reason = "other benches measure real time")]
#[path = "../support/mod.rs"]
mod support;
mod table;
mod trial;

use controls::controls;
use goals::{Elsewhere, Goals};
use several::{coverage, discoveries, elimination, run_lengths};
use support::{Outcome, Report, quick};
use table::{Row, Table};
use trial::largest_by_chance;

/// The error that tests are held to.
const ALPHA: f64 = 0.05;

fn main() -> Outcome {
    let bench = Bench::new()?;
    if std::env::args().any(|argument| argument == "--strata") {
        let mut checks = Checks::default();
        strata::strata(&bench, &mut checks);
        return checks.finish();
    }
    let mut report = Report::with_tables_of_its_own("decisions");
    println!("seed {}", bench.seed);
    let mut checks = Checks::default();
    mcnemar::check(&mut checks);

    let rows = Table::new(&bench, &mut checks).measure();
    early_excess_of(&rows, &mut checks);
    let several =
        [discoveries(&bench, &mut checks), elimination(&bench, &mut checks), coverage(&bench, &mut checks)];
    let several = several.into_iter().fold(0.0, f64::max);
    let run_length = run_lengths(&bench, &mut checks);
    controls(&bench, &mut checks);
    let worst = |which: fn(&Row) -> bool| worst_of(&rows, which).max(several);
    let elsewhere = Elsewhere {
        false_alarms: worst(|_| true),
        false_alarms_exact: worst(|row| row.exact),
        shortest_run_length: run_length,
    };
    Goals::new(&bench, &mut checks).measure(&elsewhere);
    rollouts::five_guards(&bench, &mut checks);
    strata::strata(&bench, &mut checks);

    picture::draw(&rows, &report.path("svg")?)?;
    report.figure("alpha", ALPHA);
    report.figure("runs", bench.runs as f64);
    report.figure("seed", bench.seed as f64);
    checks.figures.iter().for_each(|(key, value)| report.figure(key, *value));
    report.finish()?;
    checks.finish()
}

/// The most false alarms of those tests of ours that are held to the common error.
fn worst_of(rows: &[Row], which: fn(&Row) -> bool) -> f64 {
    let held = rows.iter().filter(|row| row.claim.is_some() && row.alpha == ALPHA && which(row));
    held.map(Row::worst).fold(0.0, f64::max)
}

/// How far the means of early e-values are above 1 where they are so most; at the margin they may be 1 and no more.
fn early_excess_of(rows: &[Row], checks: &mut Checks) {
    let excess = rows.iter().flat_map(|row| row.cells.values()).filter_map(|cell| cell.excess);
    let worst = excess.fold(f64::NEG_INFINITY, f64::max);
    println!("\nThe mean of early e-values exceeds 1 by {worst:.2} standard errors at most (3 are allowed)");
    checks.figure("early_e_values_excess_standard_errors".to_owned(), worst);
}

/// How much is simulated.
struct Bench {
    seed: u64,
    quick: bool,
    /// Runs at the margin.
    runs: usize,
    /// Runs where the claim holds.
    power_runs: usize,
}

impl Bench {
    fn new() -> Outcome<Self> {
        let mut told = std::env::args().skip_while(|argument| argument != "--seed").skip(1);
        let seed = told.next().map_or(Ok(1), |seed| seed.parse())?;
        let quick = quick();
        let (runs, power_runs) = if quick { (2_000, 100) } else { (10_000, 1_000) };
        Ok(Self { seed, quick, runs, power_runs })
    }

    /// How many units a run has at the margin, of so many in a full figure.
    fn units(&self, full: usize) -> usize {
        if self.quick { full / 4 } else { full }
    }
}

/// What must hold and does not, and the figures.
#[derive(Default)]
struct Checks {
    broken: Vec<String>,
    figures: Vec<(String, f64)>,
}

impl Checks {
    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let what = what();
            println!("BROKEN: {what}");
            self.broken.push(what);
        }
    }

    fn figure(&mut self, key: String, value: f64) {
        self.figures.push((key, value));
    }

    /// Something that must raise more false alarms than `alpha`, by more than chance.
    fn control(&mut self, what: &str, key: &str, share: f64, alpha: f64, runs: usize) {
        let fails = share > largest_by_chance(alpha, runs);
        let verdict = if fails { "fails, as it must" } else { "HOLDS" };
        println!("    {what:<72} {share:.4}  {verdict}");
        self.figure(format!("control_{key}_false_alarms"), share);
        self.hold(fails, || format!("{what}: {share:.4} false alarms, and it must fail"));
    }

    /// What is to be done instead, which must hold.
    fn remedy(&mut self, what: &str, key: &str, share: f64, alpha: f64, runs: usize) {
        let holds = share <= largest_by_chance(alpha, runs);
        println!("        {what:<68} {share:.4}  {}", if holds { "holds" } else { "FAILS" });
        self.figure(format!("remedy_{key}_false_alarms"), share);
        self.hold(holds, || format!("{what}: {share:.4} false alarms"));
    }

    fn finish(self) -> Outcome {
        if self.broken.is_empty() {
            return Ok(());
        }
        Err(format!("{} things do not hold:\n{}", self.broken.len(), self.broken.join("\n")).into())
    }
}

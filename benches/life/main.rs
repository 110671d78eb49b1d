//! Whether evidence holds in ordinary life: whole rollouts through the public API, in the circumstances that services meet.
//!
//! `cargo bench --bench life` runs each cell of the matrix 400 times, which takes hours; `-- --quick` runs a few of them 20 times,
//! in under a minute. `-- --cell NAME` runs those whose name contains it, `-- --part matrix`, `pairs` (of circumstances that meet; `--pairs N`
//! of them, drawn), `watch` (of equal ones after their promotion), `absolute` (of limits that hold whatever live does), `segments`, `power`, `planner` or `onset` one of its parts, `-- --runs N` another number of runs, `-- --threads N` on
//! another number of threads than 2. Everything follows from the seeds.
//!
//! Equal versions must be taken back, and versions at their margin be taken back or promoted, no more often than is claimed. A cell
//! is above its claim where the lower end of the 99 % interval of Clopper and Pearson is. Ends with an error where one is.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod cell;
mod intervals;
mod matrix;
mod onset;
mod planner;
mod power;
#[expect(clippy::disallowed_methods, reason = "other benches measure real time")]
#[path = "../support/mod.rs"]
mod support;
mod world;

use serde_json::json;

use cell::{Cell, measure};
use onset::Onsets;
use planner::Planner;
use power::Power;
use support::{Outcome, Report, quick};
use world::Life;

fn main() -> Outcome {
    intervals::check();
    let asked = Asked::new()?;
    let mut report = Report::with_tables_of_its_own("life");
    let wanted = |life: &Life| life.name().contains(&asked.cell);
    let all = if quick() && asked.cell.is_empty() { matrix::quick() } else { matrix::matrix() };
    let part = |name: &str| asked.part.is_empty() || asked.part == name;
    let lives: Vec<Life> = all.into_iter().filter(|life| part("matrix") && wanted(life)).collect();
    // Of the pairs a hundred are as many as the matrix can wait for.
    let pairs = matrix::pairs(if quick() { 2 } else { asked.pairs });
    let pairs = pairs.into_iter().filter(|life| part("pairs") && wanted(life));
    let watched = matrix::watched().into_iter().filter(|life| part("watch") && wanted(life));
    let watched = watched.take(if quick() && asked.cell.is_empty() { 2 } else { usize::MAX });
    let absolute = matrix::absolute().into_iter().filter(|life| part("absolute") && wanted(life));
    let absolute = absolute.take(if quick() && asked.cell.is_empty() { 2 } else { usize::MAX });
    let segments = matrix::by_segment().into_iter().filter(|life| part("segments") && wanted(life));
    let segments = segments.take(if quick() && asked.cell.is_empty() { 2 } else { usize::MAX });
    let more = pairs.chain(watched).chain(absolute).chain(segments);
    let lives: Vec<Life> = lives.into_iter().chain(more).collect();
    let cells = measure(&lives, asked.runs, asked.threads);
    let power = Power::measure(asked.runs.min(200), asked.threads, |life| {
        part("power")
            && wanted(life)
            && (!quick() || !asked.cell.is_empty() || matrix::is_of_interest_at_once(life))
    });
    power.tell();
    let planner =
        Planner::measure(asked.planned, asked.threads, !quick() || !asked.cell.is_empty(), |life| {
            part("planner") && wanted(life)
        });
    planner.tell();
    let onsets = Onsets::measure(asked.runs.min(if quick() { 5 } else { 100 }), asked.threads, |name| {
        part("onset") && name.contains(&asked.cell)
    });
    onsets.tell();

    let above: Vec<&Cell> = cells.iter().filter(|cell| cell.is_above_its_claim()).collect();
    let silent: Vec<&Cell> = cells.iter().filter(|cell| cell.has_no_verdict_and_says_why()).collect();
    let worst = |of: fn(&Cell) -> Option<f64>| cells.iter().filter_map(of).fold(0.0, f64::max);
    report.figure("runs", asked.runs as f64);
    report.figure("cells", cells.len() as f64);
    report.figure("cells_above_claim", above.len() as f64);
    report.figure("cells_refused", silent.len() as f64);
    report.figure("worst_false_rollback", worst(Cell::false_rollback));
    report.figure("worst_wrong_promotion", worst(Cell::wrong_promotion));
    if let Some(ratio) = power.keyed_cost_ratio() {
        report.figure("keyed_cost_ratio", ratio);
    }
    if let (Some(worst), Some(near)) = (planner.worst_ratio(), planner.within_a_quarter()) {
        report.figure("planner_worst_ratio", worst);
        report.figure("planner_within_a_quarter", near);
    }
    if let Some(ratio) = onsets.worst_ratio() {
        report.figure("late_onset_ratio", ratio);
    }
    let sentence = |cell: &&Cell| json!({ "cell": cell.life.name(), "at_once": cell.is_refused(), "sentence": cell.sentence() });
    report.details("refused", silent.iter().map(sentence).collect());
    report.details("above_claim", above.iter().map(|cell| cell.life.name()).collect());
    let unheard: Vec<String> =
        cells.iter().filter(|cell| cell.is_undecided_without_a_word()).map(|cell| cell.life.name()).collect();
    report.figure("cells_undecided_without_a_word", unheard.len() as f64);
    report.details("undecided_without_a_word", unheard.into());
    report.details("matrix", cells.iter().map(Cell::figures).collect());
    report.details("power", power.figures());
    report.details("planner", planner.figures());
    report.details("late_onset", onsets.figures());
    println!(
        "\n{} of {} cells are above their claim, {} have no verdict",
        above.len(),
        cells.len(),
        silent.len()
    );
    report.finish()?;
    if above.is_empty() { Ok(()) } else { Err("cells are above their claim".into()) }
}

/// What is asked for on the command line.
struct Asked {
    /// What the names of cells must contain.
    cell: String,
    /// `matrix`, `pairs`, `watch`, `absolute`, `segments`, `power`, `planner` or `onset`; all of them where it is empty.
    part: String,
    /// Pairs of circumstances.
    pairs: usize,
    runs: u64,
    /// Runs of each plan: those that are asked for, else 20.
    planned: u64,
    threads: usize,
}

impl Asked {
    fn new() -> Outcome<Self> {
        let arguments: Vec<String> = std::env::args().collect();
        let after = |name: &str| {
            let mut rest = arguments.iter().skip_while(|argument| *argument != name).skip(1);
            rest.next().cloned()
        };
        let runs = if quick() { 20 } else { 400 };
        let given: Option<u64> = after("--runs").map(|told| told.parse()).transpose()?;
        Ok(Self {
            cell: after("--cell").unwrap_or_default(),
            part: after("--part").unwrap_or_default(),
            pairs: after("--pairs").map_or(Ok(100), |told| told.parse())?,
            runs: given.unwrap_or(runs),
            planned: given.unwrap_or(20),
            threads: after("--threads").map_or(Ok(2), |told| told.parse())?,
        })
    }
}

//! What is felt of what goes wrong: candidates that hang, those who look, disks that fail, kills.
//!
//! `cargo bench --bench contained`, and `-- --quick` for a short figure; `-- --part hung`, `lowering` or `stress` for one alone.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

#[path = "../support/mod.rs"]
mod support;

mod hung;
mod stress;

use std::time::Duration;

use support::{Outcome, Report, quick};

fn main() -> Outcome {
    if stress::is_child()? {
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().collect();
    let part =
        arguments.iter().position(|argument| argument == "--part").and_then(|at| arguments.get(at + 1));
    let wants = |name: &str| part.is_none_or(|part| part == name);
    let mut report = Report::new("contained");
    if wants("hung") {
        hung::hung(&mut report, if quick() { 30 } else { 300 })?;
    }
    if wants("lowering") {
        support::lowering::lowering(&mut report, if quick() { 1_000 } else { 5_000 })?;
    }
    if wants("stress") {
        stress::stress(&mut report, Duration::from_secs(if quick() { 30 } else { 600 }))?;
    }
    report.finish()
}

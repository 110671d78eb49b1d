//! What is felt of a candidate that hangs, of those who look, of a disk that fails.
//!
//! `cargo bench --bench contained`, and `-- --quick` for a short figure.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

#[path = "../support/mod.rs"]
mod support;

use support::{Outcome, Report, quick};

fn main() -> Outcome {
    let mut report = Report::new("contained");
    support::lowering::lowering(&mut report, if quick() { 1_000 } else { 5_000 })?;
    report.finish()
}

//! How cost grows: with versions, candidates, threads, features, outcomes, windows, keys and waiting copies.
//!
//! `cargo bench --bench growth`, and `-- --quick` for a short figure. One table: what grows, what is measured at each
//! size, and the law that the figures follow, found by least squares (`law`). Bytes are those that the library has
//! allocated, without the models', which here have none.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

#[path = "../support/mod.rs"]
mod support;

mod evidence;
mod law;
mod requests;

use std::time::Instant;

use support::{Outcome, Report, median, quick};
use switchback::{ModelHandle, Rollout, model::ModelError};

use law::{Law, Short};

type Handle = ModelHandle<f64, f64>;
type Candidate = Rollout<f64, f64>;

fn main() -> Outcome {
    let mut table = Table::new();
    requests::versions(&mut table)?;
    requests::candidates(&mut table)?;
    requests::threads(&mut table)?;
    requests::features(&mut table)?;
    evidence::unanswered(&mut table)?;
    evidence::outcomes(&mut table)?;
    evidence::silence(&mut table)?;
    evidence::windows(&mut table)?;
    evidence::keys(&mut table)?;
    evidence::copies(&mut table)?;
    table.report.finish()
}

/// A model that does nothing.
fn answer(input: &f64) -> Result<f64, ModelError> {
    Ok(*input)
}

/// The table as it grows: a row for each cost.
struct Table {
    report: Report,
}

impl Table {
    fn new() -> Self {
        let report = Report::with_tables_of_its_own("growth");
        println!("{:<44} {:<26} {:<58} law", "what grows", "cost", "at each size");
        Self { report }
    }

    /// Measures several costs at each size: one row for each, named `(what it is, key)`.
    fn rows<const COSTS: usize>(
        &mut self,
        grows: &str,
        key: &str,
        costs: [(&str, &str); COSTS],
        sizes: &[usize],
        mut measure: impl FnMut(usize) -> Outcome<[f64; COSTS]>,
    ) -> Outcome {
        let at = |size: &usize| (*size as f64, f64::INFINITY);
        let mut rows = vec![sizes.iter().map(at).collect::<Vec<_>>(); COSTS];
        for round in 0..effort(5, 2) {
            for step in 0..sizes.len() {
                let place = if round % 2 == 0 { step } else { sizes.len() - 1 - step };
                let measured = measure(sizes[place])?;
                // The median of bursts within a moment, and the lowest of the moments: they lie seconds apart, and what
                // else the machine does in one of them is no growth.
                rows.iter_mut().zip(measured).for_each(|(row, cost)| row[place].1 = row[place].1.min(cost));
            }
        }
        let from_to = format!("{grows}, {} to {}", sizes[0], sizes[sizes.len() - 1]);
        for ((cost, unit), points) in costs.iter().zip(rows) {
            let law = Law::of(&points);
            let figures: Vec<String> = points.iter().map(|(_, cost)| Short(*cost).to_string()).collect();
            println!("{from_to:<44} {:<26} {:<58} {law}", format!("{cost}, {unit}"), figures.join("  "));
            let name = cost.replace([' ', '(', ')'], "_");
            for (size, cost) in &points {
                self.report.figure(&format!("{key}_{name}_at_{size}_{unit}"), *cost);
            }
            self.report.figure(&format!("{key}_{name}_growth_{unit}"), law.factor);
        }
        Ok(())
    }
}

/// One of two sizes of effort.
fn effort(full: usize, short: usize) -> usize {
    if quick() { short } else { full }
}

/// Nanoseconds of a call: the median of many short bursts.
fn nanos(mut call: impl FnMut()) -> f64 {
    const BURST: u32 = 200;
    (0..BURST).for_each(|_| call());
    median((0..effort(2_000, 200)).map(|_| {
        let started = Instant::now();
        (0..BURST).for_each(|_| call());
        started.elapsed().as_nanos() as f64 / f64::from(BURST)
    }))
}

/// Microseconds of something slow, after `before` each time.
fn micros(mut before: impl FnMut(), mut call: impl FnMut()) -> f64 {
    median((0..effort(100, 20)).map(|_| {
        before();
        let started = Instant::now();
        call();
        started.elapsed().as_nanos() as f64 / 1e3
    }))
}

/// Microseconds of a tick after a hundred requests.
fn tick(handle: &Handle) -> f64 {
    micros(|| ask(handle, 100), || handle.tick())
}

fn ask(handle: &Handle, requests: usize) {
    (0..requests).for_each(|number| _ = handle.predict(&(number as f64 / requests as f64)).unwrap());
}

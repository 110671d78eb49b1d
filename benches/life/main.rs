//! Whether evidence holds in ordinary life: whole rollouts through the public API, in the circumstances that services meet.
//!
//! `cargo bench --bench life` for the whole matrix, `-- --quick` for a few cells in under a minute, `-- --cell NAME` for those
//! whose name contains it, `-- --runs N` for another number of runs of each.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod world;

use world::{Circumstance, Figure, Life, Routing, Verdict};

fn main() {
    let started = std::time::Instant::now();
    let told: Vec<String> = std::env::args().collect();
    let after = |name: &str| told.iter().skip_while(|a| *a != name).nth(1).cloned();
    let cell = after("--cell").unwrap_or_default();
    let count: u64 = after("--runs").map_or(20, |n| n.parse().unwrap());
    for figure in Figure::ALL {
        for routing in Routing::ALL {
            for circumstance in Circumstance::ALL.into_iter().filter(|c| c.concerns(figure, routing)) {
                for candidate in [world::Candidate::Equal, world::Candidate::AtTheMargin] {
                    let life = Life::new(figure, routing, circumstance).candidate(candidate);
                    if !life.name().contains(&cell) {
                        continue;
                    }
                    let began = started.elapsed();
                    let ends = life.runs(0..count);
                    let of = |v: Verdict| ends.iter().filter(|e| e.verdict == v).count();
                    println!(
                        "{:<60} back {:>3} promoted {:>3} undecided {:>3} refused {:>3} of {count} {:.1} ms  {}",
                        life.name(),
                        of(Verdict::TakenBack),
                        of(Verdict::Promoted),
                        of(Verdict::Undecided),
                        of(Verdict::Refused),
                        (started.elapsed() - began).as_secs_f64() * 1e3 / count as f64,
                        ends[0].sentence,
                    );
                }
            }
        }
    }
}

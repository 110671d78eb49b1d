//! The tests that share a process: a folder for each room of `src/` and, in it, a file for each topic. What needs a
//! process of its own is in `tests/processes`, what counts allocations in `tests/heap.rs`, what runs in every
//! interleaving in `tests/loom.rs`.
//!
//! One process for all, because what tests cost is mostly compiling and linking the library once more for each binary.
//! So a test here starts no process, sets no variable, and asserts nothing of what the whole process has: threads,
//! memory, open files. What takes more than some seconds is `#[ignore = "long: .."]` and runs in a step of `.ci/nightly`:
//!
//! ```text
//! cargo test --test suite -- --ignored
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "onnx", feature = "drift"))]
#[path = "../../examples/flights/mod.rs"]
mod flights;

#[path = "../../examples/periods/mod.rs"]
mod by_periods;

#[path = "../../benches/life/world/mod.rs"]
mod world;

#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "tokio")]
mod asynchronous;
mod contained;
mod dashboards;
#[cfg(feature = "drift")]
mod drift;
mod life;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "oip")]
mod oip;
mod operator;
mod readme;
#[cfg(feature = "report")]
mod report;
mod simulation;
mod testing;
#[cfg(feature = "tracing")]
mod tracing;

mod fleet {
    #[cfg(feature = "fleet")]
    mod agreed;
    #[cfg(feature = "fleet-bucket")]
    mod bucket;
    #[cfg(feature = "fleet")]
    mod ends;
    #[cfg(feature = "fleet")]
    #[path = "../../../benches/fleet/line.rs"]
    mod line;
    #[cfg(feature = "fleet")]
    mod members;
    #[cfg(feature = "fleet")]
    mod operator;
    #[cfg(feature = "fleet")]
    mod outcomes;
    #[cfg(feature = "fleet-postgres")]
    mod postgres;
    #[cfg(all(feature = "fleet", feature = "onnx", feature = "repository"))]
    mod versions;
}

mod handle {
    mod dropping;
    mod pins;
    mod retaining;
    mod switching;
    mod verbs;
}

mod control {
    mod events;
}

mod rollout {
    mod affected;
    mod allocation;
    mod decisions;
    mod moves;
    #[cfg(feature = "forecast")]
    mod planning;
    mod watching;
}

mod request {
    mod answering;
    mod keys;
    mod lease_and_breaker;
    mod shadowing;
}

#[cfg(feature = "repository")]
mod repository {
    #[cfg(feature = "bucket")]
    mod bucket;
    #[cfg(feature = "onnx")]
    mod contract;
    mod elsewhere;
    mod folders;
    #[cfg(feature = "onnx")]
    mod following;
    mod manifests;
    mod publishing;
    mod pulling;
    #[cfg(all(feature = "onnx", feature = "state"))]
    mod served;
}

mod feedback {
    mod joining;
    mod truth;
}

mod version {
    mod tiers;
}

mod stats {
    mod sequential;
}

#[cfg(feature = "state")]
mod state {
    mod changed_labels;
    mod remembering;
    mod starting_again;
}

#[cfg(feature = "onnx")]
mod model {
    #[cfg(feature = "drift")]
    mod examples;
    mod onnx;
    mod ordinary;
    mod prepared;
}

mod task {
    mod segments;
}

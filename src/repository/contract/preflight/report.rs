//! The report of a preflight.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::warm_up::{Timing, WarmUpOutcome};

/// The report of a preflight: what it did and measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PreflightReport {
    /// Name and version of the pipeline.
    pub pipeline: Option<String>,
    /// How many golden samples were asked.
    pub samples: usize,
    /// How many pinned tensors were compared, of inputs and of outputs.
    pub pins: usize,
    /// How many recent inputs were asked.
    pub recent: usize,
    /// How the model became warm; nothing where no request was answered.
    pub warm_up: Option<WarmUpOutcome>,
    /// The time that a request takes when it is warm; nothing where none was answered.
    pub timing: Option<Timing>,
    /// The time that a request may take; nothing where no budget was given.
    pub latency_budget: Option<Duration>,
    /// The size of the model's files.
    pub file_bytes: u64,
    /// By how much the process grew while the model was loaded and run, in bytes. Approximate: other threads count too,
    /// and memory that was free before does not.
    pub growth: Option<u64>,
    /// The memory that it may take; nothing where no budget was given.
    pub memory_budget: Option<u64>,
    /// The checks that could not be made, a sentence each.
    pub notes: Vec<String>,
}

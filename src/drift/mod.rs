//! Drift.

pub mod detect;

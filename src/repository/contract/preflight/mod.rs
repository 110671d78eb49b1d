//! Preflight: a version is tried before it gets any traffic.

pub(crate) mod checked;
pub(crate) mod failure;
pub(crate) mod preflight;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod tensors;
pub(crate) mod warm_up;

pub use checked::Checked;
pub use failure::{Asked, PreflightError, PreflightFailure};
pub use report::PreflightReport;
pub use warm_up::{Timing, WarmUp, WarmUpOutcome};

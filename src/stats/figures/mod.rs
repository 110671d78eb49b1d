//! Figures of one arm.

pub(crate) mod divergence;
pub(crate) mod fixed;
pub(crate) mod kpi;
pub(crate) mod latency;
pub(crate) mod latency_limit;
pub(crate) mod quality;
pub(crate) mod rolling;
pub(crate) mod sparse;
pub(crate) mod tally;

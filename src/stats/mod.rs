//! The figures of an arm: what is counted of its requests and outcomes, over which windows, and what that comes to.
//!
//! Everything that is counted is an integer, or a sum in fixed point, and only ever added to. So the figures of stripes,
//! of slots of a window and of processes merge in any order into the same, bit for bit.

pub(crate) mod divergence;
pub(crate) mod evidence;
pub(crate) mod exposure;
pub(crate) mod intake;
pub(crate) mod quality;
pub mod sequential;
pub(crate) mod tally;
pub(crate) mod window;

pub(crate) mod fixed;

mod counts;
mod kpi;
pub(crate) mod latency;

pub use divergence::DivergenceFigures;
pub use evidence::ledger::{Cohort, Coverage};
pub use evidence::segment::{SegmentArm, SegmentFigures};
pub use kpi::KpiFigures;
pub use latency::LatencyFigures;
pub use quality::{
    Better, BinaryFigures, CalibrationBin, ClassFigures, ClassesFigures, ConfusionCell, Measured, Metric,
    QualityFigures, RankingFigures, RegressionFigures,
};
pub use tally::{ArmFigures, ScoreFigures};
pub use window::{Window, WindowConfig};

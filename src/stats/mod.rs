//! The figures of an arm: what is counted of its requests and outcomes, over which windows, and what that comes to.
//!
//! Everything that is counted is an integer, or a sum in fixed point, and only ever added to. So the figures of stripes,
//! of slots of a window and of processes merge in any order into the same, bit for bit.

pub(crate) mod counting;
pub(crate) mod elementwise;
pub(crate) mod evidence;
pub(crate) mod figures;
pub mod sequential;

pub use elementwise::elementwise;
pub use evidence::ledger::{Cohort, Coverage};
pub use evidence::segment::{SegmentArm, SegmentFigures};
pub use figures::divergence::DivergenceFigures;
pub use figures::kpi::KpiFigures;
pub use figures::latency::LatencyFigures;
pub use figures::quality::QualityFigures;
pub use figures::quality::binary::BinaryFigures;
pub use figures::quality::calibration::CalibrationBin;
pub use figures::quality::classes::{ClassFigures, ClassesFigures, ConfusionCell};
pub use figures::quality::metric::{Better, Measured, Metric};
pub use figures::quality::ranking::RankingFigures;
pub use figures::quality::regression::RegressionFigures;
pub use figures::rolling::{Window, WindowConfig};
pub use figures::tally::{ArmFigures, ScoreFigures};

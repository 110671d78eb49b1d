//! The figures of a service's models, as data: names, kinds, labels and values, for whoever renders them.
//!
//! One [table](DESCRIBED) says what there is; every renderer and every document is made from it. Names follow Prometheus:
//! base units, `_total` for what only grows. Labels are `model`, the handle's name, and what the table says; never a key, an
//! id, a tensor or a reason, so that their number is bounded: by the versions that are loaded and those that were on trial
//! within the last hour, by the first 16 guards of a rollout, in the order in which it was given them, and by the features that
//! drift. What further guards say is in the [status](crate::status::RolloutStatus::evidence).
//!
//! What only grows is of this process and begins at 0 with it, as whoever computes rates expects. Evidence goes on after a
//! start, and is a gauge.

pub(crate) mod family;
pub(crate) mod measured;
pub(crate) mod table;

pub use family::{Described, Family, FigureKind, FigureValue, HistogramBucket, Sample, Unit};
pub use table::DESCRIBED;

use super::operator::Operator;
use measured::Measured;

/// Returns what is measured of a handle. Families of which there is no sample are left out. Some 30 microseconds for each
/// version that is loaded. Those of several handles are [`Operators::figures`](super::Operators::figures): two of one name
/// would be one series twice.
pub fn of(operator: &Operator) -> Vec<Family> {
    families(&[operator.measured()])
}

pub(crate) fn families(measured: &[Measured]) -> Vec<Family> {
    let families = DESCRIBED.iter().map(|described| family::family(described, measured));
    families.filter(|family| !family.samples.is_empty()).collect()
}

//! A fleet, looked at and operated from outside of its processes: by a person in a shell, or by a job.

pub(crate) mod audit;
pub(crate) mod decisions;
pub(crate) mod error;
pub(crate) mod fleet_operator;
pub(crate) mod overview;
mod reach;
pub(crate) mod repair;
pub(crate) mod sweep;

pub use audit::{FleetAudit, FleetFinding};
pub use decisions::FleetDecision;
pub use error::FleetError;
pub use fleet_operator::FleetOperator;
pub use overview::FleetOverview;
pub use repair::FleetRepair;
pub use sweep::{FleetFault, FleetLeftover, FleetSweep};

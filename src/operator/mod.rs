//! A handle without its types: one thing to hold all models of a service, to operate them and to see what they do.
//!
//! A [`ModelHandle`](crate::ModelHandle) knows what it is asked and what it answers; whoever shows, scrapes or operates it
//! does not. An [`Operator`] looks at a handle, moves its rollouts by name, and ends it; asking, staging and trying are code of
//! whoever has the types. [`Operators`] are those of a service. [`figures`] is what is measured of them, as data.
//!
//! ```
//! use switchback::operator::Operators;
//! # use switchback::{ModelHandle, closure};
//! # use switchback::options::Threads;
//! # let late = ModelHandle::builder("late").live("v1", closure("mean@1", |x: &[f32]| Ok(f64::from(x[0])))).threads(Threads::manual()).build()?;
//! # let fraud = ModelHandle::builder("fraud").live("v7", closure("rules@7", |x: &u64| Ok(*x > 3))).threads(Threads::manual()).build()?;
//! let models = Operators::new([late.operator(), fraud.operator()])?;
//! let late = models.get("late").ok_or("there is no such model")?;
//! assert_eq!(late.status().live, "v1");
//! late.acting_as("ada").freeze("quarter end");
//! assert!(models.figures().iter().any(|family| family.name == "switchback_requests_total"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the feature `fleet`, `FleetOperator` looks at a fleet and operates it in its store, from outside of its processes.
//!
//! **Whoever only looks holds it weakly** ([`Operator::downgrade`]): an exporter in a global registry would keep the threads
//! and the weights of a handle until the process ends.

pub mod figures;
#[cfg(feature = "fleet")]
pub(crate) mod fleet;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod operated;
pub(crate) mod operator;
pub(crate) mod operators;
#[cfg(feature = "prometheus")]
pub(crate) mod prometheus;

#[cfg(feature = "fleet")]
pub use fleet::{
    FleetAudit, FleetDecision, FleetError, FleetFault, FleetFinding, FleetLeftover, FleetOperator,
    FleetOverview, FleetRepair, FleetSweep,
};
pub use operated::OperatorError;
pub use operator::{Operator, WeakOperator};
pub use operators::{NameTakenError, Operators, WeakOperators};
#[cfg(feature = "prometheus")]
pub use prometheus::{FiguresPage, Prometheus};
#[cfg(feature = "prometheus")]
pub use prometheus_client;

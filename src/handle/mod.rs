//! The things that a host holds, and what its clones share.

#[cfg(feature = "tokio")]
pub(crate) mod aside;
#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
pub(crate) mod beside;
pub(crate) mod build_error;
pub(crate) mod builder;
pub(crate) mod changeable;
pub(crate) mod chores;
#[cfg(feature = "config")]
pub mod config;
pub(crate) mod core;
#[cfg_attr(not(feature = "drift"), path = "drift_absent.rs")]
pub(crate) mod drift;
#[cfg_attr(not(feature = "fleet"), path = "fleet_absent.rs")]
pub(crate) mod fleet;
#[cfg(all(feature = "onnx", feature = "repository"))]
pub(crate) mod follow;
#[cfg_attr(not(feature = "forecast"), path = "forecast_absent.rs")]
pub(crate) mod forecast;
pub(crate) mod handle;
#[cfg_attr(not(feature = "state"), path = "keeper_stateless.rs")]
pub(crate) mod keeper;
pub(crate) mod loader;
pub mod options;
pub(crate) mod pinned;
pub(crate) mod pool;
pub(crate) mod reconfigure;
#[cfg(feature = "state")]
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod rollout;
pub(crate) mod staging;
#[cfg(feature = "state")]
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod supervised;
#[cfg_attr(not(feature = "tracing"), path = "traces_absent.rs")]
pub(crate) mod traces;
#[cfg_attr(not(feature = "state"), path = "turn_stateless.rs")]
pub(crate) mod turn;
pub(crate) mod upkeep;
pub(crate) mod workers;

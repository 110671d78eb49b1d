//! What is decided of a rollout, as pure functions of what was seen: plans, transitions, errors, guards, forecasts.

pub(crate) mod allocation;
pub(crate) mod auto;
pub(crate) mod budget;
pub(crate) mod course;
pub(crate) mod decision;
pub(crate) mod forecast;
pub mod guard;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod transition;

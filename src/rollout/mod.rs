//! What is decided of a rollout, as pure functions of what was seen: plans, transitions, errors, guards, forecasts.

pub(crate) mod allocation;
#[cfg(feature = "forecast")]
pub(crate) mod auto;
pub(crate) mod budget;
#[cfg_attr(not(feature = "report"), path = "course_absent.rs")]
pub(crate) mod course;
pub(crate) mod decision;
#[cfg(feature = "forecast")]
pub(crate) mod forecast;
pub mod guard;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod transition;

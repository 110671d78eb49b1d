//! The control side: rare, may lock, writes the routing table.

pub mod guard;
pub(crate) mod keeping;
pub(crate) mod loading;

#[cfg(feature = "state")]
pub(crate) mod adopt;
pub(crate) mod allocation;
pub(crate) mod alpha;
pub(crate) mod attempt;
pub(crate) mod auto;
pub(crate) mod carry_out;
pub(crate) mod collect;
pub(crate) mod controller;
pub(crate) mod course;
pub(crate) mod decision;
pub(crate) mod drifted;
pub(crate) mod event;
pub(crate) mod forecast;
pub(crate) mod phase;
pub(crate) mod pins;
pub(crate) mod plan;
pub(crate) mod rollout;
#[cfg(feature = "state")]
pub(crate) mod saved;

mod counter;
mod divide;
mod table;

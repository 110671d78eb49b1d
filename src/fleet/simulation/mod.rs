//! The protocol, run from a seed in a world that is unkind: a fleet of eight, its store between them, and all that can go wrong.
//!
//! A scheduler of its own decides what happens next; nothing depends on threads or on time. Members are asked what they want of the
//! store, and messages travel: late, lost on the way there or back, doubled, out of order, or long after whoever sent them has
//! given up. Processes are killed, and stopped between deciding and sending, with clocks that go on and clocks that stand still; clocks
//! differ by days and run at different rates. The store is cut off, swept by strangers, damaged, restored from a copy,
//! and its clock is set.
//!
//! What happened is kept outside, where no member can reach it, and everything that a member does is held against that.
//! For each rule of the protocol there is a run without it, which must be found broken: [`ProtocolRule`].

pub(crate) mod checks;
pub(crate) mod judgement;
pub(crate) mod process;
pub(crate) mod store;
pub(crate) mod tally;
pub(crate) mod world;

#[cfg(test)]
pub(crate) use tally::Tally;
pub use world::{Findings, Setup, World};

pub use super::protocol::rules::ProtocolRule;

/// Runs one seed.
pub fn run(setup: &Setup) -> Findings {
    world::run(setup)
}

#[cfg(test)]
mod tests;

//! How long a plan takes to decide, before anything runs.
//!
//! The tests themselves are asked: requests and labels as they usually come are simulated some dozen times, from a fixed
//! seed, until a test says something. So whatever a test's mixture costs, and however its evidence fluctuates, is in the
//! answer. A plan is rehearsed as a whole, since what one step has counted shortens the next: step by step it
//! was said to take 17 to 19 days where it took 11.

pub(crate) mod forecast;
pub(crate) mod hours;
pub(crate) mod reach;
pub(crate) mod rehearsal;
pub(crate) mod simulated;
pub(crate) mod simulation;
pub(crate) mod traffic;

//! How long a plan takes to decide, before anything runs.
//!
//! The tests themselves are asked: requests and labels as they usually come are simulated a hundred times and more, from a
//! fixed seed, until a test says something. So whatever a test's mixture costs, and however its evidence fluctuates, is in the
//! answer. A plan is rehearsed as a whole, since what one step has counted shortens the next: step by step it
//! was said to take 17 to 19 days where it took 11.
//!
//! **What is simulated is what the test counts**: units that fail are too slow, all guards must pass at one tick, what is kept for
//! failures that are judged beside a figure is in what harm must reach.
//!
//! **What nobody knows is drawn.** Pairs decide as soon as versions agree, and how much two agree only pairs can tell. Before
//! there are some it is a guess, with the range from versions that are as alike as two trainings on the same data to versions that have
//! nothing to do with each other. Then each simulated rollout takes another of the values that the pairs seen so far allow, so that how
//! little these say is in the range. A harmful candidate is as far off as it is from a good one: what it has shown of itself does
//! not move that.

pub(crate) mod forecast;
pub(crate) mod hours;
pub(crate) mod reach;
pub(crate) mod rehearsal;
pub(crate) mod simulated;
pub(crate) mod simulation;
pub(crate) mod subject;
pub(crate) mod traffic;
pub(crate) mod unknown;

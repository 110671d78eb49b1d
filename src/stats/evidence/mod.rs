//! The evidence that a rollout's tests look at: counts of units, pairs and labels, apart from the figures that people
//! look at.
//!
//! Figures show everything, in windows. Evidence is stricter: a unit counts once, at the odds at which it was routed; a
//! label counts when those of its time are complete; nothing that was chosen by what came of it counts at all.

pub(crate) mod arm;
pub(crate) mod event_counts;
pub(crate) mod ledger;
pub(crate) mod loss;
pub(crate) mod matched;
pub(crate) mod outage;
pub(crate) mod pair;
pub(crate) mod segment;
#[cfg(feature = "fleet")]
pub(crate) mod subtract;
pub(crate) mod waiting;

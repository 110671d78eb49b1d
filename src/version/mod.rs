//! Versions: a model with its pipeline under a name, from the moment it is loaded until it is freed.

pub(crate) mod ask;
pub(crate) mod drill;
pub(crate) mod id;
pub(crate) mod input;
pub(crate) mod load_impact;
pub(crate) mod loaded;
pub(crate) mod prepare;
pub(crate) mod priority;
pub(crate) mod retired;
#[cfg(feature = "state")]
pub(crate) mod source;
pub(crate) mod tiers;

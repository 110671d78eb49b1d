//! The control side: rare, may lock, writes the routing table.

#[cfg(feature = "state")]
pub(crate) mod adopt;
pub(crate) mod allocate;
pub(crate) mod attempt;
pub(crate) mod circuit;
pub(crate) mod control;
pub(crate) mod counter;
pub(crate) mod desk;
#[cfg(feature = "drift")]
pub(crate) mod drift;
pub(crate) mod event;
pub(crate) mod loading;
pub(crate) mod loads;
pub(crate) mod moves;
pub(crate) mod pins;
#[cfg(feature = "state")]
pub(crate) mod saved;
pub(crate) mod settings;
pub(crate) mod table;
pub(crate) mod tick;
pub(crate) mod tiers;
pub(crate) mod traffic;

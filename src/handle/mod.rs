//! What a host holds, and what its clones share.

pub(crate) mod builder;
pub(crate) mod core;
pub(crate) mod drift;
#[cfg(all(feature = "onnx", feature = "repository"))]
pub(crate) mod follow;
pub(crate) mod handle;
pub(crate) mod pinned;
#[cfg(feature = "state")]
pub(crate) mod record;
pub(crate) mod rollout;
pub(crate) mod staging;
#[cfg(feature = "state")]
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod threads;
#[cfg(feature = "state")]
pub(crate) mod turn;
pub(crate) mod upkeep;

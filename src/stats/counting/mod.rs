//! How requests are counted without threads in each other's way.

pub(crate) mod breaker;
pub(crate) mod exposure;
pub(crate) mod intake;
pub(crate) mod keys;

//! What the example shows, for the tests.

pub(crate) mod market;
pub(crate) mod periods;

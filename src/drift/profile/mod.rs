//! Profiles: a stream of rows as counts.

pub(crate) mod builder;
pub(crate) mod cell;
pub(crate) mod cells;
pub(crate) mod layout;
pub(crate) mod plain;
pub(crate) mod profile;
pub(crate) mod reference;
pub(crate) mod sketch;
pub(crate) mod written;

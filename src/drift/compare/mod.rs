//! How far two profiles lie apart, and whether that is more than chance.

pub(crate) mod apart;
pub(crate) mod compare;
pub(crate) mod distance;
pub(crate) mod significance;
pub(crate) mod table;
pub(crate) mod tail;

//! One request: which version answers it, what is counted, and what is done aside.

pub(crate) mod answer;
pub(crate) mod buckets;
pub(crate) mod call;
pub(crate) mod lease;
pub(crate) mod recall;
pub(crate) mod serving;
pub(crate) mod shadow;
pub(crate) mod table;

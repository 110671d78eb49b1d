//! The protocol of a member, without a store, a clock or a thread: what it asks, what it makes of answers, and when.

pub(crate) mod call;
pub(crate) mod cut;
pub(crate) mod ends;
pub(crate) mod follow;
pub(crate) mod following;
pub(crate) mod judge;
pub(crate) mod lower;
pub(crate) mod member;
pub(crate) mod perform;
pub(crate) mod publish;
pub(crate) mod rules;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;

//! What is in the store: values of one line of envelope and one line of body, both JSON.

pub(crate) mod counts;
pub(crate) mod ends;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod handover;
pub(crate) mod head;
pub(crate) mod hex;
pub(crate) mod layout;
pub(crate) mod ledger;
pub(crate) mod mailbox;
pub(crate) mod row;
pub(crate) mod value;

#[cfg(test)]
mod tests;

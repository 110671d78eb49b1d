//! Foundations of one rollout over many processes.
//!
//! No handle uses them yet: `docs/fleet.md` says what stands and what does not. What can be used today is the [`Store`] that a
//! fleet will agree in, and the suite that says whether one is good enough.
//!
//! | | |
//! |---|---|
//! | [`Store`] | what a store must hold to, and what its errors mean |
//! | [`Memory`], [`Directory`] | two of them |
//! | `conformance`, `history` | whether another one holds to it, with the feature `testing` |

// # Design decisions
//
// **A register and not a log.** What is agreed is one value that is replaced by compare-and-swap. A log of entries that are
// created where there are none has no memory: an absent entry is the next one or one that was removed, and a sleeper cannot
// tell. So nothing is decided by what is absent, and whatever is removed changes no decision.
//
// **The trait is small, and grows by methods with bodies.** `get`, `put`, `list` and `remove` are all that agreeing needs. What
// moves versions, and hints that wake whoever polls, can be added without breaking a store that somebody has written.
//
// **A directory has no lock.** A process that is stopped would hold it. A value is the hard link of the next number instead, made
// where there is none. Numbers are never used again: what is removed is replaced by an empty value, because a writer that
// slept would find the number of a removed one free. That leaves a folder with an empty file for each key that was ever
// removed. A folder for each key, and not one for all keys beside each other, so that reading one lists its 64 values and not
// those of everybody.

#[cfg(feature = "testing")]
pub(crate) mod conformance;
pub(crate) mod directory;
#[cfg(feature = "testing")]
pub mod history;
pub(crate) mod key;
pub(crate) mod memory;
pub(crate) mod store;

#[cfg(feature = "testing")]
pub use conformance::{Suite, Violation, conformance};
pub use directory::Directory;
pub use key::Key;
pub use memory::Memory;
pub use store::{Cause, Entry, Limits, Outcome, Over, Page, Read, Store, StoreError, Tag};

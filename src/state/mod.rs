//! State that survives the process: what is decided and what is seen, in a folder of the handle's own.
//!
//! [`Builder::state`](crate::Builder::state) turns it on. The folder holds
//!
//! | file | what |
//! |---|---|
//! | `journal` | what was decided, what was seen, what happened |
//! | `key` | seals the printed ids of predictions, so that they are told from forged ones after a start too |
//! | `lock` | held by the process that has the folder |
//! | `journal.new` | a journal that is being written; a start removes it |
//!
//! all of them private to their owner. No request, key or tensor of a user is in any of them: a key is kept as a hash that
//! is keyed by the handle's seed.
//!
//! # What is written when
//!
//! A record holds the whole of what is decided (what is live, retained, quarantined; each rollout with its phase, plan,
//! guards and errors), what was seen since the record before, and the events since. It is on disk when it is said to be:
//! written, then synced.
//!
//! - **Exposure is raised** (a shadow, a larger share, a promotion, a plan's step) once a record is on disk that it will be;
//!   a second one says that it was. Where the first cannot be written, nothing is raised.
//! - **Exposure is lowered** first and written down afterwards. It is never refused because of a disk, and never waits for
//!   one. Until it is on disk, [`Status::durable`](crate::Status::durable) is false.
//! - **Evidence and outcomes** are written with each of these, and [every ten
//!   seconds](crate::Builder::checkpoint_every). What was seen since is not known to a start after a crash.
//!   [`ModelHandle::checkpoint`](crate::ModelHandle::checkpoint) writes it now.
//!
//! A disk that is full or fails is an event, [`NotDurable`](crate::EventKind::NotDurable): the handle keeps answering and
//! keeps its guards, raises nothing, and writes all of it again as soon as it can.
//!
//! # What a start does
//!
//! Live is live again, retained versions are retained, what is quarantined stays so under any name, and outcomes of
//! predictions made before join. A rollout goes on in the phase and with the evidence that it had, unless the process ended
//! without a word (no [`close`](crate::ModelHandle::close)) while its candidate was exposed: then
//! [`AfterCrash`](crate::AfterCrash) says what becomes of it, and the second such end of one identity quarantines it. A live
//! that cannot be loaded falls back to the last retained version that can, then to the one given to
//! [`live`](crate::Builder::live), then to an error that says why of each.
//!
//! # The format
//!
//! Little-endian. A file is written anew, aside and then renamed, when it has grown by 16 MiB, and after any step has
//! failed.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `swbackjl` |
//! | 4 | format, 1 |
//! | 4 | 0 |
//! | 8 | generation: counts the files written anew |
//! | 8 | salt, drawn for this file |
//! | 8 | XXH3-64 of the bytes before |
//! | | then records: |
//! | 4 | length of the body |
//! | 8 | XXH3-64 of the body, seeded with salt XOR the record's place in the file |
//! | | the body: parts, each a kind (1 byte), a length (4 bytes) and JSON |
//!
//! Kinds: 1 what is decided, 2 what was seen (whole), 3 what was seen since, 4 an event, 5 how many events were dropped
//! before the first (eight bytes, no JSON). A record that is cut off at the end is what a crash leaves: it was never
//! acknowledged, and is cut off with an event. Anything else is [`Damaged`](StateError::Damaged).

mod error;
mod frame;
mod history;
mod journal;
mod repair;
mod secret;

pub use error::StateError;
pub use history::{History, history};
pub(crate) use journal::{Found, Journal, Record};
pub use repair::{Repaired, repair};
pub(crate) use secret::secret;

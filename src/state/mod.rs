//! State that survives the process: what is decided, what was seen and what happened, in a folder of the handle's own.
//!
//! | file | what |
//! |---|---|
//! | `journal` | what was decided and on what counts, what was seen, what happened |
//! | `key` | 16 bytes that seal the printed ids of predictions, and their XXH3-64 |
//! | `mark` | how far the journal was acknowledged: 40 bytes |
//! | `lock` | empty; locked by the process that has the folder |
//! | `held` | empty; locked by the same process, and for a moment by whoever looks whether one has it |
//! | `journal.new`, `key.new` | being written; a start removes them |
//! | `journal.damaged-1` .. `-99` | what [`repair`] found, as it was |
//!
//! Folders are made for their owner alone (0700), and so are files (0600). A folder that others may write to is refused,
//! and so is a link where a file should be. Nothing in them is a request, a key or a tensor of a user.
//!
//! [`Builder::state`](crate::Builder::state) turns it on. Without a handle, of the folder alone: [`status::look`](crate::status::look)
//! says how things stand and [`history`] what happened, [`decisions::recorded`](crate::decisions::recorded) and
//! [`recording`](crate::decisions::recording) on what it was decided, `report::from_journal` tells it as a page, and
//! [`status::release`](crate::status::release) and [`repair`] change it.
//!
//! # What a start does
//!
//! Live is live again, retained versions are retained, what is quarantined stays so under any name, and outcomes of
//! predictions made before join. A rollout goes on in the phase and with the evidence that it had, unless the process ended
//! by a crash (no [`close`](crate::ModelHandle::close)) while its candidate was exposed: then
//! [`AfterCrash`](crate::options::AfterCrash) says what becomes of it, and the second such end of one identity quarantines it. A live
//! that cannot be loaded falls back to the last retained version that can, then to the one given to
//! [`live`](crate::Builder::live), then to an error that says why of each. Figures start from nothing; traffic that was divided among
//! several candidates stays as it was and is not divided further.
//!
//! # What is on disk when
//!
//! - **Exposure is raised** (a shadow, a larger share, a promotion, a plan's step) once it is on disk that it will be; a
//!   second batch says that it was. Where the first cannot be written, nothing is raised.
//! - **Exposure is lowered** first and written down afterwards. It is never refused because of a disk, and never acts later
//!   because of one: only the call that did it may return later, once it has tried to write it down.
//!   Until it is on disk, [`Status::durable`](crate::status::Status::durable) is false.
//! - **Evidence and outcomes** are written with each of these, and [every ten
//!   seconds](crate::options::StateFolder::checkpoint_every). What was seen since is not known to a start after a crash.
//!   [`ModelHandle::checkpoint`](crate::ModelHandle::checkpoint) writes it now.
//!
//! A disk that is full or fails is an event, [`StateNotSaved`](crate::events::EventKind::StateNotSaved): the handle keeps answering and
//! keeps its guards, raises nothing, and writes all of it again as soon as it can.
//!
//! A batch of records is written and synced before anybody is told that it was: after a crash at any moment, power cuts
//! included, a start finds all that was acknowledged, and of the batch that was being written all or nothing. A journal is
//! written again (aside, synced, renamed, the folder synced) at every start, when it has grown by 16 MiB, and after any
//! failed write or sync: nothing is ever added to a file that an earlier process left or that a sync has failed on, since
//! the system may show what the disk has not. A full disk loses nothing that was acknowledged, and once there is room
//! everything is written again.
//!
//! What a crash leaves at the end is cut off, and told. Any other difference from what was written is
//! [`Damaged`](StateError::Damaged), and [`repair`] is the way out. One thing cannot be told from a crash: damage in the
//! batch that was written last. It is cut off like one, and told like one.
//!
//! # What a start has less than there was
//!
//! A journal that ends where a batch ends, an older copy of it, or none at all would be whole by themselves. So how far it was
//! acknowledged is noted beside it, in `mark`, and a journal that is behind the note is [`Behind`](StateError::Behind): put
//! back the newest one, or call [`repair`] to go on with the one that is there. A key that is gone, or is another one, is an
//! event, [`StartedWithLess`](crate::events::EventKind::StartedWithLess): ids of earlier predictions are unknown then.
//!
//! What a single disk cannot know is that *all* of the folder is an older copy, journal, note and key: it looks like the day
//! on which it was made, and a quarantine of a later day is gone. Nor does the note show what was lost within the half minute
//! before a power cut, since it is not synced, nor anything where it was removed with the journal's end. Whoever must know
//! keeps the number of the last event elsewhere, as by [`subscribe`](crate::ModelHandle::subscribe): a start that goes on from
//! a lower one has less. Copies of a folder in use take `mark` first and `journal` after it, or leave it out.
//!
//! # The format
//!
//! For other tools, and for later releases. Numbers are little-endian; XXH3-64 takes a seed. A file begins with a header,
//! whose layout will be that of every later format too:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `swbkjrnl` |
//! | 8 | 4 | the format: 2; 1 is read too, and has no decisions |
//! | 12 | 4 | 0 |
//! | 16 | 8 | generation: counts the files that have been the journal of this folder |
//! | 24 | 8 | salt, drawn for this file |
//! | 32 | 8 | events that were dropped before the first one in this file |
//! | 40 | 8 | length of the file when it was put in place: no crash damages what is before |
//! | 48 | 8 | XXH3-64 of bytes 0 to 47, seed 0 |
//!
//! Frames follow. The seed of a frame's checksums is the salt XOR the frame's place in the file, so a frame that moved, or
//! one of another file, is none.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of the body, at most 64 MiB |
//! | 4 | 1 | kind: 1 state, 2 evidence, 3 event, 4 decision; plus 0x10 for evidence that needs none before it, 0x80 for the last frame of a batch |
//! | 5 | 4 | number of the frame: 0 for the first of the file |
//! | 9 | 4 | number of the first frame of its batch |
//! | 13 | 4 | lower half of the XXH3-64 of bytes 0 to 12 |
//! | 17 | | the body: JSON, an event as one line |
//! | | 8 | XXH3-64 of everything before, from the length on |
//!
//! A batch counts once its last frame is whole. What is put in place with the file is one batch. The newest state replaces
//! those before; evidence that needs none before it replaces all before, other evidence adds to it; events are the audit
//! log, and decisions the records of what guards have decided, of which the last 256 are written again. A bad frame is damage if it lies before the length in the header, or if a whole head with a first frame beyond it
//! follows: a batch is synced before the next one begins. Otherwise it is the torn end of the last batch. (A whole frame of
//! the same batch proves nothing: a disk may have taken the end of a write and lost its beginning.)

// # Design decisions
//
// **A journal is added to only by the process that wrote it**, and only while every write and sync of it succeeded. A sync
// that failed once may succeed the next time without having written anything, and what an earlier process left may be in the
// system's cache alone; so a start, and whoever goes on after a failure, writes all of it anew: aside, synced, renamed, the
// folder synced. Nothing is ever cut off or mended in place. `src/state/mod.rs` has the format.
//
// **Torn is not damaged.** A frame knows the first frame of its batch, and the header how long the file was when it was put in
// place. A bad frame is damage if it lies before that, or if a later batch follows, since a batch is synced before the next
// begins; otherwise nobody was told that it was written. A whole frame of the *same* batch proves nothing: after a power cut a
// disk may have the end of the last write and not its beginning, and a start that calls that damage needs a person at night.
//
// **Raised after, lowered before.** Raising writes an intention, moves, and writes what came of it, all in one turn at the
// journal; without the first record nothing moves. Lowering stores the table first. Whoever then finds another writing leaves
// it to them, or to the next tick, so a rollback acts at once whatever the disk does; the call
// that writes may return late. A tick applies what lowers exposure before it
// asks the disk whether anything may be raised.

pub(crate) mod audit;
pub(crate) mod error;
pub(crate) mod folder;
pub(crate) mod frame;
pub(crate) mod frames;
pub(crate) mod journal;
pub(crate) mod mark;
pub(crate) mod names;
pub(crate) mod read;
pub(crate) mod repair;
pub(crate) mod rewrite;
pub(crate) mod secret;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
use journal::Why;

pub(crate) use audit::found;
pub use audit::{History, history};
pub use error::StateError;
pub(crate) use folder::is_held;
pub(crate) use frame::Kind;
pub(crate) use journal::{Entry, Journal};
pub(crate) use read::Found;
pub use repair::{Repaired, repair};
pub(crate) use secret::{has_secret, secret};

//! The errors of a folder of state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::disk::NotPlain;

/// Why state cannot be read or written. What was on disk before is still there.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The system refused a step: no room, no permission, a failing disk. Whatever was to be written counts as not
    /// written.
    #[error("{step} {} failed: {cause}", .path.display())]
    Disk {
        /// The step that was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        cause: Arc<io::Error>,
    },
    /// Another process has the folder, or another handle of this one.
    #[error(
        "{} is in use by another process: wait until it has ended, or use a folder of its own",
        .folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// Others may write to the folder, and so decide what is live.
    #[error("others may write to {}, and so decide what is live: `chmod go-w` it", .folder.display())]
    NotPrivate {
        /// The folder, or a file in it.
        folder: PathBuf,
    },
    /// The folder is another user's, who decides what is live.
    #[error(
        "{} is owned by user {owner}, who decides what is live: `chown` it to the user that this process runs as, or use a \
         folder of its own",
        .folder.display()
    )]
    NotOwned {
        /// The folder, or a file in it.
        folder: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// There is a link, a folder or a device where a file of ours should be. It is not followed.
    #[error("{} is {what}, not a plain file: move it away, and put back the file that was there", .path.display())]
    NotPlain {
        /// Where.
        path: PathBuf,
        /// The kind of file that it is.
        what: &'static str,
    },
    /// There is no journal, where one is needed.
    #[error("there is no journal at {}: is it the right folder?", .path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// A later release wrote it.
    #[error(
        "{} has format {format} and this release reads up to {known}: start with the release that wrote it",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// Bytes that were on disk are not what was written. A crash does not do that, a disk or a hand does.
    #[error(
        "{} is damaged at byte {offset}: {cause}; look at the disk, then `switchback state repair` or `state::repair` keeps what is whole",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// The sign of the damage.
        cause: &'static str,
    },
    /// The journal has less than was acknowledged: its end was cut off, an older copy was put in its place, or it is gone. No
    /// crash does that. What was decided since, quarantines included, is not in it.
    #[error(
        "{} has less than was written: {missing}; put back the newest one, or call `switchback state repair` or `state::repair` to go on with \
         what is there",
        .path.display()
    )]
    Behind {
        /// The journal.
        path: PathBuf,
        /// The part that it lacks.
        missing: String,
    },
    /// The key that seals ids is not what was written.
    #[error(
        "{} is damaged: put back the one that was there, or remove it, and outcomes of earlier predictions are refused",
        .path.display()
    )]
    DamagedKey {
        /// The file.
        path: PathBuf,
    },
    /// The entry that was to be written is larger than would be read again.
    #[error("{what} was not saved: it has {bytes} bytes, and at most {limit} are allowed")]
    TooLarge {
        /// The kind of entry that it is.
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A record is whole and cannot be understood, or cannot be written as JSON: what wrote it and what reads it are not of
    /// one mind. Start with the release that wrote it, and report it.
    #[error("a record cannot be understood: {cause}; start with the release that wrote it")]
    Record {
        /// Why not.
        cause: String,
    },
    /// An event is not one line of text. Nothing of what came with it was written.
    #[error("an event was not saved: it is not one line of UTF-8")]
    NotALine,
    /// Nothing is added to a file that this process did not write, or one that a write to has failed: all of it must be
    /// written again first.
    #[error("no record is added to {} until all of it has been written again", .path.display())]
    Stopped {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the state of this handle, or the handle was closed.
    #[error("this handle saves no state: another process has the state, or the handle was closed")]
    NotWriting,
    /// This process was forked off the one that has the folder. Two that wrote to one journal would lose what either was told is
    /// saved.
    #[error(
        "{} is the state of process {owner}, from which this one was forked: build a handle of its own in the child, with a folder of its own",
        .folder.display()
    )]
    Forked {
        /// The folder.
        folder: PathBuf,
        /// The process that has it.
        owner: u32,
    },
    /// Somebody put another file in the place of one that this process holds. Neither is touched.
    #[error("{} was replaced while it was in use: put the old one back, or start again from the new one", .path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
}

debug_as_told!(StateError);

impl StateError {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Record { cause: error.to_string() }
    }

    pub(crate) fn disk(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match NotPlain::of(&error) {
            Some(NotPlain(what)) => Self::NotPlain { path, what },
            None => Self::Disk { step, path, cause: Arc::new(error) },
        }
    }
}

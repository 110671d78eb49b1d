//! What can be wrong with a folder of state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Why state cannot be read or written. Nothing that was on disk before is lost by it.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The system refused a step.
    #[error("{step} {}: {source}", .path.display())]
    Disk {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process has the folder.
    #[error("{} is in use by another process: end that one first, or give this handle a folder of its own", .folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// Others may write to the folder, and so decide what is live.
    #[error("{} may be written by others: `chmod go-w` it", .folder.display())]
    NotPrivate {
        /// The folder.
        folder: PathBuf,
    },
    /// There is something else where the journal should be.
    #[error("{} is not a journal: {cause}", .path.display())]
    NotAJournal {
        /// Where.
        path: PathBuf,
        /// What tells.
        cause: &'static str,
    },
    /// A later release wrote it.
    #[error("{} has format {format}, and this release reads {known}: start with the release that wrote it", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The latest format that is known here.
        known: u32,
    },
    /// A record in the middle is not what was written, and whole ones follow it: a crash does not do that, a disk or a
    /// hand does.
    #[error(
        "{} is damaged at byte {offset}, and whole records follow: `switchback::state::repair` keeps what is whole",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
    },
    /// A record is whole and cannot be understood.
    #[error("a record cannot be understood: {cause}")]
    Record {
        /// Why not.
        cause: String,
    },
}

impl StateError {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Record { cause: error.to_string() }
    }

    pub(super) fn disk(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { step, path, source: Arc::new(source) }
    }
}

//! The journal as an audit log.

use std::path::Path;

use super::error::StateError;
use super::journal::{JOURNAL, contents, found};
use crate::files::Files;

/// What happened to a handle, oldest first: see [`history`].
#[derive(Debug)]
pub struct History {
    events: std::vec::IntoIter<Vec<u8>>,
    dropped: u64,
}

impl History {
    /// Events that were dropped before the first one, because only the last 8 MiB of them are kept.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Iterator for History {
    type Item = String;

    /// An [`Event`](crate::Event), as one line of JSON.
    fn next(&mut self) -> Option<String> {
        self.events.next().map(|event| String::from_utf8_lossy(&event).into_owned())
    }
}

/// Reads what happened to the handle that keeps its state in a folder: who did what, when, why, and on what evidence. Each
/// item is one [`Event`](crate::Event) as a line of JSON. May be called while the handle runs, from any process that may
/// read the folder.
///
/// # Errors
///
/// The journal cannot be read, or is damaged.
pub fn history(folder: impl AsRef<Path>) -> Result<History, StateError> {
    let path = folder.as_ref().join(JOURNAL);
    let found = match contents(&Files::default(), &path)? {
        Some(bytes) => found(&path, &bytes)?.1,
        None => return Ok(History { events: Vec::new().into_iter(), dropped: 0 }),
    };
    Ok(History { events: found.events.into_iter(), dropped: found.dropped })
}

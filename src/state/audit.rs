//! The journal as an audit log.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::StateError;
use super::frame::Kind;
use super::frames::{Frames, Next};
use super::names::JOURNAL;
use super::read::{Found, Scan};
use super::{mark, read};
use crate::base::disk::Files;

/// Reads what happened to the handle that keeps its state in `folder`, oldest first: who did what, when, why, and on what
/// evidence. Each item is one line of JSON. The last 100,000 entries are kept, and of them the last 16 MiB.
///
/// Any process that may read the folder can do so, also while the handle runs; what comes in meanwhile is not read. Memory
/// is needed for one entry. Where the journal is damaged, or has less than was written, all that is there comes first, and the
/// error last.
///
/// # Errors
///
/// There is no journal in the folder, it cannot be read, or a later release wrote it.
///
/// ```no_run
/// for line in switchback::state::history("/var/lib/flights/state")? {
///     println!("{}", line?);
/// }
/// # Ok::<(), switchback::state::StateError>(())
/// ```
pub fn history(folder: impl AsRef<Path>) -> Result<History, StateError> {
    let Scanned { path, file, scan, found, damage } = Scanned::of(folder.as_ref())?;
    let frames =
        Frames::new(file, scan.header, scan.committed).map_err(StateError::disk("reading", &path))?;
    Ok(History { path, frames: Some(frames), damage, dropped: found.dropped })
}

/// Returns what the journal of a folder holds, for whoever only looks.
///
/// # Errors
///
/// As [`history`], and its damage.
pub(crate) fn found(folder: &Path) -> Result<Found, StateError> {
    let Scanned { found, damage, .. } = Scanned::of(folder)?;
    damage.map_or(Ok(found), Err)
}

/// A journal that was read through, without the lock of whoever writes it.
struct Scanned {
    path: PathBuf,
    file: File,
    scan: Scan,
    found: Found,
    damage: Option<StateError>,
}

impl Scanned {
    fn of(folder: &Path) -> Result<Self, StateError> {
        let (files, path) = (Files::default(), folder.join(JOURNAL));
        // Before the journal: whoever writes to it meanwhile notes it later.
        let marked = mark::read(&files, folder)?;
        let Some(file) = read::open(&files, folder)? else { return Err(StateError::Missing { path }) };
        let (scan, found) = read::scan(&path, &file)?;
        let damaged =
            scan.damage.map(|(offset, cause)| StateError::Damaged { path: path.clone(), offset, cause });
        let beyond = marked.and_then(|marked| marked.beyond(&scan));
        let damage = damaged.or(beyond.map(|missing| StateError::Behind { path: path.clone(), missing }));
        Ok(Self { path, file, scan, found, damage })
    }
}

/// The entries of an audit log, oldest first: see [`history`]. After an error there are no more.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    /// Gone at the end.
    frames: Option<Frames<File>>,
    damage: Option<StateError>,
    dropped: u64,
}

impl History {
    /// Entries that are not here because there were too many: those before the first one and, where a disk failed for longer
    /// than the handle remembers events, those in between. Numbers of events show where.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn line(&mut self) -> Result<Option<String>, StateError> {
        let Some(frames) = &mut self.frames else { return Ok(None) };
        loop {
            let offset = frames.at();
            let damaged = |cause| StateError::Damaged { path: self.path.clone(), offset, cause };
            match frames.next().map_err(StateError::disk("reading", &self.path))? {
                Next::Frame(head) if head.kind == Kind::Event => {
                    // Its checksum holds, so it was written like this: no repair makes a text of it, and others come after it.
                    return Ok(Some(String::from_utf8_lossy(frames.body()).into_owned()));
                }
                Next::Frame(_) => {}
                Next::End => return self.damage.take().map_or(Ok(None), Err),
                // It was whole a moment ago.
                Next::Bad(_) => return Err(damaged("it changed while it was read")),
            }
        }
    }
}

impl Iterator for History {
    type Item = Result<String, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line().transpose();
        if !matches!(line, Some(Ok(_))) {
            self.frames = None;
        }
        line
    }
}

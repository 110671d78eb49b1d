//! Reads a journal from beginning to end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::error::StateError;
use super::frame::{FORMAT, HEADER, Head, Header, Kind};
use super::frames::{Frames, Next};
use super::names::{DECISIONS_MAX, FILE_MAX, JOURNAL};
use crate::base::disk::Files;

/// The acknowledged state, as far as a start needs it. Events are read by [`history`](super::audit).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// The newest state; nothing where none was ever written.
    pub(crate) state: Option<Vec<u8>>,
    /// The newest evidence that is whole, and what came after it.
    pub(crate) evidence: Vec<Vec<u8>>,
    /// Records of decisions, oldest first: the last ones.
    pub(crate) decisions: VecDeque<Vec<u8>>,
    /// Bytes at the end that are no whole batch: a process ended while it wrote them, so nobody was told that they were
    /// written.
    pub(crate) torn_bytes: u64,
    /// Counts the files that have been the journal of this folder; 0 where there is none yet.
    pub(crate) generation: u64,
    /// The format that it was written in; 0 where there is none.
    pub(crate) format: u32,
    /// Events in it.
    pub(crate) events: u64,
    /// Events that were dropped before the first of them.
    pub(crate) dropped: u64,
    /// The group of the folder, or of a file in it, could write to it until it was opened.
    pub(crate) mended: bool,
}

impl Found {
    /// Returns what the journal of a folder holds, without a lock: for a process that looks on while another one
    /// writes. Nothing is found where there is no journal yet.
    ///
    /// # Errors
    ///
    /// The folder is not private, or its journal cannot be read, is damaged or too new.
    pub(crate) fn read(files: &Files, folder: &Path) -> Result<Self, StateError> {
        let mended = super::folder::look(folder)?;
        match open(files, folder)? {
            Some(file) => Ok(Self { mended, ..read(&folder.join(JOURNAL), &file)?.1 }),
            None => Ok(Self { mended, ..Self::default() }),
        }
    }
}

/// Where things are in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) header: Header,
    /// Where the last whole batch ends.
    pub(crate) committed: u64,
    /// Frames up to there.
    pub(crate) frames: u32,
    /// Where the damage begins, and what tells, where there is any beyond a torn end.
    pub(crate) damage: Option<(u64, &'static str)>,
}

/// Opens the journal of a folder to be read; nothing where there is none.
pub(crate) fn open(files: &Files, folder: &Path) -> Result<Option<File>, StateError> {
    let path = folder.join(JOURNAL);
    if !super::folder::is_plain(&path)? {
        return Ok(None);
    }
    files.open(&path).map(Some).map_err(StateError::disk("opening", &path))
}

/// How long a file is, if it is not longer than any that is written here.
pub(crate) fn length(path: &Path, file: &File) -> Result<u64, StateError> {
    let bytes = file.metadata().map_err(StateError::disk("looking at", path))?.len();
    if bytes > FILE_MAX {
        return Err(StateError::TooLarge { what: "a journal", bytes, limit: FILE_MAX });
    }
    Ok(bytes)
}

/// The header of a file, and whether it is as it was written; nothing where the file is too short for one.
pub(crate) fn header(path: &Path, mut file: &File) -> Result<Option<(Header, bool)>, StateError> {
    let disk = StateError::disk("reading", path);
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(HEADER as u64).read_to_end(&mut bytes));
    read.map_err(disk)?;
    let header = Header::decode(&bytes);
    match header {
        Some((Header { format, .. }, true)) if format > FORMAT => {
            Err(StateError::Newer { path: path.to_owned(), format, known: FORMAT })
        }
        _ => Ok(header),
    }
}

/// Reads a file. Damage is an error.
pub(crate) fn read(path: &Path, file: &File) -> Result<(Scan, Found), StateError> {
    let (scan, found) = scan(path, file)?;
    match scan.damage {
        None => Ok((scan, found)),
        Some((offset, cause)) => Err(StateError::Damaged { path: path.to_owned(), offset, cause }),
    }
}

/// Reads a file up to its end, or to what is damaged in it.
pub(crate) fn scan(path: &Path, file: &File) -> Result<(Scan, Found), StateError> {
    let damaged = |cause| StateError::Damaged { path: path.to_owned(), offset: 0, cause };
    let disk = || StateError::disk("reading", path);
    let length = length(path, file)?;
    let header = match header(path, file)? {
        Some((header, true)) => header,
        Some((_, false)) => return Err(damaged("its header is not what was written")),
        // A journal is written aside and renamed when it is whole: no crash leaves less than a header.
        None => return Err(damaged("it is shorter than a header")),
    };
    let mut scan = Scan { header, committed: HEADER as u64, frames: 0, damage: None };
    let mut found = Found {
        generation: header.generation,
        format: header.format,
        dropped: header.dropped,
        ..Found::default()
    };
    let mut frames = Frames::new(file, header, length).map_err(disk())?;
    // The batch that is being read: it counts with its last frame.
    let (mut batch, mut number) = (Batch::default(), 0);
    let (offset, next) = loop {
        let offset = frames.at();
        match frames.next().map_err(disk())? {
            Next::Frame(head) if (head.number, head.first) == (number, scan.frames) => {
                batch.take(head, frames.body());
                number += 1;
                if head.commit {
                    std::mem::take(&mut batch).commit(&mut found);
                    (scan.committed, scan.frames) = (frames.at(), number);
                }
            }
            next => break (offset, next),
        }
    };
    found.torn_bytes = length.saturating_sub(scan.committed);
    if scan.committed < header.base {
        scan.damage = Some((offset, "what was put in place with it is not whole"));
        return Ok((scan, found));
    }
    match next {
        Next::End => {}
        Next::Frame(_) => scan.damage = Some((offset, "a record is out of turn")),
        // A frame of a later batch was written once this one was synced. Without one it is the end of what was written
        // last, and was never acknowledged.
        Next::Bad(_) => {
            let later = frames.find(offset + 1, |head| head.first > number).map_err(disk())?;
            scan.damage = later.map(|_| (offset, "later records follow"));
        }
    }
    Ok((scan, found))
}

/// The records of one batch, once it is whole.
#[derive(Default)]
struct Batch {
    state: Option<Vec<u8>>,
    evidence: Vec<Vec<u8>>,
    whole: bool,
    decisions: VecDeque<Vec<u8>>,
    events: u64,
}

/// Adds a decision, and lets go of those that are more than are kept.
pub(crate) fn keep_decision(decisions: &mut VecDeque<Vec<u8>>, decision: Vec<u8>) {
    decisions.push_back(decision);
    while decisions.len() > DECISIONS_MAX {
        decisions.pop_front();
    }
}

impl Batch {
    fn take(&mut self, head: Head, body: &[u8]) {
        match head.kind {
            Kind::State => self.state = Some(body.to_vec()),
            Kind::Evidence => {
                if head.whole {
                    self.evidence.clear();
                    self.whole = true;
                }
                self.evidence.push(body.to_vec());
            }
            Kind::Event => self.events += 1,
            Kind::Decision => keep_decision(&mut self.decisions, body.to_vec()),
        }
    }

    fn commit(self, found: &mut Found) {
        if self.whole {
            found.evidence.clear();
        }
        found.evidence.extend(self.evidence);
        found.state = self.state.or(found.state.take());
        found.events += self.events;
        self.decisions.into_iter().for_each(|decision| keep_decision(&mut found.decisions, decision));
    }
}

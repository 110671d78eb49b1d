//! The journal as its only writer has it.
//!
//! **A file is added to by the process that wrote it, and only while every write and sync of it succeeded.** What an
//! earlier process left may be in the system's cache and not on the disk, and a sync that failed once may succeed the next
//! time without having written anything. So a start begins by writing all of it again, and so does whoever goes on after a
//! failure. Cutting off a torn end in place instead would be one write less, and would trust such a file.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::StateError;
use super::folder::{Held, Identity};
use super::frame::{Head, Header, Kind, frame_length};
use super::mark::{Mark, Marked};
use super::names::{FILE_MAX, JOURNAL, Limits};
use super::read::Found;
use super::repair::Repaired;
use super::rewrite::{Old, Part};
use super::{folder, mark, read, repair, rewrite};
use crate::base::disk::{Files, Writing};

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The kind of the entry.
    pub(crate) kind: Kind,
    /// Of evidence: whether it needs none before it.
    pub(crate) whole: bool,
    /// JSON. An event is one line.
    pub(crate) body: Vec<u8>,
}

impl Entry {
    fn part(&self) -> Part<'_> {
        Part { kind: self.kind, whole: self.whole && self.kind == Kind::Evidence, body: &self.body }
    }
}

/// Why all of it must be written again, or should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was opened and not written yet.
    Opened,
    /// A step failed. Nothing is added until it was written again.
    Failed,
    /// It has grown. It can be added to for a while.
    Grown,
}

/// The journal of a folder that this process has for itself.
#[derive(Debug)]
pub(crate) struct Journal {
    files: Files,
    folder: PathBuf,
    held: Held,
    limits: Limits,
    /// The last number that a file was given, in place or not.
    generation: u64,
    /// The state that was acknowledged last.
    current: Option<Current>,
    mark: Mark,
    /// Events that will be in no file: they were forgotten while none could be written.
    missed: u64,
    /// The file that this process last put in place, acknowledged or not.
    placed: Option<Identity>,
    stopped: Option<Why>,
}

#[derive(Debug)]
struct Current {
    log: Log,
    header: Header,
    /// The length that was acknowledged of it.
    length: u64,
    frames: u32,
    /// The part that was set aside of it, once it turned out to be damaged.
    repaired: Option<Repaired>,
}

/// A file that was found, or one that was written here.
#[derive(Debug)]
enum Log {
    Found(File),
    Ours(Writing),
}

impl Journal {
    /// Takes a folder for this process, making it where there is none, and reads its journal. What is found is to be
    /// [written again](Self::rewrite) before anything is added.
    ///
    /// # Errors
    ///
    /// Another process has the folder, others may write to it, or its journal cannot be read, is damaged or too new.
    pub(crate) fn open(files: Files, folder: &Path) -> Result<(Self, Found), StateError> {
        Self::open_with(files, folder, Limits::default())
    }

    pub(crate) fn open_with(
        files: Files,
        folder: &Path,
        limits: Limits,
    ) -> Result<(Self, Found), StateError> {
        let held = Held::take(&files, folder)?;
        let path = folder.join(JOURNAL);
        let mut journal = Self {
            files,
            folder: folder.to_owned(),
            held,
            limits,
            generation: 0,
            current: None,
            mark: Mark::default(),
            missed: 0,
            placed: None,
            stopped: Some(Why::Opened),
        };
        let marked = mark::read(&journal.files, folder)?;
        let behind = |missing| StateError::Behind { path: path.clone(), missing };
        let Some(file) = read::open(&journal.files, folder)? else {
            return match marked {
                Some(_) => Err(behind("it is gone".to_owned())),
                None => {
                    let mended = journal.held.mended;
                    Ok((journal, Found { mended, ..Found::default() }))
                }
            };
        };
        let (scan, found) = read::read(&path, &file)?;
        let found = Found { mended: journal.held.mended, ..found };
        if let Some(missing) = marked.and_then(|marked| marked.beyond(&scan)) {
            return Err(behind(missing));
        }
        let metadata = file.metadata().map_err(StateError::disk("looking at", &path))?;
        journal.placed = Some(folder::identity(&metadata));
        journal.generation = scan.header.generation;
        journal.current = Some(Current {
            log: Log::Found(file),
            header: scan.header,
            length: scan.committed,
            frames: scan.frames,
            repaired: None,
        });
        Ok((journal, found))
    }

    /// Adds entries, all or none: they are on disk when this returns.
    ///
    /// # Errors
    ///
    /// An entry is too large or no line, and nothing has changed. Or a step failed, and nothing is added until all of it was
    /// [written again](Self::rewrite); if the process ends before that, a start may find these entries.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), StateError> {
        if entries.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(JOURNAL);
        let (None, Some(Current { log: Log::Ours(writing), header, length, frames, .. })) =
            (self.stopped, &mut self.current)
        else {
            return Err(StateError::Stopped { path });
        };
        let parts: Vec<Part<'_>> = entries.iter().map(Entry::part).collect();
        parts.iter().try_for_each(Part::check)?;
        let end = parts.iter().fold(*length, |end, part| end.saturating_add(frame_length(part.body.len())));
        let too_large = StateError::TooLarge { what: "a journal", bytes: end, limit: FILE_MAX };
        if end > FILE_MAX {
            return Err(too_large);
        }
        let mut bytes = Vec::new();
        let (first, mut number) = (*frames, *frames);
        for (index, part) in parts.iter().enumerate() {
            let Part { kind, whole, body } = *part;
            let commit = index + 1 == parts.len();
            let body_length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            let head = Head { kind, whole, commit, length: body_length, number, first };
            head.encode(header, *length + bytes.len() as u64, body, &mut bytes);
            number = number.saturating_add(1);
        }
        // Whatever happens from here on, until it is known to have succeeded it has failed.
        self.stopped = Some(Why::Failed);
        self.held.check()?;
        if folder::named(&path)? != self.placed {
            return Err(StateError::Replaced { path });
        }
        writing.write(&bytes).map_err(StateError::disk("writing", &path))?;
        writing.sync().map_err(StateError::disk("syncing", &path))?;
        (*length, *frames) = (end, number);
        let marked = Marked::of(header, end);
        self.mark.set(&self.folder, marked);
        self.stopped = None;
        Ok(())
    }

    /// Writes all of it again: the last events of those that were acknowledged, then these, these decisions (the last ones,
    /// as far as they fit), the state, and all the evidence, in as many parts as it takes.
    /// It is on disk when this returns. Where the old file turned out to be damaged, a copy of it is kept, and what was lost
    /// of its events is told.
    ///
    /// # Errors
    ///
    /// A step failed. What was acknowledged before is on disk, and nothing is added until this succeeds; if the process ends
    /// before that, a start finds the one or the other.
    pub(crate) fn rewrite(
        &mut self,
        state: &[u8],
        evidence: &[Vec<u8>],
        events: &[Vec<u8>],
        decisions: &[Vec<u8>],
    ) -> Result<Option<Repaired>, StateError> {
        let event = |body| Part { kind: Kind::Event, whole: false, body };
        let mut parts: Vec<Part<'_>> = events.iter().map(|body| event(body.as_slice())).collect();
        let decision = |body| Part { kind: Kind::Decision, whole: false, body };
        parts.extend(
            fitting(decisions, self.limits.decision_bytes).iter().map(|body| decision(body.as_slice())),
        );
        parts.push(Part { kind: Kind::State, whole: false, body: state });
        parts.extend(evidence.iter().enumerate().map(|(place, body)| Part {
            kind: Kind::Evidence,
            whole: place == 0,
            body,
        }));
        parts.iter().try_for_each(Part::check)?;

        self.stopped = self.stopped.or(Some(Why::Failed));
        self.held.check()?;
        let path = self.folder.join(JOURNAL);
        // One that was removed is simply written again.
        if folder::named(&path)?.is_some_and(|named| Some(named) != self.placed) {
            return Err(StateError::Replaced { path });
        }
        if let Some(current) = &mut self.current {
            current.set_aside_if_damaged(&self.files, &self.folder, &path)?;
        }
        self.generation = self.generation.saturating_add(1);
        let old = self.current.as_ref().map(|current| (current.old(&path), current.header.dropped));
        let missed = self.missed;
        let placed = &mut self.placed;
        let anew = rewrite::write(
            &self.files,
            &self.folder,
            self.generation,
            (old, missed),
            &parts,
            &self.limits,
            |file| {
                *placed = file.metadata().ok().map(|metadata| folder::identity(&metadata));
            },
        )?;
        self.mark.set(&self.folder, Marked::of(&anew.header, anew.header.base));
        self.missed = 0;
        let before = self.current.replace(Current {
            log: Log::Ours(anew.writing),
            header: anew.header,
            length: anew.header.base,
            frames: anew.frames,
            repaired: None,
        });
        self.stopped = None;
        Ok(before.and_then(|before| before.repaired))
    }

    /// Says how many events since the last that was written can be written no more. All of it must be written again then, since
    /// the count stands at its head.
    pub(crate) fn miss(&mut self, events: u64) {
        self.missed = events;
        if events > 0 {
            self.stopped = self.stopped.or(Some(Why::Grown));
        }
    }

    /// Whether all of it must be written again, or should be, and why.
    pub(crate) fn wants_rewrite(&self) -> Option<Why> {
        let grown =
            |current: &Current| current.length.saturating_sub(current.header.base) >= self.limits.growth;
        self.stopped.or_else(|| self.current.as_ref().filter(|current| grown(current)).map(|_| Why::Grown))
    }

    /// Counts the files that have been the journal of this folder.
    #[cfg(test)]
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

/// The last of these that have so many bytes together.
fn fitting(bodies: &[Vec<u8>], mut bytes: u64) -> &[Vec<u8>] {
    let fits = |body: &&Vec<u8>| {
        let left = bytes.checked_sub(body.len() as u64);
        bytes = left.unwrap_or_default();
        left.is_some()
    };
    let kept = bodies.iter().rev().take_while(fits).count();
    bodies.get(bodies.len() - kept..).unwrap_or_default()
}

impl Current {
    fn old<'a>(&'a self, path: &'a Path) -> Old<'a> {
        let file = match &self.log {
            Log::Found(file) => file,
            Log::Ours(writing) => writing.file(),
        };
        Old { path, file, header: self.header, end: self.length, frames: self.frames }
    }

    /// Events are read again from a file that was whole when it was written or opened. If it no longer is, what is decided
    /// must reach the disk all the same; a copy is kept, once.
    fn set_aside_if_damaged(&mut self, files: &Files, folder: &Path, path: &Path) -> Result<(), StateError> {
        if self.repaired.is_some() {
            return Ok(());
        }
        let old = self.old(path);
        let mut events = 0;
        let lost = old.each(|_, head, body| {
            events += u64::from(head.kind == Kind::Event && body.is_some());
            Ok(())
        })?;
        if lost == rewrite::Lost::default() {
            return Ok(());
        }
        let kept_as = repair::keep_copy(files, folder, old.file)?;
        self.repaired = Some(Repaired {
            kept_as: Some(kept_as),
            lost_bytes: lost.bytes,
            lost_records: lost.records,
            state: true,
            evidence: true,
            events,
        });
        Ok(())
    }
}

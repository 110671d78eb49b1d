//! A journal that is written again: aside, synced, renamed into its place, and the folder synced. Whatever fails, the one
//! before is whole and in its place, or the new one is.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StateError;
use super::frame::{FORMAT, FRAME_MAX, HEADER, Head, Header, Kind, frame_length};
use super::frames::{Frames, Next};
use super::names::{ASIDE, FILE_MAX, JOURNAL, Limits};
use crate::base::disk::{Files, Writing};

/// How much is gathered before it is written.
const BUFFER: usize = 1 << 20;

/// The content of a new journal, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) kind: Kind,
    pub(crate) whole: bool,
    pub(crate) body: &'a [u8],
}

impl Part<'_> {
    /// Whether it would be read again.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        let (bytes, limit) = (self.body.len() as u64, FRAME_MAX as u64);
        if bytes > limit {
            return Err(StateError::TooLarge { what: "an entry", bytes, limit });
        }
        let line = |body| std::str::from_utf8(body).is_ok_and(|text| !text.contains(['\n', '\r']));
        if self.kind == Kind::Event && !line(self.body) {
            return Err(StateError::NotALine);
        }
        Ok(())
    }
}

/// A file that was read to its end, and is read again for its events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Old<'a> {
    pub(crate) path: &'a Path,
    pub(crate) file: &'a File,
    pub(crate) header: Header,
    /// Up to where.
    pub(crate) end: u64,
    /// The number of the first frame that does not count.
    pub(crate) frames: u32,
}

/// The damage of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
}

impl Old<'_> {
    /// Every frame that has a whole head, with its body where that is whole, whatever lies between; and what was lost.
    pub(crate) fn each(
        &self,
        mut visit: impl FnMut(u64, Head, Option<&[u8]>) -> Result<(), StateError>,
    ) -> Result<Lost, StateError> {
        let disk = |error| StateError::disk("reading", self.path)(error);
        let mut frames = Frames::new(self.file, self.header, self.end).map_err(disk)?;
        let (mut lost, mut number) = (Lost::default(), 0_u32);
        loop {
            let offset = frames.at();
            let head = match frames.next().map_err(disk)? {
                Next::End => return Ok(lost),
                Next::Frame(head) => {
                    visit(offset, head, Some(frames.body()))?;
                    head
                }
                Next::Bad(head) => {
                    // A whole head says how much there is to step over.
                    let from = head.map_or(offset + 1, |head| offset.saturating_add(head.frame_length()));
                    if let Some(head) = head {
                        visit(offset, head, None)?;
                    }
                    let next = frames.find(from, |_| true).map_err(disk)?;
                    lost.bytes += frames.at() - offset;
                    // What had no head is counted by the number of the next one.
                    lost.records += u64::from(head.is_some() || next.is_none());
                    match head {
                        Some(head) => head,
                        None => continue,
                    }
                }
            };
            lost.records += u64::from(head.number.saturating_sub(number));
            number = head.number.saturating_add(1);
        }
    }
}

/// The events of an old file that are kept: the last ones.
#[derive(Default)]
struct Kept {
    lengths: VecDeque<u32>,
    bytes: u64,
    dropped: u64,
}

impl Kept {
    fn add(&mut self, length: u32) {
        self.lengths.push_back(length);
        self.bytes += u64::from(length);
    }

    fn drop_to(&mut self, events: usize, bytes: u64) {
        while self.lengths.len() > events || self.bytes > bytes {
            let Some(length) = self.lengths.pop_front() else { return };
            self.bytes -= u64::from(length);
            self.dropped += 1;
        }
    }
}

/// A journal that was written again.
pub(crate) struct Anew {
    pub(crate) writing: Writing,
    pub(crate) header: Header,
    pub(crate) frames: u32,
}

/// Writes a journal: the last events of the old one, then `parts`. Of more events, `missed` were in neither. `placed` is called once it may be the one in place.
///
/// # Errors
///
/// A step failed. The journal in place is the old one, or this one where it was `placed`.
pub(crate) fn write(
    files: &Files,
    folder: &Path,
    generation: u64,
    (old, missed): (Option<(Old<'_>, u64)>, u64),
    parts: &[Part<'_>],
    limits: &Limits,
    placed: impl FnOnce(&File),
) -> Result<Anew, StateError> {
    let (path, aside) = (folder.join(JOURNAL), folder.join(ASIDE));
    parts.iter().try_for_each(Part::check)?;
    let kept = match old {
        Some((old, _)) => keep(old, parts, limits)?,
        None => Kept::default(),
    };
    let lengths = kept.lengths.iter().map(|length| *length as usize);
    let base = HEADER as u64
        + lengths.chain(parts.iter().map(|part| part.body.len())).map(frame_length).sum::<u64>();
    let too_large = || StateError::TooLarge { what: "a journal", bytes: base, limit: FILE_MAX };
    if base > FILE_MAX {
        return Err(too_large());
    }
    let frames = u32::try_from(kept.lengths.len() + parts.len()).map_err(|_| too_large())?;
    let before = old.map_or(0, |(_, dropped)| dropped);
    let dropped = before.saturating_add(kept.dropped).saturating_add(missed);
    let header = Header { format: FORMAT, generation, salt: salt(&aside)?, dropped, base };

    super::folder::remove(files, &aside)?;
    let writing = files.create_log(&aside).map_err(StateError::disk("making", &aside))?;
    let mut out =
        Out { aside: &aside, writing, header, frames, buffer: header.encode(), written: 0, number: 0 };
    if let Some((old, _)) = old {
        let mut skip = kept.dropped;
        old.each(|_, head, body| match body {
            Some(body) if counts(&old, head) && skip == 0 => {
                out.add(Part { kind: Kind::Event, whole: false, body })
            }
            Some(_) if counts(&old, head) => {
                skip -= 1;
                Ok(())
            }
            _ => Ok(()),
        })?;
    }
    parts.iter().try_for_each(|part| out.add(*part))?;
    out.flush()?;
    let Out { mut writing, written, number, .. } = out;
    if (written, number) != (base, frames) {
        let source = io::Error::other("it changed while it was read");
        return Err(StateError::disk("reading", &path)(source));
    }
    writing.sync().map_err(StateError::disk("syncing", &aside))?;
    files.rename(&aside, &path).map_err(StateError::disk("renaming", &aside))?;
    placed(writing.file());
    files.sync_folder(folder).map_err(StateError::disk("syncing", folder))?;
    Ok(Anew { writing, header, frames })
}

fn counts(old: &Old<'_>, head: Head) -> bool {
    head.kind == Kind::Event && head.number < old.frames
}

/// Which events of the old file are kept beside those that come with `parts`.
fn keep(old: Old<'_>, parts: &[Part<'_>], limits: &Limits) -> Result<Kept, StateError> {
    let new = || parts.iter().filter(|part| part.kind == Kind::Event);
    let events = limits.events.saturating_sub(new().count());
    let bytes = limits.event_bytes.saturating_sub(new().map(|part| part.body.len() as u64).sum());
    let mut kept = Kept::default();
    old.each(|_, head, body| {
        if body.is_some() && counts(&old, head) {
            kept.add(head.length);
            kept.drop_to(events, bytes);
        }
        Ok(())
    })?;
    Ok(kept)
}

struct Out<'a> {
    aside: &'a PathBuf,
    writing: Writing,
    header: Header,
    frames: u32,
    buffer: Vec<u8>,
    written: u64,
    number: u32,
}

impl Out<'_> {
    fn add(&mut self, part: Part<'_>) -> Result<(), StateError> {
        let Part { kind, whole, body } = part;
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let commit = self.number.saturating_add(1) == self.frames;
        let head = Head { kind, whole, commit, length, number: self.number, first: 0 };
        head.encode(&self.header, self.written + self.buffer.len() as u64, body, &mut self.buffer);
        self.number = self.number.saturating_add(1);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StateError> {
        self.writing.write(&self.buffer).map_err(StateError::disk("writing", self.aside))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn salt(path: &Path) -> Result<u64, StateError> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)
        .map_err(|error| StateError::disk("drawing a salt for", path)(io::Error::other(error.to_string())))?;
    Ok(u64::from_le_bytes(salt))
}

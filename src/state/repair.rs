//! The repair of a journal that is damaged.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::StateError;
use super::folder::Held;
use super::frame::{HEADER, Kind};
use super::names::{JOURNAL, Limits, MARK};
use super::rewrite::{Lost, Old, Part};
use super::{folder, mark, read, rewrite};
use crate::base::disk::Files;

/// How many damaged journals are kept: whoever has so many has another problem.
const COPIES_MAX: u32 = 99;

/// How much is copied at once.
const BUFFER: u64 = 1 << 20;

/// The result of a repair: how much it has kept, and how much it has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Repaired {
    /// A copy of the journal as it was, beside it; none where nothing was damaged, and nothing was done.
    pub kept_as: Option<PathBuf>,
    /// Bytes that are not what was written or are gone, of those that had been acknowledged; of a journal that is gone or is an
    /// older one, the length of the one that was written.
    pub lost_bytes: u64,
    /// Records in them: as many as can be told. None where only the header of the file was damaged.
    pub lost_records: u64,
    /// Whether what was decided is still there, as of the last whole record of it. If not, the next start is a first start:
    /// it knows of no quarantine.
    pub state: bool,
    /// Whether there is evidence. Some of it may be missing, and an outcome that is told again may be counted again.
    pub evidence: bool,
    /// Entries of the audit log that are whole.
    pub events: u64,
}

/// Makes a journal of what is whole in one that is [damaged](StateError::Damaged), and keeps a copy of the damaged one beside
/// it, as `journal.damaged-1` and so on. A journal that is not damaged is left as it is; one that is
/// [behind](StateError::Behind) what was written, or gone, is taken for all there is from then on.
///
/// For a person to call, who has looked at the disk first, and while nothing runs on the folder: what was decided and seen
/// in the damaged part is lost. Look at [`Repaired::state`] and at [`history`](super::history) before the next start.
///
/// # Errors
///
/// Another process has the folder, there is no journal in it, a later release wrote it, or a step on the disk failed. The
/// journal is then as it was, or repaired.
pub fn repair(folder: impl AsRef<Path>) -> Result<Repaired, StateError> {
    repair_with(&Files::default(), folder.as_ref())
}

pub(crate) fn repair_with(files: &Files, folder: &Path) -> Result<Repaired, StateError> {
    let path = folder.join(JOURNAL);
    let is_there = folder::is_plain(&path)?;
    if !is_there && !folder::is_plain(&folder.join(MARK))? {
        return Err(StateError::Missing { path });
    }
    let _held = Held::take(files, folder)?;
    // What is there is all there was, from here on.
    let marked = mark::read(files, folder)?;
    if !is_there {
        mark::forget(files, folder)?;
        let lost = marked.map_or(0, |marked| marked.length);
        return Ok(Repaired { lost_bytes: lost, ..Repaired::default() });
    }
    let Some(file) = read::open(files, folder)? else { return Err(StateError::Missing { path }) };
    match read::scan(&path, &file) {
        Ok((scan, found)) if scan.damage.is_none() => {
            let (state, evidence) = (found.state.is_some(), !found.evidence.is_empty());
            let lost_bytes = match marked.filter(|marked| marked.beyond(&scan).is_some()) {
                Some(marked) => {
                    mark::forget(files, folder)?;
                    let is_same = marked.salt == scan.header.salt;
                    if is_same { marked.length.saturating_sub(scan.committed) } else { marked.length }
                }
                None => 0,
            };
            return Ok(Repaired { state, evidence, lost_bytes, events: found.events, ..Repaired::default() });
        }
        Ok(_) | Err(StateError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let length = read::length(&path, &file)?;
    // A salt that is wrong finds nothing whole.
    let (header, known) =
        read::header(&path, &file)?.map_or((None, false), |(header, whole)| (Some(header), whole));
    let old = header.map(|header| Old { path: &path, file: &file, header, end: length, frames: 0 });
    let whole = old.map(|old| acknowledged(old, known)).transpose()?;
    let mut left = match whole {
        Some(old) => Left::gather(&old)?,
        None => Left { lost: Lost { bytes: length, records: 1 }, ..Left::default() },
    };
    match header {
        Some(_) if !known => left.lost.bytes += HEADER as u64,
        Some(header) if header.base > length => {
            left.lost.bytes += header.base - length;
            left.lost.records = left.lost.records.max(1);
        }
        _ => {}
    }

    let kept_as = keep_copy(files, folder, &file)?;
    let (generation, dropped) = match header {
        Some(header) if known => (header.generation.saturating_add(1), header.dropped),
        _ => (1, 0),
    };
    let part = |kind, whole, body| Part { kind, whole, body };
    let state = left.state.iter().map(|body| part(Kind::State, false, body.as_slice()));
    let evidence = left
        .evidence
        .iter()
        .enumerate()
        .map(|(index, body)| part(Kind::Evidence, index == 0, body.as_slice()));
    let decisions = left.decisions.iter().map(|body| part(Kind::Decision, false, body.as_slice()));
    let parts: Vec<Part<'_>> = decisions.chain(state).chain(evidence).collect();
    let old = whole.map(|old| (old, dropped));
    rewrite::write(files, folder, generation, (old, 0), &parts, &Limits::default(), |_| {})?;
    mark::forget(files, folder)?;
    Ok(Repaired {
        kept_as: Some(kept_as),
        lost_bytes: left.lost.bytes,
        lost_records: left.lost.records,
        state: left.state.is_some(),
        evidence: !left.evidence.is_empty(),
        events: left.events,
    })
}

/// How much of a file had been acknowledged: what was put in place with it, every batch that a later one follows, and the
/// last one where it is whole. What comes after that is the end of a write that nobody was told of.
fn acknowledged(old: Old<'_>, known: bool) -> Result<Old<'_>, StateError> {
    // Where the header is not to be believed, everything is taken to have been acknowledged.
    let base = if known { old.header.base } else { u64::MAX };
    let (mut frames, mut run) = (0_u32, Some(0_u32));
    old.each(|offset, head, body| {
        let next = head.number.saturating_add(1);
        let goes_on = head.number == head.first || run == Some(head.number);
        run = (body.is_some() && goes_on).then_some(next);
        frames = frames.max(head.first);
        if offset < base || (run.is_some() && head.commit) {
            frames = frames.max(next);
        }
        Ok(())
    })?;
    let mut end = base.min(old.end);
    old.each(|offset, head, _| {
        if head.number < frames {
            end = end.max(offset.saturating_add(head.frame_length()).min(old.end));
        }
        Ok(())
    })?;
    Ok(Old { end, frames, ..old })
}

#[derive(Default)]
struct Left {
    state: Option<Vec<u8>>,
    evidence: Vec<Vec<u8>>,
    decisions: VecDeque<Vec<u8>>,
    events: u64,
    lost: Lost,
}

impl Left {
    fn gather(old: &Old<'_>) -> Result<Self, StateError> {
        let mut left = Self::default();
        let lost = old.each(|_, head, body| {
            let Some(body) = body.filter(|_| head.number < old.frames) else { return Ok(()) };
            match head.kind {
                Kind::State => left.state = Some(body.to_vec()),
                Kind::Evidence if head.whole => left.evidence = vec![body.to_vec()],
                // What was added to something that is lost cannot stand alone.
                Kind::Evidence if left.evidence.is_empty() => {}
                Kind::Evidence => left.evidence.push(body.to_vec()),
                Kind::Event => left.events += 1,
                Kind::Decision => read::keep_decision(&mut left.decisions, body.to_vec()),
            }
            Ok(())
        })?;
        left.lost = lost;
        Ok(left)
    }
}

/// Copies a file of the folder beside it, under a name that is free.
pub(crate) fn keep_copy(files: &Files, folder: &Path, mut file: &File) -> Result<PathBuf, StateError> {
    let mut names = (1..=COPIES_MAX).map(|number| folder.join(format!("{JOURNAL}.damaged-{number}")));
    let Some(path) = names.find(|path| path.symlink_metadata().is_err()) else {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "there are 99 already: move them away");
        return Err(StateError::disk("keeping another damaged journal in", folder)(source));
    };
    let mut copy = files.create(&path).map_err(StateError::disk("making", &path))?;
    let copied = (|| {
        file.seek(SeekFrom::Start(0))?;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            if file.take(BUFFER).read_to_end(&mut buffer)? == 0 {
                return copy.sync();
            }
            copy.write(&buffer)?;
        }
    })();
    if let Err(error) = copied {
        // Half a copy is of no use. Where it cannot be removed either, it only takes a name.
        let _ = files.remove_file(&path);
        return Err(StateError::disk("writing", &path)(error));
    }
    Ok(path)
}

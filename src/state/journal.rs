//! The journal as it is written: by one process, a record at a time, each on disk before it is said to be.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::error::StateError;
use super::frame::{FORMAT, HEADER, Header, Kind, NoHeader, Parts, Read, read};
use crate::files::{Files, Writing, private};

/// What was added since the file was last written anew, beyond which it is written anew: a start reads all of it.
const GROWTH_MAX: u64 = 16 << 20;
/// Bytes of events that are kept when the file is written anew; the oldest are dropped first, and counted.
const EVENTS_MAX: usize = 8 << 20;
/// A file that is larger is none of ours.
pub(super) const FILE_MAX: u64 = 4 << 30;

pub(super) const JOURNAL: &str = "journal";
pub(super) const ASIDE: &str = "journal.new";
const LOCK: &str = "lock";

/// What one record says.
pub(crate) struct Record {
    /// What was decided, whole.
    pub(crate) state: Vec<u8>,
    /// What was seen: whole where the file is written anew, since the last record otherwise.
    pub(crate) evidence: Vec<u8>,
    /// Events since the last record.
    pub(crate) events: Vec<Vec<u8>>,
}

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Found {
    /// What was decided last; nothing in a folder that is new.
    pub(crate) state: Option<Vec<u8>>,
    /// What was seen: whole, and then what came after it.
    pub(crate) evidence: Vec<Vec<u8>>,
    /// Oldest first.
    pub(crate) events: Vec<Vec<u8>>,
    /// Events that were dropped before the first of them.
    pub(crate) dropped: u64,
    /// Bytes of an unfinished record at the end.
    pub(crate) torn_bytes: u64,
}

/// A journal that this process may write.
#[derive(Debug)]
pub(crate) struct Journal {
    files: Files,
    folder: PathBuf,
    /// Held as long as the journal is.
    _lock: File,
    /// The file, as long as it can be trusted: not before the first record, and not after a step has failed. A sync that
    /// failed once says nothing when it succeeds the next time: the system has forgotten what it could not write.
    open: Option<Open>,
    generation: u64,
}

#[derive(Debug)]
struct Open {
    file: Writing,
    header: Header,
    length: u64,
    /// Its length when it was written anew.
    began_with: u64,
}

impl Journal {
    /// Opens the journal in a folder, which is made where there is none, and locks it.
    pub(crate) fn open(files: Files, folder: &Path) -> Result<(Self, Found), StateError> {
        files.create_folder(folder).map_err(StateError::disk("making the folder", folder))?;
        let lock = lock(folder)?;
        let aside = folder.join(ASIDE);
        if aside.symlink_metadata().is_ok() {
            files.remove_file(&aside).map_err(StateError::disk("removing", &aside))?;
        }
        let mut journal = Self { files, folder: folder.to_owned(), _lock: lock, open: None, generation: 0 };
        let path = folder.join(JOURNAL);
        let Some(bytes) = contents(&journal.files, &path)? else { return Ok((journal, Found::default())) };
        let (header, found) = found(&path, &bytes)?;
        journal.generation = header.generation;
        // What is torn is not cut off but left behind: the next record begins another file.
        if found.torn_bytes == 0 {
            let file = journal.files.append(&path).map_err(StateError::disk("opening", &path))?;
            let length = bytes.len() as u64;
            journal.open = Some(Open { file, header, length, began_with: length });
        }
        Ok((journal, found))
    }

    /// Whether the next record must be whole: [`rewrite`](Self::rewrite).
    pub(crate) fn wants_rewrite(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.length - open.began_with > GROWTH_MAX)
    }

    /// Adds a record. It is on disk when this returns; where it fails, the next record must be whole.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), StateError> {
        let path = self.folder.join(JOURNAL);
        let refused = || StateError::Record { cause: "the journal is to be written anew first".into() };
        let mut open = self.open.take().ok_or_else(refused)?;
        let events = record.events.iter().map(|event| (Kind::Event, event.as_slice()));
        let seen = [(Kind::State, record.state.as_slice()), (Kind::MoreEvidence, &record.evidence)];
        let parts: Vec<_> = events.chain(seen).collect();
        let bytes = open.header.record(open.length as usize, &parts).ok_or_else(too_large)?;
        open.file.write(&bytes).map_err(StateError::disk("writing", &path))?;
        open.file.sync().map_err(StateError::disk("syncing", &path))?;
        open.length += bytes.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// Writes the journal anew: the events it held, as many as are kept, and a record that is whole. Aside, then in its
    /// place by a rename: whatever fails, one of the two is there whole.
    pub(crate) fn rewrite(&mut self, record: &Record) -> Result<(), StateError> {
        self.open = None;
        let (path, aside) = (self.folder.join(JOURNAL), self.folder.join(ASIDE));
        let before = match contents(&self.files, &path)? {
            Some(bytes) => found(&path, &bytes)?.1,
            None => Found::default(),
        };
        let header = Header { generation: self.generation + 1, salt: salt()? };
        let bytes = anew(header, &before, record)?;
        if aside.symlink_metadata().is_ok() {
            self.files.remove_file(&aside).map_err(StateError::disk("removing", &aside))?;
        }
        let mut file = self.files.create(&aside).map_err(StateError::disk("making", &aside))?;
        file.write(&bytes).map_err(StateError::disk("writing", &aside))?;
        file.sync().map_err(StateError::disk("syncing", &aside))?;
        self.files.rename(&aside, &path).map_err(StateError::disk("renaming", &aside))?;
        self.generation = header.generation;
        self.files.sync_folder(&self.folder).map_err(StateError::disk("syncing", &self.folder))?;
        let length = bytes.len() as u64;
        self.open = Some(Open { file, header, length, began_with: length });
        Ok(())
    }
}

/// A file with the events that are kept, and one record.
pub(super) fn anew(header: Header, before: &Found, record: &Record) -> Result<Vec<u8>, StateError> {
    let events: Vec<&Vec<u8>> = before.events.iter().chain(&record.events).collect();
    let mut kept = 0;
    let from = events.iter().rposition(|event| {
        kept += event.len();
        kept > EVENTS_MAX
    });
    let from = from.map_or(0, |last_dropped| last_dropped + 1);
    let dropped = (before.dropped + from as u64).to_le_bytes();
    let mut parts = vec![(Kind::Dropped, dropped.as_slice())];
    parts.extend(events.iter().skip(from).map(|event| (Kind::Event, event.as_slice())));
    parts.push((Kind::State, &record.state));
    parts.push((Kind::Evidence, &record.evidence));
    let mut bytes = header.encode();
    bytes.extend(header.record(HEADER, &parts).ok_or_else(too_large)?);
    Ok(bytes)
}

fn too_large() -> StateError {
    StateError::Record { cause: "it is larger than 4 GiB".into() }
}

pub(super) fn salt() -> Result<u64, StateError> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).map_err(|error| StateError::Record { cause: error.to_string() })?;
    Ok(u64::from_le_bytes(salt))
}

/// Locks a folder for this process, and looks whether it is private.
pub(super) fn lock(folder: &Path) -> Result<File, StateError> {
    let disk = |step, error| StateError::disk(step, folder)(error);
    #[cfg(unix)]
    {
        let mode = folder.metadata().map_err(|error| disk("looking at", error))?;
        if std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o022 != 0 {
            return Err(StateError::NotPrivate { folder: folder.to_owned() });
        }
    }
    let path = folder.join(LOCK);
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    private(&mut options);
    let lock = options.open(&path).map_err(|error| disk("opening the lock of", error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StateError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(disk("locking", error)),
    }
}

/// The bytes of a file; nothing where there is none.
pub(super) fn contents(files: &Files, path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::disk("looking at", path)(error)),
        Ok(metadata) if !metadata.is_file() => {
            return Err(StateError::NotAJournal { path: path.to_owned(), cause: "it is no plain file" });
        }
        Ok(_) => {}
    }
    files.read(path, FILE_MAX).map(Some).map_err(StateError::disk("reading", path))
}

/// What the bytes of a journal hold.
pub(super) fn found(path: &Path, bytes: &[u8]) -> Result<(Header, Found), StateError> {
    let Read { header, bodies, end, beyond } = read(bytes).map_err(|none| no_header(path, none))?;
    if beyond.is_some() {
        return Err(StateError::Damaged { path: path.to_owned(), offset: end as u64 });
    }
    let mut found = gathered(&bodies);
    found.torn_bytes = bytes.len().saturating_sub(end) as u64;
    Ok((header, found))
}

/// What records say together.
pub(super) fn gathered(bodies: &[&[u8]]) -> Found {
    let mut found = Found::default();
    for (kind, part) in bodies.iter().flat_map(|body| Parts(body)) {
        match kind {
            Kind::State => found.state = Some(part.to_vec()),
            Kind::Evidence => found.evidence = vec![part.to_vec()],
            Kind::MoreEvidence => found.evidence.push(part.to_vec()),
            Kind::Event => found.events.push(part.to_vec()),
            Kind::Dropped => found.dropped = part.try_into().map_or(0, u64::from_le_bytes),
        }
    }
    found
}

pub(super) fn no_header(path: &Path, none: NoHeader) -> StateError {
    let path = path.to_owned();
    match none {
        NoHeader::Not(cause) => StateError::NotAJournal { path, cause },
        NoHeader::Newer(format) => StateError::Newer { path, format, known: FORMAT },
    }
}

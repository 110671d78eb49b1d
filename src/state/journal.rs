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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{history, repair};
    use super::*;
    use crate::testing::Faults;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("switchback-journal-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            Self(folder)
        }

        fn journal(&self) -> PathBuf {
            self.0.join(JOURNAL)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn record(number: u32) -> Record {
        let text = |name: &str| format!("\"{name} {number}\"").into_bytes();
        Record { state: text("state"), evidence: text("evidence"), events: vec![text("event")] }
    }

    fn number_of(found: &Found) -> Option<u32> {
        let state = String::from_utf8(found.state.clone()?).unwrap();
        state.trim_matches('"').strip_prefix("state ")?.parse().ok()
    }

    fn write(journal: &mut Journal, record: &Record) -> Result<(), StateError> {
        if journal.wants_rewrite() { journal.rewrite(record) } else { journal.append(record) }
    }

    #[test]
    fn what_was_written_is_found_whole_first_then_what_came_after() {
        let folder = Folder::new("found");
        let (mut journal, found) = Journal::open(Files::default(), &folder.0).unwrap();
        assert_eq!((found, journal.wants_rewrite()), (Found::default(), true));
        (1..=3).for_each(|number| write(&mut journal, &record(number)).unwrap());
        drop(journal);
        let (mut journal, found) = Journal::open(Files::default(), &folder.0).unwrap();
        assert_eq!(number_of(&found), Some(3));
        assert_eq!(found.evidence, [b"\"evidence 1\"", b"\"evidence 2\"", b"\"evidence 3\""]);
        assert_eq!(found.events.len(), 3);
        journal.rewrite(&record(4)).unwrap();
        drop(journal);
        let (_, found) = Journal::open(Files::default(), &folder.0).unwrap();
        assert_eq!((found.evidence.len(), found.events.len()), (1, 4), "the history stays");
        let history: Vec<String> = history(&folder.0).unwrap().collect();
        assert_eq!(history, ["\"event 1\"", "\"event 2\"", "\"event 3\"", "\"event 4\""]);
    }

    /// Ten records, with every step made to fail in turn: for good, once, and in the middle of a write.
    #[test]
    fn whatever_step_fails_what_was_acknowledged_is_found() {
        for (torn, once) in [(false, false), (true, false), (false, true), (true, true)] {
            for failing in 0.. {
                let folder = Folder::new(&format!("faults-{torn}-{once}"));
                let faults = Faults::new();
                faults.fail_after(failing);
                if torn {
                    faults.torn();
                }
                if once {
                    faults.once();
                }
                let files = Files::with(faults.clone());
                let (mut acknowledged, mut tried) = (None, None);
                if let Ok((mut journal, _)) = Journal::open(files, &folder.0) {
                    for number in 1..=10 {
                        tried = Some(number);
                        if number == 5 {
                            journal.open = None;
                        }
                        match write(&mut journal, &record(number)) {
                            Ok(()) => acknowledged = Some(number),
                            Err(_) if once => {}
                            Err(_) => break,
                        }
                    }
                }
                let (_, found) = Journal::open(Files::default(), &folder.0).unwrap();
                let number = number_of(&found);
                assert!(
                    number == acknowledged || number == tried,
                    "step {failing}: {number:?}, acknowledged {acknowledged:?}, tried {tried:?}"
                );
                assert!(!folder.0.join(ASIDE).exists());
                if faults.steps() < failing {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_torn_end_is_left_behind_and_damage_in_the_middle_is_an_error_with_a_way_out() {
        let folder = Folder::new("damage");
        let (mut journal, _) = Journal::open(Files::default(), &folder.0).unwrap();
        (1..=4).for_each(|number| write(&mut journal, &record(number)).unwrap());
        drop(journal);
        let whole = fs::read(folder.journal()).unwrap();
        for cut in 1..40 {
            fs::write(folder.journal(), &whole[..whole.len() - cut]).unwrap();
            let (journal, found) = Journal::open(Files::default(), &folder.0).unwrap();
            assert_eq!((number_of(&found), found.torn_bytes > 0), (Some(3), true));
            assert!(journal.wants_rewrite(), "nothing is written behind what is torn");
        }
        // A flipped bit is found wherever it is: in the last record it cannot be told from a torn end.
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            fs::write(folder.journal(), &bytes).unwrap();
            match Journal::open(Files::default(), &folder.0) {
                Ok((_, found)) => assert_eq!((number_of(&found), found.torn_bytes > 0), (Some(3), true)),
                Err(
                    StateError::Damaged { .. } | StateError::NotAJournal { .. } | StateError::Newer { .. },
                ) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let mut bytes = whole.clone();
        let second = whole.windows(9).position(|window| window == b"\"event 2\"").unwrap();
        bytes[second] = b'?';
        fs::write(folder.journal(), &bytes).unwrap();
        let damaged = Journal::open(Files::default(), &folder.0).unwrap_err();
        assert!(
            matches!(damaged, StateError::Damaged { .. }) && damaged.to_string().contains("repair"),
            "{damaged}"
        );
        assert!(history(&folder.0).is_err());
        assert_eq!(fs::read(folder.journal()).unwrap(), bytes, "nothing is changed by looking");
        let repaired = repair(&folder.0).unwrap();
        assert_eq!((repaired.found_state, repaired.events), (true, 3));
        assert!(repaired.lost_bytes > 0);
        assert_eq!(fs::read(repaired.kept_as).unwrap(), bytes);
        let (_, found) = Journal::open(Files::default(), &folder.0).unwrap();
        assert_eq!((number_of(&found), found.evidence.len()), (Some(4), 3));
    }

    #[test]
    fn what_is_none_of_ours_is_refused_and_left_as_it_is() {
        let folder = Folder::new("others");
        Files::default().create_folder(&folder.0).unwrap();
        for (bytes, cause) in
            [(&b""[..], "too short"), (b"{\"a\": 1}", "too short"), (&[b'x'; 64], "begins otherwise")]
        {
            fs::write(folder.journal(), bytes).unwrap();
            let error = Journal::open(Files::default(), &folder.0).unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
            assert_eq!(fs::read(folder.journal()).unwrap(), bytes);
        }
        let mut newer = Header { generation: 1, salt: 2 }.encode();
        newer[8] = 9;
        fs::write(folder.journal(), newer).unwrap();
        let error = Journal::open(Files::default(), &folder.0).unwrap_err();
        assert!(matches!(error, StateError::Newer { format: 9, known: 1, .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_folders_that_others_may_write_are_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = Folder::new("links");
        Files::default().create_folder(&folder.0).unwrap();
        let target = folder.0.join("elsewhere");
        fs::write(&target, Header { generation: 1, salt: 2 }.encode()).unwrap();
        symlink(&target, folder.journal()).unwrap();
        let error = Journal::open(Files::default(), &folder.0).unwrap_err();
        assert!(matches!(error, StateError::NotAJournal { .. }), "{error}");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Journal::open(Files::default(), &folder.0).unwrap_err();
        assert!(matches!(error, StateError::NotPrivate { .. }), "{error}");
    }

    #[test]
    fn old_events_are_dropped_and_counted() {
        let folder = Folder::new("bounded");
        let (mut journal, _) = Journal::open(Files::default(), &folder.0).unwrap();
        let large = |number: u32| Record {
            events: vec![vec![b'0' + number as u8; EVENTS_MAX / 3]],
            ..record(number)
        };
        (1..=5).for_each(|number| journal.rewrite(&large(number)).unwrap());
        let history = history(&folder.0).unwrap();
        assert_eq!(history.dropped(), 2);
        assert_eq!(history.map(|event| event.as_bytes()[0]).collect::<Vec<_>>(), *b"345");
    }
}

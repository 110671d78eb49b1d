//! One entry: a folder with an optimised graph, its weights, and a record of what both must be.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::key::Key;
use crate::base::disk::{Files, Link, NotPlain, Shared, open_lock, open_plain, own_file, own_folder};
use crate::base::text;
use crate::model::onnx::file::files::{Stamp, pieces};
use crate::model::onnx::session::pool::CLOCK;

/// The optimised graph, and its weights.
pub(crate) const GRAPH: &str = "model.onnx";

pub(crate) const WEIGHTS: &str = "model.data";

/// The record of what both must be, byte for byte.
const RECORD: &str = "record";

/// Locked, with others, by whoever uses the entry; its time is when that was last.
const IN_USE: &str = "in-use";

/// A record is some 300 bytes.
const RECORD_BYTES_MAX: u64 = 4_096;

/// A whole entry that was held against its record, byte for byte, since which it has not been written to; kept from being
/// evicted until this is dropped.
pub(crate) struct Entry {
    pub(crate) folder: PathBuf,
    stamps: Vec<(PathBuf, Stamp)>,
    /// Its group could write to it until it was opened.
    pub(crate) mended: bool,
    _in_use: File,
}

impl Entry {
    /// The graph, as ONNX Runtime is to load it.
    pub(crate) fn graph(&self) -> PathBuf {
        self.folder.join(GRAPH)
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether its files are still those that were checked, as far as the system tells without reading them: every write
    /// changes the time of the last change, which no call can set.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.stamps.iter().all(|(path, stamp)| Stamp::of_path(path).as_ref() == Some(stamp))
    }
}

/// Why a folder is no entry that can be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// There is none.
    Missing,
    /// It is not what was put there: torn, tampered with, or of another format.
    Broken(String),
    /// The system answered with an error, which says nothing of what is there: it stays.
    Unknown(String),
}

/// Opens an entry and reads all of it: linear in its size. What the record says decides, and nothing else.
pub(crate) fn open(files: &Files, folder: &Path, key: &Key) -> Result<Entry, Unusable> {
    let broken = |error: io::Error| {
        let is_other = NotPlain::of(&error).is_some()
            || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge);
        let reason = format!("its prepared form cannot be read: {error}");
        if is_other { Unusable::Broken(reason) } else { Unusable::Unknown(reason) }
    };
    if !folder.is_dir() {
        return Err(Unusable::Missing);
    }
    // Locked first: from here on nobody evicts it.
    let path = folder.join(IN_USE);
    let in_use = open_lock(&path).map_err(broken)?;
    match in_use.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Unusable::Missing), // it is being evicted
        Err(TryLockError::Error(error)) => return Err(broken(error)),
    }
    // Before it is read: what was written to it until now shows, and nobody else writes to it afterwards.
    let mut mended = false;
    let mut is_own = |shared: Shared| match shared {
        Shared::Own { mended: now } => {
            mended |= now;
            Ok(())
        }
        _ => Err(Unusable::Broken("it is another user's, or others may write to it".to_owned())),
    };
    is_own(own_folder(folder).map_err(broken)?)?;
    for name in [RECORD, GRAPH, WEIGHTS] {
        is_own(own_file(&folder.join(name)).map_err(broken)?)?;
    }
    let record = files.read(&folder.join(RECORD), RECORD_BYTES_MAX).map_err(broken)?;
    let record = String::from_utf8(record).map_err(|_| Unusable::Broken("its record is no text".into()))?;
    let parts = parse(&record, key).map_err(Unusable::Broken)?;
    let mut stamps = Vec::new();
    for (name, size, digest) in parts {
        let path = folder.join(name);
        let (found, found_digest, stamp) = hash_settled(&path).map_err(broken)?;
        if found != size || found_digest != digest {
            return Err(Unusable::Broken(format!("{name} is not what was put there")));
        }
        stamps.push((path, stamp));
    }
    // Where nobody can tell when it was used last, it is evicted sooner: no reason not to use it.
    let _ = in_use.set_modified(CLOCK.now().into());
    Ok(Entry { folder: folder.to_owned(), stamps, mended, _in_use: in_use })
}

/// Completes what was written into a folder that is nobody else's yet: the record, everything synced, nothing to be written
/// to any more. Gives its size.
pub(crate) fn seal(files: &Files, folder: &Path, key: &Key) -> io::Result<u64> {
    let (mut record, mut bytes) = (format!("switchback prepared form\n{}\n", key.name()), 0_u64);
    for name in [GRAPH, WEIGHTS] {
        let path = folder.join(name);
        if name == WEIGHTS && !path.exists() {
            continue; // a graph whose weights are all small has them inside
        }
        files.sync_file(&path)?;
        let (size, digest, _) = hash(&path)?;
        record.push_str(&format!("{name} {size} {}\n", text::hex(&digest)));
        bytes = bytes.saturating_add(size);
        std::fs::set_permissions(&path, read_by_its_owner(&path)?)?;
    }
    for (name, text) in [(IN_USE, ""), (RECORD, record.as_str())] {
        let mut file = files.create(&folder.join(name))?;
        file.write(text.as_bytes())?;
        file.sync()?;
    }
    files.sync_folder(folder)?;
    Ok(bytes)
}

/// Nobody else's to read, and nobody's to write.
fn read_by_its_owner(path: &Path) -> io::Result<Permissions> {
    let mut permissions = path.metadata()?.permissions();
    permissions.set_readonly(true);
    #[cfg(unix)]
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o400);
    Ok(permissions)
}

/// Takes an entry for itself, so that it can be evicted; nothing where somebody uses it.
pub(crate) fn claim(folder: &Path) -> Option<File> {
    let file = open_lock(&folder.join(IN_USE)).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// When an entry was last opened.
pub(crate) fn last_used(folder: &Path) -> Option<SystemTime> {
    folder.join(IN_USE).metadata().and_then(|metadata| metadata.modified()).ok()
}

/// A file, its size and its SHA-256.
type Part<'r> = (&'r str, u64, [u8; 32]);

/// The files that a record names.
fn parse<'r>(record: &'r str, key: &Key) -> Result<Vec<Part<'r>>, String> {
    let mut lines = record.lines();
    if lines.next() != Some("switchback prepared form") {
        return Err("its record is none".to_owned());
    }
    if lines.next() != Some(key.name().as_str()) {
        return Err("its record is another entry's".to_owned());
    }
    let part = |line: &'r str| {
        let mut words = line.split(' ');
        let (name, size, digest) = (words.next()?, words.next()?, words.next()?);
        let name = [GRAPH, WEIGHTS].contains(&name).then_some(name)?;
        words.next().is_none().then_some((name, size.parse().ok()?, text::digest(digest)?))
    };
    let parts: Option<Vec<_>> = lines.map(part).collect();
    let parts = parts.ok_or_else(|| "its record cannot be read".to_owned())?;
    let names: Vec<&str> = parts.iter().map(|(name, ..)| *name).collect();
    if names != [GRAPH, WEIGHTS] && names != [GRAPH] {
        return Err("its record does not name its files".to_owned());
    }
    Ok(parts)
}

/// The same, once the system's clock for files has gone on since its last change: the next one shows, then.
fn hash_settled(path: &Path) -> io::Result<(u64, [u8; 32], Stamp)> {
    Stamp::settle(path);
    hash(path)
}

fn hash(path: &Path) -> io::Result<(u64, [u8; 32], Stamp)> {
    let mut hash = Sha256::new();
    let file = open_plain(path, File::options().read(true), Link::Refused)?;
    let stamp = Stamp::of_file(&file)?;
    pieces(file, stamp.length, |piece| hash.update(piece))?;
    Ok((stamp.length, hash.finalize().into(), stamp))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> (Key, String) {
        let key = Key::for_tests();
        let digest = "0a".repeat(32);
        let record = format!(
            "switchback prepared form\n{}\nmodel.onnx 12 {digest}\nmodel.data 34 {digest}\n",
            key.name()
        );
        (key, record)
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is() {
        let (key, record) = record();
        assert_eq!(parse(&record, &key).unwrap(), [(GRAPH, 12, [0x0a; 32]), (WEIGHTS, 34, [0x0a; 32])]);
        let refused = [
            (record.replace("prepared", "repaired"), "none"),
            (record.replace(&key.name(), &"0".repeat(64)), "another entry's"),
            (record.replace("12", "-12"), "cannot be read"),
            (record.replace("model.data", "../data"), "cannot be read"),
            (record.replace("model.onnx", "model.data"), "does not name"),
            (record.replace("0a\n", "0\n"), "cannot be read"),
            (record.replace(" 34", " 34 5"), "cannot be read"),
            (record.lines().take(2).collect::<Vec<_>>().join("\n"), "does not name"),
        ];
        for (record, why) in refused {
            let found = parse(&record, &key).unwrap_err();
            assert!(found.contains(why), "{record}: {found}");
        }
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_of_records_down(text in "\\PC{0,300}", at in 0_usize..400) {
            let (key, mut record) = record();
            let _ = parse(&text, &key);
            if record.is_char_boundary(at) {
                record.insert_str(at, &text);
                let _ = parse(&record, &key);
            }
        }
    }
}

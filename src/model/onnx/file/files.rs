//! Reads a model's files once, hashes them, and refuses references that lead astray.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::scan::{KIND_BYTES, Scan, other_text, scan};
use crate::base::disk::{NotPlain, open_to_read};
use crate::model::error::LoadError;
use crate::model::identity::Identity;
use crate::model::onnx::session::pool::CLOCK;

/// Where a model's bytes are.
#[derive(Clone)]
pub(crate) enum Source {
    /// A file, by its absolute path, and the files it refers to.
    File(PathBuf),
    /// Memory.
    Bytes(Arc<[u8]>),
}

/// The largest file of a model: what protobuf can hold. Weights beyond it are external data.
const MODEL_MAX: u64 = i32::MAX as u64;

/// The most external data of a model, some hundred times what one process runs: a file with a hole of exabytes would be
/// hashed for years.
const DATA_MAX: u64 = 1 << 38;

/// A file that was changed within this time before it was looked at may be changed again without another time of change:
/// the system's clock for files goes by ticks of at most 10 ms.
const TICK: Duration = Duration::from_millis(20);

/// How often a model is read and loaded again, because its files were touched meanwhile.
const ATTEMPTS: u32 = 4;

/// A model's files as they were when they were read.
pub(crate) struct Files {
    pub(crate) source: Source,
    /// The name that errors give it: the path as it was given, or the name given to bytes.
    pub(crate) name: String,
    pub(crate) scan: Scan,
    /// SHA-256 over all files; that of the one file where there is only one.
    pub(crate) digest: [u8; 32],
    /// SHA-256 of each file: the model's own without a name, then those that it refers to, as it does.
    pub(crate) parts: Vec<(String, [u8; 32])>,
    /// Size of all files, in bytes.
    pub(crate) bytes: u64,
    /// The stamps that the digest is known to be of. Held while it is made sure of.
    sure: Mutex<Stamps>,
    /// The bytes of the model's own file, as long as somebody has them.
    held: Mutex<Weak<Vec<u8>>>,
}

/// Why files are not known to be those that were read.
pub(crate) enum NotTheSame {
    /// They were read again, and are others.
    Changed(LoadError),
    /// They could not be read.
    Unseen(LoadError),
}

impl From<NotTheSame> for LoadError {
    fn from(why: NotTheSame) -> Self {
        match why {
            NotTheSame::Changed(error) | NotTheSame::Unseen(error) => error,
        }
    }
}

impl Files {
    /// Reads the file at `path`, and hashes it with every file it refers to.
    pub(crate) fn read(path: &Path) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let absolute = std::path::absolute(path).map_err(|error| unreadable(path, error))?;
        // The folder as it is now, whatever links on the way to it lead to later.
        let absolute = match (absolute.parent(), absolute.file_name()) {
            (Some(folder), Some(file)) => {
                folder.canonicalize().map_err(|error| unreadable(path, error))?.join(file)
            }
            _ => absolute,
        };
        let (main, stamps) = read(&absolute)?;
        let scan = checked(&name, &main)?;
        let mut files = Self {
            source: Source::File(absolute),
            name,
            digest: Sha256::digest(&main).into(),
            parts: Vec::new(),
            bytes: main.len() as u64,
            scan,
            sure: Mutex::new(stamps),
            held: Mutex::new(Weak::new()),
        };
        drop(main); // external data can be far larger still
        files.add_external()?;
        Ok(files)
    }

    /// Takes a model from memory. It cannot refer to files.
    pub(crate) fn of_bytes(name: String, bytes: Arc<[u8]>) -> Result<Self, LoadError> {
        let scan = checked(&name, &bytes)?;
        if let Some(location) = scan.external.first() {
            let cause = format!("it refers to the file `{location}`, and bytes have no folder to look in");
            return Err(LoadError::Refused { file: name, cause });
        }
        let (digest, size) = (Sha256::digest(&bytes).into(), bytes.len() as u64);
        Ok(Self {
            source: Source::Bytes(bytes),
            name,
            scan,
            digest,
            parts: vec![(String::new(), digest)],
            bytes: size,
            sure: Mutex::default(),
            held: Mutex::default(),
        })
    }

    /// Refuses where a file is no longer the one that was read, as far as can be told without reading it. What is loaded is
    /// held against the digest by [`load`](Self::load).
    pub(crate) fn unchanged(&self) -> Result<(), NotTheSame> {
        match self.source {
            Source::File(_) if !self.sure.lock().are_there() => self.make_sure(),
            _ => Ok(()),
        }
    }

    /// The bytes of the model's own file, for as long as they are kept: every session that is made meanwhile is made of them.
    /// Nothing where sessions are made of the files themselves.
    pub(crate) fn hold(&self) -> Result<Option<Arc<Vec<u8>>>, LoadError> {
        match &self.source {
            Source::File(path) if self.scan.external.is_empty() => {
                let held = &mut *self.held.lock();
                if let Some(bytes) = held.upgrade() {
                    return Ok(Some(bytes));
                }
                let (bytes, _) = read(path)?;
                if self.digest[..] != Sha256::digest(&bytes)[..] {
                    return Err(self.changed());
                }
                let bytes = Arc::new(bytes);
                *held = Arc::downgrade(&bytes);
                Ok(Some(bytes))
            }
            _ => Ok(None),
        }
    }

    /// Loads what was hashed, and nothing else: a file can be exchanged for another at any moment, and put back. A model in
    /// one file is loaded from the memory that was hashed. External data can be larger than memory, so it is loaded from
    /// where it lies, between two looks at it: what was changed in between shows, was it put back or not, and then all of it
    /// is read and loaded again.
    pub(crate) fn load<T>(
        &self,
        mut load: impl FnMut(Bytes<'_>) -> Result<T, LoadError>,
    ) -> Result<T, LoadError> {
        let path = match &self.source {
            Source::Bytes(bytes) => return load(Bytes::Memory(bytes)),
            Source::File(path) => path,
        };
        if let Some(bytes) = self.hold()? {
            return load(Bytes::Memory(&bytes));
        }
        for _ in 0..ATTEMPTS {
            if !self.sure.lock().tell() {
                self.make_sure()?;
            }
            let loaded = load(Bytes::File(path));
            if self.sure.lock().tell() {
                return loaded;
            }
        }
        let cause = "its files keep changing while it is loaded: a version's files stay as they are, a new version gets \
                     files of its own";
        Err(LoadError::Refused { file: self.name.clone(), cause: cause.to_owned() })
    }

    /// Reads everything again, and refuses where it is something else.
    fn make_sure(&self) -> Result<(), NotTheSame> {
        let Source::File(path) = &self.source else { return Ok(()) };
        let sure = &mut *self.sure.lock();
        sure.settle();
        let again = Self::read(path).map_err(NotTheSame::Unseen)?;
        if again.digest != self.digest {
            return Err(NotTheSame::Changed(self.changed()));
        }
        *sure = again.sure.into_inner();
        Ok(())
    }

    fn changed(&self) -> LoadError {
        let cause = "the file has changed since it was opened: a version's files stay as they are, a new version gets \
                     files of its own";
        LoadError::Refused { file: self.name.clone(), cause: cause.to_owned() }
    }

    fn add_external(&mut self) -> Result<(), LoadError> {
        let Source::File(main) = &self.source else { return Ok(()) };
        let folder = main.parent().unwrap_or(main).to_owned();
        let mut parts = vec![(String::new(), self.digest)];
        // However often a file is spelled otherwise, and under however many names it goes, it is hashed once.
        let mut known = HashMap::new();
        let mut stamps = std::mem::take(self.sure.get_mut());
        stamps.add_ways(&folder, main);
        for location in &self.scan.external {
            let path = self.external_path(&folder, location)?;
            let digest = match known.get(&Named::Path(path.clone())) {
                Some(digest) => *digest,
                None => {
                    let unreadable = |error| self.data_unreadable(location, &path, error);
                    path.metadata().map_err(unreadable)?;
                    self.inside(&folder, main, &path, location)?;
                    stamps.add_ways(&folder, &path);
                    let file = open_to_read(&path).map_err(unreadable)?;
                    let stamp = Stamp::of_file(&file).map_err(unreadable)?;
                    let digest = match stamp.file().and_then(|file| known.get(&file)) {
                        Some(digest) => *digest,
                        None => {
                            self.bytes = self.bytes.saturating_add(stamp.length);
                            if self.bytes > DATA_MAX {
                                let cause = format!("it has more than {DATA_MAX} bytes of external data");
                                return Err(LoadError::Refused { file: self.name.clone(), cause });
                            }
                            let (mut hash, mut start) = (Sha256::new(), Vec::new());
                            let read = pieces(file, stamp.length, |chunk| {
                                let more = KIND_BYTES.saturating_sub(start.len());
                                start.extend(chunk.iter().take(more));
                                hash.update(chunk);
                            });
                            read.map_err(|error| self.data_unreadable(location, &path, error))?;
                            if let Some(other) = other_text(&start) {
                                let cause = format!("its external data `{location}` is wrong: {other}");
                                return Err(LoadError::Refused { file: self.name.clone(), cause });
                            }
                            hash.finalize().into()
                        }
                    };
                    known.extend(stamp.file().map(|file| (file, digest)));
                    known.insert(Named::Path(path.clone()), digest);
                    stamps.add(path, stamp);
                    digest
                }
            };
            parts.push((location.clone(), digest));
        }
        *self.sure.get_mut() = stamps;
        if parts.len() > 1 {
            let parts = parts.iter().map(|(location, digest)| (location.as_str(), digest.as_slice()));
            self.digest = *Identity::of(parts).as_bytes();
        }
        self.parts = parts;
        Ok(())
    }

    fn external_path(&self, folder: &Path, location: &str) -> Result<PathBuf, LoadError> {
        below(folder, location).map_err(|cause| self.astray(location, cause))
    }

    /// Whether external data stays where it may be: in the folder of the model as it is named or, where that is a link as in
    /// the caches of model hubs, in the folder of the file that it leads to.
    fn inside(&self, folder: &Path, main: &Path, path: &Path, location: &str) -> Result<(), LoadError> {
        let real = |path: &Path| path.canonicalize().map_err(|error| unreadable(path, error));
        let (found, main) = (real(path)?, real(main)?);
        let is_inside = found.starts_with(real(folder)?) || found.starts_with(main.parent().unwrap_or(&main));
        if is_inside {
            Ok(())
        } else {
            Err(self.astray(location, "leads out of the model's folder through a link"))
        }
    }

    /// External data that cannot be read is told with the model that refers to it.
    fn data_unreadable(&self, location: &str, path: &Path, error: io::Error) -> LoadError {
        if NotPlain::of(&error).is_some() {
            return unreadable(path, error);
        }
        let what = match error.kind() {
            io::ErrorKind::NotFound => "is missing: put it beside the model, under that name".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        self.astray(location, &what)
    }

    fn astray(&self, location: &str, cause: &str) -> LoadError {
        // As much of it as anybody reads.
        let location: String = location.chars().take(200).collect();
        LoadError::Refused {
            file: self.name.clone(),
            cause: format!("its external data `{location}` {cause}"),
        }
    }
}

/// Where external data lies. ONNX Runtime refuses most of what is refused here itself, release by release more of it.
fn below(folder: &Path, location: &str) -> Result<PathBuf, &'static str> {
    // `*/_ORT_MEM_ADDR_/*` would be read as an address in this process.
    if location.is_empty() || location.contains(['*', '\\', ':', '\0']) {
        return Err("is not a plain relative path");
    }
    let mut path = folder.to_owned();
    for part in Path::new(location).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err("leads out of the model's folder"),
        }
    }
    Ok(path)
}

/// The external data that the model in a file refers to, and that is not below its folder. None of a file that is no model.
#[cfg(feature = "repository")]
pub(crate) fn missing_data(file: &Path) -> Vec<String> {
    let folder = file.parent().unwrap_or(file);
    let scanned = read(file).ok().and_then(|(bytes, _)| scan(&bytes).ok());
    let external = scanned.into_iter().flat_map(|scan| scan.external);
    external.filter(|location| below(folder, location).is_ok_and(|path| !path.exists())).collect()
}

/// The bytes that a session is made of.
pub(crate) enum Bytes<'b> {
    Memory(&'b [u8]),
    /// A file, with others that it refers to.
    File(&'b Path),
}

/// A file by the name that leads to it, or by what the system knows it by.
#[derive(PartialEq, Eq, Hash)]
enum Named {
    Path(PathBuf),
    File(u64, u64),
}

/// The stamps of files before they were read.
#[derive(Default)]
struct Stamps {
    files: Vec<(PathBuf, Stamp)>,
    /// Links and folders on the way to them, which can be exchanged too.
    ways: Vec<(PathBuf, Stamp)>,
    /// Some were changed within the tick before they were looked at, so that the next change may not show.
    unsettled: bool,
}

impl Stamps {
    fn of(path: PathBuf, stamp: Stamp) -> Self {
        let mut stamps = Self::default();
        stamps.add(path, stamp);
        stamps
    }

    fn add(&mut self, path: PathBuf, stamp: Stamp) {
        self.unsettled |= !stamp.is_settled();
        self.files.push((path, stamp));
    }

    /// Notes what lies between a folder and a file below it.
    fn add_ways(&mut self, folder: &Path, path: &Path) {
        for way in path.ancestors().take_while(|way| *way != folder) {
            let metadata = std::fs::symlink_metadata(way);
            if let Some(metadata) = metadata.ok().filter(|metadata| !metadata.is_file()) {
                let stamp = Stamp::of(&metadata);
                self.unsettled |= !stamp.is_settled();
                self.ways.push((way.to_owned(), stamp));
            }
        }
    }

    /// Whether they tell that all is as it was, and has been all the while.
    fn tell(&self) -> bool {
        !self.unsettled && self.are_there()
    }

    /// Whether all is as it was, as far as that shows.
    fn are_there(&self) -> bool {
        let link = |path: &PathBuf| std::fs::symlink_metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        self.files.iter().all(|(path, stamp)| Stamp::of_path(path).as_ref() == Some(stamp))
            && self.ways.iter().all(|(path, stamp)| link(path).as_ref() == Some(stamp))
    }

    /// Gives the system's clock for files time to go on, so that the next change shows. Where it has not, what is read then
    /// is known not to be settled either.
    fn settle(&self) {
        self.files.iter().chain(&self.ways).for_each(|(path, _)| Stamp::settle(path));
    }
}

/// The marks that tell a file that was replaced or written to from the same file, short of reading it.
#[derive(PartialEq)]
pub(crate) struct Stamp {
    pub(crate) length: u64,
    modified: Option<SystemTime>,
    /// Device and number; and when it was last changed in any way, which nobody can set.
    place: (u64, u64, i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok(), place: place(metadata) }
    }

    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::of(&metadata))
    }

    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self::of(&metadata))
    }

    /// Returns what the system knows it by, where it tells.
    fn file(&self) -> Option<Named> {
        let (device, number, ..) = self.place;
        (number != 0).then_some(Named::File(device, number))
    }

    /// Gives the system's clock for files time to go on since a file was changed.
    pub(crate) fn settle(path: &Path) {
        if Self::of_path(path).is_some_and(|stamp| !stamp.is_settled()) {
            std::thread::park_timeout(TICK);
        }
    }

    /// Whether the next change will have another time.
    fn is_settled(&self) -> bool {
        let (_, _, seconds, nanos) = self.place;
        let changed = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
        let now = Duration::from_nanos(CLOCK.now().unix_nanos());
        // A time ahead of ours is another machine's, which tells nothing of when that was.
        now.checked_sub(changed).is_none_or(|since| since > TICK)
    }
}

#[cfg(unix)]
fn place(metadata: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn place(_: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}

fn checked(name: &str, bytes: &[u8]) -> Result<Scan, LoadError> {
    let scan = scan(bytes).map_err(|cause| LoadError::NotOnnx { file: name.to_owned(), cause })?;
    if scan.refused.is_empty() {
        Ok(scan)
    } else {
        Err(LoadError::Refused { file: name.to_owned(), cause: scan.refused.join("; ") })
    }
}

/// The bytes of a model's own file, and what it was like before.
fn read(path: &Path) -> Result<(Vec<u8>, Stamps), LoadError> {
    let file = open_to_read(path).map_err(|error| unreadable(path, error))?;
    let stamp = Stamp::of_file(&file).map_err(|error| unreadable(path, error))?;
    let length = stamp.length;
    if length > MODEL_MAX {
        let cause = format!(
            "it has {length} bytes, and a model at most {MODEL_MAX}: put its weights into external data"
        );
        return Err(LoadError::Refused { file: path.display().to_string(), cause });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    pieces(file, length, |piece| bytes.extend_from_slice(piece)).map_err(|error| unreadable(path, error))?;
    Ok((bytes, Stamps::of(path.to_owned(), stamp)))
}

/// Passes a file of this length on, piece by piece. One that turns out to be longer is being written to.
pub(crate) fn pieces(file: File, length: u64, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = file.take(length.saturating_add(1));
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                bytes += read as u64;
                if bytes > length {
                    return Err(io::Error::other("it grew while it was read"));
                }
                piece(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> LoadError {
    let file = path.to_owned();
    match NotPlain::of(&error) {
        Some(NotPlain(what)) => LoadError::NotAFile { file, what },
        None => LoadError::Read { file, cause: Arc::new(error) },
    }
}

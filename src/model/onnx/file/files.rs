//! Reads a model's files once, hashes them, and refuses references that lead astray.

use std::fs::{File, Metadata};
use std::io;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::scan::{Scan, scan};
use crate::model::error::LoadError;
use crate::model::identity::Identity;

/// Where a model's bytes are.
#[derive(Clone)]
pub(crate) enum Source {
    /// A file, by its absolute path, and the files it refers to.
    File(PathBuf),
    /// Memory.
    Bytes(Arc<[u8]>),
}

/// A model's files as they were when they were read.
pub(crate) struct Files {
    pub(crate) source: Source,
    /// What errors call it: the path as it was given, or the name given to bytes.
    pub(crate) name: String,
    pub(crate) scan: Scan,
    /// SHA-256 over all files; that of the one file where there is only one.
    pub(crate) digest: [u8; 32],
    /// SHA-256 of each file: the model's own without a name, then those that it refers to, as it does.
    pub(crate) parts: Vec<(String, [u8; 32])>,
    /// Size of all files, in bytes.
    pub(crate) bytes: u64,
    stamps: Vec<(PathBuf, Stamp)>,
}

impl Files {
    /// Reads the file at `path`, and hashes it with every file it refers to.
    pub(crate) fn read(path: &Path) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let absolute = std::path::absolute(path).map_err(|error| unreadable(path, error))?;
        let (main, stamp) = read(&absolute)?;
        let scan = checked(&name, &main)?;
        let mut files = Self {
            source: Source::File(absolute.clone()),
            name,
            digest: Sha256::digest(&main).into(),
            parts: Vec::new(),
            bytes: main.len() as u64,
            scan,
            stamps: vec![(absolute, stamp)],
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
        let parts = vec![(String::new(), digest)];
        Ok(Self { source: Source::Bytes(bytes), name, scan, digest, parts, bytes: size, stamps: Vec::new() })
    }

    /// Refuses where a file is no longer the one that was read: its digest would vouch for something else.
    pub(crate) fn unchanged(&self) -> Result<(), LoadError> {
        let stale = self.stamps.iter().any(|(path, stamp)| Stamp::of_path(path).as_ref() != Some(stamp));
        match &self.source {
            // Perhaps only touched: the bytes decide.
            Source::File(path) if stale && Self::read(path)?.digest != self.digest => {
                let cause = "the file has changed since it was opened: a version's files stay as they are, a new \
                             version gets files of its own";
                Err(LoadError::Refused { file: self.name.clone(), cause: cause.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn add_external(&mut self) -> Result<(), LoadError> {
        let Source::File(main) = &self.source else { return Ok(()) };
        let folder = main.parent().unwrap_or(main).to_owned();
        let mut parts = vec![(String::new(), self.digest)];
        for location in &self.scan.external {
            let path = self.external_path(&folder, location)?;
            let mut hash = Sha256::new();
            let (bytes, stamp) = copy(&path, |chunk| hash.update(chunk))?;
            self.bytes += bytes;
            parts.push((location.clone(), hash.finalize().into()));
            self.stamps.push((path, stamp));
        }
        if parts.len() > 1 {
            let parts = parts.iter().map(|(location, digest)| (location.as_str(), digest.as_slice()));
            self.digest = *Identity::of(parts).as_bytes();
        }
        self.parts = parts;
        Ok(())
    }

    /// ONNX Runtime refuses most of these itself, release by release more of them; hard links it follows.
    fn external_path(&self, folder: &Path, location: &str) -> Result<PathBuf, LoadError> {
        let refused = |cause: &str| LoadError::Refused {
            file: self.name.clone(),
            cause: format!("its external data `{location}` {cause}"),
        };
        // `*/_ORT_MEM_ADDR_/*` would be read as an address in this process.
        if location.is_empty() || location.contains(['*', '\\', ':', '\0']) {
            return Err(refused("is not a plain relative path"));
        }
        if !Path::new(location)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(refused("leads out of the model's folder"));
        }
        let path = folder.join(location);
        let real = |path: &Path| path.canonicalize().map_err(|error| unreadable(path, error));
        if !real(&path)?.starts_with(real(folder)?) {
            return Err(refused("leads out of the model's folder through a link"));
        }
        if path.metadata().is_ok_and(|metadata| hard_links(&metadata) > 1) {
            return Err(refused(
                "has more than one hard link, so that it can be written from elsewhere: copy it",
            ));
        }
        Ok(path)
    }
}

/// What tells a file that was replaced or written to from the same file, short of reading it.
#[derive(PartialEq)]
pub(crate) struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Device and number; and when it was last changed in any way, which nobody can set.
    place: (u64, u64, i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok(), place: place(metadata) }
    }

    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self::of(&metadata))
    }
}

#[cfg(unix)]
fn place(metadata: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(unix)]
fn hard_links(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn place(_: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}

#[cfg(not(unix))]
fn hard_links(_: &Metadata) -> u64 {
    1
}

fn checked(name: &str, bytes: &[u8]) -> Result<Scan, LoadError> {
    let scan = scan(bytes).map_err(|cause| LoadError::NotOnnx { file: name.to_owned(), cause })?;
    if scan.refused.is_empty() {
        Ok(scan)
    } else {
        Err(LoadError::Refused { file: name.to_owned(), cause: scan.refused.join("; ") })
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Stamp), LoadError> {
    let mut bytes = Vec::new();
    let (_, stamp) = copy(path, |chunk| bytes.extend_from_slice(chunk))?;
    Ok((bytes, stamp))
}

/// Passes a file on piece by piece; how many bytes it had, and what it was like when it was opened.
fn copy(path: &Path, piece: impl FnMut(&[u8])) -> Result<(u64, Stamp), LoadError> {
    File::open(path).and_then(|file| pieces(file, piece)).map_err(|error| unreadable(path, error))
}

pub(crate) fn pieces(mut file: File, mut piece: impl FnMut(&[u8])) -> io::Result<(u64, Stamp)> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, Stamp::of(&metadata))),
            Ok(length) => {
                piece(&buffer[..length]);
                bytes += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> LoadError {
    LoadError::Read { file: path.to_owned(), source: Arc::new(error) }
}

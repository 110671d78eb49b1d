//! Checks that a version is what was published.

use std::io::Read;
use std::path::Path;
use std::{fs, io};

use sha2::{Digest, Sha256};

use super::error::{RepositoryError, VersionFileError};
use super::manifest::{DataSet, ListedFile, Manifest, is_own};
use super::name::DEPTH_MAX;
use super::store::{DATA, ENTRIES_MAX, Entry, Repository, names};
use crate::base::disk::open_to_read;
use crate::base::text::{digest, hex};

/// How closely a version's files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Their sizes. What is loaded is held against its digest as it is read, by whatever name it may be changed.
    Sizes,
    /// Every byte, and whether they may be changed by another name later.
    Bytes,
}

impl Repository {
    /// Reads all of a version and compares it with its manifest: sizes, digests, nothing missing, nothing beside it, no
    /// links. Without a manifest there is nothing to compare with, and only links and devices are found. Linear in the size
    /// of its files.
    ///
    /// # Errors
    ///
    /// [`Faulty`](RepositoryError::Faulty) with everything that is wrong.
    pub fn verify(&self, entry: &Entry) -> Result<(), RepositoryError> {
        self.check(entry, Look::Bytes)
    }

    /// The same, as closely as is asked for.
    pub(crate) fn check(&self, entry: &Entry, look: Look) -> Result<(), RepositoryError> {
        let compare = match look {
            Look::Sizes => compare_size,
            Look::Bytes => compare,
        };
        let mut found = Vec::new();
        let mut faults = Vec::new();
        self.walk(entry, look, "", 0, &mut found, &mut faults)?;
        match &entry.manifest {
            Some(manifest) => {
                for file in &manifest.files {
                    if found.contains(&file.path) {
                        faults.extend(compare(&entry.folder, file));
                    } else if !faults.iter().any(
                        |fault| matches!(fault, VersionFileError::NotAFile { file: path, .. } if *path == file.path),
                    ) {
                        faults.push(VersionFileError::Missing { file: file.path.clone() });
                    }
                }
                let unlisted =
                    found.into_iter().filter(|path| !is_own(path) && manifest.file(path).is_none());
                faults.extend(unlisted.map(|file| VersionFileError::Unlisted { file }));
            }
            None if !found.iter().any(|path| path == entry.model_path()) => {
                faults.push(VersionFileError::Missing { file: entry.model_path().to_owned() });
            }
            None => {}
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(RepositoryError::Faulty {
            model: entry.model.clone(),
            version: entry.version.to_string(),
            faults,
        })
    }

    /// Reads the training data that the repository keeps for a version, and holds it against the digests in the manifest. How
    /// many data sets were read: those that are kept elsewhere are not looked for. Linear in their size.
    ///
    /// # Errors
    ///
    /// [`Faulty`](RepositoryError::Faulty) with everything that is wrong, by the names of the data.
    pub fn verify_data(&self, entry: &Entry) -> Result<usize, RepositoryError> {
        let attached = |manifest: &Manifest| -> Vec<DataSet> {
            manifest.lineage.data.iter().filter(|data| data.attached).cloned().collect()
        };
        let kept = entry.manifest.as_ref().map(attached).unwrap_or_default();
        let faults: Vec<VersionFileError> = kept.iter().filter_map(|data| self.compare_data(data)).collect();
        if faults.is_empty() {
            return Ok(kept.len());
        }
        Err(RepositoryError::Faulty {
            model: entry.model.clone(),
            version: entry.version.to_string(),
            faults,
        })
    }

    fn compare_data(&self, data: &DataSet) -> Option<VersionFileError> {
        let file = data.name.clone();
        let expected = data.sha256.clone().unwrap_or_default();
        // A manifest is read from a file: its digest is no name until it is one.
        let Some(known) = digest(&expected) else { return Some(VersionFileError::Missing { file }) };
        let path = self.root.join(DATA).join("sha256").join(hex(&known));
        match hashed(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(VersionFileError::Missing { file }),
            Err(error) => Some(VersionFileError::Unreadable { file, cause: error.to_string() }),
            Ok((_, found)) if found != known => {
                Some(VersionFileError::Digest { file, expected, found: hex(&found) })
            }
            Ok(_) => None,
        }
    }

    /// The plain files of a version, by their paths below its folder.
    fn walk(
        &self,
        entry: &Entry,
        look: Look,
        below: &str,
        depth: usize,
        found: &mut Vec<String>,
        faults: &mut Vec<VersionFileError>,
    ) -> Result<(), RepositoryError> {
        for name in names(&entry.folder.join(below))? {
            // What fills volumes from a configuration keeps the files there, behind the links that are the version's.
            if self.follow && name.starts_with("..") {
                continue;
            }
            let file = if below.is_empty() { name } else { format!("{below}/{name}") };
            let path = entry.folder.join(&file);
            // Folders that link to each other end at the depth, and have branched before that.
            if found.len() + faults.len() > ENTRIES_MAX {
                return Err(RepositoryError::TooMany { folder: entry.folder.clone(), max: ENTRIES_MAX });
            }
            let path = self.followed(&entry.model, &path).unwrap_or(path);
            let metadata = fs::symlink_metadata(&path).map_err(RepositoryError::disk("looking at", &path))?;
            let kind = metadata.file_type();
            if kind.is_file() {
                #[cfg(unix)]
                {
                    let names = std::os::unix::fs::MetadataExt::nlink(&metadata);
                    if names > 1 && look == Look::Bytes && !self.follow {
                        faults.push(VersionFileError::HardLink { file: file.clone(), names });
                    }
                }
                found.push(file);
            } else if kind.is_dir() && depth < DEPTH_MAX {
                self.walk(entry, look, &file, depth + 1, found, faults)?;
            } else {
                let what = if kind.is_symlink() {
                    "a link"
                } else if kind.is_dir() {
                    "a folder far down"
                } else {
                    "a device or a pipe"
                };
                faults.push(VersionFileError::NotAFile { file, what });
            }
        }
        Ok(())
    }
}

fn compare(folder: &Path, listed: &ListedFile) -> Option<VersionFileError> {
    // One of another size is not read: it may have a hole of any size.
    if let Some(fault) = compare_size(folder, listed) {
        return Some(fault);
    }
    let (file, expected) = (listed.path.clone(), listed.size);
    match open_to_read(&folder.join(&file))
        .and_then(|opened| hashed_of(opened.take(expected.saturating_add(1))))
    {
        Err(error) => Some(VersionFileError::Unreadable { file, cause: error.to_string() }),
        Ok((found, _)) if found != expected => Some(VersionFileError::Size { file, expected, found }),
        Ok((_, found)) if digest(&listed.sha256) != Some(found) => {
            Some(VersionFileError::Digest { file, expected: listed.sha256.clone(), found: hex(&found) })
        }
        Ok(_) => None,
    }
}

/// Whether a file has the size that is listed, without reading it.
pub(crate) fn compare_size(folder: &Path, listed: &ListedFile) -> Option<VersionFileError> {
    let (file, expected) = (listed.path.clone(), listed.size);
    // What is a link was refused before, or is followed.
    match fs::metadata(folder.join(&file)) {
        Err(error) => Some(VersionFileError::Unreadable { file, cause: error.to_string() }),
        Ok(metadata) if metadata.len() != expected => {
            Some(VersionFileError::Size { file, expected, found: metadata.len() })
        }
        Ok(_) => None,
    }
}

/// Size and SHA-256 of a plain file.
pub(crate) fn hashed(path: &Path) -> io::Result<(u64, [u8; 32])> {
    hashed_of(open_to_read(path)?)
}

fn hashed_of(mut file: impl Read) -> io::Result<(u64, [u8; 32])> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, hash.finalize().into()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        size += read as u64;
    }
}

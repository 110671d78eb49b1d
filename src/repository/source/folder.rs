//! A folder as a source: another disk, a share of a network.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::{fs, io::ErrorKind};

use super::source::{Source, SourceError};
use crate::base::disk::open_to_read;
use crate::repository::error::RepositoryError;
use crate::repository::store::names;

/// The repository in a folder, as a [`Source`]: on another disk, or on a share that is slow or may go away.
#[derive(Debug, Clone)]
pub struct FolderSource {
    root: PathBuf,
}

impl FolderSource {
    /// The repository in this folder.
    ///
    /// # Errors
    ///
    /// There is no such folder.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, RepositoryError> {
        let root = root.into();
        let failed = |error| RepositoryError::disk("opening", &root)(error);
        if !fs::metadata(&root).map_err(failed)?.is_dir() {
            return Err(failed(io::Error::new(ErrorKind::NotADirectory, "it is not a folder")));
        }
        Ok(Self { root })
    }

    /// Where a path leads, if it stays below the folder.
    fn below(&self, path: &str) -> Result<PathBuf, SourceError> {
        let plain = |part| matches!(part, Component::Normal(_));
        if !Path::new(path).components().all(plain) || path.contains('\0') {
            let error = io::Error::new(ErrorKind::InvalidInput, "the path leads out of the source");
            return Err(self.unreadable(path)(error));
        }
        Ok(self.root.join(path))
    }

    fn unreadable(&self, path: &str) -> impl FnOnce(io::Error) -> SourceError {
        let object = self.place(path);
        move |error| match error.kind() {
            ErrorKind::NotFound => SourceError::Missing { object },
            _ => SourceError::unreadable(object, error),
        }
    }
}

impl Source for FolderSource {
    fn folders(&self, folder: &str) -> Result<Vec<String>, SourceError> {
        let path = self.below(folder)?;
        let mut found = names(&path).map_err(|error| SourceError::unreadable(self.place(folder), error))?;
        // A version may be a link to its folder.
        found.retain(|name| path.join(name).is_dir());
        Ok(found)
    }

    fn read<'s>(&'s self, object: &str, from: u64) -> Result<Box<dyn Read + 's>, SourceError> {
        let opened = open_to_read(&self.below(object)?).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            Ok(file)
        });
        Ok(Box::new(opened.map_err(self.unreadable(object))?))
    }

    fn place(&self, path: &str) -> String {
        if path.is_empty() {
            self.root.display().to_string()
        } else {
            self.root.join(path).display().to_string()
        }
    }
}

//! The file layer: every step that goes to a disk, in one place, so that each can be made to fail.
//!
//! What survives a power cut is what was synced, the file first and then the folder that names it. What survives a killed
//! process is every step that was made, whole: a write may be cut short, a rename never is.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::{fs, io};

#[cfg(feature = "repository")]
use sha2::{Digest, Sha256};

use super::faults::Faults;

/// Steps on files. Cheap to clone; clones share their faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    faults: Option<Faults>,
    /// Whoever the system's mask lets may read what is made.
    shared: bool,
}

impl Files {
    /// Steps that fail as told.
    #[cfg(any(feature = "state", feature = "testing"))]
    pub(crate) fn with(faults: Faults) -> Self {
        Self { faults: Some(faults), shared: false }
    }

    /// The same, and others may read what is made as far as the system's mask lets them.
    #[cfg(feature = "repository")]
    pub(crate) fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    fn step(&self) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), Faults::step)
    }

    /// The whole of a file that is not larger than `limit` bytes. Not found is an error like any other.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.step()?;
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
        }
        let mut bytes = Vec::new();
        // Sizes lie: what counts is what comes.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// A new file. Fails where there is anything of that name, a link included.
    pub(crate) fn create(&self, path: &Path) -> io::Result<Writing> {
        self.step()?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if !self.shared {
            private(&mut options);
        }
        Ok(Writing { files: self.clone(), file: options.open(path)? })
    }

    /// A file to be read. A link is not followed.
    #[cfg(feature = "state")]
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        let mut options = OpenOptions::new();
        options.read(true);
        unlinked(&mut options);
        options.open(path)
    }

    /// A new file to add to and to read back, that only its owner may read. Fails where there is anything of that name.
    #[cfg(feature = "state")]
    pub(crate) fn create_log(&self, path: &Path) -> io::Result<Writing> {
        self.step()?;
        let mut options = OpenOptions::new();
        options.append(true).read(true).create_new(true);
        private(&mut options);
        Ok(Writing { files: self.clone(), file: options.open(path)? })
    }

    /// A file that is locked and holds nothing, made where there is none. A link is not followed.
    #[cfg(feature = "state")]
    pub(crate) fn open_lock(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        private(&mut options);
        unlinked(&mut options);
        options.open(path)
    }

    /// A folder, and those above it.
    pub(crate) fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        if !self.shared {
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        }
        builder.create(path)
    }

    /// Copies a file into a new one, and makes it last. Its size, and the SHA-256 of what was copied.
    #[cfg(feature = "repository")]
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> io::Result<(u64, [u8; 32])> {
        self.step()?;
        let mut source = File::open(from)?;
        if !source.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
        }
        let mut target = self.create(to)?;
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            let read = source.read(&mut buffer)?;
            let chunk = buffer.get(..read).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            target.write(chunk)?;
            hash.update(chunk);
            size += read as u64;
        }
        target.sync()?;
        Ok((size, hash.finalize().into()))
    }

    /// Moves a file or a folder, whole, over a file of the same name.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(from, to)
    }

    /// Makes what a folder names last.
    pub(crate) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        // Other systems cannot open a folder, and order their renames themselves.
        #[cfg(unix)]
        File::open(path)?.sync_all()?;
        #[cfg(not(unix))]
        let _ = path;
        Ok(())
    }

    #[cfg(any(feature = "repository", feature = "state"))]
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_file(path)
    }

    /// Makes a file that somebody else wrote last.
    #[cfg(feature = "onnx")]
    pub(crate) fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        File::open(path)?.sync_all()
    }

    /// Removes a folder with all that is in it. Links are removed, never followed.
    #[cfg(any(feature = "onnx", feature = "repository"))]
    pub(crate) fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_dir_all(path)
    }
}

/// A file that is written.
#[derive(Debug)]
pub(crate) struct Writing {
    files: Files,
    file: File,
}

impl Writing {
    #[cfg(feature = "state")]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of it. Where it fails, a part may have been written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(faults) = &self.files.faults
            && let Err(error) = faults.step()
        {
            if faults.tears() {
                self.file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
            }
            return Err(error);
        }
        self.file.write_all(bytes)
    }

    /// Makes what was written last.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.files.step()?;
        self.file.sync_data()
    }
}

/// Makes a new file one that only its owner may read.
fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

#[cfg(feature = "state")]
fn unlinked(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW);
    #[cfg(not(unix))]
    let _ = options;
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("switchback-files-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Files::default().create_folder(&folder).unwrap();
        folder
    }

    #[test]
    fn a_new_file_is_private_and_replaces_nothing() {
        let folder = folder("private");
        let path = folder.join("a");
        Files::default().create(&path).unwrap().write(b"abc").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(Files::default().create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(Files::default().read(&path, 3).unwrap(), b"abc");
        assert_eq!(Files::default().read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn each_step_can_be_made_to_fail_and_a_write_to_be_torn() {
        let folder = folder("faults");
        let path = folder.join("a");
        let faults = Faults::new();
        let files = Files::with(faults.clone());
        let mut writing = files.create(&path).unwrap();
        faults.fail_after(1).torn();
        writing.write(b"0123").unwrap();
        assert!(writing.write(b"4567").is_err());
        assert!(writing.sync().is_err(), "it goes on failing until it is mended");
        assert_eq!(fs::read(&path).unwrap(), b"012345");
        faults.mend();
        writing.sync().unwrap();
        assert_eq!(faults.steps(), 5);
        fs::remove_dir_all(folder).unwrap();
    }
}

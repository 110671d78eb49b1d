//! The folder: private, one owner at a time, and nothing in it that leads elsewhere.

use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::StateError;
use super::names::{ASIDE, HELD, JOURNAL, KEY, KEY_ASIDE, LOCK, MARK};
use crate::base::disk::{Files, NotPlain, Shared, own_file, own_folder};

/// The identity of a file to the system, whatever its name; the same for all where it tells nothing.
pub(crate) type Identity = (u64, u64);

/// A folder that this process has for itself, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    folder: PathBuf,
    lock: File,
    /// Locked for those who look; nothing where it could not be.
    shown: Option<File>,
    /// The process that took it. What a fork has copied of it is not the child's.
    owner: u32,
    /// Its group could write to it until now.
    pub(crate) mended: bool,
}

impl Held {
    /// Makes the folder where there is none, takes its lock, and removes what an earlier owner was writing when it ended.
    pub(crate) fn take(files: &Files, folder: &Path) -> Result<Self, StateError> {
        files.make_folder(folder, folder).map_err(StateError::disk("making", folder))?;
        let mut mended = look(folder)?;
        for name in [JOURNAL, KEY, MARK, LOCK, HELD] {
            let path = folder.join(name);
            if is_plain(&path)? {
                let shared = own_file(&path).map_err(StateError::disk("looking at", &path))?;
                mended |= is_own(&path, shared)?;
            }
        }
        let path = folder.join(LOCK);
        let lock = files.open_lock(&path).map_err(StateError::disk("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Locked { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(StateError::disk("locking", &path)(error)),
        }
        let mut held =
            Self { folder: folder.to_owned(), lock, shown: None, owner: std::process::id(), mended };
        // Whoever had the lock before may have removed the file that this is the lock of.
        held.check()?;
        held.shown = show(folder);
        for aside in [ASIDE, KEY_ASIDE] {
            remove(files, &folder.join(aside))?;
        }
        Ok(held)
    }

    /// Whether the lock still is this process's and the folder's: it is not in a child that was forked, nor where somebody
    /// removed the file, or the folder.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        if self.owner != std::process::id() {
            return Err(StateError::Forked { folder: self.folder.clone(), owner: self.owner });
        }
        let path = self.folder.join(LOCK);
        let ours = self.lock.metadata().map_err(StateError::disk("looking at", &path))?;
        if named(&path)? == Some(identity(&ours)) { Ok(()) } else { Err(StateError::Replaced { path }) }
    }
}

/// Said, not left to the end of the descriptor: a child that was forked has one too, and the lock lasts as long as either.
/// For the same reason the child says nothing.
impl Drop for Held {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = self.shown.as_ref().map(File::unlock);
            let _ = self.lock.unlock();
        }
    }
}

/// How often another file is put in the place of one that somebody looks at.
const LOOKS_MAX: u32 = 64;

/// Locks the file that shows those who look that the folder is had. They lock it too, shared, and one of them that is stopped
/// meanwhile would keep it for ever; so they never touch the lock that decides who has the folder, and whoever has that puts
/// another file in the place of one that is looked at. Where that fails a look cannot tell, which refuses no start.
fn show(folder: &Path) -> Option<File> {
    let path = folder.join(HELD);
    for _ in 0..LOOKS_MAX {
        let shown = Files::open_note(&path).ok()?;
        match shown.try_lock() {
            Ok(()) => return Some(shown),
            Err(TryLockError::WouldBlock) => std::fs::remove_file(&path).ok()?,
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Whether a process has the folder now; nothing where that cannot be told. Its lock is not touched: see [`show`].
pub(crate) fn is_held(folder: &Path) -> Option<bool> {
    let path = folder.join(HELD);
    if !is_plain(&path).ok()? {
        // Whoever has had the folder has made both, or could not.
        return if is_plain(&folder.join(LOCK)).ok()? { None } else { Some(false) };
    }
    let shown = Files::default().open(&path).ok()?;
    match shown.try_lock_shared() {
        Ok(()) => {
            // The end of the descriptor does it too, unless a child was forked meanwhile.
            let _ = shown.unlock();
            Some(false)
        }
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Makes sure that nobody but this user may write to a folder. Whether its group could until now.
pub(crate) fn look(folder: &Path) -> Result<bool, StateError> {
    let metadata = folder.metadata().map_err(StateError::disk("looking at", folder))?;
    if !metadata.is_dir() {
        let error = io::Error::new(io::ErrorKind::NotADirectory, "it is no folder");
        return Err(StateError::disk("opening", folder)(error));
    }
    let shared = own_folder(folder).map_err(StateError::disk("looking at", folder))?;
    is_own(folder, shared)
}

fn is_own(path: &Path, shared: Shared) -> Result<bool, StateError> {
    let folder = path.to_owned();
    match shared {
        Shared::Own { mended } => Ok(mended),
        Shared::Owner(owner) => Err(StateError::NotOwned { folder, owner }),
        Shared::Writable => Err(StateError::NotPrivate { folder }),
    }
}

/// Whether there is a file. Anything else of that name is an error.
pub(crate) fn is_plain(path: &Path) -> Result<bool, StateError> {
    match path.symlink_metadata() {
        Ok(metadata) => match NotPlain::of_type(metadata.file_type()) {
            None => Ok(true),
            Some(NotPlain(what)) => Err(StateError::NotPlain { path: path.to_owned(), what }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StateError::disk("looking at", path)(error)),
    }
}

/// Removes a file, if there is one.
pub(crate) fn remove(files: &Files, path: &Path) -> Result<(), StateError> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    files.remove_file(path).map_err(StateError::disk("removing", path))
}

/// Which file has a name; nothing where none has.
pub(crate) fn named(path: &Path) -> Result<Option<Identity>, StateError> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(identity(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::disk("looking at", path)(error)),
    }
}

pub(crate) fn identity(metadata: &Metadata) -> Identity {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (metadata.dev(), metadata.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        (0, 0)
    }
}

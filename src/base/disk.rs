//! The file layer: every step that goes to a disk, in one place, so that each can be made to fail.
//!
//! What survives a power cut is what was synced, the file first and then the folder that names it. What survives a killed
//! process is every step that was made, whole: a write may be cut short, a rename never is.

use std::fs::{DirBuilder, File, FileType, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::{fs, io};

#[cfg(feature = "repository")]
use sha2::{Digest, Sha256};

use super::faults::Faults;

/// The thing that lies where a plain file should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {0}, not a plain file: put a plain file in its place")]
pub(crate) struct NotPlain(pub(crate) &'static str);

impl NotPlain {
    /// Returns what lies there, where that is why a step failed.
    #[cfg(any(test, feature = "fleet", feature = "onnx", feature = "repository", feature = "state"))]
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref()).copied()
    }

    /// Returns what a name stands for; nothing where that is a plain file.
    pub(crate) fn of_type(found: FileType) -> Option<Self> {
        let what = if found.is_file() {
            return None;
        } else if found.is_dir() {
            "a folder"
        } else if found.is_symlink() {
            "a link"
        } else {
            other_type(found)
        };
        Some(Self(what))
    }
}

impl From<NotPlain> for io::Error {
    fn from(found: NotPlain) -> Self {
        Self::new(io::ErrorKind::InvalidInput, found)
    }
}

#[cfg(unix)]
fn other_type(found: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match found {
        pipe if pipe.is_fifo() => "a named pipe",
        socket if socket.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn other_type(_: FileType) -> &'static str {
    "a device"
}

/// Whether a link at the end of a path is followed when a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    #[cfg(any(feature = "onnx", feature = "repository"))]
    Followed,
    Refused,
}

/// Opens a plain file, or says what else is there. Never waits: to open a pipe is to wait for who writes to it, and to open
/// some devices does what they are there for. So the name is looked at first, it is opened without waiting, since it may
/// stand for another thing by then, and what was opened is asked last.
pub(crate) fn open_plain(path: &Path, options: &mut OpenOptions, link: Link) -> io::Result<File> {
    let looked = if link == Link::Refused { fs::symlink_metadata(path) } else { fs::metadata(path) };
    // What is not there may be about to be made.
    if let Some(other) = looked.ok().and_then(|metadata| NotPlain::of_type(metadata.file_type())) {
        return Err(other.into());
    }
    #[cfg(unix)]
    {
        let unlinked = if link == Link::Refused { libc::O_NOFOLLOW } else { 0 };
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NONBLOCK | unlinked);
    }
    let file = options.open(path)?;
    match NotPlain::of_type(file.metadata()?.file_type()) {
        Some(other) => Err(other.into()),
        None => Ok(file),
    }
}

/// Who beside its owner decides what is in a folder that is to be one user's.
#[cfg(any(feature = "onnx", feature = "state"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(unix), expect(dead_code, reason = "owners and modes are asked for on unix alone"))]
pub(crate) enum Shared {
    /// Nobody. Whether its group might write to it until now.
    Own { mended: bool },
    /// Another user owns it.
    Owner(u32),
    /// Others than its group may write to it, or its group, and that cannot be changed.
    Writable,
}

/// Makes sure that a folder is this user's own, or the superuser's, who may do anything anyhow. A group that may write to it is
/// kept from it, since those who manage volumes set such bits whenever they mount one; others never had a reason to. What was
/// opened is asked and changed, whatever its name stands for by then.
#[cfg(any(feature = "onnx", feature = "state"))]
pub(crate) fn own_folder(path: &Path) -> io::Result<Shared> {
    #[cfg(unix)]
    {
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_DIRECTORY | libc::O_NONBLOCK);
        own(&options.read(true).open(path)?)
    }
    #[cfg(not(unix))]
    {
        fs::read_dir(path).map(|_| Shared::Own { mended: false })
    }
}

/// The same of a plain file, where there is one.
#[cfg(any(feature = "onnx", feature = "state"))]
pub(crate) fn own_file(path: &Path) -> io::Result<Shared> {
    #[cfg(unix)]
    match open_plain(path, OpenOptions::new().read(true), Link::Refused) {
        Ok(file) => own(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Shared::Own { mended: false }),
        Err(error) => Err(error),
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(Shared::Own { mended: false })
    }
}

#[cfg(all(unix, any(feature = "onnx", feature = "state")))]
fn own(opened: &File) -> io::Result<Shared> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    const GROUP: u32 = 0o020;
    const OTHERS: u32 = 0o002;
    let metadata = opened.metadata()?;
    let (owner, mode) = (metadata.uid(), metadata.mode());
    let may = super::os::user();
    if owner != may && owner != 0 {
        return Ok(Shared::Owner(owner));
    }
    if mode & OTHERS != 0 {
        return Ok(Shared::Writable);
    }
    if mode & GROUP == 0 {
        return Ok(Shared::Own { mended: false });
    }
    match opened.set_permissions(fs::Permissions::from_mode(mode & 0o7777 & !GROUP)) {
        Ok(()) => Ok(Shared::Own { mended: true }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Shared::Writable),
        Err(error) => Err(error),
    }
}

/// Opens a plain file to be read, through a link too.
#[cfg(any(feature = "onnx", feature = "repository"))]
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    open_plain(path, OpenOptions::new().read(true), Link::Followed)
}

/// Opens a file that is there to be locked, and nothing else.
#[cfg(any(feature = "onnx", feature = "repository"))]
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    open_plain(path, OpenOptions::new().write(true), Link::Refused)
}

/// The same, made where there is none.
#[cfg(any(feature = "onnx", feature = "repository"))]
pub(crate) fn make_lock(path: &Path) -> io::Result<File> {
    open_plain(path, OpenOptions::new().write(true).create(true).truncate(false), Link::Refused)
}

/// Steps on files. Cheap to clone; clones share their faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    faults: Option<Faults>,
    #[cfg_attr(not(unix), expect(dead_code, reason = "modes are asked for on unix alone"))]
    whose: Whose,
}

/// Who may read and write what is made, as far as the system's mask lets them.
#[derive(Debug, Clone, Copy, Default)]
enum Whose {
    #[default]
    Owners,
    #[cfg(feature = "fleet")]
    Groups,
    #[cfg(feature = "repository")]
    Everybodys,
}

#[cfg(unix)]
impl Whose {
    /// Who may not.
    fn kept_from(self) -> u32 {
        match self {
            Self::Owners => 0o077,
            #[cfg(feature = "fleet")]
            Self::Groups => 0o007,
            #[cfg(feature = "repository")]
            Self::Everybodys => 0,
        }
    }
}

impl Files {
    /// Steps that fail as told.
    #[cfg(any(feature = "state", feature = "testing"))]
    pub(crate) fn with(faults: Faults) -> Self {
        Self { faults: Some(faults), whose: Whose::default() }
    }

    /// The same, and others may read what is made as far as the system's mask lets them.
    #[cfg(feature = "repository")]
    pub(crate) fn shared(self) -> Self {
        Self { whose: Whose::Everybodys, ..self }
    }

    /// The same, and its group may read and write what is made as far as the system's mask lets it, and nobody else.
    #[cfg(feature = "fleet")]
    pub(crate) fn of_group(self) -> Self {
        Self { whose: Whose::Groups, ..self }
    }

    fn step(&self) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), Faults::step)
    }

    /// The whole of a file that is not larger than `limit` bytes. Not found is an error like any other. A link is not
    /// followed.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.step()?;
        let file = open_plain(path, OpenOptions::new().read(true), Link::Refused)?;
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
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o666 & !self.whose.kept_from());
        Ok(Writing { files: self.clone(), file: options.open(path)? })
    }

    /// A file that is there, to be added to. A link is not followed.
    #[cfg(feature = "repository")]
    pub(crate) fn extend(&self, path: &Path) -> io::Result<Writing> {
        self.step()?;
        let file = open_plain(path, OpenOptions::new().append(true), Link::Refused)?;
        Ok(Writing { files: self.clone(), file })
    }

    /// A file to be read. A link is not followed.
    #[cfg(any(feature = "repository", feature = "state"))]
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        open_plain(path, OpenOptions::new().read(true), Link::Refused)
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
        open_plain(path, &mut options, Link::Refused)
    }

    /// A small file that is written over and over, made where there is none. A link is not followed. Neither this nor what is
    /// written to it is a step: whether it was made changes nothing that anybody was told.
    #[cfg(feature = "state")]
    pub(crate) fn open_note(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        private(&mut options);
        open_plain(path, &mut options, Link::Refused)
    }

    /// Writes over what such a file holds.
    #[cfg(feature = "state")]
    pub(crate) fn note(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        io::Seek::seek(file, io::SeekFrom::Start(0))?;
        file.write_all(bytes)
    }

    /// A folder, and those above it.
    pub(crate) fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.made_folder(path, true)
    }

    /// A new folder in one that is there.
    #[cfg(feature = "repository")]
    pub(crate) fn create_one_folder(&self, path: &Path) -> io::Result<()> {
        self.made_folder(path, false)
    }

    fn made_folder(&self, path: &Path, with_those_above: bool) -> io::Result<()> {
        self.step()?;
        let mut builder = DirBuilder::new();
        builder.recursive(with_those_above);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o777 & !self.whose.kept_from());
        builder.create(path)
    }

    /// A folder, and those above it, so that all of them last. Those below `within` are made to whether they were there or not,
    /// since another process may have made them a moment ago and not synced them yet.
    #[cfg(any(feature = "repository", feature = "state"))]
    pub(crate) fn make_folder(&self, folder: &Path, within: &Path) -> io::Result<()> {
        let named = || folder.ancestors().take_while(|path| !path.as_os_str().is_empty());
        let missing = named().take_while(|path| path.symlink_metadata().is_err()).count();
        if missing > 0 {
            self.create_folder(folder)?;
        }
        for (number, path) in named().enumerate() {
            let Some(above) = path.parent() else { break };
            if number >= missing && !above.starts_with(within) {
                break;
            }
            let is_here = above.as_os_str().is_empty();
            self.sync_folder(if is_here { Path::new(".") } else { above })?;
        }
        Ok(())
    }

    /// Copies a file into a new one, and makes it last. Its size, and the SHA-256 of what was copied.
    #[cfg(feature = "repository")]
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> io::Result<(u64, [u8; 32])> {
        self.step()?;
        let mut source = open_to_read(from)?;
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
    #[cfg(any(feature = "onnx", feature = "repository", feature = "state"))]
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

    /// Gives a file a second name, where there is nothing of that name: of several that try, one succeeds.
    #[cfg(feature = "fleet")]
    pub(crate) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::hard_link(from, to)
    }

    /// The names in a folder.
    #[cfg(feature = "fleet")]
    pub(crate) fn names(&self, path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        self.step()?;
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    #[cfg(any(feature = "fleet", feature = "repository", feature = "state"))]
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_file(path)
    }

    /// Makes a file that somebody else wrote last.
    #[cfg(any(feature = "onnx", feature = "repository"))]
    pub(crate) fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        open_to_read(path)?.sync_all()
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
#[cfg(feature = "state")]
fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
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

    /// Bug: the first version of a model was acknowledged, and a power cut took the folder that it lay in. Cause: that folder was
    /// made, and the one that names it was not synced. Fix: one way to make folders, which syncs each that names another.
    #[cfg(any(feature = "repository", feature = "state"))]
    #[test]
    fn a_folder_that_is_made_is_synced_where_it_is_named() {
        let folder = folder("made");
        let faults = Faults::new();
        let files = Files::with(faults.clone());
        let steps = |path: &Path, within: &Path| {
            let before = faults.steps();
            files.make_folder(path, within).unwrap();
            faults.steps() - before
        };
        let (root, inner) = (folder.join("a/b"), folder.join("a/b/c/d"));
        // One that makes them all, and one for each that names another.
        assert_eq!(steps(&root, &root), 1 + 2);
        assert_eq!(steps(&root, &root), 0, "it was there");
        assert_eq!(steps(&inner, &root), 1 + 2);
        assert_eq!(steps(&inner, &root), 2, "whoever made them may not have synced them yet");
        for failing in 0..3 {
            fs::remove_dir_all(root.join("c")).unwrap();
            faults.fail_after(failing);
            files.make_folder(&inner, &root).unwrap_err();
            faults.mend();
            files.make_folder(&inner, &root).unwrap();
        }
        fs::remove_dir_all(folder).unwrap();
    }

    /// Bug: a pipe in the place of a file or of a lock hung whoever opened it, for ever. Fix: whatever is opened goes through
    /// `open_plain`.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_named_and_not_waited_for_however_it_is_opened() {
        let folder = folder("pipe");
        let path = folder.join("pipe");
        crate::base::os::make_pipe(&path);
        let found =
            |error: io::Error| assert_eq!(NotPlain::of(&error), Some(NotPlain("a named pipe")), "{error}");
        let files = Files::default();
        found(files.read(&path, 9).unwrap_err());
        #[cfg(feature = "state")]
        {
            found(files.open(&path).unwrap_err());
            found(files.open_lock(&path).unwrap_err());
        }
        #[cfg(any(feature = "onnx", feature = "repository"))]
        {
            found(open_to_read(&path).unwrap_err());
            found(open_lock(&path).unwrap_err());
            found(make_lock(&path).unwrap_err());
        }
        #[cfg(feature = "repository")]
        found(files.copy(&path, &folder.join("copy")).unwrap_err());
        // One that comes between the look and the opening is not waited for either.
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), libc::O_NONBLOCK);
        assert_eq!(
            NotPlain::of_type(options.open(&path).unwrap().metadata().unwrap().file_type()),
            Some(NotPlain("a named pipe"))
        );
        fs::remove_dir_all(folder).unwrap();
    }
}

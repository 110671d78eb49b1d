//! The cache of prepared forms.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use thiserror::Error;

use super::entry::{Entry, Unusable};
use super::key::Key;
use crate::base::causes::debug_as_told;
use crate::base::disk::{Files, Shared, make_lock, open_lock, own_folder};
#[cfg(feature = "testing")]
use crate::base::faults::Faults;
use crate::model::error::LoadError;
use crate::model::onnx::file::files::Files as ModelFiles;
use crate::model::onnx::options::Options;
use crate::model::onnx::runtime::runtime::Runtime;
use crate::model::throttle::LoadThrottle;

/// A folder of prepared forms, bounded in bytes, that any number of models, handles and processes share.
///
/// A model that [has one](crate::model::onnx::OnnxModel::prepared) is loaded from its prepared form, which is made where there is none: more
/// sessions then share their weights, and a retained version can step down to a megabyte or so, or to nothing, and be back
/// within milliseconds. See [`Tiers`](crate::options::Tiers).
///
/// ```
/// use switchback::Model;
/// use switchback::model::onnx::{OnnxModel, PreparedCache};
///
/// # let folder = std::env::temp_dir().join(format!("switchback-doc-prepared-{}", std::process::id()));
/// let cache = PreparedCache::open(&folder)?.smallest(0);
/// let model = OnnxModel::from_file("tests/models/affine.onnx")?.prepared(&cache);
/// model.load()?; // makes it, and loads it
/// assert_eq!(cache.counts().made, 1);
///
/// let again = OnnxModel::from_file("tests/models/affine.onnx")?.prepared(&cache);
/// again.load()?;
/// assert_eq!(cache.counts().made, 1);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it costs
///
/// Making one takes the time of two loads, and about twice the model's size on disk, since the file holds the weights as they
/// are and as the processor's kernels want them. Opening one for the first time in a process reads all of it, some 0.2 s for
/// a model of 100 MB; after that it is looked at, not read.
///
/// # Trust
///
/// The folder is its owner's alone, and that is this user. A group that may write to it is kept from it
/// ([`PreparedCounts::mended`]). What is in it is held against a record that lies beside it: that finds what was torn,
/// changed or swapped, and not a forgery of both by somebody who can write as this user. Files are not to be written to
/// while they are mapped: nothing can keep the process alive where a mapped file is truncated. A change is found at the
/// next [`maintain`](crate::versions::Lifecycle::maintain), the form is made again, and the event
/// [`AnswersInDoubt`](crate::events::EventKind::AnswersInDoubt) says since when answers may be wrong. Files are read by their
/// owner alone and written to by nobody, so only this user and the superuser can do that.
#[derive(Clone)]
pub struct PreparedCache {
    shared: Arc<Inner>,
    limit: u64,
    smallest: u64,
    files: Files,
}

struct Inner {
    folder: PathBuf,
    /// Entries that were checked in this process and are in use.
    open: Mutex<HashMap<Key, std::sync::Weak<Entry>>>,
    made: AtomicU64,
    broken: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
    mended: AtomicU64,
}

/// The counts of what became of a cache's entries since it was opened here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PreparedCounts {
    /// Forms that were made.
    pub made: u64,
    /// Entries that were not what had been put there, and were removed.
    pub broken: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Models that were loaded plainly, because they cannot take this form or there was no room.
    pub refused: u64,
    /// Folders, the cache's own or an entry's, that their group could write to, and cannot any more: those who manage volumes
    /// set such bits whenever they mount one.
    pub mended: u64,
}

/// Why a cache cannot be opened.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum PreparedCacheError {
    /// The folder cannot be made or read.
    #[error("{} cannot be used as a cache of prepared forms: {cause}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        cause: Arc<io::Error>,
    },
    /// The folder is another user's, who decides what is loaded from it.
    #[error(
        "{} is owned by user {owner}: `chown` it to the user that this process runs as, or choose another folder",
        .folder.display()
    )]
    NotOwned {
        /// The folder.
        folder: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// Others may write to the folder, and what is loaded from it is run.
    #[error("others may write to {}: `chmod 700` it, or choose another folder", .folder.display())]
    NotPrivate {
        /// The folder.
        folder: PathBuf,
    },
}

debug_as_told!(PreparedCacheError);

/// 8 GiB: a few dozen versions of 100 MB, and no more of a disk than a service can be expected to have for a cache.
const LIMIT: u64 = 8 << 30;

/// 1 MiB: below it a session costs more than its weights, and all of it loads within milliseconds.
const SMALLEST: u64 = 1 << 20;

/// An aside that nobody has locked is a killed process's, but one that was made this moment may not be locked yet.
const ASIDE_AGE: Duration = Duration::from_secs(60);

const LOCK: &str = "lock";

impl PreparedCache {
    /// Opens a cache in a folder of its own, and makes that where there is none. Removes what killed processes were making.
    ///
    /// # Errors
    ///
    /// See [`PreparedCacheError`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, PreparedCacheError> {
        let failed = |folder: &Path| {
            let folder = folder.to_owned();
            move |error| PreparedCacheError::Folder { folder, cause: Arc::new(error) }
        };
        let given = folder.as_ref();
        let folder = std::path::absolute(given).map_err(failed(given))?;
        let files = Files::default();
        files.create_folder(&folder).map_err(failed(&folder))?;
        // As mappings are named by the system.
        let folder = folder.canonicalize().map_err(failed(&folder))?;
        let mended = match own_folder(&folder).map_err(failed(&folder))? {
            Shared::Own { mended } => mended,
            Shared::Owner(owner) => return Err(PreparedCacheError::NotOwned { folder, owner }),
            Shared::Writable => return Err(PreparedCacheError::NotPrivate { folder }),
        };
        let shared = Inner {
            folder,
            open: Mutex::default(),
            made: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            mended: AtomicU64::new(mended.into()),
        };
        let cache = Self { shared: Arc::new(shared), limit: LIMIT, smallest: SMALLEST, files };
        cache.sweep().map_err(failed(&cache.shared.folder))?;
        Ok(cache)
    }

    /// How many bytes the entries may have together: 8 GiB by default. What was used least lately makes room; what is in use,
    /// by any process, does not, and a model that finds no room is loaded plainly and takes none from others.
    #[must_use]
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// The size of a model's files from which on it is prepared: 1 MiB by default, since a smaller one has nothing to gain.
    #[must_use]
    pub fn smallest(self, bytes: u64) -> Self {
        Self { smallest: bytes, ..self }
    }

    /// Has steps on the disk fail as told, in a test.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn disk_faults(self, faults: Faults) -> Self {
        Self { files: Files::with(faults), ..self }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Returns counts of what became of its entries since it was opened here; clones count together.
    pub fn counts(&self) -> PreparedCounts {
        let Inner { made, broken, evicted, refused, mended, .. } = &*self.shared;
        // Relaxed, like all of these: counts for showing, which guard nothing.
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PreparedCounts {
            made: count(made),
            broken: count(broken),
            evicted: count(evicted),
            refused: count(refused),
            mended: count(mended),
        }
    }

    /// Bytes of all entries. Reads the folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn bytes(&self) -> io::Result<u64> {
        Ok(self.entries()?.iter().map(|found| found.bytes).sum())
    }

    /// The prepared form of a model, made where there is none; the reason where it is to be loaded plainly.
    ///
    /// # Errors
    ///
    /// It was cancelled, or the model cannot be loaded at all.
    pub(crate) fn entry(
        &self,
        files: &ModelFiles,
        options: &Options,
        runtime: &Runtime,
        throttle: &LoadThrottle,
    ) -> Result<Result<Arc<Entry>, String>, LoadError> {
        let found = match super::build::unfit(files, options, self.smallest) {
            Some(reason) => Err(reason),
            None => self.found_or_made(files, options, runtime, throttle)?,
        };
        if found.is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(found)
    }

    fn found_or_made(
        &self,
        files: &ModelFiles,
        options: &Options,
        runtime: &Runtime,
        throttle: &LoadThrottle,
    ) -> Result<Result<Arc<Entry>, String>, LoadError> {
        let key = Key::of(files, options, runtime);
        if let Some(entry) = self.shared.open.lock().get(&key).and_then(std::sync::Weak::upgrade)
            && entry.is_unchanged()
        {
            return Ok(Ok(entry));
        }
        throttle.step()?;
        let folder = self.shared.folder.join(key.name());
        match self.open_entry(&folder, &key) {
            Ok(entry) => return Ok(Ok(self.remember(key, entry))),
            Err(Unusable::Missing) => {}
            Err(Unusable::Unknown(reason)) => return Ok(Err(reason)),
            Err(Unusable::Broken(_)) => {
                self.shared.broken.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = self.discard(&folder) {
                    return Ok(Err(format!("an entry that is broken cannot be removed: {error}")));
                }
            }
        }
        let made = match self.make(&key, files, options, runtime, throttle) {
            Err(super::build::Failed::Load(error)) => return Err(error),
            Err(super::build::Failed::Unprepared(reason)) => return Ok(Err(reason)),
            Ok(made) => made,
        };
        // Whoever came first: both are whole.
        Ok(match made.or_else(|_| self.open_entry(&folder, &key)) {
            Ok(entry) => Ok(self.remember(key, entry)),
            Err(Unusable::Missing) => Err(String::from("it was evicted as soon as it was made")),
            Err(Unusable::Broken(reason) | Unusable::Unknown(reason)) => Err(reason),
        })
    }

    fn open_entry(&self, folder: &Path, key: &Key) -> Result<Entry, Unusable> {
        let entry = super::entry::open(&self.files, folder, key)?;
        self.shared.mended.fetch_add(entry.mended.into(), Ordering::Relaxed);
        Ok(entry)
    }

    fn remember(&self, key: Key, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        let mut open = self.shared.open.lock();
        open.retain(|_, entry| entry.strong_count() > 0);
        open.insert(key, Arc::downgrade(&entry));
        entry
    }

    /// Makes an entry aside, and puts it in place.
    fn make(
        &self,
        key: &Key,
        files: &ModelFiles,
        options: &Options,
        runtime: &Runtime,
        throttle: &LoadThrottle,
    ) -> Result<Result<Entry, Unusable>, super::build::Failed> {
        let unprepared = |what: &'static str| {
            move |error: io::Error| super::build::Failed::Unprepared(format!("{what}: {error}"))
        };
        // The weights twice, and the graph.
        let expected = files.bytes.saturating_mul(2).saturating_add(1 << 16);
        self.make_room(expected).map_err(unprepared("no room in the cache"))?;
        let aside =
            Aside::new(&self.files, &self.shared.folder).map_err(unprepared("no folder to make it in"))?;
        super::build::build(&aside.folder, files, options, runtime, throttle)?;
        let bytes = super::entry::seal(&self.files, &aside.folder, key)
            .map_err(unprepared("it cannot be written"))?;
        let _turn = self.turn().map_err(unprepared("the cache cannot be locked"))?;
        self.make_room_in_turn(bytes).map_err(unprepared("no room in the cache"))?;
        let folder = self.shared.folder.join(key.name());
        match self.files.rename(&aside.folder, &folder) {
            Ok(()) => {}
            // Somebody else was sooner.
            Err(_) if folder.is_dir() => return Ok(Err(Unusable::Missing)),
            Err(error) => return Err(unprepared("it cannot be put in place")(error)),
        }
        // Where the folder cannot be synced, the worst is that it is made again.
        let _ = self.files.sync_folder(&self.shared.folder);
        self.shared.made.fetch_add(1, Ordering::Relaxed);
        Ok(super::entry::open(&self.files, &folder, key))
    }

    /// One process at a time adds and evicts. Held for as long as that takes, never while a form is made.
    fn turn(&self) -> io::Result<File> {
        let lock = make_lock(&self.shared.folder.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let _turn = self.turn()?;
        self.make_room_in_turn(bytes)
    }

    /// Evicts what was used least lately until so many bytes more fit; nothing where they do not fit whatever is evicted.
    fn make_room_in_turn(&self, bytes: u64) -> io::Result<()> {
        let of = self.limit;
        let full = |reason| Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        if bytes > of {
            return full(format!("{bytes} bytes are over the limit of {of}"));
        }
        let mut entries = self.entries()?;
        let mut total: u64 = entries.iter().map(|found| found.bytes).sum();
        entries.sort_by_key(|found| found.used);
        // All of what has to go is claimed before any of it goes: who finds too little lets go of the claims, and of nothing else.
        let mut claims = Vec::new();
        for found in entries {
            if total.saturating_add(bytes) <= of {
                break;
            }
            if let Some(claimed) = super::entry::claim(&found.folder) {
                total = total.saturating_sub(found.bytes);
                claims.push((found.folder, claimed));
            }
        }
        if total.saturating_add(bytes) > of {
            return full(format!("{bytes} bytes more than the {total} in use are over the limit of {of}"));
        }
        for (folder, claimed) in claims {
            self.discard(&folder)?;
            drop(claimed);
            self.shared.evicted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes an entry: out of its place first, whole, so that nobody finds half of it.
    fn discard(&self, folder: &Path) -> io::Result<()> {
        let aside = Aside::new(&self.files, &self.shared.folder)?;
        self.files.rename(folder, &aside.folder.join("entry"))
        // And the aside with it.
    }

    fn entries(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.shared.folder)? {
            let folder = entry?.path();
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let size = |file: &str| folder.join(file).metadata().map_or(0, |metadata| metadata.len());
                let bytes = size(super::entry::GRAPH).saturating_add(size(super::entry::WEIGHTS));
                let used = super::entry::last_used(&folder);
                found.push(Found { folder, bytes, used });
            }
        }
        Ok(found)
    }

    /// Removes what was made aside by processes that ended meanwhile.
    fn sweep(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.shared.folder)? {
            let folder = entry?.path();
            let is_aside = folder
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(Aside::PREFIX));
            if is_aside && Aside::is_abandoned(&folder) {
                self.files.remove_folder(&folder)?;
            }
        }
        Ok(())
    }
}

struct Found {
    folder: PathBuf,
    bytes: u64,
    used: Option<SystemTime>,
}

/// A folder in which something is made, or from which it is removed; gone when this is dropped, or swept by whoever opens the
/// cache next.
struct Aside {
    folder: PathBuf,
    files: Files,
    _lock: File,
}

impl Aside {
    const PREFIX: &'static str = ".aside-";
    const LOCK: &'static str = ".lock";

    fn new(files: &Files, cache: &Path) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let folder = cache.join(format!("{}{}", Self::PREFIX, crate::base::text::hex(&random)));
        files.create_folder(&folder)?;
        let lock = File::create_new(folder.join(Self::LOCK))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self { folder, files: files.clone(), _lock: lock })
    }

    fn is_abandoned(folder: &Path) -> bool {
        match open_lock(&folder.join(Self::LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Any other error says nothing of whether somebody works there.
            Err(error) if error.kind() != io::ErrorKind::NotFound => false,
            // Killed between two steps, or on its way.
            Err(_) => {
                let made = folder.metadata().and_then(|metadata| metadata.modified()).ok();
                let age = made.and_then(|made| {
                    SystemTime::from(crate::model::onnx::session::pool::CLOCK.now()).duration_since(made).ok()
                });
                age.is_some_and(|age| age > ASIDE_AGE)
            }
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        if self.folder.exists() {
            let _ = self.files.remove_folder(&self.folder);
        }
    }
}

impl std::fmt::Debug for PreparedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedCache")
            .field("folder", &self.shared.folder)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

//! Pulls a version whole, or not at all.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use sha2::{Digest, Sha256};

use super::error::PullError;
use super::source::{Source, SourceError};
use crate::base::disk::make_lock;
use crate::base::text::{digest, hex};
use crate::repository::error::{RepositoryError, VersionFileError};
use crate::repository::manifest::{FILE, ListedFile, MANIFEST_MAX, Manifest, SIGNATURE, SIGNATURE_MAX};
use crate::repository::name;
use crate::repository::publish::{LOCK, WHOLE, is_named};
use crate::repository::store::{ASIDE, Entry, Repository, TAGS, TAGS_MAX, unique};
use crate::repository::verify::compare_size;
use crate::version::id::VersionId;

/// More than a model with its weights has, and less than a disk.
const BYTES_MAX: u64 = 64 << 30;

/// How many manifests are read to find the latest version among those that are not numbers.
const MANIFESTS_MAX: usize = 1_024;

/// A version that is to be pulled, and where from.
#[must_use = "nothing is pulled before `Repository::pull`"]
pub struct Pull<'a> {
    source: &'a dyn Source,
    model: String,
    asked: String,
    tags: BTreeSet<String>,
    max_bytes: u64,
    progress: Box<dyn FnMut(&Progress<'_>) + 'a>,
}

impl fmt::Debug for Pull<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, model, asked, tags, max_bytes, progress: _ } = self;
        let (from, max) = (source.place(model), max_bytes);
        f.debug_struct("Pull")
            .field("from", &from)
            .field("asked", asked)
            .field("tags", tags)
            .field("max_bytes", max)
            .finish_non_exhaustive()
    }
}

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The object that is read, by its path below the source.
    pub object: &'a str,
    /// Bytes of the version that are here, those that an earlier pull has left included. Falls where one of its files has to be
    /// read again from its beginning.
    pub done: u64,
    /// Bytes that the version has.
    pub total: u64,
}

/// The outcome of [`Repository::pull`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Pulled {
    /// The version, as it is in the repository.
    pub entry: Entry,
    /// It was there before, is the one that the source has, and was held against its manifest: nothing was read but that.
    pub was_there: bool,
    /// Bytes of files that were read from the source.
    pub read: u64,
    /// Bytes of files that an earlier pull, which was interrupted, had left, and that were used.
    pub resumed: u64,
}

impl<'a> Pull<'a> {
    /// A version by its name, a tag, or `latest`, as the source has them.
    pub fn new(source: &'a dyn Source, model: impl Into<String>, asked: impl Into<String>) -> Self {
        Self {
            source,
            model: model.into(),
            asked: asked.into(),
            tags: BTreeSet::new(),
            max_bytes: BYTES_MAX,
            progress: Box::new(|_| {}),
        }
    }

    /// Points a tag of the repository here at the version, once it is there. By default none is moved: neither those of the
    /// source nor those that the version was published with, since who follows a tag switches when it moves.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// Refuses a version whose files have more bytes together, before any is read: 64 GiB by default, which no model of usual
    /// size has, and a wrong manifest may say.
    pub fn max_bytes(mut self, max: u64) -> Self {
        self.max_bytes = max;
        self
    }

    /// Is told how far it is, after each 64 KiB.
    pub fn on_progress(mut self, progress: impl FnMut(&Progress<'_>) + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }
}

/// The entry that a source has by the name that was asked for.
struct Found {
    id: VersionId,
    /// Below the source.
    folder: String,
    manifest: Manifest,
    bytes: Vec<u8>,
    signature: Option<Vec<u8>>,
}

/// Where a version is filled, and its lock.
struct Aside {
    path: PathBuf,
    lock: File,
}

/// How far it is, in all files.
#[derive(Default)]
struct Counts {
    done: u64,
    read: u64,
    resumed: u64,
}

/// The state of a file here: how many bytes, and their digest until now.
type Begun = (u64, Sha256);

impl Repository {
    /// Brings a version here from elsewhere: copied aside, every byte held against the manifest, synced, and put in its place by
    /// a rename, so that nobody ever sees half of it or another one. A version that is here already and is the same is held
    /// against its manifest, and nothing else is read.
    ///
    /// Manifests are held against signatures of trusted keys here as everywhere, with the feature `signatures`, and a signature
    /// beside one comes with it. Files that the manifest does not list do not come, nor does training data that the source keeps.
    ///
    /// A pull that is interrupted, by an error of the source or by the end of the process, leaves what has come aside, where no
    /// reader looks; the next pull of the version goes on with it, and [`sweep`](Self::sweep) removes it. Blocks as long as
    /// the source does, so no request should wait for it.
    ///
    /// ```
    /// use switchback::repository::{FolderSource, Pull, Repository};
    ///
    /// # let root = std::env::temp_dir().join(format!("switchback-doc-pull-{}", std::process::id()));
    /// let elsewhere = FolderSource::open("tests/repository")?;
    /// let models = Repository::create(&root)?;
    /// let pulled = models.pull(Pull::new(&elsewhere, "late", "latest").tag("stable"))?;
    /// assert_eq!(models.resolve("late", "stable")?, pulled.entry);
    /// assert!(models.pull(Pull::new(&elsewhere, "late", "latest"))?.was_there);
    /// # std::fs::remove_dir_all(root)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PullError`]: the source cannot be read, has no such version or one that is not what its manifest says or is too
    /// large; the version is here already and is another one; or the disk refuses.
    pub fn pull(&self, pull: Pull<'_>) -> Result<Pulled, PullError> {
        let Pull { source, model, asked, tags, max_bytes, mut progress } = pull;
        let folder = self.model_folder(&model)?;
        tags.iter().try_for_each(|tag| self.usable_tag(&model, tag))?;
        let found = find(source, &model, &asked)?;
        // A tag of ours by the version's name would mean another one.
        let version = found.id.to_string();
        if self.tags(&model)?.contains_key(&version) {
            return Err(RepositoryError::Exists { model, version }.into());
        }
        if tags.contains(&version) {
            let cause = "it is the name of a version";
            return Err(RepositoryError::Name { what: "tag", name: version, cause }.into());
        }
        if let Some(pulled) = self.same(source, &model, &found, &tags)? {
            return Ok(pulled);
        }
        let sizes = found.manifest.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size));
        let total = sizes.unwrap_or(u64::MAX);
        if total > max_bytes {
            let from = source.place(&found.folder);
            return Err(PullError::TooLarge { from, bytes: total, max: max_bytes });
        }
        let made_folder = !folder.exists();
        let aside = self.make_folder(&folder).and_then(|()| self.aside(&folder, &found.id));
        let aside = aside.inspect_err(|_| {
            if made_folder {
                let _ = fs::remove_dir(&folder);
            }
        })?;
        let mut counts = Counts::default();
        let mut said = |object: &str, done| progress(&Progress { object, done, total });
        let target = folder.join(found.id.as_str());
        let filled = self.take(source, &found, &aside.path.join(WHOLE), &mut counts, &mut said);
        let placed = filled.and_then(|()| Ok(self.place(&aside.path, &target)?));
        // What has come is worth keeping where the source failed, and only there.
        if !matches!(placed, Err(PullError::Source(_))) {
            let _ = fs::remove_dir_all(&aside.path);
        }
        drop(aside.lock);
        match placed {
            Err(error) => {
                if made_folder {
                    let _ = fs::remove_dir(&folder);
                }
                Err(error)
            }
            // Somebody else has pulled or published one of that name meanwhile.
            Ok(false) => self.same(source, &model, &found, &tags)?.ok_or_else(|| {
                let (error, path) = (io::Error::from(io::ErrorKind::AlreadyExists), target);
                RepositoryError::disk("renaming to", &path)(error).into()
            }),
            Ok(true) => {
                let entry = Entry::new(model, found.id, target, Some(found.manifest));
                self.finish(&entry, &folder.join(format!("{ASIDE}{}", unique()?)), &tags)?;
                let Counts { read, resumed, .. } = counts;
                Ok(Pulled { entry, was_there: false, read, resumed })
            }
        }
    }

    /// The version that is here already, if one is: as the source has it, and as its manifest says.
    fn same(
        &self,
        source: &dyn Source,
        model: &str,
        found: &Found,
        tags: &BTreeSet<String>,
    ) -> Result<Option<Pulled>, PullError> {
        let version = found.id.as_str();
        // An empty folder is replaced, as by whoever publishes.
        let there = fs::read_dir(self.model_folder(model)?.join(version));
        if !there.is_ok_and(|mut entries| entries.next().is_some()) {
            return Ok(None);
        }
        let entry = self.get(model, version)?;
        if entry.manifest.as_ref() != Some(&found.manifest) {
            let (model, version) = (model.to_owned(), version.to_owned());
            return Err(PullError::Different { model, version, from: source.place(&found.folder) });
        }
        self.verify(&entry)?;
        tags.iter().try_for_each(|tag| self.tag(model, tag, version).map(drop))?;
        Ok(Some(Pulled { entry, was_there: true, read: 0, resumed: 0 }))
    }

    /// A folder aside that nobody else works in: the one that an earlier pull of the version has left, unless somebody is at it.
    fn aside(&self, folder: &Path, version: &VersionId) -> Result<Aside, RepositoryError> {
        let lock = |name: String| {
            let path = folder.join(name);
            match self.files.create_one_folder(&path) {
                // Its name can be foretold: whoever can write here could have put a link to a folder elsewhere in its place.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
                        return Ok(None);
                    }
                }
                made => made.map_err(RepositoryError::disk("making", &path))?,
            }
            let at = path.join(LOCK);
            let lock = make_lock(&at).map_err(RepositoryError::disk("locking", &at))?;
            // A sweep may have removed it after it was opened, and then whoever comes next makes another.
            Ok((lock.try_lock().is_ok() && is_named(&lock, &at)).then_some(Aside { path, lock }))
        };
        match lock(format!("{ASIDE}pull-{version}"))? {
            Some(aside) => Ok(aside),
            None => lock(format!("{ASIDE}{}", unique()?))?.ok_or_else(|| {
                let error = io::Error::other("this file system has no locks, or a sweep came between");
                RepositoryError::disk("locking a folder in", folder)(error)
            }),
        }
    }

    /// Takes a version from a source into the folder in which it is to be whole.
    fn take(
        &self,
        source: &dyn Source,
        found: &Found,
        whole: &Path,
        counts: &mut Counts,
        said: &mut dyn FnMut(&str, u64),
    ) -> Result<(), PullError> {
        let at = whole.join(FILE);
        let left = self.files.read(&at, MANIFEST_MAX).is_ok_and(|bytes| bytes == found.bytes);
        if !left && fs::symlink_metadata(whole).is_ok() {
            // Of another version by that name, or nobody knows of which.
            self.files.remove_folder(whole).map_err(RepositoryError::disk("removing", whole))?;
        }
        self.files.create_folder(whole).map_err(RepositoryError::disk("making", whole))?;
        let signature = whole.join(SIGNATURE);
        for (path, bytes) in [(&signature, found.signature.as_deref()), (&at, Some(&found.bytes[..]))] {
            self.discard_file(path)?;
            bytes.map_or(Ok(()), |bytes| self.write(path, bytes))?;
        }
        // Before anything of it is believed.
        #[cfg(feature = "signatures")]
        if let Some(keys) = &self.keys {
            let object = || source.place(&format!("{}/{FILE}", found.folder));
            let vouched = keys.vouch(&self.files, whole, &found.bytes);
            vouched.map_err(|cause| PullError::Unusable { object: object(), cause })?;
        }
        for file in &found.manifest.files {
            let to = whole.join(name::file(&file.path)?);
            if let Some(parent) = to.parent().filter(|parent| *parent != whole) {
                self.files.create_folder(parent).map_err(RepositoryError::disk("making", parent))?;
            }
            self.fetch(source, &format!("{}/{}", found.folder, file.path), file, &to, counts, said)?;
        }
        // They are there, whatever others did in the folder meanwhile.
        let faults: Vec<VersionFileError> =
            found.manifest.files.iter().filter_map(|file| compare_size(whole, file)).collect();
        if !faults.is_empty() {
            let (model, version) = (found.manifest.name.clone(), found.id.to_string());
            return Err(RepositoryError::Faulty { model, version, faults }.into());
        }
        Ok(self.sync_all(whole.to_owned())?)
    }

    /// Reads an object into a file, from where an earlier pull has ended if that has left any of it.
    fn fetch(
        &self,
        source: &dyn Source,
        object: &str,
        file: &ListedFile,
        to: &Path,
        counts: &mut Counts,
        said: &mut dyn FnMut(&str, u64),
    ) -> Result<(), PullError> {
        let before = counts.done;
        let mut left = self.left(to, file)?;
        if let Some((size, hash)) = &left
            && *size == file.size
            && digest(&file.sha256) == Some(hash.clone().finalize().into())
        {
            self.files.sync_file(to).map_err(RepositoryError::disk("syncing", to))?;
            (counts.done, counts.resumed) = (before + size, counts.resumed + size);
            said(object, counts.done);
            return Ok(());
        }
        left = left.filter(|(size, _)| *size > 0 && *size < file.size);
        loop {
            // An object that is shorter now than what has come of it cannot be read from there.
            let opened = match &left {
                Some((size, hash)) => {
                    source.read(object, *size).ok().map(|reader| (reader, (*size, hash.clone())))
                }
                None => None,
            };
            let (reader, begun) = match opened {
                Some(opened) => opened,
                None => (source.read(object, 0)?, (0, Sha256::new())),
            };
            let had = begun.0;
            counts.done = before + had;
            let received = self.receive(source, object, file, to, reader, begun, counts, said);
            match received {
                // What was left was of something else.
                Err(error) if had > 0 && error.is_fault() => left = None,
                received => {
                    counts.resumed += had;
                    return received;
                }
            }
        }
    }

    /// Returns what an earlier pull has left of a file.
    fn left(&self, path: &Path, file: &ListedFile) -> Result<Option<Begun>, RepositoryError> {
        let failed = |error| RepositoryError::disk("reading", path)(error);
        let opened = match self.files.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut opened = opened.take(file.size.saturating_add(1));
        let mut buffer = vec![0; 1 << 16];
        loop {
            let chunk = chunk(&mut opened, &mut buffer).map_err(failed)?;
            if chunk.is_empty() {
                return Ok(Some((size, hash)));
            }
            hash.update(chunk);
            size += chunk.len() as u64;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one object of one pull")]
    fn receive(
        &self,
        source: &dyn Source,
        object: &str,
        file: &ListedFile,
        to: &Path,
        mut reader: Box<dyn Read + '_>,
        (mut size, mut hash): Begun,
        counts: &mut Counts,
        said: &mut dyn FnMut(&str, u64),
    ) -> Result<(), PullError> {
        let failed = |step| move |error| RepositoryError::disk(step, to)(error);
        let mut writing = if size > 0 {
            self.files.extend(to).map_err(failed("opening"))?
        } else {
            self.discard_file(to)?;
            self.files.create(to).map_err(failed("making"))?
        };
        let mut buffer = vec![0; 1 << 16];
        loop {
            let chunk = chunk(&mut reader, &mut buffer)
                .map_err(|error| SourceError::unreadable(source.place(object), error))?;
            if chunk.is_empty() {
                break;
            }
            let taken = chunk.len() as u64;
            if taken > file.size - size {
                return Err(PullError::Longer { object: source.place(object), expected: file.size });
            }
            writing.write(chunk).map_err(failed("writing"))?;
            hash.update(chunk);
            (size, counts.done, counts.read) = (size + taken, counts.done + taken, counts.read + taken);
            said(object, counts.done);
        }
        writing.sync().map_err(failed("syncing"))?;
        let (object, expected) = (source.place(object), file.size);
        if size != expected {
            return Err(PullError::Short { object, expected, found: size });
        }
        let found: [u8; 32] = hash.finalize().into();
        if digest(&file.sha256) != Some(found) {
            return Err(PullError::Digest { object, expected: file.sha256.clone(), found: hex(&found) });
        }
        Ok(())
    }

    /// Removes a file aside, where there is one.
    fn discard_file(&self, path: &Path) -> Result<(), RepositoryError> {
        match self.files.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(RepositoryError::disk("removing", path)),
        }
    }
}

/// Reads what comes next; nothing at the end. A reader is somebody else's, and may say that it gave more than there was
/// room for.
fn chunk<'b>(reader: &mut dyn Read, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                let read = read?;
                return buffer
                    .get(..read)
                    .ok_or_else(|| io::Error::other("more was read than was asked for"));
            }
        }
    }
}

/// A small object whole; nothing where there is none.
fn small(source: &dyn Source, object: &str, max: u64) -> Result<Option<Vec<u8>>, PullError> {
    let mut reader = match source.read(object, 0) {
        Err(SourceError::Missing { .. }) => return Ok(None),
        reader => reader?,
    };
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let chunk = chunk(&mut reader, &mut buffer)
            .map_err(|error| SourceError::unreadable(source.place(object), error))?;
        if chunk.is_empty() {
            return Ok(Some(bytes));
        }
        bytes.extend_from_slice(chunk);
        if bytes.len() as u64 > max {
            let cause = format!("it has more than {max} bytes");
            return Err(PullError::Unusable { object: source.place(object), cause });
        }
    }
}

/// The version that a name means at a source: its own, a tag that points at it, or `latest`.
fn find(source: &dyn Source, model: &str, asked: &str) -> Result<Found, PullError> {
    name::component("version", asked)?;
    if let Some(found) = version(source, model, asked)? {
        return Ok(found);
    }
    let mut there = source.folders(model)?;
    there.retain(|name| name::component("version", name).is_ok());
    if asked == "latest" {
        if let Some(found) = latest(source, model, &there)? {
            return Ok(found);
        }
        // There are some, and none that can be held against anything.
        if let Some(last) = there.iter().max_by(|one, other| name::natural(one, other)) {
            let object = source.place(&format!("{model}/{last}/{FILE}"));
            return version(source, model, last)?.ok_or(PullError::NoManifest { object });
        }
    } else if there.iter().any(|name| name == asked) {
        return Err(PullError::NoManifest { object: source.place(&format!("{model}/{asked}/{FILE}")) });
    }
    let tags = tags(source, model)?;
    if let Some(to) = tags.get(asked) {
        name::component("version", to)?;
        return version(source, model, to)?
            .ok_or_else(|| PullError::NoManifest { object: source.place(&format!("{model}/{to}/{FILE}")) });
    }
    there.extend(tags.into_keys().filter(|tag| name::component("tag", tag).is_ok()));
    there.sort_by(|one, other| name::natural(one, other));
    there.truncate(32);
    let asked = asked.chars().take(64).collect();
    Err(PullError::Unknown { from: source.place(model), asked, there })
}

fn tags(source: &dyn Source, model: &str) -> Result<BTreeMap<String, String>, PullError> {
    let object = format!("{model}/{TAGS}");
    let bytes = small(source, &object, TAGS_MAX)?.unwrap_or_else(|| b"{}".to_vec());
    serde_json::from_slice(&bytes)
        .map_err(|error| PullError::Unusable { object: source.place(&object), cause: error.to_string() })
}

/// A version by its own name; nothing where it has no manifest.
fn version(source: &dyn Source, model: &str, version: &str) -> Result<Option<Found>, PullError> {
    let Ok(id) = VersionId::new(version) else { return Ok(None) };
    let folder = format!("{model}/{version}");
    let object = format!("{folder}/{FILE}");
    let Some(bytes) = small(source, &object, MANIFEST_MAX)? else { return Ok(None) };
    let unusable = |cause| PullError::Unusable { object: source.place(&object), cause };
    let manifest = Manifest::parse(&bytes).map_err(unusable)?;
    if (manifest.name.as_str(), manifest.version.as_str()) != (model, version) {
        let cause = format!(
            "it is of {} {}, and lies where {model} {version} belongs",
            manifest.name, manifest.version
        );
        return Err(unusable(cause));
    }
    let signature = small(source, &format!("{folder}/{SIGNATURE}"), SIGNATURE_MAX)?;
    Ok(Some(Found { id, folder, manifest, bytes, signature }))
}

/// The last version in the order of [`Repository::versions`] that has a manifest which can be used.
fn latest(source: &dyn Source, model: &str, there: &[String]) -> Result<Option<Found>, PullError> {
    let usable = |name: &str| match version(source, model, name) {
        Err(PullError::Unusable { .. }) => Ok(None),
        found => found,
    };
    let (mut numbers, others): (Vec<&String>, Vec<&String>) =
        there.iter().partition(|name| name::is_number(name));
    numbers.sort_by(|one, other| name::natural(other, one));
    for number in numbers {
        if let Some(found) = usable(number)? {
            return Ok(Some(found));
        }
    }
    if others.len() > MANIFESTS_MAX {
        return Err(PullError::TooMany { from: source.place(model), max: MANIFESTS_MAX });
    }
    let mut last: Option<Found> = None;
    for name in others {
        if let Some(found) = usable(name)? {
            let later = |last: &Found| {
                let made = last.manifest.created.cmp(&found.manifest.created);
                made.then_with(|| name::natural(last.id.as_str(), found.id.as_str())) == Ordering::Less
            };
            if last.as_ref().is_none_or(later) {
                last = Some(found);
            }
        }
    }
    Ok(last)
}

//! Publishes a version whole, or not at all.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};

use super::error::RepositoryError;
use super::manifest::{DataSet, FILE, ListedFile, MANIFEST_MAX, Manifest, is_own};
use super::name;
use super::store::{ASIDE, DATA, Entry, Repository, TAGS_LOCK, names, there, unique};
use super::verify::hashed;
use crate::base::disk::{make_lock, open_lock};
use crate::base::text::hex;
use crate::version::id::VersionId;

/// A version that is to be published: its manifest, and where its files come from. Sizes and digests are filled in as the
/// files are copied, and with the feature `onnx` the tensors of the model's file where the contract says nothing of any.
#[derive(Debug, Clone)]
#[must_use = "nothing is published before `Repository::publish`"]
pub struct Draft {
    pub(super) manifest: Manifest,
    files: Vec<(String, Content)>,
    data: Vec<(DataSet, PathBuf)>,
}

#[derive(Debug, Clone)]
enum Content {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Writes the tensors of the model's file into a contract that says nothing of any. A file that cannot be read as a model is
/// published all the same: whoever opens it is told.
#[cfg(feature = "onnx")]
fn name_tensors(manifest: &mut Manifest, folder: &Path) {
    let Manifest { contract, model, .. } = manifest;
    if !contract.inputs.is_empty() || !contract.outputs.is_empty() || name::file(model).is_err() {
        return;
    }
    let Ok(model) = crate::model::onnx::OnnxModel::from_file(folder.join(&*model)) else { return };
    if let Some(signature) = model.signature() {
        contract.inputs = super::contract::tensor_spec::of_ports(&signature.inputs);
        contract.outputs = super::contract::tensor_spec::of_ports(&signature.outputs);
    }
}

#[cfg(not(feature = "onnx"))]
fn name_tensors(_: &mut Manifest, _: &Path) {}

/// Refuses a model without the external data that it refers to: a version is never changed, so it would stay so.
#[cfg(feature = "onnx")]
fn has_its_data(manifest: &Manifest, folder: &Path) -> Result<(), RepositoryError> {
    let Ok(model) = name::file(&manifest.model) else { return Ok(()) };
    let missing = crate::model::onnx::missing_data(&folder.join(model));
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.iter().map(|data| name::beside(&manifest.model, data)).collect();
    Err(RepositoryError::DataMissing { model: manifest.model.clone(), missing })
}

#[cfg(not(feature = "onnx"))]
fn has_its_data(_: &Manifest, _: &Path) -> Result<(), RepositoryError> {
    Ok(())
}

/// The entries that [`Repository::sweep`] removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Leftovers of publishers that ended in the middle, or of removals.
    pub asides: usize,
    /// Data sets that no version refers to any more.
    pub data: usize,
    /// Entries that were left alone, because nobody can tell what they are, what they refer to, or whether somebody works on them: a look, or
    /// their lock, was answered with an error, a folder has too many entries, a link leads to what is not there, or a version cannot be read.
    /// Where data would be removed otherwise, a model's folder that is empty is one too, as one is on which nothing is mounted. All data is left
    /// alone then: what cannot be seen may refer to any. Sweep where the folder is local and whole.
    pub unsure: usize,
}

impl Draft {
    /// A version with this manifest, and no files yet.
    pub fn new(manifest: Manifest) -> Self {
        Self { manifest, files: Vec::new(), data: Vec::new() }
    }

    /// Copies a file. `path` is its place below the version's folder, with `/` between components: `model.onnx`.
    pub fn file(mut self, path: impl Into<String>, from: impl Into<PathBuf>) -> Self {
        self.files.push((path.into(), Content::File(from.into())));
        self
    }

    /// Writes a file of these bytes.
    pub fn bytes(mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), Content::Bytes(bytes.into())));
        self
    }

    /// Keeps the data that it was trained on in the repository, by its digest: once, however many versions share it. What is listed in the
    /// manifest under its name already is replaced; two that are attached have two names.
    pub fn attach(mut self, data: DataSet, from: impl Into<PathBuf>) -> Self {
        self.data.push((data, from.into()));
        self
    }
}

impl Repository {
    /// Publishes a version: copied aside, synced, and put in its place by a rename, so that nobody ever sees half of it.
    /// Its tags point at it then.
    ///
    /// # Errors
    ///
    /// The version is there already, a name or the manifest is wrong, two sets of data are attached under one name, the manifest would have more than 4 MiB, or the disk
    /// refuses; with the feature `onnx`, the model's file refers to external data that is not given. Nothing is there then that was not before; a process that is killed leaves a folder aside, which the next [`sweep`](Self::sweep) removes.
    pub fn publish(&self, draft: Draft) -> Result<Entry, RepositoryError> {
        let Draft { mut manifest, files, data } = draft;
        let (model, version) = (manifest.name.clone(), manifest.version.clone());
        name::component("version", &version)?;
        let id = VersionId::new(&version).map_err(|_| self.unknown(&model, &version))?;
        let folder = self.model_folder(&model)?;
        let target = folder.join(&version);
        let exists = || RepositoryError::Exists { model: model.clone(), version: version.clone() };
        if fs::symlink_metadata(&target).is_ok()
            || self.tags(&model)?.contains_key(&version)
            || version == "latest"
        {
            return Err(exists());
        }
        manifest.tags.iter().try_for_each(|tag| self.usable_tag(&model, tag))?;
        let mut attached = BTreeSet::new();
        if let Some((twice, _)) = data.iter().find(|(data, _)| !attached.insert(&data.name)) {
            let (what, name) = ("set of data", twice.name.clone());
            return Err(RepositoryError::Name {
                what,
                name,
                cause: "two sets have this name: attach each under another",
            });
        }
        // Until the manifest that refers to it can be seen.
        let _data = if data.is_empty() { None } else { Some(self.hold_data()?) };
        let made_folder = !folder.exists();
        let unmade = |error| {
            if made_folder {
                let _ = fs::remove_dir(&folder);
            }
            error
        };
        let made = self.make_folder(&folder);
        let held = made.and_then(|()| self.hold_aside(&folder, |lock| lock.lock()));
        let (aside, held) = held.map_err(unmade)?;
        let filled = self.fill(&aside, &mut manifest, files, data);
        let published = filled.and_then(|()| {
            let placed = self.place(&aside, &target);
            drop(held);
            if placed? { Ok(()) } else { Err(exists()) }
        });
        let _ = fs::remove_dir_all(&aside);
        published.map_err(unmade)?;
        let tags = manifest.tags.clone();
        let entry = Entry::new(model, id, target, Some(manifest));
        self.finish(&entry, &aside, &tags)?;
        Ok(entry)
    }

    /// Makes a folder of the repository, so that it lasts: what lies in it would be gone with it.
    pub(super) fn make_folder(&self, folder: &Path) -> Result<(), RepositoryError> {
        self.files.make_folder(folder, &self.root).map_err(RepositoryError::disk("making", folder))
    }

    /// Puts what is whole aside in its place; whether it is there now. It is not where another came there meanwhile.
    pub(super) fn place(&self, aside: &Path, target: &Path) -> Result<bool, RepositoryError> {
        // Refused by the system where there is something: a folder that is not empty is not replaced.
        match self.files.rename(&aside.join(WHOLE), target) {
            Ok(()) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(RepositoryError::disk("renaming", aside)(error)),
        }
    }

    /// Makes a version last that is in its place, and points the tags at it. Where that fails it is taken out again by the name
    /// aside, which is free by now.
    pub(super) fn finish(
        &self,
        entry: &Entry,
        aside: &Path,
        tags: &BTreeSet<String>,
    ) -> Result<(), RepositoryError> {
        let folder = self.model_folder(&entry.model)?;
        let synced = self.files.sync_folder(&folder).map_err(RepositoryError::disk("syncing", &folder));
        let finished = synced.and_then(|()| {
            // Whoever makes the lock from now on to give a tag sees the version. Who has made it may have looked before.
            if tags.is_empty() && fs::symlink_metadata(folder.join(TAGS_LOCK)).is_err() {
                return Ok(());
            }
            self.change_tags(&entry.model, |known| {
                let (model, version) = (&entry.model, entry.version.as_str());
                if known.contains_key(version) {
                    return Err(RepositoryError::Exists { model: model.clone(), version: version.into() });
                }
                // It can be seen, and so removed.
                if fs::symlink_metadata(&entry.folder).is_err() {
                    return Err(self.unknown(model, version));
                }
                tags.iter().try_for_each(|tag| self.usable_tag(model, tag))?;
                known.extend(tags.iter().map(|tag| (tag.clone(), version.to_owned())));
                Ok(())
            })
        });
        if finished.is_err() {
            // What is not surely there, and not tagged, was not published.
            let _ = fs::rename(&entry.folder, aside).and_then(|()| fs::remove_dir_all(aside));
        }
        finished
    }

    /// A folder aside, which a sweep lets be as long as the lock is held.
    fn hold_aside(
        &self,
        folder: &Path,
        mut wait: impl FnMut(&File) -> io::Result<()>,
    ) -> Result<(PathBuf, File), RepositoryError> {
        for _ in 0..TRIES {
            let aside = folder.join(format!("{ASIDE}{}", unique()?));
            self.files.create_one_folder(&aside).map_err(RepositoryError::disk("making", &aside))?;
            let path = aside.join(LOCK);
            let held = make_lock(&path).and_then(|lock| wait(&lock).map(|()| lock));
            match held.map_err(RepositoryError::disk("locking", &path)) {
                // A sweep may have found it before it was locked, and removed it with all that it is a name of.
                Ok(lock) if is_named(&lock, &path) => return Ok((aside, lock)),
                held => {
                    let _ = fs::remove_dir_all(&aside);
                    held?;
                }
            }
        }
        let error = io::Error::other("sweeps remove each folder before it is locked: publish once none runs");
        Err(RepositoryError::disk("locking a folder in", folder)(error))
    }

    /// Fills the folder aside that is held.
    fn fill(
        &self,
        aside: &Path,
        manifest: &mut Manifest,
        files: Vec<(String, Content)>,
        data: Vec<(DataSet, PathBuf)>,
    ) -> Result<(), RepositoryError> {
        let whole = aside.join(WHOLE);
        // Not the folder above it: that is there, or it is nobody's any more.
        self.files.create_one_folder(&whole).map_err(RepositoryError::disk("making", &whole))?;
        manifest.files.clear();
        for (path, source) in files {
            let to = whole.join(name::file(&path)?);
            if is_own(&path) {
                return Err(RepositoryError::Name {
                    what: "file",
                    name: path,
                    cause: "it is the manifest's own",
                });
            }
            if let Some(parent) = to.parent().filter(|parent| *parent != whole) {
                self.files.create_folder(parent).map_err(RepositoryError::disk("making", parent))?;
            }
            let (size, digest) = match source {
                Content::File(from) => {
                    self.files.copy(&from, &to).map_err(RepositoryError::disk("copying", &from))?
                }
                Content::Bytes(bytes) => {
                    self.write(&to, &bytes)?;
                    (bytes.len() as u64, Sha256::digest(&bytes).into())
                }
            };
            manifest.files.push(ListedFile { path, size, sha256: hex(&digest) });
        }
        for (data, from) in data {
            let digest = self.keep(&from)?;
            let data = DataSet { sha256: Some(digest), attached: true, ..data };
            manifest.lineage.data.retain(|known| known.name != data.name);
            manifest.lineage.data.push(data);
        }
        has_its_data(manifest, &whole)?;
        name_tensors(manifest, &whole);
        let path = whole.join(FILE);
        let wrong = |cause| RepositoryError::Manifest { path: path.clone(), cause };
        manifest.check().map_err(wrong)?;
        let bytes = manifest.bytes();
        let size = bytes.len() as u64;
        if size > MANIFEST_MAX {
            let remedy = "leave out golden samples or make them smaller, and put what is long in a file of the version";
            return Err(RepositoryError::TooLarge { path, bytes: size, max: MANIFEST_MAX, remedy });
        }
        // A version is published once: what nobody could read would stay so.
        Manifest::parse(&bytes).map_err(wrong)?;
        self.write(&path, &bytes)?;
        self.sync_all(whole)
    }

    /// Makes the names in a folder last, and those in the folders below it.
    pub(super) fn sync_all(&self, whole: PathBuf) -> Result<(), RepositoryError> {
        let mut folders = vec![whole];
        while let Some(folder) = folders.pop() {
            let inner =
                names(&folder)?.into_iter().map(|name| folder.join(name)).filter(|path| path.is_dir());
            folders.extend(inner);
            self.files.sync_folder(&folder).map_err(RepositoryError::disk("syncing", &folder))?;
        }
        Ok(())
    }

    pub(super) fn write(&self, to: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
        let mut file = self.files.create(to).map_err(RepositoryError::disk("making", to))?;
        file.write(bytes).map_err(RepositoryError::disk("writing", to))?;
        file.sync().map_err(RepositoryError::disk("syncing", to))
    }

    /// Keeps a sweep from the data: what is kept is in no manifest yet.
    fn hold_data(&self) -> Result<File, RepositoryError> {
        let path = self.root.join(DATA_LOCK);
        let held = make_lock(&path).and_then(|lock| lock.lock_shared().map(|()| lock));
        held.map_err(RepositoryError::disk("locking", &path))
    }

    /// Keeps data by its digest; whether it is kept already or not.
    fn keep(&self, from: &Path) -> Result<String, RepositoryError> {
        let (_, digest) = hashed(from).map_err(RepositoryError::disk("reading", from))?;
        let (digest, folder) = (hex(&digest), self.root.join(DATA).join("sha256"));
        let to = folder.join(&digest);
        self.make_folder(&folder)?;
        if fs::symlink_metadata(&to).is_ok_and(|metadata| metadata.is_file()) {
            // Whoever keeps it may not have synced it yet.
            self.files.sync_folder(&folder).map_err(RepositoryError::disk("syncing", &folder))?;
            return Ok(digest);
        }
        let aside = folder.join(format!("{ASIDE}{}", unique()?));
        let kept = self.files.copy(from, &aside).map_err(RepositoryError::disk("copying", from)).and_then(
            |(_, copied)| {
                if hex(&copied) != digest {
                    let error = io::Error::other("it changed while it was read");
                    return Err(RepositoryError::disk("copying", from)(error));
                }
                self.files.rename(&aside, &to).map_err(RepositoryError::disk("renaming", &aside))
            },
        );
        if kept.is_err() {
            let _ = fs::remove_file(&aside);
        }
        kept?;
        self.files.sync_folder(&folder).map_err(RepositoryError::disk("syncing", &folder))?;
        Ok(digest)
    }

    /// Removes what publishers that were killed have left behind, and data that no version refers to. Leaves alone what
    /// somebody is publishing, what nobody can tell of whether somebody is (a file system that has no locks), and all data
    /// while there is a manifest that cannot be read, or a model or version that cannot be looked at: it may refer to any. A model whose
    /// folder is a link is looked at like any other, unless it is another name of a model that lies beside it.
    ///
    /// # Errors
    ///
    /// The repository's folder, or that of its data, cannot be listed, or something cannot be removed.
    pub fn sweep(&self) -> Result<Swept, RepositoryError> {
        let mut swept = Swept::default();
        let (mut used, mut certain) = (Vec::new(), true);
        // Taken before anything is looked at: whoever begins to publish meanwhile waits with its data until this is over.
        let lock = self.root.join(DATA_LOCK);
        let _turn =
            match works(if self.root.join(DATA).exists() { make_lock(&lock) } else { open_lock(&lock) }) {
                Works::Nobody(turn) => Some(turn),
                // Or no data was ever kept until now.
                _ => {
                    certain = false;
                    None
                }
            };
        // Of something that cannot be seen nobody knows to what it refers.
        let (mut unseen, mut empty) = (0, 0);
        for model in names(&self.root)? {
            if name::component("model", &model).is_err() {
                continue;
            }
            let folder = self.model_folder(&model)?;
            match kind(&folder) {
                Kind::Folder => {}
                Kind::Other => continue,
                Kind::Unknown => {
                    unseen += 1;
                    continue;
                }
            }
            if self.is_another_name(&folder) {
                continue;
            }
            let Ok(inside) = names(&folder) else {
                unseen += 1;
                continue;
            };
            // Whoever removes the last version leaves the lock of the tags, and a mount that is not there nothing.
            empty += usize::from(inside.is_empty());
            for name in inside {
                let path = folder.join(&name);
                let tags = name.starts_with(".tags.json.");
                if name.starts_with(ASIDE) || tags {
                    // The lock is held while it is removed.
                    let works = match works(open_lock(&if tags {
                        folder.join(TAGS_LOCK)
                    } else {
                        path.join(LOCK)
                    })) {
                        // A removal that was cut short; or, as long as it is empty, a publisher that has just begun.
                        Works::NoLock if !tags => match names(&path) {
                            Ok(inside) if inside.is_empty() => Works::Somebody,
                            Ok(_) => Works::NoLock,
                            Err(_) => Works::Unknown,
                        },
                        works => works,
                    };
                    match works {
                        Works::Nobody(_) | Works::NoLock => {
                            self.discard(&path)?;
                            swept.asides += 1;
                        }
                        // Its data may be kept already, and is in no manifest that can be seen.
                        Works::Somebody => certain = false,
                        Works::Unknown => unseen += 1,
                    }
                } else if name::component("version", &name).is_ok() {
                    match kind(&path) {
                        Kind::Folder => {}
                        Kind::Other => continue,
                        Kind::Unknown => {
                            unseen += 1;
                            continue;
                        }
                    }
                    match self.get(&model, &name) {
                        Ok(entry) => {
                            used.extend(entry.manifest.into_iter().flat_map(|manifest| manifest.lineage.data))
                        }
                        // Whatever it is, no manifest of a version refers to data from there, where there surely is none.
                        Err(RepositoryError::NoVersion { .. })
                            if matches!(there(fs::symlink_metadata(path.join(FILE))), Ok(None)) => {}
                        Err(_) => unseen += 1,
                    }
                }
            }
        }
        let folder = self.root.join(DATA).join("sha256");
        let mut unused = names(&folder)?;
        unused.retain(|name| {
            !used.iter().any(|data| data.attached && data.sha256.as_deref() == Some(name.as_str()))
        });
        // Otherwise it stands in nobody's way.
        swept.unsure = unseen + if unused.is_empty() { 0 } else { empty };
        certain &= swept.unsure == 0;
        for name in unused.into_iter().filter(|_| certain) {
            self.discard(&folder.join(name))?;
            swept.data += 1;
        }
        Ok(swept)
    }

    /// Whether a link at the root is another name of a model that lies there too, and is looked at by its own.
    fn is_another_name(&self, folder: &Path) -> bool {
        let is_link = fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink());
        let of = || Some((fs::canonicalize(folder).ok()?, fs::canonicalize(&self.root).ok()?));
        is_link
            && of().is_some_and(|(model, root)| {
                let name = model.file_name().and_then(std::ffi::OsStr::to_str);
                model.parent() == Some(&*root)
                    && name.is_some_and(|name| name::component("model", name).is_ok())
            })
    }

    fn discard(&self, path: &Path) -> Result<(), RepositoryError> {
        let folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
        let removed = if folder { self.files.remove_folder(path) } else { self.files.remove_file(path) };
        removed.map_err(RepositoryError::disk("removing", path))
    }
}

/// The version within the folder aside, as it is renamed.
pub(super) const WHOLE: &str = "whole";

/// Held, with others, by whoever keeps data until the manifest that refers to it is in its place.
const DATA_LOCK: &str = ".data.lock";

/// Held by the publisher.
pub(super) const LOCK: &str = "lock";

/// How many folders aside are made before a publisher gives up that finds each of them swept.
const TRIES: usize = 8;

/// Whether a lock still goes by its name.
pub(super) fn is_named(lock: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let of = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|found| (found.dev(), found.ino()));
        of(lock.metadata()).is_some_and(|held| of(fs::symlink_metadata(path)) == Some(held))
    }
    #[cfg(not(unix))]
    {
        let _ = lock;
        fs::symlink_metadata(path).is_ok()
    }
}

/// What lies by a name, or what a link of that name leads to.
enum Kind {
    Folder,
    Other,
    /// The system does not say, or a link leads to what is not there: it may be away.
    Unknown,
}

fn kind(path: &Path) -> Kind {
    match there(fs::metadata(path)) {
        Ok(Some(metadata)) if metadata.is_dir() => Kind::Folder,
        Ok(Some(_)) => Kind::Other,
        // It was removed meanwhile.
        Ok(None) if matches!(there(fs::symlink_metadata(path)), Ok(None)) => Kind::Other,
        Ok(None) | Err(_) => Kind::Unknown,
    }
}

/// Who works on what a lock is of.
enum Works {
    /// Nobody: the lock was got, and is held as long as this is.
    Nobody(File),
    Somebody,
    /// There is no such lock.
    NoLock,
    /// The system cannot tell, as over a network: an error is no answer.
    Unknown,
}

/// Asks a lock. That it was got is the only proof that nobody has it. For writing, since over a network only who may write
/// can have a lock for itself.
fn works(lock: io::Result<File>) -> Works {
    match lock {
        Ok(file) => match file.try_lock() {
            Ok(()) => Works::Nobody(file),
            Err(TryLockError::WouldBlock) => Works::Somebody,
            Err(TryLockError::Error(_)) => Works::Unknown,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Works::NoLock,
        Err(_) => Works::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a publisher went on in a folder that nobody kept a sweep from, and another sweep removed it under its hands. Cause: a sweep that
    /// came between the making of its lock and the locking removed the folder, and it was made again with what was put into it, without a
    /// lock. Fix: a lock counts only while it goes by its name, another folder is taken otherwise, and none is made with what lies in it.
    #[test]
    fn a_folder_that_was_swept_before_it_was_locked_is_not_published_from() {
        let root = std::env::temp_dir().join(format!("switchback-swept-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let models = Repository::create(&root).unwrap();
        let folder = root.join("late");
        models.make_folder(&folder).unwrap();
        let mut sweeps = 0;
        let (aside, lock) = models
            .hold_aside(&folder, |lock| {
                if sweeps < 2 {
                    sweeps += 1;
                    assert_eq!(models.sweep().unwrap().asides, 1);
                }
                lock.lock()
            })
            .unwrap();
        assert_eq!(sweeps, 2);
        assert!(is_named(&lock, &aside.join(LOCK)));
        assert_eq!(models.sweep().unwrap().asides, 0, "it is held");
        assert_eq!(names(&folder).unwrap().len(), 1, "nothing else was left");
        drop(lock);
        assert_eq!(models.sweep().unwrap().asides, 1);
        // What lies in one that is gone does not bring it back.
        let mut manifest = Manifest::new("late", "1", crate::Timestamp::from_unix_seconds(1));
        models.fill(&aside, &mut manifest, Vec::new(), Vec::new()).unwrap_err();
        assert!(!aside.exists());
        // Where each is swept it is an error, and no endless loop.
        let refused = models.hold_aside(&folder, |_| models.sweep().map(drop).map_err(io::Error::other));
        assert!(refused.unwrap_err().to_string().contains("publish once none runs"));
        fs::remove_dir_all(root).unwrap();
    }
}

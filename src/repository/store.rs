//! The store: models, their versions, and the tags that point at them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::error::RepositoryError;
use super::manifest::{FILE, MANIFEST_MAX, Manifest};
use super::mlflow::MlflowModel;
use super::name;
use crate::base::disk::{Files, make_lock};
#[cfg(feature = "testing")]
use crate::base::faults::Faults;
use crate::base::text::hex;
use crate::version::id::VersionId;

/// Entries of one folder; a repository has a few hundred.
pub(super) const ENTRIES_MAX: usize = 65_536;

/// Bytes of the file of tags.
pub(super) const TAGS_MAX: u64 = 1 << 20;

pub(crate) const TAGS: &str = ".tags.json";

/// Held by whoever changes the tags.
pub(super) const TAGS_LOCK: &str = ".tags.lock";

/// The part of a name that marks what is being published.
pub(crate) const ASIDE: &str = ".aside-";

pub(crate) const DATA: &str = ".data";

/// Tags that could not be read go by such a name, once they are out of the way.
const TORN_TAGS: &str = ".torn-tags-";

const MODEL: &str = "model.onnx";

/// Where a model lies in a folder without a manifest, the first that is there: Triton keeps one with its weights in a folder
/// of the model's name, hubs export to `onnx`.
const LAYOUTS: [&str; 3] = [MODEL, "model.onnx/model.onnx", "onnx/model.onnx"];

/// Versions of models in a folder: see the [module](super).
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) root: PathBuf,
    pub(crate) files: Files,
    pub(super) follow: bool,
    #[cfg(feature = "signatures")]
    pub(crate) keys: Option<super::trust::TrustedKeys>,
}

/// What looks like a version in a repository, and cannot be used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Unusable {
    /// The name of its folder, which would be the version's.
    pub name: String,
    /// Why it cannot be used.
    pub error: RepositoryError,
}

/// One version in a repository.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The model.
    pub model: String,
    /// The version.
    pub version: VersionId,
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest; nothing for a folder without one.
    pub manifest: Option<Manifest>,
    /// Where the model lies in a folder without a manifest.
    layout: &'static str,
}

impl Entry {
    pub(crate) fn new(
        model: String,
        version: VersionId,
        folder: PathBuf,
        manifest: Option<Manifest>,
    ) -> Self {
        let layout = layout(&folder).unwrap_or(MODEL);
        Self { model, version, folder, manifest, layout }
    }

    /// The file to load. Without a manifest it is `model.onnx`, or as Triton keeps a model with its weights
    /// `model.onnx/model.onnx`, or as a hub exports it `onnx/model.onnx`: the first that is there.
    pub fn model_file(&self) -> PathBuf {
        self.folder.join(self.model_path())
    }

    /// Returns what MLflow says of the model, where it has logged it: the run, the moment, the signature.
    /// [`MlflowModel::manifest`] makes a manifest of that, to publish it with.
    ///
    /// # Errors
    ///
    /// The file `MLmodel` is there and cannot be read.
    pub fn mlflow(&self) -> Result<Option<MlflowModel>, RepositoryError> {
        MlflowModel::read(&self.folder)
    }

    /// The same below the version's folder, with `/` between components.
    pub(crate) fn model_path(&self) -> &str {
        self.manifest.as_ref().map_or(self.layout, |manifest| &manifest.model)
    }
}

impl Repository {
    /// Opens the repository in a folder.
    ///
    /// # Errors
    ///
    /// There is no such folder.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, RepositoryError> {
        let root = root.as_ref();
        let metadata = fs::metadata(root).map_err(RepositoryError::disk("opening", root))?;
        if !metadata.is_dir() {
            let error = io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder");
            return Err(RepositoryError::disk("opening", root)(error));
        }
        Ok(Self {
            root: root.to_owned(),
            files: Files::default().shared(),
            follow: false,
            #[cfg(feature = "signatures")]
            keys: None,
        })
    }

    /// Opens the repository in a folder, which is made where there is none.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub fn create(root: impl AsRef<Path>) -> Result<Self, RepositoryError> {
        let files = Files::default().shared();
        let root = root.as_ref();
        files.make_folder(root, root).map_err(RepositoryError::disk("making", root))?;
        Self::open(root)
    }

    /// Has steps on the disk fail as told, in a test of the host's.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn disk_faults(self, faults: Faults) -> Self {
        Self { files: Files::with(faults).shared(), ..self }
    }

    /// Takes a link within a version for what it leads to, where that stays below the model's folder: volumes that an orchestrator
    /// fills from its configuration, trees that are swapped by a link, caches of model hubs. A file with several names (hard links: copies
    /// that share their bytes, as backups and caches make them) is taken too. By default [`verify`](Self::verify) and
    /// [`serve`](Self::serve) refuse every link, and `verify` alone a file with several names, since it may be changed without the
    /// version's folder being touched; it still may, and what is listed is still held against its digest.
    #[must_use]
    pub fn following_links(self) -> Self {
        Self { follow: true, ..self }
    }

    /// Where a link leads to, if links are followed and it stays below the model's folder.
    pub(super) fn followed(&self, model: &str, path: &Path) -> Option<PathBuf> {
        if !self.follow || !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
            return None;
        }
        let below = fs::canonicalize(self.model_folder(model).ok()?).ok()?;
        let (to, from) = (fs::canonicalize(path).ok()?, fs::canonicalize(path.parent()?).ok()?);
        // One that leads to a folder in which it lies itself leads round in a circle.
        (to.starts_with(&below) && to != below && !from.starts_with(&to)).then_some(to)
    }

    /// Holds every manifest against signatures of these keys.
    #[cfg(feature = "signatures")]
    #[must_use]
    pub fn trusting(self, keys: super::trust::TrustedKeys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Whether a version without a manifest, and so without a signature, may be used.
    fn takes_unsigned(&self) -> bool {
        #[cfg(feature = "signatures")]
        let takes = self.keys.as_ref().is_none_or(super::trust::TrustedKeys::take_unsigned);
        #[cfg(not(feature = "signatures"))]
        let takes = true;
        takes
    }

    /// The models, by name.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn models(&self) -> Result<Vec<String>, RepositoryError> {
        let mut models = folders(&self.root)?;
        models.retain(|model| name::component("model", model).is_ok());
        models.sort();
        Ok(models)
    }

    /// The versions of a model, oldest first. Those whose names are numbers come last, in numeric order, whatever lies beside
    /// them; the others by when they were made, as far as their manifests say, and by their names in natural order, in which
    /// `v9` comes before `v10` and `2.9.0` before `2.10.0`. A folder that is no version, or whose manifest cannot be read, is
    /// left out; [`unusable`](Self::unusable) says which and why.
    ///
    /// # Errors
    ///
    /// There is no such model, or its folder cannot be read.
    pub fn versions(&self, model: &str) -> Result<Vec<Entry>, RepositoryError> {
        let mut entries: Vec<Entry> =
            self.names(model)?.iter().filter_map(|version| self.get(model, version).ok()).collect();
        entries.sort_by(|one, other| {
            let (name, other_name) = (one.version.as_str(), other.version.as_str());
            let made = |entry: &Entry| match name::is_number(entry.version.as_str()) {
                // Of numbers the name says all.
                true => (true, None),
                false => (false, entry.manifest.as_ref().map(|manifest| manifest.created)),
            };
            made(one).cmp(&made(other)).then_with(|| name::natural(name, other_name))
        });
        Ok(entries)
    }

    /// Returns what [`versions`](Self::versions) leaves out though it holds a manifest or a model.
    ///
    /// # Errors
    ///
    /// There is no such model, or its folder cannot be read.
    pub fn unusable(&self, model: &str) -> Result<Vec<Unusable>, RepositoryError> {
        let mut names = self.names(model)?;
        names.sort_by(|one, other| name::natural(one, other));
        let why = |name: String| self.get(model, &name).err().map(|error| Unusable { name, error });
        Ok(names.into_iter().filter_map(why).collect())
    }

    /// The names of what are versions, or look like it.
    fn names(&self, model: &str) -> Result<Vec<String>, RepositoryError> {
        let folder = self.model_folder(model)?;
        let mut names = names(&folder)?;
        names.retain(|version| {
            let looks_like_one = || match version_folder(&folder, version) {
                // What cannot be looked at may be one: whoever asks for it is told why not.
                Ok(Some(path)) => is_version(&path).unwrap_or(true),
                Err(NoFolder::Disk(_)) => true,
                Ok(None) | Err(NoFolder::Link(_)) => false,
            };
            name::component("version", version).is_ok() && looks_like_one()
        });
        Ok(names)
    }

    /// One version, by its name.
    ///
    /// # Errors
    ///
    /// There is none of that name, what goes by it is [no version](RepositoryError::NoVersion), it cannot be looked at, or its manifest
    /// cannot be read. What its other files are worth, [`verify`](Self::verify) says.
    pub fn get(&self, model: &str, version: &str) -> Result<Entry, RepositoryError> {
        name::component("version", version)?;
        let below = self.model_folder(model)?;
        let none = |cause| {
            let (path, model, version) = (below.join(version), model.to_owned(), version.to_owned());
            RepositoryError::NoVersion { path, model, version, cause }
        };
        let found = version_folder(&below, version).map_err(|error| match error {
            NoFolder::Link(cause) => none(cause),
            NoFolder::Disk(error) => RepositoryError::disk("looking at", &below.join(version))(error),
        })?;
        let (Some(folder), Ok(id)) = (found, VersionId::new(version)) else {
            return Err(self.unknown(model, version));
        };
        if !is_version(&folder).map_err(RepositoryError::disk("looking at", &folder))? {
            return Err(none(
                "it holds neither a manifest.json nor a model.onnx: finish the copy, or remove the folder",
            ));
        }
        let path = folder.join(FILE);
        let manifest = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.takes_unsigned() => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RepositoryError::Unsigned {
                    model: model.to_owned(),
                    version: version.to_owned(),
                });
            }
            _ => Some(self.manifest(&path, model, version)?),
        };
        Ok(Entry::new(model.to_owned(), id, folder, manifest))
    }

    /// The SHA-256 of a version's manifest as it lies there, whether or not it is believed; nothing where it cannot be read.
    #[cfg(feature = "onnx")]
    pub(crate) fn manifest_digest(&self, model: &str, version: VersionId) -> Option<String> {
        use sha2::{Digest, Sha256};

        let folder = version_folder(&self.model_folder(model).ok()?, version.as_str()).ok()??;
        let path = folder.join(FILE);
        let bytes =
            self.files.read(self.followed(model, &path).as_deref().unwrap_or(&path), MANIFEST_MAX).ok()?;
        Some(hex(&Sha256::digest(bytes)))
    }

    fn manifest(&self, path: &Path, model: &str, version: &str) -> Result<Manifest, RepositoryError> {
        let wrong = |cause: String| RepositoryError::Manifest { path: path.to_owned(), cause };
        let followed = self.followed(model, path);
        let path = followed.as_deref().unwrap_or(path);
        let bytes = self.files.read(path, MANIFEST_MAX).map_err(|error| wrong(error.to_string()))?;
        // Before anything of it is believed.
        #[cfg(feature = "signatures")]
        if let Some(keys) = &self.keys {
            keys.vouch(&self.files, path.parent().unwrap_or(path), &bytes).map_err(wrong)?;
        }
        let manifest = Manifest::parse(&bytes).map_err(wrong)?;
        if (manifest.name.as_str(), manifest.version.as_str()) != (model, version) {
            let cause = format!(
                "it is of {} {}, and lies where {model} {version} belongs",
                manifest.name, manifest.version
            );
            return Err(wrong(cause));
        }
        Ok(manifest)
    }

    /// The version that a name means: its own, a tag that points at it, or `latest`, the last of
    /// [`versions`](Self::versions).
    ///
    /// # Errors
    ///
    /// Nothing goes by that name, or what does cannot be read.
    pub fn resolve(&self, model: &str, asked: &str) -> Result<Entry, RepositoryError> {
        let missing = match self.get(model, asked) {
            Err(error @ (RepositoryError::Unknown { .. } | RepositoryError::NoVersion { .. })) => error,
            found => return found,
        };
        // No tag can have this name, so tags that cannot be read do not stand in its way.
        if asked == "latest" {
            return self.versions(model)?.pop().ok_or(missing);
        }
        match self.tags(model)?.get(asked) {
            Some(version) => self.get(model, version),
            None => Err(missing),
        }
    }

    /// The tags of a model, and the version that each points at.
    ///
    /// # Errors
    ///
    /// There is no such model, or the file of tags cannot be read; [`repair_tags`](Self::repair_tags) is the way out where it
    /// is [torn](RepositoryError::Tags).
    pub fn tags(&self, model: &str) -> Result<BTreeMap<String, String>, RepositoryError> {
        let path = self.model_folder(model)?.join(TAGS);
        let bytes = match self.files.read(&path, TAGS_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            // No repository writes one, so it is torn as far as anybody can tell.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(RepositoryError::Tags { path, cause: error.to_string() });
            }
            read => read.map_err(RepositoryError::disk("reading", &path))?,
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| RepositoryError::Tags { path, cause: error.to_string() })
    }

    /// Puts a file of tags out of the way that cannot be understood: a copy that was cut short, or what somebody wrote by
    /// hand. No tag points anywhere then, until it is given again by [`tag`](Self::tag). Where the old file lies now, for a
    /// person to read; nothing where the tags can be read, which are left as they are.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn repair_tags(&self, model: &str) -> Result<Option<PathBuf>, RepositoryError> {
        let folder = self.model_folder(model)?;
        let _lock = lock_tags(&folder)?;
        if !matches!(self.tags(model), Err(RepositoryError::Tags { .. })) {
            return self.tags(model).map(|_| None);
        }
        let (path, aside) = (folder.join(TAGS), folder.join(format!("{TORN_TAGS}{}.json", unique()?)));
        self.files.rename(&path, &aside).map_err(RepositoryError::disk("renaming", &path))?;
        self.files.sync_folder(&folder).map_err(RepositoryError::disk("syncing", &folder))?;
        Ok(Some(aside))
    }

    /// Points a tag at a version, wherever it pointed before. Where it pointed.
    ///
    /// # Errors
    ///
    /// The version is not there, the name can be no tag, since it is a version's or `latest`, or there are too many tags: their
    /// file has at most 1 MiB. The tags are as they were then.
    pub fn tag(&self, model: &str, tag: &str, version: &str) -> Result<Option<String>, RepositoryError> {
        let looked_up = || self.usable_tag(model, tag).and_then(|()| self.get(model, version));
        // There may be no folder to lock in.
        looked_up()?;
        self.change_tags(model, |tags| {
            // Only who has the lock removes a version, so it is there as long as this has it.
            let entry = looked_up()?;
            Ok(tags.insert(tag.to_owned(), entry.version.to_string()))
        })
    }

    /// Removes a tag. Where it pointed.
    ///
    /// # Errors
    ///
    /// The tags cannot be read or written; they are as they were then.
    pub fn untag(&self, model: &str, tag: &str) -> Result<Option<String>, RepositoryError> {
        self.change_tags(model, |tags| Ok(tags.remove(tag)))
    }

    pub(crate) fn usable_tag(&self, model: &str, tag: &str) -> Result<(), RepositoryError> {
        name::component("tag", tag)?;
        let cause = match tag {
            "latest" => "it always means the last version",
            tag if self.model_folder(model)?.join(tag).exists() => "it is the name of a version",
            _ => return Ok(()),
        };
        Err(RepositoryError::Name { what: "tag", name: tag.to_owned(), cause })
    }

    /// Changes the tags, one at a time: of two who change them at once, neither undoes what the other did.
    pub(crate) fn change_tags<T>(
        &self,
        model: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        let folder = self.model_folder(model)?;
        let _lock = lock_tags(&folder)?;
        let before = self.tags(model)?;
        let mut tags = before.clone();
        let result = change(&mut tags)?;
        if tags != before {
            let bytes = serde_json::to_vec_pretty(&tags).unwrap_or_default();
            let size = bytes.len() as u64;
            if size > TAGS_MAX {
                let (path, remedy) = (folder.join(TAGS), "remove tags that nobody uses");
                return Err(RepositoryError::TooLarge { path, bytes: size, max: TAGS_MAX, remedy });
            }
            self.replace(&folder, TAGS, &bytes)?;
        }
        Ok(result)
    }

    /// Replaces a small file: whatever fails, the old one or the new one is there whole.
    fn replace(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), RepositoryError> {
        let (path, aside) = (folder.join(name), folder.join(format!("{name}.{}", unique()?)));
        // Before anything is changed: what cannot be read could not be put back.
        let before = match Files::default().read(&path, TAGS_MAX) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(RepositoryError::disk("reading", &path)(error)),
        };
        let written = (|| {
            let mut file = self.files.create(&aside).map_err(RepositoryError::disk("making", &aside))?;
            file.write(bytes).map_err(RepositoryError::disk("writing", &aside))?;
            file.sync().map_err(RepositoryError::disk("syncing", &aside))?;
            self.files.rename(&aside, &path).map_err(RepositoryError::disk("renaming", &aside))
        })();
        if written.is_err() {
            // What cannot be removed either is what `sweep` is for.
            let _ = fs::remove_file(&aside);
        }
        written?;
        let synced = self.files.sync_folder(folder).map_err(RepositoryError::disk("syncing", folder));
        if synced.is_err() {
            // It may not last, so it is not to be seen either, as far as the disk still does what it is told.
            let _ = match before {
                Some(bytes) => fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, &path)),
                None => fs::remove_file(&path),
            };
        }
        synced
    }

    /// Removes a version.
    ///
    /// # Errors
    ///
    /// A tag points at it, or it cannot be removed.
    pub fn remove(&self, model: &str, version: &str) -> Result<(), RepositoryError> {
        name::component("version", version)?;
        let folder = self.model_folder(model)?;
        let path = folder.join(version);
        let kind = fs::symlink_metadata(&path).map(|metadata| metadata.file_type());
        if !kind.is_ok_and(|kind| kind.is_dir() || (kind.is_symlink() && path.is_dir())) {
            return Err(self.unknown(model, version));
        }
        // Until it is out of sight, so that nobody points a tag at it after this has looked.
        let lock = lock_tags(&folder)?;
        let tags = self.tags(model)?;
        let tags: Vec<String> =
            tags.into_iter().filter(|(_, to)| to == version).map(|(tag, _)| tag).collect();
        if !tags.is_empty() {
            return Err(RepositoryError::Tagged {
                model: model.to_owned(),
                version: version.to_owned(),
                tags,
            });
        }
        // First out of sight, whole: half a version is never seen.
        let aside = folder.join(format!("{ASIDE}{}", unique()?));
        self.files.rename(&path, &aside).map_err(RepositoryError::disk("renaming", &path))?;
        self.files.sync_folder(&folder).map_err(RepositoryError::disk("syncing", &folder))?;
        drop(lock);
        // It is gone; what is left of it, `sweep` removes. Of a link goes the link alone.
        let link = fs::symlink_metadata(&aside).is_ok_and(|metadata| metadata.is_symlink());
        let _ = if link { self.files.remove_file(&aside) } else { self.files.remove_folder(&aside) };
        Ok(())
    }

    pub(crate) fn model_folder(&self, model: &str) -> Result<PathBuf, RepositoryError> {
        name::component("model", model)?;
        Ok(self.root.join(model))
    }

    pub(crate) fn unknown(&self, model: &str, asked: &str) -> RepositoryError {
        let mut there = self.names(model).unwrap_or_default();
        there.extend(self.tags(model).unwrap_or_default().into_keys());
        there.truncate(32);
        RepositoryError::Unknown { model: model.to_owned(), asked: asked.chars().take(64).collect(), there }
    }
}

/// Why a version has no folder that can be used.
pub(super) enum NoFolder {
    /// It is a link that cannot be followed, and why not.
    Link(&'static str),
    /// The system does not say what is there, which is not to say that nothing is.
    Disk(io::Error),
}

/// Where a version lies: a folder, or a link to one that stays below the model's folder, and is followed. Nothing where there
/// is no folder at all, and the system says so.
///
/// # Errors
///
/// See [`NoFolder`].
pub(super) fn version_folder(below: &Path, version: &str) -> Result<Option<PathBuf>, NoFolder> {
    let path = below.join(version);
    let Some(metadata) = there(fs::symlink_metadata(&path)).map_err(NoFolder::Disk)? else { return Ok(None) };
    if metadata.is_dir() {
        return Ok(Some(path));
    }
    if !metadata.is_symlink() {
        return Ok(None);
    }
    let real = |path: &Path| there(fs::canonicalize(path)).map_err(NoFolder::Disk);
    let (Some(to), Some(below)) = (real(&path)?, real(below)?) else {
        return Err(NoFolder::Link(
            "it is a link to what is not there: let it point at a folder below the model's",
        ));
    };
    if to == below || !to.starts_with(&below) {
        return Err(NoFolder::Link(
            "it is a link that leads out of the model's folder: let it point at a folder below that, or copy it",
        ));
    }
    // To a file, it is no more than a file.
    let to_folder = there(fs::metadata(&to)).map_err(NoFolder::Disk)?;
    Ok(to_folder.is_some_and(|metadata| metadata.is_dir()).then_some(to))
}

/// Whether a folder holds what makes it a version, as far as the system says.
fn is_version(folder: &Path) -> io::Result<bool> {
    if there(fs::symlink_metadata(folder.join(FILE)))?.is_some() {
        return Ok(true);
    }
    for path in LAYOUTS {
        if there(fs::symlink_metadata(folder.join(path)))?.is_some_and(|metadata| !metadata.is_dir()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was asked of the system, or nothing where it says that there is none. Any other error is no answer: a share that is away
/// looks so.
pub(super) fn there<T>(asked: io::Result<T>) -> io::Result<Option<T>> {
    match asked {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        asked => asked.map(Some),
    }
}

/// Where the model lies in a folder, whether it can be loaded or not. A folder by the name of a file is none.
pub(super) fn layout(folder: &Path) -> Option<&'static str> {
    let there =
        |path: &&str| fs::symlink_metadata(folder.join(path)).is_ok_and(|metadata| !metadata.is_dir());
    LAYOUTS.into_iter().find(there)
}

/// The lock of whoever changes the tags in a model's folder.
fn lock_tags(folder: &Path) -> Result<fs::File, RepositoryError> {
    let path = folder.join(TAGS_LOCK);
    let lock = make_lock(&path).and_then(|lock| lock.lock().map(|()| lock));
    lock.map_err(RepositoryError::disk("locking", &path))
}

/// The folders in a folder, links to folders left out; none where there is no folder.
fn folders(path: &Path) -> Result<Vec<String>, RepositoryError> {
    let names = names(path)?;
    let plain = |name: &String| fs::symlink_metadata(path.join(name)).is_ok_and(|metadata| metadata.is_dir());
    Ok(names.into_iter().filter(plain).collect())
}

/// Returns the names of what is in a folder, as far as they can be written; none where there is no folder.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, RepositoryError> {
    Ok(names_there(path)?.unwrap_or_default())
}

/// The same; nothing where there is no folder.
pub(super) fn names_there(path: &Path) -> Result<Option<Vec<String>>, RepositoryError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(RepositoryError::disk("listing", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(RepositoryError::disk("listing", path))?;
        names.extend(entry.file_name().into_string().ok());
        if names.len() > ENTRIES_MAX {
            return Err(RepositoryError::TooMany { folder: path.to_owned(), max: ENTRIES_MAX });
        }
    }
    names.sort();
    Ok(Some(names))
}

/// A name that nobody else has.
pub(crate) fn unique() -> Result<String, RepositoryError> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| {
        let error = io::Error::other(error.to_string());
        RepositoryError::disk("drawing a name for", Path::new("a file aside"))(error)
    })?;
    Ok(hex(&bytes))
}

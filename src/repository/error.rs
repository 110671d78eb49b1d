//! Errors of a repository.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::disk::NotPlain;
use crate::base::text::first;

/// Why a repository could not do what was asked of it. What was there before is there as it was.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The system refused a step.
    #[error("{step} {} failed: {cause}", .path.display())]
    Disk {
        /// The step that was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        cause: Arc<io::Error>,
    },
    /// There is a pipe, a device, a folder or a link where a file should be. It was not waited for.
    #[error("{} is {what}, not a plain file: put a plain file in its place", .path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// The kind of file that it is.
        what: &'static str,
    },
    /// A name that can name no model, version, tag or file here.
    #[error("`{}` cannot name a {what}: {cause}", .name.escape_debug())]
    Name {
        /// The kind of thing that it was to name.
        what: &'static str,
        /// The name, cut short.
        name: String,
        /// Why not.
        cause: &'static str,
    },
    /// There is no such model, version or tag.
    #[error("{model} has no version or tag `{asked}`; it has {}", first(.there))]
    Unknown {
        /// The model.
        model: String,
        /// The name that was asked for.
        asked: String,
        /// The names that there are.
        there: Vec<String>,
    },
    /// The entry of that name is no version.
    #[error("{} is no version {version} of {model}: {cause}", .path.display())]
    NoVersion {
        /// Where.
        path: PathBuf,
        /// The model.
        model: String,
        /// The name.
        version: String,
        /// Why not, and what to do.
        cause: &'static str,
    },
    /// The file of tags is torn, or is no list of tags. Versions are found by their own names and as `latest` meanwhile.
    #[error("{} is no list of tags: {cause}; put it aside with `Repository::repair_tags`, and tag again", .path.display())]
    Tags {
        /// The file.
        path: PathBuf,
        /// The fault in it, and where it lies.
        cause: String,
    },
    /// The version is there already. One that is published is never changed: a new one gets a name of its own.
    #[error("{model} has a version {version} already: give this one another name")]
    Exists {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// A manifest cannot be understood, or contradicts itself.
    #[error("{} cannot be used: {cause}", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The fault in it, and where it lies.
        cause: String,
    },
    /// A file that whoever reads it would refuse, so it was not written.
    #[error("{} would have {bytes} bytes, and one of more than {max} is not read: {remedy}", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bytes that it would have.
        bytes: u64,
        /// The most that are read.
        max: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The model's file refers to external data that is not among the files of the version, so nobody could load it.
    #[error(
        "{model} refers to {}, and no such file of the version was given: publish it with that (`Draft::file`, in the program `--file`)",
        first(.missing)
    )]
    DataMissing {
        /// The model's file, below the version's folder.
        model: String,
        /// The files that it refers to, below the version's folder.
        missing: Vec<String>,
    },
    /// A version is not whole, or not what its manifest says.
    #[error("{model} {version} is not what was published: {}", first(.faults))]
    Faulty {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// Everything that is wrong.
        faults: Vec<VersionFileError>,
    },
    /// Tags point at the version.
    #[error("{model} {version} is tagged {}: move the tags first", first(.tags))]
    Tagged {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// The tags.
        tags: Vec<String>,
    },
    /// A key that is none.
    #[cfg(feature = "signatures")]
    #[error("this is not a public key of minisign's: {cause}")]
    Key {
        /// The fault in it.
        cause: String,
    },
    /// A version without a manifest, where every version must be signed.
    #[error(
        "{model} {version} has no manifest that could be signed, and this repository takes signed versions only"
    )]
    Unsigned {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// A folder has more entries than a repository is expected to have.
    #[error("{} has more than {max} entries", .folder.display())]
    TooMany {
        /// The folder.
        folder: PathBuf,
        /// The limit.
        max: usize,
    },
}

debug_as_told!(RepositoryError);

impl RepositoryError {
    pub(crate) fn disk(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match NotPlain::of(&error) {
            Some(NotPlain(what)) => Self::NotAFile { path, what },
            None => Self::Disk { step, path, cause: Arc::new(error) },
        }
    }
}

/// One thing that is wrong with a version's files.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VersionFileError {
    /// A file that the manifest names is not there.
    #[error("{file} is missing")]
    Missing {
        /// The file, below the version's folder.
        file: String,
    },
    /// A link, a device or a folder where a file should be. A link may lead out of the folder, and what it leads to may
    /// change.
    #[error("{file} is {what} and not a plain file")]
    NotAFile {
        /// The file.
        file: String,
        /// The kind of file that it is.
        what: &'static str,
    },
    /// The file has another name elsewhere, through which it can be changed.
    #[error(
        "{file} has {names} names: somebody may change it through another one; copy it, or take links (`following_links`, in the program `--follow-links`)"
    )]
    HardLink {
        /// The file.
        file: String,
        /// How many names.
        names: u64,
    },
    /// The file has another size than the manifest says.
    #[error("{file} has {found} bytes, not {expected}")]
    Size {
        /// The file.
        file: String,
        /// As the manifest says.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// The file has other bytes than the manifest says.
    #[error("{file} has other bytes than were published (SHA-256 {found}, not {expected})")]
    Digest {
        /// The file.
        file: String,
        /// As the manifest says.
        expected: String,
        /// As it is.
        found: String,
    },
    /// A file that the manifest does not name.
    #[error("{file} is not in the manifest")]
    Unlisted {
        /// The file.
        file: String,
    },
    /// A file cannot be read.
    #[error("{file} cannot be read: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's message.
        cause: String,
    },
}

debug_as_told!(VersionFileError);

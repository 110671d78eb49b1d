//! Why a version could not be pulled.

use thiserror::Error;

use super::source::SourceError;
use crate::base::causes::debug_as_told;
use crate::base::text::first;
use crate::repository::error::RepositoryError;

/// Why a version was not pulled. Nothing that can be seen of the repository has changed.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum PullError {
    /// The repository here: a name, a disk, a version that is there and is not what was published.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The source: an object that the manifest lists is not there, or something could not be read. What has come so far is kept,
    /// and gone on with by the next pull.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source has no such version or tag.
    #[error("{from} has no version or tag `{}`; it has {}", .asked.escape_debug(), first(.there))]
    Unknown {
        /// The model's folder at the source.
        from: String,
        /// The name that was asked for, cut short.
        asked: String,
        /// The names that there are.
        there: Vec<String>,
    },
    /// The version has no manifest at the source, so there is nothing to hold it against.
    #[error(
        "{object} is not there, and a version without a manifest cannot be held against anything: publish it with one"
    )]
    NoManifest {
        /// The manifest.
        object: String,
    },
    /// The manifest, its signature, or the file of tags at the source cannot be used.
    #[error("{object} cannot be used: {cause}")]
    Unusable {
        /// The object.
        object: String,
        /// The fault in it, and where it lies.
        cause: String,
    },
    /// The version is larger than was allowed.
    #[error("{from} has {bytes} bytes, and {max} are allowed: allow more where the disk has the room")]
    TooLarge {
        /// The version at the source.
        from: String,
        /// The bytes that its files have, as its manifest says.
        bytes: u64,
        /// The bytes that were allowed.
        max: u64,
    },
    /// There are too many folders to find the latest among them.
    #[error(
        "{from} has more than {max} versions whose order only their manifests tell: name the version, or a tag"
    )]
    TooMany {
        /// The model's folder at the source.
        from: String,
        /// How many there may be.
        max: usize,
    },
    /// An object ends before it should.
    #[error("{object} has {found} bytes, not {expected}: it is torn, or was not copied there whole")]
    Short {
        /// The object.
        object: String,
        /// As the manifest says.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// An object goes on where it should end. No more of it was read.
    #[error("{object} goes on after the {expected} bytes that its manifest says")]
    Longer {
        /// The object.
        object: String,
        /// As the manifest says.
        expected: u64,
    },
    /// An object has other bytes than the manifest says.
    #[error("{object} has other bytes than were published (SHA-256 {found}, not {expected})")]
    Digest {
        /// The object.
        object: String,
        /// As the manifest says.
        expected: String,
        /// As it is.
        found: String,
    },
    /// There is a version of that name here which is another one. One that is published is never changed.
    #[error(
        "{model} has a version {version} already, and {from} is another one: publish that under another name"
    )]
    Different {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// The version at the source.
        from: String,
    },
}

debug_as_told!(PullError);

impl PullError {
    /// Whether an object is not what the manifest says.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self, Self::Short { .. } | Self::Longer { .. } | Self::Digest { .. })
    }
}

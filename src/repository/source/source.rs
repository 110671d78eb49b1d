//! The sources that can be pulled from.

use crate::base::causes::{debug_as_told, in_full};
use std::error::Error;
use std::io::Read;
use std::sync::Arc;

use thiserror::Error;

/// Versions in the layout of a [repository](crate::repository) that are elsewhere: in a folder, in a bucket, behind something of
/// the host's own. [`Repository::pull`](crate::repository::Repository::pull) brings one here.
///
/// Names of objects are paths with `/` between components, below the place where the models lie: `late/2/manifest.json`. Nothing
/// that a source says is trusted: names are looked at before they are used, and bytes are held against the manifest. It may block
/// as long as it likes, and should have a time limit of its own where it asks a network.
pub trait Source {
    /// The names of the folders directly in a folder, in any order; those of the models where the folder is `""`. None where
    /// there is no such folder.
    ///
    /// # Errors
    ///
    /// It cannot be listed.
    fn folders(&self, folder: &str) -> Result<Vec<String>, SourceError>;

    /// The bytes of an object from the place `from` on, to its end.
    ///
    /// # Errors
    ///
    /// [`Missing`](SourceError::Missing) where there is no such object, for a source is asked for what may not be there; whatever
    /// else keeps it from being read.
    fn read<'s>(&'s self, object: &str, from: u64) -> Result<Box<dyn Read + 's>, SourceError>;

    /// How people call an object or a folder, in messages: `s3://models/late/2/manifest.json`. Without secrets.
    fn place(&self, path: &str) -> String;
}

/// Why a source could not do what was asked of it.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no such object.
    #[error("there is no {object}")]
    Missing {
        /// The object, as [`Source::place`] calls it.
        object: String,
    },
    /// The object or the folder could not be read.
    #[error("{object} could not be read: {}", in_full(&**cause))]
    Unreadable {
        /// The object, as [`Source::place`] calls it.
        object: String,
        /// Why not.
        cause: Arc<dyn Error + Send + Sync>,
    },
}

debug_as_told!(SourceError);

impl SourceError {
    /// The error of an object that could not be read.
    pub fn unreadable(object: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreadable { object: object.into(), cause: Arc::from(cause.into()) }
    }
}

//! Versions in a folder: whole, known, and found again.
//!
//! ```text
//! models/
//!   fraud/
//!     1/model.onnx             what others keep too: a folder without a manifest still loads
//!     2/model.onnx
//!     2/weights.bin            external data
//!     2/manifest.json          lineage, metrics, contract, golden samples, digests
//!     .tags.json               stable -> 1
//!   .data/sha256/<digest>      training data, once for all versions that share it
//! ```
//!
//! A folder with neither a manifest nor a model is no version. Without a manifest the model is `model.onnx`,
//! `model.onnx/model.onnx` as Triton keeps one with its weights, or `onnx/model.onnx` as hubs export it. A version may be a link
//! to a folder that stays below the model's, and with [`following_links`](Repository::following_links) its files may be; what MLflow
//! says of a model that it has logged is [`Entry::mlflow`], and what a model hub says [`HubModel`]; tags that are torn are put aside by [`repair_tags`](Repository::repair_tags).
//!
//! A version is published once and never changed: written aside, synced, and put in its place by a rename. Tags move. One that
//! is elsewhere, in a [`Source`], is brought here by [`pull`](Repository::pull) in the same way.
//!
//! ```
//! use switchback::repository::{Draft, Manifest, Repository};
//! use switchback::Timestamp;
//!
//! # let root = std::env::temp_dir().join(format!("switchback-doc-{}", std::process::id()));
//! let models = Repository::create(&root)?;
//! let manifest = Manifest::new("affine", "1", Timestamp::from_unix_seconds(1_790_000_000));
//! models.publish(Draft::new(manifest).file("model.onnx", "tests/models/affine.onnx"))?;
//! models.tag("affine", "stable", "1")?;
//!
//! let stable = models.resolve("affine", "stable")?;
//! models.verify(&stable)?;
//! assert_eq!(stable.version, "1");
//! # std::fs::remove_dir_all(root)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is not trusted
//!
//! A model is data from outside. Names cannot lead out of the folder; manifests have a limit of 4 MiB; links, devices and
//! files that have a second name elsewhere are refused by [`verify`](Repository::verify), as is whatever differs from the
//! manifest or is not in it. The manifest itself is trusted, unless the feature `signatures` holds it against signatures of
//! trusted keys: who may write to the folder may publish.

// # Design decisions
//
// **What a host does not declare does not fit what a version does.** A host without bounds may supply any number, one without
// categories any string; to pass them would make a contract worth nothing where it matters. What a version does not declare
// is not compared.
//
// **A preflight is a model's `load`.** `Checked` wraps a pipeline, so the handle needs to know nothing of it, and a failure is
// a load that failed: nothing has changed. Golden samples begin at the host's request and pin what `encode` writes, which is
// how changed code under an unchanged name is found after all.

#[cfg(feature = "repository")]
pub mod contract;
pub(crate) mod diff;
pub(crate) mod error;
pub(crate) mod hub;
pub(crate) mod manifest;
pub(crate) mod mlflow;
pub(crate) mod name;
#[cfg_attr(not(feature = "drift"), path = "profile_absent.rs")]
mod profile;
pub(crate) mod publish;
#[cfg(feature = "onnx")]
pub(crate) mod served;
pub(crate) mod source;
pub(crate) mod store;
#[cfg(feature = "signatures")]
pub(crate) mod trust;
pub(crate) mod verify;
pub(crate) mod wake;
pub(crate) mod watch;

pub use diff::{Difference, Differing};
pub use error::{RepositoryError, VersionFileError};
pub use hub::HubModel;
pub use manifest::{DataSet, Lineage, ListedFile, Manifest, Moment, SCHEMA};
pub use mlflow::MlflowModel;
pub use publish::{Draft, Swept};
#[cfg(feature = "onnx")]
pub use served::{Fit, ServeError, Served};
#[cfg(feature = "bucket")]
pub use source::bucket::BucketSource;
pub use source::error::PullError;
pub use source::folder::FolderSource;
pub use source::pull::{Progress, Pull, Pulled};
pub use source::source::{Source, SourceError};
pub use store::{Entry, Repository, Unusable};
#[cfg(feature = "signatures")]
pub use trust::TrustedKeys;
pub use watch::{Change, Watch};
pub use {semver, serde_json};

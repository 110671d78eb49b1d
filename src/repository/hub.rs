//! The metadata that a model hub's folder holds of a model: a clone or a download of one, or the cache that its client
//! keeps.
//!
//! In the cache each file is a link into the folder `blobs`, and a revision is a folder of `snapshots`:
//! `models--org--name/snapshots/<revision>/onnx/model.onnx`. The layout:
//! <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::RepositoryError;
use super::manifest::{Lineage, Manifest};
use super::name;
use super::publish::Draft;
use super::store::names;
use crate::base::clock::Timestamp;
use crate::base::disk::open_to_read;
use crate::base::objects::from_json;
use crate::base::text::bounded_text;

/// The file that says what the model is.
const CONFIG: &str = "config.json";

/// Hubs write some kilobytes, with a thousand labels some ten.
const CONFIG_MAX: u64 = 4 << 20;

/// Where exporters put models, below the folder.
const EXPORTED: &str = "onnx";

/// The files that a pipeline needs beside the model, as far as they lie in the folder itself.
const BESIDE: [&str; 10] = [
    CONFIG,
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// A model as a hub keeps one: what its `config.json` and its place say of it, and its files.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct HubModel {
    /// The hub's name for it, such as `org/name`; known of a cache alone.
    pub repository: Option<String>,
    /// The revision, likewise.
    pub revision: Option<String>,
    /// The architecture that is trained: the first of `architectures`, or else `model_type`.
    pub architecture: Option<String>,
    /// The release of the library `transformers` that wrote it.
    pub transformers: Option<String>,
    /// The labels in the order of their scores, from `id2label`. None where the numbers in it are not those from 0 on.
    pub labels: Vec<String>,
    /// The ONNX models in it, by their paths below the folder: `onnx/model.onnx` first, then `model.onnx`, then the others by
    /// name, such as `onnx/model_quantized.onnx`.
    pub models: Vec<String>,
    folder: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    transformers_version: Option<String>,
    id2label: Option<BTreeMap<String, String>>,
}

impl HubModel {
    /// Reads a folder: a download, a snapshot in a cache, or a model in a cache, of which it is what the reference `main` points
    /// at. `None` where no ONNX model is in it, nor in its folder `onnx`.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed, or its `config.json` is there and cannot be read.
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>, RepositoryError> {
        let folder = snapshot(folder.as_ref());
        let mut models = Vec::new();
        for below in ["", EXPORTED] {
            let found = names(&folder.join(below))?.into_iter().filter(|name| name.ends_with(".onnx"));
            let path = |name| if below.is_empty() { name } else { format!("{below}/{name}") };
            models.extend(found.map(path).filter(|path| folder.join(path).is_file()));
        }
        if models.is_empty() {
            return Ok(None);
        }
        let rank = |path: &String| match path.as_str() {
            "onnx/model.onnx" => 0,
            "model.onnx" => 1,
            _ => 2,
        };
        models.sort_by(|one, other| rank(one).cmp(&rank(other)).then_with(|| one.cmp(other)));
        let Config { architectures, model_type, transformers_version, id2label } = config(&folder)?;
        let (repository, revision) = place(&folder).unzip();
        Ok(Some(Self {
            repository,
            revision,
            architecture: architectures
                .and_then(|all| all.into_iter().next())
                .or(model_type)
                .map(bounded_text),
            transformers: transformers_version.map(bounded_text),
            labels: labels(id2label.unwrap_or_default()),
            models,
            folder,
        }))
    }

    /// A manifest that says as much of one of its [`models`](Self::models): labels, lineage and notes, without files. A hub does not
    /// say when it was made.
    pub fn manifest(&self, model: &str, name: &str, version: &str, created: Timestamp) -> Manifest {
        let Self { repository, revision, architecture, transformers, labels, .. } = self;
        let mut manifest = Manifest::new(name, version, created);
        let framework = transformers.as_ref().map(|release| format!("transformers {release}"));
        manifest.lineage = Lineage { framework, ..Lineage::default() };
        manifest.contract.labels.clone_from(labels);
        let said =
            [("hub model", repository), ("hub revision", revision), ("hub architecture", architecture)];
        for (key, value) in said {
            manifest.notes.extend(value.clone().map(|value| (key.to_owned(), value)));
        }
        model.clone_into(&mut manifest.model);
        manifest
    }

    /// One of its [`models`](Self::models) with this manifest, as it is to be published: with its external data, and what a pipeline
    /// needs beside it, such as the tokenizer. Links of a cache are followed, and the files copied.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed, or has no such model.
    pub fn draft(&self, manifest: Manifest) -> Result<Draft, RepositoryError> {
        let model = manifest.model.clone();
        let from = self.folder.join(name::file(&model)?);
        if !self.models.contains(&model) {
            let error = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(RepositoryError::disk("reading", &from)(error));
        }
        let (below, file) = model.rsplit_once('/').unwrap_or(("", &model));
        let mut draft = Draft::new(manifest).file(model.as_str(), from);
        for name in names(&self.folder.join(below))? {
            // `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`.
            let is_data = name.strip_prefix(file).is_some_and(|rest| rest.starts_with(['_', '.']));
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let from = self.folder.join(&path);
            if is_data && from.is_file() {
                draft = draft.file(path, from);
            }
        }
        for name in BESIDE {
            let from = self.folder.join(name);
            if from.is_file() {
                draft = draft.file(name, from);
            }
        }
        Ok(draft)
    }
}

/// The folder itself, or the snapshot that is meant where it is a model in a cache.
fn snapshot(folder: &Path) -> PathBuf {
    // Somebody else's folder: a pipe in the file's place would never end, and a name is short.
    let mut main = String::new();
    if let Ok(file) = open_to_read(&folder.join("refs/main")) {
        let _ = file.take(4_096).read_to_string(&mut main);
    }
    // It is a name, and not a way out.
    let snapshot = name::component("version", main.trim()).ok();
    let snapshot = snapshot.map(|()| folder.join("snapshots").join(main.trim()));
    snapshot.filter(|snapshot| snapshot.is_dir()).unwrap_or_else(|| folder.to_owned())
}

/// The hub's name for the model and its revision, of a folder in a cache.
fn place(folder: &Path) -> Option<(String, String)> {
    let folder = fs::canonicalize(folder).ok()?;
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let (revision, snapshots) = (name(&folder)?, folder.parent()?);
    if name(snapshots)? != "snapshots" {
        return None;
    }
    let model = name(snapshots.parent()?)?;
    Some((bounded_text(model.strip_prefix("models--")?.replacen("--", "/", 1)), revision))
}

fn config(folder: &Path) -> Result<Config, RepositoryError> {
    let path = folder.join(CONFIG);
    let failed = |error| RepositoryError::disk("reading", &path)(error);
    let file = match open_to_read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        file => file.map_err(failed)?,
    };
    let mut text = Vec::new();
    file.take(CONFIG_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > CONFIG_MAX {
        return Err(failed(std::io::Error::other("it has more than 4 MiB")));
    }
    from_json(&text).map_err(|error| RepositoryError::Manifest { path, cause: error.to_string() })
}

/// The labels in their order; none where a number is missing, or is none.
fn labels(by_id: BTreeMap<String, String>) -> Vec<String> {
    let count = by_id.len();
    let numbered: Option<BTreeMap<usize, String>> =
        by_id.into_iter().map(|(id, label)| Some((id.parse().ok()?, bounded_text(label)))).collect();
    let numbered = numbered.filter(|all| all.len() == count && all.keys().copied().eq(0..count));
    numbered.map_or_else(Vec::new, |all| all.into_values().collect())
}

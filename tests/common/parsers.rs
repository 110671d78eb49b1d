//! Everything that reads what comes from outside, by name: bytes in, and no panic, no hang, no memory without a bound. What is
//! read can be written, and is read again as the same. `.ci/fuzz` looks for bytes that break this, guided by what they reach;
//! `tests/suite/contained/corpus.rs` tries all that were kept.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use switchback::PredictionId;
use switchback::config::Config;
use switchback::drift::ReferenceProfile;
use switchback::guard::Stated;
use switchback::model::onnx::OnnxModel;
use switchback::oip::Infer;
use switchback::repository::{Manifest, MlflowModel, Repository};

/// A parser, and a folder that it may write to.
pub(crate) type Parser = fn(&[u8], &PathBuf);

/// By the name that its corpus has below `tests/corpus`.
pub(crate) const PARSERS: [(&str, Parser); 10] = [
    ("onnx", onnx),
    ("manifest", manifest),
    ("journal", journal),
    ("guard", guard),
    ("config", config),
    ("id", id),
    ("infer", infer),
    ("profile", profile),
    ("mlflow", mlflow),
    ("tags", tags),
];

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn onnx(bytes: &[u8], _: &PathBuf) {
    if let Ok(model) = OnnxModel::from_bytes("fuzzed", bytes) {
        let _ = (model.signature(), model.labels().len(), model.opsets().len());
    }
}

fn manifest(bytes: &[u8], _: &PathBuf) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let written = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::parse(&written).as_ref(), Ok(&manifest));
    }
}

/// What a process that ended has left, or somebody has made of it.
fn journal(bytes: &[u8], folder: &PathBuf) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("journal"), bytes).unwrap();
    let _ = switchback::status::look(folder);
    if let Ok(history) = switchback::state::history(folder) {
        history.for_each(drop);
    }
    if switchback::state::repair(folder).is_ok() {
        // What was repaired is whole.
        if let Ok(history) = switchback::state::history(folder) {
            assert!(history.into_iter().all(|event| event.is_ok()));
        }
    }
}

fn guard(bytes: &[u8], _: &PathBuf) {
    if let Some(Ok(stated)) = text(bytes).map(str::parse::<Stated>) {
        assert_eq!(stated.to_string().parse::<Stated>().as_ref(), Ok(&stated));
    }
}

fn config(bytes: &[u8], _: &PathBuf) {
    if let Ok(config) = serde_json::from_slice::<Config>(bytes) {
        let written = serde_json::to_vec(&config).unwrap();
        let again: Config = serde_json::from_slice(&written).unwrap();
        assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    }
    if let Some(Ok(config)) = text(bytes).map(toml::from_str::<Config>) {
        let _ = serde_json::to_vec(&config).unwrap();
    }
}

fn id(bytes: &[u8], _: &PathBuf) {
    if let Some(Ok(id)) = text(bytes).map(str::parse::<PredictionId>) {
        assert_eq!(id.to_string().parse::<PredictionId>().as_ref(), Ok(&id));
    }
}

/// The first two bytes say how long the JSON is, where they are not 0.
fn infer(bytes: &[u8], _: &PathBuf) {
    let Some((length, body)) = bytes.split_first_chunk::<2>() else { return };
    let length = u16::from_le_bytes(*length);
    let mut headers = http::HeaderMap::new();
    if length > 0 {
        headers.insert("inference-header-content-length", length.into());
    }
    if let Ok(infer) = Infer::parse(&headers, body) {
        assert!(infer.outputs().len() <= Infer::TENSORS_MAX);
        let _ = (infer.id(), infer.key(), infer.tensors().len());
    }
}

fn profile(bytes: &[u8], _: &PathBuf) {
    if let Ok(profile) = serde_json::from_slice::<ReferenceProfile>(bytes) {
        let written = serde_json::to_vec(&profile).unwrap();
        let again: ReferenceProfile = serde_json::from_slice(&written).unwrap();
        assert_eq!(again, profile);
    }
}

fn mlflow(bytes: &[u8], folder: &PathBuf) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("MLmodel"), bytes).unwrap();
    if let Ok(Some(model)) = MlflowModel::read(folder) {
        let manifest = model.manifest("late", "1", switchback::Timestamp::from_unix_seconds(1));
        let _ = serde_json::to_vec(&manifest).unwrap();
    }
}

fn tags(bytes: &[u8], folder: &PathBuf) {
    let model = folder.join("late");
    if std::fs::create_dir_all(model.join("1")).is_ok() {
        std::fs::write(model.join("1/model.onnx"), b"x").unwrap();
        std::fs::write(model.join(".tags.json"), bytes).unwrap();
        if let Ok(repository) = Repository::open(folder) {
            let _ = repository.versions("late");
        }
    }
}

//! The large model of the benches of memory and rollback, and what is asked of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use switchback::model::ModelError;
use switchback::model::onnx::{Feed, OnnxModel, Outputs, Pipeline, PreparedCache, ort};

use super::Outcome;

pub(crate) const WIDTH: usize = 256;

/// Where files go that are too large to be checked in.
pub(crate) fn folder() -> Outcome<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty());
    let target =
        target.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let folder = target.join("large");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The file of the model of a seed, made where there is none.
pub(crate) fn file(seed: usize) -> Outcome<PathBuf> {
    let file = folder()?.join(format!("large_{seed}.onnx"));
    if !file.exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/models/make_large.py");
        let made = Command::new("python3").arg(script).arg(&file).arg(seed.to_string()).status()?;
        if !made.success() {
            return Err("python3 benches/models/make_large.py failed".into());
        }
    }
    Ok(file)
}

/// A cache of its own, empty.
pub(crate) fn empty_cache(name: &str) -> Outcome<PreparedCache> {
    let folder = folder()?.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    #[cfg(unix)]
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(PreparedCache::open(folder)?)
}

/// A session made by hand.
pub(crate) fn session(environment: &Environment, file: &Path) -> Outcome<Session> {
    Ok(Session::builder(environment)?.commit_from_file(file)?)
}

pub(crate) fn run(session: &mut Session, input: &[f32]) -> ort::Result<f32> {
    let view = TensorRef::from_array_view(([input.len() / WIDTH, WIDTH], input))?;
    let outputs = session.run(ort::inputs!["x" => view])?;
    let (_, elements) = outputs["y"].try_extract_tensor::<f32>()?;
    Ok(elements[0])
}

/// The same as a version.
pub(crate) fn version(
    file: &Path,
    sessions: usize,
    cache: Option<&PreparedCache>,
) -> Outcome<Pipeline<[f32], f32>> {
    let model = OnnxModel::from_file(file)?.pool_size(sessions);
    let model = match cache {
        Some(cache) => model.prepared(cache),
        None => model,
    };
    let encode = |input: &[f32], feed: &mut Feed<'_, '_>| -> Result<(), ModelError> {
        feed.buffer("x", &[input.len() / WIDTH, WIDTH])?.copy_from_slice(input);
        Ok(())
    };
    let decode = |outputs: &Outputs<'_>| -> Result<f32, ModelError> {
        Ok(outputs.tensor::<f32>("y")?.1.first().copied().unwrap_or(f32::NAN))
    };
    Ok(model.pipeline("rows@1", encode, decode))
}

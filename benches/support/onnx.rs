//! The work of the benches that run ONNX models, as a version and by hand.

use std::path::PathBuf;

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::session::Session;
use ort::value::TensorRef;
use switchback::model::ModelError;
use switchback::model::onnx::{Feed, OnnxModel, Outputs, Pipeline, Runtime, ort};

use super::Outcome;

/// The environment of ONNX Runtime that both sides use: the settings of [`Runtime`]'s own, made here because sessions
/// made by hand need it too.
pub(crate) fn environment() -> Outcome<Environment> {
    let pool = GlobalThreadPoolOptions::default()
        .with_intra_threads(2)?
        .with_inter_threads(1)?
        .with_spin_control(false)?;
    let environment =
        ort::init().with_name("bench").with_telemetry(false).with_global_thread_pool(pool).build()?;
    Runtime::builder().environment(environment.clone()).build()?;
    Ok(environment)
}

/// A file of `benches/models`.
pub(crate) fn model_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("benches/models/{name}.onnx"))
}

/// A session made by hand.
pub(crate) fn session(environment: &Environment, name: &str) -> Outcome<Session> {
    Ok(Session::builder(environment)?.commit_from_file(model_file(name))?)
}

/// The bare work: an input from a view, `Session::run`, the output read.
#[inline]
pub(crate) fn run(session: &mut Session, input: &[f32]) -> ort::Result<f32> {
    let view = TensorRef::from_array_view(([1, input.len()], input))?;
    let outputs = session.run(ort::inputs!["x" => view])?;
    let (_, elements) = outputs["y"].try_extract_tensor::<f32>()?;
    Ok(elements[0])
}

/// The same work as a version: small inputs go through the session's own buffers.
pub(crate) fn version(name: &str, spec: &str) -> Outcome<Pipeline<[f32], f32>> {
    let encode = |input: &[f32], feed: &mut Feed<'_, '_>| -> Result<(), ModelError> {
        feed.buffer("x", &[1, input.len()])?.copy_from_slice(input);
        Ok(())
    };
    Ok(OnnxModel::from_file(model_file(name))?
        .pipeline(spec, encode, |outputs: &Outputs<'_>| outputs.scalar("y")))
}

/// The bare work for several requests at once: their rows gathered, `Session::run`, the outputs read.
pub(crate) fn run_rows(session: &mut Session, rows: &[&[f32]], width: usize) -> ort::Result<Vec<f32>> {
    let gathered = rows.concat();
    let view = TensorRef::from_array_view(([rows.len(), width], &gathered[..]))?;
    let outputs = session.run(ort::inputs!["x" => view])?;
    Ok(outputs["y"].try_extract_tensor::<f32>()?.1.to_vec())
}

/// A model that takes any number of rows of three numbers, where those of the benches take one.
pub(crate) fn file_of_rows() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models/affine.onnx")
}

/// A version of it that answers each request in a run of its own.
pub(crate) fn version_one_by_one(spec: &str) -> Outcome<Pipeline<[f32], f32>> {
    let encode = |input: &[f32], feed: &mut Feed<'_, '_>| -> Result<(), ModelError> {
        feed.buffer("x", &[1, input.len()])?.copy_from_slice(input);
        Ok(())
    };
    let model = OnnxModel::from_file(file_of_rows())?;
    Ok(model.pipeline(spec, encode, |outputs: &Outputs<'_>| outputs.scalar("y")))
}

/// A version of it that answers requests that come together in one run.
pub(crate) fn version_in_rows(spec: &str) -> Outcome<Pipeline<[f32], f32>> {
    let encode = |rows: &[&[f32]], feed: &mut Feed<'_, '_>| {
        let width = rows.first().map_or(0, |row| row.len());
        let places = feed.buffer("x", &[rows.len(), width])?;
        places.chunks_exact_mut(width).zip(rows).for_each(|(place, row)| place.copy_from_slice(row));
        Ok(())
    };
    let decode = |outputs: &Outputs<'_>| Ok(outputs.tensor::<f32>("y")?.1.to_vec());
    Ok(version_one_by_one(spec)?.in_rows(encode, decode))
}

/// The same, its input a view: the way for large inputs.
pub(crate) fn version_of_views(name: &str, spec: &str) -> Outcome<Pipeline<[f32], f32>> {
    let model = OnnxModel::from_file(model_file(name))?;
    Ok(model.pipeline(
        spec,
        |input: &[f32], feed: &mut Feed<'_, '_>| feed.slice("x", &[1, input.len()], input),
        |outputs: &Outputs<'_>| outputs.scalar("y"),
    ))
}

/// An input: numbers that look like features.
pub(crate) fn input(width: usize, seed: usize) -> Vec<f32> {
    (0..width).map(|place| ((place * 31 + seed * 17) % 97) as f32 / 48.5 - 1.0).collect()
}

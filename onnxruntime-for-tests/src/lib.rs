//! Brings ONNX Runtime for the tests, examples and benches of this repository, so that a fresh clone needs no step
//! before them. Its build script does the work; this is where it says where the libraries lie.

use std::path::{Path, PathBuf};

/// The library that everything here runs on.
pub fn current() -> PathBuf {
    folder().join("libonnxruntime.so")
}

/// A library that is too old, for the tests of that error; `None` on systems for which none was pinned.
pub fn too_old() -> Option<PathBuf> {
    Some(folder().join("too-old").join("libonnxruntime.so")).filter(|library| library.exists())
}

fn folder() -> &'static Path {
    Path::new(env!("ONNXRUNTIME_FOLDER"))
}

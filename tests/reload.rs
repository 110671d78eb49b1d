//! Memory comes back: a process that loads and drops a large model again and again stays as small as it was.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on is to fail")]
#![cfg(all(feature = "onnx", target_os = "linux"))]

#[path = "common/matrix.rs"]
mod matrix;

use std::fs;
use std::path::{Path, PathBuf};

use matrix::matrix_model;
use switchback::model::onnx::{OnnxModel, Tensors};
use switchback::options::Threads;
use switchback::{EventKind, ModelHandle};

/// Rows and columns of the one weight: 3,600 x 3,600 floats are 51.84 MB.
const SIDE: u64 = 3_600;
const RELOADS: usize = 200;

/// A version of 52 MB is staged, exposed and taken off 200 times; what is resident after the last is what was after the
/// first ones, within a third of one model.
#[test]
fn two_hundred_reloads_of_a_large_model_leave_the_process_as_it_was() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("large.onnx");
    fs::write(&file, matrix_model(SIDE, 1.0)).unwrap();
    let handle: ModelHandle<Tensors, Tensors> = ModelHandle::builder("reload")
        .live("small", OnnxModel::from_bytes("small", matrix_model(4, 1.0)).unwrap().pool_size(1))
        .threads(Threads::manual())
        .build()
        .unwrap();
    let events = handle.subscribe(RELOADS * 8);
    let mut resident = Vec::new();
    for _ in 0..RELOADS {
        let large = OnnxModel::from_file(&file).unwrap().pool_size(1);
        let rollout = handle.stage("large", large).unwrap();
        rollout.canary(0.1).unwrap();
        let _ = rollout.rollback("that was all");
        handle.tick();
        resident.push(resident_megabytes());
    }
    let dropped =
        std::iter::from_fn(|| events.try_next()).filter(|e| matches!(e.kind, EventKind::Dropped { .. }));
    assert_eq!(dropped.count(), RELOADS);
    let most = |part: &[u64]| part.iter().copied().max().unwrap();
    let (first, last) = (most(&resident[..20]), most(&resident[RELOADS - 20..]));
    assert!(
        last < first + 17,
        "{first} MB were resident at the beginning, {last} MB at the end: {resident:?}"
    );
    fs::remove_file(file).unwrap();
}

fn resident_megabytes() -> u64 {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

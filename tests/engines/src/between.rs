//! Versions of one handle that differ in their engine.

use switchback::options::{Inputs, Shadowing, Threads};
use switchback::stats::{Tolerance, elementwise};
use switchback::{Clock, ModelHandle, RollbackOutcome, Task, Timestamp};

use crate::candle::Network;
use crate::candle::tests::file;
use crate::tract::Tract;

/// A file of ONNX is live, and a network of candle's with the same weights is held against it, tried, promoted and taken back.
#[test]
fn one_handle_goes_from_tract_to_candle_and_back() -> Result<(), Box<dyn std::error::Error>> {
    let onnx = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/affine.onnx"); // x1 + 2 x2 + 3 x3 + 0.5
    let weights = file(&[(&[&[1.0, 2.0, 3.0]], &[0.5])]);
    let rows: Vec<Vec<f32>> =
        (0..200_u8).map(|row| vec![f32::from(row), 0.1 * f32::from(row), -0.3]).collect();

    let task = Task::regression(|answer: &Vec<f32>| answer.first().copied().map_or(f64::NAN, f64::from));
    let tolerance = Tolerance::default().relative(1e-5)?.absolute(1e-6)?;
    let handle = ModelHandle::builder("affine")
        .live("onnx", Tract::of_rows(onnx, 3, "y")?)
        // Two engines add in another order: the last bits are no difference.
        .task(task.compare(elementwise(tolerance, |answer: &Vec<f32>| answer.as_slice())))
        .inputs(Inputs::new().sample(vec![1.0, 2.0, 3.0])) // the other engine must answer it before it takes traffic
        .shadowing(Shadowing::new())
        .threads(Threads::manual())
        .clock(Clock::manual(Timestamp::from_unix_seconds(1_700_000_000)))
        .seed(1)
        .build()?;
    let rollout = handle.stage("candle", Network::from_safetensors(&weights)?)?;
    rollout.shadow(1.0)?;
    for row in &rows {
        assert_eq!(handle.predict(&row[..])?.version(), "onnx");
        while handle.run_shadow(64) > 0 {}
    }
    handle.tick();
    let compared = rollout.status().ok_or("it is on trial")?.divergence;
    assert_eq!((compared.pairs, compared.comparisons), (200, 200));
    assert_eq!(compared.comparison_max, Some(0.0), "no answer further apart than was told");

    rollout.canary(0.5)?;
    let by_candle = rows.iter().filter(|row| handle.predict(&row[..]).unwrap().version() == "candle").count();
    assert!((60..=140).contains(&by_candle), "{by_candle} of 200");
    rollout.promote()?;
    assert_eq!(handle.predict(&rows[7][..])?.version(), "candle");
    assert_ne!(handle.rollback("operator: back to the file"), RollbackOutcome::Nothing);
    assert_eq!(handle.predict(&rows[7][..])?.version(), "onnx");
    Ok(())
}

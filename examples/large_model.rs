//! Versions of 118 MB that cost next to nothing while they are retained, and are back within milliseconds.
//!
//! `cargo run --release --example large_model`. The models are made by `benches/models/make_large.py`, with nothing but Python,
//! into the target directory.

#![expect(clippy::disallowed_methods, reason = "it shows how long a rollback takes")]

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use switchback::ModelHandle;
use switchback::model::onnx::{Feed, OnnxModel, Outputs, PreparedCache};
use switchback::options::{Drill, Inputs, Tiers};
use switchback::options::{Retention, Threads};
use switchback::versions::Tier;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const FEATURES: usize = 256;

fn main() -> Outcome {
    let cache_folder = target()?.join("prepared");
    let version = |number: u64, cache: &PreparedCache| -> Outcome<_> {
        let pipeline = OnnxModel::from_file(made(number)?)?.pool_size(2).prepared(cache).pipeline(
            "rows@1.0",
            |row: &Vec<f32>, feed: &mut Feed<'_, '_>| {
                feed.buffer("x", &[1, FEATURES])?.copy_from_slice(row);
                Ok(())
            },
            |outputs: &Outputs<'_>| outputs.scalar::<f32>("y"),
        );
        Ok(pipeline)
    };

    let cache = PreparedCache::open(cache_folder)?; // optimised graphs, with weights that are mapped
    let ranker = ModelHandle::builder("ranker")
        .live("v1", version(1, &cache)?)
        .inputs(Inputs::new().copied()) // a few, for the drill
        .retention(
            Retention::new()
                .tiers(Tiers::new().hot_for(Duration::ZERO)) // warm as soon as they are retained
                .drill(Drill::new().every(Duration::from_secs(1))), // would they answer?
        )
        .threads(Threads::background().tick_every(Duration::from_millis(100)))
        .build()?;
    ranker.stage("v2", version(2, &cache)?)?.promote()?; // loaded with what time nobody else wants

    let row: Vec<f32> = (0..FEATURES).map(|place| (place % 17) as f32 / 17.0 - 0.5).collect();
    let started = Instant::now();
    let is_settled = || {
        let status = ranker.status();
        status.versions.iter().all(|version| version.memory.is_some())
            && status
                .versions
                .iter()
                .any(|version| version.drilled.is_some() && version.tier == Some(Tier::Warm))
    };
    while !is_settled() {
        ranker.predict(&row)?;
        if started.elapsed() > Duration::from_secs(60) {
            return Err("v1 was not drilled within a minute".into());
        }
    }
    let status = ranker.status();
    for version in &status.versions {
        let (Some(tier), Some(memory)) = (version.tier, version.memory) else { continue };
        println!(
            "{} {tier}: {:.1} MB of its own, {:.0} MB with what is in memory of its mapped file",
            version.version,
            memory.private_bytes as f64 / 1e6,
            memory.resident_bytes as f64 / 1e6
        );
    }
    println!("{}", status.would_answer("v1").ok_or("v1 is retained")?);

    let asked = Instant::now();
    let _ = ranker.rollback("to see how long it takes");
    let answer = ranker.predict(&row)?;
    println!(
        "back on {} with its first answer {:.1?} after it was asked for",
        answer.version(),
        asked.elapsed()
    );
    for event in ranker.events() {
        println!("  {event}");
    }
    Ok(())
}

/// Where files go that are too large to be checked in.
fn target() -> Outcome<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = target.join("large");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The file of a model, made where there is none.
fn made(number: u64) -> Outcome<PathBuf> {
    let file = target()?.join(format!("large_{number}.onnx"));
    if !file.exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/models/make_large.py");
        let made = Command::new("python3").arg(script).arg(&file).arg(number.to_string()).status()?;
        if !made.success() {
            return Err("python3 benches/models/make_large.py failed".into());
        }
    }
    Ok(file)
}

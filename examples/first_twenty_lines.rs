//! The first twenty lines: a model, a second one on trial, the truth, the way back. As in the README.

use std::error::Error;
use std::time::Duration;

use switchback::model::onnx::{Feed, OnnxModel, Outputs, Pipeline};
use switchback::options::{Inputs, Labels, Shadowing};
use switchback::{ModelHandle, Outcome, Plan, Task, guard, model::ModelError};

type Features = [f32; 13]; // a flight at pushback: delay, distance, weather ...

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let late = ModelHandle::builder("late-arrival")
        .live("v2", model("v2.onnx")?)
        .task(Task::binary(|probability: &f32| f64::from(*probability)))
        .labels(Labels::complete_after(Duration::from_secs(86_400)))
        .inputs(Inputs::new().sample(FLIGHT)) // every version must answer it before it takes traffic
        .shadowing(Shadowing::new())
        .build()?;

    let answer = late.predict(&FLIGHT)?;
    println!("late with a probability of {:.2}, says {}", answer.output(), answer.version());
    let id = answer.id().to_string(); // travels with the flight, comes back when it lands

    let rollout = late
        .stage("v3", model("v3.onnx")?)?
        .guard(guard::error_rate().at_most(0.01))
        .guard(guard::latency(0.99).at_most_times_live(1.5))
        .guard(guard::accuracy().at_most_below_live(0.02));
    rollout.run(Plan::ramp([0.01, 0.05, 0.25, 0.5])?)?;

    println!("the truth: {}", late.feedback(id.parse()?, Outcome::class(1)));
    println!("back: {}", late.rollback("operator: complaints from dispatch"));
    late.close(Duration::from_secs(5))?;
    Ok(())
}

/// A version: the file, and what makes tensors of a request and an answer of tensors.
fn model(file: &str) -> Result<Pipeline<Features, f32>, Box<dyn Error + Send + Sync>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/models");
    let encode = |flight: &Features, feed: &mut Feed<'_, '_>| {
        feed.buffer("features", &[1, 13])?.copy_from_slice(flight);
        Ok(())
    };
    let decode = |outputs: &Outputs<'_>| match outputs.tensor::<f32>("probabilities")?.1 {
        [_, late] => Ok(*late),
        _ => Err(ModelError::invalid_output("not two probabilities")),
    };
    Ok(OnnxModel::from_file(format!("{folder}/{file}"))?.pipeline("at-departure@1.0", encode, decode))
}

const FLIGHT: Features = [21.0, 1372.0, 240.0, 12.0, 1.0, 1.0, 0.0, 39.9, 12.7, 10.0, 0.0, 1012.6, 62.0];

//! What a model takes and gives, known before it is loaded: `cargo run --example signature -- model.onnx`.

use std::error::Error;

use switchback::model::Opset;
use switchback::model::onnx::OnnxModel;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "tests/models/affine.onnx".to_owned());
    let model = OnnxModel::from_file(&file)?;
    if model.signature().is_none() {
        println!("the file leaves a type to ONNX Runtime, which is asked for it");
        model.load()?;
    }
    let Some(signature) = model.signature() else { return Ok(()) };
    signature.inputs.iter().for_each(|port| println!("takes {port}"));
    signature.outputs.iter().for_each(|port| println!("gives {port}"));
    for Opset { domain, version, .. } in model.opsets() {
        println!("needs {domain} {version}");
    }
    if !model.labels().is_empty() {
        let labels: Vec<String> = model.labels().iter().map(ToString::to_string).collect();
        println!("says one of {}", labels.join(", "));
    }
    Ok(())
}

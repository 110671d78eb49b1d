//! The metadata that a server and a model give of themselves.

use serde_json::{Value as Json, json};

use super::datatype::name_of;
use crate::model::onnx::{Dimension, Kind, Port, Signature};

/// Returns the answer to `GET /v2`, in JSON: a name and a version that the host gives its service.
pub fn server_metadata(name: &str, version: &str) -> String {
    json!({ "name": name, "version": version, "extensions": ["binary_tensor_data", "model_repository"] })
        .to_string()
}

/// Returns the answer to `GET /v2/health/live`, in JSON. The status of the response says the same; KServe's own client reads the body
/// alone, and one without a body is an error to it.
pub fn server_live() -> String {
    json!({ "live": true }).to_string()
}

/// Returns the answer to `GET /v2/health/ready`, in JSON. Send it with status 200 where the server is ready and 503 where it is not.
pub fn server_ready(ready: bool) -> String {
    json!({ "ready": ready, "live": true }).to_string()
}

/// Returns the answer to `GET /v2/models/{name}/ready`, in JSON. Send it with status 200 where the model is ready and 503 where it is not.
pub fn model_ready(name: &str, ready: bool) -> String {
    json!({ "name": name, "ready": ready }).to_string()
}

/// Returns the answer to `GET /v2/models/{name}`, in JSON. A size that is not fixed is -1; a shape that the file does
/// not say is [-1]; inputs and outputs that the protocol has no form for are left out.
pub fn model_metadata<'v>(
    name: &str,
    versions: impl IntoIterator<Item = &'v str>,
    signature: &Signature,
) -> String {
    let versions: Vec<&str> = versions.into_iter().collect();
    let ports = |ports: &[Port]| ports.iter().filter_map(port).collect::<Vec<_>>();
    json!({
        "name": name,
        "versions": versions,
        "platform": "onnxruntime_onnx",
        "inputs": ports(&signature.inputs),
        "outputs": ports(&signature.outputs),
    })
    .to_string()
}

fn port(port: &Port) -> Option<Json> {
    let (element, shape) = match &port.kind {
        Kind::Tensor { element, shape } => {
            let size = |size: &Dimension| match size {
                Dimension::Fixed(size) => json!(size),
                Dimension::Symbolic(_) | Dimension::Unknown => json!(-1),
            };
            (*element, shape.iter().map(size).collect())
        }
        Kind::AnyShape { element } => (*element, vec![json!(-1)]),
        _ => return None,
    };
    Some(json!({ "name": &*port.name, "datatype": name_of(element)?, "shape": shape }))
}

//! Clients of the Open Inference Protocol are answered by an ONNX model behind a handle.

use http::HeaderMap;
use serde_json::{Value, json};
use switchback::ModelHandle;
use switchback::model::onnx::OnnxModel;
use switchback::oip::{Infer, model_metadata, server_metadata};

#[test]
fn a_request_of_a_client_is_answered_by_a_model_behind_a_handle() {
    let model = OnnxModel::from_file("tests/models/identity_float.onnx").unwrap().pool_size(1);
    let signature = model.signature().unwrap().clone();
    let (input, output) = (signature.inputs[0].name.clone(), signature.outputs[0].name.clone());
    let told: Value = serde_json::from_str(&model_metadata("same", ["v1"], &signature)).unwrap();
    assert_eq!((&told["inputs"][0]["datatype"], &told["versions"][0]), (&json!("FP32"), &json!("v1")));

    let server: Value = serde_json::from_str(&server_metadata("flights", "3")).unwrap();
    assert_eq!(server, json!({"name": "flights", "version": "3", "extensions": ["binary_tensor_data"]}));

    let handle = ModelHandle::builder("same").live("v1", model).build().unwrap();
    let rank = told["inputs"][0]["shape"].as_array().unwrap();
    let shape: Vec<u64> = rank.iter().map(|size| size.as_u64().unwrap_or(1)).collect();
    let elements = usize::try_from(shape.iter().product::<u64>()).unwrap();
    let bytes = 0.25_f32.to_le_bytes().repeat(elements);
    let asked = json!({
        "id": "7",
        "parameters": {"key": "ada"},
        "inputs": [{"name": &*input, "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": bytes.len()}}],
        "outputs": [{"name": &*output}],
    })
    .to_string();
    let mut headers = HeaderMap::new();
    headers.insert("inference-header-content-length", asked.len().into());
    let asked = Infer::parse(&headers, &[asked.as_bytes(), &bytes].concat()).unwrap();
    let answer = handle.predict_keyed(asked.key().unwrap(), asked.tensors()).unwrap();
    let (headers, body) = asked.respond("same", &answer).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!((&body["id"], &body["model_version"]), (&json!("7"), &json!("v1")));
    assert_eq!(body["parameters"], json!({"prediction_id": answer.id().to_string(), "route": "live"}));
    assert_eq!(body["outputs"][0]["data"], json!(vec![0.25; elements]));

    let other = json!({"inputs": [], "outputs": [{"name": "gone"}]}).to_string();
    let other = Infer::parse(&HeaderMap::new(), other.as_bytes()).unwrap();
    let refused = other.respond("same", &answer).unwrap_err();
    assert!(
        refused.to_string().starts_with(&format!("there is no output `gone`: the model gives `{output}`"))
    );
}

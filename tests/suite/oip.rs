//! Clients of the Open Inference Protocol are answered by an ONNX model behind a handle.

use http::HeaderMap;
use serde_json::{Value, json};
use switchback::model::onnx::{OnnxModel, Tensors};
use switchback::oip::{
    Feedback, Infer, model_metadata, model_ready, repository_index, server_live, server_metadata,
    server_ready,
};
use switchback::{Kpi, ModelHandle, Task, closure};

#[test]
fn a_request_of_a_client_is_answered_by_a_model_behind_a_handle() {
    let model = OnnxModel::from_file("tests/models/identity_float.onnx").unwrap().pool_size(1);
    let signature = model.signature().unwrap().clone();
    let (input, output) = (signature.inputs[0].name.clone(), signature.outputs[0].name.clone());
    let told: Value = serde_json::from_str(&model_metadata("same", ["v1"], &signature)).unwrap();
    assert_eq!((&told["inputs"][0]["datatype"], &told["versions"][0]), (&json!("FP32"), &json!("v1")));

    let server: Value = serde_json::from_str(&server_metadata("flights", "3")).unwrap();
    assert_eq!(
        server,
        json!({"name": "flights", "version": "3", "extensions": ["binary_tensor_data", "model_repository"]})
    );

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

/// Bug: KServe's own client took a service for broken that answered its probes with a status and no body. Cause: it reads `live` and
/// `ready` of a body, which the protocol has and the example did not write. Fix: the codec writes them.
#[test]
fn a_client_that_reads_bodies_is_told_what_is_ready() {
    let read = |body: String| serde_json::from_str::<Value>(&body).unwrap();
    assert_eq!(read(server_live()), json!({"live": true}));
    for ready in [true, false] {
        assert_eq!(read(server_ready(ready)), json!({"ready": ready, "live": true}));
        let quoted = "a \"model\"";
        assert_eq!(read(model_ready(quoted, ready)), json!({"name": quoted, "ready": ready}));
    }
}

/// Bug: a request whose `parameters` or `outputs` were null was refused. Cause: what may be left out was read as what it is where it is there.
/// Fix: null is nothing.
#[test]
fn what_is_null_is_as_good_as_left_out() {
    let input = json!({"name": "x", "datatype": "FP32", "shape": [1], "data": [0.5]});
    let bare = json!({"inputs": [input]}).to_string();
    let mut nulls = input.clone();
    nulls["parameters"] = Value::Null;
    let asked = json!({"id": null, "parameters": null, "outputs": null, "inputs": [nulls]}).to_string();
    let parse = |body: &str| Infer::parse(&HeaderMap::new(), body.as_bytes()).unwrap();
    assert!(parse(&asked) == parse(&bare));
    nulls["parameters"] = json!({"binary_data_size": null, "shared_memory_region": null});
    let output = json!({"name": "x", "parameters": null});
    let parameters = json!({"key": null, "sequence_id": null, "binary_data_output": null});
    let asked = json!({"parameters": parameters, "outputs": [output], "inputs": [nulls]}).to_string();
    assert_eq!(parse(&asked).outputs().collect::<Vec<_>>(), ["x"]);
    assert_eq!(repository_index(br#"{"ready": null}"#, []).unwrap(), "[]");
}

#[test]
fn an_index_lists_what_is_loaded_by_its_role() {
    let same = |name: &str| closure(format!("same@{name}"), |x: &Tensors| Ok(x.clone()));
    let handle = ModelHandle::builder("same").live("v1", same("1")).build().unwrap();
    handle.stage("v2", same("2")).unwrap().promote().unwrap();
    let gone = handle.stage("v4", same("4")).unwrap();
    gone.canary(0.1).unwrap();
    let _ = handle.abort_candidates("enough");
    drop(gone);
    let rollout = handle.stage("v3", same("3")).unwrap();
    handle.tick();
    let index = |body: &[u8]| -> Value {
        serde_json::from_str(&repository_index(body, [&handle.status()]).unwrap()).unwrap()
    };
    let listed = index(b"");
    let of =
        |version: &str| listed.as_array().unwrap().iter().find(|known| known["version"] == version).cloned();
    assert_eq!(of("v1").unwrap()["reason"], "retained");
    assert_eq!(
        of("v2").unwrap(),
        json!({"name": "same", "version": "v2", "state": "READY", "reason": "live"})
    );
    assert_eq!(of("v3").unwrap()["reason"], "candidate");
    assert_eq!(of("v4"), None, "it is over");
    assert_eq!(index(br#"{"ready": true}"#), listed, "all of them are");
    assert_eq!(index(b"{}"), listed);
    for body in [&b"[]"[..], b"{\"ready\": 1}", b"ready"] {
        let error = repository_index(body, [&handle.status()]).unwrap_err().to_string();
        assert!(error.starts_with("write {} or {\"ready\": true}"), "{error}");
    }
    drop(rollout);
}

#[test]
fn what_turned_out_to_be_true_is_read_and_answered() {
    let task = Task::regression(|_: &Tensors| 0.5).kpi(Kpi::rate("purchase").unwrap());
    let same = closure("same@1", |x: &Tensors| Ok(x.clone()));
    let handle = ModelHandle::builder("same").live("v1", same).task(task).build().unwrap();
    let id = handle.predict(&Tensors::new()).unwrap().id().to_string();
    let told = |said: Value| {
        let mut body = json!({"prediction_id": id});
        body.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        let (id, outcome) = Feedback::parse(body.to_string().as_bytes())?.into_parts();
        Feedback::respond(&handle.feedback(id, outcome))
    };
    assert_eq!(told(json!({"value": 0.75})).unwrap(), r#"{"outcome":"counted"}"#);
    assert_eq!(told(json!({"value": 0.75})).unwrap(), r#"{"outcome":"repeated"}"#);
    assert_eq!(told(json!({"kpi": {"name": "purchase", "value": 1}})).unwrap(), r#"{"outcome":"counted"}"#);
    for (said, sentence) in [
        (json!({}), "say one of `class`, `value` and `kpi`"),
        (json!({"value": 1, "class": 1}), "say one of `class`, `value` and `kpi`"),
        (json!({"class": 1}), "the outcome is refused: it is another kind of truth than the task's"),
        (json!({"class": 70_000}), "cannot be read"),
        (
            json!({"kpi": {"name": "clicks", "value": 1}}),
            "the outcome is refused: the business figure was not declared at build",
        ),
        (
            json!({"kpi": {"name": "purchase", "value": 2}}),
            "the outcome is refused: it is not finite, or outside the bounds",
        ),
        (json!({"prediction_id": "x", "value": 1}), "`prediction_id` is no id"),
        (json!({"valeu": 1}), "unknown field `valeu`"),
    ] {
        let error = told(said.clone()).unwrap_err().to_string();
        assert!(error.contains(sentence), "{said}: {error}");
    }
    let list = Feedback::parse(format!(r#"["{id}", 1]"#).as_bytes()).unwrap_err().to_string();
    assert!(list.contains("cannot be read"), "{list}");
    assert_eq!(handle.status().feedback.counted, 2);
}

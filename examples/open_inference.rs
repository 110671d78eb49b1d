//! A service that speaks the Open Inference Protocol, so that clients of KServe and Triton can ask it over HTTP.
//!
//! ```sh
//! cargo run --example open_inference --features oip -- --port 8080
//! ```
//!
//! It serves one model, `same`, which answers what it is asked, of every type that the protocol has; or, with `--model FILE`, the one
//! in an ONNX file. With `--canary` half of the requests, or of the users, are answered by a second version of the first. `parameters.key`
//! keeps a user on a version; the answer says which version it was, and has the prediction's id,
//! with which `POST /v2/models/same/feedback` says later what turned out to be true. Versions are tried and promoted by code, so
//! a client can neither load nor unload one, nor ask a version that is not live: its traffic would not be randomised.

use std::io::Read;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use flate2::read::{GzDecoder, ZlibDecoder};
use lexopt::ValueExt;
use switchback::model::ModelError;
use switchback::model::onnx::{OnnxModel, Tensors};
use switchback::oip::{
    Feedback, Infer, model_metadata, model_ready, repository_index, server_live, server_metadata,
    server_ready,
};
use switchback::{Kpi, ModelHandle, PredictError, Task, closure};

const NAME: &str = "same";
/// What a request may have, before and after it is decompressed.
const BODY_MAX: usize = 16 << 20;

type Service = ModelHandle<Tensors, Tensors>;
type Shared = State<Service>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let (mut port, mut file, mut canary) = (8080_u16, None, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            lexopt::Arg::Long("port") => port = arguments.value()?.parse()?,
            lexopt::Arg::Long("model") => file = Some(arguments.value()?),
            lexopt::Arg::Long("canary") => canary = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let builder = ModelHandle::builder(NAME).task(Task::unlabelled().kpi(Kpi::rate("purchase")?));
    let builder = match file {
        None => builder.live("v1", closure("same@1.0", same)),
        Some(file) => builder.live("v1", OnnxModel::from_file(file)?),
    };
    let handle = builder.build()?;
    if canary {
        handle.stage("v2", closure("same@2.0", same))?.canary(0.5)?;
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("ready on {}", listener.local_addr()?);
    Ok(axum::serve(listener, router(handle)).await?)
}

fn same(asked: &Tensors) -> Result<Tensors, ModelError> {
    Ok(asked.clone())
}

fn router(service: Service) -> Router {
    let metadata = || async { json(server_metadata("switchback", "0.1")) };
    Router::new()
        .route("/v2", get(metadata))
        // As the protocol's OpenAPI document writes it.
        .route("/v2/", get(metadata))
        .route("/v2/health/live", get(|| async { json(server_live()) }))
        .route("/v2/health/ready", get(ready))
        .route("/v2/repository/index", post(index))
        .route("/v2/models/{model}", get(described))
        .route("/v2/models/{model}/ready", get(ready_model))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/feedback", post(feedback))
        .route("/v2/models/{model}/versions/{version}", get(version_described))
        .route("/v2/models/{model}/versions/{version}/ready", get(ready_version))
        .route("/v2/models/{model}/versions/{version}/infer", post(version_infer))
        .fallback(others)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(service)
}

fn json(body: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// By the status for whoever looks at that, as probes and `tritonclient` do, and by the body for KServe's own client.
fn readiness(ready: bool, body: String) -> Response {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json(body)).into_response()
}

async fn ready(State(service): Shared) -> Response {
    let ready = service.operator().readiness().ready;
    readiness(ready, server_ready(ready))
}

async fn ready_model(State(service): Shared, Path(model): Path<String>) -> Response {
    let ready = model == NAME && service.operator().readiness().ready;
    readiness(ready, model_ready(&model, ready))
}

/// Only what a client may ask is ready for it.
async fn ready_version(State(service): Shared, Path((model, version)): Path<(String, String)>) -> Response {
    let asked = model == NAME && service.live() == *version;
    let ready = asked && service.operator().readiness().ready;
    readiness(ready, model_ready(&model, ready))
}

async fn index(State(service): Shared, body: Bytes) -> Response {
    match repository_index(&body, [&service.status()]) {
        Ok(index) => json(index),
        Err(error) => refused(&error.to_string()),
    }
}

async fn described(State(service): Shared, Path(model): Path<String>) -> Response {
    if model != NAME {
        return no_such_model(&model);
    }
    let status = service.status();
    let live = status.live;
    // That of the version that is live now: the next one may take something else.
    let told = status.versions.into_iter().find(|version| version.version == live);
    match told.and_then(|version| version.signature) {
        Some(signature) => json(model_metadata(NAME, [live.as_str()], &signature)),
        // What takes anything has nothing to say of what it takes.
        None => json(serde_json::json!({"name": NAME, "versions": [live], "platform": "switchback", "inputs": [], "outputs": []}).to_string()),
    }
}

async fn version_described(
    State(service): Shared,
    Path((model, version)): Path<(String, String)>,
) -> Response {
    if model == NAME && service.live() != *version {
        return not_live(&version);
    }
    described(State(service), Path(model)).await
}

/// What turned out to be true of an answer.
async fn feedback(State(service): Shared, Path(model): Path<String>, body: Bytes) -> Response {
    if model != NAME {
        return no_such_model(&model);
    }
    let told = Feedback::parse(&body).and_then(|told| {
        let (id, outcome) = told.into_parts();
        Feedback::respond(&service.feedback(id, outcome))
    });
    match told {
        Ok(answer) => json(answer),
        Err(error) => refused(&error.to_string()),
    }
}

/// Of what there is elsewhere each is refused with its reason.
async fn others(uri: Uri) -> Response {
    let path = uri.path();
    let ends = |end: &str| path.ends_with(end);
    if ends("/load") || ends("/unload") {
        refused("versions are tried and promoted by this service's own code: no client loads or unloads one")
    } else if ends("/config") || ends("/stats") {
        refused("this is an extension of another server's: what is measured is in the service's own metrics")
    } else if path.contains("sharedmemory") {
        refused("shared memory is not done here: send tensors in the body")
    } else if path.contains("/trace") || path.contains("/logging") {
        refused("the service's own code says what it logs and traces")
    } else {
        (StatusCode::NOT_FOUND, refused(&format!("there is no {path}"))).into_response()
    }
}

async fn version_infer(
    state: Shared,
    Path((model, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if model == NAME && state.live() != *version {
        return not_live(&version);
    }
    infer(state, Path(model), headers, body).await
}

fn no_such_model(model: &str) -> Response {
    refused(&format!("there is no model {model}: this service has {NAME}"))
}

fn not_live(version: &str) -> Response {
    refused(&format!("{version} is not live, and this server chooses who answers: ask for no version"))
}

async fn infer(
    State(service): Shared,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if model != NAME {
        return no_such_model(&model);
    }
    let body = match decompressed(&headers, &body) {
        Ok(body) => body,
        Err(why) => return refused(&why),
    };
    let asked = match Infer::parse(&headers, &body) {
        Ok(asked) => asked,
        Err(error) => return refused(&error.to_string()),
    };
    // A model that takes long belongs on a thread that may block: see `axum_service`.
    let answer = match asked.key() {
        Some(key) => service.predict_keyed(key, asked.tensors()),
        None => service.predict(asked.tensors()),
    };
    match answer {
        Ok(answer) => match asked.respond(NAME, &answer) {
            Ok(response) => response.into_response(),
            Err(error) => refused(&error.to_string()),
        },
        Err(PredictError::Input(error)) => refused(&error.to_string()),
        // No fault of the request's: whoever counts failures of the server counts it, and a client may try again.
        Err(failed) => told(StatusCode::INTERNAL_SERVER_ERROR, &failed.to_string()),
    }
}

fn refused(why: &str) -> Response {
    told(StatusCode::BAD_REQUEST, why)
}

/// Clients of the protocol read the field `error`, whatever the status.
fn told(status: StatusCode, why: &str) -> Response {
    let body = serde_json::json!({ "error": why }).to_string();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn decompressed(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, String> {
    let reader: Box<dyn Read> = match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => return Ok(body.to_vec()),
        Some(b"gzip") => Box::new(GzDecoder::new(body)),
        // What HTTP calls deflate has zlib's head.
        Some(b"deflate") => Box::new(ZlibDecoder::new(body)),
        Some(_) => return Err("`Content-Encoding` is gzip or deflate".to_owned()),
    };
    let mut plain = Vec::new();
    let failed = |error| format!("the body cannot be decompressed: {error}");
    reader.take(BODY_MAX as u64 + 1).read_to_end(&mut plain).map_err(failed)?;
    if plain.len() > BODY_MAX {
        return Err(format!("the body has more than {BODY_MAX} bytes"));
    }
    Ok(plain)
}

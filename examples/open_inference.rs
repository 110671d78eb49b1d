//! A service that speaks the Open Inference Protocol, so that clients of KServe and Triton can ask it over HTTP.
//!
//! ```sh
//! cargo run --example open_inference --features oip -- --port 8080
//! ```
//!
//! It serves one model, `same`, which answers what it is asked, of every type that the protocol has: replace the closure by an
//! `OnnxModel`. `parameters.key` keeps a user on a version; the answer says which version it was, and has the prediction's id.

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use flate2::read::{GzDecoder, ZlibDecoder};
use lexopt::ValueExt;
use switchback::model::onnx::Tensors;
use switchback::oip::{Infer, server_metadata};
use switchback::{ModelHandle, closure};

const NAME: &str = "same";
/// What a request may have, before and after it is decompressed.
const BODY_MAX: usize = 16 << 20;

type Handle = Arc<ModelHandle<Tensors, Tensors>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let mut port = 8080_u16;
    while let Some(argument) = arguments.next()? {
        match argument {
            lexopt::Arg::Long("port") => port = arguments.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let live = closure("same@1.0", |asked: &Tensors| Ok(asked.clone()));
    let handle: Handle = Arc::new(ModelHandle::builder(NAME).live("v1", live).build()?);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("ready on {}", listener.local_addr()?);
    Ok(axum::serve(listener, router(handle)).await?)
}

fn router(handle: Handle) -> Router {
    let metadata = || async { ([(CONTENT_TYPE, "application/json")], server_metadata("switchback", "0.1")) };
    Router::new()
        .route("/v2", get(metadata))
        .route("/v2/health/live", get(|| async {}))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}/ready", get(ready))
        .route("/v2/models/{model}/infer", post(infer))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(handle)
}

async fn ready(State(handle): State<Handle>) -> StatusCode {
    if handle.operator().readiness().ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn infer(
    State(handle): State<Handle>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if model != NAME {
        return refused(&format!("there is no model {model}: this service has {NAME}"));
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
        Some(key) => handle.predict_keyed(key, asked.tensors()),
        None => handle.predict(asked.tensors()),
    };
    match answer {
        Ok(answer) => match asked.respond(NAME, &answer) {
            Ok(response) => response.into_response(),
            Err(error) => refused(&error.to_string()),
        },
        Err(error) => refused(&error.to_string()),
    }
}

/// Clients of the protocol read the field `error`, whatever the status.
fn refused(why: &str) -> Response {
    let body = serde_json::json!({ "error": why }).to_string();
    (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "application/json")], body).into_response()
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

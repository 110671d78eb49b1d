//! A first service, whole: two versions from Python, a rollout described in TOML, on axum, with figures for Prometheus, pages and
//! changes for operators, and a start that remembers. `docs/first-service.md` goes through it with `curl` and the command line.
//!
//! ```sh
//! python examples/publish_sklearn.py models late 1
//! cargo run --example first_service --features admin,config,prometheus,tokio -- examples/first_service.toml
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use switchback::admin::{Admin, Bearer};
use switchback::asynchronous::{AsyncError, AsyncHandle};
use switchback::config::Config;
use switchback::model::ModelError;
use switchback::model::onnx::{Feed, Outputs};
use switchback::operator::{Operators, Prometheus};
use switchback::options::Async;
use switchback::repository::Repository;
use switchback::repository::contract::{Feature, Host, Pipelines, Preflight};
use switchback::versions::Follow;
use switchback::{ModelHandle, Outcome, PredictError, PredictionId, Task};
use tokio::signal::unix::{SignalKind, signal};

type Failed = Box<dyn Error + Send + Sync>;
type Late = ModelHandle<Flight, f32>;
type Versions = Follow<Flight, f32>;

/// What is asked. The golden samples of a manifest are read as this too.
#[derive(Clone, Deserialize)]
struct Flight {
    dep_delay: f32,
    distance: f32,
}

/// The pipeline `at-departure` 1.0: tensors of a request, and an answer of tensors.
fn encode(flight: &Flight, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    feed.buffer("features", &[1, 2])?.copy_from_slice(&[flight.dep_delay, flight.distance]);
    Ok(())
}

fn decode(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
    match outputs.tensor::<f32>("probabilities")?.1 {
        [_, late] => Ok(*late),
        _ => Err(ModelError::invalid_output("not two probabilities")),
    }
}

/// The handle as the file describes it, and what tries each version that is published.
fn build(config: &Config) -> Result<(Late, Versions), Failed> {
    let place = config.repository().ok_or("the file has no `repository`")?;
    let host = Host::new()
        .feature(Feature::number("dep_delay").unit("min").range(-120.0..=1500.0))
        .feature(Feature::number("distance").unit("mi").range(0.0..=6000.0));
    let mut pipelines = Pipelines::new();
    pipelines.register("at-departure", "1.0", encode, decode)?;
    let served = Repository::open(place.path())?
        .serve(config.name(), host, pipelines)
        .preflight(|samples| Preflight::new().samples(samples));
    let served = Arc::new(served);

    let (versions, first) = (Arc::clone(&served), place.version().unwrap_or("latest").to_owned());
    let late = ModelHandle::builder(config.name())
        .configure(config)?
        .task(Task::binary(|probability: &f32| f64::from(*probability)))
        .live_with(move || versions.open(&first)) // at the first start; at a later one what the state says is found in the source
        .source(Arc::clone(&served))
        .build()?;
    let guards = config.guards();
    let follow = late.follow(served, config.on_publish()?, move |rollout| rollout.guards(guards.clone()))?;
    Ok((late, follow))
}

/// Looks for versions, tries them, and prints what happened: on a thread of its own, since it loads models.
fn follow(late: &Late, mut versions: Versions) {
    let mut next = 0;
    loop {
        // What is tried, and what is refused and why, is told by events, once for each reason; who looks on tries nothing.
        if let Err(error) = versions.poll() {
            eprintln!("the repository cannot be looked at: {error}");
        }
        // With the feature `tracing` they are in the log without this.
        for event in late.events_since(next) {
            next = event.sequence + 1;
            eprintln!("{event}");
        }
        versions.wait(Duration::from_secs(1));
    }
}

/// What handlers share. A clone is a few counts.
#[derive(Clone)]
struct Service {
    late: AsyncHandle<Flight, f32>,
    metrics: Prometheus,
}

async fn predict(
    State(service): State<Service>,
    Json(flight): Json<Flight>,
) -> Result<Json<Value>, Response> {
    let answer = service.late.predict(flight).await.map_err(|error| {
        let status = match error {
            AsyncError::Predict(PredictError::Input(_)) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, error.to_string()).into_response()
    })?;
    let (late, version, id) = (answer.output(), answer.version(), answer.id().to_string());
    Ok(Json(json!({ "late": late, "version": version.as_str(), "id": id })))
}

#[derive(Deserialize)]
struct Truth {
    late: bool,
}

async fn feedback(
    State(service): State<Service>,
    Path(id): Path<String>,
    Json(truth): Json<Truth>,
) -> Response {
    match id.parse::<PredictionId>() {
        Ok(id) => Json(service.late.handle().feedback(id, Outcome::class(truth.late.into()))).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn ready(State(service): State<Service>) -> Response {
    let readiness = service.late.handle().readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Figures in the format that the scraper asks for.
async fn metrics(State(service): State<Service>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    let page = service.metrics.answer(accepts);
    ([(header::CONTENT_TYPE, page.content_type)], page.body).into_response()
}

async fn serve(config: Config) -> Result<(), Failed> {
    // Before anything that takes long: a signal during the start ends the process in order too.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Before there is a handle: one that is dropped without `close` is told as a crash at the next start.
    let token = Bearer::from_env("SWITCHBACK_TOKEN")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    let (late, versions) = tokio::task::spawn_blocking(move || build(&config)).await??;
    let service = Service {
        late: late.clone().into_async(Async::new())?,
        metrics: Prometheus::new([late.operator().downgrade()])?,
    };
    // Pages for everybody who reaches them, changes for whoever has the token.
    let admin = Admin::new(Operators::new([late.operator()])?).under("/switchback").changes(token).service();
    let followed = late.clone();
    std::thread::spawn(move || follow(&followed, versions));
    let router = Router::new()
        .route("/predict", post(predict))
        .route("/feedback/{id}", post(feedback))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route_service("/switchback", admin.clone())
        .route_service("/switchback/", admin.clone()) // `{*path}` is never empty
        .route_service("/switchback/{*path}", admin)
        .with_state(service);

    let draining = late.clone();
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let asked_to_end = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        draining.drain("asked to end"); // `/ready` says 503 from now on
        tokio::time::sleep(Duration::from_secs(5)).await;
        let _ = closed.send(());
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(asked_to_end);
    tokio::select! {
        served = serving => served?,
        // Requests end, and one that does not keeps nobody from `close`.
        () = async { let _ = is_closed.await; tokio::time::sleep(Duration::from_secs(10)).await } => {}
    }
    tokio::task::spawn_blocking(move || late.close(Duration::from_secs(10))).await??;
    Ok(())
}

fn run() -> Result<(), Failed> {
    let file = std::env::args().nth(1).ok_or("say which file describes the rollout")?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file} cannot be read: {error}"))?;
    let config = toml::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let served = runtime.block_on(serve(config));
    // A version that hangs keeps its thread for ever. Nobody waits for it: dropped, the runtime would.
    runtime.shutdown_background();
    served
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

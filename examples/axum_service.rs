//! A service on axum, whole: what handlers share, an extractor, load shedding, failures as status codes, figures for
//! Prometheus, pages and changes for operators, readiness, and an end at which nobody loses an answer. A second process on the same folder of state looks on,
//! answers, and goes on with the rollout once the first has ended.
//!
//! ```sh
//! cargo run --example axum_service --features admin,prometheus,tokio -- --port 8080 --state /tmp/late
//! curl -d '{"distance": 900, "delay": 12}' -H 'content-type: application/json' -H 'x-user: 7' localhost:8080/predict
//! curl -d '{"late": true}' -H 'content-type: application/json' localhost:8080/feedback/ID
//! curl localhost:8080/metrics
//! curl -H 'accept: text/html' localhost:8080/switchback/late   # a live page; in a browser too
//! ```
//!
//! With the feature `fleet` and `--fleet FOLDER` in the place of `--state` it is one of several processes that decide as one.
//!
//! Two numbers and a table stand in for a model; an ONNX model takes their place without another line.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use switchback::admin::{Admin, AdminService, Bearer};
use switchback::asynchronous::{AsyncError, AsyncHandle};
use switchback::drift::{Cell, Drift, ReferenceProfile, WindowSize};
use switchback::events::EventKind;
use switchback::model::{Identity, ModelError};
use switchback::operator::{Operators, Prometheus};
use switchback::options::{Async, Inputs, Labels, Shadowing, StateFolder, Threads};
use switchback::versions::{Lifecycle, Memory};
use switchback::{
    Kpi, Model, ModelHandle, Outcome, Plan, PredictError, PredictionIdError, Step, Task, guard,
};
use tower::ServiceBuilder;

type Failed = Box<dyn Error + Send + Sync>;

/// How long requests may take to end once the listener is closed.
const LAST_REQUESTS: Duration = Duration::from_secs(20);

/// What is asked.
#[derive(Clone, Deserialize)]
struct Flight {
    distance: f64,
    /// Minutes behind the schedule at pushback.
    delay: f64,
}

/// How likely a flight is late, for each minute of delay at pushback.
struct Table {
    version: &'static str,
    by_minute: Vec<f64>,
}

impl Table {
    /// Those that there are, by name: what a start that remembers asks for.
    fn of(version: &str) -> Result<Self, Failed> {
        let (version, middle) = match version {
            "v1" => ("v1", 25.0),
            "v2" => ("v2", 20.0),
            "v3" => ("v3", 15.0),
            other => return Err(format!("there is no version {other}").into()),
        };
        let probability = |minute: u32| 1.0 / (1.0 + (-(f64::from(minute) - middle) / 5.0).exp());
        Ok(Self { version, by_minute: (0..24 * 60).map(probability).collect() })
    }
}

impl Model<Flight, f64> for Table {
    fn predict(&self, flight: &Flight) -> Result<f64, ModelError> {
        if !(flight.delay.is_finite() && flight.distance > 0.0) {
            return Err(ModelError::input("a flight has a distance above 0 and a delay in minutes"));
        }
        // A long flight makes up for some of it.
        let minute = (flight.delay - flight.distance / 500.0).max(0.0) as usize;
        self.by_minute.get(minute).copied().ok_or_else(|| ModelError::input("that is another day"))
    }

    fn identity(&self) -> Identity {
        Identity::of([("table", self.version.as_bytes())])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

impl Lifecycle for Table {
    fn memory(&self) -> Option<Memory> {
        Some(Memory::private(size_of_val(&*self.by_minute) as u64))
    }
}

/// What handlers share. A clone is a few counts.
#[derive(Clone)]
struct Service {
    late: AsyncHandle<Flight, f64>,
    metrics: Prometheus,
}

/// Whose request it is: the same user is answered by the same version.
struct User(String);

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let user = parts.headers.get("x-user").map(HeaderValue::to_str).transpose();
        // Without one it is an empty key, which is none.
        let user = user.map_err(|_| (StatusCode::BAD_REQUEST, "x-user is no text"))?;
        Ok(Self(user.unwrap_or_default().to_owned()))
    }
}

/// What a handler fails with, as HTTP has it: whose fault it is, and whether to come again.
enum Refused {
    Asked(AsyncError),
    Id(PredictionIdError),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            Self::Asked(AsyncError::Predict(PredictError::Input(reason))) => {
                (StatusCode::BAD_REQUEST, reason.to_string())
            }
            Self::Asked(AsyncError::Busy { .. }) => return overloaded(),
            Self::Asked(AsyncError::Predict(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Self::Asked(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Self::Id(reason) => (StatusCode::BAD_REQUEST, reason.to_string()),
        };
        (status, reason).into_response()
    }
}

fn overloaded() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "too many requests wait").into_response()
}

#[derive(Serialize)]
struct Answered {
    probability: f64,
    version: String,
    /// Comes back with what turned out to be true.
    id: String,
}

async fn predict(
    State(Service { late, .. }): State<Service>,
    User(user): User,
    Json(flight): Json<Flight>,
) -> Result<Json<Answered>, Refused> {
    let answer = late.predict_keyed(user, flight).await.map_err(Refused::Asked)?;
    let (version, id) = (answer.version().to_string(), answer.id().to_string());
    Ok(Json(Answered { probability: *answer.output(), version, id }))
}

#[derive(Deserialize)]
struct Truth {
    late: bool,
    /// What the customer said of it, 0 to 10.
    satisfaction: Option<f64>,
}

async fn feedback(
    State(Service { late, .. }): State<Service>,
    Path(id): Path<String>,
    Json(truth): Json<Truth>,
) -> Result<Json<String>, Refused> {
    let id = id.parse().map_err(Refused::Id)?;
    let outcome = late.handle().feedback(id, Outcome::class(u16::from(truth.late)));
    if let Some(satisfaction) = truth.satisfaction {
        let _ = late.handle().feedback(id, Outcome::kpi("satisfaction", satisfaction));
    }
    // Whatever became of it, it is counted and nothing is harmed: a caller delivers it once.
    Ok(Json(outcome.to_string()))
}

/// A page in the format that the scraper asks for.
async fn metrics(State(Service { metrics, .. }): State<Service>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    let page = metrics.answer(accepts);
    ([(header::CONTENT_TYPE, page.content_type)], page.body).into_response()
}

/// Whether callers are to be sent here. Nothing that is wrong with a model is in it: that would be so on every replica.
async fn ready(State(Service { late, .. }): State<Service>) -> Response {
    let readiness = late.handle().readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, readiness.because.join("\n")).into_response()
}

async fn status(State(Service { late, .. }): State<Service>) -> Response {
    Json(late.handle().status()).into_response()
}

async fn events(State(Service { late, .. }): State<Service>) -> Response {
    Json(late.handle().events().iter().map(ToString::to_string).collect::<Vec<_>>()).into_response()
}

/// Pages and changes for those who operate it are `admin`'s; only those who have the token change anything.
fn router(service: Service, admin: AdminService) -> Router {
    // The model has a queue of its own; this bounds what is being read and written around it.
    let shed = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_| async { overloaded() }))
        .load_shed()
        .concurrency_limit(1_024);
    Router::new()
        .route("/predict", post(predict).layer(shed))
        .route("/feedback/{id}", post(feedback))
        .route("/metrics", get(metrics))
        .route("/ready", get(ready))
        // That the process answers at all. Whoever restarts it because of a model has one outage more.
        .route("/live", get(|| async { "alive" }))
        .route("/status", get(status))
        .route("/events", get(events))
        // Three, since the last is never without a path.
        .route_service("/switchback", admin.clone())
        .route_service("/switchback/", admin.clone())
        .route_service("/switchback/{*path}", admin)
        .with_state(service)
}

struct Options {
    port: u16,
    state: Option<PathBuf>,
    /// Where the processes of this service agree, with the feature `fleet`.
    fleet: Option<PathBuf>,
    /// How long callers are answered after the signal, so that whoever sends them has seen that they are to go elsewhere.
    drain: Duration,
    /// Steps of seconds in the place of hours: to be looked at.
    hurry: bool,
}

impl Options {
    fn read() -> Result<Self, Failed> {
        use lexopt::prelude::*;
        let drain = Duration::from_secs(5);
        let mut options = Self { port: 8_080, state: None, fleet: None, drain, hurry: false };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("port") => options.port = arguments.value()?.parse()?,
                Long("state") => options.state = Some(arguments.value()?.into()),
                Long("fleet") if cfg!(feature = "fleet") => options.fleet = Some(arguments.value()?.into()),
                Long("drain") => options.drain = Duration::try_from_secs_f64(arguments.value()?.parse()?)?,
                Long("hurry") => options.hurry = true,
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }

    /// So many hours, or seconds where it is to be looked at.
    fn hours(&self, hours: u64) -> Duration {
        Duration::from_secs(if self.hurry { hours } else { hours * 3_600 })
    }
}

fn built(options: &Options) -> Result<ModelHandle<Flight, f64>, Failed> {
    // What delays were when the tables were made: few are long.
    let training = (0..5_000).map(|n| [Cell::from(f64::from(n % 61 * (n % 7)) / 6.0)]);
    let training = ReferenceProfile::builder().numeric("delay").build_from(training)?;
    let mut builder = ModelHandle::builder("late")
        .live("v1", Table::of("v1")?)
        .task(Task::binary(|probability: &f64| *probability).kpi(Kpi::bounded("satisfaction", 0.0, 10.0)?))
        .labels(Labels::complete_after(options.hours(2)))
        .shadowing(Shadowing::new())
        .inputs(
            Inputs::new()
                .features(training, |flight: &Flight, cells| cells.push(flight.delay))
                .segment(|flight| if flight.distance < 700.0 { "short haul" } else { "long haul" }),
        )
        .drift(Drift::new().sample(1.0).window(WindowSize::Span(options.hours(5))))
        .threads(Threads::background().tick_every(Duration::from_millis(200)));
    if let Some(folder) = &options.state {
        builder = builder.state(StateFolder::new(folder));
    }
    #[cfg(feature = "fleet")]
    if let Some(folder) = &options.fleet {
        use switchback::{fleet::Directory, options::Fleet};
        // A folder that is there and has no store in it may be one in which nothing is mounted: whoever sets up a service makes the store once.
        let store = if folder.exists() { Directory::open(folder)? } else { Directory::create(folder)? };
        let fleet = Fleet::on(store);
        builder = builder.fleet(match std::env::var("SWITCHBACK_FLEET_SECRET") {
            Ok(secret) => fleet.secret(secret),
            Err(_) => fleet,
        });
    }
    if options.state.is_some() || options.fleet.is_some() {
        builder =
            builder.source(|version: &str| Ok(Box::new(Table::of(version)?) as Box<dyn Model<Flight, f64>>));
    }
    let late = builder.build()?;
    let status = late.status();
    // A later start goes on with what it remembers, one beside another process looks on, and a process of a fleet that is there already
    // does what is agreed on.
    let remembers = late.events().iter().any(|event| matches!(event.kind, EventKind::Started { .. }));
    #[cfg(feature = "fleet")]
    let remembers = remembers || status.fleet.as_ref().is_some_and(|fleet| fleet.sequence > 1);
    if !status.standby && !remembers {
        late.stage("v2", Table::of("v2")?)?.promote()?;
        let plan = Plan::new([
            Step::shadow(0.5)?.min_duration(options.hours(5)),
            Step::canary(0.1)?.min_duration(options.hours(10)),
            Step::canary(0.25)?.min_duration(options.hours(600)),
        ])?;
        late.stage("v3", Table::of("v3")?)?
            .guard(guard::error_rate().at_most(0.05))
            .guard(guard::accuracy().at_most_below_live(0.1))
            .run(plan)?;
    }
    Ok(late)
}

/// Until the process is asked to end, from now on.
fn asked_to_end() -> Result<impl Future<Output = ()>, Failed> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

async fn serve(options: Options) -> Result<(), Failed> {
    // Before anything that takes long: a signal during the start ends the process in order too.
    let asked = asked_to_end()?;
    let options = Arc::new(options);
    let building = Arc::clone(&options);
    let handle = tokio::task::spawn_blocking(move || built(&building)).await??;
    // By segment too: there are two, whose names anybody may know.
    let metrics = Prometheus::new([handle.operator().by_segment().downgrade()])?;
    let mut admin = Admin::new(Operators::new([handle.operator()])?).under("/switchback");
    // Without a token everything can be looked at there and nothing changed.
    if std::env::var_os("SWITCHBACK_TOKEN").is_some() {
        admin = admin.changes(Bearer::from_env("SWITCHBACK_TOKEN")?);
    }
    let late = handle.clone().into_async(Async::new())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
    println!("ready on {}", listener.local_addr()?);

    let (draining, drain) = (handle.clone(), options.drain);
    let (closed, is_closed) = tokio::sync::oneshot::channel::<()>();
    let ending = async move {
        asked.await;
        // The order in which nobody loses an answer: say so, serve on until it was seen, close the listener, let requests
        // end, write down what runs.
        draining.drain("asked to end");
        tokio::time::sleep(drain).await;
        let _ = closed.send(());
    };
    let serving = axum::serve(listener, router(Service { late, metrics }, admin.service()))
        .with_graceful_shutdown(ending);
    tokio::select! {
        served = serving => served?,
        // A client that neither asks nor leaves does not keep the process.
        () = async { let _ = is_closed.await; tokio::time::sleep(LAST_REQUESTS).await } => {
            eprintln!("requests were under way {} s after the listener was closed", LAST_REQUESTS.as_secs());
        }
    }
    tokio::task::spawn_blocking(move || handle.close(Duration::from_secs(10))).await??;
    println!("closed");
    Ok(())
}

fn main() -> Result<(), Failed> {
    let options = Options::read()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(serve(options));
    // A version that hangs keeps its thread for ever. Nobody waits for it: dropped, the runtime would.
    runtime.shutdown_background();
    served
}

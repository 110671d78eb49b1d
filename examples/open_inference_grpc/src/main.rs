//! A service that speaks the Open Inference Protocol over gRPC: what the example `open_inference` is over HTTP.
//!
//! ```sh
//! cd examples/open_inference_grpc && cargo run -- --port 8081
//! ```
//!
//! It serves one model, `same`, which answers what it is asked, of every type that the protocol has; or, with `--model FILE`, the one
//! in an ONNX file. With `--canary` half of the requests, or of the users, are answered by a second version of the first. `parameters.key`
//! keeps a user on a version; the answer says which version it was, and has the prediction's id.
//! The health protocol of gRPC (`grpc.health.v1`), which the probes of Kubernetes speak, is answered by the handle's readiness. At
//! SIGTERM or Ctrl-C it says NOT_SERVING, goes on answering for five seconds (`--drain SECONDS`), so that whoever sends callers can
//! see it, lets the requests end that it has, and ends.
//! What turned out to be true comes back with that id by the service's own way, or over HTTP as in `open_inference`: the
//! protocol has no call for it. Versions are tried and promoted by code, so a client can neither load nor unload one, nor ask a
//! version that is not live: its traffic would not be randomised.

mod messages;

use std::error::Error;
use std::time::Duration;

use lexopt::ValueExt;
use serde_json::json;
use switchback::model::ModelError;
use switchback::model::onnx::{OnnxModel, Tensors};
use switchback::oip::{model_metadata, repository_index, server_metadata};
use switchback::operator::WeakOperator;
use switchback::{ModelHandle, PredictError, Task, closure};
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer, SERVICE_NAME,
};
use inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
};
use messages::refused;

/// The protocol's messages, made of proto/open_inference.proto.
mod inference {
    #![allow(clippy::enum_variant_names, reason = "the names are the protocol's")]
    tonic::include_proto!("inference");
}

const NAME: &str = "same";
/// What a message may have, before and after it is decompressed.
const MESSAGE_MAX: usize = 16 << 20;
/// How long requests may be under way when nobody may come any more.
const LAST_REQUESTS: Duration = Duration::from_secs(20);

struct Service {
    handle: ModelHandle<Tensors, Tensors>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let (mut port, mut file, mut canary, mut drain) = (8081_u16, None, false, Duration::from_secs(5));
    while let Some(argument) = arguments.next()? {
        match argument {
            lexopt::Arg::Long("port") => port = arguments.value()?.parse()?,
            lexopt::Arg::Long("model") => file = Some(arguments.value()?),
            lexopt::Arg::Long("canary") => canary = true,
            lexopt::Arg::Long("drain") => {
                drain = Duration::try_from_secs_f64(arguments.value()?.parse()?)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    // Before anything that takes long: a signal during the start ends the process in order too.
    let asked = asked_to_end()?;
    let builder = ModelHandle::builder(NAME).task(Task::unlabelled());
    let builder = match file {
        None => builder.live("v1", closure("same@1.0", same)),
        Some(file) => builder.live("v1", OnnxModel::from_file(file)?),
    };
    let handle = builder.build()?;
    if canary {
        handle.stage("v2", closure("same@2.0", same))?.canary(0.5)?;
    }
    let (reporter, health) = health_reporter();
    tokio::spawn(reported(reporter, handle.operator().downgrade()));
    let service = Service { handle: handle.clone() };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("ready on {}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let both = Server::builder().add_service(health).add_service(server(service));
    let draining = handle.clone();
    let (closed, is_closed) = tokio::sync::oneshot::channel::<()>();
    let ending = async move {
        asked.await;
        // New callers go elsewhere from now on. Those who come all the same are answered.
        draining.drain("asked to end");
        tokio::time::sleep(drain).await;
        let _ = closed.send(());
    };
    tokio::select! {
        served = both.serve_with_incoming_shutdown(incoming, ending) => served?,
        // A client that neither asks nor leaves does not keep the process.
        () = async { let _ = is_closed.await; tokio::time::sleep(LAST_REQUESTS).await } => {
            eprintln!("requests were under way {} s after the listener was closed", LAST_REQUESTS.as_secs());
        }
    }
    Ok(tokio::task::spawn_blocking(move || handle.close(Duration::from_secs(5))).await??)
}

/// Until the process is asked to end, from now on.
fn asked_to_end() -> Result<impl Future<Output = ()>, Box<dyn Error>> {
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

/// Says whether the handle is ready whenever that has changed, of the server and of its service, as long as there is a handle.
async fn reported(reporter: HealthReporter, handle: WeakOperator) {
    let mut every = tokio::time::interval(Duration::from_millis(200));
    let mut told = None;
    loop {
        every.tick().await;
        let Some(ready) = handle.upgrade().map(|operator| operator.readiness().ready) else { return };
        if told.replace(ready) != Some(ready) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in ["", SERVICE_NAME] {
                reporter.set_service_status(name, status).await;
            }
        }
    }
}

fn same(asked: &Tensors) -> Result<Tensors, ModelError> {
    Ok(asked.clone())
}

fn server(service: Service) -> GrpcInferenceServiceServer<Service> {
    GrpcInferenceServiceServer::new(service)
        .max_decoding_message_size(MESSAGE_MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
}

impl Service {
    fn is_ready(&self) -> bool {
        self.handle.operator().readiness().ready
    }

    /// Refuses another model, and a version that a client may not ask. An empty version asks for none.
    fn serves(&self, model: &str, version: &str) -> Result<(), Status> {
        if model != NAME {
            return Err(Status::not_found(format!("there is no model {model}: this service has {NAME}")));
        }
        if !version.is_empty() && self.handle.live() != *version {
            return Err(refused(format!(
                "{version} is not live, and this server chooses who answers: ask for no version"
            )));
        }
        Ok(())
    }
}

/// What the library says in JSON, as a message.
fn message<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Status> {
    serde_json::from_str(json).map_err(|error| Status::internal(error.to_string()))
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.is_ready() }))
    }

    /// Only what a client may ask is ready for it.
    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.get_ref();
        let ready = self.serves(name, version).is_ok() && self.is_ready();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(message(&server_metadata("switchback", "0.1"))?))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.get_ref();
        self.serves(name, version)?;
        let status = self.handle.status();
        let live = status.live;
        // That of the version that is live now: the next one may take something else.
        let told = status.versions.into_iter().find(|version| version.version == live);
        let described = match told.and_then(|version| version.signature) {
            Some(signature) => message(&model_metadata(NAME, [live.as_str()], &signature))?,
            // What takes anything has nothing to say of what it takes.
            None => ModelMetadataResponse {
                name: NAME.to_owned(),
                versions: vec![live.to_string()],
                platform: "switchback".to_owned(),
                ..Default::default()
            },
        };
        Ok(Response::new(described))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let request = request.into_inner();
        self.serves(&request.model_name, &request.model_version)?;
        let asked = messages::parse(request)?;
        // A model that takes long belongs on a thread that may block: see `axum_service`.
        let answer = match asked.key() {
            Some(key) => self.handle.predict_keyed(key, asked.tensors()),
            None => self.handle.predict(asked.tensors()),
        };
        let answer = answer.map_err(|error| match error {
            PredictError::Input(error) => refused(error.to_string()),
            // No fault of the request's.
            failed => Status::internal(failed.to_string()),
        })?;
        Ok(Response::new(messages::respond(&asked, NAME, &answer)?))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let RepositoryIndexRequest { repository_name, ready } = request.get_ref();
        if !repository_name.is_empty() {
            return Err(refused(format!(
                "there is no repository {repository_name}: ask with no `repository_name`"
            )));
        }
        let asked = json!({ "ready": ready }).to_string();
        let index = repository_index(asked.as_bytes(), [&self.handle.status()])
            .map_err(|error| refused(error.to_string()))?;
        Ok(Response::new(RepositoryIndexResponse { models: message(&index)? }))
    }
}

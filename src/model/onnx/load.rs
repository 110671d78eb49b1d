//! From files to sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use ort::ErrorCode;

use super::files::{Files, Source};
use super::interface::Interface;
use super::options::Options;
use super::outputs::kind_of;
use super::pool::{CLOCK, Pool};
use super::runtime::Runtime;
use super::session::Session;
use super::signature::{Kind, Port, Signature};
use super::watch::Watches;
use crate::error::LoadError;

/// A model that is ready to answer.
pub(super) struct Loaded {
    pub(super) signature: Signature,
    pub(super) interface: Interface,
    pub(super) pool: Pool<Session>,
    pub(super) watches: Watches,
    runtime: Runtime,
}

impl Loaded {
    pub(super) fn of(files: &Files, options: &Options) -> Result<Self, LoadError> {
        options.check()?;
        files.unchanged()?;
        let runtime = Runtime::get()?;
        let first = create(files, options, &runtime)?;
        let signature = signature_of(files, &first)?;
        let interface = Interface::of(&signature);
        let engine = |error: ort::Error| error_of(files, &error);
        let mut sessions = vec![Session::new(first, &interface).map_err(engine)?];
        while sessions.len() < options.pool_size {
            sessions.push(Session::new(create(files, options, &runtime)?, &interface).map_err(engine)?);
        }
        let watches = Watches::new(sessions.len()).map_err(engine)?;
        LazyLock::force(&CLOCK); // takes a moment, which no request should wait for
        files.unchanged()?; // what was loaded is what was hashed
        Ok(Self { signature, interface, pool: Pool::new(sessions), watches, runtime })
    }

    /// Replaces the sessions that a panic has made unusable, and drops those, on this thread. Gives how many.
    pub(super) fn replenish(&self, files: &Files, options: &Options) -> Result<usize, LoadError> {
        let mut replaced = 0;
        for mut lease in self.pool.unusable() {
            let session = create(files, options, &self.runtime)?;
            files.unchanged()?;
            *lease.worker =
                Session::new(session, &self.interface).map_err(|error| error_of(files, &error))?;
            replaced += 1;
        }
        Ok(replaced)
    }
}

/// A panic in there is a type that ort does not know and the scan could not see, because ONNX Runtime inferred it.
fn create(files: &Files, options: &Options, runtime: &Runtime) -> Result<ort::session::Session, LoadError> {
    let commit = || {
        let mut builder = options.builder(runtime)?;
        match &files.source {
            Source::File(path) => builder.commit_from_file(path),
            Source::Bytes(bytes) => builder.commit_from_memory(bytes),
        }
    };
    match catch_unwind(AssertUnwindSafe(commit)) {
        Ok(session) => session.map_err(|error| error_of(files, &error)),
        Err(_) => {
            let cause = "the binding to ONNX Runtime panicked over it: a type of its inputs or outputs is not known there";
            Err(LoadError::Refused { file: files.name.clone(), cause: cause.to_owned() })
        }
    }
}

/// ONNX Runtime gives most failures one code, so its words have to tell them apart.
fn error_of(files: &Files, error: &ort::Error) -> LoadError {
    const UNSUPPORTED: [&str; 5] = [
        "Unsupported model IR version",
        "Current official support for domain",
        "No Op registered for",
        "is not a registered function/op",
        "Could not find an implementation for",
    ];
    let (file, cause) = (files.name.clone(), error.message().to_owned());
    let is_unsupported = UNSUPPORTED.iter().any(|words| cause.contains(words));
    match error.code() {
        ErrorCode::NotImplemented => LoadError::Unsupported { file, cause },
        _ if is_unsupported => LoadError::Unsupported { file, cause },
        ErrorCode::InvalidProtobuf | ErrorCode::NoModel => LoadError::NotOnnx { file, cause },
        _ => LoadError::Engine { file, cause },
    }
}

fn signature_of(files: &Files, session: &ort::session::Session) -> Result<Signature, LoadError> {
    let port = |role: &str, outlet: &ort::value::Outlet| match kind_of(outlet.dtype()) {
        Some(kind) if role == "output" || matches!(kind, Kind::Tensor { .. }) => {
            Ok(Port { name: outlet.name().into(), kind })
        }
        _ => {
            let cause =
                format!("{role} `{}` is of type {}, which cannot be carried", outlet.name(), outlet.dtype());
            Err(LoadError::Refused { file: files.name.clone(), cause })
        }
    };
    let scan = &files.scan;
    let producer = [scan.producer.as_str(), scan.producer_version.as_str()].join(" ");
    Ok(Signature {
        inputs: session.inputs().iter().map(|outlet| port("input", outlet)).collect::<Result<_, _>>()?,
        outputs: session.outputs().iter().map(|outlet| port("output", outlet)).collect::<Result<_, _>>()?,
        labels: scan.labels.clone(),
        ir_version: scan.ir_version,
        opsets: scan.opsets.clone(),
        producer: Some(producer.trim().to_owned()).filter(|producer| !producer.is_empty()),
        metadata: scan.metadata.clone(),
    })
}

//! Makes sessions from files.

use std::path::Path;
use std::sync::Arc;

use ort::ErrorCode;
use ort::session::builder::SessionBuilder;
use ort::value::ValueType;

use super::form::Form;
use crate::base::guarded::guarded;
use crate::model::error::LoadError;
use crate::model::onnx::file::files::{Bytes, Files};
use crate::model::onnx::file::scan::Scan;
use crate::model::onnx::file::signature::{Kind, Port, Signature};
use crate::model::onnx::options::Options;
use crate::model::onnx::prepared::Entry;
use crate::model::onnx::runtime::runtime::Runtime;
use crate::model::onnx::tensor::outputs::kind_of;

/// A session from the model's own files.
pub(crate) fn plain(
    files: &Files,
    options: &Options,
    runtime: &Runtime,
) -> Result<ort::session::Session, LoadError> {
    create(files, || options.builder(runtime))
}

/// A session from the model's prepared form. Refused where that is not what was checked any more.
pub(crate) fn prepared(
    entry: &Entry,
    form: Form,
    files: &Files,
    options: &Options,
    runtime: &Runtime,
) -> Result<ort::session::Session, LoadError> {
    let session = create_in(&entry.graph(), form, files, options, runtime)?;
    if entry.is_unchanged() {
        return Ok(session);
    }
    let cause = "its prepared form has changed since it was checked: nothing may write to it";
    Err(LoadError::Refused { file: files.name.clone(), cause: cause.to_owned() })
}

/// A session from a graph that lies in a folder with its weights.
pub(crate) fn create_in(
    graph: &Path,
    form: Form,
    files: &Files,
    options: &Options,
    runtime: &Runtime,
) -> Result<ort::session::Session, LoadError> {
    committed(
        files,
        || options.builder_of_prepared(runtime, form),
        |mut builder| builder.commit_from_file(graph),
    )
}

/// A session from the model's own files, by a builder.
pub(crate) fn create(
    files: &Files,
    builder: impl Fn() -> ort::Result<SessionBuilder>,
) -> Result<ort::session::Session, LoadError> {
    files.load(|bytes| {
        committed(files, &builder, |mut builder| match bytes {
            Bytes::File(path) => builder.commit_from_file(path),
            Bytes::Memory(bytes) => builder.commit_from_memory(bytes),
        })
    })
}

/// A panic in `commit` is a type that ort does not know and the scan could not see, because ONNX Runtime inferred it. One in `builder` is the
/// host's: of its options, or of an execution provider.
fn committed(
    files: &Files,
    builder: impl FnOnce() -> ort::Result<SessionBuilder>,
    commit: impl FnOnce(SessionBuilder) -> ort::Result<ort::session::Session>,
) -> Result<ort::session::Session, LoadError> {
    let builder = match guarded(builder) {
        Ok(builder) => builder.map_err(|error| error_of(files, &error))?,
        Err(panicked) => {
            let cause = format!("what its sessions are made with panicked: {panicked}");
            return Err(LoadError::Engine { file: files.name.clone(), cause });
        }
    };
    match guarded(|| commit(builder)) {
        Ok(session) => session.map_err(|error| error_of(files, &error)),
        Err(_) => {
            let cause = "the binding to ONNX Runtime panicked over it: a type of its inputs or outputs is not known there";
            Err(LoadError::Refused { file: files.name.clone(), cause: cause.to_owned() })
        }
    }
}

/// ONNX Runtime gives most failures one code, so its words have to tell them apart.
pub(crate) fn error_of(files: &Files, error: &ort::Error) -> LoadError {
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

pub(crate) fn signature_of(files: &Files, session: &ort::session::Session) -> Result<Signature, LoadError> {
    let Scan { shapeless, inputs, outputs, .. } = &files.scan;
    let port = |role: &str, outlet: &ort::value::Outlet, declared: &[(Arc<str>, Option<Kind>)]| {
        let name = outlet.name();
        let declared = || declared.iter().find(|(known, _)| **known == *name)?.1.clone();
        let kind = match kind_of(outlet.dtype()) {
            // A scalar and a tensor without a shape are the same in the words of ONNX Runtime's binding.
            Some(Kind::Tensor { element, .. }) if role == "input" && shapeless.contains(name) => {
                Kind::AnyShape { element }
            }
            Some(kind @ Kind::Sequence(_)) => declared().unwrap_or(kind),
            Some(kind) => kind,
            None if role == "output" => declared().filter(Kind::is_refused).unwrap_or_else(|| {
                let what = match outlet.dtype() {
                    ValueType::Tensor { ty, .. } => format!("a tensor of {ty}"),
                    other => other.to_string(),
                };
                Kind::NotCarried { what }
            }),
            None => {
                let cause = format!("{role} `{name}` is of type {}, which cannot be carried", outlet.dtype());
                return Err(LoadError::Refused { file: files.name.clone(), cause });
            }
        };
        Ok(Port { name: name.into(), kind })
    };
    Ok(signature_with(
        &files.scan,
        session.inputs().iter().map(|outlet| port("input", outlet, inputs)).collect::<Result<_, _>>()?,
        session.outputs().iter().map(|outlet| port("output", outlet, outputs)).collect::<Result<_, _>>()?,
    ))
}

/// Returns what the file itself declares; nothing where it leaves a type to ONNX Runtime.
pub(crate) fn declared(scan: &Scan) -> Option<Signature> {
    let port =
        |(name, kind): &(Arc<str>, Option<Kind>)| Some(Port { name: name.clone(), kind: kind.clone()? });
    let inputs = scan.inputs.iter().filter(|(name, _)| !scan.initializers.contains(&**name));
    let outputs = scan.outputs.iter().map(port).collect::<Option<_>>()?;
    Some(signature_with(scan, inputs.map(port).collect::<Option<_>>()?, outputs))
}

fn signature_with(scan: &Scan, inputs: Vec<Port>, outputs: Vec<Port>) -> Signature {
    let producer = [scan.producer.as_str(), scan.producer_version.as_str()].join(" ");
    Signature {
        inputs,
        outputs,
        labels: scan.labels.clone(),
        ir_version: scan.ir_version,
        opsets: scan.opsets.clone(),
        producer: Some(producer.trim().to_owned()).filter(|producer| !producer.is_empty()),
        metadata: scan.metadata.clone(),
    }
}

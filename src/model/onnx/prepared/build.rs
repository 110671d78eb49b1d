//! Makes a prepared form, and holds it against the plain one.

use std::path::Path;

use super::entry::{GRAPH, WEIGHTS};
use crate::base::causes::in_full;
use crate::model::error::LoadError;
use crate::model::onnx::file::files::Files;
use crate::model::onnx::file::signature::Signature;
use crate::model::onnx::options::Options;
use crate::model::onnx::runtime::runtime::Runtime;
use crate::model::onnx::session::deadline::Watches;
use crate::model::onnx::session::form::Form;
use crate::model::onnx::session::load::{create, create_in, signature_of};
use crate::model::onnx::session::session::{Call, Session};
use crate::model::onnx::tensor::interface::Interface;
use crate::model::onnx::tensor::made_up::{are_close, fractions_for};
use crate::model::onnx::tensor::tensors::Tensors;
use crate::model::opset::Opset;
use crate::model::throttle::LoadThrottle;

/// Why there is no prepared form.
pub(crate) enum Failed {
    /// The model cannot be loaded at all, or is not wanted any more.
    Load(LoadError),
    /// It can, and has no such form.
    Unprepared(String),
}

impl From<LoadError> for Failed {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// The domains whose operators ONNX Runtime brings along. Others come from libraries that a graph does not name.
const OWN_DOMAINS: [&str; 6] = [
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview.training",
    "com.microsoft",
    "com.microsoft.nchwc",
];

/// Why a model cannot take this form, or has nothing to gain by it; nothing where it can.
pub(crate) fn unfit(files: &Files, options: &Options, smallest: u64) -> Option<String> {
    if files.bytes < smallest {
        return Some(format!("its {} bytes load at once anyhow", files.bytes));
    }
    if files.scan.has_subgraph {
        return Some("it has loops or branches, whose weights stay in the graph".to_owned());
    }
    let foreign = files.scan.opsets.iter().find(|opset| !OWN_DOMAINS.contains(&opset.domain.as_str()));
    if let Some(Opset { domain, .. }) = foreign {
        return Some(format!("its operators of `{domain}` come from elsewhere"));
    }
    if !options.execution_providers.is_empty() {
        return Some("its execution providers prepare what they run themselves".to_owned());
    }
    options
        .configure
        .as_ref()
        .map(|(name, _)| format!("its session options `{name}` may change what is prepared"))
}

/// Writes the graph and its weights into a folder, and holds both forms against the plain one.
pub(crate) fn build(
    folder: &Path,
    files: &Files,
    options: &Options,
    runtime: &Runtime,
    throttle: &LoadThrottle,
) -> Result<(), Failed> {
    throttle.step()?;
    let builder = || {
        options
            .builder(runtime)
            .and_then(|builder| Ok(builder.with_optimized_model_path(folder.join(GRAPH))?))
            .and_then(|builder| {
                Ok(builder
                    .with_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)?
                    // Smaller ones are shapes and the like, which the graph is checked with.
                    .with_config_entry(
                        "session.optimized_model_external_initializers_min_size_in_bytes",
                        "1024",
                    )?
                    // From 1.21 on; before, it is ignored, and what is packed is packed in memory.
                    .with_config_entry("session.save_external_prepacked_constant_initializers", "1")?)
            })
    };
    let plain = create(files, builder).map_err(|error| match error {
        // Of the model's files, and not of what is made of them.
        error @ (LoadError::Refused { .. } | LoadError::Read { .. } | LoadError::NotAFile { .. }) => {
            Failed::Load(error)
        }
        error => Failed::Unprepared(in_full(&error)),
    })?;
    let signature = signature_of(files, &plain)?;
    let (input, expected) = match fractions_for(&signature) {
        Some(input) => {
            let answer = answer(plain, &signature, &input);
            (Some(input), answer)
        }
        None => (None, None),
    };
    for form in [Form::Mapped, Form::Packed] {
        throttle.step()?;
        let unprepared = |reason: String| Failed::Unprepared(format!("its {form} form {reason}"));
        let session = create_in(&folder.join(GRAPH), form, files, options, runtime)
            .map_err(|error| unprepared(format!("cannot be loaded: {}", in_full(&error))))?;
        if signature_of(files, &session)? != signature {
            return Err(unprepared("has other inputs or outputs".to_owned()));
        }
        let Some(input) = &input else { continue };
        let is_alike = match (&expected, answer(session, &signature, input)) {
            (Some(expected), Some(found)) => are_close(expected, &found),
            (None, None) => true,
            _ => false,
        };
        if !is_alike {
            return Err(unprepared("answers otherwise".to_owned()));
        }
    }
    Ok(())
}

/// Returns what a session answers; nothing where it fails, as it may on an input that was made up.
fn answer(session: ort::session::Session, signature: &Signature, input: &Tensors) -> Option<Tensors> {
    let interface = Interface::of(signature, None);
    let watches = Watches::new(1).ok()?;
    let mut session = Session::new(session, &interface, false).ok()?;
    let call = Call { interface: &interface, watches: &watches, slot: 0, deadline: None };
    session.answer(&call, |feed| feed.tensors(input), |outputs| outputs.to_tensors()).ok()
}

//! Facts about a model's file and the engine here, known without loading the model.

use semver::Version;

use super::tensor_spec::TensorSpec;
#[cfg(feature = "onnx")]
use super::tensor_spec::of_ports;
use crate::model::opset::Opset;

/// The facts that a model's file states of itself, and what there is here to run it. By default nothing is known, and
/// nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The labels that the file names, in the order of its scores; empty where it names none.
    pub labels: Vec<String>,
    /// The tensors that it takes; nothing where that is not known before it is loaded.
    pub inputs: Option<Vec<TensorSpec>>,
    /// The tensors that it gives; nothing where that is not known before it is loaded.
    pub outputs: Option<Vec<TensorSpec>>,
    /// The operator sets that the file needs, one of each domain.
    pub opsets: Vec<Opset>,
    /// ONNX Runtime here.
    pub runtime: RuntimeFacts,
}

/// The facts that are known of ONNX Runtime here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RuntimeFacts {
    /// It was not asked for: nothing of it is checked.
    #[default]
    NotAsked,
    /// There is none.
    Missing {
        /// Why.
        cause: String,
    },
    /// It is here.
    Here {
        /// Its version, where it tells.
        version: Option<Version>,
        /// The newest operator sets that it runs, one of each domain; those that it does not tell are left out.
        newest_opsets: Vec<Opset>,
    },
}

#[cfg(feature = "onnx")]
impl Facts {
    /// Of a model that need not be loaded. Finds ONNX Runtime, and loads that.
    pub fn of(model: &crate::model::onnx::OnnxModel) -> Self {
        let labels = model.labels().iter().map(ToString::to_string).collect();
        let signature = model.signature();
        Self {
            labels,
            inputs: signature.map(|signature| of_ports(&signature.inputs)),
            outputs: signature.map(|signature| of_ports(&signature.outputs)),
            opsets: model.opsets().to_vec(),
            runtime: RuntimeFacts::of_process(),
        }
    }
}

#[cfg(feature = "onnx")]
impl RuntimeFacts {
    /// Of this process. Finds ONNX Runtime, and loads it.
    pub fn of_process() -> Self {
        match crate::model::onnx::Runtime::get() {
            Err(error) => Self::Missing { cause: error.to_string() },
            Ok(runtime) => {
                let newest = |domain: &str| Some(Opset::new(domain, runtime.newest_opset(domain)?));
                let newest_opsets = ["ai.onnx", "ai.onnx.ml"].into_iter().filter_map(newest).collect();
                Self::Here { version: runtime.version().cloned(), newest_opsets }
            }
        }
    }
}

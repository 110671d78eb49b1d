//! The contract of a version, its needs of its host and its promises: features with their types, units and ranges,
//! labels, the pipeline that it was trained for, and samples that pin its answers.
//!
//! A [`Contract`] is written by whoever trained the model, in the version's manifest. A [`Host`] is the other side of it:
//! what a service can supply, and what it must get back. Where the two do not fit, every [`Mismatch`] is told at once,
//! before anything is loaded.

pub(crate) mod contract;
pub(crate) mod facts;
pub(crate) mod feature;
pub(crate) mod golden;
pub(crate) mod held;
pub(crate) mod host;
pub(crate) mod mismatch;
#[cfg(feature = "onnx")]
pub(crate) mod pipelines;
#[cfg(feature = "onnx")]
pub(crate) mod preflight;
pub(crate) mod problem;
pub(crate) mod reservoir;
pub(crate) mod tensor_spec;
#[cfg(test)]
pub(crate) mod tests;

pub use contract::{Contract, PipelineNeed};

pub use facts::{Facts, RuntimeFacts};
pub use feature::{Feature, FeatureKind};
pub use golden::{GoldenSample, PinnedTensor};
pub use host::Host;
pub use mismatch::{Bounds, IncompatibleError, Mismatch};
#[cfg(feature = "onnx")]
pub use pipelines::{OpenError, Pipelines, RegisterError};
#[cfg(feature = "onnx")]
pub use preflight::preflight::Preflight;
#[cfg(feature = "onnx")]
pub use preflight::{
    Asked, Checked, PreflightError, PreflightFailure, PreflightReport, Timing, WarmUp, WarmUpOutcome,
};
pub use problem::{ContractError, Problem};
pub use reservoir::Reservoir;
pub use tensor_spec::{TensorRole, TensorSpec};

//! ONNX models through ONNX Runtime.
//!
//! An [`OnnxModel`] is a file with options; [`pipeline`](OnnxModel::pipeline) makes it a [`Model`](crate::Model) of the
//! host's own request and answer types. [`Feed`] and [`Outputs`] are what a pipeline's two functions write to and read
//! from; a model without one takes and gives [`Tensors`]. [`Runtime`] is ONNX Runtime itself, found when the first model
//! is loaded.
//!
//! The versions of ort, ndarray and half that appear in signatures here are re-exported: [`ort`], [`ndarray`], [`half`].

pub(crate) mod codec;
pub(crate) mod file;
pub(crate) mod onnx_model;
pub(crate) mod options;
pub(crate) mod pipeline;
pub(crate) mod prepared;
pub(crate) mod runtime;
pub(crate) mod session;
pub(crate) mod tensor;

#[cfg(feature = "repository")]
pub(crate) use codec::Codec;
#[cfg(feature = "repository")]
pub(crate) use file::files::missing_data;
pub use file::signature::{Dimension, Kind, Port, Signature};
pub use onnx_model::OnnxModel;
pub use options::Optimization;
pub use pipeline::Pipeline;
#[cfg(feature = "repository")]
pub(crate) use pipeline::version_of;
pub use prepared::cache::{PreparedCache, PreparedCacheError, PreparedCounts};
pub use runtime::runtime::{Runtime, RuntimeBuilder, RuntimeError, TriedPlace};
pub use session::trace::Trace;
pub use tensor::element::ElementType;
pub use tensor::feed::Feed;
pub use tensor::outputs::{OutputKey, Outputs};
pub use tensor::packed::Packed;
pub use tensor::tensor::{Element, Primitive, Tensor};
pub use tensor::tensors::{Label, Tensors, Value};
pub use {half, ndarray, ort, semver};

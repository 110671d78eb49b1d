//! ONNX models through ONNX Runtime.
//!
//! An [`OnnxModel`] is a file with options; [`pipeline`](OnnxModel::pipeline) makes it a [`Model`](crate::Model) of the
//! host's own request and answer types. [`Feed`] and [`Outputs`] are what a pipeline's two functions write to and read
//! from; a model without one takes and gives [`Tensors`]. [`Runtime`] is ONNX Runtime itself, found when the first model
//! is loaded.
//!
//! The versions of ort, ndarray and half that appear in signatures here are re-exported: [`ort`], [`ndarray`], [`half`].

mod codec;
mod discovery;
mod element;
mod feed;
mod files;
mod interface;
mod load;
mod made_up;
mod onnx_model;
mod opsets;
mod options;
mod outputs;
mod pipeline;
mod pool;
mod prepared;
mod runtime;
mod scan;
mod seats;
mod session;
mod signature;
mod tensors;
mod trace;
mod watch;

pub use element::{Element, ElementType, Primitive};
pub use feed::Feed;
pub use onnx_model::OnnxModel;
pub use options::Optimization;
pub use outputs::{OutputKey, Outputs};
pub use pipeline::Pipeline;
pub use prepared::{PreparedCache, PreparedCacheError, PreparedCounts};
pub use runtime::{Runtime, RuntimeBuilder, RuntimeError};
pub use signature::{Dimension, Kind, Port, Signature};
pub use tensors::{Label, Tensor, Tensors, Value};
pub use trace::Trace;
pub use {half, ndarray, ort};

#[cfg(feature = "repository")]
pub(crate) use {codec::Codec, pipeline::version_of};

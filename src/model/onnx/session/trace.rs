//! One request, watched on its way through a pipeline.

use std::fmt;

use crate::model::error::ModelError;
use crate::model::onnx::tensor::tensors::Tensors;

/// The course of one request: see [`Pipeline::trace`](crate::model::onnx::Pipeline::trace).
///
/// `Debug` shows names, types and shapes, never a value.
#[non_exhaustive]
pub struct Trace<O> {
    /// The tensors that `encode` wrote, in the model's order.
    pub inputs: Tensors,
    /// The tensors that the model gave, in its order.
    pub outputs: Tensors,
    /// The answer that `decode` read from them.
    pub answer: Result<O, ModelError>,
}

impl<O> Trace<O> {
    pub(crate) fn new(inputs: Tensors, outputs: Tensors, answer: Result<O, ModelError>) -> Self {
        Self { inputs, outputs, answer }
    }
}

impl<O> fmt::Debug for Trace<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("answer", &self.answer.as_ref().map(|_| "decoded"))
            .finish()
    }
}

//! ONNX Runtime as the process has it.

pub(crate) mod discovery;
pub(crate) mod opsets;
pub(crate) mod runtime;

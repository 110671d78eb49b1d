//! ONNX Runtime itself: found, opened, tamed.

pub(crate) mod discovery;
pub(crate) mod opsets;
pub(crate) mod runtime;

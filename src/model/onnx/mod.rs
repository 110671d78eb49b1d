//! ONNX models through ONNX Runtime.

/// placeholder
#[derive(Debug, Clone, thiserror::Error)]
#[error("x")]
pub struct RuntimeError;

//! A model's files, read before ONNX Runtime sees them.

pub(crate) mod files;
pub(crate) mod scan;
pub(crate) mod signature;

//! Sessions of ONNX Runtime, and who may run one.

pub(crate) mod deadline;
pub(crate) mod form;
pub(crate) mod load;
pub(crate) mod pool;
pub(crate) mod seats;
pub(crate) mod session;
pub(crate) mod trace;

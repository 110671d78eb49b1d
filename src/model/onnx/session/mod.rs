//! Sessions of ONNX Runtime: made, shared by threads, watched, exchanged.

pub(crate) mod deadline;
pub(crate) mod form;
pub(crate) mod load;
pub(crate) mod pool;
pub(crate) mod seats;
pub(crate) mod session;
pub(crate) mod trace;

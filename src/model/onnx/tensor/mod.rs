//! Tensors on their way into a model and out of it.

pub(crate) mod element;
pub(crate) mod feed;
pub(crate) mod interface;
pub(crate) mod made_up;
pub(crate) mod outputs;
pub(crate) mod packed;
pub(crate) mod tensor;
pub(crate) mod tensors;

//! The prepared form: a model's optimised graph with its weights in a file that is mapped, not read.
//!
//! Loading a model of 118 MB as downloaded takes half a second and 121 MB for each session. ONNX Runtime can write what it
//! makes of a model, the graph as it will run and the weights as its kernels want them, and load that again: with the
//! packed weights in 0.2 s, mapped without packing in a millisecond, and for next to no memory of the process's own, since
//! the weights stay the file's. An entry of the cache holds one such form and serves both.
//!
//! An entry is a folder named by all that it depends on ([`Key`]); it holds the graph, the weights, and a record of both
//! with their digests. It is made aside, held against the plain form on a made-up input, synced, and renamed into place, so
//! what is there is whole or it is nobody's; and it is read whole, byte for byte against its record, before it is used for
//! the first time in a process. What does not agree with its record is removed and made again.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod entry;
pub(crate) mod key;

pub(crate) use entry::Entry;

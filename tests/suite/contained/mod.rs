//! What the crate keeps quiet about: code, values, files and bounds that are not its own.

mod bounds;
mod clocks;
#[cfg(all(
    feature = "onnx",
    feature = "repository",
    feature = "state",
    feature = "drift",
    feature = "config",
    feature = "oip",
    feature = "fleet",
    feature = "admin",
    feature = "signatures"
))]
mod corpus;
mod files;
mod hanging;
mod host;

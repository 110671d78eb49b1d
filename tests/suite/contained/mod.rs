//! What the crate keeps quiet about: code, values, files and bounds that are not its own.

mod bounds;
mod clocks;
mod files;
mod hanging;
mod host;

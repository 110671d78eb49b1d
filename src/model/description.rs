//! The description of a model, for people.

use serde::{Deserialize, Serialize};

/// What a model says of itself, for people and for `status()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// Name and version of the feature pipeline.
    pub pipeline: Option<String>,
    /// Inputs, one line each: name, element type, shape with symbolic dimensions.
    pub inputs: Vec<String>,
    /// Outputs, likewise.
    pub outputs: Vec<String>,
    /// Producer, operator sets and the file's own metadata, as key and value.
    pub metadata: Vec<(String, String)>,
    /// Size of the model's files, in bytes; 0 where it has none.
    pub file_bytes: u64,
    /// Sessions in the pool; 0 for a model without one.
    pub sessions: usize,
    /// Whether it was loaded from its prepared form.
    pub prepared: bool,
    /// Why it has no prepared form, where it was to have one.
    pub unprepared: Option<String>,
}

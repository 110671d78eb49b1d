//! The description of a model, for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::text::bounded_text;

/// The description that a model gives of itself, for people and for `status()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// Name and version of the feature pipeline.
    pub pipeline: Option<String>,
    /// Inputs, one line each: name, element type, shape with symbolic dimensions.
    pub inputs: Vec<String>,
    /// Outputs, likewise.
    pub outputs: Vec<String>,
    /// Producer, operator sets and the file's own metadata, by key.
    pub metadata: BTreeMap<String, String>,
    /// Size of the model's files, in bytes; 0 where it has none.
    pub file_bytes: u64,
    /// Sessions in the pool; 0 for a model without one.
    pub sessions: usize,
    /// Whether it was loaded from its prepared form.
    pub prepared: bool,
    /// Why it has no prepared form, where it was to have one.
    pub unprepared: Option<String>,
}

/// Lines of a list that are kept of what a model says of itself.
const LINES_MAX: usize = 1_024;

impl Description {
    /// The same, cut to what is kept: it stands in `status()` for as long as the version is loaded.
    pub(crate) fn bounded(mut self) -> Self {
        let Self { pipeline, inputs, outputs, metadata, unprepared, .. } = &mut self;
        inputs.truncate(LINES_MAX);
        outputs.truncate(LINES_MAX);
        let lists = inputs.iter_mut().chain(outputs);
        for text in lists.chain(pipeline).chain(unprepared) {
            *text = bounded_text(std::mem::take(text));
        }
        let kept = std::mem::take(metadata).into_iter().take(LINES_MAX);
        *metadata = kept.map(|(key, value)| (bounded_text(key), bounded_text(value))).collect();
        self
    }
}

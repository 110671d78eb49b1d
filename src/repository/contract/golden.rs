//! Samples that pin what a version makes of a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An answer that is pinned: what a request becomes, and what the model makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GoldenSample {
    /// The name that errors give it.
    pub name: String,
    /// The host's request, as the host reads it.
    pub request: Value,
    /// The tensors that the pipeline makes of it, by input; nothing is pinned of an input that is not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, PinnedTensor>,
    /// The tensors that the model answers, by output; nothing is pinned of an output that is not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, PinnedTensor>,
    /// How far a value `v` may be from a pinned one, `tolerance + tolerance * |v|`: 1e-4 by default, for what two
    /// processors make of the same sums.
    #[serde(default = "tolerance")]
    pub tolerance: f64,
}

fn tolerance() -> f64 {
    1e-4
}

/// A tensor, as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PinnedTensor {
    /// The type of its elements: `f32`, `i64`, `string`.
    #[serde(rename = "type")]
    pub element: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order: numbers, strings, booleans, and `"nan"`, `"inf"`, `"-inf"` of numbers that JSON
    /// has not.
    pub values: Vec<Value>,
}

impl GoldenSample {
    /// A sample that pins nothing yet.
    pub fn new(name: impl Into<String>, request: Value) -> Self {
        let (inputs, outputs) = (BTreeMap::new(), BTreeMap::new());
        Self { name: name.into(), request, inputs, outputs, tolerance: tolerance() }
    }

    /// Pins what `encode` writes for an input.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, tensor: PinnedTensor) -> Self {
        self.inputs.insert(name.into(), tensor);
        self
    }

    /// Pins what the model gives as an output.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, tensor: PinnedTensor) -> Self {
        self.outputs.insert(name.into(), tensor);
        self
    }

    /// With this tolerance in place of 1e-4.
    #[must_use]
    pub fn within(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }
}

impl PinnedTensor {
    /// A tensor of these elements, in row-major order.
    pub fn new(
        element: impl Into<String>,
        shape: impl IntoIterator<Item = usize>,
        values: impl IntoIterator<Item = Value>,
    ) -> Self {
        Self {
            element: element.into(),
            shape: shape.into_iter().collect(),
            values: values.into_iter().collect(),
        }
    }
}

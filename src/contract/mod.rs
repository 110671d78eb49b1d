//! What a version needs of its host and what it promises: features with their types, units and ranges, labels, the
//! pipeline that it was trained for, and samples that pin its answers.
//!
//! A [`Contract`] is written by whoever trained the model, in the version's manifest. What the host can supply, and what
//! it must get back, is the other side of it.

use std::collections::BTreeMap;

use semver::VersionReq;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a version needs, and what it gives.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Contract {
    /// The features that its pipeline reads of a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// The labels of a classifier, in the order of its scores; empty where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The pipeline that makes tensors of requests, and answers of tensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineNeed>,
    /// The oldest ONNX Runtime that will do, `1.17`; any where it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<VersionReq>,
}

/// One feature: what a version reads of a request, or what a host can supply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: FeatureKind,
    /// The unit of a number: `min`, `EUR`. Compared as it is written; nothing is converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The values of a category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// How many values it has: 1, unless it is a vector.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub length: usize,
    /// Whether a request may leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(length: &usize) -> bool {
    *length == 1
}

/// What the values of a feature are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FeatureKind {
    /// Numbers.
    Number,
    /// Whole numbers.
    Integer,
    /// Yes or no.
    Boolean,
    /// One of a set of strings.
    Category,
    /// Any string.
    Text,
    /// A moment.
    Time,
}

/// The pipeline that a version was trained for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PipelineNeed {
    /// Its name.
    pub name: String,
    /// Which of its versions will do, as Cargo writes it: `2.1` is 2.1.0 or later, below 3.
    pub version: VersionReq,
}

/// An answer that is pinned: what a request becomes, and what the model makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GoldenSample {
    /// What errors call it.
    pub name: String,
    /// The host's request, as the host reads it.
    pub request: Value,
    /// The tensors that the pipeline makes of it, by input; nothing is pinned of an input that is not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, PinnedTensor>,
    /// The tensors that the model answers, by output; nothing is pinned of an output that is not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, PinnedTensor>,
    /// How far a value `v` may be from a pinned one, `tolerance + tolerance * |v|`: 1e-4 unless told, for what two
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

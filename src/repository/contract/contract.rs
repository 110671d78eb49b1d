//! The contract of a version with the service that runs it.

use semver::VersionReq;
use serde::{Deserialize, Serialize};

use super::feature::Feature;
use super::problem::{ContractError, Problem, repeated};
use super::tensor_spec::{self, TensorSpec};

/// The needs of a version, and what it gives.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Contract {
    /// The features that its pipeline reads of a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// The tensors that its model takes, all of them: held against its file, and against what the pipeline writes. Empty
    /// where they are not told, as in manifests from before there were any; then nothing is compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<TensorSpec>,
    /// The tensors that its model gives and that somebody reads. Empty where they are not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<TensorSpec>,
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

impl Contract {
    /// One that needs nothing and promises nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// And this feature.
    #[must_use]
    pub fn feature(mut self, feature: Feature) -> Self {
        self.features.push(feature);
        self
    }

    /// And this tensor, which its model takes.
    #[must_use]
    pub fn input(mut self, tensor: TensorSpec) -> Self {
        self.inputs.push(tensor);
        self
    }

    /// And this tensor, which its model gives.
    #[must_use]
    pub fn output(mut self, tensor: TensorSpec) -> Self {
        self.outputs.push(tensor);
        self
    }

    /// With these labels, in the order of the scores.
    #[must_use]
    pub fn labels<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// With this pipeline.
    #[must_use]
    pub fn pipeline(mut self, name: impl Into<String>, version: VersionReq) -> Self {
        self.pipeline = Some(PipelineNeed { name: name.into(), version });
        self
    }

    /// With such a version of ONNX Runtime: `1.20` is 1.20.0 or later.
    #[must_use]
    pub fn runtime(mut self, version: VersionReq) -> Self {
        self.runtime = Some(version);
        self
    }

    /// Whether it contradicts itself: nothing could fit such a contract, or anything.
    ///
    /// # Errors
    ///
    /// [`ContractError`] with everything that is wrong with it.
    pub fn validate(&self) -> Result<(), ContractError> {
        ContractError::unless_none(self.problems())
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = super::feature::problems(&self.features);
        problems.extend(tensor_spec::problems(&self.inputs, &self.outputs));
        problems.extend(repeated(&self.labels).map(|label| Problem::LabelRepeated { label }));
        if self.pipeline.as_ref().is_some_and(|need| need.name.trim().is_empty()) {
            problems.push(Problem::PipelineUnnamed);
        }
        problems
    }
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

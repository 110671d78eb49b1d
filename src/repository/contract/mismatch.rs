//! The mismatches that keep a version from running in a host.

use std::fmt;

use semver::{Version, VersionReq};
use serde::Serialize;
use thiserror::Error;

use super::feature::FeatureKind;
use super::problem::Problem;
use super::tensor_spec::TensorRole;
use crate::base::causes::debug_as_told;
use crate::base::text::quoted;

/// One thing that a version needs and its host lacks, or that the host needs and the version lacks.
#[derive(Clone, PartialEq, Error, Serialize)]
#[serde(tag = "mismatch", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mismatch {
    /// The contract contradicts itself.
    #[error("the version's contract is wrong: {problem}")]
    Contract {
        /// How.
        problem: Problem,
    },
    /// The host's description of itself makes no sense.
    #[error("what the host declares is wrong: {problem}")]
    Host {
        /// Why.
        problem: Problem,
    },
    /// The host has no such feature.
    #[error(
        "feature `{feature}` is needed and the host does not supply it: supply it, or take a version without it"
    )]
    FeatureMissing {
        /// The feature.
        feature: String,
    },
    /// The host's values are of another type.
    #[error(
        "feature `{feature}` must be of type {needed} and the host supplies {supplied}: supply what it was trained with"
    )]
    FeatureKind {
        /// The feature.
        feature: String,
        /// The kind that the version reads.
        needed: FeatureKind,
        /// The kind that the host has.
        supplied: FeatureKind,
    },
    /// The host's numbers are in another unit.
    #[error(
        "feature `{feature}` must be in `{needed}` and the host supplies it {}: convert it, or declare its unit",
        .supplied.as_ref().map_or_else(|| "without a unit".to_owned(), |unit| format!("in `{unit}`"))
    )]
    FeatureUnit {
        /// The feature.
        feature: String,
        /// The version's unit.
        needed: String,
        /// The host's; nothing where it declares none.
        supplied: Option<String>,
    },
    /// The host may supply values on which the version was not trained.
    #[error(
        "feature `{feature}` must be {needed} and the host may supply {supplied}: clip it and declare the narrower range, \
         or take a version trained on the wider one"
    )]
    FeatureRange {
        /// The feature.
        feature: String,
        /// The bounds that the version was trained on.
        needed: Bounds,
        /// The bounds of what the host may supply.
        supplied: Bounds,
    },
    /// The host may supply categories that the version does not know.
    #[error(
        "feature `{feature}` may be {} and the version knows no such category: map it to one that is known, or take a \
         version trained with it",
        quoted(.unknown)
    )]
    FeatureCategories {
        /// The feature.
        feature: String,
        /// The categories.
        unknown: Vec<String>,
    },
    /// The host does not say which categories it may supply, and the version knows some only.
    #[error(
        "feature `{feature}` may be any string for all the host says, and the version knows {} only: declare the host's \
         categories",
        quoted(.known)
    )]
    FeatureCategoriesOpen {
        /// The feature.
        feature: String,
        /// The categories that the version knows.
        known: Vec<String>,
    },
    /// A vector has another number of values.
    #[error("feature `{feature}` must have {needed} values and the host supplies {supplied}")]
    FeatureLength {
        /// The feature.
        feature: String,
        /// How many the version reads.
        needed: usize,
        /// How many the host has.
        supplied: usize,
    },
    /// Requests may leave the feature out, and the version cannot do without.
    #[error(
        "feature `{feature}` is needed in every request and the host may leave it out: fill it, or take a version that can do without"
    )]
    FeatureOptional {
        /// The feature.
        feature: String,
    },
    /// The model's file lacks a tensor that its contract or the pipeline counts on.
    #[error(
        "{by} has the {role} `{tensor}` and the model's file does not: it has {}; publish the file that it is for, or \
         correct what is declared",
        quoted(.has)
    )]
    TensorMissing {
        /// Who counts on it: `the contract`, or a pipeline.
        by: String,
        /// Whether it goes in or comes out.
        role: TensorRole,
        /// The tensor.
        tensor: String,
        /// The tensors that the file has on that side.
        has: Vec<String>,
    },
    /// The model takes a tensor that nobody writes.
    #[error(
        "the model's file takes `{tensor}` and {by} does not have it: publish the file that it is for, or correct what is \
         declared"
    )]
    TensorUnfed {
        /// Who should write it: `the contract`, or a pipeline.
        by: String,
        /// The tensor, with its type and shape.
        tensor: String,
    },
    /// A tensor has elements of another type.
    #[error(
        "{by} has the {role} `{tensor}` of {needed} and the model's file has it of {has}: export the model with {needed}, or \
         give it a pipeline of its own"
    )]
    TensorElements {
        /// Who counts on it: `the contract`, or a pipeline.
        by: String,
        /// Whether it goes in or comes out.
        role: TensorRole,
        /// The tensor.
        tensor: String,
        /// The type that is counted on.
        needed: String,
        /// The type that the file has.
        has: String,
    },
    /// A tensor has another shape.
    #[error("{by} has the {role} {needed} and the model's file {has}: correct one of the two")]
    TensorShape {
        /// Who counts on it: `the contract`, or a pipeline.
        by: String,
        /// Whether it goes in or comes out.
        role: TensorRole,
        /// The tensor with its type and the shape that is counted on.
        needed: String,
        /// The tensor as the file has it.
        has: String,
    },
    /// The host needs labels, and neither contract nor file names any.
    #[error("the host expects the labels {} and the version names none: write them into its contract", quoted(.needed))]
    LabelsUnnamed {
        /// The labels that the host expects.
        needed: Vec<String>,
    },
    /// The version never gives some of the labels that the host expects.
    #[error("the host expects the labels {} and the version does not give them", quoted(.labels))]
    LabelsMissing {
        /// Those labels.
        labels: Vec<String>,
    },
    /// The version gives labels that the host does not expect.
    #[error("the version gives the labels {} and the host does not expect them", quoted(.labels))]
    LabelsUnexpected {
        /// Those labels.
        labels: Vec<String>,
    },
    /// The labels are the same, in another order: scores would be read as those of another label.
    #[error("the labels are expected in the order {} and the version gives them in the order {}", quoted(.needed), quoted(.given))]
    LabelsReordered {
        /// The host's order.
        needed: Vec<String>,
        /// The version's.
        given: Vec<String>,
    },
    /// The file names other labels than the contract, or the same in another order: one of the two is not of this model.
    #[error("the contract has the labels {} and the model's file {}: mend the contract, or publish the file that it is for", quoted(.contract), quoted(.file))]
    LabelsOfFile {
        /// The contract's.
        contract: Vec<String>,
        /// The file's.
        file: Vec<String>,
    },
    /// The contract names no pipeline, and the host has no default.
    #[error("the contract names no pipeline: name one of {}, or say which is the default", quoted(.registered))]
    PipelineUnnamed {
        /// The names that the host has.
        registered: Vec<String>,
    },
    /// The host has no pipeline of this name.
    #[error("pipeline `{pipeline}` is not registered: register it, or take a version for {}", quoted(.registered))]
    PipelineUnknown {
        /// The name.
        pipeline: String,
        /// The names that the host has.
        registered: Vec<String>,
    },
    /// The host has the pipeline in other versions only.
    #[error("pipeline `{pipeline}` is needed as {needed} and registered as {}: register a version that fits", quoted(.registered))]
    PipelineVersion {
        /// The name.
        pipeline: String,
        /// The versions that would do.
        needed: VersionReq,
        /// The versions that there are, oldest first.
        registered: Vec<Version>,
    },
    /// There is no ONNX Runtime that could run it.
    #[error("there is no ONNX Runtime: {cause}")]
    RuntimeMissing {
        /// Why.
        cause: String,
    },
    /// The version asks for some ONNX Runtime, and the one that is here does not tell what it is.
    #[error(
        "ONNX Runtime {needed} is needed and the host's own environment does not tell its version: let the library be \
         loaded by path, or leave the need out"
    )]
    RuntimeUnknown {
        /// The versions that would do.
        needed: VersionReq,
    },
    /// ONNX Runtime is too old, or another than the contract allows.
    #[error(
        "ONNX Runtime {needed} is needed and {found} is here: run `pip install --upgrade onnxruntime`, or set ORT_DYLIB_PATH"
    )]
    RuntimeVersion {
        /// The versions that would do.
        needed: VersionReq,
        /// The version that is here.
        found: Version,
    },
    /// The file needs operators that came after this ONNX Runtime.
    #[error(
        "the file needs version {needed} of the operator set `{domain}` and this ONNX Runtime knows {newest} at most: take \
         a newer one, or export the model for {newest}"
    )]
    Opset {
        /// The operator set.
        domain: String,
        /// Its version.
        needed: i64,
        /// The newest that is known here.
        newest: i64,
    },
}

debug_as_told!(Mismatch);

/// The least and the largest value; nothing where there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs, reason = "bounds are two")]
pub struct Bounds {
    /// The smallest value.
    pub minimum: Option<f64>,
    /// The largest value.
    pub maximum: Option<f64>,
}

/// `from 0 to 1`, `0 or more`, `1 at most`, `any number`
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.minimum, self.maximum) {
            (Some(minimum), Some(maximum)) => write!(f, "from {minimum} to {maximum}"),
            (Some(minimum), None) => write!(f, "{minimum} or more"),
            (None, Some(maximum)) => write!(f, "{maximum} at most"),
            (None, None) => f.write_str("any number"),
        }
    }
}

impl Bounds {
    /// Whether everything within `other` is within these. A NaN is within nothing.
    pub(crate) fn hold(&self, other: Bounds) -> bool {
        let below = self.minimum.is_none_or(|own| other.minimum.is_some_and(|other| other >= own));
        let above = self.maximum.is_none_or(|own| other.maximum.is_some_and(|other| other <= own));
        below && above
    }
}

/// A version and a host that do not fit, with every reason, one a line.
#[derive(Clone, PartialEq, Error, Serialize)]
#[serde(transparent)]
#[error("version and host do not fit:{}", .mismatches.iter().map(|mismatch| format!("\n- {mismatch}")).collect::<String>())]
pub struct IncompatibleError {
    mismatches: Vec<Mismatch>,
}

debug_as_told!(IncompatibleError);

impl IncompatibleError {
    /// Of one or more.
    #[cfg(feature = "onnx")]
    pub(crate) fn of(mismatches: impl IntoIterator<Item = Mismatch>) -> Self {
        Self { mismatches: mismatches.into_iter().collect() }
    }

    /// The error of these; none where there are none.
    ///
    /// # Errors
    ///
    /// Itself, where there is one or more.
    pub fn unless_none(mismatches: Vec<Mismatch>) -> Result<(), Self> {
        if mismatches.is_empty() { Ok(()) } else { Err(Self { mismatches }) }
    }

    /// Returns what does not fit: one thing or more.
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_what_lies_within_them() {
        let bounds = |minimum, maximum| Bounds { minimum, maximum };
        let unit = bounds(Some(0.0), Some(1.0));
        assert!(unit.hold(unit) && unit.hold(bounds(Some(0.5), Some(0.5))));
        assert!(bounds(None, None).hold(bounds(None, None)));
        for wider in [
            bounds(None, Some(1.0)),
            bounds(Some(0.0), None),
            bounds(Some(-0.1), Some(1.0)),
            bounds(None, None),
        ] {
            assert!(!unit.hold(wider), "{wider}");
        }
        assert!(!unit.hold(bounds(Some(f64::NAN), Some(1.0))));
        assert!(!bounds(Some(f64::NAN), None).hold(unit));
    }

    #[test]
    fn an_error_lists_every_mismatch_on_a_line_of_its_own() {
        let missing = |feature: &str| Mismatch::FeatureMissing { feature: feature.to_owned() };
        let error = IncompatibleError::unless_none(vec![missing("a"), missing("b")]).unwrap_err();
        assert_eq!(error.to_string().lines().count(), 3);
        assert!(error.to_string().contains("\n- feature `b` is needed"));
        assert_eq!(error.mismatches().len(), 2);
        assert!(IncompatibleError::unless_none(Vec::new()).is_ok());
    }
}

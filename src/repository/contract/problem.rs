//! Contracts that contradict themselves.

use crate::base::causes::debug_as_told;
use crate::base::ordered::OrderedSet;
use serde::Serialize;
use thiserror::Error;

/// One thing that is wrong with a contract on its own, or with what a host says of itself.
#[derive(Clone, PartialEq, Error, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// A feature without a name.
    #[error("feature number {index} has no name: give it one")]
    FeatureUnnamed {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// Two features of one name.
    #[error("feature `{feature}` is declared twice: remove one")]
    FeatureRepeated {
        /// The name.
        feature: String,
    },
    /// Bounds of what is no number.
    #[error("feature `{feature}` has a range but is not a number: remove the range, or make it a number")]
    RangeOfNoNumber {
        /// The feature.
        feature: String,
    },
    /// No value lies within the bounds.
    #[error(
        "feature `{feature}` has the range {minimum} to {maximum}, in which nothing lies: mend the bounds"
    )]
    RangeEmpty {
        /// The feature.
        feature: String,
        /// Its lower bound.
        minimum: f64,
        /// Its upper bound.
        maximum: f64,
    },
    /// Categories of what is no category.
    #[error("feature `{feature}` has categories but is not a category: remove them, or make it a category")]
    CategoriesOfNoCategory {
        /// The feature.
        feature: String,
    },
    /// A category without a value.
    #[error("feature `{feature}` has an empty list of categories: name them, or leave the list out for any")]
    CategoriesEmpty {
        /// The feature.
        feature: String,
    },
    /// A category twice.
    #[error("feature `{feature}` has the category `{category}` twice: remove one")]
    CategoryRepeated {
        /// The feature.
        feature: String,
        /// The category.
        category: String,
    },
    /// A vector of no values.
    #[error("feature `{feature}` has no values: its length must be 1 or more")]
    LengthZero {
        /// The feature.
        feature: String,
    },
    /// A tensor twice on one side.
    #[error("tensor `{tensor}` is declared twice: remove one")]
    TensorRepeated {
        /// The tensor.
        tensor: String,
    },
    /// A label twice.
    #[error("label `{label}` is listed twice: remove one")]
    LabelRepeated {
        /// The label.
        label: String,
    },
    /// A pipeline without a name.
    #[error("the pipeline has no name: give it one, or leave it out")]
    PipelineUnnamed,
}

debug_as_told!(Problem);

/// A contract that contradicts itself, with everything that is wrong with it, one a line.
#[derive(Clone, PartialEq, Error)]
#[error("the contract contradicts itself:{}", .problems.iter().map(|problem| format!("\n- {problem}")).collect::<String>())]
pub struct ContractError {
    problems: Vec<Problem>,
}

debug_as_told!(ContractError);

impl ContractError {
    pub(crate) fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// Returns the problems: one or more.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// Returns what stands in a list more than once.
pub(crate) fn repeated(list: &[String]) -> impl Iterator<Item = String> {
    let (mut seen, mut repeated) = (OrderedSet::new(), OrderedSet::new());
    for item in list {
        if !seen.insert(item) {
            repeated.insert(item.clone());
        }
    }
    repeated.into_iter()
}

//! Features, as a version needs them and as a host supplies them.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::problem::{Problem, repeated};
use crate::base::ordered::OrderedSet;

/// One feature: what a version reads of a request, or what a host can supply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// The kind of its values.
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

/// The kind of a feature's values.
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

impl Feature {
    pub(crate) fn of(name: impl Into<String>, kind: FeatureKind) -> Self {
        let name = name.into();
        let (unit, minimum, maximum, categories) = (None, None, None, None);
        Self { name, kind, unit, minimum, maximum, categories, length: 1, optional: false }
    }

    /// A number.
    ///
    /// ```
    /// use switchback::repository::contract::Feature;
    ///
    /// let delay = Feature::number("delay").unit("min").range(-30.0..=600.0);
    /// let carrier = Feature::category("carrier", ["UA", "DL"]).optional();
    /// let embedding = Feature::number("embedding").vector(384);
    /// ```
    pub fn number(name: impl Into<String>) -> Self {
        Self::of(name, FeatureKind::Number)
    }

    /// A whole number. A version that needs a number takes it too.
    pub fn integer(name: impl Into<String>) -> Self {
        Self::of(name, FeatureKind::Integer)
    }

    /// Yes or no.
    pub fn boolean(name: impl Into<String>) -> Self {
        Self::of(name, FeatureKind::Boolean)
    }

    /// One of these strings. A version that needs a text takes it too.
    pub fn category<C: Into<String>>(
        name: impl Into<String>,
        categories: impl IntoIterator<Item = C>,
    ) -> Self {
        let categories = Some(categories.into_iter().map(Into::into).collect());
        Self { categories, ..Self::of(name, FeatureKind::Category) }
    }

    /// Any string.
    pub fn text(name: impl Into<String>) -> Self {
        Self::of(name, FeatureKind::Text)
    }

    /// A moment.
    pub fn time(name: impl Into<String>) -> Self {
        Self::of(name, FeatureKind::Time)
    }

    /// In this unit.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// Within these bounds, both included. An infinite one is none.
    #[must_use]
    pub fn range(mut self, bounds: RangeInclusive<f64>) -> Self {
        let bound = |bound: f64| Some(bound).filter(|bound| !bound.is_infinite());
        (self.minimum, self.maximum) = (bound(*bounds.start()), bound(*bounds.end()));
        self
    }

    /// Of so many values.
    #[must_use]
    pub fn vector(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    /// May be left out of a request.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let feature = || self.name.clone();
        let mut problems = Vec::new();
        let bounds = [self.minimum, self.maximum];
        if bounds.iter().any(Option::is_some) && !self.kind.is_numeric() {
            problems.push(Problem::RangeOfNoNumber { feature: feature() });
        }
        let (minimum, maximum) =
            (self.minimum.unwrap_or(f64::NEG_INFINITY), self.maximum.unwrap_or(f64::INFINITY));
        // Not `minimum > maximum`: a NaN is no bound either.
        if minimum.partial_cmp(&maximum).is_none_or(std::cmp::Ordering::is_gt) {
            problems.push(Problem::RangeEmpty { feature: feature(), minimum, maximum });
        }
        if let Some(categories) = &self.categories {
            if self.kind != FeatureKind::Category {
                problems.push(Problem::CategoriesOfNoCategory { feature: feature() });
            }
            if categories.is_empty() {
                problems.push(Problem::CategoriesEmpty { feature: feature() });
            }
            let repeated = repeated(categories);
            problems
                .extend(repeated.map(|category| Problem::CategoryRepeated { feature: feature(), category }));
        }
        if self.length == 0 {
            problems.push(Problem::LengthZero { feature: feature() });
        }
        problems.into_iter()
    }
}

/// Returns what is wrong with a list of features.
pub(crate) fn problems(features: &[Feature]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = OrderedSet::new();
    for (index, feature) in features.iter().enumerate() {
        if feature.name.trim().is_empty() {
            problems.push(Problem::FeatureUnnamed { index });
        } else if !names.insert(&feature.name) {
            problems.push(Problem::FeatureRepeated { feature: feature.name.clone() });
        }
        problems.extend(feature.problems());
    }
    problems
}

impl FeatureKind {
    /// Whether its values are numbers: those have units and ranges.
    pub(crate) fn is_numeric(self) -> bool {
        matches!(self, Self::Number | Self::Integer)
    }

    /// Whether every value of this kind is one of `needed`.
    pub(crate) fn serves(self, needed: Self) -> bool {
        self == needed
            || matches!((self, needed), (Self::Integer, Self::Number) | (Self::Category, Self::Text))
    }
}

/// `number`, `category`: as a manifest writes it.
impl fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::Text => "text",
            Self::Time => "time",
        })
    }
}

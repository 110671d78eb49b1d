//! Arguments that make no sense.

use std::fmt::Display;

/// An argument of a [`Task`](crate::Task) or a [`Kpi`](crate::Kpi) that makes no sense. Its message names the argument, its
/// value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{argument} is {value}: give {allowed}")]
pub struct InvalidTask {
    argument: String,
    value: String,
    allowed: String,
}

impl InvalidTask {
    pub(crate) fn new(argument: impl Into<String>, value: impl Display, allowed: impl Into<String>) -> Self {
        Self { argument: argument.into(), value: value.to_string(), allowed: allowed.into() }
    }
}

//! An option with a value that makes no sense.

use std::fmt::Display;

use thiserror::Error;

/// An option was given a value that it cannot have. Nothing was built, and nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{option} is {value}: it must be {allowed}")]
pub struct InvalidOption {
    /// The option, with its group: `labels.exploration`.
    pub option: &'static str,
    /// The value it was given.
    pub value: String,
    /// What it may be.
    pub allowed: &'static str,
}

impl InvalidOption {
    /// Refuses `value` unless it is `valid`.
    pub(crate) fn unless(
        valid: bool,
        option: &'static str,
        value: impl Display,
        allowed: &'static str,
    ) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self { option, value: value.to_string(), allowed }) }
    }
}

/// Serde for a group whose derived code is `remote = "Self"`: what is read is checked as `build` checks it.
macro_rules! checked_when_read {
    ($group:ident) => {
        impl serde::Serialize for $group {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $group {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let group = Self::deserialize(deserializer)?;
                group.check().map_err(serde::de::Error::custom)?;
                Ok(group)
            }
        }
    };
}
pub(crate) use checked_when_read;

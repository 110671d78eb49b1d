//! The error of an argument that makes no sense.

use crate::base::causes::debug_as_told;
use std::borrow::Cow;
use std::fmt::Display;

use thiserror::Error;

/// An argument has a value that it cannot have. Nothing was built, and nothing has changed.
///
/// Nothing is clamped or left out instead: where a number makes no sense, only whoever gave it knows what was meant.
///
/// ```
/// use switchback::Task;
///
/// let refused = Task::classes(1, |class: &u16| (*class, 1.0)).unwrap_err();
/// assert_eq!(refused.to_string(), "the number of classes is 1: it must be 2 to 65536");
/// ```
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{argument} is {value}: it must be {allowed}")]
#[non_exhaustive]
pub struct ArgumentError {
    /// Which argument: of an option with its group, `labels.exploration`.
    pub argument: Cow<'static, str>,
    /// The value that it was given.
    pub value: String,
    /// The values that it may have.
    pub allowed: Cow<'static, str>,
}

debug_as_told!(ArgumentError);

impl ArgumentError {
    pub(crate) fn new(
        argument: impl Into<Cow<'static, str>>,
        value: impl Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { argument: argument.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// Refuses `value` unless it is `valid`.
    pub(crate) fn unless(
        valid: bool,
        argument: impl Into<Cow<'static, str>>,
        value: impl Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self::new(argument, value, allowed)) }
    }
}

/// Serde for a group whose derived code is `remote = "Self"`: what is read is no list, and is checked as what is said; or is not, where
/// any values will do.
macro_rules! checked_when_read {
    ($group:ident) => {
        $crate::base::invalid::checked_when_read!($group, Self::check);
    };
    ($group:ident, any values) => {
        $crate::base::invalid::checked_when_read!(
            $group,
            |_| Ok::<(), $crate::base::invalid::ArgumentError>(())
        );
    };
    ($group:ident, $check:expr) => {
        impl serde::Serialize for $group {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $group {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let group = Self::deserialize($crate::base::objects::Objects(deserializer))?;
                ($check)(&group).map_err(serde::de::Error::custom)?;
                Ok(group)
            }
        }
    };
}
pub(crate) use checked_when_read;

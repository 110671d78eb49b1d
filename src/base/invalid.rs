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

/// Serde for a group, of which the form is written here: what is read is no list, and is checked as what is said; or is not, where
/// any values will do. The form is seen by nobody, so there is one way to read a group, and it checks.
macro_rules! checked_when_read {
    ($(#[$on:meta])* $group:ident { $($fields:tt)* }) => {
        $crate::base::invalid::checked_when_read! { $(#[$on])* $group { $($fields)* } Self::check }
    };
    ($(#[$on:meta])* $group:ident { $($fields:tt)* } any values) => {
        $crate::base::invalid::checked_when_read! {
            $(#[$on])* $group { $($fields)* } |_| Ok::<(), $crate::base::invalid::ArgumentError>(())
        }
    };
    ($(#[$on:meta])* $group:ident { $($fields:tt)* } $check:expr) => {
        const _: () = {
            type Group = $group;

            impl serde::Serialize for Group {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    #[derive(serde::Serialize)]
                    #[serde(remote = "Group")]
                    $(#[$on])*
                    struct $group { $($fields)* }
                    $group::serialize(self, serializer)
                }
            }

            impl<'de> serde::Deserialize<'de> for Group {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    #[derive(serde::Deserialize)]
                    // The defaults are those of the group: the form has none.
                    #[serde(remote = "Group", bound(deserialize = ""), expecting = "an object")]
                    $(#[$on])*
                    struct $group { $($fields)* }
                    let group = $group::deserialize($crate::base::objects::Objects(deserializer))?;
                    ($check)(&group).map_err(serde::de::Error::custom)?;
                    Ok(group)
                }
            }
        };
    };
}
pub(crate) use checked_when_read;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Halves {
        first: u8,
        second: u8,
    }

    checked_when_read! {
        #[serde(default, deny_unknown_fields)]
        Halves {
            #[serde(rename = "one")]
            first: u8,
            second: u8,
        }
    }

    impl Default for Halves {
        fn default() -> Self {
            Self { first: 1, second: 1 }
        }
    }

    impl Halves {
        fn check(&self) -> Result<(), ArgumentError> {
            ArgumentError::unless(self.first == self.second, "the second half", self.second, "like the first")
        }
    }

    /// A function of the type itself of the same name would be called instead, and check nothing.
    #[test]
    fn what_is_read_by_the_name_of_its_type_is_checked_too() {
        let read = |text: &str| Halves::deserialize(&mut serde_json::Deserializer::from_str(text));
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(read(r#"{"one": 2, "second": 2}"#).unwrap(), Halves { first: 2, second: 2 });
        assert_eq!(serde_json::to_string(&Halves::default()).unwrap(), r#"{"one":1,"second":1}"#);
        assert!(error(r#"{"one": 2}"#).contains("the second half is 1: it must be like the first"));
        assert!(error("[2, 2]").contains("a list stands where an object belongs"));
        assert!(error(r#"{"first": 1}"#).contains("unknown field"));
        assert!(error("3").contains("expected an object"));
    }
}

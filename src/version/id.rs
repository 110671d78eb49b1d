//! The name of a version.

use crate::base::causes::debug_as_told;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The name of a version: `"v2"`, `"2026-11-23.1"`.
///
/// A plain `Copy` value, so that every answer can carry it without touching a shared counter. Whatever asks for the name of a version
/// takes one, or any text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VersionId {
    len: u8,
    bytes: [u8; VersionId::LEN_MAX],
}

impl VersionId {
    /// The longest name, in bytes.
    pub const LEN_MAX: usize = 47;

    /// The version called `name`.
    ///
    /// # Errors
    ///
    /// A name is 1 to 47 bytes long and has no control character and no `/` or `\`.
    pub fn new(name: &str) -> Result<Self, VersionIdError> {
        let refused = |cause| Err(VersionIdError { name: name.chars().take(64).collect(), cause });
        if name.is_empty() {
            return refused("it is empty");
        }
        if name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
            return refused("it has a control character or a path separator");
        }
        let mut bytes = [0; Self::LEN_MAX];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(name.as_bytes());
                Ok(Self { len, bytes })
            }
            _ => refused("it is longer than 47 bytes"),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        // Made from a `&str`, whole; nothing changes it afterwards.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Hash for VersionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for VersionId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VersionId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // As strings compare, without looking whether they are.
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialEq<&str> for VersionId {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<str> for VersionId {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<VersionId> for &str {
    fn eq(&self, other: &VersionId) -> bool {
        *self == other.as_str()
    }
}

impl PartialEq<VersionId> for str {
    fn eq(&self, other: &VersionId) -> bool {
        self == other.as_str()
    }
}

impl AsRef<str> for VersionId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Equal, ordered and hashed as its name is.
impl Borrow<str> for VersionId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<VersionId> for String {
    fn from(version: VersionId) -> Self {
        version.as_str().into()
    }
}

impl TryFrom<&str> for VersionId {
    type Error = VersionIdError;
    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl TryFrom<String> for VersionId {
    type Error = VersionIdError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl FromStr for VersionId {
    type Err = VersionIdError;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl Serialize for VersionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for VersionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A string that cannot name a version.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("`{}` cannot name a version: {cause}", .name.escape_debug())]
pub struct VersionIdError {
    name: String,
    cause: &'static str,
}

debug_as_told!(VersionIdError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_whole_or_refused() {
        let longest = "é".repeat(23) + "x";
        assert_eq!(VersionId::new(&longest).unwrap().as_str(), longest);
        for bad in ["", "a/b", "a\nb", "..\\x", &"x".repeat(48)] {
            assert!(VersionId::new(bad).is_err(), "{bad:?}");
        }
        assert!(VersionId::new("a").unwrap() < VersionId::new("b").unwrap());
        assert_eq!(format!("[{:>4}]", VersionId::new("v2").unwrap()), "[  v2]");
    }

    #[test]
    fn a_name_is_text_both_ways() {
        let v2 = VersionId::try_from("v2").unwrap();
        assert_eq!(VersionId::try_from(String::from("v2")), Ok(v2));
        assert!(VersionId::try_from("a/b").is_err());
        assert_eq!((String::from(v2).as_str(), v2.as_ref()), ("v2", "v2"));
        assert_eq!(v2, "v2");
        assert_eq!("v2", v2);
        assert_eq!([v2 == *"v2", *"v2" == v2], [true, true]);
        let by_name = std::collections::HashMap::from([(v2, 2)]);
        assert_eq!(by_name.get("v2"), Some(&2));
        assert_eq!(std::collections::BTreeMap::from([(v2, 2)]).get("v2"), Some(&2));
    }
}

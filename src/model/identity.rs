//! Tells whether two versions are the same.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::base::invalid::ArgumentError;
use crate::base::text;

/// The identity of a version: a SHA-256 over the digest of the files, the pipeline's name and version, and the options
/// that change answers. Two versions of equal identity answer alike, whatever they are called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

impl Identity {
    /// The identity of the given named parts. Order matters; each part is framed by its lengths, so that no two lists
    /// of parts run into each other.
    pub fn of<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut hash = Sha256::new();
        for (name, value) in parts {
            for field in [name.as_bytes(), value] {
                hash.update((field.len() as u64).to_le_bytes());
                hash.update(field);
            }
        }
        Self(hash.finalize().into())
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::hex(&self.0))
    }
}

/// The first 12 hexadecimal digits.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text::hex(&self.0).get(..12).unwrap_or_default())
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written: 64 hexadecimal digits, those that are letters small.
///
/// ```
/// use switchback::model::Identity;
///
/// let identity = Identity::of([("rule", b"amount above 1000".as_slice())]);
/// assert_eq!(identity.to_string().parse(), Ok(identity));
/// let refused = "4f2a".parse::<Identity>().unwrap_err();
/// assert_eq!(refused.to_string(), "the identity is `4f2a`: it must be 64 hexadecimal digits");
/// ```
impl FromStr for Identity {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        let told = || format!("`{}`", text::bounded(text));
        text::digest(text)
            .map(Self)
            .ok_or_else(|| ArgumentError::new("the identity", told(), "64 hexadecimal digits"))
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

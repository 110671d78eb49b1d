//! A version: a model with its pipeline under a name, and what becomes of it after its last use.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::clock::Timestamp;
use crate::drill::Drilled;
use crate::model::{Description, Identity, Memory, Model, Tier, Wanted};
use crate::sync::is_only_owner;

/// The name of a version: `"v2"`, `"2026-11-23.1"`.
///
/// A plain `Copy` value, so that every answer can carry it without touching a shared counter.
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
    pub fn new(name: &str) -> Result<Self, InvalidVersionId> {
        let refused = |cause| Err(InvalidVersionId { name: name.chars().take(64).collect(), cause });
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

impl FromStr for VersionId {
    type Err = InvalidVersionId;
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
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` cannot name a version: {cause}", .name.escape_debug())]
pub struct InvalidVersionId {
    name: String,
    cause: &'static str,
}

/// One loaded model with what is known of it. Shared by the routing table, pins and the control side. What it answers never
/// changes; how ready it is does, and is known apart.
pub(crate) struct Version<I: ?Sized, O> {
    pub(crate) id: VersionId,
    pub(crate) identity: Identity,
    pub(crate) description: Description,
    pub(crate) model: Box<dyn Model<I, O>>,
    /// How ready it is to be. Set under the control lock.
    pub(crate) wanted: Wanted,
    readiness: Mutex<Readiness>,
}

/// How ready a version is, as far as is known.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    pub(crate) tier: Tier,
    /// It has tiers to go to without being loaded anew.
    pub(crate) is_prepared: bool,
    pub(crate) memory: Option<Memory>,
    weighed_at: Option<Timestamp>,
    pub(crate) drilled: Option<Drilled>,
}

impl<I: ?Sized, O> Version<I, O> {
    /// A version that is loaded.
    pub(crate) fn new(
        id: VersionId,
        identity: Identity,
        description: Description,
        model: Box<dyn Model<I, O>>,
    ) -> Self {
        let is_prepared = description.prepared;
        let readiness =
            Readiness { tier: Tier::Hot, is_prepared, memory: None, weighed_at: None, drilled: None };
        let (wanted, readiness) = (Wanted::new(Tier::Hot), Mutex::new(readiness));
        Self { id, identity, description, model, wanted, readiness }
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.lock().clone()
    }

    pub(crate) fn is_cold(&self) -> bool {
        // Wanted cold: it may be on its way there.
        self.wanted.tier() == Tier::Cold || self.readiness.lock().tier == Tier::Cold
    }

    /// Notes the tier it is in; the one it was in.
    pub(crate) fn set_tier(&self, tier: Tier) -> Tier {
        std::mem::replace(&mut self.readiness.lock().tier, tier)
    }

    pub(crate) fn weighed_at(&self) -> Option<Timestamp> {
        self.readiness.lock().weighed_at
    }

    pub(crate) fn set_memory(&self, memory: Option<Memory>, now: Timestamp) {
        let mut readiness = self.readiness.lock();
        (readiness.memory, readiness.weighed_at) = (memory, Some(now));
    }

    /// What it takes of memory is to be measured again.
    pub(crate) fn forget_weight(&self) {
        self.readiness.lock().weighed_at = None;
    }

    /// Notes a drill; the one before.
    pub(crate) fn set_drilled(&self, mut drilled: Drilled) -> Option<Drilled> {
        let mut readiness = self.readiness.lock();
        if let Some(before) = &readiness.drilled {
            drilled.took_in_all += before.took_in_all;
        }
        readiness.drilled.replace(drilled)
    }
}

/// Versions that take no traffic any more and wait for their last borrower.
///
/// Each is owned here by one `Arc` beside those of the tables, pins and shadow requests that still hold it, so theirs is
/// never the last one, and dropping it on a request thread frees no model. A version is freed when ours is the only one
/// left: nobody can make a second from it, since no `Weak<Version>` exists and the list is only reached under the
/// control lock.
pub(crate) struct Retired<I: ?Sized, O>(Vec<Arc<Version<I, O>>>);

impl<I: ?Sized, O> Default for Retired<I, O> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<I: ?Sized, O> Retired<I, O> {
    /// Hands a version over to be freed when its last borrower is gone.
    pub(crate) fn push(&mut self, version: Arc<Version<I, O>>) {
        self.0.push(version);
    }

    /// Takes out the versions that nobody borrows any more. The caller drops them after it has let go of the lock:
    /// dropping a model is an engine's code and can take milliseconds.
    #[must_use]
    pub(crate) fn take_unborrowed(&mut self) -> Vec<Arc<Version<I, O>>> {
        self.0.extract_if(.., |version| is_only_owner(version)).collect()
    }

    /// The versions that still wait.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Version<I, O>>> {
        self.0.iter()
    }
}

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
}

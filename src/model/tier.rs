//! The tiers of readiness that a model can be in, and the memory that it takes.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How ready a version is to answer. A retained version steps down by itself, and one that is gone back to steps up again:
/// see [`Tiers`](crate::options::Tiers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tier {
    /// On disk. What is in memory is what is known of it. It is woken before it is asked: some milliseconds where it has a
    /// prepared form, a load where it has none.
    Cold,
    /// Answers at once, with weights that the system may drop from memory and read again, and more slowly for large
    /// batches.
    Warm,
    /// Answers as fast as it can.
    Hot,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Hot => "hot",
        })
    }
}

/// The part of the process's memory that a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes that nobody else has: how much the process's anonymous memory grew while its sessions were made. Requests that
    /// were answered meanwhile are in it, so it is near rather than exact.
    pub private_bytes: u64,
    /// The same, with what is in memory of files that it has mapped. The system may drop those pages at any time; what other
    /// processes map too is divided among them.
    pub resident_bytes: u64,
}

impl Memory {
    /// So many bytes of its own, and none of files.
    ///
    /// ```
    /// use switchback::versions::Memory;
    ///
    /// let memory = Memory::private(100 << 20).mapped(7 << 20);
    /// assert_eq!((memory.private_bytes >> 20, memory.resident_bytes >> 20), (100, 107));
    /// ```
    pub fn private(bytes: u64) -> Self {
        Self { private_bytes: bytes, resident_bytes: bytes }
    }

    /// And so many of files that it has mapped.
    #[must_use]
    pub fn mapped(self, bytes: u64) -> Self {
        Self { resident_bytes: self.private_bytes.saturating_add(bytes), ..self }
    }
}

/// Answers of a model that may be wrong, since something that they came from was changed underneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Doubt {
    /// How long until now nobody knows what it answered with: since it was last found to be as it was.
    pub lasted: Duration,
    /// The change that was seen.
    pub reason: String,
}

impl Doubt {
    /// Answers of so long may be wrong, for a reason.
    pub fn new(lasted: Duration, reason: impl Into<String>) -> Self {
        Self { lasted, reason: reason.into() }
    }
}

/// The tier that a version is wanted in. It changes at any time: whoever [settles](crate::versions::Lifecycle::settle) a model reads it again
/// before anything is taken away.
#[derive(Debug)]
pub struct TargetTier(AtomicU8);

impl TargetTier {
    /// A version that is wanted in this tier.
    pub fn new(tier: Tier) -> Self {
        Self(AtomicU8::new(tier as u8))
    }

    /// Returns the tier that is wanted now.
    pub fn tier(&self) -> Tier {
        // Acquire, with the release in `set`: whoever reads it under a lock that the setter takes later sees it anyhow.
        match self.0.load(Ordering::Acquire) {
            0 => Tier::Cold,
            1 => Tier::Warm,
            _ => Tier::Hot,
        }
    }

    /// Wants another tier from now on.
    pub fn set(&self, tier: Tier) {
        // Release: what was done before it was wanted is seen by whoever finds it wanted.
        self.0.store(tier as u8, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_what_was_set_last() {
        let wanted = TargetTier::new(Tier::Hot);
        for tier in [Tier::Cold, Tier::Warm, Tier::Hot] {
            wanted.set(tier);
            assert_eq!(wanted.tier(), tier);
        }
        assert!(Tier::Cold < Tier::Warm && Tier::Warm < Tier::Hot);
    }
}

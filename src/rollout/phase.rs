//! Where an attempt to replace live stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an attempt to replace live stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Loaded, checked and warm; no traffic.
    Staged,
    /// Answers copies of requests; its answers are thrown away.
    Shadow,
    /// Answers a share of the requests.
    Canary,
    /// Live, and watched.
    Baking,
    /// Live, and no longer watched. The attempt is over.
    Promoted,
    /// Taken off before it was live. The attempt is over.
    Aborted,
    /// Taken back after it was live. The attempt is over.
    RolledBack,
}

impl Phase {
    /// Its name, as it is written in JSON and in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Baking => "baking",
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Whether the attempt is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::Aborted | Self::RolledBack)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RolledBack => "rolled back",
            phase => phase.name(),
        })
    }
}

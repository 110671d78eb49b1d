//! The activity of a version: said where it does not come to an end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The activity of a version, said where that does not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activity {
    /// It is opened: the host's own code, or files that are read and hashed.
    #[default]
    Opening,
    /// It is loaded.
    Loading,
    /// It answers its golden samples, or what is asked before it is staged.
    Preflight,
    /// It answers the host's [sample](crate::options::Inputs::sample).
    Sample,
    /// It is warmed up with an input that is made up.
    WarmingUp,
    /// It answers inputs that live was asked lately, before it is staged.
    RecentInputs,
    /// It answers a copy of a request.
    Copy,
    /// It answers a request, as a candidate.
    Request,
    /// It is woken.
    Waking,
    /// It goes to another tier, replaces what it lost, or says what it takes of memory.
    Upkeep,
    /// It answers inputs that live was asked lately, as a retained version.
    Drill,
    /// Nobody uses it any more, and its destructor runs.
    Freeing,
}

/// Says what it is doing, as the end of a sentence.
impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opening => "being opened",
            Self::Loading => "being loaded",
            Self::Preflight => "in its preflight",
            Self::Sample => "answering the sample",
            Self::WarmingUp => "being warmed up",
            Self::RecentInputs => "answering what live was asked lately",
            Self::Copy => "answering a copy of a request",
            Self::Request => "answering a request",
            Self::Waking => "being woken",
            Self::Upkeep => "in its upkeep",
            Self::Drill => "in its drill",
            Self::Freeing => "being freed",
        })
    }
}

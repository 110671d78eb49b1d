//! The drift that an event tells of. Here without the feature `drift` too: an event reads the same whatever a build can
//! watch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The aspects of a feature that can drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// How the values are distributed that are there. Of categories, those that few rows have are taken together with
    /// those that training never had.
    Distribution,
    /// The share of rows that lack it.
    Missing,
    /// The share of rows with a category that training never had, or a text where it had numbers.
    Unseen,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Distribution => "distribution",
            Self::Missing => "missing",
            Self::Unseen => "unseen",
        })
    }
}

/// Whose doing a drift is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriftScope {
    /// Nobody's here: what comes in has changed, or what live says of it has. It says nothing against a candidate.
    World,
    /// The candidate's: its answers have drifted from live's over the same traffic, and live's have not drifted.
    Candidate,
}

/// The baseline of a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Baseline {
    /// The data that the profile was made of, which the handle was built with: a version that became live since may have been trained on others.
    Training,
    /// The same hour of other days.
    Season,
    /// Live's answers in the first full window that began with it as live.
    LivesBeginning,
    /// Live's answers over the same time.
    Live,
}

impl Baseline {
    /// Its name, as it is written in JSON and in metrics.
    #[cfg_attr(not(feature = "drift"), expect(dead_code, reason = "for figures of a drift that is watched"))]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Season => "season",
            Self::LivesBeginning => "lives_beginning",
            Self::Live => "live",
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "from training",
            Self::Season => "from the same hour of other days",
            Self::LivesBeginning => "from what live said at first",
            Self::Live => "from live",
        })
    }
}

/// A feature, or an answer, that has drifted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftedFeature {
    /// Its name; `score` and `prediction` of an answer.
    pub feature: String,
    /// The aspect of it that has drifted.
    pub what: What,
    /// How large the drift is: see `DriftRow::effect`.
    pub effect: f64,
}

impl fmt::Display for DriftedFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Distribution => f.write_str(&self.feature),
            what => write!(f, "{} ({what})", self.feature),
        }
    }
}

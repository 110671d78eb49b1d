//! Sequential tests: evidence that may be looked at after every observation.
//!
//! A test with a fixed number of samples in mind is wrong more often than it says as soon as somebody looks twice, and a
//! rollout is looked at all the time. The tests here are *anytime-valid*: under the hypothesis, the e-value of a test
//! **ever** reaches `1/alpha` with a probability of at most `alpha`. So one may peek at every observation, stop when it
//! pleases, and go on after having stopped.
//!
//! All are mixtures over a fixed grid of bets (or of likelihood ratios), which has a consequence that is worth more than
//! the last percent of power: **the state of a test is a handful of integer counts**. The order of observations does not
//! matter, threads and processes merge by addition, and whoever has the counts can recompute the decision, bit for bit, on
//! another machine. Logarithms of factors are held in fixed point and rounded down, so rounding never adds evidence.
//!
//! # Which test
//!
//! | what is compared | counted as | test |
//! |---|---|---|
//! | events on the same inputs, in percentage points | [`PairedEvents`] | [`PairedDifference`] ([`mcnemar`] without a margin) |
//! | events on the same inputs, by a factor | [`PairedEvents`] | [`PairedRatio`] |
//! | losses on the same inputs | [`Scores`] of differences | [`PairedScores`] |
//! | the same, where some answers hide the truth | [`HiddenEvents`] | [`PairedHidden`] |
//! | events in two arms, by a factor | [`ByOdds`] of [`Events`] | [`RateRatio`] |
//! | events in two arms, in percentage points | [`ByOdds`] of [`Events`] | [`RateDifference`] |
//! | means in two arms, absolute | [`ByOdds`] of [`Scores`] | [`MeanDifference`] |
//! | means without bounds | [`ByOdds`] of [`Values`] | [`Asymptotic`], in the limit only |
//! | ratios with a denominator of the version's own | [`PairedParts`], [`Parts`] | [`PairedRatioTest`], [`SplitRatioTest`] |
//! | one version against a limit | [`Events`], [`Scores`], [`Parts`] | [`Rate`], [`Mean`], [`RatioLimit`] |
//! | whether traffic was split as told | [`ByOdds`] of [`Events`] | [`SampleRatio`] |
//! | a change, without an end in sight | [`Events`] | [`RateDetector`] |
//!
//! Events and losses are *bad*: errors, wrong answers, slow ones. Each test has two sides, on one margin: [`Claim::Harm`],
//! that the candidate is worse than the margin allows, and [`Claim::NonInferiority`], that it is not. Neither being shown
//! means that there is not enough to tell.
//!
//! [`Blocks`] adds a mixture over the moment at which a harm began; [`e_bh`] and [`eliminate`] deal with several tests at
//! once; [`EValue`]s of tests that have anything to do with each other are combined by their mean.
//!
//! # What none of them can do
//!
//! See what is not counted. Repeat a unit and call it two: **count what was randomised**, a request where requests were
//! split, a user where users were. Choose the margin after looking.

mod asymptotic;
mod bets;
mod counts;
mod detector;
mod e_value;
mod interval;
mod many;
mod mcnemar;
mod mean_difference;
mod onset;
mod paired;
mod rate_ratio;
mod ratio;
mod sample_ratio;
mod single;

use serde::{Deserialize, Serialize};

pub use asymptotic::{Asymptotic, Values};
pub use counts::{Additive, Arms, ByOdds, Events, Odds, PairedEvents, Scores};
pub use detector::{DetectorState, RateDetector};
pub use e_value::EValue;
pub use interval::interval;
pub(crate) use many::e_bh_strength;
pub use many::{e_bh, eliminate};
pub use mcnemar::{mcnemar, rate_interval};
pub use mean_difference::{MeanDifference, RateDifference};
pub use onset::{Block, Blocks};
pub use paired::{HiddenEvents, PairedDifference, PairedHidden, PairedRatio, PairedScores};
pub use rate_ratio::RateRatio;
pub use ratio::{PairedParts, PairedRatioTest, Part, Parts, RatioLimit, RatioMargin, SplitRatioTest};
pub use sample_ratio::{SampleRatio, mismatch};
pub use single::{Mean, Rate};

/// What a test is to show, at its margin. Each side's hypothesis is that the other holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The candidate is worse than the margin allows.
    Harm,
    /// The candidate is within the margin.
    NonInferiority,
}

impl Claim {
    /// 1 where more of what is counted speaks for the claim, -1 where less does.
    pub(crate) fn sign(self) -> f64 {
        match self {
            Self::Harm => 1.0,
            Self::NonInferiority => -1.0,
        }
    }
}

/// A test of one claim at one margin: a function from counts to evidence.
pub trait SequentialTest {
    /// What it looks at.
    type Counts: Additive;

    /// The evidence for the claim. The same counts, the same bits, on any machine.
    fn e_value(&self, counts: &Self::Counts) -> EValue;
}

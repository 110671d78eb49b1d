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
//! | events on the same inputs, in percentage points | [`PairedEvents`] | [`PairedDifference`] |
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
//! | whether truths come alike for both arms | [`ByOdds`] of [`Events`] | [`coverage_mismatch`] |
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

pub(crate) mod allowed;
pub(crate) mod asymptotic;
pub(crate) mod bets;
pub(crate) mod counts;
pub(crate) mod coverage;
pub(crate) mod detector;
pub(crate) mod e_value;
pub(crate) mod in_arms;
#[cfg(feature = "fleet")]
pub(crate) mod in_time;
pub(crate) mod interval;
pub(crate) mod many;
pub(crate) mod mean_difference;
pub(crate) mod onset;
pub(crate) mod paired;
pub(crate) mod rate_interval;
pub(crate) mod rate_ratio;
pub(crate) mod ratio;
pub(crate) mod sample_ratio;
pub(crate) mod single;
pub(crate) mod test;

pub use test::{Claim, SequentialTest};

pub use asymptotic::{Asymptotic, Values};
pub use counts::{Additive, Arms, ByOdds, Events, Odds, PairedEvents, Scores};
pub use coverage::coverage_mismatch;
pub use detector::{DetectorState, RateDetector};
pub use e_value::EValue;
pub(crate) use interval::not_excluded;
pub use interval::{Interval, interval};
pub(crate) use many::{beaten, e_bh_strength, rejected};
pub use many::{e_bh, eliminate};
pub use mean_difference::{MeanDifference, RateDifference};
pub use onset::{Block, Blocks};
pub use paired::{HiddenEvents, PairedDifference, PairedHidden, PairedRatio, PairedScores};
pub(crate) use rate_interval::holding;
pub use rate_interval::rate_interval;
pub use rate_ratio::RateRatio;
pub use ratio::{PairedParts, PairedRatioTest, Part, Parts, RatioLimit, RatioMargin, SplitRatioTest};
pub use sample_ratio::SampleRatio;
pub use single::{Mean, Rate};

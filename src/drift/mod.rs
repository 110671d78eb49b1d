//! Before the truth is known: whether inputs are still what the model was trained on, and how good the model probably is.
//!
//! Mathematics and plain data, of use by themselves: nothing here knows of handles, rollouts or models.
//!
//! - [`ReferenceProfile`]: how the features of training data were distributed, frozen in bins; goes into a manifest.
//! - [`Profile`]: how those of traffic are, counted in the same bins for an addition per feature.
//! - [`compare`]: a [`DriftTable`] of what has drifted, how sure that is ([`Test`], [`Control`]) and how large.
//! - [`WindowedProfile`]: windows by time or count, against training, the window before, or the same hour of other days.
//! - [`estimate`]: accuracy and its like without labels, under covariate shift.
//!
//! # What is counted
//!
//! Everything is a whole number and only ever added, so what threads, slots and processes counted merges in any order
//! into the same. Memory follows from the number of features and bins, not from traffic, values or categories.
//!
//! # What drift is not
//!
//! Not harm. Inputs may drift and the model be as good as ever, and a model may be worse though no input has moved,
//! because the world has. Drift says where to look. And where live has it too, it says nothing against a candidate.
//!
//! # How sure
//!
//! A fixed threshold on a distance is wrong: of windows of 100 rows without any drift, some 40 % have a PSI above 0.1.
//! Tests here know both sample sizes, and a verdict needs both a small p-value and an effect that matters. A p-value is
//! for one look. Whoever compares a window every hour looks 8,760 times a year; for a rate that is watched without an end
//! there is [`RateDetector`](crate::stats::sequential::RateDetector), which says how often it is wrong. Rows are taken to
//! be independent: a thousand rows of one user are not a thousand rows.

// # Design decisions
//
// **Drift is the world's until shown to be the candidate's.** Candidate and live are asked the same, so a difference of what
// they say is the candidate's doing; but only if live has not drifted from what it said in the same first window, and if both
// were asked alike (with few keys they may not be). Both are looked at with half of the distance that the candidate is
// allowed, so in doubt it is the world. Each full window is a look of its own, with `6 / (pi k)^2` of the guard's error for the
// k-th: plain, and no state but a number. Of a user they compare one request; what comes, and what each version says, is all of it, or the
// windows of the world would be those of new users as long as a canary lasts. A product of e-values would see a slow drift sooner, and forget a late one.

pub(crate) mod compare;
pub mod estimate;
pub(crate) mod profile;
pub(crate) mod season;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod told;
pub(crate) mod watch;
pub(crate) mod windowed;

pub use compare::compare::{Control, Options, compare, compare_windows};
pub use compare::distance::Distances;
pub use compare::significance::Test;
pub use compare::table::{DriftRow, DriftTable, DriftVerdict};
pub use profile::builder::{BuildProfileError, ProfileBuilder};
pub use profile::cell::Cell;
pub use profile::cells::Cells;
pub use profile::layout::{BINS_MAX, CATEGORIES_MAX, FEATURES_MAX, NAME_MAX};
pub use profile::profile::{Profile, ProfileMismatchError, WrongCells};
pub use profile::reference::ReferenceProfile;
pub use profile::written::ProfileError;
pub use season::Season;
pub use told::{Baseline, DriftScope, DriftedFeature, What};
pub use watch::{Drift, DriftAlert, DriftStatus, Estimated, OnDrift, RolloutDrift, VersionDrift};
pub use windowed::{WindowSize, WindowedProfile};

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
// **A margin is no equality.** A small p-value says that two versions are not the same, and with enough rows no two are; a large one says that rows were
// too few to tell. So a guard asks twice, as all others do: whether what was seen lies further out than chance puts it at the margin, which takes back, and whether it lies
// nearer in, which lets go on. Alerts of what comes ask for equality and an effect that matters: they take nothing back.
//
// **Drift is the world's until shown to be the candidate's.** Candidate and live are asked the same, so a difference of what
// they say is the candidate's doing; but not where it came with a move of live's, before which the two were alike, and only if both
// were asked alike (with few keys they may not be). What excuses is looked at with half of the distance that the candidate is
// allowed, so in doubt it is the world, and a verdict waits. A difference that was there before live moved is excused by nothing. Held to its own beginning a candidate
// is blamed where it has gone further than live can have: that live shows no drift may be want of rows. Each full window is a look of its own, with `6 / (pi k)^2` of the guard's error for the
// k-th: plain, and no state but a number. It looks at the window and at all of the step's together, by which a small service decides too. Of a user, a batch or a stream they compare
// one request; what comes, and what each version says, is all of it, or the
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

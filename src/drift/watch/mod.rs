//! Drift, as a handle sees it: what requests and answers look like in the windows of its clock, for each version, and
//! whose doing a change is.
//!
//! ```text
//! request, if sampled -> bins of its features and of its answer -> a stripe (try_lock: it never waits) -> an addition each
//! tick -> drain -> windows of all traffic, of each version, of each trial -> a window is full -> tables, alerts
//! ```
//!
//! Nothing of a request is kept but counts. What could not be counted at once is counted as skipped.
//!
//! Windows are not written to disk: after a start they start from nothing, and so does what a trial is compared with.

pub(crate) mod alerts;
pub(crate) mod answers;
pub(crate) mod counted;
pub(crate) mod options;
pub(crate) mod status;
pub(crate) mod stripes;
pub(crate) mod trial;
pub(crate) mod watch;
pub(crate) mod windows;

pub(crate) use alerts::{Told, advice};
pub(crate) use counted::look_alpha;
pub(crate) use options::Features;
pub use options::{Drift, OnDrift};
pub(crate) use status::VALID;
pub use status::{DriftAlert, DriftStatus, Estimated, RolloutDrift, VersionDrift};
pub(crate) use trial::{Fault, Measure, Nearness, Seen};
pub(crate) use windows::{Context, Feed, Part, Running};

//! A page about one rollout, for the people who answer for it and were not there: what was tried, on whom, what was seen,
//! what was decided and why.
//!
//! ```
//! # use switchback::{Clock, ModelHandle, Task, Timestamp, closure, guard};
//! # use switchback::options::Threads;
//! # let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
//! # let handle = ModelHandle::builder("even")
//! #     .live("v1", closure("a@1", |_: &f64| Ok(0.9)))
//! #     .task(Task::binary(|p: &f64| *p)).clock(clock.clone()).seed(7).threads(Threads::manual()).build()?;
//! # handle.stage("v2", closure("b@1", |_: &f64| Ok(0.2)))?.canary(0.5)?;
//! # handle.tick();
//! let report = handle.report("v2").ok_or("no rollout of v2 is remembered")?;
//! let page = report.note("Decided in the meeting of 3 May.").html();
//! assert!(page.starts_with("<!DOCTYPE html>"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`html`](Report::html) is one file that needs no network and no script and can be read on a phone, in the dark and in
//! print; [`markdown`](Report::markdown) is the same for a ticket or a pull request. Both hold figures, names and reasons
//! as the host gave them, escaped, and no request, key or tensor.
//!
//! What a page rests on is kept while a rollout runs, at most 256 points of it, and for the last 32 that ended. It does
//! not survive the process: of a rollout that went on after a start the page begins there, and says so. One that was over by
//! then is told from the journal, where state is kept: what happened and what was decided, without figures. Events come from
//! the handle's [log](crate::options::Limits::events); where that has let go of the first ones, the page says so too.

// # Design decisions
//
// **A page is a document first.** What it says is made once, as plain text in sections, tables and plots; two renderers
// write it, and each escapes every text in one place, so no name can be forgotten. Plots are drawn by some 300 lines of our
// own: a library for them would bring fonts and bitmaps, and size text for one width. The view box is as wide as a phone, so
// that text is no smaller than 11 pixels there.

pub(crate) mod concern;
pub(crate) mod decided;
pub(crate) mod document;
pub(crate) mod drift;
pub(crate) mod escape;
pub(crate) mod gather;
pub(crate) mod headline;
pub(crate) mod html;
#[cfg(feature = "state")]
pub(crate) mod journal;
pub(crate) mod markdown;
pub(crate) mod page;
pub(crate) mod pictures;
pub(crate) mod plot;
pub(crate) mod report;
pub(crate) mod seen;
pub(crate) mod tried;
#[cfg_attr(not(feature = "drift"), path = "watched_absent.rs")]
mod watched;
pub(crate) mod words;

pub use report::{Decided, Report};

pub use crate::rollout::course::{ArmPoint, GuardPoint, Point, Trial, Turn};
pub use drift::{DriftSummary, DriftSummaryRow};
pub use gather::Which;
#[cfg(feature = "state")]
pub use journal::from_journal;

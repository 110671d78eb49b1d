//! For tests of services and of models: a model that misbehaves on cue, a disk that does, and what every model must hold
//! to.
//!
//! The third thing a test needs is a clock to turn by hand: [`Clock::manual`](crate::Clock::manual). With it, with
//! [`seed`](crate::Builder::seed), one [stripe](crate::options::Threads::stripes) and [`manual`](crate::options::Threads::manual) ticks, a
//! test neither sleeps nor depends on chance.
//!
//! ```
//! use std::time::Duration;
//! use switchback::testing::Scripted;
//! use switchback::{Clock, ModelHandle, Route, Timestamp};
//! use switchback::options::Threads;
//!
//! let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
//! let candidate = Scripted::new("twice@2", |x: &f64| x * 2.0).clock(&clock);
//! let script = candidate.control();
//! let handle = ModelHandle::builder("double")
//!     .live("v1", Scripted::new("twice@1", |x: &f64| x + x))
//!     .clock(clock)
//!     .threads(Threads::manual())
//!     .build()?;
//! let rollout = handle.stage("v2", candidate)?;
//! rollout.canary(1.0)?;
//!
//! script.fail_next(1);
//! assert_eq!(handle.predict(&4.0)?.route(), Route::Fallback); // live answered in its place
//! script.stall(Duration::from_millis(30));
//! assert_eq!(handle.predict(&4.0)?.latency(), Duration::from_millis(30)); // and nobody has waited
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod conformance;
pub(crate) mod scripted;

#[cfg(any(feature = "onnx", feature = "repository", feature = "state"))]
pub use crate::base::faults::Faults;
pub use conformance::{ConformanceError, Suite, conformance};
pub use scripted::{Gate, Script, Scripted};

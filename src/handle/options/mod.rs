//! The options of a handle when it is built, in groups: each is a plain value that can be made in any order, compared,
//! cloned, and read with serde.
//!
//! Every field has a default with its reason. A value that makes no sense is refused with the option's name, the value, and what is
//! allowed; nothing is clamped. A group of this module takes what it is told, and [`build`](crate::Builder::build) refuses it
//! together with whatever else is wrong; a part of a group that stands in more than one place ([`Drill`], [`WindowConfig`]) refuses at
//! once, as its `Result` says. Serde refuses both where they are read. Code of the host's cannot be data: [`Inputs`] has what is said of inputs, a
//! [`Task`](crate::Task) what is said of answers, and the [`Builder`](crate::Builder) itself where versions come from.
//!
//! ```
//! use std::time::Duration;
//! use switchback::options::{Labels, Limits, Retention, Shadowing, Threads};
//!
//! let labels = Labels::complete_after(Duration::from_secs(3 * 86_400)).corrections(Duration::from_secs(600));
//! let shadowing = Shadowing::new().queue_bytes(16 << 20);
//! let limits = Limits::new().candidate_deadline(Duration::from_millis(50));
//! let read: Labels = serde_json::from_value(serde_json::to_value(&labels)?)?;
//! assert_eq!(read, labels);
//! # let _ = (shadowing, limits, Retention::new(), Threads::manual());
//! # Ok::<(), serde_json::Error>(())
//! ```

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
#[cfg(feature = "fleet")]
pub(crate) mod fleet;
pub(crate) mod inputs;
pub(crate) mod labels;
pub(crate) mod limits;
pub(crate) mod retention;
pub(crate) mod shadowing;
#[cfg(feature = "state")]
pub(crate) mod state_folder;
pub(crate) mod threads;

#[cfg(feature = "tokio")]
pub use asynchronous::Async;
#[cfg(feature = "fleet")]
pub use fleet::{Fleet, FleetTiming};
pub use inputs::Inputs;
pub use labels::Labels;
pub use limits::Limits;
pub use retention::Retention;
pub use shadowing::Shadowing;
#[cfg(feature = "state")]
pub use state_folder::StateFolder;
pub use threads::Threads;

pub use crate::control::pins::PinPolicy;
pub use crate::rollout::budget::ErrorBudget;
pub use crate::stats::figures::rolling::WindowConfig;
pub use crate::version::drill::Drill;
pub use crate::version::priority::LoadPriority;
pub use crate::version::tiers::Tiers;

#[cfg(feature = "state")]
pub use crate::control::adopt::AfterCrash;

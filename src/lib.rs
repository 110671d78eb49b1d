//! Change the machine-learning model of a running service: try the new version on live traffic, keep figures of each,
//! and be back on the old one with the next request.
//!
//! **It is not** a model server, a registry or a sandbox. A candidate runs in the process of the service: one that
//! crashes in native code takes the service with it, and `panic = "abort"` turns a model's panic into that.
//!
//! # What there is
//!
//! A [`ModelHandle`] is what a service holds: it answers requests with the **live** version and can be cloned into every
//! thread. A **version** is a [`Model`] under a name: an ONNX model with its pipeline (`model::onnx`), a [`closure`],
//! anything that implements the trait. A [`Rollout`] is one attempt to replace live: its candidate is staged (loaded,
//! checked, warm), answers copies of requests as a **shadow**, then a share of them as a **canary**, and is promoted or
//! taken off, by hand or by a [`Plan`] that asks its [guards](guard). An answer carries a [`PredictionId`]; what turns
//! out to be true comes back with it through [`feedback`](ModelHandle::feedback), hours or days later. A [`Task`] says
//! what the predictions are, and so what there is to be measured. A report (`ModelHandle::report`) tells
//! those who were not there.
//!
//! # Before using
//!
//! - **Somebody must tick.** Figures are brought up to date, guards asked and memory freed by
//!   [`tick`](ModelHandle::tick): a thread of the handle's unless the host says that [it does](options::Threads::manual). Without a tick for three intervals a candidate answers nobody.
//! - **Say when labels are complete**, [`Labels::complete_after`](options::Labels::complete_after): those that come early are
//!   not like the others, and guards compare labels of the same age only.
//! - **A guard has an error**, [`ErrorBudget`](options::ErrorBudget): 1 % for taking back a candidate that is within all margins, 5 % for
//!   promoting one that is not, however often one looks. What it cannot see is said where it is made: [`guard`].
//! - **Whoever stages waits** until the model is loaded, by a thread of the handle's; another frees those that nobody uses any more. Do not stage on a request's thread.
//! - **A shadow costs what a request costs**, on another thread. Sample.
//! - **Truth that exists only for what was shown** (clicks) says nothing of a shadow: declare [`Truth::CausedByAnswer`].
//!
//! # Example
//!
//! A rule of thumb is replaced by a better one. (With ONNX models: see `model::onnx` and the README.)
//!
//! ```
//! use switchback::{ModelHandle, Outcome, Plan, Task, closure, guard};
//! use switchback::options::{Labels, Shadowing};
//!
//! let even = ModelHandle::builder("even")
//!     .live("v1", closure("always@1.0", |_: &u64| Ok(0.9)))
//!     .task(Task::binary(|probability: &f64| *probability))
//!     .labels(Labels::at_random())                  // or complete_after: when they are evidence
//!     .shadowing(Shadowing::new())                  // requests may be copied
//!     .build()?;
//!
//! let answer = even.predict(&7)?;                   // answered by v1
//! let id = answer.id().to_string();                 // travels with what it was made for
//!
//! let rollout = even
//!     .stage("v2", closure("modulo@1.0", |n: &u64| Ok(if n % 2 == 0 { 1.0 } else { 0.0 })))?
//!     .guard(guard::error_rate().at_most(0.01))
//!     .guard(guard::accuracy().at_most_below_live(0.02));
//! rollout.run(Plan::ramp([0.01, 0.05, 0.25, 0.5])?)?; // shadow, canary in steps, promote
//!
//! even.feedback(id.parse()?, Outcome::class(0));    // the truth, whenever it is known
//! let done = even.rollback("operator: complaints"); // legal at any time, never refused
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! 1. A request reads the routing table once and is answered by one version whole, model and pipeline.
//! 2. Live is never absent; a version takes traffic only after it was loaded, has answered what it is held against (a sample,
//!    golden samples, inputs that live was asked) where there is any, and was warmed.
//! 3. Lowering exposure is never refused and waits for no guard or subscriber, and for no engine but to wake a version that has gone
//!    cold; automation raises it only under a plan, and not while [frozen](ModelHandle::freeze).
//! 4. A key that is on a canary stays on it while the canary grows.
//! 5. Figures belong to an attempt: nothing of one is counted in the next.
//! 6. Every prediction is counted once, every outcome once, for the version that was assigned: a candidate that failed
//!    and was answered for has failed.
//! 7. A shadow changes no answer and is never waited for.
//! 8. No model is loaded or freed on a request's thread, and none of the host's code runs under a lock.
//! 9. Every queue, table and log has a limit and a counter of what it refused.
//! 10. Requests, keys and tensors appear in no event, status or `Debug`.
//!
//! What is `#[non_exhaustive]` may get more: match variants of errors, events and causes with `..` for their fields, which may get
//! more too.
//!
//! # Features
//!
//! On by default, each only adds:
//!
//! - `onnx`: ONNX models through ONNX Runtime, whose library is found when the program runs.
//! - `repository`: versions in a folder, with manifests.
//! - `state`: a start that remembers.
//! - `drift`: drift of what comes in and of what versions say, its guards, and quality that is estimated without labels.
//! - `forecast`: how long a plan takes to decide, before anything runs, and `Plan::auto`.
//! - `report`: a page about a rollout, for those who were not there.
//!
//! And not by default:
//!
//! - `bucket`: versions pulled from a bucket: S3, Google Cloud Storage, Azure.
//! - `config`: a file that describes a handle and its rollouts, in any format that serde reads.
//! - `cli`: the program `switchback`, for repositories, folders of state, plans, fleets and services.
//! - `admin`: models are operated over HTTP, in the types of the crate `http`.
//! - `oip`: requests and answers of the Open Inference Protocol (KServe V2), read and written.
//! - `prometheus`: figures as Prometheus reads them.
//! - `metrics`: figures in the recorder that the host has installed for release 0.24 of the facade `metrics`; another one has recorders of its own.
//! - `tracing`: events and spans in the host's subscriber.
//! - `tokio`: `predict(..).await` that blocks nobody for long: [`into_async`](ModelHandle#method.into_async).
//! - `testing`: for tests of services and of models.
//! - `signatures`: manifests held against signatures of trusted keys.
//! - `fleet`: one rollout over many processes.
//! - `fleet-bucket`, `fleet-postgres`: stores that a fleet agrees in, in a bucket and in PostgreSQL.
//! - `fleet-postgres-tls`: PostgreSQL over TLS.
//! - `watch`: a repository is looked at as soon as something moves.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![allow(clippy::module_inception, reason = "the main thing of a room stands in the file of the room's name")]

#[cfg(feature = "admin")]
pub mod admin;
mod base;
mod control;
#[cfg_attr(not(feature = "drift"), path = "drift/absent.rs")]
pub mod drift;
pub mod feedback;
#[cfg(feature = "fleet")]
pub mod fleet;
mod handle;
pub mod model;
#[cfg(feature = "oip")]
pub mod oip;
pub mod operator;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "repository")]
pub mod repository;
mod request;
mod rollout;
#[cfg(feature = "state")]
pub mod state;
pub mod stats;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod version;

pub use base::clock::{Clock, Timestamp};
pub use base::invalid::ArgumentError;
pub use base::share::{Share, ShareError};
pub use control::moves::RollbackOutcome;
pub use feedback::{PredictionId, PredictionIdError};
pub use handle::build_error::BuildError;
pub use handle::builder::Builder;
#[cfg(feature = "config")]
pub use handle::config;
pub use handle::handle::{CloseError, ModelHandle, RollbackError};
pub use handle::options;
pub use handle::rollout::{Rollout, RolloutError};
pub use model::closure::closure;
pub use model::model::Model;
pub use request::answer::{Answer, PredictError, Route};
pub use rollout::guard;
pub use rollout::phase::Phase;
pub use rollout::plan::{Plan, Step};
pub use task::kpi::Kpi;
pub use task::outcome::{Censoring, Outcome, Truth};
pub use task::task::Task;
pub use version::id::VersionId;
pub use version::prepare::StageError;

/// Ways to ask that are more than an input: with a key, with a shared input, a batch, a stream that stays with one version.
pub mod requests {
    pub use crate::handle::pinned::{PinError, Pinned, PinnedError};
    pub use crate::handle::request::Request;
}

/// Asked from asynchronous code: [`into_async`](ModelHandle::into_async).
#[cfg(feature = "tokio")]
pub mod asynchronous {
    pub use crate::handle::asynchronous::{AsyncError, AsyncHandle, AsyncStatus};
}

/// The events of a handle: its log, and a queue of what comes.
pub mod events {
    pub use crate::control::event::{Cause, Event, EventKind, Subscription};
    pub use crate::version::load_impact::LoadImpact;
    pub use crate::version::proof::Proof;
}

/// A snapshot of everything: versions, rollouts, figures, counters. And of what a folder of state holds, for whoever has no
/// handle: `look` reads it, and `release` writes there that a quarantine is lifted.
pub mod status {
    #[cfg(feature = "state")]
    pub use crate::control::look::{Look, LookRetained, LookRollout, look};
    #[cfg(feature = "state")]
    pub use crate::control::release::release;
    pub use crate::control::settings::{Quarantined, Unavailable};
    #[cfg(feature = "fleet")]
    pub use crate::handle::fleet::{
        FleetEnds, FleetMember, FleetNotReady, FleetState, FleetStatus, MemberNotReady,
    };
    pub use crate::handle::status::{Readiness, Role, RolloutStatus, Status, VersionStatus};
    pub use crate::handle::supervised::{AbandonedCall, ThreadStatus};
    pub use crate::request::recall::Recall;
    pub use crate::request::shadow::ShadowCounts;
    pub use crate::rollout::budget::ErrorBudgetStatus;
    pub use crate::version::in_flight::InFlight;
}

/// How long a plan takes to decide, before anything runs.
#[cfg(feature = "forecast")]
pub mod forecast {
    pub use crate::rollout::forecast::forecast::{Between, Forecast, GuardForecast, StepForecast};
    pub use crate::rollout::forecast::traffic::{KeysWithin, LatencyPoint, Moments, Traffic};
}

/// Records of decisions, and what other rules would have decided.
pub mod decisions {
    #[cfg(feature = "state")]
    pub use crate::control::look::{recorded, recording};
    pub use crate::rollout::decision::{
        Backtest, BacktestError, BacktestStep, Decision, Recording, ReplayError, replay,
    };
}

/// The parts of a plan, and how traffic is divided among several candidates.
pub mod plan {
    pub use crate::rollout::allocation::{Allocation, AllocationFigure};
    pub use crate::rollout::budget::ErrorBudgetError;
    pub use crate::rollout::plan::{Bake, Exposure, OnInconclusive, PlanError};
    pub use crate::rollout::transition::TransitionError;
}

/// A version's life beside its answers, where it comes from, and how ready it is.
pub mod versions {
    #[cfg(feature = "state")]
    pub use crate::handle::build_error::CannotBeLive;
    #[cfg(all(feature = "onnx", feature = "repository"))]
    pub use crate::handle::follow::{Follow, FollowError, Followed, OnPublish};
    pub use crate::model::activity::Activity;
    pub use crate::model::closure::Closure;
    pub use crate::model::description::Description;
    pub use crate::model::error::ErrorKind;
    pub use crate::model::lifecycle::Lifecycle;
    pub use crate::model::throttle::LoadThrottle;
    pub use crate::model::{Doubt, Memory, TargetTier, Tier};
    pub use crate::version::drill::DrillOutcome;
    pub use crate::version::id::VersionIdError;
    #[cfg(feature = "state")]
    pub use crate::version::source::ModelSource;
}

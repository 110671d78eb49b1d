//! Operating a service's models over HTTP: a page to look at, JSON for machines, and changes for those who may make them.
//!
//! ```
//! use http::{Request, StatusCode};
//! use switchback::admin::{Admin, Bearer};
//! use switchback::operator::Operators;
//! # use switchback::{ModelHandle, closure};
//! # use switchback::options::Threads;
//! # let late = ModelHandle::builder("late").live("v1", closure("half@1", |x: &f64| Ok(x / 2.0))).threads(Threads::manual()).build()?;
//! // Who may change something is said; without that everything can be looked at and nothing changed.
//! let admin = Admin::new(Operators::new([late.operator()])?).changes(Bearer::new("correct horse battery staple")?);
//! let page = admin.respond(Request::get("/late").body(Vec::new())?);
//! assert_eq!(page.status(), StatusCode::OK);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It speaks the types of the crate `http` and opens no port: [`Admin::respond`] is a function from a request to a response, so it
//! fits into whatever the host has; with the feature `tokio`, `Admin::service` is what routers such as axum's take.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | all models: JSON, or a page where `Accept` asks for `text/html`, as browsers do |
//! | `GET /{model}` | its [`Status`](crate::status::Status) as JSON, or a page that renews itself every five seconds |
//! | `GET /{model}/events?after=N&limit=M` | its events, a line of JSON each |
//! | `GET /{model}/decisions` | the records of its decisions |
//! | `GET /{model}/rollouts/{version}` | the [report](crate::report) on the last rollout of a version, as a page that renews itself until the rollout is over or, by `Accept` or with `.md` or `.json` behind it, as Markdown or JSON; with `.html` a page to be kept |
//! | `GET /ready`, `GET /live` | whether callers are to be sent to this process (503 where not); whether it runs |
//! | `GET /metrics` | with the feature `prometheus`, what Prometheus reads: in OpenMetrics where `Accept` names it, in the older text format otherwise |
//! | `POST /{model}/rollback`, `revert_live`, `abort_candidates`, `rollback_to`, `freeze`, `unfreeze`, `drain`, `release` | the method of that name of [`Operator`](crate::operator::Operator) |
//! | `POST /{model}/rollouts/{version}/shadow`, `canary`, `promote`, `pause`, `resume`, `abort` | the same of a rollout |
//!
//! A change has a body of JSON: `{"reason": "complaints"}`, which is required where exposure is lowered or stands still; `"share"`
//! for `shadow` and `canary`, `"version"` for `rollback_to`, `"identity"` for `release`, in full or the 12 digits that are shown of
//! it. `If-Match` with the `ETag` of what was
//! looked at refuses a change that raises exposure (412) where somebody has changed who answers meanwhile; what lowers it
//! ignores that.
//!
//! **Whoever can reach it sees** versions, figures, names of features and segments, reasons that people gave, and the paths of
//! files: nothing of a user, and all the same nothing for the world. A change needs somebody whom [`Admin::changes`] knows, is made
//! in their name and stands so in the log; it is refused from a page of another origin, and no route takes a path, an address or a
//! model: to stage is code.

pub(crate) mod admin;
pub(crate) mod answer;
pub(crate) mod authority;
pub(crate) mod change;
pub(crate) mod path;
#[cfg(feature = "tokio")]
pub(crate) mod service;
pub(crate) mod view;

pub use admin::Admin;
pub use authority::{Actor, Authority, AuthorizationError, Bearer, BearerError};
pub use http;
#[cfg(feature = "tokio")]
pub use service::{AdminBody, AdminService};

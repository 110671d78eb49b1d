//! A file that describes a handle and its rollouts: data alone, in any format that serde reads.
//!
//! What a handle is told in code is told here in the words that people write: times as `"10m"`, shares as `"5 %"`, sizes as
//! `"64 MiB"`, [guards](crate::guard::Stated) as sentences. A file says what is data; closures, models and what reads an input
//! stay in code, and a secret is named by a variable or a file. Nothing of it is clamped, passed over or guessed: each mistake
//! is an error that says where it stands, what was written there, and the nearest that would have been understood.
//!
//! ```
//! use switchback::config::Config;
//! use switchback::{ModelHandle, Task, closure};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/late.toml");
//! # let text = std::fs::read_to_string(folder)?;
//! let config: Config = toml::from_str(&text)?; // examples/late.toml; or YAML, JSON, figment: anything serde
//! assert_eq!(config.name(), "late");
//! assert_eq!(config.guards().len(), 4);
//! assert_eq!(config.plan()?.steps().len(), 3);
//!
//! let late = ModelHandle::builder(config.name())
//!     .configure(&config)?
//!     .task(Task::binary(|probability: &f64| *probability)) // code supplies what is code
//!     .live("v2", closure("rule@1.0", |delay: &f64| Ok(if *delay > 30.0 { 0.9 } else { 0.1 })));
//! // let late = late.build()?;
//! // late.stage("v3", model)?.guards(config.guards()).run(config.plan()?)?;
//!
//! let mistyped = text.replace("canary = \"1 %\"", "canary = 1.5");
//! let error = toml::from_str::<Config>(&mistyped).unwrap_err();
//! assert!(error.to_string().contains("rollout.steps[1].canary: 1.5 is no share: write \"5 %\" or 0.05"));
//! # drop(late);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A file that is changed while the handle runs is given to [`ModelHandle::reconfigure`](crate::ModelHandle::reconfigure), which
//! follows what needs no new evidence and refuses what holds from a start on:
//!
//! ```
//! # use switchback::config::Config;
//! # use switchback::{ModelHandle, Task, closure};
//! # let read = |text: &str| toml::from_str::<Config>(text);
//! # let config = read("name = \"late\"\nretain = { versions = 2 }\n[rollout]\nguards = [\"error rate at most 0.01\"]")?;
//! # let late = ModelHandle::builder(config.name())
//! #     .configure(&config)?
//! #     .live("v2", closure("rule@1.0", |delay: &f64| Ok(*delay / 60.0)))
//! #     .build()?;
//! // after a SIGHUP, or when somebody asks for it
//! let changed: Config = toml::from_str("name = \"late\"\nretain = { versions = 5, hot_for = \"1h\" }")?;
//! let reconfigured = late.reconfigure(&changed)?;
//! assert_eq!(
//!     reconfigured.to_string(),
//!     "the retention is as the file says now; whoever begins rollouts is to have the file's guards and plan, and one that runs keeps its own"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/configuration.md` shows every field, and `schema/config.schema.json` is a JSON Schema for editors.

mod config;
mod error;
mod section;
mod sections;
#[cfg(test)]
mod tests;

pub use config::{Config, Reconfigured, RepositorySource};
pub use error::ConfigError;
#[cfg(feature = "drift")]
pub(crate) use sections::Drift;
pub(crate) use sections::Told;

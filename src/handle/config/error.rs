//! Why a handle cannot be configured.

use crate::base::causes::debug_as_told;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

/// A configuration that was read and cannot be followed here. What is wrong with the file itself is told as it is read, by
/// the error of its format.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is another handle's.
    #[error(
        "the configuration is that of `{config}`, and the handle is called `{handle}`: give the builder `config.name()`, or read the file of `{handle}`"
    )]
    Name {
        /// The name that the builder was given.
        handle: String,
        /// The name that the file gives.
        config: String,
    },
    /// The file asks for what this build lacks.
    #[error("{path}: this build lacks the feature `{feature}`: add it to Cargo.toml, or leave `{path}` out")]
    Feature {
        /// The field.
        path: &'static str,
        /// The feature of this crate.
        feature: &'static str,
    },
    /// The file says how requests are copied, and those of the handle are not.
    #[error(
        "shadow: the requests of this handle are not copied: leave `shadow` out, or let the builder `configure`"
    )]
    NoCopies,
    /// The file says nothing of how a candidate becomes live.
    #[error(
        "rollout: it says no steps: write `steps = [..]`, or `auto` with the time that a rollout may take"
    )]
    NoPlan,
    /// Another file was read while the handle runs, and it differs in what holds from a start on.
    #[error(
        "{}: this holds from a start on: write there what it was, or start the service again",
        .fields.join(", ")
    )]
    NeedsRestart {
        /// The sections, and of `retain` the field.
        fields: Vec<&'static str>,
    },
    /// Another file was read while the handle runs, and it was built without one.
    #[error(
        "`{handle}` was built without a configuration: call `configure` on its builder, or `set_retention` on the handle"
    )]
    NotConfigured {
        /// The name of the handle.
        handle: String,
    },
    /// Another file was read while the handle runs, and a guard of it could never judge here.
    #[error("guard `{name}` can judge nothing here: {reason}")]
    Guard {
        /// The guard.
        name: String,
        /// The obstacle.
        reason: String,
    },
    /// The secret stands in a variable that is not there.
    #[error("secret.env: the variable {variable} is not set, or is no text: set it to 32 hexadecimal digits")]
    Variable {
        /// Its name.
        variable: String,
    },
    /// The secret stands in a file that cannot be read.
    #[error("secret.file: {} cannot be read: {cause}", .file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// The value that stands there is no secret. It is not shown.
    #[error(
        "{path}: what stands in {place} has not 32 hexadecimal digits, 16 bytes: `openssl rand -hex 16` prints such"
    )]
    Secret {
        /// The field.
        path: &'static str,
        /// The variable or the file.
        place: String,
    },
}

debug_as_told!(ConfigError);

//! The answer that a caller gets.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::text::told_by_name;
use crate::feedback::id::{Flags, PredictionId};
use crate::model::error::{InputError, ModelError};
use crate::version::id::VersionId;

/// An answer, and what is known of how it came about.
#[derive(Clone, Copy)]
pub struct Answer<O> {
    pub(crate) output: O,
    pub(crate) id: PredictionId,
    pub(crate) version: VersionId,
    pub(crate) route: Route,
    pub(crate) latency_nanos: u64,
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Route {
    /// The live version.
    Live,
    /// A candidate, on its share of the traffic.
    Canary,
    /// Another version in the place of the one that was assigned, which failed.
    Fallback,
}

impl Route {
    /// Its name, as it is written in JSON.
    const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Canary => "canary",
            Self::Fallback => "fallback",
        }
    }
}

told_by_name!(Route);

impl<O> Answer<O> {
    /// Returns the model's output.
    pub fn output(&self) -> &O {
        &self.output
    }

    /// The output alone.
    pub fn into_output(self) -> O {
        self.output
    }

    /// The same answer with another output, made of this one: its id, version and route stay with it.
    pub fn map<P>(self, output: impl FnOnce(O) -> P) -> Answer<P> {
        let Self { output: own, id, version, route, latency_nanos } = self;
        Answer { output: output(own), id, version, route, latency_nanos }
    }

    /// The prediction's id: hand it to [`feedback`](crate::ModelHandle::feedback) with the outcome, whenever that is
    /// known.
    pub fn id(&self) -> PredictionId {
        self.id
    }

    /// The version whose output this is.
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// Who answered.
    pub fn route(&self) -> Route {
        self.route
    }

    /// Whether this answer would hide its own truth, and is one of the few that are let through at random so that it does
    /// not: do not act on it (do not block the payment), and tell what became of it. See
    /// [`exploration`](crate::options::Labels::exploration).
    pub fn is_explored(&self) -> bool {
        self.id.body.flags.has(Flags::EXPLORED)
    }

    /// Fills in what a span of the host's has declared of `feature_flag.result.variant` (the version), `switchback.route` and
    /// `switchback.prediction_id`, as [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/feature-flags/feature-flags-events/)
    /// names a variant. Costs nothing where the span is off, and a formatted id where it is on.
    ///
    /// ```
    /// use tracing::{field::Empty, info_span};
    /// # let late = switchback::ModelHandle::builder("late").live("v1", switchback::closure("half@1", |x: &f64| Ok(x / 2.0))).build()?;
    /// let span = info_span!("score", feature_flag.key = "late", feature_flag.result.variant = Empty, switchback.route = Empty);
    /// let answer = span.in_scope(|| late.predict(&3.0))?;
    /// answer.record(&span);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "tracing")]
    pub fn record(&self, span: &tracing::Span) {
        if span.is_disabled() {
            return;
        }
        span.record("feature_flag.result.variant", self.version.as_str());
        span.record("switchback.route", self.route.name());
        if span.has_field("switchback.prediction_id") {
            span.record("switchback.prediction_id", self.id.to_string());
        }
    }

    /// How long it took from the call to the answer, a failed attempt before a fallback included.
    pub fn latency(&self) -> Duration {
        Duration::from_nanos(self.latency_nanos)
    }
}

/// Without the output: what a model says of a user is nobody else's.
impl<O> std::fmt::Debug for Answer<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("route", &self.route)
            .field("latency", &self.latency())
            .finish_non_exhaustive()
    }
}

/// Why a request got no answer.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The request itself does not fit; no version is blamed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The live version failed, and no other could answer in its place.
    #[error("version {version} gave no answer: {cause}")]
    Failed {
        /// The version.
        version: VersionId,
        /// The error.
        cause: ModelError,
    },
}

debug_as_told!(PredictError);

impl PredictError {
    pub(crate) fn of(version: VersionId, error: ModelError) -> Self {
        match error {
            ModelError::Input(error) => Self::Input(error),
            cause => Self::Failed { version, cause },
        }
    }
}

//! The checks that a version has to pass before it takes traffic.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::warm_up::WarmUp;
use crate::base::clock::Clock;
use crate::repository::contract::{GoldenSample, PinnedTensor, Reservoir};
use crate::version::input::{Keep, KeptInput, Shared};

/// The checks of a version before it gets any traffic: that its golden samples become the tensors that are pinned and
/// give the outputs that are pinned, that outputs are finite, and that time and memory are within a budget.
///
/// [`Pipeline::checked`](crate::model::onnx::Pipeline::checked) makes it a part of staging; [`run`](Self::run) does the same on its own, such as in a
/// build that publishes versions.
///
/// A golden sample starts at the host's own request. So it pins `encode` as well as the model: a closure that was changed
/// under an unchanged version writes other tensors, and is found here.
///
/// ```
/// use std::time::Duration;
/// use serde_json::json;
/// use switchback::repository::contract::{GoldenSample, PinnedTensor, Preflight};
/// use switchback::model::onnx::{Feed, OnnxModel, Outputs};
/// use switchback::Model;
///
/// let sample = GoldenSample::new("two euros", json!(2.0))
///     .input("x", PinnedTensor::new("f32", [1, 3], [json!(2), json!(0), json!(0)]))
///     .output("y", PinnedTensor::new("f32", [1, 1], [json!(2.5)]));
/// let preflight = Preflight::<f32>::new()
///     .samples(&[sample])
///     .latency_at_most(Duration::from_secs(1))
///     .memory_at_most(1 << 30);
///
/// let model = OnnxModel::from_file("tests/models/affine.onnx")?.pipeline(
///     "amount-only@1.0",
///     |amount: &f32, feed: &mut Feed<'_, '_>| Ok(feed.buffer("x", &[1, 3])?[0] = *amount),
///     |outputs: &Outputs<'_>| outputs.scalar::<f32>("y"),
/// );
/// let model = model.checked(preflight); // what a handle is given to stage
/// model.load()?;
/// assert_eq!(model.report().unwrap().pins, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Preflight<I: ?Sized> {
    pub(crate) samples: Vec<Sample<I>>,
    pub(crate) recent: Vec<Box<dyn KeptInput<I> + Sync>>,
    pub(crate) is_finite_only: bool,
    pub(crate) latency: Option<Duration>,
    pub(crate) memory: Option<u64>,
    pub(crate) warm_up: WarmUp,
    pub(crate) clock: Option<Clock>,
}

/// A golden sample whose request was read, or could not be.
pub(crate) struct Sample<I: ?Sized> {
    pub(crate) name: String,
    pub(crate) request: Result<Box<dyn KeptInput<I> + Sync>, String>,
    pub(crate) inputs: BTreeMap<String, PinnedTensor>,
    pub(crate) outputs: BTreeMap<String, PinnedTensor>,
    pub(crate) tolerance: f64,
}

impl<I: ?Sized> Preflight<I> {
    /// One that asks nothing yet: it loads the model, and that is all.
    pub fn new() -> Self {
        Self {
            samples: Vec::new(),
            recent: Vec::new(),
            is_finite_only: true,
            latency: None,
            memory: None,
            warm_up: WarmUp::default(),
            clock: None,
        }
    }

    /// With these golden samples, whose requests are read as serde reads the host's type. One that cannot be read is
    /// reported with whatever else is found.
    #[must_use]
    pub fn samples<'s>(self, samples: impl IntoIterator<Item = &'s GoldenSample>) -> Self
    where
        I: ToOwned,
        I::Owned: DeserializeOwned + Send + Sync + 'static,
    {
        self.samples_with(samples, |request| {
            <I::Owned as serde::Deserialize>::deserialize(request).map_err(|error| error.to_string())
        })
    }

    /// With these golden samples, whose requests `read` reads: for a type that serde does not, or whose JSON is another.
    #[must_use]
    pub fn samples_with<'s, T>(
        mut self,
        samples: impl IntoIterator<Item = &'s GoldenSample>,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Self
    where
        T: Borrow<I> + Send + Sync + 'static,
    {
        self.samples.extend(samples.into_iter().map(|sample| Sample {
            name: sample.name.clone(),
            request: read(&sample.request).map(|input| Box::new(Keep::new(input)) as _),
            inputs: sample.inputs.clone(),
            outputs: sample.outputs.clone(),
            tolerance: sample.tolerance,
        }));
        self
    }

    /// With what a service was asked lately, as it is now: an answer must come, and be finite. These are requests of
    /// users, and let go of once the preflight has passed.
    #[must_use]
    pub fn recent<T>(mut self, recent: &Reservoir<T>) -> Self
    where
        T: Borrow<I> + Send + Sync + 'static,
    {
        self.recent.extend(recent.entries().into_iter().map(|input| Box::new(Shared::new(input)) as _));
        self
    }

    /// Lets outputs be infinite, or no numbers. They may not be by default: in a classifier or a forecast it is what a
    /// division by zero leaves. A model that answers logarithms of probabilities may mean it.
    #[must_use]
    pub fn allow_not_finite(mut self) -> Self {
        self.is_finite_only = false;
        self
    }

    /// Lets a request take no longer, in the median over samples and recent inputs, on one thread, when the model is warm.
    /// No limit by default. Include what else the machine does: this is measured while the service runs.
    #[must_use]
    pub fn latency_at_most(mut self, budget: Duration) -> Self {
        self.latency = Some(budget);
        self
    }

    /// Lets the model take no more bytes of memory. No limit by default.
    ///
    /// Its files must be within the budget, or it is not even loaded. And so must be what the process grows by while it is
    /// loaded and run, which Linux tells. That is approximate: what other threads do meanwhile counts, and what was free
    /// already does not. Leave room.
    #[must_use]
    pub fn memory_at_most(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Warms up by this rule in place of the default one.
    #[must_use]
    pub fn warm_up(mut self, rule: WarmUp) -> Self {
        self.warm_up = rule;
        self
    }

    /// Takes the time from this clock: a handle's, or one that is turned by hand.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }
}

impl<I: ?Sized> Default for Preflight<I> {
    fn default() -> Self {
        Self::new()
    }
}

/// Names of samples, no request.
impl<I: ?Sized> fmt::Debug for Preflight<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples: Vec<&str> = self.samples.iter().map(|sample| sample.name.as_str()).collect();
        f.debug_struct("Preflight")
            .field("samples", &samples)
            .field("recent", &self.recent.len())
            .field("latency", &self.latency)
            .field("memory", &self.memory)
            .field("warm_up", &self.warm_up)
            .finish_non_exhaustive()
    }
}

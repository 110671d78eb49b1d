//! Switch machine-learning models inside a running service.

pub mod model;
pub mod stats;

mod background;
mod builder;
mod clock;
mod control;
mod dice;
mod error;
mod feedback;
mod handle;
mod os;
mod pin;
mod request;
mod rollout;
mod routing;
mod shadow;
mod status;
mod task;
mod version;

pub use background::Background;
pub use builder::{BuildError, Builder};
pub use clock::{Clock, Timestamp};
pub use control::controller::{Lowered, PinPolicy, Quarantined};
pub use control::event::{Cause, Event, EventKind, Subscription};
pub use control::guard;
pub use control::plan::{Bake, Exposed, InvalidPlan, OnInconclusive, Plan, Step};
pub use control::rollout::{Phase, TransitionRefused};
pub use error::{ErrorKind, InputError, LoadError, ModelError};
pub use feedback::{FeedbackCounts, InvalidPredictionId, Joined, PredictionId, Refusal};
pub use handle::{ModelHandle, NotRetained, StageError, StillBusy};
pub use model::{Closure, Description, Identity, Model, closure};
pub use pin::{Pinned, PinnedError, TooManyPins};
pub use request::{Answer, PredictError, Route};
pub use rollout::{Rollout, RolloutError};
pub use routing::{InvalidShare, Share};
pub use shadow::{ShadowCounts, elementwise};
pub use status::{Role, RolloutStatus, Status, VersionStatus};
pub use task::{CLASSES_MAX, Censoring, Kpi, Outcome, RANKING_DEPTH, Ranked, Task, TaskKind, Truth};
pub use version::{InvalidVersionId, VersionId};

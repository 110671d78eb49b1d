//! The lifecycle of a model: loading, tiers, upkeep.

use super::description::Description;
use super::error::{LoadError, ModelError};
#[cfg(feature = "onnx")]
use super::onnx::Signature;
use super::throttle::LoadThrottle;
use super::tier::{Doubt, Memory, TargetTier, Tier};

/// The life of a model beside its answers, in the hands of a handle that loads it, warms it up, lets it step down while
/// it is only kept for a rollback, and wakes it again. A [`Model`](crate::Model) that needs any of this gives its
/// [`lifecycle`](crate::Model::lifecycle); one that does not, such as a rule of thumb, has none.
///
/// It speaks of no request and no answer, so a wrapper around a model of other types has the lifecycle of what it wraps:
/// it gives that as its [`inner`](Self::inner) one, and writes the methods that differ. Every method that is not written
/// asks `inner`, and does nothing where there is none. What is called here is never called on a request's thread.
///
/// ```
/// use std::sync::OnceLock;
/// use switchback::versions::{Lifecycle, LoadThrottle};
/// use switchback::{model::{Identity, LoadError, ModelError}, Model};
///
/// /// A table of means per airport, which takes a while to read.
/// struct Means {
///     path: String,
///     means: OnceLock<Vec<f64>>,
/// }
///
/// impl Model<usize, f64> for Means {
///     fn predict(&self, airport: &usize) -> Result<f64, ModelError> {
///         let means = self.means.get().ok_or(ModelError::NotLoaded)?;
///         means.get(*airport).copied().ok_or_else(|| ModelError::input("no such airport"))
///     }
///     fn identity(&self) -> Identity {
///         Identity::of([("means", self.path.as_bytes())])
///     }
///     fn lifecycle(&self) -> Option<&dyn Lifecycle> {
///         Some(self)
///     }
/// }
///
/// impl Lifecycle for Means {
///     fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
///         throttle.step()?; // waits while live has trouble
/// #       let read = |_: &str| Ok::<_, std::io::Error>(vec![1.5]);
///         let means = read(&self.path).map_err(LoadError::other)?;
///         self.means.get_or_init(|| means);
///         Ok(())
///     }
/// }
/// ```
pub trait Lifecycle: Send + Sync {
    /// The lifecycle that this one wraps, which answers for every method that is not written here. None by default.
    fn inner(&self) -> Option<&dyn Lifecycle> {
        None
    }

    /// Makes the model ready to answer: called once by a handle before any traffic, on the thread that loads. Calls
    /// [`throttle.step()`](LoadThrottle::step) before each step that takes long. Called again, it does nothing.
    ///
    /// # Errors
    ///
    /// Returns whatever keeps the model from being loaded, and [`LoadError::Cancelled`]; the model may be asked to load
    /// again.
    fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
        self.inner().map_or(Ok(()), |inner| inner.load(throttle))
    }

    /// Whether [`load`](Self::load) had the model answer real inputs, through its own `encode` and `decode`, as a preflight
    /// with golden samples does. No by default.
    fn is_proven(&self) -> bool {
        self.inner().is_some_and(|inner| inner.is_proven())
    }

    /// Runs the model once on an input made up from its own signature, so that the first request is not the first run.
    /// Returns whether it ran: `false` where the model cannot make up an input. A handle calls this where it has no
    /// [sample](crate::options::Inputs::sample).
    ///
    /// # Errors
    ///
    /// The failure of that run. It is no verdict, since what is made up may be no input that anybody would send: the version
    /// is staged all the same, and an event says that it is [not proven](crate::events::EventKind::NotProven). A panic is one.
    fn warm_up(&self) -> Result<bool, ModelError> {
        self.inner().map_or(Ok(false), |inner| inner.warm_up())
    }

    /// How ready the model is to answer. [`Tier::Hot`] where it has no other way to be.
    fn tier(&self) -> Tier {
        self.inner().map_or(Tier::Hot, |inner| inner.tier())
    }

    /// Makes a loaded model that has gone [cold](Tier::Cold) answer again, as soon as can be: called before it gets
    /// traffic, on the thread that rolls back. Returns at once where the model can answer.
    ///
    /// # Errors
    ///
    /// What the model needs cannot be had any more.
    fn wake(&self) -> Result<(), LoadError> {
        self.inner().map_or(Ok(()), |inner| inner.wake())
    }

    /// Takes the model to the target tier, as far as it has that one, and returns the tier it is in then. Requests go on
    /// meanwhile: what answers them is exchanged and never missing, unless the target is [cold](Tier::Cold). The target
    /// can change at any time, so it is read again before anything is taken away. One thread at a time calls this.
    ///
    /// # Errors
    ///
    /// Returns whatever stands in the way; the model stays as it was.
    fn settle(&self, target: &TargetTier) -> Result<Tier, LoadError> {
        self.inner().map_or(Ok(Tier::Hot), |inner| inner.settle(target))
    }

    /// The bytes of the process's memory that the model takes; nothing where that is not known. May take milliseconds.
    fn memory(&self) -> Option<Memory> {
        self.inner().and_then(|inner| inner.memory())
    }

    /// Stops the runs of [`predict_within`](crate::Model::predict_within) whose time is up. A handle calls this every few
    /// milliseconds while candidates are asked with a limit, so it returns at once where no run is under way.
    fn stop_overdue(&self) {
        if let Some(inner) = self.inner() {
            inner.stop_overdue();
        }
    }

    /// Makes good what failures have cost: a model with a pool replaces the sessions that panics have made unusable. A
    /// handle calls this at every tick.
    ///
    /// # Errors
    ///
    /// Returns whatever keeps the model from being mended; it goes on with what it has, and may be asked again.
    fn maintain(&self) -> Result<(), LoadError> {
        self.inner().map_or(Ok(()), |inner| inner.maintain())
    }

    /// Answers that may have been wrong, where [`maintain`](Self::maintain) has found and mended what they came from; each is told
    /// once. A handle asks after it has maintained a model, and announces them.
    fn take_doubt(&self) -> Option<Doubt> {
        self.inner().and_then(|inner| inner.take_doubt())
    }

    /// Returns what a person wants to know about the model, for `status()`.
    fn description(&self) -> Description {
        self.inner().map_or_else(Description::default, |inner| inner.description())
    }

    /// Returns what the model takes and gives, as data, for `status()` and for metadata that a service gives of it; nothing where it is
    /// no ONNX model. Asked once the model is loaded.
    #[cfg(feature = "onnx")]
    fn signature(&self) -> Option<Signature> {
        self.inner().and_then(|inner| inner.signature())
    }
}

//! The trait of whatever answers requests.

use std::sync::Arc;
use std::time::Duration;

use super::error::{LoadError, ModelError};
use super::identity::Identity;
use super::lifecycle::Lifecycle;
use super::tier::{TargetTier, Tier};
use crate::base::guarded::guarded;

/// Something that answers a request of type `I` with an answer of type `O`: an ONNX model with its pipeline, a closure
/// ([`closure`](crate::closure)), a native algorithm, another engine.
///
/// Two methods make a model: [`predict`](Self::predict) and [`identity`](Self::identity). One that is loaded, has tiers or
/// needs upkeep gives its [`lifecycle`](Self::lifecycle) too. The other two take requests and answer them, which a
/// [`Lifecycle`] knows nothing of: an engine that can interrupt itself, or gains from batches, brings its own.
///
/// A model is shared by every thread that asks it, so `predict` takes `&self`; what a call needs of its own it takes
/// from a pool or makes on the stack. Whoever implements this can run the suite in
/// `testing::conformance` (feature `testing`) on it.
pub trait Model<I: ?Sized, O>: Send + Sync {
    /// Answers one request.
    ///
    /// Runs on the threads of the host's requests, on shadow workers, and on threads that ask candidates which have a
    /// [deadline](crate::options::Limits::candidate_deadline). A panic is caught by the handle and counted
    /// like an error.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] where the request is at fault, anything else where the model is.
    fn predict(&self, input: &I) -> Result<O, ModelError>;

    /// Returns what makes this version the same as another: its files, its pipeline and the options that change
    /// answers.
    fn identity(&self) -> Identity;

    /// How the model is loaded, warmed up, kept in a tier and mended. None by default: a model that is ready as soon as
    /// it is made, stays so, and has nothing to tell of itself.
    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        None
    }

    /// Answers like [`predict`](Self::predict), and gives up after `limit`. A handle asks candidates in this way where the
    /// host has set them a deadline. The default cannot interrupt itself and answers late; the handle then counts a missed
    /// deadline, and where the input could be kept the caller has been answered by live.
    ///
    /// # Errors
    ///
    /// [`ModelError::Deadline`] where it gave up, besides those of `predict`.
    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        let _ = limit;
        self.predict(input)
    }

    /// Answers several requests, in their order. The default asks one after the other, and where that panics it is the
    /// failure of that one.
    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        one_by_one(self, inputs)
    }
}

/// Answers several requests, one after the other.
pub(crate) fn one_by_one<I: ?Sized, O>(
    model: &(impl Model<I, O> + ?Sized),
    inputs: &[&I],
) -> Vec<Result<O, ModelError>> {
    // Each by itself: the answers before a panic would be on its way, and their destructors are the host's.
    let ask = |input: &&I| guarded(|| model.predict(input)).map_err(ModelError::from).flatten();
    inputs.iter().map(ask).collect()
}

/// A model whose type is known when it is opened: what a `versions::ModelSource` gives. It has the lifecycle
/// of what is in the box.
impl<I: ?Sized, O> Model<I, O> for Box<dyn Model<I, O>> {
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        (**self).predict(input)
    }

    fn identity(&self) -> Identity {
        (**self).identity()
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        (**self).lifecycle()
    }

    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        (**self).predict_within(input, limit)
    }

    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        (**self).predict_batch(inputs)
    }
}

/// A model that is shared, with other handles or with the host, so it stays hot. One that only a handle has goes to it in a `Box`.
impl<I: ?Sized, O> Model<I, O> for Arc<dyn Model<I, O>> {
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        (**self).predict(input)
    }

    fn identity(&self) -> Identity {
        (**self).identity()
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        (**self).lifecycle().map(|_| self as &dyn Lifecycle)
    }

    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        (**self).predict_within(input, limit)
    }

    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        (**self).predict_batch(inputs)
    }
}

/// A model that is shared stays hot: whoever else has it may be asking it.
impl<I: ?Sized, O> Lifecycle for Arc<dyn Model<I, O>> {
    fn inner(&self) -> Option<&dyn Lifecycle> {
        (**self).lifecycle()
    }

    fn tier(&self) -> Tier {
        Tier::Hot
    }

    fn wake(&self) -> Result<(), LoadError> {
        Ok(())
    }

    fn settle(&self, _: &TargetTier) -> Result<Tier, LoadError> {
        Ok(Tier::Hot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::description::Description;
    use crate::model::throttle::LoadThrottle;
    use crate::model::tier::Memory;

    /// Has a lifecycle of its own in every respect.
    struct Whole;

    impl Model<f64, f64> for Whole {
        fn predict(&self, input: &f64) -> Result<f64, ModelError> {
            Ok(*input)
        }
        fn identity(&self) -> Identity {
            Identity::of([])
        }
        fn lifecycle(&self) -> Option<&dyn Lifecycle> {
            Some(self)
        }
    }

    impl Lifecycle for Whole {
        fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
            throttle.step()
        }
        fn warm_up(&self) -> Result<bool, ModelError> {
            Ok(true)
        }
        fn tier(&self) -> Tier {
            Tier::Warm
        }
        fn wake(&self) -> Result<(), LoadError> {
            Err(LoadError::other("wake"))
        }
        fn settle(&self, target: &TargetTier) -> Result<Tier, LoadError> {
            Ok(target.tier())
        }
        fn memory(&self) -> Option<Memory> {
            Some(Memory::private(1).mapped(2))
        }
        fn maintain(&self) -> Result<(), LoadError> {
            Err(LoadError::other("maintain"))
        }
        fn description(&self) -> Description {
            Description { sessions: 3, ..Description::default() }
        }
    }

    /// Writes nothing but what it wraps.
    struct Wrapper(Whole);

    impl Lifecycle for Wrapper {
        fn inner(&self) -> Option<&dyn Lifecycle> {
            Some(&self.0)
        }
    }

    fn cancelled() -> LoadThrottle {
        let throttle = LoadThrottle::new();
        throttle.cancel();
        throttle
    }

    #[test]
    fn a_wrapper_has_the_lifecycle_of_what_it_wraps() {
        let wrapper = Wrapper(Whole);
        assert!(wrapper.load(&LoadThrottle::new()).is_ok());
        assert!(matches!(wrapper.load(&cancelled()), Err(LoadError::Cancelled)));
        assert!(wrapper.warm_up().unwrap());
        assert_eq!(wrapper.tier(), Tier::Warm);
        assert_eq!(wrapper.wake().unwrap_err().to_string(), "wake");
        assert_eq!(wrapper.settle(&TargetTier::new(Tier::Cold)).unwrap(), Tier::Cold);
        assert_eq!(wrapper.memory(), Some(Memory::private(1).mapped(2)));
        assert_eq!(wrapper.maintain().unwrap_err().to_string(), "maintain");
        assert_eq!(wrapper.description().sessions, 3);
    }

    #[test]
    fn a_model_in_a_box_has_the_lifecycle_of_what_is_in_it() {
        fn taken(model: impl Model<f64, f64>) -> Option<Tier> {
            assert_eq!(model.predict_batch(&[&1.0, &2.0]).len(), 2);
            assert!(model.predict_within(&1.0, Duration::ZERO).is_ok());
            model.lifecycle().and_then(|own| own.settle(&TargetTier::new(Tier::Cold)).ok())
        }
        let opened: Box<dyn Model<f64, f64>> = Box::new(Whole);
        assert_eq!(taken(opened), Some(Tier::Cold));
    }

    #[test]
    fn a_shared_model_is_loaded_and_mended_and_stays_hot() {
        let shared: Arc<dyn Model<f64, f64>> = Arc::new(Whole);
        let lifecycle = Model::lifecycle(&shared).unwrap();
        assert!(matches!(lifecycle.load(&cancelled()), Err(LoadError::Cancelled)));
        assert_eq!(lifecycle.description().sessions, 3);
        assert!(lifecycle.maintain().is_err());
        assert_eq!(lifecycle.settle(&TargetTier::new(Tier::Cold)).unwrap(), Tier::Hot);
        assert_eq!(lifecycle.tier(), Tier::Hot);
        assert!(lifecycle.wake().is_ok());

        let bare: Arc<dyn Model<f64, f64>> = Arc::new(crate::closure("same@1", |x: &f64| Ok(*x)));
        assert!(Model::lifecycle(&bare).is_some(), "a closure tells its name");
    }
}

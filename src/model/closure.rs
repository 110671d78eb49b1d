//! A closure as a model.

use std::fmt;

use super::description::Description;
use super::error::ModelError;
use super::identity::Identity;
use super::lifecycle::Lifecycle;
use super::model::Model;

/// A model made of a closure, named so that its versions can be told apart.
///
/// `name` is all that a closure's [`Identity`] can be made of, so change it whenever the closure changes:
/// `"moving-average@1.2"`.
///
/// ```
/// use switchback::{closure, model::ModelError, Model};
///
/// let model = closure("double@1.0", |x: &f64| Ok::<_, ModelError>(x * 2.0));
/// assert_eq!(model.predict(&21.0).unwrap(), 42.0);
/// ```
pub fn closure<I: ?Sized, O, F>(name: impl Into<String>, answer: F) -> Closure<F>
where
    F: Fn(&I) -> Result<O, ModelError> + Send + Sync,
{
    Closure { name: name.into(), answer }
}

/// A [`Model`] made of a closure: see [`closure`].
pub struct Closure<F> {
    name: String,
    answer: F,
}

impl<I: ?Sized, O, F> Model<I, O> for Closure<F>
where
    F: Fn(&I) -> Result<O, ModelError> + Send + Sync,
{
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        (self.answer)(input)
    }

    fn identity(&self) -> Identity {
        Identity::of([("closure", self.name.as_bytes())])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

/// A closure is ready as soon as it is made; all that it has to tell is its name.
impl<F: Send + Sync> Lifecycle for Closure<F> {
    fn description(&self) -> Description {
        Description { pipeline: Some(self.name.clone()), ..Description::default() }
    }
}

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closure").field("name", &self.name).finish_non_exhaustive()
    }
}

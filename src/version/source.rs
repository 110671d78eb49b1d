//! Opens versions by name.

use std::error::Error;
use std::sync::Arc;

use crate::model::model::Model;

/// Where versions come from by name: what a start asks for those that were live, on trial or retained.
///
/// A closure will do, and so will an `Arc` of whatever is one: [`follow`](crate::ModelHandle::follow) takes the same. What it opens is held against the identity that the version had: other bytes, another pipeline or
/// other options under the same name are not that version.
///
/// ```
/// use switchback::{Model, closure};
///
/// let versions = |name: &str| match name {
///     "v1" => Ok(Box::new(closure("double@1", |x: &f64| Ok(x * 2.0))) as Box<dyn Model<f64, f64>>),
///     other => Err(format!("there is no version {other}").into()),
/// };
/// # fn takes(_: impl switchback::versions::ModelSource<f64, f64>) {}
/// # takes(versions);
/// # takes(std::sync::Arc::new(versions));
/// ```
pub trait ModelSource<I: ?Sized, O>: Send + Sync {
    /// Opens a version; the handle loads it.
    ///
    /// # Errors
    ///
    /// Returns whatever stands in the way. It is named where the version is missed.
    fn open(&self, version: &str) -> Result<Box<dyn Model<I, O>>, Box<dyn Error + Send + Sync>>;
}

impl<I: ?Sized, O, F> ModelSource<I, O> for F
where
    F: Fn(&str) -> Result<Box<dyn Model<I, O>>, Box<dyn Error + Send + Sync>> + Send + Sync,
{
    fn open(&self, version: &str) -> Result<Box<dyn Model<I, O>>, Box<dyn Error + Send + Sync>> {
        self(version)
    }
}

impl<I: ?Sized, O, S: ModelSource<I, O> + ?Sized> ModelSource<I, O> for Arc<S> {
    fn open(&self, version: &str) -> Result<Box<dyn Model<I, O>>, Box<dyn Error + Send + Sync>> {
        (**self).open(version)
    }
}

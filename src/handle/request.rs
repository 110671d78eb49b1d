//! A request with more to say of it than its input.

use std::borrow::Borrow;
use std::sync::Arc;

use super::handle::ModelHandle;
use super::pinned::{PinError, Pinned};
use crate::request::answer::{Answer, PredictError};
use crate::request::call::Draw;
use crate::version::input::{KeptInput, Shared};

/// One request, or several that belong together, of a [`ModelHandle`]: what it is asked under is said first, and what is
/// asked last.
///
/// ```
/// use std::sync::Arc;
/// use switchback::{ModelHandle, closure};
///
/// let handle = ModelHandle::builder("late").live("v1", closure("rule@1", |x: &f64| Ok(x / 10.0))).build()?;
///
/// let by_user = handle.request().key("user 7").predict(&3.0)?;          // the same user, the same version
/// let shared = handle.request().predict_shared(&Arc::new(3.0))?;        // a shadow copies nothing
/// let rows = handle.request().batch(&[1.0, 2.0]);                       // all rows by one version, one unit
/// let basket = handle.request().key("user 7").batch(&[1.0, 2.0]);       // the same, by the user's version
/// let by_row = handle.request().batch_by_key(&[1.0, 2.0], |x| x.to_string()); // a key for each row
/// let stream = handle.request().key("user 7").pin()?;                   // all that follows by one version
/// assert_eq!(*stream.predict(&3.0)?.output(), *by_user.output());
/// # assert!(rows.len() == basket.len() && by_row.len() == 2 && *shared.output() == 0.3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is asked before `predict`, `batch` or `pin`"]
pub struct Request<'a, I: ?Sized + 'static, O: 'static> {
    handle: &'a ModelHandle<I, O>,
    draw: Draw<'a>,
}

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// One request with more to say of it: several rows, an input that may be shared, a stream that stays with one
    /// version. See [`Request`].
    pub fn request(&self) -> Request<'_, I, O> {
        Request::of(self)
    }
}

impl<'a, I: ?Sized + 'static, O: 'static> Request<'a, I, O> {
    pub(crate) fn of(handle: &'a ModelHandle<I, O>) -> Self {
        Self { handle, draw: Draw::Random }
    }

    /// For this key (a user, a card): it is answered by the same version for as long as a rollout only grows.
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.draw = Draw::Key(key.as_ref());
        self
    }

    /// Answers one input, as [`ModelHandle::predict`] does.
    ///
    /// # Errors
    ///
    /// Those of [`ModelHandle::predict`].
    #[inline]
    pub fn predict(self, input: &I) -> Result<Answer<O>, PredictError> {
        self.handle.inner.serving.predict(input, self.draw, None)
    }

    /// Answers an input that may be shared: one that is shadowed is not copied.
    ///
    /// # Errors
    ///
    /// Those of [`ModelHandle::predict`].
    #[inline]
    pub fn predict_shared(self, input: &Arc<I>) -> Result<Answer<O>, PredictError>
    where
        I: Send + Sync,
    {
        let share = || Box::new(Shared::new(Arc::clone(input))) as Box<dyn KeptInput<I>>;
        self.handle.inner.serving.predict(input, self.draw, Some(&share))
    }

    /// Answers several inputs in their order, with an id each. One version answers all of them, in one call of its model;
    /// each answer's latency is that of the call.
    ///
    /// In comparisons the call is one unit: its rows are slow together and fail together. A row drawn at random counts for
    /// it, which on average is like all of them.
    pub fn batch<B: Borrow<I>>(self, inputs: &[B]) -> Vec<Result<Answer<O>, PredictError>> {
        let serving = &self.handle.inner.serving;
        serving.predict_joint(inputs, self.draw)
    }

    /// Answers several inputs in their order, each routed by a key of its own; those of one version that count alike go to its model
    /// together. While candidates are tried, those of live that a candidate is compared with go in a call of their own, so that they take the
    /// time of about as many rows as the candidate's, and so do those that are withheld from one. The key of the request, if it has one, is
    /// not looked at.
    ///
    /// In comparisons the call counts by the key of one row, drawn at random before any version is asked.
    pub fn batch_by_key<B: Borrow<I>, K: AsRef<[u8]>>(
        self,
        inputs: &[B],
        key: impl Fn(&I) -> K,
    ) -> Vec<Result<Answer<O>, PredictError>> {
        self.handle.inner.serving.predict_batch(inputs, &key)
    }

    /// Begins a stream of calls that stays with one version: see [`Pinned`].
    ///
    /// # Errors
    ///
    /// As many streams are pinned as the handle allows.
    pub fn pin(self) -> Result<Pinned<I, O>, PinError> {
        self.handle.inner.pin(self.draw)
    }
}

impl<I: ?Sized + 'static, O: 'static> std::fmt::Debug for Request<'_, I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

//! The two functions of a pipeline.

use std::sync::{Arc, OnceLock};

use super::tensor::feed::Feed;
use super::tensor::outputs::Outputs;
use crate::model::error::ModelError;

/// The closures that make tensors of a request, and an answer of tensors. Clones share the two, so that one pair can
/// serve any number of versions.
pub(crate) struct Codec<I: ?Sized, O> {
    encode: Arc<Encode<I>>,
    decode: Arc<Decode<O>>,
    written: Arc<Written>,
}

/// The inputs that the first model took of it, by name and type.
type Written = OnceLock<Box<[(Arc<str>, String)]>>;

type Encode<I> = dyn for<'a> Fn(&'a I, &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync;

type Decode<O> = dyn Fn(&Outputs<'_>) -> Result<O, ModelError> + Send + Sync;

impl<I: ?Sized, O> Codec<I, O> {
    pub(crate) fn new<E, D>(encode: E, decode: D) -> Self
    where
        E: for<'a> Fn(&'a I, &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<O, ModelError> + Send + Sync + 'static,
    {
        Self { encode: Arc::new(encode), decode: Arc::new(decode), written: Arc::default() }
    }

    #[inline]
    pub(crate) fn encode<'a>(&self, input: &'a I, feed: &mut Feed<'_, 'a>) -> Result<(), ModelError> {
        (self.encode)(input, feed)
    }

    /// Notes what it wrote, once that was all that a model takes.
    pub(crate) fn fitted(&self, feed: &Feed<'_, '_>) {
        self.written.get_or_init(|| feed.inputs().collect());
    }

    /// Returns what it has written to the first model that took it; nothing before that.
    #[cfg(feature = "repository")]
    pub(crate) fn has_written(&self) -> impl Iterator<Item = (&str, &str)> {
        self.written.get().into_iter().flatten().map(|(name, element)| (&**name, element.as_str()))
    }

    #[inline]
    pub(crate) fn decode(&self, outputs: &Outputs<'_>) -> Result<O, ModelError> {
        (self.decode)(outputs)
    }
}

impl<I: ?Sized, O> Clone for Codec<I, O> {
    fn clone(&self) -> Self {
        Self {
            encode: Arc::clone(&self.encode),
            decode: Arc::clone(&self.decode),
            written: Arc::clone(&self.written),
        }
    }
}

//! The functions of a pipeline: two for a request, and perhaps two for requests that come together.

use std::sync::{Arc, OnceLock};

use super::tensor::feed::Feed;
use super::tensor::outputs::Outputs;
use crate::model::error::ModelError;

/// The closures that make tensors of a request, and an answer of tensors. Clones share them, so that they can serve any
/// number of versions.
pub(crate) struct Codec<I: ?Sized, O> {
    encode: Arc<Encode<I>>,
    decode: Arc<Decode<O>>,
    /// The same for several requests in one run; nothing where each is a run of its own.
    rows: Option<Arc<RowsCodec<I, O>>>,
    written: Arc<Written>,
}

/// The closures that make tensors of several requests, and as many answers of tensors.
pub(crate) struct RowsCodec<I: ?Sized, O> {
    encode: Box<EncodeRows<I>>,
    decode: Box<DecodeRows<O>>,
}

/// The inputs that the first model took of it, by name and type.
type Written = OnceLock<Box<[(Arc<str>, String)]>>;

type Encode<I> = dyn for<'a> Fn(&'a I, &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync;

type Decode<O> = dyn Fn(&Outputs<'_>) -> Result<O, ModelError> + Send + Sync;

type EncodeRows<I> = dyn for<'a> Fn(&[&'a I], &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync;

type DecodeRows<O> = Decode<Vec<O>>;

impl<I: ?Sized, O> Codec<I, O> {
    pub(crate) fn new<E, D>(encode: E, decode: D) -> Self
    where
        E: for<'a> Fn(&'a I, &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<O, ModelError> + Send + Sync + 'static,
    {
        Self { encode: Arc::new(encode), decode: Arc::new(decode), rows: None, written: Arc::default() }
    }

    /// Has several requests answered in one run.
    pub(crate) fn in_rows<E, D>(&mut self, encode: E, decode: D)
    where
        E: for<'a> Fn(&[&'a I], &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<Vec<O>, ModelError> + Send + Sync + 'static,
    {
        self.rows = Some(Arc::new(RowsCodec { encode: Box::new(encode), decode: Box::new(decode) }));
    }

    /// The functions for several requests in one run, where there are any.
    pub(crate) fn rows(&self) -> Option<&RowsCodec<I, O>> {
        self.rows.as_deref()
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

impl<I: ?Sized, O> RowsCodec<I, O> {
    pub(crate) fn encode<'a>(&self, inputs: &[&'a I], feed: &mut Feed<'_, 'a>) -> Result<(), ModelError> {
        (self.encode)(inputs, feed)
    }

    pub(crate) fn decode(&self, outputs: &Outputs<'_>) -> Result<Vec<O>, ModelError> {
        (self.decode)(outputs)
    }
}

impl<I: ?Sized, O> Clone for Codec<I, O> {
    fn clone(&self) -> Self {
        Self {
            encode: Arc::clone(&self.encode),
            decode: Arc::clone(&self.decode),
            rows: self.rows.clone(),
            written: Arc::clone(&self.written),
        }
    }
}

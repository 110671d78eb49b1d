//! Keeps inputs after their request: the host's sample, copies for shadows and drills, recent inputs.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::base::guarded::{Contained, guarded};

/// Copies what is the host's: an input that is to be kept after its request, or an answer. Every copy is made here, since
/// a `Clone` is the host's code: where it panics, the request from which the copy is made is answered all the same, and
/// whoever wanted the copy counts that there is none.
#[inline]
pub(crate) fn copied<T: ?Sized, C>(value: &T, copy: impl FnOnce(&T) -> C) -> Result<C, NotCopied> {
    guarded(|| copy(value)).map_err(|_| NotCopied)
}

/// There is no copy: the host's `Clone` or `ToOwned` panicked. What it said is not kept, since it may quote the input.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the `Clone` of an input panicked")]
pub(crate) struct NotCopied;

/// An input that is kept: one trait for all of them, so that whoever asks a version need not know whose it is. It can be
/// dropped anywhere: what is the host's in it is contained.
pub(crate) trait KeptInput<I: ?Sized>: Send {
    fn input(&self) -> &I;
}

/// Copies an input of the host's.
pub(crate) type CopyInput<I> = fn(&I) -> Box<dyn KeptInput<I>>;

/// Anything that can be borrowed as an input: what the input's [`ToOwned`] made, the host's own value.
///
/// A type of its own rather than an implementation for every `T`: a `Box` can be borrowed as itself, and `boxed.input()`
/// would not know which was meant.
pub(crate) struct Keep<T>(Contained<T>);

impl<T> Keep<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Contained::new(value))
    }
}

impl<I: ?Sized, T: Borrow<I> + Send> KeptInput<I> for Keep<T> {
    fn input(&self) -> &I {
        (*self.0).borrow()
    }
}

/// A share in an input that somebody else keeps too.
pub(crate) struct Shared<T: ?Sized>(Contained<Arc<T>>);

impl<T: ?Sized> Shared<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(Contained::new(value))
    }
}

impl<I: ?Sized, T: ?Sized + Borrow<I> + Send + Sync> KeptInput<I> for Shared<T> {
    fn input(&self) -> &I {
        (**self.0).borrow()
    }
}

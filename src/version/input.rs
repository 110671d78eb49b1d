//! Inputs that are kept after their request: the host's sample, copies for shadows and drills, recent inputs.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::model::error::ModelError;

/// Copies what is the host's: an input that is to be kept after its request, or an answer. Every copy is made here, since
/// a `Clone` is the host's code: where it panics, the request from which the copy is made is answered all the same, and
/// whoever wanted the copy counts that there is none.
#[inline]
pub(crate) fn copied<T: ?Sized, C>(value: &T, copy: impl FnOnce(&T) -> C) -> Result<C, ModelError> {
    // Unwind safety: a copy that was not made is nobody's, and what it was to be made of is shared behind `&`.
    let copied = catch_unwind(AssertUnwindSafe(|| copy(value)));
    copied.map_err(|payload| ModelError::of_panic(payload.as_ref()))
}

/// An input that is kept: one trait for all of them, so that whoever asks a version need not know whose it is.
pub(crate) trait KeptInput<I: ?Sized>: Send {
    fn input(&self) -> &I;
}

/// Whatever can be borrowed as an input: what the input's [`ToOwned`] made, the host's own value.
///
/// A type of its own rather than an implementation for every `T`: a `Box` can be borrowed as itself, and `boxed.input()`
/// would not know which was meant.
pub(crate) struct Keep<T>(pub(crate) T);

impl<I: ?Sized, T: Borrow<I> + Send> KeptInput<I> for Keep<T> {
    fn input(&self) -> &I {
        self.0.borrow()
    }
}

/// A share in an input that somebody else keeps too.
pub(crate) struct Shared<T: ?Sized>(pub(crate) Arc<T>);

impl<I: ?Sized, T: ?Sized + Borrow<I> + Send + Sync> KeptInput<I> for Shared<T> {
    fn input(&self) -> &I {
        (*self.0).borrow()
    }
}

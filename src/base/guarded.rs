//! The host's code and the host's values, contained: what panics in them ends here, and nowhere else.
//!
//! Three things can panic: what the host's code is asked to do, the destructor of a value of the host's, and the
//! destructor of what a panic was made of. The first is called by [`guarded`], the second dropped by [`let_go`] or kept in a
//! [`Contained`], and both see to the third. Nothing else in this crate catches a panic.

use std::any::Any;
use std::mem::{forget, needs_drop};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::text::bounded;

/// The host's code panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Panicked {
    /// The panic's message, bounded.
    pub(crate) message: Arc<str>,
}

/// Calls the host's code; a panic is an error.
#[inline]
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    // Unwind safety: what a panic may leave half done belongs to the model or to the host's closure, which are shared
    // behind `&self` and must bear that by themselves; nothing of ours is borrowed mutably.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(returned) => Ok(returned),
        Err(payload) => Err(told(payload)),
    }
}

/// Drops a value of the host's; whether its destructor returned.
#[inline]
pub(crate) fn let_go<T>(value: T) -> bool {
    // Most answers and inputs have no destructor, and pay for none.
    !needs_drop::<T>() || dropped(value)
}

/// Drops several values of the host's, each by itself: of two in one collection whose destructors panic, the second would
/// meet the panic of the first on its way and end the process.
pub(crate) fn let_all_go<T>(values: impl IntoIterator<Item = T>) {
    for value in values {
        let_go(value);
    }
}

#[inline(never)]
fn dropped<T>(value: T) -> bool {
    match catch_unwind(AssertUnwindSafe(|| drop(value))) {
        Ok(()) => true,
        Err(payload) => {
            discard(payload);
            false
        }
    }
}

/// The message of a caught panic, whose payload is the host's too.
#[cold]
fn told(payload: Box<dyn Any + Send>) -> Panicked {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = bounded(text.unwrap_or("a panic without a message")).as_ref().into();
    discard(payload);
    Panicked { message }
}

/// Drops what a panic was made of. What comes of a destructor that panics in turn is forgotten: its own destructor may do
/// the same, and so on for ever. That costs the memory of one payload each time.
#[cold]
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        forget(next);
    }
}

/// A value of the host's that is dropped by [`let_go`], wherever that is: on a thread of ours, under a lock, with others, on
/// the way of another panic.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    #[inline]
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value, for whoever drops it.
    #[inline]
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

/// Several of them, each dropped by itself.
#[cfg(feature = "tokio")]
pub(crate) struct AllContained<T>(Vec<T>);

#[cfg(feature = "tokio")]
impl<T> AllContained<T> {
    pub(crate) fn new(values: Vec<T>) -> Self {
        Self(values)
    }

    /// The values, for whoever drops them.
    pub(crate) fn into_inner(mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(feature = "tokio")]
impl<T> Deref for AllContained<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

#[cfg(feature = "tokio")]
impl<T> Drop for AllContained<T> {
    fn drop(&mut self) {
        let_all_go(self.0.drain(..));
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        let Some(value) = &self.0 else { unreachable!("only its destructor takes it") };
        value
    }
}

impl<T> DerefMut for Contained<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        let Some(value) = &mut self.0 else { unreachable!("only its destructor takes it") };
        value
    }
}

impl<T> Drop for Contained<T> {
    #[inline]
    fn drop(&mut self) {
        if needs_drop::<T>()
            && let Some(value) = self.0.take()
        {
            dropped(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{panic_any, resume_unwind};

    use super::*;

    /// Panics when it is dropped, with something that does the same, so many times over.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                resume_unwind(Box::new(Bomb(self.0 - 1)));
            }
        }
    }

    #[test]
    fn no_panic_leaves_a_guard_whatever_it_is_made_of() {
        for depth in 0..5 {
            assert!(guarded(|| resume_unwind(Box::new(Bomb(depth)))).is_err(), "{depth}");
            assert_eq!(let_go(Bomb(depth)), depth == 0, "{depth}");
            drop(Contained::new(Bomb(depth)));
        }
        let told = guarded(|| panic_any(String::from("why"))).map_err(|panicked| panicked.message);
        assert_eq!(told.map(|(): ()| ()), Err(Arc::from("why")));
    }

    #[test]
    fn two_that_panic_together_do_not_end_the_process() {
        drop((Contained::new(Bomb(2)), Contained::new(Bomb(2))));
        let_all_go([Bomb(1), Bomb(1)]);
        // On the way of another panic.
        let panicked = guarded(|| {
            let _kept = Contained::new(Bomb(1));
            resume_unwind(Box::new("the first"));
        });
        assert_eq!(
            panicked.map(|(): ()| ()).map_err(|panicked| panicked.message),
            Err(Arc::from("the first"))
        );
    }
}

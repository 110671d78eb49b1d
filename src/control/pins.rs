//! What the control side knows of pinned streams.

use parking_lot::Mutex;

use crate::base::clock::Timestamp;
use crate::request::table::Arm;
use crate::stats::counting::exposure::Unit;
use crate::version::id::VersionId;

/// What becomes of a pinned stream when its version takes no traffic any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PinPolicy {
    /// It finishes on its version, within the time a pin may last. The default: a stream that is cut costs its user,
    /// one that goes on costs some memory for a while.
    #[default]
    Finish,
    /// Its next call is told [`Superseded`](crate::PinnedError::Superseded).
    Supersede,
}

/// What the control side shares with a pin: it can take the version away.
pub(crate) struct PinSlot<I: ?Sized, O> {
    pub(crate) until: Timestamp,
    pub(crate) held: Mutex<Option<Held<I, O>>>,
}

/// What a pin keeps.
pub(crate) struct Held<I: ?Sized, O> {
    pub(crate) arm: Arm<I, O>,
    /// The hash of the key that it was routed by, if it was.
    pub(crate) key: Option<u64>,
    pub(crate) unit: Unit,
}

impl<I: ?Sized, O> PinSlot<I, O> {
    /// Takes the version away where it has been held for as long as it may be.
    pub(crate) fn expire(&self, now: Timestamp) {
        if now > self.until {
            self.held.lock().take();
        }
    }

    /// Takes the version away unless it is still exposed.
    pub(crate) fn supersede_unless(&self, exposed: impl Fn(VersionId) -> bool) {
        let held = &mut *self.held.lock();
        if held.as_ref().is_some_and(|held| !exposed(held.arm.version.id)) {
            *held = None;
        }
    }
}

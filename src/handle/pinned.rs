//! Pins: several calls that must stay with one version whole.

use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use super::core::Core;
use crate::base::causes::debug_as_told;
use crate::base::clock::Timestamp;
use crate::control::pins::Pin;
use crate::request::answer::{Answer, PredictError};
use crate::request::call::{Call, Draw};
use crate::request::table::Arm;
use crate::stats::counting::exposure::{Unit, lane};
use crate::task::kept::Kept;
use crate::version::id::VersionId;
use crate::version::loaded::Version;

/// A stream of calls that stays with one version, whatever is promoted or rolled back meanwhile: a model whose state
/// goes from call to call, the steps of one conversation.
///
/// Made by [`Request::pin`](crate::requests::Request::pin). It is never moved to another version in silence: it finishes
/// on its own within the time a pin may last, or a call is told [`Superseded`](PinnedError::Superseded) and the stream
/// starts afresh with a new pin. No other version answers in its place when its own fails, and no copy of its requests
/// is shadowed: another version's state is not this one's. Statistics count the stream as one unit, by one of its calls that is
/// drawn as they come: each with a chance of a half, as long as none has been.
#[must_use = "the stream ends where this is dropped"]
pub struct Pinned<I: ?Sized, O> {
    pub(crate) inner: Arc<Core<I, O>>,
    pub(crate) slot: Arc<PinSlot<I, O>>,
    pub(crate) version: VersionId,
}

/// Why a pinned call got no answer.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum PinnedError {
    /// The stream's version is not to be used any more: begin again with a new pin.
    #[error("version {version} was superseded: begin the stream again with a new pin")]
    Superseded {
        /// The version the stream was on.
        version: VersionId,
    },
    /// The version gave no answer. The stream may go on.
    #[error(transparent)]
    Predict(#[from] PredictError),
}

debug_as_told!(PinnedError);

/// There are as many pins as the handle allows.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{max} streams are pinned, which is all that are allowed: raise `Limits::pins` or let some finish")]
#[non_exhaustive]
pub struct PinError {
    /// The limit.
    pub max: usize,
}

debug_as_told!(PinError);

impl<I: ?Sized + 'static, O: 'static> Pinned<I, O> {
    /// Answers one call of the stream.
    ///
    /// # Errors
    ///
    /// [`PinnedError::Superseded`] where the stream must begin again, [`PinnedError::Predict`] where the version gave no
    /// answer.
    pub fn predict(&self, input: &I) -> Result<Answer<O>, PinnedError> {
        let superseded = PinnedError::Superseded { version: self.version };
        let started = self.inner.serving.clock.reading();
        self.slot.expire(self.inner.serving.clock.at(started));
        // Clones, so that nothing is locked while the model runs. They are not the last ones: the control side holds
        // the version until nobody else does.
        let (arm, key, unit, withheld) = match &mut *self.slot.held.lock() {
            Some(held) => {
                // In figures by its first call, at once, so that of two calls at the same time one counts the unit. In
                // comparisons by one of its calls, drawn as they come: the first is not like the others.
                let stands = !held.drawn && self.inner.serving.dice.roll(lane()) >> 63 == 0;
                held.drawn |= stands;
                let unit = Unit { stands, ..held.unit };
                held.unit.joined = true;
                (held.arm.clone(), held.key, unit, held.withheld)
            }
            None => return Err(superseded),
        };
        if withheld {
            arm.exposure.note(lane(), |tally| tally.record_withheld(1));
        }
        let routing = self.inner.serving.routing.load();
        let call = Call { routing: &routing, arm: &arm, input, key, unit, random: 0, share: None, started };
        let mut kept = Kept::Unreadable;
        // A stream stays with its version whatever else that has under way; what hangs in it is known all the same.
        let begun = arm.on_trial().then(|| arm.version.begin_aside(lane(), started));
        let attempted = self.inner.serving.ask(&arm, input, &mut kept);
        drop(begun);
        let answer = self.inner.serving.settle_alone(&call, attempted, &kept)?;
        if let (None, Some(held)) = (unit.number, &mut *self.slot.held.lock()) {
            held.unit.number = held.unit.number.or(answer.id().body.row);
        }
        Ok(answer)
    }

    /// The version the stream is on.
    pub fn version(&self) -> VersionId {
        self.version
    }
}

impl<I: ?Sized, O> std::fmt::Debug for Pinned<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Draws a version for a stream and keeps it there.
    pub(crate) fn pin(self: &Arc<Self>, draw: Draw<'_>) -> Result<Pinned<I, O>, PinError> {
        let control = &mut *self.control.lock();
        control.pins.retain(|pin| Arc::strong_count(pin) > 1);
        let max = control.settings.pins_max;
        if control.pins.len() >= max {
            return Err(PinError { max });
        }
        // Under the lock, so that no version is pinned that a change of the table has just taken away.
        let now = self.serving.clock.now();
        let routing = self.serving.routing.load();
        // Its calls are what is asked, and may be withheld.
        let (routed, key, _) = self.serving.route(&routing, draw, now, 0);
        let version = routed.arm.version.id;
        let unit = Unit { joint: true, ..Unit::default() };
        let held = Held { arm: routed.arm.clone(), withheld: routed.withheld, key, unit, drawn: false };
        let until = now.plus(control.settings.pins_last);
        let slot = Arc::new(PinSlot { until, held: Mutex::new(Some(held)) });
        control.pins.push(Arc::clone(&slot) as Arc<dyn Pin>);
        Ok(Pinned { inner: Arc::clone(self), slot, version })
    }
}

/// The slot that the control side shares with a pin: see [`Pin`].
pub(crate) struct PinSlot<I: ?Sized, O> {
    pub(crate) until: Timestamp,
    pub(crate) held: Mutex<Option<Held<I, O>>>,
}

/// The holdings of a pin.
pub(crate) struct Held<I: ?Sized, O> {
    pub(crate) arm: Arm<Version<I, O>>,
    /// It belongs to a candidate that had lost its exposure when it began.
    pub(crate) withheld: bool,
    /// The hash of the key that it was routed by, if it was.
    pub(crate) key: Option<u64>,
    pub(crate) unit: Unit,
    /// A call of it has been drawn to stand for the stream.
    pub(crate) drawn: bool,
}

impl<I: ?Sized + 'static, O: 'static> Pin for PinSlot<I, O> {
    fn version(&self) -> Option<VersionId> {
        self.held.lock().as_ref().map(|held| held.arm.version.id)
    }

    /// Takes the version away where it has been held for as long as it may be.
    fn expire(&self, now: Timestamp) {
        if now > self.until {
            self.held.lock().take();
        }
    }

    /// Takes the version away unless it is still exposed.
    fn supersede_unless(&self, exposed: &dyn Fn(VersionId) -> bool) {
        let held = &mut *self.held.lock();
        if held.as_ref().is_some_and(|held| !exposed(held.arm.version.id)) {
            *held = None;
        }
    }
}

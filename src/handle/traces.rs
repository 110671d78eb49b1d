//! Events as the host's `tracing` subscriber sees them.
//!
//! A subscriber's layer is the host's code: it may block on a pipe, ask for the status, or panic. So events are emitted where no
//! lock of ours is held that anything waits for, after the call that caused them or at the end of the tick, from a queue that
//! keeps their order; and never on a request.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::Level;

use crate::base::guarded::guarded;
use crate::control::control::Control;
use crate::control::event::{Cause, Event, EventKind, Subscription};
use crate::drift::told::DriftScope;

/// Events that wait to be emitted, at most: what a layer that blocks for minutes holds up.
const ROOM: usize = 4_096;

/// The events of a handle, on their way to the host's subscriber.
pub(crate) struct Traces {
    model: String,
    waiting: Subscription,
    /// Held by whoever emits, so that events keep their order; nobody waits for it.
    turn: Mutex<()>,
    /// Relaxed: whoever emits has the turn.
    missed: AtomicU64,
}

impl Traces {
    pub(crate) fn new(control: &mut Control) -> Self {
        let (model, waiting) = (control.settings.name.clone(), control.announcer.subscribe(ROOM));
        Self { model, waiting, turn: Mutex::new(()), missed: AtomicU64::new(0) }
    }

    /// Emits what waits. Returns at once where another thread is at it, or a layer that was called by this: that one goes on
    /// until nothing waits.
    pub(crate) fn emit(&self) {
        while !self.waiting.is_empty() {
            let Some(_turn) = self.turn.try_lock() else { return };
            while let Some(event) = self.waiting.try_recv() {
                // What panics there is the host's affair, and must not end what it was told of.
                let _ = guarded(|| emit(&self.model, &event));
            }
            let missed = self.waiting.missed();
            let before = self.missed.swap(missed, Ordering::Relaxed);
            if missed > before {
                let model = self.model.as_str();
                let _ = guarded(
                    || tracing::warn!(target: "switchback", model, "{} events were not traced", missed - before),
                );
            }
        }
    }
}

/// One event, with what stands in it as fields. Nothing of a user's is in any.
fn emit(model: &str, event: &Event) {
    let Event { sequence, epoch, .. } = *event;
    let (name, version) = (event.kind.name(), event.kind.version());
    let (version, actor) = (version.as_ref().map(|version| version.as_str()), event.actor.as_deref());
    macro_rules! emitted {
        ($level:expr) => {
            tracing::event!(target: "switchback", $level, model, version, event = name, sequence, epoch, actor, "{event}")
        };
    }
    match level(&event.kind) {
        Level::ERROR => emitted!(Level::ERROR),
        Level::WARN => emitted!(Level::WARN),
        Level::INFO => emitted!(Level::INFO),
        _ => emitted!(Level::DEBUG),
    }
}

/// How loud an event is: an error where callers are answered by somebody else than was decided or nothing is saved; a warning
/// where something did not go as was planned; debug for what becomes of memory.
fn level(kind: &EventKind) -> Level {
    use EventKind as Kind;
    match kind {
        Kind::LiveReplaced { .. } | Kind::Unavailable { .. } | Kind::StateNotSaved { .. } => Level::ERROR,
        Kind::Aborted { cause, .. } | Kind::RolledBack { cause, .. } => match cause {
            Cause::Operator { .. } | Cause::Closed => Level::INFO,
            _ => Level::WARN,
        },
        Kind::GuardFailed { .. }
        | Kind::Inconclusive { .. }
        | Kind::Suspected { .. }
        | Kind::Undecidable { .. }
        | Kind::Recalled { .. }
        | Kind::LeaseExpired { .. }
        | Kind::Tripped { .. }
        | Kind::Overdue { .. }
        | Kind::Held { .. }
        | Kind::CircuitOpened { .. }
        | Kind::Quarantined { .. }
        | Kind::NotProven { .. }
        | Kind::Degraded { .. }
        | Kind::AnswersInDoubt { .. }
        | Kind::ClockMoved { .. }
        | Kind::StartedWithLess { .. }
        | Kind::StateFolderMended { .. }
        | Kind::ThreadDied { .. }
        | Kind::Started { crashed: true, .. }
        | Kind::Drifted { whose: DriftScope::Candidate, .. } => Level::WARN,
        Kind::Drilled { drilled, .. } if drilled.failed > 0 => Level::WARN,
        Kind::Retired { .. } | Kind::Dropped { .. } | Kind::Loaded { .. } | Kind::TierChanged { .. } => {
            Level::DEBUG
        }
        _ => Level::INFO,
    }
}

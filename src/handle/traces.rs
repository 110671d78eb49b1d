//! Events as the host's `tracing` subscriber sees them.
//!
//! A subscriber's layer is the host's code: it may block on a pipe, ask for the status, or panic. So events are emitted where no
//! lock of ours is held that anything waits for, after the call that caused them or at the end of the tick, from a queue that
//! keeps their order; and never on a request.
//!
//! Spans are of what takes long: a version that is staged or woken, on the thread that does it, so that whoever goes back
//! waits for a layer no longer than for the version; a checkpoint, around the lock of the journal; and a tick, which a layer that blocks holds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing::span::EnteredSpan;
use tracing::{Level, Span};

use crate::base::guarded::guarded;
use crate::control::control::Control;
use crate::control::event::{Cause, Event, EventKind, Subscription};
use crate::drift::told::DriftScope;
use crate::model::activity::Activity;
use crate::model::throttle::LoadThrottle;
use crate::version::id::VersionId;

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
        let (model, waiting) = (control.settings.name.clone(), control.announcer.subscribe_to_all(ROOM));
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

impl Traces {
    /// A tick is under way until this goes.
    pub(crate) fn tick(&self) -> Entered {
        let model = self.model.as_str();
        Entered::new(|| tracing::trace_span!(target: "switchback", "switchback.tick", model))
    }

    /// A checkpoint is under way until this goes.
    #[cfg(feature = "state")]
    pub(crate) fn checkpoint(&self) -> Entered {
        let model = self.model.as_str();
        Entered::new(|| tracing::debug_span!(target: "switchback", "switchback.checkpoint", model))
    }

    /// The span of a version that is staged, within the span that the thread which stages it is in.
    pub(crate) fn stage(&self, version: VersionId) -> Aside {
        Aside::stage_of(&self.model, version)
    }

    /// Returns what the span of a version that is woken needs. Calls nothing of the host's: whoever goes back is about
    /// to.
    pub(crate) fn wake(&self, version: VersionId) -> Aside {
        Aside { model: self.model.clone(), version, subscriber: here(), span: Span::none() }
    }
}

/// The subscriber of this thread, for another.
fn here() -> Dispatch {
    dispatcher::get_default(Dispatch::clone)
}

/// A span that is entered until this goes. What panics there is the host's affair.
pub(crate) struct Entered(Option<EnteredSpan>);

impl Entered {
    fn new(span: impl FnOnce() -> Span) -> Self {
        Self(guarded(|| span().entered()).ok())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let span = self.0.take();
        let _ = guarded(|| drop(span));
    }
}

/// A span that goes on on another thread, for the subscriber of this one.
pub(crate) struct Aside {
    model: String,
    version: VersionId,
    subscriber: Dispatch,
    span: Span,
}

impl Aside {
    /// The span of a version that is staged, within the span that this thread is in.
    pub(crate) fn stage_of(model: &str, version: VersionId) -> Self {
        let name = version.as_str();
        let span =
            guarded(|| tracing::info_span!(target: "switchback", "switchback.stage", model, version = name));
        let span = span.unwrap_or_else(|_| Span::none());
        Self { model: model.to_owned(), version, subscriber: here(), span }
    }

    /// The version is woken, on this thread and until this goes.
    pub(crate) fn wake(self) -> Waking {
        let subscriber = dispatcher::set_default(&self.subscriber);
        let (model, version) = (self.model.as_str(), self.version.as_str());
        let span =
            Entered::new(|| tracing::info_span!(target: "switchback", "switchback.wake", model, version));
        Waking { _span: span, _subscriber: subscriber }
    }

    /// The version is staged, on this thread and until this goes: the load has a span for everything that it comes to.
    pub(crate) fn stage(self, throttle: &LoadThrottle) -> Staging {
        let subscriber = dispatcher::set_default(&self.subscriber);
        let within = Arc::new(Within { stage: self.span.clone(), activity: Mutex::new(None) });
        let span = Entered::new(|| self.span);
        let told = Arc::clone(&within);
        throttle.observe(Some(Arc::new(move |activity| told.enter(activity))));
        Staging { within, throttle: throttle.clone(), _span: span, _subscriber: subscriber }
    }
}

/// A version is woken. The span ends before its subscriber is let go of.
pub(crate) struct Waking {
    _span: Entered,
    _subscriber: DefaultGuard,
}

/// A version is staged. The span ends before its subscriber is let go of.
pub(crate) struct Staging {
    within: Arc<Within>,
    throttle: LoadThrottle,
    _span: Entered,
    _subscriber: DefaultGuard,
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.throttle.observe(None);
        self.within.leave();
    }
}

/// The state that a load has come to, as a span within its own. Entered and left on the load's thread; nobody waits for
/// its lock.
struct Within {
    stage: Span,
    activity: Mutex<Option<Span>>,
}

impl Within {
    fn enter(&self, activity: Activity) {
        self.leave();
        let span = guarded(|| {
            let span = span_of(&self.stage, activity);
            span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
            span
        });
        *self.activity.lock() = span.ok();
    }

    fn leave(&self) {
        let left = self.activity.lock().take();
        let _ = guarded(|| {
            if let Some(span) = left {
                span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
            }
        });
    }
}

fn span_of(stage: &Span, activity: Activity) -> Span {
    macro_rules! span {
        ($name:literal) => {
            tracing::info_span!(target: "switchback", parent: stage, $name)
        };
    }
    match activity {
        Activity::Opening => span!("open"),
        Activity::Loading => span!("load"),
        Activity::Preflight => span!("preflight"),
        Activity::Sample => span!("sample"),
        Activity::WarmingUp => span!("warm_up"),
        Activity::RecentInputs => span!("recent_inputs"),
        // No load comes to these.
        _ => Span::none(),
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
    match level(event) {
        Level::ERROR => emitted!(Level::ERROR),
        Level::WARN => emitted!(Level::WARN),
        Level::INFO => emitted!(Level::INFO),
        _ => emitted!(Level::DEBUG),
    }
}

/// How loud an event is: an error where callers are answered by somebody else than was decided, or by what does harm, or nothing is saved; a warning
/// where something did not go as was planned; debug for what becomes of memory.
fn level(event: &Event) -> Level {
    use EventKind as Kind;
    match &event.kind {
        // By itself, as after a crash: a rollout waits for a person who does not know of it.
        Kind::Paused { .. } if event.actor.is_none() => Level::WARN,
        Kind::LiveReplaced { .. }
        | Kind::Unavailable { .. }
        | Kind::NoWayBack { .. }
        | Kind::StateNotSaved { .. }
        | Kind::FleetDiverged => Level::ERROR,
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
        | Kind::Spared { .. }
        | Kind::Overdue { .. }
        | Kind::Held { .. }
        | Kind::CircuitOpened { .. }
        | Kind::Quarantined { .. }
        | Kind::NotProven { .. }
        | Kind::VersionRefused { .. }
        | Kind::Degraded { .. }
        | Kind::AnswersInDoubt { .. }
        | Kind::ClockMoved { .. }
        | Kind::StandbyBehind { .. }
        | Kind::StartedWithLess { .. }
        | Kind::StateFolderMended { .. }
        | Kind::FleetCutOff { .. }
        | Kind::NotReady { .. }
        | Kind::EndedAtOnce { .. }
        | Kind::Lapsed { .. }
        | Kind::ThreadDied { .. }
        | Kind::ThreadAbandoned { .. }
        | Kind::PipelineMisfit { .. }
        | Kind::Started { crashed: true, .. }
        | Kind::Drifted { whose: DriftScope::Candidate, .. } => Level::WARN,
        Kind::Drilled { drilled, .. } if drilled.failed > 0 => Level::WARN,
        Kind::Retired { .. } | Kind::Dropped { .. } | Kind::Loaded { .. } | Kind::TierChanged { .. } => {
            Level::DEBUG
        }
        _ => Level::INFO,
    }
}

//! The host's code and values, wherever this crate runs or drops them.
//!
//! Bugs: `Truth::censored` ran under the lock of outcomes and, where silence was settled, under the control lock, so that one
//! that called `status()` hung every thread for ever; `Guard::as_rule` ran under the control lock, a source of versions and
//! the destructor of a superseded guard while the turn to write was held. A destructor that panicked ended a shadow worker
//! or the upkeep thread for good, a panic whose payload panicked in its own destructor left every guard, `stop_overdue`, a
//! source of versions and the `Display` of an error ended the thread that ticks.
//!
//! Cause: each place guarded the host's code by itself, or did not, and what is dropped is not seen where it is dropped.
//! Fix: one mechanism (`base/guarded`): calls are guarded together with their payloads, and values of the host's are kept in
//! what contains their destructors, so they can be dropped anywhere. What was asked under a lock is asked before it.
//!
//! The hooks are enumerated: one that no step of the scenario reaches fails, and so does one in the sources that stands in
//! no list here.
#![cfg(all(feature = "state", feature = "drift"))]

use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use switchback::drift::{Cell as Value, Drift, ReferenceProfile};
use switchback::events::EventKind;
use switchback::guard::{Comparison, Evidence, Guard, Needs, Rule, Verdict};
use switchback::options::{
    Drill, Inputs, Labels, Limits, LoadPriority, Retention, Shadowing, Threads, Tiers,
};
use switchback::status::ThreadStatus;
use switchback::versions::{Description, Lifecycle, LoadThrottle, Memory, ModelSource, TargetTier, Tier};
use switchback::{
    BuildError, Clock, Model, ModelHandle, Outcome, PredictionId, Task, Truth, guard,
    model::{Identity, LoadError, ModelError},
};

use crate::common::{Folder, clock, wait_until};

macro_rules! hooks {
    ($($hook:ident),* $(,)?) => {
        /// Where this crate runs or drops what is the host's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Hook { $($hook),* }

        impl Hook {
            const ALL: &[Hook] = &[$(Hook::$hook),*];
        }
    };
}

hooks! {
    // Models.
    Predict, PredictWithin, PredictBatch, Identity, LifecycleOf, ModelDrop,
    Inner, Load, IsProven, WarmUp, TierOf, Wake, Settle, MemoryOf, StopOverdue, Maintain, TakeDoubt, Describe,
    Signature,
    // Where models come from, and errors.
    Open, SourceOpen, ErrorDisplay, ErrorDrop,
    // Answers.
    Check, Read, Censored, Compare, AnswerClone, AnswerDrop,
    // Inputs.
    InputClone, InputDrop, InputBytes, SampleBorrow, Segment, DriftRead,
    // Arguments.
    Key, RowKey, RowBorrow, Reason,
    // Guards and subscribers.
    GuardName, GuardJudge, GuardNeeds, GuardAsRule, GuardAsSentence, GuardDrop, Subscriber,
}

impl Hook {
    /// Whether it is an argument of a call of the host's, so that its panic is the caller's own.
    fn is_the_callers(self) -> bool {
        match self {
            Hook::Key | Hook::RowKey | Hook::RowBorrow | Hook::Reason => true,
            // The caller drops most answers.
            Hook::AnswerDrop => true,
            Hook::Predict
            | Hook::PredictWithin
            | Hook::PredictBatch
            | Hook::Identity
            | Hook::LifecycleOf
            | Hook::ModelDrop
            | Hook::Inner
            | Hook::Load
            | Hook::IsProven
            | Hook::WarmUp
            | Hook::TierOf
            | Hook::Wake
            | Hook::Settle
            | Hook::MemoryOf
            | Hook::StopOverdue
            | Hook::Maintain
            | Hook::TakeDoubt
            | Hook::Describe
            | Hook::Signature
            | Hook::Open
            | Hook::SourceOpen
            | Hook::ErrorDisplay
            | Hook::ErrorDrop
            | Hook::Check
            | Hook::Read
            | Hook::Censored
            | Hook::Compare
            | Hook::AnswerClone
            | Hook::InputClone
            | Hook::InputDrop
            | Hook::InputBytes
            | Hook::SampleBorrow
            | Hook::Segment
            | Hook::DriftRead
            | Hook::GuardName
            | Hook::GuardJudge
            | Hook::GuardNeeds
            | Hook::GuardAsRule
            | Hook::GuardAsSentence
            | Hook::GuardDrop
            | Hook::Subscriber => false,
        }
    }
}

/// What the sources have that takes code of the host's, by file and function, with the hooks that stand for it; or with the
/// reason why it needs none.
const IN_THE_SOURCES: &[(&str, Result<&[Hook], &str>)] = &[
    ("control/event.rs spawn", Ok(&[Hook::Subscriber])),
    (
        "handle/builder.rs live_with",
        Err(
            "called once, by `build`, with no lock and no handle that it could call back into: a panic is its error",
        ),
    ),
    ("handle/follow.rs follow", Err("called by `Follow::poll`, on the host's thread, under no lock")),
    ("handle/follow.rs set_policy", Err("called by `Follow::poll`, on the host's thread, under no lock")),
    ("handle/options/inputs.rs bytes", Ok(&[Hook::InputBytes])),
    ("handle/options/inputs.rs features", Ok(&[Hook::DriftRead])),
    ("handle/options/inputs.rs segment", Ok(&[Hook::Segment])),
    ("handle/request.rs batch_by_key", Ok(&[Hook::RowKey, Hook::RowBorrow])),
    ("handle/rollout.rs stage_with", Ok(&[Hook::Open])),
    ("model/closure.rs closure", Ok(&[Hook::Predict])),
    ("model/onnx/onnx_model.rs session_options", Err("a part of loading: see `Load`")),
    ("model/onnx/pipeline.rs in_rows", Err("a part of asking: see `PredictBatch`")),
    ("model/onnx/pipeline.rs pipeline", Err("a part of asking: see `Predict`")),
    ("repository/contract/pipelines.rs in_rows", Err("a part of asking: see `PredictBatch`")),
    ("repository/contract/pipelines.rs register", Err("a part of asking: see `Predict`")),
    ("repository/contract/preflight/preflight.rs samples_with", Err("called at once, on the host's thread")),
    ("repository/contract/reservoir.rs offer_with", Err("called at once, on the host's thread")),
    ("repository/served.rs preflight", Err("a part of opening: see `SourceOpen`")),
    (
        "repository/source/pull.rs on_progress",
        Err("called by `Repository::pull`, on the host's thread, beside every handle"),
    ),
    ("request/answer.rs map", Err("called at once, on the host's thread")),
    ("rollout/plan.rs each", Err("called at once, on the host's thread")),
    ("task/outcome.rs censored", Ok(&[Hook::Censored])),
    ("task/task.rs binary", Ok(&[Hook::Read])),
    ("task/task.rs check", Ok(&[Hook::Check])),
    ("task/task.rs classes", Ok(&[Hook::Read])),
    ("task/task.rs compare", Ok(&[Hook::Compare, Hook::AnswerClone])),
    ("task/task.rs ranking", Ok(&[Hook::Read])),
    ("task/task.rs regression", Ok(&[Hook::Read])),
    ("trait Guard as_rule", Ok(&[Hook::GuardAsRule])),
    ("trait Guard as_sentence", Ok(&[Hook::GuardAsSentence])),
    ("trait Guard judge", Ok(&[Hook::GuardJudge])),
    ("trait Guard name", Ok(&[Hook::GuardName])),
    ("trait Guard needs", Ok(&[Hook::GuardNeeds])),
    ("trait IntoGuard into_guard", Err("called at once, on the host's thread")),
    ("trait Lifecycle description", Ok(&[Hook::Describe])),
    ("trait Lifecycle inner", Ok(&[Hook::Inner])),
    ("trait Lifecycle is_proven", Ok(&[Hook::IsProven])),
    ("trait Lifecycle load", Ok(&[Hook::Load])),
    ("trait Lifecycle maintain", Ok(&[Hook::Maintain])),
    ("trait Lifecycle memory", Ok(&[Hook::MemoryOf])),
    ("trait Lifecycle settle", Ok(&[Hook::Settle])),
    ("trait Lifecycle signature", Ok(&[Hook::Signature])),
    ("trait Lifecycle stop_overdue", Ok(&[Hook::StopOverdue])),
    ("trait Lifecycle take_doubt", Ok(&[Hook::TakeDoubt])),
    ("trait Lifecycle tier", Ok(&[Hook::TierOf])),
    ("trait Lifecycle wake", Ok(&[Hook::Wake])),
    ("trait Lifecycle warm_up", Ok(&[Hook::WarmUp])),
    ("trait Model identity", Ok(&[Hook::Identity])),
    ("trait Model lifecycle", Ok(&[Hook::LifecycleOf])),
    ("trait Model predict", Ok(&[Hook::Predict])),
    ("trait Model predict_batch", Ok(&[Hook::PredictBatch])),
    ("trait Model predict_within", Ok(&[Hook::PredictWithin])),
    ("trait ModelSource open", Ok(&[Hook::SourceOpen])),
];

/// What a hook does when it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Calls back into the handle: what looks, and what moves versions.
    CallBack,
    /// Panics, with what panics again when it is dropped.
    Panic,
}

type Handle = ModelHandle<Input, Out>;

struct Hooks {
    armed: Mutex<Option<(Hook, Act)>>,
    reached: Vec<AtomicU64>,
    handle: Mutex<Option<Handle>>,
    id: Mutex<Option<PredictionId>>,
}

thread_local! {
    /// A hook acts on this thread: what it reaches in turn does nothing.
    static ACTS: Cell<bool> = const { Cell::new(false) };
}

/// What a panic is made of: it panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new("a payload's destructor"));
    }
}

impl Hooks {
    fn new(armed: Option<(Hook, Act)>) -> Arc<Self> {
        let reached = Hook::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { armed: Mutex::new(armed), reached, handle: Mutex::new(None), id: Mutex::new(None) })
    }

    fn reach(&self, hook: Hook) {
        let time = self.reached[hook as usize].fetch_add(1, Ordering::Relaxed);
        let Some((armed, act)) = *self.armed.lock() else { return };
        if armed != hook || ACTS.get() {
            return;
        }
        match act {
            Act::Panic => {
                // Every other time, so that what follows is reached too; on the way of another panic it would be our own.
                if time.is_multiple_of(2) && !std::thread::panicking() {
                    resume_unwind(Box::new(Bomb));
                }
            }
            Act::CallBack => {
                let Some(handle) = self.handle.lock().clone() else { return };
                ACTS.set(true);
                self.look(&handle);
                if time.is_multiple_of(4) {
                    self.move_versions(&handle);
                }
                drop(handle);
                ACTS.set(false);
            }
        }
    }

    fn look(&self, handle: &Handle) {
        let _ = (handle.status(), handle.events(), handle.decisions(), handle.live(), handle.drift());
        let _ = (handle.recall("v2"), handle.subscribe(1).missed(), handle.run_shadow(1));
        handle.stop_overdue();
        if let Ok(answer) = handle.predict(&Input::bare(0.5)) {
            handle.feedback(answer.id(), Outcome::class(1));
        }
        if let Some(id) = *self.id.lock() {
            handle.feedback(id, Outcome::class(0));
        }
        if let Ok(pinned) = handle.request().pin() {
            let _ = pinned.predict(&Input::bare(0.1));
        }
        let _ = handle.checkpoint();
        handle.tick();
    }

    fn move_versions(&self, handle: &Handle) {
        handle.freeze("a hook");
        handle.unfreeze();
        for version in ["v2", "v3", "v4"] {
            if let Some(rollout) = handle.rollout(version) {
                let rollout = rollout.guard(guard::error_rate().at_most(0.5));
                let _ = rollout.pause("a hook");
                let _ = rollout.resume();
                let _ = (rollout.canary(0.2), rollout.promote());
            }
        }
        let _ = (handle.rollback("a hook"), handle.abort_candidates("a hook"), handle.revert_live("a hook"));
        handle.tick();
    }
}

struct Input {
    number: f64,
    /// Of a copy.
    hooks: Option<Arc<Hooks>>,
    is_copy: bool,
}

impl Input {
    fn bare(number: f64) -> Self {
        Self { number, hooks: None, is_copy: false }
    }

    fn of(world: &World, number: f64) -> Self {
        Self { number, hooks: Some(Arc::clone(&world.hooks)), is_copy: false }
    }

    fn reach(&self, hook: Hook) {
        if let Some(hooks) = &self.hooks {
            hooks.reach(hook);
        }
    }
}

impl Clone for Input {
    fn clone(&self) -> Self {
        self.reach(Hook::InputClone);
        Self { number: self.number, hooks: self.hooks.clone(), is_copy: true }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.is_copy {
            self.reach(Hook::InputDrop);
        }
    }
}

struct Out {
    probability: f64,
    hooks: Arc<Hooks>,
}

impl Clone for Out {
    fn clone(&self) -> Self {
        self.hooks.reach(Hook::AnswerClone);
        Self { probability: self.probability, hooks: Arc::clone(&self.hooks) }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.hooks.reach(Hook::AnswerDrop);
    }
}

struct Sample(Input, Arc<Hooks>);

impl Borrow<Input> for Sample {
    fn borrow(&self) -> &Input {
        self.1.reach(Hook::SampleBorrow);
        &self.0
    }
}

struct RowOf(Input);

impl Borrow<Input> for RowOf {
    fn borrow(&self) -> &Input {
        self.0.reach(Hook::RowBorrow);
        &self.0
    }
}

struct HookedKey<'a>(&'a Hooks, Hook);

impl AsRef<[u8]> for HookedKey<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.reach(self.1);
        b"user 7"
    }
}

struct HookedReason<'a>(&'a Hooks);

impl From<HookedReason<'_>> for String {
    fn from(reason: HookedReason<'_>) -> Self {
        reason.0.reach(Hook::Reason);
        "why".into()
    }
}

struct HostError(Arc<Hooks>);

impl fmt::Debug for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostError")
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.reach(Hook::ErrorDisplay);
        f.write_str("an error of the host's")
    }
}

impl std::error::Error for HostError {}

impl Drop for HostError {
    fn drop(&mut self) {
        self.0.reach(Hook::ErrorDrop);
    }
}

struct HostModel {
    name: &'static str,
    hooks: Arc<Hooks>,
    asked: AtomicU64,
    is_hot: AtomicBool,
}

impl HostModel {
    fn new(hooks: &Arc<Hooks>, name: &'static str) -> Self {
        let (asked, is_hot) = (AtomicU64::new(0), AtomicBool::new(true));
        Self { name, hooks: Arc::clone(hooks), asked, is_hot }
    }

    fn answer(&self, input: &Input) -> Result<Out, ModelError> {
        let hooks = Arc::clone(&self.hooks);
        match self.asked.fetch_add(1, Ordering::Relaxed) % 8 {
            // Refused by the check, so that it is dropped here.
            3 => Ok(Out { probability: 2.0, hooks }),
            _ => Ok(Out { probability: input.number.clamp(0.0, 1.0), hooks }),
        }
    }
}

impl Drop for HostModel {
    fn drop(&mut self) {
        self.hooks.reach(Hook::ModelDrop);
    }
}

impl Model<Input, Out> for HostModel {
    fn predict(&self, input: &Input) -> Result<Out, ModelError> {
        self.hooks.reach(Hook::Predict);
        self.answer(input)
    }

    fn identity(&self) -> Identity {
        self.hooks.reach(Hook::Identity);
        Identity::of([("host", self.name.as_bytes())])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        self.hooks.reach(Hook::LifecycleOf);
        Some(self)
    }

    fn predict_within(&self, input: &Input, _: Duration) -> Result<Out, ModelError> {
        self.hooks.reach(Hook::PredictWithin);
        self.answer(input)
    }

    fn predict_batch(&self, inputs: &[&Input]) -> Vec<Result<Out, ModelError>> {
        self.hooks.reach(Hook::PredictBatch);
        // One too many now and then.
        let more = usize::from(self.asked.load(Ordering::Relaxed).is_multiple_of(2));
        (0..inputs.len() + more).map(|row| self.answer(inputs[row % inputs.len()])).collect()
    }
}

impl Lifecycle for HostModel {
    fn inner(&self) -> Option<&dyn Lifecycle> {
        self.hooks.reach(Hook::Inner);
        None
    }
    fn load(&self, _: &LoadThrottle) -> Result<(), LoadError> {
        self.hooks.reach(Hook::Load);
        Ok(())
    }
    fn is_proven(&self) -> bool {
        self.hooks.reach(Hook::IsProven);
        false
    }
    fn warm_up(&self) -> Result<bool, ModelError> {
        self.hooks.reach(Hook::WarmUp);
        // What is not written here asks what it wraps.
        self.inner().map_or(Ok(false), |inner| inner.warm_up())
    }
    fn tier(&self) -> Tier {
        self.hooks.reach(Hook::TierOf);
        if self.is_hot.load(Ordering::Relaxed) { Tier::Hot } else { Tier::Cold }
    }
    fn wake(&self) -> Result<(), LoadError> {
        self.hooks.reach(Hook::Wake);
        self.is_hot.store(true, Ordering::Relaxed);
        Ok(())
    }
    fn settle(&self, target: &TargetTier) -> Result<Tier, LoadError> {
        self.hooks.reach(Hook::Settle);
        self.is_hot.store(target.tier() != Tier::Cold, Ordering::Relaxed);
        Ok(target.tier())
    }
    fn memory(&self) -> Option<Memory> {
        self.hooks.reach(Hook::MemoryOf);
        Some(Memory::private(1).mapped(1))
    }
    fn take_doubt(&self) -> Option<switchback::versions::Doubt> {
        self.hooks.reach(Hook::TakeDoubt);
        None
    }
    fn stop_overdue(&self) {
        self.hooks.reach(Hook::StopOverdue);
    }
    fn maintain(&self) -> Result<(), LoadError> {
        self.hooks.reach(Hook::Maintain);
        Err(LoadError::other(HostError(Arc::clone(&self.hooks))))
    }
    fn description(&self) -> Description {
        self.hooks.reach(Hook::Describe);
        // Without ONNX models nobody asks for it.
        #[cfg(not(feature = "onnx"))]
        self.hooks.reach(Hook::Signature);
        let mut description = Description::default();
        description.prepared = true;
        description
    }
    #[cfg(feature = "onnx")]
    fn signature(&self) -> Option<switchback::model::onnx::Signature> {
        self.hooks.reach(Hook::Signature);
        None
    }
}

struct HostGuard(Arc<Hooks>);

impl Guard for HostGuard {
    fn name(&self) -> String {
        self.0.reach(Hook::GuardName);
        "the host's".into()
    }
    fn judge(&self, _: &Comparison<'_>) -> Evidence {
        self.0.reach(Hook::GuardJudge);
        Evidence::new("the host's", Verdict::Inconclusive)
    }
    fn needs(&self) -> Needs {
        self.0.reach(Hook::GuardNeeds);
        Needs::default()
    }
    fn as_rule(&self) -> Option<&Rule> {
        self.0.reach(Hook::GuardAsRule);
        None
    }
    fn as_sentence(&self) -> Option<String> {
        self.0.reach(Hook::GuardAsSentence);
        None
    }
}

impl Drop for HostGuard {
    fn drop(&mut self) {
        self.0.reach(Hook::GuardDrop);
    }
}

struct Source(Arc<Hooks>);

impl ModelSource<Input, Out> for Source {
    fn open(
        &self,
        version: &str,
    ) -> Result<Box<dyn Model<Input, Out>>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.reach(Hook::SourceOpen);
        match version {
            "v2" => Ok(Box::new(HostModel::new(&self.0, "v2"))),
            _ => Err(Box::new(HostError(Arc::clone(&self.0)))),
        }
    }
}

/// Everything that can be the host's in one service, and the steps that reach it.
struct World {
    hooks: Arc<Hooks>,
    clock: Clock,
    threads: Threads,
    is_background: bool,
}

impl World {
    fn new(armed: Option<(Hook, Act)>, is_background: bool) -> Self {
        let threads = if is_background { Threads::background() } else { Threads::manual() };
        let threads =
            threads.tick_every(Duration::from_millis(1)).load_priority(LoadPriority::Full).stripes(1);
        Self { hooks: Hooks::new(armed), clock: clock(), threads, is_background }
    }

    fn hook(&self) -> Arc<Hooks> {
        Arc::clone(&self.hooks)
    }

    fn build(&self, folder: &Path) -> Result<Handle, BuildError> {
        let [read, hidden, check, bytes, compare, segment, drift] = std::array::from_fn(|_| self.hook());
        let rows = (0..64).map(|n| [Value::from(f64::from(n) / 64.0)]);
        let reference = ReferenceProfile::builder().numeric("x").build_from(rows).unwrap();
        let task = Task::binary(move |answer: &Out| {
            read.reach(Hook::Read);
            answer.probability
        });
        let task = task.truth(Truth::censored(move |answer| {
            hidden.reach(Hook::Censored);
            answer.probability.is_some_and(|probability| probability >= 0.5)
        }));
        let task = task
            .check(move |answer: &Out| {
                check.reach(Hook::Check);
                answer.probability <= 1.0
            })
            .compare(move |live: &Out, shadow: &Out| {
                compare.reach(Hook::Compare);
                (live.probability - shadow.probability).abs()
            });
        let inputs = Inputs::new()
            .sample(Sample(Input::bare(0.5), self.hook()))
            .bytes(move |_: &Input| {
                bytes.reach(Hook::InputBytes);
                8
            })
            .segment(move |_: &Input| {
                segment.reach(Hook::Segment);
                "all"
            })
            .features(reference, move |input: &Input, cells| {
                drift.reach(Hook::DriftRead);
                cells.push(input.number);
            });
        ModelHandle::builder("hooks")
            .live("v1", HostModel::new(&self.hooks, "v1"))
            .task(task)
            .labels(Labels::new().assumed_after(Duration::from_secs(2), Outcome::class(0)).exploration(0.5))
            .inputs(inputs)
            .shadowing(Shadowing::new())
            .drift(Drift::new().sample(1.0))
            .retention(
                Retention::new()
                    .versions(2)
                    .answers(100)
                    .tiers(Tiers::new().hot_for(Duration::ZERO).warm_for(Duration::ZERO))
                    .drill(Drill::new().every(Duration::from_secs(1)).inputs(1).unwrap()),
            )
            .limits(Limits::new().candidate_deadline(Duration::from_secs(3_600)))
            .state(folder)
            .source(Source(self.hook()))
            .clock(self.clock.clone())
            .seed(7)
            .threads(self.threads.clone())
            .build()
    }

    /// A call of the host's with an argument of its own: where that panics, the panic is its own.
    fn own<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let armed = *self.hooks.armed.lock();
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(returned) => Some(returned),
            Err(payload) => {
                std::mem::forget(payload);
                assert!(
                    armed.is_some_and(|(hook, _)| hook.is_the_callers()),
                    "a panic of {armed:?} came out"
                );
                None
            }
        }
    }

    /// What an armed hook may keep from being done, tried again, the last time in peace.
    fn at_last<T, E: fmt::Debug>(&self, call: impl Fn() -> Result<T, E>) -> T {
        let tried = (0..2).find_map(|_| self.own(&call).and_then(Result::ok));
        tried.unwrap_or_else(|| self.in_peace(|| call().unwrap()))
    }

    fn in_peace<T>(&self, call: impl FnOnce() -> T) -> T {
        let armed = self.hooks.armed.lock().take();
        let returned = call();
        *self.hooks.armed.lock() = armed;
        returned
    }

    fn ask(&self, handle: &Handle, times: u32) {
        for number in 0..times {
            let input = Input::of(self, f64::from(number % 10) / 10.0);
            self.own(|| {
                let answer = match number % 4 {
                    0 => handle.predict_keyed(HookedKey(&self.hooks, Hook::Key), &input),
                    1 => handle.request().predict_shared(&Arc::new(Input::of(self, 0.3))),
                    _ => handle.predict(&input),
                };
                if let Ok(answer) = answer {
                    *self.hooks.id.lock() = Some(answer.id());
                    if number.is_multiple_of(2) {
                        handle.feedback(answer.id(), Outcome::class(1));
                    }
                }
            });
            if !self.is_background {
                handle.run_shadow(4);
            }
        }
    }

    /// A second later, everything that is due has been done: by the threads, which are alive then, or by this one.
    fn later(&self, handle: &Handle) {
        for _ in 0..2 {
            self.clock.advance(Duration::from_secs(1));
            let now = self.clock.now();
            if self.is_background {
                // Those that run copies rest for up to a second while there is nothing on trial; they are asked at the end.
                let rests = |thread: &ThreadStatus| thread.name.ends_with("shadow");
                wait_until("every thread has done its work", || {
                    handle.status().threads.iter().all(|thread| rests(thread) || thread.worked >= Some(now))
                });
            } else {
                handle.tick();
                handle.run_shadow(64);
            }
        }
    }

    /// Answers are the caller's, and their destructors too.
    fn let_go<T>(&self, answers: Option<Vec<T>>) {
        for answer in answers.into_iter().flatten() {
            self.own(|| drop(answer));
        }
    }

    fn rows(&self) -> Vec<RowOf> {
        (0..5_u8).map(|row| RowOf(Input::of(self, f64::from(row) / 10.0))).collect()
    }

    fn run(&self) {
        let folder = Folder::new();
        let handle = self.at_last(|| self.build(&folder.0));
        *self.hooks.handle.lock() = Some(handle.clone());
        let subscriber = self.hook();
        let watcher = handle.subscribe(64).spawn(move |_| subscriber.reach(Hook::Subscriber)).unwrap();
        self.ask(&handle, 8);
        self.later(&handle);

        // Without a sample a model is warmed up by itself.
        let bare = || {
            let bare = ModelHandle::builder("bare").live("v1", HostModel::new(&self.hooks, "v1"));
            bare.task(Task::unlabelled()).threads(Threads::manual()).build()
        };
        drop(self.at_last(bare));

        let stage = |name: &'static str| {
            self.at_last(|| {
                let hooks = self.hook();
                let open = move || {
                    hooks.reach(Hook::Open);
                    Ok::<_, HostError>(HostModel::new(&hooks, name))
                };
                handle.stage_with(name, open)
            })
        };
        {
            let rollout = stage("v2");
            let rollout = rollout.guard(HostGuard(self.hook()));
            let _ = rollout.shadow(1.0);
            self.ask(&handle, 16);
            self.later(&handle);
            let _ = rollout.canary(0.5);
            self.ask(&handle, 16);
            handle.stop_overdue();
            self.let_go(self.own(|| handle.request().batch(&self.rows())));
            self.let_go(self.own(|| {
                let key = |_: &Input| HookedKey(&self.hooks, Hook::RowKey);
                handle.request().batch_by_key(&self.rows(), key)
            }));
            self.later(&handle);
            self.later(&handle);
            let _ = rollout.promote();
            self.ask(&handle, 8);
            self.later(&handle);
        }
        {
            let rollout = stage("v3");
            let rollout = rollout.guard(HostGuard(self.hook()));
            let _ = rollout.canary(0.1);
            let _ = rollout.promote();
            for _ in 0..3 {
                self.ask(&handle, 8);
                self.later(&handle);
            }
        }
        self.own(|| handle.rollback(HookedReason(&self.hooks)));
        self.later(&handle);
        {
            let rollout = stage("v4");
            let rollout = rollout.guard(HostGuard(self.hook()));
            self.ask(&handle, 4);
            self.own(|| rollout.rollback(HookedReason(&self.hooks)));
            self.later(&handle);
        }
        for version in ["v5", "v6", "v7"] {
            let _ = stage(version).promote();
            self.later(&handle);
        }

        // Another process, as it were, that takes over.
        let second = self.at_last(|| self.build(&folder.0));
        *self.hooks.handle.lock() = Some(second.clone());
        let _ = handle.close(Duration::from_secs(60));
        let took_over = || second.events().iter().any(|event| matches!(event.kind, EventKind::TookOver));
        wait_until("it has taken over", || {
            // A hook that ticks on another thread may be at it.
            self.later(&second);
            took_over()
        });
        self.ask(&second, 8);
        self.later(&second);
        self.is_well(&second);
        self.is_well(&handle);
        // Not under the lock of the test: the last one frees the models.
        let last = self.hooks.handle.lock().take();
        self.own(|| drop((last, second, handle)));
        watcher.join().unwrap();
    }

    /// No thread has ended, and live answers as soon as nothing panics any more.
    fn is_well(&self, handle: &Handle) {
        let armed = *self.hooks.armed.lock();
        let (begun, is_closed) =
            (self.clock.now(), handle.events().iter().any(|e| e.kind == EventKind::Closed));
        if self.is_background && !is_closed {
            wait_until("every thread has done its work", || {
                handle.status().threads.iter().all(|thread| thread.worked >= Some(begun))
            });
        }
        for thread in handle.status().threads {
            assert_eq!(thread.died, 0, "{} after {armed:?}", thread.name);
        }
        self.in_peace(|| {
            assert!(
                (0..3).any(|_| handle.predict(&Input::bare(0.5)).is_ok()),
                "live is gone after {armed:?}"
            );
        });
    }
}

/// How long the steps may take before they count as hanging: a hundred times what they take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the steps on a thread of its own, and tells where they hang instead of hanging with them.
fn watched(armed: Option<(Hook, Act)>, is_background: bool) -> Result<World, &'static str> {
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let world = World::new(armed, is_background);
        world.run();
        let _ = done.send(());
        world
    });
    match is_done.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => Err("it hangs"),
        _ => thread.join().map_err(|payload| {
            std::mem::forget(payload);
            "it fails"
        }),
    }
}

/// Those of the hooks with which something goes wrong.
fn wrong_with(hooks: &[Hook], act: Act) -> Vec<(Hook, Act, &'static str)> {
    // What panics is to meet the threads of the handle.
    let run = |hook: &Hook| Some((*hook, act, watched(Some((*hook, act)), act == Act::Panic).err()?));
    hooks.iter().filter_map(run).collect()
}

#[test]
fn every_hook_is_reached_and_every_hook_of_the_sources_is_in_the_list() {
    let world = watched(None, false).ok().unwrap();
    let reached = |hook: &&Hook| world.hooks.reached[**hook as usize].load(Ordering::Relaxed) == 0;
    assert_eq!(Hook::ALL.iter().filter(reached).collect::<Vec<_>>(), Vec::<&Hook>::new());

    let mut found = in_the_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    found.sort();
    let listed: Vec<&str> = IN_THE_SOURCES.iter().map(|(place, _)| *place).collect();
    assert_eq!(found, listed, "what takes code of the host's (left) and what has a hook here (right)");
}

/// What takes a function of the host's or is a trait of models and guards, by file and function.
fn in_the_sources(src: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![src.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(src).unwrap().to_str().unwrap().replace('\\', "/");
            // Mathematics, and what tests are written with, run on the caller's thread and keep nothing.
            if name.starts_with("stats") || name.starts_with("testing") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = code.join("\n");
            for signature in code.split("\n    pub fn ").chain(code.split("\npub fn ")).skip(1) {
                let signature = signature.split(['{', ';']).next().unwrap_or_default();
                let takes = ["Fn(", "FnOnce(", "FnMut("].iter().any(|kind| signature.contains(kind));
                let function = signature.split(['(', '<']).next().unwrap_or_default();
                let is_name =
                    !function.is_empty() && function.chars().all(|c| c == '_' || c.is_alphanumeric());
                let place = format!("{name} {function}");
                if takes && is_name && !found.contains(&place) {
                    found.push(place);
                }
            }
            for hosts in ["Model", "Lifecycle", "Guard", "IntoGuard", "ModelSource"] {
                let begins =
                    code.find(&format!("pub trait {hosts}:")).or(code.find(&format!("pub trait {hosts} ")));
                let begins = begins.or(code.find(&format!("pub trait {hosts}<")));
                let Some(begins) = begins else { continue };
                let body = code[begins..].split("\n}").next().unwrap_or_default();
                for method in body.split("\n    fn ").skip(1) {
                    let method = method.split(['(', '<']).next().unwrap_or_default();
                    found.push(format!("trait {hosts} {method}"));
                }
            }
        }
    }
    found
}

/// What was wrong before, of what the two tests below have whole.
#[test]
fn hooks_that_ran_under_a_lock_may_call_back_and_destructors_that_ended_threads_may_panic() {
    let called_back = [Hook::Censored, Hook::GuardAsRule, Hook::GuardDrop, Hook::SourceOpen];
    assert_eq!(wrong_with(&called_back, Act::CallBack), []);
    let panicked = [Hook::InputDrop, Hook::StopOverdue, Hook::ErrorDisplay, Hook::SampleBorrow];
    assert_eq!(wrong_with(&panicked, Act::Panic), []);
}

#[test]
#[ignore = "long: the whole scenario once for each hook"]
fn any_hook_may_call_back_into_the_handle_without_hanging_it() {
    assert_eq!(wrong_with(Hook::ALL, Act::CallBack), []);
}

#[test]
#[ignore = "long: the whole scenario once for each hook"]
fn no_hook_that_panics_ends_a_thread_or_reaches_a_caller() {
    assert_eq!(wrong_with(Hook::ALL, Act::Panic), []);
}

/// An answer that nobody is given is dropped by this crate: one by one, since a second destructor that panics on the way of
/// the first would end the process.
#[test]
fn answers_of_a_batch_that_are_refused_are_dropped_with_care() {
    struct Fragile(f64);
    impl Drop for Fragile {
        fn drop(&mut self) {
            if self.0 > 1.0 {
                resume_unwind(Box::new(Bomb));
            }
        }
    }
    struct Batches;
    impl Model<f64, Fragile> for Batches {
        fn predict(&self, input: &f64) -> Result<Fragile, ModelError> {
            Ok(Fragile(*input))
        }
        fn identity(&self) -> Identity {
            Identity::of([("batches", b"1".as_slice())])
        }
        fn predict_batch(&self, inputs: &[&f64]) -> Vec<Result<Fragile, ModelError>> {
            // One that is not asked for, for a call of three.
            let more = (inputs.len() == 3).then_some(&9.0);
            inputs.iter().copied().chain(more).map(|input| self.predict(input)).collect()
        }
    }
    let service = ModelHandle::builder("batches")
        .live("v1", Batches)
        .task(Task::unlabelled().check(|answer: &Fragile| answer.0 <= 1.0))
        .threads(Threads::manual())
        .build()
        .unwrap();
    let answered = |rows: &[f64]| {
        service.request().batch(rows).into_iter().map(|answer| answer.is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(answered(&[0.5, 2.0, 0.1, 3.0]), [true, false, true, false]);
    assert_eq!(answered(&[2.0, 3.0, 4.0]), [false; 3], "a model that gives too many");
    assert!(service.predict(&2.0).is_err() && service.predict(&0.5).is_ok());
}

//! A model whose answers, delays and failures are scripted.

use std::collections::VecDeque;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::base::clock::Clock;
use crate::model::description::Description;
use crate::model::error::{LoadError, ModelError};
use crate::model::identity::Identity;
use crate::model::lifecycle::Lifecycle;
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;

/// A model that errs, panics, stalls or lies on cue.
///
/// Like any model it must be loaded before it answers, as a handle does. What it does is said through its
/// [`control`](Self::control), also while it is in use; the control outlives the model and tells what became of it.
pub struct Scripted<I: ?Sized, O> {
    name: String,
    answer: Answer<I, O>,
    clock: Option<Clock>,
    interruptible: bool,
    script: Script<I, O>,
}

type Answer<I, O> = Arc<dyn Fn(&I) -> O + Send + Sync>;

impl<I: ?Sized, O> Scripted<I, O> {
    /// A model that answers as `answer` does until told otherwise. Its identity is made of `name`.
    pub fn new(name: impl Into<String>, answer: impl Fn(&I) -> O + Send + Sync + 'static) -> Self {
        let state = State {
            next: VecDeque::new(),
            always: Act::Answer,
            stall: Duration::ZERO,
            gate: None,
            refused_loads: 0,
            happened: Happened::default(),
        };
        Self {
            name: name.into(),
            answer: Arc::new(answer),
            clock: None,
            interruptible: false,
            script: Script(Arc::new(Mutex::new(state))),
        }
    }

    /// The clock that a [stall](Script::stall) advances. Without one a stall takes no time.
    #[must_use]
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// A stall longer than the limit of [`predict_within`](Model::predict_within) is given up at that limit, as an ONNX
    /// model's is. Without it the model answers late.
    #[must_use]
    pub fn interruptible(mut self) -> Self {
        self.interruptible = true;
        self
    }

    /// Says what the model does, and tells what has become of it.
    pub fn control(&self) -> Script<I, O> {
        self.script.clone()
    }

    fn run(&self, input: &I, limit: Option<Duration>) -> Result<O, ModelError> {
        let (act, stall, gate) = {
            let state = &mut *self.script.0.lock();
            state.happened.calls += 1;
            if state.happened.loads == 0 {
                return Err(ModelError::NotLoaded);
            }
            let act = state.next.pop_front().unwrap_or_else(|| state.always.clone());
            (act, state.stall, state.gate.clone())
        };
        // Nothing is locked: other calls, and the test, go on while this one waits.
        if let Some(gate) = gate {
            gate.pass();
        }
        let within = limit.filter(|limit| self.interruptible && stall > *limit);
        if let Some(clock) = &self.clock {
            clock.advance(within.unwrap_or(stall));
        }
        match (within, act) {
            (Some(limit), _) => Err(ModelError::Deadline { limit }),
            (None, Act::Answer) => Ok((self.answer)(input)),
            (None, Act::Lie(answer)) => Ok(answer(input)),
            (None, Act::Fail) => Err(ModelError::engine("on cue")),
            (None, Act::Refuse) => Err(ModelError::input("on cue")),
            // Unwinds as a panic does, without the panic hook's lines on standard error.
            (None, Act::Panic) => resume_unwind(Box::new("on cue")),
        }
    }
}

impl<I: ?Sized, O> Model<I, O> for Scripted<I, O> {
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        self.run(input, None)
    }

    fn identity(&self) -> Identity {
        Identity::of([("scripted", self.name.as_bytes())])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }

    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        self.run(input, Some(limit))
    }
}

impl<I: ?Sized, O> Lifecycle for Scripted<I, O> {
    fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
        throttle.step()?;
        let state = &mut *self.script.0.lock();
        if state.refused_loads > 0 {
            state.refused_loads -= 1;
            return Err(LoadError::other("on cue"));
        }
        state.happened.loads += 1;
        state.happened.loaded_on.push(thread_name());
        Ok(())
    }

    fn warm_up(&self) -> Result<bool, ModelError> {
        self.script.0.lock().happened.warm_ups += 1;
        Ok(false)
    }

    fn description(&self) -> Description {
        Description { pipeline: Some(self.name.clone()), ..Description::default() }
    }
}

impl<I: ?Sized, O> Drop for Scripted<I, O> {
    fn drop(&mut self) {
        self.script.0.lock().happened.dropped_on = Some(thread_name());
    }
}

impl<I: ?Sized, O> fmt::Debug for Scripted<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The behaviour of one [`Scripted`] model: see [`Scripted::control`]. Clones control the same model.
///
/// What is said of the next calls is done in the order in which it was said; when all of it is done, the model does what
/// was said last of all calls, which at first is to answer.
pub struct Script<I: ?Sized, O>(Arc<Mutex<State<I, O>>>);

struct State<I: ?Sized, O> {
    next: VecDeque<Act<I, O>>,
    always: Act<I, O>,
    stall: Duration,
    gate: Option<Gate>,
    refused_loads: usize,
    happened: Happened,
}

enum Act<I: ?Sized, O> {
    Answer,
    Lie(Answer<I, O>),
    Fail,
    Refuse,
    Panic,
}

#[derive(Default)]
struct Happened {
    calls: u64,
    loads: u64,
    warm_ups: u64,
    loaded_on: Vec<String>,
    dropped_on: Option<String>,
}

impl<I: ?Sized, O> Script<I, O> {
    /// The next `calls` fail, as an engine does.
    pub fn fail_next(&self, calls: usize) {
        self.next(calls, Act::Fail);
    }

    /// The next `calls` panic.
    pub fn panic_next(&self, calls: usize) {
        self.next(calls, Act::Panic);
    }

    /// The next `calls` say that the request is at fault.
    pub fn refuse_next(&self, calls: usize) {
        self.next(calls, Act::Refuse);
    }

    /// The next `calls` are answered as the model was made to.
    pub fn answer_next(&self, calls: usize) {
        self.next(calls, Act::Answer);
    }

    /// The next `calls` are answered by `answer` instead: not a number, say.
    pub fn lie_next(&self, calls: usize, answer: impl Fn(&I) -> O + Send + Sync + 'static) {
        self.next(calls, Act::Lie(Arc::new(answer)));
    }

    /// Every call fails from now on.
    pub fn fail(&self) {
        self.0.lock().always = Act::Fail;
    }

    /// Every call panics from now on.
    pub fn panic(&self) {
        self.0.lock().always = Act::Panic;
    }

    /// Every call says that the request is at fault from now on.
    pub fn refuse(&self) {
        self.0.lock().always = Act::Refuse;
    }

    /// Every call is answered by `answer` from now on.
    pub fn lie(&self, answer: impl Fn(&I) -> O + Send + Sync + 'static) {
        self.0.lock().always = Act::Lie(Arc::new(answer));
    }

    /// Answers as the model was made to, at once, from now on; forgets what was said of calls to come. Those that wait at a gate
    /// wait until it is opened.
    pub fn behave(&self) {
        let state = &mut *self.0.lock();
        state.next.clear();
        (state.always, state.stall, state.gate) = (Act::Answer, Duration::ZERO, None);
    }

    /// Every call takes so long from now on: it advances the model's [clock](Scripted::clock), and nobody waits.
    pub fn stall(&self, duration: Duration) {
        self.0.lock().stall = duration;
    }

    /// Every call waits from now on, for real, until the gate that this returns is opened.
    pub fn gate(&self) -> Gate {
        let gate = Gate::default();
        self.0.lock().gate = Some(gate.clone());
        gate
    }

    /// The next `times` it is to be loaded, it cannot be.
    pub fn refuse_loads(&self, times: usize) {
        self.0.lock().refused_loads = times;
    }

    /// How often it was asked, whatever came of it.
    pub fn calls(&self) -> u64 {
        self.0.lock().happened.calls
    }

    /// How often it was loaded.
    pub fn loads(&self) -> u64 {
        self.0.lock().happened.loads
    }

    /// How often it was warmed up.
    pub fn warm_ups(&self) -> u64 {
        self.0.lock().happened.warm_ups
    }

    /// The names of the threads that loaded it.
    pub fn loaded_on(&self) -> Vec<String> {
        self.0.lock().happened.loaded_on.clone()
    }

    /// Whether the model was freed.
    pub fn is_dropped(&self) -> bool {
        self.0.lock().happened.dropped_on.is_some()
    }

    /// The name of the thread that freed it, once it was.
    pub fn dropped_on(&self) -> Option<String> {
        self.0.lock().happened.dropped_on.clone()
    }

    fn next(&self, calls: usize, act: Act<I, O>) {
        self.0.lock().next.extend(std::iter::repeat_n(act, calls));
    }
}

impl<I: ?Sized, O> Clone for Script<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: ?Sized, O> fmt::Debug for Script<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl<I: ?Sized, O> Clone for Act<I, O> {
    fn clone(&self) -> Self {
        match self {
            Self::Answer => Self::Answer,
            Self::Lie(answer) => Self::Lie(Arc::clone(answer)),
            Self::Fail => Self::Fail,
            Self::Refuse => Self::Refuse,
            Self::Panic => Self::Panic,
        }
    }
}

fn thread_name() -> String {
    std::thread::current().name().unwrap_or("unnamed").into()
}

/// Holds calls up until it is opened: see [`Script::gate`]. Clones are the same gate, and it stays open once it was.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().open = true;
        changed.notify_all();
    }

    /// Waits until `calls` have come to the gate, in all.
    pub fn wait_for(&self, calls: usize) {
        let (state, changed) = &*self.0;
        changed.wait_while(&mut state.lock(), |state| state.arrived < calls);
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        state.arrived += 1;
        changed.notify_all();
        changed.wait_while(&mut state, |state| !state.open);
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.0.lock();
        f.debug_struct("Gate").field("open", &state.open).field("arrived", &state.arrived).finish()
    }
}

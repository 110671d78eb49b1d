//! For tests of services and of models: a model that misbehaves on cue, a disk that does, and what every model must hold
//! to.
//!
//! The third thing a test needs is a clock to turn by hand: [`Clock::manual`]. With it, with
//! [`seed`](crate::Builder::seed), one [stripe](crate::Builder::stripes) and [`manual`](crate::Builder::manual) ticks, a
//! test neither sleeps nor depends on chance.
//!
//! ```
//! use std::time::Duration;
//! use switchback::testing::Scripted;
//! use switchback::{Clock, ModelHandle, Route, Timestamp};
//!
//! let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
//! let candidate = Scripted::new("twice@2", |x: &f64| x * 2.0).clock(&clock);
//! let script = candidate.control();
//! let handle = ModelHandle::builder("double")
//!     .live("v1", Scripted::new("twice@1", |x: &f64| x + x))
//!     .clock(clock)
//!     .manual()
//!     .build()?;
//! let rollout = handle.stage("v2", candidate)?;
//! rollout.canary(1.0)?;
//!
//! script.fail_next(1);
//! assert_eq!(handle.predict(&4.0)?.route(), Route::Fallback); // live answered in its place
//! script.stall(Duration::from_millis(30));
//! assert_eq!(handle.predict(&4.0)?.latency(), Duration::from_millis(30)); // and nobody has waited
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use thiserror::Error;

use crate::clock::Clock;
use crate::error::{ErrorKind, LoadError, ModelError};
use crate::model::{Description, Identity, Model, Tier, Wanted};

#[cfg(any(feature = "onnx", feature = "repository", feature = "state"))]
/// Steps on files that fail on cue: a disk that is full, a sync that is refused, a process that ends in the middle.
///
/// Given to whatever writes to a disk (a repository, a handle's state), each step there (a write, a sync, a rename, ...)
/// asks it first. Clones share their state.
///
/// ```
/// use switchback::testing::Faults;
///
/// let faults = Faults::new();
/// faults.fail_after(3); // the fourth step and all that follow fail
/// faults.mend();        // and now none does
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Failing>>);

#[cfg(any(feature = "onnx", feature = "repository", feature = "state"))]
#[derive(Debug, Default)]
struct Failing {
    steps: u64,
    from: Option<u64>,
    torn: bool,
    once: bool,
}

#[cfg(any(feature = "onnx", feature = "repository", feature = "state"))]
impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps after the next `steps` fail, until [`mend`](Self::mend).
    pub fn fail_after(&self, steps: u64) -> &Self {
        let failing = &mut *self.0.lock();
        (failing.from, failing.torn, failing.once) = (Some(failing.steps + steps), false, false);
        self
    }

    /// The failing write leaves its first half behind, as where a process ends in the middle.
    pub fn torn(&self) -> &Self {
        self.0.lock().torn = true;
        self
    }

    /// Only one step fails, and those after it do not.
    pub fn once(&self) -> &Self {
        self.0.lock().once = true;
        self
    }

    /// No step fails any more.
    pub fn mend(&self) {
        self.0.lock().from = None;
    }

    /// How many steps were made or refused so far.
    pub fn steps(&self) -> u64 {
        self.0.lock().steps
    }

    pub(crate) fn step(&self) -> std::io::Result<()> {
        let failing = &mut *self.0.lock();
        failing.steps += 1;
        match failing.from {
            Some(from) if failing.steps > from => {
                if failing.once {
                    failing.from = None;
                }
                Err(std::io::Error::other("failed on cue"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a write that fails leaves a part behind.
    pub(crate) fn tears(&self) -> bool {
        self.0.lock().torn
    }
}

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

    fn load(&self) -> Result<(), LoadError> {
        let state = &mut *self.script.0.lock();
        if state.refused_loads > 0 {
            state.refused_loads -= 1;
            return Err(LoadError::Other("on cue".into()));
        }
        state.happened.loads += 1;
        state.happened.loaded_on.push(thread_name());
        Ok(())
    }

    fn warm_up(&self) -> Result<bool, ModelError> {
        self.script.0.lock().happened.warm_ups += 1;
        Ok(false)
    }

    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        self.run(input, Some(limit))
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

/// What one [`Scripted`] model does: see [`Scripted::control`]. Clones control the same model.
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

    /// Answers as the model was made to, at once, from now on; forgets what was said of calls to come.
    pub fn behave(&self) {
        let state = &mut *self.0.lock();
        state.next.clear();
        (state.always, state.stall) = (Act::Answer, Duration::ZERO);
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

/// Checks that a model holds to what [`Model`] asks of it, by running it on inputs that it must answer. See [`Suite`]
/// for answers that are close rather than equal, and for inputs that it must refuse.
///
/// ```
/// use switchback::{closure, testing};
///
/// let model = closure("double@1", |x: &f64| Ok(x * 2.0));
/// testing::conformance(&model, &[1.0, 2.5, -3.0]).unwrap();
/// ```
///
/// # Errors
///
/// Everything in which it does not.
pub fn conformance<I, O, M>(model: &M, inputs: &[impl Borrow<I> + Sync]) -> Result<(), Vec<Violation>>
where
    I: ?Sized + Sync,
    O: PartialEq + Send,
    M: Model<I, O> + ?Sized,
{
    Suite::new(O::eq).check(model, inputs)
}

/// The suite behind [`conformance`], for models that need more to be said.
#[must_use = "`check` runs it"]
pub struct Suite<'a, O, B> {
    same: Box<Same<'a, O>>,
    bad: &'a [B],
}

impl<'a, O, B: Sync> Suite<'a, O, B> {
    /// A suite that takes two answers to the same input for the same where `same` says so: results of a batch and of a
    /// single run may differ in the last bit.
    pub fn new(same: impl Fn(&O, &O) -> bool + 'a) -> Self {
        Self { same: Box::new(same), bad: &[] }
    }

    /// Inputs that are at fault: the model must say so, with [`ModelError::Input`].
    pub fn bad_inputs(mut self, inputs: &'a [B]) -> Self {
        self.bad = inputs;
        self
    }

    /// Runs the suite.
    ///
    /// # Errors
    ///
    /// Everything in which the model does not hold to what [`Model`] asks of it.
    pub fn check<I, M>(&self, model: &M, inputs: &[B]) -> Result<(), Vec<Violation>>
    where
        I: ?Sized + Sync,
        O: Send,
        B: Borrow<I>,
        M: Model<I, O> + ?Sized,
    {
        let good: Vec<&I> = inputs.iter().map(Borrow::borrow).collect();
        let bad: Vec<&I> = self.bad.iter().map(Borrow::borrow).collect();
        let mut run = Run { model, good, bad, same: &*self.same, expected: Vec::new(), found: Vec::new() };
        run.all();
        if run.found.is_empty() { Ok(()) } else { Err(run.found) }
    }
}

impl<O, B> fmt::Debug for Suite<'_, O, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("bad_inputs", &self.bad.len()).finish_non_exhaustive()
    }
}

/// Something in which a model does not hold to what [`Model`] asks of it. Inputs go by their place in what was given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// It could not be loaded, or not a second time.
    #[error("it could not be loaded ({time}): {error}")]
    Load {
        /// Whether for the first time.
        time: &'static str,
        /// What it said.
        error: String,
    },
    /// It panicked.
    #[error("it panicked in {during}")]
    Panicked {
        /// In which part of the suite.
        during: String,
    },
    /// Its identity was not the same from call to call.
    #[error("its identity changed {when}")]
    Identity {
        /// Since when.
        when: &'static str,
    },
    /// It gave no answer to a good input.
    #[error("input {input}: no answer {when}: {error}")]
    NoAnswer {
        /// Which.
        input: usize,
        /// In which part of the suite.
        when: &'static str,
        /// What it said.
        error: String,
    },
    /// It answered a good input otherwise than the first time.
    #[error("input {input}: another answer than at first {when}")]
    Answer {
        /// Which.
        input: usize,
        /// In which part of the suite.
        when: &'static str,
    },
    /// It did not say that a bad input was at fault.
    #[error("bad input {input}: {found} instead of an error that blames the input, {when}")]
    NotRefused {
        /// Which of the bad ones.
        input: usize,
        /// What it said instead.
        found: String,
        /// In which part of the suite.
        when: &'static str,
    },
    /// It answered another number of requests than it was given.
    #[error("{found} answers to a batch of {given}")]
    BatchLength {
        /// How many it was given.
        given: usize,
        /// How many it answered.
        found: usize,
    },
    /// Warming up, making good what failures have cost, or going from tier to tier failed.
    #[error("{what} failed: {error}")]
    Upkeep {
        /// Which.
        what: &'static str,
        /// What it said.
        error: String,
    },
}

/// Whether two answers to the same input are the same.
type Same<'a, O> = dyn Fn(&O, &O) -> bool + 'a;

/// Enough to have two calls at the same time on every machine, few enough for a small one.
const THREADS: usize = 4;
/// How often each thread asks about every input.
const ROUNDS: usize = 8;
/// Longer than any run.
const GENEROUS: Duration = Duration::from_secs(3_600);

struct Run<'a, I: ?Sized, O, M: ?Sized> {
    model: &'a M,
    good: Vec<&'a I>,
    bad: Vec<&'a I>,
    same: &'a Same<'a, O>,
    /// What it answered at first, where it did.
    expected: Vec<Option<O>>,
    found: Vec<Violation>,
}

impl<I: ?Sized + Sync, O: Send, M: Model<I, O> + ?Sized> Run<'_, I, O, M> {
    fn all(&mut self) {
        let model = self.model;
        let Some(identity) = self.guarded("identity", || model.identity()) else { return };
        if !self.load("first time") {
            return;
        }
        self.same_identity(identity, "when it was loaded");
        self.first_answers();
        self.every_input("when asked again", |model, input| model.predict(input));
        self.load("second time");
        self.every_input("after a second load", |model, input| model.predict(input));
        self.upkeep();
        self.every_input("after warming up", |model, input| model.predict(input));
        self.tiers();
        self.every_input("with a generous limit", |model, input| model.predict_within(input, GENEROUS));
        self.several_threads();
        self.batches();
        self.bad_inputs();
        self.every_input("after bad inputs", |model, input| model.predict(input));
        self.same_identity(identity, "while it was used");
    }

    fn load(&mut self, time: &'static str) -> bool {
        let model = self.model;
        match self.guarded("load", || model.load()) {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.found.push(Violation::Load { time, error: error.to_string() });
                false
            }
            None => false,
        }
    }

    fn same_identity(&mut self, first: Identity, when: &'static str) {
        let model = self.model;
        if self.guarded("identity", || model.identity()).is_some_and(|identity| identity != first) {
            self.found.push(Violation::Identity { when });
        }
    }

    fn first_answers(&mut self) {
        let model = self.model;
        for (place, input) in self.good.clone().into_iter().enumerate() {
            let answer = self.guarded("predict", || model.predict(input));
            let answer = answer.and_then(|answer| {
                let failed = |error: ModelError| self.no_answer(place, "at first", &error);
                answer.map_err(failed).ok()
            });
            self.expected.push(answer);
        }
    }

    fn every_input(&mut self, when: &'static str, ask: impl Fn(&M, &I) -> Result<O, ModelError>) {
        let model = self.model;
        for (place, input) in self.good.clone().into_iter().enumerate() {
            if let Some(answer) = self.guarded(when, || ask(model, input)) {
                self.compare(place, when, answer);
            }
        }
    }

    fn several_threads(&mut self) {
        let when = "while other threads asked";
        let (model, good) = (self.model, &self.good);
        let asked = move |first: usize| {
            let places = (0..good.len() * ROUNDS).map(move |step| (first + step) % good.len());
            let ask = |place: usize| Some((place, model.predict(good.get(place)?)));
            places.filter_map(ask).collect::<Vec<_>>()
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let spawn = |first| std::thread::Builder::new().spawn_scoped(scope, move || asked(first));
            let threads: Vec<_> = (0..THREADS).filter_map(|first| spawn(first).ok()).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for result in results {
            match result {
                Ok(answers) => {
                    answers.into_iter().for_each(|(place, answer)| self.compare(place, when, answer))
                }
                Err(_) => self.found.push(Violation::Panicked { during: when.into() }),
            }
        }
        self.found.dedup();
    }

    fn batches(&mut self) {
        let model = self.model;
        let (good, bad) = (self.good.clone(), self.bad.clone());
        self.batch(&[], 0);
        self.batch(&good, good.len());
        if !bad.is_empty() {
            // A bad row spoils no other.
            let mixed: Vec<&I> = good.iter().chain(&bad).copied().collect();
            self.batch(&mixed, good.len());
        }
        if let Some(last) = good.last() {
            let place = good.len() - 1;
            if let Some(mut answers) = self.guarded("predict_batch", || model.predict_batch(&[last])) {
                match (answers.pop(), answers.len()) {
                    (Some(answer), 0) => self.compare(place, "in a batch of one", answer),
                    (last, more) => {
                        let found = more + usize::from(last.is_some());
                        self.found.push(Violation::BatchLength { given: 1, found });
                    }
                }
            }
        }
    }

    /// A batch of which the first `good` rows are good and the others bad.
    fn batch(&mut self, rows: &[&I], good: usize) {
        let model = self.model;
        let Some(answers) = self.guarded("predict_batch", || model.predict_batch(rows)) else { return };
        if answers.len() != rows.len() {
            self.found.push(Violation::BatchLength { given: rows.len(), found: answers.len() });
            return;
        }
        for (place, answer) in answers.into_iter().enumerate() {
            match place.checked_sub(good) {
                None => self.compare(place, "in a batch", answer),
                Some(place) => self.refused(place, "in a batch", answer),
            }
        }
    }

    fn bad_inputs(&mut self) {
        let model = self.model;
        for (place, input) in self.bad.clone().into_iter().enumerate() {
            if let Some(answer) = self.guarded("predict", || model.predict(input)) {
                self.refused(place, "on its own", answer);
            }
        }
    }

    fn upkeep(&mut self) {
        let model = self.model;
        if let Some(Err(error)) = self.guarded("warm_up", || model.warm_up()) {
            self.found.push(Violation::Upkeep { what: "warming up", error: error.to_string() });
        }
        if let Some(Err(error)) = self.guarded("maintain", || model.maintain()) {
            self.found.push(Violation::Upkeep { what: "maintaining", error: error.to_string() });
        }
        self.guarded("stop_overdue", || model.stop_overdue());
        self.guarded("description", || model.description());
    }

    /// Through every tier it has, and back: it answers in all but the cold one, and after it was woken.
    fn tiers(&mut self) {
        let model = self.model;
        for tier in [Tier::Warm, Tier::Cold, Tier::Hot, Tier::Cold] {
            let settled = self.guarded("settle", || model.settle(&Wanted::new(tier)));
            if let Some(Err(error)) = settled {
                self.found.push(Violation::Upkeep { what: "settling", error: error.to_string() });
            }
            if model.tier() == Tier::Cold
                && let Some(Err(error)) = self.guarded("wake", || model.wake())
            {
                self.found.push(Violation::Upkeep { what: "waking", error: error.to_string() });
            }
            self.every_input("in another tier, or woken", |model, input| model.predict(input));
        }
        if let Some(Err(error)) = self.guarded("settle", || model.settle(&Wanted::new(Tier::Hot))) {
            self.found.push(Violation::Upkeep { what: "settling", error: error.to_string() });
        }
        self.guarded("memory", || model.memory());
    }

    fn compare(&mut self, place: usize, when: &'static str, answer: Result<O, ModelError>) {
        let (Some(Some(expected)), same) = (self.expected.get(place), self.same) else { return };
        match answer {
            Ok(answer) if same(expected, &answer) => {}
            Ok(_) => self.found.push(Violation::Answer { input: place, when }),
            Err(error) => self.no_answer(place, when, &error),
        }
    }

    fn refused(&mut self, input: usize, when: &'static str, answer: Result<O, ModelError>) {
        let found = match answer {
            Err(error) if error.kind() == ErrorKind::Input => return,
            Err(error) => format!("`{error}`"),
            Ok(_) => "an answer".into(),
        };
        self.found.push(Violation::NotRefused { input, found, when });
    }

    fn no_answer(&mut self, input: usize, when: &'static str, error: &ModelError) {
        self.found.push(Violation::NoAnswer { input, when, error: error.to_string() });
    }

    fn guarded<T>(&mut self, during: &str, run: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(run));
        if result.is_err() {
            self.found.push(Violation::Panicked { during: during.into() });
        }
        result.ok()
    }
}

//! Checks that a model holds to what `Model` asks of it.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::base::causes::debug_as_told;
use crate::base::causes::in_full;
use crate::base::guarded::guarded;
use crate::model::error::{ErrorKind, ModelError};
use crate::model::identity::Identity;
use crate::model::lifecycle::Lifecycle;
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::model::{TargetTier, Tier};

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
pub fn conformance<I, O, M>(model: &M, inputs: &[impl Borrow<I> + Sync]) -> Result<(), Vec<ConformanceError>>
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
    pub fn check<I, M>(&self, model: &M, inputs: &[B]) -> Result<(), Vec<ConformanceError>>
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
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConformanceError {
    /// It could not be loaded, or not a second time.
    #[error("the model could not be loaded the {time}: {error}")]
    Load {
        /// Whether for the first time.
        time: &'static str,
        /// The error that it gave.
        error: String,
    },
    /// It panicked.
    #[error("the model panicked in {during}")]
    Panicked {
        /// In which part of the suite.
        during: String,
    },
    /// Its identity was not the same from call to call.
    #[error("the model's identity changed {when}")]
    Identity {
        /// Since when.
        when: &'static str,
    },
    /// It gave no answer to a good input.
    #[error("input {input}: the model gave no answer {when}: {error}")]
    NoAnswer {
        /// Which.
        input: usize,
        /// In which part of the suite.
        when: &'static str,
        /// The error that it gave.
        error: String,
    },
    /// It answered a good input otherwise than the first time.
    #[error("input {input}: the model gave another answer {when} than at first")]
    Answer {
        /// Which.
        input: usize,
        /// In which part of the suite.
        when: &'static str,
    },
    /// It did not say that a bad input was at fault.
    #[error("bad input {input}: the model gave {found} {when}, and not an error that blames the input")]
    NotRefused {
        /// Which of the bad ones.
        input: usize,
        /// The response that it gave instead.
        found: String,
        /// In which part of the suite.
        when: &'static str,
    },
    /// It answered another number of requests than it was given.
    #[error("the model gave {found} answers to a batch of {given}")]
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
        /// The error that it gave.
        error: String,
    },
}

debug_as_told!(ConformanceError);

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
    /// The answer that it gave at first, where it gave one.
    expected: Vec<Option<O>>,
    found: Vec<ConformanceError>,
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
        let load = |own: &dyn Lifecycle| own.load(&LoadThrottle::new());
        match self.of_lifecycle("load", Ok(()), load) {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.found.push(ConformanceError::Load { time, error: in_full(&error) });
                false
            }
            None => false,
        }
    }

    fn same_identity(&mut self, first: Identity, when: &'static str) {
        let model = self.model;
        if self.guarded("identity", || model.identity()).is_some_and(|identity| identity != first) {
            self.found.push(ConformanceError::Identity { when });
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
                Err(_) => self.found.push(ConformanceError::Panicked { during: when.into() }),
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
                        self.found.push(ConformanceError::BatchLength { given: 1, found });
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
            self.found.push(ConformanceError::BatchLength { given: rows.len(), found: answers.len() });
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
        if let Some(Err(error)) = self.of_lifecycle("warm_up", Ok(true), |own| own.warm_up()) {
            self.found.push(ConformanceError::Upkeep { what: "warming up", error: in_full(&error) });
        }
        if let Some(Err(error)) = self.of_lifecycle("maintain", Ok(()), |own| own.maintain()) {
            self.found.push(ConformanceError::Upkeep { what: "maintaining", error: in_full(&error) });
        }
        self.of_lifecycle("stop_overdue", (), |own| own.stop_overdue());
        self.of_lifecycle("description", None, |own| Some(own.description()));
    }

    /// Through every tier it has, and back: it answers in all but the cold one, and after it was woken.
    fn tiers(&mut self) {
        if self.model.lifecycle().is_none() {
            return;
        }
        for tier in [Tier::Warm, Tier::Cold, Tier::Hot, Tier::Cold] {
            self.settle(tier);
            if self.of_lifecycle("tier", Tier::Hot, |own| own.tier()) == Some(Tier::Cold)
                && let Some(Err(error)) = self.of_lifecycle("wake", Ok(()), |own| own.wake())
            {
                self.found.push(ConformanceError::Upkeep { what: "waking", error: in_full(&error) });
            }
            self.every_input("in another tier, or woken", |model, input| model.predict(input));
        }
        self.settle(Tier::Hot);
        self.of_lifecycle("memory", None, |own| own.memory());
    }

    fn settle(&mut self, tier: Tier) {
        let settle = |own: &dyn Lifecycle| own.settle(&TargetTier::new(tier));
        if let Some(Err(error)) = self.of_lifecycle("settle", Ok(Tier::Hot), settle) {
            self.found.push(ConformanceError::Upkeep { what: "settling", error: in_full(&error) });
        }
    }

    /// Returns what the model's lifecycle does, `without` where it has none; nothing where it panics.
    fn of_lifecycle<T>(
        &mut self,
        during: &str,
        without: T,
        run: impl FnOnce(&dyn Lifecycle) -> T,
    ) -> Option<T> {
        let model = self.model;
        self.guarded(during, || match model.lifecycle() {
            Some(own) => run(own),
            None => without,
        })
    }

    fn compare(&mut self, place: usize, when: &'static str, answer: Result<O, ModelError>) {
        let (Some(Some(expected)), same) = (self.expected.get(place), self.same) else { return };
        match answer {
            Ok(answer) if same(expected, &answer) => {}
            Ok(_) => self.found.push(ConformanceError::Answer { input: place, when }),
            Err(error) => self.no_answer(place, when, &error),
        }
    }

    fn refused(&mut self, input: usize, when: &'static str, answer: Result<O, ModelError>) {
        let found = match answer {
            Err(error) if error.kind() == ErrorKind::Input => return,
            Err(error) => format!("`{error}`"),
            Ok(_) => "an answer".into(),
        };
        self.found.push(ConformanceError::NotRefused { input, found, when });
    }

    fn no_answer(&mut self, input: usize, when: &'static str, error: &ModelError) {
        self.found.push(ConformanceError::NoAnswer { input, when, error: in_full(error) });
    }

    fn guarded<T>(&mut self, during: &str, run: impl FnOnce() -> T) -> Option<T> {
        let result = guarded(run);
        if result.is_err() {
            self.found.push(ConformanceError::Panicked { during: during.into() });
        }
        result.ok()
    }
}

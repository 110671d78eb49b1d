//! What answers: the [`Model`] trait, its identity, and ONNX models behind the feature `onnx`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::error::{LoadError, ModelError};
use crate::pace::Pace;

#[cfg(feature = "onnx")]
pub mod onnx;
mod tier;

pub use tier::{Memory, Tier, Wanted};

/// Something that answers a request of type `I` with an answer of type `O`: an ONNX model with its pipeline, a closure
/// ([`closure`]), a native algorithm, another engine.
///
/// A model is shared by every thread that asks it, so `predict` takes `&self`; what a call needs of its own it takes
/// from a pool or makes on the stack. Whoever implements this can run the suite in
/// [`testing::conformance`](crate::testing::conformance) on it.
pub trait Model<I: ?Sized, O>: Send + Sync {
    /// Answers one request.
    ///
    /// Runs on the threads of the host's requests, and on shadow workers. A panic is caught by the handle and counted
    /// like an error.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] where the request is at fault, anything else where the model is.
    fn predict(&self, input: &I) -> Result<O, ModelError>;

    /// What makes this version the same as another: its files, its pipeline and the options that change answers.
    fn identity(&self) -> Identity;

    /// Makes the model ready to answer. Called once by the handle before any traffic, on the thread that stages, never
    /// on a request's; calling it again does nothing.
    ///
    /// # Errors
    ///
    /// Whatever keeps the model from being loaded; the model may be asked to load again.
    fn load(&self) -> Result<(), LoadError> {
        Ok(())
    }

    /// Like [`load`](Self::load), at the pace it is given: asks it before each step that takes long. A handle calls this one.
    /// The default asks once, before all of it.
    ///
    /// # Errors
    ///
    /// Those of `load`, and [`LoadError::Cancelled`].
    fn load_at(&self, pace: &Pace) -> Result<(), LoadError> {
        pace.step()?;
        self.load()
    }

    /// How ready it is. The default, and whatever has no other way to be, is hot as long as it is loaded.
    fn tier(&self) -> Tier {
        Tier::Hot
    }

    /// Makes a model that is loaded, and has gone [cold](Tier::Cold) since, answer again as soon as can be. Called before it
    /// gets traffic, on the thread that rolls back, never on a request's. Returns at once where it can answer.
    ///
    /// # Errors
    ///
    /// What it needs is not to be had any more.
    fn wake(&self) -> Result<(), LoadError> {
        Ok(())
    }

    /// Goes to the tier that is wanted, as far as there is such a one for this model, and gives the one it is in. Requests go
    /// on meanwhile: what answers them is exchanged, never missing, unless cold is wanted. The handle's background work calls
    /// this on one thread at a time.
    ///
    /// # Errors
    ///
    /// Whatever stands in the way; the model stays as it was.
    fn settle(&self, wanted: &Wanted) -> Result<Tier, LoadError> {
        let _ = wanted;
        Ok(self.tier())
    }

    /// What it takes of the process's memory; nothing where that is not known. May take milliseconds.
    fn memory(&self) -> Option<Memory> {
        None
    }

    /// Runs once on an input made up from the model's own signature, so that the first request is not the first run.
    /// Returns whether it ran: `false` where the model cannot make up an input, as is the default.
    ///
    /// # Errors
    ///
    /// The failure of that run.
    fn warm_up(&self) -> Result<bool, ModelError> {
        Ok(false)
    }

    /// Answers several requests, in their order. The default asks one after the other; an engine that gains from
    /// batches brings its own.
    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        inputs.iter().map(|input| self.predict(input)).collect()
    }

    /// Like [`predict`](Self::predict), and gives up after `limit`. The default cannot interrupt itself and answers
    /// late; the handle then counts a missed deadline.
    ///
    /// # Errors
    ///
    /// [`ModelError::Deadline`] where it gave up, besides those of `predict`.
    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        let _ = limit;
        self.predict(input)
    }

    /// Stops the runs of [`predict_within`](Self::predict_within) whose time is up. The handle's background work calls
    /// this again and again while calls with a limit may be under way, so it must return at once where there are none.
    fn stop_overdue(&self) {}

    /// Makes good what failures have cost, on the calling thread: a model with a pool replaces the sessions that panics
    /// have taken out of it. The handle's background work calls this now and then; requests never do.
    ///
    /// # Errors
    ///
    /// Whatever keeps the model from being mended; it goes on with what it has, and may be asked again.
    fn maintain(&self) -> Result<(), LoadError> {
        Ok(())
    }

    /// What a person wants to know about the model, for `status()`.
    fn description(&self) -> Description {
        Description::default()
    }
}

/// A model that is shared stays in the tier it is in: whoever else has it may be asking it.
impl<I: ?Sized, O, M: Model<I, O> + ?Sized> Model<I, O> for Arc<M> {
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        (**self).predict(input)
    }
    fn identity(&self) -> Identity {
        (**self).identity()
    }
    fn load(&self) -> Result<(), LoadError> {
        (**self).load()
    }
    fn load_at(&self, pace: &Pace) -> Result<(), LoadError> {
        (**self).load_at(pace)
    }
    fn warm_up(&self) -> Result<bool, ModelError> {
        (**self).warm_up()
    }
    fn memory(&self) -> Option<Memory> {
        (**self).memory()
    }
    fn predict_batch(&self, inputs: &[&I]) -> Vec<Result<O, ModelError>> {
        (**self).predict_batch(inputs)
    }
    fn predict_within(&self, input: &I, limit: Duration) -> Result<O, ModelError> {
        (**self).predict_within(input, limit)
    }
    fn stop_overdue(&self) {
        (**self).stop_overdue();
    }
    fn maintain(&self) -> Result<(), LoadError> {
        (**self).maintain()
    }
    fn description(&self) -> Description {
        (**self).description()
    }
}

/// A model made of a closure, named so that its versions can be told apart.
///
/// `name` is all that a closure's [`Identity`] can be made of, so change it whenever the closure changes:
/// `"moving-average@1.2"`.
///
/// ```
/// use switchback::{Model, ModelError, closure};
///
/// let model = closure("double@1.0", |x: &f64| Ok::<_, ModelError>(x * 2.0));
/// assert_eq!(model.predict(&21.0).unwrap(), 42.0);
/// ```
pub fn closure<I: ?Sized, O, F>(name: impl Into<String>, answer: F) -> Closure<F>
where
    F: Fn(&I) -> Result<O, ModelError> + Send + Sync,
{
    Closure { name: name.into(), answer }
}

/// A [`Model`] made of a closure: see [`closure`].
pub struct Closure<F> {
    name: String,
    answer: F,
}

impl<I: ?Sized, O, F> Model<I, O> for Closure<F>
where
    F: Fn(&I) -> Result<O, ModelError> + Send + Sync,
{
    fn predict(&self, input: &I) -> Result<O, ModelError> {
        (self.answer)(input)
    }

    fn identity(&self) -> Identity {
        Identity::of([("closure", self.name.as_bytes())])
    }

    fn description(&self) -> Description {
        Description { pipeline: Some(self.name.clone()), ..Description::default() }
    }
}

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closure").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What makes two versions the same: a SHA-256 over the digest of the files, the pipeline's name and version, and the
/// options that change answers. Two versions of equal identity answer alike, whatever they are called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

impl Identity {
    /// The identity of the given named parts. Order matters; each part is framed by its lengths, so that no two lists
    /// of parts run into each other.
    pub fn of<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut hash = Sha256::new();
        for (name, value) in parts {
            for field in [name.as_bytes(), value] {
                hash.update((field.len() as u64).to_le_bytes());
                hash.update(field);
            }
        }
        Self(hash.finalize().into())
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first 12 hexadecimal digits.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        match digits {
            Some(digits) if digits.len() == 64 => {
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = pair.iter().fold(0, |value, digit| value << 4 | digit);
                }
                Ok(Self(bytes))
            }
            _ => Err(serde::de::Error::custom("an identity is 64 hexadecimal digits")),
        }
    }
}

/// What a model says of itself, for people and for `status()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// Name and version of the feature pipeline.
    pub pipeline: Option<String>,
    /// Inputs, one line each: name, element type, shape with symbolic dimensions.
    pub inputs: Vec<String>,
    /// Outputs, likewise.
    pub outputs: Vec<String>,
    /// Producer, operator sets and the file's own metadata, as key and value.
    pub metadata: Vec<(String, String)>,
    /// Size of the model's files, in bytes; 0 where it has none.
    pub file_bytes: u64,
    /// Sessions in the pool; 0 for a model without one.
    pub sessions: usize,
    /// Whether it was loaded from its prepared form.
    pub prepared: bool,
    /// Why it has no prepared form, where it was to have one.
    pub unprepared: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_identity_do_not_run_into_each_other() {
        let parts = |list: &[(&'static str, &'static str)]| {
            Identity::of(list.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Vec<_>>())
        };
        assert_ne!(parts(&[("a", "bc")]), parts(&[("ab", "c")]));
        assert_ne!(parts(&[("a", "b"), ("c", "d")]), parts(&[("c", "d"), ("a", "b")]));
        assert_eq!(parts(&[("a", "b")]), parts(&[("a", "b")]));
    }

    #[test]
    fn an_identity_survives_serde_and_bad_ones_are_refused() {
        let identity = Identity::of([("model", b"bytes".as_slice())]);
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
        assert!(serde_json::from_str::<Identity>("\"zz\"").is_err());
        assert!(serde_json::from_str::<Identity>("\"00\"").is_err());
    }
}

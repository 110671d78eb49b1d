//! The options of what a handle may do with inputs, and what it may know of them.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::base::guarded::Contained;
use crate::drift::watch::Features;
use crate::request::shadow::BytesOf;
use crate::task::segments::Reader;
use crate::version::input::{CopyInput, Keep, KeptInput};

/// The options for inputs, which say what a handle may do with them and know of them: a sample that every version must
/// answer, whether inputs may be copied, how large they are, which segment they belong to, and what their features are. All of it is code of the
/// host's, so unlike the other groups it is no plain data.
///
/// ```
/// use switchback::options::Inputs;
/// use switchback::{ModelHandle, closure};
///
/// struct Flight { airport: String, delay: f64 }
///
/// let inputs = Inputs::new()
///     .sample(Flight { airport: "JFK".into(), delay: 12.0 })
///     .segment(|flight: &Flight| &flight.airport);
/// let handle = ModelHandle::builder("arrivals")
///     .live("v1", closure("v1@1", |flight: &Flight| Ok(flight.delay > 15.0)))
///     .inputs(inputs)
///     .build()?;
/// # Ok::<(), switchback::BuildError>(())
/// ```
#[must_use]
pub struct Inputs<I: ?Sized + 'static> {
    pub(crate) sample: Option<Arc<dyn KeptInput<I> + Sync>>,
    pub(crate) copy: Option<CopyInput<I>>,
    pub(crate) bytes_of: Option<BytesOf<I>>,
    pub(crate) segment: Option<Reader<I>>,
    pub(crate) features: Option<Features<I>>,
}

impl<I: ?Sized + 'static> Inputs<I> {
    /// No sample, no copies, and no segments.
    pub const fn new() -> Self {
        Self { sample: None, copy: None, bytes_of: None, segment: None, features: None }
    }

    /// A request that every version must answer, validly, before it takes any traffic. Without it a version is warmed
    /// up with an input made from its own signature, where it can make one. That is no verdict: one that fails on it is used all
    /// the same, and an event says that it is [not proven](crate::events::EventKind::NotProven). Where inputs are copied for a
    /// [drill](super::Retention::drill), a few that live was asked lately prove it.
    pub fn sample<T: Borrow<I> + Send + Sync + 'static>(mut self, sample: T) -> Self {
        self.sample = Some(Arc::new(Keep::new(sample)));
        self
    }

    /// Inputs may be copied: for a [drill](super::Retention::drill). [`Builder::shadowing`](crate::Builder::shadowing) says so
    /// too.
    pub fn copied(mut self) -> Self
    where
        I: ToOwned,
        I::Owned: Send + 'static,
    {
        self.copy = Some(|input| Box::new(Keep::new(input.to_owned())));
        self
    }

    /// How many bytes a copy of an input takes, for the limit of the queue of copies
    /// ([`Shadowing::queue_bytes`](super::Shadowing::queue_bytes)). By default its own size, which is all of it for
    /// numbers, text and slices of plain values. A type that owns memory (one with a destructor: a `Vec`, a struct with a
    /// `String`) needs this where it is shadowed, or `build` refuses it. Answers that are copied for
    /// [`compare`](crate::Task::compare) and the few inputs of a [drill](super::Retention::drill) are bounded by number.
    pub fn bytes(mut self, bytes: impl Fn(&I) -> usize + Send + Sync + 'static) -> Self {
        let bytes = Contained::new(bytes);
        self.bytes_of = Some(Box::new(move |input| bytes(input)));
        self
    }

    /// Labels each prediction, so that what becomes of it is seen by segment: an airport, a country. Called for every
    /// request on its thread, under no lock; it costs a hash of the label. Labels are shown in `status()`, so they must
    /// be no user's: where a label comes from a request, answer with one of a list of your own and leave out what is not on it. Whoever
    /// may invent labels uses up the room for others, and has theirs shown.
    ///
    /// The first 64 labels are told apart unless [`Limits::segments`](super::Limits::segments) says another number; the rest,
    /// empty ones, those of more than 128 bytes, and those with a character that does not show as itself are `other`. A guard looks at them
    /// [`by_segment`](crate::guard::ErrorRate::by_segment).
    pub fn segment(mut self, label: impl Fn(&I) -> &str + Send + Sync + 'static) -> Self {
        let label = Contained::new(label);
        self.segment = Some(Box::new(move |input| label(input)));
        self
    }

    /// Says what the features of an input are, so that the [drift](crate::drift::Drift) of what comes in is watched, against the data that
    /// the profile was made of: those that the version which is live when the handle is built was trained on. It stays the same when another version becomes
    /// live. `read` pushes one value of each of the profile's features, in its order; it is called on the requests'
    /// threads, for sampled ones, under no lock. A row that has more or fewer values, or on which it panics, is counted as a
    /// [misfit](crate::drift::DriftStatus::misfits) and not compared.
    ///
    /// Where [`Builder::drift`](crate::Builder::drift) is not said, it is watched as [`Drift::new`](crate::drift::Drift::new) says.
    #[cfg(feature = "drift")]
    pub fn features(
        mut self,
        reference: crate::drift::ReferenceProfile,
        read: impl Fn(&I, &mut crate::drift::Cells<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.features = Some(Features::new(reference, read));
        self
    }
}

impl<I: ?Sized + 'static> Default for Inputs<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: ?Sized + 'static> std::fmt::Debug for Inputs<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs")
            .field("sample", &self.sample.is_some())
            .field("copied", &self.copy.is_some())
            .field("bytes", &self.bytes_of.is_some())
            .field("segment", &self.segment.is_some())
            .field("features", &self.features.is_some())
            .finish()
    }
}

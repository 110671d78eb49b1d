//! What a fleet needs of a store.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::key::Key;
use super::unfit::UnfitStoreError;
use crate::base::causes::{debug_as_told, in_full};
use crate::base::clock::Timestamp;

/// Where the processes of a fleet agree: values under keys, of which each is replaced only by whoever knows it.
///
/// [`InMemory`](super::InMemory) and [`Directory`](super::Directory) are two; `Bucket` and `Postgres`, with the features
/// `fleet-bucket` and `fleet-postgres`, are two more. Anybody can write another one, for whatever they run anyway.
/// `fleet::conformance`, with the feature `testing`, says whether it holds to what follows.
///
/// # What a store must hold to
///
/// - **`get` and `put` of one key are linearizable**: each takes effect at one moment between its call and its return, for all
///   processes. A cache, a replica that lags and a read that is not of the newest break everything that is built on it.
/// - **A `put` succeeds only over what it names.** There is none without a condition. Of several over the same, one succeeds.
/// - **A tag never names two contents.** It may be a digest, since callers put a number into each value that no other has; a
///   counter must not begin again where a value was removed.
/// - **What is not known is said to be so.** [`StoreError::Unknown`] is for every call whose request may have been received and
///   whose answer was not: a time-out, a connection that broke, a status of 500. A store that retries by itself must not
///   answer [`Conflict`](StoreError::Conflict) to its own first try. Any other error says that nothing happened, and nothing
///   may happen later.
/// - **`at` is the store's clock**, the same for all: never that of the process that asks. It may stand still, not go back by
///   more than some seconds.
/// - **A listing shows all that was acknowledged before it was called**, in the order of the keys' bytes.
///
/// Calls block, and come from threads that may wait, never from a request's. They come from several threads at once. Give each
/// call an end: one that lasts longer than a lease is as good as none. A member makes one call at a time, and its handle's
/// verbs wait for it, so a store calls no handle.
pub trait Store: Send + Sync + 'static {
    /// The value of a key; [`Read::Same`], without its bytes, where it is still the one that `known` names.
    ///
    /// # Errors
    ///
    /// The store could not be asked, or what it gave is not what was put.
    fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError>;

    /// Puts a value in the place of what `over` names. The new value's tag.
    ///
    /// # Errors
    ///
    /// [`Conflict`](StoreError::Conflict) where something else is there, [`Unknown`](StoreError::Unknown) where nobody can say
    /// what came of it. An empty value is refused: a store may mark with one what was removed.
    fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError>;

    /// The keys under `under`, those after `after` where it is given, as many as the store gives at once.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError>;

    /// Removes a value that has this tag. For sweeping alone: nothing that agrees depends on it.
    ///
    /// # Errors
    ///
    /// As of [`put`](Self::put); [`Refused`](StoreError::Refused) where a store removes nothing, or may not.
    fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError>;

    /// What is asked of whoever uses it.
    fn limits(&self) -> StoreLimits {
        StoreLimits::default()
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
        (**self).get(key, known)
    }
    fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
        (**self).put(key, value, over)
    }
    fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
        (**self).list(under, after)
    }
    fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
        (**self).remove(key, that)
    }
    fn limits(&self) -> StoreLimits {
        (**self).limits()
    }
}

/// Which content of a key it is, in the store's words: an ETag, a generation, a number. Two are compared, nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// A tag that a store made.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// As the store has written it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// What a [`put`](Store::put) takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over<'a> {
    /// Of nothing: there is no value, or it was removed.
    Nothing,
    /// Of the content with this tag.
    This(&'a Tag),
}

/// What a [`get`](Store::get) has found. Its `Debug` tells how many bytes a value has and not which: it is read in errors.
#[derive(Clone, PartialEq, Eq)]
pub enum Read {
    /// There is no value.
    Absent,
    /// It is the one that was known.
    Same,
    /// This one.
    Value {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Which content it is.
        tag: Tag,
        /// When it was put, by the store's clock.
        at: Timestamp,
    },
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Same => f.write_str("Same"),
            Self::Value { bytes, tag, at } => {
                let bytes = format_args!("{} bytes", bytes.len());
                f.debug_struct("Value").field("bytes", &bytes).field("tag", tag).field("at", at).finish()
            }
        }
    }
}

/// A part of a [listing](Store::list).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Listed>,
    /// Whether there are others after the last one: ask again `after` it.
    pub more: bool,
}

/// A value in a [listing](Store::list).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Which content it is.
    pub tag: Tag,
    /// How many bytes it has.
    pub length: u64,
    /// When it was put, by the store's clock.
    pub at: Timestamp,
}

/// What a store asks of whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// The longest value, in bytes. 4 MiB unless the store says otherwise: the largest that a fleet writes is a ledger.
    pub value_bytes: u64,
    /// How often one key may be put in a second, where the store has such a limit (Google's has: once).
    pub puts_a_second: Option<u32>,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { value_bytes: 4 << 20, puts_a_second: None }
    }
}

impl StoreLimits {
    /// These, with another longest value.
    #[must_use]
    pub fn value_bytes(self, bytes: u64) -> Self {
        Self { value_bytes: bytes, ..self }
    }

    /// These, with a limit of how often one key may be put in a second.
    #[must_use]
    pub fn puts_a_second(self, puts: u32) -> Self {
        Self { puts_a_second: Some(puts), ..self }
    }

    /// # Errors
    ///
    /// The value is empty, or longer than is allowed.
    pub(crate) fn check(self, value: &[u8]) -> Result<(), StoreError> {
        let bytes = value.len() as u64;
        match bytes {
            0 => Err(StoreError::refused("an empty value is none")),
            _ if bytes > self.value_bytes => Err(StoreError::TooLarge { bytes, limit: self.value_bytes }),
            _ => Ok(()),
        }
    }
}

/// Why a store did not do what it was asked. What matters most about it is its [`outcome`](Self::outcome).
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something else is there than what was to be replaced. Nothing was done. Read it, and decide again.
    #[error("the value was replaced by somebody else: read it, and decide again")]
    Conflict,
    /// It may have been done, may be done yet, or not at all. Look what is there before anything else is written.
    #[error("whether the store has done it is not known ({}): look what is there", in_full(&**cause))]
    Unknown {
        /// What happened.
        cause: StoreCause,
    },
    /// The store cannot be reached now. Nothing was done. Try again later.
    #[error("the store cannot be reached ({}): nothing was done, try again later", in_full(&**cause))]
    Unreachable {
        /// What happened.
        cause: StoreCause,
    },
    /// The store does not do it: no permission, no such bucket, not supported. Nothing was done, and a person is needed.
    #[error("the store refuses ({}): look at its address, its permissions and its room", in_full(&**cause))]
    Refused {
        /// What it said.
        cause: StoreCause,
    },
    /// The store does not hold to what [`Store`] asks of it. Nothing was done, and nothing may be agreed in it.
    #[error("the store is not fit for a fleet ({found}): use another one")]
    Unfit {
        /// In what it does not.
        found: UnfitStoreError,
    },
    /// A value is longer than the store, or whoever reads it, takes. Nothing was done.
    #[error("the value has {bytes} bytes, and at most {limit} are allowed")]
    TooLarge {
        /// How many it has; at least so many where it was not read to its end.
        bytes: u64,
        /// How many it may have.
        limit: u64,
    },
    /// What is there is not what was put.
    #[error("the value is damaged ({}): put back the one that was there", in_full(&**cause))]
    Damaged {
        /// What tells.
        cause: StoreCause,
    },
}

debug_as_told!(StoreError);

/// What lies behind a [`StoreError`].
pub type StoreCause = Arc<dyn Error + Send + Sync>;

/// What came of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Nothing was done, and nothing will be.
    NotDone,
    /// Nothing was done, because something else was there.
    Conflict,
    /// Nobody can say.
    Unknown,
}

impl StoreError {
    /// What came of the call.
    pub fn outcome(&self) -> StoreOutcome {
        match self {
            Self::Conflict => StoreOutcome::Conflict,
            Self::Unknown { .. } => StoreOutcome::Unknown,
            Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Unfit { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. } => StoreOutcome::NotDone,
        }
    }

    /// [`Unknown`](Self::Unknown), because of this.
    pub fn unknown(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unknown { cause: Arc::from(cause.into()) }
    }

    /// [`Unreachable`](Self::Unreachable), because of this.
    pub fn unreachable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable { cause: Arc::from(cause.into()) }
    }

    /// [`Refused`](Self::Refused), because of this.
    pub fn refused(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused { cause: Arc::from(cause.into()) }
    }

    /// [`Damaged`](Self::Damaged), because of this.
    pub fn damaged(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged { cause: Arc::from(cause.into()) }
    }
}

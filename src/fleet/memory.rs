//! A store in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use parking_lot::Mutex;

use super::key::Key;
use super::store::{Listed, Over, Page, Read, Store, StoreError, StoreLimits, Tag};
use crate::base::clock::{Clock, Timestamp};

/// How many keys a listing gives at once: few, so that whoever reads one is used to asking again.
const PAGE: usize = 100;

/// A store in the memory of this process: for tests, and for several handles of one process.
///
/// ```
/// use switchback::Clock;
/// use switchback::fleet::{Key, InMemory, Over, Read, Store, StoreError};
///
/// let store = InMemory::new(Clock::system());
/// let head = Key::new("h/late/head")?;
/// let first = store.put(&head, b"1", Over::Nothing)?;
/// let second = store.put(&head, b"2", Over::This(&first))?;
/// assert!(matches!(store.put(&head, b"3", Over::This(&first)), Err(StoreError::Conflict)));
/// assert_eq!(store.get(&head, Some(&second))?, Read::Same);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct InMemory {
    clock: Clock,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Counts everything that was ever put, so that a tag names one content although keys are removed and made again.
    puts: u64,
    values: BTreeMap<Key, Value>,
}

struct Value {
    bytes: Vec<u8>,
    tag: Tag,
    at: Timestamp,
}

impl InMemory {
    /// An empty store whose time is this clock's.
    pub fn new(clock: Clock) -> Self {
        Self { clock, kept: Mutex::default() }
    }
}

impl Store for InMemory {
    fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
        Ok(match self.kept.lock().values.get(key) {
            None => Read::Absent,
            Some(value) if Some(&value.tag) == known => Read::Same,
            Some(value) => Read::Value { bytes: value.bytes.clone(), tag: value.tag.clone(), at: value.at },
        })
    }

    fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
        self.limits().check(value)?;
        let kept = &mut *self.kept.lock();
        kept.is_over(key, over)?;
        kept.puts += 1;
        let tag = Tag::new(kept.puts.to_string());
        let value = Value { bytes: value.to_vec(), tag: tag.clone(), at: self.clock.now() };
        kept.values.insert(key.clone(), value);
        Ok(tag)
    }

    fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
        let kept = self.kept.lock();
        let from = after.map_or(Bound::Included(under), |after| Bound::Excluded(after.max(under)));
        // Keys that only begin with the same letters lie between: `a-b` comes before `a/b`.
        let mut below = kept
            .values
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(under.as_str()))
            .filter(|(key, _)| key.below(under).is_some());
        let entries = below.by_ref().take(PAGE);
        let entries = entries.map(|(key, value)| Listed {
            key: key.clone(),
            tag: value.tag.clone(),
            length: value.bytes.len() as u64,
            at: value.at,
        });
        Ok(Page { entries: entries.collect(), more: below.next().is_some() })
    }

    fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
        let kept = &mut *self.kept.lock();
        kept.is_over(key, Over::This(that))?;
        kept.values.remove(key);
        Ok(())
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits::default()
    }
}

impl Kept {
    fn is_over(&self, key: &Key, over: Over<'_>) -> Result<(), StoreError> {
        let there = self.values.get(key).map(|value| &value.tag);
        let named = match over {
            Over::Nothing => None,
            Over::This(tag) => Some(tag),
        };
        if there == named { Ok(()) } else { Err(StoreError::Conflict) }
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").field("values", &self.kept.lock().values.len()).finish_non_exhaustive()
    }
}

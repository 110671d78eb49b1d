//! What one process of a fleet sees of its store, where that is in memory: it can be cut off, and overtaken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use switchback::fleet::{InMemory, Key, Over, Page, Read, Store, StoreError, Tag};

type Meanwhile = Box<dyn FnOnce() + Send>;

/// What becomes of what one process asks.
#[derive(Default)]
pub(crate) struct Wire {
    cut: AtomicBool,
    meanwhile: Mutex<Option<Meanwhile>>,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Wire {
    /// Cuts the process off, or ends that.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.cut.store(is_cut, Ordering::Relaxed);
    }

    /// How many requests this process has made: reads, and what stores bill like a write (puts, listings, removals).
    #[allow(dead_code, reason = "a test asks for no costs")]
    pub(crate) fn requests(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed))
    }

    /// Has this happen just before the process puts a head the next time.
    #[allow(dead_code, reason = "a bench overtakes nobody")]
    pub(crate) fn overtake(&self, meanwhile: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    }
}

pub(crate) struct Line {
    store: Arc<InMemory>,
    wire: Arc<Wire>,
}

impl Line {
    pub(crate) fn new(store: &Arc<InMemory>) -> (Self, Arc<Wire>) {
        let wire = Arc::<Wire>::default();
        (Self { store: Arc::clone(store), wire: Arc::clone(&wire) }, wire)
    }

    fn there(&self) -> Result<&InMemory, StoreError> {
        if self.wire.cut.load(Ordering::Relaxed) {
            return Err(StoreError::Unreachable { cause: Arc::new(std::io::Error::other("cut off")) });
        }
        Ok(&self.store)
    }
}

impl Store for Line {
    fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
        self.wire.reads.fetch_add(1, Ordering::Relaxed);
        self.there()?.get(key, known)
    }
    fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
        if key.as_str().ends_with("/head")
            && let Some(meanwhile) = self.wire.meanwhile.lock().unwrap().take()
        {
            meanwhile();
        }
        self.wire.writes.fetch_add(1, Ordering::Relaxed);
        self.there()?.put(key, value, over)
    }
    fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
        self.wire.writes.fetch_add(1, Ordering::Relaxed);
        self.there()?.list(under, after)
    }
    fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
        self.wire.writes.fetch_add(1, Ordering::Relaxed);
        self.there()?.remove(key, that)
    }
}

//! Checks that a store holds to what `Store` asks of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use super::history::{Act, HistoryError, Operation, Said, check};
use super::key::Key;
use super::probe::Asking;
use super::store::{Over, Read, Store, StoreError, StoreOutcome, Tag};
use super::unfit::UnfitStoreError;
use crate::base::causes::debug_as_told;
use crate::base::chance::SplitMix64;

/// Checks that a store holds to what [`Store`] asks of it, with keys under `under`, where nothing may be yet. See [`StoreSuite`] for
/// more clients.
///
/// What it finds is broken. What it does not find may be: it makes no machine stop, and cuts no connection. The tests of this
/// crate do that for [`Directory`](super::Directory), with processes that are killed and stopped.
///
/// ```
/// use switchback::Clock;
/// use switchback::fleet::{Key, InMemory, conformance};
///
/// conformance(&InMemory::new(Clock::system()), &Key::new("conformance")?).unwrap();
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
///
/// # Errors
///
/// Everything in which it does not.
pub fn conformance(store: &dyn Store, under: &Key) -> Result<(), Vec<StoreConformanceError>> {
    StoreSuite::new().check(store, under)
}

/// The suite behind [`conformance`].
#[derive(Debug, Clone)]
#[must_use = "`check` runs it"]
pub struct StoreSuite {
    clients: u32,
    rounds: u32,
    seed: u64,
}

/// Something in which a store does not hold to what [`Store`] asks of it.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreConformanceError {
    /// One client alone was answered what it may not be.
    #[error(transparent)]
    Unfit(#[from] UnfitStoreError),
    /// Several clients saw of one key what no register shows.
    #[error("{clients} clients of one key: {broken}")]
    Register {
        /// How many.
        clients: u32,
        /// What they saw.
        broken: HistoryError,
    },
    /// Of several clients of one key none got anything done.
    #[error("{clients} clients of one key: {done} of {tried} puts were done")]
    Stuck {
        /// How many clients.
        clients: u32,
        /// Puts that were done.
        done: usize,
        /// Puts that were tried.
        tried: usize,
    },
}

debug_as_told!(StoreConformanceError);

impl Default for StoreSuite {
    fn default() -> Self {
        Self::new()
    }
}

impl StoreSuite {
    /// The suite with 8 clients of 40 rounds each.
    pub fn new() -> Self {
        Self { clients: 8, rounds: 40, seed: 1 }
    }

    /// With so many clients at the same time, each on a thread. One is no test, and counts as two.
    pub fn clients(self, clients: u32) -> Self {
        Self { clients: clients.max(2), ..self }
    }

    /// With so many rounds of each client.
    pub fn rounds(self, rounds: u32) -> Self {
        Self { rounds, ..self }
    }

    /// With another choice of what each client does.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Runs the suite.
    ///
    /// # Errors
    ///
    /// Everything in which the store does not hold to what [`Store`] asks of it.
    pub fn check(&self, store: &dyn Store, under: &Key) -> Result<(), Vec<StoreConformanceError>> {
        let mut asking = Asking::new(store, under);
        asking.one_after_another();
        asking.listing();
        asking.limits();
        asking.removing();
        let key = asking.key("register");
        let mut found: Vec<StoreConformanceError> =
            asking.found.into_iter().map(StoreConformanceError::Unfit).collect();
        if let Some(key) = key {
            self.at_once(store, key, &mut found);
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    fn at_once(&self, store: &dyn Store, key: Key, found: &mut Vec<StoreConformanceError>) {
        let recorder = Recorder::new(store, key);
        std::thread::scope(|scope| {
            for client in 0..self.clients {
                let recorder = &recorder;
                scope.spawn(move || {
                    let seed = self.seed ^ u64::from(client).rotate_left(32);
                    recorder.client(client, self.rounds, &mut SplitMix64(seed));
                });
            }
        });
        let (operations, tags) = recorder.finish();
        found.extend(tags.into_iter().map(|tag| UnfitStoreError::Tag { tag: tag.to_string() }.into()));
        let clients = self.clients;
        if let Err(broken) = check(&operations) {
            found.push(StoreConformanceError::Register { clients, broken });
        }
        let puts = || {
            operations.iter().filter_map(|operation| match operation.act {
                Act::Write { said, .. } => Some(said),
                Act::Read { .. } => None,
            })
        };
        let (done, tried) = (puts().filter(|said| *said == Said::Done).count(), puts().count());
        // Whoever is refused was overtaken by somebody who was not.
        if tried > 0 && done == 0 {
            found.push(StoreConformanceError::Stuck { clients, done, tried });
        }
    }
}

/// Records what clients of one key do, and what is said to them.
struct Recorder<'a> {
    store: &'a dyn Store,
    key: Key,
    moment: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    operations: Vec<Operation>,
    values: BTreeMap<Tag, u64>,
    ambiguous: Vec<Tag>,
}

impl<'a> Recorder<'a> {
    fn new(store: &'a dyn Store, key: Key) -> Self {
        Self { store, key, moment: AtomicU64::new(1), told: Mutex::default() }
    }

    fn moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn finish(self) -> (Vec<Operation>, Vec<Tag>) {
        let told = self.told.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        (told.operations, told.ambiguous)
    }

    fn record(&self, called: u64, act: Act, names: Option<(&Tag, u64)>) {
        let returned = Some(self.moment());
        let told = &mut *self.told();
        told.operations.push(Operation { called, returned, act });
        if let Some((tag, value)) = names
            && *told.values.entry(tag.clone()).or_insert(value) != value
        {
            told.ambiguous.push(tag.clone());
        }
    }

    /// Reads, and writes over what it has read: mostly the newest, now and then an older one.
    fn client(&self, client: u32, rounds: u32, chance: &mut SplitMix64) {
        let mut known: Vec<(Tag, u64)> = Vec::new();
        for round in 0..rounds {
            let called = self.moment();
            let newest = known.last().cloned();
            match self.store.get(&self.key, newest.as_ref().map(|(tag, _)| tag)) {
                Ok(Read::Absent) => self.record(called, Act::Read { saw: None }, None),
                Ok(Read::Same) => {
                    self.record(called, Act::Read { saw: newest.map(|(_, value)| value) }, None);
                }
                Ok(Read::Value { bytes, tag, .. }) => {
                    let value = read_value(&bytes);
                    self.record(called, Act::Read { saw: Some(value) }, Some((&tag, value)));
                    known.push((tag, value));
                }
                Err(_) => {}
            }
            let older = known.len() > 1 && chance.bits().is_multiple_of(8);
            let over =
                known.len().checked_sub(1 + usize::from(older)).and_then(|place| known.get(place)).cloned();
            let value = u64::from(client) << 32 | u64::from(round) | 1 << 63;
            let called = self.moment();
            let over_tag = over.as_ref().map_or(Over::Nothing, |(tag, _)| Over::This(tag));
            let put = self.store.put(&self.key, format!("{value:020}").as_bytes(), over_tag);
            let said = match put.as_ref().map_err(StoreError::outcome) {
                Ok(_) => Said::Done,
                Err(StoreOutcome::Conflict) => Said::Conflict,
                Err(StoreOutcome::NotDone) => Said::NotDone,
                Err(StoreOutcome::Unknown) => Said::Unknown,
            };
            let act = Act::Write { value, over: over.map(|(_, value)| value), said };
            self.record(called, act, put.as_ref().ok().map(|tag| (tag, value)));
            known.extend(put.ok().map(|tag| (tag, value)));
            known = known.split_off(known.len().saturating_sub(4));
        }
    }
}

/// A value that nobody wrote where it is none of ours.
fn read_value(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Asking<'_> {
    fn listing(&mut self) {
        let Some(folder) = self.key("listed") else { return };
        let page = self.store.list(&folder, None);
        let fits = page.as_ref().is_ok_and(|page| page.entries.is_empty() && !page.more);
        self.expect("list where there is nothing", &page, fits, "no entries");
        // `listed-not` begins with the same letters and does not lie under it; `b/c` is a key although `b` is one.
        let names = ["b/c", "a", "b", "b-c", "c/d/e"];
        for name in names {
            let Ok(key) = folder.join(name) else { continue };
            self.put("put of a key that will be listed", &key, name.as_bytes(), Over::Nothing);
        }
        if let Some(beside) = self.key("listed-not") {
            self.put("put of a key beside", &beside, b"1", Over::Nothing);
        }
        let mut expected: Vec<Key> = names.iter().filter_map(|name| folder.join(name).ok()).collect();
        expected.sort();
        let all = self.all("list", &folder);
        self.expect("list of five keys", &all, all == expected, &format!("{expected:?}"));
        if let Some(middle) = expected.get(2) {
            let page = self.store.list(&folder, Some(middle));
            let keys =
                page.as_ref().map(|page| page.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>());
            let rest: Vec<&Key> = expected.iter().skip(3).collect();
            let fits = keys.as_ref().is_ok_and(|keys| *keys == rest);
            self.expect("list after a key", &page, fits, &format!("{rest:?}"));
        }
        // Entries say what a read says.
        if let (Some(key), Ok(page)) = (expected.first(), self.store.list(&folder, None)) {
            let read = self.store.get(key, None);
            let fits = match (&read, page.entries.first()) {
                (Ok(Read::Value { bytes, tag, at }), Some(entry)) => {
                    (bytes.len() as u64, tag, at) == (entry.length, &entry.tag, &entry.at)
                }
                _ => false,
            };
            self.expect("list", &page.entries.first(), fits, &format!("what a read says: {read:?}"));
        }
    }

    fn all(&mut self, asked: &str, under: &Key) -> Vec<Key> {
        let (mut keys, mut after): (Vec<Key>, Option<Key>) = (Vec::new(), None);
        loop {
            let page = self.store.list(under, after.as_ref());
            self.expect(asked, &page, page.is_ok(), "a page");
            let Ok(page) = page else { return keys };
            keys.extend(page.entries.into_iter().map(|entry| entry.key));
            // A page without an entry that says there is more would go on for ever.
            if !page.more || keys.last() == after.as_ref() {
                return keys;
            }
            after = keys.last().cloned();
        }
    }

    fn limits(&mut self) {
        let Some(key) = self.key("limits") else { return };
        let put = self.store.put(&key, b"", Over::Nothing);
        self.expect("put of nothing", &put.as_ref().map_err(StoreError::outcome), put.is_err(), "an error");
        let limit = self.store.limits().value_bytes;
        let longest = usize::try_from(limit.min(16 << 20)).unwrap_or(1 << 20);
        let mut long = vec![b'x'; longest];
        if let Some(tag) = self.put("put of the longest value", &key, &long, Over::Nothing) {
            let read = self.store.get(&key, None);
            let fits = matches!(&read, Ok(Read::Value { bytes, .. }) if *bytes == long);
            self.expect("get of the longest value", &read.as_ref().map(drop), fits, "all of it");
            if longest as u64 == limit {
                long.push(b'x');
                let put = self.store.put(&key, &long, Over::This(&tag));
                let fits = matches!(put, Err(StoreError::TooLarge { .. }));
                self.expect("put of a value that is too long", &put, fits, "`TooLarge`");
            }
        }
    }

    fn removing(&mut self) {
        let Some(key) = self.key("removed") else { return };
        let Some(one) = self.put("put of what will be removed", &key, b"1", Over::Nothing) else { return };
        let removed = self.store.remove(&key, &one);
        if matches!(removed, Err(StoreError::Refused { .. })) {
            return;
        }
        self.expect("remove", &removed, removed.is_ok(), "nothing, or `Refused`");
        let read = self.store.get(&key, Some(&one));
        self.expect("get of what was removed", &read, matches!(read, Ok(Read::Absent)), "`Absent`");
        self.refuses("put over what was removed", &key, b"2", Over::This(&one));
        let Some(two) = self.put("put where something was removed", &key, b"2", Over::Nothing) else {
            return;
        };
        let removed = self.store.remove(&key, &one);
        let fits = matches!(removed, Err(StoreError::Conflict));
        self.expect("remove of what was replaced", &removed, fits, "`Conflict`");
        self.reads("get after a remove that was refused", &key, b"2");
        self.put("put after a remove that was refused", &key, b"3", Over::This(&two));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock, Timestamp};
    use crate::fleet::directory::Directory;
    use crate::fleet::memory::InMemory;
    use crate::fleet::store::{Page, StoreLimits};

    fn memory() -> InMemory {
        InMemory::new(Clock::manual(Timestamp::from_unix_seconds(1)))
    }

    fn under() -> Key {
        Key::new("conformance").unwrap()
    }

    #[test]
    fn memory_and_a_directory_hold_to_it() {
        StoreSuite::new().clients(16).check(&memory(), &under()).unwrap();
        let folder = std::env::temp_dir().join(format!("switchback-conformance-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let store = Directory::create(&folder).unwrap();
        StoreSuite::new().clients(4).rounds(30).check(&store, &under()).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// A store with a fault of its own.
    struct Faulty(InMemory, Fault, AtomicU64);

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fault {
        NoCondition,
        StaleRead,
        TagOfNumber,
        ConflictAfterItself,
        UnorderedList,
        Truncates,
        NeverSame,
        ListsBeside,
    }

    impl Faulty {
        fn often(&self, every: u64) -> bool {
            self.2.fetch_add(1, Ordering::Relaxed) % every == every - 1
        }
    }

    impl Store for Faulty {
        fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
            if self.1 == Fault::StaleRead && self.often(9) && known.is_some() {
                return Ok(Read::Same);
            }
            let known = if self.1 == Fault::NeverSame { None } else { known };
            let read = self.0.get(key, known)?;
            Ok(match (read, self.1) {
                (Read::Value { bytes, at, .. }, Fault::TagOfNumber) => {
                    Read::Value { tag: Tag::new(bytes.len().to_string()), bytes, at }
                }
                (read, _) => read,
            })
        }
        fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
            match self.1 {
                Fault::NoCondition => {
                    let there = self.0.get(key, None)?;
                    match &there {
                        Read::Value { tag, .. } => self.0.put(key, value, Over::This(tag)),
                        _ => self.0.put(key, value, Over::Nothing),
                    }
                }
                Fault::ConflictAfterItself if self.often(7) => {
                    self.0.put(key, value, over)?;
                    Err(StoreError::Conflict)
                }
                Fault::Truncates => self.0.put(key, value.get(..value.len().min(1 << 16)).unwrap(), over),
                _ => self.0.put(key, value, over),
            }
        }
        fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
            let under = if self.1 == Fault::ListsBeside { &Key::new("conformance").unwrap() } else { under };
            let mut page = self.0.list(under, after)?;
            if self.1 == Fault::UnorderedList {
                page.entries.reverse();
            }
            Ok(page)
        }
        fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
            self.0.remove(key, that)
        }
        fn limits(&self) -> StoreLimits {
            self.0.limits()
        }
    }

    #[test]
    fn each_fault_of_a_store_is_found() {
        for fault in [
            Fault::NoCondition,
            Fault::StaleRead,
            Fault::TagOfNumber,
            Fault::ConflictAfterItself,
            Fault::UnorderedList,
            Fault::Truncates,
            Fault::NeverSame,
            Fault::ListsBeside,
        ] {
            let found = conformance(&Faulty(memory(), fault, AtomicU64::new(0)), &under());
            assert!(found.is_err(), "{fault:?} was not found");
        }
    }
}

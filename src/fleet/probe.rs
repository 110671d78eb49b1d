//! Whether a store holds to conditions at all, asked before anything is agreed in it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::key::Key;
use super::store::{Listed, Over, Read, Store, StoreError, Tag};
use super::unfit::UnfitStoreError;
use crate::base::clock::Timestamp;

/// Asks a store a dozen questions of one client, with keys under `under`, where nothing may be yet: whether a value is put over
/// nothing or over its tag and not over anything else, whether what is read is what was put last, and whether a listing says the same.
///
/// It finds servers that ignore conditions, and folders that are buckets underneath. It does not find one that looks at a
/// condition and writes a moment later: for that `conformance`, with the feature `testing`, has many clients at once.
/// What it has put is removed where the store removes anything.
///
/// # Errors
///
/// [`Unfit`](StoreError::Unfit) names the first answer that was wrong. Any other error is one of a store that could not be asked,
/// and says nothing of whether it is fit.
pub fn probe(store: &dyn Store, under: &Key) -> Result<(), StoreError> {
    let mut asking = Asking::new(store, under);
    asking.one_after_another();
    if let Some(Ok(Read::Value { tag, .. })) = asking.key("one").map(|key| store.get(&key, None)) {
        let _ = asking.key("one").map(|key| store.remove(&key, &tag));
    }
    asking.verdict()
}

/// Asks, and keeps what was wrong.
pub(crate) struct Asking<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) under: &'a Key,
    pub(crate) found: Vec<UnfitStoreError>,
    tags: BTreeMap<(Key, Tag), Vec<u8>>,
    /// The first error that tells of the way to the store, and not of what it holds to.
    failed: Option<StoreError>,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(store: &'a dyn Store, under: &'a Key) -> Self {
        Self { store, under, found: Vec::new(), tags: BTreeMap::new(), failed: None }
    }

    /// Nothing was agreed by whoever asked, so whatever went wrong, nothing was done.
    pub(crate) fn verdict(self) -> Result<(), StoreError> {
        match (self.failed, self.found.into_iter().next()) {
            (Some(StoreError::Unknown { cause }), _) => Err(StoreError::Unreachable { cause }),
            (Some(error), _) => Err(error),
            (None, Some(found)) => Err(StoreError::Unfit { found }),
            (None, None) => Ok(()),
        }
    }

    /// An answer of the store, which is handed on.
    fn told<T>(&mut self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &answer
            && !matches!(
                error,
                StoreError::Conflict | StoreError::Damaged { .. } | StoreError::TooLarge { .. }
            )
        {
            self.failed.get_or_insert_with(|| error.clone());
        }
        answer
    }

    pub(crate) fn expect(&mut self, asked: &str, found: &dyn Debug, fits: bool, expected: &str) {
        if !fits {
            let found = format!("{found:?}");
            self.found.push(UnfitStoreError::Answer {
                asked: asked.into(),
                found,
                expected: expected.into(),
            });
        }
    }

    pub(crate) fn key(&mut self, name: &str) -> Option<Key> {
        let key = self.under.join(name);
        self.expect("a key under the given one", &key, key.is_ok(), "a key that is short enough");
        key.ok()
    }

    /// Puts, and sees to it that it was done.
    pub(crate) fn put(&mut self, asked: &str, key: &Key, value: &[u8], over: Over<'_>) -> Option<Tag> {
        let put = self.store.put(key, value, over);
        let put = self.told(put);
        self.expect(asked, &put, put.is_ok(), "a tag");
        let tag = put.ok()?;
        self.tag_names(key, &tag, value);
        Some(tag)
    }

    fn tag_names(&mut self, key: &Key, tag: &Tag, value: &[u8]) {
        let known = self.tags.entry((key.clone(), tag.clone())).or_insert_with(|| value.to_vec());
        if known != value {
            self.found.push(UnfitStoreError::Tag { tag: tag.to_string() });
        }
    }

    pub(crate) fn refuses(&mut self, asked: &str, key: &Key, value: &[u8], over: Over<'_>) {
        let put = self.store.put(key, value, over);
        let put = self.told(put);
        self.expect(asked, &put, matches!(put, Err(StoreError::Conflict)), "`Conflict`");
    }

    fn get(&mut self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
        let read = self.store.get(key, known);
        self.told(read)
    }

    pub(crate) fn reads(&mut self, asked: &str, key: &Key, expected: &[u8]) -> Option<(Tag, Timestamp)> {
        let read = self.get(key, None);
        let told = match &read {
            Ok(Read::Value { bytes, tag, at }) if bytes == expected => Some((tag.clone(), *at)),
            _ => None,
        };
        self.expect(asked, &read, told.is_some(), "the value that was put last");
        if let Some((tag, _)) = &told {
            self.tag_names(key, tag, expected);
        }
        told
    }

    pub(crate) fn one_after_another(&mut self) {
        let Some(key) = self.key("one") else { return };
        let read = self.get(&key, None);
        self.expect("get of a key without a value", &read, matches!(read, Ok(Read::Absent)), "`Absent`");
        // A store that cannot be asked is asked no more: each question may take as long as it is given.
        if read.is_err() {
            return;
        }
        let never = Tag::new("0-never");
        self.refuses("put over a tag where there is nothing", &key, b"0", Over::This(&never));
        // Every byte, no text, and bytes that some hold for the end of a line or of a text.
        let first: Vec<u8> = (0..=255).collect();
        let Some(one) = self.put("put over nothing", &key, &first, Over::Nothing) else { return };
        let Some((tag, earlier)) = self.reads("get after the first put", &key, &first) else { return };
        self.expect("get after a put", &tag, tag == one, "the tag that the put gave");
        self.refuses("put over nothing where there is a value", &key, b"2", Over::Nothing);
        self.refuses("put over nothing of the very same value", &key, &first, Over::Nothing);
        let read = self.get(&key, Some(&one));
        self.expect("get of what is known", &read, matches!(read, Ok(Read::Same)), "`Same`");
        let Some(two) = self.put("put over the tag that is there", &key, b"2", Over::This(&one)) else {
            return;
        };
        self.refuses("put over the tag before", &key, b"3", Over::This(&one));
        let read = self.get(&key, Some(&one));
        let fits = matches!(&read, Ok(Read::Value { bytes, .. }) if bytes == b"2");
        self.expect("get of what was replaced", &read, fits, "the newest value");
        self.put("put over the newest tag", &key, b"3", Over::This(&two));
        if let Some((tag, later)) = self.reads("get after three puts", &key, b"3") {
            if earlier.since(later).as_secs() > 10 {
                self.found.push(UnfitStoreError::Clock { earlier, later });
            }
            let page = self.store.list(self.under, None);
            let page = self.told(page);
            let is_it = |entry: &Listed| (&entry.key, &entry.tag, entry.length) == (&key, &tag, 1);
            let fits = page.as_ref().is_ok_and(|page| page.entries.iter().any(is_it));
            self.expect(
                "list after three puts",
                &page,
                fits,
                &format!("{key} with the tag {tag} and one byte"),
            );
        }
        if let Some(other) = self.key("one.other") {
            let read = self.get(&other, None);
            self.expect("get of a key beside it", &read, matches!(read, Ok(Read::Absent)), "`Absent`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::fleet::memory::InMemory;
    use crate::fleet::store::Page;

    /// Puts whatever the condition is, or answers no put.
    struct Unconditional(InMemory, bool);

    impl Store for Unconditional {
        fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
            self.0.get(key, known)
        }
        fn put(&self, key: &Key, value: &[u8], _: Over<'_>) -> Result<Tag, StoreError> {
            if self.1 {
                return Err(StoreError::unknown("no answer"));
            }
            match self.0.get(key, None)? {
                Read::Value { tag, .. } => self.0.put(key, value, Over::This(&tag)),
                _ => self.0.put(key, value, Over::Nothing),
            }
        }
        fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
            self.0.list(under, after)
        }
        fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
            self.0.remove(key, that)
        }
    }

    /// Lists tags that no read gives.
    struct ListsOtherTags(InMemory);

    impl Store for ListsOtherTags {
        fn get(&self, key: &Key, known: Option<&Tag>) -> Result<Read, StoreError> {
            self.0.get(key, known)
        }
        fn put(&self, key: &Key, value: &[u8], over: Over<'_>) -> Result<Tag, StoreError> {
            self.0.put(key, value, over)
        }
        fn list(&self, under: &Key, after: Option<&Key>) -> Result<Page, StoreError> {
            let mut page = self.0.list(under, after)?;
            page.entries.iter_mut().for_each(|entry| entry.tag = Tag::new(format!("listed-{}", entry.tag)));
            Ok(page)
        }
        fn remove(&self, key: &Key, that: &Tag) -> Result<(), StoreError> {
            self.0.remove(key, that)
        }
    }

    /// Whoever judges would read every row at every look, and nothing that was listed could be removed.
    #[test]
    fn a_store_whose_listings_give_other_tags_than_its_reads_is_unfit() {
        let memory = InMemory::new(Clock::manual(Timestamp::from_unix_seconds(1)));
        let told = probe(&ListsOtherTags(memory), &Key::new("probe").unwrap()).unwrap_err();
        assert!(
            matches!(&told, StoreError::Unfit { found: UnfitStoreError::Answer { asked, .. } } if asked.starts_with("list")),
            "{told}"
        );
    }

    #[test]
    fn a_store_that_ignores_conditions_is_unfit_and_one_that_is_away_is_not() {
        let memory = || InMemory::new(Clock::manual(Timestamp::from_unix_seconds(1)));
        let under = Key::new("probe").unwrap();
        let fit = memory();
        assert!(probe(&fit, &under).is_ok());
        assert!(fit.list(&under, None).unwrap().entries.is_empty(), "the probe leaves nothing");
        let told = probe(&Unconditional(memory(), false), &under).unwrap_err();
        assert!(
            matches!(&told, StoreError::Unfit { found: UnfitStoreError::Answer { asked, .. } } if asked.contains("over a tag")),
            "{told}"
        );
        assert!(told.to_string().contains("not fit for a fleet"), "{told}");
        let told = probe(&Unconditional(memory(), true), &under).unwrap_err();
        assert!(matches!(told, StoreError::Unreachable { .. }), "{told}");
    }
}

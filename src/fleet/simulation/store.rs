//! The store of a simulation: what is there, and copies of it.

use std::collections::BTreeMap;

use super::tally::Tally;
use crate::base::clock::Timestamp;
use crate::fleet::format::envelope::{Kind, Sealer};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::value::Value;
use crate::fleet::key::Key;
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::protocol::rules::{ProtocolRule, Rules};
use crate::fleet::store::{Listed, Page, StoreOutcome, Tag};

/// Few, so that listings come in parts.
const PAGE: usize = 5;

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Nothing where it is damaged.
    pub(crate) value: Option<Value<Tally>>,
    pub(crate) tag: Tag,
    pub(crate) at: Timestamp,
}

#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) values: BTreeMap<Key, Stored>,
    puts: u64,
    rules: Rules,
    /// Whether every value goes through its bytes.
    sealer: Option<Sealer>,
}

/// A put that was accepted: over what.
pub(crate) struct Accepted {
    pub(crate) before: Option<Value<Tally>>,
}

impl Bucket {
    pub(crate) fn new(rules: Rules, through_bytes: bool) -> Self {
        let sealer = through_bytes.then(|| Sealer::new(Hex(1), &[b"secret"]));
        Self { values: BTreeMap::new(), puts: 0, rules, sealer }
    }

    /// Another copy's values. Tags go on from where they were: none names two contents.
    pub(crate) fn restore(&mut self, copy: &Self) {
        self.values.clone_from(&copy.values);
    }

    fn unconditional(&self, kind: Kind, key: &Key) -> bool {
        match kind {
            Kind::Head => !self.rules.keep(ProtocolRule::HeadOverRead) && key.as_str().ends_with("/head"),
            Kind::Row => !self.rules.keep(ProtocolRule::RowOverItself),
            Kind::Ledger => !self.rules.keep(ProtocolRule::LedgerOverRead),
            // Outcomes are not simulated.
            Kind::Mailbox | Kind::Handover | Kind::HandoverPart => false,
        }
    }

    pub(crate) fn act(&mut self, act: &Act<Tally>, now: Timestamp) -> (Reply<Tally>, Option<Accepted>) {
        match act {
            Act::Get { key, known, .. } => (self.get(key, known.as_ref()), None),
            Act::Put { key, value, over } => {
                let there = self.values.get(key).map(|stored| &stored.tag);
                if there != over.as_ref() && !self.unconditional(value.kind(), key) {
                    return (Reply::Failed(StoreOutcome::Conflict), None);
                }
                let (tag, before) = self.put(key, value.clone(), now);
                (Reply::Done(tag), Some(Accepted { before }))
            }
            Act::List { under, after } => (Reply::Page(self.list(under, after.as_ref())), None),
        }
    }

    pub(crate) fn put(
        &mut self,
        key: &Key,
        value: Value<Tally>,
        at: Timestamp,
    ) -> (Tag, Option<Value<Tally>>) {
        self.puts += 1;
        let tag = Tag::new(self.puts.to_string());
        let value = match &self.sealer {
            None => Some(value),
            Some(sealer) => {
                let bytes = value.write(sealer, key).ok();
                let read = bytes.and_then(|bytes| Value::read(sealer, value.kind(), key, &bytes).ok());
                read.filter(|read| *read == value)
            }
        };
        let before = self.values.insert(key.clone(), Stored { value, tag: tag.clone(), at });
        (tag, before.and_then(|stored| stored.value))
    }

    fn get(&self, key: &Key, known: Option<&Tag>) -> Reply<Tally> {
        match self.values.get(key) {
            None => Reply::Absent,
            Some(stored) if Some(&stored.tag) == known => Reply::Same,
            Some(Stored { value: Some(value), tag, at }) => {
                Reply::Value { value: value.clone(), tag: tag.clone(), at: *at }
            }
            Some(Stored { tag, .. }) => Reply::Damaged { tag: Some(tag.clone()) },
        }
    }

    fn list(&self, under: &Key, after: Option<&Key>) -> Page {
        let below = self.values.iter().filter(|(key, _)| key.below(under).is_some());
        let mut rest = below.filter(|(key, _)| after.is_none_or(|after| *key > after));
        let entries = rest.by_ref().take(PAGE);
        let entry = |(key, stored): (&Key, &Stored)| Listed {
            key: key.clone(),
            tag: stored.tag.clone(),
            length: 1,
            at: stored.at,
        };
        Page { entries: entries.map(entry).collect(), more: rest.next().is_some() }
    }

    /// Removes what is still what was seen.
    pub(crate) fn remove(&mut self, key: &Key, that: &Tag) -> bool {
        let is_there = self.values.get(key).is_some_and(|stored| stored.tag == *that);
        is_there && self.values.remove(key).is_some()
    }

    /// Makes a value one that nobody can read.
    pub(crate) fn damage(&mut self, key: &Key) {
        self.puts += 1;
        if let Some(stored) = self.values.get_mut(key) {
            (stored.value, stored.tag) = (None, Tag::new(self.puts.to_string()));
        }
    }
}

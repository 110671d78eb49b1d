//! Tests of the journal as a whole; those of its bytes are in `frame.rs`.

pub(crate) mod crash;
pub(crate) mod damage;
pub(crate) mod folder;
pub(crate) mod log;

use crate::state::names::JOURNAL;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::base::disk::Files;

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("switchback-state-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn open(&self) -> (Journal, Found) {
        Journal::open(Files::default(), &self.0).unwrap()
    }

    /// A folder with this for its journal.
    fn with(journal: &[u8]) -> Self {
        let folder = Self::new();
        Files::default().create_folder(&folder.0).unwrap();
        fs::write(folder.path(JOURNAL), journal).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn state(body: &str) -> Entry {
    Entry { kind: Kind::State, whole: false, body: body.into() }
}

fn seen(body: &str) -> Entry {
    Entry { kind: Kind::Evidence, whole: false, body: body.into() }
}

fn all_seen(body: &str) -> Entry {
    Entry { whole: true, ..seen(body) }
}

fn decision(body: &str) -> Entry {
    Entry { kind: Kind::Decision, whole: false, body: body.into() }
}

fn event(body: &str) -> Entry {
    Entry { kind: Kind::Event, whole: false, body: body.into() }
}

/// The state that somebody would find who started now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Snapshot {
    state: Option<String>,
    evidence: Vec<String>,
    events: Vec<String>,
    decisions: Vec<String>,
}

impl Snapshot {
    fn read(folder: &Path) -> Result<(Self, Found), StateError> {
        let found = Found::read(&Files::default(), folder)?;
        let text = |body: &Vec<u8>| String::from_utf8(body.clone()).unwrap();
        let events = match history(folder) {
            Err(StateError::Missing { .. }) => Vec::new(),
            history => history?.collect::<Result<_, _>>()?,
        };
        let evidence = found.evidence.iter().map(text).collect();
        let decisions = found.decisions.iter().map(text).collect();
        Ok((Self { state: found.state.as_ref().map(text), evidence, events, decisions }, found))
    }

    fn now(folder: &Folder) -> Self {
        Self::read(&folder.0).unwrap().0
    }

    /// Returns what is there once entries were added.
    fn and(&self, entries: &[Entry]) -> Self {
        let mut next = self.clone();
        for entry in entries {
            let body = String::from_utf8(entry.body.clone()).unwrap();
            match entry.kind {
                Kind::State => next.state = Some(body),
                Kind::Evidence if entry.whole => next.evidence = vec![body],
                Kind::Evidence => next.evidence.push(body),
                Kind::Event => next.events.push(body),
                Kind::Decision => next.decisions.push(body),
            }
        }
        next
    }

    /// Returns what is there once it was written anew.
    fn anew(&self, state: &str, evidence: &str, events: &[Vec<u8>]) -> Self {
        let mut next = self.clone();
        next.state = Some(state.into());
        next.evidence = vec![evidence.into()];
        next.events.extend(events.iter().map(|event| String::from_utf8(event.clone()).unwrap()));
        next
    }
}

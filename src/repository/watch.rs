//! Notices new versions, and tags that have moved.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::manifest::FILE;
use super::store::{Repository, TAGS, names};
use super::verify::compare_size;
use super::wake::Waker;
use crate::base::clock::{Clock, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::model::causes::in_full;
use crate::version::id::VersionId;

/// What has changed in a repository since it was looked at the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// A version is there, whole as far as sizes tell; its bytes are held against the manifest when it is opened.
    Added {
        /// The version.
        version: VersionId,
    },
    /// A version is gone.
    Removed {
        /// The version.
        version: VersionId,
    },
    /// A tag points elsewhere.
    Tagged {
        /// The tag.
        tag: String,
        /// Where it pointed; nothing where it is new.
        from: Option<String>,
        /// Where it points; nothing where it was removed.
        to: Option<String>,
    },
    /// The files of a version are others than they were. A version is never changed: whoever did this should publish
    /// another one.
    Changed {
        /// The version.
        version: VersionId,
    },
    /// A version stays incomplete, or its manifest cannot be read.
    Broken {
        /// The version.
        version: VersionId,
        /// What is wrong with it.
        reason: String,
    },
}

/// Looks at the versions and tags of one model, and says what has changed.
///
/// The truth is a comparison of what is there with what was: nothing is missed however many changes come between two looks,
/// on any file system, and a rename, a copy and a sync over a network look alike. [`wait`](Self::wait) only says when it is
/// worth looking again.
///
/// A version that is still being copied is not told of. One with a manifest is whole when every file that is listed has its
/// size. One without is taken to be whole when nothing about it has changed for two seconds.
///
/// What follows from a change is the host's to say; `ModelHandle::follow` stages or tries
/// whatever is published.
#[derive(Debug)]
pub struct Watch {
    repository: Repository,
    model: String,
    clock: Clock,
    known: OrderedMap<String, Known>,
    tags: BTreeMap<String, String>,
    waker: Waker,
}

/// How long nothing about a version without a manifest may change before it is taken to be whole.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How long a version may be incomplete before it is said to be broken.
const BROKEN_AFTER: Duration = Duration::from_secs(60);

/// Files with their sizes and when they were written.
type Print = Vec<(String, u64, Option<std::time::SystemTime>)>;

#[derive(Debug)]
struct Known {
    print: Print,
    /// When it was first seen so.
    since: Timestamp,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Nothing,
    Added,
    Broken,
}

impl Repository {
    /// Watches the versions and tags of a model. What is there now is known, and not told of.
    ///
    /// # Errors
    ///
    /// The model's folder cannot be listed.
    pub fn watch(&self, model: impl Into<String>) -> Result<Watch, RepositoryError> {
        self.watch_by(model, Clock::default())
    }

    /// The same with a clock of the host's.
    ///
    /// # Errors
    ///
    /// The model's folder cannot be listed.
    pub fn watch_by(&self, model: impl Into<String>, clock: Clock) -> Result<Watch, RepositoryError> {
        let model = model.into();
        let folder = self.model_folder(&model)?;
        let mut watch = Watch {
            repository: self.clone(),
            tags: self.tags(&model)?,
            waker: Waker::of(&folder),
            model,
            clock,
            known: OrderedMap::new(),
        };
        let now = watch.clock.now();
        for (version, print) in watch.look(&folder)? {
            // What is being copied while the watch begins is told of once it is whole.
            let whole = watch.state(&version, &print).is_ok();
            let told = if whole { Told::Added } else { Told::Nothing };
            watch.known.insert(version, Known { print, since: now, told });
        }
        Ok(watch)
    }
}

impl Watch {
    /// What has changed since the last time.
    ///
    /// # Errors
    ///
    /// The model's folder cannot be listed. The next time tells all that has changed until then.
    pub fn poll(&mut self) -> Result<Vec<Change>, RepositoryError> {
        let folder = self.repository.model_folder(&self.model)?;
        let (now, seen) = (self.clock.now(), self.look(&folder)?);
        let tags = self.repository.tags(&self.model)?;
        let mut changes = Vec::new();
        self.known.retain(|version, known| {
            let stays = seen.contains_key(version);
            if let (false, Ok(version), Told::Added | Told::Broken) =
                (stays, VersionId::new(version), known.told)
            {
                changes.push(Change::Removed { version });
            }
            stays
        });
        for (name, print) in seen {
            let Ok(version) = VersionId::new(&name) else { continue };
            // One that was told of as it is need not be read again: there may be thousands.
            let told =
                self.known.get(&name).is_some_and(|known| known.told == Told::Added && known.print == print);
            if told {
                continue;
            }
            let state = self.state(&name, &print);
            let known = self.known.entry(name).or_insert_with(|| Known {
                print: print.clone(),
                since: now,
                told: Told::Nothing,
            });
            if known.print != print {
                (known.print, known.since) = (print, now);
                if known.told == Told::Added {
                    changes.push(Change::Changed { version });
                }
            }
            let unchanged_for = now.since(known.since);
            match state {
                Ok(listed) if known.told != Told::Added && (listed || unchanged_for >= SETTLED_AFTER) => {
                    known.told = Told::Added;
                    changes.push(Change::Added { version });
                }
                Err(reason) if known.told == Told::Nothing && unchanged_for >= BROKEN_AFTER => {
                    known.told = Told::Broken;
                    changes.push(Change::Broken { version, reason });
                }
                _ => {}
            }
        }
        let mut all: Vec<&String> = self.tags.keys().chain(tags.keys()).collect();
        all.sort();
        all.dedup();
        for tag in all {
            let (from, to) = (self.tags.get(tag).cloned(), tags.get(tag).cloned());
            if from != to {
                changes.push(Change::Tagged { tag: tag.clone(), from, to });
            }
        }
        self.tags = tags;
        Ok(changes)
    }

    /// Waits until it is worth looking again: something has moved (with the feature `watch`, where the system tells) or the
    /// time is up.
    pub fn wait(&self, longest: Duration) {
        self.waker.wait(longest);
    }

    /// What lies in the model's folder and may be a version.
    fn look(&self, folder: &Path) -> Result<OrderedMap<String, Print>, RepositoryError> {
        let mut seen = OrderedMap::new();
        for name in names(folder)? {
            let path = folder.join(&name);
            let plain = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
            if plain && name != TAGS && super::name::component("version", &name).is_ok() {
                seen.insert(name, print(&path));
            }
        }
        Ok(seen)
    }

    /// Whether a version is whole, as far as can be told without reading it, and whether a manifest says so; or what is
    /// wrong with it.
    fn state(&self, version: &str, print: &Print) -> Result<bool, String> {
        let entry = self.repository.get(&self.model, version).map_err(|error| in_full(&error))?;
        // A manifest that is copied last, or not yet.
        let listed = entry.manifest.is_some();
        if !listed && print.iter().any(|(file, ..)| file == FILE) {
            return Err("its manifest has just come".into());
        }
        self.repository.check(&entry, compare_size).map_err(|error| in_full(&error))?;
        Ok(listed)
    }
}

/// The files of a version, one folder deep: what lies deeper is in a manifest, or is not looked at.
fn print(folder: &Path) -> Print {
    let names = names(folder).unwrap_or_default();
    let of = |name: String| {
        let metadata = fs::symlink_metadata(folder.join(&name)).ok()?;
        Some((name, metadata.len(), metadata.modified().ok()))
    };
    names.into_iter().filter_map(of).collect()
}

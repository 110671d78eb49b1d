//! Notices new versions, and tags that have moved.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::error::RepositoryError;
use super::manifest::FILE;
use super::name::DEPTH_MAX;
use super::store::{NoFolder, Repository, TAGS, names, names_there, there, version_folder};
use super::verify::Look;
use super::wake::Waker;
use crate::base::causes::in_full;
use crate::base::clock::{Clock, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::version::id::VersionId;

/// A change in a repository since it was looked at the last time.
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
    /// The files of a version that was told of are others than they were: it was told of while it was still being copied, or
    /// somebody wrote over it. A published version is never changed: whoever did this should publish another one.
    Changed {
        /// The version.
        version: VersionId,
    },
    /// A version whose files had changed is whole again, and nothing about it has changed for the
    /// [settle time](Watch::settled_after).
    Settled {
        /// The version.
        version: VersionId,
    },
    /// The tags cannot be read, and are taken to be as they were until they can. Told once; versions are told of all the same.
    TagsBroken {
        /// The fault in them, and the remedy.
        reason: String,
    },
    /// A version stays incomplete, its manifest cannot be read, or what is there is no version.
    Broken {
        /// The version.
        version: VersionId,
        /// The fault in it.
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
/// size. One without is taken to be whole when nothing about it has changed for the [settle time](Self::settled_after), two
/// seconds by default; a copy that stalls for longer looks whole meanwhile. So nothing that is told is final: whatever changes
/// afterwards is told as [`Changed`](Change::Changed), and as [`Settled`](Change::Settled) once it is whole again.
/// [`listed_only`](Self::listed_only) leaves nothing to time.
///
/// A version that cannot be looked at is as it was, and so is a part of one: an error of the system is no change. Only what the system says is not there is told as
/// [`Removed`](Change::Removed), and where the model's folder itself is gone or empty, as of a share that is away, that is an error.
///
/// What follows from a change is the host's to say; `ModelHandle::follow` stages or tries
/// whatever is published.
#[derive(Debug)]
#[must_use = "nothing is looked at before it is polled"]
pub struct Watch {
    repository: Repository,
    model: String,
    clock: Clock,
    known: OrderedMap<String, Known>,
    tags: BTreeMap<String, String>,
    tags_broken: bool,
    settled_after: Duration,
    listed_only: bool,
    waker: Waker,
}

/// How long nothing about a version without a manifest may change before it is taken to be whole, by default.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How long a version may be incomplete before it is said to be broken.
const BROKEN_AFTER: Duration = Duration::from_secs(60);

/// How many files of a version are looked at: as many as one could list in a manifest.
const FILES_MAX: usize = 65_536;

/// Files with their sizes and when they were written.
type Print = Vec<(String, u64, Option<std::time::SystemTime>)>;

#[derive(Debug)]
struct Known {
    print: Print,
    /// When it was first seen so.
    since: Timestamp,
    told: Told,
    /// It was told of as added, or was there when the watch began.
    was_whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Nothing,
    /// Nothing, because it looked whole when the watch began. It may have been in the middle of a copy.
    Found,
    Added,
    Changed,
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
            tags_broken: false,
            settled_after: SETTLED_AFTER,
            listed_only: false,
            waker: Waker::of(&folder),
            model,
            clock,
            known: OrderedMap::new(),
        };
        let now = watch.clock.now();
        for (version, print) in watch.look(&folder)? {
            // What is being copied while the watch begins is told of once it is whole.
            let (told, was_whole) = match watch.state(&version, &print) {
                Ok(true) => (Told::Added, true),
                Ok(false) => (Told::Found, true),
                Err(_) => (Told::Nothing, false),
            };
            watch.known.insert(version, Known { print, since: now, told, was_whole });
        }
        Ok(watch)
    }
}

impl Watch {
    /// How long nothing about a version may change before it is taken to be whole: one without a manifest, and any that was
    /// changed after it was told of. Two seconds by default; longer than the longest stall of whatever copies versions.
    pub fn settled_after(self, settled_after: Duration) -> Self {
        Self { settled_after, ..self }
    }

    /// Takes only what has a manifest for a version. What has none yet is told of when it gets one, and as
    /// [`Broken`](Change::Broken) if it gets none within a minute.
    pub fn listed_only(mut self) -> Self {
        self.listed_only = true;
        self.known.retain(|_, known| {
            if !has_manifest(&known.print) {
                // Known, and so not told of; whole it is with a manifest only.
                (known.told, known.was_whole) = (Told::Broken, false);
            }
            true
        });
        self
    }

    /// Returns what has changed since the last time.
    ///
    /// # Errors
    ///
    /// The model's folder cannot be listed, or is gone or empty although there were versions. The next time tells all that has changed
    /// until then. Where all of a model is to go, leave its folder with any file in it, as [`Repository::remove`] does.
    pub fn poll(&mut self) -> Result<Vec<Change>, RepositoryError> {
        let folder = self.repository.model_folder(&self.model)?;
        let (now, seen) = (self.clock.now(), self.look(&folder)?);
        let mut changes = Vec::new();
        self.known.retain(|version, known| {
            let stays = seen.contains_key(version);
            if let (false, Ok(version), true) =
                (stays, VersionId::new(version), known.was_whole || known.told != Told::Nothing)
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
            let (settled_after, first) = (self.settled_after, print.clone());
            let known = self.known.entry(name).or_insert_with(|| Known {
                print: first,
                since: now,
                told: Told::Nothing,
                was_whole: false,
            });
            if known.print != print {
                (known.print, known.since) = (print, now);
                match known.told {
                    Told::Added => {
                        known.told = Told::Changed;
                        changes.push(Change::Changed { version });
                    }
                    // It was in the middle of a copy when the watch began.
                    Told::Found => (known.told, known.was_whole) = (Told::Nothing, false),
                    _ => {}
                }
            }
            let unchanged_for = now.since(known.since);
            let settled = unchanged_for >= settled_after;
            match state {
                // It was whole when the watch began, and in no copy.
                Ok(_) if settled && known.told == Told::Found => known.told = Told::Added,
                // One that was changed may be changed once more, whatever its sizes say.
                Ok(_) if known.was_whole && settled => {
                    known.told = Told::Added;
                    changes.push(Change::Settled { version });
                }
                Ok(listed) if !known.was_whole && (listed || settled) => {
                    (known.told, known.was_whole) = (Told::Added, true);
                    changes.push(Change::Added { version });
                }
                Err(reason) if known.told != Told::Broken && unchanged_for >= BROKEN_AFTER => {
                    known.told = Told::Broken;
                    changes.push(Change::Broken { version, reason });
                }
                _ => {}
            }
        }
        let tags = match self.repository.tags(&self.model) {
            Ok(tags) => {
                self.tags_broken = false;
                tags
            }
            Err(error) => {
                if !std::mem::replace(&mut self.tags_broken, true) {
                    changes.push(Change::TagsBroken { reason: in_full(&error) });
                }
                return Ok(changes);
            }
        };
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

    /// Whether a version is there that is not told of yet, since it is not whole.
    #[cfg(all(feature = "onnx", feature = "state"))]
    pub(crate) fn awaits(&self) -> bool {
        self.known.values().any(|known| known.told == Told::Nothing)
    }

    /// Waits until it is worth looking again: something has moved (with the feature `watch`, where the system tells) or the
    /// time is up.
    pub fn wait(&self, longest: Duration) {
        self.waker.wait(longest);
    }

    /// Lists what lies in the model's folder and may be a version.
    fn look(&self, folder: &Path) -> Result<OrderedMap<String, Print>, RepositoryError> {
        let names = names_there(folder)?.unwrap_or_default();
        // It is away rather than removed: all versions would be told as removed, and as new once it is back. So would they be where it is a
        // folder on which nothing is mounted. Whoever has removed the last version has left at least the lock of the tags.
        if names.is_empty() && !self.known.is_empty() {
            let why = "it is not there or empty, and versions were in it: mount it, or put any file into it to say that they are gone";
            return Err(RepositoryError::disk("listing", folder)(io::Error::new(
                io::ErrorKind::NotFound,
                why,
            )));
        }
        let mut seen = OrderedMap::new();
        for name in names {
            if name == TAGS || super::name::component("version", &name).is_err() {
                continue;
            }
            let known = self.known.get(&name).map(|known| &known.print);
            let print = match version_folder(folder, &name) {
                Ok(None) => continue,
                Ok(Some(path)) => print(folder, &name, &path).beside(known),
                // It is told why it is none.
                Err(NoFolder::Link(_)) => Print::new(),
                // What cannot be looked at is as it was.
                Err(NoFolder::Disk(_)) => known.cloned().unwrap_or_default(),
            };
            seen.insert(name, print);
        }
        Ok(seen)
    }

    /// Whether a version is whole, as far as can be told without reading it, and whether a manifest says so; or what is
    /// wrong with it.
    fn state(&self, version: &str, print: &Print) -> Result<bool, String> {
        let entry = self.repository.get(&self.model, version).map_err(|error| in_full(&error))?;
        // A manifest that is copied last, or not yet.
        let listed = entry.manifest.is_some();
        if !listed && has_manifest(print) {
            return Err("its manifest has just come".into());
        }
        if !listed && self.listed_only {
            return Err("it has no manifest, and only what has one is followed: publish it with one".into());
        }
        self.repository.check(&entry, Look::Sizes).map_err(|error| in_full(&error))?;
        Ok(listed)
    }
}

fn has_manifest(print: &Print) -> bool {
    print.iter().any(|(file, ..)| file == FILE)
}

/// What was seen of a version.
#[derive(Default)]
struct Sight {
    /// The files, by their paths below its folder, as far as they can be looked at.
    print: Print,
    /// What could not be looked at: a path, and of a folder that could not be listed all that is below it. The version's own folder is `""`.
    unseen: Vec<String>,
}

impl Sight {
    fn look(&mut self, root: &Path, below: &str, depth: usize) {
        let names = names(&root.join(below)).unwrap_or_else(|error| {
            // Of more than can be listed none is.
            if !matches!(error, RepositoryError::TooMany { .. }) {
                self.unseen.push(below.to_owned());
            }
            Vec::new()
        });
        for name in names {
            let file = if below.is_empty() { name } else { format!("{below}/{name}") };
            let metadata = match there(fs::symlink_metadata(root.join(&file))) {
                Ok(Some(metadata)) => metadata,
                Ok(None) => continue,
                Err(_) => {
                    self.unseen.push(file);
                    continue;
                }
            };
            if self.print.len() >= FILES_MAX {
                return;
            }
            if metadata.is_dir() && depth < DEPTH_MAX {
                self.look(root, &file, depth + 1);
            } else {
                self.print.push((file, metadata.len(), metadata.modified().ok()));
            }
        }
    }

    /// What is there, by path: what was seen as it is, and what could not be seen as it was.
    fn beside(self, known: Option<&Print>) -> Print {
        let Self { mut print, unseen } = self;
        let is_below = |file: &str, path: &str| {
            file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_link = |file: &str| is_below(file, LINK);
        let is_unseen = |file: &str| {
            unseen.iter().any(|path| is_below(file, path) || (path.is_empty() && !is_link(file)))
        };
        print.extend(known.into_iter().flatten().filter(|(file, ..)| is_unseen(file)).cloned());
        print.sort();
        print
    }
}

/// Before the path to which a version's own folder is a link.
const LINK: &str = "->";

/// Looks at the files of a version.
fn print(below: &Path, version: &str, folder: &Path) -> Sight {
    let mut sight = Sight::default();
    sight.look(folder, "", 0);
    // A link that points elsewhere is a change, though nothing below it was written to.
    let path = below.join(version);
    if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
        match fs::read_link(&path) {
            Ok(to) => sight.print.push((format!("{LINK}/{}", to.display()), 0, None)),
            Err(_) => sight.unseen.push(LINK.to_owned()),
        }
    }
    sight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, u64)]) -> Print {
        files.iter().map(|(file, size)| ((*file).to_owned(), *size, None)).collect()
    }

    /// Bug: of a version of which one part could not be looked at no change was ever seen, so that a copy that went on looked settled. Cause: after
    /// such a look all of it was taken to be as it was. Fix: what was seen is as it is, and only what could not be seen is as it was.
    #[test]
    fn what_was_seen_beside_what_could_not_be_is_as_it_is() {
        let known =
            files(&[("a", 1), ("gone", 1), ("kept", 1), ("kept.txt", 1), ("kept/b", 2), ("kept/c/d", 3)]);
        let seen = |seen: &[(&str, u64)], unseen: &[&str]| {
            let unseen = unseen.iter().map(|path| (*path).to_owned()).collect();
            Sight { print: files(seen), unseen }.beside(Some(&known))
        };
        let told = seen(&[("new", 1), ("a", 2)], &["kept"]);
        assert_eq!(told, files(&[("a", 2), ("kept", 1), ("kept/b", 2), ("kept/c/d", 3), ("new", 1)]));
        assert_eq!(seen(&[("b", 2), ("a", 2)], &[]), files(&[("a", 2), ("b", 2)]), "all was seen");
        assert_eq!(seen(&[], &[""]), known, "nothing was");
        assert_eq!(seen(&[("->/x", 0)], &[""]).len(), known.len() + 1, "but where it leads");
        assert_eq!(
            Sight { print: files(&[("a", 1)]), unseen: vec!["b".into()] }.beside(None),
            files(&[("a", 1)])
        );
    }
}

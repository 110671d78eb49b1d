//! Where state is kept: what a builder is told of it, what a start finds there, and what writes to it.

use super::build_error::{BuildError, CannotBeLive};
use super::loader::{First, Source};
use super::options::StateFolder;
use super::record::Recorder;
use crate::base::causes::told;
use crate::base::clock::Timestamp;
use crate::base::disk::Files;
use crate::base::faults::Faults;
use crate::base::invalid::ArgumentError;
use crate::base::ordered::OrderedMap;
use crate::control::adopt::AfterCrash;
use crate::control::event::EventKind;
use crate::control::look;
use crate::control::saved::{SavedControl, SavedEvidence};
use crate::feedback::id::SealKey;
use crate::model::model::Model;
use crate::state::names::Place;
use crate::state::{self, Found, Journal, StateError};
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;
use crate::version::prepare::StageError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where and how state is kept, as the builder was told.
pub(crate) struct Keeping<I: ?Sized, O> {
    pub(crate) folder: Option<StateFolder>,
    pub(crate) source: Option<Source<I, O>>,
    pub(crate) faults: Option<Faults>,
    /// The events that there are to tell of a start.
    told: Vec<EventKind>,
}

impl<I: ?Sized, O> Default for Keeping<I, O> {
    fn default() -> Self {
        Self { folder: None, source: None, faults: None, told: Vec::new() }
    }
}

/// The part that writes state down and finds versions again, while the handle lives.
pub(crate) struct Keeper<I: ?Sized, O> {
    /// `None` where no state is kept.
    pub(crate) recorder: Option<Recorder>,
    /// Where it is kept.
    #[cfg_attr(not(feature = "report"), expect(dead_code, reason = "reports alone look there"))]
    pub(crate) folder: Option<PathBuf>,
    /// Where versions come from by name.
    pub(crate) source: Option<Source<I, O>>,
    pub(crate) after_crash: AfterCrash,
    /// The events that there are to tell of the start.
    pub(crate) told: Vec<EventKind>,
}

/// A journal that was opened at a start; `None` where no state is kept.
pub(crate) struct Began(Option<(Place, Opened)>);

/// The material that a start goes on with once live is known: the journal, where it is, and what an earlier life has
/// written down.
pub(crate) type Started = Option<(Place, Option<Journal>, Option<Remembered>)>;

impl Began {
    /// Which life of the handle begins, from 1.
    pub(crate) fn lives(&self) -> u64 {
        self.0.as_ref().map_or(1, |(_, opened)| opened.lives())
    }
}

impl<I: ?Sized, O> Keeping<I, O> {
    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        self.folder.as_ref().map_or(Ok(()), StateFolder::check)
    }

    /// Opens the journal, and takes the key that it goes on with.
    pub(crate) fn begin(&mut self, name: &str, secret: &mut Option<[u8; 16]>) -> Result<Began, BuildError> {
        let Some(folder) = self.folder.as_ref().map(|state| state.folder.clone()) else {
            return Ok(Began(None));
        };
        let files = self.faults.take().map_or_else(Files::default, Files::with);
        let place = Place { files, folder };
        let opened = Opened::open(&place)?;
        if let Some((saved, _)) = opened.saved.as_ref().filter(|(saved, _)| saved.name != name) {
            let (folder, handle) = (place.folder, saved.name.clone());
            return Err(BuildError::OthersState { folder, handle });
        }
        let own = secret.is_some();
        let had_key = !own && state::has_secret(&place.folder)?;
        let key = match *secret {
            Some(key) => key,
            None => *secret.insert(state::secret(&place.files, &place.folder)?),
        };
        let (folder, key) = (place.folder.display(), SealKey::new(key).print());
        let less = match &opened.saved {
            Some((SavedControl { key: before, .. }, _)) => {
                let another = before.is_some_and(|before| before != key);
                if another && own {
                    Some(String::from(
                        "outcomes of earlier predictions are unknown, because the secret is another one than before: give the \
                         one that it was",
                    ))
                } else if another || (!own && !had_key) {
                    Some(format!(
                        "outcomes of earlier predictions are unknown, because the key in {folder} is not the one that sealed \
                         their ids: close, and put back the file `key` that was there"
                    ))
                } else {
                    None
                }
            }
            None if had_key && opened.journal.is_some() => Some(format!(
                "there is a key in {folder} and no journal: unless the first start ended before it could write one, put back \
                 the one that was there"
            )),
            None => None,
        };
        let mended = opened.mended.then(|| EventKind::StateFolderMended { folder: folder.to_string() });
        self.told.extend(mended.into_iter().chain(less.map(|reason| EventKind::StartedWithLess { reason })));
        Ok(Began(Some((place, opened))))
    }

    /// The version that is live from here on: what the journal says or, at a first start, what the host brought.
    pub(crate) fn live(
        &self,
        began: Began,
        embedded: Option<First<I, O>>,
        prepare: impl Fn(VersionId, Brought<I, O>) -> Result<Arc<dyn AnyVersion>, StageError>,
    ) -> Result<(Arc<dyn AnyVersion>, Started), BuildError> {
        let Some((place, opened)) = began.0 else { return Ok((first(embedded, prepare)?, None)) };
        let Opened { journal, saved, torn_bytes, .. } = opened;
        let Some((mut saved, evidence)) = saved else {
            return Ok((first(embedded, prepare)?, Some((place, journal, None))));
        };
        if journal.is_none() {
            // Its rollouts are the other process's.
            saved.attempts.clear();
        }
        let Loaded { live, loaded, missing } =
            load(&saved, embedded, &[], prepare).map_err(|versions| BuildError::NoneLeft { versions })?;
        let remembered = Remembered { saved, evidence, loaded, missing, torn_bytes };
        Ok((live, Some((place, journal, Some(remembered)))))
    }

    /// Returns what writes down this life of the handle, and what an earlier one has left.
    pub(crate) fn keeper(
        self,
        started: Started,
        life: (u64, u64),
        now: Timestamp,
    ) -> (Keeper<I, O>, Option<Remembered>) {
        let Self { folder, source, told, .. } = self;
        let kept_in = folder.as_ref().map(|state| state.folder.clone());
        let (after_crash, every) = folder.map_or((AfterCrash::default(), Duration::MAX), |state| {
            (state.after_crash, state.checkpoint_every)
        });
        let (recorder, remembered) = match started {
            Some((place, journal, remembered)) => {
                (Some(Recorder::new(journal, place, life, every, now)), remembered)
            }
            None => (None, None),
        };
        (Keeper { recorder, folder: kept_in, source, after_crash, told }, remembered)
    }
}

/// A model that the host brought along; otherwise it is the source's.
pub(crate) type Brought<I, O> = Option<Box<dyn Model<I, O>>>;

/// The live version of a first start.
fn first<I: ?Sized, O>(
    embedded: Option<First<I, O>>,
    prepare: impl Fn(VersionId, Brought<I, O>) -> Result<Arc<dyn AnyVersion>, StageError>,
) -> Result<Arc<dyn AnyVersion>, BuildError> {
    let (id, model) = embedded.ok_or(BuildError::NoLive)?.open()?;
    Ok(prepare(id, Some(model))?)
}

/// The contents of a journal when it was opened.
pub(crate) struct Opened {
    /// Nothing where another process has it.
    pub(crate) journal: Option<Journal>,
    pub(crate) saved: Option<(SavedControl, SavedEvidence)>,
    pub(crate) torn_bytes: u64,
    /// The group of the folder could write to it until it was opened.
    pub(crate) mended: bool,
}

impl Opened {
    /// Opens the journal in a folder; or looks at it, where another process has it.
    pub(crate) fn open(place: &Place) -> Result<Self, StateError> {
        match Journal::open(place.files.clone(), &place.folder) {
            Ok((journal, found)) => Self::of(Some(journal), &found),
            Err(locked @ StateError::Locked { .. }) => {
                let opened = Self::of(None, &Found::read(&place.files, &place.folder)?)?;
                // That process has only just begun: there is nothing to look at yet.
                if opened.saved.is_some() { Ok(opened) } else { Err(locked) }
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn of(journal: Option<Journal>, found: &Found) -> Result<Self, StateError> {
        let Found { torn_bytes, mended, .. } = *found;
        let Some(state) = &found.state else {
            return Ok(Self { journal, saved: None, torn_bytes, mended });
        };
        let saved: SavedControl = serde_json::from_slice(state).map_err(StateError::json)?;
        let mut evidence = SavedEvidence::default();
        // A repair may have found none.
        for part in found.evidence.iter().filter(|part| !part.is_empty()) {
            evidence.merge(serde_json::from_slice(part).map_err(StateError::json)?);
        }
        evidence.decisions = look::decisions(found)?;
        Ok(Self { journal, saved: Some((saved, evidence)), torn_bytes, mended })
    }

    /// Which life of the handle begins.
    pub(crate) fn lives(&self) -> u64 {
        self.saved.as_ref().map_or(0, |(saved, _)| saved.lives) + 1
    }
}

/// The records of an earlier life of the handle, with its versions.
pub(crate) struct Remembered {
    pub(crate) saved: SavedControl,
    pub(crate) evidence: SavedEvidence,
    pub(crate) loaded: OrderedMap<VersionId, Arc<dyn AnyVersion>>,
    pub(crate) missing: OrderedMap<VersionId, String>,
    pub(crate) torn_bytes: u64,
}

/// The versions of a start.
pub(crate) struct Loaded {
    pub(crate) live: Arc<dyn AnyVersion>,
    pub(crate) loaded: OrderedMap<VersionId, Arc<dyn AnyVersion>>,
    pub(crate) missing: OrderedMap<VersionId, String>,
}

/// Loads what an earlier life of the handle had, as far as it is not among those that are loaded `already`: live; where it is not to be had, the last version retained that is; where
/// none is, the one that the host brought along.
///
/// # Errors
///
/// None of them can be used: why, of each.
pub(crate) fn load<I: ?Sized, O>(
    saved: &SavedControl,
    embedded: Option<First<I, O>>,
    already: &[Arc<dyn AnyVersion>],
    prepare: impl Fn(VersionId, Brought<I, O>) -> Result<Arc<dyn AnyVersion>, StageError>,
) -> Result<Loaded, Vec<CannotBeLive>> {
    let retained = saved.retained.iter().map(|kept| kept.version);
    let on_trial = saved.attempts.iter().map(|attempt| attempt.version);
    let (mut embedded, mut spare) = (embedded, None);
    let (mut loaded, mut missing) = (OrderedMap::new(), OrderedMap::new());
    for wanted in std::iter::once(saved.live).chain(retained.clone()).chain(on_trial) {
        if loaded.contains_key(&wanted.version) || missing.contains_key(&wanted.version) {
            continue;
        }
        let id = wanted.version;
        let known =
            already.iter().find(|known| (known.id, known.identity) == (wanted.version, wanted.identity));
        if let Some(known) = known {
            loaded.insert(wanted.version, Arc::clone(known));
            continue;
        }
        let is_own = |first: &mut First<I, O>| matches!(first, First::Model(name, _) if *name == id.as_str());
        let own = match embedded.take_if(is_own) {
            Some(First::Model(_, model)) => Some(model),
            _ => None,
        };
        let brought = own.is_some();
        let prepared = prepare(id, own).map_err(told);
        match prepared {
            Ok(version) if version.identity == wanted.identity => drop(loaded.insert(id, version)),
            Ok(version) => {
                let reason = format!("its identity is {:?}, and was {:?}", version.identity, wanted.identity);
                missing.insert(id, reason);
                spare = brought.then_some(version).or(spare);
            }
            Err(reason) => drop(missing.insert(id, reason)),
        }
    }
    let mut known = std::iter::once(saved.live).chain(retained);
    let live = known.find_map(|known| loaded.get(&known.version).cloned()).or(spare).or_else(|| {
        let (id, prepared) = match embedded?.open() {
            Ok((id, model)) => (id, prepare(id, Some(model))),
            Err(error) => {
                // It has no name yet: it is told beside the one in whose place it would be.
                let before = missing.remove(&saved.live.version).unwrap_or_default();
                let reason = format!("{before}; nor is there the version of a first start: {}", told(error));
                missing.insert(saved.live.version, reason);
                return None;
            }
        };
        prepared.map_err(|error| missing.insert(id, told(error))).ok()
    });
    match live {
        Some(live) => Ok(Loaded { live, loaded, missing }),
        None => Err(missing.into_iter().map(|(version, reason)| CannotBeLive { version, reason }).collect()),
    }
}

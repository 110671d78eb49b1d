//! A start that remembers: which versions it needs, where they come from, and what is live where one cannot be had.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::core::Inner;
use super::record::Recorder;
use crate::base::faults::Faults;
use crate::control::adopt::{AfterCrash, Start};
use crate::control::control::Control;
use crate::control::event::EventKind;
use crate::control::saved::{SavedControl, SavedEvidence};
use crate::model::causes::in_full;
use crate::model::model::Model;
use crate::model::throttle::LoadThrottle;
use crate::state::names::Place;
use crate::state::{Found, Journal, StateError};
use crate::version::id::VersionId;
use crate::version::loaded::Version;
use crate::version::prepare::{StageError, prepare};
use crate::version::source::ModelSource;

/// Where and how state is kept.
pub(crate) struct StateOptions<I: ?Sized, O> {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) versions: Option<Box<dyn ModelSource<I, O>>>,
    pub(crate) after_crash: AfterCrash,
    pub(crate) checkpoint_every: Duration,
    pub(crate) faults: Option<Faults>,
}

impl<I: ?Sized, O> Default for StateOptions<I, O> {
    fn default() -> Self {
        Self {
            folder: None,
            versions: None,
            after_crash: AfterCrash::default(),
            checkpoint_every: Duration::from_secs(10),
            faults: None,
        }
    }
}

/// What a journal held when it was opened.
pub(crate) struct Opened {
    /// Nothing where another process has it.
    pub(crate) journal: Option<Journal>,
    pub(crate) saved: Option<(SavedControl, SavedEvidence)>,
    pub(crate) torn_bytes: u64,
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

    fn of(journal: Option<Journal>, found: &Found) -> Result<Self, StateError> {
        let torn_bytes = found.torn_bytes;
        let Some(state) = &found.state else {
            return Ok(Self { journal, saved: None, torn_bytes });
        };
        let saved: SavedControl = serde_json::from_slice(state).map_err(StateError::json)?;
        let mut evidence = SavedEvidence::default();
        // A repair may have found none.
        for part in found.evidence.iter().filter(|part| !part.is_empty()) {
            evidence.merge(serde_json::from_slice(part).map_err(StateError::json)?);
        }
        Ok(Self { journal, saved: Some((saved, evidence)), torn_bytes })
    }

    /// Which life of the handle begins.
    pub(crate) fn lives(&self) -> u64 {
        self.saved.as_ref().map_or(0, |(saved, _)| saved.lives) + 1
    }
}

/// What an earlier life of the handle has written down, with its versions.
pub(crate) struct Remembered<I: ?Sized, O> {
    pub(crate) saved: SavedControl,
    pub(crate) evidence: SavedEvidence,
    pub(crate) loaded: BTreeMap<VersionId, Arc<Version<I, O>>>,
    pub(crate) missing: BTreeMap<VersionId, String>,
    pub(crate) torn_bytes: u64,
}

/// The versions of a start.
pub(crate) struct Loaded<I: ?Sized, O> {
    pub(crate) live: Arc<Version<I, O>>,
    pub(crate) loaded: BTreeMap<VersionId, Arc<Version<I, O>>>,
    pub(crate) missing: BTreeMap<VersionId, String>,
}

/// Loads what an earlier life of the handle had, as far as it is not among those that are loaded `already`: live; where it is not to be had, the last version retained that is; where
/// none is, the one that the host brought along.
///
/// # Errors
///
/// None of them can be used: why, of each.
pub(crate) fn load<I: ?Sized, O>(
    saved: &SavedControl,
    embedded: Option<(String, Box<dyn Model<I, O>>)>,
    versions: Option<&dyn ModelSource<I, O>>,
    already: &[Arc<Version<I, O>>],
    prepare: impl Fn(VersionId, Box<dyn Model<I, O>>) -> Result<Version<I, O>, StageError>,
) -> Result<Loaded<I, O>, Vec<(VersionId, String)>> {
    let retained = saved.retained.iter().map(|kept| kept.version);
    let on_trial = saved.attempts.iter().map(|attempt| attempt.version);
    let (mut embedded, mut spare) = (embedded, None);
    let (mut loaded, mut missing) = (BTreeMap::new(), BTreeMap::new());
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
        let own = embedded.take_if(|(name, _)| *name == id.as_str()).map(|(_, model)| Ok(model));
        let from_source = || match versions {
            Some(versions) => versions.open(id.as_str()).map_err(|error| in_full(&*error)),
            None => Err(String::from("nobody knows where it is: say `.versions(..)` at build")),
        };
        let brought = own.is_some();
        let opened = own.unwrap_or_else(from_source);
        let prepared = opened.and_then(|model| prepare(id, model).map_err(|error| in_full(&error)));
        match prepared {
            Ok(version) if version.identity == wanted.identity => drop(loaded.insert(id, Arc::new(version))),
            Ok(version) => {
                let reason = format!("its identity is {:?}, and was {:?}", version.identity, wanted.identity);
                missing.insert(id, reason);
                spare = brought.then(|| Arc::new(version)).or(spare);
            }
            Err(reason) => drop(missing.insert(id, reason)),
        }
    }
    let mut known = std::iter::once(saved.live).chain(retained);
    let live = known.find_map(|known| loaded.get(&known.version).cloned()).or(spare).or_else(|| {
        let (name, model) = embedded?;
        let id = VersionId::new(&name).ok()?;
        match prepare(id, model) {
            Ok(version) => Some(Arc::new(version)),
            Err(error) => {
                missing.insert(id, in_full(&error));
                None
            }
        }
    });
    match live {
        Some(live) => Ok(Loaded { live, loaded, missing }),
        None => Err(missing.into_iter().collect()),
    }
}

impl<I: ?Sized + 'static, O: 'static> Inner<I, O> {
    /// Goes on from what is remembered, or looks on where another process has it; and writes down that this life has begun.
    pub(crate) fn go_on(&self, remembered: Option<Remembered<I, O>>) {
        if let Some(Remembered { saved, evidence, loaded, missing, torn_bytes }) = remembered {
            let (setting, after_crash) = (self.setting(), self.after_crash);
            let start = Start { setting, after_crash, loaded, missing, torn_bytes };
            let (now, recorder) = (self.clock.now(), self.recorder.as_ref());
            let looks_on = recorder.is_some_and(|recorder| recorder.looking_at().is_some());
            self.change(|control| {
                if looks_on {
                    control.look_on(&saved, &start, &self.routing, &self.joins, now);
                } else {
                    control.adopt(saved, evidence, &start, &self.routing, &self.joins, now);
                }
            });
        }
        // So that an end without a word is known for one.
        self.record();
    }

    /// Takes the state over from the process that had it, if it has let go of it: that process's rollouts go on here.
    /// Whether it was taken over.
    pub(crate) fn take_over(&self) -> Result<bool, StateError> {
        let Some(place) = self.recorder.as_ref().and_then(|recorder| recorder.looking_at()) else {
            return Ok(false);
        };
        let opened = match Journal::open(place.files.clone(), &place.folder) {
            Ok((journal, found)) => Opened::of(Some(journal), &found)?,
            Err(StateError::Locked { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let lives = opened.lives();
        // From before anything is adopted: what is raised meanwhile waits, and is written down first as ever.
        let Some(turn) = self.recorder.as_ref().map(Recorder::turn) else { return Ok(false) };
        let Opened { journal: Some(journal), saved, torn_bytes } = opened else { return Ok(false) };
        if let Some((saved, evidence)) = saved {
            let already = self.control.lock().loaded();
            let current = already.first().cloned();
            let (check, sample) = (self.check.as_ref(), self.sample.as_deref());
            let prepare = |id, model| prepare(id, model, &self.task, check, sample, &LoadThrottle::new());
            let found = load(&saved, None, self.versions.as_deref(), &already, prepare);
            let (live, loaded, missing) = match found {
                Ok(Loaded { live, loaded, missing }) => (Some(live), loaded, missing),
                Err(reasons) => (current, BTreeMap::new(), reasons.into_iter().collect()),
            };
            let start =
                Start { setting: self.setting(), after_crash: self.after_crash, loaded, missing, torn_bytes };
            let now = self.clock.now();
            self.change(|control| {
                control.announcer.announce(now, control.epoch, EventKind::TakenOver);
                control.replace_live(live);
                control.adopt(saved, evidence, &start, &self.routing, &self.joins, now);
            });
        }
        self.begin_writing(turn, journal, lives);
        Ok(true)
    }

    /// Takes over what may be taken over; an event tells where that fails.
    pub(crate) fn take_over_if_free(&self) {
        if let Err(error) = self.take_over() {
            self.not_durable(&error);
        }
    }
}

impl<I: ?Sized, O> Control<I, O> {
    /// Begins with another live, before all else is adopted.
    fn replace_live(&mut self, live: Option<Arc<Version<I, O>>>) {
        let Some(live) = live.filter(|live| !Arc::ptr_eq(live, &self.live)) else { return };
        let before = std::mem::replace(&mut self.live, live);
        if !self.retained.iter().any(|kept| Arc::ptr_eq(&kept.version, &before)) {
            self.retired.push(before);
        }
    }
}

//! A start that remembers: which versions it needs, where they come from, and what is live where one cannot be had.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::control::adopt::AfterCrash;
use crate::control::saved::{SavedControl, SavedEvidence};
use crate::model::Model;
use crate::stage::StageError;
use crate::state::{Found, Journal, StateError};
use crate::testing::Faults;
use crate::version::{Version, VersionId};

/// Where versions come from by name: what a start asks for those that were live, on trial or retained.
///
/// A closure will do. What it opens is held against the identity that the version had: other bytes, another pipeline or
/// other options under the same name are not that version.
///
/// ```
/// use switchback::{Model, closure};
///
/// let versions = |name: &str| match name {
///     "v1" => Ok(Box::new(closure("double@1", |x: &f64| Ok(x * 2.0))) as Box<dyn Model<f64, f64>>),
///     other => Err(format!("there is no version {other}").into()),
/// };
/// # fn takes(_: impl switchback::Versions<f64, f64>) {}
/// # takes(versions);
/// ```
pub trait Versions<I: ?Sized, O>: Send + Sync {
    /// Opens a version; the handle loads it.
    ///
    /// # Errors
    ///
    /// Whatever stands in the way. It is named where the version is missed.
    fn open(&self, version: &str) -> Result<Box<dyn Model<I, O>>, Box<dyn Error + Send + Sync>>;
}

impl<I: ?Sized, O, F> Versions<I, O> for F
where
    F: Fn(&str) -> Result<Box<dyn Model<I, O>>, Box<dyn Error + Send + Sync>> + Send + Sync,
{
    fn open(&self, version: &str) -> Result<Box<dyn Model<I, O>>, Box<dyn Error + Send + Sync>> {
        self(version)
    }
}

/// Where and how state is kept.
pub(crate) struct StateOptions<I: ?Sized, O> {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) versions: Option<Box<dyn Versions<I, O>>>,
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
    pub(crate) journal: Journal,
    pub(crate) saved: Option<(SavedControl, SavedEvidence)>,
    pub(crate) torn_bytes: u64,
}

impl Opened {
    pub(crate) fn of(journal: Journal, found: &Found) -> Result<Self, StateError> {
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

/// The versions of a start.
pub(crate) struct Loaded<I: ?Sized, O> {
    pub(crate) live: Arc<Version<I, O>>,
    pub(crate) loaded: BTreeMap<VersionId, Arc<Version<I, O>>>,
    pub(crate) missing: BTreeMap<VersionId, String>,
}

/// Loads what an earlier life of the handle had: live; where it is not to be had, the last version retained that is; where
/// none is, the one that the host brought along.
///
/// # Errors
///
/// None of them can be used: why, of each.
pub(crate) fn load<I: ?Sized, O>(
    saved: &SavedControl,
    embedded: Option<(String, Box<dyn Model<I, O>>)>,
    versions: Option<&dyn Versions<I, O>>,
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
        let own = embedded.take_if(|(name, _)| *name == id.as_str()).map(|(_, model)| Ok(model));
        let from_source = || match versions {
            Some(versions) => versions.open(id.as_str()).map_err(|error| error.to_string()),
            None => Err(String::from("nobody knows where it is: say `.versions(..)` at build")),
        };
        let brought = own.is_some();
        let opened = own.unwrap_or_else(from_source);
        let prepared = opened.and_then(|model| prepare(id, model).map_err(|error| error.to_string()));
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
                missing.insert(id, error.to_string());
                None
            }
        }
    });
    match live {
        Some(live) => Ok(Loaded { live, loaded, missing }),
        None => Err(missing.into_iter().collect()),
    }
}

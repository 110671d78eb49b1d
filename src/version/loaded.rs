//! A version: a model with its pipeline under a name, loaded, and how ready it is.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

use super::drill::Drilled;
use super::id::VersionId;
use crate::base::clock::Timestamp;
use crate::model::error::LoadError;
use crate::model::identity::Identity;
use crate::model::model::{Description, Model};
use crate::model::{Memory, Tier, Wanted};

/// One loaded model with what is known of it. Shared by the routing table, pins and the control side.
pub(crate) struct Version<I: ?Sized, O> {
    known: Known,
    pub(crate) model: Box<dyn Model<I, O>>,
}

/// What is known of a version. What it answers never changes; how ready it is does, and is known apart.
pub(crate) struct Known {
    pub(crate) id: VersionId,
    pub(crate) identity: Identity,
    pub(crate) description: Description,
    /// How ready it is to be. Set under the control lock.
    pub(crate) wanted: Wanted,
    readiness: Mutex<Readiness>,
}

/// A version in the hands of those who never ask it: they know neither what goes in nor what comes out, so nothing of
/// theirs is compiled again for every model.
pub(crate) trait AnyVersion: Send + Sync {
    fn known(&self) -> &Known;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The model's own, as far as it needs no input.
    fn wake(&self) -> Result<(), LoadError>;
    fn settle(&self) -> Result<Tier, LoadError>;
    fn maintain(&self) -> Result<(), LoadError>;
    fn memory(&self) -> Option<Memory>;
    fn tier(&self) -> Tier;
}

impl<I: ?Sized + 'static, O: 'static> AnyVersion for Version<I, O> {
    fn known(&self) -> &Known {
        &self.known
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn wake(&self) -> Result<(), LoadError> {
        self.model.wake()
    }

    fn settle(&self) -> Result<Tier, LoadError> {
        self.model.settle(&self.known.wanted)
    }

    fn maintain(&self) -> Result<(), LoadError> {
        self.model.maintain()
    }

    fn memory(&self) -> Option<Memory> {
        self.model.memory()
    }

    fn tier(&self) -> Tier {
        self.model.tier()
    }
}

impl<I: ?Sized, O> Deref for Version<I, O> {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Deref for dyn AnyVersion {
    type Target = Known;

    fn deref(&self) -> &Known {
        self.known()
    }
}

impl dyn AnyVersion {
    /// The version as those know it who ask it. `None` where it is of other types: it came from another handle.
    pub(crate) fn typed<I: ?Sized + 'static, O: 'static>(self: &Arc<Self>) -> Option<Arc<Version<I, O>>> {
        Arc::clone(self).into_any().downcast().ok()
    }
}

/// How ready a version is, as far as is known.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    pub(crate) tier: Tier,
    /// It has tiers to go to without being loaded anew.
    pub(crate) is_prepared: bool,
    pub(crate) memory: Option<Memory>,
    weighed_at: Option<Timestamp>,
    pub(crate) drilled: Option<Drilled>,
}

impl<I: ?Sized, O> Version<I, O> {
    /// A version that is loaded.
    pub(crate) fn new(
        id: VersionId,
        identity: Identity,
        description: Description,
        model: Box<dyn Model<I, O>>,
    ) -> Self {
        let is_prepared = description.prepared;
        let readiness =
            Readiness { tier: Tier::Hot, is_prepared, memory: None, weighed_at: None, drilled: None };
        let (wanted, readiness) = (Wanted::new(Tier::Hot), Mutex::new(readiness));
        Self { known: Known { id, identity, description, wanted, readiness }, model }
    }
}

impl Known {
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.lock().clone()
    }

    pub(crate) fn is_cold(&self) -> bool {
        // Wanted cold: it may be on its way there.
        self.wanted.tier() == Tier::Cold || self.readiness.lock().tier == Tier::Cold
    }

    /// Notes the tier it is in; the one it was in.
    pub(crate) fn set_tier(&self, tier: Tier) -> Tier {
        std::mem::replace(&mut self.readiness.lock().tier, tier)
    }

    pub(crate) fn weighed_at(&self) -> Option<Timestamp> {
        self.readiness.lock().weighed_at
    }

    pub(crate) fn set_memory(&self, memory: Option<Memory>, now: Timestamp) {
        let mut readiness = self.readiness.lock();
        (readiness.memory, readiness.weighed_at) = (memory, Some(now));
    }

    /// What it takes of memory is to be measured again.
    pub(crate) fn forget_weight(&self) {
        self.readiness.lock().weighed_at = None;
    }

    /// Notes a drill; the one before.
    pub(crate) fn set_drilled(&self, mut drilled: Drilled) -> Option<Drilled> {
        let mut readiness = self.readiness.lock();
        if let Some(before) = &readiness.drilled {
            drilled.took_in_all += before.took_in_all;
        }
        readiness.drilled.replace(drilled)
    }
}

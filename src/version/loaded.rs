//! A loaded version, and how ready it is.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::drill::DrillOutcome;
use super::id::VersionId;
use super::proof::Proof;
use crate::base::clock::{Reading, Timestamp};
use crate::base::guarded::Contained;
use crate::base::sync::{Begun, InFlight};
use crate::model::description::Description;
use crate::model::error::LoadError;
use crate::model::identity::Identity;
use crate::model::lifecycle::Lifecycle;
use crate::model::model::Model;
#[cfg(feature = "onnx")]
use crate::model::onnx::Signature;
use crate::model::{Doubt, Memory, TargetTier, Tier};

/// One loaded model with what is known of it. Shared by the routing table, pins and the control side.
pub(crate) struct Version<I: ?Sized, O> {
    known: Known,
    pub(crate) model: Contained<Box<dyn Model<I, O>>>,
}

/// The facts that are known of a version. What it answers never changes; how ready it is does, and is known apart.
pub(crate) struct Known {
    pub(crate) id: VersionId,
    pub(crate) identity: Identity,
    pub(crate) description: Description,
    /// What it takes and gives, where it is an ONNX model.
    #[cfg(feature = "onnx")]
    pub(crate) signature: Option<Arc<Signature>>,
    /// Its proof: what it was asked before it was staged.
    pub(crate) proof: Proof,
    /// How ready it is to be. Set under the control lock.
    pub(crate) wanted: TargetTier,
    readiness: Mutex<Readiness>,
    /// Its calls that have not ended, while it is on trial.
    in_flight: Arc<InFlight>,
    /// Calls beside the requests that were abandoned and have not returned. Relaxed: whoever misses one is abandoned too.
    blocked: AtomicUsize,
}

/// The most calls of a candidate for callers that are under way at one time.
pub(crate) const CALLS_MAX: usize = 64;

/// The most of its calls on copies.
const COPIES_MAX: usize = 64;

/// A version in the hands of those who never ask it: they know neither what goes in nor what comes out, so nothing of
/// theirs is compiled again for every model.
pub(crate) trait AnyVersion: Send + Sync {
    fn known(&self) -> &Known;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Returns what the model does beside answering, if it does anything.
    fn lifecycle(&self) -> Option<&dyn Lifecycle>;
}

impl<I: ?Sized + 'static, O: 'static> AnyVersion for Version<I, O> {
    fn known(&self) -> &Known {
        &self.known
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        self.model.lifecycle()
    }
}

/// A version of which no more than the name is here: for whoever decides about one that it need not ask.
#[cfg(feature = "fleet")]
pub(crate) struct Named(Known);

#[cfg(feature = "fleet")]
impl Named {
    pub(crate) fn new(id: VersionId, identity: Identity) -> Self {
        Self(Known::new(id, identity, Description::default()))
    }
}

#[cfg(feature = "fleet")]
impl AnyVersion for Named {
    fn known(&self) -> &Known {
        &self.0
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        None
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

impl dyn AnyVersion + '_ {
    /// Has the model answer again, as soon as can be. This and the next four are the host's code, and what becomes of a
    /// model without a lifecycle.
    pub(crate) fn wake(&self) -> Result<(), LoadError> {
        self.lifecycle().map_or(Ok(()), |own| own.wake())
    }

    /// Takes the model to the tier that it is wanted in; gives the one that it is in.
    pub(crate) fn settle(&self) -> Result<Tier, LoadError> {
        self.lifecycle().map_or(Ok(Tier::Hot), |own| own.settle(&self.known().wanted))
    }

    pub(crate) fn tier(&self) -> Tier {
        self.lifecycle().map_or(Tier::Hot, |own| own.tier())
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        self.lifecycle().and_then(|own| own.memory())
    }

    pub(crate) fn maintain(&self) -> Result<(), LoadError> {
        self.lifecycle().map_or(Ok(()), |own| own.maintain())
    }

    pub(crate) fn take_doubt(&self) -> Option<Doubt> {
        self.lifecycle().and_then(|own| own.take_doubt())
    }

    /// The version as those know it who ask it. `None` where it is of other types: it came from another handle.
    pub(crate) fn typed<I: ?Sized + 'static, O: 'static>(self: &Arc<Self>) -> Option<Arc<Version<I, O>>> {
        Arc::clone(self).into_any().downcast().ok()
    }
}

/// How ready a version is, as far as is known.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    pub(crate) tier: Tier,
    /// How often it was noted in which tier it is.
    noted: u64,
    /// How many wake it.
    pub(crate) waking: usize,
    /// The tier that it was asked for last and went as far to as it can: a model without that tier stays where it is.
    arrived_for: Option<Tier>,
    /// It has tiers to go to without being loaded again.
    pub(crate) is_prepared: bool,
    pub(crate) memory: Option<Memory>,
    weighed_at: Option<Timestamp>,
    pub(crate) drilled: Option<DrillOutcome>,
}

impl Readiness {
    /// Whether it is on its way to a tier.
    pub(crate) fn is_on_its_way_to(&self, wanted: Tier) -> bool {
        self.tier != wanted && self.arrived_for != Some(wanted)
    }

    /// Whether what is known of its memory is of a tier that it was in before.
    pub(crate) fn is_weighed_no_more(&self) -> bool {
        self.memory.is_some() && self.weighed_at.is_none()
    }
}

impl<I: ?Sized, O> Version<I, O> {
    /// A version that is loaded.
    pub(crate) fn new(
        id: VersionId,
        identity: Identity,
        description: Description,
        model: Contained<Box<dyn Model<I, O>>>,
    ) -> Self {
        Self { known: Known::new(id, identity, description), model }
    }

    /// Sets what it takes and gives.
    #[cfg(feature = "onnx")]
    pub(crate) fn set_signature(&mut self, signature: Option<Signature>) {
        self.known.signature = signature.map(Arc::new);
    }

    /// Sets what it was asked, now that it is known.
    pub(crate) fn set_proof(&mut self, proof: Proof) {
        self.known.proof = proof;
    }
}

/// A place that a call of a version has which ends on another thread than it began. It is given back when this goes.
pub(crate) struct Place<I: ?Sized, O> {
    pub(crate) version: Arc<Version<I, O>>,
    place: usize,
}

impl<I: ?Sized, O> Place<I, O> {
    /// Begins a call for a caller, where fewer than so many are under way.
    pub(crate) fn begin(
        version: &Arc<Version<I, O>>,
        most: usize,
        lane: usize,
        now: Reading,
    ) -> Option<Self> {
        let place = version.in_flight.take(0..most.min(CALLS_MAX), lane, now.nanos())?;
        Some(Self { version: Arc::clone(version), place })
    }
}

impl<I: ?Sized, O> Drop for Place<I, O> {
    fn drop(&mut self) {
        self.version.in_flight.end(self.place);
    }
}

impl Known {
    fn new(id: VersionId, identity: Identity, description: Description) -> Self {
        let is_prepared = description.prepared;
        let readiness = Readiness {
            tier: Tier::Hot,
            noted: 0,
            waking: 0,
            arrived_for: None,
            is_prepared,
            memory: None,
            weighed_at: None,
            drilled: None,
        };
        Self {
            id,
            identity,
            description,
            #[cfg(feature = "onnx")]
            signature: None,
            proof: Proof::NotAsked,
            wanted: TargetTier::new(Tier::Hot),
            readiness: Mutex::new(readiness),
            in_flight: Arc::new(InFlight::new(CALLS_MAX + COPIES_MAX)),
            blocked: AtomicUsize::new(0),
        }
    }

    /// Begins a call for a caller, where fewer than so many are under way.
    #[inline]
    pub(crate) fn begin_call(&self, most: usize, lane: usize, now: Reading) -> Option<Begun<'_>> {
        self.in_flight.begin(0..most.min(CALLS_MAX), lane, now.nanos())
    }

    /// Whether a call of a caller's that began now would have a place, where fewer than so many may be under way.
    #[inline]
    pub(crate) fn has_free_call(&self, most: usize) -> bool {
        self.in_flight.has_free(0..most.min(CALLS_MAX))
    }

    /// Whether callers have no more than so many calls of these versions under way together with those that are `left` of others; asked by
    /// one that has just begun.
    pub(crate) fn calls_within<'a>(
        those: impl Iterator<Item = &'a Self>,
        left: &'a [Arc<InFlight>],
        most: usize,
    ) -> bool {
        let those = those.map(|one| &*one.in_flight);
        InFlight::within(those.chain(left.iter().map(|left| &**left)), 0..CALLS_MAX, most)
    }

    /// Its calls, for whoever counts them without keeping the version.
    pub(crate) fn calls(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// The same, where some of callers' are under way.
    pub(crate) fn calls_left(&self) -> Option<Arc<InFlight>> {
        let none = InFlight::within(std::iter::once(&*self.in_flight), 0..CALLS_MAX, 0);
        (!none).then(|| Arc::clone(&self.in_flight))
    }

    /// Begins a call that is no caller's: on a copy, or of a stream that stays with the version. Where more are under way than
    /// can be noted it is made all the same.
    pub(crate) fn begin_aside(&self, lane: usize, now: Reading) -> Option<Begun<'_>> {
        self.in_flight.begin(CALLS_MAX..CALLS_MAX + COPIES_MAX, lane, now.nanos())
    }

    /// How many of its calls are under way, and since when the oldest is, by the stopwatch.
    pub(crate) fn in_flight(&self) -> (usize, Option<Reading>) {
        let (calls, oldest) = self.in_flight.seen();
        (calls, oldest.map(Reading::from_nanos))
    }

    /// A call of it beside the requests is not waited for any more.
    pub(crate) fn block(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    /// Such a call has returned at last.
    pub(crate) fn unblock(&self) {
        self.blocked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether such a call has not returned: another one would not either.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness.lock().clone()
    }

    /// Whether it is to be woken before it answers. One that is being woken is, whatever is known of its tier, until it is awake.
    pub(crate) fn is_cold(&self) -> bool {
        let readiness = self.readiness.lock();
        // Wanted cold: it may be on its way there.
        readiness.waking > 0 || self.wanted.tier() == Tier::Cold || readiness.tier == Tier::Cold
    }

    /// Somebody wakes it.
    pub(crate) fn begin_waking(&self) {
        let mut readiness = self.readiness.lock();
        readiness.waking += 1;
        // Whoever is emptying it looks again before it does.
        self.wanted.set(Tier::Hot);
    }

    /// It is awake for them, or could not be woken.
    pub(crate) fn woken(&self) {
        self.readiness.lock().waking -= 1;
    }

    /// Notes that it has gone as far as it can to a tier.
    pub(crate) fn arrived_for(&self, wanted: Tier) {
        self.readiness.lock().arrived_for = Some(wanted);
    }

    /// Notes the tier it is in; the one it was in.
    pub(crate) fn set_tier(&self, tier: Tier) -> Tier {
        let mut readiness = self.readiness.lock();
        readiness.noted += 1;
        std::mem::replace(&mut readiness.tier, tier)
    }

    /// How often that was noted: whoever takes it to another tier tells by this whether somebody has noted one meanwhile.
    pub(crate) fn tiers_noted(&self) -> u64 {
        self.readiness.lock().noted
    }

    pub(crate) fn weighed_at(&self) -> Option<Timestamp> {
        self.readiness.lock().weighed_at
    }

    pub(crate) fn set_memory(&self, memory: Option<Memory>, now: Timestamp) {
        let mut readiness = self.readiness.lock();
        (readiness.memory, readiness.weighed_at) = (memory, Some(now));
    }

    /// What is known of its memory is of another tier: it is to be measured again.
    pub(crate) fn forget_weight(&self) {
        self.readiness.lock().weighed_at = None;
    }

    /// Notes a drill; the one before.
    pub(crate) fn set_drilled(&self, mut drilled: DrillOutcome) -> Option<DrillOutcome> {
        let mut readiness = self.readiness.lock();
        if let Some(before) = &readiness.drilled {
            drilled.took_in_all += before.took_in_all;
        }
        readiness.drilled.replace(drilled)
    }
}

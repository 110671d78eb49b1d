//! The sessions of a model that is loaded, and their way from one tier to another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use super::deadline::Watches;
use super::form::Form;
use super::load;
use super::load::{error_of, signature_of};
use super::pool::{CLOCK, Pool, Worker};
use super::session::{Call, Session};
use crate::base::causes::in_full;
use crate::base::clock::Timestamp;
use crate::base::sync::Settled;
use crate::base::{memory, os};
use crate::model::error::{LoadError, ModelError};
use crate::model::onnx::file::files::{Files, NotTheSame};
use crate::model::onnx::file::signature::Signature;
use crate::model::onnx::options::Options;
use crate::model::onnx::prepared::Entry;
use crate::model::onnx::prepared::cache::PreparedCache;
use crate::model::onnx::runtime::runtime::Runtime;
use crate::model::onnx::tensor::interface::Interface;
use crate::model::onnx::tensor::made_up::zeros_for;
use crate::model::throttle::LoadThrottle;
use crate::model::{Doubt, Memory, TargetTier, Tier};

/// A model that is loaded: what it takes and gives, for good, and its sessions, which come and go with its tier.
///
/// Sessions are exchanged seat by seat, each under its own lock, which requests take anyhow: so a model goes from one tier to
/// another while it answers, and a request costs no more for it.
pub(crate) struct Loaded {
    pub(crate) signature: Signature,
    pub(crate) interface: Interface,
    pub(crate) pool: Pool<Seat>,
    pub(crate) watches: Watches,
    runtime: Runtime,
    /// The prepared form; or why there is none, where there was to be one.
    prepared: Mutex<Result<Arc<Entry>, Option<String>>>,
    /// When the prepared form was last found to be as it was.
    sound: Mutex<Timestamp>,
    /// The doubt about what was answered from one that was not, until it is told.
    doubt: Mutex<Option<Doubt>>,
    /// The fate of the weights that sessions use where they lie, once somebody has written to them. It is for good:
    /// what sessions have read of them since, nobody knows.
    spoilt: Mutex<Option<LoadError>>,
    /// The tier that the seats are in. Held while they change, and by whoever wakes the model for as long as that takes: a
    /// seat that is to be emptied is not, once it is wanted again.
    tier: Settled<Tier>,
    /// Relaxed wherever it is read and written: for showing, it guards nothing.
    private_bytes: AtomicU64,
}

/// A place for a session.
pub(crate) struct Seat {
    pub(crate) session: Option<Session>,
}

impl Worker for Seat {
    fn is_usable(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.is_broken())
    }

    fn is_broken(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_broken)
    }
}

impl Loaded {
    pub(crate) fn of(
        files: &Files,
        options: &Options,
        cache: Option<&PreparedCache>,
        throttle: &LoadThrottle,
    ) -> Result<Self, LoadError> {
        options.check()?;
        throttle.step()?;
        files.unchanged()?;
        let runtime = Runtime::get()?;
        let before = memory::private();
        let found = match cache {
            Some(cache) => cache.entry(files, options, &runtime, throttle)?.map_err(Some),
            None => Err(None),
        };
        let (mut prepared, mut first) = (found, None);
        if let Ok(entry) = &prepared {
            throttle.step()?;
            match load::prepared(entry, Form::Packed, files, options, &runtime) {
                Ok(session) => first = Some(session),
                Err(error) => prepared = Err(Some(in_full(&error))),
            }
        }
        let entry = prepared.as_ref().ok();
        // Read and hashed once for all sessions.
        let _held = if entry.is_some() { None } else { files.hold()? };
        let first = match first {
            Some(first) => first,
            None => load::plain(files, options, &runtime)?,
        };
        let signature = signature_of(files, &first)?;
        options.check_outputs(&signature)?;
        let interface = Interface::of(&signature, options.outputs.as_deref());
        let engine = |error: ort::Error| error_of(files, &error);
        let mut sessions = vec![Session::new(first, &interface, options.shrinks()).map_err(engine)?];
        while sessions.len() < options.pool_size {
            throttle.step()?;
            let next = match entry {
                Some(entry) => load::prepared(entry, Form::Packed, files, options, &runtime)?,
                None => load::plain(files, options, &runtime)?,
            };
            sessions.push(Session::new(next, &interface, options.shrinks()).map_err(engine)?);
        }
        let watches = Watches::new(sessions.len()).map_err(engine)?;
        LazyLock::force(&CLOCK); // takes a moment, which no request should wait for
        let seats = sessions.into_iter().map(|session| Seat { session: Some(session) }).collect();
        let loaded = Self {
            signature,
            interface,
            pool: Pool::new(seats),
            watches,
            runtime,
            prepared: Mutex::new(prepared),
            sound: Mutex::new(CLOCK.now()),
            doubt: Mutex::default(),
            spoilt: Mutex::default(),
            tier: Settled::new(Tier::Hot),
            private_bytes: AtomicU64::new(0),
        };
        // What making a session needs for a moment is given back, or it would count as the session's.
        os::return_free_memory();
        loaded.weigh(before);
        Ok(loaded)
    }

    /// The tier that it is in.
    pub(crate) fn tier(&self) -> Tier {
        self.tier.state()
    }

    /// Whether it has a prepared form.
    pub(crate) fn is_prepared(&self) -> bool {
        self.prepared.lock().is_ok()
    }

    /// Why it has no prepared form, where it was to have one.
    pub(crate) fn unprepared(&self) -> Option<String> {
        self.prepared.lock().as_ref().err().cloned().flatten()
    }

    /// Answers from a form, or from weights, that were written to, which are told once.
    pub(crate) fn take_doubt(&self) -> Option<Doubt> {
        self.doubt.lock().take()
    }

    /// Returns what it takes of the process's memory.
    pub(crate) fn memory(&self) -> Memory {
        let entry = self.prepared.lock().as_ref().ok().cloned();
        let mapped = entry.and_then(|entry| memory::mapped_from(entry.folder())).unwrap_or_default();
        // Relaxed, here and where it is stored: a number for people, which nothing is read after.
        Memory::private(self.private_bytes.load(Ordering::Relaxed)).mapped(mapped)
    }

    /// Answers again, as soon as can be.
    pub(crate) fn wake(&self, files: &Files, options: &Options) -> Result<(), LoadError> {
        let mut before = None;
        let woken = self.tier.leave(Tier::Cold, || {
            before = memory::private();
            let entry = self.prepared.lock().as_ref().ok().cloned();
            let mapped = entry.and_then(|entry| {
                // Where it is not what it was, the model's own files are, or nothing is.
                self.sessions(files, options, Some((&entry, Form::Mapped))).ok()
            });
            let (sessions, reached) = match mapped {
                Some(sessions) => (sessions, Tier::Warm),
                None => (self.sessions(files, options, None)?, Tier::Hot),
            };
            // Seats are empty: nobody is replaced.
            drop(self.seat(sessions));
            Ok::<_, LoadError>(reached)
        })?;
        if woken {
            self.weigh(before);
        }
        Ok(())
    }

    /// Goes to the tier that is wanted. One thread at a time.
    pub(crate) fn settle(
        &self,
        files: &Files,
        options: &Options,
        wanted: &TargetTier,
    ) -> Result<Tier, LoadError> {
        let target = wanted.tier();
        let entry = self.prepared.lock().as_ref().ok().cloned();
        let current = self.tier();
        // Without a prepared form there is nothing between hot and cold.
        let is_there =
            current == target || (target == Tier::Warm && (entry.is_none() || current == Tier::Cold));
        if is_there {
            return Ok(current);
        }
        if target == Tier::Cold {
            return Ok(self.empty(wanted));
        }
        let before = memory::private();
        let form = if target == Tier::Hot { Form::Packed } else { Form::Mapped };
        let sessions = self.sessions(files, options, entry.as_ref().map(|entry| (entry, form)))?;
        let sessions = if target == Tier::Hot { self.warmed(sessions) } else { sessions };
        let replaced = match self.tier.reach(target, || wanted.tier(), || self.seat(sessions)) {
            Ok(replaced) => replaced,
            Err(tier) => return Ok(tier),
        };
        os::return_free_memory();
        self.weigh(before);
        drop(replaced);
        os::return_free_memory();
        Ok(target)
    }

    /// Makes good what was lost: sessions that a panic has made unusable, and a prepared form that is not what it was. Gives
    /// how many sessions were replaced. One thread at a time.
    pub(crate) fn replenish(
        &self,
        files: &Files,
        options: &Options,
        cache: Option<&PreparedCache>,
    ) -> Result<usize, LoadError> {
        let mut replaced = self.replace_form(files, options, cache)?;
        self.look_at_weights(files)?;
        let entry = self.prepared.lock().as_ref().ok().cloned();
        let form = if self.tier() == Tier::Warm { Form::Mapped } else { Form::Packed };
        for mut lease in self.pool.broken() {
            let session = self.session(files, options, entry.as_ref().map(|entry| (entry, form)))?;
            // The broken one is dropped here, on this thread.
            lease.worker.session = Some(session);
            replaced += 1;
        }
        Ok(replaced)
    }

    /// Where the prepared form was written to: another one, and sessions of that.
    fn replace_form(
        &self,
        files: &Files,
        options: &Options,
        cache: Option<&PreparedCache>,
    ) -> Result<usize, LoadError> {
        let looked = CLOCK.now();
        let Some(changed) = self.prepared.lock().as_ref().ok().map(|entry| !entry.is_unchanged()) else {
            return Ok(0);
        };
        if !changed {
            *self.sound.lock() = looked;
        }
        let Some(cache) = cache.filter(|_| changed) else { return Ok(0) };
        let found = cache.entry(files, options, &self.runtime, &LoadThrottle::new())?.map_err(Some);
        let current = self.tier();
        let sessions = if current == Tier::Cold {
            Vec::new()
        } else {
            let form = if current == Tier::Warm { Form::Mapped } else { Form::Packed };
            self.sessions(files, options, found.as_ref().ok().map(|entry| (entry, form)))?
        };
        let replaced = self.tier.while_held(|| {
            *self.prepared.lock() = found;
            self.seat(sessions)
        });
        let now = CLOCK.now();
        let since = std::mem::replace(&mut *self.sound.lock(), now);
        if !replaced.is_empty() {
            let reason = "its prepared form was written to while it was in use, which only this user and the superuser can: find \
                          who did, and do not write to the cache";
            *self.doubt.lock() = Some(Doubt::new(now.since(since), reason));
        }
        Ok(replaced.len())
    }

    /// Weights in files beside the model's are in use where they lie, unless there is a prepared form of them: ONNX Runtime maps
    /// them, so what is written to them is answered with. That shows at a look, and is told once; the model cannot be made good
    /// again, because what it was made of is gone. Where they cannot be looked at, nothing is known: they are looked at again the next time.
    fn look_at_weights(&self, files: &Files) -> Result<(), LoadError> {
        if self.is_prepared() || self.tier() == Tier::Cold || files.scan.external.is_empty() {
            return Ok(());
        }
        let spoilt = &mut *self.spoilt.lock();
        if let Some(error) = spoilt {
            return Err(error.clone());
        }
        let looked = CLOCK.now();
        let since = *self.sound.lock();
        match files.unchanged() {
            Ok(()) => {
                *self.sound.lock() = looked;
                Ok(())
            }
            Err(NotTheSame::Unseen(error)) => Err(error),
            Err(NotTheSame::Changed(error)) => {
                let reason = "the files of its weights were written to while it was in use: give a new version files of its \
                              own, or have a prepared form made, which nobody else writes to";
                *self.doubt.lock() = Some(Doubt::new(CLOCK.now().since(since), reason));
                *spoilt = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Takes the sessions out of their seats, unless they are wanted again.
    fn empty(&self, wanted: &TargetTier) -> Tier {
        let take =
            || -> Vec<_> { self.pool.each().filter_map(|mut lease| lease.worker.session.take()).collect() };
        // Whoever wants it again says so before it wakes it.
        match self.tier.reach(Tier::Cold, || wanted.tier(), take) {
            Ok(sessions) => drop(sessions),
            Err(tier) => return tier,
        }
        os::return_free_memory();
        self.private_bytes.store(0, Ordering::Relaxed);
        Tier::Cold
    }

    /// A session for every seat.
    fn sessions(
        &self,
        files: &Files,
        options: &Options,
        prepared: Option<(&Arc<Entry>, Form)>,
    ) -> Result<Vec<Session>, LoadError> {
        let _held = if prepared.is_some() { None } else { files.hold()? };
        (0..self.pool.len()).map(|_| self.session(files, options, prepared)).collect()
    }

    fn session(
        &self,
        files: &Files,
        options: &Options,
        prepared: Option<(&Arc<Entry>, Form)>,
    ) -> Result<Session, LoadError> {
        let session = match prepared {
            Some((entry, form)) => load::prepared(entry, form, files, options, &self.runtime)?,
            None => load::plain(files, options, &self.runtime)?,
        };
        Session::new(session, &self.interface, options.shrinks()).map_err(|error| error_of(files, &error))
    }

    /// Sits sessions down, each as soon as its seat is free; those that sat there.
    #[must_use = "they are dropped without a lock"]
    fn seat(&self, sessions: Vec<Session>) -> Vec<Session> {
        let exchange = |(mut lease, session): (super::pool::Lease<'_, Seat>, Session)| {
            lease.worker.session.replace(session)
        };
        self.pool.each().zip(sessions).filter_map(exchange).collect()
    }

    /// Has sessions run once before anybody asks them. One that fails on a made-up input may be good for real ones.
    fn warmed(&self, mut sessions: Vec<Session>) -> Vec<Session> {
        if let Some(zeros) = zeros_for(&self.signature) {
            for (slot, session) in sessions.iter_mut().enumerate() {
                let call = Call { interface: &self.interface, watches: &self.watches, slot, deadline: None };
                let _ = session.answer(&call, |feed| feed.tensors(&zeros), |_| Ok(()));
            }
        }
        // Not one that failed so badly that it is never asked again.
        sessions
    }

    /// Has every session run once on a made-up input. Whether there was one.
    pub(crate) fn warm_up(&self) -> Result<bool, ModelError> {
        let Some(zeros) = zeros_for(&self.signature) else { return Ok(false) };
        for mut lease in self.pool.each() {
            let call =
                Call { interface: &self.interface, watches: &self.watches, slot: lease.slot, deadline: None };
            if let Some(session) = lease.worker.session.as_mut().filter(|session| !session.is_broken()) {
                session.answer(&call, |feed| feed.tensors(&zeros), |_| Ok(()))?;
            }
        }
        Ok(true)
    }

    /// Notes what the process's memory has grown by.
    fn weigh(&self, before: Option<u64>) {
        let grown = before.zip(memory::private()).map(|(before, after)| after.saturating_sub(before));
        self.private_bytes.store(grown.unwrap_or_default(), Ordering::Relaxed);
    }
}

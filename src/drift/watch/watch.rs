//! The watch over the drift of a handle's data.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::alerts::Told;
use super::answers::Answers;
use super::options::{Drift, Features, OnDrift};
use super::status::DriftStatus;
use super::stripes::{Drained, Stripes};
use super::trial::Seen;
use super::windows::{Context, Windows};
use crate::base::chance::mix;
use crate::base::clock::Timestamp;
use crate::base::guarded::guarded;
use crate::drift::estimate::Calibration;
use crate::drift::told::{Baseline, DriftScope};
use crate::stats::counting::exposure::lane;
use crate::task::kept::Kept;
use crate::task::task::TaskKind;
use crate::version::id::VersionId;

/// The calibrations of the versions that are in use, where they are known. Of scores as they are kept, rounded to `f32`: held
/// against the numbers that they were fitted on, 0.9 would lie below 0.9.
pub(crate) type Calibrations = Vec<(VersionId, Arc<Calibration>)>;

/// Watches the drift of a handle's data.
pub(crate) struct DriftWatch<I: ?Sized> {
    features: Option<Features<I>>,
    answers: Answers,
    /// A request is counted whose hash lies below.
    sampled_below: u64,
    stripes: Stripes,
    calibrations: ArcSwap<Calibrations>,
    /// Rows that did not have one value of each feature. Relaxed: for showing, it guards nothing.
    misfits: AtomicU64,
    windows: Mutex<Windows>,
    shared: OnDrift,
    has_season: bool,
}

/// A prediction, as the watch sees it.
pub(crate) struct Answered<'a> {
    pub(crate) exposure: u32,
    pub(crate) version: VersionId,
    /// Nothing where the version failed.
    pub(crate) kept: Option<&'a Kept>,
    /// It is a unit of the comparison that it is in, where there is one. What comes and what versions say is more than that.
    pub(crate) unit: bool,
}

thread_local! {
    /// The bins of a row while it is read: 4 bytes a feature, once per thread.
    static SLOTS: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

impl<I: ?Sized> DriftWatch<I> {
    /// `brought` is the version that the builder brings along, where it is in use: the one that the calibration is of.
    pub(crate) fn new(
        drift: Option<Drift>,
        features: Option<Features<I>>,
        kind: TaskKind,
        brought: Option<VersionId>,
        stripes: usize,
        now: Timestamp,
    ) -> Option<Self> {
        // Who says what the features are wants them watched.
        let drift = drift.or_else(|| features.is_some().then(Drift::new))?;
        let answers = Answers::new(kind);
        let reference = features.as_ref().map(|features| &features.reference);
        let windows = Windows::new(&drift, reference, &answers, now);
        let calibrations: Calibrations = (brought.zip(drift.calibration).into_iter())
            .map(|(version, calibration)| (version, Arc::new(calibration.of_rounded())))
            .collect();
        Some(Self {
            features,
            answers,
            // All of it where the share is 1: a float of u64::MAX rounds up, and the cast saturates.
            sampled_below: (drift.sample * u64::MAX as f64) as u64,
            stripes: Stripes::new(stripes),
            calibrations: ArcSwap::from_pointee(calibrations),
            misfits: AtomicU64::new(0),
            windows: Mutex::new(windows),
            shared: drift.on_shared_drift,
            has_season: drift.season.is_some(),
        })
    }

    /// Counts a request, if it is one of those that are. `hash` is that of the prediction.
    #[inline]
    pub(crate) fn see(&self, input: &I, answered: &Answered<'_>, hash: u64) {
        // Another hash than those by which outcomes and pairs are thinned.
        if mix(hash ^ 0xd21f_7000) <= self.sampled_below {
            self.count(input, answered);
        }
    }

    fn count(&self, input: &I, answered: &Answered<'_>) {
        let mut slots = SLOTS.try_with(Cell::take).unwrap_or_default();
        slots.clear();
        if let Some(Features { reference, read }) = &self.features {
            let mut cells = reference.cells(&mut slots);
            // The host's code, under no lock; what it leaves half done on a panic is thrown away.
            let read = guarded(|| read(input, &mut cells));
            if read.is_err() || !cells.is_whole() {
                self.misfits.fetch_add(1, Ordering::Relaxed);
                slots.clear();
            }
        }
        let features = slots.len();
        self.answers.push(answered.kept, &mut slots);
        let (inputs, answers) = slots.split_at(features);
        let key = (answered.exposure, answered.version);
        self.stripes.count(lane(), key, |entry| {
            let own = if answered.unit { &mut entry.own } else { &mut entry.others };
            let own = own.get_or_insert_with(|| self.counted(answered.version, true));
            own.count(inputs, answers, answered.kept);
        });
        let _ = SLOTS.try_with(|place| place.set(slots));
    }

    /// Counts what a shadow and the version it stands beside said of one input. Not on a request's thread.
    pub(crate) fn see_pair(&self, shadow: &Answered<'_>, (live, kept): (VersionId, Option<&Kept>)) {
        let mut slots = Vec::new();
        self.answers.push(shadow.kept, &mut slots);
        let own_slots = slots.len();
        self.answers.push(kept, &mut slots);
        let (own_answers, their_answers) = slots.split_at(own_slots);
        self.stripes.count(lane(), (shadow.exposure, shadow.version), |entry| {
            let own = if shadow.unit { &mut entry.own } else { &mut entry.others };
            let own = own.get_or_insert_with(|| self.counted(shadow.version, false));
            own.count(&[], own_answers, shadow.kept);
            let theirs = entry.theirs.get_or_insert_with(|| self.counted(live, false));
            if shadow.unit {
                theirs.count(&[], their_answers, kept);
            }
        });
    }

    fn counted(&self, version: VersionId, inputs: bool) -> super::counted::Counted {
        let reference = self.features.as_ref().filter(|_| inputs).map(|features| &features.reference);
        super::counted::Counted::new(reference, &self.answers, self.calibration(version))
    }

    /// Says what the scores of a version mean, from here on.
    pub(crate) fn calibrate(&self, version: VersionId, calibration: Calibration) {
        let calibration = Arc::new(calibration.of_rounded());
        self.calibrations.rcu(|known| {
            let others = known.iter().filter(|(known, _)| *known != version).cloned();
            others.chain([(version, Arc::clone(&calibration))]).collect::<Calibrations>()
        });
    }

    /// Returns what the scores of a version mean, where that is known.
    pub(crate) fn calibration(&self, version: VersionId) -> Option<Arc<Calibration>> {
        let known = self.calibrations.load();
        known.iter().find(|(known, _)| *known == version).map(|(_, calibration)| Arc::clone(calibration))
    }

    /// Returns what was counted since the last time.
    pub(crate) fn drain(&self) -> Vec<Drained> {
        self.stripes.drain()
    }

    /// Lets go of what the scores of versions mean that are here no more. `context` is what is here at this moment.
    pub(crate) fn keep_calibrations(&self, context: &Context) {
        self.calibrations.rcu(|known| {
            known
                .iter()
                .filter(|(version, _)| context.versions.contains(version))
                .cloned()
                .collect::<Calibrations>()
        });
    }

    /// Whether plans stand still for a drift: for one that the world shares. Where hours are held against those of other days, all else drifts every night.
    pub(crate) fn pauses(&self, told: &Told) -> bool {
        let is_the_worlds = told.whose == DriftScope::World;
        let counts = !self.has_season || told.against == Baseline::Season;
        self.shared == OnDrift::Pause && is_the_worlds && counts
    }

    /// Takes in what was counted until now. Returns what is to be told.
    pub(crate) fn settle(&self, drained: &[Drained], context: &Context, now: Timestamp) -> Vec<Told> {
        let windows = &mut *self.windows.lock();
        windows.settle(drained, context, now)
    }

    /// Returns what there is to judge a trial by in the stretch `era`; nothing before a window of that was full.
    pub(crate) fn seen(&self, attempt: u32, era: u32) -> Option<Arc<Seen>> {
        self.windows.lock().seen(attempt, era)
    }

    pub(crate) fn status(&self) -> DriftStatus {
        let (skipped, misfits) = (self.stripes.skipped(), self.misfits.load(Ordering::Relaxed));
        self.windows.lock().status(skipped, misfits)
    }
}

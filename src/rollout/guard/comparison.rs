//! The figures that a guard is shown.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "testing")]
use std::sync::LazyLock;
use std::time::Duration;

use super::test::Test;
use crate::base::share::Share;
use crate::drift::watch::Seen;
use crate::request::shadow::ShadowCounts;
use crate::rollout::phase::Phase;
use crate::stats::figures::tally::Tally;
use crate::stats::{ArmFigures, DivergenceFigures, LatencyHistogram, Window};
use crate::task::kpi::Kpi;
use crate::version::in_flight::InFlight;
#[cfg(feature = "testing")]
use crate::{
    model::error::ErrorKind,
    stats::figures::divergence::Divergence,
    stats::figures::tally::Sign,
    task::kept::Kept,
    task::outcome::{Actual, Outcome},
    task::task::Task,
};

/// The figures of a rollout, as guards see them.
#[non_exhaustive]
pub struct Comparison<'a> {
    /// Where the rollout stands.
    pub phase: Phase,
    /// The candidate since the attempt began; the new live since its promotion, while it is watched.
    pub candidate: &'a ArmView,
    /// Live since the attempt began; while a promoted version is watched, the version before: as its shadow where the
    /// plan keeps it as one, else as it was during the attempt.
    pub live: &'a ArmView,
    /// Pairs of answers to the same input.
    pub divergence: &'a DivergenceFigures,
    /// The counts of copied requests since the attempt began.
    pub shadow: ShadowCounts,
    /// The candidate's calls that have begun and not ended: they are in none of the figures yet.
    pub in_flight: InFlight,
    /// The share of traffic that passing leads to: the plan's next step, all for a promotion.
    pub before: Share,
    /// The test that a rule of this crate's looks at.
    pub(crate) test: Option<Test<'a>>,
    /// The answers of both versions to the same traffic.
    #[cfg_attr(not(feature = "drift"), expect(dead_code, reason = "guards of drift read it"))]
    pub(crate) drift: Option<Looked<'a>>,
}

impl fmt::Debug for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comparison")
            .field("phase", &self.phase)
            .field("candidate", &self.candidate)
            .field("live", &self.live)
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "testing")]
impl<'a> Comparison<'a> {
    /// A canary that is to be promoted, for a test of a guard of the host's: without pairs, copies and calls under way, which are
    /// there to be set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchback::guard::{ArmView, Comparison};
    /// use switchback::stats::Window;
    /// use switchback::versions::ErrorKind;
    /// use switchback::{Outcome, Task};
    ///
    /// let task = Task::binary(|probability: &f64| *probability);
    /// let (mut candidate, mut live) = (ArmView::untried(&task), ArmView::untried(&task));
    /// for _ in 0..10 {
    ///     live.answered(&task, &0.9, Duration::from_millis(3));
    ///     live.turned_out(&task, &0.9, &Outcome::class(1));
    ///     candidate.failed(ErrorKind::Engine, Duration::from_millis(1));
    /// }
    /// let comparison = Comparison::of(&candidate, &live);
    /// assert_eq!(comparison.candidate.figures(Window::Total).requests, 10);
    /// ```
    pub fn of(candidate: &'a ArmView, live: &'a ArmView) -> Self {
        static NO_PAIRS: LazyLock<DivergenceFigures> = LazyLock::new(|| Divergence::default().figures());
        Self {
            phase: Phase::Canary,
            candidate,
            live,
            divergence: &NO_PAIRS,
            shadow: ShadowCounts::default(),
            in_flight: InFlight::default(),
            before: Share::ALL,
            test: None,
            drift: None,
        }
    }
}

/// A full window of both versions, and the errors that all looks at such windows may have together.
#[cfg_attr(not(feature = "drift"), expect(dead_code, reason = "guards of drift read it"))]
pub(crate) struct Looked<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) harm: f64,
    pub(crate) promotion: f64,
}

/// The figures of one arm, over each of its windows.
#[derive(Clone)]
pub struct ArmView {
    pub(crate) total: Tally,
    /// Over the last predictions, and over the last minutes; nothing where nobody looks at them.
    pub(crate) windows: Option<(Tally, Tally)>,
    pub(crate) kpis: Arc<[Kpi]>,
}

impl ArmView {
    /// How long requests took, failures included, as a histogram: how many durations lay up to each of these bounds, which
    /// rise, and no further. A duration that lies within 1/128 below a bound may count above it.
    pub fn latency_histogram(&self, window: Window, bounds: &[Duration]) -> LatencyHistogram {
        self.tally(window).latency().histogram(bounds)
    }

    /// The figures over one window. Some tens of microseconds.
    pub fn figures(&self, window: Window) -> ArmFigures {
        self.tally(window).figures(&self.kpis)
    }

    /// The same of how long copies waited for their turn.
    pub(crate) fn queue_histogram(&self, window: Window, bounds: &[Duration]) -> LatencyHistogram {
        self.tally(window).queue_time().histogram(bounds)
    }

    fn tally(&self, window: Window) -> &Tally {
        match (window, &self.windows) {
            (Window::Predictions, Some((predictions, _))) => predictions,
            (Window::Recent, Some((_, recent))) => recent,
            (Window::Total, _) | (_, None) => &self.total,
        }
    }
}

impl fmt::Debug for ArmView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArmView").field("requests", &self.total.requests()).finish_non_exhaustive()
    }
}

/// For tests of guards of the host's: see [`Comparison::of`].
#[cfg(feature = "testing")]
impl ArmView {
    /// A version that was asked nothing yet. Its windows are those of everything.
    pub fn untried<O: 'static>(task: &Task<O>) -> Self {
        let kpis: Arc<[Kpi]> = task.kpis.iter().cloned().collect();
        Self { total: Tally::new(task.kind(), kpis.len()), windows: None, kpis }
    }

    /// Counts a request that it answered.
    pub fn answered<O: 'static>(&mut self, task: &Task<O>, output: &O, took: Duration) {
        self.total.record_request(Ok(&kept(task, output)), nanos(took), false);
    }

    /// Counts a request that it failed on.
    pub fn failed(&mut self, kind: ErrorKind, took: Duration) {
        self.total.record_request(Err(kind), nanos(took), false);
    }

    /// Counts what turned out to be true of a request that it answered.
    pub fn turned_out<O: 'static>(&mut self, task: &Task<O>, output: &O, outcome: &Outcome) {
        match &outcome.actual {
            Actual::Kpi { name, value } => {
                let place = self.kpis.iter().position(|kpi| kpi.name() == &**name);
                self.total.record_kpi(place.unwrap_or(usize::MAX), *value, Sign::Plus);
            }
            actual => self.total.record_outcome(&kept(task, output), actual, Sign::Plus),
        }
    }
}

#[cfg(feature = "testing")]
fn kept<O: 'static>(task: &Task<O>, output: &O) -> Kept {
    let mut kept = Kept::Nothing;
    task.read(output, &mut kept);
    kept
}

#[cfg(feature = "testing")]
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

//! The figures that a guard is shown.

use std::sync::Arc;
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

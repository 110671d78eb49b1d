//! Everything that figures are made of, taken at one moment.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::handle::handle::ModelHandle;
use crate::handle::status::{Role, RolloutStatus, Status, VersionStatus};
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::guard::verdict::Verdict;
use crate::stats::{LatencyHistogram, SegmentArm, Window};
use crate::version::id::VersionId;

/// Bounds of histograms: 1, 2.5 and 5 of each power of ten from a microsecond to half a second, then a second. From what a
/// closure takes to what nobody waits for; two bounds are never further apart than a factor of 2.5.
pub(crate) const BOUNDS: [Duration; 19] = [
    Duration::from_nanos(1_000),
    Duration::from_nanos(2_500),
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_micros(1_000),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// The facts that are known of one handle.
pub(crate) struct Measured {
    pub(crate) status: Status,
    /// How long requests took, and how long copies waited, of the versions that are shown.
    latencies: Vec<(VersionId, LatencyHistogram, LatencyHistogram)>,
    /// Events by kind.
    pub(crate) events: Vec<(&'static str, u64)>,
    /// Whether rollouts are shown by segment.
    pub(crate) by_segment: bool,
    /// Requests from asynchronous code, where there is any.
    #[cfg(feature = "tokio")]
    pub(crate) aside: Option<crate::handle::aside::AsideCounts>,
    /// The fleet that the handle is a member of, where it is.
    #[cfg(feature = "fleet")]
    pub(crate) fleet: Option<crate::handle::fleet::FleetStatus>,
}

/// How long a version that is not loaded any more is shown after its rollout ended.
const PAST_SHOWN: Duration = Duration::from_secs(3_600);

/// Guards that are shown of one rollout: each has a label of its own.
const GUARDS_MAX: usize = 16;

/// Segments that are shown of one rollout, where they are: each has six series of its own.
const SEGMENTS_SHOWN: usize = 64;

impl Measured {
    pub(crate) fn of<I: ?Sized + 'static, O: 'static>(handle: &ModelHandle<I, O>) -> Self {
        let status = handle.status();
        let shown: Vec<VersionId> = shown(&status).map(|version| version.version).collect();
        let now = handle.inner.serving.clock.now();
        let control = handle.inner.control.lock();
        let of = |version: VersionId| {
            let view = control.view(control.lifetime(version)?, now)?;
            let latency = view.latency_histogram(Window::Total, &BOUNDS);
            Some((version, latency, view.queue_histogram(Window::Total, &BOUNDS)))
        };
        let latencies = shown.into_iter().filter_map(of).collect();
        let events = control.announcer.counts().collect();
        Self {
            status,
            latencies,
            events,
            by_segment: false,
            #[cfg(feature = "tokio")]
            aside: handle.inner.asides.counts(),
            #[cfg(feature = "fleet")]
            fleet: handle.inner.fleet_status(),
        }
    }

    /// The versions that are shown: those that are loaded, and those whose rollout ended within the hour.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &VersionStatus> {
        shown(&self.status)
    }

    /// The rollouts that run.
    pub(crate) fn rollouts(&self) -> impl Iterator<Item = &RolloutStatus> {
        self.status.rollouts.iter().filter(|rollout| !rollout.phase.is_over())
    }

    /// What the guards of the rollouts that run said last, each beside its candidate. Of several of one name, which a host may have,
    /// what the one with the worst verdict said: a series is there once.
    pub(crate) fn guards(&self) -> impl Iterator<Item = (&str, &Evidence)> {
        self.rollouts().flat_map(|rollout| {
            let mut shown: Vec<&Evidence> = Vec::new();
            for evidence in rollout.evidence.iter().take(GUARDS_MAX) {
                match shown.iter_mut().find(|before| before.guard == evidence.guard) {
                    Some(before) if badness(evidence.verdict) > badness(before.verdict) => *before = evidence,
                    Some(_) => {}
                    None => shown.push(evidence),
                }
            }
            shown.into_iter().map(|evidence| (rollout.version.as_str(), evidence))
        })
    }

    /// The candidates that are on trial and live beside each, by segment, where that was asked for: the candidate, the segment,
    /// whose, and what its units came to.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&str, &str, &'static str, SegmentArm)> {
        let rollouts = self.rollouts().filter(|_| self.by_segment);
        rollouts.flat_map(|rollout| {
            let shown = rollout.segments.iter().take(SEGMENTS_SHOWN);
            shown.flat_map(|figures| {
                let arms = [("candidate", figures.candidate), ("live", figures.live)];
                arms.map(|(whose, arm)| (rollout.version.as_str(), &*figures.segment, whose, arm))
            })
        })
    }

    pub(crate) fn latencies(&self) -> impl Iterator<Item = (&str, &LatencyHistogram, &LatencyHistogram)> {
        self.latencies.iter().map(|(version, latency, queue)| (version.as_str(), latency, queue))
    }
}

fn badness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::Fail => 2,
    }
}

fn shown(status: &Status) -> impl Iterator<Item = &VersionStatus> {
    let is_recent = |since: Timestamp| status.at.since(since) <= PAST_SHOWN;
    let ended_lately = move |version: VersionId| {
        let mut rollouts = status.rollouts.iter();
        rollouts.any(|rollout| rollout.version == version && is_recent(rollout.since))
    };
    status.versions.iter().filter(move |version| version.role != Role::Past || ended_lately(version.version))
}

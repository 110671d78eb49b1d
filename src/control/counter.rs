//! An exposure, and what its requests and outcomes count for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::rollout::allocation::Allotted;
use crate::stats::counting::exposure::Exposure;
use crate::stats::counting::intake::Intake;
use crate::stats::evidence::ledger::Side;
use crate::stats::figures::latency_limit::LatencyLimit;

/// The counters that an exposure's requests and outcomes count for.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Feeds {
    /// The arms whose figures they are.
    pub(crate) arms: Vec<u32>,
    /// The attempt that its pairs are figures in, and that ends where the version fails outright here.
    pub(crate) attempt: Option<u32>,
    /// Whether failing outright here ends that attempt: live as the shadow of a canary does not.
    pub(crate) trips: bool,
    /// The attempts that they are evidence in.
    pub(crate) evidence: Vec<EvidenceFeed>,
    /// Latencies that are looked for, of all of these.
    pub(crate) slower_than: Vec<LatencyLimit>,
    /// The keys that count, by the attempt that counts them.
    pub(crate) keys: Option<u32>,
    /// A request counts whether it has a key or not.
    pub(crate) any: bool,
    /// Who was answered is remembered, as answers of this attempt's version.
    pub(crate) answered: Option<u32>,
    /// It is watched alone, and what fails in its place too says nothing of it.
    pub(crate) spares_shared: bool,
    /// The part of a division among several candidates that they are.
    pub(crate) allotted: Option<Allotted>,
}

/// The attempt and the side that an exposure's requests are evidence in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EvidenceFeed {
    pub(crate) attempt: u32,
    pub(crate) side: Side,
    /// The stretch between two changes of exposure that they were made in.
    pub(crate) era: u32,
    /// Which of the latencies that are looked for are this attempt's.
    pub(crate) slower_than: (usize, usize),
}

/// An exposure, and what counts for what.
pub(crate) struct Counter {
    pub(crate) number: u32,
    /// Gone once no table, pin or queued copy uses it; outcomes still come to the intake.
    pub(crate) exposure: Option<Arc<Exposure>>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) feeds: Feeds,
    pub(crate) current: bool,
    pub(crate) retired: Option<Timestamp>,
    pub(crate) bits_seen: u64,
}

impl Counter {
    /// The exposure, where it is free and would count for just this.
    pub(crate) fn take_up(&mut self, share: Share, feeds: &Feeds) -> Option<Arc<Exposure>> {
        let fits = |exposure: &&Arc<Exposure>| {
            exposure.share == share && !exposure.is_closed() && !exposure.is_tripped()
        };
        let exposure =
            self.exposure.as_ref().filter(|_| !self.current && self.feeds == *feeds).filter(fits)?;
        self.current = true;
        Some(Arc::clone(exposure))
    }
}

impl Feeds {
    /// Adds what an attempt looks for in requests that count on this side of it.
    pub(crate) fn add(
        &mut self,
        attempt: u32,
        era: u32,
        side: Side,
        slower_than: impl Iterator<Item = LatencyLimit>,
    ) {
        let from = self.slower_than.len();
        self.slower_than.extend(slower_than);
        let slower_than = (from, self.slower_than.len());
        self.evidence.push(EvidenceFeed { attempt, side, era, slower_than });
    }
}

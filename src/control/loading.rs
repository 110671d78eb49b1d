//! The effect of a load on live: its latency before, during and after.

use std::time::Duration;

use super::control::Control;
use super::event::EventKind;
use super::loads::{AFTERMATH_INTERVALS, Ended, LOADING_MAX, Loading, TROUBLE, p99};
use crate::base::clock::Timestamp;
use crate::feedback::join::Joins;
use crate::stats::Window;
use crate::stats::figures::latency::Latency;
use crate::version::id::VersionId;
use crate::version::load_impact::LoadImpact;
use crate::version::priority::LoadPriority;

impl Control {
    /// Begins to watch live while a version is loaded.
    pub(crate) fn begin_loading(
        &mut self,
        (version, priority): (VersionId, LoadPriority),
        joins: &Joins,
        now: Timestamp,
    ) -> Loading {
        self.collect(joins, now);
        let recent = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm));
        let before = recent.and_then(|arm| p99(arm.read(Window::Recent, now).latency()));
        let total = self.live_latency().unwrap_or_else(Latency::compact);
        Loading {
            version,
            priority,
            live: self.live.id,
            impact: LoadImpact { before, ..LoadImpact::default() },
            at_start: total.clone(),
            at_last: total,
            ended: None,
        }
    }

    /// Whether live has trouble, as far as the requests since it was asked last tell; nothing where they are too few.
    pub(crate) fn has_trouble(
        &mut self,
        loading: &mut Loading,
        joins: &Joins,
        now: Timestamp,
    ) -> Option<bool> {
        let before = loading.impact.before?;
        self.collect(joins, now);
        let total = self.live_latency().filter(|_| self.live.id == loading.live)?;
        let lately = p99(&total.since(&loading.at_last))?;
        loading.at_last = total;
        Some(lately > before.mul_f64(TROUBLE))
    }

    /// The load has ended; what it did is told once its aftermath is known.
    pub(crate) fn end_loading(
        &mut self,
        mut loading: Loading,
        (took, held, failed): (Duration, Duration, bool),
        joins: &Joins,
        now: Timestamp,
    ) {
        self.collect(joins, now);
        if let Some(total) = self.live_latency().filter(|_| self.live.id == loading.live) {
            loading.impact.during = p99(&total.since(&loading.at_start));
            loading.at_last = total;
        }
        loading.ended = Some(Ended { at: now, took, held, failed });
        self.loadings.push_back(loading);
        if self.loadings.len() > LOADING_MAX
            && let Some(oldest) = self.loadings.pop_front()
        {
            self.tell(oldest, now);
        }
    }

    /// Tells of the loads whose aftermath is known, or is waited for no longer.
    pub(crate) fn tell_of_loads(&mut self, now: Timestamp) {
        let patience = self.settings.tick_interval * AFTERMATH_INTERVALS;
        for _ in 0..self.loadings.len() {
            let Some(mut loading) = self.loadings.pop_front() else { return };
            let is_same = self.live.id == loading.live;
            let total = self.live_latency().filter(|_| is_same);
            loading.impact.after = total.and_then(|total| p99(&total.since(&loading.at_last)));
            let is_late = loading.ended.as_ref().is_none_or(|ended| now.since(ended.at) >= patience);
            if loading.impact.after.is_some() || is_late || !is_same {
                self.tell(loading, now);
            } else {
                self.loadings.push_back(loading);
            }
        }
    }

    fn tell(&mut self, loading: Loading, now: Timestamp) {
        let Loading { version, priority, impact, ended, .. } = loading;
        let Some(Ended { took, held, failed, .. }) = ended else { return };
        let loaded = EventKind::Loaded { version, failed, took, held, priority, live_p99: impact };
        self.announcer.announce(now, self.epoch, loaded);
    }

    /// All latencies that live has had.
    fn live_latency(&self) -> Option<Latency> {
        let arm = self.lifetime(self.live.id)?;
        Some(self.arms.get(&arm)?.total().latency().clone())
    }
}

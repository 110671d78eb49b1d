//! The latencies that a candidate and live are held against.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rollout::guard::design::HELD_BELOW;
use crate::rollout::guard::rule::{Figure, Limit, Rule};
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::stats::figures::tally::Tally;

/// A latency that a guard looks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    kind: ProbeKind,
    /// Nanoseconds, live's and the candidate's; nothing until live's quantile is known.
    pub(crate) frozen: Option<(u64, u64)>,
    /// How often live exceeded its own when that was fixed.
    #[serde(default)]
    pub(crate) usual: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum ProbeKind {
    /// A quantile of live's, and how many times as long the candidate may take.
    TimesLive { quantile: f64, factor: f64 },
    /// A fixed time.
    Within,
}

impl Probe {
    /// Returns what a rule looks for, if it is one over a latency.
    pub(crate) fn of(rule: &Rule) -> Option<Self> {
        let Figure::Latency { quantile } = *rule.figure() else { return None };
        Some(match rule.limit() {
            Limit::TimesLive(factor) => {
                Self { kind: ProbeKind::TimesLive { quantile, factor }, frozen: None, usual: 0.0 }
            }
            Limit::Within(limit) => {
                let nanos = nanos(limit);
                Self { kind: ProbeKind::Within, frozen: Some((nanos, nanos)), usual: 0.0 }
            }
            _ => return None,
        })
    }

    /// Requests of live's from which its quantile is known well enough: ten beyond it, and a hundred.
    pub(crate) fn wanted(&self) -> u64 {
        match self.kind {
            ProbeKind::TimesLive { quantile, .. } => {
                ((10.0 / (1.0 - quantile).max(1e-4)).ceil() as u64).max(100)
            }
            ProbeKind::Within => 0,
        }
    }

    /// What requests may exceed, live's and the candidate's.
    pub(crate) fn limits(&self) -> (LatencyLimit, LatencyLimit) {
        let Some((lives, own)) = self.frozen else {
            return (LatencyLimit::NOT_FIXED, LatencyLimit::NOT_FIXED);
        };
        match self.kind {
            ProbeKind::TimesLive { .. } => (LatencyLimit::blurred(lives), LatencyLimit::blurred(own)),
            ProbeKind::Within => (LatencyLimit::exact(lives), LatencyLimit::exact(own)),
        }
    }

    /// Freezes live's quantile if enough is known of it; whether that has just happened.
    pub(crate) fn freeze(&mut self, live: &Tally) -> bool {
        self.frozen.is_none() && self.refreeze(live)
    }

    /// Takes live's quantile as it is now; whether enough is known of it.
    pub(crate) fn refreeze(&mut self, live: &Tally) -> bool {
        let Some((lives, own)) = self.known(live) else { return false };
        (self.frozen, self.usual) =
            (Some((lives, own)), live.latency().share_above_blurred(lives).unwrap_or(1.0));
        true
    }

    /// A latency that live exceeds about as often as the quantile says, and the candidate's, where enough is known of live.
    ///
    /// Which it is makes no difference to whether a comparison is right: a candidate that takes `factor` times as long exceeds
    /// `factor` times any latency as often as live exceeds that. So that it is an estimate, or of a time when live was slower,
    /// costs power and nothing else. It lies a little below the quantile: see [`HELD_BELOW`].
    fn known(&self, live: &Tally) -> Option<(u64, u64)> {
        let ProbeKind::TimesLive { quantile, factor } = &self.kind else { return None };
        let latency = live.latency();
        let quantile = latency.quantile(*quantile).filter(|_| latency.count() >= self.wanted())?;
        let held = quantile.mul_f64(HELD_BELOW);
        Some((nanos(held).saturating_sub(1), nanos(held.mul_f64(factor.clamp(1e-3, 1e6)))))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//! What latencies are held against, so that a quantile of live's is exceeded as often as it says.

use crate::base::chance::mix;

/// A latency that requests may exceed.
///
/// Relative to live it is blurred: what it is held against is a request's latency less up to a twentieth of it, drawn. Times that are
/// all alike, or nearly so, exceed a time at hand always or never, and of a candidate that is ten times as slow it could not be told.
/// Blurred, a limit lies somewhere in between, at which they exceed it seldom. Both versions are blurred alike and in proportion, so one that
/// takes `factor` times as long exceeds `factor` times the limit exactly as often as the other exceeds the limit.
///
/// A limit in milliseconds is what it says, and is never blurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LatencyLimit {
    nanos: u64,
    is_blurred: bool,
}

/// The most that is taken off, as a part of the whole.
pub(crate) const BLUR: f64 = 1.0 / PARTS as f64;
const PARTS: u64 = 20;

impl LatencyLimit {
    /// Nothing is known that could be exceeded: nobody is counted.
    pub(crate) const NOT_FIXED: Self = Self { nanos: u64::MAX, is_blurred: false };

    pub(crate) const fn exact(nanos: u64) -> Self {
        Self { nanos, is_blurred: false }
    }

    pub(crate) const fn blurred(nanos: u64) -> Self {
        Self { nanos, is_blurred: true }
    }

    #[inline]
    pub(crate) fn is_fixed(self) -> bool {
        self.nanos != u64::MAX
    }

    /// Whether a request of this latency exceeds it. The chance is the request's own, or its pair's.
    #[inline]
    pub(crate) fn is_exceeded_by(self, latency_nanos: u64, chance: u64) -> bool {
        if latency_nanos <= self.nanos {
            return false;
        }
        if !self.is_blurred || latency_nanos - latency_nanos / PARTS > self.nanos {
            return true;
        }
        // Few come so near, so only they pay for what follows. Other decisions are made by other bits of the same chance.
        let drawn = u128::from(mix(chance ^ 0x6c61_7465_6e63_7921) >> 32);
        let taken_off = (u128::from(latency_nanos / PARTS) * drawn) >> 32;
        u128::from(latency_nanos) - taken_off > u128::from(self.nanos)
    }
}

/// How often a latency exceeds a blurred limit.
pub(crate) fn exceeds_blurred(latency_nanos: u64, limit_nanos: u64) -> f64 {
    let (latency, limit) = (latency_nanos as f64, limit_nanos as f64);
    if latency <= limit { 0.0 } else { ((1.0 - limit / latency) / BLUR).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blurred_limit_is_exceeded_as_often_as_is_said_and_in_proportion() {
        let limit = LatencyLimit::blurred(20_000_000);
        for (latency, often) in
            [(20_000_000, 0.0), (20_200_000, 0.198), (20_600_000, 0.5825), (21_100_000, 1.0)]
        {
            let exceeded = |latency: u64, limit: LatencyLimit| {
                (0..20_000).filter(|chance| limit.is_exceeded_by(latency, *chance)).count() as f64 / 20_000.0
            };
            let seen = exceeded(latency, limit);
            assert!((seen - often).abs() < 0.01, "{latency} {seen}");
            assert!((exceeds_blurred(latency, 20_000_000) - often).abs() < 0.001);
            assert_eq!(exceeded(latency * 3, LatencyLimit::blurred(60_000_000)), seen, "by the same chance");
        }
    }

    #[test]
    fn a_limit_in_milliseconds_is_what_it_says() {
        let limit = LatencyLimit::exact(20_000_000);
        assert!((0..1_000).all(|chance| limit.is_exceeded_by(20_000_001, chance)));
        assert!((0..1_000).all(|chance| !limit.is_exceeded_by(20_000_000, chance)));
        assert!(!LatencyLimit::NOT_FIXED.is_fixed() && limit.is_fixed());
    }
}

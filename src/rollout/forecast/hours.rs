//! Which hours of the day bring how much traffic.

use super::traffic::HOURS;
use crate::base::clock::Timestamp;

/// An hour that was seen for less than this says nothing, in seconds.
const SEEN: f64 = 1_800.0;

/// Requests by the hour of the day, in UTC, and how long each hour was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hours {
    requests: [f64; HOURS],
    seconds: [f64; HOURS],
}

impl Hours {
    /// So many requests came from one moment to another. A stretch counts for the hour in which it ends: nobody looks more
    /// seldom than every few minutes.
    pub(crate) fn see(&mut self, since: Timestamp, now: Timestamp, requests: u64) {
        let hour = hour_of(now);
        if let (Some(counted), Some(seconds)) = (self.requests.get_mut(hour), self.seconds.get_mut(hour)) {
            *counted += requests as f64;
            *seconds += now.since(since).as_secs_f64();
        }
    }

    /// Requests a second, over a whole day, and how the hours from `now` on compare with it; nothing before all were seen.
    pub(crate) fn known(&self, now: Timestamp) -> Option<(f64, Vec<f64>)> {
        if self.seconds.iter().any(|seconds| *seconds < SEEN) {
            return None;
        }
        let rates: Vec<f64> =
            self.requests.iter().zip(&self.seconds).map(|(requests, seconds)| requests / seconds).collect();
        let mean = rates.iter().sum::<f64>() / HOURS as f64;
        let from_now = rates.iter().cycle().skip(hour_of(now)).take(HOURS);
        (mean > 0.0).then(|| (mean, from_now.map(|rate| rate / mean).collect()))
    }
}

fn hour_of(at: Timestamp) -> usize {
    (at.unix_nanos() / 3_600_000_000_000 % HOURS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_known_once_it_was_seen_and_begins_with_the_present_hour() {
        let mut hours = Hours::default();
        let at = |minute: u64| Timestamp::from_unix_seconds(1_700_006_400 + 60 * minute);
        assert_eq!(at(0).unix_nanos() % 86_400_000_000_000, 0, "midnight");
        // Three times as much from noon on.
        for minute in 0..24 * 60 {
            assert!(minute > 23 * 60 || hours.known(at(minute)).is_none(), "{minute}");
            hours.see(at(minute), at(minute + 1), if minute < 12 * 60 { 60 } else { 180 });
        }
        let (rate, from_now) = hours.known(at(6 * 60)).unwrap();
        assert!((rate - 2.0).abs() < 0.01, "{rate}");
        assert!((from_now[0] - 0.5).abs() < 0.02 && (from_now[7] - 1.5).abs() < 0.02, "{from_now:?}");
        assert!((from_now[19] - 0.5).abs() < 0.02, "{from_now:?}");
    }
}

//! Which hours of the week bring how much traffic.

use super::traffic::{HOURS_OF_DAY, HOURS_OF_WEEK};
use crate::base::clock::Timestamp;

/// An hour that was seen for less than this says nothing, in seconds.
const SEEN: f64 = 1_800.0;

/// Requests by the hour of the week, in UTC, and how long each hour was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hours([Hour; HOURS_OF_WEEK]);

#[derive(Debug, Clone, Copy, Default)]
struct Hour {
    requests: f64,
    seconds: f64,
}

impl Default for Hours {
    fn default() -> Self {
        Self([Hour::default(); HOURS_OF_WEEK])
    }
}

impl Hours {
    /// So many requests came from one moment to another. A stretch counts for the hour in which it ends: nobody looks more
    /// seldom than every few minutes.
    pub(crate) fn see(&mut self, since: Timestamp, now: Timestamp, requests: u64) {
        if let Some(hour) = self.0.get_mut(hour_of_week(now)) {
            hour.requests += requests as f64;
            hour.seconds += now.since(since).as_secs_f64();
        }
    }

    /// Requests a second over a whole week, and how its hours from `now` on compare with that; of a day, as long as a week was not
    /// seen; nothing before a day was.
    pub(crate) fn known(&self, now: Timestamp) -> Option<(f64, Vec<f64>)> {
        let mut day = [Hour::default(); HOURS_OF_DAY];
        for (place, hour) in self.0.iter().enumerate() {
            if let Some(of_day) = day.get_mut(place % HOURS_OF_DAY) {
                of_day.requests += hour.requests;
                of_day.seconds += hour.seconds;
            }
        }
        let from = hour_of_week(now);
        compared(&self.0, from).or_else(|| compared(&day, from % HOURS_OF_DAY))
    }
}

/// Requests a second on average, and how the hours from one on compare with it; nothing where one was not seen.
fn compared(hours: &[Hour], from: usize) -> Option<(f64, Vec<f64>)> {
    if hours.iter().any(|hour| hour.seconds < SEEN) {
        return None;
    }
    let rates: Vec<f64> = hours.iter().map(|hour| hour.requests / hour.seconds).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let from_now = rates.iter().cycle().skip(from).take(rates.len());
    (mean > 0.0).then(|| (mean, from_now.map(|rate| rate / mean).collect()))
}

fn hour_of_week(at: Timestamp) -> usize {
    (at.unix_nanos() / 3_600_000_000_000 % HOURS_OF_WEEK as u64) as usize
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

    /// Bug: a plan that begins on a Friday evening was said to take as long as one that begins on a Monday. Cause: a day was all that
    /// was known of traffic. Fix: once a week was seen, its hours are.
    #[test]
    fn a_week_is_known_once_it_was_seen_and_begins_with_the_present_hour() {
        let mut hours = Hours::default();
        let at = |hour: u64| Timestamp::from_unix_seconds(1_700_006_400 + 3_600 * hour);
        // Five days of seven with four times as much.
        for hour in 0..7 * 24 {
            let known = hours.known(at(hour)).map(|(_, from_now)| from_now.len());
            assert_eq!(known, (hour >= 24).then_some(24), "{hour}");
            hours.see(at(hour), at(hour + 1), if hour / 24 < 5 { 4_000 } else { 1_000 });
        }
        let (rate, from_now) = hours.known(at(5 * 24 + 1)).unwrap();
        assert_eq!(from_now.len(), 7 * 24);
        assert!((rate * 3_600.0 - 22_000.0 / 7.0).abs() < 1.0, "{rate}");
        assert!((from_now[48] / from_now[47] - 4.0).abs() < 1e-9, "{from_now:?}");
    }
}

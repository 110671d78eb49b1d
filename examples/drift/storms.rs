//! Days on which departures break down: found by a detector as planes leave, and counted afterwards.

use std::collections::VecDeque;

use switchback::ArgumentError;
use switchback::stats::sequential::{Events, RateDetector};

/// A storm is when more than this share of flights leave more than an hour late.
const SHARE: f64 = 0.35;
/// As long as it is no more than that, there are this many flights from a false alarm to the next: eight years of them.
const RUN_LENGTH: f64 = 1e6;
/// So many of fifty departures in a row, and no count calls it a calm day; so many at most, and none calls it a storm.
pub(crate) const STORM: usize = 35;
pub(crate) const CALM: usize = 25;
const IN_A_ROW: usize = 50;

/// The places in a row of flights at which the detector alarms.
pub(crate) fn found(left_late: impl Iterator<Item = bool>) -> Result<Vec<usize>, ArgumentError> {
    let mut detector = RateDetector::new(SHARE, RUN_LENGTH)?;
    let mut alarms = |late: bool| {
        detector.observe(Events { events: late.into(), units: 1 });
        let alarm = detector.has_risen();
        if alarm {
            detector.reset();
        }
        alarm
    };
    Ok(left_late.enumerate().filter_map(|(place, late)| alarms(late).then_some(place)).collect())
}

/// Of fifty departures in a row, how many leave more than an hour late, at most.
pub(crate) fn worst_of_fifty(left_late: impl Iterator<Item = bool>) -> usize {
    let mut row = VecDeque::from([false; IN_A_ROW]);
    let (mut late, mut worst) = (0, 0);
    for flight in left_late {
        late -= usize::from(row.pop_front().unwrap_or_default());
        late += usize::from(flight);
        row.push_back(flight);
        worst = worst.max(late);
    }
    worst
}

//! Times in which nobody looked: the process was stopped, or whoever ticks was held up. What was under way meanwhile may not have run
//! at all, so what lasts too long is told by the time in which somebody looked.

use std::collections::VecDeque;
use std::time::Duration;

use super::clock::Reading;

/// Standstills that are remembered one by one; older ones count as one.
const REMEMBERED_MAX: usize = 32;

/// The times in which nobody looked, newest last.
#[derive(Default)]
pub(crate) struct Standstills {
    looked: Option<Reading>,
    /// How much of the time until then, and since the look before, is left out.
    left_out: VecDeque<(Reading, Duration)>,
    /// How much of each gap counts, in the last one.
    counts: Duration,
}

impl Standstills {
    /// Somebody looks. Of the time since the last look, no more than `counts` counts.
    pub(crate) fn look(&mut self, now: Reading, counts: Duration) {
        let gap = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.since(looked));
        let surplus = gap.saturating_sub(counts);
        self.counts = counts;
        if surplus.is_zero() {
            return;
        }
        self.left_out.push_back((now, surplus));
        if self.left_out.len() > REMEMBERED_MAX
            && let (Some((_, first)), Some((_, second))) =
                (self.left_out.pop_front(), self.left_out.front_mut())
        {
            // In doubt it has lasted less.
            *second = second.saturating_add(first);
        }
    }

    /// How long what began then has lasted by now, as far as somebody looked.
    pub(crate) fn lasted(&self, began: Reading, now: Reading) -> Duration {
        // What began during a gap was there for a part of it.
        let of_gap = |(until, surplus): &(Reading, Duration)| {
            until.since(began).saturating_sub(self.counts).min(*surplus)
        };
        let left_out = self.left_out.iter().map(of_gap).fold(Duration::ZERO, Duration::saturating_add);
        now.since(began).saturating_sub(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Reading {
        Reading::from_nanos(second * 1_000_000_000)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_lasts_is_told_by_the_time_in_which_somebody_looked() {
        let mut still = Standstills::default();
        (0..=10).for_each(|second| still.look(at(second), seconds(3)));
        assert_eq!(still.lasted(at(2), at(10)), seconds(8));
        // An hour of which three seconds count.
        still.look(at(3_610), seconds(3));
        assert_eq!(still.lasted(at(2), at(3_610)), seconds(11));
        assert_eq!(still.lasted(at(3_609), at(3_610)), seconds(1), "it began at the end of the hour");
        assert_eq!(still.lasted(at(3_611), at(3_612)), seconds(1));
        // Whoever always looks too seldom finds it in the end, and no list grows.
        let mut seldom = Standstills::default();
        (0..=100).for_each(|times| seldom.look(at(10 * times), seconds(3)));
        assert_eq!(seldom.left_out.len(), REMEMBERED_MAX);
        assert_eq!(seldom.lasted(at(0), at(1_000)), seconds(300));
    }
}

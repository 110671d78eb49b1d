//! The figures of an arm as they move: since its start, over the last predictions, and over the last minutes.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::base::clock::Timestamp;
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::task::task::TaskKind;

/// How far back rolling figures look.
///
/// ```
/// use std::time::Duration;
/// use switchback::stats::WindowConfig;
///
/// let config = WindowConfig::default().predictions(5_000)?.span(Duration::from_secs(3_600))?;
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowConfig {
    predictions: u64,
    span: Duration,
    slots: u16,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    WindowConfig {
        predictions: u64,
        #[serde(rename = "span_seconds", with = "seconds")]
        span: Duration,
        slots: u16,
    }
}

impl WindowConfig {
    /// The length of the window of predictions: at least so many, and up to one slot more. 1,000 by default: with these
    /// a rate of 10 % is known to about ±2 %, and one of 1 % to ±0.6 %.
    ///
    /// # Errors
    ///
    /// 0 predictions.
    pub fn predictions(self, predictions: u64) -> Result<Self, ArgumentError> {
        Self { predictions, ..self }.checked()
    }

    /// The length of the window of time: at most so much, and down to one slot less. Ten minutes by default: long enough
    /// to even out seconds, short enough that a regression shows within minutes.
    ///
    /// # Errors
    ///
    /// No time at all.
    pub fn span(self, span: Duration) -> Result<Self, ArgumentError> {
        Self { span, ..self }.checked()
    }

    /// In how many steps both windows move, 2 to 240: old figures leave a window a slot at a time. 20 by default, so
    /// that windows are exact to 5 %. Memory grows with it.
    ///
    /// # Errors
    ///
    /// A number that is not in `2..=240`.
    pub fn slots(self, slots: u16) -> Result<Self, ArgumentError> {
        Self { slots, ..self }.checked()
    }

    fn checked(self) -> Result<Self, ArgumentError> {
        self.check().map(|()| self)
    }

    fn check(&self) -> Result<(), ArgumentError> {
        let Self { predictions, span, slots } = *self;
        ArgumentError::unless(predictions > 0, "the window of predictions", predictions, "1 or more")?;
        ArgumentError::unless(!span.is_zero(), "the span of the window of time", "0 s", "more than 0 s")?;
        let few = (2..=240).contains(&slots);
        ArgumentError::unless(few, "the number of slots of a window", slots, "2 to 240")
    }

    fn slot_count(&self) -> u64 {
        u64::from(self.slots)
    }

    fn predictions_per_slot(&self) -> u64 {
        self.predictions.div_ceil(self.slot_count())
    }

    fn nanos_per_slot(&self) -> u64 {
        u64::try_from(self.span.as_nanos() / u128::from(self.slot_count())).unwrap_or(u64::MAX).max(1)
    }
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self { predictions: 1_000, span: Duration::from_secs(600), slots: 20 }
    }
}

/// Which of an arm's figures: they are kept for all of these at once.
///
/// Outcomes are in the window in which they *came*, whenever their prediction was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Window {
    /// Everything since the arm's start. The one to decide by, unless figures are expected to drift.
    #[default]
    Total,
    /// The last [`WindowConfig::predictions`], and the outcomes that came meanwhile.
    Predictions,
    /// The last [`WindowConfig::span`].
    Recent,
}

/// The three windows over what is drained of an arm's stripes.
///
/// A window is a row of slots, each a [`Tally`], and reading it merges them: nothing is ever subtracted. Memory does not
/// grow with traffic: of a binary task with outcomes and the defaults, an arm takes 115 KB at a request a second and
/// 230 KB at a hundred (ten bytes per distinct latency and score bin that a slot has seen; one that has seen every latency
/// there is would hold 40 KB of them). Of a task of classes a slot takes 90 KB more at most, however many classes there are.
///
/// A corrected outcome is taken back in the newest slot, where the new one is added, while the old one may lie in an
/// older slot. So the total is always exact, and a window in between is off by that outcome from the moment the older
/// slot has left it until the correction leaves too. No count is ever shown below 0.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    config: WindowConfig,
    /// An empty tally of the arm's kind.
    empty: Tally,
    total: Tally,
    /// From old to new; the last one is still open.
    by_count: VecDeque<Tally>,
    /// From old to new, with the number of their slot since the epoch. Slots in which nothing happened are left out.
    by_time: VecDeque<(u64, Tally)>,
}

impl Windows {
    pub(crate) fn new(config: WindowConfig, kind: TaskKind, kpis: usize) -> Self {
        let empty = Tally::new(kind, kpis);
        let (total, open) = (empty.clone(), empty.clone());
        Self { config, empty, total, by_count: VecDeque::from([open]), by_time: VecDeque::new() }
    }

    /// Adds what was drained at a moment. All of it goes into one slot of each window: drain more often than a slot is
    /// long, and more often than a slot has predictions, for windows as exact as their slots.
    pub(crate) fn absorb(&mut self, delta: &Tally, at: Timestamp) {
        if delta.is_empty() {
            return;
        }
        self.total.merge(delta);
        self.absorb_by_count(delta);
        self.absorb_by_time(delta, at);
    }

    fn absorb_by_count(&mut self, delta: &Tally) {
        let per_slot = self.config.predictions_per_slot();
        let full = match self.by_count.back_mut() {
            Some(open) => {
                open.merge(delta);
                open.requests() >= per_slot
            }
            None => false,
        };
        let mut held: u64 = self.by_count.iter().map(Tally::requests).sum();
        while let Some(oldest) = self.by_count.front().map(Tally::requests) {
            if self.by_count.len() < 2 || held - oldest < self.config.predictions {
                break;
            }
            held -= oldest;
            self.by_count.pop_front();
        }
        if full {
            self.by_count.push_back(self.empty.clone());
        }
    }

    fn absorb_by_time(&mut self, delta: &Tally, at: Timestamp) {
        let number = self.slot_at(at);
        match self.by_time.back_mut() {
            // A moment before the newest slot is one that a slow drain brings late: it counts as of now.
            Some((newest, tally)) if *newest >= number => tally.merge(delta),
            _ => {
                let mut tally = self.empty.clone();
                tally.merge(delta);
                self.by_time.push_back((number, tally));
            }
        }
        while self.by_time.front().is_some_and(|(oldest, _)| self.has_left(*oldest, number)) {
            self.by_time.pop_front();
        }
    }

    /// A window as it stands at a moment, merged into one tally.
    pub(crate) fn read(&self, window: Window, now: Timestamp) -> Tally {
        let mut merged = self.empty.clone();
        match window {
            Window::Total => merged.clone_from(&self.total),
            Window::Predictions => self.by_count.iter().for_each(|slot| merged.merge(slot)),
            Window::Recent => {
                let number = self.slot_at(now);
                let live = self.by_time.iter().filter(|(slot, _)| !self.has_left(*slot, number));
                live.for_each(|(_, slot)| merged.merge(slot));
            }
        }
        merged
    }

    /// Everything since the arm's start.
    pub(crate) fn total(&self) -> &Tally {
        &self.total
    }

    /// Returns what all of it takes, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let slots = self.by_count.capacity() * size_of::<Tally>()
            + self.by_time.capacity() * size_of::<(u64, Tally)>();
        let kept = self.by_count.iter().chain(self.by_time.iter().map(|(_, tally)| tally));
        let held = kept.chain([&self.empty, &self.total]).map(Tally::bytes).sum::<usize>();
        size_of::<Self>() + slots + held
    }

    fn slot_at(&self, moment: Timestamp) -> u64 {
        moment.unix_nanos() / self.config.nanos_per_slot()
    }

    fn has_left(&self, slot: u64, newest: u64) -> bool {
        newest.saturating_sub(slot) >= self.config.slot_count()
    }
}

/// Durations as numbers of seconds.
mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::figures::quality::metric::Metric;
    use crate::stats::figures::tally::Sign;
    use crate::task::kept::Kept;
    use crate::task::outcome::Actual;
    use proptest::prelude::*;

    const BINARY: TaskKind = TaskKind::Binary { threshold: 0.5 };

    fn requests(count: u64) -> Tally {
        let mut delta = Tally::new(BINARY, 0);
        for number in 0..count {
            delta.record_request(Ok(&Kept::Probability(0.5)), 1_000 + number, false);
        }
        delta
    }

    fn outcome(probability: f32, class: u16, sign: Sign) -> Tally {
        let mut delta = Tally::new(BINARY, 0);
        delta.record_outcome(&Kept::Probability(probability), &Actual::Class(class), sign);
        delta
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn windows(predictions: u64, seconds: u64, slots: u16) -> Windows {
        let span = Duration::from_secs(seconds);
        let config = WindowConfig::default().predictions(predictions).and_then(|config| config.span(span));
        let config = config.and_then(|config| config.slots(slots)).unwrap();
        Windows::new(config, BINARY, 0)
    }

    #[test]
    fn the_window_of_time_moves_by_whole_slots() {
        let mut windows = windows(100, 100, 10);
        windows.absorb(&requests(1), at(1_000));
        windows.absorb(&requests(2), at(1_009));
        windows.absorb(&requests(4), at(1_010));
        let recent = |now| windows.read(Window::Recent, at(now)).requests();
        assert_eq!(
            [recent(1_010), recent(1_099), recent(1_100), recent(1_109), recent(1_110)],
            [7, 7, 4, 4, 0]
        );
    }

    #[test]
    fn a_gap_in_which_nothing_happens_clears_what_has_left_and_nothing_else() {
        let mut windows = windows(100, 100, 10);
        windows.absorb(&requests(1), at(1_000));
        windows.absorb(&requests(2), at(1_060));
        windows.absorb(&requests(4), at(1_120));
        assert_eq!(windows.read(Window::Recent, at(1_120)).requests(), 6);
        windows.absorb(&requests(8), at(900_000));
        assert_eq!(windows.read(Window::Recent, at(900_000)).requests(), 8);
        assert_eq!(windows.by_time.len(), 1);
        assert_eq!(windows.read(Window::Total, at(900_000)).requests(), 15);
    }

    #[test]
    fn what_a_slow_drain_brings_late_counts_as_of_now() {
        let mut windows = windows(100, 100, 10);
        windows.absorb(&requests(1), at(1_050));
        windows.absorb(&requests(1), at(1_000));
        assert_eq!(windows.read(Window::Recent, at(1_149)).requests(), 2);
    }

    #[test]
    fn the_window_of_predictions_holds_its_number_and_up_to_a_slot_more() {
        let mut windows = windows(100, 100, 10);
        for number in 1..=1_000 {
            windows.absorb(&requests(1), at(number));
            let held = windows.read(Window::Predictions, at(number)).requests();
            assert!(
                held == number.min(100) || (number > 100 && (100..=110).contains(&held)),
                "{held} of {number}"
            );
            assert!(windows.by_count.len() <= 12);
        }
    }

    #[test]
    fn a_drain_larger_than_the_window_is_held_whole() {
        let mut windows = windows(100, 100, 10);
        for _ in 0..5 {
            windows.absorb(&requests(400), at(1));
            assert_eq!(windows.read(Window::Predictions, at(1)).requests(), 400);
        }
        windows.absorb(&requests(99), at(1));
        assert_eq!(windows.read(Window::Predictions, at(1)).requests(), 499);
        windows.absorb(&requests(1), at(1));
        assert_eq!(windows.read(Window::Predictions, at(1)).requests(), 100);
    }

    #[test]
    fn outcomes_without_requests_do_not_push_anything_out() {
        let mut windows = windows(10, 100, 10);
        windows.absorb(&requests(10), at(1));
        for _ in 0..1_000 {
            windows.absorb(&outcome(0.75, 1, Sign::Plus), at(2));
        }
        let read = windows.read(Window::Predictions, at(2));
        assert_eq!((read.requests(), read.outcomes()), (10, 1_000));
    }

    #[test]
    fn a_correction_is_exact_in_the_total_and_shows_nothing_below_zero_in_between() {
        let mut windows = windows(100, 100, 10);
        windows.absorb(&outcome(0.75, 1, Sign::Plus), at(1_000));
        windows.absorb(&outcome(0.75, 1, Sign::Minus), at(1_050));
        windows.absorb(&outcome(0.75, 0, Sign::Plus), at(1_050));
        for (now, window) in [(1_050, Window::Total), (1_050, Window::Recent), (2_000, Window::Total)] {
            let read = windows.read(window, at(now));
            let accuracy = read.measure(Metric::Accuracy).unwrap();
            assert_eq!((read.outcomes(), accuracy.outcomes, accuracy.value), (1, 1, 0.0));
        }
        // The first outcome has left: the one taken back is missing from what was never there.
        let between = windows.read(Window::Recent, at(1_101));
        assert_eq!(between.outcomes(), 0);
        assert_eq!(between.measure(Metric::Accuracy).unwrap().value, 0.0);
        assert_eq!(windows.read(Window::Recent, at(1_200)).measure(Metric::Accuracy), None);
    }

    #[test]
    fn a_moment_at_the_end_of_time_and_the_shortest_and_longest_windows_are_harmless() {
        for mut windows in [windows(1, 1, 240), windows(u64::MAX, u64::MAX, 2)] {
            for moment in [at(0), at(u64::MAX), at(5)] {
                windows.absorb(&requests(3), moment);
            }
            assert_eq!(windows.read(Window::Total, at(9)).requests(), 9);
        }
    }

    #[test]
    fn an_arm_takes_a_bounded_number_of_kilobytes_whatever_the_traffic() {
        let arm = |drains: u64, per_drain: u64| {
            let mut windows = Windows::new(WindowConfig::default(), BINARY, 2);
            let mut seed = 1_u64;
            for drain in 0..drains {
                let mut delta = Tally::new(BINARY, 2);
                for _ in 0..per_drain {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // 0.2 to 0.6 ms, and one in a hundred three times as long; scores of all sizes.
                    let nanos = (200_000 + (seed >> 40) % 400_000) * if seed >> 57 == 0 { 3 } else { 1 };
                    let kept = Kept::Probability((seed >> 33 & 0xffff) as f32 / 65_535.0);
                    delta.record_request(Ok(&kept), nanos, false);
                    delta.record_outcome(&kept, &Actual::Class((seed >> 63) as u16), Sign::Plus);
                    delta.record_kpi(0, 1.0, Sign::Plus);
                }
                windows.absorb(&delta, at(drain));
            }
            windows.bytes()
        };
        let (slow, fast) = (arm(2_000, 1), arm(2_000, 100));
        println!("a request a second: {slow} bytes, a hundred: {fast} bytes");
        assert!(slow < 120 << 10, "{slow}");
        assert!(fast < 260 << 10, "{fast}");
        assert!(arm(6_000, 100) < fast + fast / 10);
    }

    #[test]
    fn a_window_that_makes_no_sense_is_refused_by_name_and_value() {
        let config = WindowConfig::default();
        for (refused, told) in [
            (config.predictions(0), "the window of predictions is 0: it must be 1 or more"),
            (config.span(Duration::ZERO), "the span of the window of time is 0 s: it must be more than 0 s"),
            (config.slots(1), "the number of slots of a window is 1: it must be 2 to 240"),
            (config.slots(241), "the number of slots of a window is 241: it must be 2 to 240"),
        ] {
            assert_eq!(refused.unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn a_config_is_read_from_what_it_names() {
        let config: WindowConfig = serde_json::from_str(r#"{"predictions":50,"span_seconds":1.5}"#).unwrap();
        let made = WindowConfig::default().predictions(50).unwrap().span(Duration::from_millis(1_500));
        assert_eq!(config, made.unwrap());
        for bad in [r#"{"span_seconds":-1}"#, r#"{"span_seconds":0}"#, r#"{"slots":1}"#, r#"{"slot":20}"#] {
            assert!(serde_json::from_str::<WindowConfig>(bad).is_err(), "{bad}");
        }
        assert_eq!(
            serde_json::to_string(&config).unwrap(),
            r#"{"predictions":50,"span_seconds":1.5,"slots":20}"#
        );
    }

    proptest! {
        #[test]
        fn the_window_of_time_is_the_sum_of_what_came_within_it(
            drains in prop::collection::vec((0..60_u64, 1..5_u64), 1..40), later in 0..200_u64,
        ) {
            let mut windows = windows(1_000, 100, 10);
            let mut now = 0;
            let mut came = Vec::new();
            for (gap, count) in drains {
                now += gap;
                windows.absorb(&requests(count), at(now));
                came.push((now, count));
            }
            let read_at = now + later;
            let expected: u64 = came.iter().filter(|(then, _)| read_at / 10 - then / 10 < 10).map(|(_, count)| count).sum();
            prop_assert_eq!(windows.read(Window::Recent, at(read_at)).requests(), expected);
        }
    }
}

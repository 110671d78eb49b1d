//! The cumulative sum of what lies away from the mean.

use serde::{Deserialize, Serialize};

use super::detector::{Detector, Mean, Signal, usable};

/// The Page-Hinkley test: sums up by how much values lie above (or below) the mean so far, and says so when the sum has
/// left its extreme by more than a threshold (Page, "Continuous inspection schemes", Biometrika 41, 1954; the same
/// indices as river's `PageHinkley`).
///
/// The threshold is in units of the series: with river's default of 50, errors that double from 10 to 20 % are seen
/// after some 630 of them. Nothing is guaranteed of its false alarms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageHinkley {
    warm: f64,
    slack: f64,
    threshold: f64,
    keep: f64,
    direction: Direction,
    mean: Mean,
    rise: f64,
    fall: f64,
    lowest_rise: Option<f64>,
    highest_fall: f64,
    drifted: bool,
}

/// Which changes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A mean that rises.
    Up,
    /// A mean that falls.
    Down,
    /// Either.
    #[default]
    Both,
}

/// River's: the sum before there is any.
const NO_FALL: f64 = -1.0;

impl PageHinkley {
    /// Alarms once the sum has left its extreme by more than `threshold`, the other settings being river's: not within
    /// the first 30 values, 0.005 of each distance forgiven, 0.9999 of the sum kept with each value, both directions.
    pub fn new(threshold: f64) -> Self {
        Self {
            warm: 30.0,
            slack: 0.005,
            threshold: threshold.max(0.0),
            keep: 1.0 - 0.0001,
            direction: Direction::Both,
            mean: Mean::default(),
            rise: 0.0,
            fall: 0.0,
            lowest_rise: None,
            highest_fall: NO_FALL,
            drifted: false,
        }
    }

    /// How much of each distance from the mean is forgiven. 0.005 unless told.
    #[must_use]
    pub fn slack(mut self, slack: f64) -> Self {
        self.slack = slack;
        self
    }

    /// Which changes count. Both directions unless told.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }
}

impl Default for PageHinkley {
    /// With river's threshold of 50.
    fn default() -> Self {
        Self::new(50.0)
    }
}

impl Detector for PageHinkley {
    fn push(&mut self, x: f64) -> Signal {
        let Some(x) = usable(x) else { return Signal::Quiet };
        if self.drifted {
            self.reset();
        }
        self.mean.push(x);
        let distance = x - self.mean.value;
        self.rise = self.keep * self.rise + distance - self.slack;
        self.fall = self.keep * self.fall + distance + self.slack;
        let lowest = self.lowest_rise.map_or(self.rise, |lowest| lowest.min(self.rise));
        self.lowest_rise = Some(lowest);
        self.highest_fall = self.highest_fall.max(self.fall);
        if self.mean.count >= self.warm {
            let rises = self.rise - lowest > self.threshold && self.direction != Direction::Down;
            let falls = self.highest_fall - self.fall > self.threshold && self.direction != Direction::Up;
            self.drifted = rises || falls;
        }
        if self.drifted { Signal::Drift } else { Signal::Quiet }
    }

    fn reset(&mut self) {
        (self.mean, self.rise, self.fall) = (Mean::default(), 0.0, 0.0);
        (self.lowest_rise, self.highest_fall, self.drifted) = (None, NO_FALL, false);
    }
}

//! Watching a series for a change, one number at a time: errors, losses, scores, a feature.
//!
//! | detector | needs | finds | false alarms |
//! |---|---|---|---|
//! | [`ShiryaevRoberts`] | the mean that is good, of values in `0..=1` | a rise (or a fall), fast | one in `run_length` values on average, or fewer: guaranteed |
//! | [`Adwin`] | nothing | any change of the mean, slower | rare |
//! | [`PageHinkley`] | the scale of the series | any change of the mean | as its threshold is set, without a guarantee |
//! | [`Ddm`], [`HddmA`] | bits | a rising error rate | DDM: many; HDDM-A: rare |
//!
//! Take [`ShiryaevRoberts`] where the good rate is known, which it is for whatever was validated; else [`Adwin`]. The
//! others are here since people know them, and give the same indices as river 0.26.1 (a Python library for streams).
//! For events that come as counts there is [`RateDetector`](crate::stats::sequential::RateDetector).
//!
//! All take a bounded amount of memory, begin anew with the value after an alarm, can be written down and gone on with
//! by serde, and pass over what is not a finite number. Each is one aggregator: its result depends on the order of
//! values, so several threads do not share one.

mod adwin;
mod ddm;
mod hddm_a;
mod page_hinkley;
mod shiryaev_roberts;

pub use adwin::Adwin;
pub use ddm::Ddm;
pub use hddm_a::HddmA;
pub use page_hinkley::{Direction, PageHinkley};
pub use shiryaev_roberts::ShiryaevRoberts;

use serde::{Deserialize, Serialize};

/// Looks at a series for a change.
///
/// ```
/// use switchback::drift::detect::{Adwin, Detector, Signal};
///
/// let mut detector = Adwin::new();
/// let series = (0..600).map(|place| if place < 400 { 0.2 } else { 0.9 } + 0.01 * f64::from(place % 7));
/// let found: Vec<usize> =
///     series.enumerate().filter(|(_, x)| detector.push(*x) == Signal::Drift).map(|(place, _)| place).collect();
/// assert_eq!(found, [415]);
/// ```
pub trait Detector {
    /// Takes note of a value, and says what the series has come to. After [`Signal::Drift`] the next value begins anew.
    /// What is not a finite number is passed over and gives [`Signal::Quiet`].
    fn push(&mut self, x: f64) -> Signal;

    /// Begins anew.
    fn reset(&mut self);
}

/// What a detector says of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signal {
    /// No change is to be seen.
    #[default]
    Quiet,
    /// There may be one. Only [`Ddm`] and [`HddmA`] warn.
    Warning,
    /// The series has changed.
    Drift,
}

/// What is beyond is taken as this: squares of values, summed, stay finite.
const LARGEST: f64 = 1e100;

/// A value that can be reckoned with.
fn usable(x: f64) -> Option<f64> {
    x.is_finite().then(|| x.clamp(-LARGEST, LARGEST))
}

/// A mean that moves with each value.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Mean {
    count: f64,
    value: f64,
}

impl Mean {
    /// As West (CACM 1979), in river's order of operations: so that rounding is the same.
    fn push(&mut self, x: f64) {
        self.count += 1.0;
        self.value += (1.0 / self.count) * (x - self.value);
    }
}

#[cfg(test)]
mod tests;

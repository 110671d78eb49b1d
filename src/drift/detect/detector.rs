//! What a detector is.

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
pub(crate) fn usable(x: f64) -> Option<f64> {
    x.is_finite().then(|| x.clamp(-LARGEST, LARGEST))
}

/// A mean that moves with each value.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Mean {
    pub(crate) count: f64,
    pub(crate) value: f64,
}

impl Mean {
    /// As West (CACM 1979), in river's order of operations: so that rounding is the same.
    pub(crate) fn push(&mut self, x: f64) {
        self.count += 1.0;
        self.value += (1.0 / self.count) * (x - self.value);
    }
}

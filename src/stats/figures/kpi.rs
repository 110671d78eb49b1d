//! Business figures: what a prediction turned out to be worth.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fixed::{Moments, Sign, seen};
use crate::task::kpi::Kpi;

/// The values of one business figure.
///
/// No minimum and maximum: they could not be taken back when a value is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KpiTally(Moments);

impl KpiTally {
    /// Counts a value. Returns `false`, and counts nothing, where it is not finite; its bounds are those of its
    /// declaration ([`Kpi`]), and are whoever declared it's to check.
    pub(crate) fn record(&mut self, value: f64, sign: Sign) -> bool {
        if value.is_finite() {
            self.0.add(value, sign);
        }
        value.is_finite()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    /// How many values.
    pub(crate) fn count(&self) -> u64 {
        seen(self.0.count())
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        self.0.mean()
    }

    pub(crate) fn standard_deviation(&self) -> Option<f64> {
        self.0.standard_deviation()
    }

    pub(crate) fn figures(&self, kpi: &Kpi) -> KpiFigures {
        KpiFigures {
            name: kpi.name().into(),
            outcomes: self.count(),
            mean: self.mean(),
            standard_deviation: self.standard_deviation(),
            sum: self.0.sum(),
            clamped: self.0.clamped(),
        }
    }
}

/// A business figure, summed up. Units are the host's own.
///
/// Values are kept to 2^-32 (2.3e-10), within ±2^32 (4.29e9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KpiFigures {
    /// The name under which it was declared.
    pub name: Arc<str>,
    /// How many predictions have a value.
    pub outcomes: u64,
    /// The mean of the values. `None` where there are none.
    pub mean: Option<f64>,
    /// Their sample standard deviation, with n - 1 below. `None` for fewer than two values.
    pub standard_deviation: Option<f64>,
    /// Their sum.
    pub sum: f64,
    /// How many of them lay beyond ±2^32 and were taken as that.
    pub clamped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_spread_are_those_of_numpy() {
        let mut tally = KpiTally::default();
        for value in [12.5, 0.0, 3.75, -1.25, 8.0] {
            assert!(tally.record(value, Sign::Plus));
        }
        let figures = tally.figures(&Kpi::bounded("margin", -10.0, 20.0).unwrap());
        // numpy 2.4: mean, std(ddof=1), sum
        assert_eq!((figures.outcomes, figures.mean, figures.sum), (5, Some(4.6), 23.0));
        assert!((figures.standard_deviation.unwrap() - 5.702521372165123).abs() < 1e-9);
    }

    #[test]
    fn a_value_that_is_no_number_does_not_count() {
        let mut tally = KpiTally::default();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!tally.record(value, Sign::Plus));
        }
        assert_eq!(tally, KpiTally::default());
    }
}

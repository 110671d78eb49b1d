//! Quality of a number.

use serde::{Deserialize, Serialize};

use super::metric::{Measured, Metric};
use super::misfit::Misfit;
use crate::stats::figures::fixed::{Moments, Sign, Sum, seen};
use crate::task::kept::Kept;

/// Numbers, tallied. Values and errors are kept to 2^-32, within ±2^32: see [`Moments`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Regression {
    errors: Moments,
    absolute_error: Sum,
    actual: Moments,
    unanswered: i64,
}

impl Regression {
    pub(crate) fn record(&mut self, kept: &Kept, actual: f64, sign: Sign) -> Result<(), Misfit> {
        if !actual.is_finite() {
            return Err(Misfit::NotFinite);
        }
        match *kept {
            Kept::Value(predicted) if predicted.is_finite() => {
                let error = predicted - actual;
                self.errors.add(error, sign);
                self.absolute_error.add(error.abs(), sign);
                self.actual.add(actual, sign);
            }
            Kept::Value(_) => return Err(Misfit::NotFinite),
            Kept::Unreadable => self.unanswered += sign.unit(),
            _ => return Err(Misfit::Answer),
        }
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.errors.merge(&other.errors);
        self.absolute_error.merge(&other.absolute_error);
        self.actual.merge(&other.actual);
        self.unanswered += other.unanswered;
    }

    pub(crate) fn figures(&self) -> RegressionFigures {
        let answered = seen(self.errors.count());
        let mean = |sum: f64| (answered > 0).then(|| (sum / answered as f64).max(0.0));
        let r2 = || {
            let spread = self.actual.spread().filter(|spread| *spread > 0.0)?;
            Some(1.0 - self.errors.sum_of_squares().max(0.0) / spread)
        };
        RegressionFigures {
            outcomes: answered + seen(self.unanswered),
            unanswered: seen(self.unanswered),
            mae: mean(self.absolute_error.value()),
            rmse: mean(self.errors.sum_of_squares()).map(f64::sqrt),
            bias: self.errors.mean(),
            r2: r2(),
            clamped: self.errors.clamped() + self.actual.clamped(),
        }
    }
}

/// How good the answers of a regression were. Units are the host's own.
///
/// Values and errors are kept to 2^-32 (2.3e-10), within ±2^32 (4.29e9): targets of another size are best scaled in the
/// function that reads them off the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RegressionFigures {
    /// Predictions whose truth is known.
    pub outcomes: u64,
    /// Those of them that have no valid answer: they failed. They are in none of the other figures.
    pub unanswered: u64,
    /// The mean absolute error.
    pub mae: Option<f64>,
    /// The root of the mean squared error.
    pub rmse: Option<f64>,
    /// The mean error, predicted less actual: above 0 where answers are too high.
    pub bias: Option<f64>,
    /// The share of the variance that is explained: 1 - Σe² / Σ(y - ȳ)². `None` where all truths are the same.
    pub r2: Option<f64>,
    /// How many errors and true values lay beyond ±2^32 and were taken as that.
    pub clamped: u64,
}

impl RegressionFigures {
    pub(crate) fn measure(&self, metric: Metric) -> Option<Measured> {
        let answered = self.outcomes - self.unanswered.min(self.outcomes);
        match metric {
            Metric::Mae => Measured::over(self.mae, answered),
            Metric::Rmse => Measured::over(self.rmse, answered),
            Metric::Bias => Measured::over(self.bias, answered),
            Metric::R2 => Measured::over(self.r2, answered),
            _ => None,
        }
    }
}

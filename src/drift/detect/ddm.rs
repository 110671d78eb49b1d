//! An error rate against the lowest it has been.

use serde::{Deserialize, Serialize};

use super::detector::{Detector, Mean, Signal, usable};

/// The drift detection method: warns when an error rate is two standard deviations above the lowest it has been, alarms
/// at three (Gama, Medas, Castillo & Rodrigues, "Learning with drift detection", SBIA 2004; the same indices as river's
/// `DDM`).
///
/// It takes minima of a noisy rate for what is normal, and so alarms where nothing changed in two of three series of a
/// thousand. For comparison with what others run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ddm {
    warm: f64,
    warning: f64,
    drift: f64,
    rate: Mean,
    lowest: Option<Lowest>,
    drifted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Lowest {
    rate: f64,
    deviation: f64,
}

impl Ddm {
    /// With river's defaults: silent for the first 30 values, warns at 2 standard deviations, alarms at 3.
    pub fn new() -> Self {
        Self { warm: 30.0, warning: 2.0, drift: 3.0, rate: Mean::default(), lowest: None, drifted: false }
    }

    /// At how many standard deviations it warns and alarms. 2 and 3 unless told.
    #[must_use]
    pub fn deviations(mut self, warning: f64, drift: f64) -> Self {
        (self.warning, self.drift) = (warning, drift);
        self
    }
}

impl Default for Ddm {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector for Ddm {
    /// `x` is 1 for an error and 0 for none; what lies outside is taken as the nearer of the two.
    fn push(&mut self, x: f64) -> Signal {
        let Some(x) = usable(x) else { return Signal::Quiet };
        if self.drifted {
            self.reset();
        }
        self.rate.push(x.clamp(0.0, 1.0));
        let rate = self.rate.value;
        let deviation = (rate * (1.0 - rate) / self.rate.count).max(0.0).sqrt();
        if self.rate.count <= self.warm {
            return Signal::Quiet;
        }
        let now = Lowest { rate, deviation };
        let lowest = match self.lowest {
            Some(lowest) if rate + deviation > lowest.rate + lowest.deviation => lowest,
            _ => now,
        };
        self.lowest = Some(lowest);
        let beyond = |deviations: f64| rate + deviation > lowest.rate + deviations * lowest.deviation;
        self.drifted = beyond(self.drift);
        match (self.drifted, beyond(self.warning)) {
            (true, _) => Signal::Drift,
            (false, true) => Signal::Warning,
            (false, false) => Signal::Quiet,
        }
    }

    fn reset(&mut self) {
        (self.rate, self.lowest, self.drifted) = (Mean::default(), None, false);
    }
}

//! Averages before and after a cut, by Hoeffding's bound.

use serde::{Deserialize, Serialize};

use super::detector::{Detector, Mean, Signal, usable};

/// The drift detection method by Hoeffding's bound, with averages (Frías-Blanco, del Campo-Ávila, Ramos-Jiménez,
/// Morales-Bueno, Ortiz-Díaz & Caballero-Mota, "Online and non-parametric drift detection methods based on Hoeffding's
/// bounds", IEEE TKDE 27(3), 2015; the same indices as river's `HDDMA`).
///
/// Sees what rises. False alarms are rare, and so are small changes seen: 10 to 20 % takes some 480 values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HddmA {
    drift: f64,
    warning: f64,
    both: bool,
    all: Mean,
    /// All, as it was where its upper bound was lowest.
    low: Mean,
    /// All, as it was where its lower bound was highest.
    high: Mean,
    drifted: bool,
}

impl HddmA {
    /// With river's defaults: an error of 0.001 for an alarm and 0.005 for a warning, a rise only.
    pub fn new() -> Self {
        let none = Mean::default();
        Self { drift: 0.001, warning: 0.005, both: false, all: none, low: none, high: none, drifted: false }
    }

    /// The errors of an alarm and of a warning. 0.001 and 0.005 unless told.
    #[must_use]
    pub fn confidence(mut self, drift: f64, warning: f64) -> Self {
        let within = |error: f64| error.clamp(1e-300, 1.0);
        (self.drift, self.warning) = (within(drift), within(warning));
        self
    }

    /// A fall counts too.
    #[must_use]
    pub fn two_sided(mut self) -> Self {
        self.both = true;
        self
    }

    fn bound(&self, count: f64) -> f64 {
        (1.0 / (2.0 * count) * libm::log(1.0 / self.drift)).sqrt()
    }

    /// Whether the mean of all differs from that of the first part by more than chance, `sign` being 1 for a rise.
    fn moved(&self, part: Mean, sign: f64, error: f64) -> bool {
        if part.count == self.all.count || part.count <= 0.0 {
            return false;
        }
        let few = (self.all.count - part.count) / part.count * (1.0 / self.all.count);
        let bound = (few / 2.0 * libm::log(2.0 / error)).sqrt();
        sign * (self.all.value - part.value) >= bound
    }
}

impl Default for HddmA {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector for HddmA {
    /// `x` lies in `0..=1`; what lies outside is taken as the nearer end.
    fn push(&mut self, x: f64) -> Signal {
        let Some(x) = usable(x) else { return Signal::Quiet };
        if self.drifted {
            self.reset();
        }
        self.all.push(x.clamp(0.0, 1.0));
        let all = self.all;
        let bound = self.bound(all.count);
        if self.low.count == 0.0 || self.low.value + self.bound(self.low.count) >= all.value + bound {
            self.low = all;
        }
        if self.high.count == 0.0 || self.high.value - self.bound(self.high.count) <= all.value - bound {
            self.high = all;
        }
        let moved =
            |error| self.moved(self.low, 1.0, error) || (self.both && self.moved(self.high, -1.0, error));
        let (drifted, warned) = (moved(self.drift), moved(self.warning));
        self.drifted = drifted;
        match (drifted, warned) {
            (true, _) => Signal::Drift,
            (false, true) => Signal::Warning,
            (false, false) => Signal::Quiet,
        }
    }

    fn reset(&mut self) {
        let none = Mean::default();
        (self.all, self.low, self.high, self.drifted) = (none, none, none, false);
    }
}

//! Calibration: whether probabilities mean what they say.

use serde::{Deserialize, Serialize};

use crate::stats::figures::fixed::{Sign, Sum, seen};

/// A bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationBin {
    /// The lower end of the bin. It is included, the upper end, 0.1 above, is not (except by the last).
    pub from: f64,
    /// How many outcomes.
    pub outcomes: u64,
    /// The mean probability (of a task of classes: confidence) that was given.
    pub predicted: f64,
    /// The share that happened (of a task of classes: that was right).
    pub observed: f64,
}

/// A reliability diagram of ten equal bins.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Calibration([Reliability; CALIBRATION_BINS as usize]);

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Reliability {
    outcomes: i64,
    happened: i64,
    predicted: Sum,
}

impl Calibration {
    pub(crate) fn count(&mut self, probability: f32, happened: bool, sign: Sign) {
        if let Some(bin) = self.0.get_mut(usize::from(bin(probability, CALIBRATION_BINS))) {
            bin.outcomes += sign.unit();
            bin.happened += if happened { sign.unit() } else { 0 };
            bin.predicted.add(f64::from(probability), sign);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.outcomes += other.outcomes;
            own.happened += other.happened;
            own.predicted.merge(&other.predicted);
        }
    }

    pub(crate) fn error(&self) -> Option<f64> {
        let used = || self.0.iter().filter(|bin| bin.outcomes > 0);
        let outcomes: i64 = used().map(|bin| bin.outcomes).sum();
        let gaps: f64 = used().map(|bin| (bin.predicted.value() - bin.happened as f64).abs()).sum();
        (outcomes > 0).then(|| (gaps / outcomes as f64).min(1.0))
    }

    pub(crate) fn figures(&self) -> Vec<CalibrationBin> {
        let bins = self.0.iter().zip(0_u8..).filter(|(bin, _)| bin.outcomes > 0);
        bins.map(|(bin, number)| CalibrationBin {
            from: f64::from(number) / f64::from(CALIBRATION_BINS),
            outcomes: seen(bin.outcomes),
            predicted: (bin.predicted.value() / bin.outcomes as f64).clamp(0.0, 1.0),
            observed: (bin.happened as f64 / bin.outcomes as f64).clamp(0.0, 1.0),
        })
        .collect()
    }
}

/// The number of the equal bin of 0..=1 in which a probability lies. In `f32`: there 0.7 x 10 is 7, as is meant.
#[inline]
pub(crate) fn bin(probability: f32, bins: u16) -> u16 {
    ((probability * f32::from(bins)) as u16).min(bins - 1)
}

const CALIBRATION_BINS: u16 = 10;

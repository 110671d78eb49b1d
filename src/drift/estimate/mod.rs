//! How good a model probably is, before the truth is known.
//!
//! **Valid under covariate shift only.** What is estimated here follows from scores alone, and rests on one assumption:
//! that a score means today what it meant when it was calibrated. Where inputs change and what they mean does not, that
//! holds. Where the *relation* of inputs to truth changes, by fraud that learns, a storm, a bug in a feature, the
//! estimate shows nothing of it and is wrong with a narrow interval. It never replaces labels; it says what they will
//! probably show until they come.
//!
//! - [`Calibration`]: what a score means, fitted from scores and labels of reference data.
//! - [`QualityEstimator`]: counts scores of traffic, and estimates accuracy, precision, recall, F1 and AUC.

pub(crate) mod calibration;
pub(crate) mod quality;

pub use calibration::{Calibration, CalibrationError, STEPS_MAX};
pub use quality::{CalibrationMismatchError, Estimate, EstimatedQuality, QualityEstimator};

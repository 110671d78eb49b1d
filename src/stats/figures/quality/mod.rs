//! Quality of answers, once the truth about them is known: one file for each kind of task.

pub(crate) mod binary;
pub(crate) mod calibration;
pub(crate) mod classes;
pub(crate) mod metric;
pub(crate) mod misfit;
pub(crate) mod quality;
pub(crate) mod ranking;
pub(crate) mod regression;

pub(crate) use misfit::Misfit;
pub(crate) use quality::Quality;
pub use quality::QualityFigures;

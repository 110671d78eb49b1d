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

pub(crate) mod adwin;
pub(crate) mod ddm;
pub(crate) mod detector;
pub(crate) mod hddm_a;
pub(crate) mod page_hinkley;
pub(crate) mod shiryaev_roberts;
#[cfg(test)]
pub(crate) mod tests;

pub use detector::{Detector, Signal};

pub use adwin::Adwin;
pub use ddm::Ddm;
pub use hddm_a::HddmA;
pub use page_hinkley::{Direction, PageHinkley};
pub use shiryaev_roberts::ShiryaevRoberts;

//! Shares of traffic, in ten-thousandths.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Traffic is split in ten-thousandths: the smallest weight is 0.0001.
pub(crate) const BUCKETS: u16 = 10_000;

/// A share of traffic, in ten-thousandths.
///
/// ```
/// use switchback::Share;
///
/// assert_eq!(Share::new(0.05).unwrap().to_string(), "5 %");
/// assert!(Share::new(1.5).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(u16);

impl Share {
    /// No traffic.
    pub const NONE: Share = Share(0);
    /// All traffic.
    pub const ALL: Share = Share(BUCKETS);

    /// The share `fraction`, between 0 and 1, rounded to the nearest ten-thousandth; one that is not zero never
    /// rounds to nothing.
    ///
    /// # Errors
    ///
    /// A fraction that is not a number in `0..=1`.
    pub fn new(fraction: f64) -> Result<Self, InvalidShare> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(InvalidShare(fraction.to_string()));
        }
        let rounded = (fraction * f64::from(BUCKETS)).round() as u16;
        Ok(Self(if fraction > 0.0 { rounded.max(1) } else { 0 }))
    }

    /// The share as a number between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(BUCKETS)
    }

    /// The share in ten-thousandths.
    pub(crate) const fn buckets(self) -> u16 {
        self.0
    }

    pub(crate) const fn from_buckets(buckets: u16) -> Self {
        Self(if buckets < BUCKETS { buckets } else { BUCKETS })
    }
}

impl TryFrom<f64> for Share {
    type Error = InvalidShare;
    fn try_from(fraction: f64) -> Result<Self, InvalidShare> {
        Self::new(fraction)
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.fraction()
    }
}

/// In percent.
impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 100.0)
    }
}

/// A number that is not a share of anything.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0} is not a share of traffic: give a number between 0 and 1")]
pub struct InvalidShare(String);

/// Maps 64 random bits evenly to a bucket.
#[inline]
pub(crate) fn scale(random: u64) -> u16 {
    ((u128::from(random) * u128::from(BUCKETS)) >> 64) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_to_nothing() {
        assert_eq!(Share::new(0.000_001).unwrap().buckets(), 1);
        assert_eq!(Share::new(0.0).unwrap(), Share::NONE);
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(Share::new(bad).is_err());
        }
        assert!(serde_json::from_str::<Share>("2.0").is_err());
    }
}

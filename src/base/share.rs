//! Shares of traffic, in ten-thousandths.

use crate::base::causes::debug_as_told;
use crate::base::invalid::ArgumentError;
use crate::base::text::bounded_text;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Traffic is split in ten-thousandths: the smallest weight is 0.0001.
pub(crate) const BUCKETS: u16 = 10_000;

/// A share of traffic, in ten-thousandths.
///
/// ```
/// use switchback::Share;
///
/// assert_eq!(Share::new(0.05).unwrap().to_string(), "5 %");
/// assert_eq!("5 %".parse(), Share::new(0.05));
/// assert!(Share::new(1.5).is_err());
/// ```
///
/// Whatever takes a weight takes a share, or the number: `canary(0.05)`.
///
/// Serde writes the number, and reads a number between 0 and 1 or text such as `5 %`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(into = "f64")]
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
    pub fn new(fraction: f64) -> Result<Self, ShareError> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(ShareError(fraction.to_string()));
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

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_fraction(deserializer).and_then(|fraction| Self::new(fraction).map_err(D::Error::custom))
    }
}

impl TryFrom<f64> for Share {
    type Error = ShareError;
    fn try_from(fraction: f64) -> Result<Self, ShareError> {
        Self::new(fraction)
    }
}

/// `5 %`, as it is printed, or the number.
impl FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let refused = || ShareError(format!("`{}`", bounded_text(text)));
        let number = text.trim();
        let fraction = of_percent(text).or_else(|| decimal(number).then(|| number.parse().ok()).flatten());
        Self::new(fraction.ok_or_else(refused)?).map_err(|_| refused())
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
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a share of traffic: give a number between 0 and 1, or a text such as `5 %`")]
pub struct ShareError(String);

debug_as_told!(ShareError);

impl ShareError {
    /// The same of an argument.
    pub(crate) fn of(self, argument: &'static str) -> ArgumentError {
        ArgumentError::new(argument, self.0, "a number between 0 and 1, or a text such as `5 %`")
    }
}

/// A share is one: for what takes either that or a number.
impl From<Infallible> for ShareError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The share that a number or a share is.
///
/// # Errors
///
/// A number that is none.
pub(crate) fn share_of(weight: impl TryInto<Share, Error: Into<ShareError>>) -> Result<Share, ShareError> {
    weight.try_into().map_err(Into::into)
}

/// A number in digits, with a point or without.
pub(crate) fn decimal(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    !whole.is_empty() && !rest.is_empty() && digits(whole) && digits(rest)
}

/// 0.125 of `12.5 %`: read as a hundredth, not divided by a hundred, so that the bits are those of 0.125.
pub(crate) fn of_percent(text: &str) -> Option<f64> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    if decimal(number) { format!("{number}e-2").parse().ok() } else { None }
}

/// Reads a part of a whole as people write one: 0.05 or `5 %`. A format that is not for people has the number alone.
///
/// # Errors
///
/// Text that is no part in percent. Whether the number is one that a share can have, whoever reads it checks.
pub(crate) fn read_fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Fraction)
    } else {
        f64::deserialize(deserializer)
    }
}

/// The same where there may be none.
pub(crate) fn read_fraction_if<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    struct Read(f64);

    impl<'de> Deserialize<'de> for Read {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            read_fraction(deserializer).map(Self)
        }
    }

    Ok(Option::<Read>::deserialize(deserializer)?.map(|Read(fraction)| fraction))
}

struct Fraction;

impl Visitor<'_> for Fraction {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share such as 0.05 or \"5 %\"")
    }

    fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        of_percent(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

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

    #[test]
    fn a_share_is_read_back_from_what_it_prints() {
        for buckets in 0..=BUCKETS {
            let share = Share::from_buckets(buckets);
            assert_eq!(share.to_string().parse(), Ok(share));
            assert_eq!((share_of(share), share_of(share.fraction())), (Ok(share), Ok(share)));
        }
        assert_eq!(" 0.05 ".parse(), Share::new(0.05));
        for none in ["", "5", "120 %", "NaN", "-1 %", "%", "1e9"] {
            let told = none.parse::<Share>().unwrap_err().to_string();
            assert!(told.starts_with(&format!("`{none}` is not a share")), "{told}");
        }
    }

    #[test]
    fn a_share_is_read_as_a_number_and_as_people_write_it() {
        for (written, buckets) in
            [("0.05", 500), ("\"5 %\"", 500), ("\"12.5%\"", 1_250), ("1", 10_000), ("0", 0)]
        {
            assert_eq!(serde_json::from_str::<Share>(written).unwrap().buckets(), buckets, "{written}");
        }
        for (written, why) in [
            ("5", "5 is not a share of traffic: give a number between 0 and 1"),
            ("\"120 %\"", "1.2 is not a share of traffic"),
            ("\"0.05\"", "expected a share such as 0.05 or \"5 %\""),
            ("[0.05]", "expected a share such as 0.05 or \"5 %\""),
        ] {
            let error = serde_json::from_str::<Share>(written).unwrap_err().to_string();
            assert!(error.contains(why), "{written}: {error}");
        }
        // Written as ever.
        assert_eq!(serde_json::to_string(&Share::new(0.05).unwrap()).unwrap(), "0.05");
    }
}

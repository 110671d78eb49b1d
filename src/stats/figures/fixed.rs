//! Sums that come out the same whatever the order: fixed point instead of floating point.
//!
//! A value is held as a whole number of 2^-32, and added as an integer. Addition of integers is associative, so shards
//! merge bit for bit into what one thread would have counted, and taking a value back undoes having added it.

use std::ops::Neg;

use serde::{Deserialize, Serialize};

/// Whether something is counted, or a count of before is taken back because it was corrected since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It counts.
    Plus,
    /// It was added before, and counts no longer.
    Minus,
}

impl Sign {
    /// 1 or -1.
    pub(crate) const fn unit(self) -> i64 {
        match self {
            Self::Plus => 1,
            Self::Minus => -1,
        }
    }

    #[inline]
    fn of<N: Neg<Output = N>>(self, number: N) -> N {
        match self {
            Self::Plus => number,
            Self::Minus => -number,
        }
    }
}

/// A sum of values, in 2^-32.
///
/// A value beyond ±2^32 (4.29e9) is added as that. 2^63 values at the limit fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum(i128);

impl Sum {
    pub(crate) fn add(&mut self, value: f64, sign: Sign) {
        self.0 += sign.of(Fixed::of(value).whole());
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    pub(crate) fn value(self) -> f64 {
        self.0 as f64 * UNIT
    }
}

/// Count, mean and spread of values.
///
/// Values are rounded to 2^-32 (2.3e-10); those beyond ±2^32 (4.29e9) are taken as that limit, and counted in
/// [`clamped`](Self::clamped). Their squares are summed without any further rounding, in two halves that are added
/// apart, so that the spread of values that lie close together far from 0 is exact too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Moments {
    count: i64,
    clamped: i64,
    sum: i128,
    /// The squares, in 2^-64: upper and lower 64 bits of each, summed apart.
    squares: Wide,
}

impl Moments {
    #[inline]
    pub(crate) fn add(&mut self, value: f64, sign: Sign) {
        let fixed = Fixed::of(value);
        let square = u128::from(fixed.magnitude) * u128::from(fixed.magnitude);
        self.count += sign.unit();
        self.clamped += sign.of(i64::from(fixed.magnitude == u64::MAX));
        self.sum += sign.of(fixed.whole());
        self.squares.high += sign.of((square >> 64) as i128);
        self.squares.low += sign.of(i128::from(square as u64));
    }

    /// Adds a value `times` times.
    #[cfg(feature = "forecast")]
    pub(crate) fn add_times(&mut self, value: f64, times: u64) {
        let mut one = Self::default();
        one.add(value, Sign::Plus);
        let often = i128::from(times);
        self.merge(&Self {
            count: times as i64,
            clamped: one.clamped * times as i64,
            sum: one.sum * often,
            squares: Wide { high: one.squares.high * often, low: one.squares.low * often },
        });
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Saturating: these are read from records too.
        self.count = self.count.saturating_add(other.count);
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.sum = self.sum.saturating_add(other.sum);
        self.squares.high = self.squares.high.saturating_add(other.squares.high);
        self.squares.low = self.squares.low.saturating_add(other.squares.low);
    }

    /// Returns what these have beside others that are among them.
    #[cfg(feature = "fleet")]
    pub(crate) fn without(&self, other: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(other.count),
            clamped: self.clamped.saturating_sub(other.clamped),
            sum: self.sum.saturating_sub(other.sum),
            squares: Wide {
                high: self.squares.high.saturating_sub(other.squares.high),
                low: self.squares.low.saturating_sub(other.squares.low),
            },
        }
    }

    /// How many values. Negative where more were taken back than added (see [`Windows`](super::rolling::Windows)).
    pub(crate) fn count(&self) -> i64 {
        self.count
    }

    /// How many of them lay beyond the range.
    pub(crate) fn clamped(&self) -> u64 {
        seen(self.clamped)
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum as f64 * UNIT
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum() / self.count as f64)
    }

    /// The sum of squares.
    pub(crate) fn sum_of_squares(&self) -> f64 {
        self.squares.value()
    }

    /// The sum of squared distances from the mean, Σ(x - x̄)².
    ///
    /// The textbook form Σx² - (Σx)²/n loses everything where the spread is small beside the mean. So it is shifted to
    /// the mean rounded to a whole number m of units, exactly: with Σx = nm + r, it is Σx² - m(Σx + r) - r²/n.
    pub(crate) fn spread(&self) -> Option<f64> {
        if self.count <= 0 {
            return None;
        }
        let count = i128::from(self.count);
        let (middle, rest) = (self.sum / count, self.sum % count);
        // Beyond 64 bits only where more was taken back than is there: there is no spread to speak of.
        let size = u64::try_from(middle.unsigned_abs()).ok()?;
        let shifted = self.squares.less_product(middle.is_negative(), size, self.sum.checked_add(rest)?)?;
        let rest = rest as f64;
        Some((shifted.value() - rest * rest / self.count as f64 * UNIT * UNIT).max(0.0))
    }

    /// The sample standard deviation, with n - 1 below.
    pub(crate) fn standard_deviation(&self) -> Option<f64> {
        (self.count > 1).then_some(())?;
        Some((self.spread()? / (self.count - 1) as f64).sqrt())
    }
}

/// A count as figures show it: where corrections took back more than a window still holds, there is nothing.
pub(crate) fn seen(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// `part / whole`, where there is a whole. The part is larger only where corrections took back what a window no longer
/// holds; a share is then 1.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

/// One value, rounded to a whole number of 2^-32 and kept within ±2^32.
#[derive(Clone, Copy)]
struct Fixed {
    negative: bool,
    magnitude: u64,
}

impl Fixed {
    #[inline]
    fn of(value: f64) -> Self {
        // The conversion saturates, which is the limit; a NaN would be 0, and is refused by whoever records.
        Self { negative: value < 0.0, magnitude: (value.abs() * ONE + 0.5) as u64 }
    }

    #[inline]
    fn whole(self) -> i128 {
        let whole = i128::from(self.magnitude);
        if self.negative { -whole } else { whole }
    }
}

/// `high` x 2^64 + `low`, in 2^-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
struct Wide {
    high: i128,
    low: i128,
}

impl Wide {
    /// This number less (±`size`) x `other`, where that fits.
    fn less_product(self, negative: bool, size: u64, other: i128) -> Option<Self> {
        let low = u128::from(size) * u128::from(other as u64);
        let high = i128::from(size).checked_mul(other >> 64)?.checked_add((low >> 64) as i128)?;
        let low = i128::from(low as u64);
        let sign = if negative { Sign::Plus } else { Sign::Minus };
        Some(Self { high: self.high.checked_add(sign.of(high))?, low: self.low.checked_add(sign.of(low))? })
    }

    fn value(self) -> f64 {
        // Carried first: one half may be large and negative only because the other is large and positive.
        let high = self.high + (self.low >> 64);
        high as f64 + self.low as u64 as f64 * UNIT * UNIT
    }
}

/// How many units make 1.
const ONE: f64 = 4_294_967_296.0;

const UNIT: f64 = 1.0 / ONE;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_spread_far_from_zero_is_not_lost() {
        let mut moments = Moments::default();
        for value in [4e9 + 0.001, 4e9 + 0.002, 4e9 + 0.003] {
            moments.add(value, Sign::Plus);
        }
        // f64 itself has steps of 4.8e-7 there.
        let sd = moments.standard_deviation().unwrap();
        assert!((sd - 0.001).abs() < 1e-6, "{sd}");
    }

    #[test]
    fn negative_values_have_the_same_spread() {
        let (mut above, mut below) = (Moments::default(), Moments::default());
        for value in [1.5, 2.25, 9.75, 1e6] {
            above.add(value, Sign::Plus);
            below.add(-value, Sign::Plus);
        }
        assert_eq!(above.spread(), below.spread());
        assert_eq!(above.mean(), below.mean().map(|mean| -mean));
    }

    #[test]
    fn what_lies_beyond_the_range_is_taken_as_its_limit_and_counted() {
        let mut moments = Moments::default();
        moments.add(1e300, Sign::Plus);
        moments.add(-1e300, Sign::Plus);
        moments.add(1.0, Sign::Plus);
        assert_eq!((moments.clamped(), moments.sum()), (2, 1.0));
        moments.add(1e300, Sign::Minus);
        moments.add(-1e300, Sign::Minus);
        assert_eq!((moments.clamped(), moments.spread()), (0, Some(0.0)));
    }

    #[test]
    fn more_taken_back_than_was_there_is_nothing_and_does_not_fail() {
        let mut moments = Moments::default();
        moments.add(-1e12, Sign::Minus);
        assert_eq!((moments.mean(), moments.spread(), moments.standard_deviation()), (None, None, None));
        for _ in 0..2 {
            moments.add(3.0, Sign::Plus);
        }
        // One value by count, and a sum far beyond what one value can be.
        moments.add(-1e12, Sign::Minus);
        moments.add(-1e12, Sign::Minus);
        moments.add(3.0, Sign::Plus);
        moments.add(3.0, Sign::Plus);
        let _ = moments.spread();
    }

    proptest! {
        #[test]
        fn the_spread_is_that_of_two_passes(values in prop::collection::vec(-1e6..1e6_f64, 2..50), far in -1e9..1e9_f64) {
            let mut moments = Moments::default();
            let values: Vec<f64> = values.into_iter().map(|value| value + far).collect();
            values.iter().for_each(|value| moments.add(*value, Sign::Plus));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let expected: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let found = moments.spread().unwrap();
            prop_assert!((found - expected).abs() <= 1e-6 * expected + 1e-6, "{found} {expected}");
        }

        #[test]
        fn taking_back_undoes_adding(kept in prop::collection::vec(any::<f64>(), 0..9), gone in prop::collection::vec(any::<f64>(), 0..9)) {
            let (mut both, mut only) = (Moments::default(), Moments::default());
            kept.iter().for_each(|value| only.add(*value, Sign::Plus));
            gone.iter().chain(&kept).for_each(|value| both.add(*value, Sign::Plus));
            gone.iter().rev().for_each(|value| both.add(*value, Sign::Minus));
            prop_assert_eq!(both, only);
        }
    }
}

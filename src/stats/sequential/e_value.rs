//! E-values, as logarithms in fixed point, and the arithmetic that gives the same bits on every machine.
//!
//! The standard library's `ln` and `exp` are the platform's and differ in the last bit from one to the next. These are
//! those of the `libm` crate, which is pinned, so that a decision can be recomputed elsewhere.

use std::fmt;
use std::iter::Sum;

use serde::{Deserialize, Serialize};

use super::allowed;
use crate::base::invalid::ArgumentError;
use crate::base::text::number;

/// Evidence against a hypothesis, as a number that is at most 1 on average wherever the hypothesis holds.
///
/// An e-value that comes of an e-process may be looked at after every observation: under the hypothesis it *ever*
/// reaches `1/alpha` with a probability of at most `alpha` (Ville 1939; Ramdas, Grünwald, Vovk & Shafer, "Game-theoretic
/// statistics and safe anytime-valid inference", Statistical Science 2023).
///
/// Held and serialised as its natural logarithm in units of 2^-32, rounded down: so it survives any text format without
/// a change, and what is rounded is rounded against the claim.
///
/// ```
/// use switchback::stats::sequential::EValue;
///
/// let evidence = EValue::of(25.0);
/// assert!(evidence >= EValue::threshold(0.05)? && evidence < EValue::threshold(0.01)?);
/// assert!((evidence.p_value() - 0.04).abs() < 1e-9);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EValue(i64);

impl EValue {
    /// No evidence either way.
    pub const ONE: EValue = EValue(0);
    /// The hypothesis cannot be doubted any less: what a product with an impossible factor comes to.
    pub const ZERO: EValue = EValue(i64::MIN);

    /// The e-value `value`; 0 for what is not a positive number.
    pub fn of(value: f64) -> Self {
        if value > 0.0 { Self::from_ln(ln(value)) } else { Self::ZERO }
    }

    /// The e-value whose natural logarithm is `ln`.
    pub(crate) fn from_ln(ln: f64) -> Self {
        // The conversion saturates; a NaN would be 0, which is no evidence.
        Self((ln * ONE_NAT).floor() as i64)
    }

    /// Returns the value that an e-value must reach for its hypothesis to be rejected with an error of at most `alpha`:
    /// `1/alpha`.
    ///
    /// # Errors
    ///
    /// An error that is not between 0 and 1.
    pub fn threshold(alpha: f64) -> Result<Self, ArgumentError> {
        allowed::error(alpha).map(|()| Self::against(alpha))
    }

    /// The threshold of what may be no error at all: nothing reaches that of an `alpha` of 0 or less.
    pub(crate) fn against(alpha: f64) -> Self {
        if alpha > 0.0 { Self((-ln(alpha) * ONE_NAT).ceil() as i64) } else { Self(i64::MAX) }
    }

    /// Its natural logarithm.
    pub fn ln(self) -> f64 {
        if self == Self::ZERO { f64::NEG_INFINITY } else { self.0 as f64 / ONE_NAT }
    }

    /// The number itself; infinite beyond 1.8e308.
    pub fn value(self) -> f64 {
        exp(self.ln())
    }

    /// `min(1, 1/e)`: a p-value that stays valid however often it is looked at.
    pub fn p_value(self) -> f64 {
        exp(-self.ln().max(0.0))
    }

    /// The product: evidence of observations that one follows the other, each an e-value given what came before.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        if self == Self::ZERO || other == Self::ZERO {
            return Self::ZERO;
        }
        Self(self.0.saturating_add(other.0))
    }

    /// The weighted mean: valid whatever the e-values have to do with each other, as long as the weights do not depend
    /// on the data and add up to at most 1 (Vovk & Wang, "E-values: calibration, combination and applications", Annals
    /// of Statistics 2021, Theorem 3.2: nothing else that is symmetric does better). Weights are as given: what is
    /// missing to 1 is lost.
    pub fn weighted_mean(parts: impl IntoIterator<Item = (f64, EValue)>) -> Self {
        let logs: Vec<f64> = parts
            .into_iter()
            .filter(|(weight, e)| *weight > 0.0 && *e != Self::ZERO)
            .map(|(weight, e)| ln(weight) + e.ln())
            .collect();
        ln_sum_exp(&logs).map_or(Self::ZERO, Self::rounded_down)
    }

    /// The mean of some e-values, each weighing as much.
    pub fn mean(parts: &[EValue]) -> Self {
        let weight = 1.0 / parts.len().max(1) as f64;
        Self::weighted_mean(parts.iter().map(|e| (weight, *e)))
    }

    /// From a logarithm that may be off by a few units in its last place.
    pub(crate) fn rounded_down(ln: f64) -> Self {
        Self::from_ln(ln - ln.abs() * 1e-14 - 1e-14)
    }
}

/// The product of all.
impl Sum for EValue {
    fn sum<I: Iterator<Item = EValue>>(factors: I) -> Self {
        factors.fold(Self::ONE, Self::times)
    }
}

impl fmt::Debug for EValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Three significant digits, from 0.001 to a million; beyond, the power of ten alone.
impl fmt::Display for EValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value();
        match value {
            0.0 => f.write_str("0"),
            0.001..1e6 => f.write_str(&number(value)),
            _ => write!(f, "1e{:.0}", (self.ln() * std::f64::consts::LOG10_E).floor()),
        }
    }
}

/// How many units of 2^-32 make one nat.
pub(crate) const ONE_NAT: f64 = 4_294_967_296.0;

/// The natural logarithm, the same on every machine.
pub(crate) fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// The exponential, the same on every machine.
pub(crate) fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// `ln(1 + x)` in units of 2^-32, rounded down; exactly 0 for 0. As far down as a number goes where the factor is 0.
///
/// Sums of these are integers, so they come out the same in whatever order they are added.
pub(crate) fn ln_1p_down(x: f64) -> i64 {
    if x == 0.0 {
        return 0;
    }
    if x <= -1.0 {
        return NEVER;
    }
    // One more unit down: the logarithm itself may be too high by a unit in its last place.
    ((libm::log1p(x) * ONE_NAT).floor() as i64).saturating_sub(1).max(NEVER)
}

/// `ln(x)`, likewise.
pub(crate) fn ln_down(x: f64) -> i64 {
    if x == 1.0 { 0 } else { ((ln(x) * ONE_NAT).floor() as i64).saturating_sub(1).max(NEVER) }
}

/// The logarithm of a factor that is 0. Small enough that no other factor makes good for it, and large enough that 2^53
/// of them fit an `i128`.
const NEVER: i64 = i64::MIN / 4;

/// `ln(sum of exp)`, in the order given; nothing for no terms.
pub(crate) fn ln_sum_exp(logs: &[f64]) -> Option<f64> {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return None;
    }
    // A term that is e^40 below the largest changes nothing that is kept.
    let sum: f64 = logs.iter().map(|log| log - largest).filter(|below| *below > -40.0).map(exp).sum();
    Some(largest + ln(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thresholds_are_rounded_up_and_e_values_down() {
        for alpha in [0.05, 0.01, 1e-9, 0.3] {
            let exact = EValue::of(1.0 / alpha);
            assert!(exact <= EValue::against(alpha));
            assert!((EValue::against(alpha).ln() + f64::ln(alpha)).abs() < 1e-9);
        }
        assert!(EValue::of(1e300).times(EValue::of(1e300)) < EValue::against(0.0));
        assert_eq!(EValue::threshold(0.05), Ok(EValue::against(0.05)));
        for none in [0.0, -0.1, 1.0, 1.5, f64::NAN] {
            assert!(EValue::threshold(none).is_err(), "{none}");
        }
    }

    #[test]
    fn e_values_print_for_people() {
        let cases = [
            (0.0421, "0.0421"),
            (1.0, "1"),
            (19.97, "20"),
            (812.3, "812"),
            (1_354.0, "1,354"),
            (3.2e9, "1e9"),
            (2e-7, "1e-7"),
        ];
        for (value, text) in cases {
            assert_eq!(EValue::of(value).to_string(), text);
        }
        assert_eq!(EValue::ZERO.to_string(), "0");
    }

    #[test]
    fn nothing_makes_good_for_an_impossible_factor() {
        assert_eq!(EValue::ZERO.times(EValue::of(1e300)), EValue::ZERO);
        assert_eq!(EValue::weighted_mean([(0.5, EValue::ZERO), (0.5, EValue::ZERO)]), EValue::ZERO);
        assert_eq!(EValue::weighted_mean([]), EValue::ZERO);
        assert!(i128::from(ln_1p_down(-1.0)) * (1 << 53) < 0);
    }

    proptest! {
        #[test]
        fn a_mean_lies_between_its_parts(a in -200.0..200.0_f64, b in -200.0..200.0_f64) {
            let (a, b) = (EValue::from_ln(a), EValue::from_ln(b));
            let mean = EValue::mean(&[a, b]);
            prop_assert!(mean <= a.max(b) && mean.ln() >= a.max(b).ln() - std::f64::consts::LN_2 - 1e-8);
        }

        #[test]
        fn logarithms_are_rounded_down_by_less_than_two_units(x in -0.999..1e6_f64) {
            let error = x.ln_1p() * ONE_NAT - ln_1p_down(x) as f64;
            prop_assert!((0.0..=2.001).contains(&error), "{error}");
        }

        #[test]
        fn an_e_value_survives_serde(ln in -700.0..700.0_f64) {
            let e = EValue::from_ln(ln);
            let json = serde_json::to_string(&e).unwrap();
            prop_assert_eq!(serde_json::from_str::<EValue>(&json).unwrap(), e);
        }
    }
}

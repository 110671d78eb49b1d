//! Confidence sequences: what a figure may be, at all times at once.

use std::ops::RangeInclusive;

use super::allowed;
use super::e_value::EValue;
use super::test::Claim;
use crate::base::invalid::ArgumentError;

/// What a figure may be, with the error that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The margins that neither side of a test excludes, with an error of at most `alpha` over all times: a confidence
/// sequence, by turning the test round. `evidence(claim, margin)` is the e-value of a test; `estimate` lies inside, and
/// `range` is as far as the margin can go. A range above 0 is searched by factors, any other by differences.
///
/// For showing, together with the decision: it costs some forty tests a side. The ends are found by bisection, which
/// takes the excluded margins to lie in one piece on either side.
///
/// # Errors
///
/// An error that is not between 0 and 1, or a range without ends or without the estimate in it.
///
/// ```
/// use switchback::stats::sequential::{EValue, Interval, PairedDifference, PairedEvents, SequentialTest, interval};
///
/// let wrong = PairedEvents { neither: 900, only_live: 20, only_candidate: 60, both: 20 };
/// let Interval { low, high, .. } = interval(0.05, -1.0..=1.0, 0.04, |claim, margin| {
///     PairedDifference::new(claim, margin).map_or(EValue::ONE, |test| test.e_value(&wrong))
/// })?;
/// assert!(0.01 < low && low < 0.04 && 0.04 < high && high < 0.08);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
pub fn interval(
    alpha: f64,
    range: RangeInclusive<f64>,
    estimate: f64,
    evidence: impl Fn(Claim, f64) -> EValue,
) -> Result<Interval, ArgumentError> {
    allowed::error(alpha)?;
    let (low, high) = (*range.start(), *range.end());
    let has_ends = low.is_finite() && high.is_finite() && low <= high;
    ArgumentError::unless(
        has_ends,
        "the range",
        format!("{low} to {high}"),
        "from a number to a larger one",
    )?;
    ArgumentError::unless(range.contains(&estimate), "the estimate", estimate, "in the range")?;
    Ok(not_excluded(alpha, range, estimate, evidence))
}

/// The same of arguments that are known to be some.
pub(crate) fn not_excluded(
    alpha: f64,
    range: RangeInclusive<f64>,
    estimate: f64,
    evidence: impl Fn(Claim, f64) -> EValue,
) -> Interval {
    let threshold = EValue::against(alpha / 2.0);
    let by_factors = *range.start() > 0.0;
    let end = |claim: Claim, outside: f64| {
        if evidence(claim, outside) < threshold {
            return outside;
        }
        let (mut out, mut inside) = (outside, estimate);
        for _ in 0..40 {
            let middle = if by_factors { libm::sqrt(out * inside) } else { f64::midpoint(out, inside) };
            if evidence(claim, middle) >= threshold { out = middle } else { inside = middle }
        }
        out
    };
    // Harm at a margin excludes that margin and what lies below; non-inferiority what lies above.
    Interval { low: end(Claim::Harm, *range.start()), high: end(Claim::NonInferiority, *range.end()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sequential::Mean;
    use crate::stats::sequential::Scores;
    use crate::stats::sequential::test::SequentialTest;

    /// The betting confidence sequence of Waudby-Smith & Ramdas 2024 on the reference's numbers (`confseq.betting`
    /// 0.0.11: 0.439 to 0.564) places its bets as it goes. Bets on a fixed grid cannot do better and must not do much
    /// worse.
    #[test]
    fn the_interval_of_a_mean_is_about_as_wide_as_that_of_bets_that_adapt() {
        let mut scores = Scores::default();
        for i in 1..=200_u32 {
            let x = f64::from(7_919 * i % 101) / 100.0;
            scores.count(x, crate::base::chance::mix(u64::from(i)));
        }
        let Interval { low, high } = interval(0.05, 0.0..=1.0, scores.mean().unwrap(), |claim, limit| {
            Mean::nearest(claim, limit).e_value(&scores)
        })
        .unwrap();
        assert!(low < 0.502 && 0.502 < high);
        assert!((low - 0.439).abs() < 0.02 && (high - 0.564).abs() < 0.02, "{low} {high}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let of = |alpha, range, estimate| interval(alpha, range, estimate, |_, _| EValue::ONE).is_err();
        assert!(of(0.0, 0.0..=1.0, 0.5) && of(f64::NAN, 0.0..=1.0, 0.5) && of(0.05, 0.0..=1.0, f64::NAN));
        assert!(of(0.05, 1.0..=0.0, 0.5) && of(0.05, 0.0..=f64::INFINITY, 0.5) && of(0.05, 0.0..=1.0, 1.5));
    }
}

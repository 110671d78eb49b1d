//! The exact mixture over all splits of discordant pairs, and of a single rate.

use super::counts::PairedEvents;
use super::e_value::{EValue, ln};

/// A sequential McNemar test with a beta prior: whether the candidate loses more than half of the discordant pairs.
///
/// `ln E = ln B(a + n10, a + n01) + ln P(Beta(a + n10, a + n01) > 1/2) - ln B(a, a) - ln(1/2) + n ln 2` (Howard, Ramdas,
/// McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2)
/// 2021, beta-binomial mixtures). As good as [`PairedDifference`](super::PairedDifference) without a margin, and a little
/// quicker for differences of which `prior` fits the size: 10 for one to three points.
///
/// ```
/// use switchback::stats::sequential::{PairedEvents, mcnemar};
///
/// let right = PairedEvents { only_candidate: 30, only_live: 12, ..PairedEvents::default() };
/// assert!((mcnemar(&right, 0.5).value() - 13.12).abs() < 0.01);
/// ```
pub fn mcnemar(events: &PairedEvents, prior: f64) -> EValue {
    let (more, less) = (events.only_candidate as f64, events.only_live as f64);
    let prior = prior.clamp(1e-3, 1e6);
    let beyond_half = incomplete_beta(prior + less, prior + more, 0.5);
    let ln_e = ln_beta(prior + more, prior + less) + ln(beyond_half) - ln_beta(prior, prior)
        + std::f64::consts::LN_2 * (1.0 + more + less);
    EValue::from_ln(ln_e)
}

/// The interval that holds a rate at all times with an error of at most `alpha`, after `events` events in `units` units: a
/// beta-binomial confidence sequence (Howard et al. 2021), tightest at about `tuned_to` units.
///
/// For showing: it assumes that the rate holds still.
pub fn rate_interval(events: u64, units: u64, alpha: f64, tuned_to: u64) -> (f64, f64) {
    if units == 0 {
        return (0.0, 1.0);
    }
    let (events, units) = (events.min(units) as f64, units as f64);
    let observed = events / units;
    // The centre of the prior moves with the rate under test, as in confseq's `bernoulli_confidence_interval`.
    let excluded = |rate: f64| ln_mixture(events, units, rate, alpha, tuned_to as f64) >= -ln(alpha);
    let edge = |outside: f64| {
        let (mut out, mut inside) = (outside, observed);
        for _ in 0..60 {
            let middle = f64::midpoint(out, inside);
            if excluded(middle) { out = middle } else { inside = middle }
        }
        out
    };
    (
        if excluded(1e-12) { edge(1e-12) } else { 0.0 },
        if excluded(1.0 - 1e-12) { edge(1.0 - 1e-12) } else { 1.0 },
    )
}

/// The two-sided beta-binomial mixture against the rate `rate`.
fn ln_mixture(events: f64, units: f64, rate: f64, alpha: f64, tuned_to: f64) -> f64 {
    // The prior's variance that makes the boundary tightest at `tuned_to` units.
    let variance = rate * (1.0 - rate);
    let rho = tuned_to * variance / (2.0 * ln(1.0 / alpha) + ln(1.0 + 2.0 * ln(1.0 / alpha)));
    let strength = (rho / variance - 1.0).max(1e-3);
    let (a, b) = (strength * rate, strength * (1.0 - rate));
    ln_beta(a + events, b + units - events)
        - ln_beta(a, b)
        - events * ln(rate)
        - (units - events) * ln(1.0 - rate)
}

pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// The regularised incomplete beta function, by its continued fraction (Lentz's method; DLMF 8.17.22).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..400 {
        let m = f64::from(m);
        for numerator in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / away(1.0 + numerator * d);
            c = away(1.0 + numerator / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    let front = a * ln(x) + b * ln(1.0 - x) - ln_beta(a, b);
    libm::exp(front) * fraction / a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(only_candidate: u64, only_live: u64) -> PairedEvents {
        PairedEvents { only_candidate, only_live, ..PairedEvents::default() }
    }

    /// Golden: Howard, Ramdas, McAuliffe & Sekhon 2021 with confseq 0.0.11 and scipy 1.17, to the last digits.
    #[test]
    fn the_beta_binomial_mixture_is_confseq_s() {
        let found = mcnemar(&events(30, 12), 0.5).ln();
        assert!((found - 2.574_110_015_659_458_7).abs() < 1e-9, "{found}");
        let found = mcnemar(&events(30, 12), 1.0).value();
        assert!((found - 18.448_695_31).abs() < 1e-7, "{found}");
        // Two-sided: without the terms of the half.
        let two_sided = |a: f64| ln_beta(a + 30.0, a + 12.0) - ln_beta(a, a) + 42.0 * std::f64::consts::LN_2;
        assert!((two_sided(0.5) - 1.883_388_994_029_081_3).abs() < 1e-9);
        assert!((two_sided(1.0) - f64::ln(9.249_328_11)).abs() < 1e-8);
    }

    /// Golden: confseq 0.0.11, `bernoulli_confidence_interval(30, 100, 0.05, t_opt=100)`.
    #[test]
    fn the_interval_of_a_rate_is_confseq_s() {
        let (low, high) = rate_interval(30, 100, 0.05, 100);
        assert!((low - 0.173_634_908_412_304_9).abs() < 1e-5, "{low}");
        assert!((high - 0.447_676_697_789_347_7).abs() < 1e-5, "{high}");
    }

    #[test]
    fn intervals_hold_what_was_observed_and_never_leave_the_range() {
        for (events, units) in [(0, 0), (0, 1), (1, 1), (0, 5_000), (5_000, 5_000), (1 << 52, 1 << 53)] {
            let (low, high) = rate_interval(events, units, 0.05, 1_000);
            assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high) && low <= high);
            if units > 0 {
                let observed = events as f64 / units as f64;
                assert!(low <= observed && observed <= high, "{low} {observed} {high}");
            }
        }
    }

    #[test]
    fn the_incomplete_beta_function_is_scipy_s() {
        for (a, b, x, expected) in
            [(0.5, 0.5, 0.5, 0.5), (30.5, 12.5, 0.5, 0.002_423_218_184_7), (2.0, 3.0, 0.25, 0.261_718_75)]
        {
            let found = incomplete_beta(a, b, x);
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

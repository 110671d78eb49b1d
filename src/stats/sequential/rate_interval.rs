//! A rate that holds still, for showing.

use super::allowed;
use super::counts::Events;
use super::e_value::ln;
use super::interval::Interval;
use crate::base::invalid::ArgumentError;

/// The interval that holds a rate at all times with an error of at most `alpha`, after what was counted: a
/// beta-binomial confidence sequence (Howard et al. 2021), tightest at about `tuned_to` units.
///
/// For showing: it assumes that the rate holds still.
///
/// # Errors
///
/// More events than units, an error that is not between 0 and 1, or one that is tuned to 0 units.
pub fn rate_interval(counted: Events, alpha: f64, tuned_to: u64) -> Result<Interval, ArgumentError> {
    let Events { events, units } = counted;
    ArgumentError::unless(
        events <= units,
        "the number of events",
        events,
        format!("at most the {units} units"),
    )?;
    ArgumentError::unless(tuned_to > 0, "the number of units that it is tuned to", tuned_to, "1 or more")?;
    allowed::error(alpha).map(|()| holding(counted, alpha, tuned_to))
}

/// The same of arguments that are known to be some.
pub(crate) fn holding(counted: Events, alpha: f64, tuned_to: u64) -> Interval {
    let Events { events, units } = counted;
    if units == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (events, units) = (events as f64, units as f64);
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
    Interval {
        low: if excluded(1e-12) { edge(1e-12) } else { 0.0 },
        high: if excluded(1.0 - 1e-12) { edge(1.0 - 1e-12) } else { 1.0 },
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: confseq 0.0.11, `bernoulli_confidence_interval(30, 100, 0.05, t_opt=100)`.
    #[test]
    fn the_interval_of_a_rate_is_confseq_s() {
        let Interval { low, high } = rate_interval(Events { events: 30, units: 100 }, 0.05, 100).unwrap();
        assert!((low - 0.173_634_908_412_304_9).abs() < 1e-5, "{low}");
        assert!((high - 0.447_676_697_789_347_7).abs() < 1e-5, "{high}");
    }

    #[test]
    fn intervals_hold_what_was_observed_and_never_leave_the_range() {
        for (events, units) in [(0, 0), (0, 1), (1, 1), (0, 5_000), (5_000, 5_000), (1 << 52, 1 << 53)] {
            let Interval { low, high } = rate_interval(Events { events, units }, 0.05, 1_000).unwrap();
            assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high) && low <= high);
            if units > 0 {
                let observed = events as f64 / units as f64;
                assert!(low <= observed && observed <= high, "{low} {observed} {high}");
            }
        }
    }

    #[test]
    fn nothing_is_clamped() {
        let refused = |events, units, alpha, tuned_to| {
            rate_interval(Events { events, units }, alpha, tuned_to).unwrap_err().argument
        };
        assert_eq!(refused(3, 2, 0.05, 100), "the number of events");
        assert_eq!(refused(1, 2, 0.0, 100), "the error");
        assert_eq!(refused(1, 2, 0.05, 0), "the number of units that it is tuned to");
    }
}

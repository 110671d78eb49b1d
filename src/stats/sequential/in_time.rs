//! What happens in time, in two stretches: how many times as often it does in one of them.

use super::e_value::{EValue, ln, ln_sum_exp};

/// Occurrences over some time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct InTime {
    pub(crate) times: u64,
    pub(crate) days: f64,
}

/// Before anything is seen, a rate is thought to be one in ten seconds to one in three years, each power of ten as likely as another: a
/// mixture of Gamma distributions of shape one half. One of them alone would hold a service that ends each minute for impossible.
const SHAPE: f64 = 0.5;
const DAYS: [f64; 8] = [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1_000.0];

/// The evidence that something happens more than `times` as often in one stretch as in another, where both rates are unknown.
///
/// The mean of the likelihood over what the rates may be, divided by the largest likelihood that the hypothesis allows: under the
/// hypothesis it is at most the same ratio to the true rates, which is a martingale. So it may be looked at at any time, and it does not
/// matter which stretch came first, how long each goes on, or what that was decided by (Wasserman, Ramdas & Balakrishnan, "Universal
/// inference", PNAS 2020, section 8). Unlike [`RateRatio`](super::RateRatio) it rests on rates that stay as they are in each
/// stretch, since nothing runs beside the other.
pub(crate) fn more_often(here: InTime, there: InTime, times: f64) -> EValue {
    let (k, m) = (here.times as f64, there.times as f64);
    let (s, t) = (here.days.max(0.0), there.days.max(0.0));
    if here.times == 0 || !(s + t).is_finite() {
        return EValue::ONE;
    }
    let mean = |count: f64, days: f64| {
        let gamma = libm::lgamma(SHAPE + count) - libm::lgamma(SHAPE);
        let each = DAYS.map(|prior| gamma + SHAPE * ln(prior) - (SHAPE + count) * ln(prior + days));
        ln_sum_exp(&each).unwrap_or(f64::NEG_INFINITY) - ln(DAYS.len() as f64)
    };
    // `x ln y`, where nothing is nothing.
    let log = |count: f64, rate: f64| if count > 0.0 { count * ln(rate.max(f64::MIN_POSITIVE)) } else { 0.0 };
    let best = if k * t <= times * m * s {
        // The rates that fit best are allowed. What has never happened fits a rate of 0.
        let fit = |count: f64, days: f64| log(count, count / days.max(f64::MIN_POSITIVE)) - count;
        fit(k, s) + fit(m, t)
    } else {
        let rate = (k + m) / (t + times * s).max(f64::MIN_POSITIVE);
        log(m, rate) + log(k, times * rate) - (k + m)
    };
    EValue::rounded_down(mean(k, s) + mean(m, t) - best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::SplitMix64;

    fn of(times: u64, days: f64) -> InTime {
        InTime { times, days }
    }

    /// By hand: 2 in a hundredth of a day against 0 in 70 days. The rates that are allowed and fit best are 2 / 70.02 and twice
    /// that, so the largest likelihood is `(4 / 70.02)^2 e^-2`; a Gamma distribution of shape one half and rate `b` gives
    /// `sqrt(b / (b + 70))` of nothing in 70 days, and `.75 sqrt(b) / (b + .01)^2.5` of 2 in a hundredth of one.
    #[test]
    fn the_e_value_is_the_one_computed_by_hand() {
        let e = more_often(of(2, 0.01), of(0, 70.0), 2.0);
        let largest = (4.0_f64 / 70.02).powi(2) * (-2.0_f64).exp();
        let over = |likelihood: fn(f64) -> f64| DAYS.into_iter().map(likelihood).sum::<f64>() / 8.0;
        let there = over(|b| (b / (b + 70.0)).sqrt());
        let here = over(|b| 0.75 * b.sqrt() / (b + 0.01).powf(2.5));
        assert!((e.value() / (here * there / largest) - 1.0).abs() < 1e-9, "{e:?}");
        assert_eq!(more_often(of(0, 5.0), of(9, 1.0), 2.0), EValue::ONE);
        assert!(more_often(of(10, 10.0), of(10, 10.0), 2.0) < EValue::ONE);
        // What docs/fleet.md says: four processes, of which one has ended in eight hours of theirs, and then one in 7.6 minutes. An error
        // of 0.64 % asks for 156.
        let every =
            |ends: u64| more_often(of(ends, ends as f64 * 455.0 / 86_400.0), of(1, 28_700.0 / 86_400.0), 2.0);
        assert!(every(8).value() < 156.0 && every(9).value() > 156.0, "{:?} {:?}", every(8), every(9));
        // More is known the more often it happens.
        let rising = (1..9).map(|times| more_often(of(times, 0.01), of(3, 70.0), 2.0));
        assert!(rising.is_sorted());
    }

    /// Looked at after every event, where the rate here is exactly as many times the other as is allowed, whatever that is.
    #[test]
    fn it_is_wrong_no_more_often_than_it_says() {
        let mut chance = SplitMix64(17);
        let mut waits = |rate: f64| -ln(1.0 - chance.uniform()) / rate;
        let mut wrong = 0;
        let runs = 4_000;
        for run in 0..runs {
            let rate = [0.01, 0.3, 1.0, 20.0][run % 4];
            let (mut here, mut there) = (InTime::default(), InTime::default());
            // A week of one stretch, then the other for up to 60 events: the order in which a rollout meets them.
            let mut until = waits(rate);
            while until < 7.0 {
                there.times += 1;
                until += waits(rate);
            }
            there.days = 7.0;
            let mut most = EValue::ONE;
            for _ in 0..60 {
                here.days += waits(2.0 * rate);
                here.times += 1;
                most = most.max(more_often(here, there, 2.0));
            }
            wrong += u64::from(most >= EValue::against(0.05));
        }
        assert!(wrong <= runs as u64 / 20, "{wrong} of {runs}");
    }
}

//! Whether units arrive in the shares they were sent in.

use serde::{Deserialize, Serialize};

use super::counts::{Additive, ByOdds, Events};
use super::e_value::{EValue, ln};
use super::rate_interval::ln_beta;
use super::test::SequentialTest;

/// A sample-ratio mismatch: that the units counted of the two arms do not come in the shares in which traffic was split.
///
/// Such a mismatch says nothing about the model and everything about the figures: telemetry was lost, units were counted
/// twice, or the split is not what it is taken for. Around 6 % of the experiments at Microsoft had one (Fabijan et al.,
/// KDD 2019). Counts units. With labelled units it is the test of whether labels arrive alike for both.
///
/// The Dirichlet-multinomial e-process of Lindon & Malek (NeurIPS 2022), `ln E = ln B(k t + n) - ln B(k t) - sum n ln t`,
/// counted apart for each share; the e-values of shares that followed each other multiply.
///
/// ```
/// use switchback::Share;
/// use switchback::stats::sequential::{ByOdds, Events, Odds, SampleRatio, SequentialTest};
///
/// let odds = Odds::new(Share::new(0.1)?, Share::new(0.9)?).unwrap();
/// let mut counted = ByOdds::<Events>::default();
/// counted.at(odds).candidate.units = 1_100;
/// counted.at(odds).live.units = 8_900;
/// let mismatch = SampleRatio::default().e_value(&counted);
/// assert!(mismatch.p_value() > SampleRatio::ALPHA); // 1,100 of 10,000 is suspicious, and not yet an alarm
/// # Ok::<(), switchback::ShareError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio {
    concentration: f64,
}

impl SampleRatio {
    /// The error at which a mismatch is called one: an alarm here says that nothing else can be believed, so it must not
    /// be raised lightly.
    pub const ALPHA: f64 = 0.001;
}

/// A prior that is worth 100 units: tuned to mismatches of some percent.
impl Default for SampleRatio {
    fn default() -> Self {
        Self { concentration: 100.0 }
    }
}

impl SequentialTest for SampleRatio {
    type Counts = ByOdds<Events>;

    fn e_value(&self, counts: &ByOdds<Events>) -> EValue {
        let of_share = |(odds, arms): (super::Odds, &super::Arms<Events>)| {
            let shares = [odds.share(), 1.0 - odds.share()];
            mismatch(self.concentration, &shares, &[arms.candidate.units, arms.live.units])
        };
        let followed = counts.iter().filter(|(_, arms)| !(arms.candidate.is_empty() && arms.live.is_empty()));
        followed.map(of_share).sum()
    }
}

/// The e-value of a mismatch among several arms.
fn mismatch(concentration: f64, shares: &[f64], units: &[u64]) -> EValue {
    let ln_beta_of = |alphas: &[f64]| match alphas {
        [a, b] => ln_beta(*a, *b),
        _ => alphas.iter().map(|a| libm::lgamma(*a)).sum::<f64>() - libm::lgamma(alphas.iter().sum()),
    };
    let prior: Vec<f64> = shares.iter().map(|share| concentration * share).collect();
    let posterior: Vec<f64> = prior.iter().zip(units).map(|(a, n)| a + *n as f64).collect();
    let expected: f64 = shares.iter().zip(units).map(|(share, n)| *n as f64 * ln(*share)).sum();
    let ln_e = ln_beta_of(&posterior) - ln_beta_of(&prior) - expected;
    // The gamma functions of large counts leave some digits behind.
    let size: f64 = posterior.iter().sum();
    EValue::from_ln(ln_e - size * ln(size + 2.0) * 1e-14)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: Lindon & Malek 2022 with savvi 0.3.1 (`Multinomial`, k = 100).
    #[test]
    fn mismatches_are_savvi_s() {
        let found = mismatch(100.0, &[0.9, 0.1], &[8_900, 1_100]).value();
        assert!((found - 19.870_811_084_074_166).abs() < 1e-5, "{found}");
        let found = mismatch(100.0, &[0.5, 0.25, 0.25], &[5_200, 2_450, 2_350]).value();
        assert!((found - 77.674_213_673_871_22).abs() < 1e-4, "{found}");
    }

    #[test]
    fn large_counts_in_their_shares_are_no_mismatch() {
        for exponent in [20, 40, 52] {
            let units = 1_u64 << exponent;
            assert!(mismatch(100.0, &[0.25, 0.75], &[units, 3 * units]) < EValue::ONE, "{exponent}");
        }
        assert!(mismatch(100.0, &[0.5, 0.5], &[1 << 40, (1 << 40) + (1 << 30)]) > EValue::of(1e12));
    }
}

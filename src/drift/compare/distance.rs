//! How far two distributions are apart, from counts in the same bins.

use serde::{Deserialize, Serialize};

/// How far the rows of a window are from those of a reference, in every measure that people use. Each costs O(bins).
///
/// None of them says whether that is more than chance does: two small samples of one distribution are far apart. See
/// [`Test`](crate::drift::Test).
///
/// With p the shares of the reference's bins, q those of the window's:
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Distances {
    /// The population stability index, `sum (q - p) ln(q / p)` (Siddiqi, "Credit risk scorecards", 2006). Bankers call
    /// 0.1 a shift and 0.25 a large one, whatever the number of rows, which is wrong for few. An empty bin counts as
    /// half a row, where that is finite only so.
    pub psi: f64,
    /// The Jensen-Shannon divergence in nats, `H((p + q) / 2) - (H(p) + H(q)) / 2`, from 0 to ln 2 (Lin, IEEE Trans.
    /// Inf. Theory 37, 1991).
    pub jensen_shannon: f64,
    /// The Hellinger distance, `sqrt(1 - sum sqrt(p q))`, from 0 to 1.
    pub hellinger: f64,
    /// The total variation distance, `sum |p - q| / 2`: the share of rows that would have to move to another bin.
    pub total_variation: f64,
    /// The largest change of a bin's share, `max |p - q|`.
    pub l_infinity: f64,
    /// The Kolmogorov-Smirnov distance at the edges of bins, `max |P - Q|` of the cumulative shares; at most what it is
    /// without bins. Numbers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kolmogorov_smirnov: Option<f64>,
    /// The Wasserstein-1 distance with each bin's rows at its middle, in the unit of the feature: by how much a row has
    /// moved on average. Numbers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasserstein: Option<f64>,
    /// Pearson's statistic of the table of two rows.
    pub chi_squared: f64,
    /// The degrees of freedom of that: bins that are not empty in both, less one.
    pub degrees: u32,
}

impl Distances {
    /// Between two samples counted in the same bins; what one has more of is passed over. `centres` are the middles of
    /// the bins where they are in order, as those of numbers are. Nothing where a sample is empty.
    pub fn between(reference: &[u64], window: &[u64], centres: Option<&[f64]>) -> Option<Self> {
        let bins: Vec<(u64, u64)> = reference.iter().copied().zip(window.iter().copied()).collect();
        let shares = Shares::of(&bins)?;
        Some(Self {
            psi: shares.psi(),
            jensen_shannon: shares.jensen_shannon(),
            hellinger: shares.hellinger(),
            total_variation: shares.differences().map(f64::abs).sum::<f64>() / 2.0,
            l_infinity: shares.differences().map(f64::abs).fold(0.0, f64::max),
            kolmogorov_smirnov: centres.map(|_| shares.kolmogorov_smirnov()),
            wasserstein: centres.map(|centres| shares.wasserstein(centres)),
            chi_squared: shares.chi_squared(),
            degrees: shares.degrees(),
        })
    }

    /// The square root of the divergence: a distance in the sense of the word, from 0 to 0.833. A distance of 0.1 is a
    /// PSI of about 0.08.
    pub fn jensen_shannon_distance(&self) -> f64 {
        self.jensen_shannon.max(0.0).sqrt()
    }
}

/// The bins of two samples, neither of them empty.
pub(crate) struct Shares<'a> {
    bins: &'a [(u64, u64)],
    /// How many rows each has.
    pub(crate) reference: f64,
    pub(crate) window: f64,
}

impl<'a> Shares<'a> {
    pub(crate) fn of(bins: &'a [(u64, u64)]) -> Option<Self> {
        let reference: f64 = bins.iter().map(|(p, _)| *p as f64).sum();
        let window: f64 = bins.iter().map(|(_, q)| *q as f64).sum();
        (reference > 0.0 && window > 0.0).then_some(Self { bins, reference, window })
    }

    fn shares(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.bins.iter().map(|(p, q)| (*p as f64 / self.reference, *q as f64 / self.window))
    }

    fn differences(&self) -> impl Iterator<Item = f64> + '_ {
        self.shares().map(|(p, q)| q - p)
    }

    pub(crate) fn psi(&self) -> f64 {
        let half = |count: u64, rows: f64| if count == 0 { 0.5 } else { count as f64 } / rows;
        let filled = self.bins.iter().filter(|(p, q)| (*p, *q) != (0, 0));
        filled
            .map(|(p, q)| (half(*p, self.reference), half(*q, self.window)))
            .map(|(p, q)| (q - p) * libm::log(q / p))
            .sum()
    }

    pub(crate) fn jensen_shannon(&self) -> f64 {
        let part = |share: f64, middle: f64| {
            if share > 0.0 { share * libm::log(share / middle) } else { 0.0 }
        };
        let parts = self.shares().map(|(p, q)| {
            let middle = f64::midpoint(p, q);
            part(p, middle) + part(q, middle)
        });
        (parts.sum::<f64>() / 2.0).clamp(0.0, std::f64::consts::LN_2)
    }

    /// 1 - sum sqrt(p q), as half the sum of squares: nothing is lost where both are nearly the same.
    pub(crate) fn hellinger_squared(&self) -> f64 {
        let parts = self.shares().map(|(p, q)| (p.sqrt() - q.sqrt()) * (p.sqrt() - q.sqrt()));
        (parts.sum::<f64>() / 2.0).clamp(0.0, 1.0)
    }

    fn hellinger(&self) -> f64 {
        self.hellinger_squared().sqrt()
    }

    /// The differences of the cumulative shares, after each bin.
    fn cumulative(&self) -> impl Iterator<Item = f64> + '_ {
        self.differences().scan(0.0, |sum, difference| {
            *sum += difference;
            Some(*sum)
        })
    }

    pub(crate) fn kolmogorov_smirnov(&self) -> f64 {
        // After the last bin there is no difference but that of rounding.
        self.cumulative().take(self.bins.len().saturating_sub(1)).map(f64::abs).fold(0.0, f64::max)
    }

    fn wasserstein(&self, centres: &[f64]) -> f64 {
        let steps = centres.windows(2).map(|two| match two {
            [low, high] => high - low,
            _ => 0.0,
        });
        self.cumulative().zip(steps).map(|(difference, step)| difference.abs() * step).sum()
    }

    pub(crate) fn chi_squared(&self) -> f64 {
        let all = self.reference + self.window;
        let parts = self.bins.iter().filter(|(p, q)| (*p, *q) != (0, 0)).map(|(p, q)| {
            let (p, q) = (*p as f64, *q as f64);
            let (of_p, of_q) = ((p + q) * self.reference / all, (p + q) * self.window / all);
            (p - of_p) * (p - of_p) / of_p + (q - of_q) * (q - of_q) / of_q
        });
        parts.sum()
    }

    pub(crate) fn degrees(&self) -> u32 {
        let filled = self.bins.iter().filter(|(p, q)| (*p, *q) != (0, 0)).count();
        u32::try_from(filled.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The shares of all rows, both samples taken together, up to the end of each bin but the last.
    pub(crate) fn cuts(&self) -> Vec<f64> {
        let all = self.reference + self.window;
        let mut sum = 0.0;
        let ends = self.bins.iter().map(|(p, q)| {
            sum += (*p as f64 + *q as f64) / all;
            sum
        });
        let mut ends: Vec<f64> = ends.collect();
        ends.pop();
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-14 + 1e-13 * expected.abs(), "{found} {expected}");
    }

    /// SciPy 1.17.1: `jensenshannon` (squared), `chi2_contingency`; PSI, Hellinger and the rest by NumPy from the
    /// formulas.
    #[test]
    fn distances_are_those_of_scipy() {
        let (reference, window) = ([100, 200, 300, 200, 100, 60, 40], [20, 45, 50, 50, 20, 10, 5]);
        let found = Distances::between(&reference, &window, None).unwrap();
        close(found.psi, 0.032_091_101_303_443_37);
        close(found.jensen_shannon_distance(), 0.063_232_706_285_169_51);
        close(found.jensen_shannon_distance() / std::f64::consts::LN_2.sqrt(), 0.075_950_220_487_328_9);
        close(found.hellinger, 0.063_283_937_845_817_64);
        close(found.total_variation, 0.075);
        close(found.l_infinity, 0.05);
        close(found.chi_squared, 5.224_489_795_918_368);
        assert_eq!((found.degrees, found.kolmogorov_smirnov, found.wasserstein), (6, None, None));
    }

    /// SciPy 1.17.1, `ks_2samp` and `wasserstein_distance` on the values themselves: 0.084 and 0.034934.
    #[test]
    fn with_narrow_bins_distances_of_numbers_are_those_without_any() {
        let value = |i: u64, step: u64| (step * i % 1_000) as f64 / 1_000.0;
        let bin = |x: f64| (x * 64.0).min(63.0) as usize;
        let (mut reference, mut window) = ([0; 64], [0; 64]);
        (1..=500).for_each(|i| reference[bin(value(i, 37))] += 1);
        (1..=300).for_each(|i| window[bin(0.9 * value(i, 53) + 0.08)] += 1);
        let centres: Vec<f64> = (0..64).map(|bin| (f64::from(bin) + 0.5) / 64.0).collect();
        let found = Distances::between(&reference, &window, Some(&centres)).unwrap();
        let (ks, wasserstein) = (found.kolmogorov_smirnov.unwrap(), found.wasserstein.unwrap());
        assert!((0.078..=0.084 + 1e-12).contains(&ks), "{ks}");
        assert!((wasserstein - 0.034_934).abs() < 0.002, "{wasserstein}");
    }

    #[test]
    fn without_rows_there_is_no_distance() {
        assert_eq!(Distances::between(&[], &[], None), None);
        assert_eq!(Distances::between(&[1, 2], &[0, 0], Some(&[0.5, 1.5])), None);
        assert_eq!(Distances::between(&[0], &[7], None), None);
    }

    proptest! {
        #[test]
        fn distances_are_finite_within_their_bounds_and_zero_for_the_same(
            bins in prop::collection::vec((0..1_u64 << 53, 0..1_u64 << 53), 1..70)
        ) {
            let (p, q): (Vec<u64>, Vec<u64>) = bins.into_iter().unzip();
            let centres: Vec<f64> = (0..p.len()).map(|bin| bin as f64).collect();
            if let Some(found) = Distances::between(&p, &q, Some(&centres)) {
                let ks = found.kolmogorov_smirnov.unwrap();
                prop_assert!(found.psi.is_finite() && found.psi >= 0.0);
                prop_assert!((0.0..=1.0).contains(&found.hellinger));
                prop_assert!(found.l_infinity <= 1.0 + 1e-12 && found.total_variation <= 1.0 + 1e-12);
                prop_assert!(ks <= found.total_variation + 1e-12 && found.wasserstein.unwrap().is_finite());
                prop_assert!(found.chi_squared.is_finite() && found.chi_squared >= 0.0);
            }
            if let Some(same) = Distances::between(&p, &p, Some(&centres)) {
                prop_assert!(same.psi < 1e-12 && same.jensen_shannon < 1e-12 && same.total_variation == 0.0);
            }
        }
    }
}

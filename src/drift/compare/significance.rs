//! Whether two samples are further apart than chance puts them, knowing how large both are.

use serde::{Deserialize, Serialize};

use super::distance::Shares;
use super::tail::{FEW, chi_squared, two_shares};

/// Which statistic says whether a distribution has drifted.
///
/// All know both sample sizes. A threshold that does not is wrong for few rows: with ten bins, no drift and a window of
/// 100 rows, some 40 % of windows have a PSI above 0.1 (`benches/drift`).
///
/// Bins of which fewer than five rows are to be expected in the smaller sample are taken together; where that is still
/// fewer, they are compared with the rest exactly, and the smaller of the two p-values counts twice (Bonferroni).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Test {
    /// The Jensen-Shannon divergence, of which `8 n m / (n + m)` times is chi-squared with one degree less than there
    /// are bins (Menéndez, Pardo, Pardo & Pardo, J. Franklin Inst. 334B, 1997). The default: it is bounded, and needs
    /// no rule for empty bins.
    #[default]
    JensenShannon,
    /// The population stability index, of which `1 / (1/n + 1/m)` times is chi-squared (Yurdakul, "Statistical
    /// properties of the population stability index", 2018).
    Psi,
    /// The Hellinger distance squared, of which `8 n m / (n + m)` times is chi-squared, as for Jensen-Shannon.
    Hellinger,
    /// Pearson's chi-squared.
    ChiSquared,
    /// Kolmogorov-Smirnov at the edges of bins: sees shifts of a whole distribution soonest. Numbers only; categories
    /// are tested by Jensen-Shannon.
    KolmogorovSmirnov,
}

/// The statistic of a test, and the probability of one as large by chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Significance {
    pub(crate) statistic: f64,
    pub(crate) p: f64,
}

/// Rows of the reference and of the window.
type Pair = (u64, u64);

/// Two samples, in cells that are compared.
pub(crate) struct Compared {
    frequent: Vec<Pair>,
    /// Bins of which few rows are to be expected, as one.
    rare: Pair,
    all: Pair,
}

impl Compared {
    /// `tail` is counted with what is rare, in whichever bin it lies: of categories the others and the unseen, since
    /// those that a few rows of training had do not come again, and others come in their place.
    ///
    /// A bin is rare by what both samples have, so that under the hypothesis it does not depend on which sample is
    /// which.
    pub(crate) fn new(reference: &[u64], window: &[u64], tail: Pair) -> Self {
        let add = |sum: Pair, bin: Pair| (sum.0.saturating_add(bin.0), sum.1.saturating_add(bin.1));
        let bins: Vec<Pair> = reference.iter().copied().zip(window.iter().copied()).collect();
        let all = bins.iter().copied().fold(tail, add);
        let (rare, frequent): (Vec<Pair>, Vec<Pair>) =
            bins.into_iter().partition(|bin| expected(*bin, all) < FEW);
        Self { frequent, rare: rare.into_iter().fold(tail, add), all }
    }

    /// How many bins have enough rows by themselves.
    pub(crate) fn frequent_bins(&self) -> u32 {
        u32::try_from(self.frequent.len()).unwrap_or(u32::MAX)
    }

    /// All of it, what is rare last.
    pub(crate) fn cells(&self) -> (Vec<u64>, Vec<u64>) {
        self.frequent.iter().copied().chain([self.rare]).unzip()
    }
}

/// How many of these rows are to be expected in the smaller sample, if both are alike.
fn expected(rows: Pair, all: Pair) -> f64 {
    let (reference, window) = (all.0 as f64, all.1 as f64);
    (rows.0 as f64 + rows.1 as f64) * reference.min(window) / (reference + window).max(1.0)
}

impl Test {
    /// Of categories, or of numbers as if they had no order. Nothing where a sample is empty.
    pub(crate) fn of(self, compared: &Compared) -> Option<Significance> {
        let Compared { frequent, rare, all } = compared;
        if all.0 == 0 || all.1 == 0 {
            return None;
        }
        let mut cells = frequent.clone();
        let apart = *rare != (0, 0) && expected(*rare, *all) < FEW;
        if *rare != (0, 0) && !apart {
            cells.push(*rare);
        }
        let Significance { statistic, mut p } = self.scaled(&cells);
        if apart && !cells.is_empty() {
            let exact = two_shares((rare.0, all.0), (rare.1, all.1));
            p = if cells.len() > 1 { (2.0 * p.min(exact)).min(1.0) } else { exact };
        }
        Some(Significance { statistic, p })
    }

    /// Of numbers, whose bins have an order. Nothing where a sample is empty.
    pub(crate) fn of_ordered(self, reference: &[u64], window: &[u64]) -> Option<Significance> {
        let bins: Vec<Pair> = reference.iter().copied().zip(window.iter().copied()).collect();
        let ordered =
            (self == Self::KolmogorovSmirnov).then(|| kolmogorov_smirnov(&Shares::of(&bins)?)).flatten();
        ordered.or_else(|| self.of(&Compared::new(reference, window, (0, 0))))
    }

    /// The statistic that is chi-squared in the limit, and its tail.
    fn scaled(self, bins: &[Pair]) -> Significance {
        let Some(shares) = Shares::of(bins) else { return Significance { statistic: 0.0, p: 1.0 } };
        let rows = shares.reference * shares.window / (shares.reference + shares.window);
        let statistic = match self {
            Self::Psi => shares.psi() * rows,
            Self::Hellinger => 8.0 * shares.hellinger_squared() * rows,
            Self::ChiSquared => shares.chi_squared(),
            Self::JensenShannon | Self::KolmogorovSmirnov => 8.0 * shares.jensen_shannon() * rows,
        };
        let degrees = shares.degrees();
        let mean = 1.0 + self.excess_of(bins, &shares) / f64::from(degrees.max(1));
        Significance { statistic, p: chi_squared(statistic / mean, degrees) }
    }

    /// By how much the mean of the statistic of these bins exceeds its degrees of freedom.
    pub(crate) fn excess_of(self, bins: &[Pair], shares: &Shares<'_>) -> f64 {
        let inverse: f64 =
            bins.iter().map(|(p, q)| *p as f64 + *q as f64).filter(|c| *c > 0.0).map(f64::recip).sum();
        self.excess(shares.window / (shares.reference + shares.window)) * inverse
    }

    /// The same, over the sum of `1 / c`, c being the rows
    /// of a bin in both samples, where the window has a share of `w` of all rows. Dividing by the mean is Bartlett's
    /// correction (Proc. R. Soc. A 160, 1937); without it the statistics alarm in up to 7.5 % of windows of a hundred
    /// rows instead of 5.
    ///
    /// From the Taylor series to the fourth order in `u`, where a bin's shares are `1 + u / w` and `1 - u / (1 - w)`
    /// times its share of all rows; given its rows `c`, `u` has the moments `v / c`, `v (1 - 2 w) / c^2` and `3 v^2 /
    /// c^2` with `v = w (1 - w)`. Pearson's has none.
    fn excess(self, w: f64) -> f64 {
        let v = w * (1.0 - w);
        let (a, b) = (1.0 / w, -1.0 / (1.0 - w));
        // The terms of the series, in the third and fourth power of u.
        let (cube, fourth) = match self {
            Self::ChiSquared => (0.0, 0.0),
            Self::Psi => {
                let apart = a - b;
                (-apart * (a * a - b * b) / 2.0, apart * (a.powi(3) - b.powi(3)) / 3.0)
            }
            Self::Hellinger => {
                let (s, t) = (a + b, a * b);
                let cube = s * t / 4.0 - s.powi(3) / 16.0;
                let fourth = t * t / 8.0 - 3.0 * s * s * t / 16.0 + 5.0 * s.powi(4) / 128.0;
                (8.0 * cube, 8.0 * fourth)
            }
            Self::JensenShannon | Self::KolmogorovSmirnov => {
                let middle = f64::midpoint(a, b);
                let curve = |power: i32| f64::midpoint(a.powi(power), b.powi(power)) - middle.powi(power);
                (-8.0 * curve(3) / 6.0, 8.0 * curve(4) / 12.0)
            }
        };
        v * (cube * v * (1.0 - 2.0 * w) + fourth * 3.0 * v * v)
    }
}

/// The statistic `D sqrt(n m / (n + m))`, in the limit the largest distance from 0 of a Brownian bridge: at the edges
/// of the bins, not everywhere, so that few bins do not make the test timid. Nothing where nearly all rows are in one
/// bin: then there is no order to look at.
fn kolmogorov_smirnov(shares: &Shares<'_>) -> Option<Significance> {
    let rows = shares.reference * shares.window / (shares.reference + shares.window);
    let statistic = shares.kolmogorov_smirnov() * rows.sqrt();
    Some(Significance { statistic, p: bridge(&shares.cuts(), statistic)? })
}

/// How likely a Brownian bridge is to be further than `limit` from 0 at one of the moments `cuts`, which lie in order
/// between 0 and 1: its density, with what has gone further taken away, is carried from cut to cut on a grid. Nothing
/// where all cuts are too near an end.
fn bridge(cuts: &[f64], limit: f64) -> Option<f64> {
    const POINTS: usize = 64;
    const STEP_MIN: f64 = 0.004;
    if limit <= 0.0 {
        return Some(1.0);
    }
    // The bridge is a walk that ends at 0; beyond four standard deviations it does not come.
    let (reach, spacing) = (limit.min(2.5), 2.0 * limit.min(2.5) / POINTS as f64);
    let at = |point: usize| (point as f64 + 0.5) * spacing - reach;
    let normal = |distance: f64, time: f64| {
        libm::exp(-distance * distance / (2.0 * time)) / (2.0 * std::f64::consts::PI * time).sqrt()
    };
    let mut density: Option<Vec<f64>> = None;
    let mut now = 0.0;
    // Cuts that lie closer together than the grid can tell apart are nearly one.
    for cut in cuts.iter().copied() {
        if cut - now < STEP_MIN || 1.0 - cut < STEP_MIN {
            continue;
        }
        let time = cut - now;
        density = Some(match density {
            None => (0..POINTS).map(|point| normal(at(point), time)).collect(),
            Some(before) => {
                // Distances on the grid repeat: one exponential each.
                let kernel: Vec<f64> =
                    (0..POINTS).map(|apart| normal(apart as f64 * spacing, time) * spacing).collect();
                let reached = |to: usize| {
                    let from = |(from, density): (usize, &f64)| {
                        density * kernel.get(from.abs_diff(to)).copied().unwrap_or(0.0)
                    };
                    before.iter().enumerate().map(from).sum::<f64>()
                };
                (0..POINTS).map(reached).collect()
            }
        });
        now = cut;
    }
    let density = density?;
    let home = density.iter().enumerate().map(|(point, density)| density * normal(at(point), 1.0 - now));
    let stayed = home.sum::<f64>() * spacing * (2.0 * std::f64::consts::PI).sqrt();
    // Where nearly all stay, the sum says no more than rounding; the bound over cuts apart does.
    let bound: f64 = cuts
        .iter()
        .map(|cut| (cut * (1.0 - cut)).max(1e-12))
        .map(|variance| super::tail::chi_squared(limit * limit / variance, 1))
        .sum();
    let least = bound / cuts.len().max(1) as f64;
    Some(if bound < 1e-4 { bound } else { (1.0 - stayed).min(bound).clamp(least.min(1.0), 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REFERENCE: [u64; 7] = [100, 200, 300, 200, 100, 60, 40];
    const WINDOW: [u64; 7] = [20, 45, 50, 50, 20, 10, 5];

    /// SciPy 1.17.1, `chi2_contingency`, and the scaled divergence by NumPy. No bin is rare here: of the last, nine are
    /// to be expected in the window.
    #[test]
    fn p_values_know_both_sample_sizes() {
        let found = Test::ChiSquared.of_ordered(&REFERENCE, &WINDOW).unwrap();
        assert!((found.p - 0.515_359_921_002_822_6).abs() < 1e-12);
        let found = Test::JensenShannon.of_ordered(&REFERENCE, &WINDOW).unwrap();
        assert!((found.statistic - 5.331_166_858_862_022).abs() < 1e-12);
        assert!((chi_squared(found.statistic, 6) - 0.502_092_577_942_154_6).abs() < 1e-12);
        // A little more by chance than in the limit.
        assert!((0.502..0.515).contains(&found.p), "{}", found.p);
        // The PSI that 95 % of windows of 200 rows stay below, against 1,000: chi-squared's quantile over the sizes.
        let (psi, rows) = (0.075_549_523_462_463_87, 1_000.0 * 200.0 / 1_200.0);
        assert!((chi_squared(psi * rows, 6) - 0.05).abs() < 1e-9);
    }

    /// By hand, where the reference is without end: 3/8, 1/2 and 7/16 over the rows to be expected; and for two samples
    /// of one size, 1/4 for Jensen-Shannon.
    #[test]
    fn small_samples_are_corrected_as_the_series_says() {
        let w = 1e-7;
        for (test, expected) in [
            (Test::JensenShannon, 0.375),
            (Test::Psi, 0.5),
            (Test::Hellinger, 0.4375),
            (Test::ChiSquared, 0.0),
        ] {
            let found = test.excess(w) * w;
            assert!((found - expected).abs() < 1e-4, "{test:?} {found}");
        }
        assert!((Test::JensenShannon.excess(0.5) / 2.0 - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_category_that_appears_is_seen_however_rare_it_was() {
        let found = Test::JensenShannon.of_ordered(&[5_000, 5_000, 0], &[50, 40, 10]).unwrap();
        assert!(found.p < 1e-12, "{}", found.p);
        // A constant that becomes another.
        let found = Test::JensenShannon.of_ordered(&[0, 10_000, 0], &[0, 0, 100]).unwrap();
        assert!(found.p < 1e-50, "{}", found.p);
        let found = Test::KolmogorovSmirnov.of_ordered(&[0, 10_000_000, 0], &[0, 0, 100]).unwrap();
        assert!(found.p < 1e-50, "{}", found.p);
        let same = Test::JensenShannon.of_ordered(&[0, 10_000, 0], &[0, 100, 0]).unwrap();
        assert_eq!(same.p, 1.0);
    }

    /// Kolmogorov's own limit, SciPy 1.17.1 `kstwobign.sf`: with many cuts the bridge is nearly everywhere.
    #[test]
    fn at_many_cuts_the_bridge_comes_to_kolmogorovs_limit() {
        let cuts: Vec<f64> = (1..200).map(|cut| f64::from(cut) / 200.0).collect();
        for (limit, expected) in
            [(0.8, 0.544_142_411), (1.0, 0.269_999_672), (1.36, 0.049_485_876), (2.0, 0.000_670_925)]
        {
            // Between cuts a bridge goes some 0.58 steps further (Siegmund 1985).
            let shifted: f64 = limit - 0.5826 / 200_f64.sqrt();
            let found = bridge(&cuts, shifted).unwrap();
            assert!((found / expected - 1.0).abs() < 0.06, "{limit}: {found} {expected}");
        }
    }

    /// One cut: the bridge is normal there, with variance t (1 - t).
    #[test]
    fn at_one_cut_the_bridge_is_normal() {
        for (cut, limit) in [(0.5, 0.98), (0.2, 0.5), (0.9, 0.4)] {
            let expected = chi_squared(limit * limit / (cut * (1.0 - cut)), 1);
            let found = bridge(&[cut], limit).unwrap();
            assert!((found - expected).abs() < 2e-3, "{found} {expected}");
        }
    }

    proptest! {
        #[test]
        fn every_test_gives_a_probability(
            bins in prop::collection::vec((0..1_u64 << 40, 0..1_u64 << 40), 1..70), small in 0_u64..50
        ) {
            let (p, mut q): (Vec<u64>, Vec<u64>) = bins.into_iter().unzip();
            for scale in [1, 1 << 30, 1 << 38] {
                q.iter_mut().for_each(|count| *count = *count / scale + small);
                for test in [Test::JensenShannon, Test::Psi, Test::Hellinger, Test::ChiSquared, Test::KolmogorovSmirnov] {
                    if let Some(found) = test.of_ordered(&p, &q) {
                        prop_assert!((0.0..=1.0).contains(&found.p) && found.statistic.is_finite(), "{found:?}");
                    }
                }
            }
        }
    }
}

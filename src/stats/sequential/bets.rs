//! Betting on a fixed grid: the one mechanism behind the tests of means and rates.

use super::e_value::{EValue, ONE_NAT, exp, ln, ln_1p_down, ln_sum_exp};

/// Strategies on a fixed grid, each with a weight and a factor for every cell that an observation can fall into.
///
/// The wealth of a strategy is the product of the factors of what was observed; under the hypothesis no factor is above
/// 1 on average, so no wealth is, nor their weighted mean. Since the grid does not move, the logarithm of a wealth is a
/// sum of counts times constants: it does not depend on the order of observations, and merges by addition.
#[derive(Debug, Clone)]
pub(crate) struct Bets {
    weights: Weights,
    /// By strategy and cell.
    factors: Vec<i64>,
    cells: usize,
}

impl Bets {
    /// Strategies that stake `stakes[k]` on gains: a cell in which the observed gain is `gain` multiplies the wealth by
    /// `1 + stake * gain`. No stake times a loss may exceed 1.
    pub(crate) fn on_gains(weights: Weights, stakes: &[f64], gains: &[f64]) -> Self {
        let of_stake = |stake: &f64| gains.iter().map(|gain| ln_1p_down(*stake * *gain)).collect::<Vec<_>>();
        Self { weights, factors: stakes.iter().flat_map(of_stake).collect(), cells: gains.len() }
    }

    /// Strategies whose return in each cell is given, by strategy and cell: a cell multiplies the wealth by
    /// `1 + return`.
    pub(crate) fn of_returns(weights: Weights, returns: &[f64], cells: usize) -> Self {
        Self { weights, factors: returns.iter().copied().map(ln_1p_down).collect(), cells }
    }

    /// Adds what observations did to each strategy's logarithm of wealth. Observations come as cell and count.
    pub(crate) fn earn(&self, wealth: &mut Wealth, observed: impl IntoIterator<Item = (usize, u64)>) {
        for (cell, count) in observed {
            if count == 0 {
                continue;
            }
            let factors = self.factors.get(cell..).unwrap_or_default().iter().step_by(self.cells.max(1));
            for (log, factor) in wealth.0.iter_mut().zip(factors) {
                *log = log.saturating_add(i128::from(count) * i128::from(*factor));
            }
        }
    }

    /// How much is bet on each strategy.
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The wealth before anything was observed.
    pub(crate) fn start(&self) -> Wealth {
        self.weights.start()
    }

    /// The e-value of what was observed.
    pub(crate) fn e_value(&self, observed: impl IntoIterator<Item = (usize, u64)>) -> EValue {
        let mut wealth = self.start();
        self.earn(&mut wealth, observed);
        self.weights.mix(&wealth)
    }
}

/// The logarithms of the wealth of each strategy, in 2^-32 nats.
#[derive(Debug, Clone)]
pub(crate) struct Wealth(pub(crate) Vec<i128>);

impl Wealth {
    pub(crate) fn ln(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().map(|log| number(*log) / ONE_NAT)
    }
}

/// The nearest number. Of an integer that fits 64 bits it takes one instruction, of a wider one a routine of some thirty.
#[inline]
fn number(log: i128) -> f64 {
    i64::try_from(log).map_or_else(|_| wide(log), |log| log as f64)
}

/// Apart, since a compiler that sees what it does runs it for every integer and throws the result away.
#[cold]
#[inline(never)]
fn wide(log: i128) -> f64 {
    log as f64
}

/// The weights of the strategies, as logarithms. They add up to 1.
#[derive(Debug, Clone)]
pub(crate) struct Weights(Vec<f64>);

impl Weights {
    /// Each strategy as much as any other.
    pub(crate) fn even(strategies: usize) -> Self {
        Self(vec![-ln(strategies as f64); strategies])
    }

    /// In proportion to `shares`.
    pub(crate) fn of(shares: &[f64]) -> Self {
        let total = ln(shares.iter().sum());
        Self(shares.iter().map(|share| ln(*share) - total).collect())
    }

    pub(crate) fn start(&self) -> Wealth {
        Wealth(vec![0; self.0.len()])
    }

    /// The weights of strategies of which each is of one kind or of the other, with half of the bets on each kind.
    pub(crate) fn halves(one: &Self, other: &Self) -> Self {
        let half = ln(2.0);
        Self(one.0.iter().chain(&other.0).map(|weight| weight - half).collect())
    }

    /// The weights of pairs of strategies, one of each kind, the second changing fastest.
    pub(crate) fn pairs(one: &Self, other: &Self) -> Self {
        Self(one.0.iter().flat_map(|one| other.0.iter().map(move |other| one + other)).collect())
    }

    /// The weighted mean of the wealths.
    pub(crate) fn mix(&self, wealth: &Wealth) -> EValue {
        let logs: Vec<f64> = self.0.iter().zip(wealth.ln()).map(|(weight, log)| weight + log).collect();
        ln_sum_exp(&logs).map_or(EValue::ZERO, EValue::rounded_down)
    }
}

/// `count` numbers from `from` to `to`, each the same multiple of the one before.
pub(crate) fn log_spaced(from: f64, to: f64, count: usize) -> Vec<f64> {
    let (low, high) = (ln(from), ln(to));
    let step = (high - low) / (count.max(2) - 1) as f64;
    (0..count).map(|k| exp(low + step * k as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_both_its_ends() {
        let grid = log_spaced(0.05, 0.5, 4);
        // numpy.geomspace
        for (found, expected) in grid.iter().zip([0.05, 0.107_721_734_5, 0.232_079_441_7, 0.5]) {
            assert!((found - expected).abs() < 1e-10);
        }
    }

    #[test]
    fn a_logarithm_is_the_same_number_however_wide_it_is() {
        let edges = [0, 1, i128::from(i64::MAX), i128::from(i64::MIN), (1 << 53) + 1, (1 << 62) + (1 << 9)];
        for edge in edges {
            for log in [edge - 1, edge, edge + 1, -edge] {
                assert_eq!(number(log).to_bits(), (log as f64).to_bits(), "{log}");
            }
        }
    }

    #[test]
    fn an_unlimited_number_of_observations_neither_overflows_nor_is_a_nan() {
        let bets = Bets::on_gains(Weights::even(2), &[0.5, 0.999_999], &[1.0, -1.0]);
        let most = 1_u64 << 53;
        assert!(bets.e_value([(0, most)]) > EValue::of(1e300));
        assert!(bets.e_value([(1, most)]) < EValue::of(1e-300));
        assert!(bets.e_value([(0, most), (1, most)]) < EValue::ONE);
    }
}

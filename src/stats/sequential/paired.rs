//! Two versions on the same inputs: a shadow, and a canary that live shadows.
//!
//! Whatever makes an input hard makes it hard for both, so pairs see in hundreds what two separate arms see in tens of
//! thousands.

use serde::{Deserialize, Serialize};

use super::allowed::{self, LEAST_EXPLORED, TIMES};
use super::bets::{Bets, Wealth, Weights, log_spaced};
use super::counts::{Additive, PairedEvents, Scores};
use super::e_value::EValue;
use super::test::{Claim, SequentialTest};
use crate::base::invalid::ArgumentError;

/// The stakes, as parts of the largest that cannot lose more than there is. From 5 %: what is smaller pays off only in
/// differences that take ten thousands of pairs. Measured for 1 to 10 percentage points at 2 to 20 % discordant pairs.
fn parts() -> Vec<f64> {
    log_spaced(0.05, 0.9, 9)
}

/// How much more often the candidate has an event than live, on the same inputs, in absolute terms: accuracy 2 points
/// below live's at most.
///
/// Bets on `candidate - live`, which is -1, 0 or 1 (Waudby-Smith & Ramdas, JRSS-B 86(1) 2024). Where the margin is 0 the
/// pairs in which both are alike carry no information, and this is a sequential McNemar test: only who loses the
/// discordant pairs counts.
///
/// ```
/// use switchback::stats::sequential::{Claim, PairedDifference, PairedEvents, SequentialTest};
///
/// // Wrong answers: the candidate alone 80 times, live alone 20 times, of 1,000 inputs.
/// let wrong = PairedEvents { neither: 880, only_live: 20, only_candidate: 80, both: 20 };
/// let harm = PairedDifference::new(Claim::Harm, 0.01)?;
/// assert!(harm.e_value(&wrong).p_value() < 0.01);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PairedDifference {
    bets: Bets,
}

const WORSE: usize = 0;

const ALIKE: usize = 1;

const BETTER: usize = 2;

impl PairedDifference {
    /// A test of `claim` at the margin `margin`: how much more often the candidate may have the event.
    ///
    /// # Errors
    ///
    /// A margin that is not from -1 to 1.
    pub fn new(claim: Claim, margin: f64) -> Result<Self, ArgumentError> {
        allowed::difference(margin).map(|()| Self::nearest(claim, margin))
    }

    /// The same at the nearest margin that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: f64) -> Self {
        Self { bets: difference_bets(claim, margin, &parts(), &[1.0, 0.0, -1.0]) }
    }

    #[cfg(test)]
    fn staking(claim: Claim, margin: f64, stakes: &[f64]) -> Self {
        let gains = [1.0, 0.0, -1.0].map(|x| claim.sign() * (x - margin));
        Self { bets: Bets::on_gains(Weights::even(stakes.len()), stakes, &gains) }
    }
}

impl SequentialTest for PairedDifference {
    type Counts = PairedEvents;

    fn e_value(&self, counts: &PairedEvents) -> EValue {
        let PairedEvents { neither, only_live, only_candidate, both } = *counts;
        self.bets.e_value([
            (WORSE, only_candidate),
            (ALIKE, neither.saturating_add(both)),
            (BETTER, only_live),
        ])
    }
}

/// Bets on a difference of -1 to 1 whose mean the hypothesis keeps on one side of the margin.
fn difference_bets(claim: Claim, margin: f64, parts: &[f64], differences: &[f64]) -> Bets {
    let margin = margin.clamp(-1.0, 1.0);
    // The worst that can happen to a bet is that the difference is as far as it can be on the other side.
    let most = 1.0 / (1.0 + claim.sign() * margin).max(1e-9);
    let stakes: Vec<f64> = parts.iter().map(|part| part * most).collect();
    let gains: Vec<f64> = differences.iter().map(|x| claim.sign() * (x - margin)).collect();
    Bets::on_gains(Weights::even(stakes.len()), &stakes, &gains)
}

/// Events of two versions on the same inputs, where some answers keep the truth from ever being known: a payment that was
/// blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct HiddenEvents {
    /// Inputs whose truth is known because nothing hid it.
    pub seen: PairedEvents,
    /// Inputs whose truth is hidden, and both versions decided alike: whatever it is, neither is better for it.
    pub alike: u64,
    /// Inputs whose truth is hidden, and the versions decided differently.
    pub apart: u64,
    /// Inputs whose truth would have been hidden, that were let through by chance, and on which the versions decided
    /// differently.
    pub explored: PairedEvents,
}

impl Additive for HiddenEvents {
    fn merge(&mut self, other: &Self) {
        self.seen.merge(&other.seen);
        self.alike = self.alike.saturating_add(other.alike);
        self.apart = self.apart.saturating_add(other.apart);
        self.explored.merge(&other.explored);
    }

    fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.alike == 0 && self.apart == 0 && self.explored.is_empty()
    }
}

/// [`PairedDifference`] where some truths are hidden.
///
/// Where a share `explored` of what would be hidden is let through at random, each of these counts for `1 / explored` of
/// its kind, and the rest for nothing: right on average (Horvitz & Thompson 1952). Without that, only bounds are left: what
/// is hidden and was decided differently is taken to speak for the candidate where harm is to be shown, and against it
/// where its absence is.
#[derive(Debug, Clone)]
pub struct PairedHidden {
    bets: Bets,
}

impl PairedHidden {
    /// A test of `claim` at the margin `margin`. `explored` is the share of what would be hidden that is let through, if
    /// any is.
    ///
    /// # Errors
    ///
    /// A margin that is not from -1 to 1, or a share that is not from 0.001 to 1.
    pub fn new(claim: Claim, margin: f64, explored: Option<f64>) -> Result<Self, ArgumentError> {
        allowed::difference(margin)?;
        if let Some(share) = explored {
            let valid = (LEAST_EXPLORED..=1.0).contains(&share);
            ArgumentError::unless(valid, "the share that is explored", share, "from 0.001 to 1")?;
        }
        Ok(Self::nearest(claim, margin, explored))
    }

    /// The same at the nearest margin and share that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: f64, explored: Option<f64>) -> Self {
        let (weight, apart) = match explored {
            Some(share) => (1.0 / share.clamp(LEAST_EXPLORED, 1.0), 0.0),
            None => (1.0, -claim.sign()),
        };
        let differences = [1.0, 0.0, -1.0, 0.0, apart, weight, 0.0, -weight];
        let gains = differences.map(|x| claim.sign() * (x - margin.clamp(-1.0, 1.0)));
        let worst = gains.iter().copied().fold(-1e-9, f64::min);
        // Weighted pairs are seldom and large: what pays off is a small part of what could be staked.
        let stakes: Vec<f64> =
            log_spaced(0.05 / weight, 0.9, 12).into_iter().map(|part| part / -worst).collect();
        Self { bets: Bets::on_gains(Weights::even(stakes.len()), &stakes, &gains) }
    }
}

impl SequentialTest for PairedHidden {
    type Counts = HiddenEvents;

    fn e_value(&self, counts: &HiddenEvents) -> EValue {
        let HiddenEvents { seen, alike, apart, explored } = *counts;
        let cells = [
            seen.only_candidate,
            seen.neither.saturating_add(seen.both),
            seen.only_live,
            alike,
            apart,
            explored.only_candidate,
            explored.neither.saturating_add(explored.both),
            explored.only_live,
        ];
        self.bets.e_value(cells.into_iter().enumerate())
    }
}

/// How much larger the candidate's loss is than live's on the same inputs: a Brier score, a clipped log-loss, a rank.
/// Losses lie in `0..=1`, so differences in `-1..=1`.
#[derive(Debug, Clone)]
pub struct PairedScores {
    bets: Bets,
}

impl PairedScores {
    /// A test of `claim` at the margin `margin`: how much larger the candidate's loss may be on average.
    ///
    /// # Errors
    ///
    /// A margin that is not from -1 to 1.
    pub fn new(claim: Claim, margin: f64) -> Result<Self, ArgumentError> {
        allowed::difference(margin).map(|()| Self::nearest(claim, margin))
    }

    /// The same at the nearest margin that there is a test for.
    pub(crate) fn nearest(claim: Claim, margin: f64) -> Self {
        let differences: Vec<f64> = (-Scores::STEPS..=Scores::STEPS).map(Scores::at).collect();
        // Differences of scores are smaller than those of decisions, so stakes are larger; see `parts`.
        Self { bets: difference_bets(claim, margin, &log_spaced(0.05, 0.95, 10), &differences) }
    }

    /// How much is bet on each strategy.
    pub(crate) fn weights(&self) -> &Weights {
        self.bets.weights()
    }

    /// Returns what each strategy makes of these counts alone.
    pub(crate) fn wealth(&self, counts: &Scores) -> Wealth {
        let mut wealth = self.bets.start();
        let places = counts.places().map(|(place, count)| ((place + Scores::STEPS) as usize, count));
        self.bets.earn(&mut wealth, places);
        wealth
    }
}

impl SequentialTest for PairedScores {
    type Counts = Scores;

    fn e_value(&self, counts: &Scores) -> EValue {
        self.weights().mix(&self.wealth(counts))
    }
}

/// How many times as often the candidate has an event as live, on the same inputs: wrong answers at most 1.25 times.
///
/// Bets on `candidate - times * live`, which takes four values. Where `times` is 1 this is the sequential McNemar test.
#[derive(Debug, Clone)]
pub struct PairedRatio {
    bets: Bets,
}

impl PairedRatio {
    /// A test of `claim` at the margin `times`.
    ///
    /// # Errors
    ///
    /// A margin that is not from 0.001 to 1,000 times.
    pub fn new(claim: Claim, times: f64) -> Result<Self, ArgumentError> {
        allowed::times(times).map(|()| Self::nearest(claim, times))
    }

    /// The same at the nearest margin that there is a test for.
    pub(crate) fn nearest(claim: Claim, times: f64) -> Self {
        let times = times.clamp(TIMES.0, TIMES.1);
        let most = match claim {
            Claim::Harm => 1.0 / times,
            Claim::NonInferiority => 1.0,
        };
        let stakes: Vec<f64> = parts().into_iter().map(|part| part * most).collect();
        let gains = [0.0, -times, 1.0, 1.0 - times].map(|x| claim.sign() * x);
        Self { bets: Bets::on_gains(Weights::even(stakes.len()), &stakes, &gains) }
    }

    /// How much is bet on each strategy.
    pub(crate) fn weights(&self) -> &Weights {
        self.bets.weights()
    }

    /// Returns what each strategy makes of these counts alone.
    pub(crate) fn wealth(&self, counts: &PairedEvents) -> Wealth {
        let mut wealth = self.bets.start();
        self.bets.earn(&mut wealth, cells(counts));
        wealth
    }
}

fn cells(counts: &PairedEvents) -> [(usize, u64); 4] {
    let PairedEvents { neither, only_live, only_candidate, both } = *counts;
    [(0, neither), (1, only_live), (2, only_candidate), (3, both)]
}

impl SequentialTest for PairedRatio {
    type Counts = PairedEvents;

    fn e_value(&self, counts: &PairedEvents) -> EValue {
        self.bets.e_value(cells(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(only_live: u64, alike: u64, only_candidate: u64) -> PairedEvents {
        PairedEvents { neither: alike, only_live, only_candidate, both: 0 }
    }

    /// Golden: capital of constant bets on a bounded mean (Waudby-Smith & Ramdas 2024, section 4), computed with numpy.
    /// The events here are right answers, which a candidate is to have more of.
    #[test]
    fn paired_margins_have_the_reference_s_wealth() {
        let stakes = [0.05, 0.107_721_734_501_594_2, 0.232_079_441_680_638_9, 0.5];
        let nil = PairedDifference::staking(Claim::Harm, 0.0, &stakes);
        let found = nil.e_value(&pairs(12, 158, 30)).ln();
        assert!((found - 2.953_066_349_085_394_6).abs() < 1e-6, "{found}");

        let stakes: Vec<f64> = stakes.iter().map(|part| part / 0.98).collect();
        let margin = PairedDifference::staking(Claim::Harm, -0.02, &stakes);
        let found = margin.e_value(&pairs(12, 458, 30)).ln();
        assert!((found - 7.550_173_251_830_817).abs() < 1e-6, "{found}");
    }

    #[test]
    fn with_no_margin_only_discordant_pairs_count() {
        for claim in [Claim::Harm, Claim::NonInferiority] {
            let test = PairedDifference::nearest(claim, 0.0);
            assert_eq!(test.e_value(&pairs(7, 0, 13)), test.e_value(&pairs(7, 1 << 53, 13)));
            let ratio = PairedRatio::nearest(claim, 1.0);
            assert_eq!(ratio.e_value(&pairs(7, 0, 13)), test.e_value(&pairs(7, 0, 13)));
        }
    }

    #[test]
    fn what_is_hidden_is_taken_against_the_claim_unless_some_of_it_is_explored() {
        let seen = PairedEvents { neither: 900, only_live: 10, only_candidate: 60, both: 30 };
        let counts = HiddenEvents { seen, alike: 50, apart: 200, explored: PairedEvents::default() };
        let e = |claim, explored, counts: &HiddenEvents| {
            PairedHidden::nearest(claim, 0.01, explored).e_value(counts)
        };
        assert!(e(Claim::Harm, None, &counts) < EValue::ONE, "the hidden ones could make good for it");
        assert!(e(Claim::NonInferiority, None, &counts) < EValue::ONE);
        // A tenth of them was let through, and the candidate was wrong there too.
        let explored = PairedEvents { only_candidate: 20, only_live: 1, ..PairedEvents::default() };
        let counts = HiddenEvents { explored, ..counts };
        assert!(e(Claim::Harm, Some(0.1), &counts) > EValue::of(20.0));
    }

    #[test]
    fn margins_beyond_the_range_are_harmless() {
        let counts = PairedEvents { neither: 1 << 53, only_live: 1, only_candidate: 1 << 52, both: 9 };
        for claim in [Claim::Harm, Claim::NonInferiority] {
            for margin in [-1.0, 1.0, 5.0, f64::NEG_INFINITY] {
                assert!(!PairedDifference::nearest(claim, margin).e_value(&counts).ln().is_nan());
                assert!(!PairedRatio::nearest(claim, margin).e_value(&counts).ln().is_nan());
            }
        }
    }
}

//! Whether something happens to the units of two arms at the same rate, whatever that rate is.

use super::counts::{ByOdds, Events};
use super::e_value::{EValue, ln};
use super::rate_interval::ln_beta;

/// The evidence that truths come for another share of one arm's units than of the other's.
///
/// Labels that are lost at random in both arms alike cost time and mislead nobody. Where one arm loses more than the other,
/// its wrong answers are seen more seldom, and so are its right ones: a test that counts events by the shares in which
/// traffic was split takes that for a difference between the models.
///
/// Counts units that were answered, and as events those of them whose truth is known. By universal inference (Wasserman,
/// Ramdas & Balakrishnan, PNAS 117(29) 2020): a mixture over both rates, over the most that one common rate makes of it. An
/// e-process while every unit of either arm has its truth with the same probability; apart for each share of traffic, the
/// e-values of which multiply.
pub fn coverage_mismatch(units: &ByOdds<Events>) -> EValue {
    units.iter().map(|(_, arms)| of_arms(arms.candidate, arms.live)).sum()
}

fn of_arms(candidate: Events, live: Events) -> EValue {
    let all = Events { events: candidate.events + live.events, units: candidate.units + live.units };
    if candidate.units == 0 || live.units == 0 {
        return EValue::ONE;
    }
    let mixture = |arm: Events| {
        let (events, others) = (arm.events as f64, arm.units.saturating_sub(arm.events) as f64);
        ln_beta(events + 0.5, others + 0.5) - ln_beta(0.5, 0.5)
    };
    let rate = all.events as f64 / all.units as f64;
    let term = |count: f64, rate: f64| if count > 0.0 { count * ln(rate) } else { 0.0 };
    let (events, others) = (all.events as f64, all.units.saturating_sub(all.events) as f64);
    let most = term(events, rate) + term(others, 1.0 - rate);
    // The gamma functions of large counts leave some digits behind.
    let size = all.units as f64;
    EValue::from_ln(mixture(candidate) + mixture(live) - most - size * ln(size + 2.0) * 1e-14)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::share::Share;
    use crate::stats::sequential::Odds;

    fn units(candidate: (u64, u64), live: (u64, u64)) -> ByOdds<Events> {
        let half = Share::new(0.5).unwrap();
        let mut units = ByOdds::<Events>::default();
        let arms = units.at(Odds::new(half, half).unwrap());
        arms.candidate = Events { events: candidate.0, units: candidate.1 };
        arms.live = Events { events: live.0, units: live.1 };
        units
    }

    /// Golden: scipy.special.betaln, 0.5 and 0.5.
    #[test]
    fn a_loss_on_one_side_is_evidence_and_one_on_both_is_none() {
        let lost = coverage_mismatch(&units((1_000, 1_000), (850, 1_000)));
        assert!(lost.ln() > 50.0, "{}", lost.ln());
        for rate in [0, 1, 300, 999, 1_000] {
            let alike = coverage_mismatch(&units((rate, 1_000), (rate, 1_000)));
            assert!(alike <= EValue::ONE, "{rate}: {alike}");
        }
        assert_eq!(coverage_mismatch(&units((0, 0), (0, 50))), EValue::ONE);
    }

    /// What it may err, it errs at most: labels lost at random in both, looked at after every ten units.
    #[test]
    fn chance_alone_seldom_is_a_mismatch() {
        let (mut state, mut alarms) = (7_u64, 0);
        let mut chance = || {
            state = crate::base::chance::mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        const RUNS: u32 = 400;
        for _ in 0..RUNS {
            let (mut candidate, mut live) = ((0, 0), (0, 0));
            let crossed = (0..200).any(|_| {
                for _ in 0..10 {
                    let arm = if chance() < 0.5 { &mut candidate } else { &mut live };
                    arm.1 += 1;
                    arm.0 += u64::from(chance() < 0.7);
                }
                coverage_mismatch(&units(candidate, live)) >= EValue::against(0.05)
            });
            alarms += u32::from(crossed);
        }
        assert!(alarms <= RUNS / 20, "{alarms} of {RUNS}");
    }
}

//! How much of the traffic comes to a candidate.

use super::traffic::Traffic;
use crate::base::share::Share;
use crate::rollout::guard::design::Design;
use crate::rollout::phase::Phase;
use crate::rollout::plan::Exposure;
use crate::stats::sequential::Odds;

/// How a candidate is exposed, for a forecast.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    /// The share of live's requests that are copied to it.
    pub(crate) sample: f64,
    /// The share of requests that it answers.
    pub(crate) weight: Share,
    /// The share of these that live shadows.
    reversed: f64,
}

impl Reach {
    pub(crate) fn of(exposed: Exposure, sample_before: Share, pairs: bool) -> Self {
        // As the controller exposes it: a canary keeps the shadow's sample, and live shadows at least a tenth of it.
        match exposed {
            Exposure::Shadow { sample } => {
                Self { sample: sample.fraction(), weight: Share::NONE, reversed: 0.0 }
            }
            Exposure::Canary { weight } => {
                let sample = if pairs { sample_before.fraction() } else { 0.0 };
                Self { sample, weight, reversed: if pairs { sample.max(0.1) } else { 0.0 } }
            }
        }
    }
}

impl Reach {
    /// Whether anything that the test looks at comes at all.
    pub(crate) fn shows(self, design: &Design) -> bool {
        let phase = if self.weight == Share::NONE { Phase::Shadow } else { Phase::Canary };
        design.is_judged_in(phase)
    }

    pub(crate) fn pairs_per_second(self, traffic: &Traffic) -> f64 {
        let weight = self.weight.fraction();
        traffic.requests_per_second * ((1.0 - weight) * self.sample + weight * self.reversed)
    }

    /// What live answers that the candidate is compared with: in pairs, and as its control.
    pub(crate) fn lives_per_second(self, traffic: &Traffic) -> f64 {
        let weight = self.weight.fraction();
        let control =
            if self.weight == Share::NONE { 0.0 } else { traffic.requests_per_second * (1.0 - weight) };
        self.pairs_per_second(traffic) + control
    }

    /// The candidate's runs, as a shadow and for real.
    pub(crate) fn candidate_per_second(self, traffic: &Traffic) -> f64 {
        let weight = self.weight.fraction();
        traffic.requests_per_second * ((1.0 - weight) * self.sample + weight)
    }

    pub(crate) fn arms_per_second(self, traffic: &Traffic) -> Option<(Odds, f64, f64)> {
        let live = Share::from_buckets(Share::ALL.buckets() - self.weight.buckets());
        let rate = traffic.requests_per_second;
        Some((Odds::new(self.weight, live)?, rate * self.weight.fraction(), rate * live.fraction()))
    }
}

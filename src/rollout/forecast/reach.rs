//! How much of the traffic comes to a candidate.

use super::traffic::Traffic;
use crate::base::share::Share;
use crate::rollout::guard::design::Design;
use crate::rollout::phase::Phase;
use crate::rollout::plan::{Exposure, Step};
use crate::stats::counting::keys::Keys;
use crate::stats::sequential::Odds;

/// The way by which a unit comes.
#[derive(Clone, Copy)]
pub(crate) enum ComesBy {
    /// A request is copied to the other version.
    Copies,
    /// A request is answered by the candidate, or by live as its control.
    Arms,
}

/// How long it takes until so many units have come, by either way, where each request is a unit: in seconds of the usual traffic. Where
/// keys are units and have come before, that is shorter than the time which has passed.
#[derive(Clone, Copy)]
pub(crate) struct Coming {
    pub(crate) copies: f64,
    pub(crate) arms: f64,
}

impl Coming {
    pub(crate) fn seconds(self, comes_by: ComesBy) -> f64 {
        match comes_by {
            ComesBy::Copies => self.copies,
            ComesBy::Arms => self.arms,
        }
    }

    /// What comes at the last of some stages, each with the moment at which it begins, between two moments of it; all in seconds of the
    /// usual traffic.
    pub(crate) fn at_the_last(stages: &[(f64, Reach)], (from, until): (f64, f64), traffic: &Traffic) -> Self {
        let passed = (until - from).max(0.0);
        let (true, Some((_, last))) = (traffic.has_keys(), stages.last()) else {
            return Self { copies: passed, arms: passed };
        };
        let per_second = traffic.requests_per_second.max(1e-12);
        // The keys of which a request has been copied: as if traffic had been so much less.
        let copied = |at: f64| {
            let ends = stages.iter().skip(1).map(|(begun, _)| *begun).chain([f64::INFINITY]);
            let sampled = stages
                .iter()
                .zip(ends)
                .map(|((begun, reach), ends)| reach.pairs_share() * (at.min(ends) - begun).max(0.0));
            analysed(traffic.keys_by(sampled.sum()))
        };
        // A key counts from when its bucket was enrolled, with as many of live's.
        let answered = |at: f64| {
            let mut before = 0.0;
            let enrolled = stages.iter().map(|(begun, reach)| {
                let both = reach.keys_share();
                let more = both - f64::max(before, 0.0);
                before = both;
                more.max(0.0) * traffic.keys_by((at - begun).max(0.0))
            });
            analysed(enrolled.sum())
        };
        let of = |keys: &dyn Fn(f64) -> f64, share: f64| {
            if share > 0.0 { (keys(until) - keys(from)).max(0.0) / (share * per_second) } else { 0.0 }
        };
        Self { copies: of(&copied, last.pairs_share()), arms: of(&answered, last.keys_share()) }
    }
}

/// How many of so many keys are looked at: fewer of the new ones the fuller their table is.
fn analysed(keys: f64) -> f64 {
    let half = Keys::MAX as f64 / 2.0;
    let (halves, rest) = ((keys / half).floor(), keys % half);
    let kept = 0.5_f64.powf(halves);
    Keys::MAX as f64 * (1.0 - kept) + rest * kept
}

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

    /// The share of requests that both versions answer.
    fn pairs_share(self) -> f64 {
        let weight = self.weight.fraction();
        (1.0 - weight) * self.sample + weight * self.reversed
    }

    /// The share of keys that count as a candidate's or as its control: as many of live's as it has, where there are as many.
    fn keys_share(self) -> f64 {
        2.0 * self.arms(true).0.fraction()
    }

    /// What counts as the candidate's, and as live's: keys in pairs, as long as live has some for each.
    fn arms(self, keyed: bool) -> (Share, Share) {
        let live = Share::from_buckets(Share::ALL.buckets() - self.weight.buckets());
        let pairs = live.min(self.weight);
        if keyed { (pairs, pairs) } else { (self.weight, live) }
    }

    pub(crate) fn pairs_per_second(self, traffic: &Traffic) -> f64 {
        traffic.requests_per_second * self.pairs_share()
    }

    /// The candidate's runs, as a shadow and for real.
    pub(crate) fn candidate_per_second(self, traffic: &Traffic) -> f64 {
        let weight = self.weight.fraction();
        traffic.requests_per_second * ((1.0 - weight) * self.sample + weight)
    }

    /// In how many seconds of the usual traffic as many predictions and outcomes have come as a step asks for. Outcomes count as they are told, which
    /// nobody knows how late that is: as evidence they may be much older.
    pub(crate) fn seconds_until(self, step: &Step, traffic: &Traffic) -> f64 {
        let predictions = self.seconds_until_runs(step.min_predictions, 1.0, traffic);
        predictions.max(self.seconds_until_runs(step.min_labels, traffic.labelled, traffic))
    }

    /// In how many seconds of the usual traffic so many of the candidate's runs have come, of which only a share counts.
    pub(crate) fn seconds_until_runs(self, runs: u64, share: f64, traffic: &Traffic) -> f64 {
        runs as f64 / (self.candidate_per_second(traffic) * share).max(1e-12)
    }

    pub(crate) fn arms_per_second(self, traffic: &Traffic) -> Option<(Odds, f64, f64)> {
        let (candidate, live) = self.arms(traffic.has_keys());
        let rate = traffic.requests_per_second;
        Some((Odds::new(candidate, live)?, rate * candidate.fraction(), rate * live.fraction()))
    }
}

//! The cells of the matrix: what is judged, how traffic goes, what happens to it, and how good the candidate is.

use std::time::Duration;

use switchback::guard;
use switchback::guard::{Rule, RuleError};

use super::run::{End, Foretold, Run, WARM_UP};

/// What is judged, each with a guard of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// At most 1.5 times live's, which is 4 %.
    Error,
    /// The p95 at most 1.5 times live's.
    Latency,
    /// At most 5 points below live's, which is 85 %.
    Accuracy,
    /// At most 10 points below live's, which is 75 %.
    Precision,
    /// A business figure between 0 and 10: at most 0.5 below live's, which is 4.
    Bounded,
    /// How often something is bought: at least 0.8 times as often as live's 30 %.
    Rate,
    /// What is spent, without a bound: at most 0.4 below live's 2.
    Unbounded,
    /// Other answers than live's on at most 10 % of the inputs.
    Divergence,
    /// NDCG at most 0.05 below live's, which is 0.35; 0.27 where there are users.
    Ranking,
}

/// Who answers, and what belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Copies of all requests.
    Shadow,
    /// A canary of 50 % on a handle that does not shadow.
    Canary,
    /// A shadow, then canaries of 10 and 50 % beside it.
    Ramp,
    /// A canary of 50 % of the keys.
    Keyed(Sessions),
    /// Copies of all requests, which have keys.
    KeyedShadow(Sessions),
    /// A canary of 50 %: batches of ten rows, which one version answers.
    Batch,
    /// A canary of 50 % of the keys: batches of ten rows with a key each.
    BatchByKey,
    /// A canary of 50 %: streams of ten calls that stay with one version.
    Pinned,
}

/// How many requests a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    One,
    Ten,
    /// 2,000 keys, of which a few come hundreds of times.
    HeavyTail,
}

/// What ordinary life does to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Circumstance {
    Quiet,
    /// Each version fails on 3 % of its calls, by chance of its own; one that is worse at failing on as many more.
    ChanceFailures,
    /// Both fail on nearly all requests for four seconds, and on half of them for ten.
    SharedOutage,
    /// Rates and traffic go up and down by half.
    Diurnal,
    /// Truth comes after up to 20 seconds, that of one class first.
    DelayedLabels,
    /// 15 % of the truth about live's answers is lost.
    LabelLossInOneArm,
    /// 30 % of the truth is lost, whoever answered.
    LabelLossInBoth,
    /// The candidate takes 300 ms, which is longer than it may, for a tenth of the calls of a second, now and then.
    CandidateStalls,
    /// More copies are taken than can be run.
    DroppedCopies,
    /// Nobody ticks for 12 of every 60 seconds.
    NoTicksForAWhile,
    /// The service is closed and started again in the middle.
    Restart,
    /// The plan stands still for a fifth of the time.
    PauseAndResume,
    /// Three candidates at once.
    SeveralCandidates,
    /// A tenth of the truth is wrong at first, is corrected, and then comes once more as it was at first.
    Corrections,
    /// Live fails on a tenth of its calls, and a candidate answers them.
    LiveFailsMore,
}

/// How good the candidate is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Candidate {
    /// As live.
    Equal,
    /// As bad as the guard allows.
    AtTheMargin,
    /// So many times as bad as the guard allows.
    Worse(f64),
}

impl Candidate {
    /// In margins.
    pub(crate) fn worse(self) -> f64 {
        match self {
            Self::Equal => 0.0,
            Self::AtTheMargin => 1.0,
            Self::Worse(times) => times,
        }
    }
}

/// One cell of the matrix, of which each seed is a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Life {
    pub(crate) figure: Figure,
    pub(crate) routing: Routing,
    pub(crate) circumstance: Circumstance,
    /// Another one at the same time.
    pub(crate) besides: Option<Circumstance>,
    pub(crate) candidate: Candidate,
    /// How long it runs at most.
    pub(crate) seconds: u64,
    /// How long the new live is watched after its promotion, in seconds.
    pub(crate) watched: u64,
    /// The guard has a limit whatever live does: the same where all is quiet.
    pub(crate) absolute: bool,
    /// Requests have segments, and the guard looks at each by itself too.
    pub(crate) by_segment: bool,
    /// Requests a second, on average.
    pub(crate) traffic: u64,
}

impl Life {
    /// Ten thousand requests in two minutes.
    pub(crate) fn new(figure: Figure, routing: Routing, circumstance: Circumstance) -> Self {
        let (candidate, besides) = (Candidate::Equal, None);
        let (seconds, watched, traffic) = (120, 0, 80);
        let (absolute, by_segment) = (false, false);
        Self {
            figure,
            routing,
            circumstance,
            besides,
            candidate,
            seconds,
            watched,
            absolute,
            by_segment,
            traffic,
        }
    }

    pub(crate) fn besides(mut self, circumstance: Circumstance) -> Self {
        self.besides = Some(circumstance);
        self
    }

    /// Twice as many requests a second for six minutes, of which the new live is watched for what is left once it is promoted.
    pub(crate) fn watched(self) -> Self {
        Self { seconds: 360, watched: 360, traffic: 160, ..self }
    }

    /// With a limit whatever live does. Nothing for a figure that has none.
    pub(crate) fn absolute(self) -> Option<Self> {
        let has_one = !matches!(self.figure, Figure::Unbounded | Figure::Divergence);
        has_one.then_some(Self { absolute: true, ..self })
    }

    /// With segments: one of seven tenths of the requests, one of two, and one of one. Nothing for a figure that is not looked at so.
    pub(crate) fn by_segment(self) -> Option<Self> {
        let is = matches!(self.figure, Figure::Error | Figure::Accuracy);
        is.then_some(Self { by_segment: true, ..self })
    }

    /// Whether one at the margin of live's is at that of the absolute limit: times of users and of batches are others, and what fails is
    /// slow.
    pub(crate) fn has_a_margin(&self) -> bool {
        let alike = !self.routing.has_users() && !self.routing.is_batch();
        self.figure != Figure::Latency || (alike && !self.meets(Circumstance::ChanceFailures))
    }

    pub(crate) fn rule(&self) -> Result<Rule, RuleError> {
        if self.by_segment {
            let (errors, accuracy) = (guard::error_rate().by_segment(), guard::accuracy().by_segment());
            return match (self.figure, self.absolute) {
                (Figure::Error, true) => errors.at_most(0.06),
                (Figure::Error, false) => errors.at_most_times_live(1.5),
                (_, true) => accuracy.at_least(0.8),
                (_, false) => accuracy.at_most_below_live(0.05),
            };
        }
        if !self.absolute {
            return self.figure.rule();
        }
        match self.figure {
            // All that fails then: see `Side::reply`.
            Figure::Error if self.meets(Circumstance::ChanceFailures) => guard::error_rate().at_most(0.045),
            Figure::Error => guard::error_rate().at_most(0.06),
            // 1.5 times the p95 of half a millisecond and an exponential one.
            Figure::Latency => guard::latency(0.95).within(Duration::from_nanos(5_243_598)),
            Figure::Accuracy => guard::accuracy().at_least(0.8),
            Figure::Precision => guard::precision().at_least(0.65),
            Figure::Bounded => guard::kpi("rating").at_least(3.5),
            Figure::Rate => guard::kpi("purchase").at_least(0.24),
            Figure::Ranking if self.routing.has_users() => guard::ndcg().at_least(0.215_4),
            Figure::Ranking => guard::ndcg().at_least(0.303_8),
            Figure::Unbounded | Figure::Divergence => self.figure.rule(),
        }
    }

    /// Whether this happens to it.
    pub(crate) fn meets(&self, circumstance: Circumstance) -> bool {
        self.circumstance == circumstance || self.besides == Some(circumstance)
    }

    pub(crate) fn candidate(mut self, candidate: Candidate) -> Self {
        self.candidate = candidate;
        self
    }

    /// Requests before the rollout, on average.
    pub(crate) fn before(&self) -> f64 {
        (WARM_UP * self.traffic) as f64
    }

    /// Runs it.
    pub(crate) fn run(&self, seed: u64) -> End {
        Run::new(*self, seed).run()
    }

    /// Runs it as soon as its plan allows: with the seconds that it took, and those until its end that the planner had said.
    pub(crate) fn planned(&self, seed: u64) -> (End, u64, Foretold) {
        let run = Run::planned(*self, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let began = run.second_now();
        let (end, ended, said) = run.run_on();
        (end, ended - began, said)
    }

    /// Runs it with so many seeds, from this one on.
    pub(crate) fn runs(&self, seeds: std::ops::Range<u64>) -> Vec<End> {
        seeds.map(|seed| self.run(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
    }

    pub(crate) fn name(&self) -> String {
        let candidate = match self.candidate {
            Candidate::Equal => "equal".to_owned(),
            Candidate::AtTheMargin => "at-the-margin".to_owned(),
            Candidate::Worse(times) => format!("{times}-margins"),
        };
        let besides = self.besides.map_or(String::new(), |besides| format!("+{}", besides.name()));
        let circumstances = format!("{}{besides}", self.circumstance.name());
        let watched = if self.watched > 0 { "/watched" } else { "" };
        let limit = match (self.absolute, self.by_segment) {
            (false, false) => "",
            (true, false) => "-absolute",
            (false, true) => "-by-segment",
            (true, true) => "-absolute-by-segment",
        };
        format!("{}{limit}/{}/{circumstances}/{candidate}{watched}", self.figure.name(), self.routing.name())
    }

    /// The probability with which it may be taken back, where it is within its margin whatever is counted as what.
    pub(crate) fn may_be_taken_back(&self) -> Option<f64> {
        let own_failures = self.meets(Circumstance::CandidateStalls)
            && matches!(self.figure, Figure::Latency | Figure::Error)
            && self.candidate != Candidate::Equal;
        // What is at the margin of an absolute limit on average is beyond it by day.
        let by_day = self.absolute && self.meets(Circumstance::Diurnal) && self.candidate != Candidate::Equal;
        let within = self.candidate.worse() <= 1.0 && !own_failures && !by_day;
        within.then_some(0.01)
    }

    /// The probability with which it may be promoted, where it is at its margin or beyond whatever is counted as what.
    pub(crate) fn may_be_promoted(&self) -> Option<f64> {
        // By night what is at the margin of an absolute limit on average is within it: that is what a plan's cycle is for.
        let by_night = self.absolute && self.meets(Circumstance::Diurnal) && self.candidate.worse() < 2.0;
        (self.candidate.worse() >= 1.0 && !by_night).then_some(0.05)
    }
}

impl Figure {
    pub(crate) const ALL: [Figure; 9] = [
        Self::Error,
        Self::Latency,
        Self::Accuracy,
        Self::Precision,
        Self::Bounded,
        Self::Rate,
        Self::Unbounded,
        Self::Divergence,
        Self::Ranking,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Latency => "latency",
            Self::Accuracy => "accuracy",
            Self::Precision => "precision",
            Self::Bounded => "kpi-bounded",
            Self::Rate => "kpi-rate",
            Self::Unbounded => "kpi-unbounded",
            Self::Divergence => "divergence",
            Self::Ranking => "ranking",
        }
    }

    pub(crate) fn rule(self) -> Result<Rule, RuleError> {
        match self {
            Self::Error => guard::error_rate().at_most_times_live(1.5),
            Self::Latency => guard::latency(0.95).at_most_times_live(1.5),
            Self::Accuracy => guard::accuracy().at_most_below_live(0.05),
            Self::Precision => guard::precision().at_most_below_live(0.1),
            Self::Bounded => guard::kpi("rating").at_most_below_live(0.5),
            Self::Rate => guard::kpi("purchase").at_least_times_live(0.8),
            Self::Unbounded => guard::kpi("revenue").at_most_below_live(0.4),
            Self::Divergence => guard::divergence().at_most(0.1),
            Self::Ranking => guard::ndcg().at_most_below_live(0.05),
        }
    }

    /// Whether it needs what turned out to be true.
    pub(crate) fn needs_truth(self) -> bool {
        !matches!(self, Self::Error | Self::Latency | Self::Divergence)
    }

    pub(super) fn is_business(self) -> bool {
        matches!(self, Self::Bounded | Self::Rate | Self::Unbounded)
    }
}

impl Routing {
    pub(crate) const ALL: [Routing; 11] = [
        Self::Shadow,
        Self::Canary,
        Self::Ramp,
        Self::Keyed(Sessions::One),
        Self::Keyed(Sessions::Ten),
        Self::Keyed(Sessions::HeavyTail),
        Self::KeyedShadow(Sessions::Ten),
        Self::KeyedShadow(Sessions::HeavyTail),
        Self::Batch,
        Self::BatchByKey,
        Self::Pinned,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Ramp => "ramp",
            Self::Keyed(Sessions::One) => "keyed-1",
            Self::Keyed(Sessions::Ten) => "keyed-10",
            Self::Keyed(Sessions::HeavyTail) => "keyed-heavy",
            Self::KeyedShadow(Sessions::One) => "keyed-1-shadow",
            Self::KeyedShadow(Sessions::Ten) => "keyed-10-shadow",
            Self::KeyedShadow(Sessions::HeavyTail) => "keyed-heavy-shadow",
            Self::Batch => "batch",
            Self::BatchByKey => "batch-by-key",
            Self::Pinned => "pinned",
        }
    }

    pub(crate) fn shadows(self) -> bool {
        matches!(self, Self::Shadow | Self::Ramp | Self::KeyedShadow(_))
    }

    pub(super) fn sessions(self) -> Option<Sessions> {
        match self {
            Self::Keyed(sessions) | Self::KeyedShadow(sessions) => Some(sessions),
            _ => None,
        }
    }

    /// Whether a call has ten rows, and takes as long as the slowest of them.
    pub(super) fn is_batch(self) -> bool {
        matches!(self, Self::Batch | Self::BatchByKey)
    }

    /// Whether requests of one user are alike.
    pub(super) fn has_users(self) -> bool {
        self.sessions().is_some() || matches!(self, Self::Batch | Self::Pinned)
    }
}

impl Circumstance {
    pub(crate) const ALL: [Circumstance; 15] = [
        Self::Quiet,
        Self::ChanceFailures,
        Self::SharedOutage,
        Self::Diurnal,
        Self::DelayedLabels,
        Self::LabelLossInOneArm,
        Self::LabelLossInBoth,
        Self::CandidateStalls,
        Self::DroppedCopies,
        Self::NoTicksForAWhile,
        Self::Restart,
        Self::PauseAndResume,
        Self::SeveralCandidates,
        Self::Corrections,
        Self::LiveFailsMore,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::ChanceFailures => "chance-failures",
            Self::SharedOutage => "shared-outage",
            Self::Diurnal => "diurnal",
            Self::DelayedLabels => "delayed-labels",
            Self::LabelLossInOneArm => "label-loss-in-one-arm",
            Self::LabelLossInBoth => "label-loss-in-both",
            Self::CandidateStalls => "candidate-stalls",
            Self::DroppedCopies => "dropped-copies",
            Self::NoTicksForAWhile => "no-ticks-for-a-while",
            Self::Restart => "restart",
            Self::PauseAndResume => "pause-and-resume",
            Self::SeveralCandidates => "several-candidates",
            Self::Corrections => "corrections",
            Self::LiveFailsMore => "live-fails-more",
        }
    }

    /// Whether it does anything where this is judged and traffic goes so.
    pub(crate) fn concerns(self, figure: Figure, routing: Routing) -> bool {
        match self {
            Self::DelayedLabels
            | Self::LabelLossInOneArm
            | Self::LabelLossInBoth
            | Self::Corrections
            | Self::LiveFailsMore => figure.needs_truth(),
            Self::DroppedCopies => routing.shadows(),
            Self::SeveralCandidates => !routing.shadows(),
            Self::Restart => cfg!(feature = "state"),
            _ => true,
        }
    }
}

//! A guard as the planner sees it: its test, and what a rollout has seen of the two versions.

use super::traffic::{Moments, Traffic};
use super::unknown::Unknown;
use crate::rollout::guard::design::{Design, HELD_BELOW, Margin, Uses};
use crate::rollout::guard::history::{History, Series};
use crate::rollout::guard::numbers::written;
use crate::rollout::guard::rule::{Limit, Rule};
use crate::rollout::guard::tested::Tested;
use crate::stats::figures::latency_limit::BLUR;
use crate::stats::sequential::{EValue, PairedEvents, Scores};

/// A guard, and what a rollout has seen of what it judges; nothing before there is one.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) rule: Rule,
    pub(crate) design: Design,
    pub(crate) seen: Option<History>,
    /// Who failed, which stands beside a figure of quality where no guard judges it.
    pub(crate) failures: Option<History>,
}

/// What both versions lose, on average, if the candidate is so many times as far off as the margin; 0 for as good as live.
pub(crate) struct Losses {
    pub(crate) live: f64,
    pub(crate) candidate: f64,
    /// The standard deviations of what is not an event: live's, the candidate's, and that of the difference on one input.
    pub(crate) spread: f64,
    pub(crate) candidate_spread: f64,
    pub(crate) difference_spread: f64,
    /// The share of units that count.
    pub(crate) counted: f64,
    /// How far both are off on the same inputs: see [`Unknown::together`].
    pub(crate) together: f64,
}

/// Two trainings of one model on the same data are about so much alike, and no two versions are more so.
const ALIKE: f64 = 0.9;
/// What is usual where nothing is known: half of what befalls one befalls both, half is chance.
const USUAL: f64 = 0.5;
/// The same of losses on the same input, which differ in size where both are off.
const USUAL_OF_LOSSES: f64 = 0.3;

impl Subject {
    pub(crate) fn new(rule: Rule, design: Design) -> Self {
        Self { rule, design, seen: None, failures: None }
    }

    /// With what live is known to be like, as a rollout fixes it when it begins.
    pub(crate) fn centred_on(&self, traffic: &Traffic) -> Design {
        let fixed = !matches!(
            self.design.tested,
            Tested::Slow(_)
                | Tested::KpiSuccesses(_)
                | Tested::KpiValues(_)
                | Tested::Errors
                | Tested::Differences
                | Tested::Comparisons
        );
        let live = || written(self.live(traffic).clamp(0.0, 1.0));
        Design { centre: if fixed { live() } else { self.design.centre }, ..self.design.clone() }
    }

    /// The test of failures that stands beside it, where no other guard judges them. Its centre is not fixed by what live was.
    pub(crate) fn of_failures(&self) -> Option<Self> {
        let compares = matches!(self.design.tested, Tested::Differences | Tested::Comparisons);
        let (rule, design) = (self.rule.clone(), self.design.of_failures());
        let seen = self.failures.clone();
        (self.design.needs_labels() || compares).then_some(Self { rule, design, seen, failures: None })
    }

    /// Whether it is judged by what the two versions make of the same inputs.
    fn compares_pairs(&self) -> bool {
        matches!(self.design.uses, Uses::Pairs | Uses::Both) && !self.design.compares_arms()
    }

    /// What only a rollout can tell of the two versions: how often they differ, where that is judged, else how far they are off on
    /// the same inputs.
    pub(crate) fn unknown(&self, traffic: &Traffic) -> Unknown {
        let tested = self.design.tested;
        if matches!(tested, Tested::Differences | Tested::Comparisons) {
            let guessed = Unknown::Guessed {
                usual: traffic.differing,
                alike: 0.4 * traffic.differing,
                apart: (4.0 * traffic.differing).min(1.0),
            };
            return match &self.seen {
                Some(History::Events(stretch)) => Unknown::rate(guessed, stretch.blocks.total().alone),
                Some(History::Scores(stretch)) => {
                    let scores = stretch.blocks.total().alone;
                    let (mean, variance) = (scores.mean().unwrap_or(0.0), variance(&scores));
                    Unknown::mean(guessed, scores.count_all(), mean, variance.sqrt())
                }
                _ => guessed,
            };
        }
        // What was called yes is matched with another input's.
        if !self.compares_pairs() || matches!(tested, Tested::FalseAlarms | Tested::FalseAlarmsInArms) {
            return Unknown::Given(0.0);
        }
        // Of an F1 it is not learned from pairs.
        if tested == Tested::F1 {
            return Unknown::Given(USUAL);
        }
        let given = |rate: f64, discordant: f64| {
            let by_chance = 2.0 * rate * (1.0 - rate);
            if by_chance > 0.0 { (1.0 - discordant / by_chance).clamp(0.0, 1.0) } else { USUAL }
        };
        let usual = match tested {
            Tested::Failures => given(traffic.error_rate, traffic.discordant_failures),
            Tested::Wrong | Tested::WrongWithHidden | Tested::Missed => {
                given(traffic.wrong, traffic.discordant)
            }
            Tested::Loss(_) | Tested::Errors => USUAL_OF_LOSSES,
            _ => USUAL,
        };
        let measured =
            matches!(tested, Tested::Failures | Tested::Wrong | Tested::WrongWithHidden | Tested::Missed);
        let guessed = if measured && traffic.discordant_is_known {
            Unknown::Given(usual)
        } else {
            Unknown::Guessed { usual, alike: ALIKE.max(usual), apart: 0.0 }
        };
        let expected = self.losses(traffic, 0.0, usual);
        match &self.seen {
            Some(History::Events(stretch) | History::BySegment { all: stretch, .. }) => {
                let rates = (expected.live, expected.candidate);
                Unknown::together(guessed, stretch.blocks.total().pairs, rates)
            }
            Some(History::Hidden(stretch)) => {
                let pairs: PairedEvents = stretch.blocks.total().pairs.seen;
                Unknown::together(guessed, pairs, (expected.live, expected.candidate))
            }
            // Of two losses that have nothing to do with each other, the difference varies twice as much.
            Some(History::Scores(stretch)) => {
                let Series { pairs, .. } = stretch.blocks.total();
                let differing: u64 =
                    pairs.places().filter(|(place, _)| *place != 0).map(|(_, count)| count).sum();
                of_variance(guessed, differing, variance(&pairs), expected.spread)
            }
            Some(History::Values(stretch)) => {
                let Series { pairs, .. } = stretch.blocks.total();
                let variance = pairs.variance().unwrap_or(0.0);
                of_variance(guessed, pairs.len(), variance, expected.spread)
            }
            _ => guessed,
        }
    }

    /// Live's own loss.
    fn live(&self, traffic: &Traffic) -> f64 {
        self.of_live(traffic).0
    }

    /// Live's own loss, the standard deviation of single ones, and the share of units that count.
    fn of_live(&self, traffic: &Traffic) -> (f64, f64, f64) {
        match self.design.tested {
            Tested::Failures => (traffic.error_rate, 0.0, 1.0),
            Tested::Slow(_) => (self.slow(traffic, 1.0, None), 0.0, 1.0),
            Tested::Wrong | Tested::WrongWithHidden => (traffic.wrong, 0.0, traffic.labelled),
            Tested::Missed => (traffic.missed, 0.0, traffic.labelled * traffic.positives),
            Tested::FalseAlarms | Tested::FalseAlarmsInArms => {
                (traffic.false_alarms, 0.0, traffic.labelled * traffic.called_yes)
            }
            Tested::F1 => {
                let missed = traffic.positives * traffic.missed;
                let alarms = traffic.called_yes * traffic.false_alarms;
                let right = traffic.positives - missed;
                let all = (2.0 * right + missed + alarms).max(1e-9);
                ((missed + alarms) / all, 0.0, traffic.labelled * (right + missed + alarms))
            }
            Tested::Loss(place) => {
                let usual = Moments { mean: 0.1, standard_deviation: 0.2 };
                let Moments { mean, standard_deviation } =
                    traffic.losses.get(place).copied().unwrap_or(usual);
                (mean, standard_deviation, traffic.labelled)
            }
            Tested::Errors => (traffic.errors.mean, traffic.errors.standard_deviation, traffic.labelled),
            Tested::Kpi(place) | Tested::KpiValues(place) | Tested::KpiSuccesses(place) => {
                let usual = Moments { mean: 0.5, standard_deviation: 0.5 };
                let Moments { mean, standard_deviation } = traffic.kpis.get(place).copied().unwrap_or(usual);
                let gain = self.design.reads_gain() && matches!(self.design.tested, Tested::Kpi(_));
                (if gain { 1.0 - mean } else { mean }, standard_deviation, traffic.labelled)
            }
            Tested::Differences | Tested::Comparisons => (traffic.differing, 0.1, 1.0),
        }
    }

    /// How often a version takes longer than what it is held against, or fails, that takes so many times as long as live; the
    /// candidate's may take as much longer as the rule allows.
    fn slow(&self, traffic: &Traffic, times: f64, allowed: Option<f64>) -> f64 {
        let slower = match self.rule.limit() {
            Limit::Within(limit) => traffic.longer(limit.div_f64(times.max(1.0))),
            // What is held against live lies a little below its quantile, and latencies are blurred.
            _ => {
                let slower = |taken_off: f64| {
                    let held = HELD_BELOW * allowed.unwrap_or(1.0) / (times * (1.0 - BLUR * taken_off));
                    traffic.slower(1.0 - self.design.tail, held)
                };
                [0.1, 0.3, 0.5, 0.7, 0.9].map(slower).iter().sum::<f64>() / 5.0
            }
        };
        traffic.error_rate + (1.0 - traffic.error_rate) * slower
    }

    /// What both lose, of a candidate that is so many times as far off as the margin, where what is unknown is this.
    pub(crate) fn losses(&self, traffic: &Traffic, size: f64, unknown: f64) -> Losses {
        let design = &self.design;
        let (live, spread, counted) = self.of_live(traffic);
        let candidate = match (design.tested, design.margin) {
            (Tested::Differences | Tested::Comparisons, _) if size == 0.0 => unknown,
            (Tested::Slow(_), Margin::AtMost(_)) if size == 0.0 => live,
            (Tested::Slow(_), Margin::Times(_)) => {
                self.slow(traffic, 1.0 + size * (design.factor - 1.0), Some(design.factor))
            }
            _ if size == 0.0 => live,
            (_, Margin::Above(margin)) => live + size * margin,
            (_, Margin::Times(times)) => {
                let off = if times == 1.0 { size } else { 1.0 + size * (times - 1.0) };
                (live * off).max(design.floor.unwrap_or(0.0) * size)
            }
            (_, Margin::AtLeastTimes(times)) => live * (1.0 - size * (1.0 - times)).max(0.0),
            // As far beyond live as the limit is, so many times; of a live beyond it, as far as the limit itself.
            (_, Margin::AtMost(limit)) if live < limit => live + size * (limit - live),
            (_, Margin::AtMost(limit)) => limit * size,
        };
        let candidate_spread = spread * self.widened(live, candidate);
        let together = if self.compares_pairs() { unknown } else { 0.0 };
        // The variance of a difference is that of both, less what they have in common.
        let of_both = spread * spread + candidate_spread * candidate_spread;
        let difference_spread = (of_both * (1.0 - together)).max(0.0).sqrt();
        Losses { live, candidate, spread, candidate_spread, difference_spread, counted, together }
    }

    /// How many times as far single values of the candidate's lie from their mean as live's, where the means are these.
    fn widened(&self, live: f64, candidate: f64) -> f64 {
        let ratio = |own: f64, theirs: f64| if theirs > 0.0 && own > 0.0 { own / theirs } else { 1.0 };
        match self.design.tested {
            // Errors that are so many times as large,
            Tested::Errors => ratio(candidate, live),
            // what is bought so many times as often,
            Tested::KpiValues(_) if self.design.reads_gain() => {
                let sold = live + (live - candidate);
                ratio(sold, live).sqrt()
            }
            Tested::KpiValues(_) => ratio(candidate, live).sqrt(),
            // and what lies between two bounds, as events do.
            _ => ratio(candidate * (1.0 - candidate), live * (1.0 - live)).sqrt(),
        }
    }

    /// How much more evidence of harm it takes than its threshold: what is kept for the failures that are judged beside it.
    ///
    /// What the mixture over onsets keeps for later ones is not added: by the time the threshold is reached they have given it back.
    /// Simulated with all blocks, a harm is found within 2 % of when it is without any (1,001 runs, on pairs and in arms). With the 4/3 of
    /// the first block's weight it was 5 % later, and that of arms 13 % later than in 401 rollouts, where it is 8 % without.
    pub(crate) fn spent_elsewhere(&self, failures_are_judged: bool) -> EValue {
        let beside = self.of_failures().is_some() && !failures_are_judged;
        EValue::of(if beside { 2.0 } else { 1.0 })
    }
}

/// The variance of differences, as far as two losses of this spread are off together.
fn of_variance(guessed: Unknown, units: u64, variance: f64, spread: f64) -> Unknown {
    let independent = 2.0 * spread * spread;
    if independent <= 0.0 {
        return guessed;
    }
    // A variance that is estimated from n values is off by about sqrt(2 / n) of itself.
    let share = variance / independent;
    Unknown::mean(guessed, units, 1.0 - share, std::f64::consts::SQRT_2 * share)
}

fn variance(scores: &Scores) -> f64 {
    let count = scores.count_all().max(1) as f64;
    let mean = scores.mean().unwrap_or(0.0);
    let square = |place: i16| (Scores::at(place) - mean) * (Scores::at(place) - mean);
    scores.places().map(|(place, times)| square(place) * times as f64).sum::<f64>() / count
}

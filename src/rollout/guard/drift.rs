//! Guards that need no truth and no failure: what a candidate says, and how good it probably is, beside live.

use super::comparison::Comparison;
use super::evidence::Evidence;
use super::guard::Guard;
use super::needs::Needs;
use super::rule::{RuleError, words};
use super::verdict::Verdict;
use crate::base::share::Share;
use crate::base::text::significant;
use crate::drift::compare::apart::Margin;
use crate::drift::estimate::{Estimate, EstimatedQuality};
use crate::drift::told::What;
use crate::drift::watch::{Fault, Measure, Nearness, Seen, VALID, look_alpha};
use crate::rollout::phase::Phase;
use crate::stats::Metric;

/// That the candidate's answers are distributed as live's over the same traffic: scores, predictions, and how many failed.
///
/// Both are asked the same, so that they differ is the candidate's doing. It fails a candidate whose answers are shown to lie
/// further from live's than [`at_most`](DriftGuard::at_most) allows, or that is shown to fail more or less often than live by more than
/// [`minimum_share`](crate::drift::Options::minimum_share), of which 0 leaves nothing that could pass; and passes one that is shown to lie
/// within both. One that is meant to fail on less has other guards. **Drift that live
/// shares takes nothing back**: what a move of the world has driven apart that was alike before is nobody's fault, and does not pass.
///
/// A candidate may be better *because* it says something else. Where its scores are meant to be distributed otherwise,
/// hold it to what it said itself: [`since_it_began`](DriftGuard::since_it_began).
///
/// Needs [`Builder::drift`](crate::Builder::drift). Judges full windows: each is a look, and look k may err by
/// `6 / (pi k)^2` of the guard's error, so that all of them together keep to it. A look fails by the last window or by all windows of
/// the step, added up, and passes by those. Before a smaller share it may be as much further away as is at stake less. Errors are
/// right in the limit, and take rows to be independent. A step rests on windows of its own. It cannot see what changes for both, nor
/// which of two versions is right.
///
/// # How many rows it takes
///
/// To pass, of two versions that are alike and have as many rows each, whose scores lie in some ten bins, at a distance of 0.1 and an error of 5 %:
/// about 420 of each at the first look and 1,050 at the twentieth, of all windows together; in thirty bins 540 and 1,250. Half the distance takes four
/// times as many. Failures that both have take more than that: 1,600 of each at the first look and 6,000 at the twentieth where 2 % fail and one
/// in a hundred more is allowed. Evidence that is inconclusive says how many.
///
/// ```
/// use switchback::guard;
///
/// let same_answers = guard::drift().at_most(0.15)?;
/// let steady = guard::drift().since_it_began();
/// # Ok::<(), guard::RuleError>(())
/// ```
pub fn drift() -> DriftGuard {
    DriftGuard { distance: 0.1, measure: Measure::Live }
}

/// See [`drift`].
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it guards nothing before a rollout is given it"]
pub struct DriftGuard {
    distance: f64,
    measure: Measure,
}

impl DriftGuard {
    /// How far the distributions may lie apart, as a Jensen-Shannon distance. By default 0.1, a PSI of about 0.08.
    ///
    /// # Errors
    ///
    /// A distance that is not above 0 and below 0.832, the largest that there is.
    pub fn at_most(mut self, distance: f64) -> Result<Self, RuleError> {
        if !(distance > 0.0 && distance < 0.832) {
            return Err(RuleError::Argument {
                figure: "drift".into(),
                argument: "distance",
                value: distance.to_string(),
                allowed: "above 0 and below 0.832, the largest that there is".into(),
            });
        }
        self.distance = distance;
        Ok(self)
    }

    /// Holds the candidate to what it said itself in its first full windows, instead of to what live says: in as many as both take for 2,000
    /// rows, and for enough to tell later on that it says the same. It fails
    /// where the candidate is shown to have gone further than is allowed, and further than live can have gone over the same time.
    pub fn since_it_began(mut self) -> Self {
        self.measure = Measure::ItsBeginning;
        self
    }

    /// Whether it is shown to lie within, and what there is to say where it is not.
    fn passes(&self, seen: &Seen, alpha: f64, before: Share) -> (Verdict, Option<String>) {
        let margin = match before {
            Share::NONE => Margin::WHATEVER,
            share => seen.options().margin(self.distance).times(1.0 / share.fraction()),
        };
        let note = match seen.nearness(self.measure, margin, alpha) {
            Nearness::Within => return (Verdict::Pass, None),
            Nearness::Leaves => {
                "all windows together lie within what is allowed, and the last one seems to lie beyond"
                    .to_owned()
            }
            Nearness::Undecided { rows, wanted } if wanted > rows => {
                format!(
                    "to show that it lies within takes some {wanted} rows of the candidate, and {rows} came"
                )
            }
            Nearness::Undecided { .. } => {
                "it lies too near to what is allowed to tell on which side of that".to_owned()
            }
            Nearness::Unreachable { rows } => {
                format!(
                    "it is held against {rows} rows, beside which no number of its own shows that it lies within"
                )
            }
            Nearness::Unanswered => "neither has answered anything that could be compared".to_owned(),
            Nearness::Unknown => "there is no earlier window yet to hold it against".to_owned(),
        };
        (Verdict::Inconclusive, Some(note))
    }
}

impl Guard for DriftGuard {
    fn name(&self) -> String {
        match self.measure {
            Measure::Live => format!("drift from live at most {}", self.distance),
            Measure::ItsBeginning => format!("drift since it began at most {}", self.distance),
        }
    }

    fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
        let Some(looked) = &comparison.drift else {
            return Evidence::new(self.name(), Verdict::Inconclusive).note(nothing_yet(comparison.phase));
        };
        let seen = looked.seen;
        let margin = seen.options().margin(self.distance);
        let fault = seen.fault(self.measure, margin, look_alpha(looked.harm, seen.looks));
        let (verdict, note) = match &fault {
            Fault::Nobodys => self.passes(seen, look_alpha(looked.promotion, seen.looks), comparison.before),
            Fault::TheWorlds => {
                let note = "live has drifted too, or may have: it may be the world's doing";
                (Verdict::Inconclusive, Some(note.to_owned()))
            }
            Fault::TheSplits => {
                let note =
                    "candidate and live were asked different things, so their answers cannot be compared";
                (Verdict::Inconclusive, Some(note.to_owned()))
            }
            Fault::TheCandidates(far) => {
                let name = |what: What| if what == What::Missing { "failures" } else { "distribution" };
                let names: Vec<String> = far
                    .iter()
                    .map(|far| {
                        format!(
                            "{} ({}) by {} at least",
                            far.feature,
                            name(far.what),
                            significant(far.least, 3)
                        )
                    })
                    .collect();
                (Verdict::Fail, Some(format!("the candidate alone has drifted: {}", names.join(", "))))
            }
        };
        let mut evidence = Evidence::new(self.name(), verdict).limit(self.distance);
        evidence.observed = seen.distance(self.measure);
        evidence.samples = seen.all.candidate.rows();
        evidence.live_samples = seen.all.live.rows();
        evidence.note = note;
        evidence
    }

    fn needs(&self) -> Needs {
        Needs { drift: true, ..Needs::default() }
    }

    fn as_sentence(&self) -> Option<String> {
        Some(self.name())
    }
}

/// There is nothing to judge by.
fn nothing_yet(phase: Phase) -> &'static str {
    if phase == Phase::Baking {
        "windows compare a candidate with live: what is live and watched is not judged by them"
    } else {
        "no window of both is full yet since the exposure changed"
    }
}

/// How good the candidate probably is, from its scores alone, beside how good live probably is over the same traffic:
/// accuracy, precision, recall, F1 or AUC of a yes or no. For the time until labels come.
///
/// **Valid under covariate shift only**: where a score still means what it meant when it was calibrated. It never replaces
/// a guard that judges by the truth. Needs a calibration of both versions: [`Drift::calibration`](crate::drift::Drift::calibration)
/// of the one that the builder brings along as live, [`Rollout::calibrated`](crate::Rollout::calibrated) of the candidate's.
///
/// It compares intervals: it fails where all of the candidate's lies below live's by more than the margin, and passes where
/// all of it lies within. Where the world changes both change, so that alone takes nothing back. Intervals grow with every
/// full window that is looked at: look k may err by `6 / (pi k)^2` of the guard's error. They are right in the limit only.
pub fn estimated(metric: Metric) -> EstimatedFigure {
    EstimatedFigure(metric)
}

/// An estimated figure that waits for its margin: see [`estimated`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a figure without a margin guards nothing"]
pub struct EstimatedFigure(Metric);

impl EstimatedFigure {
    /// At most `margin` below live: 0.02 for two percentage points. Before a smaller share it may be as much more as is at
    /// stake less.
    ///
    /// # Errors
    ///
    /// A figure that cannot be estimated from scores, or a margin that is not at least 0 and below 1.
    pub fn at_most_below_live(self, margin: f64) -> Result<EstimatedGuard, RuleError> {
        let refused = |argument, value: String, allowed: &str| RuleError::Argument {
            figure: format!("estimated {}", words(self.0)),
            argument,
            value,
            allowed: allowed.into(),
        };
        if !matches!(self.0, Metric::Accuracy | Metric::Precision | Metric::Recall | Metric::F1 | Metric::Auc)
        {
            let allowed = "accuracy, precision, recall, f1 or auc, which scores alone say something of";
            return Err(refused("metric", words(self.0).into(), allowed));
        }
        if !(0.0..1.0).contains(&margin) {
            return Err(refused("margin", margin.to_string(), "at least 0 and below 1"));
        }
        Ok(EstimatedGuard { metric: self.0, margin })
    }
}

/// See [`estimated`].
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it guards nothing before a rollout is given it"]
pub struct EstimatedGuard {
    metric: Metric,
    margin: f64,
}

impl EstimatedGuard {
    fn of(&self, quality: &EstimatedQuality) -> Option<Estimate> {
        match self.metric {
            Metric::Accuracy => quality.accuracy,
            Metric::Precision => quality.precision,
            Metric::Recall => quality.recall,
            Metric::F1 => quality.f1,
            Metric::Auc => quality.auc,
            _ => None,
        }
    }

    /// How good both are, the candidate first, with an error of `alpha` for both intervals together, on the sides that
    /// face each other.
    fn both(&self, seen: &Seen, alpha: f64) -> Option<(Estimate, Estimate)> {
        let of = |scores: &Option<crate::drift::estimate::QualityEstimator>| {
            self.of(&scores.as_ref()?.estimate_at(alpha))
        };
        of(&seen.scores.candidate).zip(of(&seen.scores.live))
    }

    /// The margin before a share: that at which the harm expected of all traffic is within the guard's own.
    fn before(&self, share: Share) -> f64 {
        if share == Share::NONE { 1.0 } else { self.margin / share.fraction() }
    }
}

impl Guard for EstimatedGuard {
    fn name(&self) -> String {
        format!("estimated {} at most {} below live", words(self.metric), self.margin)
    }

    fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
        let inconclusive = |note: &str| Evidence::new(self.name(), Verdict::Inconclusive).note(note);
        let Some(looked) = &comparison.drift else { return inconclusive(nothing_yet(comparison.phase)) };
        let (seen, look) = (looked.seen, looked.seen.looks);
        let harm = self.both(seen, look_alpha(looked.harm, look));
        let fine = self.both(seen, look_alpha(looked.promotion, look));
        let (Some((candidate, live)), Some((shown, beside))) = (harm, fine) else {
            return inconclusive("there are no scores that it could be estimated from yet");
        };
        let verdict = if candidate.high < live.low - self.margin {
            Verdict::Fail
        } else if shown.low >= beside.high - self.before(comparison.before) {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        };
        let rows = |scores: &Option<crate::drift::estimate::QualityEstimator>| {
            scores.as_ref().map_or(0, |scores| scores.rows())
        };
        let between = |of: Estimate| format!("{} to {}", significant(of.low, 4), significant(of.high, 4));
        Evidence::new(self.name(), verdict)
            .observed(candidate.value, rows(&seen.scores.candidate))
            .live(live.value, rows(&seen.scores.live))
            .limit(live.value - self.margin)
            .note(format!("candidate {}, live {}; {VALID}", between(candidate), between(live)))
    }

    fn needs(&self) -> Needs {
        Needs { drift: true, estimated: true, ..Needs::default() }
    }

    fn as_sentence(&self) -> Option<String> {
        Some(self.name())
    }
}

//! The test that stands behind a rule, and what it looks at.

use crate::rollout::guard::guard::Guard;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::design::Design;
use super::evaluate::Tests;
use super::evidence::{Evidence, Strength, written};
use super::guard::Verdict;
use super::history::History;
use super::observe::Effect;
use super::rule::Rule;
use crate::base::share::Share;
use crate::drift::watch::Seen;
use crate::request::shadow::ShadowCounts;
use crate::rollout::phase::Phase;
use crate::stats::figures::tally::Tally;
use crate::stats::sequential::EValue;
use crate::stats::{ArmFigures, DivergenceFigures, Window};
use crate::version::id::VersionId;

/// The figures of a rollout, as guards see them.
#[non_exhaustive]
pub struct Comparison<'a> {
    /// Where the rollout stands.
    pub phase: Phase,
    /// The candidate since the attempt began; the new live since its promotion, while it is watched.
    pub candidate: &'a ArmView,
    /// Live since the attempt began; while a promoted version is watched, the version before: as its shadow where the
    /// plan keeps it as one, else as it was during the attempt.
    pub live: &'a ArmView,
    /// Pairs of answers to the same input.
    pub divergence: &'a DivergenceFigures,
    /// What happened to copied requests since the attempt began.
    pub shadow: ShadowCounts,
    /// The share of traffic that passing leads to: the plan's next step, all for a promotion.
    pub before: Share,
    /// What a rule of this crate's looks at.
    pub(crate) test: Option<Test<'a>>,
    /// What both versions said of the same traffic.
    pub(crate) drift: Option<Looked<'a>>,
}

/// A full window of both versions, and the errors that all looks at such windows may have together.
pub(crate) struct Looked<'a> {
    pub(crate) seen: &'a Seen,
    pub(crate) harm: f64,
    pub(crate) promotion: f64,
}

/// A rule's test, with all it looks at.
pub(crate) struct Test<'a> {
    pub(crate) design: &'a Design,
    pub(crate) history: &'a History,
    pub(crate) tests: &'a Tests,
    pub(crate) thresholds: Thresholds,
    /// The most that the evidence for harm ever was.
    pub(crate) peak: EValue,
    /// What keeps a candidate from being promoted, whatever the evidence.
    pub(crate) obstacles: &'a [String],
    pub(crate) phase: Phase,
    pub(crate) names: Names,
}

/// What evidence must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thresholds {
    pub(crate) harm: EValue,
    pub(crate) promotion: EValue,
}

/// What the two versions are called.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Names {
    pub(crate) candidate: VersionId,
    pub(crate) live: VersionId,
}

impl Test<'_> {
    /// What follows from the evidence.
    pub(crate) fn judge(&self, rule: &Rule, before: Share) -> Evidence {
        let weighed = self.design.weigh(self.history, before, self.tests);
        let Thresholds { harm, promotion } = self.thresholds;
        let shown = weighed.fine.is_none_or(|fine| fine >= promotion);
        let mut notes: Vec<&str> = Vec::new();
        let mute = !self.design.is_judged_in(self.phase);
        let verdict = if weighed.harm >= harm {
            Verdict::Fail
        } else if mute && before != Share::ALL {
            notes.push("it is judged on the canary alone");
            Verdict::Pass
        } else if shown && before == Share::ALL && !self.obstacles.is_empty() {
            notes.extend(self.obstacles.iter().map(String::as_str));
            Verdict::Inconclusive
        } else if shown {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        };
        let harmed = match verdict {
            Verdict::Fail => self.harmed(),
            _ => Vec::new(),
        };
        let worse = format!("worse than allowed in {}", harmed.join(", "));
        if !harmed.is_empty() {
            notes.push(&worse);
        }
        let seen = self.design.observe(self.history);
        let mut evidence = Evidence::new(rule.name(), verdict);
        let reads = |loss: Option<f64>| loss.map(|loss| written(self.design.reads(loss)));
        evidence.samples = seen.samples;
        (evidence.live_samples, evidence.live) = (seen.live_samples, reads(seen.live));
        // A difference of losses is one of the figure only where its scale begins at 0.
        evidence.observed = if seen.is_difference { None } else { reads(seen.candidate) };
        evidence.limit = self.design.limit(seen.live).map(written);
        evidence.strength = Some(Strength {
            harm: weighed.harm,
            harm_peak: weighed.harm.max(self.peak),
            harm_threshold: harm,
            non_inferiority: weighed.fine,
            non_inferiority_threshold: promotion,
            before,
        });
        evidence.note = (!notes.is_empty()).then(|| notes.join("; "));
        evidence
    }

    /// The segments in which the candidate is worse than allowed.
    fn harmed(&self) -> Vec<String> {
        self.design.harmed(self.history, self.tests, self.thresholds.harm)
    }

    /// Adds what people want to know once something is decided.
    pub(crate) fn explain(&self, evidence: &mut Evidence) {
        evidence.effect = self.design.interval(self.history).map(|effect| Effect {
            estimate: written(effect.estimate),
            low: written(effect.low),
            high: written(effect.high),
            ..effect
        });
        let sentence = super::sentence::sentence(self.design, self.history, evidence.effect, self.names);
        evidence.sentence = Some(super::sentence::of_segments(
            self.design,
            self.history,
            &self.harmed(),
            self.names,
            sentence,
        ));
    }
}

/// The figures of one arm, over each of its windows.
#[derive(Clone)]
pub struct ArmView {
    pub(crate) total: Tally,
    pub(crate) predictions: Tally,
    pub(crate) recent: Tally,
    pub(crate) kpis: Arc<[crate::task::kpi::Kpi]>,
}

impl ArmView {
    /// The figures over one window. Some tens of microseconds.
    pub fn figures(&self, window: Window) -> ArmFigures {
        self.tally(window).figures(&self.kpis)
    }

    fn tally(&self, window: Window) -> &Tally {
        match window {
            Window::Total => &self.total,
            Window::Predictions => &self.predictions,
            Window::Recent => &self.recent,
        }
    }
}

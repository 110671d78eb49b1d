//! The test that stands behind a rule, asked.

use super::answering::Answering;
use super::design::Design;
use super::evaluate::{Asked, Tests};
use super::evidence::{Effect, Evidence, Strength};
use super::history::History;
use super::numbers::written;
use super::rule::Rule;
use super::sentence::{Names, of_segments, sentence};
use super::verdict::Verdict;
use crate::base::share::Share;
use crate::base::text::significant;
use crate::rollout::budget::Thresholds;
use crate::rollout::phase::Phase;
use crate::stats::sequential::EValue;

/// A rule's test, with all it looks at.
pub(crate) struct Test<'a> {
    pub(crate) design: &'a Design,
    pub(crate) history: &'a History,
    /// Whether both versions answer, and truths come, alike.
    pub(crate) answering: &'a Answering,
    pub(crate) tests: &'a Tests,
    pub(crate) thresholds: Thresholds,
    /// The most that the evidence for harm ever was.
    pub(crate) peak: EValue,
    /// The obstacles that keep a candidate from going on, whatever the evidence.
    pub(crate) obstacles: &'a [String],
    pub(crate) phase: Phase,
    pub(crate) names: Names,
}

impl Test<'_> {
    /// Returns what follows from the evidence.
    pub(crate) fn judge(&self, rule: &Rule, before: Share) -> Evidence {
        let Self { phase, answering, .. } = *self;
        let weighed = self.design.weigh(self.history, Asked { before, phase, answering }, self.tests);
        let Thresholds { harm, promotion } = self.thresholds;
        let shown = weighed.fine.is_none_or(|fine| fine >= promotion);
        let mut notes: Vec<&str> = Vec::new();
        let mute = !self.design.is_judged_in(self.phase);
        let verdict = if weighed.harm >= harm {
            Verdict::Fail
        } else if !self.obstacles.is_empty() {
            notes.extend(self.obstacles.iter().map(String::as_str));
            Verdict::Inconclusive
        } else if mute && before != Share::ALL {
            notes.push("it is judged on the canary alone");
            Verdict::Pass
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
        let lifted = self.design.lifted_by(self.history, self.phase).filter(|_| verdict != Verdict::Pass);
        let lifted = lifted.map(|live| {
            let live = significant(self.design.reads(live), 4);
            format!("live is beyond the limit as well, with {live}, so it is held against live")
        });
        notes.extend(lifted.as_deref());
        let mut evidence = Evidence::new(rule.to_string(), verdict);
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
        evidence.affected = self.design.affected(self.history);
        evidence.note = (!notes.is_empty()).then(|| notes.join("; "));
        evidence
    }

    /// The segments in which the candidate is worse than allowed.
    fn harmed(&self) -> Vec<String> {
        let asked = Asked { before: Share::ALL, phase: self.phase, answering: self.answering };
        self.design.harmed(self.history, asked, self.tests, self.thresholds.harm)
    }

    /// Adds what people want to know once something is decided.
    pub(crate) fn explain(&self, evidence: &mut Evidence) {
        evidence.effect = self.design.interval(self.history).map(|effect| Effect {
            estimate: written(effect.estimate),
            low: written(effect.low),
            high: written(effect.high),
            ..effect
        });
        let sentence = sentence(self.design, self.history, evidence.effect, self.names);
        evidence.sentence =
            Some(of_segments(self.design, self.history, &self.harmed(), self.names, sentence));
    }
}

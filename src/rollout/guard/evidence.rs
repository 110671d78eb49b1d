//! The evidence that a guard gives beside its verdict.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::affected::Affected;
use super::verdict::Verdict;
use crate::base::share::Share;
use crate::base::text::{bounded_text, significant};
use crate::stats::sequential::EValue;

/// The figures that a guard saw and what it made of them: enough to see later why something was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// The guard.
    pub guard: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The candidate's figure, where it is known.
    pub observed: Option<f64>,
    /// How many requests, outcomes or pairs it rests on.
    pub samples: u64,
    /// Live's figure, for a rule relative to live.
    pub live: Option<f64>,
    /// How many samples that rests on.
    pub live_samples: u64,
    /// The worst value that would have passed.
    pub limit: Option<f64>,
    /// How strong the evidence is, of a guard that is a sequential test.
    pub strength: Option<Strength>,
    /// How much worse the candidate is; known once something is decided.
    pub effect: Option<Effect>,
    /// How many units got worse and how many better, which a mean hides. Of a guard that compares both versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected: Option<Affected>,
    /// All of it in a sentence; once something is decided.
    pub sentence: Option<String>,
    /// Anything else that there is to say.
    pub note: Option<String>,
    /// The number of the [`Decision`](crate::decisions::Decision) that was recorded of it, once something was decided.
    pub decision: Option<u64>,
}

/// How strong the evidence of a sequential test is, on both sides of its margin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Strength {
    /// The evidence that the candidate is worse than the margin allows.
    pub harm: EValue,
    /// The most it ever was; its [`p_value`](EValue::p_value) is valid at all times at once.
    pub harm_peak: EValue,
    /// The value that it must reach for the candidate to be taken back.
    pub harm_threshold: EValue,
    /// The evidence that it is not. `None` if no candidate could be worse than what is asked for.
    pub non_inferiority: Option<EValue>,
    /// The value that it must reach for the candidate to go on.
    pub non_inferiority_threshold: EValue,
    /// The share of traffic that going on leads to, which decides how much is asked: the margin itself for all of it.
    pub before: Share,
}

/// How much worse the candidate is, and what else it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Effect {
    /// The kind of the numbers.
    pub kind: EffectKind,
    /// The effect that was seen.
    pub estimate: f64,
    /// It is at least this, at all times at once, but for an error of 2.5 %.
    pub low: f64,
    /// It is at most this, likewise.
    pub high: f64,
}

/// The quantity that an effect is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EffectKind {
    /// How much larger the candidate's loss is than live's.
    Difference,
    /// How many times as often the candidate has the event.
    Factor,
    /// The candidate's loss itself.
    Value,
}

impl Evidence {
    /// Evidence that holds nothing but a verdict yet.
    pub fn new(guard: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            guard: guard.into(),
            verdict,
            observed: None,
            samples: 0,
            live: None,
            live_samples: 0,
            limit: None,
            strength: None,
            effect: None,
            affected: None,
            sentence: None,
            note: None,
            decision: None,
        }
    }

    /// With its texts cut to what is kept of a text of somebody else's.
    pub(crate) fn bounded(mut self) -> Self {
        self.guard = bounded_text(self.guard);
        for text in [&mut self.sentence, &mut self.note].into_iter().flatten() {
            *text = bounded_text(std::mem::take(text));
        }
        self
    }

    /// With the candidate's figure and how many samples it rests on.
    #[must_use]
    pub fn observed(mut self, value: f64, samples: u64) -> Self {
        (self.observed, self.samples) = (Some(value), samples);
        self
    }

    /// With live's figure and how many samples it rests on.
    #[must_use]
    pub fn live(mut self, value: f64, samples: u64) -> Self {
        (self.live, self.live_samples) = (Some(value), samples);
        self
    }

    /// With the worst value that would have passed.
    #[must_use]
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// With whatever else there is to say.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// One line, for people.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guard, self.verdict)?;
        match self.observed {
            Some(observed) => write!(f, " with {} on {} samples", significant(observed, 4), self.samples)?,
            None => write!(f, " with {} samples", self.samples)?,
        }
        if let Some(live) = self.live {
            write!(f, ", live {} on {}", significant(live, 4), self.live_samples)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit {}", significant(limit, 4))?;
        }
        if let Some(Strength {
            harm,
            harm_threshold,
            non_inferiority,
            non_inferiority_threshold,
            before,
            ..
        }) = &self.strength
        {
            write!(f, "; evidence of harm {harm} (rolls back at {harm_threshold})")?;
            let then = if *before == Share::ALL { "promotes" } else { "goes on" };
            match non_inferiority {
                Some(e) => write!(f, ", of no harm {e} ({then} at {non_inferiority_threshold})")?,
                None => write!(f, ", none of no harm is needed before {before} of the traffic")?,
            }
        }
        // Where they are not known most guards would say so on every line.
        if let Some(affected @ Affected::Counted(_)) = &self.affected {
            write!(f, "; {affected}")?;
        }
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

//! When truth comes, and what its absence means.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::base::share::{Share, read_fraction_if};
use crate::stats::evidence::waiting::Maturity;
use crate::task::outcome::Outcome;

/// When labels come, how long they are waited for, and what it means where none comes.
///
/// Guards that judge by the truth need to know when a label is evidence: say [`complete_after`](Self::complete_after) or
/// [`at_random`](Self::at_random), or what [silence means](Self::assumed_after).
///
/// ```
/// use std::time::Duration;
/// use switchback::Outcome;
/// use switchback::options::Labels;
///
/// // A click within ten minutes, or none at all.
/// let clicks = Labels::new().assumed_after(Duration::from_secs(600), Outcome::class(0));
/// // A payment is disputed within 60 days.
/// let disputes = Labels::complete_after(Duration::from_secs(60 * 86_400));
/// assert_ne!(clicks, disputes);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Labels {
    pub(crate) arrival: Option<Arrival>,
    pub(crate) assumed: Option<(Duration, Outcome)>,
    /// Nothing where it follows from when labels are complete.
    pub(crate) horizon: Option<Duration>,
    pub(crate) memory_bytes: usize,
    pub(crate) corrections: Duration,
    pub(crate) exploration: Option<f64>,
}

/// When a label is evidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrival {
    CompleteAfter(Duration),
    AtRandom,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Labels {
        arrival: Option<Arrival>,
        assumed: Option<(Duration, Outcome)>,
        horizon: Option<Duration>,
        memory_bytes: usize,
        corrections: Duration,
        #[serde(deserialize_with = "read_fraction_if")]
        exploration: Option<f64>,
    }
}

impl Labels {
    /// Nothing is known of when labels come: they count in the figures, and no guard judges by them.
    pub fn new() -> Self {
        Self {
            arrival: None,
            assumed: None,
            horizon: None,
            memory_bytes: 64 << 20,
            corrections: Duration::from_secs(3_600),
            exploration: None,
        }
    }

    /// A prediction's truth is known when it is so old, if it ever will be. Only then do labels become evidence for
    /// guards, those of one stretch of time together, within a sixteenth of this: labels that come early are not like the
    /// others (a cancelled flight is known before one that lands), and a comparison of early ones takes back good
    /// versions. What comes later still counts in the figures.
    pub fn complete_after(age: Duration) -> Self {
        Self { arrival: Some(Arrival::CompleteAfter(age)), ..Self::new() }
    }

    /// When a label comes has nothing to do with what it says: a random sample that people label. Then labels are
    /// evidence as they come. See [`complete_after`](Self::complete_after) for when they are not.
    pub fn at_random() -> Self {
        Self { arrival: Some(Arrival::AtRandom), ..Self::new() }
    }

    /// Sets what silence means: a prediction without an outcome after `horizon` is taken to have this one. For clicks,
    /// where nobody ever says "no". Until it is settled such a prediction takes a row, and up to 262,144 rows are kept
    /// at a time; beyond half of that, a share of the predictions that is chosen by a hash of their ids takes part and
    /// the rest does not. Outcomes are [waited for](Self::horizon) at least twice as long. What is told after it was assumed takes its place, as far as
    /// [corrections](Self::corrections) go, and is [`Settled`](crate::feedback::FeedbackOutcome::Settled) beyond that: the value of a business
    /// figure once. Where it is said when labels are
    /// [complete](Self::complete_after), silence is settled by then: a longer `horizon` is refused. So is what comes [at random](Self::at_random),
    /// of which silence says nothing.
    pub fn assumed_after(mut self, horizon: Duration, outcome: Outcome) -> Self {
        self.assumed = Some((horizon, outcome));
        self
    }

    /// How long outcomes are waited for. The default is seven days, or twice as long as until labels are
    /// [complete](Self::complete_after) or silence is [settled](Self::assumed_after), where that is longer; less than twice as long is
    /// refused. It decides how much memory tells repeats: a bit per
    /// prediction and figure within it, up to [`memory_bytes`](Self::memory_bytes).
    pub fn horizon(mut self, horizon: Duration) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// Bytes for the bits that tell repeated outcomes. The default is 64 MiB, enough for 880 predictions a second over
    /// seven days. With more than half of it in prospect, a share of the predictions chosen by a hash of their ids counts
    /// and the rest is thinned out.
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// How long an outcome may be corrected by a different one. The default is an hour, for the last 65,536 outcomes: what was
    /// assumed goes before what was told. Zero means never. What has become evidence for guards stays so: labels that are corrected in bulk
    /// are evidence as corrected where the window is open until then, so let it be as long as until they are
    /// [complete](Self::complete_after). A later one is [`Settled`](crate::feedback::FeedbackOutcome::Settled), and so is a second value that
    /// is told of a business figure. This goes on over a start from state (`Builder::state`), and with the heir of a process of a fleet, for
    /// outcomes that wait to be evidence in a rollout; any other one from before a start is settled.
    pub fn corrections(mut self, window: Duration) -> Self {
        self.corrections = window;
        self
    }

    /// With [`Truth::Censored`](crate::Truth::Censored): the share, more than 0 and at most 1, of what an answer would
    /// hide that is let through at random, so that its truth is known. The host asks
    /// [`Answer::is_explored`](crate::Answer::is_explored) and, where it is, does not act on the answer. Each such truth
    /// counts for `1 / share` of its kind. Without it no version is promoted on truth that answers hide: only bounds are
    /// known. A task whose answers hide nothing refuses it at build.
    pub fn exploration(mut self, share: f64) -> Self {
        self.exploration = Some(share);
        self
    }

    /// The share of what would be hidden that is let through, where any is.
    pub(crate) fn explored(&self) -> Option<Share> {
        self.exploration.and_then(|share| Share::new(share).ok()).filter(|share| *share != Share::NONE)
    }

    /// When labels are evidence, as far as that is known.
    pub(crate) fn maturity(&self) -> Option<Maturity> {
        // Silence is settled when it says so.
        let silence = self.assumed.as_ref().map(|(after, _)| Maturity::After(*after));
        let declared = self.arrival.map(|arrival| match arrival {
            Arrival::CompleteAfter(age) => Maturity::After(age),
            Arrival::AtRandom => Maturity::AsTheyCome,
        });
        declared.or(silence)
    }

    /// How long outcomes are waited for.
    pub(crate) fn waited_for(&self) -> Duration {
        const USUAL: Duration = Duration::from_secs(7 * 86_400);
        self.horizon.unwrap_or_else(|| USUAL.max(self.horizon_min()))
    }

    /// How long outcomes are waited for at least: evidence is complete, and silence settled, before they cease to be.
    fn horizon_min(&self) -> Duration {
        match self.maturity() {
            Some(Maturity::After(age)) => age.saturating_mul(2),
            Some(Maturity::AsTheyCome) | None => Duration::ZERO,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        if let Some(share) = self.exploration {
            let allowed = "more than 0 and at most 1";
            ArgumentError::unless(share > 0.0 && share <= 1.0, "labels.exploration", share, allowed)?;
        }
        if let Some(Arrival::CompleteAfter(age)) = self.arrival {
            let allowed = "longer than 0 s: labels that come with the answers are at random";
            ArgumentError::unless(!age.is_zero(), "labels.complete_after", "0 s", allowed)?;
        }
        if let Some((after, _)) = &self.assumed {
            let allowed = "longer than 0 s";
            ArgumentError::unless(!after.is_zero(), "labels.assumed_after", "0 s", allowed)?;
            // Spoken outcomes would be evidence at once and silence later, as if more were spoken than are.
            let allowed = "left out with labels.at_random, where a label that does not come says nothing";
            let is_at_random = self.arrival == Some(Arrival::AtRandom);
            let told = format!("{} s", after.as_secs_f64());
            ArgumentError::unless(!is_at_random, "labels.assumed_after", told, allowed)?;
            // What is settled after the labels of its time were taken would be evidence of nothing: spoken outcomes alone would be.
            if let Some(Arrival::CompleteAfter(age)) = self.arrival {
                let (after, age) = (after.as_secs_f64(), age.as_secs_f64());
                let allowed = format!("at most the {age} s after which labels are complete");
                ArgumentError::unless(after <= age, "labels.assumed_after", format!("{after} s"), allowed)?;
            }
        }
        if let Some(said) = self.horizon {
            let (said, least) = (said.as_secs_f64(), self.horizon_min().as_secs_f64());
            let (enough, allowed) = if least > 0.0 {
                let until = "twice as long as until labels are complete or silence is settled";
                (said >= least, format!("at least {least} s, {until}"))
            } else {
                (said > 0.0, String::from("longer than 0 s"))
            };
            ArgumentError::unless(enough, "labels.horizon", format!("{said} s"), allowed)?;
        }
        ArgumentError::unless(
            self.memory_bytes >= MEMORY_MIN,
            "labels.memory_bytes",
            self.memory_bytes,
            "at least 1024: less holds the bits of no stretch of predictions",
        )
    }
}

/// Below it nearly every outcome would be thinned out.
const MEMORY_MIN: usize = 1_024;

impl Default for Labels {
    fn default() -> Self {
        Self::new()
    }
}

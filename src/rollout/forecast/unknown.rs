//! What nobody knows before two versions have been asked the same, and what pairs say of it.

use crate::base::chance::SplitMix64;
use crate::stats::sequential::e_value::ln;
use crate::stats::sequential::{Events, PairedEvents};

/// A quantity that a forecast rests on and that only a rollout can tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Unknown {
    /// A host has said it, or there is nothing to know.
    Given(f64),
    /// Nothing was seen: what is usual, and what it is where versions are as alike, and as different, as they get.
    Guessed { usual: f64, alike: f64, apart: f64 },
    /// What was seen makes one the likeliest, and allows the others, in order and all as likely.
    Seen { likeliest: f64, possible: Vec<f64> },
}

/// What is taken for an unknown quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Assumed {
    /// What is usual; of what was seen the likeliest.
    Usual,
    /// The same; of what was seen the value at this share of what is possible.
    Drawn(f64),
    /// Where nothing was seen, the two versions are as alike as they get; of what was seen the value at this share.
    Alike(f64),
    /// As different as they get.
    Apart(f64),
}

impl Assumed {
    /// The same at another share.
    pub(crate) fn at(self, share: f64) -> Self {
        match self {
            Self::Usual => Self::Usual,
            Self::Drawn(_) => Self::Drawn(share),
            Self::Alike(_) => Self::Alike(share),
            Self::Apart(_) => Self::Apart(share),
        }
    }
}

/// From so many units on that tell something of it, a rollout's own are a better guess than any.
const TELL: u64 = 8;

/// Values that are as likely, of what was seen.
const VALUES: usize = 40;

impl Unknown {
    pub(crate) fn is_guessed(&self) -> bool {
        matches!(self, Self::Guessed { .. })
    }

    /// What is taken for it.
    pub(crate) fn value(&self, assumed: Assumed) -> f64 {
        match (self, assumed) {
            (Self::Given(value), _) => *value,
            (Self::Guessed { usual, .. }, Assumed::Usual | Assumed::Drawn(_)) => *usual,
            (Self::Guessed { alike, .. }, Assumed::Alike(_)) => *alike,
            (Self::Guessed { apart, .. }, Assumed::Apart(_)) => *apart,
            (Self::Seen { likeliest, .. }, Assumed::Usual) => *likeliest,
            (
                Self::Seen { possible, .. },
                Assumed::Drawn(share) | Assumed::Alike(share) | Assumed::Apart(share),
            ) => {
                let place = (share * possible.len() as f64) as usize;
                possible.get(place.min(possible.len().saturating_sub(1))).copied().unwrap_or_default()
            }
        }
    }

    /// How far two versions are off on the same inputs, from 0, as chance would have it, to 1, wherever both can be. `live` and
    /// `candidate` are how often they are expected to be off.
    pub(crate) fn together(guessed: Self, pairs: PairedEvents, (live, candidate): (f64, f64)) -> Self {
        /// Pairs that the rates which are expected are worth.
        const EXPECTED: f64 = 20.0;
        const STEPS: u32 = 40;
        if pairs.pairs() - pairs.neither < TELL {
            return guessed;
        }
        let rate = |seen: Events, expected: f64| {
            ((seen.events as f64 + EXPECTED * expected) / (seen.units as f64 + EXPECTED))
                .clamp(1e-6, 1.0 - 1e-6)
        };
        let (live, candidate) = (rate(pairs.of_live(), live), rate(pairs.of_candidate(), candidate));
        let likely = |step: u32| {
            let together = f64::from(step) / f64::from(STEPS);
            let both = both((live, candidate), together);
            let cells = [
                (pairs.both, both),
                (pairs.only_live, live - both),
                (pairs.only_candidate, candidate - both),
                (pairs.neither, 1.0 - live - candidate + both),
            ];
            let likelihood =
                cells.iter().map(|(count, share)| *count as f64 * ln(share.max(1e-9))).sum::<f64>();
            (together, likelihood)
        };
        Self::of_likelihoods((0..=STEPS).map(likely).collect())
    }

    /// A rate of which so many events were seen.
    pub(crate) fn rate(guessed: Self, seen: Events) -> Self {
        const STEPS: u32 = 400;
        if seen.events < TELL && seen.units < 20 * TELL {
            return guessed;
        }
        let (events, others) = (seen.events as f64, seen.units.saturating_sub(seen.events) as f64);
        // Around what was seen, as far as it can be from it.
        let centre = (events + 0.5) / (events + others + 1.0);
        let spread = 5.0 * (centre * (1.0 - centre) / (events + others + 1.0)).sqrt();
        let (low, high) = ((centre - spread).max(1e-6), (centre + spread).min(1.0 - 1e-6));
        let likely = |step: u32| {
            let rate = low + (high - low) * f64::from(step) / f64::from(STEPS);
            (rate, events * ln(rate) + others * ln(1.0 - rate))
        };
        Self::of_likelihoods((0..=STEPS).map(likely).collect())
    }

    /// A figure that was seen `units` times with this mean, or the variance of one, whose single values lie so far from it.
    pub(crate) fn mean(guessed: Self, units: u64, mean: f64, standard_deviation: f64) -> Self {
        if units < TELL {
            return guessed;
        }
        let error = standard_deviation / (units as f64).sqrt();
        // The same draws each time.
        let mut chance = SplitMix64(11);
        let mut values: Vec<f64> = (0..VALUES).map(|_| mean + error * chance.normal()).collect();
        values.sort_unstable_by(f64::total_cmp);
        Self::Seen { likeliest: mean, possible: values }
    }

    /// As many values as likely, of values in order and the logarithms of how likely they are.
    fn of_likelihoods(likely: Vec<(f64, f64)>) -> Self {
        let most = likely.iter().map(|(_, likelihood)| *likelihood).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = likely.iter().map(|(_, likelihood)| libm::exp(likelihood - most)).collect();
        let all: f64 = weights.iter().sum();
        let mut places = (0..VALUES).map(|place| (place as f64 + 0.5) / VALUES as f64 * all).peekable();
        let (mut sum, mut values) = (0.0, Vec::with_capacity(VALUES));
        for ((value, _), weight) in likely.iter().zip(weights) {
            sum += weight;
            while places.next_if(|place| *place <= sum).is_some() {
                values.push(*value);
            }
        }
        let likeliest = likely.iter().max_by(|one, other| one.1.total_cmp(&other.1));
        Self::Seen { likeliest: likeliest.map_or(0.0, |(value, _)| *value), possible: values }
    }
}

/// How often both are off, of two that are so often.
pub(crate) fn both((live, candidate): (f64, f64), together: f64) -> f64 {
    let (by_chance, most) = (live * candidate, live.min(candidate));
    by_chance + together * (most - by_chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn middle(unknown: &Unknown) -> f64 {
        unknown.value(Assumed::Usual)
    }

    #[test]
    fn pairs_tell_how_alike_two_versions_are_and_the_more_there_are_the_better() {
        let guessed = Unknown::Guessed { usual: 0.75, alike: 0.9, apart: 0.0 };
        let few = PairedEvents { neither: 90, only_live: 3, only_candidate: 2, both: 0 };
        assert_eq!(Unknown::together(guessed.clone(), few, (0.1, 0.1)), guessed);
        // Each is wrong on a tenth, by a chance of its own.
        let own = |times| PairedEvents {
            neither: 81 * times,
            only_live: 9 * times,
            only_candidate: 9 * times,
            both: times,
        };
        let width =
            |unknown: &Unknown| unknown.value(Assumed::Drawn(0.9)) - unknown.value(Assumed::Drawn(0.1));
        let (some, many) = (own(1), own(50));
        let (some, many) =
            [some, many].map(|pairs| Unknown::together(guessed.clone(), pairs, (0.1, 0.1))).into();
        assert!(middle(&some) < 0.3 && middle(&many) < 0.05, "{some:?} {many:?}");
        assert!(width(&many) < width(&some));
        // On the same inputs, and the candidate on as many more.
        let nested = PairedEvents { neither: 800, only_live: 0, only_candidate: 100, both: 100 };
        assert!(middle(&Unknown::together(guessed, nested, (0.1, 0.1))) > 0.95);
    }

    #[test]
    fn a_rate_is_what_was_seen_of_it() {
        let guessed = Unknown::Guessed { usual: 0.05, alike: 0.02, apart: 0.18 };
        let seen = Unknown::rate(guessed, Events { events: 40, units: 400 });
        assert!((middle(&seen) - 0.1).abs() < 0.01);
        let (low, high) = (seen.value(Assumed::Drawn(0.1)), seen.value(Assumed::Apart(0.9)));
        assert!((low - 0.08).abs() < 0.01 && (high - 0.12).abs() < 0.01, "{low} {high}");
    }
}
